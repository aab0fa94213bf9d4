/* test_dump.c -- DUMP and RESTORE, of keys and of libraries, beside redis-server: replies, values
 * in both directions, events, the log. SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/rng.h"
#include "compare.h"
#include "unit.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOOTER_X "\\x0a\\x00\\x22\\x80\\x86\\x5f\\xbd\\xe8\\x48\\xd0"
#define X        "\"\\x00\\x01x" FOOTER_X "\"" /* what 7.0.15 answers to DUMP of a string "x" */
/* And of a list of a and b. */
#define LIST                                                         \
    "\"\\x12\\x01\\x02\\x0d\\x0d\\x00\\x00\\x00\\x02\\x00\\x81\\x61" \
    "\\x02\\x81\\x62\\x02\\xff\\x0a\\x00\\x68\\xeb\\x0a\\x89\\x13\\x41\\xbb\\xb1\""

START_TEST(test_dump_replies)
{
    compare("SET k x", "DUMP k", "DUMP nokey", "DUMP", "DUMP k k", "SET n 300", "DUMP n",
            "SET long aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "RPUSH l a b", "DUMP l",
            "SADD s 1 2 3", "DUMP s", "ZADD z 1 a 2.5 b", "DUMP z", "HSET h a 1 b 2", "DUMP h",
            "RESTORE a 0 " X, "GET a", "PTTL a", "RESTORE a 0 " X, "RESTORE a -1 " X,
            "RESTORE a x " X, "RESTORE a 0 y", "RESTORE a -1 " X " REPLACE",
            "RESTORE a x " X " REPLACE", "RESTORE a 0 " X " replace", "RESTORE a 0 '' REPLACE",
            "RESTORE a 0 0123456789 REPLACE", "RESTORE a 0 " X " REPLACE x",
            "RESTORE a 0 " X " IDLETIME", "RESTORE a 0 " X " FREQ",
            "RESTORE a 0 " X " REPLACE IDLETIME x", "RESTORE a 0 " X " REPLACE IDLETIME -1",
            "RESTORE a 0 " X " REPLACE IDLETIME 1 FREQ 1",
            "RESTORE a 0 " X " REPLACE FREQ 1 IDLETIME 1", "RESTORE a 0 " X " REPLACE FREQ -1",
            "RESTORE a 0 " X " REPLACE FREQ 256", "RESTORE a 0 " X " REPLACE FREQ x",
            "RESTORE a 0 " X " REPLACE IDLETIME 1000", "~near=5 OBJECT IDLETIME a",
            "RESTORE a 0 " X " REPLACE IDLETIME 9223372036854775807", "~near=5 OBJECT IDLETIME a",
            "RESTORE a 100000 " X " REPLACE", "~near=1000 PTTL a", "RESTORE a 0 " X " REPLACE",
            "PTTL a", "RESTORE a 4102444800000 " X " REPLACE ABSTTL", "PEXPIRETIME a",
            "RESTORE a 1 " X " ABSTTL REPLACE", "EXISTS a", "RESTORE a 1 " X " ABSTTL", "EXISTS a",
            "RESTORE a 0", "RESTORE", "RESTORE-ASKING a 0 " X, "GET a", "RESTORE-ASKING a 0 " X,
            "SADD t 1", "RESTORE t 0 " X " REPLACE", "GET t", "DUMP t",
            "RESTORE a 9223372036854775807 " X " REPLACE => -ERR Invalid TTL value, must be >= 0",
            "RESTORE a 9223372036854775807 " X " REPLACE ABSTTL", "RESTORE li 0 " LIST,
            "LRANGE li 0 -1");
}
END_TEST

START_TEST(test_dump_lfu)
{
    compare("CONFIG SET maxmemory-policy allkeys-lfu", "RESTORE a 0 " X " FREQ 200",
            "OBJECT FREQ a", "RESTORE b 0 " X " IDLETIME 10", "OBJECT FREQ b",
            "CONFIG SET maxmemory-policy noeviction", "RESTORE a 0 " X " FREQ 200 REPLACE",
            "~near=5 OBJECT IDLETIME a");
}
END_TEST

