/* store_int.h -- Private structs: entry layout, bucketed table, expiry order, keyspace.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      A lookup touches, in this order: the shard's table header (one line), one pointer of its
 *          directory, one bucket (one line), the entry. All but the last two stay in the
 *          second-level cache.
 *
 * THREADS  Words that unlocked prefetch sweeps read are _Atomic: header, directory, slots of
 *          primary buckets. The holder of the shard lock is the only writer, so it reads them
 *          relaxed; what a sweep may dereference is published with release and read with acquire.
 *          A sweep never dereferences an overflow bucket, an entry or a heap. */
#ifndef STORE_STORE_INT_H
#define STORE_STORE_INT_H

#include "base/hash.h"
#include "base/mem.h"
#include "store/store.h"
#include <pthread.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* ================= Entries ================= */

/* One allocation of entry_class(size) bytes, so that its size is known without asking:
 *
 *      0  type:4 enc:4 | flags:8 | epoch:16
 *      4  access clock
 *      8  key length
 *     12  length of the value bytes
 *     16  value word (8), unless ENTRY_INLINE
 *     ..  expiry (8) and place (4), if ENTRY_EXPIRES
 *     ..  key bytes
 *     ..  value bytes, if ENTRY_INLINE
 *
 * The value word is an int64 (ENC_INT), a struct blob * (other strings) or the container. `place`
 * is the entry's index in the expiry order. (In the order of field dues it is kept by the value.)
 */
struct entry {
    uint8_t type : 4, enc : 4;
    uint8_t flags;
    uint16_t epoch; /* of the snapshot that has seen it; 0 from creation */
    uint32_t clock;
    uint32_t klen;
    uint32_t vlen; /* bytes inside; 0 unless ENTRY_INLINE */
    char body[];
};
_Static_assert(sizeof(struct entry) == 16, "entry header");

enum entry_flags {
    ENTRY_INLINE = 1,
    ENTRY_EXPIRES = 2,
    ENTRY_FIELDS_DUE = 4 /* some field of the hash has a due */
};

#define ENTRY_SIZE_MIN 32u
#define EMBSTR_MAX     44u /* what OBJECT ENCODING calls embstr, as in Redis */
#define NO_EXPIRE      (-1)

/* Strings up to here lie inside their entry. Beyond, a copy (GET, growth, moving the entry) begins
 * to cost more than the extra cache miss of a blob. */
#define STRING_INLINE_MAX 1024u

/* The size classes of the allocator: multiples of 16 up to 128, then four per doubling. */
static inline size_t entry_class(size_t n)
{
    if (n <= 128) {
        return n <= ENTRY_SIZE_MIN ? ENTRY_SIZE_MIN : (n + 15) & ~(size_t)15;
    }
    size_t step = (size_t)1 << (61 - __builtin_clzll(n - 1));
    return (n + step - 1) & ~(step - 1);
}

static inline size_t entry_word_size(const struct entry *e)
{
    return e->flags & ENTRY_INLINE ? 0 : 8;
}

/* Offsets below are from e->body. */
static inline size_t entry_key_offset(const struct entry *e)
{
    return entry_word_size(e) + (e->flags & ENTRY_EXPIRES ? 12 : 0);
}

static inline char *entry_key_bytes(const struct entry *e)
{
    return (char *)e->body + entry_key_offset(e);
}

static inline char *entry_inline_bytes(const struct entry *e)
{
    return entry_key_bytes(e) + e->klen;
}

static inline size_t entry_size(const struct entry *e)
{
    return sizeof *e + entry_key_offset(e) + e->klen + e->vlen;
}

static inline uint64_t entry_word(const struct entry *e)
{
    uint64_t w;
    memcpy(&w, e->body, sizeof w);
    return w;
}

static inline void entry_set_word(struct entry *e, uint64_t w)
{
    memcpy(e->body, &w, sizeof w);
}

static inline void *entry_word_ptr(const struct entry *e)
{
    return (void *)(uintptr_t)entry_word(e);
}

static inline bool entry_is_blob(const struct entry *e)
{
    return e->type == OBJ_STRING && !(e->flags & ENTRY_INLINE) && e->enc != ENC_INT;
}

static inline uint32_t entry_place(const struct entry *e)
{
    uint32_t place;
    memcpy(&place, e->body + entry_word_size(e) + 8, sizeof place);
    return place;
}

