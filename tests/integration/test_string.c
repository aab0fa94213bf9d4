/* test_string.c -- The string family beside redis-server: replies, order of checks, events, keys.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/rng.h"
#include "compare.h"
#include "unit.h"
#include <stdlib.h>
#include <string.h>

/* ================= SET and GET ================= */

START_TEST(test_set_get)
{
    compare("GET k", "SET k v", "GET k", "SET k ''", "GET k", "SET '' v", "GET ''",
            "SET \"a\\x00b\" \"\\x00\\r\\n\\xff\"", "GET \"a\\x00b\"", "SET k 12", "GET k",
            "OBJECT ENCODING k", "SET k -9223372036854775808", "OBJECT ENCODING k", "GET k",
            "SET k 9223372036854775808", "OBJECT ENCODING k", "GET k", "SET k 012",
            "OBJECT ENCODING k", "SET k '12 '", "OBJECT ENCODING k", "SET k -0",
            "OBJECT ENCODING k", "SET k +1", "OBJECT ENCODING k",
            "SET k 12345678901234567890123456789012345678901234", "OBJECT ENCODING k",
            "SET k 123456789012345678901234567890123456789012345", "OBJECT ENCODING k", "GET k",
            "STRLEN k", "GET", "GET a b", "SET k", "SET");
}
END_TEST

START_TEST(test_set_expiry)
{
    compare("SET k v EX 100", "~near=500 PTTL k", "SET k w KEEPTTL", "~near=500 PTTL k", "GET k",
            "SET k v", "PTTL k", "SET k v px 100000", "~near=500 PTTL k", "SET k v EX 10 EX 100",
            "~near=500 PTTL k", "SET k v EXAT 4000000000", "~near=500 PTTL k",
            "SET k v PXAT 4000000000000", "~near=500 PTTL k", "SET k v XX KEEPTTL",
            "~near=500 PTTL k", "SET k w GET KEEPTTL", "~near=500 PTTL k", "SET k x XX GET EX 50",
            "~near=500 PTTL k", "SET k y NX GET PX 5000", "~near=500 PTTL k", "GET k",
            "SET k v PXAT 1", "GET k", "GET k", "SET k v PXAT 9223372036854775807",
            "SET n 10 KEEPTTL", "PTTL n", "SETEX k 100 v", "~near=500 PTTL k", "PSETEX k 100000 12",
            "~near=500 PTTL k", "OBJECT ENCODING k", "SETNX k v", "~near=500 PTTL k", "SETNX m v",
            "PTTL m");
}
END_TEST

START_TEST(test_set_bad_expiry)
{
    static const char *const times[] = {
        "0",
        "-1",
        "x",
        "''",
        "1.5",
        "' 1'",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "9223372036854775",
        "9223372036854776",
        "922337203685477",
    };
    struct compare_script s = { NULL, 0 };
    compare_add(&s, "SET k v");
    for (unsigned i = 0; i < countof(times); i++) {
        static const char *const units[] = { "EX", "PX", "EXAT", "PXAT" };
        for (unsigned u = 0; u < countof(units); u++) {
            compare_add(&s, "SET k w %s %s", units[u], times[i]);
            compare_add(&s, "SET k w NX %s %s", units[u], times[i]);
            compare_add(&s, "GETEX k %s %s", units[u], times[i]);
            compare_add(&s, "GETEX nokey %s %s", units[u], times[i]);
            compare_add(&s, "~near=500 PTTL k");
        }
        compare_add(&s, "SETEX k %s v", times[i]);
        compare_add(&s, "PSETEX k %s v", times[i]);
        compare_add(&s, "DEL k");
        compare_add(&s, "SET k v");
    }
    compare_script(&s);
}
END_TEST

static const char *const options[] = {
    "NX",
    "XX",
    "GET",
    "KEEPTTL",
    "PERSIST",
    "EX 1000",
    "PX 100000",
    "EXAT 4000000000",
    "PXAT 4000000000000",
    "EX 0",
    "EX",
    "nX",
    "foo",
};

