/* test_wal_append.c -- What is appended is on disk, once and in order, before its gate opens.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "wal_util.h"
#include "base/rng.h"
#include <stdio.h>

static void check_payload(const struct seen_record *r, const void *p, size_t n)
{
    ck_assert_uint_eq(r->n, n);
    ck_assert_int_eq(memcmp(r->payload, p, n), 0);
}

START_TEST(test_one_record)
{
    struct rig r;
    struct seen_log s;
    rig_init(&r, unit_tmpdir());
    rig_start(&r);
    ck_assert(r.report.created);
    ck_assert_uint_eq(wal_tail(r.w), 0);
    struct slice parts[] = { S("SET"), S(""), S(" k v") };
    struct wal_frame f = { .slot = WAL_SLOT_SEVERAL, .db = 7, .flags = 0 };
    struct wal_appended a = wal_append(r.w, 3, f, parts, 3);
    ck_assert_uint_eq(a.v, 7);
    ck_assert_uint_eq(wal_tail(r.w), 7);
    wal_announce(r.w, 3);
    ck_assert_int_eq(wal_wait_until(r.w, a.v), 0);
    ck_assert_uint_ge(wal_release_point(r.w), a.v);
    ck_assert_uint_ge(wal_durable(r.w).v, a.v);
    seen_read_sound(&s, r.cfg.dir); /* before the stop: it was written by then */
    ck_assert_uint_eq(s.records, 1);
    check_payload(&s.record[0], "SET k v", 7);
    ck_assert_uint_eq(s.record[0].lsn, 7);
    ck_assert_uint_eq(s.record[0].frame.slot, WAL_SLOT_SEVERAL);
    ck_assert_uint_eq(s.record[0].frame.db, 7);
    ck_assert_int_eq(memcmp(s.history, wal_history(r.w), WAL_HISTORY_BYTES), 0);
    seen_free(&s);
    rig_stop(&r);
    seen_read_sound(&s, r.cfg.dir);
    ck_assert_uint_eq(s.end_lsn, 7);
    ck_assert_uint_eq(s.batch[s.batches - 1].flags, WAL_BATCH_CLEAN_END);
    ck_assert_uint_eq(s.batch[s.batches - 1].synced_upto, s.batch[s.batches - 1].seq - 1);
    seen_free(&s);
}
END_TEST

/* Around every size that matters: a block, inline or by pointer, one buffer, several. */
START_TEST(test_sizes)
{
    static const size_t sizes[] = { 1,
                                    3952, /* with both headers: exactly a block */
                                    3953,
                                    65535,
                                    65536,
                                    65537,
                                    1 << 20,
                                    WAL_GROUP_BYTES - 144,
                                    WAL_GROUP_BYTES - 143,
                                    WAL_GROUP_BYTES + 5,
                                    2 * WAL_GROUP_BYTES - 144,
                                    2 * WAL_GROUP_BYTES + 77777 };
    struct rig r;
    struct seen_log s;
    rig_init(&r, unit_tmpdir());
    r.cfg.segment_bytes = 32 << 20;
    rig_start(&r);
    size_t room = sizes[countof(sizes) - 1] + countof(sizes); /* record i starts at byte i of it */
    char *payload = mem_alloc(room);
    for (size_t i = 0; i < room; i++) {
        payload[i] = (char)(i * 31 + i / 4096);
    }
    uint64_t lsn = 0;
    for (unsigned i = 0; i < countof(sizes); i++) {
        uint64_t got = rig_append(&r, i % 2, slice_of(payload + i, sizes[i] - i % 2));
        lsn += sizes[i] - i % 2;
        ck_assert_uint_eq(got, lsn);
        ck_assert_int_eq(wal_wait_until(r.w, got), 0);
    }
    /* And once more in one go. */
    for (unsigned i = 0; i < countof(sizes); i++) {
        lsn = rig_append(&r, i % 2, slice_of(payload, sizes[i]));
    }
    ck_assert_int_eq(wal_wait_until(r.w, lsn), 0);
    ck_assert_uint_eq(rig_stats(&r).heap_records, 7 + 6); /* 65537 - 1 is not one of them */
    rig_stop(&r);
    seen_read_sound(&s, r.cfg.dir);
    ck_assert_uint_eq(s.records, 2 * countof(sizes));
    for (unsigned i = 0; i < countof(sizes); i++) {
        check_payload(&s.record[i], payload + i, sizes[i] - i % 2);
        check_payload(&s.record[countof(sizes) + i], payload, sizes[i]);
    }
    ck_assert_uint_eq(s.end_lsn, lsn);
    seen_free(&s);
    mem_free(payload);
}
END_TEST

