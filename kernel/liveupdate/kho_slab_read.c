// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reading the records of slabs that the previous kernel has written:
 * include/linux/kho/abi/slab.h. The words are explained in kho_slab.h.
 *
 * Nothing in the records is trusted. Every chunk is claimed before it is read, and
 * every record is compared with the preserved memory map. A record that cannot be
 * true is refused, and the others are used. Records are copied, so a chunk goes
 * back to the page allocator when it was read.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/math64.h>
#include <linux/memory_hotplug.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "../../mm/mm_init.h"
#include "kho_slab.h"

/* Stands for "none" in kho_slab_in.last: it has no objects. */
static struct kho_old_slab kho_no_slab;

struct kho_slab_in kho_slab_in = {
	.mutex = __MUTEX_INITIALIZER(kho_slab_in.mutex),
	.copies = XARRAY_INIT(kho_slab_in.copies, 0),
	.lock = __SPIN_LOCK_UNLOCKED(kho_slab_in.lock),
	.last = &kho_no_slab,
};

/* How far the reading has come. Protected by kho_slab_in.mutex. */
static bool kho_slab_root_is_read;
static struct kho_slab_root kho_slab_unread;	/* chunks that are left to read */

/**
 * kho_slab_bad_record - Find out what is wrong with a record
 * @rec: A record with an address.
 * @chain: The chain that it is in.
 *
 * Return: The reason, or NULL if the record makes sense.
 */
const char *kho_slab_bad_record(const struct kho_slab_record *rec,
				unsigned int chain)
{
	const unsigned long *bitmap = (const unsigned long *)rec->bitmap;
	const unsigned int bits = kho_slab_chain_bits(chain);
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

/**
 * kho_slab_in_forget - Remove a slab that has nothing left to restore
 * @old: The slab.
 * @nr_pages: How many of its pages are in kho_slab_in.slabs.
 *
 * Context: Process context, under kho_slab_in.mutex.
 */
void kho_slab_in_forget(struct kho_old_slab *old, unsigned long nr_pages)
{
	lockdep_assert_held(&kho_slab_in.mutex);

	scoped_guard(spinlock, &kho_slab_in.lock) {
		atomic_set(&old->left, 0);
		if (kho_slab_in.last == old)
			WRITE_ONCE(kho_slab_in.last, &kho_no_slab);
	}
	while (nr_pages--)
		kho_pfn_map_erase(&kho_slab_in.slabs,
				  PHYS_PFN(old->rec.phys) + nr_pages);
	list_del(&old->adopted);
	kfree_rcu(old, rcu);
}

/* A slab must be shorter than 4 GiB: for @bytes, and @inverse with 32 bits. */
static_assert(MAX_PAGE_ORDER + PAGE_SHIFT < 32);

/*
 * Enter the slab of a record that makes sense. Return 0, -EEXIST if the slab
 * overlaps another one, -EINVAL if it has no pages, or -ENOMEM.
 */
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
	old->open_to = KHO_SLAB_CLOSED;
	INIT_LIST_HEAD(&old->adopted);

	for (unsigned long i = 0; i < 1UL << rec->order; i++) {
		err = kho_pfn_map_set(&kho_slab_in.slabs,
				      PHYS_PFN(rec->phys) + i, old);
		if (err) {
			kho_slab_in_forget(old, i);
			return err;
		}
	}
	return 0;
}

/*
 * Is the memory preserved as a slab? While struct pages are not initialised, ask
 * the preserved memory map instead of them: only kho_claim() initialises those
 * that are needed, and not every slab need be restored.
 */
static int __ref kho_slab_check_stamp(const struct kho_slab_record *rec)
{
	int err;

	if (deferred_pages_enabled())
		return kho_preserved_has(rec->phys, rec->order,
					 KHO_MEMDESC_SLAB) ? 0 : -ENOENT;
	err = kho_check_stamp(rec->phys, rec->order, KHO_MEMDESC_SLAB);
	/* A hardware error is reported when an object of the slab is restored. */
	return err == -EHWPOISON ? 0 : err;
}

/*
 * Read the record @rec. Set its address to 0, in the chunk, unless it was entered.
 * Return 0 or -ENOMEM.
 */
