/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KUnit tests of the per-CPU lists of freed memory descriptors share:
 * tables of every kind, the counters, and what runs before and after each test.
 * Each of these files tests one job, and has a suite of its own:
 *
 *   memdesc_cache_reuse_kunit.c	who gets what the lists hold
 *   memdesc_cache_drain_kunit.c	how much they hold, what drains them
 *   memdesc_cache_owner_kunit.c	whose memory it is
 *   memdesc_cache_stress_kunit.c	interrupts and walkers meanwhile
 *   memdesc_cache_offline_kunit.c	CPUs and memory that go offline
 *
 * The tests run with page debugging, too, which the lists would otherwise stand
 * aside for. See mm/memdesc_cache.c.
 */
#ifndef _MEMDESC_CACHE_KUNIT_H
#define _MEMDESC_CACHE_KUNIT_H

#include <kunit/test.h>
#include <linux/cpumask.h>
#include <linux/gfp.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/numa.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/vmstat.h>
#include "../../drivers/iommu/iommu-pages.h"
#include "../../mm/memdesc.h"
#include "memdesc_kunit.h"

struct cache_param {
	const char *name;
	enum memdesc_type type;
	unsigned int order;
};

static const struct cache_param params[] = {
	{ "ptdesc 0", MEMDESC_PTDESC, 0 },
	{ "ptdesc 1", MEMDESC_PTDESC, 1 },
	{ "ptdesc 2", MEMDESC_PTDESC, 2 },
	{ "ptdesc 3", MEMDESC_PTDESC, 3 },
	{ "ioptdesc 0", MEMDESC_IOPTDESC, 0 },
	{ "ioptdesc 1", MEMDESC_IOPTDESC, 1 },
	{ "ioptdesc 2", MEMDESC_IOPTDESC, 2 },
	{ "ioptdesc 3", MEMDESC_IOPTDESC, 3 },
};

KUNIT_ARRAY_PARAM_DESC(params, params, name);

static inline void *get_table(const struct cache_param *p, gfp_t gfp)
{
	struct ptdesc *pt;

	if (p->type == MEMDESC_IOPTDESC)
		return iommu_alloc_pages_sz(gfp, PAGE_SIZE << p->order);
	pt = pagetable_alloc(gfp, p->order);
	return pt ? ptdesc_address(pt) : NULL;
}

static inline void *must_get(struct kunit *test, const struct cache_param *p,
			     gfp_t gfp)
{
	void *virt = get_table(p, gfp);

	KUNIT_ASSERT_NOT_NULL(test, virt);
	return virt;
}

static inline void put_table(const struct cache_param *p, void *virt)
{
	if (p->type == MEMDESC_IOPTDESC)
		iommu_free_pages(virt);
	else
		pagetable_free(virt_to_ptdesc(virt));
}

static inline long nr_pages(const struct cache_param *p)
{
	return 1L << p->order;
}

/* How many a list of this CPU holds; 0 if there is too little memory for one. */
static inline long depth(const struct cache_param *p)
{
	return memdesc_cache_depth(raw_smp_processor_id(), p->type, p->order);
}

struct counters {
	long reclaimable;
	long iommu;
	long secondary;
	long held;
};

static inline struct counters get_counters(void)
{
	return (struct counters) {
		.reclaimable =
			global_node_page_state_snapshot(NR_KERNEL_MISC_RECLAIMABLE),
		.iommu = global_node_page_state_snapshot(NR_IOMMU_PAGES),
		.secondary =
			global_node_page_state_snapshot(NR_SECONDARY_PAGETABLE),
		.held		= memdesc_cache_held(NUMA_NO_NODE),
	};
}

/* @used pages more than @before are in use, and @held more are held. */
static inline void expect_counters(struct kunit *test,
				   const struct cache_param *p,
				   struct counters before, long used, long held)
{
	struct counters now = get_counters();

	if (p->type != MEMDESC_IOPTDESC)
		used = 0;
	KUNIT_EXPECT_EQ(test, now.held - before.held, held);
	KUNIT_EXPECT_EQ(test, now.reclaimable - before.reclaimable, held);
	KUNIT_EXPECT_EQ(test, now.iommu - before.iommu, used);
	KUNIT_EXPECT_EQ(test, now.secondary - before.secondary, used);
}

