// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which cache of this kernel an object of an old slab belongs to. The words are
 * explained in kho_slab.h.
 */

#include <linux/align.h>
#include <linux/bitops.h>
#include <linux/slab.h>

#include "kho_slab.h"

/* Each class has a case in both of the functions below, if it needs one. */
static_assert(KHO_NR_SLAB_CLASSES == 4);

/**
 * kho_kmalloc_cache - Find the cache that kmalloc() has for objects like these
 * @rec: A record that makes sense.
 *
 * Return: The cache, or NULL if kmalloc() has none of this size.
 */
struct kmem_cache *kho_kmalloc_cache(const struct kho_slab_record *rec)
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

/**
 * kho_slab_alloc_copy - Allocate the object that an old one is copied into
 * @cache: The cache, or NULL for kmalloc().
 * @rec: The record of the old object.
 *
 * The object is not charged to a memory cgroup, unless @cache charges its objects:
 * the cgroup of the old object does not exist any more.
 *
 * Context: Process context, may sleep.
 * Return: The object, or NULL if there is no memory.
 */
void *kho_slab_alloc_copy(struct kmem_cache *cache,
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

/* Kernels with memory tagging align objects to 16 bytes, other kernels to 8. */
static bool kho_slab_same_room(unsigned int a, unsigned int b)
{
	return ALIGN(a, 16) == ALIGN(b, 16);
}

/**
 * kho_slab_object_fits - Could an object of the record be one of the cache?
 * @cache: A cache of this kernel.
 * @rec: The record of a slab of the previous kernel.
 *
 * A cache that cannot be merged has one user, so its object size is the size of
 * the user's objects. The object size of a cache that can be merged is the size
 * of the largest objects among its users. That size says little about the objects
 * of the other users, and grows when a user with larger objects comes. Such a
 * cache never has debugging.
 *
 * What merged users have in common is the room that an object takes. This room is
 * the same in both kernels, whichever users share a cache in each.
 *
 * Return: false if the objects are known to be different.
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
