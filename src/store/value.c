/* value.c -- What an entry owns outside itself: freeing, measuring, copying it by type.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      One table, so that a new type is one row here and nothing else in the store.
 *
 * THREADS  value_ops.free: any thread (background freeing); the others under the shard lock. */
#include "store/store_int.h"
#include "base/mem.h"
#include "ds/fields.h"
#include "ds/quicklist.h"
#include "ds/set.h"
#include "ds/stream.h"
#include "ds/zset.h"

#define TYPES     6
#define ENCODINGS 11

/* Freeing bytes costs by the page they give back. */
#define BLOB_EFFORT_BYTES 65536u

static size_t blob_value_memory(const void *value, unsigned samples unused_arg)
{
    return blob_memory(value);
}

/* A copy shares the bytes: whoever changes one of them first copies then. */
static void *blob_value_dup(const void *value)
{
    struct blob *b = (struct blob *)value;
    must(atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed) < UINT32_MAX);
    return b;
}

static size_t blob_value_effort(const void *value)
{
    return 1 + ((const struct blob *)value)->cap / BLOB_EFFORT_BYTES;
}

static const struct value_ops blob_ops = { blob_release, blob_value_memory, blob_value_dup,
                                           blob_value_effort };

/* A list is a quicklist whatever its encoding is called: "listpack" is one of a single small chunk.
 */
static void list_free(void *value)
{
    quicklist_free(value);
}

static size_t list_memory(const void *value, unsigned samples unused_arg)
{
    return quicklist_bytes(value);
}

static void *list_dup(const void *value)
{
    return quicklist_dup(value);
}

static size_t list_effort(const void *value)
{
    return quicklist_chunks(value);
}

static const struct value_ops list_ops = { list_free, list_memory, list_dup, list_effort };

/* ---- Sets ---- */

static const enum obj_enc set_encodings[] = {
    [SET_INTSET] = ENC_INTSET, [SET_LISTPACK] = ENC_LISTPACK, [SET_TREE] = ENC_HASHTABLE
};

enum obj_enc entry_set_enc(const struct set *s)
{
    return set_encodings[s->form];
}

void entry_get_set(const struct entry *e, struct set *out)
{
    enum obj_enc enc = entry_enc(e);
    must(e->type == OBJ_SET);
    out->form = enc == ENC_INTSET ? SET_INTSET : enc == ENC_LISTPACK ? SET_LISTPACK : SET_TREE;
    out->p = entry_ptr(e);
}

void entry_put_set(struct entry *e, const struct set *s)
{
    must(e->type == OBJ_SET);
    entry_set_ptr(e, set_encodings[s->form], s->p);
}

/* ---- Hashes ---- */

static const enum obj_enc fields_encodings[] = { [FIELDS_LISTPACK] = ENC_LISTPACK,
                                                 [FIELDS_TREE] = ENC_HASHTABLE,
                                                 [FIELDS_LISTPACK_TIMED] = ENC_LISTPACK_EX,
                                                 [FIELDS_TREE_TIMED] = ENC_HASHTABLE_EX };

enum obj_enc entry_fields_enc(const struct fields *f)
{
    return fields_encodings[f->form];
}

void entry_get_fields(const struct entry *e, int64_t now, struct fields *out)
{
    static const enum fields_form forms[ENCODINGS] = { [ENC_LISTPACK] = FIELDS_LISTPACK,
                                                       [ENC_HASHTABLE] = FIELDS_TREE,
                                                       [ENC_LISTPACK_EX] = FIELDS_LISTPACK_TIMED,
                                                       [ENC_HASHTABLE_EX] = FIELDS_TREE_TIMED };
    must(e->type == OBJ_HASH);
    *out = (struct fields){ forms[e->enc], entry_ptr(e), now };
}

/* Most hashes have none: that is seen without a look at the value. */
static bool timed_fields(const struct entry *e, struct fields *f)
{
    if (e->type != OBJ_HASH || e->enc < ENC_LISTPACK_EX) {
        return false;
    }
    entry_get_fields(e, FIELDS_ALL, f);
    return true;
}

