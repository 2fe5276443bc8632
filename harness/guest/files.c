// SPDX-License-Identifier: GPL-2.0
/*
 * files FILE COPY SEED CALLS [NOT...]: change FILE in all the ways that a file can be
 * changed but NOT, at random, and compare it each time with a copy in memory. In the
 * end COPY has what is in FILE. What a filesystem cannot do is left out and counted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX (384 << 10)

struct move_extent {
	uint32_t reserved, donor_fd;
	uint64_t orig_start, donor_start, len, moved_len;
};
#define EXT4_IOC_MOVE_EXT _IOWR('f', 15, struct move_extent)

enum { WRITE, READ, MAP_WRITE, MAP_READ, TRUNCATE, PREALLOC, PUNCH, ZERO, COLLAPSE,
	INSERT, SYNC, DROP, MOVE, JOURNAL, NR_CALLS };
static const char * const names[] = { "write", "read", "map-write", "map-read",
	"truncate", "prealloc", "punch", "zero", "collapse", "insert", "sync", "drop",
	"move", "journal" };

static unsigned char want[MAX], buf[MAX];
static size_t size, block;
static const char *path;
static int fd, donor;
static unsigned int done[NR_CALLS], refused[NR_CALLS], never[NR_CALLS];

__attribute__((format(printf, 1, 2))) static void fail(const char *text, ...)
{
	va_list args;

	va_start(args, text);
	printf("files: %s: ", path);
	vprintf(text, args);
	printf("\n");
	va_end(args);
	exit(1);
}

/* Nonzero if it was done; what cannot be done is no failure. */
static int did(int call, long result)
{
	if (result >= 0) {
		done[call]++;
		return 1;
	}
	switch (errno) {
	case EOPNOTSUPP:
		break;
	case EBUSY:
	case EINVAL:
	case ENODATA:
		if (call == MOVE || call == COLLAPSE || call == INSERT)
			break;
		/* fallthrough */
	default:
		fail("%s: %s", names[call], strerror(errno));
	}
	refused[call]++;
	return 0;
}

static void compare(const unsigned char *have, size_t pos, size_t len, const char *how)
{
	for (size_t i = 0; i < len; i++)
		if (have[i] != want[pos + i])
			fail("%s at %zu, size %zu: %02x instead of %02x", how, pos + i,
			     size, have[i], want[pos + i]);
}

static void read_all(const char *how)
{
	ssize_t n = pread(fd, buf, MAX, 0);

	if (n != (ssize_t)size)
		fail("%s: read %zd bytes of %zu", how, n, size);
	compare(buf, 0, size, how);
}

static void map(int call, size_t pos, size_t len)
{
	size_t start = pos & ~4095UL;
	unsigned char *p = mmap(NULL, pos + len - start, PROT_READ | PROT_WRITE,
				MAP_SHARED, fd, start);

	if (p == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	if (call == MAP_WRITE) {
		memset(want + pos, rand(), len);
		memcpy(p + pos - start, want + pos, len);
	} else {
		compare(p + pos - start, pos, len, names[call]);
	}
	munmap(p, pos + len - start);
	done[call]++;
}

static void move(size_t pos, size_t len)
{
	struct move_extent m = { .donor_fd = donor, .orig_start = pos / block,
		.donor_start = pos / block, .len = len / block };

	if (!m.len || fallocate(donor, 0, 0, MAX))
		return;
	did(MOVE, ioctl(fd, EXT4_IOC_MOVE_EXT, &m));
}

static void set_size(size_t to)
{
	if (to > size)
		memset(want + size, 0, to - size);
	size = to;
}

static void change(int call)
{
	size_t pos = rand() % MAX, len = rand() % (rand() % 4 ? 6000 : 100000) + 1;
	int flags;

	/* Most files are small, and most changes inside. */
	if (size && rand() % 4)
		pos %= size;
	if (len > MAX - pos)
		len = MAX - pos;
	switch (call) {
	case WRITE:
		set_size(pos > size ? pos : size);
		memset(want + pos, rand(), len);
		for (size_t i = 0; i < len; i += 97)
			want[pos + i] = rand();
		if (pwrite(fd, want + pos, len, pos) != (ssize_t)len)
			fail("write: %s", strerror(errno));
		size = pos + len > size ? pos + len : size;
		done[call]++;
		return;
	case READ:
		read_all("read");
		done[call]++;
		return;
	case TRUNCATE:
		if (did(call, ftruncate(fd, rand() % 8 ? pos : 0)))
			set_size(lseek(fd, 0, SEEK_END));
		return;
	case PREALLOC:
		if (did(call, fallocate(fd, 0, pos, len)) && pos + len > size)
			set_size(pos + len);
		return;
	case ZERO:
		if (!did(call, fallocate(fd, FALLOC_FL_ZERO_RANGE, pos, len)))
			return;
		if (pos + len > size)
			set_size(pos + len);
		memset(want + pos, 0, len);
		return;
	case SYNC:
		did(call, rand() % 2 ? fsync(fd) : sync_file_range(fd, pos, len,
			SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER));
		return;
	case DROP:
		done[call]++;
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		return;
	case JOURNAL:
		if (!did(call, ioctl(fd, FS_IOC_GETFLAGS, &flags)))
			return;
		flags ^= FS_JOURNAL_DATA_FL;
		did(call, ioctl(fd, FS_IOC_SETFLAGS, &flags));
		return;
	}
	/* The others do not go beyond the end. */
	if (pos >= size)
		return;
	if (len > size - pos)
		len = size - pos;
	if (call == MAP_WRITE || call == MAP_READ) {
		map(call, pos, len);
		return;
	}
	if (call == PUNCH) {
		if (did(call, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					pos, len)))
			memset(want + pos, 0, len);
		return;
	}
	pos -= pos % block;
	len -= len % block;
	if (call == MOVE) {
		move(pos, len);
	} else if (call == COLLAPSE) {
		if (len && pos + len < size &&
		    did(call, fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, pos, len))) {
			memmove(want + pos, want + pos + len, size - pos - len);
			size -= len;
		}
	} else if (len && size + len <= MAX &&
		   did(call, fallocate(fd, FALLOC_FL_INSERT_RANGE, pos, len))) {
		memmove(want + pos + len, want + pos, size - pos);
		memset(want + pos, 0, len);
		size += len;
	}
}

int main(int argc, char **argv)
{
	char donor_path[256];
	struct stat st;
	int copy, calls;

	if (argc < 5)
		return 2;
	for (int i = 5; i < argc; i++)
		for (int j = 0; j < NR_CALLS; j++)
			never[j] |= !strcmp(argv[i], names[j]);
	path = argv[1];
	srand(atoi(argv[3]));
	calls = atoi(argv[4]);
	snprintf(donor_path, sizeof(donor_path), "%s.donor", path);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	donor = open(donor_path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || donor < 0 || fstat(fd, &st))
		fail("%s", strerror(errno));
	block = st.st_blksize;
	while (calls--) {
		int call = rand() % NR_CALLS;

		if (!never[call])
			change(call);
	}
	read_all("in the end");
	copy = open(argv[2], O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (copy < 0 || write(copy, want, size) != (ssize_t)size)
		fail("%s: %s", argv[2], strerror(errno));
	printf("files: %s, %zu bytes:", path, size);
	for (int i = 0; i < NR_CALLS; i++)
		printf(" %s %u", names[i], done[i]);
	printf("; refused:");
	for (int i = 0; i < NR_CALLS; i++)
		if (refused[i])
			printf(" %s %u", names[i], refused[i]);
	printf("\n");
	return 0;
}
