// SPDX-License-Identifier: GPL-2.0-only
/*
 * Handing hardware errors of memory over.
 *
 * A page with an error is kept from the page allocator by the kernel that has
 * seen the error, and only by that kernel. The next one would use the page again:
 * as ordinary memory, or, if somebody preserved it before the error came, as
 * memory with good contents. So the pages are listed for the next kernel, see
 * include/linux/kho/abi/memory_errors.h.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/memory_errors.h>
#include <linux/kho_memdesc.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/xarray.h>

#include "kexec_handover_internal.h"

/* Page frame numbers of all pages with an error that this kernel knows of. */
static DEFINE_XARRAY(kho_errors);

/* What the previous kernel has listed, until it is counted; NULL for nothing. */
static struct kho_memory_errors *kho_errors_in __initdata;

/**
 * kho_memory_error_add - a page has a hardware error
 * @pfn: its page frame number
 *
 * Context: Process context, may sleep.
 */
void kho_memory_error_add(unsigned long pfn)
{
	/* Without memory for that the next kernel does not hear of it. */
	if (xa_is_err(xa_store(&kho_errors, pfn, xa_mk_value(0), GFP_KERNEL)))
		pr_err("no memory to remember the error of page %#lx\n", pfn);
	kho_page_has_error(pfn);
}

/**
 * kho_memory_error_del - undo kho_memory_error_add()
 * @pfn: page frame number
 *
 * Memory that was not restored because of the error stays so.
 *
 * Context: Process context.
 */
void kho_memory_error_del(unsigned long pfn)
{
	xa_erase(&kho_errors, pfn);
}

/* Preserve the page, unless the memory that it lies in is preserved. */
static bool kho_memory_error_keep(unsigned long pfn)
{
	bool kept;

	/* Memory that was removed has no error any more. */
	if (!pfn_to_online_page(pfn))
		return false;
	kho_map_lock();
	kept = kho_is_preserved(pfn) || !kho_map_add(pfn, 0, KHO_MEMDESC_METADATA);
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
	void *entry;

	if (!kho_out.radix_tree.root)
		return;

	xa_for_each(&kho_errors, pfn, entry)
		nr++;
	if (!nr)
		return;

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
		return;
failed:
	pr_err("the next kernel will not know of %lu pages with hardware errors\n",
	       nr);
}

/**
 * kho_memory_errors_init - find the list of the previous kernel
 *
 * Context: Boot, when it is settled what is preserved, and before
 *	kho_stamp_pages().
 */
void __init kho_memory_errors_init(void)
{
	struct kho_memory_errors *errors;
	phys_addr_t phys;
	size_t size;

	if (kho_retrieve_subtree(KHO_MEMORY_ERRORS_SUBTREE, &phys, &size))
		return;
	errors = phys_to_virt(phys);
	if (!IS_ALIGNED(phys, PAGE_SIZE) || size < sizeof(*errors) ||
	    errors->version != KHO_MEMORY_ERRORS_VERSION ||
	    struct_size(errors, pfn, errors->nr) > size) {
		pr_err("the list of pages with hardware errors is damaged, or of another version\n");
		return;
	}
	kho_errors_in = errors;
}

/**
 * kho_mark_memory_errors - mark the pages of a block that have errors
 * @start: page frame number of the first page
 * @end: page frame number behind the last page
 *
 * The list comes from another kernel and may be out of order. An entry that is not
 * found for this reason is reported by kho_memory_errors_count().
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

	/* The first one that is not below the block. */
	for (high = errors->nr; low < high;) {
		u32 mid = low + (high - low) / 2;

		if (errors->pfn[mid] < start)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < errors->nr && errors->pfn[low] < end; low++) {
		const unsigned long pfn = errors->pfn[low];

		/* Struct pages of other blocks may not be initialised yet. */
		if (pfn < start)
			continue;
		/* What is not kept is given to the page allocator next. */
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
		page = pfn_to_online_page(errors->pfn[i]);
		if (page && PageHWPoison(page))
			num_poisoned_pages_inc(errors->pfn[i]);
		else if (page && IS_ENABLED(CONFIG_MEMORY_FAILURE))
			pr_err("page %#llx has a hardware error, but is not kept\n",
			       errors->pfn[i]);
	}
	pr_info("%u pages had hardware errors before\n", errors->nr);
	kho_errors_in = NULL;
	kho_restore_free(errors);
}
