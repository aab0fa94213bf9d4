/* test_set.c -- The set family beside redis-server: replies, order of checks, events, forms, the
 * algebra; chance and cursors, which no other server can be asked about.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/rng.h"
#include "compare.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(test_set_basics)
{
    compare("SADD s a b c", "SADD s b c d d", "SCARD s", "SCARD nokey", "~sort SMEMBERS s",
            "SMEMBERS nokey", "SISMEMBER s a", "SISMEMBER s x", "SISMEMBER nokey a",
            "SMISMEMBER s a x b a", "SMISMEMBER nokey a b", "SREM s a x", "SREM s x",
            "SREM nokey a", "SREM s b c d e", "EXISTS s", "SADD s ''", "SISMEMBER s ''",
            "SREM s ''", "SADD s 1 2 3", "SADD s 2 3 4 04 +4 4.0 ' 4'", "SCARD s", "SISMEMBER s 4",
            "SISMEMBER s 04", "SISMEMBER s 5", "~sort SMEMBERS s", "SREM s 1 2 3 4",
            "~sort SMEMBERS s", "SADD b \"\\x00\" \"\\r\\n\" \"\\xff\\xfe\" 9223372036854775807",
            "SADD b 9223372036854775808 -9223372036854775808 -9223372036854775809",
            "~sort SMEMBERS b", "SISMEMBER b \"\\x00\"", "SADD '' a", "SMEMBERS ''", "SADD",
            "SADD s", "SREM s", "SCARD", "SCARD a b", "SMEMBERS a b", "SISMEMBER s",
            "SISMEMBER s a b", "SMISMEMBER s", "SADD t 1", "EXPIRE t 100", "SADD t 2",
            "~near=500 PTTL t", "SREM t 1", "~near=500 PTTL t", "SREM t 2", "PTTL t", "SADD t 1",
            "PTTL t", "TYPE t");
}
END_TEST

START_TEST(test_set_move)
{
    compare("SADD a 1 2 x", "SADD b 2 3", "SMOVE a b 1", "SMOVE a b 2", "SMOVE a b 9",
            "SMOVE nokey b 2", "SMOVE a new x", "EXISTS a", "~sort SMEMBERS b", "SMEMBERS new",
            "SMOVE b b 3", "SMOVE b b 9", "SMOVE nokey nokey 1", "SMOVE b new 3", "SMOVE b new 2",
            "SMOVE b other 1", "EXISTS b", "~sort SMEMBERS new", "SET str v", "SMOVE str new 1",
            "SMOVE new str x", "SMOVE str str 1", "SMOVE nokey str 1", "SMOVE str nokey 1",
            "SMOVE new str nope", "SMOVE a b", "SMOVE a b c d", "OBJECT ENCODING other");
}
END_TEST

#define ALGEBRA(op)                                                                               \
    "~sort " op " a", "~sort " op " a b", "~sort " op " b a", "~sort " op " a b c", op " nokey",  \
        "~sort " op " a nokey", "~sort " op " nokey a", "~sort " op " a a", op " a str",          \
        op " str a", op " nokey str", op " str nokey", op, op "STORE d a b", "~sort SMEMBERS d",  \
        op "STORE d c a b", "~sort SMEMBERS d", op "STORE d a a", "~sort SMEMBERS d",             \
        op "STORE a a c", "~sort SMEMBERS a", "SADD a 1 2 3 x y", op "STORE str a b", "TYPE str", \
        "DEL str", "SET str v", op "STORE d nokey", "EXISTS d", op "STORE d nokey nokey2",        \
        op "STORE d a str", op "STORE d str a", "EXISTS d", "SADD d old", "EXPIRE d 100",         \
        op "STORE d a str", "~near=500 PTTL d", op "STORE d a", "PTTL d", op "STORE d nokey",     \
        op "STORE nokey nokey", op "STORE d", op "STORE", "RPUSH d l", op "STORE d b",            \
        "~sort SMEMBERS d"

START_TEST(test_set_algebra)
{
    compare("SADD a 1 2 3 x y", "SADD b 2 3 4 y z", "SADD c 3 y w", "SET str v", ALGEBRA("SINTER"),
            ALGEBRA("SUNION"), ALGEBRA("SDIFF"), "SINTERCARD 2 a b", "SINTERCARD 1 a",
            "SINTERCARD 2 a nokey", "SINTERCARD 2 nokey str", "SINTERCARD 2 a str",
            "SINTERCARD 2 a b LIMIT 1", "SINTERCARD 2 a b limit 0", "SINTERCARD 2 a b LIMIT 99",
            "SINTERCARD 2 a b LIMIT -1", "SINTERCARD 2 a b LIMIT x", "SINTERCARD 2 a b LIMIT",
            "SINTERCARD 2 a b FOO 1", "SINTERCARD 2 a b LIMIT 1 LIMIT 2", "SINTERCARD 0 a",
            "SINTERCARD -1 a", "SINTERCARD x a", "SINTERCARD 3 a b", "SINTERCARD 1 a b",
            "SINTERCARD 1 a LIMIT", "SINTERCARD 1", "SINTERCARD", "SINTERCARD 2 LIMIT 1",
            "SINTERCARD 9223372036854775807 a", "SINTERCARD 4294967297 a");
}
END_TEST

START_TEST(test_set_wrong_type)
{
    compare("SET s v", "SADD s a", "SREM s a", "SCARD s", "SMEMBERS s", "SISMEMBER s a",
            "SMISMEMBER s a", "SPOP s", "SPOP s 1", "SPOP s 0", "SPOP s -1", "SPOP s x",
            "SRANDMEMBER s", "SRANDMEMBER s 1", "SRANDMEMBER s 0", "SRANDMEMBER s x", "SSCAN s 0",
            "SSCAN s x", "SSCAN s 0 FOO", "GET s", "SADD t a", "GET t", "LPUSH t a", "APPEND t a",
            "INCR t", "STRLEN t", "SETBIT t 0 1", "GETSET t v", "LRANGE t 0 -1", "SET t v GET",
            "MGET t s", "SETNX t v", "SET t v", "TYPE t", "SADD l a", "RENAME l m", "COPY m n",
            "SMEMBERS n", "SADD n b", "SMEMBERS m", "MOVE n 1", "EXISTS n", "DEL m");
}
END_TEST

/* What a count may be written as. */
static const char *const counts[] = { "0",
                                      "1",
                                      "2",
                                      "5",
                                      "6",
                                      "100",
                                      "-1",
                                      "2147483648",
                                      "x",
                                      "''",
                                      "1.0",
                                      "+1",
                                      "01",
                                      "4294967296",
                                      "9223372036854775807",
                                      "9223372036854775808",
                                      "-9223372036854775808",
                                      "-9223372036854775809" };

