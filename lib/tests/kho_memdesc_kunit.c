// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the typed kexec handover, as far as one kernel can test it:
 * the wire format, preserving and unpreserving, and every error that can be
 * provoked. What comes after the kexec is tested by lib/kho_test/.
 */

#include <kunit/resource.h>
#include <kunit/test.h>

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/count_zeros.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/initrd.h>
#include <linux/kexec_handover.h>
#include <linux/kfence.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/kho_memdesc.h>
#include <linux/kthread.h>
#include <linux/log2.h>
#include <linux/memblock.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/pgtable.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>

#include "../../kernel/liveupdate/kexec_handover_internal.h"
#include "../../kernel/liveupdate/kho_map.h"
#include "memdesc_block_kunit.h"

/* A physical address that no machine has memory at. */
#define NO_MEMORY	BIT_ULL(51)

/*
 * So many rounds that a leak stands out from what other users of memory do: a
 * page in one of twenty rounds, or the smallest object that KHO allocates, of 64
 * bytes, in every second round.
 */
#define LEAK_ROUNDS	10000
#define LEAK_PAGES	(LEAK_ROUNDS / 20)
#define LEAK_SLAB_PAGES	(LEAK_ROUNDS / 2 * 64 / PAGE_SIZE)

/* In a variable, or KUnit would print all that the macros expand to. */
#define EXPECT_ERR_PTR(test, ptr, expected)				\
	do {								\
		long err = PTR_ERR(ptr);				\
									\
		KUNIT_EXPECT_EQ_MSG(test, err, expected, "%s", #ptr);	\
	} while (0)

/* Every allocation of a test is freed after it, whatever failed in it. */

struct block {
	struct page *page;
	unsigned int order;
};

static void free_block(void *data)
{
	struct block *block = data;

	__free_pages(block->page, block->order);
}

static struct page *get_block(struct kunit *test, gfp_t gfp, unsigned int order)
{
	struct block *block = kunit_kzalloc(test, sizeof(*block), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, block);
	block->page = alloc_pages(GFP_KERNEL | gfp, order);
	block->order = order;
	KUNIT_ASSERT_NOT_NULL(test, block->page);
	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, free_block, block), 0);
	return block->page;
}

static void free_folio(void *data)
{
	folio_put(data);
}

static struct folio *get_folio(struct kunit *test, unsigned int order)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order);

	KUNIT_ASSERT_NOT_NULL(test, folio);
	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, free_folio, folio), 0);
	return folio;
}

struct exact {
	void *virt;
	size_t size;
};

static void free_exact(void *data)
{
	struct exact *exact = data;

	free_pages_exact(exact->virt, exact->size);
}

static void *get_exact(struct kunit *test, size_t size)
{
	struct exact *exact = kunit_kzalloc(test, sizeof(*exact), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, exact);
	exact->size = size;
	exact->virt = alloc_pages_exact(size, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, exact->virt);
	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, free_exact, exact), 0);
	return exact->virt;
}

static void free_kvmalloc(void *data)
{
	kvfree(data);
}

static void *get_vmalloc(struct kunit *test, size_t size)
{
	void *mem = vmalloc(size);

	KUNIT_ASSERT_NOT_NULL(test, mem);
	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, free_kvmalloc, mem), 0);
	return mem;
}

static void *get_kmalloc(struct kunit *test, size_t size)
{
	void *mem;

	/* A guarded object lies in memory of another kind. */
	do {
		mem = kunit_kzalloc(test, size, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, mem);
	} while (is_kfence_address(mem));
	return mem;
}

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

/* The wire format: a contract with other kernels, which no change may break. */

static void wire_types(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_UNTYPED, 0);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_FOLIO, 1);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_BLOCK, 2);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_SPLIT, 3);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_COMPOUND, 4);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_LARGE_KMALLOC, 5);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_SLAB, 6);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_PTDESC, 7);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_PTDESC_KERNEL, 8);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_PTE, 9);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_PMD, 10);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_IOPTDESC, 11);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_METADATA, 12);
	KUNIT_EXPECT_EQ(test, KHO_NR_MEMDESC, 13);
	KUNIT_EXPECT_LE(test, KHO_NR_MEMDESC, 1 << KHO_MEMDESC_BITS);
}

