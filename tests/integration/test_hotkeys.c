/* test_hotkeys.c -- HOTKEYS, which no reference server here knows: what its documentation says.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

SERVER_CLIENT_FIXTURE("--threads", "2", "--enable-debug-command", "yes")

/* ---- Reading the map ---- */

static const struct resp *field(const struct resp *map, const char *name)
{
    for (size_t i = 0; i + 1 < map->count; i += 2) {
        if (strcmp(map->at[i]->text, name) == 0) {
            return map->at[i + 1];
        }
    }
    return NULL;
}

static const struct resp *session(void)
{
    const struct resp *r = client_ask(c, "HOTKEYS GET");
    ck_assert_uint_eq(r->count, 1);
    return r->at[0];
}

static int64_t number(const char *name)
{
    const struct resp *r = field(session(), name);
    ck_assert_msg(r != NULL, "there is no %s", name);
    return r->integer;
}

/* What `list` says of key; -1: nothing. */
static int64_t cost(const char *list, const char *key)
{
    const struct resp *r = field(session(), list);
    ck_assert_ptr_nonnull(r);
    for (size_t i = 0; i + 1 < r->count; i += 2) {
        if (strcmp(r->at[i]->text, key) == 0) {
            return r->at[i + 1]->integer;
        }
    }
    return -1;
}

static bool info_has(const char *line)
{
    return strstr(client_ask(c, "INFO clients")->text, line) != NULL;
}

static void begin(const char *options)
{
    client_expect(c, "+OK", "HOTKEYS START METRICS %s", options);
}

static void end(void)
{
    client_expect(c, "+OK", "HOTKEYS STOP");
    client_expect(c, "+OK", "HOTKEYS RESET");
}

/* ---- Tests ---- */

START_TEST(test_life)
{
    for (int protocol = 2; protocol <= 3; protocol++) {
        client_hello(c, protocol);
        client_expect(c, "nil", "HOTKEYS GET");
        client_expect(c, "nil", "HOTKEYS STOP");
        client_expect(c, "+OK", "HOTKEYS RESET");
        begin("1 NET");
        client_expect_error(c, "ERR hotkey tracking session already in progress",
                            "HOTKEYS START METRICS 1 CPU");
        client_expect_error(c, "ERR hotkey tracking session in progress, stop tracking first",
                            "HOTKEYS RESET");
        client_expect(c, "+OK", "SET k v"); /* 27 and 5 bytes */
        ck_assert_int_eq(number("tracking-active"), 1);
        ck_assert_int_eq(cost("by-net-bytes", "k"), 32);
        client_expect(c, "+OK", "HOTKEYS STOP");
        client_expect(c, "nil", "HOTKEYS STOP");
        client_expect(c, "+OK", "SET k v");
        ck_assert_int_eq(number("tracking-active"), 0);
        ck_assert_int_eq(cost("by-net-bytes", "k"), 32);
        begin("1 NET"); /* a new one after a stopped one */
        ck_assert_int_eq(cost("by-net-bytes", "k"), -1);
        end();
    }
    client_hello(c, 2);
}
END_TEST

