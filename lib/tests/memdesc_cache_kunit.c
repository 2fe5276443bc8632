// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the per-CPU lists of freed memory descriptors, see
 * mm/memdesc_cache.c. They run with page debugging, too, which the lists would
 * otherwise stand aside for.
 */
#include <kunit/resource.h>
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/cpuset.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/hrtimer.h>
#include <linux/jiffies.h>
#include <linux/kasan.h>
#include <linux/kexec_handover.h>
#include <linux/kfence.h>
#include <linux/kho_memdesc.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/memdesc.h>
#include <linux/memory.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/page-isolation.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/topology.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>
#include "../../drivers/iommu/iommu-pages.h"
#include "../../mm/memdesc.h"
#include "memdesc_block_kunit.h"
#include "memdesc_kunit.h"

#define GFP_TEST	(GFP_KERNEL | __GFP_NOWARN | __GFP_RETRY_MAYFAIL)
#define PATTERN		0xa5

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

static void *get_table(const struct cache_param *p, gfp_t gfp)
{
	struct ptdesc *pt;

	if (p->type == MEMDESC_IOPTDESC)
		return iommu_alloc_pages_sz(gfp, PAGE_SIZE << p->order);
	pt = pagetable_alloc(gfp, p->order);
	return pt ? ptdesc_address(pt) : NULL;
}

static void put_table(const struct cache_param *p, void *virt)
{
	if (p->type == MEMDESC_IOPTDESC)
		iommu_free_pages(virt);
	else
		pagetable_free(virt_to_ptdesc(virt));
}

static size_t table_size(const struct cache_param *p)
{
	return PAGE_SIZE << p->order;
}

static long nr_pages(const struct cache_param *p)
{
	return 1L << p->order;
}

/* How many a list of this CPU holds; 0 if there is too little memory for one. */
static long depth(const struct cache_param *p)
{
	return memdesc_cache_depth(raw_smp_processor_id(), p->type, p->order);
}

struct counters {
	long reclaimable;
	long iommu;
	long secondary;
	long held;
};

static struct counters get_counters(void)
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
static void expect_counters(struct kunit *test, const struct cache_param *p,
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

/* As the functions that allocate it say. */
static void expect_fresh(struct kunit *test, const struct cache_param *p,
			 void *virt)
{
	struct page *page = virt_to_page(virt);

	KUNIT_EXPECT_EQ(test, page_memdesc_type(page), p->type);
	KUNIT_EXPECT_EQ(test, compound_order(page), p->order);
	if (p->type == MEMDESC_IOPTDESC) {
		struct ioptdesc *iopt = page_ioptdesc(page);

		KUNIT_EXPECT_EQ(test, page_ref_count(page), 0);
		KUNIT_EXPECT_PTR_EQ(test, iopt->page, page);
		KUNIT_EXPECT_EQ(test, iopt->order, p->order);
		KUNIT_EXPECT_EQ(test, iopt->incoherent, 0);
		KUNIT_EXPECT_NULL(test, iopt->iopt_freelist_elm.prev);
	} else {
		KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
		KUNIT_EXPECT_EQ(test, ptdesc_state(page_ptdesc(page)),
				PTDESC_PLAIN);
		KUNIT_EXPECT_EQ(test, page_private(page), 0);
	}
	KUNIT_EXPECT_NULL(test, memchr_inv(virt, 0, table_size(p)));
}

/* Like memory on the page allocator's own lists. */
static void expect_held(struct kunit *test, struct page *page)
{
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 0);
	KUNIT_EXPECT_EQ(test, page->page_type, UINT_MAX);
	KUNIT_EXPECT_FALSE(test, PageBuddy(page));
	KUNIT_EXPECT_FALSE(test, get_page_unless_zero(page));
}

static void *must_get(struct kunit *test, const struct cache_param *p,
		      gfp_t gfp)
{
	void *virt = get_table(p, gfp);

	KUNIT_ASSERT_NOT_NULL(test, virt);
	return virt;
}

