/* test_hash.c -- The hash family beside redis-server: replies, order of checks,
 * events, both forms, the log; cursors, which no other server can be asked
 * about. SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/rng.h"
#include "compare.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(test_hash_basics)
{
    compare("HSET h a 1 b 2 c 3", "HSET h a 5 d 6", "HSET h a", "HSET h a 1 b", "HSET h", "HSET",
            "HMSET h x y", "HMSET h x", "HMSET h x y z", "HMSET m a 1 a 2", "HGET m a",
            "~pairs HGETALL h", "HGETALL nokey", "~sort HKEYS h", "~sort HVALS h", "HKEYS nokey",
            "HVALS nokey", "HLEN h", "HLEN nokey", "HGET h a", "HGET h nope", "HGET nokey a",
            "HMGET h a nope b a", "HMGET nokey a b", "HEXISTS h a", "HEXISTS h nope",
            "HEXISTS nokey a", "HSTRLEN h a", "HSTRLEN h nope", "HSTRLEN nokey a", "HSETNX h a 9",
            "HSETNX h new 9", "HSETNX nx f v", "HSETNX nx f w", "HGETALL nx", "HDEL h nope",
            "HDEL h a nope b a", "HDEL nokey a", "HDEL h c d x new more", "EXISTS h",
            "HSET h '' ''", "HGET h ''", "HSTRLEN h ''", "HEXISTS h ''", "HDEL h ''", "EXISTS h",
            "HSET b \"\\x00\" \"\\r\\n\" \"\\xff\" 9223372036854775807 012 -0", "HGET b \"\\x00\"",
            "HGET b \"\\xff\"", "HSTRLEN b \"\\xff\"", "HGET b 012", "HGET b 12",
            "~pairs HGETALL b", "HSET '' a b", "HGETALL ''", "HGET h", "HGET h a b", "HMGET h",
            "HDEL h", "HLEN", "HGETALL", "HGETALL a b", "HSETNX h a", "HSTRLEN h", "HEXISTS h",
            "HSET t f 1", "EXPIRE t 100", "HSET t g 2", "~near=500 PTTL t", "HDEL t f",
            "~near=500 PTTL t", "HDEL t g", "PTTL t", "HSET t f 1", "PTTL t", "TYPE t");
}
END_TEST

static const char *const numbers[] = {
    "0",
    "1",
    "-1",
    "2",
    "-2",
    "3",
    "9",
    "2147483648",
    "-2147483649",
    "4294967297",
    "4611686018427387903",
    "4611686018427387904",
    "-4611686018427387905",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "x",
    "''",
    "1.5",
    "1e3",
    "-0",
    "3.0e-5",
    "inf",
    "-inf",
    "+1",
    "' 1'",
    "1 ",
    "01",
    "0x10",
    "1e400",
};

START_TEST(test_hash_numbers)
{
    struct compare_script s = { NULL, 0 };
    compare_add(&s, "SET str v");
    for (unsigned i = 0; i < countof(numbers); i++) {
        const char *n = numbers[i];
        compare_add(&s, "DEL h");
        compare_add(&s, "HINCRBY h new %s", n);
        compare_add(&s, "HINCRBYFLOAT h newf %s", n);
        compare_add(&s, "HSET h v %s i 9223372036854775806 f 1.5 t text", n);
        compare_add(&s, "HINCRBY h v 1");
        compare_add(&s, "HINCRBY h v -7");
        compare_add(&s, "HINCRBYFLOAT h v 0.1");
        compare_add(&s, "HINCRBY h i %s", n);
        compare_add(&s, "HINCRBY h f %s", n);
        compare_add(&s, "HINCRBY h t %s", n);
        compare_add(&s, "HINCRBYFLOAT h f %s", n);
        compare_add(&s, "HINCRBYFLOAT h t %s", n);
        compare_add(&s, "HINCRBY str f %s", n);
        compare_add(&s, "HINCRBYFLOAT str f %s", n);
        compare_add(&s, "~pairs HGETALL h");
        compare_add(&s, "HSCAN nokey %s", strcmp(n, "' 1'") == 0 ? "0" : n);
        compare_add(&s, "HSCAN str %s", strcmp(n, "' 1'") == 0 ? "0" : n);
        compare_add(&s, "HSCAN h 0 COUNT %s", strstr(n, "-") != NULL ? "x" : n);
    }
    compare_script(&s);
}
END_TEST

START_TEST(test_hash_wrong_type)
{
    compare("SET str v", "RPUSH l a", "HSET str a 1", "HSET str a", "HMSET l a 1", "HSETNX str a 1",
            "HGET str a", "HMGET str a b", "HGETALL l", "HKEYS str", "HVALS str", "HLEN str",
            "HEXISTS str a", "HSTRLEN str a", "HDEL str a", "HINCRBY str a 1", "HINCRBY str a x",
            "HINCRBYFLOAT str a 1", "HINCRBYFLOAT str a x", "HSCAN str 0", "HSCAN str x",
            "HSCAN str 0 FOO", "HRANDFIELD str", "HRANDFIELD str 1", "HRANDFIELD str x",
            "HRANDFIELD str 1 FOO", "HRANDFIELD str 1 WITHVALUES", "HSET h a 1", "GET h",
            "LPUSH h a", "APPEND h a", "INCR h", "SADD h a", "ZADD h 1 a", "SORT h");
}
END_TEST

START_TEST(test_hash_random_field)
{
    struct compare_script s = { NULL, 0 };
    compare_add(&s, "HSET one f v");
    compare_add(&s, "HSET h a 1 b 2 c 3");
    for (unsigned i = 0; i < countof(numbers); i++) {
        const char *n = numbers[i];
        bool huge = strlen(n) > 2 && n[0] == '-' && n[1] >= '0' && n[1] <= '9' && n[2] != '.';
        compare_add(&s, "HRANDFIELD nokey %s", n);
        compare_add(&s, "HRANDFIELD nokey %s WITHVALUES", n);
        compare_add(&s, "HRANDFIELD nokey %s WITHVALUE", n);
        compare_add(&s, "HRANDFIELD nokey %s WITHVALUES x", n);
        if (!huge) { /* that many of one field: the reference dies of it */
            compare_add(&s, "HRANDFIELD one %s", n);
            compare_add(&s, "HRANDFIELD one %s withvalues", n);
        }
        if (n[0] != '-' && n[0] != '1' && n[0] != '2') { /* none or all of them */
            compare_add(&s, "~sort HRANDFIELD h %s", n);
            compare_add(&s, "~type HRANDFIELD h %s WITHVALUES", n);
        }
    }
    compare_add(&s, "HRANDFIELD nokey");
    compare_add(&s, "HRANDFIELD one");
    compare_add(&s, "HRANDFIELD");
    compare_script(&s);
}
END_TEST