/* Each field, its type and its place. */
START_TEST(test_form)
{
    client_hello(c, 3);
    begin("2 CPU NET SAMPLE 1 COUNT 3");
    client_ask(c, "SET k v");
    client_ask(c, "PING"); /* 14 and 7 bytes, of no key */
    const struct resp *r = client_ask(c, "HOTKEYS GET");
    ck_assert_int_eq(r->type, RESP_ARRAY);
    ck_assert_int_eq(r->at[0]->type, RESP_MAP);
    static const char *const names[] = { "tracking-active",
                                         "sample-ratio",
                                         "selected-slots",
                                         "all-commands-all-slots-us",
                                         "net-bytes-all-commands-all-slots",
                                         "collection-start-time-unix-ms",
                                         "collection-duration-ms",
                                         "total-cpu-time-user-ms",
                                         "total-cpu-time-sys-ms",
                                         "total-net-bytes",
                                         "by-cpu-time-us",
                                         "by-net-bytes" };
    ck_assert_uint_eq(r->at[0]->count, 2 * countof(names));
    for (unsigned i = 0; i < countof(names); i++) {
        ck_assert_str_eq(r->at[0]->at[2 * i]->text, names[i]);
    }
    const struct resp *net = field(r->at[0], "by-net-bytes");
    ck_assert_int_eq(net->type, RESP_ARRAY);
    ck_assert_uint_eq(net->count, 2);
    ck_assert_int_eq(field(r->at[0], "net-bytes-all-commands-all-slots")->integer, 32 + 21);
    ck_assert_int_ge(field(r->at[0], "total-net-bytes")->integer, 32 + 21);
    ck_assert_int_gt(field(r->at[0], "collection-start-time-unix-ms")->integer, 1600000000000);
    const struct resp *slots = field(r->at[0], "selected-slots");
    ck_assert_uint_eq(slots->count, 1);
    ck_assert_int_eq(slots->at[0]->at[0]->integer, 0);
    ck_assert_int_eq(slots->at[0]->at[1]->integer, 16383);
    end();
    client_hello(c, 2);
    begin("1 CPU");
    r = client_ask(c, "HOTKEYS GET");
    ck_assert_uint_eq(r->at[0]->count, 20);
    ck_assert_ptr_null(field(r->at[0], "by-net-bytes"));
    ck_assert_ptr_null(field(r->at[0], "total-net-bytes"));
    end();
    begin("2 NET LATER");
    r = client_ask(c, "HOTKEYS GET");
    ck_assert_uint_eq(r->at[0]->count, 18);
    ck_assert_ptr_null(field(r->at[0], "by-cpu-time-us"));
    ck_assert_ptr_null(field(r->at[0], "total-cpu-time-sys-ms"));
    end();
}
END_TEST

START_TEST(test_arguments)
{
    static const struct {
        const char *args, *error;
    } wrong[] = {
        { "", "METRICS parameter is required" },
        { "COUNT 3", "METRICS parameter is required" },
        { "METRICS", "METRICS parameter is required" },
        { "METRICS 0", "METRICS count must be > 0" },
        { "METRICS -1", "METRICS count must be > 0" },
        { "METRICS 3 CPU NET", "METRICS count must be > 0" },
        { "METRICS x CPU", "METRICS count must be > 0" },
        { "METRICS 2 CPU", "METRICS count does not match number of metric types provided" },
        { "METRICS 1 GPU", "METRICS no valid metrics passed" },
        { "METRICS 2 CPU cpu", "METRICS CPU defined more than once!" },
        { "METRICS 2 NET NET", "METRICS NET defined more than once!" },
        { "METRICS 1 CPU NET", "syntax error" },
        { "METRICS 1 CPU COUNT", "syntax error" },
        { "METRICS 1 CPU COUNT 0", "COUNT must be between 1 and 64" },
        { "METRICS 1 CPU COUNT 65", "COUNT must be between 1 and 64" },
        { "METRICS 1 CPU SAMPLE 0", "SAMPLE ratio must be positive" },
        { "METRICS 1 CPU DURATION 0", "DURATION must be between" },
        { "METRICS 1 CPU SLOTS 1 0", "SLOTS parameter cannot be used in non-cluster mode" },
    };
    for (unsigned i = 0; i < countof(wrong); i++) {
        char error[128];
        snprintf(error, sizeof error, "-ERR %s", wrong[i].error);
        ck_assert_msg(client_line_starts(c, error, "HOTKEYS START %s", wrong[i].args),
                      "%s: expected %s, got %s", wrong[i].args, error, client_last_line(c));
    }
    client_expect(c, "nil", "HOTKEYS GET");
    client_expect_error(c, "ERR wrong number of arguments for 'hotkeys|get'", "HOTKEYS GET 1");
    client_expect_error(c, "ERR This Redis command is not allowed from script",
                        "EVAL \"return redis.call('hotkeys','get')\" 0");
}
END_TEST

