// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the typed kexec handover: page tables, of IOMMUs and of CPUs.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/io.h>
#include <linux/ioptdesc.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/vmstat.h>

#include "kmt.h"

#include "../../drivers/iommu/iommu-pages.h"

/*
 * How many pages of page tables may come and go with other users of memory. A
 * process that ends takes some 20 with it. The test itself restores hundreds.
 */
#define KMT_SLACK_PAGETABLE	64

/* By how much NR_PAGETABLE has moved too far while objects came and went. */
static long kmt_pagetable_noise;

/* The counters of pages of IOMMUs, and what they should be. */
static struct kmt_counter {
	enum node_stat_item item;
	const char *name;
	long expected;
} kmt_iommu_counters[] = {
	{ NR_IOMMU_PAGES, "NR_IOMMU_PAGES" },
	{ NR_SECONDARY_PAGETABLE, "NR_SECONDARY_PAGETABLE" },
};

/* Page tables of IOMMUs */

static void kmt_init_ioptdesc(struct kmt_object *obj)
{
	kmt_pages.init(obj);
}

static void *kmt_alloc_ioptdesc(const struct kmt_object *obj)
{
	return iommu_alloc_pages_sz(KMT_GFP, obj->size);
}

/* There are three ways to free them. */
static void kmt_free_ioptdesc(const struct kmt_object *obj)
{
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);

	/* "restore" frees every third object, of which a third goes each way. */
	switch (obj->index / 3 % 3) {
	case 0:
		iommu_free_pages(obj->addr);
		break;
	case 1:
		iommu_pages_list_add(&list, obj->addr);
		iommu_put_pages_list(&list);
		break;
	case 2:
		iommu_free_pages_rcu(obj->addr);
		/* The counters are looked at next. */
		rcu_barrier();
		break;
	}
}

/* One by one, or as a list. */
static int kmt_preserve_ioptdesc(struct kmt_object *obj)
{
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);
	int err;

	if (obj->index % 2)
		return iommu_preserve_pages(obj->addr);

	iommu_pages_list_add(&list, obj->addr);
	err = iommu_preserve_pages_list(&list);
	iommu_pages_list_release(&list);
	return err;
}

static void kmt_unpreserve_ioptdesc(struct kmt_object *obj)
{
	iommu_unpreserve_pages(obj->addr);
}

static void *kmt_restore_ioptdesc(const struct kmt_object *obj, phys_addr_t phys)
{
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);
	int err;

	if (obj->index % 4 < 2)
		return iommu_restore_pages(phys);

	err = iommu_restore_pages_list(&phys, 1, &list);
	if (err)
		return ERR_PTR(err);
	iommu_pages_list_release(&list);
	return phys_to_virt(phys);
}

/* Pages are not taken for smaller tables, and tables without a size are none. */
static void kmt_bad_size(const struct kmt_object *obj, phys_addr_t phys)
{
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);

	kmt_expect(obj, "call that has to fail", "small table", -EINVAL,
		   iommu_claim_pages(phys, PAGE_SIZE / 4, &list));
	kmt_expect(obj, "call that has to fail", "no size", -EINVAL,
		   iommu_claim_pages(phys, 0, &list));
}

/* A list whose last page is not there, and one that has a page twice. */
static void kmt_bad_list(const struct kmt_object *obj, phys_addr_t phys)
{
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);
	phys_addr_t addrs[] = { phys, KMT_BAD_PHYS };

	kmt_expect(obj, "call that has to fail", "list with a hole", -ENOENT,
		   iommu_restore_pages_list(addrs, 2, &list));
	addrs[1] = phys;
	kmt_expect(obj, "call that has to fail", "list with the same", -ENOENT,
		   iommu_restore_pages_list(addrs, 2, &list));
	kmt_expect(obj, "call that has to fail", "list is empty", true,
		   iommu_pages_list_empty(&list));
}

