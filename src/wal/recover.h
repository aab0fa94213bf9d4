/* recover.h -- What a log directory holds, judged by the decision table; the server and kv-wal both
 * read a log through this. SPDX-License-Identifier: BSD-3-Clause
 *
 * LINEAGE     The log of CURRENT is its own batches behind those of its parents, each parent up to
 *             the batch where its child left it. Other histories in the directory are not looked
 * at. THREADS     One at a time. FAILURE     Opening never writes. */
#ifndef WAL_RECOVER_H
#define WAL_RECOVER_H

#include "wal/reader.h"
#include "wal/scan.h"

struct wal_segment_info {
    /* From the directory. */
    uint64_t number;
    uint64_t bytes; /* of the file */
    /* From its header, once accepted. */
    bool used;
    bool sealed; /* its footer was accepted */
    enum wal_sync sync;
    uint64_t first_seq, first_lsn, size;
    int64_t created_ms;
    uint64_t end;                  /* accepted up to this offset */
    uint64_t end_seq, end_lsn;     /* sequence and LSN of what would follow */
    uint64_t dirty_from, dirty_to; /* behind the end of the log: where it is not zero */
};

struct wal_history_info {
    uint8_t id[WAL_HISTORY_BYTES];
    uint8_t parent[WAL_HISTORY_BYTES];
    uint64_t fork_lsn, fork_seq;
    uint32_t flags;
    uint32_t salt;
    bool known;        /* a valid header told the fields above */
    bool missing;      /* there is no such directory */
    uint64_t need_seq; /* the last batch the log takes from it; UINT64_MAX: all */
    char *path;
    struct wal_segment_info *segment; /* ascending numbers */
    unsigned nsegments;
};

/* Where one walk over batches stands. */
struct wal_mark {
    unsigned segment; /* index */
    uint64_t offset;  /* 0: its header comes next */
    uint64_t seq, lsn;
    uint32_t chain;
};

struct wal_recovery {
    /* Set at open. */
    enum wal_read_how how;
    struct wal_history_info *history; /* oldest first; the last is CURRENT's */
    unsigned nhistories;

    /* The end of what was accepted. at.segment == nsegments: in a file that does not exist yet. */
    unsigned last; /* index of the history in which it ends */
    struct wal_mark at;
    uint64_t number; /* of the segment `at` is in, or of the one to be begun there */
    enum wal_case why;
    bool forced;              /* what follows is damaged and was given up ... */
    unsigned damaged_history; /* ... from here on */
    struct wal_mark damaged;
    bool clean;
    uint64_t proven;      /* highest sequence of that history known to have been synced */
    struct wal_mark from; /* first batch above it; equal to `at` when there is none */
    int64_t wall_ms;
    uint64_t term;
    uint64_t accepted_bytes; /* of all files: what replay will read */
};

/* Told of every accepted batch in order; `window` holds it (wal_batch_retain() to keep it). A
 * result other than 0 stops and is returned. */
struct wal_visitor {
    void *arg;
    void (*begin)(void *arg, uint64_t bytes); /* NULL, or told first: the size of all files */
    int (*batch)(void *arg, struct wal_batch *window, const struct wal_batch_header *b);
    void (*read)(void *arg, uint64_t bytes); /* so much more of the files is done */
};

struct wal_recovery_options {
    enum wal_read_how how;
    const struct wal_visitor *visitor; /* NULL, or told while the log is being judged */
    bool live;  /* another process may be appending: look twice before calling it damage */
    bool force; /* --force-lossy-recovery: end the log before the damage */
    uint64_t snapshot_lsn; /* what a snapshot covers; 0: none */
};

/* Judges the lineage of `current` below dir (<data directory>/wal). 0, -errno or enum wal_error;
 * *out (wal_recovery_free()) only on 0, *report always. */
must_check int wal_recovery_open(struct wal_recovery **out, const char *dir,
                                 const uint8_t current[WAL_HISTORY_BYTES],
                                 const struct wal_recovery_options *o, struct wal_report *report);
/* Everything that was accepted. 0, -errno; WAL_E_DAMAGED when the files no longer hold it. */
must_check int wal_recovery_visit(struct wal_recovery *r, const struct wal_visitor *v);
/* As wal_replay(); errors as above. */
must_check int wal_recovery_replay(struct wal_recovery *r, const struct wal_replay *to);
/* wal_recovery_open() and wal_recovery_replay() in one pass, as wal_load(). */
must_check int wal_recovery_load(struct wal_recovery **out, const char *dir,
                                 const uint8_t current[WAL_HISTORY_BYTES],
                                 const struct wal_recovery_options *o, const struct wal_replay *to,
                                 struct wal_report *report);
/* Makes the accepted tail durable; sets damaged files aside (forced) or zeroes what follows the
 * end. 0 or -errno, or WAL_E_DAMAGED as above. Idempotent. */
must_check int wal_recovery_repair(struct wal_recovery *r, const char *dir, bool fork);
void wal_recovery_free(struct wal_recovery *r);

/* ---- lineage.c: what is in the directory ---- */
/* 0, -errno, WAL_E_VERSION, WAL_E_FOREIGN; fills r->history and report->message on failure. */
must_check int wal_lineage_load(struct wal_recovery *r, const char *dir,
                                const uint8_t current[WAL_HISTORY_BYTES],
                                struct wal_report *report);
/* Files of one history; -ENOENT when it has no directory. */
must_check int wal_lineage_list(struct wal_history_info *h);
char *wal_lineage_file(const struct wal_history_info *h, uint64_t number); /* mem_free() */

/* ---- evidence.c: what follows the end ---- */
struct wal_evidence {
    bool zero;         /* Z */
    uint64_t later;    /* a later segment holds a valid header of this history */
    bool error;        /* E */
    bool newer;        /* WAL_SEEN_NEWER */
    uint64_t synced;   /* highest synced_upto of a valid batch of this history */
    uint64_t proven;   /* highest sequence that a footer or a later header proves */
    uint64_t seq, lsn; /* highest seen in anything valid, for messages */
};
/* Looks at every block from `at` to the end of this and of all later segments, notes their dirty
 * ranges. `gap`: segment `at.segment` is already behind a missing one. 0 or -ENOMEM. */
must_check int wal_evidence_gather(struct wal_recovery *r, struct wal_history_info *h,
                                   struct wal_mark at, bool gap, struct wal_ahead *ahead,
                                   struct wal_evidence *e);
#endif
