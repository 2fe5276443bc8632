// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of memory descriptors, see Documentation/mm/memdesc.rst: allocate
 * and free memory of every type, and check the state of its pages.
 */
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/ioptdesc.h>
#include <linux/kfence.h>
#include <linux/memcontrol.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmstat.h>
#include <net/netmem.h>
#include "../../mm/slab.h"
#include "memdesc_kunit.h"

struct type_param {
	const char *name;
	enum memdesc_type type;
	size_t size;
	unsigned int page_type;
	bool frozen;
	bool rmappable;
	bool own;
	bool not_offered;
};

static const struct type_param types[] = {
	{ "pages", MEMDESC_PAGES },
	{ "folio", MEMDESC_FOLIO, sizeof(struct folio), .rmappable = true },
	{ "slab", MEMDESC_SLAB, sizeof(struct slab), PGTY_slab, true,
	  .not_offered = true },
	{ "large_kmalloc", MEMDESC_LARGE_KMALLOC, 0, PGTY_large_kmalloc, true,
	  .not_offered = true },
	{ "ptdesc", MEMDESC_PTDESC, sizeof(struct ptdesc), PGTY_table,
	  OWN_PTDESC, .own = OWN_PTDESC },
	{ "ioptdesc", MEMDESC_IOPTDESC, sizeof(struct ioptdesc),
	  PGTY_ioptable, true, .own = true },
	{ "netmem", MEMDESC_NETMEM, sizeof(struct netmem_desc) },
	{ "vmalloc", MEMDESC_VMALLOC, .not_offered = true },
	{ "percpu", MEMDESC_PERCPU, .not_offered = true },
};

static_assert(ARRAY_SIZE(types) == NR_MEMDESC_TYPES);
KUNIT_ARRAY_PARAM_DESC(types, types, name);

/* The types that alloc_page_desc() allocates. */
static const void *offered_gen_params(struct kunit *test, const void *prev,
				      char *desc)
{
	const struct type_param *p = prev;

	for (p = p ? p + 1 : types; p < types + ARRAY_SIZE(types); p++) {
		if (p->not_offered)
			continue;
		strscpy(desc, p->name, KUNIT_PARAM_DESC_SIZE);
		return p;
	}
	return NULL;
}

/* Pages without a descriptor get one of these. No test holds more than two. */
static union {
	struct ioptdesc iopt;
	struct ptdesc ptdesc;
} __aligned(1 << MEMDESC_TYPE_BITS) test_descs[2];

/* What alloc_page_desc() has to be given for a page table. */
static struct ptdesc *test_ptdesc(unsigned int i)
{
	return OWN_PTDESC ? &test_descs[i % 2].ptdesc : NULL;
}

static memdesc_t test_memdesc(enum memdesc_type type)
{
	static unsigned int next;

	switch (type) {
	case MEMDESC_PAGES:
		return MEMDESC_TYPE_PAGES(NULL);
	case MEMDESC_FOLIO:
		return MEMDESC_TYPE_FOLIO(NULL);
	case MEMDESC_SLAB:
		return MEMDESC_TYPE_SLAB(NULL);
	case MEMDESC_LARGE_KMALLOC:
		return MEMDESC_TYPE_LARGE_KMALLOC(NULL);
	case MEMDESC_PTDESC:
		return MEMDESC_TYPE_PTDESC(test_ptdesc(next++));
	case MEMDESC_IOPTDESC:
		return MEMDESC_TYPE_IOPTDESC(&test_descs[next++ % 2].iopt);
	case MEMDESC_VMALLOC:
		return MEMDESC_TYPE_VMALLOC(NULL);
	case MEMDESC_PERCPU:
		return MEMDESC_TYPE_PERCPU(NULL);
	default:
		return MEMDESC_TYPE_NETMEM(NULL);
	}
}

/*
 * The type that page_memdesc() finds for compound pages, or for a single page.
 * Pages that may be a folio are one. Without huge pages these are all pages
 * without a page type.
 */
