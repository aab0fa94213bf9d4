/* segment.c -- The segment in use: its header, sealing it, and going over to the next one.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         A valid header or a footer proves to recovery that everything before it had been
 * durable. So nothing is written to a segment before its predecessor is durable and sealed. That
 * drains the groups in flight once per segment, and one segment is written one way only: another
 * mode begins another one.
 * THREADS     The writer that set w->switching, or the main thread when there are no writers. Until
 * it clears the flag, position and current file are its own.
 * LOCKS       take, to install; none across I/O. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/mem.h"
#include "wal/wal_int.h"
#include <errno.h>
#include <fcntl.h>

void wal_segment_header_make(const struct wal *w, struct wal_segment_header *h,
                             const struct wal_file *file)
{
    memset(h, 0, sizeof *h);
    memcpy(h->magic, WAL_SEGMENT_MAGIC, sizeof h->magic);
    h->version = WAL_FORMAT_VERSION;
    memcpy(h->history, w->pos.history, WAL_HISTORY_BYTES);
    memcpy(h->parent, w->pos.parent, WAL_HISTORY_BYTES);
    h->fork_lsn = w->pos.fork_lsn;
    h->fork_seq = w->pos.fork_seq;
    h->flags = w->pos.flags;
    h->segment = file->number;
    h->first_seq = w->pos.next_seq;
    h->first_lsn = w->pos.next_lsn;
    h->term = w->pos.term;
    h->created_ms = clock_wall_ms();
    h->sync = w->pos.sync;
    h->chain = w->pos.chain;
    h->salt = w->pos.salt;
    h->size = file->size;
    h->crc = crc32c(0, h, offsetof(struct wal_segment_header, crc));
}

/* O_DSYNC belongs to `always` alone: it makes each write its own barrier. */
int wal_segment_open(struct wal *w, uint64_t number, enum wal_sync sync)
{
    char path[WAL_PATH_MAX];
    wal_segment_path(w, w->pos.history, number, path);
    int flags = sync == WAL_SYNC_ALWAYS && w->direct ? O_DIRECT | O_DSYNC : 0;
    return io_open(path, O_WRONLY | flags, 0);
}

static void write_footer(struct wal *w)
{
    uint8_t *block = mem_aligned(WAL_BLOCK, WAL_BLOCK);
    memset(block, 0, WAL_BLOCK);
    struct wal_segment_footer *f = (struct wal_segment_footer *)(void *)block;
    memcpy(f->magic, WAL_FOOTER_MAGIC, sizeof f->magic);
    memcpy(f->history, w->pos.history, WAL_HISTORY_BYTES);
    f->segment = w->pos.segment;
    f->last_seq = w->pos.next_seq - 1;
    f->last_lsn = w->pos.next_lsn;
    f->chain = w->pos.chain;
    f->crc = crc32c(w->pos.salt, f, offsetof(struct wal_segment_footer, crc));
    int err = wal_fault_status(fault("wal.seal"));
    err = err != 0 ? err : io_pwrite_full(w->cur.fd, block, WAL_BLOCK, w->pos.offset);
    if (err != 0) {
        wal_die("write of a segment footer", err);
    }
    mem_free(block);
    if (w->pos.sync != WAL_SYNC_ALWAYS || !w->direct) {
        wal_barrier(w->cur.fd, "fdatasync of a segment footer");
    }
}

/* Nothing is in flight; what is written becomes durable. */
static void settle(struct wal *w)
{
    if (w->pos.sync != WAL_SYNC_ALWAYS) {
        struct wal_flight upto = wal_publish_written(w);
        must(upto.seq == w->pos.next_seq - 1);
        if (!seeded_bug("wal.bug_switch_unsynced")) {
            wal_barrier(w->cur.fd, "fdatasync of a segment");
        }
        wal_publish_synced(w, &upto);
    }
    must(wal_synced_upto(w) == w->pos.next_seq - 1);
}

