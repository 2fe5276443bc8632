// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages against their type, out of line: kho_check.h has the check itself. And
 * what the log says: the names of types, and why memory was refused. Nothing here
 * has a state.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/kexec_handover.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/printk.h>

#include <trace/events/kho.h>

#include "kho_check.h"
#include "kho_trace.h"

/**
 * kho_memdesc_name - the name of a type
 * @type: the type; it can be one that this kernel does not know
 *
 * Context: Any.
 * Return: the name.
 */
const char *kho_memdesc_name(unsigned int type)
{
	return type < KHO_NR_MEMDESC ? kho_types[type].name : "unknown";
}

/**
 * kho_refuse - say why memory was refused
 * @err: the error that the caller returns
 * @verb: what was tried
 * @phys: physical address of the memory
 * @order: its order
 * @type: its type
 * @why: the reason
 *
 * Context: Any.
 * Return: @err.
 */
noinline int kho_refuse(int err, const char *verb, phys_addr_t phys,
			unsigned int order, unsigned int type, const char *why)
{
	trace_kho_refuse(verb, phys, order, type, err, why, KHO_OUTER_RET_IP);
	pr_warn_ratelimited("cannot %s %pa, order %u, as %s: %s (%pe)\n", verb,
			    &phys, order, kho_memdesc_name(type), why,
			    ERR_PTR(err));
	return err;
}

/**
 * kho_other_type - say which type memory has, instead of the caller's
 * @page: the first page
 *
 * Context: Any.
 * Return: the reason for a refusal.
 */
const char *kho_other_type(const struct page *page)
{
	switch (page_memdesc_type(page)) {
	case MEMDESC_SLAB:
		return "it is a slab";
	case MEMDESC_LARGE_KMALLOC:
		return "it is large kmalloc memory";
	case MEMDESC_PTDESC:
		return "it is a page table";
	case MEMDESC_IOPTDESC:
		return "it is a page table of an IOMMU";
	case MEMDESC_NETMEM:
		return "it is memory of a page pool";
	default:
		return page_has_type(page) ? "it has another page type" :
					     "it has no page type";
	}
}

/**
 * kho_any_poisoned - has some of the memory a hardware error
 * @page: the first page
 * @order: log2 of the number of pages
 *
 * Context: Any.
 * Return: whether memory_failure() has marked one of the pages.
 */
bool kho_any_poisoned(struct page *page, unsigned int order)
{
	for (unsigned long i = 0; i < 1UL << order; i++) {
		if (PageHWPoison(kho_nth_page(page, i)))
			return true;
	}
	return false;
}

/**
 * kho_check_page - can this memory be preserved as this type
 * @page: the first page
 * @order: its order
 * @type: the type that the caller says it has
 *
 * This does not check where the memory lies, nor whether the memory is preserved
 * already: see kho_map_add().
 *
 * Context: Any.
 * Return: 0, %-EINVAL or %-EOPNOTSUPP. The reason for a refusal is logged,
 *	unless KHO is off.
 */
int kho_check_page(struct page *page, unsigned int order, enum kho_memdesc type)
{
	return __kho_check_page(page, order, type);
}
