// SPDX-License-Identifier: GPL-2.0-only
/*
 * Slab objects that the previous kernel has handed over, and that nobody restores, are
 * handed over to the next kernel: see kho_forward.c. For the other files and the words,
 * see kho_slab.h.
 *
 * What is forwarded is an object, not a slab: others may restore their objects of the
 * same slab, and preserve them again. The slab has one record on the way out, as every
 * slab has, in which the bit of a forwarded object is set. The bit is cleared when the
 * object is restored or released.
 */

#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/io.h>
#include <linux/kho_memdesc.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>

#include "kho_slab.h"
#include "kho_unclaimed.h"

/**
 * kho_slab_is_forwarded - Are objects of a slab forwarded?
 * @phys: Physical address of the slab.
 *
 * Context: Process context, may sleep.
 * Return: true if they are.
 */
bool kho_slab_is_forwarded(phys_addr_t phys)
{
	const struct kho_old_slab *old;

	guard(mutex)(&kho_slab_in.mutex);
	old = kho_slab_in_left(phys);
	return old && old->forwarded;
}

/* Set the bits of the objects that are left. Returns how many these are. */
static unsigned int kho_slab_forward_bits(struct kho_slab_record *rec,
					  const struct kho_old_slab *old)
{
	unsigned int idx, nr = 0;

	for_each_set_bit(idx, (unsigned long *)old->rec.bitmap, old->rec.objects) {
		__set_bit(idx, (unsigned long *)rec->bitmap);
		nr++;
	}
	if (rec->object_size < old->rec.object_size)
		rec->object_size = old->rec.object_size;
	return nr;
}

/**
 * kho_slab_forward - Forward the objects of a slab that nobody has restored
 * @phys: Physical address of the slab.
 * @objects: The number of objects is added here.
 *
 * Context: Process context, may sleep. After kho_slab_know_unclaimed().
 * Return: 0; %-ENOENT if none is left; %-EHWPOISON if the slab has a hardware error;
 *	%-EOPNOTSUPP, %-ENOMEM, or another error of kho_slab_forward_record(). After
 *	an error nothing has changed.
 */
int kho_slab_forward(phys_addr_t phys, unsigned long *objects)
{
	struct kho_slab_record *rec;
	struct kho_old_slab *old;
	unsigned int nofs;
	int err;

	err = kho_slab_new_root();
	if (err)
		return err;

	guard(mutex)(&kho_slab_in.mutex);
	old = kho_slab_in_left(phys);
	if (!old)
		return -ENOENT;
	/* With a stamp, the memory does not go offline. */
	err = old->claimed ? 0 : kho_check_stamp(phys, old->rec.order,
						 KHO_MEMDESC_SLAB);
	if (err)
		return err;
	if (kho_slab_in_poisoned(old))
		return -EHWPOISON;

	/*
	 * Restoring without a lock must have ended before the bits are read. Mostly
	 * kho_slab_close() has seen to that, for all slabs at once.
	 */
	if (old->open_to != KHO_SLAB_CLOSED) {
		WRITE_ONCE(old->open_to, KHO_SLAB_CLOSED);
		synchronize_rcu();
		if (!atomic_read(&old->left))
			return -ENOENT;
	}

	guard(mutex)(&kho_slab_out.lock);
	nofs = memalloc_nofs_save();
	rec = kho_slab_forward_record(&old->rec);
	memalloc_nofs_restore(nofs);
	if (IS_ERR(rec))
		return PTR_ERR(rec);
	/* From here on each restore calls kho_slab_forward_undo(). */
	old->forwarded = true;
	*objects += kho_slab_forward_bits(rec, old);
	return 0;
}

/**
 * kho_slab_forward_copies - Forward the notes of copies that are forwarded
 *
 * Context: Process context, may sleep.
 * Return: how many notes could not be forwarded.
 */
unsigned int kho_slab_forward_copies(void)
{
	unsigned int nofs, left = 0;
	unsigned long from;
	void *entry;

	guard(mutex)(&kho_slab_in.mutex);
	guard(mutex)(&kho_slab_out.lock);
	nofs = memalloc_nofs_save();
	xa_for_each(&kho_slab_in.copies, from, entry) {
		const phys_addr_t to = xa_to_value(entry);
		const struct kho_old_slab *old;

		old = kho_pfn_map_find(&kho_slab_in.slabs, PHYS_PFN(to));
		if (old && old->forwarded && kho_guarded_forward(from, to))
			left++;
	}
	memalloc_nofs_restore(nofs);
	return left;
}
