/* test_wal_segments.c -- Segments: switching, sealing, sizes, no space; histories and the
 * directory. SPDX-License-Identifier: BSD-3-Clause */
#include "wal_util.h"
#include "base/rng.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- Switching ---- */

START_TEST(test_switch)
{
    struct rig r;
    struct seen_log s;
    uint64_t count[RIG_PRODUCERS], lsn = 0;
    char buf[20000 + 8];
    rig_init(&r, unit_tmpdir());
    r.cfg.segment_bytes = 64 * 1024;
    r.cfg.buffered = _i == 1;
    r.cfg.sync = _i == 2 ? WAL_SYNC_EVERYSEC : _i == 3 ? WAL_SYNC_NO : WAL_SYNC_ALWAYS;
    rig_start(&r);
    for (unsigned i = 0; i < 600; i++) {
        lsn = rig_append(&r, i % 3, rig_payload(i % 3, i / 3, 20000, buf));
        wal_announce(r.w, i % 3);
        if (rng_below(10) == 0) {
            ck_assert_int_eq(wal_wait_until(r.w, lsn), 0);
        }
    }
    ck_assert_int_eq(wal_wait_until(r.w, lsn), 0);
    struct wal_stats st = rig_stats(&r);
    rig_stop(&r);
    seen_read_sound(&s, r.cfg.dir);
    rig_check_payloads(&s, 20000, count);
    ck_assert_uint_eq(s.records, 600);
    ck_assert_uint_gt(s.segments, 5);
    ck_assert_uint_eq(st.segments, s.segments);
    for (size_t i = 0; i < s.segments; i++) {
        ck_assert_uint_eq(s.segment[i].number, i + 1);
        ck_assert_uint_eq(s.segment[i].sync, r.cfg.sync);
        ck_assert_uint_eq(s.segment[i].size, 64 * 1024);
        ck_assert(s.segment[i].sealed == (i + 1 < s.segments));
    }
    /* A header proves what is before it: the first batch after it may claim that. */
    for (size_t i = 1; i < s.batches; i++) {
        if (s.batch[i].segment != s.batch[i - 1].segment) {
            ck_assert_uint_eq(s.batch[i].synced_upto, s.batch[i].seq - 1);
        }
    }
    seen_free(&s);
}
END_TEST

/* Larger than a segment: one of its own size, and the log goes on behind it as before. */
START_TEST(test_oversized)
{
    struct rig r;
    struct seen_log s;
    size_t n = _i == 0 ? 60000 : _i == 1 ? 300000 : 2 * WAL_GROUP_BYTES + 12345;
    char *big = mem_alloc(n);
    for (size_t i = 0; i < n; i++) {
        big[i] = (char)(i * 7 + i / 65536);
    }
    rig_init(&r, unit_tmpdir());
    r.cfg.segment_bytes = 64 * 1024;
    rig_start(&r);
    for (unsigned i = 0; i < 3; i++) {
        rig_append(&r, 0, S("before"));
        rig_append(&r, 1, slice_of(big, n));
        uint64_t lsn = rig_append(&r, 0, S("behind"));
        ck_assert_int_eq(wal_wait_until(r.w, lsn), 0);
    }
    rig_stop(&r);
    seen_read_sound(&s, r.cfg.dir);
    ck_assert_uint_eq(s.records, 9);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(slice_eq(S("before"), slice_of(s.record[3 * i].payload, s.record[3 * i].n)));
        ck_assert(slice_eq(slice_of(big, n),
                           slice_of(s.record[3 * i + 1].payload, s.record[3 * i + 1].n)));
        ck_assert(
            slice_eq(S("behind"), slice_of(s.record[3 * i + 2].payload, s.record[3 * i + 2].n)));
    }
    seen_free(&s);
    mem_free(big);
}
END_TEST

/* ---- No space ---- */

/* Fills what is prepared until writes are refused. */
static uint64_t fill_up(struct rig *r, unsigned *appended)
{
    static char block[30000];
    uint64_t lsn = 0;
    while (wal_state(r->w) == WAL_OK) {
        ck_assert_uint_lt(*appended, 1000);
        lsn = rig_append(r, 0, slice_of(block, sizeof block));
        wal_announce(r->w, 0);
        (*appended)++;
        if (wal_wait_until(r->w, lsn) != 0) {
            break;
        }
    }
    ck_assert_int_eq(wal_state(r->w), WAL_NOSPACE);
    ck_assert_int_eq(rig_stats(r).last_errno, ENOSPC);
    return lsn;
}

