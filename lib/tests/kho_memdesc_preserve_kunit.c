// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the typed kexec handover: preserving memory of every type, and
 * unpreserving it. The memory can be preserved again then, and nothing leaks.
 */

#include <kunit/test.h>

#include <linux/array_size.h>
#include <linux/gfp.h>
#include <linux/initrd.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/kho_memdesc.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>

#include "kho_memdesc_kunit.h"

static void preserve_enters_map(struct kunit *test)
{
	struct page *split = virt_to_page(get_exact(test, 8 * PAGE_SIZE));
	struct page *compound = get_block(test, __GFP_COMP, 3);
	struct page *folio = folio_page(get_folio(test, 3), 0);
	void *large = get_kmalloc(test, 2 * KMALLOC_MAX_CACHE_SIZE);
	struct page *block = get_block(test, 0, 3);
	struct {
		struct page *page;
		unsigned int order;
		enum kho_memdesc type;
	} memory[] = {
		{ folio, 3, KHO_MEMDESC_FOLIO },
		{ block, 3, KHO_MEMDESC_BLOCK },
		{ block, 3, KHO_MEMDESC_METADATA },
		{ compound, 3, KHO_MEMDESC_COMPOUND },
		{ split, 3, KHO_MEMDESC_SPLIT },
		{ split, 1, KHO_MEMDESC_SPLIT },
		{ split, 0, KHO_MEMDESC_FOLIO },
		{ split, 0, KHO_MEMDESC_BLOCK },
		{ split, 0, KHO_MEMDESC_SPLIT },
		{ virt_to_page(large), compound_order(virt_to_page(large)),
		  KHO_MEMDESC_LARGE_KMALLOC },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(memory); i++) {
		struct page *page = memory[i].page;
		unsigned int order = memory[i].order;
		enum kho_memdesc type = memory[i].type;

		KUNIT_EXPECT_EQ_MSG(test, times_in_map(page), 0, "%u", i);
		KUNIT_EXPECT_EQ_MSG(test,
				    kho_preserve_page_desc(page, order, type),
				    0, "%u", i);
		KUNIT_EXPECT_TRUE_MSG(test, in_map(page, order, type), "%u", i);
		KUNIT_EXPECT_EQ_MSG(test, times_in_map(page), 1, "%u", i);
		kho_unpreserve_page_desc(page, order, type);
		KUNIT_EXPECT_EQ_MSG(test, times_in_map(page), 0, "%u", i);
	}
}

/* A wrong order, size or type leaves what is preserved where it is. */
static void unpreserve_wrong(struct kunit *test)
{
	void *virt = get_exact(test, 7 * PAGE_SIZE);
	struct page *page = virt_to_page(virt);
	struct folio *folio = get_folio(test, 2);
	struct page *head = folio_page(folio, 0);

	KUNIT_ASSERT_EQ(test, kho_folio_preserve(folio), 0);
	kho_unpreserve_page_desc(head, 1, KHO_MEMDESC_FOLIO);
	kho_unpreserve_page_desc(head, 2, KHO_MEMDESC_COMPOUND);
	kho_unpreserve_page_desc(head, 2, KHO_MEMDESC_SPLIT);
	kho_pages_exact_unpreserve(page_address(head), 4 * PAGE_SIZE);
	/* The key of this page is that of the whole folio. */
	kho_unpreserve_page_desc(head + 1, 2, KHO_MEMDESC_FOLIO);
	KUNIT_EXPECT_TRUE(test, in_map(head, 2, KHO_MEMDESC_FOLIO));
	KUNIT_EXPECT_EQ(test, kho_folio_preserve(folio), -EEXIST);
	kho_folio_unpreserve(folio);
	KUNIT_EXPECT_EQ(test, times_in_map(head), 0);

	/* In one piece, and from another page on, in others. */
	KUNIT_ASSERT_EQ(test, kho_pages_exact_preserve(virt, 7 * PAGE_SIZE), 0);
	kho_pages_exact_unpreserve(virt, 7 * PAGE_SIZE);
	for (unsigned int i = 0; i < 7; i++)
		KUNIT_EXPECT_EQ(test, times_in_map(page + i), 0);
	KUNIT_ASSERT_EQ(test,
			kho_pages_exact_preserve(virt + PAGE_SIZE,
						 6 * PAGE_SIZE),
			0);
	kho_pages_exact_unpreserve(virt + PAGE_SIZE, 6 * PAGE_SIZE);
	for (unsigned int i = 0; i < 7; i++)
		KUNIT_EXPECT_EQ(test, times_in_map(page + i), 0);
}

