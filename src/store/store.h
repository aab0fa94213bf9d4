/* store.h -- The keyspace in memory: shards of bucketed tables, one-allocation entries, expiry.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY        Commands on different shards must not meet; a lookup costs one bucket line plus the
 *            entry.
 *
 * THREADS    Any thread. Every function on a shard, its tables or entries needs that shard's lock
 *            (or an exclusive section), except those marked UNLOCKED: they only prefetch or read
 *            relaxed counters, and are for threads that cfg.retire waits for.
 *
 * LOCKS      Shard lock: RANK_SHARD, ascending shard index, each once: keyspace_lock_many().
 *
 * OWNERSHIP  An entry belongs to its table from the call that creates or inserts it to
 *            shard_delete() or shard_take(). Any call that takes an entry and changes its size or
 *            kind returns the entry's new address; the old pointer is then invalid, and so is what
 *            entry_key() and entry_string() gave.
 *
 * The store knows no clock, no log, no clients: expiry, eviction, events and effects are decided
 * above it. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/bytes.h"
#include "base/lock.h"
#include <stdatomic.h>

struct keyspace;
struct shard;
struct entry;

/* ================= Keys ================= */

struct key {
    struct slice s;
    uint64_t hash;
    uint32_t shard;
};
/* Bits of the hash: shard from the top bits (63 downwards), tag bits 47..32, bucket from the
 * low 32. */
static inline unsigned key_tag(uint64_t hash)
{
    return (unsigned)(hash >> 32) & 0xffff;
}

/* ================= Entries ================= */

enum obj_type {
    OBJ_STRING = 0,
    OBJ_LIST = 1,
    OBJ_SET = 2,
    OBJ_ZSET = 3,
    OBJ_HASH = 4,
    OBJ_STREAM = 5
}; /* append-only */
enum obj_enc {
    ENC_RAW = 0,
    ENC_INT = 1,
    ENC_EMBSTR = 2,
    ENC_LISTPACK = 3,
    ENC_QUICKLIST = 4,
    ENC_INTSET = 5,
    ENC_HASHTABLE = 6,
    ENC_SKIPLIST = 7,
    ENC_STREAM = 8,
    ENC_LISTPACK_EX = 9,
    ENC_HASHTABLE_EX = 10 /* with dues of fields; called hashtable, too */
};
const char *obj_type_name(enum obj_type t); /* "string", "list", ... as TYPE answers */
const char *obj_enc_name(enum obj_enc e);   /* "int", "embstr", ... as OBJECT ENCODING answers */

enum obj_type entry_type(const struct entry *e);
enum obj_enc entry_enc(const struct entry *e);
struct slice entry_key(const struct entry *e); /* valid as long as the entry address */
int64_t entry_expire(const struct entry *e);   /* unix ms; -1: none */
/* When it is gone by itself: its expiry, or when the last of its fields is due; -1: never. */
int64_t entry_end(const struct entry *e);
uint32_t entry_clock(const struct entry *e); /* opaque access word: LRU seconds or LFU (minutes << 8
                                                | counter); 24 bits used */
void entry_set_clock(struct entry *e, uint32_t clock);
/* What is broken in the container of a value, in words; NULL: nothing, or it has none. Looks at all
 * of it: for tests and fuzzers. */
const char *entry_problem(const struct entry *e);
size_t entry_memory(
    const struct entry *e,
    unsigned samples); /* bytes with its value; samples: elements looked at, 0 = all */
size_t entry_effort(const struct entry *e); /* number of allocations to free, about */

/* -- strings. A string is an int64 in place (ENC_INT), bytes inside the entry, or a blob
 * (STRING_INLINE_MAX, 64 KiB rule). -- */
enum string_form {
    STRING_AUTO, /* int if it parses strictly, embstr up to 44 bytes, else raw: what SET stores */
    STRING_RAW,  /* report raw whatever its length: after APPEND, SETRANGE, SETBIT, ... */
    STRING_TEXT  /* as AUTO but never int: what INCRBYFLOAT stores */
};
/* Text of the string; an ENC_INT is formatted into tmp. Valid until the entry changes. */
struct slice entry_string(const struct entry *e, char tmp[I64_TEXT_MAX]);
bool entry_int(const struct entry *e, int64_t *out); /* true when ENC_INT */
size_t entry_strlen(const struct entry *e);
/* A reference to the bytes of a large string for replies without a copy: NULL when the string is
 * not a blob. The bytes do not change while referenced (a writer copies first). Release from any
 * thread. */
