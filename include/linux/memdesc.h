/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory descriptors: memory is allocated together with the typed descriptor
 * that manages it, and freed by that type.
 *
 * See Documentation/mm/memdesc.rst.
 */
#ifndef _LINUX_MEMDESC_H
#define _LINUX_MEMDESC_H

#include <linux/gfp.h>
#include <linux/mm_types.h>
#include <linux/mmdebug.h>
#include <linux/page-flags.h>

struct ioptdesc;
struct netmem_desc;
struct page_snapshot;
struct slab;

/**
 * enum memdesc_type - What kind of descriptor manages an allocation
 * @MEMDESC_PAGES: none; bare pages as alloc_pages() returns them
 * @MEMDESC_FOLIO: &struct folio
 * @MEMDESC_SLAB: &struct slab; only the slab allocator allocates this type
 * @MEMDESC_LARGE_KMALLOC: none; kmalloc() memory too large for a slab, allocated
 *	by the slab allocator only
 * @MEMDESC_PTDESC: &struct ptdesc, CPU page tables
 * @MEMDESC_IOPTDESC: &struct ioptdesc, IOMMU page tables
 * @MEMDESC_NETMEM: &struct netmem_desc, page_pool memory
 * @MEMDESC_VMALLOC: none; single pages that vmalloc() has mapped, allocated by
 *	vmalloc() only. &struct vm_struct describes the whole area.
 * @MEMDESC_PERCPU: none; pages of percpu memory, allocated by the percpu allocator
 *	only
 * @NR_MEMDESC_TYPES: how many types there are
 *
 * The values are internal to one running kernel. They are not an ABI.
 * memdesc_type() returns the type that a memdesc_t was made with.
 */
enum memdesc_type {
	MEMDESC_PAGES,
	MEMDESC_FOLIO,
	MEMDESC_SLAB,
	MEMDESC_LARGE_KMALLOC,
	MEMDESC_PTDESC,
	MEMDESC_IOPTDESC,
	MEMDESC_NETMEM,
	MEMDESC_VMALLOC,
	MEMDESC_PERCPU,
	NR_MEMDESC_TYPES
};

#define MEMDESC_TYPE_BITS	4
#define MEMDESC_TYPE_MASK	((1UL << MEMDESC_TYPE_BITS) - 1)

/*
 * The type goes into the low bits of a descriptor's address. Most descriptors
 * overlay struct page, so these bits are free only where struct page is aligned
 * to two 8-byte words. The caches of the other descriptors always align them.
 */
#if defined(CONFIG_64BIT) && defined(CONFIG_HAVE_ALIGNED_STRUCT_PAGE)
#define MEMDESC_TYPE_IN_POINTER	1
#endif

/*
 * memdesc_t: a descriptor together with its type. It is opaque and passed by
 * value. MEMDESC_TYPE_FOLIO(), its counterparts for the other types, and
 * page_memdesc() make one. memdesc_type() and memdesc_folio(), with its
 * counterparts for the other types, read it.
 */
typedef struct {
#ifdef MEMDESC_TYPE_IN_POINTER
	unsigned long v;
#else
	void *desc;
	enum memdesc_type type;
#endif
} memdesc_t;

static __always_inline memdesc_t __memdesc(const void *desc,
					   enum memdesc_type type)
{
#ifdef MEMDESC_TYPE_IN_POINTER
	VM_WARN_ON_ONCE((unsigned long)desc & MEMDESC_TYPE_MASK);
	return (memdesc_t){ .v = (unsigned long)desc | type };
#else
	return (memdesc_t){ .desc = (void *)desc, .type = type };
#endif
}

/*
 * The type that @md was made with. Any context. This is no kernel-doc: Sphinx
 * refuses a function that has the name of an enum.
 */
static __always_inline enum memdesc_type memdesc_type(memdesc_t md)
{
#ifdef MEMDESC_TYPE_IN_POINTER
	return md.v & MEMDESC_TYPE_MASK;
#else
	return md.type;
#endif
}

/**
 * memdesc_ptr - The address of a descriptor of any type
 * @md: the descriptor
 *
 * Where the type is known, use memdesc_folio() or its counterpart for the type:
 * these return the C type. For the types that have no descriptor the address is
 * that of a &struct page.
 *
 * Context: Any context.
 * Return: The pointer that @md was made with, which may be NULL.
 */
