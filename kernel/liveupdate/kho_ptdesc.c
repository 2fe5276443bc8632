// SPDX-License-Identifier: GPL-2.0-only
/*
 * Typed kexec handover of page tables.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/export.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/mm.h>

#include "kexec_handover_internal.h"

/**
 * kho_ptdesc_preserve - preserve a page table
 * @pt: from pagetable_alloc(), of any order
 *
 * A table on which no constructor has run comes back like that. One on which
 * pagetable_pte_ctor() or pagetable_pmd_ctor() has run comes back constructed,
 * and so does every table of the kernel that was constructed for init_mm, and a
 * PUD, P4D or PGD table that ptdesc_set_kernel() has marked. That mark on any
 * other table would be lost: it is refused. A PUD, P4D or PGD table of a user
 * address space has no type on the wire; its constructor takes no lock and
 * cannot fail, so preserve it before its constructor, or after pagetable_dtor(),
 * and construct it after the restore.
 *
 * What hangs on the descriptor stays behind: tables deposited in a PMD table,
 * and the count of who shares it.
 *
 * Context: Process context, may sleep.
 * Return: 0, or an error as listed in "Typed kexec handover"; %-EOPNOTSUPP for
 *	a table that has no type on the wire.
 */
int kho_ptdesc_preserve(struct ptdesc *pt)
{
	struct page *page = ptdesc_page(pt);

	return kho_preserve_page_desc(page, compound_order(page),
				      kho_ptdesc_type(pt));
}
EXPORT_SYMBOL_GPL(kho_ptdesc_preserve);

/**
 * kho_ptdesc_unpreserve - undo kho_ptdesc_preserve()
 * @pt: as it was preserved; neither constructed nor destroyed since
 *
 * Context: Process context, may sleep, but does not allocate.
 */
void kho_ptdesc_unpreserve(struct ptdesc *pt)
{
	struct page *page = ptdesc_page(pt);

	kho_unpreserve_page_desc(page, compound_order(page),
				 kho_ptdesc_type(pt));
}
EXPORT_SYMBOL_GPL(kho_ptdesc_unpreserve);

/* The constructors look at nothing but whether it is init_mm. */
static bool kho_ptdesc_construct(struct ptdesc *pt, enum kho_memdesc type)
{
	switch (type) {
	case KHO_MEMDESC_PTE:
		return pagetable_pte_ctor(NULL, pt);
	case KHO_MEMDESC_PMD:
		return pagetable_pmd_ctor(NULL, pt);
	case KHO_MEMDESC_PTDESC_KERNEL:
		ptdesc_set_kernel(pt);
		return pagetable_pte_ctor(&init_mm, pt);
	default:
		return true;
	}
}

/**
 * kho_ptdesc_restore - restore a page table
 * @phys: physical address of the table
 *
 * The table is as pagetable_alloc() returned it, with the contents that it had.
 * Free it with pagetable_free(). If it was preserved after its constructor,
 * then it is constructed, with an unlocked lock of its own unless it is the
 * kernel's, and accounted in NR_PAGETABLE: free it with pagetable_dtor_free().
 *
 * Context: Process context, may sleep, any time after the slab allocator is up.
 * Return: the descriptor, or ERR_PTR(-EINVAL) if it is no page table that is
 *	preserved there, ERR_PTR(-ENOENT) if nothing is, ERR_PTR(-EHWPOISON) if
 *	the table has a hardware error, or ERR_PTR(-ENOMEM) if there was no memory
 *	for the lock, or early in the boot.
 */
struct ptdesc *kho_ptdesc_restore_noprof(phys_addr_t phys)
{
	union kho_page_info info;
	struct ptdesc *pt;
	struct page *page;

	page = kho_claim(phys, KHO_PTDESC_TYPES, &info);
	if (IS_ERR(page))
		return ERR_CAST(page);

	kho_prep_claimed(page, info.type, info.order);
	pt = page_ptdesc(page);
	if (!kho_ptdesc_construct(pt, info.type)) {
		page->page_type = UINT_MAX;
		/* Not free to be claimed before all of it is put back. */
		info.magic = KHO_PAGE_CLAIMED;
		set_page_private(page, info.page_private);
		kho_unclaim(page);
		return ERR_PTR(-ENOMEM);
	}
	kho_account_claimed(page, info.type, info.order);
	return pt;
}
EXPORT_SYMBOL_GPL(kho_ptdesc_restore_noprof);
