// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the typed kexec handover: what cannot be preserved, because it
 * already is, or because it is not what the call is for.
 */

#include <kunit/test.h>

#include <linux/array_size.h>
#include <linux/gfp.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/kho_memdesc.h>
#include <linux/limits.h>
#include <linux/log2.h>
#include <linux/memblock.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "../../kernel/liveupdate/kexec_handover_internal.h"
#include "kho_memdesc_kunit.h"

/* Overlaps. Split pages, because each of them can be preserved by itself. */

static void overlap_within(struct kunit *test)
{
	void *virt = get_exact(test, 8 * PAGE_SIZE);
	struct page *page = virt_to_page(virt);

	KUNIT_ASSERT_EQ(test, kho_pages_exact_preserve(virt, 8 * PAGE_SIZE), 0);
	for (unsigned int i = 0; i < 8; i++) {
		KUNIT_EXPECT_EQ(test, kho_pages_preserve(page + i, 0), -EEXIST);
		KUNIT_EXPECT_EQ(test, kho_folio_preserve(page_folio(page + i)),
				-EEXIST);
		KUNIT_EXPECT_EQ(test,
				kho_pages_exact_preserve(virt + i * PAGE_SIZE,
							 PAGE_SIZE),
				-EEXIST);
		KUNIT_EXPECT_EQ(test,
				kho_pages_exact_preserve(virt + i * PAGE_SIZE,
							 (8 - i) * PAGE_SIZE),
				-EEXIST);
	}
	kho_pages_exact_unpreserve(virt, 8 * PAGE_SIZE);

	for (unsigned int i = 0; i < 8; i++)
		KUNIT_EXPECT_EQ(test, kho_pages_preserve(page + i, 0), 0);
	for (unsigned int i = 0; i < 8; i++)
		kho_pages_unpreserve(page + i, 0);
}

static void overlap_around(struct kunit *test)
{
	void *virt = get_exact(test, 8 * PAGE_SIZE);
	struct page *page = virt_to_page(virt);

	/* The larger call fails late, after some of its pages were free. */
	for (unsigned int i = 0; i < 8; i++) {
		struct folio *folio = page_folio(page + i);

		KUNIT_ASSERT_EQ(test, kho_folio_preserve(folio), 0);
		KUNIT_EXPECT_EQ(test,
				kho_pages_exact_preserve(virt, 8 * PAGE_SIZE),
				-EEXIST);
		KUNIT_EXPECT_EQ(test,
				kho_preserve_page_desc(page, 3,
						       KHO_MEMDESC_SPLIT),
				-EEXIST);

		/* Nothing is left of it. */
		for (unsigned int j = 0; j < 8; j++) {
			if (j == i)
				continue;
			KUNIT_EXPECT_EQ(test, kho_pages_preserve(page + j, 0),
					0);
			kho_pages_unpreserve(page + j, 0);
		}
		kho_folio_unpreserve(folio);
	}

	KUNIT_EXPECT_EQ(test, kho_pages_exact_preserve(virt, 8 * PAGE_SIZE), 0);
	kho_pages_exact_unpreserve(virt, 8 * PAGE_SIZE);
}

