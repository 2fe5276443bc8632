// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is preserved, for people: "summary" and "memdescs" in
 * /sys/kernel/debug/kho/out and .../in.
 *
 * Both read the maps, so that a preservation costs nothing more for being shown.
 * Of the map of the previous kernel there is a copy, which does not change. What
 * has become of a preservation is in its first struct page: the stamp is there
 * until somebody restores the memory.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/bitmap.h>
#include <linux/capability.h>
#include <linux/debugfs.h>
#include <linux/jiffies.h>
#include <linux/kho_radix_tree.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>

#include "kexec_handover_internal.h"

/* What has become of memory that the previous kernel preserved. */
enum kho_fate {
	KHO_FATE_RESTORED,
	KHO_FATE_UNCLAIMED,
	KHO_FATE_FORWARDED,
	KHO_FATE_POISONED,
	KHO_NR_FATES
};

static const char *const kho_fate_names[KHO_NR_FATES] = {
	"restored", "unclaimed", "unclaimed, forwarded", "unclaimed, hardware error",
};

static enum kho_fate kho_fate(unsigned long pfn, unsigned int order,
			      unsigned int type)
{
	const union kho_page_info info = kho_read_stamp(pfn);

	if (info.type != type || info.order != order)
		return KHO_FATE_RESTORED;
	/*
	 * Not a claim: it turns into a restore in no time, or is that of a slab
	 * whose objects are restored as copies.
	 */
	switch (info.magic) {
	case KHO_PAGE_MAGIC:
		return KHO_FATE_UNCLAIMED;
	case KHO_PAGE_FORWARDED:
		return KHO_FATE_FORWARDED;
	case KHO_PAGE_POISONED:
		return KHO_FATE_POISONED;
	default:
		return KHO_FATE_RESTORED;
	}
}

/* Add up what nobody has restored. @objects can be NULL. */
static void kho_sum_unclaimed(struct kho_sum *left, struct kho_slab_sum *objects)
{
	struct kho_radix_leaf *leaf;
	unsigned long key, i;

	memset(left, 0, sizeof(*left) * KHO_NR_MEMDESC);
	for (key = 0; (leaf = kho_radix_next_leaf(kho_in_map, &key));
	     key += KHO_LEAF_BITS) {
		for_each_set_bit(i, leaf->bitmap, KHO_LEAF_BITS) {
			unsigned int order, type;
			phys_addr_t phys;

			phys = kho_decode_key(key | i, &order, &type);
			if (kho_fate(PHYS_PFN(phys), order, type) ==
			    KHO_FATE_RESTORED) {
				if (type == KHO_MEMDESC_SLAB && objects)
					kho_slab_count_unclaimed(phys, objects);
				continue;
			}
			left[type].pieces++;
			left[type].pages += 1UL << order;
		}
		cond_resched();
	}
}

/*
 * For /proc/meminfo, which some programs read every second: the number of unclaimed
 * pages as it was when it was last counted. Counting looks at the first struct page
 * of each preservation.
 */
static struct {
	struct mutex lock;		/* protects all members */
	unsigned long next;		/* not counted again before, in jiffies */
	unsigned long pages;
} kho_unclaimed = {
	.lock = __MUTEX_INITIALIZER(kho_unclaimed.lock),
	.next = INITIAL_JIFFIES,
};

/**
 * kho_unclaimed_pages - how many pages has nobody restored
 *
 * Context: Process context, may sleep.
 * Return: the number of a second ago, or a later one.
 */
unsigned long kho_unclaimed_pages(void)
{
	struct kho_sum left[KHO_NR_MEMDESC];
	unsigned long pages = 0;

	guard(mutex)(&kho_unclaimed.lock);
	if (time_before(jiffies, kho_unclaimed.next) ||
	    !xchg(&kho_unclaimed_stale, false))
		return kho_unclaimed.pages;

	kho_sum_unclaimed(left, NULL);
	for (int i = 0; i < ARRAY_SIZE(left); i++)
		pages += left[i].pages;
	kho_unclaimed.pages = pages;
	kho_unclaimed.next = jiffies + HZ;
	return pages;
}

static int kho_summary_show(struct seq_file *m, void *v)
{
	struct kho_sum sums[KHO_NR_MEMDESC];
	struct kho_sum left[KHO_NR_MEMDESC];
	struct kho_radix_node *map = m->private;
	const bool in = map == kho_in_map;
	struct kho_slab_sum objects = {};

	if (in) {
		kho_sum_map(map, sums);
		kho_sum_unclaimed(left, &objects);
	} else {
		kho_map_lock();
		kho_sum_map(map, sums);
		kho_map_unlock();
	}

	seq_printf(m, "%-18s %10s %14s", "type", "pieces", "bytes");
	if (in)
		seq_printf(m, " %10s %14s", "unclaimed", "bytes");
	seq_putc(m, '\n');
	for (int i = 0; i < ARRAY_SIZE(sums); i++) {
		if (!sums[i].pieces)
			continue;
		seq_printf(m, "%-18s %10lu %14llu", kho_memdesc_name(i),
			   sums[i].pieces, (u64)sums[i].pages << PAGE_SHIFT);
		if (in)
			seq_printf(m, " %10lu %14llu", left[i].pieces,
				   (u64)left[i].pages << PAGE_SHIFT);
		seq_putc(m, '\n');
	}
	if (in && kho_kept.entries)
		seq_printf(m, "%-18s %10lu %14llu\n", "not understood",
			   kho_kept.entries, (u64)kho_kept.pages << PAGE_SHIFT);
	if (objects.objects)
		seq_printf(m, "%lu objects of slabs in use are unclaimed, %llu bytes\n",
			   objects.objects, objects.bytes);
	if (in)
		seq_printf(m, "%lu pages for this list\n", kho_in_map_pages);
	return 0;
}

