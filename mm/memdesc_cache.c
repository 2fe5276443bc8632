// SPDX-License-Identifier: GPL-2.0
/*
 * Freed memory descriptors are kept with their pages attached, on small lists
 * of each CPU, and handed out again at once. Neither the page allocator nor, for
 * a descriptor of its own, the slab allocator is asked.
 *
 * What is held is free memory that can be had back at any time. Its pages look
 * like those on the page allocator's own per-CPU lists: refcount 0, no page
 * type, not in the buddy allocator; those of more than one page stay compound.
 * So a lookup does not take them for what they were, memory failure and page
 * flags readers see nothing that they could do anything about, and a handover
 * refuses them.
 *
 * See Documentation/mm/memdesc.rst.
 */
#include <linux/atomic.h>
#include <linux/bug.h>
#include <linux/cleanup.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/cpuset.h>
#include <linux/debugfs.h>
#include <linux/export.h>
#include <linux/ioptdesc.h>
#include <linux/jump_label.h>
#include <linux/kstrtox.h>
#include <linux/memcontrol.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/page_owner.h>
#include <linux/page_table_check.h>
#include <linux/percpu.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/shrinker.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/vmstat.h>
#include "internal.h"
#include "memdesc.h"
#include "mm_init.h"

#define MEMDESC_CACHE_ORDERS	4

/*
 * How many descriptors of a type and order a CPU may hold. The bound is one of
 * bytes: with large pages a list holds few, or is not used at all.
 */
enum {
	MEMDESC_DEPTH_0 = SZ_256K / PAGE_SIZE,
	MEMDESC_DEPTH_1 = SZ_128K / (PAGE_SIZE << 1),
	MEMDESC_DEPTH_2 = SZ_128K / (PAGE_SIZE << 2),
	MEMDESC_DEPTH_3 = SZ_128K / (PAGE_SIZE << 3),
	MEMDESC_CACHE_SLOTS = MEMDESC_DEPTH_0 + MEMDESC_DEPTH_1 +
			      MEMDESC_DEPTH_2 + MEMDESC_DEPTH_3,
};

static const unsigned short memdesc_depth[MEMDESC_CACHE_ORDERS] = {
	MEMDESC_DEPTH_0,
	MEMDESC_DEPTH_1,
	MEMDESC_DEPTH_2,
	MEMDESC_DEPTH_3,
};

/* The types that take part, as indices of the arrays of lists. */
enum {
	CACHED_PTDESC,
	CACHED_IOPTDESC,
	NR_CACHED_TYPES
};

static const enum memdesc_type cached_types[NR_CACHED_TYPES] = {
	[CACHED_PTDESC]		= MEMDESC_PTDESC,
	[CACHED_IOPTDESC]	= MEMDESC_IOPTDESC,
};

/* This many are given back together. */
#define MEMDESC_CACHE_BATCH	16U
/* All lists together hold at most one page in so many pages of memory. */
#define MEMDESC_CACHE_SHARE	256

/*
 * A list of one type and order. What it holds is from one zone, the first choice
 * of its CPU's node. The lock is only ever tried for, but to drain: an interrupt
 * in the middle of it, or a drain from another CPU, sends the caller to the page
 * allocator. That way it needs no disabled interrupts, and the lists no work on
 * their CPU to be drained.
 *
 * It is an ordinary lock of the list found by raw_cpu_ptr(), so a task may be
 * migrated before it has it. Then it uses another CPU's list, which is correct,
 * but must not make that list hold memory of the task's node.
 */
struct memdesc_stack {
	spinlock_t lock;	/* for all that follows */
	unsigned short nr;
	unsigned short max;	/* also read without the lock */
	int nid;
	int nr_pages;		/* of each, does not change */
	int zone_id;		/* page_zone_id() of a page of the zone, or -1 */
	unsigned int cpu;	/* does not change */
	struct zone *zone;	/* NULL if nothing may be held, see below */
	struct per_cpu_nodestat __percpu *stat;
	unsigned long hits;
	unsigned long misses;
	void **desc;
};

