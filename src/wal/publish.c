/* publish.c -- What has been written and what is durable: the watermarks, and who is woken when
 * they move.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Groups may land in any order; only an unbroken sequence of them counts.
 * THREADS     wal_publish_* in writers and in the sync thread; waits in producers and in
 * administration threads.
 * ORDER       No wake-up is lost, because both sides store first and look second, all four with
 *             seq_cst, so that at least one of them sees the other:
 *               who waits    announces (gate, stopped, event_waiters), then reads the watermark
 *               who publishes moves the watermark, then reads the announcements
 *             An announcement is claimed by a compare-and-swap on its value. If it fails, the
 *             producer has announced something newer, after which it reads the watermark itself.
 * LOCKS       publish, for moving; nothing for reading. No wake() under a lock.
 * INVARIANTS  P1 durable <= written <= taken
 *             P2 watermarks move in sequence order, one group at a time */
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "wal/wal_int.h"

#define SLOW_SYNC_US    100000
#define LOG_INTERVAL_US 1000000

/* ---- Events: somebody waits for anything that is published here ---- */

uint32_t wal_events(const struct wal *w)
{
    return atomic_load_explicit(&w->events, memory_order_seq_cst);
}

/* Returns at once if there was an event since wal_events() returned `seen`. */
void wal_event_wait(struct wal *w, uint32_t seen, int64_t timeout_us)
{
    atomic_fetch_add_explicit(&w->event_waiters, 1, memory_order_seq_cst);
    futex_wait(&w->events, seen, timeout_us);
    atomic_fetch_sub_explicit(&w->event_waiters, 1, memory_order_seq_cst);
}

void wal_event(struct wal *w)
{
    atomic_fetch_add_explicit(&w->events, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&w->event_waiters, memory_order_seq_cst) != 0) {
        futex_wake(&w->events, INT32_MAX);
    }
}

/* ---- Watermarks ---- */

static void set_admission_locked(struct wal *w)
{
    lock_assert_held(&w->publish);
    uint64_t room = atomic_load_explicit(&w->room_ready, memory_order_relaxed) +
                    atomic_load_explicit(&w->room_current, memory_order_relaxed);
    uint64_t written = atomic_load_explicit(&w->written, memory_order_relaxed);
    bool held = atomic_load_explicit(&w->held, memory_order_relaxed);
    atomic_store_explicit(&w->admit, held ? 0 : written + u64_min(w->cfg.queue_bytes, room),
                          memory_order_seq_cst);
}

static void set_release_locked(struct wal *w)
{
    lock_assert_held(&w->publish);
    uint64_t durable = atomic_load_explicit(&w->durable, memory_order_relaxed);
    bool always = atomic_load_explicit(&w->mode, memory_order_relaxed) == WAL_SYNC_ALWAYS;
    atomic_store_explicit(&w->release, always ? durable : UINT64_MAX, memory_order_seq_cst);
}

static void set_durable_locked(struct wal *w, uint64_t seq, uint64_t end, uint64_t stream_end)
{
    lock_assert_held(&w->publish);
    must(end <= atomic_load_explicit(&w->written, memory_order_relaxed)); /* P1 */
    atomic_store_explicit(&w->stream_durable, stream_end, memory_order_relaxed);
    atomic_store_explicit(&w->durable, end, memory_order_seq_cst);
    atomic_store_explicit(&w->durable_seq, seq, memory_order_release);
    set_release_locked(w);
}

void wal_publish_init(struct wal *w)
{
    lock_acquire(&w->publish);
    uint64_t lsn = w->pos.next_lsn, start = u64_max(lsn, w->cfg.first_ticket);
    uint64_t seq = w->pos.next_seq - 1;
    atomic_store(&w->tickets_ahead, start - lsn);
    atomic_store(&w->tail, start);
    atomic_store(&w->written, start);
    w->stream_written = lsn;
    atomic_store(&w->written_seq, seq);
    atomic_store(&w->current_seq, seq);
    atomic_store(&w->current_segment, w->pos.segment);
    set_durable_locked(w, seq, start, lsn);
    set_admission_locked(w);
    for (unsigned i = 0; i < w->cfg.producers; i++) {
        w->producers[i].seen = start;
    }
    w->taken = start;
    lock_release(&w->publish);
}

/* Takes effect at a segment switch: nothing is in flight. The caller wakes producers, without
 * locks. */
