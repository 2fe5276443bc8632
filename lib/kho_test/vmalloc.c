// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the typed kexec handover: vmalloc areas.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>

#include "kmt.h"

/* A call that fails and leaks memory is made so often that the leak is seen. */
#define KMT_LEAK_ROUNDS		512

/*
 * By how many pages NR_VMALLOC may be off after all objects were restored, because
 * other users move it as well. Threads come and go, with stacks in vmalloc space
 * if CONFIG_VMAP_STACK=y. Where allocations are made to fail, a table that
 * kvmalloc() makes once lies there, too: 18 pages were seen. The test restores
 * thousands of pages.
 */
#define KMT_SLACK_VMALLOC	(IS_ENABLED(CONFIG_VMAP_STACK) ? 128 : 32)

/* By how many pages it is off. */
static long kmt_nr_vmalloc;

static void kmt_init_vmalloc(struct kmt_object *obj)
{
	/* With the page counts at which a chunk of page addresses is full. */
	static const size_t sizes[] = {
		1,
		PAGE_SIZE - 1,
		PAGE_SIZE,
		PAGE_SIZE + 1,
		(KHO_VMALLOC_SIZE - 1) * PAGE_SIZE,
		KHO_VMALLOC_SIZE * PAGE_SIZE,
		KHO_VMALLOC_SIZE * PAGE_SIZE + 1,
		SZ_4M + SZ_1M + 123,
	};

	if (obj->index < ARRAY_SIZE(sizes) && sizes[obj->index] <= KMT_MAX_BLOCK)
		obj->size = sizes[obj->index];
	else
		obj->size = obj->seed % SZ_128K + 1;
}

static void kmt_init_huge(struct kmt_object *obj)
{
	static const size_t sizes[] = {
		PMD_SIZE,
		2 * PMD_SIZE,
		PMD_SIZE + 1,
		2 * PMD_SIZE - PAGE_SIZE,
		PMD_SIZE - PAGE_SIZE,
	};

	if (obj->index < ARRAY_SIZE(sizes) && sizes[obj->index] <= KMT_MAX_BLOCK)
		obj->size = sizes[obj->index];
	else
		obj->size = obj->seed % SZ_64K + 1;
}

/* So large that kvmalloc() cannot take it from kmalloc(). */
static void kmt_init_kvmalloc(struct kmt_object *obj)
{
	obj->size = KMALLOC_MAX_SIZE + obj->index * PAGE_SIZE + obj->index + 1;
}

static void *kmt_alloc_vmalloc(const struct kmt_object *obj)
{
	return vmalloc(obj->size);
}

static void *kmt_alloc_huge(const struct kmt_object *obj)
{
	return vmalloc_huge(obj->size, GFP_KERNEL);
}

static void *kmt_alloc_kvmalloc(const struct kmt_object *obj)
{
	void *addr = kvmalloc(obj->size, GFP_KERNEL);

	if (addr && kmt_is_area(obj))
		kmt_expect(obj, "kvmalloc", "is_vmalloc_addr", true,
			   is_vmalloc_addr(addr));
	return addr;
}

static void kmt_free_vmalloc(const struct kmt_object *obj)
{
	vfree(obj->addr);
}

static void kmt_free_kvmalloc(const struct kmt_object *obj)
{
	kvfree(obj->addr);
}

static int kmt_preserve_vmalloc(struct kmt_object *obj)
{
	return kho_vmalloc_preserve(obj->addr, &obj->ser);
}

static void kmt_unpreserve_vmalloc(struct kmt_object *obj)
{
	kho_vmalloc_unpreserve(&obj->ser);
}

static void *kmt_restore_vmalloc(const struct kmt_object *obj, phys_addr_t unused)
{
	return kho_vmalloc_restore(&obj->ser);
}

/* Calls that have to fail */

static void kmt_bad_ser(const struct kmt_object *obj,
			const struct kho_vmalloc *ser, const char *what)
{
	void *addr = kho_vmalloc_restore(ser);

	if (!kmt_expect(obj, "call that has to fail", what, true, IS_ERR(addr)))
		vfree(addr);
}

/* Damage one word of the first chunk of page addresses for one call. */
static void kmt_bad_chunk(const struct kmt_object *obj, u64 *word, u64 value,
			  const char *what)
{
	u64 old = *word;

	*word = value;
	kmt_bad_ser(obj, &obj->ser, what);
	*word = old;
}

/* Index of the last word of a chunk that is in use: an address, or a run of them. */
static unsigned int kmt_last_word(const u64 *chunk)
{
	unsigned int last = PAGE_SIZE / sizeof(u64) - 1;

	while (last && !chunk[last])
		last--;
	return last;
}

