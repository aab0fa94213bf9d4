/* wal_format.h -- Every byte the log puts on disk. Little-endian; ids are append-only; private to
 * src/wal and utils/kv-wal. SPDX-License-Identifier: BSD-3-Clause
 *
 *   dir/wal/CURRENT                               40 hex digits of the history, newline
 * (atomic_replace) dir/wal/LOCK                                  flock'ed for the life of the
 * process dir/wal/<40 hex>/<20-digit number>.wal        a segment
 *
 *   segment   | header 4096 | batch | batch | ... | footer 4096 | zeros ...
 *   batch     | header 128 | record | record | ... | zero padding to WAL_BLOCK |       starts on a
 * WAL_BLOCK boundary record    | frame 16 | payload | A batch never spans segments. A batch larger
 * than a segment gets a segment of its own size. Room for the footer is always kept. */
#ifndef WAL_WAL_FORMAT_H
#define WAL_WAL_FORMAT_H

#include "wal/wal.h"

#define WAL_BLOCK          4096u
#define WAL_FORMAT_VERSION 1u
#define WAL_SEGMENT_MAGIC  "KVWALSEG"
#define WAL_FOOTER_MAGIC   "KVWALFTR"
#define WAL_BATCH_MAGIC    0x3142564bu /* "KVB1" */

struct wal_segment_header {
    char magic[8];                      /*   0 */
    uint32_t version;                   /*   8 */
    uint32_t must_understand;           /*  12 unknown bit: refuse */
    uint8_t history[WAL_HISTORY_BYTES]; /*  16 */
    uint8_t parent[WAL_HISTORY_BYTES];  /*  36 zero: none */
    uint64_t fork_lsn;                  /*  56 where this history left its parent */
    uint64_t segment;                   /*  64 its number, 1.. within the history */
    uint64_t first_seq;                 /*  72 sequence of its first batch */
    uint64_t first_lsn;                 /*  80 */
    uint64_t term;                      /*  88 */
    int64_t created_ms;                 /*  96 */
    uint32_t sync;                      /* 104 enum wal_sync it is written with */
    uint32_t chain;                     /* 108 chain value its first batch must carry */
    uint64_t size;                      /* 112 bytes of the file: whole blocks, at least
                                               2, at most WAL_SEGMENT_MAX; else damage */
    uint32_t flags;                     /* 120 enum wal_segment_flags */
    uint32_t salt;                      /* 124 random, the same in all segments of a history */
    uint64_t fork_seq;                  /* 128 the parent's last batch that belongs to this history;
                                               0: none of it */
    uint8_t zero[3956];                 /* 136 */
    uint32_t crc;                       /* 4092 crc32c of bytes 0..4091 */
};
_Static_assert(sizeof(struct wal_segment_header) == WAL_BLOCK, "segment header is one block");
_Static_assert(offsetof(struct wal_segment_header, fork_lsn) == 56, "layout");
_Static_assert(offsetof(struct wal_segment_header, fork_seq) == 128, "layout");
_Static_assert(offsetof(struct wal_segment_header, crc) == 4092, "layout");
/* WHOLE: the history begins with the whole keyspace in its own records (`appendonly` no -> yes), so
 * recovery does not read the parent. Every other child continues its parent up to fork_seq. */
enum wal_segment_flags { WAL_SEGMENT_WHOLE = 1 };
/* Parent, fork_lsn, fork_seq and flags are the same in all segments of a history, so that damage to
 * one header does not hide the parents. (Early versions wrote them to the first segment alone.) */
/* Salt: behind a torn end recovery looks for valid headers at every block, and a client can store
 * whatever looks like one. It cannot know the salt. */

