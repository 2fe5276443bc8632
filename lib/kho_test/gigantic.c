// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the typed kexec handover: folios larger than the largest block of the
 * page allocator.
 */

#include <linux/io.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/topology.h>

#include "kmt.h"

/* Folios from alloc_contig_frozen_pages() */

/*
 * With pages of 4 KiB 8 MiB, 16 MiB, 32 MiB and 256 MiB, which are two windows. With
 * pages of 64 KiB the page allocator itself has blocks of 512 MiB, and what is larger
 * does not fit the guest: these are ordinary folios.
 */
static void kmt_init_gigantic(struct kmt_object *obj)
{
	obj->order = MAX_PAGE_ORDER + 1 + obj->index;
	if (obj->index == 3)
		obj->order = KHO_BITMAP_SIZE_LOG2 + 1;
	obj->order = min3(obj->order, get_order(SZ_256M), MAX_FOLIO_ORDER);
	if (obj->order <= MAX_PAGE_ORDER)
		obj->order = get_order(KMT_MAX_BLOCK) - obj->index;
	obj->size = PAGE_SIZE << obj->order;
}

static void *kmt_alloc_gigantic(const struct kmt_object *obj)
{
	struct folio *folio;
	struct page *page;

	if (obj->order <= MAX_PAGE_ORDER) {
		folio = folio_alloc(KMT_GFP, obj->order);
		return folio ? folio_address(folio) : NULL;
	}
	page = alloc_contig_frozen_pages(1UL << obj->order, KMT_GFP | __GFP_COMP,
					 numa_mem_id(), NULL);
	if (!page)
		return NULL;
	set_page_count(page, 1);
	folio_set_large_rmappable(page_folio(page));
	return page_address(page);
}

static void kmt_free_gigantic(const struct kmt_object *obj)
{
	folio_put(virt_to_folio(obj->addr));
}

static int kmt_preserve_gigantic(struct kmt_object *obj)
{
	return kho_folio_preserve(virt_to_folio(obj->addr));
}

static void kmt_unpreserve_gigantic(struct kmt_object *obj)
{
	kho_folio_unpreserve(virt_to_folio(obj->addr));
}

static void *kmt_restore_gigantic(const struct kmt_object *obj, phys_addr_t phys)
{
	struct folio *folio = kho_folio_restore(phys);

	return IS_ERR(folio) ? ERR_CAST(folio) : folio_address(folio);
}

static void kmt_bad_gigantic(const struct kmt_object *obj, phys_addr_t phys)
{
	kmt_expect_error(obj, "gigantic folio as pages", -EINVAL, -EINVAL,
			 kho_pages_restore(phys, obj->order));
	kmt_expect_error(obj, "last page of a gigantic folio", -ENOENT, -ENOENT,
			 kho_folio_restore(phys + obj->size - PAGE_SIZE));
}

const struct kmt_ops kmt_gigantic = {
	.name		= "gigantic",
#ifdef CONFIG_HAVE_GIGANTIC_FOLIOS
	.count		= 4,
#endif
	.shape		= KMT_FOLIO,
	.init		= kmt_init_gigantic,
	.alloc		= kmt_alloc_gigantic,
	.free		= kmt_free_gigantic,
	.preserve	= kmt_preserve_gigantic,
	.unpreserve	= kmt_unpreserve_gigantic,
	.restore	= kmt_restore_gigantic,
	.bad		= kmt_bad_gigantic,
};
