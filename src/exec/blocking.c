/* blocking.c -- Clients that wait for a key or for the log: parked sessions, and how they go on.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A WAITER   holds copies of everything its command needs, and one node in the list of each key it
 *            waits for. It belongs to its session's reactor, which alone unlinks and frees it;
 *            others only claim it (serving.c).
 *
 *                      claim (server)              served
 *            WAITING ------------------> CLAIMED ----------> DONE -> message to the reactor:
 *              |    <------------------                      ^       reply, unlink, free
 *              |      nothing to serve                       |
 *              +--- timeout, UNBLOCK, close (reactor) -------+
 *
 *            Every move is one compare-and-swap, so a waiter is served or ended once. A close
 *            that meets CLAIMED leaves `cancel`, a server of another key that meets it leaves
 *            `skipped`; whoever un-claims looks at both after (all sequentially consistent: one
 *            of the two sees the other).
 * LOCKS      Nodes: the shard lock of their key. A claimed or un-claimed waiter stays valid while
 *            the lock of one of its keys is held: to free it its reactor takes all of them. */
#include "exec/acl.h"
#include "exec/waiter.h"
#include "exec/tracking.h"

bool waiter_move(struct waiter *w, enum wait_state from, enum wait_state to)
{
    int expect = (int)from;
    return atomic_compare_exchange_strong_explicit(&w->state, &expect, (int)to,
                                                   memory_order_seq_cst, memory_order_seq_cst);
}

/* ---- Parking ---- */

bool call_may_block(const struct call *c)
{
    return c->session != NULL ? !(c->flags & (CALL_MULTI | CALL_SCRIPT | CALL_REPLAY))
                              : (c->flags & CALL_SERVING) != 0;
}

/* False: no memory. */
static bool node_link(struct exec *x, struct waiter *w, unsigned i)
{
    struct wait_node *n = &w->node[i];
    const struct key *k = &w->keys[w->first + i];
    n->owner = w;
    n->at = keymap_make(&x->shards[k->shard].waits, w->db, k);
    const struct wait_node *last = n->at != NULL ? n->at->tail : NULL;
    if (n->at == NULL || (last != NULL && last->owner == w)) {
        return n->at !=
               NULL; /* it names this key more than once: one place is enough to be served at */
    }
    n->prev = n->at->tail;
    if (n->prev != NULL) {
        n->prev->next = n;
    } else {
        n->at->head = n;
        w->bytes += mem_usable(n->at); /* another copy of the key, for all who wait for it */
    }
    n->at->tail = n;
    if (n->at->count++ == 0) {
        atomic_fetch_add_explicit(&x->blocking_keys, 1, memory_order_relaxed);
    }
    if (w->kind == BLOCK_GROUP && n->at->missing++ == 0) {
        atomic_fetch_add_explicit(&x->blocking_missing, 1, memory_order_relaxed);
    }
    n->linked = true;
    return true;
}

static void node_unlink(struct exec *x, struct wait_node *n)
{
    if (!n->linked) {
        return;
    }
    struct keynode *at = n->at;
    if (n->prev != NULL) {
        n->prev->next = n->next;
    } else {
        at->head = n->next;
    }
    if (n->next != NULL) {
        n->next->prev = n->prev;
    } else {
        at->tail = n->prev;
    }
    n->linked = false;
    if (n->owner->kind == BLOCK_GROUP && --at->missing == 0) {
        atomic_fetch_sub_explicit(&x->blocking_missing, 1, memory_order_relaxed);
    }
    if (--at->count == 0) {
        atomic_fetch_sub_explicit(&x->blocking_keys, 1, memory_order_relaxed);
        keymap_drop(&x->shards[at->key.shard].waits, at);
    }
}

/* In all lists, or in none: false, no memory. */
static bool nodes_link(struct exec *x, struct waiter *w)
{
    for (unsigned i = 0; i < w->n; i++) {
        if (!node_link(x, w, i)) {
            while (i > 0) {
                node_unlink(x, &w->node[--i]);
            }
            return false;
        }
    }
    return true;
}

static void waiter_discard(struct waiter *w)
{
    mem_free(w->keys);
    mem_free(w->args);
    mem_free(w);
}

static void on_timer(struct reactor *r, struct reactor_timer *t);

