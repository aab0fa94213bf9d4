/* conn_out.c -- Gates, and from the output chain to the socket.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 *     Output is one stream; a mark says up to which offset it waits for which gate. Gates of one
 *     connection never fall, so releasing is a walk from the first mark, and the connection waits
 *     in its reactor's heap under the gate of its first mark alone.
 *
 * INVARIANTS
 *     I1 out_base + head_sent <= released <= end of the first mark < end of the next ... <= gated
 *     I2 gates of the marks ascend strictly
 *     I3 wait_place != HEAP_NONE <=> nmarks > 0, after the flush of a turn
 *     I4 with EV_WRITE watched, nothing is offered to the kernel before the event comes */
#include "net/net_int.h"
#include "base/clock.h"
#include "base/fault.h"
#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <unistd.h>

/* One call offers at most this much (the kernel's buffer is no larger as a rule), and a turn makes
 * at most this many calls for one connection: a fast reader of a huge reply must not hold up the
 * others. */
#define WRITE_BYTES     ((size_t)1 << 20)
#define WRITE_CALLS     4
#define WRITE_CALLS_TLS 64 /* of one record each */

static uint64_t end_of(const struct conn *c)
{
    return c->out_base + out_size(&c->out);
}

static uint64_t sent_of(const struct conn *c)
{
    return c->out_base + c->head_sent;
}

static struct gate_mark *mark_at(struct conn *c, unsigned i)
{
    return &c->marks[(c->mark_first + i) % GATE_MARKS];
}

uint64_t conn_lowest_gate(const struct conn *c)
{
    return c->nmarks > 0 ? c->marks[c->mark_first].gate : UINT64_MAX;
}

size_t conn_out_bytes(const struct conn *c)
{
    return c->out.mem;
}

bool conn_over_limit(struct conn *c)
{
    bool over = out_over_limit(&c->out);
    if (over) { /* also when the limit rises before the reply is over */
        out_lose(&c->out);
    }
    return over;
}

size_t conn_parked_bytes(const struct conn *c)
{
    return (size_t)(end_of(c) - c->released) - c->out.dropped;
}

void conn_check(struct conn *c)
{
    uint64_t end = c->released;
    must(sent_of(c) <= end && c->gated <= end_of(c));
    for (unsigned i = 0; i < c->nmarks; i++) {
        must(mark_at(c, i)->end > end);
        must(i == 0 || mark_at(c, i)->gate > mark_at(c, i - 1)->gate);
        end = mark_at(c, i)->end;
    }
    must(c->close_now || end == c->gated);
    must((c->in_n == 0) == (c->in == NULL));
    out_check(&c->out);
}

bool conn_drained(const struct conn *c)
{
    return c->nmarks == 0 && sent_of(c) == c->released;
}

/* ---- Limits ---- */

void conn_close_limit(struct conn *c, const char *what)
{
    if (c->close_now) {
        return;
    }
    c->limit_what = what;
    counter_add(&c->reactor->stats.output_limit_closed, 1);
    conn_close(c, CLOSE_NOW);
}

static void soft_fired(struct reactor *r unused_arg, struct reactor_timer *t)
{
    conn_close_limit(container_of(t, struct conn, soft_timer), "soft output buffer limit");
}

static void check_limits(struct conn *c)
{
    if (out_over_limit(&c->out)) {
        conn_close_limit(c, "hard output buffer limit");
        return;
    }
    struct reactor *r = c->reactor;
    if (c->soft == 0 || out_counted(&c->out) <= c->soft) {
        reactor_timer_cancel(r, &c->soft_timer);
        return;
    }
    if (!c->soft_timer.armed) {
        c->soft_since_ms = clock_mono_ms(); /* the turn may be one of long ago */
    }
    int64_t due = c->soft_since_ms + (int64_t)c->soft_seconds * 1000;
    if (!c->soft_timer.armed || c->soft_timer.due_ms != due) {
        c->soft_timer.fire = soft_fired;
        reactor_timer_set(r, &c->soft_timer, due);
    }
}

void conn_set_limits(struct conn *c, size_t hard, size_t soft, unsigned soft_seconds)
{
    c->out.limit = hard;
    c->soft = soft;
    c->soft_seconds = soft_seconds;
    check_limits(c);
}

/* ---- Gates ---- */

void conn_gate(struct conn *c, uint64_t gate)
{
    uint64_t end = end_of(c);
    if (end == c->gated) {
        return;
    }
    if (unlikely((c->out.limit | c->soft) != 0)) {
        check_limits(c);
        if (c->out.lost) { /* what was dropped is never spoken of */
            return;
        }
    }
    c->gated = end;
    struct gate_mark *last = c->nmarks > 0 ? mark_at(c, c->nmarks - 1U) : NULL;
    if (last != NULL && last->gate >= gate) {
        last->gate = seeded_bug("net.bug_gate_falls") ? gate : last->gate;
        last->end = end;
    } else if (c->nmarks == GATE_MARKS) { /* waiting for a later gate is always right */
        *last = (struct gate_mark){ end, gate };
    } else {
        c->nmarks++;
        *mark_at(c, c->nmarks - 1U) = (struct gate_mark){ end, gate };
    }
    list_push(c->reactor, LIST_FLUSH, c);
}

