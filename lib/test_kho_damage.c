// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damage what this kernel hands over by kexec.
 *
 * The next kernel must not trust the preserved memory map, nor other data that
 * it is handed. This test shows that the next kernel does not: it writes wrong
 * keys, nodes, records and addresses to what this kernel hands over, as a stray
 * write or a mistake of this kernel would. The next kernel has to name each
 * damage in its log, and has to restore everything else.
 *
 * User space drives the test through debugfs, in the directory kho_damage_test:
 *
 * kinds
 *	Lists the kinds of damage. The kinds in one line can be done in the same
 *	boot: the next kernel reports all of them before printk_ratelimited()
 *	suppresses messages, and none hides another one.
 * damage
 *	Takes kinds, separated by commas, and does them. Nothing can be preserved
 *	or unpreserved afterwards. The next step has to be a kexec.
 * kept
 *	Takes PHYS:ORDER, separated by commas, for memory that the previous kernel
 *	has handed over and that this kernel does not understand. The write fails
 *	with -EIO if the memory does not have the contents that "damage" has left
 *	there, or if it is free, or if it can be restored. To find memory that is
 *	free, the test writes to all free memory.
 *
 * "damage" logs what the next kernel has to do:
 *
 * expect left out WHAT ADDRESS
 *	It has to report that it left this out. WHAT is key, node, subtree, slab or
 *	metadata, and ADDRESS is a physical address, or the key.
 * expect kept ADDRESS, order ORDER, type TYPE
 *	It must not understand this memory, and has to keep it.
 * expect flood NUMBER
 *	It has to leave out so many entries, too many to report one by one.
 * expect lost NUMBER
 *	It has to report that so many preservations are lost to reservations.
 * expect no region, expect region refused, expect released
 *	It must not take the region "damage" back. A region of that name has to
 *	exist, that is, this kernel was booted with reserve_mem=4K:4K:damage.
 * expect refused
 *	It has to boot as if nothing had been handed over.
 * expect no slabs
 *	It must not find any object of a slab, and has to keep the memory of all.
 * expect nothing
 *	It has to restore everything.
 * held NUMBER
 *	So many pages are handed over that nobody restores.
 * word WORD
 *	The command line of the next kernel needs this word.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/debugfs.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/kexec_metadata.h>
#include <linux/kho/abi/luo.h>
#include <linux/kho/abi/memblock.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/kho/abi/slab.h>
#include <linux/kho_memdesc.h>
#include <linux/kho_radix_tree.h>
#include <linux/kstrtox.h>
#include <linux/libfdt.h>
#include <linux/list.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/random.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/unaligned.h>

#ifdef CONFIG_X86
#include <asm/x86_init.h>
#endif

#include "../kernel/liveupdate/kexec_handover_internal.h"

/* A physical address that no machine has memory at. */
#define KHD_NO_MEMORY	BIT_ULL(51)

/* The region of reserve_mem that some kinds are about. */
#define KHD_REGION	"damage"

/* Two small numbers as the argument of a kind. */
#define KHD_PAIR(a, b)	((u64)(a) << 32 | (b))

static DEFINE_MUTEX(khd_lock);	/* protects everything below */

/* The outgoing map, by an object of the test's own: kho_out's is in use. */
static struct kho_radix_tree khd_map;

/* Slots of the map's root beyond those that keys of known types lead to. */
static unsigned int khd_next_slot = BIT(KHO_TABLE_SIZE_LOG2);

static u64 *khd_root_prop(void)
{
	int len;

	return fdt_getprop_w(kho_out.fdt, 0, KHO_FDT_MEMORY_MAP_PROP_NAME, &len);
}

static void *khd_subtree_prop(const char *node, const char *prop)
{
	int len;

	return fdt_getprop_w(kho_out.fdt, fdt_subnode_offset(kho_out.fdt, 0, node),
			     prop, &len);
}

static u64 *khd_subtree(const char *node)
{
	return khd_subtree_prop(node, KHO_SUB_TREE_PROP_NAME);
}

static struct kho_slab_root *khd_slabs(void)
{
	u64 *phys = khd_subtree(KHO_SLAB_SUBTREE);

	return phys ? phys_to_virt(get_unaligned(phys)) : NULL;
}

static phys_addr_t khd_first_chunk(void)
{
	struct kho_slab_root *slabs = khd_slabs();

	return slabs ? slabs->chain[0] : 0;
}

static int khd_expect(const char *what, u64 val)
{
	pr_info("expect left out %s %#llx\n", what, val);
	return 0;
}

static int khd_refused(void)
{
	pr_info("expect refused\n");
	return 0;
}

/*
 * The pages are never freed, so that nobody else can preserve them. What the
 * page allocator does not have in one piece is made of two neighbours.
 */
static phys_addr_t khd_new_pages(unsigned int order)
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

