// SPDX-License-Identifier: GPL-2.0-only
/*
 * Typed kexec handover of slab objects and of large kmalloc memory.
 *
 * The slab of an object is preserved as a whole, with a record of how its
 * objects lie and which of them are preserved: include/linux/kho/abi/slab.h.
 * The first restore of an object makes the slab one of a cache of this kernel
 * (slab_adopt() in mm/slub.c), if there is one for which the objects lie where
 * it expects them. Preserved objects are allocated from then on, handed out or
 * not, all others are free. Otherwise the objects are copied, and the slab goes
 * back to the page allocator with the last of them.
 *
 * Objects guarded by kfence lie in memory that the next kernel may use early in
 * its boot. They get another object that is preserved in their place, into which
 * they are copied when nothing else runs any more.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/export.h>
#include <linux/io.h>
#include <linux/kasan.h>
#include <linux/kexec_handover.h>
#include <linux/kfence.h>
#include <linux/kho/abi/slab.h>
#include <linux/kho_memdesc.h>
#include <linux/kmemleak.h>
#include <linux/kmsan-checks.h>
#include <linux/math64.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "../../mm/mm_init.h"
#include "../../mm/slab.h"
#include "kexec_handover_internal.h"

/*
 * A pointer for each page that has one, by page frame number. Every object that
 * is preserved or restored takes a look into one of these, for which an xarray
 * takes longer than all the rest does. Found without a lock under RCU, changed
 * under a mutex.
 */
#define KHO_SLAB_SLOTS	256

struct kho_slab_node {
	struct rcu_head rcu;
	unsigned int used;		/* slots */
	void *slot[KHO_SLAB_SLOTS];
};

struct kho_slab_map {
	unsigned long nr;		/* entries in top */
	struct kho_slab_node **top;	/* nodes of nodes; once made it stays */
};

/*
 * What this kernel hands over. Allocations with the lock held are GFP_NOFS: a
 * shrinker that may enter file systems can unpreserve what it frees, and must not
 * meet the lock of an allocation that it runs for.
 *
 * The root is made before the lock is taken, and stays: subtrees come and go with
 * the lock of the FDT held, under which others allocate with GFP_KERNEL.
 */
static struct {
	struct mutex lock;	/* protects everything here, and the chunks */
	struct kho_slab_root *root;
	unsigned int nr_chunks;
	struct list_head room[KHO_SLAB_CHAINS];	/* chunks which are not full */
	struct kho_slab_map slabs;	/* records, by the first page */
	struct xarray copies;		/* by physical address of the object */
	struct xarray large;		/* only if frees are checked */
	struct kho_slab_record *last;
} kho_slab_out = {
	.lock = __MUTEX_INITIALIZER(kho_slab_out.lock),
	.copies = XARRAY_INIT(kho_slab_out.copies, 0),
	.large = XARRAY_INIT(kho_slab_out.large, 0),
};

/* A slab that the previous kernel has handed over. */
struct kho_old_slab {
	/* What it takes to restore an object once the slab is adopted. */
	phys_addr_t start;		/* first object */
	u32 bytes;			/* of all objects */
	u32 size;			/* distance of the objects */
	u64 inverse;			/* of it, times 1 << 32, rounded up */
	atomic_t left;			/* objects still to be restored */
	bool claimed;			/* the pages are kho_claim()ed */
	bool ready;			/* and kho_init_claimed() */
	bool poisoned;			/* with a hardware error in one of them */
	struct kmem_cache *cache;	/* whose slab it is, or NULL */
	struct kmem_cache *want;	/* who asks for this one gets objects */

	struct list_head adopted;	/* in kho_slab_in.adopted, if @cache */
	struct rcu_head rcu;
	struct kho_slab_record rec;	/* a copy */
};

/* It has no objects. */
static struct kho_old_slab kho_no_slab;

/* No cache is asked for like this, see @want. */
#define KHO_SLAB_NOBODY	((struct kmem_cache *)ERR_PTR(-ENOENT))

/*
 * What the previous kernel has handed over. An object of a slab which a cache
 * has adopted is restored under RCU, by clearing its bit. Restoring mostly asks
 * for one object of a slab after the other: the slab is kept at hand.
 */
static struct {
	struct mutex mutex;		/* protects all but bits and counts */
	bool known;			/* root is read */
	struct kho_slab_root root;	/* with the chunks still to be read */
	struct kho_slab_map slabs;	/* old slabs, by each of their pages */
	struct list_head adopted;	/* old slabs that are slabs of caches */
	struct xarray copies;		/* by physical address of the object */

	spinlock_t lock;		/* protects: */
	struct kho_old_slab *last;	/* has objects left, or kho_no_slab */
} kho_slab_in = {
	.mutex = __MUTEX_INITIALIZER(kho_slab_in.mutex),
	.adopted = LIST_HEAD_INIT(kho_slab_in.adopted),
	.copies = XARRAY_INIT(kho_slab_in.copies, 0),
	.lock = __SPIN_LOCK_UNLOCKED(kho_slab_in.lock),
	.last = &kho_no_slab,
};

static __always_inline void *kho_slab_map_find(const struct kho_slab_map *map,
					       unsigned long pfn)
{
	const unsigned long i = pfn / KHO_SLAB_SLOTS;
	const struct kho_slab_node *node;

	/* Pairs with smp_store_release() in kho_slab_map_set(). */
	if (unlikely(i / KHO_SLAB_SLOTS >= smp_load_acquire(&map->nr)))
		return NULL;
	node = READ_ONCE(map->top[i / KHO_SLAB_SLOTS]);
	if (unlikely(!node))
		return NULL;
	node = READ_ONCE(node->slot[i % KHO_SLAB_SLOTS]);
	if (unlikely(!node))
		return NULL;
	return READ_ONCE(node->slot[pfn % KHO_SLAB_SLOTS]);
}

/* The node at @link. It is made if there is none, and counted in @parent. */
static struct kho_slab_node *kho_slab_map_node(struct kho_slab_node **link,
					       struct kho_slab_node *parent)
{
	struct kho_slab_node *node = *link;

	if (node)
		return node;
	node = kzalloc_obj(*node);
	if (!node)
		return NULL;
	/* Pairs with READ_ONCE() in kho_slab_map_find(): it is clear. */
	smp_store_release(link, node);
	if (parent)
		parent->used++;
	return node;
}

/* Returns 0, -EEXIST, -EINVAL if there is no such page, or -ENOMEM. */
static int kho_slab_map_set(struct kho_slab_map *map, unsigned long pfn,
			    void *entry)
{
	const unsigned long i = pfn / KHO_SLAB_SLOTS;
	struct kho_slab_node *parent, *node;
	unsigned long nr;

	if (!map->nr) {
		/* Memory that is added later is not handed over. */
		nr = DIV_ROUND_UP(max_pfn, KHO_SLAB_SLOTS * KHO_SLAB_SLOTS);
		map->top = kvcalloc(nr, sizeof(*map->top), GFP_KERNEL);
		if (!map->top)
			return -ENOMEM;
		/* Pairs with the acquire in kho_slab_map_find(). */
		smp_store_release(&map->nr, nr);
	}
	if (i / KHO_SLAB_SLOTS >= map->nr)
		return -EINVAL;

	parent = kho_slab_map_node(&map->top[i / KHO_SLAB_SLOTS], NULL);
	if (!parent)
		return -ENOMEM;
	node = kho_slab_map_node((void *)&parent->slot[i % KHO_SLAB_SLOTS],
				 parent);
	if (!node) {
		if (!parent->used) {
			WRITE_ONCE(map->top[i / KHO_SLAB_SLOTS], NULL);
			kfree_rcu(parent, rcu);
		}
		return -ENOMEM;
	}

	if (node->slot[pfn % KHO_SLAB_SLOTS])
		return -EEXIST;
	node->used++;
	/* Pairs with READ_ONCE() in kho_slab_map_find(). */
	smp_store_release(&node->slot[pfn % KHO_SLAB_SLOTS], entry);
	return 0;
}

/* What is there was set. */
static void kho_slab_map_erase(struct kho_slab_map *map, unsigned long pfn)
{
	const unsigned long i = pfn / KHO_SLAB_SLOTS;
	struct kho_slab_node *parent = map->top[i / KHO_SLAB_SLOTS];
	struct kho_slab_node *node = parent->slot[i % KHO_SLAB_SLOTS];

	WRITE_ONCE(node->slot[pfn % KHO_SLAB_SLOTS], NULL);
	if (--node->used)
		return;
	WRITE_ONCE(parent->slot[i % KHO_SLAB_SLOTS], NULL);
	kfree_rcu(node, rcu);
	if (--parent->used)
		return;
	WRITE_ONCE(map->top[i / KHO_SLAB_SLOTS], NULL);
	kfree_rcu(parent, rcu);
}