static void wire_key(struct kunit *test)
{
	unsigned int indexed = (KHO_TREE_MAX_DEPTH - 1) * KHO_TABLE_SIZE_LOG2 +
			       KHO_BITMAP_SIZE_LOG2;

	KUNIT_EXPECT_STREQ(test, "kho-v5", KHO_FDT_COMPATIBLE);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_BITS, 4);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_SHIFT, 65 - PAGE_SHIFT);

	switch (PAGE_SHIFT) {
	case 12:
		KUNIT_EXPECT_EQ(test, KHO_MEMDESC_SHIFT, 53);
		KUNIT_EXPECT_EQ(test, KHO_TREE_MAX_DEPTH, 6);
		KUNIT_EXPECT_EQ(test, indexed, 60);
		break;
	case 14:
		KUNIT_EXPECT_EQ(test, KHO_MEMDESC_SHIFT, 51);
		KUNIT_EXPECT_EQ(test, KHO_TREE_MAX_DEPTH, 5);
		KUNIT_EXPECT_EQ(test, indexed, 61);
		break;
	case 16:
		KUNIT_EXPECT_EQ(test, KHO_MEMDESC_SHIFT, 49);
		KUNIT_EXPECT_EQ(test, KHO_TREE_MAX_DEPTH, 4);
		KUNIT_EXPECT_EQ(test, indexed, 58);
		break;
	}
	KUNIT_EXPECT_LE(test, KHO_MEMDESC_SHIFT + KHO_MEMDESC_BITS, indexed);
	KUNIT_EXPECT_EQ(test, sizeof(struct kho_radix_node), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, sizeof(struct kho_radix_leaf), PAGE_SIZE);
}

/* Keys as they are written, not as the code would derive them. */
static void wire_golden_keys(struct kunit *test)
{
	static const struct {
		phys_addr_t phys;
		unsigned int order;
		enum kho_memdesc type;
		u64 key;
	} keys[] = {
#if PAGE_SHIFT == 12
		{ 0x0, 0, KHO_MEMDESC_UNTYPED, 0x0010000000000000 },
		{ 0x1000, 0, KHO_MEMDESC_UNTYPED, 0x0010000000000001 },
		{ 0x1000, 0, KHO_MEMDESC_FOLIO, 0x0030000000000001 },
		{ 0x200000, 9, KHO_MEMDESC_FOLIO, 0x0020080000000001 },
		{ 0x12340000, 4, KHO_MEMDESC_BLOCK, 0x0041000000001234 },
		{ 0x7ffffffff000, 0, KHO_MEMDESC_SPLIT, 0x00700007ffffffff },
		{ 0x40000000, 18, KHO_MEMDESC_SPLIT, 0x0060000400000001 },
		{ 0x800000, 2, KHO_MEMDESC_COMPOUND, 0x0084000000000200 },
		{ 0x10000, 4, KHO_MEMDESC_LARGE_KMALLOC, 0x00a1000000000001 },
		{ 0x8000, 3, KHO_MEMDESC_SLAB, 0x00c2000000000001 },
		{ 0x3000, 0, KHO_MEMDESC_PTDESC, 0x00f0000000000003 },
		{ 0x3000, 0, KHO_MEMDESC_PTDESC_KERNEL, 0x0110000000000003 },
		{ 0x3000, 0, KHO_MEMDESC_PTE, 0x0130000000000003 },
		{ 0x3000, 0, KHO_MEMDESC_PMD, 0x0150000000000003 },
		{ 0x2000, 1, KHO_MEMDESC_IOPTDESC, 0x0168000000000001 },
		{ 0x3000, 0, KHO_MEMDESC_METADATA, 0x0190000000000003 },
#elif PAGE_SHIFT == 14
		{ 0x0, 0, KHO_MEMDESC_UNTYPED, 0x0004000000000000 },
		{ 0x4000, 0, KHO_MEMDESC_FOLIO, 0x000c000000000001 },
		{ 0x2000000, 11, KHO_MEMDESC_FOLIO, 0x0008008000000001 },
		{ 0xc000, 0, KHO_MEMDESC_SPLIT, 0x001c000000000003 },
		{ 0x8000, 1, KHO_MEMDESC_IOPTDESC, 0x005a000000000001 },
		{ 0xc000, 0, KHO_MEMDESC_METADATA, 0x0064000000000003 },
#elif PAGE_SHIFT == 16
		{ 0x0, 0, KHO_MEMDESC_UNTYPED, 0x0001000000000000 },
		{ 0x10000, 0, KHO_MEMDESC_FOLIO, 0x0003000000000001 },
		{ 0x20000000, 13, KHO_MEMDESC_FOLIO, 0x0002000800000001 },
		{ 0x30000, 0, KHO_MEMDESC_SPLIT, 0x0007000000000003 },
		{ 0x20000, 1, KHO_MEMDESC_IOPTDESC, 0x0016800000000001 },
		{ 0x30000, 0, KHO_MEMDESC_METADATA, 0x0019000000000003 },
#endif
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(keys); i++) {
		unsigned int order, type;

		KUNIT_EXPECT_EQ_MSG(test,
				    kho_encode_key(keys[i].phys, keys[i].order,
						   keys[i].type),
				    keys[i].key, "key %u", i);
		KUNIT_EXPECT_EQ_MSG(test,
				    kho_decode_key(keys[i].key, &order, &type),
				    keys[i].phys, "key %u", i);
		KUNIT_EXPECT_EQ_MSG(test, order, keys[i].order, "key %u", i);
		KUNIT_EXPECT_EQ_MSG(test, type, keys[i].type, "key %u", i);
	}
}

