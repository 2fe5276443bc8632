// SPDX-License-Identifier: GPL-2.0-only
/*
 * Objects of slab caches which the kernels of a chain set up differently, for
 * harness/caches: merged with others or not, with objects of other caches in their
 * slabs, aligned, accounted, with debugging. What the previous kernel has handed
 * over is restored, compared to the last byte, and freed; then this one preserves
 * the same again.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpu.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kfence.h>
#include <linux/kho_memdesc.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>

#define SUBTREE "kho-caches"

/* Of mm/slab.h. */
long validate_slab_cache(struct kmem_cache *s);

static bool last;
module_param(last, bool, 0);
MODULE_PARM_DESC(last, "restore only");
static bool in_place;
module_param(in_place, bool, 0);
MODULE_PARM_DESC(in_place, "the previous kernel had the same caches: nothing may be copied");
static bool movable;
module_param(movable, bool, 0);
MODULE_PARM_DESC(movable, "there must have been copies of what lies in ZONE_MOVABLE");
static ulong above;
module_param(above, ulong, 0);
MODULE_PARM_DESC(above, "what is preserved on node 1 lies above that address");
static bool extra;
module_param(extra, bool, 0);
MODULE_PARM_DESC(extra, "have caches first that those of the test can be aliases of");
static bool guard;
module_param(guard, bool, 0);
MODULE_PARM_DESC(guard, "preserve objects that kfence guards");
static bool validate;
module_param(validate, bool, 0);
MODULE_PARM_DESC(validate, "caches have debugging: validate them while objects are restored");
static bool merged;
module_param(merged, bool, 0);
MODULE_PARM_DESC(merged, "caches must be merged");

/* Before the others, if they are to be aliases. */
static const struct { const char *name; unsigned int size; } extras[] = {
	{ "kho-extra-1984", 1984 }, { "kho-extra-64", 64 }, { "kho-extra-128", 128 },
};

static struct kmem_cache *extra_caches[ARRAY_SIZE(extras)];

static struct spec {
	const char *name;
	unsigned int size;
	slab_flags_t flags;
	unsigned int count;
	/* Created and used when half of the objects of the one before are preserved. */
	bool with;
	/* Not of a cache, but from kmalloc() with @gfp. */
	bool kmalloc;
	gfp_t gfp;
	struct kmem_cache *cache;
} specs[] = {
	{ "kho-1444", 1444, 0, 24 },
	{ "kho-1448", 1448, 0, 24, true },
	{ "kho-1960", 1960, SLAB_HWCACHE_ALIGN, 24 },
	{ "kho-40", 40, SLAB_HWCACHE_ALIGN, 24 },
	{ "kho-60", 60, 0, 24, true },
	{ "kho-100", 100, SLAB_HWCACHE_ALIGN | SLAB_ACCOUNT, 24 },
	{ "kho-200", 200, SLAB_HWCACHE_ALIGN | SLAB_NO_MERGE, 24 },
	{ "kho-520", 520, SLAB_NO_MERGE, 24 },
	{ "kho-dma32", 600, SLAB_CACHE_DMA32, 24 },
	{ "kho-destroyed", 328, SLAB_NO_MERGE, 60 },
	{ "kho-many", 256, SLAB_NO_MERGE, 10000 },
	{ "kmalloc-96", 96, .count = 24, .kmalloc = true },
	{ "kmalloc-1024", 1024, .count = 24, .kmalloc = true },
	{ "kmalloc-rcl-192", 192, .count = 24, .kmalloc = true,
	  .gfp = __GFP_RECLAIMABLE },
	{ "kmalloc-cg-512", 512, .count = 24, .kmalloc = true, .gfp = __GFP_ACCOUNT },
	{ "dma-kmalloc-64", 64, .count = 24, .kmalloc = true, .gfp = __GFP_DMA },
};

#define SPEC_200	6
#define SPEC_DESTROYED	9

struct entry {
	u64 phys;
	u32 spec;
	u16 seed;
	bool guarded;
};

struct manifest {
	u32 count, pad;
	struct entry entry[];
};

static unsigned int bad, copies, others, guarded, over, failed, unguarded;
static unsigned int shrunk, validated;

#define CHECK(cond, fmt, ...) do {						\
		if (!(cond)) {							\
			bad++;							\
			pr_err("wrong: " fmt "\n", ##__VA_ARGS__);		\
		}								\
	} while (0)

static struct kmem_cache *make(struct spec *s)
{
	if (s->kmalloc)
		return NULL;
	if (!s->cache)
		s->cache = kmem_cache_create(s->name, s->size, 0, s->flags, NULL);
	return s->cache;
}

static u8 byte(u32 seed, unsigned int i)
{
	return (seed * 31 + i * 7) | 1;
}

