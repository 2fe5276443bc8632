/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages against their type: which state the pages of a type have, and whether
 * given pages are in it.
 *
 * These are inline functions because the callers that preserve most know the
 * type, and mostly the order: for a folio of order 0 the whole check folds to a
 * few comparisons. Everybody else calls kho_check_page().
 */
#ifndef _KHO_CHECK_H
#define _KHO_CHECK_H

#include <linux/memory-failure.h>
#include <linux/mm.h>

#include "../../mm/memdesc.h"
#include "kexec_handover_internal.h"

/* The page type that memory of @type has while it is allocated, 0 if none. */
static __always_inline unsigned int kho_page_type(enum kho_memdesc type)
{
	return memdesc_table[kho_types[type].memdesc].page_type;
}

#define KHO_FROZEN_BIT(type) \
	((unsigned long)memdesc_table[kho_types[type].memdesc].frozen << (type))

/* Does memory of @type have no reference count? Folds to a test of a mask. */
static __always_inline bool kho_type_frozen(enum kho_memdesc type)
{
	const unsigned long frozen = KHO_FROZEN_BIT(KHO_MEMDESC_LARGE_KMALLOC) |
				     KHO_FROZEN_BIT(KHO_MEMDESC_SLAB) |
				     KHO_FROZEN_BIT(KHO_MEMDESC_PTDESC) |
				     KHO_FROZEN_BIT(KHO_MEMDESC_PTDESC_KERNEL) |
				     KHO_FROZEN_BIT(KHO_MEMDESC_PTE) |
				     KHO_FROZEN_BIT(KHO_MEMDESC_PMD) |
				     KHO_FROZEN_BIT(KHO_MEMDESC_IOPTDESC) |
				     KHO_FROZEN_BIT(KHO_MEMDESC_IOPTDESC_SHARED);

	return frozen & BIT(type);
}

/* A row of single pages can go on in the next section. */
static __always_inline struct page *kho_nth_page(struct page *page, unsigned long i)
{
	if (IS_ENABLED(CONFIG_SPARSEMEM) && !IS_ENABLED(CONFIG_SPARSEMEM_VMEMMAP))
		return pfn_to_page(page_to_pfn(page) + i);
	return page + i;
}

const char *kho_other_type(const struct page *page);
bool kho_any_poisoned(struct page *page, unsigned int order);

static __always_inline bool kho_page_poisoned(struct page *page, unsigned int order)
{
#ifdef CONFIG_MEMORY_FAILURE
	return unlikely(atomic_long_read(&num_poisoned_pages)) &&
	       kho_any_poisoned(page, order);
#else
	return false;
#endif
}

/* Why memory of this kind cannot be handed over, wherever it lies, or NULL. */
static __always_inline const char *
kho_page_unsupported(struct page *page, unsigned int order,
		     enum kho_memdesc type)
{
	if (is_zone_device_page(page))
		return "memory of a device";
	if (page_pool_page_is_pp(page))
		return "memory of a page pool";
	if (kho_page_poisoned(page, order))
		return "memory with a hardware error";
	if (type != KHO_MEMDESC_HUGETLB && unlikely(page_has_type(page)) &&
	    PageHuge(page))
		return "hugetlb memory";
	return NULL;
}

static __always_inline const char *
kho_compound_mismatch(struct page *page, unsigned int order,
		      enum kho_memdesc type)
{
	/* The caller has seen that this is no tail page. */
	const struct folio *folio = (struct folio *)page;

	if (type == KHO_MEMDESC_COMPOUND) {
		if (!PageHead(page) || compound_order(page) != order)
			return "it is no compound page of this order";
		if (folio_test_large_rmappable(folio))
			return "it is a folio";
		return NULL;
	}

	if (kho_types[type].memdesc == MEMDESC_PTDESC) {
		/* Without the option, these tables have no page type. */
		if (IS_ENABLED(CONFIG_MEMDESC_PTDESC) && PageReserved(page))
			return "it is a page table that the kernel has booted with";
		if (kho_ptdesc_type(page_ptdesc(page)) != type)
			return "it is a page table in another state";
	}
	if (compound_order(page) != order)
		return "it has another order";
	/*
	 * Without transparent huge pages nothing records whether a large page is
	 * a folio or a compound page. There the caller's word counts, as it does
	 * for order 0.
	 */
	if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) &&
	    type == KHO_MEMDESC_FOLIO && order &&
	    !folio_test_large_rmappable(folio))
		return "it is a compound page, but no folio";
	return NULL;
}

static __always_inline const char *
kho_block_mismatch(struct page *page, unsigned int order)
{
	if (PageHead(page))
		return "it is a compound page";
	/*
	 * If the block had been allocated with a lower order, then one of the
	 * pages 1, 2, 4, ... begins somebody else's allocation.
	 */
	for (unsigned long i = 1; i < 1UL << order;
	     i += IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG) ? 1 : i) {
		if (page_ref_count(page + i) || page_has_type(page + i))
			return "it is smaller than this";
	}
	return NULL;
}

