// SPDX-License-Identifier: GPL-2.0
/*
 * storm SECONDS: processes have page tables of every level made, moved, shared, split,
 * walked without a lock, and freed. Each must read again what it wrote.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define MIB (1UL << 20)
#define GIB (1UL << 30)
#define HUGE_PAGE (2 * MIB)
#define rnd(below) ((unsigned long)random() % (below))
#define running() (time(NULL) < end)
#define die(...) do { int e = errno; fprintf(stderr, __VA_ARGS__); \
	fprintf(stderr, " (errno %d)\n", e); _exit(1); } while (0)

static time_t end;

/* Room at a multiple of @align, where nothing is mapped. */
static char *room(size_t size, size_t align)
{
	char *p = mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		die("no room for %zu bytes", size);
	munmap(p, size + align);
	return (char *)(((unsigned long)p + align - 1) & ~(align - 1));
}

static char *map(char *p, size_t size, int fd)
{
	p = mmap(p, size, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_NORESERVE |
		 (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED), fd, 0);
	if (p == MAP_FAILED)
		die("cannot map %zu bytes", size);
	return p;
}

static char *move(char *p, size_t size, char *to)
{
	to = mremap(p, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (to == MAP_FAILED)
		die("cannot move %zu bytes", size);
	return to;
}

static void put(char *p, size_t size, size_t step)
{
	for (size_t i = 0; i < size; i += step)
		*(unsigned long *)(p + i) = (unsigned long)(p + i);
}

/* Is what was put at @was at @p now? */
static void see(char *p, char *was, size_t size, size_t step)
{
	for (size_t i = 0; i < size; i += step)
		if (*(unsigned long *)(p + i) != (unsigned long)(was + i))
			die("%lx is at %p, which was put at %p", *(unsigned long *)(p + i), p + i, was + i);
}

static pid_t child(void)
{
	pid_t pid = fork();

	if (pid < 0)
		die("cannot fork");
	srandom(getpid());
	return pid;
}

/* Wait for a child, which may have been killed with @sig. */
static void join(pid_t pid, int sig)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || (status && status != sig))
		die("a child ended with status %x", status);
}

/* Pages far apart: each has tables of each level. Some processes are killed on their way. */
static void sparse(void)
{
	static const size_t steps[] = { MIB, 64 * MIB, GIB, 64 * GIB, 512 * GIB };
	size_t step = steps[rnd(5)], size = (4 + rnd(28)) * step;
	char *from = map(room(size, step), size, -1), *to;
	pid_t pids[6], k;

	put(from, size, step);
	for (k = 0; k < 6 && (pids[k] = child()); k++)
		;
	if (k < 6 && k % 2)
		fork();
	to = move(from, size, room(size, step));
	see(to, from, size, step);
	put(to, size, step);
	if (k < 6)
		_exit(0);
	kill(pids[0], SIGKILL);
	kill(pids[3], SIGKILL);
	munmap(to + 2 * step, step);
	munmap(to, size);
	for (k = 0; k < 6; k++)
		join(pids[k], SIGKILL);
}

