// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the typed kexec handover: what an older kernel can read. Boot
 * with kho_format=v4.
 */

#include <kunit/test.h>

#include <linux/count_zeros.h>
#include <linux/gfp.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/kho_memdesc.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "../../kernel/liveupdate/kexec_handover_internal.h"
#include "kho_memdesc_kunit.h"

static void v4_folio(struct kunit *test)
{
	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++) {
		struct folio *folio = get_folio(test, order);
		struct page *page = folio_page(folio, 0);

		KUNIT_EXPECT_EQ(test, kho_folio_preserve(folio), 0);
		KUNIT_EXPECT_TRUE(test, in_map(page, order, KHO_MEMDESC_UNTYPED));
		KUNIT_EXPECT_EQ(test, times_in_map(page), 1);
		KUNIT_EXPECT_EQ(test, kho_folio_preserve(folio), -EEXIST);
		kho_folio_unpreserve(folio);
		KUNIT_EXPECT_EQ(test, times_in_map(page), 0);
		kunit_release_action(test, free_folio, folio);
	}
}

static void v4_pages(struct kunit *test)
{
	void *virt = get_exact(test, 7 * PAGE_SIZE);
	struct page *page = get_block(test, 0, 0);

	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), 0);
	KUNIT_EXPECT_TRUE(test, in_map(page, 0, KHO_MEMDESC_UNTYPED));
	kho_pages_unpreserve(page, 0);

	KUNIT_EXPECT_EQ(test, kho_pages_exact_preserve(virt, 7 * PAGE_SIZE), 0);
	for (unsigned long pfn = page_to_pfn(virt_to_page(virt)), nr = 7, order; nr;
	     pfn += 1UL << order, nr -= 1UL << order) {
		order = min(count_trailing_zeros(pfn), ilog2(nr));
		KUNIT_EXPECT_TRUE(test, in_map(pfn_to_page(pfn), order,
					       KHO_MEMDESC_UNTYPED));
	}
	kho_pages_exact_unpreserve(virt, 7 * PAGE_SIZE);
	for (unsigned int i = 0; i < 7; i++)
		KUNIT_EXPECT_EQ(test, times_in_map(virt_to_page(virt) + i), 0);
}

static void v4_vmalloc(struct kunit *test)
{
	void *mem = get_vmalloc(test, 5 * PAGE_SIZE);
	struct kho_vmalloc ser = {};
	u64 *chunk;

	KUNIT_ASSERT_EQ(test, kho_vmalloc_preserve(mem, &ser), 0);
	KUNIT_EXPECT_EQ(test, ser.flags, KHO_VMALLOC_ALLOC);
	KUNIT_EXPECT_EQ(test, ser.total_pages, 5);
	KUNIT_EXPECT_EQ(test, ser.order, 0);
	chunk = phys_to_virt(ser.first.phys);
	KUNIT_EXPECT_EQ(test, chunk[0], 0);
	for (unsigned int i = 0; i < 5; i++) {
		struct page *page = vmalloc_to_page(mem + i * PAGE_SIZE);

		KUNIT_EXPECT_EQ(test, chunk[1 + i], page_to_phys(page));
		KUNIT_EXPECT_TRUE(test, in_map(page, 0, KHO_MEMDESC_UNTYPED));
	}
	KUNIT_EXPECT_EQ(test, chunk[6], 0);
	kho_vmalloc_unpreserve(&ser);
}

static void v4_refused(struct kunit *test)
{
	struct page *compound = get_block(test, __GFP_COMP, 2);
	struct page *block = get_block(test, 0, 2);
	struct ptdesc *pt = pagetable_alloc(GFP_KERNEL, 0);
	struct kho_vmalloc ser = {};
	void *mem;

	KUNIT_ASSERT_NOT_NULL(test, pt);
	KUNIT_EXPECT_EQ(test, kho_ptdesc_preserve(pt), -EOPNOTSUPP);
	pagetable_free(pt);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(compound, 2), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(block, 2), -EOPNOTSUPP);
	mem = get_kmalloc(test, 64);
	KUNIT_EXPECT_EQ(test, kho_slab_preserve(mem), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, kho_vmalloc_preserve(mem, &ser), -EOPNOTSUPP);
	mem = get_kmalloc(test, 2 * KMALLOC_MAX_CACHE_SIZE);
	KUNIT_EXPECT_EQ(test, kho_slab_preserve(mem), -EOPNOTSUPP);
}

/* The keys are the same: the memory shows that it is not of that type. */
static void v4_unpreserve_wrong(struct kunit *test)
{
	struct folio *folio = get_folio(test, 2);
	struct page *page = folio_page(folio, 0);
	struct page *split = virt_to_page(get_exact(test, 4 * PAGE_SIZE));

	KUNIT_ASSERT_EQ(test, kho_folio_preserve(folio), 0);
	kho_unpreserve_page_desc(page, 2, KHO_MEMDESC_SPLIT);
	kho_unpreserve_page_desc(page, 2, KHO_MEMDESC_BLOCK);
	kho_pages_exact_unpreserve(page_address(page), 4 * PAGE_SIZE);
	KUNIT_EXPECT_TRUE(test, in_map(page, 2, KHO_MEMDESC_UNTYPED));
	kho_folio_unpreserve(folio);
	KUNIT_EXPECT_EQ(test, times_in_map(page), 0);

	KUNIT_ASSERT_EQ(test,
			kho_preserve_page_desc(split, 2, KHO_MEMDESC_SPLIT), 0);
	kho_unpreserve_page_desc(split, 2, KHO_MEMDESC_FOLIO);
	kho_unpreserve_page_desc(split, 2, KHO_MEMDESC_BLOCK);
	KUNIT_EXPECT_TRUE(test, in_map(split, 2, KHO_MEMDESC_UNTYPED));
	kho_unpreserve_page_desc(split, 2, KHO_MEMDESC_SPLIT);
	KUNIT_EXPECT_EQ(test, times_in_map(split), 0);
}

static int kho_memdesc_v4_init(struct kunit *test)
{
	if (!kho_is_enabled() || !kho_write_v4)
		kunit_skip(test, "boot with kho=on kho_format=v4");
	return 0;
}

static struct kunit_case kho_memdesc_v4_cases[] = {
	KUNIT_CASE(v4_folio),
	KUNIT_CASE(v4_pages),
	KUNIT_CASE(v4_vmalloc),
	KUNIT_CASE(v4_refused),
	KUNIT_CASE(v4_unpreserve_wrong),
	{}
};

static struct kunit_suite kho_memdesc_v4_suite = {
	.name = "kho_memdesc_v4",
	.init = kho_memdesc_v4_init,
	.test_cases = kho_memdesc_v4_cases,
};

kunit_test_suite(kho_memdesc_v4_suite);
