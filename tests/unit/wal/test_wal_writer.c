/* test_wal_writer.c -- The writer threads: failures, order of publication, admission, modes.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "wal_util.h"
#include "base/clock.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* What a child saw, for its parent. */
struct witness {
    _Atomic uint64_t released; /* highest release point and highest durable ever seen */
    _Atomic uint64_t durable;
    _Atomic uint64_t gate[4]; /* of the records the test is about */
    _Atomic bool over;
};

static void witness_look(struct witness *t, const struct wal *w)
{
    uint64_t release = wal_release_point(w), durable = wal_durable(w).v;
    if (release > atomic_load(&t->released)) {
        atomic_store(&t->released, release);
    }
    if (durable > atomic_load(&t->durable)) {
        atomic_store(&t->durable, durable);
    }
}

struct scene {
    struct rig r;
    struct witness *t;
    const char *faults;
    unsigned pause_before; /* this append waits for an empty batch; 0: none does */
};

/* Looks all the time; publication calls wake(), which looks too. */
static void *witness_main(void *arg)
{
    struct scene *s = arg;
    while (!atomic_load(&s->t->over)) {
        witness_look(s->t, s->r.w);
        usleep(100);
    }
    return NULL;
}

static void look_on_wake(void *arg, unsigned producer unused_arg)
{
    struct scene *s = arg;
    witness_look(s->t, s->r.w);
}

static void scene_init(struct scene *s, bool buffered, enum wal_sync sync)
{
    rig_init(&s->r, unit_tmpdir());
    s->r.cfg.buffered = buffered;
    s->r.cfg.sync = sync;
    s->r.cfg.wake = look_on_wake;
    s->r.cfg.wake_arg = s;
    s->t = shared_memory(sizeof *s->t);
}

static void scene_start(struct scene *s)
{
    pthread_t thread;
    rig_start(&s->r);
    ck_assert_int_eq(pthread_create(&thread, NULL, witness_main, s), 0);
    ck_assert(eventually(rig_stats(&s->r).prepared == 2)); /* its writes are not to be counted */
    ck_assert_int_eq(fault_arm(s->faults), 0);
}

/* ---- A barrier fails once ---- */

/* Group k is slow and then fails; k + 1 landed long before. */
static void k_fails_after_its_successor(void *arg)
{
    struct scene *s = arg;
    scene_start(s);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t seq = rig_stats(&s->r).current_seq;
        atomic_store(&s->t->gate[i], rig_append(&s->r, i, S("record")));
        (void)wal_wait(s->r.w, i, s->t->gate[i], false);
        wal_announce(s->r.w, i);
        ck_assert(eventually(rig_stats(&s->r).current_seq == seq + 1));
    }
    sleep(30);
}

START_TEST(test_failure_behind_success)
{
    struct scene s;
    struct seen_log log;
    scene_init(&s, false, WAL_SYNC_ALWAYS);
    s.faults = "wal.before_write=delay1500:0:1,wal.write=eio:1:1";
    ck_assert_int_eq(in_child(k_fails_after_its_successor, &s), EXIT_WAL);
    ck_assert_uint_gt(atomic_load(&s.t->gate[1]), 0);
    ck_assert_uint_lt(atomic_load(&s.t->released), atomic_load(&s.t->gate[0]));
    ck_assert_uint_lt(atomic_load(&s.t->durable), atomic_load(&s.t->gate[0]));
    seen_read(&log, s.r.cfg.dir); /* k is missing, k + 1 lies behind the gap */
    ck_assert_uint_eq(log.records, 0);
    ck_assert_str_ne(log.problem, "");
    seen_free(&log);
}
END_TEST

/* The n-th write or barrier fails, whichever it is: nothing from then on is published. A pause of
 * 100 ms anywhere adds the empty batch that proves the end, which is written and synced like any
 * other and so uses up one of the n; the log tells how many of them there were. */