static void fill(void *obj, u32 seed, unsigned int size)
{
	for (unsigned int i = 0; i < size; i++)
		((u8 *)obj)[i] = byte(seed, i);
}

static int wrong_at(const void *obj, u32 seed, unsigned int size)
{
	for (unsigned int i = 0; i < size; i++) {
		if (((u8 *)obj)[i] != byte(seed, i))
			return i;
	}
	return -1;
}

static void *call_restore(const struct spec *s, u64 phys, bool in_place)
{
	if (s->kmalloc)
		return in_place ? kho_slab_restore_in_place(phys) :
				  kho_slab_restore(phys);
	return in_place ? kho_kmem_cache_restore_in_place(s->cache, phys) :
			  kho_kmem_cache_restore(s->cache, phys);
}

/* Call it until it needs fewer than @nth allocations: each one fails once. */
static void *restore_nomem(const struct spec *s, u64 phys, bool in_place)
{
#ifdef CONFIG_FAILSLAB
	for (unsigned int nth = 1; ; nth++) {
		void *obj;
		bool all;

		WRITE_ONCE(current->fail_nth, nth);
		obj = call_restore(s, phys, in_place);
		all = READ_ONCE(current->fail_nth);
		WRITE_ONCE(current->fail_nth, 0);
		failed += !all;
		if (all || obj != ERR_PTR(-ENOMEM))
			return obj;
	}
#endif
	return call_restore(s, phys, in_place);
}

static void free_one(const struct spec *s, void *obj)
{
	if (s->kmalloc)
		kfree(obj);
	else
		kmem_cache_free(s->cache, obj);
}

static void *restore_one(const struct entry *e)
{
	struct spec *s = &specs[e->spec];
	void *(*restore)(const struct spec *s, u64 phys, bool in_place) =
		e->seed % 16 < 2 ? restore_nomem : call_restore;
	void *obj = ERR_PTR(-EOPNOTSUPP);
	int at;

	/* Some must be where they were; others may be. */
	if (e->seed % 4 == 0)
		obj = restore(s, e->phys, true);
	if (!IS_ERR(obj))
		CHECK(virt_to_phys(obj) == e->phys, "%s: not in place", s->name);
	if (obj == ERR_PTR(-EOPNOTSUPP)) {
		CHECK(!in_place || e->guarded || e->seed % 4,
		      "%s: cannot be in place", s->name);
		obj = restore(s, e->phys, false);
	}
	CHECK(!IS_ERR(obj), "%s: object of seed %u: %pe", s->name, e->seed, obj);
	if (IS_ERR(obj))
		return NULL;

	if (virt_to_phys(obj) != e->phys) {
		copies++;
		CHECK(!in_place || e->guarded, "%s: a copy", s->name);
	}
	/* Nobody guards it here: it is the object that stood in for it. */
	unguarded += e->guarded && virt_to_phys(obj) != e->phys;
	if (s->gfp & __GFP_DMA && IS_ENABLED(CONFIG_ZONE_DMA))
		CHECK(!page_zonenum(virt_to_page(obj)), "%s: not of zone DMA", s->name);
	at = wrong_at(obj, e->seed, s->size);
	CHECK(at < 0, "%s: object of seed %u at byte %d: %#x", s->name, e->seed, at,
	      ((u8 *)obj)[max(at, 0)]);
	return obj;
}

/*
 * An object that has become larger is none of the cache. This is the first of all
 * restores: it reads what is handed over, for which memory can be short.
 */
static void restore_grown(const struct entry *e)
{
	const struct spec grown = {
		.cache = kmem_cache_create("kho-grown", 250, 0,
					   SLAB_HWCACHE_ALIGN | SLAB_NO_MERGE, NULL),
	};
	void *obj;

	obj = restore_nomem(&grown, e->phys, false);
	CHECK(obj == ERR_PTR(-EINVAL), "an object of 200 bytes as one of 250: %pe", obj);
	kmem_cache_destroy(grown.cache);
	pr_info("%u allocations failed while records were read\n", failed);
	failed = 0;
}

/*
 * The lists of slabs are sorted, and empty slabs are freed, while objects are
 * restored to these caches.
 */
static int shrink(void *arg)
{
	while (!kthread_should_stop()) {
		for (unsigned int i = 0; i < ARRAY_SIZE(specs); i++) {
			/* This one is destroyed meanwhile. */
			if (specs[i].kmalloc || i == SPEC_DESTROYED)
				continue;
			kmem_cache_shrink(specs[i].cache);
			shrunk++;
#ifdef CONFIG_SLUB_DEBUG
			if (validate)
				validated += validate_slab_cache(specs[i].cache) >= 0;
#endif
			cond_resched();
		}
	}
	return 0;
}

