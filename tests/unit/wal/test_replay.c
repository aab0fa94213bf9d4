/* test_replay.c -- Handing out records: order, buffers that outlive the call, stopping, progress.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "log_builder.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>

static const struct wal_recovery_options cached = { .how = WAL_READ_CACHED };

static struct wal_recovery *open_log(struct log_builder *b)
{
    struct wal_report report = { .records = 0 };
    struct wal_recovery *r = NULL;
    ck_assert_int_eq(wal_recovery_open(&r, b->dir, b->history, &cached, &report), 0);
    return r;
}

struct keep {
    struct wal_batch *batch[4 * LB_MAX];
    struct wal_record rec[4 * LB_MAX];
    unsigned batches, records, stop_after;
    uint64_t done, total;
    unsigned told;
};

static int keep_records(void *arg, struct wal_batch *batch, const struct wal_record *rec,
                        unsigned n)
{
    struct keep *k = arg;
    k->batch[k->batches++] = batch;
    for (unsigned i = 0; i < n; i++) {
        k->rec[k->records++] = rec[i];
    }
    return k->stop_after != 0 && k->batches == k->stop_after ? 77 : 0;
}

static void keep_progress(void *arg, uint64_t done, uint64_t total)
{
    struct keep *k = arg;
    ck_assert_uint_gt(done, k->done);
    ck_assert_uint_le(done, total);
    k->done = done;
    k->total = total;
    k->told++;
}

/* Payloads stay valid as long as their batch is held, however far the replay has gone. */
START_TEST(test_payloads_outlive_the_call)
{
    struct log_builder *b = lb_new();
    b->segment_bytes = 8u << 20;
    lb_footer(b);
    lb_segment(b);
    for (unsigned i = 0; i < 100; i++) {
        lb_add(b, 20000 + i);
    }
    for (unsigned i = 0; i < 1500; i++) { /* more than are handed out at once */
        lb_record(b, "abcdefgh", 8, 7, 0, 0);
    }
    lb_write(b, UINT64_MAX, 0);
    struct wal_recovery *r = open_log(b);
    struct keep *k = calloc(1, sizeof *k);
    struct wal_replay to = { .arg = k, .records = keep_records, .progress = keep_progress };
    ck_assert_int_eq(wal_recovery_replay(r, &to), 0);
    ck_assert_uint_eq(k->done, k->total);
    ck_assert_uint_eq(k->total, r->accepted_bytes);
    wal_recovery_free(r);
    ck_assert_uint_eq(k->records, b->records);
    for (unsigned i = 0; i < k->records; i++) {
        ck_assert_uint_eq(k->rec[i].payload.n, b->record[i].n);
        ck_assert(memcmp(k->rec[i].payload.p, b->record[i].payload, b->record[i].n) == 0);
        ck_assert_uint_eq(k->rec[i].lsn, b->record[i].lsn);
    }
    for (unsigned i = 0; i < k->batches; i++) {
        wal_batch_release(k->batch[i]);
    }
    free(k);
    lb_free(b);
}
END_TEST

START_TEST(test_stop)
{
    struct log_builder *b = lb_new();
    for (unsigned i = 0; i < 5; i++) {
        lb_add(b, 100);
    }
    struct wal_recovery *r = open_log(b);
    struct keep *k = calloc(1, sizeof *k);
    k->stop_after = 3;
    struct wal_replay to = { .arg = k, .records = keep_records };
    ck_assert_int_eq(wal_recovery_replay(r, &to), 77);
    ck_assert_uint_eq(k->records, 3);
    for (unsigned i = 0; i < k->batches; i++) {
        wal_batch_release(k->batch[i]);
    }
    free(k);
    wal_recovery_free(r);
    lb_free(b);
}
END_TEST

/* What was accepted is checked again on the way. */
START_TEST(test_changed_since_it_was_opened)
{
    struct log_builder *b = lb_new();
    for (unsigned i = 0; i < 5; i++) {
        lb_add(b, 100);
    }
    struct wal_recovery *r = open_log(b);
    lb_flip(b, 1, b->batch[3].offset + 160);
    struct keep *k = calloc(1, sizeof *k);
    struct wal_replay to = { .arg = k, .records = keep_records };
    ck_assert_int_eq(wal_recovery_replay(r, &to), WAL_E_DAMAGED);
    ck_assert_uint_eq(k->records, 3);
    for (unsigned i = 0; i < k->batches; i++) {
        wal_batch_release(k->batch[i]);
    }
    free(k);
    wal_recovery_free(r);
    lb_free(b);
}
END_TEST

/* Not batches that came behind the end meanwhile. */
START_TEST(test_ends_where_it_was_opened)
{
    struct log_builder *b = lb_new();
    lb_add(b, 100);
    struct wal_recovery *r = open_log(b);
    lb_add(b, 100);
    struct keep *k = calloc(1, sizeof *k);
    struct wal_replay to = { .arg = k, .records = keep_records };
    ck_assert_int_eq(wal_recovery_replay(r, &to), 0);
    ck_assert_uint_eq(k->records, 1);
    wal_batch_release(k->batch[0]);
    free(k);
    wal_recovery_free(r);
    lb_free(b);
}
END_TEST

/* Records come before what makes the log be refused is seen; the same when it is only cut. */
START_TEST(test_judged_on_the_way)
{
    struct log_builder *b = lb_new();
    for (unsigned i = 0; i < 5; i++) {
        lb_add(b, 100);
    }
    lb_footer(b);
    lb_segment(b);
    lb_add(b, 100);
    struct keep *k = calloc(1, sizeof *k);
    struct wal_replay to = { .arg = k, .records = keep_records, .progress = keep_progress };
    struct wal_report report = { .records = 0 };
    struct wal_recovery *r = NULL;
    ck_assert_int_eq(wal_recovery_load(&r, b->dir, b->history, &cached, &to, &report), 0);
    ck_assert_uint_eq(k->records, 6);
    ck_assert_uint_eq(k->done, k->total);
    ck_assert_uint_eq(k->done, r->accepted_bytes);
    wal_recovery_free(r);
    r = NULL;
    to.progress = NULL;
    lb_flip(b, 1, b->batch[3].offset + 160);
    int err = wal_recovery_load(&r, b->dir, b->history, &cached, &to, &report);
    ck_assert_int_eq(err, WAL_E_DAMAGED);
    ck_assert_ptr_null(r);
    ck_assert_uint_eq(k->records, 6 + 3);
    k->stop_after = k->batches + 2;
    err = wal_recovery_load(&r, b->dir, b->history, &cached, &to, &report);
    ck_assert_int_eq(err, 77);
    ck_assert_ptr_null(r);
    ck_assert_uint_eq(k->records, 6 + 3 + 2);
    for (unsigned i = 0; i < k->batches; i++) {
        wal_batch_release(k->batch[i]);
    }
    free(k);
    lb_free(b);
}
END_TEST

UNIT_SUITE(wal_replay)
{
    unit_case(suite, "replay", test_payloads_outlive_the_call, test_stop,
              test_changed_since_it_was_opened, test_ends_where_it_was_opened,
              test_judged_on_the_way);
}