struct memdesc_cache {
	struct memdesc_stack stack[NR_CACHED_TYPES][MEMDESC_CACHE_ORDERS];
	void *slots[NR_CACHED_TYPES][MEMDESC_CACHE_SLOTS];
};

/* cma_alloc() drains the lists even before memdesc_cache_init(). */
static DEFINE_PER_CPU(struct memdesc_cache, memdesc_cache) = {
	.stack[0 ... NR_CACHED_TYPES - 1][0 ... MEMDESC_CACHE_ORDERS - 1] = {
		.lock		= __SPIN_LOCK_UNLOCKED(memdesc_cache.stack.lock),
		.nid		= NUMA_NO_NODE,
		.zone_id	= -1,
	},
};

/* The CPUs among which the share of memory is divided: those that are online. */
static struct cpumask memdesc_cache_cpus;

/* How many are about to isolate the first pageblock of a range. */
static atomic_t memdesc_cache_paused;

static DEFINE_STATIC_KEY_FALSE(memdesc_cache_key);

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

static __always_inline void
memdesc_mod_state(struct memdesc_stack *stack, enum node_stat_item item,
		  int delta, struct per_cpu_nodestat __percpu *stat,
		  int threshold)
{
	s8 old = this_cpu_read(stat->vm_node_stat_diff[item]);
	const int new = old + delta;

	/* abs(new) <= threshold, but in one comparison. */
	if (likely((unsigned int)(new + threshold) <= 2 * threshold) &&
	    likely(this_cpu_try_cmpxchg(stat->vm_node_stat_diff[item], &old,
					(s8)new)))
		return;
	mod_node_page_state(stack->zone->zone_pgdat, item, delta);
}

/*
 * Count so many pages more as held. With @owner, as many less as used in the
 * sense of their owner; for page tables he does that, and not before a
 * constructor.
 *
 * Called with the lock held. The same as mod_node_page_state() for each, but
 * without a call while the CPU's part of the counter stays small: with that,
 * counting is most of what the lists cost.
 */
static __always_inline void memdesc_count(struct memdesc_stack *stack,
					  enum memdesc_type type, int held,
					  bool owner)
{
	struct per_cpu_nodestat __percpu *stat = stack->stat;
	const int threshold = this_cpu_read(stat->stat_threshold);

	memdesc_mod_state(stack, NR_KERNEL_MISC_RECLAIMABLE, held, stat,
			  threshold);
	if (type != MEMDESC_IOPTDESC || !owner)
		return;
#ifdef CONFIG_IOMMU_SUPPORT
	memdesc_mod_state(stack, NR_IOMMU_PAGES, -held, stat, threshold);
#endif
	memdesc_mod_state(stack, NR_SECONDARY_PAGETABLE, -held, stat, threshold);
}

static __always_inline struct page *memdesc_first_page(void *desc,
						       enum memdesc_type type)
{
	return memdesc_table[type].own ? ((struct memdesc_own *)desc)->page :
					 (struct page *)desc;
}

