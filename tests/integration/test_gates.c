/* test_gates.c -- Integration tests of what replies wait for: changes that are seen, but not in the
 * log yet. SPDX-License-Identifier: BSD-3-Clause */
#include "lib/server.h"
#include "lib/unit.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct server kv;

static void setup(void)
{
    server_init(&kv, SERVER_KV);
}

static void teardown(void)
{
    if (server_running(&kv)) {
        server_stop(&kv);
    }
}

static long long durable_lsn(struct client *c)
{
    const char *text = client_ask(c, "INFO durability")->text;
    const char *at = strstr(text, "wal_durable_lsn:");
    ck_assert_ptr_nonnull(at);
    return strtoll(at + strlen("wal_durable_lsn:"), NULL, 10);
}

/* What tells by itself that there is no key: the command, and what its reply has only then. */
static const struct {
    const char *command, *none;
} counts[] = { { "DBSIZE", "0" },
               { "SCAN 0", "[\"0\", []]" },
               { "RANDOMKEY", "nil" },
               { "INFO keyspace", "# Keyspace" },
               { "MEMORY STATS", "\"keys.count\", 0" } };

/* A deletion is counted before it is in the log. Whoever tells of it then tells of nothing a crash
 * could take back: when the reply comes, the DEL is durable. */
START_TEST(test_counts_wait)
{
    server_env(&kv, "KV_FAULTS", "exec.append=delay1000:1:1");
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    client_expect(c, "+OK", "SET k v");
    long long before = durable_lsn(d);
    ck_assert_int_gt(before, 0);
    client_send(c, "DEL k");
    usleep(200000);
    const char *line = client_line(d, "%s", counts[_i].command);
    ck_assert_msg(strstr(line, counts[_i].none) != NULL && strstr(line, "db0") == NULL, "%s: %s",
                  counts[_i].command, line);
    ck_assert_int_gt(durable_lsn(d), before);
    client_expect_next(c, "1");
    client_close(c);
    client_close(d);
}
END_TEST

static long long turns(struct client *c)
{
    const char *at = strstr(client_ask(c, "INFO stats")->text, "eventloop_cycles:");
    ck_assert_ptr_nonnull(at);
    return strtoll(at + strlen("eventloop_cycles:"), NULL, 10);
}

/* A client that has more parked than it may is not read while the disk takes its time, and nobody
 * turns round and round meanwhile to see whether it is done. */
START_TEST(test_parked_sleeps)
{
    static char big[1 << 20];
    memset(big, 'v', sizeof big);
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    const char *const set[] = { "SET", "big", big };
    const size_t lens[] = { 3, 3, sizeof big };
    client_send_args(c, 3, set, lens);
    client_expect_next(c, "+OK");
    client_expect(d, "+OK", "DEBUG AOF-FLUSH-SLEEP 1500000");
    client_send(c, "SET k v");
    for (int i = 0; i < 8; i++) {
        client_send(c, "GET big");
    }
    usleep(200000);
    client_send(c, "PING");
    usleep(100000);
    long long before = turns(d);
    usleep(300000);
    ck_assert_int_lt(turns(d) - before, 1000);
    client_expect(d, "+OK", "DEBUG AOF-FLUSH-SLEEP 0");
    client_expect_next(c, "+OK");
    for (int i = 0; i < 8; i++) {
        ck_assert_uint_eq(client_read(c)->len, sizeof big);
    }
    client_expect_next(c, "+PONG");
    client_close(c);
    client_close(d);
}
END_TEST

/* What clients send, and what MONITOR shows of it. The third script uses a key that it did not
 * declare: it begins twice. The first line of each tells of a change. */
#define UNDECLARED "redis.call('set','u','1') redis.call('set','v','1')"
static const struct {
    const char *sent[4], *shown[5];
} monitored[] = {
    { { "SET k v" }, { "\"SET\" \"k\" \"v\"" } },
    { { "MULTI", "SET k v", "GET k", "EXEC" },
      { "\"SET\" \"k\" \"v\"", "\"GET\" \"k\"", "\"EXEC\"" } },
    { { "EVAL \"redis.call('set',KEYS[1],'1') redis.call('echo',redis.call('get',KEYS[1]))\" 1 k" },
      { "\"EVAL\" \"redis.call('set',KEYS[1],'1') redis.call('echo',redis.call('get',KEYS[1]))\" "
        "\"1\" \"k\"",
        "\"set\" \"k\" \"1\"", "\"get\" \"k\"", "\"echo\" \"1\"" } },
    { { "EVAL \"" UNDECLARED "\" 1 u" },
      { "\"EVAL\" \"" UNDECLARED "\" \"1\" \"u\"", "\"set\" \"u\" \"1\"", "\"set\" \"v\" \"1\"" } },
    { { "MULTI", "EVAL \"redis.call('set','k','1')\" 0", "EXEC" },
      { "\"EVAL\" \"redis.call('set','k','1')\" \"0\"", "\"set\" \"k\" \"1\"", "\"EXEC\"" } },
};

