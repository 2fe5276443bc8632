// SPDX-License-Identifier: GPL-2.0-only
/*
 * Typed kexec handover of IOMMU page tables. This file handles the memory and
 * its descriptor, as memdesc_alloc_node() returns them.
 * drivers/iommu/iommu-pages.c keeps the counters.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/export.h>
#include <linux/ioptdesc.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/sched.h>

#include "../../mm/memdesc.h"
#include "kexec_handover_internal.h"
#include "kho_preserve.h"

static enum kho_memdesc ioptdesc_type(const struct ioptdesc *iopt)
{
	return iopt->part_shift ? KHO_MEMDESC_IOPTDESC_SHARED :
				  KHO_MEMDESC_IOPTDESC;
}

static void ioptdesc_map_del(struct ioptdesc *iopt)
{
	const unsigned long pfn = page_to_pfn(iopt->page);

	if (kho_map_del(pfn, iopt->order, KHO_MEMDESC_IOPTDESC))
		kho_trace_unpreserve(pfn, iopt->order, KHO_MEMDESC_IOPTDESC,
				     _RET_IP_);
}

/**
 * kho_ioptdesc_preserve - preserve an IOMMU page table
 * @iopt: its descriptor; on no list and not waiting to be freed
 *
 * If @iopt is the descriptor of a page that smaller tables share, the page is
 * preserved. The caller must record which of its tables are preserved, and how
 * large they are.
 *
 * Context: Process context, may sleep.
 * Return: 0, or an error as listed in "Typed kexec handover".
 */
int kho_ioptdesc_preserve(struct ioptdesc *iopt)
{
	const enum kho_memdesc type = ioptdesc_type(iopt);
	const char *why = NULL;

	/* The descriptor of a shared page is on no list: @parts lies where that is. */
	if (iopt->part_shift) {
		if (iopt != page_ioptdesc(iopt->page))
			why = "it is a part of a page";
	} else if (iopt->iopt_freelist_elm.prev) {
		why = "it is on a list or about to be freed";
	}
	if (why)
		return kho_refuse(-EINVAL, "preserve", page_to_phys(iopt->page),
				  iopt->order, type, why);

	return kho_preserve_one(iopt->page, iopt->order, type);
}
EXPORT_SYMBOL_GPL(kho_ioptdesc_preserve);

/**
 * kho_ioptdesc_unpreserve - undo kho_ioptdesc_preserve()
 * @iopt: as it was preserved
 *
 * Context: Process context, may sleep, but does not allocate.
 */
void kho_ioptdesc_unpreserve(struct ioptdesc *iopt)
{
	kho_unpreserve_page_desc(iopt->page, iopt->order, ioptdesc_type(iopt));
}
EXPORT_SYMBOL_GPL(kho_ioptdesc_unpreserve);

/**
 * kho_ioptdesc_preserve_list - preserve a list of IOMMU page tables
 * @list: list of &ioptdesc.iopt_freelist_elm, which is left as it is
 *
 * Preserves all page tables of the list, or none. Tables that share a page are
 * left out: iommu_preserve_pages_list() preserves these.
 *
 * Context: Process context, may sleep.
 * Return: 0, or an error as listed in "Typed kexec handover".
 */
int kho_ioptdesc_preserve_list(struct list_head *list)
{
	struct ioptdesc *iopt;
	int err = 0;

	list_for_each_entry(iopt, list, iopt_freelist_elm) {
		if (iopt->part_shift)
			continue;
		err = kho_check_page(iopt->page, iopt->order,
				     KHO_MEMDESC_IOPTDESC);
		if (err)
			return err;
		cond_resched();
	}

	kho_map_lock();
	list_for_each_entry(iopt, list, iopt_freelist_elm) {
		cond_resched();
		if (iopt->part_shift)
			continue;
		err = kho_map_add(page_to_pfn(iopt->page), iopt->order,
				  KHO_MEMDESC_IOPTDESC);
		if (err)
			break;
		kho_trace_preserve(page_to_pfn(iopt->page), iopt->order,
				   KHO_MEMDESC_IOPTDESC, _RET_IP_);
	}
	if (err) {
		list_for_each_entry_continue_reverse(iopt, list,
						     iopt_freelist_elm) {
			cond_resched();
			if (!iopt->part_shift)
				ioptdesc_map_del(iopt);
		}
	}
	kho_map_unlock();
	return err;
}
EXPORT_SYMBOL_GPL(kho_ioptdesc_preserve_list);

