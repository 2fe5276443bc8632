// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the kexec handover of slab objects: objects of every kind are
 * preserved and unpreserved, and their records are right.
 */

#include <kunit/test.h>

#include <linux/bitmap.h>
#include <linux/debug_locks.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/kasan.h>
#include <linux/kexec_handover.h>
#include <linux/kfence.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/slab.h>
#include <linux/kho_memdesc.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "../../kernel/liveupdate/kexec_handover_internal.h"
#include "../../mm/slab.h"
#include "kho_slab_kunit.h"

static void check_preserve(struct kunit *test, void *obj)
{
	for (unsigned int round = 0; round < 3; round++) {
		KUNIT_EXPECT_EQ(test, kho_slab_preserve(obj), 0);
		KUNIT_EXPECT_EQ(test, kho_slab_preserve(obj), -EEXIST);
		kho_slab_unpreserve(obj);
	}
	kst_expect_nothing_left(test);
}

static void preserve_kmalloc(struct kunit *test)
{
	static const gfp_t gfps[] = {
		0, __GFP_RECLAIMABLE, __GFP_ACCOUNT, __GFP_DMA,
	};

	for (size_t size = 8; size <= KMALLOC_MAX_CACHE_SIZE; size *= 2) {
		for (unsigned int i = 0; i < ARRAY_SIZE(gfps); i++) {
			check_preserve(test, kst_kmalloc(test, size, gfps[i]));
			check_preserve(test, kst_kmalloc(test, size * 3 / 4,
							 gfps[i]));
		}
	}
}

static void preserve_large_kmalloc(struct kunit *test)
{
	for (size_t size = KMALLOC_MAX_CACHE_SIZE + 1; size <= SZ_4M / 2;
	     size *= 2)
		check_preserve(test, kst_kmalloc(test, size, 0));
}

static void preserve_kvmalloc(struct kunit *test)
{
	static const size_t sizes[] = { 1, 64, 3000, SZ_64K };

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		void *mem = kvmalloc(sizes[i], GFP_KERNEL);
		struct kho_vmalloc ser;

		KUNIT_ASSERT_NOT_NULL(test, mem);
		KUNIT_EXPECT_EQ(test, kho_vmalloc_preserve(mem, &ser), 0);
		if (!is_vmalloc_addr(mem)) {
			KUNIT_EXPECT_EQ(test, ser.first.phys,
					virt_to_phys(mem));
			KUNIT_EXPECT_EQ(test, ser.flags, KHO_VMALLOC_KMALLOC);
			KUNIT_EXPECT_EQ(test, ser.total_pages, 0);
			KUNIT_EXPECT_EQ(test, kho_slab_preserve(mem), -EEXIST);
		}
		kho_vmalloc_unpreserve(&ser);
		KUNIT_EXPECT_EQ(test, ser.first.phys, 0);
		kvfree(mem);
	}
	kst_expect_nothing_left(test);
}

static void preserve_kmem_cache(struct kunit *test)
{
	struct kmem_cache *cache = kst_cache(test, 200, 0, NULL);
	void *objs[64];

	for (unsigned int i = 0; i < ARRAY_SIZE(objs); i++) {
		objs[i] = kmem_cache_alloc(cache, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, objs[i]);
		KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(cache, objs[i]),
				0);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(objs); i++)
		KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(cache, objs[i]),
				-EEXIST);
	for (unsigned int i = 0; i < ARRAY_SIZE(objs); i++) {
		kho_kmem_cache_unpreserve(cache, objs[i]);
		kmem_cache_free(cache, objs[i]);
	}
	kst_expect_nothing_left(test);
}

/* Each bit of the records is that of an object which should be preserved. */

struct expect_bits {
	struct xarray objs;	/* by physical address / 8 */
	unsigned int found;
	unsigned int unknown;
};

static void expect_entry(struct kunit *test, unsigned int chain, void *entry,
			 void *arg)
{
	struct kho_slab_record *rec = entry;
	struct expect_bits *expect = arg;
	unsigned int i;

	if (chain == KHO_SLAB_COPIES)
		return;
	for_each_set_bit(i, (unsigned long *)rec->bitmap, rec->objects) {
		phys_addr_t phys = rec->phys + rec->left_pad + i * rec->size;

		if (xa_load(&expect->objs, phys / 8))
			expect->found++;
		else
			expect->unknown++;
	}
}