/* A subtree must have pages of its own: slab objects can be elsewhere later. */
static void subtree_memory(struct kunit *test)
{
	void *mem = get_vmalloc(test, PAGE_SIZE);
	struct page *page = get_block(test, 0, 0);
	void *objs[64];

	for (unsigned int i = 0; i < ARRAY_SIZE(objs); i++) {
		/*
		 * Some are guarded by kfence, if the boot says so, and some do
		 * not lie in the first page of their slab.
		 */
		objs[i] = kunit_kzalloc(test, i % 2 ? 64 : 1024, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, objs[i]);
		KUNIT_EXPECT_EQ(test,
				kho_add_subtree("kho-memdesc-kunit", objs[i],
						64),
				-EINVAL);
	}
	KUNIT_EXPECT_EQ(test,
			kho_add_subtree("kho-memdesc-kunit", mem, PAGE_SIZE),
			-EINVAL);
	kho_remove_subtree(mem);

	KUNIT_EXPECT_EQ(test,
			kho_add_subtree("kho-memdesc-kunit", page_address(page),
					64),
			0);
	KUNIT_EXPECT_EQ(test,
			kho_add_subtree("kho-memdesc-kunit", page_address(page),
					64),
			-EEXIST);
	kho_remove_subtree(page_address(page));
	KUNIT_EXPECT_EQ(test,
			kho_add_subtree("kho-memdesc-kunit", page_address(page),
					64),
			0);
	kho_remove_subtree(page_address(page));
}

static void preserve_folio(struct kunit *test)
{
	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++) {
		struct folio *folio = get_folio(test, order);

		for (unsigned int round = 0; round < 3; round++) {
			KUNIT_EXPECT_EQ_MSG(test, kho_folio_preserve(folio), 0,
					    "order %u, round %u", order, round);
			KUNIT_EXPECT_EQ(test, kho_folio_preserve(folio),
					-EEXIST);
			kho_folio_unpreserve(folio);
		}
		KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
		kunit_release_action(test, free_folio, folio);
	}
}

static void check_block(struct kunit *test, gfp_t gfp, unsigned int order)
{
	struct page *page = alloc_pages(GFP_KERNEL | gfp, order);

	KUNIT_ASSERT_NOT_NULL(test, page);
	for (unsigned int round = 0; round < 3; round++) {
		KUNIT_EXPECT_EQ_MSG(test, kho_pages_preserve(page, order), 0,
				    "order %u, round %u", order, round);
		KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, order), -EEXIST);
		kho_pages_unpreserve(page, order);
	}
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
	__free_pages(page, order);
}

static void preserve_pages(struct kunit *test)
{
	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++)
		check_block(test, 0, order);
}

static void preserve_compound_pages(struct kunit *test)
{
	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++)
		check_block(test, __GFP_COMP, order);
}

static void preserve_pages_exact(struct kunit *test)
{
	static const size_t sizes[] = {
		1, PAGE_SIZE, PAGE_SIZE + 1, 3 * PAGE_SIZE, 5 * PAGE_SIZE + 1,
		7 * PAGE_SIZE - 1, 8 * PAGE_SIZE, SZ_1M + PAGE_SIZE,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		void *virt = get_exact(test, sizes[i]);

		for (unsigned int round = 0; round < 3; round++) {
			KUNIT_EXPECT_EQ_MSG(test,
					    kho_pages_exact_preserve(virt,
								     sizes[i]),
					    0, "size %zu, round %u", sizes[i],
					    round);
			KUNIT_EXPECT_EQ(test,
					kho_pages_exact_preserve(virt,
								 sizes[i]),
					-EEXIST);
			kho_pages_exact_unpreserve(virt, sizes[i]);
		}
	}
}