/* Functions that come without a key, or behind the change of one. */
#define LIBRARY "#!lua name=l\\nredis.register_function('f', function() return 'called' end)"
static const char *const loads[][4] = {
    { "FUNCTION LOAD \"" LIBRARY "\"" },
    { "MULTI", "SET k v", "FUNCTION LOAD \"" LIBRARY "\"", "EXEC" },
    { "FUNCTION RESTORE " },
    { "MULTI", "SET k v", "FUNCTION RESTORE ", "EXEC" },
};

/* What a function that was just loaded returns is heard when a crash does not take it back. */
START_TEST(test_functions_wait)
{
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    client_expect(c, "\"l\"", "FUNCTION LOAD \"" LIBRARY "\"");
    (void)client_ask(c, "FUNCTION DUMP");
    struct resp *dump = client_take(c);
    client_expect(c, "+OK", "FUNCTION FLUSH");
    client_expect(d, "+OK", "DEBUG AOF-FLUSH-SLEEP 300000");
    long long before = durable_lsn(d);
    for (unsigned i = 0; i < 4 && loads[_i][i] != NULL; i++) {
        if (strcmp(loads[_i][i], "FUNCTION RESTORE ") == 0) {
            const char *const argv[] = { "FUNCTION", "RESTORE", dump->text };
            const size_t lens[] = { 8, 7, dump->len };
            client_send_args(c, 3, argv, lens);
        } else {
            client_send(c, "%s", loads[_i][i]);
        }
    }
    const char *line = client_line(d, "FCALL f 0");
    while (strcmp(line, "\"called\"") != 0) { /* it is not there yet */
        ck_assert_str_eq(line, "-ERR Function not found");
        line = client_line(d, "FCALL f 0");
    }
    ck_assert_int_gt(durable_lsn(d), before);
    resp_free(dump);
    client_close(c);
    client_close(d);
}
END_TEST

static const char *shown(struct client *m)
{
    const char *line = client_read(m)->text;
    const char *what = strstr(line, "] ");
    ck_assert_msg(what != NULL, "%s", line);
    return what + 2;
}

/* A line of MONITOR tells that a command ran, and with what: when it comes, a crash does not take
 * that back. It comes once. */
START_TEST(test_monitor_waits)
{
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv), *d = server_connect(&kv), *m = server_connect(&kv);
    client_expect(c, "+OK", "SET before 1");
    client_expect(d, "+OK", "DEBUG AOF-FLUSH-SLEEP 300000");
    client_expect(m, "+OK", "MONITOR");
    long long before = durable_lsn(d);
    unsigned sent = 0;
    for (; sent < 4 && monitored[_i].sent[sent] != NULL; sent++) {
        client_send(c, "%s", monitored[_i].sent[sent]);
    }
    for (unsigned i = 0; i < 5 && monitored[_i].shown[i] != NULL;) {
        const char *line = shown(m);
        if (strcmp(line, "\"MULTI\"") == 0 || strstr(line, "INFO") != NULL) {
            continue;
        }
        ck_assert_str_eq(line, monitored[_i].shown[i++]);
        ck_assert_int_gt(durable_lsn(d), before);
    }
    for (unsigned i = 0; i < sent; i++) {
        client_read(c);
    }
    client_expect(c, "\"end\"", "ECHO end");
    const char *line = shown(m);
    while (strstr(line, "INFO") != NULL) {
        line = shown(m);
    }
    ck_assert_str_eq(line, "\"ECHO\" \"end\"");
    client_close(m);
    client_close(c);
    client_close(d);
}
END_TEST

/* What tells of another client's command, or what a key is: the requests of one client, what
 * another one asks, and a word that then is in its reply, or is not there any more. */
static const struct {
    const char *sent[3], *asked, *comes, *goes;
} told[] = {
    { { "SET k secret" }, "SLOWLOG GET -1", "secret", NULL },
    { { "MULTI", "SET k secret", "EXEC" }, "SLOWLOG GET -1", "secret", NULL },
    { { "EVAL \"return redis.call('set',KEYS[1],'secret')\" 1 k" },
      "SLOWLOG GET -1",
      "\"set\", \"k\", \"secret\"",
      NULL },
    { { "SET k secret" }, "COMMANDLOG GET -1 LARGE-REQUEST", "secret", NULL },
    { { "SET k secret" }, "COMMANDLOG GET -1 LARGE-REPLY", "secret", NULL },
    { { "SET secret v" }, "HOTKEYS GET", "secret", NULL },
    { { "DEL before" }, "DEBUG OBJECT before", "no such key", NULL },
    { { "DEL before" }, "DEBUG LISTPACK before", "no such key", NULL },
    { { "DEL before" }, "DEBUG HTSTATS-KEY before", "no such key", NULL },
    { { "DEL before" }, "DEBUG HTSTATS 0", NULL, "number of elements" },
};

