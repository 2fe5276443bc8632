// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damage what this kernel hands over by kexec: the records of IOMMU tables that
 * share a page, and the list of them.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/io.h>
#include <linux/kho/abi/iommu_parts.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/mm.h>
#include <linux/unaligned.h>

#include "khd.h"

static struct kho_iommu_parts_chunk *khd_parts_chunk(void)
{
	u64 *data = khd_subtree(KHO_IOMMU_PARTS_SUBTREE);

	return data ? phys_to_virt(get_unaligned(data)) : NULL;
}

/* A record of that chunk that is in use, or one that is free. */
static struct kho_iommu_parts *
khd_parts_record(struct kho_iommu_parts_chunk *chunk, bool used)
{
	const unsigned int nr = (PAGE_SIZE - sizeof(*chunk)) /
				sizeof(*chunk->records);

	for (unsigned int i = 0; chunk && i < nr; i++) {
		if (!chunk->records[i].page == !used)
			return &chunk->records[i];
	}
	return NULL;
}

/* Another record of a page, or one for a page that has no records. */
int khd_parts(u64 what)
{
	struct kho_iommu_parts_chunk *chunk = khd_parts_chunk();
	struct kho_iommu_parts *used = khd_parts_record(chunk, true);
	struct kho_iommu_parts *rec = khd_parts_record(chunk, false);
	phys_addr_t phys = khd_new_pages(0);

	if (!used || !rec || !phys)
		return -ENOENT;

	switch ((enum khd_parts)what) {
	case KHD_PARTS_TWICE:
		/* Which of the two counts makes no difference. */
		phys = used->page & PAGE_MASK;
		rec->page = used->page;
		rec->parts = used->parts;
		break;
	case KHD_PARTS_SIZE:
		rec->page = phys | PAGE_SHIFT;
		rec->parts = 1;
		break;
	case KHD_PARTS_SMALL:
		rec->page = phys | (PAGE_SHIFT - 7);
		rec->parts = 1;
		break;
	case KHD_PARTS_BITS:
		rec->page = phys | (PAGE_SHIFT - 1);
		rec->parts = 7;
		break;
	case KHD_PARTS_NONE:
		rec->page = phys | (PAGE_SHIFT - 1);
		rec->parts = 0;
		break;
	case KHD_PARTS_NOT_PRESERVED:
		rec->page = phys | (PAGE_SHIFT - 1);
		rec->parts = 1;
		break;
	case KHD_PARTS_TYPE:
		/* A table that has its page alone can still be restored. */
		phys = khd_place(KHD_FIRST_IOPTDESC);
		if (!phys)
			return -ENOENT;
		rec->page = phys | (PAGE_SHIFT - 1);
		rec->parts = 1;
		break;
	}
	return khd_expect("table", phys);
}

/* The list of records goes on at @phys, where there are none. */
static int khd_parts_link(phys_addr_t phys)
{
	struct kho_iommu_parts_chunk *chunk = khd_parts_chunk();

	if (!chunk || !phys)
		return -ENOENT;
	while (chunk->next)
		chunk = phys_to_virt(chunk->next);
	chunk->next = phys;
	return khd_expect("tables", phys);
}

int khd_parts_next(u64 place)
{
	return khd_parts_link(khd_place(place));
}

/* The list goes on with memory of that type, which is all zeroes. */
int khd_parts_page(u64 type)
{
	phys_addr_t phys = khd_new_pages(0);

	if (!phys || khd_add_pages(phys, 0, type))
		return -ENOENT;
	return khd_parts_link(phys);
}
