// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the typed kexec handover: folios of hugetlb.
 */

#include <linux/array_size.h>
#include <linux/hugetlb.h>
#include <linux/io.h>
#include <linux/memblock.h>
#include <linux/module.h>
#include <linux/topology.h>

#include "kmt.h"

static bool kmt_pool;
module_param_named(pool, kmt_pool, bool, 0444);
MODULE_PARM_DESC(pool, "Folios of hugetlb stay in the pools that hugepages= has made; the last one is of the largest size");

/* The functions of hugetlb are not exported. */
#if IS_BUILTIN(CONFIG_TEST_KHO_MEMDESC) && defined(CONFIG_HUGETLB_PAGE)
#define KMT_HUGETLB_COUNT	8

static void kmt_init_hugetlb(struct kmt_object *obj)
{
	const bool last = kmt_pool && obj->index == KMT_HUGETLB_COUNT - 1;
	struct hstate *h, *use = &default_hstate;

	/* The default size can be 512 MiB. */
	for_each_hstate(h) {
		if (last ? h->free_huge_pages && h->order > use->order :
			   h->order < use->order)
			use = h;
	}
	obj->order = huge_page_order(use);
	obj->size = huge_page_size(use);
}

/*
 * From the pool, else a folio that never belongs to it. The folios of a pool are
 * movable, so some lie in scratch areas, and cannot be preserved there.
 */
static void *kmt_alloc_hugetlb(const struct kmt_object *obj)
{
	struct hstate *h = size_to_hstate(obj->size);
	struct folio *others[64], *folio;
	unsigned int nr = 0;

	do {
		folio = alloc_hugetlb_folio_nodemask(h, numa_mem_id(), NULL,
						     GFP_KERNEL | __GFP_COMP,
						     true);
		if (!folio || !kho_scratch_overlap(PFN_PHYS(folio_pfn(folio)),
						   obj->size))
			break;
		others[nr++] = folio;
		folio = NULL;
	} while (nr < ARRAY_SIZE(others));
	while (nr)
		folio_put(others[--nr]);
	return folio ? folio_address(folio) : NULL;
}

/* What is not free in the pool before, is after it. */
static void kmt_free_hugetlb(const struct kmt_object *obj)
{
	struct folio *folio = virt_to_folio(obj->addr);
	const bool temporary = folio_test_hugetlb_temporary(folio);
	struct hstate *h = folio_hstate(folio);
	const int nid = folio_nid(folio);
	const unsigned int nr = h->nr_huge_pages_node[nid];
	const unsigned int nr_free = h->free_huge_pages_node[nid];

	folio_put(folio);
	kmt_expect(obj, "put", "folios of the pool", nr - temporary,
		   h->nr_huge_pages_node[nid]);
	kmt_expect(obj, "put", "free folios of the pool", nr_free + !temporary,
		   h->free_huge_pages_node[nid]);
	/* This kernel asked for no pool. */
	if (!temporary && !kmt_pool)
		kmt_expect(obj, "dissolve", "error", 0,
			   dissolve_free_hugetlb_folio(folio));
}

static void *kmt_restore_hugetlb(const struct kmt_object *obj, phys_addr_t phys)
{
	struct hstate *h = size_to_hstate(obj->size);
	unsigned long nr, nr_free, max;
	struct folio *folio;
	unsigned int nr_node;
	int nid;

	/* Addresses that are not memory have no node. */
	if (!obj->size || !h || phys >= PFN_PHYS(max_pfn))
		return kho_hugetlb_restore(phys);
	nid = page_to_nid(phys_to_page(phys));
	nr = h->nr_huge_pages;
	nr_node = h->nr_huge_pages_node[nid];
	nr_free = h->free_huge_pages;
	max = h->max_huge_pages;
	folio = kho_hugetlb_restore(phys);
	if (IS_ERR(folio))
		return ERR_CAST(folio);
	kmt_expect(obj, "restore", "folios of hugetlb", nr + 1, h->nr_huge_pages);
	kmt_expect(obj, "restore", "folios of the node", nr_node + 1,
		   h->nr_huge_pages_node[nid]);
	kmt_expect(obj, "restore", "free folios", nr_free, h->free_huge_pages);
	kmt_expect(obj, "restore", "folios to have", max + 1, h->max_huge_pages);
	kmt_expect(obj, "restore", "hstate", (long)h, (long)folio_hstate(folio));
	return folio_address(folio);
}
#else
#define KMT_HUGETLB_COUNT	0

static void kmt_init_hugetlb(struct kmt_object *obj)
{
}

static void *kmt_alloc_hugetlb(const struct kmt_object *obj)
{
	return NULL;
}

static void kmt_free_hugetlb(const struct kmt_object *obj)
{
}

static void *kmt_restore_hugetlb(const struct kmt_object *obj, phys_addr_t phys)
{
	return kho_hugetlb_restore(phys);
}
#endif

static int kmt_preserve_hugetlb(struct kmt_object *obj)
{
	return kho_hugetlb_preserve(virt_to_folio(obj->addr));
}

static void kmt_unpreserve_hugetlb(struct kmt_object *obj)
{
	kho_hugetlb_unpreserve(virt_to_folio(obj->addr));
}

static void kmt_bad_hugetlb(const struct kmt_object *obj, phys_addr_t phys)
{
	kmt_expect_error(obj, "hugetlb folio as folio", -EINVAL, -EINVAL,
			 kho_folio_restore(phys));
	kmt_expect_error(obj, "hugetlb folio as pages", -EINVAL, -EINVAL,
			 kho_pages_restore(phys, obj->order));
	kmt_expect_error(obj, "hugetlb folio, unaligned", -EINVAL, -EINVAL,
			 kho_hugetlb_restore(phys + 8));
	kmt_expect_error(obj, "tail of a hugetlb folio", -ENOENT, -ENOENT,
			 kho_hugetlb_restore(phys + PAGE_SIZE));
}

const struct kmt_ops kmt_hugetlb = {
	.name		= "hugetlb",
	.count		= KMT_HUGETLB_COUNT,
	.shape		= KMT_HUGETLB,
	.init		= kmt_init_hugetlb,
	.alloc		= kmt_alloc_hugetlb,
	.free		= kmt_free_hugetlb,
	.preserve	= kmt_preserve_hugetlb,
	.unpreserve	= kmt_unpreserve_hugetlb,
	.restore	= kmt_restore_hugetlb,
	.bad		= kmt_bad_hugetlb,
};
