/* table.c -- The bucketed table of one database in one shard: linear hashing, bucket by bucket.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         There is no second table while it grows, no array of buckets that moves, and no
 *             command that does more than one split or merge. A bucket is a cache line with tags,
 *             so that a miss touches no entry. Source: Litwin, "Linear Hashing" (1980).
 *
 * THREADS     The holder of the shard lock changes; sweeps read what store_int.h says.
 *
 * INVARIANTS  T1  count is the number of entries in all chains
 *
 *             T2  each slot's tag and chain are those of its entry's key; no key stands twice
 *             T3  the used slots of a chain come first: no hole, no empty overflow bucket
 *             T4  overflow is the number of overflow buckets in all chains
 *             T5  segments exist exactly up to the last bucket in use
 *             Checked by table_check().
 *
 * FAILURE     None: what a table allocates for itself is small (mem_aligned never fails). */
#include "store/store_int.h"
#include "base/fault.h"
#include "base/rng.h"

/* Entries per primary bucket, times four, above which a bucket is split: 4.75 of 7 slots. The
 * buckets still to be split in a round hold up to twice the average, so overflow buckets cost more
 * memory than they save beyond this. */
#define LOAD_SPLIT_X4 19
/* Below, a bucket is merged: far enough that a changing count does not split and merge the same
 * one. */
#define LOAD_MERGE_X4 8
/* Directory lines for segments of 2^0 .. 2^24 buckets; 1.4 thousand million entries per shard
 * before chains grow. */
#define BUCKETS_MAX ((1u << 28) - 8)
/* Chains longer than this are drawn from a little too seldom by table_random(): one in a thousand
 * at the worst load. */
#define CHAIN_USUAL 21

static inline bool chain_next(struct slot *at)
{
    if (++at->i == BUCKET_SLOTS) {
        *at = (struct slot){ bucket_next(at->b), 0 };
    }
    return at->b != NULL && word_get(at->b, at->i) != 0;
}

/* for (struct slot at = ...; more; more = chain_next(&at)) */
#define CHAIN_EACH(at, bucket)                                                               \
    for (struct slot at = { (bucket), 0 }, *more_ = word_get((bucket), 0) != 0 ? &at : NULL; \
         more_ != NULL; more_ = chain_next(&at) ? &at : NULL)

static inline uint32_t buckets_of(const struct table *t)
{
    return relaxed_get(t->buckets);
}

static inline uint64_t count_of(const struct table *t)
{
    return relaxed_get(t->count);
}

static inline struct directory *dir_of(const struct table *t)
{
    return relaxed_get(t->dir);
}

static inline struct bucket *bucket_at(const struct table *t, uint32_t index)
{
    struct seg_place at = table_place(index);
    return relaxed_get(dir_of(t)[at.line].seg[at.seg]) + at.offset;
}

static inline uint64_t entry_hash(const struct entry *e)
{
    return hash_key(entry_key_bytes(e), e->klen);
}

static void bucket_clear(struct bucket *b)
{
    for (unsigned i = 0; i < 8; i++) {
        word_set(b, i, 0);
    }
}

/* ================= Chains ================= */

static struct bucket *overflow_new(struct table *t, struct bucket *after)
{
    struct bucket *b = mem_aligned(sizeof *b, sizeof *b);
    bucket_clear(b);
    word_set(after, BUCKET_LINK, (uint64_t)(uintptr_t)b);
    relaxed_set(t->overflow, relaxed_get(t->overflow) + 1);
    return b;
}

/* Frees what follows b in its chain. */
static void overflow_cut(struct table *t, struct bucket *b)
{
    struct bucket *next = bucket_next(b);
    word_set(b, BUCKET_LINK, 0);
    while (next != NULL) {
        struct bucket *gone = next;
        next = bucket_next(gone);
        mem_free(gone);
        relaxed_set(t->overflow, relaxed_get(t->overflow) - 1);
    }
}

/* Writes w at *at, the first free place of a chain; *at becomes the next one. at->i may stand
 * behind the last slot. */
static void chain_put(struct table *t, struct slot *at, uint64_t w)
{
    if (at->i == BUCKET_SLOTS) {
        struct bucket *next = bucket_next(at->b);
        *at = (struct slot){ next != NULL ? next : overflow_new(t, at->b), 0 };
    }
    word_set(at->b, at->i++, w);
}

