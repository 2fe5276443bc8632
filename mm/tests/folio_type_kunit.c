// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of C types for the folios of one owner.
 */
#include <kunit/test.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/folio_type.h>
#include <linux/mm.h>
#include <linux/mount.h>
#include <linux/pagemap.h>
#include <linux/pseudo_fs.h>
#include <linux/swap.h>

/* A filesystem whose folios have a type, and that does nothing. */
static const struct address_space_operations toy_aops = {
	.dirty_folio	= noop_dirty_folio,
};

DEFINE_FOLIO_TYPE(toy_folio, &toy_aops);

static int toy_init_fs_context(struct fs_context *fc)
{
	return init_pseudo(fc, 0x746f7921) ? 0 : -ENOMEM;
}

static struct file_system_type toy_type = {
	.name		 = "folio_type_toy",
	.init_fs_context = toy_init_fs_context,
	.kill_sb	 = kill_anon_super,
};

struct toy {
	struct vfsmount *mnt;
	struct inode *inode;
};

static struct inode *toy_inode(struct kunit *test, struct toy *toy)
{
	toy->mnt = kern_mount(&toy_type);
	KUNIT_ASSERT_FALSE(test, IS_ERR(toy->mnt));
	toy->inode = new_inode(toy->mnt->mnt_sb);
	KUNIT_ASSERT_NOT_NULL(test, toy->inode);
	toy->inode->i_mode = S_IFREG;
	toy->inode->i_mapping->a_ops = &toy_aops;
	mapping_set_gfp_mask(toy->inode->i_mapping, GFP_KERNEL);
	i_size_write(toy->inode, PAGE_SIZE);
	return toy->inode;
}

static void toy_exit(struct toy *toy)
{
	iput(toy->inode);
	kern_unmount(toy->mnt);
}

/* A clean folio in the page cache and on the LRU list, with a reference. */
static struct folio *toy_add(struct kunit *test, struct inode *inode,
			     pgoff_t index)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, 0);

	KUNIT_ASSERT_NOT_NULL(test, folio);
	KUNIT_ASSERT_EQ(test, filemap_add_folio(inode->i_mapping, folio, index,
						GFP_KERNEL), 0);
	folio_mark_uptodate(folio);
	folio_unlock(folio);
	/* The batches hold references. */
	lru_add_drain_all();
	return folio;
}

/* folio_toy_folio() accepts the owner's folios only, where it looks. */
static void folio_type_of_one_owner(struct kunit *test)
{
	struct toy toy;
	struct inode *inode = toy_inode(test, &toy);
	struct folio *folio = toy_add(test, inode, 0);
	static const struct address_space_operations others;

	kunit_warning_suppress(test) {
		struct toy_folio *mine = folio_toy_folio(folio);

		KUNIT_EXPECT_PTR_EQ(test, &mine->folio, folio);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 0);
	}
	KUNIT_EXPECT_TRUE(test, folio_may_have_aops(folio, &toy_aops));

	inode->i_mapping->a_ops = &others;
	KUNIT_EXPECT_FALSE(test, folio_may_have_aops(folio, &toy_aops));
	kunit_warning_suppress(test) {
		struct toy_folio *mine = folio_toy_folio(folio);

		KUNIT_EXPECT_PTR_EQ(test, &mine->folio, folio);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test,
						      IS_ENABLED(CONFIG_DEBUG_VM));
	}
	inode->i_mapping->a_ops = &toy_aops;

	folio->mapping = (void *)((unsigned long)inode->i_mapping |
				  FOLIO_MAPPING_ANON);
	KUNIT_EXPECT_FALSE(test, folio_may_have_aops(folio, &toy_aops));
	folio->mapping = inode->i_mapping;

	/* Truncated: it does not tell. */
	truncate_inode_pages(inode->i_mapping, 0);
	KUNIT_EXPECT_NULL(test, folio->mapping);
	KUNIT_EXPECT_TRUE(test, folio_may_have_aops(folio, &toy_aops));
	folio_put(folio);
	toy_exit(&toy);
}

static struct kunit_case folio_type_test_cases[] = {
	KUNIT_CASE(folio_type_of_one_owner),
	{}
};

static struct kunit_suite folio_type_test_suite = {
	.name = "folio_type",
	.test_cases = folio_type_test_cases,
};

kunit_test_suite(folio_type_test_suite);

MODULE_DESCRIPTION("KUnit tests of C types for the folios of one owner");
MODULE_LICENSE("GPL");
