/* test_set.c -- Sets in all forms against an array: random changes, forms by the limits, failing
 * memory, members asked in every way. SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "unit/ds/oracle.h"
#include "ds/set.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/mem.h"
#include <errno.h>

static const struct set_limits small = { 8, 6, 10 }, middle = { 40, 20, 64 }, none = { 0, 0, 0 },
                               wide = { 1000, 1000, 1000000 };

static void seed(void)
{
    static const uint8_t key[16] = { 1, 2, 3 };
    hash_seed(key);
    rng_seed_all(unit_seed());
}

static size_t find(const struct oracle *o, struct slice s)
{
    size_t i = 0;
    while (i < o->n && !slice_eq(o->v[i], s)) {
        i++;
    }
    return i;
}

static bool has(const struct set *s, struct slice text)
{
    struct set_member m;
    set_member_text(&m, text);
    return set_has(s, &m);
}

static int add(struct set *s, struct slice text, const struct set_limits *limits)
{
    struct set_member m;
    set_member_text(&m, text);
    return set_add(s, &m, limits);
}

static bool drop(struct set *s, struct slice text)
{
    struct set_member m;
    set_member_text(&m, text);
    return set_remove(s, &m);
}

/* Equal members; the walk from any rank and set_at() agree. */
static void same(const struct set *s, const struct oracle *o)
{
    struct set_iter it;
    struct set_member m, n;
    uint64_t seen = 0;
    const char *problem = set_check(s);
    ck_assert_msg(problem == NULL, "%s", problem);
    want(set_count(s) == o->n);
    set_iter(&it, s, 0);
    while (set_next(&it, &m)) {
        int64_t number, parsed;
        want(find(o, set_text(&m)) < o->n);
        bool is_number = parse_i64(set_text(&m), &parsed);
        want(set_number(&m, &number) == is_number && (!is_number || number == parsed));
        want(set_has(s, &m));
        set_at(s, seen, &n);
        want(slice_eq(set_text(&m), set_text(&n)));
        seen++;
    }
    want(seen == o->n);
    if (o->n > 0) {
        uint64_t from = rng_below(o->n + 2);
        set_iter(&it, s, from);
        for (seen = from; set_next(&it, &m); seen++) {
            set_at(s, seen, &n);
            want(slice_eq(set_text(&m), set_text(&n)));
        }
        want(seen == (from > o->n ? from : o->n));
    }
}

static struct slice random_member(unsigned numbers_of_100, unsigned range)
{
    static char text[32];
    if (rng_below(100) < numbers_of_100) {
        int64_t v = (int64_t)rng_below(range) - range / 2;
        return slice_of(text,
                        (size_t)sprintf(text, "%" PRId64, v * ((int64_t)1 << rng_below(3) * 16)));
    }
    return rng_below(3) == 0
               ? oracle_value(0, 0)
               : slice_of(text, (size_t)sprintf(text, "m%u", (unsigned)rng_below(range)));
}

static void random_steps(const struct set_limits *limits, unsigned steps, unsigned numbers_of_100,
                         unsigned range)
{
    struct oracle o = { 0 };
    struct set s, copy;
    set_new_smallest(&s);
    for (unsigned i = 0; i < steps; i++) {
        struct slice v = random_member(numbers_of_100, range);
        size_t at = find(&o, v);
        unsigned kind = (unsigned)rng_below(10);
        if (kind < 6) {
            want(add(&s, v, limits) == (at == o.n));
            if (at == o.n) {
                oracle_insert(&o, o.n, v);
            }
        } else if (kind < 8) {
            want(drop(&s, v) == (at < o.n));
            oracle_remove(&o, at, at < o.n);
        } else if (kind == 8 && o.n > 0) {
            struct set_member m;
            uint64_t rank = rng_below(o.n);
            set_at(&s, rank, &m);
            at = find(&o, set_text(&m));
            set_remove_at(&s, rank);
            oracle_remove(&o, at, 1);
        } else {
            want(has(&s, v) == (at < o.n));
            want(set_dup(&s, &copy));
            same(&copy, &o);
            if (rng_below(2) == 0) { /* a copy lives on without its origin */
                struct set old = s;
                s = copy;
                copy = old;
            }
            set_free(&copy);
        }
        if (rng_below(50) == 0) {
            want(set_shrink(&s, limits) == 0);
        }
        if (rng_below(100) == 0) {
            want(set_expect(&s, rng_below(100), limits) == 0);
        }
        same(&s, &o);
    }
    set_free(&s);
    oracle_free(&o);
}

