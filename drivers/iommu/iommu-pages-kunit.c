// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of IOMMU page table memory: descriptor, page type, counters, and
 * what the rest of memory management makes of it.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/iommu_pt.h>
#include <linux/kho_memdesc.h>
#include <linux/memblock.h>
#include <linux/memdesc.h>
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/page-isolation.h>
#include <linux/rcupdate.h>
#include <linux/sizes.h>
#include <linux/vmstat.h>

#include "../../lib/tests/memdesc_block_kunit.h"
#include "iommu-pages.h"

#define GFP_TEST	(GFP_KERNEL | __GFP_NOWARN | __GFP_RETRY_MAYFAIL)

struct counters {
	long iommu;
	long secondary;
};

static struct counters get_counters(void)
{
	return (struct counters) {
		.iommu = global_node_page_state_snapshot(NR_IOMMU_PAGES),
		.secondary =
			global_node_page_state_snapshot(NR_SECONDARY_PAGETABLE),
	};
}

/* At boot, where the tests run, nobody else has any. */
static void expect_counters(struct kunit *test, struct counters before,
			    long nr_pages)
{
	struct counters now = get_counters();

	KUNIT_EXPECT_EQ(test, now.iommu - before.iommu, nr_pages);
	KUNIT_EXPECT_EQ(test, now.secondary - before.secondary, nr_pages);
}

static void *get_pages(struct kunit *test, size_t size)
{
	void *virt = iommu_alloc_pages_sz(GFP_TEST, size);

	KUNIT_ASSERT_NOT_NULL(test, virt);
	return virt;
}

static void iommu_pages_alloc(struct kunit *test)
{
	const struct counters before = get_counters();

	for (unsigned int order = 0; order <= PAGE_ALLOC_COSTLY_ORDER;
	     order++) {
		const size_t size = PAGE_SIZE << order;
		void *virt = get_pages(test, size - 1);
		struct page *page = virt_to_page(virt);
		struct ioptdesc *iopt = virt_to_ioptdesc(virt);

		expect_counters(test, before, 1L << order);
		KUNIT_EXPECT_TRUE(test, IS_ALIGNED(virt_to_phys(virt), size));
		KUNIT_EXPECT_NULL(test, memchr_inv(virt, 0, size));
		KUNIT_EXPECT_PTR_EQ(test, iopt->page, page);
		KUNIT_EXPECT_EQ(test, iopt->order, order);
		KUNIT_EXPECT_EQ(test, iopt->incoherent, 0);
		KUNIT_EXPECT_TRUE(test, PageIOPT(page));
		for (size_t off = 0; off < size; off += PAGE_SIZE) {
			page = virt_to_page(virt + off);
			KUNIT_EXPECT_EQ(test, page_ref_count(page), 0);
			KUNIT_EXPECT_FALSE(test, get_page_unless_zero(page));
			KUNIT_EXPECT_EQ(test, page_memdesc_type(page),
					MEMDESC_IOPTDESC);
			KUNIT_EXPECT_PTR_EQ(test,
					    memdesc_ioptdesc(page_memdesc(page)),
					    iopt);
			KUNIT_EXPECT_PTR_EQ(test, virt_to_ioptdesc(virt + off),
					    iopt);
		}

		page = virt_to_page(virt);
		memset(virt, 0xa5, size);
		iommu_free_pages(virt);
		KUNIT_EXPECT_FALSE(test, PageIOPT(page));
		expect_counters(test, before, 0);
	}
	iommu_free_pages(NULL);
}

/* A descriptor that stays behind when its pages go, or when there are none. */
static void iommu_pages_no_leak(struct kunit *test)
{
	const size_t too_large = PAGE_SIZE << (MAX_PAGE_ORDER + 1);
	const unsigned int rounds = 16384;
	unsigned long before, after;

	/* Its quarantine keeps more descriptors than the rounds allocate. */
	if (IS_ENABLED(CONFIG_KASAN_GENERIC))
		kunit_skip(test, "not with KASAN");

	before = global_node_page_state_snapshot(NR_SLAB_UNRECLAIMABLE_B);
	for (unsigned int i = 0; i < rounds; i++) {
		iommu_free_pages(get_pages(test, PAGE_SIZE));
		KUNIT_ASSERT_NULL(test, iommu_alloc_pages_sz(GFP_TEST,
							     too_large));
	}
	/* Slabs of descriptors wait for readers. */
	rcu_barrier();
	after = global_node_page_state_snapshot(NR_SLAB_UNRECLAIMABLE_B);

	/* In pages. Others take some meanwhile, but not half as many as that. */
	KUNIT_EXPECT_LT(test, after, before + PFN_DOWN(rounds / 2 *
						       sizeof(struct ioptdesc)));
}

