/* writer.c -- The writer threads: look, take a group, write it with a barrier, publish, sleep.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Disks overlap barriers, so up to `depth` groups are on their way at once. Only the
 * write is parallel: groups are built one after the other (take) and published in order (publish).
 * THREADS     `depth` writers. Under `everysec` and `no`, and where O_DIRECT is refused, writer 0
 * alone works: one group at a time.
 * ORDER       A writer sleeps in `sleepers` and then looks at tail once more; a producer adds to
 *             tail and then looks at `sleepers`; all seq_cst. So either the writer sees the record
 *             or the producer sees the sleeper. The producer that wakes a writer sets WAKING in
 *             the same step, and others leave it at that: whoever looks clears WAKING before it
 *             reads tail, so what was appended before the clearing is seen by this look.
 * FAILURE     A write or barrier that fails ends the process before anything later is published:
 *             its own group is not, and publication keeps the order.
 * FAULTS      wal.before_sleep, wal.before_write, wal.write, wal.after_write, wal.before_sync,
 * wal.sync, wal.before_publish, wal.after_publish (here); wal.timed_sync (sync.c); wal.seal,
 *             wal.switch (segment.c); wal.mode (publish.c); wal.segment_create,
 *             wal.segment_zero, wal.segment_sync, wal.segment_rename, wal.dir_sync (files.c);
 *             wal.history (history.c)
 * BUGS        Seeded for the suites: wal.bug_no_barrier, wal.bug_publish_early,
 *             wal.bug_lost_wakeup (here), wal.bug_publish_unordered (publish.c),
 *             wal.bug_synced_upto (publish.c), wal.bug_no_dir_sync (files.c),
 *             wal.bug_switch_unsynced (segment.c) */
#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "wal/wal_int.h"
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#define WAKING          0x80000000u
#define IDLE_PROOF_US   100000 /* without work for so long: prove the end of the log */
#define LOOK_AT_SYNC_US 50000  /* who waits for a timed sync also notices when it is overdue */
#define SPIN_ROUNDS     64     /* an append in flight takes nanoseconds; unless it was preempted */

/* ---- Failure ---- */

void wal_die(const char *what, int err)
{
    log_warning("WAL: %s failed: %s. Nothing after it is acknowledged; the process ends, a restart "
                "recovers everything acknowledged.",
                what, strerror(err < 0 ? -err : err));
    _exit(EXIT_WAL);
}

/* A fault point that stands in front of a call with a status. */
int wal_fault_status(int hit)
{
    return hit == 0 ? 0 : hit == FAULT_SHORT || hit == FAULT_FAIL ? -EIO : -hit;
}

/* ---- Writing ---- */

static void write_at(int fd, const uint8_t *p, uint64_t n, uint64_t offset)
{
    int hit = fault("wal.write");
    if (hit == FAULT_SHORT || hit == EINTR) { /* half now, the rest as a write of its own */
        uint64_t half = n / 2 / WAL_BLOCK * WAL_BLOCK;
        int err = io_pwrite_full(fd, p, half, offset);
        if (err != 0) {
            wal_die("write to a segment", err);
        }
        p += half;
        n -= half;
        offset += half;
        hit = 0;
    }
    int err = hit != 0 ? wal_fault_status(hit) : io_pwrite_full(fd, p, n, offset);
    if (err != 0) {
        wal_die("write to a segment", err);
    }
}

/* The batch is larger than the buffer: its head is in it, the payload follows piece by piece. */
static void write_big(struct wal_group *g)
{
    uint8_t *batch = g->buf + WAL_BLOCK;
    uint64_t offset = g->offset, left = g->big_bytes, used = g->used;
    const uint8_t *from = g->big;
    while (left > 0) {
        uint64_t n = u64_min(left, WAL_GROUP_BYTES - used);
        memcpy(batch + used, from, n);
        used += n;
        from += n;
        left -= n;
        uint64_t padded = (used + WAL_BLOCK - 1) / WAL_BLOCK * WAL_BLOCK;
        memset(batch + used, 0, padded - used);
        write_at(g->fd, batch, padded, offset);
        offset += padded;
        used = 0;
    }
    must(offset == g->offset + g->bytes);
    mem_free(g->big);
    g->big = NULL;
}

static void write_bytes(struct wal_group *g)
{
    if (g->big != NULL) {
        if (g->with_header) {
            write_at(g->fd, g->buf, WAL_BLOCK, 0);
        }
        write_big(g);
        return;
    }
    uint64_t head = g->with_header ? WAL_BLOCK : 0;
    write_at(g->fd, g->buf + WAL_BLOCK - head, g->bytes + head, g->offset - head);
}

