// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the per-CPU lists of freed memory descriptors: CPUs and memory
 * go offline. A CPU that is gone holds nothing, and memory that is held does
 * not have to stay.
 */
#include <kunit/resource.h>
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/gfp.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/memdesc.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/numa.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/topology.h>
#include <linux/workqueue.h>
#include "../../mm/memdesc.h"
#include "memdesc_block_kunit.h"
#include "memdesc_cache_kunit.h"

static long fill_this_cpu(void *arg)
{
	const struct cache_param *p = arg;
	void *virt = get_table(p, GFP_TEST);

	if (virt)
		put_table(p, virt);
	return memdesc_cache_held(NUMA_NO_NODE);
}

/* A list of a CPU that is gone holds nothing, and takes nothing. */
static void cache_cpu_offline(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const unsigned int cpu = cpumask_last(cpu_online_mask);
	const unsigned int max = memdesc_cache_depth(cpu, p->type, p->order);
	const long this_max = depth(p);
	struct counters before;
	int err;

	if (!IS_ENABLED(CONFIG_HOTPLUG_CPU) || num_online_cpus() < 2)
		kunit_skip(test, "needs a CPU that can be taken offline");
	/* It may be the last user of a dead task's mm, and free its tables. */
	err = remove_cpu(cpu);
	if (err)
		kunit_skip(test, "CPU %u stays online: %pe", cpu, ERR_PTR(err));
	KUNIT_ASSERT_EQ(test, add_cpu(cpu), 0);
	memdesc_cache_drain(true);

	before = get_counters();
	work_on_cpu(cpu, fill_this_cpu, (void *)p);
	KUNIT_EXPECT_GT(test, get_counters().held, before.held);
	KUNIT_EXPECT_EQ(test, remove_cpu(cpu), 0);
	expect_counters(test, p, before, 0, 0);

	/* Its share goes to the others. */
	KUNIT_EXPECT_EQ(test, memdesc_cache_depth(cpu, p->type, p->order), 0);
	KUNIT_EXPECT_GE(test, depth(p), this_max);
	if (p->type == MEMDESC_PTDESC) {
		struct ptdesc *ptdesc =
			virt_to_ptdesc(must_get(test, p, GFP_TEST));

		unmark_ptdesc(ptdesc);
		KUNIT_EXPECT_FALSE(test,
				   memdesc_cache_put_migrated(ptdesc, cpu));
		free_ptdesc(ptdesc);
	}

	KUNIT_EXPECT_EQ(test, add_cpu(cpu), 0);
	KUNIT_EXPECT_EQ(test, memdesc_cache_depth(cpu, p->type, p->order), max);
	KUNIT_EXPECT_EQ(test, depth(p), this_max);
	memdesc_cache_drain(true);
	expect_counters(test, p, before, 0, 0);
}

#if defined(CONFIG_CONTIG_ALLOC) && defined(CONFIG_MEMORY_HOTREMOVE)
/* The pages of the largest table. */
#define MAX_TABLE	8

/* A memory block with tables of every kind, which the lists of a CPU can hold. */
struct tables {
	struct memory_block *block;
	int nid;
	unsigned int cpu;
	struct page *table[ARRAY_SIZE(params)];

	/* How many pages are held when the block has just been isolated. */
	struct notifier_block nb;
	unsigned long held_isolated;

	/* What put_after_drain() is told, and tells. */
	struct page *late[ARRAY_SIZE(params)];
	struct completion spinning;
	unsigned long held_first;
	unsigned long held_drained;
	unsigned long held_late;
};

/*
 * A table of each kind, or two, at the beginning of the block. All at once, because
 * no range can be allocated of a pageblock that has memory in use which cannot move.
 */