struct blob;
struct blob *entry_blob_ref(struct entry *e, struct slice *bytes);
void blob_release(void *blob);

/* ================= Containers ================= */
/* For lists and later types the entry holds one pointer, owned by the entry. */
void *entry_ptr(const struct entry *e);
/* Replaces pointer and encoding (listpack grew, listpack -> quicklist); the old pointer is the
 * caller's. */
void entry_set_ptr(struct entry *e, enum obj_enc enc, void *ptr);
/* The set of an OBJ_SET entry as ds/set.h has it, and back after a change of it. */
struct set;
void entry_get_set(const struct entry *e, struct set *out);
void entry_put_set(struct entry *e, const struct set *s);
enum obj_enc entry_set_enc(const struct set *s); /* its encoding, for a new entry */
/* The sorted set of an OBJ_ZSET entry as ds/zset.h has it, and back after a change of it. */
struct zset;
void entry_get_zset(const struct entry *e, struct zset *out);
void entry_put_zset(struct entry *e, const struct zset *z);
enum obj_enc entry_zset_enc(const struct zset *z); /* its encoding, for a new entry */
/* The same for the fields of an OBJ_HASH entry (ds/fields.h), as they are at `now`; they go back by
 * shard_put_fields(). */
struct fields;
void entry_get_fields(const struct entry *e, int64_t now, struct fields *out);
enum obj_enc entry_fields_enc(const struct fields *f);

/* ================= Keyspace and shards ================= */

#define SHARDS_MAX    4096u /* what a thread can hold at once (base/lock) */
#define DATABASES_MAX 16384u
struct keyspace_config {
    unsigned shards;    /* power of two, 1..SHARDS_MAX; 0: 1024 */
    unsigned databases; /* 1..DATABASES_MAX; 0: 16 */
    /* Unlocked readers (prefetch sweeps) may still look at memory the store gives up: hand it over;
     * free_fn(p) is to be called, from any thread, after every thread was quiescent once. Called
     * under shard locks: must take none. NULL: freed at once (no sweeps, or one thread). */
    void (*retire)(void *arg, void *p, void (*free_fn)(void *p));
    void *retire_arg;
    unsigned lazyfree_min; /* an entry with more allocations than this is freed by the background
                              thread; 0: 64 */
};
/* 0; -EINVAL: limits above; -EAGAIN: no thread. After hash_seed(). */
must_check int keyspace_new(struct keyspace **out, const struct keyspace_config *cfg);
/* All threads quiet, and everything that went to cfg.retire has been freed. */
void keyspace_free(struct keyspace *ks);
unsigned keyspace_shards(const struct keyspace *ks);
unsigned keyspace_databases(const struct keyspace *ks);

struct key keyspace_key(const struct keyspace *ks, struct slice s); /* UNLOCKED: hashes once */
struct shard *keyspace_shard(struct keyspace *ks, unsigned index);  /* UNLOCKED */
/* Prefetches what commands on these keys of one database will look at: lock and table header, then
 * the bucket, then the entry whose tag matches. One call for a whole batch: the misses of several
 * keys overlap only when little else is between them. UNLOCKED; what bucket and entry point to may
 * be gone at any time. */
struct sweep_key {
    uint64_t hash;
    uint32_t shard;
    const void *bucket, *entry; /* set by the sweep, never NULL */
};
static inline void sweep_key_set(struct sweep_key *s, const struct key *k)
{
    s->hash = k->hash;
    s->shard = k->shard;
    s->bucket = s->entry = NULL;
}
void keyspace_sweep(struct keyspace *ks, unsigned db, struct sweep_key *keys, unsigned n);
/* Once more, a command or two before this one: the processor drops prefetches when too many are
 * under way, and the addresses are translated by now. After keyspace_sweep(). */
