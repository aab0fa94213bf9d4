/* test_wal_restart.c -- Writer and recovery together: stops, kills and failures, one after the
 * other on the same directory. SPDX-License-Identifier: BSD-3-Clause */
#include "wal_util.h"
#include "base/rng.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define MAX       6000
#define PRODUCERS 3

/* ---- Replaying into counters ---- */

struct counted {
    uint64_t count[RIG_PRODUCERS]; /* records of each producer: 0, 1, 2, ... */
    uint64_t lsn, records;
    bool wrong;
};

static int count_records(void *arg, struct wal_batch *batch, const struct wal_record *rec,
                         unsigned n)
{
    struct counted *c = arg;
    char buf[MAX + 8];
    for (unsigned i = 0; i < n; i++) {
        uint64_t name = UINT64_MAX;
        memcpy(&name, rec[i].payload.p, size_min(rec[i].payload.n, 8));
        unsigned p = (unsigned)(name >> 56);
        c->lsn += rec[i].payload.n;
        c->wrong |= p >= RIG_PRODUCERS || rec[i].lsn != c->lsn || rec[i].db != p ||
                    !slice_eq(rec[i].payload, rig_payload(p, c->count[p], MAX, buf));
        if (!c->wrong) {
            c->count[p]++;
        }
        c->records++;
    }
    wal_batch_release(batch);
    return 0;
}

/* Opens, replays, starts; one time in two in one pass. The records begin at `base`. */
static void start_counted_at(struct rig *r, struct counted *c, uint64_t base)
{
    *c = (struct counted){ .lsn = base };
    struct wal_replay to = { .arg = c, .records = count_records };
    r->cfg.judge_later = rng_below(2) == 0;
    int err = wal_open(&r->w, &r->cfg, &r->report);
    ck_assert_msg(err == 0, "open: %d %s", err, r->report.message);
    err = r->cfg.judge_later ? wal_load(r->w, &to, &r->report) : wal_replay(r->w, &to);
    ck_assert_msg(err == 0, "load: %d %s", err, r->report.message);
    ck_assert(!c->wrong);
    ck_assert_uint_eq(c->lsn, r->report.end_lsn);
    ck_assert_uint_eq(c->records, r->report.records);
    err = wal_start(r->w);
    ck_assert_int_eq(err, 0);
    uint64_t ticket = u64_max(c->lsn, r->cfg.first_ticket);
    ck_assert_uint_eq(wal_tail(r->w), ticket);
    ck_assert_uint_eq(wal_durable(r->w).v, ticket);
    ck_assert_uint_eq(wal_durable_lsn(r->w), c->lsn);
    ck_assert_uint_eq(rig_stats(r).appended, c->lsn);
}

static void start_counted(struct rig *r, struct counted *c)
{
    start_counted_at(r, c, 0);
}

/* ---- One life ---- */

/* Shared with the child that lives it. */
struct life {
    struct rig r;
    const char *faults;   /* armed once it runs */
    const char *at_start; /* armed before */
    unsigned rounds;
    bool stop;
    _Atomic uint64_t acked[PRODUCERS]; /* records that were durable */
    _Atomic uint64_t sent[PRODUCERS];
    _Atomic bool done;
};

static void live(void *arg)
{
    struct life *l = arg;
    struct counted c;
    char buf[MAX + 8];
    uint64_t gate[PRODUCERS] = { 0 };
    ck_assert_int_eq(fault_arm(l->at_start), 0);
    start_counted(&l->r, &c);
    ck_assert_int_eq(fault_arm(l->faults), 0);
    for (unsigned p = 0; p < PRODUCERS; p++) {
        atomic_store(&l->acked[p], c.count[p]);
        atomic_store(&l->sent[p], c.count[p]);
    }
    for (unsigned i = 0; i < l->rounds; i++) {
        unsigned p = (unsigned)rng_below(PRODUCERS);
        uint64_t k = atomic_fetch_add(&l->sent[p], 1);
        gate[p] = rig_append(&l->r, p, rig_payload(p, k, MAX, buf));
        if (rng_below(3) == 0) {
            wal_announce(l->r.w, p);
        }
        if (rng_below(6) == 0) {
            int err = wal_wait_until(l->r.w, gate[p]);
            ck_assert_int_eq(err, 0);
        }
        uint64_t durable = wal_durable(l->r.w).v;
        for (unsigned q = 0; q < PRODUCERS; q++) {
            if (durable >= gate[q]) {
                atomic_store(&l->acked[q], atomic_load(&l->sent[q]));
            }
        }
    }
    atomic_store(&l->done, true);
    if (l->stop) {
        rig_stop(&l->r);
        for (unsigned p = 0; p < PRODUCERS; p++) {
            atomic_store(&l->acked[p], atomic_load(&l->sent[p]));
        }
    } else {
        raise(SIGKILL);
    }
}

