// SPDX-License-Identifier: GPL-2.0-only
/*
 * The radix tree that the preserved memory map consists of. The nodes and leaves
 * are handed over as they are, so what they look like is part of the format:
 * include/linux/kho/abi/kexec_handover.h.
 *
 * Copyright (C) 2026 Google LLC, Jason Miu <jasonmiu@google.com>
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/cleanup.h>
#include <linux/export.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho_radix_tree.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "kexec_handover_internal.h"

static unsigned long kho_radix_get_bitmap_index(unsigned long key)
{
	return key % (1 << KHO_BITMAP_SIZE_LOG2);
}

static unsigned long kho_radix_get_table_index(unsigned long key,
					       unsigned int level)
{
	int s;

	s = ((level - 1) * KHO_TABLE_SIZE_LOG2) + KHO_BITMAP_SIZE_LOG2;
	return (key >> s) % (1 << KHO_TABLE_SIZE_LOG2);
}

/* How many keys the memory below one node of @level can hold. */
static unsigned long kho_radix_node_keys(unsigned int level)
{
	return BIT(level * KHO_TABLE_SIZE_LOG2 + KHO_BITMAP_SIZE_LOG2);
}

static void __ref *kho_radix_alloc_node(void)
{
	struct folio *folio;

	if (!slab_is_available())
		return memblock_alloc(PAGE_SIZE, PAGE_SIZE);

	/* Not hot-added memory: the next kernel would not find the node. */
	folio = kho_alloc_folio(0);
	return folio ? folio_address(folio) : NULL;
}

static void __ref kho_radix_free_node(struct kho_radix_node *node)
{
	if (slab_is_available())
		free_page((unsigned long)node);
	else
		memblock_free(node, PAGE_SIZE);
}

/**
 * kho_radix_find - Find the leaf that would hold a key, without locks
 * @root: The root of the tree.
 * @key: The key, not wider than %KHO_RADIX_KEY_WIDTH.
 *
 * This function writes nothing, not even which leaf was found last. Therefore
 * it can run in parallel to itself and to kho_radix_leaf().
 *
 * Context: Any, while no nodes are freed.
 * Return: The leaf, or %NULL.
 */
struct kho_radix_leaf *kho_radix_find(struct kho_radix_node *root,
				      unsigned long key)
{
	struct kho_radix_node *node = root;

	for (unsigned int i = KHO_TREE_MAX_DEPTH - 1; i > 0; i--) {
		const unsigned long idx = kho_radix_get_table_index(key, i);
		/* Pairs with smp_store_release() in kho_radix_leaf(). */
		const u64 phys = READ_ONCE(node->table[idx]);

		if (!phys)
			return NULL;
		node = phys_to_virt(phys);
	}
	return (struct kho_radix_leaf *)node;
}

/**
 * kho_radix_next_leaf - Find the first leaf at or behind a key, without locks
 * @root: The root of the tree.
 * @key: Where to begin. Set to the first key that the leaf can hold.
 *
 * Like kho_radix_find(), writes nothing.
 *
 * Context: Any, while no nodes are freed.
 * Return: The leaf, or %NULL if there is none.
 */
struct kho_radix_leaf *kho_radix_next_leaf(struct kho_radix_node *root,
					   unsigned long *key)
{
	unsigned long at = round_down(*key, KHO_LEAF_BITS);

	while (at < BIT(KHO_RADIX_KEY_WIDTH)) {
		struct kho_radix_node *node = root;
		unsigned int i;

		for (i = KHO_TREE_MAX_DEPTH - 1; i > 0; i--) {
			const unsigned long idx = kho_radix_get_table_index(at, i);
			/* Pairs with smp_store_release() in kho_radix_leaf(). */
			const u64 phys = READ_ONCE(node->table[idx]);

			if (!phys)
				break;
			node = phys_to_virt(phys);
		}
		if (!i) {
			*key = at;
			return (struct kho_radix_leaf *)node;
		}
		/* Go on behind all that the missing node would hold. */
		at = round_down(at, kho_radix_node_keys(i - 1)) +
		     kho_radix_node_keys(i - 1);
	}
	return NULL;
}