static void one_after_the_other(void *arg)
{
    struct scene *s = arg;
    scene_start(s);
    atomic_store(&s->t->gate[1], rig_stats(&s->r).current_seq);
    uint64_t before = rig_stats(&s->r).groups; /* then one for each record, and the empty ones */
    for (unsigned i = 0; i < 20; i++) {
        if (i != 0 && i == s->pause_before && !eventually(rig_stats(&s->r).groups > before + i)) {
            break;
        }
        uint64_t gate = rig_append(&s->r, 0, S("0123456789"));
        (void)wal_wait(s->r.w, 0, gate, false);
        wal_announce(s->r.w, 0);
        int err = wal_wait_until(s->r.w, gate);
        ck_assert_int_eq(err, 0);
        atomic_store(&s->t->gate[0], gate);
    }
}

static const struct failing {
    const char *faults;
    bool buffered;
    enum wal_sync sync;
    unsigned groups; /* that were durable before */
    unsigned pause_before;
} failing[] = {
    { "wal.write=eio:0:1", false, WAL_SYNC_ALWAYS, 0, 0 },
    { "wal.write=eio:7:1", false, WAL_SYNC_ALWAYS, 7, 0 },
    { "wal.write=enospc:7:1", false, WAL_SYNC_ALWAYS, 7, 0 },
    { "io.write=eio:3:1", false, WAL_SYNC_ALWAYS, 3, 0 },
    { "wal.write=eio:7:1", true, WAL_SYNC_ALWAYS, 7, 0 },
    { "wal.sync=eio:0:1", true, WAL_SYNC_ALWAYS, 0, 0 },
    { "wal.sync=eio:7:1", true, WAL_SYNC_ALWAYS, 7, 0 },
    { "io.fdatasync=eio:7:1", true, WAL_SYNC_ALWAYS, 7, 0 },
    { "wal.timed_sync=eio:7:1", false, WAL_SYNC_EVERYSEC, 7, 0 },
    { "io.fdatasync=enospc:7:1", false, WAL_SYNC_NO, 7, 0 },
    { "io.write=eio:3:1", false, WAL_SYNC_ALWAYS, 3, 2 },
    { "wal.sync=eio:3:1", true, WAL_SYNC_ALWAYS, 3, 1 },
};

/* Empty batches since the fault was armed. */
static unsigned empty_since(const struct seen_log *log, uint64_t seq)
{
    unsigned n = 0;
    for (size_t i = 0; i < log->batches; i++) {
        n += log->batch[i].records == 0 && log->batch[i].seq >= seq;
    }
    return n;
}

START_TEST(test_barrier_fails_once)
{
    const struct failing *f = &failing[_i];
    struct scene s;
    struct seen_log log;
    scene_init(&s, f->buffered, f->sync);
    s.faults = f->faults;
    s.pause_before = f->pause_before;
    ck_assert_int_eq(in_child(one_after_the_other, &s), EXIT_WAL);
    uint64_t told = atomic_load(&s.t->gate[0]) / 10;
    seen_read_sound(&log, s.r.cfg.dir);
    unsigned empty = empty_since(&log, atomic_load(&s.t->gate[1]));
    ck_assert_uint_ge(empty, f->pause_before != 0 ? 1 : 0);
    ck_assert_uint_le(told, f->groups - (f->pause_before != 0 ? 1 : 0));
    ck_assert_uint_ge(told + empty, f->groups);
    ck_assert_uint_le(atomic_load(&s.t->durable), 10 * f->groups);
    ck_assert_uint_ge(log.records, told);
    seen_free(&log);
}
END_TEST

/* Short and interrupted writes are completed. */
START_TEST(test_short_writes)
{
    struct rig r;
    struct seen_log s;
    uint64_t count[RIG_PRODUCERS];
    char buf[40000 + 8];
    rig_init(&r, unit_tmpdir());
    r.cfg.buffered = _i == 1;
    rig_start(&r);
    ck_assert_int_eq(fault_arm("wal.write=short:0:0"), 0);
    for (unsigned i = 0; i < 200; i++) {
        rig_append(&r, 0, rig_payload(0, i, 40000, buf));
    }
    ck_assert_int_eq(wal_wait_until(r.w, wal_tail(r.w)), 0);
    ck_assert_int_eq(fault_arm(""), 0);
    ck_assert_int_eq(fault_arm("wal.write=eintr:0:3,io.write=short:5:2"), 0);
    for (unsigned i = 200; i < 300; i++) {
        rig_append(&r, 0, rig_payload(0, i, 40000, buf));
        ck_assert_int_eq(wal_wait_until(r.w, wal_tail(r.w)), 0);
    }
    ck_assert_int_eq(fault_arm(""), 0);
    rig_stop(&r);
    seen_read_sound(&s, r.cfg.dir);
    rig_check_payloads(&s, 40000, count);
    ck_assert_uint_eq(count[0], 300);
    seen_free(&s);
}
END_TEST