/* All pairs of options, and as many random triples, on a key with an expiry and on none. */
START_TEST(test_set_option_pairs)
{
    struct compare_script s = { NULL, 0 };
    for (size_t i = 0; i < countof(options) * countof(options) * 2; i++) {
        const char *a = options[i % countof(options)],
                   *b = options[i / countof(options) % countof(options)],
                   *c = i < countof(options) * countof(options)
                            ? ""
                            : options[rng_below(countof(options))];
        compare_add(&s, "SET k old EX 500");
        compare_add(&s, "SET k new %s %s %s", a, b, c);
        compare_add(&s, "SET k%u new %s %s %s", (unsigned)i, a, b, c);
        compare_add(&s, "~near=500 PTTL k");
        compare_add(&s, "GETEX k %s %s %s", a, b, c);
        compare_add(&s, "~near=500 PTTL k");
    }
    compare_script(&s);
}
END_TEST

START_TEST(test_getset_getdel_getex)
{
    compare("GETSET k v", "GETSET k 12", "GETSET k w", "OBJECT ENCODING k", "SET k v EX 100",
            "GETSET k w", "PTTL k", "GETDEL nokey", "GETDEL k", "GET k", "SET k 12", "GETDEL k",
            "SET k v", "GETEX k", "PTTL k", "GETEX k EX 100", "~near=500 PTTL k", "GETEX k",
            "~near=500 PTTL k", "GETEX k PERSIST", "PTTL k", "GETEX k PERSIST", "GETEX k PX 100000",
            "~near=500 PTTL k", "GETEX k EXAT 1", "GET k", "GETEX k", "SET k v", "GETEX k PXAT 1",
            "GET k", "GETEX nokey EX 10", "GETEX nokey foo", "GETEX k KEEPTTL", "GETEX", "GETDEL",
            "GETSET k");
}
END_TEST

/* ================= Many keys ================= */

START_TEST(test_mget_mset)
{
    compare("MSET a 1 b two c ''", "MGET a b c nokey a", "MSET a x a y a z", "GET a", "MSET a",
            "MSET a 1 b", "MGET", "RPUSH l x", "MGET a l b", "MSET l v", "GET l", "SET e 1 EX 100",
            "MSET e 2", "PTTL e", "MSETNX a 1 new 2", "GET new", "MSETNX n1 1 n2 2 n1 3",
            "MGET n1 n2", "MSETNX a", "MSETNX x 1 y", "RPUSH l2 x", "MSETNX l2 1 z 2", "GET z",
            "MSETNX", "SETNX l2 v", "SETNX a v", "SETNX fresh v", "SETNX fresh");
}
END_TEST

/* ================= Pieces ================= */

START_TEST(test_append_setrange)
{
    compare("APPEND k ''", "GET k", "OBJECT ENCODING k", "APPEND k a", "APPEND k bc", "GET k",
            "OBJECT ENCODING k", "APPEND n 12", "OBJECT ENCODING n", "INCR n", "APPEND n 3",
            "GET n", "INCR n", "APPEND n ''", "OBJECT ENCODING n", "SET e x EX 100", "APPEND e y",
            "~near=500 PTTL e", "APPEND k", "SETRANGE s 0 ''", "GET s", "SETRANGE s 3 abc", "GET s",
            "SETRANGE s 0 \"\\xff\\x00\"", "GET s", "SETRANGE s 5 ''", "SETRANGE s 100 ''",
            "SETRANGE s 6 tail", "GET s", "SETRANGE s 2 MID", "GET s", "SETRANGE n 1 x", "GET n",
            "SET i 100", "SETRANGE i 1 ''", "OBJECT ENCODING i", "SETRANGE i 1 5", "INCR i",
            "SETRANGE i -1 x", "SETRANGE i -1 ''", "SETRANGE i x y", "SETRANGE nokey -1 ''",
            "SETRANGE nokey 9223372036854775807 ''", "SETRANGE nokey 9223372036854775807 x",
            "SETRANGE nokey 9223372036854775808 x", "SETRANGE nokey 536870912 x",
            "SETRANGE s 536870912 ''", "SETRANGE e 1 z", "~near=500 PTTL e", "STRLEN e",
            "STRLEN nokey", "STRLEN i", "STRLEN");
}
END_TEST