static int kho_slab_refuse(int err, const char *verb, phys_addr_t phys,
			   const char *why)
{
	return kho_refuse(err, verb, phys, 0, KHO_MEMDESC_SLAB, why);
}

/* The same for a pointer that somebody has passed, whatever it is. */
static int kho_slab_refuse_obj(int err, const char *verb, const void *obj,
			       const char *why)
{
	const void *addr = kasan_reset_tag(obj);

	return kho_slab_refuse(err, verb, virt_addr_valid(addr) ?
			       virt_to_phys((void *)addr) : 0, why);
}

/* Records whose bitmaps have so many bits are in this chain. */
static unsigned int kho_slab_chain(unsigned int objects)
{
	return order_base_2(BITS_TO_U64(objects));
}

static size_t kho_slab_entry_size(unsigned int chain)
{
	if (chain == KHO_SLAB_COPIES)
		return sizeof(struct kho_slab_copy);
	return sizeof(struct kho_slab_record) + (sizeof(u64) << chain);
}

static unsigned int kho_slab_max_entries(unsigned int chain)
{
	return (PAGE_SIZE - sizeof(struct kho_slab_chunk)) /
	       kho_slab_entry_size(chain);
}

static void *kho_slab_entry(struct kho_slab_chunk *chunk, unsigned int chain,
			    unsigned int i)
{
	return (void *)chunk->data + i * kho_slab_entry_size(chain);
}

static struct kho_slab_chunk *kho_slab_chunk_of(void *entry)
{
	return (void *)((unsigned long)entry & PAGE_MASK);
}

/* Chunks, and the list of them that the next kernel sees. */

/*
 * The other CPUs are stopped for a kexec at any instruction. Each store leaves
 * chains that the next kernel can read, in which nothing is missing but what is
 * being preserved or unpreserved: a chunk never leaves its chain to change its
 * place. The chunk before it is in the private field of its page.
 */

static void kho_slab_link_chunk(struct kho_slab_chunk *chunk, unsigned int chain)
{
	u64 *link = &kho_slab_out.root->chain[chain];

	chunk->next = *link;
	set_page_private(virt_to_page(chunk), 0);
	if (chunk->next)
		set_page_private(phys_to_page(chunk->next), (unsigned long)chunk);
	/* The next kernel finds it complete. */
	smp_store_release(link, virt_to_phys(chunk));
	list_add(&virt_to_page(chunk)->lru, &kho_slab_out.room[chain]);
}

static void kho_slab_unlink_chunk(struct kho_slab_chunk *chunk,
				  unsigned int chain)
{
	struct page *page = virt_to_page(chunk);
	struct kho_slab_chunk *prev = (void *)page_private(page);

	WRITE_ONCE(*(prev ? &prev->next : &kho_slab_out.root->chain[chain]),
		   chunk->next);
	if (chunk->next)
		set_page_private(phys_to_page(chunk->next), (unsigned long)prev);
	set_page_private(page, 0);
	list_del(&page->lru);
}

static noinline int kho_slab_new_root(void)
{
	static DEFINE_MUTEX(lock);
	struct kho_slab_root *root;
	int err;

	if (!kho_out.radix_tree.root)
		return -EOPNOTSUPP;
	/* There are no records in this format. */
	if (kho_write_v4)
		return 0;

	guard(mutex)(&lock);
	if (kho_slab_out.root)
		return 0;

	root = kho_alloc_preserve(sizeof(*root));
	if (IS_ERR(root))
		return PTR_ERR(root);

	root->version = KHO_SLAB_VERSION;
	err = kho_add_subtree(KHO_SLAB_SUBTREE, root, sizeof(*root));
	if (err) {
		kho_unpreserve_free(root);
		return err;
	}

	for (unsigned int i = 0; i < KHO_SLAB_CHAINS; i++)
		INIT_LIST_HEAD(&kho_slab_out.room[i]);
	/* Pairs with smp_load_acquire() in __kho_slab_preserve(). */
	smp_store_release(&kho_slab_out.root, root);
	return 0;
}

static struct kho_slab_chunk *kho_slab_new_chunk(unsigned int chain)
{
	struct kho_slab_chunk *chunk;
	struct folio *folio;
	int err;

	/* Where the next kernel finds it, even if memory was added meanwhile. */
	folio = kho_alloc_folio(0);
	if (!folio)
		return ERR_PTR(-ENOMEM);
	chunk = folio_address(folio);

	err = kho_preserve_page_desc(virt_to_page(chunk), 0,
				     KHO_MEMDESC_METADATA);
	if (err) {
		free_page((unsigned long)chunk);
		return ERR_PTR(err);
	}

	kho_slab_link_chunk(chunk, chain);
	kho_slab_out.nr_chunks++;
	return chunk;
}

static void *kho_slab_new_entry(unsigned int chain)
{
	struct kho_slab_chunk *chunk;
	struct page *page;
	u64 *entry;

	page = list_first_entry_or_null(&kho_slab_out.room[chain], struct page,
					lru);
	if (page) {
		chunk = page_address(page);
	} else {
		chunk = kho_slab_new_chunk(chain);
		if (IS_ERR(chunk))
			return chunk;
	}

	/* Those that are free are a list of indices, counted from 1. */
	if (chunk->free) {
		entry = kho_slab_entry(chunk, chain, chunk->free - 1);
		chunk->free = entry[1];
		memset(entry, 0, kho_slab_entry_size(chain));
	} else {
		entry = kho_slab_entry(chunk, chain, chunk->top++);
	}

	chunk->used++;
	if (chunk->used == kho_slab_max_entries(chain))
		list_del(&virt_to_page(chunk)->lru);
	return entry;
}

static void kho_slab_free_chunk_rcu(struct rcu_head *rcu)
{
	__free_page(container_of(rcu, struct page, rcu_head));
}

static void kho_slab_free_entry(void *entry, unsigned int chain)
{
	struct kho_slab_chunk *chunk = kho_slab_chunk_of(entry);
	u64 *words = entry;

	if (chunk->used == kho_slab_max_entries(chain))
		list_add(&virt_to_page(chunk)->lru, &kho_slab_out.room[chain]);

	WRITE_ONCE(words[0], 0);
	words[1] = chunk->free;
	chunk->free = (entry - (void *)chunk->data) /
		      kho_slab_entry_size(chain) + 1;
	if (--chunk->used)
		return;

	kho_slab_unlink_chunk(chunk, chain);
	kho_unpreserve_page_desc(virt_to_page(chunk), 0, KHO_MEMDESC_METADATA);
	kho_slab_out.nr_chunks--;
	/* kho_slab_check_free() may have an entry of it. */
	if (IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG))
		call_rcu(&virt_to_page(chunk)->rcu_head, kho_slab_free_chunk_rcu);
	else
		free_page((unsigned long)chunk);
}

/* Preserving. */

static unsigned int kho_slab_left_pad(struct kmem_cache *s)
{
	return kmem_cache_debug_flags(s, SLAB_RED_ZONE) ? s->red_left_pad : 0;
}

static enum kho_slab_class kho_slab_class(const struct kmem_cache *s)
{
	if (s->flags & SLAB_CACHE_DMA)
		return KHO_SLAB_DMA;
	if (s->flags & SLAB_ACCOUNT)
		return KHO_SLAB_CGROUP;
	if (s->flags & SLAB_RECLAIM_ACCOUNT)
		return KHO_SLAB_RECLAIM;
	return KHO_SLAB_NORMAL;
}

/*
 * Is the size of the cache's objects that of their user? Caches that cannot be
 * merged have one user. The objects of others are as large as the largest of the
 * users needs them.
 */
static bool kho_slab_exact(const struct kmem_cache *s)
{
	const slab_flags_t never_merge = SLAB_RED_ZONE | SLAB_POISON |
		SLAB_STORE_USER | SLAB_NOLEAKTRACE | SLAB_NO_MERGE |
		SLAB_OBJ_EXT_IN_OBJ;

	return s->ctor || s->flags & never_merge;
}

/*
 * Is the record that was found by the address of a slab the record of this slab?
 * If preserved objects are freed the record stays, and another slab can be where
 * theirs was. Its objects have other numbers: the bitmap may be too short for
 * them. Size and number of the objects determine the order.
 */
static __always_inline bool
kho_slab_record_matches(const struct kho_slab_record *rec,
			const struct slab *slab, struct kmem_cache *s)
{
	return rec->size == s->size && rec->objects == slab->objects &&
	       (!__slub_debug_enabled() ||
		rec->left_pad == kho_slab_left_pad(s));
}

static noinline struct kho_slab_record *kho_slab_stale(phys_addr_t phys)
{
	WARN_ONCE(1, "KHO: objects of the slab at %pa were freed, but not unpreserved\n",
		  &phys);
	return ERR_PTR(-EEXIST);
}

