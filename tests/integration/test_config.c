/* test_config.c -- CONFIG SET appendonly and appendfsync while serving: what was acknowledged when,
 * and what is there after a crash at each step.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "server.h"
#include "unit.h"
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct server kv;

static void start(const char *appendonly)
{
    server_start(&kv, "--threads", "4", "--appendonly", appendonly);
    server_wait_ready(&kv);
}

static void setup(void)
{
    server_init(&kv, SERVER_KV);
}

static void teardown(void)
{
    server_kill(&kv);
}

static void expect(struct client *c, const char *want, const char *line)
{
    const char *got = client_line(c, "%s", line);
    ck_assert_msg(strcmp(got, want) == 0, "%s: %s, expected %s", line, got, want);
}

/* ---- Writers: each appends 0, 1, 2, ... to a list of its own and counts what was acknowledged
 * ----
 */

#define WRITERS 4

struct writer {
    pthread_t thread;
    unsigned id;
    _Atomic unsigned acked;
};
static struct writer writers[WRITERS];
static _Atomic bool writers_stop;

/* Two keys in one transaction, so that a record of several shards meets the image, too. */
static void *write_on(void *arg)
{
    struct writer *w = arg;
    struct client *c = client_try_connect(kv.port);
    const struct resp *r;
    while (c != NULL && !atomic_load(&writers_stop)) {
        unsigned n = atomic_load(&w->acked);
        if (!client_try_send(c, "MULTI") || !client_try_send(c, "RPUSH list%u %u", w->id, n) ||
            !client_try_send(c, "SET value%u:%u %u", w->id, n, n) || !client_try_send(c, "EXEC")) {
            break;
        }
        unsigned got = 0;
        while (got < 4 && client_try_read(c, &r) == RESP_OK) {
            got++;
        }
        if (got < 4) {
            break;
        }
        atomic_store(&w->acked, n + 1);
    }
    client_close(c);
    return NULL;
}

static void writers_begin(void)
{
    atomic_store(&writers_stop, false);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i].id = i;
        atomic_store(&writers[i].acked, 0);
        ck_assert_int_eq(pthread_create(&writers[i].thread, NULL, write_on, &writers[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        while (atomic_load(&writers[i].acked) < 20) {
            usleep(1000);
        }
    }
}

static void acked_now(unsigned acked[WRITERS])
{
    for (unsigned i = 0; i < WRITERS; i++) {
        acked[i] = atomic_load(&writers[i].acked);
    }
}

static void writers_end(void)
{
    atomic_store(&writers_stop, true);
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(writers[i].thread, NULL);
    }
}

/* Each list is 0, 1, 2, ... without a gap, at least `acked` long, and its values are there. */
static void check_writers(struct client *c, const unsigned acked[WRITERS])
{
    for (unsigned i = 0; i < WRITERS; i++) {
        const struct resp *r = client_ask(c, "LRANGE list%u 0 -1", i);
        ck_assert_uint_ge(r->count, acked[i]);
        unsigned n = (unsigned)r->count;
        for (unsigned k = 0; k < n; k++) {
            char want[16];
            snprintf(want, sizeof want, "%u", k);
            ck_assert_str_eq(r->at[k]->text, want);
        }
        ck_assert_int_eq(client_int(c, "EXISTS value%u:%u", i, n), 0); /* no half transaction */
        for (unsigned k = 0; k < n; k += 7) {
            char want[16];
            snprintf(want, sizeof want, "\"%u\"", k);
            client_expect(c, want, "GET value%u:%u", i, k);
        }
    }
}

#define KEYS 400

/* Something of every kind that a log can be begun with. */
static void fill(struct client *c)
{
    expect(c, "+OK", "SET text 'some text'");
    expect(c, "+OK", "SET number 12345");
    expect(c, "+OK", "SET due x PXAT 99999999999999");
    expect(c, "+OK", "SET gone x PX 1");
    expect(c, "3", "RPUSH short a 2 c");
    expect(c, "1", "PEXPIREAT short 99999999999998");
    expect(c, "+OK", "SELECT 5");
    expect(c, "+OK", "SET other 5");
    expect(c, "+OK", "SELECT 0");
    for (unsigned i = 0; i < KEYS; i++) {
        client_send(c, "SET key:%u %u", i, i);
        client_send(c, "RPUSH long 'element number %u of a list that has many of them'", i);
    }
    for (unsigned i = 0; i < 2 * KEYS; i++) {
        (void)client_read(c);
    }
}