START_TEST(test_getrange)
{
    static const char *const at[] = {
        "-9223372036854775808", "-100", "-6", "-5", "-2", "-1", "0", "1", "4", "5", "6", "100",
        "9223372036854775807"
    };
    struct compare_script s = { NULL, 0 };
    compare_add(&s, "SET k hello");
    compare_add(&s, "SET n 12345");
    compare_add(&s, "SET e ''");
    for (unsigned i = 0; i < countof(at) * countof(at); i++) {
        const char *from = at[i / countof(at)], *to = at[i % countof(at)];
        compare_add(&s, "GETRANGE k %s %s", from, to);
        compare_add(&s, "SUBSTR n %s %s", from, to);
        compare_add(&s, "GETRANGE e %s %s", from, to);
        compare_add(&s, "GETRANGE nokey %s %s", from, to);
    }
    compare_add(&s, "GETRANGE k x 1");
    compare_add(&s, "GETRANGE nokey 1 x");
    compare_add(&s, "GETRANGE k 1 9223372036854775808");
    compare_add(&s, "GETRANGE k 1");
    compare_script(&s);
}
END_TEST

/* Around the sizes at which an entry, a blob and a reply without a copy begin. */
START_TEST(test_large_values)
{
    static const unsigned sizes[] = { 44,    45,    127,   128,   4096,  16383,
                                      16384, 65535, 65536, 65537, 200000 };
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < countof(sizes); i++) {
        char *v = malloc(sizes[i] + 1);
        for (unsigned j = 0; j < sizes[i]; j++) {
            v[j] = (char)('a' + rng_below(26));
        }
        v[sizes[i]] = '\0';
        compare_add(&s, "SET k%u %s", i, v);
        compare_add(&s, "GET k%u", i);
        compare_add(&s, "SET k%u short GET", i);
        compare_add(&s, "GETSET k%u %s", i, v);
        compare_add(&s, "GETEX k%u EX 1000", i);
        compare_add(&s, "MGET k%u k%u nokey", i, i / 2);
        compare_add(&s, "GETRANGE k%u 10 -10", i);
        compare_add(&s, "APPEND k%u x", i);
        compare_add(&s, "SETRANGE k%u 20 yyy", i);
        compare_add(&s, "GETDEL k%u", i);
        compare_add(&s, "MSET a%u %s b%u %s", i, v, i, v);
        compare_add(&s, "SET m%u %s EX 1000", i, v);
        compare_add(&s, "SETRANGE r%u %u x", i, sizes[i]);
        compare_add(&s, "GET r%u", i);
        free(v);
    }
    compare_script(&s);
}
END_TEST

START_TEST(test_length_limit)
{
    compare("CONFIG SET proto-max-bulk-len 1048576", "SETRANGE k 1048575 x", "STRLEN k",
            "SETRANGE k 1048576 x", "SETRANGE k 1048570 1234567", "SETRANGE nokey 1048576 x",
            "GET nokey", "APPEND k x", "APPEND k ''", "STRLEN k", "SETBIT k 8388608 1",
            "SETBIT k 8388607 1", "GETBIT k 8388608", "GETBIT k 8388607",
            "BITFIELD k SET u8 8388608 1", "BITFIELD k GET u8 #1048576",
            "BITFIELD k GET u8 #1048575", "LCS k nokey", "LCS k nokey LEN", "SET a 1",
            "LCS a nokey", "CONFIG SET proto-max-bulk-len 512mb");
}
END_TEST

/* ================= Numbers ================= */

START_TEST(test_incr)
{
    static const char *const values[] = {
        "0",
        "1",
        "-1",
        "42",
        "9223372036854775807",
        "9223372036854775806",
        "-9223372036854775808",
        "-9223372036854775807",
        "9223372036854775808",
        "''",
        "x",
        "1.5",
        "' 1'",
        "'1 '",
        "01",
        "-0",
        "+1",
        "1e3",
        "\"1\\x00\"",
    };
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < countof(values); i++) {
        compare_add(&s, "SET k %s", values[i]);
        compare_add(&s, "INCR k");
        compare_add(&s, "DECR k");
        compare_add(&s, "DECR k");
        for (unsigned j = 0; j < countof(values); j++) {
            compare_add(&s, "SET k %s EX 1000", values[i]);
            compare_add(&s, "INCRBY k %s", values[j]);
            compare_add(&s, "SET k %s", values[i]);
            compare_add(&s, "DECRBY k %s", values[j]);
        }
        compare_add(&s, "INCRBY new%u %s", i, values[i]);
        compare_add(&s, "DECRBY anew%u %s", i, values[i]);
    }
    compare_add(&s, "INCR fresh");
    compare_add(&s, "DECR fresh2");
    compare_add(&s, "SET t 1 EX 1000");
    compare_add(&s, "INCR t");
    compare_add(&s, "~near=500 PTTL t");
    compare_add(&s, "INCR");
    compare_add(&s, "INCRBY k");
    compare_script(&s);
}
END_TEST

