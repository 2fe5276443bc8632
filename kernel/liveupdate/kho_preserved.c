// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keeping preserved memory from the page allocator during boot.
 *
 * Preserved memory is not reserved in memblock. Memblock searches its arrays
 * from the start for every region, so the time would grow with the square of
 * the number of preservations. Instead the map of the previous kernel says which
 * pages are preserved, until the page allocator has all other memory. Before that,
 * memblock allocates from memory only in which nothing is preserved. The code that
 * gives memory to the page allocator, serially or in parallel, asks for each block
 * of pages, and leaves out the pages that are preserved or are nodes of the map.
 * kho_stamp_pages() writes order and type of a preservation into its first struct
 * page, so that the restore functions find the preservation.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/bitmap.h>
#include <linux/kho_radix_tree.h>
#include <linux/memblock.h>
#include <linux/mm.h>

#include "kexec_handover_internal.h"

struct kho_preserved kho_preserved __initdata;

/**
 * kho_preserved_init - set what is preserved
 * @map: root of the preserved memory map, of which the nodes are checked, and
 *	of which no key is beyond the end of memory
 * @v4: whether the map is a "kho-v4" one, which has no types
 *
 * As long as the keys are not checked, more than the truth counts as preserved.
 *
 * Context: Early boot, while memblock allocates from scratch areas only.
 */
void __init kho_preserved_init(struct kho_radix_node *map, bool v4)
{
	kho_preserved.map = map;
	kho_preserved.nr_types = v4 ? KHO_MEMDESC_UNTYPED + 1 : KHO_NR_MEMDESC;
	kho_extent_orders(map, kho_preserved.held);
	for (unsigned int type = 0; type < kho_preserved.nr_types; type++)
		kho_preserved.orders[type] = kho_preserved.held[type] &
					     GENMASK_ULL(kho_max_order(type), 0);
}

/**
 * kho_preserved_update - have the keys taken into account that were taken out
 *
 * Context: Early boot.
 */
void __init kho_preserved_update(void)
{
	kho_extent_orders(kho_preserved.map, kho_preserved.held);
	for (unsigned int type = 0; type < ARRAY_SIZE(kho_preserved.orders); type++)
		kho_preserved.orders[type] &= kho_preserved.held[type];
}

/**
 * kho_preserved_next - find the first page that the allocator must not get
 * @pfn: page frame number of the first page to look at
 * @end: page frame number behind the last one
 *
 * Context: Boot, until kho_preserved_finish().
 * Return: the page frame number of a page that is preserved, or a node of the
 *	map, or @end.
 */
unsigned long __init kho_preserved_next(unsigned long pfn, unsigned long end)
{
	if (likely(!kho_preserved.map))
		return end;

	end = kho_nodes_next(pfn, end);
	end = kho_extent_next(kho_preserved.map, kho_preserved.held, pfn, end);
	if (kho_kept.tree.root)
		end = kho_extent_next(kho_kept.tree.root, kho_kept.orders, pfn,
				      end);
	return end;
}

/**
 * kho_preserved_block - which pages of a block must the allocator not get?
 * @pfn: page frame number of the first page
 * @end: page frame number behind the last page, in the same naturally aligned
 *	block of MAX_ORDER_NR_PAGES
 * @block: a bitmap of MAX_ORDER_NR_PAGES, whose first bit stands for the first
 *	page of the aligned block; the bits of pages that the page allocator must
 *	not get are set
 *
 * Context: Boot, until kho_preserved_finish(). May run in parallel.
 * Return: whether the page allocator must not get all of [@pfn, @end). If it may,
 *	@block is undefined.
 */
bool __init kho_preserved_block(unsigned long pfn, unsigned long end,
				unsigned long *block)
{
	const unsigned long start = ALIGN_DOWN(pfn, MAX_ORDER_NR_PAGES);
	const unsigned long stop = start + MAX_ORDER_NR_PAGES;
	unsigned long node = start;

	/* A block takes whole words of a leaf, and lies in one leaf. */
	BUILD_BUG_ON(MAX_ORDER_NR_PAGES % BITS_PER_LONG);
	BUILD_BUG_ON(MAX_ORDER_NR_PAGES > KHO_LEAF_BITS);

	if (likely(!kho_preserved.map))
		return false;

	bitmap_zero(block, MAX_ORDER_NR_PAGES);
	kho_extent_mark(kho_preserved.map, kho_preserved.held, start, block);
	if (kho_kept.tree.root)
		kho_extent_mark(kho_kept.tree.root, kho_kept.orders, start,
				block);
	while ((node = kho_nodes_next(node, stop)) < stop)
		__set_bit(node++ - start, block);
	return find_next_bit(block, end - start, pfn - start) < end - start;
}

