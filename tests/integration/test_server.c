/* test_server.c -- A whole server as a user meets it: commands through every layer, crash and
 * restart, refusals. SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/clock.h"
#include "server.h"
#include "unit.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

SERVER_FIXTURE("--threads", "4")

static void expect(struct client *c, const char *want, const char *line)
{
    const char *got = client_line(c, "%s", line);
    ck_assert_msg(strcmp(got, want) == 0, "%s: %s, expected %s", line, got, want);
}

static void restart_after_kill(void)
{
    server_kill(&kv);
    server_start(&kv, "--threads", "4");
    server_wait_ready(&kv);
}

START_TEST(test_strings_survive_kill)
{
    struct client *c = server_connect(&kv);
    expect(c, "+OK", "SET a 1");
    expect(c, "2", "INCR a");
    expect(c, "+OK", "MSET b 2 c 3 d 4");
    expect(c, "1", "DEL d");
    expect(c, "1", "PEXPIREAT c 99999999999999");
    expect(c, "+OK", "SELECT 3");
    expect(c, "+OK", "SET other x");
    client_close(c);
    restart_after_kill();
    c = server_connect(&kv);
    expect(c, "\"2\"", "GET a");
    expect(c, "\"2\"", "GET b");
    expect(c, "nil", "GET d");
    expect(c, "99999999999999", "PEXPIRETIME c");
    expect(c, "+OK", "SELECT 3");
    expect(c, "\"x\"", "GET other");
    client_close(c);
}
END_TEST

START_TEST(test_lists_and_multi_survive_kill)
{
    struct client *c = server_connect(&kv);
    expect(c, "3", "RPUSH l a b c");
    expect(c, "\"a\"", "LPOP l");
    expect(c, "+OK", "MULTI");
    expect(c, "+QUEUED", "RPUSH l d");
    expect(c, "+QUEUED", "SET s 1");
    expect(c, "+QUEUED", "LMOVE l m LEFT RIGHT");
    expect(c, "[3, +OK, \"b\"]", "EXEC");
    client_close(c);
    restart_after_kill();
    c = server_connect(&kv);
    expect(c, "[\"c\", \"d\"]", "LRANGE l 0 -1");
    expect(c, "[\"b\"]", "LRANGE m 0 -1");
    expect(c, "\"1\"", "GET s");
    client_close(c);
}
END_TEST

/* Writers that note what was acknowledged; the server is killed under them. */
struct writer {
    pthread_t thread;
    unsigned id, acked;
};

static void *write_until_killed(void *arg)
{
    struct writer *w = arg;
    struct client *c = client_try_connect(kv.port);
    const struct resp *r;
    while (c != NULL && client_try_send(c, "SET w%u:%u %u", w->id, w->acked, w->acked) &&
           client_try_read(c, &r) == 0) {
        w->acked++;
    }
    client_close(c);
    return NULL;
}

#define WRITERS 8

START_TEST(test_kill_under_load)
{
    struct writer w[WRITERS] = { 0 };
    for (unsigned i = 0; i < WRITERS; i++) {
        w[i].id = i;
        ck_assert_int_eq(pthread_create(&w[i].thread, NULL, write_until_killed, &w[i]), 0);
    }
    usleep(300000 + (useconds_t)(unit_seed() % 300000));
    server_kill(&kv);
    unsigned total = 0;
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(w[i].thread, NULL);
        total += w[i].acked;
    }
    ck_assert_uint_gt(total, 0);
    server_start(&kv, "--threads", "4");
    server_wait_ready(&kv);
    struct client *c = server_connect(&kv);
    for (unsigned i = 0; i < WRITERS; i++) {
        for (unsigned k = 0; k < w[i].acked; k++) {
            ck_assert_msg(client_int(c, "EXISTS w%u:%u", i, k) == 1,
                          "acknowledged w%u:%u of %u is lost", i, k, w[i].acked);
        }
        ck_assert_int_eq(client_int(c, "EXISTS w%u:%u", i, w[i].acked + 1), 0); /* never sent */
    }
    client_close(c);
}
END_TEST

