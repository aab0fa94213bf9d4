/* log_builder.h -- Writes logs byte by byte as the format says, and damages them on purpose.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Independent of the writer in src/wal: what recovery is tested with must not share its mistakes.
 * Every failure of a file operation fails the test. */
#ifndef TESTS_LOG_BUILDER_H
#define TESTS_LOG_BUILDER_H

#include "wal/recover.h"

#define LB_SEGMENT (16u * WAL_BLOCK)
#define LB_MAX     512

struct lb_batch {
    uint64_t segment, offset, bytes; /* on disk, padding included */
    uint64_t seq, first_lsn, end_lsn;
    unsigned records; /* expected records up to and including this batch */
};

struct lb_record {
    char *payload;
    size_t n;
    uint64_t lsn;
    uint16_t slot, db;
    uint8_t flags;
};

struct log_builder {
    char *dir;                          /* <data directory>/wal */
    uint8_t history[WAL_HISTORY_BYTES]; /* the one being written */
    uint64_t segment, segment_bytes, offset;
    uint64_t seq, lsn; /* next */
    uint32_t chain, salt;
    int64_t wall_ms;
    enum wal_sync sync; /* of segments begun from now on */
    struct buf body;    /* records of the batch being built */
    uint32_t body_records;
    uint64_t body_stream;
    struct lb_batch batch[LB_MAX]; /* of all histories */
    unsigned batches;
    struct lb_record record[4 * LB_MAX]; /* what replay must hand out */
    unsigned records;
    /* Changed by tests before a batch or segment is written, then reset. */
    uint16_t batch_version;
    uint32_t batch_must_understand, segment_version, segment_must_understand;
    uint8_t parent[WAL_HISTORY_BYTES];
    uint64_t fork_seq, fork_lsn;
    uint32_t segment_flags;
};

/* A data directory with CURRENT and a first segment that holds nothing but its header. */
struct log_builder *lb_new(void);
void lb_free(struct log_builder *b);

/* A child history, which becomes CURRENT; it continues the present one as far as it is written. */
void lb_fork(struct log_builder *b);
void lb_fork_at(struct log_builder *b, uint64_t seq, uint64_t lsn);
/* Only the first so many records are expected from now on. */
void lb_give_up(struct log_builder *b, unsigned records);

void lb_record(struct log_builder *b, const char *payload, size_t n, uint16_t slot, uint16_t db,
               uint8_t flags);
/* Writes what was added as one batch; returns its row. synced_upto: UINT64_MAX = seq - 2. */
struct lb_batch *lb_write(struct log_builder *b, uint64_t synced_upto, uint16_t flags);
/* One batch with one record of about n bytes. */
struct lb_batch *lb_add(struct log_builder *b, size_t n);
void lb_footer(struct log_builder *b);
/* The next segment's file, with its header; the last one is not sealed by this. */
void lb_segment(struct log_builder *b);
void lb_zero_segment(struct log_builder *b, uint64_t number); /* a prepared one */

char *lb_path(const struct log_builder *b, uint64_t number);
void lb_poke(const struct log_builder *b, uint64_t number, uint64_t offset, const void *p,
             size_t n);
void lb_peek(const struct log_builder *b, uint64_t number, uint64_t offset, void *p, size_t n);
void lb_flip(const struct log_builder *b, uint64_t number, uint64_t offset);
void lb_truncate(const struct log_builder *b, uint64_t number, uint64_t size);
void lb_zero(const struct log_builder *b, uint64_t number, uint64_t offset, size_t n);
void lb_set_current(const struct log_builder *b, const uint8_t *history);

/* Every byte below the directory, names included: equal before and after = nothing touched. */
uint64_t lb_fingerprint(const struct log_builder *b);

/* Opens the log, replays it when it opens, and checks that what comes out is the expected records
 * from the first on. *records: how many. Returns the error of wal_recovery_open() or of the replay.
 */
int lb_recover(struct log_builder *b, const struct wal_recovery_options *o,
               struct wal_report *report, unsigned *records);

/* ---- What a test expects ---- */
struct log_builder *lb_with_batches(unsigned n);
/* Everything that was built is accepted, and the log ends behind it with nothing torn. */
void lb_expect_all(struct log_builder *b);
/* The log ends before `row`; torn: something was there. */
void lb_expect_prefix(struct log_builder *b, const struct lb_batch *row, bool torn);
/* Refused, nothing touched, and the message names the case and the LSN. */
void lb_expect_refused(struct log_builder *b, char letter, uint64_t lsn);
/* This error, nothing touched. */
void lb_expect_error(struct log_builder *b, int expected);
#endif
