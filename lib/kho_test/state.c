// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the typed kexec handover: the state of the pages of a restored object.
 *
 * The state is compared with that of pages which the same allocator has just
 * returned. So the test follows the memory manager, instead of repeating what the
 * allocators do. Only what every kernel must have is spelled out here as well.
 */

#include <linux/hugetlb.h>
#include <linux/module.h>
#include <linux/page-flags.h>
#include <linux/ioptdesc.h>

#include "kmt.h"

/* What is compared in every page. */
enum kmt_field {
	KMT_F_FLAGS,
	KMT_F_REFCOUNT,
	KMT_F_TYPE,
	KMT_F_MAPPING,
	KMT_F_PRIVATE,
	KMT_F_MEMCG,
	KMT_F_ORDER,
	KMT_F_HEAD,
	KMT_NR_FIELDS,
};

static const char * const kmt_field_names[KMT_NR_FIELDS] = {
	[KMT_F_FLAGS]		= "page flags",
	[KMT_F_REFCOUNT]	= "refcount",
	[KMT_F_TYPE]		= "page type or mapcount",
	[KMT_F_MAPPING]		= "mapping",
	[KMT_F_PRIVATE]		= "private",
	[KMT_F_MEMCG]		= "memcg data",
	[KMT_F_ORDER]		= "compound order",
	[KMT_F_HEAD]		= "distance to head page",
};

static void kmt_read_page(struct page *page, long *v)
{
	struct page *head = compound_head(page);

	v[KMT_F_FLAGS] = page->flags.f & PAGEFLAGS_MASK;
	v[KMT_F_REFCOUNT] = page_ref_count(page);
	v[KMT_F_TYPE] = page->page_type;
	v[KMT_F_MAPPING] = (long)page->mapping;
	/* The deferred split list of a large folio points at itself. */
	if (PageTail(page) && abs(v[KMT_F_MAPPING] - (long)page) < sizeof(*page))
		v[KMT_F_MAPPING] -= (long)page;
	v[KMT_F_PRIVATE] = page->private;
#ifdef CONFIG_HUGETLB_PAGE
	/* Where the folio goes when it is freed, and what this kernel saves. */
	if (PageHuge(page) && page == head)
		v[KMT_F_PRIVATE] &= ~(BIT(HPG_temporary) |
				      BIT(HPG_vmemmap_optimized));
#endif
	/* The address of its descriptor, which must not be that of another page. */
	if (PageIOPT(page) && page_ioptdesc(page)->page == page)
		v[KMT_F_PRIVATE] = 0;
#ifdef CONFIG_MEMDESC_PTDESC
	if (PageTable(page) && page_ptdesc(page)->page == page)
		v[KMT_F_PRIVATE] = 0;
#endif
#ifdef CONFIG_MEMCG
	v[KMT_F_MEMCG] = page->memcg_data;
#else
	v[KMT_F_MEMCG] = 0;
#endif
	v[KMT_F_ORDER] = PageHead(page) ? compound_order(page) : 0;
	v[KMT_F_HEAD] = page - head;
}

/* Is the page like @fresh, which the allocator has just handed out? */
static bool kmt_check_page(const struct kmt_object *obj, unsigned long i,
			   struct page *page, struct page *fresh)
{
	long expected[KMT_NR_FIELDS], found[KMT_NR_FIELDS];
	bool ok = true;
	char where[32];

	snprintf(where, sizeof(where), "page %lu", i);
	kmt_read_page(page, found);
	kmt_read_page(fresh, expected);

	if (kmt_ptdesc_state(obj) && !i) {
		/* A page table has its lock there, or the address of its lock. */
		if (ALLOC_SPLIT_PTLOCKS && expected[KMT_F_PRIVATE]) {
			ok &= kmt_expect(obj, where, "address of a lock", true,
					 virt_addr_valid((void *)page->private));
			expected[KMT_F_PRIVATE] = found[KMT_F_PRIVATE];
		}
	} else if (!PageTail(page)) {
		/* The allocator leaves this word as it was in pages without a head. */
		expected[KMT_F_PRIVATE] = 0;
	}
	if (obj->type->ops->shape == KMT_AREA) {
		ok &= kmt_expect(obj, where, "memdesc type", MEMDESC_VMALLOC,
				 page_memdesc_type(page));
		/* That is what the type was read from. */
		found[KMT_F_PRIVATE] = 0;
	}

	for (unsigned int f = 0; f < KMT_NR_FIELDS; f++)
		ok &= kmt_expect(obj, where, kmt_field_names[f], expected[f],
				 found[f]);

	ok &= kmt_expect(obj, where, "pfn in its zone", true,
			 zone_spans_pfn(page_zone(page), page_to_pfn(page)));
	ok &= kmt_expect(obj, where, "reserved", false, PageReserved(page));
	return ok;
}

/* What must hold whatever a fresh allocation of this kernel looks like. */
static void kmt_check_shape(const struct kmt_object *obj)
{
	enum kmt_shape shape = obj->type->ops->shape;
	bool frozen = shape == KMT_FROZEN ||
		      (shape == KMT_TABLE &&
		       IS_ENABLED(CONFIG_MEMDESC_PTDESC));
	bool split = shape == KMT_SPLIT || shape == KMT_AREA;
	bool compound = !split && shape != KMT_BLOCK;
	unsigned long nr_pages = kmt_nr_pages(obj);
	struct folio *folio;

	for (unsigned long i = 0; i < nr_pages; i++) {
		struct page *page = kmt_page(obj, i);

		if (!kmt_expect(obj, "shape", "refcount",
				!frozen && (split || !i),
				page_ref_count(page)) ||
		    !kmt_expect(obj, "shape", "compound",
				compound && obj->order, PageCompound(page)))
			return;
	}

	if (!compound)
		return;
	folio = virt_to_folio(obj->addr);
	kmt_expect(obj, "shape", "folio order", obj->order, folio_order(folio));
	kmt_expect(obj, "shape", "large", !!obj->order, folio_test_large(folio));
	if (obj->order)
		kmt_expect(obj, "shape", "large_rmappable",
			   IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) &&
			   shape == KMT_FOLIO, folio_test_large_rmappable(folio));
	kmt_expect(obj, "shape", "hugetlb", shape == KMT_HUGETLB,
		   folio_test_hugetlb(folio));
	if (shape == KMT_TABLE)
		kmt_check_table(obj);
}

/**
 * kmt_check_pages - Check the state of all pages of a restored object
 * @obj: The object
 *
 * Return: 0, or an error if there is no memory to compare with.
 */
int kmt_check_pages(const struct kmt_object *obj)
{
	const struct kmt_ops *ops = obj->type->ops;
	unsigned long nr_pages = kmt_nr_pages(obj);
	struct kmt_object fresh = *obj;

	kmt_check_shape(obj);

	if (ops->like)
		ops = ops->like;
	fresh.addr = ops->alloc(&fresh);
	/*
	 * A pool can be empty that this kernel has made large enough. And there
	 * may be no room in one piece for a second folio of 256 MiB.
	 */
	if (IS_ERR_OR_NULL(fresh.addr))
		return ops->shape == KMT_HUGETLB ||
		       obj->order > MAX_PAGE_ORDER ? 0 : -ENOMEM;

	for (unsigned long i = 0; i < nr_pages; i++) {
		if (!kmt_check_page(obj, i, kmt_page(obj, i),
				    kmt_page(&fresh, i)))
			break;
		if (!(i % 1024))
			cond_resched();
	}

	ops->free(&fresh);
	return 0;
}
