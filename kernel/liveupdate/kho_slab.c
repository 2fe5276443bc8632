// SPDX-License-Identifier: GPL-2.0-only
/*
 * Typed kexec handover of slab objects and of large kmalloc memory: preserving and
 * unpreserving. For the other files and the words, see kho_slab.h.
 *
 * The slab of an object is preserved as a whole. A record says how the objects lie
 * in the slab and which of them are preserved.
 *
 * Most of this is inline, kho_slab.h included, because a caller may preserve some
 * 100,000 objects during the downtime of a live update.
 */

#include <linux/cleanup.h>
#include <linux/export.h>
#include <linux/io.h>
#include <linux/kfence.h>
#include <linux/kho_memdesc.h>
#include <linux/memdesc.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "kho_slab.h"

/*
 * Is it known that the object is not allocated? Without debugging it often is not
 * known.
 */
static bool kho_slab_object_is_free(struct slab *slab, const void *obj)
{
	struct kmem_cache *s = slab->slab_cache;

	/* This prints a report of KASAN, with the stack that has freed it. */
	if (!kasan_check_byte(obj))
		return true;
	return (IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG) ||
		kmem_cache_debug_flags(s, SLAB_DEBUG_FLAGS)) &&
		slab_object_is_free(s, slab, kasan_reset_tag(obj));
}

/* Preserve an object of @slab. @rec is the record of @slab, or NULL to find it. */
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
 * The slab of the record that was used last, if @obj lies in it, and if @s is its
 * cache or NULL. Then the kind of memory that @obj is need not be found out.
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

/*
 * Find what kind of memory @obj is. Set *@slab to its slab; or to NULL and *@page
 * to the first page of large kmalloc memory. Otherwise return an error, and set
 * *@why to the reason.
 */
static int kho_slab_find(const struct kmem_cache *s, const void *obj,
			 struct slab **slab, struct page **page,
			 const char **why)
{
	const void *addr = kasan_reset_tag(obj);
	memdesc_t md;

	*slab = NULL;
	*why = "not an address of kmalloc memory";
	if (unlikely(ZERO_OR_NULL_PTR(obj) || !virt_addr_valid(addr)))
		return -EINVAL;

	md = page_memdesc(virt_to_page(addr));
	switch (memdesc_type(md)) {
	case MEMDESC_SLAB:
		*slab = memdesc_slab(md);
		break;
	case MEMDESC_LARGE_KMALLOC:
		if (s)
			return -EINVAL;
		*page = memdesc_page(md);
		*why = "not the start of large kmalloc memory";
		return page_address(*page) != addr ? -EINVAL : 0;
	default:
		return -EINVAL;
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
		err = slab ? kho_guarded_preserve(slab->slab_cache, obj) :
			     kho_large_preserve(page);
		memalloc_nofs_restore(nofs);
		return err;
	}
	return kho_slab_preserve_object(slab, NULL, obj);
}

static void __kho_slab_unpreserve(const struct kmem_cache *s, const void *obj)
{
	struct kho_slab_record *rec;
	struct slab *slab;
	struct page *page;
	const char *why;
	int idx;

	if (unlikely(!kho_out.radix_tree.root))
		return;

	scoped_guard(mutex, &kho_slab_out.lock) {
		rec = kho_slab_out.last;
		slab = kho_slab_same(s, obj);
		if (!slab) {
			if (kho_slab_find(s, obj, &slab, &page, &why))
				goto refuse;
			if (!slab || is_kfence_address(obj))
				break;
			rec = kho_slab_find_record(slab);
		}

		why = "not the start of an object";
		idx = kho_slab_index(slab, kasan_reset_tag(obj));
		if (idx < 0)
			goto refuse;
		why = "it is not preserved";
		if (!kho_slab_clear_bit(rec, idx))
			goto refuse;
		return;
	}

	why = "it is not preserved";
	if (!slab) {
		kho_large_unpreserve(page);
		return;
	}
	if (kho_guarded_unpreserve(obj))
		return;
refuse:
	kho_slab_refuse_obj(-ENOENT, "unpreserve", obj, why);
}