/*
 * Memory of the zone is being removed, or allocated as a range. Called with a
 * list's lock held.
 *
 * Not asked for each allocation and free: whoever isolates memory first drains
 * the lists, which makes each of them forget its zone, and a list must come here
 * before it has a zone again. So a list that has one is of a zone of which
 * nothing is isolated, and what it holds can be handed out.
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

/* Frees what was held. */
static void memdesc_release(void **desc, unsigned int nr, unsigned int order,
			    enum memdesc_type type)
{
	for (unsigned int i = 0; i < nr; i++) {
		struct page *page = memdesc_first_page(desc[i], type);

		if (memdesc_table[type].own) {
			/* As in memdesc_free_frozen(); the type is cleared. */
			smp_store_release(&page->private, 0);
			memdesc_free_own(desc[i], type);
		}
		free_frozen_pages(page, order);
	}
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
 * Takes the @nr that are the longest out of use, and of the CPU's cache. Called
 * with the lock held.
 */
static void memdesc_take_cold(struct memdesc_stack *stack, void **batch,
			      unsigned int nr, unsigned int order,
			      enum memdesc_type type)
{
	if (!nr)
		return;
	memcpy(batch, stack->desc, nr * sizeof(*batch));
	stack->nr -= nr;
	memmove(stack->desc, stack->desc + nr, stack->nr * sizeof(*batch));
	memdesc_count(stack, type, -(int)(nr << order), false);
}

/* The pages are the caller's. Gives them up if a memcg must not have them. */
static noinline bool memdesc_charge(struct page *page, gfp_t gfp,
				    unsigned int order)
{
	gfp = current_gfp_context(gfp & gfp_allowed_mask);
	if (!memcg_kmem_charge_page(page, gfp, order))
		return true;
	free_frozen_pages(page, order);
	return false;
}

/* To be called with a constant type. */
static __always_inline void *memdesc_cache_get(gfp_t gfp, unsigned int order,
					       int nid, enum memdesc_type type)
{
	const bool own = memdesc_table[type].own;
	struct memdesc_stack *stack;
	void *desc;

	if (!static_branch_likely(&memdesc_cache_key))
		return NULL;
	/* What would be wrong if the lists were empty is wrong. */
	might_alloc(gfp);
	/*
	 * Another zone; what a memcg has to pay for, if a descriptor is a part
	 * of it; and the tag of who has allocated the pages first.
	 */
	if (unlikely(order >= MEMDESC_CACHE_ORDERS ||
		     gfp & (GFP_ZONEMASK | (own ? __GFP_ACCOUNT : 0)))) {
		if (order >= MEMDESC_CACHE_ORDERS || gfp & GFP_ZONEMASK ||
		    memcg_kmem_online())
			return NULL;
	}
	if (mem_alloc_profiling_enabled())
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
		memdesc_count(stack, type, -stack->nr_pages, false);
		spin_unlock(&stack->lock);
		/* The page allocator knows what to do with it. */
		memdesc_release(&desc, 1, order, type);
		return NULL;
	}
	memdesc_count(stack, type, -stack->nr_pages, true);
	spin_unlock(&stack->lock);

	/*
	 * Not when it is freed: it may never be used again, or be overwritten
	 * by who has not asked for zeroes, and here it gets into the cache of
	 * the CPU that is going to use it. IOMMU page tables always are zeroed.
	 */
	if (type == MEMDESC_IOPTDESC || want_init_on_alloc(gfp) ||
	    want_init_on_free())
		clear_pages(page_address(memdesc_first_page(desc, type)),
			    stack->nr_pages);

	return desc;
}

/* Where most of the CPU's allocations come from: no others shall be held. */
static bool memdesc_zone_preferred(unsigned int cpu, struct zone *zone)
{
	const int nid = zone_to_nid(zone);
	struct zoneref *z;

	/* Of the CPU that the list is of, which the task may have left. */
	if (nid != cpu_to_mem(cpu))
		return false;
	z = first_zones_zonelist(node_zonelist(nid, GFP_KERNEL),
				 gfp_zone(GFP_KERNEL), NULL);
	return zonelist_zone(z) == zone;
}

/* Lets the list hold memory of the zone, if it may. */
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
	/* Where the flags have no node, pages of one zone can have several ids. */
	stack->zone_id = zone_id;
	return true;
}

static __always_inline bool memdesc_cache_push(struct memdesc_stack *stack,
					       void *desc, struct page *page,
					       enum memdesc_type type)
{
	/* Who else has a reference may look at the page for as long as he likes. */
	if (!memdesc_table[type].frozen && unlikely(!page_ref_freeze(page, 1)))
		return false;
	if (memdesc_table[type].own)
		__memdesc_clear_type(page, type);

	stack->desc[stack->nr++] = desc;
	memdesc_count(stack, type, stack->nr_pages, true);
	return true;
}

/* Something is not as it mostly is. Called with the lock held, drops it. */
static noinline bool memdesc_cache_put_slow(struct memdesc_stack *stack,
					    void *desc, struct page *page,
					    unsigned int order,
					    enum memdesc_type type)
{
	void *batch[MEMDESC_CACHE_BATCH];
	unsigned int nr = 0;
	bool held = false;

