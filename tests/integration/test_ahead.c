/* test_ahead.c -- Pipelines whose requests name elements of one container, which are fetched ahead
 * of them, are answered as the same requests one at a time. SPDX-License-Identifier: BSD-3-Clause
 */
#include "base/bytes.h"
#include "base/rng.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <string.h>

SERVER_CLIENT_FIXTURE("--threads", "2", "--enable-debug-command", "yes")

#define PIPELINE 70 /* more than are parsed at once */
#define ELEMENTS 3000

/* The key is put in for @. Rows of all kinds, with elements that are there and others, and what
 * changes the container, or what it is, in the middle. */
static void request(char *text, size_t size, const char *key)
{
    static const char *const forms[] = {
        "HSET %s f%u %u",    "HGET %s f%u %u x",    "HGET %s f%u",     "HDEL %s f%u f%u",
        "HINCRBY %s f%u %u", "HMGET %s f%u f%u",    "HSTRLEN %s f%u",  "HEXISTS %s f%u",
        "SADD %s m%u m%u",   "SISMEMBER %s m%u",    "SREM %s m%u m%u", "SMISMEMBER %s m%u m%u",
        "ZADD %s %u m%u",    "ZADD %s NX %u m%u",   "ZADD %s m%u %u",  "ZINCRBY %s %u m%u",
        "ZSCORE %s m%u",     "ZRANK %s m%u",        "ZREM %s m%u m%u", "ZMSCORE %s m%u m%u",
        "ZADD %s inf m%u",   "ZINCRBY %s -inf m%u", "ZADD %s nan m%u", "ZADD %s 1e400 m%u",
    };
    const char *form = forms[rng_below(countof(forms))];
    unsigned a = (unsigned)rng_below(ELEMENTS), b = (unsigned)rng_below(ELEMENTS);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, size, form, key, a, b);
#pragma GCC diagnostic pop
    switch (rng_below(400)) {
    case 0: snprintf(text, size, "DEL %s", key); break;
    case 1: snprintf(text, size, "SET %s string", key); break;
    case 2: snprintf(text, size, "COPY big:%u %s REPLACE", (unsigned)rng_below(4), key); break;
    default: break;
    }
}

/* big:0 to big:3: a hash, a set, a sorted set, a hash with dues. */
static void fill(void)
{
    for (unsigned i = 0; i < ELEMENTS; i++) {
        client_send(c, "HSET big:0 f%u %u", i, i);
        client_send(c, "SADD big:1 m%u", i);
        client_send(c, "ZADD big:2 %u m%u", i * 7919u % 1000, i);
        client_send(c, "HSET big:3 f%u %u", i, i);
    }
    for (unsigned i = 0; i < 4 * ELEMENTS; i++) {
        client_expect_next(c, "1");
    }
    client_ask(c, "HEXPIRE big:3 10000 FIELDS 2 f1 f2");
}

START_TEST(test_same_replies)
{
    rng_seed_all(unit_seed());
    fill();
    struct client *slow = server_connect(&kv);
    for (unsigned round = 0; round < 200; round++) {
        char from[32];
        snprintf(from, sizeof from, "big:%u", round % 4);
        client_expect(c, "1", "COPY %s together REPLACE", from);
        client_expect(c, "1", "COPY %s alone REPLACE", from);
        uint64_t seed = rng_below(UINT64_MAX);
        char text[200];
        rng_seed_all(seed);
        struct buf all = { 0 };
        for (unsigned i = 0; i < PIPELINE; i++) {
            request(text, sizeof text, "together");
            buf_printf(&all, "%s\r\n", text);
        }
        client_send_raw(c, all.p, all.n);
        buf_free(&all);
        rng_seed_all(seed);
        for (unsigned i = 0; i < PIPELINE; i++) {
            request(text, sizeof text, "alone");
            client_send(slow, "%s", text);
            char expected[1000];
            snprintf(expected, sizeof expected, "%s", client_read_line(slow));
            ck_assert_msg(strcmp(client_read_line(c), expected) == 0, "%s: %s, alone %s", text,
                          client_last_line(c), expected);
        }
    }
    client_close(slow);
}
END_TEST

UNIT_SUITE(ahead)
{
    tcase_add_unchecked_fixture(unit_case(suite, "pipelines", test_same_replies), start, stop);
}
