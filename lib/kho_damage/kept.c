// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damage what this kernel hands over by kexec: memory that the next kernel
 * does not understand. Check there that it is kept.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/kho_memdesc.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/string.h>

#include "khd.h"

/* The contents of memory that is kept: each page differs. */
static u64 khd_kept_word(phys_addr_t phys, unsigned int i)
{
	return ~phys ^ (u64)i << 32;
}

int khd_keep_pages(phys_addr_t phys, unsigned int order, unsigned int type)
{
	u64 *p = phys_to_virt(phys);

	if (!phys)
		return -ENOMEM;
	for (unsigned long n = 0; n < 1UL << order; n++) {
		for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*p); i++)
			*p++ = khd_kept_word(phys + n * PAGE_SIZE, i);
	}
	pr_info("expect kept %#llx, order %u, type %u\n", phys, order, type);
	return khd_hold_pages(phys, order, type);
}

/*
 * Memory of an order or a type that only a newer kernel knows, or a kernel that
 * was built differently.
 */
int khd_keep(u64 arg)
{
	unsigned int order = arg >> 32;

	return khd_keep_pages(khd_new_pages(order), order, (u32)arg);
}

/* Two of these overlap. The next kernel cannot know which of them is right. */
int khd_keep_two(u64 type)
{
	phys_addr_t phys = khd_new_pages(3);
	int err = khd_keep_pages(phys, 3, type);

	if (err)
		return err;
	pr_info("held -4\n");
	return khd_keep_pages(phys + 4 * PAGE_SIZE, 2, type + 1);
}

static bool khd_is_kept(phys_addr_t phys, unsigned int order)
{
	for (unsigned long n = 0; n < 1UL << order; n++, phys += PAGE_SIZE) {
		struct page *page = phys_to_page(phys);
		const u64 *p = phys_to_virt(phys);

		/* Taken away by memmap=. */
		if (!page_is_ram(PHYS_PFN(phys)))
			continue;
		if (page_count(page) != 1 || PageBuddy(page) || PageLRU(page) ||
		    page_has_type(page)) {
			pr_err("%pa is not kept: %d references, %#lx\n", &phys,
			       page_count(page), page->flags.f);
			return false;
		}
		for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*p); i++) {
			if (p[i] != khd_kept_word(phys, i)) {
				pr_err("%pa was written to: %#llx\n", &phys,
				       p[i]);
				return false;
			}
		}
	}
	return true;
}

/* Write to all memory that anybody can get. */
static void khd_fill_free_memory(void)
{
	struct page *page, *next;
	unsigned long nr = 0;
	LIST_HEAD(pages);

	while ((page = alloc_page(GFP_HIGHUSER_MOVABLE | __GFP_NORETRY |
				  __GFP_NOWARN))) {
		memset(page_address(page), 0x5a, PAGE_SIZE);
		list_add(&page->lru, &pages);
		nr++;
		cond_resched();
	}
	list_for_each_entry_safe(page, next, &pages, lru)
		__free_page(page);
	pr_info("filled %lu pages\n", nr);
}

int khd_check_kept(char *list)
{
	unsigned int n = 0, order;
	phys_addr_t phys;
	char *one;

	khd_fill_free_memory();
	while ((one = strsep(&list, ","))) {
		if (sscanf(one, "%lli:%u", &phys, &order) != 2)
			return -EINVAL;
		if (!khd_is_kept(phys, order))
			return -EIO;
		if (PTR_ERR(kho_folio_restore(phys)) != -EOPNOTSUPP ||
		    PTR_ERR(kho_pages_restore(phys, order)) != -EOPNOTSUPP ||
		    PTR_ERR(kho_ioptdesc_restore(phys)) != -EOPNOTSUPP) {
			pr_err("%pa is kept, and can be restored\n", &phys);
			return -EIO;
		}
		n++;
	}
	pr_info("%u are kept\n", n);
	return 0;
}
