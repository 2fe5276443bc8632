/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Copyright (c) 2024, Google LLC.
 * Pasha Tatashin <pasha.tatashin@soleen.com>
 */

#ifndef _LINUX_IOPTDESC_H
#define _LINUX_IOPTDESC_H

#include <linux/mm.h>
#include <linux/types.h>

/**
 * struct ioptdesc - Memory descriptor for IOMMU page tables
 * @page:		The first page. Set by memdesc_alloc_node().
 * @order:		log2 of the number of pages. Set by memdesc_alloc_node().
 * @incoherent:		The memory is not coherent with the IOMMU's page walks
 *			and must be flushed.
 * @iopt_freelist_elm:	List element for a struct iommu_pages_list. Its prev is
 *			NULL while the memory is in use, neither on a list nor
 *			waiting for RCU.
 * @rcu_head:		For freeing after a grace period.
 *
 * The descriptor is an allocation of its own and does not overlay struct page.
 * The pages are frozen: nobody can take a reference to them.
 */
struct ioptdesc {
	struct page *page;
	u8 order;
	u8 incoherent;
	union {
		struct list_head iopt_freelist_elm;
		struct rcu_head rcu_head;
	};
};

/**
 * page_ioptdesc - The descriptor of an IOMMU page table
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
	return page_address(iopt->page);
}

#endif /* _LINUX_IOPTDESC_H */
