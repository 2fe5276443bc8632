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
 * A descriptor that overlays struct page must not be larger. struct folio is
 * the exception, it covers several pages: the fields beyond the first page are
 * used only if the folio has these pages.
 */
static_assert(offsetof(struct folio, page) == 0);
static_assert(sizeof(struct slab) <= sizeof(struct page));
#ifndef CONFIG_MEMDESC_PTDESC
static_assert(sizeof(struct ptdesc) <= sizeof(struct page));
#endif
static_assert(sizeof(struct netmem_desc) <= sizeof(struct page));

/* Their page type is at the same place as the page type of struct page. */
static_assert(offsetof(struct slab, __page_type) ==
	      offsetof(struct page, page_type));
#ifndef CONFIG_MEMDESC_PTDESC
static_assert(offsetof(struct ptdesc, __page_type) ==
	      offsetof(struct page, page_type));
#endif

/* For the types whose descriptors are allocations of their own, else NULL. */
static struct kmem_cache *memdesc_caches[NR_MEMDESC_TYPES] __ro_after_init;

/*
 * Called as soon as slab caches can be created: interrupt remapping allocates
 * IOMMU page tables early in boot.
 */
void __init memdesc_init(void)
{
	/*
	 * With SLAB_TYPESAFE_BY_RCU the free pointer would follow the object.
	 * It can be in the object, because only the owner reads a descriptor.
	 */
	struct kmem_cache_args args = {
		.align = 1 << MEMDESC_TYPE_BITS,
		.use_freeptr_offset = true,
		.freeptr_offset = sizeof(struct memdesc_own),
	};

	for (int type = 0; type < NR_MEMDESC_TYPES; type++) {
		const struct memdesc_info *info = &memdesc_table[type];

		if (!info->own)
			continue;
		/* page_memdesc() may return a descriptor that was freed. */
		memdesc_caches[type] =
			kmem_cache_create(info->name, info->size, &args,
					  SLAB_TYPESAFE_BY_RCU | SLAB_PANIC);
	}
}

/*
 * The flags of the pages that hold for the descriptor, too: how to get memory,
 * and on which nodes. The other flags select the kind of memory, or are
 * __GFP_ZERO, or __GFP_ACCOUNT: a memory cgroup pays for the pages, and not for
 * what the kernel needs to manage them, as for struct page.
 */
#define GFP_MEMDESC_OWN	(GFP_RECLAIM_MASK | GFP_CONSTRAINT_MASK)

static __always_inline void *__memdesc_alloc_own(gfp_t gfp, int nid,
						 enum memdesc_type type)
{
	void *desc = kmem_cache_alloc_node_noprof(memdesc_caches[type],
						  gfp & GFP_MEMDESC_OWN, nid);

	if (unlikely(!desc))
		return NULL;

	/* Faster than __GFP_ZERO, because type and size are constants. */
	memset(desc, 0, memdesc_table[type].size);
	/*
	 * The pointer to the descriptor is in a struct page with refcount 0,
	 * which kmemleak does not scan, so it would report a leak.
	 * SLAB_NOLEAKTRACE would silence kmemleak for the whole cache, but a
	 * cache with it has no sheaves, which would cost 300 instructions.
	 */
	kmemleak_not_leak(desc);
	return desc;
}

/**
 * memdesc_alloc_own - Allocate a descriptor that has no pages yet
 * @gfp: GFP flags of the pages that the descriptor is for
 * @nid: preferred node, or NUMA_NO_NODE
 * @type: a type whose descriptors are allocations of their own
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
 * memdesc_free_own_bulk - Free descriptors that no pages are attached to
 * @desc: the descriptors
 * @nr: how many
 * @type: their type
 *
 * Context: Any context but NMI.
 */
