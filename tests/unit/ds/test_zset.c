/* test_zset.c -- Sorted sets beside an array that is sorted again after each change.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "ds/zset.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/mem.h"
#include "oracle.h"
#include "unit.h"
#include <errno.h>
#include <math.h>

/* ---- The trivial sorted set ---- */

struct pair {
    struct slice member;
    double score;
};
struct model {
    struct pair *v;
    size_t n, cap;
};

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->score != y->score) {
        return x->score < y->score ? -1 : 1;
    }
    return slice_cmp(x->member, y->member);
}

static size_t model_find(const struct model *m, struct slice member)
{
    size_t i = 0;
    while (i < m->n && !slice_eq(m->v[i].member, member)) {
        i++;
    }
    return i;
}

static void model_put(struct model *m, struct slice member, double score)
{
    size_t i = model_find(m, member);
    if (i == m->n) {
        if (m->n == m->cap) {
            m->cap = m->cap * 2 + 8;
            m->v = realloc(m->v, m->cap * sizeof *m->v);
        }
        m->v[m->n++].member = oracle_copy(member);
    }
    m->v[i].score = score;
    qsort(m->v, m->n, sizeof *m->v, compare_pairs);
}

static void model_remove(struct model *m, size_t at, size_t n)
{
    for (size_t i = at; i < at + n; i++) {
        free((void *)(uintptr_t)m->v[i].member.p);
    }
    if (m->n > at + n) {
        memmove(m->v + at, m->v + at + n, (m->n - at - n) * sizeof *m->v);
    }
    m->n -= n;
}

static void model_free(struct model *m)
{
    model_remove(m, 0, m->n);
    free(m->v);
    *m = (struct model){ 0 };
}

/* ---- Comparing ---- */

static void want_walk(struct zset z, const struct model *m, size_t from, bool forward)
{
    struct zset_iter it;
    struct zset_item item;
    size_t at = from;
    zset_iter(&it, z, from, forward);
    while (at < m->n) {
        want(zset_next(&it, &item));
        want(slice_eq(item.member, m->v[at].member) && item.score == m->v[at].score);
        at += forward ? 1 : (size_t)-1;
    }
    want(!zset_next(&it, &item));
    want(!zset_next(&it, &item));
}

static void want_runs(struct zset z, const struct model *m, size_t from, bool forward)
{
    struct zset_iter it;
    struct zset_item run[ZSET_RUN];
    unsigned max = 1 + (unsigned)rng_below(ZSET_RUN), n;
    size_t at = from;
    zset_iter(&it, z, from, forward);
    while ((n = zset_next_run(&it, run, max)) > 0) {
        want(n <= max);
        for (unsigned i = 0; i < n; i++, at += forward ? 1 : (size_t)-1) {
            want(at < m->n && slice_eq(run[i].member, m->v[at].member) &&
                 run[i].score == m->v[at].score);
        }
    }
    want(at >= m->n); /* the end, or the wrap below 0 */
    want(zset_next_run(&it, run, max) == 0);
}

static void want_below(struct zset z, const struct model *m, double score)
{
    uint64_t below = 0, equal = 0;
    for (size_t i = 0; i < m->n; i++) {
        below += m->v[i].score < score;
        equal += m->v[i].score == score;
    }
    want(zset_below(z, score, false) == below);
    want(zset_below(z, score, true) == below + equal);
}

static void want_same(struct zset z, const struct model *m)
{
    const char *bad = zset_check(z);
    ck_assert_msg(bad == NULL, "%s", bad);
    want(zset_count(z) == m->n);
    want(zset_bytes(z) > 0 && zset_allocations(z) > 0);
    want_walk(z, m, 0, true);
    want_walk(z, m, m->n - 1, false);
    want_walk(z, m, m->n, true);
    want_runs(z, m, 0, true);
    want_runs(z, m, m->n, false);
    for (size_t i = 0; i < m->n; i += 1 + m->n / 40) {
        double score, again;
        uint64_t rank;
        want(zset_score(z, m->v[i].member, &score) && score == m->v[i].score);
        want(zset_rank(z, m->v[i].member, &rank, &again) && rank == i && again == score);
        want_walk(z, m, i, i % 2 == 0);
        want_runs(z, m, i, i % 3 == 0);
        want_below(z, m, score);
    }
    want_below(z, m, -INFINITY);
    want_below(z, m, INFINITY);
    want_below(z, m, rng_unit() * 10 - 5);
}

/* ---- Random operations ---- */

