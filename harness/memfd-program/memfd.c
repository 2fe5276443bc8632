// SPDX-License-Identifier: GPL-2.0
/*
 * memfd: how long a live update takes for one memfd, from user space.
 *
 *   memfd preserve PAGES   make a memfd of so many pages of 4 KiB, preserve it, stay
 *   memfd retrieve PAGES   retrieve it, read the first page, read all of them
 *
 * Says "memfd: WHAT NUMBER" in the kernel's log for each step. The numbers are ticks of
 * the TSC, which harness/memfd lets be instructions. The TSC keeps counting over a kexec.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/liveupdate.h>
#include <x86intrin.h>

#define PAGE	4096
#define TOKEN	0x10c0ffee
#define SESSION	"memfd"

static uint64_t now(void)
{
	_mm_lfence();
	return __rdtsc();
}

static void tell(const char *what, uint64_t number)
{
	FILE *f = fopen("/dev/kmsg", "w");

	if (!f)
		err(1, "/dev/kmsg");
	fprintf(f, "memfd: %s %llu\n", what, (unsigned long long)number);
	fclose(f);
}

static int luo_ioctl(const char *what, int fd, unsigned long cmd, void *arg)
{
	uint64_t start = now();
	int ret = ioctl(fd, cmd, arg);

	if (ret < 0)
		err(1, "%s", what);
	tell(what, now() - start);
	return ret;
}

static int luo_open(void)
{
	int fd = open("/dev/liveupdate", O_RDWR);

	if (fd < 0)
		err(1, "/dev/liveupdate");
	return fd;
}

static char *map(int mem, size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	return p;
}

static void preserve(size_t pages)
{
	struct liveupdate_ioctl_create_session session = {
		.size = sizeof(session),
		.name = SESSION,
	};
	struct liveupdate_session_preserve_fd file = {
		.size = sizeof(file),
		.token = TOKEN,
	};
	int luo = luo_open();
	char *p;

	file.fd = memfd_create("memfd", 0);
	if (file.fd < 0 || ftruncate(file.fd, pages * PAGE))
		err(1, "memfd_create");
	p = map(file.fd, pages * PAGE);
	for (size_t i = 0; i < pages; i++)
		*(size_t *)(p + i * PAGE) = i;
	munmap(p, pages * PAGE);

	luo_ioctl("create session", luo, LIVEUPDATE_IOCTL_CREATE_SESSION, &session);
	luo_ioctl("preserve", session.fd, LIVEUPDATE_SESSION_PRESERVE_FD, &file);
	switch (fork()) {
	case -1:
		err(1, "fork");
	case 0:
		/* The session ends with the last file descriptor. */
		setsid();
		close(0);
		close(1);
		close(2);
		for (;;)
			pause();
	}
	tell("left at", now());
}

static void retrieve(size_t pages)
{
	struct liveupdate_ioctl_retrieve_session session = {
		.size = sizeof(session),
		.name = SESSION,
	};
	struct liveupdate_session_retrieve_fd file = {
		.size = sizeof(file),
		.token = TOKEN,
	};
	struct liveupdate_session_finish finish = { .size = sizeof(finish) };
	size_t bad = 0;
	uint64_t start;
	int luo;
	char *p;

	tell("arrived at", now());
	luo = luo_open();
	luo_ioctl("retrieve session", luo, LIVEUPDATE_IOCTL_RETRIEVE_SESSION, &session);
	luo_ioctl("retrieve", session.fd, LIVEUPDATE_SESSION_RETRIEVE_FD, &file);

	start = now();
	p = map(file.fd, pages * PAGE);
	if (*(volatile size_t *)p)
		bad++;
	tell("first page", now() - start);

	start = now();
	for (size_t i = 0; i < pages; i++)
		if (*(volatile size_t *)(p + i * PAGE) != i)
			bad++;
	tell("all pages", now() - start);
	tell("bad pages", bad);

	luo_ioctl("finish", session.fd, LIVEUPDATE_SESSION_FINISH, &finish);
	munmap(p, pages * PAGE);
	start = now();
	close(file.fd);
	tell("close", now() - start);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		errx(1, "usage: memfd preserve|retrieve PAGES");
	if (!strcmp(argv[1], "preserve"))
		preserve(strtoul(argv[2], NULL, 0));
	else
		retrieve(strtoul(argv[2], NULL, 0));
	return 0;
}
