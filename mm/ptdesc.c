// SPDX-License-Identifier: GPL-2.0
/*
 * Page tables with descriptors of their own (CONFIG_MEMDESC_PTDESC): free them,
 * and give the tables that the kernel has booted with their descriptors.
 *
 * See Documentation/mm/memdesc.rst.
 */
#include <linux/export.h>
#include <linux/init.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/pagewalk.h>
#include <linux/pgtable.h>
#include "memdesc.h"

/* pagetable_free() for a table that does not map the kernel. */
void __pagetable_free(struct ptdesc *pt)
{
	struct page *page = pt->page;

	VM_WARN_ON_ONCE_PAGE(ptdesc_state(pt), page);
	if (unlikely(pagetable_is_reserved(pt))) {
		free_reserved_ptdesc(pt);
		return;
	}
	if (memdesc_cache_put_ptdesc(pt))
		return;
	memdesc_free_frozen(page, pt->order, MEMDESC_PTDESC);
	memdesc_free_own(pt, MEMDESC_PTDESC);
}
EXPORT_SYMBOL(__pagetable_free);

/**
 * free_reserved_ptdesc - Free a page table that the kernel has booted with
 * @pt: The page table descriptor, from page_ptdesc().
 *
 * The memory of the table came from memblock. It is counted as managed memory
 * from now on.
 *
 * Context: Process context. Does not sleep.
 */
void free_reserved_ptdesc(struct ptdesc *pt)
{
	struct page *page = pt->page;

	memdesc_detach(page, MEMDESC_PTDESC);
	memdesc_free_own(pt, MEMDESC_PTDESC);
	free_reserved_page(page);
}

/* Returns false if the table has a descriptor: it was reached before. */
static bool __init ptdesc_adopt(struct page *page)
{
	struct ptdesc *pt;

	if (PageTable(page))
		return false;

	pt = memdesc_alloc_own_noprof(GFP_KERNEL, page_to_nid(page),
				      MEMDESC_PTDESC);
	if (!pt)
		panic("no memory for the descriptors of page tables");
	/* Page tables are frozen. Memory from memblock has a reference. */
	set_page_count(page, 0);
	memdesc_attach(page, 0, pt, MEMDESC_PTDESC);
	return true;
}

/*
 * Many entries can lead to one table: KASAN maps all shadow that nobody needs
 * with one table of each level. Look into a PMD table once. The page walker
 * ignores walk->action at the two levels above, and so enters their tables again.
 */
static int __init ptdesc_adopt_below(struct page *page, struct mm_walk *walk)
{
	if (!ptdesc_adopt(page))
		walk->action = ACTION_CONTINUE;
	return 0;
}

static int __init ptdesc_adopt_p4d(pgd_t *pgd, unsigned long addr,
				   unsigned long next, struct mm_walk *walk)
{
	if (mm_p4d_folded(walk->mm) || pgd_leaf(*pgd))
		return 0;
	return ptdesc_adopt_below(pgd_page(*pgd), walk);
}

static int __init ptdesc_adopt_pud(p4d_t *p4d, unsigned long addr,
				   unsigned long next, struct mm_walk *walk)
{
	if (mm_pud_folded(walk->mm) || p4d_leaf(*p4d))
		return 0;
	return ptdesc_adopt_below(p4d_page(*p4d), walk);
}

static int __init ptdesc_adopt_pmd(pud_t *pud, unsigned long addr,
				   unsigned long next, struct mm_walk *walk)
{
	if (mm_pmd_folded(walk->mm) || !pud_present(*pud) || pud_leaf(*pud))
		return 0;
	return ptdesc_adopt_below(pud_page(*pud), walk);
}

static int __init ptdesc_adopt_pte(pmd_t *pmd, unsigned long addr,
				   unsigned long next, struct mm_walk *walk)
{
	if (pmd_present(*pmd) && !pmd_leaf(*pmd))
		ptdesc_adopt(pmd_page(*pmd));
	return 0;
}

static const struct mm_walk_ops ptdesc_adopt_ops __initconst = {
	.pgd_entry	= ptdesc_adopt_p4d,
	.p4d_entry	= ptdesc_adopt_pud,
	.pud_entry	= ptdesc_adopt_pmd,
	.pmd_entry	= ptdesc_adopt_pte,
	.walk_lock	= PGWALK_RDLOCK,
};

/*
 * The tables that map the kernel by now came from memblock, or are part of the
 * kernel's image. They have no descriptors, because a descriptor comes from a
 * slab cache. Some of them are freed later, when memory is removed. Called
 * before the first call of pagetable_alloc().
 */
void __init ptdesc_init(void)
{
	mmap_write_lock(&init_mm);
	walk_kernel_page_table_range(PAGE_OFFSET, ULONG_MAX, &ptdesc_adopt_ops,
				     NULL, NULL);
	mmap_write_unlock(&init_mm);
	ptdesc_adopt(phys_to_page(__pa_symbol(swapper_pg_dir)));
}