/* The record of @slab, NULL if there is none, or ERR_PTR(-EEXIST). */
static struct kho_slab_record *kho_slab_find_record(const struct slab *slab)
{
	const phys_addr_t phys = virt_to_phys(slab_address(slab));
	struct kho_slab_record *rec;

	rec = kho_slab_map_find(&kho_slab_out.slabs, PHYS_PFN(phys));
	if (unlikely(rec && !kho_slab_record_matches(rec, slab,
						     slab->slab_cache)))
		return kho_slab_stale(phys);
	return rec;
}

static struct kho_slab_record *kho_slab_new_record(struct slab *slab)
{
	const phys_addr_t phys = virt_to_phys(slab_address(slab));
	const unsigned int chain = kho_slab_chain(slab->objects);
	struct kmem_cache *s = slab->slab_cache;
	struct page *page = slab_page(slab);
	struct kho_slab_record *rec;
	int err;

	if (chain >= KHO_SLAB_RECORDS)
		return ERR_PTR(kho_slab_refuse(-EOPNOTSUPP, "preserve", phys,
					       "too many objects in the slab"));
	if (kho_slab_left_pad(s) > U16_MAX)
		return ERR_PTR(kho_slab_refuse(-EOPNOTSUPP, "preserve", phys,
					       "its objects are aligned too far"));

	rec = kho_slab_new_entry(chain);
	if (IS_ERR(rec))
		return rec;

	err = kho_preserve_page_desc(page, slab_order(slab), KHO_MEMDESC_SLAB);
	if (err)
		goto free_entry;

	err = kho_slab_map_set(&kho_slab_out.slabs, PHYS_PFN(phys), rec);
	if (err)
		goto unpreserve;

	rec->size = s->size;
	rec->object_size = s->object_size;
	rec->objects = slab->objects;
	rec->align = __ffs(s->align);
	rec->flags = kho_slab_exact(s) ? KHO_SLAB_EXACT : 0;
	rec->left_pad = kho_slab_left_pad(s);
	rec->order = slab_order(slab);
	rec->class = kho_slab_class(s);
	/* The next kernel looks at records with an address only. */
	smp_store_release(&rec->phys, phys);
	return rec;

unpreserve:
	kho_unpreserve_page_desc(page, slab_order(slab), KHO_MEMDESC_SLAB);
free_entry:
	kho_slab_free_entry(rec, chain);
	return ERR_PTR(err);
}

static void kho_slab_free_record(struct kho_slab_record *rec)
{
	if (kho_slab_out.last == rec)
		kho_slab_out.last = NULL;
	kho_slab_map_erase(&kho_slab_out.slabs, PHYS_PFN(rec->phys));
	kho_unpreserve_page_desc(phys_to_page(rec->phys), rec->order,
				 KHO_MEMDESC_SLAB);
	kho_slab_free_entry(rec, kho_slab_chain(rec->objects));
}

/* The number of the object of @slab that begins at @addr, or -1. */
static __always_inline int
kho_slab_index(const struct slab *slab, const void *addr)
{
	const struct kmem_cache *s = slab->slab_cache;
	unsigned int off, idx;

	off = addr - slab_address(slab) -
	      kho_slab_left_pad(slab->slab_cache);
	idx = reciprocal_divide(off, s->reciprocal_size);
	return idx < slab->objects && idx * s->size == off ? idx : -1;
}

/* Is it known that the object is not allocated? */
static bool kho_slab_object_is_free(struct slab *slab, const void *obj)
{
	struct kmem_cache *s = slab->slab_cache;

	/* KASAN says more about it than we do. */
	if (!kasan_check_byte(obj))
		return true;
	return (IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG) ||
		kmem_cache_debug_flags(s, SLAB_DEBUG_FLAGS)) &&
		slab_object_is_free(s, slab, kasan_reset_tag(obj));
}

static __always_inline int
kho_slab_preserve_nr(struct kho_slab_record *rec, const struct kmem_cache *s,
		     unsigned int idx, const void *obj)
{
	if (unlikely(__test_and_set_bit(idx, (unsigned long *)rec->bitmap)))
		return kho_slab_refuse_obj(-EEXIST, "preserve", obj,
					   "already preserved");
	/* A cache with larger objects has been merged with this one since. */
	if (unlikely(rec->object_size < s->object_size))
		rec->object_size = s->object_size;
	return 0;
}

/* A new record, or the reason why there can be none in @err, if not 0. */
static noinline struct kho_slab_record *
kho_slab_no_record(struct slab *slab, long err, const void *obj)
{
	struct kho_slab_record *rec;
	unsigned int nofs;

	if (err)
		return ERR_PTR(kho_slab_refuse_obj(err, "preserve", obj,
						   "preserved objects of another slab were there"));

	nofs = memalloc_nofs_save();
	rec = kho_slab_new_record(slab);
	memalloc_nofs_restore(nofs);
	return rec;
}

/* The record for preserving object @obj of @slab. */
static __always_inline struct kho_slab_record *
kho_slab_get_record(struct slab *slab, const void *obj)
{
	struct kho_slab_record *rec = kho_slab_find_record(slab);

	if (IS_ERR_OR_NULL(rec)) {
		rec = kho_slab_no_record(slab, PTR_ERR(rec), obj);
		if (IS_ERR(rec))
			return rec;
	}
	kho_slab_out.last = rec;
	return rec;
}

/* @rec is that of the slab, if it is known. */
static __always_inline int
kho_slab_preserve_object(struct slab *slab, struct kho_slab_record *rec,
			 const void *obj)
{
	int idx = kho_slab_index(slab, kasan_reset_tag(obj));

	if (unlikely(idx < 0))
		return kho_slab_refuse_obj(-EINVAL, "preserve", obj,
					   "not the start of an object");
	if (unlikely(kho_slab_object_is_free(slab, obj)))
		return kho_slab_refuse_obj(-EINVAL, "preserve", obj,
					   "the object is free");

	if (!rec) {
		rec = kho_slab_get_record(slab, obj);
		if (IS_ERR(rec))
			return PTR_ERR(rec);
	}
	return kho_slab_preserve_nr(rec, slab->slab_cache, idx, obj);
}

/*
 * The slab that was asked for last, if @obj lies in it and @s is no other cache
 * than its own. Saves to find out what kind of memory @obj is.
 */
static __always_inline struct slab *
kho_slab_same(const struct kmem_cache *s, const void *obj)
{
	const struct kho_slab_record *rec = kho_slab_out.last;
	struct slab *slab;

	if (!rec || (unsigned long)kasan_reset_tag(obj) -
		    (unsigned long)phys_to_virt(rec->phys) >=
		    PAGE_SIZE << rec->order)
		return NULL;

	slab = page_slab(phys_to_page(rec->phys));
	if (!slab || (s ? slab->slab_cache != s : !!slab->slab_cache->ctor) ||
	    !kho_slab_record_matches(rec, slab, slab->slab_cache))
		return NULL;
	return slab;
}

/* False if it is preserved no longer, or was not. */
static bool kho_slab_unpreserve_locked(struct slab *slab, unsigned int idx)
{
	struct kho_slab_record *rec = kho_slab_find_record(slab);

	if (IS_ERR_OR_NULL(rec) ||
	    !__test_and_clear_bit(idx, (unsigned long *)rec->bitmap))
		return false;

	kho_slab_out.last = rec;
	if (bitmap_empty((unsigned long *)rec->bitmap, rec->objects))
		kho_slab_free_record(rec);
	return true;
}

/* Objects guarded by kfence. */

/* An object of the cache which is not guarded. */
static void *kho_slab_alloc_unguarded(struct kmem_cache *s)
{
	void *guarded[16];
	unsigned int nr;
	void *obj;

	/*
	 * One allocation in a while is guarded. Those are held until there is
	 * another, or they could be the same again.
	 */
	for (nr = 0; nr < ARRAY_SIZE(guarded); nr++) {
		obj = kmem_cache_alloc(s, GFP_KERNEL);
		if (!is_kfence_address(obj))
			break;
		guarded[nr] = obj;
		obj = NULL;
	}
	while (nr)
		kmem_cache_free(s, guarded[--nr]);
	return obj;
}

