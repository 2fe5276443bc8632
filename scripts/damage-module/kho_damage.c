// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damage what this kernel hands over, for scripts/damage:
 *
 *   insmod kho_damage.ko scratch=PHYS damage=KIND,KIND,...
 *
 * For each damage it logs "expect left out WHAT", which the next kernel has to
 * report; "expect kept WHAT" for what that must not understand; "expect flood N" for
 * more than can be told one by one, and "expect refused" where nothing can be taken
 * in. "word WORD" is for the command line of the next kernel, and "held N" are pages
 * that nobody there restores.
 *
 *   insmod kho_damage.ko kept=PHYS:ORDER,PHYS:ORDER,...
 *
 * In the next kernel: is that memory still what the first kernel has left there,
 * and not free, when all free memory was written to?
 *
 * Everything is found from outside, as a stray write would find it: the FDT by
 * its contents, the map by the FDT.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/memblock.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/kho/abi/slab.h>
#include <linux/kho_radix_tree.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/sizes.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/unaligned.h>

#include "kexec_handover_internal.h"

static unsigned long scratch;
module_param(scratch, ulong, 0);
MODULE_PARM_DESC(scratch, "Physical address of a scratch area");

static unsigned long release;
module_param(release, ulong, 0);
MODULE_PARM_DESC(release, "Address of reserve_mem_release_by_name(), which is not exported");

static char *damage;
module_param(damage, charp, 0);
MODULE_PARM_DESC(damage, "Kinds of damage, separated by commas");

static char *kept;
module_param(kept, charp, 0);
MODULE_PARM_DESC(kept, "What the previous kernel has handed over and this one does not understand");

/* A physical address that no machine has memory at. */
#define NO_MEMORY	BIT_ULL(51)

/* Words of the header of an FDT, and tokens in its structure. */
enum { MAGIC, TOTALSIZE, OFF_STRUCT, OFF_STRINGS };
enum { BEGIN_NODE = 1, END_NODE, PROP, NOP };

static __be32 *fdt;
static void *root;		/* in the FDT: where the map is */
static struct kho_radix_tree map;

/* Slots of the map's root beyond those that keys of known types lead to. */
static unsigned int next_slot = BIT(KHO_TABLE_SIZE_LOG2);

static void *value_in(__be32 *blob, const char *node, const char *prop)
{
	const char *strings = (char *)blob + be32_to_cpu(blob[OFF_STRINGS]);
	__be32 *cur = (void *)blob + be32_to_cpu(blob[OFF_STRUCT]);
	const char *name = NULL;

	while ((char *)cur < (char *)blob + PAGE_SIZE) {
		switch (be32_to_cpu(*cur++)) {
		case BEGIN_NODE:
			name = (char *)cur;
			cur += strlen(name) / 4 + 1;
			break;
		case PROP:
			if (!strcmp(name, node) &&
			    !strcmp(strings + be32_to_cpu(cur[1]), prop))
				return cur + 2;
			cur += 2 + DIV_ROUND_UP(be32_to_cpu(cur[0]), 4);
			break;
		case END_NODE:
			name = "";
			break;
		case NOP:
			break;
		default:
			return NULL;
		}
	}
	return NULL;
}

static void *fdt_value(const char *node, const char *prop)
{
	return value_in(fdt, node, prop);
}

/* Calls @found for pages that are in use and have no type, until it returns true. */
static bool find_page(bool (*found)(void *virt))
{
	__be32 head;
	int nid;

	for_each_online_node(nid) {
		unsigned long pfn = NODE_DATA(nid)->node_start_pfn;

		for (; pfn < pgdat_end_pfn(NODE_DATA(nid)); pfn++) {
			struct page *page = pfn_to_online_page(pfn);

			if (!(pfn % 65536))
				cond_resched();
			if (!page || page_ref_count(page) != 1 ||
			    page_has_type(page) ||
			    copy_from_kernel_nofault(&head, page_address(page),
						     sizeof(head)))
				continue;
			if (found(page_address(page)))
				return true;
		}
	}
	return false;
}

