// SPDX-License-Identifier: GPL-2.0
/*
 * Memory descriptors: allocate memory together with the typed descriptor that
 * manages it, tell which type a page belongs to, and free by that type.
 *
 * See Documentation/mm/memdesc.rst.
 */
#include <linux/export.h>
#include <linux/kmemleak.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <net/page_pool/helpers.h>
#include "memdesc.h"

static_assert(NR_MEMDESC_TYPES <= 1 << MEMDESC_TYPE_BITS);
#ifdef MEMDESC_TYPE_IN_POINTER
static_assert(__alignof__(struct page) >= 1 << MEMDESC_TYPE_BITS);
static_assert(sizeof(memdesc_t) == sizeof(unsigned long));
#endif

/*
 * What is laid over struct page must not be larger. A folio covers the first
 * few pages; what lies beyond the first is used only where there are that many.
 */
static_assert(offsetof(struct folio, page) == 0);
static_assert(sizeof(struct slab) <= sizeof(struct page));
static_assert(sizeof(struct ptdesc) <= sizeof(struct page));
static_assert(sizeof(struct netmem_desc) <= sizeof(struct page));

/* The page type is the same word in each of them, and in the right place. */
static_assert(offsetof(struct slab, __page_type) ==
	      offsetof(struct page, page_type));
static_assert(offsetof(struct ptdesc, __page_type) ==
	      offsetof(struct page, page_type));

/* Of the types that have descriptors of their own. */
static struct kmem_cache *memdesc_caches[NR_MEMDESC_TYPES] __ro_after_init;

/* Called as soon as there are caches: interrupt remapping needs tables early. */
void __init memdesc_init(void)
{
	/* Nobody but the owner looks at a descriptor: no need to keep it apart. */
	struct kmem_cache_args args = {
		.align = 1 << MEMDESC_TYPE_BITS,
		.use_freeptr_offset = true,
		.freeptr_offset = sizeof(struct memdesc_own),
	};

	for (int type = 0; type < NR_MEMDESC_TYPES; type++) {
		const struct memdesc_info *info = &memdesc_table[type];

		if (!info->own)
			continue;
		/* page_memdesc() returns descriptors that may have been freed. */
		memdesc_caches[type] =
			kmem_cache_create(info->name, info->size, &args,
					  SLAB_TYPESAFE_BY_RCU | SLAB_PANIC);
	}
}

/* What says how to get memory. The rest says where and which, or is __GFP_ZERO. */
#define GFP_MEMDESC_OWN	(GFP_RECLAIM_MASK | GFP_CONSTRAINT_MASK | __GFP_ACCOUNT)

static __always_inline void *__memdesc_alloc_own(gfp_t gfp, int nid,
						 enum memdesc_type type)
{
	void *desc = kmem_cache_alloc_node_noprof(memdesc_caches[type],
						  gfp & GFP_MEMDESC_OWN, nid);

	if (unlikely(!desc))
		return NULL;

	/* Where the type is a constant, __GFP_ZERO would be slower. */
	memset(desc, 0, memdesc_table[type].size);
	/*
	 * What points to it is in a struct page with a refcount of 0, which
	 * kmemleak does not look into. SLAB_NOLEAKTRACE would do the same for
	 * the whole cache, but such caches have no sheaves: 300 instructions.
	 */
	kmemleak_not_leak(desc);
	return desc;
}

/**
 * memdesc_alloc_own - Allocate a descriptor which is still without pages
 * @gfp: GFP flags of the pages that it is for
 * @nid: preferred node, or NUMA_NO_NODE
 * @type: a type with descriptors of its own
 *
 * Context: Any context that @gfp allows.
 * Return: The descriptor, zeroed, or NULL when there is no memory.
 */
void *memdesc_alloc_own_noprof(gfp_t gfp, int nid, enum memdesc_type type)
{
	return __memdesc_alloc_own(gfp, nid, type);
}

/**
 * memdesc_free_own - Free a descriptor that no pages are attached to
 * @desc: the descriptor
 * @type: its type
 *
 * Context: Any context but NMI.
 */
void memdesc_free_own(void *desc, enum memdesc_type type)
{
	kmem_cache_free(memdesc_caches[type], desc);
}

