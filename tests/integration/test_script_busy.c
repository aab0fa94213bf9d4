/* test_script_busy.c -- Scripts that take long or wait to run alone: what others are answered,
 * SCRIPT KILL, and a flush that comes before. SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/clock.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct server kv;

/* Asks until the answer is this error: the script runs, and has for longer than the threshold. */
static void wait_error(struct client *c, const char *error, const char *line)
{
    int64_t deadline = clock_mono_ms() + unit_patient_ms(20000);
    while (!client_line_starts(c, error, "%s", line)) {
        ck_assert_msg(clock_mono_ms() < deadline, "%s is not answered with %s", line, error);
        usleep(10000);
    }
}

#define LONG "0123456789012345678901234567890123456789012345678901234567890123456789"

/* A script without an end: others hear BUSY, can end it, and everything goes on. With one reactor
 * they wait, but for MULTI, EXEC, what is about the script and what gets BUSY. */
static void busy_and_killed(const char *threads, const char *call, const char *word)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", threads, "--busy-reply-threshold", "20");
    struct client *a = server_connect(&kv), *b = server_connect(&kv);
    client_expect(b, "\"lib\"",
                  "FUNCTION LOAD \"#!lua name=lib\\nredis.register_function('forever', "
                  "function() while true do pcall(function() while true do end end) end end)\"");
    client_expect(b, "\"long\"",
                  "FUNCTION LOAD \"#!lua name=long\\nredis.register_function('forever_" LONG
                  "', function() while true do end end)\"");
    client_expect(b, "+OK", "SET k v");
    client_send(a, "%s", call);
    wait_error(b, "-BUSY Redis is busy running a script.", "GET k");
    client_expect(b, "+OK", "MULTI");
    client_expect_error(b, "BUSY", "GET k");
    client_expect_error(b, "EXECABORT Transaction discarded because of: BUSY", "EXEC");
    client_expect_error(b, "EXECABORT Transaction discarded because of: BUSY", "EXEC");
    const char *stats = client_line(b, "FUNCTION STATS"); /* how it was called, in full */
    ck_assert_msg(strstr(stats, "\"command\", [\"") != NULL, "%s", stats);
    if (word[0] == 'F') {
        const char *name = strstr(call, "forever");
        int n = (int)strcspn(name, " ");
        char whole[512];
        snprintf(whole, sizeof whole,
                 "\"name\", \"%.*s\", \"command\", [\"FCALL\", \"%.*s\", \"0\"]", n, name, n, name);
        ck_assert_msg(strstr(stats, whole) != NULL, "%s", stats);
    }
    client_expect_error(b, "BUSY", "%s KILL", word[0] == 'S' ? "FUNCTION" : "SCRIPT");
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "%s KILL", word);
    ck_assert(strstr(client_read_line(a), "Script killed by user") != NULL);
    client_expect_error(b, "ERR EXEC without MULTI", "EXEC");
    client_expect(b, "\"v\"", "GET k");
    client_expect(a, "\"v\"", "GET k");
    client_expect(c, "-NOTBUSY No scripts in execution right now.", "%s KILL", word);
    client_close(a);
    client_close(b);
    client_close(c);
    server_stop(&kv);
}

START_TEST(test_busy)
{
    busy_and_killed("4", "EVAL 'while true do end' 0", "SCRIPT");
    busy_and_killed("4", "EVAL 'while true do end' 2 k k2", "SCRIPT");
    busy_and_killed("4",
                    "EVAL 'local function e() while true do end end "
                    "while true do xpcall(e, e) end' 0",
                    "SCRIPT");
    busy_and_killed("4",
                    "EVAL 'local function e() while true do end end "
                    "error(setmetatable({}, {__index = e}))' 0",
                    "SCRIPT");
    busy_and_killed("4",
                    "EVAL 'local function e() while true do end end "
                    "local function nest() while true do "
                    "coroutine.resume(coroutine.create(e)) end end "
                    "coroutine.resume(coroutine.create(nest))' 0",
                    "SCRIPT");
    busy_and_killed("4", /* no coroutine of these runs for long */
                    "EVAL 'local function f(d) for i = 1, 500 do if d > 0 then "
                    "coroutine.wrap(f)(d - 1) end end end f(8)' 0",
                    "SCRIPT");
    busy_and_killed("4", "FCALL forever 0", "FUNCTION");
    busy_and_killed("1", "EVAL 'while true do pcall(string.rep, 1) end' 1 k", "SCRIPT");
    busy_and_killed("1", "FCALL forever_" LONG " 0", "FUNCTION");
}
END_TEST

