// SPDX-License-Identifier: GPL-2.0
/*
 * Count the instructions of allocation and handover functions, in a guest whose
 * clock advances by 1 ns per instruction. Uses nothing but what an unpatched
 * kernel has, so that the same source measures both. See harness/bench.
 *
 * Prints "BENCH name minimum mean", per operation. There is plenty of memory and
 * one CPU; an allocation that fails is an oops, which ends the run.
 */
#define pr_fmt(fmt) "BENCH " fmt

#include <linux/gfp.h>
#include <linux/kexec_handover.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/vmalloc.h>

#include "folio.h"
#include "iommu-pages.h"

#define ROUNDS	10
#define BATCHES	10	/* in each round */
#define OPS	200	/* in each batch */

#define SUBTREE	"kho-bench"

static bool measure;
module_param(measure, bool, 0);
MODULE_PARM_DESC(measure, "measure allocation and preservation");
static unsigned int count;
module_param(count, uint, 0);
MODULE_PARM_DESC(count, "how many folios to preserve for the next kernel");
static unsigned int order;
module_param(order, uint, 0);
MODULE_PARM_DESC(order, "their order");
static unsigned int step = 2;
module_param(step, uint, 0);
MODULE_PARM_DESC(step, "of order 0 every so manieth page is taken, a power of two");

/*
 * Inline functions for page tables mention these two, which are not exported:
 * to tell page tables of the kernel from others. There are only others here, for
 * which it is enough that both exist.
 */
struct mm_struct init_mm;

#ifdef CONFIG_ASYNC_KERNEL_PGTABLE_FREE
void pagetable_free_kernel(struct ptdesc *pt)
{
	__pagetable_free(pt);
}
#endif

static bool expect;
module_param(expect, bool, 0);
MODULE_PARM_DESC(expect, "the previous kernel has preserved folios");

static struct page *one_page;
static struct kmem_cache *cache, *table_cache;
static void *held_table;
static void *many[OPS];

struct row {
	const char *name;
	void (*run)(unsigned int n);
	u64 best, sum;
};

#define DEFINE_RUN(name, ...)						\
static noinline void run_##name(unsigned int n)				\
{									\
	while (n--) {							\
		barrier();						\
		__VA_ARGS__;						\
	}								\
}

static void pte_table(void)
{
	struct ptdesc *pt = pagetable_alloc(GFP_KERNEL, 0);

	pagetable_pte_ctor(current->mm, pt);
	pagetable_dtor_free(pt);
}

DEFINE_RUN(nothing)
DEFINE_RUN(folio_0, folio_put(folio_alloc(GFP_KERNEL, 0)))
DEFINE_RUN(folio_9, folio_put(folio_alloc(GFP_KERNEL, 9)))
DEFINE_RUN(page, __free_page(alloc_page(GFP_KERNEL)))
DEFINE_RUN(pagetable, pagetable_free(pagetable_alloc(GFP_KERNEL, 0)))
DEFINE_RUN(pte, pte_table())
DEFINE_RUN(clear_page, clear_page(page_address(one_page)))
DEFINE_RUN(iommu, iommu_free_pages(iommu_alloc_pages_sz(GFP_KERNEL, 4096)))
/* One table of the page, @held_table, is in use all the time. */
DEFINE_RUN(iommu_part, iommu_free_pages(iommu_alloc_pages_sz(GFP_KERNEL, 1024)))
DEFINE_RUN(table_cache, kmem_cache_free(table_cache,
					kmem_cache_zalloc(table_cache, GFP_KERNEL)))
DEFINE_RUN(kmalloc_64, kfree(kmalloc(64, GFP_KERNEL)))
DEFINE_RUN(kmalloc_4096, kfree(kmalloc(4096, GFP_KERNEL)))
DEFINE_RUN(kmalloc_16384, kfree(kmalloc(16384, GFP_KERNEL)))
DEFINE_RUN(get_put, get_page(one_page); put_page(one_page))

