// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the last reference: memory goes back by its type.
 */
#include <kunit/test.h>
#include <linux/hugetlb.h>
#include <linux/ioport.h>
#include <linux/ioptdesc.h>
#include <linux/kexec_handover.h>
#include <linux/kfence.h>
#include <linux/kho_memdesc.h>
#include <linux/memcontrol.h>
#include <linux/memdesc.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/vmstat.h>
#include <net/page_pool/helpers.h>
#include "../internal.h"

/*
 * In functions of their own: these warn once for each place that they are
 * inlined to.
 */
static noinline void test_get_page(struct page *page)
{
	get_page(page);
}

static noinline void test_put_page(struct page *page)
{
	put_page(page);
}

/* Types without a refcount: no reference can be taken or dropped. */
static void put_frozen(struct kunit *test, struct page *page)
{
	struct page *head = compound_head(page);
	const unsigned int type = head->page_type;

	KUNIT_ASSERT_EQ(test, page_ref_count(head), 0);

	kunit_warning_suppress(test) {
		test_get_page(page);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	KUNIT_EXPECT_EQ(test, page_ref_count(head), 0);

	/* iov_iter does so with kmalloc() memory: not a word. */
	kunit_warning_suppress(test) {
		test_put_page(page);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 0);
	}
	KUNIT_EXPECT_EQ(test, page_ref_count(head), 0);
	KUNIT_EXPECT_EQ(test, head->page_type, type);

	/*
	 * folio_put() does not look at the type. A reference that nobody took is
	 * not the last one: the count is wrong, and the memory its owner's. With
	 * DEBUG_VM it is a bug.
	 */
	if (!IS_ENABLED(CONFIG_DEBUG_VM)) {
		kunit_warning_suppress(test) {
			folio_put((struct folio *)head);
			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 0);
		}
		KUNIT_EXPECT_EQ(test, page_ref_count(head), -1);
		KUNIT_EXPECT_EQ(test, head->page_type, type);
		set_page_count(head, 0);
	}

	/* One that was taken without looking, and is the last, frees nothing. */
	kunit_warning_suppress(test) {
		page_ref_inc(head);
		folio_put((struct folio *)head);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	KUNIT_EXPECT_EQ(test, page_ref_count(head), 0);
	KUNIT_EXPECT_EQ(test, head->page_type, type);

	kunit_warning_suppress(test) {
		struct folio_batch batch;

		folio_batch_init(&batch);
		page_ref_inc(head);
		folio_batch_add(&batch, (struct folio *)head);
		folios_put(&batch);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	KUNIT_EXPECT_EQ(test, page_ref_count(head), 0);
	KUNIT_EXPECT_EQ(test, head->page_type, type);
}

static void memdesc_put_test_frozen(struct kunit *test)
{
	struct ioptdesc *iopt;
	void *mem;

	/* kfence's pages have a reference; it does not guard two in a row. */
	mem = kmalloc(64, GFP_KERNEL);
	if (is_kfence_address(mem)) {
		kfree(mem);
		mem = kmalloc(64, GFP_KERNEL);
	}
	KUNIT_ASSERT_NOT_NULL(test, mem);
	put_frozen(test, virt_to_page(mem));
	kfree(mem);

	mem = kmalloc(PAGE_SIZE << 3, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mem);
	put_frozen(test, virt_to_page(mem + PAGE_SIZE));
	kfree(mem);

	iopt = memdesc_alloc_node(GFP_KERNEL, 1, NUMA_NO_NODE, struct ioptdesc);
	KUNIT_ASSERT_NOT_NULL(test, iopt);
	put_frozen(test, iopt->page + 1);
	memdesc_free(iopt);
}

/* A table with a descriptor of its own has no references, constructed or not. */
static void put_frozen_table(struct kunit *test, unsigned int order)
{
	struct ptdesc *ptdesc = pagetable_alloc(GFP_KERNEL_ACCOUNT, order);
	struct page *page;

	KUNIT_ASSERT_NOT_NULL(test, ptdesc);
	page = ptdesc_page(ptdesc);
	put_frozen(test, page + (1 << order) - 1);
	pagetable_pud_ctor(ptdesc);
	put_frozen(test, page + (1 << order) - 1);
	KUNIT_EXPECT_EQ(test, ptdesc_state(ptdesc), PTDESC_PUD);
	KUNIT_EXPECT_PTR_EQ(test, page_ptdesc(page), ptdesc);
	pagetable_dtor_free(ptdesc);
}

/* One page for two owners of a reference: the last one frees, one by one or not. */
static void put_table(struct kunit *test, unsigned int order, bool batched)
{
	struct ptdesc *ptdesc = pagetable_alloc(GFP_KERNEL_ACCOUNT, order);
	struct folio_batch batch;
	struct page *page;

	KUNIT_ASSERT_NOT_NULL(test, ptdesc);
	page = ptdesc_page(ptdesc);
	get_page(page);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 2);
	put_page(page);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
	KUNIT_EXPECT_TRUE(test, PageTable(page));

	/* Stays on this CPU's list, where it can be looked at. */
	preempt_disable();
	if (batched) {
		folio_batch_init(&batch);
		folio_batch_add(&batch, (struct folio *)page);
		folios_put(&batch);
	} else {
		put_page(page);
	}
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 0);
	KUNIT_EXPECT_FALSE(test, PageTable(page));
	preempt_enable();
}

