// SPDX-License-Identifier: GPL-2.0
/* The tests of harness/intake: included behind what they test. */
#include <sys/mman.h>

/* The log says how much there is. */
void kho_sum_log(struct kho_radix_node *map, const char *what)
{
}

#define M BIT(20)
#define P PAGE_SIZE
#define FDT M		/* where the handover FDT is */

static struct kho_radix_tree map;
static const char *test_name;

#define CHECK(x) do { \
	if (!(x)) { \
		printf("FAIL %s, line %d: %s\n%s", test_name, __LINE__, #x, klog); \
		exit(1); \
	} \
} while (0)

static unsigned long key_of(unsigned long at, unsigned int order, unsigned int type)
{
	return kho_encode_key(memory + at, order, type);
}

static void add(unsigned long at, unsigned int order, unsigned int type)
{
	CHECK(!kho_radix_add_key(&map, key_of(at, order, type)));
}

static bool in_tree(struct kho_radix_tree *tree, unsigned long key)
{
	struct kho_radix_leaf *leaf = tree->root ? kho_radix_find(tree->root, key) : NULL;

	return leaf && test_bit(key % KHO_LEAF_BITS, leaf->bitmap);
}

static bool in_map(unsigned long at, unsigned int order, unsigned int type)
{
	return in_tree(&map, key_of(at, order, type));
}

static bool kept(unsigned long at, unsigned int order, unsigned int type)
{
	return in_tree(&kho_kept.tree, key_of(at, order, type));
}

/* Do all pages, or none, stay away from the page allocator? */
static bool held(unsigned long at, unsigned long nr)
{
	const unsigned long pfn = PHYS_PFN(memory + at);

	for (unsigned long i = 0; i < nr; i++)
		if (kho_preserved_next(pfn + i, pfn + i + 1) != pfn + i)
			return false;
	return true;
}

static bool is_free(unsigned long at, unsigned long nr)
{
	const unsigned long pfn = PHYS_PFN(memory + at);

	return kho_preserved_next(pfn, pfn + nr) == pfn + nr;
}

/* A map with nothing but the FDT in it; its nodes are in ordinary memory. */
static void begin(const char *name)
{
	test_name = name;
	klog[0] = 0;
	memset(&kho_kept, 0, sizeof(kho_kept));
	memset(&kho_preserved, 0, sizeof(kho_preserved));
	memset(&kho_nodes, 0, sizeof(kho_nodes));
	nr_late = 0;
	may_allocate = LONG_MAX;
	next_page = memory + MEMORY_SIZE - 2 * SCRATCH_SIZE;
	CHECK(!kho_radix_init_tree(&map, NULL));
	add(FDT, 0, KHO_MEMDESC_FOLIO);
	free_ranges[0] = (struct range){ memory, memory + MEMORY_SIZE - SCRATCH_SIZE };
	free_ranges[1] = (struct range){ free_ranges[0].end, memory + MEMORY_SIZE };
	nr_free_ranges = 2;
	more = 0;
	gap = (struct range){ memory + MEMORY_SIZE / 2, memory + MEMORY_SIZE / 2 };
}

/* Two regions of memory, or a reserved one between two: [at, at + size). */
static void divide(unsigned long at, unsigned long size)
{
	free_ranges[2] = free_ranges[1];
	free_ranges[1] = (struct range){ memory + at + size, free_ranges[0].end };
	free_ranges[0].end = memory + at;
	nr_free_ranges = 3;
}

/* As mem= and memmap= leave memory. */
static void remove_memory(unsigned long at, unsigned long size)
{
	divide(at, size);
	gap = (struct range){ memory + at, memory + at + size };
}

static void add_memory(unsigned long size)
{
	free_ranges[nr_free_ranges++] = (struct range){
		memory + MEMORY_SIZE, memory + MEMORY_SIZE + size };
	more = size;
}