START_TEST(test_no_space)
{
    static const char *const faults[] = { "wal.segment_zero=enospc:0:0",
                                          "wal.segment_create=enospc:0:0",
                                          "wal.segment_sync=enospc:0:0",
                                          "wal.segment_rename=enospc:0:0" };
    struct rig r;
    struct seen_log s;
    unsigned appended = 0;
    static char block[50000];
    rig_init(&r, unit_tmpdir());
    r.cfg.segment_bytes = 64 * 1024;
    rig_start(&r);
    for (unsigned round = 0; round < 2; round++) {
        ck_assert_int_eq(fault_arm(faults[_i]), 0);
        fill_up(&r, &appended);
        ck_assert(wal_admit(r.w, 0, (size_t)1 << 40)); /* refused by an error, not by waiting */
        /* More than fits: the log holds, and whoever waits hears why. */
        uint64_t lsn = 0;
        for (unsigned i = 0; i < 3; i++) {
            lsn = rig_append(&r, 1, slice_of(block, sizeof block));
            appended++;
        }
        wal_announce(r.w, 1);
        ck_assert(eventually(wal_wait_until(r.w, lsn) == -ENOSPC));
        ck_assert_uint_lt(wal_durable(r.w).v, lsn);
        ck_assert_int_eq(wal_set_sync(r.w, WAL_SYNC_NO), -ENOSPC);
        ck_assert_int_eq(fault_arm(""), 0);
        ck_assert(eventually(wal_durable(r.w).v >= lsn)); /* by itself */
        ck_assert(eventually(wal_state(r.w) == WAL_OK));
    }
    ck_assert_int_eq(wal_set_sync(r.w, WAL_SYNC_ALWAYS), 0);
    rig_stop(&r);
    seen_read_sound(&s, r.cfg.dir);
    ck_assert_uint_eq(s.records, appended);
    seen_free(&s);
}
END_TEST

/* Stopped connections get their turn when writes begin to be refused: they must hear of it. */
START_TEST(test_no_space_wakes)
{
    struct rig r;
    static char block[30000];
    rig_init(&r, unit_tmpdir());
    r.cfg.segment_bytes = 64 * 1024;
    r.cfg.queue_bytes = sizeof block;
    rig_start(&r);
    ck_assert(eventually(rig_stats(&r).prepared == 2));
    ck_assert_int_eq(fault_arm("wal.segment_create=enospc:0:0"), 0);
    for (unsigned i = 0; i < 8; i++) {
        rig_append(&r, 0, slice_of(block, sizeof block));
    }
    unsigned seen = rig_wakes(&r, 0);
    bool admitted = wal_admit(r.w, 0, sizeof block);
    (void)wal_wait(r.w, 0, UINT64_MAX, !admitted);
    wal_announce(r.w, 0);
    ck_assert(admitted || rig_sleep(&r, 0, seen, 20));
    ck_assert(eventually(wal_state(r.w) == WAL_NOSPACE));
    ck_assert(wal_admit(r.w, 0, sizeof block));
    ck_assert_int_eq(fault_arm(""), 0);
    ck_assert(eventually(wal_wait_until(r.w, wal_tail(r.w)) == 0));
    rig_stop(&r);
}
END_TEST

/* A stop does not wait for space for ever; what was durable stays. */
START_TEST(test_stop_without_space)
{
    struct rig r;
    struct seen_log s;
    unsigned appended = 0;
    static char block[50000];
    rig_init(&r, unit_tmpdir());
    r.cfg.segment_bytes = 64 * 1024;
    rig_start(&r);
    ck_assert_int_eq(fault_arm("wal.segment_create=enospc:0:0"), 0);
    fill_up(&r, &appended);
    for (unsigned i = 0; i < 3; i++) {
        rig_append(&r, 1, slice_of(block, sizeof block));
    }
    wal_announce(r.w, 1);
    ck_assert(eventually(wal_wait_until(r.w, wal_tail(r.w)) == -ENOSPC));
    uint64_t durable = wal_durable(r.w).v;
    ck_assert_int_eq(wal_stop(r.w), -ENOSPC);
    wal_free(r.w);
    seen_read_sound(&s, r.cfg.dir);
    ck_assert_uint_eq(s.end_lsn, durable);
    seen_free(&s);
}
END_TEST

