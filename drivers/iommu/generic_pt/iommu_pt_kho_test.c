// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the handover of IOMMU page tables between kernels.
 *
 * Works like lib/test_kho_memdesc.c: driven from user space through debugfs, in
 * the directory iommu_pt_kho_test, with the same commands and the same report.
 * The objects are whole page tables, of every format that x86 has.
 *
 * No IOMMU is involved. What is mapped, and where to, follows from a seed alone;
 * the addresses mapped to need no memory behind them. One page is mapped besides
 * that is memory, for iommu.debug_pagealloc.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/generic_pt/iommu.h>
#include <linux/hash.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/iommu_pt.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/vmstat.h>

#include "../iommu-pages.h"
#include "../iommu-priv.h"

#define IPT_SUBTREE	"iommu-pt-test"
#define IPT_MAGIC	0x696f6d6d755f7074ULL

/* A physical address that no machine has memory at. */
#define IPT_BAD_PHYS	BIT_ULL(50)

/* Ranges mapped in each page table; and by a test of new mappings */
#define IPT_MAPS	256
#define IPT_NEW_MAPS	32

/* Page tables of each kind */
#define IPT_COUNT	3

/* Per command; the rest is only counted. */
#define IPT_MAX_LINES	16

/* No call has more allocations in it. */
#define IPT_MAX_ALLOCS	4096

#define IPT_AMDV1	PT_IOMMU_SER_AMDV1
#define IPT_VTDSS	PT_IOMMU_SER_VTDSS
#define IPT_X86_64	PT_IOMMU_SER_X86_64

#define IPT_AMDV1_FEATURES						     \
	(BIT(PT_FEAT_DYNAMIC_TOP) | BIT(PT_FEAT_FLUSH_RANGE) |		     \
	 BIT(PT_FEAT_AMDV1_ENCRYPT_TABLES) | BIT(PT_FEAT_AMDV1_FORCE_COHERENCE))

