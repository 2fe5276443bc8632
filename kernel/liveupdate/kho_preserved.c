// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keeping preserved memory from the page allocator during boot.
 *
 * Preserved memory is not reserved in memblock, whose arrays are searched from
 * the start for every region: that is quadratic. Until the page allocator has
 * all other memory, kho_preserved has a bit for each page of it, and of the map
 * that says what is preserved. Before that,
 * memblock allocates from scratch areas only, in which nothing is preserved.
 * Where the page allocator is given its memory, serially or in parallel, it
 * leaves out the pages with a bit, and kho_stamp_pages() says in their struct
 * pages what they are, so that the restore functions find them.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/bitmap.h>
#include <linux/kho_radix_tree.h>
#include <linux/memblock.h>
#include <linux/mm.h>

#include "kexec_handover_internal.h"

/* Memory that the page allocator must not be given, from kho_preserved_init() on. */
static struct {
	struct kho_radix_node *map;	/* the map; NULL: nothing is preserved */
	struct kho_radix_node *pages;	/* a bit for each page, by pfn */
	u64 orders[KHO_NR_MEMDESC];	/* which are in the map, for each type */
} kho_preserved __initdata;

/* Note of what types and orders are the keys of @node, a node of the map. */
static void __init kho_preserved_note_node(struct kho_radix_node *node,
					   unsigned int level, unsigned long start)
{
	const unsigned int shift = (level - 1) * KHO_TABLE_SIZE_LOG2 +
				   KHO_BITMAP_SIZE_LOG2;
	struct kho_radix_leaf *leaf = (void *)node;
	unsigned int order, type;
	unsigned long i;

	if (level) {
		for (i = 0; i < 1UL << KHO_TABLE_SIZE_LOG2; i++)
			if (node->table[i])
				kho_preserved_note_node(phys_to_virt(node->table[i]),
							level - 1,
							start | i << shift);
		return;
	}

	/* The same for all keys of a leaf. */
	i = find_first_bit(leaf->bitmap, KHO_LEAF_BITS);
	if (i == KHO_LEAF_BITS)
		return;
	kho_decode_key(start | i, &order, &type);
	kho_preserved.orders[type] |= BIT_ULL(order);
}

/**
 * kho_preserved_init - note which pages are preserved
 * @map: root of the preserved memory map, which kho_intake_check() has passed
 * @pages: root of the tree that this has made of the pages that preservations and
 *	nodes of the map lie on
 *
 * Context: Early boot, while memblock allocates from scratch areas only.
 */
void __init kho_preserved_init(struct kho_radix_node *map,
			       struct kho_radix_node *pages)
{
	kho_preserved.map = map;
	kho_preserved.pages = pages;
	kho_preserved_note_node(map, KHO_TREE_MAX_DEPTH - 1, 0);
}

/* The first pfn from @pfn on, below @end, with a bit in kho_preserved; or @end. */
unsigned long __init kho_preserved_next(unsigned long pfn, unsigned long end)
{
	while (pfn < end) {
		unsigned long start = ALIGN_DOWN(pfn, KHO_LEAF_BITS);
		unsigned long stop = min(end - start, KHO_LEAF_BITS);
		struct kho_radix_leaf *leaf;
		unsigned long bit;

		leaf = kho_radix_find(kho_preserved.pages, pfn);
		if (leaf) {
			bit = find_next_bit(leaf->bitmap, stop, pfn - start);
			if (bit < stop)
				return start + bit;
		}
		pfn = start + KHO_LEAF_BITS;
	}
	return end;
}

/**
 * kho_preserved_block - what of a block must not go to the page allocator?
 * @pfn: page frame number of the first page
 * @end: page frame number behind the last page, in the same naturally aligned
 *	block of MAX_ORDER_NR_PAGES
 *
 * Context: Boot, until kho_preserved_finish().
 * Return: %NULL if all of it may. Else a bitmap whose first bit is the first
 *	page of the aligned block, with bits for the pages that must not.
 */