static inline void entry_set_place(struct entry *e, uint32_t place)
{
    memcpy(e->body + entry_word_size(e) + 8, &place, sizeof place);
}

static inline void entry_set_when(struct entry *e, int64_t when)
{
    memcpy(e->body + entry_word_size(e), &when, sizeof when);
}

/* What an entry is to become; see entry_make(). */
struct entry_form {
    enum obj_type type;
    enum obj_enc enc;
    uint8_t flags;      /* enum entry_flags */
    uint64_t word;      /* unless ENTRY_INLINE */
    struct slice bytes; /* with ENTRY_INLINE */
    size_t zeros;       /* with ENTRY_INLINE: so many zero bytes follow */
    int64_t expire_ms;  /* with ENTRY_EXPIRES */
};
static inline size_t entry_form_size(const struct entry_form *f, size_t klen)
{
    return sizeof(struct entry) + (f->flags & ENTRY_INLINE ? f->bytes.n + f->zeros : 8) +
           (f->flags & ENTRY_EXPIRES ? 12 : 0) + klen;
}
struct entry_form entry_form_of(const struct entry *e); /* as it is now */
/* What a string with this text is to be; a large one is copied here: false for want of memory.
 * Until an entry has taken it over it is to be given back. */
must_check bool entry_form_string(struct entry_form *f, struct slice v, enum string_form form);
void entry_form_release(const struct entry_form *f);
/* A new entry, or NULL: no memory. `sure`: never NULL. */
struct entry *entry_make(struct slice key, const struct entry_form *f, bool sure) must_check;
/* The same entry in another form, in place: the class must be the same. The old value is the
 * caller's; f->bytes may be the entry's own value. Access clock and key stay, and the place in the
 * expiry order where both forms have one. */
void entry_reshape(struct entry *e, const struct entry_form *f);
/* Frees value and entry now. Any thread. */
void entry_free(struct entry *e);

/* ================= Large strings ================= */

/* Bytes shared between an entry and replies under way. refs 1: the entry alone, which may then
 * change them. */
struct blob {
    _Atomic uint32_t refs;
    size_t len, cap;
    char *data; /* after the struct, or a buffer that was handed in */
};
struct blob *blob_new(size_t len, size_t cap) must_check; /* bytes undefined; NULL: no memory */
/* Owns p afterwards. NULL: no memory, p stays the caller's. */
struct blob *blob_adopt(char *p, size_t n) must_check;
size_t blob_room(size_t size); /* capacity to give a growing string of that size */
/* b or its replacement with at least `size` bytes that nobody else refers to, zeros after the old
 * length; NULL: no memory, b as it was. */
struct blob *blob_grow(struct blob *b, size_t size) must_check;
size_t blob_memory(const struct blob *b);

/* ================= Values by type and encoding ================= */

struct value_ops {
    void (*free)(void *value);
    size_t (*memory)(const void *value, unsigned samples);
    void *(*dup)(const void *value); /* NULL: no memory */
    size_t (*effort)(const void *value);
};
const struct value_ops *value_ops_of(enum obj_type t, enum obj_enc enc); /* of a container */
/* NULL when the entry owns nothing outside itself. */
const struct value_ops *entry_ops(const struct entry *e);
/* The earliest due of its fields, also of what is no hash; NO_EXPIRE: none. */
int64_t entry_fields_due(const struct entry *e);
uint32_t *entry_fields_place(const struct entry *e); /* with ENTRY_FIELDS_DUE */

/* ================= Table ================= */

#define BUCKET_SLOTS 7
#define BUCKET_LINK  7

/* Slots: tag << 48 | entry. The first slot that is 0 ends the chain's entries. The last word is the
 * next bucket of the chain (an overflow bucket) or 0. */
struct bucket {
    _Atomic uint64_t word[8];
} cacheline_aligned;

struct directory {
    _Atomic(struct bucket *) seg[8];
} cacheline_aligned;

struct expire_item {
    int64_t when;
    struct entry *e;
};
/* A heap with four children per node, by `when`, in chunks of slots. The children of the item at
 * place p are at 4p + 1 .. 4p + 4. Three slots before the root make that one line; the list of the
 * chunks after the first, each full size, lies there. */
