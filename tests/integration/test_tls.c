/* test_tls.c -- Clients behind TLS where plain ones are not enough to see it: beside a script that
 * takes long. SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/clock.h"
#include "server.h"
#include "tls_client.h"
#include "unit.h"
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct server kv;
static uint16_t port;

static struct tls_files files;

static void start_with(const char *auth, const char *caching)
{
    tls_files_make(&files);
    port = server_free_port();
    char text[8];
    snprintf(text, sizeof text, "%u", port);
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "1", "--busy-reply-threshold", "20", "--tls-port", text,
                 "--tls-cert-file", files.cert, "--tls-key-file", files.key, "--tls-ca-cert-file",
                 files.client_cert, "--tls-auth-clients", auth, "--tls-session-caching", caching);
    server_wait_ready(&kv);
}

static void start(void)
{
    start_with("no", "yes");
}

static void stop(void)
{
    server_stop(&kv);
}

struct visitor {
    struct client *c;
    pthread_t thread;
};

static struct visitor come(int max_version)
{
    struct visitor v;
    v.c = tls_connect(port, (struct tls_offer){ .max_version = max_version }, &v.thread);
    ck_assert_ptr_nonnull(v.c);
    return v;
}

static void go(struct visitor *v)
{
    client_close(v->c);
    pthread_join(v->thread, NULL);
}

/* The script's reactor is the only one: what its clients ask comes out of records that nobody has
 * read, and handshakes go on, too. */
static void busy(int max_version)
{
    enum { LEAVING = 4 };
    struct visitor runner = come(max_version), a = come(max_version), leaving[LEAVING];
    for (unsigned i = 0; i < LEAVING; i++) {
        leaving[i] = come(max_version);
        client_expect(leaving[i].c, "nil", "GET k");
    }
    int silent = tls_connect_tcp(port); /* never says anything */
    client_send(runner.c, "EVAL 'while true do end' 0");
    int64_t until = clock_mono_ms() + unit_patient_ms(20000);
    while (strncmp(client_line(a.c, "GET k"), "-BUSY", 5) != 0) {
        ck_assert_int_lt(clock_mono_ms(), until);
    }
    for (unsigned i = 0; i < LEAVING; i++) {
        go(&leaving[i]);
    }
    client_send_raw(a.c, "GET k\r\nMULTI\r\nGET k\r\nEXEC\r\n", 27); /* one record */
    ck_assert(strncmp(client_read_line(a.c), "-BUSY", 5) == 0);
    client_expect_next(a.c, "+OK");
    ck_assert(strncmp(client_read_line(a.c), "-BUSY", 5) == 0);
    ck_assert(strncmp(client_read_line(a.c), "-EXECABORT", 10) == 0);
    client_send(a.c, "ECHO later"); /* it waits, though its bytes are not in the socket any more */
    struct visitor late = come(max_version);
    client_expect_error(late.c, "BUSY", "GET k");
    client_expect(late.c, "+OK", "SCRIPT KILL");
    ck_assert(strstr(client_read_line(runner.c), "Script killed by user") != NULL);
    const char *got = client_read_line(a.c);
    ck_assert_msg(strncmp(got, "-BUSY", 5) == 0 || strcmp(got, "\"later\"") == 0, "%s", got);
    client_expect(a.c, "nil", "GET k");
    while (strstr(client_ask(late.c, "INFO clients")->text, "connected_clients:3\r") == NULL) {
        ck_assert_int_lt(clock_mono_ms(), until);
    }
    close(silent);
    go(&runner);
    go(&a);
    go(&late);
}

START_TEST(test_busy)
{
    busy(TLS1_3_VERSION);
    busy(TLS1_2_VERSION);
}
END_TEST

/* While the files are exchanged, what has nothing to do with them can be set; and whoever is served
 * with the old certificate goes on to be. */
START_TEST(test_certificates_are_exchanged)
{
    char aside[200];
    struct client *c = server_connect(&kv);
    snprintf(aside, sizeof aside, "%s.aside", files.cert);
    ck_assert_int_eq(rename(files.cert, aside), 0);
    client_expect(c, "+OK", "CONFIG SET bind '127.0.0.1 127.0.0.2'");
    client_expect(c, "+OK", "CONFIG SET port %u", server_free_port());
    client_expect_error(c,
                        "ERR CONFIG SET failed (possibly related to argument 'tls-cert-file') - "
                        "Unable to update TLS configuration. Check server logs.",
                        "CONFIG SET tls-cert-file %s", files.cert);
    client_expect(c, "+OK", "CONFIG SET port %u", kv.port);
    struct visitor v = come(0);
    client_expect(v.c, "+PONG", "PING");
    go(&v);
    client_expect(c, "+OK", "CONFIG SET tls-port 0");
    client_expect(c, "+OK", "CONFIG SET tls-key-file %s",
                  files.key); /* read when there is a port */
    client_expect_error(c, "ERR CONFIG SET failed", "CONFIG SET tls-port %u", port);
    ck_assert_int_eq(rename(aside, files.cert), 0);
    client_expect(c, "+OK", "CONFIG SET tls-port %u", port);
    v = come(0);
    client_expect(v.c, "+PONG", "PING");
    go(&v);
    client_close(c);
}
END_TEST

/* NULL: refused. Otherwise what the client may come back with. */
static SSL_SESSION *visit(SSL_CTX *ctx, SSL_SESSION *with, bool *resumed)
{
    char text[7];
    SSL_SESSION *left = NULL;
    SSL *ssl = SSL_new(ctx);
    int fd = tls_connect_tcp(port);
    SSL_set_fd(ssl, fd);
    if (with != NULL) {
        SSL_set_session(ssl, with);
    }
    if (SSL_connect(ssl) == 1 && SSL_write(ssl, "PING\r\n", 6) == 6 &&
        SSL_read(ssl, text, sizeof text) == sizeof text) {
        *resumed = SSL_session_reused(ssl);
        left = SSL_get1_session(ssl);
        SSL_shutdown(ssl); /* else it may not come back */
    }
    SSL_free(ssl);
    close(fd);
    return left;
}

/* Who comes again with what he has of the first time is served, whether that is good for something
 * or not: here with a certificate, which the server does not ask for twice. */
START_TEST(test_resumption)
{
    bool caching = _i % 2 == 1, resumed = false;
    start_with("yes", caching ? "yes" : "no");
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    ck_assert_int_eq(SSL_CTX_use_certificate_file(ctx, files.client_cert, SSL_FILETYPE_PEM), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey_file(ctx, files.client_key, SSL_FILETYPE_PEM), 1);
    SSL_CTX_set_max_proto_version(ctx, _i < 2 ? TLS1_2_VERSION : TLS1_3_VERSION);
    SSL_SESSION *first = visit(ctx, NULL, &resumed), *second;
    ck_assert_ptr_nonnull(first);
    ck_assert(!resumed);
    second = visit(ctx, first, &resumed);
    ck_assert_ptr_nonnull(second);
    ck_assert_int_eq(resumed, caching);
    SSL_SESSION_free(first);
    SSL_SESSION_free(second);
    SSL_CTX_free(ctx);
}
END_TEST

UNIT_SUITE(tls)
{
    TCase *tc = unit_case(suite, "one reactor", test_busy);
    tcase_add_checked_fixture(tc, start, stop);
    tc = unit_case(suite, "exchanged", test_certificates_are_exchanged);
    tcase_add_checked_fixture(tc, start, stop);
    tc = unit_case_loop(suite, "resumption", 120, test_resumption, 4);
    tcase_add_checked_fixture(tc, NULL, stop);
}