static int take_in(bool v4)
{
	int err;

	next_page = memory + MEMORY_SIZE - SCRATCH_SIZE;
	err = kho_intake_check_nodes(&map, virt_to_phys(map.root), memory + FDT, v4);
	if (!err)
		err = kho_intake_check_keys(&map, memory + FDT);
	return err < 0 ? err : 0;
}

static void reserve(unsigned long at)
{
	late[nr_late++] = (struct memblock_region){ memory + at, P };
}

static void done(void)
{
	printf("ok %s\n", test_name);
}

static void test_unknown(void)
{
	begin("unknown types and orders are kept");
	add(16 * M, 0, KHO_NR_MEMDESC);
	add(17 * M, 4, 63);
	add(64 * M, MAX_PAGE_ORDER + 1, KHO_MEMDESC_IOPTDESC);
	/* Over more than one window. */
	add(256 * M, 16, KHO_MEMDESC_IOPTDESC);
	add(18 * M, 0, KHO_MEMDESC_FOLIO);
	CHECK(!take_in(false));
	CHECK(!in_map(16 * M, 0, KHO_NR_MEMDESC) && kept(16 * M, 0, KHO_NR_MEMDESC));
	CHECK(held(16 * M, 1) && is_free(16 * M + P, 1));
	CHECK(kept(17 * M, 4, 63) && held(17 * M, 16) && is_free(17 * M + 16 * P, 16));
	CHECK(held(64 * M, 2048) && is_free(72 * M, 2048));
	CHECK(held(256 * M, 65536));
	CHECK(in_map(18 * M, 0, KHO_MEMDESC_FOLIO) && held(18 * M, 1));
	CHECK(kho_kept.entries == 4 && kho_kept.pages == 1 + 16 + 2048 + 65536);
	CHECK(!strstr(klog, "left out"));
	CHECK(strstr(klog, "kept 0x1100000, order 4, type 63: unknown type\n"));
	CHECK(strstr(klog, "kept 0x4000000, order 11, type 11: order that"));
	done();

	begin("types in a map that has none are kept");
	kho_radix_del_key(&map, key_of(FDT, 0, KHO_MEMDESC_FOLIO));
	add(FDT, 0, KHO_MEMDESC_UNTYPED);
	add(16 * M, 0, KHO_MEMDESC_FOLIO);
	CHECK(!take_in(true));
	CHECK(kept(16 * M, 0, KHO_MEMDESC_FOLIO) && held(16 * M, 1));
	done();

	begin("memory on two nodes is kept, unless it can be divided");
	add(16 * M, MAX_PAGE_ORDER, KHO_MEMDESC_FOLIO);
	divide(18 * M, 0);
	CHECK(!take_in(false));
	CHECK(kept(16 * M, MAX_PAGE_ORDER, KHO_MEMDESC_FOLIO));
	CHECK(held(16 * M, MAX_ORDER_NR_PAGES));
	done();

	begin("memory on two nodes that can be divided");
	add(16 * M, MAX_PAGE_ORDER, KHO_MEMDESC_SPLIT);
	divide(18 * M, 0);
	CHECK(!take_in(false));
	CHECK(in_map(16 * M, MAX_PAGE_ORDER, KHO_MEMDESC_SPLIT));
	CHECK(!kho_kept.entries);
	done();
}

/* What is larger than a block is prepared block by block, in any order. */
static void stamp(unsigned long at, unsigned long size)
{
	const unsigned long pfn = PHYS_PFN(memory + at);

	for (unsigned long i = size / P; i; i -= MAX_ORDER_NR_PAGES)
		kho_stamp_pages(pfn + i - MAX_ORDER_NR_PAGES, pfn + i);
}