/* ---- Killed anywhere ---- */

/* Two producers, segments change; every published watermark is noted before anything else happens.
 */
static void work_until_killed(void *arg)
{
    struct scene *s = arg;
    char buf[9000 + 8];
    scene_start(s);
    for (uint64_t i = 0;; i++) {
        for (unsigned p = 0; p < 2; p++) {
            uint64_t gate = rig_append(&s->r, p, rig_payload(p, i, 9000, buf));
            wal_announce(s->r.w, p);
            if (wal_wait(s->r.w, p, gate, false) < gate && i % 8 == 0) {
                int err = wal_wait_until(s->r.w, gate);
                ck_assert_int_eq(err, 0);
            }
        }
    }
}

static const char *const places[] = {
    "wal.before_write",  "wal.write",        "wal.after_write",    "wal.before_publish",
    "wal.after_publish", "wal.seal",         "wal.switch",         "wal.segment_create",
    "wal.segment_zero",  "wal.segment_sync", "wal.segment_rename", "wal.dir_sync",
    "wal.before_sync",   "wal.sync",
};

START_TEST(test_killed)
{
    static const unsigned after[] = { 0, 1, 2, 5, 17, 40 };
    for (unsigned k = 0; k < countof(after); k++) {
        for (unsigned buffered = 0; buffered < 2; buffered++) {
            struct scene s;
            struct seen_log log;
            uint64_t count[RIG_PRODUCERS];
            char faults[100];
            if (buffered == 0 && strstr(places[_i], "sync") != NULL &&
                strstr(places[_i], "seg") == NULL && strstr(places[_i], "dir") == NULL) {
                continue; /* there is no separate barrier */
            }
            scene_init(&s, buffered != 0, WAL_SYNC_ALWAYS);
            s.r.cfg.segment_bytes = 128 * 1024;
            snprintf(faults, sizeof faults, "%s=kill:%u", places[_i], after[k]);
            s.faults = faults;
            ck_assert_int_eq(in_child(work_until_killed, &s), -SIGKILL);
            seen_read(&log, s.r.cfg.dir);
            ck_assert_uint_ge(log.end_lsn, atomic_load(&s.t->released));
            ck_assert_uint_ge(log.end_lsn, atomic_load(&s.t->durable));
            if (buffered != 0) { /* one group at a time: nothing can lie behind a gap */
                ck_assert_str_eq(log.problem, "");
            }
            rig_check_payloads(&log, 9000, count);
            seen_free(&log);
        }
    }
}
END_TEST

/* ---- Order of publication ---- */

/* With the first of two groups held back, the second lands and must wait for it. False: on a busy
 * machine the first may have landed as well by the time of looking. */
static bool published_in_order(void)
{
    struct rig r;
    rig_init(&r, unit_tmpdir());
    rig_start(&r);
    int64_t start = clock_mono_ms();
    ck_assert_int_eq(fault_arm("wal.before_write=delay1000:0:1"), 0);
    uint64_t seq = rig_stats(&r).current_seq;
    uint64_t first = rig_append(&r, 0, S("first"));
    wal_announce(r.w, 0);
    ck_assert(eventually(rig_stats(&r).current_seq == seq + 1));
    uint64_t groups = rig_stats(&r).groups;
    uint64_t second = rig_append(&r, 1, S("second"));
    wal_announce(r.w, 1);
    ck_assert(eventually(rig_stats(&r).groups > groups)); /* one has landed: the second, if ... */
    uint64_t durable = rig_stats(&r).durable, released = wal_release_point(r.w);
    bool held = clock_mono_ms() - start < 1000; /* ... this is so */
    if (held) {
        ck_assert_uint_lt(durable, first);
        ck_assert_uint_lt(released, first);
    }
    ck_assert_int_eq(wal_wait_until(r.w, first), 0);
    ck_assert_int_eq(wal_wait_until(r.w, second), 0);
    rig_stop(&r);
    return held;
}

