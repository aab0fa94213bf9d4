/* test_bitmap.c -- The bitmap family beside redis-server: replies, order of checks, events, keys.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/rng.h"
#include "compare.h"
#include "unit.h"
#include <stdio.h>

/* "\xHH..." for a line, mostly of equal bytes. */
static const char *random_bytes(char *out, size_t bytes)
{
    unsigned kind = (unsigned)rng_below(3);
    char *p = out;
    for (size_t i = 0; i < bytes; i++) {
        unsigned byte = kind == 0 ? 0 : 0xff;
        if (kind == 2 || rng_below(20) == 0) {
            byte = (unsigned)rng_below(256);
        }
        p += sprintf(p, "\\x%02x", byte);
    }
    *p = '\0';
    return out;
}

START_TEST(test_setbit_getbit)
{
    compare("SETBIT k 7 1", "GET k", "SETBIT k 7 1", "SETBIT k 0 1", "GET k", "SETBIT k 7 0",
            "SETBIT k 100 0", "STRLEN k", "OBJECT ENCODING k", "SETBIT z 0 0", "GET z",
            "GETBIT k 0", "GETBIT k 7", "GETBIT k 1000", "GETBIT nokey 0", "SET n 12", "GETBIT n 3",
            "SETBIT n 2 1", "OBJECT ENCODING n", "SETBIT n 2 0", "GET n", "SET e x EX 100",
            "SETBIT e 6 1", "~near=500 PTTL e", "SETBIT k -1 1", "SETBIT k 4294967296 1",
            "SETBIT k 4294967295 x", "SETBIT k x 1", "SETBIT k 1 2", "SETBIT k 1 -1",
            "SETBIT k #1 1", "GETBIT k -1", "GETBIT k 4294967296", "GETBIT k x",
            "GETBIT k 4294967295", "SETBIT k 9223372036854775808 1", "SETBIT k", "GETBIT k",
            "RPUSH l x", "GETBIT l 0", "GETBIT l x", "SETBIT l 0 1", "SETBIT l 0 2");
}
END_TEST

START_TEST(test_bitcount_bitpos_arguments)
{
    /* The lines with => : since 7.4 arguments are checked before the key. */
    compare("SET k foobar", "BITCOUNT k", "BITCOUNT k 0", "BITCOUNT k 0 0", "BITCOUNT k 1 1",
            "BITCOUNT k 5 30 BIT", "BITCOUNT k 0 1 foo", "BITCOUNT k 0 x foo", "BITCOUNT k x 0 foo",
            "BITCOUNT k 0 1 BIT x", "BITCOUNT nokey", "BITCOUNT nokey 0 1",
            "BITCOUNT nokey 0 1 BIT", "BITCOUNT nokey 1 => -ERR syntax error",
            "BITCOUNT nokey 0 1 foo => -ERR syntax error",
            "BITCOUNT nokey x 1 => -ERR value is not an integer or out of range", "BITCOUNT",
            "BITPOS k 1", "BITPOS k 0", "BITPOS k 2", "BITPOS k x", "BITPOS k 1 x y z",
            "BITPOS k 1 0 y z", "BITPOS k 1 0 y BIT", "BITPOS k 1 0 0 z", "BITPOS k 1 0 0 BIT q",
            "BITPOS nokey 0", "BITPOS nokey 1", "BITPOS nokey 0 5", "BITPOS nokey 0 5 10",
            "BITPOS nokey 1 0 1 BIT",
            "BITPOS nokey 1 x => -ERR value is not an integer or out of range",
            "BITPOS nokey 1 0 1 foo => -ERR syntax error", "BITPOS nokey 2", "BITPOS k",
            "RPUSH l x", "BITCOUNT l", "BITCOUNT l 1 => -ERR syntax error",
            "BITCOUNT l x 1 => -ERR value is not an integer or out of range", "BITPOS l 1",
            "BITPOS l 2", "BITPOS l 1 x => -ERR value is not an integer or out of range");
}
END_TEST