/* An unshipped record leaves the LSN of the stream alone, but has a gate of its own. */
START_TEST(test_unshipped)
{
    struct rig r;
    struct seen_log s;
    rig_init(&r, unit_tmpdir());
    rig_start(&r);
    struct slice local = S("local");
    uint64_t a = rig_append(&r, 0, S("abc"));
    uint64_t b = wal_append(r.w, 1, (struct wal_frame){ .flags = WAL_REC_UNSHIPPED }, &local, 1).v;
    uint64_t c = rig_append(&r, 0, S("de"));
    ck_assert(a < b && b < c);
    ck_assert_int_eq(wal_wait_until(r.w, b), 0);
    ck_assert_int_eq(wal_wait_until(r.w, c), 0);
    ck_assert_uint_eq(rig_stats(&r).stream_durable, 5);
    rig_stop(&r);
    seen_read_sound(&s, r.cfg.dir);
    ck_assert_uint_eq(s.records, 3);
    ck_assert_uint_eq(s.record[0].lsn, 3);
    ck_assert_uint_eq(s.record[1].lsn, 3);
    ck_assert_uint_eq(s.record[1].frame.flags, WAL_REC_UNSHIPPED);
    ck_assert_uint_eq(s.record[2].lsn, 5);
    seen_free(&s);
}
END_TEST

/* ---- Many producers ---- */

#define CROWD 6
static struct crowd {
    struct rig r;
    pthread_mutex_t key; /* as a shard's lock: log order is execution order under it */
    uint64_t executed;
    unsigned each;
    bool waiting;
    atomic_uint lost;
} crowd;

/* Appends its own records, and now and then one of a sequence common to all. */
static void *producer_main(void *arg)
{
    unsigned p = (unsigned)(uintptr_t)arg;
    char buf[4096 + 8];
    uint64_t gate = 0;
    for (unsigned i = 0; i < crowd.each; i++) {
        if (i % 4 == 0) {
            pthread_mutex_lock(&crowd.key);
            uint64_t mark[2] = { (uint64_t)7 << 56 | crowd.executed, p };
            crowd.executed++;
            gate = wal_append(crowd.r.w, p, (struct wal_frame){ .slot = 1 },
                              &(struct slice){ (char *)mark, sizeof mark }, 1)
                       .v;
            pthread_mutex_unlock(&crowd.key);
        } else {
            gate = rig_append(&crowd.r, p, rig_payload(p, i, 4096, buf));
        }
        if (i % 8 == 7) {
            wal_announce(crowd.r.w, p);
        }
        if (crowd.waiting && !rig_wait_gate(&crowd.r, p, gate, 20)) {
            atomic_fetch_add(&crowd.lost, 1);
            return NULL;
        }
    }
    wal_announce(crowd.r.w, p);
    if (!rig_wait_gate(&crowd.r, p, gate, 20)) {
        atomic_fetch_add(&crowd.lost, 1);
    }
    return NULL;
}

static void run_crowd(void)
{
    pthread_t thread[CROWD];
    pthread_mutex_init(&crowd.key, NULL);
    rig_start(&crowd.r);
    for (unsigned i = 0; i < CROWD; i++) {
        ck_assert_int_eq(pthread_create(&thread[i], NULL, producer_main, (void *)(uintptr_t)i), 0);
    }
    for (unsigned i = 0; i < CROWD; i++) {
        pthread_join(thread[i], NULL);
    }
    ck_assert_uint_eq(atomic_load(&crowd.lost), 0);
    ck_assert_uint_ge(wal_durable(crowd.r.w).v, wal_tail(crowd.r.w));
    rig_stop(&crowd.r);
}

static void check_crowd(void)
{
    struct seen_log s;
    uint64_t common = 0, wrong = 0, next[CROWD] = { 0 };
    char buf[4096 + 8];
    seen_read_sound(&s, crowd.r.cfg.dir);
    ck_assert_uint_eq(s.records, CROWD * crowd.each);
    for (size_t i = 0; i < s.records; i++) {
        uint64_t name;
        memcpy(&name, s.record[i].payload, 8);
        if (name >> 56 == 7) {
            wrong += name << 8 >> 8 != common;
            common++;
            memcpy(&name, s.record[i].payload + 8, 8);
            wrong += next[name] % 4 != 0;
        } else {
            name >>= 56;
            struct slice want = rig_payload((unsigned)name, next[name], 4096, buf);
            wrong += !slice_eq(want, slice_of(s.record[i].payload, s.record[i].n));
        }
        next[name]++;
    }
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_eq(common, crowd.executed);
    seen_free(&s);
}

START_TEST(test_crowd_streaming)
{
    rig_init(&crowd.r, unit_tmpdir());
    crowd.each = 3000;
    run_crowd();
    check_crowd();
}
END_TEST

