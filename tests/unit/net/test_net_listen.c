/* test_net_listen.c -- Unix sockets, IPv6, bind rules, ports that are taken, changes while running.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "net_fixture.h"
#include "base/mem.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool have_ipv6(void)
{
    struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static struct client *connect_ipv6(int port)
{
    struct sockaddr_in6 sa = { .sin6_family = AF_INET6,
                               .sin6_addr = IN6ADDR_LOOPBACK_INIT,
                               .sin6_port = htons((uint16_t)port) };
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return client_from_fd(fd);
}

static void expect_text(struct client *c, const char *command, const char *want)
{
    const struct resp *r = client_ask(c, "%s", command);
    ck_assert_int_eq(r->type, RESP_BULK);
    ck_assert_str_eq(r->text, want);
}

START_TEST(addresses_over_tcp)
{
    struct fixture *f = fixture_run(1);
    struct client *c = client_connect((uint16_t)f->port);
    struct sockaddr_in sa;
    socklen_t n = sizeof sa;
    char want[64];
    getsockname(client_fd(c), (struct sockaddr *)&sa, &n);
    snprintf(want, sizeof want, "127.0.0.1:%d", ntohs(sa.sin_port));
    expect_text(c, "PEER", want);
    snprintf(want, sizeof want, "127.0.0.1:%d", f->port);
    expect_text(c, "LOCAL", want);
    expect_text(c, "KIND", "tcp");
    client_expect(c, "1", "LOOPBACK");
    client_close(c);
    fixture_stop(f);
}
END_TEST

START_TEST(addresses_over_ipv6)
{
    static const char *const both[] = { "127.0.0.1", "::1" };
    if (!have_ipv6()) {
        unit_skip("this machine has no IPv6 loopback");
    }
    struct fixture *f = fixture_new(2);
    f->config.bind = both;
    f->config.nbind = 2;
    fixture_start(f);
    struct client *c = connect_ipv6(f->port);
    struct sockaddr_in6 sa;
    socklen_t n = sizeof sa;
    char want[64];
    getsockname(client_fd(c), (struct sockaddr *)&sa, &n);
    snprintf(want, sizeof want, "[::1]:%d", ntohs(sa.sin6_port));
    expect_text(c, "PEER", want);
    snprintf(want, sizeof want, "[::1]:%d", f->port);
    expect_text(c, "LOCAL", want);
    client_expect(c, "1", "LOOPBACK");
    client_close(c);
    c = client_connect((uint16_t)f->port);
    client_expect(c, "+PONG", "PING");
    client_close(c);
    fixture_stop(f);
}
END_TEST

START_TEST(everywhere_by_default)
{
    struct fixture *f = fixture_new(1);
    f->config.nbind = 0;
    fixture_start(f);
    struct client *c = client_connect((uint16_t)f->port);
    client_expect(c, "+PONG", "PING");
    client_close(c);
    if (have_ipv6()) {
        c = connect_ipv6(f->port);
        client_expect(c, "+PONG", "PING");
        client_close(c);
    }
    struct buf b = { 0 };
    char want[128];
    net_listeners(f->net, &b);
    snprintf(want, sizeof want, "listener0:name=tcp,bind=*%s,port=%d\r\n",
             have_ipv6() ? ",bind=-::*" : "", f->port);
    ck_assert(slice_eq(buf_slice(&b), slice_str(want)));
    buf_free(&b);
    fixture_stop(f);
}
END_TEST

START_TEST(unix_socket)
{
    char path[100], want[128];
    snprintf(path, sizeof path, "%s/kv.sock", unit_tmpdir());
    struct fixture *f = fixture_new(2);
    f->config.unixsocket = path;
    f->config.unixsocketperm = 0700;
    fixture_start(f);
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0700);
    struct client *c = client_connect_unix(path);
    client_expect(c, "+PONG", "PING");
    snprintf(want, sizeof want, "%s:0", path);
    expect_text(c, "PEER", want);
    expect_text(c, "LOCAL", want);
    expect_text(c, "KIND", "unix");
    client_expect(c, "1", "LOOPBACK");
    const struct resp *r = client_ask(c, "BYTES 3000000");
    ck_assert_uint_eq(r->len, 3000000);
    client_close(c);
    fixture_stop(f);
    ck_assert_int_ne(stat(path, &st), 0); /* removed with its server */
}
END_TEST

static int try_open(struct fixture *f, struct buf *error)
{
    static const struct net_upcalls none = { 0 };
    error->n = 0;
    int rc = net_open(&f->net, &f->config, &none, error);
    buf_add_char(error, '\0');
    return rc;
}

START_TEST(open_fails_with_the_address)
{
    struct fixture *first = fixture_run(1);
    struct fixture *f = fixture_new(1);
    struct buf error = { 0 };
    char want[200];
    f->config.port = first->port;
    ck_assert_int_eq(try_open(f, &error), -EADDRINUSE);
    snprintf(want, sizeof want,
             "Could not create server TCP listening socket 127.0.0.1:%d: bind: Address already in "
             "use\nFailed listening on port %d (tcp), aborting.",
             first->port, first->port);
    ck_assert_str_eq(error.p, want);
    static const char *const elsewhere[] = { "203.0.113.7" };
    f->config.port = free_port();
    f->config.bind = elsewhere;
    ck_assert_int_eq(try_open(f, &error), -EADDRNOTAVAIL);
    ck_assert_ptr_nonnull(strstr(error.p, "203.0.113.7"));
    static const char *const optional[] = { "-203.0.113.7", "127.0.0.1" };
    f->config.bind = optional;
    f->config.nbind = 2;
    ck_assert_int_eq(try_open(f, &error), 0);
    net_free(f->net);
    f->config.unixsocket = "/nonexistent/dir/sock";
    ck_assert_int_eq(try_open(f, &error), -ENOENT);
    ck_assert_ptr_nonnull(strstr(error.p, "Failed opening Unix socket"));
    buf_free(&error);
    mem_free(f);
    fixture_stop(first);
}
END_TEST

