// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of C types for the folios of one owner.
 */
#include <kunit/test.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/folio_aops.h>
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

static const struct address_space_operations toy_typed_aops;

DEFINE_FOLIO_TYPE(toy_folio, &toy_aops, &toy_typed_aops);

/* What the typed operation was given that was called last. */
static struct toy_call {
	struct toy_folio *folio, *dst;
	const void *mapping, *p1, *p2;
	u64 n1, n2, n3;
} toy_call;

static int toy_read_folio(struct file *file, struct toy_folio *folio)
{
	toy_call = (struct toy_call) { .folio = folio, .p1 = file };
	return 11;
}

static DEFINE_FOLIO_AOP(read_folio, toy_aop_read_folio, toy_folio,
			toy_read_folio);

static bool toy_dirty_folio(struct address_space *mapping,
			    struct toy_folio *folio)
{
	toy_call = (struct toy_call) { .folio = folio, .mapping = mapping };
	return true;
}

static DEFINE_FOLIO_AOP(dirty_folio, toy_aop_dirty_folio, toy_folio,
			toy_dirty_folio);

/* Returns the folio of the last call, if there was one. */
static int toy_write_begin(const struct kiocb *iocb,
			   struct address_space *mapping, loff_t pos,
			   unsigned int len, struct toy_folio **foliop,
			   void **fsdata)
{
	struct toy_folio *folio = toy_call.folio;

	toy_call = (struct toy_call) {
		.folio = folio, .mapping = mapping, .p1 = iocb, .p2 = fsdata,
		.n1 = pos, .n2 = len,
	};
	if (!folio)
		return -ENOENT;
	*foliop = folio;
	return 0;
}

static DEFINE_FOLIO_AOP(write_begin, toy_aop_write_begin, toy_folio,
			toy_write_begin);

static int toy_write_end(const struct kiocb *iocb,
			 struct address_space *mapping, loff_t pos,
			 unsigned int len, unsigned int copied,
			 struct toy_folio *folio, void *fsdata)
{
	toy_call = (struct toy_call) {
		.folio = folio, .mapping = mapping, .p1 = iocb, .p2 = fsdata,
		.n1 = pos, .n2 = len, .n3 = copied,
	};
	return 12;
}

static DEFINE_FOLIO_AOP(write_end, toy_aop_write_end, toy_folio,
			toy_write_end);

static void toy_invalidate_folio(struct toy_folio *folio, size_t offset,
				 size_t len)
{
	toy_call = (struct toy_call) { .folio = folio, .n1 = offset, .n2 = len };
}

static DEFINE_FOLIO_AOP(invalidate_folio, toy_aop_invalidate_folio, toy_folio,
			toy_invalidate_folio);

static bool toy_release_folio(struct toy_folio *folio, gfp_t gfp)
{
	toy_call = (struct toy_call) { .folio = folio, .n1 = (__force u64)gfp };
	return true;
}

static DEFINE_FOLIO_AOP(release_folio, toy_aop_release_folio, toy_folio,
			toy_release_folio);

static void toy_free_folio(struct toy_folio *folio)
{
	toy_call = (struct toy_call) { .folio = folio };
}

static DEFINE_FOLIO_AOP(free_folio, toy_aop_free_folio, toy_folio,
			toy_free_folio);

static int toy_migrate_folio(struct address_space *mapping,
			     struct toy_folio *dst, struct toy_folio *src,
			     enum migrate_mode mode)
{
	toy_call = (struct toy_call) {
		.folio = src, .dst = dst, .mapping = mapping, .n1 = mode,
	};
	return 13;
}

static DEFINE_FOLIO_AOP(migrate_folio, toy_aop_migrate_folio, toy_folio,
			toy_migrate_folio);

static int toy_launder_folio(struct toy_folio *folio)
{
	toy_call = (struct toy_call) { .folio = folio };
	return 14;
}

static DEFINE_FOLIO_AOP(launder_folio, toy_aop_launder_folio, toy_folio,
			toy_launder_folio);

