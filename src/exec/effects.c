/* effects.c -- What a transaction puts into the log: canonical commands, wrapped so that one record
 * stands alone. SPDX-License-Identifier: BSD-3-Clause
 *
 * FORM     One command, database 0: itself. Another database: SELECT n, command, SELECT 0. Several:
 * MULTI ... EXEC around them. A record never depends on its neighbours (1-architecture.md section
 * 8). THREADS  The worker that runs the transaction, with the transaction's shard locks held until
 * fx_append() returned. */
#include "exec/exec_int.h"

static void put_header(struct buf *b, char kind, size_t n)
{
    char *p = buf_reserve(b, I64_TEXT_MAX + 3);
    size_t len = 0;
    p[len++] = kind;
    len += format_u64(p + len, n);
    p[len++] = '\r';
    p[len++] = '\n';
    b->n += len;
}

static void put_bulk(struct buf *b, struct slice s)
{
    put_header(b, '$', s.n);
    buf_add(b, s.p, s.n);
    buf_add(b, "\r\n", 2);
}

static void put_select(struct buf *b, unsigned db)
{
    char text[I64_TEXT_MAX];
    size_t n = format_u64(text, db);
    if (seeded_bug("exec.bug_no_select")) {
        return;
    }
    put_header(b, '*', 2);
    put_bulk(b, S("SELECT"));
    put_bulk(b, slice_of(text, n));
}

static bool logging(const struct txn *t)
{
    return !t->replay && t->w->x->wal != NULL && !t->w->x->log_closing;
}

/* A verbatim command was remembered and now another effect joins it: it moves into the buffer
 * first. */
static void verbatim_spill(struct txn *t)
{
    if (t->verbatim.n == 0) {
        return;
    }
    struct slice v = t->verbatim;
    t->verbatim = (struct slice){ NULL, 0 };
    if (t->verbatim_db != t->fx_db) {
        put_select(&t->fx, t->verbatim_db);
        t->fx_db = t->verbatim_db;
    }
    buf_add(&t->fx, v.p, v.n);
    t->fx_commands++;
}

static void put_command(struct txn *t, unsigned db, struct slice name, const struct slice *argv,
                        unsigned argc)
{
    if (!logging(t)) {
        t->unlogged |= t->w->x->log_closing;
        return;
    }
    verbatim_spill(t);
    if (db != t->fx_db) {
        put_select(&t->fx, db);
        t->fx_db = db;
    }
    put_header(&t->fx, '*', argc);
    put_bulk(&t->fx, name);
    for (unsigned i = 1; i < argc; i++) {
        put_bulk(&t->fx, argv[i]);
    }
    t->fx_commands++;
}

void fx_argv(struct txn *t, unsigned db, const struct slice *argv, unsigned argc)
{
    put_command(t, db, argv[0], argv, argc);
}

static void slot_merge(struct txn *t, uint32_t slot)
{
    if (t->slot == SLOT_NONE) {
        t->slot = slot;
    } else if (t->slot != slot && t->slot != WAL_SLOT_ALL) {
        t->slot = slot == WAL_SLOT_ALL ? WAL_SLOT_ALL : WAL_SLOT_SEVERAL;
    }
}

void fx_slot(struct txn *t, const struct key *k)
{
    slot_merge(t, hash_slot(k->s));
}

/* What changes without being a key (libraries) concerns everybody, whatever else is in the record:
 * all have to wait for it, and on replay it has its place between all others. */
static void slot_of_keyless(struct call *c)
{
    struct txn *t = c->in->t;
    if (c->nkeys == 0 && (t->slot == SLOT_NONE || !c->in->changed)) {
        t->slot = WAL_SLOT_ALL;
    }
}

void fx_collect_slow(struct call *c)
{
    struct call_int *in = c->in;
    struct txn *t = in->t;
    if (in->explicit_fx) {
        return;
    }
    if (!logging(t)) {
        t->unlogged |= t->w->x->log_closing;
        return;
    }
    if (!(c->nkeys == 1 &&
          t->slot != SLOT_NONE)) { /* a changed single key was merged by key_changed() */
        for (unsigned i = 0; i < c->nkeys; i++) {
            fx_slot(t, &c->keys[i]);
        }
    }
    slot_of_keyless(c);
    const char *original = command_original_name(in->ref);
    if (unlikely(original != NULL)) { /* the log outlives rename-command */
        put_command(t, c->db, slice_str(original), c->argv, c->argc);
        return;
    }
    if (in->raw.n > 0 && !t->in_multi && t->fx_commands == 0 && t->verbatim.n == 0) {
        t->verbatim = in->raw;
        t->verbatim_db = c->db;
        return;
    }
    fx_argv(t, c->db, c->argv, c->argc);
}

/* ---- Room ---- */

