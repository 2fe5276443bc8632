/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_KHO_ABI_MEMDESC_H
#define _LINUX_KHO_ABI_MEMDESC_H

#include <linux/build_bug.h>
#include <linux/kho/abi/kexec_handover.h>

/**
 * DOC: Typed preservations
 *
 * Since "kho-v5" every key of the preserved memory map contains the type of the
 * memory. The next kernel needs the type to put back the state that the
 * allocation had set. The type is a fixed field of the radix tree key, directly
 * above the order bit of an order 0 page::
 *
 *   63          59 58      53 52                                           0
 *   +-------------+----------+----------------------------------------------+
 *   |      0      |   type   |  order bit and shifted physical address (v4)  |
 *   +-------------+----------+----------------------------------------------+
 *                               (bit numbers for 4 KiB pages)
 *
 * Type 0 is "untyped". A v5 map that has only untyped keys is identical to a
 * "kho-v4" map. A reader must mask off the type before it searches for the
 * order bit. Key 0 has no order bit and is never valid.
 *
 * The values are a contract between kernels. They are independent of
 * &enum memdesc_type, whose values may change with any release. A wire type
 * says which state restore has to set up; one memdesc type may need several
 * wire types.
 *
 * New types take the next numbers, without a new version of the format: a kernel
 * that does not know a type keeps the memory from everybody, and lists it. A
 * kernel that can only read "kho-v4" refuses the handover by its version. The
 * field has room for 64 types. With pages of 4 KiB the tree could index one bit
 * more, with other pages two or more. If there are ever more types, the last
 * number has to say that the type of the memory is written elsewhere.
 */

/**
 * enum kho_memdesc - type of a preserved block of memory
 * @KHO_MEMDESC_UNTYPED: no type recorded, the restore function decides; the
 *	only type in "kho-v4"
 * @KHO_MEMDESC_FOLIO: as folio_alloc() returns it
 * @KHO_MEMDESC_BLOCK: 1 << order pages without compound state, refcount in the
 *	first page only, as alloc_pages() returns it
 * @KHO_MEMDESC_SPLIT: single pages of order 0, each with its own refcount, as
 *	alloc_pages_exact() and vmalloc() have them
 * @KHO_MEMDESC_COMPOUND: as alloc_pages(__GFP_COMP) returns it
 * @KHO_MEMDESC_LARGE_KMALLOC: kmalloc() memory beyond the slab sizes
 * @KHO_MEMDESC_SLAB: the pages of a slab
 * @KHO_MEMDESC_PTDESC: as pagetable_alloc() returns it
 * @KHO_MEMDESC_PTDESC_KERNEL: a constructed page table of the kernel, of any
 *	level, without a lock of its own
 * @KHO_MEMDESC_PTE: a constructed PTE table of a user address space
 * @KHO_MEMDESC_PMD: a constructed PMD table of a user address space
 * @KHO_MEMDESC_IOPTDESC: as iommu_alloc_pages_sz() returns it
 * @KHO_MEMDESC_METADATA: a page that KHO itself uses, otherwise like a block
 * @KHO_MEMDESC_HUGETLB: a folio of hugetlb, of whatever size it has
 * @KHO_MEMDESC_IOPTDESC_SHARED: a page that IOMMU tables share which are smaller
 *	than a page; include/linux/kho/abi/iommu_parts.h says which tables
 * @KHO_NR_MEMDESC: number of types assigned so far
 */
enum kho_memdesc {
	KHO_MEMDESC_UNTYPED		= 0,
	KHO_MEMDESC_FOLIO		= 1,
	KHO_MEMDESC_BLOCK		= 2,
	KHO_MEMDESC_SPLIT		= 3,
	KHO_MEMDESC_COMPOUND		= 4,
	KHO_MEMDESC_LARGE_KMALLOC	= 5,
	KHO_MEMDESC_SLAB		= 6,
	KHO_MEMDESC_PTDESC		= 7,
	KHO_MEMDESC_PTDESC_KERNEL	= 8,
	KHO_MEMDESC_PTE			= 9,
	KHO_MEMDESC_PMD			= 10,
	KHO_MEMDESC_IOPTDESC		= 11,
	KHO_MEMDESC_METADATA		= 12,
	KHO_MEMDESC_HUGETLB		= 13,
	KHO_MEMDESC_IOPTDESC_SHARED	= 14,

	KHO_NR_MEMDESC,
};

/* Where the type lies in a key of the preserved memory map. */
#define KHO_MEMDESC_SHIFT	(64 - PAGE_SHIFT + 1)
#define KHO_MEMDESC_BITS	6

static_assert(KHO_NR_MEMDESC <= 1 << KHO_MEMDESC_BITS);
static_assert(KHO_MEMDESC_SHIFT + KHO_MEMDESC_BITS == KHO_RADIX_KEY_WIDTH);
/* The types must not make the map deeper than it is in "kho-v4". */
#ifdef CONFIG_KEXEC_HANDOVER
static_assert(KHO_TREE_MAX_DEPTH == (PAGE_SHIFT == 12 ? 6 :
				     PAGE_SHIFT == 14 ? 5 : 4));
#endif

/**
 * DOC: Typed vmalloc areas
 *
 * Since "kho-v5" a vmalloc area is described by &struct kho_vmalloc with
 * %KHO_VMALLOC_RUNS in its flags. The structure and the chunks have the same
 * size as before, because other formats embed them. The flag means:
 *
 * - The first entry of the first chunk is not an address but the size in bytes
 *   that vmalloc() was asked for.
 * - Every other entry has an order in its low PAGE_SHIFT bits and stands for
 *   1 << order contiguous pages. Pages that happen to be contiguous share an
 *   entry and a key, however they are mapped.
 * - @order of &struct kho_vmalloc is the order of the mappings.
 *
 * The pages are preserved as %KHO_MEMDESC_SPLIT, the chunks as
 * %KHO_MEMDESC_METADATA.
 *
 * %KHO_VMALLOC_KMALLOC stands for kmalloc() memory, which kvmalloc() returns
 * for small sizes. @first is then the physical address of this memory. There
 * are no chunks, and all other fields are 0.
 */
#define KHO_VMALLOC_ALLOC	0x0001	/* allocated by vmalloc() */
#define KHO_VMALLOC_HUGE_VMAP	0x0002	/* may have huge mappings */
#define KHO_VMALLOC_RUNS	0x0004	/* typed, see above */
#define KHO_VMALLOC_KMALLOC	0x0008	/* not vmalloc() memory, see above */

#define KHO_VMALLOC_KNOWN_FLAGS \
	(KHO_VMALLOC_ALLOC | KHO_VMALLOC_HUGE_VMAP | KHO_VMALLOC_RUNS)

#endif /* _LINUX_KHO_ABI_MEMDESC_H */