/* Pairs live on per-CPU lists; these get at what is behind them. */
static void run_folio_0_many(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		many[i] = folio_alloc(GFP_KERNEL, 0);
	for (unsigned int i = 0; i < n; i++)
		folio_put(many[i]);
}

/*
 * Large objects, so that sheaves and partial slabs do not suffice; and not of a
 * kmalloc cache, whose partial slabs depend on everybody.
 */
static void run_cache_many(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		many[i] = kmem_cache_alloc(cache, GFP_KERNEL);
	for (unsigned int i = 0; i < n; i++)
		kmem_cache_free(cache, many[i]);
}

#define BURST(name, alloc, free)					\
static void run_##name(unsigned int n)					\
{									\
	for (unsigned int i = 0; i < n; i += 64) {			\
		const unsigned int c = min(64U, n - i);			\
		for (unsigned int j = 0; j < c; j++)			\
			many[j] = alloc;				\
		for (unsigned int j = 0; j < c; j++)			\
			free(many[j]);					\
	}								\
}
BURST(pt_64, pagetable_alloc(GFP_KERNEL, 0), pagetable_free)
BURST(iommu_64, iommu_alloc_pages_sz(GFP_KERNEL, 4096), iommu_free_pages)
BURST(part_64, iommu_alloc_pages_sz(GFP_KERNEL, 1024), iommu_free_pages)
DEFINE_RUN(iommu_3, iommu_free_pages(iommu_alloc_pages_sz(GFP_KERNEL, 32768)))
DEFINE_RUN(pagetable_1, pagetable_free(pagetable_alloc(GFP_KERNEL, 1)))
DEFINE_RUN(pagetable_acc, pagetable_free(pagetable_alloc(GFP_KERNEL_ACCOUNT, 0)))

static struct row rows[] = {
	{ "burst64,pagetable", run_pt_64 },
	{ "burst64,iommu", run_iommu_64 },
	{ "burst64,iommu(1024)", run_part_64 },
	{ "iommu(32768)", run_iommu_3 },
	{ "pagetable(1)", run_pagetable_1 },
	{ "pagetable_account", run_pagetable_acc },
	{ "folio_alloc(0)/folio_put", run_folio_0 },
	{ "folio_alloc(0)/folio_put,200_at_once", run_folio_0_many },
	{ "folio_alloc(9)/folio_put", run_folio_9 },
	{ "alloc_page/__free_page", run_page },
	{ "get_page/put_page", run_get_put },
	{ "pagetable_alloc/pagetable_free", run_pagetable },
	{ "pagetable_alloc+pte_ctor/dtor_free", run_pte },
	{ "iommu_alloc_pages_sz(4096)/free", run_iommu },
	{ "iommu_alloc_pages_sz(1024)/free", run_iommu_part },
	{ "kmem_cache_zalloc(1024)/free", run_table_cache },
	{ "clear_page", run_clear_page },
	{ "kmalloc(64)/kfree", run_kmalloc_64 },
	{ "kmalloc(4096)/kfree", run_kmalloc_4096 },
	{ "kmalloc(16384)/kfree", run_kmalloc_16384 },
	{ "kmem_cache_alloc/free,200_at_once", run_cache_many },
};

static u64 time_of(void (*run)(unsigned int n), unsigned int n)
{
	u64 start = ktime_get_raw_ns();

	run(n);
	return ktime_get_raw_ns() - start;
}

/* What a batch of @n costs that does nothing: the loop, and asking for the time. */
static u64 overhead(unsigned int n)
{
	u64 best = U64_MAX;

	for (int i = 0; i < BATCHES; i++)
		best = min(best, time_of(run_nothing, n));
	return best;
}