static void kmt_bad_first_chunk(const struct kmt_object *obj, const u64 *chunk)
{
	struct kho_vmalloc ser = obj->ser;
	struct page *page;

	ser.first.phys = KMT_BAD_PHYS;
	kmt_bad_ser(obj, &ser, "first chunk beyond memory");
	ser.first.phys = 0;
	kmt_bad_ser(obj, &ser, "no first chunk");
	ser.first.phys = obj->ser.first.phys + sizeof(u64);
	kmt_bad_ser(obj, &ser, "first chunk unaligned");

	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!page)
		return;
	ser.first.phys = page_to_phys(page);
	kmt_bad_ser(obj, &ser, "first chunk not preserved, empty");
	memcpy(page_address(page), chunk, PAGE_SIZE);
	kmt_bad_ser(obj, &ser, "first chunk not preserved, copied");
	memset(page_address(page), 0xff, PAGE_SIZE);
	kmt_bad_ser(obj, &ser, "first chunk not preserved, garbage");
	kmt_expect(obj, "chunk not preserved", "refcount", 1,
		   page_ref_count(page));
	__free_page(page);
}

static void kmt_bad_vmalloc(const struct kmt_object *obj, phys_addr_t unused)
{
	struct kho_vmalloc ser = obj->ser;
	u64 *chunk = phys_to_virt(ser.first.phys);
	unsigned int last;

	kmt_bad_first_chunk(obj, chunk);

	ser.total_pages++;
	kmt_bad_ser(obj, &ser, "one page more");
	ser.total_pages = obj->ser.total_pages - 1;
	kmt_bad_ser(obj, &ser, "one page less");
	ser.total_pages = -1U;
	kmt_bad_ser(obj, &ser, "total pages -1");

	ser = obj->ser;
	ser.order = 63;
	kmt_bad_ser(obj, &ser, "order 63");
	ser.order = obj->ser.order + 1;
	if (obj->ser.total_pages % (1U << ser.order))
		kmt_bad_ser(obj, &ser, "order that does not divide the pages");
	ser = obj->ser;
	ser.flags |= 0x8000;
	kmt_bad_ser(obj, &ser, "unknown flag");

	/* The first word of a chunk is the address of the next one. */
	kmt_bad_chunk(obj, chunk, obj->ser.first.phys, "chunk after itself");
	kmt_bad_chunk(obj, chunk, KMT_BAD_PHYS, "next chunk beyond memory");

	last = kmt_last_word(chunk);
	if (!kmt_expect(obj, "chunk", "has an entry", true, last > 0))
		return;
	kmt_bad_chunk(obj, &chunk[last], chunk[last] | KMT_BAD_PHYS,
		      "page beyond memory");
	kmt_bad_chunk(obj, &chunk[last], 0, "missing page");
	if (last > 1)
		kmt_bad_chunk(obj, &chunk[last], chunk[last - 1],
			      "page twice, or one entry of the header as page");
}

/* A restore that fails on its last page must not keep memory of its own. */
static void kmt_bad_leak(const struct kmt_object *obj)
{
	u64 *chunk = phys_to_virt(obj->ser.first.phys);
	unsigned int last = kmt_last_word(chunk);
	long free_pages;

	free_pages = global_zone_page_state(NR_FREE_PAGES);
	for (unsigned int i = 0; i < KMT_LEAK_ROUNDS; i++) {
		kmt_bad_chunk(obj, &chunk[last], chunk[last] | KMT_BAD_PHYS,
			      "page beyond memory, repeated");
		cond_resched();
	}
	free_pages -= global_zone_page_state(NR_FREE_PAGES);

	/* Other users of memory are noise. */
	kmt_expect(obj, "failed restores", "leak", false,
		   free_pages > KMT_LEAK_ROUNDS / 2);
}

static void kmt_bad_and_leak(const struct kmt_object *obj, phys_addr_t phys)
{
	kmt_bad_vmalloc(obj, phys);
	/* Of the largest area only, so that each leak is one of pages. */
	if (obj->size > SZ_4M)
		kmt_bad_leak(obj);
}

const struct kmt_ops kmt_vmalloc = {
	.name		= "vmalloc",
	.count		= 256,
	.shape		= KMT_AREA,
	.init		= kmt_init_vmalloc,
	.alloc		= kmt_alloc_vmalloc,
	.free		= kmt_free_vmalloc,
	.preserve	= kmt_preserve_vmalloc,
	.unpreserve	= kmt_unpreserve_vmalloc,
	.restore	= kmt_restore_vmalloc,
	.bad		= kmt_bad_and_leak,
};

const struct kmt_ops kmt_vmalloc_huge = {
	.name		= "vmalloc_huge",
	.count		= 128,
	.shape		= KMT_AREA,
	.init		= kmt_init_huge,
	.alloc		= kmt_alloc_huge,
	.free		= kmt_free_vmalloc,
	.preserve	= kmt_preserve_vmalloc,
	.unpreserve	= kmt_unpreserve_vmalloc,
	.restore	= kmt_restore_vmalloc,
	.bad		= kmt_bad_vmalloc,
};

