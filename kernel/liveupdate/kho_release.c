// SPDX-License-Identifier: GPL-2.0-only
/*
 * Giving memory to the page allocator that the previous kernel has handed over and
 * that nobody restores: /sys/kernel/debug/kho/in/release.
 *
 * Memory is released in the way in which it is restored: whoever takes the stamp in
 * the first struct page has the memory. So a release never takes memory from
 * somebody who has restored it, and what is restored after a release is not found.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/bitmap.h>
#include <linux/capability.h>
#include <linux/debugfs.h>
#include <linux/hugetlb.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/kho_radix_tree.h>
#include <linux/libfdt.h>
#include <linux/memory_hotplug.h>
#include <linux/minmax.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include <trace/events/kho.h>

#include "kho_claim.h"
#include "luo_internal.h"

/* What to release, and what was. */
struct kho_release {
	unsigned int type;	/* KHO_NR_MEMDESC: all */
	phys_addr_t start;
	phys_addr_t last;	/* the last byte */
	unsigned long pieces;
	unsigned long pages;
	unsigned long bad;	/* pieces that stay: hardware errors */
	unsigned long subtrees;	/* pieces that stay: subtrees lie there */
	unsigned long refused;	/* pieces that stay: no way to free them */
	int err;		/* why one of these stays */
	struct kho_blob *blobs;
	unsigned int nr_blobs;
};

/* Where a subtree lies. */
struct kho_blob {
	phys_addr_t start;
	phys_addr_t last;
};

/*
 * A driver that is loaded later finds its subtree, and reads the subtree where it
 * lies, before it restores anything. debugfs shows the subtrees, too. So they stay,
 * also those whose driver never comes.
 */
static int kho_release_find_blobs(struct kho_release *r)
{
	const void *fdt = kho_get_fdt();
	unsigned int nr = 0;
	int node;

	fdt_for_each_subnode(node, fdt, 0)
		nr++;
	r->blobs = kvmalloc_objs(*r->blobs, nr);
	if (!r->blobs)
		return -ENOMEM;

	fdt_for_each_subnode(node, fdt, 0) {
		const u64 *phys, *size;
		int phys_len, size_len;

		phys = fdt_getprop(fdt, node, KHO_SUB_TREE_PROP_NAME, &phys_len);
		size = fdt_getprop(fdt, node, KHO_SUB_TREE_SIZE_PROP_NAME,
				   &size_len);
		if (!phys || phys_len != sizeof(*phys))
			continue;
		r->blobs[r->nr_blobs].start = *phys;
		r->blobs[r->nr_blobs].last = *phys;
		if (size && size_len == sizeof(*size) && *size)
			r->blobs[r->nr_blobs].last += *size - 1;
		r->nr_blobs++;
	}
	return 0;
}

static bool kho_release_has_blob(const struct kho_release *r, phys_addr_t start,
				 phys_addr_t last)
{
	for (unsigned int i = 0; i < r->nr_blobs; i++) {
		if (r->blobs[i].start <= last && r->blobs[i].last >= start)
			return true;
	}
	return false;
}

/* Single pages, of which there can be as many as there is memory. */
static void kho_release_split(struct page *page, unsigned long nr_pages)
{
	unsigned long done, nr;

	kho_trace_restore(page, ilog2(nr_pages), KHO_MEMDESC_SPLIT, _RET_IP_);
	set_page_private(page, 0);
	for (done = 0; done < nr_pages; done += nr) {
		nr = min(nr_pages - done, MAX_ORDER_NR_PAGES);
		page = kho_nth_page(page, done ? MAX_ORDER_NR_PAGES : 0);
		kho_account_split(page, nr);
		for (unsigned long i = 0; i < nr; i++)
			__free_page(kho_nth_page(page, i));
		cond_resched();
	}
}

/*
 * The memory becomes pages, whatever it was: nobody wants its contents or its
 * descriptor. If it was prepared at boot as a compound page, it is one, and knows
 * its order. A folio of hugetlb goes to its pool: if hugepages= was given, the pool
 * has been counting on it.
 */
static int kho_release_piece(phys_addr_t phys, unsigned int order,
			     enum kho_memdesc type)
{
	unsigned long types = BIT(type);
	enum kho_memdesc as = type;
	union kho_page_info info;
	struct folio *folio;
	struct page *page;

	if (type == KHO_MEMDESC_HUGETLB && size_to_hstate(PAGE_SIZE << order)) {
		folio = kho_hugetlb_restore(phys);
		if (IS_ERR(folio))
			return PTR_ERR(folio);
		folio_put(folio);
		return 0;
	}

	switch (kho_types[type].shape) {
	case KHO_SHAPE_NONE:
		/* Of a kernel that wrote no types: pages are always right. */
		as = KHO_MEMDESC_SPLIT;
		types |= BIT(as);
		break;
	case KHO_SHAPE_COMPOUND:
		if (type != KHO_MEMDESC_FOLIO)
			as = KHO_MEMDESC_COMPOUND;
		break;
	}

