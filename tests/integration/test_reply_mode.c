/* test_reply_mode.c -- What one connection hears, byte for byte: CLIENT REPLY in transactions, by
 * kv-server and redis-server; and messages that a client has published to itself.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "server.h"
#include "unit.h"
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct server servers[2];

static void start(void)
{
    server_init(&servers[0], SERVER_KV);
    server_start(&servers[0], "--threads", "2", "--notify-keyspace-events", "KEA");
    server_init(&servers[1], SERVER_REDIS);
    server_start(&servers[1]);
}

static void stop(void)
{
    server_stop(&servers[0]);
    server_stop(&servers[1]);
}

/* All that comes back for these lines, up to the end of the connection. */
static const char *said(const struct server *s, int protocol, const char *lines)
{
    static char text[4000];
    size_t n = 0;
    struct client *c = server_connect(s);
    if (protocol == 3) {
        client_hello(c, 3);
    }
    client_send_raw(c, lines, strlen(lines));
    ck_assert_int_eq(shutdown(client_fd(c), SHUT_WR), 0);
    for (ssize_t got = 1; got > 0; n += (size_t)got) {
        struct pollfd more = { .fd = client_fd(c), .events = POLLIN };
        ck_assert_int_ge(poll(&more, 1, -1), 0); /* the test has its own limit */
        got = read(client_fd(c), text + n, sizeof text - 1 - n);
        ck_assert_int_ge(got, 0);
    }
    text[n] = '\0';
    client_close(c);
    return text;
}

#define OFF       "CLIENT REPLY OFF\r\n"
#define ON        "CLIENT REPLY ON\r\n"
#define SKIP      "CLIENT REPLY SKIP\r\n"
#define CONFIRMED "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"

static const struct {
    const char *lines, *said;
} cases[] = {
    /* off before it */
    { OFF "MULTI\r\nSET x 1\r\nSUBSCRIBE a\r\nSET y 1\r\nEXEC\r\n", CONFIRMED },
    { OFF "MULTI\r\nSET x 1\r\n" ON "GET x\r\nEXEC\r\n", "+OK\r\n$1\r\n1\r\n" },
    { OFF "MULTI\r\nPING a\r\n" ON "PING b\r\n" OFF "PING c\r\nEXEC\r\nPING d\r\n" ON "PING e\r\n",
      "+OK\r\n$1\r\nb\r\n+OK\r\n$1\r\ne\r\n" },
    { OFF "MULTI\r\n" SKIP "PING a\r\nEXEC\r\nPING b\r\n" ON, "+OK\r\n" },
    { OFF "MULTI\r\nEVAL \"return 1\" 0\r\nLRANGE none 0 -1\r\nEXEC\r\n" ON, "+OK\r\n" },
    { OFF "MULTI\r\nNOCOMMAND\r\nEXEC\r\n" ON, "+OK\r\n" },
    { OFF "WATCH w\r\nINCR w\r\nMULTI\r\n" ON "EXEC\r\nPING\r\n", "" },
    /* in it */
    { "MULTI\r\n" OFF "PING\r\nEXEC\r\n", "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n" },
    { "MULTI\r\n" OFF "PING\r\n" ON "PING a\r\nEXEC\r\nPING b\r\n",
      "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n+OK\r\n$1\r\na\r\n$1\r\nb\r\n" },
    { "MULTI\r\n" OFF "SUBSCRIBE a\r\nPING\r\nEXEC\r\n",
      "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n" CONFIRMED },
    /* a skipped reply is that of what comes behind EXEC */
    { "MULTI\r\n" SKIP "PING\r\nEXEC\r\nPING a\r\nPING b\r\n",
      "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+PONG\r\n$1\r\nb\r\n" },
    { "MULTI\r\n" SKIP ON "PING\r\nEXEC\r\nPING a\r\nPING b\r\n",
      "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n+PONG\r\n$1\r\nb\r\n" },
};

START_TEST(test_in_exec)
{
    for (unsigned i = 0; i < countof(servers); i++) {
        ck_assert_str_eq(said(&servers[i], 2, cases[_i].lines), cases[_i].said);
    }
}
END_TEST