const struct kmt_ops kmt_kvmalloc = {
	.name		= "kvmalloc",
	.count		= 3,
	.shape		= KMT_AREA,
	.init		= kmt_init_kvmalloc,
	.alloc		= kmt_alloc_kvmalloc,
	.free		= kmt_free_kvmalloc,
	.preserve	= kmt_preserve_vmalloc,
	.unpreserve	= kmt_unpreserve_vmalloc,
	.restore	= kmt_restore_vmalloc,
	.bad		= kmt_bad_vmalloc,
};

/* The areas themselves. find_vm_area() is not exported to modules. */

static struct vm_struct *kmt_vm_area(const struct kmt_object *obj)
{
	if (!IS_BUILTIN(CONFIG_TEST_KHO_MEMDESC) || !kmt_is_area(obj))
		return NULL;
	return find_vm_area(obj->addr);
}

static unsigned int kmt_vm_order(const struct vm_struct *vm)
{
#ifdef CONFIG_HAVE_ARCH_HUGE_VMALLOC
	return vm->page_order;
#else
	return 0;
#endif
}

/**
 * kmt_fill_area - Note in the manifest what an area is like
 * @entry: Of the object
 * @obj: The object; @obj->ser is handed over whatever its type is.
 */
void kmt_fill_area(struct kmt_entry *entry, const struct kmt_object *obj)
{
	struct vm_struct *vm = kmt_vm_area(obj);

	memcpy(entry->ser, &obj->ser, sizeof(obj->ser));
	if (!vm)
		return;
	entry->vm_known = 1;
	entry->vm_pages = vm->nr_pages;
	entry->vm_order = kmt_vm_order(vm);
	entry->vm_flags = vm->flags & (VM_ALLOC | VM_ALLOW_HUGE_VMAP);
}

/**
 * kmt_check_area - Check that a restored area is like the one that was preserved
 * @obj: The object
 * @entry: What it was like
 */
void kmt_check_area(const struct kmt_object *obj, const struct kmt_entry *entry)
{
	unsigned long flags = VM_ALLOC | VM_ALLOW_HUGE_VMAP;
	struct vm_struct *vm = kmt_vm_area(obj);

	kmt_expect(obj, "vmalloc area", "is_vmalloc_addr", true,
		   is_vmalloc_addr(obj->addr));

	if (!IS_BUILTIN(CONFIG_TEST_KHO_MEMDESC) || !entry->vm_known)
		return;
	if (!kmt_expect(obj, "vmalloc area", "exists", true, !!vm))
		return;

	kmt_expect(obj, "vmalloc area", "start", (long)vm->addr,
		   (long)obj->addr);
	kmt_expect(obj, "vmalloc area", "flags", entry->vm_flags,
		   vm->flags & flags);
	kmt_expect(obj, "vmalloc area", "uninitialized", 0,
		   vm->flags & VM_UNINITIALIZED);
	kmt_expect(obj, "vmalloc area", "nr_pages", entry->vm_pages,
		   vm->nr_pages);
	kmt_expect(obj, "vmalloc area", "requested_size", obj->size,
		   vm->requested_size);
	kmt_expect(obj, "vmalloc area", "page_order", entry->vm_order,
		   kmt_vm_order(vm));

	for (unsigned long i = 0; i < vm->nr_pages; i++) {
		if (!kmt_expect(obj, "vmalloc area", "mapped pfn",
				page_to_pfn(vm->pages[i]),
				vmalloc_to_pfn(obj->addr + i * PAGE_SIZE)))
			break;
	}
}

/**
 * kmt_count_area - Sum up by how much NR_VMALLOC is off
 * @obj: An object, of any type, that was restored
 * @entry: What it was like
 * @nr_pages: By how many pages NR_VMALLOC has changed then
 */
void kmt_count_area(const struct kmt_object *obj, const struct kmt_entry *entry,
		    long nr_pages)
{
	/* An area may be larger than its object, which a module cannot see. */
	if (!kmt_is_area(obj))
		kmt_nr_vmalloc += nr_pages;
	else if (entry->vm_known)
		kmt_nr_vmalloc += nr_pages - (long)entry->vm_pages;
}

/**
 * kmt_check_areas - Check NR_VMALLOC after everything was restored
 */
void kmt_check_areas(void)
{
	const struct kmt_object obj = { .type = kmt_type(&kmt_vmalloc) };

	pr_info("other users: %ld pages of vmalloc\n", kmt_nr_vmalloc);
	kmt_expect(&obj, "NR_VMALLOC", "pages not accounted", 0,
		   abs(kmt_nr_vmalloc) > KMT_SLACK_VMALLOC ? kmt_nr_vmalloc : 0);
}
