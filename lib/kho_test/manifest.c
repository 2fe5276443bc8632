// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the typed kexec handover: the manifest, which tells the next kernel
 * what objects are handed over to it.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/io.h>
#include <linux/kfence.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "kmt.h"

#define KMT_SUBTREE		"kho-memdesc-test"
#define KMT_MAGIC		0x6b686f5f6d656d64ULL
#define KMT_VERSION		3

/* What the next kernel would get, or NULL. */
struct kmt_manifest *kmt_manifest;
struct kmt_entry *kmt_entries;

/* How many kernels have handed memory over before this one. */
unsigned int kmt_generation;

/**
 * kmt_fill_entry - Tell the next kernel of an object
 * @entry: Where
 * @obj: The object, which is preserved
 */
void kmt_fill_entry(struct kmt_entry *entry, const struct kmt_object *obj)
{
	if (kmt_in_slab(obj) || obj->type->ops->part)
		entry->phys = virt_to_phys(obj->addr);
	else
		entry->phys = page_to_phys(kmt_page(obj, 0));
	entry->flags = is_kfence_address(obj->addr) ? KMT_GUARDED : 0;
	if (kmt_in_bucket(obj))
		entry->flags |= KMT_COPIED;
	entry->size = obj->size;
	entry->seed = obj->seed;
	entry->type = obj->type - kmt_types;
	entry->index = obj->index;
	entry->order = obj->order;
	kmt_fill_area(entry, obj);
}

/**
 * kmt_unpublish - Take the manifest back, if there is one
 */
void kmt_unpublish(void)
{
	struct kho_vmalloc ser;

	if (!kmt_manifest)
		return;
	memcpy(&ser, kmt_manifest->ser, sizeof(ser));
	kho_remove_subtree(kmt_manifest);
	kho_vmalloc_unpreserve(&ser);
	vfree(kmt_entries);
	kho_unpreserve_free(kmt_manifest);
	kmt_manifest = NULL;
}

/* The entries lie in vmalloc memory: there can be more than fit any block. */
static int kmt_preserve_entries(struct kmt_manifest *manifest)
{
	struct kho_vmalloc ser;
	struct kmt_object *obj;
	unsigned int nr = 0;
	int err;

	list_for_each_entry(obj, &kmt_objects, list)
		nr += obj->preserved;
	manifest->nr_entries = nr;

	kmt_entries = vzalloc(array_size(nr, sizeof(*kmt_entries)));
	if (!kmt_entries)
		return -ENOMEM;
	nr = 0;
	list_for_each_entry(obj, &kmt_objects, list) {
		if (obj->preserved)
			kmt_fill_entry(&kmt_entries[nr++], obj);
	}

	err = kho_vmalloc_preserve(kmt_entries, &ser);
	if (err)
		vfree(kmt_entries);
	else
		memcpy(manifest->ser, &ser, sizeof(ser));
	return err;
}

/**
 * kmt_publish - Hand a manifest of all preserved objects over
 *
 * Return: 0 or an error.
 */
int kmt_publish(void)
{
	struct kmt_manifest *manifest;
	struct kho_vmalloc ser;
	int err;

	manifest = kho_alloc_preserve(sizeof(*manifest));
	if (IS_ERR(manifest))
		return PTR_ERR(manifest);

	manifest->magic = KMT_MAGIC;
	manifest->version = KMT_VERSION;
	manifest->entry_size = sizeof(struct kmt_entry);
	manifest->generation = kmt_generation + 1;
	manifest->poisoned = 0;

	err = kmt_preserve_entries(manifest);
	if (err)
		goto free_manifest;

	err = kho_add_subtree(KMT_SUBTREE, manifest, sizeof(*manifest));
	if (err)
		goto free_entries;
	kmt_manifest = manifest;
	return 0;

free_entries:
	memcpy(&ser, manifest->ser, sizeof(ser));
	kho_vmalloc_unpreserve(&ser);
	vfree(kmt_entries);
free_manifest:
	kho_unpreserve_free(manifest);
	return err;
}

static bool kmt_manifest_valid(const struct kmt_manifest *manifest, size_t size)
{
	return size == sizeof(*manifest) && manifest->magic == KMT_MAGIC &&
	       manifest->version == KMT_VERSION &&
	       manifest->entry_size == sizeof(struct kmt_entry);
}

/**
 * kmt_take_manifest - Find what the previous kernel has handed over
 *
 * Return: The manifest, for kho_restore_free(), or an ERR_PTR().
 */
struct kmt_manifest *kmt_take_manifest(void)
{
	struct kmt_manifest *manifest;
	phys_addr_t phys;
	size_t size;
	int err;

	err = kho_retrieve_subtree(KMT_SUBTREE, &phys, &size);
	if (err)
		return ERR_PTR(err);

	manifest = phys_to_virt(phys);
	if (!kmt_manifest_valid(manifest, size)) {
		pr_err("the manifest at %pa is damaged or of another version\n",
		       &phys);
		return ERR_PTR(-EINVAL);
	}
	kmt_generation = manifest->generation;
	return manifest;
}

static bool kmt_entries_valid(const struct kmt_entry *entries, unsigned int nr)
{
	unsigned int nr_types = 0;
	struct kmt_type *type;

	for_each_kmt_type(type)
		nr_types++;
	for (unsigned int i = 0; i < nr; i++) {
		if (entries[i].type >= nr_types ||
		    !kmt_types[entries[i].type].ops->count)
			return false;
	}
	return true;
}

/**
 * kmt_take_entries - Restore the entries of a manifest
 * @manifest: The manifest
 *
 * Return: The entries, for vfree(), or an ERR_PTR().
 */
struct kmt_entry *kmt_take_entries(const struct kmt_manifest *manifest)
{
	struct kmt_entry *entries;
	struct kho_vmalloc ser;

	memcpy(&ser, manifest->ser, sizeof(ser));
	entries = kho_vmalloc_restore(&ser);
	if (IS_ERR(entries)) {
		pr_err("the entries of the manifest: %pe\n", entries);
		return entries;
	}
	if (ser.total_pages * PAGE_SIZE >=
	    array_size(manifest->nr_entries, sizeof(*entries)) &&
	    kmt_entries_valid(entries, manifest->nr_entries))
		return entries;
	pr_err("the entries of the manifest are damaged\n");
	vfree(entries);
	return ERR_PTR(-EINVAL);
}
