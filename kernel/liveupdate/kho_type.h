/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a type of preserved memory is. kho_types[] has a row for each type on the
 * wire. A new type needs a row here and, if its memory has no reference count, a
 * word in kho_type_frozen(). What the pages of a type look like is in the row of
 * its memdesc type, in mm/memdesc.h. kho_check.h joins the two.
 */
#ifndef _KHO_TYPE_H
#define _KHO_TYPE_H

#include <linux/bits.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/types.h>

/**
 * enum kho_shape - how the pages of a preservation belong together
 * @KHO_SHAPE_NONE: nothing can be preserved as this type
 * @KHO_SHAPE_SPLIT: single pages of order 0, each with a reference of its own
 * @KHO_SHAPE_BLOCK: only the first page has a reference, and no page is compound
 * @KHO_SHAPE_COMPOUND: a compound page; with order 0 a page
 */
enum kho_shape {
	KHO_SHAPE_NONE,
	KHO_SHAPE_SPLIT,
	KHO_SHAPE_BLOCK,
	KHO_SHAPE_COMPOUND,
};

/* A row of single pages is as long as a key of the map can express. */
#define KHO_MAX_SPLIT_ORDER	(BITS_PER_LONG - 1 - PAGE_SHIFT)
#define KHO_ALL_ORDERS		BITS_PER_LONG

/**
 * struct kho_type - what there is to know about a type on the wire
 * @name: for messages
 * @memdesc: whose page type, reference count and mappability the pages have
 * @shape: how the pages belong together
 * @max_order: the largest order that a preservation can have
 * @nr_v4_orders: "kho-v4" can express orders below this one
 */
struct kho_type {
	const char *name;
	u8 memdesc;
	u8 shape;
	u8 max_order;
	u8 nr_v4_orders;
};

/*
 * In the header, because only a visible initialiser folds. "kho-v4" restores
 * an order > 0 as a folio or as split pages.
 */
static const struct kho_type kho_types[KHO_NR_MEMDESC] = {
	[KHO_MEMDESC_UNTYPED] = {
		"untyped", MEMDESC_PAGES, KHO_SHAPE_NONE,
		KHO_MAX_SPLIT_ORDER, 0,
	},
	[KHO_MEMDESC_FOLIO] = {
		"folio", MEMDESC_FOLIO, KHO_SHAPE_COMPOUND,
		MAX_FOLIO_ORDER, KHO_ALL_ORDERS,
	},
	[KHO_MEMDESC_BLOCK] = {
		"page block", MEMDESC_PAGES, KHO_SHAPE_BLOCK,
		MAX_PAGE_ORDER, 1,
	},
	[KHO_MEMDESC_SPLIT] = {
		"split pages", MEMDESC_PAGES, KHO_SHAPE_SPLIT,
		KHO_MAX_SPLIT_ORDER, KHO_ALL_ORDERS,
	},
	[KHO_MEMDESC_COMPOUND] = {
		"compound pages", MEMDESC_PAGES, KHO_SHAPE_COMPOUND,
		MAX_FOLIO_ORDER, 1,
	},
	[KHO_MEMDESC_LARGE_KMALLOC] = {
		"large kmalloc", MEMDESC_LARGE_KMALLOC, KHO_SHAPE_COMPOUND,
		MAX_PAGE_ORDER, 0,
	},
	[KHO_MEMDESC_SLAB] = {
		"slab", MEMDESC_SLAB, KHO_SHAPE_COMPOUND,
		MAX_PAGE_ORDER, 0,
	},
	[KHO_MEMDESC_PTDESC] = {
		"ptdesc", MEMDESC_PTDESC, KHO_SHAPE_COMPOUND,
		MAX_PAGE_ORDER, 0,
	},
	[KHO_MEMDESC_PTDESC_KERNEL] = {
		"kernel page table", MEMDESC_PTDESC, KHO_SHAPE_COMPOUND,
		MAX_PAGE_ORDER, 0,
	},
	[KHO_MEMDESC_PTE] = {
		"pte table", MEMDESC_PTDESC, KHO_SHAPE_COMPOUND,
		MAX_PAGE_ORDER, 0,
	},
	[KHO_MEMDESC_PMD] = {
		"pmd table", MEMDESC_PTDESC, KHO_SHAPE_COMPOUND,
		MAX_PAGE_ORDER, 0,
	},
	[KHO_MEMDESC_IOPTDESC] = {
		"ioptdesc", MEMDESC_IOPTDESC, KHO_SHAPE_COMPOUND,
		MAX_PAGE_ORDER, 0,
	},
	[KHO_MEMDESC_METADATA] = {
		"metadata", MEMDESC_PAGES, KHO_SHAPE_BLOCK,
		MAX_PAGE_ORDER, KHO_ALL_ORDERS,
	},
	/* Compound pages, until hugetlb_adopt_folio() makes more of them. */
	[KHO_MEMDESC_HUGETLB] = {
		"hugetlb folio", MEMDESC_PAGES, KHO_SHAPE_COMPOUND,
		MAX_FOLIO_ORDER, 0,
	},
	[KHO_MEMDESC_IOPTDESC_SHARED] = {
		"shared ioptdesc", MEMDESC_IOPTDESC, KHO_SHAPE_COMPOUND,
		0, 0,
	},
};

