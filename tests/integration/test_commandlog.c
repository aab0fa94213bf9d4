/* test_commandlog.c -- COMMANDLOG, which no reference server here knows: what its documentation
 * says. SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/rng.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct server kv;
static struct client *c;

static void setup(void)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2");
    c = server_connect(&kv);
    client_expect(c, "+OK", "CONFIG SET slowlog-log-slower-than -1");
}

static void teardown(void)
{
    client_close(c);
    server_stop(&kv);
}

/* The newest entry: its value, and its arguments as text. */
static int64_t newest(const char *type, char *argv, size_t size)
{
    const struct resp *r = client_ask(c, "COMMANDLOG GET 1 %s", type);
    ck_assert_uint_eq(r->count, 1);
    ck_assert_uint_eq(r->at[0]->count, 6);
    size_t n = 0;
    argv[0] = '\0';
    for (size_t i = 0; i < r->at[0]->at[3]->count && n < size; i++) {
        n += (size_t)snprintf(argv + n, size - n, "%s ", r->at[0]->at[3]->at[i]->text);
    }
    return r->at[0]->at[2]->integer;
}

START_TEST(test_large)
{
    char argv[512];
    static char big[301];
    memset(big, 'b', sizeof big - 1);
    for (int protocol = 2; protocol <= 3; protocol++) {
        client_hello(c, protocol);
        client_expect(c, "+OK",
                      "CONFIG SET commandlog-request-larger-than 327 "
                      "commandlog-reply-larger-than 308");
        client_expect(c, "0", "COMMANDLOG LEN large-request");
        client_expect(c, "0", "COMMANDLOG LEN LARGE-REPLY");
        client_expect(c, "+OK", "SET k %s", big + 2); /* 326 bytes */
        client_expect(c, "0", "COMMANDLOG LEN large-request");
        client_expect(c, "+OK", "SET k %s", big + 1);
        client_expect(c, "1", "COMMANDLOG LEN large-request");
        client_ask(c, "GET k"); /* 307 bytes */
        client_expect(c, "0", "COMMANDLOG LEN large-reply");
        client_expect(c, "+OK", "SET k %s", big);
        client_ask(c, "GET k");
        client_expect(c, "1", "COMMANDLOG LEN large-reply");
        client_expect(c, "2", "COMMANDLOG LEN large-request");
        ck_assert_int_eq(newest("large-reply", argv, sizeof argv), 308);
        ck_assert_str_eq(argv, "GET k ");
        ck_assert_int_eq(newest("large-request", argv, sizeof argv), 328);
        ck_assert_int_eq(strncmp(argv, "SET k bbb", 9), 0);
        ck_assert_ptr_nonnull(strstr(argv, "... (172 more bytes)"));
        client_expect(c, "0", "COMMANDLOG LEN slow");
        client_expect(c, "+OK", "COMMANDLOG RESET large-reply");
        client_expect(c, "0", "COMMANDLOG LEN large-reply");
        client_expect(c, "[]", "COMMANDLOG GET -1 large-reply");
        client_expect(c, "+OK",
                      "CONFIG SET commandlog-request-larger-than -1 "
                      "commandlog-reply-larger-than -1");
        client_expect(c, "+OK", "SET k %s", big);
        client_ask(c, "GET k");
        client_expect(c, "2", "COMMANDLOG LEN large-request");
        client_expect(c, "+OK", "COMMANDLOG RESET large-request");
    }
}
END_TEST

/* Larger than what is read at once, pipelined, and inside MULTI. */
START_TEST(test_megabytes)
{
    enum { SIZE = 1200000 };
    static char big[SIZE + 1];
    char argv[512];
    memset(big, 'x', SIZE);
    client_send(c, "SET a 1");
    client_send(c, "SET big %s", big);
    client_send(c, "GET big");
    client_send(c, "GET a");
    client_expect_next(c, "+OK");
    client_expect_next(c, "+OK");
    ck_assert_uint_eq(client_read(c)->len, SIZE);
    client_expect_next(c, "\"1\"");
    client_expect(c, "1", "COMMANDLOG LEN large-request");
    client_expect(c, "1", "COMMANDLOG LEN large-reply");
    ck_assert_int_eq(newest("large-request", argv, sizeof argv), SIZE + 34);
    ck_assert_int_eq(newest("large-reply", argv, sizeof argv), SIZE + 12);
    client_expect(c, "+OK", "COMMANDLOG RESET large-reply");
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "GET a");
    client_expect(c, "+QUEUED", "GET big");
    ck_assert_uint_eq(client_ask(c, "EXEC")->count, 2);
    client_expect(c, "1", "COMMANDLOG LEN large-reply"); /* logs have no EXEC, as in Redis */
    ck_assert_int_eq(newest("large-reply", argv, sizeof argv), SIZE + 12);
    ck_assert_str_eq(argv, "GET big ");
}
END_TEST

