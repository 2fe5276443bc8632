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
 *	Takes kinds, separated by commas, and does them. Nothing can be
 *	preserved or unpreserved afterwards. The next step has to be a kexec.
 * kept
 *	Takes PHYS:ORDER, separated by commas, for memory that the previous
 *	kernel has handed over and that this kernel does not understand. The
 *	write fails with -EIO if the memory does not have the contents that
 *	"damage" has left there, or if it is free, or if it can be restored. To
 *	find memory that is free, the test writes to all free memory.
 *
 * "damage" logs what the next kernel has to do:
 *
 * expect left out WHAT ADDRESS
 *	It has to report that it left this out. WHAT is key, node, subtree, slab,
 *	metadata, table (a record of small IOMMU tables) or tables (a list of
 *	such records), and ADDRESS is a physical address, or the key.
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
 *	It must not find any object of a slab, and has to keep the memory of all
 *	slabs.
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
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/kho/abi/slab.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "khd.h"

static DEFINE_MUTEX(khd_lock);	/* protects all data of the test */

int khd_expect(const char *what, u64 val)
{
	pr_info("expect left out %s %#llx\n", what, val);
	return 0;
}

int khd_refused(void)
{
	pr_info("expect refused\n");
	return 0;
}

/* Nothing is damaged. */
static int khd_none(u64 arg)
{
	pr_info("expect nothing\n");
	return 0;
}

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
	  KHD_PAIR(MAX_FOLIO_ORDER + 1, KHO_MEMDESC_FOLIO), true },
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
	{ "place-hole", khd_pages,
	  KHD_PAIR(KHD_HOLE, KHO_MEMDESC_BLOCK), true },
	{ "place-scratch", khd_pages,
	  KHD_PAIR(KHD_SCRATCH, KHO_MEMDESC_FOLIO), true },
	{ "place-scratch-part", khd_scratch_part, 30, true },
	{ "twice-order", khd_overlap, KHD_TWICE_ORDER, true },
	{ "twice-type", khd_overlap, KHD_TWICE_TYPE, true },

	{ "twice-object", khd_pages,
	  KHD_PAIR(KHD_FIRST_SPLIT, KHO_MEMDESC_IOPTDESC) },
	{ "twice-root", khd_pages,
	  KHD_PAIR(KHD_ROOT, KHO_MEMDESC_FOLIO), true },
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
	{ "slab-long-twice", khd_slab,
	  KHD_PAIR(KHD_LONG, KHD_SLAB_TWICE), true },
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

	{ "parts-twice", khd_parts, KHD_PARTS_TWICE },
	{ "parts-size", khd_parts, KHD_PARTS_SIZE, true },
	{ "parts-small", khd_parts, KHD_PARTS_SMALL, true },
	{ "parts-bits", khd_parts, KHD_PARTS_BITS, true },
	{ "parts-none", khd_parts, KHD_PARTS_NONE, true },
	{ "parts-next-beyond", khd_parts_next, KHD_BEYOND, true },
	{ "parts-not-preserved", khd_parts, KHD_PARTS_NOT_PRESERVED },
	{ "parts-type", khd_parts, KHD_PARTS_TYPE, true },
	{ "parts-next-unaligned", khd_parts_next, KHD_PAGE_UNALIGNED },
	{ "parts-next-folio", khd_parts_page, KHO_MEMDESC_FOLIO },
	{ "parts-next-zero", khd_parts_page, KHO_MEMDESC_IOPTDESC },

	{ "subtree-beyond", khd_bad_subtree,
	  KHD_PAIR(KHD_BEYOND, KHD_METADATA) },
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
	{ "scratch-used", khd_scratch_used, 0 },
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
