// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the typed kexec handover: objects of the slab allocator.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/io.h>
#include <linux/kasan.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/ucopysize.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>

#include "kmt.h"

#include "../../mm/slab.h"

static bool copies;
module_param(copies, bool, 0644);
MODULE_PARM_DESC(copies, "Slab objects may come back as copies");

/* Objects that are allocated between those that are restored. */
#define KMT_MAX_NOISE		4096

/* At most so many CPUs work at once. */
#define KMT_MAX_CPUS		4

/*
 * One of so many large kmalloc objects may seem to be accounted wrongly: somebody
 * else allocated or freed a slab while that object was restored. KASAN and kmemleak
 * allocate an object of their own with each object, or keep one.
 */
#define KMT_SLACK_SLAB_SHARE	\
	(IS_ENABLED(CONFIG_DEBUG_KMEMLEAK) || IS_ENABLED(CONFIG_KASAN) ? 2 : 4)

static struct kmem_cache *kmt_caches[2];
static kmem_buckets *kmt_buckets;
static void *kmt_noise[KMT_MAX_NOISE];
static unsigned int kmt_nr_noise;
static unsigned long kmt_copied, kmt_guarded, kmt_dma;

/* Restored large kmalloc memory, from kmalloc() and not, and wrongly accounted. */
static unsigned int kmt_large[2], kmt_large_wrong[2];

/* Work of all CPUs at once */

struct kmt_work {
	struct work_struct work;
	const struct kmt_entry *entries;	/* to restore, or NULL to free */
	void **objs;
	unsigned int nr;
	unsigned int first;
	unsigned int step;
};

/* Some objects of each slab are restored by all CPUs at once. */
static bool kmt_restore_early(const struct kmt_entry *entry)
{
	return kmt_types[entry->type].ops == &kmt_kmalloc &&
	       entry->index % 3 == 1;
}

static void kmt_work(struct work_struct *work)
{
	struct kmt_work *w = container_of(work, struct kmt_work, work);

	for (unsigned int i = w->first; i < w->nr; i += w->step) {
		if (!w->entries)
			kfree(w->objs[i]);
		else if (kmt_restore_early(&w->entries[i]))
			w->objs[i] = kho_slab_restore(w->entries[i].phys);
		cond_resched();
	}
}

static void kmt_on_all_cpus(const struct kmt_entry *entries, void **objs,
			    unsigned int nr)
{
	struct kmt_work works[KMT_MAX_CPUS];
	unsigned int n = 0, cpu;

	cpus_read_lock();
	for_each_online_cpu(cpu) {
		struct kmt_work *w = &works[n];

		if (n == ARRAY_SIZE(works))
			break;
		INIT_WORK_ONSTACK(&w->work, kmt_work);
		w->entries = entries;
		w->objs = objs;
		w->nr = nr;
		w->first = n++;
		w->step = min_t(unsigned int, num_online_cpus(),
				ARRAY_SIZE(works));
		schedule_work_on(cpu, &w->work);
	}
	for (unsigned int i = 0; i < n; i++) {
		flush_work(&works[i].work);
		destroy_work_on_stack(&works[i].work);
	}
	cpus_read_unlock();
}

/**
 * kmt_restore_slabs - Restore some objects from kmalloc() by all CPUs at once
 * @entries: All objects that are handed over
 * @restored: Where the address or error of each object goes that is restored here
 * @nr: Number of both
 */
void kmt_restore_slabs(const struct kmt_entry *entries, void **restored,
		       unsigned int nr)
{
	kmt_on_all_cpus(entries, restored, nr);
}

/* Free objects in random order, by all CPUs at once. */
static void kmt_free_objects(void **objs, unsigned int nr)
{
	u64 state = 88172645463325252ULL;

	for (unsigned int i = nr; i > 1; i--) {
		unsigned int j = handover_test_random(&state) % i;

		swap(objs[i - 1], objs[j]);
	}
	kmt_on_all_cpus(NULL, objs, nr);
}

/**
 * kmt_free_kmalloc - Free all objects from kmalloc(), not one by one
 */
