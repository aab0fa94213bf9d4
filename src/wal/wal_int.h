/* wal_int.h -- Private structs of the log: the position everything continues from, the queues, the
 * group in flight, the files, and struct wal itself.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * PARTS       recover*.c, scan*.c  read and classify what is on disk, fill wal_position
 *             history.c            CURRENT, LOCK, a new history and its first segment
 *             queue.c              producers: allocate an LSN, queue the record, admission
 *             group.c              the complete prefix becomes one batch
 *             writer.c             threads that write batches, publish in order, sync, sleep
 *             segment.c            prepared files, switching, sealing
 *             wal.c                open, start, stop, statistics
 * LOCKS       take (RANK_WAL_TAKE)       who is next: position, queue heads, what is in flight
 *             publish (RANK_WAL_PUBLISH) watermarks move under it, in sequence order
 *             files (RANK_WAL_FILES)     prepared segments
 *             None is held across I/O, and no producer ever takes one. */
#ifndef WAL_WAL_INT_H
#define WAL_WAL_INT_H

#include "base/lock.h"
#include "wal/wal_format.h"
#include <pthread.h>

/* ---- Where the log stands ---- */

/* Recovery fills it, the writer continues from it. Main thread until the threads run, then under
 * take. */
struct wal_position {
    uint8_t history[WAL_HISTORY_BYTES];
    uint64_t segment;   /* the segment of the next batch ... */
    uint64_t offset;    /* ... and where in it; 0: that segment is still to be begun (its file may
                           exist, zeroed) because its predecessor is sealed */
    uint64_t size;      /* bytes of that file; unused when offset is 0 */
    enum wal_sync sync; /* how that segment is written; a different mode begins another one */
    uint64_t next_seq;
    uint32_t chain; /* of the next batch: `crc` of the last batch header; 0 for the first */
    uint64_t next_lsn;
    uint64_t synced_upto; /* highest sequence known durable */
    uint64_t term;
    int64_t wall_ms; /* newest wall clock used; never steps back */
    bool created;    /* no log yet: wal_start() creates the first history */
    bool fork;       /* wal_start() begins a new history, child of `history`, at next_lsn */
};

#define WAL_PATH_MAX 4096
/* dir/wal/<history> and dir/wal/<history>/<number>.wal; dst holds WAL_PATH_MAX. */
void wal_history_path(const struct wal *w, const uint8_t history[WAL_HISTORY_BYTES], char *dst);
void wal_segment_path(const struct wal *w, const uint8_t history[WAL_HISTORY_BYTES],
                      uint64_t number, char *dst);

/* ---- Between wal.c and recovery ---- */

struct wal_recovery; /* recovery's own state, from scan to finish */

/* Called by wal_open() with the directory locked and pos.history read from CURRENT. Classifies the
 * log without writing; fills the rest of w->pos and the report. 0, -errno or enum wal_error. */
must_check int wal_recover_scan(struct wal *w, struct wal_report *report);
/* Called by wal_start() before any thread runs: cuts what is torn, makes the accepted tail durable,
 * zeroes what follows. Afterwards w->pos is exact, its file is zero from pos.offset on, and every
 * file of a higher number is zero throughout and synced: the preparer takes those as they are.
 * Idempotent. 0 or -errno. */
must_check int wal_recover_finish(struct wal *w);
/* Frees w->recovery; NULL is fine. */
void wal_recover_free(struct wal *w);

/* ---- Queues: one per producer ---- */

#define WAL_NONE UINT64_MAX

/* A record in a queue, followed by its payload or a pointer to it. Entries are 8-aligned. */
struct wal_entry {
    uint64_t ticket; /* see struct wal; WAL_NONE: go on in the next chunk */
    uint32_t bytes;  /* of this entry in the chunk, header included, rounded up */
    uint32_t heap;   /* 1: the payload is a pointer to memory that the queue owns */
    struct wal_record_frame frame;
};

struct wal_chunk {
    struct wal_chunk *next;
    uint8_t data[];
};

struct wal_producer {
    /* Producer-owned. */
    cacheline_aligned struct wal_chunk *chunk;
    size_t at;               /* first free byte of chunk->data */
    uint64_t seen;           /* newest tail it knows; a lower bound of the real one */
    uint64_t count;          /* entries queued ever; published copies it */
    size_t wanted;           /* smallest command refused at admission since the last wait */
    struct wal_chunk *spare; /* emptied chunks, ready for use */

    /* Written by the producer, read by whoever holds take. */
    cacheline_aligned _Atomic uint64_t inflight; /* lower bound of a ticket being taken, or NONE */
    _Atomic uint64_t published;                  /* entries complete in the queue */
    _Atomic uint64_t stops, heap_records;        /* statistics */

    /* Announcements: made by the producer, claimed by the publisher. */
    cacheline_aligned _Atomic uint64_t gate; /* lowest gate still closed, or NONE */
    _Atomic uint64_t durable_gate;           /* the same for WAITAOF */
    _Atomic uint64_t stopped;                /* bytes that stopped connections need; 0: none */