int64_t entry_fields_due(const struct entry *e)
{
    struct fields f;
    return timed_fields(e, &f) ? fields_first_due(&f) : NO_EXPIRE;
}

uint32_t *entry_fields_place(const struct entry *e)
{
    struct fields f;
    must(timed_fields(e, &f));
    return fields_place(&f);
}

int64_t entry_end(const struct entry *e)
{
    struct fields f;
    int64_t expire = entry_expire(e);
    if (likely(!(e->flags & ENTRY_FIELDS_DUE)) || !timed_fields(e, &f)) {
        return expire;
    }
    int64_t last = fields_last_due(&f);
    return expire == NO_EXPIRE || (last != BTREE_NO_DUE && last < expire) ? last : expire;
}

static struct fields timed_listpack(const void *value)
{
    return (struct fields){ FIELDS_LISTPACK_TIMED, (void *)(uintptr_t)value, FIELDS_ALL };
}

static struct fields timed_tree(const void *value)
{
    return (struct fields){ FIELDS_TREE_TIMED, (void *)(uintptr_t)value, FIELDS_ALL };
}

#define TIMED_OPS(kind)                                                                  \
    static void kind##_free(void *value)                                                 \
    {                                                                                    \
        struct fields f = kind(value);                                                   \
        fields_free(&f);                                                                 \
    }                                                                                    \
    static size_t kind##_memory(const void *value, unsigned samples unused_arg)          \
    {                                                                                    \
        struct fields f = kind(value);                                                   \
        return fields_bytes(&f);                                                         \
    }                                                                                    \
    static void *kind##_dup(const void *value)                                           \
    {                                                                                    \
        struct fields f = kind(value), copy;                                             \
        return fields_dup(&f, &copy) ? copy.p : NULL;                                    \
    }                                                                                    \
    static size_t kind##_effort(const void *value)                                       \
    {                                                                                    \
        struct fields f = kind(value);                                                   \
        return fields_allocations(&f);                                                   \
    }                                                                                    \
    static const struct value_ops kind##_ops = { kind##_free, kind##_memory, kind##_dup, \
                                                 kind##_effort }
TIMED_OPS(timed_listpack);
TIMED_OPS(timed_tree);

/* ---- Small containers in one allocation ---- */

static size_t flat_memory(const void *value, unsigned samples unused_arg)
{
    return mem_usable(value);
}

static size_t flat_effort(const void *value unused_arg)
{
    return 1;
}

static void *intset_value_dup(const void *value)
{
    return intset_dup(value);
}

static const struct value_ops intset_ops = { mem_free, flat_memory, intset_value_dup, flat_effort };

static void *listpack_dup(const void *value)
{
    return lp_dup(value);
}

static const struct value_ops listpack_ops = { mem_free, flat_memory, listpack_dup, flat_effort };

/* ---- Trees: hash tables by another name ---- */

static void tree_free(void *value)
{
    btree_free(value);
}

static size_t tree_memory(const void *value, unsigned samples unused_arg)
{
    return btree_bytes(value);
}

static void *tree_dup(const void *value)
{
    return btree_dup(value);
}

static size_t tree_effort(const void *value)
{
    return btree_pages(value);
}

static const struct value_ops tree_ops = { tree_free, tree_memory, tree_dup, tree_effort };
/* ---- Sorted sets ---- */

enum obj_enc entry_zset_enc(const struct zset *z)
{
    return z->big ? ENC_SKIPLIST : ENC_LISTPACK;
}

void entry_get_zset(const struct entry *e, struct zset *out)
{
    must(e->type == OBJ_ZSET);
    *out = (struct zset){ entry_enc(e) == ENC_SKIPLIST, entry_ptr(e) };
}

void entry_put_zset(struct entry *e, const struct zset *z)
{
    must(e->type == OBJ_ZSET);
    entry_set_ptr(e, entry_zset_enc(z), z->p);
}

static struct zset big_zset(const void *value)
{
    return (struct zset){ true, (void *)(uintptr_t)value };
}

static void zset_value_free(void *value)
{
    zset_free(big_zset(value));
}

static size_t zset_memory(const void *value, unsigned samples unused_arg)
{
    return zset_bytes(big_zset(value));
}