/* Still constructed, and nobody to undo that: noticed where somebody looks. */
static void put_constructed(struct kunit *test, bool batched)
{
	struct ptdesc *ptdesc = pagetable_alloc(GFP_KERNEL, 0);
	struct folio_batch batch;
	struct page *page;

	KUNIT_ASSERT_NOT_NULL(test, ptdesc);
	page = ptdesc_page(ptdesc);
	pagetable_pud_ctor(ptdesc);
	kunit_warning_suppress(test) {
		if (batched) {
			folio_batch_init(&batch);
			folio_batch_add(&batch, (struct folio *)page);
			folios_put(&batch);
		} else {
			put_page(page);
		}
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test,
						      IS_ENABLED(CONFIG_DEBUG_VM));
	}
	/* What the destructor would have done. */
	mod_node_page_state(page_pgdat(page), NR_PAGETABLE, -1);
}

static void memdesc_put_test_table(struct kunit *test)
{
	if (IS_ENABLED(CONFIG_MEMDESC_PTDESC)) {
		for (unsigned int order = 0; order <= PAGE_ALLOC_COSTLY_ORDER;
		     order++)
			put_frozen_table(test, order);
		return;
	}

	put_constructed(test, false);
	put_constructed(test, true);

	/* Preemption is disabled meanwhile, and locks are taken. */
	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		kunit_skip(test, "not with PREEMPT_RT");

	for (unsigned int order = 0; order <= PAGE_ALLOC_COSTLY_ORDER; order++) {
		put_table(test, order, false);
		put_table(test, order, true);
	}
}

static void memdesc_put_test_hugetlb(struct kunit *test)
{
#ifdef CONFIG_HUGETLB_PAGE
	struct hstate *h = &default_hstate;

	if (!hugepages_supported())
		kunit_skip(test, "no huge pages");

	for (int batched = 0; batched < 2; batched++) {
		const unsigned long before = h->nr_huge_pages;
		struct folio_batch batch;
		struct folio *folio;

		/* Not of the pool: given back to the page allocator. */
		folio = alloc_hugetlb_folio_nodemask(h, numa_mem_id(), NULL,
						     GFP_KERNEL | __GFP_COMP |
						     __GFP_NOWARN, true);
		if (!folio)
			kunit_skip(test, "no memory");
		KUNIT_EXPECT_TRUE(test, folio_test_hugetlb(folio));
		KUNIT_EXPECT_EQ(test, page_memdesc_type(folio_page(folio, 3)),
				MEMDESC_FOLIO);
		KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
		if (batched) {
			folio_batch_init(&batch);
			folio_batch_add(&batch, folio);
			folios_put(&batch);
		} else {
			memdesc_put(folio);
		}
		KUNIT_EXPECT_FALSE(test, folio_test_hugetlb(folio));
		KUNIT_EXPECT_EQ(test, h->nr_huge_pages, before);
	}
#else
	kunit_skip(test, "needs CONFIG_HUGETLB_PAGE");
#endif
}