void call_block(struct call *c, enum block_kind kind, unsigned first, unsigned n,
                int64_t deadline_ms, void (*timeout_reply)(struct call *c))
{
    if (c->flags & CALL_SERVING) {
        c->in->blocked = true;
        return; /* it keeps its place */
    }
    /* turn_of() */
    must(n <= 1 || (c->in->ref->row->flags & CMD_SERVE_ONE) != 0);
    struct session *s = c->session;
    struct waiter *w = waiter_new(c, n);
    if (w == NULL) {
        reply_oom(c);
        return;
    }
    w->home = s->w;
    w->session = s;
    w->handle = s->handle;
    w->tracks = tracking_wanted(s);
    w->silent = s->reply_mode != REPLY_ON;
    w->ref = c->in->ref;
    w->user = s->user;
    w->db = c->db;
    w->resp = c->resp;
    w->kind = kind;
    w->deadline_ms = deadline_ms;
    w->timeout_reply = timeout_reply;
    w->first = first;
    w->n = n;
    if (!nodes_link(c->x, w)) {
        waiter_discard(w);
        reply_oom(c);
        return;
    }
    c->in->blocked = true;
    s->waiter = w;
    if (deadline_ms > 0) {
        w->timer.fire = on_timer;
        reactor_timer_set(s->w->r, &w->timer, deadline_ms);
        atomic_fetch_add_explicit(&c->x->blocked_timed, 1, memory_order_relaxed);
    }
    conn_stop(s->conn, STOP_BLOCKED);
    atomic_fetch_add_explicit(&c->x->blocked_now, 1, memory_order_relaxed);
    clients_account(s);
}

/* ---- Waiting for the log instead of a key: WAIT, WAITAOF ---- */

void call_block_until(struct call *c, uint64_t lsn, int64_t deadline_ms,
                      void (*reply)(struct call *c))
{
    call_block(c, BLOCK_WAIT, 0, 0, deadline_ms, reply);
    struct waiter *w = c->session->waiter;
    if (w == NULL) {
        return; /* there was no memory */
    }
    w->lsn = lsn;
    if (lsn != UINT64_MAX) {
        w->next_durable = w->home->durable_waits;
        w->home->durable_waits = w;
        w->in_durable = true;
    }
}

static void durable_unlink(struct waiter *w)
{
    struct waiter **at = &w->home->durable_waits;
    while (w->in_durable && *at != w) {
        at = &(*at)->next_durable;
    }
    if (w->in_durable) {
        *at = w->next_durable;
        w->in_durable = false;
    }
}

/* A log that was switched off makes nothing durable any more: its waits end too. */
void waits_durable(struct worker *w)
{
    struct wal *wal = w->x->wal;
    uint64_t durable = wal != NULL ? wal_durable(wal).v : UINT64_MAX;
    for (struct waiter *at = w->durable_waits, *next; at != NULL; at = next) {
        next = at->next_durable;
        if (at->lsn <= durable && waiter_move(at, WAIT_WAITING, WAIT_DONE)) {
            durable_unlink(at);
            waiter_post_end(at, NULL, false);
        }
    }
}

bool waits_durable_pending(struct worker *w)
{
    uint64_t lowest = UINT64_MAX;
    for (const struct waiter *at = w->durable_waits; at != NULL; at = at->next_durable) {
        lowest = u64_min(lowest, at->lsn);
    }
    return lowest != UINT64_MAX && wal_wait_durable(w->x->wal, w->id, lowest).v >= lowest;
}

/* On the home reactor, state DONE: out of all lists and gone. */
static void waiter_free(struct waiter *w)
{
    struct exec *x = w->home->x;
    if (unlikely(w->home->busy) && w->n > 0) { /* the locks are a slow script's: later */
        w->leaves = true;
        w->timer.fire = on_timer;
        reactor_timer_set(w->home->r, &w->timer, reactor_now_ms(w->home->r) + SCRIPT_LOOK_MS);
        return;
    }
    for (unsigned i = 0; i < w->n; i++) {
        struct shard *s = keyspace_shard(x->ks, w->keys[w->first + i].shard);
        if (w->home->in_section) {
            node_unlink(x, &w->node[i]);
        } else {
            shard_lock(s);
            node_unlink(x, &w->node[i]);
            shard_unlock(s);
        }
    }
    durable_unlink(w);
    reactor_timer_cancel(w->home->r, &w->timer);
    atomic_fetch_sub_explicit(&x->blocked_now, 1, memory_order_relaxed);
    if (w->deadline_ms > 0) {
        atomic_fetch_sub_explicit(&x->blocked_timed, 1, memory_order_relaxed);
    }
    waiter_discard(w);
}

/* ---- Ending without being served: on the home reactor ---- */

static void waiter_call(struct waiter *w, struct call *c, struct call_int *in)
{
    *in = (struct call_int){ .t = &w->home->txn, .w = w->home, .ref = w->ref };
    *c = (struct call){ .cmd = w->ref->row,
                        .argv = w->args->argv,
                        .argc = w->args->argc,
                        .nkeys = w->nkeys,
                        .keys = w->keys,
                        .db = w->db,
                        .resp = w->resp,
                        .now_ms = worker_now_ms(w->home),
                        .x = w->home->x,
                        .ks = w->home->x->ks,
                        .session = w->session,
                        .out = conn_out(w->session->conn),
                        .in = in };
}

