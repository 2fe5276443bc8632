/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tests that hand something over to the next kernel, and that user space drives
 * through debugfs. lib/kho_test/handover_test.c describes the files.
 */
#ifndef _LINUX_HANDOVER_TEST_H
#define _LINUX_HANDOVER_TEST_H

#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/types.h>

struct dentry;
struct seq_file;

/* No call that a test lets run out of memory makes more allocations than this. */
#define HANDOVER_TEST_MAX_ALLOCS	4096

/**
 * struct handover_test_stats - One row of a report
 * @objects: Allocated by this kernel, or handed over to it
 * @bytes: Their sizes
 * @preserved: Would be handed over if there were a kexec now
 * @restored: Handed over and restored
 * @freed: Given to the allocator's ordinary free function
 * @lost: Handed over, but could not be restored
 * @mismatches: Checks with another result than was expected
 */
struct handover_test_stats {
	unsigned long objects;
	unsigned long bytes;
	unsigned long preserved;
	unsigned long restored;
	unsigned long freed;
	unsigned long lost;
	unsigned long mismatches;
	/* private: how many mismatches of this command were logged */
	unsigned int lines;
	unsigned int command;
};

/**
 * struct handover_test_cmd - What a write to the file "cmd" can ask for
 * @name: First word of what is written
 * @run: Carries the command out. The argument is the number that was written
 *	behind the name, or 0. Returns 0 or an error.
 */
struct handover_test_cmd {
	const char *name;
	int (*run)(u64 arg);
};

/**
 * struct handover_test - A test
 * @name: Of the debugfs directory
 * @cmds: Its commands. The last one has no name.
 * @before: Called before each command, or NULL
 * @after: Called after each command with its name, or NULL
 * @report: Shows the rows of the report by handover_test_row()
 * @lock: Held by all of these calls. Protects the data of the test.
 * @checks: Made by the last command
 * @mismatches: Found by all commands
 */
struct handover_test {
	const char *name;
	const struct handover_test_cmd *cmds;
	void (*before)(void);
	void (*after)(const char *cmd);
	void (*report)(struct seq_file *m);
	struct mutex lock;	/* protects the data of the test */
	unsigned long checks;
	unsigned long mismatches;
	/* private: */
	unsigned int command;
	struct dentry *dir;
};

void handover_test_register(struct handover_test *test);
void handover_test_unregister(struct handover_test *test);
bool handover_test_mismatch(struct handover_test *test,
			    struct handover_test_stats *stats);
void handover_test_row(struct seq_file *m, const char *type,
		       const struct handover_test_stats *stats,
		       unsigned long unsaved);
long handover_test_settled(enum node_stat_item item);

/* xorshift64: as good as any other here, and fast without optimisation. */
static inline u64 handover_test_random(u64 *state)
{
	u64 x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;

	return x;
}

/* Let the @nth allocation of this task fail, counted from here; 0 for none. */
static inline void handover_test_fail_alloc(unsigned int nth)
{
#ifdef CONFIG_FAULT_INJECTION
	WRITE_ONCE(current->fail_nth, nth);
#endif
}

/* Has that allocation failed? If not, it will not fail any more. */
static inline bool handover_test_alloc_failed(void)
{
#ifdef CONFIG_FAULT_INJECTION
	bool failed = !READ_ONCE(current->fail_nth);

	handover_test_fail_alloc(0);
	return failed;
#else
	return false;
#endif
}

#endif /* _LINUX_HANDOVER_TEST_H */
