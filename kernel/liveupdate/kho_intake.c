// SPDX-License-Identifier: GPL-2.0-only
/*
 * Checking the preserved memory map of the previous kernel, early in the boot.
 *
 * The map is data from another kernel. kho_intake_check() checks all of it
 * before any other code reads it, and takes out the entries that cannot be
 * used. After that the map can be walked without further checks.
 *
 * There are two reasons to take an entry out. An entry that cannot be true is
 * dropped: its memory does not exist, or is in use, or belongs to another entry.
 * An entry that can be true, but that this kernel does not understand, is kept:
 * a newer kernel may have written the entry, and a device may still write to the
 * memory. Nobody gets kept memory, neither the page allocator nor a caller of a
 * restore function.
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
	 * One bit for each page, keyed by page frame number. The bit is set if
	 * the page belongs to a node of the map, or to a preservation that has
	 * been checked already.
	 */
	struct kho_radix_tree *pages;
	/*
	 * Result of the last kho_intake_look_up(): [free_start, free_end) is
	 * the first range of free memory that ends behind @free_from. It lies
	 * in one region of memory. Both are ULONG_MAX if there is no such
	 * range.
	 */
	unsigned long free_from;
	unsigned long free_start;
	unsigned long free_end;
	unsigned long end_pfn;
	unsigned long dropped;
	bool v4;
};

/* See the head of this file. Does not change once the page allocator is up. */
struct kho_kept kho_kept;

static void __init kho_intake_drop(struct kho_intake *in, const char *what,
				   unsigned long val, const char *why)
{
	in->dropped++;
	pr_err_ratelimited("preserved memory map: left out %s %#lx: %s\n", what,
			   val, why);
}

/*
 * Find the first range that ends behind @pfn and may contain preserved memory.
 * Memblock must know the range as free, and the range must not be in a scratch
 * area. (A scratch area is always a memblock region of its own.) The search
 * cannot continue from the result of the last one: @pages grows meanwhile, and
 * memblock reserves memory for it.
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

/* Is any page of [@pfn, @end) marked? */
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

/* Mark [@pfn, @end). Returns 0 or -ENOMEM. */
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

/*
 * Mark [@pfn, @end). Returns 0, -ENOMEM, or, without marking anything, -EEXIST
 * if a page in the range is marked already.
 */
static int __init kho_intake_claim(struct kho_intake *in, unsigned long pfn,
				   unsigned long end)
{
	return kho_intake_marked(in, pfn, end) ? -EEXIST :
						 kho_intake_mark(in, pfn, end);
}

/*
 * Returns why this kernel does not understand an entry whose memory exists, or
 * NULL if it understands the entry.
 */
static const char *__init kho_intake_unknown(struct kho_intake *in,
					     unsigned long pfn,
					     unsigned int order,
					     unsigned int type)
{
	if (type >= (in->v4 ? KHO_MEMDESC_UNTYPED + 1 : KHO_NR_MEMDESC))
		return "unknown type";
	/* The other kernel may have another architecture or configuration. */
	if (order > kho_max_order(type))
		return "order that the type does not have here";
	/*
	 * Only single pages can be accounted to several nodes. And struct pages
	 * are initialised one region at a time: kho_stamp_pages() would prepare
	 * struct pages of the next region before they are initialised.
	 */
	kho_intake_look_up(in, pfn);
	if (order && type != KHO_MEMDESC_UNTYPED && type != KHO_MEMDESC_SPLIT &&
	    pfn + (1UL << order) > in->free_end)
		return "on two nodes, or in two regions of memory";
	return NULL;
}

/* Record in kho_kept that the memory of @key is kept. Returns 0 or -ENOMEM. */
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
 * Can the preservation @key be used? Returns 0 if so, -EINVAL if the key has to
 * be dropped, -EOPNOTSUPP if its memory is kept, or -ENOMEM.
 */
