// SPDX-License-Identifier: GPL-2.0-only
/*
 * The map of preserved pages: its windows, and adding and deleting memory.
 *
 * The nodes of the map itself are a radix tree: kho_radix.c. The fast path is in
 * kho_map.h.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/bitmap.h>
#include <linux/kexec_handover.h>
#include <linux/kho_radix_tree.h>
#include <linux/memblock.h>
#include <linux/memory.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "kho_check.h"
#include "kho_map.h"
#include "kho_trace.h"

struct kho_window **kho_windows;
unsigned long kho_nr_windows;

struct kho_window kho_covered_window = {
	.lock = __SPIN_LOCK_UNLOCKED(kho_covered_window.lock),
};

struct kho_window kho_good_window = {
	.lock = __SPIN_LOCK_UNLOCKED(kho_good_window.lock),
};

DEFINE_PERCPU_RWSEM(kho_map_sem);
/* Protects the making of nodes and windows. Taken inside of kho_map_sem. */
static DEFINE_MUTEX(kho_nodes_lock);

/*
 * kho_nodes_lock, with GFP_NOFS in effect: an allocation must not wait for a
 * shrinker that unpreserves memory, because the shrinker takes kho_map_sem.
 */
DEFINE_LOCK_GUARD_0(kho_nodes, ({
			mutex_lock(&kho_nodes_lock);
			_T->nofs = memalloc_nofs_save();
		    }), ({
			memalloc_nofs_restore(_T->nofs);
			mutex_unlock(&kho_nodes_lock);
		    }), unsigned int nofs)

static void kho_free_window(unsigned long i)
{
	struct kho_window *window = kho_windows[i];

	WRITE_ONCE(kho_windows[i], NULL);
	/*
	 * An RCU reader may still see the window, but not use it: leaf_prefix is
	 * 0, so the reader takes the slow path.
	 */
	free_page((unsigned long)window->busy);
	kfree_rcu(window, rcu);
}

/* While kho_map_reserve() has any, nothing of the map is freed. */
atomic_t kho_map_reservations = ATOMIC_INIT(0);

/* Free windows and nodes of the map that have become empty. */
static void kho_trim_work_fn(struct work_struct *work)
{
	guard(percpu_write)(&kho_map_sem);

	/* kho_map_unreserve() is going to schedule this again. */
	if (atomic_read(&kho_map_reservations))
		return;
	for (unsigned long i = 0; i < kho_nr_windows; i++) {
		struct kho_window *window = kho_windows[i];
		unsigned long nr;

		if (!window || kho_window_shared(window))
			continue;
		scoped_guard(spinlock, &window->lock) {
			window->leaf_prefix = 0;
			nr = window->nr_preserved;
		}
		/* Without a cached leaf nr_preserved does not change any more. */
		if (!nr)
			kho_free_window(i);
		cond_resched();
	}
	kho_radix_trim(&kho_out.radix_tree);
}

static DECLARE_DELAYED_WORK(kho_trim_work, kho_trim_work_fn);

/**
 * kho_trim_soon - free empty windows and nodes in a second
 *
 * Not at once, because memory is mostly unpreserved to be preserved again, or
 * together with more memory.
 *
 * Context: Any.
 */
void kho_trim_soon(void)
{
	schedule_delayed_work(&kho_trim_work, HZ);
}

/*
 * Page frames of the memory that is coming online, or an empty range. The page
 * allocator hands the memory out before the notifier hears that it is online.
 * Protected by kho_nodes_lock.
 */
static unsigned long kho_onlining_start, kho_onlining_end;

/*
 * Will nothing of the pageblock be handed over? Memory that is coming online counts
 * as online, unless it was added after boot.
 */
static bool kho_block_unsupported(unsigned long pfn)
{
	if (pfn >= kho_onlining_start && pfn < kho_onlining_end)
		return kho_pfn_hotadded(pfn) ||
		       kho_scratch_overlap(PFN_PHYS(pfn), PAGE_SIZE << pageblock_order);
	return kho_place_unsupported(pfn, pageblock_order);
}

/* Mark the places in [@pfn, @end) busy from which nothing can be handed over. */
static void kho_mark_places(struct kho_window *window, unsigned long pfn,
			    unsigned long end)
{
	for (; pfn < end; pfn += pageblock_nr_pages) {
		const unsigned long off = pfn % KHO_LEAF_BITS;

		if (kho_block_unsupported(pfn))
			kho_busy_set(window, off, pageblock_order);
		else
			kho_busy_clear(window, off, pageblock_order);
	}
}

/*
 * When memory goes offline, set the bits of its pages in the window, so that nothing
 * there can be preserved. When memory comes online, clear the bits of pages that can
 * be handed over: the window may have been made while the memory was offline. Clear
 * them now and not later, because once pages are in use a set bit may mean that the
 * page is preserved.
 */
