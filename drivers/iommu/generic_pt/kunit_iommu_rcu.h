/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tests of PT_FEAT_RCU_FREE: walkers without a lock against map and unmap.
 *
 * One thread maps and unmaps a window so that tables of two levels come and go
 * in every way that frees tables. Two others walk the window all the time. All
 * mappings agree about the output address of an IOVA, so the walkers know the
 * right answer, and that the only other one is "not mapped". A table that is
 * freed too early is a KASAN report here; without KASAN it is a wrong answer at
 * best.
 */
#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/prandom.h>
#include <linux/sched/task.h>

/* How long one thread maps and unmaps while the others walk */
#define RCU_TEST_MS	1000

struct rcu_window {
	struct kunit_iommu_priv *priv;
	pt_vaddr_t va;
	pt_oaddr_t oa;
	/* What an item of the levels 1 and 2 maps. The window is one of level 2. */
	pt_vaddr_t size1;
	pt_vaddr_t size2;
};

struct rcu_walker {
	struct rcu_window *window;
	struct task_struct *task;
	struct completion started;
	u64 rounds;
	u64 mapped;
	u64 wrong;
};

static void rcu_window_init(struct kunit *test, struct rcu_window *window)
{
	struct kunit_iommu_priv *priv = test->priv;
	struct pt_range range = pt_top_range(priv->common);
	struct pt_state pts = pt_init(&range, 1, NULL);

	window->priv = priv;
	window->size1 = log2_to_int(pt_table_item_lg2sz(&pts));
	pts.level = 2;
	window->size2 = log2_to_int(pt_table_item_lg2sz(&pts));
	window->va = ALIGN(range.va, window->size2) + 2 * window->size2;
	/* No address of the window translates to 0, which is "not mapped". */
	window->oa = 3 * window->size2;
}

/* Map with pages of the given sizes only, so that this needs tables. */
static int rcu_map(struct rcu_window *window, pt_vaddr_t offset, pt_vaddr_t len,
		   pt_vaddr_t pgsize_bitmap)
{
	struct kunit_iommu_priv *priv = window->priv;
	int ret;

	priv->domain.pgsize_bitmap = pgsize_bitmap & priv->safe_pgsize_bitmap;
	ret = iommu_map(&priv->domain, window->va + offset, window->oa + offset,
			len, IOMMU_READ | IOMMU_WRITE, GFP_KERNEL);
	priv->domain.pgsize_bitmap = priv->info.pgsize_bitmap;
	return ret;
}

static int rcu_unmap(struct rcu_window *window, pt_vaddr_t offset,
		     pt_vaddr_t len)
{
	return iommu_unmap(&window->priv->domain, window->va + offset, len) == len ?
		       0 : -EIO;
}

/* Leave empty tables of the levels below the level of an item of @size. */
static int rcu_leave_tables(struct rcu_window *window, pt_vaddr_t size)
{
	pt_vaddr_t pgsz = window->priv->smallest_pgsz;
	int ret;

	ret = rcu_map(window, 0, pgsz, pgsz);
	if (!ret)
		ret = rcu_unmap(window, 0, pgsz);
	if (!ret)
		ret = rcu_map(window, size - pgsz, pgsz, pgsz);
	if (!ret)
		ret = rcu_unmap(window, size - pgsz, pgsz);
	return ret;
}

/* Free tables in each way there is. The window is empty before and after. */
static int rcu_map_and_unmap(struct rcu_window *window)
{
	pt_vaddr_t pgsz = window->priv->smallest_pgsz;
	int ret;

	/* Unmap frees a table of level 0 ... */
	ret = rcu_map(window, 0, window->size1, pgsz);
	if (!ret)
		ret = rcu_unmap(window, 0, window->size1);
	/* ... and one of level 1. */
	if (!ret)
		ret = rcu_map(window, 0, window->size2, window->size1);
	if (!ret)
		ret = rcu_unmap(window, 0, window->size2);

	/* A larger page replaces an empty table of level 0 ... */
	if (!ret)
		ret = rcu_leave_tables(window, window->size1);
	if (!ret)
		ret = rcu_map(window, 0, window->size1, window->size1);
	if (!ret)
		ret = rcu_unmap(window, 0, window->size1);
	/* ... and one of level 1 with two below it. */
	if (!ret)
		ret = rcu_leave_tables(window, window->size2);
	if (!ret)
		ret = rcu_map(window, 0, window->size2, window->size2);
	if (!ret)
		ret = rcu_unmap(window, 0, window->size2);

	/* Contiguous entries, if the format has them */
	if (!ret)
		ret = rcu_map(window, 0, window->size1 / 2, PT_VADDR_MAX);
	if (!ret)
		ret = rcu_unmap(window, 0, window->size1 / 2);
	return ret;
}

