// SPDX-License-Identifier: GPL-2.0-only
/*
 * The FDT that one kernel gives to the next, and the subtrees in it: the addresses
 * of what the users of KHO hand over, by name.
 *
 * Copyright (C) 2023 Alexander Graf <graf@amazon.com>
 * Copyright (C) 2025 Microsoft Corporation, Mike Rapoport <rppt@kernel.org>
 * Copyright (C) 2025 Google LLC, Changyuan Lyu <changyuanl@google.com>
 * Copyright (C) 2025 Pasha Tatashin <pasha.tatashin@soleen.com>
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/io.h>
#include <linux/kexec.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/libfdt.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/mutex.h>

#include "kexec_handover_internal.h"

struct kho_out kho_out = {
	.lock = __MUTEX_INITIALIZER(kho_out.lock),
	.radix_tree = {
		.lock = __MUTEX_INITIALIZER(kho_out.radix_tree.lock),
	},
};

/* Where the FDT of the previous kernel is; 0 in a boot without a handover. */
phys_addr_t kho_in_fdt_phys;

/**
 * kho_get_fdt - the FDT of the previous kernel
 *
 * Context: Any context, once memory is mapped.
 * Return: the FDT, or NULL in a boot without a handover.
 */
const void *kho_get_fdt(void)
{
	return kho_in_fdt_phys ? phys_to_virt(kho_in_fdt_phys) : NULL;
}

/**
 * is_kho_boot - check if current kernel was booted via KHO-enabled
 * kexec
 *
 * This function checks if the current kernel was loaded through a kexec
 * operation with KHO enabled, by verifying that a valid KHO FDT
 * was passed.
 *
 * Note: This function returns reliable results only after
 * kho_populate() has been called during early boot. Before that,
 * it may return false even if KHO data is present.
 *
 * Return: true if booted via KHO-enabled kexec, false otherwise
 */
bool is_kho_boot(void)
{
	return !!kho_get_fdt();
}
EXPORT_SYMBOL_GPL(is_kho_boot);

/* The previous kernel has passed something, whether it can be used or not. */
bool kho_in_passed __ro_after_init;

/**
 * kho_handover_is_lost - did the previous kernel hand something over in vain
 *
 * The memory that it has preserved may belong to anybody now. Devices that go on
 * with their DMA must be stopped.
 *
 * Context: Any context.
 * Return: true if a handover was passed to this kernel, and cannot be used.
 */
bool kho_handover_is_lost(void)
{
	return kho_in_passed && !is_kho_boot();
}

/**
 * kho_kexec_in_progress - is the next kernel one that gets what is preserved
 *
 * An image that was loaded by kexec_load(), without a file, gets nothing.
 *
 * Context: Any context.
 * Return: true during the shutdown for a kexec with a handover.
 */
bool kho_kexec_in_progress(void)
{
	return kexec_in_progress && kexec_image && kexec_image->kho.fdt;
}

/**
 * kho_add_subtree - record the physical address of a sub blob in KHO root tree.
 * @name: name of the sub tree.
 * @blob: the sub tree blob.
 * @size: size of the blob in bytes.
 *
 * Creates a new child node named @name in KHO root FDT and records
 * the physical address of @blob. The pages of @blob must also be preserved
 * by KHO for the new kernel to retrieve it after kexec.
 *
 * @blob must lie in pages of its own, as memory from kho_alloc_preserve() does.
 * A slab object is refused. If kfence happens to guard the object, the next
 * kernel finds a copy of the object at another address.
 *
 * A debugfs blob entry is also created at
 * ``/sys/kernel/debug/kho/out/sub_fdts/@name`` when kernel is configured with
 * CONFIG_KEXEC_HANDOVER_DEBUGFS
 *
 * Return: 0 on success, %-EINVAL if @blob is not in the direct map or is a slab
 *	object, %-EEXIST if there is a subtree called @name, %-ENOMEM if there is
 *	no room for it, or %-EOPNOTSUPP if KHO is off
 */