static void wire_vmalloc(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, sizeof(struct kho_vmalloc), 16);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_vmalloc, first), 0);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_vmalloc, total_pages), 8);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_vmalloc, flags), 12);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_vmalloc, order), 14);
	KUNIT_EXPECT_EQ(test, sizeof_field(struct kho_vmalloc, flags), 2);
	KUNIT_EXPECT_EQ(test, sizeof_field(struct kho_vmalloc, order), 2);

	KUNIT_EXPECT_EQ(test, sizeof(struct kho_vmalloc_chunk), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, sizeof(struct kho_vmalloc_hdr), 8);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_vmalloc_chunk, phys), 8);
	KUNIT_EXPECT_EQ(test, PAGE_SIZE / 8 - 1, KHO_VMALLOC_SIZE);
}

/* Is that in the map, as written for the next kernel? */
static bool in_map(struct page *page, unsigned int order, enum kho_memdesc type)
{
	unsigned long key = kho_encode_key(page_to_phys(page), order, type);
	struct kho_radix_leaf *leaf;
	bool found;

	kho_map_lock();
	leaf = kho_radix_find(kho_out.radix_tree.root, key);
	found = leaf && test_bit(key % KHO_LEAF_BITS, leaf->bitmap);
	kho_map_unlock();
	return found;
}

/* How many types and orders the page is in the map as. */
static unsigned int times_in_map(struct page *page)
{
	unsigned int times = 0;

	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++) {
		if (!IS_ALIGNED(page_to_pfn(page), 1UL << order))
			break;
		for (unsigned int type = 0; type < KHO_NR_MEMDESC; type++)
			times += in_map(page, order, type);
	}
	return times;
}

/* Preserving and unpreserving. */

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
		struct page *page = ptdesc_page(pt);

		KUNIT_ASSERT_NOT_NULL(test, pt);
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
		KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
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

static int map_add(unsigned long pfn, unsigned int order)
{
	int err;

	kho_map_lock();
	err = kho_map_add(pfn, order, KHO_MEMDESC_METADATA);
	kho_map_unlock();
	return err;
}

static void map_del(unsigned long pfn, unsigned int order)
{
	kho_map_lock();
	kho_map_del(pfn, order, KHO_MEMDESC_METADATA);
	kho_map_unlock();
}