/* Two scripts without an end, on two reactors. The one that waits to run alone keeps nobody from
 * ending the other, and gets BUSY. */
START_TEST(test_two_busy)
{
    enum { EACH = 4 };
    struct client *all[EACH], *killer;
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2", "--busy-reply-threshold", "200");
    for (unsigned i = 0; i < EACH; i++) { /* to the reactors in turn */
        all[i] = server_connect(&kv);
        client_expect(all[i], "+PONG", "PING");
    }
    client_send(all[0], "EVAL 'while true do end' 0");
    client_send(all[1], "EVAL 'while true do end' 0");
    wait_error(all[2], "-BUSY Redis is busy running a script.", "GET k");
    wait_error(all[3], "-BUSY Redis is busy running a script.", "GET k");
    unsigned second = 0; /* whose script got BUSY */
    const struct resp *r = NULL;
    client_timeout(all[0], 10);
    while (client_try_read(all[second], &r) != RESP_OK) {
        second = !second;
        client_timeout(all[second], 10);
    }
    ck_assert_msg(strncmp(r->text, "BUSY", 4) == 0, "%s", r->text);
    client_timeout(all[0], 30000);
    client_timeout(all[1], 30000);
    killer = server_connect(&kv);
    client_expect(killer, "+OK", "SCRIPT KILL");
    ck_assert(strstr(client_read_line(all[!second]), "Script killed by user") != NULL);
    client_expect(killer, "nil", "GET k");
    for (unsigned i = 0; i < EACH; i++) {
        client_expect(all[i], "nil", "GET k");
        client_close(all[i]);
    }
    client_close(killer);
    server_stop(&kv);
}
END_TEST

/* SIGTERM ends a script that would not end; what it has written was never answered. */
START_TEST(test_terminated)
{
    static const char *const script[] = {
        "EVAL 'while true do end' 0", "EVAL \"redis.call('SET','k','w') while true do end\" 1 k",
        "FCALL forever 0"
    };
    for (unsigned i = 0; i < 2 * countof(script); i++) {
        server_init(&kv, SERVER_KV);
        /* It ends in the middle of what it does: nobody joins its threads any more. */
        server_env(&kv, "TSAN_OPTIONS", "report_thread_leaks=0");
        server_start(&kv, "--threads", i % 2 == 0 ? "1" : "3", "--busy-reply-threshold", "50",
                     "--appendfsync", "everysec");
        struct client *a = server_connect(&kv), *b = server_connect(&kv);
        client_expect(b, "\"f\"",
                      "FUNCTION LOAD \"#!lua name=f\nredis.register_function('forever', "
                      "function() while true do end end)\"");
        client_expect(b, "+OK", "SET k v");
        client_send(a, "%s", script[i / 2]);
        wait_error(b, "-BUSY", "GET k");
        server_stop(&kv);
        client_close(a);
        client_close(b);
        server_start(&kv, "--threads", "2");
        b = server_connect(&kv);
        client_expect(b, "\"v\"", "GET k");
        client_close(b);
        server_stop(&kv);
    }
}
END_TEST

#ifdef KV_FAULTS
/* What wants to run alone comes to the lock when a script without an end has it already. */
static void alone_behind_script(const char *line)
{
    struct client *a, *b, *killer;
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2", "--busy-reply-threshold", "20");
    a = server_connect(&kv);
    client_expect(a, "+PONG", "PING");
    b = server_connect(&kv); /* to the other reactor */
    client_expect(b, "+PONG", "PING");
    killer = server_connect(&kv);
    client_expect(killer, "+OK", "DEBUG FAULT exec.section=delay3000:0:1");
    client_send_raw(b, line, strlen(line));
    usleep(200000);
    client_send(a, "EVAL 'while true do end' 0");
    wait_error(killer, "-BUSY Redis is busy running a script.", "GET k");
    const char *got = client_read_line(b);
    while (strcmp(got, "+OK") == 0 || strcmp(got, "+QUEUED") == 0) {
        got = client_read_line(b);
    }
    ck_assert_msg(strstr(got, "BUSY") != NULL, "%s: %s", line, got);
    client_expect(b, "+OK", "SCRIPT KILL");
    ck_assert(strstr(client_read_line(a), "Script killed by user") != NULL);
    client_close(a);
    client_close(b);
    client_close(killer);
    server_stop(&kv);
}
#endif