void wal_publish_mode(struct wal *w, enum wal_sync mode)
{
    (void)fault("wal.mode");
    lock_acquire(&w->publish);
    atomic_store_explicit(&w->mode, mode, memory_order_seq_cst);
    set_release_locked(w);
    lock_release(&w->publish);
}

void wal_admission_changed(struct wal *w)
{
    lock_acquire(&w->publish);
    set_admission_locked(w);
    lock_release(&w->publish);
    wal_wake_producers(w);
}

/* On: nothing is admitted any more. The caller wakes producers after off, without locks. */
void wal_admission_hold(struct wal *w, bool hold)
{
    if (atomic_load_explicit(&w->held, memory_order_relaxed) != hold) {
        lock_acquire(&w->publish);
        atomic_store_explicit(&w->held, hold, memory_order_relaxed);
        set_admission_locked(w);
        lock_release(&w->publish);
    }
}

/* What the next batch may claim. */
uint64_t wal_synced_upto(const struct wal *w)
{
    if (seeded_bug("wal.bug_synced_upto")) {
        return w->pos.next_seq - 1;
    }
    return atomic_load_explicit(&w->durable_seq, memory_order_acquire);
}

/* ---- Publishing ---- */

static void count_group_locked(struct wal *w, const struct wal_group *g)
{
    lock_assert_held(&w->publish);
    if (g->records != 0) {
        wal_histogram_add(&w->group_records, g->records);
    }
    atomic_fetch_add_explicit(&w->groups, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->records, g->records, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->bytes_written, g->bytes + (g->with_header ? WAL_BLOCK : 0),
                              memory_order_relaxed);
}

/* A group that landed: it and all that were waiting for it become visible. */
static void land_locked(struct wal *w, const struct wal_group *g)
{
    lock_assert_held(&w->publish);
    struct wal_flight *own = &w->flight[g->seq % WAL_DEPTH_MAX];
    *own = (struct wal_flight){ true, g->seq, g->end, g->stream_end };
    uint64_t seq = atomic_load_explicit(&w->written_seq, memory_order_relaxed);
    if (seeded_bug("wal.bug_publish_unordered")) {
        seq = g->seq - 1;
    }
    struct wal_flight *next;
    while ((next = &w->flight[(seq + 1) % WAL_DEPTH_MAX])->done) {
        seq++;
        must(next->seq == seq); /* P2 */
        next->done = false;
        atomic_store_explicit(&w->written, next->end, memory_order_seq_cst);
        w->stream_written = next->stream_end;
        atomic_store_explicit(&w->written_seq, seq, memory_order_release);
        if (g->sync == WAL_SYNC_ALWAYS) {
            set_durable_locked(w, seq, next->end, next->stream_end);
        }
    }
    set_admission_locked(w);
}

void wal_publish_group(struct wal *w, const struct wal_group *g)
{
    lock_acquire(&w->publish);
    count_group_locked(w, g);
    land_locked(w, g);
    lock_release(&w->publish);
    wal_event(w);
    wal_wake_producers(w);
    if (g->sync != WAL_SYNC_ALWAYS && wal_sync_requested(w)) {
        wal_kick_syncer(w);
    }
}

/* What a sync that begins now will cover. */
struct wal_flight wal_publish_written(struct wal *w)
{
    lock_acquire(&w->publish);
    struct wal_flight f = {
        .seq = atomic_load_explicit(&w->written_seq, memory_order_relaxed),
        .end = atomic_load_explicit(&w->written, memory_order_relaxed),
        .stream_end = w->stream_written,
    };
    lock_release(&w->publish);
    return f;
}

void wal_publish_synced(struct wal *w, const struct wal_flight *upto)
{
    lock_acquire(&w->publish);
    if (upto->seq > atomic_load_explicit(&w->durable_seq, memory_order_relaxed)) {
        set_durable_locked(w, upto->seq, upto->end, upto->stream_end);
    }
    lock_release(&w->publish);
    wal_event(w);
    wal_wake_producers(w);
}

/* Time of one barrier. A disk that hangs is worth a line, but not hundreds. */
void wal_count_sync(struct wal *w, int64_t us)
{
    lock_acquire(&w->publish);
    wal_histogram_add(&w->sync_us, us > 0 ? (uint64_t)us : 0);
    bool slow = us > SLOW_SYNC_US, tell = false;
    if (slow) {
        atomic_fetch_add_explicit(&w->slow_syncs, 1, memory_order_relaxed);
        int64_t now = clock_mono_us();
        tell = now - w->last_slow_log_us >= LOG_INTERVAL_US;
        w->last_slow_log_us = tell ? now : w->last_slow_log_us;
    }
    lock_release(&w->publish);
    if (tell) {
        log_warning("WAL: the disk is slow: a barrier took %lld ms", (long long)(us / 1000));
    }
}