	page = kho_claim(phys, types, &info);
	if (IS_ERR(page))
		return PTR_ERR(page);
	/*
	 * memory_failure() marks the page before it looks for the stamp, and has
	 * not found it if the claim came first. A restorer keeps such memory.
	 */
	if (kho_any_poisoned(page, order)) {
		kho_unclaim(page);
		return -EHWPOISON;
	}

	if (as == KHO_MEMDESC_SPLIT) {
		kho_release_split(page, 1UL << order);
		return 0;
	}
	kho_prep_claimed(page, as, order);
	kho_account_claimed(page, as, order);
	if (kho_types[as].shape == KHO_SHAPE_BLOCK)
		__free_pages(page, order);
	else
		folio_put(page_folio(page));
	return 0;
}

static void kho_release_key(struct kho_release *r, unsigned long key)
{
	unsigned int order, type;
	phys_addr_t phys, last;
	int err;

	phys = kho_decode_key(key, &order, &type);
	last = phys + ((phys_addr_t)PAGE_SIZE << order) - 1;
	if (phys < r->start || last > r->last ||
	    (r->type != KHO_NR_MEMDESC && r->type != type))
		return;

	/* What was restored may be free, offline and gone by now. */
	get_online_mems();
	err = kho_check_stamp(phys, order, type);
	put_online_mems();
	if (err == -ENOENT)
		return;
	if (!err && kho_release_has_blob(r, phys, last)) {
		r->subtrees++;
		return;
	}

	/* Memory with a stamp does not go offline. */
	err = err ?: kho_release_piece(phys, order, type);
	if (err != -ENOENT)
		trace_kho_release(phys, order, type, err);
	switch (err) {
	case 0:
		r->pieces++;
		r->pages += 1UL << order;
		break;
	case -ENOENT:
		/* Somebody has just restored the memory. */
		break;
	case -EHWPOISON:
		r->bad++;
		break;
	default:
		r->refused++;
		r->err = err;
	}
}

static int kho_release_all(struct kho_release *r)
{
	struct kho_radix_leaf *leaf;
	unsigned long key, i;

	for (key = 0; (leaf = kho_radix_next_leaf(kho_in_map, &key));
	     key += KHO_LEAF_BITS) {
		for_each_set_bit(i, leaf->bitmap, KHO_LEAF_BITS) {
			kho_release_key(r, key | i);
			cond_resched();
			if (fatal_signal_pending(current))
				return -EINTR;
		}
	}

	if (r->pieces)
		return 0;
	if (r->refused)
		return r->err;
	return r->bad ? -EHWPOISON : -ENOENT;
}

/* "all", the name of a type, or a range, START-LAST, as tools/mm/kho shows it. */
static int kho_release_parse(struct kho_release *r, char *what)
{
	unsigned long long start, last;
	char *dash;

	r->start = 0;
	r->last = PHYS_ADDR_MAX;
	r->type = KHO_NR_MEMDESC;
	if (!strcmp(what, "all"))
		return 0;
	for (unsigned int type = 0; type < KHO_NR_MEMDESC; type++) {
		if (!strcmp(what, kho_memdesc_name(type))) {
			r->type = type;
			return 0;
		}
	}

	dash = strchr(what, '-');
	if (!dash)
		return -EINVAL;
	*dash++ = '\0';
	if (kstrtoull(what, 16, &start) || kstrtoull(dash, 16, &last) ||
	    start > last || last > PHYS_ADDR_MAX)
		return -EINVAL;
	r->start = start;
	r->last = last;
	return 0;
}

static ssize_t kho_release_write(struct file *file, const char __user *ubuf,
				 size_t count, loff_t *ppos)
{
	struct kho_release r = {};
	char what[64];
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (!count || count >= sizeof(what))
		return -EINVAL;
	if (copy_from_user(what, ubuf, count))
		return -EFAULT;
	what[count] = '\0';

	err = kho_release_parse(&r, strim(what));
	if (err)
		return err;
	if (luo_session_incoming_left()) {
		pr_warn("cannot release memory: open /dev/liveupdate, and finish and close all sessions first\n");
		return -EBUSY;
	}
	if (kho_memory_errors_lost) {
		pr_warn("cannot release memory: it is not known which pages have hardware errors\n");
		return -EHWPOISON;
	}

	err = kho_release_find_blobs(&r);
	if (err)
		return err;
	err = kho_release_all(&r);
	kvfree(r.blobs);
	pr_info("%s released %lu pieces, %llu KiB; kept: %lu with hardware errors, %lu with subtrees, %lu others\n",
		current->comm, r.pieces, (u64)r.pages << (PAGE_SHIFT - 10), r.bad,
		r.subtrees, r.refused);
	return err ?: count;
}

static const struct file_operations kho_release_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= kho_release_write,
	.llseek	= noop_llseek,
};

/**
 * kho_release_init - make the file that releases memory
 * @dir: where, "in"
 *
 * Context: Boot.
 */
void __init kho_release_init(struct dentry *dir)
{
	debugfs_create_file("release", 0200, dir, NULL, &kho_release_fops);
}
