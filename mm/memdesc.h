/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory descriptors, mm-internal part. Callers pass a constant type to these
 * inline functions, so that the compiler keeps only the code for that type.
 */
#ifndef __MM_MEMDESC_H
#define __MM_MEMDESC_H

#include <linux/ioptdesc.h>
#include <linux/memdesc.h>
#include <linux/poison.h>
#include <net/netmem.h>
#include "internal.h"
#include "page_alloc.h"
#include "slab.h"

/**
 * struct memdesc_info - The properties of a type
 * @name: for messages
 * @size: bytes of the descriptor, 0 if the type has none
 * @page_type: enum pagetype of the pages while they are allocated, 0 if none
 * @frozen: the refcount of the pages is always 0
 * @rmappable: folio_add_*_rmap_*() may map large allocations
 * @own: the descriptor does not overlay struct page but comes from a cache; its
 *       first fields are those of struct memdesc_own, and the type is frozen
 * @not_offered: the exported functions refuse to allocate the type, because only
 *               one allocator can do all that belongs to it: set all fields of a
 *               slab's pages, map the pages of vmalloc() and of percpu memory
 */
struct memdesc_info {
	const char *name;
	unsigned short size;
	unsigned char page_type;
	bool frozen;
	bool rmappable;
	bool own;
	bool not_offered;
};

/* The first fields of every descriptor that is an allocation of its own. */
struct memdesc_own {
	struct page *page;
	u8 order;
};

#define MEMDESC_OWN_MATCH(type)						\
	static_assert(offsetof(type, page) ==				\
		      offsetof(struct memdesc_own, page));		\
	static_assert(offsetof(type, order) ==				\
		      offsetof(struct memdesc_own, order))
MEMDESC_OWN_MATCH(struct ioptdesc);
#ifdef CONFIG_MEMDESC_PTDESC
MEMDESC_OWN_MATCH(struct ptdesc);
#endif
#undef MEMDESC_OWN_MATCH

/*
 * The table is here and not in memdesc.c, because the compiler can only fold an
 * initialiser that it sees.
 *
 * The table has no struct zpdesc, whose page type comes and goes while the page
 * stays allocated. See Documentation/mm/memdesc.rst.
 */
static const struct memdesc_info memdesc_table[NR_MEMDESC_TYPES] = {
	[MEMDESC_PAGES] = {
		.name		= "pages",
	},
	[MEMDESC_FOLIO] = {
		.name		= "folio",
		.size		= sizeof(struct folio),
		.rmappable	= true,
	},
	[MEMDESC_SLAB] = {
		.name		= "slab",
		.size		= sizeof(struct slab),
		.page_type	= PGTY_slab,
		.frozen		= true,
		.not_offered	= true,
	},
	[MEMDESC_LARGE_KMALLOC] = {
		.name		= "large_kmalloc",
		.page_type	= PGTY_large_kmalloc,
		.frozen		= true,
		.not_offered	= true,
	},
	[MEMDESC_PTDESC] = {
		.name		= "ptdesc",
		.size		= sizeof(struct ptdesc),
		.page_type	= PGTY_table,
		.frozen		= IS_ENABLED(CONFIG_MEMDESC_PTDESC),
		.own		= IS_ENABLED(CONFIG_MEMDESC_PTDESC),
	},
	[MEMDESC_IOPTDESC] = {
		.name		= "ioptdesc",
		.size		= sizeof(struct ioptdesc),
		.page_type	= PGTY_ioptable,
		.frozen		= true,
		.own		= true,
	},
	/* page_pool marks its pages by a signature while it has them. */
	[MEMDESC_NETMEM] = {
		.name		= "netmem",
		.size		= sizeof(struct netmem_desc),
	},
	/* Without a page type: the pages can be mapped, see MEMDESC_MARK(). */
	[MEMDESC_VMALLOC] = {
		.name		= "vmalloc",
		.not_offered	= true,
	},
	[MEMDESC_PERCPU] = {
		.name		= "percpu",
		.not_offered	= true,
	},
};

/*
 * What the private field of a page says if the page has no page type and its
 * owner has no other use for the field. A mark is for people and for checks: no
 * memory may be freed or changed because of it alone.
 *
 * The value is odd, so no pointer, and too large for a page order, an index or a
 * swap entry. The page allocator clears private when a page is freed. The owner
 * clears it earlier, because others may keep references to the page.
 */
#define MEMDESC_MARK(type) \
	((unsigned long)POISON_POINTER_DELTA + 0xed656d01UL + 2 * (type))

static __always_inline void memdesc_mark(struct page *page,
					 enum memdesc_type type)
{
	set_page_private(page, MEMDESC_MARK(type));
}