START_TEST(test_hash_encoding)
{
    char wide[80];
    memset(wide, 'w', sizeof wide);
    struct compare_script s = { NULL, 0 };
    for (int how = 0; how < 6; how++) {
        compare_add(&s, "DEL h");
        compare_add(&s, "HSET h a 1 b 2");
        int n = how % 3 == 0 ? 63 : how % 3 == 1 ? 64 : 65;
        compare_add(&s, how < 3 ? "HSET h f %.*s" : "HSET h %.*s v", n, wide);
        compare_add(&s, "OBJECT ENCODING h");
        compare_add(&s, "DEBUG DIGEST-VALUE h");
        compare_add(&s, "HDEL h f %.*s", n, wide);
        compare_add(&s, "OBJECT ENCODING h");
    }
    compare_add(&s, "CONFIG SET hash-max-listpack-entries 3");
    compare_add(&s, "CONFIG GET hash-max-ziplist-entries");
    for (int i = 0; i < 6; i++) {
        compare_add(&s, "HSET n f%d %d", i, i);
        compare_add(&s, "OBJECT ENCODING n");
        compare_add(&s, "HSET n f%d x", i);
    }
    compare_add(&s, "COPY n n2");
    compare_add(&s, "OBJECT ENCODING n2");
    compare_add(&s, "CONFIG SET hash-max-ziplist-value 2");
    compare_add(&s, "HSET v ab cd");
    compare_add(&s, "OBJECT ENCODING v");
    compare_add(&s, "HINCRBY v n 100");
    compare_add(&s, "OBJECT ENCODING v");
    compare_add(&s, "HSETNX v2 abc d");
    compare_add(&s, "OBJECT ENCODING v2");
    compare_add(&s, "CONFIG SET hash-max-listpack-value 64 hash-max-listpack-entries 512");
    compare_script(&s);
}
END_TEST

START_TEST(test_hash_in_sort)
{
    compare("RPUSH l 1 2 3", "HSET w_1 f 3 g x", "HSET w_2 f 20 g y", "SET w_3 1", "HSET w_3x f 1",
            "SORT l BY w_*->f", "SORT l BY w_*->f DESC GET # GET w_*->g", "SORT l BY w_*->g ALPHA",
            "SORT l BY w_*->nope", "SORT l BY w_*->", "SORT l BY w_*-> GET w_*->", "SORT l BY w_*",
            "SORT l GET w_*->f GET w_*->g GET w_*", "SORT l BY w_*->f STORE d", "LRANGE d 0 -1",
            "SORT l BY nosort GET w_*->f STORE d", "LRANGE d 0 -1", "SORT l BY w_*x->f");
}
END_TEST

