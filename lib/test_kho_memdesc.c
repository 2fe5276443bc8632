// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the typed kexec handover between two kernels.
 *
 * Driven from user space through debugfs, in the directory kho_memdesc_test.
 * The file "cmd" takes one command per write:
 *
 * preserve SEED
 *	allocate objects of every type, fill them with contents derived from
 *	SEED, preserve them and a manifest that describes them
 * restore
 *	take the manifest of the previous kernel, restore every object in it,
 *	compare its contents and its state, try a number of calls that have to
 *	fail, and free every third object
 * again SEED
 *	preserve half of the objects that are held, free the others, then do
 *	what "preserve" does
 * free
 *	unpreserve and free everything that is held
 * metadata NUMBER
 *	allocate, preserve and free that many pages of metadata, which must not
 *	fail wherever the page allocator has memory
 * poison
 *	let a page of some preserved objects, and a page that is not preserved,
 *	have a hardware error: they must not come back as good memory
 *
 * A write fails with -EIO if anything was not as expected, and each mismatch
 * is one line in the log. The file "report" has one line per type. The numbers
 * in it count from the boot of this kernel:
 *
 * objects, bytes
 *	allocated by this kernel or handed over to it
 * preserved
 *	to be handed over if there were a kexec now
 * restored, freed
 *	restored, and given to the allocator's ordinary free function
 * leaked
 *	held by nobody but this test and not preserved, or not restored: this
 *	memory would be lost in a kexec
 *
 * The manifest has no layout of a kernel structure in it, so the two kernels
 * may differ in their debug options.
 *
 * Where the kernel has CONFIG_FAIL_PAGE_ALLOC or CONFIG_FAILSLAB, and allocations
 * that may wait are made to fail (ignore-gfp-wait and min-order are 0), each
 * allocation within some of the calls fails once.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/hash.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/list.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>

#include "../mm/slab.h"

#include "../drivers/iommu/iommu-pages.h"

static unsigned int scale = 100;
module_param(scale, uint, 0644);
MODULE_PARM_DESC(scale, "Percentage of the number of objects of each type");

static bool copies;
module_param(copies, bool, 0644);
MODULE_PARM_DESC(copies, "Slab objects may come back as copies");

static unsigned int slabs;
module_param(slabs, uint, 0644);
MODULE_PARM_DESC(slabs, "Objects of slabs only, so many of them from kmalloc()");

#ifndef MODULE
/*
 * A page that boot code takes at a fixed address, and knows nothing of KHO. The
 * command line is parsed after the map of what is preserved was checked.
 */
static int __ref kmt_reserve(const char *val, const struct kernel_param *kp)
{
	if (slab_is_available())
		return -EBUSY;
	return memblock_reserve(memparse(val, NULL), PAGE_SIZE);
}

static const struct kernel_param_ops kmt_reserve_ops = { .set = kmt_reserve };
module_param_cb(reserve, &kmt_reserve_ops, NULL, 0);
MODULE_PARM_DESC(reserve, "Physical address of a page to reserve early in the boot");
#endif

#define KMT_SUBTREE		"kho-memdesc-test"
#define KMT_MAGIC		0x6b686f5f6d656d64ULL
#define KMT_VERSION		3

/* A physical address that no machine has memory at. */
#define KMT_BAD_PHYS		BIT_ULL(51)

/* Larger blocks exist with large base pages only and do not fit small guests. */
#define KMT_MAX_BLOCK		SZ_32M

/* Per type and command; the rest is only counted. */
#define KMT_MAX_LINES		16

/* Failing calls that would leak memory would do it this often. */
#define KMT_LEAK_ROUNDS		512

/* No call has more allocations in it. */
#define KMT_MAX_ALLOCS		4096

/* Objects that are allocated between those that are restored. */
#define KMT_MAX_NOISE		4096

/*
 * By how many pages a counter may be off after all objects were restored, because
 * other users move it as well. Threads come and go, with stacks in vmalloc space
 * if CONFIG_VMAP_STACK=y. Where allocations are made to fail, a table that
 * kvmalloc() makes once lies there, too: 18 pages were seen. A process that ends
 * takes some 20 page tables with it.
 * What the test restores are thousands of pages and hundreds of page tables.
 */
#define KMT_SLACK_VMALLOC	(IS_ENABLED(CONFIG_VMAP_STACK) ? 128 : 32)
#define KMT_SLACK_PAGETABLE	64

/*
 * One of so many large kmalloc objects may seem to be accounted wrongly: somebody
 * else allocated or freed a slab while that object was restored. With each object
 * these two allocate one of their own, or keep one.
 */
#define KMT_SLACK_SLAB_SHARE	\
	(IS_ENABLED(CONFIG_DEBUG_KMEMLEAK) || IS_ENABLED(CONFIG_KASAN) ? 2 : 4)

enum kmt_type {
	KMT_FOLIO,
	KMT_PAGES,
	KMT_COMPOUND,
	KMT_PAGES_EXACT,
	KMT_VMALLOC,
	KMT_VMALLOC_HUGE,
	KMT_KVMALLOC,
	KMT_KMALLOC,
	KMT_LARGE_KMALLOC,
	KMT_KVMALLOC_SMALL,
	KMT_KMEM_CACHE,
	KMT_IOPTDESC,
	KMT_PTDESC,
	KMT_PAGETABLE,
	KMT_OLD_FOLIO,
	KMT_OLD_PAGES,
	KMT_OLD_VMALLOC,
	KMT_OLD_ALLOC,
	KMT_NR_TYPES,
};

static const struct {
	const char *name;
	unsigned int count;	/* of objects */
} kmt_types[KMT_NR_TYPES] = {
	[KMT_FOLIO]		= { "folio",		320 },
	[KMT_PAGES]		= { "pages",		320 },
	[KMT_COMPOUND]		= { "compound",		320 },
	[KMT_PAGES_EXACT]	= { "pages_exact",	256 },
	[KMT_VMALLOC]		= { "vmalloc",		256 },
	[KMT_VMALLOC_HUGE]	= { "vmalloc_huge",	128 },
	[KMT_KVMALLOC]		= { "kvmalloc",		3 },
	[KMT_IOPTDESC]		= { "ioptdesc",		320 },
	[KMT_PTDESC]		= { "ptdesc",		192 },
	/* The locks of page tables and init_mm are not exported to modules. */
	[KMT_PAGETABLE]		= { "pagetable",
				    IS_BUILTIN(CONFIG_TEST_KHO_MEMDESC) * 192 },
	[KMT_KMALLOC]		= { "kmalloc",		2048 },
	[KMT_LARGE_KMALLOC]	= { "large_kmalloc",	64 },
	[KMT_KVMALLOC_SMALL]	= { "kvmalloc_small",	128 },
	[KMT_KMEM_CACHE]	= { "kmem_cache",	512 },
	[KMT_OLD_FOLIO]		= { "old_folio",	128 },
	[KMT_OLD_PAGES]		= { "old_pages",	128 },
	[KMT_OLD_VMALLOC]	= { "old_vmalloc",	128 },
	[KMT_OLD_ALLOC]		= { "old_alloc",	128 },
};

/* What is compared in every page with a page that was just allocated. */
enum kmt_field {
	KMT_F_FLAGS,
	KMT_F_REFCOUNT,
	KMT_F_TYPE,
	KMT_F_MAPPING,
	KMT_F_PRIVATE,
	KMT_F_MEMCG,
	KMT_F_ORDER,
	KMT_F_HEAD,
	KMT_NR_FIELDS,
};

static const char * const kmt_field_names[KMT_NR_FIELDS] = {
	[KMT_F_FLAGS]		= "page flags",
	[KMT_F_REFCOUNT]	= "refcount",
	[KMT_F_TYPE]		= "page type or mapcount",
	[KMT_F_MAPPING]		= "mapping",
	[KMT_F_PRIVATE]		= "private",
	[KMT_F_MEMCG]		= "memcg data",
	[KMT_F_ORDER]		= "compound order",
	[KMT_F_HEAD]		= "distance to head page",
};

struct kmt_object {
	struct list_head list;
	enum kmt_type type;
	unsigned int index;
	unsigned int order;
	size_t size;
	u64 seed;
	void *addr;
	bool preserved;
	struct kho_vmalloc ser;
};

struct kmt_stats {
	unsigned long objects;
	unsigned long bytes;
	unsigned long preserved;
	unsigned long restored;
	unsigned long freed;
	unsigned long lost;
	unsigned long mismatches;
	unsigned long lines;
};

#define KMT_GUARDED	1	/* by kfence: comes back as a copy */
#define KMT_POISONED	2	/* has a page with a hardware error */

struct kmt_entry {
	u64 phys;
	u64 size;
	u64 seed;
	u64 ser[2];		/* struct kho_vmalloc, which is ABI */
	u64 vm_flags;
	u64 vm_pages;
	u32 vm_order;
	u32 vm_known;		/* 0 if the preserving test is a module */
	u32 type;
	u32 index;
	u32 order;
	u32 flags;		/* KMT_GUARDED, KMT_POISONED */
};

static_assert(sizeof(struct kmt_entry) == 80);
static_assert(sizeof(struct kho_vmalloc) == 16);

struct kmt_manifest {
	u64 magic;
	u32 version;
	u32 entry_size;
	u32 generation;
	u32 nr_entries;
	u64 ser[2];		/* struct kho_vmalloc: an array of entries */
	u64 poisoned;		/* a page that was not preserved, or 0 */
};

static_assert(sizeof(struct kmt_manifest) == 48);

static DEFINE_MUTEX(kmt_lock);	/* protects everything below */
static LIST_HEAD(kmt_objects);
static struct kmt_stats kmt_stats[KMT_NR_TYPES];
static struct kmt_manifest *kmt_manifest;
static struct kmt_entry *kmt_entries;
static unsigned int kmt_generation;
static bool kmt_restored;
static unsigned long kmt_checks;
/* How many allocations were made to fail. */
static unsigned long kmt_failed[KMT_NR_TYPES];
/* By how much NR_PAGETABLE has moved too far while tables came and went. */
static long kmt_pagetable_noise;

static struct kmem_cache *kmt_caches[2];
static void *kmt_noise[KMT_MAX_NOISE];
static unsigned int kmt_nr_noise;
static unsigned long kmt_copied, kmt_guarded, kmt_dma;
static unsigned long kmt_poisoned;
/* Restored large kmalloc memory, from kmalloc() and not, and wrongly accounted. */
static unsigned int kmt_large[2], kmt_large_wrong[2];

static struct dentry *kmt_dir;

/* What IOMMU page tables are counted in, and how much should be there. */
static struct kmt_counter {
	enum node_stat_item item;
	const char *name;
	long expected;
} kmt_iommu_counters[] = {
	{ NR_IOMMU_PAGES, "NR_IOMMU_PAGES" },
	{ NR_SECONDARY_PAGETABLE, "NR_SECONDARY_PAGETABLE" },
};

/*
 * What a CPU has pending is in neither place while it is added to the sum of the
 * node: for longer than it takes to read that twice, if the CPU is interrupted.
 */
static long kmt_settled(enum node_stat_item item)
{
	long again = global_node_page_state_snapshot(item);
	long state;

	do {
		state = again;
		msleep(20);
		again = global_node_page_state_snapshot(item);
	} while (state != again);
	return state;
}