static void random_config(struct life *l)
{
    static const uint64_t sizes[] = { 32768, 65536, 131072 };
    l->r.cfg.segment_bytes = sizes[rng_below(countof(sizes))];
    l->r.cfg.depth = 1 + (unsigned)rng_below(4);
    l->r.cfg.buffered = rng_below(3) == 0;
    l->r.cfg.sync = rng_below(2) == 0 ? WAL_SYNC_ALWAYS : (enum wal_sync)rng_below(3);
    l->r.cfg.first_ticket = rng_below(3) == 0 ? rng_below(1u << 22) : 0; /* of another log before */
}

/* What was acknowledged is there, in order; what was never sent is not. A process that is killed
 * leaves the page cache, so this holds in every mode. */
static void check_life(const struct life *l, const struct counted *c)
{
    for (unsigned p = 0; p < PRODUCERS; p++) {
        ck_assert_uint_ge(c->count[p], atomic_load(&l->acked[p]));
        ck_assert_uint_le(c->count[p], atomic_load(&l->sent[p]));
    }
}

static struct life *new_life(void)
{
    struct life *l = shared_memory(sizeof *l);
    rig_init(&l->r, unit_tmpdir());
    l->at_start = l->faults = "";
    return l;
}

/* ---- Tests ---- */

START_TEST(test_lives)
{
    static const char *const places[] = {
        "wal.before_write",  "wal.write",        "wal.after_write",    "wal.before_publish",
        "wal.after_publish", "wal.seal",         "wal.switch",         "wal.segment_create",
        "wal.segment_zero",  "wal.segment_sync", "wal.segment_rename", "wal.dir_sync",
        "wal.before_sync",   "wal.sync",         "wal.timed_sync",     "wal.history",
        "io.write",          "io.fsync",         "io.rename",          "io.fdatasync",
    };
    rng_seed_all(unit_seed() + (uint64_t)_i);
    struct life *l = new_life();
    for (unsigned life = 0; life < 25; life++) {
        struct counted c;
        char faults[100] = "";
        random_config(l);
        l->stop = rng_below(4) == 0;
        l->rounds = (unsigned)rng_below(300);
        if (!l->stop && rng_below(2) == 0) {
            snprintf(faults, sizeof faults, "%s=kill:%u", places[rng_below(countof(places))],
                     (unsigned)rng_below(30));
        }
        bool early = rng_below(4) == 0;
        l->at_start = early ? faults : "";
        l->faults = early ? "" : faults;
        atomic_store(&l->done, false);
        rng_seed_all(rng_u64()); /* the child's threads */
        int status = in_child(live, l);
        ck_assert_int_eq(status, l->stop ? 0 : -SIGKILL);
        enum wal_sync was = l->r.cfg.sync;
        random_config(l);
        start_counted(&l->r, &c);
        if (!early) { /* killed in its start, it may have changed nothing */
            ck_assert(l->r.report.clean == l->stop);
        }
        if (was == WAL_SYNC_ALWAYS && l->r.cfg.sync == WAL_SYNC_ALWAYS && atomic_load(&l->done)) {
            ck_assert(!l->r.report.new_history);
        }
        check_life(l, &c);
        rig_stop(&l->r);
    }
}
END_TEST