static __always_inline void *memdesc_ptr(memdesc_t md)
{
#ifdef MEMDESC_TYPE_IN_POINTER
	return (void *)(md.v & ~MEMDESC_TYPE_MASK);
#else
	return md.desc;
#endif
}

/* Call with a constant type. */
static __always_inline void *__memdesc_ptr_of(memdesc_t md,
					      enum memdesc_type type)
{
	VM_WARN_ON_ONCE(memdesc_type(md) != type);
	if (IS_ENABLED(CONFIG_DEBUG_VM) && memdesc_type(md) != type)
		return NULL;
	return memdesc_ptr(md);
}

/**
 * memdesc_folio - The folio of a descriptor
 * @md: the descriptor
 *
 * The caller must have checked that memdesc_type(@md) is MEMDESC_FOLIO. With
 * CONFIG_DEBUG_VM another type gives a warning and NULL. Without CONFIG_DEBUG_VM
 * there is no check, and the pointer of another type is returned as a folio.
 *
 * Context: Any context.
 * Return: The pointer that @md was made with, which may be NULL.
 */
static __always_inline struct folio *memdesc_folio(memdesc_t md)
{
	return __memdesc_ptr_of(md, MEMDESC_FOLIO);
}

/**
 * memdesc_slab - The slab of a descriptor
 * @md: the descriptor
 *
 * The type must be MEMDESC_SLAB, else as for memdesc_folio().
 *
 * Context: Any context.
 * Return: The pointer that @md was made with, which may be NULL.
 */
static __always_inline struct slab *memdesc_slab(memdesc_t md)
{
	return __memdesc_ptr_of(md, MEMDESC_SLAB);
}

/**
 * memdesc_ptdesc - The CPU page table of a descriptor
 * @md: the descriptor
 *
 * The type must be MEMDESC_PTDESC, else as for memdesc_folio().
 *
 * Context: Any context.
 * Return: The pointer that @md was made with, which may be NULL.
 */
static __always_inline struct ptdesc *memdesc_ptdesc(memdesc_t md)
{
	return __memdesc_ptr_of(md, MEMDESC_PTDESC);
}

/**
 * memdesc_ioptdesc - The IOMMU page table of a descriptor
 * @md: the descriptor
 *
 * The type must be MEMDESC_IOPTDESC, else as for memdesc_folio().
 *
 * Context: Any context.
 * Return: The pointer that @md was made with, which may be NULL.
 */
static __always_inline struct ioptdesc *memdesc_ioptdesc(memdesc_t md)
{
	return __memdesc_ptr_of(md, MEMDESC_IOPTDESC);
}

/**
 * memdesc_netmem - The page pool memory of a descriptor
 * @md: the descriptor
 *
 * The type must be MEMDESC_NETMEM, else as for memdesc_folio().
 *
 * Context: Any context.
 * Return: The pointer that @md was made with, which may be NULL.
 */
static __always_inline struct netmem_desc *memdesc_netmem(memdesc_t md)
{
	return __memdesc_ptr_of(md, MEMDESC_NETMEM);
}

/**
 * memdesc_page - The first page, for a type without a descriptor
 * @md: the descriptor
 *
 * The type must be MEMDESC_PAGES, MEMDESC_LARGE_KMALLOC, MEMDESC_VMALLOC or
 * MEMDESC_PERCPU, else as for memdesc_folio().
 *
 * Context: Any context.
 * Return: The pointer that @md was made with, which may be NULL.
 */
static __always_inline struct page *memdesc_page(memdesc_t md)
{
	switch (memdesc_type(md)) {
	case MEMDESC_LARGE_KMALLOC:
	case MEMDESC_VMALLOC:
	case MEMDESC_PERCPU:
		return memdesc_ptr(md);
	default:
		return __memdesc_ptr_of(md, MEMDESC_PAGES);
	}
}

const char *memdesc_type_name(enum memdesc_type type);

/*
 * Evaluates to @p if @p is a @T or the literal NULL, else does not compile. A
 * @p that is neither a @T nor a void * has no association in the outer and the
 * innermost selection. A void * that is not NULL has none in the middle one:
 * only a null pointer constant takes the type of the other operand of ?:.
 */