static u64 *khd_new_slot(void)
{
	return &khd_map.root->table[--khd_next_slot];
}

static u64 *khd_new_node(u64 *slot)
{
	*slot = khd_new_pages(0);
	return *slot ? phys_to_virt(*slot) : NULL;
}

/* A leaf that a slot of the root leads to, and the first key in it. */
static void *khd_new_leaf(unsigned long *key)
{
	u64 *node = khd_new_node(khd_new_slot());

	for (unsigned int level = KHO_TREE_MAX_DEPTH - 2; node && level; level--)
		node = khd_new_node(&node[0]);
	*key = (unsigned long)khd_next_slot <<
	       ((KHO_TREE_MAX_DEPTH - 2) * KHO_TABLE_SIZE_LOG2 +
		KHO_BITMAP_SIZE_LOG2);
	return node;
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

static phys_addr_t khd_end_of_memory(void)
{
	unsigned long end = 0;
	int nid;

	for_each_online_node(nid)
		end = max(end, pgdat_end_pfn(NODE_DATA(nid)));
	return PFN_PHYS(end);
}

static phys_addr_t khd_start_of_memory(void)
{
	unsigned long start = ULONG_MAX;
	int nid;

	for_each_online_node(nid)
		start = min(start, NODE_DATA(nid)->node_start_pfn);
	/* x86 counts from 0, even where there is no memory. */
	return IS_ENABLED(CONFIG_X86) ? 0 : PFN_PHYS(start);
}

/* Address 0 means that there is no node: the first hole behind it. */
static phys_addr_t khd_find_hole(void)
{
	unsigned long pfn = 1;

	while (page_is_ram(pfn))
		pfn++;
	return PFN_PHYS(pfn);
}

/* Places that damaged data leads to. */
enum khd_place {
	KHD_ZERO,
	KHD_BEYOND,
	KHD_END,
	KHD_HOLE,
	KHD_ALL_ONES,
	KHD_PAGE,		/* in use, and not preserved */
	KHD_PAGE_UNALIGNED,
	KHD_SCRATCH,
	KHD_ROOT,		/* of the map */
	KHD_ROOT_UNALIGNED,
	KHD_LAST_NODE,		/* of the map */
	KHD_FIRST_SPLIT,	/* the first split pages in the map */
	KHD_CHUNK,		/* the first page with records of slabs */
	KHD_CHUNK_UNALIGNED,
};

/* Returns 0 if there is no such place, too. */
static u64 khd_place(enum khd_place place)
{
	const struct kho_radix_walk_cb node = { .node = khd_last_node };
	const struct kho_radix_walk_cb split = { .leaf = khd_first_split };
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
	case KHD_CHUNK:
		return khd_first_chunk();
	case KHD_CHUNK_UNALIGNED:
		phys = khd_first_chunk();
		return phys ? phys + 8 : 0;
	}
	return 0;
}

static int khd_add_pages(phys_addr_t phys, unsigned int order, unsigned int type)
{
	return kho_radix_add_key(&khd_map, kho_encode_key(phys, order, type));
}

static int khd_bad_key(unsigned long key)
{
	khd_expect("key", key);
	return kho_radix_add_key(&khd_map, key);
}

static int khd_bad_pages(phys_addr_t phys, unsigned int order, unsigned int type)
{
	if (!phys)
		return -ENOENT;
	return khd_bad_key(kho_encode_key(phys, order, type));
}

static int khd_hold_pages(phys_addr_t phys, unsigned int order, unsigned int type)
{
	if (!phys)
		return -ENOMEM;
	pr_info("held %lu\n", 1UL << order);
	return khd_add_pages(phys, order, type);
}

/* The contents of memory that is kept: each page differs. */
static u64 khd_kept_word(phys_addr_t phys, unsigned int i)
{
	return ~phys ^ (u64)i << 32;
}

static int khd_keep_pages(phys_addr_t phys, unsigned int order, unsigned int type)
{
	u64 *p = phys_to_virt(phys);

	if (!phys)
		return -ENOMEM;
	for (unsigned long n = 0; n < 1UL << order; n++) {
		for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*p); i++)
			*p++ = khd_kept_word(phys + n * PAGE_SIZE, i);
	}
	pr_info("expect kept %#llx, order %u, type %u\n", phys, order, type);
	return khd_hold_pages(phys, order, type);
}

/* The next kernel reserves a page at @phys, after it has checked the map. */
static int khd_late_reserve(phys_addr_t phys)
{
	pr_info("word test_kho_memdesc.reserve=%#llx\n", phys);
	return 0;
}

/* Nothing is damaged. */
static int khd_none(u64 arg)
{
	pr_info("expect nothing\n");
	return 0;
}

/* A key that means nothing. */
static int khd_key(u64 key)
{
	return khd_bad_key(key);
}

