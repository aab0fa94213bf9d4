/* test_stream_group.c -- Consumer groups against plain arrays: random changes of streams that share
 * them, numbers and times that do not fit, no memory, lag.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "unit/ds/oracle.h"
#include "base/fault.h"
#include "base/mem.h"
#include "ds/stream_int.h"
#include <errno.h>

#define GROUPS    4
#define CONSUMERS 4
#define IDS       40

/* Groups and consumers are named by their index, so that names sort as indexes do. */
struct model_consumer {
    bool there;
    int64_t seen, active;
};
struct model_group {
    bool there;
    struct stream_id last;
    int64_t read;
    struct model_consumer c[CONSUMERS];
    struct { /* of the n-th ID */
        bool there;
        unsigned c;
        int64_t time;
        uint64_t count;
    } p[IDS];
};
struct model {
    struct model_group g[GROUPS];
};

/* Ascending; some with a ms that has no room beside an owner's number. */
static struct stream_id nth_id(unsigned i)
{
    static const uint64_t far = UINT64_C(1) << 42;
    if (i == IDS - 1) {
        return STREAM_ID_MAX;
    }
    return i < 20 ? (struct stream_id){ i / 4, i % 4 } : (struct stream_id){ far - 2 + i / 10, i };
}

/* A few names are long: their records have allocations of their own. */
static struct slice name_of(unsigned i, bool consumer)
{
    static char text[2][2000];
    char *p = text[consumer];
    size_t n = i == 2 ? sizeof text[0] : 1;
    memset(p, (int)('a' + i), n);
    return slice_of(p, n);
}

static void same_pending(const struct stream *s, const struct model_group *m,
                         const struct stream_group *g, const struct stream_consumer *c, unsigned ci)
{
    struct stream_pending_iter it;
    struct stream_pending p;
    unsigned from = (unsigned)rng_below(IDS), to = (unsigned)rng_below(IDS);
    if (rng_below(2) == 0) {
        from = 0;
        to = IDS - 1;
    }
    uint64_t count = 0;
    stream_pending_iter(&it, s, g, c, nth_id(from), nth_id(to));
    for (unsigned i = 0; i < IDS; i++) {
        if (!m->p[i].there || (c != NULL && m->p[i].c != ci)) {
            continue;
        }
        count++;
        if (i >= from && i <= to) {
            want(stream_pending_next(&it, &p));
            want(stream_id_cmp(p.id, nth_id(i)) == 0);
            want(p.time == m->p[i].time && p.count == m->p[i].count);
            struct stream_consumer owner;
            want(stream_consumer_by(s, p.consumer, &owner));
            want(slice_eq(owner.name, name_of(m->p[i].c, true)) && owner.group == g->number);
        }
    }
    want(!stream_pending_next(&it, &p));
    want(stream_pending_count(s, c != NULL ? c->number : g->number) == count);
}

static void same_group(const struct stream *s, const struct model_group *m,
                       const struct stream_group *g)
{
    struct stream_consumer c;
    uint64_t n = 0;
    want(stream_id_cmp(g->last, m->last) == 0 && g->read == m->read);
    for (unsigned i = 0; i < CONSUMERS; i++) {
        want(stream_consumer_find(s, g, name_of(i, true), &c) == m->c[i].there);
        if (m->c[i].there) {
            want(stream_consumer_at(s, g, n++, &c));
            want(slice_eq(c.name, name_of(i, true)));
            want(c.seen == m->c[i].seen && c.active == m->c[i].active);
            same_pending(s, m, g, &c, i);
        }
    }
    want(!stream_consumer_at(s, g, n, &c));
    want(stream_consumer_count(s, g) == n);
    same_pending(s, m, g, NULL, 0);
    unsigned lowest = IDS, highest = 0;
    for (unsigned i = 0; i < IDS; i++) {
        lowest = m->p[i].there && lowest == IDS ? i : lowest;
        highest = m->p[i].there ? i : highest;
    }
    struct stream_pending p;
    want(stream_pending_edge(s, g, true, &p) == (lowest < IDS));
    want(lowest == IDS || stream_id_cmp(p.id, nth_id(lowest)) == 0);
    want(stream_pending_edge(s, g, false, &p) == (lowest < IDS));
    want(lowest == IDS || stream_id_cmp(p.id, nth_id(highest)) == 0);
}

