// SPDX-License-Identifier: GPL-2.0-only
/*
 * Typed kexec handover, the lowest level: what memory of each type must be like
 * to be preserved, and how it is put back.
 *
 * include/linux/kho_memdesc.h is the contract; include/linux/kho/abi/memdesc.h
 * is what travels. The allocators' own functions are in files of their own, but
 * for two of folios, which are made from the same parts with the type known;
 * taking in the map of the previous kernel is in kho_intake.c.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/bitops.h>
#include <linux/cleanup.h>
#include <linux/export.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/kho_radix_tree.h>
#include <linux/memblock.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/percpu-rwsem.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "../../mm/internal.h"
#include "../../mm/mm_init.h"
#include "kexec_handover_internal.h"

/*
 * What KHO_LEAF_BITS pages are like whose first page frame number is a multiple
 * of that. The preserved memory map cannot tell whether a page lies in some
 * other preservation: it would have to be asked for every type and order. So
 * there is a bit for each page that cannot be preserved, or not once more: those
 * in preservations, and all in places from which nothing can be handed over.
 * Windows stay in this kernel.
 */
struct kho_window {
	spinlock_t lock;		/* protects all of it, and its leaves */
	unsigned long nr_preserved;	/* pages */
	unsigned long *busy;		/* KHO_LEAF_BITS bits */
	/* The leaf of the map that was used last, and its keys' upper bits. */
	struct kho_radix_leaf *leaf;
	unsigned long leaf_prefix;
	struct rcu_head rcu;
};

/* Indexed by page frame number; made when something is preserved there. */
static struct kho_window **kho_windows;
static unsigned long kho_nr_windows;

/*
 * Who changes bits of the map or of windows holds it for reading, so that
 * several CPUs can. Nodes and windows without bits are freed under it. Bits of a
 * leaf of order 0 that a window has at hand can be changed with its lock only:
 * before such a leaf is freed, the window is made not to have one at hand.
 */
DEFINE_STATIC_PERCPU_RWSEM(kho_map_sem);
/* Protects the making of nodes and windows. Inside of kho_map_sem. */
static DEFINE_MUTEX(kho_nodes_lock);

static int kho_memory_notify(struct notifier_block *nb, unsigned long action,
			     void *data);
/*
 * With GFP_NOFS: what is allocated for must not wait for a shrinker that
 * unpreserves memory, because that takes kho_map_sem, too.
 */
DEFINE_LOCK_GUARD_0(kho_nodes, ({
			mutex_lock(&kho_nodes_lock);
			_T->nofs = memalloc_nofs_save();
		    }), ({
			memalloc_nofs_restore(_T->nofs);
			mutex_unlock(&kho_nodes_lock);
		    }), unsigned int nofs)

int kho_busy_init(void)
{
	/* What is added later cannot be handed over. */
	kho_nr_windows = DIV_ROUND_UP(max_pfn, KHO_LEAF_BITS);
	kho_windows = kvcalloc(kho_nr_windows, sizeof(*kho_windows), GFP_KERNEL);
	if (!kho_windows)
		return -ENOMEM;
	hotplug_memory_notifier(kho_memory_notify, DEFAULT_CALLBACK_PRI);
	return 0;
}

static void kho_free_window(unsigned long i)
{
	struct kho_window *window = kho_windows[i];

	WRITE_ONCE(kho_windows[i], NULL);
	/* Who still finds it finds no leaf at hand, and looks no further. */
	free_page((unsigned long)window->busy);
	kfree_rcu(window, rcu);
}

/* Free windows and nodes of the map which have become empty. */
static void kho_trim_work_fn(struct work_struct *work)
{
	guard(percpu_write)(&kho_map_sem);

	for (unsigned long i = 0; i < kho_nr_windows; i++) {
		struct kho_window *window = kho_windows[i];
		unsigned long nr;

		if (!window)
			continue;
		scoped_guard(spinlock, &window->lock) {
			window->leaf_prefix = 0;
			nr = window->nr_preserved;
		}
		/* Without a leaf at hand that stays so. */
		if (!nr)
			kho_free_window(i);
		cond_resched();
	}
	kho_radix_trim(&kho_out.radix_tree);
}

static DECLARE_DELAYED_WORK(kho_trim_work, kho_trim_work_fn);

