/* test_admission.c -- Integration tests of connections that are not read: more is sent than the log
 * takes, or their client is killed, while half a request is there.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "lib/server.h"
#include "lib/unit.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BYTES ((size_t)24 << 20) /* many times what the log may queue */
#define KEYS  900
#define CHUNK ((size_t)1 << 20)

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

static size_t add_request(char *to, unsigned i, unsigned bytes)
{
    size_t n = (size_t)sprintf(to, "*3\r\n$3\r\nSET\r\n$4\r\nk%03u\r\n$%u\r\n", i % KEYS, bytes);
    memset(to + n, 'x', bytes);
    memcpy(to + n, &i, sizeof i);
    memcpy(to + n + bytes, "\r\n", 2);
    return n + bytes + 2;
}

/* Keeps the server's input full, with values of so many bytes. How many requests, and +OK. */
static void flood(struct client *c, unsigned bytes, unsigned *requests, size_t *replies)
{
    char *out = malloc(CHUNK + bytes + 100), in[65536];
    size_t size = 0, sent = 0, total = 0, got_bytes = 0;
    *requests = 0;
    while (total < BYTES || sent < size || got_bytes < (size_t)*requests * 5) {
        if (sent == size && total < BYTES) {
            for (size = sent = 0; size < CHUNK;) {
                size += add_request(out + size, (*requests)++, bytes);
            }
            total += size;
        }
        struct pollfd p = { .fd = client_fd(c), .events = POLLIN };
        p.events |= sent < size ? POLLOUT : 0;
        if (poll(&p, 1, unit_patient_ms(20000)) <= 0) {
            break;
        }
        if ((p.revents & POLLIN) != 0) {
            ssize_t got = read(p.fd, in, sizeof in);
            if (got <= 0) {
                break;
            }
            ck_assert_ptr_null(memchr(in, '-', (size_t)got));
            got_bytes += (size_t)got;
        } else {
            ssize_t put = send(p.fd, out + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
            sent += put > 0 ? (size_t)put : 0;
        }
    }
    free(out);
    *replies = got_bytes / 5;
}

static const unsigned value_bytes[] = { 50, 1000, 9000, 60000, 300000 };

/* What the log has no room for waits at the socket, wherever it ends, and nothing of it is lost. */
START_TEST(test_more_than_the_log_takes)
{
    server_start(&kv, "--threads", "2", "--wal-queue-size", "1mb");
    struct client *c = server_connect(&kv);
    unsigned requests;
    size_t replies;
    flood(c, value_bytes[_i], &requests, &replies);
    ck_assert_uint_eq(replies, requests);
    char *before = strdup(client_line(c, "DEBUG DIGEST"));
    client_close(c);
    server_kill(&kv);
    server_start(&kv, "--threads", "2");
    server_wait_ready(&kv);
    c = server_connect(&kv);
    client_expect(c, before, "DEBUG DIGEST");
    free(before);
    client_close(c);
}
END_TEST

/* While a script has the reactor, the second half of a request arrives, and behind it a command
 * that kills its client: what is left of it is never looked at again. */
START_TEST(test_killed_with_half_a_request)
{
    server_start(&kv, "--threads", "1");
    struct client *x = server_connect(&kv), *k = server_connect(&kv), *z = server_connect(&kv);
    char id[32];
    snprintf(id, sizeof id, "%s", client_line(x, "CLIENT ID"));
    client_send_raw(x, "PING\r\n*2\r\n$3\r\nGET\r\n", 19);
    client_expect_next(x, "+PONG");
    client_send(z, "EVAL \"for i = 1, 60000000 do end return 1\" 0");
    usleep(30000);
    client_send_raw(x, "$1\r\na\r\n", 7);
    usleep(_i == 0 ? 20000 : 0);
    client_send(k, "CLIENT KILL ID %s", id);
    client_expect_next(z, "1");
    client_expect_next(k, "1");
    const struct resp *r = NULL; /* of its GET, if that came first */
    ck_assert(client_try_read(x, &r) != RESP_OK || client_try_read(x, &r) != RESP_OK);
    client_expect(z, "+PONG", "PING");
    client_close(x);
    client_close(k);
    client_close(z);
}
END_TEST

UNIT_SUITE(admission)
{
    TCase *c = unit_case_loop(suite, "full", 120, test_more_than_the_log_takes,
                              sizeof value_bytes / sizeof value_bytes[0]);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_loop(suite, "killed", 60, test_killed_with_half_a_request, 2);
    tcase_add_checked_fixture(c, setup, teardown);
}
