// SPDX-License-Identifier: GPL-2.0-only
/*
 * Typed kexec handover of page tables.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/export.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/mm.h>

#include "../../mm/memdesc.h"
#include "kexec_handover_internal.h"
#include "kho_preserve.h"

/**
 * kho_ptdesc_preserve - preserve a page table
 * @pt: from pagetable_alloc(), of any order
 *
 * A table on which no constructor has run is restored unconstructed. These
 * tables are restored constructed:
 *
 * - a table on which pagetable_pte_ctor() or pagetable_pmd_ctor() has run
 * - a table of the kernel, of any level, that was constructed for init_mm
 * - a PUD, P4D or PGD table that ptdesc_set_kernel() has marked
 *
 * Any other table with this mark is refused, because the mark would be lost. A
 * PUD, P4D or PGD table of a user address space has no type on the wire. Its
 * constructor takes no lock and cannot fail. So preserve such a table before
 * its constructor or after pagetable_dtor(), and construct it after the
 * restore.
 *
 * Not handed over are tables deposited in a PMD table, and the count of the
 * users that share the table.
 *
 * Context: Process context, may sleep.
 * Return: 0, or an error as listed in "Typed kexec handover"; %-EOPNOTSUPP for
 *	a table that has no type on the wire.
 */
int kho_ptdesc_preserve(struct ptdesc *pt)
{
	struct page *page = ptdesc_page(pt);

	return kho_preserve_one(page, compound_order(page), kho_ptdesc_type(pt));
}
EXPORT_SYMBOL_GPL(kho_ptdesc_preserve);

/**
 * kho_ptdesc_preserve_nowait - preserve a page table without sleeping
 * @pt: as for kho_ptdesc_preserve()
 *
 * For tables with a struct ptdesc that a spinlock protects. The tables of a KVM guest
 * are bare pages: see kho_preserve_page_desc_nowait(), and kho_map_reserve().
 *
 * Context: As kho_preserve_page_desc_nowait().
 * Return: As kho_ptdesc_preserve(), and %-EAGAIN if the place is not reserved for a
 *	table of this type.
 */
int kho_ptdesc_preserve_nowait(struct ptdesc *pt)
{
	struct page *page = ptdesc_page(pt);

	return kho_preserve_page_desc_nowait(page, compound_order(page),
					     kho_ptdesc_type(pt));
}
EXPORT_SYMBOL_GPL(kho_ptdesc_preserve_nowait);

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

/* The constructors only compare the mm with init_mm: NULL is any other mm. */
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

#ifdef CONFIG_MEMDESC_PTDESC
/* The lock is in the descriptor: if there is memory for that, nothing fails. */
static struct ptdesc *kho_ptdesc_init(struct page *page,
				      const union kho_page_info *info)
{
	struct ptdesc *pt;

	pt = memdesc_alloc_own_noprof(GFP_KERNEL, page_to_nid(page),
				      MEMDESC_PTDESC);
	if (!pt)
		return NULL;

	kho_prep_claimed(page, info->type, info->order);
	kho_account_claimed(page, info->type, info->order);
	memdesc_attach(page, info->order, pt, MEMDESC_PTDESC);
	kho_ptdesc_construct(pt, info->type);
	return pt;
}
#else
static struct ptdesc *kho_ptdesc_init(struct page *page,
				      const union kho_page_info *info)
{
	struct ptdesc *pt = page_ptdesc(page);

	kho_prep_claimed(page, info->type, info->order);
	if (!kho_ptdesc_construct(pt, info->type)) {
		page->page_type = UINT_MAX;
		return NULL;
	}
	kho_account_claimed(page, info->type, info->order);
	return pt;
}
#endif

/**
 * kho_ptdesc_restore - restore a page table
 * @phys: physical address of the table
 *
 * The table is as pagetable_alloc() returned it, with the contents that it had.
 * Free it with pagetable_free(). A table that was preserved after its
 * constructor is constructed and accounted in NR_PAGETABLE; unless it is a
 * table of the kernel, it has a new, unlocked lock. Free it with
 * pagetable_dtor_free().
 *
 * Context: Process context, may sleep, any time after the slab allocator is up.
 * Return: the descriptor, or ERR_PTR(-EINVAL) if something other than a page
 *	table is preserved there, ERR_PTR(-ENOENT) if nothing is,
 *	ERR_PTR(-EHWPOISON) if the table has a hardware error,
 *	ERR_PTR(-EOPNOTSUPP) if this kernel only keeps the memory, or
 *	ERR_PTR(-ENOMEM) if there was no memory for the lock or the descriptor,
 *	or, early in the boot, for struct pages.
 */
struct ptdesc *kho_ptdesc_restore_noprof(phys_addr_t phys)
{
	union kho_page_info info;
	struct ptdesc *pt;
	struct page *page;

	page = kho_claim(phys, KHO_PTDESC_TYPES, &info);
	if (IS_ERR(page))
		return ERR_CAST(page);

	pt = kho_ptdesc_init(page, &info);
	if (!pt) {
		const bool forwarded = info.magic == KHO_PAGE_FORWARDED;

		/* Put the claim back, for kho_unclaim() to release. */
		info.magic = KHO_PAGE_CLAIMED;
		set_page_private(page, info.page_private);
		kho_unclaim(page);
		/*
		 * kho_prep_claimed() has ended that. If there is no memory for it now,
		 * the table is only unclaimed.
		 */
		if (forwarded)
			kho_forward(phys, info.order, info.type);
		return ERR_PTR(-ENOMEM);
	}
	return pt;
}
EXPORT_SYMBOL_GPL(kho_ptdesc_restore_noprof);
