/* test_btree.c -- Random changes of trees that share pages, images in other threads, no memory.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "unit/ds/bt_steps.h"
#include "base/fault.h"
#include "base/mem.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>

/* Four trees, one of them now and then becoming a copy of another, so that pages, nodes and big
 * records are shared in every way. `most` bounds their size. */
static void random_trees(const struct bt_kind *kind, unsigned rounds, size_t most)
{
    struct {
        struct btree *t;
        struct bt_oracle o;
        bool grow;
    } tree[4];
    (void)oracle_value(0, 0); /* has its buffer now */
    size_t used = mem_used();
    for (int k = 0; k < 4; k++) {
        tree[k].t = btree_new();
        tree[k].o = (struct bt_oracle){ 0 };
        tree[k].grow = true;
    }
    for (unsigned round = 0; round < rounds; round++) {
        int k = (int)rng_below(4), from = (int)rng_below(4);
        if (rng_below(30) == 0 && k != from) {
            btree_free(tree[k].t);
            bt_oracle_free(&tree[k].o);
            tree[k].t = btree_dup(tree[from].t);
            for (size_t i = 0; i < tree[from].o.n; i++) {
                bt_set(&tree[k].o, &tree[from].o.v[i]);
            }
        }
        if (tree[k].o.n > most || rng_below(100) == 0) {
            tree[k].grow = !tree[k].grow;
        }
        bt_random_step(tree[k].t, &tree[k].o, kind, tree[k].grow && tree[k].o.n <= most);
        bt_sound(tree[k].t);
        if (rng_below(most / 8) < 10) {
            for (int all = 0; all < 4; all++) {
                bt_same(tree[all].t, &tree[all].o);
            }
        }
    }
    for (int k = 0; k < 4; k++) {
        bt_same(tree[k].t, &tree[k].o);
        btree_free(tree[k].t);
        bt_oracle_free(&tree[k].o);
    }
    ck_assert_uint_eq(mem_used(), used);
}

/* Any order; one order; a few with the edges among them; the same with wide records, so that a few
 * make a page, and with big ones. */
static const struct bt_kind kinds[] = {
    { 0, 0, 0 }, { 1, 0, 0 }, { 5, 0, 0 }, { 0, 900, 0 }, { 3, 900, 50 }, { 0, 0, 5 }, { 3, 0, 5 },
};

START_TEST(test_random_small)
{
    rng_seed_all(unit_seed());
    for (size_t i = 0; i < countof(kinds); i++) {
        random_trees(&kinds[i], 4000, 60);
    }
}
END_TEST

START_TEST(test_random_large)
{
    rng_seed_all(unit_seed());
    for (size_t i = 0; i < countof(kinds); i++) {
        random_trees(&kinds[i], 1500, 1000);
    }
}
END_TEST

/* Seven records to a page: 20,000 make a tree of three levels of nodes. */
static void grow_deep(struct btree *t, struct bt_oracle *o, const struct bt_kind *kind, size_t most)
{
    char key[1000];
    memset(key, 'k', sizeof key);
    while (o->n < most) {
        int n = snprintf(key, sizeof key, "%016" PRIx64, rng_u64());
        key[n] = 'k';
        struct btree_item item = { bt_order(kind), slice_of(key, 1000), S("v"), BTREE_NO_DUE };
        bt_put(t, o, &item);
    }
}

static void random_deep(const struct bt_kind *kind)
{
    struct btree *t = btree_new();
    struct bt_oracle o = { 0 };
    grow_deep(t, &o, kind, 20000);
    bt_same(t, &o);
    for (int round = 0; round < 2000; round++) {
        struct btree *old = btree_dup(t);
        bt_ask(t, &o, kind);
        for (int i = 0; i < 3; i++) {
            bt_random_step(t, &o, kind, i == 0);
        }
        grow_deep(t, &o, kind, 10000);
        if (round % 200 == 1) {
            size_t at = rng_below(o.n), n = rng_below(size_min(3000, o.n - at));
            want(btree_remove_range(t, at, n) == n);
            bt_forget(&o, at, n);
        }
        if (round % 200 == 0) {
            bt_same(t, &o);
            bt_sound(old);
        }
        btree_free(old);
    }
    while (o.n > 0) {
        bt_take(t, &o);
        if (o.n % 512 == 0) {
            bt_sound(t);
        }
    }
    bt_same(t, &o);
    ck_assert_uint_eq(btree_pages(t), 0);
    btree_free(t);
    bt_oracle_free(&o);
}

START_TEST(test_random_deep)
{
    rng_seed_all(unit_seed());
    random_deep(&(struct bt_kind){ 0, 0, 0 });
}
END_TEST