/* Types whose objects are smaller than a page. */
static bool kmt_is_slab(enum kmt_type type)
{
	return type == KMT_KMALLOC || type == KMT_KVMALLOC_SMALL ||
	       type == KMT_KMEM_CACHE;
}

static unsigned int kmt_count(enum kmt_type type)
{
	if (slabs && type == KMT_KMALLOC)
		return slabs;
	if (slabs && !kmt_is_slab(type) && type != KMT_LARGE_KMALLOC)
		return 0;
	return DIV_ROUND_UP(kmt_types[type].count * scale, 100);
}

static bool kmt_is_vmalloc(enum kmt_type type)
{
	return type == KMT_VMALLOC || type == KMT_VMALLOC_HUGE ||
	       type == KMT_KVMALLOC || type == KMT_OLD_VMALLOC;
}

/* Which constructor has run on a table; mixed with those that are freed early. */
static enum ptdesc_state kmt_ptdesc_state(const struct kmt_object *obj)
{
	static const enum ptdesc_state states[] = {
		PTDESC_PTE, PTDESC_PMD, PTDESC_KERNEL,
	};

	if (obj->type != KMT_PAGETABLE)
		return PTDESC_PLAIN;
	return states[obj->index / 3 % ARRAY_SIZE(states)];
}

static bool kmt_expect(const struct kmt_object *obj, const char *where,
		       const char *what, long expected, long found)
{
	struct kmt_stats *stats = &kmt_stats[obj->type];

	kmt_checks++;
	if (expected == found)
		return true;

	stats->mismatches++;
	if (stats->lines++ < KMT_MAX_LINES)
		pr_err("%s %u (order %u, %zu bytes): %s: %s: expected %#lx, found %#lx\n",
		       kmt_types[obj->type].name, obj->index, obj->order,
		       obj->size, where, what, expected, found);
	return false;
}

/* Some failing calls may choose between two errors. */
static bool kmt_expect_error(const struct kmt_object *obj, const char *what,
			     long err, long alternative, const void *found)
{
	if (IS_ERR(found) && PTR_ERR(found) == alternative)
		err = alternative;
	return kmt_expect(obj, "call that has to fail", what, err,
			  IS_ERR(found) ? PTR_ERR(found) : 0);
}

/* xorshift64; as good as any other here, and fast without optimisation. */
static u64 kmt_random(u64 *state)
{
	u64 x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;

	return x;
}

static u64 kmt_object_seed(u64 seed, enum kmt_type type, unsigned int index)
{
	u64 state = hash_64(seed, 64) ^ hash_64(((u64)type << 32) + index + 1, 64);

	/* 0 is the one state that xorshift cannot leave */
	return state ?: 1;
}

static void kmt_fill(const struct kmt_object *obj)
{
	u64 state = obj->seed;
	size_t off;
	u64 word;

	for (off = 0; off + sizeof(word) <= obj->size; off += sizeof(word)) {
		*(u64 *)(obj->addr + off) = kmt_random(&state);
		if (!(off % SZ_1M))
			cond_resched();
	}
	word = kmt_random(&state);
	memcpy(obj->addr + off, &word, obj->size - off);
}

static bool kmt_compare(const struct kmt_object *obj, const char *where)
{
	u64 state = obj->seed;
	u64 word, found = 0;
	size_t off;

	for (off = 0; off + sizeof(word) <= obj->size; off += sizeof(word)) {
		word = kmt_random(&state);
		found = *(u64 *)(obj->addr + off);
		if (found != word)
			goto mismatch;
		if (!(off % SZ_1M))
			cond_resched();
	}
	word = kmt_random(&state);
	if (!memcmp(obj->addr + off, &word, obj->size - off)) {
		kmt_checks++;
		return true;
	}
	memcpy(&found, obj->addr + off, obj->size - off);

mismatch:
	kmt_expect(obj, where, "offset of first wrong word", -1, off);
	return kmt_expect(obj, where, "contents", word, found);
}

/* Every order once, then half of the rest order 0, a quarter order 1, ... */
static unsigned int kmt_block_order(unsigned int index)
{
	unsigned int max_order = min(MAX_PAGE_ORDER, get_order(KMT_MAX_BLOCK));

	if (index <= max_order)
		return index;
	return min_t(unsigned int, __ffs(index), 4);
}

static size_t kmt_exact_size(const struct kmt_object *obj)
{
	static const size_t sizes[] = {
		1,
		3 * PAGE_SIZE,
		5 * PAGE_SIZE + 1,
		SZ_1M + PAGE_SIZE,
		7 * PAGE_SIZE,
		PAGE_SIZE - 1,
		2 * PAGE_SIZE,
		11 * PAGE_SIZE - 7,
	};

	if (obj->index < ARRAY_SIZE(sizes))
		return sizes[obj->index];
	return obj->seed % (16 * PAGE_SIZE) + 1;
}

static size_t kmt_vmalloc_size(const struct kmt_object *obj)
{
	/* With the page counts at which a chunk of page addresses is full. */
	static const size_t sizes[] = {
		1,
		PAGE_SIZE - 1,
		PAGE_SIZE,
		PAGE_SIZE + 1,
		(KHO_VMALLOC_SIZE - 1) * PAGE_SIZE,
		KHO_VMALLOC_SIZE * PAGE_SIZE,
		KHO_VMALLOC_SIZE * PAGE_SIZE + 1,
		SZ_4M + SZ_1M + 123,
	};

	if (obj->index < ARRAY_SIZE(sizes) &&
	    sizes[obj->index] <= KMT_MAX_BLOCK)
		return sizes[obj->index];
	return obj->seed % SZ_128K + 1;
}

static size_t kmt_vmalloc_huge_size(const struct kmt_object *obj)
{
	static const size_t sizes[] = {
		PMD_SIZE,
		2 * PMD_SIZE,
		PMD_SIZE + 1,
		2 * PMD_SIZE - PAGE_SIZE,
		PMD_SIZE - PAGE_SIZE,
	};

	if (obj->index < ARRAY_SIZE(sizes) &&
	    sizes[obj->index] <= KMT_MAX_BLOCK)
		return sizes[obj->index];
	return obj->seed % SZ_64K + 1;
}

/* Every bucket, filled to different degrees. */
static size_t kmt_kmalloc_size(const struct kmt_object *obj)
{
	static const size_t buckets[] = {
		8, 16, 32, 64, 96, 128, 192, 256, 512, SZ_1K, SZ_2K, SZ_4K, SZ_8K,
	};
	size_t size = buckets[obj->index % ARRAY_SIZE(buckets)];

	if (size > KMALLOC_MAX_CACHE_SIZE)
		size = 64;
	return size - obj->seed % (size / 4);
}

/* Memory of this type that is not from kmalloc(): its owner would account it. */
static bool kmt_is_bare(const struct kmt_object *obj)
{
	return obj->type == KMT_LARGE_KMALLOC && obj->index % 4 == 1;
}

static gfp_t kmt_kmalloc_gfp(const struct kmt_object *obj)
{
	if (obj->index % 64 == 3)
		return GFP_KERNEL | __GFP_DMA | __GFP_NOWARN;
	if (obj->index % 4 == 1)
		return GFP_KERNEL | __GFP_RECLAIMABLE;
	if (obj->index % 4 == 2)
		return GFP_KERNEL | __GFP_ACCOUNT;
	return GFP_KERNEL;
}

static struct kmem_cache *kmt_cache(const struct kmt_object *obj)
{
	return kmt_caches[obj->index % 2];
}

static void kmt_init_object(struct kmt_object *obj, enum kmt_type type,
			    unsigned int index, u64 seed)
{
	obj->type = type;
	obj->index = index;
	obj->seed = kmt_object_seed(seed, type, index);

	switch (type) {
	case KMT_FOLIO:
	case KMT_PAGES:
	case KMT_COMPOUND:
	case KMT_IOPTDESC:
	case KMT_OLD_FOLIO:
		obj->order = kmt_block_order(index);
		obj->size = PAGE_SIZE << obj->order;
		break;
	case KMT_PAGES_EXACT:
	case KMT_OLD_PAGES:
		obj->size = kmt_exact_size(obj);
		break;
	case KMT_VMALLOC:
	case KMT_OLD_VMALLOC:
		obj->size = kmt_vmalloc_size(obj);
		break;
	case KMT_VMALLOC_HUGE:
		obj->size = kmt_vmalloc_huge_size(obj);
		break;
	case KMT_KVMALLOC:
		/* so large that it cannot be kmalloc memory */
		obj->size = KMALLOC_MAX_SIZE + index * PAGE_SIZE + index + 1;
		break;
	case KMT_PTDESC:
	case KMT_PAGETABLE:
		obj->order = index % 16 < 4 ? index % 4 : 0;
		obj->size = PAGE_SIZE << obj->order;
		break;
	case KMT_KMALLOC:
		obj->size = kmt_kmalloc_size(obj);
		break;
	case KMT_LARGE_KMALLOC:
		obj->size = KMALLOC_MAX_CACHE_SIZE + obj->seed % SZ_128K + 1;
		obj->order = get_order(obj->size);
		break;
	case KMT_KVMALLOC_SMALL:
		obj->size = obj->seed % PAGE_SIZE + 1;
		break;
	case KMT_KMEM_CACHE:
		obj->size = kmem_cache_size(kmt_cache(obj));
		break;
	case KMT_OLD_ALLOC:
		obj->size = obj->seed % (8 * PAGE_SIZE) + 1;
		obj->order = get_order(obj->size);
		break;
	case KMT_NR_TYPES:
		break;
	}
}

static bool kmt_construct(const struct kmt_object *obj, struct ptdesc *pt)
{
	if (!IS_BUILTIN(CONFIG_TEST_KHO_MEMDESC))
		return true;

	switch (kmt_ptdesc_state(obj)) {
	case PTDESC_PTE:
		return pagetable_pte_ctor(NULL, pt);
	case PTDESC_PMD:
		return pagetable_pmd_ctor(NULL, pt);
	case PTDESC_KERNEL:
		ptdesc_set_kernel(pt);
		return pagetable_pte_ctor(&init_mm, pt);
	default:
		return true;
	}
}

