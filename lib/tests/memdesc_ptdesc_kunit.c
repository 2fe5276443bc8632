// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of memory descriptors, see Documentation/mm/memdesc.rst: what the
 * constructors and the destructor of page tables do to a descriptor.
 */
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
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
					((u32)PGTY_table << 24) + state);
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
			(u32)PGTY_table << 24 : type);

	/* With another reference it is a page like any other afterwards. */
	get_page(page);
	/* Not all that pagetable_free() may call is exported. */
	if (IS_BUILTIN(CONFIG_MEMDESC_KUNIT_TEST))
		pagetable_free(ptdesc);
	else
		memdesc_free(ptdesc);
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
					(u32)PGTY_table << 24);
			KUNIT_EXPECT_EQ(test, ptdesc_state(ptdesc),
					PTDESC_PLAIN);
			ptdesc_lifetime(test, ptdesc_page(ptdesc), order,
					ptdesc_states[i]);

			/* Tables of the boot were not allocated as such. */
			page = alloc_pages(GFP_TEST | __GFP_COMP, order);
			KUNIT_ASSERT_NOT_NULL(test, page);
			ptdesc_lifetime(test, page, order, ptdesc_states[i]);
		}
	}
}

static struct kunit_case memdesc_ptdesc_cases[] = {
	KUNIT_CASE(memdesc_test_ptdesc),
	{}
};

static struct kunit_suite memdesc_ptdesc_suite = {
	.name = "memdesc_ptdesc",
	.test_cases = memdesc_ptdesc_cases,
};

kunit_test_suite(memdesc_ptdesc_suite);