static inline void sweep_again(const struct sweep_key *k)
{
    __builtin_prefetch(k->bucket);
    __builtin_prefetch(k->entry);
    __builtin_prefetch((const char *)k->entry + 64);
}

void shard_lock(struct shard *s);
void shard_unlock(struct shard *s);
must_check bool shard_try_lock(struct shard *s);
void shard_assert_held(struct shard *s);
/* `index` is sorted ascending without repeats. */
void keyspace_lock_many(struct keyspace *ks, const uint32_t *index, unsigned n);
void keyspace_unlock_many(struct keyspace *ks, const uint32_t *index, unsigned n);
unsigned shard_index(const struct shard *s);

/* ---- Lookup and change; the lock of k->shard is held ---- */
struct entry *shard_find(struct shard *s, unsigned db,
                         const struct key *k); /* whatever its expiry; NULL: not there */

/* Creates or overwrites the string at k. keep_expire keeps the old entry's expiry, else it has
 * none; the access clock stays, and is 0 for a new key. v may be bytes of the old value. NULL: no
 * memory, and the old value stays. The previous value is freed (lazily when big). */
struct entry *shard_set_string(struct shard *s, unsigned db, const struct key *k, struct slice v,
                               enum string_form form, bool keep_expire) must_check;
/* As above with a buffer made by mem_alloc/mem_try_alloc of which ownership moves in on success
 * (big arguments, no copy if it pays). */
struct entry *shard_set_string_owned(struct shard *s, unsigned db, const struct key *k, char *p,
                                     size_t n, bool keep_expire) must_check;
struct entry *shard_set_int(struct shard *s, unsigned db, const struct key *k, int64_t v,
                            bool keep_expire) must_check;
/* The two halves of setting a string, for who must not fail between several of them. A string entry
 * of k outside of any table, copying v; NULL: no memory. Needs no lock. Then one of: */
struct entry *entry_new_string(const struct key *k, struct slice v) must_check;
void entry_discard(struct entry *e);
/* Takes the place of whatever k holds; no expiry; the access clock stays. Never fails. */
struct entry *shard_put_entry(struct shard *s, unsigned db, const struct key *k, struct entry *e);
/* Makes the string at e hold `size` bytes that may be changed in place: grown with zeros (with room
 * to spare for APPEND), or kept if already longer; becomes raw. *bytes points at them. Returns the
 * entry, NULL: no memory and nothing changed. */
struct entry *shard_string_writable(struct shard *s, unsigned db, struct entry *e, size_t size,
                                    char **bytes) must_check;
/* Creates the key with a container (which the entry then owns). The key must not exist. Never
 * fails: small. */
struct entry *shard_add_object(struct shard *s, unsigned db, const struct key *k, enum obj_type t,
                               enum obj_enc enc, void *ptr);
/* Unlinks and frees (lazily when big). */
void shard_delete(struct shard *s, unsigned db, struct entry *e);
/* Unlinks and hands over: for RENAME, MOVE. Then shard_insert_as() under another key, database or
 * shard, which must be free. */
struct entry *shard_take(struct shard *s, unsigned db, struct entry *e) must_check;
struct entry *shard_insert_as(struct shard *s, unsigned db, const struct key *k,
                              struct entry *taken, int64_t expire_ms);
/* Deep copy of e's value under another key (COPY), in place of what is there. NULL: no memory, and
 * that is there still. */
struct entry *shard_copy_as(struct shard *s, unsigned db, const struct key *k,
                            const struct entry *e, int64_t expire_ms) must_check;
/* The same outside of any table, with e's expiry, then for shard_insert_copy() or entry_discard().
 * NULL: no memory. */
struct entry *entry_copy(const struct key *k, const struct entry *e) must_check;
/* Takes the copy that was made for k, which must be free. Never fails, however long k is. */
void shard_insert_copy(struct shard *s, unsigned db, const struct key *k, struct entry *copy);
/* expire_ms -1 removes the expiry. */
struct entry *shard_set_expire(struct shard *s, unsigned db, struct entry *e, int64_t expire_ms);

