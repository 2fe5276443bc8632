// SPDX-License-Identifier: GPL-2.0-only
/*
 * Handover of objects that kfence guards. The words are explained in kho_slab.h.
 *
 * kfence may serve any kmalloc(). Its objects lie in a pool from early boot, which
 * the next kernel may use early in its own boot. So another object of the same
 * cache is preserved in the place of a guarded one. The contents are copied into
 * it when nothing else runs any more, because the user writes to the guarded
 * object until then.
 */

#include <linux/cleanup.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kfence.h>
#include <linux/kho_memdesc.h>
#include <linux/kmemleak.h>
#include <linux/slab.h>

#include "kho_slab.h"

/*
 * The entries of the copies (struct kho_slab_copy), by physical address of the
 * guarded object. Changed under kho_slab_out.lock.
 */
static DEFINE_XARRAY(kho_guarded_copies);

/* Allocate an object that is not guarded. NULL if there is no memory. */
static void *kho_guarded_alloc_other(struct kmem_cache *s)
{
	void *guarded[16];
	unsigned int nr;
	void *obj;

	/*
	 * kfence takes one allocation in a while. Keep the objects that it takes
	 * here until there is an ordinary one: if they were freed at once, the
	 * next allocation could get the same object again.
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

/**
 * kho_guarded_preserve - Preserve another object in the place of a guarded one
 * @s: The cache of @obj, or NULL if kfence does not know it.
 * @obj: A pointer into the pool of kfence.
 *
 * Context: Process context, may sleep, under kho_slab_out.lock and
 *	memalloc_nofs_save().
 * Return: 0, %-EINVAL if @obj is not the start of an object, %-EEXIST if it is
 *	preserved, %-ENOMEM, or an error of kho_slab_get_record().
 */
int kho_guarded_preserve(struct kmem_cache *s, const void *obj)
{
	const phys_addr_t phys = virt_to_phys((void *)obj);
	struct kho_slab_record *rec;
	struct kho_slab_copy *copy;
	int err, idx;
	void *to;

	if (!s || kfence_object_start(obj) != obj)
		return kho_slab_refuse_obj(-EINVAL, "preserve", obj,
					   "not the start of an object");

	copy = xa_load(&kho_guarded_copies, phys);
	if (copy)
		return kho_slab_refuse_obj(-EEXIST, "preserve", obj, copy->size ?
					   "already preserved" :
					   "an object of the previous kernel is forwarded by this address");

	to = kho_guarded_alloc_other(s);
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

	err = xa_err(xa_store(&kho_guarded_copies, phys, copy, GFP_KERNEL));
	if (err)
		goto unpreserve;

	/* kmemleak does not know physical addresses, and only @copy has one. */
	kmemleak_not_leak(to);
	copy->to = virt_to_phys(to);
	copy->size = kfence_ksize(obj);
	/* Readers take a copy that has an address: store that last. */
	smp_store_release(&copy->from, phys);
	return 0;

unpreserve:
	kho_slab_clear_bit(kho_slab_find_record(virt_to_slab(to)), idx);
free_entry:
	kho_slab_free_entry(copy, KHO_SLAB_COPIES);
free_object:
	kmem_cache_free(s, to);
	return err;
}

/**
 * kho_guarded_unpreserve - Undo kho_guarded_preserve()
 * @obj: The guarded object.
 *
 * Context: Process context, may sleep. Does not allocate.
 * Return: false if @obj is not preserved.
 */
bool kho_guarded_unpreserve(const void *obj)
{
	struct kho_slab_copy *copy;
	struct slab *slab;
	void *to;

	guard(mutex)(&kho_slab_out.lock);

	copy = xa_load(&kho_guarded_copies, virt_to_phys((void *)obj));
	if (!copy || !copy->size)
		return false;
	xa_erase(&kho_guarded_copies, virt_to_phys((void *)obj));

	to = phys_to_virt(copy->to);
	slab = virt_to_slab(to);
	kho_slab_clear_bit(kho_slab_find_record(slab),
			   kho_slab_index(slab, to));
	kho_slab_free_entry(copy, KHO_SLAB_COPIES);
	kfree(to);
	return true;
}

/**
 * kho_guarded_is_preserved - Is a guarded object preserved?
 * @phys: Physical address of the object.
 *
 * Context: Any.
 * Return: true if it is.
 */
bool kho_guarded_is_preserved(phys_addr_t phys)
{
	const struct kho_slab_copy *copy = xa_load(&kho_guarded_copies, phys);

	return copy && copy->size;
}

/**
 * kho_guarded_forward - Forward the note of a copy that the previous kernel made
 * @from: Physical address of the guarded object, in that kernel.
 * @to: Physical address of the copy, which is forwarded.
 *
 * The note has size 0, so that nothing is copied before the kexec: what lies at @from
 * in this kernel is something else.
 *
 * Context: Process context, may sleep, under kho_slab_out.lock and
 *	memalloc_nofs_save().
 * Return: 0, also if it is forwarded already; %-EEXIST if this kernel has preserved
 *	a guarded object at @from; or %-ENOMEM.
 */
int kho_guarded_forward(phys_addr_t from, phys_addr_t to)
{
	struct kho_slab_copy *copy = xa_load(&kho_guarded_copies, from);
	int err;

	if (copy)
		return copy->to == to ? 0 : -EEXIST;
	copy = kho_slab_new_entry(KHO_SLAB_COPIES);
	if (IS_ERR(copy))
		return PTR_ERR(copy);
	err = xa_err(xa_store(&kho_guarded_copies, from, copy, GFP_KERNEL));
	if (err) {
		kho_slab_free_entry(copy, KHO_SLAB_COPIES);
		return err;
	}
	copy->to = to;
	copy->size = 0;
	/* As in kho_guarded_preserve(). */
	smp_store_release(&copy->from, from);
	return 0;
}

/**
 * kho_guarded_forward_undo - Undo kho_guarded_forward()
 * @from: As it was forwarded. Nothing happens if it was not.
 *
 * Context: Process context, may sleep. Does not allocate.
 */
void kho_guarded_forward_undo(phys_addr_t from)
{
	struct kho_slab_copy *copy;

	guard(mutex)(&kho_slab_out.lock);
	copy = xa_load(&kho_guarded_copies, from);
	if (!copy || copy->size)
		return;
	xa_erase(&kho_guarded_copies, from);
	kho_slab_free_entry(copy, KHO_SLAB_COPIES);
}

/**
 * kho_late_handover - Copy what cannot be preserved where it is
 *
 * Users write to guarded objects until the kexec, so this cannot be done sooner.
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
