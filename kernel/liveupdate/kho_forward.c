// SPDX-License-Identifier: GPL-2.0-only
/*
 * Forwarding: memory that the previous kernel has handed over, and that nobody
 * restores, is handed over to the next kernel.
 *
 * Forwarded memory is added to the map of this kernel as it was in the map of the
 * previous one. It stays unclaimed, and its stamp says that it is forwarded. Whoever
 * restores it has it: then it is deleted from the map of this kernel, and the new owner
 * preserves it, or not. So it does not matter whether a driver is loaded before the
 * memory is forwarded, or after.
 *
 * To restore the memory and to preserve it anew was no way: a page table needs its
 * constructor, a range of pages its size, and a slab its cache. Only the driver has
 * these.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/cleanup.h>
#include <linux/io.h>
#include <linux/kho_memdesc.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/xarray.h>

#include "kho_claim.h"
#include "kho_map.h"
#include "kho_unclaimed.h"

/*
 * Protects the stamps of forwarded memory, together with what the map says of it.
 * Allocations under it must be GFP_NOFS: somebody who restores memory can hold a lock
 * that a shrinker takes.
 */
static DEFINE_MUTEX(kho_forward_lock);

/* Where in its first page each forwarded subtree begins, by page frame number. */
static DEFINE_XARRAY(kho_forwarded_subtrees);

static int kho_forward_locked(struct page *page, unsigned int order,
			      enum kho_memdesc type)
{
	union kho_page_info info, forwarded;
	int err;

	info.page_private = READ_ONCE(page->private);
	if (info.magic == KHO_PAGE_FORWARDED)
		return 0;
	if (info.magic != KHO_PAGE_MAGIC)
		return -ENOENT;
	/* memory_failure() marks the page before it looks for the stamp. */
	if (kho_page_poisoned(page, order))
		return -EHWPOISON;

	forwarded = info;
	forwarded.magic = KHO_PAGE_FORWARDED;
	if (cmpxchg(&page->private, info.page_private, forwarded.page_private) !=
	    info.page_private)
		return -ENOENT;
	err = kho_map_lock_and_add(page_to_pfn(page), order, type, _RET_IP_);
	/* Not the old stamp: a page may have got an error meanwhile. */
	if (err)
		kho_unclaim(page);
	return err;
}

/**
 * kho_forward - hand one unclaimed piece over to the next kernel
 * @phys: physical address of the memory
 * @order: its order
 * @type: its type; not that of a slab, or of a page that small IOMMU tables share
 *
 * Context: Process context, may sleep. After the boot.
 * Return: 0, also if it is forwarded already; %-ENOENT if it is not unclaimed any
 *	more; %-EHWPOISON; %-EEXIST if it overlaps something that this kernel has
 *	preserved; or %-ENOMEM. After an error nothing has changed.
 */
int kho_forward(phys_addr_t phys, unsigned int order, enum kho_memdesc type)
{
	unsigned int nofs;
	int err;

	/*
	 * What was restored may be gone by now. Not under kho_forward_lock, which a
	 * restorer takes that a memory notifier may wait for.
	 */
	get_online_mems();
	scoped_guard(mutex, &kho_forward_lock) {
		err = kho_check_stamp(phys, order, type);
		if (err)
			break;
		nofs = memalloc_nofs_save();
		err = kho_forward_locked(phys_to_page(phys), order, type);
		memalloc_nofs_restore(nofs);
	}
	put_online_mems();
	return err;
}

/**
 * kho_forward_undo - do not hand a piece over, because it is restored
 * @page: the first page
 * @order: its order
 * @type: its type
 *
 * Context: Process context, may sleep. The memory is claimed.
 */
noinline void kho_forward_undo(struct page *page, unsigned int order,
			       enum kho_memdesc type)
{
	const unsigned long pfn = page_to_pfn(page);
	void *offset;

	kho_map_lock();
	if (kho_map_del(pfn, order, type))
		kho_trace_unpreserve(pfn, order, type, _RET_IP_);
	kho_map_unlock();

	/* The driver that restores its subtree is going to add one of this name. */
	offset = xa_erase(&kho_forwarded_subtrees, pfn);
	if (offset)
		kho_remove_subtree(page_address(page) + xa_to_value(offset));
}