/* Users ask for zones that the descriptor cannot come from. */
static void iommu_pages_gfp(struct kunit *test)
{
	static const gfp_t gfps[] = {
		GFP_ATOMIC, GFP_NOWAIT, GFP_KERNEL | GFP_DMA32,
		GFP_KERNEL | __GFP_DMA, GFP_KERNEL | __GFP_ZERO,
		GFP_KERNEL_ACCOUNT, GFP_KERNEL | __GFP_COMP,
	};
	const struct counters before = get_counters();

	for (int i = 0; i < ARRAY_SIZE(gfps); i++) {
		void *virt = iommu_alloc_pages_sz(gfps[i] | __GFP_NOWARN,
						  PAGE_SIZE << 2);

		/* There may be no DMA memory, and GFP_NOWAIT may have to. */
		if (!virt && (gfps[i] & GFP_KERNEL) == GFP_KERNEL &&
		    !(gfps[i] & GFP_ZONEMASK))
			KUNIT_FAIL(test, "no memory with %pGg", &gfps[i]);
		if (!virt)
			continue;
		if (IS_ENABLED(CONFIG_ZONE_DMA32) && (gfps[i] & __GFP_DMA32))
			KUNIT_EXPECT_LT(test, virt_to_phys(virt), SZ_4G);
		iommu_free_pages(virt);
	}
	expect_counters(test, before, 0);
}

static void iommu_pages_lists(struct kunit *test)
{
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);
	struct iommu_pages_list more = IOMMU_PAGES_LIST_INIT(more);
	const struct counters before = get_counters();
	void *kept[4];

	for (int i = 0; i < 8; i++)
		iommu_pages_list_add(i % 2 ? &list : &more,
				     get_pages(test, PAGE_SIZE << (i % 3)));
	iommu_pages_list_splice(&more, &list);
	expect_counters(test, before, 3 * (1 + 2) + 2 * 4);
	iommu_put_pages_list(&list);
	expect_counters(test, before, 0);

	/* A list can be given up without the pages. */
	list = IOMMU_PAGES_LIST_INIT(list);
	for (int i = 0; i < ARRAY_SIZE(kept); i++) {
		kept[i] = get_pages(test, PAGE_SIZE);
		iommu_pages_list_add(&list, kept[i]);
		KUNIT_EXPECT_NOT_NULL(test, virt_to_ioptdesc(kept[i])->iopt_freelist_elm.prev);
	}
	iommu_pages_list_release(&list);
	KUNIT_EXPECT_TRUE(test, iommu_pages_list_empty(&list));
	expect_counters(test, before, ARRAY_SIZE(kept));
	for (int i = 0; i < ARRAY_SIZE(kept); i++) {
		KUNIT_EXPECT_NULL(test, virt_to_ioptdesc(kept[i])->iopt_freelist_elm.prev);
		iommu_free_pages(kept[i]);
	}
	expect_counters(test, before, 0);
}

static void iommu_pages_rcu(struct kunit *test)
{
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);
	const struct counters before = get_counters();
	struct page *page;
	u8 *virt;

	for (int i = 0; i < 4; i++)
		iommu_pages_list_add(&list, get_pages(test, PAGE_SIZE << i));
	virt = get_pages(test, PAGE_SIZE);
	page = virt_to_page(virt);
	*virt = 0x5a;

	/* As long as there is a reader the tables stay and count. */
	rcu_read_lock();
	iommu_free_pages_rcu(virt);
	iommu_put_pages_list_rcu(&list);
	mdelay(20);
	KUNIT_EXPECT_TRUE(test, PageIOPT(page));
	KUNIT_EXPECT_EQ(test, *virt, 0x5a);
	expect_counters(test, before, 16);
	rcu_read_unlock();

	rcu_barrier();
	expect_counters(test, before, 0);
	iommu_free_pages_rcu(NULL);
}

