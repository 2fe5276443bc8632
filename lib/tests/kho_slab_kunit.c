// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the kexec handover of slab objects, as far as one kernel can
 * test it. What comes after the kexec is tested by lib/kho_test/.
 */

#include <kunit/test.h>

#include <linux/debug_locks.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kfence.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/kho/abi/slab.h>
#include <linux/kho_memdesc.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/libfdt.h>
#include <linux/prandom.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "../../kernel/liveupdate/kexec_handover_internal.h"
#include "../../mm/slab.h"

/* In a variable, or KUnit would print all that the macros expand to. */
#define EXPECT_ERR_PTR(test, ptr, expected)				\
	do {								\
		long err = PTR_ERR(ptr);				\
									\
		KUNIT_EXPECT_EQ_MSG(test, err, expected, "%s", #ptr);	\
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
	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, destroy_cache, cache),
			0);
	return cache;
}

/* An entry in use of a chain, as the next kernel would find it. */
typedef void (*entry_fn)(struct kunit *test, unsigned int chain, void *entry,
			 void *arg);

static size_t entry_size(unsigned int chain)
{
	if (chain == KHO_SLAB_COPIES)
		return sizeof(struct kho_slab_copy);
	return sizeof(struct kho_slab_record) + (8UL << chain);
}

static void walk_entries(struct kunit *test, entry_fn fn, void *arg)
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

struct count {
	unsigned int objects;
	unsigned int copies;
	size_t bytes;		/* of records */
};

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

static struct count count_preserved(struct kunit *test)
{
	struct count count = {};

	walk_entries(test, count_entry, &count);
	return count;
}

/* What others have preserved. */
static struct count before;

static void expect_nothing_left(struct kunit *test)
{
	struct count count = count_preserved(test);

	KUNIT_EXPECT_EQ(test, count.objects, before.objects);
	KUNIT_EXPECT_EQ(test, count.copies, before.copies);
	KUNIT_EXPECT_EQ(test, count.bytes, before.bytes);
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

static struct kho_slab_record *find_record(struct kunit *test, const void *obj)
{
	struct find_record find = {
		.phys = virt_to_phys(kasan_reset_tag(obj)),
	};

	walk_entries(test, find_entry, &find);
	return find.rec;
}

/* @nr objects of a slab of the cache which are not guarded by kfence. */
static void get_neighbours(struct kunit *test, struct kmem_cache *cache,
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
			/* A slab that is not as full, perhaps. */
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

/* The wire format: a contract with other kernels, which no change may break. */

static void wire_format(struct kunit *test)
{
	KUNIT_EXPECT_STREQ(test, "slab", KHO_SLAB_SUBTREE);
	KUNIT_EXPECT_EQ(test, KHO_SLAB_VERSION, 1);
	KUNIT_EXPECT_EQ(test, KHO_SLAB_RECORDS, 9);
	KUNIT_EXPECT_EQ(test, KHO_SLAB_COPIES, 9);
	KUNIT_EXPECT_EQ(test, KHO_SLAB_CHAINS, 10);

	KUNIT_EXPECT_EQ(test, KHO_SLAB_NORMAL, 0);
	KUNIT_EXPECT_EQ(test, KHO_SLAB_RECLAIM, 1);
	KUNIT_EXPECT_EQ(test, KHO_SLAB_CGROUP, 2);
	KUNIT_EXPECT_EQ(test, KHO_SLAB_DMA, 3);
	KUNIT_EXPECT_EQ(test, KHO_SLAB_EXACT, 1);

	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_root, version), 0);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_root, chain), 8);

	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_chunk, next), 0);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_chunk, top), 8);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_chunk, used), 10);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_chunk, free), 12);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_chunk, data), 16);

	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_copy, from), 0);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_copy, to), 8);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_copy, size), 16);

	KUNIT_EXPECT_EQ(test, sizeof(struct kho_slab_record), 24);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, phys), 0);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, size), 8);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, object_size),
			12);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, objects), 16);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, align), 18);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, flags), 19);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, left_pad), 20);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, order), 22);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, class), 23);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, bitmap), 24);
}

/* Preserving and unpreserving. */

