/* pause.c -- CLIENT PAUSE and UNPAUSE: requests are held on their sessions until the pause ends.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      A failover, by hand or by a sentinel, wants a server that changes nothing for a moment.
 *          Once PAUSE is answered no other client's write runs, nothing expires and nothing is
 *          evicted.
 * HOW      PAUSE runs in an exclusive section. A request looks at the pause after its last chance
 * to be parked by a section, so it either ran before the pause or is held by it. RELEASE  Each
 * reactor releases its own sessions: at its timer, or at the message of an UNPAUSE. The message
 * follows the store that ends the pause, so whoever still saw the pause holds its session before
 * the message comes. What must still wait is held again. What waits for a script that runs long
 * (execute.c) is held in the same way, until it is over. THREADS  pause_active(), pause_holds():
 * workers. The rest: the session's reactor. */
#include "exec/exec_int.h"

bool pause_active_slow(struct exec *x)
{
    int64_t until = atomic_load_explicit(&x->pause_until_ms, memory_order_relaxed);
    if (until == 0 || clock_mono_ms() < until) {
        return until != 0;
    }
    atomic_compare_exchange_strong_explicit(&x->pause_until_ms, &until, 0, memory_order_relaxed,
                                            memory_order_relaxed);
    return false;
}

bool pause_holds_slow(const struct call *c)
{
    struct exec *x = c->x;
    const struct session *s = c->session;
    const struct cmd_ref *ref = c->in->ref;
    if (!pause_active_slow(x)) {
        return false;
    }
    uint32_t flags = ref->row->flags;
    if (s->multi != NULL && strcmp(ref->row->name, "exec") == 0) {
        flags |= multi_flags(s);
    }
    return atomic_load_explicit(&x->pause_all, memory_order_relaxed) ||
           (flags & (CMD_WRITE | CMD_MAY_REPLICATE)) != 0 ||
           (ref->row->may_write != NULL && ref->row->may_write(x, c->argv, c->argc));
}

static void release(struct worker *w)
{
    struct session *next;
    for (struct session *s = w->sessions; s != NULL; s = next) {
        next = s->next;
        if (s->paused) {
            s->paused = false;
            atomic_fetch_sub_explicit(&w->x->blocked_now, 1, memory_order_relaxed);
            session_resume(s);
        }
    }
}

static void on_timer(struct reactor *r, struct reactor_timer *t)
{
    (void)r;
    release(container_of(t, struct worker, pause_timer));
}

void pause_hold(struct session *s, const struct pending *p)
{
    struct worker *w = s->w;
    if (s->doomed) {
        return; /* it goes nowhere */
    }
    if (!session_hold_first(s, p)) { /* what is held already came behind it */
        return;
    }
    s->paused = true;
    conn_stop(s->conn, STOP_PAUSED);
    atomic_fetch_add_explicit(&w->x->blocked_now, 1, memory_order_relaxed);
    int64_t until = w->busy ? reactor_now_ms(w->r) + SCRIPT_LOOK_MS
                            : atomic_load_explicit(&w->x->pause_until_ms, memory_order_relaxed);
    if (!w->pause_timer.armed || until < w->pause_timer.due_ms) { /* 0: it ended this moment */
        w->pause_timer.fire = on_timer;
        reactor_timer_set(w->r, &w->pause_timer, until);
    }
}

void pause_closed(struct session *s)
{
    if (s->paused) {
        s->paused = false;
        atomic_fetch_sub_explicit(&s->w->x->blocked_now, 1, memory_order_relaxed);
    }
}

/* A pause that still lasts is never made shorter or weaker. */
void cmd_client_pause(struct call *c)
{
    bool all = c->argc == 3 || arg_is(c, 3, "all");
    int64_t until;
    if (c->argc > 4) {
        reply_errorf(
            c, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try CLIENT HELP.",
            (int)size_min(c->argv[1].n, 128), c->argv[1].p);
        return;
    }
    if (!all && !arg_is(c, 3, "write")) {
        reply_error(c, "ERR CLIENT PAUSE mode must be WRITE or ALL");
        return;
    }
    if (!arg_timeout_ms(c, 2, false, &until)) {
        return;
    }
    struct exec *x = c->x;
    bool lasts = pause_active(x);
    int64_t before = atomic_load_explicit(&x->pause_until_ms, memory_order_relaxed);
    if (until > 0) {
        all |= lasts && atomic_load_explicit(&x->pause_all, memory_order_relaxed);
        until = lasts && before > until ? before : until;
        atomic_store_explicit(&x->pause_all, all, memory_order_relaxed);
        atomic_store_explicit(&x->pause_until_ms, until, memory_order_relaxed);
    }
    reply_ok(c);
}

static void on_unpause(struct reactor *r, struct message *m)
{
    mem_free(m);
    struct worker *w = reactor_user(r);
    reactor_timer_cancel(r, &w->pause_timer);
    release(w);
}

void cmd_client_unpause(struct call *c)
{
    struct exec *x = c->x;
    if (atomic_exchange_explicit(&x->pause_until_ms, 0, memory_order_relaxed) != 0) {
        c->in->w->unpaused = true;
        for (unsigned i = 0; i < x->reactors; i++) {
            struct message *m = mem_alloc(sizeof *m);
            m->run = on_unpause;
            reactor_post(x->workers[i].r, m);
        }
    }
    reply_ok(c);
}
