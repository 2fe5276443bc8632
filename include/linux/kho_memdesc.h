/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_KHO_MEMDESC_H
#define _LINUX_KHO_MEMDESC_H

#include <linux/alloc_tag.h>
#include <linux/err.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/memdesc.h>
#include <linux/types.h>

struct folio;
struct ioptdesc;
struct kho_vmalloc;
struct kmem_cache;
struct list_head;
struct page;
struct ptdesc;

/**
 * DOC: Typed kexec handover
 *
 * Each allocator has three functions here, which mirror its alloc and free
 * functions. restore() returns preserved memory in the state in which the
 * allocator had returned it. The allocator's ordinary free function frees the
 * memory:
 *
 * =======================  ============================ ========================
 * allocate / free          preserve / unpreserve        restore
 * =======================  ============================ ========================
 * folio_alloc()            kho_folio_preserve()         kho_folio_restore()
 * folio_put()              kho_folio_unpreserve()
 * hugetlb_alloc_folio()    kho_hugetlb_preserve()       kho_hugetlb_restore()
 * folio_put()              kho_hugetlb_unpreserve()
 * alloc_pages()            kho_pages_preserve()         kho_pages_restore()
 * __free_pages()           kho_pages_unpreserve()
 * alloc_pages_exact()      kho_pages_exact_preserve()   kho_pages_exact_restore()
 * free_pages_exact()       kho_pages_exact_unpreserve()
 * kmalloc()                kho_slab_preserve()          kho_slab_restore()
 * kfree()                  kho_slab_unpreserve()
 * kmem_cache_alloc()       kho_kmem_cache_preserve()    kho_kmem_cache_restore()
 * kmem_cache_free()        kho_kmem_cache_unpreserve()
 * vmalloc(), kvmalloc()    kho_vmalloc_preserve()       kho_vmalloc_restore()
 * vfree(), kvfree()        kho_vmalloc_unpreserve()
 * pagetable_alloc()        kho_ptdesc_preserve()        kho_ptdesc_restore()
 * pagetable_free()         kho_ptdesc_unpreserve()
 * memdesc_alloc_node()     kho_ioptdesc_preserve()      kho_ioptdesc_restore()
 * memdesc_free()           kho_ioptdesc_unpreserve()
 * =======================  ============================ ========================
 *
 * Where a spinlock protects the memory, kho_ptdesc_preserve_nowait() and
 * kho_preserve_page_desc_nowait() preserve it after kho_map_reserve().
 *
 * A failed call changes nothing and can be repeated. The preserve functions
 * return 0 and the restore functions return the object, or one of
 *
 * %-EINVAL
 *	the memory is recognisably of another type or order than the call is
 *	for, or its address or size is not aligned
 * %-EEXIST
 *	the memory is already preserved, or overlaps preserved memory
 * %-ENOENT
 *	restore: nothing is preserved there, or it was already restored
 * %-EHWPOISON
 *	restore: some of the memory had a hardware error after it was preserved;
 *	the memory stays where it is, and the page allocator never gets it.
 *	kho_folio_restore_hwpoison() restores such a folio, and
 *	kho_hugetlb_restore_hwpoison() one of hugetlb
 * %-ENOMEM
 *	there was no memory for the metadata, for the lock of a page table, or,
 *	early in the boot, to initialise struct pages
 * %-EOPNOTSUPP
 *	KHO is off, or the memory cannot be handed over, because it is
 *
 *	- in a scratch or CMA area, or was hot added
 *	- of a device or of a page pool, or of hugetlb and the call is not for that
 *	- known to have a hardware error
 *	- an object of a %SLAB_TYPESAFE_BY_RCU cache, or of a slab with too many
 *	  objects
 *	- a vmalloc area of anything but ordinary pages
 *	- a page table that has no type on the wire
 *	- of a type that the wire format lacks which this kernel was told to
 *	  write
 *
 *	restore: this kernel does not understand how the memory is preserved,
 *	and keeps it from everybody; or the object has to be restored in place
 *	and can only be copied; or a folio or compound page of an order above
 *	MAX_PAGE_ORDER lies in two zones of this kernel; or hugetlb has no pages
 *	of this size
 *
 * The owner of preserved memory still uses the memory, and still frees it, but
 * must unpreserve it before freeing it. The memory and its contents are handed
 * over as they are at the time of the kexec.
 *
 * Folios and compound pages can be of any order up to MAX_FOLIO_ORDER, as
 * alloc_contig_frozen_pages() returns them with %__GFP_COMP. The same functions
 * as for smaller ones free them.
 *
 * The memory manager cannot tell a folio of order 0 from a page of
 * alloc_page(). Therefore either preserve function takes either. The recorded
 * type decides how the memory is restored. The same is true of large folios and
 * compound pages in a kernel without transparent huge pages. A block of pages
 * that is not compound does not know its order: KHO has to believe the caller.
 */