/* Puts the fields of e back after a change of them, also if none is left; the entry stays where it
 * is. */
void shard_put_fields(struct shard *s, unsigned db, struct entry *e, const struct fields *f);

/* ---- Expiry order ---- */
/* The entry due first in any database of the shard, itself or one of its fields, if that is at
 * now_ms, else NULL. */
struct entry *shard_first_due(struct shard *s, int64_t now_ms, unsigned *db);
int64_t shard_next_due(
    const struct shard *s); /* UNLOCKED, relaxed: INT64_MAX when nothing has an expiry */
/* earlier(arg, shard index, due) is called under a shard's lock when its next due became this
 * earlier one. Before the first key. */
void keyspace_tell_earlier(struct keyspace *ks,
                           void (*earlier)(void *arg, unsigned shard, int64_t due_ms), void *arg);

/* ---- Counting; UNLOCKED ---- */
/* Between a change of a count and the end of what the lock's holder does with it anything may
 * happen. shard_settle() after such a read: whoever made the change that was seen has let go of the
 * lock. It takes the lock only when it finds it held; the caller holds none of that rank. */
void shard_settle(struct shard *s);
size_t shard_count(const struct shard *s, unsigned db);
size_t shard_expires(const struct shard *s, unsigned db);
size_t keyspace_count(const struct keyspace *ks, unsigned db);
size_t keyspace_expires(const struct keyspace *ks, unsigned db);
size_t keyspace_subexpires(const struct keyspace *ks, unsigned db); /* hashes with dues of fields */
int64_t keyspace_avg_ttl(const struct keyspace *ks, unsigned db,
                         int64_t now_ms); /* from a running sum of expiries */
size_t keyspace_overhead(const struct keyspace *ks,
                         unsigned db); /* bytes of tables and expiry order */

/* ---- Walking ---- */
/* Visits every entry of one or more buckets and returns the next cursor; 0: the table is done. Each
 * entry that is there from the first to the last call is visited at least once, whatever grows or
 * shrinks between calls. visit must not change the table. */
uint64_t shard_scan(struct shard *s, unsigned db, uint64_t cursor,
                    void (*visit)(void *arg, struct entry *e), void *arg);
/* All entries, one call. visit must not change the table. Stops when visit returns false. */
void shard_each(struct shard *s, unsigned db, bool (*visit)(void *arg, struct entry *e), void *arg);
/* A random entry, close to uniform within the shard; NULL when the database is empty there.
 * expiring: among those with an expiry. */
struct entry *shard_random(struct shard *s, unsigned db, bool expiring);
/* Up to n entries for eviction sampling. */
unsigned shard_sample(struct shard *s, unsigned db, bool expiring, struct entry **out, unsigned n);

/* ---- Whole databases; all shards' locks held or an exclusive section ---- */
/* Empties one database (db >= 0) or all (db = -1) in constant work per shard; memory goes to the
 * background thread when async. Returns how many keys there were. */
size_t keyspace_flush(struct keyspace *ks, int db, bool async);
void keyspace_swapdb(struct keyspace *ks, unsigned a, unsigned b);

/* ---- Background freeing ---- */
/* Frees a container that no entry has (any more) as it would the value of an entry: here, or in the
 * background when it is big. Needs no lock; any thread, also under shard locks. */
void keyspace_free_value(struct keyspace *ks, enum obj_type t, enum obj_enc enc, void *value);
struct lazyfree_stats {
    uint64_t pending, freed; /* objects */
};
void keyspace_lazyfree_stats(const struct keyspace *ks, struct lazyfree_stats *out);
/* Blocks until the queue is empty; tests, DEBUG. Frees no memory that waits for cfg.retire. */
void keyspace_lazyfree_drain(struct keyspace *ks);

/* Checks every invariant of the shard (numbered in shard.c): must() on violation. Slow. */
void shard_check(struct shard *s);

struct table_stats {
    uint64_t buckets, overflow_buckets, slots_used, longest_chain,
        chains[9]; /* chains[i]: buckets with i entries (8: and more) */
};
void shard_table_stats(struct shard *s, unsigned db, struct table_stats *add_to);
#endif
