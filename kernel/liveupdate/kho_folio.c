// SPDX-License-Identifier: GPL-2.0-only
/*
 * Typed kexec handover of folios: the triple of folio_alloc() and folio_put(),
 * for one folio and for arrays.
 *
 * A live update hands over most memory as folios, so these functions do not go
 * through the ones for any type, but through the inline functions beneath: with
 * the type constant most checks fold.
 */

#include <linux/cleanup.h>
#include <linux/export.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/mm.h>

#include "kho_claim.h"
#include "kho_preserve.h"

/* Most large folios have the size of a PMD. With the order constant, this is short. */
static noinline int kho_preserve_chunk(struct folio *folio)
{
	const unsigned long pfn = folio_pfn(folio);
	int err;

	might_sleep();
	err = __kho_check_page(&folio->page, KHO_CHUNK_ORDER, KHO_MEMDESC_FOLIO);
	if (unlikely(err))
		return err;
	if (likely(kho_map_add_quick(pfn, KHO_CHUNK_ORDER, KHO_MEMDESC_FOLIO))) {
		kho_trace_preserve(pfn, KHO_CHUNK_ORDER, KHO_MEMDESC_FOLIO,
				   KHO_OUTER_RET_IP);
		return 0;
	}
	return kho_map_lock_and_add(pfn, KHO_CHUNK_ORDER, KHO_MEMDESC_FOLIO,
				    KHO_OUTER_RET_IP);
}

static noinline int kho_preserve_large_folio(struct folio *folio)
{
	const unsigned int order = folio_large_order(folio);
	int err = __kho_check_page(&folio->page, order, KHO_MEMDESC_FOLIO);

	if (unlikely(err))
		return err;

	guard(percpu_read)(&kho_map_sem);
	err = __kho_map_add(folio_pfn(folio), order, KHO_MEMDESC_FOLIO);
	if (likely(!err))
		kho_trace_preserve(folio_pfn(folio), order, KHO_MEMDESC_FOLIO,
				   KHO_OUTER_RET_IP);
	return err;
}

/**
 * kho_folio_preserve - preserve a folio
 * @folio: from folio_alloc(), or larger, up to MAX_FOLIO_ORDER; or an order 0 page
 *
 * Context: Process context, may sleep.
 * Return: 0, or an error as listed in "Typed kexec handover".
 */
int kho_folio_preserve(struct folio *folio)
{
	/* Most folios are small. With the order constant, too, this is short. */
	if (!folio_test_large(folio))
		return kho_preserve_one(&folio->page, 0, KHO_MEMDESC_FOLIO);
	if (likely(folio_large_order(folio) == KHO_CHUNK_ORDER))
		return kho_preserve_chunk(folio);
	return kho_preserve_large_folio(folio);
}
EXPORT_SYMBOL_GPL(kho_folio_preserve);

static noinline void kho_unpreserve_large_folio(struct folio *folio)
{
	const unsigned int order = folio_large_order(folio);

	might_sleep();
	/* The keys of "kho-v4" do not say that this was preserved as a folio. */
	if (order == KHO_CHUNK_ORDER && likely(kho_out.radix_tree.root) &&
	    likely(!kho_write_v4) &&
	    likely(kho_map_del_quick(folio_pfn(folio), KHO_CHUNK_ORDER,
				     KHO_MEMDESC_FOLIO))) {
		kho_trace_unpreserve(folio_pfn(folio), order, KHO_MEMDESC_FOLIO,
				     KHO_OUTER_RET_IP);
		return;
	}
	if (unlikely(!kho_out.radix_tree.root))
		return;

	guard(percpu_read)(&kho_map_sem);
	if (likely(__kho_map_del(folio_pfn(folio), order, KHO_MEMDESC_FOLIO)))
		kho_trace_unpreserve(folio_pfn(folio), order, KHO_MEMDESC_FOLIO,
				     KHO_OUTER_RET_IP);
}

/**
 * kho_folio_unpreserve - undo kho_folio_preserve()
 * @folio: as it was preserved; it was not split since
 *
 * Context: Process context, may sleep, but does not allocate.
 */
void kho_folio_unpreserve(struct folio *folio)
{
	if (folio_test_large(folio))
		kho_unpreserve_large_folio(folio);
	else
		kho_unpreserve_one(&folio->page, 0, KHO_MEMDESC_FOLIO);
}
EXPORT_SYMBOL_GPL(kho_folio_unpreserve);

