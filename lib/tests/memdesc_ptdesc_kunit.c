// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of memory descriptors, see Documentation/mm/memdesc.rst: what the
 * constructors and the destructor of page tables do to a descriptor, how the
 * descriptor of a page table is found, and that it is freed with the table.
 */
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/page-isolation.h>
#include <linux/pgtable.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/vmstat.h>
#include "memdesc_kunit.h"

/*
 * The page type tells which constructor a page table has been through, and the
 * destructor undoes that and no more.
 */
static const enum ptdesc_state ptdesc_states[] = {
	PTDESC_PLAIN,
	PTDESC_PUD,
	PTDESC_P4D,
	PTDESC_PGD,
#ifndef MODULE	/* no init_mm, no locks */
	PTDESC_PTE,
	PTDESC_PMD,
	PTDESC_KERNEL,
#endif
};

static bool construct(struct ptdesc *ptdesc, enum ptdesc_state state)
{
	switch (state) {
	case PTDESC_PUD:
		pagetable_pud_ctor(ptdesc);
		break;
	case PTDESC_P4D:
		pagetable_p4d_ctor(ptdesc);
		break;
	case PTDESC_PGD:
		pagetable_pgd_ctor(ptdesc);
		break;
#ifndef MODULE
	case PTDESC_PTE:
		return pagetable_pte_ctor(NULL, ptdesc);
	case PTDESC_PMD:
		return pagetable_pmd_ctor(NULL, ptdesc);
	case PTDESC_KERNEL:
		if (!pagetable_pte_ctor(&init_mm, ptdesc) ||
		    ptdesc_state(ptdesc) != PTDESC_KERNEL)
			return false;
		pagetable_dtor(ptdesc);
		return pagetable_pmd_ctor(&init_mm, ptdesc);
#endif
	default:
		break;
	}
	return true;
}

static void destroy(struct ptdesc *ptdesc)
{
#ifndef MODULE
	pagetable_dtor(ptdesc);
#else
	if (ptdesc_state(ptdesc))
		__pagetable_dtor(ptdesc);
#endif
}

static void free_table(struct ptdesc *ptdesc)
{
	/* Not all that pagetable_free() may call is exported. */
	if (IS_BUILTIN(CONFIG_MEMDESC_KUNIT_TEST))
		pagetable_free(ptdesc);
	else
		memdesc_free(ptdesc);
}

static void ptdesc_lifetime(struct kunit *test, struct page *page,
			    unsigned int order, enum ptdesc_state state)
{
	struct ptdesc *ptdesc = page_ptdesc(page);
	const long pages = state == PTDESC_PLAIN ? 0 : 1L << order;
	const unsigned int type = page->page_type;
	long before, during, after;
	int tries = 20;

	/* Others move the same counter; once it must come out even. */
	do {
		before = node_stat(NR_PAGETABLE);
		KUNIT_ASSERT_TRUE(test, construct(ptdesc, state));
		during = node_stat(NR_PAGETABLE);
		KUNIT_EXPECT_EQ(test, ptdesc_state(ptdesc), state);
		if (pages) {
			KUNIT_EXPECT_EQ(test, page->page_type,
					page_type_encode(PGTY_table) + state);
			KUNIT_EXPECT_EQ(test, page_memdesc_type(page),
					MEMDESC_PTDESC);
		}
		destroy(ptdesc);
		destroy(ptdesc);
		after = node_stat(NR_PAGETABLE);
	} while ((during - before != pages || before != after) && --tries);

	KUNIT_EXPECT_EQ(test, during - before, pages);
	KUNIT_EXPECT_EQ(test, after, before);
	KUNIT_EXPECT_EQ(test, ptdesc_state(ptdesc), PTDESC_PLAIN);
	KUNIT_EXPECT_EQ(test, page->page_type, pages ?
			page_type_encode(PGTY_table) : type);

	if (OWN_PTDESC) {
		KUNIT_EXPECT_EQ(test, page_ref_count(page), 0);
		KUNIT_EXPECT_PTR_EQ(test, page_ptdesc(page), ptdesc);
		free_table(ptdesc);
		return;
	}

	/* With another reference it is a page like any other afterwards. */
	get_page(page);
	free_table(ptdesc);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
	KUNIT_EXPECT_EQ(test, page->page_type, UINT_MAX);
	put_page(page);
}

static void memdesc_test_ptdesc(struct kunit *test)
{
	for (int i = 0; i < ARRAY_SIZE(ptdesc_states); i++) {
		for (unsigned int order = 0; order < 3; order++) {
			struct ptdesc *ptdesc;
			struct page *page;

			ptdesc = pagetable_alloc(GFP_TEST, order);
			KUNIT_ASSERT_NOT_NULL(test, ptdesc);
			KUNIT_EXPECT_EQ(test, ptdesc_page(ptdesc)->page_type,
					page_type_encode(PGTY_table));
			KUNIT_EXPECT_EQ(test, ptdesc_state(ptdesc),
					PTDESC_PLAIN);
			ptdesc_lifetime(test, ptdesc_page(ptdesc), order,
					ptdesc_states[i]);

			/*
			 * Tables of the boot were not allocated as such. The
			 * descriptors that are no overlay were attached later.
			 */
			if (OWN_PTDESC)
				continue;
			page = alloc_pages(GFP_TEST | __GFP_COMP, order);
			KUNIT_ASSERT_NOT_NULL(test, page);
			ptdesc_lifetime(test, page, order, ptdesc_states[i]);
		}
	}
}