static void rcu_check(struct rcu_walker *walker, pt_vaddr_t va, pt_oaddr_t oa)
{
	struct rcu_window *window = walker->window;

	walker->mapped++;
	if (oa - window->oa != va - window->va)
		walker->wrong++;
}

static void rcu_walker_up(struct rcu_walker *walker)
{
	if (!walker->rounds++)
		complete(&walker->started);
	cond_resched();
}

/* Translate single addresses. */
static int rcu_translate(void *arg)
{
	struct rcu_walker *walker = arg;
	struct rcu_window *window = walker->window;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 1);
	while (!kthread_should_stop()) {
		rcu_read_lock();
		for (unsigned int i = 0; i != 64; i++) {
			/* Half of them where pages of all sizes are mapped */
			pt_vaddr_t mask = (i & 1 ? window->size2 :
						   window->size1) - 1;
			pt_vaddr_t va = window->va +
					(prandom_u32_state(&rnd) & mask);
			phys_addr_t phys;

			phys = pt_iommu_iova_to_phys_rcu(window->priv->iommu,
							 va);
			if (phys)
				rcu_check(walker, va, phys);
		}
		rcu_read_unlock();
		rcu_walker_up(walker);
	}
	return 0;
}

static int __rcu_dump(struct pt_range *range, void *arg, unsigned int level,
		      struct pt_table_p *table)
{
	struct pt_state pts = pt_init(range, level, table);

	for_each_pt_level_entry(&pts) {
		if (pts.type == PT_ENTRY_TABLE)
			pt_descend(&pts, arg, __rcu_dump);
		else if (pts.type == PT_ENTRY_OA)
			rcu_check(arg, range->va, pt_entry_oa_exact(&pts));
	}
	return 0;
}

/* Walk the whole window, as a dump does. This stays in a table for long. */
static int rcu_dump(void *arg)
{
	struct rcu_walker *walker = arg;
	struct rcu_window *window = walker->window;

	while (!kthread_should_stop()) {
		struct pt_range range;

		rcu_read_lock();
		range = pt_make_range(window->priv->common, window->va,
				      window->va + window->size2 - 1);
		/* The top may not have been increased so far yet */
		if (!pt_check_range(&range))
			pt_walk_range(&range, __rcu_dump, walker);
		rcu_read_unlock();
		rcu_walker_up(walker);
	}
	return 0;
}

/* Increase the top, if the format can, while others walk. */
static int rcu_increase_top(struct rcu_window *window)
{
	struct kunit_iommu_priv *priv = window->priv;
	struct pt_range range = pt_top_range(priv->common);

	if (pt_feature(priv->common, PT_FEAT_DYNAMIC_TOP) &&
	    priv->common->max_vasz_lg2 > range.max_vasz_lg2)
		return iommu_map(&priv->domain, range.last_va + 1, 0,
				 priv->smallest_pgsz, IOMMU_READ, GFP_KERNEL);
	return 0;
}

/* Walkers see the right address or none, whatever others map and unmap. */
static void test_rcu_walk(struct kunit *test)
{
	struct rcu_window window;
	struct rcu_walker walkers[2] = {};
	unsigned int nr = 0;
	u64 rounds = 0;
	ktime_t end;
	int ret = 0;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");

	rcu_window_init(test, &window);
	for (; nr != ARRAY_SIZE(walkers); nr++) {
		struct rcu_walker *walker = &walkers[nr];

		walker->window = &window;
		init_completion(&walker->started);
		walker->task = kthread_run(nr ? rcu_dump : rcu_translate,
					   walker, "pt_rcu_walker");
		if (IS_ERR(walker->task)) {
			ret = PTR_ERR(walker->task);
			break;
		}
		/* It may die of what it finds */
		get_task_struct(walker->task);
		wait_for_completion(&walker->started);
	}

	/* No assertion before the walkers have stopped: it would free the tables. */
	if (!ret)
		ret = rcu_increase_top(&window);
	end = ktime_add_ms(ktime_get(), RCU_TEST_MS);
	for (; !ret && ktime_before(ktime_get(), end); rounds++) {
		ret = rcu_map_and_unmap(&window);
		cond_resched();
	}
	while (nr)
		kthread_stop_put(walkers[--nr].task);

	KUNIT_ASSERT_NO_ERRNO(test, ret);
	for (nr = 0; nr != ARRAY_SIZE(walkers); nr++)
		KUNIT_EXPECT_EQ(test, walkers[nr].wrong, 0);
	kunit_info(test, "%llu rounds; translated %llu x 64, %llu mapped; dumped %llu, %llu mapped\n",
		   rounds, walkers[0].rounds, walkers[0].mapped,
		   walkers[1].rounds, walkers[1].mapped);
}

