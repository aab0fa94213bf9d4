/* test_compare.c -- The comparison finds what differs: here between two redis-servers, one of them
 * started with other limits.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "compare.h"
#include "unit.h"
#include <stdlib.h>
#include <string.h>

static struct server plain, odd;

static void start(void)
{
    server_init(&plain, SERVER_REDIS);
    server_start(&plain, COMPARE_EVENTS);
    server_init(&odd, SERVER_REDIS);
    server_start(&odd, COMPARE_EVENTS, "--proto-max-bulk-len", "1mb", "--hash-max-listpack-entries",
                 "1");
}

static void stop(void)
{
    server_stop(&plain);
    server_stop(&odd);
}

#define LINES(...) ((const char *const[]){ __VA_ARGS__, NULL })

static struct compare_result run(int protocol, const char *const *lines)
{
    struct compare_result result;
    compare_run(&odd, &plain, protocol, lines, &result);
    return result;
}

/* The report of these lines tells `n` differences and contains `text`. */
static void expect_told(const char *const *lines, unsigned n, const char *text)
{
    struct compare_result result = run(3, lines);
    ck_assert_msg(result.differences == n, "%u differences\n%s", result.differences, result.report);
    ck_assert_msg(strstr(result.report, text) != NULL, "%s", result.report);
    free(result.report);
}

START_TEST(test_compare_equal)
{
    static const char *const lines[] = {
        "# a comment",
        "SET k 'a b' EX 100",
        "~near=2 TTL k",
        "GET k => \"a b\"",
        "@b &BLPOP l 0",
        "@b !quiet",
        "RPUSH l x y",
        "@b <",
        "MULTI",
        "APPEND k \"\\x00%s\"",
        "@b INCR n",
        "EXEC",
        "~type TIME",
        "NOSUCH",
        "@s SUBSCRIBE ch",
        "PUBLISH ch 1",
        "@s <",
        "@s !close",
        "@q QUIT",
        "@q !close",
        "SET n 5",
        NULL,
    };
    for (int protocol = 2; protocol <= 3; protocol++) {
        struct compare_result result = run(protocol, lines);
        ck_assert_msg(result.differences == 0, "%s", result.report);
        ck_assert_uint_eq(result.lines, 16);
        ck_assert_uint_eq(result.errors, 1);
        /* new set expire, new rpush lpop, append, new incrby, set */
        ck_assert_uint_eq(result.events, 10);
        ck_assert_uint_eq(result.keys, 3);
        free(result.report);
    }
}
END_TEST

START_TEST(test_compare_reply)
{
    expect_told(LINES("SET k v", "SETRANGE k 2000000 x", "DEL k"), 2,
                "line 2: SETRANGE k 2000000 x\n      kv:    -ERR string exceeds");
    expect_told(LINES("SET k v", "GET k => \"w\""), 1, "line 2");
    expect_told(LINES("CONFIG GET hash-max-listpack-entries"), 1, "line 1");
    expect_told(LINES("~sort CONFIG GET hash-max-listpack-entries"), 1, "line 1");
    expect_told(LINES("@b &CONFIG GET hash-max-listpack-entries", "@b <"), 1, "line 2");
}
END_TEST

START_TEST(test_compare_events)
{
    expect_told(LINES("GET nokey", "GET nokey2"), 0, "");
    expect_told(LINES("HSET h a 1 b 2",
                      "EVAL \"if redis.call('object', 'encoding', 'h') == 'hashtable' then "
                      "redis.call('set', 'x', 1); redis.call('del', 'x') end\" 0",
                      "DEL h"),
                1, "-- events\n      kv:    @0__:new \"x\", @0__:set \"x\", @0__:del \"x\"\n");
}
END_TEST

START_TEST(test_compare_state)
{
    expect_told(LINES("HSET h a 1 b 2"), 1, "key \"h\" -- encoding");
    expect_told(LINES("SET \"k\\xff\" v", "DEL \"k\\xff\""), 0, "");
    expect_told(LINES("SELECT 5", "SET k v"), 0, "");
}
END_TEST

START_TEST(test_compare_normalisers)
{
    /* Two servers, two hash seeds: the order differs. */
    static const char add[] = "SADD s a b c d e f g h i j k l m n o p q r s t u v w x y z";
    static const char hash[] = "HSET h a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8 i 9 j 10 k 11 l 12 m 13";
    expect_told(LINES(add, "SMEMBERS s", "DEL s"), 1, "line 2");
    expect_told(LINES(add, "~sort SMEMBERS s", "~type,sort SPOP s 1", "DEL s"), 0, "");
    expect_told(LINES(hash, "~sort HGETALL h", "DEL h"), 0, "");
    expect_told(LINES(hash, "HGETALL h", "DEL h"), 1, "line 2");
    struct compare_result result = run(2, LINES(hash, "~pairs HGETALL h", "DEL h"));
    ck_assert_uint_eq(result.differences, 0);
    free(result.report);

#define ODD "redis.call('object', 'encoding', 'h') == 'hashtable'"
    static const char two[] = "HSET h a 1 b 2";
    expect_told(LINES(two, "~near=2 EVAL \"return {" ODD " and 10 or 12}\" 0", "DEL h"), 0, "");
    expect_told(LINES(two, "~near=1 EVAL \"return {" ODD " and 10 or 12}\" 0", "DEL h"), 1,
                "line 2");
    expect_told(
        LINES(two, "~code EVAL \"return {err = " ODD " and 'ERR a' or 'ERR b'}\" 0", "DEL h"), 0,
        "");
    expect_told(
        LINES(two, "~code EVAL \"return {err = " ODD " and 'ERR a' or 'ERROR b'}\" 0", "DEL h"), 1,
        "line 2");
    expect_told(LINES(two, "~type EVAL \"return " ODD " and 1 or '1'\" 0", "DEL h"), 1, "line 2");
    expect_told(LINES(two, "~type EVAL \"return " ODD " and 1 or 2\" 0", "DEL h"), 0, "");
}
END_TEST

UNIT_SUITE(compare)
{
    TCase *tc = unit_case(suite, "compare", test_compare_equal, test_compare_reply,
                          test_compare_events, test_compare_state, test_compare_normalisers);
    tcase_add_unchecked_fixture(tc, start, stop);
}