/* The barrier of the path without O_DSYNC. */
void wal_barrier(int fd, const char *what)
{
    (void)fault("wal.before_sync");
    if (seeded_bug("wal.bug_no_barrier")) {
        return;
    }
    int err = wal_fault_status(fault("wal.sync"));
    err = err != 0 ? err : io_fdatasync(fd);
    if (err != 0) {
        wal_die(what, err);
    }
}

/* Writes the group, durably under `always`, and publishes it. */
void wal_write_group(struct wal *w, struct wal_group *g)
{
    (void)fault("wal.before_write");
    bool early = seeded_bug("wal.bug_publish_early");
    if (early) {
        wal_publish_group(w, g);
    }
    int64_t delay = atomic_load_explicit(&w->write_delay_us, memory_order_relaxed);
    if (unlikely(delay > 0)) {
        usleep((useconds_t)delay);
    }
    int64_t start = clock_mono_us();
    write_bytes(g);
    (void)fault("wal.after_write");
    if (g->sync == WAL_SYNC_ALWAYS) {
        if (!atomic_load_explicit(&w->direct, memory_order_relaxed)) {
            wal_barrier(g->fd, "fdatasync of a segment");
        }
        int64_t us = clock_mono_us() - start;
        wal_count_sync(w, us);
        if (w->cfg.barrier != NULL) {
            w->cfg.barrier(w->cfg.wake_arg, us);
        }
    }
    (void)fault("wal.before_publish");
    if (!early) {
        wal_publish_group(w, g);
    }
    (void)fault("wal.after_publish");
}

/* ---- Sleeping and waking ---- */

void wal_wake_writer(struct wal *w)
{
    uint32_t seen = atomic_load_explicit(&w->sleepers, memory_order_seq_cst);
    while (seen != 0 && (seen & WAKING) == 0) {
        uint32_t bit = seen & -seen;
        if (atomic_compare_exchange_weak_explicit(&w->sleepers, &seen, (seen & ~bit) | WAKING,
                                                  memory_order_seq_cst, memory_order_seq_cst)) {
            struct wal_writer *sleeper = &w->writers[__builtin_ctz(bit)];
            atomic_store_explicit(&sleeper->woken, 1, memory_order_seq_cst);
            futex_wake(&sleeper->woken, 1);
            return;
        }
    }
}

void wal_announce(struct wal *w, unsigned producer unused_arg)
{
    wal_wake_writer(w);
}

/* All of them look again: for a change that was made under take. */
void wal_kick_writers(struct wal *w)
{
    for (unsigned i = 0; i < w->nwriters; i++) {
        atomic_store_explicit(&w->writers[i].woken, 1, memory_order_seq_cst);
        futex_wake(&w->writers[i].woken, 1);
    }
    wal_event(w);
}

/* Sleeps unless something was appended after `tail`. */
static void sleep_for_work(struct wal *w, struct wal_writer *me, uint64_t tail, int64_t timeout_us)
{
    uint32_t bit = 1u << me->id;
    (void)fault("wal.before_sleep");
    atomic_fetch_or_explicit(&w->sleepers, bit, memory_order_seq_cst);
    if (seeded_bug("wal.bug_lost_wakeup") ||
        atomic_load_explicit(&w->tail, memory_order_seq_cst) == tail) {
        futex_wait(&me->woken, 0, timeout_us);
    }
    atomic_fetch_and_explicit(&w->sleepers, ~bit, memory_order_seq_cst);
}

/* ---- What to do next ---- */

enum job { JOB_WRITE, JOB_SWITCH, JOB_POLL, JOB_EVENT, JOB_SLEEP, JOB_PARK, JOB_END };

struct task {
    enum job job;
    uint64_t need;      /* JOB_SWITCH: bytes of segment that are asked for */
    uint64_t tail;      /* JOB_SLEEP: everything up to here has been taken */
    int64_t timeout_us; /* JOB_SLEEP, JOB_EVENT */
    uint32_t events;    /* JOB_EVENT: sleep until there is another */
};

static uint64_t in_flight_locked(const struct wal *w)
{
    return w->pos.next_seq - 1 - atomic_load_explicit(&w->written_seq, memory_order_acquire);
}

/* Seals what there is and begins another segment, once nothing is on its way to the old one. */
static struct task switch_when_quiet_locked(struct wal *w, struct task t)
{
    if (in_flight_locked(w) != 0 || w->syncing) {
        t.job = JOB_EVENT;
        return t;
    }
    w->switching = true;
    t.job = JOB_SWITCH;
    return t;
}