START_TEST(test_crowd_streaming_fallback)
{
    rig_init(&crowd.r, unit_tmpdir());
    crowd.r.cfg.buffered = true;
    crowd.each = 3000;
    run_crowd();
    ck_assert_uint_eq(crowd.lost, 0);
    check_crowd();
}
END_TEST

/* Each waits for its own record before the next one: writers fall asleep all the time, and every
 * append must wake one. A lost wake-up shows as a gate that stays closed. */
START_TEST(test_crowd_waiting)
{
    rig_init(&crowd.r, unit_tmpdir());
    crowd.r.cfg.depth = 1 + (unsigned)_i;
    crowd.each = 300;
    crowd.waiting = true;
    run_crowd();
    check_crowd();
}
END_TEST

/* Queues are emptied in pieces of any size: every chunk boundary, and chunks come back. */
START_TEST(test_chunks_recycled)
{
    struct rig r;
    struct seen_log s;
    uint64_t count[RIG_PRODUCERS], lsn = 0;
    size_t max = 70000;
    char *buf = mem_alloc(max + 8);
    rig_init(&r, unit_tmpdir());
    r.cfg.segment_bytes = 16 << 20;
    rig_start(&r);
    size_t settled = 0;
    for (unsigned i = 0; i < 4000; i++) {
        lsn = rig_append(&r, 0, rig_payload(0, i, max, buf));
        if (rng_below(100) == 0) {
            ck_assert_int_eq(wal_wait_until(r.w, lsn), 0);
        }
        if (i == 2000) {
            settled = mem_used();
        }
    }
    ck_assert_int_eq(wal_wait_until(r.w, lsn), 0);
    ck_assert_uint_le(mem_used(), settled + (8 << 20));
    rig_stop(&r);
    seen_read_sound(&s, r.cfg.dir);
    rig_check_payloads(&s, max, count);
    ck_assert_uint_eq(count[0], 4000);
    seen_free(&s);
    mem_free(buf);
}
END_TEST

/* What was not announced is taken along by whoever looks next; what was appended last is not lost
 * by a stop. */
START_TEST(test_stop_writes_the_rest)
{
    struct rig r;
    struct seen_log s;
    uint64_t count[RIG_PRODUCERS];
    char buf[1024 + 8];
    rig_init(&r, unit_tmpdir());
    r.cfg.sync = (enum wal_sync)_i;
    rig_start(&r);
    for (unsigned i = 0; i < 500; i++) {
        rig_append(&r, i % 5, rig_payload(i % 5, i / 5, 1024, buf));
    }
    rig_stop(&r);
    seen_read_sound(&s, r.cfg.dir);
    rig_check_payloads(&s, 1024, count);
    ck_assert_uint_eq(s.records, 500);
    ck_assert_uint_eq(s.batch[s.batches - 1].flags, WAL_BATCH_CLEAN_END);
    ck_assert_uint_eq(s.batch[s.batches - 1].synced_upto, s.batch[s.batches - 1].seq - 1);
    seen_free(&s);
}
END_TEST

/* ---- Histogram ---- */

START_TEST(test_histogram)
{
    static struct wal_histogram h;
    ck_assert_uint_eq(wal_histogram_percentile(&h, 50), 0);
    for (uint64_t v = 1; v <= 10; v++) {
        wal_histogram_add(&h, v);
    }
    ck_assert_uint_eq(wal_histogram_percentile(&h, 50), 5); /* exact below 16 */
    ck_assert_uint_eq(wal_histogram_percentile(&h, 100), 10);
    ck_assert_uint_eq(wal_histogram_percentile(&h, 0), 0);
    for (unsigned bit = 4; bit < 64; bit++) {
        for (int d = -1; d <= 1; d++) {
            static struct wal_histogram one;
            memset(&one, 0, sizeof one);
            uint64_t v = ((uint64_t)1 << bit) + (uint64_t)(int64_t)d;
            wal_histogram_add(&one, v);
            wal_histogram_add(&one, UINT64_MAX);
            uint64_t got = wal_histogram_percentile(&one, 50);
            ck_assert_uint_ge(got, v);
            ck_assert_uint_le(got - v, v / 8);
            ck_assert_uint_eq(wal_histogram_percentile(&one, 100), UINT64_MAX);
        }
    }
}
END_TEST

UNIT_SUITE(wal_append)
{
    unit_case(suite, "basic", test_one_record, test_unshipped, test_chunks_recycled,
              test_histogram);
    unit_case_slow(suite, "sizes", 120, test_sizes);
    unit_case_slow(suite, "crowd", 240, test_crowd_streaming, test_crowd_streaming_fallback);
    unit_case_loop(suite, "depths", 240, test_crowd_waiting, 4);
    unit_case_loop(suite, "modes", 60, test_stop_writes_the_rest, 3);
}
