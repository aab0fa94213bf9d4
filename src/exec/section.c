/* section.c -- The exclusive section, and reclaiming memory that unlocked sweeps may still look at.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY        FLUSHALL, SWAPDB, EXEC with whole-keyspace commands and configuration changes need
 *            every other thread out of the keyspace, for microseconds. Freed tables need the proof
 *            that nobody still prefetches from them.
 *
 * THREADS    A worker is RUNNING from worker_wake() to worker_sleep(); in between it polls at every
 *            command boundary.
 *
 * PROTOCOL   Initiator: section lock, flag = 1, full fence, wait until no other worker is RUNNING.
 *            Worker going RUNNING: state = RUNNING, full fence, read flag: set -> state = PARKED,
 *            wait. One of the two fences comes first, so either the initiator sees RUNNING and
 *            waits for the poll, or the worker sees the flag. PARKED and ASLEEP are quiescent.
 *
 * BUSY       A slow script has the section and all shard locks: the others run without the
 *            keyspace, and who touches a shard all the same waits for its lock. He may get it when
 *            the script is over and somebody else has the section; so initiators wait for BUSY
 *            workers, too. A worker is BUSY only if it sees x->busy after it said so, and that is
 *            cleared before anybody else can get the section. Where the section goes on behind the
 *            script, in an EXEC, it waits for BUSY workers in the same way: they look at more than
 *            shards, such as their sessions. A script that wants the section
 *            meanwhile must not keep its reactor waiting: it gives up, and its client waits.
 *
 * LOCKS      section_lock, rank SECTION: held for the whole section; shard locks may be taken
 *            inside (rank above). */
#include "exec/exec_int.h"
#include <unistd.h>

static void state_set(struct worker *w, enum worker_state to)
{
    atomic_store_explicit(&w->state, to, memory_order_seq_cst);
}

/* Somebody may be waiting in section_enter() for this worker to stop. */
static void tell_initiator(struct exec *x)
{
    if (atomic_load_explicit(&x->section_flag, memory_order_seq_cst)) {
        atomic_fetch_add_explicit(&x->section_word, 1, memory_order_seq_cst);
        futex_wake(&x->section_word, 64);
    }
}

static void quiescent_point(struct worker *w)
{
    atomic_store_explicit(&w->quiescent,
                          atomic_load_explicit(&w->x->retire_epoch, memory_order_acquire),
                          memory_order_release);
}

static bool is_in(uint32_t state)
{
    return state == WORKER_RUNNING || state == WORKER_BUSY;
}

/* Becomes RUNNING, waiting out a section that is on; or BUSY, when a slow script has it. */
static void run_again(struct worker *w)
{
    struct exec *x = w->x;
    w->busy = false;
    for (;;) {
        state_set(w, WORKER_RUNNING);
        if (!atomic_load_explicit(&x->section_flag, memory_order_seq_cst)) {
            return;
        }
        uint32_t word = atomic_load_explicit(&x->section_word, memory_order_seq_cst);
        state_set(w, WORKER_PARKED);
        tell_initiator(x);
        if (atomic_load_explicit(&x->busy, memory_order_seq_cst) != 0) {
            state_set(w, WORKER_BUSY);
            if (atomic_load_explicit(&x->busy, memory_order_seq_cst) != 0) {
                w->busy = true; /* the keyspace is somebody else's */
                return;
            }
            continue;
        }
        if (atomic_load_explicit(&x->section_flag, memory_order_seq_cst)) {
            futex_wait(&x->section_word, word, 1000);
        }
    }
}

void section_poll_slow(struct worker *w)
{
    if (w->in_section) {
        return;
    }
    quiescent_point(w);
    state_set(w, WORKER_PARKED);
    tell_initiator(w->x);
    run_again(w);
    w->ticks = clock_ticks(); /* the section is nobody's execution time */
}

void worker_sleep(struct worker *w)
{
    quiescent_point(w);
    state_set(w, WORKER_ASLEEP);
    tell_initiator(w->x);
}

void worker_wake(struct worker *w)
{
    run_again(w);
}

#define SPIN_ROUNDS 100 /* most sections are over by then, as in base/lock */

/* Takes the section lock, unless its holder is a script that runs long. */
static bool lock_unless_busy(struct exec *x)
{
    for (unsigned i = 0;; i++) {
        uint32_t word = atomic_load_explicit(&x->section_word, memory_order_seq_cst);
        if (lock_try(&x->section_lock)) {
            return true;
        }
        if (i < SPIN_ROUNDS) {
            cpu_relax();
        } else if (atomic_load_explicit(&x->busy, memory_order_seq_cst) != 0) {
            return false;
        } else {
            futex_wait(&x->section_word, word, 1000);
        }
    }
}

static void wait_for_others(struct exec *x, const struct worker *w)
{
    for (unsigned i = 0; i < x->nworkers; i++) {
        struct worker *o = &x->workers[i];
        if (o == w) {
            continue;
        }
        for (;;) {
            uint32_t word = atomic_load_explicit(&x->section_word, memory_order_seq_cst);
            if (!is_in(atomic_load_explicit(&o->state, memory_order_seq_cst))) {
                break;
            }
            futex_wait(&x->section_word, word, 1000);
        }
    }
}