static int kho_memory_notify(struct notifier_block *nb, unsigned long action,
			     void *data)
{
	const struct memory_notify *arg = data;
	const unsigned long end = arg->start_pfn + arg->nr_pages;
	unsigned long pfn = arg->start_pfn;

	switch (action) {
	case MEM_GOING_ONLINE:
	case MEM_CANCEL_ONLINE:
	case MEM_ONLINE:
	case MEM_OFFLINE:
		break;
	default:
		return NOTIFY_DONE;
	}

	guard(percpu_read)(&kho_map_sem);
	guard(mutex)(&kho_nodes_lock);
	kho_onlining_start = action == MEM_GOING_ONLINE ? pfn : 0;
	kho_onlining_end = action == MEM_GOING_ONLINE ? end : 0;
	if (action == MEM_ONLINE)
		return NOTIFY_OK;

	for (unsigned long stop; pfn < end; pfn = stop) {
		const unsigned long i = pfn / KHO_LEAF_BITS;
		struct kho_window *window;

		stop = kho_window_end(pfn, end);
		if (i >= kho_nr_windows)
			continue;
		/* Memory in use does not go offline. Other places may change. */
		window = cmpxchg(&kho_windows[i], &kho_good_window, NULL);
		if (!window || kho_window_shared(window))
			continue;
		guard(spinlock)(&window->lock);
		kho_mark_places(window, pfn, stop);
	}
	return NOTIFY_OK;
}

/**
 * kho_map_init - make room for windows
 *
 * The array covers the memory that there is now. What is added later cannot be
 * handed over.
 *
 * Context: Boot, before anything is preserved.
 * Return: 0 or %-ENOMEM.
 */
int kho_map_init(void)
{
	kho_nr_windows = DIV_ROUND_UP(max_pfn, KHO_LEAF_BITS);
	kho_windows = kvcalloc(kho_nr_windows, sizeof(*kho_windows), GFP_KERNEL);
	if (!kho_windows)
		return -ENOMEM;
	hotplug_memory_notifier(kho_memory_notify, DEFAULT_CALLBACK_PRI);
	return 0;
}

/**
 * kho_map_destroy - undo kho_map_init()
 *
 * Context: Boot, when nothing is preserved and nobody can preserve anything.
 */
void kho_map_destroy(void)
{
	cancel_delayed_work_sync(&kho_trim_work);
	for (unsigned long i = 0; i < kho_nr_windows; i++) {
		if (kho_windows[i] && !kho_window_shared(kho_windows[i]))
			kho_free_window(i);
	}
	kvfree(kho_windows);
	kho_windows = NULL;
	kho_nr_windows = 0;
}

/**
 * kho_new_window - make the window of a page, unless there is one
 * @pfn: page frame number of the page
 *
 * Context: Process context, may sleep. With kho_map_sem held for reading.
 * Return: the window, ERR_PTR(-ENOMEM), or ERR_PTR(-EOPNOTSUPP) if the page was
 *	added after boot.
 */
noinline struct kho_window *kho_new_window(unsigned long pfn)
{
	const unsigned long i = pfn / KHO_LEAF_BITS;
	struct kho_window *window, *old;

	if (i >= kho_nr_windows)
		return ERR_PTR(-EOPNOTSUPP);

	guard(kho_nodes)();
	old = READ_ONCE(kho_windows[i]);
	if (old && old != &kho_good_window)
		return old;

	window = kzalloc_obj(*window);
	if (!window)
		return ERR_PTR(-ENOMEM);
	/* The bits of chunks cannot tell where smaller blocks lie. */
	if (pageblock_order < KHO_CHUNK_ORDER) {
		window->busy = (unsigned long *)get_zeroed_page(GFP_KERNEL);
		if (!window->busy) {
			kfree(window);
			return ERR_PTR(-ENOMEM);
		}
	}
	spin_lock_init(&window->lock);

	/*
	 * Check the places once for each pageblock, which saves checking them
	 * for each page: scratch and CMA areas do not change, and
	 * kho_memory_notify() is told about memory that comes and goes.
	 */
	pfn = ALIGN_DOWN(pfn, KHO_LEAF_BITS);
	kho_mark_places(window, pfn, pfn + KHO_LEAF_BITS);

	/*
	 * Pairs with READ_ONCE() in kho_find_window(), which takes no lock.
	 * kho_cover_window() takes none if the places are good.
	 */
	if (cmpxchg(&kho_windows[i], old, window) != old) {
		free_page((unsigned long)window->busy);
		kfree(window);
		return &kho_covered_window;
	}
	return window;
}

/**
 * kho_new_busy - make the bits of single pages of a window, unless there are any
 * @window: the window
 *
 * Context: Process context, may sleep. With kho_map_sem held for reading.
 * Return: 0 or %-ENOMEM.
 */