static void make_tables(struct kunit *test, struct tables *t, bool late)
{
	const unsigned long pfn = block_start_pfn(t->block);
	const unsigned int nr = (late ? 2 : 1) * ARRAY_SIZE(params);
	int err;

	err = alloc_contig_range(pfn, pfn + nr * MAX_TABLE, ACR_FLAGS_NONE,
				 GFP_TEST);
	KUNIT_ASSERT_EQ(test, err, 0);
	for (unsigned int i = 0; i < nr; i++) {
		const unsigned int kind = i % ARRAY_SIZE(params);
		struct page *page = pfn_to_page(pfn + i * MAX_TABLE);

		for (long j = nr_pages(&params[kind]); j < MAX_TABLE; j++)
			__free_page(page + j);
		make_table(test, &params[kind], page);
		if (i < ARRAY_SIZE(params))
			t->table[kind] = page;
		else
			t->late[kind] = page;
	}
}

static void hold_tables(struct page *table[])
{
	for (unsigned int i = 0; i < ARRAY_SIZE(params); i++)
		hold_table(&params[i], table[i]);
}

/*
 * Called when the block is isolated. If a list still holds memory of it, offlining
 * would wait for that memory until somebody sends a signal: refuse.
 */
static int tables_notify(struct notifier_block *nb, unsigned long action,
			 void *data)
{
	struct tables *t = container_of(nb, struct tables, nb);

	if (action != MEM_GOING_OFFLINE)
		return NOTIFY_DONE;
	t->held_isolated = memdesc_cache_held(t->nid);
	return t->held_isolated ? NOTIFY_BAD : NOTIFY_OK;
}

/*
 * Offlining drains the lists a first time when it turns off the lists of the page
 * allocator, and then waits for work on each CPU before it isolates the block.
 * Free tables in between: this task has a higher priority than that work.
 */
static int put_after_drain(void *data)
{
	const unsigned long end = jiffies + 10 * HZ;
	struct tables *t = data;

	hold_tables(t->table);
	t->held_first = memdesc_cache_held(t->nid);
	complete(&t->spinning);
	do {
		cond_resched();
		t->held_drained = memdesc_cache_held(t->nid);
	} while (t->held_drained && time_before(jiffies, end));
	hold_tables(t->late);
	t->held_late = memdesc_cache_held(t->nid);
	return 0;
}

static void run_on(struct kunit *test, unsigned int cpu)
{
	KUNIT_ASSERT_EQ(test, set_cpus_allowed_ptr(current, cpumask_of(cpu)), 0);
}

/* The lists work, with memory of @zone. */
static void expect_holding(struct kunit *test, struct zone *zone)
{
	struct zone *held;

	for (unsigned int i = 0; i < ARRAY_SIZE(params); i++) {
		if (!depth(&params[i]))
			continue;
		KUNIT_EXPECT_TRUE_MSG(test, is_held(&params[i], &held), "%s",
				      params[i].name);
		KUNIT_EXPECT_PTR_EQ(test, held, zone);
	}
}

/* The memory that is held goes offline, and comes back. */
static void offline_held(struct kunit *test, struct tables *t)
{
	run_on(test, t->cpu);
	make_tables(test, t, false);
	hold_tables(t->table);
	KUNIT_EXPECT_GT(test, memdesc_cache_held(t->nid), 0);

	KUNIT_EXPECT_EQ(test, set_block_online(t->block, false), 0);
	KUNIT_EXPECT_EQ(test, t->held_isolated, 0);
	KUNIT_EXPECT_NULL(test, pfn_to_online_page(page_to_pfn(t->table[0])));
}

static int try_offline_freed_late(struct kunit *test, struct tables *t)
{
	struct task_struct *task;
	int err;

	make_tables(test, t, true);

	init_completion(&t->spinning);
	task = kthread_create(put_after_drain, t, "put_after_drain");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	kthread_bind(task, t->cpu);
	sched_set_fifo(task);
	get_task_struct(task);
	wake_up_process(task);
	wait_for_completion(&t->spinning);

	err = set_block_online(t->block, false);
	kthread_stop_put(task);
	return err;
}

