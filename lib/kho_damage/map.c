// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damage what this kernel hands over by kexec: the map, by wrong keys, nodes
 * and leaves.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/io.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/kho_radix_tree.h>
#include <linux/math.h>
#include <linux/mmzone.h>
#include <linux/notifier.h>
#include <linux/printk.h>
#include <linux/random.h>
#include <linux/reboot.h>
#include <linux/unaligned.h>

#include "../../kernel/liveupdate/kexec_handover_internal.h"
#include "khd.h"

/* The outgoing map, by an object of the test's own: kho_out's is in use. */
struct kho_radix_tree khd_map;

/*
 * The test takes slots of the map's root from the end. No key of a known type
 * leads to them.
 */
static unsigned int khd_next_slot = BIT(KHO_TABLE_SIZE_LOG2);

/*
 * Links to what is no node, or not a node of its own, or nodes of the test. They are
 * made after the kexec has begun: kho_check_room() walks the map before that, and
 * empty nodes are freed.
 */
static struct {
	u64 *slot;
	u64 phys;
} khd_links[16];
static unsigned int khd_nr_links;

static int khd_make_links(struct notifier_block *nb, unsigned long action,
			  void *data)
{
	for (unsigned int i = 0; i < khd_nr_links; i++)
		*khd_links[i].slot = khd_links[i].phys;
	return NOTIFY_DONE;
}

static struct notifier_block khd_reboot_nb = { .notifier_call = khd_make_links };

static int khd_link_later(u64 *slot, u64 phys)
{
	if (khd_nr_links == ARRAY_SIZE(khd_links))
		return -ENOSPC;
	if (!khd_nr_links)
		register_reboot_notifier(&khd_reboot_nb);
	khd_links[khd_nr_links].slot = slot;
	khd_links[khd_nr_links++].phys = phys;
	return 0;
}

int khd_init_map(void)
{
	/* Damage can change the address in the FDT. The root stays in place. */
	if (khd_map.root)
		return 0;
	return kho_radix_init_tree(&khd_map,
				   phys_to_virt(get_unaligned(khd_root_prop())));
}

static u64 *khd_new_slot(void)
{
	return &khd_map.root->table[--khd_next_slot];
}

static u64 *khd_new_node(u64 *slot)
{
	*slot = khd_new_pages(0);
	return *slot ? phys_to_virt(*slot) : NULL;
}

/* A leaf that a slot of the root leads to, and the first key in it. */
static void *khd_new_leaf(unsigned long *key)
{
	u64 top, *node = khd_new_node(&top);

	for (unsigned int level = KHO_TREE_MAX_DEPTH - 2; node && level;
	     level--)
		node = khd_new_node(&node[0]);
	if (!node || khd_link_later(khd_new_slot(), top))
		return NULL;
	*key = (unsigned long)khd_next_slot <<
	       ((KHO_TREE_MAX_DEPTH - 2) * KHO_TABLE_SIZE_LOG2 +
		KHO_BITMAP_SIZE_LOG2);
	return node;
}

int khd_add_pages(phys_addr_t phys, unsigned int order, unsigned int type)
{
	return kho_radix_add_key(&khd_map, kho_encode_key(phys, order, type));
}

static int khd_bad_key(unsigned long key)
{
	khd_expect("key", key);
	return kho_radix_add_key(&khd_map, key);
}

int khd_bad_pages(phys_addr_t phys, unsigned int order, unsigned int type)
{
	if (!phys)
		return -ENOENT;
	return khd_bad_key(kho_encode_key(phys, order, type));
}

int khd_hold_pages(phys_addr_t phys, unsigned int order, unsigned int type)
{
	if (!phys)
		return -ENOMEM;
	pr_info("held %lu\n", 1UL << order);
	return khd_add_pages(phys, order, type);
}

/* A key that means nothing. */
int khd_key(u64 key)
{
	return khd_bad_key(key);
}

int khd_key_too_wide(u64 bit)
{
	unsigned long key;
	void *leaf = khd_new_leaf(&key);

	if (!leaf)
		return -ENOMEM;
	__set_bit(bit, leaf);
	return khd_expect("key", key | bit);
}

/* An order that memory of the type cannot have, at address 0. */
int khd_order(u64 arg)
{
	return khd_bad_key(kho_encode_key(0, arg >> 32, (u32)arg));
}

/* Pages that somebody else owns, or that are not memory. */
int khd_pages(u64 arg)
{
	return khd_bad_pages(khd_place(arg >> 32), 0, (u32)arg);
}

/*
 * Split pages around @phys, as large as no other preservation or reservation
 * allows them. They are left out, and whatever else lies there stays as it is.
 */
