// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the typed kexec handover: memory that comes and goes. Memory
 * that is offline cannot be preserved, and neither can memory that the next
 * kernel may not find.
 */

#include <kunit/resource.h>
#include <kunit/test.h>

#include <linux/align.h>
#include <linux/array_size.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/kho_memdesc.h>
#include <linux/memblock.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/numa.h>
#include <linux/pfn.h>
#include <linux/pgtable.h>

#include "../../kernel/liveupdate/kexec_handover_internal.h"
#include "../../kernel/liveupdate/kho_map.h"
#include "kho_memdesc_kunit.h"
#include "memdesc_block_kunit.h"

#ifdef CONFIG_MEMORY_HOTREMOVE
KUNIT_DEFINE_ACTION_WRAPPER(put_block, memory_block_put, struct memory_block *);

static unsigned long block_last_pfn(struct memory_block *block)
{
	return block_start_pfn(block) + PHYS_PFN(memory_block_size_bytes()) - 1;
}

static bool has_window(unsigned long pfn)
{
	bool has;

	kho_map_lock();
	has = kho_find_window(pfn);
	kho_map_unlock();
	return has;
}

/* A window in which nothing is preserved is freed after a second. */
static bool wait_for_trim(unsigned long pfn)
{
	for (int i = 0; i < 100 && has_window(pfn); i++)
		msleep(100);
	return !has_window(pfn);
}

/* A page at this place, as its user has it. */
static struct page *get_page_at(struct kunit *test, unsigned long pfn)
{
	KUNIT_ASSERT_EQ(test,
			alloc_contig_range(pfn, pfn + 1, ACR_FLAGS_NONE,
					   GFP_KERNEL),
			0);
	return pfn_to_page(pfn);
}

/* Every page that can be in use can be preserved, once. */
static void expect_preserved(struct kunit *test, unsigned long pfn)
{
	struct page *page = get_page_at(test, pfn);

	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), 0);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), -EEXIST);
	KUNIT_EXPECT_TRUE(test, in_map(page, 0, KHO_MEMDESC_BLOCK));
	kho_pages_unpreserve(page, 0);
	__free_page(page);
}

/* A page that nobody can use, of whatever type the caller says it is. */
static void expect_refused(struct kunit *test, unsigned long pfn)
{
	static const enum kho_memdesc types[] = {
		KHO_MEMDESC_FOLIO, KHO_MEMDESC_BLOCK, KHO_MEMDESC_SPLIT,
		KHO_MEMDESC_COMPOUND, KHO_MEMDESC_PTDESC, KHO_MEMDESC_IOPTDESC,
		KHO_MEMDESC_METADATA,
	};
	struct page *page = pfn_to_page(pfn);

	for (unsigned int i = 0; i < ARRAY_SIZE(types); i++) {
		KUNIT_EXPECT_EQ_MSG(test,
				    kho_preserve_page_desc(page, 0, types[i]),
				    -EOPNOTSUPP, "type %u", types[i]);
		KUNIT_EXPECT_EQ_MSG(test,
				    kho_preserve_page_descs(&page, 1, 0,
							    types[i]),
				    -EOPNOTSUPP, "type %u", types[i]);
	}
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test,
			kho_pages_exact_preserve(page_address(page), PAGE_SIZE),
			-EINVAL);
	KUNIT_EXPECT_FALSE(test, map_has(pfn));
}

/* What is asked for just before, and just after, KHO hears of coming memory. */
struct onlining {
	struct notifier_block first, last;
	unsigned long pfn;
	bool ask_before, ask_after, refuse;
	int before, after;
};

static int onlining_first(struct notifier_block *nb, unsigned long action,
			  void *data)
{
	struct onlining *on = container_of(nb, struct onlining, first);

	if (action == MEM_GOING_ONLINE && on->ask_before)
		on->before = map_add(on->pfn, 0);
	return NOTIFY_OK;
}

