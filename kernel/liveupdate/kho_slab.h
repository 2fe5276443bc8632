/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef LINUX_KHO_SLAB_H
#define LINUX_KHO_SLAB_H

/*
 * Handover of slab objects and of large kmalloc memory: what the files below
 * share. Each calls only those above it.
 *
 *   kho_pfn_map.c	a table of pointers by page frame number
 *   kho_slab_records.c	way out: write the records of slabs
 *   kho_slab_guarded.c	way out: objects that kfence guards
 *   kho_large.c	both ways: large kmalloc memory
 *   kho_slab.c		way out: the API
 *   kho_slab_read.c	way in: read the records of the previous kernel
 *   kho_slab_cache.c	way in: which cache of this kernel an object belongs to
 *   kho_slab_restore.c	way in: the API
 *   kho_slab_unclaimed.c	way in: objects that nobody restores
 *   kho_slab_forward.c	from the way in to the way out: forward such objects
 *
 * The words that are used for it:
 *
 * record
 *	What the next kernel has to know about one slab: where it lies, how its
 *	objects lie in it, and which of them are preserved (struct
 *	kho_slab_record). A slab has a record while an object of it is preserved.
 * guarded object
 *	An object that kfence has allocated from its own pool. The memory of that
 *	pool cannot be handed over.
 * copy
 *	An ordinary object that is preserved in the place of a guarded one; and
 *	the note which of them belongs to which (struct kho_slab_copy).
 * entry
 *	Room for one record or one note of a copy, in a chunk. The entry is free if
 *	its first word is 0.
 * chunk
 *	A preserved page with entries of the same size (struct kho_slab_chunk).
 * chain
 *	Chunks of the same kind. Each has the physical address of the next one. The
 *	root (struct kho_slab_root) has the address of the first one.
 * old slab
 *	A slab of the previous kernel of which objects are still to be restored.
 * claim
 *	Take pages out of what the previous kernel has preserved, so that nobody
 *	else can: kho_claim(). kho_unclaim() puts them back.
 * adopt
 *	Make an old slab a slab of a cache of this kernel: slab_adopt(). Its
 *	objects can then be handed out where they are.
 * disown
 *	Take an adopted slab from its cache, because the cache is destroyed:
 *	slab_disown().
 * large
 *	Memory that kmalloc() takes from the page allocator, because it is larger
 *	than the objects of any kmalloc cache.
 */

#include <linux/bitops.h>
#include <linux/io.h>
#include <linux/kasan.h>
#include <linux/kho/abi/slab.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/xarray.h>

#include "../../mm/slab.h"
#include "kexec_handover_internal.h"
#include "kho_pfn_map.h"

/* The bitmap of a record is u64 in the format, and unsigned long in the code. */
static_assert(BITS_PER_LONG == 64);

/* Entries of chunks, both ways. */

/* How many bits the bitmaps of the records in a chain have. */
static inline unsigned int kho_slab_chain_bits(unsigned int chain)
{
	return 64U << chain;
}

/* Each record chain has bitmaps twice as long as the one before. */
static_assert(64U << (KHO_SLAB_RECORDS - 1) == KHO_SLAB_MAX_OBJECTS);
/* The chains are those of the records, and this one. */
static_assert(KHO_SLAB_COPIES == KHO_SLAB_RECORDS);
static_assert(KHO_SLAB_COPIES + 1 == KHO_SLAB_CHAINS);

static inline size_t kho_slab_entry_size(unsigned int chain)
{
	if (chain == KHO_SLAB_COPIES)
		return sizeof(struct kho_slab_copy);
	return sizeof(struct kho_slab_record) + (sizeof(u64) << chain);
}

static inline unsigned int kho_slab_max_entries(unsigned int chain)
{
	return (PAGE_SIZE - sizeof(struct kho_slab_chunk)) /
	       kho_slab_entry_size(chain);
}

static inline void *kho_slab_entry(struct kho_slab_chunk *chunk,
				   unsigned int chain, unsigned int i)
{
	return (void *)chunk->data + i * kho_slab_entry_size(chain);
}

