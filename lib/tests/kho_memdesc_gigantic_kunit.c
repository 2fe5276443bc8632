// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the typed kexec handover: folios larger than the largest block
 * of the page allocator.
 */

#include <kunit/test.h>

#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/kho_memdesc.h>
#include <linux/mm.h>
#include <linux/vmstat.h>

#include "../../kernel/liveupdate/kexec_handover_internal.h"
#include "../../mm/internal.h"
#include "kho_memdesc_kunit.h"

/* Two blocks, a window, two windows, and a gigantic page of x86. */
static const unsigned int gigantic_orders[] = {
	MAX_PAGE_ORDER + 1, KHO_BITMAP_SIZE_LOG2, KHO_BITMAP_SIZE_LOG2 + 1,
	const_ilog2(SZ_1G) - PAGE_SHIFT,
};

static const unsigned int window_orders[] = {
	KHO_BITMAP_SIZE_LOG2, KHO_BITMAP_SIZE_LOG2 + 1,
};

static void gigantic_order_name(const unsigned int *order, char *name)
{
	snprintf(name, KUNIT_PARAM_DESC_SIZE, "order %u", *order);
}

KUNIT_ARRAY_PARAM(gigantic_order, gigantic_orders, gigantic_order_name);
KUNIT_ARRAY_PARAM(window_order, window_orders, gigantic_order_name);

/* Frozen pages, with __GFP_COMP a compound page, else single ones. */
static struct page *get_contig(struct kunit *test, gfp_t gfp, unsigned int order)
{
	struct page *page = NULL;

	if (order <= MAX_FOLIO_ORDER)
		page = alloc_contig_frozen_pages(1UL << order,
						 GFP_KERNEL | __GFP_NOWARN | gfp,
						 numa_mem_id(), NULL);
	if (!page)
		kunit_skip(test, "no memory of order %u", order);
	return page;
}

static struct folio *get_gigantic(struct kunit *test)
{
	const unsigned int *order = test->param_value;
	struct page *page = get_contig(test, __GFP_COMP, *order);

	set_page_refcounted(page);
	folio_set_large_rmappable(page_folio(page));
	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, free_folio,
						  page_folio(page)), 0);
	return page_folio(page);
}

static struct kho_window *window_of(unsigned long pfn)
{
	return kho_windows[pfn / KHO_LEAF_BITS];
}

static void gigantic_preserve(struct kunit *test)
{
	struct folio *folio = get_gigantic(test);
	const unsigned int order = folio_order(folio);
	const unsigned long pfn = folio_pfn(folio), nr = 1UL << order;

	for (int twice = 0; twice < 2; twice++) {
		KUNIT_ASSERT_EQ(test, kho_folio_preserve(folio), 0);
		KUNIT_EXPECT_TRUE(test, in_map(&folio->page, order,
					       KHO_MEMDESC_FOLIO));
		KUNIT_EXPECT_EQ(test, kho_folio_preserve(folio), -EEXIST);
		for (unsigned long i = 0; i < nr; i += nr / 8 - 1) {
			KUNIT_EXPECT_TRUE(test, map_has(pfn + i));
			KUNIT_EXPECT_EQ(test, map_add(pfn + i, 0), -EEXIST);
		}
		KUNIT_EXPECT_EQ(test, map_add(pfn + nr / 2, order - 1), -EEXIST);
		KUNIT_EXPECT_NE(test, map_add(ALIGN_DOWN(pfn, 2 * nr), order + 1),
				0);
		/* What is not preserved like this stays as it is. */
		map_del(pfn, 0);
		map_del(pfn + nr / 2, order - 1);
		KUNIT_EXPECT_TRUE(test, map_has(pfn));
		KUNIT_EXPECT_TRUE(test, map_has(pfn + nr - 1));

		kho_folio_unpreserve(folio);
		KUNIT_EXPECT_FALSE(test, in_map(&folio->page, order,
						KHO_MEMDESC_FOLIO));
		KUNIT_EXPECT_FALSE(test, map_has(pfn));
		KUNIT_EXPECT_FALSE(test, map_has(pfn + nr - 1));
	}
}

/* A compound page that is no folio is handed over as pages. */
static void gigantic_compound(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct page *page = get_contig(test, __GFP_COMP, order);

	set_page_refcounted(page);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, order - 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page + 1, 0), -EINVAL);
	if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		KUNIT_EXPECT_EQ(test, kho_folio_preserve(page_folio(page)),
				-EINVAL);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, order), 0);
	KUNIT_EXPECT_TRUE(test, in_map(page, order, KHO_MEMDESC_COMPOUND));
	kho_pages_unpreserve(page, order);
	KUNIT_EXPECT_FALSE(test, map_has(page_to_pfn(page)));
	__free_pages(page, order);
}

