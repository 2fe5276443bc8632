// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the handover of IOMMU page tables: mappings.
 *
 * What is mapped, and where to, follows from a seed alone. So the list of mappings
 * is not handed over, but made again whenever it is needed. The addresses mapped
 * to need no memory behind them. One page is mapped besides that is memory, for
 * iommu.debug_pagealloc.
 */

#include <linux/hash.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "ipt.h"

/* A list of mappings, and the one that is looked at */
struct ipt_map {
	u64 state;		/* of the random numbers */
	unsigned int nr;	/* of mappings so far */
	unsigned int count;	/* of all mappings */
	u64 iova;
	u64 phys;
	u64 len;
};

static struct ipt_map ipt_maps(u64 base, u64 seed, unsigned int count)
{
	return (struct ipt_map){
		.count = count,
		.state = hash_64(seed, 64) ?: 1,
		.iova = base + SZ_1M,
	};
}

static bool ipt_next_map(struct ipt_map *map)
{
	u64 r = handover_test_random(&map->state);
	u64 align = SZ_4K;

	if (map->nr == map->count)
		return false;

	/* The first one is small, so that the top table points at a table first. */
	if (!map->nr)
		r &= ~7ULL;

	/* At least a page between two mappings, and often a whole table */
	map->iova += map->len + SZ_4K;
	if (r & BIT(20))
		map->iova += (r >> 24) % SZ_64M;

	switch (r % 8) {
	case 0:
	case 1:		/* pages of 4K */
		map->len = (1 + (r >> 8) % 64) * SZ_4K;
		break;
	case 2:
	case 3:		/* pages of 2M */
		map->len = (1 + (r >> 8) % 8) * SZ_2M;
		align = SZ_2M;
		break;
	case 4:		/* a page of 1G */
		map->len = r & BIT(19) ? SZ_1G : SZ_2M;
		align = map->len;
		break;
	case 5:
	case 6:		/* one contiguous entry, where the format has such */
		map->len = SZ_4K << (r >> 8) % 18;
		align = map->len;
		break;
	case 7:		/* unaligned ends, large pages between them */
		map->len = SZ_4M + (r >> 8) % SZ_8M;
		map->len &= PAGE_MASK;
		align = SZ_1G;
		break;
	}

	map->iova = ALIGN(map->iova, r % 8 == 7 ? SZ_4K : align);
	map->phys = handover_test_random(&map->state) % BIT_ULL(46);
	map->phys = ALIGN_DOWN(map->phys, align) + SZ_8G;
	if (align == SZ_1G && r % 8 == 7)
		map->phys += map->iova % align;
	else if (align == SZ_4K && !((map->phys ^ map->iova) & SZ_4K))
		map->phys += SZ_4K;	/* so that no larger page fits */
	map->nr++;
	return true;
}

/**
 * ipt_map_all - Map a list of mappings
 * @table: The page table
 * @base: Of all mappings
 * @seed: What they follow from
 * @count: How many there are
 *
 * Return: 0 or an error.
 */
int ipt_map_all(struct ipt_table *table, u64 base, u64 seed, unsigned int count)
{
	struct ipt_map map = ipt_maps(base, seed, count);
	int err;

	while (ipt_next_map(&map)) {
		err = iommu_map(&table->domain, map.iova, map.phys, map.len,
				IOMMU_READ | IOMMU_WRITE, GFP_KERNEL);
		if (!ipt_expect(table, "map", 0, err))
			return err;
	}
	return 0;
}

static void ipt_unmap_all(struct ipt_table *table, u64 base, u64 seed,
			  unsigned int count)
{
	struct ipt_map map = ipt_maps(base, seed, count);

	while (ipt_next_map(&map)) {
		ipt_expect(table, "unmap", map.len,
			   iommu_unmap(&table->domain, map.iova, map.len));
		ipt_expect(table, "address that was unmapped", 0,
			   iommu_iova_to_phys(&table->domain, map.iova));
	}
}

/**
 * ipt_check - Check that a page table translates what is in a list
 * @table: The page table
 * @base: Of all mappings
 * @seed: What they follow from
 * @count: How many there are
 * @what: What the check belongs to
 *
 * Addresses right before and right behind each mapping must not be translated.
 */
void ipt_check(struct ipt_table *table, u64 base, u64 seed,
	       unsigned int count, const char *what)
{
	struct iommu_domain *domain = &table->domain;
	struct ipt_map map = ipt_maps(base, seed, count);

	while (ipt_next_map(&map)) {
		u64 step = max(SZ_4K, map.len / 128);

		for (u64 off = 0; off < map.len; off += step) {
			if (!ipt_expect(table, what, map.phys + off + 8,
					iommu_iova_to_phys(domain, map.iova +
							   off + 8)))
				return;
		}
		ipt_expect(table, what, map.phys + map.len - 1,
			   iommu_iova_to_phys(domain, map.iova + map.len - 1));
		ipt_expect(table, "address before a mapping", 0,
			   iommu_iova_to_phys(domain, map.iova - 1));
		ipt_expect(table, "address behind a mapping", 0,
			   iommu_iova_to_phys(domain, map.iova + map.len));
		cond_resched();
	}
}

/**
 * ipt_use - Check that a page table can be used
 * @table: The page table
 *
 * Map and unmap other addresses, unmap everything, and map it again.
 */
