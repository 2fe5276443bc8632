// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of memory descriptors, see Documentation/mm/memdesc.rst.
 */
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/ioptdesc.h>
#include <linux/jiffies.h>
#include <linux/kasan.h>
#include <linux/memcontrol.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>
#include <net/netmem.h>
#include "../../mm/slab.h"
#include "memdesc_kunit.h"

/* Large allocations may fail, and then without a word. */
#define GFP_TEST	(GFP_KERNEL | __GFP_NOWARN | __GFP_RETRY_MAYFAIL)

struct type_param {
	const char *name;
	enum memdesc_type type;
	size_t size;
	unsigned int page_type;
	bool frozen;
	bool rmappable;
	bool own;
};

static const struct type_param types[] = {
	{ "pages", MEMDESC_PAGES },
	{ "folio", MEMDESC_FOLIO, sizeof(struct folio), .rmappable = true },
	{ "slab", MEMDESC_SLAB, sizeof(struct slab), PGTY_slab, true },
	{ "large_kmalloc", MEMDESC_LARGE_KMALLOC, 0, PGTY_large_kmalloc, true },
	{ "ptdesc", MEMDESC_PTDESC, sizeof(struct ptdesc), PGTY_table },
	{ "ioptdesc", MEMDESC_IOPTDESC, sizeof(struct ioptdesc),
	  PGTY_ioptable, true, .own = true },
	{ "netmem", MEMDESC_NETMEM, sizeof(struct netmem_desc) },
};

KUNIT_ARRAY_PARAM_DESC(types, types, name);

/* For pages that are allocated without; no test holds more than two of them. */
static struct ioptdesc test_iopts[2] __aligned(1 << MEMDESC_TYPE_BITS);

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
		return MEMDESC_TYPE_PTDESC(NULL);
	case MEMDESC_IOPTDESC:
		return MEMDESC_TYPE_IOPTDESC(&test_iopts[next++ % 2]);
	default:
		return MEMDESC_TYPE_NETMEM(NULL);
	}
}

/*
 * What compound pages, or a single one, look like to page_memdesc(). What may be
 * a folio is one: without huge pages that is every page without a type.
 */
static enum memdesc_type seen_as(const struct type_param *p, unsigned int order)
{
	if (p->page_type)
		return p->type;
	if (!order || p->rmappable || !IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		return MEMDESC_FOLIO;
	return MEMDESC_PAGES;
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
			p->page_type << 24 : UINT_MAX);
	KUNIT_EXPECT_EQ(test, !!PageHead(page), compound && order);
	KUNIT_EXPECT_TRUE(test, IS_ALIGNED(page_to_pfn(page), nr));
	if (p->own) {
		struct ioptdesc *iopt = page_ioptdesc(page);

		KUNIT_ASSERT_NOT_NULL(test, iopt);
		KUNIT_EXPECT_PTR_EQ(test, iopt->page, page);
		KUNIT_EXPECT_EQ(test, iopt->order, order);
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

static void free_pages_of(struct page *page, unsigned int order,
			  enum memdesc_type type)
{
	/* Not compound: only the caller knows the order. */
	if (type == MEMDESC_PAGES && !PageHead(page))
		__free_pages(page, order);
	else
		free_page_desc(page);
}

static struct page *desc_page(void *desc, enum memdesc_type type)
{
	return type == MEMDESC_IOPTDESC ? ((struct ioptdesc *)desc)->page :
					  desc;
}

static void free_desc(void *desc, enum memdesc_type type)
{
	if (type == MEMDESC_IOPTDESC)
		memdesc_free((struct ioptdesc *)desc);
	else
		free_page_desc(desc);
}

static void memdesc_test_encode(struct kunit *test)
{
	const struct type_param *p = test->param_value;
	memdesc_t md = test_memdesc(p->type);
	struct page *page = virt_to_page(test->priv);

	KUNIT_EXPECT_EQ(test, memdesc_type(md), p->type);
	KUNIT_EXPECT_EQ(test, !memdesc_ptr(md), !p->own);

	md = __memdesc(page, p->type);
	KUNIT_EXPECT_EQ(test, memdesc_type(md), p->type);
	KUNIT_EXPECT_PTR_EQ(test, memdesc_ptr(md), (void *)page);

	KUNIT_EXPECT_STREQ(test, memdesc_type_name(p->type), p->name);
}

/* Each macro makes the type that it is named after, from the right pointer. */
static void memdesc_test_make(struct kunit *test)
{
	struct page *page = virt_to_page(test->priv);
	struct folio *folio = (struct folio *)page;
	struct slab *slab = (struct slab *)page;
	struct ptdesc *ptdesc = page_ptdesc(page);
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
	};
	int i;

	static_assert(ARRAY_SIZE(made) == NR_MEMDESC_TYPES);
	static_assert(ARRAY_SIZE(types) == NR_MEMDESC_TYPES);
	for (i = 0; i < NR_MEMDESC_TYPES; i++) {
		KUNIT_EXPECT_EQ(test, memdesc_type(made[i]), i);
		KUNIT_EXPECT_EQ(test, types[i].type, i);
		KUNIT_EXPECT_PTR_EQ(test, memdesc_ptr(made[i]), (void *)page);
	}
	KUNIT_EXPECT_STREQ(test, memdesc_type_name(NR_MEMDESC_TYPES),
			   "invalid");
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
		free_page_desc(page);
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
	TEST_CONSTANT(SLAB, NULL);
	TEST_CONSTANT(LARGE_KMALLOC, NULL);
	TEST_CONSTANT(PTDESC, NULL);
	TEST_CONSTANT(IOPTDESC, &test_iopts[0]);
	TEST_CONSTANT(NETMEM, NULL);
#undef TEST_CONSTANT
}

/* Many times more than what may go to somebody else meanwhile. */
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
	/* With this, what is freed waits in a quarantine, kmemleak's records too. */
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

#define TEST_TYPED(name, ctype...)					\
	do {								\
		const struct type_param *p = &types[name];		\
		ctype *desc = memdesc_alloc_node(GFP_TEST, order, nid,	\
						 ctype);		\
									\
		KUNIT_ASSERT_NOT_NULL(test, desc);			\
		check_pages(test, desc_page(desc, p->type), order, p,	\
			    true);					\
		memdesc_free(desc);					\
	} while (0)

