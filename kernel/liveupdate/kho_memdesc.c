// SPDX-License-Identifier: GPL-2.0-only
/*
 * Typed kexec handover, the lowest level: what memory of each type must be like
 * to be preserved, and how it is put back.
 *
 * include/linux/kho_memdesc.h is the contract; include/linux/kho/abi/memdesc.h
 * is what travels. The allocators' own functions are in files of their own;
 * taking in the map of the previous kernel is in kho_intake.c.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/bitops.h>
#include <linux/cleanup.h>
#include <linux/export.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/kho_radix_tree.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/page-isolation.h>

#include "../../mm/mm_init.h"
#include "kexec_handover_internal.h"

/*
 * One bit for each page that cannot be preserved, or not once more, keyed by
 * page frame number: those in preservations, and all in places from which
 * nothing can be handed over. The preserved memory map cannot tell whether a
 * page lies in some other preservation: it would have to be asked for every type
 * and order. This one stays in this kernel. Protected by the lock of the map.
 */
static struct kho_radix_tree kho_busy;

int kho_busy_init(void)
{
	return kho_radix_init_tree(&kho_busy, NULL);
}

void kho_busy_destroy(void)
{
	kho_radix_destroy_tree(&kho_busy);
}

static const char * const kho_memdesc_names[KHO_NR_MEMDESC] = {
	[KHO_MEMDESC_UNTYPED]		= "untyped",
	[KHO_MEMDESC_FOLIO]		= "folio",
	[KHO_MEMDESC_BLOCK]		= "page block",
	[KHO_MEMDESC_SPLIT]		= "split pages",
	[KHO_MEMDESC_COMPOUND]		= "compound pages",
	[KHO_MEMDESC_LARGE_KMALLOC]	= "large kmalloc",
	[KHO_MEMDESC_SLAB]		= "slab",
	[KHO_MEMDESC_PTDESC]		= "ptdesc",
	[KHO_MEMDESC_PTDESC_KERNEL]	= "kernel page table",
	[KHO_MEMDESC_PTE]		= "pte table",
	[KHO_MEMDESC_PMD]		= "pmd table",
	[KHO_MEMDESC_IOPTDESC]		= "ioptdesc",
	[KHO_MEMDESC_METADATA]		= "metadata",
};

const char *kho_memdesc_name(unsigned int type)
{
	return type < KHO_NR_MEMDESC ? kho_memdesc_names[type] : "unknown";
}

/* Say why memory at @phys was refused; @verb is what was tried. Returns @err. */
int kho_refuse(int err, const char *verb, phys_addr_t phys, unsigned int order,
	       unsigned int type, const char *why)
{
	pr_warn_ratelimited("cannot %s %pa, order %u, as %s: %s (%pe)\n", verb,
			    &phys, order, kho_memdesc_name(type), why,
			    ERR_PTR(err));
	return err;
}

static __always_inline bool kho_page_poisoned(struct page *page, unsigned int order)
{
#ifdef CONFIG_MEMORY_FAILURE
	if (likely(!atomic_long_read(&num_poisoned_pages)))
		return false;
	for (unsigned long i = 0; i < 1UL << order; i++) {
		if (PageHWPoison(page + i))
			return true;
	}
#endif
	return false;
}

/* Memory which the next kernel would not find, or not find free to be restored. */
static const char *kho_place_unsupported(unsigned long pfn, unsigned int order)
{
	const unsigned long end = pfn + (1UL << order);

	if (kho_scratch_overlap(PFN_PHYS(pfn), PAGE_SIZE << order))
		return "memory in a scratch area";

	for (; pfn < end; pfn = ALIGN(pfn + 1, pageblock_nr_pages)) {
		struct page *page = pfn_to_page(pfn);

		if (kho_pfn_hotadded(pfn))
			return "memory that was added after boot";
		/* A block may begin in a hole; a CMA area does not. */
		if (zone_spans_pfn(page_zone(page), pfn) &&
		    is_migrate_cma_page(page))
			return "memory in a CMA area";
	}
	return NULL;
}

/* Memory of a kind which cannot be handed over, wherever it is. */
static __always_inline const char *
kho_page_unsupported(struct page *page, unsigned int order)
{
	if (is_zone_device_page(page))
		return "memory of a device";
	if (page_pool_page_is_pp(page))
		return "memory of a page pool";
	if (kho_page_poisoned(page, order))
		return "memory with a hardware error";
	if (unlikely(page_has_type(page)) && PageHuge(page))
		return "hugetlb memory";
	return NULL;
}