void ipt_use(struct ipt_table *table)
{
	const struct ipt_kind *kind = table->kind;
	/* Above all mappings; a level higher where the format can grow. */
	u64 base = kind->base + BIT_ULL(37);
	u64 seed = ~table->seed;

	if (kind->format == IPT_AMDV1 && !kind->base)
		base = BIT_ULL(58);

	if (ipt_map_all(table, base, seed, IPT_NEW_MAPS))
		return;
	ipt_check(table, base, seed, IPT_NEW_MAPS, "new mapping");
	ipt_check(table, kind->base, table->seed, IPT_MAPS,
		  "old mapping beside new ones");
	ipt_unmap_all(table, base, seed, IPT_NEW_MAPS);
	ipt_unmap_all(table, kind->base, table->seed, IPT_MAPS);
	ipt_map_all(table, kind->base, table->seed, IPT_MAPS);
}

/**
 * ipt_target_iova - The address at which memory is mapped
 * @table: The page table
 *
 * Return: The address, which lies beneath all other mappings.
 */
u64 ipt_target_iova(const struct ipt_table *table)
{
	return table->kind->base + SZ_4K;
}

/**
 * ipt_map_target - Map memory
 * @table: The page table
 */
void ipt_map_target(struct ipt_table *table)
{
	int err = iommu_map(&table->domain, ipt_target_iova(table),
			    virt_to_phys(ipt_target), SZ_4K,
			    IOMMU_READ | IOMMU_WRITE, GFP_KERNEL);

	table->target_mapped = ipt_expect(table, "map memory", 0, err);
}

/**
 * ipt_unmap_target - Unmap that memory, if it is mapped
 * @table: The page table
 *
 * With iommu.debug_pagealloc this warns if the mapping was not counted.
 */
void ipt_unmap_target(struct ipt_table *table)
{
	if (!table->target_mapped)
		return;
	ipt_expect(table, "unmap memory", SZ_4K,
		   iommu_unmap(&table->domain, ipt_target_iova(table), SZ_4K));
	table->target_mapped = false;
}

/* What unmapping the first page of a large mapping does */
struct ipt_edge {
	struct iommu_iotlb_gather gather;
	size_t unmapped;
	u64 phys[3];
};

static void ipt_make_edge(struct ipt_table *table, struct iommu_domain *domain,
			  const struct ipt_map *map, struct ipt_edge *edge)
{
	iommu_iotlb_gather_init(&edge->gather);
	edge->unmapped = iommu_unmap_fast(domain, map->iova, SZ_4K,
					  &edge->gather);
	ipt_expect(table, "gathered tables", 0,
		   !iommu_pages_list_empty(&edge->gather.freelist));
	iommu_iotlb_sync(domain, &edge->gather);
	ipt_expect(table, "map over a large page", 0,
		   iommu_map(domain, map->iova, SZ_8G, SZ_4K,
			     IOMMU_READ | IOMMU_WRITE, GFP_KERNEL));
	edge->phys[0] = iommu_iova_to_phys(domain, map->iova);
	edge->phys[1] = iommu_iova_to_phys(domain, map->iova + SZ_4K);
	edge->phys[2] = iommu_iova_to_phys(domain, map->iova + map->len - 1);
}

static void ipt_compare_edges(struct ipt_table *table, struct ipt_table *new)
{
	struct ipt_map map = ipt_maps(table->kind->base, table->seed, IPT_MAPS);
	struct ipt_edge expected, found;

	while (ipt_next_map(&map)) {
		if (map.len < SZ_2M)
			continue;
		ipt_make_edge(table, &new->domain, &map, &expected);
		ipt_make_edge(table, &table->domain, &map, &found);
		ipt_expect(table, "bytes unmapped", expected.unmapped,
			   found.unmapped);
		ipt_expect(table, "start of the flush", expected.gather.start,
			   found.gather.start);
		ipt_expect(table, "end of the flush", expected.gather.end,
			   found.gather.end);
		ipt_expect(table, "page size of the flush",
			   expected.gather.pgsize, found.gather.pgsize);
		for (int i = 0; i != 3; i++)
			ipt_expect(table, "address at an edge",
				   expected.phys[i], found.phys[i]);
	}
}

/**
 * ipt_edges - Compare a restored page table with a new one at edges of mappings
 * @table: The restored page table, which is changed
 *
 * Unmap the first small page of each large one, and map another there. This must
 * have the same effect on both page tables, and need the same flush.
 */
void ipt_edges(struct ipt_table *table)
{
	const struct ipt_kind *kind = table->kind;
	struct ipt_table *new;

#ifdef CONFIG_IOMMU_DEBUG_PAGEALLOC
	/* It warns when more is unmapped than was asked for. */
	if (static_branch_unlikely(&iommu_debug_initialized))
		return;
#endif
	new = kzalloc_obj(*new);
	if (!new)
		return;
	new->kind = kind;
	new->index = table->index;
	if (!ipt_expect(new, "init", 0,
			ipt_init_table(new, kind->format, &kind->cfg,
				       kind->level, NULL)))
		goto free;
	if (!ipt_map_all(new, kind->base, table->seed, IPT_MAPS))
		ipt_compare_edges(table, new);
	pt_iommu_deinit(&new->iommu);
free:
	kfree(new);
}
