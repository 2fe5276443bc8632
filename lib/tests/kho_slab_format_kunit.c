// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the kexec handover of slab objects: the wire format.
 */

#include <kunit/test.h>

#include <linux/bits.h>
#include <linux/gfp.h>
#include <linux/kho/abi/slab.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/sizes.h>

#include "../../kernel/liveupdate/kexec_handover_internal.h"
#include "kho_slab_kunit.h"

/* The format is a contract with other kernels. No change may break it. */

static void wire_format(struct kunit *test)
{
	KUNIT_EXPECT_STREQ(test, "slab", KHO_SLAB_SUBTREE);
	KUNIT_EXPECT_EQ(test, KHO_SLAB_VERSION, 1);
	KUNIT_EXPECT_EQ(test, KHO_SLAB_RECORDS, 9);
	KUNIT_EXPECT_EQ(test, KHO_SLAB_COPIES, 9);
	KUNIT_EXPECT_EQ(test, KHO_SLAB_CHAINS, 10);

	KUNIT_EXPECT_EQ(test, KHO_SLAB_NORMAL, 0);
	KUNIT_EXPECT_EQ(test, KHO_SLAB_RECLAIM, 1);
	KUNIT_EXPECT_EQ(test, KHO_SLAB_CGROUP, 2);
	KUNIT_EXPECT_EQ(test, KHO_SLAB_DMA, 3);
	KUNIT_EXPECT_EQ(test, KHO_SLAB_EXACT, 1);

	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_root, version), 0);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_root, chain), 8);

	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_chunk, next), 0);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_chunk, top), 8);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_chunk, used), 10);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_chunk, free), 12);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_chunk, data), 16);

	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_copy, from), 0);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_copy, to), 8);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_copy, size), 16);

	KUNIT_EXPECT_EQ(test, sizeof(struct kho_slab_record), 24);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, phys), 0);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, size), 8);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, object_size),
			12);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, objects), 16);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, align), 18);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, flags), 19);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, left_pad), 20);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, order), 22);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, class), 23);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_slab_record, bitmap), 24);
}

/* Records that come in damaged. */

union bad_record {
	struct kho_slab_record rec;
	u64 words[5];		/* the last two are its bitmap */
};

static void expect_bad(struct kunit *test, const union bad_record *bad,
		       bool is_bad, const char *what)
{
	const char *why = kho_slab_bad_record(&bad->rec, 1);

	KUNIT_EXPECT_EQ_MSG(test, !!why, is_bad, "%s: %s", what, why ?: "good");
}

static void bad_records(struct kunit *test)
{
	struct page *page = alloc_pages(GFP_KERNEL, 1);
	union bad_record good = {
		.rec = {
			.size = 96,
			.object_size = 90,
			.left_pad = 4,
			.objects = 2 * PAGE_SIZE / 96,
			.align = 3,
			.flags = KHO_SLAB_EXACT,
			.order = 1,
			.class = KHO_SLAB_DMA,
		},
	};
	union bad_record bad;

	if (PAGE_SIZE != SZ_4K)
		kunit_skip(test, "another number of objects");
	KUNIT_ASSERT_NOT_NULL(test, page);
	good.rec.phys = page_to_phys(page);
	good.words[3] = 0x5;
	good.words[4] = 0x2;
	expect_bad(test, &good, false, "nothing wrong");

#define EXPECT_BAD(field, value) do {					\
		bad = good;						\
		bad.field = value;					\
		expect_bad(test, &bad, true, #field " = " #value);	\
	} while (0)

	EXPECT_BAD(rec.phys, good.rec.phys + PAGE_SIZE);
	EXPECT_BAD(rec.phys, good.rec.phys + 8);
	EXPECT_BAD(rec.phys, BIT_ULL(51));
	EXPECT_BAD(rec.phys, -1ULL);
	EXPECT_BAD(rec.order, MAX_PAGE_ORDER + 1);
	EXPECT_BAD(rec.order, 255);
	EXPECT_BAD(rec.order, 0);
	EXPECT_BAD(rec.size, 0);
	EXPECT_BAD(rec.size, 93);
	EXPECT_BAD(rec.size, -1U);
	EXPECT_BAD(rec.object_size, 0);
	EXPECT_BAD(rec.object_size, 93);
	EXPECT_BAD(rec.object_size, -1U);
	EXPECT_BAD(rec.left_pad, 7);
	EXPECT_BAD(rec.objects, 0);
	EXPECT_BAD(rec.objects, good.rec.objects + 1);
	EXPECT_BAD(rec.objects, good.rec.objects - 1);
	EXPECT_BAD(rec.align, 6);
	EXPECT_BAD(rec.align, 32);
	EXPECT_BAD(rec.align, 255);
	EXPECT_BAD(rec.flags, 0x2);
	EXPECT_BAD(rec.flags, 0x81);
	EXPECT_BAD(rec.class, KHO_NR_SLAB_CLASSES);
	EXPECT_BAD(rec.class, 0x80);
	EXPECT_BAD(words[4], BIT_ULL(63));
#undef EXPECT_BAD

	bad = good;
	bad.words[3] = 0;
	bad.words[4] = 0;
	expect_bad(test, &bad, false, "no object");

	__free_pages(page, 1);
}

static struct kunit_case kho_slab_format_cases[] = {
	KUNIT_CASE(wire_format),
	KUNIT_CASE(bad_records),
	{}
};

static struct kunit_suite kho_slab_format_suite = {
	.name = "kho_slab_format",
	.init = kst_init,
	.test_cases = kho_slab_format_cases,
};

kunit_test_suite(kho_slab_format_suite);