START_TEST(test_incrbyfloat)
{
    static const char *const values[] = {
        "0",       "1",    "-1",   "0.1",    "-0.1",       "3.0",
        "5.0e3",   "1e-5", "1e17", "1e30",   "1e-20",      "0x10",
        "inf",     "-inf", "nan",  "''",     "x",          "' 1'",
        "'1 '",    "+1",   "-0",   "1e4932", "1e5000",     "9223372036854775807",
        ".5",      "5.",   "1e",   "--1",    "\"1\\x00\"", "123456789.123456789",
        "1e-4940",
    };
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < countof(values); i++) {
        for (unsigned j = 0; j < countof(values); j++) {
            compare_add(&s, "SET k %s", values[i]);
            compare_add(&s, "INCRBYFLOAT k %s", values[j]);
        }
        compare_add(&s, "INCRBYFLOAT new%u %s", i, values[i]);
    }
    compare_add(&s, "SET t 1 EX 1000");
    compare_add(&s, "INCRBYFLOAT t 1");
    compare_add(&s, "OBJECT ENCODING t");
    compare_add(&s, "~near=500 PTTL t");
    compare_add(&s, "INCR t");
    compare_add(&s, "INCRBYFLOAT t");
    compare_script(&s);
}
END_TEST

/* ================= LCS ================= */

START_TEST(test_lcs)
{
    compare("MSET a ohmytext b mynewtext n 12345 e ''", "LCS a b", "LCS a b LEN", "LCS a b IDX",
            "LCS a b IDX MINMATCHLEN 4", "LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN",
            "LCS a b WITHMATCHLEN", "LCS a b MINMATCHLEN 4", "LCS a b LEN WITHMATCHLEN",
            "LCS a a IDX", "LCS a e", "LCS e e IDX", "LCS a nokey IDX", "LCS nokey nokey",
            "LCS n n", "LCS n nokey LEN", "LCS a b IDX MINMATCHLEN -1", "LCS a b IDX MINMATCHLEN 0",
            "LCS a b IDX MINMATCHLEN 9223372036854775807", "LCS a b MINMATCHLEN", "LCS a b foo",
            "LCS a b LEN IDX", "LCS a b IDX LEN foo", "LCS a b MINMATCHLEN x", "LCS a",
            "LCS a b len", "LCS a b iDx mInMaTcHlEn 2 withmatchlen", "RPUSH l x", "LCS a l",
            "LCS l a foo", "LCS nokey l LEN IDX");
}
END_TEST

START_TEST(test_lcs_random)
{
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < 200; i++) {
        char text[2][64];
        for (unsigned t = 0; t < 2; t++) {
            size_t n = rng_below(sizeof text[t]);
            unsigned letters = 1 + (unsigned)rng_below(4);
            for (size_t j = 0; j < n; j++) {
                text[t][j] = (char)('a' + rng_below(letters));
            }
            text[t][n] = '\0';
        }
        compare_add(&s, "MSET a '%s' b '%s'", text[0], text[1]);
        compare_add(&s, "LCS a b");
        compare_add(&s, "LCS a b LEN");
        compare_add(&s, "LCS a b IDX WITHMATCHLEN MINMATCHLEN %u", (unsigned)rng_below(4));
    }
    compare_script(&s);
}
END_TEST

/* ================= Wrong type ================= */

/* With a bad argument too: which error wins. */
START_TEST(test_wrong_type)
{
    compare("RPUSH l x", "GET l", "SET l v GET", "SET l v GET EX 0", "SET l v GET NX", "SET l v NX",
            "SET nokey v XX", "GETSET l v", "GETDEL l", "GETEX l", "GETEX l EX 0", "GETEX l foo",
            "APPEND l x", "STRLEN l", "SETRANGE l 0 ''", "SETRANGE l 0 x", "SETRANGE l -1 x",
            "SETRANGE l 9223372036854775807 x", "GETRANGE l 0 1", "GETRANGE l x 1", "INCR l",
            "INCRBY l x", "DECRBY l -9223372036854775808", "INCRBYFLOAT l x", "INCRBYFLOAT l 1",
            "LRANGE l 0 -1", "SET l v", "GET l", "RPUSH l2 x", "SET l2 v EX 100", "GET l2",
            "RPUSH l3 x", "SETEX l3 100 v", "GET l3", "RPUSH l4 x", "EXPIRE l4 1000",
            "SET l4 v KEEPTTL", "~near=500 PTTL l4");
}
END_TEST