static double random_score(void)
{
    static const double odd[] = { 0,
                                  1,
                                  -1,
                                  0.1,
                                  -0.1,
                                  1e300,
                                  -1e300,
                                  5e-324,
                                  -5e-324,
                                  1e15,
                                  1e17,
                                  INFINITY,
                                  -INFINITY,
                                  9007199254740993.0,
                                  9223372036854775808.0,
                                  -9223372036854775808.0,
                                  1.7976931348623157e308 };
    switch (rng_below(4)) {
    case 0: return odd[rng_below(countof(odd))];
    case 1: return rng_unit() * 10 - 5;
    case 2: return (double)rng_below(4);
    default: return (double)(int64_t)rng_below(2000) - 1000;
    }
}

static void step(struct zset *z, struct model *m, const struct zset_limits *limits)
{
    struct slice member = oracle_value(200, 20000);
    double score = random_score(), old;
    uint64_t kind = rng_below(20), rank;
    if (kind < 12 || (kind < 16 && m->n == 0)) {
        size_t at = model_find(m, member);
        want(zset_score(*z, member, &old) == (at < m->n));
        if (at == m->n) {
            want(!zset_rank(*z, member, &rank, &old));
            want(!zset_remove(z, member));
            want(zset_add(z, limits, member, score) == 0);
        } else if (old != score) {
            want(zset_move(z, member, old, score) == 0);
        }
        model_put(m, member, score);
    } else if (kind < 16) { /* a member that is there changes its place, or goes */
        size_t at = rng_below(m->n);
        struct slice copy = oracle_copy(m->v[at].member);
        old = m->v[at].score;
        if (kind < 14 && old != score) {
            want(zset_move(z, copy, old, score) == 0);
            model_put(m, copy, score);
        } else {
            want(zset_remove(z, copy));
            model_remove(m, at, 1);
        }
        free((void *)(uintptr_t)copy.p);
    } else if (kind == 16) {
        uint64_t at = rng_below(m->n + 2), n = rng_below(6);
        size_t gone = at >= m->n ? 0 : size_min(n, m->n - at);
        want(zset_remove_range(z, at, n) == gone);
        model_remove(m, gone > 0 ? at : 0, gone);
    }
}

static void random_run(struct zset_limits limits, unsigned steps, unsigned each)
{
    struct zset z = zset_new();
    struct model m = { 0 };
    for (unsigned i = 0; i < steps; i++) {
        step(&z, &m, &limits);
        if (i % each == 0) {
            want_same(z, &m);
        }
    }
    want_same(z, &m);
    want(zset_remove_range(&z, 0, UINT64_MAX) == m.n);
    want(zset_count(z) == 0);
    zset_free(z);
    model_free(&m);
}

START_TEST(test_zset_small)
{
    for (unsigned i = 0; i < 20; i++) {
        random_run((struct zset_limits){ UINT64_MAX, UINT64_MAX }, 100, 1);
    }
}
END_TEST

START_TEST(test_zset_big)
{
    random_run((struct zset_limits){ 0, 0 }, 4000, 40);
}
END_TEST

START_TEST(test_zset_growing)
{
    for (unsigned i = 0; i < 20; i++) {
        random_run((struct zset_limits){ rng_below(40), 64 }, 150, 1);
    }
}
END_TEST

/* ---- Limits ---- */

START_TEST(test_zset_limits)
{
    struct zset_limits limits = { 3, 5 };
    struct zset z = zset_new();
    ck_assert(zset_add(&z, &limits, S("a"), 1) == 0);
    ck_assert(zset_add(&z, &limits, S("fives"), 1) == 0);
    ck_assert(zset_add(&z, &limits, S("c"), 1) == 0);
    ck_assert(!z.big);
    ck_assert(zset_move(&z, S("c"), 1, 7) == 0);
    ck_assert(!z.big);
    ck_assert(zset_add(&z, &limits, S("d"), 1) == 0);
    ck_assert(z.big && zset_count(z) == 4 && zset_check(z) == NULL);
    ck_assert(zset_remove(&z, S("d")));
    ck_assert_msg(z.big, "it does not go back");
    zset_free(z);
    z = zset_new();
    ck_assert(zset_add(&z, &limits, S("sixsix"), 1) == 0);
    ck_assert(z.big && zset_count(z) == 1);
    zset_free(z);
}
END_TEST

