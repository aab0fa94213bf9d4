/* test_reply_mode.c -- CLIENT REPLY in transactions, byte for byte, by kv-server and redis-server.
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
    server_start(&servers[0], "--threads", "2");
    server_init(&servers[1], SERVER_REDIS);
    server_start(&servers[1]);
}

static void stop(void)
{
    server_stop(&servers[0]);
    server_stop(&servers[1]);
}

/* All that comes back for these lines, up to the end of the connection. */
static const char *said(const struct server *s, const char *lines)
{
    static char text[4000];
    size_t n = 0;
    struct client *c = server_connect(s);
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
        ck_assert_str_eq(said(&servers[i], cases[_i].lines), cases[_i].said);
    }
}
END_TEST

UNIT_SUITE(reply_mode)
{
    TCase *c = unit_case_loop(suite, "in EXEC", 60, test_in_exec, countof(cases));
    tcase_add_unchecked_fixture(c, start, stop);
}
