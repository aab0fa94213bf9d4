/* test_topk.c -- The sketch of heavy keys against exact sums.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "ds/topk.h"
#include <stdio.h>

#define KEYS 400

static struct slice key_name(unsigned i, char text[16])
{
    return slice_of(text, (size_t)snprintf(text, 16, "key:%u", i));
}

/* Few values, so that chains are long. */
static void add(struct topk *t, struct slice key, uint64_t weight)
{
    topk_add(t, hash_xxh3(key.p, key.n) & 0xff, key, weight);
    topk_check(t);
}

static uint64_t weight_of(const struct topk_item *item, unsigned n, struct slice key, bool *found)
{
    for (unsigned i = 0; i < n; i++) {
        if (slice_eq(item[i].key, key)) {
            *found = true;
            return item[i].weight;
        }
    }
    *found = false;
    return 0;
}

/* Some keys are drawn often: the lower their number, the more. */
static unsigned draw(void)
{
    return (unsigned)(rng_below(3) == 0 ? rng_below(KEYS) : rng_below(1 + rng_below(20)));
}

/* As long as there are counters for all it is exact. */
START_TEST(test_topk_exact)
{
    rng_seed_all(unit_seed());
    struct topk *t = topk_new(KEYS);
    uint64_t sum[KEYS] = { 0 };
    bool seen[KEYS] = { false };
    unsigned distinct = 0;
    char text[16];
    for (int i = 0; i < 5000; i++) {
        unsigned k = draw();
        uint64_t weight = rng_below(100);
        distinct += !seen[k];
        seen[k] = true;
        sum[k] += weight;
        add(t, key_name(k, text), weight);
    }
    struct topk_item best[KEYS];
    ck_assert_uint_eq(topk_best(t, best, KEYS), distinct);
    bool found;
    for (unsigned k = 0; k < KEYS; k++) {
        ck_assert_uint_eq(weight_of(best, distinct, key_name(k, text), &found), sum[k]);
        ck_assert(found == seen[k]);
    }
    for (unsigned i = 1; i < distinct; i++) {
        ck_assert(
            best[i - 1].weight > best[i].weight ||
            (best[i - 1].weight == best[i].weight && slice_cmp(best[i - 1].key, best[i].key) < 0));
    }
    struct topk_item few[7];
    ck_assert_uint_eq(topk_best(t, few, countof(few)), countof(few));
    for (unsigned i = 0; i < countof(few); i++) {
        ck_assert(slice_eq(few[i].key, best[i].key));
    }
    ck_assert_uint_eq(topk_best(t, few, 0), 0);
    topk_free(t);
}
END_TEST

/* With fewer: no key heavier than total / capacity is missing, and none gets more than it had. */
START_TEST(test_topk_bounded)
{
    rng_seed_all(unit_seed());
    for (unsigned capacity = 1; capacity <= 64; capacity *= 4) {
        struct topk *t = topk_new(capacity);
        uint64_t sum[KEYS] = { 0 }, total = 0;
        char text[16];
        for (int i = 0; i < 5000; i++) {
            unsigned k = draw();
            uint64_t weight = 1 + rng_below(100);
            sum[k] += weight;
            total += weight;
            add(t, key_name(k, text), weight);
        }
        struct topk_item best[64];
        unsigned n = topk_best(t, best, countof(best));
        ck_assert_uint_eq(n, capacity);
        for (unsigned k = 0; k < KEYS; k++) {
            bool found;
            uint64_t weight = weight_of(best, n, key_name(k, text), &found);
            ck_assert(found || sum[k] <= total / capacity);
            ck_assert_uint_le(weight, sum[k]);
            ck_assert(!found || weight + total / capacity >= sum[k]);
        }
        topk_free(t);
    }
}
END_TEST

START_TEST(test_topk_merge)
{
    rng_seed_all(unit_seed());
    struct topk *part[4] = { topk_new(KEYS), NULL, topk_new(KEYS), topk_new(KEYS) };
    uint64_t sum[KEYS] = { 0 };
    char text[16];
    for (int i = 0; i < 3000; i++) {
        static const unsigned used[] = { 0, 2 };
        unsigned k = draw();
        sum[k] += 3;
        add(part[used[rng_below(2)]], key_name(k, text), 3);
    }
    struct topk *all = topk_merge(part, countof(part));
    topk_check(all);
    struct topk_item best[KEYS];
    unsigned n = topk_best(all, best, KEYS);
    bool found;
    for (unsigned k = 0; k < KEYS; k++) {
        ck_assert_uint_eq(weight_of(best, n, key_name(k, text), &found), sum[k]);
    }
    topk_free(all);
    all = topk_merge(NULL, 0);
    ck_assert_uint_eq(topk_best(all, best, KEYS), 0);
    topk_free(all);
    for (unsigned i = 0; i < countof(part); i++) {
        topk_free(part[i]);
    }
}
END_TEST

/* What took over a counter may not claim what that had before, also through a merge. */
START_TEST(test_topk_taken_over)
{
    struct topk *t = topk_new(2);
    struct topk_item best[2];
    add(t, S("a"), 10);
    add(t, S("b"), 4);
    add(t, S("c"), 1);
    ck_assert_uint_eq(topk_best(t, best, 2), 2);
    ck_assert(slice_eq(best[0].key, S("a")) && best[0].weight == 10);
    ck_assert(slice_eq(best[1].key, S("c")) && best[1].weight == 1);
    struct topk *all = topk_merge(&t, 1);
    ck_assert_uint_eq(topk_best(all, best, 2), 2);
    ck_assert_uint_eq(best[1].weight, 1);
    topk_free(all);
    topk_free(t);
}
END_TEST

/* Keys of any bytes, also none; too long ones are left out, and all memory comes back. */
START_TEST(test_topk_keys)
{
    static char longest[TOPK_KEY_MAX + 1];
    memset(longest, 'x', sizeof longest);
    size_t before = mem_used();
    struct topk *t = topk_new(3);
    struct topk_item best[4];
    add(t, S(""), 1);
    add(t, slice_of("a\0b", 3), 2);
    add(t, slice_of(longest, TOPK_KEY_MAX), 3);
    add(t, slice_of(longest, TOPK_KEY_MAX + 1), 9);
    ck_assert_uint_eq(topk_best(t, best, 4), 3);
    ck_assert(slice_eq(best[0].key, slice_of(longest, TOPK_KEY_MAX)));
    ck_assert(slice_eq(best[1].key, slice_of("a\0b", 3)));
    ck_assert(slice_eq(best[2].key, S("")));
    for (unsigned i = 0; i < 100; i++) {
        add(t, slice_of(longest, i * 40), i);
    }
    topk_free(t);
    topk_free(NULL);
    ck_assert_uint_eq(mem_used(), before);
}
END_TEST

UNIT_SUITE(topk)
{
    unit_case(suite, "sums", test_topk_exact, test_topk_bounded, test_topk_merge,
              test_topk_taken_over);
    unit_case(suite, "keys", test_topk_keys);
}