/* ---- Waking producers ---- */

static bool claim(_Atomic uint64_t *announced, uint64_t seen, uint64_t none)
{
    return atomic_compare_exchange_strong_explicit(announced, &seen, none, memory_order_seq_cst,
                                                   memory_order_seq_cst);
}

static bool claim_gate(_Atomic uint64_t *announced, uint64_t mark)
{
    uint64_t gate = atomic_load_explicit(announced, memory_order_seq_cst);
    return gate != WAL_NONE && gate <= mark && claim(announced, gate, WAL_NONE);
}

static bool claim_stopped(const struct wal *w, struct wal_producer *p)
{
    uint64_t wanted = atomic_load_explicit(&p->stopped, memory_order_seq_cst);
    return wanted != 0 && wal_admits_again(w, wanted) && claim(&p->stopped, wanted, 0);
}

void wal_wake_producers(struct wal *w)
{
    uint64_t release = atomic_load_explicit(&w->release, memory_order_seq_cst);
    uint64_t durable = atomic_load_explicit(&w->durable, memory_order_seq_cst);
    for (unsigned i = 0; i < w->cfg.producers; i++) {
        struct wal_producer *p = &w->producers[i];
        bool wake = claim_gate(&p->gate, release);
        wake |= claim_gate(&p->durable_gate, durable);
        wake |= claim_stopped(w, p);
        if (wake && w->cfg.wake != NULL) {
            w->cfg.wake(w->cfg.wake_arg, i);
        }
    }
}

/* ---- Waiting ---- */

uint64_t wal_release_point(const struct wal *w)
{
    return atomic_load_explicit(&w->release, memory_order_acquire);
}

struct wal_durable wal_durable(const struct wal *w)
{
    return (struct wal_durable){ atomic_load_explicit(&w->durable, memory_order_acquire) };
}

uint64_t wal_durable_lsn(const struct wal *w)
{
    return atomic_load_explicit(&w->stream_durable, memory_order_relaxed);
}

static void announce(_Atomic uint64_t *announced, uint64_t value)
{
    if (atomic_load_explicit(announced, memory_order_relaxed) != value) {
        atomic_store_explicit(announced, value, memory_order_seq_cst);
    }
}

uint64_t wal_wait(struct wal *w, unsigned producer, uint64_t lowest_gate, bool stopped)
{
    struct wal_producer *p = &w->producers[producer];
    announce(&p->gate, lowest_gate);
    uint64_t wanted = stopped ? atomic_load_explicit(&p->stopped, memory_order_relaxed) : 0;
    if (stopped && p->wanted != 0) {
        wanted = p->wanted;
    }
    p->wanted = 0;
    announce(&p->stopped, stopped ? u64_max(wanted, 1) : 0);
    uint64_t release = atomic_load_explicit(&w->release, memory_order_seq_cst);
    /* Room came meanwhile: nobody else may notice, so the producer wakes itself. */
    if (stopped && claim_stopped(w, p) && w->cfg.wake != NULL) {
        w->cfg.wake(w->cfg.wake_arg, producer);
    }
    return release;
}

struct wal_durable wal_wait_durable(struct wal *w, unsigned producer, uint64_t lowest)
{
    announce(&w->producers[producer].durable_gate, lowest);
    struct wal_durable d = { atomic_load_explicit(&w->durable, memory_order_seq_cst) };
    if (lowest != WAL_NONE && lowest > d.v &&
        atomic_load_explicit(&w->mode, memory_order_seq_cst) == WAL_SYNC_NO) {
        wal_request_sync(w, lowest); /* in this mode nothing else would ever sync */
    }
    return d;
}

/* True when a wait for `ticket` is over. */
static bool is_durable(const struct wal *w, uint64_t ticket)
{
    return atomic_load_explicit(&w->durable, memory_order_seq_cst) >= ticket;
}

int wal_wait_until(struct wal *w, uint64_t lsn)
{
    for (;;) {
        uint32_t seen = wal_events(w);
        if (is_durable(w, lsn)) {
            return 0;
        }
        if (atomic_load_explicit(&w->holding, memory_order_seq_cst)) {
            return -atomic_load_explicit(&w->last_errno, memory_order_relaxed);
        }
        wal_wake_writer(w);
        wal_request_sync(w, lsn);
        wal_event_wait(w, seen, -1);
    }
}