/* Which recorded types a restore function accepts. */
#define KHO_FOLIO_TYPES	(BIT(KHO_MEMDESC_FOLIO) | BIT(KHO_MEMDESC_UNTYPED))
#define KHO_BLOCK_TYPES	(BIT(KHO_MEMDESC_BLOCK) | BIT(KHO_MEMDESC_COMPOUND) | \
			 BIT(KHO_MEMDESC_UNTYPED))
#define KHO_SPLIT_TYPES	(BIT(KHO_MEMDESC_SPLIT) | BIT(KHO_MEMDESC_UNTYPED))
#define KHO_PTDESC_TYPES (BIT(KHO_MEMDESC_PTDESC) | \
			  BIT(KHO_MEMDESC_PTDESC_KERNEL) | \
			  BIT(KHO_MEMDESC_PTE) | BIT(KHO_MEMDESC_PMD))
#define KHO_HUGETLB_TYPES (BIT(KHO_MEMDESC_HUGETLB) | BIT(KHO_MEMDESC_UNTYPED))
#define KHO_METADATA_TYPES (BIT(KHO_MEMDESC_METADATA) | BIT(KHO_MEMDESC_UNTYPED))

/* The largest order that a preservation of @type can have. */
static inline unsigned int kho_max_order(unsigned int type)
{
	return type < KHO_NR_MEMDESC ? kho_types[type].max_order : MAX_PAGE_ORDER;
}

/* What a page table is on the wire; KHO_MEMDESC_UNTYPED if it has no type. */
static inline enum kho_memdesc kho_ptdesc_type(const struct ptdesc *pt)
{
	const bool kernel = ptdesc_test_kernel(pt);

	switch (ptdesc_state(pt)) {
	/* No type on the wire would bring the kernel's mark back. */
	case PTDESC_PLAIN:
		return kernel ? KHO_MEMDESC_UNTYPED : KHO_MEMDESC_PTDESC;
	case PTDESC_PTE:
		return kernel ? KHO_MEMDESC_UNTYPED : KHO_MEMDESC_PTE;
	case PTDESC_PMD:
		return kernel ? KHO_MEMDESC_UNTYPED : KHO_MEMDESC_PMD;
	case PTDESC_KERNEL:
		return KHO_MEMDESC_PTDESC_KERNEL;
	/* The constructors of these differ only in the level that they record. */
	case PTDESC_PUD:
	case PTDESC_P4D:
	case PTDESC_PGD:
		if (kernel)
			return KHO_MEMDESC_PTDESC_KERNEL;
		break;
	}
	return KHO_MEMDESC_UNTYPED;
}

const char *kho_memdesc_name(unsigned int type);
int __cold kho_refuse(int err, const char *verb, phys_addr_t phys,
		      unsigned int order, unsigned int type, const char *why);
int kho_check_page(struct page *page, unsigned int order,
		   enum kho_memdesc type);

#endif /* _KHO_TYPE_H */
