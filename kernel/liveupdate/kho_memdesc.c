// SPDX-License-Identifier: GPL-2.0-only
/*
 * Typed kexec handover, the lowest level: preserve, unpreserve and restore memory
 * of any type, one piece or an array.
 *
 * include/linux/kho_memdesc.h is the contract. The functions for folios are made
 * of the same parts, with the type known: see kho_folio.c.
 */

#include <linux/cleanup.h>
#include <linux/export.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/mm.h>

#include "kho_preserve.h"

/**
 * kho_preserve_page_desc - preserve memory of a type
 * @page: first page of the memory
 * @order: its size is PAGE_SIZE << @order bytes, and it is aligned to that
 * @type: its type, which decides what state restore puts it in
 *
 * The lowest level of preserving, for the allocators' own functions. @type says
 * more than &enum memdesc_type: memory without a descriptor can be a block, a
 * compound page or split pages, and each is freed in its own way.
 *
 * Context: Process context, may sleep.
 * Return: 0, or an error as listed in "Typed kexec handover"; then nothing was
 *	changed.
 */
int kho_preserve_page_desc(struct page *page, unsigned int order,
			   enum kho_memdesc type)
{
	return kho_preserve_one(page, order, type);
}
EXPORT_SYMBOL_GPL(kho_preserve_page_desc);

/**
 * kho_unpreserve_page_desc - undo kho_preserve_page_desc()
 * @page: as it was preserved
 * @order: as it was preserved
 * @type: as it was preserved
 *
 * Context: Process context, may sleep, but does not allocate.
 */
void kho_unpreserve_page_desc(struct page *page, unsigned int order,
			      enum kho_memdesc type)
{
	kho_unpreserve_one(page, order, type);
}
EXPORT_SYMBOL_GPL(kho_unpreserve_page_desc);

/**
 * kho_preserve_page_descs - preserve several pieces of memory, or none
 * @pages: the first page of each
 * @nr: how many
 * @order: their order, or %KHO_ORDER_OF_PAGE: each is a folio or a compound
 *	page, which knows its own
 * @type: their type
 *
 * kho_preserve_page_desc() for each, but faster, most so if they are sorted by
 * address.
 *
 * Context: Process context, may sleep.
 * Return: 0, or an error as listed in "Typed kexec handover"; then nothing was
 *	changed.
 */
int kho_preserve_page_descs(struct page **pages, unsigned long nr, int order,
			    enum kho_memdesc type)
{
	/* One call for each type of most arrays, so that the checks fold. */
	if (type == KHO_MEMDESC_SPLIT)
		return kho_preserve_batch(pages, nr, order, KHO_MEMDESC_SPLIT);
	return kho_preserve_batch(pages, nr, order, type);
}
EXPORT_SYMBOL_GPL(kho_preserve_page_descs);

/**
 * kho_unpreserve_page_descs - undo kho_preserve_page_descs()
 * @pages: the first page of each
 * @nr: how many
 * @order: as they were preserved
 * @type: as they were preserved
 *
 * Context: Process context, may sleep, but does not allocate.
 */
void kho_unpreserve_page_descs(struct page **pages, unsigned long nr, int order,
			       enum kho_memdesc type)
{
	if (unlikely(!kho_out.radix_tree.root))
		return;

	guard(percpu_read)(&kho_map_sem);
	kho_map_del_batch(pages, nr, order, type);
}
EXPORT_SYMBOL_GPL(kho_unpreserve_page_descs);

/**
 * kho_restore - restore one preservation
 * @phys: physical address of the memory
 * @types: bit mask of the types to accept
 * @untyped_as: its type if none was recorded
 *
 * Context: As kho_claim().
 * Return: As kho_claim().
 */
struct page *kho_restore(phys_addr_t phys, unsigned long types,
			 enum kho_memdesc untyped_as)
{
	union kho_page_info info;
	struct page *page;

	page = kho_claim(phys, types, &info);
	if (!IS_ERR(page))
		kho_init_claimed(page, untyped_as);
	return page;
}
