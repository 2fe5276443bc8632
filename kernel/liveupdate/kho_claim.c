// SPDX-License-Identifier: GPL-2.0-only
/*
 * Claims: the way of preserved memory from the stamp in its first page to memory
 * in use. A restorer claims the stamp, gives the pages the state that they had,
 * and has them counted. The fast path is in kho_claim.h.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/kexec_handover.h>
#include <linux/kho_radix_tree.h>

#include "kho_claim.h"

/* Has memory been claimed since kho_unclaimed_pages() counted what is unclaimed? */
bool kho_unclaimed_stale = true;

/**
 * kho_init_deferred - initialise struct pages that the boot has not reached yet
 * @pfn: page frame number of the first page
 * @order: log2 of the number of pages
 *
 * deferred_init_block() is __init, but is only called until deferred_pages is
 * disabled, which is long before __init memory is freed.
 *
 * Context: Process context, may sleep. While deferred_pages_enabled().
 * Return: 0 or %-ENOMEM.
 */
noinline int __ref kho_init_deferred(unsigned long pfn, unsigned int order)
{
	int err = 0;

	for (unsigned long i = 0; !err && i < 1UL << order;
	     i += MAX_ORDER_NR_PAGES)
		err = deferred_init_block(pfn + i);
	return err;
}

/**
 * kho_check_gigantic - check memory that is larger than a block
 * @phys: physical address of the memory, which has a stamp
 * @order: its order, above MAX_PAGE_ORDER
 * @type: what it is to become
 * @why: set to the reason for a refusal
 *
 * The largest block of the page allocator is initialised as a whole, and has one
 * zone. Larger memory may have other blocks in a worse state than the first one.
 *
 * Context: As kho_claim().
 * Return: 0, %-EINVAL, %-EOPNOTSUPP, %-EHWPOISON, or early in the boot %-ENOMEM.
 */
noinline int kho_check_gigantic(phys_addr_t phys, unsigned int order,
				enum kho_memdesc type, const char **why)
{
	struct page *page = phys_to_page(phys);

	*why = "too large";
	if (order > kho_max_order(type))
		return -EINVAL;
	if (deferred_pages_enabled() && kho_init_deferred(PHYS_PFN(phys), order))
		return -ENOMEM;

	/* Where ZONE_MOVABLE begins is up to the command line of each kernel. */
	*why = "in two zones of this kernel";
	if (type != KHO_MEMDESC_SPLIT &&
	    page_zone(page) != page_zone(page + (1UL << order) - 1))
		return -EOPNOTSUPP;

	/*
	 * kho_page_has_error() looks for the stamp within the largest block of
	 * the page allocator, and may not have found this one. Errors that the
	 * previous kernel has seen are counted late in the boot.
	 */
	*why = "memory with a hardware error";
	if (system_state < SYSTEM_RUNNING ? kho_any_poisoned(page, order) :
					    kho_page_poisoned(page, order))
		return -EHWPOISON;
	return 0;
}

/* Does memory that is kept, because it is not understood, begin at @phys? */
static noinline bool kho_is_kept(phys_addr_t phys)
{
	if (likely(!kho_kept.entries))
		return false;

	for (unsigned int type = 0; type < ARRAY_SIZE(kho_kept.orders); type++) {
		u64 orders = kho_kept.orders[type];

		for (; orders; orders &= orders - 1) {
			const unsigned int order = __ffs64(orders);
			struct kho_radix_leaf *leaf;
			unsigned long key;

			if (!IS_ALIGNED(phys, (u64)PAGE_SIZE << order))
				continue;
			key = kho_encode_key(phys, order, type);
			leaf = kho_radix_find(kho_kept.tree.root, key);
			if (leaf && test_bit(key % KHO_LEAF_BITS, leaf->bitmap))
				return true;
		}
	}
	return false;
}

/* Out of line: inlined it would cost kho_folio_restore() a register. */
bool kho_pfn_online_slow(unsigned long pfn)
{
	return pfn_to_online_page(pfn);
}

/**
 * kho_refuse_claim - say why memory is not restored
 * @err: the error, if no better one is found
 * @phys: physical address of the memory
 * @info: what page->private said
 * @want: the type that the caller wants
 * @why: the reason for @err
 *
 * Out of line: inlined, what is only needed for a refusal would cost each
 * restore six instructions.
 *
 * Context: Any.
 * Return: the error; never 0.
 */
noinline int kho_refuse_claim(int err, phys_addr_t phys,
			      union kho_page_info info, enum kho_memdesc want,
			      const char *why)
{
	if (info.magic == KHO_PAGE_POISONED) {
		err = -EHWPOISON;
		why = "memory with a hardware error";
	} else if (kho_is_kept(phys) ||
		   (err == -ENOENT && kho_kept.unrecorded)) {
		err = -EOPNOTSUPP;
		why = "this kernel does not understand how it is preserved";
	}
	return kho_refuse(err, "restore", phys, info.order, want, why);
}

