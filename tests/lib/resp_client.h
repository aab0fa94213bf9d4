/* resp_client.h -- A connection to a server under test: raw bytes or commands out, strictly read
 * replies in. SPDX-License-Identifier: BSD-3-Clause
 *
 *     struct client *c = client_connect(server.port);
 *     client_expect(c, "+OK", "SET %s 'a b'", key);
 *     client_expect(c, "[\"a b\", nil]", "MGET %s nokey", key);
 *     client_close(c);
 *
 * A command is one line: a format for printf, then split into words as redis-cli does ('...',
 * "...\x00\n\"..."). For binary or generated arguments: client_send_args(). Every read and write
 * has a time limit (30 s; sanitizer runs more). Functions without try_ fail the running test when
 * the peer closes, answers something malformed or does not answer; those with try_ tell. A client
 * belongs to one thread at a time. */
#ifndef TESTS_RESP_CLIENT_H
#define TESTS_RESP_CLIENT_H

#include "resp_reply.h"
#include <check.h>

struct client;

struct client *client_connect(uint16_t port); /* 127.0.0.1, RESP2 */
struct client *client_connect_unix(const char *path);
struct client *client_try_connect(uint16_t port); /* NULL and errno when refused */
struct client *client_from_fd(int fd); /* any connected stream socket; the client owns it */
void client_close(struct client *c);   /* NULL is fine */

void client_timeout(struct client *c, int ms);     /* of each read and write; 0 waits for nothing */
void client_hello(struct client *c, int protocol); /* HELLO; replies are read as that protocol */
/* How the following replies are read, without telling the server. */
void client_protocol(struct client *c, int protocol);
int client_fd(const struct client *c);

/* Sending; while the peer does not take more, replies are read into the client's buffer, so that a
 * long pipeline cannot lock up both ends. try_: false when the connection is gone or the time limit
 * has passed. */
void client_send_raw(struct client *c, const void *bytes, size_t len);
bool client_try_send_raw(struct client *c, const void *bytes, size_t len);
void client_send_args(struct client *c, size_t argc, const char *const *argv, const size_t *lens);
void client_send(struct client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool client_try_send(struct client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Replies belong to the client and are valid until it reads the next one; client_take() makes the
 * last one the caller's. */
const struct resp *client_read(struct client *c);
enum resp_status client_try_read(struct client *c, const struct resp **out);
const char *client_read_line(struct client *c); /* as resp_line() writes it */
struct resp *client_take(struct client *c);
/* The last RESP_MALFORMED, or what went wrong while sending. */
const char *client_problem(const struct client *c);
/* Fails when anything arrives within `ms`: a blocked command stays blocked. */
void client_expect_nothing(struct client *c, int ms);
/* Reads until the peer closes; fails when it sends a reply instead. */
void client_expect_closed(struct client *c);

/* Send one command and read its reply. */
const struct resp *client_ask(struct client *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
const char *client_line(struct client *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int64_t client_int(struct client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Fails here unless the reply, as a line, is `expected`. */
#define client_expect(c, expected, ...) ck_assert_str_eq(client_line(c, __VA_ARGS__), expected)
#define client_expect_next(c, expected) ck_assert_str_eq(client_read_line(c), expected)
/* Fails here unless the reply is an error that starts with `prefix` ("WRONGTYPE"). */
#define client_expect_error(c, prefix, ...)                                                       \
    ck_assert_msg(client_line_starts(c, "-" prefix, __VA_ARGS__), "expected -%s, got %s", prefix, \
                  client_last_line(c))
bool client_line_starts(struct client *c, const char *prefix, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
const char *client_last_line(const struct client *c);
#endif
