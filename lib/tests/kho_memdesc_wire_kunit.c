// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the typed kexec handover: the wire format. It is a contract
 * with other kernels, which no change may break.
 */

#include <kunit/test.h>

#include <linux/array_size.h>
#include <linux/kho/abi/formats.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/mm.h>
#include <linux/stddef.h>

#include "../../kernel/liveupdate/kexec_handover_internal.h"
#include "kho_memdesc_kunit.h"

static void wire_types(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_UNTYPED, 0);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_FOLIO, 1);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_BLOCK, 2);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_SPLIT, 3);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_COMPOUND, 4);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_LARGE_KMALLOC, 5);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_SLAB, 6);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_PTDESC, 7);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_PTDESC_KERNEL, 8);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_PTE, 9);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_PMD, 10);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_IOPTDESC, 11);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_METADATA, 12);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_HUGETLB, 13);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_IOPTDESC_SHARED, 14);
	KUNIT_EXPECT_EQ(test, KHO_NR_MEMDESC, 15);
	KUNIT_EXPECT_LE(test, KHO_NR_MEMDESC, 1 << KHO_MEMDESC_BITS);
}

static void wire_key(struct kunit *test)
{
	unsigned int indexed = (KHO_TREE_MAX_DEPTH - 1) * KHO_TABLE_SIZE_LOG2 +
			       KHO_BITMAP_SIZE_LOG2;

	KUNIT_EXPECT_STREQ(test, "kho-v5", KHO_FDT_COMPATIBLE);
	/* What the image says must be what kho_populate() reads. */
	KUNIT_EXPECT_NOT_NULL(test, strstr(KHO_FORMATS_READ, KHO_FDT_COMPATIBLE));
	KUNIT_EXPECT_NOT_NULL(test, strstr(KHO_FORMATS_READ, KHO_FDT_COMPATIBLE_V4));
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_BITS, 6);
	KUNIT_EXPECT_EQ(test, KHO_MEMDESC_SHIFT, 65 - PAGE_SHIFT);

	switch (PAGE_SHIFT) {
	case 12:
		KUNIT_EXPECT_EQ(test, KHO_MEMDESC_SHIFT, 53);
		KUNIT_EXPECT_EQ(test, KHO_TREE_MAX_DEPTH, 6);
		KUNIT_EXPECT_EQ(test, indexed, 60);
		break;
	case 14:
		KUNIT_EXPECT_EQ(test, KHO_MEMDESC_SHIFT, 51);
		KUNIT_EXPECT_EQ(test, KHO_TREE_MAX_DEPTH, 5);
		KUNIT_EXPECT_EQ(test, indexed, 61);
		break;
	case 16:
		KUNIT_EXPECT_EQ(test, KHO_MEMDESC_SHIFT, 49);
		KUNIT_EXPECT_EQ(test, KHO_TREE_MAX_DEPTH, 4);
		KUNIT_EXPECT_EQ(test, indexed, 58);
		break;
	}
	KUNIT_EXPECT_LE(test, KHO_MEMDESC_SHIFT + KHO_MEMDESC_BITS, indexed);
	KUNIT_EXPECT_EQ(test, sizeof(struct kho_radix_node), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, sizeof(struct kho_radix_leaf), PAGE_SIZE);
}

