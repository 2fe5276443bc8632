// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the kexec handover of slab objects: caches adopt slabs. That
 * needs no kexec, because mm/slub.c does not look where pages come from.
 */

#include <kunit/test.h>

#include <linux/bitmap.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kfence.h>
#include <linux/kho/abi/slab.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "../../kernel/liveupdate/kexec_handover_internal.h"
#include "../../mm/slab.h"
#include "kho_slab_kunit.h"

/* Which objects of the previous kernel a cache of this kernel can have. */
static void object_fits(struct kunit *test)
{
	enum { MERGED = 0, ALONE = 1 };
	static const struct {
		struct {
			unsigned int size, object_size, align, alone;
		} then, now;
		bool fits;
	} cases[] = {
		/* The same in both kernels. */
		{ { 1448, 1444, 8, MERGED }, { 1448, 1444, 8, MERGED }, true },
		{ { 64, 40, 64, MERGED }, { 64, 40, 64, MERGED }, true },
		{ { 200, 200, 8, ALONE }, { 200, 200, 8, ALONE }, true },
		/* Merged then, and not now; now, and not then. */
		{ { 1448, 1448, 8, MERGED }, { 1448, 1444, 8, MERGED }, true },
		{ { 1448, 1444, 8, MERGED }, { 1448, 1448, 8, MERGED }, true },
		{ { 64, 64, 64, MERGED }, { 64, 40, 64, MERGED }, true },
		{ { 1984, 1960, 64, MERGED }, { 1984, 1984, 8, MERGED }, true },
		{ { 1984, 1960, 64, ALONE }, { 1984, 1984, 8, MERGED }, true },
		{ { 1984, 1984, 8, MERGED }, { 1984, 1960, 64, ALONE }, true },
		/* Debugging in one of them. */
		{ { 1448, 1448, 8, MERGED }, { 1800, 1444, 8, ALONE }, true },
		{ { 1800, 1444, 8, ALONE }, { 1448, 1448, 8, MERGED }, true },
		{ { 1800, 1444, 8, ALONE }, { 1448, 1444, 8, ALONE }, true },
		{ { 2304, 1960, 64, ALONE }, { 1984, 1984, 8, MERGED }, true },
		/* Memory tagging in one of them. */
		{ { 40, 40, 8, MERGED }, { 48, 40, 16, MERGED }, true },
		{ { 48, 40, 16, ALONE }, { 40, 40, 8, ALONE }, true },
		{ { 48, 40, 16, MERGED }, { 40, 40, 8, MERGED }, true },
		{ { 48, 48, 16, MERGED }, { 40, 40, 8, MERGED }, false },
		/* Other objects. */
		{ { 256, 200, 64, ALONE }, { 256, 250, 64, ALONE }, false },
		{ { 200, 200, 8, ALONE }, { 200, 196, 8, ALONE }, false },
		{ { 200, 200, 8, ALONE }, { 72, 72, 8, ALONE }, false },
		{ { 200, 200, 8, MERGED }, { 72, 72, 8, ALONE }, false },
		{ { 72, 72, 8, MERGED }, { 200, 200, 8, ALONE }, false },
		{ { 72, 72, 8, ALONE }, { 200, 200, 8, MERGED }, false },
		{ { 72, 72, 8, MERGED }, { 200, 200, 8, MERGED }, false },
		{ { 200, 200, 8, MERGED }, { 72, 72, 8, MERGED }, false },
		{ { 1448, 1448, 8, ALONE }, { 1448, 1444, 8, MERGED }, false },
		{ { 1448, 1444, 8, MERGED }, { 1448, 1448, 8, ALONE }, false },
	};
	struct kmem_cache *cache = kunit_kzalloc(test, sizeof(*cache),
						 GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, cache);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kho_slab_record rec = {
			.size = cases[i].then.size,
			.object_size = cases[i].then.object_size,
			.align = __ffs(cases[i].then.align),
		};

		cache->size = cases[i].now.size;
		cache->object_size = cases[i].now.object_size;
		cache->align = cases[i].now.align;
		cache->flags = 0;
		if (cases[i].then.alone)
			rec.flags = KHO_SLAB_EXACT;
		if (cases[i].now.alone)
			cache->flags = SLAB_NO_MERGE;
		KUNIT_EXPECT_EQ_MSG(test, kho_slab_object_fits(cache, &rec),
				    cases[i].fits, "case %u", i);
	}
}

