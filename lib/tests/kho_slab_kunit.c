// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the kexec handover of slab objects, as far as one kernel can
 * test it. What comes after the kexec is tested by lib/test_kho_memdesc.c.
 */

#include <kunit/test.h>

#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kfence.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/kho/abi/slab.h>
#include <linux/kho_memdesc.h>
#include <linux/mm.h>
#include <linux/libfdt.h>
#include <linux/prandom.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "../../kernel/liveupdate/kexec_handover_internal.h"
#include "../../mm/slab.h"

/* In a variable, or KUnit would print all that the macros expand to. */
#define EXPECT_ERR_PTR(test, expected, ptr)				\
	do {								\
		long err = PTR_ERR(ptr);				\
									\
		KUNIT_EXPECT_EQ_MSG(test, expected, err, "%s", #ptr);	\
	} while (0)

static void *get_kmalloc(struct kunit *test, size_t size, gfp_t gfp)
{
	void *obj = kunit_kmalloc(test, size, GFP_KERNEL | gfp);

	KUNIT_ASSERT_NOT_NULL(test, obj);
	memset(obj, 0x5a, size);
	return obj;
}

static void destroy_cache(void *cache)
{
	kmem_cache_destroy(cache);
}

static struct kmem_cache *get_cache(struct kunit *test, size_t size,
				    slab_flags_t flags, void (*ctor)(void *))
{
	static unsigned int serial;
	struct kmem_cache *cache;
	char name[32];

	snprintf(name, sizeof(name), "kho_slab_kunit-%u", serial++);
	cache = kmem_cache_create(name, size, 0, SLAB_NO_MERGE | flags, ctor);
	KUNIT_ASSERT_NOT_NULL(test, cache);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, destroy_cache,
							   cache));
	return cache;
}

static bool has_root(void)
{
	return fdt_subnode_offset(kho_out.fdt, 0, KHO_SLAB_SUBTREE) >= 0;
}

/* The wire format: a contract with other kernels, which no change may break. */

static void wire_format(struct kunit *test)
{
	KUNIT_EXPECT_STREQ(test, "slab", KHO_SLAB_SUBTREE);
	KUNIT_EXPECT_EQ(test, 1, KHO_SLAB_VERSION);
	KUNIT_EXPECT_EQ(test, 9, KHO_SLAB_RECORDS);
	KUNIT_EXPECT_EQ(test, 9, KHO_SLAB_COPIES);
	KUNIT_EXPECT_EQ(test, 10, KHO_SLAB_CHAINS);

	KUNIT_EXPECT_EQ(test, 0, KHO_SLAB_NORMAL);
	KUNIT_EXPECT_EQ(test, 1, KHO_SLAB_RECLAIM);
	KUNIT_EXPECT_EQ(test, 2, KHO_SLAB_CGROUP);
	KUNIT_EXPECT_EQ(test, 3, KHO_SLAB_DMA);

	KUNIT_EXPECT_EQ(test, 0, offsetof(struct kho_slab_root, version));
	KUNIT_EXPECT_EQ(test, 8, offsetof(struct kho_slab_root, chain));

	KUNIT_EXPECT_EQ(test, 0, offsetof(struct kho_slab_chunk, next));
	KUNIT_EXPECT_EQ(test, 8, offsetof(struct kho_slab_chunk, top));
	KUNIT_EXPECT_EQ(test, 10, offsetof(struct kho_slab_chunk, used));
	KUNIT_EXPECT_EQ(test, 12, offsetof(struct kho_slab_chunk, free));
	KUNIT_EXPECT_EQ(test, 16, offsetof(struct kho_slab_chunk, data));

	KUNIT_EXPECT_EQ(test, 0, offsetof(struct kho_slab_copy, from));
	KUNIT_EXPECT_EQ(test, 8, offsetof(struct kho_slab_copy, to));
	KUNIT_EXPECT_EQ(test, 16, offsetof(struct kho_slab_copy, size));

	KUNIT_EXPECT_EQ(test, 24, sizeof(struct kho_slab_record));
	KUNIT_EXPECT_EQ(test, 0, offsetof(struct kho_slab_record, phys));
	KUNIT_EXPECT_EQ(test, 8, offsetof(struct kho_slab_record, size));
	KUNIT_EXPECT_EQ(test, 12, offsetof(struct kho_slab_record, object_size));
	KUNIT_EXPECT_EQ(test, 16, offsetof(struct kho_slab_record, objects));
	KUNIT_EXPECT_EQ(test, 18, offsetof(struct kho_slab_record, nr));
	KUNIT_EXPECT_EQ(test, 20, offsetof(struct kho_slab_record, left_pad));
	KUNIT_EXPECT_EQ(test, 22, offsetof(struct kho_slab_record, order));
	KUNIT_EXPECT_EQ(test, 23, offsetof(struct kho_slab_record, class));
	KUNIT_EXPECT_EQ(test, 24, offsetof(struct kho_slab_record, bitmap));
}

