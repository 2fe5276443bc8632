/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The map of preserved pages, inside: windows, and the fast path of adding and
 * deleting memory. Files that only use the map find what they need in
 * kexec_handover_internal.h, which also has the glossary.
 *
 * The functions here are inline because of order 0, of which a live update
 * preserves millions: with the type and the order constant, preserving a folio
 * takes 83 instructions, the two of the lock included.
 */
#ifndef _KHO_MAP_H
#define _KHO_MAP_H

#include <linux/bitops.h>
#include <linux/cleanup.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/log2.h>
#include <linux/percpu-rwsem.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/unroll.h>

#include "kho_check.h"

/*
 * A chunk is one of the BITS_PER_LONG parts of a window: 2 MiB with pages of
 * 4 KiB, 512 MiB with pages of 64 KiB.
 */
#define KHO_CHUNK_ORDER (KHO_BITMAP_SIZE_LOG2 - ilog2(BITS_PER_LONG))

/*
 * One aligned range of KHO_LEAF_BITS pages. The map cannot say whether a page is
 * part of some preservation: the type and the order are in the key, so one would
 * have to ask for every combination. Therefore a window has one bit for each
 * page, which is set if the page is preserved, or must not be preserved because
 * of its place. Windows are not handed over.
 *
 * At first a window has a bit for each chunk instead, which is set if one
 * preservation of at least a chunk has the chunk, or if it is such a place. The
 * bits of single pages are made when something smaller than a chunk is preserved in
 * the window first, and take the place of the bits of chunks.
 */
struct kho_window {
	spinlock_t lock;		/* protects all members, and order 0 leaves */
	unsigned long nr_preserved;	/* pages */
	unsigned long chunks;		/* a bit for each chunk, if @busy is NULL */
	unsigned long *busy;		/* KHO_LEAF_BITS bits, or NULL */
	/*
	 * The leaf that was used last, and the upper bits of its keys. Not a leaf
	 * of orders below KHO_CHUNK_ORDER if @busy is NULL.
	 */
	struct kho_radix_leaf *leaf;
	unsigned long leaf_prefix;	/* 0: there is no such leaf */
	struct rcu_head rcu;
};

/*
 * Indexed by page frame number / KHO_LEAF_BITS. A window is made when something
 * in it is preserved first. A flat array and not an xarray, because the look-up
 * is part of every call.
 */
extern struct kho_window **kho_windows;
extern unsigned long kho_nr_windows;

/*
 * Stands for every window that one preservation covers, when it was preserved
 * before anything else in the window: all pages are busy, and nothing has to be
 * remembered of them. The window has no bits and no leaf. Otherwise the map of a
 * gigantic folio of 1 GiB would need 8 windows, with a page of bits each.
 */
extern struct kho_window kho_covered_window;

/*
 * Stands for each window that one preservation has covered before, and that is empty
 * now. All of its places are good. Finding that out anew would look at each pageblock.
 */
extern struct kho_window kho_good_window;

/* Does it stand for several windows? Then it has no bits, and no leaf. */
static __always_inline bool kho_window_shared(const struct kho_window *window)
{
	return window == &kho_covered_window || window == &kho_good_window;
}

/*
 * Held for reading to set or clear bits in the map or in a window, so that
 * several CPUs can do so at once; held for writing to free empty windows and
 * nodes. The one exception is the order 0 leaf cached in window->leaf:
 * window->lock alone is enough to change that leaf, and kho_trim_work_fn()
 * empties the cache before it frees anything.
 */
extern struct percpu_rw_semaphore kho_map_sem;

struct kho_window *kho_new_window(unsigned long pfn);
int kho_new_busy(struct kho_window *window);
struct kho_radix_leaf *kho_new_leaf(unsigned long key);
void kho_trim_soon(void);
bool kho_block_has_ram(unsigned long pfn, unsigned int order);
extern atomic_t kho_map_reservations;
int __cold kho_refuse_busy(unsigned long pfn, unsigned int order,
			   enum kho_memdesc type);
int kho_map_add_large(unsigned long pfn, unsigned int order,
		      enum kho_memdesc type);
int kho_map_lock_and_add(unsigned long pfn, unsigned int order,
			 enum kho_memdesc type, unsigned long caller);
bool kho_map_del_large(unsigned long pfn, unsigned int order,
		       enum kho_memdesc type);
bool kho_v4_mismatch(unsigned long pfn, unsigned int order,
		     enum kho_memdesc type);
void kho_map_del_batch(struct page **pages, unsigned long nr, int order,
		       enum kho_memdesc type);