/* In hundredths, @best of a batch, @sum of @batches. */
static void report(const char *name, const char *suffix, u64 best, u64 sum,
		   unsigned int batches, unsigned int ops)
{
	u64 ns = overhead(ops), min, mean;

	min = div_u64((best - ns) * 100, ops);
	mean = div_u64((sum - ns * batches) * 100, ops * batches);
	pr_info("%s%s %llu.%02llu %llu.%02llu\n", name, suffix, min / 100,
		min % 100, mean / 100, mean % 100);
}

/*
 * What the page allocator does next depends on what was freed last and how full
 * the per-CPU lists are. Begin each round in another state, so that the minimum
 * does not hang on one of them.
 */
static void stir(unsigned int round)
{
	run_folio_0_many((round * 37) % OPS);
	run_folio_9(round % 3);
	run_kmalloc_16384(round);
}

static void measure_rows(void)
{
	cache = kmem_cache_create("kho_bench", 4096, 0, SLAB_NO_MERGE, NULL);
	table_cache = kmem_cache_create("kho_bench_table", 1024, 1024,
					SLAB_NO_MERGE, NULL);
	held_table = iommu_alloc_pages_sz(GFP_KERNEL, 1024);
	for (struct row *r = rows; r < rows + ARRAY_SIZE(rows); r++)
		r->best = U64_MAX;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		stir(round);
		for (struct row *r = rows; r < rows + ARRAY_SIZE(rows); r++) {
			r->run(OPS);
			for (int batch = 0; batch < BATCHES; batch++) {
				u64 ns = time_of(r->run, OPS);

				r->best = min(r->best, ns);
				r->sum += ns;
			}
		}
	}

	for (struct row *r = rows; r < rows + ARRAY_SIZE(rows); r++)
		report(r->name, "", r->best, r->sum, ROUNDS * BATCHES, OPS);
	iommu_free_pages(held_table);
	kmem_cache_destroy(table_cache);
	kmem_cache_destroy(cache);
}

static int cmp_pointer(const void *a, const void *b)
{
	return cmp_int(*(unsigned long *)a, *(unsigned long *)b);
}

/* @n order 0 folios, which are neighbours in blocks of 4 MiB, by address. */
static struct folio **alloc_neighbours(unsigned int n)
{
	const unsigned int block = 1 << MAX_PAGE_ORDER, blocks = n / block;
	struct page **head = vmalloc_array(blocks, sizeof(*head));
	struct folio **folios = vmalloc_array(n, sizeof(*folios));

	for (unsigned int i = 0; i < blocks; i++) {
		head[i] = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER);
		split_page(head[i], MAX_PAGE_ORDER);
	}
	sort(head, blocks, sizeof(*head), cmp_pointer, NULL);
	for (unsigned int i = 0; i < n; i++)
		folios[i] = page_folio(head[i / block] + i % block);
	vfree(head);
	return folios;
}

static struct folio **alloc_large(unsigned int n, unsigned int order)
{
	struct folio **folios = vmalloc_array(n, sizeof(*folios));

	for (unsigned int i = 0; i < n; i++)
		folios[i] = folio_alloc(GFP_KERNEL, order);
	sort(folios, n, sizeof(*folios), cmp_pointer, NULL);
	return folios;
}

static void free_folios(struct folio **folios, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		folio_put(folios[i]);
	vfree(folios);
}

static void shuffle(struct folio **folios, unsigned int n)
{
	u32 random = 1;

	/* The same order in every run. */
	for (unsigned int i = n - 1; i > 0; i--) {
		random = random * 1664525 + 1013904223;
		swap(folios[i], folios[(u64)random * (i + 1) >> 32]);
	}
}