/* The descriptors of a list that cannot be restored must be freed, too. */
static void kmt_bad_list_leak(const struct kmt_object *obj, phys_addr_t phys)
{
	const unsigned int rounds = 16384;
	long slab;

	/* The quarantine of KASAN keeps what is freed. */
	if (IS_ENABLED(CONFIG_KASAN))
		return;

	slab = global_node_page_state_snapshot(NR_SLAB_UNRECLAIMABLE_B);
	for (unsigned int i = 0; i < rounds; i++) {
		kmt_bad_list(obj, phys);
		cond_resched();
	}
	/* Slabs of descriptors wait for readers. */
	rcu_barrier();
	slab = global_node_page_state_snapshot(NR_SLAB_UNRECLAIMABLE_B) - slab;

	/* Other users of memory are noise. */
	kmt_expect(obj, "failed restores of a list", "leak", 0,
		   slab > (long)PFN_DOWN(rounds * sizeof(struct ioptdesc)) ?
		   slab : 0);
}

static void kmt_bad_ioptdesc(const struct kmt_object *obj, phys_addr_t phys)
{
	kmt_expect_error(obj, "ioptdesc, unaligned", -EINVAL, -EINVAL,
			 iommu_restore_pages(phys + 8));
	kmt_expect_error(obj, "ioptdesc as folio", -EINVAL, -EINVAL,
			 kho_folio_restore(phys));
	kmt_expect_error(obj, "ioptdesc as pages", -EINVAL, -EINVAL,
			 kho_pages_restore(phys, obj->order));
	kmt_bad_size(obj, phys);
	kmt_bad_list(obj, phys);
	if (!obj->index)
		kmt_bad_list_leak(obj, phys);
	if (obj->order)
		kmt_expect_error(obj, "tail of a table", -ENOENT, -EINVAL,
				 iommu_restore_pages(phys + PAGE_SIZE));
}

const struct kmt_ops kmt_ioptdesc = {
	.name		= "ioptdesc",
	.count		= 320,
	.shape		= KMT_FROZEN,
	.iommu		= true,
	.init		= kmt_init_ioptdesc,
	.alloc		= kmt_alloc_ioptdesc,
	.free		= kmt_free_ioptdesc,
	.preserve	= kmt_preserve_ioptdesc,
	.unpreserve	= kmt_unpreserve_ioptdesc,
	.restore	= kmt_restore_ioptdesc,
	.bad		= kmt_bad_ioptdesc,
};

/* Tables of IOMMUs that share a page */

/* Two sizes, so that the pages have different numbers of them. */
static void kmt_init_small_table(struct kmt_object *obj)
{
	obj->size = obj->index % 3 ? PAGE_SIZE / 4 : PAGE_SIZE / 2;
}

static long kmt_iommu_pages(void)
{
	return global_node_page_state_snapshot(NR_IOMMU_PAGES);
}

/*
 * Both counters have to move as the first of them does. Whether all pages are gone in
 * the end is seen when the last kernel is compared with one without a handover.
 * Returns by how much the counters have moved.
 */
static long kmt_follow_iommu(long before)
{
	const long nr_pages = kmt_iommu_pages() - before;

	for (int i = 0; i < ARRAY_SIZE(kmt_iommu_counters); i++)
		kmt_iommu_counters[i].expected += nr_pages;
	return nr_pages;
}

/* The page comes with the first of its tables, and goes with the last. */
static void *kmt_alloc_small_table(const struct kmt_object *obj)
{
	const long before = kmt_iommu_pages();
	void *addr = kmt_alloc_ioptdesc(obj);

	kmt_follow_iommu(before);
	return addr;
}

static void kmt_free_small_table(const struct kmt_object *obj)
{
	const long before = kmt_iommu_pages();

	kmt_free_ioptdesc(obj);
	kmt_follow_iommu(before);
}