static int khd_key_too_wide(u64 bit)
{
	unsigned long key;
	void *leaf = khd_new_leaf(&key);

	if (!leaf)
		return -ENOMEM;
	__set_bit(bit, leaf);
	return khd_expect("key", key | bit);
}

/* An order that memory of the type cannot have, at address 0. */
static int khd_order(u64 arg)
{
	return khd_bad_key(kho_encode_key(0, arg >> 32, (u32)arg));
}

/*
 * Memory of an order or a type that only a newer kernel knows, or a kernel that
 * was built differently.
 */
static int khd_keep(u64 arg)
{
	unsigned int order = arg >> 32;

	return khd_keep_pages(khd_new_pages(order), order, (u32)arg);
}

/* Two of these that overlap. Which of the two is right cannot be known. */
static int khd_keep_two(u64 type)
{
	phys_addr_t phys = khd_new_pages(3);
	int err = khd_keep_pages(phys, 3, type);

	if (err)
		return err;
	pr_info("held -4\n");
	return khd_keep_pages(phys + 4 * PAGE_SIZE, 2, type + 1);
}

/* Pages that somebody else has, or that are not memory. */
static int khd_pages(u64 arg)
{
	return khd_bad_pages(khd_place(arg >> 32), 0, (u32)arg);
}

/*
 * Split pages around @phys, as large as no other preservation or reservation
 * allows them. They are left out, and whatever else lies there stays as it is.
 */
static int khd_pages_around(phys_addr_t phys, unsigned int shift)
{
	return khd_bad_key(kho_encode_key(round_down(phys, BIT_ULL(shift)),
					  shift - PAGE_SHIFT, KHO_MEMDESC_SPLIT));
}

static int khd_scratch_part(u64 shift)
{
	return khd_pages_around(kho_scratch->addr, shift);
}

/* Over many blocks, and over more than a leaf has bits for. */
static int khd_huge(u64 shift)
{
	phys_addr_t phys = khd_new_pages(0);

	return khd_hold_pages(phys, 0, KHO_MEMDESC_FOLIO) ?:
	       khd_pages_around(phys, shift);
}

struct khd_pages {
	u16 page;	/* distance to the first page */
	u8 order;
	u8 type;
};

enum khd_overlap {
	KHD_UNKNOWN_KNOWN,
	KHD_ORDER_KNOWN,
	KHD_TWICE_ORDER,
	KHD_TWICE_TYPE,
	KHD_TWICE_LARGER,
};

/* What is believed, and what is left out because it overlaps with that. */
static const struct {
	unsigned int order;	/* of the block in which both lie */
	struct khd_pages held;
	struct khd_pages bad;
} khd_overlaps[] = {
	/* A type that is understood is believed, even if it comes later. */
	[KHD_UNKNOWN_KNOWN] = { 9,
		{ 0, 0, KHO_MEMDESC_FOLIO }, { 0, 9, KHO_NR_MEMDESC } },
	[KHD_ORDER_KNOWN] = { MAX_PAGE_ORDER + 1,
		{ 1, 0, KHO_MEMDESC_IOPTDESC },
		{ 0, MAX_PAGE_ORDER + 1, KHO_MEMDESC_FOLIO } },
	[KHD_TWICE_ORDER] = { 2,
		{ 0, 2, KHO_MEMDESC_FOLIO }, { 1, 0, KHO_MEMDESC_FOLIO } },
	[KHD_TWICE_TYPE] = { 0,
		{ 0, 0, KHO_MEMDESC_FOLIO }, { 0, 0, KHO_MEMDESC_IOPTDESC } },
	/* What lies only in the larger one is free, and only once. */
	[KHD_TWICE_LARGER] = { MAX_PAGE_ORDER,
		{ 512, 9, KHO_MEMDESC_FOLIO },
		{ 0, MAX_PAGE_ORDER, KHO_MEMDESC_BLOCK } },
};

static int khd_overlap(u64 i)
{
	const struct khd_pages *held = &khd_overlaps[i].held;
	const struct khd_pages *bad = &khd_overlaps[i].bad;
	phys_addr_t phys = khd_new_pages(khd_overlaps[i].order);

	if (!phys)
		return -ENOMEM;
	return khd_hold_pages(phys + held->page * PAGE_SIZE, held->order,
			      held->type) ?:
	       khd_bad_pages(phys + bad->page * PAGE_SIZE, bad->order, bad->type);
}

static int khd_bad_node(u64 *slot, u64 phys)
{
	if (!phys)
		return -ENOMEM;
	*slot = phys;
	return khd_expect("node", phys);
}

/* An address that is no node. */
static int khd_node(u64 place)
{
	return khd_bad_node(khd_new_slot(), khd_place(place));
}

static int khd_node_cycle(u64 slot)
{
	u64 *node = khd_new_node(khd_new_slot());

	if (!node)
		return -ENOMEM;
	return khd_bad_node(&node[slot], virt_to_phys(node));
}