/* Of @folios @batches * @ops at distance @step. */
static int measure_kho(struct folio **folios, unsigned int step,
		       unsigned int batches, unsigned int ops, const char *suffix)
{
	u64 best = U64_MAX, sum = 0, start, ns;
	struct folio **f = folios;
	int err = 0;

	for (unsigned int b = 0; b < batches; b++) {
		start = ktime_get_raw_ns();
		for (unsigned int i = 0; i < ops; i++, f += step)
			err |= kho_folio_preserve(*f);
		ns = ktime_get_raw_ns() - start;
		best = min(best, ns);
		sum += ns;
	}
	if (err) {
		pr_err("failed: kho_folio_preserve%s\n", suffix);
		return -EIO;
	}
	report("kho_folio_preserve", suffix, best, sum, batches, ops);

	best = U64_MAX;
	sum = 0;
	f = folios;
	for (unsigned int b = 0; b < batches; b++) {
		start = ktime_get_raw_ns();
		for (unsigned int i = 0; i < ops; i++, f += step)
			kho_folio_unpreserve(*f);
		ns = ktime_get_raw_ns() - start;
		best = min(best, ns);
		sum += ns;
	}
	report("kho_folio_unpreserve", suffix, best, sum, batches, ops);
	return 0;
}

#ifdef HAVE_KHO_FOLIOS
/* The batch form, which the stock kernel has not. */
static int measure_batch(struct folio **folios, unsigned int step,
			 unsigned int batches, unsigned int ops,
			 const char *suffix)
{
	struct folio **some = vmalloc_array(ops, sizeof(*some));
	u64 best = U64_MAX, sum = 0, start, ns;
	int err = 0;

	for (unsigned int b = 0; b < batches; b++) {
		for (unsigned int i = 0; i < ops; i++)
			some[i] = folios[(b * ops + i) * step];
		start = ktime_get_raw_ns();
		err |= kho_folios_preserve(some, ops);
		ns = ktime_get_raw_ns() - start;
		best = min(best, ns);
		sum += ns;
	}
	for (unsigned int b = 0; b < batches; b++) {
		for (unsigned int i = 0; i < ops; i++)
			some[i] = folios[(b * ops + i) * step];
		kho_folios_unpreserve(some, ops);
	}
	vfree(some);
	if (err) {
		pr_err("failed: kho_folios_preserve%s\n", suffix);
		return -EIO;
	}
	report("kho_folios_preserve", suffix, best, sum, batches, ops);
	return 0;
}
#else
static int measure_batch(struct folio **folios, unsigned int step,
			 unsigned int batches, unsigned int ops,
			 const char *suffix)
{
	return 0;
}
#endif

static int measure_handover(void)
{
	unsigned int n = SZ_1G / PAGE_SIZE;
	struct folio **folios;
	int err;

	folios = alloc_neighbours(n);
	err = measure_kho(folios, 1, 100, OPS, "(0),neighbours");
	if (!err)
		err = measure_kho(folios, 2, 100, OPS, "(0),scattered");
	if (!err)
		err = measure_batch(folios, 1, 100, OPS, "(0),neighbours");
	if (!err)
		err = measure_batch(folios, 2, 100, OPS, "(0),scattered");
	shuffle(folios, n);
	if (!err)
		err = measure_kho(folios, 1, 100, OPS, "(0),random_in_1G");
	if (!err)
		err = measure_batch(folios, 1, 100, OPS, "(0),random_in_1G");
	free_folios(folios, n);
	if (err)
		return err;

	n = 512;
	folios = alloc_large(n, 9);
	err = measure_kho(folios, 1, 8, 32, "(9),neighbours");
	if (!err)
		err = measure_kho(folios, 2, 8, 32, "(9),scattered");
	shuffle(folios, n);
	if (!err)
		err = measure_kho(folios, 1, 16, 32, "(9),random_in_1G");
	free_folios(folios, n);
	return err;
}

/*
 * What the next kernel gets to know. Folios of order 0 lie @step pages apart in
 * blocks of MAX_ORDER_NR_PAGES; others are a block each.
 */
struct manifest {
	u32 count, order, step;
	u64 block[];
};

static phys_addr_t phys_of(const struct manifest *m, unsigned int i)
{
	unsigned int page = i * m->step;

	if (m->order)
		return m->block[i];
	return m->block[page / MAX_ORDER_NR_PAGES] +
	       PFN_PHYS(page % MAX_ORDER_NR_PAGES);
}