void memdesc_free_own_bulk(void **desc, unsigned int nr, enum memdesc_type type)
{
	kmem_cache_free_bulk(memdesc_caches[type], nr, desc);
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

/*
 * The slab allocator uses the functions of memdesc.h, and sets the other fields
 * of its pages afterwards. Without these fields, kfree(), kmem_dump_obj() or a
 * hardened usercopy would follow a stale pointer. Pages of vmalloc() and of percpu
 * memory are of no use to anybody but their allocators.
 */
static bool memdesc_is_offered(enum memdesc_type type)
{
	return !WARN_ONCE(memdesc_table[type].not_offered,
			  "memdesc: only one allocator allocates %s memory\n",
			  memdesc_type_name(type));
}

/*
 * The caller must give a descriptor if, and only if, the type's descriptors are
 * allocations of their own. The others exist only once the pages do.
 */
static bool memdesc_may_alloc(memdesc_t md)
{
	if (!memdesc_is_offered(memdesc_type(md)))
		return false;

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

#if !defined(CONFIG_MEMDESC_CACHE) && !defined(CONFIG_MEMDESC_PTDESC) && \
	!defined(CONFIG_NUMA)
/* See the form for CONFIG_NUMA in mempolicy.c. */
struct ptdesc *__memdesc_alloc_ptdesc_noprof(gfp_t gfp, unsigned int order)
{
	struct page *page = alloc_frozen_pages_noprof(gfp, order);

	return page_ptdesc(memdesc_init_pages(page, MEMDESC_PTDESC));
}
EXPORT_SYMBOL(__memdesc_alloc_ptdesc_noprof);
#endif

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
 * Return: The first page, or NULL when there is no memory or @md is refused.
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
 * The pages of every type are zeroed and compound.
 *
 * Context: Any context, NMI included, where RCU is watching.
 * Return: The first page, or NULL, for which callers must be prepared. @md is
 * refused as by alloc_page_desc().
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

/* Call with a constant type. */
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
 * @size: bytes of the descriptor; must be the size that @type has
 * @type: a type that has a descriptor, but not MEMDESC_SLAB, which is refused
 *        with a warning as by alloc_page_desc()
 *
 * Context: Any context that @gfp allows.
 * Return: The descriptor, or NULL when there is no memory, or when @size is wrong
 * or @type is refused.
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
	if (IS_ENABLED(CONFIG_MEMDESC_PTDESC) && type == MEMDESC_PTDESC)
		return memdesc_alloc_with_own(gfp, order, nid, MEMDESC_PTDESC);
	if (!memdesc_is_offered(type))
		return NULL;

	return memdesc_alloc_pages_noprof(gfp, order, nid, type);
}
EXPORT_SYMBOL_GPL(__memdesc_alloc_node_noprof);

#ifdef CONFIG_PAGE_POOL
/**
 * memdesc_alloc_netmem - Allocate memory and its descriptor for a page pool
 * @gfp: GFP flags; __GFP_COMP is implied
 * @order: log2 of the number of pages
 * @nid: preferred node, online; NUMA_NO_NODE for the nearest one
 *
 * memdesc_alloc_node() with a constant type and without a memory policy: packets
 * of any task arrive in the memory. The owner sets the pool's signature.
 *
 * Context: Any context that @gfp allows.
 * Return: The descriptor, or NULL when there is no memory.
 */
struct netmem_desc *memdesc_alloc_netmem_noprof(gfp_t gfp, unsigned int order,
						int nid)
{
	struct page *page;

	if (nid == NUMA_NO_NODE)
		nid = numa_mem_id();
	warn_if_node_offline(nid, gfp);

	page = memdesc_alloc_pages_nodemask_noprof(gfp, order, nid, NULL,
						   ALLOC_DEFAULT,
						   MEMDESC_NETMEM);
	return (struct netmem_desc *)page;
}
#endif

/* A switch and not a function pointer for each type, because it is faster. */
static void free_pages_of_type(struct page *page, enum memdesc_type type)
{
	switch (type) {
	case MEMDESC_SLAB:
	case MEMDESC_LARGE_KMALLOC:
	case MEMDESC_IOPTDESC:
		memdesc_free_frozen(page, compound_order(page), type);
		return;
	case MEMDESC_PTDESC:
		if (IS_ENABLED(CONFIG_MEMDESC_PTDESC))
			memdesc_free_frozen(page, compound_order(page),
					    MEMDESC_PTDESC);
		else
			pagetable_free(page_ptdesc(page));
		return;
	case MEMDESC_PAGES:
	case MEMDESC_FOLIO:
	case MEMDESC_NETMEM:
	case MEMDESC_VMALLOC:
	case MEMDESC_PERCPU:
	case NR_MEMDESC_TYPES:
		break;
	}

	/* Somebody else may have a reference: leave the memory alone. */
	WARN_ONCE(1, "memdesc: %s memory is freed by put_page()\n",
		  memdesc_type_name(type));
}

/* memdesc_free() takes @type from the C type of @desc, so they always match. */
void __memdesc_free(void *desc, enum memdesc_type type)
{
	if (type == MEMDESC_IOPTDESC) {
		const struct memdesc_own own = *(struct memdesc_own *)desc;

		memdesc_free_frozen(own.page, own.order, MEMDESC_IOPTDESC);
		memdesc_free_own(desc, MEMDESC_IOPTDESC);
		return;
	}
	if (IS_ENABLED(CONFIG_MEMDESC_PTDESC) && type == MEMDESC_PTDESC) {
		pagetable_free(desc);
		return;
	}

	free_pages_of_type(desc, type);
}
EXPORT_SYMBOL_GPL(__memdesc_free);

/**
 * memdesc_put_netmem - memdesc_put() for memory of a page pool
 * @nmdesc: the descriptor
 *
 * With the pool's signature, drops one of the references that the pool counts.
 * Without the signature, the memory is bare pages, and a reference to these is
 * dropped.
 *
 * Context: As for memdesc_put().
 */
void memdesc_put_netmem(struct netmem_desc *nmdesc)
{
	struct page *page = (struct page *)nmdesc;

	if (page_pool_page_is_pp(page))
		page_pool_put_full_page(page->pp, page, false);
	else
		put_page(page);
}
EXPORT_SYMBOL_GPL(memdesc_put_netmem);

/**
 * free_page_desc - Free the pages of a slab or a page table
 * @page: the first page
 *
 * The counterpart of alloc_page_desc() for memory that its owner alone frees.
 * Before the call, the owner undoes everything that it did after the
 * allocation: accounting, constructors. Memory of a type with references stays
 * as it is, with a warning: put_page() drops a reference to it. A descriptor that
 * does not overlay &struct page is not freed: use memdesc_free() for that.
 *
 * Context: Any context but NMI; not under a raw spinlock.
 */
void free_page_desc(struct page *page)
{
	VM_WARN_ON_ONCE_PAGE(PageTail(page), page);
	free_pages_of_type(page, page_memdesc_type(page));
}
EXPORT_SYMBOL_GPL(free_page_desc);

static enum memdesc_type head_memdesc_type(const struct page *head)
{
	/* The mapcount may change in this word, but never looks like a type. */
	switch (page_type_decode(data_race(head->page_type))) {
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

	/* Free, offline, ballooned, zsmalloc: no types of the table. */
	if (page_has_type(head))
		return MEMDESC_PAGES;

	/* Other owners' list pointers share the word, but never match. */
	if (data_race(page_pool_page_is_pp(head)))
		return MEMDESC_NETMEM;

	/* Another owner may store anything there, but never a mark. */
	switch (data_race(head->private)) {
	case MEMDESC_MARK(MEMDESC_VMALLOC):
		return MEMDESC_VMALLOC;
	case MEMDESC_MARK(MEMDESC_PERCPU):
		return MEMDESC_PERCPU;
	}

	/*
	 * Without huge pages, nothing records that memory was allocated as a
	 * folio. With them, PG_large_rmappable does. Read the bit directly: a
	 * page without a reference may cease to be compound at any time, and
	 * then folio_test_large_rmappable() would warn.
	 */
	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) ||
	    !test_bit(PG_head, &head->flags.f) ||
	    test_bit(PG_large_rmappable, &head[1].flags.f))
		return MEMDESC_FOLIO;

	return MEMDESC_PAGES;
}