START_TEST(test_random_deep_ties)
{
    rng_seed_all(unit_seed());
    random_deep(&(struct bt_kind){ 4, 0, 0 });
}
END_TEST

START_TEST(test_no_memory)
{
    static char big[20000];
    struct btree *t = btree_new();
    struct bt_oracle o = { 0 };
    struct slice s = slice_of(big, sizeof big);
    for (int i = 0; i < 2000; i++) {
        struct btree_item item = { (uint64_t)i, S("key"), i == 1000 ? s : S("v"), BTREE_NO_DUE };
        bt_put(t, &o, &item);
    }
    ck_assert_int_eq(fault_arm("mem.alloc=nomem:0:0"), 0);
    ck_assert_int_eq(btree_put(t, 77, s, s, BTREE_NO_DUE), -ENOMEM);
    ck_assert_int_eq(btree_put(t, 77, S("key"), s, BTREE_NO_DUE), -ENOMEM);
    ck_assert_int_eq(btree_put(t, 1000, S("key"), s, 5), -ENOMEM);
    ck_assert_int_eq(btree_put(t, 5000, S("new"), s, 5), -ENOMEM);
    bt_same(t, &o);
    struct btree *empty = btree_new();
    ck_assert_int_eq(btree_put(empty, 1, S("key"), s, 5), -ENOMEM);
    ck_assert_uint_eq(btree_count(empty), 0);
    bt_sound(empty);
    btree_free(empty);
    /* None of these needs memory whose size a client chose. */
    struct btree_item item = { 77, S("key"), S("a longer value than before"), 17 };
    bt_put(t, &o, &item);
    item.order = 1000;
    bt_put(t, &o, &item);
    ck_assert_uint_eq(btree_remove_range(t, 1, 1), 1);
    bt_forget(&o, 1, 1);
    btree_free(btree_dup(t));
    bt_same(t, &o);
    ck_assert_int_eq(fault_arm(""), 0);
    btree_free(t);
    btree_free(NULL);
    bt_oracle_free(&o);
}
END_TEST

START_TEST(test_copies_are_cheap)
{
    struct btree *t = btree_new();
    for (uint64_t i = 0; i < 100000; i++) {
        want(btree_put(t, i, S("some key"), S("0123456789012345678901234"), BTREE_NO_DUE) == 1);
    }
    size_t before = mem_used();
    struct btree *image = btree_dup(t);
    ck_assert_uint_lt(mem_used() - before, 1000);
    ck_assert_int_eq(btree_put(t, 50000, S("some key"), S("changed"), BTREE_NO_DUE), 0);
    ck_assert_uint_lt(mem_used() - before, 20000); /* one page and its path */
    /* With the image held, cutting nearly everything frees nothing and copies only the edges. */
    ck_assert_uint_eq(btree_remove_range(t, 10, 99980), 99980);
    ck_assert_uint_eq(btree_count(t), 20);
    bt_sound(t);
    bt_sound(image);
    ck_assert_uint_eq(btree_count(image), 100000);
    ck_assert_uint_lt(mem_used() - before, 60000);
    btree_free(image);
    ck_assert_uint_lt(mem_used(), before - 4000000);
    btree_free(t);
}
END_TEST

/* ---- Images that other threads read and change ---- */

#define READERS 3

struct image {
    struct btree *read, *own; /* own: NULL, or a copy to change, independent of everybody */
    uint64_t digest;
};
static struct {
    pthread_mutex_t lock;
    struct image slot[16];
    unsigned n;
    bool stop;
    unsigned checked, wrong;
} hand = { .lock = PTHREAD_MUTEX_INITIALIZER };

static uint64_t hash_item(uint64_t h, const struct btree_item *item)
{
    const struct slice part[] = { item->key, item->value };
    h = (h ^ item->order ^ (uint64_t)item->due) * UINT64_C(1099511628211);
    for (unsigned k = 0; k < 2; k++) {
        for (size_t i = 0; i < part[k].n; i++) {
            h = (h ^ (uint8_t)part[k].p[i]) * UINT64_C(1099511628211);
        }
        h = (h ^ part[k].n) * UINT64_C(1099511628211);
    }
    return h;
}

static uint64_t digest(const struct btree *t)
{
    struct btree_iter it;
    struct btree_item item;
    uint64_t h = 14695981039346656037u;
    btree_iter(&it, t, 0, true);
    while (btree_next(&it, &item)) {
        h = hash_item(h, &item);
    }
    return h;
}