/* As an order: take the order that the page itself has. */
#define KHO_ORDER_OF_PAGE	(-1)

#ifdef CONFIG_KEXEC_HANDOVER

int kho_preserve_page_desc(struct page *page, unsigned int order,
			   enum kho_memdesc type);
void kho_unpreserve_page_desc(struct page *page, unsigned int order,
			      enum kho_memdesc type);
int kho_preserve_page_descs(struct page **pages, unsigned long nr, int order,
			    enum kho_memdesc type);
void kho_unpreserve_page_descs(struct page **pages, unsigned long nr, int order,
			       enum kho_memdesc type);
struct page *kho_restore_page_desc_noprof(phys_addr_t phys, memdesc_t desc);

int kho_map_reserve(phys_addr_t phys, u64 size, unsigned int order,
		    enum kho_memdesc type);
void kho_map_unreserve(void);
int kho_preserve_page_desc_nowait(struct page *page, unsigned int order,
				  enum kho_memdesc type);

int kho_folio_preserve(struct folio *folio);
void kho_folio_unpreserve(struct folio *folio);
struct folio *kho_folio_restore_noprof(phys_addr_t phys);
struct folio *kho_folio_restore_hwpoison_noprof(phys_addr_t phys);
int kho_folios_preserve(struct folio **folios, unsigned long nr);
void kho_folios_unpreserve(struct folio **folios, unsigned long nr);
int kho_folios_restore_noprof(const phys_addr_t *phys, unsigned long nr,
			      struct folio **folios);

#ifdef CONFIG_HUGETLB_PAGE
int kho_hugetlb_preserve(struct folio *folio);
void kho_hugetlb_unpreserve(struct folio *folio);
struct folio *kho_hugetlb_restore_noprof(phys_addr_t phys);
struct folio *kho_hugetlb_restore_hwpoison_noprof(phys_addr_t phys);
#endif

int kho_pages_preserve(struct page *page, unsigned int order);
void kho_pages_unpreserve(struct page *page, unsigned int order);
struct page *kho_pages_restore_noprof(phys_addr_t phys, unsigned int order);

int kho_pages_exact_preserve(const void *virt, size_t size);
void kho_pages_exact_unpreserve(const void *virt, size_t size);
void *kho_pages_exact_restore_noprof(phys_addr_t phys, size_t size);

int kho_slab_preserve(const void *obj);
void kho_slab_unpreserve(const void *obj);
void *kho_slab_restore_noprof(phys_addr_t phys);
void *kho_slab_restore_in_place_noprof(phys_addr_t phys);

int kho_kmem_cache_preserve(struct kmem_cache *cache, const void *obj);
void kho_kmem_cache_unpreserve(struct kmem_cache *cache, const void *obj);
void *kho_kmem_cache_restore_noprof(struct kmem_cache *cache, phys_addr_t phys);
void *kho_kmem_cache_restore_in_place_noprof(struct kmem_cache *cache,
					     phys_addr_t phys);

int kho_vmalloc_preserve(const void *mem, struct kho_vmalloc *ser);
void kho_vmalloc_unpreserve(struct kho_vmalloc *ser);
void *kho_vmalloc_restore_noprof(const struct kho_vmalloc *ser);

int kho_ptdesc_preserve(struct ptdesc *pt);
int kho_ptdesc_preserve_nowait(struct ptdesc *pt);
void kho_ptdesc_unpreserve(struct ptdesc *pt);
struct ptdesc *kho_ptdesc_restore_noprof(phys_addr_t phys);