struct adopt {
	const char *name;
	slab_flags_t flags;
	void (*ctor)(void *obj);
	int order;	/* more than the cache has */
};

static void adopt_ctor(void *obj)
{
	memset(obj, 0xc0, 104);
}

static const struct adopt adopts[] = {
	{ "plain" },
	{ "constructor", .ctor = adopt_ctor },
	{ "accounted", .flags = SLAB_ACCOUNT },
	{ "aligned", .flags = SLAB_HWCACHE_ALIGN },
	{ "aligned and accounted", .flags = SLAB_HWCACHE_ALIGN | SLAB_ACCOUNT },
	{ "larger slab", .order = 1 },
	{ "much larger slab", .order = 3 },
	{ "smaller slab", .order = -1 },
	{ "poisoned", .flags = SLAB_POISON | SLAB_CONSISTENCY_CHECKS },
	{ "all debugging", .flags = SLAB_DEBUG_FLAGS & ~SLAB_TRACE },
	{ "all debugging, constructor", .flags = SLAB_DEBUG_FLAGS & ~SLAB_TRACE,
	  .ctor = adopt_ctor },
	{ "all debugging, larger slab", .flags = SLAB_DEBUG_FLAGS & ~SLAB_TRACE,
	  .order = 1 },
};

KUNIT_ARRAY_PARAM_DESC(adopt, adopts, name);

#define ADOPT_SIZE 104
#define MAX_OBJECTS 4096

static const struct adopt *get_adopt(struct kunit *test)
{
	const struct adopt *how = test->param_value;

	if (!IS_ENABLED(CONFIG_SLUB_DEBUG) && how->flags & SLAB_DEBUG_FLAGS)
		kunit_skip(test, "needs CONFIG_SLUB_DEBUG");
	return how;
}

/* Pages as kho_init_claimed() leaves them. */
static struct page *slab_pages(struct kunit *test, unsigned int order)
{
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP, order);

	KUNIT_ASSERT_NOT_NULL(test, page);
	set_page_count(page, 0);
	page->page_type = page_type_encode(PGTY_slab);
	return page;
}

/* Every third object is in use, the first and last too, or all are. */
static unsigned int fill_slab(struct kmem_cache *cache, struct page *page,
			      unsigned long *in_use, bool all)
{
	const unsigned int objects = (PAGE_SIZE << compound_order(page)) /
				     cache->size;
	const unsigned int pad = (unsigned long)fixup_red_left(cache, NULL);
	u8 *start = phys_to_virt(page_to_phys(page));

	memset(start, 0xee, PAGE_SIZE << compound_order(page));
	for (unsigned int i = 0; i < objects; i++) {
		if (!all && i % 3 && i != objects - 1)
			continue;
		__set_bit(i, in_use);
		memset(start + i * cache->size + pad, i + 1, ADOPT_SIZE);
	}
	return objects;
}

static void *nth_object(struct kmem_cache *cache, struct page *page,
			unsigned int i)
{
	return phys_to_virt(page_to_phys(page)) + i * cache->size +
	       (unsigned long)fixup_red_left(cache, NULL);
}

static void expect_valid(struct kunit *test, struct kmem_cache *cache)
{
#ifdef CONFIG_SLUB_DEBUG
	if (cache->flags & SLAB_CONSISTENCY_CHECKS)
		KUNIT_EXPECT_GE(test, validate_slab_cache(cache), 0);
#endif
}

