/* keyspace.c -- All shards together: keys, prefetch sweeps, counting, whole databases.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      Headers of one database lie side by side in one array, so that flushing or swapping a
 *          database is one pointer, whatever the number of shards or keys.
 *
 * THREADS  keyspace_key, keyspace_sweep, keyspace_count and its kin: any, without a lock.
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

/* A prefetch occupies the processor until its address is translated, and keys are all over the
 * memory: what overlaps is what fits into the window of instructions in flight. So each sweep is a
 * loop of its own that does little. Where there is nothing to fetch the table headers stand in:
 * NULL would be looked up in the page tables each time. */

/* The lock's line is fetched for writing. */
#ifdef __x86_64__
__attribute__((target("prfchw")))
#endif
static void
sweep_headers(const struct shard *shards, const struct table *all, const struct sweep_key *keys,
              unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        __builtin_prefetch(&shards[keys[i].shard].lock, 1);
        __builtin_prefetch(&all[keys[i].shard]);
    }
}

/* The primary bucket as seen without a lock: it stays mapped until this thread is quiescent, but
 * may be stale. NULL: empty, or merged away meanwhile. */
static inline const struct bucket *bucket_unlocked(const struct table *t, uint64_t hash)
{
    uint32_t n = atomic_load_explicit(&t->buckets, memory_order_acquire);
    if (unlikely(n == 0)) {
        return NULL;
    }
    struct seg_place at = table_place(table_index(hash, n));
    struct directory *dir = atomic_load_explicit(&t->dir, memory_order_acquire);
    struct bucket *seg = atomic_load_explicit(&dir[at.line].seg[at.seg], memory_order_acquire);
    return likely(seg != NULL) ? seg + at.offset : NULL;
}

static void sweep_buckets(const struct table *all, struct sweep_key *keys, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const void *b = bucket_unlocked(&all[keys[i].shard], keys[i].hash);
        keys[i].bucket = keys[i].entry = b != NULL ? b : all;
        __builtin_prefetch(keys[i].bucket);
    }
}

/* Nothing of an overflow bucket may be read: it can go at any time. */
static void sweep_entries(const struct table *all, struct sweep_key *keys, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct bucket *b = keys[i].bucket;
        if (unlikely(keys[i].bucket == all)) {
            continue;
        }
        unsigned match = bucket_match(b, key_tag(keys[i].hash));
        const void *e =
            match != 0 ? (const void *)slot_entry(word_get(b, match_slot(match))) : bucket_next(b);
        if (likely(e != NULL)) {
            keys[i].entry = e;
            __builtin_prefetch(e);
            __builtin_prefetch((const char *)e + 64);
        }
    }
}

void keyspace_sweep(struct keyspace *ks, unsigned db, struct sweep_key *keys, unsigned n)
{
    const struct table *all = atomic_load_explicit(&ks->dbs[db], memory_order_acquire);
    if (likely(all != NULL)) {
        sweep_headers(ks->shards, all, keys, n);
        sweep_buckets(all, keys, n);
        sweep_entries(all, keys, n);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        keys[i].bucket = keys[i].entry = ks;
    }
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

size_t keyspace_subexpires(const struct keyspace *ks, unsigned db)
{
    size_t n = 0;
    for (unsigned i = 0; i < ks->cfg.shards; i++) {
        const struct table *t = shard_table(&ks->shards[i], db);
        n += t != NULL ? expire_fields_count(t) : 0;
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

struct table *tables_new(const struct keyspace *ks)
{
    size_t size = ks->cfg.shards * sizeof(struct table);
    struct table *all = mem_aligned(sizeof *all, size);
    memset(all, 0, size);
    return all;
}

/* Takes one database away from all shards; its keys are still there for tables_release(). A
 * database that was in use has headers again: they are part of what an empty keyspace takes, not of
 * what its next key does. */
static struct table *detach(struct keyspace *ks, unsigned db, bool in_use)
{
    struct table *all = relaxed_get(ks->dbs[db]);
    atomic_store_explicit(&ks->dbs[db], in_use ? tables_new(ks) : NULL, memory_order_release);
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
        struct table *all = detach(ks, i, n > 0);
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
