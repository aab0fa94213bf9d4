/* keyspace.c -- All shards together: keys, prefetch sweeps, counting, whole databases.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      Headers of one database lie side by side in one array, so that flushing or swapping a
 *          database is one pointer, whatever the number of shards or keys.
 *
 * THREADS  keyspace_key, keyspace_prefetch_*, keyspace_count and its kin: any, without a lock.
 *          keyspace_flush and keyspace_swapdb: under all shard locks. */
#include "store/store_int.h"
#include <errno.h>

static const struct keyspace_config defaults = { .shards = 1024,
                                                 .databases = 16,
                                                 .lazyfree_min = 64 };

int keyspace_new(struct keyspace **out, const struct keyspace_config *cfg)
{
    struct keyspace_config c = *cfg;
    c.shards = c.shards != 0 ? c.shards : defaults.shards;
    c.databases = c.databases != 0 ? c.databases : defaults.databases;
    c.lazyfree_min = c.lazyfree_min != 0 ? c.lazyfree_min : defaults.lazyfree_min;
    if ((c.shards & (c.shards - 1)) != 0 || c.shards > SHARDS_MAX || c.databases > DATABASES_MAX) {
        return -EINVAL;
    }
    struct keyspace *ks = mem_aligned(64, sizeof *ks);
    memset(ks, 0, sizeof *ks);
    ks->cfg = c;
    ks->shard_shift = 16 - (unsigned)__builtin_ctz(c.shards);
    ks->dbs = mem_calloc(c.databases * sizeof *ks->dbs);
    ks->shards = mem_aligned(sizeof *ks->shards, c.shards * sizeof *ks->shards);
    for (unsigned i = 0; i < c.shards; i++) {
        struct shard *s = &ks->shards[i];
        memset(s, 0, sizeof *s);
        lock_init(&s->lock, RANK_SHARD, i);
        atomic_init(&s->next_due, INT64_MAX);
        s->ks = ks;
        s->dbs = ks->dbs;
        s->index = i;
    }
    int err = lazyfree_start(ks);
    if (err != 0) {
        mem_free(ks->shards);
        mem_free(ks->dbs);
        mem_free(ks);
        return err;
    }
    *out = ks;
    return 0;
}

void keyspace_free(struct keyspace *ks)
{
    ks->cfg.retire = NULL; /* nobody looks any more */
    for (unsigned db = 0; db < ks->cfg.databases; db++) {
        struct table *all = relaxed_get(ks->dbs[db]);
        if (all != NULL) {
            tables_release(ks, all, keyspace_count(ks, db), false);
        }
    }
    lazyfree_stop(ks);
    mem_free(ks->shards);
    mem_free(ks->dbs);
    mem_free(ks);
}

unsigned keyspace_shards(const struct keyspace *ks)
{
    return ks->cfg.shards;
}

unsigned keyspace_databases(const struct keyspace *ks)
{
    return ks->cfg.databases;
}

struct key keyspace_key(const struct keyspace *ks, struct slice s)
{
    uint64_t hash = hash_key(s.p, s.n);
    return (struct key){ s, hash, (uint32_t)(hash >> 48 >> ks->shard_shift) };
}

struct shard *keyspace_shard(struct keyspace *ks, unsigned index)
{
    must(index < ks->cfg.shards);
    return &ks->shards[index];
}

void keyspace_retire(struct keyspace *ks, void *p, void (*free_fn)(void *p))
{
    if (ks->cfg.retire != NULL) {
        ks->cfg.retire(ks->cfg.retire_arg, p, free_fn);
    } else {
        free_fn(p);
    }
}

/* ================= Prefetch sweeps ================= */

/* The primary bucket of k as seen without a lock: it stays mapped until this thread is quiescent,
 * but may be stale. */
static const struct bucket *bucket_unlocked(const struct keyspace *ks, unsigned db,
                                            const struct key *k)
{
    const struct table *t = atomic_load_explicit(&ks->dbs[db], memory_order_acquire);
    if (unlikely(t == NULL)) {
        return NULL;
    }
    t += k->shard;
    uint32_t n = atomic_load_explicit(&t->buckets, memory_order_acquire);
    if (unlikely(n == 0)) {
        return NULL;
    }
    struct seg_place at = table_place(table_index(k->hash, n));
    struct directory *dir = atomic_load_explicit(&t->dir, memory_order_acquire);
    struct bucket *seg = atomic_load_explicit(&dir[at.line].seg[at.seg], memory_order_acquire);
    return likely(seg != NULL) ? seg + at.offset : NULL; /* NULL: merged away meanwhile */
}