/* The page type that memory of @type has while it is allocated, 0 if none. */
static __always_inline unsigned int kho_page_type(enum kho_memdesc type)
{
	switch (type) {
	case KHO_MEMDESC_LARGE_KMALLOC:
		return PGTY_large_kmalloc;
	case KHO_MEMDESC_SLAB:
		return PGTY_slab;
	case KHO_MEMDESC_IOPTDESC:
		return PGTY_ioptable;
	case KHO_MEMDESC_PTDESC:
	case KHO_MEMDESC_PTDESC_KERNEL:
	case KHO_MEMDESC_PTE:
	case KHO_MEMDESC_PMD:
		return PGTY_table;
	default:
		return 0;
	}
}

/* Types without a reference count. */
static __always_inline bool kho_type_frozen(enum kho_memdesc type)
{
	return type == KHO_MEMDESC_LARGE_KMALLOC || type == KHO_MEMDESC_SLAB ||
	       type == KHO_MEMDESC_IOPTDESC;
}

/* Memory which is recognisably not a @type of @order. */
static __always_inline const char *
kho_page_mismatch(struct page *page, unsigned int order, enum kho_memdesc type)
{
	const unsigned int page_type = kho_page_type(type);
	const unsigned long nr_pages = 1UL << order;

	if (PageTail(page))
		return "it is inside of a compound page";
	if (page_type ? page->page_type >> 24 != page_type : page_has_type(page))
		return "it has another page type";
	if (!page_ref_count(page) && !kho_type_frozen(type))
		return "it is free, frozen or inside of a larger block";

	switch (type) {
	case KHO_MEMDESC_FOLIO:
		if (compound_order(page) != order)
			return "it has another order";
		if (order && !folio_test_large_rmappable(page_folio(page)))
			return "it is a compound page, but no folio";
		return NULL;
	case KHO_MEMDESC_COMPOUND:
		if (!PageHead(page) || compound_order(page) != order)
			return "it is no compound page of this order";
		if (folio_test_large_rmappable(page_folio(page)))
			return "it is a folio";
		return NULL;
	case KHO_MEMDESC_BLOCK:
	case KHO_MEMDESC_METADATA:
		if (PageHead(page))
			return "it is a compound page";
		/*
		 * If the block had been allocated with a lower order, then one
		 * of the pages 1, 2, 4, ... begins somebody else's allocation.
		 */
		for (unsigned long i = 1; i < nr_pages;
		     i += IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG) ? 1 : i) {
			if (page_ref_count(page + i) || page_has_type(page + i))
				return "it is smaller than this";
		}
		return NULL;
	case KHO_MEMDESC_SPLIT:
		for (unsigned long i = 0; i < nr_pages; i++) {
			if (PageCompound(page + i) ||
			    page_has_type(page + i) || !page_ref_count(page + i))
				return "not all of it is order 0 pages in use";
		}
		return NULL;
	case KHO_MEMDESC_PTDESC:
	case KHO_MEMDESC_PTDESC_KERNEL:
	case KHO_MEMDESC_PTE:
	case KHO_MEMDESC_PMD:
		if (kho_ptdesc_type(page_ptdesc(page)) != type)
			return "it is a page table in another state";
		fallthrough;
	case KHO_MEMDESC_LARGE_KMALLOC:
	case KHO_MEMDESC_SLAB:
	case KHO_MEMDESC_IOPTDESC:
		if (compound_order(page) != order)
			return "it has another order";
		return NULL;
	default:
		return NULL;
	}
}

