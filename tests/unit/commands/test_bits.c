/* test_bits.c -- bits.h against one bit at a time.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "commands/bits.h"
#include "base/rng.h"
#include "unit.h"
#include <string.h>

#define SIZE   300 /* bytes: more than the unrolled loops, with ragged ends */
#define ROUNDS 20000

static char text[SIZE + 16];

static bool bit_at(const char *p, uint64_t i)
{
    return ((unsigned char)p[i / 8] >> (7 - i % 8)) & 1;
}

static void set_bit(char *p, uint64_t i, bool on)
{
    unsigned mask = 0x80u >> (i % 8);
    p[i / 8] = (char)(on ? (unsigned char)p[i / 8] | mask : (unsigned char)p[i / 8] & ~mask);
}

static void random_bytes(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (char)rng_u64();
    }
}

/* All equal bits but for a few now and then, so that searches go far. */
static void fill_random(void)
{
    unsigned kind = (unsigned)rng_below(3);
    memset(text, kind == 0 ? 0 : 0xff, sizeof text);
    if (kind == 2) {
        random_bytes(text, sizeof text);
    } else if (rng_below(2)) {
        text[rng_below(SIZE)] = (char)rng_u64();
    }
}

static void random_range(uint64_t *first, uint64_t *last)
{
    *first = rng_below(SIZE * 8);
    *last = *first + rng_below(rng_below(2) ? 20 : SIZE * 8 - *first);
    *last = *last < SIZE * 8 ? *last : SIZE * 8 - 1;
}

START_TEST(test_bits_count)
{
    rng_seed_all(unit_seed());
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t first, last, n = 0;
        fill_random();
        random_range(&first, &last);
        for (uint64_t b = first; b <= last; b++) {
            n += bit_at(text, b);
        }
        ck_assert_uint_eq(bits_count(text, first, last), n);
    }
}
END_TEST

START_TEST(test_bits_find)
{
    rng_seed_all(unit_seed());
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t first, last;
        fill_random();
        random_range(&first, &last);
        for (int bit = 0; bit <= 1; bit++) {
            uint64_t at = first;
            while (at <= last && bit_at(text, at) != bit) {
                at++;
            }
            ck_assert_uint_eq(bits_find(text, first, last, bit), at <= last ? at : BITS_NONE);
        }
    }
}
END_TEST

START_TEST(test_bits_integers)
{
    rng_seed_all(unit_seed());
    for (int i = 0; i < ROUNDS; i++) {
        char expected[sizeof text];
        random_bytes(text, sizeof text);
        memcpy(expected, text, sizeof text);
        unsigned width = 1 + (unsigned)rng_below(64);
        uint64_t offset = rng_below(SIZE * 8), want = 0, v = rng_u64();
        for (unsigned b = 0; b < width; b++) {
            want = want << 1 | (offset + b < SIZE * 8 ? bit_at(text, offset + b) : 0);
        }
        ck_assert_uint_eq(bits_read(text, SIZE, offset, width), want);

        bits_write(text, offset, width, v);
        for (unsigned b = 0; b < width; b++) {
            set_bit(expected, offset + b, (v >> (width - 1 - b)) & 1);
        }
        ck_assert_mem_eq(text, expected, sizeof text);
    }
}
END_TEST

START_TEST(test_bits_combine)
{
    rng_seed_all(unit_seed());
    for (int i = 0; i < ROUNDS / 10; i++) {
        char to[SIZE], from[SIZE], was[SIZE];
        size_t n = rng_below(SIZE), skip = rng_below(SIZE - n);
        enum bits_op op = (enum bits_op)rng_below(5);
        random_bytes(to, SIZE);
        random_bytes(from, SIZE);
        memcpy(was, to, SIZE);
        bits_combine(to + skip, op, from + skip, n);
        for (size_t b = 0; b < SIZE; b++) {
            int want = was[b];
            if (b >= skip && b < skip + n) {
                const int all[] = { [BITS_AND] = want & from[b],
                                    [BITS_OR] = want | from[b],
                                    [BITS_XOR] = want ^ from[b],
                                    [BITS_NOT] = ~from[b],
                                    [BITS_AND_NOT] = want & ~from[b] };
                want = all[op];
            }
            ck_assert_int_eq(to[b], want);
        }
    }
}
END_TEST

UNIT_SUITE(bits)
{
    unit_case(suite, "bits", test_bits_count, test_bits_find, test_bits_integers,
              test_bits_combine);
}
