/* test_output_limit.c -- The hard output limit inside one request: what it would write above the
 * limit takes no memory, its commands still run, and nothing of the reply looks whole.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT     "CONFIG SET client-output-buffer-limit 'normal 1mb 0 0'"
#define NO_LIMIT  "CONFIG SET client-output-buffer-limit 'normal 0 0 0'"
#define ROOM      (10 << 20) /* for all but the output */
#define MANY      4000
#define MANY_KEYS 40000

static struct server kv;
static struct client *c;

static void start(void)
{
    static char value[10001], word[101], line[120000];
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2");
    c = server_connect(&kv);
    memset(value, 'v', sizeof value - 1);
    memset(word, 'w', sizeof word - 1);
    client_expect(c, "+OK", "SET s %s", value);
    client_expect(c, "100001", "SETRANGE borrowed 100000 x");
    size_t n = 0;
    for (unsigned i = 0; i < 1000; i++) {
        n += (size_t)snprintf(line + n, sizeof line - n, " %s", word);
    }
    client_expect(c, "1000", "RPUSH l%s", line);
    client_expect(c, "1", "HSET h f 1");
    for (unsigned i = 0; i < 20; i++) {
        client_expect(c, "1", "HSET many f%u %s", i, word);
    }
    client_expect(c, "+OK", LIMIT);
}

static void stop(void)
{
    client_close(c);
    server_stop(&kv);
}

static int64_t field_of(const char *info, const char *name)
{
    const char *at = strstr(info, name);
    ck_assert_msg(at != NULL, "no %s in: %s", name, info);
    return strtoll(at + strlen(name), NULL, 10);
}

static int64_t used_memory(void)
{
    return field_of(client_ask(c, "INFO memory")->text, "used_memory:");
}

static int64_t disconnections(void)
{
    return field_of(client_ask(c, "INFO stats")->text,
                    "client_output_buffer_limit_disconnections:");
}

static void queue(struct client *d, const char *line, unsigned times)
{
    struct buf b = { 0 };
    for (unsigned i = 0; i < times; i++) {
        buf_printf(&b, "%s\r\n", line);
    }
    client_send_raw(d, b.p, b.n);
    buf_free(&b);
    for (unsigned i = 0; i < times; i++) {
        client_expect_next(d, "+QUEUED");
    }
}

/* What the server uses when all before it in the EXEC has run is kept in `seen`. */
static void queue_end(struct client *d)
{
    queue(d, "EVAL \"redis.call('set', KEYS[1], redis.call('info', 'memory'))\" 1 seen", 1);
    queue(d, "SET done 1", 1);
    client_send(d, "EXEC");
}

/* All of it ran, without memory for its reply. */
static void expect_ran(int64_t used_before)
{
    int64_t until = clock_mono_ms() + unit_patient_ms(20000);
    while (strcmp(client_line(c, "GET done"), "\"1\"") != 0) {
        ck_assert_int_lt(clock_mono_ms(), until);
    }
    int64_t used = field_of(client_ask(c, "GET seen")->text, "used_memory:");
    ck_assert_msg(used < used_before + ROOM, "%lld bytes more", (long long)(used - used_before));
}

/* 0: many replies, of many elements each. 1: one reply of many. 2: borrowed bytes. 3: array headers
 * that are filled in later. */
START_TEST(test_exec)
{
    static const char *const lines[] = { "LRANGE l 0 -1", NULL, "GET borrowed", "HSCAN many 0" };
    static const unsigned times[] = { MANY, 1, MANY, MANY };
    struct client *d = server_connect(&kv);
    int64_t used = used_memory(), before = disconnections();
    client_expect(d, "+OK", "MULTI");
    if (lines[_i] != NULL) {
        queue(d, lines[_i], times[_i]);
    } else {
        struct buf mget = { 0 };
        buf_printf(&mget, "*%u\r\n$4\r\nMGET", MANY_KEYS + 1);
        for (unsigned i = 0; i < MANY_KEYS; i++) {
            buf_printf(&mget, "\r\n$1\r\ns");
        }
        buf_add(&mget, "", 1);
        queue(d, mget.p, 1);
        buf_free(&mget);
    }
    queue_end(d);
    client_expect_closed(d);
    expect_ran(used);
    ck_assert_int_eq(disconnections(), before + 1);
    client_close(d);
    client_close(c);
    server_kill(&kv); /* what was seen of it stays */
    server_start(&kv, "--threads", "2");
    c = server_connect(&kv);
    client_expect(c, "\"1\"", "GET done");
}
END_TEST

/* A limit that rises behind what was left out makes no whole reply of the rest. */
START_TEST(test_limit_rises)
{
    static const char *const lines[] = { "LRANGE l 0 -1", "HRANDFIELD h -10000000" };
    for (unsigned i = 0; i < countof(lines); i++) {
        struct client *d = server_connect(&kv);
        int64_t before = disconnections();
        client_expect(d, "+OK", "MULTI");
        queue(d, lines[i], 100);
        queue(d, NO_LIMIT, 1);
        client_send(d, "EXEC");
        client_expect_closed(d);
        ck_assert_int_eq(disconnections(), before + 1);
        client_expect(c, "+OK", LIMIT);
        client_close(d);
    }
}
END_TEST

/* Who wants no reply is sent none, and so has none above the limit. */
START_TEST(test_no_reply_wanted)
{
    struct client *d = server_connect(&kv);
    struct buf b = { 0 };
    int64_t used = used_memory(), before = disconnections();
    buf_printf(&b, "CLIENT REPLY OFF\r\nMULTI\r\n");
    for (unsigned i = 0; i < MANY; i++) {
        buf_printf(&b, "LRANGE l 0 -1\r\n");
    }
    buf_printf(&b, "EVAL \"redis.call('set', KEYS[1], redis.call('info', 'memory'))\" 1 seen\r\n"
                   "SET done 1\r\nEXEC\r\nCLIENT REPLY ON\r\n");
    client_send_raw(d, b.p, b.n);
    buf_free(&b);
    client_expect_next(d, "+OK");
    expect_ran(used);
    client_expect(d, "\"1\"", "GET done");
    ck_assert_uint_eq(client_ask(d, "LRANGE l 0 -1")->count, 1000);
    ck_assert_int_eq(disconnections(), before);
    client_close(d);
}
END_TEST

UNIT_SUITE(output_limit)
{
    TCase *tc = unit_case(suite, "one request", test_limit_rises, test_no_reply_wanted);
    tcase_add_checked_fixture(tc, start, stop);
    tc = unit_case_loop(suite, "exec", 120, test_exec, 4);
    tcase_add_checked_fixture(tc, start, stop);
}