void kmt_free_kmalloc(void)
{
	struct kmt_type *type = kmt_type(&kmt_kmalloc);
	struct kmt_object *obj, *next;
	unsigned int nr = 0, max = 0;
	void **objs;

	list_for_each_entry(obj, &kmt_objects, list)
		max += obj->type == type;
	objs = kvmalloc_array(max, sizeof(*objs), GFP_KERNEL);
	/* Without memory for this they are freed like all others. */
	if (!objs)
		return;

	list_for_each_entry_safe(obj, next, &kmt_objects, list) {
		if (obj->type != type)
			continue;
		kmt_unpreserve(obj);
		objs[nr++] = obj->addr;
		type->stats.freed++;
		list_del(&obj->list);
		kfree(obj);
	}
	kmt_free_objects(objs, nr);
	kvfree(objs);
}

/* kmalloc() within slabs */

/* Every bucket, filled to different degrees. */
static void kmt_init_kmalloc(struct kmt_object *obj)
{
	static const size_t buckets[] = {
		8, 16, 32, 64, 96, 128, 192, 256, 512, SZ_1K, SZ_2K, SZ_4K, SZ_8K,
	};
	size_t size = buckets[obj->index % ARRAY_SIZE(buckets)];

	if (size > KMALLOC_MAX_CACHE_SIZE)
		size = 64;
	obj->size = size - obj->seed % (size / 4);
}

static gfp_t kmt_kmalloc_gfp(const struct kmt_object *obj)
{
	if (obj->index % 64 == 3)
		return GFP_KERNEL | __GFP_DMA | __GFP_NOWARN;
	if (obj->index % 4 == 1)
		return GFP_KERNEL | __GFP_RECLAIMABLE;
	if (obj->index % 4 == 2)
		return GFP_KERNEL | __GFP_ACCOUNT;
	return GFP_KERNEL;
}

/**
 * kmt_in_bucket - Does the object come from a cache that kmalloc() does not use?
 * @obj: The object
 *
 * It is kmalloc() memory afterwards. It can be a copy, because the layout of the
 * two caches can differ with debugging.
 *
 * Return: true if it does.
 */
bool kmt_in_bucket(const struct kmt_object *obj)
{
	return IS_ENABLED(CONFIG_SLAB_BUCKETS) && kmt_buckets &&
	       obj->type->ops == &kmt_kmalloc && obj->index % 16 == 8;
}

static void *kmt_alloc_kmalloc(const struct kmt_object *obj)
{
	if (kmt_in_bucket(obj))
		return kmem_buckets_alloc(kmt_buckets, obj->size, GFP_KERNEL);
	/* It can be that all DMA memory is scratch, which is not handed over. */
	return kmalloc(obj->size, kmt_kmalloc_gfp(obj)) ?:
	       kmalloc(obj->size, GFP_KERNEL);
}

static void kmt_kfree(const struct kmt_object *obj)
{
	kfree(obj->addr);
}

static int kmt_preserve_kmalloc(struct kmt_object *obj)
{
	return kho_slab_preserve(obj->addr);
}

static void kmt_unpreserve_kmalloc(struct kmt_object *obj)
{
	kho_slab_unpreserve(obj->addr);
}

static void *kmt_restore_kmalloc(const struct kmt_object *obj, phys_addr_t phys)
{
	void *addr;

	if (obj->index % 16 == 4) {
		addr = kho_slab_restore_in_place(phys);
		if (addr != ERR_PTR(-EOPNOTSUPP))
			return addr;
	}
	return kho_slab_restore(phys);
}

static void kmt_bad_kmalloc(const struct kmt_object *obj, phys_addr_t phys)
{
	kmt_expect_error(obj, "inside of an object", -EINVAL, -ENOENT,
			 kho_slab_restore(phys + 1));
	kmt_expect_error(obj, "object of another cache", -EINVAL, -EINVAL,
			 kho_kmem_cache_restore(kmt_caches[0], phys));
}

const struct kmt_ops kmt_kmalloc = {
	.name		= "kmalloc",
	.count		= 2048,
	.shape		= KMT_OBJECT,
	.slab		= true,
	.init		= kmt_init_kmalloc,
	.alloc		= kmt_alloc_kmalloc,
	.free		= kmt_kfree,
	.preserve	= kmt_preserve_kmalloc,
	.unpreserve	= kmt_unpreserve_kmalloc,
	.restore	= kmt_restore_kmalloc,
	.bad		= kmt_bad_kmalloc,
};