static void release_marks(struct conn *c, uint64_t release)
{
    uint64_t early = seeded_bug("net.bug_gate_off_by_one") && release < UINT64_MAX ? 1 : 0;
    while (c->nmarks > 0 && c->marks[c->mark_first].gate <= release + early) {
        c->released = c->marks[c->mark_first].end;
        c->mark_first = (uint8_t)((c->mark_first + 1) % GATE_MARKS);
        c->nmarks--;
    }
}

/* ---- Writing ---- */

static ssize_t transport_write(struct conn *c, struct iovec *v, unsigned n)
{
    int error = fault("net.write");
    if (error == FAULT_SHORT) {
        v->iov_len = 1;
        n = 1;
    } else if (error != 0) {
        return error == FAULT_FAIL ? -EPIPE : -error;
    }
    if (unlikely(c->tls != NULL)) {
        return tls_write(c, v, n);
    }
    ssize_t sent;
    if (likely(n == 1)) {
        sent = send(c->fd, v->iov_base, v->iov_len, MSG_NOSIGNAL);
    } else {
        struct msghdr m = { .msg_iov = v, .msg_iovlen = n };
        sent = sendmsg(c->fd, &m, MSG_NOSIGNAL);
    }
    return sent < 0 ? -errno : sent;
}

/* Offers the released bytes to the kernel. */
static void write_released(struct conn *c)
{
    struct reactor *r = c->reactor;
    struct iovec v[IOV_MAX];
    unsigned calls_max = c->tls != NULL ? WRITE_CALLS_TLS : WRITE_CALLS;
    for (unsigned calls = 0; c->released > sent_of(c); calls++) {
        if (calls == calls_max) {
            c->write_full = true;
            return;
        }
        size_t want = size_min((size_t)(c->released - sent_of(c)), WRITE_BYTES);
        unsigned n = out_iov(&c->out, c->head_sent, want, v, IOV_MAX);
        size_t offered = 0;
        for (unsigned i = 0; i < n; i++) {
            offered += v[i].iov_len;
        }
        ssize_t sent = transport_write(c, v, n);
        if (sent == -EINTR) {
            continue;
        }
        if (sent < 0) {
            if (sent == -EAGAIN) {
                c->write_full = true;
            } else {
                conn_fail(c);
            }
            return;
        }
        counter_add(&r->stats.writes, 1);
        counter_add(&r->stats.out_bytes, (uint64_t)sent);
        c->last_output_ms = r->now_ms;
        c->head_sent =
            out_drop(&c->out, c->head_sent,
                     seeded_bug("net.bug_short_write_lost") ? offered : (size_t)sent, &c->out_base);
        if ((size_t)sent < offered && c->tls == NULL) {
            c->write_full = true;
            return;
        }
    }
}

void conn_count_passing(struct conn *c)
{
    size_t now = 0;
    if (c->nmarks > 0) { /* blocks that hold nothing else count in full */
        now = sent_of(c) == c->released ? c->out.mem : conn_parked_bytes(c);
    }
    if (now != c->passing) {
        counter_add(&c->reactor->stats.passing, now - c->passing);
        c->passing = now;
    }
}

static void wait_update(struct conn *c)
{
    struct heap *h = &c->reactor->waiting;
    if (c->wait_place != HEAP_NONE) {
        if (c->nmarks > 0 && h->a[c->wait_place].key == conn_lowest_gate(c)) {
            return;
        }
        heap_remove(h, c->wait_place);
    }
    if (c->nmarks > 0) {
        heap_push(h, conn_lowest_gate(c), &c->wait_place);
    }
}

void conn_flush(struct conn *c, uint64_t release)
{
    if (c->close_now) {
        c->nmarks = 0;
        wait_update(c);
        conn_count_passing(c);
        return;
    }
    release_marks(c, release);
    if (!c->write_full && c->released > sent_of(c)) {
        write_released(c);
    }
    wait_update(c);
    conn_count_passing(c);
    if (c->soft_timer.armed) {
        check_limits(c);
    }
    if ((c->stop & STOP_PARKED) != 0 && conn_parked_bytes(c) <= c->parked_low) {
        conn_resume(c, STOP_PARKED);
    }
    if (c->close_drain && conn_drained(c)) {
        conn_close(c, CLOSE_NOW);
    }
    if (!c->close_now) {
        conn_watch(c);
    }
}

void conn_write_early(struct conn *c, uint64_t release)
{
    conn_flush(c, release);
}
