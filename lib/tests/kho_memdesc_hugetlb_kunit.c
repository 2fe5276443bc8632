// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the typed kexec handover: folios of hugetlb.
 */

#include <kunit/test.h>

#include <linux/gfp.h>
#include <linux/hugetlb.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/kho_memdesc.h>
#include <linux/mm.h>
#include <linux/vmstat.h>

#include "../../kernel/liveupdate/kexec_handover_internal.h"
#include "kho_memdesc_kunit.h"

#ifdef CONFIG_HUGETLB_PAGE
/* Not from the pool: folio_put() gives it back to the page allocator. */
static struct folio *get_hugetlb(struct kunit *test)
{
	struct folio *folio;

	/* What is movable can lie in a scratch area, and cannot be preserved. */
	folio = alloc_hugetlb_folio_nodemask(&default_hstate, numa_mem_id(), NULL,
					     GFP_KERNEL | __GFP_COMP |
					     __GFP_NOWARN, true);
	if (!folio)
		kunit_skip(test, "no memory");
	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, free_folio, folio), 0);
	return folio;
}

static void hugetlb_preserve(struct kunit *test)
{
	struct folio *folio = get_hugetlb(test);
	const unsigned int order = folio_order(folio);
	struct page *page = &folio->page;

	for (int twice = 0; twice < 2; twice++) {
		KUNIT_ASSERT_EQ(test, kho_hugetlb_preserve(folio), 0);
		KUNIT_EXPECT_TRUE(test, in_map(page, order, KHO_MEMDESC_HUGETLB));
		KUNIT_EXPECT_EQ(test, times_in_map(page), 1);
		KUNIT_EXPECT_EQ(test, kho_hugetlb_preserve(folio), -EEXIST);
		/* That is another type, so it changes nothing. */
		kho_folio_unpreserve(folio);
		KUNIT_EXPECT_TRUE(test, map_has(page_to_pfn(page) + 1));
		kho_hugetlb_unpreserve(folio);
		KUNIT_EXPECT_EQ(test, times_in_map(page), 0);
		KUNIT_EXPECT_FALSE(test, map_has(page_to_pfn(page)));
	}
}

static void hugetlb_refuse(struct kunit *test)
{
	struct folio *folio = get_hugetlb(test);
	const unsigned int order = folio_order(folio);
	struct page *page = &folio->page;

	/* hugetlb has functions of its own, ... */
	KUNIT_EXPECT_EQ(test, kho_folio_preserve(folio), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, kho_folios_preserve(&folio, 1), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, order), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, kho_preserve_page_desc(page, order - 1,
						     KHO_MEMDESC_HUGETLB),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, kho_preserve_page_desc(page + 1, 0,
						     KHO_MEMDESC_HUGETLB),
			-EINVAL);
	/* ... which take nothing else. */
	for (unsigned int i = 0; i <= order; i += order)
		KUNIT_EXPECT_EQ(test, kho_hugetlb_preserve(get_folio(test, i)),
				-EINVAL);

	/* As free as in a pool. */
	KUNIT_ASSERT_TRUE(test, folio_ref_freeze(folio, 1));
	KUNIT_EXPECT_EQ(test, kho_hugetlb_preserve(folio), -EINVAL);
	folio_ref_unfreeze(folio, 1);
	KUNIT_EXPECT_EQ(test, times_in_map(page), 0);
}

/*
 * Memory as the boot leaves it: pages with a reference each, which the page
 * allocator does not count, and a stamp.
 */
static phys_addr_t get_stamped(struct kunit *test, unsigned int order,
			       enum kho_memdesc type)
{
	const union kho_page_info info = {
		.magic = KHO_PAGE_MAGIC, .type = type, .order = order,
	};
	struct page *page = alloc_pages(GFP_KERNEL, order);

	if (!page)
		kunit_skip(test, "no memory of order %u", order);
	split_page(page, order);
	adjust_managed_page_count(page, -(1L << order));
	set_page_private(page, info.page_private);
	return page_to_phys(page);
}

