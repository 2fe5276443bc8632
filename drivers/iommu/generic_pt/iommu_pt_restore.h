/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restoring a page table that the previous kernel preserved. The other half is
 * iommu_pt_preserve.h. iommu_pt.h includes both.
 *
 * Nothing that comes in is trusted. No table is read before KHO has said that it
 * is preserved as the table of an IOMMU. Nothing is restored before the whole
 * page table was read and found correct: an IOMMU may be walking the page table,
 * so one half of it could neither be used nor freed. So the tables are claimed
 * while they are read, which can be undone. In the end all are restored by a step
 * that cannot fail.
 */
#ifndef __GENERIC_PT_IOMMU_PT_RESTORE_H
#define __GENERIC_PT_IOMMU_PT_RESTORE_H

#include <linux/mm.h>

#include "../iommu-priv.h"

struct pt_iommu_restore_args {
	/* The tables that are claimed */
	struct iommu_pages_list list;
	unsigned int nr_tables;
	u64 hash;
	/* How many were preserved */
	unsigned int max_tables;
};

static int NS(restore_refuse)(int err, phys_addr_t phys, const char *why)
{
	pr_warn_ratelimited("%s: cannot restore the page table, at %pa: %s (%pe)\n",
			    __stringify(PTPFX_RAW), &phys, why, ERR_PTR(err));
	return err;
}

static int NS(claim_table)(struct pt_iommu_restore_args *restore,
			   phys_addr_t phys, unsigned int lg2sz,
			   unsigned int level, unsigned int index)
{
	int ret;

	if (restore->nr_tables == restore->max_tables)
		return NS(restore_refuse)(-EINVAL, phys,
					  "more tables than were preserved");

	/* Also fails for a table that is reached a second time */
	ret = iommu_claim_pages(phys, log2_to_int(lg2sz), &restore->list);
	if (ret)
		return ret;
	restore->nr_tables++;
	restore->hash = pt_iommu_ser_hash(restore->hash, phys, level, index);
	return 0;
}

/* The table that the current entry of @pts points at */
static int NS(claim_child)(struct pt_iommu_restore_args *restore,
			   const struct pt_state *pts)
{
	struct pt_state child_pts = pt_init(pts->range, pts->level - 1, NULL);

	return NS(claim_table)(restore, pt_table_pa(pts),
			       pt_num_items_lg2(&child_pts) +
				       ilog2(PT_ITEM_WORD_SIZE),
			       child_pts.level, pts->index);
}

/*
 * Can the iteration step over this leaf, and unmap it later? All items of a
 * contiguous leaf must say the same: an iteration can begin at any of them, and
 * HW sets the dirty bit of only one.
 */
static bool NS(leaf_sound)(const struct pt_state *pts)
{
	struct pt_state item = *pts;
	unsigned int lg2sz, contig_lg2;

	if (!pt_can_have_leaf(pts) || !pt_leaf_valid(pts))
		return false;
	lg2sz = pt_entry_oa_lg2sz(pts);
	contig_lg2 = pt_entry_num_contig_lg2(pts);
	if (lg2sz >= PT_VADDR_MAX_LG2 ||
	    !(pt_possible_sizes(pts) & log2_to_int(lg2sz)) ||
	    log2_mod(pts->index, contig_lg2))
		return false;

	while (!log2_mod_eq_max(item.index, contig_lg2)) {
		item.index++;
		if (pt_load_entry_raw(&item) != PT_ENTRY_OA ||
		    !pt_leaf_valid(&item) ||
		    pt_entry_num_contig_lg2(&item) != contig_lg2)
			return false;
	}
	return true;
}

/*
 * Claim all tables below @table, which is claimed already. Tables of level 0 do
 * not point at tables. They are most of the memory, so they are read only if an
 * entry of the format can say how many entries belong together. If such a number
 * were too large, an unmap would clear memory behind the table.
 */
static int __claim_tables(struct pt_range *range, void *arg, unsigned int level,
			  struct pt_table_p *table)
{
	struct pt_state pts = pt_init(range, level, table);
	int ret;

	if (!pt_can_have_table(&pts) &&
	    __builtin_constant_p(pt_entry_num_contig_lg2(&pts) == 0))
		return 0;

	cond_resched();
	for_each_pt_level_entry(&pts) {
		if (pts.type == PT_ENTRY_TABLE) {
			if (!pt_table_level_valid(&pts))
				return NS(restore_refuse)(-EINVAL,
							  virt_to_phys(table),
							  "an entry skips levels");
			ret = NS(claim_child)(arg, &pts);
			if (ret)
				return ret;
			ret = pt_descend(&pts, arg, __claim_tables);
			if (ret)
				return ret;
		} else if (pts.type == PT_ENTRY_OA && !NS(leaf_sound)(&pts)) {
			return NS(restore_refuse)(-EINVAL, virt_to_phys(table),
						  "an entry has an impossible size");
		}
	}
	return 0;
}

