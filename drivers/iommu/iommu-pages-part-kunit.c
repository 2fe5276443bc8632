// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of IOMMU tables that are smaller than a page. While they run, at
 * boot, nobody else has such tables.
 */
#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/cgroup.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/fault-inject.h>
#include <linux/gfp.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/prandom.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/topology.h>
#include <linux/vmstat.h>

#include "iommu-pages.h"
#include "iommu-pages-part.h"

#define GFP_TEST	(GFP_KERNEL | __GFP_NOWARN | __GFP_RETRY_MAYFAIL)

/* All allocations ask for the same node, wherever the tests run. */
static int home;

/* Secondary page tables that are not counted as IOMMU pages: those of KVM. */
static long others;

static long count_pages(void)
{
	return global_node_page_state_snapshot(NR_IOMMU_PAGES);
}

static long count_others(void)
{
	return global_node_page_state_snapshot(NR_SECONDARY_PAGETABLE) -
	       count_pages();
}

static int iommu_part_suite_init(struct kunit_suite *suite)
{
	others = count_others();
	home = numa_mem_id();
	return 0;
}

/* Pages are counted, in both counters, and parts are not. */
static void expect_pages(struct kunit *test, long before, long nr_pages)
{
	KUNIT_EXPECT_EQ(test, count_pages() - before, nr_pages);
	KUNIT_EXPECT_EQ(test, count_others(), others);
}

static void *get_part(struct kunit *test, size_t size)
{
	void *virt = iommu_alloc_pages_node_sz(home, GFP_TEST, size);

	KUNIT_ASSERT_NOT_NULL(test, virt);
	return virt;
}

static bool same_page(void *a, void *b)
{
	return virt_to_page(a) == virt_to_page(b);
}

/* All parts of three pages, in use at once, and freed in another order. */
static void test_size(struct kunit *test, size_t asked, size_t size)
{
	const unsigned int per_page = PAGE_SIZE / size, nr = 3 * per_page;
	const long before = count_pages();
	u8 **virt = kunit_kcalloc(test, nr, sizeof(*virt), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, virt);
	for (unsigned int i = 0; i < nr; i++) {
		struct ioptdesc *iopt, *whole;

		virt[i] = get_part(test, asked);
		iopt = virt_to_ioptdesc(virt[i]);
		whole = page_ioptdesc(virt_to_page(virt[i]));

		expect_pages(test, before, i / per_page + 1);
		KUNIT_EXPECT_TRUE(test, IS_ALIGNED(virt_to_phys(virt[i]), size));
		KUNIT_EXPECT_NULL(test, memchr_inv(virt[i], 0, size));
		KUNIT_EXPECT_PTR_EQ(test, ioptdesc_address(iopt),
				    (void *)virt[i]);
		KUNIT_EXPECT_PTR_EQ(test, virt_to_ioptdesc(virt[i] + size - 1),
				    iopt);
		KUNIT_EXPECT_PTR_EQ(test, iopt->page, virt_to_page(virt[i]));
		KUNIT_EXPECT_EQ(test, iopt->incoherent, 0);
		KUNIT_EXPECT_NULL(test, iopt->iopt_freelist_elm.prev);
		/* Memory management knows the page and nothing of the parts. */
		KUNIT_EXPECT_PTR_NE(test, iopt, whole);
		KUNIT_EXPECT_PTR_EQ(test, whole->page, virt_to_page(virt[i]));
		KUNIT_EXPECT_PTR_EQ(test,
				    memdesc_ioptdesc(page_memdesc(whole->page)),
				    whole);
		memset(virt[i], i + 1, size);
	}

	for (unsigned int i = 0; i < nr; i++) {
		/* 5 is coprime to the number of parts, 3 times a power of 2. */
		const unsigned int k = i * 5 % nr;

		KUNIT_EXPECT_NULL(test, memchr_inv(virt[k], k + 1, size));
		iommu_free_pages(virt[k]);
	}
	expect_pages(test, before, 0);
}