/* Huge pages, split, taken out in parts, collapsed, moved; or out of the direct map. */
static void thp(void)
{
	const size_t size = 4 * HUGE_PAGE, step = 16 * PAGE;
	const unsigned int kind = rnd(4);
	int fd = kind == 3 ? syscall(SYS_memfd_secret, 0) : kind == 2 ? memfd_create("thp", 0) : -1;
	char *p, *to;
	pid_t pid;

	if (fd >= 0 && ftruncate(fd, size))
		die("cannot make a file");
	p = map(room(size, HUGE_PAGE), size, fd);
	if (madvise(p, size, rnd(4) ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		die("there are no huge pages");
	put(p, size, step);
	pid = child();
	madvise(p, size, MADV_HUGEPAGE);
	for (int i = 0; i < 8; i++) {
		char *at = p + rnd(size / step) * step + PAGE;

		switch (rnd(4)) {
		case 0:	mprotect(at, PAGE, PROT_READ);
			mprotect(p, size, PROT_READ | PROT_WRITE); break;
		case 1:	madvise(at, PAGE, MADV_DONTNEED); break;
		case 2:	madvise(p, size, MADV_COLLAPSE); break;
		case 3:	madvise(p + rnd(4) * HUGE_PAGE, HUGE_PAGE, MADV_COLLAPSE); break;
		}
	}
	to = move(p, size, room(size + MIB, HUGE_PAGE) + rnd(2) * 16 * PAGE);
	see(to, p, size, step);
	if (!pid)
		_exit(0);
	munmap(to, size);
	join(pid, 0);
	close(fd);
}

/* A file of huge pages at multiples of 1 GiB: processes share tables until they cannot. */
static void shared(void)
{
	int fd = memfd_create("shared", MFD_HUGETLB | MFD_HUGE_2MB), n = 1 + rnd(3);
	char *p = room(n * GIB, GIB);
	pid_t pids[3];

	if (fd < 0 || ftruncate(fd, GIB))
		die("cannot make a file of huge pages");
	for (int i = 0; i < n; i++)
		map(p + i * GIB, GIB, fd);
	put(p, HUGE_PAGE, HUGE_PAGE);
	for (int k = 0; k < 3; k++) {
		pids[k] = child();
		for (char *q = p; !pids[k] && q < p + n * GIB; q += GIB) {
			see(q, p, PAGE, PAGE);
			switch (rnd(4)) {
			case 0:	mprotect(q, HUGE_PAGE, PROT_READ); break;
			case 1:	munmap(q + GIB / 2, HUGE_PAGE); break;
			case 2:	madvise(q, GIB, MADV_DONTNEED); break;
			/* At a multiple of 1 GiB stock waits for ever, in huge_pmd_share(). */
			case 3:	move(q, GIB, room(2 * GIB, GIB) + HUGE_PAGE); break;
			}
		}
		if (!pids[k])
			_exit(0);
	}
	if (rnd(2))
		munmap(p, n * GIB);
	for (int k = 0; k < 3; k++)
		join(pids[k], 0);
	munmap(p, n * GIB);
	close(fd);
}

/* Pages are pinned by address while another thread takes their tables away. */
static void *unmapper(void *p)
{
	while (running()) {
		map(p, 2 * HUGE_PAGE, -1);
		madvise(p, 2 * HUGE_PAGE, rnd(2) ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		put(p, 2 * HUGE_PAGE, 16 * PAGE);
		madvise(p + rnd(2) * HUGE_PAGE, HUGE_PAGE, MADV_DONTNEED);
		munmap(p, 2 * HUGE_PAGE);
	}
	return NULL;
}

static void gup(void)
{
	static char buf[16 * PAGE];
	struct iovec to = { buf, sizeof(buf) };
	char *area = room(2 * HUGE_PAGE, HUGE_PAGE);
	int fds[2], node;
	pthread_t thread;

	if (pipe2(fds, O_NONBLOCK) || pthread_create(&thread, NULL, unmapper, area))
		die("cannot start a thread");
	while (running()) {
		char *p = area + rnd(2 * HUGE_PAGE / PAGE - 16) * PAGE;
		struct iovec from = { p, sizeof(buf) };

		if (vmsplice(fds[1], &from, 1, SPLICE_F_NONBLOCK) > 0)
			while (read(fds[0], buf, sizeof(buf)) > 0)
				;
		process_vm_readv(getpid(), &to, 1, &from, 1, 0);
		syscall(SYS_futex, p, FUTEX_WAIT, 1, NULL, NULL, 0);
		syscall(SYS_get_mempolicy, &node, NULL, 0, p, MPOL_F_NODE | MPOL_F_ADDR);
	}
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	static void (*const work[])(void) = { sparse, sparse, thp, thp, shared, gup };
	pid_t pids[6];

	end = time(NULL) + atoi(argc > 1 ? argv[1] : "10");
	for (int i = 0; i < 6; i++) {
		int rounds = 0;

		pids[i] = child();
		if (pids[i])
			continue;
		for (; running(); rounds++)
			work[i]();
		dprintf(1, "storm: worker %d made %d rounds\n", i, rounds);
		_exit(0);
	}
	for (int i = 0; i < 6; i++)
		join(pids[i], 0);
	return 0;
}
