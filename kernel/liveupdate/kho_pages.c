// SPDX-License-Identifier: GPL-2.0-only
/*
 * Typed kexec handover of pages: the triples of alloc_pages() and
 * alloc_pages_exact(). Folios are in kho_folio.c.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/bitops.h>
#include <linux/cleanup.h>
#include <linux/count_zeros.h>
#include <linux/export.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/mm.h>

#include "kho_preserve.h"

static enum kho_memdesc kho_pages_type(struct page *page)
{
	return PageCompound(page) ? KHO_MEMDESC_COMPOUND : KHO_MEMDESC_BLOCK;
}

/**
 * kho_pages_preserve - preserve a block of pages
 * @page: from alloc_pages(), with or without __GFP_COMP; or an order 0 folio
 * @order: the order that it was allocated with
 *
 * A block that is not compound does not know its own order. If @order is wrong,
 * and the pages do not show it, the block is restored with the wrong order.
 *
 * Context: Process context, may sleep.
 * Return: 0, or an error as listed in "Typed kexec handover".
 */
int kho_pages_preserve(struct page *page, unsigned int order)
{
	/* A single page is no compound page: with that known this is short. */
	if (!order && !PageCompound(page))
		return kho_preserve_one(page, 0, KHO_MEMDESC_BLOCK);
	return kho_preserve_page_desc(page, order, kho_pages_type(page));
}
EXPORT_SYMBOL_GPL(kho_pages_preserve);

/**
 * kho_pages_unpreserve - undo kho_pages_preserve()
 * @page: as it was preserved
 * @order: as it was preserved
 *
 * Context: Process context, may sleep, but does not allocate.
 */
void kho_pages_unpreserve(struct page *page, unsigned int order)
{
	kho_unpreserve_page_desc(page, order, kho_pages_type(page));
}
EXPORT_SYMBOL_GPL(kho_pages_unpreserve);

/**
 * kho_pages_restore - restore a block of pages
 * @phys: physical address of the block
 * @order: the order that it was preserved with
 *
 * The block is as alloc_pages() returned it, compound if it was. Free it with
 * __free_pages(page, order).
 *
 * Context: Process context, may sleep, any time after the page allocator is up.
 * Return: the first page, or ERR_PTR(-EINVAL) if what is preserved there has
 *	another order or is no block of pages, ERR_PTR(-ENOENT) if nothing is,
 *	ERR_PTR(-EHWPOISON) if a page has a hardware error, ERR_PTR(-EOPNOTSUPP)
 *	if this kernel only keeps the memory, or early in the boot
 *	ERR_PTR(-ENOMEM).
 */
struct page *kho_pages_restore_noprof(phys_addr_t phys, unsigned int order)
{
	union kho_page_info info;
	struct page *page;

	page = kho_claim(phys, KHO_BLOCK_TYPES, &info);
	if (IS_ERR(page))
		return page;

	if (info.order != order) {
		kho_unclaim(page);
		return ERR_PTR(kho_refuse(-EINVAL, "restore", phys, order,
					  info.type, "it has another order"));
	}

	kho_init_claimed(page, KHO_MEMDESC_BLOCK);
	return page;
}
EXPORT_SYMBOL_GPL(kho_pages_restore_noprof);

/*
 * The largest order at @pfn which stays below @end. A preservation does not cross
 * a node border: on two nodes, another kernel could not tell where to account it.
 */
unsigned int kho_split_order(unsigned long pfn, unsigned long end)
{
	unsigned int order = min(count_trailing_zeros(pfn), ilog2(end - pfn));

	while (pfn_to_nid(pfn) != pfn_to_nid(pfn + (1UL << order) - 1))
		order--;

	return order;
}

static void __kho_split_unpreserve(unsigned long pfn, unsigned long end)
{
	while (pfn < end) {
		unsigned int order = kho_split_order(pfn, end);

		if (kho_map_del(pfn, order, KHO_MEMDESC_SPLIT))
			kho_trace_unpreserve(pfn, order, KHO_MEMDESC_SPLIT,
					     _RET_IP_);
		pfn += 1UL << order;
	}
}

/**
 * kho_split_preserve - preserve a range of order 0 pages
 * @page: the first page
 * @nr_pages: how many pages
 *
 * All or nothing.
 *
 * Context: Process context, may sleep.
 * Return: 0 or an error as kho_preserve_page_desc().
 */
int kho_split_preserve(struct page *page, unsigned long nr_pages)
{
	const unsigned long start = page_to_pfn(page);
	const unsigned long end = start + nr_pages;
	unsigned int order;
	unsigned long pfn;
	int err = 0;

	if (!nr_pages || !kho_range_online(start, nr_pages))
		return kho_refuse(-EINVAL, "preserve", PFN_PHYS(start), 0,
				  KHO_MEMDESC_SPLIT, "size out of range");

	for (pfn = start; pfn < end; pfn += 1UL << order) {
		order = kho_split_order(pfn, end);
		err = kho_check_page(pfn_to_page(pfn), order, KHO_MEMDESC_SPLIT);
		if (err)
			return err;
	}

	kho_map_lock();
	for (pfn = start; pfn < end; pfn += 1UL << order) {
		order = kho_split_order(pfn, end);
		err = kho_map_add(pfn, order, KHO_MEMDESC_SPLIT);
		if (err) {
			__kho_split_unpreserve(start, pfn);
			break;
		}
		kho_trace_preserve(pfn, order, KHO_MEMDESC_SPLIT,
				   KHO_OUTER_RET_IP);
	}
	kho_map_unlock();
	return err;
}

/**
 * kho_split_unpreserve - undo kho_split_preserve()
 * @page: as it was preserved
 * @nr_pages: as it was preserved
 *
 * Context: Process context, may sleep, but does not allocate.
 */
