// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that the previous kernel has handed over and that nobody restores: an
 * operator says what becomes of it. /sys/kernel/debug/kho/in/release and forward.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/bitmap.h>
#include <linux/capability.h>
#include <linux/debugfs.h>
#include <linux/ioptdesc.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho_radix_tree.h>
#include <linux/libfdt.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include <trace/events/kho.h>

#include "kho_claim.h"
#include "kho_unclaimed.h"
#include "luo_internal.h"

/* Where the subtrees of the previous kernel lie. The caller frees u->blobs. */
static int kho_unclaimed_find_blobs(struct kho_unclaimed *u)
{
	const void *fdt = kho_get_fdt();
	unsigned int nr = 0;
	int node;

	fdt_for_each_subnode(node, fdt, 0)
		nr++;
	u->blobs = kvmalloc_objs(*u->blobs, nr);
	if (!u->blobs)
		return -ENOMEM;

	fdt_for_each_subnode(node, fdt, 0) {
		const u64 *phys, *size;
		int phys_len, size_len;

		phys = fdt_getprop(fdt, node, KHO_SUB_TREE_PROP_NAME, &phys_len);
		size = fdt_getprop(fdt, node, KHO_SUB_TREE_SIZE_PROP_NAME,
				   &size_len);
		if (!phys || phys_len != sizeof(*phys))
			continue;
		u->blobs[u->nr_blobs].name = fdt_get_name(fdt, node, NULL);
		u->blobs[u->nr_blobs].start = *phys;
		u->blobs[u->nr_blobs].last = *phys;
		if (size && size_len == sizeof(*size) && *size)
			u->blobs[u->nr_blobs].last += *size - 1;
		u->nr_blobs++;
	}
	return 0;
}

static int kho_unclaimed_forward(struct kho_unclaimed *u, phys_addr_t phys,
				 unsigned int order, enum kho_memdesc type)
{
	int err;

	switch (type) {
	case KHO_MEMDESC_SLAB:
		err = kho_slab_forward(phys, &u->objects) ?: 1;
		break;
	case KHO_MEMDESC_IOPTDESC_SHARED:
		err = iommu_forward_parts(phys);
		break;
	default:
		return kho_forward(phys, order, type);
	}
	/* Without a record nobody can restore an object or a table. */
	if (err == -ENOENT && !kho_unclaimed_check_stamp(phys, order, type))
		err = -EOPNOTSUPP;
	return err;
}

static void kho_unclaimed_key(struct kho_unclaimed *u, unsigned long key)
{
	unsigned int order, type;
	phys_addr_t phys, last;
	int err;

	phys = kho_decode_key(key, &order, &type);
	last = phys + ((phys_addr_t)PAGE_SIZE << order) - 1;
	if (phys < u->start || last > u->last ||
	    (u->type != KHO_NR_MEMDESC && u->type != type))
		return;

	if (u->forward)
		err = kho_unclaimed_forward(u, phys, order, type);
	else
		err = kho_release(u, phys, order, type);
	if (!u->forward && err <= 0 && err != -ENOENT)
		trace_kho_release(phys, order, type, err);
	switch (err) {
	case 0:
		u->pieces++;
		u->pages += 1UL << order;
		break;
	case 1:
		/* Objects of a slab, or tables of a page: they were counted. */
		break;
	case -ENOENT:
		/* It is restored, or a subtree lies there. */
		break;
	case -EHWPOISON:
		u->bad++;
		break;
	default:
		u->refused++;
		u->err = err;
	}
}

static int kho_unclaimed_walk(struct kho_unclaimed *u)
{
	struct kho_radix_leaf *leaf;
	unsigned long key, i;

	for (key = 0; (leaf = kho_radix_next_leaf(kho_in_map, &key));
	     key += KHO_LEAF_BITS) {
		for_each_set_bit(i, leaf->bitmap, KHO_LEAF_BITS) {
			kho_unclaimed_key(u, key | i);
			cond_resched();
			if (fatal_signal_pending(current))
				return -EINTR;
		}
	}

	if (u->pieces || u->objects)
		return 0;
	if (u->refused)
		return u->err;
	return u->bad ? -EHWPOISON : -ENOENT;
}