static void *kmt_restore_small_table(const struct kmt_object *obj,
				     phys_addr_t phys)
{
	const long before = kmt_iommu_pages();
	const bool first = pfn_valid(PHYS_PFN(phys)) &&
		page_memdesc_type(phys_to_page(phys)) != MEMDESC_IOPTDESC;
	void *addr = kmt_restore_ioptdesc(obj, phys);

	if (IS_ERR(addr))
		return addr;
	kmt_expect(obj, "restore", "pages", first, kmt_follow_iommu(before));
	return addr;
}

static void kmt_bad_small_table(const struct kmt_object *obj, phys_addr_t phys)
{
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);
	const long before = kmt_iommu_pages();
	phys_addr_t addrs[] = { phys, phys };

	kmt_expect_error(obj, "small table, unaligned", -EINVAL, -EINVAL,
			 iommu_restore_pages(phys + 8));
	kmt_expect(obj, "call that has to fail", "another size", -EINVAL,
		   iommu_claim_pages(phys, obj->size / 2, &list));
	kmt_expect(obj, "call that has to fail", "a page", -EINVAL,
		   iommu_claim_pages(phys, PAGE_SIZE, &list));
	/* Another table of the page may be restored already, and the page with it. */
	kmt_expect_error(obj, "the page as a table", -EINVAL, -ENOENT,
			 kho_ioptdesc_restore(ALIGN_DOWN(phys, PAGE_SIZE)));
	kmt_expect(obj, "call that has to fail", "list with the same", -ENOENT,
		   iommu_restore_pages_list(addrs, 2, &list));
	kmt_expect(obj, "call that has to fail", "list is empty", true,
		   iommu_pages_list_empty(&list));
	/* The page is back, although its table is not. */
	kmt_follow_iommu(before);
}

const struct kmt_ops kmt_small_table = {
	.name		= "small_table",
	.count		= 240,
	.shape		= KMT_FROZEN,
	.part		= true,
	.init		= kmt_init_small_table,
	.alloc		= kmt_alloc_small_table,
	.free		= kmt_free_small_table,
	.preserve	= kmt_preserve_ioptdesc,
	.unpreserve	= kmt_unpreserve_ioptdesc,
	.restore	= kmt_restore_small_table,
	.bad		= kmt_bad_small_table,
};

/* Page tables of CPUs, without a constructor and with one */

/**
 * kmt_ptdesc_state - Tell which constructor has run on a page table
 * @obj: An object of any type
 *
 * Return: The state. It changes with every third index, because "restore" frees
 *	every third object.
 */
enum ptdesc_state kmt_ptdesc_state(const struct kmt_object *obj)
{
	static const enum ptdesc_state states[] = {
		PTDESC_PTE, PTDESC_PMD, PTDESC_KERNEL,
	};

	if (!obj->type->ops->constructed)
		return PTDESC_PLAIN;
	return states[obj->index / 3 % ARRAY_SIZE(states)];
}

static void kmt_init_table(struct kmt_object *obj)
{
	obj->order = obj->index % 16 < 4 ? obj->index % 4 : 0;
	obj->size = PAGE_SIZE << obj->order;
}

static void *kmt_alloc_ptdesc(const struct kmt_object *obj)
{
	struct ptdesc *pt = pagetable_alloc(KMT_GFP, obj->order);

	return pt ? ptdesc_address(pt) : NULL;
}

static void kmt_free_ptdesc(const struct kmt_object *obj)
{
	/* pagetable_free() may call functions that are not exported to modules. */
	if (IS_BUILTIN(CONFIG_TEST_KHO_MEMDESC))
		pagetable_free(virt_to_ptdesc(obj->addr));
	else
		memdesc_free(virt_to_ptdesc(obj->addr));
}

/* The locks of page tables and init_mm are not exported to modules. */
static bool kmt_construct(const struct kmt_object *obj, struct ptdesc *pt)
{
	if (!IS_BUILTIN(CONFIG_TEST_KHO_MEMDESC))
		return true;

	switch (kmt_ptdesc_state(obj)) {
	case PTDESC_PTE:
		return pagetable_pte_ctor(NULL, pt);
	case PTDESC_PMD:
		return pagetable_pmd_ctor(NULL, pt);
	case PTDESC_KERNEL:
		ptdesc_set_kernel(pt);
		return pagetable_pte_ctor(&init_mm, pt);
	default:
		return true;
	}
}

