// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the typed kexec handover: what can be done to an object of any type.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/hash.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>

#include "kmt.h"

/**
 * kmt_new_object - Make an object without memory
 * @type: Its type
 * @index: Its number among the objects of that type
 *
 * Return: The object, for kfree(), or NULL.
 */
struct kmt_object *kmt_new_object(struct kmt_type *type, unsigned int index)
{
	struct kmt_object *obj = kzalloc_obj(*obj);

	if (obj) {
		INIT_LIST_HEAD(&obj->list);
		obj->type = type;
		obj->index = index;
	}
	return obj;
}

/**
 * kmt_init_object - Choose what an object is like
 * @obj: The object
 * @seed: The seed of the test run
 */
void kmt_init_object(struct kmt_object *obj, u64 seed)
{
	u64 nr = obj->type - kmt_types;
	u64 state = hash_64(seed, 64) ^ hash_64((nr << 32) + obj->index + 1, 64);

	/* 0 is the one state that xorshift cannot leave. */
	obj->seed = state ?: 1;
	obj->type->ops->init(obj);
}

/**
 * kmt_alloc - Allocate the memory of an object
 * @obj: The object
 *
 * Return: 0 or an error.
 */
int kmt_alloc(struct kmt_object *obj)
{
	void *addr = obj->type->ops->alloc(obj);

	if (IS_ERR_OR_NULL(addr))
		return addr ? PTR_ERR(addr) : -ENOMEM;
	obj->addr = addr;
	if (obj->type->ops->unpreserve_free) {
		obj->preserved = true;
		obj->type->stats.preserved++;
	}
	return 0;
}

/**
 * kmt_hold - Put an object with memory on the list
 * @obj: The object
 */
void kmt_hold(struct kmt_object *obj)
{
	list_add_tail(&obj->list, &kmt_objects);
}

/**
 * kmt_release - Free the memory of an object, and the object
 * @obj: The object. If it is preserved it is unpreserved first.
 */
void kmt_release(struct kmt_object *obj)
{
	const struct kmt_ops *ops = obj->type->ops;
	long tables = global_node_page_state_snapshot(NR_PAGETABLE);

	if (obj->preserved && ops->unpreserve_free) {
		ops->unpreserve_free(obj);
		obj->type->stats.preserved--;
	} else {
		kmt_unpreserve(obj);
		ops->free(obj);
	}
	kmt_note_pagetables(obj, tables, -1);
	obj->type->stats.freed++;
	list_del(&obj->list);
	kfree(obj);
}

/**
 * kmt_preserve - Preserve an object, unless it is preserved already
 * @obj: The object
 *
 * Return: 0 or an error.
 */
int kmt_preserve(struct kmt_object *obj)
{
	int err;

	if (obj->preserved)
		return 0;

	err = obj->type->ops->preserve(obj);
	if (!err) {
		obj->preserved = true;
		obj->type->stats.preserved++;
	}
	return err;
}

/**
 * kmt_unpreserve - Unpreserve an object if it is preserved
 * @obj: The object
 */
void kmt_unpreserve(struct kmt_object *obj)
{
	if (!obj->preserved)
		return;

	obj->type->ops->unpreserve(obj);
	obj->preserved = false;
	obj->type->stats.preserved--;
}

/**
 * kmt_preserve_nomem - Preserve an object after each allocation has failed once
 * @obj: The object
 *
 * A call that finds no memory must change nothing: otherwise a later one, or the
 * kernel that restores the object, fails.
 *
 * Return: 0 or an error of the last call, for which there is memory.
 */
int kmt_preserve_nomem(struct kmt_object *obj)
{
	int err;

	for (unsigned int nth = 1; nth < HANDOVER_TEST_MAX_ALLOCS; nth++) {
		handover_test_fail_alloc(nth);
		err = kmt_preserve(obj);
		if (!handover_test_alloc_failed())
			return err;
		obj->type->failed++;
		if (err)
			kmt_expect(obj, "preserve without memory", "error",
				   -ENOMEM, err);
		else
			kmt_unpreserve(obj);
	}
	return kmt_preserve(obj);
}

/**
 * kmt_restore - Restore the memory of an object
 * @obj: The object, as it was preserved
 * @phys: Where its memory was preserved
 *
 * Return: The address of its memory or an ERR_PTR().
 */
void *kmt_restore(const struct kmt_object *obj, phys_addr_t phys)
{
	return obj->type->ops->restore(obj, phys);
}

/**
 * kmt_restore_nomem - Restore an object after each allocation has failed once
 * @obj: The object, as it was preserved
 * @phys: Where its memory was preserved
 *
 * Return: The address of its memory or an ERR_PTR(), from the first call that
 *	succeeds although an allocation failed, or from the last one, for which
 *	there is memory.
 */
void *kmt_restore_nomem(const struct kmt_object *obj, phys_addr_t phys)
{
	void *addr;

	for (unsigned int nth = 1; nth < HANDOVER_TEST_MAX_ALLOCS; nth++) {
		handover_test_fail_alloc(nth);
		addr = kmt_restore(obj, phys);
		if (!handover_test_alloc_failed())
			return addr;
		obj->type->failed++;
		if (!IS_ERR(addr))
			return addr;
		kmt_expect(obj, "restore without memory", "error", -ENOMEM,
			   PTR_ERR(addr));
	}
	return kmt_restore(obj, phys);
}

/**
 * kmt_fill - Write the contents of an object
 * @obj: The object
 */
void kmt_fill(const struct kmt_object *obj)
{
	u64 state = obj->seed;
	size_t off;
	u64 word;

	for (off = 0; off + sizeof(word) <= obj->size; off += sizeof(word)) {
		*(u64 *)(obj->addr + off) = handover_test_random(&state);
		if (!(off % SZ_1M))
			cond_resched();
	}
	word = handover_test_random(&state);
	memcpy(obj->addr + off, &word, obj->size - off);
}

/**
 * kmt_compare - Check the contents of an object
 * @obj: The object
 * @where: What the check belongs to
 *
 * Return: Whether the contents are those that kmt_fill() wrote.
 */
bool kmt_compare(const struct kmt_object *obj, const char *where)
{
	u64 state = obj->seed;
	u64 word, found = 0;
	size_t off;

	for (off = 0; off + sizeof(word) <= obj->size; off += sizeof(word)) {
		word = handover_test_random(&state);
		found = *(u64 *)(obj->addr + off);
		if (found != word)
			goto mismatch;
		if (!(off % SZ_1M))
			cond_resched();
	}
	word = handover_test_random(&state);
	if (!memcmp(obj->addr + off, &word, obj->size - off)) {
		kmt_test.checks++;
		return true;
	}
	memcpy(&found, obj->addr + off, obj->size - off);

mismatch:
	kmt_expect(obj, where, "offset of first wrong word", -1, off);
	return kmt_expect(obj, where, "contents", word, found);
}

/**
 * kmt_page - Find a page of an object
 * @obj: The object
 * @i: Number of the page
 *
 * Return: The page.
 */
struct page *kmt_page(const struct kmt_object *obj, unsigned long i)
{
	if (kmt_is_area(obj))
		return vmalloc_to_page(obj->addr + i * PAGE_SIZE);
	return virt_to_page(obj->addr) + i;
}

/**
 * kmt_nr_pages - Count the pages of an object
 * @obj: The object
 *
 * Return: The number. A block has all pages of its order; what was allocated as
 *	exact pages has given the rest back.
 */
unsigned long kmt_nr_pages(const struct kmt_object *obj)
{
	if (obj->order)
		return 1UL << obj->order;
	return PFN_UP(obj->size);
}