/* On a kernel that nothing was handed to there is one such page. */
static bool is_fdt(void *virt)
{
	__be32 *head = virt;

	if (be32_to_cpu(head[MAGIC]) != 0xd00dfeed ||
	    be32_to_cpu(head[OFF_STRINGS]) >= PAGE_SIZE)
		return false;
	fdt = virt;
	root = fdt_value("", KHO_FDT_MEMORY_MAP_PROP_NAME);
	return root;
}

static int find_map(void)
{
	if (!find_page(is_fdt))
		return -ENOENT;
	return kho_radix_init_tree(&map, phys_to_virt(get_unaligned((u64 *)root)));
}

/* Of the scratch areas: for each of two nodes, of low memory, and for all. */
static struct kho_scratch *table;

static bool is_table(void *virt)
{
	table = virt;
	for (int i = 0; i < 4; i++) {
		if (!table[i].addr || !table[i].size ||
		    !PAGE_ALIGNED(table[i].addr) || !PAGE_ALIGNED(table[i].size))
			return false;
	}
	return table[0].addr == scratch && !table[4].addr && !table[4].size;
}

static struct kho_scratch *find_table(void)
{
	return find_page(is_table) ? table : NULL;
}

static void expect(const char *what, u64 val)
{
	pr_info("expect left out %s %#llx\n", what, val);
}

static int add_key(phys_addr_t phys, unsigned int order, unsigned int type)
{
	return kho_radix_add_key(&map, kho_encode_key(phys, order, type));
}

static int bad_key(unsigned long key)
{
	expect("key", key);
	return kho_radix_add_key(&map, key);
}

static int bad_pages(phys_addr_t phys, unsigned int order, unsigned int type)
{
	return bad_key(kho_encode_key(phys, order, type));
}

/* What kept memory has in it: each page differs. */
static u64 kept_word(phys_addr_t phys, unsigned int i)
{
	return ~phys ^ (u64)i << 32;
}

static int keep_pages(phys_addr_t phys, unsigned int order, unsigned int type)
{
	u64 *p = phys_to_virt(phys);

	for (unsigned long n = 0; n < 1UL << order; n++, phys += PAGE_SIZE)
		for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*p); i++)
			*p++ = kept_word(phys, i);
	phys -= PAGE_SIZE << order;
	pr_info("expect kept %#llx, order %u, type %u\n", phys, order, type);
	pr_info("held %lu\n", 1UL << order);
	return add_key(phys, order, type);
}

static int held_pages(phys_addr_t phys, unsigned int order, unsigned int type)
{
	pr_info("held %lu\n", 1UL << order);
	return add_key(phys, order, type);
}

static int bad_node(u64 *slot, u64 phys)
{
	expect("node", phys);
	*slot = phys;
	return 0;
}

/*
 * Split pages around @phys, as large as no other preservation or reservation allows
 * them: they are dropped, and what else is in them stays what it is.
 */
static int bad_huge(phys_addr_t phys)
{
	const unsigned int order = 29 - PAGE_SHIFT;

	return bad_pages(round_down(phys, PAGE_SIZE << order), order,
			 KHO_MEMDESC_SPLIT);
}

static u64 *new_slot(void)
{
	return &map.root->table[--next_slot];
}

/* Memory that is never freed, so that nobody else preserves it. */
static phys_addr_t new_pages(unsigned int order)
{
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_ZERO, order);

	return page ? page_to_phys(page) : 0;
}

/* More than the page allocator has in one piece: two neighbours of that. */
static phys_addr_t new_large(void)
{
	static phys_addr_t at[256];
	const size_t size = PAGE_SIZE << MAX_PAGE_ORDER;

	for (unsigned int n = 0; n < ARRAY_SIZE(at); n++) {
		at[n] = new_pages(MAX_PAGE_ORDER);
		for (unsigned int i = 0; at[n] && i < n; i++) {
			if ((at[i] ^ at[n]) == size)
				return min(at[i], at[n]);
		}
	}
	return 0;
}

static u64 *new_node(u64 *slot)
{
	*slot = new_pages(0);
	return phys_to_virt(*slot);
}

/* A leaf which a slot of the root leads to, and the first key in it. */
static void *new_leaf(unsigned long *key)
{
	u64 *node = new_node(new_slot());

	for (unsigned int level = KHO_TREE_MAX_DEPTH - 2; level; level--)
		node = new_node(&node[0]);
	*key = (unsigned long)next_slot <<
	       ((KHO_TREE_MAX_DEPTH - 2) * KHO_TABLE_SIZE_LOG2 +
		KHO_BITMAP_SIZE_LOG2);
	return node;
}