void kho_busy_destroy(void)
{
	cancel_delayed_work_sync(&kho_trim_work);
	for (unsigned long i = 0; i < kho_nr_windows; i++) {
		if (kho_windows[i])
			kho_free_window(i);
	}
	kvfree(kho_windows);
	kho_windows = NULL;
	kho_nr_windows = 0;
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
noinline int kho_refuse(int err, const char *verb, phys_addr_t phys,
			unsigned int order, unsigned int type, const char *why)
{
	pr_warn_ratelimited("cannot %s %pa, order %u, as %s: %s (%pe)\n", verb,
			    &phys, order, kho_memdesc_name(type), why,
			    ERR_PTR(err));
	return err;
}

/* Rows of single pages can go on in the next section. */
static __always_inline struct page *kho_nth_page(struct page *page, unsigned long i)
{
	if (IS_ENABLED(CONFIG_SPARSEMEM) && !IS_ENABLED(CONFIG_SPARSEMEM_VMEMMAP))
		return pfn_to_page(page_to_pfn(page) + i);
	return page + i;
}

static noinline bool kho_any_poisoned(struct page *page, unsigned int order)
{
	for (unsigned long i = 0; i < 1UL << order; i++) {
		if (PageHWPoison(kho_nth_page(page, i)))
			return true;
	}
	return false;
}

static __always_inline bool kho_page_poisoned(struct page *page, unsigned int order)
{
#ifdef CONFIG_MEMORY_FAILURE
	return unlikely(atomic_long_read(&num_poisoned_pages)) &&
	       kho_any_poisoned(page, order);
#else
	return false;
#endif
}

/**
 * kho_range_online - does a range of pages exist
 * @pfn: page frame number of the first page
 * @nr_pages: how many pages; not 0
 *
 * The struct pages of memory that is not there, or is offline, must not be read.
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

/* Memory which the next kernel would not find, or not find free to be restored. */
static const char *kho_place_unsupported(unsigned long pfn, unsigned int order)
{
	const unsigned long end = pfn + (1UL << order);

	if (kho_scratch_overlap(PFN_PHYS(pfn), PAGE_SIZE << order))
		return "memory in a scratch area";

	for (; pfn < end; pfn = ALIGN(pfn + 1, pageblock_nr_pages)) {
		struct page *page;

		if (kho_pfn_hotadded(pfn))
			return "memory that was added after boot";
		/*
		 * Windows reach beyond memory that is online. Struct pages of
		 * memory that is not are filled with a pattern: the zone that
		 * they name does not exist.
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
 * Take a page that the next kernel finds from where the page allocator would
 * not, and free it first if need be. Slow, but does not fail by chance.
 */
static struct folio *kho_claim_early_page(void)
{
	for (unsigned long pfn = 0; pfn < max_pfn; pfn += pageblock_nr_pages) {
		struct page *page = pfn_to_online_page(pfn);

		/* Others are in use by the kernel: nothing can free them. */
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
	/* Memory is added at high addresses: lower zones have none of that. */
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
	return order ? NULL : kho_claim_early_page();
}

/**
 * kho_alloc_folio - allocate memory for what is handed over with others' memory
 * @order: the order
 *
 * The next kernel does not find memory that was added after this boot. What
 * describes preserved memory has a choice where to lie, and must not fail
 * because the page allocator happened to choose such memory.
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
		/*
		 * Without huge pages nothing records which of the two a large
		 * page is: the caller's word counts, as for order 0.
		 */
		if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) && order &&
		    !folio_test_large_rmappable(page_folio(page)))
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
		/* Only rows of single pages can be longer than what exists. */
		if (order > MAX_PAGE_ORDER && !kho_range_online(page_to_pfn(page), nr_pages))
			return "not all of it is memory in use";
		for (unsigned long i = 0; i < nr_pages; i++) {
			struct page *nth = kho_nth_page(page, i);

			if (PageCompound(nth) || page_has_type(nth) ||
			    !page_ref_count(nth))
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
 * kho_map_add().
 *
 * Context: Any.
 * Return: 0, %-EINVAL or %-EOPNOTSUPP. The reason for a refusal is logged,
 *	unless KHO is off.
 */
int kho_check_page(struct page *page, unsigned int order, enum kho_memdesc type)
{
	return __kho_check_page(page, order, type);
}

/* Mark the places in [@pfn, @end) busy from which nothing can be handed over. */
static void kho_mark_places(struct kho_window *window, unsigned long pfn,
			    unsigned long end)
{
	for (; pfn < end; pfn += pageblock_nr_pages) {
		const unsigned long off = pfn % KHO_LEAF_BITS;

		if (kho_place_unsupported(pfn, pageblock_order))
			bitmap_set(window->busy, off, pageblock_nr_pages);
		else
			bitmap_clear(window->busy, off, pageblock_nr_pages);
	}
}

/*
 * Memory that comes online can have been offline when its window was made, and
 * was perhaps removed in between, and is another memory then. Nothing in it is
 * preserved yet.
 */
static int kho_memory_notify(struct notifier_block *nb, unsigned long action,
			     void *data)
{
	const struct memory_notify *arg = data;
	const unsigned long end = arg->start_pfn + arg->nr_pages;
	unsigned long pfn = arg->start_pfn;

	if (action != MEM_ONLINE)
		return NOTIFY_DONE;

	guard(percpu_read)(&kho_map_sem);
	guard(mutex)(&kho_nodes_lock);
	for (unsigned long stop; pfn < end; pfn = stop) {
		const unsigned long i = pfn / KHO_LEAF_BITS;

		stop = min(end, ALIGN(pfn + 1, KHO_LEAF_BITS));
		if (i >= kho_nr_windows || !kho_windows[i])
			continue;
		guard(spinlock)(&kho_windows[i]->lock);
		kho_mark_places(kho_windows[i], pfn, stop);
	}
	return NOTIFY_OK;
}

static noinline struct kho_window *kho_new_window(unsigned long pfn)
{
	const unsigned long i = pfn / KHO_LEAF_BITS;
	struct kho_window *window;

	if (i >= kho_nr_windows)
		return ERR_PTR(-EOPNOTSUPP);

	guard(kho_nodes)();
	if (kho_windows[i])
		return kho_windows[i];

	window = kzalloc_obj(*window);
	if (!window)
		return ERR_PTR(-ENOMEM);
	window->busy = (unsigned long *)get_zeroed_page(GFP_KERNEL);
	if (!window->busy) {
		kfree(window);
		return ERR_PTR(-ENOMEM);
	}
	spin_lock_init(&window->lock);

	/*
	 * What is scratch or CMA does not change, and kho_memory_notify() sees
	 * memory come: asking once for each pageblock saves asking for each page.
	 */
	pfn = ALIGN_DOWN(pfn, KHO_LEAF_BITS);
	kho_mark_places(window, pfn, pfn + KHO_LEAF_BITS);

	/* Pairs with READ_ONCE() in kho_find_window(), which has no lock. */
	smp_store_release(&kho_windows[i], window);
	return window;
}

/* The window of @pfn, or NULL. */
static __always_inline struct kho_window *kho_find_window(unsigned long pfn)
{
	const unsigned long i = pfn / KHO_LEAF_BITS;

	if (unlikely(i >= kho_nr_windows))
		return NULL;
	/* Pairs with smp_store_release() in kho_new_window(). */
	return READ_ONCE(kho_windows[i]);
}

/* The window of @pfn, or an error pointer. */
static __always_inline struct kho_window *kho_get_window(unsigned long pfn)
{
	struct kho_window *window = kho_find_window(pfn);

	return likely(window) ? window : kho_new_window(pfn);
}

static noinline struct kho_radix_leaf *kho_new_leaf(unsigned long key)
{
	guard(kho_nodes)();
	return kho_radix_leaf(&kho_out.radix_tree, key, true);
}

/* Mark [@pfn, @end) busy. -EEXIST if some of it was, and nothing has changed. */
static int kho_busy_mark(struct kho_window *window, unsigned long pfn,
			 unsigned long end)
{
	const unsigned long start = pfn % KHO_LEAF_BITS;
	const unsigned long stop = start + end - pfn;

	guard(spinlock)(&window->lock);
	if (find_next_bit(window->busy, stop, start) < stop)
		return -EEXIST;
	bitmap_set(window->busy, start, stop - start);
	window->nr_preserved += stop - start;
	return 0;
}

/* Undo kho_busy_mark(). */
static void kho_busy_unmark(struct kho_window *window, unsigned long pfn,
			    unsigned long end)
{
	const unsigned long start = pfn % KHO_LEAF_BITS;

	guard(spinlock)(&window->lock);
	bitmap_clear(window->busy, start, end - pfn);
	window->nr_preserved -= end - pfn;
	if (unlikely(!window->nr_preserved))
		schedule_delayed_work(&kho_trim_work, HZ);
}

static unsigned long kho_window_end(unsigned long pfn, unsigned long end)
{
	return min(end, ALIGN(pfn + 1, KHO_LEAF_BITS));
}

static void kho_busy_unmark_range(unsigned long pfn, unsigned long end)
{
	for (unsigned long stop; pfn < end; pfn = stop) {
		stop = kho_window_end(pfn, end);
		kho_busy_unmark(kho_windows[pfn / KHO_LEAF_BITS], pfn, stop);
	}
}

static int kho_busy_mark_range(unsigned long start, unsigned long end)
{
	struct kho_window *window;
	int err;

	for (unsigned long pfn = start, stop; pfn < end; pfn = stop) {
		stop = kho_window_end(pfn, end);
		window = kho_get_window(pfn);
		err = PTR_ERR_OR_ZERO(window);
		if (!err)
			err = kho_busy_mark(window, pfn, stop);
		if (err) {
			kho_busy_unmark_range(start, pfn);
			return err;
		}
	}
	return 0;
}

static unsigned long kho_key(unsigned long pfn, unsigned int order,
			     enum kho_memdesc type)
{
	return kho_encode_key(PFN_PHYS(pfn), order,
			      kho_write_v4 ? KHO_MEMDESC_UNTYPED : type);
}

/*
 * Lock the window for order 0 memory, if its leaf at hand is the one: mostly it
 * is. Returns NULL if not. Under RCU, which keeps the window.
 */
static __always_inline struct kho_window *
kho_lock_leaf_at_hand(unsigned long pfn, enum kho_memdesc type)
{
	const unsigned long prefix = kho_key(pfn, 0, type) / KHO_LEAF_BITS;
	struct kho_window *window = kho_find_window(pfn);

	if (unlikely(!window))
		return NULL;

	spin_lock(&window->lock);
	if (likely(window->leaf_prefix == prefix))
		return window;
	spin_unlock(&window->lock);
	return NULL;
}

/*
 * What kho_map_add() does for order 0, without kho_map_sem. False if it has to be
 * done there, or to be refused.
 */
static __always_inline bool kho_map_add_quick(unsigned long pfn,
					      enum kho_memdesc type)
{
	const unsigned long bit = pfn % KHO_LEAF_BITS;
	struct kho_window *window;
	bool added;

	guard(rcu)();
	window = kho_lock_leaf_at_hand(pfn, type);
	if (unlikely(!window))
		return false;

	added = !__test_and_set_bit(bit, window->busy);
	if (likely(added)) {
		__set_bit(bit, window->leaf->bitmap);
		window->nr_preserved++;
	}
	spin_unlock(&window->lock);
	return added;
}

/* The same for kho_map_del(). */
static __always_inline bool kho_map_del_quick(unsigned long pfn,
					      enum kho_memdesc type)
{
	const unsigned long bit = pfn % KHO_LEAF_BITS;
	struct kho_window *window;
	bool deleted;

	guard(rcu)();
	window = kho_lock_leaf_at_hand(pfn, type);
	if (unlikely(!window))
		return false;

	deleted = __test_and_clear_bit(bit, window->leaf->bitmap);
	if (likely(deleted)) {
		__clear_bit(bit, window->busy);
		if (unlikely(!--window->nr_preserved))
			schedule_delayed_work(&kho_trim_work, HZ);
	}
	spin_unlock(&window->lock);
	return deleted;
}

static noinline int kho_refuse_busy(unsigned long pfn, unsigned int order,
				    enum kho_memdesc type)
{
	const char *why = kho_place_unsupported(pfn, order);

	return kho_refuse(why ? -EOPNOTSUPP : -EEXIST, "preserve",
			  PFN_PHYS(pfn), order, type,
			  why ?: "some of it is already preserved");
}

/*
 * Lock the window and set its leaf to the one for @key. With @create it is made
 * if there is none. Returns an error, and the window is not locked then.
 */
static __always_inline int kho_lock_window(struct kho_window *window,
					   unsigned long key, bool create)
{
	struct kho_radix_leaf *leaf;

	spin_lock(&window->lock);
	if (likely(window->leaf_prefix == key / KHO_LEAF_BITS))
		return 0;

	leaf = kho_radix_find(kho_out.radix_tree.root, key);
	if (!leaf) {
		spin_unlock(&window->lock);
		leaf = create ? kho_new_leaf(key) : ERR_PTR(-ENOENT);
		if (IS_ERR(leaf))
			return PTR_ERR(leaf);
		spin_lock(&window->lock);
	}
	window->leaf = leaf;
	window->leaf_prefix = key / KHO_LEAF_BITS;
	return 0;
}

/* A preservation which spans windows. */
static noinline int kho_map_add_large(unsigned long pfn, unsigned int order,
				      enum kho_memdesc type)
{
	const unsigned long key = kho_key(pfn, order, type);
	struct kho_radix_leaf *leaf = kho_new_leaf(key);
	int err;

	if (IS_ERR(leaf))
		return PTR_ERR(leaf);

	err = kho_busy_mark_range(pfn, pfn + (1UL << order));
	if (!err)
		set_bit(key % KHO_LEAF_BITS, leaf->bitmap);
	return err;
}

/*
 * All bits of an order 0 leaf are of one window, whose lock protects them as
 * well. Leaves of larger orders are shared by windows.
 */
static __always_inline int kho_map_add_small(unsigned long pfn,
					     unsigned int order,
					     enum kho_memdesc type)
{
	const unsigned long key = kho_key(pfn, order, type);
	const unsigned long start = pfn % KHO_LEAF_BITS;
	const unsigned long stop = start + (1UL << order);
	struct kho_window *window;
	int err;

	window = kho_get_window(pfn);
	if (IS_ERR(window))
		return PTR_ERR(window);
	err = kho_lock_window(window, key, true);
	if (err)
		return err;

	err = -EEXIST;
	if (!order) {
		if (unlikely(__test_and_set_bit(start, window->busy)))
			goto unlock;
		__set_bit(key % KHO_LEAF_BITS, window->leaf->bitmap);
	} else {
		if (find_next_bit(window->busy, stop, start) < stop)
			goto unlock;
		bitmap_set(window->busy, start, stop - start);
		set_bit(key % KHO_LEAF_BITS, window->leaf->bitmap);
	}
	window->nr_preserved += stop - start;
	err = 0;
unlock:
	spin_unlock(&window->lock);
	return err;
}

static __always_inline int __kho_map_add(unsigned long pfn, unsigned int order,
					 enum kho_memdesc type)
{
	int err;

	if (!order)
		err = kho_map_add_small(pfn, 0, type);
	else if (order <= KHO_BITMAP_SIZE_LOG2)
		err = kho_map_add_small(pfn, order, type);
	else
		err = kho_map_add_large(pfn, order, type);
	if (likely(!err))
		return 0;
	/* A window or nodes may have been made for it, and stay empty. */
	schedule_delayed_work(&kho_trim_work, HZ);
	return err == -ENOMEM ? err : kho_refuse_busy(pfn, order, type);
}

static __always_inline bool kho_map_del_small(unsigned long pfn,
					      unsigned int order,
					      enum kho_memdesc type)
{
	const unsigned long key = kho_key(pfn, order, type);
	const unsigned long bit = key % KHO_LEAF_BITS;
	const unsigned long start = pfn % KHO_LEAF_BITS;
	struct kho_window *window = kho_find_window(pfn);
	bool found;

	if (unlikely(!window || kho_lock_window(window, key, false)))
		return false;

	if (!order) {
		found = __test_and_clear_bit(bit, window->leaf->bitmap);
		if (likely(found))
			__clear_bit(start, window->busy);
	} else {
		found = test_and_clear_bit(bit, window->leaf->bitmap);
		if (likely(found))
			bitmap_clear(window->busy, start, 1UL << order);
	}
	if (likely(found))
		window->nr_preserved -= 1UL << order;
	if (unlikely(!window->nr_preserved))
		schedule_delayed_work(&kho_trim_work, HZ);
	spin_unlock(&window->lock);
	return found;
}

static noinline bool kho_map_del_large(unsigned long pfn, unsigned int order,
				       enum kho_memdesc type)
{
	const unsigned long key = kho_key(pfn, order, type);
	struct kho_radix_leaf *leaf;

	leaf = kho_radix_find(kho_out.radix_tree.root, key);
	if (!leaf || !test_and_clear_bit(key % KHO_LEAF_BITS, leaf->bitmap))
		return false;
	kho_busy_unmark_range(pfn, pfn + (1UL << order));
	return true;
}

/* Keys of "kho-v4" are the same for all types: only the memory differs. */
static noinline bool kho_v4_mismatch(unsigned long pfn, unsigned int order,
				     enum kho_memdesc type)
{
	return order && kho_page_mismatch(pfn_to_page(pfn), order, type);
}

static __always_inline void __kho_map_del(unsigned long pfn, unsigned int order,
					  enum kho_memdesc type)
{
	bool found;

	if (unlikely(kho_write_v4) && kho_v4_mismatch(pfn, order, type))
		found = false;
	else if (!order)
		found = kho_map_del_small(pfn, 0, type);
	else if (order <= KHO_BITMAP_SIZE_LOG2)
		found = kho_map_del_small(pfn, order, type);
	else
		found = kho_map_del_large(pfn, order, type);
	if (unlikely(!found))
		kho_refuse(-ENOENT, "unpreserve", PFN_PHYS(pfn), order, type,
			   "it is not preserved as that");
}

/**
 * kho_map_add - enter memory that was checked into the map
 * @pfn: page frame number of the first page
 * @order: its order
 * @type: what it is
 *
 * Context: Process context, may sleep. Between kho_map_lock() and
 *	kho_map_unlock(), which do not exclude other users.
 * Return: 0, %-EEXIST, %-EOPNOTSUPP if it is in a place from which nothing can
 *	be handed over, or %-ENOMEM.
 */
int kho_map_add(unsigned long pfn, unsigned int order, enum kho_memdesc type)
{
	return __kho_map_add(pfn, order, type);
}

/**
 * kho_map_del - undo kho_map_add()
 * @pfn: as it was added
 * @order: as it was added
 * @type: as it was added
 *
 * Context: As kho_map_add(), but does not allocate.
 */
void kho_map_del(unsigned long pfn, unsigned int order, enum kho_memdesc type)
{
	__kho_map_del(pfn, order, type);
}

/**
 * kho_is_preserved - is a page in something that this kernel has preserved
 * @pfn: page frame number of the page
 *
 * Context: Between kho_map_lock() and kho_map_unlock().
 * Return: whether it is.
 */
bool kho_is_preserved(unsigned long pfn)
{
	struct kho_window *window = kho_find_window(pfn);

	return window && test_bit(pfn % KHO_LEAF_BITS, window->busy) &&
	       !kho_place_unsupported(pfn, 0);
}

/* Begin to change the map. Must not be nested. */
void kho_map_lock(void)
{
	percpu_down_read(&kho_map_sem);
}

void kho_map_unlock(void)
{
	percpu_up_read(&kho_map_sem);
}

static noinline int kho_map_add_locked(unsigned long pfn, unsigned int order,
				       enum kho_memdesc type)
{
	guard(percpu_read)(&kho_map_sem);
	return __kho_map_add(pfn, order, type);
}

static __always_inline int
__kho_preserve_page_desc(struct page *page, unsigned int order,
			 enum kho_memdesc type)
{
	const unsigned long pfn = page_to_pfn(page);
	int err;

	might_sleep();
	err = __kho_check_page(page, order, type);
	if (unlikely(err))
		return err;
	if (!order && likely(kho_map_add_quick(pfn, type)))
		return 0;
	return kho_map_add_locked(pfn, order, type);
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
	return __kho_preserve_page_desc(page, order, type);
}
EXPORT_SYMBOL_GPL(kho_preserve_page_desc);

static noinline int kho_preserve_large_folio(struct folio *folio)
{
	const unsigned int order = folio_order(folio);
	int err = __kho_check_page(&folio->page, order, KHO_MEMDESC_FOLIO);

	if (unlikely(err))
		return err;

	guard(percpu_read)(&kho_map_sem);
	return __kho_map_add(folio_pfn(folio), order, KHO_MEMDESC_FOLIO);
}

/**
 * kho_folio_preserve - preserve a folio
 * @folio: from folio_alloc(), of any order; or an order 0 page
 *
 * Context: Process context, may sleep.
 * Return: 0, or an error as listed in "Typed kexec handover".
 */
int kho_folio_preserve(struct folio *folio)
{
	/* Most are small: with type and order known this is short. */
	if (folio_test_large(folio))
		return kho_preserve_large_folio(folio);
	return __kho_preserve_page_desc(&folio->page, 0, KHO_MEMDESC_FOLIO);
}
EXPORT_SYMBOL_GPL(kho_folio_preserve);

/* How long a window is locked at most. */
#define KHO_RUN_MAX	256

/*
 * Preserve order 0 memory as long as it is in one window and nothing is wrong.
 * Returns how many were preserved, which can be none.
 */
static __always_inline unsigned long
kho_preserve_run(struct page **pages, unsigned long nr, enum kho_memdesc type)
{
	const unsigned long pfn = page_to_pfn(pages[0]);
	const unsigned long base = ALIGN_DOWN(pfn, KHO_LEAF_BITS);
	struct kho_window *window = kho_find_window(pfn);
	unsigned long i = 0, off = pfn - base;

	if (!window || kho_lock_window(window, kho_key(pfn, 0, type), true))
		return 0;

	nr = min(nr, KHO_RUN_MAX);
	do {
		if (kho_page_unsupported(pages[i], 0) ||
		    kho_page_mismatch(pages[i], 0, type) ||
		    __test_and_set_bit(off, window->busy))
			break;
		__set_bit(off, window->leaf->bitmap);
		if (++i == nr)
			break;
		off = page_to_pfn(pages[i]) - base;
	} while (off < KHO_LEAF_BITS);
	window->nr_preserved += i;
	spin_unlock(&window->lock);
	return i;
}

static unsigned int kho_batch_order(struct page *page, int order)
{
	return order == KHO_ORDER_OF_PAGE ? compound_order(page) : order;
}

static void kho_map_del_batch(struct page **pages, unsigned long nr, int order,
			      enum kho_memdesc type)
{
	for (unsigned long i = 0; i < nr; i++)
		__kho_map_del(page_to_pfn(pages[i]),
			      kho_batch_order(pages[i], order), type);
}

/**
 * kho_preserve_page_descs - preserve several pieces of memory, or none
 * @pages: the first page of each
 * @nr: how many
 * @order: their order, or %KHO_ORDER_OF_PAGE: each is a folio or a compound
 *	page, which knows its own
 * @type: what they are
 *
 * kho_preserve_page_desc() for each, but faster, most so if they are sorted by
 * address.
 *
 * Context: Process context, may sleep.
 * Return: 0, or an error as listed in "Typed kexec handover"; then nothing was
 *	changed.
 */
int kho_preserve_page_descs(struct page **pages, unsigned long nr, int order,
			    enum kho_memdesc type)
{
	unsigned long i = 0, run;
	int err;

	if (unlikely(!kho_out.radix_tree.root))
		return -EOPNOTSUPP;

	guard(percpu_read)(&kho_map_sem);
	while (i < nr) {
		unsigned int o = kho_batch_order(pages[i], order);

		run = 0;
		if (!o && type == KHO_MEMDESC_FOLIO)
			run = kho_preserve_run(pages + i, nr - i,
					       KHO_MEMDESC_FOLIO);
		else if (!o && type == KHO_MEMDESC_SPLIT)
			run = kho_preserve_run(pages + i, nr - i,
					       KHO_MEMDESC_SPLIT);
		if (run) {
			i += run;
			continue;
		}

		/* Not of order 0, first of its window, or to be complained about. */
		err = kho_check_page(pages[i], o, type);
		if (!err)
			err = __kho_map_add(page_to_pfn(pages[i]), o, type);
		if (err) {
			kho_map_del_batch(pages, i, order, type);
			return err;
		}
		i++;
	}
	return 0;
}
EXPORT_SYMBOL_GPL(kho_preserve_page_descs);

/**
 * kho_unpreserve_page_descs - undo kho_preserve_page_descs()
 * @pages: the first page of each
 * @nr: how many
 * @order: as they were preserved
 * @type: as they were preserved
 *
 * Context: Process context, may sleep, but does not allocate.
 */
void kho_unpreserve_page_descs(struct page **pages, unsigned long nr, int order,
			       enum kho_memdesc type)
{
	if (unlikely(!kho_out.radix_tree.root))
		return;

	guard(percpu_read)(&kho_map_sem);
	kho_map_del_batch(pages, nr, order, type);
}
EXPORT_SYMBOL_GPL(kho_unpreserve_page_descs);

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
	might_sleep();
	if (unlikely(!kho_out.radix_tree.root))
		return;
	if (!order && likely(kho_map_del_quick(page_to_pfn(page), type)))
		return;

	guard(percpu_read)(&kho_map_sem);
	__kho_map_del(page_to_pfn(page), order, type);
}
EXPORT_SYMBOL_GPL(kho_unpreserve_page_desc);

/*
 * deferred_init_block() is __init, but is called only until deferred_pages is
 * disabled, which is long before __init memory is freed.
 */
static noinline int __ref kho_init_deferred(unsigned long pfn,
					    unsigned int order)
{
	int err = 0;

	for (unsigned long i = 0; !err && i < 1UL << order;
	     i += MAX_ORDER_NR_PAGES)
		err = deferred_init_block(pfn + i);
	return err;
}

/*
 * pfn_to_online_page(), which is given anything here, but mostly memory from a
 * handover. That was there at boot, and all of a section's memory map with it:
 * while the section is online there is nothing else to look at.
 */
static __always_inline bool kho_pfn_online(unsigned long pfn)
{
#if defined(CONFIG_SPARSEMEM) && !defined(CONFIG_HAVE_ARCH_PFN_VALID)
	const struct mem_section *ms = __pfn_to_section(pfn);

	if (likely(online_section(ms) && early_section(ms) &&
		   !online_device_section(ms)))
		return true;
#endif
	return pfn_to_online_page(pfn);
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

/* Out of line: what only a refusal needs costs each restore six instructions. */
static noinline int kho_refuse_claim(int err, phys_addr_t phys,
				     union kho_page_info info,
				     enum kho_memdesc want, const char *why)
{
	if (info.magic == KHO_PAGE_POISONED) {
		err = -EHWPOISON;
		why = "memory with a hardware error";
	} else if (kho_is_kept(phys)) {
		err = -EOPNOTSUPP;
		why = "this kernel does not understand how it is preserved";
	}
	return kho_refuse(err, "restore", phys, info.order, want, why);
}

/* With @for_good nothing is left of the stamp: it cannot be given back. */
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
	if (unlikely(info->magic != KHO_PAGE_MAGIC))
		goto refuse;

	err = -EINVAL;
	if (unlikely(info->type != want && !(types & BIT(info->type)))) {
		why = kho_memdesc_name(info->type);
		goto refuse;
	}
	/* The page allocator has no larger blocks, only rows of them. */
	why = "too large";
	if (info->order > MAX_PAGE_ORDER && want != KHO_MEMDESC_SPLIT)
		goto refuse;

	if (info->order > MAX_PAGE_ORDER) {
		if (deferred_pages_enabled() &&
		    kho_init_deferred(PHYS_PFN(phys), info->order))
			return -ENOMEM;
		/* The stamp is too far from the page to know of its error. */
		err = -EHWPOISON;
		why = "memory with a hardware error";
		if (kho_any_poisoned(page, info->order))
			goto refuse;
	}

	err = -ENOENT;
	why = "already restored";
	claimed = *info;
	claimed.magic = KHO_PAGE_CLAIMED;
	if (for_good)
		claimed.page_private = 0;
	if (cmpxchg(&page->private, info->page_private,
		    claimed.page_private) != info->page_private)
		goto refuse;
	*pagep = page;
	return 0;

refuse:
	/* It is never 0, which the compiler cannot see. */
	return kho_refuse_claim(err, phys, *info, want, why) ?: -EINVAL;
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

/**
 * kho_check_stamp - is this preserved, and not yet restored
 * @phys: physical address of the memory
 * @order: log2 of the number of pages
 * @type: what it has to be preserved as
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
	return info.magic == KHO_PAGE_MAGIC ? 0 : -ENOENT;
}

/**
 * kho_page_has_error - memory has a hardware error, restored or not
 * @pfn: page frame number of the page, which is marked as poisoned
 *
 * Whatever the page lies in and is not restored yet cannot be restored any more.
 * It stays where it is: nobody uses it, and the page allocator never gets it.
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
		/* Who has claimed it in the meantime has it. */
		cmpxchg(&page->private, info.page_private,
			poisoned.page_private);
		return;
	}
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

static __always_inline void
__kho_prep_claimed(struct page *page, enum kho_memdesc type, unsigned int order,
		   bool prepared)
{
	if (unlikely(!prepared))
		kho_prep_pages(page, order, type);
	if (kho_type_frozen(type))
		set_page_count(page, 0);
	else if (kho_page_type(type))
		page->page_type = kho_page_type(type) << 24;
}

/**
 * kho_prep_pages - set what allocation sets in all pages but the first
 * @page: the first page
 * @order: the order
 * @type: what it is, not %KHO_MEMDESC_UNTYPED
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

	for (unsigned long i = 1; i < 1UL << order; i++)
		set_page_count(page + i, 0);
	if (type == KHO_MEMDESC_FOLIO || type == KHO_MEMDESC_COMPOUND ||
	    kho_page_type(type))
		prep_compound_page(page, order);
	if (type == KHO_MEMDESC_FOLIO)
		folio_set_large_rmappable(page_folio(page));
}

/**
 * kho_prep_claimed - put the pages that kho_claim() has claimed into their state
 * @page: the first page
 * @type: what they are
 * @order: as it was preserved
 *
 * Sets what the allocation had set in the pages themselves, as far as that was
 * not done at boot; what else a slab is made of is slab_adopt()'s.
 *
 * kho_account_claimed() must follow, unless what the type needs beyond that
 * cannot be had: with the page type and the claim, which is the private field,
 * put back this can be done again.
 */
void kho_prep_claimed(struct page *page, enum kho_memdesc type,
		      unsigned int order)
{
	const union kho_page_info info = { .page_private = page->private };

	set_page_private(page, 0);
	__kho_prep_claimed(page, type, order, info.prepared);
}

/*
 * Watermarks and reserves were derived at boot from the memory that there was
 * without what is restored. As memory hotplug does, derive them anew.
 */
static void kho_reserves_work_fn(struct work_struct *work)
{
	init_per_zone_wmark_min();
}

static DECLARE_DELAYED_WORK(kho_reserves_work, kho_reserves_work_fn);

static noinline void kho_schedule_reserves(void)
{
	/* Before there are workqueues: init_per_zone_wmark_min() is to come. */
	if (system_state >= SYSTEM_SCHEDULING)
		schedule_delayed_work(&kho_reserves_work, HZ / 10);
}

/*
 * adjust_managed_page_count() for each restored page would derive the reserves
 * of all zones each time. Do that once for many, soon: who restores much does so
 * for longer than the delay.
 */
static __always_inline void kho_add_managed(struct page *page,
					    unsigned long nr_pages)
{
	atomic_long_add(nr_pages, &page_zone(page)->managed_pages);
	totalram_pages_add(nr_pages);
	/*
	 * Pairs with the barrier by which the work is not pending any more
	 * before it runs: it is seen to be, or it sees the pages added here.
	 */
	smp_mb__after_atomic();
	if (unlikely(!delayed_work_pending(&kho_reserves_work)))
		kho_schedule_reserves();
}

/* Nodes can be others than in the kernel that preserved the pages. */
static noinline void kho_account_split(struct page *page, unsigned long nr_pages)
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

static __always_inline void
__kho_account_claimed(struct page *page, enum kho_memdesc type, unsigned int order)
{
	if (type == KHO_MEMDESC_SPLIT && order) {
		kho_account_split(page, 1UL << order);
	} else {
		kho_add_managed(page, 1UL << order);
		post_restore_hook(page, order);
	}
	/*
	 * The hooks do not expect slabs. The type of IOMMU page tables comes
	 * with the descriptor, which the caller attaches.
	 */
	if (kho_type_frozen(type) && type != KHO_MEMDESC_IOPTDESC)
		page->page_type = kho_page_type(type) << 24;
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
	__kho_account_claimed(page, type, order);
}

static __always_inline void
__kho_init_claimed(struct page *page, enum kho_memdesc untyped_as)
{
	const union kho_page_info info = { .page_private = page->private };
	enum kho_memdesc type = info.type;

	if (type == KHO_MEMDESC_UNTYPED)
		type = untyped_as;
	set_page_private(page, 0);
	__kho_prep_claimed(page, type, info.order, info.prepared);
	__kho_account_claimed(page, type, info.order);
}

/**
 * kho_init_claimed - restore what kho_claim() has claimed
 * @page: the first page
 * @untyped_as: what it is if its type was not recorded
 */
void kho_init_claimed(struct page *page, enum kho_memdesc untyped_as)
{
	__kho_init_claimed(page, untyped_as);
}

/**
 * kho_restore - restore one preservation
 * @phys: physical address of the memory
 * @types: bit mask of the types to accept
 * @untyped_as: what it is if its type was not recorded
 *
 * Context: As kho_claim().
 * Return: As kho_claim().
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
 * kho_folio_restore - restore a folio
 * @phys: physical address of the folio
 *
 * The folio is as folio_alloc() returns it, with the contents that it had: one
 * reference, large folios rmappable, no mapping, not charged to a memcg. Free
 * it with folio_put().
 *
 * Context: Process context, may sleep, any time after the page allocator is up.
 * Return: the folio, or ERR_PTR(-EINVAL) if it is no folio that is preserved
 *	there, ERR_PTR(-ENOENT) if nothing is, ERR_PTR(-EHWPOISON) if the folio
 *	has a hardware error, or early in the boot ERR_PTR(-ENOMEM).
 */
struct folio *kho_folio_restore_noprof(phys_addr_t phys)
{
	union kho_page_info info;
	struct page *page;
	int err;

	/* As kho_restore(), which is longer without the type known. */
	err = __kho_claim(phys, KHO_FOLIO_TYPES, &info, &page, true);
	if (unlikely(err))
		return ERR_PTR(err);
	__kho_prep_claimed(page, KHO_MEMDESC_FOLIO, info.order, info.prepared);
	__kho_account_claimed(page, KHO_MEMDESC_FOLIO, info.order);
	return (struct folio *)page;
}
EXPORT_SYMBOL_GPL(kho_folio_restore_noprof);

/**
 * kho_restore_batch - restore several preservations, or none
 * @phys: physical address of each
 * @nr: how many
 * @types: bit mask of the types to accept
 * @untyped_as: what they are if their type was not recorded
 * @pages: set to the first page of each; garbage after an error
 *
 * Context: As kho_claim().
 * Return: 0, or an error of kho_claim(); then nothing was restored.
 */
int kho_restore_batch(const phys_addr_t *phys, unsigned long nr,
		      unsigned long types, enum kho_memdesc untyped_as,
		      struct page **pages)
{
	union kho_page_info info;

	for (unsigned long i = 0; i < nr; i++) {
		int err = __kho_claim(phys[i], types, &info, &pages[i], false);

		if (err) {
			while (i--)
				kho_unclaim(pages[i]);
			return err;
		}
	}

	for (unsigned long i = 0; i < nr; i++)
		__kho_init_claimed(pages[i], untyped_as);
	return 0;
}
