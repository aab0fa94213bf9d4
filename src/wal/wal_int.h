/* wal_int.h -- Private structs of the log: the position that everything continues from, the queues,
 * the group in flight, the files, and struct wal itself.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * PARTS       recover*.c, scan*.c  read and classify what is on disk, fill wal_position
 *             history.c            CURRENT, LOCK, a new history and its first segment
 *             queue.c              producers: a place in the order, the queue, admission
 *             group.c              the complete prefix becomes one batch
 *             writer.c             threads that write batches, and how they sleep
 *             publish.c            watermarks in sequence order, wake-ups
 *             sync.c               timed syncs of everysec
 *             segment.c            the segment in use: header, sealing, going over to the next
 *             files.c              prepared files
 *             wal.c, stats.c       open, start, stop; numbers
 * LOCKS       take (RANK_WAL_TAKE)       who is next: position, queue heads, what is in flight
 *             publish (RANK_WAL_PUBLISH) watermarks move under it, in sequence order
 *             files (RANK_WAL_FILES)     prepared segments
 *             None is held across I/O, and no producer ever takes one. */
#ifndef WAL_WAL_INT_H
#define WAL_WAL_INT_H

#include "base/hash.h"
#include "base/lock.h"
#include "wal/wal_format.h"
#include <pthread.h>

/* ---- Where the log stands ---- */

/* Recovery fills it, the writer continues from it. Main thread until the threads run, then under
 * take. */
struct wal_position {
    uint8_t history[WAL_HISTORY_BYTES];
    /* Where the history came from; every segment header of it says so. */
    uint8_t parent[WAL_HISTORY_BYTES];
    uint64_t fork_lsn, fork_seq;
    uint32_t flags;     /* enum wal_segment_flags */
    uint64_t segment;   /* the segment of the next batch ... */
    uint64_t offset;    /* ... and where in it; 0: that segment is still to be begun (its file may
                           exist, zeroed) because its predecessor is sealed */
    uint64_t size;      /* bytes of that file; unused when offset is 0 */
    enum wal_sync sync; /* how that segment is written; a different mode begins another one */
    uint64_t next_seq;
    uint32_t salt;  /* of the history */
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

#define WAL_PRODUCERS_MAX 128
#define WAL_RECORD_MAX    ((uint64_t)1 << 40)       /* 40 bits of length in a frame */
#define WAL_SEGMENT_MIN   ((uint64_t)8 * WAL_BLOCK) /* header, a few batches, end, footer */

static inline uint64_t wal_frame_length(const struct wal_record_frame *f)
{
    return f->length_lo | (uint64_t)f->length_hi << 32;
}

/* What wal_record_frame.crc must be. */
static inline uint32_t wal_frame_crc(const struct wal_record_frame *f, const void *payload,
                                     size_t n)
{
    uint32_t crc = crc32c(0, &f->length_lo, sizeof f->length_lo);
    crc = crc32c(crc, &f->slot, sizeof *f - offsetof(struct wal_record_frame, slot));
    return crc32c(crc, payload, n);
}

/* ---- Between wal.c and recovery ---- */

struct wal_recovery; /* recovery's own state, from scan to finish */

/* Called with the directory locked and pos.history read from CURRENT. Classifies the log without
 * writing, hands it out to `to` (wal_load(); NULL: nobody) meanwhile; fills the rest of w->pos and
 * the report. 0, -errno, enum wal_error or what records() returned. */
must_check int wal_recover_scan(struct wal *w, const struct wal_replay *to,
                                struct wal_report *report);
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
/* Records in one batch, unless a single one is larger. Merging as much takes a millisecond; longer
 * groups gain nothing and hold up the other writer. */
#define WAL_GROUP_BYTES ((size_t)4 << 20)

struct wal_group {
    uint8_t *buf; /* WAL_BLOCK for a segment header, then WAL_GROUP_BYTES for the batch */
    size_t used;  /* bytes of the batch in buf, without padding */
    /* One payload too large for buf follows the bytes in buf; owned, freed once written. */
    uint8_t *big;
    size_t big_bytes;
    bool with_header; /* the segment header in front is written too */
    bool more;        /* complete records were left for the next group */
    enum wal_sync sync;
    int fd;
    uint64_t offset; /* of the batch in the file */
    uint64_t bytes;  /* of the batch with padding */
    uint64_t seq, records;
    uint64_t end;        /* ticket after its last record */
    uint64_t stream_end; /* LSN after it */
};

/* Up to where something reaches: a group that has landed, or a sync. */
struct wal_flight {
    bool done;
    uint64_t seq, end, stream_end;
};

/* ---- Files ---- */

struct wal_file {
    uint64_t number, size;
    int fd; /* -1: not open */
};
#define WAL_READY_MAX 8 /* a start may find more than the preparer would make */

/* ---- Statistics ---- */

/* Exact below 16, then eight steps per power of two: an error of at most 12.5 %. */
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
 * records a ticket is the LSN, unless an earlier log of this process came further: tickets never go
 * back, so that a gate of that one, on its way in a message or kept by a connection, is open. */
struct wal {
    /* Set by open and start, constant while threads run. */
    struct wal_config cfg;
    char *dir; /* <data directory>/wal */
    int lock_fd;
    _Atomic bool direct;            /* O_DIRECT|O_DSYNC works here; told before threads run, too */
    bool running;                   /* between wal_start() and wal_stop() */
    _Atomic uint64_t tickets_ahead; /* of the LSN, at the start; the same */
    struct wal_producer *producers;
    struct wal_writer *writers;
    unsigned nwriters, started;
    pthread_t preparer, syncer;
    bool preparing, syncer_runs; /* those threads exist */
    struct wal_recovery *recovery;

