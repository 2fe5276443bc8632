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
#include <linux/cleanup.h>
#include <linux/cpu.h>
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
#include <linux/spinlock.h>
#include <linux/vmstat.h>
#include "internal.h"
#include "memdesc.h"
#include "mm_init.h"

/*
 * One allocation in a zone that is the first choice of the CPU's node. The lock
 * is only ever tried for, but to drain: an interrupt in the middle of it, or a
 * drain from another CPU, sends the caller to the page allocator. That way it
 * needs no disabled interrupts, and the lists no work on their CPU to be drained.
 *
 * It is an ordinary lock of the list found by raw_cpu_ptr(), so a task may be
 * migrated before it has it. Then it uses another CPU's list, which is correct.
 */
struct memdesc_stack {
	spinlock_t lock;	/* for all that follows */
	unsigned short nr;
	unsigned short max;
	int nid;
	int nr_pages;		/* of each, does not change */
	int zone_id;		/* page_zone_id() of a page of the zone */
	struct zone *zone;
	struct per_cpu_nodestat __percpu *stat;
	unsigned long hits;
	unsigned long misses;
	void **desc;
};

/* The types that take part, see memdesc_info.cached. */
static const enum memdesc_type cached_types[] = {
	MEMDESC_PTDESC,
	MEMDESC_IOPTDESC,
};

#define NR_CACHED_TYPES		ARRAY_SIZE(cached_types)
/* Descriptors of a type that a CPU holds, of all orders. */
#define MEMDESC_CACHE_SLOTS	92
/* That are given back together. */
#define MEMDESC_CACHE_BATCH	16U
/* In pages of memory for each page held in all. */
#define MEMDESC_CACHE_SHARE	256

struct memdesc_cache {
	struct memdesc_stack stack[NR_CACHED_TYPES][MEMDESC_CACHE_ORDERS];
	void *slots[NR_CACHED_TYPES][MEMDESC_CACHE_SLOTS];
};

/* cma_alloc() drains the lists even before memdesc_cache_init(). */
static DEFINE_PER_CPU(struct memdesc_cache, memdesc_cache) = {
	.stack[0 ... NR_CACHED_TYPES - 1][0 ... MEMDESC_CACHE_ORDERS - 1].lock =
		__SPIN_LOCK_UNLOCKED(memdesc_cache.stack.lock),
};

static DEFINE_STATIC_KEY_FALSE(memdesc_cache_key);