/* -0 is 0, in both forms. */
START_TEST(test_zset_negative_zero)
{
    for (int big = 0; big < 2; big++) {
        struct zset_limits limits = { big ? 0 : 10, 10 };
        struct zset z = zset_new();
        double score = 1;
        ck_assert(zset_add(&z, &limits, S("b"), -0.0) == 0);
        ck_assert(zset_add(&z, &limits, S("a"), 0.0) == 0);
        ck_assert(zset_add(&z, &limits, S("c"), 0.0) == 0);
        ck_assert(zset_score(z, S("b"), &score) && score == 0 && !signbit(score));
        struct zset_iter it;
        struct zset_item item;
        zset_iter(&it, z, 0, true);
        ck_assert(zset_next(&it, &item) && slice_eq(item.member, S("a")) && !signbit(item.score));
        ck_assert(zset_next(&it, &item) && slice_eq(item.member, S("b")) && !signbit(item.score));
        ck_assert(zset_move(&z, S("c"), 0.0, 1) == 0 && zset_move(&z, S("c"), 1, -0.0) == 0);
        ck_assert(zset_score(z, S("c"), &score) && score == 0 && !signbit(score));
        ck_assert(zset_below(z, -0.0, false) == 0 && zset_below(z, 0.0, true) == 3);
        ck_assert(zset_check(z) == NULL);
        zset_free(z);
    }
}
END_TEST

/* ---- Copies ---- */

START_TEST(test_zset_copies)
{
    for (int big = 0; big < 2; big++) {
        struct zset_limits limits = { big ? 0 : UINT64_MAX, UINT64_MAX };
        struct zset z = zset_new(), copy;
        struct model m = { 0 }, then = { 0 };
        for (unsigned i = 0; i < 300; i++) {
            step(&z, &m, &limits);
        }
        for (size_t i = 0; i < m.n; i++) {
            model_put(&then, m.v[i].member, m.v[i].score);
        }
        ck_assert(zset_dup(z, &copy));
        for (unsigned i = 0; i < 300; i++) {
            step(&z, &m, &limits);
        }
        want_same(z, &m);
        want_same(copy, &then);
        zset_free(z);
        want_same(copy, &then);
        zset_free(copy);
        model_free(&m);
        model_free(&then);
    }
}
END_TEST

/* ---- Scanning ---- */

struct seen {
    unsigned visited;
    unsigned char times[3000];
};

static void count_visit(void *arg, const struct zset_item *item)
{
    struct seen *s = arg;
    int64_t i;
    ck_assert(parse_i64(item->member, &i) && item->score == (double)(i / 7));
    s->times[i]++;
    s->visited++;
}

static struct slice number(unsigned i)
{
    static char text[I64_TEXT_MAX];
    return slice_of(text, format_u64(text, i));
}

START_TEST(test_zset_scan)
{
    struct zset_limits limits = { 0, 0 };
    struct zset z = zset_new();
    struct seen s = { 0 };
    for (unsigned i = 0; i < 2000; i++) {
        ck_assert(zset_add(&z, &limits, number(i), i / 7) == 0);
    }
    uint64_t cursor = 0;
    unsigned calls = 0;
    do { /* meanwhile every odd member goes and others come */
        unsigned before = s.visited;
        cursor = zset_scan(z, cursor, 10, count_visit, &s);
        ck_assert(s.visited - before <= 10);
        ck_assert(cursor < UINT64_C(1) << 53);
        if (calls < 1000) {
            (void)zset_remove(&z, number(2 * calls + 1));
            ck_assert(zset_add(&z, &limits, number(2000 + calls), (2000 + calls) / 7) == 0);
        }
        calls++;
    } while (cursor != 0);
    ck_assert_uint_gt(calls, 150);
    for (unsigned i = 0; i < 2000; i += 2) {
        ck_assert_uint_eq(s.times[i], 1);
    }
    ck_assert(zset_scan(z, UINT64_C(1) << 53, 10, count_visit, &s) == 0);
    zset_free(z);

    z = zset_new();
    limits.members = limits.member_bytes = 100;
    for (unsigned i = 0; i < 50; i++) {
        ck_assert(zset_add(&z, &limits, number(i), i / 7) == 0);
    }
    s = (struct seen){ 0 };
    ck_assert(zset_scan(z, 7, 1, count_visit, &s) == 0);
    ck_assert_uint_eq(s.visited, 50);
    zset_free(z);
}
END_TEST

/* ---- No memory ---- */

#ifdef KV_FAULTS
/* Fails the first, second ... allocation of `act` until it gets through; the set must be as before
 * each time. */
static unsigned failures_of(struct zset *z, const struct model *m, const struct zset_limits *limits,
                            struct slice member, double to)
{
    unsigned failed = 0;
    for (;;) {
        char spec[64];
        double from;
        bool there = zset_score(*z, member, &from);
        bool may = zset_may_fail(*z, member);
        snprintf(spec, sizeof spec, "mem.alloc=fail:%u:1", failed);
        ck_assert(fault_arm(spec) == 0);
        int rc = there ? zset_move(z, member, from, to) : zset_add(z, limits, member, to);
        ck_assert(fault_arm("") == 0);
        if (rc == 0) {
            return failed;
        }
        ck_assert(rc == -ENOMEM);
        ck_assert(may);
        failed++;
        want_same(*z, m);
    }
}