static void overlap_partial(struct kunit *test)
{
	void *virt = get_exact(test, 8 * PAGE_SIZE);

	KUNIT_ASSERT_EQ(test, kho_pages_exact_preserve(virt, 5 * PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test,
			kho_pages_exact_preserve(virt + 3 * PAGE_SIZE,
						 5 * PAGE_SIZE),
			-EEXIST);
	KUNIT_EXPECT_EQ(test,
			kho_pages_exact_preserve(virt + 4 * PAGE_SIZE,
						 4 * PAGE_SIZE),
			-EEXIST);
	KUNIT_EXPECT_EQ(test,
			kho_pages_exact_preserve(virt + 5 * PAGE_SIZE,
						 3 * PAGE_SIZE),
			0);
	kho_pages_exact_unpreserve(virt, 5 * PAGE_SIZE);

	KUNIT_EXPECT_EQ(test, kho_pages_exact_preserve(virt, 6 * PAGE_SIZE),
			-EEXIST);
	KUNIT_EXPECT_EQ(test, kho_pages_exact_preserve(virt, 5 * PAGE_SIZE), 0);
	kho_pages_exact_unpreserve(virt, 5 * PAGE_SIZE);
	kho_pages_exact_unpreserve(virt + 5 * PAGE_SIZE, 3 * PAGE_SIZE);
}

static void overlap_vmalloc(struct kunit *test)
{
	void *mem = get_vmalloc(test, 6 * PAGE_SIZE);
	struct kho_vmalloc ser = {};

	for (unsigned int i = 0; i < 6; i++) {
		struct page *page = vmalloc_to_page(mem + i * PAGE_SIZE);

		KUNIT_ASSERT_EQ(test, kho_pages_preserve(page, 0), 0);
		KUNIT_EXPECT_EQ(test, kho_vmalloc_preserve(mem, &ser), -EEXIST);
		for (unsigned int j = 0; j < 6; j++) {
			struct page *other = vmalloc_to_page(mem + j * PAGE_SIZE);

			if (j == i)
				continue;
			KUNIT_EXPECT_EQ(test, kho_pages_preserve(other, 0), 0);
			kho_pages_unpreserve(other, 0);
		}
		kho_pages_unpreserve(page, 0);
	}

	KUNIT_ASSERT_EQ(test, kho_vmalloc_preserve(mem, &ser), 0);
	for (unsigned int i = 0; i < 6; i++) {
		struct page *page = vmalloc_to_page(mem + i * PAGE_SIZE);

		KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), -EEXIST);
	}
	kho_vmalloc_unpreserve(&ser);
}

/* More than a window. Only the map is asked: nobody can allocate that much. */
static void overlap_windows(struct kunit *test)
{
	const unsigned int order = ilog2(KHO_LEAF_BITS) + 1;
	const unsigned long nr = 1UL << order;
	unsigned long pfn;

	/* Anywhere where nothing is preserved, and everything could be. */
	for (pfn = nr; pfn + nr <= max_pfn; pfn += nr) {
		if (!map_add(pfn, order))
			break;
	}
	if (pfn + nr > max_pfn)
		kunit_skip(test, "no %lu pages in one place", nr);

	KUNIT_EXPECT_EQ(test, map_add(pfn, order), -EEXIST);
	for (unsigned long i = 0; i < nr; i += nr / 2 - 1) {
		KUNIT_EXPECT_TRUE(test, map_has(pfn + i));
		KUNIT_EXPECT_EQ(test, map_add(pfn + i, 0), -EEXIST);
	}
	map_del(pfn, order);
	KUNIT_EXPECT_FALSE(test, map_has(pfn));
	KUNIT_EXPECT_FALSE(test, map_has(pfn + nr - 1));

	/* What is wrong in the second window undoes the first one. */
	KUNIT_EXPECT_EQ(test, map_add(pfn + nr - 1, 0), 0);
	KUNIT_EXPECT_EQ(test, map_add(pfn, order), -EEXIST);
	KUNIT_EXPECT_FALSE(test, map_has(pfn));
	KUNIT_EXPECT_EQ(test, map_add(pfn, 0), 0);
	map_del(pfn, 0);
	map_del(pfn + nr - 1, 0);

	KUNIT_EXPECT_EQ(test, map_add(pfn, order), 0);
	map_del(pfn, order);
}

/* Memory of another type or order than the call is for. */

static void wrong_type_slab(struct kunit *test)
{
	struct page *page = virt_to_head_page(get_kmalloc(test, 64));

	KUNIT_EXPECT_EQ(test, kho_folio_preserve((struct folio *)page),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test,
			kho_pages_exact_preserve(page_address(page), PAGE_SIZE),
			-EINVAL);
}

static void wrong_type_large_kmalloc(struct kunit *test)
{
	void *mem = get_kmalloc(test, 4 * KMALLOC_MAX_CACHE_SIZE);
	unsigned int order = get_order(4 * KMALLOC_MAX_CACHE_SIZE);
	struct page *page = virt_to_page(mem);

	KUNIT_EXPECT_EQ(test, kho_folio_preserve((struct folio *)page),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, order), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_pages_exact_preserve(mem, PAGE_SIZE),
			-EINVAL);
}