static void chain_add(struct table *t, struct bucket *b, uint64_t w)
{
    struct slot at = { b, 0 };
    for (;;) {
        while (at.i < BUCKET_SLOTS && word_get(at.b, at.i) != 0) {
            at.i++;
        }
        struct bucket *next = bucket_next(at.b);
        if (at.i < BUCKET_SLOTS || next == NULL) {
            chain_put(t, &at, w);
            return;
        }
        at = (struct slot){ next, 0 };
    }
}

struct slot table_find_entry(const struct table *t, const struct entry *e, uint64_t hash)
{
    uint64_t w = slot_word(hash, e);
    for (struct bucket *b = table_bucket(t, hash); b != NULL; b = bucket_next(b)) {
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            if (word_get(b, i) == w) {
                return (struct slot){ b, i };
            }
        }
    }
    return (struct slot){ NULL, 0 };
}

/* ================= Growing and shrinking ================= */

/* Makes sure that bucket `index`, the first that does not exist yet, has memory. */
static void add_memory(struct keyspace *ks, struct table *t, uint32_t index)
{
    struct seg_place at = table_place(index);
    struct directory *dir = dir_of(t);
    uint32_t lines = relaxed_get(t->doublings);
    if (at.line >= lines) {
        struct directory *bigger = mem_aligned(sizeof *dir, (at.line + 1) * sizeof *dir);
        for (uint32_t line = 0; line <= at.line; line++) {
            for (unsigned i = 0; i < 8; i++) {
                struct bucket *seg = line < lines ? dir[line].seg[i] : NULL;
                atomic_init(&bigger[line].seg[i], seg);
            }
        }
        relaxed_set(t->doublings, at.line + 1);
        atomic_store_explicit(&t->dir, bigger, memory_order_release);
        if (dir != NULL) {
            keyspace_retire(ks, dir, mem_free);
        }
        dir = bigger;
    }
    if (at.offset == 0) {
        struct bucket *seg = mem_aligned(sizeof *seg, sizeof *seg << at.line);
        atomic_store_explicit(&dir[at.line].seg[at.seg], seg, memory_order_release);
    }
}

/* Adds bucket n and moves to it what belongs there from its buddy, the bucket with n's top bit off.
 */
static void split_one(struct keyspace *ks, struct table *t)
{
    uint32_t n = buckets_of(t);
    if (unlikely(n == BUCKETS_MAX)) {
        return;
    }
    add_memory(ks, t, n);
    struct bucket *high = bucket_at(t, n);
    bucket_clear(high);
    if (n > 0) {
        uint32_t top = 0x80000000u >> __builtin_clz(n);
        struct bucket *low = bucket_at(t, n ^ top);
        CHAIN_EACH(at, low)
        {
            __builtin_prefetch(slot_get(at));
        }
        struct slot stay = { low, 0 }, go = { high, 0 };
        CHAIN_EACH(at, low)
        {
            uint64_t w = word_get(at.b, at.i);
            if (seeded_bug("store.bug_split_loses") && at.i == BUCKET_SLOTS - 1) {
                continue;
            }
            chain_put(t, entry_hash(slot_entry(w)) & top ? &go : &stay, w);
        }
        /* `stay` never overtakes the reader, so the chain has all its buckets; what lies behind it
         * is stale. */
        struct bucket *last = stay.b;
        for (unsigned i = stay.i; i < BUCKET_SLOTS; i++) {
            word_set(last, i, 0);
        }
        overflow_cut(t, last);
    }
    atomic_store_explicit(&t->buckets, n + 1, memory_order_release);
}

/* Takes the last bucket away: its entries join its buddy. */
static void merge_one(struct keyspace *ks, struct table *t)
{
    uint32_t last = buckets_of(t) - 1;
    struct bucket *from = bucket_at(t, last);
    struct bucket *to = bucket_at(t, last ^ (0x80000000u >> __builtin_clz(last)));
    CHAIN_EACH(at, from)
    {
        chain_add(t, to, word_get(at.b, at.i));
    }
    overflow_cut(t, from);
    atomic_store_explicit(&t->buckets, last, memory_order_release);
    struct seg_place at = table_place(last);
    if (at.offset == 0) {
        relaxed_set(dir_of(t)[at.line].seg[at.seg], NULL);
        keyspace_retire(ks, from, mem_free);
    }
}

