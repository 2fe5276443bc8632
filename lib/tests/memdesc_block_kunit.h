/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For tests in which memory goes offline: find a memory block that can go, take
 * it offline and bring it back.
 */
#ifndef _MEMDESC_BLOCK_KUNIT_H
#define _MEMDESC_BLOCK_KUNIT_H

#include <linux/device.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/numa.h>

#ifdef CONFIG_MEMORY_HOTREMOVE
/* Bring a memory block online, for the kernel, or take it offline. */
static inline int set_block_online(struct memory_block *block, bool online)
{
	int err;

	lock_device_hotplug();
	block->online_type = MMOP_ONLINE_KERNEL;
	err = online ? device_online(&block->dev) : device_offline(&block->dev);
	unlock_device_hotplug();
	return err;
}

/*
 * The last block of memory of node @nid (NUMA_NO_NODE: any) that can go offline, or
 * NULL. The block is online, and most of it is free. The caller drops the reference
 * with memory_block_put().
 */
static inline struct memory_block *get_free_block(int nid)
{
	unsigned long id = pfn_to_block_id(max_pfn - 1) + 1;
	struct memory_block *block;

	while (id--) {
		block = memory_block_get(id);
		if (!block)
			continue;
		if ((nid == NUMA_NO_NODE || nid == block->nid) &&
		    !set_block_online(block, false) &&
		    !set_block_online(block, true))
			return block;
		memory_block_put(block);
	}
	return NULL;
}

static inline unsigned long block_start_pfn(struct memory_block *block)
{
	return section_nr_to_pfn(block->start_section_nr);
}
#endif /* CONFIG_MEMORY_HOTREMOVE */

#endif /* _MEMDESC_BLOCK_KUNIT_H */