static bool map_has(unsigned long pfn)
{
	bool has;

	kho_map_lock();
	has = kho_is_preserved(pfn);
	kho_map_unlock();
	return has;
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

static void wrong_type_ptdesc(struct kunit *test)
{
	struct ptdesc *ptdesc = pagetable_alloc(GFP_KERNEL, 0);
	struct page *tables;

	KUNIT_ASSERT_NOT_NULL(test, ptdesc);
	no_page_table_as(test, ptdesc);
	KUNIT_ASSERT_TRUE(test, pagetable_pte_ctor(&init_mm, ptdesc));
	no_page_table_as(test, ptdesc);
	pagetable_dtor_free(ptdesc);

	/* and nothing else as a page table */
	KUNIT_EXPECT_EQ(test,
			kho_ptdesc_preserve(page_ptdesc(get_block(test, 0, 0))),
			-EINVAL);
	KUNIT_EXPECT_EQ(test,
			kho_ptdesc_preserve(page_ptdesc(get_block(test,
								  __GFP_COMP, 2))),
			-EINVAL);
	KUNIT_EXPECT_EQ(test,
			kho_ptdesc_preserve((struct ptdesc *)get_folio(test,
								       1)),
			-EINVAL);
	KUNIT_EXPECT_EQ(test,
			kho_ptdesc_preserve(virt_to_ptdesc(get_kmalloc(test,
								       64))),
			-EINVAL);

	ptdesc = pagetable_alloc(GFP_KERNEL, 2);
	KUNIT_ASSERT_NOT_NULL(test, ptdesc);
	tables = ptdesc_page(ptdesc);
	KUNIT_EXPECT_EQ(test, kho_ptdesc_preserve(page_ptdesc(tables + 3)),
			-EINVAL);
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

/* Calls that fail, and calls that are undone, leave nothing behind. */

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

/* Several at once: all or nothing. */

#define BATCH		600

/* Nothing of it is preserved: each can be, by itself. */
static void expect_unpreserved(struct kunit *test, struct folio **folios,
			       unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		KUNIT_EXPECT_EQ_MSG(test, kho_folio_preserve(folios[i]), 0,
				    "folio %u", i);
		kho_folio_unpreserve(folios[i]);
	}
}

static struct folio **get_folios(struct kunit *test, unsigned int nr)
{
	struct folio **folios;

	folios = kunit_kcalloc(test, nr, sizeof(*folios), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, folios);
	/* Large ones in between. */
	for (unsigned int i = 0; i < nr; i++)
		folios[i] = get_folio(test, i % 50 == 7 ? i / 50 % 4 : 0);
	return folios;
}

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

/* Memory that comes and goes. */

#ifdef CONFIG_MEMORY_HOTREMOVE
KUNIT_DEFINE_ACTION_WRAPPER(put_block, memory_block_put, struct memory_block *);

static unsigned long block_last_pfn(struct memory_block *block)
{
	return block_start_pfn(block) + PHYS_PFN(memory_block_size_bytes()) - 1;
}

static bool has_window(unsigned long pfn)
{
	bool has;

	kho_map_lock();
	has = kho_find_window(pfn);
	kho_map_unlock();
	return has;
}

/* A window in which nothing is preserved is freed after a second. */
static bool wait_for_trim(unsigned long pfn)
{
	for (int i = 0; i < 100 && has_window(pfn); i++)
		msleep(100);
	return !has_window(pfn);
}

/* A page at this place, as its user has it. */
static struct page *get_page_at(struct kunit *test, unsigned long pfn)
{
	KUNIT_ASSERT_EQ(test,
			alloc_contig_range(pfn, pfn + 1, ACR_FLAGS_NONE,
					   GFP_KERNEL),
			0);
	return pfn_to_page(pfn);
}

/* Every page that can be in use can be preserved, once. */
static void expect_preserved(struct kunit *test, unsigned long pfn)
{
	struct page *page = get_page_at(test, pfn);

	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), 0);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), -EEXIST);
	KUNIT_EXPECT_TRUE(test, in_map(page, 0, KHO_MEMDESC_BLOCK));
	kho_pages_unpreserve(page, 0);
	__free_page(page);
}