static int kmt_alloc(struct kmt_object *obj)
{
	gfp_t gfp = GFP_KERNEL | __GFP_RETRY_MAYFAIL;
	struct ptdesc *pt;
	struct folio *folio;
	struct page *page;

	obj->addr = NULL;

	switch (obj->type) {
	case KMT_FOLIO:
	case KMT_OLD_FOLIO:
		folio = folio_alloc(gfp, obj->order);
		if (folio)
			obj->addr = folio_address(folio);
		break;
	case KMT_PAGES:
		page = alloc_pages(gfp, obj->order);
		if (page)
			obj->addr = page_address(page);
		break;
	case KMT_COMPOUND:
		page = alloc_pages(gfp | __GFP_COMP, obj->order);
		if (page)
			obj->addr = page_address(page);
		break;
	case KMT_PAGES_EXACT:
	case KMT_OLD_PAGES:
		obj->addr = alloc_pages_exact(obj->size, gfp);
		break;
	case KMT_VMALLOC:
	case KMT_OLD_VMALLOC:
		obj->addr = vmalloc(obj->size);
		break;
	case KMT_VMALLOC_HUGE:
		obj->addr = vmalloc_huge(obj->size, GFP_KERNEL);
		break;
	case KMT_KVMALLOC:
	case KMT_KVMALLOC_SMALL:
		obj->addr = kvmalloc(obj->size, GFP_KERNEL);
		break;
	case KMT_IOPTDESC:
		obj->addr = iommu_alloc_pages_sz(gfp, obj->size);
		break;
	case KMT_PTDESC:
	case KMT_PAGETABLE:
		pt = pagetable_alloc(gfp, obj->order);
		if (pt && kmt_construct(obj, pt))
			obj->addr = ptdesc_address(pt);
		else if (pt)
			memdesc_free(pt);
		break;
	case KMT_KMALLOC:
		/* There may be no DMA memory that is not scratch. */
		obj->addr = kmalloc(obj->size, kmt_kmalloc_gfp(obj)) ?:
			    kmalloc(obj->size, GFP_KERNEL);
		break;
	case KMT_LARGE_KMALLOC:
		if (!kmt_is_bare(obj)) {
			obj->addr = kmalloc(obj->size, gfp);
			break;
		}
		page = alloc_page_desc(gfp | __GFP_COMP, obj->order,
				       MEMDESC_TYPE_LARGE_KMALLOC(NULL));
		obj->addr = page ? page_address(page) : NULL;
		break;
	case KMT_KMEM_CACHE:
		obj->addr = kmem_cache_alloc(kmt_cache(obj), GFP_KERNEL);
		break;
	case KMT_OLD_ALLOC:
		obj->addr = kho_alloc_preserve(obj->size);
		if (IS_ERR(obj->addr))
			return PTR_ERR(obj->addr);
		obj->preserved = true;
		kmt_stats[obj->type].preserved++;
		break;
	case KMT_NR_TYPES:
		break;
	}

	return obj->addr ? 0 : -ENOMEM;
}

/* IOMMU page tables have three ways to go. */
static void kmt_free_iommu(struct kmt_object *obj)
{
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);

	/* Of what restore frees at once, every third one in each way, too. */
	switch (obj->index / 3 % 3) {
	case 0:
		iommu_free_pages(obj->addr);
		break;
	case 1:
		iommu_pages_list_add(&list, obj->addr);
		iommu_put_pages_list(&list);
		break;
	case 2:
		iommu_free_pages_rcu(obj->addr);
		/* The counters are looked at next. */
		rcu_barrier();
		break;
	}
}

/* The ordinary free function of the allocator, for memory not preserved. */
static void kmt_free(struct kmt_object *obj)
{
	switch (obj->type) {
	case KMT_FOLIO:
	case KMT_OLD_FOLIO:
	case KMT_OLD_ALLOC:
		folio_put(virt_to_folio(obj->addr));
		break;
	case KMT_PAGES:
	case KMT_COMPOUND:
		__free_pages(virt_to_page(obj->addr), obj->order);
		break;
	case KMT_PAGES_EXACT:
	case KMT_OLD_PAGES:
		free_pages_exact(obj->addr, obj->size);
		break;
	case KMT_VMALLOC:
	case KMT_VMALLOC_HUGE:
	case KMT_OLD_VMALLOC:
		vfree(obj->addr);
		break;
	case KMT_KVMALLOC:
	case KMT_KVMALLOC_SMALL:
		kvfree(obj->addr);
		break;
	case KMT_IOPTDESC:
		kmt_free_iommu(obj);
		break;
	case KMT_PTDESC:
		/* Not all that pagetable_free() may call is exported. */
		if (IS_BUILTIN(CONFIG_TEST_KHO_MEMDESC))
			pagetable_free(virt_to_ptdesc(obj->addr));
		else
			memdesc_free(virt_to_ptdesc(obj->addr));
		break;
	case KMT_PAGETABLE:
		if (IS_BUILTIN(CONFIG_TEST_KHO_MEMDESC))
			pagetable_dtor_free(virt_to_ptdesc(obj->addr));
		break;
	case KMT_KMALLOC:
	case KMT_LARGE_KMALLOC:
		if (kmt_is_bare(obj))
			free_page_desc(virt_to_page(obj->addr));
		else
			kfree(obj->addr);
		break;
	case KMT_KMEM_CACHE:
		kmem_cache_free(kmt_cache(obj), obj->addr);
		break;
	case KMT_NR_TYPES:
		break;
	}
	obj->addr = NULL;
}

/* One by one, or as a list. */
static int kmt_preserve_iommu(const struct kmt_object *obj)
{
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);
	int err;

	if (obj->index % 2)
		return iommu_preserve_pages(obj->addr);

	iommu_pages_list_add(&list, obj->addr);
	err = iommu_preserve_pages_list(&list);
	iommu_pages_list_release(&list);
	return err;
}

static int kmt_preserve(struct kmt_object *obj)
{
	int err = -EINVAL;

	if (obj->preserved)
		return 0;

	switch (obj->type) {
	case KMT_FOLIO:
		err = kho_folio_preserve(virt_to_folio(obj->addr));
		break;
	case KMT_PAGES:
	case KMT_COMPOUND:
		err = kho_pages_preserve(virt_to_page(obj->addr), obj->order);
		break;
	case KMT_PAGES_EXACT:
		err = kho_pages_exact_preserve(obj->addr, obj->size);
		break;
	case KMT_VMALLOC:
	case KMT_VMALLOC_HUGE:
	case KMT_KVMALLOC:
	case KMT_KVMALLOC_SMALL:
		err = kho_vmalloc_preserve(obj->addr, &obj->ser);
		break;
	case KMT_IOPTDESC:
		err = kmt_preserve_iommu(obj);
		break;
	case KMT_PTDESC:
	case KMT_PAGETABLE:
		err = kho_ptdesc_preserve(virt_to_ptdesc(obj->addr));
		break;
	case KMT_KMALLOC:
	case KMT_LARGE_KMALLOC:
		if (kmt_is_bare(obj))
			err = kho_preserve_page_desc(virt_to_page(obj->addr),
						     obj->order,
						     KHO_MEMDESC_LARGE_KMALLOC);
		else
			err = kho_slab_preserve(obj->addr);
		break;
	case KMT_KMEM_CACHE:
		err = kho_kmem_cache_preserve(kmt_cache(obj), obj->addr);
		break;
	case KMT_OLD_FOLIO:
	case KMT_OLD_ALLOC:
		err = kho_preserve_folio(virt_to_folio(obj->addr));
		break;
	case KMT_OLD_PAGES:
		err = kho_preserve_pages(virt_to_page(obj->addr),
					 PFN_UP(obj->size));
		break;
	case KMT_OLD_VMALLOC:
		err = kho_preserve_vmalloc(obj->addr, &obj->ser);
		break;
	case KMT_NR_TYPES:
		break;
	}

	if (!err) {
		obj->preserved = true;
		kmt_stats[obj->type].preserved++;
	}
	return err;
}

static void kmt_unpreserve(struct kmt_object *obj)
{
	if (!obj->preserved)
		return;

	switch (obj->type) {
	case KMT_FOLIO:
		kho_folio_unpreserve(virt_to_folio(obj->addr));
		break;
	case KMT_PAGES:
	case KMT_COMPOUND:
		kho_pages_unpreserve(virt_to_page(obj->addr), obj->order);
		break;
	case KMT_PAGES_EXACT:
		kho_pages_exact_unpreserve(obj->addr, obj->size);
		break;
	case KMT_VMALLOC:
	case KMT_VMALLOC_HUGE:
	case KMT_KVMALLOC:
	case KMT_KVMALLOC_SMALL:
		kho_vmalloc_unpreserve(&obj->ser);
		break;
	case KMT_IOPTDESC:
		iommu_unpreserve_pages(obj->addr);
		break;
	case KMT_PTDESC:
	case KMT_PAGETABLE:
		kho_ptdesc_unpreserve(virt_to_ptdesc(obj->addr));
		break;
	case KMT_KMALLOC:
	case KMT_LARGE_KMALLOC:
		if (kmt_is_bare(obj))
			kho_unpreserve_page_desc(virt_to_page(obj->addr),
						 obj->order,
						 KHO_MEMDESC_LARGE_KMALLOC);
		else
			kho_slab_unpreserve(obj->addr);
		break;
	case KMT_KMEM_CACHE:
		kho_kmem_cache_unpreserve(kmt_cache(obj), obj->addr);
		break;
	case KMT_OLD_FOLIO:
	case KMT_OLD_ALLOC:
		kho_unpreserve_folio(virt_to_folio(obj->addr));
		break;
	case KMT_OLD_PAGES:
		kho_unpreserve_pages(virt_to_page(obj->addr),
				     PFN_UP(obj->size));
		break;
	case KMT_OLD_VMALLOC:
		kho_unpreserve_vmalloc(&obj->ser);
		break;
	case KMT_NR_TYPES:
		break;
	}
	obj->preserved = false;
	kmt_stats[obj->type].preserved--;
}

static void *kmt_restore_iommu(const struct kmt_object *obj, phys_addr_t phys)
{
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);
	int err;

	if (obj->index % 4 < 2)
		return iommu_restore_pages(phys);

	err = iommu_restore_pages_list(&phys, 1, &list);
	if (err)
		return ERR_PTR(err);
	iommu_pages_list_release(&list);
	return phys_to_virt(phys);
}

/* Returns the address of the restored memory or an ERR_PTR(). */
static void *kmt_restore(const struct kmt_object *obj, phys_addr_t phys)
{
	struct folio *folio;
	struct ptdesc *pt;
	struct page *page;
	void *addr;

	switch (obj->type) {
	case KMT_FOLIO:
		folio = kho_folio_restore(phys);
		return IS_ERR(folio) ? ERR_CAST(folio) : folio_address(folio);
	case KMT_PAGES:
	case KMT_COMPOUND:
		/* These know their order. */
		if (obj->index % 2 && (obj->type == KMT_COMPOUND || !obj->order))
			page = kho_restore_page_desc(phys,
						     MEMDESC_TYPE_PAGES(NULL));
		else
			page = kho_pages_restore(phys, obj->order);
		return IS_ERR(page) ? ERR_CAST(page) : page_address(page);
	case KMT_PAGES_EXACT:
		return kho_pages_exact_restore(phys, obj->size);
	case KMT_VMALLOC:
	case KMT_VMALLOC_HUGE:
	case KMT_KVMALLOC:
	case KMT_KVMALLOC_SMALL:
		return kho_vmalloc_restore(&obj->ser);
	case KMT_IOPTDESC:
		return kmt_restore_iommu(obj, phys);
	case KMT_PTDESC:
	case KMT_PAGETABLE:
		if (obj->index % 2) {
			page = kho_restore_page_desc(phys,
						     MEMDESC_TYPE_PTDESC(NULL));
			return IS_ERR(page) ? ERR_CAST(page) : page_address(page);
		}
		pt = kho_ptdesc_restore(phys);
		return IS_ERR(pt) ? ERR_CAST(pt) : ptdesc_address(pt);
	case KMT_KMALLOC:
		if (obj->index % 16 == 4) {
			addr = kho_slab_restore_in_place(phys);
			if (addr != ERR_PTR(-EOPNOTSUPP))
				return addr;
		}
		return kho_slab_restore(phys);
	case KMT_LARGE_KMALLOC:
		if (!kmt_is_bare(obj))
			return kho_slab_restore(phys);
		page = kho_restore_page_desc(phys,
					     MEMDESC_TYPE_LARGE_KMALLOC(NULL));
		return IS_ERR(page) ? ERR_CAST(page) : page_address(page);
	case KMT_KMEM_CACHE:
		return kho_kmem_cache_restore(kmt_cache(obj), phys);
	case KMT_OLD_FOLIO:
	case KMT_OLD_ALLOC:
		folio = kho_restore_folio(phys);
		return folio ? folio_address(folio) : ERR_PTR(-ENOENT);
	case KMT_OLD_PAGES:
		page = kho_restore_pages(phys, PFN_UP(obj->size));
		return page ? page_address(page) : ERR_PTR(-ENOENT);
	case KMT_OLD_VMALLOC:
		addr = kho_restore_vmalloc(&obj->ser);
		return addr ?: ERR_PTR(-ENOENT);
	case KMT_NR_TYPES:
		break;
	}
	return ERR_PTR(-EINVAL);
}

