// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the handover of IOMMU page tables: calls that have to fail.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/module.h>

#include "ipt.h"

/* A physical address at which no machine has memory */
#define IPT_BAD_PHYS	BIT_ULL(50)

/* The address in an entry that points at a table */
#define IPT_ADDRESS	GENMASK_ULL(51, 12)

/* How many allocations have failed in the current command */
static unsigned long ipt_failed;

/**
 * ipt_preserve_nomem - Preserve a page table while each allocation fails once
 * @table: The page table
 *
 * Leaves the page table as it was.
 */
void ipt_preserve_nomem(struct ipt_table *table)
{
	struct pt_iommu_ser ser;
	int err;

	for (unsigned int nth = 1; nth < HANDOVER_TEST_MAX_ALLOCS; nth++) {
		handover_test_fail_alloc(nth);
		err = pt_iommu_preserve(&table->iommu, &ser);
		if (!err)
			pt_iommu_unpreserve(&table->iommu);
		if (!handover_test_alloc_failed())
			break;
		ipt_failed++;
		if (err)
			ipt_expect(table, "preserve without memory", -ENOMEM,
				   err);
	}
}

/**
 * ipt_restore_nomem - Restore a page table while each allocation fails once
 * @table: Where to
 * @ser: What was handed over
 *
 * Return: 0 if the page table is restored, or an error.
 */
int ipt_restore_nomem(struct ipt_table *table, const struct pt_iommu_ser *ser)
{
	int err;

	for (unsigned int nth = 1; nth < HANDOVER_TEST_MAX_ALLOCS; nth++) {
		handover_test_fail_alloc(nth);
		err = ipt_restore_table(table, ser);
		if (!handover_test_alloc_failed())
			return err;
		ipt_failed++;
		if (!err)
			return 0;
		ipt_expect(table, "restore without memory", -ENOMEM, err);
	}
	return ipt_restore_table(table, ser);
}

/**
 * ipt_tell_failed - Say how many allocations failed since the last call
 * @cmd: The command in which they failed
 */
void ipt_tell_failed(const char *cmd)
{
	if (ipt_failed)
		pr_info("%s: iommu_table: %lu allocations failed\n", cmd, ipt_failed);
	ipt_failed = 0;
}

/* @err is 0 where it depends on the mappings how far the walk comes. */
static void ipt_bad(struct ipt_table *table, const struct pt_iommu_ser *ser,
		    int err, const char *what)
{
	int found = ipt_restore_table(table, ser);

	if (err)
		ipt_expect(table, what, err, found);
	ipt_expect(table, what, true, found < 0);
	ipt_expect(table, what, false, !!table->iommu.ops);
	pt_iommu_deinit(&table->iommu);
}