static void check_preserve(struct kunit *test, void *obj)
{
	for (unsigned int round = 0; round < 3; round++) {
		KUNIT_EXPECT_EQ(test, kho_slab_preserve(obj), 0);
		KUNIT_EXPECT_EQ(test, kho_slab_preserve(obj), -EEXIST);
		kho_slab_unpreserve(obj);
	}
	expect_nothing_left(test);
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
	expect_nothing_left(test);
}

static void preserve_kmem_cache(struct kunit *test)
{
	struct kmem_cache *cache = get_cache(test, 200, 0, NULL);
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
	expect_nothing_left(test);
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
		KUNIT_ASSERT_FALSE(test, xa_is_err(xa_store(&expect.objs, phys / 8,
							    objs[i], GFP_KERNEL)));
	}
	walk_entries(test, expect_entry, &expect);
	KUNIT_EXPECT_EQ(test, expect.found, in_place);
	/* What stands in for guarded objects. */
	KUNIT_EXPECT_EQ(test, expect.unknown, before.objects + guarded);
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
		objs[i] = kmalloc(prandom_u32_state(&rnd) % 700 + 1, GFP_KERNEL);
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
	expect_nothing_left(test);
	kvfree(is_preserved);
	kvfree(objs);
}

/* What a slab takes on the wire: 24 bytes, and a power of two of words of bits. */
static void metadata_size(struct kunit *test)
{
	struct kmem_cache *cache = get_cache(test, 64, 0, NULL);
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
		xa_store(&slabs, PHYS_PFN(virt_to_phys(slab_address(slab))), objs[i],
			 GFP_KERNEL);
		bytes += 24 + 8 * roundup_pow_of_two(DIV_ROUND_UP(slab->objects, 64));
	}

	count = count_preserved(test);
	KUNIT_EXPECT_EQ(test, count.objects, before.objects + nr);
	KUNIT_EXPECT_EQ(test, count.bytes, before.bytes + bytes);
	kunit_info(test, "%zu bytes for %u objects of 64 bytes\n", bytes, nr);

	for (unsigned int i = 0; i < nr; i++) {
		kho_kmem_cache_unpreserve(cache, objs[i]);
		kmem_cache_free(cache, objs[i]);
	}
	xa_destroy(&slabs);
	kvfree(objs);
	expect_nothing_left(test);
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
			/* So that others come in between with one CPU, too. */
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
	expect_nothing_left(test);
}

/* Unpreserving is possible from reclaim: the lock is not held over it. */
static void unpreserve_from_reclaim(struct kunit *test)
{
	struct kmem_cache *cache = get_cache(test, 200, 0, NULL);
	void *objs[2];

	get_neighbours(test, cache, objs, 2);
	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(cache, objs[0]), 0);
	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(cache, objs[1]), 0);

	/* Also the last one of a slab, with which the pages go. */
	fs_reclaim_acquire(GFP_KERNEL);
	kho_kmem_cache_unpreserve(cache, objs[0]);
	kho_kmem_cache_unpreserve(cache, objs[1]);
	fs_reclaim_release(GFP_KERNEL);

	kmem_cache_free(cache, objs[0]);
	kmem_cache_free(cache, objs[1]);
	expect_nothing_left(test);
	/* Lockdep has turned itself off if there was a way to deadlock. */
	if (!IS_ENABLED(CONFIG_PROVE_LOCKING))
		kunit_skip(test, "needs CONFIG_PROVE_LOCKING");
	KUNIT_EXPECT_TRUE(test, debug_locks);
}

/* Objects guarded by kfence: another object stands in, and has the contents. */

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
	walk_entries(test, find_copy_entry, &find);
	KUNIT_EXPECT_NOT_NULL(test, find.copy);
	if (find.copy) {
		KUNIT_EXPECT_GE(test, find.copy->size, 100);
		KUNIT_EXPECT_MEMEQ(test, phys_to_virt(find.copy->to), obj, 100);
		KUNIT_EXPECT_NOT_NULL(test,
				      find_record(test, phys_to_virt(find.copy->to)));
	}
	kho_slab_unpreserve(obj);
	kfree(obj);
	expect_nothing_left(test);
}

/* Merging of caches. */