static void expect_bits(struct kunit *test, void **objs,
			const bool *is_preserved, unsigned int nr)
{
	struct expect_bits expect = {};
	unsigned int in_place = 0, guarded = 0;

	xa_init(&expect.objs);
	for (unsigned int i = 0; i < nr; i++) {
		phys_addr_t phys;

		if (!objs[i] || !is_preserved[i])
			continue;
		if (is_kfence_address(objs[i])) {
			guarded++;
			continue;
		}
		in_place++;
		phys = virt_to_phys(kasan_reset_tag(objs[i]));
		KUNIT_ASSERT_FALSE(test,
				   xa_is_err(xa_store(&expect.objs, phys / 8,
						      objs[i], GFP_KERNEL)));
	}
	kst_walk_entries(test, expect_entry, &expect);
	KUNIT_EXPECT_EQ(test, expect.found, in_place);
	/* Other objects stand in for guarded ones. */
	KUNIT_EXPECT_EQ(test, expect.unknown, kst_before.objects + guarded);
	xa_destroy(&expect.objs);
}

/* Many objects in and out in random order: nothing is lost and nothing left. */
static void preserve_many(struct kunit *test)
{
	const unsigned int nr = 20000;
	struct rnd_state rnd;
	bool *is_preserved;
	void **objs;

	objs = kvcalloc(nr, sizeof(*objs), GFP_KERNEL);
	is_preserved = kvcalloc(nr, sizeof(bool), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, objs);
	KUNIT_ASSERT_NOT_NULL(test, is_preserved);
	prandom_seed_state(&rnd, 4711);

	for (unsigned int i = 0; i < nr; i++) {
		objs[i] = kmalloc(prandom_u32_state(&rnd) % 700 + 1,
				  GFP_KERNEL);
		if (!objs[i])
			continue;
		is_preserved[i] = !kho_slab_preserve(objs[i]);
		KUNIT_EXPECT_TRUE(test, is_preserved[i]);
	}
	expect_bits(test, objs, is_preserved, nr);

	for (unsigned int round = 0; round < 3 * nr; round++) {
		unsigned int i = prandom_u32_state(&rnd) % nr;

		if (!objs[i])
			continue;
		if (is_preserved[i])
			kho_slab_unpreserve(objs[i]);
		else
			KUNIT_EXPECT_EQ(test, kho_slab_preserve(objs[i]), 0);
		is_preserved[i] = !is_preserved[i];
	}
	expect_bits(test, objs, is_preserved, nr);

	for (unsigned int i = 0; i < nr; i++) {
		if (is_preserved[i])
			kho_slab_unpreserve(objs[i]);
		kfree(objs[i]);
	}
	kst_expect_nothing_left(test);
	kvfree(is_preserved);
	kvfree(objs);
}

/*
 * On the wire, a slab takes 24 bytes and a bitmap. The number of words in the
 * bitmap is a power of two.
 */
static void metadata_size(struct kunit *test)
{
	struct kmem_cache *cache = kst_cache(test, 64, 0, NULL);
	const unsigned int nr = 4096;
	const struct slab *last = NULL;
	struct count count;
	struct xarray slabs;
	size_t bytes = 0;
	void **objs;

	xa_init(&slabs);
	objs = kvcalloc(nr, sizeof(*objs), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, objs);
	for (unsigned int i = 0; i < nr; i++) {
		const struct slab *slab;

		do {
			objs[i] = kmem_cache_alloc(cache, GFP_KERNEL);
			KUNIT_ASSERT_NOT_NULL(test, objs[i]);
			if (!is_kfence_address(objs[i]))
				break;
			kmem_cache_free(cache, objs[i]);
		} while (true);
		KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(cache, objs[i]),
				0);

		slab = virt_to_slab(objs[i]);
		if (slab == last ||
		    xa_load(&slabs, PHYS_PFN(virt_to_phys(slab_address(slab)))))
			continue;
		last = slab;
		xa_store(&slabs, PHYS_PFN(virt_to_phys(slab_address(slab))),
			 objs[i], GFP_KERNEL);
		bytes += 24 +
			8 * roundup_pow_of_two(DIV_ROUND_UP(slab->objects, 64));
	}

	count = kst_count_preserved(test);
	KUNIT_EXPECT_EQ(test, count.objects, kst_before.objects + nr);
	KUNIT_EXPECT_EQ(test, count.bytes, kst_before.bytes + bytes);
	kunit_info(test, "%zu bytes for %u objects of 64 bytes\n", bytes, nr);

	for (unsigned int i = 0; i < nr; i++) {
		kho_kmem_cache_unpreserve(cache, objs[i]);
		kmem_cache_free(cache, objs[i]);
	}
	xa_destroy(&slabs);
	kvfree(objs);
	kst_expect_nothing_left(test);
}

