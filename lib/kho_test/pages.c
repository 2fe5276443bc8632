// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the typed kexec handover: folios and pages.
 */

#include <linux/io.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "kmt.h"

/*
 * Each order comes once. Of the other objects half are of order 0, a quarter of
 * order 1, and so on up to order 4.
 */
static void kmt_init_block(struct kmt_object *obj)
{
	unsigned int max_order = min(MAX_PAGE_ORDER, get_order(KMT_MAX_BLOCK));

	if (obj->index <= max_order)
		obj->order = obj->index;
	else
		obj->order = min_t(unsigned int, __ffs(obj->index), 4);
	obj->size = PAGE_SIZE << obj->order;
}

/* folio_alloc() */

static void *kmt_alloc_folio(const struct kmt_object *obj)
{
	struct folio *folio = folio_alloc(KMT_GFP, obj->order);

	return folio ? folio_address(folio) : NULL;
}

static void kmt_free_folio(const struct kmt_object *obj)
{
	folio_put(virt_to_folio(obj->addr));
}

static int kmt_preserve_folio(struct kmt_object *obj)
{
	return kho_folio_preserve(virt_to_folio(obj->addr));
}

static void kmt_unpreserve_folio(struct kmt_object *obj)
{
	kho_folio_unpreserve(virt_to_folio(obj->addr));
}

static void *kmt_restore_folio(const struct kmt_object *obj, phys_addr_t phys)
{
	struct folio *folio = kho_folio_restore(phys);

	return IS_ERR(folio) ? ERR_CAST(folio) : folio_address(folio);
}

static void kmt_bad_folio(const struct kmt_object *obj, phys_addr_t phys)
{
	kmt_expect_error(obj, "folio, unaligned", -EINVAL, -EINVAL,
			 kho_folio_restore(phys + 8));
	kmt_expect_error(obj, "folio as page table", -EINVAL, -EINVAL,
			 kho_ptdesc_restore(phys));
	if (!obj->order)
		return;
	kmt_expect_error(obj, "folio as pages", -EINVAL, -EINVAL,
			 kho_pages_restore(phys, obj->order));
	kmt_expect_error(obj, "tail of a folio", -ENOENT, -EINVAL,
			 kho_folio_restore(phys + PAGE_SIZE));
	kmt_expect_error(obj, "folio as exact pages", -EINVAL, -EINVAL,
			 kho_pages_exact_restore(phys, obj->size));
}

const struct kmt_ops kmt_folio = {
	.name		= "folio",
	.count		= 320,
	.shape		= KMT_FOLIO,
	.init		= kmt_init_block,
	.alloc		= kmt_alloc_folio,
	.free		= kmt_free_folio,
	.preserve	= kmt_preserve_folio,
	.unpreserve	= kmt_unpreserve_folio,
	.restore	= kmt_restore_folio,
	.bad		= kmt_bad_folio,
};

/**
 * kmt_restore_bad_folio - Restore a folio whose last page has an error
 * @obj: The folio, which has no address yet
 * @phys: Its physical address
 *
 * The folio is freed again, but for the reference that the error holds.
 */
void kmt_restore_bad_folio(const struct kmt_object *obj, phys_addr_t phys)
{
	struct folio *folio = kho_folio_restore_hwpoison(phys);
	const char *what = "restore with the error";

	if (!kmt_expect(obj, what, "error", 0, PTR_ERR_OR_ZERO(folio)))
		return;
	kmt_expect(obj, what, "address", (long)phys_to_virt(phys),
		   (long)folio_address(folio));
	kmt_expect(obj, what, "order", obj->order, folio_order(folio));
	kmt_expect(obj, what, "references", 2, folio_ref_count(folio));
	kmt_expect(obj, what, "mark", true,
		   PageHWPoison(folio_page(folio, folio_nr_pages(folio) - 1)));
	kmt_expect_error(obj, "restore with the error twice", -ENOENT, -ENOENT,
			 kho_folio_restore_hwpoison(phys));
	folio_put(folio);
	kmt_expect(obj, what, "references after the last", 1,
		   folio_ref_count(folio));
}

/* Some folios are restored by one call. */
static bool kmt_in_batch(const struct kmt_entry *entry)
{
	return kmt_types[entry->type].ops == &kmt_folio &&
	       entry->index % 5 == 3 && !(entry->flags & KMT_POISONED);
}

static int kmt_restore_batch(phys_addr_t *phys, unsigned int nr,
			     struct folio **folios)
{
	const struct kmt_object obj = { .type = kmt_type(&kmt_folio) };
	int err;

	/* If one cannot be restored, none is. */
	phys[nr] = phys[0];
	kmt_expect(&obj, "call that has to fail", "batch with the same", -ENOENT,
		   kho_folios_restore(phys, nr + 1, folios));
	phys[nr] = KMT_BAD_PHYS;
	kmt_expect(&obj, "call that has to fail", "batch with a hole", -ENOENT,
		   kho_folios_restore(phys, nr + 1, folios));