/**
 * memdesc_type_name - The name of a type, for messages
 * @type: the type
 *
 * Context: Any context.
 * Return: A constant string, also for a @type that does not exist.
 */
const char *memdesc_type_name(enum memdesc_type type)
{
	return type < NR_MEMDESC_TYPES ? memdesc_table[type].name : "invalid";
}
EXPORT_SYMBOL_GPL(memdesc_type_name);

/* One that overlays struct page cannot exist before the pages do. */
static bool memdesc_may_alloc(memdesc_t md)
{
	return !WARN_ON_ONCE(!memdesc_ptr(md) ==
			     memdesc_table[memdesc_type(md)].own);
}

static struct page *memdesc_attach_own(struct page *page, unsigned int order,
				       memdesc_t md)
{
	if (page && memdesc_table[memdesc_type(md)].own)
		memdesc_attach(page, order, memdesc_ptr(md), memdesc_type(md));
	return page;
}

/* alloc_page_desc() where the type is not known at compile time. */
struct page *__alloc_page_desc_noprof(gfp_t gfp, unsigned int order,
				      memdesc_t md)
{
	return alloc_page_desc_node_noprof(gfp, order, NUMA_NO_NODE, md);
}
EXPORT_SYMBOL_GPL(__alloc_page_desc_noprof);

/**
 * alloc_page_desc_node - Allocate pages of a given type from a node
 * @gfp: as for alloc_page_desc()
 * @order: log2 of the number of pages
 * @nid: preferred node, online; NUMA_NO_NODE for the task's memory policy
 * @md: as for alloc_page_desc()
 *
 * Context: Any context that @gfp allows.
 * Return: The first page, or NULL when there is no memory.
 */
struct page *alloc_page_desc_node_noprof(gfp_t gfp, unsigned int order,
					 int nid, memdesc_t md)
{
	struct page *page;

	if (!memdesc_may_alloc(md))
		return NULL;

	page = memdesc_alloc_pages_noprof(gfp, order, nid, memdesc_type(md));
	return memdesc_attach_own(page, order, md);
}
EXPORT_SYMBOL_GPL(alloc_page_desc_node_noprof);

/**
 * alloc_page_desc_nolock - Try to allocate pages of a given type, from anywhere
 * @gfp: __GFP_ACCOUNT or 0, see alloc_pages_nolock()
 * @order: log2 of the number of pages
 * @nid: preferred node, or NUMA_NO_NODE for the nearest one
 * @md: as for alloc_page_desc()
 *
 * The pages are zeroed and compound, whatever the type.
 *
 * Context: Any context, NMI included, where RCU is watching.
 * Return: The first page, or NULL, which may well happen.
 */
struct page *alloc_page_desc_nolock_noprof(gfp_t gfp, unsigned int order,
					   int nid, memdesc_t md)
{
	struct page *page;

	if (!memdesc_may_alloc(md))
		return NULL;

	page = memdesc_alloc_pages_nolock_noprof(gfp, order, nid,
						 memdesc_type(md));
	return memdesc_attach_own(page, order, md);
}
EXPORT_SYMBOL_GPL(alloc_page_desc_nolock_noprof);

/* To be called with a constant type. */
static __always_inline void *memdesc_alloc_with_own(gfp_t gfp,
						    unsigned int order, int nid,
						    enum memdesc_type type)
{
	void *desc = __memdesc_alloc_own(gfp, nid, type);
	struct page *page;

	if (unlikely(!desc))
		return NULL;

	page = memdesc_alloc_pages_noprof(gfp, order, nid, type);
	if (unlikely(!page)) {
		memdesc_free_own(desc, type);
		return NULL;
	}

	memdesc_attach(page, order, desc, type);
	return desc;
}

/**
 * __memdesc_alloc_node - memdesc_alloc_node() with the type as an argument
 * @gfp: GFP flags; __GFP_COMP is implied
 * @order: log2 of the number of pages
 * @nid: preferred node, online; NUMA_NO_NODE for the task's memory policy
 * @size: bytes of the descriptor, which must be what @type has
 * @type: a type that has a descriptor
 *
 * Context: Any context that @gfp allows.
 * Return: The descriptor, or NULL when there is no memory or @size is wrong.
 */