static int khd_node_deep_cycle(u64 slot)
{
	unsigned long key;
	void *leaf = khd_new_leaf(&key);
	u64 *node;

	if (!leaf)
		return -ENOMEM;
	node = phys_to_virt(khd_map.root->table[khd_next_slot]);
	return khd_bad_node(&node[slot], virt_to_phys(leaf));
}

static int khd_node_twice(u64 slot)
{
	while (!khd_map.root->table[slot])
		slot++;
	return khd_bad_node(khd_new_slot(), khd_map.root->table[slot]);
}

static int khd_node_garbage(u64 arg)
{
	const unsigned int nr = PAGE_SIZE / sizeof(u64);
	u64 *node = khd_new_node(khd_new_slot());

	if (!node)
		return -ENOMEM;
	get_random_bytes(node, PAGE_SIZE);
	/* None of these is the address of a page. */
	for (unsigned int i = 0; i < nr; i++)
		node[i] |= 1;
	pr_info("expect flood %u\n", nr);
	return 0;
}

static int khd_leaf_garbage(u64 arg)
{
	unsigned long key;
	void *leaf = khd_new_leaf(&key);

	if (!leaf)
		return -ENOMEM;
	get_random_bytes(leaf, PAGE_SIZE);
	pr_info("expect flood %u\n",
		bitmap_weight(leaf, PAGE_SIZE * BITS_PER_BYTE));
	return 0;
}

enum khd_slab {
	KHD_SLAB_TWICE,
	KHD_SLAB_NOT_PRESERVED,
	KHD_SLAB_BEYOND,
	KHD_SLAB_GREEDY,
	KHD_SLAB_ORDER,
	KHD_SLAB_LAYOUT,
	KHD_SLAB_OBJECTS,
	KHD_SLAB_ALIGN,
	KHD_SLAB_FLAGS,
	KHD_SLAB_CLASS,
	KHD_SLAB_BITS,
};

/* Everything around that slab, as a larger slab. A record has no address 0. */
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

/* A chunk of the test's own before the others of the chain. */
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

/* A record is copied from chain 0, and to chain 0, unless a flag says otherwise. */
#define KHD_FROM_LONG	1U
#define KHD_TO_LONG	2U
#define KHD_LONG	(KHD_FROM_LONG | KHD_TO_LONG)

/* A wrong copy of the first record of a slab. */
static int khd_slab(u64 arg)
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
static int khd_chunk(u64 place)
{
	struct kho_slab_root *slabs = khd_slabs();
	u64 phys = khd_place(place);

	if (!slabs || !phys)
		return -ENOENT;
	*khd_chain_end(slabs, 0) = phys;
	return khd_expect("metadata", phys);
}

/* A page that is preserved as @type, and has more entries than fit into it. */
static int khd_chunk_page(u64 type)
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

/* One entry more than fits into a page of that chain; it would fit in chain 0. */
static int khd_chunk_long(u64 more)
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
	chunk->top = (PAGE_SIZE - sizeof(*chunk)) / khd_record_size(chain) + more;
	*khd_chain_end(slabs, chain) = phys;
	return khd_expect("metadata", phys);
}

static unsigned long khd_chunk_pages(struct kho_slab_chunk *chunk,
				     unsigned int chain)
{
	unsigned long nr = 1;

	for (unsigned int i = 0; chain != KHO_SLAB_COPIES && i < chunk->top; i++) {
		struct kho_slab_record *rec = khd_record(chunk, chain, i);

		if (rec->phys)
			nr += 1UL << rec->order;
	}
	return nr;
}

/*
 * The root of the chains has another size, or another version if @size is 0. The
 * next kernel must not read the chains. It finds no object then, and the slabs
 * stay preserved.
 */
static int khd_slab_root(u64 size)
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

static int khd_copy_twice(u64 chain)
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

enum khd_subtree {
	KHD_METADATA,
	KHD_MEMBLOCK,
	KHD_LUO,
};

static const char * const khd_subtrees[] = {
	[KHD_METADATA] = KHO_METADATA_NODE_NAME,
	[KHD_MEMBLOCK] = MEMBLOCK_KHO_FDT,
	[KHD_LUO] = LUO_KHO_ENTRY_NAME,
};

/* Data of others is elsewhere. LUO must hear of that, and stops the boot. */
static int khd_bad_subtree(u64 arg)
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

static int khd_subtree_too_long(u64 len)
{
	u64 *data = khd_subtree(KHO_METADATA_NODE_NAME);
	u64 *size = khd_subtree_prop(KHO_METADATA_NODE_NAME,
				     KHO_SUB_TREE_SIZE_PROP_NAME);

	if (!data || !size)
		return -ENOENT;
	put_unaligned(len, size);
	return khd_expect("subtree", get_unaligned(data));
}

