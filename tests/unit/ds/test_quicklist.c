/* test_quicklist.c -- Random changes of lists that share chunks, images in other threads, no
 * memory. SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "unit/ds/ql_steps.h"
#include "base/fault.h"
#include "base/mem.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>

/* Four lists, one of them now and then becoming a copy of another, so that chunks and nodes are
 * shared in every way. `most` bounds their length. */
static void random_lists(int fill, unsigned rounds, size_t most)
{
    struct {
        struct quicklist *ql;
        struct oracle o;
        bool grow;
    } list[4];
    (void)oracle_value(0, 0); /* has its buffer now */
    size_t used = mem_used();
    for (int k = 0; k < 4; k++) {
        list[k].ql = quicklist_new(fill);
        list[k].o = (struct oracle){ 0 };
        list[k].grow = true;
    }
    for (unsigned round = 0; round < rounds; round++) {
        int k = (int)rng_below(4), from = (int)rng_below(4);
        if (rng_below(30) == 0 && k != from) {
            quicklist_free(list[k].ql);
            oracle_free(&list[k].o);
            list[k].ql = quicklist_dup(list[from].ql);
            for (size_t i = 0; i < list[from].o.n; i++) {
                oracle_insert(&list[k].o, i, list[from].o.v[i]);
            }
        }
        if (list[k].o.n > most || rng_below(100) == 0) {
            list[k].grow = !list[k].grow;
        }
        random_step(list[k].ql, &list[k].o, list[k].grow && list[k].o.n <= most);
        sound(list[k].ql);
        if (rng_below(most / 8) < 10) {
            for (int all = 0; all < 4; all++) {
                same(list[all].ql, &list[all].o);
            }
        }
    }
    for (int k = 0; k < 4; k++) {
        same(list[k].ql, &list[k].o);
        quicklist_free(list[k].ql);
        oracle_free(&list[k].o);
    }
    ck_assert_uint_eq(mem_used(), used);
}

static const int fills[] = { -1, -2, -5, 1, 2, 5, 128 };

START_TEST(test_random_small)
{
    rng_seed_all(unit_seed());
    for (size_t f = 0; f < countof(fills); f++) {
        random_lists(fills[f], 4000, 100);
    }
}
END_TEST

START_TEST(test_random_large)
{
    rng_seed_all(unit_seed());
    for (size_t f = 0; f < countof(fills); f++) {
        random_lists(fills[f], 600, 3000);
    }
}
END_TEST

/* One element per chunk: 5,000 chunks make a tree of three levels. */
START_TEST(test_random_deep)
{
    rng_seed_all(unit_seed());
    struct quicklist *ql = quicklist_new(1);
    struct oracle o = { 0 };
    for (int i = 0; i < 5000; i++) {
        push(ql, &o, i % 3 == 0 ? QL_HEAD : QL_TAIL, oracle_value(0, 0));
    }
    same(ql, &o);
    for (int round = 0; round < 3000; round++) {
        struct quicklist *old = quicklist_dup(ql);
        size_t i = rng_below(o.n);
        struct slice s = oracle_value(0, 0);
        if (round % 2 == 0 && o.n < 6000) {
            ok(quicklist_insert(ql, i, s));
            oracle_insert(&o, i, s);
        } else {
            size_t n = size_min(o.n - i, rng_below(round % 100 == 1 ? 1500 : 3));
            want(quicklist_delete(ql, i, n) == n);
            oracle_remove(&o, i, n);
        }
        if (round % 20 == 0) {
            sound(ql);
            sound(old);
        }
        quicklist_free(old);
        while (o.n < 500) {
            push(ql, &o, QL_TAIL, oracle_value(0, 0));
        }
    }
    same(ql, &o);
    quicklist_free(ql);
    oracle_free(&o);
}
END_TEST