static void *kmt_alloc_pagetable(const struct kmt_object *obj)
{
	struct ptdesc *pt = pagetable_alloc(KMT_GFP, obj->order);

	if (!pt)
		return NULL;
	if (!kmt_construct(obj, pt)) {
		memdesc_free(pt);
		return NULL;
	}
	return ptdesc_address(pt);
}

static void kmt_free_pagetable(const struct kmt_object *obj)
{
	if (IS_BUILTIN(CONFIG_TEST_KHO_MEMDESC))
		pagetable_dtor_free(virt_to_ptdesc(obj->addr));
}

static int kmt_preserve_ptdesc(struct kmt_object *obj)
{
	return kho_ptdesc_preserve(virt_to_ptdesc(obj->addr));
}

static void kmt_unpreserve_ptdesc(struct kmt_object *obj)
{
	kho_ptdesc_unpreserve(virt_to_ptdesc(obj->addr));
}

static void *kmt_restore_ptdesc(const struct kmt_object *obj, phys_addr_t phys)
{
	struct ptdesc *pt;
	struct page *page;

	if (obj->index % 2) {
		page = kho_restore_page_desc(phys, MEMDESC_TYPE_PTDESC(NULL));
		return IS_ERR(page) ? ERR_CAST(page) : page_address(page);
	}
	pt = kho_ptdesc_restore(phys);
	return IS_ERR(pt) ? ERR_CAST(pt) : ptdesc_address(pt);
}

static void kmt_bad_ptdesc(const struct kmt_object *obj, phys_addr_t phys)
{
	kmt_expect_error(obj, "page table, unaligned", -EINVAL, -EINVAL,
			 kho_ptdesc_restore(phys + 8));
	kmt_expect_error(obj, "page table as folio", -EINVAL, -EINVAL,
			 kho_folio_restore(phys));
	kmt_expect_error(obj, "page table as pages", -EINVAL, -EINVAL,
			 kho_pages_restore(phys, obj->order));
	kmt_expect_error(obj, "page table as exact pages", -EINVAL, -EINVAL,
			 kho_pages_exact_restore(phys, obj->size));
	kmt_expect_error(obj, "page table by another type", -EINVAL, -EINVAL,
			 kho_restore_page_desc(phys, MEMDESC_TYPE_FOLIO(NULL)));
	if (obj->order)
		kmt_expect_error(obj, "tail of a page table", -ENOENT, -EINVAL,
				 kho_ptdesc_restore(phys + PAGE_SIZE));
}

const struct kmt_ops kmt_ptdesc = {
	.name		= "ptdesc",
	.count		= 192,
	.shape		= KMT_TABLE,
	.init		= kmt_init_table,
	.alloc		= kmt_alloc_ptdesc,
	.free		= kmt_free_ptdesc,
	.preserve	= kmt_preserve_ptdesc,
	.unpreserve	= kmt_unpreserve_ptdesc,
	.restore	= kmt_restore_ptdesc,
	.bad		= kmt_bad_ptdesc,
};

const struct kmt_ops kmt_pagetable = {
	.name		= "pagetable",
	.count		= IS_BUILTIN(CONFIG_TEST_KHO_MEMDESC) * 192,
	.shape		= KMT_TABLE,
	.constructed	= true,
	.init		= kmt_init_table,
	.alloc		= kmt_alloc_pagetable,
	.free		= kmt_free_pagetable,
	.preserve	= kmt_preserve_ptdesc,
	.unpreserve	= kmt_unpreserve_ptdesc,
	.restore	= kmt_restore_ptdesc,
	.bad		= kmt_bad_ptdesc,
};

