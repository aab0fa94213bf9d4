/* files.c -- Segment files: made ahead of time, zeroed and durable, so that a writer never waits
 * for the file system.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Overwriting blocks that are written already makes a barrier data-only. That needs
 * files full of zeros before they are used: create, write zeros, fsync, rename into place, fsync
 * the directory.
 * THREADS     The preparer keeps two ready; writers take them.
 * LOCKS       files. Never across I/O: the preparer alone changes files that are not in use, and a
 * writer that takes one meanwhile takes only what is listed.
 * FAILURE     Whatever keeps a file from being prepared (no space above all) leaves nothing behind
 * and is tried again until it works. Only when a writer has nothing to go on with, or soon will not
 * have, does it become WAL_NOSPACE. A directory that cannot be synced ends the process: nobody
 * knows which names are durable. */
#include "base/fault.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "wal/wal_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define READY_TARGET 2
#define ZERO_BYTES   ((size_t)128 * 1024) /* one write; between two of them others get the disk */
#define PACE_US      4000                 /* pause between them while there is no hurry */
#define RETRY_US     200000               /* after a failure */

/* ---- Names ---- */

void wal_history_path(const struct wal *w, const uint8_t history[WAL_HISTORY_BYTES], char *dst)
{
    char hex[2 * WAL_HISTORY_BYTES + 1] = "";
    hex_encode(history, WAL_HISTORY_BYTES, hex);
    must(snprintf(dst, WAL_PATH_MAX, "%s/%s", w->dir, hex) < WAL_PATH_MAX);
}

void wal_segment_path(const struct wal *w, const uint8_t history[WAL_HISTORY_BYTES],
                      uint64_t number, char *dst)
{
    wal_history_path(w, history, dst);
    size_t n = strlen(dst);
    must(snprintf(dst + n, WAL_PATH_MAX - n, "/%020llu.wal", (unsigned long long)number) <
         (int)(WAL_PATH_MAX - n));
}

/* ---- Making one ---- */

/* There is no point in filling a disk to its last block just to find that it does not suffice. */
static int enough_space(const char *dir, uint64_t bytes)
{
    struct statvfs fs;
    if (statvfs(dir, &fs) != 0) {
        return -errno;
    }
    return (uint64_t)fs.f_bavail * fs.f_frsize >= bytes ? 0 : -ENOSPC;
}

/* Zeros at full speed delay every barrier. There is no hurry while a file is in reserve or half of
 * the current one is free: a log that grows faster than zeros at leisure soon gets below that. */
static bool urgent(struct wal *w)
{
    lock_acquire(&w->files);
    bool waited_for = w->need_bytes != 0, reserve = w->nready > 0;
    lock_release(&w->files);
    return waited_for || (!reserve && atomic_load_explicit(&w->room_current, memory_order_relaxed) <
                                          w->cfg.segment_bytes / 2);
}

static int write_zeros(struct wal *w, int fd, uint64_t from, uint64_t to)
{
    uint8_t *zeros = mem_map(ZERO_BYTES);
    int err = 0;
    while (err == 0 && from < to) {
        uint64_t n = u64_min(ZERO_BYTES, to - from);
        err = wal_fault_status(fault("wal.segment_zero"));
        err = err != 0 ? err : io_pwrite_full(fd, zeros, n, from);
        from += n;
        if (atomic_load_explicit(&w->preparer_stop, memory_order_relaxed)) {
            err = -ECANCELED;
        } else if (err == 0 && from < to && w->running && !urgent(w)) {
            usleep(PACE_US);
        }
    }
    mem_unmap(zeros, ZERO_BYTES);
    return err;
}

static int open_direct(struct wal *w, const char *path, int flags)
{
    return io_open(path, flags | (w->direct ? O_DIRECT : 0), 0600);
}

static int fill(struct wal *w, int fd, uint64_t size, const struct wal_segment_header *first)
{
    int err = write_zeros(w, fd, 0, size);
    if (err == 0 && first != NULL) {
        uint8_t *block = mem_aligned(WAL_BLOCK, WAL_BLOCK);
        memcpy(block, first, WAL_BLOCK);
        err = io_pwrite_full(fd, block, WAL_BLOCK, 0);
        mem_free(block);
    }
    if (err == 0) {
        err = wal_fault_status(fault("wal.segment_sync"));
    }
    return err != 0 ? err : io_fsync(fd);
}

/* The names in the directory become durable. A failure is final. */
void wal_sync_dir(const char *dir)
{
    if (seeded_bug("wal.bug_no_dir_sync")) {
        return;
    }
    int err = wal_fault_status(fault("wal.dir_sync"));
    err = err != 0 ? err : io_fsync_dir(dir);
    if (err != 0) {
        wal_die("fsync of a log directory", err);
    }
}

