// SPDX-License-Identifier: GPL-2.0-only
/*
 * Folios and ranges of pages, handed over without types, for harness/versions:
 * lib/test_kho.c has no ranges. The first kernel preserves them, the unpatched kernel
 * or one that was told kho_format=v4. The second one restores each by the function for
 * what it was.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/module.h>

#define SUBTREE "kho-v4"

/*
 * Regions of reserve_mem, larger than any block of the page allocator. This format does
 * not tell a folio from a range: of what is one preservation, the second kernel restores
 * one as pages and the other one as a folio.
 */
#define LARGE "large"
#define GIGANTIC "gigantic"

enum what { FOLIO, BLOCK, RANGE, LARGE_RANGE };

struct entry {
	u64 phys;
	u64 nr_pages;
	u64 what;
};

struct manifest {
	u64 nr;
	struct entry entry[16];
};

static u64 word(u64 phys)
{
	return phys * 0x9e3779b97f4a7c15ULL;
}

#if __has_include(<linux/kho_memdesc.h>)
#include <linux/kho_memdesc.h>
#define TYPES
#define kho_preserve_folio kho_folio_preserve
#define kho_preserve_pages(page, nr) \
	kho_pages_exact_preserve(page_address(page), (nr) * PAGE_SIZE)
#endif

static void note(struct manifest *m, enum what what, phys_addr_t phys, u64 nr_pages)
{
	m->entry[m->nr++] = (struct entry){ phys, nr_pages, what };
	for (u64 i = 0; i < nr_pages * PAGE_SIZE; i += sizeof(u64))
		*(u64 *)phys_to_virt(phys + i) = word(phys + i);
}

static int preserve_folio(struct manifest *m, enum what what, unsigned int order)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order);

	if (!folio)
		return -ENOMEM;
	note(m, what, PFN_PHYS(folio_pfn(folio)), 1 << order);
	return kho_preserve_folio(folio);
}

/* Preserved already, by its owner, and with one order. */
static int note_region(struct manifest *m, enum what what, const char *name)
{
	phys_addr_t phys, size;

	if (!reserve_mem_find_by_name(name, &phys, &size))
		return -ENOENT;
	note(m, what, phys, size / PAGE_SIZE);
	return 0;
}

/* Pages [first, end) of a block: several orders, if the ends are not aligned. */
static int preserve_range(struct manifest *m, unsigned int first, unsigned int end)
{
	struct page *page = alloc_pages(GFP_KERNEL, 6);

	if (!page)
		return -ENOMEM;
	split_page(page, 6);
	note(m, RANGE, page_to_phys(page + first), end - first);
	return kho_preserve_pages(page + first, end - first);
}

static int preserve(void)
{
	struct folio *folio = folio_alloc(GFP_KERNEL | __GFP_ZERO, 0);
	struct manifest *m;
	int err;

	if (!folio)
		return -ENOMEM;
	m = folio_address(folio);

	err = preserve_folio(m, FOLIO, 0) ?: preserve_folio(m, FOLIO, 5) ?:
	      preserve_folio(m, FOLIO, MAX_PAGE_ORDER) ?: preserve_folio(m, BLOCK, 3) ?:
	      preserve_range(m, 0, 64) ?: preserve_range(m, 5, 6) ?: preserve_range(m, 3, 61) ?:
	      preserve_range(m, 8, 15) ?: preserve_range(m, 31, 33);
	if (err)
		return err;

	err = note_region(m, LARGE_RANGE, LARGE) ?: note_region(m, FOLIO, GIGANTIC);
	if (err)
		return err;

	err = kho_preserve_folio(folio) ?: kho_add_subtree(SUBTREE, m, sizeof(*m));
	pr_info("preserved %llu: %d\n", m->nr, err);
	return err;
}

#ifdef TYPES
static unsigned int bad;

#define CHECK(cond, fmt, ...) do {						\
		if (!(cond)) {							\
			bad++;							\
			pr_err("wrong: " fmt "\n", ##__VA_ARGS__);		\
		}								\
	} while (0)

