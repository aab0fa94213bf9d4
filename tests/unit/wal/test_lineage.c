/* test_lineage.c -- Histories and their parents, forced recovery, and a log that is being written.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "log_builder.h"
#include "unit.h"
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static const struct wal_recovery_options disk = { .how = WAL_READ_DISK };
static const struct wal_recovery_options force = { .how = WAL_READ_CACHED, .force = true };

/* ---- Histories ---- */

START_TEST(test_lineage)
{
    struct log_builder *b = lb_with_batches(5);
    lb_fork(b);
    lb_add(b, 10);
    lb_fork(b); /* of a history with one segment */
    lb_fork(b); /* of one without a batch */
    lb_add(b, 20);
    lb_footer(b);
    lb_segment(b);
    lb_add(b, 30);
    lb_expect_all(b);
    struct wal_report report;
    unsigned records;
    ck_assert_int_eq(lb_recover(b, &disk, &report, &records), 0);
    ck_assert_uint_eq(records, 8);
    ck_assert_uint_eq(report.segments, 5 - 1); /* nothing was needed from the one without a batch */
    ck_assert_uint_eq(report.last_seq, 2);
    lb_free(b);
}
END_TEST

/* What the parent has beyond the fork does not matter: torn, damaged or whole. */
START_TEST(test_parent_beyond_fork)
{
    struct log_builder *b = lb_with_batches(5);
    uint8_t parent[WAL_HISTORY_BYTES], child[WAL_HISTORY_BYTES];
    memcpy(parent, b->history, sizeof parent);
    struct lb_batch fork = b->batch[2];
    lb_give_up(b, fork.records);
    lb_fork_at(b, fork.seq, fork.end_lsn);
    lb_add(b, 10);
    lb_expect_all(b);
    memcpy(child, b->history, sizeof child);
    memcpy(b->history, parent, sizeof parent);
    lb_flip(b, 1, b->batch[3].offset + 130);
    memcpy(b->history, child, sizeof child);
    lb_expect_all(b);
    memcpy(b->history, parent, sizeof parent);
    lb_flip(b, 1, b->batch[2].offset + 130);
    memcpy(b->history, child, sizeof child);
    lb_expect_refused(b, 'e', b->batch[2].first_lsn);
    lb_free(b);
}
END_TEST

/* Unshipped records do not move the LSN: the fork is a batch, not an LSN. */
START_TEST(test_fork_behind_unshipped)
{
    struct log_builder *b = lb_with_batches(2);
    lb_record(b, "local", 5, 0, 0, WAL_REC_UNSHIPPED);
    lb_write(b, UINT64_MAX, 0);
    lb_record(b, "local2", 6, 0, 0, WAL_REC_UNSHIPPED);
    lb_write(b, UINT64_MAX, 0);
    lb_fork(b);
    lb_add(b, 9);
    lb_expect_all(b);
    lb_free(b);
}
END_TEST

START_TEST(test_fork_contradicts_parent)
{
    struct log_builder *b = lb_with_batches(4);
    uint64_t end = b->lsn;
    lb_fork_at(b, 4, end - 1);
    lb_expect_refused(b, 'e', end);
    lb_free(b);
    b = lb_with_batches(4);
    end = b->lsn;
    lb_fork_at(b, 5, end + 10); /* more than the parent has */
    lb_expect_refused(b, 'e', end);
    lb_free(b);
}
END_TEST

START_TEST(test_parent_missing)
{
    struct log_builder *b = lb_with_batches(2);
    char *path = lb_path(b, 1);
    lb_fork(b);
    lb_add(b, 3);
    unlink(path);
    *strrchr(path, '/') = '\0';
    ck_assert_int_eq(rmdir(path), 0);
    lb_expect_refused(b, 'e', 0);
    free(path);
    lb_free(b);
}
END_TEST

START_TEST(test_histories_in_a_circle)
{
    struct log_builder *b = lb_new();
    memcpy(b->parent, b->history, sizeof b->parent);
    b->fork_seq = 1;
    b->segment = 0;
    lb_segment(b); /* its own parent */
    lb_expect_error(b, WAL_E_FOREIGN);
    lb_free(b);
}
END_TEST

/* `appendonly` no -> yes: the child has everything itself, the parent need not even exist. */
START_TEST(test_whole_history)
{
    struct log_builder *b = lb_with_batches(3);
    char *path = lb_path(b, 1);
    lb_give_up(b, 0);
    b->segment_flags = WAL_SEGMENT_WHOLE;
    lb_fork(b);
    b->segment_flags = 0;
    ck_assert_int_eq(unlink(path), 0);
    lb_add(b, 50);
    lb_expect_all(b);
    free(path);
    lb_free(b);
}
END_TEST