/* Let the n-th allocation from here on fail; 0 for none. */
static void kmt_fail_alloc(unsigned int nth)
{
#ifdef CONFIG_FAULT_INJECTION
	WRITE_ONCE(current->fail_nth, nth);
#endif
}

/* Has it failed? And no other will. */
static bool kmt_alloc_failed(void)
{
#ifdef CONFIG_FAULT_INJECTION
	bool failed = !READ_ONCE(current->fail_nth);

	kmt_fail_alloc(0);
	return failed;
#else
	return false;
#endif
}

/* A call for which there was no memory has changed nothing. */

static int kmt_preserve_nomem(struct kmt_object *obj)
{
	int err;

	for (unsigned int nth = 1; nth < KMT_MAX_ALLOCS; nth++) {
		kmt_fail_alloc(nth);
		err = kmt_preserve(obj);
		if (!kmt_alloc_failed())
			return err;
		kmt_failed[obj->type]++;
		if (err)
			kmt_expect(obj, "preserve without memory", "error",
				   -ENOMEM, err);
		else
			kmt_unpreserve(obj);
	}
	return kmt_preserve(obj);
}

static void *kmt_restore_nomem(const struct kmt_object *obj, phys_addr_t phys)
{
	void *addr;

	for (unsigned int nth = 1; nth < KMT_MAX_ALLOCS; nth++) {
		kmt_fail_alloc(nth);
		addr = kmt_restore(obj, phys);
		if (!kmt_alloc_failed())
			return addr;
		kmt_failed[obj->type]++;
		if (!IS_ERR(addr))
			return addr;
		kmt_expect(obj, "restore without memory", "error", -ENOMEM,
			   PTR_ERR(addr));
	}
	return kmt_restore(obj, phys);
}

static struct page *kmt_page(const struct kmt_object *obj, unsigned long i)
{
	if (kmt_is_vmalloc(obj->type))
		return vmalloc_to_page(obj->addr + i * PAGE_SIZE);
	return virt_to_page(obj->addr) + i;
}

static unsigned long kmt_nr_pages(const struct kmt_object *obj)
{
	unsigned long nr_pages = PFN_UP(obj->size);

	/* an exact allocation has given its rest back, a block has not */
	if (obj->order)
		return 1UL << obj->order;
	return nr_pages;
}

/* find_vm_area() is not exported to modules. */
static struct vm_struct *kmt_vm_area(const struct kmt_object *obj)
{
	if (!IS_BUILTIN(CONFIG_TEST_KHO_MEMDESC) || !kmt_is_vmalloc(obj->type))
		return NULL;
	return find_vm_area(obj->addr);
}

static unsigned int kmt_vm_order(const struct vm_struct *vm)
{
#ifdef CONFIG_HAVE_ARCH_HUGE_VMALLOC
	return vm->page_order;
#else
	return 0;
#endif
}

/*
 * Note by how much NR_PAGETABLE, which was @before, has moved too far when the
 * object came (@sign is 1) or went (-1). Mappings of vmalloc memory take tables.
 */
static void kmt_note_pagetables(const struct kmt_object *obj, long before,
				int sign)
{
	if (kmt_is_vmalloc(obj->type))
		return;
	kmt_pagetable_noise += global_node_page_state_snapshot(NR_PAGETABLE);
	kmt_pagetable_noise -= before;
	if (kmt_ptdesc_state(obj))
		kmt_pagetable_noise -= sign * (1L << obj->order);
}

static void kmt_read_page(struct page *page, long *v)
{
	struct page *head = compound_head(page);

	v[KMT_F_FLAGS] = page->flags.f & PAGEFLAGS_MASK;
	v[KMT_F_REFCOUNT] = page_ref_count(page);
	v[KMT_F_TYPE] = page->page_type;
	v[KMT_F_MAPPING] = (long)page->mapping;
	/* The deferred split list of a large folio points at itself. */
	if (PageTail(page) && abs(v[KMT_F_MAPPING] - (long)page) < sizeof(*page))
		v[KMT_F_MAPPING] -= (long)page;
	v[KMT_F_PRIVATE] = page->private;
	/* Its descriptor; that of another page it must not be. */
	if (PageIOPT(page) && page_ioptdesc(page)->page == page)
		v[KMT_F_PRIVATE] = 0;
#ifdef CONFIG_MEMCG
	v[KMT_F_MEMCG] = page->memcg_data;
#else
	v[KMT_F_MEMCG] = 0;
#endif
	v[KMT_F_ORDER] = PageHead(page) ? compound_order(page) : 0;
	v[KMT_F_HEAD] = page - head;
}

/* Is the page as one that the allocator has just handed out? */
static bool kmt_check_page(const struct kmt_object *obj, unsigned long i,
			   struct page *page, struct page *fresh)
{
	long expected[KMT_NR_FIELDS], found[KMT_NR_FIELDS];
	bool ok = true;
	char where[32];

	snprintf(where, sizeof(where), "page %lu", i);
	kmt_read_page(page, found);
	kmt_read_page(fresh, expected);

	if (kmt_ptdesc_state(obj) && !i) {
		/* There a page table has its lock, or the address of it. */
		if (ALLOC_SPLIT_PTLOCKS && expected[KMT_F_PRIVATE]) {
			ok &= kmt_expect(obj, where, "address of a lock", true,
					 virt_addr_valid((void *)page->private));
			expected[KMT_F_PRIVATE] = found[KMT_F_PRIVATE];
		}
	} else if (!PageTail(page)) {
		/* The allocator leaves it alone in the tails of a bare block. */
		expected[KMT_F_PRIVATE] = 0;
	}

	for (unsigned int f = 0; f < KMT_NR_FIELDS; f++)
		ok &= kmt_expect(obj, where, kmt_field_names[f], expected[f],
				 found[f]);

	ok &= kmt_expect(obj, where, "pfn in its zone", true,
			 zone_spans_pfn(page_zone(page), page_to_pfn(page)));
	ok &= kmt_expect(obj, where, "reserved", false, PageReserved(page));
	return ok;
}

static void kmt_check_table(const struct kmt_object *obj)
{
	enum ptdesc_state state = kmt_ptdesc_state(obj);
	struct ptdesc *pt = virt_to_ptdesc(obj->addr);

	kmt_expect(obj, "page table", "is one", true,
		   PageTable(ptdesc_page(pt)));
	kmt_expect(obj, "page table", "state", state, ptdesc_state(pt));
	kmt_expect(obj, "page table", "of the kernel", state == PTDESC_KERNEL,
		   ptdesc_test_kernel(pt));

#ifdef CONFIG_SPLIT_PMD_PTLOCKS
	if (state == PTDESC_PTE || state == PTDESC_PMD) {
		bool free = spin_trylock(ptlock_ptr(pt));

		if (kmt_expect(obj, "page table", "unlocked", true, free))
			spin_unlock(ptlock_ptr(pt));
	}
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	if (state == PTDESC_PMD)
		kmt_expect(obj, "page table", "deposit", 0,
			   (long)pt->pmd_huge_pte);
#endif
#endif
}

/* What must hold whatever a fresh allocation of this kernel looks like. */
static void kmt_check_shape(const struct kmt_object *obj)
{
	bool table = obj->type == KMT_PTDESC || obj->type == KMT_PAGETABLE;
	bool frozen = obj->type == KMT_LARGE_KMALLOC ||
		      obj->type == KMT_IOPTDESC;
	bool compound = obj->type == KMT_FOLIO || obj->type == KMT_COMPOUND ||
			obj->type == KMT_OLD_FOLIO || obj->type == KMT_OLD_ALLOC ||
			table || frozen;
	bool split = !compound && obj->type != KMT_PAGES;
	unsigned long nr_pages = kmt_nr_pages(obj);

	for (unsigned long i = 0; i < nr_pages; i++) {
		struct page *page = kmt_page(obj, i);

		if (!kmt_expect(obj, "shape", "refcount",
				!frozen && (split || !i),
				page_ref_count(page)) ||
		    !kmt_expect(obj, "shape", "compound",
				compound && obj->order, PageCompound(page)))
			return;
	}

	if (compound) {
		struct folio *folio = virt_to_folio(obj->addr);

		kmt_expect(obj, "shape", "folio order", obj->order,
			   folio_order(folio));
		kmt_expect(obj, "shape", "large", !!obj->order,
			   folio_test_large(folio));
		if (obj->order)
			kmt_expect(obj, "shape", "large_rmappable",
				   IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) &&
				   obj->type != KMT_COMPOUND && !table && !frozen,
				   folio_test_large_rmappable(folio));
	}
	if (table)
		kmt_check_table(obj);
}

static int kmt_check_pages(const struct kmt_object *obj)
{
	struct kmt_object fresh = *obj;
	unsigned long nr_pages = kmt_nr_pages(obj);
	int err;

	kmt_check_shape(obj);

	/* kho_alloc_preserve() would give memory that is preserved */
	if (fresh.type == KMT_OLD_ALLOC)
		fresh.type = KMT_OLD_FOLIO;
	err = kmt_alloc(&fresh);
	if (err)
		return err;

	for (unsigned long i = 0; i < nr_pages; i++) {
		if (!kmt_check_page(obj, i, kmt_page(obj, i),
				    kmt_page(&fresh, i)))
			break;
		if (!(i % 1024))
			cond_resched();
	}

	kmt_free(&fresh);
	return 0;
}

static void kmt_check_vmalloc(const struct kmt_object *obj,
			      const struct kmt_entry *entry)
{
	struct vm_struct *vm = kmt_vm_area(obj);
	unsigned long flags = VM_ALLOC | VM_ALLOW_HUGE_VMAP;

	kmt_expect(obj, "vmalloc area", "is_vmalloc_addr", true,
		   is_vmalloc_addr(obj->addr));

	if (!IS_BUILTIN(CONFIG_TEST_KHO_MEMDESC) || !entry->vm_known)
		return;
	if (!kmt_expect(obj, "vmalloc area", "exists", true, !!vm))
		return;

	kmt_expect(obj, "vmalloc area", "start", (long)vm->addr,
		   (long)obj->addr);
	kmt_expect(obj, "vmalloc area", "flags", entry->vm_flags,
		   vm->flags & flags);
	kmt_expect(obj, "vmalloc area", "uninitialized", 0,
		   vm->flags & VM_UNINITIALIZED);
	kmt_expect(obj, "vmalloc area", "nr_pages", entry->vm_pages,
		   vm->nr_pages);
	kmt_expect(obj, "vmalloc area", "requested_size", obj->size,
		   vm->requested_size);
	kmt_expect(obj, "vmalloc area", "page_order", entry->vm_order,
		   kmt_vm_order(vm));

	for (unsigned long i = 0; i < vm->nr_pages; i++) {
		if (!kmt_expect(obj, "vmalloc area", "mapped pfn",
				page_to_pfn(vm->pages[i]),
				vmalloc_to_pfn(obj->addr + i * PAGE_SIZE)))
			break;
	}
}

