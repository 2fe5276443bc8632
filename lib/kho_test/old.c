// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the typed kexec handover: the entry points that are older than types.
 */

#include <linux/module.h>

#include "kmt.h"

/* Folios */

static void kmt_init_old_folio(struct kmt_object *obj)
{
	kmt_folio.init(obj);
}

static void *kmt_alloc_old_folio(const struct kmt_object *obj)
{
	return kmt_folio.alloc(obj);
}

static void kmt_free_old_folio(const struct kmt_object *obj)
{
	kmt_folio.free(obj);
}

static int kmt_preserve_old_folio(struct kmt_object *obj)
{
	return kho_preserve_folio(virt_to_folio(obj->addr));
}

static void kmt_unpreserve_old_folio(struct kmt_object *obj)
{
	kho_unpreserve_folio(virt_to_folio(obj->addr));
}

static void *kmt_restore_old_folio(const struct kmt_object *obj, phys_addr_t phys)
{
	struct folio *folio = kho_restore_folio(phys);

	return folio ? folio_address(folio) : ERR_PTR(-ENOENT);
}

const struct kmt_ops kmt_old_folio = {
	.name		= "old_folio",
	.count		= 128,
	.shape		= KMT_FOLIO,
	.untold		= true,
	.init		= kmt_init_old_folio,
	.alloc		= kmt_alloc_old_folio,
	.free		= kmt_free_old_folio,
	.preserve	= kmt_preserve_old_folio,
	.unpreserve	= kmt_unpreserve_old_folio,
	.restore	= kmt_restore_old_folio,
};

/* Pages, of any number */

static void kmt_init_old_pages(struct kmt_object *obj)
{
	kmt_pages_exact.init(obj);
}

static void *kmt_alloc_old_pages(const struct kmt_object *obj)
{
	return kmt_pages_exact.alloc(obj);
}

static void kmt_free_old_pages(const struct kmt_object *obj)
{
	kmt_pages_exact.free(obj);
}

static int kmt_preserve_old_pages(struct kmt_object *obj)
{
	return kho_preserve_pages(virt_to_page(obj->addr), PFN_UP(obj->size));
}

static void kmt_unpreserve_old_pages(struct kmt_object *obj)
{
	kho_unpreserve_pages(virt_to_page(obj->addr), PFN_UP(obj->size));
}

static void *kmt_restore_old_pages(const struct kmt_object *obj, phys_addr_t phys)
{
	struct page *page = kho_restore_pages(phys, PFN_UP(obj->size));

	return page ? page_address(page) : ERR_PTR(-ENOENT);
}

const struct kmt_ops kmt_old_pages = {
	.name		= "old_pages",
	.count		= 128,
	.shape		= KMT_SPLIT,
	.untold		= true,
	.init		= kmt_init_old_pages,
	.alloc		= kmt_alloc_old_pages,
	.free		= kmt_free_old_pages,
	.preserve	= kmt_preserve_old_pages,
	.unpreserve	= kmt_unpreserve_old_pages,
	.restore	= kmt_restore_old_pages,
};

/* Areas */

static void kmt_init_old_vmalloc(struct kmt_object *obj)
{
	kmt_vmalloc.init(obj);
}

static void *kmt_alloc_old_vmalloc(const struct kmt_object *obj)
{
	return kmt_vmalloc.alloc(obj);
}

static void kmt_free_old_vmalloc(const struct kmt_object *obj)
{
	kmt_vmalloc.free(obj);
}

static int kmt_preserve_old_vmalloc(struct kmt_object *obj)
{
	return kho_preserve_vmalloc(obj->addr, &obj->ser);
}

static void kmt_unpreserve_old_vmalloc(struct kmt_object *obj)
{
	kho_unpreserve_vmalloc(&obj->ser);
}

static void *kmt_restore_old_vmalloc(const struct kmt_object *obj,
				     phys_addr_t unused)
{
	return kho_restore_vmalloc(&obj->ser) ?: ERR_PTR(-ENOENT);
}

const struct kmt_ops kmt_old_vmalloc = {
	.name		= "old_vmalloc",
	.count		= 128,
	.shape		= KMT_AREA,
	.untold		= true,
	.init		= kmt_init_old_vmalloc,
	.alloc		= kmt_alloc_old_vmalloc,
	.free		= kmt_free_old_vmalloc,
	.preserve	= kmt_preserve_old_vmalloc,
	.unpreserve	= kmt_unpreserve_old_vmalloc,
	.restore	= kmt_restore_old_vmalloc,
};
