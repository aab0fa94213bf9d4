/* test_fields.c -- Hashes in both forms against a sorted array; limits, memory, the checker.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "unit/ds/bt_steps.h"
#include "ds/fields.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/mem.h"
#include <errno.h>

static const struct fields_limits usual = { 128, 64 };

static void sound(const struct fields *f)
{
    const char *broken = fields_check(f);
    if (broken != NULL) {
        ck_abort_msg("%s", broken);
    }
}

/* The oracle has its records by field alone: of order 0. */
static void same(const struct fields *f, const struct bt_oracle *o)
{
    struct fields_iter it;
    struct fields_item item;
    size_t at, n = 0;
    sound(f);
    want(fields_count(f) == o->n);
    fields_iter(&it, f, 0);
    while (fields_next(&it, &item)) {
        want(bt_place(o, 0, item.field, &at));
        want(slice_eq(item.value, o->v[at].value));
        n++;
    }
    want(n == o->n);
    want(!fields_next(&it, &item));
}

static void put(struct fields *f, struct bt_oracle *o, struct slice field, struct slice value,
                const struct fields_limits *limits)
{
    size_t at;
    struct btree_item item = { 0, field, value, BTREE_NO_DUE };
    bool there = bt_place(o, 0, field, &at);
    want(fields_put(f, field, value, limits) == !there);
    bt_set(o, &item);
}

static void random_step(struct fields *f, struct bt_oracle *o, bool grow,
                        const struct fields_limits *limits)
{
    char digits[I64_TEXT_MAX];
    struct slice value, field = oracle_value(500, 5000);
    field = oracle_copy(field);
    size_t at;
    bool there = bt_place(o, 0, field, &at);
    want(fields_get(f, field, digits, &value) == there);
    want(!there || slice_eq(value, o->v[at].value));
    if (rng_below(100) < (grow ? 75u : 25u)) {
        put(f, o, field, oracle_value(500, 5000), limits);
    } else {
        if (o->n > 0 && rng_below(4) > 0) {
            free((void *)(uintptr_t)field.p);
            at = rng_below(o->n);
            field = oracle_copy(o->v[at].key);
            there = true;
        }
        want(fields_remove(f, field) == there);
        want(!fields_remove(f, field));
        if (there) {
            bt_forget(o, at, 1);
        }
    }
    free((void *)(uintptr_t)field.p);
}

START_TEST(test_random)
{
    static const struct fields_limits limits[] = { { 128, 64 },     { 0, 0 },     { 1, 1 },
                                                   { 1000, 10000 }, { 20, 5000 }, { 512, 0 } };
    rng_seed_all(unit_seed());
    for (size_t l = 0; l < countof(limits); l++) {
        struct fields f, copy;
        struct bt_oracle o = { 0 };
        fields_new(&f);
        for (unsigned round = 0; round < 3000; round++) {
            bool image = round % 50 == 0;
            uint64_t before = fields_count(&f);
            want(!image || fields_dup(&f, &copy));
            random_step(&f, &o, round / 500 % 2 == 0, &limits[l]);
            if (image) {
                want(fields_count(&copy) == before);
                sound(&copy);
                fields_free(&copy);
                same(&f, &o);
            }
        }
        same(&f, &o);
        fields_free(&f);
        bt_oracle_free(&o);
    }
}
END_TEST

START_TEST(test_limits)
{
    struct fields f;
    char text[65] = "";
    fields_new(&f);
    ck_assert_uint_eq(fields_count(&f), 0);
    for (uint64_t i = 0; i < 128; i++) {
        struct slice field = slice_of(text, (size_t)sprintf(text, "f%02d", (int)i));
        ck_assert_int_eq(fields_put(&f, field, S("1"), &usual), 1);
        ck_assert_int_eq(f.form, FIELDS_LISTPACK);
    }
    ck_assert_int_eq(fields_put(&f, S("f00"), S("2"), &usual), 0);
    ck_assert_int_eq(f.form, FIELDS_LISTPACK);
    ck_assert_int_eq(fields_put(&f, S("one more"), S("2"), &usual), 1);
    ck_assert_int_eq(f.form, FIELDS_TREE);
    sound(&f);
    while (fields_count(&f) > 1) { /* what shrinks keeps its form */
        struct fields_iter it;
        struct fields_item item;
        fields_iter(&it, &f, fields_count(&f) / 2);
        ck_assert(fields_next(&it, &item));
        struct slice field = oracle_copy(item.field);
        ck_assert(fields_remove(&f, field));
        free((void *)(uintptr_t)field.p);
    }
    ck_assert_int_eq(f.form, FIELDS_TREE);
    fields_free(&f);
    for (int how = 0; how < 4; how++) {
        fields_new(&f);
        struct slice wide = slice_of(text, 64 + how % 2);
        ck_assert_int_eq(fields_put(&f, how < 2 ? wide : S("f"), how < 2 ? S("v") : wide, &usual),
                         1);
        ck_assert_int_eq(f.form, how % 2 == 0 ? FIELDS_LISTPACK : FIELDS_TREE);
        sound(&f);
        fields_free(&f);
    }
}
END_TEST