START_TEST(test_zset_no_memory)
{
    static char huge[20000];
    memset(huge, 'h', sizeof huge);
    struct zset_limits small = { UINT64_MAX, UINT64_MAX }, some = { 20, UINT64_MAX };
    for (int big = 0; big < 2; big++) {
        const struct zset_limits *limits = big ? &some : &small;
        struct zset z = zset_new(), copy;
        struct model m = { 0 };
        unsigned failed = 0;
        for (unsigned i = 0; i < 20; i++) {
            struct slice member = slice_of(huge, 9000 + i);
            failed += failures_of(&z, &m, limits, member, i % 3);
            model_put(&m, member, i % 3);
            failed += failures_of(&z, &m, limits, member, 10 - i % 5 + 0.5);
            model_put(&m, member, 10 - i % 5 + 0.5);
        }
        ck_assert_uint_ge(failed, 10);
        failed = failures_of(&z, &m, limits, S("one more"), 3); /* turns it big */
        model_put(&m, S("one more"), 3);
        ck_assert(z.big == big && failed >= (big ? 20 : 0));
        want_same(z, &m);
        ck_assert(zset_may_fail(z, S("one more")) == !big);
        if (!big) {
            ck_assert(fault_arm("mem.alloc=fail") == 0);
            ck_assert(!zset_dup(z, &copy));
            ck_assert(fault_arm("") == 0);
        }
        zset_free(z);
        model_free(&m);
    }
}
END_TEST
#endif

/* ---- zset_check() finds what it is for ---- */

static void want_broken(const char *const *entries, size_t n, const char *rule)
{
    struct listpack *lp = lp_new();
    for (size_t i = 0; i < n; i++) {
        lp = lp_append(lp, slice_str(entries[i]));
        ck_assert_ptr_nonnull(lp);
    }
    const char *bad = zset_check((struct zset){ false, lp });
    ck_assert_msg(bad != NULL && strncmp(bad, rule, strlen(rule)) == 0, "%s for %s",
                  bad != NULL ? bad : "nothing", rule);
    lp_free(lp);
}
#define WANT_BROKEN(rule, ...)                        \
    want_broken((const char *const[]){ __VA_ARGS__ }, \
                countof(((const char *const[]){ __VA_ARGS__ })), rule)

START_TEST(test_zset_check)
{
    WANT_BROKEN("Z1", "a", "1", "b");
    WANT_BROKEN("Z1", "a", "x");
    WANT_BROKEN("Z1", "a", "1", "b", "nan");
    WANT_BROKEN("Z2", "a", "2", "b", "1");
    WANT_BROKEN("Z2", "b", "1", "a", "1");
    WANT_BROKEN("Z2", "a", "1", "a", "1");
    WANT_BROKEN("Z2", "a", "1", "b", "2", "a", "3");

    struct trees { /* as zset.c has it */
        struct btree *by_score, *by_hash;
    };
    struct zset_limits limits = { 0, 0 };
    double wrong = 5;
    for (int kind = 0; kind < 2; kind++) {
        struct zset z = zset_new();
        ck_assert(zset_add(&z, &limits, S("a"), 1) == 0 && zset_add(&z, &limits, S("b"), 2) == 0);
        ck_assert(zset_check(z) == NULL);
        struct btree *t = ((struct trees *)z.p)->by_hash;
        uint64_t hash = hash_key("a", 1);
        if (kind == 0) {
            ck_assert(btree_remove(t, hash, S("a")));
        } else {
            ck_assert(btree_put(t, hash, S("a"), slice_of(&wrong, 8), BTREE_NO_DUE) == 0);
        }
        const char *bad = zset_check(z);
        ck_assert(bad != NULL && strncmp(bad, kind == 0 ? "Z3" : "Z4", 2) == 0);
        zset_free(z);
    }
}
END_TEST

UNIT_SUITE(zset)
{
    unit_case(suite, "random", test_zset_small, test_zset_big, test_zset_growing);
    unit_case(suite, "forms", test_zset_limits, test_zset_negative_zero, test_zset_copies);
    unit_case(suite, "scan", test_zset_scan);
#ifdef KV_FAULTS
    unit_case(suite, "no memory", test_zset_no_memory);
#endif
    unit_case(suite, "check", test_zset_check);
}
