// SPDX-License-Identifier: GPL-2.0
/*
 * Small per-CPU lists keep freed memory descriptors with their pages attached,
 * and hand them out again. This saves a call of the page allocator and, if the
 * descriptor is an allocation of its own, a call of the slab allocator.
 *
 * Held pages, those of the descriptors on the lists, are free memory that can
 * be reclaimed at any time. They look like pages on the page allocator's
 * per-CPU lists: refcount 0, no page type, not in the buddy allocator. Larger
 * ones stay compound. So a lookup does not find the former type, and memory failure
 * and readers of page flags see a page that they must leave alone.
 *
 * See Documentation/mm/memdesc.rst.
 */
#include <linux/atomic.h>
#include <linux/bug.h>
#include <linux/cpuset.h>
#include <linux/export.h>
#include <linux/folio_batch.h>
#include <linux/ioptdesc.h>
#include <linux/jump_label.h>
#include <linux/memcontrol.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/sched/mm.h>
#include <linux/spinlock.h>
#include <linux/vmstat.h>
#include "internal.h"
#include "memdesc.h"
#include "memdesc_cache.h"

const enum memdesc_type memdesc_cached_types[NR_CACHED_TYPES] = {
	[CACHED_PTDESC]		= MEMDESC_PTDESC,
	[CACHED_IOPTDESC]	= MEMDESC_IOPTDESC,
};

/* cma_alloc() drains the lists even before memdesc_cache_init(). */
DEFINE_PER_CPU(struct memdesc_cache, memdesc_cache) = {
	.stack[0 ... NR_CACHED_TYPES - 1][0 ... MEMDESC_CACHE_ORDERS - 1] = {
		.lock		= __SPIN_LOCK_UNLOCKED(memdesc_cache.stack.lock),
		.nid		= NUMA_NO_NODE,
		.zone_id	= -1,
	},
};

DEFINE_STATIC_KEY_FALSE(memdesc_cache_key);

/* How many tasks are about to isolate the first pageblock of a range. */
atomic_t memdesc_cache_paused;

static __always_inline struct memdesc_stack *
memdesc_stack(enum memdesc_type type, unsigned int order)
{
	switch (type) {
	case MEMDESC_PTDESC:
		return raw_cpu_ptr(&memdesc_cache.stack[CACHED_PTDESC][order]);
	case MEMDESC_IOPTDESC:
		return raw_cpu_ptr(&memdesc_cache.stack[CACHED_IOPTDESC][order]);
	default:
		BUILD_BUG();
		return NULL;
	}
}

/*
 * Add @nr_pages to the number of held pages. Called with the lock held. The
 * owner of the memory counts the pages that are in use.
 */
static __always_inline void memdesc_count(struct memdesc_stack *stack,
					  int nr_pages)
{
	const enum node_stat_item item = NR_KERNEL_MISC_RECLAIMABLE;

	if (!try_mod_node_stat(stack->stat, item, nr_pages))
		mod_node_page_state(stack->zone->zone_pgdat, item, nr_pages);
}

static __always_inline struct page *memdesc_first_page(void *desc,
						       enum memdesc_type type)
{
	return memdesc_table[type].own ? ((struct memdesc_own *)desc)->page :
					 (struct page *)desc;
}

/*
 * Is memory of the zone isolated, to be removed or to be allocated as a range?
 * Called with a list's lock held.
 *
 * Not called for each allocation and free. Isolation drains the lists first,
 * which clears the zone of each list, and a list calls this function before it
 * sets a zone again. So while a list has a zone, nothing of that zone is
 * isolated but CMA areas, which have no page tables, and the list may hand out
 * the memory that it holds.
 */
static bool memdesc_zone_isolated(struct zone *zone)
{
#ifdef CONFIG_MEMORY_ISOLATION
	/* Pairs with the release in memdesc_cache_resume(). */
	if (atomic_read_acquire(&memdesc_cache_paused))
		return true;
	return READ_ONCE(zone->nr_isolate_pageblock);
#else
	return false;
#endif
}

/*
 * Give descriptors that were taken off a list back: their pages to the page
 * allocator, and those that are allocations of their own to the slab allocator.
 * Each of the two gets the whole batch in one call.
 */
