/* wal.h -- The write-ahead log: opaque records in, a durable LSN out; recovery of both after any
 * crash. SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         One log serves durability, recovery, replication and restore. It knows no commands
 * and no keys.
 * THREADS     Producers (one thread each, normally a reactor) append and never wait. `depth` writer
 * threads group, write and publish. One preparer thread keeps empty segments ready, one thread runs
 * timed syncs. wal_open/replay/start/stop: the main thread.
 * LSN         Offset in the stream of payload bytes AFTER a record; framing never counts. The kinds
 * are kept apart by the compiler: an appended LSN is only a promise, a durable LSN has survived a
 * barrier. Only durable may be shown. An unshipped record is no part of the stream; inside the
 * process its bytes count all the same, from here on, in everything that producers compare (gates,
 * tail, release point, durable): it needs a gate of its own. wal_stats tells the stream apart.
 * FAILURE     A failed barrier or write inside a prepared segment: logged, then _exit(EXIT_WAL);
 * nobody is answered (2-wal.md 5.1). No space for the next segment: WAL_NOSPACE until space
 * returns. */
#ifndef WAL_WAL_H
#define WAL_WAL_H

#include "base/bytes.h"
#include <stdatomic.h>

#define EXIT_WAL         72 /* a barrier or write failed: restart recovers everything acknowledged */
#define EXIT_WAL_DAMAGED 73 /* recovery refused: damage to acknowledged data */

#define WAL_HISTORY_BYTES 20
#define WAL_SLOT_SEVERAL  0xfffe /* keys in more than one hash slot */
#define WAL_SLOT_ALL      0xffff /* the whole keyspace, or no key at all */

struct wal;

struct wal_appended {
    uint64_t v;
};
struct wal_durable {
    uint64_t v;
};

enum wal_sync { WAL_SYNC_ALWAYS = 0, WAL_SYNC_EVERYSEC = 1, WAL_SYNC_NO = 2 };
enum wal_state { WAL_OK = 0, WAL_NOSPACE = 1 };

struct wal_config {
    const char *dir; /* data directory; the log lives in dir/wal */
    enum wal_sync sync;
    unsigned producers; /* 1..128; producer ids are 0..producers-1 */
    unsigned depth;     /* writer threads, 1..4; 2 is the default; forced to 1 without O_DIRECT */
    uint64_t segment_bytes; /* multiple of 4096; default 64 MiB */
    size_t queue_bytes;    /* admission limit: bytes appended but not yet written; default 64 MiB */
    uint64_t first_ticket; /* what wal_append() returns begins above it, and above the log's LSN:
                              above every gate of a log that ended in this process; 0 without */
    bool buffered;         /* never use O_DIRECT: the fallback path (pwrite + fdatasync, depth 1) */
    bool force_lossy_recovery; /* --force-lossy-recovery */
    bool judge_later;          /* wal_open() leaves an existing log unread: wal_load() comes next */
    bool whole; /* `appendonly` no -> yes: begin a history that holds the whole keyspace; CURRENT
                   stays until wal_make_current() */
    /* Upcall: `producer` announced a gate that is now open, or admission has room again. From a
     * thread of the log, or from wal_wait() itself. Must not block nor call the log. NULL: none. */
    void (*wake)(void *arg, unsigned producer);
    /* Upcall: a group took `us` microseconds to be written durably (mode always). Arg and rules as
     * for wake. NULL: none. */
    void (*barrier)(void *arg, int64_t us);
    void *wake_arg;
};

/* What recovery found. Text goes to the log and to INFO; numbers to tests. */
struct wal_report {
    uint64_t first_lsn, end_lsn; /* accepted stream */
    uint64_t records, batches, segments;
    uint64_t torn_bytes; /* bytes above the last proof that were cut */
    uint64_t last_seq;
    int64_t
        last_wall_ms;  /* newest wall clock in an accepted batch; the log's time never steps back */
    bool created;      /* the directory held no log */
    bool clean;        /* the last run ended with wal_stop() */
    bool new_history;  /* this start began a new history (unclean start in a mode other than always,
                          forced) */
    char message[512]; /* why it was refused, with the LSN range, when wal_open returns
                          WAL_E_DAMAGED */
};