void *__memdesc_alloc_node_noprof(gfp_t gfp, unsigned int order, int nid,
				  size_t size, enum memdesc_type type)
{
	if (WARN_ONCE(type >= NR_MEMDESC_TYPES || !size ||
		      size != memdesc_table[type].size,
		      "memdesc: %s descriptor of %zu bytes\n",
		      memdesc_type_name(type), size))
		return NULL;

	warn_if_node_offline(nid, gfp);

	if (type == MEMDESC_IOPTDESC)
		return memdesc_alloc_with_own(gfp, order, nid,
					      MEMDESC_IOPTDESC);

	return memdesc_alloc_pages_noprof(gfp, order, nid, type);
}
EXPORT_SYMBOL_GPL(__memdesc_alloc_node_noprof);

/* The switch stands for a function pointer per type, and is faster. */
static void free_pages_of_type(struct page *page, enum memdesc_type type)
{
	switch (type) {
	case MEMDESC_FOLIO:
		folio_put((struct folio *)page);
		return;
	case MEMDESC_SLAB:
	case MEMDESC_LARGE_KMALLOC:
	case MEMDESC_IOPTDESC:
		memdesc_free_frozen(page, compound_order(page), type);
		return;
	case MEMDESC_PTDESC:
		pagetable_free(page_ptdesc(page));
		return;
	case MEMDESC_NETMEM:
		/* Not yet or no more in a pool, it is bare pages. */
		if (page_pool_page_is_pp(page)) {
			page_pool_put_full_page(page->pp, page, false);
			return;
		}
		break;
	case MEMDESC_PAGES:
	case NR_MEMDESC_TYPES:
		break;
	}

	__free_pages(page, compound_order(page));
}

/* memdesc_free() has made sure that the type is that of the pointer. */
void __memdesc_free(void *desc, enum memdesc_type type)
{
	if (type == MEMDESC_IOPTDESC) {
		const struct memdesc_own own = *(struct memdesc_own *)desc;

		memdesc_free_frozen(own.page, own.order, MEMDESC_IOPTDESC);
		memdesc_free_own(desc, MEMDESC_IOPTDESC);
		return;
	}

	free_pages_of_type(desc, type);
}
EXPORT_SYMBOL_GPL(__memdesc_free);

/**
 * free_page_desc - Free the pages of an allocation by their type
 * @page: the first page
 *
 * The counterpart of alloc_page_desc(). Drops the caller's reference if the
 * type has a refcount, the memory goes with the last one. A frozen type is
 * freed at once. The caller has undone what it did after the allocation:
 * accounting, constructors, signatures. A descriptor that does not overlay
 * &struct page is not freed with the pages, that is what memdesc_free() does.
 *
 * The order is that of a compound page. A bare block of more than one page
 * that is not compound does not record how large it is: give that back with
 * __free_pages(page, order), here only its first page would be freed.
 *
 * Context: Any context but NMI; not under a raw spinlock. Memory of a page pool
 * not with interrupts disabled.
 */
void free_page_desc(struct page *page)
{
	enum memdesc_type type = page_memdesc_type(page);

	VM_WARN_ON_ONCE_PAGE(PageTail(page), page);
	free_pages_of_type(page, type);
}
EXPORT_SYMBOL_GPL(free_page_desc);

static enum memdesc_type head_memdesc_type(const struct page *head)
{
	/* Races with the mapcount, which never looks like a type. */
	switch (data_race(head->page_type) >> 24) {
	case PGTY_slab:
		return MEMDESC_SLAB;
	case PGTY_large_kmalloc:
		return MEMDESC_LARGE_KMALLOC;
	case PGTY_table:
		return MEMDESC_PTDESC;
	case PGTY_hugetlb:
		return MEMDESC_FOLIO;
	case PGTY_ioptable:
		return MEMDESC_IOPTDESC;
	}

	/* Free, offline, ballooned, zsmalloc: not handed out by type. */
	if (page_has_type(head))
		return MEMDESC_PAGES;

	/* Races with the list pointers of others, never the signature. */
	if (data_race(page_pool_page_is_pp(head)))
		return MEMDESC_NETMEM;

	/*
	 * Without huge pages it is not recorded what was allocated as a folio.
	 * Else the bit is read as it is: without a reference the page may cease
	 * to be compound, of which folio_test_large_rmappable() would complain.
	 */
	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) ||
	    !test_bit(PG_head, &head->flags.f) ||
	    test_bit(PG_large_rmappable, &head[1].flags.f))
		return MEMDESC_FOLIO;

	return MEMDESC_PAGES;
}