static void check_pages(struct page *page, const struct entry *e)
{
	const bool split = e->what == RANGE || e->what == LARGE_RANGE;

	for (u64 i = 0; i < e->nr_pages; i++) {
		CHECK(page_ref_count(page + i) == (split || !i),
		      "page %llu of %#llx: %d references", i, e->phys,
		      page_ref_count(page + i));
		CHECK(PageCompound(page + i) == (e->what == FOLIO && e->nr_pages > 1),
		      "page %llu of %#llx: compound or not", i, e->phys);
	}
	for (u64 i = 0; i < e->nr_pages * PAGE_SIZE; i += sizeof(u64)) {
		if (*(u64 *)phys_to_virt(e->phys + i) != word(e->phys + i)) {
			CHECK(false, "contents at %#llx", e->phys + i);
			break;
		}
	}
}

static void restore_folio(const struct entry *e)
{
	struct folio *folio = kho_folio_restore(e->phys);

	CHECK(!IS_ERR(folio), "folio %#llx: %pe", e->phys, folio);
	if (IS_ERR(folio))
		return;
	CHECK(folio_nr_pages(folio) == e->nr_pages, "folio %#llx: %ld pages", e->phys,
	      folio_nr_pages(folio));
	check_pages(folio_page(folio, 0), e);
	folio_put(folio);
}

static void restore_block(const struct entry *e)
{
	const unsigned int order = ilog2(e->nr_pages);
	struct page *page;

	page = kho_pages_restore(e->phys, order + 1);
	CHECK(page == ERR_PTR(-EINVAL), "block of another order: %pe", page);
	page = kho_pages_restore(e->phys, order);
	CHECK(!IS_ERR(page), "block %#llx: %pe", e->phys, page);
	if (IS_ERR(page))
		return;
	check_pages(page, e);
	__free_pages(page, order);
}

static void restore_range(const struct entry *e)
{
	const size_t size = e->nr_pages * PAGE_SIZE;
	void *virt;

	/* Orders are all that there is on record: the last one must not be 0. */
	if (!((PHYS_PFN(e->phys) + e->nr_pages) % 2)) {
		virt = kho_pages_exact_restore(e->phys, size - PAGE_SIZE);
		CHECK(virt == ERR_PTR(-EINVAL), "too short a range: %pe", virt);
	}
	virt = kho_pages_exact_restore(e->phys, size + PAGE_SIZE);
	CHECK(virt == ERR_PTR(-ENOENT) || virt == ERR_PTR(-EINVAL),
	      "too long a range: %pe", virt);
	virt = kho_pages_exact_restore(e->phys, size);
	CHECK(!IS_ERR(virt), "range %#llx, %llu pages: %pe", e->phys, e->nr_pages, virt);
	if (IS_ERR(virt))
		return;
	check_pages(virt_to_page(virt), e);
	free_pages_exact(virt, size);
}

static int restore(phys_addr_t phys)
{
	struct folio *folio = kho_folio_restore(phys);
	struct manifest *m;

	if (IS_ERR(folio))
		return PTR_ERR(folio);
	m = folio_address(folio);

	for (u64 i = 0; i < m->nr; i++) {
		const struct entry *e = &m->entry[i];
		struct page *page;

		switch (e->what) {
		case FOLIO:
			restore_folio(e);
			break;
		case BLOCK:
			restore_block(e);
			break;
		default:
			restore_range(e);
		}
		page = kho_pages_restore(e->phys, 0);
		CHECK(page == ERR_PTR(-ENOENT), "a second time: %pe", page);
	}
	pr_info("restored %llu, %u wrong\n", m->nr, bad);
	folio_put(folio);
	return bad ? -EIO : 0;
}

#endif /* TYPES */

static int __init kho_v4_init(void)
{
#ifdef TYPES
	phys_addr_t phys;

	if (!kho_retrieve_subtree(SUBTREE, &phys, NULL))
		return restore(phys);
#endif
	return preserve();
}
module_init(kho_v4_init);

static void __exit kho_v4_exit(void)
{
}
module_exit(kho_v4_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A handover from a kernel without types");