/* The directory cannot be synced: nobody knows which names are durable. */
static void start_and_work(void *arg)
{
    struct rig *r = arg;
    static char block[30000];
    rig_start(r);
    for (unsigned i = 0; i < 20; i++) {
        rig_append(r, 0, slice_of(block, sizeof block));
    }
    int err = wal_wait_until(r->w, wal_tail(r->w));
    ck_assert_int_eq(err, 0);
    rig_stop(r);
}

static void with_dir_sync_failing(void *arg)
{
    ck_assert_int_eq(fault_arm("wal.dir_sync=eio:4:1"), 0);
    start_and_work(arg);
}

START_TEST(test_dir_sync_fails)
{
    struct rig r;
    rig_init(&r, unit_tmpdir());
    r.cfg.segment_bytes = 64 * 1024;
    ck_assert_int_eq(in_child(with_dir_sync_failing, &r), EXIT_WAL);
}
END_TEST

/* ---- appendfsync changes while it runs ---- */

START_TEST(test_set_sync)
{
    static const enum wal_sync order[] = { WAL_SYNC_EVERYSEC, WAL_SYNC_ALWAYS, WAL_SYNC_NO,
                                           WAL_SYNC_EVERYSEC, WAL_SYNC_NO,     WAL_SYNC_ALWAYS,
                                           WAL_SYNC_ALWAYS };
    struct rig r;
    struct seen_log s;
    rig_init(&r, unit_tmpdir());
    r.cfg.buffered = _i == 1;
    rig_start(&r);
    if (_i == 2) { /* a writer that is preempted there: nobody may believe in the new mode yet */
        ck_assert_int_eq(fault_arm("wal.mode=delay50:0:0"), 0);
    }
    for (unsigned i = 0; i < countof(order); i++) {
        uint64_t lsn = rig_append(&r, 0, S("in the old mode"));
        ck_assert_int_eq(wal_set_sync(r.w, order[i]), 0);
        ck_assert_uint_ge(wal_durable(r.w).v, lsn);
        ck_assert_int_eq(rig_stats(&r).sync, order[i]);
        if (order[i] == WAL_SYNC_ALWAYS) {
            lsn = rig_append(&r, 1, S("and in the new"));
            ck_assert_uint_lt(wal_release_point(r.w), lsn);
            ck_assert(rig_wait_gate(&r, 1, lsn, 20));
            ck_assert_uint_ge(wal_durable(r.w).v, lsn);
        } else {
            ck_assert_uint_eq(wal_release_point(r.w), UINT64_MAX);
            if (i % 2 == 0) {
                lsn = rig_append(&r, 1, S("and in the new"));
                ck_assert_int_eq(wal_wait_until(r.w, lsn), 0);
            }
        }
    }
    rig_stop(&r);
    seen_read_sound(&s, r.cfg.dir);
    for (size_t i = 1; i < s.segments; i++) {
        ck_assert_uint_ne(s.segment[i].sync, s.segment[i - 1].sync);
    }
    ck_assert_uint_eq(s.segments, countof(order));
    seen_free(&s);
}
END_TEST

/* Producers go on all the while: nothing is lost, every gate opens. */
static struct {
    struct rig r;
    atomic_bool over;
    atomic_uint lost;
} moving;

static void *keep_appending(void *arg)
{
    unsigned p = (unsigned)(uintptr_t)arg;
    char buf[500 + 8];
    for (uint64_t i = 0; !atomic_load(&moving.over); i++) {
        uint64_t gate = rig_append(&moving.r, p, rig_payload(p, i, 500, buf));
        if (!rig_wait_gate(&moving.r, p, gate, 20)) {
            atomic_fetch_add(&moving.lost, 1);
            break;
        }
        if (i % 16 == 0) {
            usleep(500); /* without gates nothing else slows it down */
        }
    }
    return NULL;
}