const unsigned long *__init kho_preserved_block(unsigned long pfn,
						unsigned long end)
{
	const unsigned long off = pfn % MAX_ORDER_NR_PAGES;
	struct kho_radix_leaf *leaf;
	unsigned long *block;

	/* Blocks are whole words of a leaf, and do not cross leaves. */
	BUILD_BUG_ON(MAX_ORDER_NR_PAGES % BITS_PER_LONG);
	BUILD_BUG_ON(MAX_ORDER_NR_PAGES > KHO_LEAF_BITS);

	if (likely(!kho_preserved.map))
		return NULL;
	leaf = kho_radix_find(kho_preserved.pages, pfn);
	if (!leaf)
		return NULL;
	block = leaf->bitmap + (pfn - off) % KHO_LEAF_BITS / BITS_PER_LONG;
	end += off - pfn;
	return find_next_bit(block, end, off) < end ? block : NULL;
}

/*
 * Say in the struct pages what the preservations are whose bits in @leaf are set
 * from @bit on, below @end. Those begin at @pfn, and neighbours lie as many pages
 * apart as the order says.
 */
static void __init kho_stamp_leaf(const struct kho_radix_leaf *leaf,
				  unsigned long bit, unsigned long end,
				  unsigned long pfn, union kho_page_info info)
{
	struct page *const page = pfn_to_page(pfn);
	const unsigned long start = bit;

	/* A word at a time: with single pages a search for each costs most. */
	for (unsigned long next; bit < end; bit = next) {
		unsigned long word = leaf->bitmap[BIT_WORD(bit)] &
				     BITMAP_FIRST_WORD_MASK(bit);

		next = round_down(bit, BITS_PER_LONG) + BITS_PER_LONG;
		if (next > end)
			word &= BITMAP_LAST_WORD_MASK(end);
		for (; word; word &= word - 1) {
			unsigned long i = round_down(bit, BITS_PER_LONG) +
					  __ffs(word) - start;
			struct page *first = page + (i << info.order);

			if (info.order && info.prepared)
				kho_prep_pages(first, info.order, info.type);
			first->private = info.page_private;
		}
	}
}

/**
 * kho_stamp_pages - make the preservations in a block known to restorers
 * @pfn: page frame number of the first page
 * @end: page frame number behind the last page, in the same naturally aligned
 *	block of MAX_ORDER_NR_PAGES
 *
 * Context: Boot, directly after the struct pages were initialised, and before
 *	any of the pages is freed. May run in parallel for different blocks.
 */
void __init kho_stamp_pages(unsigned long pfn, unsigned long end)
{
	union kho_page_info info = { .magic = KHO_PAGE_MAGIC };

	for (info.type = 0; info.type < KHO_NR_MEMDESC; info.type++) {
		u64 orders = kho_preserved.orders[info.type];

		/* What untyped memory becomes is decided by who restores it. */
		info.prepared = info.type != KHO_MEMDESC_UNTYPED;
		for (; orders; orders &= orders - 1) {
			unsigned long first, nr, key;
			struct kho_radix_leaf *leaf;

			/* Those which begin in [pfn, end). */
			info.order = __ffs64(orders);
			first = ALIGN(pfn, BIT(info.order));
			if (first >= end)
				continue;
			nr = ((end - 1 - first) >> info.order) + 1;

			key = kho_encode_key(PFN_PHYS(first), info.order,
					     info.type);
			leaf = kho_radix_find(kho_preserved.map, key);
			if (!leaf)
				continue;
			key %= KHO_LEAF_BITS;
			kho_stamp_leaf(leaf, key, key + nr, first, info);
		}
	}
}

/**
 * kho_preserved_has - was this preserved
 * @phys: physical address of the memory
 * @order: log2 of the number of pages
 * @type: what it is
 *
 * Context: Boot, until kho_preserved_finish(). No struct page is touched.
 * Return: whether the map has an entry for it.
 */
bool __init kho_preserved_has(phys_addr_t phys, unsigned int order,
			      enum kho_memdesc type)
{
	const unsigned long key = kho_encode_key(phys, order, type);
	struct kho_radix_leaf *leaf;

