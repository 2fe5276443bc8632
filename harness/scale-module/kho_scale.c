// SPDX-License-Identifier: GPL-2.0-only
/*
 * A great many preservations, for harness/scale. What the previous kernel has
 * handed over is restored, checked and freed; then this one preserves as its
 * parameters say.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/vmalloc.h>

#define SUBTREE "kho-scale"
#define BATCH 512

static bool first;
module_param(first, bool, 0);
MODULE_PARM_DESC(first, "this is the first kernel: nothing was handed over");
static unsigned int count;
module_param(count, uint, 0);
MODULE_PARM_DESC(count, "how many to preserve; 0: nothing but the list of them");
static unsigned int order;
module_param(order, uint, 0);
MODULE_PARM_DESC(order, "their order");
static unsigned int step = 1;
module_param(step, uint, 0);
MODULE_PARM_DESC(step, "every so manieth of this order is taken, a power of two");
static bool mix;
module_param(mix, bool, 0);
MODULE_PARM_DESC(mix, "folios, blocks and split pages in turn instead of folios");
static unsigned int leave;
module_param(leave, uint, 0);
MODULE_PARM_DESC(leave, "MiB of free memory at which to stop before the count");
static ulong gone, gone_end;
module_param(gone, ulong, 0);
module_param(gone_end, ulong, 0);
MODULE_PARM_DESC(gone, "memory that the previous kernel had and this one has not");
static ulong added, added_end;
module_param(added, ulong, 0);
module_param(added_end, ulong, 0);
MODULE_PARM_DESC(added, "memory that was added after boot: it cannot be preserved");

/* What the next kernel gets to know: where the blocks are. */
struct manifest {
	u32 count, order, step, mix;
	u64 block[];
};

static phys_addr_t phys_of(const struct manifest *m, unsigned int i)
{
	u64 page = ((u64)i * m->step) << m->order;

	return m->block[page / MAX_ORDER_NR_PAGES] +
	       PFN_PHYS(page % MAX_ORDER_NR_PAGES);
}

/* In the first and in the last page. */
static void fill(phys_addr_t phys, unsigned int order)
{
	u64 *p = phys_to_virt(phys);

	p[0] = phys;
	p[(PAGE_SIZE << order) / sizeof(*p) - 1] = ~phys;
}

static bool filled(phys_addr_t phys, unsigned int order)
{
	u64 *p = phys_to_virt(phys);

	return p[0] == phys &&
	       p[(PAGE_SIZE << order) / sizeof(*p) - 1] == ~phys;
}

static int preserve_one(phys_addr_t phys, unsigned int i)
{
	switch (i % 3) {
	case 0:
		return kho_folio_preserve(page_folio(phys_to_page(phys)));
	case 1:
		return kho_pages_preserve(phys_to_page(phys), 0);
	default:
		return kho_pages_exact_preserve(phys_to_virt(phys), PAGE_SIZE);
	}
}

static int preserve_all(struct manifest *m)
{
	static struct folio *folios[BATCH];
	unsigned int nr;
	int err;

	for (unsigned int i = 0; i < m->count; i += nr) {
		nr = min(m->count - i, BATCH);
		for (unsigned int j = 0; j < nr; j++) {
			fill(phys_of(m, i + j), m->order);
			folios[j] = page_folio(phys_to_page(phys_of(m, i + j)));
		}
		err = 0;
		if (!m->mix)
			err = kho_folios_preserve(folios, nr);
		for (unsigned int j = 0; m->mix && !err && j < nr; j++)
			err = preserve_one(phys_of(m, i + j), i + j);
		if (err)
			return err;
		cond_resched();
	}
	return 0;
}

/* A block of MAX_ORDER_NR_PAGES, as folios of the order that is asked for. */
static u64 new_block(int *nid)
{
	struct page *page = NULL;

	for (unsigned int i = 0; i < nr_online_nodes && !page; i++) {
		*nid = next_online_node(*nid);
		if (*nid == MAX_NUMNODES)
			*nid = first_online_node;
		if (order) {
			struct folio *folio;

			folio = __folio_alloc_node(GFP_KERNEL | __GFP_THISNODE |
						   __GFP_NOWARN, order, *nid);
			page = folio ? &folio->page : NULL;
			continue;
		}
		page = alloc_pages_node(*nid, GFP_KERNEL | __GFP_THISNODE |
					__GFP_NOWARN | __GFP_RETRY_MAYFAIL,
					MAX_PAGE_ORDER);
		if (page)
			split_page(page, MAX_PAGE_ORDER);
	}
	return page ? page_to_phys(page) : 0;
}