/* Objects that share a slab with larger ones are handed over as long as these. */
static void merged_caches(struct kunit *test)
{
	struct kmem_cache *small, *large;
	struct kho_slab_record *rec;
	void *objs[2];

	small = kmem_cache_create("kho_slab_kunit_1444", 1444, 0, 0, NULL);
	KUNIT_ASSERT_NOT_NULL(test, small);
	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, destroy_cache, small),
			0);
	get_neighbours(test, small, objs, 2);
	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(small, objs[0]), 0);

	large = kmem_cache_create("kho_slab_kunit_1448", 1448, 0, 0, NULL);
	KUNIT_ASSERT_NOT_NULL(test, large);
	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, destroy_cache, large),
			0);
	if (large == small)
		KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(large, objs[1]),
				0);

	rec = find_record(test, objs[0]);
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
	expect_nothing_left(test);
	if (large != small)
		kunit_skip(test, "caches are not merged");
}

/* A cache that is not merged is known to have objects of one size. */
static void unmerged_cache(struct kunit *test)
{
	struct kmem_cache *cache = get_cache(test, 1444, 0, NULL);
	struct kho_slab_record *rec;
	void *obj;

	get_neighbours(test, cache, &obj, 1);
	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(cache, obj), 0);
	rec = find_record(test, obj);
	KUNIT_EXPECT_NOT_NULL(test, rec);
	if (rec) {
		KUNIT_EXPECT_EQ(test, rec->object_size, 1444);
		KUNIT_EXPECT_EQ(test, rec->flags, KHO_SLAB_EXACT);
		KUNIT_EXPECT_EQ(test, BIT(rec->align), cache->align);
	}
	kho_kmem_cache_unpreserve(cache, obj);
	kmem_cache_free(cache, obj);
}