static void check_fill(struct client *c)
{
    expect(c, "\"some text\"", "GET text");
    expect(c, "\"12345\"", "GET number");
    expect(c, "99999999999999", "PEXPIRETIME due");
    expect(c, "nil", "GET gone");
    expect(c, "[\"a\", \"2\", \"c\"]", "LRANGE short 0 -1");
    expect(c, "99999999999998", "PEXPIRETIME short");
    ck_assert_int_eq(client_int(c, "LLEN long"), KEYS);
    expect(c, "\"element number 123 of a list that has many of them\"", "LINDEX long 123");
    for (unsigned i = 0; i < KEYS; i++) {
        char want[16];
        snprintf(want, sizeof want, "\"%u\"", i);
        client_expect(c, want, "GET key:%u", i);
    }
    expect(c, "+OK", "SELECT 5");
    expect(c, "\"5\"", "GET other");
    expect(c, "+OK", "SELECT 0");
}

/* Histories in the directory of the log. */
static unsigned histories(void)
{
    char path[400];
    snprintf(path, sizeof path, "%s/wal", kv.dir);
    DIR *d = opendir(path);
    unsigned n = 0;
    struct dirent *e;
    while (d != NULL && (e = readdir(d)) != NULL) {
        n += strlen(e->d_name) == 40;
    }
    if (d != NULL) {
        closedir(d);
    }
    return n;
}

/* ---- appendonly no -> yes ---- */

START_TEST(test_on_under_load)
{
    unsigned acked[WRITERS];
    start("no");
    struct client *c = server_connect(&kv);
    fill(c);
    writers_begin();
    expect(c, "+OK", "CONFIG SET appendonly yes");
    usleep(100000);
    client_close(c);
    server_kill(&kv);
    writers_end();
    acked_now(acked); /* before OK: in memory, so in the log; after it: durable */
    start("yes");
    c = server_connect(&kv);
    check_fill(c);
    check_writers(c, acked);
    client_close(c);
}
END_TEST

/* Commands that change the whole keyspace, and keys that move, while it is written. */
START_TEST(test_on_meets_everything)
{
    start("no");
    server_kill(&kv);
    server_env(&kv, "KV_FAULTS", "exec.image=delay4:0:0");
    start("no");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    fill(c);
    client_send(c, "CONFIG SET appendonly yes");
    expect(d, "+OK", "RENAME key:7 renamed");
    client_expect_error(d, "ERR", "CONFIG SET appendfsync no"); /* one change at a time */
    expect(d, "1", "MOVE key:8 9");
    expect(d, "1", "COPY long copy");
    expect(d, "1", "DEL key:9");
    ck_assert_int_eq(client_int(d, "RPUSH long tail"), KEYS + 1);
    expect(d, "14", "APPEND text ' more'");
    expect(d, "+OK", "SWAPDB 5 6");
    expect(d, "+OK", "SET mortal x PX 20");
    ck_assert_str_eq(client_read_line(c), "+OK");
    server_kill(&kv);
    server_env(&kv, "KV_FAULTS", "");
    start("yes");
    client_close(c);
    client_close(d);
    c = server_connect(&kv);
    expect(c, "\"7\"", "GET renamed");
    expect(c, "nil", "GET key:7");
    expect(c, "nil", "GET key:8");
    expect(c, "nil", "GET key:9");
    ck_assert_int_eq(client_int(c, "LLEN copy"), KEYS);
    ck_assert_int_eq(client_int(c, "LLEN long"), KEYS + 1);
    expect(c, "\"some text more\"", "GET text");
    expect(c, "nil", "GET mortal");
    expect(c, "+OK", "SELECT 6");
    expect(c, "\"5\"", "GET other");
    expect(c, "+OK", "SELECT 9");
    expect(c, "\"8\"", "GET key:8");
    client_close(c);
}
END_TEST

static const struct {
    const char *fault;
    bool switched; /* what a start finds afterwards */
} on_kills[] = { { "wal.history=kill", false },        { "server.log_begun=kill", false },
                 { "exec.image=kill", false },         { "exec.image=kill:700", false },
                 { "server.log_imaged=kill", false },  { "server.before_current=kill", false },
                 { "server.after_current=kill", true } };

