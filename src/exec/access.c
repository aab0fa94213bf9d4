/* access.c -- Keys as handlers see them: expiry, access clocks, and the bookkeeping of every
 * change. SPDX-License-Identifier: BSD-3-Clause LOCKS    The shard of the key is held by the
 * transaction (or it is exclusive); asserted by the store. */
#include "exec/tracking.h"
#include "base/mem.h"
#include "base/rng.h"
#include "ds/fields.h"
#include <limits.h>
#include <math.h>

static inline struct shard *shard_of(struct call *c, const struct key *k)
{
    return keyspace_shard(c->ks, k->shard);
}

struct key call_key(struct call *c, struct slice s)
{
    return keyspace_key(c->ks, s);
}

bool entry_expired(const struct call *c, const struct entry *e)
{
    int64_t at = entry_end(e);
    if (seeded_bug("exec.bug_replay_expires") && (c->flags & CALL_REPLAY)) {
        return at >= 0 && at <= clock_wall_ms();
    }
    return at >= 0 && at <= c->now_ms && !(c->flags & CALL_REPLAY);
}

/* ---- Access clock: LRU seconds or LFU (16 bits of minutes, 8 bits of counter) ---- */

static uint32_t lru_now(int64_t now_ms)
{
    return (uint32_t)(now_ms / 1000) & 0xffffff;
}

static uint32_t lfu_minutes(int64_t now_ms)
{
    return (uint32_t)(now_ms / 60000) & 0xffff;
}

static unsigned lfu_decayed(struct exec *x, uint32_t clock, int64_t now_ms)
{
    unsigned counter = clock & 0xff;
    int64_t decay = option_int(&x->opt.lfu_decay_time);
    uint32_t passed = (lfu_minutes(now_ms) - (clock >> 8)) & 0xffff;
    int64_t periods = decay > 0 ? passed / decay : 0;
    return periods >= counter ? 0 : counter - (unsigned)periods;
}

static void clock_touch(struct call *c, struct entry *e)
{
    struct exec *x = c->x;
    if (unlikely(c->session != NULL && c->session->no_touch) &&
        strcmp(c->cmd->name, "touch") != 0) { /* TOUCH is there for nothing else */
        return;
    }
    uint32_t old = entry_clock(e), now;
    if (POLICY_IS_LFU(option_int(&x->opt.maxmemory_policy))) {
        unsigned counter = lfu_decayed(x, old, c->now_ms);
        if (counter < 255) {
            double base = counter > LFU_INIT ? (double)(counter - LFU_INIT) : 0;
            if (rng_unit() < 1.0 / (base * (double)option_int(&x->opt.lfu_log_factor) + 1)) {
                counter++;
            }
        }
        now = lfu_minutes(c->now_ms) << 8 | counter;
    } else {
        now = lru_now(c->now_ms);
    }
    if (now != old) { /* do not dirty the line of a hot key */
        entry_set_clock(e, now);
    }
}

/* What is loaded counts as accessed now: log mode has no time of its own. */
static void clock_init_entry(struct call *c, struct entry *e)
{
    int64_t now = likely(!(c->flags & CALL_REPLAY)) ? c->now_ms : c->in->w->wall_ms;
    if (POLICY_IS_LFU(option_int(&c->x->opt.maxmemory_policy))) {
        entry_set_clock(e, lfu_minutes(now) << 8 | LFU_INIT);
    } else {
        entry_set_clock(e, lru_now(now));
    }
}

static bool keeps_clock(const struct call *c)
{
    return POLICY_IS_LFU(option_int(&c->x->opt.maxmemory_policy)) && !(c->flags & CALL_REPLAY);
}

int64_t entry_idle_s(struct exec *x, const struct entry *e, int64_t now_ms)
{
    (void)x;
    return (lru_now(now_ms) - entry_clock(e)) & 0xffffff;
}

unsigned entry_lfu(struct exec *x, const struct entry *e, int64_t now_ms)
{
    return lfu_decayed(x, entry_clock(e), now_ms);
}

void entry_set_idle(struct exec *x, struct entry *e, int64_t idle_s, int64_t now_ms)
{
    (void)x;
    entry_set_clock(e, (uint32_t)(now_ms / 1000 - idle_s) & 0xffffff);
}

void entry_set_lfu(struct exec *x, struct entry *e, unsigned freq, int64_t now_ms)
{
    (void)x;
    entry_set_clock(e, lfu_minutes(now_ms) << 8 | (freq & 0xff));
}