START_TEST(test_bit_ranges)
{
    static const char *const at[] = { "-9223372036854775808",
                                      "-100",
                                      "-24",
                                      "-9",
                                      "-3",
                                      "-1",
                                      "0",
                                      "1",
                                      "7",
                                      "8",
                                      "23",
                                      "24",
                                      "100",
                                      "9223372036854775807" };
    static const char *const units[] = { "", "BYTE", "BIT" };
    struct compare_script s = { NULL, 0 };
    compare_add(&s, "SET a \"\\x00\\x0f\\xff\"");
    compare_add(&s, "SET b \"\\xff\\xff\\xff\"");
    compare_add(&s, "SET c \"\\x00\\x00\\x00\"");
    compare_add(&s, "SET d ''");
    compare_add(&s, "SET e 123");
    for (unsigned i = 0; i < countof(at) * countof(at); i++) {
        const char *from = at[i / countof(at)], *to = at[i % countof(at)],
                   *unit = units[i % countof(units)];
        compare_add(&s, "BITCOUNT a %s %s %s", from, to, unit);
        compare_add(&s, "BITCOUNT a %s %s BIT", from, to);
        for (char key = 'a'; key <= 'e'; key++) {
            compare_add(&s, "BITPOS %c 0 %s %s %s", key, from, to, unit);
            compare_add(&s, "BITPOS %c 1 %s %s BIT", key, from, to);
        }
    }
    for (unsigned i = 0; i < countof(at); i++) {
        for (char key = 'a'; key <= 'e'; key++) {
            compare_add(&s, "BITPOS %c 0 %s", key, at[i]);
            compare_add(&s, "BITPOS %c 1 %s", key, at[i]);
        }
    }
    compare_script(&s);
}
END_TEST

START_TEST(test_bit_ranges_random)
{
    struct compare_script s = { NULL, 0 };
    char text[4 * 120 + 1];
    for (unsigned i = 0; i < 60; i++) {
        size_t n = 1 + rng_below(120);
        compare_add(&s, "SET k \"%s\"", random_bytes(text, n));
        compare_add(&s, "BITCOUNT k");
        for (unsigned j = 0; j < 10; j++) {
            int from = (int)rng_below(n * 10) - (int)n, to = (int)rng_below(n * 10) - (int)n;
            compare_add(&s, "BITCOUNT k %d %d", from / 8, to / 8);
            compare_add(&s, "BITCOUNT k %d %d BIT", from, to);
            compare_add(&s, "BITPOS k %u %d %d BIT", j % 2, from, to);
            compare_add(&s, "BITPOS k %u %d", j % 2, from / 8);
        }
    }
    compare_script(&s);
}
END_TEST

START_TEST(test_bitop)
{
    compare("MSET a abc b 'a' c ''", "SET n 12345", "BITOP AND d a b", "GET d", "BITOP OR d a b",
            "GET d", "OBJECT ENCODING d", "BITOP XOR d a b n", "GET d", "BITOP NOT d a", "GET d",
            "BITOP NOT d n", "GET d", "BITOP AND d a nokey", "GET d", "BITOP AND a a a", "GET a",
            "BITOP XOR a a a", "GET a", "BITOP and n n", "OBJECT ENCODING n", "SET d x EX 100",
            "BITOP OR d b", "PTTL d", "BITOP OR d nokey", "GET d", "BITOP OR d nokey",
            "BITOP OR d c nokey", "BITOP NOT d c", "BITOP foo d a", "BITOP NOT d a b",
            "BITOP NOT d", "BITOP foo d", "BITOP", "RPUSH l x", "BITOP AND d l", "BITOP AND d a l",
            "BITOP NOT d l", "BITOP AND l a", "TYPE l", "RPUSH l2 x", "BITOP AND l2 nokey",
            "GET l2", "RPUSH l3 x", "BITOP NOT d l3 a", "BITOP foo d l3");
}
END_TEST

START_TEST(test_bitop_random)
{
    static const char *const ops[] = { "AND", "OR", "XOR", "NOT" };
    struct compare_script s = { NULL, 0 };
    char text[4 * 100 + 1];
    for (unsigned i = 0; i < 300; i++) {
        unsigned n = (unsigned)rng_below(6);
        compare_add(&s, "SET k%u \"%s\"", n, random_bytes(text, rng_below(100)));
        const char *op = ops[rng_below(4)];
        unsigned dest = (unsigned)rng_below(8), x = (unsigned)rng_below(8),
                 y = (unsigned)rng_below(8), z = (unsigned)rng_below(8);
        if (op == ops[3]) {
            compare_add(&s, "BITOP %s k%u k%u", op, dest, x);
        } else {
            compare_add(&s, "BITOP %s k%u k%u k%u k%u", op, dest, x, y, z);
        }
        compare_add(&s, "GET k%u", dest);
    }
    compare_script(&s);
}
END_TEST

