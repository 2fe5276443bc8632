// SPDX-License-Identifier: GPL-2.0
/*
 * Per-CPU lists of freed memory descriptors: give the pages that the lists hold
 * back to the page allocator, before memory is isolated, and under pressure.
 */
#include <linux/atomic.h>
#include <linux/cleanup.h>
#include <linux/cpumask.h>
#include <linux/memdesc.h>
#include <linux/oom.h>
#include <linux/percpu.h>
#include <linux/shrinker.h>
#include <linux/spinlock.h>
#include "memdesc.h"
#include "memdesc_cache.h"

/* The lists were on at some time, so they may hold pages even if off now. */
bool memdesc_cache_used;

/*
 * Give back up to @goal pages, the last descriptor whole, and return how many
 * pages were freed. With @sync, a list that is empty then forgets its zone, see
 * memdesc_zone_isolated().
 */
unsigned long memdesc_drain_stack(struct memdesc_stack *stack,
				  unsigned int order, enum memdesc_type type,
				  unsigned long goal, bool sync)
{
	unsigned long freed = 0;

	while (freed < goal) {
		const unsigned long want = ((goal - freed - 1) >> order) + 1;
		void *batch[MEMDESC_CACHE_BATCH];
		unsigned int nr;

		scoped_guard(spinlock, &stack->lock) {
			nr = min3(want, MEMDESC_CACHE_BATCH, stack->nr);
			memdesc_take_cold(stack, batch, nr, order);
			if (sync && !stack->nr) {
				stack->zone = NULL;
				stack->zone_id = -1;
				stack->nid = NUMA_NO_NODE;
			}
		}
		if (!nr)
			break;
		memdesc_release(batch, nr, type);
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
						     memdesc_cached_types[i],
						     goal - freed, sync);
		}
	}
	return freed;
}

/**
 * memdesc_cache_drain - Give all held pages back to the page allocator
 * @sync: also lock empty lists, to which a page may just be being added, and
 *        make the lists forget their zones
 *
 * Context: Process context; does not sleep or allocate.
 * Return: How many pages were freed.
 */
unsigned long memdesc_cache_drain(bool sync)
{
	unsigned long freed = 0;
	unsigned int cpu;

	/* A task that was migrated may use the lists of a CPU now offline. */
	for_each_possible_cpu(cpu)
		freed += memdesc_drain_cpu(cpu, NUMA_NO_NODE, ULONG_MAX, sync);
	return freed;
}

/**
 * memdesc_cache_pause - Empty the lists before memory is isolated
 *
 * Until memdesc_cache_resume() the lists hold nothing. After that, they hold
 * nothing of a zone as long as a pageblock of the zone is isolated.
 *
 * Context: Process context; does not sleep or allocate.
 */
void memdesc_cache_pause(void)
{
	/* Also orders the read below: see memdesc_cache_turn_on(). */
	atomic_inc_return(&memdesc_cache_paused);
	/*
	 * The drain takes the lock of every list. A CPU that takes such a lock
	 * afterwards sees the counter. Save that on kernels on which the lists
	 * were never on.
	 */
	if (READ_ONCE(memdesc_cache_used))
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
	 * A CPU that sees that the lists are no longer paused must also see
	 * which memory was isolated meanwhile. Pairs with the acquire in
	 * memdesc_zone_isolated().
	 */
	atomic_fetch_dec_release(&memdesc_cache_paused);
}

/**
 * memdesc_cache_held - How many pages of a node the lists hold
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
	const unsigned long held = memdesc_cache_held(sc->nid);

	/* Reclaim asks for half of this, which for one page would be none. */
	return held ? max(held, 2UL) : SHRINK_EMPTY;
}

static unsigned long memdesc_cache_scan(struct shrinker *shrinker,
					struct shrink_control *sc)
{
	/* Freeing a batch costs hardly more than freeing one page. */
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
	 * Do not report the freed pages. Reclaim has emptied the lists before,
	 * so these are few. If page tables are allocated and freed all the
	 * time, a page or two at every call would delay the OOM kill for ever.
	 */
	memdesc_cache_drain(false);
	return NOTIFY_OK;
}

static struct notifier_block memdesc_cache_oom_nb = {
	.notifier_call = memdesc_cache_oom,
};

/**
 * memdesc_cache_reclaimable - Let memory pressure empty the lists
 *
 * Context: Boot, before the lists hold anything.
 * Return: 0 or an error; then nothing has changed.
 */
int __init memdesc_cache_reclaimable(void)
{
	struct shrinker *shrinker;
	int err;

	shrinker = shrinker_alloc(SHRINKER_NUMA_AWARE, "memdesc_cache");
	if (!shrinker)
		return -ENOMEM;
	err = register_oom_notifier(&memdesc_cache_oom_nb);
	if (err) {
		shrinker_free(shrinker);
		return err;
	}
	/*
	 * Held pages are free memory and must go before memory that is in use.
	 * With seeks 0, reclaim takes half of them at every priority; with
	 * batch 1, it does so even if they are few.
	 */
	shrinker->seeks = 0;
	shrinker->batch = 1;
	shrinker->count_objects = memdesc_cache_count;
	shrinker->scan_objects = memdesc_cache_scan;
	shrinker_register(shrinker);
	return 0;
}
