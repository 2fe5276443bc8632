/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MEMDESC_KUNIT_H
#define _MEMDESC_KUNIT_H

#include <linux/cgroup.h>
#include <linux/memcontrol.h>

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