/* Clients that wait, watch, or do it in a transaction or a script. */
START_TEST(test_dump_company)
{
    compare("@b &BLPOP li 0", "RESTORE li 0 " LIST, "@b <", "LRANGE li 0 -1", "@w WATCH w",
            "RESTORE w 0 " X, "@w MULTI", "@w GET w", "@w EXEC", "@w WATCH w", "RESTORE w 0 " X,
            "@w MULTI", "@w GET w", "@w EXEC", "MULTI", "RESTORE m 0 " X, "RESTORE m 0 " X,
            "DUMP m", "EXEC",
            "EVAL \"return redis.call('RESTORE', KEYS[1], 0, redis.call('DUMP', KEYS[2]))\" 2 e w",
            "GET e");
}
END_TEST

START_TEST(test_dump_log)
{
    compare_recovered("SELECT 0", "RESTORE a 0 " X, "RESTORE b 4102444800000 " X " ABSTTL",
                      "RESTORE c 10000000 " X, "SADD d 1", "RESTORE d 0 " X " REPLACE", "SET e 1",
                      "RESTORE e 1 " X " REPLACE ABSTTL", "RESTORE li 0 " LIST, "RPUSH li c",
                      "SET f 1 EX 1000", "RESTORE f 0 " X " REPLACE", "RESTORE g 1 " X " ABSTTL",
                      "MULTI", "RESTORE h 0 " X, "APPEND h y", "EXEC");
}
END_TEST

/* ---- Random values to the other server and back ---- */

#define VALUES 40

static struct server kv, redis;

static void start_both(void)
{
    server_init(&kv, SERVER_KV);
    server_init(&redis, SERVER_REDIS);
    server_start(&kv, "--threads", "2");
    server_start(&redis, NULL);
}

static void stop_both(void)
{
    server_stop(&kv);
    server_stop(&redis);
}

static const char *const text_of[] = { "", "-0", "007", "+1", "1.5", "9223372036854775808" };

/* A word for a command: p with its length in *n, until the next call. */
static const char *random_word(size_t *n)
{
    static char text[3000];
    switch (rng_below(5)) {
    case 0:
        *n = (size_t)sprintf(text, "%" PRId64, (int64_t)rng_u64() >> rng_below(64));
        return text;
    case 1: *n = (size_t)sprintf(text, "member:%" PRIu64, rng_below(1000)); return text;
    case 2: {
        const char *odd = text_of[rng_below(countof(text_of))];
        *n = strlen(odd);
        return odd;
    }
    case 3:
        *n = rng_below(70);
        for (size_t i = 0; i < *n; i++) {
            text[i] = (char)rng_u64();
        }
        return text;
    default:
        *n = rng_below(rng_below(10) == 0 ? sizeof text : 100);
        for (size_t i = 0; i < *n; i++) {
            text[i] = (char)('a' + i * i % 7);
        }
        return text;
    }
}

static const char *random_score(size_t *n)
{
    static const char *const some[] = { "0", "1", "-1", "inf", "-inf", "1.5", "1e300", "-1e-300" };
    static char text[40];
    if (rng_below(2) == 0) {
        *n = (size_t)sprintf(text, "%s", some[rng_below(countof(some))]);
    } else {
        *n = (size_t)sprintf(text, "%.17g", rng_unit() * 1000 - 500);
    }
    return text;
}

static const char *random_integer(size_t *n)
{
    static char text[32];
    *n = (size_t)sprintf(text, "%" PRId64, (int64_t)rng_u64() >> (1 + rng_below(60)));
    return text;
}