START_TEST(test_set_counts)
{
    struct compare_script s = { NULL, 0 };
    compare_add(&s, "SET str v");
    for (unsigned i = 0; i < countof(counts); i++) {
        const char *n = counts[i];
        bool all = (strchr("56", n[0]) != NULL || strlen(n) > 1) && strcmp(n, "-1") != 0;
        compare_add(&s, "SADD one only");
        compare_add(&s, "SPOP one %s", n);
        compare_add(&s, "EXISTS one");
        compare_add(&s, "SADD one only");
        compare_add(&s, "SRANDMEMBER one %s", n);
        compare_add(&s, "SADD s a b c d e");
        compare_add(&s, "~sort SRANDMEMBER s %s", all ? n : "5");
        compare_add(&s, "~sort SPOP s %s", all ? n : "5");
        compare_add(&s, "DEL s");
        compare_add(&s, "SADD i 1 2 3 4 5");
        compare_add(&s, "~sort SRANDMEMBER i %s", all ? n : "7");
        compare_add(&s, "~sort SPOP i %s", all ? n : "7");
        compare_add(&s, "DEL i");
        compare_add(&s, "SPOP nokey %s", n);
        compare_add(&s, "SRANDMEMBER nokey %s", n);
        compare_add(&s, "SPOP str %s", n);
        compare_add(&s, "SRANDMEMBER str %s", n);
    }
    compare_add(&s, "SADD one only");
    compare_add(&s, "SRANDMEMBER one -5");
    compare_add(&s, "SRANDMEMBER one");
    compare_add(&s, "SPOP one");
    compare_add(&s, "SPOP one");
    compare_add(&s, "SRANDMEMBER one");
    compare_add(&s, "SPOP one 1 2");
    compare_add(&s, "SRANDMEMBER one 1 2");
    compare_add(&s, "SPOP");
    compare_add(&s, "SRANDMEMBER");
    compare_script(&s);
}
END_TEST

