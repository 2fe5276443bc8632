/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Preserving a page table for the next kernel. The other half is
 * iommu_pt_restore.h. iommu_pt.h includes both.
 *
 * While a page table is preserved, its ops point to functions that refuse to map
 * and to unmap. This costs the ordinary functions nothing, because map and unmap are
 * called through the ops anyway.
 */
#ifndef __GENERIC_PT_IOMMU_PT_PRESERVE_H
#define __GENERIC_PT_IOMMU_PT_PRESERVE_H

#include <linux/kexec_handover.h>
#include <linux/sched.h>

/* The features that are handed over, as bits of enum pt_iommu_ser_features. */
static u32 NS(features_to_ser)(unsigned int features)
{
	u32 ser = 0;

	for (unsigned int i = 0; i != ARRAY_SIZE(pt_ser_features); i++) {
		if (features & pt_ser_features[i].feature)
			ser |= pt_ser_features[i].ser;
	}
#ifdef PT_SER_ENCRYPT_FEATURE
	/* The feature says that entries have the bit if memory is encrypted. */
	if ((features & BIT(PT_SER_ENCRYPT_FEATURE)) && __sme_set(0ULL))
		ser |= PT_IOMMU_SER_ENCRYPTED;
#endif
	return ser;
}

struct pt_iommu_preserve_args {
	struct iommu_pages_list list;
	unsigned int nr_tables;
	u64 hash;
};

static void NS(preserve_add_table)(struct pt_iommu_preserve_args *preserve,
				   struct pt_table_p *table, unsigned int level,
				   unsigned int index)
{
	iommu_pages_list_add(&preserve->list, table);
	preserve->nr_tables++;
	preserve->hash = pt_iommu_ser_hash(preserve->hash, virt_to_phys(table),
					   level, index);
}

static int __preserve_tables(struct pt_range *range, void *arg,
			     unsigned int level, struct pt_table_p *table)
{
	struct pt_state pts = pt_init(range, level, table);
	int ret;

	if (!pt_can_have_table(&pts))
		return 0;

	cond_resched();
	for_each_pt_level_entry(&pts) {
		if (pts.type != PT_ENTRY_TABLE)
			continue;
		NS(preserve_add_table)(arg, pts.table_lower, level - 1,
				       pts.index);
		ret = pt_descend(&pts, arg, __preserve_tables);
		if (ret)
			return ret;
	}
	return 0;
}

/* Put all tables on the list. */
static void NS(preserve_collect)(struct pt_iommu *iommu_table,
				 struct pt_iommu_preserve_args *preserve)
{
	struct pt_range range = pt_all_range(common_from_iommu(iommu_table));

	INIT_LIST_HEAD(&preserve->list.pages);
	NS(preserve_add_table)(preserve, range.top_table, range.top_level, 0);
	pt_walk_range(&range, __preserve_tables, preserve);
}

static int __check_leaves(struct pt_range *range, void *arg, unsigned int level,
			  struct pt_table_p *table)
{
	struct pt_state pts = pt_init(range, level, table);
	phys_addr_t *missing = arg;
	int ret;

	cond_resched();
	for_each_pt_level_entry(&pts) {
		if (pts.type == PT_ENTRY_TABLE) {
			ret = pt_descend(&pts, arg, __check_leaves);
			if (ret)
				return ret;
		} else if (pts.type == PT_ENTRY_OA) {
			const size_t size = log2_to_int(pt_entry_oa_lg2sz(&pts));

			*missing = kho_first_unpreserved(pt_entry_oa(&pts), size);
			if (*missing != PHYS_ADDR_MAX)
				return -ENOENT;
		}
	}
	return 0;
}

/*
 * Is all RAM preserved that the page table maps? If not, the next kernel would give
 * pages away that a device goes on reading and writing. Nobody would see an error.
 */