/* Makes the rest of it durable before the footer says so. */
static void seal(struct wal *w)
{
    settle(w);
    write_footer(w);
}

static void leave(struct wal *w)
{
    if (w->cur.fd < 0) {
        return;
    }
    bool untouched = w->pos.offset == 0;
    if (!untouched) {
        seal(w);
    }
    io_close(w->cur.fd);
    w->cur.fd = -1;
    if (untouched) {
        wal_files_give_back(w, w->cur.number, w->cur.size);
    }
}

/* False: since the file was opened for `sync` another one is wanted. */
static bool install(struct wal *w, const struct wal_file *file, enum wal_sync sync)
{
    lock_acquire(&w->take);
    if (w->want_sync != sync) {
        lock_release(&w->take);
        return false;
    }
    w->cur = *file;
    w->pos.segment = file->number;
    atomic_store_explicit(&w->current_segment, file->number, memory_order_relaxed);
    w->pos.offset = 0;
    w->pos.size = file->size;
    w->pos.sync = sync;
    w->switching = w->trying = false;
    atomic_store_explicit(&w->room_current, file->size, memory_order_relaxed);
    wal_publish_mode(w, sync); /* under take: who finds the new mode there can rely on it */
    lock_release(&w->take);
    wal_admission_changed(w); /* wakes for the mode, too */
    return true;
}

/* A mode that nobody wants any more (wal_set_sync() gave up for want of space) must not act for a
 * moment either: replies leave by it. */
static void begin(struct wal *w, struct wal_file *next)
{
    for (;;) {
        lock_acquire(&w->take);
        enum wal_sync sync = w->want_sync;
        lock_release(&w->take);
        next->fd = wal_segment_open(w, next->number, sync);
        if (next->fd < 0) {
            wal_die("open of a prepared segment", next->fd);
        }
        if (install(w, next, sync)) {
            return;
        }
        io_close(next->fd);
    }
}

static void give_up(struct wal *w, int err)
{
    lock_acquire(&w->take);
    w->failed = err;
    w->switching = w->trying = false;
    lock_release(&w->take);
}

/* ---- Only the mode asks for another one ----
 *
 * There is room left in the current segment. It is not sealed before there is another one: when the
 * disk is full and the mode is given up, the log goes on in it, and so does a later start. */

static bool try_for_mode(struct wal *w, uint64_t need)
{
    lock_acquire(&w->take);
    w->trying = need == 0 && w->cur.fd >= 0 && w->pos.offset != 0 && wal_group_fits_empty(w);
    bool tries = w->trying;
    lock_release(&w->take);
    return tries;
}

/* Nobody wants the mode any more. */
bool wal_switch_pointless(struct wal *w)
{
    lock_acquire(&w->take);
    bool pointless = w->trying && w->want_sync == w->pos.sync;
    lock_release(&w->take);
    return pointless;
}

static void stay(struct wal *w)
{
    lock_acquire(&w->take);
    w->switching = w->trying = false;
    lock_release(&w->take);
    wal_event(w); /* for the other writers, and for who gave the mode up */
}

/* Leaves the current segment, if any, for one of at least `need` bytes (0: whatever there is).
 * Waits for space; it returns an error only when the log is being stopped meanwhile, or -ECANCELED:
 * the mode it was for is not wanted any more, the segment is the old one. */
int wal_switch_segment(struct wal *w, uint64_t need)
{
    (void)fault("wal.switch");
    bool tries = try_for_mode(w, need);
    if (tries) {
        settle(w); /* no timed sync runs while it switches */
    } else {
        leave(w);
    }
    struct wal_file next = { .fd = -1 };
    int err = wal_files_next(w, need, &next);
    if (err == 0) {
        if (tries) {
            leave(w);
        }
        begin(w, &next);
    } else if (err == -ECANCELED) {
        stay(w);
    } else {
        give_up(w, err);
    }
    wal_kick_writers(w);
    wal_kick_syncer(w);
    return err;
}