/**
 * kho_preserved_has - was this memory preserved
 * @phys: physical address of the memory
 * @order: log2 of the number of pages
 * @type: the type with which the memory must have been preserved
 *
 * Context: Boot, until kho_preserved_finish(). No struct page is touched.
 * Return: whether the map has an entry with this address, order and type.
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

/*
 * Stamp the preservations whose bits are set in [@bit, @end) of @leaf: write
 * @info into their first struct page and, with @info.prepared, set up the other
 * ones. @bit stands for @pfn, and each further bit for the page 1 << order
 * pages on.
 */
static void __init kho_stamp_leaf(const struct kho_radix_leaf *leaf,
				  unsigned long bit, unsigned long end,
				  unsigned long pfn, union kho_page_info info)
{
	struct page *const page = pfn_to_page(pfn);
	const unsigned long start = bit;

	/* By words: with single pages, searching for each bit costs most. */
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

			if (info.order && info.order <= MAX_PAGE_ORDER &&
			    info.prepared)
				kho_prep_pages(first, info.order, info.type);
			first->private = info.page_private;
		}
	}
}

/*
 * If [@pfn, @end) is a part of a preservation that is larger than a block, set up
 * this part. The other parts have blocks of their own, which may not be initialised
 * yet, or which another thread sets up just now.
 */
static void __init kho_stamp_part(unsigned long pfn, unsigned long end,
				  unsigned int order, enum kho_memdesc type)
{
	const unsigned long first = ALIGN_DOWN(pfn, BIT(order));
	struct page *head = pfn_to_page(first);

	if (type == KHO_MEMDESC_SPLIT ||
	    !kho_preserved_has(PFN_PHYS(first), order, type))
		return;
	kho_prep_tails(head, order, type, pfn == first ? 1 : pfn - first,
		       end - first);
	if (pfn == first)
		kho_prep_head(head, order, type);
}

/**
 * kho_stamp_pages - let the restore functions find the preservations in a block
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

		/* The restore function decides what untyped memory becomes. */
		info.prepared = info.type != KHO_MEMDESC_UNTYPED;
		for (; orders; orders &= orders - 1) {
			unsigned long first, nr, key;
			struct kho_radix_leaf *leaf;

			info.order = __ffs64(orders);
			if (info.order > MAX_PAGE_ORDER && info.prepared)
				kho_stamp_part(pfn, end, info.order, info.type);
			/* Stamp the preservations that begin in [pfn, end). */
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
 * kho_preserved_orders - which orders does memory of a type have
 * @type: the type, which this kernel knows
 *
 * Context: Boot.
 * Return: A bit for each order. There may be more of them than memory is left.
 */
u64 __init kho_preserved_orders(unsigned int type)
{
	return is_kho_boot() ? kho_preserved.orders[type] : 0;
}

/**
 * kho_preserved_count - count preservations
 * @type: their type
 * @order: their order
 * @nid: the node on which they have to be, or %NUMA_NO_NODE
 *
 * Context: Boot, until kho_preserved_finish(). No struct page is touched.
 * Return: how many there are.
 */
unsigned long __init kho_preserved_count(unsigned int type, unsigned int order,
					 int nid)
{
	const unsigned long end = PHYS_PFN(memblock_end_of_DRAM()) >> order;
	unsigned long count = 0;

	if (!kho_preserved.map ||
	    !(kho_preserved.orders[type] & BIT_ULL(order)))
		return 0;

	for (unsigned long i = 0, nr; i <= end; i += nr) {
		const unsigned long key = kho_encode_key(PFN_PHYS(i << order),
							 order, type);
		unsigned long first = key % KHO_LEAF_BITS, bit = first;
		struct kho_radix_leaf *leaf;

		nr = KHO_LEAF_BITS - first;
		leaf = kho_radix_find(kho_preserved.map, key);
		if (!leaf)
			continue;
		for_each_set_bit_from(bit, leaf->bitmap, KHO_LEAF_BITS) {
			const unsigned long pfn = (i + bit - first) << order;

			count += nid == NUMA_NO_NODE ||
				 early_pfn_to_nid(pfn) == nid;
		}
	}
	return count;
}

/*
 * Drop the keys of @map whose memory overlaps [@pfn, @end). @orders has a bit
 * for each order that @type has in the map. With @kept, which means memory that
 * this kernel does not understand, the keys stay. Returns the number of keys.
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

		/* Look at all keys that can overlap the range, leaf by leaf. */
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
				if (!kept)
					__clear_bit(bit, leaf->bitmap);
				nr_keys++;
			}
		}
	}
	return nr_keys;
}

/* Drop what overlaps [@pfn, @end). Returns the number of preservations. */
static unsigned long __init kho_preserved_drop(unsigned long pfn,
					       unsigned long end)
{
	unsigned long nr = 0;

	for (unsigned int type = 0; type < ARRAY_SIZE(kho_kept.orders); type++) {
		const u64 known = kho_preserved.orders[type];

		nr += kho_preserved_drop_orders(kho_preserved.map, known, type,
						pfn, end, false);
		nr += kho_preserved_drop_orders(kho_preserved.map,
						kho_preserved.held[type] & ~known,
						type, pfn, end, true);
		nr += kho_preserved_drop_orders(kho_kept.tree.root,
						kho_kept.orders[type], type,
						pfn, end, true);
	}
	return nr;
}