static __always_inline struct memdesc_stack *
memdesc_stack(enum memdesc_type type, unsigned int order)
{
	const unsigned int i = type == MEMDESC_PTDESC ? 0 : 1;

	return raw_cpu_ptr(&memdesc_cache.stack[i][order]);
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

/* Memory of the zone is about to be removed, or to be allocated as a range. */
static __always_inline bool memdesc_zone_isolated(struct zone *zone)
{
#ifdef CONFIG_MEMORY_ISOLATION
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
static bool memdesc_zone_preferred(struct zone *zone)
{
	const int nid = zone_to_nid(zone);
	struct zoneref *z;

	if (nid != numa_mem_id())
		return false;
	z = first_zones_zonelist(node_zonelist(nid, GFP_KERNEL),
				 gfp_zone(GFP_KERNEL), NULL);
	return zonelist_zone(z) == zone;
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
	struct zone *zone = page_zone(page);
	void *batch[MEMDESC_CACHE_BATCH];
	unsigned int nr = 0;
	bool held = false;

	if (!stack->nr && stack->zone != zone && memdesc_zone_preferred(zone)) {
		stack->zone = zone;
		stack->stat = zone->zone_pgdat->per_cpu_nodestats;
		stack->nid = zone_to_nid(zone);
		stack->zone_id = page_zone_id(page);
	}
	/* Whoever isolates memory drains the lists after that. */
	if (stack->zone != zone || memdesc_zone_isolated(zone) || !stack->max)
		goto unlock;

	if (stack->nr >= stack->max) {
		/* Those that are the longest out of use, and of the cache. */
		nr = min(MEMDESC_CACHE_BATCH, (stack->max + 3U) / 4);
		memcpy(batch, stack->desc, nr * sizeof(*batch));
		stack->nr -= nr;
		memmove(stack->desc, stack->desc + nr,
			stack->nr * sizeof(*stack->desc));
		memdesc_count(stack, type, -(int)(nr << order), false);
	}
	held = memdesc_cache_push(stack, desc, page, type);
unlock:
	spin_unlock(&stack->lock);
	memdesc_release(batch, nr, order, type);
	return held;
}

/* To be called with a constant type. */
static __always_inline bool memdesc_cache_put(void *desc, struct page *page,
					      unsigned int order,
					      enum memdesc_type type)
{
	struct memdesc_stack *stack;
	bool held;

	if (!static_branch_likely(&memdesc_cache_key))
		return false;
	/* Flags that the page allocator would clear, complain of, or act upon. */
	if (unlikely(order >= MEMDESC_CACHE_ORDERS ||
		     page->flags.f & PAGEFLAGS_MASK & ~(1UL << PG_head)) ||
	    mem_alloc_profiling_enabled())
		return false;

	stack = memdesc_stack(type, order);
	if (unlikely(!spin_trylock(&stack->lock)))
		return false;

	/* Where the flags have no node, pages of one zone can have several ids. */
	if (unlikely(stack->nr >= stack->max ||
		     stack->zone_id != page_zone_id(page) ||
		     memdesc_zone_isolated(stack->zone)))
		return memdesc_cache_put_slow(stack, desc, page, order, type);

	held = memdesc_cache_push(stack, desc, page, type);
	spin_unlock(&stack->lock);
	return held;
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

/**
 * memdesc_cache_get_ptdesc - Take a page table that was freed
 * @gfp: GFP flags; of them count zone, account and zero
 * @order: log2 of the number of pages
 *
 * It is as alloc_page_desc() returns it, charged if @gfp says so.
 *
 * Context: Any context but NMI.
 * Return: The descriptor, or NULL if there is none that fits.
 */
struct ptdesc *memdesc_cache_get_ptdesc(gfp_t gfp, unsigned int order)
{
	struct page *page;

#ifdef CONFIG_NUMA
	/* It may ask for another node than this one. */
	if (unlikely(current->mempolicy))
		return NULL;
#endif
	page = memdesc_cache_get(gfp, order, numa_mem_id(), MEMDESC_PTDESC);
	if (!page)
		return NULL;

	if (gfp & __GFP_ACCOUNT && memcg_kmem_online() &&
	    !memdesc_charge(page, gfp, order))
		return NULL;

	set_page_private(page, 0);
	page->page_type = (unsigned int)PGTY_table << 24;
	/* With all that, for whoever tries to get a reference. */
	page_ref_unfreeze(page, 1);
	return page_ptdesc(page);
}
EXPORT_SYMBOL(memdesc_cache_get_ptdesc);

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

/* Gives back up to @goal pages, and returns how many it were. */
static unsigned long memdesc_drain_stack(struct memdesc_stack *stack,
					 unsigned int order,
					 enum memdesc_type type,
					 unsigned long goal)
{
	unsigned long freed = 0;

	while (freed < goal) {
		void *batch[MEMDESC_CACHE_BATCH];
		unsigned int nr;

		scoped_guard(spinlock, &stack->lock) {
			nr = min(MEMDESC_CACHE_BATCH, stack->nr);
			stack->nr -= nr;
			memcpy(batch, stack->desc + stack->nr,
			       nr * sizeof(*batch));
			if (nr)
				memdesc_count(stack, type, -(int)(nr << order),
					      false);
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
						     goal - freed);
		}
	}
	return freed;
}

/**
 * memdesc_cache_drain - Give all held pages back to the page allocator
 * @sync: also what is being added to an empty list. With that, nothing is held
 *        afterwards of a zone of which a part was isolated before.
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

static unsigned long memdesc_cache_count(struct shrinker *shrinker,
					 struct shrink_control *sc)
{
	return memdesc_cache_held(sc->nid) ?: SHRINK_EMPTY;
}

static unsigned long memdesc_cache_scan(struct shrinker *shrinker,
					struct shrink_control *sc)
{
	unsigned long freed = 0;
	unsigned int cpu;

	for_each_possible_cpu(cpu) {
		if (freed >= sc->nr_to_scan)
			break;
		freed += memdesc_drain_cpu(cpu, sc->nid, sc->nr_to_scan - freed,
					   false);
	}
	return freed ?: SHRINK_STOP;
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

static int memdesc_cache_cpu_dead(unsigned int cpu)
{
	memdesc_drain_cpu(cpu, NUMA_NO_NODE, ULONG_MAX, true);
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

static void __init memdesc_cache_init_cpu(unsigned int cpu, unsigned long pages)
{
	struct memdesc_cache *cache = per_cpu_ptr(&memdesc_cache, cpu);
	unsigned long full = 0;

	for (int i = 0; i < NR_CACHED_TYPES; i++)
		for (int order = 0; order < MEMDESC_CACHE_ORDERS; order++)
			full += memdesc_table[cached_types[i]].cached[order] << order;

	for (int i = 0; i < NR_CACHED_TYPES; i++) {
		const u8 *depth = memdesc_table[cached_types[i]].cached;
		unsigned int slot = 0;

		for (int order = 0; order < MEMDESC_CACHE_ORDERS; order++) {
			struct memdesc_stack *stack = &cache->stack[i][order];

			stack->nid = NUMA_NO_NODE;
			stack->nr_pages = 1 << order;
			stack->zone_id = -1;
			stack->desc = &cache->slots[i][slot];
			stack->max = min(depth[order],
					 MEMDESC_CACHE_SLOTS - slot);
			slot += stack->max;
			if (pages < full)
				stack->max = stack->max * pages / full;
		}
	}
}

static int __init memdesc_cache_init(void)
{
	struct shrinker *shrinker;
	unsigned int cpu;

	/* Until here the key is off, and so are the lists. */
	for_each_possible_cpu(cpu)
		memdesc_cache_init_cpu(cpu, totalram_pages() /
				       MEMDESC_CACHE_SHARE /
				       num_possible_cpus());

	debugfs_create_file("memdesc_cache", 0400, NULL, NULL,
			    &memdesc_cache_fops);

	/* What could not be had back must not be held. */
	shrinker = shrinker_alloc(SHRINKER_NUMA_AWARE, "memdesc_cache");
	if (!shrinker)
		return -ENOMEM;
	shrinker->count_objects = memdesc_cache_count;
	shrinker->scan_objects = memdesc_cache_scan;
	shrinker_register(shrinker);
	register_oom_notifier(&memdesc_cache_oom_nb);
	cpuhp_setup_state_nocalls(CPUHP_BP_PREPARE_DYN, "mm/memdesc_cache:dead",
				  NULL, memdesc_cache_cpu_dead);

	if (memdesc_cache_wanted < 0)
		memdesc_cache_wanted = !memdesc_cache_debugging();
	if (memdesc_cache_wanted)
		static_branch_enable(&memdesc_cache_key);
	return 0;
}
postcore_initcall(memdesc_cache_init);
