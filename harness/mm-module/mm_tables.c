// SPDX-License-Identifier: GPL-2.0
/*
 * mm_tables: each time the module is loaded, the kernel's own page tables change: small
 * pages in the vmalloc area make room for huge ones, large pages of the direct map are
 * split, and memory that does not exist is added and removed. To load and to remove a
 * module makes text read-only and writable again besides, for which the direct map is
 * split and collapsed.
 */
#include <linux/gfp.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/set_memory.h>
#include <linux/sizes.h>
#include <linux/vmalloc.h>

static int change_vmalloc(void)
{
	void *p;

	for (int i = 0; i < 4; i++) {
		p = i % 2 ? vmalloc_huge(4 * SZ_2M, GFP_KERNEL) : vmalloc(4 * SZ_2M);
		if (!p)
			return -ENOMEM;
		memset(p, i, 4 * SZ_2M);
		vfree(p);
		/* The next one gets the same addresses. */
		vm_unmap_aliases();
	}
	return 0;
}

static int split_direct_map(void)
{
	int ret = 0;
#ifdef CONFIG_X86
	unsigned long p = __get_free_pages(GFP_KERNEL, 3);

	if (!p)
		return -ENOMEM;
	ret = set_memory_uc(p, 8) ?: set_memory_wb(p, 8);
	free_pages(p, 3);
#endif
	return ret;
}

static int add_and_remove(void)
{
	int ret = 0;
#ifdef CONFIG_MEMORY_HOTREMOVE
	const u64 start = 64ULL * SZ_1G, size = memory_block_size_bytes();

	/* It stays offline: nobody may touch it. */
	ret = add_memory(0, start, size, MHP_NONE) ?: remove_memory(start, size);
#endif
	return ret;
}

static int __init mm_tables_init(void)
{
	return change_vmalloc() ?: split_direct_map() ?: add_and_remove();
}

static void __exit mm_tables_exit(void)
{
}

module_init(mm_tables_init);
module_exit(mm_tables_exit);
MODULE_DESCRIPTION("Changes to the page tables of the kernel, for harness/mm");
MODULE_LICENSE("GPL");
