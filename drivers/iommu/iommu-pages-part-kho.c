// SPDX-License-Identifier: GPL-2.0-only
/*
 * Kexec handover of IOMMU tables that share a page: which tables of a page are
 * preserved, and which of them nobody has restored yet.
 *
 * include/linux/kho/abi/iommu_parts.h is what one kernel writes for the next. The
 * next kernel claims a chunk before it reads the chunk, and gives memory back that
 * turns out to be no chunk. It checks each record against the page. What it cannot
 * notice is a record with a wrong mask, or with another size that is possible.
 *
 * The first table that is restored brings its page back. The page then has
 * tables that are in use, tables that are still to be restored, and free ones,
 * which this kernel hands out.
 */

#define pr_fmt(fmt) "iommu: " fmt

#include <linux/array_size.h>
#include <linux/bitops.h>
#include <linux/bits.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/iommu_parts.h>
#include <linux/kho_memdesc.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "iommu-pages.h"
#include "iommu-pages-part.h"

#define PARTS_PER_CHUNK							\
	((PAGE_SIZE - sizeof(struct kho_iommu_parts_chunk)) /		\
	 sizeof(struct kho_iommu_parts))

/* How many records of a chunk are used. With debugging few, so that chunks are many. */
#define PARTS_USED							\
	(IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG) ? 16 : PARTS_PER_CHUNK)