START_TEST(test_published_in_order)
{
    unsigned tries = 1;
    while (!published_in_order()) {
        ck_assert_uint_lt(tries++, 10);
    }
}
END_TEST

/* A gate wakes its producer once, when it opens and not before. */
START_TEST(test_gate_wakes)
{
    struct rig r;
    rig_init(&r, unit_tmpdir());
    rig_start(&r);
    for (unsigned i = 0; i < 50; i++) {
        uint64_t gate = rig_append(&r, 2, S("x"));
        unsigned seen = rig_wakes(&r, 2);
        uint64_t released = wal_wait(r.w, 2, gate, false);
        ck_assert_uint_lt(released, gate); /* nobody was told about it */
        ck_assert_uint_eq(rig_wakes(&r, 2), seen);
        wal_announce(r.w, 2);
        ck_assert(rig_sleep(&r, 2, seen, 20));
        ck_assert_uint_ge(wal_release_point(r.w), gate);
        ck_assert_uint_eq(rig_wakes(&r, 2), seen + 1);
        ck_assert_uint_eq(rig_wakes(&r, 3), 0);
    }
    (void)wal_wait(r.w, 2, UINT64_MAX, false); /* waits for nothing */
    unsigned seen = rig_wakes(&r, 2);
    uint64_t gate = rig_append(&r, 3, S("x"));
    ck_assert(rig_wait_gate(&r, 3, gate, 20));
    ck_assert_uint_eq(rig_wakes(&r, 2), seen);
    ck_assert_uint_ge(wal_wait(r.w, 3, gate, false), gate); /* already open */
    rig_stop(&r);
}
END_TEST

/* ---- Admission ---- */

#define QUEUE ((size_t)64 * 1024)

START_TEST(test_admission)
{
    struct rig r;
    struct seen_log s;
    static char block[4000];
    rig_init(&r, unit_tmpdir());
    r.cfg.queue_bytes = QUEUE;
    rig_start(&r);
    ck_assert_int_eq(fault_arm("wal.before_write=delay5:0:0"), 0);
    unsigned stopped = 0, appended = 0;
    while (stopped < 20) {
        unsigned seen = rig_wakes(&r, 0);
        if (wal_admit(r.w, 0, sizeof block)) {
            rig_append(&r, 0, slice_of(block, sizeof block));
            appended++;
            ck_assert_uint_le(rig_stats(&r).queued_bytes, QUEUE);
        } else {
            stopped++;
            wal_announce(r.w, 0);
            (void)wal_wait(r.w, 0, UINT64_MAX, true);
            ck_assert(rig_sleep(&r, 0, seen, 20));
        }
    }
    ck_assert_uint_eq(rig_stats(&r).admission_stops, 20);
    ck_assert_int_eq(wal_wait_until(r.w, wal_tail(r.w)), 0);
    /* More than the limit: alone, and not before the queue is empty. */
    rig_append(&r, 0, slice_of(block, sizeof block));
    ck_assert(!wal_admit(r.w, 0, 10 * QUEUE));
    unsigned seen = rig_wakes(&r, 0);
    (void)wal_wait(r.w, 0, UINT64_MAX, true);
    wal_announce(r.w, 0);
    ck_assert(rig_sleep(&r, 0, seen, 20));
    ck_assert(wal_admit(r.w, 0, 10 * QUEUE));
    ck_assert_int_eq(fault_arm(""), 0);
    rig_stop(&r);
    seen_read_sound(&s, r.cfg.dir);
    ck_assert_uint_eq(s.records, appended + 1);
    seen_free(&s);
}
END_TEST