/* Like memory on the page allocator's own lists. */
static inline void expect_held(struct kunit *test, struct page *page)
{
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 0);
	KUNIT_EXPECT_EQ(test, page->page_type, UINT_MAX);
	KUNIT_EXPECT_FALSE(test, PageBuddy(page));
	KUNIT_EXPECT_FALSE(test, get_page_unless_zero(page));
}

/* Is what is freed held, and of which zone is it? Leaves the lists empty. */
static inline bool is_held(const struct cache_param *p, struct zone **zone)
{
	void *virt = get_table(p, GFP_TEST);

	if (!virt)
		return false;
	*zone = page_zone(virt_to_page(virt));
	put_table(p, virt);
	return memdesc_cache_drain(false) == nr_pages(p);
}

/* The descriptor, where the first page points to it; NULL where it overlays pages. */
static inline void *own_desc(const struct cache_param *p, struct page *page)
{
	return memdesc_table[p->type].own ? (void *)page_private(page) : NULL;
}

/* Do what pagetable_free() does before a list gets the table. */
static inline void unmark_ptdesc(struct ptdesc *pt)
{
	if (!OWN_PTDESC)
		ptdesc_page(pt)->page_type = UINT_MAX;
}

/* Do what pagetable_free() does with a table that no list has taken. */
static inline void free_ptdesc(struct ptdesc *pt)
{
	struct page *page = ptdesc_page(pt);
	const unsigned int order = ptdesc_order(pt);

	if (!OWN_PTDESC) {
		__free_pages(page, order);
		return;
	}
	memdesc_free_frozen(page, order, MEMDESC_PTDESC);
	memdesc_free_own(pt, MEMDESC_PTDESC);
}

/* Make a table of single pages. It is in use, but its owner has not counted it. */
static inline void make_table(struct kunit *test, const struct cache_param *p,
			      struct page *page)
{
	void *desc;

	for (long i = 0; i < nr_pages(p); i++)
		set_page_count(page + i, 0);
	if (p->order)
		prep_compound_page(page, p->order);
	if (!memdesc_table[p->type].own) {
		set_page_count(page, 1);
		return;
	}
	desc = memdesc_alloc_own_noprof(GFP_TEST, NUMA_NO_NODE, p->type);
	KUNIT_ASSERT_NOT_NULL(test, desc);
	memdesc_attach(page, p->order, desc, p->type);
}

/* Free what make_table() has made. Does the list of this CPU hold it now? */
static inline bool hold_table(const struct cache_param *p, struct page *page)
{
	if (p->type == MEMDESC_IOPTDESC) {
		if (memdesc_cache_put_ioptdesc(page_ioptdesc(page)))
			return true;
		memdesc_free(page_ioptdesc(page));
		return false;
	}
	if (memdesc_cache_put_ptdesc(page_ptdesc(page)))
		return true;
	free_ptdesc(page_ptdesc(page));
	return false;
}

/* What runs before and after each suite, and before and after each case. */

static bool was_enabled;	/* before the suite */

static inline int cache_suite_init(struct kunit_suite *suite)
{
	was_enabled = memdesc_cache_enable(true);
	return 0;
}

static inline void cache_suite_exit(struct kunit_suite *suite)
{
	memdesc_cache_enable(was_enabled);
}

/* The thread that this runs in runs the test, and nothing after it. */
static inline int cache_init(struct kunit *test)
{
	const unsigned int cpu = cpumask_first(cpu_online_mask);
	const struct cache_param *p = test->param_value;
	int err;

	/*
	 * Cases count what the whole system holds: the tables of tasks that have
	 * just ended, which are freed after a grace period, are to be there now.
	 */
	rcu_barrier();
	memdesc_cache_drain(true);
	err = set_cpus_allowed_ptr(current, cpumask_of(cpu));
	if (err)
		return err;
	if (p && !depth(p))
		kunit_skip(test, "too little memory for such a list");
	return 0;
}

static inline void cache_exit(struct kunit *test)
{
	memdesc_cache_drain(true);
}

#endif /* _MEMDESC_CACHE_KUNIT_H */