int kho_ioptdesc_preserve(struct ioptdesc *iopt);
void kho_ioptdesc_unpreserve(struct ioptdesc *iopt);
struct ioptdesc *kho_ioptdesc_restore_noprof(phys_addr_t phys);
int kho_ioptdesc_check_shared(phys_addr_t phys);
struct ioptdesc *kho_ioptdesc_restore_shared_noprof(phys_addr_t phys);
int kho_ioptdesc_preserve_list(struct list_head *list);
void kho_ioptdesc_unpreserve_list(struct list_head *list);
int kho_ioptdesc_claim_noprof(phys_addr_t phys, int order,
			      struct list_head *list);
unsigned long kho_ioptdesc_commit_noprof(struct list_head *list);
void kho_ioptdesc_abort(struct list_head *list);

#else /* CONFIG_KEXEC_HANDOVER */

static inline int kho_map_reserve(phys_addr_t phys, u64 size,
				  unsigned int order, enum kho_memdesc type)
{
	return -EOPNOTSUPP;
}

static inline void kho_map_unreserve(void) { }

static inline int kho_preserve_page_desc_nowait(struct page *page,
						unsigned int order,
						enum kho_memdesc type)
{
	return -EOPNOTSUPP;
}

static inline int kho_preserve_page_desc(struct page *page, unsigned int order,
					 enum kho_memdesc type)
{
	return -EOPNOTSUPP;
}

static inline void kho_unpreserve_page_desc(struct page *page,
					    unsigned int order,
					    enum kho_memdesc type) { }

static inline int kho_preserve_page_descs(struct page **pages, unsigned long nr,
					  int order, enum kho_memdesc type)
{
	return -EOPNOTSUPP;
}

static inline void kho_unpreserve_page_descs(struct page **pages,
					     unsigned long nr, int order,
					     enum kho_memdesc type) { }

static inline struct page *kho_restore_page_desc_noprof(phys_addr_t phys,
							memdesc_t desc)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline int kho_folio_preserve(struct folio *folio)
{
	return -EOPNOTSUPP;
}

static inline void kho_folio_unpreserve(struct folio *folio) { }

static inline struct folio *kho_folio_restore_noprof(phys_addr_t phys)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline struct folio *
kho_folio_restore_hwpoison_noprof(phys_addr_t phys)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline int kho_folios_preserve(struct folio **folios, unsigned long nr)
{
	return -EOPNOTSUPP;
}

static inline void kho_folios_unpreserve(struct folio **folios,
					 unsigned long nr) { }

static inline int kho_folios_restore_noprof(const phys_addr_t *phys,
					    unsigned long nr,
					    struct folio **folios)
{
	return -EOPNOTSUPP;
}

static inline int kho_pages_preserve(struct page *page, unsigned int order)
{
	return -EOPNOTSUPP;
}

static inline void kho_pages_unpreserve(struct page *page,
					unsigned int order) { }

static inline struct page *kho_pages_restore_noprof(phys_addr_t phys,
						    unsigned int order)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline int kho_pages_exact_preserve(const void *virt, size_t size)
{
	return -EOPNOTSUPP;
}

static inline void kho_pages_exact_unpreserve(const void *virt, size_t size) { }

static inline void *kho_pages_exact_restore_noprof(phys_addr_t phys,
						   size_t size)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline int kho_slab_preserve(const void *obj)
{
	return -EOPNOTSUPP;
}

static inline void kho_slab_unpreserve(const void *obj) { }

static inline void *kho_slab_restore_noprof(phys_addr_t phys)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline void *kho_slab_restore_in_place_noprof(phys_addr_t phys)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline int kho_kmem_cache_preserve(struct kmem_cache *cache,
					  const void *obj)
{
	return -EOPNOTSUPP;
}

static inline void kho_kmem_cache_unpreserve(struct kmem_cache *cache,
					     const void *obj) { }

static inline void *kho_kmem_cache_restore_noprof(struct kmem_cache *cache,
						  phys_addr_t phys)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline void *
kho_kmem_cache_restore_in_place_noprof(struct kmem_cache *cache,
				       phys_addr_t phys)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline int kho_vmalloc_preserve(const void *mem, struct kho_vmalloc *ser)
{
	return -EOPNOTSUPP;
}

static inline void kho_vmalloc_unpreserve(struct kho_vmalloc *ser) { }

static inline void *kho_vmalloc_restore_noprof(const struct kho_vmalloc *ser)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline int kho_ptdesc_preserve(struct ptdesc *pt)
{
	return -EOPNOTSUPP;
}

static inline int kho_ptdesc_preserve_nowait(struct ptdesc *pt)
{
	return -EOPNOTSUPP;
}