/* Many random commands on a few hashes of all sizes. */
START_TEST(test_hash_random)
{
    rng_seed_all(unit_seed());
    struct compare_script s = { NULL, 0 };
    for (int i = 0; i < 3000; i++) {
        int k = (int)rng_below(3), f = (int)rng_below(k == 0 ? 4 : k == 1 ? 60 : 900);
        int v = (int)rng_below(200000) - 100000, wide = rng_below(20) == 0 ? 70 : 1;
        switch (rng_below(10)) {
        case 0: compare_add(&s, "HSET h%d %d %d f%d %0*d", k, f, v, f + 1, wide, v); break;
        case 1: compare_add(&s, "HSETNX h%d f%d %d", k, f, v); break;
        case 2: compare_add(&s, "HDEL h%d %d f%d f%d", k, f, f, f + 1); break;
        case 3: compare_add(&s, "HINCRBY h%d %d %d", k, f, v); break;
        case 4: compare_add(&s, "HINCRBYFLOAT h%d f%d %d.25", k, f, v); break;
        case 5: compare_add(&s, "HMGET h%d %d f%d", k, f, f + 1); break;
        case 6: compare_add(&s, "HSTRLEN h%d f%d", k, f); break;
        case 7: compare_add(&s, "HLEN h%d", k); break;
        case 8: compare_add(&s, "OBJECT ENCODING h%d", k); break;
        default: compare_add(&s, "DEBUG DIGEST-VALUE h%d", k); break;
        }
        if (i % 100 == 0) {
            compare_add(&s, "~pairs HGETALL h%d", k);
            compare_add(&s, "~sort HKEYS h%d", k);
        }
    }
    compare_script(&s);
}
END_TEST

START_TEST(test_hash_recovered)
{
    char many[4000];
    size_t n = (size_t)sprintf(many, "HSET big wide %070d", 1); /* no listpack */
    for (int i = 0; i < 150; i++) {
        n += (size_t)sprintf(many + n, " field:%d %d", i, i * i);
    }
    compare_recovered("HSET h a 1 b 2 c 3", "HSET h a 4", "HMSET m x y", "HSETNX m x z",
                      "HSETNX m n 1", "HSETNX new f v", "HINCRBY h b 40", "HINCRBY h i -1",
                      "HINCRBYFLOAT h c 1.25", "HINCRBYFLOAT h f 3.0e3", "HDEL h a nope",
                      "HSET gone a 1", "HDEL gone a", many, "HDEL big field:3 field:7",
                      "HINCRBY big field:9 5", "COPY big big2", "HSET big2 extra 1", "HSET ttl a 1",
                      "EXPIRE ttl 1000", "HSET ttl b 2", "MULTI", "HSET t a 1",
                      "HINCRBYFLOAT t a 0.5", "EXEC", "SELECT 3", "HSET h a 1", "SELECT 0",
                      "HSET bin \"\\x00\\r\\n\" '' '' \"\\xff\"", "RENAME m m2");
}
END_TEST

static struct server kv;

static void kv_start(void)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2", "--appendonly", "no", "--enable-debug-command", "yes");
}

static void kv_stop(void)
{
    server_stop(&kv);
}

/* prefix0, prefix1 ... */
static void fill(struct client *c, const char *key, const char *prefix, unsigned count)
{
    client_ask(c, "DEL %s", key);
    for (unsigned i = 0; i < count; i++) {
        ck_assert_int_eq(client_int(c, "HSET %s %s%u %u", key, prefix, i, i), 1);
    }
}

/* A log that begins later has the hashes, whatever their form. */
START_TEST(test_hash_image)
{
    char digest[64];
    struct client *c = server_connect(&kv);
    fill(c, "big", "field:", 2000);
    fill(c, "small", "f", 3);
    client_ask(c, "HSET wide f %0*d", 5000, 1);
    client_ask(c, "EXPIRE small 1000");
    snprintf(digest, sizeof digest, "%s", client_ask(c, "DEBUG DIGEST")->text);
    client_expect(c, "+OK", "CONFIG SET appendonly yes");
    client_expect(c, "+OK", "DEBUG LOADAOF");
    ck_assert_str_eq(client_ask(c, "DEBUG DIGEST")->text, digest);
    ck_assert_int_eq(client_int(c, "HLEN big"), 2000);
    client_close(c);
}
END_TEST

/* Walks the whole hash; with disturb each call removes and adds other fields
 * meanwhile. */