noinline int kho_new_busy(struct kho_window *window)
{
	unsigned long *busy;

	guard(kho_nodes)();
	if (window->busy)
		return 0;
	busy = (unsigned long *)get_zeroed_page(GFP_KERNEL);
	if (!busy)
		return -ENOMEM;

	guard(spinlock)(&window->lock);
	for (unsigned long i = 0; i < BITS_PER_LONG; i++) {
		if (window->chunks & BIT(i))
			kho_span_set(busy, i << KHO_CHUNK_ORDER, KHO_CHUNK_ORDER);
	}
	window->busy = busy;
	return 0;
}

/**
 * kho_new_leaf - find the leaf for a key, or make it
 * @key: the key
 *
 * Context: Process context, may sleep. With kho_map_sem held for reading.
 * Return: the leaf or ERR_PTR(-ENOMEM).
 */
noinline struct kho_radix_leaf *kho_new_leaf(unsigned long key)
{
	guard(kho_nodes)();
	return kho_radix_leaf(&kho_out.radix_tree, key, true);
}

/*
 * Let one preservation cover the window of @pfn, unless there is a window already.
 * Returns whether it does.
 */
static bool kho_cover_window(unsigned long pfn)
{
	const unsigned long i = pfn / KHO_LEAF_BITS;

	if (i >= kho_nr_windows)
		return false;
	if (likely(cmpxchg(&kho_windows[i], &kho_good_window,
			   &kho_covered_window) == &kho_good_window))
		return true;

	guard(kho_nodes)();
	if (kho_windows[i])
		return false;
	/* In an ordinary window the bits of such places would be set. */
	for (unsigned long off = 0; off < KHO_LEAF_BITS; off += pageblock_nr_pages) {
		if (kho_block_unsupported(pfn + off))
			return false;
	}
	/* Pairs with READ_ONCE() in kho_find_window(), which takes no lock. */
	smp_store_release(&kho_windows[i], &kho_covered_window);
	return true;
}

/* Mark all of a window busy. After -EEXIST, if some of it was, nothing has changed. */
static int kho_window_fill(struct kho_window *window)
{
	if (window == &kho_covered_window)
		return -EEXIST;

	guard(spinlock)(&window->lock);
	if (!kho_busy_empty(window, 0, KHO_BITMAP_SIZE_LOG2))
		return -EEXIST;
	kho_busy_set(window, 0, KHO_BITMAP_SIZE_LOG2);
	window->nr_preserved = KHO_LEAF_BITS;
	return 0;
}

/* Undo kho_window_fill(), or kho_cover_window(). */
static void kho_window_empty(unsigned long i)
{
	struct kho_window *window = kho_windows[i];

	if (window == &kho_covered_window) {
		WRITE_ONCE(kho_windows[i], &kho_good_window);
		return;
	}

	guard(spinlock)(&window->lock);
	kho_busy_clear(window, 0, KHO_BITMAP_SIZE_LOG2);
	window->nr_preserved = 0;
}

static void kho_windows_empty(unsigned long pfn, unsigned long end)
{
	for (; pfn < end; pfn += KHO_LEAF_BITS)
		kho_window_empty(pfn / KHO_LEAF_BITS);
}

static int kho_windows_fill(unsigned long start, unsigned long end)
{
	struct kho_window *window;
	int err;

	for (unsigned long pfn = start; pfn < end; pfn += KHO_LEAF_BITS) {
		if (kho_cover_window(pfn))
			continue;
		window = kho_get_window(pfn);
		err = PTR_ERR_OR_ZERO(window);
		if (!err)
			err = kho_window_fill(window);
		if (err) {
			kho_windows_empty(start, pfn);
			return err;
		}
	}
	return 0;
}

/**
 * kho_refuse_busy - say why memory could not be added to the map
 * @pfn: page frame number of the first page
 * @order: its order
 * @type: its type
 *
 * Context: As kho_map_add().
 * Return: %-EOPNOTSUPP if the reason is the place, otherwise %-EEXIST.
 */
noinline int kho_refuse_busy(unsigned long pfn, unsigned int order,
			     enum kho_memdesc type)
{
	const char *why = kho_place_unsupported(pfn, order);

	return kho_refuse(why ? -EOPNOTSUPP : -EEXIST, "preserve",
			  PFN_PHYS(pfn), order, type,
			  why ?: "some of it is already preserved");
}

/**
 * kho_map_add_large - add a preservation of whole windows
 * @pfn: page frame number of the first page
 * @order: its order
 * @type: its type
 *
 * Context: As kho_map_add().
 * Return: As kho_map_add(), but nothing is logged.
 */
noinline int kho_map_add_large(unsigned long pfn, unsigned int order,
			       enum kho_memdesc type)
{
	const unsigned long key = kho_key(pfn, order, type);
	struct kho_radix_leaf *leaf;
	int err;