START_TEST(test_alone_behind_script)
{
#ifdef KV_FAULTS
    alone_behind_script("FLUSHALL\r\n");
    alone_behind_script("MULTI\r\nFLUSHALL\r\nEXEC\r\n");
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

/* Each client gets its replies in the order of its requests: that of the script, and those that
 * sent in the same turn of the only reactor. */
START_TEST(test_busy_in_order)
{
    enum { BESIDE = 6 };
    struct client *a, *b[BESIDE], *sleeper, *killer;
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "1", "--busy-reply-threshold", "20");
    sleeper = server_connect(&kv);
    killer = server_connect(&kv);
    a = server_connect(&kv);
    for (unsigned i = 0; i < BESIDE; i++) {
        b[i] = server_connect(&kv);
    }
    client_expect(killer, "+OK", "SET k v");
    client_send(sleeper, "DEBUG SLEEP 0.2"); /* what comes meanwhile is read together after it */
    client_send(a, "EVAL 'while true do end' 0");
    for (unsigned i = 0; i < BESIDE; i++) {
        client_send(b[i], "GET k");
    }
    wait_error(killer, "-BUSY Redis is busy running a script.", "ECHO x");
    client_send(a, "ECHO a");
    for (unsigned i = 0; i < BESIDE; i++) {
        client_send(b[i], "ECHO b");
    }
    wait_error(killer, "-BUSY Redis is busy running a script.", "ECHO x");
    client_expect(killer, "+OK", "SCRIPT KILL");
    ck_assert(strstr(client_read_line(a), "Script killed by user") != NULL);
    client_expect_next(a, "\"a\"");
    for (unsigned i = 0; i < BESIDE; i++) {
        const char *got = client_read_line(b[i]);
        ck_assert_msg(strcmp(got, "\"v\"") == 0 || strncmp(got, "-BUSY", 5) == 0, "%s", got);
        got = client_read_line(b[i]);
        ck_assert_msg(strcmp(got, "\"b\"") == 0 || strncmp(got, "-BUSY", 5) == 0, "%s", got);
        client_close(b[i]);
    }
    client_read(sleeper); /* BUSY, if the script was read first */
    client_close(a);
    client_close(killer);
    client_close(sleeper);
    server_stop(&kv);
}
END_TEST

/* What is looked at while a script runs is what it is: who wants no replies gets none, a
 * subscriber's MULTI is refused, SHUTDOWN ABORT ends nothing, and SCRIPT KILL in a MULTI is queued.
 */
START_TEST(test_busy_silent)
{
    struct client *a, *off, *sub, *aborts, *queues, *killer;
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "1", "--busy-reply-threshold", "20");
    killer = server_connect(&kv);
    a = server_connect(&kv);
    off = server_connect(&kv);
    sub = server_connect(&kv);
    aborts = server_connect(&kv);
    queues = server_connect(&kv);
    client_expect(queues, "+OK", "MULTI");
    client_expect(sub, "[\"subscribe\", \"ch\", 1]", "SUBSCRIBE ch");
    client_send(off, "CLIENT REPLY OFF");
    client_send(off, "SET off 1");
    while (client_line(killer, "GET off")[0] != '"') { /* until it is */
    }
    client_send(a, "EVAL 'while true do end' 0");
    wait_error(killer, "-BUSY Redis is busy running a script.", "ECHO x");
    client_send(off, "GET k");
    client_send(sub, "MULTI");
    client_send(aborts, "SHUTDOWN ABORT");
    client_send(queues, "SCRIPT KILL");
    for (unsigned i = 0; i < 3; i++) { /* each after another look at the clients */
        client_expect_error(killer, "BUSY", "ECHO x");
    }
    client_expect(killer, "+OK", "SCRIPT KILL");
    ck_assert(strstr(client_read_line(a), "Script killed by user") != NULL);
    client_expect(off, "+OK", "CLIENT REPLY ON");
    ck_assert(strstr(client_read_line(sub), "Can't execute 'multi'") != NULL);
    client_expect_next(aborts, "-ERR No shutdown in progress.");
    client_expect_next(queues, "+QUEUED");
    client_close(a);
    client_close(off);
    client_close(sub);
    client_close(aborts);
    client_close(queues);
    client_close(killer);
    server_stop(&kv);
}
END_TEST

