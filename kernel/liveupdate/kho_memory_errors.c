// SPDX-License-Identifier: GPL-2.0-only
/*
 * Handing hardware errors of memory over.
 *
 * Only the kernel that has seen a hardware error knows that the page is bad,
 * and keeps the page from its page allocator. The next kernel would use the
 * page again: as ordinary memory, or, if the page was preserved before the
 * error came, as memory with good contents. So this kernel hands over a list of
 * the pages, see include/linux/kho/abi/memory_errors.h.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/memory_errors.h>
#include <linux/kho_memdesc.h>
#include <linux/memory-failure.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/xarray.h>

#include "kexec_handover_internal.h"
#include "kho_trace.h"

/* All pages with an error that this kernel knows of, by page frame number. */
static DEFINE_XARRAY(kho_errors);

/* The list of the previous kernel, until it is counted; NULL if none. */
static struct kho_memory_errors *kho_errors_in __initdata;

/* Some pages have errors that only the previous kernel knows of. */
bool kho_memory_errors_lost;

/**
 * kho_memory_error_add - remember that a page has a hardware error
 * @pfn: page frame number of the page
 *
 * Ignores pages of devices: they may have struct pages, but are never handed
 * over.
 *
 * Context: Process context, may sleep.
 */
void kho_memory_error_add(unsigned long pfn)
{
	/* kho_page_has_error() reads struct pages that a device may lack. */
	if (!pfn_to_online_page(pfn))
		return;
	/* If this fails the next kernel does not learn of the error. */
	if (xa_is_err(xa_store(&kho_errors, pfn, xa_mk_value(0), GFP_KERNEL)))
		pr_err("no memory to remember the error of page %#lx\n", pfn);
	kho_page_has_error(pfn);
}

/**
 * kho_memory_errors_del - forget the errors of pages
 * @pfn: page frame number of the first page
 * @nr_pages: number of pages
 *
 * Call this for pages that were made usable again (unpoison_memory()), but not
 * for every page that is no longer counted. hugetlb stops counting pages when
 * it has no memory for its list, and these pages are as bad as before.
 *
 * Memory that could not be restored because of the error still cannot.
 *
 * Context: Process context.
 */
void kho_memory_errors_del(unsigned long pfn, unsigned long nr_pages)
{
	unsigned long index;
	void *entry;

	xa_for_each_range(&kho_errors, index, entry, pfn, pfn + nr_pages - 1)
		xa_erase(&kho_errors, index);
}

/* Preserve the page, unless the memory around it is preserved already. */
static bool kho_memory_error_keep(unsigned long pfn)
{
	bool kept;
	int err;

	/* The error went away with memory that was removed. */
	if (!pfn_to_online_page(pfn))
		return false;
	kho_map_lock();
	kept = kho_is_preserved(pfn);
	if (!kept) {
		err = kho_map_add(pfn, 0, KHO_MEMDESC_METADATA);
		if (!err)
			kho_trace_preserve(pfn, 0, KHO_MEMDESC_METADATA, _RET_IP_);
		kept = !err;
	}
	kho_map_unlock();
	return kept;
}

/**
 * kho_memory_errors_hand_over - list the pages with errors for the next kernel
 *
 * Context: Process context, directly before kho_freeze_subtrees(). Errors that
 *	come later are not handed over.
 */
void kho_memory_errors_hand_over(void)
{
	struct kho_memory_errors *errors;
	unsigned long pfn, nr = 0;
	unsigned int noio;
	void *entry;

	if (!kho_out.radix_tree.root)
		return;

	xa_for_each(&kho_errors, pfn, entry)
		nr++;
	if (!nr)
		return;

	/* Devices are shut down: reclaim must not wait for writes to them. */
	noio = memalloc_noio_save();
	errors = kho_alloc_preserve(struct_size(errors, pfn, nr));
	if (IS_ERR(errors))
		goto failed;

	errors->version = KHO_MEMORY_ERRORS_VERSION;
	xa_for_each(&kho_errors, pfn, entry) {
		if (errors->nr < nr && kho_memory_error_keep(pfn))
			errors->pfn[errors->nr++] = pfn;
	}
	if (!kho_add_subtree(KHO_MEMORY_ERRORS_SUBTREE, errors,
			     struct_size(errors, pfn, nr)))
		goto out;
	kho_unpreserve_free(errors);
failed:
	pr_err("the next kernel will not know of %lu pages with hardware errors\n",
	       nr);
out:
	memalloc_noio_restore(noio);
}

