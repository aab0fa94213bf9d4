/* net.c -- Composition: opens the listeners, starts and ends the reactors, sums their statistics.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * ENDING
 *     Every reactor closes its own connections and then leaves its loop. What the others post to it
 *     meanwhile is run by net_stop() once all threads have ended, so that no message is lost. */
#include "net/net_int.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#define SCRATCH_BYTES 65536 /* a read of this size costs the kernel about as much as parsing it */
#define THREADS_MAX   64

unsigned net_processors(void)
{
    cpu_set_t may;
    long online = sysconf(_SC_NPROCESSORS_ONLN); /* a machine too large for the mask has many */
    return sched_getaffinity(0, sizeof may, &may) == 0 ? (unsigned)CPU_COUNT(&may)
                                                       : (unsigned)(online > 0 ? online : 1);
}

static unsigned at_most(unsigned n, unsigned limit)
{
    return limit != 0 && limit < n ? limit : n;
}

int net_open(struct net **out, const struct net_config *cfg, const struct net_upcalls *up,
             struct buf *error)
{
    must(cfg->threads >= 1 && cfg->threads <= THREADS_MAX);
    struct net *n = mem_calloc(sizeof *n);
    n->up = *up;
    n->nreactors = cfg->threads;
    n->serving = at_most(cfg->threads, cfg->processors);
    n->accept_after_ms = cfg->accept_after_ms;
    n->may_spin = n->serving <= net_processors();
    n->reactors = mem_aligned(64, cfg->threads * sizeof *n->reactors);
    memset(n->reactors, 0, cfg->threads * sizeof *n->reactors);
    n->unix_path = mem_strdup(cfg->unixsocket != NULL ? cfg->unixsocket : "");
    lock_init(&n->lock, RANK_MAILBOX, 0);
    atomic_init(&n->maxclients, cfg->maxclients);
    atomic_init(&n->keepalive_s, cfg->keepalive_s);
    int rc = 0;
    if (cfg->tls_port != 0) {
        must(cfg->tls != NULL);
        rc = tls_context_new(&n->tls, cfg->tls, error);
    }
    for (unsigned i = 0; i < n->nreactors && rc == 0; i++) {
        rc = reactor_init(&n->reactors[i], n, i,
                          cfg->scratch_bytes != 0 ? cfg->scratch_bytes : SCRATCH_BYTES);
        if (rc < 0) {
            buf_printf(error, "Failed creating the event loop: %s", strerror(-rc));
        }
    }
    if (rc == 0) {
        rc = listeners_open(n, cfg, error);
    }
    if (rc < 0) {
        net_free(n);
        return rc;
    }
    *out = n;
    return 0;
}

static void stop_threads(struct net *n)
{
    for (unsigned i = 0; i < n->nreactors; i++) {
        atomic_store_explicit(&n->reactors[i].stopping, true, memory_order_release);
        reactor_wake(&n->reactors[i]);
    }
    for (unsigned i = 0; i < n->nreactors; i++) {
        if (n->reactors[i].started) {
            pthread_join(n->reactors[i].thread, NULL);
            n->reactors[i].started = false;
        }
    }
    /* A message that is run may post another one. */
    for (bool again = true; again;) {
        again = false;
        for (unsigned i = 0; i < n->nreactors; i++) {
            again = again || atomic_load(&n->reactors[i].inbox) != NULL;
            reactor_drain_inbox(&n->reactors[i]);
        }
    }
}

static int start_thread(struct reactor *r)
{
    char name[THREAD_NAME_MAX + 1];
    snprintf(name, sizeof name, "reactor-%u", r->id);
    int rc = thread_start(&r->thread, name, reactor_main, r);
    r->started = rc == 0;
    return rc;
}

int net_start(struct net *n)
{
    must(!n->started);
    if (n->accept_after_ms > 0) {
        listeners_start_late(n, n->accept_after_ms);
    } else {
        listeners_start(n);
    }
    for (unsigned i = 0; i < n->nreactors; i++) {
        int rc = start_thread(&n->reactors[i]);
        if (rc < 0) {
            stop_threads(n);
            return rc;
        }
    }
    n->started = true;
    return 0;
}

