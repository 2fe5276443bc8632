// SPDX-License-Identifier: GPL-2.0
/*
 * The init program of typed.sh, in each of its kernels.
 *
 * Kernel 1 preserves memory of every type. Each later kernel restores and checks
 * what the kernel before it has preserved. The last kernel then frees everything,
 * the others preserve some of the memory again, and new memory besides.
 *
 * The module test_kho_memdesc (lib/kho_test/) does the work and is driven through
 * debugfs. The result is one KTAP line for each type. It goes to the kernel log,
 * because no kernel message can land in the middle of such a line.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

/* from arch/x86/include/asm/setup.h */
#define COMMAND_LINE_SIZE	2048

#define TEST			"/debugfs/kho_memdesc_test/"

static unsigned int kernel = 1, last = 1;
static unsigned long seed = 1;
static char cmdline[COMMAND_LINE_SIZE];	/* of the next kernel */

static void say(const char *fmt, ...)
{
	int fd = open("/dev/kmsg", O_WRONLY);
	char line[512];
	va_list args;
	int len;

	if (fd < 0)
		return;
	len = snprintf(line, sizeof(line), "kho-typed %u: ", kernel);
	va_start(args, fmt);
	vsnprintf(line + len, sizeof(line) - len, fmt, args);
	va_end(args);
	write(fd, line, strlen(line));
	close(fd);
}

static int fail(const char *what)
{
	say("Bail out! %s: %s", what, strerror(errno));
	return -1;
}

/* The contents of a small file as a string. */
static int read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t len, sum = 0;

	if (fd < 0)
		return -1;
	while ((len = read(fd, buf + sum, size - 1 - sum)) > 0)
		sum += len;
	close(fd);
	buf[sum] = '\0';
	return len < 0 ? -1 : 0;
}

static bool exists(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Which kernel is this one? The next one has the same command line but for that. */
static int read_cmdline(void)
{
	char now[COMMAND_LINE_SIZE], *word, *end;
	size_t len = 0;

	if (read_file("/proc/cmdline", now, sizeof(now)))
		return -1;
	for (word = now; *word; word = end) {
		for (end = word; *end > ' '; end++)
			;
		if (*end)
			*end++ = '\0';
		if (!strncmp(word, "kho_typed.kernel=", 17)) {
			kernel = atoi(word + 17);
			continue;
		}
		if (!strncmp(word, "kho_typed.last=", 15))
			last = atoi(word + 15);
		if (!strncmp(word, "kho_typed.seed=", 15))
			seed = atol(word + 15);
		len += snprintf(cmdline + len, sizeof(cmdline) - len, "%s ", word);
		if (len >= sizeof(cmdline))
			return -1;
	}
	len += snprintf(cmdline + len, sizeof(cmdline) - len,
			"kho_typed.kernel=%u", kernel + 1);
	return len < sizeof(cmdline) ? 0 : -1;
}

static int check_kho(void)
{
	if (!exists("/debugfs/kho/out"))
		return fail("kexec handover is off");
	if (kernel > 1 && !exists("/debugfs/kho/in"))
		return fail("nothing was handed over");
	return 0;
}

/*
 * EIO means that some memory was not as expected. The report says of which type.
 * The other types have to go on to the next kernel.
 */
static int command(const char *fmt, unsigned long arg)
{
	int fd = open(TEST "cmd", O_WRONLY);
	char line[64];
	int err = 0;

	if (fd < 0)
		return fail(TEST "cmd");
	snprintf(line, sizeof(line), fmt, arg);
	say("# %s", line);
	if (write(fd, line, strlen(line)) < 0) {
		if (errno == EIO)
			say("# %s has found mismatches", line);
		else
			err = fail(line);
	}
	close(fd);
	return err;
}

static int run_commands(void)
{
	if (kernel > 1 && command("restore", 0))
		return -1;
	if (kernel == last)
		return command("free", 0);
	return command(kernel == 1 ? "preserve %lu" : "again %lu", seed + kernel);
}

/* type=NAME objects=N bytes=N preserved=N ... leaked=N verdict=pass */
static void report_type(unsigned int nr, char *line)
{
	const bool ok = strstr(line, " leaked=0 ") && strstr(line, " verdict=pass");
	char *counts = strchr(line, ' ');

	if (!counts || strncmp(line, "type=", 5)) {
		say("not ok %u %s", nr, line);
		return;
	}
	*counts++ = '\0';
	say("%s %u %s # %s", ok ? "ok" : "not ok", nr, line + 5, counts);
}

static int report(void)
{
	static char types[16384];
	unsigned int nr = 0;
	char *line, *end;

	if (read_file(TEST "report", types, sizeof(types)))
		return fail(TEST "report");
	for (line = types; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		report_type(++nr, line);
	}
	say("1..%u", nr);
	return 0;
}

/* In nolibc, the arguments of syscall() must not be calls themselves. */
static long kexec_file_load(int image, int initrd, unsigned long len,
			    const char *words, unsigned long flags)
{
	return syscall(__NR_kexec_file_load, image, initrd, len, words, flags);
}

static int kexec(void)
{
	int image = open("/kernel", O_RDONLY);
	int initrd = open("/sys/firmware/initrd", O_RDONLY);

	if (image < 0)
		return fail("/kernel");
	if (initrd < 0)
		return fail("/sys/firmware/initrd");
	if (kexec_file_load(image, initrd, strlen(cmdline) + 1, cmdline, 0))
		return fail("kexec_file_load");
	reboot(RB_KEXEC);
	return fail("kexec");
}

static int run(void)
{
	int err;

	if (mount("debugfs", "/debugfs", "debugfs", 0, NULL) ||
	    mount("proc", "/proc", "proc", 0, NULL) ||
	    mount("sysfs", "/sys", "sysfs", 0, NULL))
		return fail("mount");
	if (read_cmdline())
		return fail("the kernel command line");
	if (check_kho())
		return -1;

	err = run_commands();
	if (report() || err || kernel == last)
		return -1;
	return kexec();
}

int main(void)
{
	run();
	reboot(RB_AUTOBOOT);
	return -1;
}