/* Creates segment `number`, full of zeros but for `first`, its header, if given. Durable with its
 * name when it returns 0; otherwise nothing is left of it. */
int wal_file_create(struct wal *w, uint64_t number, uint64_t size,
                    const struct wal_segment_header *first)
{
    char dir[WAL_PATH_MAX], path[WAL_PATH_MAX], tmp[WAL_PATH_MAX + 4];
    wal_history_path(w, w->pos.history, dir);
    wal_segment_path(w, w->pos.history, number, path);
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    int err = enough_space(dir, size);
    err = err != 0 ? err : wal_fault_status(fault("wal.segment_create"));
    if (err != 0) {
        return err;
    }
    int fd = open_direct(w, tmp, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0) {
        return fd;
    }
    err = fill(w, fd, size, first);
    io_close(fd);
    if (err == 0) {
        err = wal_fault_status(fault("wal.segment_rename"));
        err = err != 0 ? err : io_rename(tmp, path);
    }
    if (err != 0) {
        (void)unlink(tmp); /* not through the seam: it is the clean-up of a failure */
        return err;
    }
    wal_sync_dir(dir);
    return 0;
}

/* A record larger than a segment: the next file grows. */
static int file_grow(struct wal *w, uint64_t number, uint64_t from, uint64_t to)
{
    char dir[WAL_PATH_MAX], path[WAL_PATH_MAX];
    wal_history_path(w, w->pos.history, dir);
    wal_segment_path(w, w->pos.history, number, path);
    int err = enough_space(dir, to - from);
    if (err != 0) {
        return err;
    }
    int fd = open_direct(w, path, O_WRONLY);
    if (fd < 0) {
        return fd;
    }
    err = write_zeros(w, fd, from, to);
    err = err != 0 ? err : io_fsync(fd);
    if (err != 0) {
        int undone = io_truncate(fd, from);
        if (undone != 0) {
            log_warning("WAL: %s keeps %llu bytes that it does not need: %s", path,
                        (unsigned long long)(to - from), strerror(-undone));
        }
    }
    io_close(fd);
    return err;
}

/* ---- The list ---- */

static void count_locked(struct wal *w)
{
    lock_assert_held(&w->files);
    uint64_t room = 0;
    for (unsigned i = 0; i < w->nready; i++) {
        room += w->ready[i].size;
    }
    atomic_store_explicit(&w->room_ready, room, memory_order_relaxed);
    atomic_store_explicit(&w->prepared, w->nready, memory_order_relaxed);
}

static void push_locked(struct wal *w, uint64_t number, uint64_t size)
{
    lock_assert_held(&w->files);
    must(w->nready < WAL_READY_MAX);
    w->ready[w->nready++] = (struct wal_file){ number, size, -1 };
    w->next_number = number + 1;
    count_locked(w);
}

static bool suffices_locked(const struct wal *w, uint64_t need)
{
    return w->nready > 0 && w->ready[0].size >= need;
}

void wal_files_give_back(struct wal *w, uint64_t number, uint64_t size)
{
    lock_acquire(&w->files);
    must(w->nready < WAL_READY_MAX);
    memmove(&w->ready[1], &w->ready[0], w->nready * sizeof w->ready[0]);
    w->ready[0] = (struct wal_file){ number, size, -1 };
    w->nready++;
    count_locked(w);
    lock_release(&w->files);
    atomic_fetch_sub_explicit(&w->segments, 1, memory_order_relaxed);
}

static void kick_preparer(struct wal *w)
{
    atomic_fetch_add_explicit(&w->preparer_kick, 1, memory_order_seq_cst);
    futex_wake(&w->preparer_kick, 1);
}

/* The next file, at least `need` bytes long. Waits until there is one; -errno (why there is none)
 * when the log is being stopped, -ECANCELED when it is for a mode that nobody wants any more. */
int wal_files_next(struct wal *w, uint64_t need, struct wal_file *out)
{
    for (;;) {
        uint32_t seen = wal_events(w);
        bool pointless = wal_switch_pointless(w);
        lock_acquire(&w->files);
        bool got = !pointless && suffices_locked(w, need);
        if (got) {
            *out = w->ready[0];
            w->nready--;
            memmove(&w->ready[0], &w->ready[1], w->nready * sizeof w->ready[0]);
            count_locked(w);
        }
        w->need_bytes = got || pointless ? 0 : u64_max(need, 1);
        lock_release(&w->files);
        kick_preparer(w);
        int why = atomic_load_explicit(&w->last_errno, memory_order_relaxed);
        bool failing = wal_state(w) == WAL_NOSPACE;
        atomic_store_explicit(&w->holding, !got && !pointless && failing, memory_order_seq_cst);
        if (got) {
            atomic_fetch_add_explicit(&w->segments, 1, memory_order_relaxed);
            return 0;
        }
        if (pointless) {
            return -ECANCELED;
        }
        if (failing && atomic_load_explicit(&w->give_up, memory_order_relaxed)) {
            return -why;
        }
        wal_event_wait(w, seen, -1);
    }
}