static void close_listeners_here(struct reactor *r, struct message *m)
{
    listeners_close(r->net);
    mem_free(m);
}

void net_stop_accepting(struct net *n)
{
    struct message *m = mem_alloc(sizeof *m);
    m->run = close_listeners_here;
    reactor_post(&n->reactors[0], m);
}

void net_stop(struct net *n)
{
    must(reactor_self() == NULL);
    net_stop_accepting(n);
    stop_threads(n);
}

void net_free(struct net *n)
{
    if (n == NULL) {
        return;
    }
    listeners_close(n);
    for (unsigned i = 0; i < n->nreactors; i++) {
        reactor_done(&n->reactors[i]);
    }
    tls_context_free(n->tls);
    mem_free(n->reactors);
    mem_free(n->unix_path);
    mem_free(n);
}

struct reactor *net_reactor(struct net *n, unsigned id)
{
    must(id < n->nreactors);
    return &n->reactors[id];
}

unsigned net_reactors(const struct net *n)
{
    return n->nreactors;
}

void net_set_maxclients(struct net *n, unsigned maxclients)
{
    atomic_store_explicit(&n->maxclients, maxclients, memory_order_relaxed);
}

void net_set_keepalive(struct net *n, unsigned seconds)
{
    atomic_store_explicit(&n->keepalive_s, seconds, memory_order_relaxed);
}

int net_set_tls(struct net *n, const struct tls_config *tls, struct buf *error)
{
    struct tls_context *fresh;
    int rc = tls_context_new(&fresh, tls, error);
    if (rc < 0) {
        return rc;
    }
    lock_acquire(&n->lock);
    struct tls_context *old = n->tls;
    n->tls = fresh;
    lock_release(&n->lock);
    tls_context_free(old);
    return 0;
}

/* ---- Statistics ---- */

static void stats_sum(struct net *n, struct net_stats *out)
{
    uint64_t ticks = 0;
    *out = (struct net_stats){ .rejected = counter_get(&n->rejected) };
    for (unsigned i = 0; i < n->nreactors; i++) {
        const struct reactor_stats *s = &n->reactors[i].stats;
        out->accepted += counter_get(&s->accepted);
        out->in_bytes += counter_get(&s->in_bytes);
        out->out_bytes += counter_get(&s->out_bytes);
        out->reads += counter_get(&s->reads);
        out->writes += counter_get(&s->writes);
        out->tls_accept_errors += counter_get(&s->tls_accept_errors);
        out->output_limit_closed += counter_get(&s->output_limit_closed);
        out->query_limit_closed += counter_get(&s->query_limit_closed);
        out->turns += counter_get(&s->turns);
        ticks += counter_get(&s->turn_ticks);
    }
    out->turn_us = clock_ticks_to_ns(ticks) / 1000;
}

void net_stats(struct net *n, struct net_stats *out)
{
    stats_sum(n, out);
    lock_acquire(&n->lock);
    const struct net_stats *base = &n->baseline;
    out->accepted -= base->accepted;
    out->rejected -= base->rejected;
    out->in_bytes -= base->in_bytes;
    out->out_bytes -= base->out_bytes;
    out->reads -= base->reads;
    out->writes -= base->writes;
    out->tls_accept_errors -= base->tls_accept_errors;
    out->output_limit_closed -= base->output_limit_closed;
    out->query_limit_closed -= base->query_limit_closed;
    out->turns -= base->turns;
    out->turn_us -= base->turn_us;
    lock_release(&n->lock);
    out->connected = atomic_load_explicit(&n->connected, memory_order_relaxed);
}

size_t net_passing_bytes(const struct net *n)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n->nreactors; i++) {
        sum += counter_get(&n->reactors[i].stats.passing);
    }
    return (size_t)sum;
}

void net_stats_reset(struct net *n)
{
    struct net_stats now;
    stats_sum(n, &now);
    lock_acquire(&n->lock);
    n->baseline = now;
    lock_release(&n->lock);
}
