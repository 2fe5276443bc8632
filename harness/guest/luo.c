// SPDX-License-Identifier: GPL-2.0
/*
 * luo: carry a file over a live update in a memfd, from user space.
 *
 *   luo preserve SESSION FILE   copy FILE into a memfd, preserve it, stay
 *   luo again SESSION OUT       retrieve it, copy it to OUT, finish the session,
 *                               preserve the same memfd in a new one, stay
 *   luo retrieve SESSION OUT    retrieve it, copy it to OUT, finish the session
 *
 * A session also has a memfd of hugetlb, if there is a pool for its pages of 2 MiB or,
 * if that is the default size, of 1 GiB: a page with contents, a hole, a page with contents (or one page, if pages are
 * large). What it looks like, and the counters of the pool, are compared.
 *
 * A session lives as long as somebody holds its file descriptor: "stay" means
 * that a child keeps it until the kexec.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/liveupdate.h>

#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT	26
#endif

#define TOKEN		0x10c0ffee
#define HUGE_TOKEN	0x10c0fffe
#define HUGE_SEALS	(F_SEAL_SHRINK | F_SEAL_GROW)
#define HUGE_POS	4096

/* A line of /proc/meminfo, or -1. */
static long meminfo(const char *name)
{
	FILE *f = fopen("/proc/meminfo", "r");
	long value = -1, v;
	char line[128];

	if (!f)
		err(1, "/proc/meminfo");
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)) &&
		    sscanf(line + strlen(name), ": %ld", &v) == 1)
			value = v;
	fclose(f);
	return value;
}

static void expect(const char *what, long expected, long found)
{
	if (expected != found)
		errx(1, "hugetlb: %s: expected %ld, found %ld", what, expected, found);
}

/* 2 MiB, which every kernel here has, or 1 GiB if that is the default. */
static long huge_size(void)
{
	return meminfo("Hugepagesize") == 1 << 20 ? 1L << 30 : 2L << 20;
}

static int huge_pages(void)
{
	return huge_size() > 64 << 20 ? 1 : 3;
}

/* The pool of that size: 0 if there is none. */
struct pool {
	long total, free, reserved;
};

static long pool_file(const char *name)
{
	char path[96];
	long value = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%ldkB/%s",
		 huge_size() >> 10, name);
	f = fopen(path, "r");
	if (!f)
		return 0;
	if (fscanf(f, "%ld", &value) != 1)
		errx(1, "%s", path);
	fclose(f);
	return value;
}

static struct pool pool(void)
{
	return (struct pool){ pool_file("nr_hugepages"), pool_file("free_hugepages"),
			      pool_file("resv_hugepages") };
}

static void expect_pool(const char *when, struct pool before, long total, long free)
{
	struct pool now = pool();

	if (before.total + total != now.total || before.free + free != now.free ||
	    before.reserved != now.reserved)
		errx(1, "hugetlb: the pool %s: %ld pages, %ld free, %ld reserved, was %ld, %ld, %ld",
		     when, now.total, now.free, now.reserved, before.total, before.free,
		     before.reserved);
}

static void huge_words(int mem, int write)
{
	const long size = huge_size();
	unsigned long *p;

	p = mmap(NULL, huge_pages() * size, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED,
		 mem, 0);
	if (p == MAP_FAILED)
		err(1, "mmap of hugetlb");
	for (long i = 0; i < huge_pages(); i++)
		for (long w = 0; w < size / 8; w += 64) {
			unsigned long *word = &p[i * size / 8 + w];
			unsigned long value = i == 1 ? 0 : i << 40 | (w + 1);

			if (!write)
				expect("a word of the file", value, *word);
			else if (i != 1)
				*word = value;
		}
	munmap(p, huge_pages() * size);
}

static int new_huge(void)
{
	int mem;

	if (!pool().total)
		return -1;
	mem = memfd_create("huge", MFD_HUGETLB | MFD_ALLOW_SEALING |
			   __builtin_ctzl(huge_size()) << MFD_HUGE_SHIFT);
	if (mem < 0)
		err(1, "memfd_create of hugetlb");
	if (ftruncate(mem, huge_pages() * huge_size()))
		err(1, "ftruncate of hugetlb");
	huge_words(mem, 1);
	if (fcntl(mem, F_ADD_SEALS, HUGE_SEALS))
		err(1, "seals of hugetlb");
	if (lseek(mem, HUGE_POS, SEEK_SET) != HUGE_POS)
		err(1, "seek in hugetlb");
	return mem;
}

/* The file has been retrieved, with @before as the pool was then. */
static void check_huge(int mem, struct pool before)
{
	struct stat st;

	if (fstat(mem, &st))
		err(1, "fstat of hugetlb");
	expect("size", huge_pages() * huge_size(), st.st_size);
	expect("blocks", huge_pages() * huge_size() / 512, st.st_blocks);
	expect("size of blocks", huge_size(), st.st_blksize);
	expect("seals", HUGE_SEALS, fcntl(mem, F_GET_SEALS));
	expect("position", HUGE_POS, lseek(mem, 0, SEEK_CUR));
	expect_pool("with the file", before, huge_pages(), 0);
	huge_words(mem, 0);
	/* A mapping needs no more than the file has. */
	expect_pool("after a mapping", before, huge_pages(), 0);
}

/* The pool has as many pages as with the file, and those of the file are free. */
static void close_huge(int mem, struct pool before)
{
	close(mem);
	expect_pool("without the file", before, huge_pages(), huge_pages());
}

