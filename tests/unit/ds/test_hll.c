/* test_hll.c -- Sketches: exact bytes, random changes against plain registers, damaged bytes,
 * failing memory. SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "unit/ds/oracle.h"
#include "ds/hll.h"
#include "base/fault.h"
#include "base/mem.h"
#include <errno.h>
#include <math.h>

static struct hll_mark mark(unsigned reg, unsigned rank)
{
    return (struct hll_mark){ (uint16_t)reg, (uint8_t)rank };
}

static void check_runs(const struct buf *b, const char *runs)
{
    struct buf text = { 0 };
    hll_describe(buf_slice(b), &text);
    buf_add_char(&text, '\0');
    ck_assert_str_eq(text.p, runs);
    buf_free(&text);
}

/* What redis-server 7.0.15 made of PFADD with these elements. */
START_TEST(test_hll_marks)
{
    static const struct {
        const char *element;
        unsigned reg, rank;
    } known[] = { { "a", 12711, 2 }, { "b", 15780, 1 }, { "c", 8436, 1 } };
    for (unsigned i = 0; i < countof(known); i++) {
        struct hll_mark m = hll_mark_of(slice_str(known[i].element));
        ck_assert_uint_eq(m.reg, known[i].reg);
        ck_assert_uint_eq(m.rank, known[i].rank);
    }
}
END_TEST

START_TEST(test_hll_header)
{
    struct buf b = { 0 };
    uint64_t count = 7;
    hll_init(&b);
    ck_assert(slice_eq(buf_slice(&b), S("HYLL\1\0\0\0\0\0\0\0\0\0\0\0\x7f\xff")));
    ck_assert(hll_is(buf_slice(&b)) && !hll_is_dense(buf_slice(&b)));
    ck_assert(hll_cached(buf_slice(&b), &count) && count == 0);
    hll_outdate(b.p);
    ck_assert(slice_eq(buf_slice(&b), S("HYLL\1\0\0\0\0\0\0\0\0\0\0\x80\x7f\xff")));
    ck_assert(!hll_cached(buf_slice(&b), &count));
    hll_set_cached(b.p, 0x10203);
    ck_assert(slice_eq(buf_slice(&b), S("HYLL\1\0\0\0\3\2\1\0\0\0\0\0\x7f\xff")));
    ck_assert(hll_cached(buf_slice(&b), &count) && count == 0x10203);
    ck_assert_int_eq(hll_make_dense(&b), 0);
    ck_assert(hll_is(buf_slice(&b)) && hll_is_dense(buf_slice(&b)));
    ck_assert_uint_eq(b.n, HLL_DENSE_BYTES);
    ck_assert(hll_cached(buf_slice(&b), &count) && count == 0x10203);
    for (size_t n = 0; n < b.n; n++) {
        ck_assert(!hll_is(slice_of(b.p, n)));
    }
    ck_assert(!hll_is(S("HYLL\2\0\0\0\0\0\0\0\0\0\0\0\x7f\xff")));
    ck_assert(!hll_is(S("HYLM\1\0\0\0\0\0\0\0\0\0\0\0\x7f\xff")));
    ck_assert(hll_is(S("HYLL\1\0\0\0\0\0\0\0\0\0\0\0")));
    buf_free(&b);
}
END_TEST

