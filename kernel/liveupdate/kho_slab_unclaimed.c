// SPDX-License-Identifier: GPL-2.0-only
/*
 * Slab objects that the previous kernel has handed over and that nobody restores.
 * For the other files and the words, see kho_slab.h.
 *
 * A slab belongs to many. One object that is restored makes a cache adopt the slab,
 * and then the other preserved objects are allocated, without a user. They stay
 * that when their cache is destroyed. So unclaimed objects are looked for in the
 * records, and not in the stamp of the slab.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/io.h>
#include <linux/kho_memdesc.h>
#include <linux/slab.h>

#include "kho_slab.h"
#include "kho_unclaimed.h"

/**
 * kho_slab_in_left - Find an old slab with objects that nobody has restored
 * @phys: Physical address of the slab.
 *
 * Context: Process context, under kho_slab_in.mutex.
 * Return: The slab, or NULL.
 */
struct kho_old_slab *kho_slab_in_left(phys_addr_t phys)
{
	struct kho_old_slab *old;

	old = kho_pfn_map_find(&kho_slab_in.slabs, PHYS_PFN(phys));
	return old && old->rec.phys == phys && atomic_read(&old->left) ? old : NULL;
}

/**
 * kho_slab_count_unclaimed - Count objects that nobody has restored, in a slab in use
 * @phys: Physical address of the slab.
 * @sum: The objects, and the bytes of them, are added here.
 *
 * Context: Process context, may sleep.
 */
void kho_slab_count_unclaimed(phys_addr_t phys, struct kho_slab_sum *sum)
{
	struct kho_old_slab *old;
	unsigned int left;

	guard(mutex)(&kho_slab_in.mutex);
	old = kho_slab_in_left(phys);
	if (!old || !old->claimed)
		return;
	left = atomic_read(&old->left);
	sum->objects += left;
	sum->bytes += (u64)left * old->rec.object_size;
}

/**
 * kho_slab_know_unclaimed - Read the records of the previous kernel
 *
 * The records are memory that was handed over, too. They must be read before
 * somebody releases them.
 *
 * Context: Process context, may sleep.
 * Return: 0 or %-ENOMEM.
 */
int kho_slab_know_unclaimed(void)
{
	guard(mutex)(&kho_slab_in.mutex);
	return kho_slab_read();
}

/**
 * kho_slab_release_copies - Forget the notes of copies that are released
 *
 * Context: Process context, may sleep.
 */
void kho_slab_release_copies(void)
{
	struct kho_old_slab *old;
	unsigned long from;
	unsigned int idx;
	void *entry;

	guard(mutex)(&kho_slab_in.mutex);
	xa_for_each(&kho_slab_in.copies, from, entry) {
		const phys_addr_t to = xa_to_value(entry);

		old = kho_pfn_map_find(&kho_slab_in.slabs, PHYS_PFN(to));
		if (old && to >= old->start) {
			idx = (to - old->start) / old->size;
			if (idx < old->rec.objects &&
			    test_bit(idx, (unsigned long *)old->rec.bitmap))
				continue;
		}
		xa_erase(&kho_slab_in.copies, from);
		kho_guarded_forward_undo(from);
	}
}

/* Claim the slab, if nothing of it has an error. */
static int kho_slab_claim_good(struct kho_old_slab *old)
{
	const bool claimed = old->claimed;
	int err = kho_slab_in_claim(old);

	if (err || !kho_slab_in_poisoned(old))
		return err;
	/*
	 * memory_failure() has not found the stamp if the claim came first. If the
	 * stamp tells of the error, it was left alone.
	 */
	if (!claimed && kho_check_stamp(old->rec.phys, old->rec.order,
					KHO_MEMDESC_SLAB) == -ENOENT) {
		kho_unclaim(phys_to_page(old->rec.phys));
		old->claimed = false;
	}
	return -EHWPOISON;
}

/**
 * kho_slab_release - Free the objects of a slab that nobody has restored
 * @phys: Physical address of the slab.
 * @objects: The number of objects that were freed of a slab in use is added here.
 *
 * If nothing of the slab was restored, its pages go to the page allocator.
 *
 * Context: Process context, may sleep. After kho_slab_know_unclaimed().
 * Return: 0 if the pages of the slab were freed; 1 if only objects were, because
 *	other objects of the slab had been restored; %-ENOENT if none is left;
 *	%-EHWPOISON if the slab has a hardware error; or another error of
 *	kho_claim().
 */
int kho_slab_release(phys_addr_t phys, unsigned long *objects)
{
	struct kho_old_slab *old;
	unsigned int idx, nr = 0;
	struct kmem_cache *cache;
	bool used, last = false;
	void *obj;
	int err;

	guard(mutex)(&kho_slab_in.mutex);
	old = kho_slab_in_left(phys);
	if (!old)
		return -ENOENT;
	used = old->claimed;
	err = kho_slab_claim_good(old);
	if (err)
		return err;

	cache = old->cache;
	for_each_set_bit(idx, (unsigned long *)old->rec.bitmap, old->rec.objects) {
		int left = kho_slab_in_take(old, idx);

		if (left < 0)
			continue;
		nr++;
		last = !left;
		if (!cache)
			continue;
		obj = phys_to_virt(old->start + idx * old->size);
		kmem_cache_free(cache, slab_adopt_object(cache, obj));
	}
	/* If a restorer has taken the last object, it does this. */
	if (last) {
		if (!cache)
			kho_slab_in_free(old);
		kho_slab_in_done(old);
	}

	if (!used)
		return 0;
	if (!nr)
		return -ENOENT;
	*objects += nr;
	return 1;
}