/**
 * kho_claim_gigantic - the rest of a claim of memory that is larger than a block
 * @page: the first page
 * @info: what page->private said
 * @want: the type that the caller wants, which the memory has or can become
 * @for_good: see __kho_claim()
 *
 * Out of line, for the same reason as kho_refuse_claim().
 *
 * Context: As kho_claim().
 * Return: 0 or an error, which is logged.
 */
noinline int kho_claim_gigantic(struct page *page, union kho_page_info info,
				enum kho_memdesc want, bool for_good)
{
	const phys_addr_t phys = page_to_phys(page);
	union kho_page_info claimed = info;
	const char *why;
	int err;

	err = kho_check_gigantic(phys, info.order, info.type ?: want, &why);
	if (err == -ENOMEM)
		return err;
	if (err)
		return kho_refuse_claim(err, phys, info, want, why);

	claimed.magic = KHO_PAGE_CLAIMED;
	if (for_good)
		claimed.page_private = 0;
	if (cmpxchg(&page->private, info.page_private,
		    claimed.page_private) != info.page_private)
		return kho_refuse_claim(-ENOENT, phys, info, want,
					"already restored");
	return 0;
}

/**
 * kho_claim - take the stamp of preserved memory, without restoring it yet
 * @phys: physical address of the memory
 * @types: bit mask of the types to accept
 * @info: set to what is preserved there
 *
 * Of two restorers only one gets it. kho_init_claimed() or kho_unclaim() must
 * follow.
 *
 * Context: Process context. May sleep before page_alloc_init_late().
 * Return: the first page, or ERR_PTR(-EINVAL), ERR_PTR(-ENOENT),
 *	ERR_PTR(-EHWPOISON), ERR_PTR(-EOPNOTSUPP) for memory that is kept, or
 *	early in the boot ERR_PTR(-ENOMEM).
 */
struct page *kho_claim(phys_addr_t phys, unsigned long types,
		       union kho_page_info *info)
{
	struct page *page;
	int err = __kho_claim(phys, types, info, &page, false);

	return err ? ERR_PTR(err) : page;
}

/* Does the stamp, or a look at the pages of a gigantic folio, tell of an error? */
static bool kho_stamp_poisoned(phys_addr_t phys, unsigned long types,
			       union kho_page_info info)
{
	const enum kho_memdesc want = __ffs(types & ~BIT(KHO_MEMDESC_UNTYPED));
	const char *why;

	if (info.magic != KHO_PAGE_POISONED && info.magic != KHO_PAGE_MAGIC)
		return false;
	if (!(types & BIT(info.type)) || info.order > kho_max_order(want))
		return false;
	if (info.magic == KHO_PAGE_POISONED)
		return true;
	return info.order > MAX_PAGE_ORDER &&
	       kho_check_gigantic(phys, info.order, want, &why) == -EHWPOISON;
}

/**
 * kho_claim_poisoned - take the stamp of memory that has a hardware error
 * @phys: physical address of the memory
 * @types: bit mask of the types to accept
 * @info: set to what is preserved there
 *
 * The claim is for good, and page->private is 0.
 *
 * Context: As kho_claim().
 * Return: the first page, or ERR_PTR(-ENOENT) if kho_claim() does not say
 *	-EHWPOISON for it, ERR_PTR(-EHWPOISON) if this kernel has no marks for
 *	the pages, or early in the boot ERR_PTR(-ENOMEM).
 */
struct page *kho_claim_poisoned(phys_addr_t phys, unsigned long types,
				union kho_page_info *info)
{
	struct page *page = pfn_to_online_page(PHYS_PFN(phys));

	info->page_private = 0;
	if (!page || !PAGE_ALIGNED(phys))
		goto refuse;
	if (deferred_pages_enabled() && kho_init_deferred(PHYS_PFN(phys), 0))
		return ERR_PTR(-ENOMEM);
	info->page_private = READ_ONCE(page->private);
	if (info->magic == KHO_PAGE_FORWARDED && types & BIT(info->type) &&
	    kho_page_poisoned(page, info->order)) {
		kho_forward_poisoned(page, *info);
		info->page_private = READ_ONCE(page->private);
	}
	if (!kho_stamp_poisoned(phys, types, *info))
		goto refuse;
	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		return ERR_PTR(-EHWPOISON);
	if (cmpxchg(&page->private, info->page_private, 0) == info->page_private)
		return page;

refuse:
	return ERR_PTR(kho_refuse(-ENOENT, "restore", phys, info->order,
				  __ffs(types & ~BIT(KHO_MEMDESC_UNTYPED)),
				  "nothing with a hardware error is there"));
}