/* Types which kho_prep_claimed() knows how to put back. */
static __always_inline bool kho_type_supported(enum kho_memdesc type, unsigned int order)
{
	switch (type) {
	case KHO_MEMDESC_FOLIO:
	case KHO_MEMDESC_SPLIT:
	case KHO_MEMDESC_METADATA:
		return true;
	case KHO_MEMDESC_BLOCK:
	case KHO_MEMDESC_COMPOUND:
		/* "kho-v4" restores order > 0 as a folio or as split pages. */
		return !kho_write_v4 || !order;
	case KHO_MEMDESC_PTDESC:
	case KHO_MEMDESC_PTDESC_KERNEL:
	case KHO_MEMDESC_PTE:
	case KHO_MEMDESC_PMD:
	case KHO_MEMDESC_LARGE_KMALLOC:
	case KHO_MEMDESC_SLAB:
	case KHO_MEMDESC_IOPTDESC:
		return !kho_write_v4;
	default:
		return false;
	}
}

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
	if (order > kho_max_order(type)) {
		why = "order out of range";
		goto refuse;
	}
	if (!IS_ALIGNED(pfn, 1UL << order)) {
		why = "not aligned to its order";
		goto refuse;
	}

	err = -EOPNOTSUPP;
	why = kho_page_unsupported(page, order);
	if (why)
		goto refuse;

	err = -EINVAL;
	why = kho_page_mismatch(page, order, type);
	if (likely(!why))
		return 0;

	/* Otherwise kho_busy knows, which costs nothing. */
	where = kho_place_unsupported(pfn, order);
	if (where) {
		err = -EOPNOTSUPP;
		why = where;
	}
refuse:
	return kho_refuse(err, "preserve", PFN_PHYS(pfn), order, type, why);
}

/**
 * kho_check_page - may this memory be preserved as that?
 * @page: the first page
 * @order: its order
 * @type: what it is said to be
 *
 * Where the memory is and whether it is preserved already is not looked at: see
 * kho_preserve_locked().
 *
 * Context: Any.
 * Return: 0, %-EINVAL or %-EOPNOTSUPP. The reason for a refusal is logged.
 */
int kho_check_page(struct page *page, unsigned int order, enum kho_memdesc type)
{
	return __kho_check_page(page, order, type);
}

/* kho_radix_leaf(), without a call if the leaf is the one of the last time. */
static __always_inline struct kho_radix_leaf *
kho_leaf(struct kho_radix_tree *tree, unsigned long key, bool create)
{
	if (likely(tree->last_leaf &&
		   tree->last_prefix == key >> KHO_BITMAP_SIZE_LOG2))
		return tree->last_leaf;
	return kho_radix_leaf(tree, key, create);
}

static noinline struct kho_radix_leaf *kho_busy_new_leaf(unsigned long pfn)
{
	struct kho_radix_leaf *leaf = kho_radix_leaf(&kho_busy, pfn, false);

	if (leaf)
		return leaf;
	leaf = kho_radix_leaf(&kho_busy, pfn, true);
	if (IS_ERR(leaf))
		return leaf;

	/*
	 * What is scratch, CMA or hot-added does not change: asking once for
	 * each pageblock saves asking for each page.
	 */
	pfn = ALIGN_DOWN(pfn, KHO_LEAF_BITS);
	for (unsigned long off = 0; off < KHO_LEAF_BITS;
	     off += pageblock_nr_pages) {
		if (kho_place_unsupported(pfn + off, pageblock_order))
			bitmap_set(leaf->bitmap, off, pageblock_nr_pages);
	}
	return leaf;
}

/* The leaf of kho_busy for @pfn, or an error pointer. */
static __always_inline struct kho_radix_leaf *kho_busy_leaf(unsigned long pfn)
{
	if (likely(kho_busy.last_leaf &&
		   kho_busy.last_prefix == pfn >> KHO_BITMAP_SIZE_LOG2))
		return kho_busy.last_leaf;
	return kho_busy_new_leaf(pfn);
}

/* Is any page in [@pfn, @end) busy? Makes the leaves to mark them. */
static int kho_busy_test(unsigned long pfn, unsigned long end)
{
	while (pfn < end) {
		unsigned long start = pfn % KHO_LEAF_BITS;
		unsigned long stop = min(start + end - pfn, KHO_LEAF_BITS);
		struct kho_radix_leaf *leaf = kho_busy_leaf(pfn);

		if (IS_ERR(leaf))
			return PTR_ERR(leaf);
		if (find_next_bit(leaf->bitmap, stop, start) < stop)
			return -EEXIST;
		pfn += stop - start;
	}
	return 0;
}