static void iommu_part_life(struct kunit *test)
{
	for (size_t size = IOMMU_MIN_PART; size < PAGE_SIZE; size *= 2) {
		test_size(test, size, size);
		test_size(test, size / 2 + 1, size);
	}
	test_size(test, 1, IOMMU_MIN_PART);
}

/* From this size on each table is a page. */
static void iommu_part_whole(struct kunit *test)
{
	const long before = count_pages();
	void *a = get_part(test, PAGE_SIZE / 2 + 1);
	void *b = get_part(test, PAGE_SIZE / 2);
	void *c = get_part(test, PAGE_SIZE);
	void *d = get_part(test, PAGE_SIZE / 2);

	KUNIT_EXPECT_TRUE(test, PAGE_ALIGNED(a));
	KUNIT_EXPECT_PTR_EQ(test, virt_to_ioptdesc(a),
			    page_ioptdesc(virt_to_page(a)));
	KUNIT_EXPECT_TRUE(test, same_page(b, d));
	expect_pages(test, before, 3);
	iommu_free_pages(b);
	iommu_free_pages(a);
	expect_pages(test, before, 2);
	iommu_free_pages(d);
	iommu_free_pages(c);
	expect_pages(test, before, 0);
}

/* A freed part is found again, cleared, and its neighbours do not notice. */
static void iommu_part_reuse(struct kunit *test)
{
	const size_t size = PAGE_SIZE / 4;
	const long before = count_pages();
	u8 *virt[8], *freed;

	for (int i = 0; i < ARRAY_SIZE(virt); i++) {
		virt[i] = get_part(test, size);
		memset(virt[i], 0xa0 + i, size);
	}
	for (int i = 0; i < ARRAY_SIZE(virt); i++) {
		freed = virt[i];
		iommu_free_pages(virt[i]);
		virt[i] = get_part(test, size);
		KUNIT_EXPECT_PTR_EQ(test, virt[i], freed);
		KUNIT_EXPECT_NULL(test, memchr_inv(virt[i], 0, size));
		memset(virt[i], 0xa0 + i, size);
		for (int k = 0; k < ARRAY_SIZE(virt); k++)
			KUNIT_EXPECT_NULL(test,
					  memchr_inv(virt[k], 0xa0 + k, size));
	}
	expect_pages(test, before, 2);
	for (int i = 0; i < ARRAY_SIZE(virt); i++)
		iommu_free_pages(virt[i]);
	expect_pages(test, before, 0);
}

/* What must not share a page: other sizes, zones, nodes. */
static void iommu_part_keys(struct kunit *test)
{
	const size_t size = PAGE_SIZE / 8;
	const long before = count_pages();
	void *plain = get_part(test, size), *other, *virt;
	int nid;

	other = get_part(test, size * 2);
	KUNIT_EXPECT_FALSE(test, same_page(plain, other));
	iommu_free_pages(other);

	/* Flags that do not select memory make no difference. */
	virt = iommu_alloc_pages_node_sz(home, GFP_NOWAIT | __GFP_ZERO |
					 __GFP_COMP, size);
	KUNIT_ASSERT_NOT_NULL(test, virt);
	KUNIT_EXPECT_TRUE(test, same_page(plain, virt));
	iommu_free_pages(virt);

	virt = iommu_alloc_pages_node_sz(home, GFP_TEST | GFP_DMA32, size);
	if (virt && gfp_zone(GFP_DMA32) != gfp_zone(GFP_KERNEL)) {
		KUNIT_EXPECT_FALSE(test, same_page(plain, virt));
		KUNIT_EXPECT_LE(test, page_zonenum(virt_to_page(virt)),
				gfp_zone(GFP_DMA32));
		KUNIT_EXPECT_LT(test, virt_to_phys(virt), SZ_4G);
	}
	iommu_free_pages(virt);

	for_each_node_state(nid, N_MEMORY) {
		virt = iommu_alloc_pages_node_sz(nid, GFP_TEST | __GFP_THISNODE,
						 size);
		KUNIT_ASSERT_NOT_NULL(test, virt);
		KUNIT_EXPECT_EQ(test, page_to_nid(virt_to_page(virt)), nid);
		iommu_free_pages(virt);

		virt = iommu_alloc_pages_node_sz(nid, GFP_TEST, size);
		KUNIT_ASSERT_NOT_NULL(test, virt);
		if (nid != home)
			KUNIT_EXPECT_FALSE(test, same_page(plain, virt));
		iommu_free_pages(virt);
	}
	expect_pages(test, before, 1);
	iommu_free_pages(plain);
	expect_pages(test, before, 0);
}

