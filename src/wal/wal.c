/* wal.c -- Opening, starting and stopping the log, and what can be asked of it.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * LIFE        wal_open (lock, CURRENT, classify) -> wal_replay, or wal_open (lock, CURRENT) ->
 *             wal_load (both at once); -> wal_start (cut, history, threads)
 *             -> appends -> wal_stop (drain, mark the end, join) -> wal_free
 * THREADS     The main thread; wal_stats and wal_state: any. */
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "wal/wal_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- Open ---- */

static bool config_valid(const struct wal_config *cfg)
{
    return cfg->dir != NULL && strlen(cfg->dir) < WAL_PATH_MAX / 2 && cfg->producers >= 1 &&
           cfg->producers <= WAL_PRODUCERS_MAX && cfg->depth >= 1 && cfg->depth <= WAL_DEPTH_MAX &&
           cfg->segment_bytes >= WAL_SEGMENT_MIN && cfg->segment_bytes <= WAL_SEGMENT_MAX &&
           cfg->segment_bytes % WAL_BLOCK == 0 && cfg->queue_bytes > 0;
}

static struct wal *wal_new(const struct wal_config *cfg)
{
    struct wal *w = mem_aligned(64, sizeof *w);
    memset(w, 0, sizeof *w);
    w->cfg = *cfg;
    struct buf dir = { NULL, 0, 0 };
    buf_printf(&dir, "%s/wal", cfg->dir);
    w->dir = mem_dup(dir.p, dir.n);
    buf_free(&dir);
    w->cfg.dir = mem_strdup(cfg->dir);
    w->lock_fd = -1;
    w->cur.fd = -1;
    lock_init(&w->take, RANK_WAL_TAKE, 0);
    lock_init(&w->publish, RANK_WAL_PUBLISH, 0);
    lock_init(&w->files, RANK_WAL_FILES, 0);
    wal_queues_init(w);
    w->pos.next_seq = 1;
    return w;
}

static void tell_position(struct wal *w, const struct wal_report *report)
{
    atomic_store(&w->segments, report->segments);
    atomic_store(&w->current_segment, w->pos.segment);
    atomic_store(&w->current_seq, w->pos.next_seq - 1);
    atomic_store(&w->mode, w->pos.sync);
}

int wal_open(struct wal **out, const struct wal_config *cfg, struct wal_report *report)
{
    memset(report, 0, sizeof *report);
    if (!config_valid(cfg)) {
        return -EINVAL;
    }
    struct wal *w = wal_new(cfg);
    int err = wal_lock_directory(w);
    if (err == 0) {
        err = wal_current_read(w, report);
    }
    if (err == 0 && !w->pos.created && !cfg->judge_later) {
        err = wal_recover_scan(w, NULL, report);
    }
    if (err != 0) {
        wal_free(w);
        return err;
    }
    tell_position(w, report);
    *out = w;
    return 0;
}

int wal_load(struct wal *w, const struct wal_replay *r, struct wal_report *report)
{
    must(w->cfg.judge_later && !w->running && w->recovery == NULL);
    if (w->pos.created) {
        return 0;
    }
    int err = wal_recover_scan(w, r, report);
    if (err == 0) {
        tell_position(w, report);
    }
    return err;
}

/* ---- Start ---- */

/* Some file systems take O_DIRECT at open and refuse it at the first write: try one. A write that
 * fails for want of space says nothing against O_DIRECT. */
static int probe_direct(struct wal *w)
{
    if (w->cfg.buffered) {
        return 0;
    }
    char path[WAL_PATH_MAX];
    must(snprintf(path, sizeof path, "%s/probe.tmp", w->dir) < (int)sizeof path);
    int fd = io_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT | O_DSYNC, 0600);
    int err = fd < 0 ? fd : 0;
    if (fd >= 0) {
        uint8_t *block = mem_aligned(WAL_BLOCK, WAL_BLOCK);
        memset(block, 0, WAL_BLOCK);
        err = io_pwrite_full(fd, block, WAL_BLOCK, 0);
        mem_free(block);
        io_close(fd);
        (void)unlink(path);
    }
    w->direct = err == 0 || err == -ENOSPC || err == -EDQUOT;
    return err == -EINVAL || err == -EOPNOTSUPP || w->direct ? 0 : err;
}