/* Mark or unmark [@pfn, @end), whose leaves exist. */
static void kho_busy_mark(unsigned long pfn, unsigned long end, bool busy)
{
	while (pfn < end) {
		unsigned long start = pfn % KHO_LEAF_BITS;
		unsigned long stop = min(start + end - pfn, KHO_LEAF_BITS);
		struct kho_radix_leaf *leaf = kho_leaf(&kho_busy, pfn, false);

		if (busy)
			bitmap_set(leaf->bitmap, start, stop - start);
		else
			bitmap_clear(leaf->bitmap, start, stop - start);
		pfn += stop - start;
	}
}

static unsigned long kho_key(unsigned long pfn, unsigned int order,
			     enum kho_memdesc type)
{
	return kho_encode_key(PFN_PHYS(pfn), order,
			      kho_write_v4 ? KHO_MEMDESC_UNTYPED : type);
}

static noinline int kho_refuse_busy(unsigned long pfn, unsigned int order,
				    enum kho_memdesc type)
{
	const char *why = kho_place_unsupported(pfn, order);

	return kho_refuse(why ? -EOPNOTSUPP : -EEXIST, "preserve",
			  PFN_PHYS(pfn), order, type,
			  why ?: "some of it is already preserved");
}

/**
 * kho_preserve_locked - enter memory that was checked into the map
 * @pfn: page frame number of the first page
 * @order: its order
 * @type: what it is
 *
 * Context: Process context, may sleep. The lock of the map is held.
 * Return: 0, %-EEXIST, %-EOPNOTSUPP if it is in a place from which nothing can
 *	be handed over, or %-ENOMEM.
 */
int kho_preserve_locked(unsigned long pfn, unsigned int order,
			enum kho_memdesc type)
{
	const unsigned long key = kho_key(pfn, order, type);
	struct kho_radix_tree *tree = &kho_out.radix_tree;
	const unsigned long end = pfn + (1UL << order);
	struct kho_radix_leaf *leaf, *busy;
	int err;

	lockdep_assert_held(&tree->lock);

	if (!order) {
		busy = kho_busy_leaf(pfn);
		if (IS_ERR(busy))
			return PTR_ERR(busy);
		if (unlikely(test_bit(pfn % KHO_LEAF_BITS, busy->bitmap)))
			return kho_refuse_busy(pfn, order, type);
	} else {
		err = kho_busy_test(pfn, end);
		if (err == -EEXIST)
			return kho_refuse_busy(pfn, order, type);
		if (err)
			return err;
	}

	leaf = kho_leaf(tree, key, true);
	if (IS_ERR(leaf))
		return PTR_ERR(leaf);

	__set_bit(key % KHO_LEAF_BITS, leaf->bitmap);
	if (!order)
		__set_bit(pfn % KHO_LEAF_BITS, busy->bitmap);
	else
		kho_busy_mark(pfn, end, true);
	return 0;
}

/**
 * kho_unpreserve_locked - undo kho_preserve_locked()
 * @pfn: as it was preserved
 * @order: as it was preserved
 * @type: as it was preserved
 *
 * Context: Process context. The lock of the map is held.
 */
void kho_unpreserve_locked(unsigned long pfn, unsigned int order,
			   enum kho_memdesc type)
{
	const unsigned long key = kho_key(pfn, order, type);
	struct kho_radix_tree *tree = &kho_out.radix_tree;
	struct kho_radix_leaf *leaf;

	lockdep_assert_held(&tree->lock);

	leaf = kho_leaf(tree, key, false);
	if (IS_ERR_OR_NULL(leaf) ||
	    !__test_and_clear_bit(key % KHO_LEAF_BITS, leaf->bitmap)) {
		kho_refuse(-ENOENT, "unpreserve", PFN_PHYS(pfn), order, type,
			   "it is not preserved as that");
		return;
	}
	kho_busy_mark(pfn, pfn + (1UL << order), false);
}

/**
 * kho_preserve_page_desc - preserve memory of a type
 * @page: first page of the memory
 * @order: its size is PAGE_SIZE << @order bytes, and it is aligned to that
 * @type: what it is; decides what state restore puts it in
 *
 * The lowest level of preserving, for the allocators' own functions. @type says
 * more than &enum memdesc_type: memory without a descriptor can be a block, a
 * compound page or split pages, and each is freed in its own way.
 *
 * Context: Process context, may sleep.
 * Return: 0, or an error as listed in "Typed kexec handover"; then nothing was
 *	changed.
 */
int kho_preserve_page_desc(struct page *page, unsigned int order,
			   enum kho_memdesc type)
{
	int err;

