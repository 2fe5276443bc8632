// SPDX-License-Identifier: GPL-2.0-only
/*
 * Handover of large kmalloc memory: pages with a page type of their own. The
 * preserved memory map says all that is to know about them, so they need no
 * record.
 */

#include <linux/kasan.h>
#include <linux/kho_memdesc.h>
#include <linux/kmemleak.h>
#include <linux/kmsan-checks.h>
#include <linux/mm.h>
#include <linux/xarray.h>

#include "kexec_handover_internal.h"
#include "kho_slab.h"

/*
 * The memory that is preserved, by its first page. It is only used to find out
 * whether preserved memory is freed, with CONFIG_KEXEC_HANDOVER_DEBUG.
 */
static DEFINE_XARRAY(kho_large_preserved);

/**
 * kho_large_preserve - Preserve large kmalloc memory
 * @page: Its first page.
 *
 * Context: Process context, may sleep, under memalloc_nofs_save().
 * Return: 0, %-ENOMEM, or another error of kho_preserve_page_desc().
 */
int kho_large_preserve(struct page *page)
{
	const unsigned int order = compound_order(page);
	int err;

	err = kho_preserve_page_desc(page, order, KHO_MEMDESC_LARGE_KMALLOC);
	if (err || !IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG))
		return err;

	err = xa_err(xa_store(&kho_large_preserved, page_to_pfn(page),
			      xa_mk_value(order), GFP_KERNEL));
	if (err)
		kho_unpreserve_page_desc(page, order, KHO_MEMDESC_LARGE_KMALLOC);
	return err;
}

/**
 * kho_large_unpreserve - Undo kho_large_preserve()
 * @page: As it was preserved.
 *
 * Context: Process context. Does not allocate.
 */
void kho_large_unpreserve(struct page *page)
{
	if (IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG))
		xa_erase(&kho_large_preserved, page_to_pfn(page));
	kho_unpreserve_page_desc(page, compound_order(page),
				 KHO_MEMDESC_LARGE_KMALLOC);
}

#ifdef CONFIG_KEXEC_HANDOVER_DEBUG
/**
 * kho_large_any_preserved - Is any large kmalloc memory preserved?
 *
 * Context: Any.
 * Return: true if there is some.
 */
bool kho_large_any_preserved(void)
{
	return !xa_empty(&kho_large_preserved);
}

/**
 * kho_large_is_preserved - Is large kmalloc memory preserved?
 * @page: Its first page.
 *
 * Context: Any.
 * Return: true if it is.
 */
bool kho_large_is_preserved(const struct page *page)
{
	return xa_load(&kho_large_preserved, page_to_pfn(page));
}
#endif

/**
 * kho_large_restore - Restore large kmalloc memory
 * @phys: Its physical address.
 *
 * Context: Process context, may sleep.
 * Return: The memory, or ERR_PTR: an error of kho_restore().
 */
void *kho_large_restore(phys_addr_t phys)
{
	struct page *page;
	size_t size;
	void *obj;

	page = kho_restore(phys, BIT(KHO_MEMDESC_LARGE_KMALLOC),
			   KHO_MEMDESC_LARGE_KMALLOC);
	if (IS_ERR(page))
		return page;

	/*
	 * Nobody knows which size kmalloc() was called with. Let the user have all
	 * of the memory.
	 */
	size = page_size(page);
	mod_node_page_state(page_pgdat(page), NR_SLAB_UNRECLAIMABLE_B, size);
	obj = kasan_kmalloc_large(page_address(page), size, GFP_KERNEL);
	kmemleak_alloc(obj, size, 1, GFP_KERNEL);
	kmsan_unpoison_memory(obj, size);
	return obj;
}
