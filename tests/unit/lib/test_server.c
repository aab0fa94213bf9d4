/* test_server.c -- The server and client helpers, tried on redis-server: it is there before
 * kv-server is. SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "server.h"
#include "base/base.h"
#include "base/clock.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct server shared; /* of the case "client" */

static void start_shared(void)
{
    server_init(&shared, SERVER_REDIS);
    server_start(&shared, "--unixsocket", shared.socket);
}

static void stop_shared(void)
{
    server_stop(&shared);
}

START_TEST(test_words)
{
    struct client *c = server_connect(&shared);
    client_expect(c, "\"a b\"", "ECHO 'a b'");
    client_expect(c, "\"a\\\"b\"", "ECHO 'a\"b'");
    client_expect(c, "\"\\x00\\n\\\"z\"", "ECHO \"\\x00\\n\\\"\\z\"");
    client_expect(c, "\"\"", "  ECHO   '' ");
    client_expect(c, "\"k7\"", "ECHO k%d", 7);
    client_expect_error(c, "ERR wrong number", "ECHO");
    client_close(c);
}
END_TEST

START_TEST(test_args_are_binary_safe)
{
    struct client *c = server_connect(&shared);
    client_send_args(c, 2, (const char *const[]){ "ECHO", "a\0\r\nb" }, (const size_t[]){ 4, 5 });
    ck_assert_str_eq(client_read_line(c), "\"a\\x00\\r\\nb\"");
    client_send_args(c, 2, (const char *const[]){ "ECHO", "plain" }, NULL);
    ck_assert_str_eq(client_read(c)->text, "plain");
    client_close(c);
}
END_TEST

START_TEST(test_pipeline_larger_than_socket_buffers)
{
    enum { COUNT = 200, SIZE = 200000 };
    struct client *c = server_connect(&shared);
    char *value = calloc(1, SIZE + 1);
    memset(value, 'v', SIZE);
    const char *argv[] = { "ECHO", value };
    for (int i = 0; i < COUNT; i++) {
        client_send_args(c, 2, argv, NULL);
    }
    for (int i = 0; i < COUNT; i++) {
        ck_assert_uint_eq(client_read(c)->len, SIZE);
    }
    free(value);
    client_close(c);
}
END_TEST

START_TEST(test_resp3_and_unix_socket)
{
    struct client *c = client_connect_unix(shared.socket);
    client_hello(c, 3);
    client_expect(c, "1", "HSET h f v");
    client_expect(c, "{\"f\": \"v\"}", "HGETALL h");
    client_expect(c, "nil", "GET nokey");
    client_expect(c, ">[\"subscribe\", \"ch\", 1]", "SUBSCRIBE ch");
    client_close(c);
}
END_TEST

START_TEST(test_resp3_reply_on_resp2_connection_is_refused)
{
    struct client *c = server_connect(&shared);
    const struct resp *reply = NULL;
    client_hello(c, 3);
    client_protocol(c, 2);
    client_send(c, "HGETALL nokey");
    ck_assert_int_eq(client_try_read(c, &reply), RESP_MALFORMED);
    ck_assert_ptr_nonnull(strstr(client_problem(c), "malformed"));
    client_close(c);
}
END_TEST

START_TEST(test_silence_and_close)
{
    struct client *c = server_connect(&shared);
    client_send(c, "BLPOP nolist 0");
    client_expect_nothing(c, 50);
    client_close(c);
    c = server_connect(&shared);
    client_expect(c, "+OK", "QUIT");
    client_expect_closed(c);
    client_close(c);
    errno = 0;
    ck_assert_ptr_null(client_try_connect(server_free_port()));
    ck_assert_int_eq(errno, ECONNREFUSED);
}
END_TEST

START_TEST(test_replies_can_be_kept)
{
    struct client *c = server_connect(&shared);
    client_ask(c, "ECHO first");
    struct resp *first = client_take(c);
    ck_assert_int_eq(client_int(c, "EXISTS nokey"), 0);
    ck_assert_str_eq(first->text, "first");
    resp_free(first);
    client_close(c);
}
END_TEST

START_TEST(test_raw_and_fd)
{
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct client *a = client_from_fd(pair[0]);
    struct client *b = client_from_fd(pair[1]);
    ck_assert_int_eq(client_fd(a), pair[0]);
    client_send_raw(a, "+O", 2);
    client_timeout(b, 20);
    const struct resp *reply = NULL;
    ck_assert_int_eq(client_try_read(b, &reply), RESP_TIMEOUT);
    client_send_raw(a, "K\r\n:", 4);
    client_expect_next(b, "+OK");
    client_close(a);
    ck_assert_int_eq(client_try_read(b, &reply), RESP_CLOSED);
    ck_assert(!client_try_send(b, "PING"));
    client_close(b);
}
END_TEST

/* Each of these fails inside a test of the test: the child process of a fork must not exit
 * normally. */
