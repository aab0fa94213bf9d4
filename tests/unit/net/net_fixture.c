/* net_fixture.c -- The sessions of the test server.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Upcalls check with must(): ck_assert writes to the runner at every call. */
#include "net_fixture.h"
#include "base/clock.h"
#include "base/mem.h"
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct session {
    struct fixture *f;
    struct conn *c;
    uint64_t handle;
    struct parse_limits limits;
    bool blocked;
    unsigned stop_why;
    struct reactor_timer resume, after;
    struct slice ahead; /* announced; p NULL: not */
};

static int64_t number(const struct request *r, unsigned i)
{
    int64_t v = -1;
    return i < r->argc && parse_i64(r->argv[i], &v) ? v : -1;
}

/* ---- Messages between reactors ---- */

struct to_conn {
    struct message m;
    uint64_t handle;
    uint64_t asker; /* ALIVE: where the answer goes */
    bool alive;
};

static void send_to(struct fixture *f, uint64_t handle, struct to_conn content,
                    void (*run)(struct reactor *, struct message *))
{
    struct to_conn *t = mem_alloc(sizeof *t);
    *t = content;
    t->m.run = run;
    t->handle = handle;
    if (handle_reactor(handle) >= net_reactors(f->net)) {
        run(reactor_self(), &t->m); /* finds nothing */
        return;
    }
    reactor_post(net_reactor(f->net, handle_reactor(handle)), &t->m);
}

static void kill_here(struct reactor *r, struct message *m)
{
    struct to_conn *t = container_of(m, struct to_conn, m);
    struct conn *c = conn_by_handle(r, t->handle);
    if (c != NULL) {
        conn_close(c, CLOSE_NOW);
    }
    mem_free(t);
}

static void unblock_here(struct reactor *r, struct message *m)
{
    struct to_conn *t = container_of(m, struct to_conn, m);
    struct conn *c = conn_by_handle(r, t->handle);
    struct session *s = c != NULL ? conn_user(c) : NULL;
    if (s != NULL && s->blocked) {
        s->blocked = false;
        resp_simple(conn_out(c), S("UNBLOCKED"));
        conn_gate(c, 0);
        conn_resume(c, STOP_BLOCKED);
        conn_resume(c, STOP_DEFERRED);
    }
    mem_free(t);
}

static void alive_answer(struct reactor *r, struct message *m)
{
    struct to_conn *t = container_of(m, struct to_conn, m);
    struct conn *c = conn_by_handle(r, t->handle);
    if (c != NULL) {
        resp_int(conn_out(c), t->alive);
        conn_gate(c, 0);
    }
    mem_free(t);
}

static void alive_here(struct reactor *r, struct message *m)
{
    struct to_conn *t = container_of(m, struct to_conn, m);
    struct fixture *f = r->net->up.arg;
    bool alive = conn_by_handle(r, t->handle) != NULL;
    send_to(f, t->asker, (struct to_conn){ .alive = alive }, alive_answer);
    mem_free(t);
}

/* ---- Commands ---- */

static void resume_fired(struct reactor *r unused_arg, struct reactor_timer *t)
{
    struct session *s = container_of(t, struct session, resume);
    conn_resume(s->c, s->stop_why);
}

static void after_fired(struct reactor *r unused_arg, struct reactor_timer *t)
{
    struct session *s = container_of(t, struct session, after);
    resp_simple(conn_out(s->c), S("AFTER"));
    conn_gate(s->c, 0);
}

static char *pattern(size_t n)
{
    char *p = mem_alloc(n + 1);
    for (size_t i = 0; i < n; i++) {
        p[i] = (char)('a' + i % 26);
    }
    return p;
}

static void reply_bytes(struct out *o, size_t n, bool ext)
{
    char *p = pattern(n), head[32];
    if (ext) {
        snprintf(head, sizeof head, "$%zu\r\n", n);
        out_add(o, head, strlen(head));
        out_add_ext(o, p, n, mem_free, p);
        out_add(o, "\r\n", 2);
    } else {
        resp_bulk(o, slice_of(p, n));
        mem_free(p);
    }
}

