/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IOMMU tables that are smaller than a page, for iommu-pages.c.
 */
#ifndef __IOMMU_PAGES_PART_H
#define __IOMMU_PAGES_PART_H

#include <linux/cache.h>
#include <linux/ioptdesc.h>
#include <linux/memcontrol.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/vmstat.h>

/*
 * One word says which parts of a page are free. Two parts never share a cache
 * line that the DMA API writes back for one of them.
 */
#define IOMMU_MIN_PART	MAX(PAGE_SIZE / BITS_PER_LONG, ARCH_DMA_MINALIGN)

void *iommu_alloc_part(int nid, gfp_t gfp, size_t size);
void iommu_free_part(struct ioptdesc *part);

/*
 * Count the pages in the node, and in the memcg that is charged for them, if any.
 * Inline, because a page table can come from a list that costs little more than
 * a call.
 */
static inline void ioptdesc_account(struct ioptdesc *iopt, int nr_pages)
{
	struct page *page = iopt->page;

	mod_node_page_state_inline(page_pgdat(page), NR_IOMMU_PAGES, nr_pages);
	if (memcg_kmem_online() && unlikely(PageMemcgKmem(page)))
		mod_lruvec_page_state(page, NR_SECONDARY_PAGETABLE, nr_pages);
	else
		mod_node_page_state_inline(page_pgdat(page),
					   NR_SECONDARY_PAGETABLE, nr_pages);
}

#endif /* __IOMMU_PAGES_PART_H */