	for (order = 0; order <= PAGE_ALLOC_COSTLY_ORDER; order++) {
		TEST_TYPED(MEMDESC_FOLIO, struct folio);
		TEST_TYPED(MEMDESC_SLAB, struct slab);
		TEST_TYPED(MEMDESC_PTDESC, struct ptdesc);
		TEST_TYPED(MEMDESC_IOPTDESC, struct ioptdesc);
		TEST_TYPED(MEMDESC_NETMEM, struct netmem_desc);
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

	if (!p->size)
		return;
	desc = __memdesc_alloc_node(GFP_TEST, 0, NUMA_NO_NODE, p->size,
				    p->type);
	KUNIT_ASSERT_NOT_NULL(test, desc);
	free_desc(desc, p->type);
}

/*
 * There is no descriptor before the pages where it overlays them, and there
 * must be one where it does not.
 */
static void memdesc_test_not_null(struct kunit *test)
{
	struct folio *folio = (struct folio *)virt_to_page(test->priv);
	const memdesc_t wrong[] = {
		MEMDESC_TYPE_FOLIO(folio),
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
	struct ioptdesc *iopt;

	for (int i = 0; i < 100; i++) {
		iopt = memdesc_alloc_node(GFP_TEST, i % 4, NUMA_NO_NODE,
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
}

struct lookup {
	struct work_struct work;
	struct page *page;	/* its mem_map is there for good */
	struct kmem_cache *cache;
	bool stop;
	unsigned long seen;
	unsigned long wrong;
};

static struct kmem_cache *desc_cache(void *desc)
{
	struct slab *slab = virt_to_slab(kasan_reset_tag(desc));

	return slab ? slab->slab_cache : NULL;
}

/*
 * Looks the same pages up again and again while another CPU frees them. What the
 * barriers in page_memdesc() are for does not happen on x86; the comment there
 * has the reasoning that no test replaces.
 */
static void lookup_worker(struct work_struct *work)
{
	struct lookup *l = container_of(work, struct lookup, work);

	while (!READ_ONCE(l->stop)) {
		struct page *page = READ_ONCE(l->page);
		memdesc_t md;

		if (!page)
			continue;
		rcu_read_lock();
		md = page_memdesc(page);
		if (memdesc_type(md) == MEMDESC_IOPTDESC) {
			struct ioptdesc *iopt = memdesc_ptr(md);

			l->seen++;
			/* Never NULL, never the next owner's: a descriptor. */
			if (!IS_ALIGNED((unsigned long)iopt, 16) ||
			    !virt_addr_valid(iopt) ||
			    desc_cache(iopt) != l->cache)
				l->wrong++;
		}
		rcu_read_unlock();
		cond_resched();
	}
}

static void memdesc_test_lookup(struct kunit *test)
{
	struct lookup *l = kunit_kzalloc(test, sizeof(*l), GFP_KERNEL);
	struct ioptdesc *iopt;
	unsigned long i, end;
	struct page *page;

	KUNIT_ASSERT_NOT_NULL(test, l);
	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	iopt = memdesc_alloc_node(GFP_TEST, 0, NUMA_NO_NODE, struct ioptdesc);
	KUNIT_ASSERT_NOT_NULL(test, iopt);
	l->cache = desc_cache(iopt);
	memdesc_free(iopt);
	INIT_WORK(&l->work, lookup_worker);
	queue_work(system_unbound_wq, &l->work);

	/* Not so many rounds: one takes a third of a millisecond with KASAN. */
	end = jiffies + 4 * HZ;
	for (i = 0; time_before(jiffies, end) ||
	     (!READ_ONCE(l->seen) && i < 10000000); i++) {
		iopt = memdesc_alloc_node(GFP_TEST, 0, NUMA_NO_NODE,
					  struct ioptdesc);
		if (!iopt)
			break;
		WRITE_ONCE(l->page, iopt->page);
		memdesc_free(iopt);
		/* Most likely the same page, now with something in private. */
		page = alloc_page(GFP_TEST);
		if (!page)
			break;
		set_page_private(page, 0x5a5a);
		set_page_private(page, 0);
		__free_page(page);
		if (!(i % 1024))
			cond_resched();
	}
	WRITE_ONCE(l->stop, true);
	flush_work(&l->work);

	KUNIT_EXPECT_GT(test, l->seen, 0);
	KUNIT_EXPECT_EQ(test, l->wrong, 0);
}

static void memdesc_test_refcount(struct kunit *test)
{
	const struct type_param *p = test->param_value;
	struct page *page;

	page = alloc_page_desc(GFP_TEST, 1, test_memdesc(p->type));
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, get_page_unless_zero(page), !p->frozen);
	if (!p->frozen) {
		KUNIT_EXPECT_EQ(test, page_ref_count(page), 2);
		if (PageHead(page)) {
			/* Only the last reference takes the memory along. */
			free_page_desc(page);
			KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
			KUNIT_EXPECT_TRUE(test, PageHead(page));
		} else {
			put_page(page);
		}
	}
	free_pages_of(page, 1, p->type);
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
	free_page_desc(page);
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
		free_page_desc(page);
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
		KUNIT_EXPECT_PTR_EQ(test, memdesc_ptr(page_memdesc(page)),
				    (void *)nmdesc);

		nmdesc->pp_magic = 0;
		KUNIT_EXPECT_EQ(test, page_memdesc_type(page), before);
		memdesc_free(nmdesc);
	}
#else
	kunit_skip(test, "needs CONFIG_PAGE_POOL");
#endif
}

/*
 * Through the allocators that use memory descriptors: what type their memory
 * has, and that their counters move by what was allocated and back again.
 */
struct user_param {
	const char *name;
	void *(*alloc)(struct page **page);
	void (*free)(void *mem);
	enum memdesc_type type;
	unsigned int order;
	int item;
};

static void *user_kmalloc(struct page **page)
{
	void *mem = kmalloc(64, GFP_TEST);

	*page = mem ? virt_to_page(mem) : NULL;
	return mem;
}

static void *user_large_kmalloc(struct page **page)
{
	void *mem = kmalloc(PAGE_SIZE << 3, GFP_TEST);

	*page = mem ? virt_to_page(mem + PAGE_SIZE * 5) : NULL;
	return mem;
}

static void user_kfree(void *mem)
{
	kfree(mem);
}

static void *user_folio(struct page **page)
{
	struct folio *folio = folio_alloc(GFP_TEST, 0);

	*page = &folio->page;
	return folio;
}

static void *user_large_folio(struct page **page)
{
	struct folio *folio = folio_alloc(GFP_TEST, 2);

	*page = folio ? folio_page(folio, 3) : NULL;
	return folio;
}

static void user_folio_put(void *mem)
{
	folio_put(mem);
}

static void *user_page(struct page **page)
{
	*page = alloc_page(GFP_TEST);
	return *page;
}

static void user_free_page(void *mem)
{
	__free_page(mem);
}

static void *user_compound(struct page **page)
{
	struct page *head = alloc_pages(GFP_TEST | __GFP_COMP, 2);

	*page = head ? head + 3 : NULL;
	return head;
}

static void user_put_page(void *mem)
{
	put_page(mem);
}

#ifdef CONFIG_MMU
static void *user_vmalloc(struct page **page)
{
	void *mem = vmalloc(PAGE_SIZE);

	*page = mem ? vmalloc_to_page(mem) : NULL;
	return mem;
}

static void user_vfree(void *mem)
{
	vfree(mem);
}
#endif

static void *user_pagetable(struct page **page)
{
	struct ptdesc *ptdesc = pagetable_alloc(GFP_TEST, 0);

	*page = ptdesc ? ptdesc_page(ptdesc) : NULL;
	return ptdesc;
}

static void user_pagetable_free(void *mem)
{
	memdesc_free((struct ptdesc *)mem);
}

static void *user_constructed(struct page **page)
{
	struct ptdesc *ptdesc = user_pagetable(page);

	if (ptdesc)
		__pagetable_ctor(ptdesc, PTDESC_PUD);
	return ptdesc;
}

/* pagetable_dtor() but for the lock, whose functions are not exported. */
static void user_destroy(void *mem)
{
	__pagetable_dtor(mem);
	user_pagetable_free(mem);
}

static const struct user_param users[] = {
	{ "kmalloc", user_kmalloc, user_kfree, MEMDESC_SLAB, .item = -1 },
	{ "large kmalloc", user_large_kmalloc, user_kfree,
	  MEMDESC_LARGE_KMALLOC, 3, .item = NR_SLAB_UNRECLAIMABLE_B },
	{ "folio", user_folio, user_folio_put, MEMDESC_FOLIO, .item = -1 },
	{ "large folio", user_large_folio, user_folio_put, MEMDESC_FOLIO, 2,
	  .item = -1 },
	{ "page", user_page, user_free_page, MEMDESC_FOLIO, .item = -1 },
	{ "compound page", user_compound, user_put_page, MEMDESC_PAGES, 2,
	  .item = -1 },
#ifdef CONFIG_MMU
	{ "vmalloc", user_vmalloc, user_vfree, MEMDESC_FOLIO,
	  .item = NR_VMALLOC },
#endif
	{ "page table", user_pagetable, user_pagetable_free, MEMDESC_PTDESC,
	  .item = -1 },
	{ "constructed page table", user_constructed, user_destroy,
	  MEMDESC_PTDESC, .item = NR_PAGETABLE },
};

KUNIT_ARRAY_PARAM_DESC(users, users, name);

static long node_stat(int item)
{
	return item < 0 ? 0 : global_node_page_state_snapshot(item);
}

static void memdesc_test_user(struct kunit *test)
{
	const struct user_param *u = test->param_value;
	const long pages = u->item < 0 ? 0 : 1L << u->order;
	long before, during, after;
	enum memdesc_type type;
	struct page *page;
	void *mem;
	int tries = 20;

	/* Others move the same counters; once it must come out even. */
	do {
		before = node_stat(u->item);
		mem = u->alloc(&page);
		KUNIT_ASSERT_NOT_NULL(test, mem);
		during = node_stat(u->item);
		type = page_memdesc_type(page);
		u->free(mem);
		after = node_stat(u->item);

		KUNIT_ASSERT_EQ(test, type,
				IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) ||
				u->type != MEMDESC_PAGES ? u->type :
				MEMDESC_FOLIO);
	} while ((during - before != pages || before != after) && --tries);

	KUNIT_EXPECT_EQ(test, during - before, pages);
	KUNIT_EXPECT_EQ(test, after, before);
}

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