START_TEST(test_set_in_multi)
{
    compare("MULTI", "SADD s a", "SPOP s", "SADD s b", "SRANDMEMBER s -2", "SREM s b", "EXEC",
            "EXISTS s", "@w WATCH s", "SADD s a", "@w MULTI", "@w SCARD s", "@w EXEC", "@w WATCH s",
            "SADD s a", "SREM s x", "@w MULTI", "@w SCARD s", "@w EXEC", "@b &BLPOP k 0",
            "SADD k notalist", "@b !quiet", "DEL k", "RPUSH k x", "@b <", "@b &BLPOP k 0",
            "SUNIONSTORE k s", "@b !quiet", "SDIFFSTORE k s s", "RPUSH k y", "@b <");
}
END_TEST

/* As Redis 7.2 names them. */
START_TEST(test_set_encoding)
{
    static const struct {
        const char *line, *then;
    } steps[] = {
        { "SADD s 1 2 3 4 5", "intset" },   { "SADD s 6 7 8", "intset" },
        { "SADD s 9", "hashtable" },        { "SREM s 2 3 4 5 6 7 8 9", "hashtable" },
        { "SUNIONSTORE s s", "intset" },    { "SADD s a", "listpack" },
        { "SADD s b c d", "listpack" },     { "SREM s a b c d", "listpack" },
        { "SINTERSTORE s s", "intset" },    { "SADD s 1 2 3 4 5 6 7", "intset" },
        { "SADD s a", "hashtable" },        { "SDIFFSTORE s s nokey", "hashtable" },
        { "SREM s 1 2 3", "hashtable" },    { "SDIFFSTORE s s nokey", "listpack" },
        { "SADD s 123456789", "listpack" }, { "SADD s 12345678901", "hashtable" },
    };
    struct compare_script s = { NULL, 0 };
    compare_add(&s, "CONFIG SET set-max-intset-entries 8");
    compare_add(&s, "~type CONFIG SET set-max-listpack-entries 6 => +OK");
    compare_add(&s, "~type CONFIG SET set-max-listpack-value 10 => +OK");
    for (unsigned i = 0; i < countof(steps); i++) {
        compare_add(&s, "~type %s", steps[i].line);
        compare_add(&s, "OBJECT ENCODING s => \"%s\"", steps[i].then);
    }
    compare_add(&s, "DEL s");
    compare_add(&s, "CONFIG SET set-max-intset-entries 512");
    compare_add(&s, "CONFIG SET set-max-listpack-entries 128 => +OK");
    compare_add(&s, "CONFIG SET set-max-listpack-value 64 => +OK");
    compare_script(&s);
}
END_TEST

static void add_members(struct compare_script *s, const char *key, unsigned from, unsigned count,
                        const char *prefix)
{
    for (unsigned n = 0; n < count;) {
        char line[8192];
        size_t at = (size_t)snprintf(line, sizeof line, "SADD %s", key);
        for (unsigned i = 0; i < 500 && n < count && at < sizeof line - 32; i++, n++) {
            at += (size_t)snprintf(line + at, sizeof line - at, " %s%u", prefix, from + n);
        }
        compare_add(s, "%s", line);
    }
}