static int open_current(struct wal *w)
{
    must(w->pos.segment != 0);
    w->want_sync = w->cfg.sync;
    if (w->pos.offset != 0) {
        int fd = wal_segment_open(w, w->pos.segment, w->pos.sync);
        if (fd < 0) {
            return fd;
        }
        w->cur = (struct wal_file){ w->pos.segment, w->pos.size, fd };
    }
    if (w->cur.fd < 0 || w->pos.sync != w->cfg.sync || !wal_group_fits_empty(w)) {
        return wal_switch_segment(w, 0);
    }
    return 0;
}

/* One batch by hand, durable in every mode; no writer runs. */
static void write_empty_batch(struct wal *w, uint16_t flags)
{
    struct wal_group *g = &w->writers[0].group;
    lock_acquire(&w->take);
    wal_group_empty(w, g, flags);
    lock_release(&w->take);
    wal_write_group(w, g);
    if (g->sync != WAL_SYNC_ALWAYS) {
        wal_barrier(g->fd, "fdatasync of a segment");
        struct wal_flight upto = wal_publish_written(w);
        wal_publish_synced(w, &upto);
    }
}

static void writers_new(struct wal *w)
{
    w->nwriters = w->direct ? w->cfg.depth : 1;
    w->writers = mem_aligned(64, w->nwriters * sizeof *w->writers);
    memset(w->writers, 0, w->nwriters * sizeof *w->writers);
    for (unsigned i = 0; i < w->nwriters; i++) {
        w->writers[i].w = w;
        w->writers[i].id = i;
        wal_group_init(&w->writers[i].group);
    }
}

static int start_threads(struct wal *w)
{
    int err = thread_start(&w->syncer, "wal-sync", wal_sync_main, w);
    w->syncer_runs = err == 0;
    return err != 0 ? err : wal_writers_start(w);
}

/* Before the threads run: afterwards the position is theirs. */
static void tell(const struct wal *w)
{
    const char *how = w->pos.sync != WAL_SYNC_ALWAYS ? "synced apart"
                      : w->direct                    ? "O_DIRECT|O_DSYNC"
                                                     : "write and fdatasync";
    log_notice("WAL: appendfsync %s (%s), segment %llu, LSN %llu", wal_sync_name(w->pos.sync), how,
               (unsigned long long)w->pos.segment, (unsigned long long)w->pos.next_lsn);
}

int wal_start(struct wal *w)
{
    must(!w->running && (w->pos.created || w->recovery != NULL));
    int err = probe_direct(w);
    if (err == 0 && !w->pos.created) {
        err = wal_recover_finish(w);
    }
    if (err == 0) {
        err = wal_history_start(w);
    }
    if (err != 0) {
        return err;
    }
    writers_new(w);
    wal_publish_init(w);
    w->running = true;
    atomic_store(&w->give_up, true); /* at start, do not wait for space */
    err = wal_files_start(w);
    err = err != 0 ? err : open_current(w);
    if (err == 0) {
        wal_publish_mode(w, w->pos.sync);
        write_empty_batch(w, 0);
        atomic_store(&w->give_up, false);
        tell(w);
        err = start_threads(w);
    }
    if (err != 0) {
        if (w->cfg.whole) {
            wal_discard(w);
        } else {
            int stopped = wal_stop(w);
            (void)stopped; /* it ends because of err */
        }
        return err;
    }
    return 0;
}

/* ---- Stop ---- */

static void join_threads(struct wal *w)
{
    lock_acquire(&w->take);
    w->stopping = true;
    lock_release(&w->take);
    wal_kick_writers(w);
    for (; w->started > 0; w->started--) {
        pthread_join(w->writers[w->started - 1].thread, NULL);
    }
    if (w->syncer_runs) {
        wal_kick_syncer(w);
        pthread_join(w->syncer, NULL);
        w->syncer_runs = false;
    }
}