enum wal_error {
    WAL_E_LOCKED = -1001,  /* another process holds the directory */
    WAL_E_DAMAGED = -1002, /* decision e, f, g or h: report->message */
    WAL_E_VERSION = -1003, /* unknown format version or must-understand flag */
    WAL_E_FOREIGN = -1004, /* CURRENT names a history that the files contradict */
};

/* Takes the directory lock, reads CURRENT and (unless cfg.judge_later) classifies the whole log
 * without writing anything to an existing one. 0, -errno or an enum wal_error; *out is set only on
 * 0, report always. */
must_check int wal_open(struct wal **out, const struct wal_config *cfg, struct wal_report *report);

/* One record as recovery hands it out; payload points into the batch. */
struct wal_record {
    struct slice payload;
    uint64_t lsn; /* after this record */
    uint16_t slot;
    uint16_t db;
    uint8_t flags;
    int64_t wall_ms; /* unix time when its group was built; never steps back */
};
struct wal_batch; /* opaque buffer of one group; reference-counted */
struct wal_replay {
    void *arg;
    /* Records in LSN order, `n` of one batch. The payloads stay valid until
     * wal_batch_release(batch), which any thread may call later. Return 0 to go on; anything else
     * stops wal_replay() and is returned by it. */
    int (*records)(void *arg, struct wal_batch *batch, const struct wal_record *rec, unsigned n);
    /* Now and then: bytes of log files read so far, and all there are. */
    void (*progress)(void *arg, uint64_t done, uint64_t total);
};
must_check int wal_replay(struct wal *w, const struct wal_replay *r);
/* For a log opened with cfg.judge_later, instead of wal_replay(): judges it and hands it out in one
 * pass. Records come as soon as they are accepted, when nobody knows yet whether the log will be
 * refused: whoever gets them throws away what it made of them if this fails. 0, -errno, an enum
 * wal_error or what records() returned; fills the report that wal_open() began. progress(): until
 * the end is known, `total` is the size of all files. */
must_check int wal_load(struct wal *w, const struct wal_replay *r, struct wal_report *report);
void wal_batch_release(struct wal_batch *b);
/* While the log runs (DEBUG RELOAD): classifies it again as it is now, so that wal_replay() hands
 * out all of it once more, until wal_replay_end(). Everything appended is durable and no producer
 * appends meanwhile. 0, -errno or an enum wal_error; nothing is changed. */
must_check int wal_replay_begin(struct wal *w);
void wal_replay_end(struct wal *w);

/* Cuts what was torn, makes the accepted tail durable again, starts the threads. After it producers
 * may append. 0 or -errno; then wal_free() is all that is left to do. */
must_check int wal_start(struct wal *w);
/* Writes and syncs everything appended, marks a clean end, stops the threads, releases the
 * directory. Producers are quiet by then. -ENOSPC and the like: the log could not be extended, and
 * what was not durable yet is lost: under `always` nobody was told of it. */
must_check int wal_stop(struct wal *w);
/* Instead of wal_stop() for a log opened with cfg.whole that did not become current: what it wrote
 * goes. Never touches the history that CURRENT names. */
void wal_discard(struct wal *w);
void wal_free(struct wal *w);

/* ---- Producers ---- */
struct wal_frame {
    uint16_t slot;
    uint16_t db;
    uint8_t flags; /* enum wal_record_flags */
};
enum wal_record_flags { WAL_REC_UNSHIPPED = 1 /* stream length 0: counts no LSN, never shipped */ };

/* Appends one record made of `parts` in order; at least one byte, less than 2^40. The caller holds
 * the locks of every key the record touches: that is what makes log order equal execution order.
 * Never blocks, never fails (bytes were admitted; what exceeds goes to the heap). */
struct wal_appended wal_append(struct wal *w, unsigned producer, struct wal_frame frame,
                               const struct slice *parts, unsigned nparts);
