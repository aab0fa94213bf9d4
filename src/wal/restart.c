/* restart.c -- Recovery as the server uses it: judge the log, hand the writer its position, repair.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * THREADS     The main thread, before the log's own threads run; wal_replay_begin() and _end()
 * while they do, by whoever keeps the producers still. */
#include "base/fault.h"
#include "base/log.h"
#include "wal/recover.h"
#include "wal/wal_int.h"
#include <stdio.h>
#include <string.h>

/* Under everysec and no, replies left before their LSN was durable. After a crash those LSNs would
 * be given out again with other contents, so they continue under another name. */
static bool must_fork(const struct wal *w, const struct wal_recovery *r, enum wal_sync last)
{
    bool told = last != WAL_SYNC_ALWAYS || w->cfg.sync != WAL_SYNC_ALWAYS;
    return r->forced || (!r->clean && told && !seeded_bug("wal.bug_history_goes_on"));
}

static void set_position(struct wal *w, const struct wal_recovery *r)
{
    const struct wal_history_info *h = &r->history[r->last];
    const struct wal_segment_info *in = NULL; /* the last segment in use */
    for (unsigned i = 0; i < h->nsegments && h->segment[i].used; i++) {
        in = &h->segment[i];
    }
    struct wal_position *pos = &w->pos;
    memcpy(pos->history, h->id, WAL_HISTORY_BYTES);
    memcpy(pos->parent, h->parent, WAL_HISTORY_BYTES);
    pos->fork_lsn = h->fork_lsn;
    pos->fork_seq = h->fork_seq;
    pos->flags = h->flags;
    pos->segment = r->number;
    pos->offset = r->at.offset;
    pos->size = in != NULL ? in->size : 0;
    pos->sync = in != NULL ? in->sync : WAL_SYNC_ALWAYS;
    pos->next_seq = r->at.seq;
    pos->salt = h->salt;
    pos->chain = r->at.chain;
    pos->next_lsn = r->at.lsn;
    pos->synced_upto = r->proven;
    pos->term = r->term;
    pos->wall_ms = r->wall_ms;
    pos->fork = must_fork(w, r, pos->sync);
}

int wal_recover_scan(struct wal *w, const struct wal_replay *to, struct wal_report *report)
{
    struct wal_recovery_options o = {
        .how = w->cfg.buffered ? WAL_READ_BUFFERED : WAL_READ_DISK,
        .force = w->cfg.force_lossy_recovery,
    };
    const uint8_t *current = w->pos.history;
    int err = to == NULL ? wal_recovery_open(&w->recovery, w->dir, current, &o, report)
                         : wal_recovery_load(&w->recovery, w->dir, current, &o, to, report);
    if (err == 0) {
        set_position(w, w->recovery);
        report->new_history = w->pos.fork;
    }
    return err;
}

int wal_recover_finish(struct wal *w)
{
    int err = wal_recovery_repair(w->recovery, w->dir, w->pos.fork);
    if (err == 0) {
        w->pos.synced_upto = w->pos.next_seq - 1;
        wal_recover_free(w);
    }
    return err;
}

void wal_recover_free(struct wal *w)
{
    wal_recovery_free(w->recovery);
    w->recovery = NULL;
}

int wal_replay_begin(struct wal *w)
{
    must(w->running && w->recovery == NULL);
    struct wal_recovery_options o = { .how = WAL_READ_CACHED, .live = true };
    struct wal_report report = { .created = false };
    int err = wal_recovery_open(&w->recovery, w->dir, wal_history(w), &o, &report);
    uint64_t durable = atomic_load(&w->stream_durable);
    if (err == 0 && report.end_lsn != durable) {
        snprintf(report.message, sizeof report.message, "it ends at LSN %llu instead of %llu",
                 (unsigned long long)report.end_lsn, (unsigned long long)durable);
        wal_recover_free(w);
        err = WAL_E_DAMAGED;
    }
    if (err != 0) {
        log_warning("WAL: reading it again was refused: %s",
                    report.message[0] != '\0' || err <= -1000 ? report.message : strerror(-err));
    }
    return err;
}

void wal_replay_end(struct wal *w)
{
    wal_recover_free(w);
}

int wal_replay(struct wal *w, const struct wal_replay *r)
{
    return w->recovery != NULL ? wal_recovery_replay(w->recovery, r) : 0;
}