	/* Folios are most of it, and with the type known this is short. */
	if (type == KHO_MEMDESC_FOLIO)
		err = __kho_check_page(page, order, KHO_MEMDESC_FOLIO);
	else
		err = kho_check_page(page, order, type);
	if (err)
		return err;

	guard(mutex)(&kho_out.radix_tree.lock);
	return kho_preserve_locked(page_to_pfn(page), order, type);
}
EXPORT_SYMBOL_GPL(kho_preserve_page_desc);

/**
 * kho_unpreserve_page_desc - undo kho_preserve_page_desc()
 * @page: as it was preserved
 * @order: as it was preserved
 * @type: as it was preserved
 *
 * Context: Process context, may sleep, but does not allocate.
 */
void kho_unpreserve_page_desc(struct page *page, unsigned int order,
			      enum kho_memdesc type)
{
	if (unlikely(!kho_out.radix_tree.root))
		return;

	guard(mutex)(&kho_out.radix_tree.lock);
	kho_unpreserve_locked(page_to_pfn(page), order, type);
}
EXPORT_SYMBOL_GPL(kho_unpreserve_page_desc);

/**
 * kho_claim - take the stamp of preserved memory, without restoring it yet
 * @phys: physical address of the memory
 * @types: bit mask of the types to accept
 * @info: set to what is preserved there
 *
 * Of two restorers only one gets it. kho_init_claimed() or kho_unclaim() must
 * follow.
 *
 * Context: Process context.
 * Return: the first page, or ERR_PTR(-EINVAL) or ERR_PTR(-ENOENT).
 */
struct page *kho_claim(phys_addr_t phys, unsigned long types,
		       union kho_page_info *info)
{
	const enum kho_memdesc want = __ffs(types & ~BIT(KHO_MEMDESC_UNTYPED));
	union kho_page_info claimed;
	unsigned int order = 0;
	struct page *page;
	const char *why;
	int err;

	err = -EINVAL;
	why = "not the address of a page";
	if (!IS_ALIGNED(phys, PAGE_SIZE))
		goto refuse;

	err = -ENOENT;
	why = "nothing is preserved there";
	page = pfn_to_online_page(PHYS_PFN(phys));
	if (!page)
		goto refuse;
	info->page_private = READ_ONCE(page->private);
	if (info->magic != KHO_PAGE_MAGIC)
		goto refuse;

	err = -EINVAL;
	order = info->order;
	why = kho_memdesc_name(info->type);
	if (!(types & BIT(info->type)))
		goto refuse;
	/* The page allocator has no larger blocks, only rows of them. */
	why = "too large";
	if (order > MAX_PAGE_ORDER && want != KHO_MEMDESC_SPLIT)
		goto refuse;

	err = -ENOENT;
	why = "already restored";
	claimed = *info;
	claimed.magic = KHO_PAGE_CLAIMED;
	if (cmpxchg(&page->private, info->page_private,
		    claimed.page_private) != info->page_private)
		goto refuse;
	return page;

refuse:
	return ERR_PTR(kho_refuse(err, "restore", phys, order, want, why));
}

/**
 * kho_unclaim - undo kho_claim()
 * @page: the first page
 */
void kho_unclaim(struct page *page)
{
	union kho_page_info info = { .page_private = page->private };

	info.magic = KHO_PAGE_MAGIC;
	/* Pairs with the cmpxchg() in kho_claim(), which may come next. */
	smp_store_release(&page->private, info.page_private);
}

/**
 * kho_prep_claimed - put the pages that kho_claim() has claimed into their state
 * @page: the first page
 * @type: what they are
 * @order: as it was preserved
 *
 * Sets what the allocation had set in the pages themselves; what else a slab is
 * made of is slab_adopt()'s. The boot left every page of a preservation as
 * __init_single_page() makes it, with a reference count of one.
 *
 * kho_account_claimed() must follow, unless what the type needs beyond that
 * cannot be had: with the page type and the claim, which is the private field,
 * put back this can be done again.
 */
