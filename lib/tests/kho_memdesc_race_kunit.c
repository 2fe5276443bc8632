// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the typed kexec handover: two tasks preserve and unpreserve at
 * once. Only one of them can have what both want.
 */

#include <kunit/test.h>

#include <linux/array_size.h>
#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kho_memdesc.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "kho_memdesc_kunit.h"

struct racer {
	/* with these, of which the other has some as well, ... */
	struct folio **folios;
	/* ... or with memory of its own and with memory of both */
	struct folio *own;
	void *shared;
	size_t size;
	/* how many have preserved what both want */
	atomic_t *holders;
	struct completion done;
	unsigned int won;
	unsigned int lost;
	unsigned int wrong;
};

static int end_of_race(struct racer *racer)
{
	complete(&racer->done);
	while (!kthread_should_stop())
		usleep_range(1000, 2000);
	return 0;
}

static void run_race(struct kunit *test, int (*race)(void *racer),
		     struct racer racers[2])
{
	struct task_struct *tasks[2];

	for (unsigned int i = 0; i < ARRAY_SIZE(tasks); i++) {
		init_completion(&racers[i].done);
		tasks[i] = kthread_run(race, &racers[i], "kho_race/%u", i);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(tasks); i++) {
		KUNIT_EXPECT_FALSE(test, IS_ERR(tasks[i]));
		if (IS_ERR(tasks[i]))
			continue;
		wait_for_completion(&racers[i].done);
		kthread_stop(tasks[i]);
		KUNIT_EXPECT_EQ(test, racers[i].wrong, 0);
		KUNIT_EXPECT_GT(test, racers[i].won, 0);
	}
}

/* The same folios, one of them from the other end. */
static int race_batch(void *data)
{
	struct racer *racer = data;

	for (unsigned int i = 0; i < 100 || (!racer->won && i < 10000); i++) {
		switch (kho_folios_preserve(racer->folios, BATCH)) {
		case 0:
			racer->won++;
			racer->wrong += atomic_inc_return(racer->holders) != 1;
			usleep_range(10, 20);
			atomic_dec(racer->holders);
			kho_folios_unpreserve(racer->folios, BATCH);
			usleep_range(100, 200);
			break;
		/* Perhaps both, who have met in the middle. */
		case -EEXIST:
			usleep_range(5, 500);
			break;
		default:
			racer->wrong++;
		}
		cond_resched();
	}
	return end_of_race(racer);
}

static void batch_concurrently(struct kunit *test)
{
	struct folio **up = get_folios(test, BATCH);
	struct folio **down = kunit_kcalloc(test, BATCH, sizeof(*down),
					    GFP_KERNEL);
	atomic_t holders = ATOMIC_INIT(0);
	struct racer racers[2] = {
		{ .folios = up, .holders = &holders },
		{ .folios = down, .holders = &holders },
	};

	KUNIT_ASSERT_NOT_NULL(test, down);
	for (unsigned int i = 0; i < BATCH; i++)
		down[i] = up[BATCH - 1 - i];
	run_race(test, race_batch, racers);
	expect_unpreserved(test, up, BATCH);
}

/* Memory of their own, and the same memory. */

#define RACE_ROUNDS	300

static int race(void *data)
{
	struct racer *racer = data;

	/* Each has to win at least once, however the other is scheduled. */
	for (unsigned int i = 0; i < RACE_ROUNDS ||
	     (!racer->won && i < 100 * RACE_ROUNDS); i++) {
		racer->wrong += kho_folio_preserve(racer->own) != 0;
		switch (kho_pages_exact_preserve(racer->shared, racer->size)) {
		case 0:
			racer->won++;
			racer->wrong += atomic_inc_return(racer->holders) != 1;
			usleep_range(10, 20);
			atomic_dec(racer->holders);
			kho_pages_exact_unpreserve(racer->shared, racer->size);
			break;
		case -EEXIST:
			racer->lost++;
			usleep_range(5, 50);
			break;
		default:
			racer->wrong++;
		}
		racer->wrong += kho_folio_preserve(racer->own) != -EEXIST;
		kho_folio_unpreserve(racer->own);
		cond_resched();
	}
	return end_of_race(racer);
}

static void preserve_concurrently(struct kunit *test)
{
	void *virt = get_exact(test, 8 * PAGE_SIZE);
	atomic_t holders = ATOMIC_INIT(0);
	struct racer racers[2] = {
		{ .own = get_folio(test, 0), .shared = virt,
		  .size = 8 * PAGE_SIZE, .holders = &holders },
		{ .own = get_folio(test, 3), .shared = virt + 5 * PAGE_SIZE,
		  .size = PAGE_SIZE, .holders = &holders },
	};

	run_race(test, race, racers);
	for (unsigned int i = 0; i < ARRAY_SIZE(racers); i++) {
		KUNIT_EXPECT_LE(test, RACE_ROUNDS,
				racers[i].won + racers[i].lost);
		/* Whoever came last has left nothing behind. */
		KUNIT_EXPECT_EQ(test, kho_folio_preserve(racers[i].own), 0);
		kho_folio_unpreserve(racers[i].own);
	}
	KUNIT_EXPECT_GT(test, racers[0].lost + racers[1].lost, 0);
	KUNIT_EXPECT_EQ(test, kho_pages_exact_preserve(virt, 8 * PAGE_SIZE), 0);
	kho_pages_exact_unpreserve(virt, 8 * PAGE_SIZE);
}

static struct kunit_case kho_memdesc_race_cases[] = {
	KUNIT_CASE(preserve_concurrently),
	KUNIT_CASE(batch_concurrently),
	{}
};

static struct kunit_suite kho_memdesc_race_suite = {
	.name = "kho_memdesc_race",
	.init = kho_memdesc_init,
	.test_cases = kho_memdesc_race_cases,
};

kunit_test_suite(kho_memdesc_race_suite);