/* A list of which the last one is not there, and one is there twice. */
static void kmt_bad_list(const struct kmt_object *obj, phys_addr_t phys)
{
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);
	phys_addr_t addrs[] = { phys, KMT_BAD_PHYS };

	kmt_expect(obj, "call that has to fail", "list with a hole", -ENOENT,
		   iommu_restore_pages_list(addrs, 2, &list));
	addrs[1] = phys;
	kmt_expect(obj, "call that has to fail", "list with the same", -ENOENT,
		   iommu_restore_pages_list(addrs, 2, &list));
	kmt_expect(obj, "call that has to fail", "list is empty", true,
		   iommu_pages_list_empty(&list));
}

/* The descriptors of a list that cannot be restored must not stay, either. */
static void kmt_bad_list_leak(const struct kmt_object *obj, phys_addr_t phys)
{
	const unsigned int rounds = 16384;
	long slab;

	/* Its quarantine keeps them. */
	if (IS_ENABLED(CONFIG_KASAN))
		return;

	slab = global_node_page_state_snapshot(NR_SLAB_UNRECLAIMABLE_B);
	for (unsigned int i = 0; i < rounds; i++) {
		kmt_bad_list(obj, phys);
		cond_resched();
	}
	/* Slabs of descriptors wait for readers. */
	rcu_barrier();
	slab = global_node_page_state_snapshot(NR_SLAB_UNRECLAIMABLE_B) - slab;

	/* other users of memory are noise */
	kmt_expect(obj, "failed restores of a list", "leak", 0,
		   slab > (long)PFN_DOWN(rounds * sizeof(struct ioptdesc)) ?
		   slab : 0);
}

/*
 * Calls that have to fail, on memory that is there to be restored. The restore
 * that follows shows that they changed nothing.
 */
static void kmt_bad_calls(const struct kmt_object *obj, phys_addr_t phys)
{
	unsigned int order = obj->order;
	unsigned long nr_pages = kmt_nr_pages(obj);
	phys_addr_t inside = phys + PAGE_SIZE;

	switch (obj->type) {
	case KMT_FOLIO:
		kmt_expect_error(obj, "folio, unaligned", -EINVAL, -EINVAL,
				 kho_folio_restore(phys + 8));
		kmt_expect_error(obj, "folio as page table", -EINVAL, -EINVAL,
				 kho_ptdesc_restore(phys));
		if (!order)
			break;
		kmt_expect_error(obj, "folio as pages", -EINVAL, -EINVAL,
				 kho_pages_restore(phys, order));
		kmt_expect_error(obj, "tail of a folio", -ENOENT, -EINVAL,
				 kho_folio_restore(inside));
		kmt_expect_error(obj, "folio as exact pages", -EINVAL, -EINVAL,
				 kho_pages_exact_restore(phys, obj->size));
		break;
	case KMT_PAGES:
	case KMT_COMPOUND:
		kmt_expect_error(obj, "pages, unaligned", -EINVAL, -EINVAL,
				 kho_pages_restore(phys + PAGE_SIZE / 2, order));
		kmt_expect_error(obj, "order + 1", -EINVAL, -EINVAL,
				 kho_pages_restore(phys, order + 1));
		kmt_expect_error(obj, "order beyond all", -EINVAL, -EINVAL,
				 kho_pages_restore(phys, 64 - PAGE_SHIFT));
		kmt_expect_error(obj, "order -1", -EINVAL, -EINVAL,
				 kho_pages_restore(phys, -1U));
		kmt_expect_error(obj, "pages as page table", -EINVAL, -EINVAL,
				 kho_ptdesc_restore(phys));
		if (!order)
			break;
		kmt_expect_error(obj, "order - 1", -EINVAL, -EINVAL,
				 kho_pages_restore(phys, order - 1));
		if (obj->type == KMT_PAGES)
			kmt_expect_error(obj, "block without its order", -EINVAL,
					 -EINVAL,
					 kho_restore_page_desc(phys,
							       MEMDESC_TYPE_PAGES(NULL)));
		kmt_expect_error(obj, "tail page", -ENOENT, -EINVAL,
				 kho_pages_restore(inside, 0));
		kmt_expect_error(obj, "exact pages", -EINVAL, -EINVAL,
				 kho_pages_exact_restore(phys, obj->size));
		/* A compound page is as good as a folio where it is untyped. */
		kmt_expect_error(obj, "pages as folio", -EINVAL, -EINVAL,
				 kho_folio_restore(phys));
		break;
	case KMT_IOPTDESC:
		kmt_expect_error(obj, "ioptdesc, unaligned", -EINVAL, -EINVAL,
				 iommu_restore_pages(phys + 8));
		kmt_expect_error(obj, "ioptdesc as folio", -EINVAL, -EINVAL,
				 kho_folio_restore(phys));
		kmt_expect_error(obj, "ioptdesc as pages", -EINVAL, -EINVAL,
				 kho_pages_restore(phys, order));
		kmt_bad_list(obj, phys);
		if (!obj->index)
			kmt_bad_list_leak(obj, phys);
		if (order)
			kmt_expect_error(obj, "tail of a table", -ENOENT,
					 -EINVAL, iommu_restore_pages(inside));
		break;
	case KMT_PAGES_EXACT:
		kmt_expect_error(obj, "exact, unaligned", -EINVAL, -EINVAL,
				 kho_pages_exact_restore(phys + 1, obj->size));
		kmt_expect_error(obj, "exact, no size", -EINVAL, -EINVAL,
				 kho_pages_exact_restore(phys, 0));
		kmt_expect_error(obj, "exact, too large", -EINVAL, -ENOENT,
				 kho_pages_exact_restore(phys, SZ_1G));
		kmt_expect_error(obj, "exact as pages by type", -EINVAL, -EINVAL,
				 kho_restore_page_desc(phys,
						       MEMDESC_TYPE_PAGES(NULL)));
		if (nr_pages < 2)
			break;
		kmt_expect_error(obj, "exact as folio", -EINVAL, -EINVAL,
				 kho_folio_restore(phys));
		kmt_expect_error(obj, "exact as block", -EINVAL, -EINVAL,
				 kho_pages_restore(phys,
						   ilog2(nr_pages)));
		break;
	case KMT_PTDESC:
	case KMT_PAGETABLE:
		kmt_expect_error(obj, "page table, unaligned", -EINVAL, -EINVAL,
				 kho_ptdesc_restore(phys + 8));
		kmt_expect_error(obj, "page table as folio", -EINVAL, -EINVAL,
				 kho_folio_restore(phys));
		kmt_expect_error(obj, "page table as pages", -EINVAL, -EINVAL,
				 kho_pages_restore(phys, order));
		kmt_expect_error(obj, "page table as exact pages", -EINVAL,
				 -EINVAL,
				 kho_pages_exact_restore(phys, obj->size));
		kmt_expect_error(obj, "page table by another type", -EINVAL,
				 -EINVAL,
				 kho_restore_page_desc(phys,
						       MEMDESC_TYPE_FOLIO(NULL)));
		if (!order)
			break;
		kmt_expect_error(obj, "tail of a page table", -ENOENT, -EINVAL,
				 kho_ptdesc_restore(inside));
		break;
	case KMT_KMALLOC:
		kmt_expect_error(obj, "inside of an object", -EINVAL, -ENOENT,
				 kho_slab_restore(phys + 1));
		kmt_expect_error(obj, "object of another cache", -EINVAL, -EINVAL,
				 kho_kmem_cache_restore(kmt_caches[0], phys));
		break;
	case KMT_LARGE_KMALLOC:
		kmt_expect_error(obj, "inside of large kmalloc", -EINVAL, -ENOENT,
				 kho_slab_restore(phys + 8));
		kmt_expect_error(obj, "tail of large kmalloc", -EINVAL, -ENOENT,
				 kho_slab_restore(inside));
		kmt_expect_error(obj, "large kmalloc as folio", -EINVAL, -EINVAL,
				 kho_folio_restore(phys));
		kmt_expect_error(obj, "large kmalloc as object", -ENOENT, -ENOENT,
				 kho_kmem_cache_restore(kmt_caches[0], phys));
		break;
	case KMT_KMEM_CACHE:
		kmt_expect_error(obj, "inside of an object", -EINVAL, -ENOENT,
				 kho_kmem_cache_restore(kmt_cache(obj), phys + 8));
		kmt_expect_error(obj, "object of another cache", -EINVAL, -EINVAL,
				 kho_kmem_cache_restore(kmt_caches[!(obj->index % 2)],
							phys));
		break;
	default:
		break;
	}
}

static void kmt_bad_ser(const struct kmt_object *obj,
			const struct kho_vmalloc *ser, const char *what)
{
	void *addr = kho_vmalloc_restore(ser);

	if (!kmt_expect(obj, "call that has to fail", what, true, IS_ERR(addr)))
		vfree(addr);
}

/* Damages one word of the first chunk of page addresses for one call. */
static void kmt_bad_chunk(const struct kmt_object *obj, u64 *word, u64 value,
			  const char *what)
{
	u64 old = *word;

	*word = value;
	kmt_bad_ser(obj, &obj->ser, what);
	*word = old;
}

static void kmt_bad_vmalloc(const struct kmt_object *obj)
{
	struct kho_vmalloc ser = obj->ser;
	unsigned int last = PAGE_SIZE / sizeof(u64) - 1;
	u64 *chunk = phys_to_virt(ser.first.phys);
	struct page *page;

	ser.first.phys = KMT_BAD_PHYS;
	kmt_bad_ser(obj, &ser, "first chunk beyond memory");
	ser.first.phys = 0;
	kmt_bad_ser(obj, &ser, "no first chunk");
	ser.first.phys = obj->ser.first.phys + sizeof(u64);
	kmt_bad_ser(obj, &ser, "first chunk unaligned");

	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (page) {
		ser.first.phys = page_to_phys(page);
		kmt_bad_ser(obj, &ser, "first chunk not preserved, empty");
		memcpy(page_address(page), chunk, PAGE_SIZE);
		kmt_bad_ser(obj, &ser, "first chunk not preserved, copied");
		memset(page_address(page), 0xff, PAGE_SIZE);
		kmt_bad_ser(obj, &ser, "first chunk not preserved, garbage");
		kmt_expect(obj, "chunk not preserved", "refcount", 1,
			   page_ref_count(page));
		__free_page(page);
	}

	ser = obj->ser;
	ser.total_pages++;
	kmt_bad_ser(obj, &ser, "one page more");
	ser.total_pages = obj->ser.total_pages - 1;
	kmt_bad_ser(obj, &ser, "one page less");
	ser.total_pages = -1U;
	kmt_bad_ser(obj, &ser, "total pages -1");

	ser = obj->ser;
	ser.order = 63;
	kmt_bad_ser(obj, &ser, "order 63");
	ser.order = obj->ser.order + 1;
	if (obj->ser.total_pages % (1U << ser.order))
		kmt_bad_ser(obj, &ser, "order that does not divide the pages");
	ser = obj->ser;
	ser.flags |= 0x8000;
	kmt_bad_ser(obj, &ser, "unknown flag");

	/* The first word of a chunk is the address of the next one. */
	kmt_bad_chunk(obj, chunk, obj->ser.first.phys, "chunk after itself");
	kmt_bad_chunk(obj, chunk, KMT_BAD_PHYS, "next chunk beyond memory");

	/* The last word in use is an address, or a run of them. */
	while (last && !chunk[last])
		last--;
	if (!kmt_expect(obj, "chunk", "has an entry", true, last > 0))
		return;
	kmt_bad_chunk(obj, &chunk[last], chunk[last] | KMT_BAD_PHYS,
		      "page beyond memory");
	kmt_bad_chunk(obj, &chunk[last], 0, "missing page");
	if (last > 1)
		kmt_bad_chunk(obj, &chunk[last], chunk[last - 1],
			      "page twice, or one entry of the header as page");
}