static unsigned long rcu_nr_pages(void)
{
	return global_node_page_state_snapshot(NR_SECONDARY_PAGETABLE);
}

static int __rcu_find_table(struct pt_range *range, void *arg,
			    unsigned int level, struct pt_table_p *table)
{
	struct pt_state pts = pt_init(range, level, table);

	if (pt_load_single_entry(&pts) == PT_ENTRY_TABLE)
		return pt_descend(&pts, arg, __rcu_find_table);
	*(struct pt_table_p **)arg = table;
	return 0;
}

/* A table that is no more in use stays until there is no reader. */
static void test_rcu_unmap(struct kunit *test)
{
	struct kunit_iommu_priv *priv = test->priv;
	unsigned long before, during, after;
	struct rcu_window window;
	struct pt_table_p *table = NULL;
	struct pt_range range;
	size_t unmapped;
	u64 entry;

	rcu_window_init(test, &window);
	/* So that no other table comes or goes */
	KUNIT_ASSERT_NO_ERRNO(test, rcu_map(&window, window.size1,
					    priv->smallest_pgsz,
					    priv->smallest_pgsz));
	KUNIT_ASSERT_NO_ERRNO(test, rcu_map(&window, 0, window.size1,
					    priv->smallest_pgsz));
	range = pt_make_range(priv->common, window.va, window.va);
	pt_walk_range(&range, __rcu_find_table, &table);
	KUNIT_ASSERT_NOT_NULL(test, table);
	before = rcu_nr_pages();

	rcu_read_lock();
	unmapped = iommu_unmap(&priv->domain, window.va, window.size1);
	during = rcu_nr_pages();
	entry = READ_ONCE(*(u64 *)table);
	rcu_read_unlock();
	rcu_barrier();
	after = rcu_nr_pages();

	KUNIT_EXPECT_EQ(test, unmapped, window.size1);
	KUNIT_EXPECT_EQ(test, during, before);
	KUNIT_EXPECT_EQ(test, entry, 0);
	KUNIT_EXPECT_EQ(test, after, before - 1);
}

/* So do all tables at the end of the page table. */
static void test_rcu_deinit(struct kunit *test)
{
	struct kunit_iommu_priv *priv = test->priv;
	struct rcu_window window;
	unsigned long before, during;
	struct rcu_walker walker = { .window = &window };
	struct pt_range range;

	rcu_window_init(test, &window);
	KUNIT_ASSERT_NO_ERRNO(test, rcu_map(&window, 0, window.size1,
					    priv->smallest_pgsz));
	before = rcu_nr_pages();

	rcu_read_lock();
	range = pt_make_range(priv->common, window.va,
			      window.va + window.size2 - 1);
	pt_iommu_deinit(priv->iommu);
	during = rcu_nr_pages();
	pt_walk_range(&range, __rcu_dump, &walker);
	rcu_read_unlock();
	priv->iommu->ops = NULL;
	rcu_barrier();

	KUNIT_EXPECT_EQ(test, during, before);
	KUNIT_EXPECT_EQ(test, walker.mapped,
			window.size1 >> priv->smallest_pgsz_lg2);
	KUNIT_EXPECT_EQ(test, walker.wrong, 0);
	KUNIT_EXPECT_EQ(test, rcu_nr_pages(), priv->orig_nr_secondary_pagetable);
}

static struct kunit_case iommu_rcu_test_cases[] = {
	KUNIT_CASE_FMT(test_rcu_unmap),
	KUNIT_CASE_FMT(test_rcu_deinit),
	KUNIT_CASE_FMT(test_rcu_walk),
	{},
};

static int pt_kunit_iommu_rcu_init(struct kunit *test)
{
	if (!PT_SUPPORTED_FEATURE(PT_FEAT_RCU_FREE))
		kunit_skip(test, "needs a 64-bit kernel");
	return __pt_kunit_iommu_init(test, BIT(PT_FEAT_RCU_FREE));
}

static struct kunit_suite NS(iommu_rcu_suite) = {
	.name = __stringify(NS(iommu_rcu_test)),
	.init = pt_kunit_iommu_rcu_init,
	.exit = pt_kunit_iommu_exit,
	.test_cases = iommu_rcu_test_cases,
};

kunit_test_suites(&NS(iommu_rcu_suite));
