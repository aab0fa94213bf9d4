/* sync.c -- The timed syncs of `everysec`, and syncs that somebody asks for under `everysec` and
 * `no`.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         A sync must not stop the writing of the next groups, so it has a thread of its own.
 * When it takes longer than a second, more than a second's writes would be at risk: then nothing
 * new is admitted until it ends.
 * THREADS     wal_sync_main is the thread; it sleeps under `always`.
 * LOCKS       take, for deciding; w->syncing keeps the segment from being sealed meanwhile. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/mem.h"
#include "wal/wal_int.h"

#define PERIOD_US 1000000

void wal_kick_syncer(struct wal *w)
{
    atomic_fetch_add_explicit(&w->syncer_kick, 1, memory_order_seq_cst);
    futex_wake(&w->syncer_kick, 1);
}

static bool always(const struct wal *w)
{
    return atomic_load_explicit(&w->mode, memory_order_seq_cst) == WAL_SYNC_ALWAYS;
}

/* Asks that everything up to `ticket` becomes durable without waiting for the period. */
void wal_request_sync(struct wal *w, uint64_t ticket)
{
    if (always(w)) {
        return;
    }
    uint64_t had = atomic_load_explicit(&w->sync_request, memory_order_seq_cst);
    while (had < ticket &&
           !atomic_compare_exchange_weak_explicit(&w->sync_request, &had, ticket,
                                                  memory_order_seq_cst, memory_order_seq_cst)) {
    }
    wal_kick_syncer(w);
}

bool wal_sync_requested(const struct wal *w)
{
    return atomic_load_explicit(&w->sync_request, memory_order_seq_cst) > wal_durable(w).v;
}

/* A sync runs for more than a period: lets the queues fill up no further. */
void wal_hold_if_overdue_locked(struct wal *w)
{
    lock_assert_held(&w->take);
    if (w->syncing && w->pos.sync == WAL_SYNC_EVERYSEC &&
        clock_mono_us() - w->last_sync_us > PERIOD_US) {
        wal_admission_hold(w, true);
    }
}

/* Is there something to sync now? If not, *timeout_us says how long there will not be. */
static bool due_locked(const struct wal *w, int64_t *timeout_us)
{
    lock_assert_held(&w->take);
    *timeout_us = -1;
    if (w->pos.sync == WAL_SYNC_ALWAYS || w->switching) { /* a switch ends with a kick */
        return false;
    }
    bool dirty = atomic_load_explicit(&w->written_seq, memory_order_acquire) > wal_synced_upto(w);
    if (dirty && wal_sync_requested(w)) {
        return true;
    }
    if (w->pos.sync == WAL_SYNC_NO) {
        return false;
    }
    *timeout_us = w->last_sync_us + PERIOD_US - clock_mono_us();
    if (!dirty) {
        *timeout_us = PERIOD_US;
    }
    return dirty && *timeout_us <= 0;
}

static void run_sync(struct wal *w, int fd)
{
    struct wal_flight upto = wal_publish_written(w);
    int64_t start = clock_mono_us();
    int err = wal_fault_status(fault("wal.timed_sync"));
    err = err != 0 ? err : io_fdatasync(fd);
    if (err != 0) {
        wal_die("fdatasync of a segment", err);
    }
    wal_count_sync(w, clock_mono_us() - start);
    wal_publish_synced(w, &upto);
}

void *wal_sync_main(void *arg)
{
    struct wal *w = arg;
    mem_thread_start();
    for (;;) {
        uint32_t seen = atomic_load_explicit(&w->syncer_kick, memory_order_seq_cst);
        int64_t timeout_us;
        lock_acquire(&w->take);
        bool stop = w->stopping, due = due_locked(w, &timeout_us);
        int fd = -1;
        if (due && !stop) {
            fd = w->cur.fd; /* stays open: no switch while syncing */
            w->syncing = true;
            w->last_sync_us = clock_mono_us();
        }
        lock_release(&w->take);
        if (stop) {
            break;
        }
        if (!due) {
            futex_wait(&w->syncer_kick, seen, timeout_us);
            continue;
        }
        run_sync(w, fd);
        lock_acquire(&w->take);
        w->syncing = false;
        wal_admission_hold(w, false);
        lock_release(&w->take);
        wal_event(w);
        wal_wake_producers(w);
    }
    mem_thread_stop();
    return NULL;
}
