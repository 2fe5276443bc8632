// SPDX-License-Identifier: GPL-2.0-only
/*
 * Giving memory to the page allocator that the previous kernel has handed over and
 * that nobody restores.
 *
 * Memory is released in the way in which it is restored: whoever takes the stamp in
 * the first struct page has the memory. So a release never takes memory from
 * somebody who has restored it, and what is restored after a release is not found.
 * Slab objects have no stamp: kho_slab_release() takes them out of the record of their
 * slab.
 */

#include <linux/hugetlb.h>
#include <linux/ioptdesc.h>
#include <linux/kho_memdesc.h>
#include <linux/minmax.h>

#include "kho_claim.h"
#include "kho_unclaimed.h"

/*
 * A driver that is loaded later finds its subtree, and reads the subtree where it
 * lies, before it restores anything. debugfs shows the subtrees, too. So they stay,
 * also those whose driver never comes.
 */
/**
 * kho_unclaimed_check_stamp - kho_check_stamp() for memory that may be gone
 * @phys: physical address of the memory
 * @order: its order
 * @type: its type
 *
 * Memory with a stamp does not go offline.
 *
 * Context: Process context, may sleep.
 * Return: As kho_check_stamp().
 */
int kho_unclaimed_check_stamp(phys_addr_t phys, unsigned int order,
			      enum kho_memdesc type)
{
	int err;

	/* What was restored may be free, offline and gone by now. */
	get_online_mems();
	err = kho_check_stamp(phys, order, type);
	put_online_mems();
	return err;
}

static bool kho_release_has_blob(const struct kho_unclaimed *u, phys_addr_t start,
				 phys_addr_t last)
{
	for (unsigned int i = 0; i < u->nr_blobs; i++) {
		if (u->blobs[i].start <= last && u->blobs[i].last >= start)
			return true;
	}
	return false;
}

/* Single pages, of which there can be as many as there is memory. */
static void kho_release_split(struct page *page, unsigned long nr_pages)
{
	unsigned long done, nr;

	kho_trace_restore(page, ilog2(nr_pages), KHO_MEMDESC_SPLIT, _RET_IP_);
	kho_end_claim(page);
	for (done = 0; done < nr_pages; done += nr) {
		nr = min(nr_pages - done, MAX_ORDER_NR_PAGES);
		page = kho_nth_page(page, done ? MAX_ORDER_NR_PAGES : 0);
		kho_account_split(page, nr);
		for (unsigned long i = 0; i < nr; i++)
			__free_page(kho_nth_page(page, i));
		cond_resched();
	}
}

/*
 * The memory becomes pages, whatever it was: nobody wants its contents or its
 * descriptor. If it was prepared at boot as a compound page, it is one, and knows
 * its order. A folio of hugetlb goes to its pool: if hugepages= was given, the pool
 * has been counting on it.
 */
static int kho_release_piece(phys_addr_t phys, unsigned int order,
			     enum kho_memdesc type)
{
	unsigned long types = BIT(type);
	enum kho_memdesc as = type;
	union kho_page_info info;
	struct folio *folio;
	struct page *page;

	if (type == KHO_MEMDESC_HUGETLB && size_to_hstate(PAGE_SIZE << order)) {
		folio = kho_hugetlb_restore(phys);
		if (IS_ERR(folio))
			return PTR_ERR(folio);
		folio_put(folio);
		return 0;
	}

	switch (kho_types[type].shape) {
	case KHO_SHAPE_NONE:
		/* Of a kernel that wrote no types: pages are always right. */
		as = KHO_MEMDESC_SPLIT;
		types |= BIT(as);
		break;
	case KHO_SHAPE_COMPOUND:
		if (type != KHO_MEMDESC_FOLIO)
			as = KHO_MEMDESC_COMPOUND;
		break;
	}

	page = kho_claim(phys, types, &info);
	if (IS_ERR(page))
		return PTR_ERR(page);
	/*
	 * memory_failure() marks the page before it looks for the stamp, and has
	 * not found it if the claim came first. A restorer keeps such memory.
	 */
	if (kho_any_poisoned(page, order)) {
		kho_unclaim(page);
		return -EHWPOISON;
	}

	if (as == KHO_MEMDESC_SPLIT) {
		kho_release_split(page, 1UL << order);
		return 0;
	}
	kho_prep_claimed(page, as, order);
	kho_account_claimed(page, as, order);
	if (kho_types[as].shape == KHO_SHAPE_BLOCK)
		__free_pages(page, order);
	else
		folio_put(page_folio(page));
	return 0;
}

/**
 * kho_release - give one unclaimed piece to the page allocator
 * @u: the request
 * @phys: physical address of the memory
 * @order: its order
 * @type: its type
 *
 * Context: Process context, may sleep.
 * Return: 0; 1 if only slab objects, or tables of a page in use, were freed;
 *	%-ENOENT if nothing is unclaimed there, or if a subtree lies there;
 *	%-EHWPOISON; or another error of kho_claim().
 */
int kho_release(struct kho_unclaimed *u, phys_addr_t phys, unsigned int order,
		enum kho_memdesc type)
{
	unsigned int nr;
	int err;

	if (type == KHO_MEMDESC_SLAB) {
		err = kho_slab_release(phys, &u->objects);
		/* No record: nobody could restore an object. */
		if (err != -ENOENT)
			return err;
	}

	if (type == KHO_MEMDESC_IOPTDESC_SHARED) {
		nr = iommu_release_parts(phys);
		u->objects += nr;
		if (nr)
			return 1;
	}

	err = kho_unclaimed_check_stamp(phys, order, type);
	if (!err && kho_release_has_blob(u, phys,
					 phys + ((phys_addr_t)PAGE_SIZE << order) - 1)) {
		u->subtrees++;
		return -ENOENT;
	}
	return err ?: kho_release_piece(phys, order, type);
}
