// SPDX-License-Identifier: GPL-2.0-only
/*
 * Checking the preserved memory map of the previous kernel, early in the boot.
 *
 * The map is data from another kernel. All of it is checked before any other code
 * reads it, and the entries that cannot be used are taken out. After that the map
 * can be walked without further checks.
 *
 * There are two steps, because the scratch areas may be small:
 * kho_intake_check_nodes() checks the nodes of the map, and needs memory only for
 * a list of them (kho_nodes.c). From then on the map says which memory is certainly
 * free: all that is neither a node nor part of an entry, true or not. The scratch
 * areas are extended by that. Then kho_intake_check_keys() checks the entries, one
 * window after the other, in a bitmap of one window.
 *
 * There are two reasons to take an entry out. An entry that cannot be true is
 * dropped: its memory does not exist, or is in use, or belongs to another entry.
 * An entry that can be true, but that this kernel does not understand, is kept:
 * a newer kernel may have written the entry, and a device may still write to the
 * memory. So is an entry of which only a part of the memory exists: mem= can have
 * taken the other part away. Nobody gets kept memory, neither the page allocator
 * nor a caller of a restore function.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/bitmap.h>
#include <linux/err.h>
#include <linux/kho_radix_tree.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "kexec_handover_internal.h"

/* Pages of the window that is checked: those of nodes and of checked entries. */
static DECLARE_BITMAP(kho_intake_busy, KHO_LEAF_BITS) __initdata;

struct kho_intake {
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
	unsigned long fdt_pfn;
	unsigned long dropped;
};

static struct kho_intake kho_intake __initdata;

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
 * cannot continue from the result of the last one: memblock reserves memory for
 * the list of nodes meanwhile.
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

/* Is there memory in the range, and can all that there is be preserved memory? */
static bool __init kho_intake_is_partly_free(struct kho_intake *in,
					     unsigned long pfn,
					     unsigned long end)
{
	unsigned long start, stop;
	bool any = false;
	int i;

	for_each_mem_pfn_range(i, MAX_NUMNODES, &start, &stop, NULL) {
		start = max(start, pfn);
		stop = min(stop, end);
		if (start >= stop)
			continue;
		if (!kho_intake_is_free(in, start, stop))
			return false;
		any = true;
	}
	return any;
}

/*
 * Mark [@pfn, @end), which is a part of the window that is checked, or begins with
 * this window and is larger. Returns 0, or, without marking anything, -EEXIST if a
 * page in the range has another owner.
 */
static int __init kho_intake_claim(struct kho_intake *in, unsigned long pfn,
				   unsigned long end)
{
	const unsigned long off = pfn % KHO_LEAF_BITS;
	const unsigned long stop = min(off + end - pfn, KHO_LEAF_BITS);

	if (find_next_bit(kho_intake_busy, stop, off) < stop)
		return -EEXIST;
	/* The FDT was found where it is, and is a page of its own. */
	if (end - pfn > 1 && in->fdt_pfn >= pfn && in->fdt_pfn < end)
		return -EEXIST;
	/* Smaller entries in later windows give way, nodes do not. */
	if (end - pfn > KHO_LEAF_BITS && kho_nodes_next(pfn, end) < end)
		return -EEXIST;
	bitmap_set(kho_intake_busy, off, stop - off);
	return 0;
}

/*
 * Returns why this kernel does not understand an entry of which there is memory,
 * or NULL if it understands the entry.
 */