/* What is freed is handed out again, and looks as if it were new. */
static void cache_reuse(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();
	void *virt = must_get(test, p, GFP_TEST | __GFP_ZERO), *again;
	struct page *page = virt_to_page(virt);

	expect_counters(test, p, before, nr_pages(p), 0);
	expect_fresh(test, p, virt);
	memset(virt, PATTERN, table_size(p));
	if (p->type == MEMDESC_IOPTDESC)
		INIT_LIST_HEAD(&page_ioptdesc(page)->iopt_freelist_elm);
	else
		set_page_private(page, 0x1230);
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

#ifdef CONFIG_MEMORY_ISOLATION
/* Is what is freed held, and of which zone is it? Leaves the lists empty. */
static bool is_held(const struct cache_param *p, struct zone **zone)
{
	void *virt = get_table(p, GFP_TEST);

	if (!virt)
		return false;
	*zone = page_zone(virt_to_page(virt));
	put_table(p, virt);
	return memdesc_cache_drain(false) == nr_pages(p);
}

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
	struct page *page;
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
	page = ptdesc_page(ptdesc);
	/* As pagetable_free() does. */
	page->page_type = UINT_MAX;
	taken = memdesc_cache_put_migrated(ptdesc, cpu);
	KUNIT_EXPECT_FALSE(test, taken);
	if (!taken)
		__free_pages(page, p->order);
	KUNIT_EXPECT_TRUE(test, work_on_cpu(cpu, put_and_get, (void *)p));
}

/* A descriptor of its own goes with the pages, and not before. */
static void cache_descriptor(struct kunit *test)
{
#ifdef CONFIG_KEXEC_HANDOVER
	const struct cache_param *p = test->param_value;
	struct kmem_cache *s;
	struct slab *slab;
	void *virt, *desc;

	if (p->type != MEMDESC_IOPTDESC)
		kunit_skip(test, "overlays struct page");
	/* What kfence guards is free only after a grace period. */
	for (int tries = 0; tries < 10; tries++) {
		virt = must_get(test, p, GFP_TEST);
		desc = kasan_reset_tag(page_ioptdesc(virt_to_page(virt)));
		if (!is_kfence_address(desc))
			break;
		put_table(p, virt);
		memdesc_cache_drain(true);
		virt = NULL;
	}
	if (!virt)
		kunit_skip(test, "kfence guards each descriptor");
	slab = virt_to_slab(desc);
	KUNIT_ASSERT_NOT_NULL(test, slab);
	s = slab->slab_cache;
	put_table(p, virt);
	KUNIT_EXPECT_FALSE(test, slab_object_is_free(s, slab, desc));

	memdesc_cache_drain(true);
	/* Or all of the slab is free, and gone. */
	slab = virt_to_slab(desc);
	KUNIT_EXPECT_TRUE(test, !slab || slab->slab_cache != s ||
			  slab_object_is_free(s, slab, desc));
#else
	kunit_skip(test, "needs CONFIG_KEXEC_HANDOVER");
#endif
}

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
		struct page *page = virt_to_page(must_get(test, p, GFP_TEST));

		page->page_type = UINT_MAX;
		KUNIT_EXPECT_FALSE(test,
				   memdesc_cache_put_migrated(page_ptdesc(page),
							      cpu));
		__free_pages(page, p->order);
	}

	KUNIT_EXPECT_EQ(test, add_cpu(cpu), 0);
	KUNIT_EXPECT_EQ(test, memdesc_cache_depth(cpu, p->type, p->order), max);
	KUNIT_EXPECT_EQ(test, depth(p), this_max);
	memdesc_cache_drain(true);
	expect_counters(test, p, before, 0, 0);
}

#ifdef CONFIG_CONTIG_ALLOC
/* Make a table of single pages. It is in use, and counted. */
static void make_table(struct kunit *test, const struct cache_param *p,
		       struct page *page)
{
	struct ioptdesc *iopt;

	for (long i = 0; i < nr_pages(p); i++)
		set_page_count(page + i, 0);
	if (p->order)
		prep_compound_page(page, p->order);
	if (p->type != MEMDESC_IOPTDESC) {
		set_page_count(page, 1);
		return;
	}
	iopt = memdesc_alloc_own_noprof(GFP_TEST, NUMA_NO_NODE,
					MEMDESC_IOPTDESC);
	KUNIT_ASSERT_NOT_NULL(test, iopt);
	memdesc_attach(page, p->order, iopt, MEMDESC_IOPTDESC);
}