/**
 * kho_folio_restore - restore a folio
 * @phys: physical address of the folio
 *
 * The folio is as folio_alloc() returns it, with the contents that it had: one
 * reference, large folios rmappable, no mapping, not charged to a memcg. Free
 * it with folio_put().
 *
 * Context: Process context, may sleep, any time after the page allocator is up.
 * Return: the folio, or ERR_PTR(-EINVAL) if it is no folio that is preserved
 *	there, ERR_PTR(-ENOENT) if nothing is, ERR_PTR(-EHWPOISON) if the folio
 *	has a hardware error, ERR_PTR(-EOPNOTSUPP) if this kernel only keeps the
 *	memory, or if a gigantic folio lies in two zones of this kernel, or
 *	early in the boot ERR_PTR(-ENOMEM).
 */
struct folio *kho_folio_restore_noprof(phys_addr_t phys)
{
	union kho_page_info info;
	struct page *page;
	int err;

	/* As kho_restore(), which is longer because it does not know the type. */
	err = __kho_claim(phys, KHO_FOLIO_TYPES, &info, &page, true);
	if (unlikely(err))
		return ERR_PTR(err);
	__kho_prep_claimed(page, KHO_MEMDESC_FOLIO, info.order, info.prepared);
	__kho_account_claimed(page, KHO_MEMDESC_FOLIO, info.order);
	return (struct folio *)page;
}
EXPORT_SYMBOL_GPL(kho_folio_restore_noprof);

/**
 * kho_folio_restore_hwpoison - restore a folio that has hardware errors
 * @phys: physical address of the folio
 *
 * For memory that is worth something without the pages that have errors, if its
 * owner can say so to whoever uses these pages. The page cache can: it looks for
 * the marks that the folio comes back with, PageHWPoison() of the pages and
 * folio_test_has_hwpoisoned() of a large folio.
 *
 * The folio has one reference more than the caller's, as if memory_failure() had
 * been called for it in this kernel: it never goes back to the page allocator.
 *
 * Context: As kho_folio_restore().
 * Return: the folio, or ERR_PTR(-ENOENT) if kho_folio_restore() does not say
 *	-EHWPOISON for it, or ERR_PTR(-EHWPOISON) if this kernel has no marks for
 *	the pages (CONFIG_MEMORY_FAILURE).
 */
struct folio *kho_folio_restore_hwpoison_noprof(phys_addr_t phys)
{
	union kho_page_info info;
	struct folio *folio;
	struct page *page;

	page = kho_claim_poisoned(phys, KHO_FOLIO_TYPES, &info);
	if (IS_ERR(page))
		return ERR_CAST(page);

	__kho_prep_claimed(page, KHO_MEMDESC_FOLIO, info.order, info.prepared);
	__kho_account_claimed(page, KHO_MEMDESC_FOLIO, info.order);
	folio = page_folio(page);
	if (info.order)
		folio_set_has_hwpoisoned(folio);
	folio_get(folio);
	return folio;
}
EXPORT_SYMBOL_GPL(kho_folio_restore_hwpoison_noprof);

/* The first member of a folio is its first page. */
static_assert(offsetof(struct folio, page) == 0);

/**
 * kho_folios_preserve - preserve several folios, or none
 * @folios: the folios, of any orders
 * @nr: how many
 *
 * Faster than one by one, most so if they are sorted by address.
 *
 * Context: Process context, may sleep.
 * Return: 0, or an error as listed in "Typed kexec handover"; then nothing was
 *	changed.
 */
int kho_folios_preserve(struct folio **folios, unsigned long nr)
{
	return kho_preserve_batch((struct page **)folios, nr, KHO_ORDER_OF_PAGE,
				  KHO_MEMDESC_FOLIO);
}
EXPORT_SYMBOL_GPL(kho_folios_preserve);

/**
 * kho_folios_unpreserve - undo kho_folios_preserve()
 * @folios: as they were preserved; none was split since
 * @nr: how many
 *
 * Context: Process context, may sleep, but does not allocate.
 */
void kho_folios_unpreserve(struct folio **folios, unsigned long nr)
{
	kho_unpreserve_page_descs((struct page **)folios, nr,
				  KHO_ORDER_OF_PAGE, KHO_MEMDESC_FOLIO);
}
EXPORT_SYMBOL_GPL(kho_folios_unpreserve);