/* Parts of one page on two lists and on none, and pages between them. */
static void iommu_part_lists(struct kunit *test)
{
	struct iommu_pages_list one = IOMMU_PAGES_LIST_INIT(one);
	struct iommu_pages_list two = IOMMU_PAGES_LIST_INIT(two);
	const size_t size = PAGE_SIZE / 8;
	const long before = count_pages();
	void *whole = get_part(test, PAGE_SIZE * 2);
	u8 *virt[8];

	for (int i = 0; i < ARRAY_SIZE(virt); i++) {
		virt[i] = get_part(test, size);
		memset(virt[i], i + 1, size);
		KUNIT_ASSERT_TRUE(test, same_page(virt[0], virt[i]));
		if (i < 6)
			iommu_pages_list_add(i % 2 ? &two : &one, virt[i]);
	}
	iommu_pages_list_add(&one, get_part(test, PAGE_SIZE));
	iommu_pages_list_add(&two, whole);
	expect_pages(test, before, 1 + 1 + 2);

	iommu_put_pages_list(&one);
	expect_pages(test, before, 1 + 2);
	KUNIT_EXPECT_NOT_NULL(test,
			      virt_to_ioptdesc(virt[1])->iopt_freelist_elm.prev);
	for (int i = 1; i < 6; i += 2)
		KUNIT_EXPECT_NULL(test, memchr_inv(virt[i], i + 1, size));

	/* A part that was on a list is like new. */
	virt[0] = get_part(test, size);
	KUNIT_EXPECT_TRUE(test, same_page(virt[0], virt[1]));
	KUNIT_EXPECT_NULL(test,
			  virt_to_ioptdesc(virt[0])->iopt_freelist_elm.prev);
	iommu_free_pages(virt[0]);

	/* Parts and pages stay when the list is given up. */
	iommu_pages_list_release(&two);
	KUNIT_EXPECT_NULL(test,
			  virt_to_ioptdesc(virt[1])->iopt_freelist_elm.prev);
	two = IOMMU_PAGES_LIST_INIT(two);
	for (int i = 1; i < 6; i += 2)
		iommu_pages_list_add(&two, virt[i]);
	iommu_put_pages_list(&two);
	expect_pages(test, before, 1 + 2);
	iommu_free_pages(virt[6]);
	iommu_free_pages(virt[7]);
	expect_pages(test, before, 2);
	iommu_free_pages(whole);
	expect_pages(test, before, 0);
}

static void iommu_part_rcu(struct kunit *test)
{
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);
	const size_t size = PAGE_SIZE / 4;
	const long before = count_pages();
	u8 *virt[4], *other;

	for (int i = 0; i < ARRAY_SIZE(virt); i++) {
		virt[i] = get_part(test, size);
		*virt[i] = 0x50 + i;
	}
	iommu_pages_list_add(&list, virt[0]);
	iommu_pages_list_add(&list, virt[1]);

	/* As long as there is a reader, the parts are not given to others. */
	rcu_read_lock();
	iommu_put_pages_list_rcu(&list);
	iommu_free_pages_rcu(virt[2]);
	mdelay(20);
	other = iommu_alloc_pages_node_sz(home, GFP_ATOMIC, size);
	if (other)
		KUNIT_EXPECT_FALSE(test, same_page(other, virt[0]));
	iommu_free_pages(other);
	for (int i = 0; i < ARRAY_SIZE(virt); i++)
		KUNIT_EXPECT_EQ(test, *virt[i], 0x50 + i);
	expect_pages(test, before, 1);
	KUNIT_EXPECT_EQ(test, page_memdesc_type(virt_to_page(virt[0])),
			MEMDESC_IOPTDESC);
	rcu_read_unlock();
	rcu_barrier();

	KUNIT_EXPECT_EQ(test, *virt[3], 0x53);
	expect_pages(test, before, 1);
	for (int i = 0; i < 3; i++) {
		virt[i] = get_part(test, size);
		KUNIT_EXPECT_TRUE(test, same_page(virt[i], virt[3]));
	}
	for (int i = 0; i < ARRAY_SIZE(virt); i++)
		iommu_free_pages_rcu(virt[i]);
	rcu_barrier();
	expect_pages(test, before, 0);
}