static inline int kho_slab_refuse(int err, const char *verb, phys_addr_t phys,
				  const char *why)
{
	return kho_refuse(err, verb, phys, 0, KHO_MEMDESC_SLAB, why);
}

/*
 * Is the size of the cache's objects the size that their user has asked for? A
 * cache that cannot be merged has one user. The objects of other caches are as
 * large as the user with the largest objects needs them.
 */
static inline bool kho_slab_exact(const struct kmem_cache *s)
{
	const slab_flags_t never_merge = SLAB_RED_ZONE | SLAB_POISON |
		SLAB_STORE_USER | SLAB_NOLEAKTRACE | SLAB_NO_MERGE |
		SLAB_OBJ_EXT_IN_OBJ;

	return s->ctor || s->flags & never_merge;
}

/* The way out: kho_slab_records.c. */

/*
 * What this kernel hands over. Allocations with the lock held must be GFP_NOFS: a
 * shrinker that may enter file systems can unpreserve what it frees, and it must
 * not wait for the lock that the allocation itself is made under.
 *
 * The root is made before the lock is taken. It stays, because subtrees come and
 * go under the lock of the FDT, and other users of that lock allocate with
 * GFP_KERNEL.
 */
struct kho_slab_out {
	struct mutex lock;		/* protects all of this, and the chunks */
	struct kho_slab_root *root;
	unsigned int nr_chunks;
	struct kho_pfn_map slabs;	/* records, by first page of the slab */
	struct kho_slab_record *last;	/* the one that was used last, or NULL */
};

extern struct kho_slab_out kho_slab_out;

int kho_slab_new_root(void);
void *kho_slab_new_entry(unsigned int chain);
void kho_slab_free_entry(void *entry, unsigned int chain);
struct kho_slab_record *kho_slab_stale(phys_addr_t phys);
struct kho_slab_record *kho_slab_no_record(struct slab *slab, long err,
					   const void *obj);
struct kho_slab_record *
kho_slab_forward_record(const struct kho_slab_record *old);
bool kho_slab_clear_bit(struct kho_slab_record *rec, unsigned int idx);
struct kho_old_slab;
void kho_slab_forward_undo(const struct kho_old_slab *old, unsigned int idx);
int __cold kho_slab_refuse_obj(int err, const char *verb, const void *obj,
			       const char *why);

static __always_inline unsigned int kho_slab_left_pad(struct kmem_cache *s)
{
	return kmem_cache_debug_flags(s, SLAB_RED_ZONE) ? s->red_left_pad : 0;
}

/*
 * Does the record that was found by the address of @slab describe @slab? If
 * preserved objects are freed but not unpreserved, their record stays, and then
 * another slab can be allocated there. Its objects have other numbers, and the
 * bitmap may be too short for them. The order is not compared: the size and the
 * number of the objects determine it.
 */
static __always_inline bool
kho_slab_record_matches(const struct kho_slab_record *rec,
			const struct slab *slab, struct kmem_cache *s)
{
	return rec->size == s->size && rec->objects == slab->objects &&
	       (!__slub_debug_enabled() ||
		rec->left_pad == kho_slab_left_pad(s));
}

/* The record of @slab, NULL if there is none, or ERR_PTR(-EEXIST). */
static __always_inline struct kho_slab_record *
kho_slab_find_record(const struct slab *slab)
{
	/* By the page, not by the address: that is fewer instructions. */
	const unsigned long pfn = page_to_pfn(slab_page(slab));
	struct kho_slab_record *rec;

	rec = kho_pfn_map_find(&kho_slab_out.slabs, pfn);
	if (unlikely(rec && !kho_slab_record_matches(rec, slab,
						     slab->slab_cache)))
		return kho_slab_stale(PFN_PHYS(pfn));
	return rec;
}

/* The record of @slab for preserving @obj in it. It is made if there is none. */
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