#define LISTENS     ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
#define HEARD(what) ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n" what "\r\n"
#define MATCHED     ">4\r\n$8\r\npmessage\r\n$1\r\n?\r\n$1\r\na\r\n$1\r\nm\r\n"
#define LEAVES      ">3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n"
#define EVENT(what) \
    ">4\r\n$8\r\npmessage\r\n$7\r\n__keye*\r\n$18\r\n__keyevent@0__:" what "\r\n$1\r\nk\r\n"

/* A message stands behind the reply to what has published it, as with valkey-server 8; redis-server
 * 7.0 has it before that. */
static const struct {
    const char *lines, *said;
} own[] = {
    { "SUBSCRIBE a\r\nPUBLISH a m\r\nUNSUBSCRIBE a\r\nPING\r\n",
      LISTENS ":1\r\n" HEARD("m") LEAVES "+PONG\r\n" },
    { "SUBSCRIBE a\r\nPUBLISH a m\r\nPING\r\nPUBLISH a n\r\nUNSUBSCRIBE\r\n",
      LISTENS ":1\r\n" HEARD("m") "+PONG\r\n:1\r\n" HEARD("n") LEAVES },
    { "SUBSCRIBE a\r\nPSUBSCRIBE ?\r\nPUBLISH a m\r\nRESET\r\nPING\r\n",
      LISTENS ">3\r\n$10\r\npsubscribe\r\n$1\r\n?\r\n:2\r\n:2\r\n" HEARD("m") MATCHED
      "+RESET\r\n+PONG\r\n" },
    { "SUBSCRIBE a\r\nPUBLISH a m\r\nQUIT\r\n", LISTENS ":1\r\n" HEARD("m") "+OK\r\n" },
    { "SUBSCRIBE a\r\nMULTI\r\nPUBLISH a m\r\nPING\r\nEXEC\r\nMULTI\r\nUNSUBSCRIBE\r\nEXEC\r\n",
      LISTENS "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n+PONG\r\n" HEARD(
          "m") "+OK\r\n+QUEUED\r\n*1\r\n" LEAVES },
    { "SUBSCRIBE a\r\nCLIENT REPLY OFF\r\nPUBLISH a m\r\nPING\r\nCLIENT REPLY ON\r\n",
      LISTENS HEARD("m") "+OK\r\n" },
    { "SUBSCRIBE a\r\nEVAL \"redis.call('publish', 'a', 'm') redis.call('publish', 'a', 'n')\" "
      "0\r\n"
      "UNSUBSCRIBE\r\n",
      LISTENS "_\r\n" HEARD("m") HEARD("n") LEAVES },
    { "PSUBSCRIBE __keye*\r\nSET k 1\r\nDEL k\r\nPUNSUBSCRIBE\r\n",
      ">3\r\n$10\r\npsubscribe\r\n$7\r\n__keye*\r\n:1\r\n+OK\r\n" EVENT("set") ":1\r\n" EVENT(
          "del") ">3\r\n$12\r\npunsubscribe\r\n$7\r\n__keye*\r\n:0\r\n" },
    /* a pause does not hold what waits for the message only */
    { "SUBSCRIBE a\r\nMULTI\r\nPUBLISH a m\r\nCLIENT PAUSE 600000 WRITE\r\nEXEC\r\nPING\r\n"
      "CLIENT UNPAUSE\r\n",
      LISTENS "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n+OK\r\n" HEARD("m") "+PONG\r\n+OK\r\n" },
};

START_TEST(test_own_messages)
{
    ck_assert_str_eq(said(&servers[0], 3, own[_i].lines), own[_i].said);
}
END_TEST

UNIT_SUITE(reply_mode)
{
    TCase *c = unit_case_loop(suite, "in EXEC", 60, test_in_exec, countof(cases));
    tcase_add_unchecked_fixture(c, start, stop);
    c = unit_case_loop(suite, "own messages", 60, test_own_messages, countof(own));
    tcase_add_unchecked_fixture(c, start, stop);
}
