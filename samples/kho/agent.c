// SPDX-License-Identifier: GPL-2.0-only
/*
 * The process of a live update: takes a file of /dev/kho_sample to the next kernel.
 *
 *	agent preserve TEXT	write TEXT to a new file, give the file to a session
 *	agent retrieve		print what is in the file that comes back
 *
 * A session lives as long as somebody holds its file descriptor: "preserve" leaves a
 * process behind that does, until the kexec.
 */

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/liveupdate.h>

#define SESSION	"kho-sample"
#define TOKEN	1		/* chosen by the process, for each file another one */

static int xopen(const char *path)
{
	int fd = open(path, O_RDWR);

	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static void give(const char *text)
{
	struct liveupdate_ioctl_create_session session = {
		.size = sizeof(session),
		.name = SESSION,
	};
	struct liveupdate_session_preserve_fd file = {
		.size = sizeof(file),
		.token = TOKEN,
	};
	int luo = xopen("/dev/liveupdate");

	file.fd = xopen("/dev/kho_sample");
	if (ioctl(luo, LIVEUPDATE_IOCTL_CREATE_SESSION, &session))
		err(1, "create a session");
	if (ioctl(session.fd, LIVEUPDATE_SESSION_PRESERVE_FD, &file))
		err(1, "preserve the file");
	/* The memory itself is handed over, so this is not too late. */
	if (write(file.fd, text, strlen(text)) != (ssize_t)strlen(text))
		err(1, "write");
	close(file.fd);
	close(luo);
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

static void take(void)
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
	int luo = xopen("/dev/liveupdate");
	char text[4096];
	ssize_t n;

	if (ioctl(luo, LIVEUPDATE_IOCTL_RETRIEVE_SESSION, &session))
		err(1, "retrieve the session");
	if (ioctl(session.fd, LIVEUPDATE_SESSION_RETRIEVE_FD, &file))
		err(1, "retrieve the file");
	/* From here on the file belongs to this process alone. */
	if (ioctl(session.fd, LIVEUPDATE_SESSION_FINISH, &finish))
		err(1, "finish the session");
	n = pread(file.fd, text, sizeof(text) - 1, 0);
	if (n < 0)
		err(1, "read");
	text[n] = '\0';
	printf("%s\n", text);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "preserve"))
		give(argv[2]);
	else if (argc == 2 && !strcmp(argv[1], "retrieve"))
		take();
	else
		errx(1, "usage: agent preserve TEXT | agent retrieve");
	return 0;
}