START_TEST(test_blocking_across_connections)
{
    struct client *a = server_connect(&kv), *b = server_connect(&kv), *c = server_connect(&kv);
    client_send(a, "BLPOP q 0");
    client_expect_nothing(a, 100);
    client_send(b, "BLPOP other q 0");
    client_expect_nothing(b, 100);
    expect(c, "1", "RPUSH q 1");
    ck_assert_str_eq(client_read_line(a), "[\"q\", \"1\"]"); /* first blocked, first served */
    client_expect_nothing(b, 50);
    expect(c, "1", "RPUSH q 2");
    ck_assert_str_eq(client_read_line(b), "[\"q\", \"2\"]");
    client_send(a, "BLMOVE src dst LEFT RIGHT 0");
    client_expect_nothing(a, 100);
    expect(c, "2", "RPUSH src x y");
    ck_assert_str_eq(client_read_line(a), "\"x\"");
    expect(c, "[\"x\"]", "LRANGE dst 0 -1");
    ck_assert_str_eq(client_line(a, "BLPOP nothing 0.05"), "nil*");
    client_close(a);
    client_close(b);
    client_close(c);
}
END_TEST

START_TEST(test_watch)
{
    struct client *a = server_connect(&kv), *b = server_connect(&kv);
    expect(a, "+OK", "SET k 1");
    expect(a, "+OK", "WATCH k");
    expect(b, "+OK", "SET k 2");
    expect(a, "+OK", "MULTI");
    expect(a, "+QUEUED", "SET k 3");
    expect(a, "nil*", "EXEC");
    expect(a, "\"2\"", "GET k");
    expect(a, "+OK", "WATCH k");
    expect(a, "+OK", "MULTI");
    expect(a, "+QUEUED", "SET k 4");
    expect(a, "[+OK]", "EXEC");
    expect(a, "+OK", "WATCH k");
    expect(b, "+OK", "FLUSHALL");
    expect(a, "+OK", "MULTI");
    expect(a, "+QUEUED", "PING");
    expect(a, "nil*", "EXEC");
    client_close(a);
    client_close(b);
}
END_TEST

START_TEST(test_pubsub)
{
    struct client *a = server_connect(&kv), *b = server_connect(&kv);
    ck_assert_str_eq(client_line(a, "SUBSCRIBE ch"), "[\"subscribe\", \"ch\", 1]");
    ck_assert_str_eq(client_line(a, "PSUBSCRIBE c*"), "[\"psubscribe\", \"c*\", 2]");
    ck_assert_int_eq(client_int(b, "PUBLISH ch hello"), 2);
    ck_assert_str_eq(client_read_line(a), "[\"message\", \"ch\", \"hello\"]");
    ck_assert_str_eq(client_read_line(a), "[\"pmessage\", \"c*\", \"ch\", \"hello\"]");
    expect(b, "+OK", "CONFIG SET notify-keyspace-events KEA");
    ck_assert_str_eq(client_line(a, "PSUBSCRIBE __keyevent@0__:*"),
                     "[\"psubscribe\", \"__keyevent@0__:*\", 3]");
    expect(b, "+OK", "SET ev 1 PX 30");
    ck_assert_str_eq(client_read_line(a),
                     "[\"pmessage\", \"__keyevent@0__:*\", \"__keyevent@0__:set\", \"ev\"]");
    ck_assert_str_eq(client_read_line(a),
                     "[\"pmessage\", \"__keyevent@0__:*\", \"__keyevent@0__:expire\", \"ev\"]");
    ck_assert_str_eq(client_read_line(a),
                     "[\"pmessage\", \"__keyevent@0__:*\", \"__keyevent@0__:expired\", \"ev\"]");
    expect(b, "0", "EXISTS ev");
    client_close(a);
    client_close(b);
}
END_TEST