/* Which keys, from whichever connection and reactor, and in equal parts. */
START_TEST(test_keys)
{
    struct client *other[4];
    begin("2 CPU NET");
    for (unsigned i = 0; i < countof(other); i++) {
        other[i] = server_connect(&kv);
        client_expect(other[i], "+OK", "SET hot v"); /* 29 + 5 */
    }
    ck_assert_int_eq(cost("by-net-bytes", "hot"), (int64_t)countof(other) * 34);
    client_expect(c, "+OK", "MSET a 1 b 2"); /* 42 + 5 */
    ck_assert_int_eq(cost("by-net-bytes", "a"), 23);
    ck_assert_int_eq(cost("by-net-bytes", "b"), 23);
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "SET m1 v");
    client_expect(c, "+QUEUED", "SET m2 v");
    client_ask(c, "EXEC");
    ck_assert_int_eq(cost("by-net-bytes", "m1"), 33);
    ck_assert_int_eq(cost("by-net-bytes", "m2"), 33);
    client_ask(c, "EVAL \"return redis.call('set', KEYS[1], 'v')\" 1 script");
    ck_assert_int_gt(cost("by-net-bytes", "script"), 80);
    ck_assert_int_ge(cost("by-cpu-time-us", "script"), 0);
    client_send(other[0], "BLPOP waits 0"); /* 33 + 22 */
    for (int ms = 0; !info_has("blocked_clients:1"); ms++) {
        ck_assert_int_lt(ms, unit_patient_ms(20000));
        usleep(1000);
    }
    client_expect(c, "1", "LPUSH waits x"); /* 33 + 4 */
    client_read(other[0]);
    ck_assert_int_eq(cost("by-net-bytes", "waits"), 92);
    client_expect(c, "+OK", "HOTKEYS STOP");
    for (unsigned i = 0; i < countof(other); i++) {
        client_close(other[i]);
    }
    client_expect(c, "+OK", "HOTKEYS RESET");
}
END_TEST

/* The heavy ones come first, and no more than asked for. */
START_TEST(test_order)
{
    begin("2 CPU NET COUNT 3");
    for (int i = 0; i < 300; i++) {
        client_expect(c, "+OK", "SET cold:%d v", i);
        client_expect(c, "+OK", "SET %s v", i % 3 == 0 ? "warm" : "hot0");
    }
    const struct resp *net = field(session(), "by-net-bytes");
    ck_assert_uint_eq(net->count, 6);
    ck_assert_str_eq(net->at[0]->text, "hot0");
    ck_assert_int_eq(net->at[1]->integer, 200 * 35);
    ck_assert_str_eq(net->at[2]->text, "warm");
    ck_assert_int_eq(net->at[3]->integer, 100 * 35);
    ck_assert_uint_eq(field(session(), "by-cpu-time-us")->count, 6);
    end();
}
END_TEST

/* One in three, but of all the totals tell. */
START_TEST(test_sample)
{
    begin("1 NET SAMPLE 3");
    for (int i = 0; i < 3000; i++) {
        client_expect(c, "+OK", "SET k v");
    }
    int64_t part = cost("by-net-bytes", "k");
    ck_assert_int_eq(part % 32, 0);
    ck_assert_int_gt(part, 500 * 32); /* P(outside) < 1e-80 */
    ck_assert_int_lt(part, 1500 * 32);
    ck_assert_int_ge(number("net-bytes-all-commands-all-slots"), 3000 * 32);
    ck_assert_int_eq(number("sample-ratio"), 3);
    end();
}
END_TEST

START_TEST(test_duration)
{
    begin("1 NET DURATION 1");
    int64_t waited = 0;
    while (number("tracking-active") == 1) {
        ck_assert_int_lt(waited += 10, unit_patient_ms(20000));
        usleep(10000);
    }
    ck_assert_int_eq(number("collection-duration-ms"), 1000);
    client_ask(c, "SET late v");
    ck_assert_int_eq(cost("by-net-bytes", "late"), -1);
    client_expect(c, "nil", "HOTKEYS STOP");
    begin("1 NET");
    end();
}
END_TEST

START_TEST(test_multi)
{
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "HOTKEYS START METRICS 1 NET");
    client_expect(c, "+QUEUED", "SET k v");
    client_expect(c, "+QUEUED", "HOTKEYS STOP");
    client_expect(c, "+QUEUED", "SET k v");
    client_ask(c, "EXEC");
    ck_assert_int_eq(cost("by-net-bytes", "k"), 32);
    client_expect(c, "+OK", "HOTKEYS RESET");
}
END_TEST

UNIT_SUITE(hotkeys)
{
    tcase_add_unchecked_fixture(unit_case(suite, "sessions", test_life, test_form, test_arguments,
                                          test_duration, test_multi),
                                start, stop);
    tcase_add_unchecked_fixture(unit_case(suite, "what", test_keys, test_order, test_sample), start,
                                stop);
}
