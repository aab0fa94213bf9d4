/* tracking.h -- Client-side caching: remembering what a client has read, telling it when that
 * changes. SPDX-License-Identifier: BSD-3-Clause
 *
 * THREADS  As each function says. What hangs at a session is its reactor's, or anybody's in an
 * exclusive section. */
#ifndef EXEC_TRACKING_H
#define EXEC_TRACKING_H

#include "exec/exec_int.h"

/* Of a session that tracks. */
struct tracking {
    uint64_t redirect, redirect_handle; /* client id and its handle; 0: itself */
    bool bcast, optin, optout, noloop;
    bool broken;          /* the client it redirects to has gone */
    bool caching;         /* CLIENT CACHING was said */
    bool spent;           /* and a command began since, to which it applied */
    struct slice *prefix; /* of BCAST, sorted; the texts are those of the table */
    unsigned nprefix;
};
struct tracking_request { /* CLIENT TRACKING ON */
    uint64_t redirect, redirect_handle;
    bool bcast, optin, optout, noloop;
    struct slice *prefix; /* at least one with BCAST: "" */
    unsigned nprefix;
};

/* Of tracking.c and tracking_session.c. */
struct prefix {
    struct slice text; /* owned */
    uint64_t *handle;
    unsigned n, cap;
};
struct trackers {
    struct lock lock; /* RANK_TRACKING: the prefixes */
    struct prefix *prefix;
    unsigned n, cap;
    _Atomic unsigned prefixes; /* n, for who does not hold the lock */
    _Atomic unsigned clients;
    _Atomic uint64_t keys, items; /* in all tables; handles at them */
    _Atomic bool shrinking;       /* one worker is in shrink() */
    unsigned effort;              /* its own */
};
/* Handles, of which there are n, with room for one more: the capacity is the next power of two. */
must_check uint64_t *tracking_grown(uint64_t *handle, unsigned n);

void tracking_new(struct exec *x);
void tracking_free(struct exec *x);
void tracking_counts(struct exec *x, struct exec_stats *out);

/* On, or with other options. The request has been checked; prefixes are added to those it has.
 * False: there was no memory for them, and nothing was changed. */
must_check bool session_track(struct session *s, struct tracking_request *req);
void session_untrack(struct session *s);
size_t session_tracking_memory(const struct session *s);

/* Does what it reads now count? On its reactor. */
bool tracking_wanted(const struct session *s);
/* The client of `handle` reads these keys, whose locks are held from the read to here. */
void tracking_remember(struct worker *w, const struct key *keys, unsigned nkeys, uint64_t handle);
void tracking_read_slow(struct call *c);
/* After the handler of a session's call, locks held. */
static inline void tracking_read(struct call *c)
{
    if (unlikely(c->session->tracking != NULL)) {
        tracking_read_slow(c);
    }
}

void tracking_changed_slow(struct call *c, const struct key *k, bool expired);
/* k changes in c's transaction, which holds its lock. expired: nobody changed it, its time came. */
static inline void tracking_changed(struct call *c, const struct key *k, bool expired)
{
    if (unlikely(atomic_load_explicit(&c->x->tracking_used, memory_order_relaxed))) {
        tracking_changed_slow(c, k, expired);
    }
}
/* t's changes are undone, and nobody is told; its locks are held. */
void tracking_undo(struct txn *t);
/* Whole databases change; exclusive section. */
void tracking_flushed(struct call *c);
/* events_publish(): of all events those of tracking. The locks of t are still held. */
#define EVENT_TRACKED         10 /* a key that somebody has read, or that may have a prefix */
#define EVENT_TRACKED_EXPIRED 11
#define EVENT_TRACKED_ALL     12
void tracking_publish(struct txn *t, uint64_t gate);

/* What was told since the last call goes on its way: after a request, when no lock is held and no
 * reply is half written. To the client of the request directly, to others by message. */
void tracking_deliver(struct worker *w);
/* Before a request of a client that tracks. */
void tracking_before(struct session *s, const struct cmd_ref *ref);
/* Forgets keys above tracking-table-max-keys, and tells of them; frees what a flush has left. True:
 * there is more to do. Between requests. */
bool tracking_slice(struct worker *w);
#endif