static int __init kho_intake_check_key(struct kho_intake *in, unsigned long key)
{
	const unsigned long order_bits = key & (BIT(KHO_MEMDESC_SHIFT) - 1);
	unsigned int order, type;
	unsigned long pfn, nr;
	const char *why;
	int err;

	/* With bit 0 as order bit the key is the whole address space. */
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
 * In a leaf of order 0 keys each bit stands for one page, as in @in->pages.
 * Therefore the two bitmaps can be compared a word at a time. Single keys are
 * only checked if something is wrong.
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

	/* Check the keys that lie between the ranges of free memory. */
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

	/*
	 * All keys of a leaf have the same type and order, unless the order is
	 * nonsense.
	 */
	if (!order_bits)
		return kho_intake_check_keys(in, leaf, start, 0, KHO_LEAF_BITS);
	pfn = PHYS_PFN(kho_decode_key(start, &order, &type));
	if (type >= (in->v4 ? KHO_MEMDESC_UNTYPED + 1 : KHO_NR_MEMDESC) ||
	    order > MAX_PAGE_ORDER || pfn >= in->end_pfn)
		return kho_intake_check_keys(in, leaf, start, 0, KHO_LEAF_BITS);

	if (!order)
		return kho_intake_check_leaf_0(in, leaf, start, pfn);

	/* Check a run of neighbours at once, single keys only if that fails. */
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
 * A node must be in memory that nothing else uses. Marking the node also makes
 * the check refuse it if another link leads to it. Without that the walk of a
 * map with a cycle would never end.
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
 * Check the nodes below @node, or, with @keys, the keys in the leaves below it.
 * All nodes have to be checked before any key. Otherwise a wrong key could mark
 * the memory of a node that comes later in the walk, and this node would be
 * dropped instead of the key.
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
 * error, which ends the walk, or 1 to remove the key.
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

/*
 * Drop a kept entry that overlaps one which this kernel understands: the latter
 * is more likely to be true.
 */
static int __init kho_intake_drop_kept(struct kho_intake *in, unsigned long key)
{
	unsigned int order, type;
	unsigned long pfn = PHYS_PFN(kho_decode_key(key, &order, &type));

	if (!kho_intake_marked(in, pfn, pfn + (1UL << order)))
		return 0;
	kho_intake_drop(in, "key", key, "preserved twice, or a node of the map");
	return 1;
}

/*
 * Mark the memory of a kept entry. Kept entries may overlap: it is not known
 * which of them is true, so the memory of all stays kept.
 */
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

/*
 * Called when all entries that this kernel understands are marked: mark the
 * kept ones, too. Returns 0 or -ENOMEM.
 */
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
 * kho_kept_forget - forget which memory is kept
 *
 * Context: Early boot, when the handover as a whole cannot be used.
 */
void __init kho_kept_forget(void)
{
	kho_radix_destroy_tree(&kho_kept.tree);
	memset(&kho_kept, 0, sizeof(kho_kept));
}

/* Is a page from kho_alloc_preserve() preserved at @phys? */
static bool __init kho_intake_has_page(struct kho_radix_tree *tree,
				       phys_addr_t phys)
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

/* Can the FDT be walked to its end? fdt_nop_property() relies on that later. */
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
 * @tree: the map; entries that cannot be used are taken out of it
 * @root: physical address of the root, from the FDT of the previous kernel
 * @fdt: physical address of that FDT, which must itself be preserved
 * @v4: whether it is a "kho-v4" map, which has no types
 * @pages: set to a new tree, keyed by page frame number, with a bit for each
 *	page of a preservation (kept ones, too) and of a node of the map; the
 *	tree then belongs to the caller
 *
 * An entry that cannot be true is reported, and its memory becomes ordinary
 * free memory. An entry that this kernel does not understand is reported and
 * recorded in kho_kept, and its memory has bits in @pages.
 *
 * Context: Early boot, when memblock knows all memory, and everything that is
 *	reserved at a fixed address is reserved.
 * Return: 0, %-EINVAL if the root is no node, or the FDT is damaged or not
 *	preserved, or %-ENOMEM if there is too little scratch memory to check the
 *	map. After an error the caller must use neither the map nor @pages.
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
 * @tree: the preserved memory map, which kho_intake_check() has passed
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