static int khd_subtree_reserved(u64 nr)
{
	u64 *data = khd_subtree(KHO_METADATA_NODE_NAME);

	if (!data)
		return -ENOENT;
	pr_info("expect lost %llu\n", nr);
	khd_expect("subtree", get_unaligned(data));
	return khd_late_reserve(PAGE_ALIGN_DOWN(get_unaligned(data)));
}

/*
 * Memory of which the next kernel reserves one page. All of it is lost, but for
 * memory that is kept: the rest of that stays kept.
 */
static int khd_reserved(u64 type)
{
	phys_addr_t phys = khd_new_pages(3);
	int err;

	if (!phys)
		return -ENOMEM;
	if (type < KHO_NR_MEMDESC)
		err = khd_add_pages(phys, 3, type);
	else
		err = khd_keep_pages(phys, 3, type);
	pr_info("expect lost 1\n");
	return err ?: khd_late_reserve(phys + 5 * PAGE_SIZE);
}

/*
 * The next kernel is told that its region of reserve_mem is at @phys. It must not
 * give the memory of others up for that.
 */
static int khd_bad_region(phys_addr_t phys)
{
	u64 *data = khd_subtree(MEMBLOCK_KHO_FDT);
	void *fdt, *start;
	int len;

	if (!data || !phys)
		return -ENOENT;
	fdt = phys_to_virt(get_unaligned(data));
	start = fdt_getprop_w(fdt, fdt_subnode_offset(fdt, 0, KHD_REGION), "start",
			      &len);
	if (!start)
		return -ENOENT;
	put_unaligned(phys, (u64 *)start);
	pr_info("expect region refused\n");
	return 0;
}

static int khd_region(u64 place)
{
	return khd_bad_region(khd_place(place));
}

/* A page of memory that is preserved as @arg says, the second if there is one. */
static int khd_region_pages(u64 arg)
{
	unsigned int order = arg >> 32;
	phys_addr_t phys = khd_new_pages(order);

	return khd_hold_pages(phys, order, (u32)arg) ?:
	       khd_bad_region(phys + (order ? PAGE_SIZE : 0));
}

/* A region that is released here must not be taken back there. */
static int khd_region_released(u64 arg)
{
	if (!reserve_mem_release_by_name(KHD_REGION))
		return -ENOENT;
	pr_info("expect released\n");
	return 0;
}

/* The next kernel has no map. */
static int khd_root(u64 place)
{
	u64 phys = khd_place(place);

	if (place != KHD_ZERO)
		khd_expect("node", phys);
	put_unaligned(phys, khd_root_prop());
	return khd_refused();
}

enum khd_fdt {
	KHD_FDT_MAGIC,
	KHD_FDT_STRUCT,
	KHD_FDT_TOKEN,
	KHD_FDT_SIZE,
};

static int khd_fdt(u64 kind)
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

static int khd_fdt_not_preserved(u64 type)
{
	kho_radix_del_key(&khd_map, kho_encode_key(virt_to_phys(kho_out.fdt), 0,
						   type));
	return khd_refused();
}

enum khd_table {
	KHD_TABLE_UNALIGNED,
	KHD_TABLE_BEYOND,
	KHD_TABLE_TWICE,
};

/* The table of scratch areas. kexec needs the first ones to load the kernel. */
static int khd_table(u64 kind)
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

/* What the next kernel cannot do without, for which it has no memory. */
enum khd_needed {
	KHD_NEEDS_FDT,
	KHD_NEEDS_MAP,
};

static phys_addr_t khd_needed(u64 needed)
{
	return virt_to_phys(needed == KHD_NEEDS_FDT ? kho_out.fdt :
						      (void *)khd_map.root);
}

static int khd_needed_reserved(u64 needed)
{
	khd_late_reserve(khd_needed(needed));
	return khd_refused();
}

static int khd_no_page(phys_addr_t phys)
{
	pr_info("word memmap=4K$%#llx\n", phys);
	return 0;
}

static int khd_memmap_needed(u64 needed)
{
	phys_addr_t phys = khd_needed(needed);

	khd_no_page(phys);
	if (needed == KHD_NEEDS_MAP)
		khd_expect("node", phys);
	return khd_refused();
}

/* The next kernel has no memory from there on. It needs some memory to boot. */
static int khd_mem_needed(u64 needed)
{
	phys_addr_t phys = khd_needed(needed);

	if (IS_ENABLED(CONFIG_X86) && phys < SZ_512M)
		return khd_memmap_needed(needed);
	pr_info("word mem=%llu\n", phys - khd_start_of_memory());
	/* The FDT may be lost with the map. Nobody looks for the map then. */
	if (needed == KHD_NEEDS_MAP && phys > khd_needed(KHD_NEEDS_FDT))
		khd_expect("node", phys);
	return khd_refused();
}