/* Memory that stays where it is must not look as if it were about to go. */
static void iommu_pages_unmovable(struct kunit *test)
{
#ifdef CONFIG_MEMORY_ISOLATION
	for (unsigned int order = 0; order <= 2; order++) {
		void *virt = get_pages(test, PAGE_SIZE << order);
		struct page *page = virt_to_page(virt);
		struct zone *zone = page_zone(page);
		unsigned long step = 1;
		bool unmovable;

		unmovable = page_is_unmovable(zone, page,
					      PB_ISOLATE_MODE_MEM_OFFLINE,
					      &step);
		if (zone_idx(zone) != ZONE_MOVABLE)
			KUNIT_EXPECT_TRUE(test, unmovable);
		iommu_free_pages(virt);
	}
#else
	kunit_skip(test, "needs CONFIG_MEMORY_ISOLATION");
#endif
}

/* Memory that stays where it is, when the memory around it is to be taken away. */
#ifdef CONFIG_MEMORY_HOTREMOVE
/* Allocates until there is memory of @block, and frees the rest. */
static struct page *get_page_of(struct memory_block *block, unsigned int order,
				struct ioptdesc *desc)
{
	void **virt, **others = NULL;
	struct page *page;

	while ((page = alloc_page_desc_node(GFP_TEST, order, NUMA_NO_NODE,
					    MEMDESC_TYPE_IOPTDESC(desc)))) {
		if (pfn_to_block_id(page_to_pfn(page)) == block->dev.id)
			break;
		virt = page_address(page);
		*virt = others;
		others = virt;
	}
	while (others) {
		virt = others;
		others = *virt;
		free_page_desc(virt_to_page(virt));
	}
	return page;
}

static void iommu_pages_offline(struct kunit *test)
{
	static struct ioptdesc desc __aligned(16);
	struct memory_block *block = get_free_block(NUMA_NO_NODE);
	struct page *page;
	int err;

	if (!block)
		kunit_skip(test, "no memory that can be taken away");

	for (unsigned int order = 0; order <= 2; order++) {
		page = get_page_of(block, order, &desc);
		KUNIT_EXPECT_NOT_NULL(test, page);
		if (!page)
			break;
		memset(page_address(page), 0xa5, PAGE_SIZE << order);

		KUNIT_EXPECT_EQ(test, set_block_online(block, false), -EBUSY);
		KUNIT_EXPECT_TRUE(test, PageIOPT(page));
		KUNIT_EXPECT_NULL(test, memchr_inv(page_address(page), 0xa5,
						   PAGE_SIZE << order));

		free_page_desc(page);
		err = set_block_online(block, false);
		KUNIT_EXPECT_EQ(test, err, 0);
		if (!err)
			KUNIT_EXPECT_EQ(test, set_block_online(block, true), 0);
	}
	memory_block_put(block);
}
#else
static void iommu_pages_offline(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MEMORY_HOTREMOVE");
}
#endif

/*
 * That a block with a table in it is not given away. There mostly is something
 * else as well that cannot move: whose fault it was is tested above.
 */
#ifdef CONFIG_CONTIG_ALLOC
static void iommu_pages_contig(struct kunit *test)
{
	void *virt = get_pages(test, PAGE_SIZE);
	unsigned long start = pageblock_start_pfn(PHYS_PFN(virt_to_phys(virt)));
	int err;

	err = alloc_contig_range(start, start + pageblock_nr_pages,
				 ACR_FLAGS_NONE, GFP_KERNEL | __GFP_NOWARN);
	KUNIT_EXPECT_EQ(test, err, -EBUSY);
	if (!err)
		free_contig_range(start, pageblock_nr_pages);
	KUNIT_EXPECT_NULL(test, memchr_inv(virt, 0, PAGE_SIZE));
	iommu_free_pages(virt);
}
#else
static void iommu_pages_contig(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_CONTIG_ALLOC");
}
#endif