#ifdef CONFIG_DEVICE_PRIVATE
static unsigned int device_freed;

static void device_folio_free(struct folio *folio)
{
	device_freed++;
}

static vm_fault_t device_migrate(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

static const struct dev_pagemap_ops device_ops = {
	.folio_free	= device_folio_free,
	.migrate_to_ram	= device_migrate,
};

static void memdesc_put_test_device(struct kunit *test)
{
	struct dev_pagemap *pgmap = kunit_kzalloc(test, sizeof(*pgmap),
						  GFP_KERNEL);
	struct folio_batch batch;
	struct resource *res;
	struct page *page;

	KUNIT_ASSERT_NOT_NULL(test, pgmap);
	res = request_free_mem_region(&iomem_resource, SZ_128M, "memdesc_put");
	KUNIT_ASSERT_FALSE(test, IS_ERR(res));
	pgmap->type = MEMORY_DEVICE_PRIVATE;
	pgmap->range.start = res->start;
	pgmap->range.end = res->end;
	pgmap->nr_range = 1;
	pgmap->ops = &device_ops;
	pgmap->owner = &device_freed;
	if (IS_ERR(memremap_pages(pgmap, numa_mem_id()))) {
		release_mem_region(res->start, resource_size(res));
		kunit_skip(test, "no device memory");
	}

	device_freed = 0;
	page = pfn_to_page(PHYS_PFN(res->start));
	zone_device_page_init(page, pgmap, 0);
	unlock_page(page);
	KUNIT_EXPECT_TRUE(test, is_zone_device_page(page));
	get_page(page);
	put_page(page);
	KUNIT_EXPECT_EQ(test, device_freed, 0);
	put_page(page);
	KUNIT_EXPECT_EQ(test, device_freed, 1);

	zone_device_page_init(page, pgmap, 0);
	unlock_page(page);
	folio_batch_init(&batch);
	folio_batch_add(&batch, page_folio(page));
	folios_put(&batch);
	KUNIT_EXPECT_EQ(test, device_freed, 2);

	memunmap_pages(pgmap);
	release_mem_region(res->start, resource_size(res));
}
#else
static void memdesc_put_test_device(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_DEVICE_PRIVATE");
}
#endif

/*
 * A folio goes with all that belongs to one, also where the state of a large
 * one does not tell that it is.
 */
static void memdesc_put_test_folio(struct kunit *test)
{
	/* Preemption is disabled meanwhile, and locks are taken. */
	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		kunit_skip(test, "not with PREEMPT_RT");

	for (unsigned int order = 0; order <= PAGE_ALLOC_COSTLY_ORDER; order++) {
		struct folio *folio = folio_alloc(GFP_KERNEL, order);

		KUNIT_ASSERT_NOT_NULL(test, folio);
		KUNIT_ASSERT_EQ(test, mem_cgroup_charge(folio, NULL,
							GFP_KERNEL), 0);
		KUNIT_EXPECT_EQ(test, folio_memcg_charged(folio),
				IS_ENABLED(CONFIG_MEMCG) &&
				!mem_cgroup_disabled());
		/* What is freed stays on this CPU's list, to be looked at. */
		preempt_disable();
		memdesc_put(folio);
		KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 0);
		KUNIT_EXPECT_FALSE(test, folio_memcg_charged(folio));
		preempt_enable();
	}
}