void memdesc_release(void **desc, unsigned int nr, enum memdesc_type type)
{
	struct folio_batch pages;

	BUILD_BUG_ON(MEMDESC_CACHE_BATCH > FOLIO_BATCH_SIZE);
	if (!nr)
		return;

	folio_batch_init(&pages);
	for (unsigned int i = 0; i < nr; i++) {
		struct page *page = memdesc_first_page(desc[i], type);

		if (memdesc_table[type].own)
			/* As in memdesc_detach(), after the page type. */
			smp_store_release(&page->private, 0);
		folio_batch_add(&pages, (struct folio *)page);
	}
	if (memdesc_table[type].own)
		memdesc_free_own_bulk(desc, nr, type);
	free_unref_folios(&pages);
}

#ifdef CONFIG_MEMORY_FAILURE
static __always_inline bool memdesc_poisoned(struct page *page,
					     unsigned int order)
{
	for (unsigned int i = 0; i < 1U << order; i++)
		if (unlikely(PageHWPoison(page + i)))
			return true;
	return false;
}
#else
static inline bool memdesc_poisoned(struct page *page, unsigned int order)
{
	return false;
}
#endif

/*
 * Take the @nr descriptors that were put on the list first: they are the least
 * likely to be in the CPU's cache. Called with the lock held.
 */
void memdesc_take_cold(struct memdesc_stack *stack, void **batch,
		       unsigned int nr, unsigned int order)
{
	if (!nr)
		return;
	memcpy(batch, stack->desc, nr * sizeof(*batch));
	stack->nr -= nr;
	memmove(stack->desc, stack->desc + nr, stack->nr * sizeof(*batch));
	memdesc_count(stack, -(int)(nr << order));
}

/* @desc must be off the list. If the charge fails, it is freed. */
static noinline bool memdesc_charge(void *desc, gfp_t gfp, unsigned int order,
				    enum memdesc_type type)
{
	gfp = current_gfp_context(gfp & gfp_allowed_mask);
	if (!memcg_kmem_charge_page(memdesc_first_page(desc, type), gfp, order))
		return true;
	memdesc_release(&desc, 1, type);
	return false;
}

/* Call with a constant type. */
static __always_inline void *memdesc_cache_get(gfp_t gfp, unsigned int order,
					       int nid, enum memdesc_type type)
{
	struct memdesc_stack *stack;
	void *desc;

	if (!static_branch_likely(&memdesc_cache_key))
		return NULL;
	/* Complain of a wrong context even if a list makes it harmless now. */
	might_alloc(gfp);
	/*
	 * Leave these to the allocators: requests for another zone, and
	 * everything while allocations are profiled, because the pages still
	 * carry the tag of their first user.
	 */
	if (unlikely(order >= MEMDESC_CACHE_ORDERS || gfp & GFP_ZONEMASK) ||
	    mem_alloc_profiling_enabled())
		return NULL;

	stack = memdesc_stack(type, order);
	if (unlikely(!spin_trylock(&stack->lock)))
		return NULL;
	if (unlikely(!stack->nr || stack->nid != nid) ||
	    !cpuset_zone_allowed(stack->zone, gfp | __GFP_HARDWALL)) {
		stack->misses++;
		spin_unlock(&stack->lock);
		return NULL;
	}
	stack->hits++;
	desc = stack->desc[--stack->nr];
	if (unlikely(memdesc_poisoned(memdesc_first_page(desc, type), order))) {
		memdesc_count(stack, -stack->nr_pages);
		spin_unlock(&stack->lock);
		/* The page allocator takes care of a poisoned page. */
		memdesc_release(&desc, 1, type);
		return NULL;
	}
	memdesc_count(stack, -stack->nr_pages);
	spin_unlock(&stack->lock);

	/*
	 * Clear the pages here and not when they are freed: they may never be
	 * used again, or the next user may not need zeroes. Clearing here also
	 * brings them into the cache of the CPU that is going to use them.
	 */
	if (want_init_on_alloc(gfp) || want_init_on_free())
		clear_pages(page_address(memdesc_first_page(desc, type)),
			    stack->nr_pages);

	return desc;
}