/* SET, RPUSH, SADD ... k with so many elements. */
static void make_value(struct client *c)
{
    static const struct {
        const char *name;
        unsigned words;
        const char *(*word[2])(size_t *n);
    } kinds[] = { { "SET", 1, { random_word } },
                  { "RPUSH", 1, { random_word } },
                  { "SADD", 1, { random_integer } },
                  { "SADD", 1, { random_word } },
                  { "HSET", 2, { random_word, random_word } },
                  { "ZADD", 2, { random_score, random_word } } };
    static const unsigned sizes[] = { 1, 3, 20, 128, 129, 512, 513, 900 };
    unsigned kind = (unsigned)rng_below(countof(kinds));
    unsigned n = kind == 0 ? 1 : sizes[rng_below(countof(sizes))];
    client_ask(c, "DEL k");
    for (unsigned i = 0; i < n; i++) {
        const char *argv[4] = { kinds[kind].name, "k" };
        size_t len[4] = { strlen(kinds[kind].name), 1 };
        char kept[3000];
        for (unsigned w = 0; w < kinds[kind].words; w++) {
            argv[2 + w] = kinds[kind].word[w](&len[2 + w]);
            if (w == 0) { /* the next word takes its place */
                memcpy(kept, argv[2], len[2]);
                argv[2] = kept;
            }
        }
        client_send_args(c, 2 + kinds[kind].words, argv, len);
    }
    for (unsigned i = 0; i < n; i++) {
        const struct resp *reply = client_read(c);
        ck_assert_msg(reply->type != RESP_ERROR, "%s", reply->text);
    }
}

/* The value at `key` of one becomes that at `to` of the other. */
static void carry(struct client *from, const char *key, struct client *into, const char *to)
{
    client_send(from, "DUMP %s", key);
    client_read(from);
    struct resp *payload = client_take(from);
    ck_assert_int_eq(payload->type, RESP_BULK);
    const char *argv[] = { "RESTORE", to, "0", payload->text, "REPLACE" };
    size_t len[] = { 7, strlen(to), 1, payload->len, 7 };
    client_send_args(into, countof(argv), argv, len);
    client_expect_next(into, "+OK");
    resp_free(payload);
}

static struct resp *digest(struct client *c, const char *key)
{
    client_ask(c, "DEBUG DIGEST-VALUE %s", key);
    return client_take(c);
}

static void there_and_back(struct client *here, struct client *there)
{
    make_value(here);
    carry(here, "k", there, "there");
    carry(there, "there", here, "back");
    struct resp *a = digest(here, "k"), *b = digest(there, "there"), *back = digest(here, "back");
    ck_assert_msg(resp_equal(a, b), "another value there");
    ck_assert_msg(resp_equal(a, back), "another value came back");
    resp_free(a);
    resp_free(b);
    resp_free(back);
    char type[32];
    snprintf(type, sizeof type, "%s", client_line(here, "TYPE k"));
    client_expect(there, type, "TYPE there");
}

START_TEST(test_dump_both_ways)
{
    struct client *k = server_connect(&kv), *r = server_connect(&redis);
    for (unsigned i = 0; i < (unit_torture() ? 2000 : VALUES); i++) {
        there_and_back(k, r);
        there_and_back(r, k);
    }
    client_close(k);
    client_close(r);
}
END_TEST

/* ---- Out of memory ---- */

/* Each start lets one allocation more succeed before one fails: RESTORE meets each of its own. */
START_TEST(test_dump_no_memory)
{
    struct server s;
    unsigned failed = 0, worked = 0;
    char fault[40];
    server_init(&s, SERVER_KV);
    server_start(&s, "--threads", "1");
    struct client *c = server_connect(&s);
    client_expect(c, "200000", "SETRANGE big 199999 y");
    client_expect(c, "3", "RPUSH list a b c");
    client_ask(c, "DUMP big");
    struct resp *payload = client_take(c), *before = digest(c, "list");
    const char *argv[] = { "RESTORE", "list", "0", payload->text, "REPLACE" };
    size_t len[] = { 7, 4, 1, payload->len, 7 };
    for (unsigned skip = 0; worked < 3 && skip < 20; skip++) {
        client_close(c);
        server_stop(&s);
        snprintf(fault, sizeof fault, "mem.alloc=nomem:%u:1", skip);
        server_env(&s, "KV_FAULTS", fault);
        c = NULL;
        if (server_try_start(&s, "--threads", "1", "--appendonly", "no", "--dir", unit_tmpdir()) !=
            0) {
            continue; /* the start met it */
        }
        server_wait_ready(&s);
        c = server_connect(&s);
        if (strcmp(client_line(c, "RPUSH list a b c"), "3") != 0) {
            continue;
        }
        client_send_args(c, countof(argv), argv, len);
        bool refused = strncmp(client_read_line(c), "-OOM", 4) == 0;
        struct resp *after = digest(c, "list");
        if (refused) {
            ck_assert(resp_equal(before, after));
            failed++;
        } else {
            ck_assert(!resp_equal(before, after));
            worked++;
        }
        resp_free(after);
    }
    ck_assert_uint_ge(failed, 2); /* what LZF is unpacked into, and the string */
    resp_free(before);
    resp_free(payload);
    client_close(c);
    server_stop(&s);
}
END_TEST

