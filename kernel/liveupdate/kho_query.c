// SPDX-License-Identifier: GPL-2.0-only
/*
 * Questions about the map of preserved pages: is this memory preserved, how much is. The
 * map itself is in kho_map.c.
 */

#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/ioport.h>
#include <linux/kexec_handover.h>
#include <linux/mm.h>
#include <linux/sched.h>

#include "kho_map.h"

/* Is every page of a block, of at most a chunk, preserved? */
static bool kho_block_is_preserved(unsigned long pfn, unsigned int order)
{
	const unsigned long start = pfn % KHO_LEAF_BITS;
	const unsigned long end = start + (1UL << order);
	struct kho_window *window = kho_find_window(pfn);

	if (window == &kho_covered_window)
		return true;
	if (!window || kho_place_unsupported(pfn, order))
		return false;

	guard(spinlock)(&window->lock);
	if (!window->busy)
		return window->chunks & BIT(start >> KHO_CHUNK_ORDER);
	return find_next_zero_bit(window->busy, end, start) >= end;
}

/**
 * kho_is_preserved - is a page part of something that this kernel has preserved
 * @pfn: page frame number of the page
 *
 * Context: Between kho_map_lock() and kho_map_unlock().
 * Return: whether it is.
 */
bool kho_is_preserved(unsigned long pfn)
{
	return kho_block_is_preserved(pfn, 0);
}

/**
 * kho_block_has_ram - is some of a block RAM
 * @pfn: page frame number of the first page
 * @order: its order
 *
 * Context: Any.
 * Return: whether it is.
 */
bool kho_block_has_ram(unsigned long pfn, unsigned int order)
{
	return region_intersects(PFN_PHYS(pfn), PAGE_SIZE << order,
				 IORESOURCE_SYSTEM_RAM,
				 IORES_DESC_NONE) != REGION_DISJOINT;
}

/**
 * kho_first_unpreserved - find memory that would be lost at a kexec
 * @phys: physical address of the first byte
 * @size: bytes
 *
 * What has no System RAM is skipped: nobody allocates the registers of a device. A page
 * of which a part is preserved, as a slab object or a small table is, counts as
 * preserved.
 *
 * Context: Process context, may sleep. The answer can become untrue at once,
 *	unless the owner of the memory sees to it.
 * Return: the physical address of the first page of RAM in the range of which no
 *	part is preserved by this kernel, or %PHYS_ADDR_MAX if there is none.
 */
phys_addr_t kho_first_unpreserved(phys_addr_t phys, size_t size)
{
	unsigned long pfn = PHYS_PFN(phys), end = PHYS_PFN(phys + size - 1) + 1;
	phys_addr_t found = PHYS_ADDR_MAX;
	unsigned int order;

	if (!size)
		return found;
	kho_map_lock();
	while (pfn < end && found == PHYS_ADDR_MAX) {
		order = min_t(unsigned int, ilog2(end - pfn), KHO_CHUNK_ORDER);
		if (pfn)
			order = min_t(unsigned int, order, __ffs(pfn));
		while (!kho_block_is_preserved(pfn, order) &&
		       kho_block_has_ram(pfn, order)) {
			if (!order) {
				found = PFN_PHYS(pfn);
				break;
			}
			order--;
		}
		pfn += 1UL << order;
		cond_resched();
	}
	kho_map_unlock();
	return found;
}
EXPORT_SYMBOL_GPL(kho_first_unpreserved);

/**
 * kho_map_pages - count the pages that this kernel has preserved
 *
 * Each window knows how many pages of it are preserved: preserving and unpreserving
 * keep no sum of their own for this. The time depends on how many windows of 32,768
 * pages there are.
 *
 * Context: Process context, may sleep. Between kho_map_lock() and
 *	kho_map_unlock(). What others preserve meanwhile may be missing.
 * Return: how many pages.
 */
unsigned long kho_map_pages(void)
{
	unsigned long pages = 0;

	for (unsigned long i = 0; i < kho_nr_windows; i++) {
		const struct kho_window *window = READ_ONCE(kho_windows[i]);

		cond_resched();
		if (!window)
			continue;
		if (window == &kho_covered_window) {
			pages += KHO_LEAF_BITS;
			continue;
		}
		/* Without the lock: a value of just now is good enough. */
		pages += data_race(window->nr_preserved);
	}
	return pages;
}

/* Is anything preserved in a part of a window that has a struct of its own? */
static bool kho_window_part_used(struct kho_window *window, unsigned long pfn,
				 unsigned long end)
{
	/* Places from which nothing can be handed over have their bits set, too. */
	for (; pfn < end; pfn += pageblock_nr_pages) {
		const unsigned long off = pfn % KHO_LEAF_BITS;
		bool empty;

		scoped_guard(spinlock, &window->lock)
			empty = kho_busy_empty(window, off, pageblock_order);
		if (!empty && !kho_place_unsupported(pfn, pageblock_order))
			return true;
	}
	return false;
}

/**
 * kho_any_preserved - is anything in a range preserved
 * @pfn: page frame number of the first page, aligned to pageblocks
 * @end: page frame number behind the last one, likewise
 *
 * Context: Between kho_map_lock() and kho_map_unlock().
 * Return: whether there is.
 */
bool kho_any_preserved(unsigned long pfn, unsigned long end)
{
	for (unsigned long stop; pfn < end; pfn = stop) {
		struct kho_window *window = kho_find_window(pfn);

		stop = kho_window_end(pfn, end);
		if (window == &kho_covered_window)
			return true;
		if (window && READ_ONCE(window->nr_preserved) &&
		    (stop - pfn == KHO_LEAF_BITS ||
		     kho_window_part_used(window, pfn, stop)))
			return true;
	}
	return false;
}