/* Many hear one channel, on all reactors; some of them leave, others come. */
START_TEST(test_pubsub_many)
{
    enum { MANY = 21 };
    struct client *b = server_connect(&kv), *c[MANY];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < MANY; i++) {
            if (round == 0 || i % 3 == round) {
                c[i] = server_connect(&kv);
                ck_assert_str_eq(client_line(c[i], "SUBSCRIBE ch"), "[\"subscribe\", \"ch\", 1]");
            }
        }
        ck_assert_int_eq(client_int(b, "PUBLISH ch %u", round), MANY);
        for (unsigned i = 0; i < MANY; i++) {
            ck_assert_int_eq(client_ask(c[i], "PING")->at[2]->text[0], '0' + (int)round);
            ck_assert_str_eq(client_read(c[i])->at[0]->text, "pong");
            if (i % 3 == round + 1) {
                ck_assert_str_eq(client_line(c[i], "UNSUBSCRIBE"), "[\"unsubscribe\", \"ch\", 0]");
                client_close(c[i]);
            }
        }
        ck_assert_int_eq(client_int(b, "PUBLISH ch x"), round < 2 ? MANY - MANY / 3 : MANY);
        for (unsigned i = 0; i < MANY; i++) {
            if (i % 3 != round + 1) {
                ck_assert_str_eq(client_read(c[i])->at[2]->text, "x");
            }
        }
    }
    for (unsigned i = 0; i < MANY; i++) {
        client_close(c[i]);
    }
    client_close(b);
}
END_TEST

START_TEST(test_config)
{
    struct client *c = server_connect(&kv);
    expect(c, "+OK", "CONFIG SET maxmemory 10mb timeout 5");
    expect(c, "[\"maxmemory\", \"10485760\"]", "CONFIG GET maxmemory");
    ck_assert(client_line_starts(c,
                                 "-ERR CONFIG SET failed (possibly related to argument 'timeout')",
                                 "CONFIG SET maxmemory 1 timeout x"));
    expect(c, "[\"maxmemory\", \"10485760\"]", "CONFIG GET maxmemory"); /* all or nothing */
    ck_assert(client_line_starts(c, "-ERR Unknown option", "CONFIG SET nonsense 1"));
    ck_assert(client_line_starts(c, "-ERR CONFIG SET failed", "CONFIG SET threads 2"));
    client_close(c);
}
END_TEST

START_TEST(test_password)
{
    struct client *a = server_connect(&kv);
    expect(a, "+OK", "CONFIG SET requirepass secret");
    struct client *b = server_connect(&kv);
    ck_assert(client_line_starts(b, "-NOAUTH", "GET k"));
    ck_assert(client_line_starts(b, "-WRONGPASS", "AUTH wrong"));
    expect(b, "+OK", "AUTH secret");
    expect(b, "nil", "GET k");
    expect(a, "+OK", "CONFIG SET requirepass ''");
    client_close(a);
    client_close(b);
}
END_TEST

START_TEST(test_refusals)
{
    struct server second;
    server_init(&second, SERVER_KV);
    int status = server_try_start(&second, "--dir", kv.dir);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    ck_assert(server_log_has(&second, "in use by another"));
    server_init(&second, SERVER_KV);
    status = server_try_start(&second, "--no-such-directive", "1");
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    ck_assert(server_log_has(&second, "Bad directive"));
    server_init(&second, SERVER_KV);
    status = server_try_start(&second, "--cluster-enabled", "yes");
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}
END_TEST

START_TEST(test_observers)
{
    struct client *a = server_connect(&kv), *m = server_connect(&kv);
    expect(m, "+OK", "MONITOR");
    expect(a, "+OK", "CONFIG SET slowlog-log-slower-than 0");
    expect(a, "+OK", "SET slow 1");
    ck_assert_ptr_nonnull(strstr(client_read_line(m), "slow"));
    ck_assert_ptr_nonnull(strstr(client_line(a, "SLOWLOG GET 1"), "[\"SET\", \"slow\", \"1\"]"));
    expect(a, "+OK", "CONFIG SET slowlog-log-slower-than -1");
    client_ask(a, "AUTH password");
    ck_assert_ptr_nonnull(strstr(client_read_line(m), "\"AUTH\" \"(redacted)\""));
    client_ask(a, "HELLO 2 AUTH name password SETNAME x");
    const char *line = client_read_line(m);
    ck_assert_ptr_nonnull(strstr(line, "\"AUTH\" \"(redacted)\" \"(redacted)\" "));
    ck_assert_ptr_null(strstr(line, "password"));
    expect(a, "+OK", "SLOWLOG RESET");
    expect(a, "0", "SLOWLOG LEN");
    client_close(a);
    client_close(m);
}
END_TEST