static int kho_slab_read_record(struct kho_slab_record *rec, unsigned int chain)
{
	const char *why = kho_slab_bad_record(rec, chain);
	int err = -EINVAL;

	if (!why) {
		/*
		 * The other kernel was stopped before it could set the first bit,
		 * or after it has cleared the last one.
		 */
		if (bitmap_empty((unsigned long *)rec->bitmap, rec->objects)) {
			rec->phys = 0;
			return 0;
		}
		err = kho_slab_check_stamp(rec);
		if (!err)
			err = kho_slab_in_enter(rec);
	}
	if (!err || err == -ENOMEM)
		return err;

	if (err == -ENOENT)
		why = "no slab that is preserved";
	else if (err == -EEXIST)
		why = "a second record of the same memory";
	else if (!why)
		why = "no address of a slab";
	kho_refuse(-EINVAL, "restore", rec->phys, rec->order, KHO_MEMDESC_SLAB,
		   why);
	rec->phys = 0;
	return 0;
}

/* Read the records of a chunk. 0, or -ENOMEM and then none of them is entered. */
static int kho_slab_read_records(struct kho_slab_chunk *chunk,
				 unsigned int chain)
{
	struct kho_slab_record *rec;
	struct kho_old_slab *old;
	unsigned int i;

	for (i = 0; i < chunk->top; i++) {
		cond_resched();
		rec = kho_slab_entry(chunk, chain, i);
		if (rec->phys && kho_slab_read_record(rec, chain))
			goto erase;
	}
	return 0;

erase:
	while (i--) {
		rec = kho_slab_entry(chunk, chain, i);
		if (!rec->phys)
			continue;
		old = kho_pfn_map_find(&kho_slab_in.slabs, PHYS_PFN(rec->phys));
		kho_slab_in_forget(old, 1UL << rec->order);
	}
	return -ENOMEM;
}

/*
 * Read the note of a copy. Set its address to 0, in the chunk, unless it was
 * entered. Return 0 or -ENOMEM.
 */
static int kho_slab_read_copy(struct kho_slab_copy *copy)
{
	int err = -EINVAL;

	/* An address of memory fits the value of an xarray. */
	if (pfn_valid(PHYS_PFN(copy->to)))
		err = xa_insert(&kho_slab_in.copies, copy->from,
				xa_mk_value(copy->to), GFP_KERNEL);
	if (!err || err == -ENOMEM)
		return err;

	kho_slab_refuse(-EINVAL, "restore", copy->from, err == -EBUSY ?
			"a second copy of the same object" :
			"a copy where there is no memory");
	copy->from = 0;
	return 0;
}

/* Read the copies of a chunk. 0, or -ENOMEM and then none of them is entered. */
static int kho_slab_read_copies(struct kho_slab_chunk *chunk)
{
	struct kho_slab_copy *copy;
	unsigned int i;

	for (i = 0; i < chunk->top; i++) {
		cond_resched();
		copy = kho_slab_entry(chunk, KHO_SLAB_COPIES, i);
		if (copy->from && kho_slab_read_copy(copy))
			goto erase;
	}
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
 * Read and free the chunk at *@link, and set *@link to the next one. Set it to 0
 * if this chunk cannot be used, because then the next one is not known either.
 * Return 0, or -ENOMEM and then nothing has changed.
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
	__free_page(page);
	return 0;
}

/* Read and free the root. Return 0, also if there is none, or -ENOMEM. */
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

	kho_slab_unread = *root;
	kho_init_claimed(page, KHO_MEMDESC_FOLIO);
	folio_put(page_folio(page));
	return 0;
}

/**
 * kho_slab_read - Read all records that were not read yet
 *
 * Context: Process context, may sleep, under kho_slab_in.mutex.
 * Return: 0, also if the previous kernel has no records, or %-ENOMEM; then call it
 *	again to read the rest.
 */
int kho_slab_read(void)
{
	int err;

	lockdep_assert_held(&kho_slab_in.mutex);

	if (!kho_slab_root_is_read) {
		err = kho_slab_read_root();
		if (err)
			return err;
		kho_slab_root_is_read = true;
	}

	for (unsigned int i = 0; i < KHO_SLAB_CHAINS; i++) {
		while (kho_slab_unread.chain[i]) {
			err = kho_slab_read_chunk(&kho_slab_unread.chain[i], i);
			if (err)
				return err;
		}
	}
	return 0;
}