/**
 * kho_slab_preserve - Preserve kmalloc memory
 * @obj: From kmalloc(), of any size, or another object that kfree() takes.
 *
 * The next kernel gets the memory back as kmalloc() memory of the same kind:
 * normal, reclaimable, DMA or accounted. If the next kernel has to copy it, the
 * copy is not accounted. Memory that is too large for a slab has no kind. The user
 * may write to the memory until the kexec. Call kho_slab_unpreserve() before the
 * memory is freed.
 *
 * The next kernel returns an object that kfence guards at another address.
 * Preserving one object of a slab keeps the memory of the whole slab from the
 * next kernel until an object of that slab is restored.
 *
 * If an object is freed without kho_slab_unpreserve(), the record of its slab
 * still lists it. If the memory then becomes part of another slab, no object of
 * that slab can be preserved. If the slab stays, the next object that is allocated
 * at this place counts as preserved.
 *
 * Context: Process context, may sleep. Allocates with %GFP_NOFS. The
 *	first call adds a subtree, and allocates with %GFP_KERNEL.
 * Return: 0, or an error as listed in "Typed kexec handover". %-EINVAL if @obj
 *	is not the start of an object, is known to be free, or comes from a cache
 *	with a constructor; %-EOPNOTSUPP if its cache is %SLAB_TYPESAFE_BY_RCU;
 *	%-EEXIST also if objects of another slab lay there and were freed without
 *	kho_slab_unpreserve().
 */
int kho_slab_preserve(const void *obj)
{
	return __kho_slab_preserve(NULL, obj);
}
EXPORT_SYMBOL_GPL(kho_slab_preserve);

/**
 * kho_slab_unpreserve - Undo kho_slab_preserve()
 * @obj: As it was preserved.
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
 * kho_kmem_cache_preserve - Preserve an object of a slab cache
 * @cache: The cache.
 * @obj: From kmem_cache_alloc(@cache). If @cache has a constructor, @obj is in the
 *	constructed state.
 *
 * The next kernel must have a cache of its own for such objects. As many bytes
 * are handed over as kmem_cache_size(@cache) says. Bytes beyond these, which
 * ksize() may report, are not.
 *
 * Caches are merged if their objects take the same room. Then a kernel does not
 * know the object size of each user. A cache with %SLAB_NO_MERGE has one user. If
 * both caches are such caches, their object sizes are compared to the byte. If
 * your cache may be merged, and your objects may be different in the next kernel,
 * put something into the object that tells, like a version.
 *
 * Context: Process context, may sleep. Allocates with %GFP_NOFS. The
 *	first call adds a subtree, and allocates with %GFP_KERNEL.
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
 * kho_kmem_cache_unpreserve - Undo kho_kmem_cache_preserve()
 * @cache: As it was preserved.
 * @obj: As it was preserved.
 *
 * Context: As kho_slab_unpreserve().
 */
void kho_kmem_cache_unpreserve(struct kmem_cache *cache, const void *obj)
{
	__kho_slab_unpreserve(cache, obj);
}
EXPORT_SYMBOL_GPL(kho_kmem_cache_unpreserve);

#ifdef CONFIG_KEXEC_HANDOVER_DEBUG
static bool kho_slab_is_preserved(struct page *page, const void *addr)
{
	const struct slab *slab = page_slab(page);
	struct kho_slab_record *rec;
	phys_addr_t phys;
	int idx;

	if (!slab)
		return kho_large_is_preserved(page);
	if (is_kfence_address(addr))
		return kho_guarded_is_preserved(page_to_phys(page) +
						offset_in_page(addr));

	phys = virt_to_phys(slab_address(slab));
	rec = kho_pfn_map_find(&kho_slab_out.slabs, PHYS_PFN(phys));
	idx = kho_slab_index(slab, addr);
	/*
	 * Without the lock, the entry can become the record of another slab at
	 * any time. Compare the address after the bit was read: then the bit was
	 * one of this slab.
	 */
	return rec && idx >= 0 &&
	       kho_slab_record_matches(rec, slab, slab->slab_cache) &&
	       test_bit_acquire(idx, (unsigned long *)rec->bitmap) &&
	       READ_ONCE(rec->phys) == phys;
}

/**
 * kho_slab_check_free - Complain if a preserved object is freed
 * @obj: Object of a slab or large kmalloc memory, about to be freed.
 *
 * Context: Any.
 */
void kho_slab_check_free(const void *obj)
{
	const void *addr = kasan_reset_tag(obj);
	phys_addr_t phys;

	if (!READ_ONCE(kho_slab_out.nr_chunks) && !kho_large_any_preserved())
		return;

	guard(rcu)();
	if (likely(!kho_slab_is_preserved(virt_to_page(addr), addr)))
		return;
	phys = virt_to_phys((void *)addr);
	WARN(1, "KHO: object at %pa is freed, but was not unpreserved\n", &phys);
}
#endif