static void preserve_vmalloc(struct kunit *test)
{
	static const size_t sizes[] = {
		1, PAGE_SIZE, PAGE_SIZE + 1, 7 * PAGE_SIZE - 1, SZ_1M + 1,
		KHO_VMALLOC_SIZE * PAGE_SIZE, SZ_4M + 5,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		void *mem = get_vmalloc(test, sizes[i]);
		struct kho_vmalloc ser = {}, other = {};

		for (unsigned int round = 0; round < 3; round++) {
			KUNIT_EXPECT_EQ_MSG(test,
					    kho_vmalloc_preserve(mem, &ser), 0,
					    "size %zu, round %u", sizes[i],
					    round);
			KUNIT_EXPECT_NE(test, 0, ser.first.phys);
			KUNIT_EXPECT_EQ(test, ser.total_pages,
					PFN_UP(sizes[i]));
			KUNIT_EXPECT_EQ(test, kho_vmalloc_preserve(mem, &other),
					-EEXIST);
			kho_vmalloc_unpreserve(&ser);
		}
	}
}

static void preserve_huge_vmalloc(struct kunit *test)
{
	void *mem = vmalloc_huge(PMD_SIZE + PAGE_SIZE + 1, GFP_KERNEL);
	struct kho_vmalloc ser = {}, other = {};

	KUNIT_ASSERT_NOT_NULL(test, mem);
	KUNIT_EXPECT_EQ(test, kho_vmalloc_preserve(mem, &ser), 0);
	KUNIT_EXPECT_EQ(test, ser.total_pages, find_vm_area(mem)->nr_pages);
	KUNIT_EXPECT_EQ(test, kho_vmalloc_preserve(mem, &other), -EEXIST);
	kho_vmalloc_unpreserve(&ser);
	KUNIT_EXPECT_EQ(test, kho_vmalloc_preserve(mem, &ser), 0);
	kho_vmalloc_unpreserve(&ser);
	vfree(mem);
}

static void preserve_page_desc(struct kunit *test)
{
	struct page *folio = folio_page(get_folio(test, 3), 0);
	struct page *block = get_block(test, 0, 3);
	struct page *compound = get_block(test, __GFP_COMP, 3);
	struct page *split = virt_to_page(get_exact(test, 8 * PAGE_SIZE));
	struct {
		struct page *page;
		enum kho_memdesc type;
	} good[] = {
		{ folio, KHO_MEMDESC_FOLIO },
		{ block, KHO_MEMDESC_BLOCK },
		{ compound, KHO_MEMDESC_COMPOUND },
		{ split, KHO_MEMDESC_SPLIT },
	}, bad[] = {
		{ folio, KHO_MEMDESC_BLOCK },
		{ folio, KHO_MEMDESC_SPLIT },
		{ block, KHO_MEMDESC_FOLIO },
		{ block, KHO_MEMDESC_SPLIT },
		{ block, KHO_MEMDESC_COMPOUND },
		{ compound, KHO_MEMDESC_BLOCK },
		{ compound, KHO_MEMDESC_SPLIT },
		{ split, KHO_MEMDESC_FOLIO },
		{ split, KHO_MEMDESC_BLOCK },
		{ split, KHO_MEMDESC_COMPOUND },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		KUNIT_EXPECT_EQ_MSG(test,
				    kho_preserve_page_desc(bad[i].page, 3,
							   bad[i].type),
				    -EINVAL, "bad %u", i);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(good); i++) {
		KUNIT_EXPECT_EQ_MSG(test,
				    kho_preserve_page_desc(good[i].page, 3,
							   good[i].type),
				    0, "good %u", i);
		KUNIT_EXPECT_EQ(test,
				kho_preserve_page_desc(good[i].page, 3,
						       good[i].type),
				-EEXIST);
		kho_unpreserve_page_desc(good[i].page, 3, good[i].type);
	}

	/* no type of the wire format */
	KUNIT_EXPECT_NE(test, 0, kho_preserve_page_desc(block, 3,
							KHO_NR_MEMDESC));
	KUNIT_EXPECT_NE(test, 0, kho_preserve_page_desc(block, 3, 16));
	KUNIT_EXPECT_NE(test, 0, kho_preserve_page_desc(block, 3, 255));
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(block, 3), 0);
	kho_pages_unpreserve(block, 3);
}

