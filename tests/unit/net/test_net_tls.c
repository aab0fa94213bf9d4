/* test_net_tls.c -- The TLS transport, with a certificate made here.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "net_fixture.h"
#include "tls_client.h"
#include "base/mem.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static struct fixture *run_tls(const struct tls_files *files, struct tls_config *tls)
{
    struct fixture *f = fixture_new(2);
    tls->cert_file = files->cert;
    tls->key_file = tls->key_file != NULL ? tls->key_file : files->key;
    f->config.tls = tls;
    fixture_start(f);
    return f;
}

static void end(struct client *c, pthread_t thread)
{
    client_close(c);
    pthread_join(thread, NULL);
}

START_TEST(requests_over_tls)
{
    struct tls_files files;
    struct tls_config tls = { .session_caching = true,
                              .session_cache_size = 20480,
                              .session_cache_timeout = 300 };
    tls_files_make(&files);
    struct fixture *f = run_tls(&files, &tls);
    const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
    for (unsigned i = 0; i < countof(versions); i++) {
        pthread_t thread;
        struct client *c =
            tls_connect(f->tls_port, (struct tls_offer){ .max_version = versions[i] }, &thread);
        ck_assert_ptr_nonnull(c);
        client_expect(c, "+PONG", "PING");
        client_expect(c, "\"tls\"", "KIND");
        client_expect(c, "\"-\"", "CN");
        for (unsigned k = 0; k < 2000; k++) {
            client_send(c, "ECHO v%u", k);
        }
        for (unsigned k = 0; k < 2000; k++) {
            char want[16];
            snprintf(want, sizeof want, "\"v%u\"", k);
            client_expect_next(c, want);
        }
        const struct resp *r = client_ask(c, "BYTES 5000000");
        ck_assert_uint_eq(r->len, 5000000);
        for (size_t b = 0; b < r->len; b++) {
            must(r->text[b] == (char)('a' + b % 26));
        }
        char *big = mem_alloc(3000000);
        memset(big, 'v', 3000000);
        const char *argv[] = { "LEN", big };
        const size_t lens[] = { 3, 3000000 };
        client_send_args(c, 2, argv, lens);
        client_expect_next(c, "3000000");
        mem_free(big);
        client_send(c, "GATE %u x", i + 5);
        client_expect_nothing(c, 30);
        fixture_release(f, i + 5);
        client_expect_next(c, "\"x\"");
        client_expect(c, "+OK", "QUIT");
        client_expect_closed(c);
        end(c, thread);
    }
    struct client *plain = client_connect((uint16_t)f->port);
    client_expect(plain, "+PONG", "PING");
    client_close(plain);
    struct buf lines = { 0 };
    net_listeners(f->net, &lines);
    buf_add_char(&lines, '\0');
    ck_assert_ptr_nonnull(strstr(lines.p, "listener1:name=tls,bind=127.0.0.1,port="));
    buf_free(&lines);
    fixture_stop(f);
}
END_TEST

START_TEST(plain_text_to_the_tls_port)
{
    struct tls_files files;
    struct tls_config tls = { 0 };
    tls_files_make(&files);
    struct fixture *f = run_tls(&files, &tls);
    struct client *c = client_from_fd(tls_connect_tcp(f->tls_port));
    client_send_raw(c, "PING\r\n", 6);
    char b[64];
    int64_t got = 1;
    while (got > 0) { /* an alert, then the end */
        got = recv(client_fd(c), b, sizeof b, 0);
        sleep_ms(got < 0 && errno == EAGAIN ? 1 : 0);
        got = got < 0 && errno == EAGAIN ? 1 : got;
    }
    client_close(c);
    struct net_stats st;
    net_stats(f->net, &st);
    ck_assert_uint_eq(st.tls_accept_errors, 1);
    ck_assert_uint_eq(atomic_load(&f->opened), 0); /* no session without a handshake */
    fixture_stop(f);
}
END_TEST

START_TEST(clients_with_certificates)
{
    struct tls_files files;
    tls_files_make(&files);
    struct tls_config tls = { .auth_clients = 1, .ca_cert_file = files.client_cert };
    struct fixture *f = run_tls(&files, &tls);
    pthread_t thread;
    struct client *c = tls_connect(
        f->tls_port, (struct tls_offer){ .cert = files.client_cert, .key = files.client_key },
        &thread);
    ck_assert_ptr_nonnull(c);
    client_expect(c, "\"alice\"", "CN");
    end(c, thread);
    c = tls_connect(f->tls_port, (struct tls_offer){ .max_version = TLS1_2_VERSION }, &thread);
    ck_assert_ptr_null(c); /* none given, one asked for */
    c = tls_connect(
        f->tls_port,
        (struct tls_offer){ .cert = files.cert, .key = files.key, .max_version = TLS1_2_VERSION },
        &thread);
    ck_assert_ptr_null(c); /* of another authority */
    fixture_stop(f);
}
END_TEST

