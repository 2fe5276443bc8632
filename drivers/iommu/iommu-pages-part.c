// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOMMU tables that are smaller than a page. Such tables share a page, but each
 * of them has a descriptor of its own: it can be on a list until the IOTLB is
 * flushed, wait for RCU, and be incoherent, whatever its neighbours do.
 *
 * A page has tables of one size and for one kind of request, the key. Pages that
 * have a free part are found by their key in a hash table. A page goes back to
 * the page allocator together with its last table.
 */
#include <linux/bits.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/hash.h>
#include <linux/kho_memdesc.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/memdesc.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "iommu-pages-part.h"

/* Pages that have a free part, and whose keys have the same hash. */
struct part_bucket {
	spinlock_t lock;	/* protects the list, and each page's @free */
	struct hlist_head pages;
};

#define PART_BUCKET_BITS	6

static struct part_bucket part_buckets[1 << PART_BUCKET_BITS] = {
	[0 ... (1 << PART_BUCKET_BITS) - 1] = {
		.lock = __SPIN_LOCK_UNLOCKED(part_buckets.lock),
	},
};

/*
 * How many pages of a bucket a request looks at. Pages with other keys could be
 * many. If none of the first ones is right, a new page comes first.
 */
#define PART_MAX_SEARCH		8

static_assert(PAGE_SIZE / IOMMU_MIN_PART <= BITS_PER_LONG);
static_assert(PAGE_SIZE / IOMMU_MIN_PART <= 1 << BITS_PER_TYPE(u8));

/* The flags for what is not part of the page: see GFP_MEMDESC_OWN. */
static gfp_t part_meta_gfp(gfp_t gfp)
{
	return gfp & ~(GFP_ZONEMASK | __GFP_ACCOUNT | __GFP_COMP | __GFP_ZERO);
}

static struct part_bucket *part_bucket(const struct part_key *key)
{
	unsigned long val = (unsigned long)key->objcg;

	val += (unsigned long)key->nid << 16 | key->zone << 8 | key->shift;
	return &part_buckets[hash_long(val, PART_BUCKET_BITS)];
}

#ifdef CONFIG_MEMCG
static struct obj_cgroup *part_current_objcg(gfp_t gfp)
{
	struct obj_cgroup *objcg;

	if (!(gfp & __GFP_ACCOUNT) || !memcg_kmem_online())
		return NULL;
	objcg = current_obj_cgroup();
	return objcg && !obj_cgroup_is_root(objcg) ? objcg : NULL;
}

static struct obj_cgroup *part_page_objcg(struct page *page)
{
	return folio_objcg(page_folio(page));
}
#else
static struct obj_cgroup *part_current_objcg(gfp_t gfp)
{
	return NULL;
}

static struct obj_cgroup *part_page_objcg(struct page *page)
{
	return NULL;
}
#endif

static bool part_fits(const struct ioptdesc_shared *shared,
		      const struct part_key *key, gfp_t gfp)
{
	if (shared->key.objcg != key->objcg || shared->key.nid != key->nid ||
	    shared->key.zone != key->zone || shared->key.shift != key->shift)
		return false;
	return likely(!(gfp & __GFP_THISNODE)) ||
	       page_to_nid(shared->whole->page) == key->nid;
}

/* Called with the lock of the bucket held. */
static struct ioptdesc_shared *
part_find_page(struct part_bucket *bucket, const struct part_key *key,
	       gfp_t gfp)
{
	unsigned int left = PART_MAX_SEARCH;
	struct ioptdesc_shared *shared;

	hlist_for_each_entry(shared, &bucket->pages, node) {
		if (part_fits(shared, key, gfp))
			return shared;
		if (!--left)
			break;
	}
	return NULL;
}

static struct ioptdesc *part_take(struct ioptdesc_shared *shared)
{
	struct ioptdesc *part = &shared->whole->parts[__ffs(shared->free)];

	shared->free &= shared->free - 1;
	part->incoherent = 0;
	part->iopt_freelist_elm = (struct list_head){};
	return part;
}

/* What there has to be beside a page, before there is the page. */
static struct ioptdesc_shared *part_alloc_shared(unsigned int shift, gfp_t gfp,
						 int nid, struct ioptdesc **parts)
{
	const gfp_t meta = part_meta_gfp(gfp);
	struct ioptdesc_shared *shared;

	shared = kzalloc_node(sizeof(*shared), meta, nid);
	if (!shared)
		return NULL;
	*parts = kcalloc_node(PAGE_SIZE >> shift, sizeof(**parts), meta, nid);
	if (*parts)
		return shared;
	kfree(shared);
	return NULL;
}

/* Divide a page into parts, of which those in @free are free. */
static void part_divide(struct ioptdesc *whole, struct ioptdesc_shared *shared,
			struct ioptdesc *parts, const struct part_key *key,
			unsigned long free)
{
	for (unsigned int i = 0; i < PAGE_SIZE >> key->shift; i++) {
		parts[i].page = whole->page;
		parts[i].part_shift = key->shift;
		parts[i].part = i;
	}
	whole->parts = parts;
	whole->part_shift = key->shift;
	whole->shared = shared;

	shared->whole = whole;
	shared->free = free;
	shared->key = *key;
	shared->bucket = part_bucket(key);
	ioptdesc_account(whole, 1);
}

static unsigned long part_all(unsigned int shift)
{
	return GENMASK((PAGE_SIZE >> shift) - 1, 0);
}