/* The lock's line is fetched for writing. */
#ifdef __x86_64__
__attribute__((target("prfchw")))
#endif
void keyspace_prefetch_table(struct keyspace *ks, unsigned db, const struct key *k)
{
    __builtin_prefetch(&ks->shards[k->shard].lock, 1);
    __builtin_prefetch(atomic_load_explicit(&ks->dbs[db], memory_order_relaxed) + k->shard);
}

void keyspace_prefetch_bucket(struct keyspace *ks, unsigned db, const struct key *k)
{
    const struct bucket *b = bucket_unlocked(ks, db, k);
    if (b != NULL) {
        __builtin_prefetch(b);
    }
}

void keyspace_prefetch_entry(struct keyspace *ks, unsigned db, const struct key *k)
{
    const struct bucket *b = bucket_unlocked(ks, db, k);
    if (b == NULL) {
        return;
    }
    for (unsigned mask = bucket_match(b, key_tag(k->hash)); mask != 0; mask &= mask - 1) {
        const char *e = (const char *)slot_entry(word_get(b, (unsigned)__builtin_ctz(mask)));
        __builtin_prefetch(e);
        __builtin_prefetch(e + 64);
    }
    /* Nothing of an overflow bucket may be read: it can go at any time. NULL would be looked up in
     * the page tables each time. */
    const struct bucket *next = bucket_next(b);
    __builtin_prefetch(next != NULL ? next : b);
}

/* ================= Locks ================= */

void keyspace_lock_many(struct keyspace *ks, const uint32_t *index, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        must(index[i] < ks->cfg.shards && (i == 0 || index[i - 1] < index[i]));
        lock_acquire(&ks->shards[index[i]].lock);
    }
}

void keyspace_unlock_many(struct keyspace *ks, const uint32_t *index, unsigned n)
{
    for (unsigned i = n; i > 0; i--) {
        lock_release(&ks->shards[index[i - 1]].lock);
    }
}

/* ================= Counting ================= */

size_t keyspace_count(const struct keyspace *ks, unsigned db)
{
    size_t n = 0;
    if (atomic_load_explicit(&ks->dbs[db], memory_order_acquire) == NULL) {
        return 0;
    }
    for (unsigned i = 0; i < ks->cfg.shards; i++) {
        n += shard_count(&ks->shards[i], db);
    }
    return n;
}

size_t keyspace_expires(const struct keyspace *ks, unsigned db)
{
    size_t n = 0;
    for (unsigned i = 0; i < ks->cfg.shards; i++) {
        n += shard_expires(&ks->shards[i], db);
    }
    return n;
}

size_t keyspace_overhead(const struct keyspace *ks, unsigned db)
{
    const struct table *all = atomic_load_explicit(&ks->dbs[db], memory_order_acquire);
    if (all == NULL) {
        return 0;
    }
    size_t n = ks->cfg.shards * sizeof *all;
    for (unsigned i = 0; i < ks->cfg.shards; i++) {
        n += table_memory(&all[i]);
    }
    return n;
}

/* ================= Whole databases ================= */

static void assert_all_held(struct keyspace *ks unused_arg)
{
    for (unsigned i = 0; i < ks->cfg.shards; i++) {
        shard_assert_held(&ks->shards[i]);
    }
}

/* Takes one database away from all shards; its keys are still there for tables_release(). */
static struct table *detach(struct keyspace *ks, unsigned db)
{
    struct table *all = relaxed_get(ks->dbs[db]);
    atomic_store_explicit(&ks->dbs[db], NULL, memory_order_release);
    for (unsigned i = 0; all != NULL && i < ks->cfg.shards; i++) {
        expire_detached(&ks->shards[i], &all[i]);
    }
    return all;
}

size_t keyspace_flush(struct keyspace *ks, int db, bool async)
{
    assert_all_held(ks);
    unsigned first = db < 0 ? 0 : (unsigned)db, end = db < 0 ? ks->cfg.databases : first + 1;
    must(end <= ks->cfg.databases);
    size_t total = 0;
    for (unsigned i = first; i < end; i++) {
        size_t n = keyspace_count(ks, i);
        struct table *all = detach(ks, i);
        if (all != NULL) {
            tables_release(ks, all, n, async);
        }
        total += n;
    }
    return total;
}

void keyspace_swapdb(struct keyspace *ks, unsigned a, unsigned b)
{
    assert_all_held(ks);
    must(a < ks->cfg.databases && b < ks->cfg.databases);
    struct table *of_a = relaxed_get(ks->dbs[a]), *of_b = relaxed_get(ks->dbs[b]);
    atomic_store_explicit(&ks->dbs[a], of_b, memory_order_release);
    atomic_store_explicit(&ks->dbs[b], of_a, memory_order_release);
    unsigned used = (a > b ? a : b) + 1;
    if (relaxed_get(ks->dbs_used) < used) {
        atomic_store_explicit(&ks->dbs_used, used, memory_order_release);
    }
}