/* For functions that have a variable @ser. */
#define ipt_bad_ser(table, good, field, value, err)			\
	do {								\
		ser = *(good);						\
		ser.field = value;					\
		ipt_bad(table, &ser, err,				\
			"restore with " #field " " #value);		\
	} while (0)

/* Damage one entry of a table for one call. */
static void ipt_bad_item(struct ipt_table *table, const struct pt_iommu_ser *ser,
			 u64 *item, u64 value, int err, const char *what)
{
	u64 old = *item;

	*item = value;
	ipt_bad(table, ser, err, what);
	*item = old;
}

static void ipt_bad_cfg(struct ipt_table *table, const struct pt_iommu_ser *ser,
			const struct pt_iommu_cfg *cfg, unsigned int level,
			int err, const char *what)
{
	ipt_expect(table, what, err,
		   ipt_init_table(table, table->kind->format, cfg, level, ser));
	ipt_expect(table, what, 0, !!table->iommu.ops);
}

/* The entry of the table of @level on the way to the page of memory */
static u64 *ipt_item(const struct ipt_table *table,
		     const struct pt_iommu_ser *ser, unsigned int level)
{
	u64 iova = ipt_target_iova(table);
	phys_addr_t phys = ser->top_phys;

	for (unsigned int i = ser->top_level;; i--) {
		u64 *item = phys_to_virt(phys);

		item += (iova >> (12 + 9 * i)) & 511;
		if (i == level)
			return item;
		phys = *item & IPT_ADDRESS;
	}
}

/*
 * Exchange two tables of two page tables. Each is as good as the other but for its
 * place, so both page tables must be refused.
 */
static void ipt_bad_exchange(struct ipt_table *table,
			     const struct pt_iommu_ser *good,
			     const struct pt_iommu_ser *other)
{
	unsigned int top_level = min(good->top_level, other->top_level);

	for (unsigned int level = 1; level <= top_level; level++) {
		u64 *item = ipt_item(table, good, level);
		u64 *other_item = ipt_item(table, other, level);

		swap(*item, *other_item);
		ipt_bad(table, good, -EINVAL, "a table exchanged");
		ipt_bad(table, other, -EINVAL, "the other table exchanged");
		swap(*item, *other_item);
	}
}

/* The bits that hardware may set while the page table is on its way */
static u64 ipt_hw_bits(const struct ipt_table *table, unsigned int level)
{
	unsigned int accessed = table->kind->format == IPT_VTDSS ? 8 : 5;

	return BIT(accessed) | (level ? 0 : BIT(accessed + 1));
}

/**
 * ipt_access - Set the bits that hardware sets when memory is accessed
 * @table: Whose kind and seed are set
 * @ser: What was handed over
 */
void ipt_access(const struct ipt_table *table, const struct pt_iommu_ser *ser)
{
	for (unsigned int level = 0; level <= ser->top_level; level++)
		*ipt_item(table, ser, level) |= ipt_hw_bits(table, level);
}

/**
 * ipt_check_access - Check that these bits are still set
 * @table: The page table
 * @ser: What was handed over
 */
void ipt_check_access(const struct ipt_table *table,
		      const struct pt_iommu_ser *ser)
{
	for (unsigned int level = 0; level <= ser->top_level; level++) {
		u64 bits = ipt_hw_bits(table, level);

		ipt_expect(table, "accessed and dirty bits", bits,
			   *ipt_item(table, ser, level) & bits);
	}
}

/* Damaged records */
static void ipt_bad_record(struct ipt_table *table,
			   const struct pt_iommu_ser *good, phys_addr_t folio)
{
	struct pt_iommu_ser ser;
	struct page *page;

	ipt_bad_ser(table, good, version, PT_IOMMU_SER_VERSION + 1, -EOPNOTSUPP);
	ipt_bad_ser(table, good, features, BIT(31), -EOPNOTSUPP);
	ipt_bad_ser(table, good, features, good->features ^
		    PT_IOMMU_SER_SIGN_EXTEND, -EINVAL);
	ipt_bad_ser(table, good, features, good->features ^
		    PT_IOMMU_SER_FORCE_COHERENCE, -EINVAL);
	ipt_bad_ser(table, good, reserved, 1, -EOPNOTSUPP);
	ipt_bad_ser(table, good, format, 0, -EINVAL);
	ipt_bad_ser(table, good, format, good->format + 1, -EINVAL);
	ipt_bad_ser(table, good, max_vasz_lg2, good->max_vasz_lg2 - 1, -EINVAL);
	ipt_bad_ser(table, good, max_oasz_lg2, good->max_oasz_lg2 + 1, -EINVAL);
	ipt_bad_ser(table, good, top_level, 6, -EINVAL);
	ipt_bad_ser(table, good, top_level, 0, -EINVAL);
	ipt_bad_ser(table, good, top_level, 255, -EINVAL);
	ipt_bad_ser(table, good, hash, good->hash ^ 1, -EINVAL);
	ipt_bad_ser(table, good, nr_tables, 0, -EINVAL);
	ipt_bad_ser(table, good, nr_tables, good->nr_tables - 1, -EINVAL);
	ipt_bad_ser(table, good, nr_tables, good->nr_tables + 1, -EINVAL);
	ipt_bad_ser(table, good, nr_tables, -1, -EINVAL);
	ipt_bad_ser(table, good, top_phys, 0, -EINVAL);
	ipt_bad_ser(table, good, top_phys, good->top_phys + 8, -EINVAL);
	ipt_bad_ser(table, good, top_phys, IPT_BAD_PHYS, -ENOENT);
	ipt_bad_ser(table, good, top_phys, folio, -EINVAL);
	page = alloc_page(GFP_KERNEL);
	if (page) {
		ipt_bad_ser(table, good, top_phys, page_to_phys(page), -ENOENT);
		__free_page(page);
	}

	/* The top can be anything. What is below it cannot. */
	if (table->kind->format == IPT_AMDV1 && good->top_level < 5 &&
	    table->kind->cfg.hw_max_vasz_lg2 == 64)
		ipt_bad_ser(table, good, top_level, good->top_level + 1, -EINVAL);
}

/* Limits that the page table exceeds */
static void ipt_bad_limits(struct ipt_table *table,
			   const struct pt_iommu_ser *good)
{
	const struct ipt_kind *kind = table->kind;
	const bool amdv1 = kind->format == IPT_AMDV1;
	struct pt_iommu_cfg cfg = kind->cfg;

	cfg.hw_max_vasz_lg2--;
	ipt_bad_cfg(table, good, &cfg, kind->level, -EINVAL, "a smaller size");
	cfg = kind->cfg;
	cfg.hw_max_oasz_lg2--;
	ipt_bad_cfg(table, good, &cfg, kind->level, -EINVAL,
		    "smaller output addresses");
	cfg = kind->cfg;
	if (!amdv1 && kind->level == 4) {
		cfg.hw_max_vasz_lg2 = 48;
		ipt_bad_cfg(table, good, &cfg, 3, -EINVAL, "fewer levels");
		cfg = kind->cfg;
	}
	cfg.features &= ~(kind->format == IPT_VTDSS ?
			  BIT(PT_FEAT_VTDSS_FORCE_COHERENCE) |
			  BIT(PT_FEAT_VTDSS_FORCE_WRITEABLE) :
			  BIT(PT_FEAT_SIGN_EXTEND));
	if (!amdv1 && cfg.features != kind->cfg.features)
		ipt_bad_cfg(table, good, &cfg, kind->level, -EINVAL,
			    "fewer features");
	/* Another format could have the same sizes. */
	if (kind->cfg.hw_max_vasz_lg2 != 64)
		ipt_expect(table, "another format's restore", -EINVAL,
			   ipt_init_table(table, amdv1 ? IPT_VTDSS : IPT_AMDV1,
					  &(struct pt_iommu_cfg){
						amdv1 ? 0 : IPT_AMDV1_FEATURES,
						48, 52 }, 3, good));
}

/* Damaged tables: @used and @empty are indexes of entries of the top table. */
static void ipt_bad_tables(struct ipt_table *table,
			   const struct pt_iommu_ser *good,
			   const struct pt_iommu_ser *other, phys_addr_t folio,
			   unsigned int used, unsigned int empty)
{
	u64 *top = phys_to_virt(good->top_phys);
	phys_addr_t child = top[used] & IPT_ADDRESS;
	struct pt_iommu_ser ser;
	u64 moved;

	ipt_bad_ser(table, good, top_phys, child, 0);
	ipt_bad_item(table, good, &top[used], 0, -EINVAL, "a table gone");
	ipt_bad_item(table, good, &top[used],
		     (top[used] & ~IPT_ADDRESS) | IPT_BAD_PHYS, -ENOENT,
		     "a table beyond memory");
	ipt_bad_item(table, good, &top[used],
		     (top[used] & ~IPT_ADDRESS) | folio, -EINVAL,
		     "a folio for a table");
	ipt_bad_item(table, good, &top[used],
		     (top[used] & ~IPT_ADDRESS) | good->top_phys, -ENOENT,
		     "a table that points at itself");
	moved = top[used];
	top[used] = 0;
	ipt_bad_item(table, good, &top[empty], moved, -EINVAL,
		     "a table at another address");
	top[used] = moved;
	if (other)
		ipt_bad_exchange(table, good, other);
	/*
	 * A table that comes twice is one too many, or is gone when it comes for the
	 * second time.
	 */
	ipt_bad_item(table, good, &top[empty], top[used], 0, "a table twice");
}

/* What only AMDv1 has: the level in each entry, and pages of several entries */
static void ipt_bad_amdv1(struct ipt_table *table,
			  const struct pt_iommu_ser *good, unsigned int used,
			  unsigned int empty)
{
	u64 *top = phys_to_virt(good->top_phys);
	unsigned int pair = 0;
	u64 *leaf = ipt_item(table, good, 0);

	for (u64 next_level = 1; next_level < 7; next_level++)
		ipt_bad_item(table, good, leaf,
			     (*leaf & ~GENMASK_ULL(11, 9)) |
			     next_level << 9, -EINVAL,
			     "a table below the lowest level");
	ipt_bad_item(table, good, &top[used], top[used] ^ BIT(9),
		     -EINVAL, "a table of another level");
	ipt_bad_item(table, good, &top[empty],
		     BIT(0) | GENMASK_ULL(51, 9), -EINVAL,
		     "a page of impossible size");

	while (pair < 510 && (top[pair] || top[pair + 1]))
		pair += 2;
	/* At level 5 such a page would have more bits than an address. */
	if (good->top_level < 5)
		ipt_bad_item(table, good, &top[pair],
			     BIT(0) | GENMASK_ULL(11 + 9 * good->top_level, 9),
			     -EINVAL, "one of the two items of a page");
}

/**
 * ipt_bad_calls - Restore a page table in ways that have to fail
 * @table: Where to
 * @good: What was handed over, and waits to be restored
 * @other: Another page table of the same kind that does, or NULL
 * @folio: The address of a folio that was preserved
 *
 * The restore that follows shows that these calls changed nothing.
 */
void ipt_bad_calls(struct ipt_table *table, const struct pt_iommu_ser *good,
		   const struct pt_iommu_ser *other, phys_addr_t folio)
{
	u64 *top = phys_to_virt(good->top_phys);
	unsigned int used = 0, empty = 0;

	ipt_bad_record(table, good, folio);
	ipt_bad_limits(table, good);

	while (used < 511 && !top[used])
		used++;
	while (empty < 511 && (top[empty] || empty == used))
		empty++;
	/* With all levels of AMDv1 the top has 128 entries. */
	if (!ipt_expect(table, "an entry in the top table", true,
			top[used] & IPT_ADDRESS &&
			(good->top_level < 5 || empty < 128)))
		return;

	ipt_bad_tables(table, good, other, folio, used, empty);
	if (table->kind->format == IPT_AMDV1)
		ipt_bad_amdv1(table, good, used, empty);
}
