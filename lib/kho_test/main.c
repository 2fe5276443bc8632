// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the typed kexec handover between kernels.
 *
 * User space drives the test through the debugfs directory kho_memdesc_test;
 * handover_test.c describes the files and the commands that all such tests have.
 * The objects are pieces of memory of every type. Their contents follow from the
 * seed. "again" preserves half of the objects that were restored and not freed.
 *
 * There are more commands:
 *
 * objects ADDRESS
 *	allocate objects of slabs until some lie at that physical address or
 *	above, where memory was added after boot: these cannot be preserved
 * metadata NUMBER
 *	allocate, preserve and free that many pages of metadata, which must not
 *	fail wherever the page allocator has memory
 * poison
 *	let a page of some preserved objects, and a page that is not preserved,
 *	have a hardware error: these pages must not come back as good memory
 *
 * "restore" compares contents and state of each object, and tries calls that
 * have to fail on some.
 *
 * Where the kernel has CONFIG_FAIL_PAGE_ALLOC or CONFIG_FAILSLAB, and allocations
 * that may wait are made to fail (ignore-gfp-wait and min-order are 0), each
 * allocation within some of the calls fails once.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/memblock.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "kmt.h"

static unsigned int scale = 100;
module_param(scale, uint, 0644);
MODULE_PARM_DESC(scale, "Percentage of the number of objects of each type");

static unsigned int slabs;
module_param(slabs, uint, 0644);
MODULE_PARM_DESC(slabs, "Objects of slabs only, so many of them from kmalloc()");

#ifndef MODULE
/*
 * Reserve a page like boot code that takes memory at a fixed address and knows
 * nothing of KHO. The map of preserved memory is checked before the command line
 * is parsed, so the page may lie in preserved memory.
 */
static int __ref kmt_reserve(const char *val, const struct kernel_param *kp)
{
	if (slab_is_available())
		return -EBUSY;
	return memblock_reserve(memparse(val, NULL), PAGE_SIZE);
}

static const struct kernel_param_ops kmt_reserve_ops = { .set = kmt_reserve };
module_param_cb(reserve, &kmt_reserve_ops, NULL, 0);
MODULE_PARM_DESC(reserve, "Physical address of a page to reserve early in the boot");
#endif

/* What follows is protected by kmt_test.lock. */
LIST_HEAD(kmt_objects);

/**
 * kmt_count - How many objects of a type to make
 * @type: The type
 *
 * Return: The number.
 */
unsigned int kmt_count(const struct kmt_type *type)
{
	if (slabs && type->ops == &kmt_kmalloc)
		return slabs;
	if (slabs && !type->ops->slab)
		return 0;
	return DIV_ROUND_UP(type->ops->count * scale, 100);
}

static int kmt_preserve_new(struct kmt_type *type, unsigned int index, u64 seed)
{
	struct kmt_object *obj = kmt_new_object(type, index);
	int err;

	if (!obj)
		return -ENOMEM;

	kmt_init_object(obj, seed);
	err = kmt_alloc(obj);
	if (err) {
		pr_err("%s %u (order %u, %zu bytes): allocate: %pe\n",
		       type->ops->name, index, obj->order, obj->size,
		       ERR_PTR(err));
		kfree(obj);
		return err;
	}

	type->stats.objects++;
	type->stats.bytes += obj->size;
	kmt_hold(obj);
	kmt_fill(obj);

	err = index % 8 ? kmt_preserve(obj) : kmt_preserve_nomem(obj);
	kmt_expect(obj, "preserve", "error", 0, err);

	/* Undone and done again it must be as if done once. */
	if (!err && index % 4 == 1) {
		kmt_unpreserve(obj);
		err = kmt_preserve(obj);
		kmt_expect(obj, "preserve again", "error", 0, err);
	}
	return err;
}

