/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KUnit tests of the kexec handover of slab objects, as far as one kernel can
 * test it. lib/kho_test/ tests what comes after the kexec.
 *
 * kho_slab_common_kunit.c	what the suites share
 * kho_slab_format_kunit.c	the wire format, and damaged records
 * kho_slab_preserve_kunit.c	objects are preserved and unpreserved
 * kho_slab_adopt_kunit.c	caches take slabs of the previous kernel over
 * kho_slab_errors_kunit.c	callers make mistakes
 */
#ifndef _KHO_SLAB_KUNIT_H
#define _KHO_SLAB_KUNIT_H

#include <linux/gfp_types.h>
#include <linux/slab.h>
#include <linux/types.h>

struct kho_slab_record;
struct kunit;

/* Everything that is preserved. */
struct count {
	unsigned int objects;
	unsigned int copies;
	size_t bytes;		/* of records */
};

/* An entry in use of a chain, as the next kernel would find it. */
typedef void (*entry_fn)(struct kunit *test, unsigned int chain, void *entry,
			 void *arg);

/* What others had preserved when the case started. */
extern struct count kst_before;

int kst_init(struct kunit *test);
void *kst_kmalloc(struct kunit *test, size_t size, gfp_t gfp);
struct kmem_cache *kst_cache(struct kunit *test, size_t size,
			     slab_flags_t flags, void (*ctor)(void *));
void kst_destroy_cache(void *cache);
void kst_neighbours(struct kunit *test, struct kmem_cache *cache,
		    void **objs, unsigned int nr);
void kst_walk_entries(struct kunit *test, entry_fn fn, void *arg);
struct count kst_count_preserved(struct kunit *test);
void kst_expect_nothing_left(struct kunit *test);
struct kho_slab_record *kst_find_record(struct kunit *test, const void *obj);

#endif /* _KHO_SLAB_KUNIT_H */
