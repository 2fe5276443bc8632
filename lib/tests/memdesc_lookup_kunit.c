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
#include <linux/kernel-page-flags.h>
#include <linux/kmsg_dump.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#include <net/netmem.h>
#include "../../mm/slab.h"
#include "memdesc_kunit.h"

/* More than the first chunk can have: half a page each. */
#define PERCPU_TEST_AREAS	4096

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

/* Not the first page of a block that vmalloc() has split. */
static void *user_vmalloc_large(struct page **page)
{
	void *mem = vmalloc(PAGE_SIZE * 8);

	*page = mem ? vmalloc_to_page(mem + PAGE_SIZE * 5) : NULL;
	return mem;
}

static void user_vfree(void *mem)
{
	vfree(mem);
}
#endif

static void *user_ioptdesc(struct page **page)
{
	struct ioptdesc *iopt = memdesc_alloc_node(GFP_TEST, 1, NUMA_NO_NODE,
						   struct ioptdesc);

	*page = iopt ? iopt->page + 1 : NULL;
	return iopt;
}

static void user_ioptdesc_free(void *mem)
{
	memdesc_free((struct ioptdesc *)mem);
}

#ifdef CONFIG_PAGE_POOL
/* A page as it is while a page pool has it. */
static void *user_netmem(struct page **page)
{
	struct netmem_desc *nmdesc = memdesc_alloc_netmem(GFP_TEST, 1,
							  NUMA_NO_NODE);

	*page = (struct page *)nmdesc;
	if (nmdesc)
		nmdesc->pp_magic = PP_SIGNATURE;
	return nmdesc;
}