/* Do most of the CPU's allocations come from @zone? Hold no other memory. */
static bool memdesc_zone_preferred(unsigned int cpu, struct zone *zone)
{
	const int nid = zone_to_nid(zone);
	struct zoneref *z;

	/* @cpu is the CPU of the list; the task may run on another one now. */
	if (nid != cpu_to_mem(cpu))
		return false;
	z = first_zones_zonelist(node_zonelist(nid, GFP_KERNEL),
				 gfp_zone(GFP_KERNEL), NULL);
	return zonelist_zone(z) == zone;
}

/* Let the list hold memory of @zone, if allowed. Called with the lock held. */
static bool memdesc_stack_set_zone(struct memdesc_stack *stack,
				   struct zone *zone, int zone_id)
{
	if (stack->zone != zone) {
		if (stack->nr || !memdesc_zone_preferred(stack->cpu, zone) ||
		    memdesc_zone_isolated(zone))
			return false;
		stack->zone = zone;
		stack->stat = zone->zone_pgdat->per_cpu_nodestats;
		stack->nid = zone_to_nid(zone);
	}
	/*
	 * The id changes even if the zone does not: if page flags have no node,
	 * pages of one zone can have several ids.
	 */
	stack->zone_id = zone_id;
	return true;
}

static __always_inline bool memdesc_cache_push(struct memdesc_stack *stack,
					       void *desc, struct page *page,
					       enum memdesc_type type)
{
	/*
	 * Not if somebody else has a reference, too, and may use the page until
	 * that reference is dropped.
	 */
	if (!memdesc_table[type].frozen && unlikely(!page_ref_freeze(page, 1)))
		return false;
	if (memdesc_table[type].own)
		__memdesc_clear_type(page, type);

	stack->desc[stack->nr++] = desc;
	memdesc_count(stack, stack->nr_pages);
	return true;
}

/*
 * Put @desc on a list that is full, or that has no zone yet, or that was last used
 * for another page_zone_id(). A full list first gives back the quarter that was put
 * on it first. Called with the lock held, drops it.
 */
static noinline bool memdesc_cache_put_slow(struct memdesc_stack *stack,
					    void *desc, struct page *page,
					    unsigned int order,
					    enum memdesc_type type)
{
	void *batch[MEMDESC_CACHE_BATCH];
	unsigned int nr = 0;
	bool held = false;

	/* stack->max is 0 if the CPU of the list has just gone offline. */
	if (!stack->max || !memdesc_stack_set_zone(stack, page_zone(page),
						   page_zone_id(page)))
		goto unlock;

	if (stack->nr >= stack->max) {
		nr = min(MEMDESC_CACHE_BATCH, (stack->max + 3U) / 4);
		memdesc_take_cold(stack, batch, nr, order);
	}
	held = memdesc_cache_push(stack, desc, page, type);
unlock:
	spin_unlock(&stack->lock);
	memdesc_release(batch, nr, type);
	return held;
}

static __always_inline bool memdesc_stack_put(struct memdesc_stack *stack,
					      void *desc, struct page *page,
					      unsigned int order,
					      enum memdesc_type type)
{
	bool held;

	/* 0 if the CPU is offline, pages are large, or memory is small. */
	if (unlikely(!READ_ONCE(stack->max)))
		return false;
	if (unlikely(!spin_trylock(&stack->lock)))
		return false;

	if (unlikely(stack->nr >= stack->max ||
		     stack->zone_id != page_zone_id(page)))
		return memdesc_cache_put_slow(stack, desc, page, order, type);

	held = memdesc_cache_push(stack, desc, page, type);
	spin_unlock(&stack->lock);
	return held;
}

/* Call with a constant type. */
static __always_inline bool memdesc_cache_put(void *desc, struct page *page,
					      unsigned int order,
					      enum memdesc_type type)
{
	if (!static_branch_likely(&memdesc_cache_key))
		return false;
	/* The page allocator has to clear, report or act upon these flags. */
	if (unlikely(order >= MEMDESC_CACHE_ORDERS ||
		     page->flags.f & PAGEFLAGS_MASK & ~(1UL << PG_head)) ||
	    mem_alloc_profiling_enabled())
		return false;

	return memdesc_stack_put(memdesc_stack(type, order), desc, page, order,
				 type);
}

