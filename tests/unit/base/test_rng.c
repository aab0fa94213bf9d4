/* test_rng.c -- Random numbers: the generator against its definition, ranges, seeds per thread.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/base.h"
#include "base/rng.h"
#include <pthread.h>
#include <string.h>

/* xoshiro256** as published, on a state of its own. */
static uint64_t rotate(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

static uint64_t plain_next(uint64_t s[4])
{
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

START_TEST(test_sequence)
{
    /* The first numbers of the state 1, 2, 3, 4 prove the reference; so does splitmix64 of 0. */
    uint64_t known[4] = { 1, 2, 3, 4 };
    ck_assert_uint_eq(plain_next(known), 11520);
    ck_assert_uint_eq(plain_next(known), 0);
    ck_assert_uint_eq(plain_next(known), 1509978240);

    const uint64_t seeds[] = { 0, 1, 42, UINT64_MAX };
    for (unsigned i = 0; i < countof(seeds); i++) {
        uint64_t state[4], x = seeds[i];
        for (int k = 0; k < 4; k++) {
            uint64_t z = (x += 0x9e3779b97f4a7c15);
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
            z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
            state[k] = z ^ (z >> 31);
        }
        ck_assert(seeds[i] != 0 || state[0] == 0xe220a8397b1dcdaf);
        rng_seed_all(seeds[i]);
        for (int k = 0; k < 1000; k++) {
            ck_assert_uint_eq(rng_u64(), plain_next(state));
        }
    }
}
END_TEST

static void *first_number(void *out)
{
    *(uint64_t *)out = rng_u64();
    return NULL;
}

static uint64_t number_of_new_thread(void)
{
    pthread_t thread;
    uint64_t v = 0;
    ck_assert_int_eq(pthread_create(&thread, NULL, first_number, &v), 0);
    pthread_join(thread, NULL);
    return v;
}

START_TEST(test_threads)
{
    rng_seed_all(7);
    uint64_t own = rng_u64(), second = number_of_new_thread(), third = number_of_new_thread();
    ck_assert_uint_ne(own, second);
    ck_assert_uint_ne(second, third);
    rng_seed_all(7);
    ck_assert_uint_eq(rng_u64(), own);
    ck_assert_uint_eq(number_of_new_thread(), second);
    ck_assert_uint_eq(number_of_new_thread(), third);
    rng_seed_all(8);
    ck_assert_uint_ne(number_of_new_thread(), second);
}
END_TEST

/* Every value of a small range, none outside, none favoured (5 sigma over a fixed seed). */
START_TEST(test_below)
{
    rng_seed_all(1);
    for (uint64_t n = 1; n <= 20; n++) {
        unsigned seen[20] = { 0 };
        const unsigned draws = 20000;
        for (unsigned i = 0; i < draws; i++) {
            uint64_t v = rng_below(n);
            ck_assert_uint_lt(v, n);
            seen[v]++;
        }
        double expected = (double)draws / (double)n;
        for (uint64_t v = 0; v < n; v++) {
            double off = seen[v] - expected;
            ck_assert_msg(off * off <= 25 * expected, "%u of %f", seen[v], expected);
        }
    }
}
END_TEST

/* For n = 3 * 2^62 a plain product would give every third value twice as often. */
START_TEST(test_below_huge)
{
    rng_seed_all(unit_seed());
    const uint64_t n = (uint64_t)3 << 62;
    unsigned third[3] = { 0 };
    unsigned residue[3] = { 0 };
    for (int i = 0; i < 30000; i++) {
        uint64_t v = rng_below(n);
        ck_assert_uint_lt(v, n);
        third[v >> 62]++;
        residue[v % 3]++;
    }
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_gt(third[i], 9400);
        ck_assert_uint_lt(third[i], 10600);
        ck_assert_uint_gt(residue[i], 9400);
        ck_assert_uint_lt(residue[i], 10600);
    }
    ck_assert_uint_lt(rng_below(UINT64_MAX), UINT64_MAX);
    ck_assert_uint_eq(rng_below(1), 0);
}
END_TEST

START_TEST(test_unit)
{
    rng_seed_all(unit_seed());
    double sum = 0, least = 1, most = 0;
    for (int i = 0; i < 100000; i++) {
        double v = rng_unit();
        ck_assert(v >= 0 && v < 1);
        sum += v;
        least = v < least ? v : least;
        most = v > most ? v : most;
    }
    ck_assert(sum > 49000 && sum < 51000);
    ck_assert(least < 0.01 && most > 0.99);
}
END_TEST

START_TEST(test_secrets)
{
    unsigned char a[1000] = { 0 }, b[1000] = { 0 };
    rng_secret(a, sizeof a - 1);
    rng_secret(b, sizeof b - 1);
    ck_assert(memcmp(a, b, sizeof a) != 0);
    ck_assert_uint_eq(a[sizeof a - 1], 0);
    bool seen[256] = { false };
    unsigned distinct = 0;
    for (unsigned i = 0; i < sizeof a - 1; i++) {
        distinct += !seen[a[i]];
        seen[a[i]] = true;
    }
    ck_assert_uint_gt(distinct, 200);
}
END_TEST

START_TEST(test_hex_digits)
{
    for (size_t n = 0; n < 200; n++) {
        char text[201];
        memset(text, '#', sizeof text);
        rng_hex(text, n);
        for (size_t i = 0; i < n; i++) {
            ck_assert(strchr("0123456789abcdef", text[i]) != NULL);
        }
        ck_assert(text[n] == '#');
    }
    char a[40], b[40];
    rng_hex(a, sizeof a);
    rng_hex(b, sizeof b);
    ck_assert(memcmp(a, b, sizeof a) != 0);
    unsigned seen = 0;
    for (int round = 0; round < 20; round++) {
        rng_hex(a, sizeof a);
        for (unsigned i = 0; i < sizeof a; i++) {
            seen |= 1u << (strchr("0123456789abcdef", a[i]) - "0123456789abcdef");
        }
    }
    ck_assert_uint_eq(seen, 0xffff);
}
END_TEST

START_TEST(test_unseeded)
{
    rng_seed_all(7);
    uint64_t own = rng_u64(), second = number_of_new_thread();
    rng_seed_kernel();
    uint64_t fresh = rng_u64();
    ck_assert_uint_ne(fresh, own);
    ck_assert_uint_ne(fresh, rng_u64());
    uint64_t other = number_of_new_thread();
    ck_assert_uint_ne(other, second);
    ck_assert_uint_ne(other, number_of_new_thread());
}
END_TEST

UNIT_SUITE(rng)
{
    unit_case(suite, "rng", test_sequence, test_threads, test_below, test_below_huge, test_unit,
              test_secrets, test_hex_digits, test_unseeded);
}