START_TEST(test_set_sync_under_load)
{
    struct seen_log s;
    uint64_t count[RIG_PRODUCERS];
    pthread_t thread[4];
    rig_init(&moving.r, unit_tmpdir());
    rig_start(&moving.r);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&thread[i], NULL, keep_appending, (void *)(uintptr_t)i), 0);
    }
    for (unsigned i = 0; i < 30; i++) {
        ck_assert_int_eq(wal_set_sync(moving.r.w, (enum wal_sync)(i % 3)), 0);
        usleep(10000);
    }
    ck_assert_int_eq(wal_set_sync(moving.r.w, WAL_SYNC_ALWAYS), 0);
    usleep(50000);
    atomic_store(&moving.over, true);
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
    }
    ck_assert_uint_eq(atomic_load(&moving.lost), 0);
    rig_stop(&moving.r);
    seen_read_sound(&s, moving.r.cfg.dir);
    rig_check_payloads(&s, 500, count);
    ck_assert_uint_gt(count[0], 10);
    seen_free(&s);
}
END_TEST

/* ---- The directory ---- */

START_TEST(test_locked)
{
    struct rig r, second;
    rig_init(&r, unit_tmpdir());
    rig_start(&r);
    rig_init(&second, r.cfg.dir);
    ck_assert_int_eq(rig_try_start(&second), WAL_E_LOCKED);
    rig_stop(&r);
}
END_TEST

static void write_file(const char *dir, const char *name, struct slice text)
{
    char path[WAL_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    ck_assert_int_eq(atomic_replace(path, text, 0600), 0);
}

START_TEST(test_current)
{
    struct rig r;
    char path[WAL_PATH_MAX];
    rig_init(&r, unit_tmpdir());
    rig_start(&r);
    rig_append(&r, 0, S("value"));
    rig_stop(&r);
    /* Without CURRENT an empty log would hide this one. */
    snprintf(path, sizeof path, "%s/wal/CURRENT", r.cfg.dir);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rig_try_start(&r), WAL_E_FOREIGN);
    ck_assert_ptr_ne(strstr(r.report.message, "CURRENT is missing"), NULL);
    write_file(r.cfg.dir, "wal/CURRENT", S("no history\n"));
    ck_assert_int_eq(rig_try_start(&r), WAL_E_FOREIGN);
    ck_assert_ptr_ne(strstr(r.report.message, "does not name"), NULL);
}
END_TEST

START_TEST(test_bad_config)
{
    struct rig r;
    struct wal *w = NULL;
    struct wal_report report;
    rig_init(&r, unit_tmpdir());
    struct wal_config good = r.cfg, bad[7] = { good, good, good, good, good, good, good };
    bad[0].producers = 0;
    bad[1].producers = 129;
    bad[2].depth = 0;
    bad[3].depth = 5;
    bad[4].segment_bytes = 65536 + 1;
    bad[5].segment_bytes = 4096;
    bad[6].dir = NULL;
    for (unsigned i = 0; i < countof(bad); i++) {
        ck_assert_int_eq(wal_open(&w, &bad[i], &report), -EINVAL);
    }
    good.dir = "/nonexistent/place";
    ck_assert_int_eq(wal_open(&w, &good, &report), -ENOENT);
    ck_assert_ptr_eq(w, NULL);
}
END_TEST

/* A crash in the birth of the first history leaves nothing that keeps the next start from it. */
static void begin_and_be_killed(void *arg)
{
    struct rig *r = arg;
    int err = rig_try_start(r);
    (void)err;
}

START_TEST(test_birth_interrupted)
{
    static const char *const faults[] = { "wal.history=kill",        "wal.segment_create=kill",
                                          "wal.segment_zero=kill",   "wal.segment_sync=kill",
                                          "wal.segment_rename=kill", "wal.dir_sync=kill:0",
                                          "wal.dir_sync=kill:1",     "wal.dir_sync=kill:2",
                                          "io.open=kill:3",          "io.rename=kill:0",
                                          "io.rename=kill:1" };
    struct rig r;
    struct seen_log s;
    rig_init(&r, unit_tmpdir());
    ck_assert_int_eq(fault_arm(faults[_i]), 0);
    ck_assert_int_eq(in_child(begin_and_be_killed, &r), -SIGKILL);
    ck_assert_int_eq(fault_arm(""), 0);
    rig_start(&r);
    ck_assert(r.report.created);
    rig_append(&r, 0, S("value"));
    rig_stop(&r);
    seen_read_sound(&s, r.cfg.dir);
    ck_assert_uint_eq(s.records, 1);
    seen_free(&s);
}
END_TEST

