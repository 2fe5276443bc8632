// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the typed kexec handover: the command "restore".
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/hugetlb.h>
#include <linux/io.h>
#include <linux/kasan.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>

#include "kmt.h"

static bool no_slabs;
module_param(no_slabs, bool, 0444);
MODULE_PARM_DESC(no_slabs, "The list of slabs is damaged: none of their objects may be found");

static bool kmt_restored;
static unsigned long kmt_poisoned;

/* Memory that nobody has preserved, and addresses without memory. */
static void kmt_bad_addresses(void)
{
	struct page *page = alloc_pages(GFP_KERNEL, 1);
	struct kmt_object obj = { .size = PAGE_SIZE };
	struct kmt_type *type;

	if (!page)
		return;

	for_each_kmt_type(type) {
		obj.type = type;
		/* Their memory is not found by one address. */
		if (kmt_is_area(&obj))
			continue;
		if (kmt_in_slab(&obj))
			continue;
		/* Without hugetlb there is a stub, which looks at no address. */
		if (type->ops->shape == KMT_HUGETLB &&
		    !IS_ENABLED(CONFIG_HUGETLB_PAGE)) {
			kmt_expect_error(&obj, "hugetlb that is not there",
					 -EOPNOTSUPP, -EOPNOTSUPP,
					 kmt_restore(&obj, page_to_phys(page)));
			continue;
		}
		kmt_expect_error(&obj, "memory never preserved", -ENOENT, -ENOENT,
				 kmt_restore(&obj, page_to_phys(page)));
		kmt_expect_error(&obj, "address beyond memory", -ENOENT, -EINVAL,
				 kmt_restore(&obj, KMT_BAD_PHYS));
		kmt_expect(&obj, "page never preserved", "refcount", 1,
			   page_ref_count(page));
	}
	__free_pages(page, 1);
}

static struct kmt_object *kmt_entry_object(const struct kmt_entry *entry)
{
	struct kmt_object *obj;

	obj = kmt_new_object(&kmt_types[entry->type], entry->index);
	if (!obj)
		return NULL;

	obj->order = entry->order;
	obj->size = entry->size;
	obj->seed = entry->seed;
	memcpy(&obj->ser, entry->ser, sizeof(obj->ser));
	obj->type->stats.objects++;
	obj->type->stats.bytes += obj->size;
	return obj;
}

/* An object with a hardware error must not be restored. */
static void kmt_restore_poisoned(const struct kmt_object *obj,
				 const struct kmt_entry *entry, void *restored)
{
	if (!restored)
		restored = kmt_restore(obj, entry->phys);
	/* For slab objects this error is like others. */
	if (!kmt_in_slab(obj))
		kmt_expect(obj, "restore of poisoned memory", "error",
			   -EHWPOISON, PTR_ERR(restored));
	kmt_expect(obj, "restore of poisoned memory", "fails", true,
		   IS_ERR(restored));
	if (obj->type->ops == &kmt_folio)
		kmt_restore_bad_folio(obj, entry->phys);
	kmt_poisoned++;
}

/* What a zone has to manage when an object is restored. */
struct kmt_managed {
	struct zone *zone;	/* NULL: this is not checked */
	unsigned long expected;
};

/*
 * Each page is managed by the zone that it lies in. The object can lie in two
 * zones, where the previous kernel had only one.
 */
static void kmt_start_managed(const struct kmt_object *obj, phys_addr_t phys,
			      struct kmt_managed managed[2])
{
	const unsigned long nr_pages = kmt_nr_pages(obj);
	struct page *page = phys_to_page(phys);

	/* Other memory comes back with these. */
	if (kmt_is_area(obj) || kmt_in_slab(obj) || obj->type->ops->part)
		return;

	managed[0].zone = page_zone(page);
	managed[1].zone = page_zone(page + nr_pages - 1);
	for (int i = 0; i < 2; i++) {
		managed[i].expected = zone_managed_pages(managed[i].zone);
		for (unsigned long n = 0; n < nr_pages; n++)
			managed[i].expected +=
				page_zone(page + n) == managed[i].zone;
	}
}

