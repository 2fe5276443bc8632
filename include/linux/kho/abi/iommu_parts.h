/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_KHO_ABI_IOMMU_PARTS_H
#define _LINUX_KHO_ABI_IOMMU_PARTS_H

#include <linux/build_bug.h>
#include <linux/types.h>

/**
 * DOC: IOMMU tables that share a page
 *
 * A page that tables smaller than a page share is preserved as
 * %KHO_MEMDESC_IOPTDESC_SHARED as long as one of its tables is preserved. The
 * key of the page does not say how large the tables are, nor which of them are
 * preserved. This is written in a record for each such page. Records lie in
 * chunks. A chunk is a page that is preserved as %KHO_MEMDESC_IOPTDESC. The
 * subtree KHO_IOMMU_PARTS_SUBTREE is the first chunk, and each chunk has the
 * address of the next one.
 *
 * In a page that has a record, a table whose bit is clear is free in the next
 * kernel. A page without a record stays preserved, and nobody gets it.
 */

#define KHO_IOMMU_PARTS_SUBTREE	"iommu-parts"
#define KHO_IOMMU_PARTS_MAGIC	0x31737472615069ULL	/* "iParts1" */

/**
 * struct kho_iommu_parts - the preserved tables of a page
 * @page: physical address of the page, plus log2 of the size of a table. The
 *	record is free if this is 0.
 * @parts: a bit for each table that is preserved, bit 0 for the first table
 */
struct kho_iommu_parts {
	u64 page;
	u64 parts;
};

/**
 * struct kho_iommu_parts_chunk - a page of records
 * @magic: KHO_IOMMU_PARTS_MAGIC
 * @next: physical address of the next chunk, or 0
 * @records: as many as the page has room for
 */
struct kho_iommu_parts_chunk {
	u64 magic;
	u64 next;
	struct kho_iommu_parts records[];
};

static_assert(sizeof(struct kho_iommu_parts) == 16);
static_assert(sizeof(struct kho_iommu_parts_chunk) == 16);

#endif /* _LINUX_KHO_ABI_IOMMU_PARTS_H */