/* A page that nobody can use, of whatever type the caller says it is. */
static void expect_refused(struct kunit *test, unsigned long pfn)
{
	static const enum kho_memdesc types[] = {
		KHO_MEMDESC_FOLIO, KHO_MEMDESC_BLOCK, KHO_MEMDESC_SPLIT,
		KHO_MEMDESC_COMPOUND, KHO_MEMDESC_PTDESC, KHO_MEMDESC_IOPTDESC,
		KHO_MEMDESC_METADATA,
	};
	struct page *page = pfn_to_page(pfn);

	for (unsigned int i = 0; i < ARRAY_SIZE(types); i++) {
		KUNIT_EXPECT_EQ_MSG(test,
				    kho_preserve_page_desc(page, 0, types[i]),
				    -EOPNOTSUPP, "type %u", types[i]);
		KUNIT_EXPECT_EQ_MSG(test,
				    kho_preserve_page_descs(&page, 1, 0,
							    types[i]),
				    -EOPNOTSUPP, "type %u", types[i]);
	}
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test,
			kho_pages_exact_preserve(page_address(page), PAGE_SIZE),
			-EINVAL);
	KUNIT_EXPECT_FALSE(test, map_has(pfn));
}

/* What is asked for just before, and just after, KHO hears of coming memory. */
struct onlining {
	struct notifier_block first, last;
	unsigned long pfn;
	bool ask_before, ask_after, refuse;
	int before, after;
};

static int onlining_first(struct notifier_block *nb, unsigned long action,
			  void *data)
{
	struct onlining *on = container_of(nb, struct onlining, first);

	if (action == MEM_GOING_ONLINE && on->ask_before)
		on->before = map_add(on->pfn, 0);
	return NOTIFY_OK;
}

static int onlining_last(struct notifier_block *nb, unsigned long action,
			 void *data)
{
	struct onlining *on = container_of(nb, struct onlining, last);

	if (action != MEM_GOING_ONLINE)
		return NOTIFY_OK;
	if (on->ask_after) {
		on->after = map_add(on->pfn, 0);
		if (!on->after)
			map_del(on->pfn, 0);
	}
	return on->refuse ? NOTIFY_BAD : NOTIFY_OK;
}

static int try_online(struct memory_block *block, struct onlining *on)
{
	int err;

	on->pfn = block_start_pfn(block);
	on->first.notifier_call = onlining_first;
	on->first.priority = INT_MAX;
	on->last.notifier_call = onlining_last;
	on->last.priority = INT_MIN;
	err = register_memory_notifier(&on->first);
	if (err)
		return err;
	err = register_memory_notifier(&on->last);
	if (!err) {
		err = set_block_online(block, true);
		unregister_memory_notifier(&on->last);
	}
	unregister_memory_notifier(&on->first);
	return err;
}