static void adopt_slab(struct kunit *test)
{
	const struct adopt *how = get_adopt(test);
	unsigned long *in_use;
	struct kmem_cache *cache;
	const unsigned int nr = 1500;
	unsigned int order, objects, i, n;
	void **objs, **new, *obj;
	u8 expected[ADOPT_SIZE];
	struct page *page;

	in_use = kunit_kcalloc(test, BITS_TO_LONGS(MAX_OBJECTS), 8, GFP_KERNEL);
	objs = kunit_kcalloc(test, MAX_OBJECTS, sizeof(*objs), GFP_KERNEL);
	new = kunit_kcalloc(test, nr, sizeof(*new), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, in_use && objs && new);
	cache = kst_cache(test, ADOPT_SIZE, how->flags, how->ctor);
	kst_neighbours(test, cache, &obj, 1);
	order = max((int)slab_order(virt_to_slab(obj)) + how->order, 0);

	for (unsigned int all = 0; all < 2; all++) {
		bitmap_zero(in_use, MAX_OBJECTS);
		page = slab_pages(test, order);
		objects = fill_slab(cache, page, in_use, all);
		KUNIT_ASSERT_LE(test, objects, MAX_OBJECTS);

		KUNIT_EXPECT_TRUE(test,
				  slab_can_adopt(cache, page, cache->size,
						 ADOPT_SIZE,
						 (unsigned long)fixup_red_left(cache, NULL),
						 false));
		slab_adopt(cache, page_slab(page), in_use);
		KUNIT_EXPECT_EQ(test, 0U + page_slab(page)->objects, objects);
		KUNIT_EXPECT_EQ(test, 0U + page_slab(page)->inuse,
				bitmap_weight(in_use, objects));
		expect_valid(test, cache);

		for_each_set_bit(i, in_use, objects)
			objs[i] = slab_adopt_object(cache,
						    nth_object(cache, page, i));
		expect_valid(test, cache);

		/* The others are free. */
		for (n = 0; n < nr; n++) {
			new[n] = kmem_cache_alloc_node(cache, GFP_KERNEL,
						       page_to_nid(page));
			KUNIT_ASSERT_NOT_NULL(test, new[n]);
			if (is_kfence_address(new[n]) ||
			    virt_to_slab(new[n]) != page_slab(page))
				continue;
			i = obj_to_index(cache, page_slab(page), new[n]);
			KUNIT_EXPECT_FALSE(test, objs[i]);
			objs[i] = new[n];
			new[n] = NULL;
			if (how->ctor)
				KUNIT_EXPECT_EQ(test, ((u8 *)objs[i])[0], 0xc0);
		}
		/* All are found, if none can be in a sheaf of another CPU. */
		for (i = 0; i < objects && cache->flags & SLAB_DEBUG_FLAGS; i++)
			KUNIT_EXPECT_NOT_NULL(test, objs[i]);
		while (n--) {
			if (new[n])
				kmem_cache_free(cache, new[n]);
		}

		for_each_set_bit(i, in_use, objects) {
			memset(expected, i + 1, ADOPT_SIZE);
			KUNIT_EXPECT_MEMEQ_MSG(test, expected, objs[i],
					       ADOPT_SIZE, "object %u of %u",
					       i, objects);
		}
		for (i = 0; i < objects; i++) {
			if (objs[i])
				kmem_cache_free(cache, objs[i]);
			objs[i] = NULL;
		}
		expect_valid(test, cache);
		kmem_cache_shrink(cache);
	}
	kmem_cache_free(cache, obj);
}

/*
 * A cache can be destroyed while some of its objects wait to be restored.
 * Another cache can have them then.
 */
