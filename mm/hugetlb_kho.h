/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __MM_HUGETLB_KHO_H
#define __MM_HUGETLB_KHO_H

#include <linux/init.h>
#include <linux/types.h>

struct folio;
struct hstate;
struct inode;

#ifdef CONFIG_KEXEC_HANDOVER
void hugetlb_adopt_folio(struct hstate *h, struct folio *folio, bool hwpoison);
int hugetlb_add_restored(struct inode *inode, struct folio *folio, pgoff_t index);
void hugetlb_add_preserved_hstates(void) __init;
void hugetlb_deduct_preserved(unsigned int order, unsigned long *nr,
			      unsigned int *nr_node) __init;
#else
static inline void hugetlb_add_preserved_hstates(void)
{
}

static inline void hugetlb_deduct_preserved(unsigned int order,
					    unsigned long *nr,
					    unsigned int *nr_node)
{
}
#endif /* CONFIG_KEXEC_HANDOVER */

#ifdef CONFIG_MEMORY_FAILURE
void hugetlb_inherit_hwpoison(struct folio *folio);
#else
static inline void hugetlb_inherit_hwpoison(struct folio *folio)
{
}
#endif

#endif /* __MM_HUGETLB_KHO_H */