/* Up to so many bytes are copied into memory that the log has; for more wal_append() allocates, and
 * a process without memory ends there. */
#define WAL_COPIED_MAX ((size_t)64 * 1024)
/* The same for n > WAL_COPIED_MAX bytes that the log takes and frees (mem_free()): it needs no
 * memory for them. */
struct wal_appended wal_append_owned(struct wal *w, unsigned producer, struct wal_frame frame,
                                     void *payload, size_t n);

/* Once per loop turn in which the producer appended: wakes a sleeping writer. */
void wal_announce(struct wal *w, unsigned producer);

/* At the start of a write command, before any lock. false: stop reading this connection; wake()
 * comes when there is room. In WAL_NOSPACE it is true (the command is refused with an error
 * instead: see wal_state). */
must_check bool wal_admit(struct wal *w, unsigned producer, size_t bytes);

/* Replies whose gate is <= this may leave: the durable LSN under `always`, UINT64_MAX under
 * everysec and no. One relaxed-cost load. */
uint64_t wal_release_point(const struct wal *w);
struct wal_durable wal_durable(const struct wal *w); /* has survived a barrier, in every mode */
uint64_t wal_durable_lsn(const struct wal *w); /* the same as the offset that replicas count in */
uint64_t wal_tail(
    const struct wal *w); /* newest appended LSN of anybody; a gate for whole-keyspace reads */

/* Before a producer sleeps: its lowest gate still closed (UINT64_MAX: none) and whether it has
 * connections stopped at admission. Publishes, fences, looks again: returns the release point as of
 * after the fence; the caller releases up to it and, if it still waits, may sleep: wake() is then
 * certain to come. wal_wait_durable: the same for WAITAOF, independent of the mode. */
uint64_t wal_wait(struct wal *w, unsigned producer, uint64_t lowest_gate, bool stopped);
struct wal_durable wal_wait_durable(struct wal *w, unsigned producer, uint64_t lowest);

enum wal_state wal_state(const struct wal *w);
const uint8_t *wal_history(
    const struct wal *w); /* WAL_HISTORY_BYTES; stable between wal_start and a change of history */

/* ---- Administration: one caller at a time, not a reactor's hot path; may block on the disk ----
 */
/* Switches appendfsync at a segment switch; returns when the new mode acts and everything appended
 * before is durable, or waits for space in the new mode. -errno, and the old mode stays, when no
 * segment can be made. */
must_check int wal_set_sync(struct wal *w, enum wal_sync sync);
/* Blocks until `lsn` is durable (tests, SHUTDOWN, admin threads; never a reactor); syncs for it in
 * every mode. -errno when the log waits for space. */
must_check int wal_wait_until(struct wal *w, uint64_t lsn);
/* After wal_start() with cfg.whole, once everything appended is durable: from here on this history
 * is the log. 0 or -errno (then the old one still is). */
must_check int wal_make_current(struct wal *w);

/* DEBUG AOF-FLUSH-SLEEP: every group waits so long before it is written; 0: not. */
void wal_delay_writes(struct wal *w, int64_t us);

struct wal_stats {
    uint64_t appended, written, durable; /* as producers count, from the LSN at the start */
    uint64_t stream_durable;             /* LSN without unshipped records: offsets of replicas */
    uint64_t groups, records, bytes_written; /* since start; bytes include framing and padding */
    uint64_t group_records_p50, group_records_p99, group_records_max;
    uint64_t sync_us_p50, sync_us_p99, sync_us_max; /* time of one barrier */
    uint64_t slow_syncs;                            /* barriers above 100 ms */
    uint64_t admission_stops, heap_records; /* connections stopped; records that went to the heap */
    uint64_t queued_bytes, segments, prepared;
    uint64_t current_segment, current_seq;
    bool direct; /* O_DIRECT|O_DSYNC path in use */
    enum wal_sync sync;
    enum wal_state state;
    int last_errno; /* why WAL_NOSPACE */
};
void wal_stats(
    struct wal *w,
    struct wal_stats *out); /* any thread; each number is exact or recent, not one moment */
#endif