/* ---- Expiry on access ---- */

/* What replay does not do by itself was logged: gates, WATCH. */
static void gone(struct call *c, const struct key *k)
{
    fx_slot(c->in->t, k);
    txn_touch(c->in->t, k, true);
}

/* Deletes an expired entry, or a hash whose fields are all due, with its DEL effect and event; the
 * effect stands before that of the command. */
void key_expire_now(struct call *c, const struct key *k, struct entry *e)
{
    bool by_fields = entry_expire(e) < 0 || entry_expire(e) > c->now_ms;
    if (by_fields) {
        struct fields f;
        entry_get_fields(e, FIELDS_ALL, &f);
        counter_add(&c->in->w->expired_fields, fields_count(&f));
    } else {
        counter_add(&c->in->w->expired, 1);
    }
    shard_delete(shard_of(c, k), c->db, e);
    struct slice argv[] = { S("DEL"), k->s };
    if (!seeded_bug("exec.bug_expired_not_logged")) {
        fx_argv(c->in->t, c->db, argv, 2);
    }
    gone(c, k);
    watch_touch_expired(c->x, c->db, k);
    tracking_changed(c, k, true);
    waits_changed(c->in->t, c->db, k);
    if (by_fields) {
        notify(c, NOTIFY_HASH, "hexpired", k);
        notify(c, NOTIFY_GENERIC, "del", k);
    } else {
        notify(c, NOTIFY_EXPIRED, "expired", k);
    }
}

/* ---- Fields of hashes ---- */

int64_t call_view(const struct call *c)
{
    return c->flags & CALL_REPLAY ? FIELDS_ALL : c->now_ms;
}

void key_put_fields(struct call *c, const struct key *k, struct entry *e, const struct fields *f)
{
    shard_put_fields(shard_of(c, k), c->db, e, f);
}

/* n fields of e are gone, and f is what is left. */
static void fields_gone(struct call *c, const struct key *k, struct entry *e,
                        const struct fields *f, unsigned n)
{
    key_put_fields(c, k, e, f);
    gone(c, k);
    watch_touch(c->x, c->db, k);
    tracking_changed(c, k, true);
    counter_add(&c->in->w->expired_fields, n);
    notify(c, NOTIFY_HASH, "hexpired", k);
}

/* argv: room for two words, then n names of fields that are due. */
static void effect_hdel(struct call *c, const struct key *k, struct slice *argv, unsigned n)
{
    argv[0] = S("HDEL");
    argv[1] = k->s;
    if (!seeded_bug("exec.bug_expired_not_logged")) {
        fx_argv(c->in->t, c->db, argv, 2 + n);
    }
}

static size_t hdel_room(const struct key *k, const struct slice *name, unsigned n, unsigned step)
{
    size_t bytes = k->s.n + 2 * (size_t)EFFECT_ARG;
    for (unsigned i = 0; i < n; i++) {
        bytes += name[i * step].n + EFFECT_ARG;
    }
    return bytes;
}

#define DROPPED_ON_STACK 64

bool key_drop_due(struct call *c, const struct key *k, struct entry *e, struct fields *f,
                  const struct slice *name, unsigned n, unsigned step)
{
    struct slice few[2 + DROPPED_ON_STACK], *argv = few;
    unsigned dropped = 0;
    if (likely(!fields_hides(f, fields_first_due(f)))) {
        return true;
    }
    if (n > DROPPED_ON_STACK) {
        argv = mem_try_alloc((2 + (size_t)n) * sizeof *argv);
    }
    if (argv == NULL || !effect_reserve(c, hdel_room(k, name, n, step))) {
        if (argv != few) {
            mem_free(argv);
        }
        reply_oom(c);
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        if (fields_drop_hidden(f, name[i * step])) {
            argv[2 + dropped++] = name[i * step];
        }
    }
    if (dropped > 0) {
        effect_hdel(c, k, argv, dropped);
        fields_gone(c, k, e, f, dropped);
    }
    if (argv != few) {
        mem_free(argv);
    }
    return true;
}

