// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damage what this kernel hands over by kexec: what it hands over, and places
 * that damaged data leads to.
 */

#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/kho/abi/slab.h>
#include <linux/kho_radix_tree.h>
#include <linux/libfdt.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/unaligned.h>

#include "../../kernel/liveupdate/kexec_handover_internal.h"
#include "khd.h"

u64 *khd_root_prop(void)
{
	int len;

	return fdt_getprop_w(kho_out.fdt, 0, KHO_FDT_MEMORY_MAP_PROP_NAME,
			     &len);
}

void *khd_subtree_prop(const char *node, const char *prop)
{
	int len;

	return fdt_getprop_w(kho_out.fdt,
			     fdt_subnode_offset(kho_out.fdt, 0, node),
			     prop, &len);
}

u64 *khd_subtree(const char *node)
{
	return khd_subtree_prop(node, KHO_SUB_TREE_PROP_NAME);
}

struct kho_slab_root *khd_slabs(void)
{
	u64 *phys = khd_subtree(KHO_SLAB_SUBTREE);

	return phys ? phys_to_virt(get_unaligned(phys)) : NULL;
}

static phys_addr_t khd_first_chunk(void)
{
	struct kho_slab_root *slabs = khd_slabs();

	return slabs ? slabs->chain[0] : 0;
}

/*
 * The pages are never freed, so that nobody else can preserve them. If the page
 * allocator does not have @order, two neighbours of a smaller order do.
 */
phys_addr_t khd_new_pages(unsigned int order)
{
	static phys_addr_t at[256];
	struct page *page;

	if (order <= MAX_PAGE_ORDER) {
		page = alloc_pages(GFP_KERNEL | __GFP_ZERO, order);
		return page ? page_to_phys(page) : 0;
	}
	for (unsigned int n = 0; n < ARRAY_SIZE(at); n++) {
		at[n] = khd_new_pages(MAX_PAGE_ORDER);
		for (unsigned int i = 0; at[n] && i < n; i++) {
			if ((at[i] ^ at[n]) == PAGE_SIZE << MAX_PAGE_ORDER)
				return min(at[i], at[n]);
		}
	}
	return 0;
}

static int khd_last_node(phys_addr_t phys, void *data)
{
	*(phys_addr_t *)data = phys;
	return 0;
}

static int khd_first_split(unsigned long key, void *data)
{
	unsigned int order, type;
	phys_addr_t phys = kho_decode_key(key, &order, &type);

	if (type != KHO_MEMDESC_SPLIT || order > MAX_PAGE_ORDER)
		return 0;
	*(phys_addr_t *)data = phys;
	return 1;
}

static int khd_first_ioptdesc(unsigned long key, void *data)
{
	unsigned int order, type;
	phys_addr_t phys = kho_decode_key(key, &order, &type);

	if (type != KHO_MEMDESC_IOPTDESC || order)
		return 0;
	*(phys_addr_t *)data = phys;
	return 1;
}

static phys_addr_t khd_end_of_memory(void)
{
	unsigned long end = 0;
	int nid;

	for_each_online_node(nid)
		end = max(end, pgdat_end_pfn(NODE_DATA(nid)));
	return PFN_PHYS(end);
}

/* The first hole behind address 0, which would mean that there is no node. */
static phys_addr_t khd_find_hole(void)
{
	unsigned long pfn = 1;

	while (page_is_ram(pfn))
		pfn++;
	return PFN_PHYS(pfn);
}

/* Returns 0 also if there is no such place. */
u64 khd_place(enum khd_place place)
{
	const struct kho_radix_walk_cb node = { .node = khd_last_node };
	const struct kho_radix_walk_cb split = { .leaf = khd_first_split };
	const struct kho_radix_walk_cb table = { .leaf = khd_first_ioptdesc };
	phys_addr_t phys = 0;

	switch (place) {
	case KHD_ZERO:
		return 0;
	case KHD_BEYOND:
		return KHD_NO_MEMORY;
	case KHD_END:
		return khd_end_of_memory();
	case KHD_HOLE:
		return khd_find_hole();
	case KHD_ALL_ONES:
		return U64_MAX;
	case KHD_PAGE:
		return khd_new_pages(0);
	case KHD_PAGE_UNALIGNED:
		phys = khd_new_pages(0);
		return phys ? phys + 8 : 0;
	case KHD_SCRATCH:
		return kho_scratch->addr;
	case KHD_ROOT:
		return virt_to_phys(khd_map.root);
	case KHD_ROOT_UNALIGNED:
		return virt_to_phys(khd_map.root) + 8;
	case KHD_LAST_NODE:
		/* A node's key comes before the keys that lie in the node. */
		kho_radix_walk_tree(&khd_map, &node, &phys);
		return phys;
	case KHD_FIRST_SPLIT:
		kho_radix_walk_tree(&khd_map, &split, &phys);
		return phys;
	case KHD_FIRST_IOPTDESC:
		kho_radix_walk_tree(&khd_map, &table, &phys);
		return phys;
	case KHD_CHUNK:
		return khd_first_chunk();
	case KHD_CHUNK_UNALIGNED:
		phys = khd_first_chunk();
		return phys ? phys + 8 : 0;
	}
	return 0;
}