/**
 * kho_folios_restore - restore several folios, or none
 * @phys: physical address of each
 * @nr: how many
 * @folios: set to the folios
 *
 * Each is as kho_folio_restore() returns it.
 *
 * Context: Process context, may sleep, any time after the page allocator is up.
 * Return: 0, or as kho_folio_restore(). After an error nothing is restored, and
 *	@folios is garbage.
 */
int kho_folios_restore_noprof(const phys_addr_t *phys, unsigned long nr,
			      struct folio **folios)
{
	struct page **pages = (struct page **)folios;
	unsigned long nr_pages = 0;
	union kho_page_info info;

	for (unsigned long i = 0; i < nr; i++) {
		int err = __kho_claim(phys[i], KHO_FOLIO_TYPES, &info,
				      &pages[i], false);

		if (unlikely(err)) {
			while (i--)
				kho_unclaim(pages[i]);
			return err;
		}
	}

	for (unsigned long i = 0; i < nr; i++) {
		struct page *page = pages[i];

		info = kho_end_claim(page);
		__kho_prep_claimed(page, KHO_MEMDESC_FOLIO, info.order,
				   info.prepared);
		kho_trace_restore(page, info.order, KHO_MEMDESC_FOLIO,
				  _RET_IP_);
		post_restore_hook(page, info.order);

		/* All CPUs share these counters: add to them once for a zone. */
		nr_pages += 1UL << info.order;
		if (i + 1 == nr || page_zone(pages[i + 1]) != page_zone(page)) {
			kho_add_managed(page, nr_pages);
			nr_pages = 0;
		}
	}
	return 0;
}
EXPORT_SYMBOL_GPL(kho_folios_restore_noprof);

/**
 * kho_alloc_preserve - Allocate, zero, and preserve memory.
 * @size: The number of bytes to allocate.
 *
 * Allocates a physically contiguous block of zeroed pages that is large
 * enough to hold @size bytes. The allocated memory is then registered with
 * KHO for preservation across a kexec.
 *
 * Note: The actual allocated size will be rounded up to the nearest
 * power-of-two page boundary.
 *
 * Return: A virtual pointer to the allocated and preserved memory on success,
 * or an ERR_PTR() encoded error on failure.
 */
void *kho_alloc_preserve(size_t size)
{
	struct folio *folio;
	int order, ret;

	if (!size)
		return ERR_PTR(-EINVAL);

	order = get_order(size);
	if (order > MAX_PAGE_ORDER)
		return ERR_PTR(-E2BIG);

	folio = kho_alloc_folio(order);
	if (!folio)
		return ERR_PTR(-ENOMEM);

	ret = kho_folio_preserve(folio);
	if (ret) {
		folio_put(folio);
		return ERR_PTR(ret);
	}

	return folio_address(folio);
}
EXPORT_SYMBOL_GPL(kho_alloc_preserve);

/**
 * kho_unpreserve_free - Unpreserve and free memory.
 * @mem:  Pointer to the memory allocated by kho_alloc_preserve().
 *
 * Unregisters the memory from KHO preservation and frees the underlying
 * pages back to the system. This function should be called to clean up
 * memory allocated with kho_alloc_preserve().
 */
void kho_unpreserve_free(void *mem)
{
	struct folio *folio;

	if (!mem)
		return;

	folio = virt_to_folio(mem);
	kho_folio_unpreserve(folio);
	folio_put(folio);
}
EXPORT_SYMBOL_GPL(kho_unpreserve_free);

/**
 * kho_restore_free - Restore and free memory after kexec.
 * @mem:  Pointer to the memory (in the new kernel's address space)
 * that was allocated by the old kernel.
 *
 * This function is intended to be called in the new kernel (post-kexec)
 * to take ownership of and free a memory region that was preserved by the
 * old kernel using kho_alloc_preserve().
 *
 * It first restores the pages from KHO (using their physical address)
 * and then frees the pages back to the new kernel's page allocator.
 *
 * If the memory was released (see Documentation/admin-guide/mm/kho.rst), it is not
 * found, and nothing happens. Memory that is not part of a subtree has to be
 * restored before it is read: it can have been released and have another owner.
 */
void kho_restore_free(void *mem)
{
	struct folio *folio;

	if (!mem)
		return;

	folio = kho_folio_restore(__pa(mem));
	if (!IS_ERR(folio))
		folio_put(folio);
	else
		WARN_ON(PTR_ERR(folio) != -ENOENT);
}
EXPORT_SYMBOL_GPL(kho_restore_free);