static void no_page_table_as(struct kunit *test, struct ptdesc *ptdesc)
{
	KUNIT_EXPECT_EQ(test, kho_folio_preserve(ptdesc_folio(ptdesc)),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(ptdesc_page(ptdesc), 0),
			-EINVAL);
	KUNIT_EXPECT_EQ(test,
			kho_pages_exact_preserve(ptdesc_address(ptdesc),
						 PAGE_SIZE),
			-EINVAL);
}

static void as_no_page_table(struct kunit *test, struct page *page,
			     unsigned int order)
{
	KUNIT_EXPECT_EQ(test,
			kho_preserve_page_desc(page, order, KHO_MEMDESC_PTDESC),
			-EINVAL);
	/* No table, so it may have no descriptor to ask for. */
	if (!IS_ENABLED(CONFIG_MEMDESC_PTDESC))
		KUNIT_EXPECT_EQ(test, kho_ptdesc_preserve(page_ptdesc(page)),
				-EINVAL);
}

static void wrong_type_ptdesc(struct kunit *test)
{
	struct ptdesc *ptdesc = pagetable_alloc(GFP_KERNEL, 0);
	struct page *tables, *slab;

	KUNIT_ASSERT_NOT_NULL(test, ptdesc);
	no_page_table_as(test, ptdesc);
	KUNIT_ASSERT_TRUE(test, pagetable_pte_ctor(&init_mm, ptdesc));
	no_page_table_as(test, ptdesc);
	pagetable_dtor_free(ptdesc);

	/* and nothing else as a page table */
	as_no_page_table(test, get_block(test, 0, 0), 0);
	as_no_page_table(test, get_block(test, __GFP_COMP, 2), 2);
	as_no_page_table(test, folio_page(get_folio(test, 1), 0), 1);
	slab = virt_to_head_page(get_kmalloc(test, 64));
	as_no_page_table(test, slab, compound_order(slab));
	/* nor a table that the kernel has booted with, which is never freed */
	KUNIT_EXPECT_EQ(test,
			kho_preserve_page_desc(phys_to_page(__pa_symbol(swapper_pg_dir)),
					       0, KHO_MEMDESC_PTDESC),
			-EINVAL);

	ptdesc = pagetable_alloc(GFP_KERNEL, 2);
	KUNIT_ASSERT_NOT_NULL(test, ptdesc);
	tables = ptdesc_page(ptdesc);
	as_no_page_table(test, tables + 3, 0);
	KUNIT_EXPECT_EQ(test,
			kho_preserve_page_desc(tables, 1, KHO_MEMDESC_PTDESC),
			-EINVAL);
	KUNIT_EXPECT_EQ(test,
			kho_preserve_page_desc(tables, 2, KHO_MEMDESC_PTE),
			-EINVAL);
	KUNIT_EXPECT_EQ(test,
			kho_preserve_page_desc(tables, 2, KHO_MEMDESC_COMPOUND),
			-EINVAL);
	pagetable_free(ptdesc);
}

static void wrong_type_frozen(struct kunit *test)
{
	struct page *page = get_block(test, 0, 0);

	KUNIT_ASSERT_TRUE(test, page_ref_freeze(page, 1));
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_folio_preserve((struct folio *)page),
			-EINVAL);
	KUNIT_EXPECT_EQ(test,
			kho_pages_exact_preserve(page_address(page), PAGE_SIZE),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 0);
	page_ref_unfreeze(page, 1);

	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), 0);
	kho_pages_unpreserve(page, 0);
}