/**
 * kho_memory_errors_init - find the list of the previous kernel
 *
 * Context: Boot, after kho_preserved_settle() and before kho_stamp_pages().
 */
void __init kho_memory_errors_init(void)
{
	struct kho_memory_errors *errors;
	phys_addr_t phys;
	size_t size;

	switch (kho_retrieve_subtree(KHO_MEMORY_ERRORS_SUBTREE, &phys, &size)) {
	case 0:
		break;
	case -ENOENT:
		return;
	default:
		kho_memory_errors_lost = true;
		return;
	}
	errors = phys_to_virt(phys);
	if (!IS_ALIGNED(phys, PAGE_SIZE) || size < sizeof(*errors) ||
	    errors->version != KHO_MEMORY_ERRORS_VERSION ||
	    struct_size(errors, pfn, errors->nr) > size) {
		pr_err("the list of pages with hardware errors is damaged, or of another version\n");
		kho_memory_errors_lost = true;
		return;
	}
	kho_errors_in = errors;
}

/**
 * kho_mark_memory_errors - mark the pages of a block that have errors
 * @start: page frame number of the first page
 * @end: page frame number behind the last page
 *
 * The list comes from another kernel and may be out of order. Then this
 * function may miss an entry; kho_memory_errors_count() reports it.
 *
 * Context: Boot, directly after kho_stamp_pages() for the same block. May run in
 *	parallel for different blocks.
 */
void __init kho_mark_memory_errors(unsigned long start, unsigned long end)
{
	struct kho_memory_errors *errors = kho_errors_in;
	u32 low = 0, high;

	if (likely(!errors))
		return;

	/* Find the first entry that is not below the block. */
	for (high = errors->nr; low < high;) {
		u32 mid = low + (high - low) / 2;

		if (errors->pfn[mid] < start)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < errors->nr && errors->pfn[low] < end; low++) {
		const unsigned long pfn = errors->pfn[low];

		/* Out of order. Its struct page may not be initialised yet. */
		if (pfn < start)
			continue;
		/* If it is not preserved, the page allocator gets it next. */
		if (kho_preserved_next(pfn, pfn + 1) != pfn)
			continue;
		SetPageHWPoison(pfn_to_page(pfn));
		kho_page_has_error(pfn);
	}
}

/**
 * kho_memory_errors_count - account the errors that the previous kernel has seen
 *
 * Context: Boot, when all struct pages are initialised and memory blocks exist.
 */
void __init kho_memory_errors_count(void)
{
	struct kho_memory_errors *errors = kho_errors_in;
	struct page *page;

	if (!errors)
		return;
	for (u32 i = 0; i < errors->nr; i++) {
		/* A page that is listed twice has one error. */
		if (xa_load(&kho_errors, errors->pfn[i]))
			continue;
		page = pfn_to_online_page(errors->pfn[i]);
		if (page && PageHWPoison(page))
			memory_failure_inherit(errors->pfn[i]);
		else if (page && IS_ENABLED(CONFIG_MEMORY_FAILURE))
			pr_err("page %#llx has a hardware error, but is not kept\n",
			       errors->pfn[i]);
		if (!page || !PageHWPoison(page))
			kho_memory_errors_lost = true;
	}
	pr_info("%u pages had hardware errors before\n", errors->nr);
	/*
	 * Restore the list, so that it is not counted as memory that nobody
	 * wants, but do not free it: debugfs shows it.
	 */
	kho_folio_restore(virt_to_phys(errors));
	kho_errors_in = NULL;
}