/* A client of MONITOR has nothing to do with keys, and with REPLY OFF it gets no lines. */
START_TEST(test_observer_only)
{
    static const char *const no[] = { "GET a",     "SET a b", "PUBLISH a b", "KEYS *",
                                      "PFCOUNT a", "DBSIZE",  "FLUSHALL",    "EVAL 'return 1' 0" };
    struct client *a = server_connect(&kv), *m = server_connect(&kv);
    expect(m, "+OK", "MONITOR");
    for (unsigned i = 0; i < countof(no); i++) {
        expect(m, "-ERR Replica can't interact with the keyspace", no[i]);
    }
    client_send(m, "CLIENT REPLY OFF");
    while (strstr(client_ask(a, "CLIENT LIST")->text, "cmd=client|reply") == NULL) {
        usleep(1000);
    }
    expect(a, "\"unheard\"", "ECHO unheard");
    client_send(m, "CLIENT REPLY ON");
    const char *line;
    do {
        line = client_read_line(m);
        ck_assert_msg(strstr(line, "unheard") == NULL, "%s", line);
    } while (strcmp(line, "+OK") != 0);
    client_close(m);
    client_close(a);
}
END_TEST

static int64_t changes(struct client *c)
{
    const char *at =
        strstr(client_ask(c, "INFO persistence")->text, "rdb_changes_since_last_save:");
    ck_assert_ptr_nonnull(at);
    return strtoll(at + strlen("rdb_changes_since_last_save:"), NULL, 10);
}

START_TEST(test_counters_move)
{
    struct client *c = server_connect(&kv);
    int64_t before = changes(c);
    expect(c, "+OK", "SET changes 1");
    expect(c, "1", "DEL changes");
    expect(c, "nil", "GET changes");
    ck_assert_int_ge(changes(c), before + 2);
    expect(c, "+OK", "CONFIG SET maxmemory-clients 1gb"); /* then clients are measured */
    while (strstr(client_line(c, "MEMORY STATS"), "\"clients.normal\", 0,") != NULL) {
        usleep(1000);
    }
    expect(c, "+OK", "CONFIG SET maxmemory-clients 0");
    client_close(c);
}
END_TEST

START_TEST(test_eviction)
{
    struct client *c = server_connect(&kv);
    for (unsigned i = 0; i < 2000; i++) {
        ck_assert_str_eq(client_line(c, "SET key:%u %0500u", i, i), "+OK");
    }
    int64_t before = client_int(c, "DBSIZE");
    expect(c, "+OK", "CONFIG SET maxmemory 1");
    ck_assert(client_line_starts(c, "-OOM", "SET more 1"));
    expect(c, "+OK", "CONFIG SET maxmemory-policy allkeys-lru");
    for (unsigned i = 0; i < 20; i++) {
        (void)client_line(c, "SET more 1");
    }
    ck_assert_int_lt(client_int(c, "DBSIZE"), before);
    while (client_int(c, "DBSIZE") > 0) { /* goes on by itself; the case's time limit ends it */
        usleep(1000);
    }
    expect(c, "+OK", "CONFIG SET maxmemory 0");
    client_close(c);
}
END_TEST

/* Few keys in many shards: with enough samples the worst of all goes first. */
START_TEST(test_eviction_order)
{
    static const char *const policies[] = { "volatile-ttl", "allkeys-lru", "allkeys-lfu" };
    struct client *c = server_connect(&kv), *b = server_connect(&kv);
    expect(c, "+OK", "CONFIG SET maxmemory-samples 64 lfu-decay-time 0");
    expect(c, "+OK", "CONFIG SET notify-keyspace-events Ee");
    for (unsigned p = 0; p < countof(policies); p++) {
        ck_assert_str_eq(client_line(c, "CONFIG SET maxmemory-policy %s", policies[p]), "+OK");
        expect(c, "+OK", "FLUSHALL");
        for (unsigned i = 0; i < 20; i++) { /* key:0 is the worst */
            ck_assert_str_eq(client_line(c,
                                         "RESTORE key:%u %u \"\\x00\\xc1\\x10\\x27\\x0a\\x00\\xe4"
                                         "\\xb7\\xca\\x6c\\x86\\x43\\x25\\xd1\" %s %u",
                                         i, 100000000 + 1000000 * i, p == 2 ? "FREQ" : "IDLETIME",
                                         p == 2 ? 10 + 10 * i : 10000000 - 100000 * i),
                             "+OK");
        }
        (void)client_line(b, "SUBSCRIBE __keyevent@0__:evicted");
        expect(c, "+OK", "CONFIG SET maxmemory 1");
        for (unsigned i = 0; i < 20; i++) {
            char told[80];
            snprintf(told, sizeof told, "[\"message\", \"__keyevent@0__:evicted\", \"key:%u\"]", i);
            ck_assert_str_eq(client_read_line(b), told);
        }
        (void)client_line(b, "UNSUBSCRIBE");
        expect(c, "+OK", "CONFIG SET maxmemory 0");
    }
    expect(c, "+OK", "CONFIG SET maxmemory-samples 5 lfu-decay-time 1");
    expect(c, "+OK", "CONFIG SET notify-keyspace-events \"\" maxmemory-policy noeviction");
    client_close(b);
    client_close(c);
}
END_TEST

