// SPDX-License-Identifier: GPL-2.0-only
/*
 * Checking the preserved memory map of the previous kernel, early in the boot.
 *
 * The map is data from another kernel. kho_intake_check() looks at all of it
 * before anybody else does, and takes out what cannot be used; from then on the
 * map can be walked without further checks.
 *
 * There are two reasons to take an entry out. An entry that cannot be true is
 * dropped: its memory does not exist, or is in use, or belongs to another entry.
 * An entry that can be true, but that this kernel does not understand, is kept:
 * a newer kernel may have written the entry, and a device may still write to the
 * memory. Nobody gets kept memory, neither the page allocator nor a restorer.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/bitmap.h>
#include <linux/err.h>
#include <linux/kho_radix_tree.h>
#include <linux/libfdt.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "kexec_handover_internal.h"

struct kho_intake {
	/*
	 * A bit for each page of the nodes of the map and of the preservations
	 * that have been looked at so far. Keyed by page frame number.
	 */
	struct kho_radix_tree *pages;
	/*
	 * The free memory that was last looked up: [free_start, free_end), in
	 * one region of memory, is the first that ends behind @free_from. Both
	 * are ULONG_MAX if there is none.
	 */
	unsigned long free_from;
	unsigned long free_start;
	unsigned long free_end;
	unsigned long end_pfn;
	unsigned long dropped;
	bool v4;
};

/* See the head of this file. Read only once the page allocator is up. */
struct kho_kept kho_kept;

static void __init kho_intake_drop(struct kho_intake *in, const char *what,
				   unsigned long val, const char *why)
{
	in->dropped++;
	pr_err_ratelimited("preserved memory map: left out %s %#lx: %s\n", what,
			   val, why);
}

/*
 * Look the first memory up that ends behind @pfn and may be preserved: which is
 * free as far as memblock knows, and in no scratch area; these are regions of
 * memory of their own. Not by going on from the last time: @pages grows, and
 * memblock reserves memory for that.
 */
static void __init kho_intake_look_up(struct kho_intake *in, unsigned long pfn)
{
	phys_addr_t start, end;
	u64 i;

	if (pfn >= in->free_from && pfn < in->free_end)
		return;

	in->free_from = 0;
	for_each_free_mem_range(i, NUMA_NO_NODE, MEMBLOCK_HOTPLUG, &start, &end,
				NULL) {
		if (PFN_UP(start) >= PFN_DOWN(end) ||
		    kho_scratch_overlap(start, end - start))
			continue;
		in->free_start = PFN_UP(start);
		in->free_end = PFN_DOWN(end);
		if (pfn < in->free_end)
			return;
		in->free_from = in->free_end;
	}
	in->free_start = ULONG_MAX;
	in->free_end = ULONG_MAX;
}

static bool __init kho_intake_is_free(struct kho_intake *in, unsigned long pfn,
				      unsigned long end)
{
	for (; pfn < end; pfn = in->free_end) {
		kho_intake_look_up(in, pfn);
		if (pfn < in->free_start)
			return false;
	}
	return true;
}

/* Is some of [@pfn, @end) marked? */
static bool __init kho_intake_marked(struct kho_intake *in, unsigned long pfn,
				     unsigned long end)
{
	for (unsigned long nr; pfn < end; pfn += nr) {
		const unsigned long off = pfn % KHO_LEAF_BITS;
		struct kho_radix_leaf *leaf;

		nr = min(end - pfn, KHO_LEAF_BITS - off);
		leaf = kho_radix_leaf(in->pages, pfn, false);
		if (!IS_ERR_OR_NULL(leaf) &&
		    find_next_bit(leaf->bitmap, off + nr, off) < off + nr)
			return true;
	}
	return false;
}

/* Mark [@pfn, @end). 0 or -ENOMEM. */
static int __init kho_intake_mark(struct kho_intake *in, unsigned long pfn,
				  unsigned long end)
{
	for (unsigned long nr; pfn < end; pfn += nr) {
		const unsigned long off = pfn % KHO_LEAF_BITS;
		struct kho_radix_leaf *leaf;

		nr = min(end - pfn, KHO_LEAF_BITS - off);
		leaf = kho_radix_leaf(in->pages, pfn, true);
		if (IS_ERR(leaf))
			return PTR_ERR(leaf);
		bitmap_set(leaf->bitmap, off, nr);
	}
	return 0;
}