	/* It may be the list of a CPU that has just gone offline. */
	if (!stack->max || !memdesc_stack_set_zone(stack, page_zone(page),
						   page_zone_id(page)))
		goto unlock;

	if (stack->nr >= stack->max) {
		nr = min(MEMDESC_CACHE_BATCH, (stack->max + 3U) / 4);
		memdesc_take_cold(stack, batch, nr, order, type);
	}
	held = memdesc_cache_push(stack, desc, page, type);
unlock:
	spin_unlock(&stack->lock);
	memdesc_release(batch, nr, order, type);
	return held;
}

static __always_inline bool memdesc_stack_put(struct memdesc_stack *stack,
					      void *desc, struct page *page,
					      unsigned int order,
					      enum memdesc_type type)
{
	bool held;

	/* Not used where pages are large, or there is little memory. */
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

/* To be called with a constant type. */
static __always_inline bool memdesc_cache_put(void *desc, struct page *page,
					      unsigned int order,
					      enum memdesc_type type)
{
	if (!static_branch_likely(&memdesc_cache_key))
		return false;
	/* Flags that the page allocator would clear, complain of, or act upon. */
	if (unlikely(order >= MEMDESC_CACHE_ORDERS ||
		     page->flags.f & PAGEFLAGS_MASK & ~(1UL << PG_head)) ||
	    mem_alloc_profiling_enabled())
		return false;

	return memdesc_stack_put(memdesc_stack(type, order), desc, page, order,
				 type);
}

/**
 * memdesc_cache_get_ioptdesc - Take an IOMMU page table that was freed
 * @gfp: GFP flags; of them count zone and account
 * @order: log2 of the number of pages
 * @nid: the node
 *
 * It is zeroed, as memdesc_alloc_node() returns it, and counted as
 * iommu_alloc_pages_node_sz() does. Requests that a memcg has to pay for,
 * descriptor included, are left to the allocators.
 *
 * Context: Any context but NMI.
 * Return: The descriptor, or NULL if there is none that fits.
 */
struct ioptdesc *memdesc_cache_get_ioptdesc(gfp_t gfp, unsigned int order,
					    int nid)
{
	const size_t head = offsetofend(struct memdesc_own, order);
	struct ioptdesc *iopt;

	iopt = memdesc_cache_get(gfp, order, nid, MEMDESC_IOPTDESC);
	if (!iopt)
		return NULL;

	memset((void *)iopt + head, 0, sizeof(*iopt) - head);
	/* The word that leads to it is still there, see page_memdesc(). */
	smp_store_release(&iopt->page->page_type,
			  (unsigned int)PGTY_ioptable << 24);
	return iopt;
}

/**
 * memdesc_cache_put_ioptdesc - Keep an IOMMU page table that is being freed
 * @iopt: the descriptor
 *
 * If it is kept it is no longer counted as what it was.
 *
 * Context: Any context but NMI.
 * Return: Whether it was taken. If not, the caller frees it.
 */
bool memdesc_cache_put_ioptdesc(struct ioptdesc *iopt)
{
	/* The charge is for the descriptor as well. */
	if (memcg_kmem_online() && unlikely(PageMemcgKmem(iopt->page)))
		return false;
	return memdesc_cache_put(iopt, iopt->page, iopt->order,
				 MEMDESC_IOPTDESC);
}

static noinline struct ptdesc *memdesc_alloc_new_ptdesc(gfp_t gfp,
							unsigned int order)
{
	return page_ptdesc(alloc_page_desc_noprof(gfp, order,
						  MEMDESC_TYPE_PTDESC(NULL)));
}

/**
 * memdesc_cache_alloc_ptdesc - Take a page table that was freed, or a new one
 * @gfp: as for alloc_page_desc()
 * @order: log2 of the number of pages
 *
 * It is as alloc_page_desc() returns it, charged if @gfp says so. When the
 * charge fails the allocation does: what is new would have to be paid for, too.
 *
 * Context: Any context that @gfp allows.
 * Return: The descriptor, or NULL when there is no memory.
 */
struct ptdesc *memdesc_cache_alloc_ptdesc_noprof(gfp_t gfp, unsigned int order)
{
	struct page *page;

#ifdef CONFIG_NUMA
	/* It may ask for another node than this one. */
	if (unlikely(current->mempolicy))
		return memdesc_alloc_new_ptdesc(gfp, order);
#endif
	page = memdesc_cache_get(gfp, order, numa_mem_id(), MEMDESC_PTDESC);
	if (unlikely(!page))
		return memdesc_alloc_new_ptdesc(gfp, order);