/* The key of memory in the format that this kernel writes. */
static __always_inline unsigned long kho_key(unsigned long pfn, unsigned int order,
					     enum kho_memdesc type)
{
	return kho_encode_key(PFN_PHYS(pfn), order,
			      kho_write_v4 ? KHO_MEMDESC_UNTYPED : type);
}

/* The order of a member of an array. */
static inline unsigned int kho_batch_order(struct page *page, int order)
{
	return order == KHO_ORDER_OF_PAGE ? compound_order(page) : order;
}

/* The window of @pfn, or NULL. */
static __always_inline struct kho_window *kho_find_window(unsigned long pfn)
{
	const unsigned long i = pfn / KHO_LEAF_BITS;

	if (unlikely(i >= kho_nr_windows))
		return NULL;
	/* Pairs with cmpxchg() in kho_new_window() and the release in kho_cover_window(). */
	return READ_ONCE(kho_windows[i]);
}

static inline unsigned long kho_window_end(unsigned long pfn, unsigned long end)
{
	return min(end, ALIGN(pfn + 1, KHO_LEAF_BITS));
}

/* The window of @pfn, or an error pointer. */
static __always_inline struct kho_window *kho_get_window(unsigned long pfn)
{
	struct kho_window *window = kho_find_window(pfn);

	return likely(window && window != &kho_good_window) ?
	       window : kho_new_window(pfn);
}

/*
 * The bits of a block in a bitmap. A block is aligned to its size, so it is a part
 * of one word or all of several words. find_next_bit(), bitmap_set() and
 * bitmap_clear() do not know that. The first word is hidden from the compiler, which
 * would compute the address of each word of a chunk, and run out of registers.
 */
static __always_inline unsigned long kho_span_mask(unsigned long start,
						   unsigned int order)
{
	if (order >= ilog2(BITS_PER_LONG))
		return ~0UL;
	return (BIT(1U << order) - 1) << (start % BITS_PER_LONG);
}

static __always_inline bool kho_span_empty(const unsigned long *bitmap,
					   unsigned long start,
					   unsigned int order)
{
	const unsigned long mask = kho_span_mask(start, order);
	const unsigned long *word = &bitmap[BIT_WORD(start)];
	const unsigned long nr = BITS_TO_LONGS(1UL << order);
	unsigned long any = 0;

	OPTIMIZER_HIDE_VAR(word);
	/* With the order of a chunk this is 8 words, for pages of 4 KiB. */
	unrolled_count(8)
	for (unsigned long i = 0; i < nr; i++)
		any |= word[i] & mask;
	return !any;
}

static __always_inline void kho_span_set(unsigned long *bitmap,
					 unsigned long start,
					 unsigned int order)
{
	const unsigned long mask = kho_span_mask(start, order);
	unsigned long *word = &bitmap[BIT_WORD(start)];
	const unsigned long nr = BITS_TO_LONGS(1UL << order);

	OPTIMIZER_HIDE_VAR(word);
	unrolled_count(8)
	for (unsigned long i = 0; i < nr; i++)
		word[i] |= mask;
}

static __always_inline void kho_span_clear(unsigned long *bitmap,
					   unsigned long start,
					   unsigned int order)
{
	const unsigned long mask = kho_span_mask(start, order);
	unsigned long *word = &bitmap[BIT_WORD(start)];
	const unsigned long nr = BITS_TO_LONGS(1UL << order);

	OPTIMIZER_HIDE_VAR(word);
	unrolled_count(8)
	for (unsigned long i = 0; i < nr; i++)
		word[i] &= ~mask;
}

/* The bits of a block in window->chunks. */
static __always_inline unsigned long kho_chunk_mask(unsigned long start,
						    unsigned int order)
{
	const unsigned long nr = 1UL << (order - KHO_CHUNK_ORDER);

	return (~0UL >> (BITS_PER_LONG - nr)) << (start >> KHO_CHUNK_ORDER);
}

/*
 * Is nothing of a block of a window busy? window->lock is held, for this and the
 * next two functions.
 */
static __always_inline bool kho_busy_empty(const struct kho_window *window,
					   unsigned long start,
					   unsigned int order)
{
	if (order >= KHO_CHUNK_ORDER && !window->busy)
		return !(window->chunks & kho_chunk_mask(start, order));
	return kho_span_empty(window->busy, start, order);
}