/**
 * kho_radix_leaf - Find the leaf of a radix tree which holds a key
 * @tree: The KHO radix tree.
 * @key: The key.
 * @create: Whether to add the nodes that are missing on the way.
 *
 * Neighbouring keys share a leaf, and keys are mostly added and removed in
 * runs. Therefore the tree remembers the leaf that was found last. A leaf stays
 * valid until kho_radix_trim() or kho_radix_destroy_tree().
 *
 * Context: If the tree is shared, the caller must hold a lock that keeps out
 *	all other callers for @tree: @tree->lock or another one. May sleep if
 *	@create is true.
 * Return: The leaf. If there is none, %NULL if @create is false, else
 *	ERR_PTR(-ENOMEM), and the tree is unchanged. ERR_PTR(-ERANGE) if @key is
 *	wider than %KHO_RADIX_KEY_WIDTH.
 */
struct kho_radix_leaf *kho_radix_leaf(struct kho_radix_tree *tree,
				      unsigned long key, bool create)
{
	/* Newly allocated nodes for error cleanup */
	struct kho_radix_node *intermediate_nodes[KHO_TREE_MAX_DEPTH];
	struct kho_radix_node *anchor_node = NULL;
	struct kho_radix_node *node = tree->root;
	unsigned long prefix = key >> KHO_BITMAP_SIZE_LOG2;
	struct kho_radix_node *new_node;
	unsigned int i, idx, anchor_idx = 0, nr_new = 0;

	if (likely(tree->last_leaf && tree->last_prefix == prefix))
		return tree->last_leaf;

	if (unlikely(fls64(key) > KHO_RADIX_KEY_WIDTH))
		return ERR_PTR(-ERANGE);

	/* Go from high levels to low levels */
	for (i = KHO_TREE_MAX_DEPTH - 1; i > 0; i--) {
		idx = kho_radix_get_table_index(key, i);

		if (node->table[idx]) {
			node = phys_to_virt(node->table[idx]);
			continue;
		}

		if (!create)
			return NULL;

		/* Next node is empty, create a new node for it */
		new_node = kho_radix_alloc_node();
		if (!new_node)
			goto err_free_nodes;

		/*
		 * Remember where the new branch starts. The branch is linked
		 * into the tree when it is complete.
		 */
		if (!anchor_node) {
			anchor_node = node;
			anchor_idx = idx;
		} else {
			node->table[idx] = virt_to_phys(new_node);
		}
		intermediate_nodes[nr_new++] = new_node;

		node = new_node;
	}

	if (anchor_node) {
		/*
		 * Pairs with READ_ONCE() in kho_radix_find(): whoever sees the
		 * link sees that new nodes are 0.
		 */
		smp_store_release(&anchor_node->table[anchor_idx],
				  virt_to_phys(intermediate_nodes[0]));
	}

	tree->last_leaf = (struct kho_radix_leaf *)node;
	tree->last_prefix = prefix;
	return tree->last_leaf;

err_free_nodes:
	while (nr_new)
		kho_radix_free_node(intermediate_nodes[--nr_new]);

	return ERR_PTR(-ENOMEM);
}

/**
 * kho_radix_add_key - Add a key to the radix tree.
 * @tree: The KHO radix tree.
 * @key: The key to add.
 *
 * This function traverses the radix tree based on the @key provided. It sets the
 * corresponding bit in the leaf bitmap to mark the @key as present. If
 * intermediate nodes do not exist along the path, they are allocated and added
 * to the tree.
 *
 * NOTE: Currently only keys of width up to %KHO_RADIX_KEY_WIDTH are supported.
 * This limit only exists because current users of the radix tree don't use more
 * than that. Changing the maximum width requires changing the tree depth, which
 * needs bumping the ABI version.
 *
 * Return: 0 on success, or a negative error code on failure.
 */
