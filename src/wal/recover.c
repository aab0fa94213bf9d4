/* recover.c -- Walks the log batch by batch and lets the decision table say where it ends.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         As long as everything fits, no proof is needed. Only where something does not, what
 *             follows is searched for evidence, and one case of the table comes out. So whoever
 *             loads the log need not wait for the end: what is accepted stays accepted, unless the
 *             log is refused as a whole.
 * THREADS     The caller's, plus helpers that read ahead.
 * INVARIANTS  I1 what is accepted is a prefix of what was written: sequence, chain and LSN run
 *                through all of it without a gap
 *             I2 nothing up to the proven sequence is ever cut without force
 * FAILURE     Nothing is written here. Without memory nothing is decided. */
#include "wal/recover.h"
#include "wal/walk.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/mem.h"
#include <errno.h>
#include <stdio.h>

/* Batches accepted but not yet proven, oldest first: when the walk ends, the front is where the
 * tail that must be written again begins. */
struct unproven {
    struct wal_mark *mark;
    size_t first, count, cap; /* a ring */
};

struct judge {
    struct wal_recovery *r;
    const struct wal_recovery_options *o;
    struct wal_report *report;
    struct wal_ahead *ahead;
    /* One history at a time: */
    struct wal_history_info *h;
    struct wal_walk walk;
    uint64_t base_lsn; /* covered before the first segment of h */
    uint64_t synced;   /* highest synced_upto accepted in h */
    uint64_t proven;   /* by footers, later headers and the fork */
    struct unproven unproven;
    unsigned last_flags; /* of the last batch accepted in h; 0 when there is none */
    struct wal_evidence evidence;
};

/* ---- The accepted tail that nothing proves yet ---- */

static void unproven_push(struct unproven *u, struct wal_mark m)
{
    if (u->count == u->cap) {
        size_t cap = u->cap == 0 ? 64 : 2 * u->cap;
        struct wal_mark *to = mem_alloc(cap * sizeof *to);
        for (size_t i = 0; i < u->count; i++) {
            to[i] = u->mark[(u->first + i) % u->cap];
        }
        mem_free(u->mark);
        *u = (struct unproven){ .mark = to, .count = u->count, .cap = cap };
    }
    u->mark[(u->first + u->count++) % u->cap] = m;
}

static void unproven_drop(struct unproven *u, uint64_t proven)
{
    while (u->count > 0 && u->mark[u->first].seq <= proven) {
        u->first = (u->first + 1) % u->cap;
        u->count--;
    }
}

static uint64_t highest_proof(const struct judge *j)
{
    return u64_max(j->synced, j->proven);
}

/* ---- Accepting ---- */

static void accept_segment(struct judge *j, const struct wal_segment_header *s)
{
    struct wal_segment_info *info = &j->h->segment[j->walk.at.segment];
    if (j->walk.at.segment > 0) {
        unproven_push(&j->unproven, j->walk.at);
    }
    info->used = true;
    info->sync = s->sync <= WAL_SYNC_NO ? (enum wal_sync)s->sync : WAL_SYNC_NO;
    info->first_seq = s->first_seq;
    info->first_lsn = s->first_lsn;
    info->size = s->size;
    info->created_ms = s->created_ms;
    j->proven = u64_max(j->proven, s->first_seq - 1);
    j->report->segments++;
}

static void accept_batch(struct judge *j, const struct wal_batch_header *b)
{
    struct wal_recovery *r = j->r;
    unproven_push(&j->unproven, j->walk.at);
    j->synced = u64_max(j->synced, b->synced_upto);
    j->last_flags = b->flags;
    r->wall_ms = b->wall_ms > r->wall_ms ? b->wall_ms : r->wall_ms;
    r->term = b->term;
    j->report->batches++;
    j->report->records += b->records;
}

/* The footer itself is known to be durable once something behind it is. */
static void accept_footer(struct judge *j, const struct wal_segment_footer *f)
{
    j->proven = u64_max(j->proven, f->last_seq);
    unproven_push(&j->unproven, j->walk.at);
    j->h->segment[j->walk.at.segment].sealed = true;
}

