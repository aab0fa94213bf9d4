/* image.c -- Entries as records: what a log that begins in the middle of a life must hold.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * THREADS  image_shard(): whoever holds the shard's lock. image_part_write(): the thread that
 *          begins the log, without a lock. Both append as that thread's worker.
 * COST     Under the lock an entry of up to BIG_EFFORT allocations is written, of a larger one a
 *          reference is taken (values are shareable in O(1)); it is written later, waiting for room
 *          between records. */
#include "exec/exec_int.h"
#include "ds/fields.h"
#include "ds/quicklist.h"
#include "ds/set.h"
#include "ds/stream_group.h"
#include "ds/zset.h"
#include "store/rdb.h"

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

/* Large records have the size that clients chose. */
static bool has_room(struct image *im, const struct slice *argv, unsigned argc)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < argc; i++) {
        bytes += argv[i].n + EFFECT_ARG;
    }
    bool room = fx_room(&im->t, bytes);
    if (!room) {
        im->failed = true;
        log_begin_no_memory(im->t.w->x);
    }
    return room;
}

static void append(struct image *im, struct slice key, const struct slice *argv, unsigned argc)
{
    if (im->patiently != NULL && !im->failed) {
        im->failed = !log_walk_room(im->patiently);
    }
    if (im->failed || !has_room(im, argv, argc)) {
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

/* ---- Dues of fields ---- */

/* The fields that have one, the earliest first. */
struct by_due {
    const struct fields *f;
    uint64_t rank, n;      /* of a tree, which has them in that order beside it */
    struct fields_iter it; /* of a listpack, which is in that order */
    struct fields_item item;
    char digits[I64_TEXT_MAX];
};

static void by_due_begin(struct by_due *d, const struct fields *f)
{
    struct fields in_the_end = *f;
    in_the_end.now = INT64_MAX;
    d->f = f;
    d->rank = 0;
    d->n = fields_tree(f) != NULL ? fields_hidden(&in_the_end) : 0;
    fields_iter(&d->it, f, 0);
}

static bool by_due_next(struct by_due *d, struct slice *name, int64_t *due)
{
    if (fields_tree(d->f) == NULL) {
        bool any = fields_next(&d->it, &d->item) && d->item.due != BTREE_NO_DUE;
        *name = d->item.field;
        *due = d->item.due;
        return any;
    }
    if (d->rank == d->n) {
        return false;
    }
    *name = fields_by_due(d->f, d->rank++, d->digits);
    must(fields_get_due(d->f, *name, due));
    return true;
}

#define DUES_HEAD 3 /* the due, FIELDS, how many */

static void dues_flush(struct batch *b)
{
    char *n = b->text[DUES_HEAD - 1];
    if (b->n > DUES_HEAD) {
        b->argv[1 + DUES_HEAD] = slice_of(n, format_u64(n, b->n - DUES_HEAD));
        batch_flush(b);
    }
}

/* One record for as many fields as have the same due: the key may be long. */
static void image_field_dues(struct image *im, const struct entry *e, const struct fields *f)
{
    struct batch b;
    struct by_due d;
    struct slice name;
    int64_t due, last = BTREE_NO_DUE;
    batch_begin(&b, im, S("HPEXPIREAT"), e);
    by_due_begin(&d, f);
    while (by_due_next(&d, &name, &due)) {
        if (due != last || b.n == VALUES_PER_RECORD || b.bytes >= BYTES_PER_RECORD) {
            dues_flush(&b);
        }
        if (b.n == 0) {
            char text[I64_TEXT_MAX];
            batch_value(&b, slice_of(text, format_i64(text, due)));
            batch_value(&b, S("FIELDS"));
            batch_value(&b, S("0"));
            last = due;
        }
        batch_value(&b, name);
    }
    dues_flush(&b);
}

#define RESTORED_MAX (64u << 20) /* bytes of a hash that may be in memory as a payload, too */
#define KEY_TIMES    2           /* with its dues: more than so many times a hash is not written */

/* Would the key, once for each due, be most of what is written? */
static bool key_prevails(const struct entry *e, const struct fields *f)
{
    struct by_due d;
    struct slice name;
    int64_t due, last = BTREE_NO_DUE;
    size_t key = entry_key(e).n, most = KEY_TIMES * fields_bytes(f) + BYTES_PER_RECORD;
    size_t dues = 0;
    if (fields_first_due(f) == BTREE_NO_DUE || fields_count(f) <= most / (key + 1)) {
        return false;
    }
    by_due_begin(&d, f);
    while (by_due_next(&d, &name, &due)) {
        dues += due != last;
        last = due;
    }
    return dues > most / (key + 1) && most < RESTORED_MAX;
}

/* The whole hash as a payload, which has all dues. False: there is no memory for that. */
static bool image_restored(struct image *im, const struct entry *e)
{
    struct rdb_writer w = { .compress = true };
    rdb_write_byte(&w, rdb_type(e));
    rdb_write_value(&w, e);
    rdb_write_footer(&w, rdb_value_version(e));
    bool written = w.error == 0;
    if (written) {
        struct slice argv[] = { S("RESTORE"),    entry_key(e), S("0"),
                                buf_slice(&w.b), S("REPLACE"), S("ABSTTL") };
        append(im, argv[1], argv, countof(argv));
    }
    buf_free(&w.b);
    return written;
}

static void image_hash(struct image *im, const struct entry *e)
{
    struct batch b;
    struct fields f;
    struct fields_iter it;
    struct fields_item item;
    entry_get_fields(e, FIELDS_ALL, &f);
    if (key_prevails(e, &f) && image_restored(im, e)) {
        return;
    }
    batch_begin(&b, im, S("HSET"), e);
    fields_iter(&it, &f, 0);
    while (fields_next(&it, &item)) {
        batch_value(&b, item.field);
        batch_value(&b, item.value);
        batch_element(&b);
    }
    batch_flush(&b);
    image_field_dues(im, e, &f);
}

/* ---- Streams ---- */

struct id_text {
    char text[STREAM_ID_TEXT_MAX];
};

static struct slice id_slice(struct id_text *t, struct stream_id id)
{
    return slice_of(t->text, stream_id_format(t->text, id));
}

static void image_stream_entry(struct image *im, struct slice key, struct stream_iter *it,
                               const struct stream_entry *e)
{
    struct slice *argv = mem_try_alloc((3 + 2 * (size_t)e->pairs) * sizeof *argv);
    char(*digits)[I64_TEXT_MAX] = mem_try_alloc(2 * (size_t)e->pairs * sizeof *digits);
    if (argv == NULL || digits == NULL) {
        mem_free(digits);
        mem_free(argv);
        im->failed = true;
        log_begin_no_memory(im->t.w->x);
        return;
    }
    struct id_text id;
    struct stream_pair pair;
    unsigned argc = 3;
    argv[0] = S("XADD");
    argv[1] = key;
    argv[2] = id_slice(&id, e->id);
    for (unsigned i = 0; stream_next_pair(it, &pair); i++) {
        struct slice text[] = { pair.field, pair.value };
        for (unsigned k = 0; k < 2; k++) {
            if (text[k].p == pair.digits[k]) { /* printed for this step */
                memcpy(digits[2 * i + k], text[k].p, text[k].n);
                text[k].p = digits[2 * i + k];
            }
            argv[argc++] = text[k];
        }
    }
    append(im, key, argv, argc);
    mem_free(digits);
    mem_free(argv);
}

/* Deliveries that have the same time and count, in one command: the records of a batch. */
static void image_stream_pending(struct image *im, struct slice key, const struct stream *s,
                                 const struct stream_group *g, const struct stream_consumer *c)
{
    struct stream_pending_iter it;
    struct stream_pending p, first = { .count = 0 };
    struct id_text ids[VALUES_PER_RECORD];
    struct slice argv[VALUES_PER_RECORD + 11] = { S("XCLAIM"), key, g->name, c->name, S("0") };
    char time[I64_TEXT_MAX], count[I64_TEXT_MAX];
    unsigned n = 0;
    stream_pending_iter(&it, s, g, c, STREAM_ID_MIN, STREAM_ID_MAX);
    for (bool more = true; more;) {
        more = stream_pending_next(&it, &p);
        if (n > 0 &&
            (!more || n == VALUES_PER_RECORD || p.time != first.time || p.count != first.count)) {
            unsigned argc = 5 + n;
            argv[argc++] = S("TIME");
            argv[argc++] = slice_of(time, format_i64(time, first.time));
            argv[argc++] = S("RETRYCOUNT");
            argv[argc++] = slice_of(count, format_u64(count, first.count));
            argv[argc++] = S("FORCE");
            argv[argc++] = S("JUSTID");
            append(im, key, argv, argc);
            n = 0;
        }
        if (more) {
            first = n == 0 ? p : first;
            argv[5 + n] = id_slice(&ids[n], p.id);
            n++;
        }
    }
}

/* When c was seen and active, in the words that cmd_xclaim() takes for that; last of all that is
 * about it. No command says it, and a payload of RESTORE would not be for Redis 7.0, which an
 * exported log is for, too: to that one it is an XCLAIM that gets nothing. */
static void image_stream_times(struct image *im, struct slice key, const struct stream_group *g,
                               const struct stream_consumer *c)
{
    char longest[I64_TEXT_MAX], seen[I64_TEXT_MAX], active[I64_TEXT_MAX];
    struct slice argv[] = { S("XCLAIM"),
                            key,
                            g->name,
                            c->name,
                            slice_of(longest, format_i64(longest, INT64_MAX)),
                            S("0-0"),
                            S("JUSTID"),
                            S("TIME"),
                            slice_of(seen, format_i64(seen, c->seen)),
                            S("RETRYCOUNT"),
                            slice_of(active, format_i64(active, c->active)) };
    append(im, key, argv, countof(argv) - (c->active == STREAM_NEVER ? 2 : 0));
}

static void image_stream_group(struct image *im, struct slice key, const struct stream *s,
                               const struct stream_group *g)
{
    struct id_text last;
    char read[I64_TEXT_MAX];
    struct slice create[] = { S("XGROUP"),
                              S("CREATE"),
                              key,
                              g->name,
                              id_slice(&last, g->last),
                              S("ENTRIESREAD"),
                              slice_of(read, format_i64(read, g->read)) };
    struct stream_consumer c;
    append(im, key, create, countof(create));
    for (uint64_t i = 0; stream_consumer_at(s, g, i, &c); i++) {
        struct slice consumer[] = { S("XGROUP"), S("CREATECONSUMER"), key, g->name, c.name };
        append(im, key, consumer, countof(consumer));
        image_stream_pending(im, key, s, g, &c);
        image_stream_times(im, key, g, &c);
    }
}

/* Entries, then what is known of the whole, then groups. A stream without entries gets one that is
 * trimmed at once. */
static void image_stream(struct image *im, const struct entry *e)
{
    const struct stream *s = entry_ptr(e);
    const struct stream_state *t = stream_state(s);
    struct slice key = entry_key(e);
    struct stream_iter it;
    struct stream_entry entry;
    struct stream_group g;
    struct id_text last, deleted;
    char added[I64_TEXT_MAX];
    if (t->length == 0) {
        struct slice empty[] = { S("XADD"), key,      S("MAXLEN"), S("="),
                                 S("0"),    S("0-1"), S("x"),      S("y") };
        append(im, key, empty, countof(empty));
    }
    stream_iter(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, true);
    while (stream_next(&it, &entry)) {
        image_stream_entry(im, key, &it, &entry);
    }
    struct slice whole[] = { S("XSETID"),
                             key,
                             id_slice(&last, t->last),
                             S("ENTRIESADDED"),
                             slice_of(added, format_u64(added, t->added)),
                             S("MAXDELETEDID"),
                             id_slice(&deleted, t->max_deleted) };
    append(im, key, whole, countof(whole));
    for (uint64_t i = 0; stream_group_at(s, i, &g); i++) {
        image_stream_group(im, key, s, &g);
    }
}

static void image_entry(struct image *im, const struct entry *e)
{
    switch (entry_type(e)) {
    case OBJ_STRING: image_string(im, e); return;
    case OBJ_LIST: image_list(im, e); break;
    case OBJ_SET: image_set(im, e); break;
    case OBJ_ZSET: image_zset(im, e); break;
    case OBJ_HASH: image_hash(im, e); break;
    case OBJ_STREAM: image_stream(im, e); break;
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
    if (!has_room(im, argv, argc)) {
        return;
    }
    im->t.slot = WAL_SLOT_ALL;
    fx_argv(&im->t, 0, argv, argc);
    (void)fx_append(&im->t);
    fx_reset(&im->t);
}

void image_libraries(struct worker *w)
{
    struct exec *x = w->x;
    struct image im = { .t = { .w = w, .slot = SLOT_NONE, .image = true } };
    if (x->script_hooks != NULL) {
        x->script_hooks->each(x->scripts, append_whole, &im);
    }
    buf_free(&im.t.fx);
}