/* Empty windows are freed by a work, which waits for the lock. */
static void lock_without_windows(struct kunit *test, unsigned long pfn,
				 unsigned long end)
{
	for (int tries = 0; tries < 50; tries++) {
		unsigned long i = pfn;

		kho_map_lock();
		while (i < end && (!window_of(i) || window_of(i) == &kho_good_window))
			i += KHO_LEAF_BITS;
		if (i >= end)
			return;
		kho_map_unlock();
		kho_trim_soon();
		msleep(100);
	}
	kunit_skip(test, "something is preserved there");
}

/* A whole window is one pointer, if nothing was preserved there before. */
static void gigantic_windows(struct kunit *test)
{
	struct folio *folio = get_gigantic(test);
	const unsigned long pfn = folio_pfn(folio);
	const unsigned long end = pfn + folio_nr_pages(folio);

	lock_without_windows(test, pfn, end);
	KUNIT_EXPECT_EQ(test, kho_map_add(pfn, folio_order(folio),
					  KHO_MEMDESC_FOLIO), 0);
	for (unsigned long i = pfn; i < end; i += KHO_LEAF_BITS)
		KUNIT_EXPECT_PTR_EQ(test, window_of(i), &kho_covered_window);
	kho_map_del(pfn, folio_order(folio), KHO_MEMDESC_FOLIO);
	for (unsigned long i = pfn; i < end; i += KHO_LEAF_BITS)
		KUNIT_EXPECT_PTR_EQ(test, window_of(i), &kho_good_window);
	KUNIT_EXPECT_FALSE(test, kho_is_preserved(pfn));
	KUNIT_EXPECT_FALSE(test, kho_map_del_quick(pfn, 0, KHO_MEMDESC_FOLIO));
	KUNIT_EXPECT_EQ(test, kho_map_add(pfn, folio_order(folio),
					  KHO_MEMDESC_FOLIO), 0);
	kho_map_del(pfn, folio_order(folio), KHO_MEMDESC_FOLIO);

	/* Windows that are there have to be used, and are empty again after it. */
	KUNIT_EXPECT_EQ(test, kho_map_add(end - 1, 0, KHO_MEMDESC_FOLIO), 0);
	KUNIT_EXPECT_EQ(test, kho_map_add(pfn, folio_order(folio),
					  KHO_MEMDESC_FOLIO), -EEXIST);
	kho_map_del(end - 1, 0, KHO_MEMDESC_FOLIO);
	KUNIT_EXPECT_FALSE(test, kho_is_preserved(pfn));
	KUNIT_EXPECT_EQ(test, kho_map_add(pfn, folio_order(folio),
					  KHO_MEMDESC_FOLIO), 0);
	KUNIT_EXPECT_EQ(test, window_of(end - 1)->nr_preserved, KHO_LEAF_BITS);
	kho_map_del(pfn, folio_order(folio), KHO_MEMDESC_FOLIO);
	KUNIT_EXPECT_EQ(test, window_of(end - 1)->nr_preserved, 0);
	kho_map_unlock();
}

static void expect_chunks(struct kunit *test, unsigned long pfn,
			  unsigned long chunks, bool pages)
{
	const struct kho_window *window = window_of(pfn);

	KUNIT_ASSERT_NOT_NULL(test, window);
	/* Places that are smaller than a chunk have such bits from the start. */
	if (pageblock_order >= KHO_CHUNK_ORDER)
		KUNIT_EXPECT_EQ(test, !!window->busy, pages);
	if (!window->busy)
		KUNIT_EXPECT_EQ(test, window->chunks, chunks);
	for (unsigned long i = 0; i < BITS_PER_LONG; i++)
		KUNIT_EXPECT_EQ(test,
				kho_is_preserved(pfn + (i << KHO_CHUNK_ORDER)),
				!!(chunks & BIT(i)));
}