static void kmt_check_managed(const struct kmt_object *obj, void *addr,
			      const struct kmt_managed managed[2])
{
	if (!managed[0].zone)
		return;
#ifdef CONFIG_HUGETLB_PAGE
	/* The memory of struct pages that the folio does without is managed, too. */
	if (obj->type->ops->shape == KMT_HUGETLB &&
	    folio_test_hugetlb_vmemmap_optimized(virt_to_folio(addr)))
		return;
#endif
	kmt_expect(obj, "zone of the first page", "managed pages",
		   managed[0].expected, zone_managed_pages(managed[0].zone));
	kmt_expect(obj, "zone of the last page", "managed pages",
		   managed[1].expected, zone_managed_pages(managed[1].zone));
	if (zone_to_nid(managed[0].zone) != zone_to_nid(managed[1].zone))
		pr_info("restored %s %u, which lies on two nodes\n",
			obj->type->ops->name, obj->index);
}

/* An object of a slab must not be found without the list of slabs. */
static void kmt_restore_unlisted(const struct kmt_object *obj,
				 const struct kmt_entry *entry, void *restored)
{
	if (!restored)
		restored = kmt_restore(obj, entry->phys);
	/* At the start of a page there could be large kmalloc memory instead. */
	kmt_expect_error(obj, "no list of slabs", -ENOENT,
			 PAGE_ALIGNED(entry->phys) ? -EINVAL : -ENOENT, restored);
}

/*
 * Restore the memory, and see that the counters move as if it were allocated. If
 * calls that fail are not to be tried, @bad_calls is false.
 */
static void *kmt_restore_counted(const struct kmt_object *obj,
				 const struct kmt_entry *entry, bool bad_calls)
{
	long nr_vmalloc = global_node_page_state_snapshot(NR_VMALLOC);
	long nr_slab = global_node_page_state_snapshot(NR_SLAB_UNRECLAIMABLE_B);
	long tables = global_node_page_state_snapshot(NR_PAGETABLE);
	struct kmt_managed managed[2] = {};
	void *addr;

	kmt_start_managed(obj, entry->phys, managed);
	if (bad_calls)
		addr = kmt_restore_nomem(obj, entry->phys);
	else
		addr = kmt_restore(obj, entry->phys);

	nr_vmalloc = global_node_page_state_snapshot(NR_VMALLOC) - nr_vmalloc;
	nr_slab = global_node_page_state_snapshot(NR_SLAB_UNRECLAIMABLE_B) - nr_slab;
	kmt_note_pagetables(obj, tables, 1);
	if (IS_ERR(addr))
		return addr;
	kmt_check_managed(obj, addr, managed);
	kmt_count_area(obj, entry, nr_vmalloc);
	/* Calls that failed may have left slabs that were not there before. */
	if (!bad_calls)
		kmt_count_large(obj, nr_slab);
	return addr;
}

/* Check an object that has just been restored. Returns 0 or an error. */
static int kmt_check_restored(const struct kmt_object *obj,
			      const struct kmt_entry *entry)
{
	int err = 0;

	kmt_expect_iommu(obj, 1);
	kmt_check_iommu(obj);
	if (kmt_is_area(obj))
		kmt_check_area(obj, entry);
	else if (kmt_in_slab(obj))
		kmt_check_object(obj, entry);
	else
		kmt_expect(obj, "restore", "address",
			   (long)phys_to_virt(entry->phys),
			   (long)kasan_reset_tag(obj->addr));

	kmt_expect_error(obj, "restore twice", -ENOENT, -ENOENT,
			 kmt_restore(obj, entry->phys));

	if (kmt_in_slab(obj))
		kmt_add_noise(obj);
	else
		err = kmt_check_pages(obj);
	kmt_compare(obj, "restored memory");
	return err;
}

