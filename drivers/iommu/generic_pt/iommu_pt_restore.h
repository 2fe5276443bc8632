/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restoring a page table that the previous kernel preserved, the other half of
 * NS(preserve) in iommu_pt.h, which includes this.
 *
 * Nothing that comes in is trusted. A table may be read only once KHO has said
 * that it is preserved as one, and nothing is restored before the whole page
 * table was read and found sound: it is in use by devices, so that half of it
 * could neither be used nor freed.
 */
#ifndef __GENERIC_PT_IOMMU_PT_RESTORE_H
#define __GENERIC_PT_IOMMU_PT_RESTORE_H

#include <linux/mm.h>
#include <linux/slab.h>

struct pt_iommu_hold_args {
	/* The tables that are held, to be restored */
	phys_addr_t *tables;
	unsigned int nr;
	unsigned int capacity;
	/* As many as were preserved */
	unsigned int max;
};

static int restore_refuse(int err, phys_addr_t phys, const char *why)
{
	pr_warn_ratelimited("%s: cannot restore the page table, at %pa: %s (%pe)\n",
			    __stringify(PTPFX_RAW), &phys, why, ERR_PTR(err));
	return err;
}

static int hold_table(struct pt_iommu_hold_args *hold, phys_addr_t phys,
		      unsigned int lg2sz)
{
	int ret;

	if (hold->nr == hold->max)
		return restore_refuse(-EINVAL, phys,
				      "more tables than were preserved");

	if (hold->nr == hold->capacity) {
		unsigned int capacity = max(2 * hold->capacity,
					    PAGE_SIZE / sizeof(phys_addr_t));
		phys_addr_t *tables =
			kvrealloc(hold->tables,
				  array_size(capacity, sizeof(phys_addr_t)),
				  GFP_KERNEL);

		if (!tables)
			return -ENOMEM;
		hold->tables = tables;
		hold->capacity = capacity;
	}

	/* Also fails for a table that is reached a second time */
	ret = iommu_hold_pages(phys, log2_to_int(lg2sz));
	if (ret)
		return ret;
	hold->tables[hold->nr++] = phys;
	return 0;
}

static void unhold_tables(struct pt_iommu_hold_args *hold)
{
	for (unsigned int i = 0; i != hold->nr; i++)
		iommu_unhold_pages(hold->tables[i]);
}

/*
 * A leaf that the iteration can step over, and unmap later. Iterations begin at
 * any of its items, and HW sets the dirty bit of only one.
 */
static bool leaf_valid(const struct pt_state *pts)
{
	struct pt_state item = *pts;
	unsigned int lg2sz, contig_lg2;

	if (!pt_can_have_leaf(pts))
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
		    pt_entry_num_contig_lg2(&item) != contig_lg2)
			return false;
	}
	return true;
}

/*
 * Hold all tables below @table, which is held. Tables of level 0 point at
 * nothing that is restored here. They are most of the memory, and are read only
 * if the format has entries that say how many there are of them: one too large
 * would have an unmap clear what lies behind the table.
 */
static int __hold_tables(struct pt_range *range, void *arg, unsigned int level,
			 struct pt_table_p *table)
{
	struct pt_state pts = pt_init(range, level, table);
	struct pt_iommu_hold_args *hold = arg;
	int ret;

	if (!pt_can_have_table(&pts) &&
	    __builtin_constant_p(pt_entry_num_contig_lg2(&pts) == 0))
		return 0;

	cond_resched();
	for_each_pt_level_entry(&pts) {
		if (pts.type == PT_ENTRY_TABLE) {
			struct pt_state child_pts =
				pt_init(range, level - 1, NULL);

			if (!pt_table_level_valid(&pts))
				return restore_refuse(-EINVAL,
						      virt_to_phys(table),
						      "an entry skips levels");
			ret = hold_table(hold, pt_table_pa(&pts),
					 pt_num_items_lg2(&child_pts) +
						 ilog2(PT_ITEM_WORD_SIZE));
			if (ret)
				return ret;
			ret = pt_descend(&pts, arg, __hold_tables);
			if (ret)
				return ret;
		} else if (pts.type == PT_ENTRY_OA && !leaf_valid(&pts)) {
			return restore_refuse(-EINVAL, virt_to_phys(table),
					      "an entry has an impossible size");
		}
	}
	return 0;
}

