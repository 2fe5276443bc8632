/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Test of a damaged handover: what its files share.
 *
 * main.c	the table of kinds of damage, and the files in debugfs
 * place.c	what this kernel hands over, and addresses to write into it
 *
 * Each other file has kinds of damage that belong together:
 *
 * map.c	the map of preserved memory: its keys, nodes and leaves
 * kept.c	memory that the next kernel does not understand, and has to keep
 * slab.c	the lists of slabs, and the records in them
 * parts.c	the records of IOMMU tables that share a page
 * subtree.c	data that others hand over by name, and regions of reserve_mem
 * fdt.c	the FDT, the address of the map in it, and the scratch areas
 * memory.c	memory that the next kernel reserves, or does not have
 */
#ifndef _KHD_H
#define _KHD_H

#include <linux/bits.h>
#include <linux/kho_radix_tree.h>
#include <linux/types.h>

struct kho_slab_root;

/* A physical address that no machine has memory at */
#define KHD_NO_MEMORY	BIT_ULL(51)

/* The region of reserve_mem that some kinds are about */
#define KHD_REGION	"damage"

/* Two small numbers as the argument of a kind */
#define KHD_PAIR(a, b)	((u64)(a) << 32 | (b))

/*
 * khd_slab() copies a record within chain 0. With these flags the source or the
 * destination is in the chain with the longest bitmaps instead.
 */
#define KHD_FROM_LONG	1U
#define KHD_TO_LONG	2U
#define KHD_LONG	(KHD_FROM_LONG | KHD_TO_LONG)

/* Places that damaged data leads to */
enum khd_place {
	KHD_ZERO,
	KHD_BEYOND,
	KHD_END,
	KHD_HOLE,
	KHD_ALL_ONES,
	KHD_PAGE,		/* in use, and not preserved */
	KHD_PAGE_UNALIGNED,
	KHD_SCRATCH,
	KHD_ROOT,		/* of the map */
	KHD_ROOT_UNALIGNED,
	KHD_LAST_NODE,		/* of the map */
	KHD_FIRST_SPLIT,	/* the first split pages in the map */
	KHD_FIRST_IOPTDESC,	/* the first IOMMU table of a page */
	KHD_CHUNK,		/* the first page with records of slabs */
	KHD_CHUNK_UNALIGNED,
};

/* What overlaps in the map */
enum khd_overlap {
	KHD_UNKNOWN_KNOWN,
	KHD_ORDER_KNOWN,
	KHD_TWICE_ORDER,
	KHD_TWICE_TYPE,
	KHD_TWICE_LARGER,
};

/* What is wrong with the record of a slab */
enum khd_slab {
	KHD_SLAB_TWICE,
	KHD_SLAB_NOT_PRESERVED,
	KHD_SLAB_BEYOND,
	KHD_SLAB_GREEDY,
	KHD_SLAB_ORDER,
	KHD_SLAB_LAYOUT,
	KHD_SLAB_OBJECTS,
	KHD_SLAB_ALIGN,
	KHD_SLAB_FLAGS,
	KHD_SLAB_CLASS,
	KHD_SLAB_BITS,
};

/* What is wrong with the record of a page that IOMMU tables share */
enum khd_parts {
	KHD_PARTS_TWICE,
	KHD_PARTS_SIZE,
	KHD_PARTS_SMALL,
	KHD_PARTS_BITS,
	KHD_PARTS_NONE,
	KHD_PARTS_NOT_PRESERVED,
	KHD_PARTS_TYPE,
};

/* Whose data is damaged */
enum khd_subtree {
	KHD_METADATA,
	KHD_MEMBLOCK,
	KHD_LUO,
};

/* What is wrong with the FDT */
enum khd_fdt {
	KHD_FDT_MAGIC,
	KHD_FDT_STRUCT,
	KHD_FDT_TOKEN,
	KHD_FDT_SIZE,
};

/* What is wrong with the table of scratch areas */
enum khd_table {
	KHD_TABLE_UNALIGNED,
	KHD_TABLE_BEYOND,
	KHD_TABLE_TWICE,
};

/* What the next kernel needs, and loses the memory of */
enum khd_needed {
	KHD_NEEDS_FDT,
	KHD_NEEDS_MAP,
};

/* main.c */
int khd_expect(const char *what, u64 val);
int khd_refused(void);

/* place.c */
u64 *khd_root_prop(void);
void *khd_subtree_prop(const char *node, const char *prop);
u64 *khd_subtree(const char *node);
struct kho_slab_root *khd_slabs(void);
phys_addr_t khd_new_pages(unsigned int order);
u64 khd_place(enum khd_place place);

/* map.c */
extern struct kho_radix_tree khd_map;
int khd_init_map(void);
int khd_add_pages(phys_addr_t phys, unsigned int order, unsigned int type);
int khd_bad_pages(phys_addr_t phys, unsigned int order, unsigned int type);
int khd_hold_pages(phys_addr_t phys, unsigned int order, unsigned int type);
int khd_key(u64 key);
int khd_key_too_wide(u64 bit);
int khd_order(u64 arg);
int khd_pages(u64 arg);
int khd_scratch_part(u64 shift);
int khd_huge(u64 shift);
int khd_overlap(u64 i);
int khd_node(u64 place);
int khd_node_cycle(u64 slot);
int khd_node_deep_cycle(u64 slot);
int khd_node_twice(u64 slot);
int khd_node_garbage(u64 arg);
int khd_leaf_garbage(u64 arg);

/* kept.c */
int khd_keep_pages(phys_addr_t phys, unsigned int order, unsigned int type);
int khd_check_kept(char *list);
int khd_keep(u64 arg);
int khd_keep_two(u64 type);

/* slab.c */
int khd_slab(u64 arg);
int khd_slab_root(u64 size);
int khd_chunk(u64 place);
int khd_chunk_page(u64 type);
int khd_chunk_long(u64 more);
int khd_copy_twice(u64 chain);

/* parts.c */
int khd_parts(u64 what);
int khd_parts_next(u64 place);
int khd_parts_page(u64 type);

/* subtree.c */
int khd_bad_subtree(u64 arg);
int khd_subtree_too_long(u64 len);
int khd_subtree_reserved(u64 nr);
int khd_region(u64 place);
int khd_region_pages(u64 arg);
int khd_region_released(u64 arg);

/* fdt.c */
int khd_root(u64 place);
int khd_fdt(u64 kind);
int khd_fdt_not_preserved(u64 type);
int khd_table(u64 kind);

/* memory.c */
int khd_late_reserve(phys_addr_t phys);
int khd_reserved(u64 type);
int khd_needed_reserved(u64 needed);
int khd_memmap_needed(u64 needed);
int khd_mem_needed(u64 needed);
int khd_memmap(u64 arg);
int khd_scratch_used(u64 pages);

#endif /* _KHD_H */
