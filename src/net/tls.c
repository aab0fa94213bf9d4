/* tls.c -- TLS as a second transport behind a connection.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 *     The reactor sees bytes and readiness; only here a read may want to write and a write to read.
 *     While that is so the session asks for the other event too (tls_events), and whichever event
 *     comes, both directions are tried again.
 *
 * THREADS
 *     A context is shared and counted: CONFIG SET replaces net->tls under net->lock, sessions keep
 *     the one they began with. A session belongs to its connection's reactor.
 *
 * FAILURE
 *     A handshake that fails, or takes longer than HANDSHAKE_MS, is counted and closes. */
#include "net/net_int.h"
#include "base/mem.h"
#include <errno.h>
#include <openssl/dh.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdatomic.h>

#define HANDSHAKE_MS 30000
#define RECORD_BYTES 16384 /* the most that one TLS record carries */

struct tls_context {
    SSL_CTX *ctx; /* counted by OpenSSL; each SSL holds a reference */
};

struct tls_session {
    SSL *ssl;
    struct conn *conn;
    bool handshaking;
    bool read_wants_write, write_wants_read;
    struct reactor_timer deadline;
};

/* ---- Context ---- */

static int password(char *buf, int size, int writing unused_arg, void *arg)
{
    const char *pass = arg;
    size_t n = pass != NULL ? strlen(pass) : 0;
    if (n > (size_t)size) {
        return -1;
    }
    memcpy(buf, pass != NULL ? pass : "", n);
    return (int)n;
}

static bool given(const char *s)
{
    return s != NULL && s[0] != '\0';
}

static bool complain(struct buf *error, const char *what, const char *arg)
{
    char text[256];
    ERR_error_string_n(ERR_peek_last_error(), text, sizeof text);
    ERR_clear_error();
    buf_printf(error, "%s%s%s: %s", what, arg != NULL ? ": " : "", arg != NULL ? arg : "", text);
    return false;
}

static bool set_protocols(SSL_CTX *ctx, const char *protocols, struct buf *error)
{
    static const struct {
        const char *name;
        uint64_t off;
    } known[] = {
        { "tlsv1", SSL_OP_NO_TLSv1 },
        { "tlsv1.1", SSL_OP_NO_TLSv1_1 },
        { "tlsv1.2", SSL_OP_NO_TLSv1_2 },
        { "tlsv1.3", SSL_OP_NO_TLSv1_3 },
    };
    uint64_t off = SSL_OP_NO_SSLv2 | SSL_OP_NO_SSLv3 | SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1;
    if (given(protocols)) {
        struct buf store = { 0 };
        struct slice *word;
        unsigned n;
        off |= SSL_OP_NO_TLSv1_2 | SSL_OP_NO_TLSv1_3;
        if (!split_args(slice_str(protocols), &store, &word, &n)) {
            n = 0;
            word = NULL;
        }
        bool ok = n > 0;
        for (unsigned i = 0; i < n; i++) {
            unsigned k = 0;
            while (k < countof(known) && !slice_is(word[i], known[k].name)) {
                k++;
            }
            ok = ok && k < countof(known);
            off &= k < countof(known) ? ~known[k].off : off;
        }
        mem_free(word);
        buf_free(&store);
        if (!ok) {
            buf_printf(error, "Invalid tls-protocols specified: %s", protocols);
            return false;
        }
    }
    SSL_CTX_set_options(ctx, off);
    return true;
}

static bool set_certificates(SSL_CTX *ctx, const struct tls_config *cfg, struct buf *error)
{
    if (!given(cfg->cert_file) || !given(cfg->key_file)) {
        buf_add_str(error, given(cfg->cert_file) ? "No tls-key-file configured!"
                                                 : "No tls-cert-file configured!");
        return false;
    }
    SSL_CTX_set_default_passwd_cb(ctx, password);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, (void *)(uintptr_t)cfg->key_file_pass);
    bool ok = true;
    if (SSL_CTX_use_certificate_chain_file(ctx, cfg->cert_file) <= 0) {
        ok = complain(error, "Failed to load certificate", cfg->cert_file);
    } else if (SSL_CTX_use_PrivateKey_file(ctx, cfg->key_file, SSL_FILETYPE_PEM) <= 0) {
        ok = complain(error, "Failed to load private key", cfg->key_file);
    } else if (SSL_CTX_check_private_key(ctx) <= 0) {
        ok = complain(error, "The private key does not belong to the certificate", NULL);
    }
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL); /* the caller's text may go */
    return ok;
}

