// SPDX-License-Identifier: GPL-2.0-only
/*
 * Kexec handover of vmalloc areas.
 *
 * The pages of an area are preserved as split pages. A chain of chunks lists
 * the pages in the order in which they are mapped. For the format of the chunks
 * see include/linux/kho/abi/memdesc.h.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/export.h>
#include <linux/io.h>
#include <linux/kasan.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/kmemleak.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>

#include "../../mm/memdesc.h"
#include "../../mm/vmalloc.h"
#include "kexec_handover_internal.h"

/* vmalloc flags KHO supports */
#define KHO_VMALLOC_SUPPORTED_FLAGS	(VM_ALLOC | VM_ALLOW_HUGE_VMAP)

/* A position in a chain of chunks. */
struct kho_vmalloc_cursor {
	struct kho_vmalloc_chunk *chunk;
	unsigned int idx;
	unsigned short order;	/* of every entry, unless @runs */
	bool runs;		/* each entry has its own order */
};

static struct kho_vmalloc_cursor kho_vmalloc_begin(const struct kho_vmalloc *ser)
{
	struct kho_vmalloc_cursor cur = {
		.chunk = KHOSER_LOAD_PTR(ser->first),
		.order = ser->order,
		.runs = ser->flags & KHO_VMALLOC_RUNS,
	};

	/* The first entry of a chain with runs is the requested size. */
	cur.idx = cur.runs;
	return cur;
}

/* Get address and order of the next entry. Returns false at the end. */
static bool kho_vmalloc_next(struct kho_vmalloc_cursor *cur, phys_addr_t *phys,
			     unsigned int *order)
{
	while (cur->chunk) {
		if (cur->idx < KHO_VMALLOC_SIZE && cur->chunk->phys[cur->idx]) {
			u64 entry = cur->chunk->phys[cur->idx++];

			*phys = cur->runs ? entry & PAGE_MASK : entry;
			*order = cur->runs ? entry & ~PAGE_MASK : cur->order;
			return true;
		}
		cur->chunk = KHOSER_LOAD_PTR(cur->chunk->hdr.next);
		cur->idx = 0;
	}
	return false;
}

static struct kho_vmalloc_chunk *new_vmalloc_chunk(struct kho_vmalloc_chunk *cur)
{
	struct folio *folio = kho_alloc_folio(0);
	struct kho_vmalloc_chunk *chunk;

	if (!folio)
		return NULL;

	if (kho_preserve_page_desc(folio_page(folio, 0), 0,
				   KHO_MEMDESC_METADATA)) {
		folio_put(folio);
		return NULL;
	}
	chunk = folio_address(folio);
	if (cur)
		KHOSER_STORE_PTR(cur->hdr.next, chunk);
	return chunk;
}

/* Returns the order of the run of pages at @i that one entry can describe. */
static unsigned int kho_vmalloc_run_order(struct vm_struct *vm, unsigned int i)
{
	const unsigned int max = min(vm->nr_pages - i, MAX_ORDER_NR_PAGES);
	const unsigned long pfn = page_to_pfn(vm->pages[i]);
	unsigned int nr = 1;

	/* In "kho-v4" keys and entries have one order for the whole area. */
	if (kho_write_v4)
		return get_vm_area_page_order(vm);

	while (nr < max && page_to_pfn(vm->pages[i + nr]) == pfn + nr)
		nr++;
	return kho_split_order(pfn, pfn + nr);
}

static int kho_vmalloc_preserve_pages(struct vm_struct *vm,
				      struct kho_vmalloc_chunk *chunk)
{
	unsigned int idx = 0, order, nr;
	int err;

	if (!kho_write_v4)
		chunk->phys[idx++] = vm->requested_size;

	for (unsigned int i = 0; i < vm->nr_pages; i += nr << order) {
		struct page **pages = vm->pages + i;

		if (idx == KHO_VMALLOC_SIZE) {
			chunk = new_vmalloc_chunk(chunk);
			if (!chunk)
				return -ENOMEM;
			idx = 0;
		}

		nr = 1;
		order = kho_vmalloc_run_order(vm, i);
		if (order) {
			err = kho_split_preserve(pages[0], 1UL << order);
		} else {
			/* Preserve the single pages from here on at once. */
			while (nr < KHO_VMALLOC_SIZE - idx &&
			       i + nr < vm->nr_pages &&
			       !kho_vmalloc_run_order(vm, i + nr))
				nr++;
			err = kho_preserve_page_descs(pages, nr, 0,
						      KHO_MEMDESC_SPLIT);
		}
		if (err)
			return err;

		for (unsigned int j = 0; j < nr; j++) {
			phys_addr_t phys = page_to_phys(pages[j]);

			chunk->phys[idx++] = kho_write_v4 ? phys : phys | order;
		}
	}
	return 0;
}