#define ARG_ROOM   EFFECT_ARG /* "$n\r\n" and "\r\n" */
#define FRAME_ROOM 256        /* MULTI, EXEC, two SELECTs, a few short arguments */

bool fx_room(struct txn *t, size_t bytes)
{
    size_t more;
    if (!logging(t) || !size_add(bytes, FRAME_ROOM, &more)) {
        return !logging(t);
    }
    return t->fx.n + t->verbatim.n + more <= WAL_COPIED_MAX / 2 ||
           buf_try_reserve(&t->fx, t->verbatim.n + more);
}

bool effect_reserve(struct call *c, size_t bytes)
{
    bytes += c->argc * (size_t)ARG_ROOM;
    for (unsigned i = 0; i < c->argc; i++) {
        bytes += c->argv[i].n;
    }
    return fx_room(c->in->t, bytes);
}

bool effect_fits(struct call *c, size_t bytes)
{
    return fx_room(c->in->t, bytes);
}

bool fx_room_slow(struct call *c)
{
    return effect_reserve(c, 0);
}

#define MULTI_TEXT "*1\r\n$5\r\nMULTI\r\n"
#define EXEC_TEXT  "*1\r\n$4\r\nEXEC\r\n"

/* What is larger than the log copies goes there as it is: there is no room for it twice. */
static uint64_t append_large(struct txn *t, struct wal_frame frame)
{
    struct worker *w = t->w;
    if (t->fx_commands > 1) {
        const size_t before = strlen(MULTI_TEXT);
        (void)buf_reserve(&t->fx, before);
        memmove(t->fx.p + before, t->fx.p, t->fx.n);
        memcpy(t->fx.p, MULTI_TEXT, before);
        t->fx.n += before;
        buf_add_str(&t->fx, EXEC_TEXT);
    }
    struct buf all = t->fx;
    t->fx = (struct buf){ NULL, 0, 0 };
    return wal_append_owned(w->x->wal, w->id, frame, all.p, all.n).v;
}

uint64_t fx_append(struct txn *t)
{
    if (!fx_any(t)) {
        return 0;
    }
    struct worker *w = t->w;
    struct wal_frame frame = { .slot = (uint16_t)(t->slot == SLOT_NONE ? WAL_SLOT_ALL : t->slot),
                               .db = 0,
                               .flags = 0 };
    struct slice parts[3];
    unsigned n = 0;
    bool large = t->fx.n + t->verbatim.n > WAL_COPIED_MAX;
    if (t->verbatim.n > 0 && t->verbatim_db == 0 && likely(!large)) {
        parts[n++] = t->verbatim;
    } else {
        verbatim_spill(t);
        frame.db = (uint16_t)t->fx_db;
        if (t->fx_db != 0) {
            put_select(&t->fx, 0);
            t->fx_db = 0;
        }
        if (t->fx_commands > 1) {
            parts[n++] = S(MULTI_TEXT);
        }
        parts[n++] = buf_slice(&t->fx);
        if (t->fx_commands > 1) {
            parts[n++] = S(EXEC_TEXT);
        }
    }
    if (log_begins(w->x) && log_begin_takes(t, frame, parts, n)) {
        return 0;
    }
    w->appended = true;
    (void)fault("exec.append");
    uint64_t lsn =
        unlikely(large) ? append_large(t, frame) : wal_append(w->x->wal, w->id, frame, parts, n).v;
    return likely(!atomic_load_explicit(&w->x->log_partial, memory_order_relaxed)) ? lsn : 0;
}

void fx_reset(struct txn *t)
{
    t->fx.n = 0;
    if (unlikely(t->fx.cap > 1024 * 1024)) {
        buf_free(&t->fx);
    }
    t->fx_commands = 0;
    t->fx_db = 0;
    t->verbatim = (struct slice){ NULL, 0 };
    t->slot = SLOT_NONE;
    t->unlogged = false;
}

/* ---- What handlers call ---- */

void effect(struct call *c, const struct slice *argv, unsigned argc)
{
    if (seeded_bug("exec.bug_effects_verbatim")) {
        return;
    }
    c->in->explicit_fx = true;
    slot_of_keyless(c);
    fx_argv(c->in->t, c->db, argv, argc);
}

void effect_reads(struct call *c, const struct key *k)
{
    fx_slot(c->in->t, k);
}

void effect_i64(struct call *c, struct slice name, struct slice key, int64_t v)
{
    char text[I64_TEXT_MAX];
    size_t n = format_i64(text, v);
    EFFECT(c, name, key, slice_of(text, n));
}

bool call_may_log(const struct call *c)
{
    return c->x->wal == NULL || wal_state(c->x->wal) != WAL_NOSPACE;
}

void effect_none(struct call *c)
{
    c->in->explicit_fx = true;
}

void effect_verbatim(struct call *c)
{
    c->in->force_verbatim = true;
}