/* Free what make_table() has made. Does the list of this CPU hold it now? */
static bool hold_table(const struct cache_param *p, struct page *page)
{
	if (p->type == MEMDESC_IOPTDESC) {
		if (memdesc_cache_put_ioptdesc(page_ioptdesc(page)))
			return true;
		memdesc_free(page_ioptdesc(page));
		return false;
	}
	if (memdesc_cache_put_ptdesc(page_ptdesc(page)))
		return true;
	__free_pages(page, p->order);
	return false;
}

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

/* Memory goes offline that was not yet held when the lists were first drained. */
static void offline_freed_late(struct kunit *test, struct tables *t)
{
	const unsigned int other = cpumask_any_but(cpu_online_mask, t->cpu);
	struct task_struct *task;

	if (other >= nr_cpu_ids) {
		kunit_info(test, "only one CPU: no tables are freed meanwhile");
		return;
	}
	run_on(test, other);
	make_tables(test, t, true);

	init_completion(&t->spinning);
	task = kthread_create(put_after_drain, t, "put_after_drain");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	kthread_bind(task, t->cpu);
	sched_set_fifo(task);
	get_task_struct(task);
	wake_up_process(task);
	wait_for_completion(&t->spinning);

	KUNIT_EXPECT_EQ(test, set_block_online(t->block, false), 0);
	KUNIT_EXPECT_EQ(test, t->held_isolated, 0);
	kthread_stop_put(task);
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

/* What is held belongs to nobody, and nobody can hand it over. */
static void cache_preserve(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	void *virt = must_get(test, p, GFP_TEST);
	struct page *page = virt_to_page(virt);
	struct ioptdesc *iopt = NULL;
	int err;

	if (!IS_ENABLED(CONFIG_KEXEC_HANDOVER) || !kho_is_enabled()) {
		put_table(p, virt);
		kunit_skip(test, "needs kho=on");
	}
	if (p->type == MEMDESC_IOPTDESC)
		iopt = page_ioptdesc(page);
	put_table(p, virt);
	expect_held(test, page);

	if (iopt) {
		KUNIT_EXPECT_EQ(test, kho_ioptdesc_preserve(iopt), -EINVAL);
		KUNIT_EXPECT_EQ(test, iommu_preserve_pages(virt), -EINVAL);
	} else {
		KUNIT_EXPECT_EQ(test, kho_ptdesc_preserve(page_ptdesc(page)),
				-EINVAL);
	}
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, p->order), -EINVAL);
	err = kho_folio_preserve((struct folio *)page);
	KUNIT_EXPECT_EQ(test, err, -EINVAL);
	memdesc_cache_drain(true);
}

/* Somebody else has a reference: the memory is his, not to be held. */
static void cache_reference(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();
	struct page *page;
	void *virt;

	if (p->type == MEMDESC_IOPTDESC)
		kunit_skip(test, "has no reference count");
	virt = must_get(test, p, GFP_TEST);
	page = virt_to_page(virt);
	get_page(page);
	put_table(p, virt);
	expect_counters(test, p, before, 0, 0);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
	put_page(page);
	expect_counters(test, p, before, 0, 0);
}

#ifdef CONFIG_MEMCG
/* A memcg pays for what it uses and not for what is held. */
static void cache_account(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();
	struct mem_cgroup *memcg = get_any_memcg(), *old;
	struct page *page, *held;
	void *virt;

	if (!memcg)
		kunit_skip(test, "no memory cgroup but the root");
	virt = must_get(test, p, GFP_TEST);
	held = virt_to_page(virt);
	put_table(p, virt);

	old = current->active_memcg;
	current->active_memcg = memcg;
	virt = must_get(test, p, GFP_TEST | __GFP_ACCOUNT);
	current->active_memcg = old;
	page = virt_to_page(virt);
	KUNIT_EXPECT_PTR_EQ(test, page, held);
	KUNIT_EXPECT_TRUE(test, PageMemcgKmem(page));
	expect_counters(test, p, before, nr_pages(p), 0);
	put_table(p, virt);
	KUNIT_EXPECT_EQ(test, page->memcg_data, 0);
	expect_counters(test, p, before, 0, nr_pages(p));

	virt = must_get(test, p, GFP_TEST);
	KUNIT_EXPECT_PTR_EQ(test, virt_to_page(virt), held);
	KUNIT_EXPECT_EQ(test, held->memcg_data, 0);
	put_table(p, virt);
	memdesc_cache_drain(true);
	expect_counters(test, p, before, 0, 0);
	css_put(&memcg->css);
}

