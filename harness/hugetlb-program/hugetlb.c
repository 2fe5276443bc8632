// SPDX-License-Identifier: GPL-2.0
/*
 * hugetlb -s GEN: what kernel GEN of the chain in harness/hugetlb does. Each kernel
 * retrieves the memfds of hugetlb that the kernel before it has preserved, says what came
 * of them, and preserves some for the next.
 *
 * File 0 has one page of 1 GiB, the others have three pages of 2 MiB with a hole in the
 * middle. With guest.chain=sizes there is a file with a page of each size.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/liveupdate.h>

#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT	26
#endif

#define MIB		(1L << 20)
#define GIB		(1L << 30)
#define SMALL		(2 * MIB)
#define PAGES		3
#define GROUP		"/tmp/cgroup/hugetlb"
#define KHO		"/sys/kernel/debug/kho/"

static const char *now = "start";

static void expect(const char *what, long expected, long found)
{
	if (expected != found)
		errx(1, "%s: %s: expected %ld, found %ld", now, what, expected, found);
}

static void expect_near(const char *what, long expected, long found)
{
	if (labs(expected - found) > MIB)
		errx(1, "%s: %s: expected about %ld, found %ld", now, what, expected, found);
}

/* For the log of the guest. */
static void tell(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("hugetlb: ");
	vprintf(format, args);
	printf("\n");
	va_end(args);
	fflush(stdout);
}

/* The number behind @name in a file, or the first one; @missing if there is no file. */
static long number(const char *path, const char *name, long missing)
{
	FILE *f = fopen(path, "r");
	char line[256];
	long value;

	if (!f)
		return missing;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, name, strlen(name)))
			continue;
		if (sscanf(line + strlen(name), "%ld", &value) != 1)
			break;
		fclose(f);
		return value;
	}
	fclose(f);
	errx(1, "%s has no number for '%s'", path, name);
}

/* Returns 0 or an error. */
static int put(const char *path, const char *what)
{
	int fd = open(path, O_WRONLY), status = 0;

	if (fd < 0)
		err(1, "%s", path);
	if (write(fd, what, strlen(what)) < 0)
		status = -errno;
	close(fd);
	return status;
}

static void must_put(const char *path, const char *what)
{
	int status = put(path, what);

	if (status)
		errx(1, "%s: cannot write '%s' to %s: %s", now, what, path, strerror(-status));
}

/* The pool of a size, on a node or (-1) in all. */
static long pool(long size, int node, const char *what)
{
	char path[128], at[64] = "/sys/kernel/mm";

	if (node >= 0)
		snprintf(at, sizeof(at), "/sys/devices/system/node/node%d", node);
	snprintf(path, sizeof(path), "%s/hugepages/hugepages-%ldkB/%s", at, size >> 10, what);
	return number(path, "", -1);
}

static const char *cmdline(void)
{
	static char line[4096];
	FILE *f = fopen("/proc/cmdline", "r");

	if (!f || !fgets(line, sizeof(line), f))
		errx(1, "/proc/cmdline");
	fclose(f);
	return line;
}

/* What the command line asks for: [0] and [1] on these nodes, [2] wherever. */
static void asked_for(long asked[3])
{
	const char *at;
	char *end;

	memset(asked, 0, 3 * sizeof(*asked));
	/* The words of later kernels are there, too. */
	at = strstr(cmdline(), " hugepagesz=2M hugepages=");
	if (!at)
		return;
	at = strchr(strchr(at, '=') + 1, '=') + 1;
	for (;; at = end + 1) {
		long value = strtol(at, &end, 10);

		if (*end == ':')
			asked[value] = strtol(end + 1, &end, 10);
		else
			asked[2] = value;
		if (*end != ',')
			break;
	}
}

/* The pools at the start of this kernel. */
static struct {
	long total, node[2];
} before;

static void pools_at_start(void)
{
	before.total = pool(SMALL, -1, "nr_hugepages");
	for (int i = 0; i < 2; i++)
		before.node[i] = pool(SMALL, i, "nr_hugepages");
}

/*
 * All folios of the previous kernel have come. If it has asked for so many, they are
 * the ones that it has asked for.
 */