void table_insert(struct keyspace *ks, struct table *t, uint64_t hash, struct entry *e)
{
    uint64_t count = count_of(t) + 1;
    if (count * 4 > (uint64_t)buckets_of(t) * LOAD_SPLIT_X4) {
        split_one(ks, t);
    }
    chain_add(t, table_bucket(t, hash), slot_word(hash, e));
    count_set(t->count, count);
}

void table_remove(struct keyspace *ks, struct table *t, uint64_t hash, struct slot at)
{
    struct bucket *last = bucket_at(t, table_index(hash, buckets_of(t))), *before = NULL;
    for (struct bucket *next; (next = bucket_next(last)) != NULL; last = next) {
        before = last;
    }
    unsigned i = BUCKET_SLOTS - 1;
    while (word_get(last, i) == 0) {
        i--;
    }
    word_set(at.b, at.i, word_get(last, i));
    word_set(last, i, 0);
    if (i == 0 && before != NULL) {
        overflow_cut(t, before);
    }
    uint64_t count = count_of(t) - 1;
    count_set(t->count, count);
    uint32_t n = buckets_of(t);
    if (n > 1 && count * 4 < (uint64_t)n * LOAD_MERGE_X4) {
        merge_one(ks, t);
    }
}

void table_free_entries(struct table *t, _Atomic uint64_t *done)
{
    for (uint32_t i = 0; i < buckets_of(t); i++) {
        struct bucket *b = bucket_at(t, i);
        CHAIN_EACH(at, b)
        {
            entry_free(slot_get(at));
            atomic_fetch_add_explicit(done, 1, memory_order_relaxed);
        }
        overflow_cut(t, b);
    }
    expire_order_free(&t->expire);
    struct expire_order *fields = relaxed_get(t->fields);
    if (fields != NULL) {
        expire_order_free(fields);
    }
}

void table_free_segments(struct table *t)
{
    struct directory *dir = dir_of(t);
    for (uint32_t line = 0; line < relaxed_get(t->doublings); line++) {
        for (unsigned i = 0; i < 8; i++) {
            mem_free(relaxed_get(dir[line].seg[i]));
        }
    }
    mem_free(dir);
    mem_free(relaxed_get(t->fields));
}

/* ================= Walking ================= */

static inline uint32_t reverse_bits(uint32_t v)
{
    v = __builtin_bswap32(v);
    v = (v & 0x0f0f0f0f) << 4 | (v >> 4 & 0x0f0f0f0f);
    v = (v & 0x33333333) << 2 | (v >> 2 & 0x33333333);
    return (v & 0x55555555) << 1 | (v >> 1 & 0x55555555);
}

/* Bits of the hash that all entries of a bucket share. */
static inline unsigned bucket_depth(uint32_t index, uint32_t n)
{
    unsigned level = 31 - (unsigned)__builtin_clz(n);
    uint32_t top = 1u << level;
    return index >= top || index < n - top ? level + 1 : level;
}

/* Order all hashes by their low 32 bits read backwards: then the entries of a bucket, whatever the
 * size of the table, are an interval, and a bucket splits into two neighbours. The cursor is a
 * point in that order (written backwards again, so that small tables have small cursors): all
 * entries before it have been visited. A call visits the whole bucket around the point and steps to
 * that bucket's end, so nothing that stays is ever passed over. */
uint64_t table_scan(const struct table *t, uint64_t cursor,
                    void (*visit)(void *arg, struct entry *e), void *arg)
{
    uint32_t n = buckets_of(t);
    if (n == 0) {
        return 0;
    }
    uint32_t point = reverse_bits((uint32_t)cursor), index = table_index(cursor, n);
    CHAIN_EACH(at, bucket_at(t, index))
    {
        visit(arg, slot_get(at));
    }
    uint64_t interval = (uint64_t)1 << (32 - bucket_depth(index, n));
    uint64_t end = (point | (interval - 1)) + 1;
    return reverse_bits((uint32_t)end); /* 2^32, the end of the order, is 0 */
}

bool table_each(const struct table *t, bool (*visit)(void *arg, struct entry *e), void *arg)
{
    for (uint32_t i = 0; i < buckets_of(t); i++) {
        CHAIN_EACH(at, bucket_at(t, i))
        {
            if (!visit(arg, slot_get(at))) {
                return false;
            }
        }
    }
    return true;
}

static unsigned chain_length(const struct table *t, uint32_t index)
{
    unsigned n = 0;
    CHAIN_EACH(at, bucket_at(t, index))
    {
        n++;
    }
    return n;
}