static void test_gigantic(void)
{
	begin("gigantic folios are prepared in parts");
	add(256 * M, 16, KHO_MEMDESC_FOLIO);
	add(128 * M, 15, KHO_MEMDESC_UNTYPED);
	add(512 * M, 13, KHO_MEMDESC_HUGETLB);
	CHECK(!take_in(false));
	CHECK(in_map(256 * M, 16, KHO_MEMDESC_FOLIO) && held(256 * M, 65536));
	prepared_tails = prepared_heads = 0;
	stamp(64 * M, 192 * M);
	CHECK(!prepared_tails && !prepared_heads);
	stamp(256 * M, 256 * M);
	CHECK(prepared_tails == 65535 && prepared_heads == 1);
	stamp(512 * M, 64 * M);
	CHECK(prepared_tails == 65535 + 8191 && prepared_heads == 2);
	done();

	begin("a gigantic folio that is lost is prepared no more");
	add(256 * M, 16, KHO_MEMDESC_FOLIO);
	CHECK(!take_in(false));
	reserve(300 * M);
	CHECK(!kho_preserved_settle(memory + FDT));
	CHECK(is_free(256 * M, 65536));
	prepared_tails = prepared_heads = 0;
	stamp(256 * M, 256 * M);
	CHECK(!prepared_tails && !prepared_heads);
	done();

	begin("folios of hugetlb are counted by size and node");
	add(64 * M, 9, KHO_MEMDESC_HUGETLB);
	add(66 * M, 9, KHO_MEMDESC_HUGETLB);
	add(700 * M, 9, KHO_MEMDESC_HUGETLB);
	add(512 * M, 13, KHO_MEMDESC_HUGETLB);
	add(70 * M, 9, KHO_MEMDESC_FOLIO);
	CHECK(!take_in(false));
	CHECK(kho_preserved_orders(KHO_MEMDESC_HUGETLB) == (BIT(9) | BIT(13)));
	CHECK(kho_preserved_count(KHO_MEMDESC_HUGETLB, 9, NUMA_NO_NODE) == 3);
	CHECK(kho_preserved_count(KHO_MEMDESC_HUGETLB, 9, 0) == 2);
	CHECK(kho_preserved_count(KHO_MEMDESC_HUGETLB, 9, 1) == 1);
	CHECK(kho_preserved_count(KHO_MEMDESC_HUGETLB, 13, 1) == 1);
	CHECK(kho_preserved_count(KHO_MEMDESC_HUGETLB, 10, NUMA_NO_NODE) == 0);
	CHECK(kho_preserved_count(KHO_MEMDESC_SLAB, 9, NUMA_NO_NODE) == 0);
	done();
}

static void test_v4(void)
{
	begin("a range of pages in a map without types");
	kho_radix_del_key(&map, key_of(FDT, 0, KHO_MEMDESC_FOLIO));
	add(FDT, 0, KHO_MEMDESC_UNTYPED);
	/* Pages 3 to 60 of a block, as the largest orders that fit, on two nodes. */
	add(16 * M + 3 * P, 0, KHO_MEMDESC_UNTYPED);
	add(16 * M + 4 * P, 2, KHO_MEMDESC_UNTYPED);
	add(16 * M + 8 * P, 3, KHO_MEMDESC_UNTYPED);
	add(16 * M + 16 * P, 4, KHO_MEMDESC_UNTYPED);
	add(16 * M + 32 * P, 4, KHO_MEMDESC_UNTYPED);
	add(16 * M + 48 * P, 3, KHO_MEMDESC_UNTYPED);
	add(16 * M + 56 * P, 2, KHO_MEMDESC_UNTYPED);
	add(16 * M + 60 * P, 0, KHO_MEMDESC_UNTYPED);
	divide(16 * M + 23 * P, 0);
	/* Of an order that the page allocator has not. */
	add(64 * M, MAX_PAGE_ORDER + 2, KHO_MEMDESC_UNTYPED);
	CHECK(!take_in(true));
	CHECK(!kho_kept.entries && !klog[0]);
	CHECK(is_free(16 * M, 3) && held(16 * M + 3 * P, 58) && is_free(16 * M + 61 * P, 3));
	CHECK(in_map(16 * M + 16 * P, 4, KHO_MEMDESC_UNTYPED));
	CHECK(held(64 * M, 4096) && is_free(80 * M, 4096));
	CHECK(in_map(64 * M, MAX_PAGE_ORDER + 2, KHO_MEMDESC_UNTYPED));
	/* All of it, or as it was divided. */
	CHECK(kho_preserved_take(memory + 16 * M + 3 * P, 57 * P) == 0);
	CHECK(is_free(16 * M, 60) && held(16 * M + 60 * P, 1));
	CHECK(kho_preserved_take(memory + 64 * M, 2048 * P) == -EINVAL);
	CHECK(kho_preserved_take(memory + 64 * M, 4096 * P) == 0);
	CHECK(is_free(64 * M, 4096));
	done();
}

