// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the typed kexec handover: restoring what no previous kernel
 * has handed over.
 */

#include <kunit/test.h>

#include <linux/gfp.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/limits.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/pfn.h>

#include "kho_memdesc_kunit.h"

/* A physical address that no machine has memory at. */
#define NO_MEMORY	BIT_ULL(51)

/* In a variable, or KUnit would print all that the macros expand to. */
#define EXPECT_ERR_PTR(test, ptr, expected)				\
	do {								\
		long err = PTR_ERR(ptr);				\
									\
		KUNIT_EXPECT_EQ_MSG(test, err, expected, "%s", #ptr);	\
	} while (0)

static void restore_own_memory(struct kunit *test)
{
	struct folio *folio = get_folio(test, 2);
	struct page *page = get_block(test, 0, 2);
	void *virt = get_exact(test, 3 * PAGE_SIZE);
	void *mem = get_vmalloc(test, 3 * PAGE_SIZE);
	phys_addr_t phys = PFN_PHYS(folio_pfn(folio));
	struct ptdesc *pt = pagetable_alloc(GFP_KERNEL, 0);
	struct kho_vmalloc ser = {};

	KUNIT_ASSERT_NOT_NULL(test, pt);
	KUNIT_ASSERT_EQ(test, kho_ptdesc_preserve(pt), 0);
	EXPECT_ERR_PTR(test, kho_ptdesc_restore(page_to_phys(ptdesc_page(pt))),
		       -ENOENT);
	EXPECT_ERR_PTR(test,
		       kho_restore_page_desc(page_to_phys(ptdesc_page(pt)),
					     MEMDESC_TYPE_PTDESC(NULL)),
		       -ENOENT);
	kho_ptdesc_unpreserve(pt);
	pagetable_free(pt);

	KUNIT_ASSERT_EQ(test, kho_folio_preserve(folio), 0);
	KUNIT_ASSERT_EQ(test, kho_pages_preserve(page, 2), 0);
	KUNIT_ASSERT_EQ(test, kho_pages_exact_preserve(virt, 3 * PAGE_SIZE), 0);
	KUNIT_ASSERT_EQ(test, kho_vmalloc_preserve(mem, &ser), 0);

	EXPECT_ERR_PTR(test, kho_folio_restore(phys), -ENOENT);
	EXPECT_ERR_PTR(test, kho_pages_restore(page_to_phys(page), 2), -ENOENT);
	EXPECT_ERR_PTR(test,
		       kho_pages_exact_restore(virt_to_phys(virt),
					       3 * PAGE_SIZE),
		       -ENOENT);
	EXPECT_ERR_PTR(test, kho_vmalloc_restore(&ser), -ENOENT);
	EXPECT_ERR_PTR(test,
		       kho_restore_page_desc(phys, MEMDESC_TYPE_FOLIO(NULL)),
		       -ENOENT);
	EXPECT_ERR_PTR(test,
		       kho_restore_page_desc(page_to_phys(page),
					     MEMDESC_TYPE_PAGES(NULL)),
		       -ENOENT);

	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
	KUNIT_EXPECT_EQ(test, page_ref_count(page + 1), 0);

	kho_vmalloc_unpreserve(&ser);
	kho_pages_exact_unpreserve(virt, 3 * PAGE_SIZE);
	kho_pages_unpreserve(page, 2);
	kho_folio_unpreserve(folio);
}

static void restore_bad_address(struct kunit *test)
{
	struct page *page = get_block(test, 0, 1);
	phys_addr_t phys = page_to_phys(page);
	void *mem = get_vmalloc(test, 1);
	struct kho_vmalloc good, ser = {};

	EXPECT_ERR_PTR(test, kho_folio_restore(phys + 1), -EINVAL);
	EXPECT_ERR_PTR(test, kho_pages_restore(phys + 8, 0), -EINVAL);
	EXPECT_ERR_PTR(test, kho_pages_exact_restore(phys + 8, PAGE_SIZE),
		       -EINVAL);
	EXPECT_ERR_PTR(test, kho_pages_exact_restore(phys, 0), -EINVAL);

	EXPECT_ERR_PTR(test, kho_folio_restore(phys), -ENOENT);
	EXPECT_ERR_PTR(test, kho_pages_restore(phys, 1), -ENOENT);
	EXPECT_ERR_PTR(test, kho_pages_exact_restore(phys, PAGE_SIZE), -ENOENT);
	EXPECT_ERR_PTR(test, kho_ptdesc_restore(phys), -ENOENT);
	EXPECT_ERR_PTR(test, kho_ptdesc_restore(phys + 8), -EINVAL);
	KUNIT_EXPECT_TRUE(test, IS_ERR(kho_ptdesc_restore(NO_MEMORY)));

	/* two errors would be true of each of these */
	KUNIT_EXPECT_TRUE(test, IS_ERR(kho_pages_restore(phys + PAGE_SIZE, 1)));
	KUNIT_EXPECT_TRUE(test, IS_ERR(kho_pages_restore(phys,
							 MAX_PAGE_ORDER + 1)));
	KUNIT_EXPECT_TRUE(test, IS_ERR(kho_pages_restore(phys, UINT_MAX)));
	KUNIT_EXPECT_TRUE(test, IS_ERR(kho_folio_restore(NO_MEMORY)));
	KUNIT_EXPECT_TRUE(test, IS_ERR(kho_pages_restore(NO_MEMORY, 0)));
	KUNIT_EXPECT_TRUE(test, IS_ERR(kho_pages_exact_restore(NO_MEMORY, 1)));
	KUNIT_EXPECT_TRUE(test, IS_ERR(kho_pages_exact_restore(phys, SIZE_MAX)));

	KUNIT_ASSERT_EQ(test, kho_vmalloc_preserve(mem, &good), 0);
	EXPECT_ERR_PTR(test, kho_vmalloc_restore(&ser), -EINVAL);
	ser = good;
	ser.first.phys = 0;
	EXPECT_ERR_PTR(test, kho_vmalloc_restore(&ser), -EINVAL);
	ser.first.phys = NO_MEMORY;
	KUNIT_EXPECT_TRUE(test, IS_ERR(kho_vmalloc_restore(&ser)));
	ser.first.phys = good.first.phys + 8;
	EXPECT_ERR_PTR(test, kho_vmalloc_restore(&ser), -EINVAL);
	ser.first.phys = phys;
	EXPECT_ERR_PTR(test, kho_vmalloc_restore(&ser), -ENOENT);
	kho_vmalloc_unpreserve(&good);

	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
}

static struct kunit_case kho_memdesc_restore_cases[] = {
	KUNIT_CASE(restore_own_memory),
	KUNIT_CASE(restore_bad_address),
	{}
};

static struct kunit_suite kho_memdesc_restore_suite = {
	.name = "kho_memdesc_restore",
	.init = kho_memdesc_init,
	.test_cases = kho_memdesc_restore_cases,
};

kunit_test_suite(kho_memdesc_restore_suite);
