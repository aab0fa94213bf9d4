/* test_hll.c -- The HyperLogLog family beside redis-server: the same bytes after the same commands.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/rng.h"
#include "compare.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPARSE_MAX "CONFIG SET hll-sparse-max-bytes 3000"

START_TEST(test_pfadd_pfcount)
{
    compare("PFADD h", "GET h", "OBJECT ENCODING h", "PFADD h", "PFCOUNT h", "GET h", "PFCOUNT h",
            "PFADD h a b c", "GET h", "PFADD h a b", "PFADD h ''", "PFCOUNT h", "PFADD h c",
            "GET h", "PFADD h d", "GET h", "STRLEN h", "PFCOUNT nokey", "PFCOUNT nokey h nokey",
            "PFCOUNT nokey nokey", "PFADD", "PFCOUNT", "PFADD t x", "EXPIRE t 100", "PFADD t y",
            "PFCOUNT t", "~near=500 PTTL t", "PFADD g 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17",
            "PFCOUNT g", "PFCOUNT g h t", "GET g", "PFADD i 12345678 123456789012345678901234567",
            "GET i", "WATCH h", "PFADD h z", "MULTI", "PFCOUNT h", "EXEC", "PFADD h zz", "WATCH h",
            "PFCOUNT h", "MULTI", "PING", "EXEC", "COMMAND GETKEYS PFMERGE a b c",
            "COMMAND GETKEYS PFCOUNT a b");
}
END_TEST

START_TEST(test_pfmerge)
{
    compare("PFMERGE new", "GET new", "PFADD a 1 2 3", "PFADD b 3 4 5", "PFADD c 5 6 7",
            "PFMERGE d a b", "GET d", "PFCOUNT d", "PFMERGE d c nokey", "PFCOUNT d", "GET d",
            "PFMERGE a a", "GET a", "PFDEBUG TODENSE c", "PFMERGE e a c", "PFDEBUG ENCODING e",
            "GET e", "PFMERGE c a", "GET c", "PFCOUNT c e", "PFMERGE", "PFADD t x", "EXPIRE t 100",
            "PFMERGE t a", "~near=500 PTTL t", "PFCOUNT t", "GET t", "PFCOUNT a b c d e t");
}
END_TEST

START_TEST(test_hll_refusals)
{
    compare("RPUSH l x", "SET s foo", "SET e ''", "SET n 1234567890123456789", "PFADD h a b c",
            "PFADD l x", "PFCOUNT l", "PFMERGE l h", "PFMERGE h l", "PFMERGE h h l",
            "PFDEBUG ENCODING l", "PFADD s x", "PFCOUNT s", "PFMERGE s h", "PFMERGE h s",
            "PFDEBUG TODENSE s", "PFADD e x", "PFCOUNT e", "PFADD n x", "PFCOUNT n", "PFCOUNT h l",
            "PFCOUNT h s", "PFCOUNT l h", "GET h", "SETRANGE h 0 0123", "PFCOUNT h", "PFADD h x",
            "PFADD h2 a b c", "SETRANGE h2 4 x", "PFCOUNT h2", "PFADD h3 a b c",
            "SETRANGE h3 4 \"\\x00\"", "PFCOUNT h3", "PFADD h4 a b c", "APPEND h4 he", "PFCOUNT h4",
            "PFADD h4 zzz", "PFCOUNT h4", "PFCOUNT h4 nokey", "PFMERGE out h4", "EXISTS out",
            "PFMERGE h4", "PFDEBUG DECODE h4", "PFDEBUG TODENSE h4", "PFDEBUG GETREG h4", "GET h4",
            "SET h5 HYLL",
            "APPEND h5 \"\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x80\"",
            "PFCOUNT h5", "PFADD h5 a", "PFMERGE h5", "PFDEBUG DECODE h5", "GET h5", "SET h6 HYLL",
            "APPEND h6 \"\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x80\\x40\"",
            "PFCOUNT h6", "PFADD h6 a", "GET h6");
}
END_TEST

START_TEST(test_pfdebug)
{
    compare("PFADD h 1 2 3", "PFDEBUG DECODE h", "PFDEBUG ENCODING h", "PFDEBUG foo h",
            "PFDEBUG foo nokey", "PFDEBUG GETREG nokey", "PFDEBUG", "PFDEBUG DECODE",
            "PFDEBUG todense h", "PFDEBUG TODENSE h", "PFDEBUG ENCODING h", "PFDEBUG DECODE h",
            "PFCOUNT h", "PFADD g a b c d", "PFCOUNT g", "PFDEBUG GETREG g", "PFDEBUG ENCODING g",
            "GET g", "PFADD g e", "PFDEBUG GETREG g", "PFSELFTEST", "PFSELFTEST x");
}
END_TEST

/* Random elements, some of them again: sparse sketches that become dense, and merges of them. */
static void add_elements(struct compare_script *s, const char *key, unsigned n, unsigned of)
{
    char line[8000];
    int len = snprintf(line, sizeof line, "PFADD %s", key);
    for (unsigned i = 0; i < n; i++) {
        len += snprintf(line + len, sizeof line - (size_t)len, " e%u", (unsigned)rng_below(of));
    }
    compare_add(s, "%s", line);
}