/* The cache goes while objects wait, twice, and nobody complains. */
static void destroy_between(const struct manifest *m)
{
	struct spec *s = &specs[SPEC_DESTROYED];
	unsigned int n = 0;
	void *obj;

	for (unsigned int i = 0; i < m->count; i++) {
		if (m->entry[i].spec != SPEC_DESTROYED)
			continue;
		obj = restore_one(&m->entry[i]);
		if (obj)
			kmem_cache_free(s->cache, obj);
		if (n++ % 23 == 0) {
			kmem_cache_destroy(s->cache);
			s->cache = NULL;
			make(s);
		}
	}
}

static void hotplug(void)
{
#ifdef CONFIG_HOTPLUG_CPU
	if (num_online_cpus() > 1 && !remove_cpu(1))
		CHECK(!add_cpu(1), "the CPU does not come back");
#endif
}

static int restore(void)
{
	struct task_struct *shrinker;
	struct manifest *m;
	struct folio *folio;
	phys_addr_t phys;
	void **objs;

	if (kho_retrieve_subtree(SUBTREE, &phys, NULL))
		return 0;
	folio = kho_folio_restore(phys);
	if (IS_ERR(folio))
		return PTR_ERR(folio);
	m = folio_address(folio);
	objs = kvcalloc(m->count, sizeof(*objs), GFP_KERNEL);
	if (!objs)
		return -ENOMEM;

	for (unsigned int i = 0; i < m->count; i++) {
		if (m->entry[i].spec != SPEC_200)
			continue;
		restore_grown(&m->entry[i]);
		break;
	}
	shrinker = kthread_run(shrink, NULL, "kho-shrink");
	if (IS_ERR(shrinker))
		return PTR_ERR(shrinker);
	destroy_between(m);
	for (unsigned int i = 0; i < m->count; i++) {
		if (m->entry[i].spec != SPEC_DESTROYED)
			objs[i] = restore_one(&m->entry[i]);
		/* With one CPU, or a slow one, the other thread has its turn, too. */
		if (i % 64 == 0)
			cond_resched();
	}
	kthread_stop(shrinker);
	pr_info("%u allocations failed, and caches were shrunk %u times, and validated %u times, while objects were restored\n",
		failed, shrunk, validated);
	hotplug();
	for (unsigned int i = 0; i < m->count; i++) {
		if (objs[i])
			free_one(&specs[m->entry[i].spec], objs[i]);
	}
	hotplug();
	for (unsigned int i = 0; i < ARRAY_SIZE(specs); i++) {
		if (specs[i].kmalloc)
			continue;
		kmem_cache_shrink(specs[i].cache);
		kmem_cache_destroy(specs[i].cache);
		specs[i].cache = NULL;
	}
	pr_info("restored %u objects, %u copies, %u of guarded objects, %u wrong\n",
		m->count, copies, unguarded, bad);
	CHECK(!movable || copies, "nothing was copied");
	kvfree(objs);
	folio_put(folio);
	return bad ? -EIO : 0;
}

static int preserve_one(struct manifest *m, unsigned int spec)
{
	struct spec *s = &specs[spec];
	struct entry *e = &m->entry[m->count];
	const unsigned long end = jiffies + 20 * HZ;
	/*
	 * One of these kinds has to be guarded. Not each of them: when most of its
	 * pool is in use, kfence guards no second object that is allocated here.
	 */
	const bool want = guard && s->kmalloc && !guarded;
	int nid = m->count % nr_online_nodes;
	/* All of node 1, but those whose node nobody can choose. */
	const bool high = above && nid == 1 && !s->gfp;
	void *obj, *next, *skipped = NULL;
	int err;

	while (true) {
		if (s->kmalloc)
			obj = kmalloc_node(s->size, GFP_KERNEL | s->gfp,
					   want || s->gfp ? NUMA_NO_NODE : nid);
		else
			obj = kmem_cache_alloc_node(s->cache, GFP_KERNEL, nid);
		if (!obj || time_after(jiffies, end))
			break;
		if (high && virt_to_phys(obj) < above) {
			/* Kept for now, or the next one would be the same. */
			*(void **)obj = skipped;
			skipped = obj;
		} else if (want != is_kfence_address(obj)) {
			free_one(s, obj);
		} else {
			break;
		}
		cond_resched();
	}
	for (; skipped; skipped = next) {
		next = *(void **)skipped;
		free_one(s, skipped);
	}
	if (!obj)
		return -ENOMEM;
	if (want && !is_kfence_address(obj)) {
		pr_err("none is guarded by kfence after 20 s\n");
		return -EIO;
	}
	e->guarded = is_kfence_address(obj);
	guarded += e->guarded;
	e->phys = virt_to_phys(obj);
	over += above && e->phys >= above;
	e->spec = spec;
	e->seed = m->count++;
	fill(obj, ~e->seed, s->size);
	err = s->kmalloc ? kho_slab_preserve(obj) :
			   kho_kmem_cache_preserve(s->cache, obj);
	/* The contents count that it has when this kernel is left. */
	fill(obj, e->seed, s->size);
	return err;
}