/* Keys as they are written, not as the code would derive them. */
static void wire_golden_keys(struct kunit *test)
{
	static const struct {
		phys_addr_t phys;
		unsigned int order;
		enum kho_memdesc type;
		u64 key;
	} keys[] = {
#if PAGE_SHIFT == 12
		{ 0x0, 0, KHO_MEMDESC_UNTYPED, 0x0010000000000000 },
		{ 0x1000, 0, KHO_MEMDESC_UNTYPED, 0x0010000000000001 },
		{ 0x1000, 0, KHO_MEMDESC_FOLIO, 0x0030000000000001 },
		{ 0x200000, 9, KHO_MEMDESC_FOLIO, 0x0020080000000001 },
		{ 0x12340000, 4, KHO_MEMDESC_BLOCK, 0x0041000000001234 },
		{ 0x7ffffffff000, 0, KHO_MEMDESC_SPLIT, 0x00700007ffffffff },
		{ 0x40000000, 18, KHO_MEMDESC_SPLIT, 0x0060000400000001 },
		{ 0x800000, 2, KHO_MEMDESC_COMPOUND, 0x0084000000000200 },
		{ 0x10000, 4, KHO_MEMDESC_LARGE_KMALLOC, 0x00a1000000000001 },
		{ 0x8000, 3, KHO_MEMDESC_SLAB, 0x00c2000000000001 },
		{ 0x3000, 0, KHO_MEMDESC_PTDESC, 0x00f0000000000003 },
		{ 0x3000, 0, KHO_MEMDESC_PTDESC_KERNEL, 0x0110000000000003 },
		{ 0x3000, 0, KHO_MEMDESC_PTE, 0x0130000000000003 },
		{ 0x3000, 0, KHO_MEMDESC_PMD, 0x0150000000000003 },
		{ 0x2000, 1, KHO_MEMDESC_IOPTDESC, 0x0168000000000001 },
		{ 0x3000, 0, KHO_MEMDESC_METADATA, 0x0190000000000003 },
		{ 0x200000, 9, KHO_MEMDESC_HUGETLB, 0x01a0080000000001 },
		{ 0x80000000, 18, KHO_MEMDESC_HUGETLB, 0x01a0000400000002 },
#elif PAGE_SHIFT == 14
		{ 0x0, 0, KHO_MEMDESC_UNTYPED, 0x0004000000000000 },
		{ 0x4000, 0, KHO_MEMDESC_FOLIO, 0x000c000000000001 },
		{ 0x2000000, 11, KHO_MEMDESC_FOLIO, 0x0008008000000001 },
		{ 0xc000, 0, KHO_MEMDESC_SPLIT, 0x001c000000000003 },
		{ 0x8000, 1, KHO_MEMDESC_IOPTDESC, 0x005a000000000001 },
		{ 0xc000, 0, KHO_MEMDESC_METADATA, 0x0064000000000003 },
#elif PAGE_SHIFT == 16
		{ 0x0, 0, KHO_MEMDESC_UNTYPED, 0x0001000000000000 },
		{ 0x10000, 0, KHO_MEMDESC_FOLIO, 0x0003000000000001 },
		{ 0x20000000, 13, KHO_MEMDESC_FOLIO, 0x0002000800000001 },
		{ 0x30000, 0, KHO_MEMDESC_SPLIT, 0x0007000000000003 },
		{ 0x20000, 1, KHO_MEMDESC_IOPTDESC, 0x0016800000000001 },
		{ 0x30000, 0, KHO_MEMDESC_METADATA, 0x0019000000000003 },
#endif
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(keys); i++) {
		unsigned int order, type;

		KUNIT_EXPECT_EQ_MSG(test,
				    kho_encode_key(keys[i].phys, keys[i].order,
						   keys[i].type),
				    keys[i].key, "key %u", i);
		KUNIT_EXPECT_EQ_MSG(test,
				    kho_decode_key(keys[i].key, &order, &type),
				    keys[i].phys, "key %u", i);
		KUNIT_EXPECT_EQ_MSG(test, order, keys[i].order, "key %u", i);
		KUNIT_EXPECT_EQ_MSG(test, type, keys[i].type, "key %u", i);
	}
}

static void wire_vmalloc(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, sizeof(struct kho_vmalloc), 16);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_vmalloc, first), 0);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_vmalloc, total_pages), 8);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_vmalloc, flags), 12);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_vmalloc, order), 14);
	KUNIT_EXPECT_EQ(test, sizeof_field(struct kho_vmalloc, flags), 2);
	KUNIT_EXPECT_EQ(test, sizeof_field(struct kho_vmalloc, order), 2);

	KUNIT_EXPECT_EQ(test, sizeof(struct kho_vmalloc_chunk), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, sizeof(struct kho_vmalloc_hdr), 8);
	KUNIT_EXPECT_EQ(test, offsetof(struct kho_vmalloc_chunk, phys), 8);
	KUNIT_EXPECT_EQ(test, PAGE_SIZE / 8 - 1, KHO_VMALLOC_SIZE);
}

static struct kunit_case kho_memdesc_wire_cases[] = {
	KUNIT_CASE(wire_types),
	KUNIT_CASE(wire_key),
	KUNIT_CASE(wire_golden_keys),
	KUNIT_CASE(wire_vmalloc),
	{}
};

static struct kunit_suite kho_memdesc_wire_suite = {
	.name = "kho_memdesc_wire",
	.init = kho_memdesc_init,
	.test_cases = kho_memdesc_wire_cases,
};

kunit_test_suite(kho_memdesc_wire_suite);

MODULE_DESCRIPTION("KUnit tests of the typed kexec handover");
MODULE_LICENSE("GPL");