static int kho_summary_open(struct inode *inode, struct file *file)
{
	/* The addresses of memory and what it is: not for everybody who is root. */
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	return single_open(file, kho_summary_show, inode->i_private);
}

static const struct file_operations kho_summary_fops = {
	.owner		= THIS_MODULE,
	.open		= kho_summary_open,
	.read		= seq_read,
	.llseek		= seq_lseek,
	.release	= single_release,
};

/*
 * The position in a list is the key itself: the list may be read in many pieces,
 * and what others add and delete meanwhile does not move the rest.
 */
struct kho_list {
	struct kho_radix_node *map;
	unsigned long key;
};

/* The first key of the map that is not less than @key, or 0. */
static unsigned long kho_list_find(struct kho_radix_node *map, unsigned long key)
{
	struct kho_radix_leaf *leaf;
	unsigned long start = key, bit = key % KHO_LEAF_BITS;

	while ((leaf = kho_radix_next_leaf(map, &start))) {
		if (start > key)
			bit = 0;
		bit = find_next_bit(leaf->bitmap, KHO_LEAF_BITS, bit);
		if (bit < KHO_LEAF_BITS)
			return start + bit;
		start += KHO_LEAF_BITS;
	}
	return 0;
}

static void *kho_list_at(struct kho_list *list, loff_t *pos)
{
	list->key = kho_list_find(list->map, *pos);
	/* At the end, a position at which nothing will ever be. */
	*pos = list->key ?: BIT(KHO_RADIX_KEY_WIDTH);
	return list->key ? list : NULL;
}

static void *kho_list_start(struct seq_file *m, loff_t *pos)
{
	struct kho_list *list = m->private;

	/* Nodes of the map of this kernel are not freed now. */
	if (list->map != kho_in_map)
		kho_map_lock();
	return *pos ? kho_list_at(list, pos) : SEQ_START_TOKEN;
}

static void *kho_list_next(struct seq_file *m, void *v, loff_t *pos)
{
	++*pos;
	return kho_list_at(m->private, pos);
}

static void kho_list_stop(struct seq_file *m, void *v)
{
	struct kho_list *list = m->private;

	if (list->map != kho_in_map)
		kho_map_unlock();
}

static int kho_list_show(struct seq_file *m, void *v)
{
	struct kho_list *list = m->private;
	const bool in = list->map == kho_in_map;
	unsigned int order, type;
	phys_addr_t phys;

	if (v == SEQ_START_TOKEN) {
		seq_printf(m, "%-18s %-5s %s%s\n", "address", "order", "type",
			   in ? ", what has become of it" : "");
		return 0;
	}
	phys = kho_decode_key(list->key, &order, &type);
	seq_printf(m, "%pa %5u %s", &phys, order, kho_memdesc_name(type));
	if (in) {
		enum kho_fate fate = kho_fate(PHYS_PFN(phys), order, type);

		/* The stamp of a slab stays: others can restore objects of it. */
		if (fate == KHO_FATE_UNCLAIMED && type == KHO_MEMDESC_SLAB &&
		    kho_slab_is_forwarded(phys))
			fate = KHO_FATE_FORWARDED;
		seq_printf(m, ", %s", kho_fate_names[fate]);
	}
	seq_putc(m, '\n');
	return 0;
}

static const struct seq_operations kho_list_ops = {
	.start	= kho_list_start,
	.next	= kho_list_next,
	.stop	= kho_list_stop,
	.show	= kho_list_show,
};

static int kho_list_open(struct inode *inode, struct file *file)
{
	struct kho_list *list;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	list = __seq_open_private(file, &kho_list_ops, sizeof(*list));
	if (!list)
		return -ENOMEM;
	list->map = inode->i_private;
	return 0;
}

static const struct file_operations kho_list_fops = {
	.owner		= THIS_MODULE,
	.open		= kho_list_open,
	.read		= seq_read,
	.llseek		= seq_lseek,
	.release	= seq_release_private,
};

/**
 * kho_show_map - show a map in debugfs
 * @dir: where, "in" or "out"
 * @map: the root of the map, which stays
 *
 * Context: Boot.
 */
void __init kho_show_map(struct dentry *dir, struct kho_radix_node *map)
{
	debugfs_create_file("summary", 0400, dir, map, &kho_summary_fops);
	debugfs_create_file("memdescs", 0400, dir, map, &kho_list_fops);
}