struct wal_batch_header {
    uint32_t magic;                     /*   0 */
    uint16_t version;                   /*   4 */
    uint16_t flags;                     /*   6 enum wal_batch_flags */
    uint8_t history[WAL_HISTORY_BYTES]; /*   8 */
    uint32_t records;                   /*  28 0 in an empty batch (idle proof) */
    uint64_t segment;                   /*  32 */
    uint64_t seq;                       /*  40 1.. within the history, no gaps */
    uint64_t term;                      /*  48 0 until the replicated log */
    uint64_t index;                     /*  56 = seq until then */
    uint64_t first_lsn;                 /*  64 LSN before the first record */
    uint64_t stream_bytes;              /*  72 payload bytes that count in the LSN */
    uint64_t body_bytes;                /*  80 frames + payloads, without padding */
    uint64_t synced_upto;     /*  88 highest sequence known durable when this batch was built */
    int64_t wall_ms;          /*  96 never steps back */
    uint32_t chain;           /* 104 the predecessor's `crc`; see below */
    uint32_t must_understand; /* 108 */
    uint32_t body_crc;        /* 112 crc32c of the body */
    uint32_t zero[2];         /* 116 */
    uint32_t crc;             /* 124 crc32c of bytes 0..123, begun with the salt; the chain value of
                                     the successor */
};
_Static_assert(sizeof(struct wal_batch_header) == 128, "batch header");
_Static_assert(offsetof(struct wal_batch_header, synced_upto) == 88, "layout");
/* Chain: the header's crc covers body_crc, so it stands for header and body at once. (A crc over
 * all 128 bytes would not: a message followed by its own crc always gives the same value, so
 * headers would drop out of the chain.) The first batch of a history carries the segment header's
 * chain. */
enum wal_batch_flags { WAL_BATCH_IDLE = 1, WAL_BATCH_CLEAN_END = 2 /* last batch of wal_stop() */ };

struct wal_record_frame {
    uint32_t length_lo; /*  0 payload bytes, low 32 bits */
    uint32_t crc;       /*  4 crc32c of bytes 0..3, 8..15 and the payload; made by the producer */
    uint16_t slot;      /*  8 0..16383, WAL_SLOT_SEVERAL, WAL_SLOT_ALL */
    uint8_t length_hi;  /* 10 payload bytes, bits 32..39 */
    uint8_t flags;      /* 11 enum wal_record_flags */
    uint16_t db;        /* 12 */
    uint16_t zero;      /* 14 */
};
_Static_assert(sizeof(struct wal_record_frame) == 16, "record frame");

/* A segment is as large as its directive says (at most 1 TiB) or as the one record in it needs,
 * whose length has 40 bits; headers, padding and the footer take far less than 1 MiB. Whatever
 * claims to be larger was never written by kv: recovery must not make a file of that size. */
#define WAL_SEGMENT_MAX (((uint64_t)1 << 40) + ((uint64_t)1 << 20))

struct wal_segment_footer {
    char magic[8];                      /*  0 */
    uint8_t history[WAL_HISTORY_BYTES]; /*  8 */
    uint32_t zero;                      /* 28 */
    uint64_t segment;                   /* 32 */
    uint64_t last_seq;                  /* 40 */
    uint64_t last_lsn;                  /* 48 */
    uint32_t chain;                     /* 56 chain value after the last batch */
    uint32_t crc;                       /* 60 crc32c of bytes 0..59, begun with the salt */
};
_Static_assert(sizeof(struct wal_segment_footer) == 64,
               "segment footer; the rest of its block is zero");

/* What the writer owes to recovery, which takes these as proofs:
 * - synced_upto = s: every batch up to s had survived its barrier when this one was built; s < seq.
 * - Footer: written after the segment's last batch is durable, and durable itself before anything
 *   is written to the next segment. It proves last_seq.
 * - Segment header: therefore a valid one proves everything below its first_seq.
 * - CLEAN_END is the last batch only while the log is stopped: a start makes one more batch durable
 *   before it serves (a crash with nothing written yet must not look like a clean end).
 * - A history's first segment header is durable, alone, before CURRENT names the history; the first
 *   batch follows at offset WAL_BLOCK. */
#endif