#define EXPIRE_CHUNK 256u /* slots: 4 KiB */
#define EXPIRE_HEAD  3u
#define EXPIRE_LINE  64u
struct expire_first {
    struct expire_item **more; /* NULL: no others */
    char unused[EXPIRE_HEAD * sizeof(struct expire_item) - sizeof(struct expire_item **)];
    struct expire_item item[];
};
struct expire_order {
    struct expire_first *first; /* NULL: no items */
    _Atomic uint32_t slots, count;
};
_Static_assert(offsetof(struct expire_first, item) == EXPIRE_HEAD * sizeof(struct expire_item),
               "the head is whole slots");

/* One database of one shard. All zero: empty, owns nothing. */
struct table {
    _Atomic uint32_t buckets;        /* primary buckets in use */
    _Atomic uint32_t doublings;      /* directory lines allocated */
    _Atomic(struct directory *) dir; /* one line per doubling of the segment size */
    _Atomic uint64_t count;          /* entries */
    _Atomic uint64_t
        expire_sum; /* of min(expiry, EXPIRE_SUM_MAX) - keyspace.expire_base; modulo 2^64 */
    struct expire_order expire;
    _Atomic(struct expire_order *) fields; /* hashes by their earliest field due; NULL: never any */
    _Atomic uint32_t overflow;             /* overflow buckets */
} cacheline_aligned;
_Static_assert(sizeof(struct table) == 64, "a header is one line");

/* Fields that only the lock's holder writes, read by others for statistics. */
#define relaxed_get(field)        atomic_load_explicit(&(field), memory_order_relaxed)
#define relaxed_set(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)
/* Those that replies are made of: shard_settle(). */
#define count_get(field)        atomic_load_explicit(&(field), memory_order_acquire)
#define count_set(field, value) atomic_store_explicit(&(field), (value), memory_order_release)

/* -- place of a bucket. Linear hashing: with n buckets, 2^L <= n < 2^(L+1), a hash belongs to its
 * low L+1 bits if that bucket exists, else to its low L bits. Segments grow with the table, eight
 * of a size, so that at most an eighth is unused and none ever moves. -- */
static inline uint32_t table_index(uint64_t hash, uint32_t n)
{
    uint32_t top = 0x80000000u >> __builtin_clz(n);
    uint32_t i = (uint32_t)hash & (2 * top - 1);
    return i < n ? i : i & (top - 1);
}

struct seg_place {
    uint32_t line, seg, offset; /* dir[line].seg[seg][offset] */
};
static inline struct seg_place table_place(uint32_t index)
{
    uint32_t j = index + 8, line = 28u - (unsigned)__builtin_clz(j);
    return (struct seg_place){ line, j >> line & 7, j & ((1u << line) - 1) };
}

static inline struct bucket *table_bucket(const struct table *t, uint64_t hash)
{
    uint32_t n = atomic_load_explicit(&t->buckets, memory_order_relaxed);
    if (n == 0) {
        return NULL;
    }
    struct seg_place at = table_place(table_index(hash, n));
    struct directory *dir = atomic_load_explicit(&t->dir, memory_order_relaxed);
    return atomic_load_explicit(&dir[at.line].seg[at.seg], memory_order_relaxed) + at.offset;
}

static inline struct entry *slot_entry(uint64_t w)
{
    return (struct entry *)(uintptr_t)(w & 0xffffffffffff);
}

static inline uint64_t slot_word(uint64_t hash, const struct entry *e)
{
    return (uint64_t)key_tag(hash) << 48 | (uint64_t)(uintptr_t)e;
}

static inline uint64_t word_get(const struct bucket *b, unsigned i)
{
    return atomic_load_explicit(&b->word[i], memory_order_relaxed);
}

static inline void word_set(struct bucket *b, unsigned i, uint64_t w)
{
    atomic_store_explicit(&b->word[i], w, memory_order_relaxed);
}

static inline struct bucket *bucket_next(const struct bucket *b)
{
    return (struct bucket *)(uintptr_t)word_get(b, BUCKET_LINK);
}

/* One bit for each slot that carries the tag; match_slot() names the lowest one's slot. An empty
 * slot carries tag 0. Without a branch per slot: which slot matches is random. */
