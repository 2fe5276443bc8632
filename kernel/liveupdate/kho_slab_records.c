// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records of the slabs of which objects are preserved, as the next kernel reads
 * them: include/linux/kho/abi/slab.h. The words are explained in kho_slab.h.
 *
 * Chunks look like what kho_block (include/linux/kho_block.h) is for, which hands
 * over arrays in a list of pages. It does not fit here. A block set is filled and
 * shrunk at its end only, but records come and go in any order, as objects are
 * preserved and unpreserved. And kho_block_set_restore() reads all blocks at the
 * addresses that it is given, but the chunks of slabs must be claimed before they
 * are read: a wrong address must not let this kernel read, or free, memory that
 * is in use.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/log2.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>

#include "kho_map.h"
#include "kho_slab.h"

struct kho_slab_out kho_slab_out = {
	.lock = __MUTEX_INITIALIZER(kho_slab_out.lock),
};

/* The chunks of each chain that are not full, in the order of use. */
static struct list_head kho_slab_room[KHO_SLAB_CHAINS];

/*
 * Refuse to do something with @obj. The caller of the API may have passed any
 * pointer, so it may have no physical address.
 */
int __cold kho_slab_refuse_obj(int err, const char *verb, const void *obj,
			       const char *why)
{
	const void *addr = kasan_reset_tag(obj);

	return kho_slab_refuse(err, verb, virt_addr_valid(addr) ?
			       virt_to_phys((void *)addr) : 0, why);
}

/*
 * Chunks.
 *
 * A kexec stops the other CPUs at any instruction. So after each single store the
 * next kernel must be able to read the chains, with nothing missing but the object
 * that is being preserved or unpreserved. For this reason a chunk is never taken
 * out of its chain to be put in elsewhere. The list of chunks with room is
 * separate. The chunk before a chunk in its chain is in page->private.
 */

static void kho_slab_link_chunk(struct kho_slab_chunk *chunk, unsigned int chain)
{
	u64 *link = &kho_slab_out.root->chain[chain];

	chunk->next = *link;
	set_page_private(virt_to_page(chunk), 0);
	if (chunk->next)
		set_page_private(phys_to_page(chunk->next), (unsigned long)chunk);
	/* Whenever the next kernel finds the chunk, @next must be there. */
	smp_store_release(link, virt_to_phys(chunk));
	list_add(&virt_to_page(chunk)->lru, &kho_slab_room[chain]);
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

/**
 * kho_slab_new_root - Make the root of the chains, if there is none
 *
 * The root is made for the first object that is preserved, and stays.
 *
 * Context: Process context, may sleep, without kho_slab_out.lock.
 * Return: 0, also if there is a root or the format has none; %-EOPNOTSUPP if KHO
 *	is off; %-ENOMEM, or an error of kho_add_subtree().
 */
int kho_slab_new_root(void)
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
		INIT_LIST_HEAD(&kho_slab_room[i]);
	/* Pairs with smp_load_acquire() in __kho_slab_preserve(). */
	smp_store_release(&kho_slab_out.root, root);
	return 0;
}

static struct kho_slab_chunk *kho_slab_new_chunk(unsigned int chain)
{
	struct kho_slab_chunk *chunk;
	struct folio *folio;
	int err;

