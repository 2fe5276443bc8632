/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_KHO_ABI_SLAB_H
#define _LINUX_KHO_ABI_SLAB_H

#include <linux/build_bug.h>
#include <linux/types.h>

#include <asm/page.h>

/**
 * DOC: Slab objects
 *
 * An object of a slab is handed over together with the whole slab, whose pages
 * are preserved as %KHO_MEMDESC_SLAB. Each slab has a record, which says where the
 * objects of the slab lie and which of them are preserved. Nothing that the slab
 * allocator keeps in the slab itself, or in its struct page, is part of the format.
 *
 * The subtree %KHO_SLAB_SUBTREE is a &struct kho_slab_root. The root has the
 * physical addresses of the first page of several chains. Every page of a chain is
 * preserved as %KHO_MEMDESC_METADATA. It is a &struct kho_slab_chunk with entries
 * of the same size. An entry that begins with 0 is not in use. Chain i has the
 * &struct kho_slab_record of slabs whose bitmap takes 1 << i words, or fewer. Chain
 * %KHO_SLAB_COPIES has a &struct kho_slab_copy for every object that cannot be
 * handed over where it is, and has another preserved object in its place.
 */
#define KHO_SLAB_SUBTREE	"slab"
#define KHO_SLAB_VERSION	1

/* A record fits a page if its bitmap has 256 words, for 16384 objects. */
#define KHO_SLAB_RECORDS	9
#define KHO_SLAB_MAX_OBJECTS	(64U << (KHO_SLAB_RECORDS - 1))
#define KHO_SLAB_COPIES		9
#define KHO_SLAB_CHAINS		10

/**
 * struct kho_slab_root - contents of the subtree
 * @version: %KHO_SLAB_VERSION
 * @reserved: 0
 * @chain: physical address of the first chunk of each chain, or 0
 */
struct kho_slab_root {
	u32 version;
	u32 reserved;
	u64 chain[KHO_SLAB_CHAINS];
};

/**
 * struct kho_slab_chunk - a page with entries
 * @next: physical address of the next page of the chain, or 0
 * @top: how many entries were ever used; there is nothing behind these
 * @used: for the writing kernel only
 * @free: for the writing kernel only
 * @reserved: 0
 * @data: the entries
 */
struct kho_slab_chunk {
	u64 next;
	u16 top;
	u16 used;
	u16 free;
	u16 reserved;
	u64 data[];
};

/**
 * enum kho_slab_class - kind of kmalloc() memory, by the flags of the
 * allocation
 * @KHO_SLAB_NORMAL: none of the flags below
 * @KHO_SLAB_RECLAIM: __GFP_RECLAIMABLE
 * @KHO_SLAB_CGROUP: __GFP_ACCOUNT
 * @KHO_SLAB_DMA: __GFP_DMA
 * @KHO_NR_SLAB_CLASSES: number of classes assigned so far
 */
enum kho_slab_class {
	KHO_SLAB_NORMAL		= 0,
	KHO_SLAB_RECLAIM	= 1,
	KHO_SLAB_CGROUP		= 2,
	KHO_SLAB_DMA		= 3,

	KHO_NR_SLAB_CLASSES,
};

/* It is a byte of the record. */
static_assert(KHO_NR_SLAB_CLASSES <= 1 << 8);

/* The cache had one user, and could not be merged with others. */
#define KHO_SLAB_EXACT		0x01

/**
 * struct kho_slab_record - a slab of which objects are preserved
 * @phys: physical address of the slab
 * @size: distance in bytes from one object to the next
 * @object_size: bytes of an object that belong to its user; for merged caches,
 *	the largest such size of all the caches
 * @objects: how many objects the slab has room for
 * @align: log2 of the alignment that the cache was created with
 * @flags: %KHO_SLAB_EXACT, or 0
 * @left_pad: distance in bytes from the start of the slab to the first object
 * @order: the slab is PAGE_SIZE << @order bytes
 * @class: &enum kho_slab_class
 * @bitmap: a bit for each object, set if it is preserved
 */
struct kho_slab_record {
	u64 phys;
	u32 size;
	u32 object_size;
	u16 objects;
	u8 align;
	u8 flags;
	u16 left_pad;
	u8 order;
	u8 class;
	u64 bitmap[];
};

/**
 * struct kho_slab_copy - an object that was copied to another object
 * @from: physical address of the object
 * @to: physical address of the other object, which is preserved
 * @size: how many bytes were copied
 * @reserved: 0
 */
struct kho_slab_copy {
	u64 from;
	u64 to;
	u32 size;
	u32 reserved;
};

static_assert(sizeof(struct kho_slab_root) == 88);
static_assert(sizeof(struct kho_slab_copy) == 24);
static_assert(sizeof(struct kho_slab_chunk) == 16);
static_assert(sizeof(struct kho_slab_record) == 24);
static_assert(sizeof(struct kho_slab_chunk) + sizeof(struct kho_slab_record) +
	      KHO_SLAB_MAX_OBJECTS / 8 <= PAGE_SIZE);

#endif /* _LINUX_KHO_ABI_SLAB_H */