/* Sets of all sizes with and against one another. */
START_TEST(test_set_sizes)
{
    static const unsigned sizes[] = { 1, 127, 128, 129, 511, 512, 513, 3000, 20000 };
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < countof(sizes); i++) {
        char number[16], text[16];
        snprintf(number, sizeof number, "n%u", i);
        snprintf(text, sizeof text, "t%u", i);
        add_members(&s, number, i, sizes[i], "");
        add_members(&s, text, i, sizes[i], i % 2 == 0 ? "member:" : "");
        compare_add(&s, "SADD %s x", text);
        compare_add(&s, "SCARD %s", text);
        compare_add(&s, "DEBUG DIGEST-VALUE %s %s", number, text);
    }
    for (unsigned i = 0; i < countof(sizes); i++) {
        for (unsigned j = 0; j < countof(sizes); j++) {
            const char *const ops[] = { "SINTER", "SUNION", "SDIFF" };
            for (unsigned op = 0; op < countof(ops); op++) {
                compare_add(&s, "%sSTORE d n%u t%u", ops[op], i, j);
                compare_add(&s, "DEBUG DIGEST-VALUE d");
                compare_add(&s, "%sSTORE d t%u n%u t%u", ops[op], j, i, (i + j) % 9);
                compare_add(&s, "DEBUG DIGEST-VALUE d");
            }
            compare_add(&s, "SINTERCARD 3 t%u n%u t%u LIMIT %u", i, j, (i + j) % 9, i * 60);
        }
    }
    compare_add(&s, "~sort SUNION t0 t4 n6");
    compare_add(&s, "~sort SDIFF t6 t4 n6");
    compare_add(&s, "~sort SINTER t5 n7 n8");
    compare_add(&s, "DEL d");
    compare_script(&s);
}
END_TEST

/* Members around the limits of a listpack, a page and a big record. */
START_TEST(test_set_member_sizes)
{
    static const unsigned sizes[] = { 0,   1,    20,   21,   62,   63,   64,   65,    127,  128,
                                      512, 2000, 4000, 4095, 4096, 8100, 8192, 10000, 60000 };
    static char text[60001];
    struct compare_script s = { NULL, 0 };
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < countof(sizes); i++) {
            memset(text, 'a' + (int)round, sizes[i]);
            text[sizes[i]] = '\0';
            compare_add(&s, "SADD s '%s'", text);
            compare_add(&s, "SADD one%u '%s'", i, text);
            compare_add(&s, "SISMEMBER s '%s'", text);
            compare_add(&s, "SMOVE one%u two '%s'", i, text);
            if (i % 2 == 1) {
                compare_add(&s, "SREM s '%s' 'x%s'", text, text);
            }
        }
        compare_add(&s, "SCARD s");
    }
    compare_add(&s, "~sort SMEMBERS s");
    compare_add(&s, "SDIFFSTORE d two s");
    compare_add(&s, "~sort SMEMBERS d");
    compare_script(&s);
}
END_TEST

/* What DEBUG shows of each form; 7.0 has no listpack here, so kv's answer stands there. */
START_TEST(test_set_debug)
{
    compare("SADD s a 1 b", "DEBUG LISTPACK s => +Listpack structure printed on stdout",
            "DEBUG QUICKLIST s", "SADD i 1 2 3", "DEBUG LISTPACK i", "SUNIONSTORE e i",
            "DEBUG DIGEST-VALUE s i e nokey", "PING");
}
END_TEST

/* A random mix on few keys, at sizes that wander over the limits. */
START_TEST(test_set_random)
{
    static const char *const ops[] = { "SINTER", "SUNION", "SDIFF" };
    struct compare_script s = { NULL, 0 };
    rng_seed_all(unit_seed());
    for (unsigned i = 0; i < 3000; i++) {
        unsigned k = (unsigned)rng_below(4), l = (unsigned)rng_below(5),
                 kind = (unsigned)rng_below(12);
        const char *op = ops[rng_below(3)], *prefix = rng_below(4) == 0 ? "m" : "";
        unsigned m = (unsigned)rng_below(400);
        if (kind < 4) {
            char key[8];
            snprintf(key, sizeof key, "k%u", k);
            add_members(&s, key, m, 1 + (unsigned)rng_below(rng_below(8) == 0 ? 300 : 4), prefix);
        } else if (kind < 7) {
            compare_add(&s, "SREM k%u %s%u %s%u m%u", k, prefix, m, prefix, m + 1, m / 2);
        } else if (kind == 7) {
            compare_add(&s, "SMOVE k%u k%u %s%u", k, l, prefix, m);
        } else if (kind == 8) {
            compare_add(&s, "%sSTORE k%u k%u k%u", op, k, l, (unsigned)rng_below(5));
        } else if (kind == 9) {
            compare_add(&s, "~sort %s k%u k%u", op, k, l);
        } else if (kind == 10) {
            compare_add(&s, "SMISMEMBER k%u %u m%u %s%u", k, m, m, prefix, m + 7);
        } else {
            compare_add(&s, rng_below(30) == 0 ? "DEL k%u" : "SCARD k%u", k);
        }
    }
    compare_script(&s);
}
END_TEST

