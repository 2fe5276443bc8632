// SPDX-License-Identifier: GPL-2.0
/*
 * Count the instructions of handing over slab objects and page tables, which no
 * unpatched kernel can. See kho_bench.c and harness/bench.
 *
 * Prints "BENCH name minimum mean", per operation. An allocation that fails is
 * an oops, which ends the run. With slab objects every so manieth call makes a
 * record or adopts a slab: both figures are the mean over all calls.
 */
#define pr_fmt(fmt) "BENCH " fmt

#include <linux/gfp.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/slab.h>
#include <linux/kho_memdesc.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "iommu-pages.h"

#define SUBTREE	"kho-bench-objects"
#define OBJECTS	100000
#define TABLES	20000

static char *what = "";
module_param(what, charp, 0);
MODULE_PARM_DESC(what, "what to preserve: dense, one_in_4, mixed, iommu or ptdesc");

static char *expect = "";
module_param(expect, charp, 0);
MODULE_PARM_DESC(expect, "what the previous kernel has preserved");

/*
 * What the next kernel gets to know. Of slab objects the first @firsts are the
 * first ones of their slabs.
 */
struct manifest {
	char what[16];
	u32 count, firsts;
	u64 phys[];
};

static u32 random(u32 below)
{
	static u32 state = 1;

	/* The same in every run. */
	state = state * 1664525 + 1013904223;
	return (u64)state * below >> 32;
}

static void shuffle(void **p, unsigned int n)
{
	while (n > 1) {
		unsigned int i = random(n--);

		swap(p[i], p[n]);
	}
}

/* How long it takes to do something for every i below @n. */
#define TIME(n, ...) ({							\
	u64 start_ = ktime_get_raw_ns();				\
									\
	for (unsigned int i = 0; i < (n); i++) {			\
		barrier();						\
		__VA_ARGS__;						\
	}								\
	ktime_get_raw_ns() - start_;					\
})

static void *alloc_one(void)
{
	static const u16 sizes[] = { 16, 32, 64, 96, 128, 192, 256, 512, 1024 };

	switch (*what) {
	case 'm':
		return kmalloc(sizes[random(ARRAY_SIZE(sizes))], GFP_KERNEL);
	case 'i':
		return iommu_alloc_pages_sz(GFP_KERNEL, PAGE_SIZE);
	case 'p':
		return ptdesc_address(pagetable_alloc(GFP_KERNEL, 0));
	default:
		return kmalloc(64, GFP_KERNEL);
	}
}

static void free_one(const char *which, void *p)
{
	switch (*which) {
	case 'i':
		return iommu_free_pages(p);
	case 'p':
		/* They are not kernel page tables, which has to be asked for. */
		return __pagetable_free(virt_to_ptdesc(p));
	default:
		return kfree(p);
	}
}

/* The objects to preserve; those beside them are free in the end. */
static void **alloc_all(unsigned int n)
{
	unsigned int step = *what == 'o' || *what == 'm' ? 4 : 1;
	void **all = vmalloc_array(n * step, sizeof(*all));
	void **p = vmalloc_array(n, sizeof(*p));

	for (unsigned int i = 0; i < n * step; i++)
		all[i] = alloc_one();
	for (unsigned int i = 0; i < n * step; i++) {
		if (i % step)
			free_one(what, all[i]);
		else
			p[i / step] = all[i];
	}
	vfree(all);
	if (*what == 'm')
		shuffle(p, n);
	return p;
}

static int preserve_all(void **p, unsigned int n, u64 *ns)
{
	int err = 0;

	switch (*what) {
	case 'i':
		*ns = TIME(n, err |= iommu_preserve_pages(p[i]));
		break;
	case 'p':
		*ns = TIME(n, err |= kho_ptdesc_preserve(virt_to_ptdesc(p[i])));
		break;
	default:
		*ns = TIME(n, err |= kho_slab_preserve(p[i]));
	}
	return err;
}

static u64 unpreserve_all(void **p, unsigned int n)
{
	switch (*what) {
	case 'i':
		return TIME(n, iommu_unpreserve_pages(p[i]));
	case 'p':
		return TIME(n, kho_ptdesc_unpreserve(virt_to_ptdesc(p[i])));
	default:
		return TIME(n, kho_slab_unpreserve(p[i]));
	}
}

static u64 restore_all(const char *which, const u64 *phys, void **p,
		       unsigned int n)
{
	switch (*which) {
	case 'i':
		return TIME(n, p[i] = iommu_restore_pages(phys[i]));
	case 'p':
		return TIME(n, struct ptdesc *pt = kho_ptdesc_restore(phys[i]);
			    p[i] = IS_ERR(pt) ? NULL : ptdesc_address(pt));
	default:
		return TIME(n, p[i] = kho_slab_restore(phys[i]));
	}
}

static bool is_slab(const char *which)
{
	return *which != 'i' && *which != 'p';
}