    /* Under take. */
    cacheline_aligned struct wal_chunk *head;
    size_t head_at;
    uint64_t taken; /* entries consumed ever */

    /* Emptied chunks on their way back: pushed under take, emptied by the producer. */
    cacheline_aligned _Atomic(struct wal_chunk *) returned;
    _Atomic uint32_t nreturned;
};

/* ---- Groups: one batch on its way to the disk ---- */

#define WAL_DEPTH_MAX 4

struct wal_group {
    uint8_t *buf; /* WAL_BLOCK for a segment header, then the batch */
    size_t used;  /* bytes of the batch in buf, without padding */
    /* One payload too large for buf follows the bytes in buf; owned, freed once written. */
    uint8_t *big;
    size_t big_bytes;
    bool with_header; /* the segment header in front is written too */
    int fd;
    uint64_t offset; /* of the batch in the file */
    uint64_t bytes;  /* of the batch with padding */
    uint64_t seq, records;
    uint64_t end;        /* ticket after its last record */
    uint64_t stream_end; /* LSN after it */
};

/* ---- Files ---- */

struct wal_file {
    uint64_t number, size;
    int fd; /* -1: not open */
};
#define WAL_READY_MAX 8 /* a start may find more than the preparer would make */

/* ---- Statistics ---- */

/* Exact below 16, then eight steps per power of two: an error of at most 12.5 %. Written under
 * publish, read by anybody. */
#define WAL_HISTOGRAM_STEPS (16 + 60 * 8)
struct wal_histogram {
    _Atomic uint64_t count[WAL_HISTOGRAM_STEPS];
    _Atomic uint64_t max;
};

/* ---- The log ---- */

struct wal_writer {
    struct wal *w;
    unsigned id;
    pthread_t thread;
    struct wal_group group;
    cacheline_aligned _Atomic uint32_t woken; /* futex */
};

/* A ticket is a byte position in everything appended since the start: it begins at the recovered
 * LSN and, unlike the LSN, also counts unshipped records, so that every record has a place in the
 * order and a gate of its own. Gates and watermarks of producers are tickets. Without unshipped
 * records a ticket is the LSN. */
struct wal {
    /* Set at open, constant while threads run. */
    struct wal_config cfg;
    char *dir; /* <data directory>/wal */
    int lock_fd;
    unsigned depth; /* groups in flight under `always` */
    bool direct;    /* O_DIRECT|O_DSYNC works here */
    bool running;   /* threads exist */
    struct wal_producer *producers;
    struct wal_writer *writers; /* nwriters */
    unsigned nwriters;
    pthread_t preparer;
    struct wal_recovery *recovery;

    /* Every append adds to it. */
    cacheline_aligned _Atomic uint64_t tail;

    /* Watermarks: read by every producer in every turn, moved only under publish. */
    cacheline_aligned _Atomic uint64_t release; /* replies with a gate up to here may leave */
    _Atomic uint64_t durable, written;          /* tickets */
    _Atomic uint64_t admit; /* tickets up to here may be appended; 0: nothing is admitted */
    _Atomic uint32_t state; /* enum wal_state */
    _Atomic int last_errno;

    /* Sleeping writers: bit i is writer i; WAL_WAKING: one was woken and has not looked yet. */
    cacheline_aligned _Atomic uint32_t sleepers;

    /* Threads that wait for a watermark or for room in flight (writers, administration). */
    cacheline_aligned _Atomic uint32_t events; /* futex: counts publications */
    _Atomic uint32_t event_waiters;
    _Atomic uint64_t sync_request; /* ticket that somebody wants durable soon */
    _Atomic bool stopping;

    /* Under take. */
    cacheline_aligned struct lock take;
    struct wal_position pos;
    struct wal_file cur;
    uint64_t taken;          /* ticket up to which records left the queues */
    enum wal_sync want_sync; /* differs from pos.sync: switch */
    bool switching;          /* somebody seals and opens the next segment, outside the lock */
    bool syncing;            /* somebody runs a timed sync */
    bool proved;             /* the last batch is an empty one that proves all others */
    int64_t last_take_us;
    int64_t last_sync_us; /* begin of the last timed sync */

    /* Under publish. */
    cacheline_aligned struct lock publish;
    struct {
        bool done;
        uint64_t end, stream_end, seq;
    } flight[WAL_DEPTH_MAX];                   /* index: seq % WAL_DEPTH_MAX */
    _Atomic uint64_t written_seq, durable_seq; /* in sequence order */
    _Atomic uint64_t stream_durable;
    uint64_t stream_written;
    _Atomic uint64_t groups, records, bytes_written, slow_syncs;
    struct wal_histogram group_records, sync_us;

    /* Under files. */
    cacheline_aligned struct lock files;
    struct wal_file ready[WAL_READY_MAX];
    unsigned nready;
    uint64_t next_number;  /* of the file to prepare */
    uint64_t need_bytes;   /* a writer waits for a next segment of at least this size; 0: nobody */
    _Atomic uint64_t room; /* bytes left in the current segment and in the ready ones */
    _Atomic uint64_t segments, prepared;
    _Atomic uint32_t preparer_kick; /* futex */
};

#endif