START_TEST(test_hll_runs)
{
    struct buf b = { 0 };
    static const struct {
        unsigned reg, rank;
        int changed;
        const char *runs;
    } step[] = {
        { 0, 1, 1, "v:1,1 Z:16383" },
        { 0, 1, 0, "v:1,1 Z:16383" },
        { 16383, 2, 1, "v:1,1 Z:16382 v:2,1" },
        { 1, 1, 1, "v:1,2 Z:16381 v:2,1" },
        { 64, 32, 1, "v:1,2 z:62 v:32,1 Z:16318 v:2,1" },
        { 129, 5, 1, "v:1,2 z:62 v:32,1 z:64 v:5,1 Z:16253 v:2,1" },
        { 2, 1, 1, "v:1,3 z:61 v:32,1 z:64 v:5,1 Z:16253 v:2,1" },
        { 3, 1, 1, "v:1,4 z:60 v:32,1 z:64 v:5,1 Z:16253 v:2,1" },
        { 4, 1, 1, "v:1,4 v:1,1 z:59 v:32,1 z:64 v:5,1 Z:16253 v:2,1" },
        { 1, 2, 1, "v:1,1 v:2,1 v:1,3 z:59 v:32,1 z:64 v:5,1 Z:16253 v:2,1" },
        { 0, 2, 1, "v:2,2 v:1,3 z:59 v:32,1 z:64 v:5,1 Z:16253 v:2,1" },
    };
    hll_init(&b);
    for (unsigned i = 0; i < countof(step); i++) {
        ck_assert_int_eq(hll_mark(&b, mark(step[i].reg, step[i].rank), 3000), step[i].changed);
        check_runs(&b, step[i].runs);
    }
    buf_free(&b);
}
END_TEST

/* Does the sketch hold exactly these registers? */
static void check_registers(const struct buf *b, const uint8_t rank[HLL_REGISTERS])
{
    static uint8_t got[HLL_REGISTERS];
    uint64_t count, again;
    memset(got, 0, sizeof got);
    want(hll_is(buf_slice(b)));
    want(hll_union(got, buf_slice(b)) == 0);
    want(memcmp(got, rank, sizeof got) == 0);
    want(hll_count(buf_slice(b), &count) == 0);
    again = hll_count_ranks(rank);
    want(count == again);
    if (hll_is_dense(buf_slice(b))) {
        for (unsigned i = 0; i < HLL_REGISTERS; i++) {
            want(hll_dense_rank(b->p, i) == rank[i]);
        }
    }
}

/* Near each other, so that runs are split and joined in all ways; ranks that are often equal. */
static struct hll_mark random_mark(unsigned base, unsigned spread, unsigned top)
{
    unsigned reg = (base + (unsigned)rng_below(spread)) % HLL_REGISTERS;
    return mark(reg, 1 + (unsigned)rng_below(rng_below(4) == 0 ? top : 2));
}

START_TEST(test_hll_random)
{
    static uint8_t rank[HLL_REGISTERS];
    for (unsigned round = 0; round < 60; round++) {
        struct buf b = { 0 };
        unsigned base = (unsigned)rng_below(HLL_REGISTERS), spread = 1u << rng_below(15);
        uint64_t max = rng_below(3) == 0 ? UINT64_MAX : 16 + rng_below(4000);
        unsigned top = rng_below(4) == 0 ? 51 : 32;
        memset(rank, 0, sizeof rank);
        hll_init(&b);
        for (unsigned i = 0; i < 2000; i++) {
            struct hll_mark m = random_mark(base, spread, top);
            int changed = hll_mark(&b, m, max);
            want(changed == (rank[m.reg] < m.rank));
            rank[m.reg] = rank[m.reg] < m.rank ? m.rank : rank[m.reg];
            want(hll_is_dense(buf_slice(&b)) || b.n <= max || b.n == HLL_HEADER + 2);
            if (i % 100 == 0) {
                check_registers(&b, rank);
            }
        }
        if (!hll_is_dense(buf_slice(&b))) {
            check_registers(&b, rank);
            ck_assert_int_eq(hll_make_dense(&b), 0);
        }
        check_registers(&b, rank);
        buf_free(&b);
    }
}
END_TEST

START_TEST(test_hll_estimate)
{
    struct buf b = { 0 };
    uint64_t element = rng_u64(), count;
    hll_init(&b);
    ck_assert_int_eq(hll_count(buf_slice(&b), &count), 0);
    ck_assert_uint_eq(count, 0);
    for (unsigned n = 1; n <= 300000; n++) {
        element += 0x9e3779b97f4a7c15;
        want(hll_mark(&b, hll_mark_of(slice_of(&element, sizeof element)), 3000) >= 0);
        if (n == 10 || n == 1000 || n == 30000 || n == 300000) {
            ck_assert_int_eq(hll_count(buf_slice(&b), &count), 0);
            ck_assert_msg(fabs((double)count - n) <= 1 + n * 0.05, "%u elements: counted %lu", n,
                          (unsigned long)count);
        }
    }
    ck_assert(hll_is_dense(buf_slice(&b)));
    buf_free(&b);
}
END_TEST

