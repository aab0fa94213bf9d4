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
#include "ds/zset.h"

#define TYPES     6
#define ENCODINGS 10

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

enum obj_enc entry_fields_enc(const struct fields *f)
{
    return f->form == FIELDS_LISTPACK ? ENC_LISTPACK : ENC_HASHTABLE;
}

void entry_get_fields(const struct entry *e, struct fields *out)
{
    must(e->type == OBJ_HASH);
    out->form = entry_enc(e) == ENC_LISTPACK ? FIELDS_LISTPACK : FIELDS_TREE;
    out->p = entry_ptr(e);
}

void entry_put_fields(struct entry *e, const struct fields *f)
{
    must(e->type == OBJ_HASH);
    entry_set_ptr(e, entry_fields_enc(f), f->p);
}

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

static const struct value_ops *const ops[TYPES][ENCODINGS] = {
    [OBJ_STRING] = { [ENC_RAW] = &blob_ops },
    [OBJ_ZSET] = { [ENC_LISTPACK] = &listpack_ops, [ENC_SKIPLIST] = &zset_ops },
    [OBJ_LIST] = { [ENC_LISTPACK] = &list_ops, [ENC_QUICKLIST] = &list_ops },
    [OBJ_SET] = { [ENC_INTSET] = &intset_ops,
                  [ENC_LISTPACK] = &listpack_ops,
                  [ENC_HASHTABLE] = &tree_ops },
    [OBJ_HASH] = { [ENC_LISTPACK] = &listpack_ops, [ENC_HASHTABLE] = &tree_ops },
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
    static const char *const names[ENCODINGS] = { "raw",       "int",       "embstr",    "listpack",
                                                  "quicklist", "intset",    "hashtable", "skiplist",
                                                  "stream",    "listpackex" };
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