void kho_split_unpreserve(struct page *page, unsigned long nr_pages)
{
	const unsigned long pfn = page_to_pfn(page);

	if (unlikely(!kho_out.radix_tree.root))
		return;

	kho_map_lock();
	__kho_split_unpreserve(pfn, pfn + nr_pages);
	kho_map_unlock();
}

/**
 * kho_split_unclaim - give back what kho_split_claim() has claimed
 * @pfn: page frame number of the first page
 * @end: page frame number behind the last page
 */
void kho_split_unclaim(unsigned long pfn, unsigned long end)
{
	while (pfn < end) {
		struct page *page = pfn_to_page(pfn);
		union kho_page_info info = { .page_private = page->private };

		pfn += 1UL << info.order;
		kho_unclaim(page);
	}
}

/**
 * kho_split_claim - claim a range of order 0 pages, without restoring them yet
 * @phys: physical address of the first page
 * @nr_pages: how many pages
 *
 * The range must be covered exactly by whole preservations of split pages. All
 * or nothing. kho_split_init() or kho_split_unclaim() must follow.
 *
 * Context: Process context.
 * Return: 0, or an error as of kho_claim().
 */
int kho_split_claim(phys_addr_t phys, unsigned long nr_pages)
{
	const unsigned long start = PHYS_PFN(phys);
	const unsigned long end = start + nr_pages;
	unsigned long pfn = start;
	union kho_page_info info;
	struct page *page;
	int err;

	if (!nr_pages || end < start)
		return kho_refuse(-EINVAL, "restore", phys, 0,
				  KHO_MEMDESC_SPLIT, "size out of range");

	while (pfn < end) {
		page = kho_claim(phys + PFN_PHYS(pfn - start), KHO_SPLIT_TYPES,
				 &info);
		if (IS_ERR(page)) {
			err = PTR_ERR(page);
			goto unclaim;
		}
		pfn += 1UL << info.order;
	}
	if (pfn == end)
		return 0;

	err = kho_refuse(-EINVAL, "restore", phys, info.order,
			 KHO_MEMDESC_SPLIT, "the size is another");
unclaim:
	kho_split_unclaim(start, pfn);
	return err;
}

/**
 * kho_split_init - restore what kho_split_claim() has claimed
 * @pfn: page frame number of the first page
 * @end: page frame number behind the last page
 */
void kho_split_init(unsigned long pfn, unsigned long end)
{
	while (pfn < end) {
		struct page *page = pfn_to_page(pfn);
		union kho_page_info info = { .page_private = page->private };

		pfn += 1UL << info.order;
		kho_init_claimed(page, KHO_MEMDESC_SPLIT);
	}
}

/**
 * kho_split_restore - restore a range of order 0 pages
 * @phys: physical address of the first page
 * @nr_pages: how many pages, exactly as they were preserved
 *
 * Context: Process context, any time after the page allocator is up.
 * Return: the first page, or ERR_PTR() of an error as of kho_claim().
 */
struct page *kho_split_restore(phys_addr_t phys, unsigned long nr_pages)
{
	const unsigned long pfn = PHYS_PFN(phys);
	int err;

	err = kho_split_claim(phys, nr_pages);
	if (err)
		return ERR_PTR(err);

	kho_split_init(pfn, pfn + nr_pages);
	return pfn_to_page(pfn);
}

/**
 * kho_pages_exact_preserve - preserve memory from alloc_pages_exact()
 * @virt: address in the direct map, as alloc_pages_exact() returned it
 * @size: bytes, as it was passed to alloc_pages_exact()
 *
 * The memory may lie on two nodes.
 *
 * Context: Process context, may sleep.
 * Return: 0, or an error as listed in "Typed kexec handover".
 */
int kho_pages_exact_preserve(const void *virt, size_t size)
{
	if (!PAGE_ALIGNED(virt) || !virt_addr_valid(virt))
		return -EINVAL;
	/* Not PFN_UP(), which is 0 for sizes near the largest. */
	return kho_split_preserve(virt_to_page(virt),
				  DIV_ROUND_UP_POW2(size, PAGE_SIZE));
}
EXPORT_SYMBOL_GPL(kho_pages_exact_preserve);

/**
 * kho_pages_exact_unpreserve - undo kho_pages_exact_preserve()
 * @virt: as it was preserved
 * @size: as it was preserved
 *
 * Context: Process context, may sleep, but does not allocate.
 */
void kho_pages_exact_unpreserve(const void *virt, size_t size)
{
	kho_split_unpreserve(virt_to_page(virt), PFN_UP(size));
}
EXPORT_SYMBOL_GPL(kho_pages_exact_unpreserve);

/**
 * kho_pages_exact_restore - restore memory from alloc_pages_exact()
 * @phys: physical address of the memory
 * @size: bytes, as it was preserved
 *
 * Free it with free_pages_exact().
 *
 * Context: Process context, may sleep, any time after the page allocator is up.
 * Return: the address of the memory in the direct map, or ERR_PTR(-EINVAL) if
 *	what is preserved there has another size or type, ERR_PTR(-ENOENT) if
 *	nothing is, ERR_PTR(-EHWPOISON) if a page has a hardware error,
 *	ERR_PTR(-EOPNOTSUPP) if this kernel only keeps the memory, or early in
 *	the boot ERR_PTR(-ENOMEM).
 */
void *kho_pages_exact_restore_noprof(phys_addr_t phys, size_t size)
{
	struct page *page = kho_split_restore(phys, PFN_UP(size));

	return IS_ERR(page) ? ERR_CAST(page) : page_address(page);
}
EXPORT_SYMBOL_GPL(kho_pages_exact_restore_noprof);
