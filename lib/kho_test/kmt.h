/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Test of the typed kexec handover between kernels: what its files share.
 *
 * main.c	the commands
 * type.c	the table of types, and the checks that are counted for a type
 * restore.c	the command "restore"
 * poison.c	the command "poison"
 * manifest.c	the list of objects that is handed over with them
 * object.c	what can be done to an object of any type
 * state.c	checks of the pages of a restored object
 *
 * Each other file has types that belong together. A type is a struct kmt_ops,
 * which the table in type.c points at.
 */
#ifndef _KMT_H
#define _KMT_H

#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/handover_test.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/sizes.h>

/* A physical address at which no machine has memory. */
#define KMT_BAD_PHYS		BIT_ULL(51)

/* Larger blocks exist with large base pages only, and do not fit small guests. */
#define KMT_MAX_BLOCK		SZ_32M

#define KMT_GFP			(GFP_KERNEL | __GFP_RETRY_MAYFAIL)

/* What the pages of an object have to look like. */
enum kmt_shape {
	KMT_BLOCK,	/* not compound: only the first page has a reference */
	KMT_COMPOUND,	/* compound, and nothing else */
	KMT_SPLIT,	/* not compound: each page has a reference */
	KMT_FOLIO,	/* a folio, rmappable if it is large */
	KMT_HUGETLB,	/* a folio of hugetlb */
	KMT_AREA,	/* pages with a reference each, mapped as a vmalloc area */
	KMT_OBJECT,	/* within a slab */
	KMT_FROZEN,	/* compound, without a reference */
	KMT_TABLE,	/* compound, with the page type of page tables */
};

struct kmt_entry;
struct kmt_object;

/**
 * struct kmt_ops - A type of objects
 * @name: In the report
 * @count: Number of objects
 * @shape: Of their pages
 * @slab: The slab allocator has them.
 * @iommu: They count as pages of IOMMUs.
 * @part: They are smaller than a page, which several of them share.
 * @constructed: A constructor has been called for them.
 * @like: The type whose alloc() returns the same state, if that of this type
 *	returns memory that is preserved
 * @init: Sets size and order of an object from its index and seed.
 * @alloc: Returns the address of new memory, NULL or an ERR_PTR().
 * @free: The ordinary free function, for memory that is not preserved
 * @unpreserve_free: Frees memory that is preserved. alloc() preserves, too, then.
 * @preserve: Returns 0 or an error.
 * @unpreserve: The opposite of it
 * @restore: Returns the address of the restored memory or an ERR_PTR().
 * @bad: Calls that have to fail, on memory that waits to be restored. They must
 *	change nothing. NULL if there are none.
 */
struct kmt_ops {
	const char *name;
	unsigned int count;
	enum kmt_shape shape;
	bool slab;
	bool iommu;
	bool part;
	bool constructed;
	const struct kmt_ops *like;
	void (*init)(struct kmt_object *obj);
	void *(*alloc)(const struct kmt_object *obj);
	void (*free)(const struct kmt_object *obj);
	void (*unpreserve_free)(const struct kmt_object *obj);
	int (*preserve)(struct kmt_object *obj);
	void (*unpreserve)(struct kmt_object *obj);
	void *(*restore)(const struct kmt_object *obj, phys_addr_t phys);
	void (*bad)(const struct kmt_object *obj, phys_addr_t phys);
};

/* A type and what was counted of it. @failed: allocations that were made to fail */
struct kmt_type {
	const struct kmt_ops *ops;
	struct handover_test_stats stats;
	unsigned long failed;
};

struct kmt_object {
	struct list_head list;
	struct kmt_type *type;
	unsigned int index;
	unsigned int order;
	size_t size;
	u64 seed;
	void *addr;
	bool preserved;
	struct kho_vmalloc ser;
	struct kmt_entry *entry;	/* of a list that is to be handed over again */
};

#define KMT_GUARDED	1	/* by kfence: comes back as a copy */
#define KMT_POISONED	2	/* has a page with a hardware error */
#define KMT_COPIED	4	/* may come back as a copy for another reason */

/*
 * An object in the manifest. No structure of the kernel is in it that depends on
 * the configuration, so that the two kernels may differ in their debug options.
 */
