// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the kexec handover of slab objects: callers make mistakes.
 * They preserve or restore what they must not, or free an object while it is
 * preserved.
 */

#include <kunit/test.h>

#include <linux/bitmap.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kfence.h>
#include <linux/kho/abi/slab.h>
#include <linux/kho_memdesc.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "../../mm/slab.h"
#include "kho_slab_kunit.h"

/* Without the variable KUnit would print all that the macros expand to. */
#define EXPECT_ERR_PTR(test, ptr, expected)				\
	do {								\
		long err = PTR_ERR(ptr);				\
									\
		KUNIT_EXPECT_EQ_MSG(test, err, expected, "%s", #ptr);	\
	} while (0)

static void not_an_object(struct kunit *test)
{
	char *obj = kst_kmalloc(test, 128, 0);
	char *large = kst_kmalloc(test, 4 * KMALLOC_MAX_CACHE_SIZE, 0);
	unsigned long page = __get_free_page(GFP_KERNEL);
	void *area = vmalloc(PAGE_SIZE);
	int on_stack;

	KUNIT_EXPECT_EQ(test, kho_slab_preserve(NULL), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_slab_preserve(ZERO_SIZE_PTR), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_slab_preserve(area), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_slab_preserve((void *)page), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_slab_preserve(&on_stack), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_slab_preserve(not_an_object), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_slab_preserve(obj + 8), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_slab_preserve(obj + 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_slab_preserve(large + 8), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_slab_preserve(large + PAGE_SIZE), -EINVAL);
	kst_expect_nothing_left(test);

	/* These are refused, and nothing else happens. */
	kho_slab_unpreserve(NULL);
	kho_slab_unpreserve(area);
	kho_slab_unpreserve(obj);
	kho_slab_unpreserve(large);

	KUNIT_EXPECT_EQ(test, kho_slab_preserve(obj), 0);
	kho_slab_unpreserve(obj + 8);
	KUNIT_EXPECT_EQ(test, kho_slab_preserve(obj), -EEXIST);
	kho_slab_unpreserve(obj);

	vfree(area);
	free_page(page);
}

static void ctor(void *obj)
{
	memset(obj, 0xc0, 100);
}

static void wrong_cache(struct kunit *test)
{
	struct kmem_cache *cache = kst_cache(test, 100, 0, NULL);
	struct kmem_cache *constructed = kst_cache(test, 100, 0, ctor);
	struct kmem_cache *stable = kst_cache(test, 100, SLAB_TYPESAFE_BY_RCU,
					      NULL);
	void *obj = kmem_cache_alloc(cache, GFP_KERNEL);
	void *constructed_obj = kmem_cache_alloc(constructed, GFP_KERNEL);
	void *stable_obj = kmem_cache_alloc(stable, GFP_KERNEL);

	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(constructed, obj),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, kho_slab_preserve(constructed_obj), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(stable, stable_obj),
			-EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, kho_slab_preserve(stable_obj), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test,
			kho_kmem_cache_preserve(cache,
						kst_kmalloc(test, 64, 0)),
			-EINVAL);
	kst_expect_nothing_left(test);

	KUNIT_EXPECT_EQ(test,
			kho_kmem_cache_preserve(constructed, constructed_obj),
			0);
	kho_kmem_cache_unpreserve(constructed, constructed_obj);

	kmem_cache_free(cache, obj);
	kmem_cache_free(constructed, constructed_obj);
	kmem_cache_free(stable, stable_obj);
	rcu_barrier();
}

static void freed_object(struct kunit *test)
{
	struct kmem_cache *cache = kst_cache(test, 100, 0, NULL);
	void *obj;

	if (IS_ENABLED(CONFIG_KASAN))
		kunit_skip(test, "KASAN reports it");
	if (!IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG))
		kunit_skip(test, "needs CONFIG_KEXEC_HANDOVER_DEBUG");

	do {
		obj = kmem_cache_alloc(cache, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, obj);
		if (!is_kfence_address(obj))
			break;
		kmem_cache_free(cache, obj);
	} while (true);

	migrate_disable();
	kmem_cache_free(cache, obj);
	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(cache, obj), -EINVAL);
	migrate_enable();
	kst_expect_nothing_left(test);
}

static void freed_nolock(struct kunit *test)
{
	void *objs[64], *obj = NULL;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(objs); i++)
		objs[i] = kmalloc_nolock(96, 0, NUMA_NO_NODE);
	/* Take one that is not the only one of its slab. */
	for (i = 1; i < ARRAY_SIZE(objs) && !obj; i++) {
		if (objs[i - 1] && objs[i] && !is_kfence_address(objs[i]) &&
		    virt_to_slab(objs[i - 1]) == virt_to_slab(objs[i])) {
			obj = objs[i];
			objs[i] = NULL;
		}
	}
	if (obj) {
		KUNIT_EXPECT_EQ(test, kho_slab_preserve(obj), 0);
		kunit_warning_suppress(test) {
			kfree_nolock(obj);
			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
		}
		kho_slab_unpreserve(obj);
	}
	for (i = 0; i < ARRAY_SIZE(objs); i++)
		kfree_nolock(objs[i]);
}