/* A part is made incoherent without its neighbours. */
static void iommu_part_incoherent(struct kunit *test)
{
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);
	struct device *dev = kunit_device_register(test, "iommu_part");
	const size_t size = PAGE_SIZE / 4;
	const long before = count_pages();
	u64 mask = DMA_BIT_MASK(64);
	u8 *virt[4];

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);
	dev->dma_mask = &mask;
	dev->coherent_dma_mask = mask;

	for (int i = 0; i < ARRAY_SIZE(virt); i++)
		virt[i] = get_part(test, size);
	KUNIT_EXPECT_EQ(test, iommu_pages_start_incoherent(virt[1], dev), 0);
	for (int i = 0; i < ARRAY_SIZE(virt); i++)
		KUNIT_EXPECT_EQ(test, virt_to_ioptdesc(virt[i])->incoherent,
				i == 1);

	iommu_pages_list_add(&list, virt[2]);
	iommu_pages_list_add(&list, virt[3]);
	KUNIT_EXPECT_EQ(test, iommu_pages_start_incoherent_list(&list, dev), 0);
	KUNIT_EXPECT_EQ(test, virt_to_ioptdesc(virt[0])->incoherent, 0);
	KUNIT_EXPECT_EQ(test, virt_to_ioptdesc(virt[2])->incoherent, 1);
	KUNIT_EXPECT_EQ(test, virt_to_ioptdesc(virt[3])->incoherent, 1);
	iommu_pages_list_add(&list, virt[0]);

	iommu_pages_stop_incoherent_list(&list, dev);
	if (IOMMU_PAGES_USE_DMA_API) {
		KUNIT_EXPECT_EQ(test, virt_to_ioptdesc(virt[2])->incoherent, 0);
		KUNIT_EXPECT_EQ(test, virt_to_ioptdesc(virt[3])->incoherent, 0);
	}
	KUNIT_EXPECT_EQ(test, virt_to_ioptdesc(virt[1])->incoherent, 1);
	iommu_put_pages_list(&list);

	/* The next owner begins with a coherent part. */
	virt[2] = get_part(test, size);
	KUNIT_EXPECT_TRUE(test, same_page(virt[1], virt[2]));
	KUNIT_EXPECT_EQ(test, virt_to_ioptdesc(virt[2])->incoherent, 0);
	iommu_free_pages(virt[2]);
	iommu_pages_free_incoherent(virt[1], dev);
	expect_pages(test, before, 0);
	kunit_device_unregister(test, dev);
}