/* Many short lives fill segments to every possible last block. */
START_TEST(test_restarts_at_every_offset)
{
    struct rig r;
    struct counted c;
    char buf[MAX + 8];
    uint64_t sent = 0;
    rig_init(&r, unit_tmpdir());
    r.cfg.segment_bytes = WAL_SEGMENT_MIN;
    for (unsigned i = 0; i < 60; i++) {
        start_counted(&r, &c);
        ck_assert_uint_eq(c.count[0], sent);
        ck_assert(r.report.clean == (i > 0));
        for (unsigned k = 0; k < i % 4; k++) {
            uint64_t lsn = rig_append(&r, 0, rig_payload(0, sent++, MAX, buf));
            ck_assert_int_eq(wal_wait_until(r.w, lsn), 0);
        }
        rig_stop(&r);
    }
    struct seen_log s;
    seen_read_sound(&s, r.cfg.dir);
    ck_assert_uint_eq(s.records, sent);
    seen_free(&s);
}
END_TEST

/* Group k fails while k + 1 lands: after a restart neither is there, and the same sequence numbers
 * are used again. */
static void fail_behind(void *arg)
{
    struct life *l = arg;
    struct counted c;
    char buf[MAX + 8];
    start_counted(&l->r, &c);
    ck_assert_int_eq(fault_arm("wal.before_write=delay1500:0:1,wal.write=eio:1:1"), 0);
    for (unsigned p = 0; p < 2; p++) {
        uint64_t seq = rig_stats(&l->r).current_seq;
        uint64_t k = atomic_fetch_add(&l->sent[p], 1);
        rig_append(&l->r, p, rig_payload(p, k, MAX, buf));
        wal_announce(l->r.w, p);
        ck_assert(eventually(rig_stats(&l->r).current_seq == seq + 1));
    }
    sleep(30);
}

START_TEST(test_failed_group_is_cut)
{
    struct life *l = new_life();
    struct counted c;
    char buf[MAX + 8];
    ck_assert_int_eq(in_child(fail_behind, l), EXIT_WAL);
    start_counted(&l->r, &c);
    check_life(l, &c);
    ck_assert_uint_eq(c.records, 0);
    ck_assert_uint_gt(l->r.report.torn_bytes, 0);
    ck_assert(!l->r.report.clean);
    ck_assert(!l->r.report.new_history);
    uint64_t lsn = rig_append(&l->r, 2, rig_payload(2, 0, MAX, buf));
    ck_assert_int_eq(wal_wait_until(l->r.w, lsn), 0);
    rig_stop(&l->r);
    struct seen_log s;
    seen_read_sound(&s, l->r.cfg.dir);
    ck_assert_uint_eq(s.records, 1);
    seen_free(&s);
}
END_TEST

/* A crash under everysec begins a new history, a clean stop does not; records of the old one stay.
 */
START_TEST(test_history_forks)
{
    struct life *l = new_life();
    struct counted c;
    uint8_t first[WAL_HISTORY_BYTES], second[WAL_HISTORY_BYTES];
    l->r.cfg.sync = WAL_SYNC_EVERYSEC;
    l->rounds = 50;
    l->stop = true;
    ck_assert_int_eq(in_child(live, l), 0);
    l->stop = false;
    ck_assert_int_eq(in_child(live, l), -SIGKILL);
    int err = wal_open(&l->r.w, &l->r.cfg, &l->r.report);
    ck_assert_int_eq(err, 0);
    memcpy(first, l->r.w->pos.history, sizeof first);
    wal_free(l->r.w);
    start_counted(&l->r, &c);
    check_life(l, &c);
    ck_assert(l->r.report.new_history);
    memcpy(second, wal_history(l->r.w), sizeof second);
    ck_assert_int_ne(memcmp(first, second, sizeof first), 0);
    rig_stop(&l->r);
    struct seen_log s;
    seen_read_sound(&s, l->r.cfg.dir);
    ck_assert_int_eq(memcmp(s.history, second, sizeof second), 0);
    ck_assert_int_eq(memcmp(s.parent, first, sizeof first), 0);
    ck_assert_uint_eq(s.fork_lsn, c.lsn);
    ck_assert_uint_gt(s.fork_seq, 0);
    seen_free(&s);
    struct counted again;
    start_counted(&l->r, &again);
    ck_assert(!l->r.report.new_history);
    ck_assert_uint_eq(again.records, c.records);
    rig_stop(&l->r);
}
END_TEST

