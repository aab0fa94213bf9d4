/* kill9_gates.c -- Each way to hear of a write, alone: whoever has heard of it finds it after a
 * kill. SPDX-License-Identifier: BSD-3-Clause
 *
 * HOW  Every write of the log is delayed. One client changes something and does not wait; another
 * asks until it hears of the change, and in that moment the server is killed. If the answer left
 * before the log was written, the change is gone after the restart. No time is asserted: a late
 * answer is right, and an early one shows by what it said. */
#include "server.h"
#include "unit.h"
#include "base/base.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SLOW "wal.before_write=delay300:0:0"

struct gate_case {
    const char *name;
    const char *setup[3];  /* acknowledged before */
    const char *change[4]; /* sent, not waited for */
    const char *listen;    /* sent before the change; its answer is what is heard ... */
    const char *ask;       /* ... or this, asked again and again ... */
    const char *heard;     /* ... until it starts like this */
    const char *then, *is; /* after the restart */
};

static const struct gate_case cases[] = {
    { .name = "a value",
      .setup = { "SET k 1" },
      .change = { "SET k 2" },
      .ask = "GET k",
      .heard = "\"2\"",
      .then = "GET k",
      .is = "\"2\"" },
    { .name = "nil",
      .setup = { "SET k 1" },
      .change = { "DEL k" },
      .ask = "GET k",
      .heard = "nil",
      .then = "EXISTS k",
      .is = "0" },
    { .name = "an error",
      .change = { "SET k 1" },
      .ask = "LLEN k",
      .heard = "-WRONGTYPE",
      .then = "GET k",
      .is = "\"1\"" },
    { .name = "a write that does nothing",
      .change = { "SET k 1" },
      .ask = "SET k 2 XX GET",
      .heard = "\"1\"",
      .then = "EXISTS k",
      .is = "1" },
    { .name = "a lock that is taken",
      .setup = { "DEL k" },
      .change = { "SET k 1" },
      .ask = "LPUSHX k x",
      .heard = "-WRONGTYPE",
      .then = "GET k",
      .is = "\"1\"" },
    { .name = "a flush",
      .setup = { "SET k 1" },
      .change = { "FLUSHDB" },
      .ask = "GET k",
      .heard = "nil",
      .then = "EXISTS k",
      .is = "0" },
    { .name = "a swap",
      .setup = { "SET k 1" },
      .change = { "SWAPDB 0 7" },
      .ask = "TYPE k",
      .heard = "+none",
      .then = "EXISTS k",
      .is = "0" },
    { .name = "a time to live",
      .setup = { "SET k 1" },
      .change = { "PEXPIREAT k 4000000000000" },
      .ask = "PEXPIRETIME k",
      .heard = "4000000000000",
      .then = "PEXPIRETIME k",
      .is = "4000000000000" },
    { .name = "a number of keys",
      .change = { "SET k 1" },
      .ask = "DBSIZE",
      .heard = "1",
      .then = "EXISTS k",
      .is = "1" },
    { .name = "names of keys",
      .change = { "SET k 1" },
      .ask = "KEYS *",
      .heard = "[\"k\"]",
      .then = "EXISTS k",
      .is = "1" },
    { .name = "a scan",
      .change = { "SET k 1" },
      .ask = "SCAN 0 COUNT 100000",
      .heard = "[\"0\", [\"k\"]]",
      .then = "EXISTS k",
      .is = "1" },
    { .name = "a random key",
      .change = { "SET k 1" },
      .ask = "RANDOMKEY",
      .heard = "\"k\"",
      .then = "EXISTS k",
      .is = "1" },
    { .name = "one of several keys",
      .setup = { "SET a 1" },
      .change = { "SET k 1" },
      .ask = "EXISTS a k",
      .heard = "2",
      .then = "EXISTS k",
      .is = "1" },
    { .name = "a result in another database",
      .setup = { "SET k 1" },
      .change = { "MOVE k 3" },
      .ask = "STRLEN k",
      .heard = "0",
      .then = "EXISTS k",
      .is = "0" },
    { .name = "an event",
      .change = { "SET k 1" },
      .listen = "PSUBSCRIBE __keyevent@0__:set",
      .heard = "[\"pmessage\"",
      .then = "EXISTS k",
      .is = "1" },
    { .name = "a message",
      .change = { "SET k 1", "PUBLISH said x" },
      .listen = "SUBSCRIBE said",
      .heard = "[\"message\"",
      .then = "EXISTS k",
      .is = "1" },
    { .name = "a message about what was read",
      .setup = { "SET k 1" },
      .change = { "APPEND k 2", "SELECT 1", "PUBLISH said x" },
      .listen = "SUBSCRIBE said",
      .heard = "[\"message\"",
      .then = "GET k",
      .is = "\"12\"" },
    { .name = "an element handed over",
      .change = { "MULTI", "SET k 1", "RPUSH q e", "EXEC" },
      .listen = "BLPOP q 0",
      .heard = "[\"q\", \"e\"]",
      .then = "EXISTS k",
      .is = "1" },
    { .name = "an element moved on",
      .change = { "RPUSH q e" },
      .listen = "BLMOVE q d LEFT RIGHT 0",
      .heard = "\"e\"",
      .then = "LRANGE d 0 -1",
      .is = "[\"e\"]" },
};

