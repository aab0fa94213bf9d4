/* stats.c -- Sums of the workers' counters, for INFO and CONFIG RESETSTAT.
 * SPDX-License-Identifier: BSD-3-Clause
 * THREADS  Any: relaxed reads of counters that one thread each writes. */
#include "exec/tracking.h"

void stat_served(struct call *c, uint64_t ticks)
{
    struct worker *w = c->in->w;
    stat_count(w, c->in->ref->id, ticks, c->in->error);
    counter_add(&w->commands, 1);
    if (unlikely(w->hotkeys != NULL)) {
        hotkeys_note(c, ticks);
    }
}

void exec_stats(struct exec *x, struct exec_stats *out)
{
    *out = (struct exec_stats){ 0 };
    for (unsigned i = 0; i < x->nworkers; i++) {
        const struct worker *w = &x->workers[i];
        out->commands += counter_get(&w->commands);
        out->hits += counter_get(&w->hits);
        out->misses += counter_get(&w->misses);
        out->expired += counter_get(&w->expired);
        out->expired_fields += counter_get(&w->expired_fields);
        out->evicted += counter_get(&w->evicted);
        out->changes += counter_get(&w->changes);
        out->errors += counter_get(&w->errors_total);
        out->unblocked += counter_get(&w->unblocked);
        out->clients_mem += counter_get(&w->clients_mem);
        out->clients_in_max = u64_max(out->clients_in_max, counter_get(&w->clients_in_max));
        out->clients_out_max = u64_max(out->clients_out_max, counter_get(&w->clients_out_max));
    }
    out->mem_not_counted = memory_not_counted(x);
    out->clients = registry_count(x);
    out->evicted_clients = atomic_load_explicit(&x->evicted_clients, memory_order_relaxed);
    out->blocked_timed = atomic_load_explicit(&x->blocked_timed, memory_order_relaxed);
    out->blocked = atomic_load_explicit(&x->blocked_now, memory_order_relaxed);
    out->watching_clients = atomic_load_explicit(&x->watching_clients, memory_order_relaxed);
    out->watched_keys = atomic_load_explicit(&x->watched_keys, memory_order_relaxed);
    out->blocking_keys = atomic_load_explicit(&x->blocking_keys, memory_order_relaxed);
    out->blocking_missing = atomic_load_explicit(&x->blocking_missing, memory_order_relaxed);
    pubsub_counts(x, out);
    tracking_counts(x, out);
    acl_counts(x, out);
}

uint64_t exec_commands_run(const struct exec *x)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < x->nworkers; i++) {
        sum += counter_get(&x->workers[i].commands);
    }
    return sum;
}

uint64_t exec_commands_us(struct exec *x)
{
    uint64_t ticks = 0;
    for (unsigned id = 0; id < commands_count(x); id++) {
        bool counts = (command_by_id(x, id)->row->flags & CMD_OWN_TXN) == 0;
        for (unsigned i = 0; i < x->nworkers && counts; i++) {
            ticks += counter_get(&x->workers[i].stats[id].ticks);
        }
    }
    return clock_ticks_to_ns(ticks) / 1000;
}

void exec_stats_reset(struct exec *x)
{
    atomic_store_explicit(&x->evicted_clients, 0, memory_order_relaxed);
    acl_counts_reset(x);
    for (unsigned i = 0; i < x->nworkers; i++) {
        struct worker *w = &x->workers[i];
        counter_t *const all[] = {
            &w->commands,       &w->hits,    &w->misses,       &w->expired,
            &w->expired_fields, &w->evicted, &w->errors_total, &w->unblocked
        };
        for (unsigned k = 0; k < countof(all); k++) {
            atomic_store_explicit(all[k], 0, memory_order_relaxed);
        }
        for (unsigned id = 0; id < commands_count(x); id++) {
            struct cmd_stat *st = &w->stats[id];
            atomic_store_explicit(&st->calls, 0, memory_order_relaxed);
            atomic_store_explicit(&st->ticks, 0, memory_order_relaxed);
            atomic_store_explicit(&st->rejected, 0, memory_order_relaxed);
            atomic_store_explicit(&st->failed, 0, memory_order_relaxed);
            latency_reset_histogram(st);
        }
    }
}

void exec_commandstats(struct exec *x,
                       void (*visit)(void *arg, const char *name, uint64_t calls, uint64_t usec,
                                     uint64_t rejected, uint64_t failed),
                       void *arg)
{
    for (unsigned id = 0; id < commands_count(x); id++) {
        uint64_t calls = 0, ticks = 0, rejected = 0, failed = 0;
        for (unsigned i = 0; i < x->nworkers; i++) {
            const struct cmd_stat *st = &x->workers[i].stats[id];
            calls += counter_get(&st->calls);
            ticks += counter_get(&st->ticks);
            rejected += counter_get(&st->rejected);
            failed += counter_get(&st->failed);
        }
        visit(arg, command_by_id(x, id)->full, calls, clock_ticks_to_ns(ticks) / 1000, rejected,
              failed);
    }
}

unsigned exec_reactors(const struct exec *x)
{
    return x->reactors;
}

void exec_load_progress(struct exec *x, struct load_progress *out)
{
    out->loading = atomic_load_explicit(&x->loading, memory_order_relaxed);
    out->done = atomic_load_explicit(&x->load_done, memory_order_relaxed);
    out->total = atomic_load_explicit(&x->load_total, memory_order_relaxed);
    int64_t passed =
        clock_mono_ms() - atomic_load_explicit(&x->load_start_ms, memory_order_relaxed);
    out->eta_s = out->done > 0 && out->total > out->done
                     ? (int64_t)((double)passed / 1000 * (double)(out->total - out->done) /
                                 (double)out->done) +
                           1
                     : 1;
}

bool session_is_local(const struct session *s)
{
    return s != NULL && (conn_kind(s->conn) == CONN_UNIX || conn_peer_is_loopback(s->conn));
}
