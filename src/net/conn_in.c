/* conn_in.c -- From the socket to the input upcall.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 *     Whole requests are executed where they were read, in the reactor's scratch buffer; only what
 *     is left behind them is copied to the connection, and a connection without such a rest owns no
 *     buffer. A short rest is laid in front of the next read, so that the parser always sees one
 *     piece. A big argument is read straight into the buffer that can become the value.
 *
 *     A connection that has nothing but new bytes to read can be read into its own part of scratch
 *     and fed later in the turn: whoever executes can then fetch what several of them need at once.
 *
 * INVARIANTS
 *     I1 in_n == 0 <=> in == NULL.
 *     I2 The progress of the parser belongs to the bytes kept in `in`, from their start. */
#include "net/net_int.h"
#include "base/fault.h"
#include "base/mem.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_ROOM_MIN 4096

static void limit_close(struct conn *c, const char *what)
{
    c->limit_what = what;
    counter_add(&c->reactor->stats.query_limit_closed, 1);
    conn_close(c, CLOSE_NOW);
}

static void kept_free(struct conn *c)
{
    mem_free(c->in);
    c->in = NULL;
    c->in_start = c->in_n = c->in_cap = 0;
}

/* Room for n more bytes behind the kept ones. NULL: out of memory, and the connection is closed. */
static char *kept_room(struct conn *c, size_t n)
{
    if (c->in_cap - c->in_start - c->in_n < n && c->in_start > 0) {
        memmove(c->in, c->in + c->in_start, c->in_n);
        c->in_start = 0;
    }
    if (c->in_cap - c->in_start - c->in_n < n) {
        size_t cap = size_max(mem_good_size(c->in_n + n), c->in_cap + c->in_cap / 2);
        char *grown = mem_try_realloc(c->in, cap);
        if (grown == NULL) {
            limit_close(c, "out of memory for the query buffer");
            return NULL;
        }
        c->in = grown;
        c->in_cap = cap;
    }
    return c->in + c->in_start + c->in_n;
}

static void kept_add(struct conn *c, struct slice s)
{
    char *to = s.n > 0 ? kept_room(c, s.n) : NULL;
    if (to != NULL) {
        memcpy(to, s.p, s.n);
        c->in_n += s.n;
    }
}

static bool may_feed(const struct conn *c)
{
    return c->stop == 0 && !conn_closing(c) && parser_big_missing(&c->parser) == 0;
}

static size_t upcall(struct conn *c, struct slice in)
{
    c->feeding = in.n;
    size_t used = c->reactor->net->up.conn_input(c->user, c, in);
    c->feeding = 0;
    must(used <= in.n);
    parser_reset_batch(&c->parser);
    /* An upcall that has parsed nothing (its session may not read now) leaves the parser at the
     * place where these bytes were before. */
    const char *base = parser_base(&c->parser);
    must(used == 0 || base == NULL || base == in.p + used);
    return used;
}

static void check_limit(struct conn *c)
{
    if (c->query_limit != 0 && !conn_closing(c) &&
        c->in_n + parser_big_have(&c->parser) > c->query_limit) {
        limit_close(c, "query buffer limit");
    }
}

static void feed_kept(struct conn *c)
{
    if (!may_feed(c) || c->in_n == 0) {
        return;
    }
    size_t used = upcall(c, slice_of(c->in + c->in_start, c->in_n));
    c->in_start += used;
    c->in_n -= used;
    size_t keep;
    if (parser_big_begin(&c->parser, slice_of(c->in + c->in_start, c->in_n), &keep)) {
        c->in_n = keep;
    }
    if (c->in_n == 0) {
        kept_free(c);
    }
}

/* in: in scratch, a copy of the kept bytes and behind it what was read. */
static void feed_scratch(struct conn *c, struct slice in)
{
    size_t used = upcall(c, in);
    struct slice rest = slice_of(in.p + used, in.n - used);
    size_t keep;
    if (parser_big_begin(&c->parser, rest, &keep)) {
        rest.n = keep;
    }
    if (used == 0 && rest.n >= c->in_n) { /* what was kept is still there */
        kept_add(c, slice_of(rest.p + c->in_n, rest.n - c->in_n));
        return;
    }
    if (rest.n == 0) {
        kept_free(c);
        return;
    }
    c->in_start = c->in_n = 0;
    kept_add(c, rest);
}

/* The peer will send no more. What it was promised still leaves. */
static void at_end(struct conn *c)
{
    if ((c->stop & STOP_DEFERRED) != 0) {
        c->ended = true;
        list_push(c->reactor, LIST_FLUSH, c);
        return;
    }
    const struct net_upcalls *up = &c->reactor->net->up;
    if (up->conn_ended != NULL && c->opened) {
        up->conn_ended(c->user, c);
    }
    conn_close(c, CLOSE_AFTER_REPLY);
}

void conn_resumed(struct conn *c)
{
    feed_kept(c);
    if (c->ended && !conn_closing(c) && (c->stop & (STOP_ADMISSION | STOP_PARKED)) == 0) {
        at_end(c);
    }
}

/* True when n bytes were read. */
static bool received(struct conn *c, ssize_t n)
{
    if (n > 0) {
        struct reactor *r = c->reactor;
        c->last_input_ms = r->now_ms;
        counter_add(&r->stats.reads, 1);
        counter_add(&r->stats.in_bytes, (uint64_t)n);
        return true;
    }
    if (n == 0) {
        at_end(c);
    } else if (n != -EAGAIN && n != -EINTR) {
        conn_fail(c);
    }
    return false;
}