static int kho_slab_preserve_guarded(struct kmem_cache *s, const void *obj)
{
	const phys_addr_t phys = virt_to_phys((void *)obj);
	struct kho_slab_record *rec;
	struct kho_slab_copy *copy;
	int err, idx;
	void *to;

	if (!s || kfence_object_start(obj) != obj)
		return kho_slab_refuse_obj(-EINVAL, "preserve", obj,
					   "not the start of an object");

	if (xa_load(&kho_slab_out.copies, phys))
		return kho_slab_refuse_obj(-EEXIST, "preserve", obj,
					   "already preserved");

	to = kho_slab_alloc_unguarded(s);
	if (!to)
		return -ENOMEM;
	if (!s->ctor)
		memset(to, 0, s->object_size);

	copy = kho_slab_new_entry(KHO_SLAB_COPIES);
	err = PTR_ERR_OR_ZERO(copy);
	if (err)
		goto free_object;

	rec = kho_slab_get_record(virt_to_slab(to), to);
	err = PTR_ERR_OR_ZERO(rec);
	if (err)
		goto free_entry;
	idx = kho_slab_index(virt_to_slab(to), kasan_reset_tag(to));
	err = kho_slab_preserve_nr(rec, s, idx, to);
	if (err)
		goto free_entry;

	err = xa_err(xa_store(&kho_slab_out.copies, phys, copy, GFP_KERNEL));
	if (err)
		goto unpreserve;

	/* Nothing points at it but a physical address. */
	kmemleak_not_leak(to);
	copy->to = virt_to_phys(to);
	copy->size = kfence_ksize(obj);
	/* Whoever reads it looks at copies with an address only. */
	smp_store_release(&copy->from, phys);
	return 0;

unpreserve:
	kho_slab_unpreserve_locked(virt_to_slab(to), idx);
free_entry:
	kho_slab_free_entry(copy, KHO_SLAB_COPIES);
free_object:
	kmem_cache_free(s, to);
	return err;
}

static bool kho_slab_unpreserve_guarded(const void *obj)
{
	struct kho_slab_copy *copy;
	struct slab *slab;
	void *to;

	guard(mutex)(&kho_slab_out.lock);

	copy = xa_erase(&kho_slab_out.copies, virt_to_phys((void *)obj));
	if (!copy)
		return false;

	to = phys_to_virt(copy->to);
	slab = virt_to_slab(to);
	kho_slab_unpreserve_locked(slab, kho_slab_index(slab, to));
	kho_slab_free_entry(copy, KHO_SLAB_COPIES);
	kfree(to);
	return true;
}

/**
 * kho_late_handover - copy what cannot be preserved where it is
 *
 * Objects that kfence guards are written to by their users until now.
 *
 * Context: Directly before the kexec, on the only CPU that still runs.
 */
void kho_late_handover(void)
{
	struct kho_slab_chunk *chunk;
	u64 next = 0;

	if (kho_slab_out.root)
		next = kho_slab_out.root->chain[KHO_SLAB_COPIES];

	for (; next; next = chunk->next) {
		chunk = phys_to_virt(next);
		for (unsigned int i = 0; i < chunk->top; i++) {
			struct kho_slab_copy *copy;

			copy = kho_slab_entry(chunk, KHO_SLAB_COPIES, i);
			if (copy->from)
				memcpy(phys_to_virt(copy->to),
				       phys_to_virt(copy->from), copy->size);
		}
	}
}

/* Large kmalloc memory, which needs no record except for checking. */

static int kho_large_preserve(struct page *page)
{
	const unsigned int order = compound_order(page);
	int err;

	err = kho_preserve_page_desc(page, order, KHO_MEMDESC_LARGE_KMALLOC);
	if (err || !IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG))
		return err;

	err = xa_err(xa_store(&kho_slab_out.large, page_to_pfn(page),
			      xa_mk_value(order), GFP_KERNEL));
	if (err)
		kho_unpreserve_page_desc(page, order, KHO_MEMDESC_LARGE_KMALLOC);
	return err;
}

static void kho_large_unpreserve(struct page *page)
{
	if (IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG))
		xa_erase(&kho_slab_out.large, page_to_pfn(page));
	kho_unpreserve_page_desc(page, compound_order(page),
				 KHO_MEMDESC_LARGE_KMALLOC);
}

#ifdef CONFIG_KEXEC_HANDOVER_DEBUG
static bool kho_slab_is_preserved(struct page *page, const void *addr)
{
	const struct slab *slab = page_slab(page);
	struct kho_slab_record *rec;
	phys_addr_t phys;
	int idx;

	if (!slab)
		return xa_load(&kho_slab_out.large, page_to_pfn(page));
	if (is_kfence_address(addr))
		return xa_load(&kho_slab_out.copies, page_to_phys(page) +
			       offset_in_page(addr));

	phys = virt_to_phys(slab_address(slab));
	rec = kho_slab_map_find(&kho_slab_out.slabs, PHYS_PFN(phys));
	idx = kho_slab_index(slab, addr);
	/* Last, the address: the record may be one of another slab by now. */
	return rec && idx >= 0 &&
	       kho_slab_record_matches(rec, slab, slab->slab_cache) &&
	       test_bit_acquire(idx, (unsigned long *)rec->bitmap) &&
	       READ_ONCE(rec->phys) == phys;
}

/**
 * kho_slab_check_free - complain if a preserved object is freed
 * @obj: object of a slab or large kmalloc memory, about to be freed
 *
 * Context: Any.
 */
void kho_slab_check_free(const void *obj)
{
	const void *addr = kasan_reset_tag(obj);
	phys_addr_t phys;

	if (!READ_ONCE(kho_slab_out.nr_chunks) && xa_empty(&kho_slab_out.large))
		return;

	guard(rcu)();
	if (likely(!kho_slab_is_preserved(virt_to_page(addr), addr)))
		return;
	phys = virt_to_phys((void *)addr);
	WARN(1, "KHO: object at %pa is freed, but was not unpreserved\n", &phys);
}
#endif

/*
 * Find what @obj lies in. Sets @slab, or for large kmalloc memory @page, unless
 * it returns an error and sets @why.
 */
static int kho_slab_find(const struct kmem_cache *s, const void *obj,
			 struct slab **slab, struct page **page,
			 const char **why)
{
	const void *addr = kasan_reset_tag(obj);

	*slab = NULL;
	*why = "not an address of kmalloc memory";
	if (unlikely(ZERO_OR_NULL_PTR(obj) || !virt_addr_valid(addr)))
		return -EINVAL;

	*page = virt_to_page(addr);
	*slab = page_slab(*page);
	if (unlikely(!*slab)) {
		if (s || !PageLargeKmalloc(*page))
			return -EINVAL;
		*why = "not the start of large kmalloc memory";
		return PageTail(*page) || !PAGE_ALIGNED(addr) ? -EINVAL : 0;
	}

	*why = "an object of another cache";
	if (unlikely(s && (*slab)->slab_cache != s))
		return -EINVAL;

	s = (*slab)->slab_cache;
	*why = "not an object in use";
	if (unlikely(!s))
		return -EINVAL;
	*why = "an object that may be used by RCU readers after it was freed";
	if (unlikely(s->flags & SLAB_TYPESAFE_BY_RCU))
		return -EOPNOTSUPP;
	return 0;
}

static int __kho_slab_preserve(const struct kmem_cache *s, const void *obj)
{
	unsigned int nofs;
	struct slab *slab;
	struct page *page;
	const char *why;
	int err;

	/* Pairs with smp_store_release() in kho_slab_new_root(). */
	if (unlikely(!smp_load_acquire(&kho_slab_out.root))) {
		err = kho_slab_new_root();
		if (err)
			return err;
	}

	guard(mutex)(&kho_slab_out.lock);

	slab = kho_slab_same(s, obj);
	if (slab)
		return kho_slab_preserve_object(slab, kho_slab_out.last, obj);

	err = kho_slab_find(s, obj, &slab, &page, &why);
	if (unlikely(err))
		return kho_slab_refuse_obj(err, "preserve", obj, why);
	if (unlikely(kho_write_v4))
		return kho_slab_refuse_obj(-EOPNOTSUPP, "preserve", obj,
					   "not in this format");
	if (slab && unlikely(!s && slab->slab_cache->ctor))
		return kho_slab_refuse_obj(-EINVAL, "preserve", obj,
					   "an object with a constructor");
	if (unlikely(!slab || is_kfence_address(obj))) {
		nofs = memalloc_nofs_save();
		err = slab ? kho_slab_preserve_guarded(slab->slab_cache, obj) :
			     kho_large_preserve(page);
		memalloc_nofs_restore(nofs);
		return err;
	}
	return kho_slab_preserve_object(slab, NULL, obj);
}

static void __kho_slab_unpreserve(const struct kmem_cache *s, const void *obj)
{
	struct slab *slab;
	struct page *page;
	const char *why;
	int idx;

	if (unlikely(!kho_out.radix_tree.root))
		return;

	if (kho_slab_find(s, obj, &slab, &page, &why))
		goto refuse;
	if (!slab) {
		kho_large_unpreserve(page);
		return;
	}

	why = "it is not preserved";
	if (is_kfence_address(obj)) {
		if (kho_slab_unpreserve_guarded(obj))
			return;
		goto refuse;
	}

	idx = kho_slab_index(slab, kasan_reset_tag(obj));
	if (idx < 0) {
		why = "not the start of an object";
		goto refuse;
	}

	scoped_guard(mutex, &kho_slab_out.lock) {
		if (kho_slab_unpreserve_locked(slab, idx))
			return;
	}
refuse:
	kho_slab_refuse_obj(-ENOENT, "unpreserve", obj, why);
}