static bool set_verification(SSL_CTX *ctx, const struct tls_config *cfg, struct buf *error)
{
    bool ca = given(cfg->ca_cert_file) || given(cfg->ca_cert_dir);
    if (cfg->auth_clients != 0 && !ca) {
        buf_add_str(error, "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when "
                           "tls-cluster, tls-replication or tls-auth-clients are enabled!");
        return false;
    }
    if (ca &&
        SSL_CTX_load_verify_locations(ctx, given(cfg->ca_cert_file) ? cfg->ca_cert_file : NULL,
                                      given(cfg->ca_cert_dir) ? cfg->ca_cert_dir : NULL) <= 0) {
        return complain(error, "Failed to configure CA certificate(s) file/directory", NULL);
    }
    int mode = SSL_VERIFY_NONE;
    if (cfg->auth_clients != 0) {
        mode = SSL_VERIFY_PEER | (cfg->auth_clients == 1 ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    }
    SSL_CTX_set_verify(ctx, mode, NULL);
    return true;
}

static bool set_dh(SSL_CTX *ctx, const char *file, struct buf *error)
{
    if (!given(file)) {
        SSL_CTX_set_dh_auto(ctx, 1);
        return true;
    }
    BIO *bio = BIO_new_file(file, "r");
    EVP_PKEY *dh = bio != NULL ? PEM_read_bio_Parameters(bio, NULL) : NULL;
    BIO_free(bio);
    if (dh == NULL || SSL_CTX_set0_tmp_dh_pkey(ctx, dh) <= 0) {
        EVP_PKEY_free(dh);
        return complain(error, "Failed to read DH params file", file);
    }
    return true;
}

static bool set_ciphers(SSL_CTX *ctx, const struct tls_config *cfg, struct buf *error)
{
    if (given(cfg->ciphers) && !SSL_CTX_set_cipher_list(ctx, cfg->ciphers)) {
        return complain(error, "Failed to configure ciphers", cfg->ciphers);
    }
    if (given(cfg->ciphersuites) && !SSL_CTX_set_ciphersuites(ctx, cfg->ciphersuites)) {
        return complain(error, "Failed to configure ciphersuites", cfg->ciphersuites);
    }
    if (cfg->prefer_server_ciphers) {
        SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    }
    return true;
}

static void set_sessions(SSL_CTX *ctx, const struct tls_config *cfg)
{
    static const unsigned char id[] = "kv";
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* Without it who resumes is refused where client certificates are asked for: also one who has a
     * session from when caching was on. */
    SSL_CTX_set_session_id_context(ctx, id, sizeof id - 1);
    if (cfg->session_caching) {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
        SSL_CTX_sess_set_cache_size(ctx, cfg->session_cache_size);
        SSL_CTX_set_timeout(ctx, cfg->session_cache_timeout);
    } else { /* a ticket is a session that the client keeps */
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ctx, 0);
    }
}

int tls_context_new(struct tls_context **out, const struct tls_config *cfg, struct buf *error)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL) {
        complain(error, "Failed to create a TLS context", NULL);
        return -ENOMEM;
    }
    set_sessions(ctx, cfg);
    if (!set_protocols(ctx, cfg->protocols, error) || !set_certificates(ctx, cfg, error) ||
        !set_verification(ctx, cfg, error) || !set_dh(ctx, cfg->dh_params_file, error) ||
        !set_ciphers(ctx, cfg, error)) {
        SSL_CTX_free(ctx);
        return -EINVAL;
    }
    struct tls_context *t = mem_alloc(sizeof *t);
    t->ctx = ctx;
    *out = t;
    return 0;
}

void tls_context_free(struct tls_context *t)
{
    if (t != NULL) {
        SSL_CTX_free(t->ctx);
        mem_free(t);
    }
}

/* ---- Session ---- */

static void handshake_failed(struct conn *c)
{
    counter_add(&c->reactor->stats.tls_accept_errors, 1);
    conn_fail(c);
}

static void deadline_passed(struct reactor *r unused_arg, struct reactor_timer *t)
{
    handshake_failed(container_of(t, struct tls_session, deadline)->conn);
}

bool tls_attach(struct conn *c)
{
    struct net *n = c->reactor->net;
    lock_acquire(&n->lock);
    SSL *ssl = n->tls != NULL ? SSL_new(n->tls->ctx) : NULL;
    lock_release(&n->lock);
    if (ssl == NULL || !SSL_set_fd(ssl, c->fd)) {
        SSL_free(ssl);
        ERR_clear_error();
        return false;
    }
    SSL_set_accept_state(ssl);
    struct tls_session *t = mem_calloc(sizeof *t);
    t->ssl = ssl;
    t->conn = c;
    t->handshaking = true;
    t->deadline.fire = deadline_passed;
    c->tls = t;
    reactor_timer_set(c->reactor, &t->deadline, c->reactor->now_ms + HANDSHAKE_MS);
    return true;
}