/*
 * All free memory of node 1 below @above, or above it. What is left are pages on
 * lists of CPUs and what others free meanwhile; preserve_one() skips those.
 */
static LIST_HEAD(low);
static LIST_HEAD(high);

static void give_back(struct list_head *list)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, list, lru) {
		unsigned int order = page_private(page);

		list_del(&page->lru);
		set_page_private(page, 0);
		__free_pages(page, order);
	}
}

static void take_low(void)
{
	for (int order = MAX_PAGE_ORDER; order >= 0; order--) {
		struct page *page;

		/*
		 * The reserves, too, or they would be what caches get first. No
		 * reclaim: what kswapd frees would lie anywhere.
		 */
		while ((page = alloc_pages_node(1, __GFP_THISNODE | __GFP_NOWARN |
						__GFP_MEMALLOC, order))) {
			set_page_private(page, order);
			list_add(&page->lru,
				 page_to_phys(page) < above ? &low : &high);
			cond_resched();
		}
	}
	give_back(&high);
}

static int preserve(void)
{
	unsigned int total = 0;
	struct folio *folio;
	struct manifest *m;
	size_t size;
	int err = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(specs); i++)
		total += specs[i].count;
	size = struct_size(m, entry, total);
	folio = folio_alloc(GFP_KERNEL | __GFP_ZERO, get_order(size));
	if (!folio)
		return -ENOMEM;
	m = folio_address(folio);
	if (above)
		take_low();

	for (unsigned int i = 0; i < ARRAY_SIZE(specs) && !err; i++) {
		struct spec *s = &specs[i];
		unsigned int n = 0;

		if (s->with)
			continue;
		if (!make(s) && !s->kmalloc)
			return -ENOMEM;
		for (; n < s->count / 2 && !err; n++)
			err = preserve_one(m, i);
		if (i + 1 < ARRAY_SIZE(specs) && specs[i + 1].with) {
			if (!make(s + 1))
				return -ENOMEM;
			others += specs[i + 1].cache == s->cache;
			for (n = 0; n < s[1].count && !err; n++)
				err = preserve_one(m, i + 1);
		}
		for (n = 0; n < s->count - s->count / 2 && !err; n++)
			err = preserve_one(m, i);
	}
	give_back(&low);
	CHECK(!merged || others, "no caches were merged");
	CHECK(!guard || guarded, "none is guarded by kfence");
	CHECK(!above || over, "none lies above %#lx", above);
	if (!err)
		err = kho_folio_preserve(folio);
	if (!err)
		err = kho_add_subtree(SUBTREE, m, size);
	pr_info("preserved %u objects, %u guarded, %u above %#lx, %u pairs of caches are merged: %d\n",
		m->count, guarded, over, above, others, err);
	return err ?: bad ? -EIO : 0;
}

/* Preserves and unpreserves until the kernel is left, in the middle of it. */
static int storm(void *arg)
{
	void *objs[64] = {};
	u32 rnd = (unsigned long)arg * 2654435761u + 1;

	while (true) {
		unsigned int i;

		rnd = rnd * 1664525 + 1013904223;
		i = rnd >> 26;
		if (objs[i]) {
			kho_slab_unpreserve(objs[i]);
			kfree(objs[i]);
			objs[i] = NULL;
		} else {
			objs[i] = kmalloc(8 << (rnd >> 16) % 9, GFP_KERNEL);
			if (objs[i] && kho_slab_preserve(objs[i])) {
				kfree(objs[i]);
				objs[i] = NULL;
			}
		}
		cond_resched();
	}
	return 0;
}

static int __init kho_caches_init(void)
{
	int err;

	for (unsigned int i = 0; extra && i < ARRAY_SIZE(extras); i++)
		extra_caches[i] = kmem_cache_create(extras[i].name, extras[i].size, 0,
						    0, NULL);
	/* Only what the restore needs: the rest is created when it is used. */
	for (unsigned int i = 0; i < ARRAY_SIZE(specs); i++)
		make(&specs[i]);

	err = restore();
	if (err || last)
		return err;
	for (unsigned int i = 0; i < ARRAY_SIZE(specs); i++) {
		kmem_cache_destroy(specs[i].cache);
		specs[i].cache = NULL;
	}
	err = preserve();
	for (unsigned long i = 0; !err && i < 2 * num_online_cpus(); i++)
		kthread_run(storm, (void *)i, "kho-storm");
	return err;
}
module_init(kho_caches_init);

static void __exit kho_caches_exit(void)
{
}
module_exit(kho_caches_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A handover between kernels with different slab caches");