START_TEST(test_set_random)
{
    seed();
    random_steps(&small, 1500, 90, 30);
    random_steps(&small, 1500, 100, 20);
    random_steps(&small, 1500, 30, 20);
    random_steps(&middle, 1500, 95, 80);
    random_steps(&middle, 1500, 50, 40);
    random_steps(&none, 1000, 50, 200);
    random_steps(&wide, 1000, 50, 100);
}
END_TEST

static struct set made(const char *const *texts, const struct set_limits *limits)
{
    struct set s;
    set_new_smallest(&s);
    for (; *texts != NULL; texts++) {
        ck_assert_int_eq(add(&s, slice_str(*texts), limits), 1);
    }
    return s;
}

/* What each limit decides, at its edge. */
START_TEST(test_set_forms)
{
    static const struct set_limits l = { 3, 4, 5 };
    static const struct {
        const char *texts[8];
        enum set_form form;
    } cases[] = {
        { { "1", "2", "3" }, SET_INTSET },
        { { "1", "2", "3", "4" }, SET_TREE },
        { { "1", "2", "a" }, SET_LISTPACK },
        { { "1", "2", "3", "a" }, SET_LISTPACK },
        { { "1", "2", "3", "a", "b" }, SET_TREE },
        { { "1", "12345", "a" }, SET_LISTPACK },
        { { "1", "123456", "a" }, SET_TREE },
        { { "-12345", "1", "a" }, SET_TREE },
        { { "a", "b", "c", "d" }, SET_LISTPACK },
        { { "a", "b", "c", "d", "e" }, SET_TREE },
        { { "a", "12345", "abcde" }, SET_LISTPACK },
        { { "a", "abcdef" }, SET_TREE },
        { { "a", "123456" }, SET_TREE },
        { { "abcdef" }, SET_TREE },
        { { "abcde" }, SET_LISTPACK },
        { { "01" }, SET_LISTPACK }, /* no integer */
        { { "" }, SET_LISTPACK },
    };
    seed();
    for (size_t i = 0; i < countof(cases); i++) {
        struct set s = made(cases[i].texts, &l);
        ck_assert_msg(s.form == cases[i].form, "case %zu: form %d", i, (int)s.form);
        ck_assert_ptr_null(set_check(&s));
        set_free(&s);
    }
}
END_TEST

START_TEST(test_set_new_and_expect)
{
    static const struct set_limits l = { 3, 4, 5 };
    static const struct {
        const char *first;
        uint64_t expected;
        enum set_form form;
    } cases[] = {
        { "1", 1, SET_INTSET }, { "1", 3, SET_INTSET },      { "1", 4, SET_LISTPACK },
        { "1", 5, SET_TREE },   { "a", 1, SET_LISTPACK },    { "a", 4, SET_LISTPACK },
        { "a", 5, SET_TREE },   { "123456", 2, SET_INTSET },
    };
    seed();
    for (size_t i = 0; i < countof(cases); i++) {
        struct set_member m;
        struct set s;
        set_member_text(&m, slice_str(cases[i].first));
        set_new(&s, &m, cases[i].expected, &l);
        ck_assert_msg(s.form == cases[i].form, "case %zu: form %d", i, (int)s.form);
        ck_assert_uint_eq(set_count(&s), 0);
        set_free(&s);
    }
    struct set s = made((const char *const[]){ "1", NULL }, &l);
    ck_assert_int_eq(set_expect(&s, 3, &l), 0);
    ck_assert_int_eq(s.form, SET_INTSET);
    ck_assert_int_eq(set_expect(&s, 4, &l), 0);
    ck_assert_int_eq(s.form, SET_TREE);
    ck_assert(has(&s, S("1")) && set_count(&s) == 1);
    set_free(&s);
    s = made((const char *const[]){ "a", NULL }, &l);
    ck_assert_int_eq(set_expect(&s, 4, &l), 0);
    ck_assert_int_eq(s.form, SET_LISTPACK);
    ck_assert_int_eq(set_expect(&s, 5, &l), 0);
    ck_assert_int_eq(s.form, SET_TREE);
    ck_assert_int_eq(set_expect(&s, 5, &l), 0);
    set_free(&s);
}
END_TEST