static void test_impossible(void)
{
	begin("what cannot be is dropped, whatever the type");
	add(16 * M, 0, 15);				/* reserved */
	add(8 * M, 12, KHO_NR_MEMDESC);		/* in part */
	add(MEMORY_SIZE - 4 * M, 0, 20);		/* scratch */
	add(2 * MEMORY_SIZE, 0, KHO_NR_MEMDESC);	/* beyond memory */
	add(FDT, 0, 15);				/* another's */
	divide(16 * M, P);
	CHECK(!take_in(false));
	CHECK(!kho_kept.entries && strstr(klog, "5 entries left out\n"));
	CHECK(is_free(8 * M, 2048) && held(FDT, 1));
	done();
}

/* The rest of the memory may be the one that a device writes to. */
static void test_partly(void)
{
	begin("memory that exists in part is kept");
	add(256 * M, 16, KHO_MEMDESC_HUGETLB);
	add(512 * M, 0, KHO_MEMDESC_FOLIO);	/* gone */
	add(520 * M, 2, KHO_MEMDESC_SLAB);	/* gone */
	remove_memory(508 * M, 133 * M);
	CHECK(!take_in(false));
	CHECK(kept(256 * M, 16, KHO_MEMDESC_HUGETLB) && held(256 * M, 252 * 256));
	CHECK(kho_kept.entries == 1 && strstr(klog, "only a part of the memory exists"));
	CHECK(strstr(klog, "2 entries left out\n"));
	done();

	begin("the first part of it, and single pages");
	add(512 * M, 16, KHO_MEMDESC_FOLIO);
	add(64 * M, 4, KHO_MEMDESC_SPLIT);
	remove_memory(512 * M, M);
	CHECK(!take_in(false));
	CHECK(kept(512 * M, 16, KHO_MEMDESC_FOLIO) && held(513 * M, 255 * 256));
	CHECK(in_map(64 * M, 4, KHO_MEMDESC_SPLIT) && kho_kept.entries == 1);
	done();

	begin("of memory that exists in part, a part is in use");
	add(256 * M, 16, KHO_MEMDESC_HUGETLB);
	remove_memory(300 * M, M);
	free_ranges[0].end -= P;
	CHECK(!take_in(false));
	CHECK(!kho_kept.entries && strstr(klog, "1 entries left out\n"));
	CHECK(is_free(256 * M, 43 * 256) && is_free(302 * M, 200 * 256));
	done();

	begin("memory that ends behind the end is kept");
	add_memory(16 * M);
	add(MEMORY_SIZE, 13, KHO_MEMDESC_HUGETLB);
	add(MEMORY_SIZE + 16 * M, 12, KHO_MEMDESC_HUGETLB);
	CHECK(!take_in(false));
	CHECK(kept(MEMORY_SIZE, 13, KHO_MEMDESC_HUGETLB) && held(MEMORY_SIZE, 4096));
	CHECK(kho_kept.entries == 1 && strstr(klog, "1 entries left out\n"));
	done();

	begin("an unknown type that ends behind the end is kept");
	add_memory(16 * M);
	add(MEMORY_SIZE, 18, 15);
	CHECK(!take_in(false));
	CHECK(kept(MEMORY_SIZE, 18, 15) && held(MEMORY_SIZE, 4096));
	CHECK(kho_kept.entries == 1 && !strstr(klog, "left out"));
	done();
}