static bool enter(struct worker *w, bool unless_busy)
{
    struct exec *x = w != NULL ? w->x : NULL;
    must(x != NULL && !w->in_section);
    (void)fault("exec.section");
    bool running = is_in(atomic_load_explicit(&w->state, memory_order_relaxed));
    if (running) { /* another initiator may be waiting for us while we wait for its lock */
        quiescent_point(w);
        state_set(w, WORKER_PARKED);
        tell_initiator(x);
    }
    if (!unless_busy) {
        lock_acquire(&x->section_lock);
    } else if (!lock_unless_busy(x)) {
        must(running);
        run_again(w);
        return false;
    }
    atomic_store_explicit(&x->section_flag, 1, memory_order_seq_cst);
    wait_for_others(x, w);
    state_set(w, running ? WORKER_RUNNING : WORKER_PARKED);
    w->busy = false;
    w->in_section = true;
    lock_assume_all(RANK_SHARD, true);
    return true;
}

void section_enter(struct worker *w)
{
    (void)enter(w, false);
}

bool section_enter_unless_busy(struct worker *w)
{
    return enter(w, true);
}

void section_alone_again(struct worker *w)
{
    must(w->in_section && atomic_load_explicit(&w->x->busy, memory_order_relaxed) == 0);
    script_unlock(w); /* first: one of those that are waited for may wait for a shard */
    lock_assume_all(RANK_SHARD, true);
    wait_for_others(w->x, w);
}

void section_leave(struct worker *w)
{
    struct exec *x = w->x;
    must(w->in_section);
    script_unlock(w);
    lock_assume_all(RANK_SHARD, false);
    w->in_section = false;
    atomic_store_explicit(&x->section_flag, 0, memory_order_seq_cst);
    lock_release(&x->section_lock); /* first: lock_unless_busy() waits for the word, too */
    atomic_fetch_add_explicit(&x->section_word, 1, memory_order_seq_cst);
    futex_wake(&x->section_word, 64);
}

void exec_exclusive(struct exec *x, void (*fn)(void *arg), void *arg)
{
    struct reactor *r = reactor_self();
    struct worker *w = r != NULL ? reactor_user(r) : &x->workers[x->reactors];
    if (w->in_section) {
        fn(arg);
        return;
    }
    section_enter(w);
    fn(arg);
    section_leave(w);
}

/* ---- Reclaiming by quiescent states ---- */

static _Thread_local struct worker *replays; /* this thread, if it does */

void exec_retire(void *exec, void *p, void (*free_fn)(void *p))
{
    struct exec *x = exec;
    struct reactor *self = reactor_self();
    struct worker *w = self != NULL ? reactor_user(self) : replays;
    if (w == NULL) { /* start, stop, and exclusive sections of other threads: nobody sweeps */
        free_fn(p);
        return;
    }
    struct retired *r = mem_alloc(sizeof *r);
    *r = (struct retired){ .next = w->retired, .p = p, .free_fn = free_fn };
    r->epoch = atomic_fetch_add_explicit(&x->retire_epoch, 1, memory_order_acq_rel) + 1;
    w->retired = r;
}

/* The oldest epoch some running worker may still live in. */
static uint64_t oldest_epoch(struct exec *x)
{
    uint64_t oldest = UINT64_MAX;
    for (unsigned i = 0; i < x->reactors; i++) {
        struct worker *o = &x->workers[i];
        if (atomic_load_explicit(&o->state, memory_order_seq_cst) == WORKER_RUNNING) {
            oldest = u64_min(oldest, atomic_load_explicit(&o->quiescent, memory_order_acquire));
        }
    }
    struct worker *o = atomic_load_explicit(&x->replaying, memory_order_acquire);
    for (; o != NULL; o = o->next_replaying) {
        oldest = u64_min(oldest, atomic_load_explicit(&o->quiescent, memory_order_acquire));
    }
    return oldest;
}

void worker_quiesce(struct worker *w)
{
    quiescent_point(w);
    if (w->retired == NULL) {
        return;
    }
    uint64_t oldest = oldest_epoch(w->x);
    struct retired **at = &w->retired;
    while (*at != NULL) { /* newest first: once one is old enough all behind it are */
        if ((*at)->epoch <= oldest) {
            struct retired *r = *at;
            *at = NULL;
            while (r != NULL) {
                struct retired *next = r->next;
                r->free_fn(r->p);
                mem_free(r);
                r = next;
            }
            break;
        }
        at = &(*at)->next;
    }
}

void replay_join(struct worker *w)
{
    quiescent_point(w); /* now: its thread may look as soon as it runs */
    w->next_replaying = atomic_load_explicit(&w->x->replaying, memory_order_relaxed);
    atomic_store_explicit(&w->x->replaying, w, memory_order_release);
}

void replay_here(struct worker *w)
{
    replays = w;
}

/* Behind the end of its thread. A reactor that replays (DEBUG RELOAD) is not quiescent before its
 * next turn, and then it reclaims; at start there is nobody to come back, so this waits for the
 * reactors, which are between two commands soon. */
static void retired_of(struct worker *w)
{
    struct reactor *self = reactor_self();
    if (self == NULL) {
        for (worker_quiesce(w); w->retired != NULL; worker_quiesce(w)) {
            usleep(100);
        }
        return;
    }
    struct worker *to = reactor_user(self);
    uint64_t now = atomic_fetch_add_explicit(&w->x->retire_epoch, 1, memory_order_acq_rel) + 1;
    while (w->retired != NULL) {
        struct retired *r = w->retired;
        w->retired = r->next;
        r->epoch = now; /* newest first */
        r->next = to->retired;
        to->retired = r;
    }
}

void replay_left(struct exec *x)
{
    struct worker *w = atomic_exchange_explicit(&x->replaying, NULL, memory_order_acq_rel);
    for (; w != NULL; w = w->next_replaying) {
        retired_of(w);
    }
}
