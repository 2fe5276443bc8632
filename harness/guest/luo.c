// SPDX-License-Identifier: GPL-2.0
/*
 * luo: carry a file over a live update in a memfd, from user space.
 *
 *   luo preserve SESSION FILE   copy FILE into a memfd, preserve it, stay
 *   luo again SESSION OUT       retrieve it, copy it to OUT, finish the session,
 *                               preserve the same memfd in a new one, stay
 *   luo retrieve SESSION OUT    retrieve it, copy it to OUT, finish the session
 *
 * A session lives as long as somebody holds its file descriptor: "stay" means
 * that a child keeps it until the kexec.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/liveupdate.h>

#define TOKEN	0x10c0ffee

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
	to = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (to < 0)
		err(1, "%s", out);
	copy(file.fd, to);
	close(to);
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
	if (!strcmp(argv[1], "preserve"))
		mem = new_memfd(argv[3]);
	else
		mem = retrieve(argv[2], argv[3]);
	if (fstat(mem, &st))
		err(1, "fstat");
	if (strcmp(argv[1], "retrieve"))
		preserve(argv[2], mem);
	printf("%lld\n", (long long)st.st_size);
	return 0;
}