static void check_asked(long came)
{
	long asked[3], total = pool(SMALL, -1, "nr_hugepages");

	asked_for(asked);
	expect("folios that came", came, total - before.total);
	expect("surplus folios", 0, pool(SMALL, -1, "surplus_hugepages"));
	expect("reserved folios", 0, pool(SMALL, -1, "resv_hugepages"));
	if (asked[2])
		expect("folios, as hugepages= says", asked[2] > came ? asked[2] : came, total);
	for (int i = 0; i < 2 && !asked[2]; i++) {
		long node = pool(SMALL, i, "nr_hugepages");
		long here = node - before.node[i];

		expect("folios of a node, as hugepages= says",
		       asked[i] > here ? asked[i] : here, node);
	}
	tell("asked for %ld, %ld:%ld, at the start %ld, %ld came, now %ld", asked[2], asked[0],
	     asked[1], before.total, came, total);
}

static long file_size(int nr)
{
	return nr ? PAGES * SMALL : GIB;
}

/* A word in each 2 MiB; the second page of a small file is a hole. */
static void words(int file, int nr, int write)
{
	unsigned long *p = mmap(NULL, file_size(nr), PROT_READ | (write ? PROT_WRITE : 0),
				MAP_SHARED, file, 0);

	if (p == MAP_FAILED)
		err(1, "%s: mmap of file %d", now, nr);
	for (long i = 0; i < file_size(nr) / SMALL; i++) {
		unsigned long *word = &p[(i + 1) * (SMALL / sizeof(*p)) - 1];
		const unsigned long value = nr && i == 1 ? 0 : (nr + 1) << 16 | i;

		if (!write)
			expect("a word of a file", value, *word);
		else if (value)
			*word = value;
	}
	munmap(p, file_size(nr));
}

static int new_file(int nr)
{
	int file = memfd_create("huge", MFD_HUGETLB | (nr ? 21 : 30) << MFD_HUGE_SHIFT);

	if (file < 0)
		err(1, "%s: memfd_create of file %d", now, nr);
	if (ftruncate(file, file_size(nr)))
		err(1, "%s: ftruncate of file %d", now, nr);
	words(file, nr, 1);
	return file;
}

static int luo = -1, session = -1;

static void open_session(void)
{
	struct liveupdate_ioctl_retrieve_session retrieve = {
		.size = sizeof(retrieve), .name = "hugetlb",
	};

	luo = open("/dev/liveupdate", O_RDWR);
	if (luo < 0)
		err(1, "/dev/liveupdate");
	if (ioctl(luo, LIVEUPDATE_IOCTL_RETRIEVE_SESSION, &retrieve))
		err(1, "retrieve the session");
	session = retrieve.fd;
}

/* Returns the file or an error. */
static int retrieve(int nr)
{
	struct liveupdate_session_retrieve_fd file = { .size = sizeof(file), .token = nr };

	return ioctl(session, LIVEUPDATE_SESSION_RETRIEVE_FD, &file) ? -errno : file.fd;
}

static int must_retrieve(int nr)
{
	const long size = nr ? SMALL : GIB, pages = file_size(nr) / size;
	const long total = pool(size, -1, "nr_hugepages"), left = pool(size, -1, "free_hugepages");
	int file = retrieve(nr);

	if (file < 0)
		errx(1, "%s: retrieving file %d: %s", now, nr, strerror(-file));
	words(file, nr, 0);
	expect("folios", total + pages, pool(size, -1, "nr_hugepages"));
	expect("free folios", left, pool(size, -1, "free_hugepages"));
	return file;
}

/* The file cannot be had, now or later. */
static void must_fail(int nr, int error)
{
	expect("error", error, retrieve(nr));
	expect("error of another attempt", error, retrieve(nr));
}

static void finish_session(void)
{
	struct liveupdate_session_finish finish = { .size = sizeof(finish) };

	if (ioctl(session, LIVEUPDATE_SESSION_FINISH, &finish))
		err(1, "finish the session");
	close(session);
	close(luo);
}

/* Preserve the files, and have a child keep the session until the kexec. */
static void preserve(const int *files, int from, int to)
{
	struct liveupdate_ioctl_create_session create = {
		.size = sizeof(create), .name = "hugetlb",
	};

	now = "preserve";
	luo = open("/dev/liveupdate", O_RDWR);
	if (luo < 0)
		err(1, "/dev/liveupdate");
	if (ioctl(luo, LIVEUPDATE_IOCTL_CREATE_SESSION, &create))
		err(1, "create a session");
	for (int i = from; i <= to; i++) {
		struct liveupdate_session_preserve_fd file = {
			.size = sizeof(file), .fd = files[i], .token = i,
		};

		if (files[i] < 0)
			continue;
		if (ioctl(create.fd, LIVEUPDATE_SESSION_PRESERVE_FD, &file))
			err(1, "preserve file %d", i);
	}
	switch (fork()) {
	case -1:
		err(1, "fork");
	case 0:
		setsid();
		fclose(stdout);
		fclose(stderr);
		for (;;)
			pause();
	}
}

