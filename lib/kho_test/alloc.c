// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the typed kexec handover: metadata, from kho_alloc_preserve().
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/slab.h>

#include "kmt.h"

static void kmt_init_alloc(struct kmt_object *obj)
{
	obj->size = obj->seed % (8 * PAGE_SIZE) + 1;
	obj->order = get_order(obj->size);
}

static void *kmt_alloc_alloc(const struct kmt_object *obj)
{
	return kho_alloc_preserve(obj->size);
}

static void kmt_free_alloc(const struct kmt_object *obj)
{
	kmt_folio.free(obj);
}

static void kmt_unpreserve_free_alloc(const struct kmt_object *obj)
{
	kho_unpreserve_free(obj->addr);
}

static int kmt_preserve_alloc(struct kmt_object *obj)
{
	return kho_folio_preserve(virt_to_folio(obj->addr));
}

static void kmt_unpreserve_alloc(struct kmt_object *obj)
{
	kho_folio_unpreserve(virt_to_folio(obj->addr));
}

static void *kmt_restore_alloc(const struct kmt_object *obj, phys_addr_t phys)
{
	struct folio *folio = kho_folio_restore(phys);

	return IS_ERR(folio) ? ERR_CAST(folio) : folio_address(folio);
}

const struct kmt_ops kmt_kho_alloc = {
	.name		= "kho_alloc",
	.count		= 128,
	.shape		= KMT_FOLIO,
	.like		= &kmt_folio,
	.init		= kmt_init_alloc,
	.alloc		= kmt_alloc_alloc,
	.free		= kmt_free_alloc,
	.unpreserve_free = kmt_unpreserve_free_alloc,
	.preserve	= kmt_preserve_alloc,
	.unpreserve	= kmt_unpreserve_alloc,
	.restore	= kmt_restore_alloc,
};

/**
 * kmt_cmd_metadata - Preserve pages of metadata wherever they may lie
 * @number: Of pages
 *
 * kho_alloc_preserve() takes memory that the next kernel finds. What alloc_page()
 * returns may lie elsewhere, and is refused there.
 *
 * Return: 0 or an error.
 */
int kmt_cmd_metadata(u64 number)
{
	const struct kmt_object obj = {
		.type = kmt_type(&kmt_kho_alloc), .size = PAGE_SIZE,
	};
	unsigned int refused = 0, nr = 0;
	struct page *page;
	void **pages;

	pages = kvcalloc(number, 2 * sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;

	for (; nr < number; nr++) {
		void *mem = kho_alloc_preserve(PAGE_SIZE);

		if (!kmt_expect(&obj, "metadata", "error", 0, PTR_ERR_OR_ZERO(mem)))
			break;
		pages[2 * nr] = mem;
		page = alloc_page(GFP_KERNEL);
		if (!page)
			continue;
		pages[2 * nr + 1] = page_address(page);
		if (!kho_pages_preserve(page, 0))
			kho_pages_unpreserve(page, 0);
		else
			refused++;
		cond_resched();
	}
	while (nr--) {
		kho_unpreserve_free(pages[2 * nr]);
		free_page((unsigned long)pages[2 * nr + 1]);
	}
	kvfree(pages);
	pr_info("metadata: %u of %llu other pages were refused\n", refused, number);
	return 0;
}