/* Nothing can be done about it: the owner goes on, and is told of no recovery. */
#ifdef CONFIG_MEMORY_FAILURE
static void iommu_pages_memory_failure(struct kunit *test)
{
	const struct counters before = get_counters();
	void *virt = get_pages(test, PAGE_SIZE << 2);
	struct page *head = virt_to_page(virt);

	for (int i = 0; i < 1 << 2; i++) {
		struct page *page = head + i;
		const unsigned long pfn = page_to_pfn(page);

		/* Known at once for memory of the kernel: without trying again. */
		KUNIT_EXPECT_EQ(test, soft_offline_page(pfn, 0),
				-ENOTRECOVERABLE);
		KUNIT_EXPECT_FALSE(test, PageHWPoison(page));
		KUNIT_EXPECT_EQ(test, memory_failure(pfn, MF_SW_SIMULATED),
				-EBUSY);
		KUNIT_EXPECT_TRUE(test, PageHWPoison(page));
		KUNIT_EXPECT_EQ(test, unpoison_memory(pfn), -EBUSY);

		KUNIT_EXPECT_TRUE(test, PageIOPT(head));
		KUNIT_EXPECT_EQ(test, page_ref_count(head), 0);
		KUNIT_EXPECT_PTR_EQ(test, page_ioptdesc(page)->page, head);
		KUNIT_EXPECT_NULL(test, memchr_inv(virt, 0, PAGE_SIZE << 2));
		expect_counters(test, before, 1 << 2);

		/* It is well again. */
		if (TestClearPageHWPoison(page))
			num_poisoned_pages_sub(pfn, 1);
	}
	iommu_free_pages(virt);
	expect_counters(test, before, 0);
}
#else
static void iommu_pages_memory_failure(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MEMORY_FAILURE");
}
#endif

/* Everything that get_page() and put_page() may be called for. */
static void iommu_pages_refcount(struct kunit *test)
{
	void *virt = get_pages(test, PAGE_SIZE << 2);
	struct page *page = virt_to_page(virt);

	kunit_warning_suppress(test) {
		get_page(page);
		get_page(page + 1);
	}
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 0);
	put_page(page);
	put_page(page + 1);
	KUNIT_EXPECT_TRUE(test, PageIOPT(page));
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 0);
	iommu_free_pages(virt);
}

static void iommu_pages_preserve(struct kunit *test)
{
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);
	struct ioptdesc *iopt;
	void *virt, *other;
	struct folio *folio;
	int local;

	if (!kho_is_enabled())
		kunit_skip(test, "needs kho=on");

	virt = get_pages(test, PAGE_SIZE << 1);
	other = get_pages(test, PAGE_SIZE);
	iopt = virt_to_ioptdesc(virt);

	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(virt), 0);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(virt), -EEXIST);
	KUNIT_EXPECT_EQ(test, kho_ioptdesc_preserve(iopt), -EEXIST);
	iommu_unpreserve_pages(virt);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(virt), 0);
	iommu_unpreserve_pages(virt);

	/* Not what iommu_alloc_pages_sz() has returned. */
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(virt + 64), -EINVAL);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(virt + PAGE_SIZE), -EINVAL);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(NULL), -EINVAL);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(test), -EINVAL);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(&list), -EINVAL);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(&local), -EINVAL);
	folio = folio_alloc(GFP_KERNEL, 1);
	KUNIT_ASSERT_NOT_NULL(test, folio);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(folio_address(folio)),
			-EINVAL);
	folio_put(folio);

	/* And not with another function. */
	KUNIT_EXPECT_EQ(test, kho_folio_preserve(virt_to_folio(virt)), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(virt_to_page(virt), 1),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, kho_pages_exact_preserve(virt, PAGE_SIZE << 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_preserve_page_desc(iopt->page, 0,
						     KHO_MEMDESC_IOPTDESC),
			-EINVAL);

	/* About to be freed. */
	iommu_pages_list_add(&list, virt);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(virt), -EINVAL);
	iommu_pages_list_release(&list);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(virt), 0);
	iommu_unpreserve_pages(virt);

	/* A list is preserved as a whole or not at all. */
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages(other), 0);
	iommu_pages_list_add(&list, virt);
	iommu_pages_list_add(&list, other);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages_list(&list), -EEXIST);
	iommu_unpreserve_pages(other);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages_list(&list), 0);
	KUNIT_EXPECT_EQ(test, kho_ioptdesc_preserve(virt_to_ioptdesc(other)),
			-EINVAL);
	iommu_unpreserve_pages_list(&list);
	KUNIT_EXPECT_EQ(test, iommu_preserve_pages_list(&list), 0);
	iommu_unpreserve_pages_list(&list);

	/* Nothing was handed over to this kernel. */
	KUNIT_EXPECT_EQ(test, PTR_ERR(iommu_restore_pages(virt_to_phys(virt))),
			-ENOENT);
	KUNIT_EXPECT_EQ(test, PTR_ERR(iommu_restore_pages(8)), -EINVAL);

	iommu_put_pages_list(&list);
}