/**
 * kho_ioptdesc_unpreserve_list - undo kho_ioptdesc_preserve_list()
 * @list: the same page tables
 *
 * Context: Process context, may sleep, but does not allocate.
 */
void kho_ioptdesc_unpreserve_list(struct list_head *list)
{
	struct ioptdesc *iopt;

	if (unlikely(!kho_out.radix_tree.root))
		return;

	kho_map_lock();
	list_for_each_entry(iopt, list, iopt_freelist_elm) {
		cond_resched();
		if (!iopt->part_shift)
			ioptdesc_map_del(iopt);
	}
	kho_map_unlock();
}
EXPORT_SYMBOL_GPL(kho_ioptdesc_unpreserve_list);

/*
 * Claim the memory at @phys and allocate a descriptor for it, which is not yet
 * attached. The memory must have the order @order, unless @order is
 * KHO_ORDER_OF_PAGE.
 */
static struct ioptdesc *ioptdesc_claim(phys_addr_t phys, int order,
				       enum kho_memdesc type)
{
	union kho_page_info info;
	struct ioptdesc *iopt;
	struct page *page;
	int err;

	page = kho_claim(phys, BIT(type), &info);
	if (IS_ERR(page))
		return ERR_CAST(page);

	if (order != KHO_ORDER_OF_PAGE && order != info.order) {
		err = kho_refuse(-EINVAL, "restore", phys, info.order, type,
				 "it has another order");
		goto unclaim;
	}

	err = -ENOMEM;
	iopt = memdesc_alloc_own_noprof(GFP_KERNEL, page_to_nid(page),
					MEMDESC_IOPTDESC);
	if (!iopt)
		goto unclaim;
	iopt->page = page;
	iopt->order = info.order;
	return iopt;

unclaim:
	kho_unclaim(page);
	return ERR_PTR(err);
}

static void ioptdesc_init_claimed(struct ioptdesc *iopt)
{
	/* The type is on record: there are no untyped tables of IOMMUs. */
	kho_init_claimed(iopt->page, KHO_MEMDESC_IOPTDESC);
	memdesc_attach(iopt->page, iopt->order, iopt, MEMDESC_IOPTDESC);
}

/**
 * kho_ioptdesc_restore - restore an IOMMU page table
 * @phys: physical address of the table
 *
 * The memory and its new descriptor are as memdesc_alloc_node() returns them,
 * with the contents that the memory had. The memory is not counted as IOMMU
 * page table, and not marked as incoherent. Free both with memdesc_free().
 *
 * Context: Process context, may sleep; any time after the page allocator is up.
 * Return: the descriptor, or ERR_PTR(-EINVAL) if something other than an IOMMU
 *	page table is preserved there, ERR_PTR(-ENOENT) if nothing is,
 *	ERR_PTR(-EHWPOISON) if the table has a hardware error,
 *	ERR_PTR(-EOPNOTSUPP) if this kernel only keeps the memory, or
 *	ERR_PTR(-ENOMEM).
 */
struct ioptdesc *kho_ioptdesc_restore_noprof(phys_addr_t phys)
{
	struct ioptdesc *iopt = ioptdesc_claim(phys, KHO_ORDER_OF_PAGE,
					       KHO_MEMDESC_IOPTDESC);

	if (!IS_ERR(iopt))
		ioptdesc_init_claimed(iopt);
	return iopt;
}
EXPORT_SYMBOL_GPL(kho_ioptdesc_restore_noprof);

/**
 * kho_ioptdesc_check_shared - is this a page that IOMMU tables shared
 * @phys: physical address of the page
 *
 * Context: As kho_ioptdesc_restore().
 * Return: 0 if the page is preserved, and not yet restored; %-ENOENT if not;
 *	%-EHWPOISON if it has a hardware error; or early in the boot %-ENOMEM.
 */
int kho_ioptdesc_check_shared(phys_addr_t phys)
{
	return kho_check_stamp(phys, 0, KHO_MEMDESC_IOPTDESC_SHARED);
}

