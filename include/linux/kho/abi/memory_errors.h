/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_KHO_ABI_MEMORY_ERRORS_H
#define _LINUX_KHO_ABI_MEMORY_ERRORS_H

#include <linux/types.h>

/**
 * DOC: Memory errors
 *
 * The subtree "memory-errors" lists the pages that had a hardware error when the
 * previous kernel was left. All these pages are in preserved memory. If a page
 * is not preserved anyway, it is preserved because of the error, as
 * %KHO_MEMDESC_METADATA. So even a kernel that does not know this list keeps
 * the page from its page allocator.
 */

#define KHO_MEMORY_ERRORS_SUBTREE	"memory-errors"
#define KHO_MEMORY_ERRORS_VERSION	1

/**
 * struct kho_memory_errors - pages with hardware errors
 * @version: %KHO_MEMORY_ERRORS_VERSION
 * @nr: number of pages
 * @pfn: their page frame numbers, in ascending order
 */
struct kho_memory_errors {
	u32 version;
	u32 nr;
	u64 pfn[];
};

#endif /* _LINUX_KHO_ABI_MEMORY_ERRORS_H */