void key_expire_fields(struct call *c, const struct key *k, struct entry *e)
{
    struct fields f;
    char digits[FIELDS_PER_RECORD][I64_TEXT_MAX];
    struct slice argv[2 + FIELDS_PER_RECORD];
    entry_get_fields(e, c->now_ms, &f);
    unsigned n = (unsigned)u64_min(fields_hidden(&f), FIELDS_PER_RECORD);
    for (unsigned i = 0; i < n; i++) {
        argv[2 + i] = fields_by_due(&f, i, digits[i]);
    }
    while (n > 0 && !effect_fits(c, hdel_room(k, argv + 2, n, 1))) {
        n /= 2; /* names may be long: what can be logged goes */
    }
    if (n == 0) {
        return; /* later, perhaps */
    }
    effect_hdel(c, k, argv, n);
    for (unsigned i = 0; i < n; i++) {
        fields_drop_first(&f);
    }
    fields_gone(c, k, e, &f, n);
}

/* While active expiry is off the first access deletes what has expired, as in Redis. */
static bool expires_on_access(struct exec *x)
{
    return !option_int(&x->opt.active_expire) && !pause_active(x) && !log_is_full(x);
}

/* What a read sees of an expired entry: nothing. A write may depend on that (BITOP), and replay
 * knows no time: the DEL has to stand before it. */
static struct entry *expired_read(struct call *c, const struct key *k, struct entry *e)
{
    bool deletes = (c->cmd->flags & CMD_WRITE) != 0 || expires_on_access(c->x);
    if (deletes && (c->in->t->exclusive || c->in->t->nlocked > 0)) {
        if (c->in->t->exclusive && log_begins(c->x)) {
            log_begin_keys(c->in->w, k, 1); /* nobody declared it: SORT finds it by a pattern */
        }
        key_expire_now(c, k, e);
    }
    return NULL;
}

struct entry *key_peek(struct call *c, const struct key *k)
{
    struct entry *e = shard_find(shard_of(c, k), c->db, k);
    if (e != NULL && unlikely(entry_expired(c, e))) {
        e = expired_read(c, k, e);
    }
    if (e == NULL && seeded_bug("exec.bug_ungated_nil")) {
        c->in->t->gate = 0;
    }
    return e;
}

/* Counts what a lookup found. */
static void key_counted(struct call *c, const struct key *k, const struct entry *e, bool miss_event)
{
    if (e != NULL) {
        counter_add(&c->in->w->hits, 1);
        return;
    }
    counter_add(&c->in->w->misses, 1);
    if (miss_event) {
        notify(c, NOTIFY_KEY_MISS, "keymiss", k);
    }
}

struct entry *key_look(struct call *c, const struct key *k, bool miss_event)
{
    struct entry *e = key_peek(c, k);
    if (likely(!(c->flags & CALL_REPLAY))) {
        key_counted(c, k, e, miss_event);
    }
    return e;
}

struct entry *key_read(struct call *c, const struct key *k)
{
    struct entry *e = key_look(c, k, true);
    if (e != NULL && !(c->flags & CALL_REPLAY)) {
        clock_touch(c, e);
    }
    return e;
}

/* As key_write(), without touching. */
static struct entry *key_claim(struct call *c, const struct key *k)
{
    struct entry *e = shard_find(shard_of(c, k), c->db, k);
    bool replay = (c->flags & CALL_REPLAY) != 0 && !seeded_bug("exec.bug_replay_expires");
    if (e == NULL || unlikely(replay)) {
        return e;
    }
    if (unlikely(entry_expired(c, e))) {
        key_expire_now(c, k, e);
        return NULL;
    }
    return e;
}

struct entry *key_write(struct call *c, const struct key *k)
{
    struct entry *e = key_claim(c, k);
    if (e != NULL && likely(!(c->flags & CALL_REPLAY))) {
        clock_touch(c, e);
    }
    return e;
}

void key_count_write(struct call *c, const struct key *k)
{
    if (unlikely(keeps_clock(c))) {
        (void)key_write(c, k);
    }
}

bool key_is(struct call *c, const struct entry *e, enum obj_type t)
{
    if (e == NULL || entry_type(e) == t) {
        return true;
    }
    reply_wrongtype(c);
    return false;
}

/* ---- Changes ---- */

void key_changed_quietly(struct call *c, const struct key *k)
{
    struct txn *t = c->in->t;
    c->in->changed = true;
    if (unlikely(c->flags & CALL_REPLAY)) {
        return;
    }
    if (t->w->x->wal != NULL) {
        fx_slot(t, k);
        txn_touch(t, k, true);
    }
}

const char *call_busy_text(const struct call *c)
{
    return c->in->w->busy ? script_busy_text(c->x) : NULL;
}

void call_more_changes(struct call *c, int64_t n)
{
    c->in->more_changes += n;
}

