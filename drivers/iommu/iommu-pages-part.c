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
#include <linux/gfp.h>
#include <linux/hash.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/memdesc.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "iommu-pages-part.h"

/**
 * struct part_key - What the tables in one page have in common
 * @objcg: who is charged for the page, or NULL. A page is charged as a whole, so
 *	it must not have tables of somebody who does not pay for it.
 * @nid: the node that was asked for. The page may come from another one, where
 *	tables had to come from even if each of them was a page.
 * @zone: the highest zone that was allowed
 * @shift: log2 of the size of a table
 */
struct part_key {
	struct obj_cgroup *objcg;
	int nid;
	u8 zone;
	u8 shift;
};

/**
 * struct ioptdesc_shared - A page that tables share
 * @node: in the bucket, while a part is free
 * @bucket: the bucket of @key, the lock of which protects @node and @free
 * @whole: the descriptor of the page
 * @free: a bit for each part
 * @key: for whom these parts are
 */
struct ioptdesc_shared {
	struct hlist_node node;
	struct part_bucket *bucket;
	struct ioptdesc *whole;
	unsigned long free;
	struct part_key key;
};

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

/* A page with free parts, which are for requests with the same @key. */
static noinline struct ioptdesc_shared *
part_new_page(struct part_key *key, gfp_t gfp)
{
	const unsigned int nr = PAGE_SIZE >> key->shift;
	const gfp_t meta = part_meta_gfp(gfp);
	struct ioptdesc_shared *shared;
	struct ioptdesc *whole;

	shared = kmalloc_node(sizeof(*shared), meta, key->nid);
	if (!shared)
		return NULL;
	/* The part is cleared when it is taken, the others need not be. */
	whole = memdesc_alloc_node(gfp & ~__GFP_ZERO, 0, key->nid,
				   struct ioptdesc);
	if (!whole)
		goto free_shared;
	whole->parts = kcalloc_node(nr, sizeof(*whole->parts), meta, key->nid);
	if (!whole->parts)
		goto free_whole;

	whole->part_shift = key->shift;
	whole->shared = shared;
	for (unsigned int i = 0; i < nr; i++) {
		whole->parts[i].page = whole->page;
		whole->parts[i].part_shift = key->shift;
		whole->parts[i].part = i;
	}

	shared->whole = whole;
	shared->free = GENMASK(nr - 1, 0);
	/* The task may have moved to another memory cgroup meanwhile. */
	key->objcg = part_page_objcg(whole->page);
	shared->key = *key;
	shared->bucket = part_bucket(key);
	ioptdesc_account(whole, 1);
	return shared;

free_whole:
	memdesc_free(whole);
free_shared:
	kfree(shared);
	return NULL;
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
		.shift = order_base_2(max_t(size_t, size, IOMMU_MIN_PART)),
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
	const unsigned long all = GENMASK((PAGE_SIZE >> part->part_shift) - 1, 0);
	struct part_bucket *bucket = shared->bucket;
	unsigned long flags, free;

	if (want_init_on_free())
		memset(ioptdesc_address(part), 0, 1UL << part->part_shift);

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
