// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the per-CPU lists of freed memory descriptors: how much they
 * hold, and what makes them give it back.
 */
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/memcontrol.h>
#include <linux/memdesc.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/numa.h>
#include <linux/page-isolation.h>
#include <linux/slab.h>
#include <linux/topology.h>
#include "../../mm/memdesc.h"
#include "memdesc_cache_kunit.h"

#ifdef CONFIG_MEMORY_ISOLATION
/* Nothing is held of a zone from before its first block is isolated. */
static void cache_isolated(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();
	const unsigned long nr = pageblock_nr_pages;
	struct page *block = NULL;
	struct zone *zone, *again;
	unsigned long pfn;
	int err = -ENOMEM;
	void *virt;

	if (!is_held(p, &zone))
		kunit_skip(test, "memory of another zone");

	/* Before the block is isolated: the zone does not say so yet. */
	put_table(p, must_get(test, p, GFP_TEST));
	virt = must_get(test, p, GFP_TEST);
	memdesc_cache_pause();
	expect_counters(test, p, before, nr_pages(p), 0);
	put_table(p, virt);
	expect_counters(test, p, before, 0, 0);
	memdesc_cache_resume();
	KUNIT_EXPECT_TRUE(test, is_held(p, &again));

	/* A free block. It may be taken by somebody else, but not so often. */
	for (int tries = 0; tries < 10; tries++) {
		block = alloc_pages_node(zone_to_nid(zone),
					 GFP_TEST | __GFP_THISNODE,
					 pageblock_order);
		if (!block || page_zone(block) != zone)
			break;
		pfn = page_to_pfn(block);
		virt = must_get(test, p, GFP_TEST);
		/* One is held, of which start_isolate_page_range() knows. */
		put_table(p, must_get(test, p, GFP_TEST));
		__free_pages(block, pageblock_order);
		block = NULL;
		err = start_isolate_page_range(pfn, pfn + nr,
					       PB_ISOLATE_MODE_OTHER);
		if (!err)
			break;
		put_table(p, virt);
		memdesc_cache_drain(true);
	}
	if (block)
		__free_pages(block, pageblock_order);
	if (block || err)
		kunit_skip(test, "no free block");

	expect_counters(test, p, before, nr_pages(p), 0);
	put_table(p, virt);
	expect_counters(test, p, before, 0, 0);
	KUNIT_EXPECT_FALSE(test, is_held(p, &again));
	undo_isolate_page_range(pfn, pfn + nr);

	KUNIT_EXPECT_TRUE(test, is_held(p, &again));
	KUNIT_EXPECT_PTR_EQ(test, again, zone);
}
#else
static void cache_isolated(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MEMORY_ISOLATION");
}
#endif

/* A CPU holds no more than the table says. */
static void cache_bound(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const long n = 3 * depth(p) + 1;
	const struct counters before = get_counters();
	void **virt = kunit_kcalloc(test, n, sizeof(*virt), GFP_KERNEL);
	long i, most = 0;

	KUNIT_ASSERT_NOT_NULL(test, virt);
	for (int round = 0; round < 2; round++) {
		for (i = 0; i < n; i++) {
			virt[i] = get_table(p, GFP_TEST);
			if (!virt[i])
				break;
		}
		while (i--) {
			put_table(p, virt[i]);
			most = max(most, get_counters().held - before.held);
		}
		KUNIT_EXPECT_LE(test, most, depth(p) * nr_pages(p));
		KUNIT_EXPECT_GE(test, most, depth(p) * nr_pages(p) / 2);
		expect_counters(test, p, before, 0,
				get_counters().held - before.held);
	}
	memdesc_cache_drain(true);
	expect_counters(test, p, before, 0, 0);
}

/* Returns what was freed last. */
static void *fill(struct kunit *test, const struct cache_param *p)
{
	const long n = (depth(p) + 1) / 2;
	void **virt = kunit_kcalloc(test, n, sizeof(*virt), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, virt);
	for (long i = 0; i < n; i++)
		virt[i] = must_get(test, p, GFP_TEST);
	for (long i = 0; i < n; i++)
		put_table(p, virt[i]);
	KUNIT_ASSERT_GE(test, memdesc_cache_held(numa_mem_id()),
			n * nr_pages(p));
	return virt[n - 1];
}

static void cache_shrinker(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();

	fill(test, p);
	/* What drop_caches does. */
	drop_slab();
	expect_counters(test, p, before, 0, 0);
}

/*
 * Reclaim that has only just begun takes half of what is held or more, and of a
 * list what is the longest out of use.
 */