static __always_inline const char *
kho_split_mismatch(struct page *page, unsigned int order)
{
	const unsigned long nr_pages = 1UL << order;

	/* Only rows of single pages can be longer than memory is. */
	if (order > MAX_PAGE_ORDER && !kho_range_online(page_to_pfn(page), nr_pages))
		return "not all of it is memory in use";
	for (unsigned long i = 0; i < nr_pages; i++) {
		struct page *nth = kho_nth_page(page, i);

		if (PageCompound(nth) || page_has_type(nth) ||
		    !page_ref_count(nth))
			return "not all of it is order 0 pages in use";
	}
	return NULL;
}

/* The pools of hugetlb freeze their folios. */
static __always_inline const char *
kho_hugetlb_mismatch(struct page *page, unsigned int order)
{
	if (!PageHead(page) || !PageHuge(page))
		return "it is no hugetlb folio";
	if (!page_ref_count(page))
		return "it is free in a pool of hugetlb";
	if (compound_order(page) != order)
		return "it has another order";
	return NULL;
}

/* Why memory is recognisably not a @type of @order, or NULL. */
static __always_inline const char *
kho_page_mismatch(struct page *page, unsigned int order, enum kho_memdesc type)
{
	if (type == KHO_MEMDESC_HUGETLB)
		return kho_hugetlb_mismatch(page, order);
	if (PageTail(page))
		return "it is inside of a compound page";
	if (!kho_page_type(type)) {
		/*
		 * page_memdesc_type() cannot tell these types apart where the
		 * state of the pages is the same: the caller's word counts. But
		 * it would say "pages" or "folio" for page types without a
		 * memory descriptor, too: free, offline, zsmalloc, hugetlb.
		 */
		if (page_has_type(page))
			return kho_other_type(page);
	} else if (page_memdesc_type(page) != kho_types[type].memdesc) {
		return kho_other_type(page);
	}
	if (!page_ref_count(page) && !kho_type_frozen(type))
		return "it is free, frozen or inside of a larger block";

	switch (kho_types[type].shape) {
	case KHO_SHAPE_COMPOUND:
		return kho_compound_mismatch(page, order, type);
	case KHO_SHAPE_BLOCK:
		return kho_block_mismatch(page, order);
	case KHO_SHAPE_SPLIT:
		return kho_split_mismatch(page, order);
	default:
		return "this type cannot be handed over";
	}
}

/* Can the format that this kernel writes express a @type of @order? */
static __always_inline bool kho_type_supported(enum kho_memdesc type, unsigned int order)
{
	if (type >= KHO_NR_MEMDESC || kho_types[type].shape == KHO_SHAPE_NONE)
		return false;
	return !kho_write_v4 || order < kho_types[type].nr_v4_orders;
}

/* Does @type disagree with @page about whether small tables share the page? */
static __always_inline bool kho_ioptdesc_mismatch(struct page *page,
						  enum kho_memdesc type)
{
	switch (type) {
	case KHO_MEMDESC_IOPTDESC:
		return page_ioptdesc(page)->part_shift;
	case KHO_MEMDESC_IOPTDESC_SHARED:
		return !page_ioptdesc(page)->part_shift;
	default:
		return false;
	}
}

/* As kho_check_page(), for callers that know the type. */
static __always_inline int __kho_check_page(struct page *page,
					    unsigned int order,
					    enum kho_memdesc type)
{
	const unsigned long pfn = page_to_pfn(page);
	const char *why, *where;
	int err;

	if (unlikely(!kho_out.radix_tree.root))
		return -EOPNOTSUPP;

	err = -EOPNOTSUPP;
	if (!kho_type_supported(type, order)) {
		why = "this type cannot be handed over";
		goto refuse;
	}

	err = -EINVAL;
	if (order > kho_types[type].max_order) {
		why = "order out of range";
		goto refuse;
	}
	if (!IS_ALIGNED(pfn, 1UL << order)) {
		why = "not aligned to its order";
		goto refuse;
	}

	err = -EOPNOTSUPP;
	why = kho_page_unsupported(page, order, type);
	if (why)
		goto refuse;

	err = -EINVAL;
	why = kho_page_mismatch(page, order, type);
	if (likely(!why)) {
		if (likely(!kho_ioptdesc_mismatch(page, type)))
			return 0;
		why = type == KHO_MEMDESC_IOPTDESC ?
		      "small tables share the page" :
		      "no small tables share the page";
		goto refuse;
	}

	/*
	 * Only to give a better reason: the map refuses such places anyway, and
	 * asking here costs nothing unless the memory is refused.
	 */
	where = kho_place_unsupported(pfn, order);
	if (where) {
		err = -EOPNOTSUPP;
		why = where;
	}
refuse:
	return kho_refuse(err, "preserve", PFN_PHYS(pfn), order, type, why);
}

#endif /* _KHO_CHECK_H */