START_TEST(test_no_memory)
{
    static char big[20000];
    struct quicklist *ql = quicklist_new(-2);
    struct oracle o = { 0 };
    for (int i = 0; i < 2000; i++) {
        push(ql, &o, QL_TAIL, i == 1000 ? slice_of(big, 10000) : S("an element"));
    }
    struct slice s = slice_of(big, sizeof big);
    struct listpack *lp = lp_append(lp_append(lp_new(), S("x")), s);
    struct ql_iter it;
    struct lp_value v;
    quicklist_iter(&it, ql, 500, true);
    ck_assert(quicklist_next(&it, &v));
    ok(fault_arm("mem.alloc=nomem:0:0"));
    ck_assert_int_eq(quicklist_push(ql, QL_HEAD, s), -ENOMEM);
    ck_assert_int_eq(quicklist_push(ql, QL_TAIL, s), -ENOMEM);
    ck_assert_int_eq(quicklist_insert(ql, 77, s), -ENOMEM);
    ck_assert_int_eq(quicklist_set(ql, 77, s), -ENOMEM);
    ck_assert_int_eq(quicklist_set(ql, 1000, s), -ENOMEM);
    ck_assert_int_eq(quicklist_iter_replace(ql, &it, s), -ENOMEM);
    ck_assert_int_eq(quicklist_iter_insert_before(ql, &it, s), -ENOMEM);
    ck_assert_int_eq(quicklist_iter_insert_after(ql, &it, s), -ENOMEM);
    ck_assert_int_eq(quicklist_append_listpack(ql, lp), -ENOMEM);
    ck_assert_uint_eq(quicklist_iter_index(&it), 500);
    ck_assert(quicklist_next(&it, &v));
    ck_assert_uint_eq(quicklist_iter_index(&it), 501);
    same(ql, &o);
    /* None of these needs memory whose size a client chose. */
    quicklist_rotate(ql, QL_HEAD);
    ck_assert_uint_eq(quicklist_delete(ql, 1, 1), 1);
    quicklist_free(quicklist_dup(ql));
    ok(fault_arm(""));
    lp_free(lp);
    quicklist_free(ql);
    oracle_free(&o);
}
END_TEST

START_TEST(test_copies_are_cheap)
{
    struct quicklist *ql = quicklist_new(-2);
    for (int i = 0; i < 100000; i++) {
        ok(quicklist_push(ql, QL_TAIL, S("0123456789012345678901234567890123456789")));
    }
    size_t before = mem_used();
    const struct quicklist *image = quicklist_freeze(ql);
    ck_assert_uint_lt(mem_used() - before, 1000);
    ok(quicklist_set(ql, 50000, S("changed")));
    ck_assert_uint_lt(mem_used() - before, 20000); /* one chunk and its path */
    /* With the image held, cutting nearly everything frees nothing and copies only the edges. */
    ck_assert_uint_eq(quicklist_delete(ql, 10, 99980), 99980);
    ck_assert_uint_eq(quicklist_count(ql), 20);
    sound(ql);
    sound(image);
    ck_assert_uint_eq(quicklist_count(image), 100000);
    ck_assert_uint_lt(mem_used() - before, 60000);
    quicklist_release(image);
    ck_assert_uint_lt(mem_used(), before - 4000000);
    quicklist_free(ql);
}
END_TEST

/* ---- Freezing while other threads work ---- */

static uint64_t hash_bytes(uint64_t h, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        h = (h ^ (uint8_t)p[i]) * UINT64_C(1099511628211);
    }
    return (h ^ n) * UINT64_C(1099511628211);
}

#define READERS 3

struct image {
    const struct quicklist *list;
    struct quicklist *own; /* not NULL: a copy to change, independent of everybody */
    uint64_t digest;
};
static struct {
    pthread_mutex_t lock;
    struct image slot[16];
    unsigned n;
    bool stop;
    unsigned checked, wrong;
} hand = { .lock = PTHREAD_MUTEX_INITIALIZER };

