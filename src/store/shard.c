/* shard.c -- One slice of the keyspace: finding, setting, moving and deleting its keys.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Commands on different shards must not meet. Whatever changes an entry's size or kind
 *             goes through change() here, the one place that keeps table, expiry order and
 *             ownership of the value in step.
 *
 * THREADS     Any, one at a time per shard.
 *
 * LOCKS       shard->lock, rank RANK_SHARD; taken under it: RANK_LAZYFREE.
 *
 * INVARIANTS  T1..T5 (table.c), X1..X6 (expire.c). Checked by shard_check().
 *
 * FAILURE     Out of memory: NULL, and the old value, its expiry and its address stay. */
#include "store/store_int.h"
#include "base/rng.h"
#include "ds/fields.h"

void shard_lock(struct shard *s)
{
    lock_acquire(&s->lock);
}

void shard_unlock(struct shard *s)
{
    lock_release(&s->lock);
}

/* Without the lock's line being written, for a reader of counts passes every shard. It is right
 * because counts are stored with release: who reads one (acquire) finds the lock at least as its
 * writer left it. */
void shard_settle(struct shard *s)
{
    if (unlikely(!lock_was_free(&s->lock))) {
        lock_acquire(&s->lock);
        lock_release(&s->lock);
    }
}

bool shard_try_lock(struct shard *s)
{
    return lock_try(&s->lock);
}

void shard_assert_held(struct shard *s unused_arg)
{
    lock_assert_held(&s->lock);
}

unsigned shard_index(const struct shard *s)
{
    return s->index;
}

/* The table that holds an entry, or will hold the first one: created with those of all other
 * shards. */
static struct table *table_need(struct shard *s, unsigned db)
{
    struct table *t = shard_table(s, db);
    if (likely(t != NULL)) {
        return t;
    }
    struct table *all = tables_new(s->ks), *other = NULL;
    if (!atomic_compare_exchange_strong_explicit(&s->dbs[db], &other, all, memory_order_acq_rel,
                                                 memory_order_acquire)) {
        mem_free(all);
        all = other;
    }
    uint32_t used = atomic_load_explicit(&s->ks->dbs_used, memory_order_relaxed);
    while (used <= db &&
           !atomic_compare_exchange_weak_explicit(&s->ks->dbs_used, &used, db + 1,
                                                  memory_order_release, memory_order_relaxed)) {
    }
    return &all[s->index];
}

static uint64_t hash_of(const struct entry *e)
{
    return hash_key(entry_key_bytes(e), e->klen);
}

static struct slot slot_of(const struct table *t, const struct entry *e)
{
    struct slot at = table_find_entry(t, e, hash_of(e));
    must(at.b != NULL); /* e is in this shard and database */
    return at;
}

struct entry *shard_find(struct shard *s, unsigned db, const struct key *k)
{
    shard_assert_held(s);
    const struct table *t = shard_table(s, db);
    if (t == NULL) {
        return NULL;
    }
    struct slot at = table_find(t, k->s, k->hash);
    return at.b != NULL ? slot_get(at) : NULL;
}

/* ================= Changing an entry ================= */

/* Brings e into the form f, at its address if the size class allows it; the expiry order follows.
 * drop: its value is freed, else its ownership is the caller's (or f's). Returns the entry; NULL
 * (never if sure): no memory, nothing changed. */
static struct entry *change(struct shard *s, struct table *t, struct slot at,
                            const struct entry_form *f, bool drop, bool sure)
{
    struct entry *e = slot_get(at), *now = e;
    bool had = e->flags & ENTRY_EXPIRES, has = f->flags & ENTRY_EXPIRES;
    const struct value_ops *o = drop ? entry_ops(e) : NULL;
    void *value = o != NULL ? entry_word_ptr(e) : NULL;
    bool same_class = entry_class(entry_size(e)) == entry_class(entry_form_size(f, e->klen));
    /* A big value takes its entry along to the background thread. */
    bool stay = same_class && (o == NULL || 1 + o->effort(value) <= s->ks->cfg.lazyfree_min);
    if (!stay) {
        now = entry_make(entry_key(e), f, sure);
        if (now == NULL) {
            return NULL;
        }
        now->clock = e->clock;
    }
    if (had && !has) {
        expire_remove(s, t, e);
    }
    if (drop) {
        expire_fields_leave(s, t, e);
    }
    if (stay) {
        entry_reshape(e, f);
        if (o != NULL) {
            o->free(value);
        }
    } else {
        slot_replace(at, now);
        if (had && has) {
            entry_set_place(now, entry_place(e));
            expire_moved(t, now);
        }
        if (now->flags & ENTRY_FIELDS_DUE) {
            expire_fields_moved(t, now);
        }
        if (drop) {
            entry_release(s->ks, e);
        } else {
            mem_free(e);
        }
    }
    if (has && !had) {
        expire_add(s, t, now);
    } else if (has) {
        expire_change(s, t, now, f->expire_ms);
    }
    return now;
}