/* Nothing was handed over to this kernel: it can only be seen what is refused. */
static void iommu_pages_claim(struct kunit *test)
{
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);
	struct counters before;
	/* No memory is there. There is no KHO where addresses have 32 bits. */
	const phys_addr_t none = (phys_addr_t)BIT_ULL(50);
	phys_addr_t phys[2];
	void *virt;

	if (!kho_is_enabled())
		kunit_skip(test, "needs kho=on");

	virt = get_pages(test, PAGE_SIZE);
	before = get_counters();
	phys[0] = virt_to_phys(virt);
	phys[1] = phys[0];
	KUNIT_EXPECT_EQ(test, iommu_claim_pages(phys[0], PAGE_SIZE, &list),
			-ENOENT);
	KUNIT_EXPECT_EQ(test, iommu_claim_pages(phys[0] + 8, PAGE_SIZE, &list),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, iommu_claim_pages(none, PAGE_SIZE, &list),
			-ENOENT);
	KUNIT_EXPECT_EQ(test, iommu_restore_pages_list(phys, 2, &list),
			-ENOENT);
	KUNIT_EXPECT_TRUE(test, iommu_pages_list_empty(&list));
	iommu_commit_pages(&list);
	iommu_abort_pages(&list);
	expect_counters(test, before, 0);
	iommu_free_pages(virt);
}

/* What travels with a page table, pinned: another kernel reads it. */
static void iommu_pages_wire(struct kunit *test)
{
	const struct pt_iommu_ser ser = {
		.features = PT_IOMMU_SER_FORCE_COHERENCE,
		.max_vasz_lg2 = 57,
		.max_oasz_lg2 = 52,
	};
	u64 hash;

	KUNIT_EXPECT_EQ(test, PT_IOMMU_SER_VERSION, 1);
	KUNIT_EXPECT_EQ(test, sizeof(struct pt_iommu_ser), 32);
	KUNIT_EXPECT_EQ(test, offsetof(struct pt_iommu_ser, top_phys), 0);
	KUNIT_EXPECT_EQ(test, offsetof(struct pt_iommu_ser, nr_tables), 8);
	KUNIT_EXPECT_EQ(test, offsetof(struct pt_iommu_ser, features), 12);
	KUNIT_EXPECT_EQ(test, offsetof(struct pt_iommu_ser, version), 16);
	KUNIT_EXPECT_EQ(test, offsetof(struct pt_iommu_ser, format), 18);
	KUNIT_EXPECT_EQ(test, offsetof(struct pt_iommu_ser, top_level), 20);
	KUNIT_EXPECT_EQ(test, offsetof(struct pt_iommu_ser, max_vasz_lg2), 21);
	KUNIT_EXPECT_EQ(test, offsetof(struct pt_iommu_ser, max_oasz_lg2), 22);
	KUNIT_EXPECT_EQ(test, offsetof(struct pt_iommu_ser, hash), 24);
	KUNIT_EXPECT_EQ(test, PT_IOMMU_SER_KNOWN_FEATURES, 0x7f);

	KUNIT_EXPECT_EQ(test, pt_iommu_ser_first_hash(&ser), 0x932b9829c9c79f7dULL);
	hash = pt_iommu_ser_hash(0, 0x1000, 3, 0);
	KUNIT_EXPECT_EQ(test, hash, 0xa1a383d8fe73dcaeULL);
	hash = pt_iommu_ser_hash(hash, 0x123456789000ULL, 2, 511);
	KUNIT_EXPECT_EQ(test, hash, 0x1b1e8d02ee6bab7ULL);
}

static struct kunit_case iommu_pages_cases[] = {
	KUNIT_CASE(iommu_pages_alloc),
	KUNIT_CASE(iommu_pages_no_leak),
	KUNIT_CASE(iommu_pages_gfp),
	KUNIT_CASE(iommu_pages_lists),
	KUNIT_CASE(iommu_pages_rcu),
	KUNIT_CASE(iommu_pages_unmovable),
	KUNIT_CASE(iommu_pages_offline),
	KUNIT_CASE(iommu_pages_contig),
	KUNIT_CASE(iommu_pages_memory_failure),
	KUNIT_CASE(iommu_pages_refcount),
	KUNIT_CASE(iommu_pages_preserve),
	KUNIT_CASE(iommu_pages_claim),
	KUNIT_CASE(iommu_pages_wire),
	{}
};

static struct kunit_suite iommu_pages_suite = {
	.name = "iommu_pages",
	.test_cases = iommu_pages_cases,
};

kunit_test_suite(iommu_pages_suite);

MODULE_DESCRIPTION("KUnit tests of IOMMU page table memory");
MODULE_LICENSE("GPL");
