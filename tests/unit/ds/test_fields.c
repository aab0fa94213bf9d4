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

/* ---- Dues: the oracle keeps hidden fields, too ---- */

static bool shown(const struct fields *f, const struct btree_item *r)
{
    return r->due == BTREE_NO_DUE || r->due > f->now;
}

static void same_dues(const struct fields *f, const struct bt_oracle *o)
{
    struct fields_iter it;
    struct fields_item item;
    size_t at;
    uint64_t visible = 0, all = 0;
    int64_t first = INT64_MAX, last = 0;
    for (size_t i = 0; i < o->n; i++) {
        bool has = o->v[i].due != BTREE_NO_DUE;
        visible += shown(f, &o->v[i]);
        first = has && o->v[i].due < first ? o->v[i].due : first;
        last = !has ? INT64_MAX : o->v[i].due > last ? o->v[i].due : last;
    }
    sound(f);
    want(fields_count(f) == visible && fields_hidden(f) == o->n - visible);
    want(fields_first_due(f) == (first < INT64_MAX ? first : BTREE_NO_DUE));
    want(fields_last_due(f) == (last > 0 && last < INT64_MAX ? last : BTREE_NO_DUE));
    fields_iter(&it, f, 0);
    while (fields_next(&it, &item)) {
        want(bt_place(o, 0, item.field, &at) && shown(f, &o->v[at]));
        want(slice_eq(item.value, o->v[at].value) && item.due == o->v[at].due);
        all++;
    }
    want(all == visible);
}

/* Puts a field with a due, without one, or as it is. */
static void due_put(struct fields *f, struct bt_oracle *o, struct slice field,
                    const struct fields_limits *limits)
{
    size_t at;
    bool there = bt_place(o, 0, field, &at) && shown(f, &o->v[at]);
    int64_t due = rng_below(3) == 0 ? FIELDS_KEEP_DUE
                  : rng_below(2)    ? BTREE_NO_DUE
                                    : (int64_t)rng_below(100) + 1;
    struct btree_item now = { 0, field, oracle_value(0, 0), due };
    want(fields_put_due(f, field, now.value, due, limits) == !there);
    if (due == FIELDS_KEEP_DUE) {
        now.due = there ? o->v[at].due : BTREE_NO_DUE;
    }
    bt_set(o, &now);
}

static void due_change(struct fields *f, struct bt_oracle *o, struct slice field)
{
    size_t at;
    int64_t due;
    bool any = bt_place(o, 0, field, &at), there = any && shown(f, &o->v[at]);
    want(fields_get_due(f, field, &due) == there);
    want(!there || due == o->v[at].due);
    if (there && rng_below(2) == 0) {
        o->v[at].due = rng_below(4) == 0 ? BTREE_NO_DUE : (int64_t)rng_below(100) + 1;
        want(fields_set_due(f, field, o->v[at].due) == 0);
    } else if (rng_below(2) == 0) {
        want(fields_remove(f, field) == there);
        if (there) {
            bt_forget(o, at, 1);
        }
    } else {
        want(fields_drop_hidden(f, field) == (any && !there));
        if (any && !there) {
            bt_forget(o, at, 1);
        }
    }
}

static void due_first(struct fields *f, struct bt_oracle *o)
{
    char digits[I64_TEXT_MAX];
    size_t at;
    if (fields_first_due(f) != BTREE_NO_DUE) {
        want(bt_place(o, 0, fields_by_due(f, 0, digits), &at));
        want(o->v[at].due == fields_first_due(f));
        fields_drop_first(f);
        bt_forget(o, at, 1);
    }
}

static void due_step(struct fields *f, struct bt_oracle *o, unsigned names,
                     const struct fields_limits *limits)
{
    char text[40];
    struct slice field = slice_of(
        text, (size_t)sprintf(text, "%s%d", rng_below(9) ? "f" : "", (int)rng_below(names)));
    unsigned what = (unsigned)rng_below(100);
    if (what < 50) {
        due_put(f, o, field, limits);
    } else if (what < 90) {
        due_change(f, o, field);
    } else if (what < 95) {
        due_first(f, o);
    } else {
        f->now = rng_below(4) == 0 ? FIELDS_ALL : (int64_t)rng_below(110);
    }
}

START_TEST(test_dues)
{
    static const struct fields_limits limits[] = { { 1000, 5000 }, { 0, 0 }, { 20, 5000 } };
    rng_seed_all(unit_seed());
    for (size_t l = 0; l < countof(limits); l++) {
        struct fields f, copy;
        struct bt_oracle o = { 0 };
        fields_new(&f);
        for (unsigned round = 0; round < 6000; round++) {
            unsigned names = round / 1000 % 2 ? 5 : l == 1 ? 900 : 60;
            want(fields_dup(&f, &copy));
            uint64_t before = fields_count(&copy);
            due_step(&f, &o, names, &limits[l]);
            want(fields_count(&copy) == before);
            if (round % 500 == 0) {
                sound(&copy);
            }
            fields_free(&copy);
            if (round % 8 == 0) {
                same_dues(&f, &o);
            }
        }
        want(f.form == (l == 0 ? FIELDS_LISTPACK_TIMED : FIELDS_TREE_TIMED));
        *fields_place(&f) = 77;
        want(fields_dup(&f, &copy) && *fields_place(&copy) == 77);
        want(fields_bytes(&f) > 0 && fields_allocations(&f) >= 2);
        want((fields_tree(&f) != NULL) == (l != 0));
        fields_free(&copy);
        fields_free(&f);
        bt_oracle_free(&o);
    }
}
END_TEST