/* Creates k or replaces its value. */
static struct entry *put(struct shard *s, unsigned db, const struct key *k, struct entry_form *f,
                         bool keep_expire)
{
    shard_assert_held(s);
    struct table *t = table_need(s, db);
    struct slot at = table_find(t, k->s, k->hash);
    if (at.b == NULL) {
        struct entry *e = entry_make(k->s, f, false);
        if (e != NULL) {
            table_insert(s->ks, t, k->hash, e);
        }
        return e;
    }
    struct entry *old = slot_get(at);
    if (old->flags == ENTRY_INLINE && f->flags == ENTRY_INLINE &&
        entry_class(entry_size(old)) == entry_class(entry_form_size(f, old->klen))) {
        entry_reshape(old, f); /* the usual overwrite */
        return old;
    }
    if (keep_expire && old->flags & ENTRY_EXPIRES) {
        f->flags |= ENTRY_EXPIRES;
        f->expire_ms = entry_expire(old);
    }
    return change(s, t, at, f, true, false);
}

/* put() of a blob, which stays the caller's on failure. */
static struct entry *put_blob(struct shard *s, unsigned db, const struct key *k, struct blob *b,
                              bool keep_expire)
{
    struct entry_form f = { .type = OBJ_STRING, .enc = ENC_RAW, .word = (uint64_t)(uintptr_t)b };
    return put(s, db, k, &f, keep_expire);
}

struct entry *shard_set_int(struct shard *s, unsigned db, const struct key *k, int64_t v,
                            bool keep_expire)
{
    struct entry_form f = { .type = OBJ_STRING, .enc = ENC_INT, .word = (uint64_t)v };
    return put(s, db, k, &f, keep_expire);
}

struct entry *shard_set_string(struct shard *s, unsigned db, const struct key *k, struct slice v,
                               enum string_form form, bool keep_expire)
{
    struct entry_form f;
    if (!entry_form_string(&f, v, form)) {
        return NULL;
    }
    struct entry *e = put(s, db, k, &f, keep_expire);
    if (e == NULL) {
        entry_form_release(&f);
    }
    return e;
}

struct entry *shard_put_entry(struct shard *s, unsigned db, const struct key *k, struct entry *e)
{
    shard_assert_held(s);
    struct table *t = table_need(s, db);
    struct slot at = table_find(t, k->s, k->hash);
    if (at.b == NULL) {
        table_insert(s->ks, t, k->hash, e);
        return e;
    }
    struct entry *old = slot_get(at);
    if (old->flags & ENTRY_EXPIRES) {
        expire_remove(s, t, old);
    }
    expire_fields_leave(s, t, old);
    e->clock = old->clock;
    slot_replace(at, e);
    entry_release(s->ks, old);
    return e;
}

struct entry *shard_set_string_owned(struct shard *s, unsigned db, const struct key *k, char *p,
                                     size_t n, bool keep_expire)
{
    /* Not kept: what fits into an entry, and buffers that are more than a quarter empty. */
    if (n <= STRING_INLINE_MAX || mem_usable(p) - n > n / 4) {
        struct entry *e = shard_set_string(s, db, k, slice_of(p, n), STRING_AUTO, keep_expire);
        if (e != NULL) {
            mem_free(p);
        }
        return e;
    }
    struct blob *b = blob_adopt(p, n);
    if (b == NULL) {
        return NULL;
    }
    struct entry *e = put_blob(s, db, k, b, keep_expire);
    if (e == NULL) {
        mem_free(b); /* without the buffer */
    }
    return e;
}

/* A string in its entry, or a number, becomes a blob. */
static struct entry *writable_blob(struct shard *s, struct table *t, struct entry *e,
                                   struct slice old, size_t size, char **bytes)
{
    /* What grows once grows again; what is made at its size may stay so. */
    struct blob *b = blob_new(size, old.n > 0 ? blob_room(size) : size);
    if (b == NULL) {
        return NULL;
    }
    memcpy(b->data, old.p, old.n);
    memset(b->data + old.n, 0, size - old.n);
    struct entry_form f = entry_form_of(e);
    f.enc = ENC_RAW;
    f.flags &= (uint8_t)~ENTRY_INLINE;
    f.word = (uint64_t)(uintptr_t)b;
    e = change(s, t, slot_of(t, e), &f, false, false);
    if (e == NULL) {
        blob_release(b);
        return NULL;
    }
    *bytes = b->data;
    return e;
}