/*
 * Large kmalloc memory is gone after it was freed, and cannot be unpreserved.
 * So allocate the same memory again, which gives it the same type and order.
 */
static void freed_large(struct kunit *test)
{
	const size_t size = 4 * KMALLOC_MAX_CACHE_SIZE;
	void *large = kmalloc(size, GFP_KERNEL);
	void *others[64], *again = NULL;
	unsigned int n = 0;

	KUNIT_ASSERT_NOT_NULL(test, large);
	KUNIT_EXPECT_EQ(test, kho_slab_preserve(large), 0);

	/* This CPU allocates first what it freed last. */
	migrate_disable();
	kunit_warning_suppress(test) {
		kfree(large);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	while (again != large && n < ARRAY_SIZE(others)) {
		again = kmalloc(size, GFP_KERNEL);
		others[n++] = again;
	}
	migrate_enable();

	KUNIT_EXPECT_PTR_EQ(test, again, large);
	if (again == large)
		kho_slab_unpreserve(again);
	while (n)
		kfree(others[--n]);
}

/* Whoever frees an object without unpreserving it gets a warning. */
static void freed_while_preserved(struct kunit *test)
{
	struct kmem_cache *cache = kst_cache(test, 100, 0, NULL);
	void *objs[3], *neighbour, *obj, *large;

	kst_neighbours(test, cache, objs, 3);
	neighbour = objs[0];
	obj = objs[1];
	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(cache, obj), 0);

	kunit_warning_suppress(test) {
		kmem_cache_free(cache, objs[2]);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 0);
	}

	/*
	 * The owner of the object should know that it is preserved. The slab
	 * stays because of its other object. So the preservation can be undone.
	 */
	if (IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG)) {
		kunit_warning_suppress(test) {
			kmem_cache_free(cache, obj);
			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
		}
		kho_kmem_cache_unpreserve(cache, obj);
		kmem_cache_free(cache, neighbour);
		freed_large(test);
		freed_nolock(test);
	} else {
		large = kmalloc(4 * KMALLOC_MAX_CACHE_SIZE, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, large);
		KUNIT_EXPECT_EQ(test, kho_slab_preserve(large), 0);
		kho_kmem_cache_unpreserve(cache, obj);
		kho_slab_unpreserve(large);
		kunit_warning_suppress(test) {
			kmem_cache_free(cache, obj);
			kfree(large);
			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 0);
		}
		kmem_cache_free(cache, neighbour);
	}
	kst_expect_nothing_left(test);
	if (!IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG))
		kunit_skip(test, "needs CONFIG_KEXEC_HANDOVER_DEBUG");
}

/* A record that does not belong to the slab stays as it is. */
static void expect_untouched(struct kunit *test, struct kmem_cache *cache,
			     void **objs, struct kho_slab_record *rec,
			     u64 *saved, size_t size)
{
	memcpy(saved, rec, size);
	kunit_warning_suppress(test) {
		KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(cache, objs[1]),
				-EEXIST);
		kho_kmem_cache_unpreserve(cache, objs[0]);
		kho_kmem_cache_unpreserve(cache, objs[1]);
	}
	KUNIT_EXPECT_MEMEQ(test, (void *)saved, (void *)rec, size);
}

/* The record is that of another slab, which was in that place before. */
static void record_of_another_slab(struct kunit *test)
{
	struct kmem_cache *cache = kst_cache(test, 24, 0, NULL);
	struct kho_slab_record *rec, was;
	void *objs[2];
	size_t size;
	u64 *saved;

	kst_neighbours(test, cache, objs, 2);
	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(cache, objs[0]), 0);
	rec = kst_find_record(test, objs[0]);
	KUNIT_ASSERT_NOT_NULL(test, rec);
	size = struct_size(rec, bitmap, BITS_TO_U64(rec->objects));
	saved = kunit_kmalloc(test, size, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, saved);
	was = *rec;

	rec->size = was.size * 2;
	expect_untouched(test, cache, objs, rec, saved, size);
	*rec = was;
	rec->objects = 1;
	expect_untouched(test, cache, objs, rec, saved, size);
	rec->objects = was.objects + 1;
	expect_untouched(test, cache, objs, rec, saved, size);
	*rec = was;
	/* Without debugging no slab has padding. */
	if (__slub_debug_enabled()) {
		rec->left_pad += 8;
		expect_untouched(test, cache, objs, rec, saved, size);
		*rec = was;
	}

	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(cache, objs[1]), 0);
	kho_kmem_cache_unpreserve(cache, objs[0]);
	kho_kmem_cache_unpreserve(cache, objs[1]);
	kmem_cache_free(cache, objs[0]);
	kmem_cache_free(cache, objs[1]);
	kst_expect_nothing_left(test);
}