/* Is it a page table that this kernel would have made of the same cfg? */
static int check_ser(struct pt_common *common, const struct pt_iommu_ser *ser)
{
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
	why = "other features";
	if (ser->features != pt_ser_features(common))
		goto refuse;
	why = "another size";
	if (ser->max_vasz_lg2 != common->max_vasz_lg2 ||
	    ser->max_oasz_lg2 > common->max_oasz_lg2)
		goto refuse;

	why = "another top level";
	if (pt_feature(common, PT_FEAT_DYNAMIC_TOP)) {
		struct pt_state pts = { .level = ser->top_level };

		if (!ser->top_level || ser->top_level > PT_MAX_TOP_LEVEL ||
		    pt_table_item_lg2sz(&pts) >= common->max_vasz_lg2)
			goto refuse;
	} else if (ser->top_level != pt_top_get_level(common)) {
		goto refuse;
	}

	why = "not the address of a table";
	if (!ser->top_phys || (ser->top_phys & ~PT_TOP_PHYS_MASK))
		goto refuse;
	return 0;

refuse:
	return restore_refuse(err, ser->top_phys, why);
}

static int hold_all(struct pt_common *common, const struct pt_iommu_ser *ser,
		    struct pt_iommu_hold_args *hold)
{
	struct pt_range range;
	int ret;

	/* Not visible to anybody: ops is not set */
	pt_top_set(common, phys_to_virt(ser->top_phys), ser->top_level);
	range = pt_all_range(common);

	ret = hold_table(hold, ser->top_phys,
			 pt_top_memsize_lg2(common, common->top_of_table));
	if (!ret)
		ret = pt_walk_range(&range, __hold_tables, hold);
	if (!ret && hold->nr != hold->max)
		ret = restore_refuse(-EINVAL, ser->top_phys,
				     "fewer tables than were preserved");
	return ret;
}

#define pt_iommu_restore CONCATENATE(CONCATENATE(pt_iommu_, PTPFX), restore)

/**
 * pt_iommu_restore() - Initialize a table from one that the previous kernel preserved
 * @fmt_table: Table to initialize, prepared as for pt_iommu_init()
 * @cfg: What pt_iommu_init() would be given to make such a table. An IOMMU that cannot
 *       use a table with the address sizes, the top level and the features that
 *       @ser has must not get one, but PT_FEAT_DYNAMIC_TOP lets the table have
 *       any top level. Features that are not in @ser are for this kernel to
 *       choose. One that the driver turns on later, as VT-d does with
 *       PT_FEAT_VTDSS_FORCE_COHERENCE, has to be in @cfg if it is in @ser.
 * @ser: From pt_iommu_preserve(), untrusted
 *
 * The table translates what it did when it was preserved, can be mapped to and
 * unmapped from, and pt_iommu_deinit() frees it. All of its tables are read but
 * those of the lowest level in formats where an entry there has one size. What
 * leaf entries translate to is taken as it is, and what iommu.debug_pagealloc
 * had counted about it is not restored.
 *
 * If this fails then the ops of @fmt_table are NULL, nothing was restored and
 * it can be tried again; but for one case: if PT_FEAT_DMA_INCOHERENT is set and
 * the DMA API fails. Then the ops are set and the table can be used for nothing
 * but pt_iommu_deinit(), once the HW does not walk it any more.
 *
 * Context: Process context, may sleep. Nobody else restores the same table, or
 * parts of it.
 *
 * Return: 0. -EINVAL if the table is not one that @cfg describes, or is damaged.
 * -ENOENT if some of it is not preserved, already restored, or there twice.
 * -EOPNOTSUPP if it is of an unknown version or has unknown features, or if
 * @cfg is not supported. -ENOMEM.
 */
int pt_iommu_restore(struct pt_iommu_table *fmt_table,
		     const struct pt_iommu_table_cfg *cfg,
		     const struct pt_iommu_ser *ser)
{
	struct pt_iommu *iommu_table = &fmt_table->iommu;
	struct pt_common *common = common_from_iommu(iommu_table);
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);
	struct pt_iommu_hold_args hold = { .max = ser->nr_tables };
	int ret;

	iommu_table->ops = NULL;
	ret = pt_iommu_init_cfg(fmt_table, cfg);
	if (ret)
		return ret;
	ret = check_ser(common, ser);
	if (ret)
		return ret;

	ret = hold_all(common, ser, &hold);
	unhold_tables(&hold);
	if (!ret)
		ret = iommu_restore_pages_list(hold.tables, hold.nr, &list);
	kvfree(hold.tables);
	if (ret)
		return ret;

	/* From here on there is something to deinit */
	iommu_table->ops = &NS(ops);
	if (pt_feature(common, PT_FEAT_DMA_INCOHERENT))
		ret = iommu_pages_start_incoherent_list(&list,
							iommu_table->iommu_device);
	iommu_pages_list_release(&list);
	return ret;
}
EXPORT_SYMBOL_NS_GPL(pt_iommu_restore, "GENERIC_PT_IOMMU");

#endif /* __GENERIC_PT_IOMMU_PT_RESTORE_H */
