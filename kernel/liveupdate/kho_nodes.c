// SPDX-License-Identifier: GPL-2.0-only
/*
 * The list of nodes of the incoming map.
 *
 * A node of the map says nothing about itself: it cannot be seen from the memory
 * whether a page is a node. The list answers that. First it is a hash table, so
 * that a second link to the same node is found while the map is walked, and the
 * walk of a map with a cycle ends. Then the list is sorted, so that the nodes of
 * any range can be found.
 *
 * The list is the only memory that is needed before it is known which memory is
 * free. It takes at most 48 bytes for each node of 4 KiB while it grows, and 16
 * to 32 bytes after that.
 */

#include <linux/hash.h>
#include <linux/log2.h>
#include <linux/memblock.h>
#include <linux/minmax.h>
#include <linux/sort.h>

#include "kexec_handover_internal.h"

static struct {
	unsigned long *pfn;	/* 0: no entry */
	unsigned long nr;	/* entries */
	unsigned long size;	/* room for entries, a power of two */
} kho_nodes __initdata;

static unsigned long *__init kho_nodes_slot(unsigned long pfn)
{
	unsigned long i = hash_long(pfn, ilog2(kho_nodes.size));

	while (kho_nodes.pfn[i] && kho_nodes.pfn[i] != pfn)
		i = (i + 1) % kho_nodes.size;
	return &kho_nodes.pfn[i];
}

/* The room of a list that has just been made. */
#define KHO_NODES_MIN	(PAGE_SIZE / sizeof(unsigned long))

/**
 * kho_nodes_size - how much memory does a list of nodes take?
 * @nr: number of nodes, at least one
 * @growing: set to how many bytes it takes at most while it is made
 *
 * Context: Any.
 * Return: bytes.
 */
u64 kho_nodes_size(u64 nr, u64 *growing)
{
	/* See kho_nodes_add(). */
	const u64 size = max_t(u64, KHO_NODES_MIN, roundup_pow_of_two(2 * nr));

	*growing = size * sizeof(unsigned long);
	if (size > KHO_NODES_MIN)
		*growing += *growing / 2;
	return size * sizeof(unsigned long);
}

static int __init kho_nodes_grow(void)
{
	const unsigned long size = kho_nodes.size;
	unsigned long *old = kho_nodes.pfn, *pfn;

	kho_nodes.size = size ? 2 * size : KHO_NODES_MIN;
	pfn = memblock_alloc(kho_nodes.size * sizeof(*pfn), PAGE_SIZE);
	if (!pfn) {
		kho_nodes.size = size;
		return -ENOMEM;
	}

	kho_nodes.pfn = pfn;
	for (unsigned long i = 0; i < size; i++) {
		if (old[i])
			*kho_nodes_slot(old[i]) = old[i];
	}
	if (old)
		memblock_free(old, size * sizeof(*old));
	return 0;
}

/**
 * kho_nodes_add - add a page to the list
 * @pfn: its page frame number; not 0
 *
 * Context: Early boot, before kho_nodes_sort().
 * Return: 0, %-EEXIST if the page is in the list already, or %-ENOMEM.
 */
int __init kho_nodes_add(unsigned long pfn)
{
	unsigned long *slot;
	int err;

	/* Half of the room stays empty, so that searches end soon. */
	if (2 * kho_nodes.nr >= kho_nodes.size) {
		err = kho_nodes_grow();
		if (err)
			return err;
	}
	slot = kho_nodes_slot(pfn);
	if (*slot)
		return -EEXIST;
	*slot = pfn;
	kho_nodes.nr++;
	return 0;
}

static int __init kho_nodes_cmp(const void *a, const void *b)
{
	return cmp_int(*(const unsigned long *)a, *(const unsigned long *)b);
}

/**
 * kho_nodes_sort - end adding pages, begin to search for ranges
 *
 * Context: Early boot.
 */
void __init kho_nodes_sort(void)
{
	unsigned long nr = 0;

	for (unsigned long i = 0; i < kho_nodes.size; i++) {
		if (kho_nodes.pfn[i])
			kho_nodes.pfn[nr++] = kho_nodes.pfn[i];
	}
	sort(kho_nodes.pfn, nr, sizeof(*kho_nodes.pfn), kho_nodes_cmp, NULL);
}

/**
 * kho_nodes_next - find the first node in a range
 * @pfn: page frame number of the first page
 * @end: page frame number behind the last page
 *
 * Context: Boot, between kho_nodes_sort() and kho_nodes_free(). Can run in
 *	parallel to itself.
 * Return: the page frame number of the node, or @end.
 */
unsigned long __init kho_nodes_next(unsigned long pfn, unsigned long end)
{
	unsigned long low = 0, high = kho_nodes.nr;

	while (low < high) {
		const unsigned long mid = low + (high - low) / 2;

		if (kho_nodes.pfn[mid] < pfn)
			low = mid + 1;
		else
			high = mid;
	}
	return low < kho_nodes.nr ? min(kho_nodes.pfn[low], end) : end;
}

/**
 * kho_nodes_free - free the list
 *
 * Context: Boot.
 */
void __init kho_nodes_free(void)
{
	if (kho_nodes.pfn)
		memblock_free(kho_nodes.pfn,
			      kho_nodes.size * sizeof(*kho_nodes.pfn));
	memset(&kho_nodes, 0, sizeof(kho_nodes));
}