static void test_overlap(void)
{
	begin("what is understood is believed");
	add(16 * M, 9, 15);
	add(16 * M + 2 * P, 0, KHO_MEMDESC_IOPTDESC);
	/* Larger orders, and smaller types, come first in the map. */
	add(32 * M, 11, KHO_MEMDESC_BLOCK);
	add(36 * M, 9, KHO_MEMDESC_SPLIT);
	CHECK(!take_in(false));
	CHECK(!kho_kept.entries && strstr(klog, "2 entries left out\n"));
	CHECK(in_map(16 * M + 2 * P, 0, KHO_MEMDESC_IOPTDESC));
	CHECK(is_free(16 * M, 2) && held(16 * M + 2 * P, 1) && is_free(16 * M + 3 * P, 509));
	CHECK(in_map(36 * M, 9, KHO_MEMDESC_SPLIT) && held(36 * M, 512));
	CHECK(is_free(32 * M, 1024) && is_free(38 * M, 512));
	done();

	begin("the FDT is in nothing larger");
	add(0, 18, KHO_MEMDESC_HUGETLB);
	add(0, 9, KHO_MEMDESC_UNTYPED);
	add(2 * M, 9, KHO_MEMDESC_UNTYPED);
	CHECK(!take_in(false));
	CHECK(!kho_kept.entries && strstr(klog, "2 entries left out\n"));
	CHECK(in_map(FDT, 0, KHO_MEMDESC_FOLIO) && held(FDT, 1) && is_free(FDT + P, 255));
	CHECK(held(2 * M, 512));
	done();

	begin("of two that are not understood neither is free");
	add(16 * M, 3, 15);
	add(16 * M + 4 * P, 2, 16);
	CHECK(!take_in(false));
	CHECK(kho_kept.entries == 2 && held(16 * M, 8));
	done();
}

static void test_take(void)
{
	begin("reserve_mem takes what is its own");
	add(16 * M, 1, KHO_MEMDESC_SPLIT);
	add(16 * M + 2 * P, 0, KHO_MEMDESC_SPLIT);
	add(16 * M + 3 * P, 0, KHO_MEMDESC_FOLIO);
	add(32 * M, 3, KHO_MEMDESC_SPLIT);
	CHECK(!take_in(false));
	/* A part; with another's; from the middle; nothing; the map. */
	CHECK(kho_preserved_take(memory + 16 * M, P) == -EINVAL);
	CHECK(kho_preserved_take(memory + 16 * M, 4 * P) == -EINVAL);
	CHECK(kho_preserved_take(memory + 32 * M + P, P) == -EINVAL);
	CHECK(kho_preserved_take(memory + 48 * M, P) == -EINVAL);
	/* Of what is not preserved only the ends may be missing. */
	CHECK(kho_preserved_take(memory + 48 * M + P / 2, 3 * P) == -EINVAL);
	CHECK(kho_preserved_take(virt_to_phys(map.root), P) == -EINVAL);
	CHECK(held(16 * M, 4) && held(32 * M, 8));
	CHECK(!kho_preserved_take(memory + 16 * M, 3 * P));
	CHECK(is_free(16 * M, 3) && held(16 * M + 3 * P, 1));
	CHECK(in_map(16 * M + 3 * P, 0, KHO_MEMDESC_FOLIO));
	CHECK(kho_preserved_take(memory + 16 * M, 3 * P) == -EINVAL);
	CHECK(!kho_preserved_take(memory + 32 * M, 8 * P));
	reserve(16 * M);
	reserve(32 * M);
	CHECK(!kho_preserved_settle(memory + FDT) && !klog[0]);
	done();

	begin("regions of reserve_mem that share a page");
	add(16 * M, 0, KHO_MEMDESC_SPLIT);
	add(16 * M + P, 0, KHO_MEMDESC_SPLIT);
	add(32 * M, 0, KHO_MEMDESC_SPLIT);
	add(32 * M + P, 0, KHO_MEMDESC_FOLIO);
	CHECK(!take_in(false));
	CHECK(!kho_preserved_take(memory + 16 * M + P / 2, P));
	CHECK(!kho_preserved_take(memory + 16 * M + 3 * P / 2, P));
	CHECK(kho_preserved_take(memory + 32 * M + P / 2, P) == -EINVAL);
	done();
}