static bool fails(void (*body)(struct client *c, int peer))
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int pair[2];
        must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
        must(freopen("/dev/null", "w", stderr) != NULL);
        struct client *c = client_from_fd(pair[0]);
        client_timeout(c, 20);
        body(c, pair[1]);
        _exit(0);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status != 0;
}

static void answer(int peer, const char *bytes)
{
    must(write(peer, bytes, strlen(bytes)) == (ssize_t)strlen(bytes));
}

static void other_reply(struct client *c, int peer)
{
    answer(peer, "+NO\r\n");
    client_expect(c, "+OK", "PING");
}

static void same_reply(struct client *c, int peer)
{
    answer(peer, "+OK\r\n");
    client_expect(c, "+OK", "PING");
}

static void no_reply(struct client *c, int peer)
{
    (void)peer;
    client_ask(c, "PING");
}

static void broken_reply(struct client *c, int peer)
{
    answer(peer, "+OK\n");
    client_ask(c, "PING");
}

static void other_error(struct client *c, int peer)
{
    answer(peer, "-ERR x\r\n");
    client_expect_error(c, "WRONGTYPE", "PING");
}

static void not_silent(struct client *c, int peer)
{
    answer(peer, ":1\r\n");
    client_expect_nothing(c, 20);
}

static void not_closed(struct client *c, int peer)
{
    (void)peer;
    client_expect_closed(c);
}

static void not_an_integer(struct client *c, int peer)
{
    answer(peer, "+1\r\n");
    client_int(c, "PING");
}

static void open_quote(struct client *c, int peer)
{
    (void)peer;
    client_send(c, "PING 'x");
}

START_TEST(test_expectations_can_fail)
{
    ck_assert(!fails(same_reply));
    ck_assert(fails(other_reply));
    ck_assert(fails(no_reply));
    ck_assert(fails(broken_reply));
    ck_assert(fails(other_error));
    ck_assert(fails(not_silent));
    ck_assert(fails(not_closed));
    ck_assert(fails(not_an_integer));
    ck_assert(fails(open_quote));
}
END_TEST

START_TEST(test_start_stop_restart)
{
    struct server s;
    server_init(&s, SERVER_REDIS);
    ck_assert(!server_running(&s));
    server_env(&s, "TZ", "UTC");
    server_start(&s, "--appendonly", "yes");
    ck_assert(server_running(&s));
    struct client *c = server_connect(&s);
    client_expect(c, "+OK", "SET k v");
    client_expect(c, "+OK", "CONFIG SET appendfsync always");
    client_expect(c, "+OK", "SET k2 v");
    server_kill(&s);
    ck_assert(!server_running(&s));
    client_expect_closed(c);
    client_close(c);
    char *log = server_log(&s);
    size_t before = strlen(log);
    free(log);
    server_start(&s, "--appendonly", "yes");
    server_wait_log(&s, before, "Ready to accept connections", 20000);
    c = server_connect(&s);
    client_expect(c, "\"v\"", "GET k2");
    client_close(c);
    server_stop(&s);
    ck_assert(server_log_has(&s, "User requested shutdown"));
    server_stop(&s); /* nothing to do */
}
END_TEST

START_TEST(test_failed_start)
{
    struct server s;
    server_init(&s, SERVER_REDIS);
    int status = server_try_start(&s, "--no-such-directive", "1");
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 1);
    ck_assert(!server_running(&s));
    ck_assert(server_log_has(&s, "no-such-directive"));
}
END_TEST

START_TEST(test_taken_port_is_replaced)
{
    struct server a, b;
    server_init(&a, SERVER_REDIS);
    server_init(&b, SERVER_REDIS);
    server_start(&a);
    b.port = a.port;
    server_start(&b);
    ck_assert_uint_ne(a.port, b.port);
    struct client *c = server_connect(&b);
    client_expect(c, "+PONG", "PING");
    client_close(c);
    server_stop(&a);
    server_stop(&b);
}
END_TEST

START_TEST(test_exit_status_is_seen)
{
    struct server s;
    server_init(&s, SERVER_REDIS);
    server_start(&s);
    ck_assert_int_eq(kill(s.pid, SIGKILL), 0);
    int status = server_wait_exit(&s, 20000);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGKILL);
}
END_TEST

UNIT_SUITE(server)
{
    TCase *tc = unit_case(suite, "client", test_words, test_args_are_binary_safe,
                          test_pipeline_larger_than_socket_buffers, test_resp3_and_unix_socket,
                          test_resp3_reply_on_resp2_connection_is_refused, test_silence_and_close,
                          test_replies_can_be_kept, test_raw_and_fd, test_expectations_can_fail);
    tcase_add_unchecked_fixture(tc, start_shared, stop_shared);
    unit_case(suite, "server", test_start_stop_restart, test_failed_start,
              test_taken_port_is_replaced, test_exit_status_is_seen);
}