static __always_inline void memdesc_unmark(struct page *page)
{
	set_page_private(page, 0);
}

/**
 * memdesc_init_pages - Put frozen, untyped pages into a type's initial state
 * @page: the first page, or NULL
 * @type: the type
 *
 * If the descriptors of @type are allocations of their own, the pages get their
 * page type only from memdesc_attach().
 *
 * Return: @page.
 */
static __always_inline struct page *
memdesc_init_pages(struct page *page, enum memdesc_type type)
{
	const struct memdesc_info *info = &memdesc_table[type];

	if (!page)
		return NULL;

	if (info->page_type && !info->own) {
		VM_WARN_ON_ONCE_PAGE(page->page_type != UINT_MAX, page);
		page->page_type = page_type_encode(info->page_type);
	}
	if (!info->frozen)
		set_page_refcounted(page);
	if (info->rmappable)
		page_rmappable_folio(page);

	return page;
}

void memdesc_init(void);
#ifdef CONFIG_MEMDESC_PTDESC
void ptdesc_init(void);
#else
static inline void ptdesc_init(void)
{
}
#endif
void *memdesc_alloc_own_noprof(gfp_t gfp, int nid, enum memdesc_type type);
void memdesc_free_own(void *desc, enum memdesc_type type);
void memdesc_free_own_bulk(void **desc, unsigned int nr, enum memdesc_type type);

/**
 * memdesc_attach - Connect frozen, untyped pages with a descriptor
 * @page: the first page
 * @order: log2 of the number of pages
 * @desc: the descriptor, from memdesc_alloc_own_noprof()
 * @type: the type
 *
 * Context: Any context.
 */
static __always_inline void memdesc_attach(struct page *page,
					   unsigned int order, void *desc,
					   enum memdesc_type type)
{
	const unsigned int page_type = memdesc_table[type].page_type;
	struct memdesc_own *own = desc;

	VM_WARN_ON_ONCE_PAGE(page->page_type != UINT_MAX, page);
	own->page = page;
	own->order = order;
	set_page_private(page, (unsigned long)desc);
	/* Pairs with the loads in page_memdesc(). */
	smp_store_release(&page->page_type, page_type_encode(page_type));
}

static __always_inline gfp_t memdesc_gfp(gfp_t gfp, enum memdesc_type type)
{
	return type == MEMDESC_PAGES ? gfp : gfp | __GFP_COMP;
}

/**
 * memdesc_alloc_frozen - Allocate pages for a constant type, without its state
 * @gfp: GFP flags; __GFP_COMP is implied by every type but MEMDESC_PAGES
 * @order: log2 of the number of pages
 * @nid: preferred node, online, never NUMA_NO_NODE
 * @nodemask: the nodes that are allowed, or NULL for all of them
 * @alloc_flags: ALLOC_DEFAULT, or as for __alloc_frozen_pages()
 * @type: the type
 *
 * The pages are frozen and have no page type. The caller puts them into the
 * initial state of the type by memdesc_init_pages(), or into a state of its own.
 *
 * Context: Any context that @gfp and @alloc_flags allow.
 * Return: The first page, or NULL when there is no memory.
 */
static __always_inline struct page *
memdesc_alloc_frozen_noprof(gfp_t gfp, unsigned int order, int nid,
			    nodemask_t *nodemask, unsigned int alloc_flags,
			    enum memdesc_type type)
{
	return __alloc_frozen_pages_noprof(memdesc_gfp(gfp, type), order, nid,
					   nodemask, alloc_flags);
}

#define memdesc_alloc_frozen(...)					\
	alloc_hooks(memdesc_alloc_frozen_noprof(__VA_ARGS__))

/**
 * memdesc_alloc_pages_nodemask - Allocate pages of a constant type, by nodemask
 * @gfp: GFP flags; __GFP_COMP is implied by every type but MEMDESC_PAGES
 * @order: log2 of the number of pages
 * @nid: preferred node, online, never NUMA_NO_NODE
 * @nodemask: the nodes that are allowed, or NULL for all of them
 * @alloc_flags: ALLOC_DEFAULT, or as for __alloc_frozen_pages()
 * @type: the type
 *
 * Context: Any context that @gfp and @alloc_flags allow.
 * Return: The first page, or NULL when there is no memory.
 */
static __always_inline struct page *
memdesc_alloc_pages_nodemask_noprof(gfp_t gfp, unsigned int order, int nid,
				    nodemask_t *nodemask,
				    unsigned int alloc_flags,
				    enum memdesc_type type)
{
	struct page *page;

	page = memdesc_alloc_frozen_noprof(gfp, order, nid, nodemask,
					   alloc_flags, type);
	return memdesc_init_pages(page, type);
}

