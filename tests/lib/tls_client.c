/* tls_client.c -- A client of the test library behind TLS, and certificates made here.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "tls_client.h"
#include "base/mem.h"
#include "unit.h"
#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

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

void tls_files_make(struct tls_files *f)
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

int tls_connect_tcp(int port)
{
    struct sockaddr_in sa = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

struct client *tls_connect(int port, struct tls_offer offer, pthread_t *thread)
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
    t->fd = tls_connect_tcp(port);
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
