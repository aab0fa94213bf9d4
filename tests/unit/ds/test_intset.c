/* test_intset.c -- Exact bytes as Redis writes them, random changes against a sorted array, hostile
 * input, failing memory. SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "unit/ds/oracle.h"
#include "ds/intset.h"
#include "base/fault.h"
#include "base/hash.h"

static struct intset *add(struct intset *s, int64_t v)
{
    uint32_t at;
    if (!intset_find(s, v, &at)) {
        s = intset_insert(s, at, v);
        want(s != NULL);
    }
    return s;
}

static void check_hex(const struct intset *s, const char *hex)
{
    char text[256] = "";
    struct slice bytes = intset_slice(s);
    ck_assert_uint_lt(bytes.n, sizeof text / 2);
    hex_encode((const uint8_t *)bytes.p, bytes.n, text);
    ck_assert_str_eq(text, hex);
}

/* DUMP of what SADD made on redis-server 7.0.15, without the frame around it. */
START_TEST(test_intset_bytes)
{
    struct intset *s = intset_new();
    check_hex(s, "0200000000000000");
    s = add(add(add(s, 5), -1), 300);
    check_hex(s, "0200000003000000ffff05002c01");
    s = add(s, 32768); /* wider, at the end */
    check_hex(s, "0400000004000000ffffffff050000002c01000000800000");
    s = add(s, -2147483649); /* wider, in front */
    check_hex(s, "0800000005000000ffffff7fffffffffffffffffffffffff05000000000000002c01000000000000"
                 "0080000000000000");
    uint32_t at;
    ck_assert(intset_find(s, -2147483649, &at));
    s = intset_delete(s, at, 1); /* and never narrower */
    check_hex(s,
              "0800000004000000ffffffffffffffff05000000000000002c010000000000000080000000000000");
    intset_free(s);
}
END_TEST

START_TEST(test_intset_limits)
{
    static const int64_t v[] = { INT64_MIN,
                                 INT64_MIN + 1,
                                 INT32_MIN - INT64_C(1),
                                 INT32_MIN,
                                 INT16_MIN - 1,
                                 INT16_MIN,
                                 -1,
                                 0,
                                 1,
                                 INT16_MAX,
                                 INT16_MAX + 1,
                                 INT32_MAX,
                                 INT32_MAX + INT64_C(1),
                                 INT64_MAX - 1,
                                 INT64_MAX };
    for (size_t first = 0; first < countof(v); first++) {
        struct intset *s = intset_new();
        for (size_t i = 0; i < countof(v); i++) { /* from each of them on, around */
            int64_t add_me = v[(first + i) % countof(v)];
            ck_assert(!intset_has(s, add_me));
            s = add(s, add_me);
            ck_assert(intset_has(s, add_me));
            ck_assert(intset_valid(intset_slice(s)));
        }
        ck_assert_uint_eq(intset_count(s), countof(v));
        for (uint32_t i = 0; i < countof(v); i++) {
            ck_assert_int_eq(intset_at(s, i), v[i]);
        }
        intset_free(s);
    }
}
END_TEST

struct sorted {
    int64_t v[2000];
    uint32_t n;
};

static void same(const struct intset *s, const struct sorted *o)
{
    want(intset_valid(intset_slice(s)));
    want(intset_count(s) == o->n);
    for (uint32_t i = 0; i < o->n; i++) {
        want(intset_at(s, i) == o->v[i]);
    }
}

static int64_t random_value(void)
{
    unsigned bits = (unsigned)rng_below(64);
    return (int64_t)(rng_u64() >> bits) * (rng_below(2) == 0 ? 1 : -1);
}

/* Where v is or belongs, by looking at each. */
static bool sorted_find(const struct sorted *o, int64_t v, uint32_t *at)
{
    for (*at = 0; *at < o->n && o->v[*at] < v; (*at)++) {
    }
    return *at < o->n && o->v[*at] == v;
}