int kho_radix_add_key(struct kho_radix_tree *tree, unsigned long key)
{
	struct kho_radix_leaf *leaf;

	if (WARN_ON_ONCE(!tree->root))
		return -EINVAL;

	might_sleep();

	guard(mutex)(&tree->lock);

	leaf = kho_radix_leaf(tree, key, true);
	if (IS_ERR(leaf))
		return PTR_ERR(leaf);

	__set_bit(kho_radix_get_bitmap_index(key), leaf->bitmap);

	return 0;
}
EXPORT_SYMBOL_GPL(kho_radix_add_key);

/**
 * kho_radix_del_key - Removes the key from the radix tree.
 * @tree: The KHO radix tree.
 * @key: The key to remove.
 *
 * This function traverses the radix tree and clears the bit corresponding to
 * the @key, effectively removing it from the tree. It does not free the tree's
 * intermediate nodes, even if they become empty.
 */
void kho_radix_del_key(struct kho_radix_tree *tree, unsigned long key)
{
	struct kho_radix_leaf *leaf;

	if (WARN_ON_ONCE(!tree->root))
		return;

	might_sleep();

	guard(mutex)(&tree->lock);

	leaf = kho_radix_leaf(tree, key, false);

	/* Keys wider than KHO_RADIX_KEY_WIDTH are not allowed to be added. */
	if (IS_ERR(leaf))
		return;

	/*
	 * Attempting to delete a page that has not been preserved, return with
	 * a warning.
	 */
	if (WARN_ON(!leaf))
		return;

	__clear_bit(kho_radix_get_bitmap_index(key), leaf->bitmap);
}
EXPORT_SYMBOL_GPL(kho_radix_del_key);

static void __kho_radix_destroy_tree(struct kho_radix_node *root,
				     unsigned int level)
{
	unsigned long i;

	if (level == 0) {
		kho_radix_free_node(root);
		return;
	}

	for (i = 0; i < PAGE_SIZE / sizeof(phys_addr_t); i++) {
		if (root->table[i])
			__kho_radix_destroy_tree(phys_to_virt(root->table[i]),
						 level - 1);
	}

	kho_radix_free_node(root);
}

/**
 * kho_radix_init_tree - initialize the radix tree.
 * @tree:   the tree to initialize.
 * @root:   root table of the radix tree.
 *
 * Initialize the radix tree with the given root node. If root is %NULL, an
 * empty root table is allocated. If root is not %NULL, it is the caller's
 * responsibility to make sure the root is valid and in the correct format.
 *
 * Return: 0 on success, -errno on failure.
 */
int kho_radix_init_tree(struct kho_radix_tree *tree, struct kho_radix_node *root)
{
	if (!root)
		root = kho_radix_alloc_node();
	if (!root)
		return -ENOMEM;

	tree->root = root;
	tree->last_leaf = NULL;
	mutex_init(&tree->lock);
	return 0;
}
EXPORT_SYMBOL_GPL(kho_radix_init_tree);

/**
 * kho_radix_destroy_tree - Destroy the radix tree
 * @tree: The radix tree to destroy
 *
 * Walk @tree and free all its nodes.
 */
void kho_radix_destroy_tree(struct kho_radix_tree *tree)
{
	if (!tree->root)
		return;

	__kho_radix_destroy_tree(tree->root, KHO_TREE_MAX_DEPTH - 1);
	tree->root = NULL;
	tree->last_leaf = NULL;
}
EXPORT_SYMBOL_GPL(kho_radix_destroy_tree);