void key_changed(struct call *c, const struct key *k)
{
    key_changed_quietly(c, k);
    if (unlikely(c->flags & CALL_REPLAY)) {
        return;
    }
    if (!seeded_bug("exec.bug_watch_missed")) {
        watch_touch(c->x, c->db, k);
    }
    tracking_changed(c, k, false);
    if (unlikely(c->x->shards[k->shard].waits != NULL)) {
        waits_changed(c->in->t, c->db, k);
    }
}

static void created(struct call *c, const struct key *k)
{
    notify(c, NOTIFY_NEW, "new", k);
    if (!seeded_bug("exec.bug_ready_missed")) {
        key_ready(c, k);
    }
}

/* Before a value replaces whatever k holds: true when k is new. A SET does not look the key up
 * first, unless somebody wants the events of keys that are new or have expired, or expired entries
 * wait for their first access. */
static bool before_set(struct call *c, const struct key *k)
{
    const int64_t told = NOTIFY_NEW | NOTIFY_EXPIRED | NOTIFY_HASH;
    if (likely(!(option_int(&c->x->opt.notify_flags) & told) &&
               option_int(&c->x->opt.active_expire)) ||
        (c->flags & CALL_REPLAY)) {
        return false;
    }
    return key_claim(c, k) == NULL;
}

/* After it; e NULL: there was no memory. */
static struct entry *after_set(struct call *c, const struct key *k, struct entry *e, bool is_new)
{
    if (unlikely(e == NULL)) {
        reply_oom(c);
        return NULL;
    }
    if (likely(!keeps_clock(c)) || entry_clock(e) == 0) { /* 0: it is new */
        clock_init_entry(c, e);
    }
    key_changed(c, k);
    if (unlikely(is_new)) {
        notify(c, NOTIFY_NEW, "new", k);
    }
    return e;
}

struct entry *key_set_string(struct call *c, const struct key *k, struct slice v,
                             enum string_form form, bool keep_expire)
{
    bool is_new = before_set(c, k);
    struct entry *e = shard_set_string(shard_of(c, k), c->db, k, v, form, keep_expire);
    return after_set(c, k, e, is_new);
}

/* Copies, whatever the size: the bytes are still needed after the handler (the log, the slow log,
 * MONITOR), and once the entry owned them any other client could free them as soon as the shard is
 * unlocked. */
struct entry *key_set_arg(struct call *c, const struct key *k, unsigned argi, bool keep_expire)
{
    return key_set_string(c, k, c->argv[argi], STRING_AUTO, keep_expire);
}

struct entry *key_set_entry(struct call *c, const struct key *k, struct entry *e)
{
    bool is_new = before_set(c, k);
    return after_set(c, k, shard_put_entry(shard_of(c, k), c->db, k, e), is_new);
}

struct entry *key_set_int(struct call *c, const struct key *k, int64_t v, bool keep_expire)
{
    bool is_new = before_set(c, k);
    struct entry *e = shard_set_int(shard_of(c, k), c->db, k, v, keep_expire);
    return after_set(c, k, e, is_new);
}

struct entry *key_add(struct call *c, const struct key *k, enum obj_type t, enum obj_enc enc,
                      void *ptr)
{
    struct entry *e = shard_add_object(shard_of(c, k), c->db, k, t, enc, ptr);
    clock_init_entry(c, e);
    key_changed(c, k);
    created(c, k);
    return e;
}

struct entry *key_replace(struct call *c, const struct key *k, enum obj_type t, enum obj_enc enc,
                          void *ptr)
{
    struct entry *e = key_write(c, k);
    if (e == NULL) {
        return key_add(c, k, t, enc, ptr);
    }
    uint32_t clock = entry_clock(e);
    shard_delete(shard_of(c, k), c->db, e);
    e = shard_add_object(shard_of(c, k), c->db, k, t, enc, ptr);
    if (keeps_clock(c)) {
        entry_set_clock(e, clock);
    } else {
        clock_init_entry(c, e);
    }
    key_changed(c, k);
    key_ready(c, k);
    return e;
}

bool key_delete(struct call *c, const struct key *k)
{
    struct entry *e = key_write(c, k);
    if (e == NULL) {
        return false;
    }
    shard_delete(shard_of(c, k), c->db, e);
    key_changed(c, k);
    return true;
}

struct entry *key_expire_at(struct call *c, const struct key *k, struct entry *e, int64_t unix_ms)
{
    e = shard_set_expire(shard_of(c, k), c->db, e, unix_ms);
    key_changed(c, k);
    return e;
}