/* Large kmalloc memory, which has pages of its own */

/* Some of this memory is preserved and restored by its memdesc type. */
static bool kmt_by_memdesc(const struct kmt_object *obj)
{
	return obj->index % 4 == 1;
}

static void kmt_init_large(struct kmt_object *obj)
{
	obj->size = KMALLOC_MAX_CACHE_SIZE + obj->seed % SZ_128K + 1;
	obj->order = get_order(obj->size);
}

static void *kmt_alloc_large(const struct kmt_object *obj)
{
	return kmalloc(obj->size, KMT_GFP);
}

static int kmt_preserve_large(struct kmt_object *obj)
{
	if (!kmt_by_memdesc(obj))
		return kho_slab_preserve(obj->addr);
	return kho_preserve_page_desc(virt_to_page(obj->addr), obj->order,
				      KHO_MEMDESC_LARGE_KMALLOC);
}

static void kmt_unpreserve_large(struct kmt_object *obj)
{
	if (!kmt_by_memdesc(obj))
		kho_slab_unpreserve(obj->addr);
	else
		kho_unpreserve_page_desc(virt_to_page(obj->addr), obj->order,
					 KHO_MEMDESC_LARGE_KMALLOC);
}

static void *kmt_restore_large(const struct kmt_object *obj, phys_addr_t phys)
{
	struct page *page;

	if (!kmt_by_memdesc(obj))
		return kho_slab_restore(phys);
	page = kho_restore_page_desc(phys, MEMDESC_TYPE_LARGE_KMALLOC(NULL));
	return IS_ERR(page) ? ERR_CAST(page) : page_address(page);
}

static void kmt_bad_large(const struct kmt_object *obj, phys_addr_t phys)
{
	kmt_expect_error(obj, "inside of large kmalloc", -EINVAL, -ENOENT,
			 kho_slab_restore(phys + 8));
	kmt_expect_error(obj, "tail of large kmalloc", -EINVAL, -ENOENT,
			 kho_slab_restore(phys + PAGE_SIZE));
	kmt_expect_error(obj, "large kmalloc as folio", -EINVAL, -EINVAL,
			 kho_folio_restore(phys));
	kmt_expect_error(obj, "large kmalloc as object", -ENOENT, -ENOENT,
			 kho_kmem_cache_restore(kmt_caches[0], phys));
}

const struct kmt_ops kmt_large_kmalloc = {
	.name		= "large_kmalloc",
	.count		= 64,
	.shape		= KMT_FROZEN,
	.slab		= true,
	.init		= kmt_init_large,
	.alloc		= kmt_alloc_large,
	.free		= kmt_kfree,
	.preserve	= kmt_preserve_large,
	.unpreserve	= kmt_unpreserve_large,
	.restore	= kmt_restore_large,
	.bad		= kmt_bad_large,
};

/* kvmalloc() memory that is not an area */

static void kmt_init_small(struct kmt_object *obj)
{
	obj->size = obj->seed % PAGE_SIZE + 1;
}

static void *kmt_alloc_small(const struct kmt_object *obj)
{
	return kmt_kvmalloc.alloc(obj);
}

static void kmt_free_small(const struct kmt_object *obj)
{
	kmt_kvmalloc.free(obj);
}

static int kmt_preserve_small(struct kmt_object *obj)
{
	return kmt_kvmalloc.preserve(obj);
}

static void kmt_unpreserve_small(struct kmt_object *obj)
{
	kmt_kvmalloc.unpreserve(obj);
}

static void *kmt_restore_small(const struct kmt_object *obj, phys_addr_t phys)
{
	return kmt_kvmalloc.restore(obj, phys);
}

const struct kmt_ops kmt_kvmalloc_small = {
	.name		= "kvmalloc_small",
	.count		= 128,
	.shape		= KMT_OBJECT,
	.slab		= true,
	.init		= kmt_init_small,
	.alloc		= kmt_alloc_small,
	.free		= kmt_free_small,
	.preserve	= kmt_preserve_small,
	.unpreserve	= kmt_unpreserve_small,
	.restore	= kmt_restore_small,
};

/* kmem_cache_alloc(), from a cache with a constructor and from one without */

static struct kmem_cache *kmt_cache(const struct kmt_object *obj)
{
	return kmt_caches[obj->index % 2];
}