static void user_netmem_free(void *mem)
{
	((struct netmem_desc *)mem)->pp_magic = 0;
	__free_pages(mem, 1);
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
	{ "vmalloc", user_vmalloc, user_vfree, MEMDESC_VMALLOC,
	  .item = NR_VMALLOC },
	{ "large vmalloc", user_vmalloc_large, user_vfree, MEMDESC_VMALLOC, 3,
	  .item = NR_VMALLOC },
#endif
	{ "ioptdesc", user_ioptdesc, user_ioptdesc_free, MEMDESC_IOPTDESC, 1,
	  .item = -1 },
#ifdef CONFIG_PAGE_POOL
	{ "page pool", user_netmem, user_netmem_free, MEMDESC_NETMEM, 1,
	  .item = -1 },
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

#ifdef CONFIG_MMU
/* A page that somebody has a reference to is not vmalloc()'s after vfree(). */
static void memdesc_test_vmalloc_gone(struct kunit *test)
{
	void *mem = vmalloc(PAGE_SIZE * 8), *smaller;
	struct page *first, *last;

	KUNIT_ASSERT_NOT_NULL(test, mem);
	first = vmalloc_to_page(mem);
	last = vmalloc_to_page(mem + PAGE_SIZE * 7);
	get_page(first);
	get_page(last);
	KUNIT_EXPECT_EQ(test, page_memdesc_type(last), MEMDESC_VMALLOC);
	KUNIT_EXPECT_PTR_EQ(test, memdesc_page(page_memdesc(last)), last);

	smaller = vrealloc(mem, PAGE_SIZE, GFP_KERNEL);
	KUNIT_EXPECT_PTR_EQ(test, smaller, mem);
	KUNIT_EXPECT_EQ(test, page_memdesc_type(first), MEMDESC_VMALLOC);
	/* vrealloc() may keep what it does not need. */
	if (page_ref_count(last) == 1)
		KUNIT_EXPECT_EQ(test, page_memdesc_type(last), MEMDESC_FOLIO);

	vfree(smaller);
	KUNIT_EXPECT_EQ(test, page_memdesc_type(first), MEMDESC_FOLIO);
	KUNIT_EXPECT_EQ(test, page_memdesc_type(last), MEMDESC_FOLIO);
	put_page(first);
	put_page(last);
}

/* A page that only lies in an area of vmalloc space stays what it was. */
static void memdesc_test_vmap(struct kunit *test)
{
	struct page *page = alloc_page(GFP_TEST);
	void *mem;

	KUNIT_ASSERT_NOT_NULL(test, page);
	mem = vmap(&page, 1, VM_MAP, PAGE_KERNEL);
	KUNIT_EXPECT_NOT_NULL(test, mem);
	KUNIT_EXPECT_EQ(test, page_memdesc_type(page), MEMDESC_FOLIO);
	vunmap(mem);
	__free_page(page);
}
#endif

/* What dump_page() says about the type of @page. */
static void check_dump(struct kunit *test, const struct page *page,
		       const char *want)
{
	struct kmsg_dump_iter iter;
	char line[256];
	size_t len;

	kmsg_dump_rewind(&iter);
	iter.cur_seq = iter.next_seq;
	dump_page(page, "memdesc_lookup");

	while (kmsg_dump_get_line(&iter, false, line, sizeof(line) - 1, &len)) {
		line[len] = '\0';
		if (strstr(line, want))
			return;
	}
	KUNIT_FAIL(test, "dump_page() does not say \"%s\"", want);
}

/* The order is that of the whole allocation, whichever page of it is dumped. */
static void memdesc_test_dump(struct kunit *test)
{
	const struct user_param *u = test->param_value;
	const char *name = memdesc_type_name(u->type);
	struct page *page;
	char want[64];
	void *mem;

	if (!IS_ENABLED(CONFIG_PRINTK))
		kunit_skip(test, "no log");
	if (u->type == MEMDESC_FOLIO || u->type == MEMDESC_PAGES) {
		if (!u->order || !IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
			name = "folio or page";
	}
	mem = u->alloc(&page);
	KUNIT_ASSERT_NOT_NULL(test, mem);
	snprintf(want, sizeof(want), "memdesc: %s order:%u%s", name,
		 compound_order(compound_head(page)),
		 u->type == MEMDESC_IOPTDESC ? " descriptor:" : "");
	check_dump(test, page, want);
	u->free(mem);
}

#ifdef CONFIG_PROC_PAGE_MONITOR
static u64 kpf_of(enum memdesc_type type)
{
	static const u8 bits[NR_MEMDESC_TYPES] = {
		[MEMDESC_SLAB]		= KPF_SLAB,
		[MEMDESC_LARGE_KMALLOC]	= KPF_LARGE_KMALLOC,
		[MEMDESC_PTDESC]	= KPF_PGTABLE,
		[MEMDESC_IOPTDESC]	= KPF_IOPTABLE,
		[MEMDESC_NETMEM]	= KPF_PAGE_POOL,
		[MEMDESC_VMALLOC]	= KPF_VMALLOC,
		[MEMDESC_PERCPU]	= KPF_PERCPU,
	};

	return bits[type] ? BIT_ULL(bits[type]) : 0;
}

/* /proc/kpageflags has the flag of the type and of no other type. */
static void memdesc_test_kpageflags(struct kunit *test)
{
	const struct user_param *u = test->param_value;
	struct page *page;
	u64 kinds = 0;
	void *mem;

	for (int type = 0; type < NR_MEMDESC_TYPES; type++)
		kinds |= kpf_of(type);
	mem = u->alloc(&page);
	KUNIT_ASSERT_NOT_NULL(test, mem);
	KUNIT_EXPECT_EQ(test, stable_page_flags(page) & kinds, kpf_of(u->type));
	u->free(mem);
}
#endif

static void memdesc_test_dump_folio(struct kunit *test)
{
	struct address_space *mapping;
	struct folio *folio;

	if (!IS_ENABLED(CONFIG_PRINTK))
		kunit_skip(test, "no log");
	mapping = kunit_kzalloc(test, sizeof(*mapping), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mapping);
	folio = folio_alloc(GFP_TEST, 0);
	KUNIT_ASSERT_NOT_NULL(test, folio);

	folio->mapping = mapping;
	check_dump(test, &folio->page, "memdesc: file folio order:0");
	folio->mapping = (void *)FOLIO_MAPPING_ANON;
	check_dump(test, &folio->page, "memdesc: anon folio order:0");
	folio->mapping = NULL;
	folio_put(folio);
}

/* Percpu areas until one is of a chunk that was made after boot. */
static void memdesc_test_percpu(struct kunit *test)
{
	void __percpu **areas;
	struct page *page;
	int nr = 0;

	areas = kunit_kcalloc(test, PERCPU_TEST_AREAS, sizeof(*areas), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, areas);
	for (; nr < PERCPU_TEST_AREAS; nr++) {
		void *mem;

		areas[nr] = __alloc_percpu(PAGE_SIZE / 2, 8);
		if (!areas[nr])
			break;
		mem = per_cpu_ptr(areas[nr], raw_smp_processor_id());
		/* The first chunk is in the direct map, or embedded there. */
		page = is_vmalloc_addr(mem) ? vmalloc_to_page(mem) :
					      virt_to_page(mem);
		if (page_memdesc_type(page) == MEMDESC_PERCPU) {
			KUNIT_EXPECT_PTR_EQ(test, page,
					    memdesc_page(page_memdesc(page)));
			break;
		}
		/* Else it is of the first chunk. */
		KUNIT_EXPECT_TRUE(test, PageReserved(page));
	}
	KUNIT_EXPECT_TRUE(test, nr < PERCPU_TEST_AREAS && areas[nr]);
	for (; nr >= 0; nr--)
		free_percpu(areas[nr]);
}

static struct kunit_case memdesc_lookup_cases[] = {
	KUNIT_CASE(memdesc_test_percpu),
	KUNIT_CASE_PARAM(memdesc_test_lookup, own_gen_params),
	KUNIT_CASE_PARAM(memdesc_test_user, users_gen_params),
	KUNIT_CASE_PARAM(memdesc_test_dump, users_gen_params),
	KUNIT_CASE(memdesc_test_dump_folio),
#ifdef CONFIG_PROC_PAGE_MONITOR
	KUNIT_CASE_PARAM(memdesc_test_kpageflags, users_gen_params),
#endif
#ifdef CONFIG_MMU
	KUNIT_CASE(memdesc_test_vmalloc_gone),
	KUNIT_CASE(memdesc_test_vmap),
#endif
	{}
};

static struct kunit_suite memdesc_lookup_suite = {
	.name = "memdesc_lookup",
	.test_cases = memdesc_lookup_cases,
};

kunit_test_suite(memdesc_lookup_suite);