START_TEST(test_intset_random)
{
    static struct sorted o;
    struct intset *s = intset_new();
    rng_seed_all(unit_seed());
    for (unsigned step = 0; step < 6000; step++) {
        int64_t v = random_value();
        uint32_t at, expected;
        bool there = sorted_find(&o, v, &expected);
        want(intset_find(s, v, &at) == there && at == expected);
        want(intset_has(s, v) == there);
        if (!there && o.n < countof(o.v)) {
            s = intset_insert(s, at, v);
            want(s != NULL);
            memmove(o.v + at + 1, o.v + at, (o.n - at) * sizeof *o.v);
            o.v[at] = v;
            o.n++;
        }
        if (o.n > 0 && rng_below(4) == 0) {
            uint32_t index = (uint32_t)rng_below(o.n + 1), n = (uint32_t)rng_below(5);
            s = intset_delete(s, index, n);
            n = n < o.n - index ? n : o.n - index;
            memmove(o.v + index, o.v + index + n, (o.n - index - n) * sizeof *o.v);
            o.n -= n;
        }
        same(s, &o);
    }
    struct intset *copy = intset_dup(s);
    same(copy, &o);
    s = intset_delete(s, 0, UINT32_MAX);
    ck_assert_uint_eq(intset_count(s), 0);
    same(copy, &o);
    intset_free(s);
    s = intset_from_bytes(intset_slice(copy));
    same(s, &o);
    intset_free(s);
    intset_free(copy);
    intset_free(NULL);
}
END_TEST

START_TEST(test_intset_hostile)
{
    static const struct {
        const char *bytes;
        size_t n;
        bool valid;
    } cases[] = {
        { "", 0, false },
        { "\2\0\0\0\0\0\0", 7, false },
        { "\2\0\0\0\0\0\0\0", 8, true },
        { "\3\0\0\0\0\0\0\0", 8, false },
        { "\0\0\0\0\0\0\0\0", 8, false },
        { "\20\0\0\0\0\0\0\0", 8, false },
        { "\2\0\0\0\1\0\0\0\1\0", 10, true },
        { "\2\0\0\0\1\0\0\0\1", 9, false },
        { "\2\0\0\0\1\0\0\0\1\0\0", 11, false },
        { "\2\0\0\0\2\0\0\0\1\0\1\0", 12, false }, /* twice */
        { "\2\0\0\0\2\0\0\0\2\0\1\0", 12, false }, /* descending */
        { "\2\0\0\0\2\0\0\0\xff\xff\1\0", 12, true },
        { "\2\0\0\0\2\0\0\0\1\0\xff\xff", 12, false },
        { "\4\0\0\0\1\0\0\0\1\0\0\0", 12, true },
        { "\10\0\0\0\1\0\0\0\1\0\0\0\0\0\0\0", 16, true },
        { "\10\0\0\0\1\0\0\x20\1\0\0\0\0\0\0\0", 16, false }, /* the size would overflow 32 bits */
        { "\2\0\0\0\0\0\0\x80", 8, false },
    };
    for (size_t i = 0; i < countof(cases); i++) {
        char odd[32]; /* at an address that suits no number */
        memcpy(odd + 1, cases[i].bytes, cases[i].n);
        ck_assert_msg(intset_valid(slice_of(odd + 1, cases[i].n)) == cases[i].valid, "case %zu", i);
    }
}
END_TEST

START_TEST(test_intset_no_memory)
{
    struct intset *s = add(add(intset_new(), 1), 5);
    static const int64_t v[] = { 3, 70000, -70000, INT64_MAX };
    for (size_t i = 0; i < countof(v); i++) {
        uint32_t at;
        ck_assert(!intset_find(s, v[i], &at));
        ck_assert_int_eq(fault_arm("mem.alloc=nomem"), 0);
        ck_assert_ptr_null(intset_insert(s, at, v[i]));
        check_hex(s, "020000000200000001000500");
    }
    ck_assert_int_eq(fault_arm("mem.alloc=nomem"), 0);
    ck_assert_ptr_null(intset_dup(s));
    ck_assert_int_eq(fault_arm("mem.alloc=nomem"), 0);
    s = intset_delete(s, 0, 1); /* cannot fail */
    check_hex(s, "02000000010000000500");
    intset_free(s);
}
END_TEST

UNIT_SUITE(intset)
{
    unit_case(suite, "intset", test_intset_bytes, test_intset_limits, test_intset_random,
              test_intset_hostile, test_intset_no_memory);
}