/* A macro, so that each message has a rate limit of its own. */
#define part_refuse(err, phys, fmt, ...)				\
({									\
	const phys_addr_t __phys = (phys);				\
	const int __err = (err);					\
									\
	pr_warn_ratelimited("table at %pa: cannot " fmt " (%pe)\n",	\
			    &__phys, ##__VA_ARGS__, ERR_PTR(__err));	\
	__err;								\
})

/* The way out. */

/*
 * Chunks are not freed. Their number depends on the largest number of pages that
 * had preserved tables at the same time.
 */
static struct {
	struct mutex lock;	/* protects all of this, and the records */
	struct kho_iommu_parts_chunk *first;
	struct kho_iommu_parts *free;	/* linked by @parts, while @page is 0 */
} part_out = {
	.lock = __MUTEX_INITIALIZER(part_out.lock),
};

/*
 * With GFP_NOFS in effect: an allocation must not wait for a shrinker that
 * unpreserves a table, because the shrinker takes the lock.
 */
DEFINE_LOCK_GUARD_0(part_out, ({
			mutex_lock(&part_out.lock);
			_T->nofs = memalloc_nofs_save();
		    }), ({
			memalloc_nofs_restore(_T->nofs);
			mutex_unlock(&part_out.lock);
		    }), unsigned int nofs)

/* A preserved page without records. */
static struct kho_iommu_parts_chunk *part_new_chunk(void)
{
	/* Memory that was added after boot cannot be preserved. It is above 4 GiB. */
	static const gfp_t zones[] = { 0, GFP_DMA32 };
	struct kho_iommu_parts_chunk *chunk;
	int err = -EOPNOTSUPP;

	for (int i = 0; i < ARRAY_SIZE(zones) && err == -EOPNOTSUPP; i++) {
		chunk = iommu_alloc_pages_sz(GFP_KERNEL | zones[i], PAGE_SIZE);
		if (!chunk)
			return ERR_PTR(-ENOMEM);
		chunk->magic = KHO_IOMMU_PARTS_MAGIC;
		err = iommu_preserve_pages(chunk);
		if (!err)
			return chunk;
		iommu_free_pages(chunk);
	}
	return ERR_PTR(err);
}

static void part_use_chunk(struct kho_iommu_parts_chunk *chunk)
{
	for (unsigned int i = 0; i < PARTS_USED; i++) {
		chunk->records[i].parts = (unsigned long)part_out.free;
		part_out.free = &chunk->records[i];
	}
}

/*
 * The first chunk, which stays. Made without part_out.lock: subtrees come and go
 * under a lock whose other users allocate with GFP_KERNEL.
 */
static int part_new_first(void)
{
	static DEFINE_MUTEX(lock);
	struct kho_iommu_parts_chunk *chunk;
	int err;

	guard(mutex)(&lock);
	if (part_out.first)
		return 0;
	chunk = part_new_chunk();
	if (IS_ERR(chunk))
		return PTR_ERR(chunk);
	err = kho_add_subtree(KHO_IOMMU_PARTS_SUBTREE, chunk, PAGE_SIZE);
	if (err) {
		iommu_unpreserve_pages(chunk);
		iommu_free_pages(chunk);
		return err;
	}

	guard(part_out)();
	part_out.first = chunk;
	part_use_chunk(chunk);
	return 0;
}

/* A free record, or -EAGAIN if the first chunk is to be made. */
static struct kho_iommu_parts *part_get_record(void)
{
	struct kho_iommu_parts_chunk *chunk;
	struct kho_iommu_parts *rec;

	if (!part_out.first)
		return ERR_PTR(-EAGAIN);
	if (!part_out.free) {
		chunk = part_new_chunk();
		if (IS_ERR(chunk))
			return ERR_CAST(chunk);
		chunk->next = part_out.first->next;
		/* When the next kernel finds the chunk, @next must be there. */
		smp_store_release(&part_out.first->next, virt_to_phys(chunk));
		part_use_chunk(chunk);
	}
	rec = part_out.free;
	part_out.free = (void *)(unsigned long)rec->parts;
	return rec;
}

/* Preserve the page, for a first table of it. */
static int part_new_record(struct ioptdesc *whole, unsigned long parts)
{
	struct kho_iommu_parts *rec;
	int err;

	err = kho_ioptdesc_preserve(whole);
	if (err)
		return err;
	rec = part_get_record();
	if (IS_ERR(rec)) {
		kho_ioptdesc_unpreserve(whole);
		return PTR_ERR(rec);
	}

	rec->parts = parts;
	/* The next kernel reads a record that has an address: store that last. */
	smp_store_release(&rec->page,
			  page_to_phys(whole->page) | whole->part_shift);
	whole->shared->record = rec;
	WRITE_ONCE(whole->shared->preserved, parts);
	return 0;
}

static void part_free_record(struct ioptdesc *whole)
{
	struct kho_iommu_parts *rec = whole->shared->record;

	WRITE_ONCE(whole->shared->preserved, 0);
	whole->shared->record = NULL;
	/* In this order: a kexec can stop this CPU between the two. */
	WRITE_ONCE(rec->page, 0);
	WRITE_ONCE(rec->parts, (unsigned long)part_out.free);
	part_out.free = rec;
	kho_ioptdesc_unpreserve(whole);
}

static void part_set_record(struct ioptdesc *whole, unsigned long parts)
{
	WRITE_ONCE(whole->shared->record->parts, parts);
	WRITE_ONCE(whole->shared->preserved, parts);
}

static int part_preserve_locked(struct ioptdesc *part)
{
	struct ioptdesc *whole = page_ioptdesc(part->page);
	const unsigned long bit = BIT(part->part);

	guard(part_out)();
	if (!whole->shared->preserved)
		return part_new_record(whole, bit);
	if (whole->shared->preserved & bit)
		return part_refuse(-EEXIST, virt_to_phys(ioptdesc_address(part)),
				   "preserve, it is preserved already");
	part_set_record(whole, whole->shared->preserved | bit);
	return 0;
}

static int part_preserve(struct ioptdesc *part)
{
	int err;

	if (!kho_is_enabled())
		return -EOPNOTSUPP;
	if (iommu_part_is_free(part))
		return part_refuse(-EINVAL, virt_to_phys(ioptdesc_address(part)),
				   "preserve, it is free");

	err = part_preserve_locked(part);
	if (err != -EAGAIN)
		return err;
	err = part_new_first();
	return err ?: part_preserve_locked(part);
}

/**
 * iommu_preserve_part - Preserve a table that shares a page over a kexec
 * @part: its descriptor
 *
 * This is iommu_preserve_pages() for such a table.
 *
 * Context: Process context, may sleep.
 * Return: 0, %-EINVAL if the table is free or on a list, %-EEXIST if it is
 * preserved already, %-ENOMEM, or another error as listed in "Typed kexec
 * handover". Then nothing was changed.
 */
int iommu_preserve_part(struct ioptdesc *part)
{
	if (part->iopt_freelist_elm.prev)
		return part_refuse(-EINVAL, virt_to_phys(ioptdesc_address(part)),
				   "preserve, it is on a list or about to be freed");
	return part_preserve(part);
}

/**
 * iommu_unpreserve_part - Undo iommu_preserve_part()
 * @part: as it was preserved
 *
 * Context: Process context, may sleep, but does not allocate. A shrinker may call
 * this function if it is allowed to enter file systems (%__GFP_FS).
 */
void iommu_unpreserve_part(struct ioptdesc *part)
{
	struct ioptdesc *whole = page_ioptdesc(part->page);
	const unsigned long bit = BIT(part->part);
	unsigned long left;

	if (!kho_is_enabled())
		return;

	guard(part_out)();
	left = whole->shared->preserved & ~bit;
	if (left == whole->shared->preserved)
		part_refuse(-ENOENT, virt_to_phys(ioptdesc_address(part)),
			    "unpreserve, it is not preserved");
	else if (left)
		part_set_record(whole, left);
	else
		part_free_record(whole);
}

/**
 * iommu_preserve_parts - Preserve the tables of a list that share a page
 * @list: a list of tables. Those that have pages of their own are left out.
 *
 * Context: Process context, may sleep.
 * Return: as iommu_preserve_part(). After an error no table is preserved.
 */
int iommu_preserve_parts(struct iommu_pages_list *list)
{
	struct ioptdesc *iopt;
	int err;

	list_for_each_entry(iopt, &list->pages, iopt_freelist_elm) {
		if (!iopt->part_shift)
			continue;
		err = part_preserve(iopt);
		if (err)
			goto undo;
		cond_resched();
	}
	return 0;

undo:
	list_for_each_entry_continue_reverse(iopt, &list->pages,
					     iopt_freelist_elm) {
		if (iopt->part_shift)
			iommu_unpreserve_part(iopt);
		cond_resched();
	}
	return err;
}

/**
 * iommu_unpreserve_parts - Undo iommu_preserve_parts()
 * @list: a list of the same tables
 *
 * Context: Process context, may sleep, but does not allocate.
 */
void iommu_unpreserve_parts(struct iommu_pages_list *list)
{
	struct ioptdesc *iopt;

	list_for_each_entry(iopt, &list->pages, iopt_freelist_elm) {
		if (iopt->part_shift)
			iommu_unpreserve_part(iopt);
		cond_resched();
	}
}

/* The way in. */

/**
 * struct part_old - The tables of a page that are not restored
 * @left: a bit for each table that nobody has claimed
 * @claimed: a bit for each table that is claimed, but not committed
 * @whole: the descriptor of the page, or NULL before the first table is claimed
 * @shift: log2 of the size of a table
 */
struct part_old {
	unsigned long left;
	unsigned long claimed;
	struct ioptdesc *whole;
	u8 shift;
};

static struct {
	struct mutex lock;		/* protects all of this */
	struct xarray pages;		/* struct part_old, by pfn */
	phys_addr_t next;		/* chunk that is to be read, or 0 */
	struct ioptdesc *chunk;		/* the one that is being read, or NULL */
	unsigned int nr;		/* of its next record */
	bool started;			/* to read */
} part_in = {
	.lock = __MUTEX_INITIALIZER(part_in.lock),
	.pages = XARRAY_INIT(part_in.pages, 0),
};

bool iommu_no_old_parts;

/* Take the chunk at @phys, or leave the memory there as it is. */
static int part_take_chunk(phys_addr_t phys)
{
	struct kho_iommu_parts_chunk *chunk;
	struct ioptdesc *iopt;
	LIST_HEAD(list);
	int err;

	err = kho_ioptdesc_claim(phys, 0, &list);
	if (err)
		return err;

	iopt = list_first_entry(&list, struct ioptdesc, iopt_freelist_elm);
	chunk = ioptdesc_address(iopt);
	if (chunk->magic != KHO_IOMMU_PARTS_MAGIC) {
		kho_ioptdesc_abort(&list);
		return -EINVAL;
	}
	kho_ioptdesc_commit(&list);
	iopt->iopt_freelist_elm.prev = NULL;
	ioptdesc_account(iopt, 1);
	part_in.chunk = iopt;
	part_in.nr = 0;
	return 0;
}

/* What is wrong with a record, or NULL. */
static const char *part_damaged(const struct kho_iommu_parts *rec)
{
	const unsigned int shift = offset_in_page(rec->page);

	if (shift >= PAGE_SHIFT || PAGE_SIZE >> shift > BITS_PER_LONG)
		return "a page is not divided like that";
	if (!rec->parts)
		return "it has no tables";
	if (rec->parts & ~GENMASK_U64((PAGE_SIZE >> shift) - 1, 0))
		return "it has tables beyond the page";
	return NULL;
}

/* -ENOMEM, or 0. A record that is damaged is named, and left out. */
static int part_read_record(const struct kho_iommu_parts *rec)
{
	const phys_addr_t phys = rec->page & PAGE_MASK;
	struct part_old *old;
	const char *why;
	int err;

	if (!rec->page)
		return 0;
	why = part_damaged(rec);
	if (why)
		goto leave_out;

	/* A page with a hardware error is found when it is to be restored. */
	err = kho_ioptdesc_check_shared(phys);
	if (err == -ENOMEM)
		return err;
	why = "no such page is preserved";
	if (err == -ENOENT)
		goto leave_out;

	old = kzalloc_obj(*old);
	if (!old)
		return -ENOMEM;
	old->shift = offset_in_page(rec->page);
	old->left = rec->parts;
	err = xa_insert(&part_in.pages, PHYS_PFN(phys), old, GFP_KERNEL);
	if (!err)
		return 0;
	kfree(old);
	if (err != -EBUSY)
		return err;
	why = "the page has another one";

leave_out:
	pr_warn_ratelimited("record of tables at %pa is left out: %s (%pe)\n",
			    &phys, why, ERR_PTR(-EINVAL));
	return 0;
}

/*
 * Read all records, or go on where there was no memory. Returns 0 or -ENOMEM.
 * Tables whose records cannot be read stay preserved.
 */
static int part_read(void)
{
	struct kho_iommu_parts_chunk *chunk;
	int err;

	if (!part_in.started) {
		part_in.started = true;
		if (kho_retrieve_subtree(KHO_IOMMU_PARTS_SUBTREE, &part_in.next,
					 NULL))
			part_in.next = 0;
	}

	while (part_in.chunk || part_in.next) {
		if (!part_in.chunk) {
			err = part_take_chunk(part_in.next);
			if (err == -ENOMEM)
				return err;
			if (err) {
				pr_err("cannot read records of tables at %pa (%pe): the rest stay preserved\n",
				       &part_in.next, ERR_PTR(err));
				part_in.next = 0;
				break;
			}
		}

		chunk = ioptdesc_address(part_in.chunk);
		for (; part_in.nr < PARTS_PER_CHUNK; part_in.nr++) {
			err = part_read_record(&chunk->records[part_in.nr]);
			if (err)
				return err;
		}
		part_in.next = chunk->next;
		part_in.chunk = NULL;
		iommu_free_pages(chunk);
		cond_resched();
	}
	return 0;
}

/* Give the tables of a page that are not to be restored to this kernel. */
static int part_adopt(struct part_old *old, unsigned long pfn)
{
	struct ioptdesc *whole;

	whole = iommu_adopt_parts(PFN_PHYS(pfn), old->shift, old->left);
	if (IS_ERR(whole))
		return PTR_ERR(whole);
	old->whole = whole;
	return 0;
}

/**
 * __iommu_claim_part - Take a preserved table that shares a page
 * @phys: physical address of the table
 * @size: its size in bytes, or 0 for any
 *
 * Context: Process context, may sleep.
 * Return: its descriptor, or NULL if no such table is preserved in this page.
 * ERR_PTR(-EINVAL) if the tables there have another size, or none begins at
 * @phys; ERR_PTR(-ENOENT) if the table is not preserved, or is restored or
 * claimed already; ERR_PTR(-ENOMEM), or an error as for iommu_restore_pages().
 */
struct ioptdesc *__iommu_claim_part(phys_addr_t phys, size_t size)
{
	const unsigned long pfn = PHYS_PFN(phys);
	struct ioptdesc *part;
	struct part_old *old;
	unsigned int nr;
	int err;

	guard(mutex)(&part_in.lock);
	err = part_read();
	if (err)
		return ERR_PTR(err);

	if (xa_empty(&part_in.pages))
		WRITE_ONCE(iommu_no_old_parts, true);

	old = xa_load(&part_in.pages, pfn);
	if (!old)
		return NULL;
	if ((size && iommu_part_shift(size) != old->shift) ||
	    !IS_ALIGNED(phys, 1UL << old->shift))
		return ERR_PTR(part_refuse(-EINVAL, phys,
					   "restore, the tables there have %lu bytes",
					   1UL << old->shift));
	nr = offset_in_page(phys) >> old->shift;
	if (!(old->left & BIT(nr)))
		return ERR_PTR(part_refuse(-ENOENT, phys,
					   "restore, it is not preserved, or already restored"));
	/* Also if the page got the error after its first table was restored. */
	if (old->whole && PageHWPoison(old->whole->page))
		return ERR_PTR(part_refuse(-EHWPOISON, phys,
					   "restore, its page has a hardware error"));
	if (!old->whole) {
		err = part_adopt(old, pfn);
		if (err)
			return ERR_PTR(err);
	}

	old->left &= ~BIT(nr);
	old->claimed |= BIT(nr);
	part = &old->whole->parts[nr];
	part->incoherent = 0;
	part->iopt_freelist_elm = (struct list_head){};
	return part;
}

/**
 * iommu_know_parts - Read the records of the previous kernel
 *
 * The records are memory that was handed over, too. They must be read before they are
 * forwarded as what they are.
 *
 * Context: Process context, may sleep.
 * Return: 0 or %-ENOMEM.
 */
int iommu_know_parts(void)
{
	guard(mutex)(&part_in.lock);
	return part_read();
}

/**
 * iommu_forward_parts - Hand tables over to the next kernel that nobody restores
 * @phys: physical address of the page that they share
 *
 * The page becomes memory in use of this kernel, as if another one of its tables had
 * been restored. The tables are preserved until they are.
 *
 * Context: Process context, may sleep. After iommu_know_parts().
 * Return: 0; %-ENOENT if the page has no such tables; %-EHWPOISON; %-ENOMEM, or
 * another error of iommu_preserve_part(), and then some can be preserved.
 */
int iommu_forward_parts(phys_addr_t phys)
{
	const unsigned long pfn = PHYS_PFN(phys);
	struct part_old *old;
	unsigned long left;
	unsigned int nr;
	int err;

	guard(mutex)(&part_in.lock);
	old = xa_load(&part_in.pages, pfn);
	if (!old || !old->left)
		return -ENOENT;
	if (!old->whole) {
		err = part_adopt(old, pfn);
		if (err)
			return err;
	}
	if (PageHWPoison(old->whole->page))
		return -EHWPOISON;

	left = old->left & ~READ_ONCE(old->whole->shared->preserved);
	for_each_set_bit(nr, &left, BITS_PER_LONG) {
		err = part_preserve(&old->whole->parts[nr]);
		if (err)
			return err;
	}
	return 0;
}

/**
 * iommu_commit_part - Restore a table that was claimed
 * @part: from iommu_claim_part()
 *
 * If the table was forwarded, it is not handed over any more.
 *
 * Context: Process context, may sleep.
 */
void iommu_commit_part(struct ioptdesc *part)
{
	const unsigned long pfn = page_to_pfn(part->page);
	struct part_old *old;

	guard(mutex)(&part_in.lock);
	old = xa_load(&part_in.pages, pfn);
	if (READ_ONCE(old->whole->shared->preserved) & BIT(part->part))
		iommu_unpreserve_part(part);
	old->claimed &= ~BIT(part->part);
	/* This was the last one. The page lives on like any other. */
	if (!old->left && !old->claimed) {
		xa_erase(&part_in.pages, pfn);
		kfree(old);
	}
}

/* The first table that waits to be restored in a page in use, or 0. */
static phys_addr_t part_first_left(unsigned long pfn)
{
	struct part_old *old;

	guard(mutex)(&part_in.lock);
	old = xa_load(&part_in.pages, pfn);
	if (!old || !old->whole || !old->left)
		return 0;
	return PFN_PHYS(pfn) + (__ffs(old->left) << old->shift);
}

/**
 * iommu_release_parts - Free tables that nobody restores, of a page in use
 * @phys: physical address of the page
 *
 * A page of which no table was restored is not in use.
 *
 * Context: Process context, may sleep.
 * Return: how many tables were freed.
 */
unsigned int iommu_release_parts(phys_addr_t phys)
{
	unsigned int nr = 0;
	struct ioptdesc *part;
	phys_addr_t table;

	while ((table = part_first_left(PHYS_PFN(phys)))) {
		part = __iommu_claim_part(table, 0);
		if (IS_ERR_OR_NULL(part))
			break;
		iommu_commit_part(part);
		iommu_free_pages(ioptdesc_address(part));
		nr++;
	}
	return nr;
}

/**
 * iommu_unclaim_part - Undo iommu_claim_part()
 * @part: from iommu_claim_part(); on no list any more
 *
 * Context: Process context, may sleep.
 */
void iommu_unclaim_part(struct ioptdesc *part)
{
	struct part_old *old;

	guard(mutex)(&part_in.lock);
	old = xa_load(&part_in.pages, page_to_pfn(part->page));
	old->claimed &= ~BIT(part->part);
	old->left |= BIT(part->part);
}