/* Everything appended is written: makes it durable, and then says so on disk. */
static void end_log(struct wal *w)
{
    if (w->pos.sync != WAL_SYNC_ALWAYS) {
        struct wal_flight upto = wal_publish_written(w);
        wal_barrier(w->cur.fd, "fdatasync of a segment");
        wal_publish_synced(w, &upto);
    }
    write_empty_batch(w, WAL_BATCH_CLEAN_END);
}

/* `mark`: write the end, too. */
static int finish(struct wal *w, bool mark)
{
    int err = 0;
    if (w->running) {
        bool serving = w->started == w->nwriters;
        atomic_store(&w->give_up, true);
        join_threads(w);
        wal_files_stop(w);
        err = w->failed;
        if (serving && mark && err == 0) {
            end_log(w);
        }
        w->running = false;
    }
    if (w->cur.fd >= 0) {
        io_close(w->cur.fd);
        w->cur.fd = -1;
    }
    return err;
}

static void unlock_directory(struct wal *w)
{
    if (w->lock_fd >= 0) {
        io_close(w->lock_fd);
        w->lock_fd = -1;
    }
}

int wal_stop(struct wal *w)
{
    int err = finish(w, true);
    unlock_directory(w);
    return err;
}

void wal_discard(struct wal *w)
{
    (void)!finish(w, false);
    if (w->lock_fd >= 0) {
        wal_history_remove(w);
    }
    unlock_directory(w);
}

void wal_free(struct wal *w)
{
    if (w == NULL) {
        return;
    }
    must(!w->running);
    unlock_directory(w);
    wal_recover_free(w);
    wal_queues_free(w);
    for (unsigned i = 0; i < w->nwriters; i++) {
        wal_group_free(&w->writers[i].group);
    }
    mem_free(w->writers);
    mem_free(w->dir);
    mem_free((char *)(uintptr_t)w->cfg.dir);
    mem_free(w);
}

/* ---- Administration ---- */

/* Replies leave by it, also when the segment in it is full already and the next one is being
 * looked for. */
static bool switched_to(struct wal *w, enum wal_sync sync)
{
    lock_acquire(&w->take);
    bool done = w->pos.sync == sync;
    lock_release(&w->take);
    return done;
}

static void want_sync(struct wal *w, enum wal_sync sync)
{
    lock_acquire(&w->take);
    w->want_sync = sync;
    lock_release(&w->take);
    wal_kick_writers(w);
}

/* False: it acts already. */
static bool unwant_sync(struct wal *w, enum wal_sync sync, enum wal_sync before)
{
    lock_acquire(&w->take);
    bool acts = w->pos.sync == sync;
    w->want_sync = acts ? sync : before;
    lock_release(&w->take);
    wal_kick_writers(w);
    return !acts;
}

/* Until the log goes on where it was, or has left it all the same, since there was space again. */
static void await_unwanted(struct wal *w)
{
    for (;;) {
        uint32_t seen = wal_events(w);
        lock_acquire(&w->take);
        bool tries = w->trying;
        lock_release(&w->take);
        if (!tries) {
            return;
        }
        wal_event_wait(w, seen, -1);
    }
}

int wal_set_sync(struct wal *w, enum wal_sync sync)
{
    enum wal_sync before = (enum wal_sync)atomic_load(&w->mode);
    uint64_t appended = wal_tail(w);
    want_sync(w, sync);
    for (;;) {
        uint32_t seen = wal_events(w);
        if (switched_to(w, sync)) {
            /* An error would mean the old mode, and it is the new one that acts: what was appended
             * before waits for space. */
            (void)!wal_wait_until(w, appended);
            return 0;
        }
        /* No space for the segment that the switch needs. */
        if (atomic_load(&w->holding) && unwant_sync(w, sync, before)) {
            await_unwanted(w);
            return -atomic_load(&w->last_errno);
        }
        wal_event_wait(w, seen, -1);
    }
}

void wal_delay_writes(struct wal *w, int64_t us)
{
    atomic_store_explicit(&w->write_delay_us, us, memory_order_relaxed);
}

enum wal_state wal_state(const struct wal *w)
{
    return (enum wal_state)atomic_load_explicit(&w->state, memory_order_seq_cst);
}

const uint8_t *wal_history(const struct wal *w)
{
    return w->pos.history;
}