/**
 * kho_check_stamp - is this memory preserved, and not yet restored
 * @phys: physical address of the memory
 * @order: log2 of the number of pages
 * @type: the type that it has to be preserved as
 *
 * Context: As kho_claim().
 * Return: 0, %-ENOENT, %-EHWPOISON, or early in the boot %-ENOMEM.
 */
int kho_check_stamp(phys_addr_t phys, unsigned int order, enum kho_memdesc type)
{
	union kho_page_info info;
	struct page *page;

	page = pfn_to_online_page(PHYS_PFN(phys));
	if (!page)
		return -ENOENT;
	if (deferred_pages_enabled() && kho_init_deferred(PHYS_PFN(phys), 0))
		return -ENOMEM;
	info.page_private = READ_ONCE(page->private);
	if (info.type != type || info.order != order)
		return -ENOENT;
	if (info.magic == KHO_PAGE_POISONED)
		return -EHWPOISON;
	return info.magic == KHO_PAGE_MAGIC ||
	       info.magic == KHO_PAGE_FORWARDED ? 0 : -ENOENT;
}

/**
 * kho_read_stamp - what the stamp of memory says that may be gone
 * @pfn: page frame number of the first page
 *
 * What was restored may be free, offline and removed by now.
 *
 * Context: Process context, may sleep. After the boot.
 * Return: page->private, or 0 where there is no memory.
 */
union kho_page_info kho_read_stamp(unsigned long pfn)
{
	union kho_page_info info = {};
	struct page *page;

	get_online_mems();
	page = pfn_to_online_page(pfn);
	if (page)
		info.page_private = READ_ONCE(page->private);
	put_online_mems();
	return info;
}

/**
 * kho_page_has_error - a page has a hardware error, restored or not
 * @pfn: page frame number of the page, which is marked as poisoned
 *
 * If the page is part of preserved memory that is not restored yet, the ordinary
 * restore functions refuse that memory from now on, and the page allocator never
 * gets it. kho_folio_restore_hwpoison() still gives a folio to its owner. Slab
 * objects outside of the page are copied when they are restored. Forwarded memory is
 * not marked: the next kernel learns of the error from the list of errors, and a
 * restorer in this kernel looks at the pages.
 *
 * Context: Any.
 */
void kho_page_has_error(unsigned long pfn)
{
	union kho_page_info info, poisoned;

	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++) {
		struct page *page = pfn_to_page(ALIGN_DOWN(pfn, 1UL << order));

		info.page_private = READ_ONCE(page->private);
		if (info.magic != KHO_PAGE_MAGIC || info.order < order)
			continue;

		poisoned = info;
		poisoned.magic = KHO_PAGE_POISONED;
		/* A restorer that has claimed the memory meanwhile keeps it. */
		cmpxchg(&page->private, info.page_private,
			poisoned.page_private);
		return;
	}
}

/**
 * kho_unclaim - undo kho_claim()
 * @page: the first page
 *
 * Context: Any.
 */
void kho_unclaim(struct page *page)
{
	union kho_page_info info = { .page_private = page->private };

	/* kho_page_has_error() did not mark what was claimed. */
	if (info.magic == KHO_PAGE_CLAIMED_FORWARDED)
		info.magic = KHO_PAGE_FORWARDED;
	else if (kho_page_poisoned(page, info.order))
		info.magic = KHO_PAGE_POISONED;
	else
		info.magic = KHO_PAGE_MAGIC;
	/* Pairs with the cmpxchg() in __kho_claim(), which may come next. */
	smp_store_release(&page->private, info.page_private);
	kho_unclaimed_changed();
}

/**
 * kho_prep_tails - set the state that an allocation sets in some of the pages
 * @head: the first page of the allocation, not of these
 * @order: the order
 * @type: the type; not %KHO_MEMDESC_UNTYPED or %KHO_MEMDESC_SPLIT
 * @i: number of the first one of these pages; not 0
 * @end: number of the page behind the last one
 *
 * Pages of one allocation can be prepared in any order, and at the same time.
 *
 * Context: Any; as kho_prep_pages().
 */
void kho_prep_tails(struct page *head, unsigned int order,
		    enum kho_memdesc type, unsigned long i, unsigned long end)
{
	const bool compound = kho_types[type].shape == KHO_SHAPE_COMPOUND;

	for (; i < end; i++) {
		set_page_count(head + i, 0);
		if (compound)
			prep_compound_tail(head + i, head, order);
	}
}

