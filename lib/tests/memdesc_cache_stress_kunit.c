// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the per-CPU lists of freed memory descriptors, while others
 * use them: interrupts allocate and free tables, and walkers look them up.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/hrtimer.h>
#include <linux/jiffies.h>
#include <linux/kasan.h>
#include <linux/kthread.h>
#include <linux/memdesc.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include "../../mm/memdesc.h"
#include "memdesc_cache_kunit.h"

/*
 * Interrupts that allocate and free in the middle of what the thread does. Soft
 * ones: lockdep objects to the page allocator's locks in a timer's hard interrupt.
 */
struct irq_test {
	struct hrtimer timer;
	const struct cache_param *p;
	void *virt;
	unsigned long ticks;
	bool wrong;
};

static enum hrtimer_restart irq_test_tick(struct hrtimer *timer)
{
	struct irq_test *t = container_of(timer, struct irq_test, timer);

	if (t->virt) {
		if (*(unsigned long *)t->virt != (unsigned long)t)
			t->wrong = true;
		put_table(t->p, t->virt);
		t->virt = NULL;
	} else {
		t->virt = get_table(t->p, GFP_ATOMIC | __GFP_ZERO |
				    __GFP_NOWARN);
		if (t->virt) {
			if (*(unsigned long *)t->virt)
				t->wrong = true;
			*(unsigned long *)t->virt = (unsigned long)t;
		}
	}
	t->ticks++;
	hrtimer_forward_now(timer, us_to_ktime(50));
	return HRTIMER_RESTART;
}

static void cache_interrupt(struct kunit *test)
{
	const struct cache_param *p = test->param_value;
	const struct counters before = get_counters();
	struct irq_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	const unsigned long end = jiffies + msecs_to_jiffies(300);
	unsigned long wrong = 0, rounds = 0;

	KUNIT_ASSERT_NOT_NULL(test, t);
	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		kunit_skip(test, "interrupts do not allocate");
	t->p = p;
	hrtimer_setup(&t->timer, irq_test_tick, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL_SOFT);
	hrtimer_start(&t->timer, us_to_ktime(50), HRTIMER_MODE_REL_SOFT);
	while (time_before(jiffies, end)) {
		unsigned long *virt[3] = {};

		for (int i = 0; i < 3; i++) {
			virt[i] = get_table(p, GFP_TEST | __GFP_ZERO);
			if (!virt[i])
				continue;
			wrong += !!*virt[i];
			*virt[i] = (unsigned long)&virt[i];
		}
		for (int i = 0; i < 3; i++) {
			if (!virt[i])
				continue;
			wrong += *virt[i] != (unsigned long)&virt[i];
			put_table(p, virt[i]);
		}
		rounds++;
	}
	hrtimer_cancel(&t->timer);
	if (t->virt)
		put_table(p, t->virt);
	kunit_info(test, "%lu rounds, %lu interrupts", rounds, t->ticks);
	KUNIT_EXPECT_EQ(test, wrong, 0);
	KUNIT_EXPECT_FALSE(test, t->wrong);
	KUNIT_EXPECT_GT(test, t->ticks, 0);
	memdesc_cache_drain(true);
	expect_counters(test, p, before, 0, 0);
}

/*
 * Walkers on all CPUs look descriptors up and try to take references, as the
 * rule at page_memdesc() says, while two threads allocate and free them. What
 * the barriers there are for does not happen on x86; the comment in
 * page_memdesc() has the reasoning that no test replaces.
 */
#define NR_WATCHED	16

struct walk {
	struct kmem_cache *ioptdescs;
	struct kmem_cache *ptdescs;	/* NULL if they overlay struct page */
	struct page *page[NR_WATCHED];
	unsigned long looked, taken, types, wrong, rounds;
};

static struct kmem_cache *desc_cache(void *desc)
{
	struct slab *slab;

	/* What is no descriptor may be anything. */
	if (!virt_addr_valid(desc))
		return NULL;
	slab = virt_to_slab(kasan_reset_tag(desc));
	return slab ? slab->slab_cache : NULL;
}

static int walker(void *arg)
{
	struct walk *w = arg;
	unsigned int i = 0;

	while (!kthread_should_stop()) {
		struct page *page = READ_ONCE(w->page[i++ % NR_WATCHED]);
		memdesc_t md, again;
		struct folio *folio;

		if (!(i % 1024))
			cond_resched();
		if (!page)
			continue;
		rcu_read_lock();
		md = page_memdesc(page);
		w->looked++;
		switch (memdesc_type(md)) {
		case MEMDESC_IOPTDESC:
			w->types |= 1;
			/* Of the slab cache it is from, whatever it is now. */
			if (desc_cache(memdesc_ioptdesc(md)) != w->ioptdescs)
				w->wrong++;
			rcu_read_unlock();
			continue;
		case MEMDESC_PTDESC:
			w->types |= 2;
			if (!OWN_PTDESC)
				break;
			if (desc_cache(memdesc_ptdesc(md)) != w->ptdescs)
				w->wrong++;
			rcu_read_unlock();
			continue;
		default:
			w->types |= 4;
			rcu_read_unlock();
			continue;
		}
		folio = ptdesc_folio(memdesc_ptdesc(md));
		if (folio_try_get(folio)) {
			again = page_memdesc(page);
			/*
			 * Still the same: now it cannot be anything else, and
			 * its owner can make it no table, but not free it.
			 */
			if (memdesc_type(again) == MEMDESC_PTDESC &&
			    memdesc_ptdesc(again) == memdesc_ptdesc(md)) {
				w->taken++;
				for (int j = 0; j < 16; j++) {
					cpu_relax();
					if (!folio_ref_count(folio) ||
					    page_memdesc_type(page) ==
					    MEMDESC_IOPTDESC)
						w->wrong++;
				}
			}
			rcu_read_unlock();
			folio_put(folio);
		} else {
			rcu_read_unlock();
		}
	}
	return 0;
}

