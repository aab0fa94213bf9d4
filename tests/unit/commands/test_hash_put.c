/* test_hash_put.c -- Unit tests of hash_put_all(): all pairs or none.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/fault.h"
#include "commands/hash.h"
#include "unit.h"
#include <stdio.h>
#include <string.h>

#define LONG_VALUE 3000
#define SOON       1000
#define LATE       2000

static char big[LONG_VALUE];
static const struct fields_limits wide = { 1000, 100000 };

/* A listpack under limits that were wider: short fields, a long value, a short one again. */
static void build(struct fields *f, bool timed)
{
    const struct slice pair[][2] = { { S("a"), S("1") },
                                     { S("long"), slice_of(big, sizeof big) },
                                     { S("b"), S("2") } };
    fields_new(f);
    for (unsigned i = 0; i < countof(pair); i++) {
        ck_assert_int_eq(fields_put(f, pair[i][0], pair[i][1], &wide), 1);
    }
    if (timed) {
        ck_assert_int_eq(fields_set_due(f, S("b"), SOON), 0);
    }
    ck_assert_ptr_null(fields_tree(f));
}

static void expect_pair(const struct fields *f, const char *field, struct slice want, int64_t due)
{
    char digits[I64_TEXT_MAX];
    struct slice value;
    int64_t its;
    ck_assert(fields_get(f, slice_str(field), digits, &value) && slice_eq(value, want));
    ck_assert(fields_get_due(f, slice_str(field), &its));
    ck_assert_int_eq(its, due);
}

static void expect_as_built(const struct fields *f, bool timed)
{
    ck_assert_uint_eq(fields_count(f), 3);
    expect_pair(f, "a", S("1"), BTREE_NO_DUE);
    expect_pair(f, "b", S("2"), timed ? SOON : BTREE_NO_DUE);
    expect_pair(f, "long", slice_of(big, sizeof big), BTREE_NO_DUE);
    ck_assert_ptr_null(fields_check(f));
}

#define ALLOCATIONS 6

/* Each allocation fails once, or it and all behind it; the limits are narrower now, and a pair in
 * the middle makes a tree. Returns how many calls failed. */
static unsigned put_without_memory(const struct fields_limits *limits, bool timed, int64_t due)
{
    const struct slice middle = slice_of(big, 100);
    const struct slice pair[] = { S("a"), S("9"), S("new"), S("8"), S("b"), S("7"),
                                  S("c"), S("6"), S("d"),   middle, S("e"), S("5") };
    unsigned failed = 0;
    for (unsigned i = 0; i < 2 * ALLOCATIONS; i++) {
        struct fields f;
        char spec[64];
        build(&f, timed);
        sprintf(spec, "mem.alloc=nomem:%u%s", i / 2, i % 2 == 0 ? "" : ":0");
        ck_assert_int_eq(fault_arm(spec), 0);
        int64_t rc = hash_put_all(&f, pair, countof(pair) / 2, due, limits);
        ck_assert_int_eq(fault_arm(""), 0);
        if (rc < 0) {
            failed++;
            expect_as_built(&f, timed);
        } else {
            ck_assert_int_eq(rc, 4);
            ck_assert_uint_eq(fields_count(&f), 7);
            int64_t had = timed && due == FIELDS_KEEP_DUE ? SOON : BTREE_NO_DUE;
            expect_pair(&f, "b", S("7"), due == LATE ? LATE : had);
            expect_pair(&f, "e", S("5"), due == LATE ? LATE : BTREE_NO_DUE);
            ck_assert_ptr_null(fields_check(&f));
        }
        fields_free(&f);
    }
    return failed;
}

START_TEST(test_put_without_memory)
{
    static const struct fields_limits now[] = { { 128, 64 }, { 5, 100000 }, { 128, 512 } };
    static const int64_t dues[] = { BTREE_NO_DUE, FIELDS_KEEP_DUE, LATE };
    memset(big, 'x', sizeof big);
    for (unsigned l = 0; l < countof(now); l++) {
        for (unsigned d = 0; d < countof(dues); d++) {
            ck_assert_uint_ge(put_without_memory(&now[l], false, dues[d]), 1);
            ck_assert_uint_ge(put_without_memory(&now[l], true, dues[d]), 1);
        }
    }
}
END_TEST

UNIT_SUITE(hash_put)
{
    unit_case(suite, "memory", test_put_without_memory);
}
