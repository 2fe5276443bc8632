// SPDX-License-Identifier: GPL-2.0-only
/*
 * Typed kexec handover of IOMMU page tables. This is the memory and its
 * descriptor, as memdesc_alloc_node() returns them; the counters are kept by
 * drivers/iommu/iommu-pages.c.
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

static void ioptdesc_map_del(struct ioptdesc *iopt)
{
	kho_map_del(page_to_pfn(iopt->page), iopt->order,
		    KHO_MEMDESC_IOPTDESC);
}

/**
 * kho_ioptdesc_preserve - preserve an IOMMU page table
 * @iopt: its descriptor; on no list and not waiting to be freed
 *
 * Context: Process context, may sleep.
 * Return: 0, or an error as listed in "Typed kexec handover".
 */
int kho_ioptdesc_preserve(struct ioptdesc *iopt)
{
	if (iopt->iopt_freelist_elm.prev)
		return kho_refuse(-EINVAL, "preserve", page_to_phys(iopt->page),
				  iopt->order, KHO_MEMDESC_IOPTDESC,
				  "it is on a list or about to be freed");

	return kho_preserve_page_desc(iopt->page, iopt->order,
				      KHO_MEMDESC_IOPTDESC);
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
	kho_unpreserve_page_desc(iopt->page, iopt->order, KHO_MEMDESC_IOPTDESC);
}
EXPORT_SYMBOL_GPL(kho_ioptdesc_unpreserve);

/**
 * kho_ioptdesc_preserve_list - preserve a list of IOMMU page tables
 * @list: list of &ioptdesc.iopt_freelist_elm, which is left as it is
 *
 * All or nothing.
 *
 * Context: Process context, may sleep.
 * Return: 0, or an error as listed in "Typed kexec handover".
 */
int kho_ioptdesc_preserve_list(struct list_head *list)
{
	struct ioptdesc *iopt;
	int err = 0;

	list_for_each_entry(iopt, list, iopt_freelist_elm) {
		err = kho_check_page(iopt->page, iopt->order,
				     KHO_MEMDESC_IOPTDESC);
		if (err)
			return err;
		cond_resched();
	}

	kho_map_lock();
	list_for_each_entry(iopt, list, iopt_freelist_elm) {
		cond_resched();
		err = kho_map_add(page_to_pfn(iopt->page), iopt->order,
				  KHO_MEMDESC_IOPTDESC);
		if (err)
			break;
	}
	if (err) {
		list_for_each_entry_continue_reverse(iopt, list,
						     iopt_freelist_elm) {
			cond_resched();
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
		ioptdesc_map_del(iopt);
	}
	kho_map_unlock();
}
EXPORT_SYMBOL_GPL(kho_ioptdesc_unpreserve_list);

/*
 * Claim the memory at @phys, for a new descriptor that is not yet attached.
 * It must have the order @order, unless that is KHO_ORDER_OF_PAGE.
 */
static struct ioptdesc *ioptdesc_claim(phys_addr_t phys, int order)
{
	union kho_page_info info;
	struct ioptdesc *iopt;
	struct page *page;
	int err;

	page = kho_claim(phys, BIT(KHO_MEMDESC_IOPTDESC), &info);
	if (IS_ERR(page))
		return ERR_CAST(page);

	if (order != KHO_ORDER_OF_PAGE && order != info.order) {
		err = kho_refuse(-EINVAL, "restore", phys, info.order,
				 KHO_MEMDESC_IOPTDESC, "it has another order");
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
	kho_init_claimed(iopt->page, KHO_MEMDESC_IOPTDESC);
	memdesc_attach(iopt->page, iopt->order, iopt, MEMDESC_IOPTDESC);
}

/**
 * kho_ioptdesc_restore - restore an IOMMU page table
 * @phys: physical address of the table
 *
 * The memory and its new descriptor are as memdesc_alloc_node() returns them,
 * with the contents that the memory had. Nothing is accounted, and nothing is
 * incoherent yet. Free them with memdesc_free().
 *
 * Context: Process context, may sleep; any time after the page allocator is up.
 * Return: the descriptor, or ERR_PTR(-EINVAL) if it is no IOMMU page table that
 *	is preserved there, ERR_PTR(-ENOENT) if nothing is, or ERR_PTR(-ENOMEM).
 */
struct ioptdesc *kho_ioptdesc_restore_noprof(phys_addr_t phys)
{
	struct ioptdesc *iopt = ioptdesc_claim(phys, KHO_ORDER_OF_PAGE);

	if (!IS_ERR(iopt))
		ioptdesc_init_claimed(iopt);
	return iopt;
}
EXPORT_SYMBOL_GPL(kho_ioptdesc_restore_noprof);

/**
 * kho_ioptdesc_claim - take an IOMMU page table without restoring it yet
 * @phys: physical address of the table
 * @order: the order that the table must have been preserved with, or
 *	%KHO_ORDER_OF_PAGE for any
 * @list: the new descriptor is added to its end, by iopt_freelist_elm
 *
 * For tables that are worth something only as a whole, and of which one says
 * where the others are: claim one, read it, claim what it points at. A table
 * that is reached twice cannot be claimed twice, so the damage is found before
 * anything was restored. The memory can be read, and nobody else can restore
 * it. The descriptor has its page and its order, but is not attached:
 * page_ioptdesc() does not find it.
 *
 * kho_ioptdesc_commit() or kho_ioptdesc_abort() must follow. An error leaves
 * @list as it was.
 *
 * Context: Process context, may sleep; any time after the page allocator is up.
 * Return: 0; %-EINVAL if what is preserved there is no IOMMU page table or has
 *	another order; %-ENOENT if nothing is, or it is restored or claimed
 *	already; or %-ENOMEM.
 */
int kho_ioptdesc_claim_noprof(phys_addr_t phys, int order,
			      struct list_head *list)
{
	struct ioptdesc *iopt = ioptdesc_claim(phys, order);

	if (IS_ERR(iopt))
		return PTR_ERR(iopt);
	list_add_tail(&iopt->iopt_freelist_elm, list);
	return 0;
}
EXPORT_SYMBOL_GPL(kho_ioptdesc_claim_noprof);

/**
 * kho_ioptdesc_commit - restore the IOMMU page tables that were claimed
 * @list: from kho_ioptdesc_claim(); left as it is
 *
 * Each as by kho_ioptdesc_restore(). Cannot fail.
 *
 * Context: Process context, may sleep.
 * Return: the number of page tables.
 */
unsigned long kho_ioptdesc_commit_noprof(struct list_head *list)
{
	struct ioptdesc *iopt;
	unsigned long nr = 0;

	list_for_each_entry(iopt, list, iopt_freelist_elm) {
		ioptdesc_init_claimed(iopt);
		nr++;
		cond_resched();
	}
	return nr;
}
EXPORT_SYMBOL_GPL(kho_ioptdesc_commit_noprof);

/**
 * kho_ioptdesc_abort - undo kho_ioptdesc_claim()
 * @list: from kho_ioptdesc_claim(); empty afterwards
 *
 * The page tables can be restored, by anybody.
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