/* Mark [@pfn, @end). -EEXIST if some of it was, and nothing has changed. */
static int __init kho_intake_claim(struct kho_intake *in, unsigned long pfn,
				   unsigned long end)
{
	return kho_intake_marked(in, pfn, end) ? -EEXIST :
						 kho_intake_mark(in, pfn, end);
}

/* Why this kernel cannot make use of memory that exists; NULL if it can. */
static const char *__init kho_intake_unknown(struct kho_intake *in,
					     unsigned long pfn,
					     unsigned int order,
					     unsigned int type)
{
	if (type >= (in->v4 ? KHO_MEMDESC_UNTYPED + 1 : KHO_NR_MEMDESC))
		return "unknown type";
	/* The architecture or the configuration of the other kernel differs. */
	if (order > kho_max_order(type))
		return "order that the type does not have here";
	/*
	 * Only single pages can be accounted to a node each, and struct pages
	 * are initialised a region at a time.
	 */
	kho_intake_look_up(in, pfn);
	if (order && type != KHO_MEMDESC_UNTYPED && type != KHO_MEMDESC_SPLIT &&
	    pfn + (1UL << order) > in->free_end)
		return "on two nodes, or in two regions of memory";
	return NULL;
}

/* Note that the memory of @key is to be kept. 0 or -ENOMEM. */
static int __init kho_intake_keep(unsigned long key)
{
	struct kho_radix_leaf *leaf;
	unsigned int order, type;
	int err;

	if (!kho_kept.tree.root) {
		err = kho_radix_init_tree(&kho_kept.tree, NULL);
		if (err)
			return err;
	}
	leaf = kho_radix_leaf(&kho_kept.tree, key, true);
	if (IS_ERR(leaf))
		return PTR_ERR(leaf);
	__set_bit(key % KHO_LEAF_BITS, leaf->bitmap);
	kho_decode_key(key, &order, &type);
	kho_kept.orders[type] |= BIT_ULL(order);
	return 0;
}

/*
 * Is @key a preservation that can be used? 0 if it is, -EINVAL if the key is
 * dropped, -EOPNOTSUPP if its memory is kept, or -ENOMEM.
 */
static int __init kho_intake_check_key(struct kho_intake *in, unsigned long key)
{
	const unsigned long order_bits = key & (BIT(KHO_MEMDESC_SHIFT) - 1);
	unsigned int order, type;
	unsigned long pfn, nr;
	const char *why;
	int err;

	/* Bit 0 would be the whole address space. */
	why = "no order";
	if (order_bits < 2)
		goto drop;

	pfn = PHYS_PFN(kho_decode_key(key, &order, &type));
	nr = 1UL << order;

	why = "no type has so many bits";
	if (type >> KHO_MEMDESC_BITS)
		goto drop;
	why = "beyond the end of memory";
	if (nr > in->end_pfn || pfn > in->end_pfn - nr)
		goto drop;
	why = "no memory, or in use";
	if (!kho_intake_is_free(in, pfn, pfn + nr))
		goto drop;
	if (kho_intake_unknown(in, pfn, order, type))
		return kho_intake_keep(key) ?: -EOPNOTSUPP;

	err = kho_intake_claim(in, pfn, pfn + nr);
	if (!err || err == -ENOMEM)
		return err;
	why = "preserved twice, or a node of the map";
drop:
	kho_intake_drop(in, "key", key, why);
	return -EINVAL;
}

static int __init kho_intake_check_keys(struct kho_intake *in,
					struct kho_radix_leaf *leaf,
					unsigned long start, unsigned long i,
					unsigned long end)
{
	int err;

	for_each_set_bit_from(i, leaf->bitmap, end) {
		err = kho_intake_check_key(in, start | i);
		if (err == -ENOMEM)
			return err;
		if (err)
			__clear_bit(i, leaf->bitmap);
	}
	return 0;
}