static void test_settle(void)
{
	begin("what is reserved late is lost, but not what is kept around it");
	add(16 * M, 3, KHO_MEMDESC_IOPTDESC);
	add(17 * M, 3, 15);
	add(18 * M, 0, KHO_MEMDESC_FOLIO);
	CHECK(!take_in(false));
	reserve(16 * M + 5 * P);
	reserve(17 * M + 5 * P);
	CHECK(!kho_preserved_settle(memory + FDT));
	CHECK(!in_map(16 * M, 3, KHO_MEMDESC_IOPTDESC) && is_free(16 * M, 8));
	CHECK(held(17 * M, 8));
	CHECK(in_map(18 * M, 0, KHO_MEMDESC_FOLIO));
	CHECK(strstr(klog, "2 preservations are lost "));
	done();

	begin("nothing can be used without the FDT or the map");
	for (int i = 0; i < 2; i++) {
		begin(test_name);
		add(17 * M, 3, 15);
		CHECK(!take_in(false));
		reserve(i ? FDT : virt_to_phys(map.root) - memory);
		CHECK(kho_preserved_settle(memory + FDT) == -EINVAL);
		CHECK(!kho_preserved.map && !kho_kept.tree.root && !kho_kept.entries);
	}
	done();
}

/* Taking a map in can fail only for want of memory for the list of its nodes. */
static void test_enomem(void)
{
	begin("without memory for records what is kept is held all the same");
	for (long nr = 0; nr < 40; nr++) {
		const long before = in_use;
		bool recorded;

		begin(test_name);
		add(16 * M, 0, 15);
		add(300 * M, 4, 15);
		add(64 * M, MAX_PAGE_ORDER + 1, KHO_MEMDESC_IOPTDESC);
		add(508 * M, 10, KHO_MEMDESC_FOLIO);
		add(520 * M, 10, KHO_MEMDESC_FOLIO);
		add(600 * M, 9, KHO_MEMDESC_FOLIO);
		divide(510 * M, 0);
		in_use = before;
		may_allocate = nr;
		if (!nr) {
			CHECK(take_in(false) == -ENOMEM);
			CHECK(in_use == before && !kho_preserved.map);
			continue;
		}
		CHECK(!take_in(false));
		CHECK(held(16 * M, 1) && held(300 * M, 16) && held(64 * M, 2048));
		CHECK(held(508 * M, 1024) && held(520 * M, 1024) && held(600 * M, 512));
		CHECK(is_free(16 * M + P, 1) && is_free(512 * M, 1024) && is_free(602 * M, 512));
		/* Nobody gets the one on two nodes, if need be at the cost of others. */
		recorded = kept(508 * M, 10, KHO_MEMDESC_FOLIO);
		CHECK(in_map(508 * M, 10, KHO_MEMDESC_FOLIO) != recorded);
		CHECK(!(kho_preserved_orders(KHO_MEMDESC_FOLIO) & BIT(10)) != recorded);
		CHECK(kho_preserved_orders(KHO_MEMDESC_FOLIO) & BIT(9));
		CHECK(kho_kept.entries == (nr > 6 ? 4 : 5));
		CHECK(recorded == (nr > 6));
	}
	CHECK(kept(16 * M, 0, 15) && kept(300 * M, 4, 15));
	done();
}

/* How many nodes the map has, with its root. */
static unsigned long nr_nodes(const struct kho_radix_node *node, unsigned int level)
{
	unsigned long nr = 1;

	for (unsigned long i = 0; level && i < 1UL << KHO_TABLE_SIZE_LOG2; i++)
		if (node->table[i])
			nr += nr_nodes(phys_to_virt(node->table[i]), level - 1);
	return nr;
}

