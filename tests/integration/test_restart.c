/* test_restart.c -- What a start under other directives makes of a log, and what clients hear of
 * writes that are not durable yet. SPDX-License-Identifier: BSD-3-Clause */
#include "base/bytes.h"
#include "lib/server.h"
#include "lib/unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct server kv;

static void setup(void)
{
    server_init(&kv, SERVER_KV);
}

static void teardown(void)
{
    if (server_running(&kv)) {
        server_kill(&kv);
    }
}

/* The log holds commands under their own names, so it means the same under any rename-command. */
START_TEST(test_renamed_commands)
{
    server_start(&kv, "--rename-command", "SET", "put", "--rename-command", "RPUSH", "add",
                 "--rename-command", "DEL", "");
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "PUT a 1");
    client_expect(c, "+OK", "PUT gone 1 PX 5"); /* its DEL is logged though no client may call it */
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "PUT b 2");
    client_expect(c, "+QUEUED", "add list x y");
    client_expect(c, "[+OK, 2]", "EXEC");
    client_expect(c, "+OK", "FLUSHDB");
    client_expect(c, "+OK", "PUT c 3");
    client_expect(c, "1", "ADD l x");
    client_expect(c, "+OK", "PUT gone 1 PX 5");
    usleep(100000);
    client_close(c);
    server_stop(&kv);
    server_start(&kv, "--rename-command", "SET", "add", "--rename-command", "FLUSHDB", "",
                 "--rename-command", "RPUSH", "set", "--rename-command", "EXEC", "");
    c = server_connect(&kv);
    client_expect(c, "nil", "GET a");
    client_expect(c, "nil", "GET gone");
    client_expect(c, "\"3\"", "GET c");
    client_expect(c, "[\"x\"]", "LRANGE l 0 -1");
    client_expect(c, "2", "DBSIZE");
    client_expect(c, "+OK", "ADD d 4");
    client_expect(c, "2", "SET l y");
    client_close(c);
    server_stop(&kv);
    server_start(&kv, "--threads", "1");
    c = server_connect(&kv);
    client_expect(c, "\"4\"", "GET d");
    client_expect(c, "[\"x\", \"y\"]", "LRANGE l 0 -1");
    client_close(c);
}
END_TEST

static void restart(void)
{
    server_kill(&kv);
    server_start(&kv, "--threads", "1");
}

static void wait_blocked(struct client *c, unsigned n)
{
    char want[40];
    snprintf(want, sizeof want, "blocked_clients:%u\r", n);
    while (strstr(client_ask(c, "INFO clients")->text, want) == NULL) {
        usleep(1000);
    }
}

/* The source of BITOP has expired and is not deleted yet: replay, which knows no time, must find it
 * deleted, too. BITOP NOT of many bytes lets the time pass. */
START_TEST(test_write_reads_expired)
{
    server_start(&kv, "--threads", "1");
    struct client *c = server_connect(&kv);
    client_expect(c, "100000000", "SETRANGE big 99999999 x");
    client_expect(c, "+OK", "SET b aa");
    client_send(c, "SET a zzzz PX 2");
    client_send(c, "BITOP NOT not big");
    client_send(c, "BITOP OR dest a b");
    client_expect_next(c, "+OK");
    client_expect_next(c, "100000000");
    client_expect_next(c, "2");
    client_expect(c, "\"aa\"", "GET dest");
    client_close(c);
    restart();
    c = server_connect(&kv);
    client_expect(c, "\"aa\"", "GET dest");
    client_close(c);
}
END_TEST

/* What a blocked client would have got expires in the transaction that brought it: its DEL is in
 * the log before anything that follows. */
