/* events.c -- What a transaction tells others, when it has its record: keyspace events, messages,
 * lines of MONITOR, changed keys.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      Nobody hears of what a crash could take back. So it is kept until the record is there,
 *          in copies: their sizes are a client's choice, and a script makes any number of them.
 * FAILURE  They are made when the change is made. Without memory for one the change stands, and
 *          whoever may have been about to hear of it is not left to think that nothing happened: a
 *          subscriber or monitor is disconnected, as by an output limit, and a client that tracks
 *          is told that all keys have changed. PUBLISH can still refuse, and does.
 * THREADS  The worker that runs the transaction, its shard locks held. */
#include "exec/pubsub.h"
#include "exec/tracking.h"
#include <stdio.h>

#define EVENTS_KEPT 1024 /* places that a worker keeps between transactions */

/* ---- Keeping ---- */

static struct event *event_add(struct txn *t)
{
    if (t->nevents == t->events_cap) {
        unsigned cap = t->events_cap == 0 ? 16 : t->events_cap * 2;
        struct event *grown =
            cap > t->events_cap ? mem_try_realloc(t->events, cap * sizeof *t->events) : NULL;
        if (grown == NULL) {
            return NULL;
        }
        t->events = grown;
        t->events_cap = cap;
    }
    return &t->events[t->nevents++];
}

static bool copy(struct slice *to, struct slice head, struct slice rest)
{
    char *p = mem_try_alloc(head.n + rest.n + 1);
    if (p == NULL) {
        return false;
    }
    memcpy(p, head.p, head.n);
    memcpy(p + head.n, rest.p, rest.n);
    *to = slice_of(p, head.n + rest.n);
    return true;
}

/* The channel is `head` and what follows it. */
static bool keep(struct txn *t, int kind, struct slice head, struct slice channel,
                 struct slice text)
{
    struct event *e = event_add(t);
    if (e == NULL) {
        return false;
    }
    *e = (struct event){ .kind = kind };
    if (!copy(&e->channel, head, channel) || !copy(&e->text, text, S(""))) {
        mem_free((void *)(uintptr_t)e->channel.p);
        t->nevents--;
        return false;
    }
    return true;
}

void event_lost(struct txn *t, int kind)
{
    t->lost |= kind < SUB_KINDS ? LOST_MESSAGES : kind == EVENT_MONITORED ? LOST_LINES : LOST_KEYS;
}

bool event_try(struct txn *t, int kind, struct slice channel, struct slice text)
{
    return keep(t, kind, S(""), channel, text);
}

bool event_message(struct txn *t, int kind, struct slice channel, struct slice text)
{
    bool kept = event_try(t, kind, channel, text);
    if (!kept) {
        event_lost(t, kind);
    }
    return kept;
}

void event_own(struct txn *t, int kind, struct buf *text)
{
    struct event *e = event_add(t);
    if (e == NULL) {
        buf_free(text);
        event_lost(t, kind);
        return;
    }
    *e = (struct event){ .kind = kind, .text = buf_slice(text) };
    *text = (struct buf){ NULL, 0, 0 };
}

void events_forget(struct txn *t)
{
    for (unsigned i = 0; i < t->nevents; i++) {
        struct event *e = &t->events[i];
        mem_free((void *)(uintptr_t)e->channel.p);
        mem_free((void *)(uintptr_t)e->text.p);
    }
    t->nevents = t->lost = 0;
    if (unlikely(t->events_cap > EVENTS_KEPT)) {
        mem_free(t->events);
        t->events = NULL;
        t->events_cap = 0;
    }
}

#define NOTIFY_KEYSPACE 1
#define NOTIFY_KEYEVENT 2

static void event_keyspace(struct txn *t, const char *where, unsigned db, struct slice what,
                           struct slice text)
{
    char head[40];
    int n = snprintf(head, sizeof head, "__%s@%u__:", where, db);
    if (!keep(t, SUB_CHANNEL, slice_of(head, (size_t)n), what, text)) {
        event_lost(t, SUB_CHANNEL);
    }
}

void notify(struct call *c, enum notify_class cls, const char *event, const struct key *k)
{
    int64_t flags = option_int(&c->x->opt.notify_flags);
    if (likely(!(flags & cls)) || (c->flags & CALL_REPLAY) || !pubsub_anybody(c->x)) {
        return;
    }
    if (flags & NOTIFY_KEYSPACE) {
        event_keyspace(c->in->t, "keyspace", c->db, k->s, slice_str(event));
    }
    if (flags & NOTIFY_KEYEVENT) {
        event_keyspace(c->in->t, "keyevent", c->db, slice_str(event), k->s);
    }
}

/* ---- Telling ---- */

struct lost_order {
    struct message m;
    unsigned lost;
};

static void on_lost(struct reactor *r, struct message *m)
{
    struct lost_order *order = container_of(m, struct lost_order, m);
    struct worker *w = reactor_user(r);
    for (struct session *s = w->sessions; s != NULL; s = s->next) {
        bool listens = ((order->lost & LOST_MESSAGES) != 0 && s->subs != NULL) ||
                       ((order->lost & LOST_LINES) != 0 && s->monitor);
        if (listens && !conn_closing(s->conn)) {
            conn_close_limit(s->conn, LOST_MESSAGE);
        }
    }
    mem_free(order);
}

/* Which of them would have heard it is not known any more: all of them go. */
static void disconnect(struct exec *x, unsigned lost)
{
    for (unsigned i = 0; i < x->reactors; i++) {
        struct lost_order *order = mem_alloc(sizeof *order);
        order->m.run = on_lost;
        order->lost = lost;
        reactor_post(x->workers[i].r, &order->m);
    }
}

void events_publish(struct txn *t, uint64_t gate)
{
    struct exec *x = t->w->x;
    bool tracked = (t->lost & LOST_KEYS) != 0;
    for (unsigned i = 0; i < t->nevents; i++) {
        struct event *e = &t->events[i];
        if (e->kind < SUB_KINDS) {
            pubsub_publish(t->w, (enum sub_kind)e->kind, e->channel, e->text, gate, true);
        } else if (e->kind == EVENT_MONITORED) {
            monitor_publish(x, e, gate);
        } else {
            tracked = true;
        }
    }
    if (tracked) {
        tracking_publish(t, gate);
    }
    if (unlikely((t->lost & (LOST_MESSAGES | LOST_LINES)) != 0)) {
        disconnect(x, t->lost);
    }
    events_forget(t);
}
