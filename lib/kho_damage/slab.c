// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damage what this kernel hands over by kexec: the lists of slabs, and the
 * records in them.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/align.h>
#include <linux/io.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/kho/abi/slab.h>
#include <linux/minmax.h>
#include <linux/mmzone.h>
#include <linux/overflow.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <linux/unaligned.h>

#include "khd.h"

/* A larger slab around that slab. No record has address 0. */
static void khd_slab_greedy(struct kho_slab_record *new)
{
	new->order = MAX_PAGE_ORDER;
	while (new->phys < PAGE_SIZE << new->order)
		new->order--;
	new->phys = ALIGN_DOWN(new->phys, PAGE_SIZE << new->order);
	new->objects = 64;
	new->size = (PAGE_SIZE << new->order) / 64;
	new->left_pad = 0;
	new->align = 0;
	new->bitmap[0] = 1;
}

static size_t khd_record_size(unsigned int chain)
{
	return struct_size_t(struct kho_slab_record, bitmap, 1UL << chain);
}

static struct kho_slab_record *khd_record(struct kho_slab_chunk *chunk,
					  unsigned int chain, unsigned int i)
{
	return (void *)chunk->data + i * khd_record_size(chain);
}

/* The chain with the longest bitmaps that are in use. */
static unsigned int khd_long_chain(void)
{
	unsigned int chain = KHO_SLAB_RECORDS - 1;

	while (chain && !khd_slabs()->chain[chain])
		chain--;
	return chain;
}

/* The test has a chunk of its own in each chain, before the others. */
static struct kho_slab_chunk *khd_slab_chunk(unsigned int chain)
{
	static struct kho_slab_chunk *chunks[KHO_SLAB_RECORDS];
	u64 *link = &khd_slabs()->chain[chain];
	phys_addr_t phys;

	if (chunks[chain] || !*link)
		return chunks[chain];
	phys = khd_new_pages(0);
	if (!phys || khd_add_pages(phys, 0, KHO_MEMDESC_METADATA))
		return NULL;
	chunks[chain] = phys_to_virt(phys);
	chunks[chain]->next = *link;
	*link = phys;
	return chunks[chain];
}

/* The first record of a slab in a chain that was there before. */
static struct kho_slab_record *khd_first_record(unsigned int chain)
{
	struct kho_slab_chunk *chunk = khd_slab_chunk(chain);

	if (!chunk)
		return NULL;
	chunk = phys_to_virt(chunk->next);
	for (unsigned int i = 0; i < chunk->top; i++) {
		if (khd_record(chunk, chain, i)->phys)
			return khd_record(chunk, chain, i);
	}
	return NULL;
}

/* A wrong copy of the first record of a slab. */
int khd_slab(u64 arg)
{
	unsigned int chain = arg >> 32 & KHD_TO_LONG ? khd_long_chain() : 0;
	unsigned int from = arg >> 32 & KHD_FROM_LONG ? khd_long_chain() : 0;
	struct kho_slab_record *new, *first;
	struct kho_slab_chunk *chunk;

	if (!khd_slabs() || (arg >> 32 && !khd_long_chain()))
		return -ENOENT;
	chunk = khd_slab_chunk(chain);
	first = khd_first_record(from);
	if (!chunk || !first)
		return -ENOENT;
	new = khd_record(chunk, chain, chunk->top);
	memcpy(new, first, khd_record_size(min(chain, from)));

	switch ((enum khd_slab)(u32)arg) {
	case KHD_SLAB_TWICE:
		break;
	case KHD_SLAB_NOT_PRESERVED:
		new->phys = khd_new_pages(first->order);
		if (!new->phys)
			return -ENOMEM;
		break;
	case KHD_SLAB_BEYOND:
		new->phys = KHD_NO_MEMORY;
		break;
	case KHD_SLAB_GREEDY:
		khd_slab_greedy(new);
		break;
	case KHD_SLAB_ORDER:
		new->order = 64;
		break;
	case KHD_SLAB_LAYOUT:
		new->object_size = new->size + 1;
		break;
	case KHD_SLAB_OBJECTS:
		new->objects++;
		break;
	case KHD_SLAB_ALIGN:
		new->align = 31;
		break;
	case KHD_SLAB_FLAGS:
		new->flags |= 0x80;
		break;
	case KHD_SLAB_CLASS:
		new->class = KHO_NR_SLAB_CLASSES;
		break;
	case KHD_SLAB_BITS:
		new->bitmap[(1UL << chain) - 1] |= BIT_ULL(63);
		break;
	}
	chunk->top++;
	return khd_expect("slab", new->phys);
}

