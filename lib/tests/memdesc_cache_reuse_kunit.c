// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the per-CPU lists of freed memory descriptors: who gets what
 * the lists hold. It looks as if it were new, and it is from the zone and the
 * node that the caller asks for.
 */
#include <kunit/test.h>
#include <linux/cleanup.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/cpuset.h>
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/memdesc.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/numa.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/topology.h>
#include <linux/workqueue.h>
#include "../../drivers/iommu/iommu-pages.h"
#include "../../mm/memdesc.h"
#include "memdesc_cache_kunit.h"

#define PATTERN		0xa5

static size_t table_size(const struct cache_param *p)
{
	return PAGE_SIZE << p->order;
}

/* The owner may write to what follows these bytes of a descriptor of its own. */
#define DESC_HEAD	offsetofend(struct memdesc_own, order)

static size_t desc_tail(const struct cache_param *p)
{
	return memdesc_table[p->type].size - DESC_HEAD;
}

/* As the functions that allocate it say. */
static void expect_fresh(struct kunit *test, const struct cache_param *p,
			 void *virt)
{
	struct page *page = virt_to_page(virt);

	KUNIT_EXPECT_EQ(test, page_memdesc_type(page), p->type);
	KUNIT_EXPECT_EQ(test, compound_order(page), p->order);
	if (memdesc_table[p->type].own) {
		struct memdesc_own *own = own_desc(p, page);

		KUNIT_EXPECT_EQ(test, page_ref_count(page), 0);
		KUNIT_ASSERT_NOT_NULL(test, own);
		KUNIT_EXPECT_PTR_EQ(test, own->page, page);
		KUNIT_EXPECT_EQ(test, own->order, p->order);
		KUNIT_EXPECT_NULL(test, memchr_inv((void *)own + DESC_HEAD, 0,
						   desc_tail(p)));
		KUNIT_EXPECT_PTR_EQ(test, memdesc_ptr(page_memdesc(page)),
				    (void *)own);
	} else {
		KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
		KUNIT_EXPECT_EQ(test, page_private(page), 0);
	}
	if (p->type == MEMDESC_PTDESC)
		KUNIT_EXPECT_EQ(test, ptdesc_state(page_ptdesc(page)),
				PTDESC_PLAIN);
	KUNIT_EXPECT_NULL(test, memchr_inv(virt, 0, table_size(p)));
}

/* What is freed is handed out again, and looks as if it were new. */
static void cache_reuse(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();
	void *virt = must_get(test, p, GFP_TEST | __GFP_ZERO), *again;
	struct page *page = virt_to_page(virt);
	void *desc;

	expect_counters(test, p, before, nr_pages(p), 0);
	expect_fresh(test, p, virt);
	memset(virt, PATTERN, table_size(p));
	desc = own_desc(p, page);
	if (p->type == MEMDESC_IOPTDESC) {
		INIT_LIST_HEAD(&page_ioptdesc(page)->iopt_freelist_elm);
	} else if (desc) {
		memset(desc + DESC_HEAD, PATTERN, desc_tail(p));
		/* With the mark, another function than the usual one frees it. */
		ptdesc_clear_kernel(desc);
	} else {
		set_page_private(page, 0x1230);
	}
	put_table(p, virt);
	expect_counters(test, p, before, 0, nr_pages(p));
	expect_held(test, page);

	again = must_get(test, p, GFP_TEST | __GFP_ZERO);
	KUNIT_EXPECT_PTR_EQ(test, again, virt);
	expect_fresh(test, p, again);
	expect_counters(test, p, before, nr_pages(p), 0);

	put_table(p, again);
	KUNIT_EXPECT_EQ(test, memdesc_cache_drain(true), nr_pages(p));
	expect_counters(test, p, before, 0, 0);
}

/* Not to a caller who wants it from elsewhere. */
static void cache_zone(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();
	void *virt = must_get(test, p, GFP_TEST), *other;

	put_table(p, virt);
#ifdef CONFIG_ZONE_DMA32
	other = must_get(test, p, GFP_TEST | __GFP_DMA32);
	KUNIT_EXPECT_PTR_NE(test, other, virt);
	KUNIT_EXPECT_LE(test, page_zonenum(virt_to_page(other)), ZONE_DMA32);
#else
	other = must_get(test, p, GFP_TEST);
	KUNIT_EXPECT_PTR_EQ(test, other, virt);
	put_table(p, other);
	other = NULL;
#endif
	if (other) {
		expect_counters(test, p, before, nr_pages(p), nr_pages(p));
		put_table(p, other);
	}
	memdesc_cache_drain(true);
	expect_counters(test, p, before, 0, 0);
}