/* @restored: its memory, if that has been restored already, an error, or NULL */
static int kmt_restore_entry(const struct kmt_entry *entry, void *restored)
{
	bool bad_calls = !restored && (entry->index < 16 || !(entry->index % 8));
	struct kmt_object *obj = kmt_entry_object(entry);
	const struct kmt_ops *ops;
	int err;

	if (!obj)
		return -ENOMEM;

	ops = obj->type->ops;
	if (entry->flags & KMT_POISONED) {
		kmt_restore_poisoned(obj, entry, restored);
		kfree(obj);
		return 0;
	}

	if (no_slabs && kmt_in_slab(obj)) {
		kmt_restore_unlisted(obj, entry, restored);
		kfree(obj);
		return 0;
	}

	if (bad_calls && ops->bad)
		ops->bad(obj, entry->phys);
	if (!restored)
		restored = kmt_restore_counted(obj, entry, bad_calls);

	if (!kmt_expect(obj, "restore", "error", 0, PTR_ERR_OR_ZERO(restored))) {
		obj->type->stats.lost++;
		kfree(obj);
		return 0;
	}
	obj->addr = restored;
	obj->type->stats.restored++;
	kmt_hold(obj);

	err = kmt_check_restored(obj, entry);
	if (err)
		return err;

	if (obj->index % 3 == 0) {
		kmt_expect_iommu(obj, -1);
		kmt_release(obj);
	}
	return 0;
}

/* The page with an error that was not preserved: it must not be free memory. */
static void kmt_check_poisoned(const struct kmt_manifest *manifest)
{
	const struct kmt_object obj = { .type = kmt_type(&kmt_pages) };
	struct page *page = phys_to_page(manifest->poisoned);

	if (!manifest->poisoned)
		return;
	kmt_expect(&obj, "poisoned page", "is marked", true, PageHWPoison(page));
	kmt_expect(&obj, "poisoned page", "refcount", 1, page_ref_count(page));
	pr_info("%lu poisoned objects were not restored\n", kmt_poisoned);
}

/* Memory that was released to the page allocator must not be found any more. */
static int kmt_restore_released(const struct kmt_entry *entry)
{
	struct kmt_object *obj = kmt_entry_object(entry);
	struct handover_test_stats *stats;

	if (!obj)
		return -ENOMEM;
	stats = &obj->type->stats;
	/* In the report it counts as restored and freed: it is free memory. */
	if (kmt_expect_error(obj, "restore released memory", -ENOENT, -ENOENT,
			     kmt_restore(obj, entry->phys))) {
		stats->restored++;
		stats->freed++;
	} else {
		stats->lost++;
	}
	kfree(obj);
	return 0;
}

static int kmt_restore_all(const struct kmt_entry *entries, unsigned int nr)
{
	void **restored;
	int err;

	restored = kvcalloc(nr, sizeof(*restored), GFP_KERNEL);
	if (!restored)
		return -ENOMEM;

	kmt_restore_slabs(entries, restored, nr);
	err = kmt_restore_folios(entries, restored, nr);
	for (unsigned int i = 0; !err && i < nr; i++) {
		err = kmt_restore_entry(&entries[i], restored[i]);
		cond_resched();
	}
	kvfree(restored);
	return err;
}

/* What "take" has found. */
static struct kmt_manifest *kmt_taken;
static struct kmt_entry *kmt_taken_entries;

/**
 * kmt_cmd_take - Restore the list of what is handed over, and nothing else yet
 * @unused: Commands get a number.
 *
 * Return: 0 or an error.
 */
int kmt_cmd_take(u64 unused)
{
	struct kmt_manifest *manifest;

	if (kmt_restored)
		return -ENOENT;
	manifest = kmt_take_manifest();
	if (IS_ERR(manifest))
		return PTR_ERR(manifest);

	/* From here on nothing can be done a second time. */
	kmt_restored = true;
	kmt_taken_entries = kmt_take_entries(manifest);
	if (IS_ERR(kmt_taken_entries))
		return PTR_ERR(kmt_taken_entries);
	kmt_taken = manifest;
	return 0;
}

/* Which objects "some" has restored: those whose index by 4 leaves such a rest. */
static unsigned int kmt_some;