/* A command that waited has the size of what it was served in the end. */
START_TEST(test_served)
{
    char argv[512];
    client_expect(c, "+OK",
                  "CONFIG SET commandlog-request-larger-than 40 commandlog-reply-larger-than 30");
    struct client *waits = server_connect(&kv);
    client_expect(waits, "+OK", "CLIENT SETNAME taker");
    client_send(waits, "BLPOP list 0");
    for (int ms = 0; strstr(client_line(c, "INFO clients"), "blocked_clients:1") == NULL; ms++) {
        ck_assert_int_lt(ms, unit_patient_ms(20000));
        usleep(1000);
    }
    client_expect(c, "+OK", "COMMANDLOG RESET large-reply");
    client_expect(c, "1", "RPUSH list %s", "ten-bytes-");
    client_expect_next(waits, "[\"list\", \"ten-bytes-\"]"); /* 4 + 10 + 17 */
    const struct resp *e = client_ask(c, "COMMANDLOG GET 1 large-reply")->at[0];
    ck_assert_int_eq(e->at[2]->integer, 31);
    ck_assert_str_eq(e->at[3]->at[0]->text, "BLPOP");
    ck_assert_str_eq(e->at[5]->text, "taker");
    client_expect(waits, "nil*", "BLPOP a-key-that-nobody-has 0.001"); /* 4 + 11 + 28 + 11 */
    ck_assert_int_eq(newest("large-request", argv, sizeof argv), 54);
    client_close(waits);
}
END_TEST

START_TEST(test_slow_is_slowlog)
{
    client_expect(c, "+OK", "CONFIG SET commandlog-execution-slower-than 0");
    client_expect(c, "+OK", "SET k v");
    client_expect(c, "+OK", "CONFIG SET slowlog-log-slower-than -1");
    char slow[512];
    snprintf(slow, sizeof slow, "%s", client_line(c, "SLOWLOG GET -1"));
    client_expect(c, slow, "COMMANDLOG GET -1 slow");
    ck_assert_ptr_nonnull(strstr(slow, "[\"SET\", \"k\", \"v\"]"));
    ck_assert_int_ge(client_int(c, "COMMANDLOG LEN slow"), 1);
    client_expect(c, "+OK", "COMMANDLOG RESET slow");
    client_expect(c, "0", "SLOWLOG LEN");
    client_expect(c, "+OK", "CONFIG SET commandlog-slow-execution-max-len 7");
    client_expect(c, "[\"slowlog-max-len\", \"7\"]", "CONFIG GET slowlog-max-len");
}
END_TEST