/* Set the bit of object @idx, which is @obj. 0 or -EEXIST. */
static __always_inline int
kho_slab_preserve_nr(struct kho_slab_record *rec, const struct kmem_cache *s,
		     unsigned int idx, const void *obj)
{
	if (unlikely(__test_and_set_bit(idx, (unsigned long *)rec->bitmap)))
		return kho_slab_refuse_obj(-EEXIST, "preserve", obj,
					   "already preserved");
	/* A cache with larger objects may have been merged with this one since. */
	if (unlikely(rec->object_size < s->object_size))
		rec->object_size = s->object_size;
	return 0;
}

/* Objects that kfence guards, on the way out: kho_slab_guarded.c. */

int kho_guarded_preserve(struct kmem_cache *s, const void *obj);
int kho_guarded_forward(phys_addr_t from, phys_addr_t to);
void kho_guarded_forward_undo(phys_addr_t from);
bool kho_guarded_unpreserve(const void *obj);
bool kho_guarded_is_preserved(phys_addr_t phys);

/* Large kmalloc memory, both ways: kho_large.c. */

int kho_large_preserve(struct page *page);
void kho_large_unpreserve(struct page *page);
bool kho_large_any_preserved(void);
bool kho_large_is_preserved(const struct page *page);
void *kho_large_restore(phys_addr_t phys);

/* The way in: kho_slab_read.c. */

/* A slab that the previous kernel has handed over. */
struct kho_old_slab {
	/* What is needed to restore an object once a cache has the slab. */
	phys_addr_t start;		/* the first object */
	u32 bytes;			/* of all objects */
	u32 size;			/* distance of the objects */
	u64 inverse;			/* 1 << 32 by @size, rounded up */
	atomic_t left;			/* objects that are not restored yet */

	/* How far the slab has come. */
	bool claimed;			/* kho_claim() was called for the pages */
	bool ready;			/* kho_init_claimed(), too */
	bool poisoned;			/* a page has a hardware error */
	bool forwarded;			/* its objects have a record on the way out */
	struct kmem_cache *cache;	/* has adopted the slab, or NULL */
	/*
	 * Restoring to this cache (NULL: to kmalloc() memory) needs no lock.
	 * KHO_SLAB_CLOSED while there is no such cache.
	 */
	struct kmem_cache *open_to;

	struct list_head adopted;	/* in a list of such slabs, if @cache */
	struct rcu_head rcu;
	struct kho_slab_record rec;	/* a copy of the previous kernel's */
};

/* Nobody restores to this cache. */
#define KHO_SLAB_CLOSED	((struct kmem_cache *)ERR_PTR(-ENOENT))

/*
 * What the previous kernel has handed over, as far as its records were read. An
 * object of a slab that a cache has adopted is restored under RCU, by clearing
 * its bit. Callers mostly ask for one object of a slab after the other, so the
 * slab of the last one is remembered.
 */
struct kho_slab_in {
	struct mutex mutex;		/* protects all but bits and counts */
	struct kho_pfn_map slabs;	/* old slabs, by each of their pages */
	struct xarray copies;		/* where guarded objects have gone */

	spinlock_t lock;		/* protects @last against the last object */
	struct kho_old_slab *last;	/* has objects left, or none at all */
};

extern struct kho_slab_in kho_slab_in;

int kho_slab_read(void);
void kho_slab_in_forget(struct kho_old_slab *old, unsigned long nr_pages);

/* Caches of this kernel for old objects: kho_slab_cache.c. */

struct kmem_cache *kho_kmalloc_cache(const struct kho_slab_record *rec);
void *kho_slab_alloc_copy(struct kmem_cache *cache,
			  const struct kho_slab_record *rec);

/* What can become of an old slab: kho_slab_restore.c, kho_slab_forward.c. */

int kho_slab_in_claim(struct kho_old_slab *old);
bool kho_slab_in_poisoned(struct kho_old_slab *old);
int kho_slab_in_take(struct kho_old_slab *old, unsigned int idx);
void kho_slab_in_free(struct kho_old_slab *old);
void kho_slab_in_done(struct kho_old_slab *old);
struct kho_old_slab *kho_slab_in_left(phys_addr_t phys);

#endif /* LINUX_KHO_SLAB_H */