/* The whole keyspace in a new history: CURRENT names it when it is told to, not before. */
START_TEST(test_whole)
{
    struct rig r;
    struct seen_log before, s;
    rig_init(&r, unit_tmpdir());
    r.cfg.whole = true;
    rig_start(&r);
    uint64_t lsn = rig_append(&r, 0, S("everything"));
    ck_assert_int_eq(wal_wait_until(r.w, lsn), 0);
    seen_read_sound(&before, r.cfg.dir);
    ck_assert_uint_eq(before.records, 0);
    ck_assert_int_ne(memcmp(before.history, wal_history(r.w), WAL_HISTORY_BYTES), 0);
    ck_assert_int_eq(wal_make_current(r.w), 0);
    seen_read_sound(&s, r.cfg.dir);
    ck_assert_uint_eq(s.records, 1);
    ck_assert_uint_eq(s.flags, WAL_SEGMENT_WHOLE);
    ck_assert_int_eq(memcmp(s.history, wal_history(r.w), WAL_HISTORY_BYTES), 0);
    ck_assert_int_eq(memcmp(s.parent, before.history, WAL_HISTORY_BYTES), 0);
    seen_free(&before);
    seen_free(&s);
    rig_stop(&r);
}
END_TEST

/* A mode that could not be had for want of space does not act later, when there is some: not even
 * for the moment of a switch and back, since then replies would leave that nothing on the disk
 * stands for. */
static struct wal *_Atomic watched;
static atomic_bool told_early;

static void on_wake_watched(void *arg unused_arg, unsigned producer unused_arg)
{
    uint64_t release = wal_release_point(watched); /* first: durable moves before it */
    if (release > wal_durable(watched).v) {
        atomic_store(&told_early, true);
    }
}

/* Uses the prepared segments, and there will be no other; the last one is not full. */
static void use_prepared(struct rig *r)
{
    enum wal_sync mode = r->cfg.sync;
    enum wal_sync other = mode == WAL_SYNC_NO ? WAL_SYNC_ALWAYS : WAL_SYNC_NO;
    ck_assert(eventually(rig_stats(r).prepared == 2));
    ck_assert_int_eq(fault_arm("wal.segment_create=enospc:0:0"), 0);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(wal_set_sync(r->w, i == 0 ? other : mode), 0);
        ck_assert_int_eq(wal_wait_until(r->w, rig_append(r, 0, S("used"))), 0);
    }
    ck_assert(eventually(wal_state(r->w) == WAL_NOSPACE));
}

START_TEST(test_set_sync_refused)
{
    static const enum wal_sync refused[] = { WAL_SYNC_NO, WAL_SYNC_EVERYSEC };
    static char block[30000];
    struct rig r;
    rig_init(&r, unit_tmpdir());
    r.cfg.segment_bytes = 64 * 1024;
    r.cfg.wake = on_wake_watched;
    rig_start(&r);
    for (unsigned round = 0; round < countof(refused); round++) {
        uint64_t lsn = 0;
        watched = r.w;
        use_prepared(&r);
        for (unsigned i = 0; i < 3; i++) { /* more than fits */
            lsn = rig_append(&r, 0, slice_of(block, sizeof block));
        }
        wal_announce(r.w, 0);
        ck_assert(eventually(wal_wait_until(r.w, lsn) == -ENOSPC));
        ck_assert_int_eq(wal_set_sync(r.w, refused[round]), -ENOSPC);
        ck_assert_uint_lt(wal_wait(r.w, 0, lsn, false), lsn);
        atomic_store(&told_early, false);
        ck_assert_int_eq(fault_arm(""), 0);
        ck_assert(eventually(wal_durable(r.w).v >= lsn));
        ck_assert(!atomic_load(&told_early));
        ck_assert_int_eq(rig_stats(&r).sync, WAL_SYNC_ALWAYS);
    }
    rig_stop(&r);
}
END_TEST

/* Nor does it cost anything: the log goes on in the segment that it has, and so does a later start
 * on the full disk. A start in a mode that cannot be had leaves all as it was, too. */