/**
 * kho_prep_head - set the state that an allocation sets for all of its pages
 * @head: the first page
 * @order: the order, above 0
 * @type: the type; not %KHO_MEMDESC_UNTYPED or %KHO_MEMDESC_SPLIT
 *
 * Some of this state is in the next pages: kho_prep_tails() comes before.
 *
 * Context: Any; as kho_prep_pages().
 */
void kho_prep_head(struct page *head, unsigned int order, enum kho_memdesc type)
{
	struct folio *folio = (struct folio *)head;

	if (kho_types[type].shape == KHO_SHAPE_COMPOUND) {
		__folio_set_head(folio);
		prep_compound_head(head, order);
	}
	if (memdesc_table[kho_types[type].memdesc].rmappable)
		folio_set_large_rmappable(folio);
}

/**
 * kho_prep_pages - set the state that an allocation sets in pages but the first
 * @page: the first page
 * @order: the order
 * @type: the type; not %KHO_MEMDESC_UNTYPED
 *
 * All pages are as __init_single_page() makes them, with a reference count of
 * one. The first page stays like that, whatever the type: to walkers of physical
 * memory it is memory in use, with a reference that does not go away.
 *
 * Context: Any; the memory is preserved or claimed.
 */
void kho_prep_pages(struct page *page, unsigned int order,
		    enum kho_memdesc type)
{
	if (!order || type == KHO_MEMDESC_SPLIT)
		return;

	kho_prep_tails(page, order, type, 1, 1UL << order);
	kho_prep_head(page, order, type);
}

/**
 * kho_prep_claimed - give claimed pages the state that they had
 * @page: the first page
 * @type: their type
 * @order: as it was preserved
 *
 * Sets what the allocation had set in the pages themselves, unless that was done
 * at boot. slab_adopt() does the rest for a slab.
 *
 * The caller must call kho_account_claimed() next. If the caller cannot allocate
 * something else that the type needs, it instead resets the page type and
 * page->private, which is the claim. Then it may call this function again.
 *
 * Context: Any; the memory is claimed.
 */
void kho_prep_claimed(struct page *page, enum kho_memdesc type,
		      unsigned int order)
{
	const union kho_page_info info = kho_end_claim(page);

	__kho_prep_claimed(page, type, order, info.prepared);
}

/*
 * Watermarks and reserves were derived at boot from the memory that there was
 * without restored memory. Derive them anew, as memory hotplug does.
 */
static void kho_reserves_work_fn(struct work_struct *work)
{
	init_per_zone_wmark_min();
	kho_unclaimed_changed();
}

DECLARE_DELAYED_WORK(kho_reserves_work, kho_reserves_work_fn);

/**
 * kho_schedule_reserves - have watermarks and reserves derived anew soon
 *
 * Context: Any.
 */
noinline void kho_schedule_reserves(void)
{
	/* Before there are workqueues, init_per_zone_wmark_min() is yet to run. */
	if (system_state >= SYSTEM_SCHEDULING)
		schedule_delayed_work(&kho_reserves_work, HZ / 10);
}

/**
 * kho_account_split - count single pages
 * @page: the first page
 * @nr_pages: how many
 *
 * The pages can lie on other nodes than in the kernel that preserved them, and
 * on several ones.
 *
 * Context: Process context, may sleep. The memory is claimed.
 */
noinline void kho_account_split(struct page *page, unsigned long nr_pages)
{
	struct page *first = page;
	unsigned long nr = 0;

	for (unsigned long i = 0; i < nr_pages; i++) {
		struct page *nth = kho_nth_page(page, i);

		if (page_zone(nth) != page_zone(first)) {
			kho_add_managed(first, nr);
			first = nth;
			nr = 0;
		}
		nr++;
		post_restore_hook(nth, 0);
	}
	kho_add_managed(first, nr);
}

/**
 * kho_account_claimed - let claimed memory be seen as allocated
 * @page: the first page
 * @type: their type
 * @order: as it was preserved
 *
 * Context: Process context, may sleep. After kho_prep_claimed().
 */
void kho_account_claimed(struct page *page, enum kho_memdesc type,
			 unsigned int order)
{
	__kho_account_claimed(page, type, order);
}

/**
 * kho_init_claimed - restore what kho_claim() has claimed
 * @page: the first page
 * @untyped_as: its type if none was recorded
 *
 * Context: Process context, may sleep.
 */
void kho_init_claimed(struct page *page, enum kho_memdesc untyped_as)
{
	const union kho_page_info info = kho_end_claim(page);
	enum kho_memdesc type = info.type;

	if (type == KHO_MEMDESC_UNTYPED)
		type = untyped_as;
	__kho_prep_claimed(page, type, info.order, info.prepared);
	__kho_account_claimed(page, type, info.order);
}