	if (gfp & __GFP_ACCOUNT && memcg_kmem_online() &&
	    !memdesc_charge(page, gfp, order))
		return NULL;

	set_page_private(page, 0);
	page->page_type = (unsigned int)PGTY_table << 24;
	/* With all that, for whoever tries to get a reference. */
	page_ref_unfreeze(page, 1);
	return page_ptdesc(page);
}
EXPORT_SYMBOL(memdesc_cache_alloc_ptdesc_noprof);

/**
 * memdesc_cache_put_ptdesc - Keep a page table that is being freed
 * @pt: the descriptor, no longer constructed and without a page type
 *
 * Takes the caller's reference if it is the only one.
 *
 * Context: Any context but NMI.
 * Return: Whether it was taken. If not, the caller frees it.
 */
bool memdesc_cache_put_ptdesc(struct ptdesc *pt)
{
	struct page *page = ptdesc_page(pt);
	const unsigned int order = compound_order(page);

	/* Also if it is not taken it is being freed: this is early, not wrong. */
	if (memcg_kmem_online() && PageMemcgKmem(page))
		__memcg_kmem_uncharge_page(page, order);
	return memdesc_cache_put(page, page, order, MEMDESC_PTDESC);
}
EXPORT_SYMBOL(memdesc_cache_put_ptdesc);

#if IS_ENABLED(CONFIG_MEMDESC_CACHE_KUNIT_TEST)
/**
 * memdesc_cache_put_migrated - Keep a page table as a task that was migrated
 * @pt: the descriptor, as for memdesc_cache_put_ptdesc()
 * @cpu: the CPU that the task was on when it looked for a list
 *
 * For tests.
 *
 * Context: Process context.
 * Return: Whether the page table was taken.
 */
bool memdesc_cache_put_migrated(struct ptdesc *pt, unsigned int cpu)
{
	struct page *page = ptdesc_page(pt);
	const unsigned int order = compound_order(page);
	struct memdesc_cache *cache = per_cpu_ptr(&memdesc_cache, cpu);

	return memdesc_stack_put(&cache->stack[CACHED_PTDESC][order], page,
				 page, order, MEMDESC_PTDESC);
}
#endif

/*
 * Gives back up to @goal pages, and returns how many it were. With @sync, a list
 * that is empty then forgets its zone, see memdesc_zone_isolated().
 */
static unsigned long memdesc_drain_stack(struct memdesc_stack *stack,
					 unsigned int order,
					 enum memdesc_type type,
					 unsigned long goal, bool sync)
{
	unsigned long freed = 0;

	while (freed < goal) {
		const unsigned long want = ((goal - freed - 1) >> order) + 1;
		void *batch[MEMDESC_CACHE_BATCH];
		unsigned int nr;

		scoped_guard(spinlock, &stack->lock) {
			nr = min3(want, MEMDESC_CACHE_BATCH, stack->nr);
			memdesc_take_cold(stack, batch, nr, order, type);
			if (sync && !stack->nr) {
				stack->zone = NULL;
				stack->zone_id = -1;
				stack->nid = NUMA_NO_NODE;
			}
		}
		if (!nr)
			break;
		memdesc_release(batch, nr, order, type);
		freed += nr << order;
	}
	return freed;
}

static unsigned long memdesc_drain_cpu(unsigned int cpu, int nid,
				       unsigned long goal, bool sync)
{
	unsigned long freed = 0;

	for (int i = 0; i < NR_CACHED_TYPES; i++) {
		for (int order = 0; order < MEMDESC_CACHE_ORDERS; order++) {
			struct memdesc_stack *stack =
				per_cpu_ptr(&memdesc_cache.stack[i][order],
					    cpu);

			if (nid != NUMA_NO_NODE && nid != READ_ONCE(stack->nid))
				continue;
			if (!sync && !READ_ONCE(stack->nr))
				continue;
			if (freed >= goal)
				return freed;
			freed += memdesc_drain_stack(stack, order,
						     cached_types[i],
						     goal - freed, sync);
		}
	}
	return freed;
}

/**
 * memdesc_cache_drain - Give all held pages back to the page allocator
 * @sync: also what is being added to an empty list
 *
 * Context: Process context; does not sleep or allocate.
 * Return: How many pages were freed.
 */
unsigned long memdesc_cache_drain(bool sync)
{
	unsigned long freed = 0;
	unsigned int cpu;

	/* A task that was migrated may use the lists of a CPU that is gone. */
	for_each_possible_cpu(cpu)
		freed += memdesc_drain_cpu(cpu, NUMA_NO_NODE, ULONG_MAX, sync);
	return freed;
}

/**
 * memdesc_cache_pause - Let the lists hold nothing, because memory is isolated
 *
 * Until memdesc_cache_resume() nothing is held, and after that nothing of a zone
 * of which a pageblock was isolated meanwhile, for as long as it is.
 *
 * Context: Process context; does not sleep or allocate.
 */
void memdesc_cache_pause(void)
{
	atomic_inc(&memdesc_cache_paused);
	/* Whoever gets a list's lock after that sees the counter. */
	memdesc_cache_drain(true);
}

/**
 * memdesc_cache_resume - The counterpart of memdesc_cache_pause()
 *
 * Context: Any context.
 */
void memdesc_cache_resume(void)
{
	/*
	 * Who sees that the lists are no longer paused must see what was
	 * isolated meanwhile: pairs with memdesc_zone_isolated().
	 */
	atomic_fetch_dec_release(&memdesc_cache_paused);
}

/**
 * memdesc_cache_held - How many pages of a node are held
 * @nid: the node, or NUMA_NO_NODE for all
 *
 * Context: Any. The result may be out of date.
 * Return: The number of pages.
 */
unsigned long memdesc_cache_held(int nid)
{
	unsigned long held = 0;
	unsigned int cpu;

	for_each_possible_cpu(cpu) {
		struct memdesc_cache *cache = per_cpu_ptr(&memdesc_cache, cpu);

		for (int i = 0; i < NR_CACHED_TYPES; i++) {
			for (int order = 0; order < MEMDESC_CACHE_ORDERS;
			     order++) {
				struct memdesc_stack *stack =
					&cache->stack[i][order];

				if (nid == NUMA_NO_NODE ||
				    nid == READ_ONCE(stack->nid))
					held += READ_ONCE(stack->nr) << order;
			}
		}
	}
	return held;
}

/**
 * memdesc_cache_depth - How many descriptors a list of a CPU may hold
 * @cpu: the CPU
 * @type: the type
 * @order: the order
 *
 * For tests.
 *
 * Context: Any. The result may be out of date.
 * Return: The number of descriptors.
 */
unsigned int memdesc_cache_depth(unsigned int cpu, enum memdesc_type type,
				 unsigned int order)
{
	struct memdesc_cache *cache = per_cpu_ptr(&memdesc_cache, cpu);

	for (int i = 0; i < NR_CACHED_TYPES; i++)
		if (cached_types[i] == type && order < MEMDESC_CACHE_ORDERS)
			return READ_ONCE(cache->stack[i][order].max);
	return 0;
}

static unsigned long memdesc_cache_count(struct shrinker *shrinker,
					 struct shrink_control *sc)
{
	const unsigned long held = memdesc_cache_held(sc->nid);