static void test_memory(void)
{
	const unsigned long top = KHO_TREE_MAX_DEPTH - 1;
	unsigned long nr;
	u64 growing;

	begin("what taking in needs grows with the map, not with the memory");
	add(256 * M, 16, KHO_MEMDESC_FOLIO);
	for (unsigned long i = 0; i < 128; i++)
		add(128 * M + i * 2 * M, 9, KHO_MEMDESC_HUGETLB);
	CHECK(!take_in(false));
	CHECK(strstr(klog, "left out") && next_page == memory + MEMORY_SIZE - SCRATCH_SIZE + P);
	CHECK(held(128 * M, 32768) && held(256 * M, 65536) && is_free(512 * M, 65536));
	done();

	begin("what is larger than a window is believed in all windows");
	add(256 * M, 16, KHO_MEMDESC_SLAB);
	add(256 * M, 16, KHO_MEMDESC_HUGETLB);
	add(500 * M, 0, KHO_MEMDESC_FOLIO);
	add(384 * M, 15, KHO_MEMDESC_HUGETLB);
	CHECK(!take_in(false));
	CHECK(in_map(256 * M, 16, KHO_MEMDESC_HUGETLB) && held(256 * M, 65536));
	CHECK(!in_map(500 * M, 0, KHO_MEMDESC_FOLIO) && !in_map(384 * M, 15, KHO_MEMDESC_HUGETLB));
	CHECK(!kho_kept.entries && strstr(klog, "3 entries left out\n"));
	done();

	begin("memory that is partly behind the end");
	add(MEMORY_SIZE - 4 * M, 11, KHO_MEMDESC_HUGETLB);
	add(MEMORY_SIZE - 64 * M, 16, KHO_MEMDESC_HUGETLB);
	add(MEMORY_SIZE, 0, KHO_MEMDESC_FOLIO);
	add(MEMORY_SIZE - 4 * M, 11, 15);
	/* Its leaf is that of memory which exists. */
	add(2 * MEMORY_SIZE, 11, KHO_MEMDESC_HUGETLB);
	CHECK(!take_in(false));
	CHECK(!kho_kept.entries && strstr(klog, "5 entries left out\n"));
	done();

	begin("the list of nodes grows");
	for (unsigned int type = 1; type < 12; type++)
		for (unsigned int order = 0; order < 10; order++)
			for (unsigned long i = 0; i < 7; i++)
				add(64 * M + i * 128 * M + (type << order) * P, order, type);
	nr = nr_nodes(map.root, top);
	CHECK(nr > 512);
	CHECK(!take_in(false));
	CHECK(next_page - (memory + MEMORY_SIZE - SCRATCH_SIZE) <= 48 * nr + P);
	CHECK(kho_nodes_size(nr, &growing) == kho_nodes.size * sizeof(long));
	CHECK(growing == kho_nodes.size * 3 / 2 * sizeof(long) && growing <= 48 * nr);
	for (unsigned long pfn = PHYS_PFN(memory); pfn < PHYS_PFN(memory + MEMORY_SIZE); pfn++)
		nr -= kho_nodes_next(pfn, pfn + 1) == pfn;
	CHECK(!nr);
	done();
}

/* Which pages of a block the page allocator must not get. */
static bool block_is(unsigned long at, unsigned long first, unsigned long nr)
{
	DECLARE_BITMAP(block, MAX_ORDER_NR_PAGES);
	const unsigned long pfn = PHYS_PFN(memory + at);

	if (!kho_preserved_block(pfn, pfn + MAX_ORDER_NR_PAGES, block))
		return !nr;
	for (unsigned long i = 0; i < MAX_ORDER_NR_PAGES; i++)
		if (test_bit(i, block) != (i >= first && i < first + nr))
			return false;
	/* Parts of it, and the halves around them. */
	return kho_preserved_block(pfn + first, pfn + first + 1, block) &&
	       !kho_preserved_block(pfn, pfn + first, block) &&
	       (first + nr == MAX_ORDER_NR_PAGES ||
		!kho_preserved_block(pfn + first + nr, pfn + MAX_ORDER_NR_PAGES, block));
}