START_TEST(optional_certificates_and_changes)
{
    struct tls_files files;
    tls_files_make(&files);
    struct tls_config tls = { .auth_clients = 2,
                              .ca_cert_file = files.client_cert,
                              .key_file = files.locked_key,
                              .key_file_pass = "secret" };
    struct fixture *f = run_tls(&files, &tls);
    pthread_t first, second;
    struct client *a = tls_connect(f->tls_port, (struct tls_offer){ 0 }, &first);
    ck_assert_ptr_nonnull(a);
    client_expect(a, "\"-\"", "CN");
    struct buf error = { 0 };
    tls.protocols = "TLSv1.3";
    ck_assert_int_eq(net_set_tls(f->net, &tls, &error), 0);
    ck_assert_ptr_null(
        tls_connect(f->tls_port, (struct tls_offer){ .max_version = TLS1_2_VERSION }, &second));
    struct client *b = tls_connect(f->tls_port, (struct tls_offer){ 0 }, &second);
    ck_assert_ptr_nonnull(b);
    client_expect(b, "+PONG", "PING");
    client_expect(a, "+PONG", "PING"); /* the session keeps what it began with */
    tls.protocols = "TLSv9";
    ck_assert_int_eq(net_set_tls(f->net, &tls, &error), -EINVAL);
    client_expect(b, "+PONG", "PING");
    buf_free(&error);
    end(a, first);
    end(b, second);
    fixture_stop(f);
}
END_TEST

static void expect_refused(struct tls_config tls, const char *text)
{
    struct tls_context *t = NULL;
    struct buf error = { 0 };
    ck_assert_int_lt(tls_context_new(&t, &tls, &error), 0);
    buf_add_char(&error, '\0');
    ck_assert_msg(strstr(error.p, text) != NULL, "%s", error.p);
    buf_free(&error);
}

START_TEST(bad_configurations)
{
    struct tls_files files;
    tls_files_make(&files);
    struct tls_config good = { .cert_file = files.cert, .key_file = files.key }, bad;
    struct tls_context *t;
    struct buf error = { 0 };
    good.ciphers = "HIGH";
    good.ciphersuites = "TLS_AES_128_GCM_SHA256";
    good.prefer_server_ciphers = true;
    good.protocols = "TLSv1.2 TLSv1.3";
    ck_assert_int_eq(tls_context_new(&t, &good, &error), 0);
    tls_context_free(t);
    bad = good;
    bad.cert_file = NULL;
    expect_refused(bad, "No tls-cert-file configured!");
    bad = good;
    bad.key_file = "";
    expect_refused(bad, "No tls-key-file configured!");
    bad = good;
    bad.cert_file = "/nonexistent";
    expect_refused(bad, "Failed to load certificate: /nonexistent");
    bad = good;
    bad.key_file = files.client_key;
    expect_refused(bad, "private key");
    bad = good;
    bad.key_file = files.locked_key;
    bad.key_file_pass = "wrong";
    expect_refused(bad, "Failed to load private key");
    bad = good;
    bad.auth_clients = 1;
    expect_refused(bad, "Either tls-ca-cert-file or tls-ca-cert-dir must be specified");
    bad = good;
    bad.ca_cert_file = "/nonexistent";
    expect_refused(bad, "Failed to configure CA certificate(s)");
    bad = good;
    bad.ciphers = "NONSENSE";
    expect_refused(bad, "Failed to configure ciphers");
    bad = good;
    bad.ciphersuites = "NONSENSE";
    expect_refused(bad, "Failed to configure ciphersuites");
    bad = good;
    bad.dh_params_file = files.key;
    expect_refused(bad, "Failed to read DH params file");
    bad = good;
    bad.protocols = "SSLv3";
    expect_refused(bad, "Invalid tls-protocols specified: SSLv3");
}
END_TEST

UNIT_SUITE(net_tls)
{
    unit_case(suite, "tls", requests_over_tls, plain_text_to_the_tls_port,
              clients_with_certificates, optional_certificates_and_changes, bad_configurations);
}