/* ================= The log ================= */

START_TEST(test_set_recovered)
{
    compare_recovered("SADD s a b c d", "SREM s a x", "SADD i 1 2 3 4 5 6 7 8 9", "SADD big x y",
                      "~sort SPOP big 2", "SADD big z", "SPOP big", "SADD gone 1", "SREM gone 1",
                      "SMOVE s t b", "SINTERSTORE d s t", "SUNIONSTORE u s t i", "SDIFFSTORE v i t",
                      "SDIFFSTORE none s s", "SADD none y", "SINTERSTORE none s t", "EXPIRE u 1000",
                      "SADD u new", "SELECT 1", "SADD other x", "COPY other back DB 0", "SELECT 0",
                      "MULTI", "SADD m 1", "SADD m 2", "SPOP m 5", "SADD m 3", "EXEC");
}
END_TEST

static struct server kv;

static void kv_start(void)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2", "--appendonly", "no");
}

static void kv_stop(void)
{
    server_stop(&kv);
}

/* prefix0, prefix1 ... */
static void fill(struct client *c, const char *key, const char *prefix, unsigned count)
{
    client_ask(c, "DEL %s", key);
    for (unsigned n = 0; n < count;) {
        char line[4096];
        size_t at = (size_t)snprintf(line, sizeof line, "SADD %s", key);
        unsigned before = n;
        for (unsigned i = 0; i < 100 && n < count; i++, n++) {
            at += (size_t)snprintf(line + at, sizeof line - at, " %s%u", prefix, n);
        }
        ck_assert_int_eq(client_int(c, "%s", line), n - before);
    }
}

/* What SPOP took at random is what replay takes; and a log that begins has the sets. */
START_TEST(test_set_spop_recovered)
{
    static char digest[64], again[64];
    struct server logged;
    server_init(&logged, SERVER_KV);
    server_start(&logged, "--threads", "2");
    struct client *c = server_connect(&logged);
    fill(c, "big", "member:", 3000);
    fill(c, "ints", "", 300);
    fill(c, "small", "m", 100);
    client_ask(c, "SPOP big 700");
    client_ask(c, "SPOP big 2200");
    client_ask(c, "SPOP ints 200");
    client_ask(c, "SPOP small 60");
    for (unsigned i = 0; i < 30; i++) {
        client_ask(c, "SPOP %s", i % 3 == 0 ? "big" : i % 3 == 1 ? "ints" : "small");
    }
    client_expect(c, "90", "SCARD big");
    client_expect(c, "90", "SCARD ints");
    client_expect(c, "30", "SCARD small");
    snprintf(digest, sizeof digest, "%s", client_line(c, "DEBUG DIGEST"));
    for (unsigned round = 0; round < 2; round++) {
        client_close(c);
        server_kill(&logged);
        server_start(&logged, "--threads", "2");
        c = server_connect(&logged);
        snprintf(again, sizeof again, "%s", client_line(c, "DEBUG DIGEST"));
        ck_assert_str_eq(again, digest);
        if (round == 0) {
            client_expect(c, "+OK", "CONFIG SET appendonly no");
            client_expect(c, "+OK", "CONFIG SET appendonly yes"); /* the image is all there is */
        }
    }
    client_expect(c, "+OK", "DEBUG RELOAD");
    client_expect(c, digest, "DEBUG DIGEST");
    client_close(c);
    server_stop(&logged);
}
END_TEST