static void accept(struct judge *j, const struct wal_item *item)
{
    struct wal_segment_info *info = &j->h->segment[j->walk.at.segment];
    uint64_t end = j->walk.at.offset + item->bytes;
    switch (item->thing) {
    case WAL_SEGMENT: accept_segment(j, item->segment); break;
    case WAL_BATCH: accept_batch(j, item->batch); break;
    case WAL_FOOTER: accept_footer(j, item->footer); break;
    }
    wal_walk_take(&j->walk, item);
    unproven_drop(&j->unproven, highest_proof(j));
    j->r->accepted_bytes += item->bytes;
    info->end = end;
    info->end_seq = j->walk.x.seq;
    info->end_lsn = j->walk.x.lsn;
}

/* A history begins where its parent was left, or at the first LSN that no snapshot covers. */
static unsigned look_first(const struct judge *j, const struct wal_segment_header *s)
{
    bool whole = s->segment == 1 && (s->flags & WAL_SEGMENT_WHOLE) != 0;
    uint64_t base = whole ? s->first_lsn : j->base_lsn;
    if (s->first_lsn > base || (s->segment != 1 && j->o->snapshot_lsn == 0)) {
        return WAL_IN_LATE | WAL_IN_MISORDERED;
    }
    bool child = j->h != &j->r->history[0];
    return child && (s->first_lsn != j->h->fork_lsn || s->first_lsn != base) ? WAL_IN_BAD_BODY : 0;
}

static int tell_visitor(const struct judge *j, const struct wal_item *item)
{
    const struct wal_visitor *v = j->o->visitor;
    int err = 0;
    if (v != NULL && item->thing == WAL_BATCH) {
        err = v->batch(v->arg, j->walk.reader.window, item->batch);
    }
    if (v != NULL && err == 0) {
        v->read(v->arg, item->bytes);
    }
    return err;
}

/* Accepts what stands at the position when nothing is wrong with it (*in == 0). 0, -ENOMEM or the
 * visitor's error. */
static int look_and_accept(struct judge *j, unsigned *in)
{
    struct wal_item item;
    int err = wal_walk_look(&j->walk, in, &item);
    if (err != 0) {
        return err;
    }
    if (*in == 0 && item.thing == WAL_SEGMENT && j->walk.at.segment == 0) {
        *in = look_first(j, item.segment);
    }
    if (*in == 0) {
        err = tell_visitor(j, &item);
        if (err == 0) {
            accept(j, &item);
        }
    }
    return err;
}

/* ---- Deciding ---- */

/* Adds what the rest of the log says to what was observed here. 0 or -ENOMEM. */
static int add_evidence(struct judge *j, unsigned *in)
{
    struct wal_evidence *e = &j->evidence;
    struct wal_mark at = j->walk.at;
    bool gap = (*in & WAL_IN_MISSING) != 0;
    wal_reader_drop(&j->walk.reader); /* the helper thread serves one reader at a time */
    int err = wal_evidence_gather(j->r, j->h, at, gap, j->ahead, e);
    if (err != 0) {
        return err;
    }
    e->synced = u64_max(e->synced, j->synced);
    e->proven = u64_max(e->proven, j->proven);
    /* A history is named, by CURRENT or by its child, only when its first header is durable. */
    bool named = at.segment == 0 && at.offset == 0;
    bool missing = (gap && e->later > 0) || (named && j->h->nsegments == 0);
    /* Before a later segment was begun, this one was durable up to its footer. */
    bool passed = e->later >= at.seq;
    *in &= ~(unsigned)WAL_IN_MISSING;
    *in |= missing ? WAL_IN_MISSING : 0;
    *in |= e->zero ? WAL_IN_ZERO : 0;
    if (seeded_bug("wal.bug_proofs_ignored")) {
        return 0;
    }
    *in |= e->synced >= at.seq ? WAL_IN_SYNCED : 0;
    *in |= e->proven >= at.seq || passed || named ? WAL_IN_PROVEN : 0;
    *in |= e->error ? WAL_IN_ERROR : 0;
    *in |= e->newer ? WAL_SEEN_NEWER : 0;
    return 0;
}

static void explain(struct judge *j, enum wal_case c)
{
    const struct wal_evidence *e = &j->evidence;
    const struct wal_mark *at = &j->walk.at;
    char hex[2 * WAL_HISTORY_BYTES + 1] = { 0 };
    hex_encode(j->h->id, WAL_HISTORY_BYTES, hex);
    uint64_t upto = u64_max(u64_max(e->synced, e->proven), at->seq);
    snprintf(j->report->message, sizeof j->report->message,
             "%s (case %c) at offset %llu of segment %llu%s of history %s: LSN %llu to at least "
             "%llu; batches %llu to %llu had been written%s",
             wal_case_text(c), wal_case_letter(c), (unsigned long long)at->offset,
             (unsigned long long)j->walk.x.segment,
             at->segment < j->h->nsegments ? "" : " (missing)", hex, (unsigned long long)at->lsn,
             (unsigned long long)u64_max(e->lsn, at->lsn), (unsigned long long)at->seq,
             (unsigned long long)upto, c == WAL_CASE_E || c == WAL_CASE_F ? " and synced" : "");
}

