/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MEMDESC_KUNIT_H
#define _MEMDESC_KUNIT_H

#include <linux/cgroup.h>
#include <linux/gfp_types.h>
#include <linux/memcontrol.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/vmstat.h>

/* Large allocations may fail, and then without a word. */
#define GFP_TEST	(GFP_KERNEL | __GFP_NOWARN | __GFP_RETRY_MAYFAIL)

/*
 * Is the descriptor of a page table an allocation of its own? Then the pages of
 * the table are frozen. Otherwise the descriptor overlays struct page, and the
 * pages have a reference count.
 */
#define OWN_PTDESC	IS_ENABLED(CONFIG_MEMDESC_PTDESC)

/* As the descriptor says, or the pages that it overlays. */
static inline unsigned int ptdesc_order(struct ptdesc *pt)
{
#ifdef CONFIG_MEMDESC_PTDESC
	return pt->order;
#else
	return compound_order(ptdesc_page(pt));
#endif
}

/* A counter of struct pglist_data, or 0 if there is none: @item is -1. */
static inline long node_stat(int item)
{
	return item < 0 ? 0 : global_node_page_state_snapshot(item);
}

#ifdef CONFIG_MEMCG
/*
 * Kernel threads are charged to the root group, which is not charged at all.
 * Any other group will do, with a reference that the caller drops; a test at
 * boot has none, one that is started from debugfs may. NULL if there is none.
 */
static inline struct mem_cgroup *get_any_memcg(void)
{
	struct cgroup_subsys_state *css, *found = NULL;

	rcu_read_lock();
	css_for_each_descendant_pre(css, &root_mem_cgroup->css) {
		if (css != &root_mem_cgroup->css && css_tryget_online(css)) {
			found = css;
			break;
		}
	}
	rcu_read_unlock();
	return found ? mem_cgroup_from_css(found) : NULL;
}
#endif

#endif /* _MEMDESC_KUNIT_H */