/* Folios of an LRU list, whose lock a batch keeps, and what does not want it. */
static void memdesc_put_test_batch(struct kunit *test)
{
	const bool frozen = IS_ENABLED(CONFIG_MEMDESC_PTDESC);
	struct folio *lru[3] = {};
	struct folio_batch batch;
	struct page *slab_page, *table;
	struct ptdesc *ptdesc;
	void *mem;

	/* Preemption is disabled meanwhile, and locks are taken. */
	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		kunit_skip(test, "not with PREEMPT_RT");

	/* Its page gets a reference that came from nowhere, as any frozen page. */
	mem = kmalloc(PAGE_SIZE << 3, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mem);
	slab_page = virt_to_page(mem);
	ptdesc = pagetable_alloc(GFP_KERNEL_ACCOUNT, 0);
	KUNIT_ASSERT_NOT_NULL(test, ptdesc);
	table = ptdesc_page(ptdesc);
	for (int i = 0; i < ARRAY_SIZE(lru); i++) {
		lru[i] = folio_alloc(GFP_KERNEL, 0);
		KUNIT_ASSERT_NOT_NULL(test, lru[i]);
		KUNIT_ASSERT_EQ(test, mem_cgroup_charge(lru[i], NULL,
							GFP_KERNEL), 0);
		folio_add_lru(lru[i]);
	}
	/* The batches of the CPUs hold references. */
	lru_add_drain_all();

	folio_batch_init(&batch);
	folio_batch_add(&batch, lru[0]);
	folio_batch_add(&batch, ptdesc_folio(ptdesc));
	folio_batch_add(&batch, lru[1]);
	folio_batch_add(&batch, (struct folio *)slab_page);
	folio_batch_add(&batch, lru[2]);
	kunit_warning_suppress(test) {
		page_ref_inc(slab_page);
		if (frozen)
			page_ref_inc(table);
		/* What is freed stays on this CPU's list, to be looked at. */
		preempt_disable();
		folios_put(&batch);
		for (int i = 0; i < ARRAY_SIZE(lru); i++) {
			KUNIT_EXPECT_EQ(test, folio_ref_count(lru[i]), 0);
			KUNIT_EXPECT_FALSE(test, folio_test_lru(lru[i]));
		}
		KUNIT_EXPECT_EQ(test, PageTable(table), frozen);
		preempt_enable();
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, frozen ? 2 : 1);
	}
	if (frozen)
		pagetable_free(ptdesc);
	/* Not with a lock held, and each of them once. */
	KUNIT_EXPECT_FALSE(test, irqs_disabled());
	KUNIT_EXPECT_TRUE(test, PageLargeKmalloc(slab_page));
	kfree(mem);
}

#ifdef CONFIG_PAGE_POOL
/* Does the pool hand this page out again? It has others as well. */
static bool pool_has(struct page_pool *pool, struct page *page)
{
	static struct page *others[256];
	bool found = false;
	int n = 0;

	while (n < ARRAY_SIZE(others)) {
		others[n] = page_pool_alloc_pages(pool, GFP_KERNEL);
		found = others[n] == page;
		if (found || !others[n])
			break;
		n++;
	}
	while (n--)
		page_pool_put_full_page(pool, others[n], false);
	return found;
}