static void kmt_init_cached(struct kmt_object *obj)
{
	obj->size = kmem_cache_size(kmt_cache(obj));
}

static void *kmt_alloc_cached(const struct kmt_object *obj)
{
	return kmem_cache_alloc(kmt_cache(obj), GFP_KERNEL);
}

static void kmt_free_cached(const struct kmt_object *obj)
{
	kmem_cache_free(kmt_cache(obj), obj->addr);
}

static int kmt_preserve_cached(struct kmt_object *obj)
{
	return kho_kmem_cache_preserve(kmt_cache(obj), obj->addr);
}

static void kmt_unpreserve_cached(struct kmt_object *obj)
{
	kho_kmem_cache_unpreserve(kmt_cache(obj), obj->addr);
}

static void *kmt_restore_cached(const struct kmt_object *obj, phys_addr_t phys)
{
	return kho_kmem_cache_restore(kmt_cache(obj), phys);
}

static void kmt_bad_cached(const struct kmt_object *obj, phys_addr_t phys)
{
	struct kmem_cache *other = kmt_caches[!(obj->index % 2)];

	kmt_expect_error(obj, "inside of an object", -EINVAL, -ENOENT,
			 kho_kmem_cache_restore(kmt_cache(obj), phys + 8));
	kmt_expect_error(obj, "object of another cache", -EINVAL, -EINVAL,
			 kho_kmem_cache_restore(other, phys));
}

const struct kmt_ops kmt_kmem_cache = {
	.name		= "kmem_cache",
	.count		= 512,
	.shape		= KMT_OBJECT,
	.slab		= true,
	.init		= kmt_init_cached,
	.alloc		= kmt_alloc_cached,
	.free		= kmt_free_cached,
	.preserve	= kmt_preserve_cached,
	.unpreserve	= kmt_unpreserve_cached,
	.restore	= kmt_restore_cached,
	.bad		= kmt_bad_cached,
};

static void kmt_ctor(void *obj)
{
	memset(obj, 0xc7, 200);
}

/**
 * kmt_create_caches - Create the caches of the test
 *
 * Return: 0 or -ENOMEM.
 */
int kmt_create_caches(void)
{
	/* Buckets are never destroyed, so a module cannot have any. */
	if (!IS_MODULE(CONFIG_TEST_KHO_MEMDESC))
		kmt_buckets = kmem_buckets_create("kho_memdesc_test", 0, 0,
						  INT_MAX, NULL);
	kmt_caches[0] = kmem_cache_create("kho_memdesc_test-200", 200, 0,
					  SLAB_NO_MERGE, kmt_ctor);
	kmt_caches[1] = kmem_cache_create("kho_memdesc_test-72", 72, 0,
					  SLAB_NO_MERGE, NULL);
	if (kmt_caches[0] && kmt_caches[1])
		return 0;
	kmt_destroy_caches();
	return -ENOMEM;
}

/**
 * kmt_destroy_caches - Destroy the caches of the test
 */
void kmt_destroy_caches(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(kmt_caches); i++)
		kmem_cache_destroy(kmt_caches[i]);
}

/* Checks */

static void kmt_check_caches(void)
{
#ifdef CONFIG_SLUB_DEBUG
	const struct kmt_object obj = { .type = kmt_type(&kmt_kmem_cache) };

	for (unsigned int i = 0; i < ARRAY_SIZE(kmt_caches); i++) {
		/* Without these flags free pointers beside the objects are not valid. */
		if (kmt_caches[i]->ctor &&
		    !(kmt_caches[i]->flags & SLAB_DEBUG_FLAGS))
			continue;
		kmt_expect(&obj, "cache", "is valid", true,
			   validate_slab_cache(kmt_caches[i]) >= 0);
	}
#endif
}

/**
 * kmt_shrink_caches - Check the caches, and free their empty slabs
 */
void kmt_shrink_caches(void)
{
	kmt_check_caches();
	for (unsigned int i = 0; i < ARRAY_SIZE(kmt_caches); i++)
		kmem_cache_shrink(kmt_caches[i]);
}

/**
 * kmt_check_object - Check where a restored object of a slab lies
 * @obj: The object
 * @entry: Where it was preserved
 */