/*
 * A leaf of order 0 keys is as many bits of the pages that they stand for: look
 * at a word of them at a time, and closer only if something is wrong.
 */
static int __init kho_intake_check_leaf_0(struct kho_intake *in,
					  struct kho_radix_leaf *leaf,
					  unsigned long start, unsigned long pfn)
{
	struct kho_radix_leaf *pages = kho_radix_leaf(in->pages, pfn, true);
	unsigned long i, end;
	int err;

	if (IS_ERR(pages))
		return PTR_ERR(pages);

	/* What is not free memory. */
	for (i = 0; i < KHO_LEAF_BITS; i = in->free_end - pfn) {
		kho_intake_look_up(in, pfn + i);
		end = min(max(in->free_start, pfn) - pfn, KHO_LEAF_BITS);
		err = kho_intake_check_keys(in, leaf, start, i, end);
		if (err)
			return err;
	}

	for (unsigned long w = 0; w < BITS_TO_LONGS(KHO_LEAF_BITS); w++) {
		if (likely(!(leaf->bitmap[w] & pages->bitmap[w]))) {
			pages->bitmap[w] |= leaf->bitmap[w];
			continue;
		}
		err = kho_intake_check_keys(in, leaf, start, w * BITS_PER_LONG,
					    (w + 1) * BITS_PER_LONG);
		if (err)
			return err;
	}
	return 0;
}

static int __init kho_intake_check_leaf(struct kho_intake *in,
					struct kho_radix_leaf *leaf,
					unsigned long start)
{
	const unsigned long order_bits = start & (BIT(KHO_MEMDESC_SHIFT) - 1);
	unsigned long i, end, pfn, nr;
	unsigned int order, type;
	int err;

	/* Keys of a leaf differ in type and order only if these are nonsense. */
	if (!order_bits)
		return kho_intake_check_keys(in, leaf, start, 0, KHO_LEAF_BITS);
	pfn = PHYS_PFN(kho_decode_key(start, &order, &type));
	if (type >= (in->v4 ? KHO_MEMDESC_UNTYPED + 1 : KHO_NR_MEMDESC) ||
	    order > MAX_PAGE_ORDER || pfn >= in->end_pfn)
		return kho_intake_check_keys(in, leaf, start, 0, KHO_LEAF_BITS);

	if (!order)
		return kho_intake_check_leaf_0(in, leaf, start, pfn);

	/* Neighbours at once, one by one only if something is wrong. */
	for_each_set_bitrange(i, end, leaf->bitmap, KHO_LEAF_BITS) {
		pfn = PHYS_PFN(kho_decode_key(start | i, &order, &type));
		nr = (end - i) << order;
		err = -EEXIST;
		kho_intake_look_up(in, pfn);
		if (pfn >= in->free_start && pfn + nr <= in->free_end)
			err = kho_intake_claim(in, pfn, pfn + nr);
		if (err == -EEXIST)
			err = kho_intake_check_keys(in, leaf, start, i, end);
		if (err)
			return err;
	}
	return 0;
}

/*
 * A node must be in memory that nothing else uses; having it marked also refuses
 * a node that is met a second time, so that a map which leads back into itself
 * comes to an end.
 */
static int __init kho_intake_check_node_addr(struct kho_intake *in, u64 phys)
{
	int err = -EINVAL;

	if (IS_ALIGNED(phys, PAGE_SIZE) &&
	    kho_intake_is_free(in, PHYS_PFN(phys), PHYS_PFN(phys) + 1))
		err = kho_intake_claim(in, PHYS_PFN(phys), PHYS_PFN(phys) + 1);
	if (err && err != -ENOMEM)
		kho_intake_drop(in, "node", phys,
				"no memory, in use, or met before");
	return err;
}

/*
 * Check the nodes below @node, or, when that is done, the keys in them. Not both
 * at once: a wrong key must not be taken for what lies on a node that is yet to
 * be met.
 */
