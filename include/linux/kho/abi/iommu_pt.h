/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_KHO_ABI_IOMMU_PT_H
#define _LINUX_KHO_ABI_IOMMU_PT_H

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/stddef.h>
#include <linux/types.h>

/**
 * DOC: IOMMU page tables
 *
 * A page table of the generic page table code is handed over as it is: each of
 * its tables is preserved as an IOMMU page (%KHO_MEMDESC_IOPTDESC), and the
 * entries go on pointing at the tables below. What the entries do not say is in
 * &struct pt_iommu_ser, which the owner of the page table embeds in what it
 * hands over itself.
 *
 * Entries can be damaged, or exchanged: a table of another page table is as good
 * a table as the right one. So there is a hash over the places of all tables, and
 * over what else decides the meaning of the entries. A page table in which an
 * entry points at another table than it did is refused.
 *
 * The values are a contract between kernels, and independent of those that
 * &enum pt_features has in a kernel. A feature travels if it decides what the
 * entries mean, or what all of them have in common; how an IOMMU wants its
 * caches to be flushed is for each kernel to find out.
 */

/* What follows is read by kernels with the same number only. */
#define PT_IOMMU_SER_VERSION	1

/**
 * enum pt_iommu_ser_format - page table formats
 * @PT_IOMMU_SER_AMDV1: AMD I/O page table for host translations
 * @PT_IOMMU_SER_VTDSS: Intel VT-d second stage
 * @PT_IOMMU_SER_X86_64: x86-64, of both makes
 * @PT_IOMMU_SER_RISCV_64: RISC-V Sv39, Sv48, Sv57
 */
enum pt_iommu_ser_format {
	PT_IOMMU_SER_AMDV1	= 1,
	PT_IOMMU_SER_VTDSS	= 2,
	PT_IOMMU_SER_X86_64	= 3,
	PT_IOMMU_SER_RISCV_64	= 4,
};

/**
 * enum pt_iommu_ser_features - features of a page table, a bit each
 * @PT_IOMMU_SER_DYNAMIC_TOP: the top level grows with the addresses mapped
 * @PT_IOMMU_SER_SIGN_EXTEND: addresses are sign extended
 * @PT_IOMMU_SER_ENCRYPTED: tables have the encryption bit in their addresses
 * @PT_IOMMU_SER_CONTIG_64K: level 0 may have contiguous entries of 64K
 * @PT_IOMMU_SER_FORCE_COHERENCE: every mapping enforces cache coherence
 * @PT_IOMMU_SER_FORCE_WRITEABLE: no mapping is read-only
 * @PT_IOMMU_SER_MEM_TYPES: entries may choose the type of the memory (Svpbmt)
 * @PT_IOMMU_SER_KNOWN_FEATURES: all of them
 */
enum pt_iommu_ser_features {
	PT_IOMMU_SER_DYNAMIC_TOP	= BIT(0),
	PT_IOMMU_SER_SIGN_EXTEND	= BIT(1),
	PT_IOMMU_SER_ENCRYPTED		= BIT(2),
	PT_IOMMU_SER_CONTIG_64K		= BIT(3),
	PT_IOMMU_SER_FORCE_COHERENCE	= BIT(4),
	PT_IOMMU_SER_FORCE_WRITEABLE	= BIT(5),
	PT_IOMMU_SER_MEM_TYPES		= BIT(6),

	PT_IOMMU_SER_KNOWN_FEATURES	= GENMASK(6, 0),
};

/**
 * struct pt_iommu_ser - a preserved IOMMU page table
 * @top_phys: physical address of the top table
 * @nr_tables: number of tables, the top table included
 * @features: &enum pt_iommu_ser_features
 * @version: %PT_IOMMU_SER_VERSION
 * @format: &enum pt_iommu_ser_format
 * @top_level: level of the top table; 0 is that of the smallest pages
 * @max_vasz_lg2: log2 of the bytes that can be mapped
 * @max_oasz_lg2: log2 of the bytes that can be mapped to
 * @reserved: 0
 * @hash: of the features and the geometry, and of the places of all tables; see
 *	pt_iommu_ser_first_hash() and pt_iommu_ser_hash()
 */
struct pt_iommu_ser {
	u64 top_phys;
	u32 nr_tables;
	u32 features;
	u16 version;
	u16 format;
	u8 top_level;
	u8 max_vasz_lg2;
	u8 max_oasz_lg2;
	u8 reserved;
	u64 hash;
};

static_assert(sizeof(struct pt_iommu_ser) == 32);
static_assert(offsetof(struct pt_iommu_ser, top_phys) == 0);
static_assert(offsetof(struct pt_iommu_ser, nr_tables) == 8);
static_assert(offsetof(struct pt_iommu_ser, features) == 12);
static_assert(offsetof(struct pt_iommu_ser, version) == 16);
static_assert(offsetof(struct pt_iommu_ser, format) == 18);
static_assert(offsetof(struct pt_iommu_ser, top_level) == 20);
static_assert(offsetof(struct pt_iommu_ser, max_vasz_lg2) == 21);
static_assert(offsetof(struct pt_iommu_ser, max_oasz_lg2) == 22);
static_assert(offsetof(struct pt_iommu_ser, reserved) == 23);
static_assert(offsetof(struct pt_iommu_ser, hash) == 24);

/**
 * pt_iommu_ser_hash() - Take the place of one more table into the hash
 * @hash: of the tables before it; from pt_iommu_ser_first_hash() for the top table
 * @phys: physical address of the table, aligned to 4K
 * @level: level of the table
 * @index: index of the entry that points at the table; 0 for the top table
 *
 * The top table comes first, and a table before the tables that it points at,
 * these in the order of their indexes. This finds damage; it is no defence
 * against somebody who can choose addresses.
 *
 * Return: The hash.
 */
static inline u64 pt_iommu_ser_hash(u64 hash, u64 phys, unsigned int level,
				    unsigned int index)
{
	const u64 words[] = { phys | level, index };

	for (int i = 0; i != 2; i++) {
		hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 32;
	}
	return hash;
}

/**
 * pt_iommu_ser_first_hash() - Begin the hash of a page table
 * @ser: the page table, in which @hash is not yet set
 *
 * Return: The hash before any table is taken into it.
 */
static inline u64 pt_iommu_ser_first_hash(const struct pt_iommu_ser *ser)
{
	return pt_iommu_ser_hash(0, (u64)ser->features << 32, ser->max_vasz_lg2,
				 ser->max_oasz_lg2);
}

#endif /* _LINUX_KHO_ABI_IOMMU_PT_H */