static void disown_slab(struct kunit *test)
{
	const struct adopt *how = get_adopt(test);
	unsigned int order, objects, nr, i, n;
	struct kmem_cache *cache;
	unsigned long *in_use;
	struct page *page;
	u8 expected[ADOPT_SIZE];
	void *obj;

	in_use = kunit_kcalloc(test, BITS_TO_LONGS(MAX_OBJECTS), 8, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, in_use);

	for (unsigned int all = 0; all < 2; all++) {
		cache = kmem_cache_create("kho_slab_kunit-disown", ADOPT_SIZE,
					  0, SLAB_NO_MERGE | how->flags,
					  how->ctor);
		KUNIT_ASSERT_NOT_NULL(test, cache);
		kst_neighbours(test, cache, &obj, 1);
		order = max((int)slab_order(virt_to_slab(obj)) + how->order, 0);
		kmem_cache_free(cache, obj);
		page = slab_pages(test, order);
		bitmap_zero(in_use, MAX_OBJECTS);
		objects = fill_slab(cache, page, in_use, all);
		nr = bitmap_weight(in_use, objects);

		/* Twice: what it leaves can be adopted again. */
		for (n = 0; n < 2; n++) {
			slab_adopt(cache, page_slab(page), in_use);
			i = find_first_bit(in_use, objects);
			obj = slab_adopt_object(cache,
						nth_object(cache, page, i));
			__clear_bit(i, in_use);
			nr--;
			if (!all || n)
				kmem_cache_free(cache, obj);
			kmem_cache_shrink(cache);
			if (all && !n) {
				/* It is full, and one object is in use. */
				KUNIT_EXPECT_FALSE(test,
						   slab_disown(cache,
							       page_slab(page),
							       nr));
				kmem_cache_free(cache, obj);
				kmem_cache_shrink(cache);
			}
			KUNIT_ASSERT_TRUE(test,
					  slab_disown(cache, page_slab(page),
						      nr));
			for_each_set_bit(i, in_use, objects) {
				memset(expected, i + 1, ADOPT_SIZE);
				KUNIT_EXPECT_MEMEQ(test, expected,
						   nth_object(cache, page, i),
						   ADOPT_SIZE);
			}
		}
		kmem_cache_destroy(cache);
		free_page_desc(page);
	}
}

/* Anybody can get the free objects of an adopted slab: its zone must suit. */
static void adopt_zones(struct kunit *test)
{
	static const slab_flags_t flags[] = {
		0, SLAB_CACHE_DMA, SLAB_CACHE_DMA32,
	};
	struct page *page = kunit_kzalloc(test, sizeof(*page), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	*page = *virt_to_page(page);
	for (unsigned int i = 0; i < ARRAY_SIZE(flags); i++) {
		struct kmem_cache *s = kst_cache(test, ADOPT_SIZE, flags[i],
						 NULL);
		unsigned int pad = (unsigned long)fixup_red_left(s, NULL);
		enum zone_type highest = gfp_zone(s->allocflags);

		for (enum zone_type zone = 0; zone <= ZONE_MOVABLE; zone++) {
			bool can = zone <= highest;

			set_page_zone(page, zone);
			KUNIT_EXPECT_EQ_MSG(test,
					    slab_can_adopt(s, page, s->size,
							   ADOPT_SIZE, pad,
							   false),
					    can, "flags %u, zone %u", i, zone);
			/* Without a zone for DMA, its memory is like any. */
			if (zone == ZONE_MOVABLE && highest == ZONE_NORMAL)
				can = true;
			KUNIT_EXPECT_EQ_MSG(test,
					    slab_can_adopt(s, page, s->size,
							   ADOPT_SIZE, pad,
							   true),
					    can, "flags %u, zone %u, in place",
					    i, zone);
		}
	}
}

static struct kunit_case kho_slab_adopt_cases[] = {
	KUNIT_CASE(object_fits),
	KUNIT_CASE_PARAM(adopt_slab, adopt_gen_params),
	KUNIT_CASE_PARAM(disown_slab, adopt_gen_params),
	KUNIT_CASE(adopt_zones),
	{}
};

static struct kunit_suite kho_slab_adopt_suite = {
	.name = "kho_slab_adopt",
	.init = kst_init,
	.test_cases = kho_slab_adopt_cases,
};

kunit_test_suite(kho_slab_adopt_suite);