START_TEST(test_barrier_failure)
{
    struct server s;
    server_init(&s, SERVER_KV);
    server_start(&s, "--threads", "2");
    server_wait_ready(&s);
    struct client *c = server_connect(&s);
    expect(c, "+OK", "SET before 1");
    client_close(c);
    server_stop(&s);
    server_env(&s, "KV_FAULTS", "wal.write=eio:20:1");
    server_start(&s, "--threads", "2");
    unsigned acked = 0;
    c = client_try_connect(s.port);
    const struct resp *r;
    while (c != NULL && acked < 100000 && client_try_send(c, "SET n:%u 1", acked) &&
           client_try_read(c, &r) == 0) {
        acked++;
    }
    client_close(c);
    int status = server_wait_exit(&s, 20000);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 72);
    server_env(&s, "KV_FAULTS", "");
    server_start(&s, "--threads", "2");
    server_wait_ready(&s);
    c = server_connect(&s);
    expect(c, "\"1\"", "GET before");
    for (unsigned i = 0; i < acked; i++) {
        ck_assert_int_eq(client_int(c, "EXISTS n:%u", i), 1);
    }
    client_close(c);
    server_stop(&s);
}
END_TEST

#define SLOW_STEPS 300
#define SLOW_STEP  (size_t)200000

/* `timeout` is for clients that neither send nor read: not for one that reads a long reply slowly,
 * nor for one whose reply waits for the log. */