/* The first due turns the form, whichever it was; a hash without any has none of the timed. */
START_TEST(test_due_forms)
{
    struct fields f;
    fields_new(&f);
    ck_assert_int_eq(fields_put(&f, S("a"), S("1"), &usual), 1);
    ck_assert_int_eq(fields_first_due(&f), BTREE_NO_DUE);
    ck_assert_int_eq(fields_last_due(&f), BTREE_NO_DUE);
    ck_assert(!fields_drop_hidden(&f, S("a")));
    ck_assert_int_eq(fields_set_due(&f, S("a"), BTREE_NO_DUE), 0);
    ck_assert_int_eq(f.form, FIELDS_LISTPACK);
    ck_assert_int_eq(fields_put_due(&f, S("b"), S("2"), FIELDS_KEEP_DUE, &usual), 1);
    ck_assert_int_eq(f.form, FIELDS_LISTPACK);
    ck_assert_int_eq(fields_set_due(&f, S("a"), 50), 0);
    ck_assert_int_eq(f.form, FIELDS_LISTPACK_TIMED);
    ck_assert_int_eq(fields_set_due(&f, S("a"), BTREE_NO_DUE), 0);
    ck_assert_int_eq(f.form, FIELDS_LISTPACK_TIMED);
    ck_assert_int_eq(fields_put(&f, S("c"), slice_of((char[65]){ 0 }, 65), &usual), 1);
    ck_assert_int_eq(f.form, FIELDS_TREE_TIMED);
    sound(&f);
    fields_free(&f);
    fields_new(&f);
    ck_assert_int_eq(fields_put(&f, S("c"), slice_of((char[65]){ 0 }, 65), &usual), 1);
    ck_assert_int_eq(f.form, FIELDS_TREE);
    ck_assert_int_eq(fields_set_due(&f, S("c"), 50), 0);
    ck_assert_int_eq(f.form, FIELDS_TREE_TIMED);
    sound(&f);
    fields_free(&f);
}
END_TEST

/* Every allocation of a change of due fails once: nothing changes, and short pairs never fail. */
START_TEST(test_due_no_memory)
{
    static char big[5000];
    memset(big, 'b', sizeof big);
    struct slice wide = slice_of(big, 4000), long_name = slice_of(big, 2000);
    struct fields f;
    struct bt_oracle o = { 0 };
    fields_new(&f);
    put(&f, &o, S("a"), S("1"), &usual);
    put(&f, &o, S("b"), S("2"), &usual);
    ck_assert_int_eq(fault_arm("mem.alloc=nomem:0:0"), 0);
    ck_assert_int_eq(fields_set_due(&f, S("a"), 7), 0);
    bt_set(&o, &(struct btree_item){ 0, S("a"), S("1"), 7 });
    ck_assert_int_eq(fault_arm(""), 0);
    same_dues(&f, &o);
    put(&f, &o, S("c"), wide, &usual);
    put(&f, &o, long_name, S("3"), &usual);
    for (unsigned after = 0; after < 3; after++) {
        char spec[64];
        sprintf(spec, "mem.alloc=nomem:%u", after);
        struct slice name = after < 2 ? S("c") : long_name;
        ck_assert_int_eq(fault_arm(spec), 0);
        int rc = fields_set_due(&f, name, 9);
        ck_assert_int_eq(fault_arm(""), 0);
        ck_assert_int_eq(rc, after < 2 ? -ENOMEM : 0);
        if (rc == 0) {
            bt_set(&o, &(struct btree_item){ 0, name, S("3"), 9 });
        }
        same_dues(&f, &o);
    }
    for (unsigned after = 0; after < 2; after++) { /* the twin first, then the record */
        ck_assert_int_eq(fault_arm(after == 0 ? "mem.alloc=nomem:0" : "mem.alloc=nomem:1"), 0);
        ck_assert_int_eq(fields_put_due(&f, long_name, S("4"), 10, &usual), -ENOMEM);
        ck_assert_int_eq(fault_arm(""), 0);
        same_dues(&f, &o);
    }
    fields_free(&f);
    bt_oracle_free(&o);
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
    struct fields f = { FIELDS_LISTPACK, lp_append(lp_new(), S("a")), FIELDS_ALL };
    ck_assert_str_eq(fields_check(&f), "a field has no value");
    f.p = lp_append(lp_append(lp_append(f.p, S("1")), S("a")), S("2"));
    ck_assert_str_eq(fields_check(&f), "a field is there twice");
    fields_free(&f);
    f = (struct fields){ FIELDS_TREE, btree_new(), FIELDS_ALL };
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
    unit_case(suite, "forms", test_limits, test_skip, test_no_memory, test_check_sees,
              test_due_forms, test_due_no_memory);
    unit_case_slow(suite, "random", 300, test_random, test_dues);
}