/* The old log holds `old`; `new` came under appendonly no. */
START_TEST(test_on_killed)
{
    start("yes");
    struct client *c = server_connect(&kv);
    expect(c, "+OK", "SET old 1");
    client_close(c);
    server_stop(&kv);
    server_env(&kv, "KV_FAULTS", on_kills[_i].fault);
    start("no");
    c = server_connect(&kv);
    expect(c, "\"1\"", "GET old"); /* the log of the directory is not ignored */
    expect(c, "+OK", "SET new 2");
    fill(c);
    writers_begin();
    const struct resp *r;
    ck_assert(client_try_send(c, "CONFIG SET appendonly yes"));
    ck_assert_int_ne(client_try_read(c, &r), RESP_OK);
    client_close(c);
    ck_assert(WIFSIGNALED(server_wait_exit(&kv, 20000)));
    writers_end();
    server_env(&kv, "KV_FAULTS", "");
    start(_i % 2 == 0 ? "yes" : "no");
    c = server_connect(&kv);
    expect(c, "\"1\"", "GET old");
    expect(c, on_kills[_i].switched ? "\"2\"" : "nil", "GET new");
    if (on_kills[_i].switched) {
        unsigned none[WRITERS] = { 0 };
        check_fill(c);
        check_writers(c, none);
    }
    client_close(c);
}
END_TEST

static const char *const on_failures[] = { "wal.history=enospc", "server.log_begun=eio",
                                           "exec.image=fail:300", "server.log_imaged=eio",
                                           "server.before_current=eio" };

START_TEST(test_on_fails)
{
    unsigned acked[WRITERS];
    server_env(&kv, "KV_FAULTS", on_failures[_i]);
    start("no");
    struct client *c = server_connect(&kv);
    fill(c);
    writers_begin();
    client_expect_error(c, "ERR CONFIG SET failed", "CONFIG SET appendonly yes maxclients 777");
    expect(c, "[\"appendonly\", \"no\"]", "CONFIG GET appendonly");
    expect(c, "[\"maxclients\", \"10000\"]", "CONFIG GET maxclients"); /* all or none */
    ck_assert_uint_le(histories(), 1);                                 /* what was begun is gone */
    acked_now(acked);
    for (unsigned i = 0; i < WRITERS; i++) { /* service goes on; the case's time limit ends it */
        while (atomic_load(&writers[i].acked) <= acked[i]) {
            usleep(1000);
        }
    }
    expect(c, "+OK", "CONFIG SET appendonly yes"); /* the fault happens once */
    client_close(c);
    server_kill(&kv);
    writers_end();
    acked_now(acked);
    server_env(&kv, "KV_FAULTS", "");
    start("yes");
    c = server_connect(&kv);
    check_fill(c);
    check_writers(c, acked);
    client_close(c);
}
END_TEST

/* ---- appendonly yes -> no ---- */

static const char *const off_kills[] = { "", "server.log_closing=kill", "server.log_closed=kill",
                                         "wal.seal=kill" };

START_TEST(test_off_under_load)
{
    unsigned acked[WRITERS];
    server_env(&kv, "KV_FAULTS", off_kills[_i]);
    start("yes");
    struct client *c = server_connect(&kv);
    fill(c);
    writers_begin();
    acked_now(acked);
    const struct resp *r;
    ck_assert(client_try_send(c, "CONFIG SET appendonly no"));
    bool answered = client_try_read(c, &r) == RESP_OK;
    if (answered) {
        expect(c, "+OK", "SET unlogged 1");
        expect(c, "[\"appendonly\", \"no\"]", "CONFIG GET appendonly");
    }
    client_close(c);
    server_kill(&kv);
    writers_end();
    server_env(&kv, "KV_FAULTS", "");
    for (unsigned again = 0; again < 2; again++) { /* neither setting ignores what is there */
        start(again == 0 ? "no" : "yes");
        c = server_connect(&kv);
        check_fill(c);
        check_writers(c, acked);
        expect(c, "nil", "GET unlogged");
        client_close(c);
        server_stop(&kv);
    }
}
END_TEST