/* A script touches a key that it did not declare, so it runs again, alone; before that its text or
 * its function goes: then it has not run. */
static void flush_while_waiting(const char *flush, const char *load, const char *call)
{
    struct client *waits = server_connect(&kv), *flushes = server_connect(&kv);
    unsigned refused = 0;
    for (unsigned i = 0; i < 200 && refused < 2; i++) {
        client_line(flushes, "%s", load);
        int64_t before = client_int(flushes, "INCRBY ran 0");
        client_expect(flushes, "+OK", "MULTI");
        client_expect(flushes, "+QUEUED", "%s", flush);
        client_expect(flushes, "+QUEUED", "INCRBY ran 0");
        client_send(waits, "%s", call);
        /* while it runs, for one of the waits */
        struct timespec some_ms = { 0, (long)(i % 20) * 1000000 };
        nanosleep(&some_ms, NULL);
        const struct resp *r = client_ask(flushes, "EXEC");
        ck_assert_uint_eq(r->count, 2);
        int64_t at_flush = r->at[1]->integer;
        bool ran = client_read_line(waits)[0] != '-';
        ck_assert_int_eq(at_flush, before + ran);
        ck_assert_int_eq(client_int(flushes, "INCRBY ran 0"), before + ran);
        refused += !ran;
    }
    ck_assert_uint_gt(refused, 0);
    client_close(waits);
    client_close(flushes);
}

START_TEST(test_flush_while_waiting)
{
#define SLOW_INCR "for i = 1, 3000000 do end return redis.call('INCR', 'ran')"
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "4", "--busy-reply-threshold", "0");
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "SET ran 0");
    char evalsha[60];
    snprintf(evalsha, sizeof evalsha, "EVALSHA %s 0",
             client_ask(c, "SCRIPT LOAD \"" SLOW_INCR "\"")->text);
    flush_while_waiting("SCRIPT FLUSH", "SCRIPT LOAD \"" SLOW_INCR "\"", evalsha);
    flush_while_waiting(
        "FUNCTION FLUSH",
        "FUNCTION LOAD \"#!lua name=l\\nredis.register_function('f', function() " SLOW_INCR
        " end)\"",
        "FCALL f 0");
    client_close(c);
    server_stop(&kv);
}
END_TEST

/* One that has written cannot be ended; its changes are there when it is over. */
static void unkillable(const char *threads)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", threads, "--busy-reply-threshold", "20");
    struct client *a = server_connect(&kv), *b = server_connect(&kv);
    client_send(a, "EVAL \"redis.call('set',KEYS[1],'x') local n = redis.call('get',KEYS[2]) "
                   "local t = os.clock() + 1 while os.clock() < t do end return n\" 2 k m");
    wait_error(b, "-UNKILLABLE", "SCRIPT KILL");
    client_expect_error(b, "BUSY", "GET k");
    client_expect_next(a, "nil");
    client_expect(b, "\"x\"", "GET k");
    client_close(a);
    client_close(b);
    server_kill(&kv);
    server_start(&kv, "--threads", "1");
    b = server_connect(&kv);
    client_expect(b, "\"x\"", "GET k");
    client_close(b);
    server_stop(&kv);
}

START_TEST(test_unkillable)
{
    unkillable("4");
    unkillable("1");
}
END_TEST

/* Long before a script is busy: who is on another reactor hears of it, and ends it. With Redis his
 * request waits until the script is busy, and is served then. */
START_TEST(test_early)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2", "--busy-reply-threshold", "60000");
    struct client *a = server_connect(&kv), *b = server_connect(&kv);
    client_expect(b, "\"l\"",
                  "FUNCTION LOAD \"#!lua name=l\\nredis.register_function{function_name='f', "
                  "callback=function() while true do end end, flags={'no-writes'}}\"");
    client_expect_error(b, "NOTBUSY", "FUNCTION KILL");
    client_send(a, "FCALL f 0 word");
    wait_error(b, "-BUSY Redis is busy running a script. You can only call FUNCTION KILL",
               "SCRIPT KILL");
    const char *stats = client_line(b, "FUNCTION STATS");
    ck_assert_msg(strstr(stats, "\"f\", \"command\", [\"FCALL\", \"f\", \"0\", \"word\"]") != NULL,
                  "%s", stats);
    client_expect(b, "+OK", "FUNCTION KILL");
    const char *said = client_read_line(a);
    ck_assert_msg(strstr(said, "killed by user") != NULL, "%s", said);
    client_expect_error(b, "NOTBUSY", "FUNCTION KILL");
    client_send(a, "EVAL \"redis.call('set',KEYS[1],'x') local t = os.clock() + 1 while os.clock() "
                   "< t do end return 7\" 1 k");
    wait_error(b, "-UNKILLABLE", "SCRIPT KILL");
    client_expect_next(a, "7");
    client_expect(b, "\"x\"", "GET k");
    client_expect_error(b, "NOTBUSY", "SCRIPT KILL");
    client_close(a);
    client_close(b);
    server_stop(&kv);
}
END_TEST