static inline unsigned match_slot(unsigned match)
{
    return (unsigned)__builtin_ctz(match) / 4;
}
#define MATCH_BITS 0x08888888u /* a word is four 16-bit lanes, the tag its top one */
#if defined(__SSE2__) && !defined(KV_SANITIZE)
/* Sweeps do this without the lock: every word of an aligned 16-byte load is read whole. */
static inline unsigned bucket_match(const struct bucket *b, unsigned tag)
{
    const __m128i *two = (const __m128i *)(const void *)b;
    __m128i lane = _mm_set1_epi16((short)tag);
    __m128i low = _mm_packs_epi16(_mm_cmpeq_epi16(_mm_load_si128(two), lane),
                                  _mm_cmpeq_epi16(_mm_load_si128(two + 1), lane));
    __m128i high = _mm_packs_epi16(_mm_cmpeq_epi16(_mm_load_si128(two + 2), lane),
                                   _mm_cmpeq_epi16(_mm_load_si128(two + 3), lane));
    return ((unsigned)_mm_movemask_epi8(low) | (unsigned)_mm_movemask_epi8(high) << 16) &
           MATCH_BITS;
}
#else
static inline unsigned bucket_match(const struct bucket *b, unsigned tag)
{
    unsigned match = 0;
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        match |= (unsigned)(word_get(b, i) >> 48 == tag) << (4 * i + 3);
    }
    return match & MATCH_BITS;
}
#endif

/* A slot of the table, until the table changes. */
struct slot {
    struct bucket *b; /* NULL: not found */
    unsigned i;
};
static inline struct entry *slot_get(struct slot at)
{
    return slot_entry(word_get(at.b, at.i));
}

/* memcmp() by words: most keys are a few of them, too short for a call to pay. */
static inline bool key_equal(const char *a, const char *b, size_t n)
{
    uint64_t x, y;
    for (; n >= sizeof x; a += sizeof x, b += sizeof x, n -= sizeof x) {
        memcpy(&x, a, sizeof x);
        memcpy(&y, b, sizeof y);
        if (x != y) {
            return false;
        }
    }
    return n == 0 || memcmp(a, b, n) == 0;
}

static inline struct slot table_find(const struct table *t, struct slice key, uint64_t hash)
{
    unsigned tag = key_tag(hash);
    for (struct bucket *b = table_bucket(t, hash); b != NULL; b = bucket_next(b)) {
        for (unsigned m = bucket_match(b, tag); m != 0; m &= m - 1) {
            unsigned i = match_slot(m);
            const struct entry *e = slot_entry(word_get(b, i));
            if (likely(e != NULL && e->klen == key.n) &&
                likely(key_equal(entry_key_bytes(e), key.p, key.n))) {
                return (struct slot){ b, i };
            }
        }
    }
    return (struct slot){ NULL, 0 };
}

struct slot table_find_entry(const struct table *t, const struct entry *e, uint64_t hash);
static inline void slot_replace(struct slot at, struct entry *e)
{
    word_set(at.b, at.i, (word_get(at.b, at.i) & ~0xffffffffffffull) | (uint64_t)(uintptr_t)e);
}
void table_insert(struct keyspace *ks, struct table *t, uint64_t hash, struct entry *e);
void table_remove(struct keyspace *ks, struct table *t, uint64_t hash, struct slot at);

uint64_t table_scan(const struct table *t, uint64_t cursor,
                    void (*visit)(void *arg, struct entry *e), void *arg);
bool table_each(const struct table *t, bool (*visit)(void *arg, struct entry *e), void *arg);
struct entry *table_random(const struct table *t);
/* Where the item at `place`, which must be one of o's, is. */
static inline struct expire_item *expire_at(const struct expire_order *o, uint32_t place)
{
    uint32_t slot = place + EXPIRE_HEAD;
    return slot < EXPIRE_CHUNK ? &o->first->item[place]
                               : &o->first->more[slot / EXPIRE_CHUNK - 1][slot % EXPIRE_CHUNK];
}

static inline uint32_t table_expires(const struct table *t)
{
    return atomic_load_explicit(&t->expire.count, memory_order_relaxed);
}
unsigned table_sample(const struct table *t, struct entry **out, unsigned n);
size_t table_memory(const struct table *t);
void table_stats(const struct table *t, struct table_stats *add_to);
void table_check(const struct table *t);
/* Frees entries, overflow buckets and expiry order; then, when no sweep can look any more, the
 * rest. *done counts entries as they go. */