/* What a page table is on the wire follows from its constructor. */
static void preserve_ptdesc(struct kunit *test)
{
	static const struct {
		enum ptdesc_state state;
		bool kernel;
		int type;
	} tables[] = {
		{ PTDESC_PLAIN, false, KHO_MEMDESC_PTDESC },
		{ PTDESC_PTE, false, KHO_MEMDESC_PTE },
		{ PTDESC_PMD, false, KHO_MEMDESC_PMD },
		{ PTDESC_KERNEL, true, KHO_MEMDESC_PTDESC_KERNEL },
		{ PTDESC_PUD, true, KHO_MEMDESC_PTDESC_KERNEL },
		{ PTDESC_P4D, true, KHO_MEMDESC_PTDESC_KERNEL },
		{ PTDESC_PGD, true, KHO_MEMDESC_PTDESC_KERNEL },
		{ PTDESC_PUD, false, -EOPNOTSUPP },
		{ PTDESC_P4D, false, -EOPNOTSUPP },
		{ PTDESC_PGD, false, -EOPNOTSUPP },
	};

	for (unsigned int i = 0; i < 4 * ARRAY_SIZE(tables); i++) {
		const enum ptdesc_state state = tables[i / 4].state;
		const int type = tables[i / 4].type;
		const unsigned int order = i % 4;
		struct ptdesc *pt = pagetable_alloc(GFP_KERNEL, order);
		struct page *page;

		KUNIT_ASSERT_NOT_NULL(test, pt);
		page = ptdesc_page(pt);
		if (tables[i / 4].kernel)
			ptdesc_set_kernel(pt);
		switch (state) {
		case PTDESC_PLAIN:
			break;
		case PTDESC_PTE:
			KUNIT_EXPECT_TRUE(test, pagetable_pte_ctor(NULL, pt));
			break;
		case PTDESC_PMD:
			KUNIT_EXPECT_TRUE(test, pagetable_pmd_ctor(NULL, pt));
			break;
		case PTDESC_PUD:
			pagetable_pud_ctor(pt);
			break;
		case PTDESC_P4D:
			pagetable_p4d_ctor(pt);
			break;
		case PTDESC_PGD:
			pagetable_pgd_ctor(pt);
			break;
		case PTDESC_KERNEL:
			KUNIT_EXPECT_TRUE(test,
					  pagetable_pmd_ctor(&init_mm, pt));
			break;
		}

		if (type < 0) {
			KUNIT_EXPECT_EQ(test, kho_ptdesc_preserve(pt), type);
			pagetable_dtor_free(pt);
			continue;
		}

		/* What the one preserves the other finds. */
		KUNIT_EXPECT_EQ(test, kho_ptdesc_preserve(pt), 0);
		KUNIT_EXPECT_EQ(test, kho_ptdesc_preserve(pt), -EEXIST);
		kho_unpreserve_page_desc(page, order, type);
		KUNIT_EXPECT_EQ(test, kho_preserve_page_desc(page, order, type),
				0);
		KUNIT_EXPECT_EQ(test, kho_ptdesc_preserve(pt), -EEXIST);
		kho_ptdesc_unpreserve(pt);
		KUNIT_EXPECT_EQ(test, kho_ptdesc_preserve(pt), 0);
		kho_ptdesc_unpreserve(pt);

		/* Preserving leaves the table alone. */
		KUNIT_EXPECT_EQ(test, ptdesc_state(pt), state);
		KUNIT_EXPECT_EQ(test, page_ref_count(page),
				!IS_ENABLED(CONFIG_MEMDESC_PTDESC));
		KUNIT_EXPECT_PTR_EQ(test, page_ptdesc(page), pt);
		pagetable_dtor_free(pt);
	}
}