static __always_inline void kho_busy_set(struct kho_window *window,
					 unsigned long start, unsigned int order)
{
	if (order >= KHO_CHUNK_ORDER && !window->busy)
		window->chunks |= kho_chunk_mask(start, order);
	else
		kho_span_set(window->busy, start, order);
}

static __always_inline void kho_busy_clear(struct kho_window *window,
					   unsigned long start,
					   unsigned int order)
{
	if (order >= KHO_CHUNK_ORDER && !window->busy)
		window->chunks &= ~kho_chunk_mask(start, order);
	else
		kho_span_clear(window->busy, start, order);
}

/*
 * Find and lock the window for memory, if the cached leaf is the one that is
 * needed, which it mostly is. Returns NULL if not. RCU keeps the window from being
 * freed.
 */
static __always_inline struct kho_window *
kho_lock_cached_leaf(unsigned long pfn, unsigned int order,
		     enum kho_memdesc type)
{
	const unsigned long prefix = kho_key(pfn, order, type) / KHO_LEAF_BITS;
	struct kho_window *window = kho_find_window(pfn);

	if (unlikely(!window))
		return NULL;

	spin_lock(&window->lock);
	if (likely(window->leaf_prefix == prefix))
		return window;
	spin_unlock(&window->lock);
	return NULL;
}

/*
 * kho_map_add() for memory that is a part of one window, without kho_map_sem.
 * Returns false if the slow path has to add the memory, or to refuse it. All bits of
 * an order 0 leaf are of the same window, whose lock therefore protects the leaf as
 * well. Leaves of larger orders are shared by windows, so their bits are set
 * atomically.
 */
static __always_inline bool kho_map_add_quick(unsigned long pfn,
					      unsigned int order,
					      enum kho_memdesc type)
{
	const unsigned long start = pfn % KHO_LEAF_BITS;
	const unsigned long bit = (pfn >> order) % KHO_LEAF_BITS;
	struct kho_window *window;
	bool added;

	guard(rcu)();
	window = kho_lock_cached_leaf(pfn, order, type);
	if (unlikely(!window))
		return false;

	if (!order) {
		added = !__test_and_set_bit(start, window->busy);
		if (likely(added))
			__set_bit(bit, window->leaf->bitmap);
	} else {
		added = kho_busy_empty(window, start, order);
		if (likely(added)) {
			kho_busy_set(window, start, order);
			set_bit(bit, window->leaf->bitmap);
		}
	}
	if (likely(added))
		window->nr_preserved += 1UL << order;
	spin_unlock(&window->lock);
	return added;
}

/* kho_map_del() likewise. False: take the slow path. */
static __always_inline bool kho_map_del_quick(unsigned long pfn,
					      unsigned int order,
					      enum kho_memdesc type)
{
	const unsigned long start = pfn % KHO_LEAF_BITS;
	const unsigned long bit = (pfn >> order) % KHO_LEAF_BITS;
	struct kho_window *window;
	bool deleted;

	guard(rcu)();
	window = kho_lock_cached_leaf(pfn, order, type);
	if (unlikely(!window))
		return false;

	if (!order) {
		deleted = __test_and_clear_bit(bit, window->leaf->bitmap);
		if (likely(deleted))
			__clear_bit(start, window->busy);
	} else {
		deleted = test_and_clear_bit(bit, window->leaf->bitmap);
		if (likely(deleted))
			kho_busy_clear(window, start, order);
	}
	if (likely(deleted)) {
		window->nr_preserved -= 1UL << order;
		if (unlikely(!window->nr_preserved))
			kho_trim_soon();
	}
	spin_unlock(&window->lock);
	return deleted;
}

/*
 * Lock the window and set its cached leaf to the one for @key. With @create the
 * leaf is made if there is none. After an error the window is not locked.
 */
static __always_inline int kho_lock_window(struct kho_window *window,
					   unsigned long key, unsigned int order,
					   bool create)
{
	struct kho_radix_leaf *leaf;
	int err;

	spin_lock(&window->lock);
	if (likely(window->leaf_prefix == key / KHO_LEAF_BITS))
		return 0;

	/* No leaf here: nothing can be added, and nothing so small be deleted. */
	if (unlikely(kho_window_shared(window))) {
		spin_unlock(&window->lock);
		return create ? -EEXIST : -ENOENT;
	}

	/* No bits of pages: nothing so small was preserved here. */
	if (order < KHO_CHUNK_ORDER && unlikely(!window->busy)) {
		spin_unlock(&window->lock);
		err = create ? kho_new_busy(window) : -ENOENT;
		if (err)
			return err;
		spin_lock(&window->lock);
	}

	leaf = kho_radix_find(kho_out.radix_tree.root, key);
	if (!leaf) {
		spin_unlock(&window->lock);
		leaf = create ? kho_new_leaf(key) : ERR_PTR(-ENOENT);
		if (IS_ERR(leaf))
			return PTR_ERR(leaf);
		spin_lock(&window->lock);
	}
	window->leaf = leaf;
	window->leaf_prefix = key / KHO_LEAF_BITS;
	return 0;
}

