/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Claims, inside: taking the stamp of preserved memory, and giving its pages the
 * state that they had. Other files use the functions that are declared in
 * kexec_handover_internal.h. kho_claim.c has the comments of these functions.
 *
 * The functions here are inline for kho_folio_restore(): with the type constant
 * restoring a folio of order 0 takes 88 instructions, those of the page
 * allocator's hooks included.
 */
#ifndef _KHO_CLAIM_H
#define _KHO_CLAIM_H

#include <linux/bitops.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/workqueue.h>

#include "../../mm/internal.h"
#include "../../mm/mm_init.h"
#include "kho_check.h"
#include "kho_trace.h"

extern struct delayed_work kho_reserves_work;

int kho_init_deferred(unsigned long pfn, unsigned int order);
struct page *kho_claim_poisoned(phys_addr_t phys, unsigned long types,
				union kho_page_info *info);
int kho_check_gigantic(phys_addr_t phys, unsigned int order,
		       enum kho_memdesc type, const char **why);
bool kho_pfn_online_slow(unsigned long pfn);
int kho_claim_gigantic(struct page *page, union kho_page_info info,
		       enum kho_memdesc want, bool for_good);
int __cold kho_refuse_claim(int err, phys_addr_t phys,
			    union kho_page_info info, enum kho_memdesc want,
			    const char *why);
void kho_schedule_reserves(void);
void kho_account_split(struct page *page, unsigned long nr_pages);

/*
 * pfn_to_online_page(), but faster for memory from a handover. That memory was
 * there at boot, together with all struct pages of its section: while the
 * section is online, there is nothing else to check.
 */
static __always_inline bool kho_pfn_online(unsigned long pfn)
{
#if defined(CONFIG_SPARSEMEM) && !defined(CONFIG_HAVE_ARCH_PFN_VALID)
	const unsigned long flags = SECTION_IS_ONLINE | SECTION_IS_EARLY;
	const struct mem_section *ms = __pfn_to_section(pfn);

	if (likely(ms && (ms->section_mem_map & flags) == flags &&
		   !online_device_section(ms)))
		return true;
#endif
	return kho_pfn_online_slow(pfn);
}

/*
 * kho_claim(). With @for_good page->private is cleared instead of being marked
 * as claimed, which saves a store later, but kho_unclaim() is not possible then.
 */
static __always_inline int
__kho_claim(phys_addr_t phys, unsigned long types, union kho_page_info *info,
	    struct page **pagep, bool for_good)
{
	const enum kho_memdesc want = __ffs(types & ~BIT(KHO_MEMDESC_UNTYPED));
	union kho_page_info claimed;
	struct page *page;
	const char *why;
	int err;

	info->page_private = 0;
	err = -EINVAL;
	why = "not the address of a page";
	if (!IS_ALIGNED(phys, PAGE_SIZE))
		goto refuse;

	err = -ENOENT;
	why = "nothing is preserved there";
	if (!kho_pfn_online(PHYS_PFN(phys)))
		goto refuse;
	page = pfn_to_page(PHYS_PFN(phys));
	if (deferred_pages_enabled() && kho_init_deferred(PHYS_PFN(phys), 0))
		return -ENOMEM;
	info->page_private = READ_ONCE(page->private);
	if (unlikely(info->magic != KHO_PAGE_MAGIC)) {
		if (info->magic != KHO_PAGE_FORWARDED)
			goto refuse;
		*pagep = page;
		return kho_claim_forwarded(page, types, info, for_good);
	}

	err = -EINVAL;
	if (unlikely(info->type != want && !(types & BIT(info->type)))) {
		why = kho_memdesc_name(info->type);
		goto refuse;
	}
	*pagep = page;
	if (unlikely(info->order > MAX_PAGE_ORDER))
		return kho_claim_gigantic(page, *info, want, for_good);

	err = -ENOENT;
	why = "already restored";
	claimed = *info;
	claimed.magic = KHO_PAGE_CLAIMED;
	if (for_good)
		claimed.page_private = 0;
	if (cmpxchg(&page->private, info->page_private,
		    claimed.page_private) != info->page_private)
		goto refuse;
	return 0;

refuse:
	/* kho_refuse_claim() never returns 0, which the compiler cannot know. */
	return kho_refuse_claim(err, phys, *info, want, why) ?: -EINVAL;
}

static __always_inline void
__kho_prep_claimed(struct page *page, enum kho_memdesc type, unsigned int order,
		   bool prepared)
{
	if (unlikely(!prepared))
		kho_prep_pages(page, order, type);
	if (kho_type_frozen(type))
		set_page_count(page, 0);
	else if (kho_page_type(type))
		page->page_type = page_type_encode(kho_page_type(type));
}

/*
 * adjust_managed_page_count() would derive the reserves of all zones anew for
 * each restored page. Do that once for many pages, a moment later: restoring a
 * lot of memory takes longer than the delay.
 */
static __always_inline void kho_add_managed(struct page *page,
					    unsigned long nr_pages)
{
	atomic_long_add(nr_pages, &page_zone(page)->managed_pages);
	totalram_pages_add(nr_pages);
	/*
	 * Pairs with the barrier in set_work_pool_and_clear_pending(), which
	 * runs before the work function: either the work is not pending any more
	 * here, and is scheduled again, or the function sees these pages.
	 */
	smp_mb__after_atomic();
	if (unlikely(!delayed_work_pending(&kho_reserves_work)))
		kho_schedule_reserves();
}

static __always_inline void
__kho_account_claimed(struct page *page, enum kho_memdesc type, unsigned int order)
{
	kho_trace_restore(page, order, type, _RET_IP_);
	if (type == KHO_MEMDESC_SPLIT && order) {
		kho_account_split(page, 1UL << order);
	} else {
		kho_add_managed(page, 1UL << order);
		post_restore_hook(page, order);
	}
	/*
	 * The hooks do not expect pages with the type of a slab, so that is set
	 * afterwards. The type of memory with a descriptor of its own is set
	 * together with the descriptor, which the caller attaches.
	 */
	if (kho_type_frozen(type) && !memdesc_table[kho_types[type].memdesc].own)
		page->page_type = page_type_encode(kho_page_type(type));
}

/* A claim has come to its end: the memory is restored. Returns what it said. */
static __always_inline union kho_page_info kho_end_claim(struct page *page)
{
	const union kho_page_info info = { .page_private = page->private };

	set_page_private(page, 0);
	if (unlikely(info.magic == KHO_PAGE_CLAIMED_FORWARDED))
		kho_forward_undo(page, info.order, info.type);
	return info;
}

#endif /* _KHO_CLAIM_H */
