/* conn.c -- The life of a connection: opened, stopped and resumed, closed; and what it tells.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 *     Anything may close a connection at any moment: its own command, another client's CLIENT KILL,
 *     a limit, the peer. So closing only marks, and only the end of a turn frees. Others hold a
 *     handle, never a pointer; a handle of a connection that is gone finds nothing.
 *
 * STATES
 *     handshake (TLS only) -> opened -> draining (CLOSE_AFTER_REPLY) -> close_now -> freed
 *     Each step may be skipped; none is taken back. */
#include "net/net_int.h"
#include "base/mem.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLOT_BITS     24 /* handle: generation 32 bits, reactor 8, slot 24 */
#define STOPS_READING (STOP_ADMISSION | STOP_PARKED | STOP_CLOSING)

/* ---- Slots and handles ---- */

static void slots_grow(struct reactor *r)
{
    uint32_t n = r->nslots != 0 ? r->nslots * 2 : 64;
    must(n <= (uint32_t)1 << SLOT_BITS);
    r->slots = mem_realloc(r->slots, n * sizeof *r->slots);
    for (uint32_t i = r->nslots; i < n; i++) {
        r->slots[i] = (struct conn_slot){ .generation = 1, .next_free = i + 1 };
    }
    r->free_slot = r->nslots;
    r->nslots = n;
}

static uint32_t slot_take(struct reactor *r, struct conn *c)
{
    if (r->free_slot == r->nslots) {
        slots_grow(r);
    }
    uint32_t i = r->free_slot;
    r->free_slot = r->slots[i].next_free;
    r->slots[i].c = c;
    return i;
}

static void slot_give(struct reactor *r, uint32_t i)
{
    struct conn_slot *s = &r->slots[i];
    s->c = NULL;
    s->generation += s->generation == UINT32_MAX ? 2 : 1; /* never 0: a handle is never 0 */
    s->next_free = r->free_slot;
    r->free_slot = i;
}

uint64_t conn_handle(const struct conn *c)
{
    return (uint64_t)c->reactor->slots[c->slot].generation << 32 |
           (uint64_t)c->reactor->id << SLOT_BITS | c->slot;
}

unsigned handle_reactor(uint64_t handle)
{
    return (unsigned)(handle >> SLOT_BITS) & 0xff;
}

struct conn *conn_by_handle(struct reactor *r, uint64_t handle)
{
    uint32_t i = (uint32_t)handle & (((uint32_t)1 << SLOT_BITS) - 1);
    if (handle_reactor(handle) != r->id || i >= r->nslots ||
        r->slots[i].generation != (uint32_t)(handle >> 32)) {
        return NULL;
    }
    return r->slots[i].c;
}

void reactor_each(struct reactor *r, bool (*visit)(void *arg, struct conn *c), void *arg)
{
    for (uint32_t i = 0; i < r->nslots; i++) {
        struct conn *c = r->slots[i].c;
        if (c != NULL && c->opened && !visit(arg, c)) {
            return;
        }
    }
}

/* ---- Opening and freeing ---- */

static void set_option(int fd, int level, int name, int value)
{
    /* Fails only when the peer is gone already; the next read tells. */
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

static void socket_options(int fd, unsigned keepalive_s)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (keepalive_s > 0) {
        int idle = (int)keepalive_s;
        set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle);
        set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, idle >= 3 ? idle / 3 : 1);
        set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
    }
}

static void on_event(struct ev_loop *loop unused_arg, ev_io *io, int revents)
{
    struct conn *c = io->data;
    c->revents |= (uint8_t)(revents & (EV_READ | EV_WRITE));
    list_push(c->reactor, LIST_READY, c);
}

void conn_new(struct reactor *r, int fd, enum conn_kind kind, const struct peer_addr *peer)
{
    struct conn *c = mem_calloc(sizeof *c);
    c->reactor = r;
    c->fd = fd;
    c->kind = kind;
    c->peer = *peer;
    c->slot = slot_take(r, c);
    c->wait_place = HEAP_NONE;
    c->last_input_ms = c->last_output_ms = r->now_ms;
    parser_init(&c->parser);
    counter_add(&r->stats.accepted, 1);
    if (kind != CONN_UNIX) {
        socket_options(fd, atomic_load_explicit(&r->net->keepalive_s, memory_order_relaxed));
    }
    ev_io_init(&c->io, on_event, fd, 0);
    c->io.data = c;
    if (kind != CONN_TLS) {
        conn_opened(c);
    } else if (!tls_attach(c)) {
        conn_close(c, CLOSE_NOW);
    }
    conn_watch(c);
}

