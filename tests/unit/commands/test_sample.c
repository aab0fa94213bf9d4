/* test_sample.c -- Every subset of a small set comes equally often; sizes, order, failing memory.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "commands/sample.h"
#include "base/fault.h"
#include "base/rng.h"

/* Draws k of n and returns them as a bit mask (n <= 64). */
static uint64_t draw(uint64_t n, uint64_t k)
{
    struct sample s;
    uint64_t mask = 0, index, got = 0, before = 0;
    ck_assert(sample_begin(&s, n, k));
    while (sample_next(&s, &index)) {
        ck_assert_uint_lt(index, n);
        ck_assert(got == 0 || index > before);
        before = index;
        mask |= UINT64_C(1) << index;
        got++;
    }
    ck_assert(!sample_next(&s, &index));
    sample_end(&s);
    ck_assert_uint_eq(got, k);
    return mask;
}

START_TEST(test_sample_sizes)
{
    rng_seed_all(unit_seed());
    for (uint64_t n = 0; n <= 40; n++) {
        for (uint64_t k = 0; k <= n; k++) {
            draw(n, k);
        }
    }
    struct sample s;
    uint64_t index, before = 0, got = 0, n = UINT64_C(1) << 40;
    ck_assert(sample_begin(&s, n, 5000)); /* the result costs nothing that grows with n */
    while (sample_next(&s, &index)) {
        ck_assert(index < n && (got == 0 || index > before));
        before = index;
        got++;
    }
    sample_end(&s);
    ck_assert_uint_eq(got, 5000);
}
END_TEST

/* Both ways: 2 of 5 by a pass, 2 of 24 by drawing. With 400 draws per subset on average a
 * count is off by more than six standard deviations once in 10^8 runs. */
static void all_subsets_alike(uint64_t n)
{
    enum { ROUNDS = 400 };
    unsigned count[32][32] = { { 0 } };
    unsigned subsets = (unsigned)(n * (n - 1) / 2);
    for (unsigned i = 0; i < ROUNDS * subsets; i++) {
        uint64_t mask = draw(n, 2);
        count[__builtin_ctzll(mask)][63 - __builtin_clzll(mask)]++;
    }
    for (unsigned a = 0; a < n; a++) {
        for (unsigned b = a + 1; b < n; b++) {
            ck_assert_uint_gt(count[a][b], ROUNDS - 6 * 20);
            ck_assert_uint_lt(count[a][b], ROUNDS + 6 * 20);
        }
    }
}

START_TEST(test_sample_uniform)
{
    rng_seed_all(unit_seed());
    all_subsets_alike(5);
    all_subsets_alike(24);
}
END_TEST

START_TEST(test_sample_no_memory)
{
    struct sample s;
    uint64_t index;
    ck_assert_int_eq(fault_arm("mem.alloc=nomem:0:0"), 0);
    ck_assert(!sample_begin(&s, 1000, 10));
    ck_assert(!sample_begin(&s, UINT64_MAX, UINT64_MAX / 9));
    ck_assert(sample_begin(&s, 10, 9)); /* needs none */
    ck_assert(sample_next(&s, &index));
    sample_end(&s);
    ck_assert_int_eq(fault_arm(""), 0);
    ck_assert(!sample_begin(&s, UINT64_MAX, UINT64_MAX / 7 / 8 * 6)); /* its size overflows */
}
END_TEST

UNIT_SUITE(sample)
{
    unit_case(suite, "sample", test_sample_sizes, test_sample_uniform, test_sample_no_memory);
}