static enum memdesc_type seen_as(const struct type_param *p, unsigned int order)
{
	if (p->page_type)
		return p->type;
	if (!order || p->rmappable || !IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		return MEMDESC_FOLIO;
	return MEMDESC_PAGES;
}

static struct page *desc_page(void *desc, enum memdesc_type type)
{
	switch (type) {
	case MEMDESC_PTDESC:
		return ptdesc_page((struct ptdesc *)desc);
	case MEMDESC_IOPTDESC:
		return ((struct ioptdesc *)desc)->page;
	default:
		return desc;
	}
}

/* Of a descriptor that is an allocation of its own. */
static unsigned int desc_order(void *desc, enum memdesc_type type)
{
	return type == MEMDESC_PTDESC ? ptdesc_order(desc) :
					((struct ioptdesc *)desc)->order;
}

static void check_pages(struct kunit *test, struct page *page,
			unsigned int order, const struct type_param *p,
			bool compound)
{
	const enum memdesc_type seen = seen_as(p, compound ? order : 0);
	const unsigned long nr = 1UL << order;
	unsigned long i;

	KUNIT_EXPECT_EQ(test, page_ref_count(page), p->frozen ? 0 : 1);
	KUNIT_EXPECT_EQ(test, page->page_type, p->page_type ?
			page_type_encode(p->page_type) : UINT_MAX);
	KUNIT_EXPECT_EQ(test, !!PageHead(page), compound && order);
	KUNIT_EXPECT_TRUE(test, IS_ALIGNED(page_to_pfn(page), nr));
	if (p->own) {
		void *desc = (void *)page->private;

		KUNIT_ASSERT_NOT_NULL(test, desc);
		KUNIT_EXPECT_PTR_EQ(test, desc_page(desc, p->type), page);
		KUNIT_EXPECT_EQ(test, desc_order(desc, p->type), order);
	}
	if (compound && order) {
		KUNIT_EXPECT_EQ(test, compound_order(page), order);
		KUNIT_EXPECT_EQ(test,
				folio_test_large_rmappable(page_folio(page)),
				p->rmappable &&
				IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE));
	}

	for (i = 0; i < nr; i++) {
		struct page *first = compound ? page : page + i;
		memdesc_t md = page_memdesc(page + i);
		void *desc = p->own ? (void *)page->private : first;

		if (i)
			KUNIT_ASSERT_EQ(test, page_ref_count(page + i), 0);
		KUNIT_ASSERT_EQ(test, memdesc_type(md), seen);
		KUNIT_ASSERT_PTR_EQ(test, memdesc_ptr(md), desc);
		KUNIT_ASSERT_EQ(test, page_memdesc_type(page + i), seen);
	}
}

/* Has the type references? Those of a page table are its owner's affair. */
static bool is_put(enum memdesc_type type)
{
	return type == MEMDESC_PAGES || type == MEMDESC_FOLIO ||
	       type == MEMDESC_NETMEM;
}

static void free_pages_of(struct page *page, unsigned int order,
			  enum memdesc_type type)
{
	/* Not compound: only the caller knows the order. */
	if (type == MEMDESC_PAGES && !PageHead(page))
		__free_pages(page, order);
	else if (is_put(type))
		put_page(page);
	else
		free_page_desc(page);
}

static void free_desc(void *desc, enum memdesc_type type)
{
	switch (type) {
	case MEMDESC_PTDESC:
		memdesc_free((struct ptdesc *)desc);
		return;
	case MEMDESC_IOPTDESC:
		memdesc_free((struct ioptdesc *)desc);
		return;
	default:
		free_pages_of(desc, 0, type);
	}
}

static void memdesc_test_encode(struct kunit *test)
{
	const struct type_param *p = test->param_value;
	memdesc_t md = test_memdesc(p->type);
	struct page *page = ZERO_PAGE(0);

	KUNIT_EXPECT_EQ(test, p - types, p->type);
	KUNIT_EXPECT_EQ(test, memdesc_type(md), p->type);
	KUNIT_EXPECT_EQ(test, !memdesc_ptr(md), !p->own);

	md = __memdesc(page, p->type);
	KUNIT_EXPECT_EQ(test, memdesc_type(md), p->type);
	KUNIT_EXPECT_PTR_EQ(test, memdesc_ptr(md), (void *)page);

	KUNIT_EXPECT_STREQ(test, memdesc_type_name(p->type), p->name);
}