/* "all", the name of a type, or a range, START-LAST, as tools/mm/kho shows it. */
static int kho_unclaimed_parse(struct kho_unclaimed *u, char *what)
{
	unsigned long long start, last;
	char *dash;

	u->start = 0;
	u->last = PHYS_ADDR_MAX;
	u->type = KHO_NR_MEMDESC;
	if (!strcmp(what, "all"))
		return 0;
	for (unsigned int type = 0; type < KHO_NR_MEMDESC; type++) {
		if (!strcmp(what, kho_memdesc_name(type))) {
			u->type = type;
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
	u->start = start;
	u->last = last;
	return 0;
}

/* Can this kernel do that now? */
static int kho_unclaimed_allowed(const struct kho_unclaimed *u)
{
	const char *verb = u->forward ? "forward" : "release";

	if (luo_session_incoming_left()) {
		pr_warn("cannot %s memory: open /dev/liveupdate, and finish and close all sessions first\n",
			verb);
		return -EBUSY;
	}
	if (kho_memory_errors_lost) {
		pr_warn("cannot %s memory: it is not known which pages have hardware errors\n",
			verb);
		return -EHWPOISON;
	}
	if (u->forward && !kho_out.radix_tree.root) {
		pr_warn("cannot forward memory: this kernel hands nothing over\n");
		return -EOPNOTSUPP;
	}
	if (u->forward && kho_write_v4) {
		pr_warn("cannot forward memory: not in this format\n");
		return -EOPNOTSUPP;
	}
	return 0;
}

static int kho_unclaimed_do(struct kho_unclaimed *u)
{
	int err;

	err = kho_slab_know_unclaimed();
	if (!err && u->forward)
		err = iommu_know_parts();
	if (err)
		return err;
	err = kho_unclaimed_find_blobs(u);
	if (err)
		return err;
	if (u->forward)
		kho_slab_close();
	err = kho_unclaimed_walk(u);
	if (u->forward) {
		kho_forward_subtrees(u);
		u->refused += kho_slab_forward_copies();
		pr_info("%s forwarded %lu pieces, %llu KiB, %lu slab objects and %lu subtrees; not forwarded: %lu with hardware errors, %lu subtrees, %lu others\n",
			current->comm, u->pieces, (u64)u->pages << (PAGE_SHIFT - 10),
			u->objects, u->subtrees, u->bad, u->subtrees_left,
			u->refused);
	} else {
		kho_slab_release_copies();
		pr_info("%s released %lu pieces, %llu KiB, and %lu slab objects or tables of pages in use; kept: %lu with hardware errors, %lu with subtrees, %lu others\n",
			current->comm, u->pieces, (u64)u->pages << (PAGE_SHIFT - 10),
			u->objects, u->bad, u->subtrees, u->refused);
	}
	kvfree(u->blobs);
	return err;
}

static ssize_t kho_unclaimed_write(struct file *file, const char __user *ubuf,
				   size_t count, loff_t *ppos)
{
	struct kho_unclaimed u = { .forward = file->private_data };
	char what[64];
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (!count || count >= sizeof(what))
		return -EINVAL;
	if (copy_from_user(what, ubuf, count))
		return -EFAULT;
	what[count] = '\0';

	err = kho_unclaimed_parse(&u, strim(what)) ?:
	      kho_unclaimed_allowed(&u) ?: kho_unclaimed_do(&u);
	return err ?: count;
}

static const struct file_operations kho_unclaimed_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= kho_unclaimed_write,
	.llseek	= noop_llseek,
};

/**
 * kho_unclaimed_init - make the files that release and forward memory
 * @dir: where, "in"
 *
 * Context: Boot.
 */
void __init kho_unclaimed_init(struct dentry *dir)
{
	/* Private data other than NULL stands for forwarding. */
	debugfs_create_file("release", 0200, dir, NULL, &kho_unclaimed_fops);
	debugfs_create_file("forward", 0200, dir, (void *)1, &kho_unclaimed_fops);
}