static uint64_t digest(const struct quicklist *ql)
{
    struct ql_iter it;
    struct lp_value v;
    uint64_t h = 14695981039346656037u;
    quicklist_iter(&it, ql, 0, true);
    while (quicklist_next(&it, &v)) {
        char store[I64_TEXT_MAX];
        struct slice s = lp_text(&v, store);
        h = hash_bytes(h, s.p, s.n);
    }
    return h;
}

static void *reader(void *arg unused_arg)
{
    for (;;) {
        pthread_mutex_lock(&hand.lock);
        struct image im = { 0 };
        bool stop = hand.stop;
        if (hand.n > 0) {
            im = hand.slot[--hand.n];
        }
        pthread_mutex_unlock(&hand.lock);
        if (im.list == NULL && stop) {
            return NULL;
        }
        if (im.list == NULL) {
            sched_yield();
            continue;
        }
        bool good = digest(im.list) == im.digest && quicklist_check(im.list) == NULL;
        if (im.own != NULL) {
            for (int i = 0; i < 20; i++) {
                uint64_t at = rng_below(quicklist_count(im.own));
                good &= quicklist_set(im.own, at, S("mine")) == 0;
                good &= quicklist_insert(im.own, at, S("and mine")) == 0;
                quicklist_drop(im.own, QL_HEAD);
            }
            good &= quicklist_check(im.own) == NULL && digest(im.list) == im.digest;
            quicklist_free(im.own);
        }
        good &= digest(im.list) == im.digest;
        quicklist_release(im.list);
        pthread_mutex_lock(&hand.lock);
        hand.checked++;
        hand.wrong += !good;
        pthread_mutex_unlock(&hand.lock);
    }
}

static void freeze_threads(int fill)
{
    rng_seed_all(unit_seed());
    struct quicklist *ql = quicklist_new(fill);
    struct oracle o = { 0 };
    pthread_t thread[READERS];
    for (int i = 0; i < READERS; i++) {
        pthread_create(&thread[i], NULL, reader, NULL);
    }
    for (int i = 0; i < 2000; i++) {
        push(ql, &o, QL_TAIL, oracle_value(200, 9000));
    }
    for (unsigned round = 0; round < 6000; round++) {
        random_step(ql, &o, o.n < 1500);
        if (o.n > 4000) {
            ck_assert_uint_eq(quicklist_delete(ql, 1000, 1500), 1500);
            oracle_remove(&o, 1000, 1500);
        }
        if (round % 8 == 0 && o.n > 100) {
            uint64_t h = 14695981039346656037u;
            for (size_t i = 0; i < o.n; i++) {
                h = hash_bytes(h, o.v[i].p, o.v[i].n);
            }
            pthread_mutex_lock(&hand.lock);
            if (hand.n < countof(hand.slot)) {
                struct quicklist *own = round % 16 == 0 ? quicklist_dup(ql) : NULL;
                hand.slot[hand.n++] = (struct image){ quicklist_freeze(ql), own, h };
            }
            pthread_mutex_unlock(&hand.lock);
        }
    }
    pthread_mutex_lock(&hand.lock);
    hand.stop = true;
    pthread_mutex_unlock(&hand.lock);
    for (int i = 0; i < READERS; i++) {
        pthread_join(thread[i], NULL);
    }
    ck_assert_uint_eq(hand.wrong, 0);
    ck_assert_uint_gt(hand.checked, 20);
    same(ql, &o);
    quicklist_free(ql);
    oracle_free(&o);
}

START_TEST(test_freeze_threads)
{
    freeze_threads(-1);
}
END_TEST

START_TEST(test_freeze_threads_deep)
{
    freeze_threads(3);
}
END_TEST

UNIT_SUITE(quicklist)
{
    unit_case(suite, "failure", test_no_memory);
    unit_case_slow(suite, "random", 300, test_random_small, test_random_large, test_random_deep);
    unit_case_slow(suite, "freeze", 300, test_copies_are_cheap, test_freeze_threads,
                   test_freeze_threads_deep);
}