/* No records wait. The end of the log is proven by one empty batch, once all others are durable. */
static struct task idle_locked(struct wal *w, struct wal_writer *me, struct task t)
{
    if (w->stopping) {
        t.job = JOB_END;
        return t;
    }
    t.job = JOB_SLEEP;
    t.tail = w->taken;
    if (w->proved || w->pos.sync == WAL_SYNC_NO) { /* `no` claims nothing: there is no proof */
        return t;
    }
    t.timeout_us = w->last_take_us + IDLE_PROOF_US - clock_mono_us();
    if (t.timeout_us > 0) {
        return t;
    }
    if (wal_synced_upto(w) != w->pos.next_seq - 1) {
        t.timeout_us = IDLE_PROOF_US;
        return t;
    }
    if (!wal_group_fits_empty(w)) {
        return switch_when_quiet_locked(w, t);
    }
    wal_group_empty(w, &me->group, WAL_BATCH_IDLE);
    t.job = JOB_WRITE;
    return t;
}

static struct task next_task_locked(struct wal *w, struct wal_writer *me, struct task t)
{
    lock_assert_held(&w->take);
    bool overlap = w->pos.sync == WAL_SYNC_ALWAYS;
    if (w->failed != 0) {
        t.job = JOB_END;
        return t;
    }
    if (w->switching || in_flight_locked(w) >= (overlap ? w->nwriters : 1)) {
        t.job = JOB_EVENT;
        return t;
    }
    if (w->want_sync != w->pos.sync) {
        return switch_when_quiet_locked(w, t);
    }
    if (me->id != 0 && !overlap) {
        t.job = w->stopping ? JOB_END : JOB_PARK;
        return t;
    }
    switch (wal_group_take(w, &me->group, &t.need)) {
    case WAL_TAKE_GROUP: t.job = JOB_WRITE; return t;
    case WAL_TAKE_POLL: t.job = JOB_POLL; return t;
    case WAL_TAKE_FULL: return switch_when_quiet_locked(w, t);
    case WAL_TAKE_NOTHING: return idle_locked(w, me, t);
    }
    must_not_reach();
}

static struct task next_task(struct wal *w, struct wal_writer *me)
{
    struct task t = { .timeout_us = -1, .events = wal_events(w) };
    atomic_store_explicit(&me->woken, 0, memory_order_seq_cst);
    atomic_fetch_and_explicit(&w->sleepers, ~WAKING, memory_order_seq_cst);
    lock_acquire(&w->take);
    t = next_task_locked(w, me, t);
    if (t.job == JOB_EVENT && w->syncing) {
        t.timeout_us = LOOK_AT_SYNC_US;
    }
    wal_hold_if_overdue_locked(w);
    lock_release(&w->take);
    if (t.job == JOB_WRITE && me->group.more) {
        wal_wake_writer(w); /* one announcement may stand for several groups */
    }
    return t;
}

static void *writer_main(void *arg)
{
    struct wal_writer *me = arg;
    struct wal *w = me->w;
    unsigned polls = 0;
    mem_thread_start();
    for (;;) {
        struct task t = next_task(w, me);
        polls = t.job == JOB_POLL ? polls + 1 : 0;
        switch (t.job) {
        case JOB_WRITE: wal_write_group(w, &me->group); break;
        case JOB_SWITCH: wal_switch_segment(w, t.need); break;
        case JOB_EVENT: wal_event_wait(w, t.events, t.timeout_us); break;
        case JOB_SLEEP: sleep_for_work(w, me, t.tail, t.timeout_us); break;
        case JOB_PARK:
            wal_wake_writer(w); /* if it was woken for work: that is for writer 0 */
            futex_wait(&me->woken, 0, -1);
            break;
        case JOB_POLL:
            if (polls < SPIN_ROUNDS) {
                cpu_relax();
            } else {
                sched_yield();
            }
            break;
        case JOB_END: mem_thread_stop(); return NULL;
        }
    }
}

int wal_writers_start(struct wal *w)
{
    static const char *const names[] = { "wal-write-0", "wal-write-1", "wal-write-2",
                                         "wal-write-3" };
    _Static_assert(countof(names) == WAL_DEPTH_MAX, "a name for each writer");
    for (unsigned i = 0; i < w->nwriters; i++) {
        int err = thread_start(&w->writers[i].thread, names[i], writer_main, &w->writers[i]);
        if (err != 0) {
            return err;
        }
        w->started++;
    }
    return 0;
}