/* Nothing at the position fits: the end, or a refusal. */
static int stop_here(struct judge *j, unsigned in)
{
    int err = add_evidence(j, &in);
    if (err != 0) {
        return err;
    }
    if ((in & WAL_SEEN_NEWER) != 0) {
        snprintf(j->report->message, sizeof j->report->message,
                 "segment %llu has a format newer than this program",
                 (unsigned long long)j->walk.x.segment);
        return WAL_E_VERSION;
    }
    j->r->why = wal_decide(in);
    if (wal_verdict_of(j->r->why) != WAL_REFUSE) {
        return 0;
    }
    explain(j, j->r->why);
    return WAL_E_DAMAGED;
}

/* Damage in a log that is being written may be what was written since this position was read. Then
 * it is whole now, and the log ends here as of the first look. */
static bool was_written_meanwhile(struct judge *j)
{
    unsigned in;
    if (!j->o->live || look_and_accept(j, &in) != 0 || in != 0) {
        return false;
    }
    j->r->why = WAL_CASE_B;
    j->report->message[0] = '\0';
    return true;
}

/* ---- Histories ---- */

/* Walks j->h as far as it is needed. *ended: the log ends in it. */
static int judge_history(struct judge *j, bool *ended)
{
    int err = 0;
    unsigned in = 0;
    while (err == 0 && in == 0 && j->walk.at.seq <= j->h->need_seq) {
        err = look_and_accept(j, &in);
    }
    *ended = err == 0 && in != 0;
    if (*ended) {
        err = stop_here(j, in);
        if (err == WAL_E_DAMAGED && was_written_meanwhile(j)) {
            err = 0;
        }
    }
    wal_walk_end(&j->walk);
    return err;
}

/* Where the walk over a history starts: behind what the walks before it accepted, or at LSN 0.
 *
 * A WHOLE history is the first one of its log and yet begins at any LSN. Forced back to before its
 * first batch, it leaves a child that needs no batch of it. Then nothing of it is read, not even
 * its first header, and no walk tells where the child begins. The child's header does, and is
 * believed, since nothing can be missing below: what CURRENT names needs no batch of the WHOLE one,
 * and that one no parent. By cases:
 * - Its first header is damaged: each header repeats the flag, so one good header of any segment is
 *   enough, and to refuse for a header of which nothing is needed would be wrong.
 * - None of its headers is good, or its directory is gone: nobody knows whether it was WHOLE or
 *   needed a parent, whose batches would then be lost in silence. LSN 0 stays, and the child, if it
 *   begins above that, is refused as before.
 * - The first history is not WHOLE: it has no parent and begins at LSN 0, as its child must, too.
 * - A child of the child, or of any other history of which nothing is needed: that one is not the
 *   first, so its own header has said where it left its parent, and the walk stands there.
 * - A WHOLE history that is the first of a directory begins at LSN 0, and its header says that.
 * A WHOLE history's own fork_lsn is its first LSN; it says where the log ends that is forced back
 * to it, when the child's first header is damaged. */
static uint64_t first_lsn_of(const struct judge *j, unsigned index)
{
    const struct wal_history_info *h = &j->r->history[index], *first = &j->r->history[0];
    bool whole = (first->flags & WAL_SEGMENT_WHOLE) != 0;
    if (whole && (index == 0 || (index == 1 && first->need_seq == 0))) {
        return h->fork_lsn;
    }
    return index == 0 ? 0 : j->walk.at.lsn;
}

static void begin_history(struct judge *j, unsigned index)
{
    struct wal_mark at = { .seq = 1, .lsn = first_lsn_of(j, index) };
    j->base_lsn = index == 0 ? j->o->snapshot_lsn : at.lsn;
    j->h = &j->r->history[index];
    j->r->last = index;
    wal_walk_begin(&j->walk, j->h, at, j->r->how, j->ahead);
    j->walk.records_too = true;
    j->synced = 0;
    j->proven = j->h->need_seq == UINT64_MAX ? 0 : j->h->need_seq;
    j->unproven.count = 0;
    j->last_flags = 0;
}