void tls_detach(struct conn *c)
{
    struct tls_session *t = c->tls;
    reactor_timer_cancel(c->reactor, &t->deadline);
    if (!t->handshaking) {
        (void)SSL_shutdown(t->ssl); /* one try at close_notify; the socket closes anyway */
        ERR_clear_error();
    }
    SSL_free(t->ssl);
    mem_free(t);
    c->tls = NULL;
}

/* What a call that returned rc <= 0 means: -EAGAIN, 0 for the peer's end, another -errno. */
static ssize_t verdict(struct tls_session *t, int rc, bool writing)
{
    int error = errno;
    switch (SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ: t->write_wants_read = writing; return -EAGAIN;
    case SSL_ERROR_WANT_WRITE: t->read_wants_write = !writing; return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_SYSCALL: return error != 0 && error != EAGAIN ? -error : -ECONNRESET;
    default: return -EPROTO;
    }
}

void tls_handshake(struct conn *c)
{
    struct tls_session *t = c->tls;
    ERR_clear_error();
    errno = 0;
    t->read_wants_write = false;
    int rc = SSL_do_handshake(t->ssl);
    if (rc == 1) {
        t->handshaking = false;
        reactor_timer_cancel(c->reactor, &t->deadline);
        conn_opened(c);
        if (tls_has_input(c)) {
            c->revents |= EV_READ;
            list_push(c->reactor, LIST_READY, c);
        }
    } else if (verdict(t, rc, false) != -EAGAIN) {
        handshake_failed(c);
    }
    ERR_clear_error();
}

bool tls_handshaking(const struct conn *c)
{
    return c->tls->handshaking;
}

ssize_t tls_read(struct conn *c, char *p, size_t n)
{
    struct tls_session *t = c->tls;
    ERR_clear_error();
    errno = 0;
    t->read_wants_write = false;
    size_t got = 0;
    int rc = SSL_read_ex(t->ssl, p, n, &got);
    ssize_t result = rc > 0 ? (ssize_t)got : verdict(t, rc, false);
    ERR_clear_error();
    return result;
}

/* What it takes from the socket epoll no longer sees. */
size_t tls_peek(struct conn *c, char *p, size_t n)
{
    struct tls_session *t = c->tls;
    ERR_clear_error();
    errno = 0;
    size_t got = 0;
    int rc = SSL_peek_ex(t->ssl, p, n, &got);
    if (rc > 0 || verdict(t, rc, false) != -EAGAIN || t->read_wants_write) {
        c->revents |= EV_READ;
        list_push(c->reactor, LIST_READY, c);
    }
    ERR_clear_error();
    return rc > 0 ? got : 0;
}

/* Small pieces are gathered, so that a turn's replies are one record. */
ssize_t tls_write(struct conn *c, const struct iovec *v, unsigned n)
{
    struct tls_session *t = c->tls;
    char record[RECORD_BYTES];
    const char *p = v[0].iov_base;
    size_t len = v[0].iov_len;
    if (n > 1 && len < RECORD_BYTES) {
        len = 0;
        for (unsigned i = 0; i < n && len < RECORD_BYTES; i++) {
            size_t part = size_min(v[i].iov_len, RECORD_BYTES - len);
            memcpy(record + len, v[i].iov_base, part);
            len += part;
        }
        p = record;
    }
    ERR_clear_error();
    errno = 0;
    t->write_wants_read = false;
    size_t sent = 0;
    int rc = SSL_write_ex(t->ssl, p, len, &sent);
    ssize_t result = rc > 0 ? (ssize_t)sent : verdict(t, rc, true);
    ERR_clear_error();
    return result == 0 ? -EPIPE : result;
}

bool tls_has_input(const struct conn *c)
{
    return !c->tls->handshaking && SSL_pending(c->tls->ssl) > 0;
}

int tls_events(const struct conn *c)
{
    const struct tls_session *t = c->tls;
    return (t->handshaking || t->write_wants_read ? EV_READ : 0) |
           (t->read_wants_write ? EV_WRITE : 0);
}

bool conn_tls_peer_name(const struct conn *c, struct buf *cn)
{
    if (c->tls == NULL) {
        return false;
    }
    X509 *cert = SSL_get1_peer_certificate(c->tls->ssl);
    bool found = false;
    if (cert != NULL) {
        X509_NAME *name = X509_get_subject_name(cert);
        int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
        unsigned char *text = NULL;
        int n = at >= 0 ? ASN1_STRING_to_UTF8(
                              &text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)))
                        : -1;
        if (n >= 0) {
            buf_add(cn, text, (size_t)n);
            OPENSSL_free(text);
            found = true;
        }
        X509_free(cert);
    }
    return found;
}