static void cache_priority(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const int nid = numa_mem_id();
	const struct counters before = get_counters();
	long held, left;
	void *last, *virt;

	last = fill(test, p);
	held = get_counters().held - before.held;

	shrink_slab(GFP_KERNEL, nid, root_mem_cgroup, DEF_PRIORITY);
	left = get_counters().held - before.held;
	KUNIT_EXPECT_LE(test, left, held - held / 2);
	/* As many go at once, at least. */
	if (held >= 32) {
		KUNIT_EXPECT_GT(test, left, 0);
		virt = must_get(test, p, GFP_TEST);
		KUNIT_EXPECT_PTR_EQ(test, virt, last);
		put_table(p, virt);
	}
	memdesc_cache_drain(true);
	expect_counters(test, p, before, 0, 0);
}

#ifdef CONFIG_CONTIG_ALLOC
/* A page of a free block is held: the block can be allocated nevertheless. */
static void cache_contig(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();
	const unsigned long nr = pageblock_nr_pages;
	struct page *block;
	unsigned long pfn;
	bool held;
	int err;

	block = alloc_pages_node(numa_mem_id(), GFP_TEST | __GFP_THISNODE,
				 pageblock_order);
	if (!block)
		kunit_skip(test, "no free block");
	split_page(block, pageblock_order);
	pfn = page_to_pfn(block);

	make_table(test, p, block + 8);
	held = hold_table(p, block + 8);
	for (unsigned long i = 0; i < nr; i++)
		if (i < 8 || i >= 8 + nr_pages(p))
			__free_page(block + i);
	/* The zone of the block may not be the one that is held. */
	if (!held)
		kunit_skip(test, "memory of another zone");
	expect_counters(test, p, before, 0, nr_pages(p));

	err = alloc_contig_range(pfn, pfn + nr, ACR_FLAGS_NONE, GFP_TEST);
	KUNIT_EXPECT_EQ(test, err, 0);
	expect_counters(test, p, before, 0, 0);
	if (!err)
		free_contig_range(pfn, nr);
	memdesc_cache_drain(true);
}
#else
static void cache_contig(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_CONTIG_ALLOC");
}
#endif

static void cache_off(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();
	void *virt;

	fill(test, p);
	memdesc_cache_enable(false);
	expect_counters(test, p, before, 0, 0);
	virt = must_get(test, p, GFP_TEST);
	put_table(p, virt);
	expect_counters(test, p, before, 0, 0);
	memdesc_cache_enable(true);
}

/* Take memory until there is none: nothing may be held then. */
static void cache_pressure(struct kunit *test)
{
	const struct counters before = get_counters();
	const gfp_t gfp = GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY;
	const unsigned int order = MAX_PAGE_ORDER;
	unsigned long held, taken = 0;
	struct page *page, *next, *all = NULL;

	for (int i = 0; i < ARRAY_SIZE(params); i++)
		if (depth(&params[i]))
			fill(test, &params[i]);
	held = memdesc_cache_held(NUMA_NO_NODE);

	while ((page = alloc_pages(gfp, order))) {
		page->private = (unsigned long)all;
		all = page;
		taken++;
	}
	/* That was too large. As long as there is anything, the rest. */
	while (memdesc_cache_held(NUMA_NO_NODE) &&
	       (page = alloc_pages(gfp, 0))) {
		page->private = (unsigned long)all | 1;
		all = page;
	}
	kunit_info(test, "%lu blocks taken, %lu pages held before, %lu after",
		   taken, held, memdesc_cache_held(NUMA_NO_NODE));
	KUNIT_EXPECT_EQ(test, memdesc_cache_held(NUMA_NO_NODE), 0);

	for (page = all; page; page = next) {
		const unsigned long word = page->private;

		next = (struct page *)(word & ~1UL);
		__free_pages(page, word & 1 ? 0 : order);
	}
	memdesc_cache_drain(true);
	expect_counters(test, &params[4], before, 0, 0);
}

static struct kunit_case cache_drain_cases[] = {
	KUNIT_CASE_PARAM(cache_isolated, params_gen_params),
	KUNIT_CASE_PARAM(cache_bound, params_gen_params),
	KUNIT_CASE_PARAM(cache_shrinker, params_gen_params),
	KUNIT_CASE_PARAM(cache_priority, params_gen_params),
	KUNIT_CASE_PARAM(cache_contig, params_gen_params),
	KUNIT_CASE_PARAM(cache_off, params_gen_params),
	KUNIT_CASE_SLOW(cache_pressure),
	{}
};

static struct kunit_suite cache_drain_suite = {
	.name		= "memdesc_cache_drain",
	.suite_init	= cache_suite_init,
	.suite_exit	= cache_suite_exit,
	.init		= cache_init,
	.exit		= cache_exit,
	.test_cases	= cache_drain_cases,
};

kunit_test_suite(cache_drain_suite);
