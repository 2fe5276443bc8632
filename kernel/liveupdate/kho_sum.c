// SPDX-License-Identifier: GPL-2.0-only
/*
 * How much is preserved, by type, for the log and for debugfs.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/bitmap.h>
#include <linux/kexec_handover.h>
#include <linux/kho_radix_tree.h>
#include <linux/printk.h>
#include <linux/string_helpers.h>

#include "kexec_handover_internal.h"

/**
 * kho_sum_map - add up a map by type
 * @map: the root of the map
 * @sums: one for each type that this kernel knows, set
 *
 * An incoming map can have other types, if there was no memory to record them as
 * kept. They are not added up.
 *
 * The time depends on how far apart the preservations lie, not on how many they
 * are: all keys of a leaf have the same type and order.
 *
 * Context: Any, while no nodes of the map are freed. What others preserve
 *	meanwhile may be missing from the sums.
 */
void kho_sum_map(struct kho_radix_node *map, struct kho_sum *sums)
{
	struct kho_radix_leaf *leaf;
	unsigned long key;

	memset(sums, 0, sizeof(*sums) * KHO_NR_MEMDESC);
	for (key = 0; (leaf = kho_radix_next_leaf(map, &key));
	     key += KHO_LEAF_BITS) {
		unsigned long nr = bitmap_weight(leaf->bitmap, KHO_LEAF_BITS);
		unsigned int order, type;

		if (!nr)
			continue;
		kho_decode_key(key | find_first_bit(leaf->bitmap, KHO_LEAF_BITS),
			       &order, &type);
		if (type >= KHO_NR_MEMDESC)
			continue;
		sums[type].pieces += nr;
		sums[type].pages += nr << order;
	}
}

/**
 * kho_sum_log - say in one line how much is in a map
 * @map: the root of the map
 * @what: a verb that says what happens to the memory
 *
 * Context: As kho_sum_map().
 */
void kho_sum_log(struct kho_radix_node *map, const char *what)
{
	struct kho_sum sums[KHO_NR_MEMDESC], all = {};
	unsigned int types = 0;
	char size[16];

	kho_sum_map(map, sums);
	for (int i = 0; i < ARRAY_SIZE(sums); i++) {
		all.pieces += sums[i].pieces;
		all.pages += sums[i].pages;
		types += !!sums[i].pieces;
	}
	string_get_size(all.pages, PAGE_SIZE, STRING_UNITS_2, size, sizeof(size));
	pr_info("%s %lu preservations of %u types, %s\n", what, all.pieces,
		types, size);
}

/**
 * kho_log_departure - say in one line what is handed over
 *
 * Context: Process context, directly before a kexec.
 */
void kho_log_departure(void)
{
	if (!kho_out.radix_tree.root)
		return;

	kho_map_lock();
	kho_sum_log(kho_out.radix_tree.root, "handing over");
	kho_map_unlock();
}