/*
 * Describe the page table in @made, as if this kernel had made the page table.
 * The geometry and the features that are handed over come from @ser. @cfg limits
 * what @ser may say. @common was initialised from @cfg.
 */
static int NS(restore_cfg)(struct pt_iommu_table_cfg *made,
			   const struct pt_common *common,
			   const struct pt_iommu_table_cfg *cfg,
			   const struct pt_iommu_ser *ser)
{
	const u32 possible = NS(features_to_ser)(cfg->common.features);
	const char *why;
	int err;

	err = -EOPNOTSUPP;
	why = "unknown version";
	if (ser->version != PT_IOMMU_SER_VERSION)
		goto refuse;
	why = "unknown features";
	if ((ser->features & ~PT_IOMMU_SER_KNOWN_FEATURES) || ser->reserved)
		goto refuse;

	err = -EINVAL;
	why = "another format";
	if (ser->format != PT_SER_FORMAT)
		goto refuse;
	why = "features that are not possible here";
	if (ser->features & ~possible)
		goto refuse;
	/* Encryption is no limit: the tables and this kernel must agree. */
	why = "the tables are encrypted and this kernel is not, or the reverse";
	if ((ser->features ^ possible) & PT_IOMMU_SER_ENCRYPTED)
		goto refuse;
	why = "larger addresses than are possible here";
	if (ser->max_vasz_lg2 > common->max_vasz_lg2 ||
	    ser->max_oasz_lg2 > common->max_oasz_lg2)
		goto refuse;
	why = "not the address of a table";
	if (!ser->top_phys || (ser->top_phys & ~PT_TOP_PHYS_MASK))
		goto refuse;

	*made = *cfg;
	for (unsigned int i = 0; i != ARRAY_SIZE(pt_ser_features); i++) {
		if (!(ser->features & pt_ser_features[i].ser))
			made->common.features &= ~pt_ser_features[i].feature;
	}
	made->common.hw_max_vasz_lg2 = ser->max_vasz_lg2;
	made->common.hw_max_oasz_lg2 = ser->max_oasz_lg2;
#ifdef PT_SER_CFG_LEVEL
	/* A dynamic top is limited by the size of addresses only. */
	why = "more levels than are possible here";
	if (!(ser->features & PT_IOMMU_SER_DYNAMIC_TOP) &&
	    ser->top_level > cfg->PT_SER_CFG_LEVEL)
		goto refuse;
	made->PT_SER_CFG_LEVEL = ser->top_level;
#endif
	return 0;

refuse:
	return NS(restore_refuse)(err, ser->top_phys, why);
}

/* Was @common, which was made from @ser, made exactly as @ser says? */
static bool NS(restore_made)(const struct pt_common *common,
			     const struct pt_iommu_ser *ser)
{
	if (ser->max_vasz_lg2 != common->max_vasz_lg2 ||
	    ser->max_oasz_lg2 != common->max_oasz_lg2)
		return false;

	if (pt_feature(common, PT_FEAT_DYNAMIC_TOP)) {
		struct pt_state pts = { .level = ser->top_level };

		return ser->top_level && ser->top_level <= PT_MAX_TOP_LEVEL &&
		       pt_table_item_lg2sz(&pts) < common->max_vasz_lg2;
	}
	return ser->top_level == pt_top_get_level(common);
}

static int NS(claim_all)(struct pt_common *common,
			 const struct pt_iommu_ser *ser,
			 struct pt_iommu_restore_args *restore)
{
	struct pt_range range;
	int ret;

	/* Not visible to anybody: ops is not set */
	pt_top_set(common, phys_to_virt(ser->top_phys), ser->top_level);
	range = pt_all_range(common);

	ret = NS(claim_table)(restore, ser->top_phys,
			      pt_top_memsize_lg2(common, common->top_of_table),
			      ser->top_level, 0);
	if (!ret)
		ret = pt_walk_range(&range, __claim_tables, restore);
	if (ret)
		return ret;

	if (restore->nr_tables != ser->nr_tables)
		return NS(restore_refuse)(-EINVAL, ser->top_phys,
					  "fewer tables than were preserved");
	if (restore->hash != ser->hash)
		return NS(restore_refuse)(-EINVAL, ser->top_phys,
					  "not as it was preserved");
	return 0;
}

#ifdef CONFIG_IOMMU_DEBUG_PAGEALLOC
static int __debug_map_leaves(struct pt_range *range, void *arg,
			      unsigned int level, struct pt_table_p *table)
{
	struct pt_state pts = pt_init(range, level, table);
	struct pt_iommu *iommu_table = arg;

	cond_resched();
	for_each_pt_level_entry(&pts) {
		if (pts.type == PT_ENTRY_TABLE) {
			pt_descend(&pts, arg, __debug_map_leaves);
		} else if (pts.type == PT_ENTRY_OA && pt_leaf_valid(&pts)) {
			pt_oaddr_t oa = pt_entry_oa(&pts);
			pt_oaddr_t len = log2_to_int(pt_entry_oa_lg2sz(&pts));

			/* Neither map nor unmap counts the page at address 0. */
			if (!oa) {
				oa = SZ_4K;
				len -= SZ_4K;
			}
			iommu_debug_map(&iommu_table->domain, oa, len);
		}
	}
	return 0;
}