START_TEST(test_timeout)
{
    struct client *a = server_connect(&kv), *slow = server_connect(&kv);
    struct client *gated = server_connect(&kv), *idle = server_connect(&kv);
    size_t total = SLOW_STEPS * SLOW_STEP, got = 0;
    int small = 65536;
    char *bytes = malloc(total);
    ck_assert_ptr_nonnull(bytes);
    setsockopt(client_fd(slow), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    ck_assert_int_gt(client_int(a, "SETRANGE k %zu x", total - 1), 0);
    client_expect(idle, "+PONG", "PING");
    client_expect(a, "+OK", "DEBUG AOF-FLUSH-SLEEP 5000000");
    client_expect(a, "+OK", "CONFIG SET timeout 2");
    client_send(slow, "GET k");
    for (unsigned i = 0; i < SLOW_STEPS; i++, usleep(20000)) {
        for (size_t step = (i + 1) * SLOW_STEP; got < step;) {
            struct pollfd p = { .fd = client_fd(slow), .events = POLLIN };
            ck_assert_int_eq(poll(&p, 1, 30000), 1);
            ssize_t n = read(p.fd, bytes + got, step - got);
            ck_assert_msg(n > 0, "closed after %zu bytes", got);
            got += (size_t)n;
        }
        if (i == 0) {
            client_send(gated, "SET other 1");
        }
    }
    ck_assert_uint_eq(strtoul(bytes + 1, NULL, 10), total);
    free(bytes);
    client_expect_next(gated, "+OK");
    client_expect_closed(idle);
    client_close(a);
    a = server_connect(&kv);
    client_expect(a, "+OK", "DEBUG AOF-FLUSH-SLEEP 0");
    client_close(idle);
    client_close(gated);
    client_close(slow);
    client_close(a);
}
END_TEST

/* Nor for a monitor. */
START_TEST(test_timeout_monitor)
{
    struct client *a = server_connect(&kv), *m = server_connect(&kv);
    client_expect(a, "+OK", "CONFIG SET timeout 1");
    client_expect(m, "+OK", "MONITOR");
    for (unsigned i = 0; i < 2; i++) { /* one after the other, and no line meanwhile */
        struct client *idle = server_connect(&kv);
        client_expect_closed(idle);
        client_close(idle);
    }
    client_close(a);
    a = server_connect(&kv);
    client_expect(a, "+PONG", "PING");
    ck_assert_ptr_nonnull(strstr(client_read(m)->text, "\"PING\""));
    client_close(m);
    client_close(a);
}
END_TEST

static double info_number(struct client *c, const char *section, const char *field)
{
    const char *at = strstr(client_ask(c, "INFO %s", section)->text, field);
    ck_assert_ptr_nonnull(at);
    return strtod(at + strlen(field), NULL);
}

/* Somebody looks at the counters now and then, also when no client asks. */
START_TEST(test_rates)
{
    static const char *const rates[] = { "instantaneous_ops_per_sec:",
                                         "instantaneous_input_kbps:",
                                         "instantaneous_output_kbps:",
                                         "instantaneous_eventloop_cycles_per_sec:",
                                         "instantaneous_eventloop_duration_usec:",
                                         "eventloop_duration_cmd_sum:" };
    struct client *c = server_connect(&kv);
    int64_t until = clock_mono_ms() + unit_patient_ms(20000);
    for (unsigned i = 0; i < countof(rates); i++) {
        while (info_number(c, "stats", rates[i]) <= 0) {
            ck_assert_msg(clock_mono_ms() < until, "%s stays 0", rates[i]);
            client_expect(c, "+OK", "DEBUG SLEEP 0.001"); /* so that a turn takes its time */
            for (unsigned k = 0; k < 100; k++) {
                client_expect(c, "+OK", "SET k v");
            }
        }
    }
    client_close(c);
}
END_TEST

START_TEST(test_peak_is_seen)
{
    static char big[1 << 20];
    struct client *c = server_connect(&kv);
    double before = info_number(c, "memory", "used_memory:");
    int64_t until = clock_mono_ms() + unit_patient_ms(20000);
    memset(big, 'x', sizeof big - 1);
    do {
        ck_assert_int_lt(clock_mono_ms(), until);
        for (unsigned i = 0; i < 30; i++) {
            client_expect(c, "+OK", "SET k%u %s", i, big);
        }
        usleep(300000);
        client_expect(c, "+OK", "FLUSHALL");
        usleep(500000); /* it is gone when INFO looks itself */
    } while (info_number(c, "memory", "used_memory_peak:") < before + 25e6);
    client_close(c);
}
END_TEST

/* INFO and MEMORY STATS mean the same by overhead. */
START_TEST(test_overhead_is_one)
{
    struct client *c = server_connect(&kv);
    int64_t until = clock_mono_ms() + unit_patient_ms(20000);
    double info = 0, stats = -1, startup = info_number(c, "memory", "used_memory_startup:");
    /* Between both it may have changed, and clients are counted now and then. */
    while (info != stats || info <= startup) {
        ck_assert_msg(clock_mono_ms() < until, "INFO: %.0f, MEMORY STATS: %.0f", info, stats);
        info = info_number(c, "memory", "used_memory_overhead:");
        const char *at = strstr(client_line(c, "MEMORY STATS"), "\"overhead.total\", ");
        ck_assert_ptr_nonnull(at);
        stats = strtod(at + strlen("\"overhead.total\", "), NULL);
    }
    client_close(c);
}
END_TEST

UNIT_SUITE(server)
{
    TCase *tc =
        unit_case(suite, "server", test_strings_survive_kill, test_lists_and_multi_survive_kill,
                  test_kill_under_load, test_blocking_across_connections, test_watch, test_pubsub,
                  test_pubsub_many, test_config, test_password, test_refusals, test_observers,
                  test_observer_only, test_counters_move, test_eviction, test_eviction_order);
    tcase_add_checked_fixture(tc, start, stop);
    unit_case(suite, "faults", test_barrier_failure);
    tc = unit_case_slow(suite, "info", 120, test_rates, test_peak_is_seen, test_overhead_is_one);
    tcase_add_checked_fixture(tc, start, stop);
    tc = unit_case_slow(suite, "timeout", 120, test_timeout, test_timeout_monitor);
    tcase_add_checked_fixture(tc, start, stop);
}
