// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preservations of a large machine, for harness/scale: gigantic folios, folios of
 * 2 MiB, scattered pages, slab objects and page tables, in the numbers that the
 * parameters say. Nothing is written into the memory of folios, because the host has
 * much less memory than the guest.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>

#define SUBTREE "kho-huge"

enum kind { FOLIO_1G, FOLIO_2M, PAGE, OBJECT, TABLE, NR_KINDS };

static const char *const names[NR_KINDS] = {
	"folios of 1 GiB", "folios of 2 MiB", "scattered pages", "slab objects",
	"page tables",
};

static unsigned int counts[NR_KINDS];
module_param_array_named(counts, counts, uint, NULL, 0);
MODULE_PARM_DESC(counts, "how many of each kind; without it, restore them");

/* An inline function names it, but no page table of the kernel is freed here. */
#ifdef CONFIG_ASYNC_KERNEL_PGTABLE_FREE
void pagetable_free_kernel(struct ptdesc *pt)
{
	__pagetable_free(pt);
}
#endif

/* What the next kernel gets to know: where everything is. */
struct manifest {
	u32 count[NR_KINDS];
	struct kho_vmalloc phys[NR_KINDS];
};

/* Every second page of a block; the other ones are free. */
static phys_addr_t next_page(void)
{
	static struct page *block;
	static unsigned int i = MAX_ORDER_NR_PAGES;
	phys_addr_t phys;

	if (i >= MAX_ORDER_NR_PAGES) {
		block = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER);
		if (!block)
			return 0;
		split_page(block, MAX_PAGE_ORDER);
		i = 0;
	}
	phys = page_to_phys(block + i);
	__free_page(block + i + 1);
	i += 2;
	return phys;
}

static phys_addr_t alloc_one(enum kind kind)
{
	struct folio *folio;
	struct page *page;
	struct ptdesc *pt;
	void *obj;

	switch (kind) {
	case FOLIO_1G:
		page = alloc_contig_frozen_pages(SZ_1G / PAGE_SIZE,
						 GFP_KERNEL | __GFP_COMP |
						 __GFP_NOWARN, numa_mem_id(), NULL);
		if (!page)
			return 0;
		set_page_count(page, 1);
		folio_set_large_rmappable(page_folio(page));
		return page_to_phys(page);
	case FOLIO_2M:
		folio = folio_alloc(GFP_KERNEL, PMD_ORDER);
		return folio ? PFN_PHYS(folio_pfn(folio)) : 0;
	case PAGE:
		return next_page();
	case OBJECT:
		obj = kmalloc(192, GFP_KERNEL);
		if (obj)
			*(phys_addr_t *)obj = virt_to_phys(obj);
		return obj ? virt_to_phys(obj) : 0;
	default:
		pt = pagetable_alloc(GFP_KERNEL, 0);
		return pt ? page_to_phys(ptdesc_page(pt)) : 0;
	}
}

static int preserve_one(enum kind kind, phys_addr_t phys)
{
	switch (kind) {
	case OBJECT:
		return kho_slab_preserve(phys_to_virt(phys));
	case TABLE:
		return kho_ptdesc_preserve(page_ptdesc(phys_to_page(phys)));
	default:
		return kho_folio_preserve(page_folio(phys_to_page(phys)));
	}
}

static bool restore_one(enum kind kind, phys_addr_t phys)
{
	struct folio *folio;
	struct ptdesc *pt;
	phys_addr_t *obj;
	bool good;

	switch (kind) {
	case OBJECT:
		obj = kho_slab_restore(phys);
		good = !IS_ERR(obj) && *obj == phys;
		if (!IS_ERR(obj))
			kfree(obj);
		return good;
	case TABLE:
		pt = kho_ptdesc_restore(phys);
		if (IS_ERR(pt))
			return false;
		pagetable_free(pt);
		return true;
	default:
		folio = kho_folio_restore(phys);
		if (IS_ERR(folio))
			return false;
		good = PFN_PHYS(folio_pfn(folio)) == phys && folio_ref_count(folio) == 1;
		folio_put(folio);
		return good;
	}
}

/* Per piece, in nanoseconds. */
static u64 since(u64 start, u32 count)
{
	return count ? div_u64(ktime_get_ns() - start, count) : 0;
}

static int preserve_kind(struct manifest *m, enum kind kind)
{
	phys_addr_t *phys = vmalloc(array_size(counts[kind] + 1, sizeof(*phys)));
	long free;
	u64 start;
	u32 i;
	int err;

	if (!phys)
		return -ENOMEM;
	for (i = 0; i < counts[kind]; i++) {
		phys[i] = alloc_one(kind);
		if (!phys[i])
			break;
		if (i % 1024 == 0)
			cond_resched();
	}
	m->count[kind] = i;
	free = global_zone_page_state(NR_FREE_PAGES);
	start = ktime_get_ns();
	for (i = 0; i < m->count[kind]; i++) {
		err = preserve_one(kind, phys[i]);
		if (err)
			return err;
		if (i % 1024 == 0)
			cond_resched();
	}
	pr_info("preserved %u of %u %s, %llu ns each, %ld KiB less are free\n", i,
		counts[kind], names[kind], since(start, i),
		(free - (long)global_zone_page_state(NR_FREE_PAGES)) *
		(long)(PAGE_SIZE / 1024));
	err = kho_vmalloc_preserve(phys, &m->phys[kind]);
	return err ?: (i ? 0 : -ENOMEM);
}

static int preserve(void)
{
	struct manifest *m = kho_alloc_preserve(PAGE_SIZE);
	int err = 0;

	if (IS_ERR(m))
		return PTR_ERR(m);
	for (enum kind kind = 0; !err && kind < NR_KINDS; kind++)
		err = preserve_kind(m, kind);
	return err ?: kho_add_subtree(SUBTREE, m, sizeof(*m));
}

static int restore_kind(const struct manifest *m, enum kind kind)
{
	phys_addr_t *phys = kho_vmalloc_restore(&m->phys[kind]);
	u32 bad = 0;
	u64 start;

	if (IS_ERR(phys))
		return PTR_ERR(phys);
	start = ktime_get_ns();
	for (u32 i = 0; i < m->count[kind]; i++) {
		bad += !restore_one(kind, phys[i]);
		if (i % 1024 == 0)
			cond_resched();
	}
	pr_info("restored %u %s, %llu ns each: %u bad\n", m->count[kind],
		names[kind], since(start, m->count[kind]), bad);
	vfree(phys);
	return bad ? -EIO : 0;
}

static int restore(void)
{
	phys_addr_t phys;
	int err;

	err = kho_retrieve_subtree(SUBTREE, &phys, NULL);
	for (enum kind kind = 0; !err && kind < NR_KINDS; kind++)
		err = restore_kind(phys_to_virt(phys), kind);
	return err;
}

static int __init kho_huge_init(void)
{
	return counts[PAGE] ? preserve() : restore();
}
module_init(kho_huge_init);

static void __exit kho_huge_exit(void)
{
}
module_exit(kho_huge_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A handover of the memory of a large machine");