static void wrong_type_block(struct kunit *test)
{
	struct folio *folio = get_folio(test, 3);
	struct page *block = get_block(test, 0, 3);
	void *virt = get_exact(test, 8 * PAGE_SIZE);
	struct page *page = folio_page(folio, 0);

	/* a folio is no bare block, and no split pages */
	/* where it does not look like a compound page */
	if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 3), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 2), -EINVAL);
	KUNIT_EXPECT_EQ(test,
			kho_pages_exact_preserve(folio_address(folio),
						 8 * PAGE_SIZE),
			-EINVAL);
	/* the first page of a block passes for one page, the others do not */
	KUNIT_EXPECT_EQ(test,
			kho_pages_exact_preserve(page_address(block),
						 8 * PAGE_SIZE),
			-EINVAL);
	/* split pages are no block */
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(virt_to_page(virt), 3),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(virt_to_page(virt), 1),
			-EINVAL);

	/* and nothing is left of all this */
	KUNIT_EXPECT_EQ(test, kho_folio_preserve(folio), 0);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(block, 3), 0);
	KUNIT_EXPECT_EQ(test, kho_pages_exact_preserve(virt, 8 * PAGE_SIZE), 0);
	kho_folio_unpreserve(folio);
	kho_pages_unpreserve(block, 3);
	kho_pages_exact_unpreserve(virt, 8 * PAGE_SIZE);
}

static void wrong_order(struct kunit *test)
{
	static const unsigned int orders[] = {
		MAX_PAGE_ORDER + 1, 64 - PAGE_SHIFT, 63, 64, INT_MAX, UINT_MAX,
	};
	struct page *compound = get_block(test, __GFP_COMP, 2);
	struct page *block = get_block(test, 0, 2);
	struct folio *folio = get_folio(test, 2);

	KUNIT_EXPECT_EQ(test, kho_pages_preserve(compound, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(compound, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(compound, 3), -EINVAL);
	KUNIT_EXPECT_EQ(test,
			kho_preserve_page_desc(compound, 1,
					       KHO_MEMDESC_COMPOUND),
			-EINVAL);
	KUNIT_EXPECT_EQ(test,
			kho_preserve_page_desc(folio_page(folio, 0), 3,
					       KHO_MEMDESC_FOLIO),
			-EINVAL);
	KUNIT_EXPECT_EQ(test,
			kho_preserve_page_desc(folio_page(folio, 0), 1,
					       KHO_MEMDESC_FOLIO),
			-EINVAL);

	/* not the first page of anything */
	for (unsigned int i = 1; i < 4; i++) {
		KUNIT_EXPECT_EQ(test, kho_pages_preserve(compound + i, 0),
				-EINVAL);
		KUNIT_EXPECT_EQ(test, kho_pages_preserve(block + i, 0),
				-EINVAL);
		KUNIT_EXPECT_EQ(test,
				kho_pages_preserve(folio_page(folio, i), 0),
				-EINVAL);
		KUNIT_EXPECT_EQ(test,
				kho_preserve_page_desc(folio_page(folio, i), 0,
						       KHO_MEMDESC_FOLIO),
				-EINVAL);
	}

	/* not aligned to the order */
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(block + 1, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(block + 3, 2), -EINVAL);
	KUNIT_EXPECT_EQ(test,
			kho_preserve_page_desc(block + 1, 1, KHO_MEMDESC_SPLIT),
			-EINVAL);

	for (unsigned int i = 0; i < ARRAY_SIZE(orders); i++) {
		KUNIT_EXPECT_EQ_MSG(test, kho_pages_preserve(block, orders[i]),
				    -EINVAL, "order %u", orders[i]);
		KUNIT_EXPECT_EQ_MSG(test,
				    kho_preserve_page_desc(block, orders[i],
							   KHO_MEMDESC_SPLIT),
				    -EINVAL, "order %u", orders[i]);
	}

	KUNIT_EXPECT_EQ(test, kho_pages_preserve(compound, 2), 0);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(block, 2), 0);
	KUNIT_EXPECT_EQ(test, kho_folio_preserve(folio), 0);
	kho_pages_unpreserve(compound, 2);
	kho_pages_unpreserve(block, 2);
	kho_folio_unpreserve(folio);
}

/* A page in a scratch area, allocated so that only its place is wrong. */
static struct page *get_scratch_page(void)
{
	for (unsigned long pfn = 0; pfn < max_pfn; pfn += pageblock_nr_pages) {
		if (!pfn_to_online_page(pfn) ||
		    !kho_scratch_overlap(PFN_PHYS(pfn), PAGE_SIZE))
			continue;
		if (!alloc_contig_range(pfn, pfn + 1, ACR_FLAGS_CMA, GFP_KERNEL))
			return pfn_to_page(pfn);
	}
	return NULL;
}

static void wrong_place_scratch(struct kunit *test)
{
	struct page *page = get_scratch_page();

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, kho_folio_preserve(page_folio(page)),
			-EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test,
			kho_pages_exact_preserve(page_address(page), PAGE_SIZE),
			-EOPNOTSUPP);
	free_contig_range(page_to_pfn(page), 1);
}

