/* image.c -- Entries as records: what a log that begins in the middle of a life must hold.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * THREADS  image_shard(): whoever holds the shard's lock. image_part_write(): the thread that
 * begins the log, without a lock. Both append as that thread's worker. COST     Under the lock an
 * entry of up to BIG_EFFORT allocations is written, of a larger one a reference is taken (values
 * are shareable in O(1)); it is written later, waiting for room between records. */
#include "exec/exec_int.h"
#include "ds/fields.h"
#include "ds/quicklist.h"
#include "ds/set.h"
#include "ds/zset.h"

#define VALUES_PER_RECORD 128
#define BYTES_PER_RECORD  65536
#define BIG_EFFORT        16 /* some 128 KiB */

struct image {
    struct txn t;
    unsigned db;
    struct image_part **big;    /* where large values go; NULL: nowhere, they are written */
    struct log_walk *patiently; /* NULL: a lock is held, nothing may wait */
    bool failed;                /* there will be no room any more */
};

static void append(struct image *im, struct slice key, const struct slice *argv, unsigned argc)
{
    if (im->patiently != NULL && !im->failed) {
        im->failed = !log_walk_room(im->patiently);
    }
    if (im->failed) {
        return;
    }
    im->t.slot = hash_slot(key);
    fx_argv(&im->t, im->db, argv, argc);
    (void)fx_append(&im->t);
    fx_reset(&im->t);
}

static void image_string(struct image *im, const struct entry *e)
{
    char text[I64_TEXT_MAX], due[I64_TEXT_MAX];
    struct slice argv[5] = { S("SET"), entry_key(e), entry_string(e, text) };
    unsigned argc = 3;
    if (entry_expire(e) >= 0) {
        argv[argc++] = S("PXAT");
        argv[argc++] = slice_of(due, format_i64(due, entry_expire(e)));
    }
    append(im, argv[1], argv, argc);
}

/* Records of one command with many values, as many as they need. */
struct batch {
    struct image *im;
    struct slice argv[2 + VALUES_PER_RECORD];
    char text[VALUES_PER_RECORD][F64_TEXT_MAX];
    unsigned n;
    size_t bytes;
};

static void batch_begin(struct batch *b, struct image *im, struct slice name, const struct entry *e)
{
    b->im = im;
    b->argv[0] = name;
    b->argv[1] = entry_key(e);
    b->n = 0;
    b->bytes = 0;
}

static void batch_flush(struct batch *b)
{
    if (b->n > 0) {
        append(b->im, b->argv[1], b->argv, 2 + b->n);
        b->n = 0;
        b->bytes = 0;
    }
}

/* A short text (a number is one) may be gone after this call, a long one has to stay. */
static void batch_value(struct batch *b, struct slice text)
{
    if (text.n < F64_TEXT_MAX) {
        memcpy(b->text[b->n], text.p, text.n);
        text.p = b->text[b->n];
    }
    b->argv[2 + b->n++] = text;
    b->bytes += text.n;
}

/* After an element: a record holds whole ones, of up to two values. */
static void batch_element(struct batch *b)
{
    if (b->n + 2 > VALUES_PER_RECORD || b->bytes >= BYTES_PER_RECORD) {
        batch_flush(b);
    }
}

static void image_list(struct image *im, const struct entry *e)
{
    struct batch b;
    struct ql_iter it;
    struct lp_value v;
    char text[I64_TEXT_MAX];
    batch_begin(&b, im, S("RPUSH"), e);
    quicklist_iter(&it, entry_ptr(e), 0, true);
    while (quicklist_next(&it, &v)) {
        batch_value(&b, lp_text(&v, text));
        batch_element(&b);
    }
    batch_flush(&b);
}

static void image_set(struct image *im, const struct entry *e)
{
    struct batch b;
    struct set s;
    struct set_iter it;
    struct set_member m;
    batch_begin(&b, im, S("SADD"), e);
    entry_get_set(e, &s);
    set_iter(&it, &s, 0);
    while (set_next(&it, &m)) {
        batch_value(&b, set_text(&m));
        batch_element(&b);
    }
    batch_flush(&b);
}

static void image_zset(struct image *im, const struct entry *e)
{
    struct batch b;
    struct zset z;
    struct zset_iter it;
    struct zset_item item;
    char score[F64_TEXT_MAX];
    batch_begin(&b, im, S("ZADD"), e);
    entry_get_zset(e, &z);
    zset_iter(&it, z, 0, true);
    while (zset_next(&it, &item)) {
        batch_value(&b, slice_of(score, format_f64(score, item.score)));
        batch_value(&b, item.member);
        batch_element(&b);
    }
    batch_flush(&b);
}

