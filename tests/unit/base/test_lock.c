/* test_lock.c -- Mutual exclusion, parking, ranks.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/clock.h"
#include "base/lock.h"
#include "child.h"
#include <pthread.h>
#include <time.h>

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

START_TEST(test_try)
{
    struct lock a;
    lock_init(&a, RANK_LEAF, 0);
    ck_assert_uint_eq(sizeof a, 8);
    ck_assert(lock_try(&a));
    ck_assert(!lock_try(&a));
    lock_release(&a);
    ck_assert(lock_try(&a));
    lock_release(&a);
    lock_acquire(&a);
    ck_assert(!lock_try(&a) && !lock_was_free(&a));
    lock_release(&a);
    ck_assert(lock_was_free(&a));
    ck_assert_uint_eq(a.word, 0);
}
END_TEST

#define WORKERS 4
#define ROUNDS  50000
static struct lock guard;
static long counter;
static _Atomic int inside;

static void *count(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 3 != 0 || !lock_try(&guard)) {
            lock_acquire(&guard);
        }
        ck_assert_int_eq(atomic_fetch_add(&inside, 1), 0);
        counter++;
        if (i % 10000 == 0) {
            sleep_ms(1); /* the others park */
        }
        atomic_fetch_sub(&inside, 1);
        lock_release(&guard);
    }
    return arg;
}

START_TEST(test_exclusion)
{
    pthread_t thread[WORKERS];
    lock_init(&guard, RANK_LEAF, 0);
    for (int i = 0; i < WORKERS; i++) {
        ck_assert_int_eq(pthread_create(&thread[i], NULL, count, NULL), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(thread[i], NULL);
    }
    ck_assert_int_eq(counter, (long)WORKERS * ROUNDS);
    ck_assert_uint_eq(guard.word, 0);
}
END_TEST

static _Atomic int passed;

static void *pass_once(void *arg)
{
    lock_acquire(&guard);
    atomic_fetch_add(&passed, 1);
    lock_release(&guard);
    return arg;
}

/* Several park behind one holder; each of them is woken in the end. */
START_TEST(test_all_parked_wake)
{
    for (int round = 0; round < 20; round++) {
        pthread_t thread[8];
        passed = 0;
        lock_init(&guard, RANK_LEAF, 0);
        lock_acquire(&guard);
        for (int i = 0; i < 8; i++) {
            ck_assert_int_eq(pthread_create(&thread[i], NULL, pass_once, NULL), 0);
        }
        while (guard.word != 2) {
            sleep_ms(1);
        }
        ck_assert_int_eq(passed, 0);
        lock_release(&guard);
        for (int i = 0; i < 8; i++) {
            pthread_join(thread[i], NULL);
        }
        ck_assert_int_eq(passed, 8);
        ck_assert_uint_eq(guard.word, 0);
    }
}
END_TEST

static _Atomic uint32_t word;
static _Atomic int woken;

static void *wait_for_word(void *arg)
{
    while (word == 0) {
        futex_wait(&word, 0, -1);
    }
    atomic_fetch_add(&woken, 1);
    return arg;
}

START_TEST(test_futex)
{
    /* At once when the word differs, after the time when nobody wakes. */
    word = 1;
    futex_wait(&word, 0, -1);
    int64_t before = clock_mono_us();
    futex_wait(&word, 1, 20000);
    /* A signal may end it early, nothing may make it endless (the test's time limit). */
    ck_assert_int_ge(clock_mono_us(), before);
    futex_wait(&word, 1, 0);
    futex_wait(&word, 1, 1);
    futex_wake(&word, 1);

    pthread_t thread[4];
    word = 0;
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&thread[i], NULL, wait_for_word, NULL), 0);
    }
    sleep_ms(20);
    ck_assert_int_eq(woken, 0);
    word = 1;
    futex_wake(&word, INT32_MAX);
    for (int i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
    }
    ck_assert_int_eq(woken, 4);
}
END_TEST

START_TEST(test_relax)
{
    cpu_relax();
}
END_TEST

START_TEST(test_ranks_in_order)
{
    struct lock section, shard[3], leaf;
    lock_init(&section, RANK_SECTION, 0);
    lock_init(&leaf, RANK_LEAF, 0);
    for (unsigned i = 0; i < 3; i++) {
        lock_init(&shard[i], RANK_SHARD, 1000 + i);
    }
    for (int round = 0; round < 3; round++) {
        lock_acquire(&section);
        lock_acquire(&shard[0]);
        lock_acquire(&shard[2]);
        ck_assert(lock_try(&leaf));
        lock_assert_held(&shard[2]);
        /* Any order of release. */
        lock_release(&shard[0]);
        lock_release(&leaf);
        lock_release(&section);
        lock_release(&shard[2]);
        lock_acquire(&shard[1]);
        lock_release(&shard[1]);
    }
}
END_TEST

#ifdef KV_DEBUG
static struct lock a, b;

static void two_locks(enum lock_rank first, unsigned order1, enum lock_rank second, unsigned order2)
{
    lock_init(&a, first, order1);
    lock_init(&b, second, order2);
    lock_acquire(&a);
    lock_acquire(&b);
}