START_TEST(test_in_multi)
{
    compare("MULTI", "SET a 1", "INCR a", "SET a 5 EX 100 GET", "GETEX a PERSIST", "MSETNX b 1 c 2",
            "GETDEL b", "INCRBYFLOAT a 0.5", "INCR a", "EXEC", "MULTI", "SET a", "EXEC", "SELECT 1",
            "SET a one", "GETEX a EX 100", "SELECT 0", "GET a", "WATCH a", "@b SET a x EX 100 GET",
            "MULTI", "GET a", "EXEC");
}
END_TEST

/* What stands in the log makes the same keys again: relative times, conditions, floats. */
START_TEST(test_string_recovered)
{
    compare_recovered(
        "SET plain v", "SET int 12", "SET ex v EX 1000", "SET px v PX 1000000", "SET nx v NX",
        "SET nx w NX", "SET xx v XX", "SET nx x XX GET", "SET ex w KEEPTTL", "SET px w GET",
        "SET nxex v NX EX 1000 GET", "SETEX setex 1000 v", "PSETEX psetex 1000000 v",
        "SETNX setnx v", "SETNX setnx w", "GETSET plain w", "GETSET ex x", "SET del v",
        "GETDEL del", "SET getex v", "GETEX getex EX 1000", "SET getex2 v EX 1000",
        "GETEX getex2 PERSIST", "SET getex3 v", "GETEX getex3 PXAT 1", "MSET m1 1 m2 two m1 3",
        "MSETNX n1 1 n2 2 n1 3", "MSETNX n1 9 n3 9", "APPEND plain tail", "APPEND new 12",
        "APPEND int 3", "SETRANGE plain 2 xyz", "SETRANGE hole 5 x", "INCR count",
        "INCRBY count 41", "DECRBY count 2", "SET ttl 1 EX 1000", "INCR ttl",
        "SET float 1.5 EX 1000", "INCRBYFLOAT float 0.25", "SETBIT bits 100 1", "SETBIT bits 100 1",
        "SETBIT bits 3 1", "SETBIT zero 9 0",
        "BITFIELD field SET u8 0 255 INCRBY u8 0 1 INCRBY i16 100 -5",
        "BITFIELD grown OVERFLOW FAIL SET u8 100 256", "BITOP NOT not plain",
        "BITOP AND and plain m2", "BITOP OR gone nokey", "SET and x EX 1000",
        "BITOP XOR and plain int", "MULTI", "INCR count", "SET multi v EX 1000",
        "INCRBYFLOAT fm 1.5", "EXEC", "SELECT 3", "SET other v EX 1000", "SELECT 0", "GETDEL m2",
        "SET m2 v PXAT 1", "GET m2");
}
END_TEST

/* Memory runs out at a pair in the middle: none of them is set, and the server lives. */
START_TEST(test_mset_out_of_memory)
{
#ifdef KV_FAULTS
    struct server kv;
    server_init(&kv, SERVER_KV);
    server_env(&kv, "KV_FAULTS", "store.new_string=nomem:4:2");
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "MSET a 1 b 2 c 3");
    client_expect_error(c, "OOM", "MSET a x b y c z d new");
    client_expect_error(c, "OOM", "MSETNX e x f y");
    client_expect(c, "[\"1\", \"2\", \"3\", nil, nil, nil]", "MGET a b c d e f");
    client_expect(c, "+OK", "MSET a x d new");
    client_close(c);
    server_env(&kv, "KV_FAULTS", "");
    server_kill(&kv);
    server_start(&kv);
    c = server_connect(&kv);
    client_expect(c, "[\"x\", \"2\", \"3\", \"new\", nil, nil]", "MGET a b c d e f");
    client_close(c);
    server_stop(&kv);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

UNIT_SUITE(string)
{
    TCase *tc = unit_case_slow(suite, "string", 300, test_set_get, test_set_expiry,
                               test_set_bad_expiry, test_set_option_pairs, test_getset_getdel_getex,
                               test_mget_mset, test_append_setrange, test_getrange,
                               test_large_values, test_length_limit, test_incr, test_incrbyfloat,
                               test_lcs, test_lcs_random, test_wrong_type, test_in_multi);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
    unit_case(suite, "string_log", test_string_recovered);
    unit_case(suite, "string_oom", test_mset_out_of_memory);
}
