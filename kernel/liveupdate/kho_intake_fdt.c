// SPDX-License-Identifier: GPL-2.0-only
/*
 * Checking the handover FDT of the previous kernel, and its subtrees, early in
 * the boot.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/err.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho_radix_tree.h>
#include <linux/libfdt.h>
#include <linux/printk.h>
#include <linux/string.h>

#include "kexec_handover_internal.h"

/**
 * kho_intake_has_page - is a page from kho_alloc_preserve() preserved
 * @tree: the map
 * @phys: physical address of the page
 *
 * Context: Early boot, when the entries of the map are checked.
 * Return: whether it is.
 */
bool __init kho_intake_has_page(struct kho_radix_tree *tree, phys_addr_t phys)
{
	/* Untyped in "kho-v4", and in a "kho-v5" that records no types yet. */
	static const enum kho_memdesc types[] __initconst = {
		KHO_MEMDESC_FOLIO, KHO_MEMDESC_UNTYPED,
	};

	for (int i = 0; i < ARRAY_SIZE(types); i++) {
		const unsigned long key = kho_encode_key(phys, 0, types[i]);
		struct kho_radix_leaf *leaf = kho_radix_leaf(tree, key, false);

		if (!IS_ERR_OR_NULL(leaf) &&
		    test_bit(key % KHO_LEAF_BITS, leaf->bitmap))
			return true;
	}
	return false;
}

/**
 * kho_intake_fdt_ok - can the FDT be walked to its end
 * @fdt: the handover FDT
 *
 * fdt_nop_property() relies on that later.
 *
 * Context: Early boot.
 * Return: whether it can.
 */
bool __init kho_intake_fdt_ok(const void *fdt)
{
	int node = 0, depth = 0;

	while (node >= 0 && depth >= 0)
		node = fdt_next_node(fdt, node, &depth);
	if (node < 0)
		pr_err("handover FDT: damaged: %d\n", node);
	return node >= 0;
}

/* Returns the end of the preservation around @phys, or 0 if there is none. */
static phys_addr_t __init kho_intake_preserved_end(struct kho_radix_tree *tree,
						   phys_addr_t phys)
{
	for (unsigned int type = 0; type < KHO_NR_MEMDESC; type++) {
		for (unsigned int order = 0; order <= kho_max_order(type); order++) {
			phys_addr_t start = round_down(phys, PAGE_SIZE << order);
			unsigned long key = kho_encode_key(start, order, type);
			struct kho_radix_leaf *leaf;

			leaf = kho_radix_leaf(tree, key, false);
			if (!IS_ERR_OR_NULL(leaf) &&
			    test_bit(key % KHO_LEAF_BITS, leaf->bitmap))
				return start + (PAGE_SIZE << order);
		}
	}
	return 0;
}

static bool __init kho_intake_subtree_ok(struct kho_radix_tree *tree,
					 const void *fdt, int node, u64 *phys)
{
	phys_addr_t cur, end;
	const void *prop;
	u64 size;
	int len;

	/* Properties may lie at any address. */
	prop = fdt_getprop(fdt, node, KHO_SUB_TREE_PROP_NAME, &len);
	if (!prop)
		return true;	/* kho_retrieve_subtree() refuses it */
	if (len != sizeof(*phys))
		return false;
	memcpy(phys, prop, sizeof(*phys));
	prop = fdt_getprop(fdt, node, KHO_SUB_TREE_SIZE_PROP_NAME, &len);
	if (!prop || len != sizeof(size))
		return false;
	memcpy(&size, prop, sizeof(size));
	if (check_add_overflow(*phys, size, &end))
		return false;

	cur = *phys;
	do {
		cur = kho_intake_preserved_end(tree, cur);
	} while (cur && cur < end);
	return cur;
}

/**
 * kho_intake_check_subtrees - check that the subtrees are in preserved memory
 * @tree: the preserved memory map, which kho_intake_check_keys() has passed
 * @fdt: the FDT; subtrees not entirely in preserved memory lose their address
 *
 * The node of such a subtree stays in the FDT. Without the node the owner of
 * the subtree would take this for a boot without a handover.
 *
 * Context: Early boot, before kho_retrieve_subtree() is used.
 */
void __init kho_intake_check_subtrees(struct kho_radix_tree *tree, void *fdt)
{
	int node;

	fdt_for_each_subnode(node, fdt, 0) {
		u64 phys = 0;

		/* A damaged node may have the property more than once. */
		while (!kho_intake_subtree_ok(tree, fdt, node, &phys)) {
			pr_err_ratelimited("handover FDT: left out subtree %#llx: '%s' is not in preserved memory\n",
					   phys, fdt_get_name(fdt, node, NULL));
			/* Cannot fail: the property was found just now. */
			if (WARN_ON_ONCE(fdt_nop_property(fdt, node,
							  KHO_SUB_TREE_PROP_NAME)))
				return;
		}
	}
}