/*
 * Add a preservation to the window that kho_lock_window() has locked for it, and unlock
 * the window. For how the bits are set see kho_map_add_quick().
 */
static __always_inline int kho_window_add(struct kho_window *window,
					  unsigned long pfn, unsigned int order,
					  unsigned long key)
{
	const unsigned long start = pfn % KHO_LEAF_BITS;
	int err = -EEXIST;

	if (!order) {
		if (unlikely(__test_and_set_bit(start, window->busy)))
			goto unlock;
		__set_bit(key % KHO_LEAF_BITS, window->leaf->bitmap);
	} else {
		if (!kho_busy_empty(window, start, order))
			goto unlock;
		kho_busy_set(window, start, order);
		set_bit(key % KHO_LEAF_BITS, window->leaf->bitmap);
	}
	window->nr_preserved += 1UL << order;
	err = 0;
unlock:
	spin_unlock(&window->lock);
	return err;
}

/* Add a preservation that is a part of one window. */
static __always_inline int kho_map_add_small(unsigned long pfn,
					     unsigned int order,
					     enum kho_memdesc type)
{
	const unsigned long key = kho_key(pfn, order, type);
	struct kho_window *window;
	int err;

	window = kho_get_window(pfn);
	if (IS_ERR(window))
		return PTR_ERR(window);
	err = kho_lock_window(window, key, order, true);
	return err ?: kho_window_add(window, pfn, order, key);
}

/* As kho_map_add(), for callers that know the type. */
static __always_inline int __kho_map_add(unsigned long pfn, unsigned int order,
					 enum kho_memdesc type)
{
	int err;

	/* With the order constant kho_map_add_small() is half as long. */
	if (!order)
		err = kho_map_add_small(pfn, 0, type);
	else if (order < KHO_BITMAP_SIZE_LOG2)
		err = kho_map_add_small(pfn, order, type);
	else
		err = kho_map_add_large(pfn, order, type);
	if (likely(!err))
		return 0;
	/* Windows or nodes may have been made for this, and are empty now. */
	kho_trim_soon();
	return err == -ENOMEM ? err : kho_refuse_busy(pfn, order, type);
}

static __always_inline bool kho_map_del_small(unsigned long pfn,
					      unsigned int order,
					      enum kho_memdesc type)
{
	const unsigned long key = kho_key(pfn, order, type);
	const unsigned long bit = key % KHO_LEAF_BITS;
	const unsigned long start = pfn % KHO_LEAF_BITS;
	struct kho_window *window = kho_find_window(pfn);
	bool found;

	if (unlikely(!window || kho_lock_window(window, key, order, false)))
		return false;

	if (!order) {
		found = __test_and_clear_bit(bit, window->leaf->bitmap);
		if (likely(found))
			__clear_bit(start, window->busy);
	} else {
		found = test_and_clear_bit(bit, window->leaf->bitmap);
		if (likely(found))
			kho_busy_clear(window, start, order);
	}
	if (likely(found))
		window->nr_preserved -= 1UL << order;
	if (unlikely(!window->nr_preserved))
		kho_trim_soon();
	spin_unlock(&window->lock);
	return found;
}

/* As kho_map_del(), for callers that know the type. */
static __always_inline bool __kho_map_del(unsigned long pfn, unsigned int order,
					  enum kho_memdesc type)
{
	bool found;

	if (unlikely(kho_write_v4) && kho_v4_mismatch(pfn, order, type))
		found = false;
	else if (!order)
		found = kho_map_del_small(pfn, 0, type);
	else if (unlikely(!IS_ALIGNED(pfn, 1UL << order)))
		found = false;	/* the key is that of the whole block */
	else if (order < KHO_BITMAP_SIZE_LOG2)
		found = kho_map_del_small(pfn, order, type);
	else
		found = kho_map_del_large(pfn, order, type);
	if (unlikely(!found))
		kho_refuse(-ENOENT, "unpreserve", PFN_PHYS(pfn), order, type,
			   "it is not preserved as that");
	return found;
}

#endif /* _KHO_MAP_H */