static void same(const struct stream *s, const struct model *m)
{
    const char *bad = stream_check(s);
    struct stream_group g;
    uint64_t n = 0;
    if (bad != NULL) {
        ck_abort_msg("%s", bad);
    }
    for (unsigned i = 0; i < GROUPS; i++) {
        want(stream_group_find(s, name_of(i, false), &g) == m->g[i].there);
        if (m->g[i].there) {
            want(stream_group_at(s, n++, &g));
            want(slice_eq(g.name, name_of(i, false)));
            same_group(s, &m->g[i], &g);
        }
    }
    want(!stream_group_at(s, n, &g) && stream_group_count(s) == n);
}

static void forget_pending(struct model_group *m, unsigned c)
{
    for (unsigned i = 0; i < IDS; i++) {
        m->p[i].there = m->p[i].there && m->p[i].c != c;
    }
}

static void step_pending(struct stream *s, struct model_group *m, const struct stream_group *g,
                         const struct stream_consumer *c, unsigned ci)
{
    unsigned i = (unsigned)rng_below(IDS);
    struct stream_pending p = { nth_id(i), c->number, (int64_t)rng_below(1000), rng_below(9) }, q;
    want(stream_pending_find(s, g, p.id, &q) == m->p[i].there);
    if (rng_below(3) == 0) {
        want(stream_pending_remove(s, g, p.id) == m->p[i].there);
        m->p[i].there = false;
        return;
    }
    stream_pend(s, g, &p);
    m->p[i].there = true;
    m->p[i].c = ci;
    m->p[i].time = p.time;
    m->p[i].count = p.count;
}

static void step_consumer(struct stream *s, struct model_group *m, const struct stream_group *g)
{
    unsigned i = (unsigned)rng_below(CONSUMERS);
    struct stream_consumer c;
    int64_t now = (int64_t)rng_below(1000);
    if (!stream_consumer_find(s, g, name_of(i, true), &c)) {
        want(stream_consumer_add(s, g, name_of(i, true), now, STREAM_NEVER) == 1);
        m->c[i] = (struct model_consumer){ true, now, STREAM_NEVER };
    } else if (rng_below(40) == 0) {
        stream_consumer_remove(s, &c);
        m->c[i].there = false;
        forget_pending(m, i);
    } else if (rng_below(4) == 0) {
        want(stream_consumer_add(s, g, name_of(i, true), 5, 5) == 0);
        c.seen = m->c[i].seen = now;
        c.active = m->c[i].active = now + 1;
        stream_consumer_set(s, &c);
    } else {
        step_pending(s, m, g, &c, i);
    }
}

static void step(struct stream *s, struct model *m)
{
    unsigned i = (unsigned)rng_below(GROUPS);
    struct model_group *mg = &m->g[i];
    struct stream_group g;
    struct stream_id id = nth_id((unsigned)rng_below(IDS));
    if (!stream_group_find(s, name_of(i, false), &g)) {
        want(stream_group_add(s, name_of(i, false), id, 17) == 1);
        *mg = (struct model_group){ .there = true, .last = id, .read = 17 };
    } else if (rng_below(200) == 0) {
        stream_group_remove(s, &g, NULL);
        mg->there = false;
    } else if (rng_below(20) == 0) {
        want(stream_group_add(s, name_of(i, false), id, 3) == 0);
        g.last = mg->last = id;
        g.read = mg->read = (int64_t)rng_below(100) - 1;
        stream_group_set(s, &g);
    } else {
        step_consumer(s, mg, &g);
    }
}