static void memdesc_test_alloc_free(struct kunit *test)
{
	const struct type_param *p = test->param_value;
	unsigned int order;
	struct page *page;

	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		page = alloc_page_desc(GFP_TEST, order, test_memdesc(p->type));
		if (!page && order > PAGE_ALLOC_COSTLY_ORDER) {
			kunit_warn(test, "no memory of order %u\n", order);
			return;
		}
		KUNIT_ASSERT_NOT_NULL(test, page);
		check_pages(test, page, order, p, p->type != MEMDESC_PAGES);
		free_pages_of(page, order, p->type);

		if (p->type != MEMDESC_PAGES)
			continue;
		page = alloc_page_desc(GFP_TEST | __GFP_COMP, order,
				       MEMDESC_TYPE_PAGES(NULL));
		KUNIT_ASSERT_NOT_NULL(test, page);
		check_pages(test, page, order, p, true);
		put_page(page);
	}

	KUNIT_EXPECT_NULL(test, alloc_page_desc(GFP_TEST, MAX_PAGE_ORDER + 1,
						test_memdesc(p->type)));
}

/* The type as a constant takes another path for some types. */
static void memdesc_test_constant(struct kunit *test)
{
	struct page *page;

#define TEST_CONSTANT(type, desc)					\
	do {								\
		page = alloc_page_desc(GFP_TEST, 2,			\
				       MEMDESC_TYPE_##type(desc));	\
		KUNIT_ASSERT_NOT_NULL(test, page);			\
		check_pages(test, page, 2, &types[MEMDESC_##type],	\
			    MEMDESC_##type != MEMDESC_PAGES);		\
		free_pages_of(page, 2, MEMDESC_##type);			\
	} while (0)

	TEST_CONSTANT(PAGES, NULL);
	TEST_CONSTANT(FOLIO, NULL);
	TEST_CONSTANT(PTDESC, test_ptdesc(0));
	TEST_CONSTANT(IOPTDESC, &test_descs[0].iopt);
	TEST_CONSTANT(NETMEM, NULL);
#undef TEST_CONSTANT
}

/* Many times more than anybody else may allocate meanwhile. */
#define LEAK_PAGES	(SZ_64M >> PAGE_SHIFT)
#define LEAK_DESCS	16384

static void memdesc_test_no_leak(struct kunit *test)
{
	const struct type_param *p = test->param_value;
	static const unsigned int orders[] = { 0, 1, PAGE_ALLOC_COSTLY_ORDER };
	unsigned long before, after, i;
	struct page *page;
	void *desc;
	int o;

	for (o = 0; o < ARRAY_SIZE(orders); o++) {
		const unsigned int order = orders[o];

		before = global_zone_page_state(NR_FREE_PAGES);
		for (i = 0; i < LEAK_PAGES; i += 1UL << order) {
			page = alloc_page_desc(GFP_TEST, order,
					       test_memdesc(p->type));
			KUNIT_ASSERT_NOT_NULL(test, page);
			free_pages_of(page, order, p->type);
		}
		after = global_zone_page_state(NR_FREE_PAGES);
		KUNIT_EXPECT_GT_MSG(test, after + LEAK_PAGES / 4, before,
				    "order %u", order);
	}
	/* KASAN keeps what was freed for a while, kmemleak's records too. */
	if (!p->own || IS_ENABLED(CONFIG_KASAN))
		return;

	/* And the descriptors, if they are allocations. */
	before = global_node_page_state_snapshot(NR_SLAB_UNRECLAIMABLE_B);
	for (i = 0; i < LEAK_DESCS; i++) {
		desc = __memdesc_alloc_node(GFP_TEST, 0, NUMA_NO_NODE, p->size,
					    p->type);
		KUNIT_ASSERT_NOT_NULL(test, desc);
		free_desc(desc, p->type);
	}
	/* Slabs that became empty wait for a grace period. */
	rcu_barrier();
	after = global_node_page_state_snapshot(NR_SLAB_UNRECLAIMABLE_B);
	/* It is counted in pages. */
	KUNIT_EXPECT_LT(test, after,
			before + LEAK_DESCS / 2 * p->size / PAGE_SIZE);
}

static void typed_on_node(struct kunit *test, int nid)
{
	unsigned int order;

#define TEST_TYPED(name, release, ctype...)				\
	do {								\
		const struct type_param *p = &types[name];		\
		ctype *desc = memdesc_alloc_node(GFP_TEST, order, nid,	\
						 ctype);		\
									\
		KUNIT_ASSERT_NOT_NULL(test, desc);			\
		check_pages(test, desc_page(desc, p->type), order, p,	\
			    true);					\
		release(desc);						\
	} while (0)

	for (order = 0; order <= PAGE_ALLOC_COSTLY_ORDER; order++) {
		TEST_TYPED(MEMDESC_FOLIO, memdesc_put, struct folio);
		TEST_TYPED(MEMDESC_PTDESC, memdesc_free, struct ptdesc);
		TEST_TYPED(MEMDESC_IOPTDESC, memdesc_free, struct ioptdesc);
		TEST_TYPED(MEMDESC_NETMEM, memdesc_put, struct netmem_desc);
	}
#undef TEST_TYPED
}

static void memdesc_test_typed(struct kunit *test)
{
	typed_on_node(test, NUMA_NO_NODE);
	typed_on_node(test, numa_mem_id());
}

static void memdesc_test_wrong_size(struct kunit *test)
{
	const struct type_param *p = test->param_value;
	void *desc;

	kunit_warning_suppress(test) {
		desc = __memdesc_alloc_node(GFP_TEST, 0, NUMA_NO_NODE,
					    p->size + 8, p->type);
		KUNIT_EXPECT_NULL(test, desc);
		desc = __memdesc_alloc_node(GFP_TEST, 0, NUMA_NO_NODE, 0,
					    p->type);
		KUNIT_EXPECT_NULL(test, desc);
		desc = __memdesc_alloc_node(GFP_TEST, 0, NUMA_NO_NODE, p->size,
					    NR_MEMDESC_TYPES);
		KUNIT_EXPECT_NULL(test, desc);
	}

	if (!p->size || p->not_offered)
		return;
	desc = __memdesc_alloc_node(GFP_TEST, 0, NUMA_NO_NODE, p->size,
				    p->type);
	KUNIT_ASSERT_NOT_NULL(test, desc);
	free_desc(desc, p->type);
}

/* Only one allocator can make memory of these types complete. */
static void memdesc_test_not_offered(struct kunit *test)
{
	const memdesc_t refused[] = {
		MEMDESC_TYPE_SLAB(NULL),
		MEMDESC_TYPE_LARGE_KMALLOC(NULL),
		MEMDESC_TYPE_VMALLOC(NULL),
		MEMDESC_TYPE_PERCPU(NULL),
	};

	for (int i = 0; i < ARRAY_SIZE(refused); i++) {
		const memdesc_t md = refused[i];
		const struct type_param *p = &types[memdesc_type(md)];

		kunit_warning_suppress(test) {
			KUNIT_EXPECT_NULL(test, alloc_page_desc(GFP_TEST, 0,
								md));
			KUNIT_EXPECT_NULL(test, alloc_page_desc_node(GFP_TEST,
								     0, 0, md));
			KUNIT_EXPECT_NULL(test, alloc_page_desc_nolock(0, 0, 0,
								       md));
			KUNIT_EXPECT_NULL(test,
					  __memdesc_alloc_node(GFP_TEST, 0, 0,
							       p->size,
							       p->type));
		}
	}

	/* The type as a constant. */
	kunit_warning_suppress(test) {
		KUNIT_EXPECT_NULL(test,
				  alloc_page_desc(GFP_TEST, 0,
						  MEMDESC_TYPE_SLAB(NULL)));
		KUNIT_EXPECT_NULL(test,
				  alloc_page_desc(GFP_TEST, 0,
						  MEMDESC_TYPE_LARGE_KMALLOC(NULL)));
	}
}

/* What the slab allocator allocates has the state that the table says. */
static void memdesc_test_slab_state(struct kunit *test)
{
	static const size_t sizes[] = {
		8, 64, 1024, KMALLOC_MAX_CACHE_SIZE,
		KMALLOC_MAX_CACHE_SIZE + 1, KMALLOC_MAX_CACHE_SIZE << 2,
	};

	for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
		const enum memdesc_type type =
			sizes[i] <= KMALLOC_MAX_CACHE_SIZE ?
			MEMDESC_SLAB : MEMDESC_LARGE_KMALLOC;
		void *mem = kmalloc(sizes[i], GFP_TEST);
		struct page *page;

		/* The pages of kfence are not from the page allocator. */
		if (is_kfence_address(mem)) {
			kfree(mem);
			mem = kmalloc(sizes[i], GFP_TEST);
		}
		KUNIT_ASSERT_NOT_NULL(test, mem);
		page = compound_head(virt_to_page(mem));
		check_pages(test, page, compound_order(page), &types[type],
			    true);
		kfree(mem);
	}
}

/*
 * There is no descriptor before the pages where it overlays them, and there
 * must be one where it does not.
 */
static void memdesc_test_not_null(struct kunit *test)
{
	struct folio *folio = (struct folio *)ZERO_PAGE(0);
	struct ptdesc *ptdesc = OWN_PTDESC ? NULL : (struct ptdesc *)folio;
	const memdesc_t wrong[] = {
		MEMDESC_TYPE_FOLIO(folio),
		MEMDESC_TYPE_PTDESC(ptdesc),
		MEMDESC_TYPE_IOPTDESC(NULL),
	};

	for (int i = 0; i < ARRAY_SIZE(wrong); i++) {
		memdesc_t md = wrong[i];

		kunit_warning_suppress(test) {
			KUNIT_EXPECT_NULL(test, alloc_page_desc(GFP_TEST, 0,
								md));
			KUNIT_EXPECT_NULL(test, alloc_page_desc_node(GFP_TEST,
								     0, 0, md));
			KUNIT_EXPECT_NULL(test, alloc_page_desc_nolock(0, 0, 0,
								       md));
		}
	}
}

/* Descriptors of their own come zeroed and aligned, also when used before. */
static void memdesc_test_own(struct kunit *test)
{
	const size_t head = offsetof(struct ptdesc, pt_list);
	struct ptdesc *ptdesc;
	struct ioptdesc *iopt;

	for (int i = 0; i < 100; i++) {
		iopt = memdesc_alloc_node(GFP_TEST, i % 4, numa_mem_id(),
					  struct ioptdesc);
		KUNIT_ASSERT_NOT_NULL(test, iopt);
		KUNIT_EXPECT_TRUE(test, IS_ALIGNED((unsigned long)iopt, 16));
		KUNIT_EXPECT_EQ(test, iopt->incoherent, 0);
		KUNIT_EXPECT_NULL(test, iopt->iopt_freelist_elm.next);
		KUNIT_EXPECT_NULL(test, iopt->iopt_freelist_elm.prev);
		iopt->incoherent = 0xff;
		INIT_LIST_HEAD(&iopt->iopt_freelist_elm);
		memdesc_free(iopt);
	}

	for (int i = 0; OWN_PTDESC && i < 100; i++) {
		/* The lists of freed page tables have none for a node. */
		ptdesc = memdesc_alloc_node(GFP_TEST, i % 4,
					    i & 4 ? numa_mem_id() :
						    NUMA_NO_NODE,
					    struct ptdesc);
		KUNIT_ASSERT_NOT_NULL(test, ptdesc);
		KUNIT_EXPECT_TRUE(test, IS_ALIGNED((unsigned long)ptdesc, 16));
		KUNIT_EXPECT_EQ(test, ptdesc->pt_flags.f, 0);
		KUNIT_EXPECT_NULL(test, memchr_inv((void *)ptdesc + head, 0,
						   sizeof(*ptdesc) - head));
		memset((void *)ptdesc + head, 0xa5, sizeof(*ptdesc) - head);
		memdesc_free(ptdesc);
	}
}

static void memdesc_test_refcount(struct kunit *test)
{
	const struct type_param *p = test->param_value;
	struct page *page;

	page = alloc_page_desc(GFP_TEST, 1, test_memdesc(p->type));
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, get_page_unless_zero(page), !p->frozen);
	if (p->frozen) {
		free_pages_of(page, 1, p->type);
		return;
	}

	/* Only the last reference takes the memory along, whoever has it. */
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 2);
	if (PageHead(page)) {
		free_pages_of(page, 1, p->type);
		KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
		KUNIT_EXPECT_TRUE(test, PageHead(page));
		put_page(page);
	} else {
		put_page(page);
		free_pages_of(page, 1, p->type);
	}
}

/* Freeing is no way to drop a reference: somebody else may have one, too. */
static void memdesc_test_free_not_put(struct kunit *test)
{
	const struct type_param *p = test->param_value;
	struct page *page;

	if (!is_put(p->type))
		return;
	page = alloc_page_desc(GFP_TEST | __GFP_COMP, 1, test_memdesc(p->type));
	KUNIT_ASSERT_NOT_NULL(test, page);
	kunit_warning_suppress(test)
		free_page_desc(page);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
	KUNIT_EXPECT_TRUE(test, PageHead(page));
	put_page(page);
}

static void memdesc_test_zero(struct kunit *test)
{
	const struct type_param *p = test->param_value;
	struct page *page;
	int i;

	for (i = 0; i < 8; i++) {
		page = alloc_page_desc(GFP_TEST | __GFP_ZERO, 1,
				       test_memdesc(p->type));
		KUNIT_ASSERT_NOT_NULL(test, page);
		KUNIT_EXPECT_NULL(test, memchr_inv(page_address(page), 0,
						   PAGE_SIZE << 1));
		memset(page_address(page), 0xa5, PAGE_SIZE << 1);
		free_pages_of(page, 1, p->type);
	}
}

static void memdesc_test_node(struct kunit *test)
{
	const struct type_param *p = test->param_value;
	const gfp_t gfp = GFP_TEST | __GFP_THISNODE;
	struct page *page;
	void *desc;
	int nid;

	for_each_node_state(nid, N_MEMORY) {
		page = alloc_page_desc_node(gfp, 1, nid, test_memdesc(p->type));
		KUNIT_ASSERT_NOT_NULL(test, page);
		KUNIT_EXPECT_EQ(test, page_to_nid(page), nid);
		check_pages(test, page, 1, p, p->type != MEMDESC_PAGES);
		free_pages_of(page, 1, p->type);

		if (!p->size)
			continue;
		desc = __memdesc_alloc_node(gfp, 1, nid, p->size, p->type);
		KUNIT_ASSERT_NOT_NULL(test, desc);
		KUNIT_EXPECT_EQ(test, page_to_nid(desc_page(desc, p->type)),
				nid);
		free_desc(desc, p->type);
	}

	page = alloc_page_desc_node(GFP_TEST, 0, NUMA_NO_NODE,
				    test_memdesc(p->type));
	KUNIT_ASSERT_NOT_NULL(test, page);
	free_pages_of(page, 0, p->type);
}

static void memdesc_test_nolock(struct kunit *test)
{
	const struct type_param *p = test->param_value;
	unsigned int order;

	for (order = 0; order <= PAGE_ALLOC_COSTLY_ORDER; order++) {
		struct page *page = NULL;
		int tries = 100;

		while (!page && tries--)
			page = alloc_page_desc_nolock(0, order, NUMA_NO_NODE,
						      test_memdesc(p->type));
		KUNIT_ASSERT_NOT_NULL(test, page);
		/* Compound whatever the type. */
		check_pages(test, page, order, p, true);
		KUNIT_EXPECT_NULL(test, memchr_inv(page_address(page), 0,
						   PAGE_SIZE << order));
		free_pages_of(page, order, p->type);
	}
}

#ifdef CONFIG_MEMCG
static void memdesc_test_account(struct kunit *test)
{
	const struct type_param *p = test->param_value;
	struct mem_cgroup *memcg = get_any_memcg(), *old;
	struct page *page, *plain;

	if (!memcg)
		kunit_skip(test, "no memory cgroup but the root");

	old = current->active_memcg;
	current->active_memcg = memcg;
	page = alloc_page_desc(GFP_TEST | __GFP_ACCOUNT, 1,
			       test_memdesc(p->type));
	plain = alloc_page_desc(GFP_TEST, 1, test_memdesc(p->type));
	current->active_memcg = old;

	if (page) {
		KUNIT_EXPECT_TRUE(test, PageMemcgKmem(page));
		free_pages_of(page, 1, p->type);
	}
	if (plain) {
		KUNIT_EXPECT_EQ(test, page_folio(plain)->memcg_data, 0);
		free_pages_of(plain, 1, p->type);
	}
	css_put(&memcg->css);
	KUNIT_EXPECT_NOT_NULL(test, page);
	KUNIT_EXPECT_NOT_NULL(test, plain);
}
#else
static void memdesc_test_account(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MEMCG");
}
#endif

/* page_pool's mark decides, whatever else the page is. */
static void memdesc_test_netmem(struct kunit *test)
{
#ifdef CONFIG_PAGE_POOL
	unsigned int order;

	for (order = 0; order <= PAGE_ALLOC_COSTLY_ORDER; order++) {
		const enum memdesc_type before =
			seen_as(&types[MEMDESC_NETMEM], order);
		struct netmem_desc *nmdesc;
		struct page *page;

		nmdesc = memdesc_alloc_node(GFP_TEST, order, NUMA_NO_NODE,
					    struct netmem_desc);
		KUNIT_ASSERT_NOT_NULL(test, nmdesc);
		page = (struct page *)nmdesc;
		KUNIT_EXPECT_EQ(test, page_memdesc_type(page), before);

		nmdesc->pp_magic |= PP_SIGNATURE;
		page += (1UL << order) - 1;
		KUNIT_EXPECT_EQ(test, page_memdesc_type(page), MEMDESC_NETMEM);
		KUNIT_EXPECT_PTR_EQ(test, memdesc_netmem(page_memdesc(page)),
				    nmdesc);

		nmdesc->pp_magic = 0;
		KUNIT_EXPECT_EQ(test, page_memdesc_type(page), before);
		memdesc_put(nmdesc);
	}
#else
	kunit_skip(test, "needs CONFIG_PAGE_POOL");
#endif
}

static struct kunit_case memdesc_alloc_cases[] = {
	KUNIT_CASE_PARAM(memdesc_test_encode, types_gen_params),
	KUNIT_CASE_PARAM(memdesc_test_alloc_free, offered_gen_params),
	KUNIT_CASE(memdesc_test_constant),
	KUNIT_CASE_PARAM_ATTR(memdesc_test_no_leak, offered_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE(memdesc_test_typed),
	KUNIT_CASE_PARAM(memdesc_test_wrong_size, types_gen_params),
	KUNIT_CASE(memdesc_test_not_offered),
	KUNIT_CASE(memdesc_test_slab_state),
	KUNIT_CASE(memdesc_test_not_null),
	KUNIT_CASE(memdesc_test_own),
	KUNIT_CASE_PARAM(memdesc_test_refcount, offered_gen_params),
	KUNIT_CASE_PARAM(memdesc_test_free_not_put, offered_gen_params),
	KUNIT_CASE_PARAM(memdesc_test_zero, offered_gen_params),
	KUNIT_CASE_PARAM(memdesc_test_node, offered_gen_params),
	KUNIT_CASE_PARAM(memdesc_test_nolock, offered_gen_params),
	KUNIT_CASE_PARAM(memdesc_test_account, offered_gen_params),
	KUNIT_CASE(memdesc_test_netmem),
	{}
};

static struct kunit_suite memdesc_alloc_suite = {
	.name = "memdesc_alloc",
	.test_cases = memdesc_alloc_cases,
};

kunit_test_suite(memdesc_alloc_suite);

MODULE_DESCRIPTION("KUnit tests of memory descriptors");
MODULE_LICENSE("GPL");