/**
 * kho_vmalloc_preserve - preserve a vmalloc area
 * @mem: the area's address, from vmalloc(), vmalloc_huge() or kvmalloc(), which
 *	returns kmalloc() memory for small sizes
 * @ser: set to what kho_vmalloc_restore() needs; the caller must hand it over
 *
 * The mapping itself is not handed over. The area comes back at another
 * address, with the same pages in the same order. The pages stay on their
 * nodes, but the node that vmalloc_node() was asked for is not recorded.
 *
 * Two more properties are not recorded: the alignment of the address, beyond
 * that of a page, and the protection of the mapping. The restored mapping is
 * PAGE_KERNEL.
 *
 * Context: Process context, may sleep.
 * Return: 0, or an error as listed in "Typed kexec handover". %-EINVAL if @mem
 *	is the start of neither an area nor an object that kvmalloc() has taken
 *	from kmalloc(); %-EOPNOTSUPP if the area is not ordinary vmalloc memory.
 */
int kho_vmalloc_preserve(const void *mem, struct kho_vmalloc *ser)
{
	struct kho_vmalloc_chunk *chunk;
	struct vm_struct *vm;
	int err;

	if (!kho_out.radix_tree.root)
		return -EOPNOTSUPP;

	if (!is_vmalloc_addr(mem)) {
		err = kho_slab_preserve(mem);
		if (!err)
			*ser = (struct kho_vmalloc) {
				.first.phys = virt_to_phys((void *)mem),
				.flags = KHO_VMALLOC_KMALLOC,
			};
		return err;
	}

	vm = find_vm_area(mem);
	if (!vm || kasan_reset_tag(vm->addr) != kasan_reset_tag(mem))
		return -EINVAL;
	if (!(vm->flags & VM_ALLOC) || vm->flags & ~KHO_VMALLOC_SUPPORTED_FLAGS)
		return -EOPNOTSUPP;

	chunk = new_vmalloc_chunk(NULL);
	if (!chunk)
		return -ENOMEM;

	*ser = (struct kho_vmalloc) {
		.total_pages = vm->nr_pages,
		.flags = KHO_VMALLOC_ALLOC,
		.order = get_vm_area_page_order(vm),
	};
	KHOSER_STORE_PTR(ser->first, chunk);
	if (vm->flags & VM_ALLOW_HUGE_VMAP)
		ser->flags |= KHO_VMALLOC_HUGE_VMAP;
	if (!kho_write_v4)
		ser->flags |= KHO_VMALLOC_RUNS;

	err = kho_vmalloc_preserve_pages(vm, chunk);
	if (err)
		kho_vmalloc_unpreserve(ser);
	return err;
}
EXPORT_SYMBOL_GPL(kho_vmalloc_preserve);

/**
 * kho_vmalloc_unpreserve - undo kho_vmalloc_preserve()
 * @ser: as kho_vmalloc_preserve() has set it; no longer valid afterwards
 *
 * Context: Process context, may sleep, but does not allocate.
 */
void kho_vmalloc_unpreserve(struct kho_vmalloc *ser)
{
	struct kho_vmalloc_cursor cur = kho_vmalloc_begin(ser);
	struct kho_vmalloc_chunk *chunk = cur.chunk, *next;
	unsigned int order;
	phys_addr_t phys;

	if (ser->flags & KHO_VMALLOC_KMALLOC) {
		kho_slab_unpreserve(phys_to_virt(ser->first.phys));
		ser->first.phys = 0;
		return;
	}

	while (kho_vmalloc_next(&cur, &phys, &order))
		kho_split_unpreserve(phys_to_page(phys), 1UL << order);

	for (; chunk; chunk = next) {
		next = KHOSER_LOAD_PTR(chunk->hdr.next);
		kho_unpreserve_page_desc(virt_to_page(chunk), 0,
					 KHO_MEMDESC_METADATA);
		free_page((unsigned long)chunk);
	}
	ser->first.phys = 0;
}
EXPORT_SYMBOL_GPL(kho_vmalloc_unpreserve);

/*
 * Claim the chunks of @ser. A chunk must be claimed before it is read: claiming
 * fails if the memory was not preserved as a chunk. And no chunk can be claimed
 * twice, so a chain that leads back into itself is noticed. Returns 0, or an
 * error; then nothing is claimed.
 */