START_TEST(test_served_with_expired)
{
    server_start(&kv, "--threads", "1");
    struct client *c = server_connect(&kv), *waits = server_connect(&kv);
    client_expect(c, "100000000", "SETRANGE big 99999999 x");
    client_send(waits, "BLPOP list 0");
    wait_blocked(c, 1);
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "RPUSH list gone");
    client_expect(c, "+QUEUED", "PEXPIRE list 2");
    client_expect(c, "+QUEUED", "BITOP NOT not big");
    client_expect(c, "[1, 1, 100000000]", "EXEC");
    client_close(waits);
    wait_blocked(c, 0);
    client_expect(c, "1", "RPUSH list stays");
    client_close(c);
    restart();
    c = server_connect(&kv);
    client_expect(c, "[\"stays\"]", "LRANGE list 0 -1");
    client_close(c);
}
END_TEST

/* The first in the queue, who needs more locks, ends just when it is to be served: the next one's
 * turn. */
START_TEST(test_first_ends_when_served)
{
    server_env(&kv, "KV_FAULTS", "exec.before_claim=delay1000");
    server_start(&kv, "--threads", "2");
    struct client *first = server_connect(&kv), *c = server_connect(&kv),
                  *next = server_connect(&kv);
    client_send(first, "BLMOVE src dst LEFT LEFT 0.5");
    wait_blocked(c, 1);
    client_send(next, "BLPOP src 0");
    wait_blocked(c, 2);
    client_expect(c, "1", "RPUSH src x");
    const char *got = client_read_line(first);
    if (strcmp(got, "\"x\"") != 0) { /* unless both keys share a shard */
        ck_assert_str_eq(got, "nil*");
        client_expect_next(next, "[\"src\", \"x\"]");
    }
    client_close(first);
    client_close(next);
    client_close(c);
}
END_TEST

#ifdef KV_FAULTS
static size_t log_bytes(void)
{
    char *log = server_log(&kv);
    size_t n = strlen(log);
    free(log);
    return n;
}

/* What the log says of the start behind its byte `from`. False: it has failed. */
static bool is_ready(size_t from)
{
    for (;; usleep(1000)) {
        char *log = server_log(&kv);
        bool ready = strstr(log + from, "Ready to accept connections") != NULL;
        bool failed = strstr(log + from, "could not be") != NULL;
        free(log);
        if (ready || failed) {
            return ready;
        }
    }
}
#endif

/* A thread that cannot be started: the server runs with fewer or says why it does not; the log is
 * as it was. */
START_TEST(test_without_a_thread)
{
#ifdef KV_FAULTS
    unsigned ran = 0, refused = 0;
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "SET k v");
    client_close(c);
    server_kill(&kv);
    for (unsigned after = 0; after < 24; after++) {
        char faults[64];
        snprintf(faults, sizeof faults, "base.thread_start=nomem:%u:%u", after, after % 3 + 1);
        server_env(&kv, "KV_FAULTS", faults);
        size_t from = log_bytes();
        int status = server_try_start(&kv, "--threads", "2");
        if (status == 0 && !is_ready(from)) { /* it answered LOADING */
            status = server_wait_exit(&kv, 30000);
        }
        if (status == 0) {
            server_wait_ready(&kv);
            c = server_connect(&kv);
            client_expect(c, "\"v\"", "GET k");
            client_close(c);
            server_kill(&kv);
            ran++;
        } else {
            ck_assert_msg(WIFEXITED(status), "%s: status %d", faults, status);
            refused++;
        }
    }
    ck_assert_uint_ge(ran, 4); /* readers ahead, workers of the replay */
    ck_assert_uint_ge(refused, 4);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

#define ROUNDS 6
#define KEYS   5000

#define EXECS   120
#define MEMBERS 200