/**
 * kho_ioptdesc_restore_shared - restore a page that IOMMU tables shared
 * @phys: physical address of the page
 *
 * As kho_ioptdesc_restore(). The caller divides the page anew.
 *
 * Context: As kho_ioptdesc_restore().
 * Return: As kho_ioptdesc_restore(); ERR_PTR(-EINVAL) also for an IOMMU page
 *	table that has its page alone.
 */
struct ioptdesc *kho_ioptdesc_restore_shared_noprof(phys_addr_t phys)
{
	struct ioptdesc *iopt = ioptdesc_claim(phys, 0,
					       KHO_MEMDESC_IOPTDESC_SHARED);

	if (!IS_ERR(iopt))
		ioptdesc_init_claimed(iopt);
	return iopt;
}

/**
 * kho_ioptdesc_claim - take an IOMMU page table without restoring it yet
 * @phys: physical address of the table
 * @order: the order that the table must have been preserved with, or
 *	%KHO_ORDER_OF_PAGE for any
 * @list: the new descriptor is added to the end, by iopt_freelist_elm
 *
 * This is for a tree of tables that is useless unless it is complete. Claim one
 * table, read it, and claim the tables that it points at. A table that two
 * pointers lead to cannot be claimed a second time, so the damage is found
 * before anything is restored.
 *
 * The caller can read the memory, and nobody else can restore it. The
 * descriptor has its page and its order, but is not attached: page_ioptdesc()
 * does not find the descriptor.
 *
 * kho_ioptdesc_commit() or kho_ioptdesc_abort() must follow. An error leaves
 * @list as it was.
 *
 * Context: Process context, may sleep; any time after the page allocator is up.
 * Return: 0; %-EINVAL if the memory preserved there is no IOMMU page table or
 *	has another order; %-ENOENT if no memory is preserved there, or it is
 *	restored or claimed already; %-EHWPOISON if the table has a hardware
 *	error; %-EOPNOTSUPP if this kernel only keeps the memory; or %-ENOMEM.
 */
int kho_ioptdesc_claim_noprof(phys_addr_t phys, int order,
			      struct list_head *list)
{
	struct ioptdesc *iopt = ioptdesc_claim(phys, order, KHO_MEMDESC_IOPTDESC);

	if (IS_ERR(iopt))
		return PTR_ERR(iopt);
	list_add_tail(&iopt->iopt_freelist_elm, list);
	return 0;
}
EXPORT_SYMBOL_GPL(kho_ioptdesc_claim_noprof);

/**
 * kho_ioptdesc_commit - restore the IOMMU page tables that were claimed
 * @list: from kho_ioptdesc_claim(); left as it is. Tables on it that share a
 *	page are left out.
 *
 * Restores each page table as kho_ioptdesc_restore() does. Cannot fail.
 *
 * Context: Process context, may sleep.
 * Return: the number of page tables.
 */
unsigned long kho_ioptdesc_commit_noprof(struct list_head *list)
{
	struct ioptdesc *iopt;
	unsigned long nr = 0;

	list_for_each_entry(iopt, list, iopt_freelist_elm) {
		cond_resched();
		if (iopt->part_shift)
			continue;
		ioptdesc_init_claimed(iopt);
		nr++;
	}
	return nr;
}
EXPORT_SYMBOL_GPL(kho_ioptdesc_commit_noprof);

/**
 * kho_ioptdesc_abort - undo kho_ioptdesc_claim()
 * @list: from kho_ioptdesc_claim(), without tables that share a page; empty
 *	afterwards
 *
 * Afterwards anybody can restore the page tables again.
 *
 * Context: Process context, may sleep.
 */
void kho_ioptdesc_abort(struct list_head *list)
{
	struct ioptdesc *iopt, *tmp;

	list_for_each_entry_safe(iopt, tmp, list, iopt_freelist_elm) {
		kho_unclaim(iopt->page);
		memdesc_free_own(iopt, MEMDESC_IOPTDESC);
		cond_resched();
	}
	INIT_LIST_HEAD(list);
}
EXPORT_SYMBOL_GPL(kho_ioptdesc_abort);