static int preserve(void)
{
	unsigned int blocks = order ? count : DIV_ROUND_UP(count * step,
							   MAX_ORDER_NR_PAGES);
	const size_t size = struct_size_t(struct manifest, block, blocks);
	struct folio **folios, *folio;
	struct manifest *m;
	int err;

	folio = folio_alloc(GFP_KERNEL, get_order(size));
	m = folio_address(folio);
	m->count = count;
	m->order = order;
	m->step = step;
	err = kho_folio_preserve(folio);
	if (!err)
		err = kho_add_subtree(SUBTREE, m, size);

	folios = order ? alloc_large(count, order) :
			 alloc_neighbours(blocks * MAX_ORDER_NR_PAGES);
	for (unsigned int i = 0; i < blocks; i++)
		m->block[i] = PFN_PHYS(folio_pfn(folios[order ? i :
						  i * MAX_ORDER_NR_PAGES]));
	for (unsigned int i = 0; i < count; i++) {
		folio = folios[order ? i : i * step];
		*(u64 *)folio_address(folio) = phys_of(m, i);
		err |= kho_folio_preserve(folio);
	}
	vfree(folios);
	if (err)
		pr_err("failed: %u folios of order %u\n", count,
		       order);
	return err ? -EIO : 0;
}

static int restore(void)
{
	u64 best = U64_MAX, sum = 0, start, ns;
	struct folio **folios, *folio;
	unsigned int ops, i, bad = 0;
	struct manifest *m;
	phys_addr_t phys;
	char suffix[8];

	/* A boot without a handover would have the best figures of all. */
	if (kho_retrieve_subtree(SUBTREE, &phys, NULL)) {
		if (expect)
			pr_err("failed: nothing was handed over\n");
		return expect ? -ENOENT : 0;
	}
	folio = kho_folio_restore(phys);
	if (IS_ERR_OR_NULL(folio))
		return -EIO;
	m = folio_address(folio);
	folios = vmalloc_array(m->count, sizeof(*folios));
	ops = m->order ? 32 : 64;

	for (i = 0; i + ops <= m->count;) {
		phys_addr_t at[64];

		for (unsigned int op = 0; op < ops; op++)
			at[op] = phys_of(m, i + op);
		start = ktime_get_raw_ns();
		for (unsigned int op = 0; op < ops; op++, i++)
			folios[i] = kho_folio_restore(at[op]);
		ns = ktime_get_raw_ns() - start;
		best = min(best, ns);
		sum += ns;
	}
	/* Once for each order is enough. */
	if (i && m->step == 2) {
		snprintf(suffix, sizeof(suffix), "(%u)", m->order);
		if (m->order || m->count == 4096)
			report("kho_folio_restore", suffix, best, sum, i / ops,
			       ops);
	}
	for (; i < m->count; i++)
		folios[i] = kho_folio_restore(phys_of(m, i));

	for (i = 0; i < m->count; i++) {
		if (IS_ERR_OR_NULL(folios[i]) ||
		    folio_order(folios[i]) != m->order ||
		    *(u64 *)folio_address(folios[i]) != phys_of(m, i)) {
			bad++;
			continue;
		}
		folio_put(folios[i]);
	}
	vfree(folios);
	pr_info("restored %u folios of order %u, %u apart, %u bad\n", m->count,
		m->order, m->step, bad);
	folio_put(virt_to_folio(m));
	return bad ? -EIO : 0;
}

static int __init kho_bench_init(void)
{
	int err;

	one_page = alloc_page(GFP_KERNEL);
	err = restore();
	if (!err && measure) {
		measure_rows();
		err = measure_handover();
	}
	if (!err && count)
		err = preserve();
	__free_page(one_page);
	return err;
}
module_init(kho_bench_init);

static void __exit kho_bench_exit(void)
{
}
module_exit(kho_bench_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Instruction counts of memory allocation and kexec handover");