/* Restore an object as its driver does. */
static int kmt_restore_one(struct kmt_entry *entry)
{
	struct kmt_object *obj = kmt_entry_object(entry);
	void *addr;

	if (!obj)
		return -ENOMEM;
	addr = kmt_restore(obj, entry->phys);
	if (!kmt_expect(obj, "restore some", "error", 0, PTR_ERR_OR_ZERO(addr))) {
		obj->type->stats.lost++;
		kfree(obj);
		return 0;
	}
	obj->addr = addr;
	obj->entry = entry;
	obj->type->stats.restored++;
	kmt_hold(obj);
	return kmt_check_restored(obj, entry);
}

/**
 * kmt_cmd_some - Restore a quarter of the objects
 * @rest: Of the index divided by 4
 *
 * All other objects stay as the previous kernel has handed them over. The list of all
 * objects is restored, and the manifest is not.
 *
 * Return: 0 or an error; failed checks are none.
 */
int kmt_cmd_some(u64 rest)
{
	int err = 0;

	if (rest >= 4 || kmt_some & BIT(rest))
		return -EINVAL;
	if (!kmt_taken)
		err = kmt_cmd_take(0);
	if (err)
		return err;

	kmt_start_iommu();
	kmt_some |= BIT(rest);
	for (unsigned int i = 0; !err && i < kmt_taken->nr_entries; i++) {
		if (kmt_taken_entries[i].index % 4 == rest)
			err = kmt_restore_one(&kmt_taken_entries[i]);
		cond_resched();
	}
	kmt_check_slabs();
	return err;
}

/**
 * kmt_cmd_resend - Hand over what "some" has restored, and the list of all objects
 * @unused: Commands get a number.
 *
 * Return: 0 or an error; failed checks are none.
 */
int kmt_cmd_resend(u64 unused)
{
	static bool list_is_preserved;
	struct kmt_object *obj;
	struct kho_vmalloc ser;
	int err;

	if (!kmt_some)
		return -EINVAL;
	list_for_each_entry(obj, &kmt_objects, list) {
		if (!obj->entry || obj->preserved)
			continue;
		kmt_expect(obj, "preserve some again", "error", 0,
			   kmt_preserve(obj));
		kmt_fill_entry(obj->entry, obj);
		cond_resched();
	}
	if (list_is_preserved)
		return 0;

	err = kho_vmalloc_preserve(kmt_taken_entries, &ser);
	if (err)
		return err;
	list_is_preserved = true;
	/* The manifest is handed over by whoever forwards memory. */
	memcpy(kmt_taken->ser, &ser, sizeof(ser));
	return 0;
}

static int kmt_restore_taken(const struct kmt_manifest *manifest,
			     const struct kmt_entry *entries, bool released)
{
	int err = 0;

	kmt_bad_addresses();
	if (released) {
		for (unsigned int i = 0; !err && i < manifest->nr_entries; i++) {
			if (!(kmt_some & BIT(entries[i].index % 4)))
				err = kmt_restore_released(&entries[i]);
		}
		return err;
	}

	kmt_start_iommu();
	err = kmt_restore_all(entries, manifest->nr_entries);
	if (err)
		return err;

	kmt_check_areas();
	kmt_check_slabs();
	kmt_check_poisoned(manifest);
	return 0;
}

/**
 * kmt_cmd_restore - Restore all that the previous kernel has handed over
 * @released: 1: it was released to the page allocator, and must not be found
 *
 * Return: 0 or an error; failed checks are none.
 */
int kmt_cmd_restore(u64 released)
{
	struct kmt_manifest *manifest;
	int err;

	if (!kmt_taken) {
		err = kmt_cmd_take(0);
		if (err)
			return err;
	}

	/* After an error nothing is tried a second time. */
	manifest = kmt_taken;
	kmt_taken = NULL;
	err = kmt_restore_taken(manifest, kmt_taken_entries, released);
	if (err)
		return err;

	vfree(kmt_taken_entries);
	kho_restore_free(manifest);
	return 0;
}