/* What a group is charged for. */
struct charges {
	long folios, reserved, stat, memory;
};

static struct charges charges(void)
{
	struct charges c = {
		number(GROUP "/hugetlb.2MB.current", "", -1),
		number(GROUP "/hugetlb.2MB.rsvd.current", "", -1),
		number(GROUP "/memory.stat", "hugetlb ", 0),
		number(GROUP "/memory.current", "", -1),
	};

	return c;
}

static void expect_charges(const char *what, struct charges base, long bytes, long memory)
{
	struct charges c;

	now = what;
	/* memory.stat is brought up to date every two seconds. */
	for (int i = 0; i < 30 && charges().stat != bytes; i++)
		usleep(100000);
	c = charges();
	expect("hugetlb.2MB.current", bytes, c.folios);
	expect("hugetlb.2MB.rsvd.current", bytes, c.reserved);
	expect("hugetlb in memory.stat", bytes, c.stat);
	expect_near("memory.current", base.memory + memory, c.memory);
}

static void enter(const char *group)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	must_put(path, "0");
}

/* A limit too low for the third folio: the file is lost, as any whose retrieval fails. */
static void limited(int nr, const char *limit, const char *value)
{
	const long total = pool(SMALL, -1, "nr_hugepages");
	const long left = pool(SMALL, -1, "free_hugepages");
	const struct charges base = charges();
	char path[64];

	now = limit;
	snprintf(path, sizeof(path), GROUP "/%s", limit);
	must_put(path, value);
	must_fail(nr, -ENOMEM);
	must_put(path, "max");
	expect("error without the limit", -ENOMEM, retrieve(nr));
	/* The pool has its folios, and nobody is charged. */
	expect("folios", total + PAGES, pool(SMALL, -1, "nr_hugepages"));
	expect("free folios", left + PAGES, pool(SMALL, -1, "free_hugepages"));
	expect_charges(limit, base, 0, 0);
}

/* Files 1 to 3 hit limits, file 4 is charged as one that is made here. */
static void cgroups(void)
{
	struct charges base;
	int file;

	now = "cgroup";
	mkdir("/tmp/cgroup", 0755);
	if (mount("cgroup", "/tmp/cgroup", "cgroup2", 0, "memory_hugetlb_accounting"))
		err(1, "mount of cgroup2");
	must_put("/tmp/cgroup/cgroup.subtree_control", "+memory +hugetlb");
	if (mkdir(GROUP, 0755))
		err(1, GROUP);
	enter(GROUP);
	limited(1, "hugetlb.2MB.max", "4M");
	limited(2, "hugetlb.2MB.rsvd.max", "4M");
	limited(3, "memory.max", "6M");

	base = charges();
	/* With its hole filled, as the other one. */
	file = new_file(4);
	if (fallocate(file, 0, 0, file_size(4)))
		err(1, "fallocate");
	words(file, 4, 0);
	expect_charges("a new file", base, file_size(4), file_size(4));
	close(file);
	expect_charges("without the new file", base, 0, 0);
	file = must_retrieve(4);
	expect_charges("a retrieved file", base, file_size(4), file_size(4));
	/* The session has it, too. */
	close(file);
	enter("/tmp/cgroup");
	expect_charges("a file of the session", base, file_size(4), file_size(4));
	tell("charged to a cgroup: %ld bytes of folios", charges().folios);
}

static long managed(void)
{
	FILE *f = fopen("/proc/zoneinfo", "r");
	long sum = 0, v;
	char line[256];

	if (!f)
		err(1, "/proc/zoneinfo");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, " managed %ld", &v) == 1)
			sum += v;
	fclose(f);
	return sum;
}

/* Of folios that nobody has restored. */
static long unclaimed(void)
{
	FILE *f = fopen(KHO "in/summary", "r");
	long bytes = 0, b;
	char line[256];

	if (!f)
		err(1, KHO "in/summary");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "hugetlb folio %*d %*d %*d %ld", &b) == 1)
			bytes = b;
	fclose(f);
	return bytes;
}

