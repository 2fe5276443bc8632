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
	}

	kho_map_lock();
	list_for_each_entry(iopt, list, iopt_freelist_elm) {
		err = kho_map_add(page_to_pfn(iopt->page), iopt->order,
				  KHO_MEMDESC_IOPTDESC);
		if (err)
			break;
	}
	if (err) {
		list_for_each_entry_continue_reverse(iopt, list,
						     iopt_freelist_elm)
			ioptdesc_map_del(iopt);
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
	list_for_each_entry(iopt, list, iopt_freelist_elm)
		ioptdesc_map_del(iopt);
	kho_map_unlock();
}
EXPORT_SYMBOL_GPL(kho_ioptdesc_unpreserve_list);

/* Claim the memory at @phys, for a new descriptor that is not yet attached. */
static struct ioptdesc *ioptdesc_claim(phys_addr_t phys)
{
	union kho_page_info info;
	struct ioptdesc *iopt;
	struct page *page;

	page = kho_claim(phys, BIT(KHO_MEMDESC_IOPTDESC), &info);
	if (IS_ERR(page))
		return ERR_CAST(page);

	iopt = memdesc_alloc_own_noprof(GFP_KERNEL, page_to_nid(page),
					MEMDESC_IOPTDESC);
	if (!iopt) {
		kho_unclaim(page);
		return ERR_PTR(-ENOMEM);
	}
	iopt->page = page;
	iopt->order = info.order;
	return iopt;
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
	struct ioptdesc *iopt = ioptdesc_claim(phys);

	if (!IS_ERR(iopt))
		ioptdesc_init_claimed(iopt);
	return iopt;
}
EXPORT_SYMBOL_GPL(kho_ioptdesc_restore_noprof);

/**
 * kho_ioptdesc_restore_list - restore a number of IOMMU page tables
 * @phys: physical addresses of the tables
 * @nr: how many
 * @list: empty; their descriptors are added to it by iopt_freelist_elm, in the
 *	order of @phys
 *
 * Each as by kho_ioptdesc_restore(). All or nothing: after an error they can
 * be restored still.
 *
 * Context: Process context, may sleep; any time after the page allocator is up.
 * Return: 0, or an error like kho_ioptdesc_restore().
 */
int kho_ioptdesc_restore_list_noprof(const phys_addr_t *phys, unsigned int nr,
				     struct list_head *list)
{
	struct ioptdesc *iopt, *tmp;
	int err;

	for (unsigned int i = 0; i < nr; i++) {
		iopt = ioptdesc_claim(phys[i]);
		if (IS_ERR(iopt)) {
			err = PTR_ERR(iopt);
			goto unclaim;
		}
		list_add_tail(&iopt->iopt_freelist_elm, list);
	}

	list_for_each_entry(iopt, list, iopt_freelist_elm)
		ioptdesc_init_claimed(iopt);
	return 0;

unclaim:
	list_for_each_entry_safe(iopt, tmp, list, iopt_freelist_elm) {
		kho_unclaim(iopt->page);
		memdesc_free_own(iopt, MEMDESC_IOPTDESC);
	}
	INIT_LIST_HEAD(list);
	return err;
}
EXPORT_SYMBOL_GPL(kho_ioptdesc_restore_list_noprof);