static void *get_charged(const struct cache_param *p, struct mem_cgroup *memcg)
{
	struct mem_cgroup *old = current->active_memcg;
	void *virt;

	current->active_memcg = memcg;
	virt = get_table(p, GFP_KERNEL | __GFP_ACCOUNT | __GFP_NOWARN |
			    __GFP_NORETRY);
	current->active_memcg = old;
	return virt;
}

/* How often the limit is hit by a page table that the memcg cannot have. */
static long limit_hit(struct kunit *test, const struct cache_param *p,
		      struct mem_cgroup *memcg)
{
	atomic_long_t *hit = &memcg->memory_events[MEMCG_MAX];
	const long before = atomic_long_read(hit);
	void *virt = get_charged(p, memcg);

	KUNIT_EXPECT_NULL(test, virt);
	if (virt)
		put_table(p, virt);
	return atomic_long_read(hit) - before;
}

/* A page table that a memcg must not have is asked for once, held or not. */
static void cache_charge(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	struct mem_cgroup *memcg;
	unsigned long max;
	void *virt[65];
	long off, on;
	int n = 0;

	memcg = get_any_memcg();
	if (!memcg)
		kunit_skip(test, "no memory cgroup but the root");

	max = xchg(&memcg->memory.max, 0);
	memdesc_cache_enable(false);
	/* Some may have been paid for in advance. */
	while (n < ARRAY_SIZE(virt) - 1 && (virt[n] = get_charged(p, memcg)))
		n++;
	off = limit_hit(test, p, memcg);
	memdesc_cache_enable(true);
	virt[n] = get_table(p, GFP_TEST);
	if (virt[n])
		put_table(p, virt[n]);
	on = limit_hit(test, p, memcg);
	WRITE_ONCE(memcg->memory.max, max);
	while (n--)
		put_table(p, virt[n]);

	KUNIT_EXPECT_GT(test, off, 0);
	KUNIT_EXPECT_EQ(test, on, off);
	css_put(&memcg->css);
}
#else
static void cache_account(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MEMCG");
}

