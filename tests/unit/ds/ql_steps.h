/* ql_steps.h -- Operations done to a quicklist and to its oracle alike, and their comparison.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_DS_QL_STEPS_H
#define TESTS_UNIT_DS_QL_STEPS_H

#include "unit/ds/oracle.h"
#include "ds/quicklist.h"

#define ok(call) want((call) == 0)

static inline void sound(const struct quicklist *ql)
{
    const char *broken = quicklist_check(ql);
    if (broken != NULL) {
        ck_abort_msg("%s", broken);
    }
}

static inline bool is_text(const struct lp_value *v, struct slice text)
{
    char store[I64_TEXT_MAX];
    return slice_eq(lp_text(v, store), text);
}

static inline void same(const struct quicklist *ql, const struct oracle *o)
{
    struct ql_iter it;
    struct lp_value v;
    sound(ql);
    want(quicklist_count(ql) == o->n);
    quicklist_iter(&it, ql, 0, true);
    for (size_t i = 0; i < o->n; i++) {
        want(quicklist_next(&it, &v));
        want(is_text(&v, o->v[i]));
        want(quicklist_iter_index(&it) == i);
    }
    want(!quicklist_next(&it, &v));
    want(!quicklist_next(&it, &v));
    quicklist_iter(&it, ql, (uint64_t)o->n - 1, false);
    for (size_t i = o->n; i-- > 0;) {
        want(quicklist_next(&it, &v));
        want(is_text(&v, o->v[i]));
    }
    want(!quicklist_next(&it, &v));
    want(!quicklist_next(&it, &v));
}

static inline void push(struct quicklist *ql, struct oracle *o, enum ql_end end, struct slice s)
{
    ok(quicklist_push(ql, end, s));
    oracle_insert(o, end == QL_HEAD ? 0 : o->n, s);
}

static inline void drop(struct quicklist *ql, struct oracle *o, enum ql_end end)
{
    size_t at = end == QL_HEAD ? 0 : o->n - 1;
    struct lp_value v;
    want(quicklist_peek(ql, end, &v));
    want(is_text(&v, o->v[at]));
    quicklist_drop(ql, end);
    oracle_remove(o, at, 1);
}

static inline void rotate(struct quicklist *ql, struct oracle *o, enum ql_end from)
{
    quicklist_rotate(ql, from);
    if (o->n > 0) {
        struct slice s = o->v[from == QL_HEAD ? 0 : o->n - 1];
        oracle_insert(o, from == QL_HEAD ? o->n : 0, s);
        oracle_remove(o, from == QL_HEAD ? 0 : o->n - 1, 1);
    }
}

/* Walks from a random place and deletes, replaces and inserts on the way. */
static inline void walk(struct quicklist *ql, struct oracle *o)
{
    struct ql_iter it;
    struct lp_value v;
    bool forward = rng_below(2) == 0;
    size_t at = rng_below(o->n + 1);
    uint64_t kill = rng_below(4);
    quicklist_iter(&it, ql, at, forward);
    for (uint64_t steps = rng_below(60); steps > 0; steps--) {
        bool more = quicklist_next(&it, &v);
        want(more == (at < o->n));
        if (!more) {
            return;
        }
        want(is_text(&v, o->v[at]));
        want(quicklist_iter_index(&it) == at);
        uint64_t what = rng_below(12);
        struct slice s = oracle_value(100, 20000);
        if (what == 0) {
            ok(quicklist_iter_replace(ql, &it, s));
            oracle_replace(o, at, s);
        } else if (what == 1) {
            ok(quicklist_iter_insert_before(ql, &it, s));
            oracle_insert(o, at++, s);
        } else if (what == 2) {
            ok(quicklist_iter_insert_after(ql, &it, s));
            oracle_insert(o, at + 1, s);
        }
        if (what >= 3 && what < 4 + kill * 2) {
            quicklist_iter_delete(ql, &it);
            oracle_remove(o, at, 1);
            at -= forward ? 0 : 1; /* below zero it is past every index */
        } else {
            at += forward ? 1 : SIZE_MAX;
        }
    }
}

static inline void append_listpack(struct quicklist *ql, struct oracle *o)
{
    struct listpack *lp = lp_new();
    for (uint64_t n = rng_below(40); n > 0; n--) {
        struct slice s = oracle_value(60, 20000);
        lp = lp_append(lp, s);
        oracle_insert(o, o->n, s);
    }
    ok(quicklist_append_listpack(ql, lp));
    lp_free(lp);
}

static inline void random_step(struct quicklist *ql, struct oracle *o, bool grow)
{
    struct slice s = oracle_value(80, 20000);
    size_t i = o->n > 0 ? rng_below(o->n) : 0;
    struct lp_value v;
    enum ql_end end = rng_below(2) == 0 ? QL_HEAD : QL_TAIL;
    uint64_t what = rng_below(grow ? 13 : 18);
    if (what < 5 || o->n == 0) {
        push(ql, o, end, s);
    } else if (what < 8) {
        ok(quicklist_insert(ql, i, s));
        oracle_insert(o, i, s);
    } else if (what < 9) {
        rotate(ql, o, end);
    } else if (what < 10) {
        ok(quicklist_set(ql, i, s));
        oracle_replace(o, i, s);
    } else if (what < 11) {
        walk(ql, o);
    } else if (what < 12) {
        want(quicklist_get(ql, i, &v) && is_text(&v, o->v[i]));
        want(!quicklist_get(ql, o->n, &v));
    } else if (what < 13) {
        append_listpack(ql, o);
    } else if (what < 16) {
        drop(ql, o, end);
    } else {
        size_t most = what == 16 ? 4 : o->n / 2 + 2;
        size_t n = rng_below(most), gone = size_min(n, o->n - i);
        want(quicklist_delete(ql, i, n) == gone);
        oracle_remove(o, i, gone);
    }
}
#endif
