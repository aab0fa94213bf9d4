/* test_script_slow.c -- While a script takes long: what reactors must do meanwhile keeps none of
 * them from being told to end it, and a transaction with such a script stays alone to its end.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/clock.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENDLESS "EVAL 'while true do end' 0"

static struct server kv;
static struct client *runner; /* whose script it is */

static void start(void)
{
    server_init(&kv, SERVER_KV);
    /* Some scripts end the process, which joins nobody then. */
    server_env(&kv, "TSAN_OPTIONS", "report_thread_leaks=0");
    server_start(&kv, "--threads", "2", "--busy-reply-threshold", "20");
    runner = server_connect(&kv);
}

static void stop(void)
{
    client_close(runner);
    server_stop(&kv);
}

/* New clients go to the reactor that does not run the script. */
static void expect_from_new_client(const char *reply, const char *request)
{
    struct client *c = server_connect(&kv);
    client_expect(c, reply, "%s", request);
    client_close(c);
}

static void wait_busy(struct client *c)
{
    int64_t until = clock_mono_ms() + unit_patient_ms(20000);
    while (strncmp(client_line(c, "GET k"), "-BUSY", 5) != 0) {
        ck_assert_int_lt(clock_mono_ms(), until);
    }
}

/* Both reactors answer and hear what ends the script, for `ms` and at their end. */
static void expect_killable(int ms)
{
    int64_t until = clock_mono_ms() + ms;
    do {
        expect_from_new_client(
            "-BUSY Redis is busy running a script. You can only call SCRIPT KILL "
            "or SHUTDOWN NOSAVE.",
            "GET k");
    } while (clock_mono_ms() < until);
    expect_from_new_client("+OK", "SCRIPT KILL");
    ck_assert(strstr(client_read_line(runner), "Script killed by user") != NULL);
}

enum { EACH = 4 }; /* some are on the reactor that is to answer, whichever that is */

/* Clients whose time is up, or who leave, are in queues that only who has the keyspace may touch.
 */
START_TEST(test_blocked_end)
{
    struct client *timed[EACH], *leaving[EACH], *other = server_connect(&kv);
    for (unsigned i = 0; i < EACH; i++) {
        timed[i] = server_connect(&kv);
        leaving[i] = server_connect(&kv);
        client_send(timed[i], "BLPOP list %s", "0.2");
        client_send(leaving[i], "BLPOP list 0");
    }
    client_send(runner, ENDLESS);
    wait_busy(other);
    for (unsigned i = 0; i < EACH; i++) {
        client_close(leaving[i]);
    }
    expect_killable(500);
    for (unsigned i = 0; i < EACH; i++) {
        const char *got = client_read_line(timed[i]); /* BUSY: the script was first */
        ck_assert_msg(strcmp(got, "nil*") == 0 || strncmp(got, "-BUSY", 5) == 0, "%s", got);
        client_expect(timed[i], "nil", "GET k");
        client_close(timed[i]);
    }
    int64_t until = clock_mono_ms() + unit_patient_ms(20000);
    while (strstr(client_ask(other, "INFO clients")->text, "blocked_clients:0\r") == NULL) {
        ck_assert_int_lt(clock_mono_ms(), until);
    }
    client_expect(other, "1", "RPUSH list x"); /* nobody is there to take it */
    client_expect(other, "[\"x\"]", "LRANGE list 0 -1");
    client_close(other);
}
END_TEST

/* WATCH, and what ends a WATCH: EXEC, DISCARD, UNWATCH, RESET, QUIT, a connection that is closed.
 */