#define __memdesc_ptr_check(T, p...)					\
	_Generic((p), typeof(T) : (p),					\
		 void * : _Generic(true ?				\
				   _Generic((p), void * : (p),		\
					    typeof(T) : NULL) :		\
				   (typeof(T))NULL,			\
				   typeof(T) : (p)))

/**
 * DOC: Making a memdesc_t
 *
 * There is one macro for each type. Each accepts only a (non-const) pointer to
 * the type's C structure or the literal ``NULL``. Any other argument, including
 * a ``void *``, does not compile. To allocate pages, pass ``NULL`` if the
 * descriptor overlays &struct page, because it exists only once the pages do.
 * Pass the descriptor if it is an allocation of its own (&struct ioptdesc; and
 * &struct ptdesc with CONFIG_MEMDESC_PTDESC).
 *
 * ====================================  ========================
 * ``MEMDESC_TYPE_PAGES(page)``          ``struct page *``
 * ``MEMDESC_TYPE_FOLIO(folio)``         ``struct folio *``
 * ``MEMDESC_TYPE_SLAB(slab)``           ``struct slab *``
 * ``MEMDESC_TYPE_LARGE_KMALLOC(page)``  ``struct page *``
 * ``MEMDESC_TYPE_PTDESC(ptdesc)``       ``struct ptdesc *``
 * ``MEMDESC_TYPE_IOPTDESC(iopt)``       ``struct ioptdesc *``
 * ``MEMDESC_TYPE_NETMEM(nmdesc)``       ``struct netmem_desc *``
 * ``MEMDESC_TYPE_VMALLOC(page)``        ``struct page *``
 * ``MEMDESC_TYPE_PERCPU(page)``         ``struct page *``
 * ====================================  ========================
 */
#define MEMDESC_TYPE_PAGES(p)						\
	__memdesc(__memdesc_ptr_check(struct page *, p), MEMDESC_PAGES)
#define MEMDESC_TYPE_FOLIO(p)						\
	__memdesc(__memdesc_ptr_check(struct folio *, p), MEMDESC_FOLIO)
#define MEMDESC_TYPE_SLAB(p)						\
	__memdesc(__memdesc_ptr_check(struct slab *, p), MEMDESC_SLAB)
#define MEMDESC_TYPE_LARGE_KMALLOC(p)					\
	__memdesc(__memdesc_ptr_check(struct page *, p), MEMDESC_LARGE_KMALLOC)
#define MEMDESC_TYPE_PTDESC(p)						\
	__memdesc(__memdesc_ptr_check(struct ptdesc *, p), MEMDESC_PTDESC)
#define MEMDESC_TYPE_IOPTDESC(p)					\
	__memdesc(__memdesc_ptr_check(struct ioptdesc *, p), MEMDESC_IOPTDESC)
#define MEMDESC_TYPE_NETMEM(p)						\
	__memdesc(__memdesc_ptr_check(struct netmem_desc *, p), MEMDESC_NETMEM)
#define MEMDESC_TYPE_VMALLOC(p)						\
	__memdesc(__memdesc_ptr_check(struct page *, p), MEMDESC_VMALLOC)
#define MEMDESC_TYPE_PERCPU(p)						\
	__memdesc(__memdesc_ptr_check(struct page *, p), MEMDESC_PERCPU)

/*
 * The type that memdesc_alloc_node() allocates for a C type. Has no struct slab:
 * slabs come from the slab allocator only.
 */
#define __memdesc_type_of(type)						\
	_Generic((type *)NULL,						\
		 struct folio * : MEMDESC_FOLIO,				\
		 struct ptdesc * : MEMDESC_PTDESC,			\
		 struct ioptdesc * : MEMDESC_IOPTDESC,			\
		 struct netmem_desc * : MEMDESC_NETMEM)

/* The type that memdesc_free() frees. Not those whose references are dropped. */
#define __memdesc_type_to_free(p)					\
	_Generic((p),							\
		 struct ptdesc * : MEMDESC_PTDESC,			\
		 struct ioptdesc * : MEMDESC_IOPTDESC)