/* Order 0 folios and single pages are the same, either call takes either. */
static void preserve_single_page(struct kunit *test)
{
	struct folio *folio = get_folio(test, 0);
	struct page *page = get_block(test, 0, 0);

	KUNIT_EXPECT_EQ(test, kho_pages_preserve(folio_page(folio, 0), 0), 0);
	KUNIT_EXPECT_EQ(test, kho_folio_preserve(folio), -EEXIST);
	kho_pages_unpreserve(folio_page(folio, 0), 0);

	KUNIT_EXPECT_EQ(test, kho_folio_preserve(page_folio(page)), 0);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), -EEXIST);
	kho_folio_unpreserve(page_folio(page));
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), 0);
	kho_pages_unpreserve(page, 0);
}

/* Calls that fail, and calls that are undone, leave nothing behind. */

/*
 * So many rounds that a leak stands out from what other users of memory do: a
 * page in one of twenty rounds, or the smallest object that KHO allocates, of 64
 * bytes, in every second round.
 */
#define LEAK_ROUNDS	10000
#define LEAK_PAGES	(LEAK_ROUNDS / 20)
#define LEAK_SLAB_PAGES	(LEAK_ROUNDS / 2 * 64 / PAGE_SIZE)

struct usage {
	long free;	/* pages */
	long slab;	/* pages of slabs */
};

static struct usage memory_usage(void)
{
	/* Until then a task of the boot fills memory with files. */
	wait_for_initramfs();
	drain_local_pages(NULL);
	return (struct usage){
		.free = global_zone_page_state(NR_FREE_PAGES),
		.slab = global_node_page_state_snapshot(NR_SLAB_UNRECLAIMABLE_B),
	};
}

static void expect_no_leak(struct kunit *test, struct usage before)
{
	struct usage after = memory_usage();

	KUNIT_EXPECT_LT(test, before.free - after.free, LEAK_PAGES);
	KUNIT_EXPECT_LT(test, after.slab - before.slab, (long)LEAK_SLAB_PAGES);
}

static void failed_calls_leak_nothing(struct kunit *test)
{
	void *virt = get_exact(test, 8 * PAGE_SIZE);
	void *mem = get_vmalloc(test, 8 * PAGE_SIZE);
	struct page *page = vmalloc_to_page(mem + 7 * PAGE_SIZE);
	struct folio *folio = get_folio(test, 1);
	struct kho_vmalloc ser = {};
	struct usage before;

	KUNIT_ASSERT_EQ(test, kho_pages_preserve(virt_to_page(virt) + 7, 0), 0);
	KUNIT_ASSERT_EQ(test, kho_pages_preserve(page, 0), 0);
	KUNIT_ASSERT_EQ(test, kho_folio_preserve(folio), 0);

	before = memory_usage();
	for (unsigned int i = 0; i < LEAK_ROUNDS; i++) {
		KUNIT_EXPECT_EQ(test,
				kho_pages_exact_preserve(virt, 8 * PAGE_SIZE),
				-EEXIST);
		KUNIT_EXPECT_EQ(test, kho_vmalloc_preserve(mem, &ser), -EEXIST);
		KUNIT_EXPECT_EQ(test, kho_folio_preserve(folio), -EEXIST);
		KUNIT_EXPECT_EQ(test,
				kho_vmalloc_preserve(mem + PAGE_SIZE, &ser),
				-EINVAL);
	}
	expect_no_leak(test, before);

	kho_folio_unpreserve(folio);
	kho_pages_unpreserve(page, 0);
	kho_pages_unpreserve(virt_to_page(virt) + 7, 0);
}