    /* Every append adds to it. */
    cacheline_aligned _Atomic uint64_t tail; /* ticket */

    /* Watermarks: read by every producer in every turn, moved only under publish (state: by the
     * preparer). */
    cacheline_aligned _Atomic uint64_t release; /* replies with a gate up to here may leave */
    _Atomic uint64_t durable, written;          /* tickets */
    _Atomic uint64_t admit; /* tickets up to here may be appended; 0: nothing is admitted */
    _Atomic uint32_t mode;  /* enum wal_sync in effect */
    _Atomic uint32_t state; /* enum wal_state */
    _Atomic int last_errno; /* why no file can be prepared */
    _Atomic bool holding;   /* a writer waits for a file that cannot be made */

    /* Sleeping writers: bit i is writer i; the top bit: one was woken and has not looked yet. */
    cacheline_aligned _Atomic uint32_t sleepers;

    /* Threads that wait for something to be published: writers, administration. */
    cacheline_aligned _Atomic uint32_t events; /* futex: counts publications */
    _Atomic uint32_t event_waiters;
    _Atomic uint64_t sync_request;               /* ticket that somebody wants durable soon */
    _Atomic uint32_t syncer_kick, preparer_kick; /* futexes */
    _Atomic int64_t write_delay_us;              /* DEBUG AOF-FLUSH-SLEEP */
    _Atomic bool give_up; /* do not wait for space: the log starts or stops */
    _Atomic bool preparer_stop;

    /* Under take. */
    cacheline_aligned struct lock take;
    struct wal_position pos;
    struct wal_file cur;
    uint64_t taken;          /* ticket up to which records have left the queues */
    enum wal_sync want_sync; /* differs from pos.sync: switch */
    bool switching;          /* somebody seals and opens the next segment, outside the lock */
    bool trying;             /* switching for want_sync alone: it may still stay where it is */
    bool syncing;            /* a timed sync runs, outside the lock */
    bool proved;             /* the last batch is an empty one that proves all others */
    bool stopping;
    int failed;                                    /* -errno: no further segment, writers end */
    _Atomic uint64_t current_segment, current_seq; /* of pos, for whoever may not wait for take */
    int64_t last_take_us;
    int64_t last_sync_us; /* begin of the last timed sync */

    /* Under publish; the atomics are read by anybody. */
    cacheline_aligned struct lock publish;
    struct wal_flight flight[WAL_DEPTH_MAX];   /* landed early; index: seq % WAL_DEPTH_MAX */
    _Atomic uint64_t written_seq, durable_seq; /* in sequence order */
    _Atomic uint64_t stream_durable;           /* LSN */
    uint64_t stream_written;                   /* LSN */
    _Atomic bool held;                         /* a timed sync is overdue: nothing is admitted */
    _Atomic uint64_t groups, records, bytes_written, slow_syncs;
    int64_t last_slow_log_us;
    struct wal_histogram group_records, sync_us;

