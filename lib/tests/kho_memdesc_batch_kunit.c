// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the typed kexec handover: calls that preserve or restore
 * several folios or blocks at once. Each call does all or nothing.
 */

#include <kunit/test.h>

#include <linux/array_size.h>
#include <linux/gfp.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/kho_memdesc.h>
#include <linux/mm.h>
#include <linux/pfn.h>
#include <linux/slab.h>

#include "kho_memdesc_kunit.h"

static void batch_folios(struct kunit *test)
{
	struct folio **folios = get_folios(test, BATCH);

	KUNIT_EXPECT_EQ(test, kho_folios_preserve(folios, 0), 0);
	kho_folios_unpreserve(folios, 0);

	for (unsigned int nr = 1; nr <= BATCH; nr = nr * 3 + 1) {
		KUNIT_ASSERT_EQ(test, kho_folios_preserve(folios, nr), 0);
		for (unsigned int i = 0; i < nr; i++)
			KUNIT_EXPECT_EQ(test, kho_folio_preserve(folios[i]),
					-EEXIST);
		KUNIT_EXPECT_EQ(test, kho_folios_preserve(folios, nr), -EEXIST);
		expect_unpreserved(test, folios + nr, BATCH - nr);
		kho_folios_unpreserve(folios, nr);
		expect_unpreserved(test, folios, nr);
	}

	/* One by one or at once is the same to the other. */
	for (unsigned int i = 0; i < BATCH; i++)
		KUNIT_ASSERT_EQ(test, kho_folio_preserve(folios[i]), 0);
	kho_folios_unpreserve(folios, BATCH);
	KUNIT_ASSERT_EQ(test, kho_folios_preserve(folios, BATCH), 0);
	for (unsigned int i = 0; i < BATCH; i++)
		kho_folio_unpreserve(folios[i]);
	expect_unpreserved(test, folios, BATCH);
}

static void batch_page_descs(struct kunit *test)
{
	struct page *pages[8];

	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++)
		pages[i] = get_block(test, 0, 2);
	KUNIT_EXPECT_EQ(test,
			kho_preserve_page_descs(pages, 8, 2, KHO_MEMDESC_BLOCK),
			0);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(pages[7], 2), -EEXIST);
	kho_unpreserve_page_descs(pages, 8, 2, KHO_MEMDESC_BLOCK);
	KUNIT_EXPECT_EQ(test,
			kho_preserve_page_descs(pages, 8, 2,
						KHO_MEMDESC_COMPOUND),
			-EINVAL);
	KUNIT_EXPECT_EQ(test,
			kho_preserve_page_descs(pages, 8, MAX_PAGE_ORDER + 1,
						KHO_MEMDESC_BLOCK),
			-EINVAL);

	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++)
		pages[i] = get_block(test, __GFP_COMP, i % 4 + 1);
	KUNIT_EXPECT_EQ(test,
			kho_preserve_page_descs(pages, 8, KHO_ORDER_OF_PAGE,
						KHO_MEMDESC_COMPOUND),
			0);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(pages[6], 3), -EEXIST);
	kho_unpreserve_page_descs(pages, 8, KHO_ORDER_OF_PAGE,
				  KHO_MEMDESC_COMPOUND);

	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++)
		pages[i] = get_block(test, 0, 0);
	KUNIT_EXPECT_EQ(test,
			kho_preserve_page_descs(pages, 8, 0, KHO_MEMDESC_SPLIT),
			0);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(pages[3], 0), -EEXIST);
	kho_unpreserve_page_descs(pages, 8, 0, KHO_MEMDESC_SPLIT);
	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++) {
		KUNIT_EXPECT_EQ(test, kho_pages_preserve(pages[i], 0), 0);
		kho_pages_unpreserve(pages[i], 0);
	}
}

/* Whatever is wrong with one of them, and wherever that one is. */
static void batch_with_errors(struct kunit *test)
{
	static const unsigned int places[] = { 0, 1, 255, 256, 300, BATCH - 1 };
	struct folio **folios = get_folios(test, BATCH);
	struct page *compound = get_block(test, __GFP_COMP, 1);
	struct folio *slab = virt_to_folio(get_kmalloc(test, 64));
	struct folio *preserved = get_folio(test, 0);

	KUNIT_ASSERT_EQ(test, kho_folio_preserve(preserved), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(places); i++) {
		struct folio **place = &folios[places[i]];
		struct folio *folio = *place;

		/* Otherwise it is as good as a folio. */
		if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE)) {
			*place = page_folio(compound);
			KUNIT_EXPECT_EQ(test,
					kho_folios_preserve(folios, BATCH),
					-EINVAL);
		}
		*place = slab;
		KUNIT_EXPECT_EQ(test, kho_folios_preserve(folios, BATCH),
				-EINVAL);
		*place = preserved;
		KUNIT_EXPECT_EQ(test, kho_folios_preserve(folios, BATCH),
				-EEXIST);
		/* The same one twice. */
		*place = folios[(places[i] + 10) % BATCH];
		KUNIT_EXPECT_EQ(test, kho_folios_preserve(folios, BATCH),
				-EEXIST);
		*place = folio;
		expect_unpreserved(test, folios, BATCH);
	}
	KUNIT_EXPECT_EQ(test, kho_folio_preserve(preserved), -EEXIST);
	kho_folio_unpreserve(preserved);
}