/* The link at the end of a chain: nothing else is lost with what follows it. */
static u64 *khd_chain_end(struct kho_slab_root *slabs, unsigned int chain)
{
	u64 *link = &slabs->chain[chain];

	while (*link)
		link = &((struct kho_slab_chunk *)phys_to_virt(*link))->next;
	return link;
}

/* An address that is no chunk. */
int khd_chunk(u64 place)
{
	struct kho_slab_root *slabs = khd_slabs();
	u64 phys = khd_place(place);

	if (!slabs || !phys)
		return -ENOENT;
	*khd_chain_end(slabs, 0) = phys;
	return khd_expect("metadata", phys);
}

/* A page that is preserved as @type, and has more entries than fit into it. */
int khd_chunk_page(u64 type)
{
	struct kho_slab_root *slabs = khd_slabs();
	phys_addr_t phys = khd_new_pages(0);
	struct kho_slab_chunk *chunk = phys_to_virt(phys);

	if (!slabs || !phys || khd_add_pages(phys, 0, type))
		return -ENOMEM;
	if (type == KHO_MEMDESC_METADATA)
		chunk->top = U16_MAX;
	*khd_chain_end(slabs, 0) = phys;
	return khd_expect("metadata", phys);
}

/* One entry too many for a page of that chain. It would fit in chain 0. */
int khd_chunk_long(u64 more)
{
	struct kho_slab_root *slabs = khd_slabs();
	phys_addr_t phys = khd_new_pages(0);
	struct kho_slab_chunk *chunk = phys_to_virt(phys);
	unsigned int chain;

	if (!slabs || !khd_long_chain())
		return -ENOENT;
	if (!phys || khd_add_pages(phys, 0, KHO_MEMDESC_METADATA))
		return -ENOMEM;
	chain = khd_long_chain();
	chunk->top = (PAGE_SIZE - sizeof(*chunk)) / khd_record_size(chain) +
		     more;
	*khd_chain_end(slabs, chain) = phys;
	return khd_expect("metadata", phys);
}

static unsigned long khd_chunk_pages(struct kho_slab_chunk *chunk,
				     unsigned int chain)
{
	unsigned long nr = 1;

	for (unsigned int i = 0; chain != KHO_SLAB_COPIES && i < chunk->top;
	     i++) {
		struct kho_slab_record *rec = khd_record(chunk, chain, i);

		if (rec->phys)
			nr += 1UL << rec->order;
	}
	return nr;
}

/*
 * The root of the chains has another size, or another version if @size is 0.
 * The next kernel must not read the chains. It finds no object then, and the
 * slabs stay preserved.
 */
int khd_slab_root(u64 size)
{
	struct kho_slab_root *slabs = khd_slabs();
	struct kho_slab_chunk *chunk;
	unsigned long held = 1;
	u64 *prop;

	prop = khd_subtree_prop(KHO_SLAB_SUBTREE, KHO_SUB_TREE_SIZE_PROP_NAME);
	if (!slabs || !prop)
		return -ENOENT;
	for (unsigned int i = 0; i < KHO_SLAB_CHAINS; i++) {
		for (u64 next = slabs->chain[i]; next; next = chunk->next) {
			chunk = phys_to_virt(next);
			held += khd_chunk_pages(chunk, i);
		}
	}
	if (size)
		put_unaligned(size, prop);
	else
		slabs->version++;
	pr_info("held %lu\n", held);
	pr_info("word test_kho_memdesc.no_slabs=1\n");
	pr_info("expect no slabs\n");
	return khd_expect("slab", virt_to_phys(slabs));
}

int khd_copy_twice(u64 chain)
{
	struct kho_slab_root *slabs = khd_slabs();
	phys_addr_t phys = khd_new_pages(0);
	phys_addr_t obj = khd_new_pages(0);
	struct kho_slab_chunk *chunk = phys_to_virt(phys);
	struct kho_slab_copy *copy = (void *)chunk->data;

	if (!slabs || !phys || !obj ||
	    khd_add_pages(phys, 0, KHO_MEMDESC_METADATA))
		return -ENOMEM;
	for (chunk->top = 0; chunk->top < 2; chunk->top++) {
		copy[chunk->top].from = obj;
		copy[chunk->top].to = obj;
		copy[chunk->top].size = 8;
	}
	chunk->used = chunk->top;
	*khd_chain_end(slabs, chain) = phys;
	return khd_expect("slab", obj);
}