START_TEST(test_off_and_on_again)
{
    start("yes");
    struct client *c = server_connect(&kv);
    expect(c, "+OK", "SET a 1");
    for (unsigned i = 0; i < 5; i++) {
        expect(c, "+OK", "CONFIG SET appendonly no");
        ck_assert_int_eq(client_int(c, "INCR unlogged"), i + 1);
        expect(c, "+OK", "CONFIG SET appendonly yes appendfsync everysec");
        expect(c, "+OK", "CONFIG SET appendfsync always");
        ck_assert_int_eq(client_int(c, "INCR logged"), i + 1);
    }
    client_close(c);
    server_kill(&kv);
    start("yes");
    c = server_connect(&kv);
    expect(c, "\"1\"", "GET a");
    expect(c, "\"5\"", "GET unlogged");
    expect(c, "\"5\"", "GET logged");
    client_close(c);
}
END_TEST

/* ---- appendfsync ---- */

START_TEST(test_sync_under_load)
{
    static const char *const modes[] = { "everysec", "no", "always", "no", "everysec", "always" };
    unsigned acked[WRITERS];
    start("yes");
    struct client *c = server_connect(&kv);
    fill(c);
    writers_begin();
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        client_expect(c, "+OK", "CONFIG SET appendfsync %s", modes[i]);
        char want[64];
        snprintf(want, sizeof want, "[\"appendfsync\", \"%s\"]", modes[i]);
        expect(c, want, "CONFIG GET appendfsync");
        snprintf(want, sizeof want, "durability:%s\r\n", modes[i]);
        ck_assert_ptr_nonnull(strstr(client_ask(c, "INFO durability")->text, want));
        usleep(30000);
    }
    client_close(c);
    server_kill(&kv);
    writers_end();
    acked_now(acked);
    start("yes");
    c = server_connect(&kv);
    check_fill(c);
    check_writers(c, acked);
    client_close(c);
}
END_TEST

/* Killed in the switch: what `always` acknowledged before it is there. */
START_TEST(test_sync_killed)
{
    unsigned acked[WRITERS];
    server_env(&kv, "KV_FAULTS", _i == 0 ? "wal.switch=kill" : "wal.seal=kill");
    start("yes");
    struct client *c = server_connect(&kv);
    writers_begin();
    acked_now(acked);
    const struct resp *r;
    ck_assert(client_try_send(c, "CONFIG SET appendfsync everysec"));
    ck_assert_int_ne(client_try_read(c, &r), RESP_OK);
    client_close(c);
    ck_assert(WIFSIGNALED(server_wait_exit(&kv, 20000)));
    writers_end();
    server_env(&kv, "KV_FAULTS", "");
    start("yes");
    c = server_connect(&kv);
    check_writers(c, acked);
    client_close(c);
}
END_TEST

START_TEST(test_transactions_do_not_wait)
{
    start("yes");
    struct client *c = server_connect(&kv);
    expect(c, "+OK", "MULTI");
    expect(c, "+QUEUED", "CONFIG SET appendonly no maxclients 500");
    expect(c, "+QUEUED", "CONFIG SET appendonly yes"); /* no change: nothing to wait for */
    const struct resp *r = client_ask(c, "EXEC");
    ck_assert_uint_eq(r->count, 2);
    ck_assert_int_eq(r->at[0]->type, RESP_ERROR);
    ck_assert_str_eq(r->at[1]->text, "OK");
    expect(c, "[\"maxclients\", \"10000\"]", "CONFIG GET maxclients");
    expect(c, "[\"appendonly\", \"yes\"]", "CONFIG GET appendonly");
    expect(c, "+OK", "SET a 1");
    client_close(c);
}
END_TEST

/* The replies of a pipeline keep their order round one that comes later. */
START_TEST(test_pipeline_keeps_order)
{
    start("yes");
    struct client *c = server_connect(&kv);
    client_send(c, "SET a 1");
    client_send(c, "CONFIG SET appendfsync no");
    client_send(c, "INCR a");
    client_send(c, "CONFIG SET appendonly no");
    client_send(c, "INCR a");
    client_expect_next(c, "+OK");
    client_expect_next(c, "+OK");
    client_expect_next(c, "2");
    client_expect_next(c, "+OK");
    client_expect_next(c, "3");
    client_close(c);
}
END_TEST