/* What is preserved stays as large as it is, and keeps its pages. */
static void check_frozen(int mem)
{
	if (!fallocate(mem, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, huge_size()))
		errx(1, "hugetlb: a hole was punched into a preserved file");
	expect("error of a hole", EPERM, errno);
	if (!fallocate(mem, 0, 0, huge_size()))
		errx(1, "hugetlb: pages were allocated in a preserved file");
	expect("error of fallocate", EPERM, errno);
}

/* Into the kernel's log, which has the time of it. */
static void note(const char *what)
{
	FILE *f = fopen("/dev/kmsg", "w");

	if (f) {
		fprintf(f, "user: %s\n", what);
		fclose(f);
	}
}

static int luo_open(void)
{
	int fd = open("/dev/liveupdate", O_RDWR);

	if (fd < 0)
		err(1, "/dev/liveupdate");
	return fd;
}

static void copy(int from, int to)
{
	static char buf[1 << 16];
	ssize_t n;

	if (lseek(from, 0, SEEK_SET) || lseek(to, 0, SEEK_SET))
		err(1, "seek");
	while ((n = read(from, buf, sizeof(buf))) > 0)
		if (write(to, buf, n) != n)
			err(1, "write");
	if (n < 0)
		err(1, "read");
}

static int new_memfd(const char *path)
{
	int file = open(path, O_RDONLY);
	int mem = memfd_create("luo", 0);

	if (file < 0)
		err(1, "%s", path);
	if (mem < 0)
		err(1, "memfd_create");
	copy(file, mem);
	close(file);
	return mem;
}

/* Retrieve a memfd of hugetlb, or return -1 if the session has none. */
static int retrieve_huge(int session)
{
	struct liveupdate_session_retrieve_fd file = {
		.size = sizeof(file),
		.token = HUGE_TOKEN,
	};
	struct pool before = pool();

	if (ioctl(session, LIVEUPDATE_SESSION_RETRIEVE_FD, &file)) {
		if (errno != ENOENT)
			err(1, "retrieve the memfd of hugetlb");
		return -1;
	}
	check_huge(file.fd, before);
	return file.fd;
}

static int huge = -1;
static struct pool huge_pool;

static int retrieve(const char *name, const char *out)
{
	struct liveupdate_ioctl_retrieve_session session = {
		.size = sizeof(session),
	};
	struct liveupdate_session_retrieve_fd file = {
		.size = sizeof(file),
		.token = TOKEN,
	};
	struct liveupdate_session_finish finish = { .size = sizeof(finish) };
	int luo = luo_open(), to;

	strncpy((char *)session.name, name, sizeof(session.name) - 1);
	if (ioctl(luo, LIVEUPDATE_IOCTL_RETRIEVE_SESSION, &session))
		err(1, "retrieve session %s", name);
	if (ioctl(session.fd, LIVEUPDATE_SESSION_RETRIEVE_FD, &file))
		err(1, "retrieve the memfd");
	note("memfd retrieved");
	to = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (to < 0)
		err(1, "%s", out);
	copy(file.fd, to);
	note("memfd read");
	close(to);
	huge_pool = pool();
	huge = retrieve_huge(session.fd);
	if (ioctl(session.fd, LIVEUPDATE_SESSION_FINISH, &finish))
		err(1, "finish session %s", name);
	close(session.fd);
	close(luo);
	return file.fd;
}

static void preserve(const char *name, int mem)
{
	struct liveupdate_ioctl_create_session session = {
		.size = sizeof(session),
	};
	struct liveupdate_session_preserve_fd file = {
		.size = sizeof(file),
		.fd = mem,
		.token = TOKEN,
	};
	int luo = luo_open();

	strncpy((char *)session.name, name, sizeof(session.name) - 1);
	if (ioctl(luo, LIVEUPDATE_IOCTL_CREATE_SESSION, &session))
		err(1, "create session %s", name);
	if (ioctl(session.fd, LIVEUPDATE_SESSION_PRESERVE_FD, &file))
		err(1, "preserve the memfd");
	note("memfd preserved");
	if (huge >= 0) {
		file.fd = huge;
		file.token = HUGE_TOKEN;
		if (ioctl(session.fd, LIVEUPDATE_SESSION_PRESERVE_FD, &file))
			err(1, "preserve the memfd of hugetlb");
		check_frozen(huge);
		close(huge);
	}
	close(luo);
	close(mem);
	switch (fork()) {
	case -1:
		err(1, "fork");
	case 0:
		setsid();
		close(0);
		close(1);
		close(2);
		for (;;)
			pause();
	}
}

int main(int argc, char **argv)
{
	struct stat st;
	int mem;

	if (argc != 4)
		errx(1, "usage: luo preserve|again|retrieve SESSION FILE");
	if (!strcmp(argv[1], "preserve")) {
		mem = new_memfd(argv[3]);
		huge = new_huge();
	} else {
		mem = retrieve(argv[2], argv[3]);
	}
	if (fstat(mem, &st))
		err(1, "fstat");
	if (strcmp(argv[1], "retrieve"))
		preserve(argv[2], mem);
	else if (huge >= 0)
		close_huge(huge, huge_pool);
	printf("%lld %ld\n", (long long)st.st_size,
	       huge < 0 ? 0 : huge_pages() * huge_size());
	return 0;
}