/* ---- Libraries ---- */

#define L1                                                           \
    "\"\\xf5@D#!lua name=l1\\x0aredis.register_function('f1', funct" \
    "ion() return 1 end)\\x0a\\x00N\\xdf\\x9dI\\x22\\x9e+\\xa7\"" /* what 7.0.15 dumps of l1 */
#define LIBRARY(name, function) \
    "\"#!lua name=" name "\\nredis.register_function('" function "', function() return 1 end)\""

START_TEST(test_dump_functions)
{
    compare("FUNCTION FLUSH", "FUNCTION DUMP", "FUNCTION RESTORE", "FUNCTION RESTORE ''",
            "FUNCTION RESTORE " X, "FUNCTION RESTORE " X " x", "FUNCTION RESTORE " X " FLUSH x",
            "FUNCTION RESTORE \"\\x0a\\x00\\x5d\\x9b\\\\@\\x0f\\x7f\\xa2\\xda\"",
            "FUNCTION LOAD " LIBRARY("l1", "f1"), "FUNCTION DUMP", "FUNCTION RESTORE " L1,
            "FUNCTION RESTORE " L1 " APPEND", "FUNCTION RESTORE " L1 " REPLACE", "FCALL f1 0",
            "FUNCTION FLUSH", "FUNCTION LOAD " LIBRARY("l2", "f1"), "FUNCTION RESTORE " L1,
            "FUNCTION RESTORE " L1 " REPLACE", "FUNCTION LIST", "FUNCTION RESTORE " L1 " FLUSH",
            "FUNCTION LIST WITHCODE", "FUNCTION FLUSH", "FUNCTION LOAD " LIBRARY("l2", "f2"),
            "FUNCTION RESTORE " L1, "~sort FUNCTION LIST",
            "EVAL \"return redis.call('FUNCTION', 'DUMP')\" 0");
}
END_TEST

START_TEST(test_dump_functions_log)
{
    struct server s;
    server_init(&s, SERVER_KV);
    server_start(&s, NULL);
    struct client *c = server_connect(&s);
    client_expect(c, "\"l2\"", "FUNCTION LOAD " LIBRARY("l2", "f2"));
    client_expect(c, "+OK", "FUNCTION RESTORE " L1);
    client_expect(c, "+OK", "FUNCTION RESTORE " L1 " REPLACE");
    client_close(c);
    server_kill(&s);
    server_start(&s, NULL);
    c = server_connect(&s);
    client_expect(c, "1", "FCALL f1 0");
    client_expect(c, "1", "FCALL f2 0");
    client_expect(c, "+OK", "FUNCTION RESTORE " L1 " FLUSH");
    client_close(c);
    server_kill(&s);
    server_start(&s, NULL);
    c = server_connect(&s);
    client_expect(c, "1", "FCALL f1 0");
    client_expect_error(c, "ERR", "FCALL f2 0");
    client_close(c);
    server_stop(&s);
}
END_TEST

UNIT_SUITE(dump)
{
    TCase *tc = unit_case(suite, "beside redis", test_dump_replies, test_dump_lfu,
                          test_dump_company, test_dump_functions);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
    tc = unit_case(suite, "both ways", test_dump_both_ways);
    tcase_add_unchecked_fixture(tc, start_both, stop_both);
    unit_case(suite, "log", test_dump_log, test_dump_functions_log);
    unit_case(suite, "memory", test_dump_no_memory);
}