/* Members of large containers come and go. */
static void write_alone(struct client *c, unsigned r, unsigned i)
{
    struct buf b = { 0 };
    buf_printf(&b, "MULTI\r\nSET other:%u 1\r\n", i);
    for (unsigned k = 0; k < 3; k++) {
        static const char *const more[] = { "HSET h", "ZADD z", "SADD s" };
        static const char *const less[] = { "HDEL h", "ZREM z", "SREM s" };
        bool add = i % 3 != 2;
        buf_printf(&b, "%s", add ? more[k] : less[k]);
        for (unsigned n = 0; n < MEMBERS; n++) {
            unsigned member = (i * 77 + n * 13 + r) % (20 * MEMBERS);
            buf_printf(&b, k == 1 && add ? " %u m%u" : " m%u", member, member);
            if (k == 0 && add) {
                buf_printf(&b, " v");
            }
        }
        buf_printf(&b, "\r\n");
    }
    buf_printf(&b, i % 40 == 39 ? "DEL h z s\r\nEXEC\r\n" : "EXEC\r\n");
    client_send_raw(c, b.p, b.n);
    buf_free(&b);
    for (unsigned k = 0; k < (i % 40 == 39 ? 7 : 6); k++) {
        client_read_line(c);
    }
}

/* Tables grow, shrink and go away: their memory is given back while others look. */
static void write_rounds(struct client *c)
{
    for (unsigned r = 0; r < ROUNDS; r++) {
        for (unsigned i = 0; i < KEYS; i++) {
            client_send(c, "SET key:%u:%u %u", r, i, i);
        }
        for (unsigned i = 0; i < KEYS; i++) {
            client_send(c, "UNLINK key:%u:%u", r, i);
        }
        for (unsigned i = 0; i < 2 * KEYS; i++) {
            client_read_line(c);
        }
        for (unsigned i = 0; r + 1 < ROUNDS && i < EXECS; i++) { /* of several slots: done alone */
            write_alone(c, r, i);
        }
        client_expect(c, "+OK", "SET left %u", r);
        if (r + 1 < ROUNDS) {
            client_expect(c, "+OK", r % 2 == 0 ? "FLUSHALL" : "FLUSHALL ASYNC");
        }
    }
}

/* True when one of the replies is LOADING. */
static bool look_around(struct client *c)
{
    bool loading = false;
    for (unsigned i = 0; i < 64; i++) {
        client_send(c, "GET key:%u:%u", i % ROUNDS, i * 71);
    }
    struct buf b = { 0 };
    for (unsigned i = 0; i < 64; i++) {
        static const char *const looks[] = { "HGET h", "ZRANK z", "SISMEMBER s" };
        buf_printf(&b, "%s m%u\r\n", looks[i / 22], i * 61);
    }
    client_send_raw(c, b.p, b.n);
    buf_free(&b);
    client_send(c, "INFO keyspace");
    for (unsigned i = 0; i < 128; i++) {
        loading |= strncmp(client_read_line(c), "-LOADING", 8) == 0;
    }
    client_read_line(c);
    return loading;
}

/* Requests that come while the log is loaded: the tables that they look ahead at, and count, are
 * those that it fills and empties. Judged by the sanitizers. */
START_TEST(test_asked_while_loading)
{
    server_start(&kv, "--threads", "4");
    struct client *c = server_connect(&kv);
    write_rounds(c);
    client_close(c);
    server_kill(&kv);
    server_env(&kv, "KV_FAULTS", "server.accept_at_once=eio");
    ck_assert_int_eq(server_try_start(&kv, "--threads", "4"), 0);
    c = server_connect(&kv);
    unsigned looks = 0;
    while (look_around(c)) {
        looks++;
    }
    printf("%u looks while it loaded\n", looks);
    client_expect(c, "\"5\"", "GET left");
    client_expect(c, "1", "DBSIZE");
    client_close(c);
}
END_TEST

/* Who connects while a short log is loaded waits: no command is refused, whenever it comes. One
 * that is long is told of. */
START_TEST(test_connects_while_loading)
{
#ifdef KV_FAULTS
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "SET k v");
    client_close(c);
    server_kill(&kv);
    server_env(&kv, "KV_FAULTS",
               _i == 0 ? "wal.repair=delay400,server.accept_late=fail" : "wal.repair=delay30000");
    ck_assert_int_eq(server_try_start(&kv, "--threads", "2"), 0); /* until the first answer */
    c = server_connect(&kv);
    if (_i == 0) {
        client_expect(c, "\"v\"", "GET k");
    } else {
        client_expect(c, "-LOADING Redis is loading the dataset in memory", "GET k");
    }
    client_close(c);
    server_kill(&kv);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

