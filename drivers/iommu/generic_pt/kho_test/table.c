// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the handover of IOMMU page tables: the kinds of page tables, how they
 * are made and restored, and what is checked.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/string.h>

#include "ipt.h"

const struct ipt_kind ipt_kinds[] = {
	{ IPT_AMDV1, { IPT_AMDV1_FEATURES, 64, 52 }, 2, 0 },
	{ IPT_AMDV1, { IPT_AMDV1_FEATURES, 48, 48 }, 3, SZ_1T },
	/* All levels that the format has */
	{ IPT_AMDV1, { IPT_AMDV1_FEATURES, 64, 52 }, 2, BIT_ULL(60) },
	{ IPT_VTDSS, { 0, 39, 48 }, 2, 0 },
	{ IPT_VTDSS, { BIT(PT_FEAT_DMA_INCOHERENT) |
		       BIT(PT_FEAT_VTDSS_FORCE_WRITEABLE), 48, 48 }, 3, SZ_2T },
	{ IPT_VTDSS, { BIT(PT_FEAT_VTDSS_FORCE_COHERENCE), 57, 52 }, 4,
	  BIT_ULL(56) },
	{ IPT_X86_64, { BIT(PT_FEAT_SIGN_EXTEND), 48, 48 }, 3, 0 },
	{ IPT_X86_64, { BIT(PT_FEAT_SIGN_EXTEND) |
			BIT(PT_FEAT_DMA_INCOHERENT), 57, 52 }, 4,
	  -BIT_ULL(56) },
	{ IPT_X86_64, { 0, 47, 48 }, 3, SZ_4T },
};

const unsigned int ipt_nr_kinds = ARRAY_SIZE(ipt_kinds);

/**
 * ipt_expect - Count a check, and log it if it fails
 * @table: The page table
 * @what: Name of the value
 * @expected: The value that it should have
 * @found: The value that it has
 *
 * Return: Whether the check passed.
 */
bool ipt_expect(const struct ipt_table *table, const char *what,
		u64 expected, u64 found)
{
	ipt_test.checks++;
	if (expected == found)
		return true;

	if (handover_test_mismatch(&ipt_test, &ipt_stats))
		pr_err("kind %td, page table %u: %s: expected %#llx, found %#llx\n",
		       table->kind - ipt_kinds, table->index, what, expected,
		       found);
	return false;
}

static void ipt_iotlb_sync(struct iommu_domain *domain,
			   struct iommu_iotlb_gather *gather)
{
	iommu_put_pages_list(&gather->freelist);
}

static const struct iommu_domain_ops ipt_domain_ops[] = {
	[IPT_AMDV1] = { IOMMU_PT_DOMAIN_OPS(amdv1),
			.iotlb_sync = ipt_iotlb_sync },
	[IPT_VTDSS] = { IOMMU_PT_DOMAIN_OPS(vtdss),
			.iotlb_sync = ipt_iotlb_sync },
	[IPT_X86_64] = { IOMMU_PT_DOMAIN_OPS(x86_64),
			 .iotlb_sync = ipt_iotlb_sync },
};

static void ipt_change_top(struct pt_iommu *iommu, phys_addr_t top_paddr,
			   unsigned int top_level)
{
}

static spinlock_t *ipt_get_top_lock(struct pt_iommu *iommu)
{
	return &container_of(iommu, struct ipt_table, iommu)->top_lock;
}

static const struct pt_iommu_driver_ops ipt_driver_ops = {
	.change_top = ipt_change_top,
	.get_top_lock = ipt_get_top_lock,
};

/**
 * ipt_init_table - Make a page table, or restore one
 * @table: Where to; @table->kind is not used.
 * @format: Its format
 * @cfg: What the IOMMU can do
 * @level: Of the top, or of the first top
 * @ser: What was handed over, or NULL for a new page table
 *
 * Return: 0 or an error.
 */
int ipt_init_table(struct ipt_table *table,
		   enum pt_iommu_ser_format format,
		   const struct pt_iommu_cfg *cfg, unsigned int level,
		   const struct pt_iommu_ser *ser)
{
	const struct pt_iommu_amdv1_cfg amdv1 = {
		.common = *cfg, .starting_level = level,
	};
	const struct pt_iommu_vtdss_cfg vtdss = {
		.common = *cfg, .top_level = level,
	};
	const struct pt_iommu_x86_64_cfg x86_64 = {
		.common = *cfg, .top_level = level,
	};

	memset(&table->domain, 0, sizeof(table->domain));
	spin_lock_init(&table->top_lock);
	table->domain.ops = &ipt_domain_ops[format];
	table->iommu.ops = NULL;
	table->iommu.nid = NUMA_NO_NODE;
	table->iommu.driver_ops = &ipt_driver_ops;
	table->iommu.iommu_device = ipt_device;

	switch (format) {
	case IPT_AMDV1:
		return ser ? pt_iommu_amdv1_restore(&table->amdv1, &amdv1, ser) :
			     pt_iommu_amdv1_init(&table->amdv1, &amdv1,
						 GFP_KERNEL);
	case IPT_VTDSS:
		return ser ? pt_iommu_vtdss_restore(&table->vtdss, &vtdss, ser) :
			     pt_iommu_vtdss_init(&table->vtdss, &vtdss,
						 GFP_KERNEL);
	case IPT_X86_64:
		return ser ? pt_iommu_x86_64_restore(&table->x86_64, &x86_64,
						     ser) :
			     pt_iommu_x86_64_init(&table->x86_64, &x86_64,
						  GFP_KERNEL);
	default:
		return -EINVAL;
	}
}

/**
 * ipt_restore_table - Restore a page table of a kind
 * @table: Where to; kind and index are set.
 * @ser: What was handed over
 *
 * Return: 0 or an error.
 */
int ipt_restore_table(struct ipt_table *table, const struct pt_iommu_ser *ser)
{
	const struct ipt_kind *kind = table->kind;
	struct pt_iommu_cfg cfg = kind->cfg;
	unsigned int level = kind->level;

	/* This IOMMU can do more than the one that the page table was made for. */
	if (table->index == 1) {
		cfg.hw_max_oasz_lg2 = 52;
		if (kind->format == IPT_AMDV1) {
			cfg.hw_max_vasz_lg2 = 64;
		} else {
			cfg.hw_max_vasz_lg2 = 57;
			level = 4;
			cfg.features |= kind->format == IPT_VTDSS ?
					BIT(PT_FEAT_VTDSS_FORCE_COHERENCE) |
					BIT(PT_FEAT_VTDSS_FORCE_WRITEABLE) :
					BIT(PT_FEAT_SIGN_EXTEND);
		}
	}
	return ipt_init_table(table, kind->format, &cfg, level, ser);
}

/**
 * ipt_nr_pages - Count the pages of all page tables
 *
 * Return: NR_SECONDARY_PAGETABLE.
 */
long ipt_nr_pages(void)
{
	return handover_test_settled(NR_SECONDARY_PAGETABLE);
}