void conn_opened(struct conn *c)
{
    c->opened = true;
    c->user = c->reactor->net->up.conn_open(c->reactor->net->up.arg, c);
}

void conn_free(struct conn *c)
{
    struct reactor *r = c->reactor;
    must(c->on_list == 0);
    c->on_list = UINT8_MAX; /* what the last upcalls do to it puts it on no list */
    if (c->opened) {
        const struct net_upcalls *up = &r->net->up;
        if (c->limit_what != NULL && up->conn_limit != NULL) {
            up->conn_limit(c->user, c, c->limit_what);
        }
        up->conn_closed(c->user, c);
    }
    if (c->wait_place != HEAP_NONE) {
        heap_remove(&r->waiting, c->wait_place);
    }
    reactor_timer_cancel(r, &c->soft_timer);
    if ((c->stop & STOP_ADMISSION) != 0) {
        r->admission--;
    }
    ev_io_stop(r->loop, &c->io);
    if (c->tls != NULL) {
        tls_detach(c);
    }
    close(c->fd);
    out_clear(&c->out);
    c->nmarks = 0;
    conn_count_passing(c);
    parser_done(&c->parser);
    mem_free(c->in);
    slot_give(r, c->slot);
    mem_free(c);
    atomic_fetch_sub_explicit(&r->load, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&r->net->connected, 1, memory_order_relaxed);
}

void conn_watch(struct conn *c)
{
    int want = 0;
    if ((c->stop & STOPS_READING) == 0 && !c->ended) { /* epoll tells an end again and again */
        want |= EV_READ;
    }
    if (c->write_full) {
        want |= EV_WRITE;
    }
    if (c->tls != NULL) {
        want |= tls_events(c);
    }
    if (want == (c->io.events & (EV_READ | EV_WRITE)) && ev_is_active(&c->io) == (want != 0)) {
        return;
    }
    ev_io_stop(c->reactor->loop, &c->io);
    ev_io_modify(&c->io, want);
    if (want != 0) {
        ev_io_start(c->reactor->loop, &c->io);
    }
}

void conn_close(struct conn *c, enum conn_close_how how)
{
    struct reactor *r = c->reactor;
    if (how == CLOSE_NOW && !c->close_now) {
        c->close_now = true;
        list_push(r, LIST_CLOSE, c);
    } else if (how == CLOSE_AFTER_REPLY && !c->close_drain && !c->close_now) {
        c->close_drain = true;
        list_push(r, LIST_FLUSH, c);
    }
    conn_stop(c, STOP_CLOSING);
}

void conn_fail(struct conn *c)
{
    conn_close(c, CLOSE_NOW);
}

bool conn_closing(const struct conn *c)
{
    return c->close_drain || c->close_now;
}

/* ---- Stop and resume ---- */

void conn_stop(struct conn *c, enum conn_stop_reason why)
{
    struct reactor *r = c->reactor;
    if (((unsigned)why & ~(unsigned)c->stop & STOP_ADMISSION) != 0) {
        r->admission++;
    }
    if ((why & STOP_PARKED) != 0) {
        c->parked_low = conn_parked_bytes(c) / 2;
    }
    c->stop |= (uint8_t)why;
    list_push(r, LIST_FLUSH, c);
}

void conn_resume(struct conn *c, enum conn_stop_reason why)
{
    struct reactor *r = c->reactor;
    unsigned ends = (unsigned)why & c->stop & ~(unsigned)STOP_CLOSING;
    if ((ends & STOP_ADMISSION) != 0) {
        r->admission--;
    }
    c->stop &= (uint8_t)~ends;
    /* Its end waits for what stopped it. Only what changes is looked at again: a resume that finds
     * nothing to end, turn after turn, must not keep the reactor awake, or a closed connection. */
    bool ends_now = c->ended && ends != 0 && !conn_closing(c) &&
                    (c->stop & (STOP_ADMISSION | STOP_PARKED)) == 0;
    if ((c->stop == 0 && c->in_n > 0) || ends_now) {
        list_push(r, LIST_RESUME, c);
    }
    if (c->stop == 0 && c->tls != NULL && tls_has_input(c)) {
        c->revents |= EV_READ;
        list_push(r, LIST_READY, c);
    }
    list_push(r, LIST_FLUSH, c);
}

/* ---- What it tells ---- */

struct parser *conn_parser(struct conn *c)
{
    return &c->parser;
}

struct out *conn_out(struct conn *c)
{
    return &c->out;
}

size_t conn_in_bytes(const struct conn *c)
{
    size_t before = c->feeding != 0 ? c->feeding : c->in_n; /* a big argument has its own buffer */
    return parser_big_current(&c->parser) > 0 ? parser_big_current(&c->parser)
                                              : before + parser_big_have(&c->parser);
}