static bool change_own(struct btree *own)
{
    bool good = true;
    for (int i = 0; i < 20; i++) {
        struct btree_item item;
        good &= btree_at(own, rng_below(btree_count(own)), &item);
        struct btree_item mine = bt_owned(&item);
        good &= btree_put(own, mine.order, mine.key, S("mine"), 7) == 0;
        good &= btree_put(own, mine.order + 1, S("and mine"), mine.value, 7) >= 0;
        good &= btree_remove_at(own, 0);
        free((void *)(uintptr_t)mine.key.p);
        free((void *)(uintptr_t)mine.value.p);
    }
    return good && btree_check(own) == NULL;
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
        if (im.read == NULL && stop) {
            return NULL;
        }
        if (im.read == NULL) {
            sched_yield();
            continue;
        }
        bool good = digest(im.read) == im.digest && btree_check(im.read) == NULL;
        if (im.own != NULL) {
            good &= change_own(im.own);
            btree_free(im.own);
        }
        good &= digest(im.read) == im.digest;
        btree_free(im.read);
        pthread_mutex_lock(&hand.lock);
        hand.checked++;
        hand.wrong += !good;
        pthread_mutex_unlock(&hand.lock);
    }
}

START_TEST(test_freeze_threads)
{
    rng_seed_all(unit_seed());
    const struct bt_kind kind = { 0, _i == 0 ? 0 : 800, 100 };
    struct btree *t = btree_new();
    struct bt_oracle o = { 0 };
    pthread_t thread[READERS];
    for (int i = 0; i < READERS; i++) {
        pthread_create(&thread[i], NULL, reader, NULL);
    }
    for (unsigned round = 0; round < 6000; round++) {
        bt_random_step(t, &o, &kind, o.n < 1500);
        if (round % 8 == 0 && o.n > 100) {
            uint64_t h = 14695981039346656037u;
            for (size_t i = 0; i < o.n; i++) {
                h = hash_item(h, &o.v[i]);
            }
            pthread_mutex_lock(&hand.lock);
            if (hand.n < countof(hand.slot)) {
                struct btree *own = round % 16 == 0 ? btree_dup(t) : NULL;
                hand.slot[hand.n++] = (struct image){ btree_dup(t), own, h };
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
    bt_same(t, &o);
    btree_free(t);
    bt_oracle_free(&o);
}
END_TEST

/* Of a page and of a big record, with and without a copy that keeps what it had. */
START_TEST(test_edit)
{
    char *value, big[2000];
    memset(big, 'b', sizeof big);
    struct btree *t = btree_new();
    struct btree_item item;
    ck_assert_int_eq(btree_edit(t, 1, S("k"), &value), 0);
    ck_assert_int_eq(btree_put(t, 1, S("k"), S("value"), BTREE_NO_DUE), 1);
    ck_assert_int_eq(btree_put(t, 2, S("k"), slice_of(big, sizeof big), 7), 1);
    struct btree *copy = btree_dup(t);
    for (uint64_t order = 1; order <= 2; order++) {
        ck_assert_int_eq(btree_edit(t, order, S("other"), &value), 0);
        for (char c = 'A'; c <= 'B'; c++) {
            ck_assert_int_eq(btree_edit(t, order, S("k"), &value), 1);
            value[1] = c;
            ck_assert(btree_find(t, order, S("k"), &item));
            ck_assert_int_eq(item.value.p[1], c);
            ck_assert_int_eq(item.due, order == 2 ? 7 : BTREE_NO_DUE);
            ck_assert(btree_find(copy, order, S("k"), &item));
            ck_assert_int_eq(item.value.p[1], order == 2 ? 'b' : 'a');
        }
    }
    bt_sound(t);
    bt_sound(copy);
    btree_free(copy);
    copy = btree_dup(t);
    ck_assert_int_eq(fault_arm("mem.alloc=nomem:0:0"), 0);
    ck_assert_int_eq(btree_edit(t, 1, S("k"), &value), 1);
    ck_assert_int_eq(btree_edit(t, 2, S("k"), &value), -ENOMEM);
    bt_sound(t);
    btree_free(copy);
    ck_assert_int_eq(btree_edit(t, 2, S("k"), &value), 1);
    bt_sound(t);
    btree_free(t);
}
END_TEST

UNIT_SUITE(btree)
{
    unit_case(suite, "failure", test_no_memory);
    unit_case_slow(suite, "random", 300, test_random_small, test_random_large, test_random_deep,
                   test_random_deep_ties);
    unit_case(suite, "copies", test_copies_are_cheap, test_edit);
    unit_case_loop(suite, "freeze", 300, test_freeze_threads, 2);
}