static long number_after(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at != NULL ? atol(at + strlen(name)) : -1;
}

/* Values of 1 MiB, which are slow to apply: the log is not read further ahead than fits. */
START_TEST(test_reads_ahead_within_bounds)
{
#ifdef KV_FAULTS
    static char value[1 << 20];
    memset(value, 'v', sizeof value);
    const char *const set[] = { "SET", "k", value };
    const size_t lens[] = { 3, 1, sizeof value };
    server_start(&kv, "--threads", "2", "--appendfsync", "no");
    struct client *c = server_connect(&kv);
    for (unsigned i = 0; i < 200; i++) {
        client_send_args(c, 3, set, lens);
        client_expect_next(c, "+OK");
    }
    client_close(c);
    server_stop(&kv);
    server_env(&kv, "KV_FAULTS", "exec.replay=delay20:0:0");
    ck_assert_int_eq(server_try_start(&kv, "--threads", "2", "--appendfsync", "no"), 0);
    c = server_connect(&kv);
    long most = 0;
    for (bool loading = true; loading; usleep(10000)) {
        const char *info = client_ask(c, "INFO memory persistence")->text;
        loading = number_after(info, "\r\nloading:") == 1;
        long used = number_after(info, "used_memory:");
        most = used > most ? used : most;
    }
    ck_assert_int_lt(most, 128 << 20);
    ck_assert_int_eq(client_int(c, "STRLEN k"), sizeof value);
    client_close(c);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

/* ---- Ends ---- */

/* What a client sends behind SHUTDOWN does not happen, in the same packet or in later ones. */
START_TEST(test_behind_shutdown)
{
    static const char first[] = "PING\r\nSHUTDOWN NOSAVE NOSAVE\r\nAPPEND after b\r\nPING\r\n";
    static const char later[] = "APPEND later b\r\n";
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv);
    client_expect(c, "1", "APPEND before b");
    client_send_raw(c, first, sizeof first - 1);
    client_send_raw(c, later, sizeof later - 1);
    client_expect_next(c, "+PONG");
    client_expect_closed(c);
    ck_assert_int_eq(server_wait_exit(&kv, unit_patient_ms(20000)), 0);
    client_close(c);
    server_start(&kv, "--threads", "2");
    c = server_connect(&kv);
    client_expect(c, "1", "EXISTS before after later");
    client_close(c);
}
END_TEST

/* A change of the log waits for a script without an end: the server stops all the same. */
START_TEST(test_stopped_in_change_and_script)
{
#ifdef KV_FAULTS
    server_env(&kv, "KV_FAULTS", "wal.history=delay1500:0:1");
    server_start(&kv, "--threads", "4", "--appendonly", "no", "--busy-reply-threshold", "500");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    client_send(c, "CONFIG SET appendonly yes");
    usleep(200000);
    client_send(d, "EVAL \"while true do end\" 0");
    usleep(3000000); /* the log wants to begin between two commands, and the script is one */
    server_stop(&kv);
    client_close(c);
    client_close(d);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

UNIT_SUITE(restart)
{
    TCase *c = unit_case_slow(suite, "restart", 120, test_renamed_commands,
                              test_write_reads_expired, test_served_with_expired);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_slow(suite, "hand-over", 120, test_first_ends_when_served);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_slow(suite, "loading", 120, test_asked_while_loading);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_loop(suite, "patience", 120, test_connects_while_loading, 2);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_slow(suite, "threads", 120, test_without_a_thread);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_slow(suite, "memory", 120, test_reads_ahead_within_bounds);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_slow(suite, "ends", 120, test_behind_shutdown, test_stopped_in_change_and_script);
    tcase_add_checked_fixture(c, setup, teardown);
}