/* The first physical address but 0, which is no node, that is no memory. */
static phys_addr_t find_hole(void)
{
	unsigned long pfn = 1;

	while (page_is_ram(pfn))
		pfn++;
	return PFN_PHYS(pfn);
}

static phys_addr_t end_of_memory(void)
{
	unsigned long end = 0;
	int nid;

	for_each_online_node(nid)
		end = max(end, pgdat_end_pfn(NODE_DATA(nid)));
	return PFN_PHYS(end);
}

static int last_node(phys_addr_t phys, void *data)
{
	*(phys_addr_t *)data = phys;
	return 0;
}

static int first_split(unsigned long key, void *data)
{
	unsigned int order, type;
	phys_addr_t phys = kho_decode_key(key, &order, &type);

	if (type != KHO_MEMDESC_SPLIT || order > MAX_PAGE_ORDER)
		return 0;
	*(phys_addr_t *)data = phys;
	return 1;
}

static int bad_subtree(const char *node, u64 phys)
{
	void *data = fdt_value(node, KHO_SUB_TREE_PROP_NAME);

	if (!data)
		return -ENOENT;
	expect("subtree", phys);
	put_unaligned(phys, (u64 *)data);
	return 0;
}

/* The next kernel reserves a page at @phys, after it has checked the map. */
static int late_reserve(phys_addr_t phys)
{
	pr_info("word test_kho_memdesc.reserve=%#llx\n", phys);
	return 0;
}

static phys_addr_t start_of_memory(void)
{
	unsigned long start = ULONG_MAX;
	int nid;

	for_each_online_node(nid)
		start = min(start, NODE_DATA(nid)->node_start_pfn);
	/* x86 counts from 0, whatever is there. */
	return IS_ENABLED(CONFIG_X86) ? 0 : PFN_PHYS(start);
}

/* The next kernel has no memory from @phys on, or on x86 not this page. */
static void less_memory(const char *kind, phys_addr_t phys)
{
	/* A kernel does not come up with next to nothing. */
	if (!strncmp(kind, "memmap-", 7) ||
	    (IS_ENABLED(CONFIG_X86) && phys < SZ_512M))
		pr_info("word memmap=4K$%#llx\n", phys);
	else
		pr_info("word mem=%llu\n", phys - start_of_memory());
}

/* The next kernel is told that the reserve_mem region of scripts/damage is @phys. */
static int bad_reserve_mem(phys_addr_t phys)
{
	void *data = fdt_value(MEMBLOCK_KHO_FDT, KHO_SUB_TREE_PROP_NAME);
	void *start;

	if (!data)
		return -ENOENT;
	start = value_in(phys_to_virt(get_unaligned((u64 *)data)), "damage",
			 "start");
	if (!start)
		return -ENOENT;
	put_unaligned(phys, (u64 *)start);
	return 0;
}

/* What kho_slab_record is for slabs with up to 64 objects. */
struct entry {
	u64 phys;
	u32 size;
	u32 object_size;
	u16 objects;
	u8 align;
	u8 flags;
	u16 left_pad;
	u8 order;
	u8 class;
	u64 bitmap;
};

static_assert(sizeof(struct entry) ==
	      struct_size_t(struct kho_slab_record, bitmap, 1));

