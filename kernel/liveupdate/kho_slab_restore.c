// SPDX-License-Identifier: GPL-2.0-only
/*
 * Typed kexec handover of slab objects and of large kmalloc memory: restoring. For
 * the other files and the words, see kho_slab.h.
 *
 * The first restore of an object lets a cache of this kernel adopt the slab
 * (slab_adopt() in mm/slub.c), if there is a cache that expects its objects where
 * the objects of the slab lie. From then on all preserved objects of the slab are
 * allocated, handed out or not, and the others are free. If no cache can adopt the
 * slab, its objects are copied, and the slab goes back to the page allocator with
 * the last of them.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/export.h>
#include <linux/io.h>
#include <linux/kho_memdesc.h>
#include <linux/kmsan-checks.h>
#include <linux/memdesc.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include <trace/events/kho.h>

#include "kho_slab.h"
#include "kho_unclaimed.h"

/* Old slabs that a cache has adopted. Protected by kho_slab_in.mutex. */
static LIST_HEAD(kho_slab_adopted);

/*
 * Let the next restore look at @old first, unless @old has no objects left. In
 * that case kho_slab_in_forget() may have checked kho_slab_in.last already, and
 * may be about to free @old.
 */
static void kho_slab_in_remember(struct kho_old_slab *old)
{
	guard(spinlock)(&kho_slab_in.lock);
	if (atomic_read(&old->left))
		/* Pairs with READ_ONCE() in __kho_slab_restore(). */
		smp_store_release(&kho_slab_in.last, old);
}

/**
 * kho_slab_in_done - Forget a slab of which all objects are restored
 * @old: The slab. It is freed.
 *
 * Context: Process context, under kho_slab_in.mutex.
 */
void kho_slab_in_done(struct kho_old_slab *old)
{
	kho_slab_in_forget(old, 1UL << old->rec.order);
}

static noinline void kho_slab_in_last_object(struct kho_old_slab *old)
{
	guard(mutex)(&kho_slab_in.mutex);
	kho_slab_in_done(old);
}

/**
 * kho_slab_in_take - Take an object out of the record of an old slab
 * @old: The slab.
 * @idx: The number of the object.
 *
 * The caller that takes the last object must call kho_slab_in_done().
 *
 * Context: Process context, under kho_slab_in.mutex.
 * Return: The number of objects that are left, or %-ENOENT if the object is not
 *	preserved, or somebody else has taken it.
 */
int kho_slab_in_take(struct kho_old_slab *old, unsigned int idx)
{
	if (!test_and_clear_bit(idx, (unsigned long *)old->rec.bitmap))
		return -ENOENT;
	if (old->forwarded)
		kho_slab_forward_undo(old, idx);
	return atomic_dec_return(&old->left);
}

/*
 * Some page of the slab has a hardware error. No cache can have the slab, and the
 * page allocator never gets the pages, so there is nothing to claim. The objects in
 * the other pages can be copied, if this kernel knows which page is the bad one.
 */
static int kho_slab_in_claim_poisoned(struct kho_old_slab *old)
{
	const struct kho_slab_record *rec = &old->rec;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE) ||
	    kho_check_stamp(rec->phys, rec->order,
			    KHO_MEMDESC_SLAB) != -EHWPOISON)
		return -EHWPOISON;
	pr_warn("objects of the slab at %#llx are copied from its good pages\n",
		rec->phys);
	old->poisoned = true;
	old->claimed = true;
	return 0;
}

/**
 * kho_slab_in_claim - Claim the pages of an old slab, unless they are claimed
 * @old: The slab.
 *
 * Context: Process context, may sleep, under kho_slab_in.mutex.
 * Return: 0, or an error of kho_claim().
 */
