// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the typed kexec handover: preserving memory under a spinlock.
 */

#include <kunit/test.h>

#include <linux/delay.h>
#include <linux/kho_memdesc.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>

#include "kho_memdesc_kunit.h"

#define NR_TABLES	4000

static DEFINE_SPINLOCK(nowait_lock);

static void free_tables(void *data)
{
	struct ptdesc **tables = data;

	for (unsigned int i = 0; i < NR_TABLES && tables[i]; i++)
		pagetable_free(tables[i]);
}

static struct ptdesc **get_tables(struct kunit *test)
{
	struct ptdesc **tables;

	tables = kunit_kcalloc(test, NR_TABLES, sizeof(*tables), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, tables);
	KUNIT_ASSERT_EQ(test,
			kunit_add_action_or_reset(test, free_tables, tables), 0);
	for (unsigned int i = 0; i < NR_TABLES; i++) {
		tables[i] = pagetable_alloc(GFP_KERNEL, 0);
		KUNIT_ASSERT_NOT_NULL(test, tables[i]);
	}
	return tables;
}

static phys_addr_t table_phys(struct ptdesc *table)
{
	return page_to_phys(ptdesc_page(table));
}

/* Preserve tables from @i on, as the owner of a lock does. Returns where it ended. */
static unsigned int preserve_locked(struct ptdesc **tables, unsigned int i, int *err)
{
	*err = 0;
	spin_lock(&nowait_lock);
	while (i < NR_TABLES) {
		*err = kho_ptdesc_preserve_nowait(tables[i]);
		if (*err)
			break;
		i++;
	}
	spin_unlock(&nowait_lock);
	return i;
}

static void unpreserve_tables(struct kunit *test, struct ptdesc **tables)
{
	for (unsigned int i = 0; i < NR_TABLES; i++) {
		KUNIT_EXPECT_EQ(test, times_in_map(ptdesc_page(tables[i])), 1);
		kho_ptdesc_unpreserve(tables[i]);
		KUNIT_EXPECT_EQ(test, times_in_map(ptdesc_page(tables[i])), 0);
	}
}

/* All tables under one hold of the lock, after a reservation of all memory. */
static void nowait_all(struct kunit *test)
{
	struct ptdesc **tables = get_tables(test);
	unsigned int nr;
	int err;

	KUNIT_ASSERT_EQ(test, kho_map_reserve(0, PFN_PHYS(max_pfn), 0,
					      KHO_MEMDESC_PTDESC), 0);
	nr = preserve_locked(tables, 0, &err);
	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_EXPECT_EQ(test, nr, NR_TABLES);
	if (nr == NR_TABLES) {
		KUNIT_EXPECT_EQ(test, kho_ptdesc_preserve_nowait(tables[0]), -EEXIST);
		KUNIT_EXPECT_EQ(test, kho_ptdesc_preserve(tables[1]), -EEXIST);
	}
	kho_map_unreserve();
	unpreserve_tables(test, tables);
}

/* The lock is released to reserve the place of the table that has none yet. */
static void nowait_again(struct kunit *test)
{
	struct ptdesc **tables = get_tables(test);
	unsigned int nr = 0, reserved = 0;
	int err;

	do {
		nr = preserve_locked(tables, nr, &err);
		if (err != -EAGAIN)
			break;
		KUNIT_ASSERT_EQ(test, kho_map_reserve(table_phys(tables[nr]), PAGE_SIZE,
						      0, KHO_MEMDESC_PTDESC), 0);
		reserved++;
	} while (reserved < NR_TABLES);

	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_EXPECT_EQ(test, nr, NR_TABLES);
	/* Once for each window, not for each table. */
	KUNIT_EXPECT_GT(test, reserved, 0);
	KUNIT_EXPECT_LE(test, reserved, kho_nr_windows);
	while (reserved--)
		kho_map_unreserve();
	unpreserve_tables(test, tables);
}

/* What is reserved is for one type, and stays until the reservation ends. */
static void nowait_reserved(struct kunit *test)
{
	struct page *page = get_block(test, 0, 0);
	const phys_addr_t phys = page_to_phys(page);

	KUNIT_EXPECT_EQ(test, kho_preserve_page_desc_nowait(page, 0, KHO_MEMDESC_BLOCK),
			-EAGAIN);
	KUNIT_ASSERT_EQ(test, kho_map_reserve(phys, 1, 0, KHO_MEMDESC_BLOCK), 0);
	/* Empty windows and nodes are freed a second after this. */
	kho_trim_soon();
	msleep(1500);
	KUNIT_EXPECT_EQ(test, kho_preserve_page_desc_nowait(page, 0, KHO_MEMDESC_BLOCK), 0);
	KUNIT_EXPECT_TRUE(test, in_map(page, 0, KHO_MEMDESC_BLOCK));
	kho_map_unreserve();
	KUNIT_EXPECT_EQ(test, kho_pages_preserve(page, 0), -EEXIST);
	kho_pages_unpreserve(page, 0);
}

static void nowait_refused(struct kunit *test)
{
	struct page *page = get_block(test, __GFP_COMP, 2);

	KUNIT_EXPECT_EQ(test, kho_map_reserve(0, 0, 0, KHO_MEMDESC_BLOCK), -EINVAL);
	KUNIT_EXPECT_EQ(test, kho_map_reserve(PHYS_ADDR_MAX, 2, 0, KHO_MEMDESC_BLOCK),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, kho_map_reserve(0, SZ_1G, PUD_ORDER, KHO_MEMDESC_FOLIO),
			-EINVAL);
	KUNIT_ASSERT_EQ(test, kho_map_reserve(page_to_phys(page), SZ_64K, 2,
					      KHO_MEMDESC_COMPOUND), 0);
	KUNIT_EXPECT_EQ(test, kho_preserve_page_desc_nowait(page, 1,
							    KHO_MEMDESC_COMPOUND),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, kho_preserve_page_desc_nowait(page, 2, KHO_MEMDESC_BLOCK),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, kho_preserve_page_desc_nowait(page, 2,
							    KHO_MEMDESC_COMPOUND),
			0);
	KUNIT_EXPECT_TRUE(test, in_map(page, 2, KHO_MEMDESC_COMPOUND));
	kho_map_unreserve();
	kho_pages_unpreserve(page, 2);
}

static struct kunit_case kho_memdesc_nowait_cases[] = {
	KUNIT_CASE(nowait_all),
	KUNIT_CASE(nowait_again),
	KUNIT_CASE(nowait_reserved),
	KUNIT_CASE(nowait_refused),
	{}
};

static struct kunit_suite kho_memdesc_nowait_suite = {
	.name = "kho_memdesc_nowait",
	.init = kho_memdesc_init,
	.test_cases = kho_memdesc_nowait_cases,
};

kunit_test_suite(kho_memdesc_nowait_suite);