static bool toy_is_partially_uptodate(struct toy_folio *folio, size_t from,
				      size_t count)
{
	toy_call = (struct toy_call) { .folio = folio, .n1 = from, .n2 = count };
	return true;
}

static DEFINE_FOLIO_AOP(is_partially_uptodate, toy_aop_is_partially_uptodate,
			toy_folio, toy_is_partially_uptodate);

static void toy_is_dirty_writeback(struct toy_folio *folio, bool *dirty,
				   bool *wb)
{
	toy_call = (struct toy_call) { .folio = folio, .p1 = dirty, .p2 = wb };
}

static DEFINE_FOLIO_AOP(is_dirty_writeback, toy_aop_is_dirty_writeback,
			toy_folio, toy_is_dirty_writeback);

static int toy_error_remove_folio(struct address_space *mapping,
				  struct toy_folio *folio)
{
	toy_call = (struct toy_call) { .folio = folio, .mapping = mapping };
	return 15;
}

static DEFINE_FOLIO_AOP(error_remove_folio, toy_aop_error_remove_folio,
			toy_folio, toy_error_remove_folio);

static const struct address_space_operations toy_typed_aops = {
	.read_folio		= toy_aop_read_folio,
	.dirty_folio		= toy_aop_dirty_folio,
	.write_begin		= toy_aop_write_begin,
	.write_end		= toy_aop_write_end,
	.invalidate_folio	= toy_aop_invalidate_folio,
	.release_folio		= toy_aop_release_folio,
	.free_folio		= toy_aop_free_folio,
	.migrate_folio		= toy_aop_migrate_folio,
	.launder_folio		= toy_aop_launder_folio,
	.is_partially_uptodate	= toy_aop_is_partially_uptodate,
	.is_dirty_writeback	= toy_aop_is_dirty_writeback,
	.error_remove_folio	= toy_aop_error_remove_folio,
};

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
	KUNIT_EXPECT_TRUE(test, folio_may_be_toy_folio(folio));
	inode->i_mapping->a_ops = &toy_typed_aops;
	KUNIT_EXPECT_TRUE(test, folio_may_be_toy_folio(folio));

	inode->i_mapping->a_ops = &others;
	KUNIT_EXPECT_FALSE(test, folio_may_be_toy_folio(folio));
	kunit_warning_suppress(test) {
		struct toy_folio *mine = folio_toy_folio(folio);

		KUNIT_EXPECT_PTR_EQ(test, &mine->folio, folio);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test,
						      IS_ENABLED(CONFIG_DEBUG_VM));
	}
	inode->i_mapping->a_ops = &toy_aops;

	folio->mapping = (void *)((unsigned long)inode->i_mapping |
				  FOLIO_MAPPING_ANON);
	KUNIT_EXPECT_FALSE(test, folio_may_be_toy_folio(folio));
	folio->mapping = inode->i_mapping;

	/* Truncated: it does not tell. */
	truncate_inode_pages(inode->i_mapping, 0);
	KUNIT_EXPECT_NULL(test, folio->mapping);
	KUNIT_EXPECT_TRUE(test, folio_may_be_toy_folio(folio));
	folio_put(folio);
	toy_exit(&toy);
}

static void expect_call(struct kunit *test, struct toy_call call)
{
	KUNIT_EXPECT_PTR_EQ(test, toy_call.folio, call.folio);
	KUNIT_EXPECT_PTR_EQ(test, toy_call.dst, call.dst);
	KUNIT_EXPECT_PTR_EQ(test, toy_call.mapping, call.mapping);
	KUNIT_EXPECT_PTR_EQ(test, toy_call.p1, call.p1);
	KUNIT_EXPECT_PTR_EQ(test, toy_call.p2, call.p2);
	KUNIT_EXPECT_EQ(test, toy_call.n1, call.n1);
	KUNIT_EXPECT_EQ(test, toy_call.n2, call.n2);
	KUNIT_EXPECT_EQ(test, toy_call.n3, call.n3);
}

#define EXPECT_CALL(test, ...) \
	expect_call(test, (struct toy_call) { __VA_ARGS__ })

