/* bt_steps.h -- Operations done to a btree and to its oracle alike, and their comparison.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The oracle is a sorted array of owned records. */
#ifndef TESTS_UNIT_DS_BT_STEPS_H
#define TESTS_UNIT_DS_BT_STEPS_H

#include "unit/ds/oracle.h"
#include "ds/btree.h"

struct bt_oracle {
    struct btree_item *v;
    size_t n, cap;
};

static inline void bt_sound(const struct btree *t)
{
    const char *broken = btree_check(t);
    if (broken != NULL) {
        ck_abort_msg("%s", broken);
    }
}

static inline bool bt_equal(const struct btree_item *a, const struct btree_item *b)
{
    return a->order == b->order && slice_eq(a->key, b->key) && slice_eq(a->value, b->value) &&
           a->due == b->due;
}

static inline struct btree_item bt_owned(const struct btree_item *item)
{
    struct btree_item copy = *item;
    copy.key = oracle_copy(item->key);
    copy.value = oracle_copy(item->value);
    return copy;
}

static inline void bt_forget(struct bt_oracle *o, size_t at, size_t n)
{
    for (size_t i = at; i < at + n; i++) {
        free((void *)(uintptr_t)o->v[i].key.p);
        free((void *)(uintptr_t)o->v[i].value.p);
    }
    if (o->n > at + n) {
        memmove(o->v + at, o->v + at + n, (o->n - at - n) * sizeof *o->v);
    }
    o->n -= n;
}

static inline void bt_oracle_free(struct bt_oracle *o)
{
    bt_forget(o, 0, o->n);
    free(o->v);
    *o = (struct bt_oracle){ 0 };
}

/* Where (order, key) is, or belongs. */
static inline bool bt_place(const struct bt_oracle *o, uint64_t order, struct slice key, size_t *at)
{
    size_t low = 0, high = o->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        const struct btree_item *v = &o->v[mid];
        int cmp = v->order != order ? (v->order < order ? -1 : 1) : slice_cmp(v->key, key);
        if (cmp == 0) {
            *at = mid;
            return true;
        }
        low = cmp < 0 ? mid + 1 : low;
        high = cmp < 0 ? high : mid;
    }
    *at = low;
    return false;
}

static inline void bt_set(struct bt_oracle *o, const struct btree_item *item)
{
    size_t at;
    struct btree_item copy = bt_owned(item);
    if (bt_place(o, item->order, item->key, &at)) {
        bt_forget(o, at, 1);
    }
    if (o->n == o->cap) {
        o->cap = o->cap * 2 + 8;
        o->v = realloc(o->v, o->cap * sizeof *o->v);
    }
    memmove(o->v + at + 1, o->v + at, (o->n - at) * sizeof *o->v);
    o->v[at] = copy;
    o->n++;
}

static inline void bt_same(const struct btree *t, const struct bt_oracle *o)
{
    struct btree_iter it;
    struct btree_item item;
    bt_sound(t);
    want(btree_count(t) == o->n);
    btree_iter(&it, t, 0, true);
    for (size_t i = 0; i < o->n; i++) {
        want(btree_next(&it, &item));
        want(bt_equal(&item, &o->v[i]));
    }
    want(!btree_next(&it, &item));
    want(!btree_next(&it, &item));
    btree_iter(&it, t, (uint64_t)o->n - 1, false);
    for (size_t i = o->n; i-- > 0;) {
        want(btree_next(&it, &item));
        want(bt_equal(&item, &o->v[i]));
    }
    want(!btree_next(&it, &item));
    want(!btree_next(&it, &item));
}

static inline void bt_put(struct btree *t, struct bt_oracle *o, const struct btree_item *item)
{
    size_t at;
    bool there = bt_place(o, item->order, item->key, &at);
    want(btree_put(t, item->order, item->key, item->value, item->due) == !there);
    bt_set(o, item);
}

static inline void bt_add(struct btree *t, struct bt_oracle *o, struct btree_item item)
{
    size_t at;
    bool there = bt_place(o, item.order, item.key, &at);
    want(btree_add(t, item.order, item.key) == !there);
    item.value = slice_of("", 0);
    item.due = BTREE_NO_DUE;
    if (!there) {
        bt_set(o, &item);
    }
}

/* A value as long as the one that is there, or a due for a due. */
static inline void bt_put_alike(struct btree *t, struct bt_oracle *o, size_t at)
{
    struct btree_item item = bt_owned(&o->v[at]);
    if (item.value.n > 0) {
        memset((char *)(uintptr_t)item.value.p, (int)rng_below(256), item.value.n);
    }
    if (item.due != BTREE_NO_DUE && rng_below(2) == 0) {
        item.due = (int64_t)rng_below(UINT64_C(1) << 62);
    }
    bt_put(t, o, &item);
    free((void *)(uintptr_t)item.key.p);
    free((void *)(uintptr_t)item.value.p);
}