/**
 * kho_slab_preserve - preserve kmalloc memory
 * @obj: from kmalloc(), of any size, or whatever else kfree() may be called for
 *
 * The next kernel gets it back as kmalloc() memory of the same kind (normal,
 * reclaimable, DMA, accounted). Where it has to be copied it is not accounted,
 * and memory too large for a slab has no kind. It may be written to until the
 * kexec; whoever frees it must call kho_slab_unpreserve() first.
 *
 * An object that kfence guards will be another one in the next kernel.
 * Preserving one object of a slab keeps the memory of the whole slab from the
 * next kernel until that restores an object of it.
 *
 * An object that is freed without kho_slab_unpreserve() stays in the record of
 * its slab. If its memory becomes another slab, then no object of that slab can
 * be preserved. If the slab stays, then the object that is allocated there next
 * counts as preserved.
 *
 * Context: Process context, may sleep. Allocates with %GFP_NOFS.
 * Return: 0, or an error as listed in "Typed kexec handover". %-EINVAL if @obj
 *	is not the start of an object, is known to be free, or comes from a cache
 *	with a constructor; %-EOPNOTSUPP if its cache is %SLAB_TYPESAFE_BY_RCU;
 *	%-EEXIST also if objects which lay there before were freed without
 *	kho_slab_unpreserve().
 */
int kho_slab_preserve(const void *obj)
{
	return __kho_slab_preserve(NULL, obj);
}
EXPORT_SYMBOL_GPL(kho_slab_preserve);

/**
 * kho_slab_unpreserve - undo kho_slab_preserve()
 * @obj: as it was preserved
 *
 * Context: Process context, may sleep, but does not allocate. A shrinker may call
 *	it if it is allowed to enter file systems (%__GFP_FS).
 */
void kho_slab_unpreserve(const void *obj)
{
	__kho_slab_unpreserve(NULL, obj);
}
EXPORT_SYMBOL_GPL(kho_slab_unpreserve);

/**
 * kho_kmem_cache_preserve - preserve an object of a slab cache
 * @cache: the cache
 * @obj: from kmem_cache_alloc(@cache), constructed if the cache does that
 *
 * The next kernel must have a cache of its own for such objects. As many bytes
 * are handed over as kmem_cache_size(@cache) says, not those that ksize() may say
 * beyond them.
 *
 * Caches are merged if their objects take the same room, and then one kernel
 * cannot know how large the objects of each are. With %SLAB_NO_MERGE it can: then
 * the sizes of the two kernels are compared to the byte. An object of a cache
 * without it should say what it is, like a version, if what it consists of may be
 * another in the next kernel.
 *
 * Context: Process context, may sleep.
 * Return: 0, or an error as listed in "Typed kexec handover". %-EINVAL if @obj
 *	is not the start of an object of @cache, or is known to be free;
 *	%-EOPNOTSUPP if @cache is %SLAB_TYPESAFE_BY_RCU.
 */
int kho_kmem_cache_preserve(struct kmem_cache *cache, const void *obj)
{
	return __kho_slab_preserve(cache, obj);
}
EXPORT_SYMBOL_GPL(kho_kmem_cache_preserve);

/**
 * kho_kmem_cache_unpreserve - undo kho_kmem_cache_preserve()
 * @cache: as it was preserved
 * @obj: as it was preserved
 *
 * Context: As kho_slab_unpreserve().
 */
void kho_kmem_cache_unpreserve(struct kmem_cache *cache, const void *obj)
{
	__kho_slab_unpreserve(cache, obj);
}
EXPORT_SYMBOL_GPL(kho_kmem_cache_unpreserve);

/* Reading the records of the previous kernel. */

/**
 * kho_slab_bad_record - what is wrong with a record
 * @rec: a record which is in use
 * @chain: the chain that it is in
 *
 * Return: the reason, or NULL if the record makes sense.
 */
const char *kho_slab_bad_record(const struct kho_slab_record *rec,
				unsigned int chain)
{
	const unsigned long *bitmap = (const unsigned long *)rec->bitmap;
	const unsigned int bits = 64U << chain;
	u64 objects;

	if (rec->order > MAX_PAGE_ORDER ||
	    !IS_ALIGNED(rec->phys, PAGE_SIZE << rec->order) ||
	    !pfn_to_online_page(PHYS_PFN(rec->phys)))
		return "no address of a slab";
	if (!rec->size || !rec->object_size ||
	    (u64)rec->left_pad + rec->object_size > rec->size ||
	    rec->align >= BITS_PER_TYPE(rec->size) ||
	    !IS_ALIGNED(rec->size, BIT(rec->align)))
		return "impossible layout";
	objects = (PAGE_SIZE << rec->order) / rec->size;
	if (!rec->objects || rec->objects != objects || rec->objects > bits)
		return "wrong number of objects";
	if (find_next_bit(bitmap, bits, rec->objects) < bits)
		return "preserved objects beyond the slab";
	if (rec->class >= KHO_NR_SLAB_CLASSES)
		return "unknown class";
	if (rec->flags & ~KHO_SLAB_EXACT)
		return "unknown flags";
	return NULL;
}

/*
 * Have the slab at hand. Not if it has no objects left: kho_slab_in_forget()
 * may have looked already whether it is at hand.
 */
static void kho_slab_in_remember(struct kho_old_slab *old)
{
	guard(spinlock)(&kho_slab_in.lock);
	if (atomic_read(&old->left))
		/* Pairs with READ_ONCE() in __kho_slab_restore(). */
		smp_store_release(&kho_slab_in.last, old);
}

/*
 * Remove a slab that has nothing left to restore; @nr_pages of it are in the map.
 */
static void kho_slab_in_forget(struct kho_old_slab *old, unsigned long nr_pages)
{
	lockdep_assert_held(&kho_slab_in.mutex);

	scoped_guard(spinlock, &kho_slab_in.lock) {
		atomic_set(&old->left, 0);
		if (kho_slab_in.last == old)
			WRITE_ONCE(kho_slab_in.last, &kho_no_slab);
	}
	while (nr_pages--)
		kho_slab_map_erase(&kho_slab_in.slabs,
				   PHYS_PFN(old->rec.phys) + nr_pages);
	list_del(&old->adopted);
	kfree_rcu(old, rcu);
}

/* Enter a record which makes sense. An error if it overlaps another, or -ENOMEM. */
static int kho_slab_in_enter(const struct kho_slab_record *rec)
{
	const size_t bitmap = BITS_TO_U64(rec->objects) * sizeof(u64);
	struct kho_old_slab *old;
	int err;

	old = kzalloc(offsetof(struct kho_old_slab, rec.bitmap) + bitmap,
		      GFP_KERNEL);
	if (!old)
		return -ENOMEM;
	old->rec = *rec;
	memcpy(old->rec.bitmap, rec->bitmap, bitmap);
	old->start = rec->phys + rec->left_pad;
	old->bytes = rec->objects * rec->size;
	old->size = rec->size;
	old->inverse = DIV_ROUND_UP_ULL(1ULL << 32, rec->size);
	atomic_set(&old->left, bitmap_weight((unsigned long *)old->rec.bitmap,
					     rec->objects));
	old->want = KHO_SLAB_NOBODY;
	INIT_LIST_HEAD(&old->adopted);

	for (unsigned long i = 0; i < 1UL << rec->order; i++) {
		err = kho_slab_map_set(&kho_slab_in.slabs,
				       PHYS_PFN(rec->phys) + i, old);
		if (err) {
			kho_slab_in_forget(old, i);
			return err;
		}
	}
	return 0;
}

/*
 * Is the memory preserved as a slab? Struct pages are not initialised for this:
 * that is done for the slabs of which objects are restored, when they are claimed.
 */
static int __ref kho_slab_check_stamp(const struct kho_slab_record *rec)
{
	int err;

	if (deferred_pages_enabled())
		return kho_preserved_has(rec->phys, rec->order,
					 KHO_MEMDESC_SLAB) ? 0 : -ENOENT;
	err = kho_check_stamp(rec->phys, rec->order, KHO_MEMDESC_SLAB);
	/* Whoever restores an object of the slab is told of the hardware error. */
	return err == -EHWPOISON ? 0 : err;
}