/* Memory that nobody preserved has nothing to be restored. */
static void kmt_bad_addresses(void)
{
	struct kmt_object obj = { .type = KMT_FOLIO };
	struct page *page = alloc_pages(GFP_KERNEL, 1);
	phys_addr_t phys;

	if (!page)
		return;
	phys = page_to_phys(page);

	kmt_expect_error(&obj, "folio, never preserved", -ENOENT, -ENOENT,
			 kho_folio_restore(phys));
	kmt_expect_error(&obj, "folio, beyond memory", -ENOENT, -EINVAL,
			 kho_folio_restore(KMT_BAD_PHYS));
	obj.type = KMT_PAGES;
	kmt_expect_error(&obj, "pages, never preserved", -ENOENT, -ENOENT,
			 kho_pages_restore(phys, 1));
	kmt_expect_error(&obj, "pages, beyond memory", -ENOENT, -EINVAL,
			 kho_pages_restore(KMT_BAD_PHYS, 0));
	obj.type = KMT_PAGES_EXACT;
	kmt_expect_error(&obj, "exact, never preserved", -ENOENT, -ENOENT,
			 kho_pages_exact_restore(phys, PAGE_SIZE));
	kmt_expect_error(&obj, "exact, beyond memory", -ENOENT, -EINVAL,
			 kho_pages_exact_restore(KMT_BAD_PHYS, PAGE_SIZE));
	obj.type = KMT_PTDESC;
	kmt_expect_error(&obj, "page table, never preserved", -ENOENT, -ENOENT,
			 kho_ptdesc_restore(phys));
	kmt_expect_error(&obj, "page table, beyond memory", -ENOENT, -EINVAL,
			 kho_ptdesc_restore(KMT_BAD_PHYS));
	kmt_expect(&obj, "page never preserved", "refcount", 1,
		   page_ref_count(page));
	__free_pages(page, 1);
}

/* A restore that fails on its last page must not keep memory of its own. */
static void kmt_bad_leak(const struct kmt_object *obj)
{
	u64 *chunk = phys_to_virt(obj->ser.first.phys);
	unsigned int last = PAGE_SIZE / sizeof(u64) - 1;
	long free_pages;

	while (last && !chunk[last])
		last--;

	free_pages = global_zone_page_state(NR_FREE_PAGES);
	for (unsigned int i = 0; i < KMT_LEAK_ROUNDS; i++) {
		kmt_bad_chunk(obj, &chunk[last], chunk[last] | KMT_BAD_PHYS,
			      "page beyond memory, repeated");
		cond_resched();
	}
	free_pages -= global_zone_page_state(NR_FREE_PAGES);

	/* other users of memory are noise */
	kmt_expect(obj, "failed restores", "leak", false,
		   free_pages > KMT_LEAK_ROUNDS / 2);
}

static struct kmt_object *kmt_new_object(void)
{
	struct kmt_object *obj = kzalloc_obj(*obj);

	if (obj)
		INIT_LIST_HEAD(&obj->list);
	return obj;
}

/* Slab objects are restored, and freed in random order, by all CPUs at once. */

struct kmt_work {
	struct work_struct work;
	const struct kmt_entry *entries;	/* to restore, or NULL to free */
	void **objs;
	unsigned int nr;
	unsigned int first;
	unsigned int step;
};

/* Those that are restored by all CPUs at once, some of each slab. */
static bool kmt_restore_early(const struct kmt_entry *entry)
{
	return entry->type == KMT_KMALLOC && entry->index % 3 == 1;
}

static void kmt_work(struct work_struct *work)
{
	struct kmt_work *w = container_of(work, struct kmt_work, work);

	for (unsigned int i = w->first; i < w->nr; i += w->step) {
		if (!w->entries)
			kfree(w->objs[i]);
		else if (kmt_restore_early(&w->entries[i]))
			w->objs[i] = kho_slab_restore(w->entries[i].phys);
		cond_resched();
	}
}

static void kmt_on_all_cpus(const struct kmt_entry *entries, void **objs,
			    unsigned int nr)
{
	struct kmt_work works[4];
	unsigned int n = 0, cpu;

	cpus_read_lock();
	for_each_online_cpu(cpu) {
		struct kmt_work *w = &works[n];

		if (n == ARRAY_SIZE(works))
			break;
		INIT_WORK_ONSTACK(&w->work, kmt_work);
		w->entries = entries;
		w->objs = objs;
		w->nr = nr;
		w->first = n++;
		w->step = min_t(unsigned int, num_online_cpus(),
				ARRAY_SIZE(works));
		schedule_work_on(cpu, &w->work);
	}
	for (unsigned int i = 0; i < n; i++) {
		flush_work(&works[i].work);
		destroy_work_on_stack(&works[i].work);
	}
	cpus_read_unlock();
}

static void kmt_free_objects(void **objs, unsigned int nr)
{
	u64 state = 88172645463325252ULL;

	for (unsigned int i = nr; i > 1; i--) {
		unsigned int j = kmt_random(&state) % i;

		swap(objs[i - 1], objs[j]);
	}
	kmt_on_all_cpus(NULL, objs, nr);
}

/* Fill the free places of slabs that have objects still to be restored. */
static void kmt_add_noise(const struct kmt_object *obj)
{
	void *noise;

	if (kmt_nr_noise == KMT_MAX_NOISE)
		return;
	if (obj->type == KMT_KMEM_CACHE)
		noise = kmem_cache_alloc(kmt_cache(obj), GFP_KERNEL);
	else
		noise = kmalloc(obj->size, kmt_kmalloc_gfp(obj));
	if (!noise)
		return;
	memset(noise, 0xee, obj->size);
	kmt_noise[kmt_nr_noise++] = noise;
}

static void kmt_free_noise(void)
{
	kmt_free_objects(kmt_noise, kmt_nr_noise);
	kmt_nr_noise = 0;
}

static void kmt_check_caches(void)
{
#ifdef CONFIG_SLUB_DEBUG
	struct kmt_object obj = { .type = KMT_KMEM_CACHE };

	for (unsigned int i = 0; i < ARRAY_SIZE(kmt_caches); i++) {
		/* Free pointers beside the objects are not valid otherwise. */
		if (kmt_caches[i]->ctor &&
		    !(kmt_caches[i]->flags & SLAB_DEBUG_FLAGS))
			continue;
		kmt_expect(&obj, "cache", "is valid", true,
			   validate_slab_cache(kmt_caches[i]) >= 0);
	}
#endif
}

static void kmt_hold(struct kmt_object *obj)
{
	list_add_tail(&obj->list, &kmt_objects);
}

/* Frees the object by the ordinary function and forgets it. */
static void kmt_release(struct kmt_object *obj)
{
	long nr = global_node_page_state_snapshot(NR_PAGETABLE);

	/* kho_unpreserve_free() is the ordinary function here */
	if (obj->type == KMT_OLD_ALLOC && obj->preserved) {
		kho_unpreserve_free(obj->addr);
		kmt_stats[obj->type].preserved--;
	} else {
		kmt_unpreserve(obj);
		kmt_free(obj);
	}
	kmt_note_pagetables(obj, nr, -1);
	kmt_stats[obj->type].freed++;
	list_del(&obj->list);
	kfree(obj);
}

static void kmt_expect_iommu(const struct kmt_object *obj, int sign)
{
	if (obj->type != KMT_IOPTDESC)
		return;
	for (int i = 0; i < ARRAY_SIZE(kmt_iommu_counters); i++)
		kmt_iommu_counters[i].expected += sign * (1L << obj->order);
}

/* No device is set up while this runs. */
static void kmt_check_iommu(const struct kmt_object *obj)
{
	for (int i = 0; i < ARRAY_SIZE(kmt_iommu_counters); i++) {
		struct kmt_counter *c = &kmt_iommu_counters[i];
		long found = global_node_page_state_snapshot(c->item);

		if (found != c->expected)
			found = kmt_settled(c->item);
		kmt_expect(obj, "restore", c->name, c->expected, found);
		c->expected = found;
	}
}

/* Folios that are restored all at once. */
static bool kmt_restore_at_once(const struct kmt_entry *entry)
{
	return entry->type == KMT_FOLIO && entry->index % 5 == 3 &&
	       !(entry->flags & KMT_POISONED);
}

static int kmt_restore_batch(const struct kmt_entry *entries, void **restored,
			     unsigned int nr)
{
	const struct kmt_object obj = { .type = KMT_FOLIO };
	struct folio **folios;
	unsigned int n = 0;
	phys_addr_t *phys;
	int err = -ENOMEM;

	phys = kvcalloc(nr + 1, sizeof(*phys), GFP_KERNEL);
	folios = kvcalloc(nr + 1, sizeof(*folios), GFP_KERNEL);
	if (!phys || !folios)
		goto out;

	for (unsigned int i = 0; i < nr; i++) {
		if (kmt_restore_at_once(&entries[i]))
			phys[n++] = entries[i].phys;
	}
	err = 0;
	if (!n)
		goto out;

	/* With the first one twice none is restored. */
	phys[n] = phys[0];
	kmt_expect(&obj, "call that has to fail", "batch with the same", -ENOENT,
		   kho_folios_restore(phys, n + 1, folios));
	phys[n] = KMT_BAD_PHYS;
	kmt_expect(&obj, "call that has to fail", "batch with a hole", -ENOENT,
		   kho_folios_restore(phys, n + 1, folios));

	err = kho_folios_restore(phys, n, folios);
	if (!kmt_expect(&obj, "restore of a batch", "error", 0, err))
		goto out;
	n = 0;
	for (unsigned int i = 0; i < nr; i++) {
		if (kmt_restore_at_once(&entries[i]))
			restored[i] = folio_address(folios[n++]);
	}
out:
	kvfree(folios);
	kvfree(phys);
	return err;
}