static void test_blocks(void)
{
	begin("blocks as the page allocator gets them");
	next_page = memory + 400 * M + 7 * P;
	add(16 * M + 5 * P, 0, KHO_MEMDESC_FOLIO);
	add(16 * M + 6 * P, 1, KHO_MEMDESC_SLAB);
	add(16 * M + 8 * P, 3, KHO_MEMDESC_SPLIT);
	add(20 * M, 10, KHO_MEMDESC_SPLIT);
	add(64 * M, 11, KHO_MEMDESC_HUGETLB);
	add(80 * M + 512 * P, 9, 15);
	add(256 * M, 15, KHO_MEMDESC_HUGETLB);
	CHECK(!take_in(false));
	CHECK(block_is(16 * M, 5, 11) && block_is(12 * M, 0, 0));
	CHECK(block_is(20 * M, 0, 1024) && block_is(24 * M, 0, 0));
	CHECK(block_is(60 * M, 0, 0) && block_is(64 * M, 0, 1024) && block_is(68 * M, 0, 1024));
	CHECK(block_is(80 * M, 512, 512) && block_is(84 * M, 0, 0));
	CHECK(block_is(256 * M, 0, 1024) && block_is(380 * M, 0, 1024) && block_is(384 * M, 0, 0));
	/* The nodes. */
	CHECK(block_is(400 * M, 7, nr_nodes(map.root, KHO_TREE_MAX_DEPTH - 1) - 6));
	done();
}

static void test_nodes(void)
{
	const unsigned long top = KHO_TREE_MAX_DEPTH - 1;
	struct kho_radix_node *node;

	begin("a link to a node that was met before is cut");
	add(16 * M, 0, KHO_MEMDESC_SLAB);
	add(800 * M, 0, KHO_MEMDESC_SLAB);
	/* A cycle on each level, and two links to one leaf. */
	node = map.root;
	for (unsigned long level = top; level > 0; level--) {
		struct kho_radix_node *next;

		next = phys_to_virt(node->table[kho_radix_get_table_index(
			key_of(800 * M, 0, KHO_MEMDESC_SLAB), level)]);
		for (unsigned long i = 0; i < 1UL << KHO_TABLE_SIZE_LOG2; i++)
			if (!node->table[i])
				node->table[i] = virt_to_phys(i % 2 ? map.root : next);
		node = next;
	}
	CHECK(!take_in(false));
	CHECK(nr_nodes(map.root, top) < 32 && strstr(klog, "met before"));
	/* The first link to a node may be the wrong one, but pages have one owner. */
	CHECK(held(virt_to_phys(map.root) - memory, 1));
	done();

	begin("a node that an entry has");
	next_page = memory + 400 * M;
	add(virt_to_phys(map.root) - memory, 0, KHO_MEMDESC_SLAB);
	/* The nodes are in the second window of these. */
	add(256 * M, 16, KHO_MEMDESC_FOLIO);
	add(256 * M, 16, 15);
	CHECK(!take_in(false));
	CHECK(!in_map(virt_to_phys(map.root) - memory, 0, KHO_MEMDESC_SLAB));
	CHECK(!in_map(256 * M, 16, KHO_MEMDESC_FOLIO) && !kept(256 * M, 16, 15));
	CHECK(held(virt_to_phys(map.root) - memory, 1) && held(400 * M, 1));
	CHECK(is_free(256 * M, 256) && !kho_kept.entries);
	done();
}

int main(void)
{
	const size_t size = 3 * MEMORY_SIZE;
	void *virt = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (virt == MAP_FAILED)
		return 1;
	memory = ALIGN(virt_to_phys(virt), MEMORY_SIZE);
	test_unknown();
	test_gigantic();
	test_v4();
	test_impossible();
	test_partly();
	test_overlap();
	test_take();
	test_settle();
	test_enomem();
	test_memory();
	test_blocks();
	test_nodes();
	return 0;
}