static void undone_calls_leak_nothing(struct kunit *test)
{
	void *virt = get_exact(test, 7 * PAGE_SIZE);
	void *mem = get_vmalloc(test, 8 * PAGE_SIZE);
	struct folio *folio = get_folio(test, 1);
	struct kho_vmalloc ser = {};
	struct usage before;

	before = memory_usage();
	for (unsigned int i = 0; i < LEAK_ROUNDS; i++) {
		KUNIT_ASSERT_EQ(test,
				kho_pages_exact_preserve(virt, 7 * PAGE_SIZE),
				0);
		kho_pages_exact_unpreserve(virt, 7 * PAGE_SIZE);
		KUNIT_ASSERT_EQ(test, kho_vmalloc_preserve(mem, &ser), 0);
		kho_vmalloc_unpreserve(&ser);
		KUNIT_ASSERT_EQ(test, kho_folio_preserve(folio), 0);
		kho_folio_unpreserve(folio);
	}
	expect_no_leak(test, before);
}

/* kho_first_unpreserved() finds each page of a range that is not preserved. */
static void first_unpreserved(struct kunit *test)
{
	const unsigned int nr = 16;
	void *virt = get_exact(test, nr * PAGE_SIZE);
	const phys_addr_t phys = virt_to_phys(virt);

	KUNIT_EXPECT_EQ(test, kho_first_unpreserved(phys, nr * PAGE_SIZE), phys);
	KUNIT_ASSERT_EQ(test, kho_pages_exact_preserve(virt, nr * PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, kho_first_unpreserved(phys, nr * PAGE_SIZE),
			PHYS_ADDR_MAX);
	KUNIT_EXPECT_EQ(test, kho_first_unpreserved(phys + nr * PAGE_SIZE - 1, 1),
			PHYS_ADDR_MAX);
	kho_pages_exact_unpreserve(virt, nr * PAGE_SIZE);

	/* All pages but one */
	for (unsigned int hole = 0; hole != nr; hole++) {
		const phys_addr_t found = phys + hole * PAGE_SIZE;

		for (unsigned int i = 0; i != nr; i++) {
			if (i != hole)
				KUNIT_ASSERT_EQ(test,
						kho_pages_preserve(virt_to_page(virt) + i, 0),
						0);
		}
		KUNIT_EXPECT_EQ(test, kho_first_unpreserved(phys, nr * PAGE_SIZE),
				found);
		KUNIT_EXPECT_EQ(test, kho_first_unpreserved(found + 1, 1), found);
		for (unsigned int i = 0; i != nr; i++) {
			if (i != hole)
				kho_pages_unpreserve(virt_to_page(virt) + i, 0);
		}
	}
}

static struct kunit_case kho_memdesc_preserve_cases[] = {
	KUNIT_CASE(preserve_enters_map),
	KUNIT_CASE(unpreserve_wrong),
	KUNIT_CASE(subtree_memory),
	KUNIT_CASE(preserve_folio),
	KUNIT_CASE(preserve_pages),
	KUNIT_CASE(preserve_compound_pages),
	KUNIT_CASE(preserve_pages_exact),
	KUNIT_CASE(preserve_vmalloc),
	KUNIT_CASE(preserve_huge_vmalloc),
	KUNIT_CASE(preserve_page_desc),
	KUNIT_CASE(preserve_ptdesc),
	KUNIT_CASE(preserve_single_page),
	KUNIT_CASE(first_unpreserved),
	KUNIT_CASE(failed_calls_leak_nothing),
	KUNIT_CASE(undone_calls_leak_nothing),
	{}
};

static struct kunit_suite kho_memdesc_preserve_suite = {
	.name = "kho_memdesc_preserve",
	.init = kho_memdesc_init,
	.test_cases = kho_memdesc_preserve_cases,
};

kunit_test_suite(kho_memdesc_preserve_suite);