/* The line of a list that begins with an address, and has @what. Returns the address. */
static unsigned long listed(const char *path, const char *what)
{
	FILE *f = fopen(path, "r");
	unsigned long at = 0;
	char line[256];

	if (!f)
		err(1, "%s", path);
	while (!at && fgets(line, sizeof(line), f))
		if (strstr(line, what))
			at = strtoul(line, NULL, 16);
	fclose(f);
	if (!at)
		errx(1, "%s: %s has no '%s'", now, path, what);
	return at;
}

/* No processor with pages of 1 GiB, as far as this kernel knows. */
static void without_size(void)
{
	now = "1 GiB";
	expect("pool", -1, pool(GIB, -1, "nr_hugepages"));
	must_fail(0, -ENODEV);
	expect("unclaimed bytes", GIB + 5 * file_size(1), unclaimed());
	listed(KHO "in/memdescs", "18 hugetlb folio, unclaimed");
	expect("release with a session", -EBUSY, put(KHO "in/release", "hugetlb folio"));
}

static void release(long bytes)
{
	const long pages = managed();

	now = "release";
	expect("unclaimed bytes", bytes, unclaimed());
	must_put(KHO "in/release", "hugetlb folio");
	expect("managed pages", pages + bytes / getpagesize(), managed());
	expect("unclaimed bytes", 0, unclaimed());
	expect("another release", -ENOENT, put(KHO "in/release", "hugetlb folio"));
	tell("%ld MiB without a pool: kept, listed, released", bytes / MIB);
}

/* No session can be read, because nobody knows what these files are. */
static void without_hugetlb(void)
{
	now = "no hugetlb";
	expect("a session", -1, open("/dev/liveupdate", O_RDWR));
	expect("its error", EIO, errno);
	/* The size is none that this kernel could free. */
	listed(KHO "in/kept", "1 entries, 262144 pages");
	listed(KHO "in/memdescs", "9 hugetlb folio, unclaimed");
	release(5 * file_size(1));
	listed(KHO "in/kept", "1 entries, 262144 pages");
}

/* Each size that the architecture has, but for those that are too large for the guest. */
static int sizes(long *size, int max)
{
	const long memory = number("/proc/meminfo", "MemTotal:", 0) << 10;
	DIR *dir = opendir("/sys/kernel/mm/hugepages");
	struct dirent *entry;
	int nr = 0;
	long kib;

	if (!dir)
		err(1, "/sys/kernel/mm/hugepages");
	while ((entry = readdir(dir)))
		if (nr < max && sscanf(entry->d_name, "hugepages-%ldkB", &kib) == 1 &&
		    kib << 10 < memory / 2)
			size[nr++] = kib << 10;
	closedir(dir);
	return nr;
}

static void write_page(int file, long size, int write)
{
	unsigned long *p = mmap(NULL, size, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED,
				file, 0);

	if (p == MAP_FAILED)
		err(1, "%s: mmap of %ld kB", now, size >> 10);
	for (long at = 0; at < size; at += getpagesize()) {
		unsigned long *word = &p[at / sizeof(*p)];

		if (write)
			*word = size + at;
		else
			expect("a word", size + at, *word);
	}
	munmap(p, size);
}

/* A file with a page of each size, over all kernels of the chain. */
static void all_sizes(int gen)
{
	const int last = atoi(strstr(cmdline(), "guest.last=") + strlen("guest.last="));
	int files[64], nr;
	long size[64];

	memset(files, -1, sizeof(files));
	nr = sizes(size, 64);
	if (gen != 1)
		open_session();
	for (int i = 0; i < nr; i++) {
		const int token = __builtin_ctzl(size[i]);
		const long total = pool(size[i], -1, "nr_hugepages");
		char path[96], name[32];

		snprintf(name, sizeof(name), "%ld kB", size[i] >> 10);
		snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%ldkB/nr_hugepages",
			 size[i] >> 10);
		now = name;
		if (gen == 1) {
			must_put(path, "1");
			expect("folios", 1, pool(size[i], -1, "nr_hugepages"));
			files[token] = memfd_create("huge", MFD_HUGETLB | token << MFD_HUGE_SHIFT);
			if (files[token] < 0 || ftruncate(files[token], size[i]))
				err(1, "a file of %s", name);
			write_page(files[token], size[i], 1);
			continue;
		}
		files[token] = retrieve(token);
		if (files[token] < 0)
			errx(1, "%s: retrieve: %s", now, strerror(-files[token]));
		write_page(files[token], size[i], 0);
		expect("folios", total + 1, pool(size[i], -1, "nr_hugepages"));
		expect("free folios", 0, pool(size[i], -1, "free_hugepages"));
		tell("%s came", name);
	}
	if (gen != 1)
		finish_session();
	if (gen == last) {
		for (int i = 0; i < nr; i++) {
			char path[96];

			close(files[__builtin_ctzl(size[i])]);
			snprintf(path, sizeof(path),
				 "/sys/kernel/mm/hugepages/hugepages-%ldkB/nr_hugepages",
				 size[i] >> 10);
			expect("free folios", 1, pool(size[i], -1, "free_hugepages"));
			must_put(path, "0");
			expect("folios at the end", 0, pool(size[i], -1, "nr_hugepages"));
		}
		return;
	}
	preserve(files, 0, 63);
}