int kho_slab_in_claim(struct kho_old_slab *old)
{
	const struct kho_slab_record *rec = &old->rec;
	union kho_page_info info;
	struct page *page;

	if (old->claimed)
		return 0;

	page = kho_claim(rec->phys, BIT(KHO_MEMDESC_SLAB), &info);
	if (PTR_ERR_OR_ZERO(page) == -EHWPOISON)
		return kho_slab_in_claim_poisoned(old);
	if (IS_ERR(page))
		return PTR_ERR(page);
	if (info.order != rec->order) {
		kho_unclaim(page);
		return kho_refuse(-EINVAL, "restore", rec->phys, info.order,
				  KHO_MEMDESC_SLAB, "it has another order");
	}
	old->claimed = true;
	/* The pages may only become memory in use with the last of the objects. */
	kho_unclaimed_changed();
	return 0;
}

/* Give the claimed pages the state and the page type of a slab. */
static struct page *kho_slab_in_ready(struct kho_old_slab *old)
{
	struct page *page = phys_to_page(old->rec.phys);

	if (!old->ready)
		kho_init_claimed(page, KHO_MEMDESC_SLAB);
	old->ready = true;
	return page;
}

/**
 * kho_slab_in_free - Free the pages of an old slab that no cache has adopted
 * @old: The slab, which is claimed and has no objects left.
 *
 * Context: Process context, under kho_slab_in.mutex.
 */
void kho_slab_in_free(struct kho_old_slab *old)
{
	if (unlikely(old->poisoned)) {
		/* The page allocator must not hand this memory out. */
		kho_refuse(-EHWPOISON, "free", old->rec.phys, old->rec.order,
			   KHO_MEMDESC_SLAB, "memory with a hardware error");
		return;
	}
	free_page_desc(kho_slab_in_ready(old));
}

/**
 * kho_slab_in_poisoned - Has a page of an old slab a hardware error?
 * @old: The slab.
 *
 * Neither a cache nor the page allocator must get such memory.
 *
 * Context: Process context, under kho_slab_in.mutex.
 * Return: true if it has.
 */
