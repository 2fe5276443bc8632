// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of memdesc_t, see Documentation/mm/memdesc.rst: the value has a type
 * and a pointer, and gives the pointer back as the C type of the descriptor.
 */
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/ioptdesc.h>
#include <linux/kfence.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <net/netmem.h>
#include "../../mm/slab.h"
#include "memdesc_kunit.h"

/* Each macro makes the type that it is named after, from the right pointer. */
static void memdesc_value_make(struct kunit *test)
{
	struct page *page = ZERO_PAGE(0);
	struct folio *folio = (struct folio *)page;
	struct slab *slab = (struct slab *)page;
	struct ptdesc *ptdesc = (struct ptdesc *)page;
	struct ioptdesc *iopt = (struct ioptdesc *)page;
	struct netmem_desc *nmdesc = (struct netmem_desc *)page;
	const memdesc_t made[] = {
		MEMDESC_TYPE_PAGES(page),
		MEMDESC_TYPE_FOLIO(folio),
		MEMDESC_TYPE_SLAB(slab),
		MEMDESC_TYPE_LARGE_KMALLOC(page),
		MEMDESC_TYPE_PTDESC(ptdesc),
		MEMDESC_TYPE_IOPTDESC(iopt),
		MEMDESC_TYPE_NETMEM(nmdesc),
		MEMDESC_TYPE_VMALLOC(page),
		MEMDESC_TYPE_PERCPU(page),
	};
	int i;

	static_assert(ARRAY_SIZE(made) == NR_MEMDESC_TYPES);
	for (i = 0; i < NR_MEMDESC_TYPES; i++) {
		KUNIT_EXPECT_EQ(test, memdesc_type(made[i]), i);
		KUNIT_EXPECT_PTR_EQ(test, memdesc_ptr(made[i]), (void *)page);
	}
	KUNIT_EXPECT_STREQ(test, memdesc_type_name(NR_MEMDESC_TYPES),
			   "invalid");
}

/* Each accessor takes only the type that it is named after. */
static void memdesc_value_accessor(struct kunit *test)
{
	struct page *page = ZERO_PAGE(0);

#define TEST_ACCESSOR(accessor, own)					\
	do {								\
		for (int i = 0; i < NR_MEMDESC_TYPES; i++) {		\
			const memdesc_t md = __memdesc(page, i);	\
			void *want = page, *got;			\
									\
			if (IS_ENABLED(CONFIG_DEBUG_VM) && !((own) & BIT(i))) \
				want = NULL;				\
			kunit_warning_suppress(test) {			\
				got = accessor(md);			\
				KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, \
								      !want); \
			}						\
			KUNIT_EXPECT_PTR_EQ(test, got, want);		\
		}							\
	} while (0)

	TEST_ACCESSOR(memdesc_folio, BIT(MEMDESC_FOLIO));
	TEST_ACCESSOR(memdesc_slab, BIT(MEMDESC_SLAB));
	TEST_ACCESSOR(memdesc_ptdesc, BIT(MEMDESC_PTDESC));
	TEST_ACCESSOR(memdesc_ioptdesc, BIT(MEMDESC_IOPTDESC));
	TEST_ACCESSOR(memdesc_netmem, BIT(MEMDESC_NETMEM));
	TEST_ACCESSOR(memdesc_page,
		      BIT(MEMDESC_PAGES) | BIT(MEMDESC_LARGE_KMALLOC) |
		      BIT(MEMDESC_VMALLOC) | BIT(MEMDESC_PERCPU));
#undef TEST_ACCESSOR

	KUNIT_EXPECT_NULL(test, memdesc_ioptdesc(MEMDESC_TYPE_IOPTDESC(NULL)));
	KUNIT_EXPECT_NULL(test, memdesc_page(MEMDESC_TYPE_PAGES(NULL)));
}

/* What page_memdesc() finds, as the C type. */
static void memdesc_value_found(struct kunit *test)
{
	struct netmem_desc *nmdesc __maybe_unused;
	struct ptdesc *ptdesc;
	struct ioptdesc *iopt;
	struct folio *folio;
	struct page *page;
	void *mem;

	folio = memdesc_alloc_node(GFP_TEST, 2, NUMA_NO_NODE, struct folio);
	KUNIT_ASSERT_NOT_NULL(test, folio);
	KUNIT_EXPECT_PTR_EQ(test, folio,
			    memdesc_folio(page_memdesc(folio_page(folio, 3))));
	memdesc_put(folio);

	ptdesc = memdesc_alloc_node(GFP_TEST, 2, NUMA_NO_NODE, struct ptdesc);
	KUNIT_ASSERT_NOT_NULL(test, ptdesc);
	KUNIT_EXPECT_PTR_EQ(test, ptdesc,
			    memdesc_ptdesc(page_memdesc(ptdesc_page(ptdesc) + 3)));
	memdesc_free(ptdesc);

	iopt = memdesc_alloc_node(GFP_TEST, 2, NUMA_NO_NODE, struct ioptdesc);
	KUNIT_ASSERT_NOT_NULL(test, iopt);
	KUNIT_EXPECT_PTR_EQ(test, iopt,
			    memdesc_ioptdesc(page_memdesc(iopt->page + 3)));
	memdesc_free(iopt);

	page = alloc_pages(GFP_TEST | __GFP_COMP, 2);
	KUNIT_ASSERT_NOT_NULL(test, page);
	if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		KUNIT_EXPECT_PTR_EQ(test, page,
				    memdesc_page(page_memdesc(page + 3)));
#ifdef CONFIG_PAGE_POOL
	nmdesc = (struct netmem_desc *)page;
	nmdesc->pp_magic |= PP_SIGNATURE;
	KUNIT_EXPECT_PTR_EQ(test, nmdesc,
			    memdesc_netmem(page_memdesc(page + 3)));
	nmdesc->pp_magic = 0;
#endif
	__free_pages(page, 2);

	mem = kmalloc(1024, GFP_TEST);
	KUNIT_ASSERT_NOT_NULL(test, mem);
	if (!is_kfence_address(mem))
		KUNIT_EXPECT_PTR_EQ(test, virt_to_slab(mem),
				    memdesc_slab(page_memdesc(virt_to_page(mem))));
	kfree(mem);

	mem = kmalloc(KMALLOC_MAX_CACHE_SIZE << 1, GFP_TEST);
	KUNIT_ASSERT_NOT_NULL(test, mem);
	KUNIT_EXPECT_PTR_EQ(test, virt_to_page(mem),
			    memdesc_page(page_memdesc(virt_to_page(mem) + 1)));
	kfree(mem);
}

static struct kunit_case memdesc_value_cases[] = {
	KUNIT_CASE(memdesc_value_make),
	KUNIT_CASE(memdesc_value_accessor),
	KUNIT_CASE(memdesc_value_found),
	{}
};

static struct kunit_suite memdesc_value_suite = {
	.name = "memdesc_value",
	.test_cases = memdesc_value_cases,
};

kunit_test_suite(memdesc_value_suite);