/* One more of them, in a page of its own before the others. */
static int bad_record(const char *kind)
{
	static struct kho_slab_chunk *chunk;
	void *data = fdt_value(KHO_SLAB_SUBTREE, KHO_SUB_TREE_PROP_NAME);
	struct kho_slab_root *slabs;
	struct entry *new, *first;

	if (!data)
		return -ENOENT;
	slabs = phys_to_virt(get_unaligned((u64 *)data));
	if (!slabs->chain[0])
		return -ENOENT;
	if (!chunk) {
		phys_addr_t phys = new_pages(0);
		int err = add_key(phys, 0, KHO_MEMDESC_METADATA);

		if (err)
			return err;
		chunk = phys_to_virt(phys);
		chunk->next = slabs->chain[0];
		chunk->top = 0;
		slabs->chain[0] = phys;
	}
	first = (void *)((struct kho_slab_chunk *)phys_to_virt(chunk->next))->data;
	if (!first->phys)
		return -ENOENT;
	new = (struct entry *)chunk->data + chunk->top;

	*new = *first;
	if (!strcmp(kind, "slab-not-preserved")) {
		new->phys = new_pages(first->order);
	} else if (!strcmp(kind, "slab-beyond")) {
		new->phys = NO_MEMORY;
	} else if (!strcmp(kind, "slab-order")) {
		new->order = 64;
	} else if (!strcmp(kind, "slab-greedy")) {
		/*
		 * All that lies around that slab, as a larger one. Address 0 would
		 * be no record.
		 */
		new->order = MAX_PAGE_ORDER;
		while (first->phys < PAGE_SIZE << new->order)
			new->order--;
		new->phys = ALIGN_DOWN(first->phys, PAGE_SIZE << new->order);
		new->objects = 64;
		new->size = (PAGE_SIZE << new->order) / 64;
		new->left_pad = 0;
		new->align = 0;
		new->bitmap = 1;
	} else if (!strcmp(kind, "slab-layout")) {
		new->object_size = new->size + 1;
	} else if (!strcmp(kind, "slab-objects")) {
		new->objects++;
	} else if (!strcmp(kind, "slab-align")) {
		new->align = 31;
	} else if (!strcmp(kind, "slab-flags")) {
		new->flags |= 0x80;
	} else if (!strcmp(kind, "slab-class")) {
		new->class = KHO_NR_SLAB_CLASSES;
	} else if (strcmp(kind, "slab-twice")) {
		return -EINVAL;
	}
	chunk->top++;
	expect("slab", new->phys);
	return 0;
}

/* What comes behind the last page of a chain. Nothing else is lost with it. */
static int bad_chunk(const char *kind)
{
	void *data = fdt_value(KHO_SLAB_SUBTREE, KHO_SUB_TREE_PROP_NAME);
	struct kho_slab_chunk *chunk;
	struct kho_slab_root *slabs;
	struct kho_slab_copy *copy;
	unsigned int chain = 0;
	phys_addr_t phys;
	u64 *link;

	if (!data)
		return -ENOENT;
	slabs = phys_to_virt(get_unaligned((u64 *)data));
	if (!strcmp(kind, "chunk-copy-twice"))
		chain = KHO_SLAB_COPIES;
	link = &slabs->chain[chain];
	while (*link)
		link = &((struct kho_slab_chunk *)phys_to_virt(*link))->next;

	if (!strcmp(kind, "chunk-beyond")) {
		phys = NO_MEMORY;
	} else if (!strcmp(kind, "chunk-unaligned")) {
		phys = slabs->chain[0] + 8;
	} else if (!strcmp(kind, "chunk-cycle")) {
		phys = slabs->chain[0];
	} else {
		phys = new_pages(0);
		if (!phys)
			return -ENOMEM;
		if (add_key(phys, 0, !strcmp(kind, "chunk-type") ?
			    KHO_MEMDESC_FOLIO : KHO_MEMDESC_METADATA))
			return -ENOMEM;
	}
	chunk = phys_to_virt(phys);
	if (!strcmp(kind, "chunk-top")) {
		chunk->top = U16_MAX;
	} else if (!strcmp(kind, "chunk-copy-twice")) {
		copy = (void *)chunk->data;
		copy[0].from = copy[1].from = new_pages(0);
		copy[0].to = copy[1].to = copy[0].from;
		copy[0].size = copy[1].size = 8;
		chunk->top = 2;
		chunk->used = 2;
		*link = phys;
		expect("slab", copy[0].from);
		return 0;
	}
	*link = phys;
	expect("metadata", phys);
	return 0;
}

static void bad_root(u64 phys)
{
	expect("node", phys);
	put_unaligned(phys, (u64 *)root);
}

static int refused(void)
{
	pr_info("expect refused\n");
	return 0;
}