/* What belongs to a pool is netmem, by the pool's signature and no page type. */
static void netmem_in_pool(struct kunit *test, unsigned int order)
{
	const struct page_pool_params params = {
		.order		= order,
		.pool_size	= 1024,		/* pool_has() gives many back */
		.nid		= NUMA_NO_NODE,
	};
	struct page_pool *pool = page_pool_create(&params);
	struct netmem_desc *nmdesc;
	struct page *page;
	memdesc_t md;

	KUNIT_ASSERT_FALSE(test, IS_ERR(pool));
	page = page_pool_alloc_pages(pool, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, page);

	KUNIT_EXPECT_FALSE(test, page_has_type(page));
	md = page_memdesc(page + (1 << order) - 1);
	KUNIT_ASSERT_EQ(test, memdesc_type(md), MEMDESC_NETMEM);
	nmdesc = memdesc_netmem(md);
	KUNIT_ASSERT_PTR_EQ(test, (void *)nmdesc, (void *)page);
	KUNIT_EXPECT_PTR_EQ(test, nmdesc->pp, pool);

	/* No preserve takes it, whatever the memory is said to be. */
	if (kho_is_enabled()) {
		KUNIT_EXPECT_EQ(test, kho_folio_preserve((struct folio *)page),
				-EOPNOTSUPP);
		KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, order),
				-EOPNOTSUPP);
		KUNIT_EXPECT_EQ(test, kho_pages_exact_preserve(page_address(page),
							       PAGE_SIZE << order),
				-EOPNOTSUPP);
		KUNIT_EXPECT_EQ(test,
				kho_preserve_page_desc(page, order,
						       KHO_MEMDESC_PTDESC),
				-EOPNOTSUPP);
		/* No table, so it may have no descriptor to ask for. */
		if (!IS_ENABLED(CONFIG_MEMDESC_PTDESC))
			KUNIT_EXPECT_EQ(test,
					kho_ptdesc_preserve(page_ptdesc(page)),
					-EOPNOTSUPP);
		KUNIT_EXPECT_LT(test, kho_slab_preserve(page_address(page)), 0);
		if (order)
			KUNIT_EXPECT_LT(test, kho_pages_preserve(page + 1, 0), 0);
	}

	/* References to the page are not those of the pool. */
	get_page(page);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 2);
	put_page(page);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
	KUNIT_EXPECT_EQ(test, page_memdesc_type(page), MEMDESC_NETMEM);

	/* The last of the pool's references takes it back, not the allocator. */
	atomic_long_inc(&nmdesc->pp_ref_count);
	memdesc_put(nmdesc);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&nmdesc->pp_ref_count), 1);
	memdesc_put(nmdesc);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
	KUNIT_EXPECT_EQ(test, page_memdesc_type(page), MEMDESC_NETMEM);
	KUNIT_ASSERT_TRUE(test, pool_has(pool, page));

	/* The same if the type is looked up. */
	memdesc_put((struct netmem_desc *)memdesc_ptr(page_memdesc(page)));
	KUNIT_EXPECT_EQ(test, page_memdesc_type(page), MEMDESC_NETMEM);
	KUNIT_ASSERT_TRUE(test, pool_has(pool, page));

	/* Two references: not to be recycled, so the pool gives it up. */
	get_page(page);
	memdesc_put(nmdesc);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
	KUNIT_EXPECT_NE(test, page_memdesc_type(page), MEMDESC_NETMEM);
	put_page(page);

	page_pool_destroy(pool);
}

static void memdesc_put_test_netmem(struct kunit *test)
{
	netmem_in_pool(test, 0);
	netmem_in_pool(test, 2);
}
#else
static void memdesc_put_test_netmem(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_PAGE_POOL");
}
#endif

static struct kunit_case memdesc_put_test_cases[] = {
	KUNIT_CASE(memdesc_put_test_frozen),
	KUNIT_CASE(memdesc_put_test_table),
	KUNIT_CASE(memdesc_put_test_folio),
	KUNIT_CASE(memdesc_put_test_hugetlb),
	KUNIT_CASE(memdesc_put_test_device),
	KUNIT_CASE(memdesc_put_test_batch),
	KUNIT_CASE(memdesc_put_test_netmem),
	{}
};

static struct kunit_suite memdesc_put_test_suite = {
	.name = "memdesc_put",
	.test_cases = memdesc_put_test_cases,
};

kunit_test_suite(memdesc_put_test_suite);

MODULE_DESCRIPTION("KUnit tests of the last reference to memory of any type");
MODULE_LICENSE("GPL");