/* A window has no bits of single pages before it needs them. */
static void gigantic_chunks(struct kunit *test)
{
	const unsigned long pfn = folio_pfn(get_gigantic(test));
	const unsigned long nr = 1UL << KHO_CHUNK_ORDER;

	lock_without_windows(test, pfn, pfn + KHO_LEAF_BITS);
	KUNIT_EXPECT_FALSE(test, kho_map_add_quick(pfn, KHO_CHUNK_ORDER,
						   KHO_MEMDESC_FOLIO));
	KUNIT_EXPECT_EQ(test, kho_map_add(pfn, KHO_CHUNK_ORDER,
					  KHO_MEMDESC_FOLIO), 0);
	KUNIT_EXPECT_TRUE(test, kho_map_add_quick(pfn + nr, KHO_CHUNK_ORDER,
						  KHO_MEMDESC_FOLIO));
	KUNIT_EXPECT_FALSE(test, kho_map_add_quick(pfn + nr, KHO_CHUNK_ORDER,
						   KHO_MEMDESC_FOLIO));
	KUNIT_EXPECT_EQ(test, kho_map_add(pfn + 4 * nr, KHO_CHUNK_ORDER + 1,
					  KHO_MEMDESC_METADATA), 0);
	expect_chunks(test, pfn, 0x33, false);
	KUNIT_EXPECT_EQ(test, kho_map_add(pfn, KHO_CHUNK_ORDER + 2,
					  KHO_MEMDESC_FOLIO), -EEXIST);
	KUNIT_EXPECT_TRUE(test, kho_is_preserved(pfn + 2 * nr - 1));
	KUNIT_EXPECT_FALSE(test, kho_is_preserved(pfn + 2 * nr));
	KUNIT_EXPECT_FALSE(test, kho_map_del_quick(pfn, 0, KHO_MEMDESC_FOLIO));

	/* The page has the bits of the chunks that came before it, and after it. */
	KUNIT_EXPECT_EQ(test, kho_map_add(pfn + 6 * nr, KHO_CHUNK_ORDER,
					  KHO_MEMDESC_FOLIO), 0);
	KUNIT_EXPECT_EQ(test, kho_map_add(pfn + 2 * nr - 1, 0,
					  KHO_MEMDESC_FOLIO), -EEXIST);
	KUNIT_EXPECT_EQ(test, kho_map_add(pfn + 2 * nr + 7, 0,
					  KHO_MEMDESC_FOLIO), 0);
	KUNIT_EXPECT_EQ(test, kho_map_add(pfn + 2 * nr, KHO_CHUNK_ORDER,
					  KHO_MEMDESC_FOLIO), -EEXIST);
	KUNIT_EXPECT_TRUE(test, kho_map_add_quick(pfn + 3 * nr, KHO_CHUNK_ORDER,
						  KHO_MEMDESC_FOLIO));
	KUNIT_EXPECT_EQ(test, kho_map_add(pfn + 3 * nr + 1, 0,
					  KHO_MEMDESC_FOLIO), -EEXIST);
	expect_chunks(test, pfn, 0x7b, true);
	KUNIT_EXPECT_EQ(test, window_of(pfn)->nr_preserved, 6 * nr + 1);

	kho_map_del(pfn, KHO_CHUNK_ORDER, KHO_MEMDESC_FOLIO);
	KUNIT_EXPECT_TRUE(test, kho_map_del_quick(pfn + nr, KHO_CHUNK_ORDER,
						  KHO_MEMDESC_FOLIO));
	KUNIT_EXPECT_FALSE(test, kho_is_preserved(pfn + nr));
	KUNIT_EXPECT_EQ(test, kho_map_add(pfn + nr, 0, KHO_MEMDESC_FOLIO), 0);
	kho_map_del(pfn + nr, 0, KHO_MEMDESC_FOLIO);
	kho_map_del(pfn + 2 * nr + 7, 0, KHO_MEMDESC_FOLIO);
	kho_map_del(pfn + 3 * nr, KHO_CHUNK_ORDER, KHO_MEMDESC_FOLIO);
	kho_map_del(pfn + 4 * nr, KHO_CHUNK_ORDER + 1, KHO_MEMDESC_METADATA);
	kho_map_del(pfn + 6 * nr, KHO_CHUNK_ORDER, KHO_MEMDESC_FOLIO);
	expect_chunks(test, pfn, 0, true);
	KUNIT_EXPECT_EQ(test, window_of(pfn)->nr_preserved, 0);
	if (window_of(pfn)->busy)
		KUNIT_EXPECT_TRUE(test, bitmap_empty(window_of(pfn)->busy,
						     KHO_LEAF_BITS));
	kho_map_unlock();
}

static void gigantic_too_large(struct kunit *test)
{
	struct page *page = get_block(test, __GFP_COMP, 1);

	for (unsigned int order = MAX_FOLIO_ORDER + 1; order < 64; order++) {
		KUNIT_EXPECT_EQ(test,
				kho_preserve_page_desc(page, order,
						       KHO_MEMDESC_FOLIO),
				-EINVAL);
		KUNIT_EXPECT_EQ(test,
				kho_preserve_page_desc(page, order,
						       KHO_MEMDESC_COMPOUND),
				-EINVAL);
	}
}

/*
 * Memory as the boot leaves it: pages with a reference each, which the page
 * allocator does not count, and a stamp.
 */
static phys_addr_t get_stamped(struct kunit *test, union kho_page_info info)
{
	struct page *page = get_contig(test, 0, info.order);
	const unsigned long nr = 1UL << info.order;

	for (unsigned long i = 0; i < nr; i++)
		set_page_count(page + i, 1);
	adjust_managed_page_count(page, -(long)nr);
	set_page_private(page, info.page_private);
	return page_to_phys(page);
}