/* All CPUs preserve and unpreserve objects of the same slabs. */
struct preserver {
	struct work_struct work;
	void **objs;
	bool *is_preserved;
	unsigned int first, step, nr, failed;
};

static void preserver_fn(struct work_struct *work)
{
	struct preserver *p = container_of(work, struct preserver, work);

	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = p->first; i < p->nr; i += p->step) {
			if (p->is_preserved[i])
				kho_slab_unpreserve(p->objs[i]);
			else if (kho_slab_preserve(p->objs[i]))
				p->failed++;
			p->is_preserved[i] = !p->is_preserved[i];
			/* With one CPU, let the others run in between. */
			if (i / p->step % 64 == 0)
				cond_resched();
		}
	}
}

static void preserve_on_all_cpus(struct kunit *test)
{
	const unsigned int nr = 3000, nr_workers = num_online_cpus() + 1;
	struct preserver *p;
	bool *is_preserved;
	unsigned int n = 0;
	void **objs;
	int cpu;

	objs = kvcalloc(nr, sizeof(*objs), GFP_KERNEL);
	is_preserved = kvcalloc(nr, sizeof(bool), GFP_KERNEL);
	p = kvcalloc(nr_workers, sizeof(*p), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, objs && is_preserved && p);
	for (unsigned int i = 0; i < nr; i++) {
		objs[i] = kmalloc(i % 3 ? 96 : 512, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, objs[i]);
	}

	for_each_online_cpu(cpu) {
		if (n == nr_workers)
			break;
		p[n] = (struct preserver){
			.objs = objs, .is_preserved = is_preserved,
			.first = n, .step = nr_workers, .nr = nr,
		};
		INIT_WORK(&p[n].work, preserver_fn);
		schedule_work_on(cpu, &p[n++].work);
	}
	for (unsigned int i = 0; i < n; i++) {
		flush_work(&p[i].work);
		KUNIT_EXPECT_EQ(test, p[i].failed, 0);
	}
	expect_bits(test, objs, is_preserved, nr);

	for (unsigned int i = 0; i < nr; i++) {
		if (is_preserved[i])
			kho_slab_unpreserve(objs[i]);
		kfree(objs[i]);
	}
	kvfree(p);
	kvfree(is_preserved);
	kvfree(objs);
	kst_expect_nothing_left(test);
}

/* Unpreserving is possible from reclaim: the lock is not held over it. */
static void unpreserve_from_reclaim(struct kunit *test)
{
	struct kmem_cache *cache = kst_cache(test, 200, 0, NULL);
	void *objs[2];

	kst_neighbours(test, cache, objs, 2);
	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(cache, objs[0]), 0);
	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(cache, objs[1]), 0);

	/* The last one of a slab as well: its pages go, too. */
	fs_reclaim_acquire(GFP_KERNEL);
	kho_kmem_cache_unpreserve(cache, objs[0]);
	kho_kmem_cache_unpreserve(cache, objs[1]);
	fs_reclaim_release(GFP_KERNEL);

	kmem_cache_free(cache, objs[0]);
	kmem_cache_free(cache, objs[1]);
	kst_expect_nothing_left(test);
	/* Lockdep has turned itself off if there was a way to deadlock. */
	if (!IS_ENABLED(CONFIG_PROVE_LOCKING))
		kunit_skip(test, "needs CONFIG_PROVE_LOCKING");
	KUNIT_EXPECT_TRUE(test, debug_locks);
}

/*
 * For an object that is guarded by kfence, another object stands in. It has the
 * same contents.
 */
struct find_copy {
	phys_addr_t from;
	struct kho_slab_copy *copy;
};

static void find_copy_entry(struct kunit *test, unsigned int chain, void *entry,
			    void *arg)
{
	struct kho_slab_copy *copy = entry;
	struct find_copy *find = arg;

	if (chain == KHO_SLAB_COPIES && copy->from == find->from)
		find->copy = copy;
}