	leaf = kho_radix_find(kho_out.radix_tree.root, key);
	if (unlikely(!leaf))
		leaf = kho_new_leaf(key);
	if (IS_ERR(leaf))
		return PTR_ERR(leaf);

	err = kho_windows_fill(pfn, pfn + (1UL << order));
	if (!err)
		set_bit(key % KHO_LEAF_BITS, leaf->bitmap);
	return err;
}

/**
 * kho_map_del_large - delete a preservation of whole windows
 * @pfn: page frame number of the first page
 * @order: its order
 * @type: its type
 *
 * Context: As kho_map_del().
 * Return: whether the map had it.
 */
noinline bool kho_map_del_large(unsigned long pfn, unsigned int order,
				enum kho_memdesc type)
{
	const unsigned long key = kho_key(pfn, order, type);
	struct kho_radix_leaf *leaf;

	leaf = kho_radix_find(kho_out.radix_tree.root, key);
	if (!leaf || !test_and_clear_bit(key % KHO_LEAF_BITS, leaf->bitmap))
		return false;
	kho_windows_empty(pfn, pfn + (1UL << order));
	kho_trim_soon();
	return true;
}

/**
 * kho_v4_mismatch - was memory preserved as another type
 * @pfn: page frame number of the first page
 * @order: its order
 * @type: its type
 *
 * The keys of "kho-v4" have no type: only the memory itself can tell.
 *
 * Context: Any, if kho_write_v4.
 * Return: whether the memory is recognisably not a @type.
 */
noinline bool kho_v4_mismatch(unsigned long pfn, unsigned int order,
			      enum kho_memdesc type)
{
	return order && (type >= KHO_NR_MEMDESC ||
			 kho_page_mismatch(pfn_to_page(pfn), order, type));
}

/**
 * kho_map_add - add memory to the map
 * @pfn: page frame number of the first page
 * @order: its order
 * @type: its type; kho_check_page() was asked whether the memory can have it
 *
 * Context: Process context, may sleep. Between kho_map_lock() and
 *	kho_map_unlock(), which do not exclude other users.
 * Return: 0, %-EEXIST, %-EOPNOTSUPP if the memory is in a place from which
 *	nothing can be handed over, or %-ENOMEM.
 */
int kho_map_add(unsigned long pfn, unsigned int order, enum kho_memdesc type)
{
	return __kho_map_add(pfn, order, type);
}

/**
 * kho_map_del - undo kho_map_add()
 * @pfn: as it was added
 * @order: as it was added
 * @type: as it was added
 *
 * Memory that is not in the map like this stays as it is, and the log says so.
 *
 * Context: As kho_map_add(), but does not allocate.
 * Return: whether the map had it.
 */
bool kho_map_del(unsigned long pfn, unsigned int order, enum kho_memdesc type)
{
	return __kho_map_del(pfn, order, type);
}

/**
 * kho_map_del_batch - delete several pieces of memory from the map
 * @pages: the first page of each
 * @nr: how many
 * @order: their order, or %KHO_ORDER_OF_PAGE
 * @type: their type
 *
 * Context: As kho_map_del().
 */
void kho_map_del_batch(struct page **pages, unsigned long nr, int order,
		       enum kho_memdesc type)
{
	for (unsigned long i = 0; i < nr; i++) {
		const unsigned long pfn = page_to_pfn(pages[i]);
		const unsigned int o = kho_batch_order(pages[i], order);

		if (__kho_map_del(pfn, o, type))
			kho_trace_unpreserve(pfn, o, type, _RET_IP_);
	}
}

/**
 * kho_map_lock - begin to change the map
 *
 * Keeps windows and nodes from being freed. Other users are not excluded.
 *
 * Context: Process context, may sleep. Must not be nested.
 */
void kho_map_lock(void)
{
	percpu_down_read(&kho_map_sem);
}

/**
 * kho_map_unlock - undo kho_map_lock()
 *
 * Context: Process context.
 */
void kho_map_unlock(void)
{
	percpu_up_read(&kho_map_sem);
}

/**
 * kho_map_lock_and_add - kho_map_add() for one preservation
 * @pfn: page frame number of the first page
 * @order: its order
 * @type: its type
 * @caller: who preserves it, for the trace event
 *
 * Context: Process context, may sleep. Not after kho_map_lock().
 * Return: As kho_map_add().
 */
noinline int kho_map_lock_and_add(unsigned long pfn, unsigned int order,
				  enum kho_memdesc type, unsigned long caller)
{
	int err;

	guard(percpu_read)(&kho_map_sem);
	err = __kho_map_add(pfn, order, type);
	if (likely(!err))
		kho_trace_preserve(pfn, order, type, caller);
	return err;
}