/* ---- Children that need nothing of a whole history ---- */

/* A whole history behind three batches, with `batches` batches that do not count any more. */
static struct log_builder *with_whole(unsigned batches)
{
    struct log_builder *b = lb_with_batches(3);
    lb_give_up(b, 0);
    b->segment_flags = WAL_SEGMENT_WHOLE;
    lb_fork(b);
    for (unsigned i = 0; i < batches; i++) {
        lb_add(b, 40);
    }
    return b;
}

/* What a forced start leaves when the first batch of the present history is damaged. */
static void fork_at_birth(struct log_builder *b, uint64_t lsn)
{
    lb_give_up(b, 0);
    b->segment_flags = 0;
    lb_fork_at(b, 0, lsn);
}

static void flip_header_of(struct log_builder *b, const uint8_t *history, uint64_t segment)
{
    uint8_t now[WAL_HISTORY_BYTES];
    memcpy(now, b->history, sizeof now);
    memcpy(b->history, history, sizeof now);
    lb_flip(b, segment, 100);
    memcpy(b->history, now, sizeof now);
}

START_TEST(test_child_of_whole)
{
    struct log_builder *b = with_whole(3); /* the last proves the first */
    uint64_t lsn = b->batch[3].first_lsn;
    ck_assert_uint_gt(lsn, 0);
    lb_flip(b, 1, b->batch[3].offset + 130);
    lb_expect_refused(b, 'e', lsn);
    fork_at_birth(b, lsn);
    lb_expect_all(b); /* without a batch */
    lb_add(b, 10);
    lb_footer(b);
    lb_segment(b);
    lb_add(b, 11);
    lb_expect_all(b);
    lb_fork(b); /* of a child with batches */
    lb_add(b, 12);
    lb_expect_all(b);
    lb_free(b);
    b = with_whole(2);
    fork_at_birth(b, lsn);
    lb_add(b, 10);
    fork_at_birth(b, lsn); /* of a child of which nothing is needed */
    lb_add(b, 20);
    lb_expect_all(b);
    lb_free(b);
    b = with_whole(2);
    fork_at_birth(b, 0); /* it may number from anywhere: older programs went back to 0 */
    lb_add(b, 10);
    lb_expect_all(b);
    lb_free(b);
}
END_TEST

/* One good header of the whole history is enough to know that nothing is missing. Without any it
 * might have had a parent. */
START_TEST(test_child_of_whole_with_damaged_headers)
{
    struct log_builder *b = with_whole(2);
    uint8_t whole[WAL_HISTORY_BYTES];
    uint64_t lsn = b->batch[3].first_lsn;
    memcpy(whole, b->history, sizeof whole);
    lb_footer(b);
    lb_segment(b);
    fork_at_birth(b, lsn);
    lb_add(b, 10);
    lb_expect_all(b);
    flip_header_of(b, whole, 1);
    lb_expect_all(b);
    flip_header_of(b, whole, 2);
    lb_expect_refused(b, 'e', 0);
    lb_free(b);
}
END_TEST

/* A history that is not whole is the first only at LSN 0, and so is its child. */
START_TEST(test_child_of_first)
{
    static const uint32_t flags[] = { 0, WAL_SEGMENT_WHOLE };
    for (unsigned i = 0; i < countof(flags); i++) {
        struct log_builder *b = lb_new();
        b->segment_flags = flags[i];
        lb_fork_at(b, 0, 0);
        lb_add(b, 20);
        lb_flip(b, 1, b->batch[0].offset + 130);
        fork_at_birth(b, 0);
        lb_add(b, 10);
        lb_expect_all(b);
        lb_free(b);
    }
    struct log_builder *b = lb_with_batches(2);
    fork_at_birth(b, 7);
    lb_add(b, 10);
    lb_expect_refused(b, 'e', 0);
    lb_free(b);
}
END_TEST

/* Whose batches are needed says where its child begins. */
START_TEST(test_child_contradicts_whole)
{
    for (int wrong = -1; wrong <= 1; wrong++) {
        struct log_builder *b = with_whole(1);
        uint64_t end = b->lsn;
        b->segment_flags = 0;
        lb_fork_at(b, 1, end + (uint64_t)(int64_t)wrong);
        lb_add(b, 10);
        if (wrong != 0) {
            lb_expect_refused(b, 'e', end);
        } else {
            lb_expect_all(b);
        }
        lb_free(b);
    }
}
END_TEST