bool kho_slab_in_poisoned(struct kho_old_slab *old)
{
#ifdef CONFIG_MEMORY_FAILURE
	struct page *page = phys_to_page(old->rec.phys);

	if (likely(!atomic_long_read(&num_poisoned_pages)))
		return old->poisoned;
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
 * The objects of @cache may be longer than those of the slab. Clear what follows
 * the old objects, because it was not part of them, and is 0 in a copy, too.
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

/*
 * Claim the pages of @old, and let @cache adopt the slab if it can. Afterwards
 * old->cache is the cache that has the slab, or NULL, which is no error.
 */
static int kho_slab_in_adopt(struct kho_old_slab *old,
			     struct kmem_cache *cache, bool in_place)
{
	const struct kho_slab_record *rec = &old->rec;
	struct page *page = phys_to_page(rec->phys);
	int err;

	if (old->cache)
		return 0;

	err = kho_slab_in_claim(old);
	if (err || kho_slab_in_poisoned(old) || !cache ||
	    !slab_can_adopt(cache, page, rec->size, rec->object_size,
			    rec->left_pad, in_place))
		return err;

	kho_slab_in_ready(old);
	kho_slab_in_clear_rest(old, cache);
	slab_adopt(cache, page_slab(page), (unsigned long *)rec->bitmap);
	if (trace_kho_adopt_enabled())
		trace_call__kho_adopt(rec->phys, rec->order, cache->name,
				      bitmap_weight((unsigned long *)rec->bitmap,
						    rec->objects));
	old->cache = cache;
	list_add(&old->adopted, &kho_slab_adopted);
	return 0;
}

/**
 * kho_slab_close - Let each restore of an object take the mutex
 *
 * A slab that is closed is opened again by the next object that is restored from it.
 *
 * Context: Process context, may sleep.
 */
void kho_slab_close(void)
{
	struct kho_old_slab *old;

	scoped_guard(mutex, &kho_slab_in.mutex) {
		list_for_each_entry(old, &kho_slab_adopted, adopted)
			WRITE_ONCE(old->open_to, KHO_SLAB_CLOSED);
	}
	synchronize_rcu();
}

/**
 * kho_slab_disown_begin - Keep out restorers while a cache is destroyed
 *
 * Whoever restores an object of another cache as a copy frees the place of the
 * old object to the cache that has adopted the slab. This must not happen after
 * the cache has flushed what its CPUs hold, and before kho_slab_disown() has
 * looked at the slab: the freed place would count as an object in use.
 *
 * Context: Process context, may sleep, with slab_mutex held.
 */
void kho_slab_disown_begin(void)
{
	mutex_lock(&kho_slab_in.mutex);
}

/**
 * kho_slab_disown_end - The counterpart of kho_slab_disown_begin()
 *
 * Context: Process context.
 */
void kho_slab_disown_end(void)
{
	mutex_unlock(&kho_slab_in.mutex);
}

/**
 * kho_slab_disown - Take slabs with preserved objects from a cache
 * @s: A cache that is about to be destroyed, of which nothing is in use any more.
 *
 * The first object that is restored to a cache makes the cache adopt the slab,
 * with all objects that are preserved in it. The objects that are not restored yet
 * have no user. They do not keep the cache alive. They wait until they are
 * restored to another cache.
 *
 * Context: Process context, may sleep, between kho_slab_disown_begin() and
 *	kho_slab_disown_end().
 * Return: true if a slab must stay, because other objects of it are in use.
 */
bool kho_slab_disown(struct kmem_cache *s)
{
	struct kho_old_slab *old, *next;
	bool busy = false;

	lockdep_assert_held(&kho_slab_in.mutex);

	list_for_each_entry_safe(old, next, &kho_slab_adopted, adopted) {
		struct page *page = phys_to_page(old->rec.phys);

		if (old->cache != s || !atomic_read(&old->left))
			continue;
		if (!slab_disown(s, page_slab(page), atomic_read(&old->left))) {
			busy = true;
			continue;
		}
		WRITE_ONCE(old->open_to, KHO_SLAB_CLOSED);
		old->cache = NULL;
		list_del_init(&old->adopted);
	}

	/* kho_slab_same() must not find a slab without a cache. */
	guard(mutex)(&kho_slab_out.lock);
	kho_slab_out.last = NULL;
	return busy;
}

/*
 * Copy object @idx, which lies at @obj, to a new object of the cache @to, or to
 * one of kmalloc() if @to is NULL.
 */
static void *kho_slab_in_copy(struct kho_old_slab *old, unsigned int idx,
			      struct kmem_cache *to, void *obj)
{
	struct kho_slab_record *rec = &old->rec;
	struct kmem_cache *cache = old->cache;
	size_t size = rec->object_size;
	void *new;
	int left;

	/*
	 * If the record says more than objects of @to have, then another cache had
	 * been merged with the old one, and its objects were larger.
	 */
	if (to)
		size = min(size, to->object_size);
	new = kho_slab_alloc_copy(to, rec);
	if (!new)
		return ERR_PTR(-ENOMEM);

	left = kho_slab_in_take(old, idx);
	if (left < 0) {
		kfree(new);
		return ERR_PTR(left);
	}

	if (to && size < to->object_size && !to->ctor)
		memset(new, 0, to->object_size);
	/*
	 * The old object may be longer than the objects of the cache that has
	 * adopted the slab. All of its contents are there even so: otherwise
	 * slab_can_adopt() had refused the slab.
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
		kho_slab_in_free(old);
	kho_slab_in_done(old);
	return new;
}

/*
 * Find object @idx of an old slab at @phys, which can be restored to the cache @to,
 * or to kmalloc() if @to is NULL. Return ERR_PTR if there is no such object.
 */
static struct kho_old_slab *kho_slab_in_find(struct kmem_cache *to,
					     phys_addr_t phys,
					     unsigned int *idx)
{
	struct kho_slab_record *rec;
	struct kho_old_slab *old;
	unsigned int off;
	const char *why;
	int err;

	err = -ENOENT;
	why = "nothing is preserved there";
	old = kho_pfn_map_find(&kho_slab_in.slabs, PHYS_PFN(phys));
	if (!old)
		goto refuse;
	rec = &old->rec;

	err = -EINVAL;
	why = "not the start of an object";
	off = phys - rec->phys - rec->left_pad;
	*idx = off / rec->size;
	if (*idx >= rec->objects || *idx * rec->size != off)
		goto refuse;

	err = -ENOENT;
	why = "not preserved, or already restored";
	if (!test_bit(*idx, (unsigned long *)rec->bitmap))
		goto refuse;

	err = -EINVAL;
	why = "an object of another cache";
	if (!to || kho_slab_object_fits(to, rec))
		return old;
refuse:
	return ERR_PTR(kho_slab_refuse(err, "restore", phys, why));
}

static void *kho_slab_restore_locked(struct kmem_cache *to, phys_addr_t phys,
				     bool in_place)
{
	struct kmem_cache *cache;
	struct kho_old_slab *old;
	unsigned int idx;
	int err, left;

	if (!to && PAGE_ALIGNED(phys) &&
	    !kho_pfn_map_find(&kho_slab_in.slabs, PHYS_PFN(phys)))
		return kho_large_restore(phys);

	old = kho_slab_in_find(to, phys, &idx);
	if (IS_ERR(old))
		return old;

	cache = to ?: kho_kmalloc_cache(&old->rec);
	err = kho_slab_in_adopt(old, cache, in_place);
	if (err)
		return ERR_PTR(err);

	if (old->cache && old->cache == cache) {
		/* Without the lock, a restore could not end that it is forwarded. */
		if (!old->forwarded) {
			/* Pairs with the acquire in __kho_slab_restore(). */
			smp_store_release(&old->open_to, to);
		}
		kho_slab_in_remember(old);
		left = kho_slab_in_take(old, idx);
		if (left < 0)
			return ERR_PTR(left);
		if (!left)
			kho_slab_in_done(old);
		return slab_adopt_object(cache, phys_to_virt(phys));
	}

	if (old->poisoned &&
	    kho_slab_object_poisoned(phys_to_virt(phys), old->rec.object_size))
		return ERR_PTR(kho_slab_refuse(-EHWPOISON, "restore", phys,
					       "memory with a hardware error"));
	if (in_place)
		return ERR_PTR(kho_slab_refuse(-EOPNOTSUPP, "restore", phys,
					       "it could only be copied"));
	return kho_slab_in_copy(old, idx, to, phys_to_virt(phys));
}

static noinline void *kho_slab_restore_slow(struct kmem_cache *to,
					    phys_addr_t phys, bool in_place)
{
	void *copy, *obj;
	int err;

	if (to && to->flags & SLAB_TYPESAFE_BY_RCU)
		return ERR_PTR(-EOPNOTSUPP);

	guard(mutex)(&kho_slab_in.mutex);

	err = kho_slab_read();
	if (err)
		return ERR_PTR(err);

	copy = xa_load(&kho_slab_in.copies, phys);
	if (!copy)
		return kho_slab_restore_locked(to, phys, in_place);

	if (in_place)
		return ERR_PTR(kho_slab_refuse(-EOPNOTSUPP, "restore", phys,
					       "it is a copy already"));
	obj = kho_slab_restore_locked(to, xa_to_value(copy), false);
	if (!IS_ERR(obj)) {
		xa_erase(&kho_slab_in.copies, phys);
		kho_guarded_forward_undo(phys);
	}
	return obj;
}

/* Find the old slab that has objects where @phys lies. NULL if there is none. */
static noinline struct kho_old_slab *kho_slab_in_recall(phys_addr_t phys)
{
	struct kho_old_slab *old;

	old = kho_pfn_map_find(&kho_slab_in.slabs, PHYS_PFN(phys));
	if (!old || phys - old->start >= old->bytes)
		return NULL;
	kho_slab_in_remember(old);
	return old;
}

static __always_inline void *__kho_slab_restore(struct kmem_cache *to,
						phys_addr_t phys, bool in_place)
{
	struct kho_old_slab *old;
	struct kmem_cache *cache;
	unsigned int idx;
	u64 off;

	/*
	 * Without this debugging, might_sleep() calls cond_resched() in some
	 * configurations. The path below is short and can do without it.
	 */
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
	/* Pairs with the release in kho_slab_restore_locked(): @cache is set. */
	if (unlikely(smp_load_acquire(&old->open_to) != to))
		goto slow;

	/* Exact for the start of an object, because the slab is below 4 GiB. */
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
	return kho_slab_restore_slow(to, phys, in_place);
}

/**
 * kho_slab_restore - Restore kmalloc memory
 * @phys: Physical address of the memory in the previous kernel.
 *
 * Free it with kfree(). All bytes that kmalloc() had set aside for the requested
 * size are restored and may be used.
 *
 * The memory is where it was, if kmalloc() of this kernel has a cache of that
 * object size whose objects have the same distance. Otherwise the memory is a
 * copy, for instance if only one of the two kernels has debugging. The memory is
 * also a copy if it lies in a zone from which kmalloc() would not have taken it,
 * or if a page of its slab has a hardware error. Look at the returned address.
 *
 * Context: Process context, may sleep, any time after the slab allocator is up.
 * Return: The memory, or ERR_PTR: %-EINVAL if @phys is not the start of an
 *	object, or something else is preserved there, %-ENOENT if nothing is or it
 *	was already restored, %-EHWPOISON if it has a hardware error, %-EOPNOTSUPP
 *	if this kernel only keeps the memory, %-ENOMEM.
 */
void *kho_slab_restore_noprof(phys_addr_t phys)
{
	return __kho_slab_restore(NULL, phys, false);
}
EXPORT_SYMBOL_GPL(kho_slab_restore_noprof);

/**
 * kho_slab_restore_in_place - Restore kmalloc memory where it was
 * @phys: Physical address of the memory in the previous kernel.
 *
 * As kho_slab_restore(), but never a copy: for memory whose address a device
 * knows. The memory may lie in %ZONE_MOVABLE. The memory block of that zone cannot
 * be taken offline while the slab is there.
 *
 * Context: Process context, may sleep, any time after the slab allocator is up.
 * Return: The memory, or ERR_PTR as kho_slab_restore(), or
 *	ERR_PTR(-EOPNOTSUPP) if it could only be copied; kho_slab_restore() can
 *	be called then.
 */
void *kho_slab_restore_in_place_noprof(phys_addr_t phys)
{
	return __kho_slab_restore(NULL, phys, true);
}
EXPORT_SYMBOL_GPL(kho_slab_restore_in_place_noprof);

/**
 * kho_kmem_cache_restore - Restore an object of a slab cache
 * @cache: The cache of this kernel for such objects. Its name may be another one.
 * @phys: Physical address of the object in the previous kernel.
 *
 * Free it with kmem_cache_free(@cache). The object is where it was, if the objects
 * of @cache are laid out as they were in the previous kernel, and if @cache would
 * have taken memory of that zone. Otherwise the object is a copy. Look at the
 * returned address. The constructor is not called for the object.
 *
 * The size of the objects must be the same in both kernels. The sizes are compared
 * if the caches cannot be merged, see kho_kmem_cache_preserve(). For other caches
 * it is compared whether the objects take the same room. Bytes of the object
 * beyond its old size are 0, unless @cache has a constructor.
 *
 * When @cache has adopted the slab, all preserved objects of the slab count as
 * allocated from @cache. @cache can be destroyed before all of them are restored.
 * The others can then be restored to another cache.
 *
 * Context: Process context, may sleep, any time after the slab allocator is up.
 * Return: The object, or ERR_PTR: %-EINVAL if @phys is not the start of an
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
 * kho_kmem_cache_restore_in_place - Restore an object where it was
 * @cache: As for kho_kmem_cache_restore().
 * @phys: Physical address of the object in the previous kernel.
 *
 * Context: Process context, may sleep, any time after the slab allocator is up.
 * Return: The object, or ERR_PTR as kho_kmem_cache_restore(), or
 *	ERR_PTR(-EOPNOTSUPP) if it could only be copied.
 */
void *kho_kmem_cache_restore_in_place_noprof(struct kmem_cache *cache,
					     phys_addr_t phys)
{
	return __kho_slab_restore(cache, phys, true);
}
EXPORT_SYMBOL_GPL(kho_kmem_cache_restore_in_place_noprof);
