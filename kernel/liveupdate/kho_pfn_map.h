/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef LINUX_KHO_PFN_MAP_H
#define LINUX_KHO_PFN_MAP_H

#include <linux/compiler.h>
#include <linux/types.h>

#include <asm/barrier.h>

/*
 * A table of pointers by page frame number.
 *
 * An xarray does the same, but takes too long. Preserving and restoring objects
 * looks a slab up for nearly every object, if these come in random order. With
 * 16 GiB of memory xa_load() takes about 150 instructions for this. All that is
 * needed besides to restore an object is about 120. This table always has three
 * levels, so looking up is three loads and their checks: 20 instructions.
 *
 * Look-ups take no lock. The caller holds rcu_read_lock() or the lock under which
 * the table is changed. Whoever changes the table needs a lock.
 */
#define KHO_PFN_SLOTS	256

struct kho_pfn_node {
	struct rcu_head rcu;
	unsigned int used;		/* slots that are not NULL */
	void *slot[KHO_PFN_SLOTS];	/* nodes, or pointers on the last level */
};

/* A table that is all 0 is empty. */
struct kho_pfn_map {
	unsigned long nr;		/* entries of @top */
	struct kho_pfn_node **top;	/* is allocated once, and then stays */
};

/**
 * kho_pfn_map_find - Look up the pointer of a page
 * @map: The table.
 * @pfn: Page frame number, any.
 *
 * Context: Any, under RCU or the lock of those who change @map.
 * Return: The pointer, or NULL if there is none.
 */
static __always_inline void *kho_pfn_map_find(const struct kho_pfn_map *map,
					      unsigned long pfn)
{
	const unsigned long i = pfn / KHO_PFN_SLOTS;
	const struct kho_pfn_node *node;

	/* Pairs with smp_store_release() in kho_pfn_map_set(): @top is set. */
	if (unlikely(i / KHO_PFN_SLOTS >= smp_load_acquire(&map->nr)))
		return NULL;
	node = READ_ONCE(map->top[i / KHO_PFN_SLOTS]);
	if (unlikely(!node))
		return NULL;
	node = READ_ONCE(node->slot[i % KHO_PFN_SLOTS]);
	if (unlikely(!node))
		return NULL;
	return READ_ONCE(node->slot[pfn % KHO_PFN_SLOTS]);
}

int kho_pfn_map_set(struct kho_pfn_map *map, unsigned long pfn, void *ptr);
void kho_pfn_map_erase(struct kho_pfn_map *map, unsigned long pfn);

#endif /* LINUX_KHO_PFN_MAP_H */