int kho_add_subtree(const char *name, void *blob, size_t size)
{
	void *root_fdt = kho_out.fdt;
	u64 size_u64 = size;
	int err = -ENOMEM;
	int off, fdt_err;
	phys_addr_t phys;

	if (!root_fdt)
		return -EOPNOTSUPP;
	if (!virt_addr_valid(blob) ||
	    page_memdesc_type(virt_to_page(blob)) == MEMDESC_SLAB) {
		pr_warn("cannot add subtree %s: it does not lie in pages of its own (%pe)\n",
			name, ERR_PTR(-EINVAL));
		return -EINVAL;
	}
	phys = virt_to_phys(blob);

	guard(mutex)(&kho_out.lock);

	fdt_err = fdt_open_into(root_fdt, root_fdt, PAGE_SIZE);
	if (fdt_err < 0)
		return err;

	off = fdt_add_subnode(root_fdt, 0, name);
	if (off < 0) {
		if (off == -FDT_ERR_EXISTS)
			err = -EEXIST;
		goto out_pack;
	}

	fdt_err = fdt_setprop(root_fdt, off, KHO_SUB_TREE_PROP_NAME,
			      &phys, sizeof(phys));
	if (fdt_err < 0)
		goto out_del_node;

	fdt_err = fdt_setprop(root_fdt, off, KHO_SUB_TREE_SIZE_PROP_NAME,
			      &size_u64, sizeof(size_u64));
	if (fdt_err < 0)
		goto out_del_node;

	if (kho_debugfs_blob_add(&kho_out.dbg, name, blob, size, false))
		pr_warn("subtree %s is not shown in debugfs\n", name);

	err = 0;
	goto out_pack;

out_del_node:
	fdt_del_node(root_fdt, off);
out_pack:
	fdt_pack(root_fdt);

	return err;
}
EXPORT_SYMBOL_GPL(kho_add_subtree);

void kho_remove_subtree(void *blob)
{
	phys_addr_t target_phys;
	void *root_fdt = kho_out.fdt;
	int off;
	int err;

	/* kho_add_subtree() accepts no such @blob. */
	if (!root_fdt || !virt_addr_valid(blob))
		return;
	target_phys = virt_to_phys(blob);

	guard(mutex)(&kho_out.lock);

	err = fdt_open_into(root_fdt, root_fdt, PAGE_SIZE);
	if (err < 0)
		return;

	for (off = fdt_first_subnode(root_fdt, 0); off >= 0;
	     off = fdt_next_subnode(root_fdt, off)) {
		const u64 *val;
		int len;

		val = fdt_getprop(root_fdt, off, KHO_SUB_TREE_PROP_NAME, &len);
		if (!val || len != sizeof(phys_addr_t))
			continue;

		if ((phys_addr_t)*val == target_phys) {
			fdt_del_node(root_fdt, off);
			kho_debugfs_blob_remove(&kho_out.dbg, blob);
			break;
		}
	}

	fdt_pack(root_fdt);
}
EXPORT_SYMBOL_GPL(kho_remove_subtree);

/**
 * kho_retrieve_subtree - retrieve a preserved sub blob by its name.
 * @name: the name of the sub blob passed to kho_add_subtree().
 * @phys: if found, the physical address of the sub blob is stored in @phys.
 * @size: if not NULL and found, the size of the sub blob is stored in @size.
 *
 * Retrieve a preserved sub blob named @name and store its physical
 * address in @phys and optionally its size in @size.
 *
 * Return: 0 on success, error code on failure
 */
int kho_retrieve_subtree(const char *name, phys_addr_t *phys, size_t *size)
{
	const void *fdt = kho_get_fdt();
	const u64 *val;
	int offset, len;

	if (!fdt)
		return -ENOENT;

	if (!phys)
		return -EINVAL;

	offset = fdt_subnode_offset(fdt, 0, name);
	if (offset < 0)
		return -ENOENT;

	val = fdt_getprop(fdt, offset, KHO_SUB_TREE_PROP_NAME, &len);
	if (!val || len != sizeof(*val))
		return -EINVAL;

	*phys = (phys_addr_t)*val;

	val = fdt_getprop(fdt, offset, KHO_SUB_TREE_SIZE_PROP_NAME, &len);
	if (!val || len != sizeof(*val)) {
		pr_warn("broken KHO subnode '%s': missing or invalid blob-size property\n",
			name);
		return -EINVAL;
	}

	if (size)
		*size = (size_t)*val;

	return 0;
}
EXPORT_SYMBOL_GPL(kho_retrieve_subtree);

/**
 * kho_find_subtree - find a subtree in the FDT for the next kernel
 * @name: its name
 *
 * Context: Process context, may sleep.
 * Return: the physical address of its blob, or 0 if there is none.
 */
phys_addr_t kho_find_subtree(const char *name)
{
	const u64 *val;
	int off, len;

	guard(mutex)(&kho_out.lock);
	off = fdt_subnode_offset(kho_out.fdt, 0, name);
	if (off < 0)
		return 0;
	val = fdt_getprop(kho_out.fdt, off, KHO_SUB_TREE_PROP_NAME, &len);
	return val && len == sizeof(*val) ? *val : 0;
}

/**
 * kho_freeze_subtrees - stop adding and removing subtrees for good
 *
 * The FDT is changed in place. If a CPU were stopped for a kexec in the middle
 * of a change, the next kernel could not use the FDT and would lose everything
 * that is handed over. A task that adds or removes a subtree after this call
 * waits forever.
 *
 * Context: Process context, before the other CPUs are stopped for a kexec, and
 *	after devices were shut down, because their drivers may still
 *	unpreserve.
 */
void kho_freeze_subtrees(void)
{
	mutex_lock(&kho_out.lock);
}