static void preserve_guarded(struct kunit *test)
{
	const unsigned long end = jiffies + 10 * HZ;
	struct find_copy find = {};
	char *obj;

	if (!IS_ENABLED(CONFIG_KFENCE))
		kunit_skip(test, "needs CONFIG_KFENCE");

	while (true) {
		obj = kmalloc(100, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, obj);
		if (is_kfence_address(obj))
			break;
		kfree(obj);
		if (time_after(jiffies, end))
			kunit_skip(test, "kfence guards nothing");
		cond_resched();
	}

	memset(obj, 0x11, 100);
	KUNIT_EXPECT_EQ(test, kho_slab_preserve(obj + 8), -EINVAL);
	check_preserve(test, obj);
	KUNIT_EXPECT_EQ(test, kho_slab_preserve(obj), 0);
	memset(obj, 0x77, 100);
	kho_late_handover();

	find.from = virt_to_phys(obj);
	kst_walk_entries(test, find_copy_entry, &find);
	KUNIT_EXPECT_NOT_NULL(test, find.copy);
	if (find.copy) {
		KUNIT_EXPECT_GE(test, find.copy->size, 100);
		KUNIT_EXPECT_MEMEQ(test, phys_to_virt(find.copy->to), obj, 100);
		KUNIT_EXPECT_NOT_NULL(test,
				      kst_find_record(test,
						      phys_to_virt(find.copy->to)));
	}
	kho_slab_unpreserve(obj);
	kfree(obj);
	kst_expect_nothing_left(test);
}

/*
 * Objects that share a slab with larger objects are handed over with the size
 * of the larger ones.
 */
static void merged_caches(struct kunit *test)
{
	struct kmem_cache *small, *large;
	struct kho_slab_record *rec;
	void *objs[2];

	small = kmem_cache_create("kho_slab_kunit_1444", 1444, 0, 0, NULL);
	KUNIT_ASSERT_NOT_NULL(test, small);
	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, kst_destroy_cache,
						  small),
			0);
	kst_neighbours(test, small, objs, 2);
	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(small, objs[0]), 0);

	large = kmem_cache_create("kho_slab_kunit_1448", 1448, 0, 0, NULL);
	KUNIT_ASSERT_NOT_NULL(test, large);
	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, kst_destroy_cache,
						  large),
			0);
	if (large == small)
		KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(large, objs[1]),
				0);

	rec = kst_find_record(test, objs[0]);
	KUNIT_EXPECT_NOT_NULL(test, rec);
	if (rec && large == small) {
		KUNIT_EXPECT_EQ(test, rec->object_size, 1448);
		KUNIT_EXPECT_FALSE(test, rec->flags & KHO_SLAB_EXACT);
	}

	kho_kmem_cache_unpreserve(small, objs[0]);
	if (large == small)
		kho_kmem_cache_unpreserve(large, objs[1]);
	kmem_cache_free(small, objs[0]);
	kmem_cache_free(small, objs[1]);
	kst_expect_nothing_left(test);
	if (large != small)
		kunit_skip(test, "caches are not merged");
}

/* A cache that is not merged is known to have objects of one size. */
static void unmerged_cache(struct kunit *test)
{
	struct kmem_cache *cache = kst_cache(test, 1444, 0, NULL);
	struct kho_slab_record *rec;
	void *obj;

	kst_neighbours(test, cache, &obj, 1);
	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(cache, obj), 0);
	rec = kst_find_record(test, obj);
	KUNIT_EXPECT_NOT_NULL(test, rec);
	if (rec) {
		KUNIT_EXPECT_EQ(test, rec->object_size, 1444);
		KUNIT_EXPECT_EQ(test, rec->flags, KHO_SLAB_EXACT);
		KUNIT_EXPECT_EQ(test, BIT(rec->align), cache->align);
	}
	kho_kmem_cache_unpreserve(cache, obj);
	kmem_cache_free(cache, obj);
}

static struct kunit_case kho_slab_preserve_cases[] = {
	KUNIT_CASE(preserve_kmalloc),
	KUNIT_CASE(preserve_large_kmalloc),
	KUNIT_CASE(preserve_kvmalloc),
	KUNIT_CASE(preserve_kmem_cache),
	KUNIT_CASE_SLOW(preserve_many),
	KUNIT_CASE(metadata_size),
	KUNIT_CASE(preserve_on_all_cpus),
	KUNIT_CASE(unpreserve_from_reclaim),
	KUNIT_CASE_SLOW(preserve_guarded),
	KUNIT_CASE(merged_caches),
	KUNIT_CASE(unmerged_cache),
	{}
};

static struct kunit_suite kho_slab_preserve_suite = {
	.name = "kho_slab_preserve",
	.init = kst_init,
	.test_cases = kho_slab_preserve_cases,
};

kunit_test_suite(kho_slab_preserve_suite);