/* --force-lossy-recovery: the log ends before the damage. Where not even the first header of a
 * history is left, that is where its parent was left (`before`); false: nothing is left at all. */
static bool give_up_the_rest(struct judge *j, struct wal_mark before)
{
    j->r->at = j->walk.at;
    j->r->damaged = j->walk.at;
    j->r->damaged_history = j->r->last;
    if (j->walk.at.segment == 0 && j->walk.at.offset == 0) {
        if (j->r->last == 0) {
            return false;
        }
        j->r->last--;
        j->r->at = before;
    }
    j->r->forced = true;
    return true;
}

static void report_torn(struct judge *j)
{
    struct wal_report *report = j->report;
    for (unsigned i = 0; i < j->h->nsegments && j->r->why != WAL_CASE_D; i++) {
        report->torn_bytes += j->h->segment[i].dirty_to - j->h->segment[i].dirty_from;
    }
    if (report->torn_bytes > 0) {
        snprintf(report->message, sizeof report->message,
                 "%s: %llu bytes behind LSN %llu (batch %llu) at offset %llu of segment %llu",
                 wal_case_text(WAL_CASE_C), (unsigned long long)report->torn_bytes,
                 (unsigned long long)j->r->at.lsn, (unsigned long long)(j->r->at.seq - 1),
                 (unsigned long long)j->r->at.offset, (unsigned long long)j->r->number);
    }
}

static void conclude(struct judge *j)
{
    struct wal_recovery *r = j->r;
    struct wal_report *report = j->report;
    if (!r->forced) {
        r->at = j->walk.at;
    }
    r->number = j->walk.x.segment;
    unproven_drop(&j->unproven, u64_max(j->evidence.synced, j->evidence.proven));
    bool all = j->unproven.count == 0;
    r->from = all ? r->at : j->unproven.mark[j->unproven.first];
    r->proven = r->from.seq - 1;
    r->clean = wal_verdict_of(r->why) == WAL_END && (j->last_flags & WAL_BATCH_CLEAN_END) != 0;
    report->clean = r->clean;
    report->first_lsn = r->history[0].nsegments > 0 ? r->history[0].segment[0].first_lsn : 0;
    report->end_lsn = r->at.lsn;
    report->last_seq = r->at.seq - 1;
    report->last_wall_ms = r->wall_ms;
    if (!r->forced) {
        report_torn(j);
    }
}

static uint64_t bytes_of_files(const struct wal_recovery *r)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < r->nhistories; i++) {
        for (unsigned k = 0; k < r->history[i].nsegments; k++) {
            bytes += r->history[i].segment[k].bytes;
        }
    }
    return bytes;
}

static int judge_all(struct judge *j)
{
    int err = 0;
    bool ended = false;
    const struct wal_visitor *v = j->o->visitor;
    if (v != NULL && v->begin != NULL) {
        v->begin(v->arg, bytes_of_files(j->r));
    }
    struct wal_mark before = { .segment = 0 };
    for (unsigned i = 0; i < j->r->nhistories && !ended && err == 0; i++) {
        before = j->walk.at;
        begin_history(j, i);
        err = judge_history(j, &ended);
    }
    if (err == WAL_E_DAMAGED && j->o->force && give_up_the_rest(j, before)) {
        err = 0;
    }
    if (err == 0) {
        conclude(j);
    }
    return err;
}

int wal_recovery_open(struct wal_recovery **out, const char *dir,
                      const uint8_t current[WAL_HISTORY_BYTES],
                      const struct wal_recovery_options *o, struct wal_report *report)
{
    struct wal_recovery *r = mem_calloc(sizeof *r);
    r->how = o->how;
    struct judge j = { .r = r, .o = o, .report = report };
    int err = wal_lineage_load(r, dir, current, report);
    if (err == 0) {
        j.ahead = wal_ahead_new();
        err = judge_all(&j);
        wal_ahead_free(j.ahead);
        mem_free(j.unproven.mark);
    }
    if (err != 0) {
        wal_recovery_free(r);
        return err;
    }
    *out = r;
    return 0;
}

void wal_recovery_free(struct wal_recovery *r)
{
    if (r == NULL) {
        return;
    }
    for (unsigned i = 0; i < r->nhistories; i++) {
        mem_free(r->history[i].path);
        mem_free(r->history[i].segment);
    }
    mem_free(r->history);
    mem_free(r);
}