static void gigantic_restore(struct kunit *test)
{
	union kho_page_info info = {
		.magic = KHO_PAGE_MAGIC, .type = KHO_MEMDESC_FOLIO,
		.order = *(const unsigned int *)test->param_value,
	};
	const phys_addr_t phys = get_stamped(test, info);
	const unsigned long nr = 1UL << info.order;
	struct page *page = phys_to_page(phys);
	unsigned long managed = zone_managed_pages(page_zone(page));
	unsigned long nr_free;
	struct folio *folio;

	/* What is wrong leaves the stamp as it is. */
	KUNIT_EXPECT_EQ(test, PTR_ERR(kho_pages_restore(phys, info.order)),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(kho_folio_restore_hwpoison(phys)), -ENOENT);
	info.order = MAX_FOLIO_ORDER + 1;
	swap(info.page_private, page->private);
	KUNIT_EXPECT_EQ(test, PTR_ERR(kho_folio_restore(phys)), -EINVAL);
	swap(info.page_private, page->private);

	folio = kho_folio_restore(phys);
	KUNIT_ASSERT_EQ(test, PTR_ERR_OR_ZERO(folio), 0);
	KUNIT_EXPECT_EQ(test, PTR_ERR(kho_folio_restore(phys)), -ENOENT);
	KUNIT_EXPECT_EQ(test, folio_nr_pages(folio), nr);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	KUNIT_EXPECT_EQ(test, folio_test_large_rmappable(folio),
			IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE));
	for (unsigned long i = 1; i < nr; i++) {
		if (page_folio(page + i) != folio || page_ref_count(page + i)) {
			KUNIT_FAIL(test, "page %lu is no tail page", i);
			break;
		}
	}
	KUNIT_EXPECT_EQ(test, zone_managed_pages(page_zone(page)), managed + nr);

	/* The page allocator gets all of it. */
	nr_free = zone_page_state_snapshot(page_zone(page), NR_FREE_PAGES);
	folio_put(folio);
	KUNIT_EXPECT_GE(test,
			zone_page_state_snapshot(page_zone(page), NR_FREE_PAGES),
			nr_free + nr / 2);
}

/* A page with an error is found wherever in the folio it is. */
static void gigantic_restore_hwpoison(struct kunit *test)
{
	union kho_page_info info = {
		.magic = KHO_PAGE_MAGIC, .type = KHO_MEMDESC_FOLIO,
		.order = *(const unsigned int *)test->param_value,
	};
#ifdef CONFIG_MEMORY_FAILURE
	const phys_addr_t phys = get_stamped(test, info);
	const unsigned long nr = 1UL << info.order;
	struct page *last = phys_to_page(phys) + nr - 1;
	struct folio *folio;

	SetPageHWPoison(last);
	atomic_long_inc(&num_poisoned_pages);
	KUNIT_EXPECT_EQ(test, PTR_ERR(kho_folio_restore(phys)), -EHWPOISON);
	folio = kho_folio_restore_hwpoison(phys);
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(folio), 0);
	ClearPageHWPoison(last);
	atomic_long_dec(&num_poisoned_pages);
	if (IS_ERR(folio))
		folio = kho_folio_restore(phys);
	KUNIT_ASSERT_EQ(test, PTR_ERR_OR_ZERO(folio), 0);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	KUNIT_EXPECT_EQ(test, folio_test_has_hwpoisoned(folio),
			IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE));
	folio_clear_has_hwpoisoned(folio);
	folio_put_refs(folio, folio_ref_count(folio));
#else
	kunit_skip(test, "no CONFIG_MEMORY_FAILURE, order %u", info.order);
#endif
}

static struct kunit_case kho_memdesc_gigantic_cases[] = {
	KUNIT_CASE_PARAM(gigantic_preserve, gigantic_order_gen_params),
	KUNIT_CASE_PARAM(gigantic_compound, gigantic_order_gen_params),
	KUNIT_CASE_PARAM(gigantic_windows, window_order_gen_params),
	KUNIT_CASE_PARAM(gigantic_chunks, window_order_gen_params),
	KUNIT_CASE(gigantic_too_large),
	KUNIT_CASE_PARAM(gigantic_restore, gigantic_order_gen_params),
	KUNIT_CASE_PARAM(gigantic_restore_hwpoison, gigantic_order_gen_params),
	{}
};

static struct kunit_suite kho_memdesc_gigantic_suite = {
	.name = "kho_memdesc_gigantic",
	.init = kho_memdesc_init,
	.test_cases = kho_memdesc_gigantic_cases,
};

kunit_test_suite(kho_memdesc_gigantic_suite);