	/* Not from memory that was added after boot, which cannot be handed over. */
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

/* Entries. */

/* A free entry: 0, and the number of the next free entry, counted from 1. */
struct kho_slab_free_entry {
	u64 zero;
	u64 next;
};

static_assert(sizeof(struct kho_slab_free_entry) <=
	      sizeof(struct kho_slab_record) + sizeof(u64));
static_assert(sizeof(struct kho_slab_free_entry) <=
	      sizeof(struct kho_slab_copy));
/* The counters of a chunk. */
static_assert(PAGE_SIZE / sizeof(struct kho_slab_free_entry) <= U16_MAX);

static struct kho_slab_chunk *kho_slab_chunk_of(void *entry)
{
	return (void *)((unsigned long)entry & PAGE_MASK);
}

/**
 * kho_slab_new_entry - Get an entry
 * @chain: Number of the chain.
 *
 * The entry is free for the next kernel until its first word is written.
 *
 * Context: Process context, may sleep, under kho_slab_out.lock and
 *	memalloc_nofs_save().
 * Return: The entry, which is 0, or ERR_PTR: %-ENOMEM, or another error of
 *	kho_preserve_page_desc().
 */
void *kho_slab_new_entry(unsigned int chain)
{
	struct kho_slab_free_entry *entry;
	struct kho_slab_chunk *chunk;
	struct page *page;

	page = list_first_entry_or_null(&kho_slab_room[chain], struct page, lru);
	if (page) {
		chunk = page_address(page);
	} else {
		chunk = kho_slab_new_chunk(chain);
		if (IS_ERR(chunk))
			return chunk;
	}

	if (chunk->free) {
		entry = kho_slab_entry(chunk, chain, chunk->free - 1);
		chunk->free = entry->next;
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

/**
 * kho_slab_free_entry - Give an entry back
 * @entry: From kho_slab_new_entry(@chain).
 * @chain: Number of the chain.
 *
 * Context: Process context, under kho_slab_out.lock. Does not allocate.
 */
void kho_slab_free_entry(void *entry, unsigned int chain)
{
	struct kho_slab_chunk *chunk = kho_slab_chunk_of(entry);
	struct kho_slab_free_entry *free = entry;

	if (chunk->used == kho_slab_max_entries(chain))
		list_add(&virt_to_page(chunk)->lru, &kho_slab_room[chain]);

	WRITE_ONCE(free->zero, 0);
	free->next = chunk->free;
	chunk->free = (entry - (void *)chunk->data) /
		      kho_slab_entry_size(chain) + 1;
	if (--chunk->used)
		return;

	kho_slab_unlink_chunk(chunk, chain);
	kho_unpreserve_page_desc(virt_to_page(chunk), 0, KHO_MEMDESC_METADATA);
	kho_slab_out.nr_chunks--;
	/* kho_slab_check_free() may be reading a record in it under RCU. */
	if (IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG))
		call_rcu(&virt_to_page(chunk)->rcu_head, kho_slab_free_chunk_rcu);
	else
		free_page((unsigned long)chunk);
}

/* Records. */

/* Slabs with more objects are refused, so the number fits the record. */
static_assert(KHO_SLAB_MAX_OBJECTS <= U16_MAX);

/* The chain for records with a bitmap of @objects bits. */
static unsigned int kho_slab_chain(unsigned int objects)
{
	return order_base_2(BITS_TO_U64(objects));
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

/**
 * kho_slab_stale - Complain about a record of a slab that is gone
 * @phys: Physical address of the slab that the record was found for.
 *
 * Return: ERR_PTR(-EEXIST).
 */
struct kho_slab_record *kho_slab_stale(phys_addr_t phys)
{
	WARN_ONCE(1, "KHO: objects of the slab at %pa were freed, but not unpreserved\n",
		  &phys);
	return ERR_PTR(-EEXIST);
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

	err = kho_pfn_map_set(&kho_slab_out.slabs, PHYS_PFN(phys), rec);
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
	/* The next kernel reads a record if it has an address: store that last. */
	smp_store_release(&rec->phys, phys);
	return rec;

unpreserve:
	kho_unpreserve_page_desc(page, slab_order(slab), KHO_MEMDESC_SLAB);
free_entry:
	kho_slab_free_entry(rec, chain);
	return ERR_PTR(err);
}

/**
 * kho_slab_forward_record - Get the record of a slab that the previous kernel had
 * @old: Its record there.
 *
 * If there is none yet, the new record has no objects. The slab can have one if a
 * cache has adopted the slab, and somebody has preserved an object again.
 *
 * Context: Process context, may sleep, under kho_slab_out.lock and
 *	memalloc_nofs_save().
 * Return: The record, or ERR_PTR: %-EEXIST if objects of another slab were
 *	preserved there, %-ENOMEM, or another error of kho_map_add().
 */
struct kho_slab_record *
kho_slab_forward_record(const struct kho_slab_record *old)
{
	const unsigned int chain = kho_slab_chain(old->objects);
	const unsigned long pfn = PHYS_PFN(old->phys);
	struct kho_slab_record *rec;
	int err;

	rec = kho_pfn_map_find(&kho_slab_out.slabs, pfn);
	if (rec)
		return rec->size == old->size && rec->objects == old->objects &&
		       rec->left_pad == old->left_pad ? rec : ERR_PTR(-EEXIST);

	rec = kho_slab_new_entry(chain);
	if (IS_ERR(rec))
		return rec;
	/* Without a look at the pages: the slab has no cache yet. */
	err = kho_map_lock_and_add(pfn, old->order, KHO_MEMDESC_SLAB, _RET_IP_);
	if (err)
		goto free_entry;
	err = kho_pfn_map_set(&kho_slab_out.slabs, pfn, rec);
	if (err)
		goto unpreserve;

	rec->size = old->size;
	rec->object_size = old->object_size;
	rec->objects = old->objects;
	rec->align = old->align;
	rec->flags = old->flags;
	rec->left_pad = old->left_pad;
	rec->order = old->order;
	rec->class = old->class;
	/* As in kho_slab_new_record(). */
	smp_store_release(&rec->phys, old->phys);
	return rec;

unpreserve:
	kho_unpreserve_page_desc(phys_to_page(old->phys), old->order,
				 KHO_MEMDESC_SLAB);
free_entry:
	kho_slab_free_entry(rec, chain);
	return ERR_PTR(err);
}

static void kho_slab_free_record(struct kho_slab_record *rec)
{
	if (kho_slab_out.last == rec)
		kho_slab_out.last = NULL;
	kho_pfn_map_erase(&kho_slab_out.slabs, PHYS_PFN(rec->phys));
	kho_unpreserve_page_desc(phys_to_page(rec->phys), rec->order,
				 KHO_MEMDESC_SLAB);
	kho_slab_free_entry(rec, kho_slab_chain(rec->objects));
}

/**
 * kho_slab_no_record - Make a record for a slab that has none
 * @slab: The slab.
 * @err: What kho_slab_find_record() says instead of a record: 0 or an error.
 * @obj: The object for which a record is needed, for the message.
 *
 * Context: Process context, may sleep, under kho_slab_out.lock.
 * Return: The record, or ERR_PTR: @err if it is not 0, %-EOPNOTSUPP if the layout
 *	of @slab cannot be recorded, %-ENOMEM, or another error of
 *	kho_preserve_page_desc().
 */
struct kho_slab_record *kho_slab_no_record(struct slab *slab, long err,
					   const void *obj)
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

/**
 * kho_slab_clear_bit - An object is preserved no longer
 * @rec: The record of the slab, NULL, or an ERR_PTR().
 * @idx: The number of the object.
 *
 * Frees the record if it has no other object.
 *
 * Context: With kho_slab_out.lock held; does not allocate.
 * Return: false if the object was not preserved.
 */
bool kho_slab_clear_bit(struct kho_slab_record *rec, unsigned int idx)
{
	unsigned long *bitmap;

	if (IS_ERR_OR_NULL(rec))
		return false;
	bitmap = (unsigned long *)rec->bitmap;
	if (!__test_and_clear_bit(idx, bitmap))
		return false;

	kho_slab_out.last = rec;
	/* Mostly the bit has neighbours. Then there is nothing to search. */
	if (!bitmap[BIT_WORD(idx)] && bitmap_empty(bitmap, rec->objects))
		kho_slab_free_record(rec);
	return true;
}

/**
 * kho_slab_forward_undo - Do not hand an object over, because it is restored
 * @old: Its slab, which is forwarded.
 * @idx: The number of the object.
 *
 * Context: Process context, under kho_slab_in.mutex. Does not allocate.
 */
void kho_slab_forward_undo(const struct kho_old_slab *old, unsigned int idx)
{
	guard(mutex)(&kho_slab_out.lock);
	kho_slab_clear_bit(kho_pfn_map_find(&kho_slab_out.slabs,
					    PHYS_PFN(old->rec.phys)), idx);
	/* kho_slab_same() must not find a slab without a cache. */
	kho_slab_out.last = NULL;
}
