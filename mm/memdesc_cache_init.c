// SPDX-License-Identifier: GPL-2.0
/*
 * Per-CPU lists of freed memory descriptors: how much each list may hold, whether
 * the lists are on, and what they tell user space.
 */
#include <linux/cleanup.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/jump_label.h>
#include <linux/kstrtox.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/page_owner.h>
#include <linux/page_table_check.h>
#include <linux/percpu.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include "internal.h"
#include "memdesc.h"
#include "memdesc_cache.h"
#include "mm_init.h"

/* All lists together hold at most 1 / MEMDESC_CACHE_SHARE of memory. */
#define MEMDESC_CACHE_SHARE	256

static const unsigned short memdesc_depth[MEMDESC_CACHE_ORDERS] = {
	MEMDESC_DEPTH_0,
	MEMDESC_DEPTH_1,
	MEMDESC_DEPTH_2,
	MEMDESC_DEPTH_3,
};

/* The online CPUs. The share of memory is divided among them. */
static struct cpumask memdesc_cache_cpus;

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
		if (memdesc_cached_types[i] == type && order < MEMDESC_CACHE_ORDERS)
			return READ_ONCE(cache->stack[i][order].max);
	return 0;
}

/*
 * Divide the share of memory among the CPUs that are online. The lists of the
 * other CPUs may hold nothing: a task that was migrated may still find such a
 * list, but nobody would take anything from it again.
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
						    memdesc_cached_types[i],
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
				/* Another CPU may be incrementing it. */
				hits += data_race(stack->hits);
				/* The same. */
				misses += data_race(stack->misses);
			}
			seq_printf(m, "%-14s %5d %10lu %10lu %10lu %10lu\n",
				   memdesc_type_name(memdesc_cached_types[i]), order,
				   held, max, hits, misses);
		}
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(memdesc_cache);

static void memdesc_cache_turn_on(void)
{
	WRITE_ONCE(memdesc_cache_used, true);
	/*
	 * Pairs with the full barrier in memdesc_cache_pause(). Either
	 * memdesc_cache_pause() sees that the lists are in use, or a CPU that
	 * is about to add a page sees that the lists are paused.
	 */
	smp_mb();
	static_branch_enable(&memdesc_cache_key);
}

/**
 * memdesc_cache_enable - Turn the lists on or off
 * @on: true to turn them on
 *
 * For tests. When the lists are turned off they are drained, but a CPU that has
 * not seen the change yet may add to them once more.
 *
 * Context: Process context, may sleep.
 * Return: Whether the lists were on before.
 */
bool memdesc_cache_enable(bool on)
{
	const bool was = static_key_enabled(&memdesc_cache_key);

	if (on) {
		memdesc_cache_turn_on();
	} else {
		static_branch_disable(&memdesc_cache_key);
		memdesc_cache_drain(true);
	}
	return was;
}

/*
 * These options find uses of freed pages, record who allocated a page, or make
 * allocations fail. The lists would hide all three, so they stay off.
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
	unsigned int cpu;
	int state, err;

	/* No locks needed: the lists hold nothing until the key is on. */
	for_each_possible_cpu(cpu)
		memdesc_cache_init_cpu(cpu);

	scoped_guard(cpus_read_lock) {
		cpumask_copy(&memdesc_cache_cpus, cpu_online_mask);
		memdesc_cache_resize();
		state = cpuhp_setup_state_nocalls_cpuslocked(CPUHP_BP_PREPARE_DYN,
							     "mm/memdesc_cache:prepare",
							     memdesc_cache_cpu_prepare,
							     memdesc_cache_cpu_dead);
	}
	if (state < 0)
		return state;
	/* The lists stay off if nothing could reclaim the memory that they hold. */
	err = memdesc_cache_reclaimable();
	if (err) {
		cpuhp_remove_state_nocalls(state);
		return err;
	}

	debugfs_create_file("memdesc_cache", 0400, NULL, NULL,
			    &memdesc_cache_fops);

	if (memdesc_cache_wanted < 0)
		memdesc_cache_wanted = !memdesc_cache_debugging();
	if (memdesc_cache_wanted)
		memdesc_cache_turn_on();
	return 0;
}
postcore_initcall(memdesc_cache_init);