static void tell_address(struct session *s, struct out *o, bool peer)
{
    char text[ADDR_TEXT_MAX];
    if (peer) {
        conn_peer(s->c, text);
    } else {
        conn_local(s->c, text);
    }
    resp_bulk(o, slice_str(text));
}

/* What another connection of this reactor has done to it at once, as a command of a server may. */
static void run_on_other(struct session *s, const struct request *r)
{
    struct reactor *re = conn_reactor(s->c);
    struct conn *c = conn_by_handle(re, (uint64_t)number(r, 1));
    if (c == NULL) {
        return;
    }
    struct session *other = conn_user(c);
    if (slice_is(r->argv[0], "shut")) {
        conn_close(c, CLOSE_NOW);
        return;
    }
    if (slice_is(r->argv[0], "busy")) {
        char text[64];
        size_t n = conn_peek(c, text, sizeof text);
        must(n == 0 || conn_answer_peeked(c, n, S("-BUSY\r\n")));
        return;
    }
    other->stop_why = STOP_PAUSED;
    other->resume.fire = resume_fired;
    reactor_timer_set(re, &other->resume, reactor_now_ms(re) + number(r, 2));
    conn_stop(c, STOP_PAUSED);
}

static void stall(struct fixture *f)
{
    atomic_fetch_add(&f->stalls, 1);
    while (!atomic_load(&f->go)) {
        sched_yield();
    }
}

static bool run_control(struct session *s, const struct request *r, struct out *o)
{
    struct slice name = r->argv[0];
    struct reactor *re = conn_reactor(s->c);
    if (slice_is(name, "block")) {
        s->blocked = true;
        conn_stop(s->c, STOP_BLOCKED);
    } else if (slice_is(name, "defer")) {
        s->blocked = true;
        conn_stop(s->c, STOP_DEFERRED);
    } else if (slice_is(name, "unblock")) {
        send_to(s->f, (uint64_t)number(r, 1), (struct to_conn){ 0 }, unblock_here);
        resp_simple(o, S("OK"));
    } else if (slice_is(name, "stop")) {
        s->stop_why = (unsigned)number(r, 1);
        s->resume.fire = resume_fired;
        reactor_timer_set(re, &s->resume, reactor_now_ms(re) + number(r, 2));
        conn_stop(s->c, s->stop_why);
        resp_simple(o, S("OK"));
    } else if (slice_is(name, "after")) {
        s->after.fire = after_fired;
        reactor_timer_set(re, &s->after, reactor_now_ms(re) + number(r, 1));
    } else if (slice_is(name, "kill")) {
        send_to(s->f, (uint64_t)number(r, 1), (struct to_conn){ 0 }, kill_here);
        resp_simple(o, S("OK"));
    } else if (slice_is(name, "ended")) {
        struct conn *c = conn_by_handle(re, (uint64_t)number(r, 1));
        resp_int(o, c != NULL && c->ended && !ev_is_active(&c->io));
    } else if (slice_is(name, "alive")) {
        send_to(s->f, (uint64_t)number(r, 1), (struct to_conn){ .asker = s->handle }, alive_here);
    } else if (slice_is(name, "limits")) {
        conn_set_limits(s->c, (size_t)number(r, 1), (size_t)number(r, 2), (unsigned)number(r, 3));
        resp_simple(o, S("OK"));
    } else if (slice_is(name, "querylimit")) {
        conn_set_query_limit(s->c, (size_t)number(r, 1));
        resp_simple(o, S("OK"));
    } else if (slice_is(name, "quit")) {
        resp_simple(o, S("OK"));
        conn_gate(s->c, 0);
        conn_close(s->c, CLOSE_AFTER_REPLY);
    } else if (slice_is(name, "drop")) {
        conn_close(s->c, CLOSE_NOW);
    } else if (slice_is(name, "pause") || slice_is(name, "shut") || slice_is(name, "busy")) {
        run_on_other(s, r);
        resp_simple(o, S("OK"));
    } else if (slice_is(name, "tick")) {
        reactor_tick_within(re, number(r, 1));
        resp_simple(o, S("OK"));
    } else if (slice_is(name, "stall")) {
        stall(s->f);
        resp_simple(o, S("OK"));
    } else {
        return false;
    }
    return true;
}