/* What a random test puts in. `orders`: how many different ones, 0: any. `rare`: one in so many
 * keys and values is of 4 KiB or more. */
struct bt_kind {
    uint64_t orders;
    size_t wide; /* bytes added to each key */
    unsigned rare;
};

static inline uint64_t bt_order(const struct bt_kind *kind)
{
    if (kind->orders == 0) {
        return rng_u64();
    }
    uint64_t r = rng_below(kind->orders);
    return r == 0 ? 0 : r == 1 ? UINT64_MAX : r << 40;
}

static inline struct btree_item bt_random_item(const struct bt_kind *kind)
{
    static char key[64 << 10];
    struct slice text = oracle_value(kind->rare, 20000);
    struct btree_item item = { .order = bt_order(kind), .due = BTREE_NO_DUE };
    memcpy(key, text.p, text.n);
    memset(key + text.n, 'k', kind->wide);
    item.key = slice_of(key, text.n + kind->wide);
    item.value = rng_below(3) == 0 ? slice_of("", 0) : oracle_value(kind->rare, 20000);
    if (rng_below(4) == 0) {
        item.due = (int64_t)rng_below(UINT64_C(1) << 62);
    }
    return item;
}

/* Asks for what is there, and for what is not. */
static inline void bt_ask(const struct btree *t, const struct bt_oracle *o,
                          const struct bt_kind *kind)
{
    struct btree_item item, asked = bt_random_item(kind);
    size_t at;
    bool there = bt_place(o, asked.order, asked.key, &at);
    want(btree_find(t, asked.order, asked.key, &item) == there);
    want(!there || bt_equal(&item, &o->v[at]));
    want(btree_rank(t, asked.order, asked.key) == at);
    (void)bt_place(o, asked.order, slice_of("", 0), &at);
    want(btree_rank(t, asked.order, slice_of(NULL, 0)) == at);
    want(!btree_at(t, o->n, &item) && !btree_at(t, UINT64_MAX, &item));
    if (o->n > 0) {
        at = rng_below(o->n);
        want(btree_at(t, at, &item) && bt_equal(&item, &o->v[at]));
        want(btree_rank(t, item.order, item.key) == at);
        want(btree_find(t, o->v[at].order, o->v[at].key, &item) && bt_equal(&item, &o->v[at]));
        struct btree_iter it;
        bool forward = rng_below(2) == 0;
        btree_iter(&it, t, at, forward);
        for (int i = 0; i < 5 && at < o->n; i++, at += forward ? 1 : -1ul) {
            want(btree_next(&it, &item) && bt_equal(&item, &o->v[at]));
        }
        struct btree_item run[40];
        unsigned max = 1 + (unsigned)rng_below(countof(run)), n = 0;
        size_t left = at >= o->n ? 0 : forward ? o->n - at : at + 1;
        for (int i = 0; i < 5; i++, left -= n) { /* where single steps ended, and past the end */
            n = btree_next_many(&it, run, max);
            want(n == (left < max ? left : max));
            for (unsigned k = 0; k < n; k++, at += forward ? 1 : -1ul) {
                want(bt_equal(&run[k], &o->v[at]));
            }
        }
    }
}

/* Takes out one record, by its key or by its rank, or a stretch. */
static inline void bt_take(struct btree *t, struct bt_oracle *o)
{
    size_t at = rng_below(o->n), n = 1;
    if (rng_below(40) == 0) {
        n = size_min(o->n - at, rng_below(rng_below(10) == 0 ? o->n : 20));
        want(btree_remove_range(t, at, n == o->n - at ? n + rng_below(9) : n) == n);
    } else if (rng_below(3) == 0) {
        want(btree_remove_at(t, at));
    } else {
        want(btree_remove(t, o->v[at].order, o->v[at].key));
        want(!btree_remove(t, o->v[at].order, o->v[at].key));
    }
    bt_forget(o, at, n);
}

static inline void bt_random_step(struct btree *t, struct bt_oracle *o, const struct bt_kind *kind,
                                  bool grow)
{
    unsigned what = (unsigned)rng_below(100);
    bt_ask(t, o, kind);
    if (o->n > 0 && what < (grow ? 25 : 75)) {
        bt_take(t, o);
    } else {
        struct btree_item item = bt_random_item(kind);
        if (o->n > 0 && rng_below(3) == 0) { /* replaces one that is there */
            size_t at = rng_below(o->n);
            if (rng_below(3) == 0) {
                bt_put_alike(t, o, at);
                return;
            }
            item.order = o->v[at].order;
            item.key = o->v[at].key;
            item = bt_owned(&item);
            rng_below(4) == 0 ? bt_add(t, o, item) : bt_put(t, o, &item);
            free((void *)(uintptr_t)item.key.p);
            free((void *)(uintptr_t)item.value.p);
            return;
        }
        rng_below(4) == 0 ? bt_add(t, o, item) : bt_put(t, o, &item);
    }
}
#endif