struct kmt_entry {
	u64 phys;
	u64 size;
	u64 seed;
	u64 ser[2];		/* struct kho_vmalloc, which is ABI */
	u64 vm_flags;
	u64 vm_pages;
	u32 vm_order;
	u32 vm_known;		/* 0 if the preserving test is a module */
	u32 type;		/* the index in kmt_types */
	u32 index;
	u32 order;
	u32 flags;		/* KMT_... */
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

/* main.c */
extern struct handover_test kmt_test;
extern struct list_head kmt_objects;
unsigned int kmt_count(const struct kmt_type *type);

/* type.c */
extern struct kmt_type kmt_types[];

/* The last one has no ops. */
#define for_each_kmt_type(type) \
	for ((type) = kmt_types; (type)->ops; (type)++)

static inline bool kmt_is_area(const struct kmt_object *obj)
{
	return obj->type->ops->shape == KMT_AREA;
}

static inline bool kmt_in_slab(const struct kmt_object *obj)
{
	return obj->type->ops->shape == KMT_OBJECT;
}

struct kmt_type *kmt_type(const struct kmt_ops *ops);
bool kmt_expect(const struct kmt_object *obj, const char *where,
		const char *what, long expected, long found);
bool kmt_expect_error(const struct kmt_object *obj, const char *what,
		      long err, long alternative, const void *found);

/* object.c */
struct kmt_object *kmt_new_object(struct kmt_type *type, unsigned int index);
void kmt_init_object(struct kmt_object *obj, u64 seed);
int kmt_alloc(struct kmt_object *obj);
void kmt_hold(struct kmt_object *obj);
void kmt_release(struct kmt_object *obj);
int kmt_preserve(struct kmt_object *obj);
int kmt_preserve_nomem(struct kmt_object *obj);
void kmt_unpreserve(struct kmt_object *obj);
void *kmt_restore(const struct kmt_object *obj, phys_addr_t phys);
void *kmt_restore_nomem(const struct kmt_object *obj, phys_addr_t phys);
void kmt_fill(const struct kmt_object *obj);
bool kmt_compare(const struct kmt_object *obj, const char *where);
struct page *kmt_page(const struct kmt_object *obj, unsigned long i);
unsigned long kmt_nr_pages(const struct kmt_object *obj);

/* state.c */
int kmt_check_pages(const struct kmt_object *obj);

/* manifest.c */
extern struct kmt_manifest *kmt_manifest;
extern struct kmt_entry *kmt_entries;
extern unsigned int kmt_generation;
void kmt_fill_entry(struct kmt_entry *entry, const struct kmt_object *obj);
int kmt_publish(void);
void kmt_unpublish(void);
struct kmt_manifest *kmt_take_manifest(void);
struct kmt_entry *kmt_take_entries(const struct kmt_manifest *manifest);

/* restore.c */
int kmt_cmd_take(u64 unused);
int kmt_cmd_some(u64 rest);
int kmt_cmd_resend(u64 unused);
int kmt_cmd_restore(u64 released);

/* poison.c */
int kmt_cmd_poison(u64 unused);

/* pages.c */
extern const struct kmt_ops kmt_folio;
extern const struct kmt_ops kmt_pages;
extern const struct kmt_ops kmt_compound;
extern const struct kmt_ops kmt_pages_exact;
void kmt_take_border(void);
void kmt_restore_bad_folio(const struct kmt_object *obj, phys_addr_t phys);
int kmt_restore_folios(const struct kmt_entry *entries, void **restored,
		       unsigned int nr);

/* vmalloc.c */
extern const struct kmt_ops kmt_vmalloc;
extern const struct kmt_ops kmt_vmalloc_huge;
extern const struct kmt_ops kmt_kvmalloc;
void kmt_fill_area(struct kmt_entry *entry, const struct kmt_object *obj);
void kmt_check_area(const struct kmt_object *obj,
		    const struct kmt_entry *entry);
void kmt_count_area(const struct kmt_object *obj,
		    const struct kmt_entry *entry, long nr_pages);
void kmt_check_areas(void);

/* slab.c */
extern const struct kmt_ops kmt_kmalloc;
extern const struct kmt_ops kmt_large_kmalloc;
extern const struct kmt_ops kmt_kvmalloc_small;
extern const struct kmt_ops kmt_kmem_cache;
bool kmt_in_bucket(const struct kmt_object *obj);
int kmt_create_caches(void);
void kmt_destroy_caches(void);
void kmt_shrink_caches(void);
void kmt_restore_slabs(const struct kmt_entry *entries, void **restored,
		       unsigned int nr);
void kmt_check_object(const struct kmt_object *obj,
		      const struct kmt_entry *entry);
void kmt_add_noise(const struct kmt_object *obj);
void kmt_count_large(const struct kmt_object *obj, long nr_pages);
void kmt_check_slabs(void);
void kmt_free_kmalloc(void);
int kmt_cmd_objects(u64 added);

/* tables.c */
extern const struct kmt_ops kmt_ioptdesc;
extern const struct kmt_ops kmt_small_table;
extern const struct kmt_ops kmt_ptdesc;
extern const struct kmt_ops kmt_pagetable;
enum ptdesc_state kmt_ptdesc_state(const struct kmt_object *obj);
void kmt_check_table(const struct kmt_object *obj);
void kmt_note_pagetables(const struct kmt_object *obj, long before, int sign);
void kmt_check_pagetables(const char *cmd);
void kmt_start_iommu(void);
void kmt_expect_iommu(const struct kmt_object *obj, int sign);
void kmt_check_iommu(const struct kmt_object *obj);

/* gigantic.c */
extern const struct kmt_ops kmt_gigantic;

/* hugetlb.c */
extern const struct kmt_ops kmt_hugetlb;

/* alloc.c */
extern const struct kmt_ops kmt_kho_alloc;
int kmt_cmd_metadata(u64 number);

#endif /* _KMT_H */