static void report(const char *name, const char *which, u64 ns, unsigned int n)
{
	u64 mean = n ? div_u64(ns * 100, n) : 0;

	pr_info("%s,%s %llu.%02llu %llu.%02llu\n", name, which, mean / 100,
		mean % 100, mean / 100, mean % 100);
}

static unsigned long head_pfn(const void *p)
{
	return page_to_pfn(virt_to_head_page(p));
}

static int preserve(void)
{
	unsigned int n = is_slab(what) ? OBJECTS : TABLES;
	const size_t size = struct_size_t(struct manifest, phys, n);
	/* A bit for each page of 8 GiB. */
	unsigned long *seen = vzalloc(SZ_8G / PAGE_SIZE / BITS_PER_BYTE);
	u64 nothing = TIME(n, ), ns;
	struct manifest *m;
	unsigned int nr;
	void **p;
	int err;

	m = kho_alloc_preserve(size);
	if (IS_ERR(m))
		return PTR_ERR(m);
	strscpy(m->what, what);
	m->count = n;
	m->firsts = 0;

	p = alloc_all(n);
	err = preserve_all(p, n, &ns);
	report("kho_preserve", what, ns - nothing, n);
	ns = unpreserve_all(p, n);
	report("kho_unpreserve", what, ns - nothing, n);
	err |= preserve_all(p, n, &ns);

	/* Twice over all: the first ones of slabs, the others. */
	nr = 0;
	for (unsigned int rest = 0; rest < 2; rest++) {
		for (unsigned int i = 0; i < n; i++) {
			if (!p[i] || (!rest && __test_and_set_bit(head_pfn(p[i]), seen)))
				continue;
			m->phys[nr] = virt_to_phys(p[i]);
			*(u64 *)p[i] = m->phys[nr++];
			p[i] = NULL;
			m->firsts += !rest;
		}
	}
	vfree(seen);
	vfree(p);
	if (!err)
		err = kho_add_subtree(SUBTREE, m, size);
	if (err)
		pr_err("failed: preserving %s\n", what);
	return err ? -EIO : 0;
}

/* What the records take that describe slabs, in pages and in use. */
static void report_records(const struct manifest *m)
{
	const struct kho_slab_root *root;
	u64 pages = 0, bytes = 0;
	phys_addr_t phys;

	if (kho_retrieve_subtree(KHO_SLAB_SUBTREE, &phys, NULL))
		return;
	root = phys_to_virt(phys);
	for (unsigned int i = 0; i < KHO_SLAB_RECORDS; i++) {
		const struct kho_slab_chunk *chunk;

		for (u64 next = root->chain[i]; next; next = chunk->next) {
			chunk = phys_to_virt(next);
			pages++;
			bytes += chunk->used *
				 (sizeof(struct kho_slab_record) + (8UL << i));
		}
	}
	report("kho_slab_record_bytes", m->what, bytes, m->count);
	report("kho_slab_record_bytes,with_pages", m->what, pages * PAGE_SIZE,
	       m->count);
}

static int restore(void)
{
	unsigned int bad = 0, first = 0;
	struct manifest *m;
	phys_addr_t phys;
	u64 nothing, ns;
	void **p;

	if (kho_retrieve_subtree(SUBTREE, &phys, NULL)) {
		if (*expect)
			pr_err("failed: %s were not handed over\n", expect);
		return *expect ? -ENOENT : 0;
	}
	m = phys_to_virt(phys);
	if (strcmp(m->what, expect) || !m->count)
		return -EINVAL;
	p = vmalloc_array(m->count, sizeof(*p));
	nothing = TIME(m->count, p[i] = (void *)READ_ONCE(m->phys[i]));

	if (is_slab(m->what)) {
		report_records(m);
		/* Reads all records. */
		ns = TIME(1, p[i] = kho_slab_restore(m->phys[i]));
		report("kho_slab,read_records", m->what, ns, m->count);
		first = m->firsts;
		ns = restore_all(m->what, m->phys + 1, p + 1, first - 1);
		report("kho_restore,and_adopt_slab", m->what, ns, first - 1);
	}
	ns = restore_all(m->what, m->phys + first, p + first, m->count - first);
	nothing = div_u64(nothing * (m->count - first), m->count);
	report("kho_restore", m->what, ns - nothing, m->count - first);

	for (unsigned int i = 0; i < m->count; i++) {
		if (IS_ERR_OR_NULL(p[i]) || p[i] != phys_to_virt(m->phys[i]) ||
		    *(u64 *)p[i] != m->phys[i])
			bad++;
		else
			free_one(m->what, p[i]);
	}
	pr_info("restored %u of %s, %u slabs, %u bad\n", m->count, m->what,
		m->firsts, bad);
	vfree(p);
	kho_restore_free(m);
	return bad ? -EIO : 0;
}

static int __init kho_bench_objects_init(void)
{
	int err = restore();

	return err || !*what ? err : preserve();
}
module_init(kho_bench_objects_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Instruction counts of the kexec handover of objects");