static int kho_vmalloc_claim_chunks(const struct kho_vmalloc *ser)
{
	phys_addr_t phys = ser->first.phys;
	struct kho_vmalloc_chunk *chunk;
	unsigned long claimed = 0;
	union kho_page_info info;
	struct page *page;
	int err;

	while (phys) {
		page = kho_claim(phys, KHO_METADATA_TYPES, &info);
		if (IS_ERR(page)) {
			err = PTR_ERR(page);
			goto unclaim;
		}
		claimed++;
		if (info.order) {
			err = -EINVAL;
			goto unclaim;
		}
		chunk = page_address(page);
		phys = chunk->hdr.next.phys;
	}
	return 0;

unclaim:
	/* Stop by number: the chunk that failed may be one claimed before. */
	for (phys = ser->first.phys; claimed; claimed--) {
		page = phys_to_page(phys);
		chunk = page_address(page);
		phys = chunk->hdr.next.phys;
		kho_unclaim(page);
	}
	return err;
}

/* Unclaim the claimed chunks, or, with @restored, restore and free them. */
static void kho_vmalloc_put_chunks(const struct kho_vmalloc *ser, bool restored)
{
	struct kho_vmalloc_chunk *chunk = KHOSER_LOAD_PTR(ser->first), *next;

	for (; chunk; chunk = next) {
		struct page *page = virt_to_page(chunk);

		next = KHOSER_LOAD_PTR(chunk->hdr.next);
		if (restored) {
			kho_init_claimed(page, KHO_MEMDESC_METADATA);
			__free_page(page);
		} else {
			kho_unclaim(page);
		}
	}
}

/* Are @ser and its chunks consistent? Sets @size to the requested size. */
static bool kho_vmalloc_valid(const struct kho_vmalloc *ser, size_t *size)
{
	struct kho_vmalloc_cursor cur = kho_vmalloc_begin(ser);
	unsigned long nr_pages = 0;
	unsigned int order;
	phys_addr_t phys;

	*size = (size_t)ser->total_pages << PAGE_SHIFT;
	if (cur.runs) {
		size_t requested = cur.chunk->phys[0];

		if (!requested || requested > *size)
			return false;
		*size = requested;
	}

	while (kho_vmalloc_next(&cur, &phys, &order)) {
		if (order > MAX_PAGE_ORDER)
			return false;
		nr_pages += 1UL << order;
		if (nr_pages > ser->total_pages)
			return false;
	}
	return nr_pages == ser->total_pages;
}

/* Undo the claim of the first @nr_pages pages of an area. */
static void kho_vmalloc_unclaim_pages(const struct kho_vmalloc *ser,
				      unsigned long nr_pages)
{
	struct kho_vmalloc_cursor cur = kho_vmalloc_begin(ser);
	unsigned int order;
	phys_addr_t phys;

	while (nr_pages && kho_vmalloc_next(&cur, &phys, &order)) {
		kho_split_unclaim(PHYS_PFN(phys), PHYS_PFN(phys) + (1UL << order));
		nr_pages -= 1UL << order;
	}
}

/* Claim all pages of an area and list them in @pages, or claim none. */
static int kho_vmalloc_claim_pages(const struct kho_vmalloc *ser,
				   struct page **pages)
{
	struct kho_vmalloc_cursor cur = kho_vmalloc_begin(ser);
	unsigned long idx = 0;
	unsigned int order;
	phys_addr_t phys;
	int err;

	while (kho_vmalloc_next(&cur, &phys, &order)) {
		err = kho_split_claim(phys, 1UL << order);
		if (err)
			goto unclaim;
		for (unsigned long i = 0; i < 1UL << order; i++)
			pages[idx++] = phys_to_page(phys) + i;
	}

	/* Huge mappings need whole blocks of their size, naturally aligned. */
	err = -EINVAL;
	for (unsigned long i = 0; ser->order && i < idx; i++) {
		unsigned long off = i % (1UL << ser->order);
		unsigned long pfn = page_to_pfn(pages[i]);

		if (pfn % (1UL << ser->order) != off ||
		    page_to_pfn(pages[i - off]) + off != pfn)
			goto unclaim;
	}
	return 0;

unclaim:
	kho_vmalloc_unclaim_pages(ser, idx);
	return err;
}

static void kho_vmalloc_init_pages(const struct kho_vmalloc *ser)
{
	struct kho_vmalloc_cursor cur = kho_vmalloc_begin(ser);
	unsigned int order;
	phys_addr_t phys;

	while (kho_vmalloc_next(&cur, &phys, &order)) {
		struct page *page = phys_to_page(phys);

		kho_split_init(PHYS_PFN(phys), PHYS_PFN(phys) + (1UL << order));
		for (unsigned long i = 0; i < 1UL << order; i++) {
			mod_lruvec_page_state(page + i, NR_VMALLOC, 1);
			memdesc_mark(page + i, MEMDESC_VMALLOC);
		}
	}
}