START_TEST(test_bitfield)
{
    compare(
        "BITFIELD k", "GET k", "BITFIELD k GET u8 0 GET i16 100", "GET k",
        "BITFIELD k SET u8 0 255 GET u8 0 GET i8 0 GET u4 4 GET u1 0", "GET k",
        "BITFIELD k SET u8 0 255", "BITFIELD k INCRBY u8 0 1", "BITFIELD k SET i8 #2 -1", "GET k",
        "BITFIELD z SET u8 0 0", "BITFIELD z SET u8 0 0", "BITFIELD z INCRBY u8 0 0",
        "BITFIELD f OVERFLOW FAIL SET u8 100 256", "STRLEN f",
        "BITFIELD k OVERFLOW SAT SET u8 0 -1 SET i8 8 300 SET i8 16 -300 INCRBY u8 0 1 INCRBY i8 "
        "8 1 INCRBY i8 16 -1 INCRBY u8 0 -1000",
        "BITFIELD k OVERFLOW WRAP SET u8 0 -1 OVERFLOW FAIL SET u8 8 256 OVERFLOW SAT SET u8 16 "
        "256 GET i64 0",
        "BITFIELD k OVERFLOW SAT SET i8 0 -9223372036854775808 GET i8 0 SET i8 0 "
        "-9223372036854775680 GET i8 0 SET i8 0 -9223372036854775681 GET i8 0 SET i63 0 "
        "-9223372036854775808 GET i63 0",
        "BITFIELD k GET u64 0", "BITFIELD k GET i65 0", "BITFIELD k GET u0 0",
        "BITFIELD k GET x8 0", "BITFIELD k GET u8x 0", "BITFIELD k GET U8 0", "BITFIELD k GET u 0",
        "BITFIELD k GET '' 0", "BITFIELD k GET u08 0", "BITFIELD k GET u-8 0",
        "BITFIELD k GET u8 #-1", "BITFIELD k GET u8 -1", "BITFIELD k GET u8 #",
        "BITFIELD k GET u8 x", "BITFIELD k GET u8", "BITFIELD k GET", "BITFIELD k SET u8 0",
        "BITFIELD k SET u8 0 x", "BITFIELD k INCRBY u8 0 9223372036854775808",
        "BITFIELD k OVERFLOW", "BITFIELD k OVERFLOW x", "BITFIELD k OVERFLOW SAT",
        "BITFIELD k foo u8 0", "BITFIELD k GET u8 4294967296", "BITFIELD k GET u8 4294967295",
        "BITFIELD k SET u8 0 1 GET", "BITFIELD", "BITFIELD_RO k GET u8 0", "BITFIELD_RO k",
        "BITFIELD_RO nokey GET u8 0", "BITFIELD_RO k SET u8 0 1",
        "BITFIELD_RO k GET u8 0 SET u8 0 x", "BITFIELD_RO k OVERFLOW SAT",
        "BITFIELD_RO k GET u8 0 INCRBY u8 0 1", "SET n 12345", "BITFIELD n GET u8 0 GET u8 8",
        "OBJECT ENCODING n", "BITFIELD n SET u8 0 49", "OBJECT ENCODING n", "SET e x EX 100",
        "BITFIELD e SET u8 8 1", "~near=500 PTTL e", "RPUSH l x", "BITFIELD l GET u8 0",
        "BITFIELD l SET u8 0 1", "BITFIELD_RO l GET u8 0", "BITFIELD_RO l SET u8 0 1",
        "BITFIELD l GET u8", "BITFIELD l");
}
END_TEST

static long long random_value(void)
{
    static const long long edges[] = {
        0,    1,    -1,        127,       128,           255,       256,
        -128, -129, INT64_MAX, INT64_MIN, INT64_MAX - 1, INT32_MAX, INT64_MIN + 1
    };
    unsigned kind = (unsigned)rng_below(3);
    return kind == 0   ? edges[rng_below(countof(edges))]
           : kind == 1 ? (long long)rng_below(2000) - 1000
                       : (long long)rng_u64();
}

START_TEST(test_bitfield_random)
{
    static const char *const overflow[] = { "", "OVERFLOW WRAP", "OVERFLOW SAT", "OVERFLOW FAIL" };
    static const char *const kinds[] = { "SET", "INCRBY" };
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < 1000; i++) {
        char op[2][200];
        for (unsigned j = 0; j < 2; j++) {
            bool is_signed = rng_below(2);
            sprintf(op[j], "%s %s %c%u %s%u %lld", overflow[rng_below(4)], kinds[rng_below(2)],
                    is_signed ? 'i' : 'u', 1 + (unsigned)rng_below(is_signed ? 64 : 63),
                    rng_below(4) == 0 ? "#" : "", (unsigned)rng_below(20), random_value());
        }
        compare_add(&s, "BITFIELD k %s GET i64 %u %s GET u63 %u", op[0], (unsigned)rng_below(600),
                    op[1], (unsigned)rng_below(64));
        if (i % 100 == 99) {
            compare_add(&s, "GET k");
            compare_add(&s, "DEL k");
        }
    }
    compare_script(&s);
}
END_TEST

UNIT_SUITE(bitmap)
{
    TCase *tc = unit_case_slow(
        suite, "bitmap", 300, test_setbit_getbit, test_bitcount_bitpos_arguments, test_bit_ranges,
        test_bit_ranges_random, test_bitop, test_bitop_random, test_bitfield, test_bitfield_random);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
}