/* Whatever page or address of the table one starts from. */
static void memdesc_test_ptdesc_found(struct kunit *test)
{
	for (unsigned int order = 0; order <= PAGE_ALLOC_COSTLY_ORDER; order++) {
		struct ptdesc *ptdesc = pagetable_alloc(GFP_TEST, order);
		struct page *page;

		KUNIT_ASSERT_NOT_NULL(test, ptdesc);
		page = ptdesc_page(ptdesc);
		KUNIT_EXPECT_PTR_EQ(test, virt_to_page(ptdesc_address(ptdesc)),
				    page);
		KUNIT_EXPECT_PTR_EQ(test, virt_to_ptdesc(ptdesc_address(ptdesc)),
				    ptdesc);
		KUNIT_EXPECT_EQ(test, ptdesc_order(ptdesc), order);
		KUNIT_EXPECT_EQ(test, compound_order(page), order);
		KUNIT_EXPECT_EQ(test, page_ref_count(page), !OWN_PTDESC);
		KUNIT_EXPECT_EQ(test, (void *)ptdesc != (void *)page,
				OWN_PTDESC);

		for (unsigned int i = 0; i < 1U << order; i++) {
			const memdesc_t md = page_memdesc(page + i);

			KUNIT_EXPECT_EQ(test, page_memdesc_type(page + i),
					MEMDESC_PTDESC);
			KUNIT_ASSERT_EQ(test, memdesc_type(md), MEMDESC_PTDESC);
			KUNIT_EXPECT_PTR_EQ(test, memdesc_ptdesc(md), ptdesc);
			KUNIT_EXPECT_PTR_EQ(test,
					    page_ptdesc(compound_head(page + i)),
					    ptdesc);
		}
		free_table(ptdesc);
	}
}

/* A table has a lock of its own: in its descriptor, if that is no overlay. */
static void memdesc_test_ptdesc_lock(struct kunit *test)
{
#if !defined(MODULE) && defined(CONFIG_SPLIT_PTE_PTLOCKS)
	for (int i = 0; i < 100; i++) {
		struct ptdesc *ptdesc = pagetable_alloc(GFP_TEST, 0);
		spinlock_t *lock;	/* the one of this table */
		bool unlocked;

		KUNIT_ASSERT_NOT_NULL(test, ptdesc);
		KUNIT_ASSERT_TRUE(test, i % 2 ?
				  pagetable_pte_ctor(NULL, ptdesc) :
				  pagetable_pmd_ctor(NULL, ptdesc));
		lock = ptlock_ptr(ptdesc);
		if (OWN_PTDESC) {
			KUNIT_EXPECT_GE(test, (unsigned long)lock,
					(unsigned long)ptdesc);
			KUNIT_EXPECT_LE(test, (unsigned long)(lock + 1),
					(unsigned long)(ptdesc + 1));
		}
		unlocked = spin_trylock(lock);
		if (unlocked)
			spin_unlock(lock);
		KUNIT_EXPECT_TRUE(test, unlocked);
		pagetable_dtor_free(ptdesc);
	}
#else
	kunit_skip(test, "needs a lock for each table, and no module");
#endif
}

/* Many times more than anybody else may allocate meanwhile. */
#define LEAK_DESCS	16384

/* What belongs to a table and is an allocation is freed with it. */
static void memdesc_test_ptdesc_leak(struct kunit *test)
{
	const bool locks = IS_BUILTIN(CONFIG_MEMDESC_KUNIT_TEST);
	long before, after;

	/* KASAN keeps what was freed for a while, kmemleak's records too. */
	if (IS_ENABLED(CONFIG_KASAN))
		kunit_skip(test, "KASAN keeps what was freed");

	before = global_node_page_state_snapshot(NR_SLAB_UNRECLAIMABLE_B);
	for (int i = 0; i < LEAK_DESCS; i++) {
		struct ptdesc *ptdesc = pagetable_alloc(GFP_TEST, 0);
		const enum ptdesc_state state = !locks ? PTDESC_PUD :
						i % 2 ? PTDESC_PTE : PTDESC_PMD;

		KUNIT_ASSERT_NOT_NULL(test, ptdesc);
		/* Lists of freed page tables do not keep a page with this flag. */
		__folio_mark_uptodate(ptdesc_folio(ptdesc));
		KUNIT_ASSERT_TRUE(test, construct(ptdesc, state));
		destroy(ptdesc);
		free_table(ptdesc);
		if (!(i % 1024))
			cond_resched();
	}
	/* Slabs that became empty wait for a grace period. */
	rcu_barrier();
	after = global_node_page_state_snapshot(NR_SLAB_UNRECLAIMABLE_B);
	/* It is counted in pages. A descriptor or a large lock takes 64 bytes. */
	KUNIT_EXPECT_LT(test, after, before + LEAK_DESCS / 4 * 64 / PAGE_SIZE);
}

