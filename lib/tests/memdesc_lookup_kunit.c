// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of memory descriptors, see Documentation/mm/memdesc.rst: look up
 * memory of any allocator, also while another CPU frees it.
 */
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/ioptdesc.h>
#include <linux/jiffies.h>
#include <linux/kasan.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#include "../../mm/slab.h"
#include "memdesc_kunit.h"

struct lookup {
	struct work_struct work;
	struct page *page;	/* its mem_map is there for good */
	struct kmem_cache *cache;
	enum memdesc_type type;
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
 * Looks the same pages up again and again while another CPU frees them. What
 * the barriers in page_memdesc() prevent does not happen on x86. The comment
 * there has the reasoning, which no test replaces.
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
		if (memdesc_type(md) == l->type) {
			void *desc = memdesc_ptr(md);

			l->seen++;
			/* Never NULL or the next owner's, but a descriptor. */
			if (!IS_ALIGNED((unsigned long)desc, 16) ||
			    !virt_addr_valid(desc) ||
			    desc_cache(desc) != l->cache)
				l->wrong++;
		}
		rcu_read_unlock();
		cond_resched();
	}
}

/* The types whose descriptors are allocations of their own. */
static const enum memdesc_type own_types[] = {
	MEMDESC_IOPTDESC,
	MEMDESC_PTDESC,
};

static const void *own_gen_params(struct kunit *test, const void *prev,
				  char *desc)
{
	const enum memdesc_type *type = prev;

	type = type ? type + 1 : own_types;
	if (type == own_types + ARRAY_SIZE(own_types) ||
	    (*type == MEMDESC_PTDESC && !OWN_PTDESC))
		return NULL;
	strscpy(desc, memdesc_type_name(*type), KUNIT_PARAM_DESC_SIZE);
	return type;
}

static void *alloc_own(enum memdesc_type type, struct page **page)
{
	struct ptdesc *ptdesc;
	struct ioptdesc *iopt;

	if (type == MEMDESC_PTDESC) {
		ptdesc = memdesc_alloc_node(GFP_TEST, 0, NUMA_NO_NODE,
					    struct ptdesc);
		*page = ptdesc ? ptdesc_page(ptdesc) : NULL;
		return ptdesc;
	}
	iopt = memdesc_alloc_node(GFP_TEST, 0, NUMA_NO_NODE, struct ioptdesc);
	*page = iopt ? iopt->page : NULL;
	return iopt;
}

static void free_own(enum memdesc_type type, void *desc)
{
	if (type == MEMDESC_PTDESC)
		memdesc_free((struct ptdesc *)desc);
	else
		memdesc_free((struct ioptdesc *)desc);
}

static void memdesc_test_lookup(struct kunit *test)
{
	const enum memdesc_type type =
		*(const enum memdesc_type *)test->param_value;
	struct lookup *l = kunit_kzalloc(test, sizeof(*l), GFP_KERNEL);
	unsigned long i, end;
	struct page *page;
	void *desc;

	KUNIT_ASSERT_NOT_NULL(test, l);
	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	desc = alloc_own(type, &page);
	KUNIT_ASSERT_NOT_NULL(test, desc);
	l->type = type;
	l->cache = desc_cache(desc);
	free_own(type, desc);
	INIT_WORK(&l->work, lookup_worker);
	queue_work(system_unbound_wq, &l->work);

	/* Not so many rounds: one takes a third of a millisecond with KASAN. */
	end = jiffies + 4 * HZ;
	for (i = 0; time_before(jiffies, end) ||
	     (!READ_ONCE(l->seen) && i < 10000000); i++) {
		desc = alloc_own(type, &page);
		if (!desc)
			break;
		WRITE_ONCE(l->page, page);
		/* Lists of freed page tables do not keep a page with this flag. */
		__folio_mark_uptodate(page_folio(page));
		free_own(type, desc);
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

/*
 * An allocator that uses memory descriptors. Its memory has to be of @type. Its
 * counter @item (-1: none) has to move by the allocated pages, and back again.
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

static struct kunit_case memdesc_lookup_cases[] = {
	KUNIT_CASE_PARAM(memdesc_test_lookup, own_gen_params),
	KUNIT_CASE_PARAM(memdesc_test_user, users_gen_params),
	{}
};

static struct kunit_suite memdesc_lookup_suite = {
	.name = "memdesc_lookup",
	.test_cases = memdesc_lookup_cases,
};

kunit_test_suite(memdesc_lookup_suite);
