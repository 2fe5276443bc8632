/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_KHO_ABI_MEMORY_ERRORS_H
#define _LINUX_KHO_ABI_MEMORY_ERRORS_H

#include <linux/types.h>

/**
 * DOC: Memory errors
 *
 * The subtree "memory-errors" lists the pages that had a hardware error when the
 * previous kernel was left. All of them are in preserved memory: a page that
 * was not preserved for another reason is preserved for this one, as
 * %KHO_MEMDESC_METADATA, so that a kernel which does not know the list keeps it
 * from its page allocator, too.
 */

#define KHO_MEMORY_ERRORS_SUBTREE	"memory-errors"
#define KHO_MEMORY_ERRORS_VERSION	1

/**
 * struct kho_memory_errors - pages with hardware errors
 * @version: %KHO_MEMORY_ERRORS_VERSION
 * @nr: how many
 * @pfn: their page frame numbers, in ascending order
 */
struct kho_memory_errors {
	u32 version;
	u32 nr;
	u64 pfn[];
};

#endif /* _LINUX_KHO_ABI_MEMORY_ERRORS_H */