struct entry *shard_string_writable(struct shard *s, unsigned db, struct entry *e, size_t size,
                                    char **bytes)
{
    shard_assert_held(s);
    struct table *t = shard_table(s, db);
    must(t != NULL && e->type == OBJ_STRING);
    if (entry_is_blob(e)) {
        struct blob *b = blob_grow(entry_word_ptr(e), size);
        if (b == NULL) {
            return NULL;
        }
        entry_set_word(e, (uint64_t)(uintptr_t)b);
        *bytes = b->data;
        return e;
    }
    char tmp[I64_TEXT_MAX];
    struct slice old = entry_string(e, tmp);
    size = size_max(size, old.n);
    if (size > STRING_INLINE_MAX) {
        return writable_blob(s, t, e, old, size, bytes);
    }
    struct entry_form f = entry_form_of(e);
    f.enc = ENC_RAW;
    f.flags |= ENTRY_INLINE;
    f.bytes = old;
    f.zeros = size - old.n;
    if (entry_class(entry_size(e)) == entry_class(entry_form_size(&f, e->klen))) {
        entry_reshape(e, &f);
    } else {
        e = change(s, t, slot_of(t, e), &f, false, false);
        if (e == NULL) {
            return NULL;
        }
    }
    *bytes = entry_inline_bytes(e);
    return e;
}

struct entry *shard_set_expire(struct shard *s, unsigned db, struct entry *e, int64_t expire_ms)
{
    shard_assert_held(s);
    struct table *t = shard_table(s, db);
    must(t != NULL);
    bool had = e->flags & ENTRY_EXPIRES;
    if (expire_ms == NO_EXPIRE && !had) {
        return e;
    }
    if (expire_ms != NO_EXPIRE && had) {
        expire_change(s, t, e, expire_ms);
        return e;
    }
    struct entry_form f = entry_form_of(e);
    f.flags ^= ENTRY_EXPIRES;
    f.expire_ms = expire_ms;
    return change(s, t, slot_of(t, e), &f, false, true);
}

void shard_put_fields(struct shard *s, unsigned db, struct entry *e, const struct fields *f)
{
    shard_assert_held(s);
    must(e->type == OBJ_HASH);
    entry_set_ptr(e, entry_fields_enc(f), f->p);
    expire_fields_sync(s, shard_table(s, db), e);
}

/* ================= Adding, moving, deleting ================= */

/* e is in no table yet and carries its expiry. */
static void add(struct shard *s, unsigned db, uint64_t hash, struct entry *e)
{
    struct table *t = table_need(s, db);
    table_insert(s->ks, t, hash, e);
    if (e->flags & ENTRY_EXPIRES) {
        expire_add(s, t, e);
    }
    expire_fields_sync(s, t, e);
}

/* For an entry that is in no table yet. */
static void set_form_expire(struct entry_form *f, int64_t expire_ms)
{
    f->flags &= (uint8_t) ~(ENTRY_EXPIRES | ENTRY_FIELDS_DUE);
    f->flags |= expire_ms != NO_EXPIRE ? ENTRY_EXPIRES : 0;
    f->expire_ms = expire_ms;
}

struct entry *shard_add_object(struct shard *s, unsigned db, const struct key *k,
                               enum obj_type type, enum obj_enc enc, void *ptr)
{
    shard_assert_held(s);
    struct entry_form f = { .type = type, .enc = enc, .word = (uint64_t)(uintptr_t)ptr };
    struct entry *e = entry_make(k->s, &f, true);
    add(s, db, k->hash, e);
    return e;
}

struct entry *shard_take(struct shard *s, unsigned db, struct entry *e)
{
    shard_assert_held(s);
    struct table *t = shard_table(s, db);
    must(t != NULL);
    if (e->flags & ENTRY_EXPIRES) {
        expire_remove(s, t, e);
    }
    expire_fields_leave(s, t, e);
    uint64_t hash = hash_of(e);
    struct slot at = table_find_entry(t, e, hash);
    must(at.b != NULL);
    table_remove(s->ks, t, hash, at);
    return e;
}

void shard_delete(struct shard *s, unsigned db, struct entry *e)
{
    entry_release(s->ks, shard_take(s, db, e));
}

struct entry *shard_insert_as(struct shard *s, unsigned db, const struct key *k,
                              struct entry *taken, int64_t expire_ms)
{
    shard_assert_held(s);
    struct entry_form f = entry_form_of(taken);
    set_form_expire(&f, expire_ms);
    struct entry *e = entry_make(k->s, &f, true);
    e->clock = taken->clock;
    mem_free(taken); /* its value moved */
    add(s, db, k->hash, e);
    return e;
}

