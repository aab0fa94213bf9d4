/* stats.c -- Numbers about the log: histograms, and wal_stats().
 * SPDX-License-Identifier: BSD-3-Clause
 * THREADS     Histograms are written under publish; everything is read by any thread, and without
 * a lock: a reactor must not wait for a writer, which may hold take while it copies a large record.
 */
#include "wal/wal_int.h"

#define EXACT     16 /* below it each value has a step of its own */
#define PER_POWER 8

/* 16..17 -> 16, 18..19 -> 17, ... 32..35 -> 24, ...: the three bits below the highest one. */
static unsigned step_of(uint64_t value)
{
    if (value < EXACT) {
        return (unsigned)value;
    }
    unsigned power = 63 - (unsigned)__builtin_clzll(value);
    return EXACT + (power - 4) * PER_POWER + (unsigned)(value >> (power - 3) & (PER_POWER - 1));
}

/* The largest value of a step. */
static uint64_t step_end(unsigned step)
{
    if (step < EXACT) {
        return step;
    }
    unsigned power = 4 + (step - EXACT) / PER_POWER;
    uint64_t low = (PER_POWER + (step - EXACT) % PER_POWER) * ((uint64_t)1 << (power - 3));
    return low + (((uint64_t)1 << (power - 3)) - 1);
}

/* One writer at a time, so no read-modify-write is needed. */
void wal_histogram_add(struct wal_histogram *h, uint64_t value)
{
    _Atomic uint64_t *c = &h->count[step_of(value)];
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    if (value > atomic_load_explicit(&h->max, memory_order_relaxed)) {
        atomic_store_explicit(&h->max, value, memory_order_relaxed);
    }
}

/* At least `percent` of the values are not larger than the result; 0 when there are none. */
uint64_t wal_histogram_percentile(const struct wal_histogram *h, double percent)
{
    uint64_t total = 0, below = 0;
    for (unsigned i = 0; i < WAL_HISTOGRAM_STEPS; i++) {
        total += atomic_load_explicit(&h->count[i], memory_order_relaxed);
    }
    uint64_t max = atomic_load_explicit(&h->max, memory_order_relaxed);
    double wanted = (double)total * percent / 100;
    for (unsigned i = 0; i < WAL_HISTOGRAM_STEPS && total != 0; i++) {
        below += atomic_load_explicit(&h->count[i], memory_order_relaxed);
        if ((double)below >= wanted) {
            return u64_min(step_end(i), max);
        }
    }
    return max;
}

const char *wal_sync_name(enum wal_sync sync)
{
    switch (sync) {
    case WAL_SYNC_ALWAYS: return "always";
    case WAL_SYNC_EVERYSEC: return "everysec";
    case WAL_SYNC_NO: return "no";
    }
    return "?";
}

static uint64_t get(const _Atomic uint64_t *v)
{
    return atomic_load_explicit(v, memory_order_acquire);
}

void wal_stats(struct wal *w, struct wal_stats *out)
{
    uint64_t ahead = get(&w->tickets_ahead);
    *out = (struct wal_stats){
        .written = get(&w->written) - ahead,
        .durable = get(&w->durable) - ahead,
        .stream_durable = get(&w->stream_durable),
        .groups = get(&w->groups),
        .records = get(&w->records),
        .bytes_written = get(&w->bytes_written),
        .group_records_p50 = wal_histogram_percentile(&w->group_records, 50),
        .group_records_p99 = wal_histogram_percentile(&w->group_records, 99),
        .group_records_max = get(&w->group_records.max),
        .sync_us_p50 = wal_histogram_percentile(&w->sync_us, 50),
        .sync_us_p99 = wal_histogram_percentile(&w->sync_us, 99),
        .sync_us_max = get(&w->sync_us.max),
        .slow_syncs = get(&w->slow_syncs),
        .segments = get(&w->segments),
        .prepared = get(&w->prepared),
        .current_segment = get(&w->current_segment),
        .current_seq = get(&w->current_seq),
        .sync = (enum wal_sync)atomic_load_explicit(&w->mode, memory_order_acquire),
        .direct = atomic_load_explicit(&w->direct, memory_order_relaxed),
        .state = wal_state(w),
        .last_errno = atomic_load_explicit(&w->last_errno, memory_order_relaxed),
    };
    /* After `written`, so that the difference is never negative. */
    out->appended = atomic_load_explicit(&w->tail, memory_order_acquire) - ahead;
    out->queued_bytes = out->appended - out->written;
    for (unsigned i = 0; i < w->cfg.producers; i++) {
        out->admission_stops += get(&w->producers[i].stops);
        out->heap_records += get(&w->producers[i].heap_records);
    }
}
