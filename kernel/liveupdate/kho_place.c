// SPDX-License-Identifier: GPL-2.0-only
/*
 * Places: from where in memory something can be handed over, and how to allocate
 * there. The next kernel does not find memory that was added after this boot, and
 * uses scratch and CMA areas itself.
 */

#include <linux/gfp.h>
#include <linux/kexec_handover.h>
#include <linux/memblock.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/nodemask.h>

#include "../../mm/internal.h"
#include "kexec_handover_internal.h"

/**
 * kho_range_online - does a range of pages exist
 * @pfn: page frame number of the first page
 * @nr_pages: how many pages; not 0
 *
 * The struct pages of memory that does not exist, or is offline, must not be
 * read.
 *
 * Context: Any.
 * Return: whether every pageblock in the range, and its last page, is online.
 */
bool kho_range_online(unsigned long pfn, unsigned long nr_pages)
{
	const unsigned long end = pfn + nr_pages;

	if (end < pfn || !pfn_to_online_page(end - 1))
		return false;
	for (; pfn < end; pfn = ALIGN(pfn + 1, pageblock_nr_pages)) {
		if (!pfn_to_online_page(pfn))
			return false;
	}
	return true;
}

/**
 * kho_place_unsupported - why can nothing be handed over from here
 * @pfn: page frame number of the first page
 * @order: log2 of the number of pages
 *
 * The next kernel would not find such memory, or not find it free to be
 * restored.
 *
 * Context: Any.
 * Return: the reason, or %NULL if the place is good.
 */
const char *kho_place_unsupported(unsigned long pfn, unsigned int order)
{
	const unsigned long end = pfn + (1UL << order);

	if (kho_scratch_overlap(PFN_PHYS(pfn), PAGE_SIZE << order))
		return "memory in a scratch area";

	for (; pfn < end; pfn = ALIGN(pfn + 1, pageblock_nr_pages)) {
		struct page *page;

		if (kho_pfn_hotadded(pfn))
			return "memory that was added after boot";
		/*
		 * Callers ask about ranges that reach beyond memory that is
		 * online. Struct pages of offline memory are filled with a
		 * pattern: the zone that they name does not exist.
		 */
		page = pfn_to_online_page(pfn);
		if (!page)
			return "memory that is offline";
		/* A block may begin in a hole; a CMA area does not. */
		if (zone_spans_pfn(page_zone(page), pfn) &&
		    pfnblock_is_cma(page, pfn))
			return "memory in a CMA area";
	}
	return NULL;
}

/*
 * Take a page in a good place, and make its user move away if it has one. The
 * page allocator would not choose this page. Slow, but does not fail by chance.
 */
static struct folio *kho_evict_early_page(void)
{
	for (unsigned long pfn = 0; pfn < max_pfn; pfn += pageblock_nr_pages) {
		struct page *page = pfn_to_online_page(pfn);

		/* The kernel uses all other pages: nothing can free them. */
		if (!page || !(PageBuddy(page) || PageLRU(page)) ||
		    page_zonenum(page) == ZONE_MOVABLE ||
		    kho_place_unsupported(pfn, pageblock_order))
			continue;
		if (!alloc_contig_range(pfn, pfn + 1, ACR_FLAGS_NONE,
					GFP_KERNEL | __GFP_NOWARN))
			return page_folio(page);
	}
	return NULL;
}

static noinline struct folio *kho_alloc_early_folio(unsigned int order)
{
	/* Memory is added at high addresses, so lower zones have none of it. */
	static const gfp_t zones[] = {
		0, __GFP_DMA32, IS_ENABLED(CONFIG_ZONE_DMA) ? __GFP_DMA : 0,
	};
	struct folio *folio;
	int nid;

	for (int i = 0; i < ARRAY_SIZE(zones); i++) {
		for_each_node_state(nid, N_MEMORY) {
			folio = __folio_alloc_node(GFP_KERNEL | __GFP_THISNODE |
						   __GFP_NORETRY | __GFP_NOWARN |
						   zones[i], order, nid);
			if (!folio)
				continue;
			if (!kho_pfn_hotadded(folio_pfn(folio)))
				return folio;
			folio_put(folio);
		}
	}
	return order ? NULL : kho_evict_early_page();
}

/**
 * kho_alloc_folio - allocate memory that the next kernel finds
 * @order: the order
 *
 * This is for memory that KHO hands over for itself, such as the nodes of the
 * map. Any place that the next kernel finds is good enough. So this function does
 * not give up if the page allocator chooses memory that was added after this boot.
 *
 * Context: Process context, may sleep.
 * Return: a folio, cleared, or %NULL.
 */
struct folio *kho_alloc_folio(unsigned int order)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order);

	if (folio && unlikely(kho_pfn_hotadded(folio_pfn(folio)))) {
		folio_put(folio);
		folio = kho_alloc_early_folio(order);
	}
	if (folio)
		folio_zero_range(folio, 0, folio_size(folio));
	return folio;
}
