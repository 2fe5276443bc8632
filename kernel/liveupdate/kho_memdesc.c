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

#include "kho_claim.h"
#include "kho_map.h"

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
	might_sleep();
	if (unlikely(!kho_out.radix_tree.root))
		return;
	if (!order && likely(kho_map_del_quick(page_to_pfn(page), type)))
		return;

	guard(percpu_read)(&kho_map_sem);
	__kho_map_del(page_to_pfn(page), order, type);
}
EXPORT_SYMBOL_GPL(kho_unpreserve_page_desc);

/* So many pages are preserved at most while a window is locked. */
#define KHO_RUN_MAX	256

/*
 * Preserve order 0 memory as long as it lies in one window and nothing is wrong.
 * Returns how many pages were preserved, which can be none.
 */
static __always_inline unsigned long
kho_preserve_run(struct page **pages, unsigned long nr, enum kho_memdesc type)
{
	const unsigned long pfn = page_to_pfn(pages[0]);
	const unsigned long base = ALIGN_DOWN(pfn, KHO_LEAF_BITS);
	struct kho_window *window = kho_find_window(pfn);
	unsigned long i = 0, off = pfn - base;

	if (!window || kho_lock_window(window, kho_key(pfn, 0, type), true))
		return 0;

	nr = min(nr, KHO_RUN_MAX);
	do {
		if (kho_page_unsupported(pages[i], 0) ||
		    kho_page_mismatch(pages[i], 0, type) ||
		    __test_and_set_bit(off, window->busy))
			break;
		__set_bit(off, window->leaf->bitmap);
		if (++i == nr)
			break;
		off = page_to_pfn(pages[i]) - base;
	} while (off < KHO_LEAF_BITS);
	window->nr_preserved += i;
	spin_unlock(&window->lock);
	return i;
}

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
	unsigned long i = 0, run;
	int err;

	if (unlikely(!kho_out.radix_tree.root))
		return -EOPNOTSUPP;

	guard(percpu_read)(&kho_map_sem);
	while (i < nr) {
		unsigned int o = kho_batch_order(pages[i], order);

		/* One call for each type, so that the checks fold: 27 instructions. */
		run = 0;
		if (!o && type == KHO_MEMDESC_FOLIO)
			run = kho_preserve_run(pages + i, nr - i,
					       KHO_MEMDESC_FOLIO);
		else if (!o && type == KHO_MEMDESC_SPLIT)
			run = kho_preserve_run(pages + i, nr - i,
					       KHO_MEMDESC_SPLIT);
		if (run) {
			i += run;
			continue;
		}

		/* Of another order or type, first of its window, or refused. */
		err = kho_check_page(pages[i], o, type);
		if (!err)
			err = __kho_map_add(page_to_pfn(pages[i]), o, type);
		if (err) {
			kho_map_del_batch(pages, i, order, type);
			return err;
		}
		i++;
	}
	return 0;
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

/**
 * kho_restore_batch - restore several preservations, or none
 * @phys: physical address of each
 * @nr: how many
 * @types: bit mask of the types to accept
 * @untyped_as: their type if none was recorded
 * @pages: set to the first page of each; garbage after an error
 *
 * Context: As kho_claim().
 * Return: 0, or an error of kho_claim(); then nothing was restored.
 */
int kho_restore_batch(const phys_addr_t *phys, unsigned long nr,
		      unsigned long types, enum kho_memdesc untyped_as,
		      struct page **pages)
{
	union kho_page_info info;

	for (unsigned long i = 0; i < nr; i++) {
		int err = __kho_claim(phys[i], types, &info, &pages[i], false);

		if (err) {
			while (i--)
				kho_unclaim(pages[i]);
			return err;
		}
	}

	for (unsigned long i = 0; i < nr; i++)
		__kho_init_claimed(pages[i], untyped_as);
	return 0;
}
