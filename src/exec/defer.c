/* defer.c -- Replies that come later: a command that waits for something outside the engine.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      No reactor waits for the disk. A client whose command does is parked like a blocked one,
 * and another thread brings the reply. So is one that has published to itself (pubsub.c), until
 * that has come; unlike a blocked one, it is answered when it has closed its side. THREADS
 * call_defer(): in a handler. exec_deferred_reply(): any; the reply is written by the client's
 * reactor, if the client is still there. */
#include "exec/exec_int.h"

struct deferred {
    struct message m;
    uint64_t handle;
    char error[]; /* "": OK */
};

uint64_t call_defer(struct call *c)
{
    struct session *s = c->session;
    if (s == NULL || !call_may_block(c)) {
        return 0;
    }
    s->deferred = true;
    s->deferred_silent = s->reply_mode != REPLY_ON;
    conn_stop(s->conn, STOP_DEFERRED);
    return s->handle;
}

static void go_on(struct session *s)
{
    s->deferred = false;
    session_resume(s);
    if (!s->deferred) { /* again, by what was held */
        conn_resume(s->conn, STOP_DEFERRED);
    }
}

static void reply_here(struct reactor *r, struct message *m)
{
    struct deferred *d = container_of(m, struct deferred, m);
    struct conn *conn = conn_by_handle(r, d->handle);
    struct session *s = conn != NULL && !conn_closing(conn) ? conn_user(conn) : NULL;
    if (s != NULL && s->deferred) {
        struct slice error = slice_str(d->error);
        if (error.n > 0) {
            error_count(s->w->x, s->w, slice_of(error.p, strcspn(error.p, " ")));
        }
        if (!s->deferred_silent && error.n > 0) {
            resp_error(conn_out(conn), error);
        } else if (!s->deferred_silent) {
            resp_simple(conn_out(conn), S("OK"));
        }
        conn_gate(conn, 0);
        go_on(s);
    }
    mem_free(d);
}

void exec_deferred_reply(struct exec *x, uint64_t ticket, const char *error)
{
    size_t n = strlen(error) + 1;
    struct deferred *d = mem_alloc(sizeof *d + n);
    d->m = (struct message){ .run = reply_here };
    d->handle = ticket;
    memcpy(d->error, error, n);
    reactor_post(net_reactor(x->net, handle_reactor(ticket)), &d->m);
}

void session_hear_first(struct session *s, const struct pending *p)
{
    if (session_hold_first(s, p)) {
        s->hears_first = s->deferred = true;
        conn_stop(s->conn, STOP_DEFERRED);
    }
}

void session_heard(struct session *s)
{
    if (s->hears_first && !conn_closing(s->conn)) {
        s->hears_first = false;
        go_on(s);
    }
}
