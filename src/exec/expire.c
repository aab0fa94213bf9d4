/* expire.c -- The expiry slice: due keys are deleted, logged and told of, exactly, in bounded
 * steps. SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      No sampling: each shard knows its next due key, so a key goes within one tick of its
 * time while the CPU has room. A reactor looks after the shards whose index falls to it. THREADS
 * Each reactor, from its tick. Each delete is a transaction of its own: DEL in the log, gate of the
 * event = that record.
 *
 * SLEEP    A reactor looks again when the first of its keys is due. Whoever makes one due earlier
 * than that tells it: the slice says INT64_MAX before it looks at the shards, and when it will look
 * again only if nobody named an earlier time meanwhile; the other side changes the shard first, and
 * then looks at what the reactor said. */
#include "exec/exec_int.h"

#define TICK_MS 5   /* how late an expiry may be seen when keys have expiries at all */
#define LOOK_MS 100 /* the longest wait, against steps of the wall clock */
#define SLICE_US \
    2000 /* one slice's time; the rest goes on next turn so that clients are served between */
#define PER_LOCK 16 /* transactions under one holding of a shard lock */

/* Deletes up to PER_LOCK due entries of one shard, or some due fields of as many hashes. True: more
 * are due. */
static bool expire_shard(struct worker *w, unsigned index)
{
    struct exec *x = w->x;
    struct shard *s = keyspace_shard(x->ks, index);
    struct txn *t = &w->txn;
    bool more = false;
    for (unsigned n = 0; n <= PER_LOCK; n++) {
        struct call_int in = { .t = t, .w = w };
        struct call c = {
            .db = 0, .resp = 2, .now_ms = worker_now_ms(w), .x = x, .ks = x->ks, .in = &in
        };
        txn_begin(t, w);
        shard_lock(s);
        struct entry *e = shard_first_due(s, c.now_ms, &c.db);
        if (e == NULL || n == PER_LOCK) {
            more = e != NULL;
            shard_unlock(s);
            break;
        }
        struct key k = keyspace_key(x->ks, entry_key(e));
        w->scratch.n = 0; /* the entry's bytes go with it */
        buf_add_slice(&w->scratch, k.s);
        k.s = buf_slice(&w->scratch);
        if (entry_expired(&c, e)) {
            key_expire_now(&c, &k, e);
        } else {
            key_expire_fields(&c, &k, e);
        }
        txn_commit(t);
        shard_unlock(s);
    }
    return more;
}

/* Shards first, first + step, ..., beginning with the *from-th of them, in turn; *next: the
 * earliest due of those that have nothing due. True: more are due, and the next one to look at is
 * *from: those at the end do not starve while those at the beginning always have some. */
static bool expire_some(struct worker *w, unsigned first, unsigned step, unsigned *from,
                        int64_t *next)
{
    struct exec *x = w->x;
    int64_t start = clock_mono_us(), now = worker_now_ms(w);
    unsigned count = x->nshards > first ? (x->nshards - first - 1) / step + 1 : 0;
    bool more = false;
    for (unsigned n = 0; n < count && !more; n++) {
        unsigned i = first + (*from + n) % count * step;
        int64_t due = shard_next_due(keyspace_shard(x->ks, i));
        if (due > now) {
            *next = due < *next ? due : *next;
            continue;
        }
        *next = now; /* what comes after those is not known */
        section_poll(w);
        if (w->busy || pause_active(x) || log_is_full(x)) { /* perhaps it began just now */
            break;
        }
        bool late = false;
        while (!late && expire_shard(w, i)) {
            late = clock_mono_us() - start > SLICE_US;
        }
        if (late || clock_mono_us() - start > SLICE_US) {
            *from = (*from + n + 1) % count;
            more = true;
        }
    }
    if (w->waits_left && !w->busy) {
        waits_serve_rest(w);
    }
    latency_note(x, LATENCY_EXPIRE_CYCLE, clock_mono_us() - start);
    return more;
}

unsigned expire_slice(struct worker *w)
{
    struct exec *x = w->x;
    if (!option_int(&x->opt.active_expire) || pause_active(x) || log_is_full(x) ||
        atomic_load_explicit(&x->loading, memory_order_relaxed)) {
        return 100;
    }
    int64_t next = INT64_MAX;
    atomic_exchange_explicit(&w->expire_wanted, INT64_MAX, memory_order_seq_cst);
    bool more = expire_some(w, w->id, x->reactors, &w->expire_from, &next);
    int64_t now = worker_now_ms(w), wait = next - now;
    wait = more ? 1 : wait < TICK_MS ? TICK_MS : wait > LOOK_MS ? LOOK_MS : wait;
    w->expire_look = now + wait;
    int64_t wanted = INT64_MAX;
    if (!atomic_compare_exchange_strong_explicit(&w->expire_wanted, &wanted, w->expire_look,
                                                 memory_order_seq_cst, memory_order_relaxed) &&
        !more) {
        wait = wanted - now < TICK_MS ? TICK_MS : wait < wanted - now ? wait : wanted - now;
        w->expire_look = now + wait;
    }
    return (unsigned)wait;
}

void expire_earlier(void *exec, unsigned shard, int64_t due_ms)
{
    struct exec *x = exec;
    struct worker *w = &x->workers[shard % x->reactors];
    atomic_thread_fence(memory_order_seq_cst);
    int64_t wanted = atomic_load_explicit(&w->expire_wanted, memory_order_acquire);
    while (due_ms < wanted) { /* never before the worker's first slice: it has its reactor */
        if (atomic_compare_exchange_weak_explicit(&w->expire_wanted, &wanted, due_ms,
                                                  memory_order_acq_rel, memory_order_acquire)) {
            if (w->r != NULL && w->r != reactor_self()) {
                reactor_wake(w->r);
            }
            return;
        }
    }
}

void expire_look_earlier(struct worker *w)
{
    int64_t wanted = atomic_load_explicit(&w->expire_wanted, memory_order_relaxed);
    if (unlikely(wanted < w->expire_look)) {
        w->expire_look = wanted;
        reactor_tick_within(w->r, wanted - clock_wall_ms());
    }
}

void expire_slice_all(struct worker *w)
{
    int64_t next = INT64_MAX;
    unsigned from = 0;
    if (option_int(&w->x->opt.active_expire)) {
        (void)expire_some(w, 0, 1, &from, &next);
    }
}