START_TEST(test_set_shrink)
{
    static const struct set_limits l = { 3, 4, 5 };
    static const struct {
        const char *texts[8];
        enum set_form form;
    } cases[] = {
        { { NULL }, SET_INTSET },
        { { "1", "2", "3" }, SET_INTSET },
        { { "1", "2", "3", "4" }, SET_LISTPACK },
        { { "1", "2", "3", "4", "5" }, SET_TREE },
        { { "1", "2", "a" }, SET_LISTPACK },
        { { "1", "2", "abcdef" }, SET_TREE },
        { { "1234567", "2", "3" }, SET_INTSET },
        { { "1234567", "2", "3", "4" }, SET_TREE },
    };
    seed();
    for (size_t i = 0; i < countof(cases); i++) {
        struct set s = made(cases[i].texts, &none), before;
        ck_assert(set_dup(&s, &before));
        ck_assert_int_eq(set_shrink(&s, &l), 0);
        ck_assert_msg(s.form == cases[i].form, "case %zu: form %d", i, (int)s.form);
        ck_assert_ptr_null(set_check(&s));
        ck_assert_uint_eq(set_count(&s), set_count(&before));
        struct set_iter it;
        struct set_member m;
        set_iter(&it, &before, 0);
        while (set_next(&it, &m)) {
            ck_assert(set_has(&s, &m));
        }
        set_free(&s);
        set_free(&before);
    }
}
END_TEST

/* A member that one set yielded is looked up in sets of all forms. */
START_TEST(test_set_members)
{
    static const char *const texts[] = {
        "1", "-5", "01", "", "a", "9223372036854775807", "9223372036854775808", "abc", NULL
    };
    static const char *const numbers[] = { "1", "-5", "9223372036854775807", NULL };
    seed();
    struct set from[] = { made(numbers, &wide), made(texts, &wide), made(texts, &none) };
    ck_assert_int_eq(from[0].form, SET_INTSET);
    ck_assert_int_eq(from[1].form, SET_LISTPACK);
    ck_assert_int_eq(from[2].form, SET_TREE);
    for (size_t i = 0; i < countof(from); i++) {
        struct set_iter it;
        struct set_member m;
        set_iter(&it, &from[i], 0);
        while (set_next(&it, &m)) {
            ck_assert(set_has(&from[1], &m) && set_has(&from[2], &m));
            int64_t n;
            ck_assert_int_eq(set_has(&from[0], &m), set_number(&m, &n));
        }
        struct set_member absent;
        set_member_number(&absent, 77);
        ck_assert(!set_has(&from[i], &absent));
        ck_assert(slice_eq(set_text(&absent), S("77")));
        set_member_number(&absent, -5);
        ck_assert(set_has(&from[i], &absent));
        ck_assert(!has(&from[i], S("+1")));
        ck_assert_uint_gt(set_bytes(&from[i]), 8);
    }
    for (size_t i = 0; i < countof(from); i++) {
        set_free(&from[i]);
    }
}
END_TEST

