/* test_net_end.c -- A peer that ends its side, or breaks the connection, while a reply is on its
 * way.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "net_fixture.h"
#include "tls_client.h"
#include "base/clock.h"
#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- A peer of each kind ---- */

enum kind { TCP, UNIX, TLS_1_2, TLS_1_3, TLS_CUT, KINDS };

struct peer {
    enum kind kind;
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
};

static struct fixture *start(struct tls_files *files, struct tls_config *tls, char *path, size_t n)
{
    struct fixture *f = fixture_new(1);
    tls_files_make(files);
    *tls = (struct tls_config){ .cert_file = files->cert, .key_file = files->key };
    snprintf(path, n, "%s/kv.sock", unit_tmpdir());
    f->config.tls = tls;
    f->config.unixsocket = path;
    fixture_start(f);
    return f;
}

static struct peer come(const struct fixture *f, enum kind kind)
{
    struct peer p = { .kind = kind };
    if (kind == UNIX) {
        struct client *c = client_connect_unix(f->config.unixsocket);
        p.fd = dup(client_fd(c));
        ck_assert_int_eq(fcntl(p.fd, F_SETFL, 0), 0); /* it waits, as the others */
        client_close(c);
        return p;
    }
    p.fd = tls_connect_tcp(kind == TCP ? f->port : f->tls_port);
    if (kind == TCP) {
        return p;
    }
    p.ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(p.ctx, kind == TLS_1_2 ? TLS1_2_VERSION : TLS1_3_VERSION);
    p.ssl = SSL_new(p.ctx);
    SSL_set_fd(p.ssl, p.fd);
    ck_assert_int_eq(SSL_connect(p.ssl), 1);
    return p;
}

static void say(struct peer *p, const char *text)
{
    int n = (int)strlen(text);
    ck_assert_int_eq(p->ssl != NULL ? SSL_write(p->ssl, text, n) : (int)send(p->fd, text, n, 0), n);
}

/* What comes, up to its end or to `most` bytes. */
static const char *hear(struct peer *p, size_t most)
{
    static char text[1000];
    size_t have = 0;
    int n = 1;
    while (n > 0 && have < most && have + 1 < sizeof text) {
        int room =
            (int)(most - have < sizeof text - 1 - have ? most - have : sizeof text - 1 - have);
        n = p->ssl != NULL ? SSL_read(p->ssl, text + have, room)
                           : (int)recv(p->fd, text + have, (size_t)room, 0);
        have += n > 0 ? (size_t)n : 0;
    }
    text[have] = '\0';
    return text;
}

static int64_t handle_of(struct peer *p)
{
    char line[32] = "";
    say(p, "HANDLE\r\n");
    for (size_t n = 0; n + 1 < sizeof line && (n == 0 || line[n - 1] != '\n'); n++) {
        line[n] = hear(p, 1)[0];
    }
    return atoll(line + 1);
}

static void end_side(struct peer *p)
{
    if (p->ssl != NULL && p->kind != TLS_CUT) {
        ck_assert_int_eq(SSL_shutdown(p->ssl), 0);
    } else {
        ck_assert_int_eq(shutdown(p->fd, SHUT_WR), 0);
    }
}