	/* Half of it is asked for, which of a single page would be nothing. */
	return held ? max(held, 2UL) : SHRINK_EMPTY;
}

static unsigned long memdesc_cache_scan(struct shrinker *shrinker,
					struct shrink_control *sc)
{
	/* A batch costs hardly more than a page, and may be all there is. */
	const unsigned long goal = umax(sc->nr_to_scan, MEMDESC_CACHE_BATCH);
	unsigned long freed = 0;
	unsigned int cpu;

	for_each_possible_cpu(cpu) {
		if (freed >= goal)
			break;
		freed += memdesc_drain_cpu(cpu, sc->nid, goal - freed, false);
	}
	if (!freed)
		return SHRINK_STOP;
	sc->nr_scanned = freed;
	return freed;
}

static int memdesc_cache_oom(struct notifier_block *nb, unsigned long unused,
			     void *freed)
{
	/*
	 * Reclaim has been here before. What came since is not reported as
	 * freed: where tables come and go all the time, a page or two every
	 * time would put off the decision for ever.
	 */
	memdesc_cache_drain(false);
	return NOTIFY_OK;
}

static struct notifier_block memdesc_cache_oom_nb = {
	.notifier_call = memdesc_cache_oom,
};

/*
 * Divides the share of memory among the CPUs that are online. The lists of the
 * others hold nothing: a task that was migrated may find them nevertheless, and
 * nobody would take from them what it puts there.
 */
static void memdesc_cache_resize(void)
{
	const unsigned long pages = totalram_pages() / MEMDESC_CACHE_SHARE /
				    cpumask_weight(&memdesc_cache_cpus);
	unsigned long full = 0;
	unsigned int cpu;

	for (int order = 0; order < MEMDESC_CACHE_ORDERS; order++)
		full += (NR_CACHED_TYPES * memdesc_depth[order]) << order;

	for_each_possible_cpu(cpu) {
		const bool used = cpumask_test_cpu(cpu, &memdesc_cache_cpus);

		for (int i = 0; i < NR_CACHED_TYPES; i++) {
			for (int order = 0; order < MEMDESC_CACHE_ORDERS;
			     order++) {
				struct memdesc_stack *stack =
					per_cpu_ptr(&memdesc_cache.stack[i][order],
						    cpu);
				unsigned long max = used ? memdesc_depth[order] :
							   0;
				unsigned long extra;

				if (pages < full)
					max = max * pages / full;
				scoped_guard(spinlock, &stack->lock) {
					WRITE_ONCE(stack->max, max);
					extra = stack->nr > max ?
						stack->nr - max : 0;
				}
				memdesc_drain_stack(stack, order,
						    cached_types[i],
						    extra << order, false);
			}
		}
	}
}

static int memdesc_cache_cpu_prepare(unsigned int cpu)
{
	cpumask_set_cpu(cpu, &memdesc_cache_cpus);
	memdesc_cache_resize();
	return 0;
}

static int memdesc_cache_cpu_dead(unsigned int cpu)
{
	cpumask_clear_cpu(cpu, &memdesc_cache_cpus);
	memdesc_cache_resize();
	return 0;
}

static int memdesc_cache_show(struct seq_file *m, void *unused)
{
	seq_puts(m, "type           order       held        max       hits     misses\n");
	for (int i = 0; i < NR_CACHED_TYPES; i++) {
		for (int order = 0; order < MEMDESC_CACHE_ORDERS; order++) {
			unsigned long held = 0, max = 0, hits = 0, misses = 0;
			unsigned int cpu;

			for_each_possible_cpu(cpu) {
				struct memdesc_stack *stack =
					per_cpu_ptr(&memdesc_cache.stack[i][order],
						    cpu);

				held += READ_ONCE(stack->nr) << order;
				max += stack->max << order;
				/* They may be counted just now. */
				hits += data_race(stack->hits);
				/* The same. */
				misses += data_race(stack->misses);
			}
			seq_printf(m, "%-14s %5d %10lu %10lu %10lu %10lu\n",
				   memdesc_type_name(cached_types[i]), order,
				   held, max, hits, misses);
		}
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(memdesc_cache);

/**
 * memdesc_cache_enable - Let the lists take part, or stand aside
 * @on: which
 *
 * For tests. Who has not seen it yet when they are to stand aside may add to
 * them once more.
 *
 * Context: Process context, may sleep.
 * Return: What it was before.
 */
bool memdesc_cache_enable(bool on)
{
	const bool was = static_key_enabled(&memdesc_cache_key);

	if (on) {
		static_branch_enable(&memdesc_cache_key);
	} else {
		static_branch_disable(&memdesc_cache_key);
		memdesc_cache_drain(true);
	}
	return was;
}

/*
 * With these every page that is freed and used afterwards is found, or who has
 * allocated it is recorded, or an allocation shall fail: not on the lists.
 */
static bool __init memdesc_cache_debugging(void)
{
	if (IS_ENABLED(CONFIG_KASAN) || IS_ENABLED(CONFIG_FAIL_PAGE_ALLOC))
		return true;
	if (debug_pagealloc_enabled_static() || page_poisoning_enabled_static() ||
	    want_init_on_free() ||
	    static_branch_unlikely(&check_pages_enabled))
		return true;
#ifdef CONFIG_PAGE_OWNER
	if (static_branch_unlikely(&page_owner_inited))
		return true;
#endif
#ifdef CONFIG_PAGE_TABLE_CHECK
	if (!static_branch_likely(&page_table_check_disabled))
		return true;
#endif
	return false;
}

static int memdesc_cache_wanted __initdata = -1;

static int __init memdesc_cache_setup(char *str)
{
	bool on;
	int err = kstrtobool(str, &on);

	if (!err)
		memdesc_cache_wanted = on;
	return err;
}
early_param("memdesc_cache", memdesc_cache_setup);

static void __init memdesc_cache_init_cpu(unsigned int cpu)
{
	struct memdesc_cache *cache = per_cpu_ptr(&memdesc_cache, cpu);

	for (int i = 0; i < NR_CACHED_TYPES; i++) {
		void **slot = cache->slots[i];

		for (int order = 0; order < MEMDESC_CACHE_ORDERS; order++) {
			struct memdesc_stack *stack = &cache->stack[i][order];

			stack->cpu = cpu;
			stack->nr_pages = 1 << order;
			stack->desc = slot;
			slot += memdesc_depth[order];
		}
	}
}

static int __init memdesc_cache_init(void)
{
	struct shrinker *shrinker;
	unsigned int cpu;
	int state, err;

	/* Until the key is on nothing is held. */
	for_each_possible_cpu(cpu)
		memdesc_cache_init_cpu(cpu);

	/* What could not be had back must not be held: without these no lists. */
	shrinker = shrinker_alloc(SHRINKER_NUMA_AWARE, "memdesc_cache");
	if (!shrinker)
		return -ENOMEM;
	scoped_guard(cpus_read_lock) {
		cpumask_copy(&memdesc_cache_cpus, cpu_online_mask);
		memdesc_cache_resize();
		state = cpuhp_setup_state_nocalls_cpuslocked(CPUHP_BP_PREPARE_DYN,
							     "mm/memdesc_cache:prepare",
							     memdesc_cache_cpu_prepare,
							     memdesc_cache_cpu_dead);
	}
	if (state < 0) {
		shrinker_free(shrinker);
		return state;
	}
	err = register_oom_notifier(&memdesc_cache_oom_nb);
	if (err) {
		cpuhp_remove_state_nocalls(state);
		shrinker_free(shrinker);
		return err;
	}
	/*
	 * It is free memory, and goes before anything that somebody uses: half
	 * of it each time that reclaim looks, at its lowest priority as well and
	 * be it ever so little.
	 */
	shrinker->seeks = 0;
	shrinker->batch = 1;
	shrinker->count_objects = memdesc_cache_count;
	shrinker->scan_objects = memdesc_cache_scan;
	shrinker_register(shrinker);

	debugfs_create_file("memdesc_cache", 0400, NULL, NULL,
			    &memdesc_cache_fops);

	if (memdesc_cache_wanted < 0)
		memdesc_cache_wanted = !memdesc_cache_debugging();
	if (memdesc_cache_wanted)
		static_branch_enable(&memdesc_cache_key);
	return 0;
}
postcore_initcall(memdesc_cache_init);