/*
 * Memory goes offline that was not yet held when the lists were first drained.
 *
 * When the task has had its CPU for most of a second, the scheduler lets the work run
 * all the same. If the work runs before the task frees its tables, the tables are still
 * in use when the block is isolated, and the block cannot go offline. So try a few
 * times. If tables on a list kept the block from going offline, all tries would fail.
 */
static void offline_freed_late(struct kunit *test, struct tables *t)
{
	const unsigned int other = cpumask_any_but(cpu_online_mask, t->cpu);
	int tries = 5, err;

	if (other >= nr_cpu_ids) {
		kunit_info(test, "only one CPU: no tables are freed meanwhile");
		return;
	}
	run_on(test, other);
	while ((err = try_offline_freed_late(test, t)) == -EBUSY && --tries)
		memdesc_cache_drain(true);

	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_EXPECT_EQ(test, t->held_isolated, 0);
	KUNIT_EXPECT_GT(test, t->held_first, 0);
	KUNIT_EXPECT_EQ(test, t->held_drained, 0);
	KUNIT_EXPECT_GT(test, t->held_late, 0);
	KUNIT_EXPECT_NULL(test, pfn_to_online_page(page_to_pfn(t->late[0])));
}

KUNIT_DEFINE_ACTION_WRAPPER(put_block, memory_block_put, struct memory_block *);
KUNIT_DEFINE_ACTION_WRAPPER(forget_tables, unregister_memory_notifier,
			    struct notifier_block *);

/* A memory block in the zone whose memory the lists of its node's CPU hold. */
static bool find_block(struct kunit *test, struct tables *t)
{
	struct zone *zone, *held;

	for_each_online_cpu(t->cpu) {
		t->nid = cpu_to_mem(t->cpu);
		t->block = get_free_block(t->nid);
		if (!t->block)
			continue;
		zone = page_zone(pfn_to_page(block_start_pfn(t->block)));
		run_on(test, t->cpu);
		if (is_held(&params[0], &held) && held == zone)
			return true;
		memory_block_put(t->block);
	}
	return false;
}

/* What the lists hold does not keep a memory block from going offline. */
static void cache_block_offline(struct kunit *test)
{
	struct tables *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	struct counters before;
	struct zone *zone;

	KUNIT_ASSERT_NOT_NULL(test, t);
	if (!find_block(test, t))
		kunit_skip(test, "no memory of a list that can go offline");
	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, put_block, t->block),
			0);
	zone = page_zone(pfn_to_page(block_start_pfn(t->block)));

	before = get_counters();
	t->nb.notifier_call = tables_notify;
	KUNIT_ASSERT_EQ(test, register_memory_notifier(&t->nb), 0);
	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, forget_tables, &t->nb),
			0);
	for (int late = 0; late <= 1; late++) {
		if (late)
			offline_freed_late(test, t);
		else
			offline_held(test, t);
		expect_counters(test, &params[4], before, 0, 0);
		set_block_online(t->block, true);
		KUNIT_EXPECT_NOT_NULL(test,
				      pfn_to_online_page(page_to_pfn(t->table[0])));
		run_on(test, t->cpu);
		expect_holding(test, zone);
	}
}
#else
static void cache_block_offline(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MEMORY_HOTREMOVE");
}
#endif

static struct kunit_case cache_offline_cases[] = {
	KUNIT_CASE_PARAM(cache_cpu_offline, params_gen_params),
	KUNIT_CASE(cache_block_offline),
	{}
};

static struct kunit_suite cache_offline_suite = {
	.name		= "memdesc_cache_offline",
	.suite_init	= cache_suite_init,
	.suite_exit	= cache_suite_exit,
	.init		= cache_init,
	.exit		= cache_exit,
	.test_cases	= cache_offline_cases,
};

kunit_test_suite(cache_offline_suite);