void key_rename(struct call *c, const struct key *from, const struct key *to)
{
    struct entry *e = shard_find(shard_of(c, from), c->db, from);
    must(e != NULL);
    int64_t expire = entry_expire(e);
    if (seeded_bug("exec.bug_rename_ttl") && (c->flags & CALL_REPLAY)) {
        expire = -1;
    }
    struct entry *taken = shard_take(shard_of(c, from), c->db, e);
    shard_insert_as(shard_of(c, to), c->db, to, taken, expire);
    key_changed(c, from);
    key_changed(c, to);
    created(c, to);
}

void key_move_db(struct call *c, const struct key *k, unsigned to_db)
{
    struct shard *s = shard_of(c, k);
    struct entry *e = shard_find(s, c->db, k);
    must(e != NULL);
    int64_t expire = entry_expire(e);
    struct entry *taken = shard_take(s, c->db, e);
    shard_insert_as(s, to_db, k, taken, expire);
    key_changed(c, k);
    unsigned db = c->db;
    c->db = to_db;
    key_changed(c, k);
    created(c, k);
    c->db = db;
}

bool key_copy(struct call *c, const struct key *from, unsigned to_db, const struct key *to)
{
    struct entry *e = shard_find(shard_of(c, from), c->db, from);
    must(e != NULL);
    struct entry *copy = shard_copy_as(shard_of(c, to), to_db, to, e, entry_expire(e));
    if (copy == NULL) {
        reply_oom(c);
        return false;
    }
    clock_init_entry(c, copy);
    unsigned db = c->db;
    c->db = to_db;
    key_changed(c, to);
    created(c, to);
    c->db = db;
    return true;
}

void key_ready(struct call *c, const struct key *k)
{
    if (!(c->flags & CALL_REPLAY) && c->x->shards[k->shard].waits != NULL) {
        waits_ready(c->in->t, c->db, k);
    }
}

size_t call_flush(struct call *c, int db, bool async)
{
    must(c->in->t->exclusive || (c->flags & CALL_REPLAY));
    if (!(c->flags & CALL_REPLAY)) {
        watch_touch_db(c->x, db);
        tracking_flushed(c);
    }
    c->in->changed = true;
    c->in->t->slot = WAL_SLOT_ALL;
    size_t keys = keyspace_flush(c->ks, db, async);
    c->in->more_changes += (int64_t)keys - 1;
    if (!(c->flags & CALL_REPLAY)) {
        waits_ready_db(c->in->t, db);
    }
    return keys;
}

void call_swapdb(struct call *c, unsigned a, unsigned b)
{
    must(c->in->t->exclusive || (c->flags & CALL_REPLAY));
    c->in->changed = true;
    c->in->t->slot = WAL_SLOT_ALL;
    if (c->flags & CALL_REPLAY) {
        keyspace_swapdb(c->ks, a, b);
        return;
    }
    if (a == b) {
        return; /* nothing has changed for anybody, but it counts as a change, as in Redis */
    }
    watch_touch_swap(c, a, b);
    tracking_flushed(c); /* COMPAT: Redis tells nobody; the names mean other values now */
    keyspace_swapdb(c->ks, a, b);
    waits_ready_db(c->in->t, (int)a);
    waits_ready_db(c->in->t, (int)b);
}

/* ---- Shard locks of handlers that walk the keyspace ---- */

void call_shard_lock(struct call *c, struct shard *s)
{
    if (!c->in->t->exclusive) {
        shard_lock(s);
    }
}

void call_shard_unlock(struct call *c, struct shard *s)
{
    if (!c->in->t->exclusive) {
        shard_unlock(s);
    }
}

static bool gates_reads(const struct call *c)
{
    return exec_log_promises(c->x) && !(c->flags & CALL_REPLAY) &&
           option_int(&c->x->opt.durable_reads);
}

void call_settle(struct call *c, struct shard *s)
{
    if (!c->in->t->exclusive && gates_reads(c) && !seeded_bug("exec.bug_unsettled_count")) {
        shard_settle(s);
    }
}

void call_gate_counts(struct call *c)
{
    for (unsigned i = 0; i < keyspace_shards(c->ks); i++) {
        call_settle(c, keyspace_shard(c->ks, i));
    }
    call_gate_all(c);
}

void call_gate_all(struct call *c)
{
    if (gates_reads(c)) {
        uint64_t all = wal_tail(c->x->wal) + c->x->log_closing; /* txn_commit() */
        c->in->t->gate = u64_max(c->in->t->gate, all);
    }
}
