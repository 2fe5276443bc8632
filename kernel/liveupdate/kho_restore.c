// SPDX-License-Identifier: GPL-2.0-only
/*
 * Typed kexec handover: restoring memory of any memdesc type.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/export.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/mm.h>

#include "../../mm/memdesc.h"
#include "kexec_handover_internal.h"
#include "kho_slab.h"

/**
 * kho_restore_page_desc - restore memory by its memdesc type
 * @phys: physical address of the memory, as it was preserved
 * @desc: the type, made by one of the MEMDESC_TYPE_x() macros; if the type has
 *	a separate descriptor, it is attached to the memory
 *
 * The lowest level of restoring. The type recorded when the memory was
 * preserved decides in which state the memory comes back; @desc must be of the
 * same memdesc type. Memory from a kernel that wrote no types ("kho-v4")
 * becomes a folio if @desc asks for one, or, with order 0, a page if @desc asks
 * for pages.
 *
 * Large kmalloc memory comes back accounted, as from kmalloc(): free the memory
 * with kfree().
 *
 * Pages can be restored by this function only if they are compound or single.
 * Blocks and ranges of pages do not know their size: use kho_pages_restore()
 * and kho_pages_exact_restore().
 *
 * Context: Process context, may sleep, any time after the page allocator is up;
 *	for page tables after the slab allocator is up.
 * Return: the first page, or %ERR_PTR: %-EINVAL if the memory is of another
 *	type, @phys is not aligned, or the type needs a descriptor and @desc is
 *	%NULL, %-ENOENT if nothing is preserved there, %-EHWPOISON if some of
 *	the memory has a hardware error, %-ENOMEM if there was no memory for the
 *	lock of a page table, or, early in the boot, for struct pages,
 *	%-EOPNOTSUPP if no memory of this type can be handed over, or if this
 *	kernel only keeps the memory.
 */
struct page *kho_restore_page_desc_noprof(phys_addr_t phys, memdesc_t desc)
{
	union kho_page_info info;
	struct ioptdesc *iopt;
	struct page *page;
	struct ptdesc *pt;
	void *obj;

	switch (memdesc_type(desc)) {
	case MEMDESC_FOLIO:
		return kho_restore(phys, KHO_FOLIO_TYPES, KHO_MEMDESC_FOLIO);
	case MEMDESC_PAGES:
		page = kho_claim(phys, KHO_BLOCK_TYPES, &info);
		if (IS_ERR(page))
			return page;
		/* Nobody could free it: a block does not tell its order. */
		if (info.order && info.type != KHO_MEMDESC_COMPOUND) {
			kho_unclaim(page);
			return ERR_PTR(kho_refuse(-EINVAL, "restore", phys,
						  info.order, info.type,
						  "not by its memdesc type, without an order"));
		}
		kho_init_claimed(page, KHO_MEMDESC_BLOCK);
		return page;
	case MEMDESC_LARGE_KMALLOC:
		obj = kho_large_restore(phys);
		return IS_ERR(obj) ? ERR_CAST(obj) : virt_to_page(obj);
	case MEMDESC_IOPTDESC:
		iopt = memdesc_ioptdesc(desc);
		if (!iopt)
			return ERR_PTR(-EINVAL);
		page = kho_restore(phys, BIT(KHO_MEMDESC_IOPTDESC),
				   KHO_MEMDESC_IOPTDESC);
		if (!IS_ERR(page))
			memdesc_attach(page, compound_order(page), iopt,
				       MEMDESC_IOPTDESC);
		return page;
	case MEMDESC_PTDESC:
		pt = kho_ptdesc_restore_noprof(phys);
		return IS_ERR(pt) ? ERR_CAST(pt) : ptdesc_page(pt);
	default:
		return ERR_PTR(-EOPNOTSUPP);
	}
}
EXPORT_SYMBOL_GPL(kho_restore_page_desc_noprof);