    /* Under files; the atomics are read by anybody. */
    cacheline_aligned struct lock files;
    struct wal_file ready[WAL_READY_MAX];
    unsigned nready;
    uint64_t next_number; /* of the file to prepare */
    uint64_t need_bytes;  /* a writer waits for a next segment of at least this size; 0: nobody */
    _Atomic uint64_t room_ready, room_current; /* bytes left for batches */
    _Atomic uint64_t segments, prepared;
};

/* queue.c */
void wal_queues_init(struct wal *w);
void wal_queues_free(struct wal *w);
uint64_t wal_queue_complete(struct wal *w, uint64_t *tail);
struct wal_entry *wal_queue_head(struct wal_producer *p);
void wal_queue_pop(struct wal_producer *p, const struct wal_entry *e);
bool wal_admits_again(const struct wal *w, uint64_t wanted);
/* The payload of an entry that has it by pointer, else NULL. */
static inline uint8_t *wal_entry_big(const struct wal_entry *e)
{
    uint8_t *big = NULL;
    if (e->heap != 0) {
        memcpy(&big, e + 1, sizeof big);
    }
    return big;
}

/* group.c; all under take */
enum wal_take { WAL_TAKE_GROUP, WAL_TAKE_NOTHING, WAL_TAKE_POLL, WAL_TAKE_FULL };
void wal_group_init(struct wal_group *g);
void wal_group_free(struct wal_group *g);
enum wal_take wal_group_take(struct wal *w, struct wal_group *g, uint64_t *need);
void wal_group_empty(struct wal *w, struct wal_group *g, uint16_t flags);
bool wal_group_fits_empty(const struct wal *w);

/* writer.c */
_Noreturn void wal_die(const char *what, int err);
int wal_fault_status(int hit);
void wal_barrier(int fd, const char *what);
void wal_write_group(struct wal *w, struct wal_group *g);
void wal_wake_writer(struct wal *w);
void wal_kick_writers(struct wal *w);
must_check int wal_writers_start(struct wal *w);

/* publish.c */
uint32_t wal_events(const struct wal *w);
void wal_event_wait(struct wal *w, uint32_t seen, int64_t timeout_us);
void wal_event(struct wal *w);
void wal_publish_init(struct wal *w);
void wal_publish_mode(struct wal *w, enum wal_sync mode);
void wal_publish_group(struct wal *w, const struct wal_group *g);
struct wal_flight wal_publish_written(struct wal *w);
void wal_publish_synced(struct wal *w, const struct wal_flight *upto);
void wal_admission_changed(struct wal *w);
void wal_admission_hold(struct wal *w, bool hold);
void wal_count_sync(struct wal *w, int64_t us);
void wal_wake_producers(struct wal *w);
uint64_t wal_synced_upto(const struct wal *w);

/* sync.c */
void *wal_sync_main(void *arg);
void wal_kick_syncer(struct wal *w);
void wal_request_sync(struct wal *w, uint64_t ticket);
bool wal_sync_requested(const struct wal *w);
void wal_hold_if_overdue_locked(struct wal *w);

/* segment.c */
void wal_segment_header_make(const struct wal *w, struct wal_segment_header *h,
                             const struct wal_file *file);
must_check int wal_segment_open(struct wal *w, uint64_t number, enum wal_sync sync);
int wal_switch_segment(struct wal *w, uint64_t need);
bool wal_switch_pointless(struct wal *w);

/* files.c */
void wal_sync_dir(const char *dir);
must_check int wal_file_create(struct wal *w, uint64_t number, uint64_t size,
                               const struct wal_segment_header *first);
void wal_files_give_back(struct wal *w, uint64_t number, uint64_t size);
must_check int wal_files_next(struct wal *w, uint64_t need, struct wal_file *out);
must_check int wal_files_start(struct wal *w);
void wal_files_stop(struct wal *w);

/* history.c */
must_check int wal_lock_directory(struct wal *w);
must_check int wal_current_read(struct wal *w, struct wal_report *report);
must_check int wal_history_start(struct wal *w);
void wal_history_remove(struct wal *w);

/* wal.c, stats.c */
const char *wal_sync_name(enum wal_sync sync);
void wal_histogram_add(struct wal_histogram *h, uint64_t value);
uint64_t wal_histogram_percentile(const struct wal_histogram *h, double percent);

#endif
