// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the per-CPU lists of freed memory descriptors: whose memory it
 * is. Whoever uses a table pays for it. What the lists hold belongs to nobody.
 */
#include <kunit/test.h>
#include <linux/atomic.h>
#include <linux/cgroup.h>
#include <linux/gfp.h>
#include <linux/kasan.h>
#include <linux/kexec_handover.h>
#include <linux/kfence.h>
#include <linux/kho_memdesc.h>
#include <linux/memcontrol.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include "../../drivers/iommu/iommu-pages.h"
#include "../../mm/memdesc.h"
#include "memdesc_cache_kunit.h"
#include "memdesc_kunit.h"

/* A descriptor of its own goes with the pages, and not before. */
static void cache_descriptor(struct kunit *test)
{
#ifdef CONFIG_KEXEC_HANDOVER
	const struct cache_param *p = test->param_value;
	struct kmem_cache *s;
	struct slab *slab;
	void *virt, *desc;

	if (!memdesc_table[p->type].own)
		kunit_skip(test, "overlays struct page");
	/* What kfence guards is free only after a grace period. */
	for (int tries = 0; tries < 10; tries++) {
		virt = must_get(test, p, GFP_TEST);
		desc = kasan_reset_tag(own_desc(p, virt_to_page(virt)));
		if (!is_kfence_address(desc))
			break;
		put_table(p, virt);
		memdesc_cache_drain(true);
		virt = NULL;
	}
	if (!virt)
		kunit_skip(test, "kfence guards each descriptor");
	slab = virt_to_slab(desc);
	KUNIT_ASSERT_NOT_NULL(test, slab);
	s = slab->slab_cache;
	put_table(p, virt);
	KUNIT_EXPECT_FALSE(test, slab_object_is_free(s, slab, desc));

	memdesc_cache_drain(true);
	/* Or all of the slab is free, and gone. */
	slab = virt_to_slab(desc);
	KUNIT_EXPECT_TRUE(test, !slab || slab->slab_cache != s ||
			  slab_object_is_free(s, slab, desc));
#else
	kunit_skip(test, "needs CONFIG_KEXEC_HANDOVER");
#endif
}

/* What is held belongs to nobody, and nobody can hand it over. */
static void cache_preserve(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	void *virt = must_get(test, p, GFP_TEST);
	struct page *page = virt_to_page(virt);
	struct ioptdesc *iopt = NULL;
	struct ptdesc *pt = NULL;
	int err;

	if (!IS_ENABLED(CONFIG_KEXEC_HANDOVER) || !kho_is_enabled()) {
		put_table(p, virt);
		kunit_skip(test, "needs kho=on");
	}
	if (p->type == MEMDESC_IOPTDESC)
		iopt = page_ioptdesc(page);
	else
		pt = page_ptdesc(page);
	put_table(p, virt);
	expect_held(test, page);

	if (iopt) {
		KUNIT_EXPECT_EQ(test, kho_ioptdesc_preserve(iopt), -EINVAL);
		KUNIT_EXPECT_EQ(test, iommu_preserve_pages(virt), -EINVAL);
	} else {
		KUNIT_EXPECT_EQ(test, kho_ptdesc_preserve(pt), -EINVAL);
	}
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, p->order), -EINVAL);
	err = kho_folio_preserve((struct folio *)page);
	KUNIT_EXPECT_EQ(test, err, -EINVAL);
	memdesc_cache_drain(true);
}

/* Somebody else has a reference: the memory is his, not to be held. */
static void cache_reference(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();
	struct page *page;
	void *virt;

	if (memdesc_table[p->type].frozen)
		kunit_skip(test, "has no reference count");
	virt = must_get(test, p, GFP_TEST);
	page = virt_to_page(virt);
	get_page(page);
	put_table(p, virt);
	expect_counters(test, p, before, 0, 0);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
	put_page(page);
	expect_counters(test, p, before, 0, 0);
}

#ifdef CONFIG_MEMCG
/* Pages of IOMMU page tables, as the memcg counts them. */
static long memcg_tables(struct mem_cgroup *memcg)
{
	css_rstat_flush(&memcg->css);
	return memcg_page_state(memcg, NR_SECONDARY_PAGETABLE);
}