static void memory_offline(struct kunit *test)
{
	static const struct {
		bool before, after, refuse;
	} rounds[] = {
		{ },			/* there is no window */
		{ .before = true },	/* made while the memory was offline */
		{ .after = true },	/* made while it comes online */
		{ .after = true, .refuse = true }, /* but it does not come */
		{ },
	};
	struct memory_block *block = get_free_block(NUMA_NO_NODE);
	unsigned long pfn, last;
	struct page *page;

	if (!block)
		kunit_skip(test, "no memory that can go offline");
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, put_block, block),
			0);
	pfn = block_start_pfn(block);
	last = block_last_pfn(block);

	/* Memory with preserved pages stays. */
	page = get_page_at(test, pfn);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), 0);
	KUNIT_EXPECT_EQ(test, set_block_online(block, false), -EBUSY);
	KUNIT_EXPECT_TRUE(test, in_map(page, 0, KHO_MEMDESC_BLOCK));
	kho_pages_unpreserve(page, 0);
	__free_page(page);

	/* There still is a window, from when the memory could be preserved. */
	KUNIT_EXPECT_TRUE(test, has_window(pfn));
	KUNIT_ASSERT_EQ(test, set_block_online(block, false), 0);
	expect_refused(test, pfn);
	expect_refused(test, last);

	for (unsigned int i = 0; i < ARRAY_SIZE(rounds); i++) {
		struct onlining on = {
			.ask_before = rounds[i].before,
			.ask_after = rounds[i].after,
			.refuse = rounds[i].refuse,
		};

		KUNIT_ASSERT_TRUE(test, wait_for_trim(pfn));
		expect_refused(test, pfn);
		expect_refused(test, last);
		if (on.refuse)
			KUNIT_EXPECT_NE(test, try_online(block, &on), 0);
		else
			KUNIT_ASSERT_EQ(test, try_online(block, &on), 0);
		if (on.ask_before)
			KUNIT_EXPECT_EQ(test, on.before, -EOPNOTSUPP);
		if (on.ask_after)
			KUNIT_EXPECT_EQ(test, on.after, 0);
		if (on.refuse) {
			KUNIT_EXPECT_TRUE(test, has_window(pfn));
			KUNIT_EXPECT_EQ(test, map_add(pfn, 0), -EOPNOTSUPP);
			continue;
		}

		expect_preserved(test, pfn);
		expect_preserved(test, last);
		KUNIT_ASSERT_EQ(test, set_block_online(block, false), 0);
	}
	KUNIT_EXPECT_EQ(test, set_block_online(block, true), 0);
	expect_preserved(test, pfn);
}

static int add_block(u64 start, int nid)
{
	return __add_memory_driver_managed(nid, start, memory_block_size_bytes(),
					   "System RAM (kunit)", MHP_NONE,
					   MMOP_OFFLINE);
}

/*
 * Memory is added behind all other memory, and never comes online. With large
 * pages the same window has other memory, which is online.
 */
static void memory_added(struct kunit *test)
{
	const u64 size = memory_block_size_bytes();
	const u64 start = ALIGN(PFN_PHYS(max_pfn), size);
	const unsigned long pfn = PHYS_PFN(start);
	struct folio *folio = get_folio(test, 0);
	int err;

	KUNIT_ASSERT_EQ(test, kho_folio_preserve(folio), 0);
	err = add_block(start, folio_nid(folio));
	if (err) {
		kho_folio_unpreserve(folio);
		kunit_skip(test, "no place for more memory: %pe", ERR_PTR(err));
	}
	kunit_info(test, "%#llx: %s window", start,
		   has_window(pfn) ? "in a" : "no");

	KUNIT_EXPECT_NULL(test, pfn_to_online_page(pfn));
	expect_refused(test, pfn);
	expect_refused(test, pfn + PHYS_PFN(size) - 1);
	KUNIT_EXPECT_EQ(test, map_add(pfn, 0), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, remove_memory(start, size), 0);

	/* Now there are no struct pages. */
	KUNIT_EXPECT_EQ(test, map_add(pfn, 0), -EOPNOTSUPP);
	KUNIT_EXPECT_FALSE(test, map_has(pfn));
	kho_folio_unpreserve(folio);
}

/* The kernel cannot remove a part of what one entry of a page table maps. */
static bool removable(unsigned long pfn)
{
#ifdef CONFIG_X86_64
	unsigned int level;

	lookup_address((unsigned long)pfn_to_kaddr(pfn), &level);
	return level < PG_LEVEL_1G;
#else
	return true;
#endif
}