/**
 * kho_claim_forwarded - __kho_claim() for memory that is forwarded
 * @page: the first page
 * @types: bit mask of the types to accept
 * @info: what page->private said
 * @for_good: see __kho_claim()
 *
 * The memory is still handed over after a claim that can be undone, until
 * kho_end_claim().
 *
 * Context: Process context, may sleep.
 * Return: 0 or an error, which is logged.
 */
noinline int kho_claim_forwarded(struct page *page, unsigned long types,
				 union kho_page_info *info, bool for_good)
{
	const enum kho_memdesc want = __ffs(types & ~BIT(KHO_MEMDESC_UNTYPED));
	const phys_addr_t phys = page_to_phys(page);
	union kho_page_info claimed;
	const char *why;
	int err;

	if (!(types & BIT(info->type)))
		return kho_refuse_claim(-EINVAL, phys, *info, want,
					kho_memdesc_name(info->type));
	err = kho_check_gigantic(phys, info->order, info->type ?: want, &why);
	if (err)
		return kho_refuse_claim(err, phys, *info, want, why);

	scoped_guard(mutex, &kho_forward_lock) {
		do {
			info->page_private = READ_ONCE(page->private);
			claimed = *info;
			/* There was no memory to forward it, after all. */
			if (info->magic == KHO_PAGE_MAGIC)
				claimed.magic = KHO_PAGE_CLAIMED;
			else if (info->magic == KHO_PAGE_FORWARDED)
				claimed.magic = KHO_PAGE_CLAIMED_FORWARDED;
			else
				return kho_refuse_claim(-ENOENT, phys, *info,
							want, "already restored");
		} while (cmpxchg(&page->private, info->page_private,
				 claimed.page_private) != info->page_private);
	}
	if (for_good)
		kho_end_claim(page);
	return 0;
}

/**
 * kho_forward_poisoned - do not hand a piece over that has got a hardware error
 * @page: the first page
 * @info: what page->private said
 *
 * Its owner is about to restore it, in spite of the error. The stamp says afterwards
 * what it says of such memory that is not forwarded.
 *
 * Context: Process context, may sleep.
 */
void kho_forward_poisoned(struct page *page, union kho_page_info info)
{
	union kho_page_info claimed = info;

	claimed.magic = KHO_PAGE_CLAIMED;
	scoped_guard(mutex, &kho_forward_lock) {
		if (cmpxchg(&page->private, info.page_private,
			    claimed.page_private) != info.page_private)
			return;
	}
	kho_forward_undo(page, info.order, info.type);
	kho_unclaim(page);
}

static bool kho_page_forwarded(unsigned long pfn)
{
	const union kho_page_info info = kho_read_stamp(pfn);

	return info.magic == KHO_PAGE_FORWARDED ||
	       info.magic == KHO_PAGE_CLAIMED_FORWARDED;
}

/**
 * kho_forward_subtrees - hand the subtrees over that lie in forwarded memory
 * @u: the request
 *
 * Context: Process context, may sleep.
 */
void kho_forward_subtrees(struct kho_unclaimed *u)
{
	for (unsigned int i = 0; i < u->nr_blobs; i++) {
		const struct kho_blob *blob = &u->blobs[i];
		const unsigned long pfn = PHYS_PFN(blob->start);
		void *addr = phys_to_virt(blob->start);
		int err;

		if (!kho_page_forwarded(pfn))
			continue;
		if (kho_find_subtree(blob->name) == blob->start)
			continue;

		/* Before the subtree is there: whoever restores the memory removes it. */
		err = xa_err(xa_store(&kho_forwarded_subtrees, pfn,
				      xa_mk_value(offset_in_page(blob->start)),
				      GFP_KERNEL));
		if (!err)
			err = kho_add_subtree(blob->name, addr,
					      blob->last - blob->start + 1);
		if (err) {
			xa_erase(&kho_forwarded_subtrees, pfn);
			pr_warn("cannot forward subtree %s (%pe)\n", blob->name,
				ERR_PTR(err));
			u->subtrees_left++;
			continue;
		}
		/* Somebody may have restored it meanwhile. */
		if (!kho_page_forwarded(pfn) &&
		    xa_erase(&kho_forwarded_subtrees, pfn))
			kho_remove_subtree(addr);
		else
			u->subtrees++;
	}
}
