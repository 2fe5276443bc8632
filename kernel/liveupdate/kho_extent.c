// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which pages do the entries of an incoming map take?
 *
 * The map cannot say that of a page directly: type and order are a part of the
 * key. But the map has few combinations of a type and an order. So these functions
 * look for the page under each combination that occurs. This takes time, some 40
 * instructions for a combination and a block of pages, but no memory: a bitmap of
 * the pages would take 4 KiB for each 128 MiB in which anything is preserved.
 */

#include <linux/bitmap.h>
#include <linux/kho_radix_tree.h>
#include <linux/mm.h>

#include "kexec_handover_internal.h"

/* The types that occur, or have occurred: a bit for each of them. */
static u64 kho_extent_types __initdata;

/**
 * kho_extent_add_type - look for memory of a type from now on
 * @type: the type
 *
 * Context: Early boot, before the struct pages are initialised.
 */
void __init kho_extent_add_type(unsigned int type)
{
	kho_extent_types |= BIT_ULL(type);
}

/**
 * kho_part_find - find the keys of memory that is a part of a window
 * @part: set to the keys that overlap the range
 * @map: the root of the map
 * @order: order of the keys
 * @type: type of the keys
 * @pfn: page frame number of the first page
 * @end: page frame number behind the last page, in the same window
 *
 * Context: Boot. Can run in parallel to itself.
 * Return: whether there is a leaf for them.
 */
bool __init kho_part_find(struct kho_part *part, struct kho_radix_node *map,
			  unsigned int order, unsigned int type,
			  unsigned long pfn, unsigned long end)
{
	part->pfn = ALIGN_DOWN(pfn, BIT(order));
	part->key = kho_encode_key(PFN_PHYS(part->pfn), order, type);
	part->leaf = kho_radix_find(map, part->key);
	part->first = part->key % KHO_LEAF_BITS;
	part->end = part->first + ((end - 1 - part->pfn) >> order) + 1;
	return part->leaf;
}

static unsigned long __init kho_extent_next_in_window(struct kho_radix_node *map,
						      const u64 *orders,
						      unsigned long pfn,
						      unsigned long end)
{
	for (u64 types = kho_extent_types; types; types &= types - 1) {
		const unsigned int type = __ffs64(types);

		for (u64 left = orders[type]; left; left &= left - 1) {
			const unsigned int order = __ffs64(left);
			struct kho_part part;
			unsigned long bit;

			if (!kho_part_find(&part, map, order, type, pfn, end))
				continue;
			bit = find_next_bit(part.leaf->bitmap, part.end,
					    part.first);
			if (bit == part.end)
				continue;
			part.pfn += (bit - part.first) << order;
			if (part.pfn <= pfn)
				return pfn;
			end = part.pfn;
		}
	}
	return end;
}

/**
 * kho_extent_next - find the first page that an entry takes
 * @map: the root of the map
 * @orders: for each type a bit for each order to look for
 * @pfn: page frame number of the first page
 * @end: page frame number behind the last page
 *
 * Context: Boot. Can run in parallel to itself.
 * Return: the page frame number, or @end.
 */
unsigned long __init kho_extent_next(struct kho_radix_node *map,
				     const u64 *orders, unsigned long pfn,
				     unsigned long end)
{
	for (unsigned long stop, next; pfn < end; pfn = stop) {
		stop = min(end, ALIGN(pfn + 1, KHO_LEAF_BITS));
		next = kho_extent_next_in_window(map, orders, pfn, stop);
		if (next < stop)
			return next;
	}
	return end;
}

/* Set the bits of the pages of a block that are taken by the keys in @part. */
static void __init kho_part_mark(const struct kho_part *part, unsigned int order,
				 unsigned long *block)
{
	unsigned long bit = part->first;

	if (order >= MAX_PAGE_ORDER) {
		if (test_bit(bit, part->leaf->bitmap))
			bitmap_fill(block, MAX_ORDER_NR_PAGES);
		return;
	}
	if (!order) {
		const unsigned long *from = part->leaf->bitmap + BIT_WORD(bit);

		for (unsigned long i = 0; i < BITS_TO_LONGS(MAX_ORDER_NR_PAGES); i++)
			block[i] |= from[i];
		return;
	}
	for_each_set_bit_from(bit, part->leaf->bitmap, part->end)
		bitmap_set(block, (bit - part->first) << order, BIT(order));
}

/**
 * kho_extent_mark - set the bits of the pages that entries take
 * @map: the root of the map
 * @orders: for each type a bit for each order to look for
 * @pfn: page frame number of the first page of a block of MAX_ORDER_NR_PAGES
 * @block: a bitmap with a bit for each page of the block
 *
 * Context: Boot. Can run in parallel to itself.
 */
void __init kho_extent_mark(struct kho_radix_node *map, const u64 *orders,
			    unsigned long pfn, unsigned long *block)
{
	struct kho_part part;

	for (u64 types = kho_extent_types; types; types &= types - 1) {
		const unsigned int type = __ffs64(types);

		for (u64 left = orders[type]; left; left &= left - 1) {
			const unsigned int order = __ffs64(left);

			if (kho_part_find(&part, map, order, type, pfn,
					  pfn + MAX_ORDER_NR_PAGES))
				kho_part_mark(&part, order, block);
		}
	}
}

/**
 * kho_extent_orders - find out which types and orders a map has
 * @map: the root of the map
 * @orders: for each type set to a bit for each order
 *
 * Context: Boot. Each leaf has keys of one type and order.
 */
void __init kho_extent_orders(struct kho_radix_node *map, u64 *orders)
{
	struct kho_radix_leaf *leaf;
	unsigned int order, type;
	unsigned long key, bit;

	memset(orders, 0, sizeof(*orders) * BIT(KHO_MEMDESC_BITS));
	for (key = 0; (leaf = kho_radix_next_leaf(map, &key));
	     key += KHO_LEAF_BITS) {
		bit = find_first_bit(leaf->bitmap, KHO_LEAF_BITS);
		if (bit == KHO_LEAF_BITS)
			continue;
		kho_decode_key(key | bit, &order, &type);
		orders[type] |= BIT_ULL(order);
		kho_extent_add_type(type);
	}
}