/* Memory is removed and added again: the next kernel may not find it. */
static void memory_removed(struct kunit *test)
{
	struct memory_block *block = get_free_block(NUMA_NO_NODE);
	const u64 size = memory_block_size_bytes();
	struct page *page;
	unsigned long pfn;
	u64 start;
	int nid;

	if (!block)
		kunit_skip(test, "no memory that can go offline");
	pfn = block_start_pfn(block);
	start = PFN_PHYS(pfn);
	nid = pfn_to_nid(pfn);
	if (!removable(pfn)) {
		memory_block_put(block);
		kunit_skip(test, "boot with nogbpages");
	}
	/* This leaves a window, for a second. */
	expect_preserved(test, pfn);
	KUNIT_EXPECT_EQ(test, set_block_online(block, false), 0);
	memory_block_put(block);
	KUNIT_ASSERT_EQ(test, remove_memory(start, size), 0);

	KUNIT_ASSERT_EQ(test, add_block(start, nid), 0);
	expect_refused(test, pfn);
	block = memory_block_get(pfn_to_block_id(pfn));
	KUNIT_ASSERT_NOT_NULL(test, block);
	KUNIT_EXPECT_EQ(test, set_block_online(block, true), 0);

	page = get_page_at(test, pfn);
	for (int i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), -EOPNOTSUPP);
		KUNIT_EXPECT_EQ(test,
				kho_pages_exact_preserve(page_address(page),
							 PAGE_SIZE),
				-EOPNOTSUPP);
		KUNIT_EXPECT_EQ(test, map_add(pfn, 0), -EOPNOTSUPP);
		KUNIT_EXPECT_FALSE(test, map_has(pfn));
		/* Once more in a window that is made now. */
		wait_for_trim(pfn);
	}
	__free_page(page);

	/* Other tests would not know what to do with such memory. */
	KUNIT_EXPECT_EQ(test, set_block_online(block, false), 0);
	memory_block_put(block);
	KUNIT_EXPECT_EQ(test, remove_memory(start, size), 0);
}
#else
static void memory_offline(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MEMORY_HOTREMOVE");
}

static void memory_added(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MEMORY_HOTREMOVE");
}

static void memory_removed(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MEMORY_HOTREMOVE");
}
#endif

/* Two tasks at once. */

struct racer {
	/* with these, of which the other has some as well, ... */
	struct folio **folios;
	/* ... or with memory of its own and with memory of both */
	struct folio *own;
	void *shared;
	size_t size;
	/* how many have preserved what both want */
	atomic_t *holders;
	struct completion done;
	unsigned int won;
	unsigned int lost;
	unsigned int wrong;
};

static int end_of_race(struct racer *racer)
{
	complete(&racer->done);
	while (!kthread_should_stop())
		usleep_range(1000, 2000);
	return 0;
}

static void run_race(struct kunit *test, int (*race)(void *racer),
		     struct racer racers[2])
{
	struct task_struct *tasks[2];

	for (unsigned int i = 0; i < ARRAY_SIZE(tasks); i++) {
		init_completion(&racers[i].done);
		tasks[i] = kthread_run(race, &racers[i], "kho_race/%u", i);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(tasks); i++) {
		KUNIT_EXPECT_FALSE(test, IS_ERR(tasks[i]));
		if (IS_ERR(tasks[i]))
			continue;
		wait_for_completion(&racers[i].done);
		kthread_stop(tasks[i]);
		KUNIT_EXPECT_EQ(test, racers[i].wrong, 0);
		KUNIT_EXPECT_GT(test, racers[i].won, 0);
	}
}

/* The same folios, one of them from the other end. */
static int race_batch(void *data)
{
	struct racer *racer = data;

	for (unsigned int i = 0; i < 100 || (!racer->won && i < 10000); i++) {
		switch (kho_folios_preserve(racer->folios, BATCH)) {
		case 0:
			racer->won++;
			racer->wrong += atomic_inc_return(racer->holders) != 1;
			usleep_range(10, 20);
			atomic_dec(racer->holders);
			kho_folios_unpreserve(racer->folios, BATCH);
			usleep_range(100, 200);
			break;
		/* Perhaps both, who have met in the middle. */
		case -EEXIST:
			usleep_range(5, 500);
			break;
		default:
			racer->wrong++;
		}
		cond_resched();
	}
	return end_of_race(racer);
}

static void batch_concurrently(struct kunit *test)
{
	struct folio **up = get_folios(test, BATCH);
	struct folio **down = kunit_kcalloc(test, BATCH, sizeof(*down),
					    GFP_KERNEL);
	atomic_t holders = ATOMIC_INIT(0);
	struct racer racers[2] = {
		{ .folios = up, .holders = &holders },
		{ .folios = down, .holders = &holders },
	};

	KUNIT_ASSERT_NOT_NULL(test, down);
	for (unsigned int i = 0; i < BATCH; i++)
		down[i] = up[BATCH - 1 - i];
	run_race(test, race_batch, racers);
	expect_unpreserved(test, up, BATCH);
}