/* As the task's policy says, or the caller. */
static void *get_table_from(const struct cache_param *p, int nid)
{
#ifdef CONFIG_NUMA
	struct mempolicy policy = {
		.refcnt		= ATOMIC_INIT(1),
		.mode		= MPOL_PREFERRED,
		.nodes		= nodemask_of_node(nid),
		.home_node	= NUMA_NO_NODE,
	};
	struct mempolicy *old = current->mempolicy;
	void *virt;

	if (p->type == MEMDESC_PTDESC) {
		current->mempolicy = &policy;
		virt = get_table(p, GFP_TEST);
		current->mempolicy = old;
		return virt;
	}
#endif
	return iommu_alloc_pages_node_sz(nid, GFP_TEST | __GFP_THISNODE,
					 table_size(p));
}

static int other_node(void)
{
	return next_node_in(numa_mem_id(), node_states[N_MEMORY]);
}

static void cache_node(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();
	const int nid = other_node();
	void *virt, *other;

	if (nid == numa_mem_id())
		kunit_skip(test, "needs two nodes");

	virt = must_get(test, p, GFP_TEST);
	put_table(p, virt);
	other = get_table_from(p, nid);
	KUNIT_ASSERT_NOT_NULL(test, other);
	KUNIT_EXPECT_EQ(test, page_to_nid(virt_to_page(other)), nid);
	expect_counters(test, p, before, nr_pages(p), nr_pages(p));
	/* It is not of the node whose pages this CPU holds. */
	put_table(p, other);
	expect_counters(test, p, before, 0, nr_pages(p));
	memdesc_cache_drain(true);
	expect_counters(test, p, before, 0, 0);

	/* Also where nothing else is held. */
	other = get_table_from(p, nid);
	KUNIT_ASSERT_NOT_NULL(test, other);
	put_table(p, other);
	expect_counters(test, p, before, 0, 0);
}

/* This CPU holds memory of a node that the task's cpuset does not have. */
static void cache_cpuset(struct kunit *test)
{
#ifdef CONFIG_CPUSETS
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();
	const nodemask_t allowed = current->mems_allowed;
	const int nid = other_node();
	void *virt;

	if (nid == numa_mem_id())
		kunit_skip(test, "needs two nodes");

	put_table(p, must_get(test, p, GFP_TEST));

	/* As if there were a cpuset. */
	scoped_guard(cpus_read_lock)
		cpuset_inc();
	set_mems_allowed(nodemask_of_node(nid));
	virt = get_table(p, GFP_TEST);
	set_mems_allowed(allowed);
	scoped_guard(cpus_read_lock)
		cpuset_dec();

	KUNIT_ASSERT_NOT_NULL(test, virt);
	KUNIT_EXPECT_EQ(test, page_to_nid(virt_to_page(virt)), nid);
	expect_counters(test, p, before, nr_pages(p), nr_pages(p));
	put_table(p, virt);
	memdesc_cache_drain(true);
	expect_counters(test, p, before, 0, 0);
#else
	kunit_skip(test, "needs CONFIG_CPUSETS");
#endif
}

/* Memory that fails while it is held goes to the page allocator. */
static void cache_poisoned(struct kunit *test)
{
#ifdef CONFIG_MEMORY_FAILURE
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();
	void *virt = must_get(test, p, GFP_TEST), *other;
	struct page *page = virt_to_page(virt);

	/* The page allocator keeps single pages back. */
	if (p->order) {
		put_table(p, virt);
		kunit_skip(test, "needs a single page");
	}

	put_table(p, virt);
	if (memdesc_cache_held(NUMA_NO_NODE) == before.held)
		kunit_skip(test, "memory of another zone");
	SetPageHWPoison(page);
	other = must_get(test, p, GFP_TEST);
	KUNIT_EXPECT_PTR_NE(test, other, virt);
	expect_counters(test, p, before, nr_pages(p), 0);
	expect_held(test, page);
	put_table(p, other);

	/* It is well again. */
	if (other != virt) {
		ClearPageHWPoison(page);
		init_page_count(page);
		__free_page(page);
	}
#else
	kunit_skip(test, "needs CONFIG_MEMORY_FAILURE");
#endif
}

