// SPDX-License-Identifier: GPL-2.0-only
/*
 * Is there room for the next kernel? It boots in the scratch areas, and then in
 * memory in which nothing is preserved.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/bitmap.h>
#include <linux/kexec.h>
#include <linux/kexec_handover.h>
#include <linux/kho_radix_tree.h>
#include <linux/math.h>
#include <linux/memory_hotplug.h>
#include <linux/printk.h>
#include <linux/sizes.h>

#include "../kexec_internal.h"
#include "kexec_handover_internal.h"

/* What the next kernel has to boot in, and needs for that, in bytes */
struct kho_room {
	unsigned long *used;	/* a bit for each GiB with nodes of the map */
	unsigned long nr_used;	/* how many bits there are */
	u64 nodes;		/* how many */
	u64 scratch;
	u64 free;
	u64 image;
	u64 pages;
};

static int kho_room_node(phys_addr_t phys, void *data)
{
	struct kho_room *room = data;

	__set_bit(phys >> const_ilog2(KHO_SCRATCH_EXT_BLKSIZE), room->used);
	room->nodes++;
	return 0;
}

/*
 * Count the memory of a GiB. Memory that is offline now is there in the next kernel.
 * Memory that was added is not known to that kernel when it boots.
 */
static void kho_room_block(struct kho_room *room, unsigned long pfn)
{
	const unsigned long end = pfn + PHYS_PFN(KHO_SCRATCH_EXT_BLKSIZE);
	const u64 size = PAGE_SIZE << pageblock_order;
	u64 all = 0, free = 0;

	for (unsigned long i = pfn; i < end; i += pageblock_nr_pages) {
		if (!pfn_valid(i) || kho_pfn_hotadded(i))
			continue;
		all += size;
		if (!kho_scratch_overlap(PFN_PHYS(i), size))
			free += size;
	}
	room->pages += (all >> PAGE_SHIFT) * sizeof(struct page);
	if (!test_bit(PFN_PHYS(pfn) >> const_ilog2(KHO_SCRATCH_EXT_BLKSIZE),
		      room->used) && free && !kho_any_preserved(pfn, end))
		room->free += free;
}

/**
 * kho_check_room - can the next kernel take in what is preserved
 * @image: what is to be executed
 *
 * Before the next kernel knows what is preserved, it has the scratch areas only, and
 * after that each GiB in which nothing is preserved. What is certainly needed
 * in there is its image, the struct pages of all memory, and the list of the nodes
 * of the map. If there is no room for that, the next kernel would panic. It may
 * need more, so this check does not find all cases.
 *
 * Context: Process context, before a kexec.
 * Return: 0, or %-ENOMEM if there is not enough room.
 */
int kho_check_room(const struct kimage *image)
{
	const struct kho_radix_walk_cb cb = { .node = kho_room_node };
	struct kho_room room = {
		.nr_used = DIV_ROUND_UP(max_pfn, PHYS_PFN(KHO_SCRATCH_EXT_BLKSIZE)),
	};
	u64 growing, list;

	/* An image that was loaded without a handover may use all memory. */
	if (!kho_out.radix_tree.root || !image->kho.fdt)
		return 0;
	room.used = bitmap_zalloc(room.nr_used, GFP_KERNEL);
	if (!room.used)
		return 0;

	for (unsigned int i = 0; i < kho_scratch_cnt; i++)
		room.scratch += kho_scratch[i].size;
	for (unsigned long i = 0; i < image->nr_segments; i++)
		room.image += image->segment[i].memsz;

	kho_map_lock();
	kho_radix_walk_tree(&kho_out.radix_tree, &cb, &room);
	for (unsigned long i = 0; i < room.nr_used; i++) {
		kho_room_block(&room, i * PHYS_PFN(KHO_SCRATCH_EXT_BLKSIZE));
		cond_resched();
	}
	kho_map_unlock();
	bitmap_free(room.used);

	/*
	 * The list of nodes grows while there are the scratch areas only. The struct
	 * pages come later, when the list is smaller.
	 */
	list = kho_nodes_size(room.nodes, &growing);
	if (room.scratch >= room.image + growing &&
	    room.scratch + room.free >= room.image + room.pages + list)
		return 0;
	pr_err("no room for the next kernel: its image takes %llu MiB, the struct pages take %llu MiB, and a list of %llu nodes takes %llu KiB, but the scratch areas have %llu MiB, and all GiB without preserved memory have %llu MiB, see kho_scratch=\n",
	       DIV_ROUND_UP_ULL(room.image, SZ_1M),
	       DIV_ROUND_UP_ULL(room.pages, SZ_1M), room.nodes,
	       DIV_ROUND_UP_ULL(growing, SZ_1K),
	       room.scratch >> 20, room.free >> 20);
	return -ENOMEM;
}