#ifdef CONFIG_X86
/* One page of the memory is not there in the next kernel. */
static int khd_memmap(u64 arg)
{
	unsigned int order = arg >> 32;
	phys_addr_t phys = khd_new_pages(order);

	if (!phys)
		return -ENOMEM;
	khd_no_page(phys + (order ? 7 * PAGE_SIZE : 0));
	return khd_bad_pages(phys, order, (u32)arg);
}

/*
 * Called in the next kernel, near the end of setup_arch(): allocate all memory in
 * the scratch areas but a few pages. The map is checked directly after
 * setup_arch(), so that nothing else runs out of memory before.
 */
static unsigned int khd_scratch_pages __initdata;
static void (*khd_wallclock_init)(void) __initdata;

static void __init khd_use_scratch(void)
{
	const phys_addr_t size = khd_scratch_pages * PAGE_SIZE;
	phys_addr_t left = memblock_phys_alloc(size, PAGE_SIZE);

	khd_wallclock_init();
	for (size_t used = SZ_64M; used >= PAGE_SIZE; used /= 2) {
		while (memblock_phys_alloc(used, PAGE_SIZE))
			;
	}
	memblock_phys_free(left, size);
}

static int __init khd_parse_scratch(char *val)
{
	if (kstrtouint(val, 0, &khd_scratch_pages))
		return -EINVAL;
	khd_wallclock_init = x86_init.timers.wallclock_init;
	x86_init.timers.wallclock_init = khd_use_scratch;
	return 0;
}
early_param("test_kho_damage.scratch", khd_parse_scratch);

/* The check of the map, in the next kernel, runs out of memory halfway. */
static int khd_scratch_used(u64 pages)
{
	pr_info("word test_kho_damage.scratch=%llu\n", pages);
	/* There is no other console so early. */
	pr_info("word earlycon=uart8250,io,0x3f8\n");
	pr_info("expect no region\n");
	return 0;
}
#endif