/*
 * iommu.debug_pagealloc counts what is mapped. Count what the restored table maps,
 * because an unmap will subtract it.
 */
static void NS(debug_map_restored)(struct pt_iommu *iommu_table)
{
	struct pt_range range = pt_all_range(common_from_iommu(iommu_table));

	if (static_branch_unlikely(&iommu_debug_initialized))
		pt_walk_range(&range, __debug_map_leaves, iommu_table);
}
#else
static void NS(debug_map_restored)(struct pt_iommu *iommu_table)
{
}
#endif

#define pt_iommu_restore CONCATENATE(CONCATENATE(pt_iommu_, PTPFX), restore)

/**
 * pt_iommu_restore() - Initialize a table from one that the previous kernel preserved
 * @fmt_table: Table to initialize, prepared as for pt_iommu_init()
 * @cfg: Limits: the largest sizes of addresses, the highest top level, and every
 *       feature that the IOMMUs which will use the table can handle. The limits
 *       may be larger than the table, whose geometry is in @ser. Of the features
 *       in &enum pt_iommu_ser_features, the table gets those that it was
 *       preserved with, and no others. A driver that needs one of them looks at
 *       @ser. @cfg must also have those of them that a driver turns on only
 *       after it has made a table, as VT-d does with
 *       PT_FEAT_VTDSS_FORCE_COHERENCE, and those that every IOMMU can handle,
 *       like PT_FEAT_VTDSS_FORCE_WRITEABLE. This kernel chooses all other
 *       features.
 * @ser: From pt_iommu_preserve(), untrusted
 *
 * The table translates what it did when it was preserved. It can be mapped to and
 * unmapped from, and pt_iommu_deinit() frees it. All tables are read, except for
 * those of the lowest level in a format where entries of that level have only one
 * size. The addresses in leaf entries are not checked. With iommu.debug_pagealloc
 * all leaf entries are read, and counted as mapped.
 *
 * If an entry points at another table than when it was preserved, the whole page
 * table is refused, even if the other table is a table of an IOMMU, too.
 *
 * If this fails then the ops of @fmt_table are NULL and nothing was restored. It
 * can be tried again.
 *
 * Context: Process context, may sleep. Nobody else restores the same table, or
 * parts of it.
 *
 * Return: 0. -EINVAL if the table exceeds what @cfg allows, or is damaged.
 * -ENOENT if some table is not preserved, was already restored, or is found
 * twice. -EOPNOTSUPP if the version or a feature is unknown, if @cfg is not
 * supported, or if this kernel only keeps the memory of a table. -EHWPOISON if a
 * table has a hardware error. -ENOMEM. An error of the DMA API, if it cannot make
 * the tables incoherent.
 */
int pt_iommu_restore(struct pt_iommu_table *fmt_table,
		     const struct pt_iommu_table_cfg *cfg,
		     const struct pt_iommu_ser *ser)
{
	struct pt_iommu *iommu_table = &fmt_table->iommu;
	struct pt_common *common = common_from_iommu(iommu_table);
	struct pt_iommu_restore_args restore = {
		.list = IOMMU_PAGES_LIST_INIT(restore.list),
		.hash = pt_iommu_ser_first_hash(ser),
		.max_tables = ser->nr_tables,
	};
	struct pt_iommu_table_cfg made;
	int ret;

	iommu_table->ops = NULL;
	ret = pt_iommu_init_cfg(fmt_table, cfg);
	if (ret)
		return ret;
	ret = NS(restore_cfg)(&made, common, cfg, ser);
	if (ret)
		return ret;
	if (pt_iommu_init_cfg(fmt_table, &made) ||
	    !NS(restore_made)(common, ser))
		return NS(restore_refuse)(-EINVAL, ser->top_phys,
					  "no page table has such a size, top level and features");

	ret = NS(claim_all)(common, ser, &restore);
	if (ret)
		goto abort;

	if (pt_feature(common, PT_FEAT_DMA_INCOHERENT)) {
		struct device *dev = iommu_table->iommu_device;

		ret = iommu_pages_start_incoherent_list(&restore.list, dev);
		if (ret) {
			iommu_pages_stop_incoherent_list(&restore.list, dev);
			goto abort;
		}
	}

	iommu_commit_pages(&restore.list);
	iommu_pages_list_release(&restore.list);
	NS(debug_map_restored)(iommu_table);
	iommu_table->ops = &NS(ops);
	return 0;

abort:
	iommu_abort_pages(&restore.list);
	return ret;
}
EXPORT_SYMBOL_NS_GPL(pt_iommu_restore, "GENERIC_PT_IOMMU");

#endif /* __GENERIC_PT_IOMMU_PT_RESTORE_H */
