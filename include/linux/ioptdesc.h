/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Copyright (c) 2024, Google LLC.
 * Pasha Tatashin <pasha.tatashin@soleen.com>
 */

#ifndef _LINUX_IOPTDESC_H
#define _LINUX_IOPTDESC_H

#include <linux/types.h>

/**
 * struct ioptdesc - Memory descriptor for IOMMU page tables
 * @__page_flags:	Same as page flags. Unused for IOMMU page tables.
 * @iopt_freelist_elm:	List element for a struct iommu_pages_list
 * @__page_mapping:	Aliases with page->mapping. Unused.
 * @incoherent:		The memory is not coherent with the IOMMU's page walks
 *			and must be flushed.
 * @__index:		Aliases with page->__folio_index.
 * @_private:		Aliases with page->private. Unused.
 * @__page_type:	Same as page->page_type. Unused.
 * @__page_refcount:	Same as page refcount.
 * @memcg_data:		Memcg data.
 *
 * This struct overlays struct page for now. Do not modify without a good
 * understanding of the issues.
 */
struct ioptdesc {
	unsigned long __page_flags;

	struct list_head iopt_freelist_elm;
	unsigned long __page_mapping;
	union {
		u8 incoherent;
		pgoff_t __index;
	};
	void *_private;

	unsigned int __page_type;
	atomic_t __page_refcount;
#ifdef CONFIG_MEMCG
	unsigned long memcg_data;
#endif
};

#endif /* _LINUX_IOPTDESC_H */