static void lower_rank(void)
{
    two_locks(RANK_STATS, 0, RANK_SHARD, 7);
}

static void same_rank(void)
{
    two_locks(RANK_LEAF, 0, RANK_LEAF, 1);
}

static void shards_descending(void)
{
    two_locks(RANK_SHARD, 5, RANK_SHARD, 4);
}

static void shards_equal(void)
{
    two_locks(RANK_SHARD, 5, RANK_SHARD, 5);
}

static void try_lower_rank(void)
{
    lock_init(&a, RANK_STATS, 0);
    lock_init(&b, RANK_SHARD, 0);
    lock_acquire(&a);
    if (lock_try(&b)) {
        lock_release(&b);
    }
}

/* The violation is not against the lock that was taken last. */
static void below_an_earlier_one(void)
{
    struct lock c;
    lock_init(&a, RANK_CLIENTS, 0);
    lock_init(&b, RANK_STATS, 0);
    lock_init(&c, RANK_SHARD, 0);
    lock_acquire(&a);
    lock_acquire(&b);
    lock_release(&b);
    lock_acquire(&c);
}

static void twice(void)
{
    lock_init(&a, RANK_LEAF, 0);
    lock_acquire(&a);
    lock_acquire(&a);
}

static void release_not_held(void)
{
    lock_init(&a, RANK_SHARD, 3);
    lock_release(&a);
}

static void assert_not_held(void)
{
    lock_init(&a, RANK_SHARD, 3);
    lock_assert_held(&a);
}

START_TEST(test_violations_abort)
{
    child_must_abort(lower_rank, "SHARD/7 taken while holding STATS/0");
    child_must_abort(same_rank, "LEAF/1 taken while holding LEAF/0");
    child_must_abort(shards_descending, "SHARD/4 taken while holding SHARD/5");
    child_must_abort(shards_equal, "SHARD/5 taken while holding SHARD/5");
    child_must_abort(try_lower_rank, "SHARD/0 taken while holding STATS/0");
    child_must_abort(below_an_earlier_one, "SHARD/0 taken while holding CLIENTS/0");
    child_must_abort(twice, "LEAF/0 taken while holding LEAF/0");
    child_must_abort(release_not_held, "SHARD/3 released but not held");
    child_must_abort(assert_not_held, "lock_is_mine");
}
END_TEST

static void *is_mine_elsewhere(void *arg)
{
    *(bool *)arg = lock_is_mine(&a);
    return NULL;
}

static bool another_thread_holds_it(void)
{
    bool mine = true;
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, is_mine_elsewhere, &mine), 0);
    pthread_join(thread, NULL);
    return mine;
}

START_TEST(test_is_mine)
{
    lock_init(&a, RANK_SHARD, 0);
    ck_assert(!lock_is_mine(&a));
    lock_acquire(&a);
    ck_assert(lock_is_mine(&a));
    ck_assert(!another_thread_holds_it());
    lock_release(&a);
    ck_assert(!lock_is_mine(&a));
}
END_TEST

START_TEST(test_assume_all)
{
    static const enum lock_rank ranks[] = { RANK_CONFIG, RANK_SHARD, RANK_WAL_FILES, RANK_LEAF };
    for (unsigned i = 0; i < countof(ranks); i++) {
        lock_init(&a, ranks[i], 0);
        lock_init(&b, RANK_MONITOR, 0);
        lock_assume_all(ranks[i], true);
        ck_assert(lock_is_mine(&a));
        ck_assert(!lock_is_mine(&b));
        ck_assert(!another_thread_holds_it());
        lock_assume_all(ranks[i], false);
        ck_assert(!lock_is_mine(&a));
    }
}
END_TEST

START_TEST(test_many_held)
{
    static struct lock shard[4096];
    for (unsigned i = 0; i < 4096; i++) {
        lock_init(&shard[i], RANK_SHARD, i);
        lock_acquire(&shard[i]);
    }
    for (unsigned i = 0; i < 4096; i++) {
        ck_assert(lock_is_mine(&shard[i]));
        lock_release(&shard[i]);
    }
}
END_TEST
#endif

static void order_too_large(void)
{
    struct lock l;
    lock_init(&l, RANK_SHARD, 65536);
}

START_TEST(test_order_limit)
{
    struct lock l;
    lock_init(&l, RANK_SHARD, 65535);
    ck_assert_uint_eq(l.order, 65535);
    ck_assert_uint_eq(l.rank, RANK_SHARD);
    child_must_abort(order_too_large, "order");
}
END_TEST

UNIT_SUITE(lock)
{
    unit_case(suite, "mutex", test_try, test_exclusion, test_all_parked_wake, test_order_limit);
    unit_case(suite, "futex", test_futex, test_relax);
    unit_case(suite, "rank", test_ranks_in_order);
#ifdef KV_DEBUG
    unit_case(suite, "debug", test_violations_abort, test_is_mine, test_assume_all, test_many_held);
#endif
}
