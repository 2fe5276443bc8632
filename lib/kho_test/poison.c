// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the typed kexec handover: memory with hardware errors.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/io.h>
#include <linux/module.h>

#include "kmt.h"

#ifdef CONFIG_MEMORY_FAILURE
static bool kmt_shares_page(const struct kmt_ops *ops)
{
	return ops->shape == KMT_OBJECT || ops->part;
}

/* The page of an object that gets an error; NULL if this object gets none. */
static struct page *kmt_poison_page(const struct kmt_entry *entry)
{
	const struct kmt_object obj = {
		.type = &kmt_types[entry->type], .order = entry->order,
		.size = entry->size, .addr = phys_to_virt(entry->phys),
	};

	if (entry->index != 6 || entry->flags & KMT_GUARDED)
		return NULL;
	/* The entry has only the address of the first page of an area. */
	if (kmt_is_area(&obj))
		return virt_to_page(obj.addr);
	if (kmt_in_slab(&obj))
		return virt_to_page(obj.addr);
	return virt_to_page(obj.addr) + kmt_nr_pages(&obj) - 1;
}

/*
 * Objects that lie in the page are lost. The other objects of a slab come back as
 * copies, because no cache can have the slab.
 */
static void kmt_poison_neighbours(const struct page *page)
{
	for (unsigned int i = 0; i < kmt_manifest->nr_entries; i++) {
		struct kmt_entry *entry = &kmt_entries[i];
		struct page *first = phys_to_page(entry->phys);
		struct page *last = phys_to_page(entry->phys + entry->size - 1);

		if (!kmt_shares_page(kmt_types[entry->type].ops) ||
		    compound_head(first) != compound_head(page))
			continue;
		entry->flags |= first <= page && page <= last ? KMT_POISONED :
								KMT_COPIED;
	}
}

/**
 * kmt_cmd_poison - Let memory that is handed over have hardware errors
 * @unused: Commands get a number.
 *
 * Return: 0 or an error.
 */
int kmt_cmd_poison(u64 unused)
{
	struct page *page;
	unsigned int nr = 0;

	if (!kmt_manifest)
		return -ENOENT;

	for (unsigned int i = 0; i < kmt_manifest->nr_entries; i++) {
		struct kmt_entry *entry = &kmt_entries[i];

		page = kmt_poison_page(entry);
		if (!page)
			continue;
		/* What this returns depends on how the page is used. */
		memory_failure(page_to_pfn(page), MF_SW_SIMULATED);
		entry->flags |= KMT_POISONED;
		nr++;
		if (kmt_shares_page(kmt_types[entry->type].ops))
			kmt_poison_neighbours(page);
	}

	page = alloc_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	memory_failure(page_to_pfn(page), MF_SW_SIMULATED);
	kmt_manifest->poisoned = page_to_phys(page);
	__free_page(page);
	pr_info("%u objects and a page were poisoned\n", nr);
	return 0;
}
#else
int kmt_cmd_poison(u64 unused)
{
	return -EOPNOTSUPP;
}
#endif