static int NS(preserve_check_leaves)(struct pt_iommu *iommu_table)
{
	struct pt_range range = pt_all_range(common_from_iommu(iommu_table));
	phys_addr_t missing = PHYS_ADDR_MAX;
	int ret;

	ret = pt_walk_range(&range, __check_leaves, &missing);
	if (ret)
		pr_warn_ratelimited("%s: cannot preserve the page table: memory at %pa is mapped and not preserved (%pe)\n",
				    __stringify(PTPFX_RAW), &missing,
				    ERR_PTR(ret));
	return ret;
}

static int NS(preserved_map_range)(struct pt_iommu *iommu_table,
				   dma_addr_t iova, phys_addr_t paddr,
				   dma_addr_t len, unsigned int prot, gfp_t gfp,
				   size_t *mapped)
{
	pr_warn_ratelimited("%s: cannot map %pad: the page table is preserved (-EBUSY)\n",
			    __stringify(PTPFX_RAW), &iova);
	return -EBUSY;
}

static size_t NS(preserved_unmap_range)(struct pt_iommu *iommu_table,
					dma_addr_t iova, dma_addr_t len,
					struct iommu_iotlb_gather *iotlb_gather)
{
	/* iommu_map() unmaps zero bytes after its map was refused. */
	if (len)
		pr_warn_ratelimited("%s: cannot unmap %pad: the page table is preserved\n",
				    __stringify(PTPFX_RAW), &iova);
	return 0;
}

/* The next kernel gets the memory, so this kernel must not free it. */
static void NS(preserved_deinit)(struct pt_iommu *iommu_table)
{
	WARN(1, "%s: a preserved page table is not freed\n",
	     __stringify(PTPFX_RAW));
}

static int NS(preserved_preserve)(struct pt_iommu *iommu_table,
				  struct pt_iommu_ser *ser)
{
	pr_warn_ratelimited("%s: the page table is already preserved (-EEXIST)\n",
			    __stringify(PTPFX_RAW));
	return -EEXIST;
}

static void NS(preserved_unpreserve)(struct pt_iommu *iommu_table)
{
	struct pt_iommu_preserve_args preserve = {};

	NS(preserve_collect)(iommu_table, &preserve);
	iommu_unpreserve_pages_list(&preserve.list);
	iommu_pages_list_release(&preserve.list);
	WRITE_ONCE(iommu_table->ops, &NS(ops));
}

static const struct pt_iommu_ops NS(preserved_ops) = {
	.map_range = NS(preserved_map_range),
	.unmap_range = NS(preserved_unmap_range),
	.get_info = NS(get_info),
	.deinit = NS(preserved_deinit),
	.preserve = NS(preserved_preserve),
	.unpreserve = NS(preserved_unpreserve),
};

static int NS(preserve)(struct pt_iommu *iommu_table, struct pt_iommu_ser *ser)
{
	struct pt_common *common = common_from_iommu(iommu_table);
	struct pt_iommu_ser made = {
		.version = PT_IOMMU_SER_VERSION,
		.format = PT_SER_FORMAT,
		.features = NS(features_to_ser)(common->features),
		.max_vasz_lg2 = common->max_vasz_lg2,
		.max_oasz_lg2 = common->max_oasz_lg2,
	};
	struct pt_iommu_preserve_args preserve = {
		.hash = pt_iommu_ser_first_hash(&made),
	};
	struct pt_range range;
	int ret;

	/*
	 * Change the ops before the tables are read: then a map that begins now is
	 * refused, even if the caller has not locked it out.
	 */
	WRITE_ONCE(iommu_table->ops, &NS(preserved_ops));
	ret = NS(preserve_check_leaves)(iommu_table);
	if (ret)
		goto failed;
	range = pt_all_range(common);
	NS(preserve_collect)(iommu_table, &preserve);
	ret = iommu_preserve_pages_list(&preserve.list);
	iommu_pages_list_release(&preserve.list);
	if (ret)
		goto failed;

	made.top_phys = virt_to_phys(range.top_table);
	made.top_level = range.top_level;
	made.nr_tables = preserve.nr_tables;
	made.hash = preserve.hash;
	*ser = made;
	return 0;

failed:
	WRITE_ONCE(iommu_table->ops, &NS(ops));
	return ret;
}

#endif /* __GENERIC_PT_IOMMU_PT_PRESERVE_H */