/* end NULL: its time is up. */
static void end_with(struct waiter *w, const struct served *end)
{
    struct session *s = w->session;
    struct call c;
    struct call_int in;
    txn_begin(&w->home->txn, w->home);
    waiter_call(w, &c, &in);
    struct out_mark before = out_mark(c.out);
    if (end != NULL && end->denied != ACL_OK) {
        acl_refuse(&c, end->denied, end->denied_at);
    } else if (end != NULL && end->error != NULL) {
        reply_error(&c, end->error);
    } else {
        w->timeout_reply(&c);
    }
    s->waiter = NULL;
    if (w->n > 0) {
        call_gate_all(&c); /* "nothing came" depends on every removal so far */
    }
    s->last_gate = u64_max(s->last_gate, w->home->txn.gate);
    w->home->ticks = clock_ticks();
    if (end != NULL && end->refused) {
        counter_add(&w->home->stats[w->ref->id].rejected, 1);
    } else {
        call_account(s, &c);
    }
    if (w->silent) {
        out_rewind(c.out, before);
    }
    conn_gate(s->conn, s->last_gate);
    waiter_free(w);
    clients_account(s);
    session_resume(s);
}

static void on_timer(struct reactor *r, struct reactor_timer *t)
{
    struct waiter *w = container_of(t, struct waiter, timer);
    if (w->leaves) {
        waiter_free(w);
    } else if (waiter_move(w, WAIT_WAITING, WAIT_DONE)) {
        end_with(w, NULL);
    } else if (atomic_load_explicit(&w->state, memory_order_seq_cst) == WAIT_CLAIMED) {
        reactor_timer_set(r, t, reactor_now_ms(r) + 1); /* it may yet be un-claimed */
    }
}

void waiter_on_ended(struct reactor *r, struct message *m)
{
    (void)r;
    struct served *d = container_of(m, struct served, m);
    struct waiter *w = d->w;
    if (w->session == NULL || d->close_only) {
        waiter_free(w);
    } else {
        end_with(w, d);
    }
    mem_free(d);
}

void waiter_post_end(struct waiter *w, const char *error, bool close_only)
{
    struct served *d = mem_calloc(sizeof *d);
    d->w = w;
    d->error = error;
    d->close_only = close_only;
    d->m.run = waiter_on_ended;
    reactor_post(w->home->r, &d->m);
}

uint64_t waiter_handle(const struct waiter *w)
{
    return w->handle;
}

/* Now, not when its reactor closes it: what is pushed until then is for others. */
void session_forbid_wait(struct session *s)
{
    struct waiter *w = s->waiter;
    if (w != NULL && waiter_move(w, WAIT_WAITING, WAIT_DONE)) {
        s->waiter = NULL;
        w->session = NULL;
        waiter_post_end(w, NULL, true);
    }
}

/* CLIENT UNBLOCK; in an exclusive section or on the home reactor. False: not blocked (any more). */
bool session_unblock(struct session *s, bool with_error)
{
    struct waiter *w = s->waiter;
    if (w == NULL || !waiter_move(w, WAIT_WAITING, WAIT_DONE)) {
        return false;
    }
    waiter_post_end(w, with_error ? "UNBLOCKED client unblocked via CLIENT UNBLOCK" : NULL, false);
    return true;
}

void session_unblock_closed(struct session *s)
{
    struct waiter *w = s->waiter;
    if (w == NULL) {
        return;
    }
    s->waiter = NULL;
    w->session = NULL;
    atomic_store_explicit(&w->cancel, true, memory_order_seq_cst);
    if (waiter_move(w, WAIT_WAITING, WAIT_DONE)) {
        waiter_free(w);
    } /* else: a message about it is on its way, or whoever un-claims it sends one */
}

/* ---- Served: on the home reactor ---- */

/* In the logs of commands; here, because they name the client. */
static void log_served(struct served *d)
{
    struct call c;
    struct call_int in;
    waiter_call(d->w, &c, &in);
    if (unlikely(d->ticks > d->w->home->slow_ticks)) {
        slowlog_note(&c, d->ticks);
    }
    c.out = &d->out;
    in.reply_from = 1; /* nothing but this reply is there */
    commandlog_note_sizes(&c);
}

void waiter_on_served(struct reactor *r, struct message *m)
{
    (void)r;
    struct served *d = container_of(m, struct served, m);
    struct waiter *w = d->w;
    struct session *s = w->session;
    if (s != NULL) {
        log_served(d);
    }
    if (s == NULL || w->silent) {
        out_clear(&d->out);
    }
    waiter_free(w);
    if (s == NULL) {
        mem_free(d);
        return;
    }
    s->waiter = NULL;
    out_splice(conn_out(s->conn), &d->out);
    s->last_lsn = u64_max(s->last_lsn, d->lsn);
    s->last_gate = u64_max(s->last_gate, d->gate);
    conn_gate(s->conn, d->gate);
    counter_add(&s->w->unblocked, 1);
    mem_free(d);
    clients_account(s);
    session_resume(s);
}