static void image_field_dues(struct image *im, const struct entry *e, const struct fields *f)
{
    struct fields_iter it;
    struct fields_item item;
    char due[I64_TEXT_MAX];
    fields_iter(&it, f, 0);
    while (fields_first_due(f) != BTREE_NO_DUE && fields_next(&it, &item)) {
        if (item.due != BTREE_NO_DUE) {
            struct slice argv[] = {
                S("HPEXPIREAT"), entry_key(e), slice_of(due, format_i64(due, item.due)),
                S("FIELDS"),     S("1"),       item.field
            };
            append(im, argv[1], argv, countof(argv));
        }
    }
}

static void image_hash(struct image *im, const struct entry *e)
{
    struct batch b;
    struct fields f;
    struct fields_iter it;
    struct fields_item item;
    batch_begin(&b, im, S("HSET"), e);
    entry_get_fields(e, FIELDS_ALL, &f);
    fields_iter(&it, &f, 0);
    while (fields_next(&it, &item)) {
        batch_value(&b, item.field);
        batch_value(&b, item.value);
        batch_element(&b);
    }
    batch_flush(&b);
    image_field_dues(im, e, &f);
}

static void image_entry(struct image *im, const struct entry *e)
{
    switch (entry_type(e)) {
    case OBJ_STRING: image_string(im, e); return;
    case OBJ_LIST: image_list(im, e); break;
    case OBJ_SET: image_set(im, e); break;
    case OBJ_ZSET: image_zset(im, e); break;
    case OBJ_HASH: image_hash(im, e); break;
    default: must_not_reach();
    }
    if (entry_expire(e) >= 0) {
        char due[I64_TEXT_MAX];
        struct slice argv[] = { S("PEXPIREAT"), entry_key(e),
                                slice_of(due, format_i64(due, entry_expire(e))) };
        append(im, argv[1], argv, countof(argv));
    }
}

/* Takes a reference to a large value. False: it is small, or there is no memory. */
static bool put_aside(struct image *im, const struct entry *e)
{
    if (im->big == NULL || entry_effort(e) <= BIG_EFFORT) {
        return false;
    }
    struct key k = { .s = entry_key(e) };
    struct entry *copy = entry_copy(&k, e);
    if (copy == NULL) {
        return false;
    }
    struct image_part *p = mem_alloc(sizeof *p);
    *p = (struct image_part){ *im->big, im->db, copy };
    *im->big = p;
    return true;
}

static bool visit(void *arg, struct entry *e)
{
    struct image *im = arg;
    if (!put_aside(im, e)) {
        image_entry(im, e);
    }
    return true;
}

void image_shard(struct worker *w, unsigned index, struct image_part **big)
{
    struct exec *x = w->x;
    struct image im = { .t = { .w = w, .slot = SLOT_NONE, .image = true, .queued = big == NULL },
                        .big = big };
    struct shard *s = keyspace_shard(x->ks, index);
    for (im.db = 0; im.db < keyspace_databases(x->ks); im.db++) {
        if (shard_count(s, im.db) > 0) {
            shard_each(s, im.db, visit, &im);
        }
    }
    buf_free(&im.t.fx);
}

bool image_part_write(struct log_walk *walk, struct worker *w, const struct image_part *p)
{
    struct image im = { .t = { .w = w, .slot = SLOT_NONE, .image = true },
                        .db = p->db,
                        .patiently = walk };
    image_entry(&im, p->e);
    buf_free(&im.t.fx);
    return !im.failed;
}

void image_part_free(struct image_part *p)
{
    entry_discard(p->e);
    mem_free(p);
}

/* A command about nothing in a shard. */
static void append_whole(void *image, const struct slice *argv, unsigned argc)
{
    struct image *im = image;
    im->t.slot = WAL_SLOT_ALL;
    fx_argv(&im->t, 0, argv, argc);
    (void)fx_append(&im->t);
    fx_reset(&im->t);
}

void image_libraries(struct worker *w)
{
    struct exec *x = w->x;
    struct image im = { .t = { .w = w, .slot = SLOT_NONE, .image = true } };
    if (x->each_library != NULL) {
        x->each_library(x->scripts, append_whole, &im);
    }
    buf_free(&im.t.fx);
}