/* `next`: the number of the first owner. */
static void random_groups(uint64_t next, unsigned rounds)
{
    static struct model m[3];
    struct stream *s[3];
    size_t used = mem_used();
    for (int k = 0; k < 3; k++) {
        struct stream_group g;
        m[k] = (struct model){ 0 };
        s[k] = stream_new();
        want(stream_group_add(s[k], S("x"), STREAM_ID_MIN, 0) == 1);
        want(stream_group_find(s[k], S("x"), &g));
        stream_group_remove(s[k], &g, NULL);
        if (next > 0) {
            stream_groups_set_next(s[k], next);
        }
    }
    for (unsigned round = 0; round < rounds; round++) {
        unsigned k = (unsigned)rng_below(3), from = (unsigned)rng_below(3);
        if (rng_below(30) == 0 && k != from) {
            stream_free(s[k]);
            s[k] = stream_dup(s[from]);
            m[k] = m[from];
        }
        step(s[k], &m[k]);
        same(s[k], &m[k]);
        if (round % 16 == 0) {
            for (int all = 0; all < 3; all++) {
                same(s[all], &m[all]);
            }
        }
    }
    for (int k = 0; k < 3; k++) {
        same(s[k], &m[k]);
        stream_free(s[k]);
    }
    ck_assert_uint_eq(mem_used(), used);
}

START_TEST(test_random)
{
    rng_seed_all(unit_seed());
    random_groups(0, 3000);
}
END_TEST

/* Around the last number that fits beside the time. */
START_TEST(test_random_far)
{
    rng_seed_all(unit_seed());
    random_groups((UINT64_C(1) << 22) - 8, 3000);
}
END_TEST

/* Two consumers with runs of up to `run` entries each: what one had is gone, what the other has
 * stays. */
static void remove_consumer(uint64_t n, uint64_t run)
{
    struct stream *s = stream_new();
    struct stream_group g;
    struct stream_consumer c[2];
    uint64_t left = 0;
    want(stream_group_add(s, S("g"), STREAM_ID_MIN, 0) == 1);
    want(stream_group_find(s, S("g"), &g));
    for (unsigned k = 0; k < 2; k++) {
        want(stream_consumer_add(s, &g, name_of(k, true), 1, 1) == 1);
        want(stream_consumer_find(s, &g, name_of(k, true), &c[k]));
    }
    for (uint64_t i = 0, end; i < n; i = end) {
        unsigned k = run < n ? (unsigned)rng_below(2) : 0;
        end = u64_min(n, i + 1 + rng_below(run));
        left += k == 1 ? end - i : 0;
        for (uint64_t id = i; id < end; id++) {
            struct stream_pending p = { { id, 1 }, c[k].number, 1, 1 };
            stream_pend(s, &g, &p);
        }
    }
    want(stream_pending_count(s, c[0].number) == n - left);
    stream_consumer_remove(s, &c[0]);
    want(stream_check(s) == NULL);
    want(stream_pending_count(s, g.number) == left);
    want(stream_pending_count(s, c[1].number) == left);
    want(!stream_consumer_find(s, &g, name_of(0, true), &c[0]));
    stream_free(s);
}

START_TEST(test_remove_consumer)
{
    rng_seed_all(unit_seed());
    for (uint64_t n = 0; n < 3000; n += 1 + n / 2) {
        remove_consumer(n, 1);
        remove_consumer(n, 150);
        remove_consumer(n, n + 1); /* all are the one's */
    }
}
END_TEST

START_TEST(test_nomem)
{
    struct stream *s = stream_new();
    struct stream_group g;
    struct stream_consumer c;
    struct slice name = name_of(2, false);
    ck_assert_int_eq(stream_group_add(s, S("g"), STREAM_ID_MIN, 0), 1);
    ck_assert(stream_group_find(s, S("g"), &g));
    for (unsigned skip = 0; skip < 3; skip++) { /* of the allocations: name, copy, its record */
        char spec[64];
        sprintf(spec, "mem.alloc=nomem:%u:0", skip);
        ck_assert_int_eq(fault_arm(spec), 0);
        int group = stream_group_add(s, name, STREAM_ID_MIN, 0);
        ck_assert_int_eq(fault_arm(spec), 0);
        int consumer = stream_consumer_add(s, &g, name, 1, 1);
        ck_assert_int_eq(fault_arm(""), 0);
        ck_assert_int_eq(group, -ENOMEM);
        ck_assert_int_eq(consumer, -ENOMEM);
        ck_assert_uint_eq(stream_group_count(s), 1);
        ck_assert_uint_eq(stream_consumer_count(s, &g), 0);
        ck_assert(!stream_consumer_find(s, &g, name, &c));
        ck_assert_ptr_null(stream_check(s));
    }
    stream_free(s);
}
END_TEST