/* Enter the records of a chunk. -ENOMEM, and then none is, or 0. */
static int kho_slab_read_records(struct kho_slab_chunk *chunk,
				 unsigned int chain)
{
	struct kho_slab_record *rec;
	struct kho_old_slab *old;
	const char *why;
	unsigned int i;
	int err;

	for (i = 0; i < chunk->top; i++) {
		cond_resched();
		rec = kho_slab_entry(chunk, chain, i);
		if (!rec->phys)
			continue;

		why = kho_slab_bad_record(rec, chain);
		/* The kernel was left when the first or last one was dealt with. */
		if (!why && bitmap_empty((unsigned long *)rec->bitmap,
					 rec->objects)) {
			rec->phys = 0;
			continue;
		}
		err = why ? -EINVAL : kho_slab_check_stamp(rec);
		if (!err)
			err = kho_slab_in_enter(rec);
		if (err == -ENOMEM)
			goto erase;
		if (err == -ENOENT)
			why = "no slab that is preserved";
		else if (err == -EEXIST)
			why = "a second record of the same memory";
		else if (err && !why)
			why = "no address of a slab";
		if (why) {
			kho_refuse(-EINVAL, "restore", rec->phys, rec->order,
				   KHO_MEMDESC_SLAB, why);
			rec->phys = 0;
		}
	}
	/* Nothing points into the chunk. */
	chunk->used = 0;
	return 0;

erase:
	while (i--) {
		rec = kho_slab_entry(chunk, chain, i);
		if (!rec->phys)
			continue;
		old = kho_slab_map_find(&kho_slab_in.slabs, PHYS_PFN(rec->phys));
		kho_slab_in_forget(old, 1UL << rec->order);
	}
	return -ENOMEM;
}

/* The same for a chunk of copies. */
static int kho_slab_read_copies(struct kho_slab_chunk *chunk)
{
	struct kho_slab_copy *copy;
	unsigned int i, used = 0;
	int err;

	for (i = 0; i < chunk->top; i++) {
		cond_resched();
		copy = kho_slab_entry(chunk, KHO_SLAB_COPIES, i);
		if (!copy->from)
			continue;

		err = xa_insert(&kho_slab_in.copies, copy->from, copy,
				GFP_KERNEL);
		if (err == -ENOMEM)
			goto erase;
		if (err) {
			kho_slab_refuse(-EINVAL, "restore", copy->from,
					"a second copy of the same object");
			copy->from = 0;
			continue;
		}
		used++;
	}
	chunk->used = used;
	return 0;

erase:
	while (i--) {
		copy = kho_slab_entry(chunk, KHO_SLAB_COPIES, i);
		if (copy->from)
			xa_erase(&kho_slab_in.copies, copy->from);
	}
	return -ENOMEM;
}

/*
 * Read the chunk at *@link and let *@link be the next one, or 0 if this one
 * cannot be used. -ENOMEM, and then nothing has changed, or 0.
 */
static int kho_slab_read_chunk(u64 *link, unsigned int chain)
{
	struct kho_slab_chunk *chunk;
	union kho_page_info info;
	struct page *page;
	int err;

	page = kho_claim(*link, BIT(KHO_MEMDESC_METADATA), &info);
	if (PTR_ERR(page) == -ENOMEM)
		return -ENOMEM;
	if (IS_ERR(page)) {
		*link = 0;
		return 0;
	}

	chunk = page_address(page);
	if (info.order || chunk->top > kho_slab_max_entries(chain)) {
		kho_refuse(-EINVAL, "restore", *link, info.order,
			   KHO_MEMDESC_METADATA, "no list of slabs");
		kho_unclaim(page);
		*link = 0;
		return 0;
	}

	if (chain == KHO_SLAB_COPIES)
		err = kho_slab_read_copies(chunk);
	else
		err = kho_slab_read_records(chunk, chain);
	if (err) {
		kho_unclaim(page);
		return err;
	}

	*link = chunk->next;
	kho_init_claimed(page, KHO_MEMDESC_METADATA);
	if (!chunk->used)
		__free_page(page);
	return 0;
}

/* 0, also if there is nothing, or -ENOMEM. */
static int kho_slab_read_root(void)
{
	struct kho_slab_root *root;
	union kho_page_info info;
	struct page *page;
	phys_addr_t phys;
	size_t size;

	if (kho_retrieve_subtree(KHO_SLAB_SUBTREE, &phys, &size))
		return 0;

	page = kho_claim(phys, BIT(KHO_MEMDESC_FOLIO), &info);
	if (IS_ERR(page))
		return PTR_ERR(page) == -ENOMEM ? -ENOMEM : 0;

	root = page_address(page);
	if (size != sizeof(*root) || root->version != KHO_SLAB_VERSION) {
		kho_refuse(-EINVAL, "restore", phys, info.order,
			   KHO_MEMDESC_SLAB, "list of slabs of another version");
		kho_unclaim(page);
		return 0;
	}

	kho_slab_in.root = *root;
	kho_init_claimed(page, KHO_MEMDESC_FOLIO);
	folio_put(page_folio(page));
	return 0;
}

/* Have all records at hand. 0 or -ENOMEM; then it can be called again. */
static int kho_slab_read(void)
{
	int err;

	lockdep_assert_held(&kho_slab_in.mutex);

	if (!kho_slab_in.known) {
		err = kho_slab_read_root();
		if (err)
			return err;
		kho_slab_in.known = true;
	}

	for (unsigned int i = 0; i < KHO_SLAB_CHAINS; i++) {
		while (kho_slab_in.root.chain[i]) {
			err = kho_slab_read_chunk(&kho_slab_in.root.chain[i], i);
			if (err)
				return err;
		}
	}
	return 0;
}

/* Restoring. */

static void kho_slab_in_free_entry(void *entry)
{
	struct kho_slab_chunk *chunk = kho_slab_chunk_of(entry);

	lockdep_assert_held(&kho_slab_in.mutex);

	if (!--chunk->used)
		free_page((unsigned long)chunk);
}

/* All objects of the slab are restored. */
static void kho_slab_in_done(struct kho_old_slab *old)
{
	kho_slab_in_forget(old, 1UL << old->rec.order);
}

static noinline void kho_slab_in_last_object(struct kho_old_slab *old)
{
	guard(mutex)(&kho_slab_in.mutex);
	kho_slab_in_done(old);
}

/*
 * Take an object out of the record. The number of those left, or -ENOENT if
 * somebody else has taken it. Who takes the last one must forget the slab.
 */
static int kho_slab_in_take(struct kho_old_slab *old, unsigned int idx)
{
	if (!test_and_clear_bit(idx, (unsigned long *)old->rec.bitmap))
		return -ENOENT;
	return atomic_dec_return(&old->left);
}

/* The cache that kmalloc() has for such objects, or NULL. */
static struct kmem_cache *kho_kmalloc_cache(const struct kho_slab_record *rec)
{
	enum kmalloc_cache_type type = KMALLOC_NORMAL;
	unsigned int index;

	if (rec->object_size > KMALLOC_MAX_CACHE_SIZE)
		return NULL;

	switch (rec->class) {
	case KHO_SLAB_RECLAIM:
		type = KMALLOC_RECLAIM;
		break;
	case KHO_SLAB_CGROUP:
		type = KMALLOC_CGROUP;
		break;
	case KHO_SLAB_DMA:
		type = KMALLOC_DMA;
		break;
	}

	if (rec->object_size <= 192)
		index = kmalloc_size_index[size_index_elem(rec->object_size)];
	else
		index = fls(rec->object_size - 1);
	return kmalloc_caches[type][index];
}

/* Room for a copy. It is not charged to a memory cgroup, unless @cache is. */
static void *kho_slab_alloc_copy(struct kmem_cache *cache,
				 const struct kho_slab_record *rec)
{
	gfp_t gfp = GFP_KERNEL;

	if (cache)
		return kmem_cache_alloc_noprof(cache, gfp);

	switch (rec->class) {
	case KHO_SLAB_RECLAIM:
		gfp |= __GFP_RECLAIMABLE;
		break;
	case KHO_SLAB_DMA:
		gfp |= __GFP_DMA;
		break;
	}
	return kmalloc_noprof(rec->object_size, gfp);
}

/* The room that an object takes in a slab without debugging. */
static unsigned int kho_slab_span(unsigned int object_size, unsigned int align)
{
	return ALIGN(ALIGN(object_size, sizeof(void *)), align);
}

/* Kernels with and without memory tagging align the objects to 16 or 8 bytes. */
static bool kho_slab_same_room(unsigned int a, unsigned int b)
{
	return ALIGN(a, 16) == ALIGN(b, 16);
}