static void hugetlb_restore(struct kunit *test, enum kho_memdesc type)
{
	struct hstate *h = &default_hstate;
	const unsigned int order = huge_page_order(h);
	const long nr_pages = pages_per_huge_page(h);
	const unsigned long nr = h->nr_huge_pages, nr_free = h->free_huge_pages;
	const unsigned long max = h->max_huge_pages;
	const unsigned long stat = global_node_page_state_snapshot(NR_HUGETLB);
	const phys_addr_t phys = get_stamped(test, order, type);
	const int nid = page_to_nid(phys_to_page(phys));
	const unsigned int nr_node = h->nr_huge_pages_node[nid];
	struct zone *zone = page_zone(phys_to_page(phys));
	const unsigned long managed = zone_managed_pages(zone);
	struct folio *folio;

	folio = kho_hugetlb_restore(phys);
	KUNIT_ASSERT_EQ(test, PTR_ERR_OR_ZERO(folio), 0);
	KUNIT_EXPECT_EQ(test, PTR_ERR(kho_hugetlb_restore(phys)), -ENOENT);
	KUNIT_EXPECT_TRUE(test, folio_test_hugetlb(folio));
	KUNIT_EXPECT_PTR_EQ(test, folio_hstate(folio), h);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	KUNIT_EXPECT_FALSE(test, folio_test_large_rmappable(folio));
	KUNIT_EXPECT_PTR_EQ(test, page_folio(folio_page(folio, nr_pages - 1)),
			    folio);
	KUNIT_EXPECT_EQ(test, h->nr_huge_pages, nr + 1);
	KUNIT_EXPECT_EQ(test, h->nr_huge_pages_node[nid], nr_node + 1);
	KUNIT_EXPECT_EQ(test, h->max_huge_pages, max + 1);
	KUNIT_EXPECT_EQ(test, h->free_huge_pages, nr_free);
	KUNIT_EXPECT_EQ(test, global_node_page_state_snapshot(NR_HUGETLB),
			stat + nr_pages);
	/* And what struct pages were in, if most of them are not needed. */
	KUNIT_EXPECT_GE(test, zone_managed_pages(zone), managed + nr_pages);

	/* It can be handed over again. */
	KUNIT_EXPECT_EQ(test, kho_hugetlb_preserve(folio), 0);
	kho_hugetlb_unpreserve(folio);

	/* The pool has it, and can do without it. */
	folio_put(folio);
	KUNIT_EXPECT_EQ(test, h->nr_huge_pages, nr + 1);
	KUNIT_EXPECT_EQ(test, h->free_huge_pages, nr_free + 1);
	KUNIT_EXPECT_EQ(test, global_node_page_state_snapshot(NR_HUGETLB), stat);
	KUNIT_EXPECT_EQ(test, dissolve_free_hugetlb_folio(folio), 0);
	KUNIT_EXPECT_FALSE(test, folio_test_hugetlb(folio));
	KUNIT_EXPECT_EQ(test, h->nr_huge_pages, nr);
	KUNIT_EXPECT_EQ(test, h->free_huge_pages, nr_free);
	KUNIT_EXPECT_EQ(test, h->max_huge_pages, max);
}

static void hugetlb_restore_typed(struct kunit *test)
{
	hugetlb_restore(test, KHO_MEMDESC_HUGETLB);
}

/* A "kho-v4" kernel has no types: its folios of hugetlb come back as that, too. */
static void hugetlb_restore_untyped(struct kunit *test)
{
	hugetlb_restore(test, KHO_MEMDESC_UNTYPED);
}