/* The end of a pause does not let go on whom only the reply that comes later may let go on. */
START_TEST(test_pause_ends_meanwhile)
{
    server_env(&kv, "KV_FAULTS", "exec.image=delay1:0:0");
    start("no");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    client_send(c, "CONFIG SET appendonly yes");
    client_send(c, "PING");
    while (strstr(client_ask(d, "CLIENT LIST")->text, " flags=b ") == NULL) {
        usleep(1000);
    }
    expect(d, "+OK", "CLIENT PAUSE 60000 WRITE");
    expect(d, "+OK", "CLIENT UNPAUSE");
    client_expect_next(c, "+OK");
    client_expect_next(c, "+PONG");
    ck_assert_ptr_nonnull(strstr(client_ask(d, "INFO clients")->text, "blocked_clients:0"));
    client_close(c);
    client_close(d);
}
END_TEST

/* A log that failed leaves no gate behind that its successor would have to reach. */
START_TEST(test_on_after_failure)
{
    server_env(&kv, "KV_FAULTS", "exec.image=delay1:0:0,server.log_imaged=eio");
    start("no");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    client_send(c, "CONFIG SET appendonly yes");
    while (strstr(client_ask(d, "INFO durability")->text, "wal_appended_lsn") == NULL) {
        usleep(1000);
    }
    for (unsigned i = 0; i < 100; i++) {
        client_expect(d, "+OK", "SET k %02000u", i);
    }
    ck_assert_int_eq(client_read(c)->type, RESP_ERROR);
    expect(c, "+OK", "CONFIG SET appendonly yes");
    expect(d, "nil*", "BLPOP none 0.1");
    client_close(c);
    client_close(d);
}
END_TEST

/* While the log of `always` is loaded under these directives: a change is refused, or, when that is
 * over already, it is made. */
static const struct {
    const char *appendonly, *appendfsync, *set;
} while_loading[] = { { "no", "always", "appendonly yes" },
                      { "yes", "everysec", "appendfsync always" },
                      { "yes", "always", "appendonly no" } };

START_TEST(test_while_loading)
{
    const char *on = while_loading[_i].appendonly, *sync = while_loading[_i].appendfsync;
    start("yes");
    struct client *c = server_connect(&kv);
    expect(c, "+OK", "SET k 1");
    client_close(c);
    server_kill(&kv);
    server_env(&kv, "KV_FAULTS", "wal.repair=delay3000");
    ck_assert_int_eq(server_try_start(&kv, "--appendonly", on, "--appendfsync", sync), 0);
    c = server_connect(&kv);
    const char *got = client_line(c, "CONFIG SET %s maxclients 700", while_loading[_i].set);
    bool set = strcmp(got, "+OK") == 0;
    ck_assert_msg(set || strcmp(got, "-ERR CONFIG SET failed - the log is being loaded") == 0, "%s",
                  got);
    expect(c, set ? "[\"maxclients\", \"700\"]" : "[\"maxclients\", \"10000\"]",
           "CONFIG GET maxclients");
    if (!set) { /* as it is, in other words */
        client_expect(c, "+OK", "CONFIG SET appendonly %s appendfsync %s", on,
                      strcmp(sync, "always") == 0 ? "ALWAYS" : sync);
    }
    server_wait_ready(&kv);
    char mode[40];
    snprintf(mode, sizeof mode, "durability:%s\r\n",
             strstr(client_line(c, "CONFIG GET appendonly"), "yes") == NULL       ? "none"
             : strstr(client_line(c, "CONFIG GET appendfsync"), "always") != NULL ? "always"
                                                                                  : "everysec");
    const char *info = client_ask(c, "INFO durability")->text;
    ck_assert_msg(strstr(info, mode) != NULL, "no %s in %s", mode, info);
    client_close(c);
}
END_TEST

#define LOOP(name, tc, array)  \
    tcase_add_checked_fixture( \
        unit_case_loop(suite, name, 120, tc, sizeof array / sizeof array[0]), setup, teardown)

UNIT_SUITE(config_set)
{
    TCase *c =
        unit_case_slow(suite, "log switches", 120, test_on_under_load, test_on_meets_everything,
                       test_off_and_on_again, test_sync_under_load, test_transactions_do_not_wait,
                       test_pipeline_keeps_order, test_pause_ends_meanwhile, test_on_after_failure);
    tcase_add_checked_fixture(c, setup, teardown);
    LOOP("on, killed", test_on_killed, on_kills);
    LOOP("on, failed", test_on_fails, on_failures);
    LOOP("off", test_off_under_load, off_kills);
    LOOP("while loading", test_while_loading, while_loading);
    static const int sync_kills[2];
    LOOP("sync, killed", test_sync_killed, sync_kills);
}