/* A frozen page must not look as if it were about to be freed. */
static void memdesc_test_ptdesc_unmovable(struct kunit *test)
{
#if !defined(MODULE) && defined(CONFIG_MEMORY_ISOLATION)
	for (unsigned int order = 0; order <= 2; order++) {
		struct ptdesc *ptdesc = pagetable_alloc(GFP_TEST, order);
		unsigned long step = 1;
		struct page *page;
		bool unmovable;

		KUNIT_ASSERT_NOT_NULL(test, ptdesc);
		page = ptdesc_page(ptdesc);
		for (int i = 0; i < 2; i++) {
			unmovable = page_is_unmovable(page_zone(page), page,
						      PB_ISOLATE_MODE_MEM_OFFLINE,
						      &step);
			KUNIT_EXPECT_TRUE(test, unmovable);
			/* Once more when it is constructed. */
			if (!i)
				pagetable_pud_ctor(ptdesc);
		}
		pagetable_dtor_free(ptdesc);
	}
#else
	kunit_skip(test, "needs CONFIG_MEMORY_ISOLATION, and no module");
#endif
}

#ifndef MODULE
/* @entry is in a table of one page. */
static void expect_table(struct kunit *test, const void *entry)
{
	struct page *page = virt_to_page(entry);
	struct ptdesc *ptdesc;
	memdesc_t md;

	KUNIT_ASSERT_TRUE(test, PageTable(page));
	ptdesc = page_ptdesc(page);
	KUNIT_ASSERT_NOT_NULL(test, ptdesc);
	KUNIT_EXPECT_PTR_EQ(test, ptdesc_page(ptdesc), page);
	KUNIT_EXPECT_PTR_EQ(test, virt_to_ptdesc(entry), ptdesc);
	KUNIT_EXPECT_EQ(test, ptdesc_order(ptdesc), 0);
	md = page_memdesc(page);
	KUNIT_ASSERT_EQ(test, memdesc_type(md), MEMDESC_PTDESC);
	KUNIT_EXPECT_PTR_EQ(test, memdesc_ptdesc(md), ptdesc);
}

/* The tables of each level that map an address of the kernel. */
static void expect_tables(struct kunit *test, const void *addr)
{
	const unsigned long a = (unsigned long)addr;
	pgd_t *pgd = pgd_offset_k(a);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	expect_table(test, pgd);
	KUNIT_ASSERT_FALSE(test, pgd_none(*pgd));
	p4d = p4d_offset(pgd, a);
	expect_table(test, p4d);
	KUNIT_ASSERT_FALSE(test, p4d_none(*p4d));
	pud = pud_offset(p4d, a);
	expect_table(test, pud);
	KUNIT_ASSERT_FALSE(test, pud_none(*pud));
	if (pud_leaf(*pud))
		return;
	pmd = pmd_offset(pud, a);
	expect_table(test, pmd);
	KUNIT_ASSERT_FALSE(test, pmd_none(*pmd));
	if (!pmd_leaf(*pmd))
		expect_table(test, pte_offset_kernel(pmd, a));
}
#endif

/* The tables of the boot, which did not come from pagetable_alloc(). */
static void memdesc_test_ptdesc_boot(struct kunit *test)
{
#ifndef MODULE
	void *mem;

	if (!OWN_PTDESC)
		kunit_skip(test, "the tables of the boot have no page type");

	expect_table(test, init_mm.pgd);
	/* The kernel's text, its constants and data, direct map and vmemmap. */
	expect_tables(test, memdesc_test_ptdesc_boot);
	expect_tables(test, ptdesc_states);
	expect_tables(test, &init_mm);
	mem = kunit_kmalloc(test, 64, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mem);
	expect_tables(test, mem);
	expect_tables(test, virt_to_page(mem));
#else
	kunit_skip(test, "needs init_mm");
#endif
}

static struct kunit_case memdesc_ptdesc_cases[] = {
	KUNIT_CASE(memdesc_test_ptdesc),
	KUNIT_CASE(memdesc_test_ptdesc_found),
	KUNIT_CASE(memdesc_test_ptdesc_lock),
	KUNIT_CASE_SLOW(memdesc_test_ptdesc_leak),
	KUNIT_CASE(memdesc_test_ptdesc_unmovable),
	KUNIT_CASE(memdesc_test_ptdesc_boot),
	{}
};

static struct kunit_suite memdesc_ptdesc_suite = {
	.name = "memdesc_ptdesc",
	.test_cases = memdesc_ptdesc_cases,
};

kunit_test_suite(memdesc_ptdesc_suite);