/* Damages the first segment of a history. */
static void flip(const struct rig *r, const uint8_t *history, off_t at)
{
    char hex[2 * WAL_HISTORY_BYTES + 1] = "", path[WAL_PATH_MAX];
    uint8_t c;
    hex_encode(history, WAL_HISTORY_BYTES, hex);
    snprintf(path, sizeof path, "%s/wal/%s/%020u.wal", r->cfg.dir, hex, 1u);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &c, 1, at), 1);
    c ^= 1;
    ck_assert_int_eq(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

#define IN_FIRST_HEADER 20
#define IN_FIRST_BATCH  (WAL_BLOCK + 20)

/* As the writer writes it, every header of a child tells of its parent, also after a restart that
 * continues the child: damage to the first of them does not take away what the parent has. */
START_TEST(test_forced_back_to_parent)
{
    struct life *l = new_life();
    struct counted c, parent;
    char buf[MAX + 8];
    l->r.cfg.sync = WAL_SYNC_EVERYSEC;
    l->r.cfg.segment_bytes = WAL_SEGMENT_MIN;
    l->rounds = 50;
    ck_assert_int_eq(in_child(live, l), -SIGKILL);
    start_counted(&l->r, &parent);
    ck_assert(l->r.report.new_history);
    rig_stop(&l->r);
    start_counted(&l->r, &c);
    ck_assert(!l->r.report.new_history);
    for (uint64_t i = 0; rig_stats(&l->r).current_segment < 3; i++) {
        uint64_t lsn = rig_append(&l->r, 0, rig_payload(0, c.count[0] + i, MAX, buf));
        ck_assert_int_eq(wal_wait_until(l->r.w, lsn), 0);
    }
    uint8_t child[WAL_HISTORY_BYTES];
    memcpy(child, wal_history(l->r.w), sizeof child);
    rig_stop(&l->r);
    struct seen_log s;
    seen_read_sound(&s, l->r.cfg.dir);
    ck_assert_uint_ge(s.segments, 3);
    seen_free(&s);
    flip(&l->r, child, IN_FIRST_HEADER);
    l->r.cfg.judge_later = false;
    ck_assert_int_eq(rig_try_start(&l->r), WAL_E_DAMAGED);
    l->r.cfg.force_lossy_recovery = true;
    start_counted(&l->r, &c);
    ck_assert_uint_eq(c.records, parent.records);
    ck_assert_uint_eq(c.lsn, parent.lsn);
    rig_stop(&l->r);
}
END_TEST

/* Records until the log is in its third segment, from where the producer was. */
static uint64_t append_two_segments(struct rig *r, struct counted *c)
{
    char buf[MAX + 8];
    while (rig_stats(r).current_segment < 3) {
        uint64_t lsn = rig_append(r, 0, rig_payload(0, c->count[0]++, MAX, buf));
        ck_assert_int_eq(wal_wait_until(r->w, lsn), 0);
    }
    return c->count[0];
}

/* Stops the log and damages its first segment. */
static void stop_and_flip(struct rig *r, off_t at)
{
    uint8_t history[WAL_HISTORY_BYTES];
    memcpy(history, wal_history(r->w), sizeof history);
    rig_stop(r);
    flip(r, history, at);
    r->cfg.judge_later = false;
    ck_assert_int_eq(rig_try_start(r), WAL_E_DAMAGED);
}

/* A log that began at run time loses its first batch: forced, it is empty and goes on, and what is
 * written from then on is found by starts that are not forced. So again when the first batch of
 * that, or its first header, is lost. */
START_TEST(test_forced_at_first_batch_of_whole)
{
    static const off_t second[] = { IN_FIRST_BATCH, IN_FIRST_HEADER };
    struct rig r;
    struct counted c;
    rig_init(&r, unit_tmpdir());
    r.cfg.segment_bytes = WAL_SEGMENT_MIN;
    start_counted(&r, &c);
    append_two_segments(&r, &c);
    rig_stop(&r);
    r.cfg.whole = true;
    start_counted(&r, &c);
    uint64_t began = wal_tail(r.w);
    memset(&c, 0, sizeof c);
    append_two_segments(&r, &c);
    ck_assert_int_eq(wal_make_current(r.w), 0);
    r.cfg.whole = false;
    stop_and_flip(&r, IN_FIRST_BATCH);
    for (unsigned round = 0; round < 3; round++) {
        r.cfg.force_lossy_recovery = true;
        start_counted_at(&r, &c, began);
        ck_assert(r.report.new_history);
        ck_assert_uint_eq(c.records, 0);
        ck_assert_uint_eq(c.lsn, began);
        uint64_t sent = append_two_segments(&r, &c);
        rig_stop(&r);
        for (unsigned forced = 0; forced < 3; forced++) { /* twice not, then for nothing */
            r.cfg.force_lossy_recovery = forced == 2;
            start_counted_at(&r, &c, began);
            ck_assert(!r.report.new_history);
            ck_assert_uint_eq(c.records, sent);
            if (forced < 2) {
                rig_stop(&r);
            }
        }
        r.cfg.force_lossy_recovery = false;
        stop_and_flip(&r, second[(round + (unsigned)_i) % 2]);
    }
}
END_TEST

/* The n-th call of each kind fails, n = 0, 1, ... until a run meets no fault; once, or for ever
 * from then on. Whatever the run does, the next one without faults finds everything acknowledged.
 */
START_TEST(test_nth_fault)
{
    static const char *const places[] = { "io.open=eio",      "io.write=eio",     "io.write=enospc",
                                          "io.fsync=eio",     "io.rename=eio",    "io.mkdir=eio",
                                          "io.fsync_dir=eio", "io.fdatasync=eio", "io.truncate=eio",
                                          "io.read=eio" };
    struct life *l = new_life();
    l->r.cfg.segment_bytes = 65536;
    l->r.cfg.buffered = _i % 2 == 1;
    l->stop = true;
    l->rounds = 15;
    for (unsigned n = 0;; n++) {
        struct counted c;
        char faults[100];
        snprintf(faults, sizeof faults, "%s:%u:%d", places[_i / 2], n, n % 3 == 0 ? 0 : 1);
        l->at_start = faults;
        atomic_store(&l->done, false);
        int status = in_child(live, l); /* 0, EXIT_WAL, or 1: the start failed (an assertion) */
        ck_assert(status == 0 || status == 1 || status == EXIT_WAL);
        l->at_start = "";
        start_counted(&l->r, &c);
        check_life(l, &c);
        rig_stop(&l->r);
        if (status == 0 && n >= 40) { /* by then a run has more luck than calls */
            break;
        }
        ck_assert_uint_lt(n, 1000);
    }
}
END_TEST

/* A writer that begins a history in the middle of a crash: the start itself is killed at each of
 * its steps, again and again on the same directory. */
START_TEST(test_killed_in_start)
{
    struct life *l = new_life();
    l->r.cfg.sync = WAL_SYNC_EVERYSEC; /* each start forks */
    l->rounds = 30;
    static const char *const places[] = { "io.open",   "io.write",     "io.fsync",
                                          "io.rename", "io.fsync_dir", "io.mkdir" };
    for (unsigned n = 0; n < 16; n++) {
        struct counted c;
        char faults[100];
        snprintf(faults, sizeof faults, "%s=kill:%u", places[_i], n);
        l->at_start = faults;
        ck_assert_int_eq(in_child(live, l), -SIGKILL);
        l->at_start = "";
        if (n % 4 == 3) {
            start_counted(&l->r, &c);
            check_life(l, &c);
            rig_stop(&l->r);
        }
    }
}
END_TEST

UNIT_SUITE(wal_restart)
{
    unit_case_loop(suite, "lives", 240, test_lives, 3);
    unit_case_slow(suite, "one", 120, test_restarts_at_every_offset, test_failed_group_is_cut,
                   test_history_forks, test_forced_back_to_parent);
    unit_case_loop(suite, "forced, whole", 120, test_forced_at_first_batch_of_whole, 2);
    unit_case_loop(suite, "nth fault", 240, test_nth_fault, 20);
    unit_case_loop(suite, "killed in start", 120, test_killed_in_start, 6);
}
