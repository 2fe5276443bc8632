// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damage what this kernel hands over by kexec: data that others hand over by
 * name, and regions of reserve_mem.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/io.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/kexec_metadata.h>
#include <linux/kho/abi/luo.h>
#include <linux/kho/abi/memblock.h>
#include <linux/libfdt.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/unaligned.h>

#include "khd.h"

static const char * const khd_subtrees[] = {
	[KHD_METADATA] = KHO_METADATA_NODE_NAME,
	[KHD_MEMBLOCK] = MEMBLOCK_KHO_FDT,
	[KHD_LUO] = LUO_KHO_ENTRY_NAME,
};

/* Data of others is elsewhere. LUO must hear of that, and stops the boot. */
int khd_bad_subtree(u64 arg)
{
	u64 *data = khd_subtree(khd_subtrees[(u32)arg]);
	u64 phys = khd_place(arg >> 32);

	if (!data || !phys)
		return -ENOENT;
	put_unaligned(phys, data);
	if ((u32)arg == KHD_MEMBLOCK)
		pr_info("expect no region\n");
	return khd_expect("subtree", phys);
}

int khd_subtree_too_long(u64 len)
{
	u64 *data = khd_subtree(KHO_METADATA_NODE_NAME);
	u64 *size = khd_subtree_prop(KHO_METADATA_NODE_NAME,
				     KHO_SUB_TREE_SIZE_PROP_NAME);

	if (!data || !size)
		return -ENOENT;
	put_unaligned(len, size);
	return khd_expect("subtree", get_unaligned(data));
}

int khd_subtree_reserved(u64 nr)
{
	u64 *data = khd_subtree(KHO_METADATA_NODE_NAME);

	if (!data)
		return -ENOENT;
	pr_info("expect lost %llu\n", nr);
	khd_expect("subtree", get_unaligned(data));
	return khd_late_reserve(PAGE_ALIGN_DOWN(get_unaligned(data)));
}

/*
 * Tell the next kernel that its region of reserve_mem is at @phys. It must not
 * give up memory of others for that.
 */
static int khd_bad_region(phys_addr_t phys)
{
	u64 *data = khd_subtree(MEMBLOCK_KHO_FDT);
	void *fdt, *start;
	int len;

	if (!data || !phys)
		return -ENOENT;
	fdt = phys_to_virt(get_unaligned(data));
	start = fdt_getprop_w(fdt, fdt_subnode_offset(fdt, 0, KHD_REGION),
			      "start", &len);
	if (!start)
		return -ENOENT;
	put_unaligned(phys, (u64 *)start);
	pr_info("expect region refused\n");
	return 0;
}

int khd_region(u64 place)
{
	return khd_bad_region(khd_place(place));
}

/*
 * The region is a page of memory that is preserved as @arg says: the second
 * page if there is one.
 */
int khd_region_pages(u64 arg)
{
	unsigned int order = arg >> 32;
	phys_addr_t phys = khd_new_pages(order);

	return khd_hold_pages(phys, order, (u32)arg) ?:
	       khd_bad_region(phys + (order ? PAGE_SIZE : 0));
}

/* A region that is released here must not be taken back there. */
int khd_region_released(u64 arg)
{
	if (!reserve_mem_release_by_name(KHD_REGION))
		return -ENOENT;
	pr_info("expect released\n");
	return 0;
}