START_TEST(test_skip)
{
    static const struct fields_limits forms[] = { { 1000, 64 }, { 0, 0 } };
    for (size_t l = 0; l < countof(forms); l++) {
        struct fields f;
        fields_new(&f);
        for (int i = 0; i < 500; i++) {
            char text[16];
            struct slice s = slice_of(text, (size_t)sprintf(text, "%d", i));
            ck_assert_int_eq(fields_put(&f, s, s, &forms[l]), 1);
        }
        for (uint64_t step = 1; step < 100; step = step * 3 + 1) {
            struct fields_iter it, direct;
            struct fields_item a, b;
            fields_iter(&it, &f, 0);
            for (uint64_t rank = 0; rank < 500; rank += step) {
                fields_skip_to(&it, rank);
                fields_iter(&direct, &f, rank);
                ck_assert(fields_next(&it, &a) && fields_next(&direct, &b));
                ck_assert(slice_eq(a.field, b.field) && slice_eq(a.value, a.field));
            }
            fields_skip_to(&it, 500);
            ck_assert(!fields_next(&it, &a));
        }
        fields_free(&f);
    }
}
END_TEST

START_TEST(test_no_memory)
{
    static char big[20000];
    struct fields f;
    struct bt_oracle o = { 0 };
    struct slice s = slice_of(big, sizeof big);
    ck_assert(fields_may_fail(s, S("")) && fields_may_fail(S(""), s));
    ck_assert(fields_may_fail(slice_of(big, 500), slice_of(big, 500)));
    ck_assert(!fields_may_fail(slice_of(big, 64), slice_of(big, 64)));
    fields_new(&f);
    put(&f, &o, S("a"), S("1"), &usual);
    ck_assert_int_eq(fault_arm("mem.alloc=nomem:0:0"), 0);
    ck_assert_int_eq(fields_put(&f, S("a"), s, &usual), -ENOMEM);
    ck_assert_int_eq(fields_put(&f, s, S("b"), &usual), -ENOMEM);
    same(&f, &o);
    for (int i = 0; i < 300; i++) { /* short ones never fail, in either form */
        char text[32];
        struct slice field = slice_of(text, (size_t)sprintf(text, "field %d", i));
        put(&f, &o, field, slice_of(big, 64), &usual);
    }
    ck_assert_int_eq(fields_put(&f, S("a"), s, &usual), -ENOMEM);
    same(&f, &o);
    ck_assert_int_eq(fault_arm(""), 0);
    fields_free(&f);
    bt_oracle_free(&o);
}
END_TEST

START_TEST(test_check_sees)
{
    struct fields f = { FIELDS_LISTPACK, lp_append(lp_new(), S("a")) };
    ck_assert_str_eq(fields_check(&f), "a field has no value");
    f.p = lp_append(lp_append(lp_append(f.p, S("1")), S("a")), S("2"));
    ck_assert_str_eq(fields_check(&f), "a field is there twice");
    fields_free(&f);
    f = (struct fields){ FIELDS_TREE, btree_new() };
    uint64_t hash = hash_key("a", 1);
    ck_assert_int_eq(btree_put(f.p, hash, S("a"), S("1"), BTREE_NO_DUE), 1);
    ck_assert_ptr_null(fields_check(&f));
    ck_assert_int_eq(btree_put(f.p, hash + 1, S("a"), S("1"), BTREE_NO_DUE), 1);
    ck_assert_str_eq(fields_check(&f), "a field stands under another hash");
    fields_free(&f);
}
END_TEST

UNIT_SUITE(fields)
{
    unit_case(suite, "forms", test_limits, test_skip, test_no_memory, test_check_sees);
    unit_case_slow(suite, "random", 300, test_random);
}