static int khd_pages_around(phys_addr_t phys, unsigned int shift)
{
	return khd_bad_key(kho_encode_key(round_down(phys, BIT_ULL(shift)),
					  shift - PAGE_SHIFT,
					  KHO_MEMDESC_SPLIT));
}

int khd_scratch_part(u64 shift)
{
	return khd_pages_around(kho_scratch->addr, shift);
}

/* Over many blocks, and over more than a leaf has bits for. */
int khd_huge(u64 shift)
{
	phys_addr_t phys = khd_new_pages(0);

	return khd_hold_pages(phys, 0, KHO_MEMDESC_FOLIO) ?:
	       khd_pages_around(phys, shift);
}

struct khd_pages {
	u16 page;	/* distance to the first page */
	u8 order;
	u8 type;
};

/* What is believed, and what is left out because it overlaps with that. */
static const struct {
	unsigned int order;	/* of the block in which both lie */
	struct khd_pages held;
	struct khd_pages bad;
} khd_overlaps[] = {
	/* A type that is understood is believed, even if it comes later. */
	[KHD_UNKNOWN_KNOWN] = { 9,
		{ 0, 0, KHO_MEMDESC_FOLIO }, { 0, 9, KHO_NR_MEMDESC } },
	[KHD_ORDER_KNOWN] = { MAX_PAGE_ORDER + 1,
		{ 1, 0, KHO_MEMDESC_IOPTDESC },
		{ 0, MAX_PAGE_ORDER + 1, KHO_MEMDESC_BLOCK } },
	[KHD_TWICE_ORDER] = { 2,
		{ 0, 2, KHO_MEMDESC_FOLIO }, { 1, 0, KHO_MEMDESC_FOLIO } },
	[KHD_TWICE_TYPE] = { 0,
		{ 0, 0, KHO_MEMDESC_FOLIO }, { 0, 0, KHO_MEMDESC_IOPTDESC } },
	/* What lies only in the larger one is free, and only once. */
	[KHD_TWICE_LARGER] = { MAX_PAGE_ORDER,
		{ 512, 9, KHO_MEMDESC_FOLIO },
		{ 0, MAX_PAGE_ORDER, KHO_MEMDESC_BLOCK } },
};

int khd_overlap(u64 i)
{
	const struct khd_pages *held = &khd_overlaps[i].held;
	const struct khd_pages *bad = &khd_overlaps[i].bad;
	phys_addr_t phys = khd_new_pages(khd_overlaps[i].order);

	if (!phys)
		return -ENOMEM;
	return khd_hold_pages(phys + held->page * PAGE_SIZE, held->order,
			      held->type) ?:
	       khd_bad_pages(phys + bad->page * PAGE_SIZE, bad->order,
			     bad->type);
}

static int khd_bad_node(u64 *slot, u64 phys)
{
	if (!phys)
		return -ENOMEM;
	return khd_link_later(slot, phys) ?: khd_expect("node", phys);
}

/* An address that is no node. */
int khd_node(u64 place)
{
	return khd_bad_node(khd_new_slot(), khd_place(place));
}

int khd_node_cycle(u64 slot)
{
	u64 phys, *node = khd_new_node(&phys);

	if (!node)
		return -ENOMEM;
	node[slot] = phys;
	return khd_link_later(khd_new_slot(), phys) ?: khd_expect("node", phys);
}

int khd_node_deep_cycle(u64 slot)
{
	unsigned long key;
	void *leaf = khd_new_leaf(&key);
	u64 *node;

	if (!leaf)
		return -ENOMEM;
	node = phys_to_virt(khd_links[khd_nr_links - 1].phys);
	node[slot] = virt_to_phys(leaf);
	return khd_expect("node", node[slot]);
}

int khd_node_twice(u64 slot)
{
	while (!khd_map.root->table[slot])
		slot++;
	return khd_bad_node(khd_new_slot(), khd_map.root->table[slot]);
}

int khd_node_garbage(u64 arg)
{
	const unsigned int nr = PAGE_SIZE / sizeof(u64);
	u64 phys, *node = khd_new_node(&phys);

	if (!node)
		return -ENOMEM;
	get_random_bytes(node, PAGE_SIZE);
	/* None of these is the address of a page. */
	for (unsigned int i = 0; i < nr; i++)
		node[i] |= 1;
	pr_info("expect flood %u\n", nr);
	return khd_link_later(khd_new_slot(), phys);
}

int khd_leaf_garbage(u64 arg)
{
	unsigned long key;
	void *leaf = khd_new_leaf(&key);

	if (!leaf)
		return -ENOMEM;
	get_random_bytes(leaf, PAGE_SIZE);
	pr_info("expect flood %u\n",
		bitmap_weight(leaf, PAGE_SIZE * BITS_PER_BYTE));
	return 0;
}