/* Preserving and unpreserving. */

static void check_preserve(struct kunit *test, void *obj)
{
	for (unsigned int round = 0; round < 3; round++) {
		KUNIT_EXPECT_EQ(test, 0, kho_slab_preserve(obj));
		KUNIT_EXPECT_EQ(test, -EEXIST, kho_slab_preserve(obj));
		kho_slab_unpreserve(obj);
	}
	KUNIT_EXPECT_FALSE(test, has_root());
}

static void preserve_kmalloc(struct kunit *test)
{
	static const gfp_t gfps[] = {
		0, __GFP_RECLAIMABLE, __GFP_ACCOUNT, __GFP_DMA,
	};

	for (size_t size = 8; size <= KMALLOC_MAX_CACHE_SIZE; size *= 2) {
		for (unsigned int i = 0; i < ARRAY_SIZE(gfps); i++) {
			check_preserve(test, get_kmalloc(test, size, gfps[i]));
			check_preserve(test, get_kmalloc(test, size * 3 / 4,
							 gfps[i]));
		}
	}
}

static void preserve_large_kmalloc(struct kunit *test)
{
	for (size_t size = KMALLOC_MAX_CACHE_SIZE + 1; size <= SZ_4M / 2;
	     size *= 2)
		check_preserve(test, get_kmalloc(test, size, 0));
}

static void preserve_kvmalloc(struct kunit *test)
{
	static const size_t sizes[] = { 1, 64, 3000, SZ_64K };

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		void *mem = kvmalloc(sizes[i], GFP_KERNEL);
		struct kho_vmalloc ser;

		KUNIT_ASSERT_NOT_NULL(test, mem);
		KUNIT_EXPECT_EQ(test, 0, kho_vmalloc_preserve(mem, &ser));
		if (!is_vmalloc_addr(mem)) {
			KUNIT_EXPECT_EQ(test, virt_to_phys(mem), ser.first.phys);
			KUNIT_EXPECT_EQ(test, KHO_VMALLOC_KMALLOC, ser.flags);
			KUNIT_EXPECT_EQ(test, 0, ser.total_pages);
			KUNIT_EXPECT_EQ(test, -EEXIST, kho_slab_preserve(mem));
		}
		kho_vmalloc_unpreserve(&ser);
		KUNIT_EXPECT_EQ(test, 0, ser.first.phys);
		kvfree(mem);
	}
	KUNIT_EXPECT_FALSE(test, has_root());
}