/* Flags that the page allocator has to do something about: it gets the page. */
static void cache_flags(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();
	void *virt = must_get(test, p, GFP_TEST);
	struct folio *folio = page_folio(virt_to_page(virt));

	/* One that neither kind of table uses, and no check objects to. */
	__folio_mark_uptodate(folio);
	put_table(p, virt);
	expect_counters(test, p, before, 0, 0);
	KUNIT_EXPECT_FALSE(test, folio_test_uptodate(folio));

	/* Without it, it is held. */
	put_table(p, must_get(test, p, GFP_TEST));
	expect_counters(test, p, before, 0, nr_pages(p));
}

/* A list that has a table does not take it again: two owners would get it. */
static void cache_twice(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();
	void *virt, *desc, *other;

	if (!memdesc_table[p->type].own)
		kunit_skip(test, "overlays struct page");
	virt = must_get(test, p, GFP_TEST);
	desc = own_desc(p, virt_to_page(virt));
	put_table(p, virt);
	if (memdesc_cache_held(NUMA_NO_NODE) == before.held)
		kunit_skip(test, "memory of another zone");
	kunit_warning_suppress(test) {
		if (p->type == MEMDESC_PTDESC)
			memdesc_free((struct ptdesc *)desc);
		else
			memdesc_free((struct ioptdesc *)desc);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	expect_counters(test, p, before, 0, nr_pages(p));
	expect_held(test, virt_to_page(virt));

	KUNIT_EXPECT_PTR_EQ(test, must_get(test, p, GFP_TEST), virt);
	other = must_get(test, p, GFP_TEST);
	KUNIT_EXPECT_PTR_NE(test, other, virt);
	put_table(p, other);
	put_table(p, virt);
	memdesc_cache_drain(true);
	expect_counters(test, p, before, 0, 0);
}

static long put_and_get(void *arg)
{
	const struct cache_param *p = arg;
	void *virt = get_table(p, GFP_TEST), *again;

	if (!virt)
		return false;
	put_table(p, virt);
	again = get_table(p, GFP_TEST);
	if (again)
		put_table(p, again);
	return again == virt;
}

/*
 * A task that finds a CPU's list and is migrated to another node before it has
 * the list's lock: the list must not hold that node's memory, which nobody on
 * its own CPU would ever take.
 */
static void cache_migrated(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	struct ptdesc *ptdesc;
	unsigned int cpu;
	bool taken;

	if (p->type != MEMDESC_PTDESC)
		kunit_skip(test, "the same as for page tables of the CPU");
	for_each_online_cpu(cpu)
		if (cpu_to_mem(cpu) != numa_mem_id())
			break;
	if (cpu >= nr_cpu_ids)
		kunit_skip(test, "needs CPUs of two nodes");

	KUNIT_ASSERT_TRUE(test, work_on_cpu(cpu, put_and_get, (void *)p));
	memdesc_cache_drain(true);

	ptdesc = virt_to_ptdesc(must_get(test, p, GFP_TEST));
	unmark_ptdesc(ptdesc);
	taken = memdesc_cache_put_migrated(ptdesc, cpu);
	KUNIT_EXPECT_FALSE(test, taken);
	if (!taken)
		free_ptdesc(ptdesc);
	KUNIT_EXPECT_TRUE(test, work_on_cpu(cpu, put_and_get, (void *)p));
}

static struct kunit_case cache_reuse_cases[] = {
	KUNIT_CASE_PARAM(cache_reuse, params_gen_params),
	KUNIT_CASE_PARAM(cache_zone, params_gen_params),
	KUNIT_CASE_PARAM(cache_node, params_gen_params),
	KUNIT_CASE_PARAM(cache_cpuset, params_gen_params),
	KUNIT_CASE_PARAM(cache_poisoned, params_gen_params),
	KUNIT_CASE_PARAM(cache_flags, params_gen_params),
	KUNIT_CASE_PARAM(cache_twice, params_gen_params),
	KUNIT_CASE_PARAM(cache_migrated, params_gen_params),
	{}
};

static struct kunit_suite cache_reuse_suite = {
	.name		= "memdesc_cache_reuse",
	.suite_init	= cache_suite_init,
	.suite_exit	= cache_suite_exit,
	.init		= cache_init,
	.exit		= cache_exit,
	.test_cases	= cache_reuse_cases,
};

kunit_test_suite(cache_reuse_suite);

MODULE_DESCRIPTION("KUnit tests of the lists of freed memory descriptors");
MODULE_LICENSE("GPL");