/* Whatever allocation fails, the set is what it was, or has the member. */
START_TEST(test_set_no_memory)
{
    static char big[20000];
    seed();
    memset(big, 'b', sizeof big);
    for (unsigned after = 0; after < 12; after++) {
        struct oracle o = { 0 };
        struct set s;
        char spec[64];
        set_new_smallest(&s);
        sprintf(spec, "mem.alloc=nomem:%u:1", after);
        for (unsigned i = 0; i < 60; i++) {
            char text[24];
            struct slice v = i % 20 == 19
                                 ? slice_of(big, 10000 + i)
                                 : slice_of(text, (size_t)sprintf(text, i < 12 ? "%u" : "m%u", i));
            ck_assert_int_eq(fault_arm(spec), 0);
            int rc = add(&s, v, &middle);
            ck_assert_int_eq(fault_arm(""), 0);
            ck_assert(rc == 1 || rc == -ENOMEM);
            if (rc == 1) {
                oracle_insert(&o, o.n, v);
            }
            same(&s, &o);
        }
        ck_assert_int_eq(fault_arm(spec), 0);
        int rc = set_shrink(&s, &wide);
        ck_assert_int_eq(fault_arm(""), 0);
        ck_assert(rc == 0 || (rc == -ENOMEM && s.form == SET_TREE));
        same(&s, &o);
        set_free(&s);
        oracle_free(&o);
    }
    struct set s = made((const char *const[]){ "1", NULL }, &wide), copy;
    ck_assert_int_eq(fault_arm("mem.alloc=nomem"), 0);
    ck_assert(!set_dup(&s, &copy));
    set_free(&s);
    s = made((const char *const[]){ "a", NULL }, &wide);
    ck_assert_int_eq(fault_arm("mem.alloc=nomem"), 0);
    ck_assert(!set_dup(&s, &copy));
    set_free(&s);
}
END_TEST

/* A listpack or an intset that cannot grow, which is so at its bound, too, becomes a tree. */
START_TEST(test_set_cannot_grow)
{
    static const struct {
        const char *first, *rest; /* the latter before a number */
        enum set_form form;
    } kinds[] = { { "a", "member", SET_LISTPACK },
                  { "1", "1000", SET_INTSET },
                  { "1", "text", SET_INTSET } };
    seed();
    for (unsigned k = 0; k < countof(kinds); k++) {
        struct oracle o = { 0 };
        struct set s = made((const char *const[]){ kinds[k].first, NULL }, &wide);
        want(s.form == kinds[k].form);
        oracle_insert(&o, 0, slice_str(kinds[k].first));
        ck_assert_int_eq(fault_arm("mem.alloc=nomem:0:0"), 0);
        for (unsigned i = 0; i < 100; i++) {
            char text[24];
            struct slice v = slice_of(text, (size_t)sprintf(text, "%s%u", kinds[k].rest, i));
            ck_assert_int_eq(add(&s, v, &wide), 1);
            oracle_insert(&o, o.n, v);
        }
        ck_assert_int_eq(fault_arm(""), 0);
        want(s.form == SET_TREE);
        same(&s, &o);
        set_free(&s);
        oracle_free(&o);
    }
}
END_TEST

/* set_check() sees what is broken on purpose. */
START_TEST(test_set_check)
{
    seed();
    struct set s = { SET_LISTPACK, lp_new() };
    s.p = lp_append(s.p, S("a"));
    ck_assert_ptr_null(set_check(&s));
    s.p = lp_append(s.p, S("a"));
    ck_assert_str_eq(set_check(&s), "a member is there twice");
    set_free(&s);
    s = (struct set){ SET_TREE, btree_new() };
    ck_assert_int_eq(btree_put(s.p, 5, S("a"), S(""), BTREE_NO_DUE), 1);
    ck_assert_str_eq(set_check(&s), "a member stands under another hash");
    set_free(&s);
    s = (struct set){ SET_TREE, btree_new() };
    ck_assert_int_eq(btree_put(s.p, hash_key("a", 1), S("a"), S("v"), BTREE_NO_DUE), 1);
    ck_assert_str_eq(set_check(&s), "a member carries a value");
    set_free(&s);
    s = (struct set){ SET_INTSET, intset_new() };
    s.p = intset_insert(s.p, 0, 5);
    s.p = intset_insert(s.p, 0, 7); /* at the wrong place */
    ck_assert_str_eq(set_check(&s), "the intset is not valid");
    set_free(&s);
}
END_TEST

UNIT_SUITE(set)
{
    unit_case(suite, "set", test_set_random, test_set_forms, test_set_new_and_expect,
              test_set_shrink, test_set_members, test_set_no_memory, test_set_cannot_grow,
              test_set_check);
}
