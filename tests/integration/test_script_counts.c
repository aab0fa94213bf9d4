/* test_script_counts.c -- An attempt of a script that is undone and runs once more is counted once.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct server kv;
static struct client *c;

static void start(void)
{
    server_init(&kv, SERVER_KV);
    /* no script is slow, on whatever machine: a slow one begins again, alone */
    server_start(&kv, "--threads", "2", "--slowlog-log-slower-than", "0", "--busy-reply-threshold",
                 "600000");
    c = server_connect(&kv);
}

static void stop(void)
{
    client_close(c);
    server_stop(&kv);
}

/* The text behind `name` in INFO, or "". */
static const char *told(const char *name)
{
    static char text[256];
    const char *info = client_ask(c, "INFO everything")->text;
    const char *at = strstr(info, name);
    snprintf(text, sizeof text, "%.*s", at != NULL ? (int)strcspn(at, "\r") : 0,
             at != NULL ? at : "");
    return text;
}

static void expect_told(const char *name, const char *part)
{
    const char *text = told(name);
    ck_assert_msg(strstr(text, part) != NULL, "%s has no %s", text, part);
}

static long number(const char *name)
{
    const char *text = told(name);
    ck_assert_str_ne(text, "");
    return strtol(text + strlen(name), NULL, 10);
}

static long slow_logged(void)
{
    return client_int(c, "SLOWLOG LEN");
}

/* Its first run touches keys that it did not declare at its end: in that it is undone, and begins
 * again. */
#define TWICE                                                                                 \
    "EVAL \"redis.call('set', KEYS[1], 'x') redis.pcall('incr', KEYS[1]) redis.pcall('get') " \
    "redis.pcall('nosuch') redis.pcall('blah') redis.call('exists', KEYS[1]) "                \
    "redis.call('mget', 'u1', 'u2', 'u3', 'u4') return 1\" 1 a"

/* What one run adds to each of these. */
struct sums {
    long commands, changes, hits, slow;
};

static struct sums sums(void)
{
    return (struct sums){ number("total_commands_processed:"),
                          number("rdb_changes_since_last_save:"), number("keyspace_hits:"),
                          slow_logged() };
}

START_TEST(test_undone_attempt)
{
    struct sums was[3];
    client_expect(c, "+OK", "CONFIG RESETSTAT");
    for (unsigned run = 0; run < 2; run++) { /* the second one begins alone */
        client_expect(c, "+OK", "SLOWLOG RESET");
        was[0] = sums();
        client_expect(c, "1", TWICE);
        was[1] = sums();
        struct sums d = { was[1].commands - was[0].commands, was[1].changes - was[0].changes,
                          was[1].hits - was[0].hits, was[1].slow - was[0].slow };
        ck_assert_int_eq(d.changes, 1);
        ck_assert_int_eq(d.hits, 1);
        if (run == 1) {
            ck_assert_int_eq(d.commands, was[2].commands);
            ck_assert_int_eq(d.slow, was[2].slow);
        }
        was[2] = d;
    }
    expect_told("cmdstat_set:", "calls=2,");
    expect_told("cmdstat_incr:", "calls=2,");
    expect_told("cmdstat_incr:", "failed_calls=2");
    expect_told("cmdstat_mget:", "calls=2,");
    expect_told("cmdstat_exists:", "calls=2,");
    expect_told("cmdstat_get:", "rejected_calls=2");
    expect_told("cmdstat_eval:", "calls=2,");
    const char *histogram = client_line(c, "LATENCY HISTOGRAM set");
    ck_assert_msg(strstr(histogram, "\"calls\", 2,") != NULL, "%s", histogram);
    client_expect(c, "+OK", "CONFIG RESETSTAT"); /* what a run that stays has is counted, too */
    client_expect(c, "3",
                  "EVAL \"for i = 1, 3 do redis.call('incr', KEYS[1]) end "
                  "return tonumber(redis.call('get', KEYS[1]))\" 1 n");
    expect_told("cmdstat_incr:", "calls=3,");
    expect_told("cmdstat_get:", "calls=1,");
}
END_TEST

/* More than is kept of one: all of an attempt that stays is counted. */
START_TEST(test_many)
{
    client_expect(c, "+OK", "CONFIG RESETSTAT");
    client_expect(c, "+OK", "SLOWLOG RESET");
    client_expect(c, "1",
                  "EVAL \"for i = 1, 200000 do redis.pcall('get', KEYS[1]) end "
                  "for i = 1, 1000 do redis.pcall('incr', KEYS[2]) end return 1\" 2 n s");
    client_expect(c, "\"1000\"", "GET s");
    expect_told("cmdstat_get:", "calls=200001,");
    expect_told("cmdstat_incr:", "calls=1000,");
    ck_assert_int_eq(slow_logged(), 128);
}
END_TEST

/* What is kept for the logs does not crowd out others' keys: calls of 7,800 arguments, each of
 * which the logs may want. */
START_TEST(test_much_to_log)
{
    char value[141];
    memset(value, 'x', sizeof value - 1);
    value[140] = '\0';
    client_expect(
        c, "1",
        "EVAL \"local a = {} for i = 1, 7800 do a[i] = ARGV[1] .. i end for i = 1, 500 do "
        "redis.call('hmget', KEYS[1], unpack(a)) end return 1\" 1 none %s",
        value);
    ck_assert_int_lt(number("used_memory_peak:"), 100 << 20); /* looked at each 100 ms */
    expect_told("cmdstat_hmget:", "calls=500,");
}
END_TEST

/* A command of a script is in the log as it was called, before the script. */
START_TEST(test_logged_arguments)
{
    char value[301];
    memset(value, 'x', sizeof value - 1);
    value[300] = '\0';
    client_expect(c, "+OK", "EVAL \"return redis.call('set', KEYS[1], ARGV[1])\" 1 n %s", value);
    const char *log = client_line(c, "SLOWLOG GET 2");
    const char *eval = strstr(log, "\"EVAL\""), *set = strstr(log, "[\"set\", \"n\", \"xxx");
    ck_assert_msg(eval != NULL && set != NULL && eval < set, "%s", log);
    ck_assert_msg(strstr(set, "x... (172 more bytes)\"]") != NULL, "%s", log);
}
END_TEST

UNIT_SUITE(script_counts)
{
    TCase *tc = unit_case(suite, "counts", test_undone_attempt, test_many, test_much_to_log,
                          test_logged_arguments);
    tcase_add_checked_fixture(tc, start, stop);
}
