// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preserving memory under a spinlock. The map may need windows and nodes, and making them
 * sleeps. So they are made before, for places and a type, and stay until the caller says
 * so.
 *
 * An array of spare windows and nodes that a call takes from was no way: the places of a
 * new window must be checked, and nodes are added under a mutex.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/atomic.h>
#include <linux/cleanup.h>
#include <linux/export.h>
#include <linux/kho_memdesc.h>
#include <linux/mm.h>

#include "kho_map.h"
#include "kho_trace.h"

/* Make what one window needs. Nothing can be preserved in a window that is covered. */
static int kho_reserve_window(unsigned long pfn, unsigned int order,
			      enum kho_memdesc type)
{
	struct kho_window *window = kho_get_window(pfn);
	int err;

	if (IS_ERR(window))
		return PTR_ERR(window) == -ENOMEM ? -ENOMEM : 0;
	err = kho_lock_window(window, kho_key(pfn, order, type), order, true);
	if (!err)
		spin_unlock(&window->lock);
	return err == -ENOMEM ? -ENOMEM : 0;
}

/**
 * kho_map_reserve - make it possible to preserve memory without sleeping
 * @phys: physical address of the first byte of the places where the memory lies
 * @size: bytes of these places; they can have holes, and can be all of memory
 * @order: the order of the memory, at most PMD_ORDER
 * @type: its type
 *
 * Takes about 8 KiB for each 128 MiB (with pages of 4 KiB) that has no preserved memory
 * of this type yet. Call it for single pages that kho_preserve_page_desc_nowait()
 * refused with %-EAGAIN, or for all memory, whatever is less work for the caller.
 *
 * Context: Process context, may sleep.
 * Return: 0, and then kho_map_unreserve() must be called; %-EINVAL for an order, type or
 *	size out of range, %-EOPNOTSUPP if KHO is off, or %-ENOMEM.
 */
int kho_map_reserve(phys_addr_t phys, u64 size, unsigned int order,
		    enum kho_memdesc type)
{
	unsigned long pfn, end;
	int err = 0;

	if (!kho_out.radix_tree.root)
		return -EOPNOTSUPP;
	if (!size || phys + size - 1 < phys || order > PMD_ORDER ||
	    order >= KHO_BITMAP_SIZE_LOG2 || type >= KHO_NR_MEMDESC)
		return -EINVAL;

	pfn = ALIGN_DOWN(PHYS_PFN(phys), KHO_LEAF_BITS);
	end = min(PHYS_PFN(phys + size - 1) + 1, kho_nr_windows * KHO_LEAF_BITS);
	/* Before the first window is made: see kho_trim_work_fn(). */
	atomic_inc(&kho_map_reservations);
	/* A trim that has not seen this is over after that. */
	kho_map_lock();
	kho_map_unlock();
	for (; !err && pfn < end; pfn += KHO_LEAF_BITS) {
		guard(percpu_read)(&kho_map_sem);
		/* Windows of holes are not worth their memory. */
		if (kho_block_has_ram(pfn, KHO_BITMAP_SIZE_LOG2))
			err = kho_reserve_window(pfn, order, type);
		cond_resched();
	}
	if (err)
		kho_map_unreserve();
	return err;
}
EXPORT_SYMBOL_GPL(kho_map_reserve);

/**
 * kho_map_unreserve - undo kho_map_reserve()
 *
 * Once for each call that has returned 0. What was preserved meanwhile stays preserved.
 *
 * Context: Any.
 */
void kho_map_unreserve(void)
{
	if (atomic_dec_and_test(&kho_map_reservations))
		kho_trim_soon();
}
EXPORT_SYMBOL_GPL(kho_map_unreserve);

/**
 * kho_preserve_page_desc_nowait - preserve memory of a type without sleeping
 * @page: first page of the memory
 * @order: its size is PAGE_SIZE << @order bytes, and it is aligned to that
 * @type: its type
 *
 * As kho_preserve_page_desc(), for callers that hold a spinlock. Unpreserving may sleep:
 * do it after the lock was released.
 *
 * Context: Process context, under a spinlock or rwlock that no interrupt takes, after
 *	kho_map_reserve() and before kho_map_unreserve(). With PREEMPT_RT not under a
 *	raw spinlock.
 * Return: As kho_preserve_page_desc(), and %-EAGAIN if the place is not reserved for
 *	memory of this type and order.
 */
int kho_preserve_page_desc_nowait(struct page *page, unsigned int order,
				  enum kho_memdesc type)
{
	const unsigned long pfn = page_to_pfn(page);
	const unsigned long key = kho_key(pfn, order, type);
	struct kho_window *window;
	int err;

	err = kho_check_page(page, order, type);
	if (err)
		return err;
	if (!atomic_read(&kho_map_reservations) || order >= KHO_BITMAP_SIZE_LOG2)
		return -EAGAIN;

	window = kho_find_window(pfn);
	if (window == &kho_covered_window)
		return kho_refuse_busy(pfn, order, type);
	if (!window || kho_lock_window(window, key, order, false))
		return -EAGAIN;
	err = kho_window_add(window, pfn, order, key);
	if (err)
		return kho_refuse_busy(pfn, order, type);
	kho_trace_preserve(pfn, order, type, _RET_IP_);
	return 0;
}
EXPORT_SYMBOL_GPL(kho_preserve_page_desc_nowait);
