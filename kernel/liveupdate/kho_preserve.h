/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Preserving and unpreserving, inside: a piece of memory is checked against its
 * type (kho_check.h) and added to the map (kho_map.h).
 *
 * The functions here are inline for those callers that know the type: see
 * kho_folio.c.
 */
#ifndef _KHO_PRESERVE_H
#define _KHO_PRESERVE_H

#include <linux/cleanup.h>
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/percpu-rwsem.h>
#include <linux/spinlock.h>

#include "kho_check.h"
#include "kho_map.h"
#include "kho_trace.h"

/*
 * Check one piece of memory, and add it to the map. Short if the type and the
 * order are constant.
 */
static __always_inline int kho_preserve_one(struct page *page, unsigned int order,
					    enum kho_memdesc type)
{
	const unsigned long pfn = page_to_pfn(page);
	int err;

	might_sleep();
	err = __kho_check_page(page, order, type);
	if (unlikely(err))
		return err;
	if (!order && likely(kho_map_add_quick(pfn, 0, type))) {
		kho_trace_preserve(pfn, 0, type, _RET_IP_);
		return 0;
	}
	return kho_map_lock_and_add(pfn, order, type, _RET_IP_);
}

/* The counterpart of kho_preserve_one(). */
static __always_inline void kho_unpreserve_one(struct page *page,
					       unsigned int order,
					       enum kho_memdesc type)
{
	const unsigned long pfn = page_to_pfn(page);
	bool found;

	might_sleep();
	if (unlikely(!kho_out.radix_tree.root))
		return;
	if (!order && likely(kho_map_del_quick(pfn, 0, type))) {
		kho_trace_unpreserve(pfn, 0, type, _RET_IP_);
		return;
	}

	guard(percpu_read)(&kho_map_sem);
	/* Large memory is not worth two copies of what order 0 needs. */
	if (order)
		found = __kho_map_del(pfn, order, type);
	else
		found = kho_map_del(pfn, 0, type);
	if (likely(found))
		kho_trace_unpreserve(pfn, order, type, _RET_IP_);
}

/* The most pages that are preserved under one hold of a window's lock. */
#define KHO_RUN_MAX	256

/*
 * Preserve order 0 memory as long as it lies in one window and nothing is wrong.
 * Returns how many pages were preserved, which can be none.
 */
static __always_inline unsigned long
kho_preserve_run(struct page **pages, unsigned long nr, enum kho_memdesc type)
{
	struct page *page = pages[0];
	const unsigned long pfn = page_to_pfn(page);
	const unsigned long base = ALIGN_DOWN(pfn, KHO_LEAF_BITS);
	struct kho_window *window = kho_find_window(pfn);
	unsigned long i = 0, off = pfn - base;
	unsigned long *busy, *bitmap;

	if (!window || kho_lock_window(window, kho_key(pfn, 0, type), 0, true))
		return 0;

	nr = min(nr, KHO_RUN_MAX);
	busy = window->busy;
	bitmap = window->leaf->bitmap;
	do {
		if (kho_page_unsupported(page, 0, type) ||
		    kho_page_mismatch(page, 0, type) ||
		    __test_and_set_bit(off, busy))
			break;
		__set_bit(off, bitmap);
		if (++i == nr)
			break;
		page = pages[i];
		off = page_to_pfn(page) - base;
	} while (off < KHO_LEAF_BITS);
	window->nr_preserved += i;
	spin_unlock(&window->lock);
	return i;
}

/* As kho_preserve_page_descs(), for callers that know the type. */
static __always_inline int kho_preserve_batch(struct page **pages,
					      unsigned long nr, int order,
					      enum kho_memdesc type)
{
	unsigned long i = 0, run;
	int err;

	if (unlikely(!kho_out.radix_tree.root))
		return -EOPNOTSUPP;

	guard(percpu_read)(&kho_map_sem);
	while (i < nr) {
		const unsigned int o = kho_batch_order(pages[i], order);

		if (!o && (type == KHO_MEMDESC_FOLIO ||
			   type == KHO_MEMDESC_SPLIT)) {
			run = kho_preserve_run(pages + i, nr - i, type);
			if (likely(run)) {
				kho_trace_preserve_batch(pages + i, run, 0,
							 type, _RET_IP_);
				i += run;
				continue;
			}
		}

		/* Another order or type, no window yet, or to be refused. */
		err = kho_check_page(pages[i], o, type);
		if (!err)
			err = kho_map_add(page_to_pfn(pages[i]), o, type);
		if (err) {
			kho_map_del_batch(pages, i, order, type);
			return err;
		}
		kho_trace_preserve(page_to_pfn(pages[i]), o, type, _RET_IP_);
		i++;
	}
	return 0;
}

#endif /* _KHO_PRESERVE_H */