/* One is killed about when it writes first: what is answered is what happens. */
START_TEST(test_killed_or_written)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2", "--busy-reply-threshold", _i == 0 ? "60000" : "100");
    struct client *a = server_connect(&kv), *b = server_connect(&kv);
    unsigned killed = 0;
    for (unsigned i = 0; i < 24; i++) {
        client_ask(b, "DEL k");
        client_send(a, "EVAL \"local t = os.clock() + 0.2 while os.clock() < t do end "
                       "redis.call('set',KEYS[1],'x') t = os.clock() + 0.04 "
                       "while os.clock() < t do end return 7\" 1 k");
        usleep(180000 + i * 1500);
        bool ok = client_line_starts(b, "+OK", "SCRIPT KILL");
        bool ended = client_read(a)->type == RESP_ERROR;
        ck_assert_int_eq(client_int(b, "EXISTS k"), !ended);
        if (ok) {
            ck_assert_msg(ended, "round %u: it was told to be killed, and wrote", i);
            killed++;
        }
    }
    printf("killed %u of 24\n", killed);
    client_close(a);
    client_close(b);
    server_stop(&kv);
}
END_TEST

#ifdef KV_FAULTS
/* A script is killed when its attempt, which needs a key that it has not declared, has just ended,
 * and a pause begins before it could go on alone. False: it was over before. */
static bool killed_and_held(struct client *a, struct client *b)
{
    client_expect(b, "+OK", "DEBUG FAULT exec.section=delay%d", unit_patient_ms(2000));
    client_send(a, "EVAL \"local t = os.clock() + 0.2 while os.clock() < t do end "
                   "redis.call('set','u','x') return 7\" 1 k");
    usleep((useconds_t)unit_patient_ms(500) * 1000);
    bool ok = client_line_starts(b, "+OK", "SCRIPT KILL");
    client_expect(b, "+OK", "CLIENT PAUSE 600000 WRITE"); /* once its reactor lets others in */
    usleep(100000);
    client_expect(b, "+OK", "CLIENT UNPAUSE");
    const char *said = client_read_line(a);
    ck_assert_msg(!ok || strstr(said, "killed by user") != NULL, "%s", said);
    ck_assert_int_eq(client_int(b, "EXISTS u"), !ok);
    client_expect_error(b, "NOTBUSY", "SCRIPT KILL");
    return ok;
}
#endif

START_TEST(test_killed_and_held)
{
#ifdef KV_FAULTS
    bool killed = false;
    for (unsigned i = 0; i < 5 && !killed; i++) {
        server_init(&kv, SERVER_KV);
        server_start(&kv, "--threads", "2");
        struct client *a = server_connect(&kv);
        client_expect(a, "+PONG", "PING");
        struct client *b = server_connect(&kv); /* to the other reactor */
        killed = killed_and_held(a, b);
        client_close(a);
        client_close(b);
        server_stop(&kv);
    }
    ck_assert(killed);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

UNIT_SUITE(script_busy)
{
    TCase *tc = unit_case(suite, "script busy", test_busy);
    tcase_add_test(tc, test_two_busy);
    tcase_add_test(tc, test_alone_behind_script);
    tcase_add_test(tc, test_terminated);
    tcase_add_test(tc, test_busy_in_order);
    tcase_add_test(tc, test_busy_silent);
    tcase_add_test(tc, test_flush_while_waiting);
    tcase_add_test(tc, test_unkillable);
    tcase_add_test(tc, test_early);
    tcase_add_test(tc, test_killed_and_held);
    unit_case_loop(suite, "written", 60, test_killed_or_written, 2);
}