static void change(struct client *c, const struct gate_case *x)
{
    for (unsigned i = 0; i < 4 && x->change[i] != NULL; i++) {
        client_send(c, "%s", x->change[i]);
    }
}

static void hear(struct client *c, const struct gate_case *x)
{
    size_t n = strlen(x->heard);
    const char *line = "";
    while (strncmp(line, x->heard, n) != 0) {
        line = x->ask != NULL ? client_line(c, "%s", x->ask) : client_read_line(c);
    }
}

START_TEST(test_gate)
{
    const struct gate_case *x = &cases[_i];
    struct server kv;
    server_init(&kv, SERVER_KV);
    server_env(&kv, "KV_FAULTS", SLOW);
    server_start(&kv, "--threads", "4", "--notify-keyspace-events", "KEA");
    struct client *one = server_connect(&kv), *two = server_connect(&kv);
    for (unsigned i = 0; i < 3 && x->setup[i] != NULL; i++) {
        client_ask(one, "%s", x->setup[i]);
    }
    if (x->listen != NULL) {
        client_send(two, "%s", x->listen);
        if (strstr(x->listen, "SUBSCRIBE") != NULL) {
            client_read(two);
        } else { /* it blocks: another connection can tell */
            while (strstr(client_line(one, "INFO clients"), "blocked_clients:1") == NULL) {
            }
        }
    }
    change(one, x);
    hear(two, x);
    server_kill(&kv);
    client_close(one);
    client_close(two);
    server_env(&kv, "KV_FAULTS", "");
    server_start(&kv, "--threads", "4");
    one = server_connect(&kv);
    const char *got = client_line(one, "%s", x->then);
    ck_assert_msg(strcmp(got, x->is) == 0, "%s was heard of; after the kill %s is %s", x->name,
                  x->then, got);
    client_close(one);
    server_stop(&kv);
}
END_TEST

/* A write that comes while a writer of the log is about to sleep is not overlooked. The writer is
 * slow at that place; writes come at all distances from its last work. */
START_TEST(test_wake)
{
    struct server kv;
    server_init(&kv, SERVER_KV);
    server_env(&kv, "KV_FAULTS", "wal.before_sleep=delay60:0:0");
    server_start(&kv, "--threads", "4", "--wal-depth", "1"); /* nobody else helps out */
    struct client *c = server_connect(&kv);
    for (unsigned ms = 0; ms < 400; ms += 20) {
        usleep(ms * 1000);
        client_expect(c, "+OK", "SET k %u", ms);
    }
    client_close(c);
    server_kill(&kv);
}
END_TEST

UNIT_SUITE(kill9_gates)
{
    unit_case(suite, "woken", test_wake);
    unit_case_loop(suite, "heard of", 60, test_gate, (int)countof(cases));
}
