// SPDX-License-Identifier: GPL-2.0-only
/*
 * A file whose contents outlive a kexec: the file handler of a live update.
 *
 * A driver whose memory belongs to a process has a file descriptor for it, as VFIO,
 * iommufd and memfd have. There the process says what is preserved: it gives its
 * files to a session of /dev/liveupdate, and gets them back in the next kernel. The
 * driver only has to say how one of its files is preserved and retrieved.
 *
 * Each open of /dev/kho_sample is a file of its own, with one page. samples/kho/agent.c
 * is the process. For a driver that goes on by itself see kho_sample.c.
 */

#define pr_fmt(fmt) "kho_sample_file: " fmt

#include <linux/anon_inodes.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/kho_memdesc.h>
#include <linux/liveupdate.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>

/* The contents of a file: file->private_data. */
static struct folio *sample_folio(struct file *file)
{
	return file->private_data;
}

static int sample_open(struct inode *inode, struct file *file)
{
	file->private_data = folio_alloc(GFP_KERNEL | __GFP_ZERO, 0);
	return file->private_data ? 0 : -ENOMEM;
}

/* The ordinary free function, wherever the folio came from. */
static int sample_release(struct inode *inode, struct file *file)
{
	folio_put(sample_folio(file));
	return 0;
}

static ssize_t sample_read(struct file *file, char __user *buf, size_t n,
			   loff_t *pos)
{
	return simple_read_from_buffer(buf, n, pos,
				       folio_address(sample_folio(file)),
				       PAGE_SIZE);
}

/*
 * A file can be written to when it is preserved: the memory is handed over, and not a
 * copy. A driver that cannot have that stops its writers in .freeze().
 */
static ssize_t sample_write(struct file *file, const char __user *buf, size_t n,
			    loff_t *pos)
{
	return simple_write_to_buffer(folio_address(sample_folio(file)),
				      PAGE_SIZE, pos, buf, n);
}

static const struct file_operations sample_fops = {
	.owner		= THIS_MODULE,
	.open		= sample_open,
	.release	= sample_release,
	.read		= sample_read,
	.write		= sample_write,
	.llseek		= default_llseek,
};

static struct miscdevice sample_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "kho_sample",
	.fops	= &sample_fops,
};

/* Is the file one of ours? */
static bool sample_can_preserve(struct liveupdate_file_handler *handler,
				struct file *file)
{
	return file->f_op == &sample_fops;
}

/*
 * serialized_data is all that the next kernel gets. One address is enough here. Who
 * needs more puts it into a structure from kho_alloc_preserve(): see mm/memfd_luo.c.
 */
static int sample_preserve(struct liveupdate_file_op_args *args)
{
	struct folio *folio = sample_folio(args->file);
	int err = kho_folio_preserve(folio);

	if (!err)
		args->serialized_data = PFN_PHYS(folio_pfn(folio));
	return err;
}

/* The session was closed before the kexec. */
static void sample_unpreserve(struct liveupdate_file_op_args *args)
{
	kho_folio_unpreserve(sample_folio(args->file));
}

/* In the next kernel, once for each file at most. */
static int sample_retrieve(struct liveupdate_file_op_args *args)
{
	struct folio *folio = kho_folio_restore(args->serialized_data);
	struct file *file;

	if (IS_ERR(folio))
		return PTR_ERR(folio);
	/* The same operations: the file can be preserved once more. */
	file = anon_inode_getfile_fmode("[kho_sample]", &sample_fops, folio,
					O_RDWR, FMODE_LSEEK | FMODE_PREAD |
					FMODE_PWRITE);
	if (IS_ERR(file)) {
		folio_put(folio);
		return PTR_ERR(file);
	}
	args->file = file;
	return 0;
}

/* The session is over: nobody will retrieve the file any more. */
static void sample_finish(struct liveupdate_file_op_args *args)
{
	struct folio *folio;

	/* The file has the memory, or sample_retrieve() has freed it. */
	if (args->retrieve_status)
		return;
	folio = kho_folio_restore(args->serialized_data);
	if (!IS_ERR(folio))
		folio_put(folio);
}

static const struct liveupdate_file_ops sample_file_ops = {
	.can_preserve	= sample_can_preserve,
	.preserve	= sample_preserve,
	.unpreserve	= sample_unpreserve,
	.retrieve	= sample_retrieve,
	.finish		= sample_finish,
	.owner		= THIS_MODULE,
};

/* An ABI: another meaning of serialized_data needs another string. */
#define SAMPLE_COMPATIBLE "kho-sample-file-v1"

static struct liveupdate_file_handler sample_handler = {
	.ops		= &sample_file_ops,
	.compatible	= SAMPLE_COMPATIBLE,
};

static int __init sample_init(void)
{
	int err = misc_register(&sample_misc);

	if (err)
		return err;
	/* Without live update the device is one like any other. */
	err = liveupdate_register_file_handler(&sample_handler);
	if (err)
		pr_warn("the files will not outlive a kexec: %pe\n", ERR_PTR(err));
	return 0;
}
device_initcall(sample_init);