static int do_damage(const char *kind)
{
	const struct kho_radix_walk_cb node_cb = { .node = last_node };
	const struct kho_radix_walk_cb split_cb = { .leaf = first_split };
	unsigned long key;
	phys_addr_t phys;
	void *leaf;
	u64 *node;

	/* Keys that mean nothing. */
	if (!strcmp(kind, "key-zero"))
		return bad_key(0);
	if (!strcmp(kind, "key-one"))
		return bad_key(1);
	if (!strcmp(kind, "key-type-only"))
		return bad_key((unsigned long)KHO_MEMDESC_FOLIO <<
			       KHO_MEMDESC_SHIFT);

	/* What a newer kernel could have, or one that is built differently. */
	if (!strcmp(kind, "key-type-unknown"))
		return keep_pages(new_pages(0), 0, KHO_NR_MEMDESC);
	if (!strcmp(kind, "key-type-last"))
		return keep_pages(new_pages(4), 4, BIT(KHO_MEMDESC_BITS) - 1);
	if (!strcmp(kind, "key-order-unknown")) {
		phys = new_large();
		return phys ? keep_pages(phys, MAX_PAGE_ORDER + 1,
					 KHO_MEMDESC_IOPTDESC) : -ENOMEM;
	}
	/* Two that overlap: which of them is true? */
	if (!strcmp(kind, "keys-unknown")) {
		phys = new_pages(3);
		pr_info("held -4\n");
		return keep_pages(phys, 3, KHO_NR_MEMDESC) ?:
		       keep_pages(phys + 4 * PAGE_SIZE, 2, KHO_NR_MEMDESC + 1);
	}
	/* What is understood is believed, wherever in the map it comes. */
	if (!strcmp(kind, "unknown-known")) {
		phys = new_pages(9);
		return held_pages(phys, 0, KHO_MEMDESC_FOLIO) ?:
		       bad_pages(phys, 9, KHO_NR_MEMDESC);
	}
	if (!strcmp(kind, "order-known")) {
		phys = new_large();
		if (!phys)
			return -ENOMEM;
		return held_pages(phys + PAGE_SIZE, 0, KHO_MEMDESC_IOPTDESC) ?:
		       bad_pages(phys, MAX_PAGE_ORDER + 1, KHO_MEMDESC_FOLIO);
	}
	if (!strcmp(kind, "key-too-wide")) {
		leaf = new_leaf(&key);
		__set_bit(5, leaf);
		expect("key", key | 5);
		return 0;
	}
	if (!strcmp(kind, "key-order-folio"))
		return bad_pages(0, MAX_PAGE_ORDER + 1, KHO_MEMDESC_FOLIO);
	if (!strcmp(kind, "key-order-untyped"))
		return bad_pages(0, 50 - PAGE_SHIFT, KHO_MEMDESC_UNTYPED);
	if (!strcmp(kind, "key-order-split"))
		return bad_pages(0, 63 - PAGE_SHIFT, KHO_MEMDESC_SPLIT);

	/* Places in which nothing can be preserved. */
	if (!strcmp(kind, "place-beyond"))
		return bad_pages(NO_MEMORY, 0, KHO_MEMDESC_FOLIO);
	if (!strcmp(kind, "place-end"))
		return bad_pages(end_of_memory(), 0, KHO_MEMDESC_FOLIO);
	if (!strcmp(kind, "place-hole"))
		return bad_pages(find_hole(), 0, KHO_MEMDESC_BLOCK);
	if (!strcmp(kind, "place-scratch"))
		return bad_pages(scratch, 0, KHO_MEMDESC_FOLIO);
	if (!strcmp(kind, "place-scratch-part"))
		return bad_pages(round_down(scratch, SZ_1G), 30 - PAGE_SHIFT,
				 KHO_MEMDESC_SPLIT);

	/* Two preservations, or one and a node, on the same pages. */
	if (!strcmp(kind, "twice-order")) {
		phys = new_pages(2);
		return held_pages(phys, 2, KHO_MEMDESC_FOLIO) ?:
		       bad_pages(phys + PAGE_SIZE, 0, KHO_MEMDESC_FOLIO);
	}
	if (!strcmp(kind, "twice-type")) {
		phys = new_pages(0);
		return held_pages(phys, 0, KHO_MEMDESC_FOLIO) ?:
		       bad_pages(phys, 0, KHO_MEMDESC_IOPTDESC);
	}
	/* The second is larger: what is only in that is free, and once. */
	if (!strcmp(kind, "twice-larger")) {
		phys = new_pages(MAX_PAGE_ORDER);
		return held_pages(phys + (PAGE_SIZE << 9), 9, KHO_MEMDESC_FOLIO) ?:
		       bad_pages(phys, MAX_PAGE_ORDER, KHO_MEMDESC_BLOCK);
	}
	/* Over many blocks, and over more than a leaf has bits for. */
	if (!strcmp(kind, "twice-huge")) {
		phys = new_pages(0);
		return held_pages(phys, 0, KHO_MEMDESC_FOLIO) ?:
		       bad_huge(phys);
	}
	if (!strcmp(kind, "twice-object")) {
		if (kho_radix_walk_tree(&map, &split_cb, &phys) != 1)
			return -ENOENT;
		return bad_pages(phys, 0, KHO_MEMDESC_IOPTDESC);
	}
	if (!strcmp(kind, "twice-node")) {
		/* The key comes before the keys that lie in the node. */
		kho_radix_walk_tree(&map, &node_cb, &phys);
		return bad_pages(phys, 0, KHO_MEMDESC_FOLIO);
	}
	if (!strcmp(kind, "twice-root"))
		return bad_pages(virt_to_phys(map.root), 0, KHO_MEMDESC_FOLIO);

	/* Nodes that are none. */
	if (!strcmp(kind, "node-beyond"))
		return bad_node(new_slot(), NO_MEMORY);
	if (!strcmp(kind, "node-unaligned"))
		return bad_node(new_slot(), new_pages(0) + 8);
	if (!strcmp(kind, "node-all-ones"))
		return bad_node(new_slot(), U64_MAX);
	if (!strcmp(kind, "node-hole"))
		return bad_node(new_slot(), find_hole());
	if (!strcmp(kind, "node-scratch"))
		return bad_node(new_slot(), scratch);
	if (!strcmp(kind, "node-root"))
		return bad_node(new_slot(), virt_to_phys(map.root));
	if (!strcmp(kind, "node-cycle")) {
		node = new_node(new_slot());
		return bad_node(&node[0], virt_to_phys(node));
	}
	if (!strcmp(kind, "node-deep-cycle")) {
		leaf = new_leaf(&key);
		node = phys_to_virt(map.root->table[next_slot]);
		return bad_node(&node[7], virt_to_phys(leaf));
	}
	if (!strcmp(kind, "node-twice")) {
		for (node = map.root->table; !*node; node++)
			;
		return bad_node(new_slot(), *node);
	}
	if (!strcmp(kind, "node-garbage")) {
		node = new_node(new_slot());
		get_random_bytes(node, PAGE_SIZE);
		/* Not one of them is a page. */
		for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*node); i++)
			node[i] |= 1;
		pr_info("expect flood %lu\n", PAGE_SIZE / sizeof(*node));
		return 0;
	}
	if (!strcmp(kind, "leaf-garbage")) {
		leaf = new_leaf(&key);
		get_random_bytes(leaf, PAGE_SIZE);
		pr_info("expect flood %u\n",
			bitmap_weight(leaf, PAGE_SIZE * BITS_PER_BYTE));
		return 0;
	}

	/* Data of others that is not there. */
	if (!strcmp(kind, "subtree-beyond"))
		return bad_subtree("kexec-metadata", NO_MEMORY);
	if (!strcmp(kind, "subtree-not-preserved")) {
		pr_info("expect no region\n");
		return bad_subtree("memblock", new_pages(0));
	}
	/* Its owner must hear of it, and stops the boot. */
	if (!strcmp(kind, "subtree-luo"))
		return bad_subtree("LUO", new_pages(0));
	if (!strcmp(kind, "subtree-too-long")) {
		leaf = fdt_value("kexec-metadata", KHO_SUB_TREE_SIZE_PROP_NAME);
		node = fdt_value("kexec-metadata", KHO_SUB_TREE_PROP_NAME);
		if (!leaf || !node)
			return -ENOENT;
		put_unaligned(BIT_ULL(40), (u64 *)leaf);
		expect("subtree", get_unaligned(node));
		return 0;
	}

	if (!strcmp(kind, "subtree-reserved")) {
		node = fdt_value("kexec-metadata", KHO_SUB_TREE_PROP_NAME);
		if (!node)
			return -ENOENT;
		expect("subtree", get_unaligned(node));
		pr_info("expect lost 1\n");
		return late_reserve(PAGE_ALIGN_DOWN(get_unaligned(node)));
	}
	/* All of it is gone, for one page. */
	if (!strcmp(kind, "pages-reserved")) {
		phys = new_pages(3);
		pr_info("expect lost 1\n");
		return add_key(phys, 3, KHO_MEMDESC_IOPTDESC) ?:
		       late_reserve(phys + 5 * PAGE_SIZE);
	}
	if (!strcmp(kind, "kept-reserved")) {
		phys = new_pages(3);
		pr_info("expect lost 1\n");
		/* The rest of it stays kept. */
		return keep_pages(phys, 3, KHO_NR_MEMDESC) ?:
		       late_reserve(phys + 5 * PAGE_SIZE);
	}

	/* A region of reserve_mem is no reason to give others' memory up. */
	if (!strcmp(kind, "region-folio")) {
		phys = new_pages(0);
		pr_info("expect region refused\n");
		return held_pages(phys, 0, KHO_MEMDESC_FOLIO) ?:
		       bad_reserve_mem(phys);
	}
	if (!strcmp(kind, "region-part")) {
		phys = new_pages(3);
		pr_info("expect region refused\n");
		return held_pages(phys, 3, KHO_MEMDESC_SPLIT) ?:
		       bad_reserve_mem(phys + PAGE_SIZE);
	}
	if (!strcmp(kind, "region-map")) {
		pr_info("expect region refused\n");
		return bad_reserve_mem(virt_to_phys(map.root));
	}
	if (!strcmp(kind, "region-free")) {
		pr_info("expect region refused\n");
		return bad_reserve_mem(new_pages(0));
	}
	if (!strcmp(kind, "none")) {
		pr_info("expect nothing\n");
		return 0;
	}

	if (!strncmp(kind, "slab-", 5))
		return bad_record(kind);
	if (!strncmp(kind, "chunk-", 6))
		return bad_chunk(kind);

	/* What was preserved is not in the next kernel's memory. */
	if (!strcmp(kind, "memmap-data")) {
		phys = new_pages(0);
		less_memory(kind, phys);
		return bad_pages(phys, 0, KHO_MEMDESC_FOLIO);
	}
	if (!strcmp(kind, "memmap-part")) {
		phys = new_pages(4);
		less_memory(kind, phys + 7 * PAGE_SIZE);
		return bad_pages(phys, 4, KHO_MEMDESC_SPLIT);
	}
	if (!strcmp(kind, "mem-fdt") || !strcmp(kind, "memmap-fdt")) {
		less_memory(kind, virt_to_phys(fdt));
		return refused();
	}
	if (!strcmp(kind, "mem-root") || !strcmp(kind, "memmap-root")) {
		phys = virt_to_phys(map.root);
		less_memory(kind, phys);
		/* Or the FDT goes with it. */
		if (!strcmp(kind, "memmap-root") || phys > virt_to_phys(fdt) ||
		    (IS_ENABLED(CONFIG_X86) && phys < SZ_512M))
			expect("node", phys);
		return refused();
	}

	/* Who releases a region here must not find it taken back. */
	if (!strcmp(kind, "region-released")) {
		int (*release_by_name)(const char *name) = (void *)release;

		if (!release || !release_by_name("damage"))
			return -ENOENT;
		pr_info("expect released\n");
		return 0;
	}

	/* What nothing can be taken in with. */
	if (!strcmp(kind, "fdt-reserved"))
		return late_reserve(virt_to_phys(fdt)) ?: refused();
	if (!strcmp(kind, "map-reserved"))
		return late_reserve(virt_to_phys(map.root)) ?: refused();
	if (!strcmp(kind, "root-beyond"))
		bad_root(NO_MEMORY);
	else if (!strcmp(kind, "root-unaligned"))
		bad_root(virt_to_phys(map.root) + 8);
	else if (!strcmp(kind, "root-scratch"))
		bad_root(scratch);
	else if (!strcmp(kind, "root-zero"))
		put_unaligned(0, (u64 *)root);
	else if (!strcmp(kind, "fdt-not-preserved"))
		kho_radix_del_key(&map, kho_encode_key(virt_to_phys(fdt), 0,
						       KHO_MEMDESC_FOLIO));
	else if (!strcmp(kind, "fdt-table-unaligned") ||
		 !strcmp(kind, "fdt-table-beyond") ||
		 !strcmp(kind, "fdt-table-twice")) {
		if (!find_table())
			return -ENOENT;
		/* Not one of the first, in which kexec finds room yet. */
		if (!strcmp(kind, "fdt-table-unaligned"))
			table[3].addr += 8;
		else if (!strcmp(kind, "fdt-table-beyond"))
			table[3].addr = BIT_ULL(60);
		else
			table[3] = table[0];
	} else if (!strcmp(kind, "fdt-magic"))
		fdt[MAGIC] = 0;
	else if (!strcmp(kind, "fdt-struct"))
		fdt[OFF_STRUCT] = cpu_to_be32(PAGE_SIZE - 4);
	else if (!strcmp(kind, "fdt-token")) {
		/* Behind a subtree that has to be taken out. */
		node = fdt_value("kexec-metadata", KHO_SUB_TREE_PROP_NAME);
		if (!node)
			return -ENOENT;
		put_unaligned(NO_MEMORY, (u64 *)node);
		((__be32 *)node)[2] = cpu_to_be32(5);
	} else if (!strcmp(kind, "fdt-size")) {
		fdt[TOTALSIZE] = cpu_to_be32(SZ_1G);
		fdt[OFF_STRUCT] = cpu_to_be32(SZ_512M);
	} else
		return -EINVAL;
	return refused();
}

