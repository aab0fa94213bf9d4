/* test_log_begin.c -- Integration tests of a log that begins under load: what it holds when OK is
 * said is what is in memory.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "lib/server.h"
#include "lib/unit.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATABASES 3
#define LISTS     6
#define ELEMENTS  400 /* of 1,000 bytes: large enough to be written outside of the lock */
#define KEYS      40
#define CLIENTS   4

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

static void fill_list(struct client *c, const char *key, unsigned n)
{
    static const char word[1001] = { [0 ... 999] = 'e' };
    for (unsigned i = 0; i < n; i++) {
        client_send(c, "RPUSH %s %u%s", key, i, word);
    }
    for (unsigned i = 0; i < n; i++) {
        ck_assert_int_eq(client_read(c)->type, RESP_INT);
    }
}

/* ---- A random mixture ---- */

struct load {
    pthread_t thread;
    unsigned seed;
};
static _Atomic bool load_ends;

static void random_transaction(char *line, size_t size, unsigned *seed)
{
    unsigned a = (unsigned)rand_r(seed), b = (unsigned)rand_r(seed);
    /* DBSIZE and FLUSHDB make it exclusive. */
    static const char *const middle[] = { "GET k1", "DBSIZE", "SWAPDB 0 1", "FLUSHDB" };
    snprintf(line, size, "MULTI\r\nSET k%u %u\r\n%s\r\nRPUSH list%u x\r\nSET k%u y\r\nEXEC\r\n",
             a % KEYS, b,
             middle[b % 100 == 0  ? 3
                    : b % 50 == 1 ? 2
                                  : b % 2],
             a % LISTS, b % KEYS);
}

static void random_lines(char *line, size_t size, unsigned *seed)
{
    unsigned a = (unsigned)rand_r(seed), b = (unsigned)rand_r(seed), l = a / 7 % LISTS;
    switch (a % 24) {
    case 0: snprintf(line, size, "RPUSH list%u p%u\r\n", l, b); break;
    case 1: snprintf(line, size, "LPOP list%u\r\n", l); break;
    case 2: snprintf(line, size, "LSET list%u 5 s%u\r\n", l, b); break;
    case 3: snprintf(line, size, "LMOVE list%u list%u LEFT RIGHT\r\n", l, b % LISTS); break;
    case 4: snprintf(line, size, "LMOVE list%u k%u RIGHT LEFT\r\n", l, b % KEYS); break;
    case 5: snprintf(line, size, "RENAME list%u list%u\r\n", l, b % LISTS); break;
    case 6: snprintf(line, size, "RENAME k%u k%u\r\n", a / 7 % KEYS, b % KEYS); break;
    case 7: snprintf(line, size, "COPY list%u list%u REPLACE\r\n", l, b % LISTS); break;
    case 8: snprintf(line, size, "COPY list%u list%u DB 2 REPLACE\r\n", l, b % LISTS); break;
    case 9: snprintf(line, size, "MOVE k%u 2\r\n", b % KEYS); break;
    case 10: snprintf(line, size, "MSET k%u 1 k%u 2\r\n", a / 7 % KEYS, b % KEYS); break;
    case 11: snprintf(line, size, "SET k%u v PX %u\r\n", b % KEYS, 1 + a / 7 % 40); break;
    case 12: snprintf(line, size, "PERSIST k%u\r\n", b % KEYS); break;
    case 13: snprintf(line, size, "SELECT %u\r\n", b % DATABASES); break;
    case 14: snprintf(line, size, "SWAPDB 0 %u\r\n", b % 40 == 0 ? 1 : 0); break;
    case 15: snprintf(line, size, "%s\r\n", b % 100 == 0 ? "FLUSHDB" : "DBSIZE"); break;
    case 16: snprintf(line, size, "SETRANGE k%u 2000000 x\r\n", b % KEYS); break;
    case 17: snprintf(line, size, "DEL k%u k%u\r\n", a / 7 % KEYS, b % KEYS); break;
    case 18: random_transaction(line, size, seed); break;
    default: snprintf(line, size, "INCR k%u\r\n", b % KEYS); break;
    }
}

static void *load_run(void *arg)
{
    struct load *l = arg;
    struct client *c = client_connect(kv.port);
    char line[256];
    while (!atomic_load(&load_ends)) {
        unsigned replies = 0;
        random_lines(line, sizeof line, &l->seed);
        for (const char *at = line; (at = strstr(at, "\r\n")) != NULL; at += 2) {
            replies++;
        }
        client_send_raw(c, line, strlen(line));
        while (replies-- > 0) {
            (void)client_read(c);
        }
    }
    client_close(c);
    return NULL;
}