static void scan_all(struct client *c, unsigned stay, unsigned step, bool disturb)
{
    static bool seen[3000];
    char cursor[32] = "0";
    unsigned other = 0;
    memset(seen, 0, sizeof seen);
    do {
        const struct resp *r = client_ask(c, "HSCAN h %s COUNT %u", cursor, step);
        ck_assert_uint_eq(r->count, 2);
        snprintf(cursor, sizeof cursor, "%s", r->at[0]->text);
        ck_assert_uint_lt(strtoull(cursor, NULL, 10), UINT64_C(1) << 53);
        for (size_t i = 0; i < r->at[1]->count; i += 2) {
            const char *text = r->at[1]->at[i]->text;
            if (text[0] == 'm') {
                ck_assert_str_eq(r->at[1]->at[i + 1]->text, text + 1);
                seen[atoi(text + 1)] = true;
            }
        }
        for (unsigned i = 0; disturb && i < 50; i++, other++) {
            client_ask(c, other % 3 == 2 ? "HDEL h x%u" : "HSET h x%u 1",
                       other / 3 * 2 + other % 2);
        }
    } while (strcmp(cursor, "0") != 0);
    for (unsigned i = 0; i < stay; i++) {
        ck_assert_msg(seen[i], "field %u was not visited", i);
    }
}

START_TEST(test_hash_scan)
{
    struct client *c = server_connect(&kv);
    fill(c, "h", "m", 3000);
    scan_all(c, 3000, 1, false);
    scan_all(c, 3000, 100000, false);
    scan_all(c, 3000, 200, true);
    client_expect(c, "[\"0\", []]", "HSCAN h 9007199254740992 COUNT 10");
    ck_assert_uint_eq(client_ask(c, "HSCAN h 0 COUNT 100000 MATCH m77 NOVALUES")->at[1]->count, 1);
    fill(c, "h", "m", 400); /* a listpack comes at once */
    ck_assert_uint_eq(client_ask(c, "HSCAN h 5 COUNT 1")->at[1]->count, 800);
    ck_assert_uint_eq(client_ask(c, "HSCAN h 0 NOVALUES COUNT 1")->at[1]->count, 400);
    client_close(c);
}
END_TEST

/* Every field comes, in both forms, and a sample has none twice. */
START_TEST(test_hash_chance)
{
    struct client *c = server_connect(&kv);
    static const unsigned sizes[] = { 10, 600 };
    for (unsigned s = 0; s < countof(sizes); s++) {
        unsigned n = sizes[s];
        static unsigned hits[600];
        memset(hits, 0, sizeof hits);
        fill(c, "h", "m", n);
        const struct resp *r = client_ask(c, "HRANDFIELD h -%u", n * 50);
        ck_assert_uint_eq(r->count, n * 50);
        for (size_t i = 0; i < r->count; i++) {
            hits[atoi(r->at[i]->text + 1)]++;
        }
        for (unsigned i = 0; i < n; i++) { /* 50 are expected; e^-50 is never */
            ck_assert_uint_gt(hits[i], 0);
        }
        for (unsigned k = 1; k <= n; k = k * 2 + 1) {
            memset(hits, 0, sizeof hits);
            r = client_ask(c, "HRANDFIELD h %u WITHVALUES", k);
            ck_assert_uint_eq(r->count, k * 2);
            for (size_t i = 0; i < r->count; i += 2) {
                ck_assert_str_eq(r->at[i + 1]->text, r->at[i]->text + 1);
                ck_assert_uint_eq(hits[atoi(r->at[i]->text + 1)]++, 0);
            }
        }
    }
    client_close(c);
}
END_TEST

START_TEST(test_hash_scan_replies)
{
    compare("HSCAN nokey 0", "HSCAN nokey x", "HSCAN nokey 0 FOO", "HSET h a 1 b 2 c 3",
            "HSCAN h x", "HSCAN h 0", "HSCAN h 7", "HSCAN h 0 FOO", "HSCAN h 0 COUNT",
            "HSCAN h 0 COUNT 0", "HSCAN h 0 COUNT -1", "HSCAN h 0 COUNT 1", "HSCAN h 0 TYPE hash",
            "HSCAN h 0 MATCH", "HSCAN h 0 MATCH b", "HSCAN h 0 MATCH b COUNT 1",
            "HSCAN h 0 MATCH *", "HSCAN h", "HSCAN",
            "HSCAN h 0 NOVALUES => [\"0\", [\"a\", \"b\", \"c\"]]", "SSCAN h 0 NOVALUES",
            "SET str v", "HSCAN str 0", "HSCAN str x");
}
END_TEST

UNIT_SUITE(hash)
{
    TCase *tc = unit_case_slow(suite, "hash", 300, test_hash_basics, test_hash_numbers,
                               test_hash_wrong_type, test_hash_random_field, test_hash_encoding,
                               test_hash_in_sort, test_hash_random, test_hash_scan_replies);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
    unit_case(suite, "hash_log", test_hash_recovered);
    tc = unit_case(suite, "hash_kv", test_hash_image, test_hash_scan, test_hash_chance);
    tcase_add_unchecked_fixture(tc, kv_start, kv_stop);
}