/* Whoever hears of the change hears of nothing that a crash could take back. The record of EXEC and
 * of a script comes behind the notes of their commands. */
START_TEST(test_told_waits)
{
    server_env(&kv, "KV_FAULTS", "exec.append=delay300:1:1");
    server_start(&kv, "--threads", "2", "--slowlog-log-slower-than", "0",
                 "--commandlog-request-larger-than", "0", "--commandlog-reply-larger-than", "0");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    client_expect(c, "+OK", "SET before 1");
    client_expect(d, "+OK", "HOTKEYS START METRICS 2 CPU NET");
    client_expect(d, "+OK", "DEBUG AOF-FLUSH-SLEEP 300000");
    long long before = durable_lsn(d);
    unsigned sent = 0;
    for (; sent < 3 && told[_i].sent[sent] != NULL; sent++) {
        client_send(c, "%s", told[_i].sent[sent]);
    }
    const char *line = client_line(d, "%s", told[_i].asked);
    while (told[_i].comes != NULL ? strstr(line, told[_i].comes) == NULL
                                  : strstr(line, told[_i].goes) != NULL) {
        line = client_line(d, "%s", told[_i].asked);
    }
    ck_assert_int_gt(durable_lsn(d), before);
    for (unsigned i = 0; i < sent; i++) {
        client_read(c);
    }
    client_close(c);
    client_close(d);
}
END_TEST

/* While the disk is full nothing can be logged, and reads go on: also of what expires, or would be
 * evicted, meanwhile, or would go when it is read. */
START_TEST(test_full_disk_reads)
{
#ifdef KV_FAULTS
    static char big[3 << 20];
    memset(big, 'v', sizeof big);
    const char *const set[] = { "SET", "big", big };
    const size_t lens[] = { 3, 3, sizeof big };
    server_start(&kv, "--threads", "2", "--wal-segment-size", "1mb", "--slowlog-log-slower-than",
                 "0");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    client_expect(c, "+OK", "HOTKEYS START METRICS 1 NET");
    client_expect(c, "+OK", "SET k v PX 1500");
    client_expect(c, "+OK", "SET stays v");
    client_expect(c, "+OK", "DEBUG SET-ACTIVE-EXPIRE %d", _i != 2);
    while (strstr(client_ask(d, "INFO durability")->text, "wal_prepared_segments:2") == NULL) {
        usleep(1000); /* else nothing at all could be written */
    }
    client_expect(d, "+OK", "DEBUG FAULT wal.segment_zero=enospc:0:0");
    client_send_args(d, 3, set, lens);
    server_wait_log(&kv, 0, "no segment can be prepared", 60000);
    while (strcmp(client_line(c, "GET k"), "nil") != 0) {
        usleep(10000);
    }
    usleep(300000); /* time enough to delete it */
    client_expect(c, "nil", "GET k");
    if (_i == 1) {
        client_expect(c, "+OK", "CONFIG SET maxmemory-policy allkeys-random maxmemory 1mb");
        usleep(300000);
    }
    client_expect(c, "\"v\"", "GET stays");
    ck_assert_uint_gt(client_ask(c, "SLOWLOG GET")->count, 0);
    ck_assert_uint_eq(client_ask(c, "HOTKEYS GET")->count, 1);
    client_expect_error(c, "MISCONF", "SET more v");
    client_expect(c, "+OK", "CONFIG SET maxmemory 0");
    client_expect(c, "+OK", "DEBUG FAULT \"\"");
    client_expect_next(d, "+OK");
    client_close(c);
    client_close(d);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

UNIT_SUITE(gates)
{
    TCase *c =
        unit_case_loop(suite, "counts", 120, test_counts_wait, sizeof counts / sizeof counts[0]);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_loop(suite, "functions", 120, test_functions_wait,
                       sizeof loads / sizeof loads[0]);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_loop(suite, "monitor", 120, test_monitor_waits,
                       sizeof monitored / sizeof monitored[0]);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_loop(suite, "told", 120, test_told_waits, sizeof told / sizeof told[0]);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_loop(suite, "full disk", 120, test_full_disk_reads, 3);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_slow(suite, "parked", 120, test_parked_sleeps);
    tcase_add_checked_fixture(c, setup, teardown);
}