#ifdef CONFIG_FAILSLAB
/* Each allocation of a descriptor fails once. */
static void iommu_part_no_memory(struct kunit *test)
{
	const size_t size = PAGE_SIZE / 2;
	const long before = count_pages();
	unsigned int failed = 0, left;
	void *virt;

	if (IS_ENABLED(CONFIG_DEBUG_KMEMLEAK))
		kunit_skip(test, "kmemleak gives up when its allocations fail");
	do {
		current->fail_nth = failed + 1;
		virt = iommu_alloc_pages_node_sz(home, GFP_NOWAIT, size);
		left = current->fail_nth;
		current->fail_nth = 0;
		KUNIT_EXPECT_EQ(test, !virt, !left);
		expect_pages(test, before, virt ? 1 : 0);
		failed += !virt;
	} while (!virt && failed < 8);

	/* The parts and who uses them, and what memdesc_alloc_node() needs. */
	KUNIT_EXPECT_GE(test, failed, 2);
	KUNIT_EXPECT_LE(test, failed, 3);

	/* A part of a page that is there needs no memory. */
	current->fail_nth = 1;
	iommu_free_pages(iommu_alloc_pages_node_sz(home, GFP_NOWAIT, size));
	KUNIT_EXPECT_EQ(test, current->fail_nth, 1);
	current->fail_nth = 0;

	iommu_free_pages(virt);
	expect_pages(test, before, 0);
}
#else
static void iommu_part_no_memory(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_FAILSLAB");
}
#endif

static void iommu_part_double_free(struct kunit *test)
{
	const long before = count_pages();
	void *a = get_part(test, PAGE_SIZE / 2);
	void *b = get_part(test, PAGE_SIZE / 2);

	iommu_free_pages(b);
	kunit_warning_suppress(test)
		iommu_free_pages(b);
	expect_pages(test, before, 1);
	b = get_part(test, PAGE_SIZE / 2);
	KUNIT_EXPECT_TRUE(test, same_page(a, b));
	KUNIT_EXPECT_PTR_NE(test, a, b);
	iommu_free_pages(a);
	iommu_free_pages(b);
	expect_pages(test, before, 0);
}

/* The records of preserved tables take a page, which stays. */
static long preserve_first(struct kunit *test)
{
	void *virt = get_part(test, PAGE_SIZE / 2);
	int err = iommu_preserve_pages(virt);

	if (!err)
		iommu_unpreserve_pages(virt);
	iommu_free_pages(virt);
	if (err == -EOPNOTSUPP)
		kunit_skip(test, "needs kho=on, and not kho_format=v4");
	KUNIT_ASSERT_EQ(test, err, 0);
	return count_pages();
}

static void iommu_part_preserve(struct kunit *test)
{
	long before = preserve_first(test);
	void *a, *b, *c;

	a = get_part(test, PAGE_SIZE / 4);
	b = get_part(test, PAGE_SIZE / 4);
	c = get_part(test, PAGE_SIZE / 4);

	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(a), 0);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(a), -EEXIST);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(a + 8), -EINVAL);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(b), 0);

	/* The page is preserved once, as what it is. */
	KUNIT_EXPECT_EQ(test,
			kho_preserve_page_desc(virt_to_page(a), 0,
					       KHO_MEMDESC_IOPTDESC), -EINVAL);
	KUNIT_EXPECT_EQ(test,
			kho_preserve_page_desc(virt_to_page(a), 0,
					       KHO_MEMDESC_IOPTDESC_SHARED),
			-EEXIST);
	KUNIT_EXPECT_EQ(test, kho_ioptdesc_preserve(virt_to_ioptdesc(c)),
			-EINVAL);

	/* Those that are not preserved are not undone, and can be freed. */
	iommu_unpreserve_pages(c);
	iommu_free_pages(c);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(c), -EINVAL);
	iommu_unpreserve_pages(a);
	iommu_unpreserve_pages(a);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(b), -EEXIST);
	iommu_unpreserve_pages(b);

	/* The page has gone with its last table. */
	KUNIT_EXPECT_EQ(test,
			kho_preserve_page_desc(virt_to_page(a), 0,
					       KHO_MEMDESC_IOPTDESC_SHARED), 0);
	kho_unpreserve_page_desc(virt_to_page(a), 0,
				 KHO_MEMDESC_IOPTDESC_SHARED);
	iommu_free_pages(a);
	iommu_free_pages(b);
	expect_pages(test, before, 0);
}