static const struct khd_kind {
	const char *name;
	int (*damage)(u64 arg);
	u64 arg;
	bool also;	/* can be done together with the kind before it */
} khd_kinds[] = {
	{ "none", khd_none },

	{ "key-zero", khd_key, 0 },
	{ "key-one", khd_key, 1, true },
	{ "key-type-only", khd_key, BIT_ULL(KHO_MEMDESC_SHIFT), true },
	{ "key-too-wide", khd_key_too_wide, 5, true },
	{ "key-order-folio", khd_order,
	  KHD_PAIR(MAX_PAGE_ORDER + 1, KHO_MEMDESC_FOLIO), true },
	{ "key-order-untyped", khd_order,
	  KHD_PAIR(50 - PAGE_SHIFT, KHO_MEMDESC_UNTYPED), true },
	{ "key-order-split", khd_order,
	  KHD_PAIR(63 - PAGE_SHIFT, KHO_MEMDESC_SPLIT), true },

	{ "key-type-unknown", khd_keep, KHD_PAIR(0, KHO_NR_MEMDESC) },
	{ "key-type-last", khd_keep,
	  KHD_PAIR(4, BIT(KHO_MEMDESC_BITS) - 1), true },
	{ "key-order-unknown", khd_keep,
	  KHD_PAIR(MAX_PAGE_ORDER + 1, KHO_MEMDESC_IOPTDESC), true },
	{ "keys-unknown", khd_keep_two, KHO_NR_MEMDESC, true },
	{ "unknown-known", khd_overlap, KHD_UNKNOWN_KNOWN, true },
	{ "order-known", khd_overlap, KHD_ORDER_KNOWN, true },

	{ "place-beyond", khd_pages, KHD_PAIR(KHD_BEYOND, KHO_MEMDESC_FOLIO) },
	{ "place-end", khd_pages, KHD_PAIR(KHD_END, KHO_MEMDESC_FOLIO), true },
	{ "place-hole", khd_pages, KHD_PAIR(KHD_HOLE, KHO_MEMDESC_BLOCK), true },
	{ "place-scratch", khd_pages,
	  KHD_PAIR(KHD_SCRATCH, KHO_MEMDESC_FOLIO), true },
	{ "place-scratch-part", khd_scratch_part, 30, true },
	{ "twice-order", khd_overlap, KHD_TWICE_ORDER, true },
	{ "twice-type", khd_overlap, KHD_TWICE_TYPE, true },

	{ "twice-object", khd_pages,
	  KHD_PAIR(KHD_FIRST_SPLIT, KHO_MEMDESC_IOPTDESC) },
	{ "twice-root", khd_pages, KHD_PAIR(KHD_ROOT, KHO_MEMDESC_FOLIO), true },
	{ "twice-node", khd_pages,
	  KHD_PAIR(KHD_LAST_NODE, KHO_MEMDESC_FOLIO), true },
	{ "twice-larger", khd_overlap, KHD_TWICE_LARGER, true },
	{ "twice-huge", khd_huge, 29, true },

	{ "node-beyond", khd_node, KHD_BEYOND },
	{ "node-unaligned", khd_node, KHD_PAGE_UNALIGNED, true },
	{ "node-all-ones", khd_node, KHD_ALL_ONES, true },
	{ "node-hole", khd_node, KHD_HOLE, true },
	{ "node-scratch", khd_node, KHD_SCRATCH, true },
	{ "node-root", khd_node, KHD_ROOT, true },
	{ "node-cycle", khd_node_cycle, 0, true },
	{ "node-deep-cycle", khd_node_deep_cycle, 7, true },
	{ "node-twice", khd_node_twice, 0, true },

	{ "node-garbage", khd_node_garbage },
	{ "leaf-garbage", khd_leaf_garbage, 0, true },

	{ "slab-greedy", khd_slab, KHD_SLAB_GREEDY },
	{ "slab-twice", khd_slab, KHD_SLAB_TWICE, true },
	{ "slab-not-preserved", khd_slab, KHD_SLAB_NOT_PRESERVED },
	{ "slab-beyond", khd_slab, KHD_SLAB_BEYOND, true },
	{ "slab-order", khd_slab, KHD_SLAB_ORDER },
	{ "slab-layout", khd_slab, KHD_SLAB_LAYOUT, true },
	{ "slab-objects", khd_slab, KHD_SLAB_OBJECTS },
	{ "slab-class", khd_slab, KHD_SLAB_CLASS },
	{ "slab-align", khd_slab, KHD_SLAB_ALIGN },
	{ "slab-flags", khd_slab, KHD_SLAB_FLAGS, true },
	{ "slab-long-layout", khd_slab, KHD_PAIR(KHD_LONG, KHD_SLAB_LAYOUT) },
	{ "slab-long-twice", khd_slab, KHD_PAIR(KHD_LONG, KHD_SLAB_TWICE), true },
	{ "slab-long-bits", khd_slab, KHD_PAIR(KHD_TO_LONG, KHD_SLAB_BITS) },
	/* More objects than the bitmaps of chain 0 have bits. */
	{ "slab-long-objects", khd_slab,
	  KHD_PAIR(KHD_FROM_LONG, KHD_SLAB_TWICE), true },

	{ "slab-root-version", khd_slab_root },
	{ "slab-root-short", khd_slab_root, sizeof(struct kho_slab_root) - 8 },
	{ "slab-root-long", khd_slab_root, sizeof(struct kho_slab_root) + 8 },

	{ "chunk-beyond", khd_chunk, KHD_BEYOND },
	{ "chunk-unaligned", khd_chunk, KHD_CHUNK_UNALIGNED },
	{ "chunk-cycle", khd_chunk, KHD_CHUNK },
	{ "chunk-type", khd_chunk_page, KHO_MEMDESC_FOLIO },
	{ "chunk-top", khd_chunk_page, KHO_MEMDESC_METADATA },
	{ "chunk-top-long", khd_chunk_long, 1, true },
	{ "chunk-copy-twice", khd_copy_twice, KHO_SLAB_COPIES },

	{ "subtree-beyond", khd_bad_subtree, KHD_PAIR(KHD_BEYOND, KHD_METADATA) },
	{ "subtree-not-preserved", khd_bad_subtree,
	  KHD_PAIR(KHD_PAGE, KHD_MEMBLOCK), true },
	{ "subtree-too-long", khd_subtree_too_long, BIT_ULL(40) },
	{ "subtree-reserved", khd_subtree_reserved, 1 },
	{ "subtree-luo", khd_bad_subtree, KHD_PAIR(KHD_PAGE, KHD_LUO) },

	{ "pages-reserved", khd_reserved, KHO_MEMDESC_IOPTDESC },
	{ "kept-reserved", khd_reserved, KHO_NR_MEMDESC },

	{ "region-released", khd_region_released },
	{ "region-folio", khd_region_pages, KHD_PAIR(0, KHO_MEMDESC_FOLIO) },
	{ "region-part", khd_region_pages, KHD_PAIR(3, KHO_MEMDESC_SPLIT) },
	{ "region-map", khd_region, KHD_ROOT },
	{ "region-free", khd_region, KHD_PAGE },

	{ "root-beyond", khd_root, KHD_BEYOND },
	{ "root-unaligned", khd_root, KHD_ROOT_UNALIGNED },
	{ "root-scratch", khd_root, KHD_SCRATCH },
	{ "root-zero", khd_root, KHD_ZERO },

	{ "fdt-not-preserved", khd_fdt_not_preserved, KHO_MEMDESC_FOLIO },
	{ "fdt-reserved", khd_needed_reserved, KHD_NEEDS_FDT },
	{ "map-reserved", khd_needed_reserved, KHD_NEEDS_MAP },
	{ "fdt-magic", khd_fdt, KHD_FDT_MAGIC },
	{ "fdt-struct", khd_fdt, KHD_FDT_STRUCT },
	{ "fdt-token", khd_fdt, KHD_FDT_TOKEN },
	{ "fdt-size", khd_fdt, KHD_FDT_SIZE },
	{ "fdt-table-unaligned", khd_table, KHD_TABLE_UNALIGNED },
	{ "fdt-table-beyond", khd_table, KHD_TABLE_BEYOND },
	{ "fdt-table-twice", khd_table, KHD_TABLE_TWICE },

	{ "mem-fdt", khd_mem_needed, KHD_NEEDS_FDT },
	{ "mem-root", khd_mem_needed, KHD_NEEDS_MAP },
#ifdef CONFIG_X86
	{ "memmap-data", khd_memmap, KHD_PAIR(0, KHO_MEMDESC_FOLIO) },
	{ "memmap-part", khd_memmap, KHD_PAIR(4, KHO_MEMDESC_SPLIT), true },
	{ "memmap-fdt", khd_memmap_needed, KHD_NEEDS_FDT },
	{ "memmap-root", khd_memmap_needed, KHD_NEEDS_MAP },
	{ "scratch-used", khd_scratch_used, 5 },
#endif
};