/**
 * page_memdesc - The descriptor of the allocation that a page belongs to
 * @page: any page of the allocation
 *
 * The state of the pages tells the type. If the descriptors of the type are
 * allocations of their own, the private field of the first page points to the
 * descriptor. Some types cannot be told apart:
 *
 * - Memory that may be a folio reads as MEMDESC_FOLIO. An order-0 folio, a bare
 *   page, and each page of a bare block that is not compound have the same
 *   state. Without CONFIG_TRANSPARENT_HUGEPAGE a large folio and a bare
 *   compound page have the same state, too. Such memory can be used as a folio:
 *   folio_put() does the same to bare pages as put_page().
 * - With CONFIG_TRANSPARENT_HUGEPAGE a compound page reads as MEMDESC_FOLIO if
 *   it was allocated as a folio, and otherwise as MEMDESC_PAGES. The huge zero
 *   folio reads as MEMDESC_PAGES.
 * - A page table reads as MEMDESC_PTDESC if it came from pagetable_alloc() or
 *   has been through a constructor. Any other memory that is used as a page
 *   table reads as the type that it was allocated with.
 * - Page pool memory reads as MEMDESC_NETMEM while it has the pool's signature.
 * - A page of vmalloc() reads as MEMDESC_VMALLOC until vfree(), and from then on as
 *   MEMDESC_FOLIO while others have references to it. A page that vmap() has
 *   mapped reads as what it was allocated as. Without CONFIG_MMU, vmalloc() is
 *   kmalloc().
 * - A page of percpu memory reads as MEMDESC_PERCPU, unless it belongs to the first
 *   chunk, which comes from memblock.
 * - Memory with another page type (the first page of a free block, offline,
 *   ballooned, zsmalloc) reads as MEMDESC_PAGES. A free page without a page
 *   type reads like a page that is in use.
 *
 * Rule for lookups without a reference: a result may be stale when it is
 * returned, because the memory may be freed and reused at any time. For a
 * type with a refcount, take a reference through the descriptor, look the page
 * up again, and use the descriptor only if pointer and type are still the
 * same. For a frozen type, the result is stable only for the owner of the
 * memory. Other callers may compare type and pointer under rcu_read_lock(), but
 * must not read the descriptor.
 *
 * Context: Any context.
 * Return: Type and descriptor; for a type without a descriptor the first page
 * instead. Never NULL. memdesc_folio() and its
 * counterparts for the other types return the descriptor as its C type.
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
		 * private points to a descriptor only while the page has the
		 * type. The owner sets private before the type and clears
		 * private after the type. The next owner of the page may store
		 * anything in private. Therefore four loads must agree, in this
		 * order: type, private, type, private. They give a wrong result
		 * only if the page is freed and allocated twice meanwhile.
		 *
		 * If the last two loads were not ordered, freeing the page once
		 * would be enough. Say an ioptable is freed, which clears its
		 * type, then private. The next owner stores V in private and
		 * clears private again. Then the page becomes an ioptable with
		 * descriptor Y:
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
		 * If r2 sees the last store, r3 is loaded after r2 and reads Y.
		 * If r3 were loaded before r2, it could read V, and V would be
		 * returned as a descriptor.
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
 * @page: any page of the allocation
 *
 * The limits and the rule of page_memdesc() hold here, too.
 *
 * Context: Any context.
 * Return: The type.
 */
enum memdesc_type page_memdesc_type(const struct page *page)
{
	return head_memdesc_type(compound_head(page));
}
EXPORT_SYMBOL_GPL(page_memdesc_type);

/**
 * snapshot_memdesc_type - The type of the allocation that a snapshot shows
 * @ps: what snapshot_page() has read of a page
 *
 * For those who show the state of any page to people: the answer fits the rest
 * of the snapshot, and the page may change meanwhile. The limits of
 * page_memdesc() hold here, too.
 *
 * Context: Any context.
 * Return: The type.
 */
enum memdesc_type snapshot_memdesc_type(const struct page_snapshot *ps)
{
	/* struct folio has the second page, which is all that is asked for. */
	return head_memdesc_type(&ps->folio_snapshot.page);
}