static int kmt_restore_entry(const struct kmt_entry *entry, void *restored,
			     long *nr_vmalloc)
{
	bool bad_calls = !restored && (entry->index < 16 || !(entry->index % 8));
	struct kmt_object *obj = kmt_new_object();
	struct kmt_stats *stats = &kmt_stats[entry->type];
	long nr, nr_slab, tables;
	void *addr;
	int err;

	if (!obj)
		return -ENOMEM;

	obj->type = entry->type;
	obj->index = entry->index;
	obj->order = entry->order;
	obj->size = entry->size;
	obj->seed = entry->seed;
	memcpy(&obj->ser, entry->ser, sizeof(obj->ser));
	stats->objects++;
	stats->bytes += obj->size;

	if (entry->flags & KMT_POISONED) {
		if (!restored)
			restored = kmt_restore(obj, entry->phys);
		/* These do not tell this error from others. */
		if (!kmt_is_slab(obj->type) && obj->type < KMT_OLD_FOLIO)
			kmt_expect(obj, "restore of poisoned memory", "error",
				   -EHWPOISON, PTR_ERR(restored));
		kmt_expect(obj, "restore of poisoned memory", "fails", true,
			   IS_ERR(restored));
		kmt_poisoned++;
		kfree(obj);
		return 0;
	}

	if (bad_calls) {
		kmt_bad_calls(obj, entry->phys);
		if (kmt_is_vmalloc(obj->type) && obj->type != KMT_OLD_VMALLOC)
			kmt_bad_vmalloc(obj);
		/* the largest one, so that each leak is one of pages */
		if (obj->type == KMT_VMALLOC && obj->size > SZ_4M)
			kmt_bad_leak(obj);
	}

	nr = global_node_page_state_snapshot(NR_VMALLOC);
	nr_slab = global_node_page_state_snapshot(NR_SLAB_UNRECLAIMABLE_B);
	tables = global_node_page_state_snapshot(NR_PAGETABLE);
	/* The old entry points do not tell this error from others. */
	if (restored)
		addr = restored;
	else if (bad_calls && obj->type < KMT_OLD_FOLIO)
		addr = kmt_restore_nomem(obj, entry->phys);
	else
		addr = kmt_restore(obj, entry->phys);
	nr = global_node_page_state_snapshot(NR_VMALLOC) - nr;
	nr_slab = global_node_page_state_snapshot(NR_SLAB_UNRECLAIMABLE_B) - nr_slab;
	kmt_note_pagetables(obj, tables, 1);

	if (!kmt_expect(obj, "restore", "error", 0, PTR_ERR_OR_ZERO(addr))) {
		stats->lost++;
		kfree(obj);
		return 0;
	}
	obj->addr = addr;
	stats->restored++;
	kmt_hold(obj);

	kmt_expect_iommu(obj, 1);
	kmt_check_iommu(obj);

	/* An area may be larger than its object, which a module cannot see. */
	if (!kmt_is_vmalloc(obj->type))
		*nr_vmalloc += nr;
	else if (entry->vm_known)
		*nr_vmalloc += nr - (long)entry->vm_pages;

	if (kmt_is_vmalloc(obj->type)) {
		kmt_check_vmalloc(obj, entry);
	} else if (kmt_is_slab(obj->type) &&
		   (entry->flags & KMT_GUARDED || copies)) {
		kmt_copied += kasan_reset_tag(addr) != phys_to_virt(entry->phys);
		kmt_guarded += !!(entry->flags & KMT_GUARDED);
	} else {
		kmt_expect(obj, "restore", "address",
			   (long)phys_to_virt(entry->phys),
			   (long)kasan_reset_tag(addr));
	}

	if (obj->type == KMT_LARGE_KMALLOC && !bad_calls) {
		bool bare = kmt_is_bare(obj);

		kmt_large[bare]++;
		kmt_large_wrong[bare] += nr_slab != (bare ? 0 : 1L << obj->order);
	}

	/* The old entry points answer this with a warning. */
	if (obj->type < KMT_OLD_FOLIO)
		kmt_expect_error(obj, "restore twice", -ENOENT, -ENOENT,
				 kmt_restore(obj, entry->phys));

	if (kmt_is_slab(obj->type)) {
		kmt_dma += !strcmp(page_zone(virt_to_page(addr))->name, "DMA");
		kmt_add_noise(obj);
	} else {
		err = kmt_check_pages(obj);
		if (err)
			return err;
	}
	kmt_compare(obj, "restored memory");

	if (obj->index % 3 == 0) {
		kmt_expect_iommu(obj, -1);
		kmt_release(obj);
	}
	return 0;
}

static bool kmt_manifest_valid(const struct kmt_manifest *manifest, size_t size)
{
	return size == sizeof(*manifest) && manifest->magic == KMT_MAGIC &&
	       manifest->version == KMT_VERSION &&
	       manifest->entry_size == sizeof(struct kmt_entry);
}

static bool kmt_entries_valid(const struct kmt_entry *entries, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		if (entries[i].type >= KMT_NR_TYPES ||
		    !kmt_types[entries[i].type].count)
			return false;
	}
	return true;
}

/* The entries of the manifest, for vfree(). */
static struct kmt_entry *kmt_take_entries(const struct kmt_manifest *manifest)
{
	struct kmt_entry *entries;
	struct kho_vmalloc ser;

	memcpy(&ser, manifest->ser, sizeof(ser));
	entries = kho_vmalloc_restore(&ser);
	if (IS_ERR(entries))
		return entries;
	if (ser.total_pages * PAGE_SIZE >=
	    array_size(manifest->nr_entries, sizeof(*entries)) &&
	    kmt_entries_valid(entries, manifest->nr_entries))
		return entries;
	vfree(entries);
	return ERR_PTR(-EINVAL);
}

static int kmt_cmd_restore(void)
{
	struct kmt_manifest *manifest;
	struct kmt_object noise = { .type = KMT_VMALLOC };
	struct kmt_entry *entries;
	long nr_vmalloc = 0;
	phys_addr_t phys;
	void **restored;
	size_t size;
	int err;

	if (kmt_restored)
		return -ENOENT;

	err = kho_retrieve_subtree(KMT_SUBTREE, &phys, &size);
	if (err)
		return err;

	manifest = phys_to_virt(phys);
	if (!kmt_manifest_valid(manifest, size)) {
		pr_err("the manifest at %pa is damaged or of another version\n",
		       &phys);
		return -EINVAL;
	}

	/* From here on nothing can be done a second time. */
	kmt_restored = true;
	kmt_generation = manifest->generation;
	entries = kmt_take_entries(manifest);
	if (IS_ERR(entries)) {
		pr_err("the entries of the manifest: %pe\n", entries);
		return PTR_ERR(entries);
	}

	kmt_bad_addresses();
	restored = kvcalloc(manifest->nr_entries, sizeof(*restored), GFP_KERNEL);
	if (!restored)
		return -ENOMEM;
	for (int i = 0; i < ARRAY_SIZE(kmt_iommu_counters); i++)
		kmt_iommu_counters[i].expected =
			kmt_settled(kmt_iommu_counters[i].item);
	kmt_on_all_cpus(entries, restored, manifest->nr_entries);
	err = kmt_restore_batch(entries, restored, manifest->nr_entries);
	if (err)
		return err;
	for (unsigned int i = 0; i < manifest->nr_entries; i++) {
		err = kmt_restore_entry(&entries[i], restored[i], &nr_vmalloc);
		if (err)
			return err;
		cond_resched();
	}
	kvfree(restored);

	pr_info("other users: %ld pages of vmalloc, %u and %u of %u and %u objects of large kmalloc\n",
		nr_vmalloc, kmt_large_wrong[0], kmt_large_wrong[1], kmt_large[0],
		kmt_large[1]);
	kmt_expect(&noise, "NR_VMALLOC", "pages not accounted", 0,
		   abs(nr_vmalloc) > KMT_SLACK_VMALLOC ? nr_vmalloc : 0);
	noise.type = KMT_LARGE_KMALLOC;
	for (int i = 0; i < 2; i++)
		kmt_expect(&noise, "NR_SLAB_UNRECLAIMABLE_B", "objects not accounted",
			   0, KMT_SLACK_SLAB_SHARE * kmt_large_wrong[i] > kmt_large[i] ?
			   kmt_large_wrong[i] : 0);

	kmt_check_caches();
	kmt_free_noise();
	kmt_check_caches();
	if (manifest->poisoned) {
		struct page *page = phys_to_page(manifest->poisoned);

		noise.type = KMT_PAGES;
		kmt_expect(&noise, "poisoned page", "is marked", true,
			   PageHWPoison(page));
		kmt_expect(&noise, "poisoned page", "refcount", 1,
			   page_ref_count(page));
		pr_info("%lu poisoned objects were not restored\n", kmt_poisoned);
	}
	pr_info("%lu slab objects came back as copies, %lu for kfence, %lu of zone DMA\n",
		kmt_copied, kmt_guarded, kmt_dma);

	vfree(entries);
	kho_restore_free(manifest);
	return 0;
}

static void kmt_fill_entry(struct kmt_entry *entry,
			   const struct kmt_object *obj)
{
	struct vm_struct *vm = kmt_vm_area(obj);

	if (kmt_is_slab(obj->type))
		entry->phys = virt_to_phys(obj->addr);
	else
		entry->phys = page_to_phys(kmt_page(obj, 0));
	entry->flags = is_kfence_address(obj->addr) ? KMT_GUARDED : 0;
	entry->size = obj->size;
	entry->seed = obj->seed;
	entry->type = obj->type;
	entry->index = obj->index;
	entry->order = obj->order;
	memcpy(entry->ser, &obj->ser, sizeof(obj->ser));
	if (vm) {
		entry->vm_known = 1;
		entry->vm_pages = vm->nr_pages;
		entry->vm_order = kmt_vm_order(vm);
		entry->vm_flags = vm->flags & (VM_ALLOC | VM_ALLOW_HUGE_VMAP);
	}
}

static void kmt_unpublish(void)
{
	struct kho_vmalloc ser;

	if (!kmt_manifest)
		return;
	memcpy(&ser, kmt_manifest->ser, sizeof(ser));
	kho_remove_subtree(kmt_manifest);
	kho_vmalloc_unpreserve(&ser);
	vfree(kmt_entries);
	kho_unpreserve_free(kmt_manifest);
	kmt_manifest = NULL;
}

static int kmt_publish(void)
{
	struct kmt_manifest *manifest;
	struct kho_vmalloc ser;
	struct kmt_object *obj;
	unsigned int nr = 0;
	int err;

	list_for_each_entry(obj, &kmt_objects, list)
		nr += obj->preserved;

	manifest = kho_alloc_preserve(sizeof(*manifest));
	if (IS_ERR(manifest))
		return PTR_ERR(manifest);

	manifest->magic = KMT_MAGIC;
	manifest->version = KMT_VERSION;
	manifest->entry_size = sizeof(struct kmt_entry);
	manifest->generation = kmt_generation + 1;
	manifest->nr_entries = nr;
	manifest->poisoned = 0;

	/* There can be more of them than fit any block of pages. */
	err = -ENOMEM;
	kmt_entries = vzalloc(array_size(nr, sizeof(*kmt_entries)));
	if (!kmt_entries)
		goto free_manifest;
	nr = 0;
	list_for_each_entry(obj, &kmt_objects, list) {
		if (obj->preserved)
			kmt_fill_entry(&kmt_entries[nr++], obj);
	}

	err = kho_vmalloc_preserve(kmt_entries, &ser);
	if (err)
		goto free_entries;
	memcpy(manifest->ser, &ser, sizeof(ser));

	err = kho_add_subtree(KMT_SUBTREE, manifest, sizeof(*manifest));
	if (err)
		goto unpreserve;
	kmt_manifest = manifest;
	return 0;

unpreserve:
	kho_vmalloc_unpreserve(&ser);
free_entries:
	vfree(kmt_entries);
free_manifest:
	kho_unpreserve_free(manifest);
	return err;
}