struct ptdesc *__memdesc_alloc_ptdesc_noprof(gfp_t gfp, unsigned int order);
struct ptdesc *memdesc_cache_alloc_ptdesc_noprof(gfp_t gfp,
						 unsigned int order);
struct ioptdesc *memdesc_cache_alloc_ioptdesc_noprof(gfp_t gfp,
						     unsigned int order,
						     int nid);
void memdesc_cache_free_ioptdesc(struct ioptdesc *iopt);
struct page *__alloc_page_desc_noprof(gfp_t gfp, unsigned int order,
				      memdesc_t md);
struct page *alloc_page_desc_node_noprof(gfp_t gfp, unsigned int order,
					 int nid, memdesc_t md);
struct page *alloc_page_desc_nolock_noprof(gfp_t gfp, unsigned int order,
					   int nid, memdesc_t md);
struct netmem_desc *memdesc_alloc_netmem_noprof(gfp_t gfp, unsigned int order,
						int nid);
void *__memdesc_alloc_node_noprof(gfp_t gfp, unsigned int order, int nid,
				  size_t size, enum memdesc_type type);
void __memdesc_free(void *desc, enum memdesc_type type);
void memdesc_put_netmem(struct netmem_desc *nmdesc);
void free_page_desc(struct page *page);

memdesc_t page_memdesc(const struct page *page);
enum memdesc_type page_memdesc_type(const struct page *page);
enum memdesc_type snapshot_memdesc_type(const struct page_snapshot *ps);

/**
 * alloc_page_desc - Allocate pages of a given type
 * @gfp: GFP flags; __GFP_COMP is implied by every type but MEMDESC_PAGES
 * @order: log2 of the number of pages
 * @md: the type, with NULL if its descriptor overlays &struct page; any other
 *      descriptor is attached to the pages, and still belongs to the caller
 *
 * MEMDESC_SLAB and MEMDESC_LARGE_KMALLOC are refused with a warning: kfree() and
 * other functions follow pointers in such pages that only the slab allocator
 * sets. MEMDESC_VMALLOC and MEMDESC_PERCPU are refused, too: only vmalloc() and
 * the percpu allocator map the pages.
 *
 * The lowest level: the pages are returned in the initial state of their type:
 * with one reference or frozen (refcount 0), and with the page type set, if the
 * type has one. The caller must account the pages. The task's memory policy
 * chooses the node, as in alloc_pages().
 *
 * Context: Any context that @gfp allows.
 * Return: The first page, or NULL when there is no memory or @md is refused. To
 * be freed by free_page_desc(), or by put_page() if the type has a refcount.
 */
static __always_inline struct page *
alloc_page_desc_noprof(gfp_t gfp, unsigned int order, memdesc_t md)
{
	/*
	 * Page tables are allocated so often that the switch on the type in
	 * __alloc_page_desc_noprof() would matter. The condition costs nothing
	 * if the type is a constant.
	 */
	if (!IS_ENABLED(CONFIG_MEMDESC_PTDESC) &&
	    memdesc_type(md) == MEMDESC_PTDESC && !memdesc_ptr(md)) {
		if (IS_ENABLED(CONFIG_MEMDESC_CACHE))
			return (struct page *)
			       memdesc_cache_alloc_ptdesc_noprof(gfp, order);
		return (struct page *)
		       __memdesc_alloc_ptdesc_noprof(gfp | __GFP_COMP, order);
	}

	return __alloc_page_desc_noprof(gfp, order, md);
}

#define alloc_page_desc(...)						\
	alloc_hooks(alloc_page_desc_noprof(__VA_ARGS__))
#define alloc_page_desc_node(...)					\
	alloc_hooks(alloc_page_desc_node_noprof(__VA_ARGS__))
#define alloc_page_desc_nolock(...)					\
	alloc_hooks(alloc_page_desc_nolock_noprof(__VA_ARGS__))
#define memdesc_alloc_netmem(...)					\
	alloc_hooks(memdesc_alloc_netmem_noprof(__VA_ARGS__))
#define __memdesc_alloc_node(...)					\
	alloc_hooks(__memdesc_alloc_node_noprof(__VA_ARGS__))