/**
 * kho_slab_object_fits - could an object of the record be one of the cache?
 * @cache: a cache of this kernel
 * @rec: record of a slab of the previous kernel
 *
 * A cache that cannot be merged knows the size of its user's objects. Of one that
 * can be merged, which never has debugging, the object size is the largest among
 * the users: larger than that of each user, and growing with time. But all of the
 * users' objects take the same room, in this kernel and in the other, whether
 * they share slabs there or not.
 *
 * Return: false if it is known that they are different objects.
 */
bool kho_slab_object_fits(const struct kmem_cache *cache,
			  const struct kho_slab_record *rec)
{
	const bool exact_then = rec->flags & KHO_SLAB_EXACT;
	const bool exact_now = kho_slab_exact(cache);

	if (exact_then && exact_now)
		return rec->object_size == cache->object_size;
	if (exact_then)
		return rec->object_size <= cache->object_size &&
		       kho_slab_same_room(cache->size,
					  kho_slab_span(rec->object_size,
							BIT(rec->align)));
	if (exact_now)
		return cache->object_size <= rec->object_size &&
		       kho_slab_same_room(rec->size,
					  kho_slab_span(cache->object_size,
							cache->align));
	if (cache->size == rec->size)
		return true;
	return rec->object_size <= cache->object_size &&
	       kho_slab_same_room(cache->size, rec->size);
}

/* Claim the pages of the slab, if that was not done yet. */
static int kho_slab_in_claim(struct kho_old_slab *old)
{
	const struct kho_slab_record *rec = &old->rec;
	union kho_page_info info;
	struct page *page;

	if (old->claimed)
		return 0;

	page = kho_claim(rec->phys, BIT(KHO_MEMDESC_SLAB), &info);
	if (IS_ERR(page))
		return PTR_ERR(page);
	if (info.order != rec->order) {
		kho_unclaim(page);
		return kho_refuse(-EINVAL, "restore", rec->phys, info.order,
				  KHO_MEMDESC_SLAB, "it has another order");
	}
	old->claimed = true;
	return 0;
}

/* Let the pages be seen as a slab. */
static struct page *kho_slab_in_ready(struct kho_old_slab *old)
{
	struct page *page = phys_to_page(old->rec.phys);

	if (!old->ready)
		kho_init_claimed(page, KHO_MEMDESC_SLAB);
	old->ready = true;
	return page;
}

/* Free the pages of a slab that no cache has, and no object is needed of. */
static void kho_slab_in_release(struct kho_old_slab *old)
{
	if (unlikely(old->poisoned)) {
		/* The page allocator must not have it. */
		kho_refuse(-EHWPOISON, "free", old->rec.phys, old->rec.order,
			   KHO_MEMDESC_SLAB, "memory with a hardware error");
		return;
	}
	free_page_desc(kho_slab_in_ready(old));
}

/* A cache does not get memory with a hardware error to allocate from. */
static bool kho_slab_in_poisoned(struct kho_old_slab *old)
{
#ifdef CONFIG_MEMORY_FAILURE
	struct page *page = phys_to_page(old->rec.phys);

	if (likely(!atomic_long_read(&num_poisoned_pages)))
		return false;
	for (unsigned long i = 0; !old->poisoned && i < 1UL << old->rec.order; i++)
		old->poisoned = PageHWPoison(page + i);
#endif
	return old->poisoned;
}

/* Is the object in memory with a hardware error? */
static bool kho_slab_object_poisoned(const void *obj, size_t size)
{
	struct page *last = virt_to_page(obj + size - 1);

	for (struct page *page = virt_to_page(obj); page <= last; page++) {
		if (PageHWPoison(page))
			return true;
	}
	return false;
}

/*
 * What the objects have beyond their old size was not theirs. It is 0, as it is
 * in a copy.
 */
static void kho_slab_in_clear_rest(const struct kho_old_slab *old,
				   const struct kmem_cache *cache)
{
	const unsigned int size = old->rec.object_size;
	unsigned int i;

	if (cache->object_size <= size || cache->ctor)
		return;
	for_each_set_bit(i, (unsigned long *)old->rec.bitmap, old->rec.objects)
		memset(phys_to_virt(old->start + i * old->size) + size, 0,
		       cache->object_size - size);
}

/* Have the pages of @old, and make them a slab of @cache if that can be. */
static int kho_slab_in_adopt(struct kho_old_slab *old,
			     struct kmem_cache *cache, bool in_place)
{
	const struct kho_slab_record *rec = &old->rec;
	struct page *page = phys_to_page(rec->phys);
	int err;

	if (old->cache)
		return 0;

	err = kho_slab_in_claim(old);
	if (err || !cache || kho_slab_in_poisoned(old) ||
	    !slab_can_adopt(cache, page, rec->size, rec->object_size,
			    rec->left_pad, in_place))
		return err;

	kho_slab_in_ready(old);
	kho_slab_in_clear_rest(old, cache);
	slab_adopt(cache, page_slab(page), (unsigned long *)rec->bitmap);
	old->cache = cache;
	list_add(&old->adopted, &kho_slab_in.adopted);
	return 0;
}

/**
 * kho_slab_disown - take slabs with preserved objects from a cache
 * @s: a cache that is about to be destroyed, of which nothing is in use any more
 *
 * The first object that is restored to a cache makes the cache adopt the slab,
 * with all objects that are preserved in it. Those that are still to be restored
 * are nobody's yet: the cache can go, and they wait until they are restored to
 * another.
 *
 * Context: Process context, may sleep.
 * Return: whether a slab must stay, because other objects of it are in use.
 */
bool kho_slab_disown(struct kmem_cache *s)
{
	struct kho_old_slab *old, *next;
	bool busy = false;

	/* Who restores objects of a cache does not destroy it meanwhile. */
	if (list_empty(&kho_slab_in.adopted))
		return false;

	guard(mutex)(&kho_slab_in.mutex);

	list_for_each_entry_safe(old, next, &kho_slab_in.adopted, adopted) {
		struct page *page = phys_to_page(old->rec.phys);

		if (old->cache != s || !atomic_read(&old->left))
			continue;
		if (!slab_disown(s, page_slab(page), atomic_read(&old->left))) {
			busy = true;
			continue;
		}
		WRITE_ONCE(old->want, KHO_SLAB_NOBODY);
		old->cache = NULL;
		list_del_init(&old->adopted);
	}
	return busy;
}

/* Restore object @idx of @rec to a new place. */
static void *kho_slab_in_copy(struct kho_old_slab *old, unsigned int idx,
			      struct kmem_cache *want, void *obj)
{
	struct kho_slab_record *rec = &old->rec;
	struct kmem_cache *cache = old->cache;
	size_t size = rec->object_size;
	void *new;
	int left;

	/* What the record counts beyond that was of a cache that was merged. */
	if (want)
		size = min(size, want->object_size);
	if (old->poisoned && kho_slab_object_poisoned(obj, size))
		return ERR_PTR(kho_slab_refuse(-EHWPOISON, "restore",
					       virt_to_phys(obj),
					       "memory with a hardware error"));

	new = kho_slab_alloc_copy(want, rec);
	if (!new)
		return ERR_PTR(-ENOMEM);

	left = kho_slab_in_take(old, idx);
	if (left < 0) {
		kfree(new);
		return ERR_PTR(left);
	}

	if (want && size < want->object_size && !want->ctor)
		memset(new, 0, want->object_size);
	/*
	 * All of the object is there, if it is longer than those of the cache
	 * that has adopted the slab, too: slab_can_adopt() has seen to that.
	 */
	if (cache)
		obj = slab_adopt_object(cache, obj);
	memcpy(new, kasan_reset_tag(obj), size);
	kmsan_unpoison_memory(new, size);
	if (cache)
		kmem_cache_free(cache, obj);

	if (left)
		return new;
	if (!cache)
		kho_slab_in_release(old);
	kho_slab_in_done(old);
	return new;
}

static void *kho_large_restore(phys_addr_t phys)
{
	struct page *page;
	size_t size;
	void *obj;

	page = kho_restore(phys, BIT(KHO_MEMDESC_LARGE_KMALLOC),
			   KHO_MEMDESC_LARGE_KMALLOC);
	if (IS_ERR(page))
		return page;

	/* What kmalloc() was asked for is not known: all of it may be used. */
	size = page_size(page);
	mod_node_page_state(page_pgdat(page), NR_SLAB_UNRECLAIMABLE_B, size);
	obj = kasan_kmalloc_large(page_address(page), size, GFP_KERNEL);
	kmemleak_alloc(obj, size, 1, GFP_KERNEL);
	kmsan_unpoison_memory(obj, size);
	return obj;
}