static int khd_kinds_show(struct seq_file *m, void *unused)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(khd_kinds); i++) {
		if (i)
			seq_putc(m, khd_kinds[i].also ? ',' : '\n');
		seq_puts(m, khd_kinds[i].name);
	}
	seq_putc(m, '\n');
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(khd_kinds);

static int khd_damage(const char *name)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(khd_kinds); i++) {
		if (!strcmp(name, khd_kinds[i].name))
			return khd_kinds[i].damage(khd_kinds[i].arg);
	}
	return -EINVAL;
}

static int khd_init_map(void)
{
	/* Damage can change the address in the FDT, but the root stays where it is. */
	if (khd_map.root)
		return 0;
	return kho_radix_init_tree(&khd_map,
				   phys_to_virt(get_unaligned(khd_root_prop())));
}

static int khd_damage_all(char *names)
{
	char *name;
	int err = khd_init_map();

	if (err)
		return err;
	while ((name = strsep(&names, ","))) {
		pr_info("%s\n", name);
		err = khd_damage(name);
		if (err) {
			pr_err("%s: %pe\n", name, ERR_PTR(err));
			return err;
		}
	}
	return 0;
}

static bool khd_is_kept(phys_addr_t phys, unsigned int order)
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
			if (p[i] != khd_kept_word(phys, i)) {
				pr_err("%pa was written to: %#llx\n", &phys, p[i]);
				return false;
			}
		}
	}
	return true;
}

/* Write to all memory that anybody can get. */
static void khd_fill_free_memory(void)
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

static int khd_check_kept(char *list)
{
	unsigned int n = 0, order;
	phys_addr_t phys;
	char *one;

	khd_fill_free_memory();
	while ((one = strsep(&list, ","))) {
		if (sscanf(one, "%lli:%u", &phys, &order) != 2)
			return -EINVAL;
		if (!khd_is_kept(phys, order))
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

static ssize_t khd_write(int (*run)(char *list), const char __user *ubuf,
			 size_t count)
{
	char *list __free(kfree) = NULL;
	int err;

	if (!count || count > PAGE_SIZE)
		return -EINVAL;
	list = memdup_user_nul(ubuf, count);
	if (IS_ERR(list))
		return PTR_ERR(list);

	guard(mutex)(&khd_lock);
	err = run(strim(list));
	return err ?: count;
}

static ssize_t khd_damage_write(struct file *file, const char __user *ubuf,
				size_t count, loff_t *ppos)
{
	return khd_write(khd_damage_all, ubuf, count);
}

static const struct file_operations khd_damage_fops = {
	.open	= simple_open,
	.write	= khd_damage_write,
	.llseek	= noop_llseek,
};

static ssize_t khd_kept_write(struct file *file, const char __user *ubuf,
			      size_t count, loff_t *ppos)
{
	return khd_write(khd_check_kept, ubuf, count);
}

static const struct file_operations khd_kept_fops = {
	.open	= simple_open,
	.write	= khd_kept_write,
	.llseek	= noop_llseek,
};

static int __init khd_init(void)
{
	struct dentry *dir;

	if (!kho_is_enabled()) {
		pr_info("kexec handover is off\n");
		return -EOPNOTSUPP;
	}

	dir = debugfs_create_dir("kho_damage_test", NULL);
	debugfs_create_file("kinds", 0400, dir, NULL, &khd_kinds_fops);
	debugfs_create_file("damage", 0200, dir, NULL, &khd_damage_fops);
	debugfs_create_file("kept", 0200, dir, NULL, &khd_kept_fops);
	return 0;
}
late_initcall(khd_init);