static void run_echo(struct session *s, struct request *r, struct out *o)
{
    static const char *const kinds[] = { "tcp", "unix", "tls" };
    struct slice name = r->argv[0];
    if (slice_is(name, "ping")) {
        resp_simple(o, S("PONG"));
    } else if (slice_is(name, "echo")) {
        resp_bulk(o, r->argv[1]);
    } else if (slice_is(name, "len")) {
        char *mine = request_take_big(r, 1);
        if (mine != NULL) {
            atomic_fetch_add(&s->f->took_big, 1);
            must(mine[0] == mine[r->argv[1].n - 1]);
            mem_free(mine);
        }
        resp_int(o, (int64_t)r->argv[1].n);
    } else if (slice_is(name, "bytes") || slice_is(name, "ext")) {
        reply_bytes(o, (size_t)number(r, 1), slice_is(name, "ext"));
    } else if (slice_is(name, "handle")) {
        resp_int(o, (int64_t)s->handle);
    } else if (slice_is(name, "reactor")) {
        resp_int(o, reactor_id(conn_reactor(s->c)));
    } else if (slice_is(name, "kind")) {
        resp_bulk(o, slice_str(kinds[conn_kind(s->c)]));
    } else if (slice_is(name, "keepalive")) {
        int on = 0, idle = 0;
        socklen_t len = sizeof on;
        getsockopt(conn_fd(s->c), SOL_SOCKET, SO_KEEPALIVE, &on, &len);
        getsockopt(conn_fd(s->c), IPPROTO_TCP, TCP_KEEPIDLE, &idle, &len);
        resp_int(o, on != 0 ? idle : 0);
    } else if (slice_is(name, "loopback")) {
        resp_int(o, conn_peer_is_loopback(s->c));
    } else if (slice_is(name, "cn")) {
        struct buf cn = { 0 };
        resp_bulk(o, conn_tls_peer_name(s->c, &cn) ? buf_slice(&cn) : S("-"));
        buf_free(&cn);
    } else if (slice_is(name, "inbytes")) {
        resp_int(o, (int64_t)conn_in_bytes(s->c));
    } else if (slice_is(name, "peer") || slice_is(name, "local")) {
        tell_address(s, o, slice_is(name, "peer"));
    } else if (slice_is(name, "hold")) {
        reply_bytes(o, (size_t)number(r, 1), false);
    } else {
        resp_error(o, S("ERR unknown command"));
    }
}

static void run(struct session *s, struct request *r)
{
    struct out *o = conn_out(s->c);
    if (r->argc == 0) {
        return;
    }
    uint64_t gate = 0;
    if (slice_is(r->argv[0], "gate")) {
        gate = (uint64_t)number(r, 1);
        resp_bulk(o, r->argv[2]);
    } else if (!run_control(s, r, o)) {
        run_echo(s, r, o);
        if (slice_is(r->argv[0], "hold")) {
            return;
        }
    }
    conn_gate(s->c, gate);
    conn_check(s->c);
}

/* ---- Upcalls ---- */

static bool stopped(const struct session *s)
{
    return s->c->stop != 0;
}