void kmt_check_object(const struct kmt_object *obj,
		      const struct kmt_entry *entry)
{
	void *old = phys_to_virt(entry->phys);

	/* What comes from kmalloc() may be copied to user space. */
	if (obj->type->ops != &kmt_kmem_cache)
		check_object_size(obj->addr, obj->size, true);

	if (entry->flags & (KMT_GUARDED | KMT_COPIED) || copies) {
		kmt_copied += kasan_reset_tag(obj->addr) != old;
		kmt_guarded += !!(entry->flags & KMT_GUARDED);
	} else {
		kmt_expect(obj, "restore", "address", (long)old,
			   (long)kasan_reset_tag(obj->addr));
	}
}

/**
 * kmt_add_noise - Fill free places of slabs with objects still to be restored
 * @obj: An object of such a slab
 */
void kmt_add_noise(const struct kmt_object *obj)
{
	void *noise;

	kmt_dma += !strcmp(page_zone(virt_to_page(obj->addr))->name, "DMA");

	if (kmt_nr_noise == KMT_MAX_NOISE)
		return;
	if (obj->type->ops == &kmt_kmem_cache)
		noise = kmem_cache_alloc(kmt_cache(obj), GFP_KERNEL);
	else
		noise = kmalloc(obj->size, kmt_kmalloc_gfp(obj));
	if (!noise)
		return;
	memset(noise, 0xee, obj->size);
	kmt_noise[kmt_nr_noise++] = noise;
}

/**
 * kmt_count_large - Note whether large kmalloc memory was accounted
 * @obj: An object, of any type, that was restored
 * @nr_pages: By how many pages NR_SLAB_UNRECLAIMABLE_B has changed then
 */
void kmt_count_large(const struct kmt_object *obj, long nr_pages)
{
	bool by_memdesc = kmt_by_memdesc(obj);

	if (obj->type->ops != &kmt_large_kmalloc)
		return;
	kmt_large[by_memdesc]++;
	kmt_large_wrong[by_memdesc] += nr_pages != 1L << obj->order;
}

/**
 * kmt_check_slabs - Check counters and caches after everything was restored
 */
void kmt_check_slabs(void)
{
	const struct kmt_object obj = { .type = kmt_type(&kmt_large_kmalloc) };

	pr_info("other users: %u and %u of %u and %u objects of large kmalloc\n",
		kmt_large_wrong[0], kmt_large_wrong[1], kmt_large[0],
		kmt_large[1]);
	for (int i = 0; i < 2; i++)
		kmt_expect(&obj, "NR_SLAB_UNRECLAIMABLE_B", "objects not accounted",
			   0, KMT_SLACK_SLAB_SHARE * kmt_large_wrong[i] > kmt_large[i] ?
			   kmt_large_wrong[i] : 0);

	kmt_check_caches();
	kmt_free_objects(kmt_noise, kmt_nr_noise);
	kmt_nr_noise = 0;
	kmt_check_caches();
	pr_info("%lu slab objects came back as copies, %lu for kfence, %lu of zone DMA\n",
		kmt_copied, kmt_guarded, kmt_dma);
}

/**
 * kmt_cmd_objects - Preserve objects in memory that was added after boot
 * @added: Physical address from which on memory was added
 *
 * The next kernel does not find such memory. Other objects are preserved.
 *
 * Return: 0 or an error.
 */
int kmt_cmd_objects(u64 added)
{
	const struct kmt_object obj = {
		.type = kmt_type(&kmt_kmalloc), .size = SZ_2K,
	};
	unsigned int early = 0, refused = 0;
	void *mem, *list = NULL;

	while (refused < 100) {
		bool late;
		int err;

		mem = kmalloc(obj.size, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
		if (!mem)
			break;
		/* Kept: otherwise the next one would lie in the same place. */
		*(void **)mem = list;
		list = mem;

		late = virt_to_phys(mem) >= added;
		err = kho_slab_preserve(mem);
		if (!kmt_expect(&obj, "object in added memory", "error",
				late ? -EOPNOTSUPP : 0, err))
			break;
		refused += late;
		early += !late;
		if (!err)
			kho_slab_unpreserve(mem);
		cond_resched();
	}
	while (list) {
		mem = list;
		list = *(void **)mem;
		kfree(mem);
	}
	pr_info("objects: %u in added memory were refused, and %u others were not\n",
		refused, early);
	return 0;
}