/* Memory of their own, and the same memory. */

#define RACE_ROUNDS	300

static int race(void *data)
{
	struct racer *racer = data;

	/* Each has to win at least once, however the other is scheduled. */
	for (unsigned int i = 0; i < RACE_ROUNDS ||
	     (!racer->won && i < 100 * RACE_ROUNDS); i++) {
		racer->wrong += kho_folio_preserve(racer->own) != 0;
		switch (kho_pages_exact_preserve(racer->shared, racer->size)) {
		case 0:
			racer->won++;
			racer->wrong += atomic_inc_return(racer->holders) != 1;
			usleep_range(10, 20);
			atomic_dec(racer->holders);
			kho_pages_exact_unpreserve(racer->shared, racer->size);
			break;
		case -EEXIST:
			racer->lost++;
			usleep_range(5, 50);
			break;
		default:
			racer->wrong++;
		}
		racer->wrong += kho_folio_preserve(racer->own) != -EEXIST;
		kho_folio_unpreserve(racer->own);
		cond_resched();
	}
	return end_of_race(racer);
}

static void preserve_concurrently(struct kunit *test)
{
	void *virt = get_exact(test, 8 * PAGE_SIZE);
	atomic_t holders = ATOMIC_INIT(0);
	struct racer racers[2] = {
		{ .own = get_folio(test, 0), .shared = virt,
		  .size = 8 * PAGE_SIZE, .holders = &holders },
		{ .own = get_folio(test, 3), .shared = virt + 5 * PAGE_SIZE,
		  .size = PAGE_SIZE, .holders = &holders },
	};

	run_race(test, race, racers);
	for (unsigned int i = 0; i < ARRAY_SIZE(racers); i++) {
		KUNIT_EXPECT_LE(test, RACE_ROUNDS,
				racers[i].won + racers[i].lost);
		/* Whoever came last has left nothing behind. */
		KUNIT_EXPECT_EQ(test, kho_folio_preserve(racers[i].own), 0);
		kho_folio_unpreserve(racers[i].own);
	}
	KUNIT_EXPECT_GT(test, racers[0].lost + racers[1].lost, 0);
	KUNIT_EXPECT_EQ(test, kho_pages_exact_preserve(virt, 8 * PAGE_SIZE), 0);
	kho_pages_exact_unpreserve(virt, 8 * PAGE_SIZE);
}

/* Restoring what no previous kernel has handed over. */

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

static int kho_memdesc_init(struct kunit *test)
{
	if (!kho_is_enabled())
		kunit_skip(test, "kexec handover is off, boot with kho=on");
	if (kho_write_v4)
		kunit_skip(test, "boot without kho_format=v4");
	return 0;
}

/* What an older kernel can read: boot with kho_format=v4. */

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

static struct kunit_case kho_memdesc_cases[] = {
	KUNIT_CASE(wire_types),
	KUNIT_CASE(wire_key),
	KUNIT_CASE(wire_golden_keys),
	KUNIT_CASE(wire_vmalloc),
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
	KUNIT_CASE(failed_calls_leak_nothing),
	KUNIT_CASE(undone_calls_leak_nothing),
	KUNIT_CASE_SLOW(memory_offline),
	KUNIT_CASE(memory_added),
	KUNIT_CASE(memory_removed),
	KUNIT_CASE(preserve_concurrently),
	KUNIT_CASE(batch_folios),
	KUNIT_CASE(batch_page_descs),
	KUNIT_CASE(batch_with_errors),
	KUNIT_CASE(batch_restore),
	KUNIT_CASE(batch_concurrently),
	KUNIT_CASE(restore_own_memory),
	KUNIT_CASE(restore_bad_address),
	{}
};

static struct kunit_suite kho_memdesc_suite = {
	.name = "kho_memdesc",
	.init = kho_memdesc_init,
	.test_cases = kho_memdesc_cases,
};

kunit_test_suites(&kho_memdesc_suite, &kho_memdesc_v4_suite);