static int onlining_last(struct notifier_block *nb, unsigned long action,
			 void *data)
{
	struct onlining *on = container_of(nb, struct onlining, last);

	if (action != MEM_GOING_ONLINE)
		return NOTIFY_OK;
	if (on->ask_after) {
		on->after = map_add(on->pfn, 0);
		if (!on->after)
			map_del(on->pfn, 0);
	}
	return on->refuse ? NOTIFY_BAD : NOTIFY_OK;
}

static int try_online(struct memory_block *block, struct onlining *on)
{
	int err;

	on->pfn = block_start_pfn(block);
	on->first.notifier_call = onlining_first;
	on->first.priority = INT_MAX;
	on->last.notifier_call = onlining_last;
	on->last.priority = INT_MIN;
	err = register_memory_notifier(&on->first);
	if (err)
		return err;
	err = register_memory_notifier(&on->last);
	if (!err) {
		err = set_block_online(block, true);
		unregister_memory_notifier(&on->last);
	}
	unregister_memory_notifier(&on->first);
	return err;
}

static void memory_offline(struct kunit *test)
{
	static const struct {
		bool before, after, refuse;
	} rounds[] = {
		{ },			/* there is no window */
		{ .before = true },	/* made while the memory was offline */
		{ .after = true },	/* made while it comes online */
		{ .after = true, .refuse = true }, /* but it does not come */
		{ },
	};
	struct memory_block *block = get_free_block(NUMA_NO_NODE);
	unsigned long pfn, last;
	struct page *page;

	if (!block)
		kunit_skip(test, "no memory that can go offline");
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, put_block, block),
			0);
	pfn = block_start_pfn(block);
	last = block_last_pfn(block);

	/* Memory with preserved pages stays. */
	page = get_page_at(test, pfn);
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), 0);
	KUNIT_EXPECT_EQ(test, set_block_online(block, false), -EBUSY);
	KUNIT_EXPECT_TRUE(test, in_map(page, 0, KHO_MEMDESC_BLOCK));
	kho_pages_unpreserve(page, 0);
	__free_page(page);

	/* There still is a window, from when the memory could be preserved. */
	KUNIT_EXPECT_TRUE(test, has_window(pfn));
	KUNIT_ASSERT_EQ(test, set_block_online(block, false), 0);
	expect_refused(test, pfn);
	expect_refused(test, last);

	for (unsigned int i = 0; i < ARRAY_SIZE(rounds); i++) {
		struct onlining on = {
			.ask_before = rounds[i].before,
			.ask_after = rounds[i].after,
			.refuse = rounds[i].refuse,
		};

		KUNIT_ASSERT_TRUE(test, wait_for_trim(pfn));
		expect_refused(test, pfn);
		expect_refused(test, last);
		if (on.refuse)
			KUNIT_EXPECT_NE(test, try_online(block, &on), 0);
		else
			KUNIT_ASSERT_EQ(test, try_online(block, &on), 0);
		if (on.ask_before)
			KUNIT_EXPECT_EQ(test, on.before, -EOPNOTSUPP);
		if (on.ask_after)
			KUNIT_EXPECT_EQ(test, on.after, 0);
		if (on.refuse) {
			KUNIT_EXPECT_TRUE(test, has_window(pfn));
			KUNIT_EXPECT_EQ(test, map_add(pfn, 0), -EOPNOTSUPP);
			continue;
		}

		expect_preserved(test, pfn);
		expect_preserved(test, last);
		KUNIT_ASSERT_EQ(test, set_block_online(block, false), 0);
	}
	KUNIT_EXPECT_EQ(test, set_block_online(block, true), 0);
	expect_preserved(test, pfn);
}

static int add_block(u64 start, int nid)
{
	return __add_memory_driver_managed(nid, start, memory_block_size_bytes(),
					   "System RAM (kunit)", MHP_NONE,
					   MMOP_OFFLINE);
}

/*
 * Memory is added behind all other memory, and never comes online. With large
 * pages the same window has other memory, which is online.
 */