static int churner(void *arg)
{
	static const struct cache_param *const tables[] = {
		&params[0], &params[4], &params[1], &params[5],
	};
	struct walk *w = arg;
	unsigned long *virt[NR_WATCHED] = {};
	unsigned int i = 0;

	while (!kthread_should_stop()) {
		const unsigned int slot = i % NR_WATCHED;
		const struct cache_param *p = tables[slot % 4];

		if (virt[slot]) {
			/* Would not be so if somebody else had got it, too. */
			if (*virt[slot] != (unsigned long)&virt[slot])
				w->wrong++;
			put_table(p, virt[slot]);
		}
		virt[slot] = get_table(p, GFP_TEST | __GFP_ZERO);
		if (virt[slot]) {
			if (*virt[slot])
				w->wrong++;
			*virt[slot] = (unsigned long)&virt[slot];
			WRITE_ONCE(w->page[slot], virt_to_page(virt[slot]));
		}
		w->rounds++;
		i = i * 5 + 3;
		if (!(w->rounds % 256))
			cond_resched();
	}
	for (i = 0; i < NR_WATCHED; i++)
		if (virt[i])
			put_table(tables[i % 4], virt[i]);
	return 0;
}

/* The slab cache of the descriptors, if they are allocations of their own. */
static struct kmem_cache *own_cache(struct kunit *test,
				    const struct cache_param *p)
{
	void *virt = must_get(test, p, GFP_TEST);
	void *desc = own_desc(p, virt_to_page(virt));
	struct kmem_cache *cache = desc ? desc_cache(desc) : NULL;

	put_table(p, virt);
	return cache;
}

static void cache_walkers(struct kunit *test)
{
	const struct counters before = get_counters();
	struct kmem_cache *ioptdescs, *ptdescs;

	ioptdescs = own_cache(test, &params[4]);
	ptdescs = own_cache(test, &params[0]);
	memdesc_cache_drain(true);

	for (int on = 0; on < 2; on++) {
		struct walk *w = kunit_kcalloc(test, 2, sizeof(*w), GFP_KERNEL);
		struct task_struct *t[4];
		unsigned long wrong = 0, taken = 0;

		KUNIT_ASSERT_NOT_NULL(test, w);
		for (int i = 0; i < 2; i++) {
			w[i].ioptdescs = ioptdescs;
			w[i].ptdescs = ptdescs;
		}
		memdesc_cache_enable(on);
		/* Walkers and those whose memory they look at change CPUs. */
		for (int i = 0; i < 4; i++) {
			t[i] = kthread_run(i % 2 ? walker : churner, &w[i / 2],
					   "memdesc_cache/%d", i);
			KUNIT_ASSERT_FALSE(test, IS_ERR(t[i]));
		}
		msleep(1000);
		for (int i = 3; i >= 0; i--)
			kthread_stop(t[i]);
		for (int i = 0; i < 2; i++) {
			kunit_info(test, "lists %s: %lu tables, %lu looked up, %lu references\n",
				   on ? "on" : "off", w[i].rounds, w[i].looked,
				   w[i].taken);
			wrong += w[i].wrong;
			taken += w[i].taken;
			KUNIT_EXPECT_EQ(test, w[i].types & 3, 3);
		}
		KUNIT_EXPECT_EQ(test, wrong, 0);
		if (OWN_PTDESC)
			KUNIT_EXPECT_EQ(test, taken, 0);
		else
			KUNIT_EXPECT_GT(test, taken, 0);
		memdesc_cache_drain(true);
		expect_counters(test, &params[4], before, 0, 0);
	}
}

static struct kunit_case cache_stress_cases[] = {
	KUNIT_CASE_PARAM(cache_interrupt, params_gen_params),
	KUNIT_CASE_SLOW(cache_walkers),
	{}
};

static struct kunit_suite cache_stress_suite = {
	.name		= "memdesc_cache_stress",
	.suite_init	= cache_suite_init,
	.suite_exit	= cache_suite_exit,
	.init		= cache_init,
	.exit		= cache_exit,
	.test_cases	= cache_stress_cases,
};

kunit_test_suite(cache_stress_suite);