static void batch_restore(struct kunit *test)
{
	struct folio *folios[4], *restored[4];
	phys_addr_t phys[4];

	for (unsigned int i = 0; i < ARRAY_SIZE(folios); i++) {
		folios[i] = get_folio(test, i);
		phys[i] = PFN_PHYS(folio_pfn(folios[i]));
	}
	KUNIT_EXPECT_EQ(test, kho_folios_restore(phys, 0, restored), 0);
	KUNIT_EXPECT_EQ(test, kho_folios_restore(phys, 4, restored), -ENOENT);
	phys[0] += 8;
	KUNIT_EXPECT_EQ(test, kho_folios_restore(phys, 4, restored), -EINVAL);
	for (unsigned int i = 0; i < ARRAY_SIZE(folios); i++)
		KUNIT_EXPECT_EQ(test, folio_ref_count(folios[i]), 1);
}

/*
 * Memory as the boot leaves it: pages with a reference each, which the page
 * allocator does not count, and a stamp.
 */
static phys_addr_t get_stamped(struct kunit *test, unsigned int order)
{
	const union kho_page_info info = {
		.magic = KHO_PAGE_MAGIC, .type = KHO_MEMDESC_FOLIO,
		.order = order,
	};
	struct page *page = alloc_pages(GFP_KERNEL, order);

	KUNIT_ASSERT_NOT_NULL(test, page);
	split_page(page, order);
	adjust_managed_page_count(page, -(long)(1UL << order));
	set_page_private(page, info.page_private);
	return page_to_phys(page);
}

static unsigned long managed_pages(void)
{
	unsigned long nr = 0;
	struct zone *zone;

	for_each_populated_zone(zone)
		nr += zone_managed_pages(zone);
	return nr;
}

/* If one folio of the list cannot be restored, the others still can be. */
static void batch_restore_all_or_none(struct kunit *test)
{
	const unsigned long managed = managed_pages();
	const unsigned long total = totalram_pages();
	struct folio *restored[32];
	unsigned long stamps[32];
	phys_addr_t phys[32];

	for (unsigned int i = 0; i < 32; i++) {
		phys[i] = get_stamped(test, i % 4);
		stamps[i] = phys_to_page(phys[i])->private;
	}

	/* The first one again, in each place behind it. */
	for (unsigned int i = 1; i < 32; i++) {
		const phys_addr_t at = phys[i];

		phys[i] = phys[0];
		KUNIT_EXPECT_EQ(test, kho_folios_restore(phys, 32, restored),
				-ENOENT);
		phys[i] = at;
	}
	for (unsigned int i = 0; i < 32; i++)
		KUNIT_EXPECT_EQ(test, phys_to_page(phys[i])->private, stamps[i]);
	KUNIT_EXPECT_EQ(test, managed_pages(), managed - 32 / 4 * (1 + 2 + 4 + 8));

	KUNIT_EXPECT_EQ(test, kho_folios_restore(phys, 32, restored), 0);
	KUNIT_EXPECT_EQ(test, managed_pages(), managed);
	KUNIT_EXPECT_EQ(test, totalram_pages(), total);
	for (unsigned int i = 0; i < 32; i++) {
		struct folio *folio = page_folio(phys_to_page(phys[i]));

		KUNIT_EXPECT_PTR_EQ(test, restored[i], folio);
		KUNIT_EXPECT_EQ(test, folio_order(folio), i % 4);
		KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
		KUNIT_EXPECT_EQ(test, folio->page.private, 0);
		KUNIT_EXPECT_EQ(test, kho_folios_restore(phys + i, 1, restored),
				-ENOENT);
		folio_put(folio);
	}
}

static struct kunit_case kho_memdesc_batch_cases[] = {
	KUNIT_CASE(batch_folios),
	KUNIT_CASE(batch_page_descs),
	KUNIT_CASE(batch_with_errors),
	KUNIT_CASE(batch_restore),
	KUNIT_CASE(batch_restore_all_or_none),
	{}
};

static struct kunit_suite kho_memdesc_batch_suite = {
	.name = "kho_memdesc_batch",
	.init = kho_memdesc_init,
	.test_cases = kho_memdesc_batch_cases,
};

kunit_test_suite(kho_memdesc_batch_suite);
