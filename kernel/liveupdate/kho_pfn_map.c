// SPDX-License-Identifier: GPL-2.0-only
/*
 * Changes of a table of pointers by page frame number: see kho_pfn_map.h.
 */

#include <linux/math.h>
#include <linux/memblock.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "kho_pfn_map.h"

/*
 * Return the node that *@link points to. If there is none, make one and count it
 * as a used slot of @parent, unless that is NULL. Return NULL without memory.
 */
static struct kho_pfn_node *kho_pfn_map_node(struct kho_pfn_node **link,
					     struct kho_pfn_node *parent)
{
	struct kho_pfn_node *node = *link;

	if (node)
		return node;
	node = kzalloc_obj(*node);
	if (!node)
		return NULL;
	/*
	 * Pairs with READ_ONCE() in kho_pfn_map_find(), which must not see the
	 * node before its slots are NULL.
	 */
	smp_store_release(link, node);
	if (parent)
		parent->used++;
	return node;
}

/**
 * kho_pfn_map_set - Enter a pointer for a page that has none
 * @map: The table.
 * @pfn: Page frame number.
 * @ptr: The pointer, not NULL.
 *
 * Context: Process context, may sleep. Allocates with %GFP_KERNEL, which the
 *	caller can restrict by memalloc_nofs_save(). The caller holds a lock
 *	against other changes of @map.
 * Return: 0, %-EEXIST if the page has a pointer, %-EINVAL if there is no such
 *	page, or %-ENOMEM.
 */
int kho_pfn_map_set(struct kho_pfn_map *map, unsigned long pfn, void *ptr)
{
	const unsigned long i = pfn / KHO_PFN_SLOTS;
	struct kho_pfn_node *parent, *node;
	unsigned long nr;

	if (!map->nr) {
		/* Pages of memory that is added later cannot be handed over. */
		nr = DIV_ROUND_UP(max_pfn, KHO_PFN_SLOTS * KHO_PFN_SLOTS);
		map->top = kvcalloc(nr, sizeof(*map->top), GFP_KERNEL);
		if (!map->top)
			return -ENOMEM;
		/* Pairs with smp_load_acquire() in kho_pfn_map_find(). */
		smp_store_release(&map->nr, nr);
	}
	if (i / KHO_PFN_SLOTS >= map->nr)
		return -EINVAL;

	parent = kho_pfn_map_node(&map->top[i / KHO_PFN_SLOTS], NULL);
	if (!parent)
		return -ENOMEM;
	node = kho_pfn_map_node((void *)&parent->slot[i % KHO_PFN_SLOTS],
				parent);
	if (!node) {
		/* Do not leave a node behind that was made for this page. */
		if (!parent->used) {
			WRITE_ONCE(map->top[i / KHO_PFN_SLOTS], NULL);
			kfree_rcu(parent, rcu);
		}
		return -ENOMEM;
	}

	if (node->slot[pfn % KHO_PFN_SLOTS])
		return -EEXIST;
	node->used++;
	/*
	 * Pairs with READ_ONCE() in kho_pfn_map_find(): whoever finds the pointer
	 * sees what it points to.
	 */
	smp_store_release(&node->slot[pfn % KHO_PFN_SLOTS], ptr);
	return 0;
}

/**
 * kho_pfn_map_erase - Remove the pointer of a page
 * @map: The table.
 * @pfn: Page frame number of a page that has a pointer.
 *
 * Nodes that become empty are freed after a grace period of RCU. The caller must
 * do the same with the memory that the pointer points to, if look-ups are done
 * under RCU.
 *
 * Context: Any in which the caller can hold its lock against other changes.
 */
void kho_pfn_map_erase(struct kho_pfn_map *map, unsigned long pfn)
{
	const unsigned long i = pfn / KHO_PFN_SLOTS;
	struct kho_pfn_node *parent = map->top[i / KHO_PFN_SLOTS];
	struct kho_pfn_node *node = parent->slot[i % KHO_PFN_SLOTS];

	WRITE_ONCE(node->slot[pfn % KHO_PFN_SLOTS], NULL);
	if (--node->used)
		return;
	WRITE_ONCE(parent->slot[i % KHO_PFN_SLOTS], NULL);
	kfree_rcu(node, rcu);
	if (--parent->used)
		return;
	WRITE_ONCE(map->top[i / KHO_PFN_SLOTS], NULL);
	kfree_rcu(parent, rcu);
}