/**
 * page_memdesc - The descriptor of the allocation that a page belongs to
 * @page: any page of it
 *
 * The type follows from the state of the pages, a descriptor of its own is found
 * in the private field of the first one. Some types cannot be told apart:
 *
 * - What may be a folio reads as MEMDESC_FOLIO. An order-0 folio and a bare page
 *   are the same state, and so is each page of a bare block that is not
 *   compound. Without CONFIG_TRANSPARENT_HUGEPAGE a large folio and a bare
 *   compound page are the same state, too. Such memory can be used as a folio:
 *   folio_put() does to bare pages what put_page() does.
 * - With CONFIG_TRANSPARENT_HUGEPAGE a compound page is a MEMDESC_FOLIO if it
 *   was allocated as one, and else MEMDESC_PAGES, as is the huge zero folio.
 * - A page table is a MEMDESC_PTDESC if it came from pagetable_alloc() or has
 *   been through a constructor. Other memory in that use is what it is.
 * - Page pool memory is a MEMDESC_NETMEM while the pool's signature is on it.
 * - Memory with another page type (the first page of a free block, offline,
 *   ballooned, zsmalloc) reads as MEMDESC_PAGES, free pages without one as what
 *   they would be in use.
 *
 * Rule for lookups without a reference: a result may be stale when it is
 * returned, because the memory may be freed and reused at any time. For a
 * type with a refcount, take a reference through the descriptor, look the page
 * up again, and use the descriptor only if pointer and type are still the
 * same. The result for a frozen type is stable for the owner of the memory
 * alone; anybody else may compare type and pointer under rcu_read_lock() and
 * must not look at anything else.
 *
 * Context: Any context.
 * Return: Type and descriptor; for MEMDESC_PAGES and MEMDESC_LARGE_KMALLOC the
 * first page instead of a descriptor. Never NULL.
 */
memdesc_t page_memdesc(const struct page *page)
{
	const struct page *head = compound_head(page);

	for (;;) {
		const enum memdesc_type type = head_memdesc_type(head);
		unsigned long desc;

		if (!memdesc_table[type].own)
			return __memdesc(head, type);
		/*
		 * The type says what is in private. The owner sets private
		 * before the type and clears private after the type, and to the
		 * next owner private is something else. So four loads must
		 * agree, in this order: type, private, type, private. They are
		 * fooled only if the page comes and goes twice meanwhile.
		 *
		 * Were the last two loads not ordered, once would be enough. Let
		 * the memory be an ioptable, which is freed (type, then private
		 * cleared), the next owner's, who has V in private and clears
		 * that, and an ioptable with descriptor Y:
		 *
		 *	owners				this function
		 *	type = none			r0 = type	(ioptable)
		 *	release: private = 0		smp_rmb()
		 *	private = V			r1 = private	(V)
		 *	private = 0			smp_rmb()
		 *	private = Y			r2 = type	(ioptable)
		 *	release: type = ioptable	smp_rmb()
		 *					r3 = private	(V?)
		 *
		 * r2 reads what the last store wrote, so r3, which comes after
		 * it, reads Y. Read before r2 it could be V as well, and V would
		 * be returned as a descriptor.
		 */
		smp_rmb(); /* pairs with the release in memdesc_attach() */
		desc = READ_ONCE(head->private);
		smp_rmb(); /* pairs with the release in memdesc_free_frozen() */
		if (!desc || head_memdesc_type(head) != type)
			continue;
		smp_rmb(); /* pairs with the release in memdesc_attach() */
		if (READ_ONCE(head->private) != desc)
			continue;

		return __memdesc((void *)desc, type);
	}
}
EXPORT_SYMBOL_GPL(page_memdesc);

/**
 * page_memdesc_type - The type of the allocation that a page belongs to
 * @page: any page of it
 *
 * Everything that page_memdesc() says about its result holds here.
 *
 * Context: Any context.
 * Return: The type.
 */
enum memdesc_type page_memdesc_type(const struct page *page)
{
	return head_memdesc_type(compound_head(page));
}
EXPORT_SYMBOL_GPL(page_memdesc_type);
