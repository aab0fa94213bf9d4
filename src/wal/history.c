/* history.c -- Which log is the log: the lock on the directory, CURRENT, and the birth of a
 * history.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         A history begins where the log cannot simply go on: a first start, a fork, a whole
 * keyspace written anew. Its first segment, whose header tells where it comes from, is durable
 * before CURRENT names it; so after a crash CURRENT names either the old one or a complete start of
 * the new one. What a crash leaves behind is a history that nobody names and that holds no record.
 * THREADS     The main thread, while no writer runs; wal_make_current and wal_history_remove: an
 * administration thread. */
#include "base/fault.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "wal/wal_int.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEX_DIGITS ((size_t)(2 * WAL_HISTORY_BYTES))

/* ---- The lock ---- */

int wal_lock_directory(struct wal *w)
{
    int err = io_mkdir(w->dir, 0700);
    if (err != 0) {
        return err;
    }
    char path[WAL_PATH_MAX];
    snprintf(path, sizeof path, "%s/LOCK", w->dir);
    int fd = io_open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0) {
        return fd;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        err = errno == EWOULDBLOCK ? WAL_E_LOCKED : -errno;
        io_close(fd);
        return err;
    }
    w->lock_fd = fd;
    return 0;
}

/* ---- CURRENT ---- */