static size_t on_input(void *user, struct conn *c, struct slice in)
{
    struct session *s = user;
    must(!stopped(s));
    if (s->ahead.p == in.p && s->ahead.n == in.n) {
        atomic_fetch_sub(&s->f->ahead_unfed, 1);
    }
    s->ahead.p = NULL;
    size_t consumed = 0;
    for (;;) {
        struct request r[64];
        size_t ends[64], at = consumed;
        const char *error = NULL;
        unsigned n = 0, run_n = 0;
        enum parse_status st = PARSE_OK;
        while (n < s->f->batch && st == PARSE_OK) {
            size_t used;
            st = parser_next(conn_parser(c), &s->limits, slice_of(in.p + at, in.n - at), &used,
                             &r[n], &error);
            if (st == PARSE_OK) {
                at += used;
                ends[n++] = at;
            }
        }
        while (run_n < n && !stopped(s)) {
            run(s, &r[run_n]);
            consumed = ends[run_n++];
        }
        if (stopped(s)) {
            parser_unread(conn_parser(c), run_n);
            return consumed;
        }
        parser_reset_batch(conn_parser(c));
        if (st == PARSE_ERROR) {
            resp_error(conn_out(c), slice_str(error));
            conn_gate(c, 0);
            conn_close(c, CLOSE_AFTER_REPLY);
            return in.n;
        }
        if (st == PARSE_MORE) {
            return consumed;
        }
    }
}

static void on_inputs_ahead(void *arg, struct reactor *r, const struct net_input *in, unsigned n)
{
    struct fixture *f = arg;
    must(r == reactor_self() && n > 1);
    for (unsigned i = 0; i < n; i++) {
        struct session *s = in[i].user;
        must(s->c == in[i].c && in[i].in.n > 0 && !stopped(s));
        s->ahead = in[i].in;
    }
    atomic_fetch_add(&f->ahead_unfed, n);
    atomic_fetch_add(&f->ahead_inputs, n);
    atomic_fetch_add(&f->ahead_calls, 1);
}

static void *on_open(void *arg, struct conn *c)
{
    struct fixture *f = arg;
    struct session *s = mem_calloc(sizeof *s);
    must(conn_reactor(c) == reactor_self());
    s->f = f;
    s->c = c;
    s->handle = conn_handle(c);
    s->limits =
        (struct parse_limits){ .max_bulk = 512U << 20, .max_args = INT_MAX, .max_inline = 65536 };
    must(conn_by_handle(conn_reactor(c), s->handle) == c);
    atomic_fetch_add(&f->opened, 1);
    return s;
}

static void on_closed(void *user, struct conn *c)
{
    struct session *s = user;
    struct fixture *f = s->f;
    must(s->c == c);
    reactor_timer_cancel(conn_reactor(c), &s->resume);
    reactor_timer_cancel(conn_reactor(c), &s->after);
    mem_free(s);
    atomic_fetch_add(&f->closed, 1);
}

static void on_limit(void *user, struct conn *c unused_arg, const char *what)
{
    struct session *s = user;
    atomic_store(&s->f->limit_what, what);
    atomic_fetch_add(&s->f->limits, 1);
}

static uint64_t on_turn_end(void *arg, struct reactor *r)
{
    struct fixture *f = arg;
    must(r == reactor_self());
    struct conn *c = conn_by_handle(r, atomic_load(&f->nudged));
    if (c != NULL) {
        conn_resume(c, STOP_ADMISSION);
    }
    return atomic_load(&f->release);
}

static uint64_t on_before_sleep(void *arg, struct reactor *r unused_arg, uint64_t lowest,
                                bool any_stopped)
{
    struct fixture *f = arg;
    atomic_store(&f->lowest_asked, lowest);
    atomic_store(&f->stopped_asked, any_stopped);
    if (lowest != UINT64_MAX && atomic_load(&f->late)) {
        return lowest;
    }
    return atomic_load(&f->release);
}

static void on_sleep_begin(void *arg, struct reactor *r unused_arg)
{
    struct fixture *f = arg;
    atomic_fetch_add(&f->sleeping, 1);
    atomic_fetch_add(&f->sleeps, 1);
}

static void on_sleep_end(void *arg, struct reactor *r unused_arg)
{
    struct fixture *f = arg;
    atomic_fetch_sub(&f->sleeping, 1);
}

static unsigned on_tick(void *arg, struct reactor *r unused_arg)
{
    struct fixture *f = arg;
    atomic_fetch_add(&f->ticks, 1);
    return atomic_load(&f->tick_wait);
}