static const struct ipt_kind {
	enum pt_iommu_ser_format format;
	struct pt_iommu_cfg cfg;
	unsigned int level;	/* of the top, or of the first top */
	u64 base;		/* of all mappings */
} ipt_kinds[] = {
	{ IPT_AMDV1, { IPT_AMDV1_FEATURES, 64, 52 }, 2, 0 },
	{ IPT_AMDV1, { IPT_AMDV1_FEATURES, 48, 48 }, 3, SZ_1T },
	/* Every level that there is */
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

struct ipt_table {
	union {
		struct iommu_domain domain;
		struct pt_iommu iommu;
		struct pt_iommu_amdv1 amdv1;
		struct pt_iommu_vtdss vtdss;
		struct pt_iommu_x86_64 x86_64;
	};
	struct list_head list;
	spinlock_t top_lock;	/* for changing the top */
	const struct ipt_kind *kind;
	unsigned int index;
	u64 seed;
	bool preserved;
	bool target_mapped;
	struct pt_iommu_ser ser;
};

PT_IOMMU_CHECK_DOMAIN(struct ipt_table, iommu, domain);
PT_IOMMU_CHECK_DOMAIN(struct ipt_table, amdv1.iommu, domain);
PT_IOMMU_CHECK_DOMAIN(struct ipt_table, vtdss.iommu, domain);
PT_IOMMU_CHECK_DOMAIN(struct ipt_table, x86_64.iommu, domain);

struct ipt_entry {
	struct pt_iommu_ser ser;
	u64 seed;
	u32 kind;
	u32 index;
};

static_assert(sizeof(struct ipt_entry) == 48);

struct ipt_manifest {
	u64 magic;
	u32 entry_size;
	u32 nr_entries;
	u64 target;
	struct ipt_entry entries[];
};

static DEFINE_MUTEX(ipt_lock);	/* protects everything below */
static LIST_HEAD(ipt_tables);
static struct ipt_manifest *ipt_manifest;
static void *ipt_target;	/* memory that is mapped by what is preserved */
static bool ipt_restored;
static struct device *ipt_device;
static struct dentry *ipt_dir;
static struct {
	unsigned long objects;
	unsigned long bytes;
	unsigned long preserved;
	unsigned long restored;
	unsigned long freed;
	unsigned long lost;
	unsigned long checks;
	unsigned long mismatches;
	unsigned long lines;
} ipt_stats;

/* What it takes, in ns; for a guest of which the clock counts instructions */
static struct ipt_cost {
	u64 ns;
	unsigned int tables;
} ipt_preserving, ipt_restoring;

static bool ipt_expect(const struct ipt_table *table, const char *what,
		       u64 expected, u64 found)
{
	ipt_stats.checks++;
	if (expected == found)
		return true;

	ipt_stats.mismatches++;
	if (ipt_stats.lines++ < IPT_MAX_LINES)
		pr_err("kind %td, page table %u: %s: expected %#llx, found %#llx\n",
		       table->kind - ipt_kinds, table->index, what, expected,
		       found);
	return false;
}

static void ipt_add_cost(struct ipt_cost *cost, u64 start,
			 const struct pt_iommu_ser *ser)
{
	cost->ns += ktime_get_ns() - start;
	cost->tables += ser->nr_tables;
}

static u64 ipt_mean_cost(const struct ipt_cost *cost)
{
	return cost->tables ? div_u64(cost->ns, cost->tables) : 0;
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

/* As init, or as restore if there is a @ser. */
static int ipt_init_table(struct ipt_table *table,
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

static int ipt_restore_table(struct ipt_table *table,
			     const struct pt_iommu_ser *ser)
{
	const struct ipt_kind *kind = table->kind;
	struct pt_iommu_cfg cfg = kind->cfg;
	unsigned int level = kind->level;

	/* An IOMMU that could do more than the one that the table was made for */
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

static long ipt_nr_pages(void)
{
	long again = global_node_page_state_snapshot(NR_SECONDARY_PAGETABLE);
	long nr;

	/*
	 * What a CPU has pending is in neither place while it is added to the
	 * sum: for longer than two readings take, if the CPU is interrupted.
	 */
	do {
		nr = again;
		fsleep(5000);
		again = global_node_page_state_snapshot(NR_SECONDARY_PAGETABLE);
	} while (nr != again);
	return nr;
}

/* The list of mappings, made anew each time. */
struct ipt_map {
	u64 state;
	unsigned int nr;
	unsigned int count;
	u64 iova;
	u64 phys;
	u64 len;
};

/* xorshift64 */
static u64 ipt_random(struct ipt_map *map)
{
	u64 x = map->state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	map->state = x;
	return x;
}

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
	u64 r = ipt_random(map);
	u64 align = SZ_4K;

	if (map->nr == map->count)
		return false;

	/* The first one is small: the top table points at a table first. */
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
	case 6:		/* one contiguous entry, where the format has them */
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
	map->phys = ipt_random(map) % BIT_ULL(46);
	map->phys = ALIGN_DOWN(map->phys, align) + SZ_8G;
	if (align == SZ_1G && r % 8 == 7)
		map->phys += map->iova % align;
	else if (align == SZ_4K && !((map->phys ^ map->iova) & SZ_4K))
		map->phys += SZ_4K;	/* so that no larger page fits */
	map->nr++;
	return true;
}

static int ipt_map_all(struct ipt_table *table, u64 base, u64 seed,
		       unsigned int count)
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

/* Does it translate what is in the list, and nothing around it? */
static void ipt_check(struct ipt_table *table, u64 base, u64 seed,
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

/* It must be possible to go on using the page table. */
static void ipt_use(struct ipt_table *table)
{
	const struct ipt_kind *kind = table->kind;
	/* Above all that is mapped, and where the format can grow, a level up. */
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

/* Beneath all other mappings */
static u64 ipt_target_iova(const struct ipt_table *table)
{
	return table->kind->base + SZ_4K;
}

static void ipt_map_target(struct ipt_table *table)
{
	int err = iommu_map(&table->domain, ipt_target_iova(table),
			    virt_to_phys(ipt_target), SZ_4K,
			    IOMMU_READ | IOMMU_WRITE, GFP_KERNEL);

	table->target_mapped = ipt_expect(table, "map memory", 0, err);
}

/* With iommu.debug_pagealloc this warns if the mapping was not counted. */
static void ipt_unmap_target(struct ipt_table *table)
{
	if (!table->target_mapped)
		return;
	ipt_expect(table, "unmap memory", SZ_4K,
		   iommu_unmap(&table->domain, ipt_target_iova(table), SZ_4K));
	table->target_mapped = false;
}

/* What is preserved cannot be changed: a new table would not be preserved. */
static void ipt_change_preserved(struct ipt_table *table)
{
	struct iommu_domain *domain = &table->domain;
	u64 iova = table->kind->base + BIT_ULL(37);
	u64 target = ipt_target_iova(table);

	ipt_expect(table, "map while preserved", -EBUSY,
		   iommu_map(domain, iova, SZ_8G, SZ_4K,
			     IOMMU_READ | IOMMU_WRITE, GFP_KERNEL));
	ipt_expect(table, "address mapped while preserved", 0,
		   iommu_iova_to_phys(domain, iova));
	ipt_expect(table, "unmap while preserved", 0,
		   iommu_unmap(domain, target, SZ_4K));
	ipt_expect(table, "address unmapped while preserved",
		   virt_to_phys(ipt_target),
		   iommu_iova_to_phys(domain, target));
}

static void ipt_preserve(struct ipt_table *table)
{
	struct pt_iommu_ser ser = {};
	u64 start;

	ipt_map_target(table);
	start = ktime_get_ns();
	if (!ipt_expect(table, "preserve", 0,
			pt_iommu_preserve(&table->iommu, &table->ser)))
		return;
	ipt_add_cost(&ipt_preserving, start, &table->ser);
	table->preserved = true;
	ipt_stats.preserved++;

	ipt_expect(table, "preserve twice", -EEXIST,
		   pt_iommu_preserve(&table->iommu, &ser));
	ipt_change_preserved(table);
	if (table->index % 2)
		return;

	/* Undone and done again it must be as if done once. */
	pt_iommu_unpreserve(&table->iommu);
	ipt_expect(table, "preserve again", 0,
		   pt_iommu_preserve(&table->iommu, &ser));
	ipt_expect(table, "what is handed over", 0,
		   memcmp(&ser, &table->ser, sizeof(ser)));
}

static void ipt_unpreserve(struct ipt_table *table)
{
	if (!table->preserved)
		return;
	pt_iommu_unpreserve(&table->iommu);
	table->preserved = false;
	ipt_stats.preserved--;
}

static void ipt_release(struct ipt_table *table)
{
	ipt_unpreserve(table);
	ipt_unmap_target(table);
	pt_iommu_deinit(&table->iommu);
	ipt_stats.freed++;
	list_del(&table->list);
	kfree(table);
}

static int ipt_alloc_target(void)
{
	void *target;

	if (ipt_target)
		return 0;
	target = kho_alloc_preserve(SZ_4K);
	if (IS_ERR(target))
		return PTR_ERR(target);
	ipt_target = target;
	return 0;
}

/* Let the n-th allocation from here on fail; 0 for none. */
static void ipt_fail_alloc(unsigned int nth)
{
#ifdef CONFIG_FAULT_INJECTION
	WRITE_ONCE(current->fail_nth, nth);
#endif
}

/* Has it failed? And no other will. */
static bool ipt_alloc_failed(void)
{
#ifdef CONFIG_FAULT_INJECTION
	bool failed = !READ_ONCE(current->fail_nth);

	ipt_fail_alloc(0);
	return failed;
#else
	return false;
#endif
}

static void ipt_preserve_nomem(struct ipt_table *table)
{
	struct pt_iommu_ser ser;
	int err;

	for (unsigned int nth = 1; nth < IPT_MAX_ALLOCS; nth++) {
		ipt_fail_alloc(nth);
		err = pt_iommu_preserve(&table->iommu, &ser);
		if (!err)
			pt_iommu_unpreserve(&table->iommu);
		if (!ipt_alloc_failed())
			break;
		if (err)
			ipt_expect(table, "preserve without memory", -ENOMEM,
				   err);
	}
}

/* Leaves the page table restored if it succeeds. */
static int ipt_restore_nomem(struct ipt_table *table,
			     const struct pt_iommu_ser *ser)
{
	int err;

	for (unsigned int nth = 1; nth < IPT_MAX_ALLOCS; nth++) {
		ipt_fail_alloc(nth);
		err = ipt_restore_table(table, ser);
		if (!ipt_alloc_failed() || !err)
			return err;
		ipt_expect(table, "restore without memory", -ENOMEM, err);
	}
	return ipt_restore_table(table, ser);
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

/* For one function, which has a variable for it. */
#define ipt_bad_ser(table, good, field, value, err)			\
	do {								\
		ser = *(good);						\
		ser.field = value;					\
		ipt_bad(table, &ser, err,				\
			"restore with " #field " " #value);		\
	} while (0)

/* Damages one entry of a table for one call. */
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

/* The item of a table of @level on the way to the page of memory */
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
		phys = *item & GENMASK_ULL(51, 12);
	}
}

/* A table is as good as the other but for its place: both are refused. */
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

/* What HW may do while the page table is on its way */
static u64 ipt_hw_bits(const struct ipt_table *table, unsigned int level)
{
	unsigned int accessed = table->kind->format == IPT_VTDSS ? 8 : 5;

	return BIT(accessed) | (level ? 0 : BIT(accessed + 1));
}

static void ipt_access(const struct ipt_table *table,
		       const struct pt_iommu_ser *ser)
{
	for (unsigned int level = 0; level <= ser->top_level; level++)
		*ipt_item(table, ser, level) |= ipt_hw_bits(table, level);
}

static void ipt_check_access(const struct ipt_table *table,
			     const struct pt_iommu_ser *ser)
{
	for (unsigned int level = 0; level <= ser->top_level; level++) {
		u64 bits = ipt_hw_bits(table, level);

		ipt_expect(table, "accessed and dirty bits", bits,
			   *ipt_item(table, ser, level) & bits);
	}
}

/*
 * Calls that have to fail, on a page table that is there to be restored. The
 * restore that follows shows that they changed nothing.
 */
static void ipt_bad_calls(struct ipt_table *table,
			  const struct pt_iommu_ser *good,
			  const struct pt_iommu_ser *other, phys_addr_t folio)
{
	const struct ipt_kind *kind = table->kind;
	const bool amdv1 = kind->format == IPT_AMDV1;
	u64 *top = phys_to_virt(good->top_phys);
	struct pt_iommu_cfg cfg = kind->cfg;
	unsigned int used = 0, empty = 0, pair = 0;
	u64 address = GENMASK_ULL(51, 12);
	struct pt_iommu_ser ser;
	phys_addr_t child;
	struct page *page;
	u64 moved;

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

	if (amdv1) {
		/* The top can be anything, what is below it cannot. */
		if (good->top_level < 5 && kind->cfg.hw_max_vasz_lg2 == 64)
			ipt_bad_ser(table, good, top_level, good->top_level + 1,
				    -EINVAL);
	}
	/* Limits that the page table exceeds */
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
	/* A format that could have the same sizes */
	if (kind->cfg.hw_max_vasz_lg2 != 64)
		ipt_expect(table, "another format's restore", -EINVAL,
			   ipt_init_table(table, amdv1 ? IPT_VTDSS : IPT_AMDV1,
					  &(struct pt_iommu_cfg){
						amdv1 ? 0 : IPT_AMDV1_FEATURES,
						48, 52 }, 3, good));

	while (used < 511 && !top[used])
		used++;
	while (empty < 511 && (top[empty] || empty == used))
		empty++;
	child = top[used] & address;
	/* The top of all levels of AMDv1 is smaller. */
	if (!ipt_expect(table, "an entry in the top table", true,
			child && (good->top_level < 5 || empty < 128)))
		return;

	ipt_bad_ser(table, good, top_phys, child, 0);
	ipt_bad_item(table, good, &top[used], 0, -EINVAL, "a table gone");
	ipt_bad_item(table, good, &top[used],
		     (top[used] & ~address) | IPT_BAD_PHYS, -ENOENT,
		     "a table beyond memory");
	ipt_bad_item(table, good, &top[used],
		     (top[used] & ~address) | folio, -EINVAL,
		     "a folio for a table");
	ipt_bad_item(table, good, &top[used],
		     (top[used] & ~address) | good->top_phys, -ENOENT,
		     "a table that points at itself");
	moved = top[used];
	top[used] = 0;
	ipt_bad_item(table, good, &top[empty], moved, -EINVAL,
		     "a table at another address");
	top[used] = moved;
	if (other)
		ipt_bad_exchange(table, good, other);
	/* The one that comes second is one too many, or not there any more. */
	ipt_bad_item(table, good, &top[empty], top[used], 0, "a table twice");
	if (amdv1) {
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
	}

	while (pair < 510 && (top[pair] || top[pair + 1]))
		pair += 2;
	/* No address has so many bits as such a page would at level 5. */
	if (amdv1 && good->top_level < 5)
		ipt_bad_item(table, good, &top[pair],
			     BIT(0) | GENMASK_ULL(11 + 9 * good->top_level, 9),
			     -EINVAL, "one of the two items of a page");
}

/*
 * Unmap what ends within a large page, and map a small one over its begin: on a
 * restored table with the same effect, and the same flush, as on a new one.
 */
static void ipt_edges(struct ipt_table *table)
{
	const struct ipt_kind *kind = table->kind;
	struct ipt_map map = ipt_maps(kind->base, table->seed, IPT_MAPS);
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
	if (ipt_map_all(new, kind->base, table->seed, IPT_MAPS))
		goto deinit;

	while (ipt_next_map(&map)) {
		struct iommu_domain *domains[] = { &new->domain,
						   &table->domain };
		struct iommu_iotlb_gather gathers[2];
		size_t unmapped[2];
		u64 phys[2][3];

		if (map.len < SZ_2M)
			continue;
		for (int i = 0; i != 2; i++) {
			iommu_iotlb_gather_init(&gathers[i]);
			unmapped[i] = iommu_unmap_fast(domains[i], map.iova,
						       SZ_4K, &gathers[i]);
			ipt_expect(table, "gathered tables", 0,
				   !iommu_pages_list_empty(&gathers[i].freelist));
			iommu_iotlb_sync(domains[i], &gathers[i]);
			ipt_expect(table, "map over a large page", 0,
				   iommu_map(domains[i], map.iova, SZ_8G, SZ_4K,
					     IOMMU_READ | IOMMU_WRITE,
					     GFP_KERNEL));
			phys[i][0] = iommu_iova_to_phys(domains[i], map.iova);
			phys[i][1] = iommu_iova_to_phys(domains[i],
							map.iova + SZ_4K);
			phys[i][2] = iommu_iova_to_phys(domains[i],
							map.iova + map.len - 1);
		}
		ipt_expect(table, "bytes unmapped", unmapped[0], unmapped[1]);
		ipt_expect(table, "start of the flush", gathers[0].start,
			   gathers[1].start);
		ipt_expect(table, "end of the flush", gathers[0].end,
			   gathers[1].end);
		ipt_expect(table, "page size of the flush", gathers[0].pgsize,
			   gathers[1].pgsize);
		for (int i = 0; i != 3; i++)
			ipt_expect(table, "address at an edge", phys[0][i],
				   phys[1][i]);
	}
deinit:
	pt_iommu_deinit(&new->iommu);
free:
	kfree(new);
}

/* Another page table of the same kind that is not yet restored */
static const struct pt_iommu_ser *ipt_other(const struct ipt_manifest *manifest,
					    const struct ipt_entry *entry)
{
	for (const struct ipt_entry *other = entry + 1;
	     other != &manifest->entries[manifest->nr_entries]; other++) {
		if (other->kind == entry->kind)
			return &other->ser;
	}
	return NULL;
}

static int ipt_restore_entry(const struct ipt_manifest *manifest,
			     const struct ipt_entry *entry, phys_addr_t folio)
{
	struct ipt_table *table = kzalloc_obj(*table);
	const struct pt_iommu_ser *ser = &entry->ser;
	struct pt_iommu_ser again = {};
	struct ipt_table *twice;
	u64 start;
	long nr;
	int err;

	if (!table)
		return -ENOMEM;
	table->kind = &ipt_kinds[entry->kind];
	table->index = entry->index;
	table->seed = entry->seed;
	ipt_stats.objects++;
	ipt_stats.bytes += ser->nr_tables * SZ_4K;

	if (!entry->index)
		ipt_bad_calls(table, ser, ipt_other(manifest, entry), folio);

	ipt_access(table, ser);
	nr = ipt_nr_pages();
	start = ktime_get_ns();
	if (entry->index == 1)
		err = ipt_restore_nomem(table, ser);
	else
		err = ipt_restore_table(table, ser);
	if (entry->index != 1)
		ipt_add_cost(&ipt_restoring, start, ser);
	if (!ipt_expect(table, "restore", 0, err)) {
		ipt_stats.lost++;
		kfree(table);
		return 0;
	}
	ipt_stats.restored++;
	list_add_tail(&table->list, &ipt_tables);
	ipt_expect(table, "pages restored", ser->nr_tables,
		   ipt_nr_pages() - nr);
	ipt_check_access(table, ser);

	/* Whatever this IOMMU could do, the page table is what it was. */
	ipt_expect(table, "preserve what was restored", 0,
		   pt_iommu_preserve(&table->iommu, &again));
	ipt_expect(table, "what would be handed over", 0,
		   memcmp(&again, ser, sizeof(again)));
	pt_iommu_unpreserve(&table->iommu);

	ipt_expect(table, "memory mapped", manifest->target,
		   iommu_iova_to_phys(&table->domain, ipt_target_iova(table)));
	table->target_mapped = true;
	ipt_unmap_target(table);

	twice = kzalloc_obj(*twice);
	if (twice) {
		twice->kind = table->kind;
		ipt_expect(table, "restore twice", -ENOENT,
			   ipt_restore_table(twice, ser));
		kfree(twice);
	}

	ipt_check(table, table->kind->base, table->seed, IPT_MAPS,
		  "restored mapping");
	ipt_use(table);
	ipt_check(table, table->kind->base, table->seed, IPT_MAPS,
		  "restored page table after use");

	if (entry->index % 3 == 0) {
		/* Nothing that is of this page table may stay. */
		struct ipt_table copy = *table;

		ipt_edges(table);
		ipt_release(table);
		ipt_expect(&copy, "pages left", nr, ipt_nr_pages());
	}
	return 0;
}

static int ipt_cmd_restore(void)
{
	struct ipt_manifest *manifest;
	phys_addr_t phys;
	size_t size;
	int err;

	if (ipt_restored)
		return -ENOENT;
	err = kho_retrieve_subtree(IPT_SUBTREE, &phys, &size);
	if (err)
		return err;

	manifest = phys_to_virt(phys);
	if (size < sizeof(*manifest) || manifest->magic != IPT_MAGIC ||
	    manifest->entry_size != sizeof(struct ipt_entry) ||
	    struct_size(manifest, entries, manifest->nr_entries) > size) {
		pr_err("the manifest at %pa is damaged\n", &phys);
		return -EINVAL;
	}
	for (unsigned int i = 0; i < manifest->nr_entries; i++) {
		if (manifest->entries[i].kind >= ARRAY_SIZE(ipt_kinds))
			return -EINVAL;
	}

	/* From here on nothing can be done a second time. */
	ipt_restored = true;
	for (unsigned int i = 0; i < manifest->nr_entries; i++) {
		err = ipt_restore_entry(manifest, &manifest->entries[i], phys);
		if (err)
			return err;
		cond_resched();
	}
	kho_restore_free(phys_to_virt(manifest->target));
	kho_restore_free(manifest);
	return 0;
}

static int ipt_publish(void)
{
	struct ipt_manifest *manifest;
	struct ipt_table *table;
	unsigned int nr = 0;
	size_t size;
	int err;

	size = struct_size(manifest, entries, ipt_stats.preserved);
	manifest = kho_alloc_preserve(size);
	if (IS_ERR(manifest))
		return PTR_ERR(manifest);

	list_for_each_entry(table, &ipt_tables, list) {
		struct ipt_entry *entry = &manifest->entries[nr];

		if (!table->preserved)
			continue;
		entry->ser = table->ser;
		entry->seed = table->seed;
		entry->kind = table->kind - ipt_kinds;
		entry->index = table->index;
		nr++;
	}
	manifest->magic = IPT_MAGIC;
	manifest->entry_size = sizeof(struct ipt_entry);
	manifest->nr_entries = nr;
	manifest->target = virt_to_phys(ipt_target);

	err = kho_add_subtree(IPT_SUBTREE, manifest, size);
	if (err) {
		kho_unpreserve_free(manifest);
		return err;
	}
	ipt_manifest = manifest;
	return 0;
}

static int ipt_preserve_new(const struct ipt_kind *kind, unsigned int index,
			    u64 seed)
{
	struct ipt_table *table = kzalloc_obj(*table);
	long nr = ipt_nr_pages();
	int err;

	if (!table)
		return -ENOMEM;
	table->kind = kind;
	table->index = index;
	table->seed = hash_64(seed, 64) + index * ARRAY_SIZE(ipt_kinds) +
		      (kind - ipt_kinds);
	err = ipt_init_table(table, kind->format, &kind->cfg, kind->level, NULL);
	if (!ipt_expect(table, "init", 0, err)) {
		kfree(table);
		return 0;
	}
	ipt_stats.objects++;
	list_add_tail(&table->list, &ipt_tables);

	err = ipt_map_all(table, kind->base, table->seed, IPT_MAPS);
	if (err)
		return err;
	ipt_check(table, kind->base, table->seed, IPT_MAPS, "mapping");
	if (index == 1)
		ipt_preserve_nomem(table);
	ipt_preserve(table);
	ipt_expect(table, "pages preserved", ipt_nr_pages() - nr,
		   table->ser.nr_tables);
	ipt_stats.bytes += table->ser.nr_tables * SZ_4K;
	return 0;
}

static int ipt_cmd_preserve(u64 seed)
{
	int err;

	if (ipt_manifest)
		return -EBUSY;
	err = ipt_alloc_target();
	if (err)
		return err;

	for (unsigned int i = 0; i < IPT_COUNT; i++) {
		for (unsigned int k = 0; k < ARRAY_SIZE(ipt_kinds); k++) {
			err = ipt_preserve_new(&ipt_kinds[k], i, seed);
			if (err)
				return err;
			cond_resched();
		}
	}
	return ipt_publish();
}

static int ipt_cmd_again(u64 seed)
{
	struct ipt_table *table, *next;
	int err;

	if (ipt_manifest)
		return -EBUSY;
	err = ipt_alloc_target();
	if (err)
		return err;

	/* Of each kind restore has left those with the indexes 1 and 2. */
	list_for_each_entry_safe(table, next, &ipt_tables, list) {
		if (table->index == 1)
			ipt_preserve(table);
		else
			ipt_release(table);
	}
	return ipt_cmd_preserve(seed);
}

static int ipt_cmd_free(void)
{
	struct ipt_table *table, *next;

	if (ipt_manifest) {
		kho_remove_subtree(ipt_manifest);
		kho_unpreserve_free(ipt_manifest);
		ipt_manifest = NULL;
	}
	list_for_each_entry_safe(table, next, &ipt_tables, list) {
		ipt_check(table, table->kind->base, table->seed, IPT_MAPS,
			  "page table to be freed");
		ipt_release(table);
		cond_resched();
	}
	if (ipt_target) {
		kho_unpreserve_free(ipt_target);
		ipt_target = NULL;
	}
	return 0;
}

static int ipt_run(char *line)
{
	unsigned long before = ipt_stats.mismatches;
	char *cmd = strsep(&line, " ");
	u64 seed = 0;
	int err;

	if (line && kstrtou64(strim(line), 0, &seed))
		return -EINVAL;

	ipt_stats.checks = 0;
	ipt_stats.lines = 0;
	if (!strcmp(cmd, "preserve"))
		err = ipt_cmd_preserve(seed);
	else if (!strcmp(cmd, "restore"))
		err = ipt_cmd_restore();
	else if (!strcmp(cmd, "again"))
		err = ipt_cmd_again(seed);
	else if (!strcmp(cmd, "free"))
		err = ipt_cmd_free();
	else
		return -EINVAL;

	before = ipt_stats.mismatches - before;
	pr_info("%s: %lu checks, %lu mismatches, error %d\n", cmd,
		ipt_stats.checks, before, err);
	pr_info("ns per table: preserve %llu, restore %llu\n",
		ipt_mean_cost(&ipt_preserving), ipt_mean_cost(&ipt_restoring));
	if (err)
		return err;
	return before ? -EIO : 0;
}

static ssize_t ipt_cmd_write(struct file *file, const char __user *ubuf,
			     size_t count, loff_t *ppos)
{
	char line[64];
	int err;

	if (!count || count >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, ubuf, count))
		return -EFAULT;
	line[count] = '\0';

	guard(mutex)(&ipt_lock);
	err = ipt_run(strim(line));
	return err ?: count;
}

static const struct file_operations ipt_cmd_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= ipt_cmd_write,
	.llseek	= noop_llseek,
};

static int ipt_report_show(struct seq_file *m, void *unused)
{
	unsigned long unsaved = 0;
	struct ipt_table *table;

	guard(mutex)(&ipt_lock);
	list_for_each_entry(table, &ipt_tables, list)
		unsaved += !table->preserved;

	seq_printf(m, "type=iommu_table objects=%lu bytes=%lu preserved=%lu restored=%lu freed=%lu leaked=%lu verdict=%s\n",
		   ipt_stats.objects, ipt_stats.bytes, ipt_stats.preserved,
		   ipt_stats.restored, ipt_stats.freed,
		   unsaved + ipt_stats.lost,
		   ipt_stats.objects && !ipt_stats.mismatches ? "pass" : "fail");
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(ipt_report);

static int __init ipt_init(void)
{
	if (!kho_is_enabled()) {
		pr_info("kexec handover is off\n");
		return -EOPNOTSUPP;
	}

	ipt_device = root_device_register("iommu_pt_kho_test");
	if (IS_ERR(ipt_device))
		return PTR_ERR(ipt_device);

	ipt_dir = debugfs_create_dir("iommu_pt_kho_test", NULL);
	debugfs_create_file("cmd", 0200, ipt_dir, NULL, &ipt_cmd_fops);
	debugfs_create_file("report", 0400, ipt_dir, NULL, &ipt_report_fops);
	return 0;
}
module_init(ipt_init);

static void __exit ipt_exit(void)
{
	debugfs_remove(ipt_dir);
	scoped_guard(mutex, &ipt_lock)
		ipt_cmd_free();
	root_device_unregister(ipt_device);
}
module_exit(ipt_exit);

MODULE_DESCRIPTION("Test of the handover of IOMMU page tables");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("GENERIC_PT_IOMMU");
