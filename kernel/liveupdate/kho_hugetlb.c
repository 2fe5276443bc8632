// SPDX-License-Identifier: GPL-2.0-only
/*
 * Typed kexec handover of hugetlb folios. mm/hugetlb_kho.c has what happens in
 * the pools.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/export.h>
#include <linux/hugetlb.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/mm.h>

#include "../../mm/hugetlb_kho.h"
#include "kho_claim.h"
#include "kho_preserve.h"

/**
 * kho_hugetlb_preserve - preserve a hugetlb folio
 * @folio: in use, of any size that hugetlb has
 *
 * The folio is handed over with its contents. The file that the folio is in, its
 * reservation and the cgroups that it is charged to are not: they are up to the
 * owner.
 *
 * The owner also keeps the folio from being migrated, by a long-term pin as of
 * memfd_pin_folios(). Folios of a pool are movable, so a small one can lie in a
 * scratch area, where nothing can be preserved: the pin moves it away from there.
 *
 * Context: Process context, may sleep.
 * Return: 0, or an error as listed in "Typed kexec handover"; %-EINVAL also for a
 *	folio that is free in its pool, %-EOPNOTSUPP also for one in a scratch
 *	area or in an area of hugetlb_cma=.
 */
int kho_hugetlb_preserve(struct folio *folio)
{
	return kho_preserve_one(&folio->page, folio_order(folio),
				KHO_MEMDESC_HUGETLB);
}
EXPORT_SYMBOL_GPL(kho_hugetlb_preserve);

/**
 * kho_hugetlb_unpreserve - undo kho_hugetlb_preserve()
 * @folio: as it was preserved
 *
 * Context: Process context, may sleep, but does not allocate.
 */
void kho_hugetlb_unpreserve(struct folio *folio)
{
	kho_unpreserve_page_desc(&folio->page, folio_order(folio),
				 KHO_MEMDESC_HUGETLB);
}
EXPORT_SYMBOL_GPL(kho_hugetlb_unpreserve);

static struct folio *kho_hugetlb_no_size(phys_addr_t phys, unsigned int order)
{
	return ERR_PTR(kho_refuse(-EOPNOTSUPP, "restore", phys, order,
				  KHO_MEMDESC_HUGETLB,
				  "this kernel has no pages of this size"));
}

/* page->private is the claim. */
static struct folio *kho_hugetlb_init(struct hstate *h, struct page *page,
				      unsigned int order, bool hwpoison)
{
	struct folio *folio;

	kho_prep_claimed(page, KHO_MEMDESC_HUGETLB, order);
	kho_account_claimed(page, KHO_MEMDESC_HUGETLB, order);
	folio = page_folio(page);
	hugetlb_adopt_folio(h, folio, hwpoison);
	return folio;
}

/**
 * kho_hugetlb_restore - restore a hugetlb folio
 * @phys: physical address of the folio
 *
 * The folio is counted in the pool of its size on its node, as if it had been
 * allocated from there, and has one reference. It is in no file, has no
 * reservation, and is not charged. Free it with folio_put(), which gives it to
 * the pool. Whether the struct pages of its tail are freed is up to this kernel.
 *
 * A folio that a "kho-v4" kernel has preserved can be restored by this function
 * or by kho_folio_restore(), because that kernel did not tell what it was.
 *
 * Context: Process context, may sleep, after subsys_initcall().
 * Return: the folio, or ERR_PTR(-EINVAL) if it is no hugetlb folio that is
 *	preserved there, ERR_PTR(-ENOENT) if nothing is, ERR_PTR(-EHWPOISON) if
 *	the folio has a hardware error, ERR_PTR(-EOPNOTSUPP) if this kernel has
 *	no pages of this size, only keeps the memory, or has two zones there.
 */
struct folio *kho_hugetlb_restore_noprof(phys_addr_t phys)
{
	union kho_page_info info;
	struct page *page;
	struct hstate *h;

	page = kho_claim(phys, KHO_HUGETLB_TYPES, &info);
	if (IS_ERR(page))
		return ERR_CAST(page);

	h = size_to_hstate(PAGE_SIZE << info.order);
	if (!h) {
		kho_unclaim(page);
		return kho_hugetlb_no_size(phys, info.order);
	}

	return kho_hugetlb_init(h, page, info.order, false);
}
EXPORT_SYMBOL_GPL(kho_hugetlb_restore_noprof);

/**
 * kho_hugetlb_restore_hwpoison - restore a hugetlb folio that has hardware errors
 * @phys: physical address of the folio
 *
 * As kho_folio_restore_hwpoison(). The first page of the folio has the mark, and
 * the folio knows which of its pages have errors, as if memory_failure() had been
 * called for them in this kernel.
 *
 * Context: As kho_hugetlb_restore().
 * Return: the folio, or ERR_PTR(-ENOENT) if kho_hugetlb_restore() does not say
 *	-EHWPOISON for it, ERR_PTR(-EHWPOISON) if this kernel has no marks for
 *	the pages (CONFIG_MEMORY_FAILURE), or ERR_PTR(-EOPNOTSUPP) if it has no
 *	pages of this size.
 */
struct folio *kho_hugetlb_restore_hwpoison_noprof(phys_addr_t phys)
{
	union kho_page_info info;
	struct folio *folio;
	struct page *page;
	struct hstate *h;

	page = kho_claim_poisoned(phys, KHO_HUGETLB_TYPES, &info);
	if (IS_ERR(page))
		return ERR_CAST(page);

	h = size_to_hstate(PAGE_SIZE << info.order);
	if (!h) {
		/* Pairs with the cmpxchg() in kho_claim_poisoned(). */
		smp_store_release(&page->private, info.page_private);
		return kho_hugetlb_no_size(phys, info.order);
	}

	info.magic = KHO_PAGE_CLAIMED;
	set_page_private(page, info.page_private);
	folio = kho_hugetlb_init(h, page, info.order, true);
	folio_get(folio);
	return folio;
}
EXPORT_SYMBOL_GPL(kho_hugetlb_restore_hwpoison_noprof);