/* A list of both is preserved, or nothing of it. */
static void iommu_part_preserve_list(struct kunit *test)
{
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);
	long before = preserve_first(test);
	void *virt[3], *page;

	page = get_part(test, PAGE_SIZE);
	for (int i = 0; i < ARRAY_SIZE(virt); i++) {
		virt[i] = get_part(test, PAGE_SIZE / 4);
		iommu_pages_list_add(&list, virt[i]);
		if (i == 1)
			iommu_pages_list_add(&list, page);
	}
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(virt[0]), -EINVAL);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages_list(&list), 0);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages_list(&list), -EEXIST);
	iommu_unpreserve_pages_list(&list);
	iommu_pages_list_release(&list);

	/* The last one is preserved already: the others are not, afterwards. */
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(virt[2]), 0);
	list = IOMMU_PAGES_LIST_INIT(list);
	for (int i = 0; i < ARRAY_SIZE(virt); i++)
		iommu_pages_list_add(&list, virt[i]);
	iommu_pages_list_add(&list, page);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages_list(&list), -EEXIST);
	iommu_pages_list_release(&list);
	for (int i = 0; i < ARRAY_SIZE(virt); i++) {
		KUNIT_EXPECT_EQ(test, iommu_preserve_pages(virt[i]),
				i == 2 ? -EEXIST : 0);
		iommu_unpreserve_pages(virt[i]);
		iommu_free_pages(virt[i]);
	}
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(page), 0);
	iommu_unpreserve_pages(page);
	iommu_free_pages(page);
	expect_pages(test, before, 0);
}

/* More pages than a chunk has records for, and records that are used again. */
static void iommu_part_preserve_many(struct kunit *test)
{
	const unsigned int nr = PAGE_SIZE / 8;
	void **virt = kunit_kcalloc(test, nr, sizeof(*virt), GFP_KERNEL);
	long before = preserve_first(test);

	KUNIT_ASSERT_NOT_NULL(test, virt);
	if (PAGE_SIZE > SZ_16K)
		kunit_skip(test, "a page with records is for 256 MiB of tables");
	for (int round = 0; round < 2; round++) {
		before = count_pages();
		for (unsigned int i = 0; i < nr; i++) {
			virt[i] = get_part(test, PAGE_SIZE / 2);
			KUNIT_ASSERT_EQ(test, iommu_preserve_pages(virt[i]), 0);
		}
		for (unsigned int i = 0; i < nr; i++) {
			const unsigned int k = i * 5 % nr;

			iommu_unpreserve_pages(virt[k]);
			iommu_free_pages(virt[k]);
		}
		/* What the first round has taken for records stays. */
		if (round)
			expect_pages(test, before, 0);
		else
			KUNIT_EXPECT_LE(test, count_pages() - before,
					IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG) ?
					nr / 2 / 16 : 2);
	}
}

#ifdef CONFIG_MEMCG
/* A page is charged as a whole, and has only parts of those who pay. */
static void iommu_part_account(struct kunit *test)
{
	struct cgroup_subsys_state *css, *found = NULL;
	const size_t size = PAGE_SIZE / 4;
	const long before = count_pages();
	void *plain, *a, *b, *root, *after;
	struct mem_cgroup *old;

	rcu_read_lock();
	css_for_each_descendant_pre(css, &root_mem_cgroup->css) {
		if (css != &root_mem_cgroup->css && css_tryget_online(css)) {
			found = css;
			break;
		}
	}
	rcu_read_unlock();
	if (!found)
		kunit_skip(test, "no memory cgroup but the root");

	plain = get_part(test, size);
	root = iommu_alloc_pages_node_sz(home, GFP_TEST | __GFP_ACCOUNT, size);
	/* A memory cgroup has an account for each node that it runs on. */
	migrate_disable();
	old = set_active_memcg(mem_cgroup_from_css(found));
	a = iommu_alloc_pages_node_sz(home, GFP_TEST | __GFP_ACCOUNT, size);
	b = iommu_alloc_pages_node_sz(home, GFP_TEST | __GFP_ACCOUNT, size);
	after = iommu_alloc_pages_node_sz(home, GFP_TEST, size);
	set_active_memcg(old);
	migrate_enable();

	if (a && b && root && after) {
		KUNIT_EXPECT_TRUE(test, same_page(a, b));
		KUNIT_EXPECT_TRUE(test, PageMemcgKmem(virt_to_page(a)));
		KUNIT_EXPECT_FALSE(test, PageMemcgKmem(virt_to_page(plain)));
		/* Nobody is charged for the root's tables. */
		KUNIT_EXPECT_TRUE(test, same_page(root, plain));
		KUNIT_EXPECT_TRUE(test, same_page(after, plain));
		expect_pages(test, before, 2);
	} else {
		KUNIT_FAIL(test, "no memory");
	}
	iommu_free_pages(a);
	iommu_free_pages(plain);
	iommu_free_pages(after);
	iommu_free_pages(b);
	iommu_free_pages(root);
	css_put(found);
	expect_pages(test, before, 0);
}
#else
static void iommu_part_account(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MEMCG");
}
#endif