/**
 * kmt_check_table - Check what only a page table of a CPU has
 * @obj: The object
 */
void kmt_check_table(const struct kmt_object *obj)
{
	enum ptdesc_state state = kmt_ptdesc_state(obj);
	struct ptdesc *pt = virt_to_ptdesc(obj->addr);

	kmt_expect(obj, "page table", "is one", true,
		   PageTable(ptdesc_page(pt)));
	kmt_expect(obj, "page table", "state", state, ptdesc_state(pt));
	kmt_expect(obj, "page table", "of the kernel", state == PTDESC_KERNEL,
		   ptdesc_test_kernel(pt));

#ifdef CONFIG_SPLIT_PMD_PTLOCKS
	if (state == PTDESC_PTE || state == PTDESC_PMD) {
		bool free = spin_trylock(ptlock_ptr(pt));

		if (kmt_expect(obj, "page table", "unlocked", true, free))
			spin_unlock(ptlock_ptr(pt));
	}
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	if (state == PTDESC_PMD)
		kmt_expect(obj, "page table", "deposit", 0,
			   (long)pt->pmd_huge_pte);
#endif
#endif
}

/* Counters */

/**
 * kmt_note_pagetables - Note by how much NR_PAGETABLE has moved too far
 * @obj: An object, of any type, that came or went
 * @before: What the counter was before
 * @sign: 1 if the object came, -1 if it went
 */
void kmt_note_pagetables(const struct kmt_object *obj, long before, int sign)
{
	/* Mappings of vmalloc memory take page tables. */
	if (kmt_is_area(obj))
		return;
	kmt_pagetable_noise += global_node_page_state_snapshot(NR_PAGETABLE);
	kmt_pagetable_noise -= before;
	if (kmt_ptdesc_state(obj))
		kmt_pagetable_noise -= sign * (1L << obj->order);
}

/**
 * kmt_check_pagetables - Check NR_PAGETABLE after a command
 * @cmd: The command
 */
void kmt_check_pagetables(const char *cmd)
{
	const struct kmt_object obj = { .type = kmt_type(&kmt_ptdesc) };

	kmt_expect(&obj, "NR_PAGETABLE", "pages not accounted", 0,
		   abs(kmt_pagetable_noise) > KMT_SLACK_PAGETABLE ?
		   kmt_pagetable_noise : 0);
	pr_info("%s: page tables of other users: %ld\n", cmd,
		kmt_pagetable_noise);
	kmt_pagetable_noise = 0;
}

/**
 * kmt_start_iommu - Read the counters of pages of IOMMUs before a restore
 */
void kmt_start_iommu(void)
{
	for (int i = 0; i < ARRAY_SIZE(kmt_iommu_counters); i++)
		kmt_iommu_counters[i].expected =
			handover_test_settled(kmt_iommu_counters[i].item);
}

/**
 * kmt_expect_iommu - Expect these counters to move, if the object is of an IOMMU
 * @obj: An object of any type
 * @sign: 1 if it was restored, -1 if it is freed
 */
void kmt_expect_iommu(const struct kmt_object *obj, int sign)
{
	if (!obj->type->ops->iommu)
		return;
	for (int i = 0; i < ARRAY_SIZE(kmt_iommu_counters); i++)
		kmt_iommu_counters[i].expected += sign * (1L << obj->order);
}

/**
 * kmt_check_iommu - Check these counters; no device is set up while the test runs
 * @obj: The object, of any type, that was restored last
 */
void kmt_check_iommu(const struct kmt_object *obj)
{
	for (int i = 0; i < ARRAY_SIZE(kmt_iommu_counters); i++) {
		struct kmt_counter *c = &kmt_iommu_counters[i];
		long found = global_node_page_state_snapshot(c->item);

		if (found != c->expected)
			found = handover_test_settled(c->item);
		kmt_expect(obj, "restore", c->name, c->expected, found);
		c->expected = found;
	}
}