static char *digest(struct client *c)
{
    return strdup(client_line(c, "DEBUG DIGEST"));
}

static const char *const slow[] = { "", "exec.image=delay1:0:0", "exec.image_behind=delay10:0:0",
                                    "exec.image=delay1:0:0,exec.image_behind=delay100:0:5" };

START_TEST(test_begins_under_load)
{
    struct load load[CLIENTS];
    server_env(&kv, "KV_FAULTS", slow[_i]);
    server_start(&kv, "--threads", "4", "--appendonly", "no");
    struct client *c = server_connect(&kv);
    for (unsigned db = 0; db < DATABASES; db++) {
        client_expect(c, "+OK", "SELECT %u", db);
        for (unsigned i = 0; i < LISTS; i++) {
            char key[16];
            snprintf(key, sizeof key, "list%u", i);
            fill_list(c, key, ELEMENTS);
        }
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        load[i].seed = (unsigned)unit_seed() + i;
        ck_assert_int_eq(pthread_create(&load[i].thread, NULL, load_run, &load[i]), 0);
    }
    client_timeout(c, 60000);
    client_expect(c, "+OK", "CONFIG SET appendonly yes");
    usleep(50000);
    atomic_store(&load_ends, true);
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(load[i].thread, NULL);
    }
    usleep(200000); /* what expires has expired */
    char *before = digest(c);
    client_close(c);
    server_kill(&kv);
    server_env(&kv, "KV_FAULTS", "");
    server_start(&kv, "--appendonly", "yes");
    server_wait_ready(&kv);
    c = server_connect(&kv);
    char *after = digest(c);
    ck_assert_str_eq(after, before);
    free(before);
    free(after);
    client_close(c);
}
END_TEST

/* While a large value waits to be written its changes wait behind it, and nobody else: what they
 * queue is bounded. */
START_TEST(test_queue_is_bounded)
{
    static const char mib[1 << 20] = { [0 ...(1 << 20) - 1] = 'm' };
    server_env(&kv, "KV_FAULTS", "exec.image_behind=delay1500:0:1");
    server_start(&kv, "--threads", "4", "--appendonly", "no");
    struct client *c = server_connect(&kv), *w = server_connect(&kv), *r = server_connect(&kv);
    fill_list(c, "list", ELEMENTS);
    client_expect(c, "+OK", "SET other 1");
    client_send(c, "CONFIG SET appendonly yes");
    while (strstr(client_ask(r, "INFO durability")->text, "wal_appended_lsn") == NULL) {
        usleep(1000);
    }
    usleep(200000);
    client_timeout(w, 60000);
    const char *const push[] = { "RPUSH", "list", mib };
    const size_t lens[] = { 5, 4, sizeof mib };
    for (unsigned i = 0; i < 48; i++) {
        client_send_args(w, 3, push, lens);
        client_expect(r, "2", "INCR other");
        client_expect(r, "1", "DECR other");
    }
    for (unsigned i = 0; i < 48; i++) {
        ck_assert_int_eq(client_read(w)->integer, ELEMENTS + 1 + i);
    }
    client_expect_next(c, "+OK");
    char *before = digest(c);
    client_close(c);
    client_close(w);
    client_close(r);
    server_kill(&kv);
    server_start(&kv, "--appendonly", "yes");
    server_wait_ready(&kv);
    c = server_connect(&kv);
    char *after = digest(c);
    ck_assert_str_eq(after, before);
    free(before);
    free(after);
    client_close(c);
}
END_TEST

/* Nothing can be waited for before the log is whole, and everything after. */
START_TEST(test_waitaof_while_it_begins)
{
    server_env(&kv, "KV_FAULTS", "server.log_imaged=delay1000");
    server_start(&kv, "--threads", "2", "--appendonly", "no");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    client_expect(d, "+OK", "SET k v");
    client_send(c, "CONFIG SET appendonly yes");
    while (strstr(client_ask(d, "INFO durability")->text, "wal_appended_lsn") == NULL) {
        usleep(1000);
    }
    client_expect_error(d, "ERR WAITAOF cannot be used", "WAITAOF 1 0 1000");
    client_expect_next(c, "+OK");
    client_expect(d, "[1, 0]", "WAITAOF 1 0 0");
    client_close(c);
    client_close(d);
}
END_TEST