/* Map @pages into a new area with the size and flags of @ser. */
static struct vm_struct *kho_vmalloc_map(const struct kho_vmalloc *ser,
					 struct page **pages, size_t requested)
{
	const size_t size = (size_t)ser->total_pages << PAGE_SHIFT;
	unsigned long vm_flags = VM_ALLOC | VM_UNINITIALIZED;
	pgprot_t prot = PAGE_KERNEL;
	unsigned int order = 0;
	struct vm_struct *area;
	unsigned long addr;

	if (ser->flags & KHO_VMALLOC_HUGE_VMAP)
		vm_flags |= VM_ALLOW_HUGE_VMAP;
	/* If this kernel has no huge mappings, map each page by itself. */
	if (IS_ENABLED(CONFIG_HAVE_ARCH_HUGE_VMALLOC))
		order = ser->order;

	area = __get_vm_area_node(size, PAGE_SIZE << order, PAGE_SHIFT + order,
				  vm_flags, VMALLOC_START, VMALLOC_END,
				  NUMA_NO_NODE, GFP_KERNEL,
				  __builtin_return_address(0));
	if (!area)
		return NULL;

	/* kasan_unpoison_vmalloc() needs this, see __vmalloc_node_range(). */
	if (kasan_hw_tags_enabled())
		prot = arch_vmap_pgprot_tagged(prot);

	addr = (unsigned long)area->addr;
	if (vmap_pages_range(addr, addr + size, prot, pages,
			     PAGE_SHIFT + order)) {
		free_vm_area(area);
		return NULL;
	}

	set_vm_area_page_order(area, order);
	area->requested_size = requested;
	area->nr_pages = ser->total_pages;
	area->pages = pages;
	return area;
}

/**
 * kho_vmalloc_restore - restore a vmalloc area
 * @ser: as kho_vmalloc_preserve() has set it in the previous kernel
 *
 * The area is as vmalloc() returned it, at another address. Free it with
 * vfree() or kvfree(). Memory that kvmalloc() had taken from kmalloc() is
 * restored by kho_slab_restore().
 *
 * Context: Process context, may sleep, after vmalloc is up.
 * Return: the address of the area, or ERR_PTR: %-EINVAL if @ser or its chunks
 *	make no sense, %-ENOENT if some of the area is not preserved or was
 *	restored before, %-EHWPOISON if some of it has a hardware error,
 *	%-EOPNOTSUPP if this kernel only keeps some of it, %-ENOMEM.
 *	After an error nothing is restored, and the call can be repeated.
 */
void *kho_vmalloc_restore_noprof(const struct kho_vmalloc *ser)
{
	struct vm_struct *area;
	struct page **pages;
	size_t requested;
	int err;

	if (ser->flags == KHO_VMALLOC_KMALLOC && !ser->total_pages &&
	    !ser->order)
		return kho_slab_restore_noprof(ser->first.phys);

	err = -EINVAL;
	if (!ser->first.phys || !ser->total_pages ||
	    ser->flags & ~KHO_VMALLOC_KNOWN_FLAGS ||
	    !(ser->flags & KHO_VMALLOC_ALLOC) || ser->order > MAX_PAGE_ORDER ||
	    ser->total_pages % (1U << ser->order))
		goto out;

	err = kho_vmalloc_claim_chunks(ser);
	if (err)
		goto out;

	err = -EINVAL;
	if (!kho_vmalloc_valid(ser, &requested))
		goto unclaim_chunks;

	err = -ENOMEM;
	/* A damaged @ser may have any number of pages: do not warn of that. */
	pages = kvmalloc_array(ser->total_pages, sizeof(*pages),
			       GFP_KERNEL | __GFP_NOWARN);
	if (!pages)
		goto unclaim_chunks;

	err = kho_vmalloc_claim_pages(ser, pages);
	if (err)
		goto free_pages;

	err = -ENOMEM;
	area = kho_vmalloc_map(ser, pages, requested);
	if (!area)
		goto unclaim_pages;

	kho_vmalloc_init_pages(ser);
	kho_vmalloc_put_chunks(ser, true);

	area->addr = kasan_unpoison_vmalloc(area->addr, requested,
					    KASAN_VMALLOC_PROT_NORMAL |
					    KASAN_VMALLOC_VM_ALLOC);
	clear_vm_uninitialized_flag(area);
	kmemleak_vmalloc(area, PAGE_ALIGN(requested), GFP_KERNEL);
	return area->addr;

unclaim_pages:
	kho_vmalloc_unclaim_pages(ser, ser->total_pages);
free_pages:
	kvfree(pages);
unclaim_chunks:
	kho_vmalloc_put_chunks(ser, false);
out:
	pr_warn_ratelimited("cannot restore vmalloc area of %u pages: %pe\n",
			    ser->total_pages, ERR_PTR(err));
	return ERR_PTR(err);
}
EXPORT_SYMBOL_GPL(kho_vmalloc_restore_noprof);