START_TEST(test_hll_random)
{
    static const unsigned sparse_max[] = { 3000, 0, 100, 20000 };
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < 4; i++) {
        compare_add(&s, "CONFIG SET hll-sparse-max-bytes %u", sparse_max[i]);
        compare_add(&s, "FLUSHALL");
        for (unsigned j = 0; j < 60; j++) {
            char key[2] = { (char)('a' + (char)rng_below(4)), '\0' };
            unsigned few = (unsigned)rng_below(2);
            add_elements(&s, key, few ? 3 : (unsigned)rng_below(300), few ? 100 : 1000000);
            compare_add(&s, "GET %s", key);
            compare_add(&s, "PFCOUNT %s", key);
            compare_add(&s, "PFCOUNT a %s c", key);
            if (j % 10 == 9) {
                compare_add(&s, "PFMERGE m%u a %s", j, key);
                compare_add(&s, "GET m%u", j);
                compare_add(&s, "PFMERGE %s b c", key);
                compare_add(&s, "GET %s", key);
                compare_add(&s, "PFDEBUG ENCODING %s", key);
            }
        }
    }
    compare_add(&s, SPARSE_MAX);
    compare_script(&s);
}
END_TEST

/* Ranks above 32 have no place in runs: bytes that no one can find by hashing are written. */
START_TEST(test_hll_dense_only)
{
    compare("PFADD h a b c", "PFDEBUG TODENSE h", "SETRANGE h 16 \"\\xff\\xff\\xff\"", "PFCOUNT h",
            "PFADD s x", "PFMERGE s h", "PFDEBUG ENCODING s", "PFDEBUG GETREG s", "GET s",
            "PFCOUNT s", "PFCOUNT s h", "SETRANGE h 12301 \"\\xff\\xff\\xff\"", "PFCOUNT h",
            "PFMERGE h s", "GET h", "PFCOUNT h");
}
END_TEST

START_TEST(test_hll_damaged)
{
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < 300; i++) {
        compare_add(&s, "DEL h");
        add_elements(&s, "h", (unsigned)rng_below(400), 100000);
        for (unsigned j = 0; j < 3; j++) {
            compare_add(&s, "SETRANGE h %u \"\\x%02x\"", (unsigned)rng_below(200),
                        (unsigned)rng_below(256));
        }
        compare_add(&s, "SETRANGE h 15 \"\\x80\"");
        compare_add(&s, "PFCOUNT h");
        compare_add(&s, "PFCOUNT h nokey");
        compare_add(&s, "PFDEBUG ENCODING h");
        compare_add(&s, "PFMERGE h");
        /* The last byte is never half a run: redis-server would look behind it. */
        compare_add(&s, "APPEND h \"\\x80\"");
        for (unsigned j = 0; j < 3; j++) {
            compare_add(&s, "PFADD h more%u", (unsigned)rng_below(100000));
            compare_add(&s, "GET h");
        }
    }
    compare_script(&s);
}
END_TEST

/* Counts that PFCOUNT kept and sketches that became dense come back, with any limit then. */
START_TEST(test_hll_recovered)
{
    struct compare_script many = { NULL, 0 };
    for (unsigned i = 0; i < 20; i++) {
        add_elements(&many, "m", 300, 1000000);
    }
    static const char *const rest[] = { "PFDEBUG ENCODING m",
                                        "PFCOUNT m",
                                        "PFADD m more",
                                        "PFADD h a b c",
                                        "PFCOUNT h",
                                        "PFADD g a b c",
                                        "PFCOUNT g",
                                        "PFADD g d e",
                                        "PFADD empty",
                                        "PFADD zero",
                                        "PFCOUNT zero",
                                        "PFMERGE u h g",
                                        "PFMERGE v h m",
                                        "PFCOUNT v",
                                        "CONFIG SET hll-sparse-max-bytes 40",
                                        "PFADD s 1 2 3 4 5 6 7 8 9 10 11 12 13 14",
                                        "PFMERGE t h g u s",
                                        "PFDEBUG ENCODING s",
                                        "PFADD r 1 2 3 4",
                                        "PFADD q 5 6 7 8",
                                        "PFMERGE r q",
                                        "PFDEBUG ENCODING r",
                                        "PFADD x a b c",
                                        "PFDEBUG TODENSE x",
                                        "PFADD y a b c",
                                        "PFDEBUG GETREG y",
                                        "PFADD late a",
                                        "PEXPIRE late 30",
                                        "~near=1 DEBUG SLEEP 0.05",
                                        "PFMERGE gone late h",
                                        "PFADD ttl a",
                                        "EXPIRE ttl 1000",
                                        "PFADD ttl b",
                                        "PFCOUNT ttl",
                                        "CONFIG SET hll-sparse-max-bytes 3000",
                                        "SELECT 3",
                                        "PFADD h in3",
                                        "PFCOUNT h",
                                        "SELECT 0",
                                        "MULTI",
                                        "PFADD tx a",
                                        "PFCOUNT tx",
                                        "PFMERGE tx h",
                                        "EXEC" };
    for (unsigned i = 0; i < countof(rest); i++) {
        compare_add(&many, "%s", rest[i]);
    }
    compare_script_recovered(&many);
}
END_TEST

UNIT_SUITE(hll)
{
    TCase *tc =
        unit_case_slow(suite, "hll", 300, test_pfadd_pfcount, test_pfmerge, test_hll_refusals,
                       test_pfdebug, test_hll_random, test_hll_dense_only, test_hll_damaged);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
    unit_case(suite, "recovered", test_hll_recovered);
}