void kho_prep_claimed(struct page *page, enum kho_memdesc type,
		      unsigned int order)
{
	const unsigned long nr_pages = 1UL << order;
	const unsigned int page_type = kho_page_type(type);

	set_page_private(page, 0);
	set_page_count(page, !kho_type_frozen(type));
	for (unsigned long i = 1; i < nr_pages; i++)
		set_page_count(page + i, type == KHO_MEMDESC_SPLIT);

	if (order && (type == KHO_MEMDESC_FOLIO ||
		      type == KHO_MEMDESC_COMPOUND || page_type))
		prep_compound_page(page, order);
	if (order && type == KHO_MEMDESC_FOLIO)
		folio_set_large_rmappable(page_folio(page));
	if (page_type && !kho_type_frozen(type))
		page->page_type = page_type << 24;
}

/**
 * kho_account_claimed - let the memory be seen as allocated
 * @page: the first page
 * @type: what they are
 * @order: as it was preserved
 */
void kho_account_claimed(struct page *page, enum kho_memdesc type,
			 unsigned int order)
{
	const unsigned long nr_pages = 1UL << order;

	if (type == KHO_MEMDESC_SPLIT) {
		for (unsigned long i = 0; i < nr_pages; i++)
			post_restore_hook(page + i, 0);
	} else {
		post_restore_hook(page, order);
	}
	/*
	 * The hooks do not expect slabs. The type of IOMMU page tables comes
	 * with the descriptor, which the caller attaches.
	 */
	if (kho_type_frozen(type) && type != KHO_MEMDESC_IOPTDESC)
		page->page_type = kho_page_type(type) << 24;
	if (type == KHO_MEMDESC_LARGE_KMALLOC)
		mod_node_page_state(page_pgdat(page), NR_SLAB_UNRECLAIMABLE_B,
				    PAGE_SIZE << order);
	adjust_managed_page_count(page, nr_pages);
}

/**
 * kho_init_claimed - restore what kho_claim() has claimed
 * @page: the first page
 * @untyped_as: what it is if its type was not recorded
 */
void kho_init_claimed(struct page *page, enum kho_memdesc untyped_as)
{
	const union kho_page_info info = { .page_private = page->private };
	enum kho_memdesc type = info.type;

	if (type == KHO_MEMDESC_UNTYPED)
		type = untyped_as;
	kho_prep_claimed(page, type, info.order);
	kho_account_claimed(page, type, info.order);
}

/**
 * kho_restore - restore one preservation
 * @phys: physical address of the memory
 * @types: bit mask of the types to accept
 * @untyped_as: what it is if its type was not recorded
 *
 * Context: Process context.
 * Return: the first page, or ERR_PTR(-EINVAL) or ERR_PTR(-ENOENT).
 */
struct page *kho_restore(phys_addr_t phys, unsigned long types,
			 enum kho_memdesc untyped_as)
{
	union kho_page_info info;
	struct page *page;

	page = kho_claim(phys, types, &info);
	if (!IS_ERR(page))
		kho_init_claimed(page, untyped_as);
	return page;
}

/**
 * kho_hold_page_desc - keep preserved memory to oneself before restoring it
 * @phys: physical address of the memory, as it was preserved
 * @order: the order that it must have been preserved with
 * @type: the type that it must have been preserved as
 *
 * For memory that is only worth anything as a whole, and of which each part
 * says where the others are, like a tree of tables: hold one part, read it, go
 * on with what it points at. Whoever finds a part held, or finds none, knows
 * that the whole is damaged, and has restored nothing yet. Memory that is held
 * can be read, and nobody else can restore it.
 *
 * Context: Process context, any time after the page allocator is up.
 * Return: 0; %-EINVAL if what is preserved there has another type or order;
 *	%-ENOENT if nothing is, or it is restored or held already.
 */
int kho_hold_page_desc(phys_addr_t phys, unsigned int order,
		       enum kho_memdesc type)
{
	union kho_page_info info;
	struct page *page;

	page = kho_claim(phys, BIT(type), &info);
	if (IS_ERR(page))
		return PTR_ERR(page);
	if (info.order == order)
		return 0;

	kho_unclaim(page);
	return kho_refuse(-EINVAL, "restore", phys, order, type,
			  "it has another order");
}

/**
 * kho_unhold_page_desc - undo kho_hold_page_desc()
 * @phys: as it was held
 *
 * The memory can be restored, by anybody.
 *
 * Context: Any.
 */
void kho_unhold_page_desc(phys_addr_t phys)
{
	kho_unclaim(phys_to_page(phys));
}