size_t conn_in_cap(const struct conn *c)
{
    return c->in_cap + parser_memory(&c->parser);
}

size_t conn_memory(const struct conn *c)
{
    return sizeof *c + conn_in_cap(c) + parser_announced(&c->parser) + conn_out_bytes(c);
}

void conn_set_query_limit(struct conn *c, size_t bytes)
{
    c->query_limit = bytes;
}

void *conn_user(const struct conn *c)
{
    return c->user;
}

struct reactor *conn_reactor(const struct conn *c)
{
    return c->reactor;
}

enum conn_kind conn_kind(const struct conn *c)
{
    return c->kind;
}

int conn_fd(const struct conn *c)
{
    return c->fd;
}

int64_t conn_last_input_ms(const struct conn *c)
{
    return c->last_input_ms;
}

int64_t conn_last_output_ms(const struct conn *c)
{
    return c->last_output_ms;
}

void peer_addr_from(struct peer_addr *a, const struct sockaddr_storage *sa)
{
    *a = (struct peer_addr){ .family = (uint8_t)sa->ss_family };
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;
        memcpy(a->ip, &in->sin_addr, 4);
        a->port = ntohs(in->sin_port);
    } else if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)sa;
        memcpy(a->ip, &in6->sin6_addr, 16);
        a->port = ntohs(in6->sin6_port);
    }
}

static void addr_text(const struct conn *c, const struct peer_addr *a, char text[ADDR_TEXT_MAX])
{
    char ip[INET6_ADDRSTRLEN] = "?";
    if (a->family == AF_UNIX) {
        snprintf(text, ADDR_TEXT_MAX, "%s:0", c->reactor->net->unix_path);
        return;
    }
    inet_ntop(a->family, a->ip, ip, sizeof ip);
    snprintf(text, ADDR_TEXT_MAX, a->family == AF_INET6 ? "[%s]:%u" : "%s:%u", ip,
             (unsigned)a->port);
}

void conn_peer(const struct conn *c, char text[ADDR_TEXT_MAX])
{
    addr_text(c, &c->peer, text);
}

void conn_local(const struct conn *c, char text[ADDR_TEXT_MAX])
{
    struct sockaddr_storage sa = { 0 };
    socklen_t n = sizeof sa;
    (void)getsockname(c->fd, (struct sockaddr *)&sa, &n); /* unknown stays "?:0" */
    struct peer_addr a;
    peer_addr_from(&a, &sa);
    addr_text(c, &a, text);
}

size_t conn_peek(struct conn *c, char *buf, size_t n)
{
    if (c->in_n > 0 || c->close_now) {
        return 0;
    }
    if (c->tls != NULL) {
        return c->stop == 0 ? tls_peek(c, buf, n) : 0;
    }
    if (c->ahead.n > 0) { /* it comes before what the kernel has */
        n = size_min(n, c->ahead.n);
        memcpy(buf, c->ahead.p, n);
        return n;
    }
    ssize_t got = recv(c->fd, buf, n, MSG_PEEK | MSG_DONTWAIT);
    return got > 0 ? (size_t)got : 0;
}

bool conn_answer_peeked(struct conn *c, size_t used, struct slice text)
{
    char sink[4096];
    if (out_size(&c->out) > 0) {
        return false;
    }
    if (c->ahead.n > 0) {
        must(used <= c->ahead.n);
        c->ahead = slice_of(c->ahead.p + used, c->ahead.n - used);
        used = 0;
    }
    while (used > 0) {
        size_t part = size_min(used, sizeof sink);
        ssize_t n =
            c->tls != NULL ? tls_read(c, sink, part) : recv(c->fd, sink, part, MSG_DONTWAIT);
        if (n <= 0) { /* they were there: the connection is gone */
            conn_close(c, CLOSE_NOW);
            return true;
        }
        used -= (size_t)n;
    }
    struct iovec v = { (void *)(uintptr_t)text.p, text.n };
    ssize_t sent = c->tls != NULL ? tls_write(c, &v, 1)
                                  : send(c->fd, text.p, text.n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != (ssize_t)text.n) {
        conn_close(c, CLOSE_NOW); /* half a reply cannot be taken back */
    }
    return true;
}

bool conn_peer_is_loopback(const struct conn *c)
{
    static const uint8_t v6[16] = { [15] = 1 };
    switch (c->peer.family) {
    case AF_UNIX: return true;
    case AF_INET: return c->peer.ip[0] == 127;
    case AF_INET6: return memcmp(c->peer.ip, v6, sizeof v6) == 0;
    default: return false;
    }
}