/* Free nodes below @node that have no keys. Returns whether @node has none. */
static bool kho_radix_trim_node(struct kho_radix_node *node, unsigned int level)
{
	bool empty = true;

	if (level == 0)
		return !memchr_inv(node, 0, PAGE_SIZE);

	for (unsigned long i = 0; i < 1UL << KHO_TABLE_SIZE_LOG2; i++) {
		struct kho_radix_node *child;

		if (!node->table[i])
			continue;
		child = phys_to_virt(node->table[i]);
		if (!kho_radix_trim_node(child, level - 1)) {
			empty = false;
			continue;
		}
		/* A kexec can come at any time: unlink the node, then free. */
		WRITE_ONCE(node->table[i], 0);
		kho_radix_free_node(child);
	}
	return empty;
}

/**
 * kho_radix_trim - Free the nodes of a radix tree that lead to no key
 * @tree: The tree; its root stays.
 *
 * Context: Process context, nobody else uses the tree.
 */
void kho_radix_trim(struct kho_radix_tree *tree)
{
	if (!tree->root)
		return;

	tree->last_leaf = NULL;
	kho_radix_trim_node(tree->root, KHO_TREE_MAX_DEPTH - 1);
}

static int kho_radix_walk_leaf(struct kho_radix_leaf *leaf, unsigned long key,
			       const struct kho_radix_walk_cb *cb, void *data)
{
	unsigned long *bitmap = (unsigned long *)leaf;
	unsigned int i;
	int err;

	if (cb->node) {
		err = cb->node(virt_to_phys(leaf), data);
		if (err)
			return err;
	}

	if (!cb->leaf)
		return 0;

	for_each_set_bit(i, bitmap, PAGE_SIZE * BITS_PER_BYTE) {
		err = cb->leaf(key | i, data);
		if (err)
			return err;
	}

	return 0;
}

static int __kho_radix_walk_tree(struct kho_radix_node *root,
				 unsigned int level, unsigned long start,
				 const struct kho_radix_walk_cb *cb, void *data)
{
	struct kho_radix_node *node;
	struct kho_radix_leaf *leaf;
	unsigned long key, i;
	unsigned int shift;
	int err;

	if (cb->node) {
		err = cb->node(virt_to_phys(root), data);
		if (err)
			return err;
	}

	for (i = 0; i < PAGE_SIZE / sizeof(phys_addr_t); i++) {
		if (!root->table[i])
			continue;

		shift = ((level - 1) * KHO_TABLE_SIZE_LOG2) +
			KHO_BITMAP_SIZE_LOG2;
		key = start | (i << shift);

		node = phys_to_virt(root->table[i]);

		if (level == 1) {
			/*
			 * we are at level 1,
			 * node is pointing to the level 0 bitmap.
			 */
			leaf = (struct kho_radix_leaf *)node;
			err = kho_radix_walk_leaf(leaf, key, cb, data);
		} else {
			err  = __kho_radix_walk_tree(node, level - 1,
						     key, cb, data);
		}

		if (err)
			return err;
	}

	return 0;
}

/**
 * kho_radix_walk_tree - Traverses the radix tree and calls a callback for each key.
 * @tree: A pointer to the KHO radix tree to walk.
 * @cb:   Set of callbacks to be invoked during the tree walk.
 * @data: Opaque data pointer passed to each callback in @cb.
 *
 * This function walks the radix tree, searching from the top level down to the
 * lowest level (level 0), invoking the appropriate callbacks.
 *
 * Return: 0 if the walk completed the specified tree, or the non-zero return
 *         value from the callback that stopped the walk.
 */
int kho_radix_walk_tree(struct kho_radix_tree *tree,
			const struct kho_radix_walk_cb *cb, void *data)
{
	if (WARN_ON_ONCE(!tree->root))
		return -EINVAL;

	guard(mutex)(&tree->lock);

	return __kho_radix_walk_tree(tree->root, KHO_TREE_MAX_DEPTH - 1, 0, cb,
				     data);
}
EXPORT_SYMBOL_GPL(kho_radix_walk_tree);