static void add(struct stream *s, uint64_t ms)
{
    static const struct stream_limits usual = { 4096, 100 };
    struct slice texts[] = { S("f"), S("v") };
    struct stream_id id = { ms, 0 };
    ck_assert_int_eq(stream_append(s, id, texts, 1, &usual), 0);
}

static struct stream_id ms(uint64_t v)
{
    return (struct stream_id){ v, 0 };
}

START_TEST(test_distance)
{
    struct stream *s = stream_new();
    ck_assert_int_eq(stream_distance(s, ms(0)), 0);
    for (uint64_t i = 1; i <= 10; i++) {
        add(s, i);
    }
    ck_assert_int_eq(stream_distance(s, ms(0)), 0);
    ck_assert_int_eq(stream_distance(s, ms(1)), 1);
    ck_assert_int_eq(stream_distance(s, ms(2)), STREAM_READ_UNKNOWN);
    ck_assert_int_eq(stream_distance(s, ms(10)), 10);
    ck_assert_int_eq(stream_distance(s, ms(11)), STREAM_READ_UNKNOWN);
    struct stream_trim t = { .length = 7 };
    ck_assert_uint_eq(stream_trim(s, &t, NULL), 3);
    ck_assert_int_eq(stream_distance(s, ms(2)), 3); /* before the first */
    ck_assert_int_eq(stream_distance(s, ms(4)), 4);
    ck_assert_int_eq(stream_delete(s, ms(6)), 1);
    ck_assert_int_eq(stream_distance(s, ms(4)), STREAM_READ_UNKNOWN); /* a gap behind it */
    ck_assert_int_eq(stream_distance(s, ms(10)), 10);
    t.length = 0;
    ck_assert_uint_eq(stream_trim(s, &t, NULL), 6);
    ck_assert_int_eq(stream_distance(s, ms(9)), 10);
    stream_free(s);
}
END_TEST

START_TEST(test_lag)
{
    struct stream *s = stream_new();
    struct stream_group g;
    uint64_t lag = 99;
    ck_assert_int_eq(stream_group_add(s, S("g"), STREAM_ID_MIN, 0), 1);
    ck_assert(stream_group_find(s, S("g"), &g));
    ck_assert(stream_lag(s, &g, &lag));
    ck_assert_uint_eq(lag, 0);
    for (uint64_t i = 1; i <= 10; i++) {
        add(s, i);
    }
    stream_group_advance(s, &g, ms(1));
    stream_group_advance(s, &g, ms(2));
    ck_assert_int_eq(g.read, 2);
    ck_assert_uint_eq(g.last.ms, 2);
    ck_assert(stream_lag(s, &g, &lag));
    ck_assert_uint_eq(lag, 8);
    g.read = STREAM_READ_UNKNOWN;
    ck_assert(!stream_lag(s, &g, &lag));
    stream_group_advance(s, &g, ms(10));
    ck_assert_int_eq(g.read, 10);
    g = (struct stream_group){ .last = ms(2), .read = 2 };
    ck_assert_int_eq(stream_delete(s, ms(6)), 1);
    ck_assert(!stream_lag(s, &g, &lag)); /* read, but the gap is ahead */
    stream_group_advance(s, &g, ms(3));
    ck_assert_int_eq(g.read, STREAM_READ_UNKNOWN);
    g = (struct stream_group){ .last = ms(7), .read = 7 };
    ck_assert(stream_lag(s, &g, &lag));
    ck_assert_uint_eq(lag, 3);
    g = (struct stream_group){ .last = ms(6), .read = 6 };
    stream_group_advance(s, &g, ms(7)); /* the deleted one had been read */
    ck_assert_int_eq(g.read, 7);
    stream_free(s);
}
END_TEST