/* Bytes that anybody could have written, in an allocation of exactly their size: nothing looks
 * outside, and what succeeds leaves a sketch. */
static void check_damaged(const struct buf *from)
{
    static uint8_t rank[HLL_REGISTERS];
    struct buf text = { 0 };
    struct buf b = { mem_dup(from->p, from->n), from->n, from->n };
    struct slice s = slice_of(memcpy(malloc(b.n), b.p, b.n), b.n);
    if (hll_is(s)) {
        uint64_t count;
        memset(rank, 0, sizeof rank);
        int whole = hll_count(s, &count);
        want(whole == 0 || whole == -EINVAL);
        want(hll_union(rank, s) == whole);
        if (!hll_is_dense(s)) {
            hll_describe(s, &text);
        }
        for (unsigned i = 0; i < 20; i++) {
            int rc = hll_mark(&b, random_mark(0, HLL_REGISTERS, 40), 3000);
            want(rc == 0 || rc == 1 || (rc == -EINVAL && whole != 0));
        }
        want(hll_is(buf_slice(&b)));
        if (!hll_is_dense(buf_slice(&b))) {
            want(hll_make_dense(&b) == whole);
        }
    }
    free((void *)(uintptr_t)s.p);
    buf_free(&text);
    buf_free(&b);
}

START_TEST(test_hll_damaged)
{
    for (unsigned round = 0; round < 3000; round++) {
        struct buf b = { 0 };
        hll_init(&b);
        for (unsigned i = (unsigned)rng_below(40); i > 0; i--) {
            want(hll_mark(&b, random_mark(0, HLL_REGISTERS, 32), 3000) >= 0);
        }
        for (unsigned i = 1 + (unsigned)rng_below(6); i > 0; i--) {
            size_t at =
                rng_below(8) == 0 ? rng_below(b.n) : HLL_HEADER + rng_below(b.n - HLL_HEADER);
            b.p[at] = (char)rng_u64();
        }
        b.n -= rng_below(3) == 0 ? rng_below(b.n) : 0;
        check_damaged(&b);
        buf_free(&b);
    }
}
END_TEST

START_TEST(test_hll_no_memory)
{
    struct buf b = { 0 };
    hll_init(&b);
    for (unsigned i = 0; i < 400; i++) {
        ck_assert_int_eq(hll_mark(&b, mark(i * 40, 1), 3000), 1);
    }
    ck_assert_int_eq(fault_arm("mem.alloc=nomem:0:0"), 0);
    struct slice before = slice_of(mem_dup(b.p, b.n), b.n);
    ck_assert_int_eq(hll_make_dense(&b), -ENOMEM);
    ck_assert_int_eq(hll_mark(&b, mark(7, 40), 3000), -ENOMEM);
    ck_assert(slice_eq(before, buf_slice(&b)));
    int rc = 1;
    for (unsigned i = 0; rc == 1; i++) { /* until there is no room left in the buffer */
        mem_free((void *)(uintptr_t)before.p);
        before = slice_of(mem_dup(b.p, b.n), b.n);
        rc = hll_mark(&b, mark(i * 40 + 20, 2), 3000);
    }
    ck_assert_int_eq(rc, -ENOMEM);
    ck_assert(slice_eq(before, buf_slice(&b)));
    ck_assert_int_eq(fault_arm(""), 0);
    ck_assert_int_eq(hll_make_dense(&b), 0);
    mem_free((void *)(uintptr_t)before.p);
    buf_free(&b);
}
END_TEST

UNIT_SUITE(hll)
{
    unit_case(suite, "hll", test_hll_marks, test_hll_header, test_hll_runs, test_hll_random,
              test_hll_estimate, test_hll_damaged, test_hll_no_memory);
}