	/* For who still has a reference it is a page like any other. */
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

static int memdesc_test_init(struct kunit *test)
{
	/* Only to have a struct page of allocated memory at hand. */
	test->priv = (void *)__get_free_page(GFP_KERNEL);
	return test->priv ? 0 : -ENOMEM;
}

static void memdesc_test_exit(struct kunit *test)
{
	free_page((unsigned long)test->priv);
}

static struct kunit_case memdesc_test_cases[] = {
	KUNIT_CASE_PARAM(memdesc_test_encode, types_gen_params),
	KUNIT_CASE(memdesc_test_make),
	KUNIT_CASE_PARAM(memdesc_test_alloc_free, types_gen_params),
	KUNIT_CASE(memdesc_test_constant),
	KUNIT_CASE_PARAM_ATTR(memdesc_test_no_leak, types_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE(memdesc_test_typed),
	KUNIT_CASE_PARAM(memdesc_test_wrong_size, types_gen_params),
	KUNIT_CASE(memdesc_test_not_null),
	KUNIT_CASE(memdesc_test_own),
	KUNIT_CASE(memdesc_test_lookup),
	KUNIT_CASE_PARAM(memdesc_test_refcount, types_gen_params),
	KUNIT_CASE_PARAM(memdesc_test_zero, types_gen_params),
	KUNIT_CASE_PARAM(memdesc_test_node, types_gen_params),
	KUNIT_CASE_PARAM(memdesc_test_nolock, types_gen_params),
	KUNIT_CASE_PARAM(memdesc_test_account, types_gen_params),
	KUNIT_CASE(memdesc_test_netmem),
	KUNIT_CASE_PARAM(memdesc_test_user, users_gen_params),
	KUNIT_CASE(memdesc_test_ptdesc),
	{}
};

static struct kunit_suite memdesc_test_suite = {
	.name = "memdesc",
	.init = memdesc_test_init,
	.exit = memdesc_test_exit,
	.test_cases = memdesc_test_cases,
};

kunit_test_suite(memdesc_test_suite);

MODULE_DESCRIPTION("KUnit tests of memory descriptors");
MODULE_LICENSE("GPL");
