// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the handover of IOMMU page tables between kernels.
 *
 * User space drives the test through the debugfs directory iommu_pt_kho_test;
 * lib/kho_test/handover_test.c describes the files and the commands. The objects
 * are whole page tables, of every format that x86 has. No IOMMU is involved.
 *
 * main.c	the commands
 * table.c	the kinds of page tables
 * maps.c	what is mapped
 * bad.c	calls that have to fail
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/device.h>
#include <linux/hash.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "ipt.h"

#define IPT_SUBTREE	"iommu-pt-test"
#define IPT_MAGIC	0x696f6d6d755f7074ULL

/* Page tables of each kind */
#define IPT_COUNT	3

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

/* What follows is protected by ipt_test.lock. */
static LIST_HEAD(ipt_tables);
static struct ipt_manifest *ipt_manifest;
static bool ipt_restored;

/* Memory that is mapped by what is preserved */
void *ipt_target;
struct device *ipt_device;
struct handover_test_stats ipt_stats;

/* How long it takes, in ns, for a guest whose clock counts instructions */
static struct ipt_cost {
	u64 ns;
	unsigned int tables;
} ipt_preserving, ipt_restoring;

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

/* A preserved page table cannot be changed: a new table would not be preserved. */
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

/* Another page table of the same kind that is not restored yet */
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

/* Restore it, and see that exactly its pages are counted. Returns 0 or an error. */
static int ipt_restore_counted(struct ipt_table *table,
			       const struct pt_iommu_ser *ser)
{
	long nr = ipt_nr_pages();
	u64 start;
	int err;

	ipt_access(table, ser);
	start = ktime_get_ns();
	if (table->index == 1)
		err = ipt_restore_nomem(table, ser);
	else
		err = ipt_restore_table(table, ser);
	if (table->index != 1)
		ipt_add_cost(&ipt_restoring, start, ser);
	if (!ipt_expect(table, "restore", 0, err))
		return err;
	ipt_expect(table, "pages restored", ser->nr_tables,
		   ipt_nr_pages() - nr);
	ipt_check_access(table, ser);
	return 0;
}

static void ipt_check_restored(struct ipt_table *table,
			       const struct ipt_manifest *manifest,
			       const struct pt_iommu_ser *ser)
{
	struct pt_iommu_ser again = {};
	struct ipt_table *twice;

	ipt_expect(table, "memory mapped", manifest->target,
		   iommu_iova_to_phys(&table->domain, ipt_target_iova(table)));
	table->target_mapped = true;
	/* This memory is the previous kernel's: this kernel has not preserved it. */
	ipt_expect(table, "preserve with other memory mapped", -ENOENT,
		   pt_iommu_preserve(&table->iommu, &again));
	ipt_unmap_target(table);

	/* Whatever this IOMMU could do, the page table is what it was. */
	ipt_expect(table, "preserve what was restored", 0,
		   pt_iommu_preserve(&table->iommu, &again));
	ipt_expect(table, "what would be handed over", 0,
		   memcmp(&again, ser, sizeof(again)));
	pt_iommu_unpreserve(&table->iommu);

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
}

static int ipt_restore_entry(const struct ipt_manifest *manifest,
			     const struct ipt_entry *entry, phys_addr_t folio)
{
	struct ipt_table *table = kzalloc_obj(*table);
	const struct pt_iommu_ser *ser = &entry->ser;
	long nr;

	if (!table)
		return -ENOMEM;
	table->kind = &ipt_kinds[entry->kind];
	table->index = entry->index;
	table->seed = entry->seed;
	ipt_stats.objects++;
	ipt_stats.bytes += ser->nr_tables * SZ_4K;

	if (!entry->index)
		ipt_bad_calls(table, ser, ipt_other(manifest, entry), folio);

	nr = ipt_nr_pages();
	if (ipt_restore_counted(table, ser)) {
		ipt_stats.lost++;
		kfree(table);
		return 0;
	}
	ipt_stats.restored++;
	list_add_tail(&table->list, &ipt_tables);
	ipt_check_restored(table, manifest, ser);

	if (entry->index % 3 == 0) {
		/* Nothing of this page table may stay. */
		struct ipt_table copy = *table;

		ipt_edges(table);
		ipt_release(table);
		ipt_expect(&copy, "pages left", nr, ipt_nr_pages());
	}
	return 0;
}

static int ipt_cmd_restore(u64 unused)
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
		if (manifest->entries[i].kind >= ipt_nr_kinds)
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
	table->seed = hash_64(seed, 64) + index * ipt_nr_kinds +
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
		for (unsigned int k = 0; k < ipt_nr_kinds; k++) {
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

	/* "restore" has left the page tables with the indexes 1 and 2 of each kind. */
	list_for_each_entry_safe(table, next, &ipt_tables, list) {
		if (table->index == 1)
			ipt_preserve(table);
		else
			ipt_release(table);
	}
	return ipt_cmd_preserve(seed);
}

static int ipt_cmd_free(u64 unused)
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

static const struct handover_test_cmd ipt_cmds[] = {
	{ "preserve",	ipt_cmd_preserve },
	{ "restore",	ipt_cmd_restore },
	{ "again",	ipt_cmd_again },
	{ "free",	ipt_cmd_free },
	{ }
};

static void ipt_after(const char *cmd)
{
	pr_info("ns per table: preserve %llu, restore %llu\n",
		ipt_mean_cost(&ipt_preserving), ipt_mean_cost(&ipt_restoring));
	ipt_tell_failed(cmd);
}

static void ipt_report(struct seq_file *m)
{
	unsigned long unsaved = 0;
	struct ipt_table *table;

	list_for_each_entry(table, &ipt_tables, list)
		unsaved += !table->preserved;
	handover_test_row(m, "iommu_table", &ipt_stats, unsaved);
}

struct handover_test ipt_test = {
	.name	= "iommu_pt_kho_test",
	.cmds	= ipt_cmds,
	.after	= ipt_after,
	.report	= ipt_report,
};

static int __init ipt_init(void)
{
	if (!kho_is_enabled()) {
		pr_info("kexec handover is off\n");
		return -EOPNOTSUPP;
	}

	ipt_device = root_device_register("iommu_pt_kho_test");
	if (IS_ERR(ipt_device))
		return PTR_ERR(ipt_device);

	handover_test_register(&ipt_test);
	return 0;
}
module_init(ipt_init);

static void __exit ipt_exit(void)
{
	handover_test_unregister(&ipt_test);
	ipt_cmd_free(0);
	root_device_unregister(ipt_device);
}
module_exit(ipt_exit);

MODULE_DESCRIPTION("Test of the handover of IOMMU page tables");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("GENERIC_PT_IOMMU");