static void *kho_slab_restore_locked(struct kmem_cache *want,
				     phys_addr_t phys, bool in_place)
{
	struct kmem_cache *cache;
	struct kho_slab_record *rec;
	struct kho_old_slab *old;
	unsigned int off, idx;
	const char *why;
	int err, left;

	old = kho_slab_map_find(&kho_slab_in.slabs, PHYS_PFN(phys));
	if (!old && !want && PAGE_ALIGNED(phys))
		return kho_large_restore(phys);
	err = -ENOENT;
	why = "nothing is preserved there";
	if (!old)
		goto refuse;
	rec = &old->rec;

	err = -EINVAL;
	why = "not the start of an object";
	off = phys - rec->phys - rec->left_pad;
	idx = off / rec->size;
	if (idx >= rec->objects || idx * rec->size != off)
		goto refuse;

	err = -ENOENT;
	why = "not preserved, or already restored";
	if (!test_bit(idx, (unsigned long *)rec->bitmap))
		goto refuse;

	err = -EINVAL;
	why = "an object of another cache";
	if (want && !kho_slab_object_fits(want, rec))
		goto refuse;

	cache = want ?: kho_kmalloc_cache(rec);
	err = kho_slab_in_adopt(old, cache, in_place);
	if (err)
		return ERR_PTR(err);

	if (old->cache && old->cache == cache) {
		/* Pairs with the acquire in __kho_slab_restore(). */
		smp_store_release(&old->want, want);
		kho_slab_in_remember(old);
		left = kho_slab_in_take(old, idx);
		if (left < 0)
			return ERR_PTR(left);
		if (!left)
			kho_slab_in_done(old);
		return slab_adopt_object(cache, phys_to_virt(phys));
	}

	err = -EOPNOTSUPP;
	why = "it could only be copied";
	if (in_place)
		goto refuse;
	return kho_slab_in_copy(old, idx, want, phys_to_virt(phys));

refuse:
	return ERR_PTR(kho_slab_refuse(err, "restore", phys, why));
}

static noinline void *kho_slab_restore_slow(struct kmem_cache *want,
					    phys_addr_t phys, bool in_place)
{
	struct kho_slab_copy *copy;
	void *obj;
	int err;

	if (want && want->flags & SLAB_TYPESAFE_BY_RCU)
		return ERR_PTR(-EOPNOTSUPP);

	guard(mutex)(&kho_slab_in.mutex);

	err = kho_slab_read();
	if (err)
		return ERR_PTR(err);

	copy = xa_load(&kho_slab_in.copies, phys);
	if (!copy)
		return kho_slab_restore_locked(want, phys, in_place);

	if (in_place)
		return ERR_PTR(kho_slab_refuse(-EOPNOTSUPP, "restore", phys,
					       "it is a copy already"));
	obj = kho_slab_restore_locked(want, copy->to, false);
	if (!IS_ERR(obj)) {
		xa_erase(&kho_slab_in.copies, phys);
		kho_slab_in_free_entry(copy);
	}
	return obj;
}

/* The slab that has objects where @phys lies, or NULL. */
static noinline struct kho_old_slab *kho_slab_in_recall(phys_addr_t phys)
{
	struct kho_old_slab *old;

	old = kho_slab_map_find(&kho_slab_in.slabs, PHYS_PFN(phys));
	if (!old || phys - old->start >= old->bytes)
		return NULL;
	kho_slab_in_remember(old);
	return old;
}

static __always_inline void *__kho_slab_restore(struct kmem_cache *want,
						phys_addr_t phys, bool in_place)
{
	struct kho_old_slab *old;
	struct kmem_cache *cache;
	unsigned int idx;
	u64 off;

	/* might_sleep() may cost something without it; this is short. */
	if (IS_ENABLED(CONFIG_DEBUG_ATOMIC_SLEEP))
		might_sleep();

	rcu_read_lock();
	old = READ_ONCE(kho_slab_in.last);
	off = phys - old->start;
	if (unlikely(off >= old->bytes)) {
		old = kho_slab_in_recall(phys);
		if (!old)
			goto slow;
		off = phys - old->start;
	}
	/* Pairs with the release in kho_slab_restore_locked(). */
	if (unlikely(smp_load_acquire(&old->want) != want))
		goto slow;

	/* Right for the start of an object: no slab has 4 GiB. */
	idx = off * old->inverse >> 32;
	if (unlikely((u64)idx * old->size != off ||
		     !test_and_clear_bit(idx, (unsigned long *)old->rec.bitmap)))
		goto slow;

	cache = old->cache;
	if (unlikely(atomic_dec_and_test(&old->left))) {
		rcu_read_unlock();
		kho_slab_in_last_object(old);
	} else {
		rcu_read_unlock();
	}
	return slab_adopt_object(cache, phys_to_virt(phys));

slow:
	rcu_read_unlock();
	return kho_slab_restore_slow(want, phys, in_place);
}

/**
 * kho_slab_restore - restore kmalloc memory
 * @phys: physical address of the memory in the previous kernel
 *
 * Free it with kfree(). All of the memory that kmalloc() had set aside for the
 * size that it was asked for has come back and may be used.
 *
 * The memory is where it was, if the kmalloc() of this kernel has its objects of
 * that size at the same distance. Where it has not, because debugging is enabled
 * on one side only, say, it is a copy. It is also a copy if it lies in a zone that
 * kmalloc() would not have taken it from, or if a page of its slab has a hardware
 * error. Look at the returned address.
 *
 * Context: Process context, may sleep, any time after the slab allocator is up.
 * Return: the memory, or ERR_PTR: %-EINVAL if @phys is not the start of an
 *	object, or something else is preserved there, %-ENOENT if nothing is or it
 *	was already restored, %-EHWPOISON if it has a hardware error, %-ENOMEM.
 */
void *kho_slab_restore_noprof(phys_addr_t phys)
{
	return __kho_slab_restore(NULL, phys, false);
}
EXPORT_SYMBOL_GPL(kho_slab_restore_noprof);

/**
 * kho_slab_restore_in_place - restore kmalloc memory where it was
 * @phys: physical address of the memory in the previous kernel
 *
 * As kho_slab_restore(), for memory that a device knows by its address. It may
 * then lie in %ZONE_MOVABLE, which cannot be taken offline while the slab is there.
 *
 * Context: Process context, may sleep, any time after the slab allocator is up.
 * Return: the memory, or ERR_PTR as kho_slab_restore(), or
 *	ERR_PTR(-EOPNOTSUPP) if it could only be copied; kho_slab_restore() can
 *	be called then.
 */
void *kho_slab_restore_in_place_noprof(phys_addr_t phys)
{
	return __kho_slab_restore(NULL, phys, true);
}
EXPORT_SYMBOL_GPL(kho_slab_restore_in_place_noprof);

/**
 * kho_kmem_cache_restore - restore an object of a slab cache
 * @cache: the cache of this kernel for such objects; its name may be another
 * @phys: physical address of the object in the previous kernel
 *
 * Free it with kmem_cache_free(@cache). It is where it was, if objects of @cache
 * are laid out as they were in the previous kernel, and @cache would have taken
 * memory of that zone, otherwise a copy. Look at the returned address. The
 * constructor is not called for it.
 *
 * In both kernels the size of the objects must be the same. That is compared if the
 * caches cannot be merged, see kho_kmem_cache_preserve(); for others, whether the
 * objects take the same room. What an object has beyond its old size is 0, unless
 * @cache has a constructor.
 *
 * All preserved objects of the slab count as allocated from @cache when it has
 * adopted the slab. @cache can be destroyed before they are all restored: they can
 * then be restored to another.
 *
 * Context: Process context, may sleep, any time after the slab allocator is up.
 * Return: the object, or ERR_PTR: %-EINVAL if @phys is not the start of an
 *	object, or the object cannot be one of @cache, %-ENOENT if nothing is
 *	preserved there or it was already restored, %-EHWPOISON if it has a
 *	hardware error, %-ENOMEM, or %-EOPNOTSUPP if @cache is
 *	%SLAB_TYPESAFE_BY_RCU.
 */
void *kho_kmem_cache_restore_noprof(struct kmem_cache *cache, phys_addr_t phys)
{
	return __kho_slab_restore(cache, phys, false);
}
EXPORT_SYMBOL_GPL(kho_kmem_cache_restore_noprof);

/**
 * kho_kmem_cache_restore_in_place - restore an object where it was
 * @cache: as for kho_kmem_cache_restore()
 * @phys: physical address of the object in the previous kernel
 *
 * Context: Process context, may sleep, any time after the slab allocator is up.
 * Return: the object, or ERR_PTR as kho_kmem_cache_restore(), or
 *	ERR_PTR(-EOPNOTSUPP) if it could only be copied.
 */
void *kho_kmem_cache_restore_in_place_noprof(struct kmem_cache *cache,
					     phys_addr_t phys)
{
	return __kho_slab_restore(cache, phys, true);
}
EXPORT_SYMBOL_GPL(kho_kmem_cache_restore_in_place_noprof);