START_TEST(test_set_sync_stays)
{
    struct rig r;
    struct seen_log s;
    unsigned appended = 2;
    rig_init(&r, unit_tmpdir());
    r.cfg.segment_bytes = 256 * 1024;
    r.cfg.sync = (enum wal_sync)_i;
    rig_start(&r);
    use_prepared(&r);
    uint64_t segment = rig_stats(&r).current_segment;
    for (unsigned i = 0; i < 6; i++) {
        if (i % 3 != (unsigned)_i) {
            ck_assert_int_eq(wal_set_sync(r.w, (enum wal_sync)(i % 3)), -ENOSPC);
            ck_assert_int_eq(wal_wait_until(r.w, rig_append(&r, 0, S("fits"))), 0);
            appended++;
        }
        ck_assert_int_eq(rig_stats(&r).sync, _i);
        ck_assert_uint_eq(rig_stats(&r).current_segment, segment);
    }
    rig_stop(&r);
    for (unsigned i = 0; i < 3; i++) {
        r.cfg.sync = (enum wal_sync)i;
        ck_assert_int_eq(rig_try_start(&r), i == (unsigned)_i ? 0 : -ENOSPC);
        if (i == (unsigned)_i) {
            rig_stop(&r);
        }
    }
    ck_assert_int_eq(fault_arm(""), 0);
    seen_read_sound(&s, r.cfg.dir);
    ck_assert_uint_eq(s.records, appended);
    seen_free(&s);
}
END_TEST

/* The new mode acts, and before all that was appended is durable there is no space any more. What
 * wal_set_sync() returns is what acts, then and later. */
START_TEST(test_set_sync_then_full)
{
    static char bytes[30000];
    struct rig r;
    rig_init(&r, unit_tmpdir());
    r.cfg.segment_bytes = 64 * 1024;
    r.cfg.sync = _i == 0 ? WAL_SYNC_ALWAYS : WAL_SYNC_EVERYSEC;
    enum wal_sync wanted = _i == 0 ? WAL_SYNC_EVERYSEC : WAL_SYNC_ALWAYS;
    rig_start(&r);
    ck_assert(eventually(rig_stats(&r).prepared == 2));
    uint64_t seq = rig_stats(&r).current_seq;
    ck_assert_int_eq(fault_arm("wal.segment_create=enospc:0:0,wal.before_write=delay300:0:1"), 0);
    uint64_t lsn = rig_append(&r, 0, S("on its way"));
    wal_announce(r.w, 0);
    ck_assert(eventually(rig_stats(&r).current_seq > seq));
    for (unsigned i = 0; i < 12; i++) { /* more than the prepared segments hold */
        lsn = rig_append(&r, 0, slice_of(bytes, sizeof bytes));
    }
    int rc = wal_set_sync(r.w, wanted);
    ck_assert_int_eq(rig_stats(&r).sync, rc == 0 ? wanted : r.cfg.sync);
    ck_assert(eventually(wal_state(r.w) == WAL_NOSPACE));
    ck_assert_int_eq(rig_stats(&r).sync, rc == 0 ? wanted : r.cfg.sync);
    ck_assert_uint_lt(wal_durable(r.w).v, lsn);
    ck_assert_int_eq(fault_arm(""), 0);
    ck_assert(eventually(wal_wait_until(r.w, lsn) == 0));
    ck_assert_int_eq(rig_stats(&r).sync, rc == 0 ? wanted : r.cfg.sync);
    rig_stop(&r);
}
END_TEST

UNIT_SUITE(wal_segments)
{
    unit_case_loop(suite, "switch", 120, test_switch, 4);
    unit_case_loop(suite, "oversized", 120, test_oversized, 3);
    unit_case_loop(suite, "no space", 120, test_no_space, 4);
    unit_case(suite, "without space", test_no_space_wakes, test_stop_without_space,
              test_dir_sync_fails);
    unit_case_loop(suite, "set_sync", 120, test_set_sync, 3);
    unit_case(suite, "set_sync under load", test_set_sync_under_load);
    unit_case(suite, "set_sync refused", test_set_sync_refused);
    unit_case_loop(suite, "set_sync stays", 60, test_set_sync_stays, 3);
    unit_case_loop(suite, "set_sync then full", 60, test_set_sync_then_full, 2);
    unit_case(suite, "directory", test_locked, test_current, test_bad_config, test_whole);
    unit_case_loop(suite, "birth", 120, test_birth_interrupted, 11);
}