/* Room that came between the refusal and the wait: the producer is woken all the same. */
START_TEST(test_admission_no_lost_wake)
{
    struct rig r;
    static char block[4000];
    rig_init(&r, unit_tmpdir());
    r.cfg.queue_bytes = QUEUE;
    rig_start(&r);
    while (wal_admit(r.w, 0, sizeof block)) {
        rig_append(&r, 0, slice_of(block, sizeof block));
    }
    unsigned seen = rig_wakes(&r, 0);
    ck_assert_int_eq(wal_wait_until(r.w, wal_tail(r.w)), 0);
    (void)wal_wait(r.w, 0, UINT64_MAX, true);
    ck_assert(rig_sleep(&r, 0, seen, 20));
    rig_stop(&r);
}
END_TEST

/* ---- everysec, no ---- */

START_TEST(test_everysec)
{
    struct rig r;
    rig_init(&r, unit_tmpdir());
    r.cfg.sync = WAL_SYNC_EVERYSEC;
    rig_start(&r);
    ck_assert_uint_eq(wal_release_point(r.w), UINT64_MAX);
    uint64_t lsn = rig_append(&r, 0, S("value"));
    wal_announce(r.w, 0);
    ck_assert(eventually(rig_stats(&r).written == lsn));
    unsigned seen = rig_wakes(&r, 0);
    if (wal_wait_durable(r.w, 0, lsn).v < lsn) { /* as WAITAOF: comes by itself */
        ck_assert(rig_sleep(&r, 0, seen, 20));
    }
    ck_assert_uint_ge(wal_durable(r.w).v, lsn);
    uint64_t syncs = rig_stats(&r).sync_us_max;
    ck_assert_uint_gt(syncs, 0);
    lsn = rig_append(&r, 0, S("value"));
    ck_assert_int_eq(wal_wait_until(r.w, lsn), 0);
    rig_stop(&r);
}
END_TEST

START_TEST(test_no_sync)
{
    struct rig r;
    rig_init(&r, unit_tmpdir());
    r.cfg.sync = WAL_SYNC_NO;
    rig_start(&r);
    ck_assert_uint_eq(wal_release_point(r.w), UINT64_MAX);
    uint64_t before = wal_durable(r.w).v;
    uint64_t lsn = rig_append(&r, 0, S("value"));
    wal_announce(r.w, 0);
    ck_assert(eventually(rig_stats(&r).written == lsn));
    usleep(1500000);
    ck_assert_uint_eq(wal_durable(r.w).v, before); /* nobody asked */
    unsigned seen = rig_wakes(&r, 0);
    ck_assert_uint_lt(wal_wait_durable(r.w, 0, lsn).v, lsn);
    ck_assert(rig_sleep(&r, 0, seen, 20));
    ck_assert_uint_ge(wal_durable(r.w).v, lsn);
    lsn = rig_append(&r, 0, S("value"));
    ck_assert_int_eq(wal_wait_until(r.w, lsn), 0);
    rig_stop(&r);
}
END_TEST

/* A sync of more than a second: nothing is admitted until it ends. */
START_TEST(test_everysec_overdue)
{
    struct rig r;
    rig_init(&r, unit_tmpdir());
    r.cfg.sync = WAL_SYNC_EVERYSEC;
    rig_start(&r);
    ck_assert_int_eq(fault_arm("wal.timed_sync=delay3000:0:1"), 0);
    unsigned seen = rig_wakes(&r, 0);
    bool refused = false;
    for (unsigned i = 0; i < 30000 && !refused; i++) {
        refused = !wal_admit(r.w, 0, 100);
        if (!refused) {
            rig_append(&r, 0, S("x"));
            wal_announce(r.w, 0);
        }
        usleep(1000);
    }
    ck_assert(refused);
    ck_assert(!wal_admit(r.w, 0, 1));
    (void)wal_wait(r.w, 0, UINT64_MAX, true);
    ck_assert(rig_sleep(&r, 0, seen, 20));
    ck_assert(wal_admit(r.w, 0, 100));
    ck_assert_uint_ge(rig_stats(&r).slow_syncs, 1);
    rig_stop(&r);
}
END_TEST

/* ---- The end of an idle log is proven ---- */

static bool end_is_proven(const char *dir)
{
    struct seen_log s;
    seen_read_sound(&s, dir);
    const struct seen_batch *last = &s.batch[s.batches - 1];
    bool proven = (last->flags & WAL_BATCH_IDLE) != 0 && last->synced_upto == last->seq - 1;
    seen_free(&s);
    return proven;
}

