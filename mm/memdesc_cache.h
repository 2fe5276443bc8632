/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Per-CPU lists of freed memory descriptors: what the files below share.
 *
 *   memdesc_cache.c		get from a list, put on a list
 *   memdesc_cache_drain.c	give held pages back
 *   memdesc_cache_init.c	how much the lists hold, and when they are on
 */
#ifndef _MM_MEMDESC_CACHE_H
#define _MM_MEMDESC_CACHE_H

#include <linux/atomic.h>
#include <linux/jump_label.h>
#include <linux/memdesc.h>
#include <linux/mmzone.h>
#include <linux/percpu.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>

#define MEMDESC_CACHE_ORDERS	4

/*
 * How many descriptors of a type and order a CPU may hold. The limit is in
 * bytes: if PAGE_SIZE is large, a list holds few descriptors, or none.
 */
enum {
	MEMDESC_DEPTH_0 = SZ_256K / PAGE_SIZE,
	MEMDESC_DEPTH_1 = SZ_128K / (PAGE_SIZE << 1),
	MEMDESC_DEPTH_2 = SZ_128K / (PAGE_SIZE << 2),
	MEMDESC_DEPTH_3 = SZ_128K / (PAGE_SIZE << 3),
	MEMDESC_CACHE_SLOTS = MEMDESC_DEPTH_0 + MEMDESC_DEPTH_1 +
			      MEMDESC_DEPTH_2 + MEMDESC_DEPTH_3,
};

/* The types that have lists, as indices of the arrays of lists. */
enum {
	CACHED_PTDESC,
	CACHED_IOPTDESC,
	NR_CACHED_TYPES
};

extern const enum memdesc_type memdesc_cached_types[NR_CACHED_TYPES];

/* The most descriptors that are given back under one hold of a list's lock. */
#define MEMDESC_CACHE_BATCH	16U

/*
 * A list of one type and order. All its memory is from one zone, the zone that
 * allocations on its CPU's node try first. Getting from and putting on a list
 * only try to take the lock. If that fails, because this is an interrupt in the
 * middle of a critical section, or another CPU drains the list, the caller goes
 * to the page allocator. So interrupts stay enabled under the lock, and any CPU
 * can drain the list.
 *
 * The list is found by raw_cpu_ptr(), so the task may be migrated before it
 * takes the lock. The task then uses another CPU's list. That is correct, but
 * must not make the list hold memory of the task's new node.
 */
struct memdesc_stack {
	spinlock_t lock;	/* protects all fields below */
	unsigned short nr;
	unsigned short max;	/* also read without the lock */
	int nid;
	int nr_pages;		/* of each descriptor, does not change */
	int zone_id;		/* page_zone_id() of a page of the zone, or -1 */
	unsigned int cpu;	/* does not change */
	struct zone *zone;	/* NULL: see memdesc_zone_isolated() */
	struct per_cpu_nodestat __percpu *stat;	/* of the zone's node */
	unsigned long hits;
	unsigned long misses;
	void **desc;
};

struct memdesc_cache {
	struct memdesc_stack stack[NR_CACHED_TYPES][MEMDESC_CACHE_ORDERS];
	void *slots[NR_CACHED_TYPES][MEMDESC_CACHE_SLOTS];
};

DECLARE_PER_CPU(struct memdesc_cache, memdesc_cache);

DECLARE_STATIC_KEY_FALSE(memdesc_cache_key);

/* memdesc_cache.c */
extern atomic_t memdesc_cache_paused;
void memdesc_take_cold(struct memdesc_stack *stack, void **batch,
		       unsigned int nr, unsigned int order);
void memdesc_release(void **desc, unsigned int nr, enum memdesc_type type);

/* memdesc_cache_drain.c */
extern bool memdesc_cache_used;
unsigned long memdesc_drain_stack(struct memdesc_stack *stack,
				  unsigned int order, enum memdesc_type type,
				  unsigned long goal, bool sync);
int memdesc_cache_reclaimable(void);

#endif /* _MM_MEMDESC_CACHE_H */