static int __init kho_intake_check_node(struct kho_intake *in,
					struct kho_radix_node *node,
					unsigned int level, unsigned long start,
					bool keys)
{
	const unsigned int shift = (level - 1) * KHO_TABLE_SIZE_LOG2 +
				   KHO_BITMAP_SIZE_LOG2;
	int err;

	for (unsigned long i = 0; i < 1UL << KHO_TABLE_SIZE_LOG2; i++) {
		const unsigned long key = start | i << shift;
		struct kho_radix_node *child;

		if (!node->table[i])
			continue;

		if (!keys) {
			err = kho_intake_check_node_addr(in, node->table[i]);
			if (err == -ENOMEM)
				return err;
			if (err) {
				node->table[i] = 0;
				continue;
			}
		}

		child = phys_to_virt(node->table[i]);
		err = 0;
		if (level > 1)
			err = kho_intake_check_node(in, child, level - 1, key,
						    keys);
		else if (keys)
			err = kho_intake_check_leaf(in, (void *)child, key);
		if (err)
			return err;
	}
	return 0;
}

/*
 * Call @fn for all keys of kept memory below @node. @fn returns 0, a negative
 * error, or 1 if the key is to go.
 */
static int __init kho_intake_for_kept(struct kho_intake *in,
				      struct kho_radix_node *node,
				      unsigned int level, unsigned long start,
				      int (*fn)(struct kho_intake *in,
						unsigned long key))
{
	const unsigned int shift = (level - 1) * KHO_TABLE_SIZE_LOG2 +
				   KHO_BITMAP_SIZE_LOG2;
	struct kho_radix_leaf *leaf = (void *)node;
	unsigned long i;
	int err = 0;

	if (level) {
		for (i = 0; i < 1UL << KHO_TABLE_SIZE_LOG2 && !err; i++)
			if (node->table[i])
				err = kho_intake_for_kept(in,
							  phys_to_virt(node->table[i]),
							  level - 1,
							  start | i << shift, fn);
		return err;
	}

	for_each_set_bit(i, leaf->bitmap, KHO_LEAF_BITS) {
		err = fn(in, start | i);
		if (err < 0)
			return err;
		if (err)
			__clear_bit(i, leaf->bitmap);
	}
	return 0;
}

/* What this kernel understands is more likely to be true. */
static int __init kho_intake_drop_kept(struct kho_intake *in, unsigned long key)
{
	unsigned int order, type;
	unsigned long pfn = PHYS_PFN(kho_decode_key(key, &order, &type));

	if (!kho_intake_marked(in, pfn, pfn + (1UL << order)))
		return 0;
	kho_intake_drop(in, "key", key, "preserved twice, or a node of the map");
	return 1;
}

/* Which of two kept entries that overlap is true is not known: neither is free. */
static int __init kho_intake_mark_kept(struct kho_intake *in, unsigned long key)
{
	phys_addr_t phys;
	unsigned int order, type;
	unsigned long pfn;

	phys = kho_decode_key(key, &order, &type);
	pfn = PHYS_PFN(phys);
	kho_kept.entries++;
	kho_kept.pages += 1UL << order;
	pr_err_ratelimited("preserved memory map: kept %pa, order %u, type %u: %s\n",
			   &phys, order, type,
			   kho_intake_unknown(in, pfn, order, type));
	return kho_intake_mark(in, pfn, pfn + (1UL << order));
}

/* All that is understood is marked: mark what is kept. 0 or -ENOMEM. */
static int __init kho_intake_settle_kept(struct kho_intake *in)
{
	const unsigned int top = KHO_TREE_MAX_DEPTH - 1;
	struct kho_radix_node *root = kho_kept.tree.root;
	int err;

	if (!root)
		return 0;
	err = kho_intake_for_kept(in, root, top, 0, kho_intake_drop_kept);
	if (!err)
		err = kho_intake_for_kept(in, root, top, 0, kho_intake_mark_kept);
	if (!err && kho_kept.entries)
		pr_err("preserved memory map: %lu entries of %lu pages are kept, but cannot be restored by this kernel\n",
		       kho_kept.entries, kho_kept.pages);
	return err;
}

/**
 * kho_kept_forget - forget what is kept
 *
 * Context: Early boot, when nothing that was handed over can be used.
 */
void __init kho_kept_forget(void)
{
	kho_radix_destroy_tree(&kho_kept.tree);
	memset(&kho_kept, 0, sizeof(kho_kept));
}

