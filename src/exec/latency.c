/* latency.c -- What LATENCY shows: slow events of the recent past, and a histogram per command.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * EVENTS      One sample per second and event, the worst of that second, the newest HISTORY of
 * them. HISTOGRAMS  Per worker and command, made at its first call; log-linear steps of ticks, so
 * that counting one call is a shift and an increment. Ticks become nanoseconds when read. THREADS
 * Events: any, one lock (RANK_STATS), taken above the threshold only. Histograms: written by their
 * worker, read by anybody. */
#include "exec/latency.h"
#include <stdio.h>

/* ---- Events ---- */

struct latency {
    struct lock lock;
    struct latency_history event[LATENCY_EVENTS];
};

static const char *const event_names[LATENCY_EVENTS] = {
    [LATENCY_COMMAND] = "command",           [LATENCY_FAST_COMMAND] = "fast-command",
    [LATENCY_EXPIRE_CYCLE] = "expire-cycle", [LATENCY_EVICTION_CYCLE] = "eviction-cycle",
    [LATENCY_EVICTION_DEL] = "eviction-del", [LATENCY_FSYNC] = "aof-fsync-always",
};

void latency_new(struct exec *x)
{
    x->latency = mem_calloc(sizeof *x->latency);
    lock_init(&x->latency->lock, RANK_STATS, 0);
}

void latency_free(struct exec *x)
{
    mem_free(x->latency);
}

const char *latency_event_name(enum latency_event e)
{
    return event_names[e];
}

int latency_event_find(struct slice name)
{
    for (int e = 0; e < LATENCY_EVENTS; e++) {
        if (slice_is(name, event_names[e])) {
            return e;
        }
    }
    return -1;
}

void latency_note(struct exec *x, enum latency_event e, int64_t us)
{
    int64_t limit = option_int(&x->opt.latency_threshold), ms = us / 1000;
    if (likely(limit == 0 || ms < limit)) {
        return;
    }
    int64_t now = clock_wall_ms() / 1000;
    struct latency_history *h = &x->latency->event[e];
    lock_acquire(&x->latency->lock);
    struct latency_sample *last = h->n > 0 ? &h->sample[(h->n - 1) % LATENCY_HISTORY] : NULL;
    if (last != NULL && last->time_s == now) {
        last->ms = ms > last->ms ? ms : last->ms;
    } else {
        h->sample[h->n++ % LATENCY_HISTORY] = (struct latency_sample){ now, ms };
    }
    h->max_ms = ms > h->max_ms ? ms : h->max_ms;
    lock_release(&x->latency->lock);
}

bool latency_history(struct exec *x, enum latency_event e, struct latency_history *out)
{
    lock_acquire(&x->latency->lock);
    *out = x->latency->event[e];
    lock_release(&x->latency->lock);
    return out->n > 0;
}

bool latency_forget(struct exec *x, enum latency_event e)
{
    lock_acquire(&x->latency->lock);
    bool any = x->latency->event[e].n > 0;
    memset(&x->latency->event[e], 0, sizeof x->latency->event[e]);
    lock_release(&x->latency->lock);
    return any;
}

/* ---- Histograms ---- */

#define SUB_BITS 5 /* 32 steps per power of two: a percentile is at most 3 % too high */
#define SUB      (1u << SUB_BITS)

struct latency_histogram {
    counter_t count[LATENCY_STEPS];
};

static unsigned step_of(uint64_t ticks)
{
    if (ticks < SUB) {
        return (unsigned)ticks;
    }
    unsigned power = 63 - (unsigned)__builtin_clzll(ticks);
    unsigned step =
        (power - SUB_BITS + 1) * SUB + (unsigned)(ticks >> (power - SUB_BITS) & (SUB - 1));
    return step < LATENCY_STEPS ? step : LATENCY_STEPS - 1;
}

static uint64_t step_end(unsigned step)
{
    if (step < SUB) {
        return step;
    }
    unsigned shift = step / SUB - 1;
    return (((uint64_t)(SUB + step % SUB) + 1) << shift) - 1;
}

void latency_count(struct cmd_stat *st, uint64_t ticks)
{
    struct latency_histogram *h = atomic_load_explicit(&st->histogram, memory_order_relaxed);
    if (unlikely(h == NULL)) {
        h = mem_calloc(sizeof *h);
        atomic_store_explicit(&st->histogram, h, memory_order_release);
    }
    counter_add(&h->count[step_of(ticks)], 1);
}

void latency_reset_histogram(struct cmd_stat *st)
{
    struct latency_histogram *h = atomic_load_explicit(&st->histogram, memory_order_relaxed);
    for (unsigned i = 0; h != NULL && i < LATENCY_STEPS; i++) {
        atomic_store_explicit(&h->count[i], 0, memory_order_relaxed);
    }
}

bool latency_sum(struct exec *x, unsigned id, struct latency_total *out)
{
    memset(out, 0, sizeof *out);
    for (unsigned w = 0; w < x->nworkers; w++) {
        const struct latency_histogram *h =
            atomic_load_explicit(&x->workers[w].stats[id].histogram, memory_order_acquire);
        for (unsigned i = 0; h != NULL && i < LATENCY_STEPS; i++) {
            out->count[i] += counter_get(&h->count[i]);
        }
    }
    for (unsigned i = 0; i < LATENCY_STEPS; i++) {
        out->calls += out->count[i];
    }
    return out->calls > 0;
}

uint64_t latency_step_ns(unsigned step)
{
    return clock_ticks_to_ns(step_end(step));
}

static double percentile_us(const struct latency_total *t, double percent)
{
    double wanted = (double)t->calls * percent / 100;
    uint64_t below = 0;
    unsigned last = 0;
    for (unsigned i = 0; i < LATENCY_STEPS; i++) {
        below += t->count[i];
        last = t->count[i] > 0 ? i : last;
        if (t->count[i] > 0 && (double)below >= wanted) {
            break;
        }
    }
    return (double)latency_step_ns(last) / 1000;
}

void exec_latencystats(struct exec *x,
                       void (*visit)(void *arg, const char *name, struct slice text), void *arg)
{
    struct latency_total *t = mem_alloc(sizeof *t);
    struct buf text = { 0 };
    for (unsigned id = 0; id < commands_count(x); id++) {
        if (!latency_sum(x, id, t)) {
            continue;
        }
        text.n = 0;
        for (unsigned i = 0; i < x->opt.latency_percentiles; i++) {
            char p[F64_TEXT_MAX];
            size_t n = format_f64(p, x->opt.latency_percentile[i]);
            buf_printf(&text, "%sp%.*s=%.3f", i > 0 ? "," : "", (int)n, p,
                       percentile_us(t, x->opt.latency_percentile[i]));
        }
        visit(arg, command_by_id(x, id)->full, buf_slice(&text));
    }
    buf_free(&text);
    mem_free(t);
}