static int kmt_preserve_new(enum kmt_type type, unsigned int index, u64 seed)
{
	struct kmt_object *obj = kmt_new_object();
	int err;

	if (!obj)
		return -ENOMEM;

	kmt_init_object(obj, type, index, seed);
	err = kmt_alloc(obj);
	if (err) {
		pr_err("%s %u (order %u, %zu bytes): allocate: %pe\n",
		       kmt_types[type].name, index, obj->order, obj->size,
		       ERR_PTR(err));
		kfree(obj);
		return err;
	}

	kmt_stats[type].objects++;
	kmt_stats[type].bytes += obj->size;
	kmt_hold(obj);
	kmt_fill(obj);

	if (type == KMT_KVMALLOC)
		kmt_expect(obj, "kvmalloc", "is_vmalloc_addr", true,
			   is_vmalloc_addr(obj->addr));

	err = index % 8 ? kmt_preserve(obj) : kmt_preserve_nomem(obj);
	kmt_expect(obj, "preserve", "error", 0, err);

	/* Undone and done again it must be as if done once. */
	if (!err && index % 4 == 1) {
		kmt_unpreserve(obj);
		err = kmt_preserve(obj);
		kmt_expect(obj, "preserve again", "error", 0, err);
	}
	return err;
}

static int kmt_cmd_preserve(u64 seed)
{
	unsigned int max = 0;
	int err;

	if (kmt_manifest)
		return -EBUSY;

	for (unsigned int type = 0; type < KMT_NR_TYPES; type++)
		max = max(max, kmt_count(type));

	/* By index first: neighbours in memory are of different types. */
	for (unsigned int index = 0; index < max; index++) {
		for (unsigned int type = 0; type < KMT_NR_TYPES; type++) {
			if (index >= kmt_count(type))
				continue;
			err = kmt_preserve_new(type, index, seed);
			if (err)
				return err;
		}
		cond_resched();
	}

	return kmt_publish();
}

static int kmt_cmd_again(u64 seed)
{
	struct kmt_object *obj, *next;

	if (kmt_manifest)
		return -EBUSY;

	list_for_each_entry_safe(obj, next, &kmt_objects, list) {
		kmt_compare(obj, "memory restored earlier");
		/* half of what restore has left of each type */
		if (obj->index / 3 % 2)
			kmt_release(obj);
		else
			kmt_expect(obj, "preserve restored memory", "error", 0,
				   kmt_preserve(obj));
	}

	return kmt_cmd_preserve(seed);
}

static int kmt_cmd_free(void)
{
	struct kmt_object *obj, *next;
	unsigned int nr = 0, max = 0;
	void **objs;

	list_for_each_entry(obj, &kmt_objects, list)
		max += obj->type == KMT_KMALLOC;
	objs = kvmalloc_array(max, sizeof(*objs), GFP_KERNEL);
	if (!objs)
		max = 0;

	kmt_unpublish();
	list_for_each_entry_safe(obj, next, &kmt_objects, list) {
		kmt_compare(obj, "memory to be freed");
		cond_resched();
		if (obj->type != KMT_KMALLOC || nr == max) {
			kmt_release(obj);
			continue;
		}
		kmt_unpreserve(obj);
		objs[nr++] = obj->addr;
		kmt_stats[obj->type].freed++;
		list_del(&obj->list);
		kfree(obj);
	}
	kmt_free_objects(objs, nr);
	kvfree(objs);

	kmt_check_caches();
	for (unsigned int i = 0; i < ARRAY_SIZE(kmt_caches); i++)
		kmem_cache_shrink(kmt_caches[i]);
	/* What is freed lazily is not free yet, nor is its KASAN shadow. */
	vm_unmap_aliases();
	return 0;
}

/* Metadata goes where the next kernel finds it; other memory may be elsewhere. */
static int kmt_cmd_metadata(u64 number)
{
	struct kmt_object obj = { .type = KMT_OLD_ALLOC, .size = PAGE_SIZE };
	unsigned int refused = 0, nr = 0;
	struct page *page;
	void **pages;

	pages = kvcalloc(number, 2 * sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;

	for (; nr < number; nr++) {
		void *mem = kho_alloc_preserve(PAGE_SIZE);

		if (!kmt_expect(&obj, "metadata", "error", 0, PTR_ERR_OR_ZERO(mem)))
			break;
		pages[2 * nr] = mem;
		page = alloc_page(GFP_KERNEL);
		if (!page)
			continue;
		pages[2 * nr + 1] = page_address(page);
		if (!kho_pages_preserve(page, 0))
			kho_pages_unpreserve(page, 0);
		else
			refused++;
		cond_resched();
	}
	while (nr--) {
		kho_unpreserve_free(pages[2 * nr]);
		free_page((unsigned long)pages[2 * nr + 1]);
	}
	kvfree(pages);
	pr_info("metadata: %u of %llu other pages were refused\n", refused, number);
	return 0;
}

#ifdef CONFIG_MEMORY_FAILURE
/* Which preserved objects have a page with an error, and which page. */
static struct page *kmt_poison_page(const struct kmt_entry *entry)
{
	const struct kmt_object obj = {
		.type = entry->type, .order = entry->order, .size = entry->size,
		.addr = phys_to_virt(entry->phys),
	};

	/* Of vmalloc areas the first page is known. */
	if (entry->index != 6 || entry->flags & KMT_GUARDED)
		return NULL;
	if (kmt_is_slab(entry->type) || kmt_is_vmalloc(entry->type))
		return virt_to_page(obj.addr);
	return virt_to_page(obj.addr) + kmt_nr_pages(&obj) - 1;
}

static int kmt_cmd_poison(void)
{
	struct page *page;
	unsigned int nr = 0;

	if (!kmt_manifest)
		return -ENOENT;

	for (unsigned int i = 0; i < kmt_manifest->nr_entries; i++) {
		page = kmt_poison_page(&kmt_entries[i]);
		if (!page)
			continue;
		/* What it says to that depends on what the page is. */
		memory_failure(page_to_pfn(page), MF_SW_SIMULATED);
		kmt_entries[i].flags |= KMT_POISONED;
		nr++;
		/* And all that shares a slab with it. */
		if (!kmt_is_slab(kmt_entries[i].type))
			continue;
		for (unsigned int j = 0; j < kmt_manifest->nr_entries; j++) {
			struct page *other = phys_to_page(kmt_entries[j].phys);

			if (kmt_is_slab(kmt_entries[j].type) &&
			    compound_head(other) == compound_head(page))
				kmt_entries[j].flags |= KMT_POISONED;
		}
	}

	page = alloc_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	memory_failure(page_to_pfn(page), MF_SW_SIMULATED);
	kmt_manifest->poisoned = page_to_phys(page);
	__free_page(page);
	pr_info("%u objects and a page were poisoned\n", nr);
	return 0;
}
#else
static int kmt_cmd_poison(void)
{
	return -EOPNOTSUPP;
}
#endif

static unsigned long kmt_mismatches(void)
{
	unsigned long sum = 0;

	for (unsigned int type = 0; type < KMT_NR_TYPES; type++)
		sum += kmt_stats[type].mismatches;
	return sum;
}

static int kmt_run(char *line)
{
	const struct kmt_object noise = { .type = KMT_PTDESC };
	unsigned long before = kmt_mismatches();
	char *cmd = strsep(&line, " ");
	u64 seed = 0;
	int err;

	if (line && kstrtou64(strim(line), 0, &seed))
		return -EINVAL;

	kmt_checks = 0;
	kmt_pagetable_noise = 0;
	for (unsigned int type = 0; type < KMT_NR_TYPES; type++)
		kmt_stats[type].lines = 0;

	if (!strcmp(cmd, "preserve"))
		err = kmt_cmd_preserve(seed);
	else if (!strcmp(cmd, "restore"))
		err = kmt_cmd_restore();
	else if (!strcmp(cmd, "again"))
		err = kmt_cmd_again(seed);
	else if (!strcmp(cmd, "free"))
		err = kmt_cmd_free();
	else if (!strcmp(cmd, "poison"))
		err = kmt_cmd_poison();
	else if (!strcmp(cmd, "metadata"))
		err = kmt_cmd_metadata(seed);
	else
		return -EINVAL;

	kmt_expect(&noise, "NR_PAGETABLE", "pages not accounted", 0,
		   abs(kmt_pagetable_noise) > KMT_SLACK_PAGETABLE ?
		   kmt_pagetable_noise : 0);

	for (unsigned int type = 0; type < KMT_NR_TYPES; type++) {
		if (kmt_failed[type])
			pr_info("%s: %s: %lu allocations failed\n", cmd,
				kmt_types[type].name, kmt_failed[type]);
		kmt_failed[type] = 0;
	}
	before = kmt_mismatches() - before;
	pr_info("%s: %lu checks, %lu mismatches, error %d, page tables of other users: %ld\n",
		cmd, kmt_checks, before, err, kmt_pagetable_noise);
	if (err)
		return err;
	return before ? -EIO : 0;
}

static ssize_t kmt_cmd_write(struct file *file, const char __user *ubuf,
			     size_t count, loff_t *ppos)
{
	char line[64];
	int err;

	if (!count || count >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, ubuf, count))
		return -EFAULT;
	line[count] = '\0';

	guard(mutex)(&kmt_lock);
	err = kmt_run(strim(line));
	return err ?: count;
}

static const struct file_operations kmt_cmd_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= kmt_cmd_write,
	.llseek	= noop_llseek,
};

static int kmt_report_show(struct seq_file *m, void *unused)
{
	unsigned long unsaved[KMT_NR_TYPES] = {};
	struct kmt_object *obj;

	guard(mutex)(&kmt_lock);

	list_for_each_entry(obj, &kmt_objects, list)
		unsaved[obj->type] += !obj->preserved;

	for (unsigned int type = 0; type < KMT_NR_TYPES; type++) {
		const struct kmt_stats *s = &kmt_stats[type];

		if (!kmt_types[type].count || (!kmt_count(type) && !s->objects))
			continue;
		/* Where nothing was tested nothing has passed. */
		seq_printf(m, "type=%s objects=%lu bytes=%lu preserved=%lu restored=%lu freed=%lu leaked=%lu verdict=%s\n",
			   kmt_types[type].name, s->objects, s->bytes,
			   s->preserved, s->restored, s->freed,
			   unsaved[type] + s->lost,
			   s->objects && !s->mismatches ? "pass" : "fail");
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(kmt_report);

static void kmt_ctor(void *obj)
{
	memset(obj, 0xc7, 200);
}

static int __init kmt_init(void)
{
	if (!kho_is_enabled()) {
		pr_info("kexec handover is off\n");
		return -EOPNOTSUPP;
	}

	kmt_caches[0] = kmem_cache_create("kho_memdesc_test-200", 200, 0,
					  SLAB_NO_MERGE, kmt_ctor);
	kmt_caches[1] = kmem_cache_create("kho_memdesc_test-72", 72, 0,
					  SLAB_NO_MERGE, NULL);
	if (!kmt_caches[0] || !kmt_caches[1]) {
		kmem_cache_destroy(kmt_caches[0]);
		kmem_cache_destroy(kmt_caches[1]);
		return -ENOMEM;
	}

	kmt_dir = debugfs_create_dir("kho_memdesc_test", NULL);
	debugfs_create_file("cmd", 0200, kmt_dir, NULL, &kmt_cmd_fops);
	debugfs_create_file("report", 0400, kmt_dir, NULL, &kmt_report_fops);
	return 0;
}
module_init(kmt_init);

static void __exit kmt_exit(void)
{
	debugfs_remove(kmt_dir);
	guard(mutex)(&kmt_lock);
	kmt_cmd_free();
	kmem_cache_destroy(kmt_caches[0]);
	kmem_cache_destroy(kmt_caches[1]);
}
module_exit(kmt_exit);

MODULE_DESCRIPTION("Test of the typed kexec handover");
MODULE_LICENSE("GPL");