/* ---- The preparer ---- */

enum work { WORK_NONE, WORK_CREATE, WORK_GROW };

static enum work next_work(struct wal *w, uint64_t *number, uint64_t *from, uint64_t *to)
{
    enum work work = WORK_NONE;
    lock_acquire(&w->files);
    *to = u64_max(w->need_bytes, w->cfg.segment_bytes);
    if (w->need_bytes != 0 && w->nready > 0 && w->ready[0].size < w->need_bytes) {
        work = WORK_GROW;
        *number = w->ready[0].number;
        *from = w->ready[0].size;
    } else if (w->nready < READY_TARGET) {
        work = WORK_CREATE;
        *number = w->next_number;
        *to = w->nready == 0 ? *to : w->cfg.segment_bytes;
    }
    lock_release(&w->files);
    return work;
}

static void set_state(struct wal *w, int err)
{
    lock_acquire(&w->files);
    bool wanting = w->nready == 0 || (w->need_bytes != 0 && !suffices_locked(w, w->need_bytes));
    lock_release(&w->files);
    uint32_t state = err != 0 && wanting ? WAL_NOSPACE : WAL_OK;
    if (err != 0) {
        atomic_store_explicit(&w->last_errno, -err, memory_order_relaxed);
    }
    uint32_t was = atomic_exchange_explicit(&w->state, state, memory_order_seq_cst);
    if (was != state && state == WAL_NOSPACE) {
        log_warning("WAL: no segment can be prepared: %s. Writes are refused until one can.",
                    strerror(-err));
    } else if (was != state) {
        log_notice("WAL: segments can be prepared again; writes are accepted.");
    }
}

enum outcome { NOTHING_TO_DO, PREPARED, FAILED };

static enum outcome prepare_one(struct wal *w)
{
    uint64_t number = 0, from = 0, to = 0;
    enum work work = next_work(w, &number, &from, &to);
    if (work == WORK_NONE) {
        return NOTHING_TO_DO;
    }
    int err =
        work == WORK_CREATE ? wal_file_create(w, number, to, NULL) : file_grow(w, number, from, to);
    if (err == -ECANCELED) {
        return FAILED;
    }
    if (err == 0) {
        lock_acquire(&w->files);
        if (work == WORK_CREATE) {
            push_locked(w, number, to);
        } else {
            must(w->ready[0].number == number);
            w->ready[0].size = to;
            count_locked(w);
        }
        lock_release(&w->files);
    }
    set_state(w, err);
    wal_admission_changed(w);
    wal_event(w);
    return err == 0 ? PREPARED : FAILED;
}

static void *preparer_main(void *arg)
{
    struct wal *w = arg;
    mem_thread_start();
    for (;;) {
        uint32_t seen = atomic_load_explicit(&w->preparer_kick, memory_order_seq_cst);
        if (atomic_load_explicit(&w->preparer_stop, memory_order_seq_cst)) {
            break;
        }
        enum outcome outcome = prepare_one(w);
        if (outcome != PREPARED) {
            futex_wait(&w->preparer_kick, seen, outcome == FAILED ? RETRY_US : -1);
        }
    }
    mem_thread_stop();
    return NULL;
}

/* Files above the position exist from the last run; recovery has made sure that they are zero. */
static void adopt_prepared_locked(struct wal *w)
{
    lock_assert_held(&w->files);
    char path[WAL_PATH_MAX];
    struct stat st;
    w->next_number = w->pos.offset != 0 ? w->pos.segment + 1 : w->pos.segment;
    while (w->nready < WAL_READY_MAX - 1) { /* one place is kept for a file given back */
        wal_segment_path(w, w->pos.history, w->next_number, path);
        if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size % WAL_BLOCK != 0 ||
            st.st_size < (off_t)WAL_SEGMENT_MIN) {
            break; /* a file made under this number replaces what is there */
        }
        push_locked(w, w->next_number, (uint64_t)st.st_size);
    }
}

int wal_files_start(struct wal *w)
{
    lock_acquire(&w->files);
    adopt_prepared_locked(w);
    lock_release(&w->files);
    int err = thread_start(&w->preparer, "wal-prepare", preparer_main, w);
    w->preparing = err == 0;
    return err;
}

void wal_files_stop(struct wal *w)
{
    if (w->preparing) {
        atomic_store_explicit(&w->preparer_stop, true, memory_order_seq_cst);
        kick_preparer(w);
        pthread_join(w->preparer, NULL);
        w->preparing = false;
    }
}