/**
 * memdesc_alloc_pages - alloc_page_desc_node() for a constant type
 * @gfp: GFP flags; __GFP_COMP is implied by every type but MEMDESC_PAGES
 * @order: log2 of the number of pages
 * @nid: preferred node, online; NUMA_NO_NODE for the task's memory policy
 * @type: the type
 *
 * Context: Any context that @gfp allows.
 * Return: The first page, or NULL when there is no memory.
 */
static __always_inline struct page *
memdesc_alloc_pages_noprof(gfp_t gfp, unsigned int order, int nid,
			   enum memdesc_type type)
{
	struct page *page;

	gfp = memdesc_gfp(gfp, type);
	if (nid == NUMA_NO_NODE)
		page = alloc_frozen_pages_noprof(gfp, order);
	else
		page = __alloc_frozen_pages_noprof(gfp, order, nid, NULL,
						   ALLOC_DEFAULT);

	return memdesc_init_pages(page, type);
}

#define memdesc_alloc_pages(...)					\
	alloc_hooks(memdesc_alloc_pages_noprof(__VA_ARGS__))

/**
 * memdesc_alloc_pages_nolock - alloc_page_desc_nolock() for a constant type
 * @gfp: __GFP_ACCOUNT or 0
 * @order: log2 of the number of pages
 * @nid: preferred node, or NUMA_NO_NODE for the nearest one
 * @type: the type
 *
 * Context: Any context, NMI included, where RCU is watching.
 * Return: The first page, or NULL, for which callers must be prepared.
 */
static __always_inline struct page *
memdesc_alloc_pages_nolock_noprof(gfp_t gfp, unsigned int order, int nid,
				  enum memdesc_type type)
{
	/* alloc_frozen_pages_nolock() implies __GFP_COMP. */
	return memdesc_init_pages(alloc_frozen_pages_nolock_noprof(gfp, nid,
								   order),
				  type);
}

#define memdesc_alloc_pages_nolock(...)					\
	alloc_hooks(memdesc_alloc_pages_nolock_noprof(__VA_ARGS__))

static __always_inline void __memdesc_clear_type(struct page *page,
						 enum memdesc_type type)
{
	VM_WARN_ON_ONCE_PAGE(page_type_decode(page->page_type) !=
			     memdesc_table[type].page_type, page);
	page->page_type = UINT_MAX;
}

/**
 * memdesc_detach - Undo memdesc_attach()
 * @page: the first page
 * @type: the type
 *
 * Neither the pages nor the descriptor are freed.
 *
 * Context: Any context.
 */
static __always_inline void memdesc_detach(struct page *page,
					   enum memdesc_type type)
{
	__memdesc_clear_type(page, type);
	/*
	 * Clears private after the type. Pairs with the loads in
	 * page_memdesc().
	 */
	smp_store_release(&page->private, 0);
}

/**
 * memdesc_free_frozen - Free the pages of a frozen type
 * @page: the first page
 * @order: log2 of the number of pages
 * @type: the type that the pages were allocated with
 *
 * A descriptor that is an allocation of its own is detached, but not freed.
 *
 * Context: Any context but NMI; not under a raw spinlock.
 */
static __always_inline void
memdesc_free_frozen(struct page *page, unsigned int order,
		    enum memdesc_type type)
{
	if (memdesc_table[type].own)
		memdesc_detach(page, type);
	else
		__memdesc_clear_type(page, type);
	free_frozen_pages(page, order);
}

/**
 * memdesc_free_frozen_nolock - Free the pages of a frozen type, from anywhere
 * @page: the first page
 * @order: log2 of the number of pages
 * @type: the type that the pages were allocated with
 *
 * Context: Any context, NMI included.
 */
static __always_inline void
memdesc_free_frozen_nolock(struct page *page, unsigned int order,
			   enum memdesc_type type)
{
	__memdesc_clear_type(page, type);
	free_frozen_pages_nolock(page, order);
}

#ifdef CONFIG_MEMDESC_CACHE
void memdesc_cache_pause(void);
void memdesc_cache_resume(void);

/* For tests. */
bool memdesc_cache_put_ioptdesc(struct ioptdesc *iopt);
bool memdesc_cache_enable(bool on);
unsigned long memdesc_cache_held(int nid);
unsigned int memdesc_cache_depth(unsigned int cpu, enum memdesc_type type,
				 unsigned int order);
bool memdesc_cache_put_migrated(struct ptdesc *pt, unsigned int cpu);
#else
static inline void memdesc_cache_pause(void)
{
}

static inline void memdesc_cache_resume(void)
{
}
#endif

#endif /* __MM_MEMDESC_H */