static void *zset_value_dup(const void *value)
{
    struct zset copy;
    return zset_dup(big_zset(value), &copy) ? copy.p : NULL;
}

static size_t zset_effort(const void *value)
{
    return zset_allocations(big_zset(value));
}

static const struct value_ops zset_ops = { zset_value_free, zset_memory, zset_value_dup,
                                           zset_effort };

/* ---- Streams ---- */

static void stream_value_free(void *value)
{
    stream_free(value);
}

static size_t stream_memory(const void *value, unsigned samples unused_arg)
{
    return stream_bytes(value);
}

static void *stream_value_dup(const void *value)
{
    return stream_dup(value);
}

static size_t stream_value_effort(const void *value)
{
    return stream_effort(value);
}

static const struct value_ops stream_ops = { stream_value_free, stream_memory, stream_value_dup,
                                             stream_value_effort };

static const struct value_ops *const ops[TYPES][ENCODINGS] = {
    [OBJ_STRING] = { [ENC_RAW] = &blob_ops },
    [OBJ_ZSET] = { [ENC_LISTPACK] = &listpack_ops, [ENC_SKIPLIST] = &zset_ops },
    [OBJ_LIST] = { [ENC_LISTPACK] = &list_ops, [ENC_QUICKLIST] = &list_ops },
    [OBJ_SET] = { [ENC_INTSET] = &intset_ops,
                  [ENC_LISTPACK] = &listpack_ops,
                  [ENC_HASHTABLE] = &tree_ops },
    [OBJ_STREAM] = { [ENC_STREAM] = &stream_ops },
    [OBJ_HASH] = { [ENC_LISTPACK] = &listpack_ops,
                   [ENC_HASHTABLE] = &tree_ops,
                   [ENC_LISTPACK_EX] = &timed_listpack_ops,
                   [ENC_HASHTABLE_EX] = &timed_tree_ops },
};

const struct value_ops *value_ops_of(enum obj_type t, enum obj_enc enc)
{
    must((unsigned)t < TYPES && (unsigned)enc < ENCODINGS);
    const struct value_ops *o = ops[t][enc];
    must(o != NULL);
    return o;
}

const struct value_ops *entry_ops(const struct entry *e)
{
    if (e->flags & ENTRY_INLINE || e->enc == ENC_INT) {
        return NULL;
    }
    return value_ops_of(e->type, e->enc);
}

const char *obj_type_name(enum obj_type t)
{
    static const char *const names[TYPES] = { "string", "list", "set", "zset", "hash", "stream" };
    must((unsigned)t < TYPES);
    return names[t];
}

const char *obj_enc_name(enum obj_enc e)
{
    static const char *const names[ENCODINGS] = { "raw",        "int",       "embstr",
                                                  "listpack",   "quicklist", "intset",
                                                  "hashtable",  "skiplist",  "stream",
                                                  "listpackex", "hashtable" };
    must((unsigned)e < ENCODINGS);
    return names[e];
}

size_t entry_memory(const struct entry *e, unsigned samples)
{
    const struct value_ops *o = entry_ops(e);
    return entry_class(entry_size(e)) + (o != NULL ? o->memory(entry_word_ptr(e), samples) : 0);
}

size_t entry_effort(const struct entry *e)
{
    const struct value_ops *o = entry_ops(e);
    return 1 + (o != NULL ? o->effort(entry_word_ptr(e)) : 0);
}

void entry_free(struct entry *e)
{
    const struct value_ops *o = entry_ops(e);
    if (o != NULL) {
        o->free(entry_word_ptr(e));
    }
    mem_free(e);
}

const char *entry_problem(const struct entry *e)
{
    struct set s;
    struct fields f;
    struct zset z;
    switch (entry_type(e)) {
    case OBJ_LIST: return quicklist_check(entry_ptr(e));
    case OBJ_SET: entry_get_set(e, &s); return set_check(&s);
    case OBJ_HASH: entry_get_fields(e, FIELDS_ALL, &f); return fields_check(&f);
    case OBJ_ZSET: entry_get_zset(e, &z); return zset_check(z);
    case OBJ_STREAM: return stream_check(entry_ptr(e));
    default: return NULL;
    }
}