/* ================= Chance ================= */

#define DRAWS 12000

static unsigned member_number(const struct resp *r, const char *prefix)
{
    ck_assert_int_eq(r->type, RESP_BULK);
    return (unsigned)atoi(r->text + strlen(prefix));
}

/* Each of n members comes close to equally often: more than six deviations off is no chance. */
static void check_even(const unsigned *count, unsigned n, unsigned draws)
{
    double expected = (double)draws / n;
    for (unsigned i = 0; i < n; i++) {
        double off = (double)count[i] - expected;
        ck_assert_msg(off * off < 36 * expected, "member %u: %u times, expected %.0f", i, count[i],
                      expected);
    }
}

static void drawn_evenly(struct client *c, const char *prefix, unsigned n)
{
    static const int sizes[] = { -50, -1, 1, 3, 30 };
    fill(c, "s", prefix, n);
    for (unsigned k = 0; k < countof(sizes); k++) {
        unsigned each = (unsigned)abs(sizes[k]), count[200] = { 0 };
        for (unsigned i = 0; i < DRAWS / each; i++) {
            const struct resp *r = client_ask(c, "SRANDMEMBER s %d", sizes[k]);
            ck_assert_uint_eq(r->count, each);
            for (unsigned j = 0; j < each; j++) {
                unsigned m = member_number(r->at[j], prefix);
                ck_assert_uint_lt(m, n);
                count[m]++;
            }
        }
        check_even(count, n, DRAWS / each * each);
    }
    unsigned count[200] = { 0 };
    for (unsigned i = 0; i < DRAWS / 4; i++) {
        unsigned m = member_number(client_ask(c, "SPOP s"), prefix);
        count[m]++;
        client_expect(c, "1", "SADD s %s%u", prefix, m);
        m = member_number(client_ask(c, "SRANDMEMBER s"), prefix);
        count[m]++;
    }
    check_even(count, n, DRAWS / 4 * 2);
}

START_TEST(test_set_chance)
{
    struct client *c = server_connect(&kv);
    drawn_evenly(c, "", 60);
    drawn_evenly(c, "m", 60);
    drawn_evenly(c, "member:", 200); /* a tree */
    client_close(c);
}
END_TEST

/* SPOP with a count takes distinct members that were there, and leaves the others. */
START_TEST(test_set_spop_counts)
{
    static const char *const prefixes[] = { "", "m", "member:" };
    static const unsigned sizes[] = { 100, 100, 2000 };
    struct client *c = server_connect(&kv);
    for (unsigned p = 0; p < countof(prefixes); p++) {
        for (unsigned take = 1; take < sizes[p]; take = take * 3 + 1) {
            static bool gone[2000];
            memset(gone, 0, sizeof gone);
            fill(c, "s", prefixes[p], sizes[p]);
            const struct resp *r = client_ask(c, "SPOP s %u", take);
            ck_assert_uint_eq(r->count, take);
            for (unsigned i = 0; i < take; i++) {
                unsigned m = member_number(r->at[i], prefixes[p]);
                ck_assert(m < sizes[p] && !gone[m]);
                gone[m] = true;
            }
            for (unsigned m = 0; m < sizes[p]; m++) {
                client_expect(c, gone[m] ? "0" : "1", "SISMEMBER s %s%u", prefixes[p], m);
            }
            ck_assert_int_eq(client_int(c, "SCARD s"), sizes[p] - take);
        }
    }
    client_close(c);
}
END_TEST

/* No reply that no memory could hold: an error, and the server lives. */
START_TEST(test_set_endless)
{
    struct client *c = server_connect(&kv);
    fill(c, "s", "m", 3);
    client_expect_error(c, "OOM", "SRANDMEMBER s -9223372036854775807");
    client_expect_error(c, "ERR value is out of range", "SRANDMEMBER s -9223372036854775808");
    ck_assert_uint_eq(client_ask(c, "SRANDMEMBER s -100000")->count, 100000);
    client_expect(c, "3", "SCARD s");
    client_close(c);
}
END_TEST