/* ---- Forced ---- */

START_TEST(test_forced_recovery)
{
    struct log_builder *b = lb_with_batches(8);
    lb_flip(b, 1, b->batch[4].offset + 140);
    struct wal_report report;
    unsigned records;
    ck_assert_int_eq(lb_recover(b, &force, &report, &records), 0);
    ck_assert_uint_eq(records, 4);
    ck_assert_uint_eq(report.end_lsn, b->batch[4].first_lsn);
    ck_assert_ptr_nonnull(strstr(report.message, "(case e)"));
    /* Nothing readable at all: there is nothing to go on with. */
    lb_flip(b, 1, 100);
    ck_assert_int_eq(lb_recover(b, &force, &report, &records), WAL_E_DAMAGED);
    lb_free(b);
}
END_TEST

/* The first header of a child is gone: what its parent had is still there. */
START_TEST(test_forced_back_to_parent)
{
    struct log_builder *b = lb_with_batches(3);
    uint64_t lsn = b->lsn;
    lb_fork(b);
    lb_add(b, 10);
    lb_footer(b);
    lb_segment(b); /* tells where the child came from */
    lb_flip(b, 1, 100);
    lb_expect_refused(b, 'e', lsn);
    struct wal_report report;
    unsigned records;
    ck_assert_int_eq(lb_recover(b, &force, &report, &records), 0);
    ck_assert_uint_eq(records, 3);
    ck_assert_uint_eq(report.end_lsn, lsn);
    ck_assert_uint_eq(report.last_seq, 3);
    lb_free(b);
}
END_TEST

/* The same where nothing of the parent is needed: the log ends where that began. */
START_TEST(test_forced_back_to_whole)
{
    struct log_builder *b = with_whole(2);
    uint64_t lsn = b->batch[3].first_lsn;
    fork_at_birth(b, lsn);
    lb_add(b, 10);
    lb_footer(b);
    lb_segment(b);
    lb_flip(b, 1, 100);
    lb_expect_refused(b, 'e', lsn);
    struct wal_report report;
    unsigned records;
    ck_assert_int_eq(lb_recover(b, &force, &report, &records), 0);
    ck_assert_uint_eq(records, 0);
    ck_assert_uint_eq(report.end_lsn, lsn);
    ck_assert_uint_eq(report.last_seq, 0);
    lb_free(b);
}
END_TEST

/* ---- A log that is being written ---- */

static void *append_slowly(void *arg)
{
    struct log_builder *b = arg;
    for (unsigned i = 0; i < 300; i++) {
        if (b->offset + 3 * WAL_BLOCK > b->segment_bytes) {
            lb_footer(b);
            lb_segment(b);
        }
        char p[64] = "live";
        lb_record(b, p, sizeof p, 0, 0, 0);
        lb_write(b, b->seq - 1, 0); /* each proves all before it */
        usleep(300);
    }
    return NULL;
}

/* Never damage, and never less than was there before. */
START_TEST(test_live)
{
    struct log_builder *b = lb_with_batches(1);
    b->segment_bytes = 64 * WAL_BLOCK;
    lb_footer(b);
    lb_segment(b);
    struct wal_recovery_options live = { .how = WAL_READ_CACHED, .live = true };
    uint8_t current[WAL_HISTORY_BYTES];
    memcpy(current, b->history, sizeof current);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, append_slowly, b), 0);
    uint64_t last = 0;
    for (unsigned i = 0; i < 60; i++) {
        struct wal_report report = { .records = 0 };
        struct wal_recovery *r = NULL;
        int err = wal_recovery_open(&r, b->dir, current, &live, &report);
        ck_assert_msg(err == 0, "%d %s", err, report.message);
        ck_assert_uint_ge(report.last_seq, last);
        last = report.last_seq;
        wal_recovery_free(r);
    }
    pthread_join(thread, NULL);
    lb_expect_all(b);
    lb_free(b);
}
END_TEST

UNIT_SUITE(wal_lineage)
{
    unit_case(suite, "lineage", test_lineage, test_parent_beyond_fork, test_fork_behind_unshipped,
              test_fork_contradicts_parent, test_parent_missing, test_histories_in_a_circle,
              test_whole_history, test_child_of_whole, test_child_of_whole_with_damaged_headers,
              test_child_of_first, test_child_contradicts_whole);
    unit_case(suite, "force", test_forced_recovery, test_forced_back_to_parent,
              test_forced_back_to_whole);
    unit_case(suite, "live", test_live);
}