static void object_fits(struct kunit *test)
{
	enum { MERGED = 0, ALONE = 1 };
	static const struct {
		struct { unsigned int size, object_size, align, alone; } then, now;
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
	struct kmem_cache *cache = kunit_kzalloc(test, sizeof(*cache), GFP_KERNEL);

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

/* Adoption, which needs no kexec: mm/slub.c does not look where pages are from. */

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
	page->page_type = (unsigned int)PGTY_slab << 24;
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
	cache = get_cache(test, ADOPT_SIZE, how->flags, how->ctor);
	get_neighbours(test, cache, &obj, 1);
	order = max((int)slab_order(virt_to_slab(obj)) + how->order, 0);

	for (unsigned int all = 0; all < 2; all++) {
		bitmap_zero(in_use, MAX_OBJECTS);
		page = slab_pages(test, order);
		objects = fill_slab(cache, page, in_use, all);
		KUNIT_ASSERT_LE(test, objects, MAX_OBJECTS);

		KUNIT_EXPECT_TRUE(test, slab_can_adopt(cache, page, cache->size,
						       ADOPT_SIZE,
						       (unsigned long)fixup_red_left(cache, NULL),
						       false));
		slab_adopt(cache, page_slab(page), in_use);
		KUNIT_EXPECT_EQ(test, 0U + page_slab(page)->objects, objects);
		KUNIT_EXPECT_EQ(test, 0U + page_slab(page)->inuse,
				bitmap_weight(in_use, objects));
		expect_valid(test, cache);

		for_each_set_bit(i, in_use, objects)
			objs[i] = slab_adopt_object(cache, nth_object(cache, page, i));
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
			KUNIT_EXPECT_MEMEQ_MSG(test, expected, objs[i], ADOPT_SIZE,
					       "object %u of %u", i, objects);
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

/* A cache can be destroyed while objects of it wait, and another have them. */
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
		cache = kmem_cache_create("kho_slab_kunit-disown", ADOPT_SIZE, 0,
					  SLAB_NO_MERGE | how->flags, how->ctor);
		KUNIT_ASSERT_NOT_NULL(test, cache);
		get_neighbours(test, cache, &obj, 1);
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
			obj = slab_adopt_object(cache, nth_object(cache, page, i));
			__clear_bit(i, in_use);
			nr--;
			if (!all || n)
				kmem_cache_free(cache, obj);
			kmem_cache_shrink(cache);
			if (all && !n) {
				/* It is full, and one object is in use. */
				KUNIT_EXPECT_FALSE(test, slab_disown(cache,
								     page_slab(page), nr));
				kmem_cache_free(cache, obj);
				kmem_cache_shrink(cache);
			}
			KUNIT_ASSERT_TRUE(test, slab_disown(cache, page_slab(page), nr));
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

/* Free objects of an adopted slab are for everybody: its zone must be right. */
static void adopt_zones(struct kunit *test)
{
	static const slab_flags_t flags[] = { 0, SLAB_CACHE_DMA, SLAB_CACHE_DMA32 };
	struct page *page = kunit_kzalloc(test, sizeof(*page), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	*page = *virt_to_page(page);
	for (unsigned int i = 0; i < ARRAY_SIZE(flags); i++) {
		struct kmem_cache *s = get_cache(test, ADOPT_SIZE, flags[i], NULL);
		unsigned int pad = (unsigned long)fixup_red_left(s, NULL);
		enum zone_type highest = gfp_zone(s->allocflags);

		for (enum zone_type zone = 0; zone <= ZONE_MOVABLE; zone++) {
			bool can = zone <= highest;

			set_page_zone(page, zone);
			KUNIT_EXPECT_EQ_MSG(test,
					    slab_can_adopt(s, page, s->size,
							   ADOPT_SIZE, pad, false),
					    can, "flags %u, zone %u", i, zone);
			/* Without a zone of its own, memory for DMA is like any. */
			if (zone == ZONE_MOVABLE && highest == ZONE_NORMAL)
				can = true;
			KUNIT_EXPECT_EQ_MSG(test,
					    slab_can_adopt(s, page, s->size,
							   ADOPT_SIZE, pad, true),
					    can, "flags %u, zone %u, in place",
					    i, zone);
		}
	}
}

/* Bad input. */

static void not_an_object(struct kunit *test)
{
	char *obj = get_kmalloc(test, 128, 0);
	char *large = get_kmalloc(test, 4 * KMALLOC_MAX_CACHE_SIZE, 0);
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
	expect_nothing_left(test);

	/* They are refused, and nothing else happens. */
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
	struct kmem_cache *cache = get_cache(test, 100, 0, NULL);
	struct kmem_cache *constructed = get_cache(test, 100, 0, ctor);
	struct kmem_cache *stable = get_cache(test, 100, SLAB_TYPESAFE_BY_RCU,
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
						get_kmalloc(test, 64, 0)),
			-EINVAL);
	expect_nothing_left(test);

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
	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(cache, obj), -EINVAL);
	migrate_enable();
	expect_nothing_left(test);
}

static void freed_nolock(struct kunit *test)
{
	void *objs[64], *obj = NULL;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(objs); i++)
		objs[i] = kmalloc_nolock(96, 0, NUMA_NO_NODE);
	/* One that is not the only one of its slab. */
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
 * Large kmalloc memory is gone when it was freed, and cannot be unpreserved. So
 * allocate it again, which gives it the same type and order.
 */
static void freed_large(struct kunit *test)
{
	const size_t size = 4 * KMALLOC_MAX_CACHE_SIZE;
	void *large = kmalloc(size, GFP_KERNEL);
	void *others[64], *again = NULL;
	unsigned int n = 0;

	KUNIT_ASSERT_NOT_NULL(test, large);
	KUNIT_EXPECT_EQ(test, kho_slab_preserve(large), 0);

	/* The list of free pages of this CPU has what was freed last first. */
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

/* Who frees an object without unpreserving it is told. */
static void freed_while_preserved(struct kunit *test)
{
	struct kmem_cache *cache = get_cache(test, 100, 0, NULL);
	void *objs[3], *neighbour, *obj, *large;

	get_neighbours(test, cache, objs, 3);
	neighbour = objs[0];
	obj = objs[1];
	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(cache, obj), 0);

	kunit_warning_suppress(test) {
		kmem_cache_free(cache, objs[2]);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 0);
	}

	/*
	 * Freed by those who should know about it. The slab stays, because of
	 * its other object, and with it what can be undone.
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
	expect_nothing_left(test);
	if (!IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG))
		kunit_skip(test, "needs CONFIG_KEXEC_HANDOVER_DEBUG");
}

/* Nothing is done to a record that is not that of the slab. */
static void expect_untouched(struct kunit *test, struct kmem_cache *cache,
			     void **objs, struct kho_slab_record *rec, u64 *saved,
			     size_t size)
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

/* A record of another slab, which has been there before. */
static void record_of_another_slab(struct kunit *test)
{
	struct kmem_cache *cache = get_cache(test, 24, 0, NULL);
	struct kho_slab_record *rec, was;
	void *objs[2];
	size_t size;
	u64 *saved;

	get_neighbours(test, cache, objs, 2);
	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(cache, objs[0]), 0);
	rec = find_record(test, objs[0]);
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
	/* Without debugging there are only slabs without. */
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
	expect_nothing_left(test);
}

/* Who frees without unpreserving does not harm who preserves what comes then. */
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
	new = get_cache(test, 256, 0, NULL);
	old = kmem_cache_create("kho_slab_kunit-old", 264, 0, SLAB_NO_MERGE, NULL);
	KUNIT_ASSERT_NOT_NULL(test, old);
	get_neighbours(test, old, &obj, 1);
	KUNIT_EXPECT_EQ(test, kho_kmem_cache_preserve(old, obj), 0);
	rec = find_record(test, obj);
	KUNIT_ASSERT_NOT_NULL(test, rec);
	slab = slab_address(virt_to_slab(obj));

	/* The others' lists of free pages have what was freed last first. */
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

	/* Get rid of the record: let it be that of the new slab. */
	if (obj) {
		rec->size = new->size;
		rec->objects = virt_to_slab(obj)->objects;
		rec->left_pad = (unsigned long)fixup_red_left(new, NULL);
		bitmap_zero((unsigned long *)rec->bitmap, 64);
		__set_bit(obj_to_index(new, virt_to_slab(obj), obj),
			  (unsigned long *)rec->bitmap);
		kho_kmem_cache_unpreserve(new, obj);
		expect_nothing_left(test);
	} else {
		/* For ever, as it is for who does this. */
		before = count_preserved(test);
	}
	for (unsigned int i = 0; i < nr; i++)
		kmem_cache_free(new, objs[i]);
	if (!refused)
		kunit_skip(test, "no slab came to lie there");
}

