/* scan.h -- What stands at a position of a log file, as observations for the decision table.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Pure functions over untrusted bytes: nothing outside the given ranges is read, no length is
 * believed before it fits. Any thread. */
#ifndef WAL_SCAN_H
#define WAL_SCAN_H

#include "wal/decide.h"
#include "wal/wal_format.h"

/* Besides enum wal_observed: a valid header of a format this build does not know. Refuse and touch
 * nothing, whatever else is observed. */
#define WAL_SEEN_NEWER (1u << 16)

/* What must come next. */
struct wal_expect {
    uint8_t history[WAL_HISTORY_BYTES];
    uint64_t segment;
    uint64_t seq;
    uint64_t lsn;
    uint32_t chain;
    uint32_t salt;
};

/* The three of them return 0 when it is exactly what was expected, else the WAL_IN_* of what is
 * wrong (Z, S, L, E and the later ones are the caller's). What was not looked at counts as wrong:
 * not V implies not N, not C, not I, not B; not (N and I) implies not B. */

/* `block` is the first WAL_BLOCK of a file. `first`: the history's first segment, whose chain,
 * salt, sequence and LSN are taken as they are. */
unsigned wal_look_segment(const struct wal_segment_header *block, const struct wal_expect *x,
                          bool first);
/* A batch header; `room`: bytes from its start to the end of the file. BAD_BODY tells of its
 * lengths and LSN alone. */
unsigned wal_look_batch(const struct wal_batch_header *h, const struct wal_expect *x,
                        uint64_t room);
/* `block` is the WAL_BLOCK that begins with the footer. */
unsigned wal_look_footer(const struct wal_segment_footer *block, const struct wal_expect *x);

/* Is there a footer's magic, so that a footer and not a batch is what to look for? */
bool wal_is_footer(const void *block);

/* Bytes of a batch on disk, header and padding included; only for headers whose lengths passed
 * wal_look_batch(). */
static inline uint64_t wal_batch_span(const struct wal_batch_header *h)
{
    uint64_t n = sizeof *h + h->body_bytes;
    return n + (WAL_BLOCK - n % WAL_BLOCK) % WAL_BLOCK;
}

/* The body and padding behind a header that passed wal_look_batch(); wal_batch_span() bytes at h.
 * `records_too`: also the checksum of each record, which was made before the batch existed. */
must_check bool wal_body_ok(const struct wal_batch_header *h, bool records_too);

/* Walks the records of a body. Start with at = 0, lsn = first_lsn. false: the end, or (at !=
 * body_bytes) something that is no record. */
must_check bool wal_next_record(const uint8_t *body, uint64_t body_bytes, uint64_t *at,
                                struct wal_record *rec);
must_check bool wal_record_crc_ok(const uint8_t *frame, uint64_t payload);
#endif