static const char *__init kho_intake_unknown(struct kho_intake *in,
					     unsigned long pfn,
					     unsigned int order,
					     unsigned int type)
{
	if (type >= kho_preserved.nr_types)
		return "unknown type";
	/* The other kernel may have another architecture or configuration. */
	if (order > kho_max_order(type))
		return "order that the type does not have here";
	if (!kho_intake_is_free(in, pfn, pfn + (1UL << order)))
		return "only a part of the memory exists";
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
static int __init kho_intake_record(unsigned long key, unsigned int order,
				    unsigned int type)
{
	struct kho_radix_leaf *leaf;
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
	kho_kept.orders[type] |= BIT_ULL(order);
	kho_extent_add_type(type);
	return 0;
}

/*
 * Keep the memory of @key. Returns -EOPNOTSUPP if the key has to be taken out of
 * the map, because it is recorded in kho_kept. Without memory for the record
 * returns 0: the key stays, and its memory is held by the map. As nobody must get
 * that memory, nobody gets any memory of this type and order then.
 */
static int __init kho_intake_keep(unsigned long key)
{
	unsigned int order, type;

	kho_decode_key(key, &order, &type);
	if (!kho_intake_record(key, order, type))
		return -EOPNOTSUPP;
	kho_kept.unrecorded = true;
	kho_preserved.orders[type] &= ~BIT_ULL(order);
	return 0;
}

/* Can the memory of @key be preserved memory? Returns why not, or NULL. */
static const char *__init kho_intake_impossible(struct kho_intake *in,
						unsigned long pfn,
						unsigned int order)
{
	const unsigned long end = pfn + (1UL << order);

	if (pfn >= in->end_pfn)
		return "beyond the end of memory";
	if (!kho_intake_is_free(in, pfn, end) &&
	    !kho_intake_is_partly_free(in, pfn, end))
		return "no memory, or in use";
	return NULL;
}

/*
 * Can the preservation @key be used, of an order and type that this kernel
 * understands? Returns 0 if so, -EINVAL if the key has to be dropped, or
 * -EOPNOTSUPP if its memory is kept.
 */
static int __init kho_intake_check_key(struct kho_intake *in, unsigned long key)
{
	unsigned int order, type;
	unsigned long pfn;
	const char *why;

	pfn = PHYS_PFN(kho_decode_key(key, &order, &type));
	why = kho_intake_impossible(in, pfn, order);
	if (!why && kho_intake_unknown(in, pfn, order, type))
		return kho_intake_keep(key);
	if (!why && !kho_intake_claim(in, pfn, pfn + (1UL << order)))
		return 0;
	kho_intake_drop(in, "key", key,
			why ?: "preserved twice, or a node of the map");
	return -EINVAL;
}

static void __init kho_intake_check_bits(struct kho_intake *in,
					 struct kho_radix_leaf *leaf,
					 unsigned long start, unsigned long i,
					 unsigned long end)
{
	for_each_set_bit_from(i, leaf->bitmap, end) {
		if (kho_intake_check_key(in, start | i))
			__clear_bit(i, leaf->bitmap);
	}
}

/*
 * In a leaf of order 0 keys each bit stands for one page, as in kho_intake_busy.
 * Therefore the two bitmaps can be compared a word at a time. Single keys are
 * only checked if something is wrong.
 */
static void __init kho_intake_check_leaf_0(struct kho_intake *in,
					   const struct kho_part *part)
{
	struct kho_radix_leaf *leaf = part->leaf;
	const unsigned long pfn = part->pfn, start = part->key;
	unsigned long i, end;

	/* Check the keys that lie between the ranges of free memory. */
	for (i = 0; i < KHO_LEAF_BITS; i = in->free_end - pfn) {
		kho_intake_look_up(in, pfn + i);
		end = min(max(in->free_start, pfn) - pfn, KHO_LEAF_BITS);
		kho_intake_check_bits(in, leaf, start, i, end);
	}

	for (unsigned long w = 0; w < BITS_TO_LONGS(KHO_LEAF_BITS); w++) {
		if (likely(!(leaf->bitmap[w] & kho_intake_busy[w])))
			kho_intake_busy[w] |= leaf->bitmap[w];
		else
			kho_intake_check_bits(in, leaf, start, w * BITS_PER_LONG,
					      (w + 1) * BITS_PER_LONG);
	}
}

/* Check a run of neighbours at once, single keys only if that fails. */
static void __init kho_intake_check_runs(struct kho_intake *in,
					 const struct kho_part *part,
					 unsigned int order)
{
	const unsigned long start = part->key - part->first;
	unsigned long bit, end, pfn, stop;

	for (bit = part->first; bit < part->end; bit = end) {
		bit = find_next_bit(part->leaf->bitmap, part->end, bit);
		if (bit == part->end)
			return;
		end = find_next_zero_bit(part->leaf->bitmap, part->end, bit);
		pfn = part->pfn + ((bit - part->first) << order);
		stop = pfn + ((end - bit) << order);
		kho_intake_look_up(in, pfn);
		if (pfn < in->free_start || stop > in->free_end ||
		    kho_intake_claim(in, pfn, stop))
			kho_intake_check_bits(in, part->leaf, start, bit, end);
	}
}

/* Check a preservation of one window or more, with its first window. */
static void __init kho_intake_check_large(struct kho_intake *in,
					  const struct kho_part *part,
					  unsigned long pfn)
{
	if (!test_bit(part->first, part->leaf->bitmap))
		return;
	if (part->pfn < pfn)
		bitmap_fill(kho_intake_busy, KHO_LEAF_BITS);
	else
		kho_intake_check_bits(in, part->leaf, part->key - part->first,
				      part->first, part->end);
}

/* Check the keys of one order and type in the window at @pfn. */
static void __init kho_intake_check_part(struct kho_intake *in,
					 unsigned long pfn, unsigned int order,
					 unsigned int type)
{
	struct kho_part part;

	if (!(kho_preserved.orders[type] & BIT_ULL(order)) ||
	    !kho_part_find(&part, kho_preserved.map, order, type, pfn,
			   pfn + KHO_LEAF_BITS))
		return;
	if (!order)
		kho_intake_check_leaf_0(in, &part);
	else if (order < KHO_BITMAP_SIZE_LOG2)
		kho_intake_check_runs(in, &part, order);
	else
		kho_intake_check_large(in, &part, pfn);
}

/*
 * Check the keys of the window at @pfn. What takes the whole window comes first,
 * the largest order first of all: so a preservation that was accepted in its first
 * window is accepted in all windows. The rest comes in the order of the map. If the
 * larger entry is the false one, nobody gets the memory of the smaller ones, but
 * nor does the page allocator.
 */
static void __init kho_intake_check_window(struct kho_intake *in,
					   unsigned long pfn)
{
	const unsigned long end = pfn + KHO_LEAF_BITS;
	unsigned long node = pfn;
	unsigned int type;
	int order;
	u64 all = 0;

	bitmap_zero(kho_intake_busy, KHO_LEAF_BITS);
	while ((node = kho_nodes_next(node, end)) < end)
		__set_bit(node++ - pfn, kho_intake_busy);

	for (type = 0; type < kho_preserved.nr_types; type++)
		all |= kho_preserved.orders[type];
	for (order = fls64(all) - 1; order >= KHO_BITMAP_SIZE_LOG2; order--) {
		for (type = 0; type < kho_preserved.nr_types; type++)
			kho_intake_check_part(in, pfn, order, type);
	}
	for (type = 0; type < kho_preserved.nr_types; type++) {
		for (order = KHO_BITMAP_SIZE_LOG2 - 1; order >= 0; order--)
			kho_intake_check_part(in, pfn, order, type);
	}
}

/* Take a whole leaf out, or the keys of which no memory is before @end_pfn. */
static void __init kho_intake_drop_leaf(struct kho_intake *in,
					struct kho_radix_leaf *leaf,
					unsigned long start,
					unsigned long end_pfn, const char *why)
{
	unsigned int order, type;
	unsigned long i, pfn;

	for_each_set_bit(i, leaf->bitmap, KHO_LEAF_BITS) {
		if (end_pfn) {
			pfn = PHYS_PFN(kho_decode_key(start | i, &order, &type));
			if (pfn < end_pfn)
				continue;
		}
		kho_intake_drop(in, "key", start | i, why);
		__clear_bit(i, leaf->bitmap);
	}
}

/*
 * Take out the keys that are nonsense wherever memory is, so that the rest of the
 * map can be searched by order, type and address: all keys of a leaf have the same
 * type and order, and none begins behind the end of all memory.
 */
static void __init kho_intake_check_leaf(struct kho_intake *in,
					 struct kho_radix_leaf *leaf,
					 unsigned long start)
{
	unsigned int order, type;
	unsigned long pfn;

	/* Its keys have several orders, each larger than memory. */
	if (!(start & (BIT(KHO_MEMDESC_SHIFT) - 1))) {
		kho_intake_drop_leaf(in, leaf, start, 0, "no order");
		return;
	}
	pfn = PHYS_PFN(kho_decode_key(start, &order, &type));
	if (type >> KHO_MEMDESC_BITS)
		kho_intake_drop_leaf(in, leaf, start, 0,
				     "no type has so many bits");
	else if (pfn >= in->end_pfn ||
		 in->end_pfn - pfn < KHO_LEAF_BITS << order)
		kho_intake_drop_leaf(in, leaf, start, in->end_pfn,
				     "beyond the end of memory");
}

/*
 * A node must be in memory that nothing else uses. The list of nodes also makes
 * the check refuse a node if another link leads to it. Without that the walk of a
 * map with a cycle would never end.
 */
static int __init kho_intake_check_node_addr(struct kho_intake *in, u64 phys)
{
	int err = -EINVAL;

	if (IS_ALIGNED(phys, PAGE_SIZE) &&
	    kho_intake_is_free(in, PHYS_PFN(phys), PHYS_PFN(phys) + 1))
		err = kho_nodes_add(PHYS_PFN(phys));
	if (err && err != -ENOMEM)
		kho_intake_drop(in, "node", phys,
				"no memory, in use, or met before");
	return err;
}

/* Check the nodes below @node. Returns 0 or -ENOMEM. */
static int __init kho_intake_check_node(struct kho_intake *in,
					struct kho_radix_node *node,
					unsigned int level, unsigned long start)
{
	const unsigned int shift = (level - 1) * KHO_TABLE_SIZE_LOG2 +
				   KHO_BITMAP_SIZE_LOG2;
	int err;

	for (unsigned long i = 0; i < 1UL << KHO_TABLE_SIZE_LOG2; i++) {
		const unsigned long key = start | i << shift;
		struct kho_radix_node *child;

		if (!node->table[i])
			continue;

		err = kho_intake_check_node_addr(in, node->table[i]);
		if (err == -ENOMEM)
			return err;
		if (err) {
			node->table[i] = 0;
			continue;
		}

		child = phys_to_virt(node->table[i]);
		if (level > 1)
			err = kho_intake_check_node(in, child, level - 1, key);
		else
			kho_intake_check_leaf(in, (void *)child, key);
		if (err)
			return err;
	}
	return 0;
}

/*
 * Drop a kept entry that overlaps one which this kernel understands: the latter
 * is more likely to be true. Otherwise count it. Kept entries may overlap: it is
 * not known which of them is true, so the memory of all stays kept. Returns 1 if
 * the entry is dropped, else 0.
 */
static int __init kho_intake_count_kept(struct kho_intake *in, unsigned long key)
{
	unsigned int order, type;
	phys_addr_t phys = kho_decode_key(key, &order, &type);
	const unsigned long pfn = PHYS_PFN(phys), end = pfn + (1UL << order);

	if (kho_nodes_next(pfn, end) < end ||
	    kho_extent_next(kho_preserved.map, kho_preserved.orders, pfn,
			    end) < end) {
		kho_intake_drop(in, "key", key,
				"preserved twice, or a node of the map");
		return 1;
	}
	kho_kept.entries++;
	kho_kept.pages += 1UL << order;
	pr_err_ratelimited("preserved memory map: kept %pa, order %u, type %u: %s\n",
			   &phys, order, type,
			   kho_intake_unknown(in, pfn, order, type) ?:
			   "another one of this type and order is kept");
	return 0;
}

/* Drop or count the keys in kho_kept below @node. */
static void __init kho_intake_count_node(struct kho_intake *in,
					 struct kho_radix_node *node,
					 unsigned int level, unsigned long start)
{
	const unsigned int shift = (level - 1) * KHO_TABLE_SIZE_LOG2 +
				   KHO_BITMAP_SIZE_LOG2;
	struct kho_radix_leaf *leaf = (void *)node;
	unsigned long i;

	if (level) {
		for (i = 0; i < 1UL << KHO_TABLE_SIZE_LOG2; i++) {
			if (node->table[i])
				kho_intake_count_node(in,
						      phys_to_virt(node->table[i]),
						      level - 1,
						      start | i << shift);
		}
		return;
	}

	for_each_set_bit(i, leaf->bitmap, KHO_LEAF_BITS) {
		if (kho_intake_count_kept(in, start | i))
			__clear_bit(i, leaf->bitmap);
	}
}

/*
 * Check the keys of a leaf whose type or order this kernel does not understand.
 * They move to kho_kept, or stay in the map if there is no memory to record them.
 */
static void __init kho_intake_check_unknown_leaf(struct kho_intake *in,
						 struct kho_radix_leaf *leaf,
						 unsigned long start)
{
	unsigned int order, type;
	unsigned long i, pfn;
	const char *why;

	for_each_set_bit(i, leaf->bitmap, KHO_LEAF_BITS) {
		pfn = PHYS_PFN(kho_decode_key(start | i, &order, &type));
		why = kho_intake_impossible(in, pfn, order);
		if (why)
			kho_intake_drop(in, "key", start | i, why);
		if (why || kho_intake_keep(start | i) ||
		    kho_intake_count_kept(in, start | i))
			__clear_bit(i, leaf->bitmap);
	}
}

/*
 * Called when all entries that this kernel understands are checked: check the
 * other ones.
 */
static void __init kho_intake_settle_kept(struct kho_intake *in)
{
	const unsigned int top = KHO_TREE_MAX_DEPTH - 1;
	struct kho_radix_leaf *leaf;
	unsigned int order, type;
	unsigned long key;

	for (key = 0; (leaf = kho_radix_next_leaf(kho_preserved.map, &key));
	     key += KHO_LEAF_BITS) {
		if (!(key & (BIT(KHO_MEMDESC_SHIFT) - 1)))
			continue;
		kho_decode_key(key, &order, &type);
		if (type >> KHO_MEMDESC_BITS == 0 &&
		    !(kho_preserved.orders[type] & BIT_ULL(order)))
			kho_intake_check_unknown_leaf(in, leaf, key);
	}
	if (kho_kept.tree.root)
		kho_intake_count_node(in, kho_kept.tree.root, top, 0);
	if (kho_kept.entries)
		pr_err("preserved memory map: %lu entries of %lu pages are kept, but cannot be restored by this kernel\n",
		       kho_kept.entries, kho_kept.pages);
}

static void __init kho_intake_forget(void)
{
	kho_kept_forget();
	kho_nodes_free();
	memset(&kho_preserved, 0, sizeof(kho_preserved));
}

static void __init kho_intake_report(struct kho_intake *in)
{
	if (in->dropped)
		pr_err("preserved memory map: %lu entries left out\n",
		       in->dropped);
	in->dropped = 0;
}

/**
 * kho_intake_check_nodes - check the nodes of the map of the previous kernel
 * @tree: the map; nodes that cannot be used are taken out of it
 * @root: physical address of the root, from the FDT of the previous kernel
 * @fdt: physical address of that FDT
 * @v4: whether it is a "kho-v4" map, which has no types
 *
 * After that kho_preserved_next() can be used. Until the keys are checked, more
 * memory than is true counts as preserved.
 *
 * Context: Early boot, when memblock knows all memory, and everything that is
 *	reserved at a fixed address is reserved.
 * Return: 0, %-EINVAL if the root is no node, or the FDT is damaged, or %-ENOMEM
 *	if there is too little scratch memory for the list of nodes. After an
 *	error the caller must not use the map.
 */
int __init kho_intake_check_nodes(struct kho_radix_tree *tree, phys_addr_t root,
				  phys_addr_t fdt, bool v4)
{
	struct kho_intake *in = &kho_intake;
	int err;

	*in = (struct kho_intake){
		.end_pfn = PFN_UP(memblock_end_of_DRAM()),
		.fdt_pfn = PHYS_PFN(fdt),
	};
	if (!kho_intake_fdt_ok(phys_to_virt(fdt)))
		return -EINVAL;
	err = kho_intake_check_node_addr(in, root);
	if (!err)
		err = kho_intake_check_node(in, tree->root,
					    KHO_TREE_MAX_DEPTH - 1, 0);
	if (err) {
		kho_intake_report(in);
		kho_intake_forget();
		return err;
	}
	kho_nodes_sort();
	kho_preserved_init(tree->root, v4);
	return 0;
}

/**
 * kho_intake_check_keys - check the entries of the map of the previous kernel
 * @tree: the map; entries that cannot be used are taken out of it
 * @fdt: physical address of the FDT, which must itself be preserved
 *
 * An entry that cannot be true is reported, and its memory becomes ordinary
 * free memory. An entry that this kernel does not understand is reported and
 * recorded in kho_kept, and its memory stays away from everybody.
 *
 * Context: Early boot, after kho_intake_check_nodes().
 * Return: 0; 1 if entries were dropped, so that less memory counts as preserved than
 *	before; or %-EINVAL if the FDT is not preserved. Then nothing is preserved.
 */
int __init kho_intake_check_keys(struct kho_radix_tree *tree, phys_addr_t fdt)
{
	struct kho_intake *in = &kho_intake;
	bool dropped;

	/* From address 0, so that entries below all memory are dropped as well. */
	for (unsigned long pfn = 0; pfn < in->end_pfn; pfn += KHO_LEAF_BITS) {
		if (kho_extent_next(kho_preserved.map, kho_preserved.orders, pfn,
				    pfn + KHO_LEAF_BITS) < pfn + KHO_LEAF_BITS)
			kho_intake_check_window(in, pfn);
	}
	kho_intake_settle_kept(in);
	dropped = in->dropped;
	kho_intake_report(in);
	if (!kho_intake_has_page(tree, fdt)) {
		kho_intake_forget();
		return -EINVAL;
	}
	kho_preserved_update();
	return dropped;
}
