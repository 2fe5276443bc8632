// SPDX-License-Identifier: GPL-2.0
/*
 * Does it take longer to preserve folios from two CPUs at once than from one
 * after the other? Uses nothing but what an unpatched kernel has. See
 * harness/bench.
 *
 * Prints "BENCH name minimum mean", per folio. The clock advances with the
 * instructions of all CPUs, those that wait for a lock included; a CPU that
 * sleeps takes no time. So the sum is the same as with one CPU where nobody
 * waits, and the loop is part of it.
 */
#define pr_fmt(fmt) "BENCH " fmt

#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/vmalloc.h>

#include "folio.h"

#define FOLIOS	32768

static struct folio **folios;

/* Folios from @first up to @end, @step apart. */
struct part {
	unsigned int first, end, step;
	bool undo;
	int err;
	struct completion *go, done;
};

static void do_part(struct part *part)
{
	for (unsigned int i = part->first; i < part->end; i += part->step) {
		if (part->undo)
			kho_folio_unpreserve(folios[i]);
		else
			part->err |= kho_folio_preserve(folios[i]);
	}
}

static int part_fn(void *data)
{
	struct part *part = data;

	wait_for_completion(part->go);
	do_part(part);
	complete(&part->done);
	return 0;
}

/* On as many CPUs as there are parts. Returns the time, or 0 if that failed. */
static u64 time_of(struct part *parts, unsigned int nr, bool undo)
{
	DECLARE_COMPLETION_ONSTACK(go);
	struct task_struct *task[2];
	int err = 0;
	u64 ns;

	for (unsigned int i = 0; i < nr; i++) {
		parts[i].undo = undo;
		parts[i].err = 0;
		parts[i].go = &go;
		init_completion(&parts[i].done);
		task[i] = kthread_create(part_fn, &parts[i], "kho_bench/%u", i);
		if (IS_ERR(task[i]))
			panic("no thread");
		kthread_bind(task[i], i);
		wake_up_process(task[i]);
	}
	ns = ktime_get_raw_ns();
	complete_all(&go);
	for (unsigned int i = 0; i < nr; i++) {
		wait_for_completion(&parts[i].done);
		err |= parts[i].err;
	}
	ns = ktime_get_raw_ns() - ns;
	return err ? 0 : ns;
}

static int measure(const char *name, struct part *parts, unsigned int nr)
{
	for (unsigned int undo = 0; undo < 2; undo++) {
		u64 ns = time_of(parts, nr, undo);

		if (!ns)
			return -EIO;
		ns = div_u64(ns * 100, FOLIOS);
		pr_info("kho_folio_%spreserve(0),%s %llu.%02llu %llu.%02llu\n",
			undo ? "un" : "", name, ns / 100, ns % 100, ns / 100,
			ns % 100);
	}
	return 0;
}

static int __init kho_bench_cpus_init(void)
{
	struct part one[] = { { 0, FOLIOS, 1 } };
	struct part halves[] = { { 0, FOLIOS / 2, 1 }, { FOLIOS / 2, FOLIOS, 1 } };
	struct part turns[] = { { 0, FOLIOS, 2 }, { 1, FOLIOS, 2 } };
	int err;

	folios = vmalloc_array(FOLIOS, sizeof(*folios));
	for (unsigned int i = 0; i < FOLIOS; i++)
		folios[i] = folio_alloc(GFP_KERNEL, 0);

	err = measure("one_cpu", one, 1);
	if (!err)
		err = measure("two_cpus,half_each", halves, 2);
	if (!err)
		err = measure("two_cpus,every_second_page", turns, 2);

	for (unsigned int i = 0; i < FOLIOS; i++)
		folio_put(folios[i]);
	vfree(folios);
	return err;
}
module_init(kho_bench_cpus_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Instruction counts of preserving folios from two CPUs");
