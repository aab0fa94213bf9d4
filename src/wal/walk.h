/* walk.h -- One verified step after another through the files of a history.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * wal_walk_look() observes what stands at the position and changes nothing; wal_walk_take() steps
 * behind it. Recovery decides between the two; replay and repair only take what fits.
 * THREADS     One per walk. */
#ifndef WAL_WALK_H
#define WAL_WALK_H

#include "wal/reader.h"
#include "wal/recover.h"
#include "wal/scan.h"

struct wal_walk {
    /* Set by wal_walk_begin(). */
    const struct wal_history_info *h;
    enum wal_read_how how;
    bool records_too; /* check the records' own checksums as well */
    /* The position. */
    struct wal_mark at;
    struct wal_expect x;
    struct wal_reader reader; /* of segment at.segment; fd -1: not open */
    uint64_t size;            /* of that segment, as its header says */
};

enum wal_thing { WAL_SEGMENT, WAL_BATCH, WAL_FOOTER };
struct wal_item {
    enum wal_thing thing;
    uint64_t bytes; /* on disk */
    union {
        const void *bytes_at; /* valid until the next look; longer for who retains reader.window */
        const struct wal_segment_header *segment;
        const struct wal_batch_header *batch;
        const struct wal_segment_footer *footer;
    };
};

/* Starts at `at`; offset 0 of segment 0 is the beginning, whose header is taken as it is. */
void wal_walk_begin(struct wal_walk *w, const struct wal_history_info *h, struct wal_mark at,
                    enum wal_read_how how, struct wal_ahead *ahead);
/* *in = 0: *item is what was expected. Else WAL_IN_* or WAL_SEEN_NEWER; WAL_IN_MISSING when the
 * file of a lower number than the next one there is does not exist. 0 or -ENOMEM. */
must_check int wal_walk_look(struct wal_walk *w, unsigned *in, struct wal_item *item);
void wal_walk_take(struct wal_walk *w, const struct wal_item *item);
void wal_walk_end(struct wal_walk *w);
#endif