static void memory_added(struct kunit *test)
{
	const u64 size = memory_block_size_bytes();
	const u64 start = ALIGN(PFN_PHYS(max_pfn), size);
	const unsigned long pfn = PHYS_PFN(start);
	struct folio *folio = get_folio(test, 0);
	int err;

	KUNIT_ASSERT_EQ(test, kho_folio_preserve(folio), 0);
	err = add_block(start, folio_nid(folio));
	if (err) {
		kho_folio_unpreserve(folio);
		kunit_skip(test, "no place for more memory: %pe", ERR_PTR(err));
	}
	kunit_info(test, "%#llx: %s window", start,
		   has_window(pfn) ? "in a" : "no");

	KUNIT_EXPECT_NULL(test, pfn_to_online_page(pfn));
	expect_refused(test, pfn);
	expect_refused(test, pfn + PHYS_PFN(size) - 1);
	KUNIT_EXPECT_EQ(test, map_add(pfn, 0), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, remove_memory(start, size), 0);

	/* Now there are no struct pages. */
	KUNIT_EXPECT_EQ(test, map_add(pfn, 0), -EOPNOTSUPP);
	KUNIT_EXPECT_FALSE(test, map_has(pfn));
	kho_folio_unpreserve(folio);
}

/* The kernel cannot remove a part of what one entry of a page table maps. */
static bool removable(unsigned long pfn)
{
#ifdef CONFIG_X86_64
	unsigned int level;

	lookup_address((unsigned long)pfn_to_kaddr(pfn), &level);
	return level < PG_LEVEL_1G;
#else
	return true;
#endif
}

/* Memory is removed and added again: the next kernel may not find it. */
static void memory_removed(struct kunit *test)
{
	struct memory_block *block = get_free_block(NUMA_NO_NODE);
	const u64 size = memory_block_size_bytes();
	struct page *page;
	unsigned long pfn;
	u64 start;
	int nid;

	if (!block)
		kunit_skip(test, "no memory that can go offline");
	pfn = block_start_pfn(block);
	start = PFN_PHYS(pfn);
	nid = pfn_to_nid(pfn);
	if (!removable(pfn)) {
		memory_block_put(block);
		kunit_skip(test, "boot with nogbpages");
	}
	/* This leaves a window, for a second. */
	expect_preserved(test, pfn);
	KUNIT_EXPECT_EQ(test, set_block_online(block, false), 0);
	memory_block_put(block);
	KUNIT_ASSERT_EQ(test, remove_memory(start, size), 0);

	KUNIT_ASSERT_EQ(test, add_block(start, nid), 0);
	expect_refused(test, pfn);
	block = memory_block_get(pfn_to_block_id(pfn));
	KUNIT_ASSERT_NOT_NULL(test, block);
	KUNIT_EXPECT_EQ(test, set_block_online(block, true), 0);

	page = get_page_at(test, pfn);
	for (int i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), -EOPNOTSUPP);
		KUNIT_EXPECT_EQ(test,
				kho_pages_exact_preserve(page_address(page),
							 PAGE_SIZE),
				-EOPNOTSUPP);
		KUNIT_EXPECT_EQ(test, map_add(pfn, 0), -EOPNOTSUPP);
		KUNIT_EXPECT_FALSE(test, map_has(pfn));
		/* Once more in a window that is made now. */
		wait_for_trim(pfn);
	}
	__free_page(page);

	/* Other tests would not know what to do with such memory. */
	KUNIT_EXPECT_EQ(test, set_block_online(block, false), 0);
	memory_block_put(block);
	KUNIT_EXPECT_EQ(test, remove_memory(start, size), 0);
}
#else
static void memory_offline(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MEMORY_HOTREMOVE");
}

static void memory_added(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MEMORY_HOTREMOVE");
}

static void memory_removed(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MEMORY_HOTREMOVE");
}
#endif

static struct kunit_case kho_memdesc_hotplug_cases[] = {
	KUNIT_CASE_SLOW(memory_offline),
	KUNIT_CASE(memory_added),
	KUNIT_CASE(memory_removed),
	{}
};

static struct kunit_suite kho_memdesc_hotplug_suite = {
	.name = "kho_memdesc_hotplug",
	.init = kho_memdesc_init,
	.test_cases = kho_memdesc_hotplug_cases,
};

kunit_test_suite(kho_memdesc_hotplug_suite);