static void cache_charge(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MEMCG");
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

/*
 * Interrupts that allocate and free in the middle of what the thread does. Soft
 * ones: lockdep objects to the page allocator's locks in a timer's hard interrupt.
 */
struct irq_test {
	struct hrtimer timer;
	const struct cache_param *p;
	void *virt;
	unsigned long ticks;
	bool wrong;
};

static enum hrtimer_restart irq_test_tick(struct hrtimer *timer)
{
	struct irq_test *t = container_of(timer, struct irq_test, timer);

	if (t->virt) {
		if (*(unsigned long *)t->virt != (unsigned long)t)
			t->wrong = true;
		put_table(t->p, t->virt);
		t->virt = NULL;
	} else {
		t->virt = get_table(t->p, GFP_ATOMIC | __GFP_ZERO |
				    __GFP_NOWARN);
		if (t->virt) {
			if (*(unsigned long *)t->virt)
				t->wrong = true;
			*(unsigned long *)t->virt = (unsigned long)t;
		}
	}
	t->ticks++;
	hrtimer_forward_now(timer, us_to_ktime(50));
	return HRTIMER_RESTART;
}

static void cache_interrupt(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();
	struct irq_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	const unsigned long end = jiffies + msecs_to_jiffies(300);
	unsigned long wrong = 0, rounds = 0;

	KUNIT_ASSERT_NOT_NULL(test, t);
	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		kunit_skip(test, "interrupts do not allocate");
	t->p = p;
	hrtimer_setup(&t->timer, irq_test_tick, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL_SOFT);
	hrtimer_start(&t->timer, us_to_ktime(50), HRTIMER_MODE_REL_SOFT);
	while (time_before(jiffies, end)) {
		unsigned long *virt[3] = {};

		for (int i = 0; i < 3; i++) {
			virt[i] = get_table(p, GFP_TEST | __GFP_ZERO);
			if (!virt[i])
				continue;
			wrong += !!*virt[i];
			*virt[i] = (unsigned long)&virt[i];
		}
		for (int i = 0; i < 3; i++) {
			if (!virt[i])
				continue;
			wrong += *virt[i] != (unsigned long)&virt[i];
			put_table(p, virt[i]);
		}
		rounds++;
	}
	hrtimer_cancel(&t->timer);
	if (t->virt)
		put_table(p, t->virt);
	kunit_info(test, "%lu rounds, %lu interrupts", rounds, t->ticks);
	KUNIT_EXPECT_EQ(test, wrong, 0);
	KUNIT_EXPECT_FALSE(test, t->wrong);
	KUNIT_EXPECT_GT(test, t->ticks, 0);
	memdesc_cache_drain(true);
	expect_counters(test, p, before, 0, 0);
}

/*
 * Walkers on all CPUs look descriptors up and try to take references, as the
 * rule at page_memdesc() says, while two threads allocate and free them. What
 * the barriers there are for does not happen on x86; the comment in
 * page_memdesc() has the reasoning that no test replaces.
 */
#define NR_WATCHED	16

struct walk {
	struct kmem_cache *cache;	/* of struct ioptdesc */
	struct page *page[NR_WATCHED];
	unsigned long looked, taken, types, wrong, rounds;
};

static struct kmem_cache *desc_cache(void *desc)
{
	struct slab *slab;

	/* What is no descriptor may be anything. */
	if (!virt_addr_valid(desc))
		return NULL;
	slab = virt_to_slab(kasan_reset_tag(desc));
	return slab ? slab->slab_cache : NULL;
}

static int walker(void *arg)
{
	struct walk *w = arg;
	unsigned int i = 0;

	while (!kthread_should_stop()) {
		struct page *page = READ_ONCE(w->page[i++ % NR_WATCHED]);
		memdesc_t md, again;
		struct folio *folio;

		if (!(i % 1024))
			cond_resched();
		if (!page)
			continue;
		rcu_read_lock();
		md = page_memdesc(page);
		w->looked++;
		switch (memdesc_type(md)) {
		case MEMDESC_IOPTDESC:
			w->types |= 1;
			/* Of the slab cache it is from, whatever it is now. */
			if (desc_cache(memdesc_ptr(md)) != w->cache)
				w->wrong++;
			rcu_read_unlock();
			continue;
		case MEMDESC_PTDESC:
			w->types |= 2;
			break;
		default:
			w->types |= 4;
			rcu_read_unlock();
			continue;
		}
		folio = ptdesc_folio((struct ptdesc *)memdesc_ptr(md));
		if (folio_try_get(folio)) {
			again = page_memdesc(page);
			/*
			 * Still the same: now it cannot be anything else, and
			 * its owner can make it no table, but not free it.
			 */
			if (memdesc_type(again) == MEMDESC_PTDESC &&
			    memdesc_ptr(again) == memdesc_ptr(md)) {
				w->taken++;
				for (int j = 0; j < 16; j++) {
					cpu_relax();
					if (!folio_ref_count(folio) ||
					    page_memdesc_type(page) ==
					    MEMDESC_IOPTDESC)
						w->wrong++;
				}
			}
			rcu_read_unlock();
			folio_put(folio);
		} else {
			rcu_read_unlock();
		}
	}
	return 0;
}

static int churner(void *arg)
{
	static const struct cache_param *const tables[] = {
		&params[0], &params[4], &params[1], &params[5],
	};
	struct walk *w = arg;
	unsigned long *virt[NR_WATCHED] = {};
	unsigned int i = 0;

	while (!kthread_should_stop()) {
		const unsigned int slot = i % NR_WATCHED;
		const struct cache_param *p = tables[slot % 4];

		if (virt[slot]) {
			/* Would not be so if somebody else had got it, too. */
			if (*virt[slot] != (unsigned long)&virt[slot])
				w->wrong++;
			put_table(p, virt[slot]);
		}
		virt[slot] = get_table(p, GFP_TEST | __GFP_ZERO);
		if (virt[slot]) {
			if (*virt[slot])
				w->wrong++;
			*virt[slot] = (unsigned long)&virt[slot];
			WRITE_ONCE(w->page[slot], virt_to_page(virt[slot]));
		}
		w->rounds++;
		i = i * 5 + 3;
		if (!(w->rounds % 256))
			cond_resched();
	}
	for (i = 0; i < NR_WATCHED; i++)
		if (virt[i])
			put_table(tables[i % 4], virt[i]);
	return 0;
}

static void cache_walkers(struct kunit *test)
{
	const struct counters before = get_counters();
	void *virt = must_get(test, &params[4], GFP_TEST);
	struct kmem_cache *cache;

	cache = desc_cache(page_ioptdesc(virt_to_page(virt)));
	put_table(&params[4], virt);
	memdesc_cache_drain(true);

	for (int on = 0; on < 2; on++) {
		struct walk *w = kunit_kcalloc(test, 2, sizeof(*w), GFP_KERNEL);
		struct task_struct *t[4];
		unsigned long wrong = 0, taken = 0;

		KUNIT_ASSERT_NOT_NULL(test, w);
		w[0].cache = cache;
		w[1].cache = cache;
		memdesc_cache_enable(on);
		/* Walkers and those whose memory they look at change CPUs. */
		for (int i = 0; i < 4; i++) {
			t[i] = kthread_run(i % 2 ? walker : churner, &w[i / 2],
					   "memdesc_cache/%d", i);
			KUNIT_ASSERT_FALSE(test, IS_ERR(t[i]));
		}
		msleep(1000);
		for (int i = 3; i >= 0; i--)
			kthread_stop(t[i]);
		for (int i = 0; i < 2; i++) {
			kunit_info(test, "lists %s: %lu tables, %lu looked up, %lu references\n",
				   on ? "on" : "off", w[i].rounds, w[i].looked,
				   w[i].taken);
			wrong += w[i].wrong;
			taken += w[i].taken;
			KUNIT_EXPECT_EQ(test, w[i].types & 3, 3);
		}
		KUNIT_EXPECT_EQ(test, wrong, 0);
		KUNIT_EXPECT_GT(test, taken, 0);
		memdesc_cache_drain(true);
		expect_counters(test, &params[4], before, 0, 0);
	}
}

static bool was_enabled;

static int cache_suite_init(struct kunit_suite *suite)
{
	was_enabled = memdesc_cache_enable(true);
	return 0;
}

static void cache_suite_exit(struct kunit_suite *suite)
{
	memdesc_cache_enable(was_enabled);
}

/* The thread that this runs in runs the test, and nothing after it. */
static int cache_init(struct kunit *test)
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

static void cache_exit(struct kunit *test)
{
	memdesc_cache_drain(true);
}

static struct kunit_case cache_cases[] = {
	KUNIT_CASE_PARAM(cache_reuse, params_gen_params),
	KUNIT_CASE_PARAM(cache_zone, params_gen_params),
	KUNIT_CASE_PARAM(cache_node, params_gen_params),
	KUNIT_CASE_PARAM(cache_cpuset, params_gen_params),
	KUNIT_CASE_PARAM(cache_poisoned, params_gen_params),
	KUNIT_CASE_PARAM(cache_flags, params_gen_params),
	KUNIT_CASE_PARAM(cache_isolated, params_gen_params),
	KUNIT_CASE_PARAM(cache_migrated, params_gen_params),
	KUNIT_CASE_PARAM(cache_descriptor, params_gen_params),
	KUNIT_CASE_PARAM(cache_bound, params_gen_params),
	KUNIT_CASE_PARAM(cache_shrinker, params_gen_params),
	KUNIT_CASE_PARAM(cache_priority, params_gen_params),
	KUNIT_CASE_PARAM(cache_contig, params_gen_params),
	KUNIT_CASE_PARAM(cache_preserve, params_gen_params),
	KUNIT_CASE_PARAM(cache_reference, params_gen_params),
	KUNIT_CASE_PARAM(cache_account, params_gen_params),
	KUNIT_CASE_PARAM(cache_charge, params_gen_params),
	KUNIT_CASE_PARAM(cache_off, params_gen_params),
	KUNIT_CASE_PARAM(cache_interrupt, params_gen_params),
	KUNIT_CASE_SLOW(cache_walkers),
	KUNIT_CASE_SLOW(cache_pressure),
	KUNIT_CASE_PARAM(cache_cpu_offline, params_gen_params),
	KUNIT_CASE(cache_block_offline),
	{}
};

static struct kunit_suite cache_suite = {
	.name		= "memdesc_cache",
	.suite_init	= cache_suite_init,
	.suite_exit	= cache_suite_exit,
	.init		= cache_init,
	.exit		= cache_exit,
	.test_cases	= cache_cases,
};

kunit_test_suite(cache_suite);

MODULE_DESCRIPTION("KUnit tests of the lists of freed memory descriptors");
MODULE_LICENSE("GPL");
