/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the KUnit tests of the typed kexec handover share: memory of every kind,
 * and access to the map of preserved pages. Each of these files tests one job,
 * and has a suite of its own:
 *
 *   kho_memdesc_wire_kunit.c		the wire format
 *   kho_memdesc_preserve_kunit.c	preserving and unpreserving
 *   kho_memdesc_refuse_kunit.c		what cannot be preserved
 *   kho_memdesc_hotplug_kunit.c	memory that comes and goes
 *   kho_memdesc_batch_kunit.c		several preservations at once
 *   kho_memdesc_nowait_kunit.c		preserving under a spinlock
 *   kho_memdesc_race_kunit.c		two tasks at once
 *   kho_memdesc_restore_kunit.c	restoring what nobody has handed over
 *   kho_memdesc_v4_kunit.c		what an older kernel can read
 *   kho_memdesc_gigantic_kunit.c	folios beyond the page allocator's orders
 *   kho_memdesc_hugetlb_kunit.c		folios of hugetlb
 *
 * They test the handover as far as one kernel can, with every error that can be
 * provoked. lib/kho_test/ tests what comes after the kexec.
 */
#ifndef _KHO_MEMDESC_KUNIT_H
#define _KHO_MEMDESC_KUNIT_H

#include <kunit/resource.h>
#include <kunit/test.h>

#include <linux/gfp.h>
#include <linux/kexec_handover.h>
#include <linux/kfence.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/kho_memdesc.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "../../kernel/liveupdate/kexec_handover_internal.h"
#include "../../kernel/liveupdate/kho_map.h"

/* Every allocation of a test is freed after it, whatever failed in it. */

struct block {
	struct page *page;
	unsigned int order;
};

static inline void free_block(void *data)
{
	struct block *block = data;

	__free_pages(block->page, block->order);
}

static inline struct page *get_block(struct kunit *test, gfp_t gfp,
				     unsigned int order)
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

static inline void free_folio(void *data)
{
	folio_put(data);
}

static inline struct folio *get_folio(struct kunit *test, unsigned int order)
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

static inline void free_exact(void *data)
{
	struct exact *exact = data;

	free_pages_exact(exact->virt, exact->size);
}

static inline void *get_exact(struct kunit *test, size_t size)
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

static inline void free_kvmalloc(void *data)
{
	kvfree(data);
}

static inline void *get_vmalloc(struct kunit *test, size_t size)
{
	void *mem = vmalloc(size);

	KUNIT_ASSERT_NOT_NULL(test, mem);
	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, free_kvmalloc, mem), 0);
	return mem;
}

static inline void *get_kmalloc(struct kunit *test, size_t size)
{
	void *mem;

	/* A guarded object lies in memory of another kind. */
	do {
		mem = kunit_kzalloc(test, size, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, mem);
	} while (is_kfence_address(mem));
	return mem;
}

/* For calls that take several folios at once. */

#define BATCH		600

/* Nothing of it is preserved: each can be, by itself. */
static inline void expect_unpreserved(struct kunit *test, struct folio **folios,
				      unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		KUNIT_EXPECT_EQ_MSG(test, kho_folio_preserve(folios[i]), 0,
				    "folio %u", i);
		kho_folio_unpreserve(folios[i]);
	}
}

static inline struct folio **get_folios(struct kunit *test, unsigned int nr)
{
	struct folio **folios;

	folios = kunit_kcalloc(test, nr, sizeof(*folios), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, folios);
	/* Large ones in between. */
	for (unsigned int i = 0; i < nr; i++)
		folios[i] = get_folio(test, i % 50 == 7 ? i / 50 % 4 : 0);
	return folios;
}

/* The map of preserved pages. */

/* Is that in the map, as written for the next kernel? */
static inline bool in_map(struct page *page, unsigned int order,
			  enum kho_memdesc type)
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
static inline unsigned int times_in_map(struct page *page)
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

static inline int map_add(unsigned long pfn, unsigned int order)
{
	int err;

	kho_map_lock();
	err = kho_map_add(pfn, order, KHO_MEMDESC_METADATA);
	kho_map_unlock();
	return err;
}

static inline void map_del(unsigned long pfn, unsigned int order)
{
	kho_map_lock();
	kho_map_del(pfn, order, KHO_MEMDESC_METADATA);
	kho_map_unlock();
}

static inline bool map_has(unsigned long pfn)
{
	bool has;

	kho_map_lock();
	has = kho_is_preserved(pfn);
	kho_map_unlock();
	return has;
}

/* For every suite but kho_memdesc_v4, which needs another boot. */
static inline int kho_memdesc_init(struct kunit *test)
{
	if (!kho_is_enabled())
		kunit_skip(test, "kexec handover is off, boot with kho=on");
	if (kho_write_v4)
		kunit_skip(test, "boot without kho_format=v4");
	return 0;
}

#endif /* _KHO_MEMDESC_KUNIT_H */