	if (!kho_preserved.map)
		return false;
	leaf = kho_radix_find(kho_preserved.map, key);
	return leaf && test_bit(key % KHO_LEAF_BITS, leaf->bitmap);
}

static void __init kho_preserved_unmark(unsigned long pfn, unsigned long nr)
{
	const unsigned long end = pfn + nr;

	for (; pfn < end; pfn += nr) {
		unsigned long off = pfn % KHO_LEAF_BITS;
		struct kho_radix_leaf *leaf;

		nr = min(end - pfn, KHO_LEAF_BITS - off);
		leaf = kho_radix_find(kho_preserved.pages, pfn);
		if (leaf)
			bitmap_clear(leaf->bitmap, off, nr);
	}
}

/*
 * Take the pages in [@pfn, @end) away from the keys of a map whose memory lies
 * there, or in part. @orders are those which @type has in the map. The keys go with
 * all their pages, unless they are @kept: memory that is not understood stays kept,
 * but for those pages. Returns the number of keys.
 */
static unsigned long __init
kho_preserved_drop_orders(struct kho_radix_node *map, u64 orders,
			  unsigned int type, unsigned long pfn,
			  unsigned long end, bool kept)
{
	unsigned long nr_keys = 0;

	for (; orders; orders &= orders - 1) {
		const unsigned int order = __ffs64(orders);
		const unsigned long last = (end - 1) >> order;

		/* Those that may lie in it, a leaf at a time. */
		for (unsigned long i = pfn >> order, nr; i <= last; i += nr) {
			unsigned long key, first, bit;
			struct kho_radix_leaf *leaf;

			key = kho_encode_key(PFN_PHYS(i << order), order, type);
			first = key % KHO_LEAF_BITS;
			bit = first;
			nr = min(last - i + 1, KHO_LEAF_BITS - first);
			leaf = kho_radix_find(map, key);
			if (!leaf)
				continue;
			for_each_set_bit_from(bit, leaf->bitmap, first + nr) {
				unsigned long start = (i + bit - first) << order;
				unsigned long stop = start + (1UL << order);

				if (kept) {
					start = max(start, pfn);
					stop = min(stop, end);
				} else {
					__clear_bit(bit, leaf->bitmap);
				}
				kho_preserved_unmark(start, stop - start);
				nr_keys++;
			}
		}
	}
	return nr_keys;
}

/* Take out what lies in [@pfn, @end). Returns the number of preservations. */
static unsigned long __init kho_preserved_drop(unsigned long pfn,
					       unsigned long end)
{
	unsigned long nr = 0;

	for (unsigned int type = 0; type < KHO_NR_MEMDESC; type++)
		nr += kho_preserved_drop_orders(kho_preserved.map,
						kho_preserved.orders[type],
						type, pfn, end, false);
	for (unsigned int type = 0; type < ARRAY_SIZE(kho_kept.orders); type++)
		nr += kho_preserved_drop_orders(kho_kept.tree.root,
						kho_kept.orders[type], type,
						pfn, end, true);
	return nr;
}

/* The order of the single pages that are preserved from @pfn on; -1 if none are. */
static int __init kho_preserved_split_order(unsigned long pfn)
{
	/* "kho-v4" does not tell. */
	static const enum kho_memdesc types[] __initconst = {
		KHO_MEMDESC_SPLIT, KHO_MEMDESC_UNTYPED,
	};

	for (int i = 0; i < ARRAY_SIZE(types); i++) {
		u64 orders = kho_preserved.orders[types[i]];

		for (; orders; orders &= orders - 1) {
			const unsigned int order = __ffs64(orders);
			struct kho_radix_leaf *leaf;
			unsigned long key;

			if (!IS_ALIGNED(pfn, 1UL << order))
				continue;
			key = kho_encode_key(PFN_PHYS(pfn), order, types[i]);
			leaf = kho_radix_find(kho_preserved.map, key);
			if (leaf && test_bit(key % KHO_LEAF_BITS, leaf->bitmap))
				return order;
		}
	}
	return -1;
}