static noinline struct ioptdesc *memdesc_alloc_new_ioptdesc(gfp_t gfp,
							    unsigned int order,
							    int nid)
{
	return __memdesc_alloc_node_noprof(gfp, order, nid,
					   sizeof(struct ioptdesc),
					   MEMDESC_IOPTDESC);
}

/**
 * memdesc_cache_alloc_ioptdesc - Take an IOMMU page table from the lists, or a
 *                                new one
 * @gfp: as for memdesc_alloc_node()
 * @order: log2 of the number of pages
 * @nid: as for memdesc_alloc_node(); the lists have nothing for NUMA_NO_NODE
 *
 * Descriptor and pages are in the state in which memdesc_alloc_node() returns
 * them. If the charge of the pages fails, the allocation fails: new pages would
 * need the same charge.
 *
 * Context: Any context that @gfp allows, but NMI.
 * Return: The descriptor, or NULL when there is no memory.
 */
struct ioptdesc *memdesc_cache_alloc_ioptdesc_noprof(gfp_t gfp,
						     unsigned int order,
						     int nid)
{
	const size_t head = offsetofend(struct memdesc_own, order);
	struct ioptdesc *iopt;

	iopt = memdesc_cache_get(gfp, order, nid, MEMDESC_IOPTDESC);
	if (unlikely(!iopt))
		return memdesc_alloc_new_ioptdesc(gfp, order, nid);

	if (gfp & __GFP_ACCOUNT && memcg_kmem_online() &&
	    !memdesc_charge(iopt, gfp, order, MEMDESC_IOPTDESC))
		return NULL;

	memset((void *)iopt + head, 0, sizeof(*iopt) - head);
	/*
	 * private still points to the descriptor. Sets the type after it, for
	 * the loads in page_memdesc().
	 */
	smp_store_release(&iopt->page->page_type,
			  page_type_encode(PGTY_ioptable));
	return iopt;
}
EXPORT_SYMBOL_GPL(memdesc_cache_alloc_ioptdesc_noprof);

/**
 * memdesc_cache_put_ioptdesc - Put an IOMMU page table that is freed on a list
 * @iopt: the descriptor
 *
 * A memcg charge of the pages is undone in any case.
 *
 * Context: Any context but NMI.
 * Return: true if a list has taken it, now or before; else the caller frees it.
 */
bool memdesc_cache_put_ioptdesc(struct ioptdesc *iopt)
{
	/* Freed twice: if a list took it twice, two owners would get it. */
	if (WARN_ON_ONCE(!PageIOPT(iopt->page)))
		return true;
	/* If no list takes it, it is freed anyway: uncharging now is right. */
	if (memcg_kmem_online() && PageMemcgKmem(iopt->page))
		__memcg_kmem_uncharge_page(iopt->page, iopt->order);
	return memdesc_cache_put(iopt, iopt->page, iopt->order,
				 MEMDESC_IOPTDESC);
}

/**
 * memdesc_cache_free_ioptdesc - Put an IOMMU page table on a list, or free it
 * @iopt: the descriptor
 *
 * Context: Any context but NMI.
 */
void memdesc_cache_free_ioptdesc(struct ioptdesc *iopt)
{
	if (!memdesc_cache_put_ioptdesc(iopt))
		__memdesc_free(iopt, MEMDESC_IOPTDESC);
}
EXPORT_SYMBOL_GPL(memdesc_cache_free_ioptdesc);

#ifdef CONFIG_MEMDESC_PTDESC
static noinline struct ptdesc *memdesc_alloc_new_ptdesc(gfp_t gfp,
							unsigned int order)
{
	return __memdesc_alloc_node_noprof(gfp, order, NUMA_NO_NODE,
					   sizeof(struct ptdesc),
					   MEMDESC_PTDESC);
}

static __always_inline void memdesc_reuse_ptdesc(struct ptdesc *pt)
{
	const size_t head = offsetofend(struct memdesc_own, order);

	memset((void *)pt + head, 0, sizeof(*pt) - head);
	/*
	 * private still points to the descriptor. Sets the type after it, for
	 * the loads in page_memdesc().
	 */
	smp_store_release(&pt->page->page_type, page_type_encode(PGTY_table));
}
#else
static noinline struct ptdesc *memdesc_alloc_new_ptdesc(gfp_t gfp,
							unsigned int order)
{
	struct page *page = memdesc_alloc_pages_noprof(gfp, order, NUMA_NO_NODE,
						       MEMDESC_PTDESC);

	return page_ptdesc(page);
}