static bool is_kept(phys_addr_t phys, unsigned int order)
{
	for (unsigned long n = 0; n < 1UL << order; n++, phys += PAGE_SIZE) {
		struct page *page = phys_to_page(phys);
		const u64 *p = phys_to_virt(phys);

		if (page_count(page) != 1 || PageBuddy(page) || PageLRU(page) ||
		    page_has_type(page)) {
			pr_err("%pa is not kept: %d references, %#lx\n", &phys,
			       page_count(page), page->flags.f);
			return false;
		}
		for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*p); i++) {
			if (p[i] != kept_word(phys, i)) {
				pr_err("%pa was written to: %#llx\n", &phys, p[i]);
				return false;
			}
		}
	}
	return true;
}

/* Write to all memory that anybody can have. */
static void fill_free_memory(void)
{
	struct page *page, *next;
	unsigned long nr = 0;
	LIST_HEAD(pages);

	while ((page = alloc_page(GFP_HIGHUSER_MOVABLE | __GFP_NORETRY |
				  __GFP_NOWARN))) {
		memset(page_address(page), 0x5a, PAGE_SIZE);
		list_add(&page->lru, &pages);
		nr++;
		cond_resched();
	}
	list_for_each_entry_safe(page, next, &pages, lru)
		__free_page(page);
	pr_info("filled %lu pages\n", nr);
}