static void preserve_kmem_cache(struct kunit *test)
{
	struct kmem_cache *cache = get_cache(test, 200, 0, NULL);
	void *objs[64];

	for (unsigned int i = 0; i < ARRAY_SIZE(objs); i++) {
		objs[i] = kmem_cache_alloc(cache, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, objs[i]);
		KUNIT_EXPECT_EQ(test, 0, kho_kmem_cache_preserve(cache, objs[i]));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(objs); i++)
		KUNIT_EXPECT_EQ(test, -EEXIST,
				kho_kmem_cache_preserve(cache, objs[i]));
	for (unsigned int i = 0; i < ARRAY_SIZE(objs); i++) {
		kho_kmem_cache_unpreserve(cache, objs[i]);
		kmem_cache_free(cache, objs[i]);
	}
	KUNIT_EXPECT_FALSE(test, has_root());
}

/* The records as the next kernel would find them. */

static unsigned int count_preserved(struct kunit *test, size_t *bytes)
{
	int off = fdt_subnode_offset(kho_out.fdt, 0, KHO_SLAB_SUBTREE);
	const struct kho_slab_root *root;
	unsigned int count = 0;
	const u64 *phys;
	int len;

	*bytes = 0;
	if (off < 0)
		return 0;
	phys = fdt_getprop(kho_out.fdt, off, KHO_SUB_TREE_PROP_NAME, &len);
	root = phys_to_virt(*phys);
	KUNIT_EXPECT_EQ(test, KHO_SLAB_VERSION, root->version);

	for (unsigned int i = 0; i < KHO_SLAB_RECORDS; i++) {
		size_t size = sizeof(struct kho_slab_record) + (8UL << i);
		u64 next = root->chain[i];

		while (next) {
			struct kho_slab_chunk *chunk = phys_to_virt(next);
			unsigned int used = 0;

			for (unsigned int n = 0; n < chunk->top; n++) {
				struct kho_slab_record *rec =
					(void *)chunk->data + n * size;
				const char *bad;

				if (!rec->phys)
					continue;
				used++;
				bad = kho_slab_bad_record(rec, i);
				KUNIT_EXPECT_PTR_EQ_MSG(test, NULL, bad, "%s", bad);
				count += rec->nr;
				*bytes += size;
			}
			KUNIT_EXPECT_EQ(test, used, chunk->used);
			KUNIT_EXPECT_GT(test, used, 0);
			next = chunk->next;
		}
	}
	return count;
}

/* Many objects in and out in random order: nothing is lost and nothing left. */
static void preserve_many(struct kunit *test)
{
	const unsigned int nr = 20000;
	unsigned int preserved = 0;
	struct rnd_state rnd;
	bool *is_preserved;
	size_t bytes;
	void **objs;

	objs = kvcalloc(nr, sizeof(*objs), GFP_KERNEL);
	is_preserved = kvcalloc(nr, sizeof(bool), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, objs);
	KUNIT_ASSERT_NOT_NULL(test, is_preserved);
	prandom_seed_state(&rnd, 4711);

	for (unsigned int i = 0; i < nr; i++) {
		objs[i] = kmalloc(prandom_u32_state(&rnd) % 700 + 1, GFP_KERNEL);
		if (!objs[i])
			continue;
		is_preserved[i] = !kho_slab_preserve(objs[i]);
		KUNIT_EXPECT_TRUE(test, is_preserved[i]);
		preserved += is_preserved[i];
	}
	KUNIT_EXPECT_EQ(test, preserved, count_preserved(test, &bytes));

	for (unsigned int round = 0; round < 3 * nr; round++) {
		unsigned int i = prandom_u32_state(&rnd) % nr;

		if (!objs[i])
			continue;
		if (is_preserved[i])
			kho_slab_unpreserve(objs[i]);
		else
			KUNIT_EXPECT_EQ(test, 0, kho_slab_preserve(objs[i]));
		preserved += is_preserved[i] ? -1 : 1;
		is_preserved[i] = !is_preserved[i];
	}
	KUNIT_EXPECT_EQ(test, preserved, count_preserved(test, &bytes));

	for (unsigned int i = 0; i < nr; i++) {
		if (is_preserved[i])
			kho_slab_unpreserve(objs[i]);
		kfree(objs[i]);
	}
	KUNIT_EXPECT_FALSE(test, has_root());
	kvfree(is_preserved);
	kvfree(objs);
}