/* A page with free parts, which are for requests with the same @key. */
static noinline struct ioptdesc_shared *
part_new_page(struct part_key *key, gfp_t gfp)
{
	struct ioptdesc_shared *shared;
	struct ioptdesc *whole, *parts;

	shared = part_alloc_shared(key->shift, gfp, key->nid, &parts);
	if (!shared)
		return NULL;
	/* The part is cleared when it is taken, the others need not be. */
	whole = memdesc_alloc_node(gfp & ~__GFP_ZERO, 0, key->nid,
				   struct ioptdesc);
	if (!whole) {
		kfree(parts);
		kfree(shared);
		return NULL;
	}
	/* The task may have moved to another memory cgroup meanwhile. */
	key->objcg = part_page_objcg(whole->page);
	part_divide(whole, shared, parts, key, part_all(key->shift));
	return shared;
}

static noinline void part_free_page(struct ioptdesc_shared *shared)
{
	struct ioptdesc *whole = shared->whole;

	ioptdesc_account(whole, -1);
	kfree(whole->parts);
	kfree(shared);
	memdesc_free(whole);
}

/**
 * iommu_alloc_part - Allocate a zeroed part of a page
 * @nid: preferred node, not NUMA_NO_NODE
 * @gfp: GFP flags
 * @size: not more than PAGE_SIZE / 2
 *
 * This is iommu_alloc_pages_node_sz() for such a @size.
 *
 * Context: Any context that @gfp allows, but NMI.
 * Return: The address of the memory, or NULL when there is none.
 */
void *iommu_alloc_part(int nid, gfp_t gfp, size_t size)
{
	struct part_key key = {
		.objcg = part_current_objcg(gfp),
		.nid = nid,
		.zone = gfp_zone(gfp),
		.shift = iommu_part_shift(size),
	};
	struct part_bucket *bucket = part_bucket(&key);
	struct ioptdesc *part = NULL;
	struct ioptdesc_shared *shared;
	unsigned long flags;
	void *virt;

	/* Complain of a wrong context even if no page has to be allocated. */
	might_alloc(gfp);

	spin_lock_irqsave(&bucket->lock, flags);
	shared = part_find_page(bucket, &key, gfp);
	if (shared) {
		part = part_take(shared);
		if (!shared->free)
			hlist_del(&shared->node);
	}
	spin_unlock_irqrestore(&bucket->lock, flags);

	if (!part) {
		shared = part_new_page(&key, gfp);
		if (!shared)
			return NULL;
		/* Take the part first: others may take those that are left. */
		part = part_take(shared);
		bucket = shared->bucket;
		spin_lock_irqsave(&bucket->lock, flags);
		hlist_add_head(&shared->node, &bucket->pages);
		spin_unlock_irqrestore(&bucket->lock, flags);
	}

	virt = ioptdesc_address(part);
	memset(virt, 0, 1UL << key.shift);
	return virt;
}

/**
 * iommu_free_part - Free a part of a page
 * @part: its descriptor; on no list any more
 *
 * Context: Any context but NMI.
 */
void iommu_free_part(struct ioptdesc *part)
{
	struct ioptdesc_shared *shared = page_ioptdesc(part->page)->shared;
	const unsigned long bit = BIT(part->part);
	const unsigned long all = part_all(part->part_shift);
	struct part_bucket *bucket = shared->bucket;
	unsigned long flags, free;

	if (want_init_on_free())
		memset(ioptdesc_address(part), 0, 1UL << part->part_shift);

#ifdef CONFIG_KEXEC_HANDOVER_DEBUG
	WARN_ONCE(READ_ONCE(shared->preserved) & bit,
		  "table is freed, but not unpreserved\n");
#endif
	spin_lock_irqsave(&bucket->lock, flags);
	free = shared->free;
	if (WARN_ON_ONCE(free & bit)) {
		spin_unlock_irqrestore(&bucket->lock, flags);
		return;
	}
	if (!free)
		hlist_add_head(&shared->node, &bucket->pages);
	free |= bit;
	shared->free = free;
	if (free == all)
		hlist_del(&shared->node);
	spin_unlock_irqrestore(&bucket->lock, flags);

	if (free == all)
		part_free_page(shared);
}

#ifdef CONFIG_KEXEC_HANDOVER
/**
 * iommu_part_is_free - Is this a part that nobody has allocated?
 * @part: its descriptor
 *
 * Context: Any context but NMI.
 * Return: whether it is.
 */
bool iommu_part_is_free(struct ioptdesc *part)
{
	struct ioptdesc_shared *shared = page_ioptdesc(part->page)->shared;

	guard(spinlock_irqsave)(&shared->bucket->lock);
	return shared->free & BIT(part->part);
}

/**
 * iommu_adopt_parts - Restore a page that tables shared in the previous kernel
 * @phys: physical address of the page
 * @shift: log2 of the size of a table
 * @used: a bit for each table that this kernel must not hand out
 *
 * Ordinary requests for memory of the page's node get the other parts.
 *
 * Context: Process context, may sleep.
 * Return: the descriptor of the page, or an error like iommu_restore_pages().
 */
struct ioptdesc *iommu_adopt_parts(phys_addr_t phys, unsigned int shift,
				   unsigned long used)
{
	struct part_key key = { .shift = shift, .zone = gfp_zone(GFP_KERNEL) };
	struct ioptdesc *whole, *parts;
	struct ioptdesc_shared *shared;

	shared = part_alloc_shared(shift, GFP_KERNEL, NUMA_NO_NODE, &parts);
	if (!shared)
		return ERR_PTR(-ENOMEM);
	whole = kho_ioptdesc_restore_shared(phys);
	if (IS_ERR(whole)) {
		kfree(parts);
		kfree(shared);
		return whole;
	}

	key.nid = page_to_nid(whole->page);
	part_divide(whole, shared, parts, &key, part_all(shift) & ~used);
	guard(spinlock_irqsave)(&shared->bucket->lock);
	if (shared->free)
		hlist_add_head(&shared->node, &shared->bucket->pages);
	return whole;
}
#endif
