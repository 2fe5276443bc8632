// SPDX-License-Identifier: GPL-2.0-only
/*
 * hugetlb folios that a previous kernel has handed over by kexec: how they join
 * the pools of this kernel. kernel/liveupdate/kho_hugetlb.c has the handover.
 */

#define pr_fmt(fmt) "HugeTLB: " fmt

#include <linux/align.h>
#include <linux/hugetlb.h>
#include <linux/hugetlb_cgroup.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/memcontrol.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/printk.h>
#include <linux/string_helpers.h>

#include "hugetlb_internal.h"
#include "hugetlb_kho.h"
#include "hugetlb_vmemmap.h"
#include "internal.h"

/**
 * hugetlb_adopt_folio - let a folio that a kexec has handed over join its pool
 * @h: the hstate of its size
 * @folio: a compound page with one reference, without a page type or private data
 * @hwpoison: some of its pages are marked as poisoned
 *
 * The folio is then as if it had been taken out of the pool, and is not charged
 * to any cgroup. The pool of its node has one persistent folio more, also if the
 * folio was a surplus one before. folio_put() gives it to the pool.
 *
 * Context: Process context, may sleep. After hugetlb_init().
 */
void hugetlb_adopt_folio(struct hstate *h, struct folio *folio, bool hwpoison)
{
	init_new_hugetlb_folio(folio);
	/* Needs all struct pages. */
	if (hwpoison)
		hugetlb_inherit_hwpoison(folio);
	/*
	 * Do it without, if somebody who walks physical memory has a reference
	 * just now, or if there is no memory for it.
	 */
	if (folio_ref_freeze(folio, 1)) {
		hugetlb_vmemmap_optimize_folio(h, folio);
		folio_ref_unfreeze(folio, 1);
	}

	spin_lock_irq(&hugetlb_lock);
	h->nr_huge_pages++;
	h->nr_huge_pages_node[folio_nid(folio)]++;
	h->max_huge_pages++;
	list_add(&folio->lru, &h->hugepage_activelist);
	spin_unlock_irq(&hugetlb_lock);

	lruvec_stat_mod_folio(folio, NR_HUGETLB, folio_nr_pages(folio));
}

/**
 * hugetlb_add_restored - add a restored folio to a file
 * @inode: the file, which nobody else can reach yet, and which has no folio at or
 *	behind @index
 * @folio: from kho_hugetlb_restore()
 * @index: its place in the file, in pages
 *
 * The folio is charged to the caller's cgroups, and so is a reservation, which
 * the folio has used: a mapping of the whole file needs nothing more. The caller
 * keeps its reference in any case.
 *
 * Context: Process context, may sleep.
 * Return: 0; %-EINVAL if the folio does not have the size of the file's folios,
 *	or @index is not aligned to that; %-EEXIST if there is a folio already;
 *	%-ENOMEM, also if a cgroup may not have so much.
 */
int hugetlb_add_restored(struct inode *inode, struct folio *folio, pgoff_t index)
{
	struct hstate *h = hstate_inode(inode);
	const long idx = index >> huge_page_order(h);
	const long nr_pages = pages_per_huge_page(h);
	struct hugetlb_cgroup *h_cg = NULL;
	int err;

	if (folio_hstate(folio) != h || !IS_ALIGNED(index, nr_pages))
		return -EINVAL;
	err = hugetlb_reserve_used(inode, idx);
	if (err)
		return err;

	err = hugetlb_cgroup_charge_cgroup(hstate_index(h), nr_pages, &h_cg);
	if (err)
		goto unreserve;
	spin_lock_irq(&hugetlb_lock);
	hugetlb_cgroup_commit_charge(hstate_index(h), nr_pages, h_cg, folio);
	spin_unlock_irq(&hugetlb_lock);

	/* Whoever is charged for the folio has it in NR_HUGETLB, too. */
	lruvec_stat_mod_folio(folio, NR_HUGETLB, -nr_pages);
	err = mem_cgroup_charge_hugetlb(folio, current->mm,
					htlb_alloc_mask(h) | __GFP_RETRY_MAYFAIL);
	lruvec_stat_mod_folio(folio, NR_HUGETLB, nr_pages);
	if (err)
		goto unreserve;

	__folio_mark_uptodate(folio);
	err = hugetlb_add_to_page_cache(folio, inode->i_mapping, idx);
	if (err)
		goto unreserve;

	hugetlb_set_folio_subpool(folio, subpool_inode(inode));
	folio_set_hugetlb_migratable(folio);
	folio_unlock(folio);
	return 0;

unreserve:
	/* The folio is uncharged when it is freed. */
	hugetlb_unreserve_used(inode, idx);
	return err;
}

/**
 * hugetlb_add_preserved_hstates - have pools for what is handed over
 *
 * An order without a pool can only be restored if this kernel can have the pool.
 *
 * Context: Boot, before the pools get their files.
 */
void __init hugetlb_add_preserved_hstates(void)
{
	u64 orders = kho_preserved_orders(KHO_MEMDESC_HUGETLB);

	for (; orders; orders &= orders - 1) {
		const unsigned int order = __ffs64(orders);

		if (hugetlb_max_hstate < HUGE_MAX_HSTATE &&
		    arch_hugetlb_valid_size(PAGE_SIZE << order))
			hugetlb_add_hstate(order);
	}
}

/**
 * hugetlb_deduct_preserved - do not allocate what is handed over
 * @order: of the folios
 * @nr: how many folios the command line asks for
 * @nr_node: how many of them on each node, or all 0
 *
 * A command line that asks for as many folios as the previous kernel had would
 * otherwise get twice as many, or, if there is no memory for them, a warning.
 * Both numbers are reduced by what is preserved. The pool has as many as it was
 * asked for when all preserved folios are restored.
 *
 * Context: Boot, before folios are allocated.
 */
void __init hugetlb_deduct_preserved(unsigned int order, unsigned long *nr,
				     unsigned int *nr_node)
{
	unsigned long deducted = 0;
	bool by_node = false;
	char size[16];
	int nid;

	if (!*nr)
		return;

	for_each_online_node(nid) {
		unsigned int here = nr_node[nid];

		if (!here)
			continue;
		by_node = true;
		here = min(here, kho_preserved_count(KHO_MEMDESC_HUGETLB, order,
						     nid));
		nr_node[nid] -= here;
		deducted += here;
	}
	if (!by_node)
		deducted = kho_preserved_count(KHO_MEMDESC_HUGETLB, order,
					       NUMA_NO_NODE);
	deducted = min(deducted, *nr);
	if (!deducted)
		return;

	string_get_size(PAGE_SIZE << order, 1, STRING_UNITS_2, size, sizeof(size));
	pr_info("%lu of %lu pages of size %s are handed over by the previous kernel\n",
		deducted, *nr, size);
	*nr -= deducted;
}