static struct entry *chain_at(const struct table *t, uint32_t index, unsigned nth)
{
    CHAIN_EACH(at, bucket_at(t, index))
    {
        if (nth-- == 0) {
            return slot_get(at);
        }
    }
    return NULL;
}

/* A random place (bucket, position up to CHAIN_USUAL) until one is taken: every entry is as likely.
 */
struct entry *table_random(const struct table *t)
{
    uint32_t n = buckets_of(t);
    if (count_of(t) == 0) {
        return NULL;
    }
    uint32_t index = 0;
    for (int tries = 0; tries < 100; tries++) {
        index = (uint32_t)rng_below(n);
        struct entry *e = chain_at(t, index, (unsigned)rng_below(CHAIN_USUAL));
        if (e != NULL) {
            return e;
        }
    }
    /* Nearly empty: the next bucket that has any. */
    unsigned length;
    while ((length = chain_length(t, index)) == 0) {
        index = (index + 1) % n;
    }
    return chain_at(t, index, (unsigned)rng_below(length));
}

/* Neighbouring buckets from a random one on: as good as random, for hashes are, and one miss for
 * several entries. */
unsigned table_sample(const struct table *t, struct entry **out, unsigned n)
{
    uint32_t buckets = buckets_of(t);
    if (count_of(t) == 0) {
        return 0;
    }
    unsigned got = 0;
    uint32_t index = (uint32_t)rng_below(buckets);
    for (uint32_t i = 0; i < buckets && got < n; i++, index = (index + 1) % buckets) {
        CHAIN_EACH(at, bucket_at(t, index))
        {
            if (got == n) {
                break;
            }
            out[got++] = slot_get(at);
        }
    }
    return got;
}

/* ================= Telling and checking ================= */

size_t table_memory(const struct table *t)
{
    uint32_t n = buckets_of(t);
    if (n == 0) {
        return 0;
    }
    const struct expire_order *fields = atomic_load_explicit(&t->fields, memory_order_acquire);
    size_t order = expire_order_memory(&t->expire);
    order += fields != NULL ? expire_order_memory(fields) : 0;
    struct seg_place last = table_place(n - 1);
    uint32_t capacity = n + (1u << last.line) - 1 - last.offset;
    return ((size_t)capacity + relaxed_get(t->overflow)) * sizeof(struct bucket) +
           relaxed_get(t->doublings) * sizeof(struct directory) + order;
}

void table_stats(const struct table *t, struct table_stats *add_to)
{
    uint32_t n = buckets_of(t);
    add_to->buckets += n;
    add_to->overflow_buckets += relaxed_get(t->overflow);
    add_to->slots_used += count_of(t);
    for (uint32_t i = 0; i < n; i++) {
        unsigned length = chain_length(t, i);
        add_to->longest_chain = u64_max(add_to->longest_chain, length);
        add_to->chains[size_min(length, countof(add_to->chains) - 1)]++;
    }
}

static void check_chain(const struct table *t, uint32_t index, uint64_t *entries,
                        uint64_t *overflow)
{
    bool ended = false;
    for (const struct bucket *b = bucket_at(t, index); b != NULL; b = bucket_next(b)) {
        must(b == bucket_at(t, index) || word_get(b, 0) != 0); /* T3 */
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            uint64_t w = word_get(b, i);
            ended = ended || w == 0;
            must(ended == (w == 0)); /* T3 */
            if (w == 0) {
                continue;
            }
            const struct entry *e = slot_entry(w);
            uint64_t hash = entry_hash(e);
            must(slot_word(hash, e) == w && table_index(hash, buckets_of(t)) == index); /* T2 */
            struct slot first = table_find(t, entry_key(e), hash);
            must(first.b == b && first.i == i); /* T2 */
            (*entries)++;
        }
        *overflow += bucket_next(b) != NULL;
    }
}

void table_check(const struct table *t)
{
    uint64_t entries = 0, overflow = 0;
    uint32_t n = buckets_of(t);
    for (uint32_t i = 0; i < n; i++) {
        check_chain(t, i, &entries, &overflow);
    }
    must(entries == count_of(t));               /* T1 */
    must(overflow == relaxed_get(t->overflow)); /* T4 */
    uint32_t first = 0;
    for (uint32_t line = 0; line < relaxed_get(t->doublings); line++) {
        for (unsigned i = 0; i < 8; i++, first += 1u << line) {
            must((relaxed_get(dir_of(t)[line].seg[i]) != NULL) == (first < n)); /* T5 */
        }
    }
}
