/* repair.c -- The only writes of recovery: the accepted tail once more, zeros behind the end, and
 * copies of damaged files.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         After a failed barrier a batch may be readable and yet be lost by the next power cut.
 *             Nobody was told of it, but everybody will see it now: so it is written and synced
 *             again first, as are the names it is found by. What follows the end goes, so that
 *             nothing of it is ever taken for the continuation of what will be written there.
 * THREADS     One, before the log's own threads run.
 * INVARIANTS  Each step repeats with the same result: the tail is rewritten with the same bytes,
 *             the zeros take nothing that was accepted, copies get their name when complete.
 * FAILURE     -errno; the next start does it all again. */
#include "base/fault.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include "wal/walk.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int open_for_writing(const struct wal_history_info *h, uint64_t number)
{
    char *path = wal_lineage_file(h, number);
    int fd = io_open(path, O_WRONLY, 0);
    mem_free(path);
    return fd;
}

/* Keeps err, else takes the result of fsync; closes fd. */
static int sync_and_close(int fd, int err)
{
    if (err == 0) {
        err = io_fsync(fd);
    }
    io_close(fd);
    return err;
}

/* ---- The accepted tail ---- */

/* What stands in one file from w->at on, up to `to`. */
static int rewrite_segment(struct wal_walk *w, const struct wal_mark *to)
{
    unsigned segment = w->at.segment;
    int fd = open_for_writing(w->h, w->h->segment[segment].number);
    if (fd < 0) {
        return fd;
    }
    int err = 0;
    while (err == 0 && w->at.segment == segment &&
           (segment != to->segment || w->at.offset != to->offset)) {
        struct wal_item item;
        unsigned in;
        err = wal_walk_look(w, &in, &item);
        if (err == 0 && in != 0) {
            err = (in & WAL_IN_ERROR) != 0 ? -EIO : WAL_E_DAMAGED;
        }
        if (err == 0) {
            err = io_pwrite_full(fd, item.bytes_at, item.bytes, w->at.offset);
        }
        if (err == 0) {
            wal_walk_take(w, &item);
        }
    }
    return sync_and_close(fd, err);
}

static int rewrite_tail(struct wal_recovery *r)
{
    struct wal_walk w;
    int err = 0;
    if (seeded_bug("wal.bug_tail_not_rewritten")) {
        return 0;
    }
    wal_walk_begin(&w, &r->history[r->last], r->from, r->how, NULL);
    while (err == 0 && (w.at.segment != r->at.segment || w.at.offset != r->at.offset)) {
        err = rewrite_segment(&w, &r->at);
    }
    wal_walk_end(&w);
    return err;
}

/* ---- Zeros behind the end ---- */

static int write_zeros(int fd, uint64_t from, uint64_t to)
{
    static const uint8_t zeros[1 << 16];
    int err = 0;
    for (uint64_t n; err == 0 && from < to; from += n) {
        n = u64_min(to - from, sizeof zeros);
        err = io_pwrite_full(fd, zeros, n, from);
    }
    return err;
}

/* What is missing at the end of a file, if the disk has room for it: to write until it is full
 * would take space from everybody and end in the same error. */
static int restore_size(int fd, uint64_t from, uint64_t to)
{
    struct statvfs fs;
    if (fstatvfs(fd, &fs) != 0) {
        return -errno;
    }
    return (uint64_t)fs.f_bavail * fs.f_frsize < to - from ? -ENOSPC : write_zeros(fd, from, to);
}

/* Also restores the size of a file that was cut short. */
static int zero_segment(const struct wal_history_info *h, const struct wal_segment_info *s)
{
    bool shorter = s->used && s->bytes < s->size;
    if (s->dirty_to == 0 && !shorter) {
        return 0;
    }
    int fd = open_for_writing(h, s->number);
    if (fd < 0) {
        return fd;
    }
    int err = write_zeros(fd, s->dirty_from, s->dirty_to);
    if (err == 0 && shorter) {
        err = restore_size(fd, s->bytes, s->size);
    }
    return sync_and_close(fd, err);
}