/* Is the page at @phys preserved as kho_alloc_preserve() does it? */
static bool __init kho_intake_has_page(struct kho_radix_tree *tree,
				       phys_addr_t phys)
{
	/* Untyped by "kho-v4", and by a "kho-v5" that records no types yet. */
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

/* Whether the FDT can be walked to its end, and changed where that comes by. */
static bool __init kho_intake_fdt_ok(const void *fdt)
{
	int node = 0, depth = 0;

	while (node >= 0 && depth >= 0)
		node = fdt_next_node(fdt, node, &depth);
	if (node < 0)
		pr_err("handover FDT: damaged: %d\n", node);
	return node >= 0;
}

/**
 * kho_intake_check - check the preserved memory map of the previous kernel
 * @tree: the map; entries that cannot be true are taken out of it
 * @root: physical address of its root, as the previous kernel's FDT says
 * @fdt: physical address of that FDT, which must be preserved itself
 * @v4: whether it is a "kho-v4" map, which has no types
 * @pages: becomes a tree with a bit for each page, by page frame number, that a
 *	preservation or a node of the map lies on, kept or not; the caller's
 *
 * What is left out because it cannot be true is reported and becomes ordinary
 * free memory. What this kernel does not understand is reported, noted in
 * kho_kept, and has bits in @pages.
 *
 * Context: Early boot, when memblock knows all memory, and everything that is
 *	reserved at a fixed address is reserved.
 * Return: 0, %-EINVAL if the root is no node, or the FDT is damaged or not
 *	preserved, or %-ENOMEM if there is too little scratch memory to check the
 *	map. After an error the map must not be used, and there is no @pages.
 */
int __init kho_intake_check(struct kho_radix_tree *tree, phys_addr_t root,
			    phys_addr_t fdt, bool v4,
			    struct kho_radix_tree *pages)
{
	struct kho_intake in = {
		.pages = pages,
		.end_pfn = PFN_UP(memblock_end_of_DRAM()),
		.v4 = v4,
	};
	int err;

	if (!kho_intake_fdt_ok(phys_to_virt(fdt)))
		return -EINVAL;
	err = kho_radix_init_tree(pages, NULL);
	if (err)
		return err;
	err = kho_intake_check_node_addr(&in, root);
	if (!err)
		err = kho_intake_check_node(&in, tree->root,
					    KHO_TREE_MAX_DEPTH - 1, 0, false);
	if (!err)
		err = kho_intake_check_node(&in, tree->root,
					    KHO_TREE_MAX_DEPTH - 1, 0, true);
	if (!err)
		err = kho_intake_settle_kept(&in);
	if (!err && !kho_intake_has_page(tree, fdt))
		err = -EINVAL;
	if (in.dropped)
		pr_err("preserved memory map: %lu entries left out\n",
		       in.dropped);
	if (err) {
		kho_kept_forget();
		kho_radix_destroy_tree(pages);
	}
	return err;
}

/* Where the preservation that @phys lies in ends; 0 if it lies in none. */
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
 * kho_intake_check_subtrees - check where the FDT says that others' data is
 * @tree: the preserved memory map, which kho_intake_check() has passed
 * @fdt: the FDT; subtrees that are not all preserved memory lose their address
 *
 * Not their node: for its owner that would look like a boot without a handover.
 *
 * Context: Early boot, before kho_retrieve_subtree() is used.
 */
void __init kho_intake_check_subtrees(struct kho_radix_tree *tree, void *fdt)
{
	int node;

	fdt_for_each_subnode(node, fdt, 0) {
		u64 phys = 0;

		/* There may be more than one such property. */
		while (!kho_intake_subtree_ok(tree, fdt, node, &phys)) {
			pr_err_ratelimited("handover FDT: left out subtree %#llx: '%s' is not in preserved memory\n",
					   phys, fdt_get_name(fdt, node, NULL));
			/* Cannot fail: it is there. */
			if (WARN_ON_ONCE(fdt_nop_property(fdt, node,
							  KHO_SUB_TREE_PROP_NAME)))
				return;
		}
	}
}
