/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Copyright (c) 2024, Google LLC.
 * Pasha Tatashin <pasha.tatashin@soleen.com>
 */

#ifndef _LINUX_IOPTDESC_H
#define _LINUX_IOPTDESC_H

#include <linux/mm.h>
#include <linux/types.h>

struct ioptdesc_shared;

/**
 * struct ioptdesc - Memory descriptor for IOMMU page tables
 * @page:		The first page. Set by memdesc_alloc_node().
 * @order:		log2 of the number of pages. Set by memdesc_alloc_node().
 * @incoherent:		The memory is not coherent with the IOMMU's page walks
 *			and must be flushed.
 * @part_shift:		log2 of the size of each table in the page if tables
 *			that are smaller share the page, else 0.
 * @part:		Which table of the page this is; 0 if @part_shift is 0.
 * @iopt_freelist_elm:	List element for a struct iommu_pages_list. Its prev is
 *			NULL while the memory is in use, neither on a list nor
 *			waiting for RCU.
 * @rcu_head:		For freeing after a grace period.
 * @parts:		In the descriptor of a page that small tables share: an
 *			array with a descriptor for each table.
 * @shared:		Beside @parts: which of the tables are in use.
 *
 * The descriptor is an allocation of its own and does not overlay struct page.
 * The pages are frozen: nobody can take a reference to them.
 *
 * Tables that are smaller than a page share a page. The page has a descriptor
 * for mm, which page_ioptdesc() returns, and each table has a descriptor for
 * the IOMMU drivers, which virt_to_ioptdesc() returns. Both have @part_shift.
 */
struct ioptdesc {
	struct page *page;
	u8 order;
	u8 incoherent;
	u8 part_shift;
	u8 part;
	union {
		struct list_head iopt_freelist_elm;
		struct rcu_head rcu_head;
		struct {
			struct ioptdesc *parts;
			struct ioptdesc_shared *shared;
		};
	};
};

/**
 * page_ioptdesc - The descriptor of the page of an IOMMU page table
 * @page: any page of memory that iommu_alloc_pages_node_sz() has returned
 *
 * If @page may be any other page, use page_memdesc() instead.
 *
 * Context: Any context. The memory must not be freed meanwhile.
 * Return: The descriptor.
 */
static inline struct ioptdesc *page_ioptdesc(const struct page *page)
{
	const struct page *head = compound_head(page);

	VM_WARN_ON_ONCE_PAGE(!PageIOPT(head), head);
	return (struct ioptdesc *)head->private;
}

/**
 * ioptdesc_address - The memory that a descriptor manages
 * @iopt: the descriptor
 *
 * Context: Any context.
 * Return: Its address in the direct map.
 */
static inline void *ioptdesc_address(const struct ioptdesc *iopt)
{
	return page_address(iopt->page) +
	       ((size_t)iopt->part << iopt->part_shift);
}

/* Tables that share a page, and that nobody restores: drivers/iommu/iommu-pages-part-kho.c. */
#if defined(CONFIG_IOMMU_SUPPORT) && defined(CONFIG_KEXEC_HANDOVER)
int iommu_know_parts(void);
int iommu_forward_parts(phys_addr_t phys);
unsigned int iommu_release_parts(phys_addr_t phys);
#else
static inline int iommu_know_parts(void)
{
	return 0;
}

static inline int iommu_forward_parts(phys_addr_t phys)
{
	return -ENOENT;
}

static inline unsigned int iommu_release_parts(phys_addr_t phys)
{
	return 0;
}
#endif

#endif /* _LINUX_IOPTDESC_H */