/* ================= SSCAN ================= */

/* Walks the whole set; each call removes and adds other members meanwhile. */
static void scan_all(struct client *c, unsigned stay, unsigned step, bool disturb)
{
    static bool seen[5000];
    char cursor[32] = "0";
    unsigned calls = 0, other = 0;
    memset(seen, 0, sizeof seen);
    do {
        const struct resp *r = client_ask(c, "SSCAN s %s COUNT %u", cursor, step);
        ck_assert_uint_eq(r->count, 2);
        snprintf(cursor, sizeof cursor, "%s", r->at[0]->text);
        ck_assert_uint_lt(strtoull(cursor, NULL, 10), UINT64_C(1) << 53);
        for (size_t i = 0; i < r->at[1]->count; i++) {
            const char *text = r->at[1]->at[i]->text;
            if (text[0] == 'm') {
                seen[atoi(text + 1)] = true;
            }
        }
        for (unsigned i = 0; disturb && i < 50; i++, other++) {
            client_ask(c, other % 3 == 2 ? "SREM s x%u" : "SADD s x%u", other / 3 * 2 + other % 2);
        }
        calls++;
    } while (strcmp(cursor, "0") != 0);
    for (unsigned i = 0; i < stay; i++) {
        ck_assert_msg(seen[i], "member %u was not visited", i);
    }
    ck_assert_uint_ge(calls, disturb ? 2 : (stay + step - 1) / step);
    ck_assert_uint_le(calls, disturb ? 5000 : stay / step + 2);
}

START_TEST(test_set_scan)
{
    struct client *c = server_connect(&kv);
    fill(c, "s", "m", 5000);
    scan_all(c, 5000, 1, false);
    scan_all(c, 5000, 10, false);
    scan_all(c, 5000, 100000, false);
    scan_all(c, 5000, 200, true);
    client_expect(c, "[\"0\", []]", "SSCAN s 9007199254740992 COUNT 10");
    client_expect(c, "[\"0\", []]", "SSCAN s 18446744073709551615");
    client_expect(c, "[\"0\", []]", "SSCAN s 0 MATCH nothing COUNT 1000000");
    fill(c, "s", "", 500); /* an intset comes at once */
    ck_assert_uint_eq(client_ask(c, "SSCAN s 0 COUNT 1")->at[1]->count, 500);
    client_close(c);
}
END_TEST

START_TEST(test_set_scan_replies)
{
    compare("SSCAN nokey 0", "SSCAN nokey x", "SSCAN nokey 0 FOO", "SADD s a b c", "SSCAN s x",
            "SSCAN s 0 FOO", "SSCAN s 0 COUNT", "SSCAN s 0 COUNT 0", "SSCAN s 0 COUNT -1",
            "SSCAN s 0 COUNT x", "SSCAN s 0 TYPE set", "SSCAN s 0 MATCH", "SSCAN s 0 MATCH nope",
            "SSCAN s 0 MATCH b", "SSCAN s 0 MATCH b COUNT 100", "SSCAN s", "SSCAN", "SADD i 1 2 3",
            "SSCAN i 0", "SSCAN i 5", "SSCAN i 0 MATCH 2*", "SSCAN i 0 COUNT 1", "SET str v",
            "SSCAN str 0", "SSCAN str x", "SSCAN str 0 COUNT x");
}
END_TEST

UNIT_SUITE(set)
{
    TCase *tc = unit_case_slow(suite, "set", 300, test_set_basics, test_set_move, test_set_algebra,
                               test_set_wrong_type, test_set_counts, test_set_in_multi,
                               test_set_encoding, test_set_sizes, test_set_member_sizes,
                               test_set_random, test_set_scan_replies, test_set_debug);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
    unit_case(suite, "set_log", test_set_recovered, test_set_spop_recovered);
    tc = unit_case(suite, "set_kv", test_set_chance, test_set_spop_counts, test_set_endless,
                   test_set_scan);
    tcase_add_unchecked_fixture(tc, kv_start, kv_stop);
}