#define STRESS_THREADS	4
#define STRESS_PARTS	96

/* Returns how many parts were not what this thread had written into them. */
static int churn(void *arg)
{
	const u8 mark = (unsigned long)arg;
	void *virt[STRESS_PARTS] = {};
	struct rnd_state rnd;
	size_t size;
	int bad = 0;

	prandom_seed_state(&rnd, mark);
	while (!kthread_should_stop()) {
		const unsigned int i = prandom_u32_state(&rnd) % STRESS_PARTS;

		/* Each slot has a size of its own, always the same. */
		size = PAGE_SIZE >> (1 + i % 3);
		if (!virt[i]) {
			virt[i] = iommu_alloc_pages_sz(GFP_TEST, size);
			if (virt[i]) {
				bad += !!memchr_inv(virt[i], 0, size);
				memset(virt[i], mark, size);
			}
			continue;
		}
		bad += !!memchr_inv(virt[i], mark, size);
		if (i % 2)
			iommu_free_pages(virt[i]);
		else
			iommu_free_pages_rcu(virt[i]);
		virt[i] = NULL;
		cond_resched();
	}
	for (int i = 0; i < STRESS_PARTS; i++)
		iommu_free_pages(virt[i]);
	return bad;
}

static void iommu_part_threads(struct kunit *test)
{
	struct task_struct *thread[STRESS_THREADS];
	const long before = count_pages();

	for (unsigned long i = 0; i < STRESS_THREADS; i++)
		thread[i] = kthread_run(churn, (void *)(i + 1),
					"iommu_part/%lu", i);
	msleep(500);
	for (int i = 0; i < STRESS_THREADS; i++) {
		KUNIT_EXPECT_FALSE(test, IS_ERR(thread[i]));
		if (!IS_ERR(thread[i]))
			KUNIT_EXPECT_EQ(test, kthread_stop(thread[i]), 0);
	}
	rcu_barrier();
	expect_pages(test, before, 0);
}

static struct kunit_case iommu_part_cases[] = {
	KUNIT_CASE(iommu_part_life),
	KUNIT_CASE(iommu_part_whole),
	KUNIT_CASE(iommu_part_reuse),
	KUNIT_CASE(iommu_part_keys),
	KUNIT_CASE(iommu_part_lists),
	KUNIT_CASE(iommu_part_rcu),
	KUNIT_CASE(iommu_part_incoherent),
	KUNIT_CASE(iommu_part_no_memory),
	KUNIT_CASE(iommu_part_double_free),
	KUNIT_CASE(iommu_part_preserve),
	KUNIT_CASE(iommu_part_preserve_list),
	KUNIT_CASE(iommu_part_preserve_many),
	KUNIT_CASE(iommu_part_account),
	KUNIT_CASE(iommu_part_threads),
	{}
};

static struct kunit_suite iommu_part_suite = {
	.name = "iommu_pages_part",
	.suite_init = iommu_part_suite_init,
	.test_cases = iommu_part_cases,
};

kunit_test_suite(iommu_part_suite);

MODULE_DESCRIPTION("KUnit tests of IOMMU tables smaller than a page");
MODULE_LICENSE("GPL");