static int zero_rest(struct wal_recovery *r)
{
    struct wal_history_info *h = &r->history[r->last];
    int err = 0;
    for (unsigned i = r->at.segment; i < h->nsegments && err == 0; i++) {
        err = zero_segment(h, &h->segment[i]);
    }
    return err;
}

/* ---- Damaged files, set aside ---- */

/* A block that cannot be read is zero in the copy. */
static int copy_bytes(struct wal_reader *from, int to)
{
    static const uint8_t zeros[WAL_BLOCK];
    int err = 0;
    for (uint64_t at = 0; err == 0 && at < from->size; at += WAL_BLOCK) {
        const uint8_t *p;
        size_t n = (size_t)u64_min(WAL_BLOCK, from->size - at);
        int unreadable = wal_reader_need(from, at, n, &p);
        if (unreadable == -ENOMEM) {
            return unreadable;
        }
        err = io_pwrite_full(to, unreadable != 0 ? zeros : p, n, at);
    }
    return err;
}

static int copy_file(const struct wal_history_info *h, uint64_t number, const char *dir,
                     enum wal_read_how how)
{
    struct wal_reader from;
    char *path = wal_lineage_file(h, number);
    int err = wal_reader_open(&from, path, how, NULL);
    mem_free(path);
    if (err != 0) {
        return err == -ENOENT ? 0 : err;
    }
    struct buf b = { NULL, 0, 0 };
    buf_printf(&b, "%s/%020llu.wal%c", dir, (unsigned long long)number, '\0');
    int to = io_open(b.p, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    buf_free(&b);
    err = to < 0 ? to : sync_and_close(to, copy_bytes(&from, to));
    wal_reader_close(&from);
    return err;
}

static int copy_damaged(const struct wal_recovery *r, const char *tmp)
{
    const struct wal_history_info *h = &r->history[r->damaged_history];
    int err = io_mkdir(tmp, 0700);
    for (unsigned i = r->damaged.segment; i < h->nsegments && err == 0; i++) {
        err = copy_file(h, h->segment[i].number, tmp, r->how);
    }
    return err == 0 ? io_fsync_dir(tmp) : err;
}

/* Copies what was given up to <dir>/damaged-<history>-<batch>, unless an earlier start did. */
static int set_aside(const struct wal_recovery *r, const char *dir)
{
    char hex[2 * WAL_HISTORY_BYTES + 1] = { 0 };
    hex_encode(r->history[r->damaged_history].id, WAL_HISTORY_BYTES, hex);
    struct buf name = { NULL, 0, 0 }, tmp = { NULL, 0, 0 };
    buf_printf(&name, "%s/damaged-%s-%llu%c", dir, hex, (unsigned long long)r->damaged.seq, '\0');
    buf_printf(&tmp, "%s.tmp%c", name.p, '\0');
    int err = 0;
    if (access(name.p, F_OK) != 0) {
        err = copy_damaged(r, tmp.p);
        if (err == 0) {
            err = io_rename(tmp.p, name.p);
        }
        if (err == 0) {
            err = io_fsync_dir(dir);
        }
        if (err == 0) {
            log_warning(
                "wal: forced recovery gives up everything after LSN %llu; the damaged files "
                "are copied to %s",
                (unsigned long long)r->at.lsn, name.p);
        }
    }
    buf_free(&name);
    buf_free(&tmp);
    return err;
}

/* The last process may have been killed between a rename and the sync of its directory: CURRENT and
 * the segments are seen, but not yet there for sure. */
static int sync_names(const struct wal_recovery *r, const char *dir)
{
    if (seeded_bug("wal.bug_names_not_synced")) {
        return 0;
    }
    int err = io_fsync_dir(r->history[r->last].path);
    return err == 0 ? io_fsync_dir(dir) : err;
}

int wal_recovery_repair(struct wal_recovery *r, const char *dir, bool fork)
{
    int err = sync_names(r, dir);
    if (err == 0) {
        err = rewrite_tail(r);
    }
    if (err == 0 && r->forced) {
        err = set_aside(r, dir);
    }
    (void)fault("wal.repair");
    /* Behind a fork nothing of this history is read or written any more: what is there stays. */
    if (err == 0 && !fork && !seeded_bug("wal.bug_remains_kept")) {
        err = zero_rest(r);
    }
    return err;
}