/*
 * Returns the order of the preservation of single pages that begins at @pfn, or
 * -1 if there is none.
 */
static int __init kho_preserved_split_order(unsigned long pfn)
{
	/* "kho-v4" does not tell single pages from other memory. */
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

/*
 * Does the range cover only a part of the page? If so, the owner of the other
 * part may have taken the page already.
 */
static bool __init kho_partly(unsigned long pfn, phys_addr_t start,
			      phys_addr_t size)
{
	return PFN_PHYS(pfn) < start || PFN_PHYS(pfn + 1) > start + size;
}

/**
 * kho_preserved_take - take memory out of what is preserved
 * @start: physical address
 * @size: size in bytes
 *
 * This is for pages of order 0 that were preserved as a range
 * (%KHO_MEMDESC_SPLIT). The owner takes the memory back as a whole, before the
 * page allocator is up, by reserving it in memblock. All whole pages of the
 * range must have been preserved in this way. If the range begins or ends within
 * a page, the owner of the rest of this page may have taken the page already.
 *
 * Context: Early boot, after kho_memory_init_early().
 * Return: 0, or %-EINVAL if the range was not preserved in this way. Then
 *	nothing has changed.
 */
int __init kho_preserved_take(phys_addr_t start, phys_addr_t size)
{
	const unsigned long first = PHYS_PFN(start), end = PFN_UP(start + size);
	unsigned long pfn;

	if (!kho_preserved.map)
		return -EINVAL;

	for (pfn = first; pfn < end; ) {
		int order = kho_preserved_split_order(pfn);

		if (order >= 0 && 1UL << order <= end - pfn)
			pfn += 1UL << order;
		else if (order < 0 && kho_partly(pfn, start, size) &&
			 kho_preserved_next(pfn, pfn + 1) > pfn)
			pfn++;
		else
			return -EINVAL;
	}
	kho_preserved_drop(first, end);
	return 0;
}

/**
 * kho_preserved_settle - drop preserved memory that this boot has reserved
 * @fdt: physical address of the handover FDT
 *
 * Memory that this boot has reserved since kho_preserved_init() has another
 * owner now, so that it cannot stay preserved. Reserving it was an error, which
 * is reported. An owner that takes its memory back calls kho_preserved_take().
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
		if (kho_nodes_next(pfn, end) < end ||
		    kho_preserved_next(PHYS_PFN(fdt), PHYS_PFN(fdt) + 1) !=
		    PHYS_PFN(fdt)) {
			memset(&kho_preserved, 0, sizeof(kho_preserved));
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

#ifdef CONFIG_KEXEC_HANDOVER_DEBUGFS
struct kho_radix_node *kho_in_map;
unsigned long kho_in_map_pages;

static int __init kho_preserved_count_node(phys_addr_t phys, void *data)
{
	kho_in_map_pages++;
	return 0;
}

/*
 * Copy the map, for debugfs to show. The nodes of the previous kernel cannot stay:
 * they lie anywhere, also where this kernel wants only memory that can move.
 */
static void __init kho_preserved_copy_map(void)
{
	static const struct kho_radix_walk_cb count __initconst = {
		.node = kho_preserved_count_node,
	};
	struct kho_radix_tree copy;
	struct kho_radix_leaf *from, *to;
	unsigned long key;

	if (kho_radix_init_tree(&copy, NULL))
		goto err;
	for (key = 0; (from = kho_radix_next_leaf(kho_preserved.map, &key));
	     key += KHO_LEAF_BITS) {
		if (bitmap_empty(from->bitmap, KHO_LEAF_BITS))
			continue;
		to = kho_radix_leaf(&copy, key, true);
		if (IS_ERR(to)) {
			kho_radix_destroy_tree(&copy);
			goto err;
		}
		*to = *from;
	}
	kho_radix_walk_tree(&copy, &count, NULL);
	kho_in_map = copy.root;
	return;
err:
	pr_warn("no memory to show in debugfs what was preserved\n");
}
#else
static inline void kho_preserved_copy_map(void) { }
#endif

/**
 * kho_preserved_finish - free the map and the list of its nodes
 *
 * Context: Boot, when all struct pages are initialised and stamped.
 */
void __init kho_preserved_finish(void)
{
	/* kho_preserved_settle() has set the map to NULL if it failed. */
	if (kho_preserved.map) {
		/*
		 * Only now, because before alternatives are patched counting the
		 * bits of a leaf takes ten times as long.
		 */
		kho_sum_log(kho_preserved.map, "took in");
		kho_preserved_copy_map();
		kho_preserved_free_nodes(kho_preserved.map,
					 KHO_TREE_MAX_DEPTH - 1);
	}
	kho_preserved.map = NULL;
	kho_nodes_free();
}