static int kmt_cmd_preserve(u64 seed)
{
	struct kmt_type *type;
	unsigned int max = 0;
	int err;

	if (kmt_manifest)
		return -EBUSY;

	for_each_kmt_type(type)
		max = max(max, kmt_count(type));

	/* By index first, so that neighbours in memory are of different types. */
	for (unsigned int index = 0; index < max; index++) {
		for_each_kmt_type(type) {
			if (index >= kmt_count(type))
				continue;
			err = kmt_preserve_new(type, index, seed);
			if (err)
				return err;
		}
		cond_resched();
	}

	return kmt_publish();
}

static int kmt_cmd_again(u64 seed)
{
	struct kmt_object *obj, *next;

	if (kmt_manifest)
		return -EBUSY;

	list_for_each_entry_safe(obj, next, &kmt_objects, list) {
		kmt_compare(obj, "memory restored earlier");
		/* Half of what "restore" has left of each type. */
		if (obj->index / 3 % 2)
			kmt_release(obj);
		else
			kmt_expect(obj, "preserve restored memory", "error", 0,
				   kmt_preserve(obj));
	}

	return kmt_cmd_preserve(seed);
}

static int kmt_cmd_free(u64 unused)
{
	struct kmt_object *obj, *next;

	kmt_unpublish();
	list_for_each_entry(obj, &kmt_objects, list) {
		kmt_compare(obj, "memory to be freed");
		cond_resched();
	}
	kmt_free_kmalloc();
	list_for_each_entry_safe(obj, next, &kmt_objects, list) {
		kmt_release(obj);
		cond_resched();
	}
	kmt_shrink_caches();
	/* Areas are unmapped late, and their KASAN shadow is freed with them. */
	vm_unmap_aliases();
	return 0;
}

static const struct handover_test_cmd kmt_cmds[] = {
	{ "preserve",	kmt_cmd_preserve },
	{ "take",	kmt_cmd_take },
	{ "some",	kmt_cmd_some },
	{ "resend",	kmt_cmd_resend },
	{ "restore",	kmt_cmd_restore },
	{ "again",	kmt_cmd_again },
	{ "free",	kmt_cmd_free },
	{ "poison",	kmt_cmd_poison },
	{ "objects",	kmt_cmd_objects },
	{ "metadata",	kmt_cmd_metadata },
	{ }
};

static void kmt_after(const char *cmd)
{
	struct kmt_type *type;

	kmt_check_pagetables(cmd);
	for_each_kmt_type(type) {
		if (type->failed)
			pr_info("%s: %s: %lu allocations failed\n", cmd,
				type->ops->name, type->failed);
		type->failed = 0;
	}
}

static void kmt_report(struct seq_file *m)
{
	struct kmt_type *type;

	for_each_kmt_type(type) {
		unsigned long unsaved = 0;
		struct kmt_object *obj;

		if (!type->ops->count ||
		    (!kmt_count(type) && !type->stats.objects))
			continue;
		list_for_each_entry(obj, &kmt_objects, list)
			unsaved += obj->type == type && !obj->preserved;
		handover_test_row(m, type->ops->name, &type->stats, unsaved);
	}
}

struct handover_test kmt_test = {
	.name	= "kho_memdesc_test",
	.cmds	= kmt_cmds,
	.after	= kmt_after,
	.report	= kmt_report,
};

static int __init kmt_init(void)
{
	int err;

	if (!kho_is_enabled()) {
		pr_info("kexec handover is off\n");
		return -EOPNOTSUPP;
	}

	err = kmt_create_caches();
	if (err)
		return err;
	kmt_take_border();

	handover_test_register(&kmt_test);
	return 0;
}
module_init(kmt_init);

static void __exit kmt_exit(void)
{
	handover_test_unregister(&kmt_test);
	kmt_cmd_free(0);
	kmt_destroy_caches();
}
module_exit(kmt_exit);

MODULE_DESCRIPTION("Test of the typed kexec handover");
MODULE_LICENSE("GPL");
