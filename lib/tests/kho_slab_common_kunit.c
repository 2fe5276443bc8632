// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the kexec handover of slab objects: what the suites share.
 * These functions get memory, and look at everything that is preserved.
 */

#include <kunit/test.h>

#include <linux/bitmap.h>
#include <linux/io.h>
#include <linux/kasan.h>
#include <linux/kexec_handover.h>
#include <linux/kfence.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/slab.h>
#include <linux/libfdt.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "../../kernel/liveupdate/kexec_handover_internal.h"
#include "../../mm/slab.h"
#include "kho_slab_kunit.h"

/* Get memory with known contents, which is freed after the case. */
void *kst_kmalloc(struct kunit *test, size_t size, gfp_t gfp)
{
	void *obj = kunit_kmalloc(test, size, GFP_KERNEL | gfp);

	KUNIT_ASSERT_NOT_NULL(test, obj);
	memset(obj, 0x5a, size);
	return obj;
}

void kst_destroy_cache(void *cache)
{
	kmem_cache_destroy(cache);
}

/* Create a cache of its own, which is destroyed after the case. */
struct kmem_cache *kst_cache(struct kunit *test, size_t size,
			     slab_flags_t flags, void (*ctor)(void *))
{
	static unsigned int serial;
	struct kmem_cache *cache;
	char name[32];

	snprintf(name, sizeof(name), "kho_slab_kunit-%u", serial++);
	cache = kmem_cache_create(name, size, 0, SLAB_NO_MERGE | flags, ctor);
	KUNIT_ASSERT_NOT_NULL(test, cache);
	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, kst_destroy_cache,
						  cache),
			0);
	return cache;
}

/* The size of an entry of a chain. */
static size_t entry_size(unsigned int chain)
{
	if (chain == KHO_SLAB_COPIES)
		return sizeof(struct kho_slab_copy);
	return sizeof(struct kho_slab_record) + (8UL << chain);
}

/* Call @fn for every entry in use, as the next kernel would find it. */
void kst_walk_entries(struct kunit *test, entry_fn fn, void *arg)
{
	int off = fdt_subnode_offset(kho_out.fdt, 0, KHO_SLAB_SUBTREE);
	const struct kho_slab_root *root;
	const u64 *phys;
	int len;

	if (off < 0)
		return;
	phys = fdt_getprop(kho_out.fdt, off, KHO_SUB_TREE_PROP_NAME, &len);
	root = phys_to_virt(*phys);
	KUNIT_EXPECT_EQ(test, root->version, KHO_SLAB_VERSION);

	for (unsigned int i = 0; i < KHO_SLAB_CHAINS; i++) {
		struct kho_slab_chunk *chunk;

		for (u64 next = root->chain[i]; next; next = chunk->next) {
			unsigned int used = 0;

			chunk = phys_to_virt(next);
			for (unsigned int n = 0; n < chunk->top; n++) {
				u64 *entry = (void *)chunk->data +
					     n * entry_size(i);

				if (!*entry)
					continue;
				used++;
				fn(test, i, entry, arg);
			}
			KUNIT_EXPECT_EQ(test, chunk->used, used);
			KUNIT_EXPECT_GT(test, used, 0);
		}
	}
}

static void count_entry(struct kunit *test, unsigned int chain, void *entry,
			void *arg)
{
	struct kho_slab_record *rec = entry;
	struct count *count = arg;
	const char *bad;

	if (chain == KHO_SLAB_COPIES) {
		count->copies++;
		return;
	}
	bad = kho_slab_bad_record(rec, chain);
	KUNIT_EXPECT_PTR_EQ_MSG(test, bad, NULL, "%s", bad);
	count->objects += bitmap_weight((unsigned long *)rec->bitmap,
					rec->objects);
	count->bytes += entry_size(chain);
}

struct count kst_count_preserved(struct kunit *test)
{
	struct count count = {};

	kst_walk_entries(test, count_entry, &count);
	return count;
}

struct count kst_before;

void kst_expect_nothing_left(struct kunit *test)
{
	struct count count = kst_count_preserved(test);

	KUNIT_EXPECT_EQ(test, count.objects, kst_before.objects);
	KUNIT_EXPECT_EQ(test, count.copies, kst_before.copies);
	KUNIT_EXPECT_EQ(test, count.bytes, kst_before.bytes);
}

struct find_record {
	phys_addr_t phys;
	struct kho_slab_record *rec;
};

static void find_entry(struct kunit *test, unsigned int chain, void *entry,
		       void *arg)
{
	struct kho_slab_record *rec = entry;
	struct find_record *find = arg;

	if (chain != KHO_SLAB_COPIES &&
	    find->phys - rec->phys < PAGE_SIZE << rec->order)
		find->rec = rec;
}

/* The record of the slab that has the object, or NULL. */
struct kho_slab_record *kst_find_record(struct kunit *test, const void *obj)
{
	struct find_record find = {
		.phys = virt_to_phys(kasan_reset_tag(obj)),
	};

	kst_walk_entries(test, find_entry, &find);
	return find.rec;
}

/* Get @nr objects of one slab of the cache. None is guarded by kfence. */
void kst_neighbours(struct kunit *test, struct kmem_cache *cache,
		    void **objs, unsigned int nr)
{
	const unsigned int max = 256;
	unsigned int n = 0, got = 0;
	void **others;

	others = kunit_kcalloc(test, max, sizeof(*others), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, others);
	while (got < nr && n < max) {
		void *obj = kmem_cache_alloc(cache, GFP_KERNEL);

		KUNIT_ASSERT_NOT_NULL(test, obj);
		if (!is_kfence_address(obj) &&
		    (!got || virt_to_slab(obj) == virt_to_slab(objs[0]))) {
			objs[got++] = obj;
		} else if (!is_kfence_address(obj) && got < nr && n < 128) {
			/* Try a slab that is not as full, perhaps. */
			while (got)
				others[n++] = objs[--got];
			objs[got++] = obj;
		} else {
			others[n++] = obj;
		}
	}
	while (n)
		kmem_cache_free(cache, others[--n]);
	KUNIT_ASSERT_EQ(test, got, nr);
}

/* For every suite: without the handover there is nothing to test. */
int kst_init(struct kunit *test)
{
	if (!kho_is_enabled())
		kunit_skip(test, "not booted with kho=on");
	kst_before = kst_count_preserved(test);
	return 0;
}

MODULE_DESCRIPTION("KUnit tests of the kexec handover of slab objects");
MODULE_LICENSE("GPL");
