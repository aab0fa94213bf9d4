/* replay.c -- Hands out the records of everything that was accepted, in LSN order: afterwards, or
 * as it is accepted.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Reading through the page cache is safe afterwards: chain and checksums lead to the
 * very end that was accepted from the disk, so other bytes cannot pass for these. The records' own
 * checksums were verified then; the body's covers them now. THREADS     The caller's, plus helpers
 * that read ahead. Buffers may be released anywhere. */
#include "wal/walk.h"
#include <errno.h>

#define RECORDS_PER_CALL 512          /* 20 KiB of struct wal_record: stays in the cache */
#define PROGRESS_BYTES   (4ull << 20) /* between two calls of progress() */

/* ---- Batches ---- */

static bool reached(const struct wal_recovery *r, unsigned history, const struct wal_mark *at)
{
    if (history < r->last) {
        return at->seq > r->history[history].need_seq;
    }
    return at->segment == r->at.segment && at->offset == r->at.offset;
}

static int visit_history(struct wal_recovery *r, unsigned history, struct wal_walk *w,
                         const struct wal_visitor *v)
{
    while (!reached(r, history, &w->at)) {
        struct wal_item item;
        unsigned in;
        int err = wal_walk_look(w, &in, &item);
        if (err == 0 && in != 0) {
            err = (in & WAL_IN_ERROR) != 0 ? -EIO : WAL_E_DAMAGED;
        }
        if (err == 0 && item.thing == WAL_BATCH) {
            err = v->batch(v->arg, w->reader.window, item.batch);
        }
        if (err != 0) {
            return err;
        }
        v->read(v->arg, item.bytes);
        wal_walk_take(w, &item);
    }
    const struct wal_mark *end = &r->at;
    bool same = history < r->last ||
                (w->at.seq == end->seq && w->at.lsn == end->lsn && w->at.chain == end->chain);
    return same ? 0 : WAL_E_DAMAGED;
}

int wal_recovery_visit(struct wal_recovery *r, const struct wal_visitor *v)
{
    struct wal_ahead *ahead = wal_ahead_new();
    int err = 0;
    for (unsigned i = 0; i <= r->last && err == 0; i++) {
        struct wal_walk w;
        /* Its first header says where a history begins. The LSN here is for the log that ends
         * before that header: it was damaged and given up. */
        struct wal_mark start = { .seq = 1, .lsn = r->at.lsn };
        wal_walk_begin(&w, &r->history[i], start, WAL_READ_CACHED, ahead);
        err = visit_history(r, i, &w, v);
        wal_walk_end(&w);
    }
    wal_ahead_free(ahead);
    return err;
}

/* ---- Records ---- */

struct replay {
    const struct wal_replay *to;
    uint64_t done, told, total;
    struct wal_record rec[RECORDS_PER_CALL];
};

static void tell_progress(void *arg, uint64_t bytes)
{
    struct replay *p = arg;
    p->done += bytes;
    if (p->to->progress != NULL && (p->done - p->told >= PROGRESS_BYTES || p->done == p->total)) {
        p->told = p->done;
        p->to->progress(p->to->arg, p->done, p->total);
    }
}

static int give(struct replay *p, struct wal_batch *window, unsigned n)
{
    if (n == 0) {
        return 0;
    }
    wal_batch_retain(window);
    return p->to->records(p->to->arg, window, p->rec, n);
}

static int hand_out(void *arg, struct wal_batch *window, const struct wal_batch_header *b)
{
    struct replay *p = arg;
    const uint8_t *body = (const uint8_t *)(b + 1);
    struct wal_record rec = { .lsn = b->first_lsn, .wall_ms = b->wall_ms };
    unsigned n = 0;
    for (uint64_t at = 0; wal_next_record(body, b->body_bytes, &at, &rec);) {
        p->rec[n++] = rec;
        if (n == RECORDS_PER_CALL) {
            int stop = give(p, window, n);
            if (stop != 0) {
                return stop;
            }
            n = 0;
        }
    }
    return give(p, window, n);
}

int wal_recovery_replay(struct wal_recovery *r, const struct wal_replay *to)
{
    struct replay p = { .to = to, .total = r->accepted_bytes };
    struct wal_visitor v = { .arg = &p, .batch = hand_out, .read = tell_progress };
    return wal_recovery_visit(r, &v);
}

static void note_total(void *arg, uint64_t bytes)
{
    ((struct replay *)arg)->total = bytes;
}

int wal_recovery_load(struct wal_recovery **out, const char *dir,
                      const uint8_t current[WAL_HISTORY_BYTES],
                      const struct wal_recovery_options *o, const struct wal_replay *to,
                      struct wal_report *report)
{
    struct replay p = { .to = to };
    struct wal_visitor v = {
        .arg = &p, .begin = note_total, .batch = hand_out, .read = tell_progress
    };
    struct wal_recovery_options told = *o;
    told.visitor = &v;
    int err = wal_recovery_open(out, dir, current, &told, report);
    if (err == 0 && to->progress != NULL && (p.told < p.done || p.done < p.total)) {
        to->progress(to->arg, p.done, p.done); /* what else there is in the files is not the log */
    }
    return err;
}
