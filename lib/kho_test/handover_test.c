// SPDX-License-Identifier: GPL-2.0-only
/*
 * What tests that hand something over to the next kernel have in common: the
 * files through which user space drives them.
 *
 * A test has a directory in debugfs with two files. "cmd" takes one command per
 * write: a word, and for some commands a number. All tests know these:
 *
 * preserve SEED
 *	make objects whose contents follow from SEED, and preserve them, together
 *	with a list of them
 * restore
 *	take the list of the previous kernel, restore and check every object in
 *	it, and free every third object
 * again SEED
 *	preserve some of the objects that the test holds and free the others,
 *	then do what "preserve" does
 * free
 *	unpreserve and free all objects that the test holds
 *
 * A write fails with -EIO if a check had another result than was expected. Each
 * such mismatch is a line in the log, up to a limit.
 *
 * "report" has one line for each type of object. The numbers in it count from
 * the boot of this kernel; struct handover_test_stats tells what they mean.
 * "leaked" counts the objects that a kexec would lose now: no one but the test
 * has them, and they are not preserved, or they could not be restored.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/handover_test.h>
#include <linux/kstrtox.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmstat.h>

/* Of each type and command; further mismatches are only counted. */
#define HANDOVER_TEST_MAX_LINES		16

/**
 * handover_test_mismatch - Count a check that failed
 * @test: The test
 * @stats: The row of the report that it belongs to
 *
 * Context: Within a command of @test.
 * Return: Whether the caller is to log the mismatch.
 */
bool handover_test_mismatch(struct handover_test *test,
			    struct handover_test_stats *stats)
{
	test->mismatches++;
	stats->mismatches++;
	if (stats->command != test->command) {
		stats->command = test->command;
		stats->lines = 0;
	}
	return stats->lines++ < HANDOVER_TEST_MAX_LINES;
}
EXPORT_SYMBOL_GPL(handover_test_mismatch);

/**
 * handover_test_row - Show one row of the report
 * @m: Where to
 * @type: Name of the row
 * @stats: What was counted
 * @unsaved: Number of objects that the test holds and has not preserved
 *
 * Context: Within the report() of a test.
 */
void handover_test_row(struct seq_file *m, const char *type,
		       const struct handover_test_stats *stats,
		       unsigned long unsaved)
{
	/* A row without objects has tested nothing, so it has not passed. */
	seq_printf(m, "type=%s objects=%lu bytes=%lu preserved=%lu restored=%lu freed=%lu leaked=%lu verdict=%s\n",
		   type, stats->objects, stats->bytes, stats->preserved,
		   stats->restored, stats->freed, unsaved + stats->lost,
		   stats->objects && !stats->mismatches ? "pass" : "fail");
}
EXPORT_SYMBOL_GPL(handover_test_row);

/**
 * handover_test_settled - Read a counter of memory while others change it
 * @item: The counter
 *
 * A CPU that folds its pending changes into the sum of a node clears them first,
 * so that a reader misses them for a moment. If the CPU is interrupted then, two
 * readings in a row are wrong in the same way. Therefore the readings lie some
 * milliseconds apart.
 *
 * Context: Process context; sleeps.
 * Return: The value that two readings agreed on, in units of @item.
 */
long handover_test_settled(enum node_stat_item item)
{
	long again = global_node_page_state_snapshot(item);
	long state;

	do {
		state = again;
		fsleep(10000);
		again = global_node_page_state_snapshot(item);
	} while (state != again);
	return state;
}
EXPORT_SYMBOL_GPL(handover_test_settled);

static int handover_test_run(struct handover_test *test, char *line)
{
	const struct handover_test_cmd *cmd = test->cmds;
	char *name = strsep(&line, " ");
	unsigned long mismatches;
	u64 arg = 0;
	int err;

	if (line && kstrtou64(strim(line), 0, &arg))
		return -EINVAL;
	while (cmd->name && strcmp(cmd->name, name))
		cmd++;
	if (!cmd->name)
		return -EINVAL;

	test->command++;
	test->checks = 0;
	mismatches = test->mismatches;
	if (test->before)
		test->before();
	err = cmd->run(arg);
	if (test->after)
		test->after(name);
	mismatches = test->mismatches - mismatches;
	pr_info("%s: %s: %lu checks, %lu mismatches, error %d\n", test->name,
		name, test->checks, mismatches, err);
	if (err)
		return err;
	return mismatches ? -EIO : 0;
}

static ssize_t handover_test_write(struct file *file, const char __user *ubuf,
				   size_t count, loff_t *ppos)
{
	struct handover_test *test = file->private_data;
	char line[64];
	int err;

	if (!count || count >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, ubuf, count))
		return -EFAULT;
	line[count] = '\0';

	guard(mutex)(&test->lock);
	err = handover_test_run(test, strim(line));
	return err ?: count;
}

static const struct file_operations handover_test_cmd_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= handover_test_write,
	.llseek	= noop_llseek,
};

static int handover_test_report_show(struct seq_file *m, void *unused)
{
	struct handover_test *test = m->private;

	guard(mutex)(&test->lock);
	test->report(m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(handover_test_report);

/**
 * handover_test_register - Let user space drive a test
 * @test: The test
 *
 * Context: Process context. Errors of debugfs are ignored, as everywhere: there
 *	are no files then.
 */
void handover_test_register(struct handover_test *test)
{
	mutex_init(&test->lock);
	test->dir = debugfs_create_dir(test->name, NULL);
	debugfs_create_file("cmd", 0200, test->dir, test,
			    &handover_test_cmd_fops);
	debugfs_create_file("report", 0400, test->dir, test,
			    &handover_test_report_fops);
}
EXPORT_SYMBOL_GPL(handover_test_register);

/**
 * handover_test_unregister - Take the files of a test away
 * @test: The test. What it holds, the caller has to free.
 *
 * Context: Process context. Waits for a command that is being carried out.
 */
void handover_test_unregister(struct handover_test *test)
{
	debugfs_remove(test->dir);
}
EXPORT_SYMBOL_GPL(handover_test_unregister);

MODULE_DESCRIPTION("Driver of tests that hand something over to the next kernel");
MODULE_LICENSE("GPL");