/* A group that has read all there is has no lag, whatever went unread on the way. */
START_TEST(test_lag_unread)
{
    struct stream *s = stream_new();
    struct stream_group g = { .last = ms(2), .read = 2 };
    uint64_t lag = 99;
    for (uint64_t i = 1; i <= 10; i++) {
        add(s, i);
    }
    for (uint64_t i = 3; i <= 9; i++) {
        ck_assert_int_eq(stream_delete(s, ms(i)), 1);
    }
    stream_group_resume(s, &g);
    ck_assert_int_eq(g.read, 2);
    stream_group_advance(s, &g, ms(10));
    ck_assert_int_eq(g.read, 10);
    ck_assert(stream_lag(s, &g, &lag));
    ck_assert_uint_eq(lag, 0);
    for (uint64_t i = 11; i <= 20; i++) {
        add(s, i);
    }
    struct stream_trim t = { .length = 4 };
    ck_assert_uint_eq(stream_trim(s, &t, NULL), 9);
    ck_assert(stream_lag(s, &g, &lag));
    ck_assert_uint_eq(lag, 4); /* 17 to 20 */
    stream_group_resume(s, &g);
    stream_group_advance(s, &g, ms(17));
    ck_assert_int_eq(g.read, 17);
    ck_assert(stream_lag(s, &g, &lag));
    ck_assert_uint_eq(lag, 3);
    ck_assert_int_eq(stream_delete(s, ms(19)), 1);
    g = (struct stream_group){ .last = ms(10), .read = 10 };
    ck_assert(!stream_lag(s, &g, &lag)); /* a gap in what is left */
    t.length = 0;
    ck_assert_uint_eq(stream_trim(s, &t, NULL), 3);
    ck_assert(stream_lag(s, &g, &lag));
    ck_assert_uint_eq(lag, 0);
    stream_free(s);
}
END_TEST

/* A group of which much is pending: its memory is handed out. Its consumers go with it, the other
 * group stays. */
START_TEST(test_remove_much)
{
    static const char *const names[] = { "a", "b" };
    struct stream *s = stream_new(), *old = s;
    struct stream_group g, other;
    struct stream_consumer c;
    uint64_t much = 20000;
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(stream_group_add(s, slice_str(names[i]), STREAM_ID_MIN, 0), 1);
        ck_assert(stream_group_find(s, slice_str(names[i]), &g));
        ck_assert_int_eq(stream_consumer_add(s, &g, S("one"), 1, 1), 1);
        ck_assert_int_eq(stream_consumer_add(s, &g, S("two"), 1, 1), 1);
        for (uint64_t id = 1; id <= (i == 0 ? much : 10); id++) {
            ck_assert(stream_consumer_at(s, &g, id % 2, &c));
            stream_pend(s, &g, &(struct stream_pending){ { id, 0 }, c.number, 1, 1 });
        }
    }
    ck_assert(stream_group_find(s, S("b"), &other));
    ck_assert(stream_group_find(s, S("a"), &g));
    stream_group_remove(s, &g, &old);
    ck_assert_ptr_nonnull(old);
    ck_assert_ptr_null(stream_check(s));
    ck_assert_ptr_null(stream_check(old));
    ck_assert_uint_eq(stream_pending_count(old, g.number), much);
    stream_free(old);
    ck_assert_ptr_null(stream_check(s));
    ck_assert_uint_eq(stream_group_count(s), 1);
    ck_assert_uint_eq(stream_pending_count(s, other.number), 10);
    ck_assert(stream_group_find(s, S("b"), &other));
    stream_group_remove(s, &other, &old);
    ck_assert_ptr_null(old);
    ck_assert_ptr_null(stream_check(s));
    stream_free(s);
}
END_TEST

UNIT_SUITE(stream_group)
{
    unit_case_slow(suite, "random", 120, test_random, test_random_far);
    unit_case(suite, "memory", test_nomem, test_remove_much, test_remove_consumer);
    unit_case(suite, "lag", test_distance, test_lag, test_lag_unread);
}