static ssize_t transport_read(struct conn *c, char *p, size_t n)
{
    int error = fault("net.read");
    if (error == FAULT_SHORT) {
        n = 1;
    } else if (error != 0) {
        return error == FAULT_FAIL ? -ECONNRESET : -error;
    }
    if (unlikely(c->tls != NULL)) {
        return tls_read(c, p, n);
    }
    ssize_t got = recv(c->fd, p, n, 0);
    return got < 0 ? -errno : got;
}

/* The rest of a big argument, and in the same call what follows it. */
static void read_big(struct conn *c)
{
    struct reactor *r = c->reactor;
    size_t n;
    char *room = parser_big_room(&c->parser, &n);
    if (room == NULL) {
        limit_close(c, "out of memory for an argument");
        return;
    }
    ssize_t got;
    if (c->tls != NULL || n < parser_big_missing(&c->parser)) {
        got = transport_read(c, room, n);
    } else {
        struct iovec v[2] = { { room, n }, { r->scratch, r->scratch_bytes } };
        got = readv(c->fd, v, 2);
        got = got < 0 ? -errno : got;
    }
    if (!received(c, got)) {
        return;
    }
    size_t behind = (size_t)got > n ? (size_t)got - n : 0;
    parser_big_filled(&c->parser, (size_t)got - behind);
    kept_add(c, slice_of(r->scratch, behind));
    feed_kept(c);
}

static void read_kept(struct conn *c)
{
    /* As much again as is there: a long request is copied a bounded number of times. */
    size_t n = size_max(size_min(c->in_n, c->reactor->scratch_bytes), IN_ROOM_MIN);
    char *room = kept_room(c, n);
    if (room == NULL) {
        return;
    }
    ssize_t got = transport_read(c, room, n);
    if (received(c, got)) {
        c->in_n += (size_t)got;
        feed_kept(c);
    } else if (c->in_n == 0) {
        kept_free(c);
    }
}

static void read_scratch(struct conn *c)
{
    struct reactor *r = c->reactor;
    if (c->in_n > 0) {
        memcpy(r->scratch, c->in + c->in_start, c->in_n);
    }
    ssize_t got = transport_read(c, r->scratch + c->in_n, r->scratch_bytes - c->in_n);
    if (received(c, got)) {
        feed_scratch(c, slice_of(r->scratch, c->in_n + (size_t)got));
    }
}

static void fed(struct conn *c)
{
    check_limit(c);
    const struct net_upcalls *up = &c->reactor->net->up;
    if (parser_big_missing(&c->parser) > 0 && up->conn_partial != NULL && !conn_closing(c)) {
        up->conn_partial(c->user, c);
    }
}

static bool may_receive(const struct conn *c)
{
    return !conn_closing(c) && !c->ended && (c->stop & (STOP_ADMISSION | STOP_PARKED)) == 0;
}

void conn_ready(struct conn *c)
{
    unsigned revents = c->revents;
    c->revents = 0;
    if (c->close_now) {
        return;
    }
    if (unlikely(c->tls != NULL) && tls_handshaking(c)) {
        tls_handshake(c);
        list_push(c->reactor, LIST_FLUSH, c);
        return;
    }
    if ((revents & EV_WRITE) != 0 || c->tls != NULL) {
        c->write_full = false;
        list_push(c->reactor, LIST_FLUSH, c);
    }
    if (((revents & EV_READ) == 0 && c->tls == NULL) || !may_receive(c)) {
        return;
    }
    if ((c->on_list & 1U << LIST_RESUME) != 0) {
        feed_kept(c); /* before the end of the input can be seen */
        if (!may_receive(c)) {
            return;
        }
    }
    if (parser_big_missing(&c->parser) > 0) {
        read_big(c);
    } else if (c->stop == 0 && c->in_n <= c->reactor->scratch_bytes / 4) {
        read_scratch(c);
    } else {
        read_kept(c);
    }
    fed(c);
    if (unlikely(c->tls != NULL) && !conn_closing(c) && tls_has_input(c)) {
        c->revents |= EV_READ; /* epoll does not know of these bytes: next turn */
        list_push(c->reactor, LIST_READY, c);
    }
}

/* ---- Several connections: read first, executed after ---- */

static bool only_reads(const struct conn *c)
{
    return c->revents == EV_READ && c->tls == NULL && c->in_n == 0 && may_feed(c);
}

bool conn_read_ahead(struct conn *c, char *to, size_t room, size_t *n)
{
    if (!only_reads(c)) {
        return false;
    }
    c->revents = 0;
    ssize_t got = transport_read(c, to, room);
    *n = received(c, got) ? (size_t)got : 0;
    c->ahead = slice_of(to, *n);
    return true;
}

void conn_feed_ahead(struct conn *c)
{
    struct slice in = c->ahead;
    c->ahead = slice_of(NULL, 0);
    if (conn_closing(c) || in.n == 0) { /* or conn_answer_peeked() has taken all of it */
        return;
    }
    if (may_feed(c)) {
        feed_scratch(c, in);
    } else {
        kept_add(c, in); /* stopped by another one's request */
    }
    fed(c);
}