static __always_inline void memdesc_reuse_ptdesc(struct ptdesc *pt)
{
	struct page *page = ptdesc_page(pt);

	set_page_private(page, 0);
	page->page_type = page_type_encode(PGTY_table);
	/* Last, so that a new reference only finds a complete page table. */
	page_ref_unfreeze(page, 1);
}
#endif

/**
 * memdesc_cache_alloc_ptdesc - Take a page table from the lists, or a new one
 * @gfp: as for alloc_page_desc()
 * @order: log2 of the number of pages
 *
 * The page table is in the state in which alloc_page_desc() returns it, and
 * charged if @gfp has __GFP_ACCOUNT. If the charge fails, the allocation fails:
 * new pages would need the same charge.
 *
 * Context: Any context that @gfp allows.
 * Return: The descriptor, or NULL when there is no memory.
 */
struct ptdesc *memdesc_cache_alloc_ptdesc_noprof(gfp_t gfp, unsigned int order)
{
	struct ptdesc *pt;

#ifdef CONFIG_NUMA
	/* The memory policy may ask for another node than this one. */
	if (unlikely(current->mempolicy))
		return memdesc_alloc_new_ptdesc(gfp, order);
#endif
	pt = memdesc_cache_get(gfp, order, numa_mem_id(), MEMDESC_PTDESC);
	if (unlikely(!pt))
		return memdesc_alloc_new_ptdesc(gfp, order);

	if (gfp & __GFP_ACCOUNT && memcg_kmem_online() &&
	    !memdesc_charge(pt, gfp, order, MEMDESC_PTDESC))
		return NULL;

	memdesc_reuse_ptdesc(pt);
	return pt;
}
EXPORT_SYMBOL(memdesc_cache_alloc_ptdesc_noprof);

/**
 * memdesc_cache_put_ptdesc - Put a page table that is being freed on a list
 * @pt: the descriptor, no longer constructed; if it overlays struct page, without
 *      a page type
 *
 * If the caller's reference is the only one, a list may take the page table and
 * that reference. A memcg charge of the page table is undone in any case.
 *
 * Context: Any context but NMI.
 * Return: true if a list has taken it, now or, with CONFIG_MEMDESC_PTDESC,
 * before; else the caller frees it.
 */
bool memdesc_cache_put_ptdesc(struct ptdesc *pt)
{
	struct page *page = ptdesc_page(pt);
	const unsigned int order = compound_order(page);

	/* Freed twice: if a list took it twice, two owners would get it. */
	if (IS_ENABLED(CONFIG_MEMDESC_PTDESC) && WARN_ON_ONCE(!PageTable(page)))
		return true;
	/* If no list takes it, it is freed anyway: uncharging now is right. */
	if (memcg_kmem_online() && PageMemcgKmem(page))
		__memcg_kmem_uncharge_page(page, order);
	return memdesc_cache_put(pt, page, order, MEMDESC_PTDESC);
}
EXPORT_SYMBOL(memdesc_cache_put_ptdesc);

#if IS_ENABLED(CONFIG_MEMDESC_CACHE_KUNIT_TEST)
/**
 * memdesc_cache_put_migrated - Put a page table on the list of another CPU
 * @pt: the descriptor, as for memdesc_cache_put_ptdesc()
 * @cpu: the CPU of the list
 *
 * For tests. Does what memdesc_cache_put_ptdesc() does if the task is migrated
 * away from @cpu before it takes the lock of the list.
 *
 * Context: Process context.
 * Return: true if the list has taken the page table.
 */
bool memdesc_cache_put_migrated(struct ptdesc *pt, unsigned int cpu)
{
	struct page *page = ptdesc_page(pt);
	const unsigned int order = compound_order(page);
	struct memdesc_cache *cache = per_cpu_ptr(&memdesc_cache, cpu);

	return memdesc_stack_put(&cache->stack[CACHED_PTDESC][order], pt, page,
				 order, MEMDESC_PTDESC);
}
#endif
