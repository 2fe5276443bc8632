// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damage what this kernel hands over by kexec: the FDT, the address of the map
 * in it, and the table of scratch areas.
 */

#include <linux/io.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/kexec_metadata.h>
#include <linux/kho_radix_tree.h>
#include <linux/libfdt.h>
#include <linux/sizes.h>
#include <linux/unaligned.h>

#include "../../kernel/liveupdate/kexec_handover_internal.h"
#include "khd.h"

/* The next kernel has no map. */
int khd_root(u64 place)
{
	u64 phys = khd_place(place);

	if (place != KHD_ZERO)
		khd_expect("node", phys);
	put_unaligned(phys, khd_root_prop());
	return khd_refused();
}

int khd_fdt(u64 kind)
{
	void *fdt = kho_out.fdt;
	u64 *data;

	switch ((enum khd_fdt)kind) {
	case KHD_FDT_MAGIC:
		fdt_set_magic(fdt, 0);
		break;
	case KHD_FDT_STRUCT:
		fdt_set_off_dt_struct(fdt, PAGE_SIZE - 4);
		break;
	case KHD_FDT_TOKEN:
		/* Behind a subtree that has to be taken out. */
		data = khd_subtree(KHO_METADATA_NODE_NAME);
		if (!data)
			return -ENOENT;
		put_unaligned(KHD_NO_MEMORY, data);
		put_unaligned(cpu_to_be32(5), (__be32 *)(data + 1));
		break;
	case KHD_FDT_SIZE:
		fdt_set_totalsize(fdt, SZ_1G);
		fdt_set_off_dt_struct(fdt, SZ_512M);
		break;
	}
	return khd_refused();
}

int khd_fdt_not_preserved(u64 type)
{
	kho_radix_del_key(&khd_map, kho_encode_key(virt_to_phys(kho_out.fdt), 0,
						   type));
	return khd_refused();
}

/* The table of scratch areas. kexec needs the first ones to load the kernel. */
int khd_table(u64 kind)
{
	struct kho_scratch *last = &kho_scratch[kho_scratch_cnt - 1];

	if (kho_scratch_cnt < 2)
		return -ENOENT;
	switch ((enum khd_table)kind) {
	case KHD_TABLE_UNALIGNED:
		last->addr += 8;
		break;
	case KHD_TABLE_BEYOND:
		last->addr = BIT_ULL(60);
		break;
	case KHD_TABLE_TWICE:
		*last = kho_scratch[0];
		break;
	}
	return khd_refused();
}