	err = kho_folios_restore(phys, nr, folios);
	kmt_expect(&obj, "restore of a batch", "error", 0, err);
	return err;
}

/**
 * kmt_restore_folios - Restore some of the folios by one call
 * @entries: All objects that are handed over
 * @restored: Where the address of each object goes that is restored here
 * @nr: Number of both
 *
 * Return: 0 or an error.
 */
int kmt_restore_folios(const struct kmt_entry *entries, void **restored,
		       unsigned int nr)
{
	struct folio **folios;
	phys_addr_t *phys;
	unsigned int n = 0;
	int err = -ENOMEM;

	phys = kvcalloc(nr + 1, sizeof(*phys), GFP_KERNEL);
	folios = kvcalloc(nr + 1, sizeof(*folios), GFP_KERNEL);
	if (!phys || !folios)
		goto out;

	for (unsigned int i = 0; i < nr; i++) {
		if (kmt_in_batch(&entries[i]))
			phys[n++] = entries[i].phys;
	}
	err = n ? kmt_restore_batch(phys, n, folios) : 0;
	if (err)
		goto out;

	n = 0;
	for (unsigned int i = 0; i < nr; i++) {
		if (kmt_in_batch(&entries[i]))
			restored[i] = folio_address(folios[n++]);
	}
out:
	kvfree(folios);
	kvfree(phys);
	return err;
}

/* alloc_pages(), with and without __GFP_COMP */

static void *kmt_alloc_pages(const struct kmt_object *obj)
{
	struct page *page = alloc_pages(KMT_GFP, obj->order);

	return page ? page_address(page) : NULL;
}

static void *kmt_alloc_compound(const struct kmt_object *obj)
{
	struct page *page = alloc_pages(KMT_GFP | __GFP_COMP, obj->order);

	return page ? page_address(page) : NULL;
}

static void kmt_free_pages(const struct kmt_object *obj)
{
	__free_pages(virt_to_page(obj->addr), obj->order);
}

static int kmt_preserve_pages(struct kmt_object *obj)
{
	return kho_pages_preserve(virt_to_page(obj->addr), obj->order);
}

static void kmt_unpreserve_pages(struct kmt_object *obj)
{
	kho_pages_unpreserve(virt_to_page(obj->addr), obj->order);
}

static void *kmt_restore_pages(const struct kmt_object *obj, phys_addr_t phys)
{
	bool compound = obj->type->ops->shape == KMT_COMPOUND;
	struct page *page;

	/* A compound page has its order on record, a block has not. */
	if (obj->index % 2 && (compound || !obj->order))
		page = kho_restore_page_desc(phys, MEMDESC_TYPE_PAGES(NULL));
	else
		page = kho_pages_restore(phys, obj->order);
	return IS_ERR(page) ? ERR_CAST(page) : page_address(page);
}

static void kmt_bad_pages(const struct kmt_object *obj, phys_addr_t phys)
{
	unsigned int order = obj->order;

	kmt_expect_error(obj, "pages, unaligned", -EINVAL, -EINVAL,
			 kho_pages_restore(phys + PAGE_SIZE / 2, order));
	kmt_expect_error(obj, "order + 1", -EINVAL, -EINVAL,
			 kho_pages_restore(phys, order + 1));
	kmt_expect_error(obj, "order beyond all", -EINVAL, -EINVAL,
			 kho_pages_restore(phys, 64 - PAGE_SHIFT));
	kmt_expect_error(obj, "order -1", -EINVAL, -EINVAL,
			 kho_pages_restore(phys, -1U));
	kmt_expect_error(obj, "pages as page table", -EINVAL, -EINVAL,
			 kho_ptdesc_restore(phys));
	if (!order)
		return;
	kmt_expect_error(obj, "order - 1", -EINVAL, -EINVAL,
			 kho_pages_restore(phys, order - 1));
	if (obj->type->ops->shape == KMT_BLOCK)
		kmt_expect_error(obj, "block without its order", -EINVAL, -EINVAL,
				 kho_restore_page_desc(phys,
						       MEMDESC_TYPE_PAGES(NULL)));
	kmt_expect_error(obj, "tail page", -ENOENT, -EINVAL,
			 kho_pages_restore(phys + PAGE_SIZE, 0));
	kmt_expect_error(obj, "exact pages", -EINVAL, -EINVAL,
			 kho_pages_exact_restore(phys, obj->size));
	kmt_expect_error(obj, "pages as folio", -EINVAL, -EINVAL,
			 kho_folio_restore(phys));
}

const struct kmt_ops kmt_pages = {
	.name		= "pages",
	.count		= 320,
	.shape		= KMT_BLOCK,
	.init		= kmt_init_block,
	.alloc		= kmt_alloc_pages,
	.free		= kmt_free_pages,
	.preserve	= kmt_preserve_pages,
	.unpreserve	= kmt_unpreserve_pages,
	.restore	= kmt_restore_pages,
	.bad		= kmt_bad_pages,
};