static inline void kho_ptdesc_unpreserve(struct ptdesc *pt) { }

static inline struct ptdesc *kho_ptdesc_restore_noprof(phys_addr_t phys)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline int kho_ioptdesc_preserve(struct ioptdesc *iopt)
{
	return -EOPNOTSUPP;
}

static inline void kho_ioptdesc_unpreserve(struct ioptdesc *iopt) { }

static inline struct ioptdesc *kho_ioptdesc_restore_noprof(phys_addr_t phys)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline int kho_ioptdesc_preserve_list(struct list_head *list)
{
	return -EOPNOTSUPP;
}

static inline void kho_ioptdesc_unpreserve_list(struct list_head *list) { }

static inline int kho_ioptdesc_claim_noprof(phys_addr_t phys, int order,
					    struct list_head *list)
{
	return -EOPNOTSUPP;
}

static inline unsigned long kho_ioptdesc_commit_noprof(struct list_head *list)
{
	return 0;
}

static inline void kho_ioptdesc_abort(struct list_head *list) { }

#endif /* CONFIG_KEXEC_HANDOVER */

#if !defined(CONFIG_KEXEC_HANDOVER) || !defined(CONFIG_HUGETLB_PAGE)
static inline int kho_hugetlb_preserve(struct folio *folio)
{
	return -EOPNOTSUPP;
}

static inline void kho_hugetlb_unpreserve(struct folio *folio) { }

static inline struct folio *kho_hugetlb_restore_noprof(phys_addr_t phys)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline struct folio *
kho_hugetlb_restore_hwpoison_noprof(phys_addr_t phys)
{
	return ERR_PTR(-EOPNOTSUPP);
}
#endif

/* Allocation profiling charges restored memory to the code that restores it. */
#define kho_restore_page_desc(...) \
	alloc_hooks(kho_restore_page_desc_noprof(__VA_ARGS__))
#define kho_folio_restore(...) \
	alloc_hooks(kho_folio_restore_noprof(__VA_ARGS__))
#define kho_folio_restore_hwpoison(...) \
	alloc_hooks(kho_folio_restore_hwpoison_noprof(__VA_ARGS__))
#define kho_folios_restore(...) \
	alloc_hooks(kho_folios_restore_noprof(__VA_ARGS__))
#define kho_pages_restore(...) \
	alloc_hooks(kho_pages_restore_noprof(__VA_ARGS__))
#define kho_hugetlb_restore(...)					\
	alloc_hooks(kho_hugetlb_restore_noprof(__VA_ARGS__))
#define kho_hugetlb_restore_hwpoison(...)				\
	alloc_hooks(kho_hugetlb_restore_hwpoison_noprof(__VA_ARGS__))
#define kho_pages_exact_restore(...) \
	alloc_hooks(kho_pages_exact_restore_noprof(__VA_ARGS__))
#define kho_slab_restore(...) \
	alloc_hooks(kho_slab_restore_noprof(__VA_ARGS__))
#define kho_slab_restore_in_place(...) \
	alloc_hooks(kho_slab_restore_in_place_noprof(__VA_ARGS__))
#define kho_kmem_cache_restore(...) \
	alloc_hooks(kho_kmem_cache_restore_noprof(__VA_ARGS__))
#define kho_kmem_cache_restore_in_place(...) \
	alloc_hooks(kho_kmem_cache_restore_in_place_noprof(__VA_ARGS__))
#define kho_vmalloc_restore(...) \
	alloc_hooks(kho_vmalloc_restore_noprof(__VA_ARGS__))
#define kho_ptdesc_restore(...) \
	alloc_hooks(kho_ptdesc_restore_noprof(__VA_ARGS__))
#define kho_ioptdesc_restore(...) \
	alloc_hooks(kho_ioptdesc_restore_noprof(__VA_ARGS__))
#define kho_ioptdesc_restore_shared(...) \
	alloc_hooks(kho_ioptdesc_restore_shared_noprof(__VA_ARGS__))
#define kho_ioptdesc_claim(...) \
	alloc_hooks(kho_ioptdesc_claim_noprof(__VA_ARGS__))
#define kho_ioptdesc_commit(...) \
	alloc_hooks(kho_ioptdesc_commit_noprof(__VA_ARGS__))

#endif /* _LINUX_KHO_MEMDESC_H */
