/* test_net_tls.c -- The TLS transport, with a certificate made here.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "net_fixture.h"
#include "base/mem.h"
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

struct files {
    char cert[160], key[160], locked_key[160], client_cert[160], client_key[160];
};

static void write_pair(EVP_PKEY *key, X509 *cert, const char *cert_path, const char *key_path,
                       const char *pass)
{
    FILE *out = fopen(cert_path, "w");
    ck_assert_ptr_nonnull(out);
    ck_assert(PEM_write_X509(out, cert));
    fclose(out);
    out = fopen(key_path, "w");
    ck_assert_ptr_nonnull(out);
    ck_assert(PEM_write_PrivateKey(out, key, pass != NULL ? EVP_aes_128_cbc() : NULL,
                                   (const unsigned char *)pass,
                                   pass != NULL ? (int)strlen(pass) : 0, NULL, NULL));
    fclose(out);
}

static X509 *make_certificate(EVP_PKEY *key, const char *name)
{
    X509 *x = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME *subject = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, subject);
    ck_assert_int_gt(X509_sign(x, key, EVP_sha256()), 0);
    return x;
}

static void make_files(struct files *f)
{
    const char *dir = unit_tmpdir();
    snprintf(f->cert, sizeof f->cert, "%s/cert.pem", dir);
    snprintf(f->key, sizeof f->key, "%s/key.pem", dir);
    snprintf(f->locked_key, sizeof f->locked_key, "%s/locked.pem", dir);
    snprintf(f->client_cert, sizeof f->client_cert, "%s/client-cert.pem", dir);
    snprintf(f->client_key, sizeof f->client_key, "%s/client-key.pem", dir);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = make_certificate(key, "kv test");
    write_pair(key, cert, f->cert, f->key, NULL);
    write_pair(key, cert, f->cert, f->locked_key, "secret");
    X509_free(cert);
    EVP_PKEY_free(key);
    key = EVP_EC_gen("P-256");
    cert = make_certificate(key, "alice");
    write_pair(key, cert, f->client_cert, f->client_key, NULL);
    X509_free(cert);
    EVP_PKEY_free(key);
}

/* A TLS client behind a socket pair, so that the plain client of the test library can be used: a
 * thread carries the bytes. */
struct tunnel {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd, inner;
    pthread_t thread;
};

static bool pump(struct tunnel *t)
{
    char b[16384];
    fd_set in;
    FD_ZERO(&in);
    FD_SET(t->fd, &in);
    FD_SET(t->inner, &in);
    if (SSL_pending(t->ssl) == 0 &&
        select(1 + (t->fd > t->inner ? t->fd : t->inner), &in, NULL, NULL, NULL) < 0) {
        return false;
    }
    if (SSL_pending(t->ssl) > 0 || FD_ISSET(t->fd, &in)) {
        int n = SSL_read(t->ssl, b, sizeof b);
        if (n <= 0 && SSL_get_error(t->ssl, n) == SSL_ERROR_WANT_READ) {
            return true;
        }
        if (n <= 0 || send(t->inner, b, (size_t)n, MSG_NOSIGNAL) != n) {
            return false;
        }
    } else if (FD_ISSET(t->inner, &in)) {
        ssize_t n = recv(t->inner, b, sizeof b, 0);
        return n > 0 && SSL_write(t->ssl, b, (int)n) == n;
    }
    return true;
}

static void *carry(void *arg)
{
    struct tunnel *t = arg;
    while (pump(t)) {
    }
    SSL_free(t->ssl);
    SSL_CTX_free(t->ctx);
    close(t->fd);
    close(t->inner);
    mem_free(t);
    return NULL;
}

static int connect_tcp(int port)
{
    struct sockaddr_in sa = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

struct offer {
    const char *cert, *key; /* of the client, or NULL */
    int max_version;
};

/* NULL when the handshake fails. The thread ends when the client is closed. */
static struct client *connect_tls(int port, struct offer offer, pthread_t *thread)
{
    struct tunnel *t = mem_calloc(sizeof *t);
    t->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_clear_mode(t->ctx, SSL_MODE_AUTO_RETRY); /* a session ticket is not a reply */
    if (offer.cert != NULL) {
        ck_assert(SSL_CTX_use_certificate_file(t->ctx, offer.cert, SSL_FILETYPE_PEM));
        ck_assert(SSL_CTX_use_PrivateKey_file(t->ctx, offer.key, SSL_FILETYPE_PEM));
    }
    if (offer.max_version != 0) {
        SSL_CTX_set_max_proto_version(t->ctx, offer.max_version);
    }
    t->fd = connect_tcp(port);
    t->ssl = SSL_new(t->ctx);
    SSL_set_fd(t->ssl, t->fd);
    if (SSL_connect(t->ssl) != 1) {
        SSL_free(t->ssl);
        SSL_CTX_free(t->ctx);
        close(t->fd);
        mem_free(t);
        return NULL;
    }
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    t->inner = pair[1];
    pthread_create(thread, NULL, carry, t);
    return client_from_fd(pair[0]);
}

static struct fixture *run_tls(const struct files *files, struct tls_config *tls)
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
    struct files files;
    struct tls_config tls = { .session_caching = true,
                              .session_cache_size = 20480,
                              .session_cache_timeout = 300 };
    make_files(&files);
    struct fixture *f = run_tls(&files, &tls);
    const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
    for (unsigned i = 0; i < countof(versions); i++) {
        pthread_t thread;
        struct client *c =
            connect_tls(f->tls_port, (struct offer){ .max_version = versions[i] }, &thread);
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
    struct files files;
    struct tls_config tls = { 0 };
    make_files(&files);
    struct fixture *f = run_tls(&files, &tls);
    struct client *c = client_from_fd(connect_tcp(f->tls_port));
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
    struct files files;
    make_files(&files);
    struct tls_config tls = { .auth_clients = 1, .ca_cert_file = files.client_cert };
    struct fixture *f = run_tls(&files, &tls);
    pthread_t thread;
    struct client *c = connect_tls(
        f->tls_port, (struct offer){ .cert = files.client_cert, .key = files.client_key }, &thread);
    ck_assert_ptr_nonnull(c);
    client_expect(c, "\"alice\"", "CN");
    end(c, thread);
    c = connect_tls(f->tls_port, (struct offer){ .max_version = TLS1_2_VERSION }, &thread);
    ck_assert_ptr_null(c); /* none given, one asked for */
    c = connect_tls(
        f->tls_port,
        (struct offer){ .cert = files.cert, .key = files.key, .max_version = TLS1_2_VERSION },
        &thread);
    ck_assert_ptr_null(c); /* of another authority */
    fixture_stop(f);
}
END_TEST

START_TEST(optional_certificates_and_changes)
{
    struct files files;
    make_files(&files);
    struct tls_config tls = { .auth_clients = 2,
                              .ca_cert_file = files.client_cert,
                              .key_file = files.locked_key,
                              .key_file_pass = "secret" };
    struct fixture *f = run_tls(&files, &tls);
    pthread_t first, second;
    struct client *a = connect_tls(f->tls_port, (struct offer){ 0 }, &first);
    ck_assert_ptr_nonnull(a);
    client_expect(a, "\"-\"", "CN");
    struct buf error = { 0 };
    tls.protocols = "TLSv1.3";
    ck_assert_int_eq(net_set_tls(f->net, &tls, &error), 0);
    ck_assert_ptr_null(
        connect_tls(f->tls_port, (struct offer){ .max_version = TLS1_2_VERSION }, &second));
    struct client *b = connect_tls(f->tls_port, (struct offer){ 0 }, &second);
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
    struct files files;
    make_files(&files);
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