void shard_insert_copy(struct shard *s, unsigned db, const struct key *k, struct entry *copy)
{
    shard_assert_held(s);
    add(s, db, k->hash, copy);
}

static struct entry *copy_of(const struct key *k, const struct entry *e, int64_t expire_ms)
{
    struct entry_form f = entry_form_of(e);
    set_form_expire(&f, expire_ms);
    const struct value_ops *o = entry_ops(e);
    void *value = NULL;
    if (o != NULL) {
        value = o->dup(entry_word_ptr(e));
        if (value == NULL) {
            return NULL;
        }
        f.word = (uint64_t)(uintptr_t)value;
    }
    struct entry *copy = entry_make(k->s, &f, false);
    if (copy == NULL) {
        if (o != NULL) {
            o->free(value);
        }
        return NULL;
    }
    return copy;
}

struct entry *shard_copy_as(struct shard *s, unsigned db, const struct key *k,
                            const struct entry *e, int64_t expire_ms)
{
    shard_assert_held(s);
    struct entry *copy = copy_of(k, e, expire_ms);
    struct entry *old = copy != NULL ? shard_find(s, db, k) : NULL;
    if (old != NULL) {
        shard_delete(s, db, old);
    }
    if (copy != NULL) {
        add(s, db, k->hash, copy);
    }
    return copy;
}

struct entry *entry_copy(const struct key *k, const struct entry *e)
{
    return copy_of(k, e, entry_expire(e));
}

/* ================= Walking ================= */

uint64_t shard_scan(struct shard *s, unsigned db, uint64_t cursor,
                    void (*visit)(void *arg, struct entry *e), void *arg)
{
    shard_assert_held(s);
    const struct table *t = shard_table(s, db);
    return t != NULL ? table_scan(t, cursor, visit, arg) : 0;
}

void shard_each(struct shard *s, unsigned db, bool (*visit)(void *arg, struct entry *e), void *arg)
{
    shard_assert_held(s);
    const struct table *t = shard_table(s, db);
    if (t != NULL) {
        table_each(t, visit, arg);
    }
}

struct entry *shard_random(struct shard *s, unsigned db, bool expiring)
{
    struct entry *e = NULL;
    shard_assert_held(s);
    const struct table *t = shard_table(s, db);
    if (t != NULL && !expiring) {
        e = table_random(t);
    } else if (t != NULL && table_expires(t) > 0) {
        e = expire_at(&t->expire, (uint32_t)rng_below(table_expires(t)))->e;
    }
    return e;
}

unsigned shard_sample(struct shard *s, unsigned db, bool expiring, struct entry **out, unsigned n)
{
    shard_assert_held(s);
    const struct table *t = shard_table(s, db);
    if (t == NULL) {
        return 0;
    }
    if (!expiring) {
        return table_sample(t, out, n);
    }
    uint32_t count = table_expires(t);
    if (count <= n) {
        n = count;
    }
    /* One from each of n equal parts: distinct, and not neighbours in the order of expiry. */
    for (unsigned i = 0; i < n; i++) {
        uint64_t from = (uint64_t)count * i / n, to = (uint64_t)count * (i + 1) / n;
        out[i] = expire_at(&t->expire, (uint32_t)(from + rng_below(to - from)))->e;
    }
    return n;
}

/* ================= Counting and checking ================= */

size_t shard_count(const struct shard *s, unsigned db)
{
    const struct table *t = shard_table(s, db);
    return t != NULL ? count_get(t->count) : 0;
}

size_t shard_expires(const struct shard *s, unsigned db)
{
    const struct table *t = shard_table(s, db);
    return t != NULL ? count_get(t->expire.count) : 0;
}

void shard_table_stats(struct shard *s, unsigned db, struct table_stats *add_to)
{
    shard_assert_held(s);
    const struct table *t = shard_table(s, db);
    if (t != NULL) {
        table_stats(t, add_to);
    }
}

void shard_check(struct shard *s)
{
    shard_assert_held(s);
    int64_t due = INT64_MAX;
    for (unsigned db = 0; db < s->ks->cfg.databases; db++) {
        const struct table *t = shard_table(s, db);
        if (t == NULL) {
            continue;
        }
        must(db < relaxed_get(s->ks->dbs_used));
        table_check(t);
        expire_check(s, t);
        due = expire_top(t) < due ? expire_top(t) : due;
    }
    must(due == shard_next_due(s)); /* X4 */
}
