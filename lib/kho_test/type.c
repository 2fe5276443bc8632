// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the typed kexec handover: the table of types, and the checks that are
 * counted for a type.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/printk.h>

#include "kmt.h"

/* A type's place is its number in the manifest, and the seeds depend on it. */
struct kmt_type kmt_types[] = {
	{ .ops = &kmt_folio },
	{ .ops = &kmt_pages },
	{ .ops = &kmt_compound },
	{ .ops = &kmt_pages_exact },
	{ .ops = &kmt_vmalloc },
	{ .ops = &kmt_vmalloc_huge },
	{ .ops = &kmt_kvmalloc },
	{ .ops = &kmt_kmalloc },
	{ .ops = &kmt_large_kmalloc },
	{ .ops = &kmt_kvmalloc_small },
	{ .ops = &kmt_kmem_cache },
	{ .ops = &kmt_ioptdesc },
	{ .ops = &kmt_ptdesc },
	{ .ops = &kmt_pagetable },
	{ .ops = &kmt_kho_alloc },
	{ .ops = &kmt_gigantic },
	{ .ops = &kmt_hugetlb },
	{ .ops = &kmt_small_table },
	{ }
};

/**
 * kmt_type - Find a type in the table
 * @ops: What it is made of
 *
 * Return: The type.
 */
struct kmt_type *kmt_type(const struct kmt_ops *ops)
{
	struct kmt_type *type = kmt_types;

	while (type->ops != ops)
		type++;
	return type;
}

/**
 * kmt_expect - Count a check, and log it if it fails
 * @obj: What is checked; only its type has to be set
 * @where: What the check belongs to
 * @what: Name of the value
 * @expected: The value that it should have
 * @found: The value that it has
 *
 * Return: Whether the check passed.
 */
bool kmt_expect(const struct kmt_object *obj, const char *where,
		const char *what, long expected, long found)
{
	kmt_test.checks++;
	if (expected == found)
		return true;

	if (handover_test_mismatch(&kmt_test, &obj->type->stats))
		pr_err("%s %u (order %u, %zu bytes): %s: %s: expected %#lx, found %#lx\n",
		       obj->type->ops->name, obj->index, obj->order,
		       obj->size, where, what, expected, found);
	return false;
}

/**
 * kmt_expect_error - Check the error of a call that has to fail
 * @obj: What the call was made on
 * @what: What is wrong about the call
 * @err: The error that it should return
 * @alternative: Another one that is as good
 * @found: What it returned: a pointer or an ERR_PTR()
 *
 * Return: Whether the check passed.
 */
bool kmt_expect_error(const struct kmt_object *obj, const char *what,
		      long err, long alternative, const void *found)
{
	if (IS_ERR(found) && PTR_ERR(found) == alternative)
		err = alternative;
	return kmt_expect(obj, "call that has to fail", what, err,
			  IS_ERR(found) ? PTR_ERR(found) : 0);
}