static void print_words(const char *format, ...)
{
	FILE *f = fopen("/tmp/words", "w");
	va_list args;

	if (!f)
		err(1, "/tmp/words");
	va_start(args, format);
	vfprintf(f, format, args);
	va_end(args);
	fclose(f);
}

int main(int argc, char **argv)
{
	const int gen = argc == 3 ? atoi(argv[2]) : 0;
	int files[6] = { -1, -1, -1, -1, -1, -1 };

	if (strstr(cmdline(), " guest.chain=sizes")) {
		all_sizes(gen);
		return 0;
	}
	if (gen == 2 && strstr(cmdline(), " guest.chain=none")) {
		without_hugetlb();
		return 0;
	}
	pools_at_start();
	switch (gen) {
	case 1:
		expect("folios of 1 GiB", 1, pool(GIB, -1, "nr_hugepages"));
		/* Most come from the pool, the rest are surplus ones. */
		must_put("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages", "32");
		for (int i = 0; i < 6; i++)
			files[i] = new_file(i);
		preserve(files, 0, 5);
		expect("folios", 5 * PAGES, pool(SMALL, -1, "nr_hugepages"));
		if (pool(SMALL, -1, "surplus_hugepages") < 1)
			errx(1, "no folio is a surplus one");
		tell("%ld folios, %ld of them surplus ones", pool(SMALL, -1, "nr_hugepages"),
		     pool(SMALL, -1, "surplus_hugepages"));
		return 0;
	/* No pages of 1 GiB, cgroups, and fewer folios asked for than came. */
	case 2:
		open_session();
		without_size();
		cgroups();
		files[5] = must_retrieve(5);
		check_asked(5 * PAGES);
		finish_session();
		expect_charges("without the file of the session", charges(), 0, 0);
		release(GIB);
		preserve(files, 5, 5);
		return 0;
	/* More folios asked for than came, and pages of 1 GiB again. */
	case 3:
		open_session();
		now = "retrieve";
		files[5] = must_retrieve(5);
		check_asked(PAGES);
		finish_session();
		expect("folios of 1 GiB", 1, pool(GIB, -1, "nr_hugepages"));
		files[0] = new_file(0);
		preserve(files, 0, 5);
		return 0;
	/* Folios asked for by node, and a CMA area for folios of 1 GiB. */
	case 4:
		open_session();
		now = "retrieve";
		files[5] = must_retrieve(5);
		files[0] = must_retrieve(0);
		check_asked(PAGES);
		finish_session();
		preserve(files, 0, 5);
		/* The next kernel finds a hole in the middle of the folio. */
		print_words("memmap=64M$%#lx", listed(KHO "out/memdescs", "18 hugetlb folio") +
			    GIB / 2);
		return 0;
	/* There is a hole. */
	default:
		open_session();
		now = "hole";
		must_fail(0, -EIO);
		files[5] = must_retrieve(5);
		finish_session();
		tell("1 GiB with a hole at %#lx: %s", listed(KHO "in/kept", " order 18 "), "kept");
		/* The pools have what came, and can do without it. */
		close(files[5]);
		now = "last";
		expect("free folios", PAGES, pool(SMALL, -1, "free_hugepages"));
		must_put("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0");
		expect("folios", 0, pool(SMALL, -1, "nr_hugepages"));
		return 0;
	}
}