/* What the metadata takes when whole slabs are preserved: bits, not bytes. */
static void metadata_size(struct kunit *test)
{
	struct kmem_cache *cache = get_cache(test, 64, 0, NULL);
	const unsigned int nr = 4096;
	size_t bytes;
	void **objs;

	objs = kvcalloc(nr, sizeof(*objs), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, objs);
	for (unsigned int i = 0; i < nr; i++) {
		objs[i] = kmem_cache_alloc(cache, GFP_KERNEL);
		KUNIT_EXPECT_EQ(test, 0, kho_kmem_cache_preserve(cache, objs[i]));
	}

	KUNIT_EXPECT_EQ(test, nr, count_preserved(test, &bytes));
	kunit_info(test, "%zu bytes for %u objects of 64 bytes\n", bytes, nr);

	/* Debugging makes the objects four times as large. */
	KUNIT_EXPECT_LE(test, bytes, 4 * nr);
	for (unsigned int i = 0; i < nr; i++) {
		kho_kmem_cache_unpreserve(cache, objs[i]);
		kmem_cache_free(cache, objs[i]);
	}
	kvfree(objs);
}

/* Bad input. */

static void not_an_object(struct kunit *test)
{
	char *obj = get_kmalloc(test, 128, 0);
	char *large = get_kmalloc(test, 4 * KMALLOC_MAX_CACHE_SIZE, 0);
	unsigned long page = __get_free_page(GFP_KERNEL);
	void *area = vmalloc(PAGE_SIZE);
	int on_stack;

	KUNIT_EXPECT_EQ(test, -EINVAL, kho_slab_preserve(NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL, kho_slab_preserve(ZERO_SIZE_PTR));
	KUNIT_EXPECT_EQ(test, -EINVAL, kho_slab_preserve(area));
	KUNIT_EXPECT_EQ(test, -EINVAL, kho_slab_preserve((void *)page));
	KUNIT_EXPECT_EQ(test, -EINVAL, kho_slab_preserve(&on_stack));
	KUNIT_EXPECT_EQ(test, -EINVAL, kho_slab_preserve(not_an_object));
	KUNIT_EXPECT_EQ(test, -EINVAL, kho_slab_preserve(obj + 8));
	KUNIT_EXPECT_EQ(test, -EINVAL, kho_slab_preserve(obj + 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, kho_slab_preserve(large + 8));
	KUNIT_EXPECT_EQ(test, -EINVAL, kho_slab_preserve(large + PAGE_SIZE));
	KUNIT_EXPECT_FALSE(test, has_root());

	/* They are refused, and nothing else happens. */
	kho_slab_unpreserve(NULL);
	kho_slab_unpreserve(area);
	kho_slab_unpreserve(obj);
	kho_slab_unpreserve(large);

	KUNIT_EXPECT_EQ(test, 0, kho_slab_preserve(obj));
	kho_slab_unpreserve(obj + 8);
	KUNIT_EXPECT_EQ(test, -EEXIST, kho_slab_preserve(obj));
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
	struct kmem_cache *cache = get_cache(test, 100, 0, NULL);
	struct kmem_cache *constructed = get_cache(test, 100, 0, ctor);
	struct kmem_cache *stable = get_cache(test, 100, SLAB_TYPESAFE_BY_RCU,
					      NULL);
	void *obj = kmem_cache_alloc(cache, GFP_KERNEL);
	void *constructed_obj = kmem_cache_alloc(constructed, GFP_KERNEL);
	void *stable_obj = kmem_cache_alloc(stable, GFP_KERNEL);

	KUNIT_EXPECT_EQ(test, -EINVAL, kho_kmem_cache_preserve(constructed, obj));
	KUNIT_EXPECT_EQ(test, -EINVAL, kho_slab_preserve(constructed_obj));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			kho_kmem_cache_preserve(stable, stable_obj));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, kho_slab_preserve(stable_obj));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			kho_kmem_cache_preserve(cache, get_kmalloc(test, 64, 0)));
	KUNIT_EXPECT_FALSE(test, has_root());

	KUNIT_EXPECT_EQ(test, 0,
			kho_kmem_cache_preserve(constructed, constructed_obj));
	kho_kmem_cache_unpreserve(constructed, constructed_obj);

	kmem_cache_free(cache, obj);
	kmem_cache_free(constructed, constructed_obj);
	kmem_cache_free(stable, stable_obj);
	rcu_barrier();
}