const struct kmt_ops kmt_compound = {
	.name		= "compound",
	.count		= 320,
	.shape		= KMT_COMPOUND,
	.init		= kmt_init_block,
	.alloc		= kmt_alloc_compound,
	.free		= kmt_free_pages,
	.preserve	= kmt_preserve_pages,
	.unpreserve	= kmt_unpreserve_pages,
	.restore	= kmt_restore_pages,
	.bad		= kmt_bad_pages,
};

/* alloc_pages_exact() */

static unsigned long long kmt_border;
module_param_named(border, kmt_border, ullong, 0);
MODULE_PARM_DESC(border, "Physical address that one object of exact pages has to contain: the next kernel has a border between two nodes there");

static void kmt_init_exact(struct kmt_object *obj)
{
	static const size_t sizes[] = {
		1,
		3 * PAGE_SIZE,
		5 * PAGE_SIZE + 1,
		SZ_1M + PAGE_SIZE,
		7 * PAGE_SIZE,
		PAGE_SIZE - 1,
		2 * PAGE_SIZE,
		11 * PAGE_SIZE - 7,
	};

	if (obj->index < ARRAY_SIZE(sizes))
		obj->size = sizes[obj->index];
	else if (kmt_border && obj->index == ARRAY_SIZE(sizes))
		obj->size = PAGE_SIZE << MAX_PAGE_ORDER;
	else
		obj->size = obj->seed % (16 * PAGE_SIZE) + 1;
}

static void *kmt_border_block;

/**
 * kmt_take_border - Take the block of memory around the border
 *
 * Does nothing without one. The block is of the largest order that the page
 * allocator has, as exact pages, with the border within. Called before there is
 * user space, which would have some of these pages. To get the block, this
 * function allocates all blocks of the same size that come before.
 */
void __init kmt_take_border(void)
{
	const unsigned int order = MAX_PAGE_ORDER;
	const phys_addr_t start = ALIGN_DOWN(kmt_border, PAGE_SIZE << order);
	struct page *page, *next;
	LIST_HEAD(others);

	while (kmt_border && !kmt_border_block &&
	       (page = alloc_pages(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN,
				    order))) {
		if (page_to_phys(page) == start) {
			split_page(page, order);
			kmt_border_block = page_address(page);
		} else {
			list_add(&page->lru, &others);
		}
		cond_resched();
	}
	list_for_each_entry_safe(page, next, &others, lru)
		__free_pages(page, order);
}

static void *kmt_alloc_exact(const struct kmt_object *obj)
{
	/* The size that kmt_init_exact() has for the one object around a border. */
	if (kmt_border && obj->size == PAGE_SIZE << MAX_PAGE_ORDER)
		return xchg(&kmt_border_block, NULL);
	return alloc_pages_exact(obj->size, KMT_GFP);
}

static void kmt_free_exact(const struct kmt_object *obj)
{
	free_pages_exact(obj->addr, obj->size);
}

static int kmt_preserve_exact(struct kmt_object *obj)
{
	return kho_pages_exact_preserve(obj->addr, obj->size);
}

static void kmt_unpreserve_exact(struct kmt_object *obj)
{
	kho_pages_exact_unpreserve(obj->addr, obj->size);
}

static void *kmt_restore_exact(const struct kmt_object *obj, phys_addr_t phys)
{
	return kho_pages_exact_restore(phys, obj->size);
}

static void kmt_bad_exact(const struct kmt_object *obj, phys_addr_t phys)
{
	unsigned long nr_pages = kmt_nr_pages(obj);
	void *found;

	kmt_expect_error(obj, "exact, unaligned", -EINVAL, -EINVAL,
			 kho_pages_exact_restore(phys + 1, obj->size));
	kmt_expect_error(obj, "exact, no size", -EINVAL, -EINVAL,
			 kho_pages_exact_restore(phys, 0));
	/* The memory behind the object can have a hardware error. */
	found = kho_pages_exact_restore(phys, SZ_1G);
	if (found != ERR_PTR(-EHWPOISON))
		kmt_expect_error(obj, "exact, too large", -EINVAL, -ENOENT,
				 found);
	kmt_expect_error(obj, "exact as pages by type", -EINVAL, -EINVAL,
			 kho_restore_page_desc(phys, MEMDESC_TYPE_PAGES(NULL)));
	if (nr_pages < 2)
		return;
	kmt_expect_error(obj, "exact as folio", -EINVAL, -EINVAL,
			 kho_folio_restore(phys));
	kmt_expect_error(obj, "exact as block", -EINVAL, -EINVAL,
			 kho_pages_restore(phys, ilog2(nr_pages)));
}

const struct kmt_ops kmt_pages_exact = {
	.name		= "pages_exact",
	.count		= 256,
	.shape		= KMT_SPLIT,
	.init		= kmt_init_exact,
	.alloc		= kmt_alloc_exact,
	.free		= kmt_free_exact,
	.preserve	= kmt_preserve_exact,
	.unpreserve	= kmt_unpreserve_exact,
	.restore	= kmt_restore_exact,
	.bad		= kmt_bad_exact,
};