static void expect_refused(int port)
{
    struct client *c = client_try_connect((uint16_t)port);
    ck_assert_ptr_null(c);
    ck_assert_int_eq(errno, ECONNREFUSED);
}

START_TEST(change_of_port)
{
    struct fixture *f = fixture_run(2);
    struct client *old = client_connect((uint16_t)f->port);
    client_expect(old, "+PONG", "PING");
    struct net_config cfg = f->config;
    struct buf error = { 0 };
    cfg.port = free_port();
    ck_assert_int_eq(net_set_listen(f->net, &cfg, &error), 0);
    struct client *c = client_connect((uint16_t)cfg.port);
    client_expect(c, "+PONG", "PING"); /* reactor 0 has made the change by now */
    expect_refused(f->port);
    client_expect(old, "+PONG", "PING"); /* connections stay */
    client_close(c);
    client_close(old);

    struct fixture *other = fixture_run(1); /* a port that is taken: nothing changes */
    struct net_config bad = cfg;
    bad.port = other->port;
    ck_assert_int_eq(net_set_listen(f->net, &bad, &error), -EADDRINUSE);
    ck_assert_uint_gt(error.n, 0);
    c = client_connect((uint16_t)cfg.port);
    client_expect(c, "+PONG", "PING");
    client_close(c);
    bad.port = 0; /* no TCP at all */
    ck_assert_int_eq(net_set_listen(f->net, &bad, &error), 0);
    fixture_stop(other);
    buf_free(&error);
    fixture_stop(f);
}
END_TEST

struct applied {
    struct message m;
    atomic_uint done;
};

static void applied_here(struct reactor *r, struct message *m)
{
    (void)r;
    atomic_store(&container_of(m, struct applied, m)->done, 1);
}

/* What comes to a retired socket between its last accept and its close is reset: a test connects
 * when reactor 0 has done the change. */
static void wait_applied(struct fixture *f)
{
    struct applied a = { .m.run = applied_here };
    reactor_post(net_reactor(f->net, 0), &a.m);
    wait_uint(&a.done, 1);
}

START_TEST(change_of_addresses_on_one_port)
{
    static const char *const any[] = { "*" }, *const one[] = { "127.0.0.1" };
    static const char *const two[] = { "127.0.0.1", "127.0.0.2" };
    struct fixture *f = fixture_run(2);
    struct net_config cfg = f->config;
    struct buf error = { 0 };
    for (unsigned i = 0; i < 12; i++) { /* each overlaps with the one before */
        const char *const *sets[] = { any, one, two };
        cfg.bind = sets[i % 3];
        cfg.nbind = i % 3 == 2 ? 2 : 1;
        ck_assert_msg(net_set_listen(f->net, &cfg, &error) == 0, "%u: %.*s", i, (int)error.n,
                      error.p);
        wait_applied(f);
        struct client *c = client_connect((uint16_t)f->port);
        client_expect(c, "+PONG", "PING");
        client_close(c);
    }
    struct client *c = client_connect((uint16_t)f->port);
    client_expect(c, "+PONG", "PING");
    client_close(c);
    /* The port is not shared with a second server, not even by one that would share it. */
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in sa = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)f->port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    ck_assert_int_lt(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    ck_assert_int_eq(errno, EADDRINUSE);
    close(fd);
    buf_free(&error);
    fixture_stop(f);
}
END_TEST

START_TEST(stop_accepting)
{
    struct fixture *f = fixture_run(2);
    struct client *c = client_connect((uint16_t)f->port);
    client_expect(c, "+PONG", "PING");
    net_stop_accepting(f->net);
    struct client *late = NULL;
    for (unsigned i = 0; i < 1000 && (late = client_try_connect((uint16_t)f->port)) != NULL; i++) {
        client_close(late);
        sleep_ms(5);
    }
    ck_assert_ptr_null(late);
    client_expect(c, "+PONG", "PING");
    client_close(c);
    fixture_stop(f);
}
END_TEST

START_TEST(keepalive_is_set)
{
    struct fixture *f = fixture_new(1);
    f->config.keepalive_s = 300;
    fixture_start(f);
    struct client *c = client_connect((uint16_t)f->port);
    client_expect(c, "300", "KEEPALIVE");
    client_close(c);
    net_set_keepalive(f->net, 0);
    c = client_connect((uint16_t)f->port);
    client_expect(c, "0", "KEEPALIVE");
    client_close(c);
    fixture_stop(f);
}
END_TEST

UNIT_SUITE(net_listen)
{
    unit_case(suite, "addresses", addresses_over_tcp, addresses_over_ipv6, everywhere_by_default,
              unix_socket, open_fails_with_the_address, keepalive_is_set);
    unit_case(suite, "changes", change_of_port, change_of_addresses_on_one_port, stop_accepting);
}