static void *on_start(void *arg, struct reactor *r)
{
    struct fixture *f = arg;
    must(r == reactor_self());
    atomic_fetch_add(&f->starts, 1);
    return r;
}

static void on_stop(void *arg, struct reactor *r)
{
    struct fixture *f = arg;
    must(reactor_user(r) == r);
    atomic_fetch_add(&f->stops, 1);
}

/* ---- Life ---- */

int free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof sa;
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sa, &n), 0);
    close(fd);
    return ntohs(sa.sin_port);
}

struct fixture *fixture_new(unsigned threads)
{
    static const char *const loopback[] = { "127.0.0.1" };
    struct fixture *f = mem_calloc(sizeof *f);
    f->batch = 16;
    atomic_init(&f->tick_wait, 10);
    f->config = (struct net_config){
        .threads = threads, .bind = loopback, .nbind = 1, .backlog = 511, .maxclients = 10000
    };
    return f;
}

void fixture_start(struct fixture *f)
{
    const struct net_upcalls up = {
        .arg = f,
        .reactor_start = on_start,
        .reactor_stop = on_stop,
        .conn_open = on_open,
        .conn_input = on_input,
        .inputs_ahead = on_inputs_ahead,
        .conn_closed = on_closed,
        .conn_limit = on_limit,
        .turn_end = on_turn_end,
        .before_sleep = on_before_sleep,
        .sleep_begin = on_sleep_begin,
        .sleep_end = on_sleep_end,
        .tick = on_tick,
    };
    struct buf error = { 0 };
    int rc = -EADDRINUSE;
    for (unsigned tries = 0; rc == -EADDRINUSE && tries < 20; tries++) {
        f->config.port = free_port();
        f->config.tls_port = f->config.tls != NULL ? free_port() : 0;
        error.n = 0;
        rc = net_open(&f->net, &f->config, &up, &error);
    }
    ck_assert_msg(rc == 0, "net_open: %d %.*s", rc, (int)error.n, error.p);
    f->port = f->config.port;
    f->tls_port = f->config.tls_port;
    ck_assert_int_eq(net_start(f->net), 0);
}

struct fixture *fixture_run(unsigned threads)
{
    struct fixture *f = fixture_new(threads);
    fixture_start(f);
    return f;
}

void fixture_stop(struct fixture *f)
{
    net_stop(f->net);
    ck_assert_uint_eq(atomic_load(&f->opened), atomic_load(&f->closed));
    ck_assert_uint_eq(atomic_load(&f->starts), net_reactors(f->net));
    ck_assert_uint_eq(atomic_load(&f->stops), net_reactors(f->net));
    struct net_stats st;
    net_stats(f->net, &st);
    ck_assert_uint_eq(st.connected, 0);
    net_free(f->net);
    mem_free(f);
}

void fixture_release(struct fixture *f, uint64_t gate)
{
    atomic_store(&f->release, gate);
    for (unsigned i = 0; i < net_reactors(f->net); i++) {
        reactor_wake(net_reactor(f->net, i));
    }
}

void sleep_ms(int ms)
{
    struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };
    nanosleep(&ts, NULL);
}

void wait_uint(const atomic_uint *v, unsigned want)
{
    int64_t until = clock_mono_ms() + unit_patient_ms(10000);
    while (atomic_load(v) != want && clock_mono_ms() < until) {
        sleep_ms(1);
    }
    ck_assert_uint_eq(atomic_load(v), want);
}

struct client *connect_to(const struct fixture *f)
{
    return client_connect((uint16_t)f->port);
}

void send_text(struct client *c, const char *text)
{
    client_send_raw(c, text, strlen(text));
}

char *filled(size_t n)
{
    char *p = mem_alloc(n + 1);
    memset(p, 'v', n);
    p[n] = '\0';
    return p;
}

void expect_pattern(const struct resp *r, size_t n)
{
    ck_assert_uint_eq(r->len, n);
    for (size_t i = 0; i < n; i++) {
        must(r->text[i] == (char)('a' + i % 26)); /* ck_assert costs a system call */
    }
}