static void freed_object(struct kunit *test)
{
	struct kmem_cache *cache = get_cache(test, 100, 0, NULL);
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
	KUNIT_EXPECT_EQ(test, -EINVAL, kho_kmem_cache_preserve(cache, obj));
	migrate_enable();
	KUNIT_EXPECT_FALSE(test, has_root());
}

/* Who frees an object without unpreserving it is told. */
static void freed_while_preserved(struct kunit *test)
{
	struct kmem_cache *cache = get_cache(test, 100, 0, NULL);
	void *neighbour = kmem_cache_alloc(cache, GFP_KERNEL);
	void *obj = kmem_cache_alloc(cache, GFP_KERNEL);
	void *large = kmalloc(4 * KMALLOC_MAX_CACHE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, neighbour);
	KUNIT_ASSERT_NOT_NULL(test, obj);
	KUNIT_ASSERT_NOT_NULL(test, large);
	KUNIT_EXPECT_EQ(test, 0, kho_kmem_cache_preserve(cache, obj));
	KUNIT_EXPECT_EQ(test, 0, kho_slab_preserve(large));

	kunit_warning_suppress(test) {
		kmem_cache_free(cache, neighbour);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 0);
	}

	/* Undone before it is freed, or the memory is another's already. */
	if (IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG)) {
		kunit_warning_suppress(test) {
			kho_slab_check_free(obj);
			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
		}
		kunit_warning_suppress(test) {
			kho_slab_check_free(large);
			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
		}
	}

	kho_kmem_cache_unpreserve(cache, obj);
	kho_slab_unpreserve(large);
	kunit_warning_suppress(test) {
		kmem_cache_free(cache, obj);
		kfree(large);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 0);
	}
	if (!IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG))
		kunit_skip(test, "needs CONFIG_KEXEC_HANDOVER_DEBUG");
}

static void not_handed_over(struct kunit *test)
{
	void *obj = get_kmalloc(test, 64, 0);
	void *large = get_kmalloc(test, 4 * KMALLOC_MAX_CACHE_SIZE, 0);
	struct kmem_cache *cache = get_cache(test, 100, 0, NULL);
	phys_addr_t phys = virt_to_phys(obj);

	EXPECT_ERR_PTR(test, -ENOENT, kho_slab_restore(phys));
	EXPECT_ERR_PTR(test, -ENOENT, kho_slab_restore_in_place(phys));
	EXPECT_ERR_PTR(test, -ENOENT, kho_kmem_cache_restore(cache, phys));
	EXPECT_ERR_PTR(test, -ENOENT, kho_slab_restore(virt_to_phys(large)));
	EXPECT_ERR_PTR(test, -ENOENT, kho_slab_restore(BIT_ULL(51)));
	EXPECT_ERR_PTR(test, -ENOENT, kho_slab_restore(0));

	/* What is handed over by this kernel was not handed over to it. */
	KUNIT_EXPECT_EQ(test, 0, kho_slab_preserve(obj));
	EXPECT_ERR_PTR(test, -ENOENT, kho_slab_restore(phys));
	kho_slab_unpreserve(obj);
}

/* Records that come in damaged. */

union bad_record {
	struct kho_slab_record rec;
	u64 words[5];		/* the last two are its bitmap */
};