/* A typed operation is given what its wrapper in the table is given. */
static void folio_type_aops(struct kunit *test)
{
	const struct address_space_operations *aops = &toy_typed_aops;
	static struct kiocb iocb;
	static struct file file;
	struct toy toy;
	struct inode *inode = toy_inode(test, &toy);
	struct address_space *mapping = inode->i_mapping;
	struct folio *folio = toy_add(test, inode, 0);
	struct folio *dst = folio_alloc(GFP_KERNEL, 0);
	struct toy_folio *mine;
	struct folio *out = dst;
	void *fsdata;
	bool b1, b2;

	KUNIT_ASSERT_NOT_NULL(test, dst);
	mapping->a_ops = aops;
	mine = folio_toy_folio(folio);

	KUNIT_EXPECT_EQ(test, aops->read_folio(&file, folio), 11);
	EXPECT_CALL(test, .folio = mine, .p1 = &file);
	KUNIT_EXPECT_TRUE(test, aops->dirty_folio(mapping, folio));
	EXPECT_CALL(test, .folio = mine, .mapping = mapping);

	toy_call.folio = NULL;
	KUNIT_EXPECT_EQ(test, aops->write_begin(&iocb, mapping, 1, 2, &out,
						&fsdata), -ENOENT);
	KUNIT_EXPECT_PTR_EQ(test, out, dst);
	toy_call.folio = mine;
	KUNIT_EXPECT_EQ(test, aops->write_begin(&iocb, mapping, 1, 2, &out,
						&fsdata), 0);
	KUNIT_EXPECT_PTR_EQ(test, out, folio);
	EXPECT_CALL(test, .folio = mine, .mapping = mapping, .p1 = &iocb,
		    .p2 = &fsdata, .n1 = 1, .n2 = 2);
	KUNIT_EXPECT_EQ(test, aops->write_end(&iocb, mapping, 1, 2, 3, folio,
					      &b1), 12);
	EXPECT_CALL(test, .folio = mine, .mapping = mapping, .p1 = &iocb,
		    .p2 = &b1, .n1 = 1, .n2 = 2, .n3 = 3);

	aops->invalidate_folio(folio, 4, 5);
	EXPECT_CALL(test, .folio = mine, .n1 = 4, .n2 = 5);
	KUNIT_EXPECT_TRUE(test, aops->release_folio(folio, GFP_NOFS));
	EXPECT_CALL(test, .folio = mine, .n1 = (__force u64)GFP_NOFS);
	aops->free_folio(folio);
	EXPECT_CALL(test, .folio = mine);
	KUNIT_EXPECT_EQ(test, aops->migrate_folio(mapping, dst, folio,
						  MIGRATE_SYNC), 13);
	EXPECT_CALL(test, .folio = mine, .dst = folio_toy_folio(dst),
		    .mapping = mapping, .n1 = MIGRATE_SYNC);
	KUNIT_EXPECT_EQ(test, aops->launder_folio(folio), 14);
	EXPECT_CALL(test, .folio = mine);
	KUNIT_EXPECT_TRUE(test, aops->is_partially_uptodate(folio, 6, 7));
	EXPECT_CALL(test, .folio = mine, .n1 = 6, .n2 = 7);
	aops->is_dirty_writeback(folio, &b1, &b2);
	EXPECT_CALL(test, .folio = mine, .p1 = &b1, .p2 = &b2);
	KUNIT_EXPECT_EQ(test, aops->error_remove_folio(mapping, folio), 15);
	EXPECT_CALL(test, .folio = mine, .mapping = mapping);

	mapping->a_ops = &toy_aops;
	folio_put(dst);
	truncate_inode_pages(mapping, 0);
	folio_put(folio);
	toy_exit(&toy);
}

static struct kunit_case folio_type_test_cases[] = {
	KUNIT_CASE(folio_type_of_one_owner),
	KUNIT_CASE(folio_type_aops),
	{}
};

static struct kunit_suite folio_type_test_suite = {
	.name = "folio_type",
	.test_cases = folio_type_test_cases,
};

kunit_test_suite(folio_type_test_suite);

MODULE_DESCRIPTION("KUnit tests of C types for the folios of one owner");
MODULE_LICENSE("GPL");