static __always_inline void *
memdesc_alloc_node_noprof(gfp_t gfp, unsigned int order, int nid, size_t size,
			  enum memdesc_type type)
{
	/* A shortcut: a new folio is just what folio_alloc_node() returns. */
	if (type == MEMDESC_FOLIO && nid != NUMA_NO_NODE)
		return __folio_alloc_node_noprof(gfp, order, nid);
	if (IS_ENABLED(CONFIG_MEMDESC_CACHE) && type == MEMDESC_IOPTDESC)
		return memdesc_cache_alloc_ioptdesc_noprof(gfp, order, nid);
	if (IS_ENABLED(CONFIG_MEMDESC_CACHE) &&
	    IS_ENABLED(CONFIG_MEMDESC_PTDESC) && type == MEMDESC_PTDESC &&
	    nid == NUMA_NO_NODE)
		return memdesc_cache_alloc_ptdesc_noprof(gfp, order);

	return __memdesc_alloc_node_noprof(gfp, order, nid, size, type);
}

/**
 * memdesc_alloc_node - Allocate memory and the descriptor that manages it
 * @gfp: GFP flags; __GFP_COMP is implied
 * @order: log2 of the number of pages
 * @nid: preferred node, online; NUMA_NO_NODE for the task's memory policy
 * @type: the descriptor's C type, for example struct ioptdesc
 *
 * Does not compile if @type is no descriptor, if @type is struct slab, or if its
 * definition is not visible. A descriptor that does not overlay &struct page has
 * its page and order set and is zeroed otherwise. Its memory obeys the flags of
 * @gfp that say how to get memory and on which nodes, but not those that select
 * a zone, and not __GFP_ACCOUNT: a memory cgroup is charged for the pages only.
 *
 * Context: Any context that @gfp allows.
 * Return: The @type, or NULL when there is no memory. To be freed by
 * memdesc_free(), or by memdesc_put() if @type has a refcount.
 */
#define memdesc_alloc_node(gfp, order, nid, type)			\
	((type *)alloc_hooks(						\
		memdesc_alloc_node_noprof(gfp, order, nid, sizeof(type), \
					  __memdesc_type_of(type))))

static __always_inline void memdesc_free_type(void *desc,
					      enum memdesc_type type)
{
	if (IS_ENABLED(CONFIG_MEMDESC_CACHE) && type == MEMDESC_IOPTDESC)
		memdesc_cache_free_ioptdesc(desc);
	else
		__memdesc_free(desc, type);
}

/**
 * memdesc_free - Free a descriptor and the memory that it manages
 * @desc: the descriptor of a page table; nothing else compiles
 *
 * The owner of the memory alone says when the memory is free. Before the call,
 * the owner undoes everything that it did after the allocation: accounting,
 * constructors. A descriptor with references does not compile: its memory is
 * free when the last reference goes, see memdesc_put(). With CONFIG_MEMDESC_CACHE
 * the memory may be kept for the next allocation of its type.
 *
 * Context: Any context but NMI; not under a raw spinlock.
 */
#define memdesc_free(desc)						\
	({								\
		__auto_type __desc = (desc);				\
		memdesc_free_type(__desc,				\
				  __memdesc_type_to_free(__desc));	\
	})

/**
 * memdesc_put - Drop a reference to the memory that a descriptor manages
 * @desc: a folio or the descriptor of page pool memory; nothing else compiles
 *
 * The last reference frees the memory. Memory with a page pool's signature goes
 * back to the pool. A descriptor without references does not compile, see
 * memdesc_free().
 *
 * Context: Any context but NMI; not under a raw spinlock. Memory of a page pool
 * not with interrupts disabled.
 */
#define memdesc_put(desc)						\
	({								\
		__auto_type __desc = (desc);				\
		_Generic(__desc,					\
			 struct folio * : folio_put,			\
			 struct netmem_desc * : memdesc_put_netmem)(__desc); \
	})

#ifdef CONFIG_MEMDESC_CACHE
bool memdesc_cache_put_ptdesc(struct ptdesc *pt);
unsigned long memdesc_cache_drain(bool sync);
#else
static inline bool memdesc_cache_put_ptdesc(struct ptdesc *pt)
{
	return false;
}

static inline unsigned long memdesc_cache_drain(bool sync)
{
	return 0;
}
#endif

#endif /* _LINUX_MEMDESC_H */