/**
 * kho_preserved_take - take memory out of what is preserved
 * @start: physical address
 * @size: size in bytes
 *
 * For memory that was preserved by kho_preserve_pages() and that its owner takes
 * back as a whole, by reserving it in memblock, before the page allocator is up.
 * All whole pages must have been preserved so. A part of a page at either end
 * may belong to a neighbour that has been taken already.
 *
 * Context: Early boot, after kho_memory_init_early().
 * Return: 0, or %-EINVAL if that is not what is preserved there. Then nothing has
 *	changed.
 */
int __init kho_preserved_take(phys_addr_t start, phys_addr_t size)
{
	const unsigned long first = PHYS_PFN(start), end = PFN_UP(start + size);
	const bool whole = PAGE_ALIGNED(start) && PAGE_ALIGNED(size);
	unsigned long pfn;

	if (!kho_preserved.map)
		return -EINVAL;

	for (pfn = first; pfn < end; ) {
		int order = kho_preserved_split_order(pfn);

		if (order >= 0 && 1UL << order <= end - pfn)
			pfn += 1UL << order;
		else if (order < 0 && !whole &&
			 kho_preserved_next(pfn, pfn + 1) > pfn)
			pfn++;
		else
			return -EINVAL;
	}
	kho_preserved_drop(first, end);
	return 0;
}

/**
 * kho_preserved_settle - settle what is preserved
 * @fdt: physical address of the handover FDT
 *
 * Memory that this boot has reserved since kho_preserved_init() cannot be
 * preserved any more: it has another owner. That is an error, see
 * kho_preserved_take() for how memory is taken back.
 *
 * Context: Boot, directly before memblock hands memory to the page allocator.
 * Return: 0, or %-EINVAL if the map itself or the FDT is in reserved memory.
 *	Then nothing is preserved.
 */
int __init kho_preserved_settle(phys_addr_t fdt)
{
	struct memblock_region *region;
	unsigned long lost = 0;

	for_each_reserved_mem_region(region) {
		unsigned long pfn = memblock_region_reserved_base_pfn(region);
		unsigned long end = memblock_region_reserved_end_pfn(region);

		pfn = kho_preserved_next(pfn, end);
		if (pfn == end)
			continue;

		pr_err_ratelimited("preserved memory at %pa is reserved by this boot\n",
				   &(phys_addr_t){ PFN_PHYS(pfn) });
		lost += kho_preserved_drop(pfn, end);
		if (kho_preserved_next(pfn, end) < end ||
		    kho_preserved_next(PHYS_PFN(fdt), PHYS_PFN(fdt) + 1) !=
		    PHYS_PFN(fdt)) {
			kho_preserved.map = NULL;
			kho_kept_forget();
			return -EINVAL;
		}
	}
	if (lost)
		pr_err("%lu preservations are lost to reservations of this boot\n",
		       lost);
	return 0;
}

static void __init kho_preserved_free_nodes(struct kho_radix_node *node,
					    unsigned int level)
{
	for (unsigned long i = 0; level && i < 1UL << KHO_TABLE_SIZE_LOG2; i++) {
		if (node->table[i])
			kho_preserved_free_nodes(phys_to_virt(node->table[i]),
						 level - 1);
	}
	memblock_phys_free(virt_to_phys(node), PAGE_SIZE);
}

/**
 * kho_preserved_finish - free the map and the bitmap
 *
 * Context: Boot, when all struct pages are initialised and stamped.
 */
void __init kho_preserved_finish(void)
{
	/* Without the first if kho_preserved_settle() has refused it. */
	if (kho_preserved.map)
		kho_preserved_free_nodes(kho_preserved.map,
					 KHO_TREE_MAX_DEPTH - 1);
	if (kho_preserved.pages)
		kho_preserved_free_nodes(kho_preserved.pages,
					 KHO_TREE_MAX_DEPTH - 1);
	kho_preserved.map = NULL;
	kho_preserved.pages = NULL;
}