START_TEST(test_watchers)
{
    static const char *const ends[] = { "WATCH j", "UNWATCH", "DISCARD", "RESET", "EXEC", "QUIT" };
    static const char *const reply[] = { "+OK", "+OK", "+OK", "+RESET", "-EXECABORT", "+OK" };
    struct client *c[countof(ends)][EACH], *leaving[EACH], *other = server_connect(&kv);
    for (unsigned i = 0; i < EACH; i++) {
        leaving[i] = server_connect(&kv);
        client_expect(leaving[i], "+OK", "WATCH k");
        for (unsigned e = 0; e < countof(ends); e++) {
            c[e][i] = server_connect(&kv);
            client_expect(c[e][i], "+OK", "WATCH k");
            if (e >= 2 && e <= 4) {
                client_expect(c[e][i], "+OK", "MULTI");
            }
        }
    }
    client_send(runner, ENDLESS);
    wait_busy(other);
    for (unsigned i = 0; i < EACH; i++) {
        client_close(leaving[i]);
        for (unsigned e = 0; e < countof(ends); e++) {
            client_send(c[e][i], "%s", ends[e]);
        }
    }
    expect_killable(100);
    client_expect(other, "+OK", "SET k v");
    for (unsigned e = 0; e < countof(ends); e++) {
        for (unsigned i = 0; i < EACH; i++) {
            const char *got = client_read_line(c[e][i]);
            ck_assert_msg(strncmp(got, reply[e], strlen(reply[e])) == 0, "%s: %s", ends[e], got);
            if (e > 0 && strcmp(ends[e], "QUIT") != 0) { /* k has changed, and it does not matter */
                client_expect(c[e][i], "+OK", "MULTI");
                client_expect(c[e][i], "+QUEUED", "GET k");
                client_expect(c[e][i], "[\"v\"]", "EXEC");
            }
            client_close(c[e][i]);
        }
    }
    client_close(other);
}
END_TEST

/* Clients that come while the script runs are answered, also those that its own reactor was given
 * before anybody knew that it takes long. */
START_TEST(test_new_clients)
{
    struct client *early[EACH], *late[EACH], *c = server_connect(&kv);
    client_expect(c, "+OK", "CONFIG SET busy-reply-threshold 300");
    client_send(runner, ENDLESS);
    for (unsigned i = 0; i < EACH; i++) {
        early[i] = server_connect(&kv);
    }
    for (unsigned i = 0; i < EACH; i++) {
        wait_busy(early[i]);
        late[i] = server_connect(&kv);
    }
    for (unsigned i = 0; i < EACH; i++) {
        client_expect_error(late[i], "BUSY", "GET k");
    }
    expect_killable(0);
    for (unsigned i = 0; i < EACH; i++) {
        client_expect(early[i], "nil", "GET k");
        client_expect(late[i], "nil", "GET k");
        client_close(early[i]);
        client_close(late[i]);
    }
    client_close(c);
}
END_TEST

/* The script itself takes the memory: who wants to end it need not make room first. */
START_TEST(test_over_memory)
{
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "DEBUG POPULATE 10000");
    const char *used = strstr(client_ask(c, "INFO memory")->text, "used_memory:");
    long long now = 0;
    ck_assert(used != NULL && sscanf(used, "used_memory:%lld", &now) == 1);
    client_expect(
        c, "+OK",
        "CONFIG SET maxmemory %lld maxmemory-policy allkeys-random "
        "maxmemory-eviction-tenacity 0", /* a key for each request, so that some are left */
        now + (8 << 20));
    client_send(runner, "EVAL \"local t = {} for i = 1, 20 do t[i] = string.rep('x', 1000000) .. i "
                        "end while true do end\" 0");
    wait_busy(c);
    expect_killable(100);
    client_close(c);
}
END_TEST

/* What comes behind a slow script in its EXEC is still alone: no WATCH gets in between, whose
 * client would then learn of a change that came before all that it has seen. */