/* A reset needs something that was not read, with a unix socket. */
static void go(struct peer *p, bool reset)
{
    if (reset) {
        struct linger now = { 1, 0 };
        char byte;
        ck_assert_int_eq(recv(p->fd, &byte, 1, MSG_PEEK), 1);
        ck_assert_int_eq(setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    }
    close(p->fd);
    SSL_free(p->ssl);
    SSL_CTX_free(p->ctx);
}

/* Until the end was read, and nothing watches the connection: a loop that did would not sleep. */
static void wait_ended(struct client *c, int64_t h)
{
    int64_t until = clock_mono_ms() + unit_patient_ms(10000);
    while (client_int(c, "ENDED %lld", (long long)h) == 0) {
        ck_assert_int_lt(clock_mono_ms(), until);
        sleep_ms(1);
    }
}

static void unblock(struct client *c, int64_t h)
{
    client_expect(c, "+OK", "UNBLOCK %lld", (long long)h);
}

/* ---- Tests ---- */

/* Each deferred reply, then what was sent behind it; a client that is blocked at last is closed. */
START_TEST(end_waits_for_what_is_deferred)
{
    struct tls_files files;
    struct tls_config tls;
    char path[100];
    struct fixture *f = start(&files, &tls, path, sizeof path);
    struct client *c = connect_to(f);
    struct peer p = come(f, (enum kind)_i);
    int64_t h = handle_of(&p);
    say(&p, "PING\r\nDEFER\r\nECHO a\r\nDEFER\r\nECHO b\r\nBLOCK\r\nECHO c\r\n");
    end_side(&p);
    wait_ended(c, h);
    ck_assert_uint_eq(atomic_load(&f->closed), 0);
    unblock(c, h);
    wait_ended(c, h);
    unblock(c, h);
    ck_assert_str_eq(hear(&p, SIZE_MAX),
                     "+PONG\r\n+UNBLOCKED\r\n$1\r\na\r\n+UNBLOCKED\r\n$1\r\nb\r\n");
    wait_uint(&f->closed, 1);
    go(&p, false);
    client_close(c);
    fixture_stop(f);
}
END_TEST

/* It is closed at once, or when it is told. */
START_TEST(no_end_waits_longer_than_its_connection)
{
    struct tls_files files;
    struct tls_config tls;
    char path[100];
    struct fixture *f = start(&files, &tls, path, sizeof path);
    struct client *c = connect_to(f);
    enum { RESET, KILLED, ENDED_THEN_RESET, STOPPED, HOWS };
    for (unsigned how = 0; how < HOWS; how++) {
        struct peer p = come(f, (enum kind)_i);
        int64_t h = handle_of(&p);
        say(&p, "PING\r\nDEFER\r\nECHO a\r\n");
        if (how != RESET) {
            end_side(&p);
            wait_ended(c, h);
        }
        if (how == KILLED) {
            client_expect(c, "+OK", "KILL %lld", (long long)h);
            ck_assert_str_eq(hear(&p, SIZE_MAX), "+PONG\r\n");
        }
        if (how == STOPPED) {
            client_close(c);
            fixture_stop(f);
        }
        go(&p, how != KILLED);
        if (how == ENDED_THEN_RESET) {
            unblock(c, h);
        }
        if (how != STOPPED) {
            wait_uint(&f->closed, how + 1);
            unblock(c, h); /* finds nothing */
        }
    }
}
END_TEST

/* What was kept may stop the connection for a while, for a reason with which nothing is read. */
START_TEST(end_waits_for_admission)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f), *a = connect_to(f);
    int64_t h = client_int(a, "HANDLE");
    char text[64];
    snprintf(text, sizeof text, "DEFER\r\nSTOP %u 50\r\nECHO x\r\n", STOP_ADMISSION);
    send_text(a, text);
    ck_assert_int_eq(shutdown(client_fd(a), SHUT_WR), 0);
    wait_ended(c, h);
    unblock(c, h);
    client_expect_next(a, "+UNBLOCKED");
    client_expect_next(a, "+OK");
    client_expect_next(a, "\"x\"");
    client_expect_closed(a);
    client_close(a);
    client_close(c);
    fixture_stop(f);
}
END_TEST

static struct client *connect_beside(const struct fixture *f, struct client *a, bool same)
{
    int64_t r = client_int(a, "REACTOR");
    for (;;) {
        struct client *c = connect_to(f);
        if ((client_int(c, "REACTOR") == r) == same) {
            return c;
        }
        client_close(c);
    }
}

/* The same, where the end comes in the turn in which the connection is resumed. */
START_TEST(end_beside_resume_waits_for_admission)
{
    struct fixture *f = fixture_run(2);
    struct client *a = connect_to(f);
    struct client *staller = connect_beside(f, a, true), *other = connect_beside(f, a, false);
    int64_t h = client_int(a, "HANDLE");
    char text[64];
    snprintf(text, sizeof text, "PING\r\nBLOCK\r\nSTOP %u 50\r\nECHO x\r\n", STOP_ADMISSION);
    send_text(a, text);
    client_expect_next(a, "+PONG");
    client_send(staller, "STALL");
    wait_uint(&f->stalls, 1);
    unblock(other, h);
    ck_assert_int_eq(shutdown(client_fd(a), SHUT_WR), 0);
    atomic_store(&f->go, true);
    client_expect_next(a, "+UNBLOCKED");
    client_expect_next(a, "+OK");
    client_expect_next(a, "\"x\"");
    client_expect_closed(a);
    client_expect_next(staller, "+OK");
    client_close(a);
    client_close(staller);
    client_close(other);
    fixture_stop(f);
}
END_TEST

/* Parked behind the disk it keeps no reactor awake, whoever looks at it in each turn, and when it
 * is killed it is freed. */
START_TEST(end_parked_is_quiet)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f), *a = connect_to(f);
    int64_t h = client_int(a, "HANDLE");
    char text[64];
    snprintf(text, sizeof text, "DEFER\r\nSTOP %u 100000\r\nECHO x\r\n", STOP_PARKED);
    send_text(a, text);
    ck_assert_int_eq(shutdown(client_fd(a), SHUT_WR), 0);
    wait_ended(c, h);
    atomic_store(&f->nudged, (uint64_t)h);
    unblock(c, h);
    client_expect_next(a, "+UNBLOCKED");
    struct net_stats before, after;
    net_stats(f->net, &before);
    sleep_ms(200);
    net_stats(f->net, &after);
    ck_assert_uint_lt(after.turns - before.turns, 1000); /* of ticks; a busy one has 100,000 */
    client_expect(c, "+OK", "KILL %lld", (long long)h);
    wait_uint(&f->closed, 1);
    net_stats(f->net, &before);
    sleep_ms(200);
    net_stats(f->net, &after);
    ck_assert_uint_lt(after.turns - before.turns, 1000);
    client_close(a);
    client_close(c);
    fixture_stop(f);
}
END_TEST

UNIT_SUITE(net_end)
{
    unit_case_loop(suite, "deferred", 60, end_waits_for_what_is_deferred, KINDS);
    unit_case_loop(suite, "broken", 60, no_end_waits_longer_than_its_connection, KINDS);
    unit_case(suite, "admission", end_waits_for_admission, end_beside_resume_waits_for_admission,
              end_parked_is_quiet);
}