static void current_path(const struct wal *w, char *dst)
{
    must(snprintf(dst, WAL_PATH_MAX, "%s/CURRENT", w->dir) < WAL_PATH_MAX);
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool history_parse(struct slice hex, uint8_t out[WAL_HISTORY_BYTES])
{
    if (hex.n != HEX_DIGITS) {
        return false;
    }
    for (size_t i = 0; i < WAL_HISTORY_BYTES; i++) {
        int high = hex_value(hex.p[2 * i]), low = hex_value(hex.p[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* Did this history ever hold a batch? The birth of one leaves its first segment alone, with nothing
 * behind the header. */
static bool in_service(const struct wal *w, const uint8_t history[WAL_HISTORY_BYTES])
{
    char path[WAL_PATH_MAX], block[WAL_BLOCK] = { 0 };
    wal_segment_path(w, history, 2, path);
    if (access(path, F_OK) == 0) {
        return true;
    }
    wal_segment_path(w, history, 1, path);
    int fd = io_open(path, O_RDONLY, 0);
    if (fd < 0) {
        return fd != -ENOENT;
    }
    ssize_t got = io_pread_full(fd, block, sizeof block, WAL_BLOCK);
    io_close(fd);
    for (ssize_t i = 0; i < got; i++) {
        if (block[i] != 0) {
            return true;
        }
    }
    return got < 0;
}

/* Without CURRENT there must be no log that was ever used: to begin an empty one beside it would
 * look like a loss of everything. */
static int refuse_if_orphaned(const struct wal *w, struct wal_report *report)
{
    DIR *d = opendir(w->dir);
    if (d == NULL) {
        return -errno;
    }
    int err = 0;
    struct dirent *entry;
    uint8_t history[WAL_HISTORY_BYTES];
    while (err == 0 && (entry = readdir(d)) != NULL) {
        if (history_parse(slice_str(entry->d_name), history) && in_service(w, history)) {
            snprintf(report->message, sizeof report->message,
                     "CURRENT is missing in %.200s, but %.40s holds a log. Restore CURRENT (it "
                     "contains the name of that directory), or move the directory away to start "
                     "empty",
                     w->dir, entry->d_name);
            err = WAL_E_FOREIGN;
        }
    }
    closedir(d);
    return err;
}

int wal_current_read(struct wal *w, struct wal_report *report)
{
    char path[WAL_PATH_MAX];
    struct buf text = { NULL, 0, 0 };
    current_path(w, path);
    int err = io_read_file(path, &text, 4096);
    if (err == -ENOENT) {
        w->pos.created = report->created = true;
        return refuse_if_orphaned(w, report);
    }
    struct slice id = buf_slice(&text);
    if (err == 0 && id.n > 0 && id.p[id.n - 1] == '\n') {
        id.n--;
    }
    if (err == 0 && !history_parse(id, w->pos.history)) {
        snprintf(report->message, sizeof report->message,
                 "CURRENT in %.400s does not name a history", w->dir);
        err = WAL_E_FOREIGN;
    }
    buf_free(&text);
    return err;
}

int wal_make_current(struct wal *w)
{
    char path[WAL_PATH_MAX], text[HEX_DIGITS + 1];
    current_path(w, path);
    hex_encode(w->pos.history, WAL_HISTORY_BYTES, text);
    text[HEX_DIGITS] = '\n';
    return atomic_replace(path, slice_of(text, sizeof text), 0600);
}

/* ---- A new history ---- */

/* A child of where the log stands, unless there is no log yet. */
static void position_at_birth(struct wal *w, uint32_t flags)
{
    bool child = !w->pos.created;
    memset(w->pos.parent, 0, WAL_HISTORY_BYTES);
    if (child) {
        memcpy(w->pos.parent, w->pos.history, WAL_HISTORY_BYTES);
    }
    w->pos.fork_lsn = child ? w->pos.next_lsn : 0;
    w->pos.fork_seq = child ? w->pos.next_seq - 1 : 0;
    w->pos.flags = flags;
    rng_secret(w->pos.history, WAL_HISTORY_BYTES);
    rng_secret(&w->pos.salt, sizeof w->pos.salt);
    w->pos.segment = 1;
    w->pos.offset = WAL_BLOCK;
    w->pos.size = w->cfg.segment_bytes;
    w->pos.sync = w->cfg.sync;
    w->pos.next_seq = 1;
    w->pos.chain = 0;
    w->pos.synced_upto = 0;
    w->pos.created = w->pos.fork = false;
}

/* Begins a history at pos.next_lsn; a child of pos.history unless pos.created. `flags`: enum
 * wal_segment_flags. On failure pos is as it was. */
static int begin(struct wal *w, uint32_t flags)
{
    struct wal_position before = w->pos;
    struct wal_segment_header *h = mem_alloc(sizeof *h);
    position_at_birth(w, flags);
    struct wal_file first = { .number = 1, .size = w->pos.size, .fd = -1 };
    wal_segment_header_make(w, h, &first);

    char dir[WAL_PATH_MAX];
    wal_history_path(w, w->pos.history, dir);
    int err = wal_fault_status(fault("wal.history"));
    err = err != 0 ? err : io_mkdir(dir, 0700);
    if (err == 0) {
        err = wal_file_create(w, 1, w->pos.size, h);
        if (err != 0) {
            (void)rmdir(dir); /* not through the seam: it is the clean-up of a failure */
        }
    }
    mem_free(h);
    if (err != 0) {
        w->pos = before;
        return err;
    }
    wal_sync_dir(w->dir);
    atomic_fetch_add(&w->segments, 1);
    return 0;
}

static int begin_current(struct wal *w)
{
    wal_sync_dir(w->cfg.dir); /* the name "wal" itself */
    int err = begin(w, 0);
    return err != 0 ? err : wal_make_current(w);
}

/* Whatever wal_start() needs before the log can be written: nothing, the first history, a child, or
 * a child that begins with the whole keyspace and is not CURRENT before wal_make_current(). */
int wal_history_start(struct wal *w)
{
    int err = 0;
    if (w->pos.created || (w->pos.fork && !w->cfg.whole)) {
        bool fork = w->pos.fork;
        err = begin_current(w);
        if (err == 0 && fork) {
            log_notice("WAL: a new history begins at LSN %llu",
                       (unsigned long long)w->pos.next_lsn);
        }
    }
    return err == 0 && w->cfg.whole ? begin(w, WAL_SEGMENT_WHOLE) : err;
}

static bool is_current(const struct wal *w)
{
    char path[WAL_PATH_MAX];
    struct buf text = { NULL, 0, 0 };
    uint8_t named[WAL_HISTORY_BYTES];
    current_path(w, path);
    /* What cannot be read might name it. */
    bool read = io_read_file(path, &text, 4096) == 0 && text.n >= HEX_DIGITS &&
                history_parse(slice_of(text.p, HEX_DIGITS), named);
    buf_free(&text);
    return !read || memcmp(named, w->pos.history, WAL_HISTORY_BYTES) == 0;
}

/* A history that never became current. Not through the seam: it is the clean-up of a failure, and
 * what stays behind is not looked at by anybody. */
void wal_history_remove(struct wal *w)
{
    char dir[WAL_PATH_MAX];
    wal_history_path(w, w->pos.history, dir);
    DIR *d = is_current(w) ? NULL : opendir(dir);
    if (d == NULL) {
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(d)) != NULL) {
        (void)unlinkat(dirfd(d), entry->d_name, 0);
    }
    closedir(d);
    (void)rmdir(dir);
}