START_TEST(test_exec_stays_alone)
{
    struct client *c = server_connect(&kv);
    client_expect(runner, "+OK", "MULTI");
    client_expect(runner, "+QUEUED",
                  "EVAL \"local t = os.clock() + 0.3 while os.clock() < t do end\" 0");
    client_expect(runner, "+QUEUED", "DEBUG SLEEP 0.2");
    client_expect(runner, "+QUEUED", "SET k v");
    client_send(runner, "EXEC");
    wait_busy(c);
    client_expect(c, "+OK", "WATCH k");
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "GET k");
    client_expect(c, "[\"v\"]", "EXEC");
    client_expect_next(runner, "[nil, +OK, +OK]");
    client_close(c);
}
END_TEST

/* Only with NOSAVE does it end the script, as the error says. */
static void expect_busy_shutdown(struct client *c)
{
    static const char *const words[] = { "", "SAVE", "NOW", "FORCE", "now force save" };
    for (unsigned i = 0; i < countof(words); i++) {
        client_expect(c,
                      "-BUSY Redis is busy running a script. You can only call SCRIPT KILL "
                      "or SHUTDOWN NOSAVE.",
                      "SHUTDOWN %s", words[i]);
    }
}

/* The script's own reactor answers so, too. */
START_TEST(test_shutdown_refused)
{
    struct client *c;
    client_close(runner);
    server_stop(&kv);
    server_start(&kv, "--threads", "1", "--busy-reply-threshold", "20");
    runner = server_connect(&kv);
    c = server_connect(&kv);
    client_send(runner, ENDLESS);
    wait_busy(c);
    expect_busy_shutdown(c);
    client_send(c, "SHUTDOWN NOW NOSAVE");
    ck_assert_int_eq(server_wait_exit(&kv, unit_patient_ms(20000)), 0);
    client_close(c);
}
END_TEST

static void only_ids(const struct resp *list, char *to, size_t size)
{
    size_t n = 0;
    for (const char *at = strstr(list->text, "id="); at != NULL; at = strstr(at + 1, "\nid=")) {
        at = strstr(at, "id=");
        n += (size_t)snprintf(to + n, size - n, "%.*s,", (int)strcspn(at, " "), at);
    }
}

/* Nor do clients come or go meanwhile: what was let go on by the script has stopped. The other
 * reactor is in a turn with writes that take long when the script ends, and at the end of that turn
 * it frees those that have left. */
START_TEST(test_exec_sees_same_clients)
{
    enum { PINGS = 4, LEAVING = 160, ROUNDS = 40 };
    struct client *ping[PINGS], *leaving[LEAVING], *c = server_connect(&kv);
    for (unsigned i = 0; i < PINGS; i++) {
        ping[i] = server_connect(&kv);
    }
    for (unsigned i = 0; i < LEAVING; i++) {
        leaving[i] = server_connect(&kv);
    }
    client_expect(runner, "+OK", "MULTI");
    client_expect(runner, "+QUEUED",
                  "EVAL \"local t = os.clock() + 0.3 while os.clock() < t do end\" 0");
    client_expect(runner, "+QUEUED", "CLIENT LIST");
    client_expect(runner, "+QUEUED", "DEBUG SLEEP 1");
    client_expect(runner, "+QUEUED", "CLIENT LIST");
    client_expect(c, "+OK", "DEBUG FAULT net.write=delay60:0:0");
    client_send(runner, "EXEC");
    wait_busy(c);
    for (unsigned round = 0, left = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < PINGS; i++) {
            client_send(ping[i], "PING");
        }
        for (unsigned i = 0; i < LEAVING / ROUNDS; i++) {
            client_close(leaving[left++]);
        }
        usleep(20000);
    }
    static char first[10000], second[10000];
    const struct resp *r = client_read(runner);
    ck_assert_uint_eq(r->count, 4);
    only_ids(r->at[1], first, sizeof first);
    only_ids(r->at[3], second, sizeof second);
    ck_assert_str_eq(first, second);
    for (unsigned i = 0; i < PINGS; i++) {
        client_close(ping[i]);
    }
    client_close(c);
}
END_TEST

/* SHUTDOWN in the middle of a script that has written: what was answered before is there, whatever
 * appendfsync is, and of the script nothing. */