static void hugetlb_restore_refuse(struct kunit *test)
{
	const unsigned int order = huge_page_order(&default_hstate);
	const unsigned long nr = default_hstate.nr_huge_pages;
	phys_addr_t phys = get_stamped(test, order, KHO_MEMDESC_HUGETLB);
	struct page *page = phys_to_page(phys);
	union kho_page_info info = { .page_private = page->private };

	KUNIT_EXPECT_EQ(test, PTR_ERR(kho_folio_restore(phys)), -EINVAL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(kho_pages_restore(phys, order)), -EINVAL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(kho_hugetlb_restore(phys + 8)), -EINVAL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(kho_hugetlb_restore(phys + PAGE_SIZE)),
			-ENOENT);
	/* hugetlb has no such pages. */
	info.order = 3;
	set_page_private(page, info.page_private);
	KUNIT_EXPECT_EQ(test, PTR_ERR(kho_hugetlb_restore(phys)), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, page->private, info.page_private);
	info.order = order;
	info.type = KHO_MEMDESC_FOLIO;
	set_page_private(page, info.page_private);
	KUNIT_EXPECT_EQ(test, PTR_ERR(kho_hugetlb_restore(phys)), -EINVAL);
	KUNIT_EXPECT_EQ(test, page->private, info.page_private);

	/* Nothing of all this has changed the memory. */
	KUNIT_EXPECT_EQ(test, default_hstate.nr_huge_pages, nr);
	KUNIT_EXPECT_FALSE(test, PageCompound(page));
	set_page_private(page, 0);
	adjust_managed_page_count(page, 1L << order);
	for (unsigned long i = 0; i < 1UL << order; i++)
		__free_page(page + i);
}

/* The folio knows which of its pages had an error before the kexec. */
static void hugetlb_restore_error(struct kunit *test)
{
#ifdef CONFIG_MEMORY_FAILURE
	const unsigned int order = huge_page_order(&default_hstate);
	const phys_addr_t phys = get_stamped(test, order, KHO_MEMDESC_HUGETLB);
	struct page *page = phys_to_page(phys);
	union kho_page_info info = { .page_private = page->private };
	struct page *bad = page + (1UL << order) - 2;
	struct folio *folio;

	KUNIT_EXPECT_EQ(test, PTR_ERR(kho_hugetlb_restore_hwpoison(phys)),
			-ENOENT);
	SetPageHWPoison(bad);
	info.magic = KHO_PAGE_POISONED;
	set_page_private(page, info.page_private);
	KUNIT_EXPECT_EQ(test, PTR_ERR(kho_hugetlb_restore(phys)), -EHWPOISON);
	KUNIT_EXPECT_EQ(test, PTR_ERR(kho_folio_restore_hwpoison(phys)), -ENOENT);

	folio = kho_hugetlb_restore_hwpoison(phys);
	KUNIT_ASSERT_EQ(test, PTR_ERR_OR_ZERO(folio), 0);
	KUNIT_EXPECT_EQ(test, PTR_ERR(kho_hugetlb_restore_hwpoison(phys)),
			-ENOENT);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	KUNIT_EXPECT_TRUE(test, folio_test_hwpoison(folio));
	KUNIT_EXPECT_TRUE(test, is_raw_hwpoison_page_in_hugepage(bad));
	KUNIT_EXPECT_FALSE(test, is_raw_hwpoison_page_in_hugepage(bad + 1));
	KUNIT_EXPECT_FALSE(test, is_raw_hwpoison_page_in_hugepage(page));

	/* The mark goes back to the page, which is not bad at all. */
	folio_put_refs(folio, 2);
	KUNIT_EXPECT_EQ(test, dissolve_free_hugetlb_folio(folio), 0);
	KUNIT_EXPECT_TRUE(test, TestClearPageHWPoison(bad));
	KUNIT_EXPECT_FALSE(test, PageHWPoison(page));
#else
	kunit_skip(test, "no CONFIG_MEMORY_FAILURE");
#endif
}

static int hugetlb_test_init(struct kunit *test)
{
	if (!hugepages_supported())
		kunit_skip(test, "no huge pages");
	return kho_memdesc_init(test);
}

static struct kunit_case kho_memdesc_hugetlb_cases[] = {
	KUNIT_CASE(hugetlb_preserve),
	KUNIT_CASE(hugetlb_refuse),
	KUNIT_CASE(hugetlb_restore_typed),
	KUNIT_CASE(hugetlb_restore_untyped),
	KUNIT_CASE(hugetlb_restore_refuse),
	KUNIT_CASE(hugetlb_restore_error),
	{}
};

static struct kunit_suite kho_memdesc_hugetlb_suite = {
	.name = "kho_memdesc_hugetlb",
	.init = hugetlb_test_init,
	.test_cases = kho_memdesc_hugetlb_cases,
};

kunit_test_suite(kho_memdesc_hugetlb_suite);
#endif /* CONFIG_HUGETLB_PAGE */