static void wrong_pages_exact(struct kunit *test)
{
	void *virt = get_exact(test, 4 * PAGE_SIZE);

	KUNIT_EXPECT_EQ(test, kho_pages_exact_preserve(virt, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_pages_exact_preserve(virt + 1, PAGE_SIZE),
			-EINVAL);
	KUNIT_EXPECT_EQ(test,
			kho_pages_exact_preserve(virt + PAGE_SIZE / 2,
						 2 * PAGE_SIZE),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, kho_pages_exact_preserve(virt, SIZE_MAX),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, kho_pages_exact_preserve(virt, 4 * PAGE_SIZE), 0);
	kho_pages_exact_unpreserve(virt, 4 * PAGE_SIZE);
}

static void wrong_vmalloc(struct kunit *test)
{
	void *mem = get_vmalloc(test, 4 * PAGE_SIZE);
	struct page *page = get_block(test, 0, 0);
	struct kho_vmalloc ser = {};
	struct vm_struct *vm;
	void *map;

	/* not the start of the area */
	KUNIT_EXPECT_EQ(test, kho_vmalloc_preserve(mem + PAGE_SIZE, &ser),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, kho_vmalloc_preserve(mem + 8, &ser), -EINVAL);

	/* nothing there */
	vm = get_vm_area(PAGE_SIZE, VM_ALLOC);
	KUNIT_ASSERT_NOT_NULL(test, vm);
	map = vm->addr;
	free_vm_area(vm);
	KUNIT_EXPECT_EQ(test, kho_vmalloc_preserve(map, &ser), -EINVAL);

	/* areas without memory of their own */
	map = vmap(&page, 1, VM_MAP, PAGE_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, map);
	KUNIT_EXPECT_EQ(test, kho_vmalloc_preserve(map, &ser), -EOPNOTSUPP);
	vunmap(map);

	vm = get_vm_area(PAGE_SIZE, VM_IOREMAP);
	KUNIT_ASSERT_NOT_NULL(test, vm);
	KUNIT_EXPECT_EQ(test, kho_vmalloc_preserve(vm->addr, &ser),
			-EOPNOTSUPP);
	free_vm_area(vm);

	KUNIT_EXPECT_EQ(test, kho_vmalloc_preserve(mem, &ser), 0);
	kho_vmalloc_unpreserve(&ser);
}

static struct kunit_case kho_memdesc_refuse_cases[] = {
	KUNIT_CASE(overlap_within),
	KUNIT_CASE(overlap_around),
	KUNIT_CASE(overlap_partial),
	KUNIT_CASE(overlap_vmalloc),
	KUNIT_CASE(overlap_windows),
	KUNIT_CASE(wrong_type_slab),
	KUNIT_CASE(wrong_type_large_kmalloc),
	KUNIT_CASE(wrong_type_ptdesc),
	KUNIT_CASE(wrong_type_frozen),
	KUNIT_CASE(wrong_type_block),
	KUNIT_CASE(wrong_order),
	KUNIT_CASE(wrong_place_scratch),
	KUNIT_CASE(wrong_pages_exact),
	KUNIT_CASE(wrong_vmalloc),
	{}
};

static struct kunit_suite kho_memdesc_refuse_suite = {
	.name = "kho_memdesc_refuse",
	.init = kho_memdesc_init,
	.test_cases = kho_memdesc_refuse_cases,
};

kunit_test_suite(kho_memdesc_refuse_suite);