static int check_kept(void)
{
	unsigned int n = 0, order;
	phys_addr_t phys;
	char *one;

	fill_free_memory();
	while ((one = strsep(&kept, ","))) {
		if (sscanf(one, "%lli:%u", &phys, &order) != 2)
			return -EINVAL;
		if (!is_kept(phys, order))
			return -EIO;
		if (PTR_ERR(kho_folio_restore(phys)) != -EOPNOTSUPP ||
		    PTR_ERR(kho_pages_restore(phys, order)) != -EOPNOTSUPP ||
		    PTR_ERR(kho_ioptdesc_restore(phys)) != -EOPNOTSUPP) {
			pr_err("%pa is kept, and can be restored\n", &phys);
			return -EIO;
		}
		n++;
	}
	pr_info("%u are kept\n", n);
	return 0;
}

static int __init kho_damage_init(void)
{
	char *kind;
	int err;

	if (kept)
		return check_kept();

	err = find_map();
	if (err)
		return err;
	while ((kind = strsep(&damage, ","))) {
		pr_info("%s\n", kind);
		err = do_damage(kind);
		if (err) {
			pr_err("%s: %pe\n", kind, ERR_PTR(err));
			return err;
		}
	}
	return 0;
}
module_init(kho_damage_init);

MODULE_DESCRIPTION("Damage what is handed over by kexec");
MODULE_LICENSE("GPL");
