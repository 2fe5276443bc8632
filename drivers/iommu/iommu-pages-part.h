/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IOMMU tables that are smaller than a page, for iommu-pages.c.
 */
#ifndef __IOMMU_PAGES_PART_H
#define __IOMMU_PAGES_PART_H

#include <linux/cache.h>
#include <linux/ioptdesc.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/memcontrol.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/vmstat.h>

/*
 * One word says which parts of a page are free. Two parts never share a cache
 * line that the DMA API writes back for one of them.
 */
#define IOMMU_MIN_PART	MAX(PAGE_SIZE / BITS_PER_LONG, ARCH_DMA_MINALIGN)

/* log2 of the size of the part that is allocated for @size bytes. */
static inline unsigned int iommu_part_shift(size_t size)
{
	return order_base_2(max_t(size_t, size, IOMMU_MIN_PART));
}

struct iommu_pages_list;
struct kho_iommu_parts;
struct part_bucket;

/**
 * struct part_key - What the tables in one page have in common
 * @objcg: who is charged for the page, or NULL. A page is charged as a whole, so
 *	it must not have tables of somebody who does not pay for it.
 * @nid: the node that was asked for. The page may come from another one, where
 *	tables had to come from even if each of them was a page.
 * @zone: the highest zone that was allowed
 * @shift: log2 of the size of a table
 */
struct part_key {
	struct obj_cgroup *objcg;
	int nid;
	u8 zone;
	u8 shift;
};

/**
 * struct ioptdesc_shared - A page that tables share
 * @node: in the bucket, while a part is free
 * @bucket: the bucket of @key, the lock of which protects @node and @free
 * @whole: the descriptor of the page
 * @record: what the next kernel is told of @preserved; NULL if that is 0
 * @preserved: a bit for each table that is preserved over the next kexec
 * @free: a bit for each part
 * @key: for whom these parts are
 */
struct ioptdesc_shared {
	struct hlist_node node;
	struct part_bucket *bucket;
	struct ioptdesc *whole;
#ifdef CONFIG_KEXEC_HANDOVER
	struct kho_iommu_parts *record;
	unsigned long preserved;
#endif
	unsigned long free;
	struct part_key key;
};

void *iommu_alloc_part(int nid, gfp_t gfp, size_t size);
void iommu_free_part(struct ioptdesc *part);

#ifdef CONFIG_KEXEC_HANDOVER
bool iommu_part_is_free(struct ioptdesc *part);
struct ioptdesc *iommu_adopt_parts(phys_addr_t phys, unsigned int shift,
				   unsigned long used);

int iommu_preserve_part(struct ioptdesc *part);
void iommu_unpreserve_part(struct ioptdesc *part);
int iommu_preserve_parts(struct iommu_pages_list *list);
void iommu_unpreserve_parts(struct iommu_pages_list *list);
struct ioptdesc *__iommu_claim_part(phys_addr_t phys, size_t size);
void iommu_commit_part(struct ioptdesc *part);
void iommu_unclaim_part(struct ioptdesc *part);

/* No record of the previous kernel is left. */
extern bool iommu_no_old_parts;

/* See __iommu_claim_part(). Mostly there are no records, and no lock is taken. */
static inline struct ioptdesc *iommu_claim_part(phys_addr_t phys, size_t size)
{
	if (likely(READ_ONCE(iommu_no_old_parts)))
		return NULL;
	return __iommu_claim_part(phys, size);
}
#endif

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