START_TEST(test_shutdown)
{
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "CONFIG SET appendfsync everysec");
    client_expect(c, "+OK", "DEBUG AOF-FLUSH-SLEEP 2000000");
    client_expect(c, "+OK", "SET k v");
    client_send(runner, "EVAL \"redis.call('set', KEYS[1], 'x') while true do end\" 1 half");
    wait_busy(c);
    expect_busy_shutdown(c);
    client_expect(c, "-ERR syntax error", "SHUTDOWN SAVE NOSAVE");
    client_send(c, "SHUTDOWN NOSAVE");
    ck_assert_int_eq(server_wait_exit(&kv, unit_patient_ms(20000)), 0);
    client_close(c);
    server_start(&kv, NULL);
    c = server_connect(&kv);
    client_expect(c, "[\"v\", nil]", "MGET k half");
    client_close(c);
}
END_TEST

/* maxmemory-clients wants a section before a reactor sleeps, again and again while clients that may
 * not be evicted are above it. A script that begins meanwhile, and is not known to be long yet,
 * keeps no reactor waiting for it: also the one that got to this point first. */
START_TEST(test_clients_above_limit)
{
    static const char large[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2000000\r\n";
    static char bytes[600000]; /* the rest never comes */
    struct client *c[EACH], *sends = server_connect(&kv);
    client_expect(runner, "+OK", "CLIENT NO-EVICT ON");
    client_expect(sends, "+OK", "CLIENT NO-EVICT ON");
    client_send_raw(sends, large, sizeof large - 1);
    client_send_raw(sends, bytes, sizeof bytes);
    for (unsigned i = 0; i < EACH; i++) {
        c[i] = server_connect(&kv);
        client_expect(c[i], "+OK", "CLIENT NO-EVICT ON");
    }
    client_expect(c[0], "+OK", "CONFIG SET maxmemory-clients 200kb");
    for (unsigned i = 0; i < EACH; i++) { /* some on the other reactor: that one then waits there */
        client_expect(c[i], "+OK", "DEBUG FAULT exec.section=delay%d", unit_patient_ms(800));
        usleep((unsigned)unit_patient_ms(200) * 1000);
        client_send(runner, ENDLESS);
        for (unsigned j = 0; j < EACH; j++) {
            wait_busy(c[j]);
        }
        client_expect(c[i], "+OK", "SCRIPT KILL");
        ck_assert(strstr(client_read_line(runner), "Script killed by user") != NULL);
    }
    for (unsigned i = 0; i < EACH; i++) {
        client_close(c[i]);
    }
    client_close(sends);
}
END_TEST

/* One that is refused ends nothing, neither this script nor a later one that takes a while. */
START_TEST(test_shutdown_of_subscriber)
{
    server_stop(&kv);
    server_start(&kv, "--threads", "1", "--busy-reply-threshold", "50");
    struct client *c = server_connect(&kv), *s = server_connect(&kv), *k = server_connect(&kv);
    client_send(s, "SUBSCRIBE c");
    (void)client_read(s);
    client_send(c, "EVAL \"while true do end\" 0");
    while (!client_line_starts(k, "-BUSY", "GET k")) {
        usleep(1000);
    }
    client_send(s, "SHUTDOWN NOSAVE");
    usleep(100000);
    client_expect(k, "+OK", "SCRIPT KILL");
    ck_assert_int_eq(client_read(c)->type, RESP_ERROR);
    ck_assert_int_eq(client_read(s)->type, RESP_ERROR);
    client_expect(c, "1",
                  "EVAL \"redis.call('set','a','1') for i = 1, 30000000 do end return 1\" 0");
    client_expect(k, "+PONG", "PING");
    client_close(c);
    client_close(s);
    client_close(k);
}
END_TEST

/* A script and what its client asks next, in one packet: both are there when `asks`, a client of
 * the same reactor, asks for the end. */
static void shutdown_beside(struct client *asks, const char *next)
{
    char bytes[200];
    struct client *k = server_connect(&kv), *a = server_connect(&kv);
    int n = snprintf(bytes, sizeof bytes, "EVAL 'while true do end' 0\r\n%s\r\n", next);
    client_send_raw(a, bytes, (size_t)n);
    wait_busy(k);
    client_send(asks, "SHUTDOWN NOSAVE");
    client_close(k);
    client_close(a);
}

/* One that is seen while a script runs is the end, with status 0, whatever happens to its client
 * before its turn comes: it is killed, or is held back and leaves. */
START_TEST(test_shutdown_never_runs)
{
    char kill_it[60];
    server_stop(&kv);
    server_start(&kv, "--threads", "1", "--busy-reply-threshold", "50");
    struct client *x = server_connect(&kv);
    snprintf(kill_it, sizeof kill_it, "CLIENT KILL ID %lld", (long long)client_int(x, "CLIENT ID"));
    shutdown_beside(x, _i == 0 ? kill_it : "CLIENT PAUSE 600000 ALL");
    if (_i == 1) {
        client_close(x);
    }
    ck_assert_int_eq(server_wait_exit(&kv, unit_patient_ms(20000)), 0);
    if (_i == 0) {
        client_close(x);
    }
}
END_TEST

/* Who may not do it does not do it there either. */
START_TEST(test_shutdown_denied)
{
    server_stop(&kv);
    server_start(&kv, "--threads", "1", "--busy-reply-threshold", "50");
    struct client *a = server_connect(&kv), *k = server_connect(&kv), *x = server_connect(&kv), *y;
    client_expect(k, "+OK", "ACL SETUSER u on nopass +@all -shutdown ~* &*");
    client_expect(x, "+OK", "AUTH u x");
    client_expect(k, "+OK", "CONFIG SET requirepass secret");
    client_expect(k, "+OK", "AUTH secret");
    client_expect(a, "+OK", "AUTH secret");
    y = server_connect(&kv);
    client_expect_error(y, "NOAUTH", "GET k");
    client_send(a, ENDLESS);
    wait_busy(k);
    client_send(x, "SHUTDOWN NOSAVE");
    client_send(y, "SHUTDOWN NOSAVE");
    for (unsigned i = 0; i < 3; i++) { /* each after another look at the clients */
        client_expect_error(k, "BUSY", "GET k");
    }
    client_expect(k, "+OK", "SCRIPT KILL");
    client_expect_next(x, "-NOPERM User u has no permissions to run the 'shutdown' command");
    client_expect_next(y, "-NOAUTH Authentication required.");
    client_expect(k, "+PONG", "PING");
    client_close(a);
    client_close(k);
    client_close(x);
    client_close(y);
}
END_TEST

/* Who may do it, but not everything, is heard by the script's own reactor. */
START_TEST(test_ended_by_restricted)
{
    server_stop(&kv);
    server_start(&kv, "--threads", "1", "--busy-reply-threshold", "50");
    struct client *a = server_connect(&kv), *x = server_connect(&kv), *k = server_connect(&kv);
    client_expect(k, "+OK", "ACL SETUSER u on nopass +@all -script|flush ~a*");
    client_expect(x, "+OK", "AUTH u x");
    client_send(a, ENDLESS);
    wait_busy(k);
    client_expect(x, "+OK", "SCRIPT KILL");
    ck_assert(strstr(client_read_line(a), "Script killed by user") != NULL);
    client_expect_error(x, "NOTBUSY", "SCRIPT KILL");
    client_expect(k, "+OK", "ACL SETUSER u -script|kill");
    client_send(a, ENDLESS);
    wait_busy(k);
    client_send(x, "SCRIPT KILL");
    for (unsigned i = 0; i < 3; i++) { /* each after another look at the clients */
        client_expect_error(k, "BUSY", "GET k");
    }
    client_expect(k, "+OK", "SCRIPT KILL");
    ck_assert(strstr(client_read_line(a), "Script killed by user") != NULL);
    client_expect_next(x, "-NOPERM User u has no permissions to run the 'script|kill' command");
    client_send(a, ENDLESS);
    wait_busy(k);
    client_send(x, "SHUTDOWN NOSAVE");
    ck_assert_int_eq(server_wait_exit(&kv, unit_patient_ms(20000)), 0);
    client_close(a);
    client_close(k);
    client_close(x);
}
END_TEST

/* While it is not busy yet, a script has its time. */
START_TEST(test_shutdown_waits_for_script)
{
    server_stop(&kv);
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    client_send(c,
                "EVAL \"redis.call('set',KEYS[1],'1') for i = 1, 60000000 do end return 1\" 1 a");
    usleep(100000);
    client_send(d, "SHUTDOWN SAVE");
    (void)server_wait_exit(&kv, unit_patient_ms(30000));
    client_close(c);
    client_close(d);
    server_start(&kv, "--threads", "2");
    c = server_connect(&kv);
    client_expect(c, "\"1\"", "GET a");
    client_close(c);
}
END_TEST

/* Until the script says so in the log. */
static void send_and_wait(struct client *c, const char *script)
{
    char *before = server_log(&kv);
    size_t from = strlen(before);
    free(before);
    client_send(c, "EVAL \"redis.call('set',KEYS[1],'1') redis.log(3,'begun') %s\" 1 a", script);
    server_wait_log(&kv, from, "begun", unit_patient_ms(20000));
}

/* So it has where a script is never busy, and where the end comes from a signal. */
START_TEST(test_signal_waits_for_script)
{
    server_stop(&kv);
    server_start(&kv, "--threads", "2", "--busy-reply-threshold", "0");
    struct client *c = server_connect(&kv);
    send_and_wait(c, "for i = 1, 20000000 do end return 1");
    server_stop(&kv);
    client_close(c);
    server_start(&kv, "--threads", "2");
    c = server_connect(&kv);
    client_expect(c, "\"1\"", "GET a");
    client_close(c);
}
END_TEST

/* A script that has written and does not end takes the process along, but not what others would
 * take for a server that runs. */
START_TEST(test_nothing_left_behind)
{
    char pidfile[400];
    snprintf(pidfile, sizeof pidfile, "%s/kv.pid", kv.dir);
    server_stop(&kv);
    server_start(&kv, "--threads", "2", "--busy-reply-threshold", "20", "--pidfile", pidfile,
                 "--unixsocket", kv.socket);
    struct client *c = server_connect(&kv);
    send_and_wait(c, "while true do end");
    ck_assert_int_eq(access(pidfile, F_OK), 0);
    ck_assert_int_eq(access(kv.socket, F_OK), 0);
    server_stop(&kv);
    client_close(c);
    ck_assert(server_log_has(&kv, "in the middle of a script that has written"));
    ck_assert_int_ne(access(pidfile, F_OK), 0);
    ck_assert_int_ne(access(kv.socket, F_OK), 0);
    server_start(&kv, "--threads", "2");
    c = server_connect(&kv);
    client_expect(c, "nil", "GET a");
    client_close(c);
}
END_TEST

UNIT_SUITE(script_slow)
{
    TCase *tc = unit_case(suite, "meanwhile", test_blocked_end, test_watchers, test_new_clients,
                          test_over_memory, test_exec_stays_alone, test_exec_sees_same_clients,
                          test_shutdown, test_shutdown_refused, test_clients_above_limit,
                          test_shutdown_of_subscriber, test_shutdown_waits_for_script,
                          test_signal_waits_for_script, test_nothing_left_behind);
    tcase_add_test(tc, test_shutdown_denied);
    tcase_add_test(tc, test_ended_by_restricted);
    tcase_add_checked_fixture(tc, start, stop);
    tc = unit_case_loop(suite, "shutdown", 120, test_shutdown_never_runs, 2);
    tcase_add_checked_fixture(tc, start, stop);
}