START_TEST(test_limits)
{
    client_expect(c, "+OK",
                  "CONFIG SET commandlog-reply-larger-than 0 "
                  "commandlog-large-reply-max-len 3");
    for (unsigned i = 0; i < 6; i++) {
        client_ask(c, "PING");
    }
    client_expect(c, "3", "COMMANDLOG LEN large-reply");
    ck_assert_uint_eq(client_ask(c, "COMMANDLOG GET 2 large-reply")->count, 2);
    client_expect(c, "+OK", "CONFIG SET commandlog-large-reply-max-len 0");
    client_expect(c, "+OK", "COMMANDLOG RESET large-reply");
    client_expect(c, "0", "COMMANDLOG LEN large-reply");
    client_expect(c, "-ERR wrong number of arguments for 'commandlog|get' command",
                  "COMMANDLOG GET 1");
    client_expect(c, "-ERR wrong number of arguments for 'commandlog|len' command",
                  "COMMANDLOG LEN");
    client_expect(c, "-ERR count should be greater than or equal to -1", "COMMANDLOG GET -2 slow");
    client_expect(c, "-ERR count should be greater than or equal to -1", "COMMANDLOG GET x slow");
    static const char *const commands[] = { "GET 1", "LEN", "RESET" };
    for (unsigned i = 0; i < countof(commands); i++) {
        client_expect(c,
                      "-ERR type should be one of the following: slow, large-request, large-reply",
                      "COMMANDLOG %s fast", commands[i]);
    }
    client_expect(c, "-ERR unknown subcommand 'NONE'. Try COMMANDLOG HELP.", "COMMANDLOG NONE");
    ck_assert_uint_gt(client_ask(c, "COMMANDLOG HELP")->count, 5);
    client_expect(c, "+OK", "ACL SETUSER u on nopass +@all -@admin");
    client_expect(c, "+OK", "AUTH u x");
    client_expect_error(c, "NOPERM", "COMMANDLOG GET 1 slow");
}
END_TEST

/* The log as a whole: the newest `n` of what has been noted, `next` being the id of what comes. */
static void expect_log(const char *type, int64_t n, int64_t next)
{
    const struct resp *r = client_ask(c, "COMMANDLOG GET -1 %s", type);
    ck_assert_int_eq((int64_t)r->count, n);
    for (int64_t i = 0; i < n; i++) {
        const struct resp *e = r->at[i];
        ck_assert_int_eq(e->at[0]->integer, next - 1 - i);
        if (strcmp(e->at[3]->at[0]->text, "ECHO") == 0) { /* it says which one it was to be */
            ck_assert_int_eq(strtoll(e->at[3]->at[1]->text, NULL, 10), next - 1 - i);
        }
    }
}

/* The newest ones are kept, whatever the limit was before: each command here is noted. */
START_TEST(test_at_the_limit)
{
    static const char *const logs[][2] = { { "slow", "commandlog-execution-slower-than" },
                                           { "large-request", "commandlog-request-larger-than" },
                                           { "large-reply", "commandlog-reply-larger-than" } };
    static const char *const lens[] = { "commandlog-slow-execution-max-len",
                                        "commandlog-large-request-max-len",
                                        "commandlog-large-reply-max-len" };
    static const unsigned max_len[] = { 0, 1, 2, 3, 10, 60, 1000 };
    rng_seed_all(unit_seed());
    for (unsigned kind = 0; kind < countof(logs); kind++) {
        const char *type = logs[kind][0];
        int64_t keep = 3, n = 1, next;
        client_expect(c, "+OK", "CONFIG SET %s 3 %s 0", lens[kind], logs[kind][1]);
        client_expect(c, "+OK", "COMMANDLOG RESET %s", type); /* the first one */
        next = client_ask(c, "COMMANDLOG GET 1 %s", type)->at[0]->at[0]->integer + 1;
        for (unsigned i = 0; i < 1500; i++) {
            next += keep > 0; /* the command before */
            n = keep == 0 ? n : n < keep ? n + 1 : keep;
            switch (rng_below(40)) {
            case 0:
                keep = max_len[rng_below(countof(max_len))];
                client_expect(c, "+OK", "CONFIG SET %s %lld", lens[kind], (long long)keep);
                break;
            case 1:
                client_expect(c, "+OK", "COMMANDLOG RESET %s", type);
                n = 0;
                break;
            case 2: ck_assert_int_eq(client_int(c, "COMMANDLOG LEN %s", type), n); break;
            case 3: expect_log(type, n, next); break;
            default: client_ask(c, "ECHO %lld", (long long)next);
            }
        }
        client_expect(c, "+OK", "CONFIG SET %s -1", logs[kind][1]);
        client_expect(c, "+OK", "COMMANDLOG RESET %s", type);
        expect_log(type, 0, 0);
    }
}
END_TEST

UNIT_SUITE(commandlog)
{
    TCase *tc = unit_case(suite, "commandlog", test_large, test_megabytes, test_slow_is_slowlog,
                          test_limits, test_at_the_limit, test_served);
    tcase_add_checked_fixture(tc, setup, teardown);
}