/*
 * Somebody frees an object without unpreserving it. That does not harm whoever
 * gets the memory then and preserves it.
 */
static void freed_and_reused(struct kunit *test)
{
	struct kmem_cache *old, *new;
	struct kho_slab_record *rec;
	const unsigned int nr = 4000;
	unsigned int refused = 0;
	u8 *chunk, *saved;
	void **objs, *obj;
	const void *slab;

	saved = kunit_kmalloc(test, PAGE_SIZE, GFP_KERNEL);
	objs = kunit_kcalloc(test, nr, sizeof(*objs), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, saved && objs);
	new = kst_cache(test, 256, 0, NULL);
	old = kmem_cache_create("kho_slab_kunit-old", 264, 0, SLAB_NO_MERGE,
				NULL);
	KUNIT_ASSERT_NOT_NULL(test, old);
	kst_neighbours(test, old, &obj, 1);
	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(old, obj), 0);
	rec = kst_find_record(test, obj);
	KUNIT_ASSERT_NOT_NULL(test, rec);
	slab = slab_address(virt_to_slab(obj));

	/* This CPU allocates first what it freed last. */
	migrate_disable();
	kunit_warning_suppress(test)
		kmem_cache_free(old, obj);
	kmem_cache_destroy(old);
	for (unsigned int i = 0; i < nr; i++)
		objs[i] = kmem_cache_alloc(new, GFP_KERNEL);
	migrate_enable();

	chunk = (u8 *)((unsigned long)rec & PAGE_MASK);
	memcpy(saved, chunk, PAGE_SIZE);
	obj = NULL;
	for (unsigned int i = 0; i < nr; i++) {
		if (!objs[i] || is_kfence_address(objs[i]) ||
		    slab_address(virt_to_slab(objs[i])) != slab)
			continue;
		obj = objs[i];
		kunit_warning_suppress(test) {
			KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(new, obj),
					-EEXIST);
		}
		refused++;
	}
	KUNIT_EXPECT_MEMEQ(test, saved, chunk, PAGE_SIZE);

	/* Get rid of the record: make it that of the new slab. */
	if (obj) {
		rec->size = new->size;
		rec->objects = virt_to_slab(obj)->objects;
		rec->left_pad = (unsigned long)fixup_red_left(new, NULL);
		bitmap_zero((unsigned long *)rec->bitmap, 64);
		__set_bit(obj_to_index(new, virt_to_slab(obj), obj),
			  (unsigned long *)rec->bitmap);
		kho_kmem_cache_unpreserve(new, obj);
		kst_expect_nothing_left(test);
	} else {
		/* The record stays for ever, as it does after any such bug. */
		kst_before = kst_count_preserved(test);
	}
	for (unsigned int i = 0; i < nr; i++)
		kmem_cache_free(new, objs[i]);
	if (!refused)
		kunit_skip(test, "no slab came to lie there");
}

static void not_handed_over(struct kunit *test)
{
	void *obj = kst_kmalloc(test, 64, 0);
	void *large = kst_kmalloc(test, 4 * KMALLOC_MAX_CACHE_SIZE, 0);
	struct kmem_cache *cache = kst_cache(test, 100, 0, NULL);
	phys_addr_t phys = virt_to_phys(obj);

	EXPECT_ERR_PTR(test, kho_slab_restore(phys), -ENOENT);
	EXPECT_ERR_PTR(test, kho_slab_restore_in_place(phys), -ENOENT);
	EXPECT_ERR_PTR(test, kho_kmem_cache_restore(cache, phys), -ENOENT);
	EXPECT_ERR_PTR(test, kho_slab_restore(virt_to_phys(large)), -ENOENT);
	EXPECT_ERR_PTR(test, kho_slab_restore(BIT_ULL(51)), -ENOENT);
	EXPECT_ERR_PTR(test, kho_slab_restore(0), -ENOENT);

	/* What is handed over by this kernel was not handed over to it. */
	KUNIT_EXPECT_EQ(test, kho_slab_preserve(obj), 0);
	EXPECT_ERR_PTR(test, kho_slab_restore(phys), -ENOENT);
	kho_slab_unpreserve(obj);
}

static struct kunit_case kho_slab_errors_cases[] = {
	KUNIT_CASE(not_an_object),
	KUNIT_CASE(wrong_cache),
	KUNIT_CASE(freed_object),
	KUNIT_CASE(freed_while_preserved),
	KUNIT_CASE(record_of_another_slab),
	KUNIT_CASE(freed_and_reused),
	KUNIT_CASE(not_handed_over),
	{}
};

static struct kunit_suite kho_slab_errors_suite = {
	.name = "kho_slab_errors",
	.init = kst_init,
	.test_cases = kho_slab_errors_cases,
};

kunit_test_suite(kho_slab_errors_suite);