/* Without a prepared segment a full disk means that nothing at all can be written. */
static void wait_prepared(struct client *c)
{
    while (strstr(client_ask(c, "INFO durability")->text, "wal_prepared_segments:2") == NULL) {
        usleep(1000);
    }
}

/* appendonly no: while the disk is full replies wait for the end of the log, also when the server
 * stops meanwhile. Who was told OK finds the key. */
START_TEST(test_stopped_while_it_ends)
{
#ifdef KV_FAULTS
    static char big[3 << 20];
    memset(big, 'v', sizeof big);
    const char *const set[] = { "SET", "k", big };
    const size_t lens[] = { 3, 1, sizeof big };
    server_start(&kv, "--threads", "2", "--wal-segment-size", "1mb");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    client_expect(d, "+OK", "SET before 1");
    wait_prepared(d);
    client_expect(d, "+OK", "DEBUG FAULT wal.segment_zero=enospc:0:0,exec.append=delay2000:1:1");
    client_expect(d, "+OK", "DEBUG AOF-FLUSH-SLEEP 1000000");
    client_send(c, "SET slowly 1");
    usleep(100000);
    client_send(d, "CONFIG SET appendonly no"); /* it waits for that write first */
    usleep(200000);
    client_send_args(c, 3, set, lens); /* and meanwhile there is one more, without space */
    bool ended = false; /* before that write: on a machine that sleeps for a second */
    while (!ended && !server_log_has(&kv, "no segment can be prepared")) {
        ended = server_log_has(&kv, "the log ends at LSN");
        usleep(10000);
    }
    ck_assert_int_eq(kill(kv.pid, SIGTERM), 0);
    const struct resp *r = NULL;
    client_expect_next(c, "+OK");
    bool told = client_try_read(c, &r) == RESP_OK && r->type != RESP_ERROR;
    (void)server_wait_exit(&kv, 30000);
    client_close(c);
    client_close(d);
    server_start(&kv, "--threads", "2");
    server_wait_ready(&kv);
    c = server_connect(&kv);
    client_expect(c, "\"1\"", "GET before");
    ck_assert(!told || ended || client_int(c, "EXISTS k") == 1);
    client_close(c);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

/* Sends d something that needs more space than there is, and waits until the server knows. */
static void fill_disk(struct client *d)
{
    static char big[3 << 20];
    memset(big, 'v', sizeof big);
    const char *const set[] = { "SET", "k", big };
    const size_t lens[] = { 3, 1, sizeof big };
    wait_prepared(d);
    client_expect(d, "+OK", "DEBUG FAULT wal.segment_zero=enospc:0:0");
    client_send_args(d, 3, set, lens);
    server_wait_log(&kv, 0, "no segment can be prepared", 60000);
}

/* appendonly yes: OK says that all that was done before is durable, also when the server stops
 * while the disk has no space for the last of it. */
START_TEST(test_stopped_while_it_begins)
{
#ifdef KV_FAULTS
    server_env(&kv, "KV_FAULTS", "server.after_current=delay2000");
    server_start(&kv, "--threads", "2", "--appendonly", "no", "--wal-segment-size", "1mb");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    char current[400];
    snprintf(current, sizeof current, "%s/wal/CURRENT", kv.dir);
    ck_assert_int_ne(access(current, F_OK), 0);
    client_send(c, "CONFIG SET appendonly yes");
    while (access(current, F_OK) != 0) {
        usleep(1000);
    }
    fill_disk(d);
    const struct resp *r = NULL;
    client_timeout(d, 5000);
    bool before = client_try_read(d, &r) == RESP_OK; /* nothing was promised yet */
    usleep(2000000);
    ck_assert_int_eq(kill(kv.pid, SIGTERM), 0);
    bool told = client_try_read(c, &r) == RESP_OK && r->type != RESP_ERROR;
    (void)server_wait_exit(&kv, 30000);
    client_close(c);
    client_close(d);
    server_env(&kv, "KV_FAULTS", "");
    server_start(&kv, "--threads", "2");
    server_wait_ready(&kv);
    c = server_connect(&kv);
    ck_assert(!told || !before || client_int(c, "EXISTS k") == 1);
    client_close(c);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

static const char *const modes[] = { "always", "everysec", "no" };

/* appendonly no: until nothing more is promised, what is acknowledged survives the end of the
 * process, in every mode. */
START_TEST(test_killed_while_it_ends)
{
#ifdef KV_FAULTS
    server_env(&kv, "KV_FAULTS", "server.log_closing=delay60000");
    server_start(&kv, "--threads", "2", "--appendfsync", modes[_i]);
    struct client *c = server_connect(&kv), *d = server_connect(&kv), *r = server_connect(&kv);
    client_expect(d, "+OK", "SET n 0");
    client_timeout(d, 1000);
    client_send(c, "CONFIG SET appendonly no");
    int64_t told = 0;
    const struct resp *reply = NULL;
    for (unsigned i = 0; i < 200; i++) {
        client_send(d, "INCR n");
        if (client_try_read(d, &reply) != RESP_OK) {
            break;
        }
        told = reply->integer;
        usleep(5000);
    }
    client_send(r, "GET n"); /* nor may others hear of it */
    client_timeout(r, 1000);
    if (client_try_read(r, &reply) == RESP_OK) {
        told = atoll(reply->text) > told ? atoll(reply->text) : told;
    }
    client_close(c);
    client_close(d);
    client_close(r);
    server_kill(&kv);
    server_env(&kv, "KV_FAULTS", "");
    server_start(&kv, "--threads", "2");
    server_wait_ready(&kv);
    c = server_connect(&kv);
    ck_assert_int_ge(atoll(client_ask(c, "GET n")->text), told);
    client_close(c);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

static const char *const by_pattern[] = { "SORT list BY w_* STORE d", "SORT_RO list BY w_*",
                                          "MULTI\r\nSORT list BY w_* GET w_*\r\nEXEC",
                                          "MULTI\r\nSWAPDB 0 1\r\nSELECT 1\r\nSORT_RO list BY "
                                          "w_*\r\nEXEC" };
#define LIVE 2000 /* keys that stay, in all shards */

/* While active expiry is off, the first access deletes: SORT finds keys by a pattern, anywhere, and
 * half of the shards are in the log. */
START_TEST(test_sort_expires_while_it_begins)
{
    server_env(&kv, "KV_FAULTS", "exec.image=delay3000:500:1");
    server_start(&kv, "--threads", "2", "--appendonly", "no");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    client_expect(c, "+OK", "DEBUG SET-ACTIVE-EXPIRE 0");
    for (unsigned i = 0; i < 100; i++) {
        client_expect(c, "+OK", "SET w_%u %u PX 1", i, i);
        client_send(c, "RPUSH list %u", i);
        ck_assert_int_eq(client_read(c)->integer, i + 1);
    }
    for (unsigned i = 0; i < LIVE; i++) {
        client_expect(c, "+OK", "SET live_%u %u", i, i);
    }
    const char *left = _i == 0 ? "2002" : "2001";
    usleep(20000);
    client_expect(c, "2101", "DBSIZE");
    client_send(c, "CONFIG SET appendonly yes");
    while (strstr(client_ask(d, "INFO durability")->text, "wal_appended_lsn") == NULL) {
        usleep(1000);
    }
    usleep(300000);
    client_send_raw(d, by_pattern[_i], strlen(by_pattern[_i]));
    client_send_raw(d, "\r\nPING\r\n", 8);
    while (strcmp(client_read_line(d), "+PONG") != 0) {
    }
    client_expect(d, left, "DBSIZE"); /* of database 1, where that was selected */
    client_expect_next(c, "+OK");
    char *before = digest(c);
    client_close(c);
    client_close(d);
    server_kill(&kv);
    server_env(&kv, "KV_FAULTS", "");
    server_start(&kv, "--appendonly", "yes");
    c = server_connect(&kv);
    char *after = digest(c);
    ck_assert_str_eq(after, before);
    client_expect(c, "+OK", "SELECT %d", _i == 3);
    client_expect(c, left, "DBSIZE");
    free(before);
    free(after);
    client_close(c);
}
END_TEST

UNIT_SUITE(log_begin)
{
    tcase_add_checked_fixture(unit_case_loop(suite, "under load", 300, test_begins_under_load,
                                             sizeof slow / sizeof slow[0]),
                              setup, teardown);
    TCase *c =
        unit_case_slow(suite, "meanwhile", 120, test_queue_is_bounded, test_waitaof_while_it_begins,
                       test_stopped_while_it_ends, test_stopped_while_it_begins);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_loop(suite, "killed", 120, test_killed_while_it_ends,
                       sizeof modes / sizeof modes[0]);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_loop(suite, "keys by a pattern", 120, test_sort_expires_while_it_begins,
                       sizeof by_pattern / sizeof by_pattern[0]);
    tcase_add_checked_fixture(c, setup, teardown);
}