static int preserve(void)
{
	/* Folios of a higher order stand for a block each. */
	const unsigned int per_block = order ? 1 : MAX_ORDER_NR_PAGES / step;
	const unsigned int blocks = min(DIV_ROUND_UP(count, per_block),
					totalram_pages() >>
					(order ?: MAX_PAGE_ORDER));
	const size_t size = struct_size_t(struct manifest, block, blocks + 1);
	struct manifest *m;
	unsigned int n;
	int nid = -1;
	u64 start;
	int err;

	m = folio_address(folio_alloc(GFP_KERNEL, get_order(size)));
	for (n = 0; n < blocks; n++) {
		m->block[n] = new_block(&nid);
		if (!m->block[n])
			break;
		if (leave && si_mem_available() < (leave << (20 - PAGE_SHIFT)))
			break;
		cond_resched();
	}
	m->count = min(count, n * per_block);
	m->order = order;
	m->step = order ? MAX_ORDER_NR_PAGES >> order : step;
	m->mix = mix;
	if (m->count < count && !leave) {
		pr_err("memory for %u of %u only\n", m->count, count);
		return -ENOMEM;
	}

	err = kho_folio_preserve(virt_to_folio(m));
	if (!err)
		err = kho_add_subtree(SUBTREE, m, size);
	start = ktime_get_ns();
	if (!err)
		err = preserve_all(m);
	for (unsigned int i = 0; !order && i < n * MAX_ORDER_NR_PAGES; i++) {
		if (i % step)
			__free_page(pfn_to_page(PHYS_PFN(m->block[i / MAX_ORDER_NR_PAGES]) +
						i % MAX_ORDER_NR_PAGES));
	}
	pr_info("preserved %u of order %u, %u apart, in %u ms: %d\n", m->count,
		m->order, m->step, (u32)((ktime_get_ns() - start) / 1000000),
		err);
	return err;
}

static struct page *restore_one(const struct manifest *m, unsigned int i)
{
	const phys_addr_t phys = phys_of(m, i);
	struct folio *folio;
	void *virt;

	switch (m->mix ? i % 3 : 0) {
	case 0:
		folio = kho_folio_restore(phys);
		return IS_ERR(folio) ? ERR_CAST(folio) : &folio->page;
	case 1:
		return kho_pages_restore(phys, 0);
	default:
		virt = kho_pages_exact_restore(phys, PAGE_SIZE);
		return IS_ERR(virt) ? ERR_CAST(virt) : virt_to_page(virt);
	}
}

static bool is_gone(phys_addr_t phys)
{
	return phys >= gone && phys < gone_end;
}

static int restore(void)
{
	static phys_addr_t at[BATCH];
	static struct folio *folios[BATCH];
	unsigned int nr, bad = 0, missing = 0;
	struct manifest *m;
	struct folio *folio;
	phys_addr_t phys;
	u64 start;

	/* A handover that did not take place loses no memory, either. */
	if (kho_retrieve_subtree(SUBTREE, &phys, NULL)) {
		if (!first)
			pr_err("nothing was handed over\n");
		return first ? 0 : -ENOENT;
	}
	folio = kho_folio_restore(phys);
	if (IS_ERR(folio))
		return PTR_ERR(folio);
	m = folio_address(folio);

	start = ktime_get_ns();
	for (unsigned int i = 0; i < m->count; i += nr) {
		bool batch = !m->mix;

		nr = min(m->count - i, BATCH);
		for (unsigned int j = 0; j < nr; j++) {
			at[j] = phys_of(m, i + j);
			batch &= !is_gone(at[j]);
		}
		if (batch && kho_folios_restore(at, nr, folios)) {
			bad += nr;
			continue;
		}
		for (unsigned int j = 0; !batch && j < nr; j++) {
			struct page *page = restore_one(m, i + j);

			missing += is_gone(at[j]);
			bad += IS_ERR(page) != is_gone(at[j]);
			folios[j] = IS_ERR(page) ? NULL : page_folio(page);
		}
		for (unsigned int j = 0; j < nr; j++) {
			if (!folios[j])
				continue;
			if (folio_order(folios[j]) != m->order ||
			    folio_ref_count(folios[j]) != 1 ||
			    !filled(at[j], m->order))
				bad++;
			folio_put(folios[j]);
		}
		cond_resched();
	}
	pr_info("restored %u of order %u, %u apart, in %u ms: %u bad, %u not there\n",
		m->count, m->order, m->step,
		(u32)((ktime_get_ns() - start) / 1000000), bad, missing);
	folio_put(folio);
	return bad || !missing != !gone_end ? -EIO : 0;
}

/* Takes memory until some of it is what was added. */
static int refuse_added(void)
{
	struct folio *folio, *next;
	LIST_HEAD(others);
	phys_addr_t phys;
	int err = -ENOMEM;

	while (err == -ENOMEM) {
		folio = folio_alloc(GFP_KERNEL | __GFP_NOWARN |
				    __GFP_RETRY_MAYFAIL, PMD_ORDER);
		if (!folio)
			break;
		list_add(&folio->lru, &others);
		phys = PFN_PHYS(folio_pfn(folio));
		if (phys >= added && phys < added_end)
			err = kho_folio_preserve(folio);
	}
	list_for_each_entry_safe(folio, next, &others, lru)
		folio_put(folio);
	pr_info("preserving what was added: %d\n", err);
	return err == -EOPNOTSUPP ? 0 : -EIO;
}

static int __init kho_scale_init(void)
{
	int err;

	if (added)
		return refuse_added();

	err = restore();
	return err ?: preserve();
}
module_init(kho_scale_init);

static void __exit kho_scale_exit(void)
{
}
module_exit(kho_scale_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A handover of a great many preservations");