static void expect_bad(struct kunit *test, const union bad_record *bad,
		       bool is_bad, const char *what)
{
	const char *why = kho_slab_bad_record(&bad->rec, 1);

	KUNIT_EXPECT_EQ_MSG(test, is_bad, !!why, "%s: %s", what, why ?: "good");
}

static void bad_records(struct kunit *test)
{
	struct page *page = alloc_pages(GFP_KERNEL, 1);
	union bad_record good = {
		.rec = {
			.size = 96,
			.object_size = 90,
			.left_pad = 4,
			.objects = 2 * PAGE_SIZE / 96,
			.nr = 3,
			.order = 1,
			.class = KHO_SLAB_DMA,
		},
	};
	union bad_record bad;

	if (PAGE_SIZE != SZ_4K)
		kunit_skip(test, "another number of objects");
	KUNIT_ASSERT_NOT_NULL(test, page);
	good.rec.phys = page_to_phys(page);
	good.words[3] = 0x5;
	good.words[4] = 0x2;
	expect_bad(test, &good, false, "nothing wrong");

#define EXPECT_BAD(field, value) do {					\
		bad = good;						\
		bad.field = value;					\
		expect_bad(test, &bad, true, #field " = " #value);	\
	} while (0)

	EXPECT_BAD(rec.phys, good.rec.phys + PAGE_SIZE);
	EXPECT_BAD(rec.phys, good.rec.phys + 8);
	EXPECT_BAD(rec.phys, BIT_ULL(51));
	EXPECT_BAD(rec.phys, -1ULL);
	EXPECT_BAD(rec.order, MAX_PAGE_ORDER + 1);
	EXPECT_BAD(rec.order, 255);
	EXPECT_BAD(rec.order, 0);
	EXPECT_BAD(rec.size, 0);
	EXPECT_BAD(rec.size, 93);
	EXPECT_BAD(rec.size, -1U);
	EXPECT_BAD(rec.object_size, 0);
	EXPECT_BAD(rec.object_size, 93);
	EXPECT_BAD(rec.object_size, -1U);
	EXPECT_BAD(rec.left_pad, 7);
	EXPECT_BAD(rec.objects, 0);
	EXPECT_BAD(rec.objects, good.rec.objects + 1);
	EXPECT_BAD(rec.objects, good.rec.objects - 1);
	EXPECT_BAD(rec.nr, 0);
	EXPECT_BAD(rec.nr, 2);
	EXPECT_BAD(rec.nr, 4);
	EXPECT_BAD(rec.class, KHO_NR_SLAB_CLASSES);
	EXPECT_BAD(rec.class, 0x80);
	EXPECT_BAD(words[4], BIT_ULL(63));
	EXPECT_BAD(words[3], 0);
#undef EXPECT_BAD

	__free_pages(page, 1);
}

static int kho_slab_test_init(struct kunit *test)
{
	if (!kho_is_enabled())
		kunit_skip(test, "not booted with kho=on");
	return 0;
}

static struct kunit_case kho_slab_cases[] = {
	KUNIT_CASE(wire_format),
	KUNIT_CASE(preserve_kmalloc),
	KUNIT_CASE(preserve_large_kmalloc),
	KUNIT_CASE(preserve_kvmalloc),
	KUNIT_CASE(preserve_kmem_cache),
	KUNIT_CASE_SLOW(preserve_many),
	KUNIT_CASE(metadata_size),
	KUNIT_CASE(not_an_object),
	KUNIT_CASE(wrong_cache),
	KUNIT_CASE(freed_object),
	KUNIT_CASE(freed_while_preserved),
	KUNIT_CASE(not_handed_over),
	KUNIT_CASE(bad_records),
	{}
};

static struct kunit_suite kho_slab_suite = {
	.name = "kho_slab",
	.init = kho_slab_test_init,
	.test_cases = kho_slab_cases,
};

kunit_test_suite(kho_slab_suite);

MODULE_DESCRIPTION("KUnit tests of the kexec handover of slab objects");
MODULE_LICENSE("GPL");
