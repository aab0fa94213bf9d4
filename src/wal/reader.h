/* reader.h -- A window over a log file that moves forward, with the next piece read ahead.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Checking and reading overlap, batches may be larger than any fixed buffer, and replay
 *             hands the very buffers on: so the window is a reference-counted allocation that is
 *             replaced, never overwritten.
 * THREADS     A reader belongs to one thread. wal_batch_retain/release: any. */
#ifndef WAL_READER_H
#define WAL_READER_H

#include "wal/wal_format.h"

/* struct wal_batch of wal.h: what records point into. */
struct wal_batch {
    _Atomic uint32_t refs;
    size_t cap;
    uint8_t *bytes; /* aligned to WAL_BLOCK */
};
struct wal_batch *wal_batch_new(size_t cap); /* one reference; NULL: no memory */
void wal_batch_retain(struct wal_batch *b);

/* Helper threads that read pieces while the caller works on the one before. None to be had is fine
 * everywhere, and so is NULL. */
struct wal_ahead;
struct wal_ahead *wal_ahead_new(void);
void wal_ahead_free(struct wal_ahead *a);

enum wal_read_how {
    WAL_READ_DISK,     /* what the disk has: O_DIRECT, or else after dropping the cached pages */
    WAL_READ_BUFFERED, /* the same without O_DIRECT */
    WAL_READ_CACHED    /* whatever the page cache has */
};

struct wal_reader {
    int fd;
    bool direct;
    uint64_t size; /* bytes of the file; beyond it everything reads as zero */
    struct wal_ahead *ahead;
    struct wal_batch *window; /* file bytes from..from+len are window->bytes[head..] */
    uint64_t from;
    size_t head, len;
};

/* 0 or -errno. */
must_check int wal_reader_open(struct wal_reader *r, const char *path, enum wal_read_how how,
                               struct wal_ahead *ahead);
/* Makes n > 0 bytes at `offset` (a multiple of WAL_BLOCK, below the file's size) contiguous; *p is
 * valid until the next call, longer for whoever retains r->window. 0; -ENOMEM; else -errno: one of
 * these bytes cannot be read. Fault point: wal.read. */
must_check int wal_reader_need(struct wal_reader *r, uint64_t offset, size_t n, const uint8_t **p);
/* Forgets what was read: the next call asks the file again. */
void wal_reader_drop(struct wal_reader *r);
void wal_reader_close(struct wal_reader *r);
#endif