START_TEST(test_idle_proof)
{
    struct rig r;
    struct seen_log s;
    rig_init(&r, unit_tmpdir());
    r.cfg.sync = (enum wal_sync)_i;
    rig_start(&r);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t lsn = rig_append(&r, 0, S("value"));
        wal_announce(r.w, 0);
        ck_assert_int_eq(wal_wait_until(r.w, lsn), 0);
        ck_assert(eventually(end_is_proven(r.cfg.dir)));
    }
    uint64_t seq = rig_stats(&r).current_seq;
    usleep(500000);
    ck_assert_uint_eq(rig_stats(&r).current_seq, seq); /* one is enough */
    rig_stop(&r);
    seen_read_sound(&s, r.cfg.dir);
    ck_assert_uint_eq(s.records, 3);
    seen_free(&s);
}
END_TEST

/* ---- Statistics ---- */

START_TEST(test_stats)
{
    struct rig r;
    rig_init(&r, unit_tmpdir());
    rig_start(&r);
    struct wal_stats a = rig_stats(&r);
    ck_assert_uint_eq(a.records, 0);
    ck_assert_uint_eq(a.current_segment, 1);
    ck_assert_uint_eq(a.segments, 1);
    lock_acquire(&r.w->take); /* as a writer that copies a large record: nobody waits for it */
    ck_assert_uint_eq(rig_stats(&r).current_segment, 1);
    lock_release(&r.w->take);
    ck_assert_int_eq(a.state, WAL_OK);
    ck_assert_int_eq(a.sync, WAL_SYNC_ALWAYS);
    ck_assert(eventually(rig_stats(&r).prepared == 2));
    ck_assert_int_eq(fault_arm("wal.before_write=delay150:0:1,wal.write=delay150:0:1"), 0);
    for (unsigned i = 0; i < 10; i++) {
        rig_append(&r, 0, S("0123456789"));
    }
    struct wal_stats b = rig_stats(&r);
    ck_assert_uint_eq(b.appended, 100);
    ck_assert_uint_eq(b.appended - b.written, b.queued_bytes);
    ck_assert_int_eq(wal_wait_until(r.w, 100), 0);
    b = rig_stats(&r);
    ck_assert_uint_eq(b.records, 10);
    ck_assert_uint_eq(b.written, 100);
    ck_assert_uint_eq(b.durable, 100);
    ck_assert_uint_eq(b.stream_durable, 100);
    ck_assert_uint_eq(b.queued_bytes, 0);
    ck_assert_uint_ge(b.groups, a.groups + 1);
    ck_assert_uint_ge(b.bytes_written, a.bytes_written + 4096);
    ck_assert_uint_ge(b.group_records_max, 1);
    ck_assert_uint_le(b.group_records_p50, b.group_records_p99);
    ck_assert_uint_le(b.group_records_p99, b.group_records_max);
    ck_assert_uint_ge(b.sync_us_max, 150000);
    ck_assert_uint_ge(b.slow_syncs, 1);
    for (unsigned i = 0; i < 30000 && b.current_seq - a.current_seq != b.groups - a.groups; i++) {
        usleep(1000); /* one may just be on its way */
        b = rig_stats(&r);
    }
    ck_assert_uint_eq(b.current_seq - a.current_seq, b.groups - a.groups);
    rig_stop(&r);
}
END_TEST

UNIT_SUITE(wal_writer)
{
    unit_case(suite, "publish", test_failure_behind_success, test_published_in_order,
              test_gate_wakes);
    unit_case_loop(suite, "fail once", 60, test_barrier_fails_once, countof(failing));
    unit_case_loop(suite, "short", 60, test_short_writes, 2);
    unit_case_loop(suite, "killed", 240, test_killed, countof(places));
    unit_case(suite, "admission", test_admission, test_admission_no_lost_wake);
    unit_case(suite, "modes", test_everysec, test_no_sync, test_everysec_overdue);
    unit_case_loop(suite, "idle", 60, test_idle_proof, 2);
    unit_case(suite, "stats", test_stats);
}