void table_free_entries(struct table *t, _Atomic uint64_t *done);
void table_free_segments(struct table *t);

/* ================= Expiry order of a table ================= */

/* Sums of expiries stay far from overflow: the year 2248. */
#define EXPIRE_SUM_MAX ((int64_t)1 << 43)

void expire_add(struct shard *s, struct table *t, struct entry *e); /* e has its expiry set */
void expire_remove(struct shard *s, struct table *t, struct entry *e);
void expire_change(struct shard *s, struct table *t, struct entry *e, int64_t when);
void expire_moved(struct table *t, struct entry *e); /* e took the place of another address */
/* The same for the order of field dues. sync: that of e may have changed, or e is new in the table;
 * leave: e, or its value, goes. */
void expire_fields_sync(struct shard *s, struct table *t, struct entry *e);
void expire_fields_leave(struct shard *s, struct table *t, struct entry *e);
void expire_fields_moved(struct table *t, struct entry *e);
uint32_t expire_fields_count(const struct table *t);
void expire_detached(struct shard *s, const struct table *t); /* t is no longer in ks->dbs */
int64_t expire_top(const struct table *t);                    /* the earliest; INT64_MAX: none */
void expire_order_free(struct expire_order *o);               /* what it owns */
size_t expire_order_memory(const struct expire_order *o);     /* bytes of that; without the lock */
void expire_check(struct shard *s, const struct table *t);

/* ================= Shards and keyspace ================= */

struct shard {
    struct lock lock;
    _Atomic int64_t next_due; /* written under lock */
    /* set at init */
    struct keyspace *ks;
    _Atomic(struct table *) *dbs; /* = ks->dbs */
    uint32_t index;
} cacheline_aligned;

/* An entry that waits for the background thread is its own queue element: the link overlays the two
 * lengths, which only a key in a table needs; type, encoding, flags and value word stay. */
#define ENTRY_LINK_OFFSET offsetof(struct entry, klen)
_Static_assert(ENTRY_LINK_OFFSET + sizeof(void *) == offsetof(struct entry, body),
               "the link ends before the value word");
struct graveyard; /* a flushed database */

struct lazyfree {
    struct lock lock; /* RANK_LAZYFREE */
    /* under lock */
    struct entry *entries; /* linked at ENTRY_LINK_OFFSET */
    struct graveyard *graves;
    /* atomic */
    _Atomic uint32_t signal, sleeping; /* the thread sleeps on `signal` */
    _Atomic uint32_t drained;          /* counts how often the queue was found empty */
    _Atomic bool stop;
    _Atomic uint64_t jobs_in, jobs_out, objects_in, objects_out;
    pthread_t thread; /* set at init */
};

struct keyspace {
    /* set at init */
    struct keyspace_config cfg;
    void (*earlier)(void *arg, unsigned shard, int64_t due_ms); /* NULL: nobody wants to know */
    void *earlier_arg;
    unsigned shard_shift; /* of the hash's top 16 bits */
    struct shard *shards;
    /* One array of table headers per database, indexed by shard; NULL until its first key. Replaced
     * under all shard locks, created under any one of them. */
    _Atomic(struct table *) *dbs;
    /* atomic */
    _Atomic uint32_t dbs_used;   /* databases at and above this never had a key */
    _Atomic int64_t expire_base; /* the first expiry ever set; 0: none yet */
    struct lazyfree lazy;
};

static inline struct table *shard_table(const struct shard *s, unsigned db)
{
    struct table *all = atomic_load_explicit(&s->dbs[db], memory_order_acquire);
    return all != NULL ? &all[s->index] : NULL;
}

void keyspace_retire(struct keyspace *ks, void *p, void (*free_fn)(void *p));

must_check int lazyfree_start(struct keyspace *ks);
void lazyfree_stop(struct keyspace *ks); /* after everything queued is freed */
/* Frees an entry that is in no table: at once when small, else in the background. */
void entry_release(struct keyspace *ks, struct entry *e);
/* Takes over one database's array of headers; entries are freed in the background or before
 * returning, the segments when no sweep can look any more. */
struct table *tables_new(const struct keyspace *ks); /* empty ones, one per shard */
void tables_release(struct keyspace *ks, struct table *all, size_t entries, bool async);

#endif