/* A memcg pays for what it uses and not for what is held. */
static void cache_account(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();
	struct mem_cgroup *memcg = get_any_memcg(), *old;
	const long nr = p->type == MEMDESC_IOPTDESC ? nr_pages(p) : 0;
	struct page *page, *held;
	long tables;
	void *virt;

	if (!memcg)
		kunit_skip(test, "no memory cgroup but the root");
	tables = memcg_tables(memcg);
	virt = must_get(test, p, GFP_TEST);
	held = virt_to_page(virt);
	put_table(p, virt);

	old = current->active_memcg;
	current->active_memcg = memcg;
	virt = must_get(test, p, GFP_TEST | __GFP_ACCOUNT);
	current->active_memcg = old;
	page = virt_to_page(virt);
	KUNIT_EXPECT_PTR_EQ(test, page, held);
	KUNIT_EXPECT_TRUE(test, PageMemcgKmem(page));
	expect_counters(test, p, before, nr_pages(p), 0);
	KUNIT_EXPECT_EQ(test, memcg_tables(memcg), tables + nr);
	put_table(p, virt);
	KUNIT_EXPECT_EQ(test, page->memcg_data, 0);
	expect_counters(test, p, before, 0, nr_pages(p));
	KUNIT_EXPECT_EQ(test, memcg_tables(memcg), tables);

	virt = must_get(test, p, GFP_TEST);
	KUNIT_EXPECT_PTR_EQ(test, virt_to_page(virt), held);
	KUNIT_EXPECT_EQ(test, held->memcg_data, 0);
	put_table(p, virt);
	memdesc_cache_drain(true);
	expect_counters(test, p, before, 0, 0);
	css_put(&memcg->css);
}

static void *get_charged(const struct cache_param *p, struct mem_cgroup *memcg)
{
	struct mem_cgroup *old = current->active_memcg;
	void *virt;

	current->active_memcg = memcg;
	virt = get_table(p, GFP_KERNEL | __GFP_ACCOUNT | __GFP_NOWARN |
			    __GFP_NORETRY);
	current->active_memcg = old;
	return virt;
}

/* How often the limit is hit by a page table that the memcg cannot have. */
static long limit_hit(struct kunit *test, const struct cache_param *p,
		      struct mem_cgroup *memcg)
{
	atomic_long_t *hit = &memcg->memory_events[MEMCG_MAX];
	const long before = atomic_long_read(hit);
	void *virt = get_charged(p, memcg);

	KUNIT_EXPECT_NULL(test, virt);
	if (virt)
		put_table(p, virt);
	return atomic_long_read(hit) - before;
}

/* A page table that a memcg must not have is asked for once, held or not. */
static void cache_charge(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();
	struct mem_cgroup *memcg;
	unsigned long max;
	void *virt[65];
	long off, on;
	int n = 0;

	memcg = get_any_memcg();
	if (!memcg)
		kunit_skip(test, "no memory cgroup but the root");

	max = xchg(&memcg->memory.max, 0);
	memdesc_cache_enable(false);
	/* Some may have been paid for in advance. */
	while (n < ARRAY_SIZE(virt) - 1 && (virt[n] = get_charged(p, memcg)))
		n++;
	off = limit_hit(test, p, memcg);
	memdesc_cache_enable(true);
	virt[n] = get_table(p, GFP_TEST);
	if (virt[n])
		put_table(p, virt[n]);
	on = limit_hit(test, p, memcg);
	WRITE_ONCE(memcg->memory.max, max);
	while (n--)
		put_table(p, virt[n]);

	KUNIT_EXPECT_GT(test, off, 0);
	KUNIT_EXPECT_EQ(test, on, off);
	memdesc_cache_drain(true);
	expect_counters(test, p, before, 0, 0);
	css_put(&memcg->css);
}
#else
static void cache_account(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MEMCG");
}

static void cache_charge(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MEMCG");
}
#endif

static struct kunit_case cache_owner_cases[] = {
	KUNIT_CASE_PARAM(cache_descriptor, params_gen_params),
	KUNIT_CASE_PARAM(cache_preserve, params_gen_params),
	KUNIT_CASE_PARAM(cache_reference, params_gen_params),
	KUNIT_CASE_PARAM(cache_account, params_gen_params),
	KUNIT_CASE_PARAM(cache_charge, params_gen_params),
	{}
};

static struct kunit_suite cache_owner_suite = {
	.name		= "memdesc_cache_owner",
	.suite_init	= cache_suite_init,
	.suite_exit	= cache_suite_exit,
	.init		= cache_init,
	.exit		= cache_exit,
	.test_cases	= cache_owner_cases,
};

kunit_test_suite(cache_owner_suite);