static void not_handed_over(struct kunit *test)
{
	void *obj = get_kmalloc(test, 64, 0);
	void *large = get_kmalloc(test, 4 * KMALLOC_MAX_CACHE_SIZE, 0);
	struct kmem_cache *cache = get_cache(test, 100, 0, NULL);
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

/* Records that come in damaged. */

union bad_record {
	struct kho_slab_record rec;
	u64 words[5];		/* the last two are its bitmap */
};

static void expect_bad(struct kunit *test, const union bad_record *bad,
		       bool is_bad, const char *what)
{
	const char *why = kho_slab_bad_record(&bad->rec, 1);

	KUNIT_EXPECT_EQ_MSG(test, !!why, is_bad, "%s: %s", what, why ?: "good");
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
			.align = 3,
			.flags = KHO_SLAB_EXACT,
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
	EXPECT_BAD(rec.align, 6);
	EXPECT_BAD(rec.align, 32);
	EXPECT_BAD(rec.align, 255);
	EXPECT_BAD(rec.flags, 0x2);
	EXPECT_BAD(rec.flags, 0x81);
	EXPECT_BAD(rec.class, KHO_NR_SLAB_CLASSES);
	EXPECT_BAD(rec.class, 0x80);
	EXPECT_BAD(words[4], BIT_ULL(63));
#undef EXPECT_BAD

	bad = good;
	bad.words[3] = 0;
	bad.words[4] = 0;
	expect_bad(test, &bad, false, "no object");

	__free_pages(page, 1);
}

static int kho_slab_test_init(struct kunit *test)
{
	if (!kho_is_enabled())
		kunit_skip(test, "not booted with kho=on");
	before = count_preserved(test);
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
	KUNIT_CASE(preserve_on_all_cpus),
	KUNIT_CASE(unpreserve_from_reclaim),
	KUNIT_CASE_SLOW(preserve_guarded),
	KUNIT_CASE(merged_caches),
	KUNIT_CASE(unmerged_cache),
	KUNIT_CASE(object_fits),
	KUNIT_CASE_PARAM(adopt_slab, adopt_gen_params),
	KUNIT_CASE_PARAM(disown_slab, adopt_gen_params),
	KUNIT_CASE(adopt_zones),
	KUNIT_CASE(not_an_object),
	KUNIT_CASE(wrong_cache),
	KUNIT_CASE(freed_object),
	KUNIT_CASE(freed_while_preserved),
	KUNIT_CASE(record_of_another_slab),
	KUNIT_CASE(freed_and_reused),
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
