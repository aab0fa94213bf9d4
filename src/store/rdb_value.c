/* rdb_value.c -- Values from RDB: one function per way a type was ever written.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      A value is built element by element by the functions that commands use, so whatever the
 *          bytes say, what comes out satisfies the container's invariants and has the form that the
 *          limits of this server give it. Only integer sets and chunks of lists are taken over as
 *          bytes, after they were found valid: nothing but order and distinctness is to be known of
 *          them.
 * REFUSED  Elements twice, pairs cut in half, scores that are none, empty containers. */
#include "store/rdb_int.h"
#include "ds/quicklist.h"
#include "store/store_int.h"
#include <errno.h>
#include <math.h>

struct loading {
    struct rdb_reader *r;
    const struct rdb_limits *limits;
    struct rdb_text text[2]; /* scratch */
    struct rdb_value *v;
};

static bool fail(struct loading *l, int error)
{
    struct rdb_reader *r = l->r;
    r->error = r->error != 0 ? r->error : error;
    return false;
}

static bool bad(struct loading *l)
{
    return fail(l, -EINVAL);
}

/* rc of a call that may have no memory. */
static bool went_well(struct loading *l, int rc)
{
    return rc >= 0 || fail(l, rc);
}

/* rc of a call that adds something which must not be there. */
static bool added(struct loading *l, int rc)
{
    return rc > 0 || fail(l, rc < 0 ? rc : -EINVAL);
}

/* How many elements follow. A container is never empty, and an element takes a byte at least. */
static bool read_count(struct loading *l, uint64_t *n)
{
    struct rdb_reader *r = l->r;
    if (!rdb_read_length(r, n)) {
        return false;
    }
    return (*n > 0 && (r->more != NULL || *n <= r->at_hand.n)) || bad(l);
}

static bool open_pack(struct loading *l, struct pack *p, enum pack_form form)
{
    return rdb_read_text(l->r, &l->text[0]) && (pack_open(p, form, l->text[0].s) || bad(l));
}

static void made(struct loading *l, enum obj_type type, enum obj_enc enc, void *container)
{
    l->v->type = type;
    l->v->enc = enc;
    l->v->container = container;
}

static bool load_string(struct loading *l)
{
    made(l, OBJ_STRING, ENC_RAW, NULL);
    return rdb_read_text(l->r, &l->v->text);
}

/* ---- Lists ---- */

static bool list_text(struct loading *l, struct quicklist *ql)
{
    return rdb_read_text(l->r, &l->text[0]) &&
           went_well(l, quicklist_push(ql, QL_TAIL, l->text[0].s));
}

static bool list_ziplist(struct loading *l, struct quicklist *ql)
{
    struct pack p;
    struct lp_value v;
    char digits[I64_TEXT_MAX];
    bool done = open_pack(l, &p, PACK_ZIPLIST);
    while (done && pack_next(&p, &v)) {
        done = went_well(l, quicklist_push(ql, QL_TAIL, lp_text(&v, digits)));
    }
    return done;
}

static bool list_chunk(struct loading *l, struct quicklist *ql)
{
    uint64_t kind;
    if (!rdb_read_length(l->r, &kind)) {
        return false;
    }
    if (kind == RDB_CHUNK_PLAIN) {
        return list_text(l, ql);
    }
    struct pack p;
    if (kind != RDB_CHUNK_PACKED) {
        return bad(l);
    }
    return open_pack(l, &p, PACK_LISTPACK) &&
           went_well(l, quicklist_append_listpack(ql, (const void *)l->text[0].s.p));
}

/* `parts` calls of `part`. */
static bool load_parts(struct loading *l, uint64_t parts,
                       bool (*part)(struct loading *l, struct quicklist *ql))
{
    struct quicklist *ql = quicklist_new(l->limits->list_fill);
    bool done = true;
    while (done && parts-- > 0) {
        done = part(l, ql);
    }
    if (!done || quicklist_count(ql) == 0) {
        quicklist_free(ql);
        return bad(l);
    }
    made(l, OBJ_LIST, quicklist_only_listpack(ql) != NULL ? ENC_LISTPACK : ENC_QUICKLIST, ql);
    return true;
}

static bool load_list(struct loading *l)
{
    uint64_t n;
    return read_count(l, &n) && load_parts(l, n, list_text);
}

static bool load_list_ziplist(struct loading *l)
{
    return load_parts(l, 1, list_ziplist);
}

static bool load_list_ziplists(struct loading *l)
{
    uint64_t n;
    return read_count(l, &n) && load_parts(l, n, list_ziplist);
}

static bool load_list_chunks(struct loading *l)
{
    uint64_t n;
    return read_count(l, &n) && load_parts(l, n, list_chunk);
}

/* ---- Sets ---- */

static bool set_put(struct loading *l, struct set *s, struct slice text)
{
    struct set_member m;
    set_member_text(&m, text);
    return added(l, set_add(s, &m, &l->limits->set));
}

static bool set_end(struct loading *l, struct set *s, bool done)
{
    if (!done) {
        set_free(s);
        return false;
    }
    made(l, OBJ_SET, entry_set_enc(s), s->p);
    return true;
}

static bool load_set(struct loading *l)
{
    uint64_t n;
    struct set s;
    struct set_member first;
    if (!read_count(l, &n) || !rdb_read_text(l->r, &l->text[0])) {
        return false;
    }
    set_member_text(&first, l->text[0].s);
    set_new(&s, &first, n, &l->limits->set);
    bool done = set_put(l, &s, l->text[0].s);
    while (done && --n > 0) {
        done = rdb_read_text(l->r, &l->text[0]) && set_put(l, &s, l->text[0].s);
    }
    return set_end(l, &s, done);
}

static bool load_set_listpack(struct loading *l)
{
    struct pack p;
    struct lp_value v;
    struct set s;
    char digits[I64_TEXT_MAX];
    if (!open_pack(l, &p, PACK_LISTPACK) || (!pack_next(&p, &v) && !bad(l))) {
        return false;
    }
    set_new_smallest(&s);
    bool done;
    do {
        done = set_put(l, &s, lp_text(&v, digits));
    } while (done && pack_next(&p, &v));
    return set_end(l, &s, done);
}

static bool load_intset(struct loading *l)
{
    if (!rdb_read_text(l->r, &l->text[0])) {
        return false;
    }
    struct slice bytes = l->text[0].s;
    if (!intset_valid(bytes)) {
        return bad(l);
    }
    struct set s = { SET_INTSET, intset_from_bytes(bytes) };
    if (s.p == NULL) {
        return fail(l, -ENOMEM);
    }
    bool done = set_count(&s) > 0 || bad(l);
    if (done && set_expect(&s, set_count(&s), &l->limits->set) < 0) {
        done = fail(l, -ENOMEM);
    }
    return set_end(l, &s, done);
}

/* ---- Hashes ---- */

static bool hash_put(struct loading *l, struct fields *f, struct slice field, struct slice value)
{
    return added(l, fields_put(f, field, value, &l->limits->hash));
}

static bool hash_end(struct loading *l, struct fields *f, bool done)
{
    if (!done || fields_count(f) == 0) {
        fields_free(f);
        return bad(l);
    }
    made(l, OBJ_HASH, entry_fields_enc(f), f->p);
    return true;
}

static bool load_hash(struct loading *l)
{
    uint64_t n;
    struct fields f;
    if (!read_count(l, &n)) {
        return false;
    }
    if (n > l->limits->hash.entries) {
        f = (struct fields){ FIELDS_TREE, btree_new(), FIELDS_ALL };
    } else {
        fields_new(&f);
    }
    bool done = true;
    while (done && n-- > 0) {
        done = rdb_read_text(l->r, &l->text[0]) && rdb_read_text(l->r, &l->text[1]) &&
               hash_put(l, &f, l->text[0].s, l->text[1].s);
    }
    return hash_end(l, &f, done);
}

#define DUE_MAX (((uint64_t)1 << 46) - 1) /* what commands accept */

/* `at` is a due of the field, 0: it has none. */
static bool hash_put_due(struct loading *l, struct fields *f, struct slice field,
                         struct slice value, uint64_t at)
{
    if (at > DUE_MAX) {
        return bad(l);
    }
    return added(
        l, fields_put_due(f, field, value, at == 0 ? BTREE_NO_DUE : (int64_t)at, &l->limits->hash));
}

static bool read_first_due(struct loading *l, uint64_t *first)
{
    if (!rdb_read_bytes(l->r, first, sizeof *first)) {
        return false;
    }
    *first = le64toh(*first);
    return true;
}

/* The due of the next field: 0, or first + what is told - 1. */
static bool read_due(struct loading *l, uint64_t first, uint64_t *at)
{
    uint64_t later;
    if (!rdb_read_length(l->r, &later)) {
        return false;
    }
    if (later > DUE_MAX || (later > 0 && (first > DUE_MAX || first + later == 1))) {
        return bad(l);
    }
    *at = later == 0 ? 0 : first + later - 1;
    return true;
}

static bool load_hash_dues(struct loading *l, uint64_t first)
{
    uint64_t n, at = 0;
    struct fields f;
    if (!read_count(l, &n)) {
        return false;
    }
    fields_new(&f);
    bool done = true;
    while (done && n-- > 0) {
        done = read_due(l, first, &at) && rdb_read_text(l->r, &l->text[0]) &&
               rdb_read_text(l->r, &l->text[1]) &&
               hash_put_due(l, &f, l->text[0].s, l->text[1].s, at);
    }
    return hash_end(l, &f, done);
}

static bool load_hash_timed(struct loading *l)
{
    uint64_t first;
    return read_first_due(l, &first) && load_hash_dues(l, first);
}

static bool load_hash_timed_rc(struct loading *l)
{
    return load_hash_dues(l, 1);
}

static bool load_hash_listpack_timed_rc(struct loading *l)
{
    struct pack p;
    struct lp_value field, value, due;
    struct fields f;
    char digits[2][I64_TEXT_MAX];
    if (!open_pack(l, &p, PACK_LISTPACK)) {
        return false;
    }
    fields_new(&f);
    bool done = true;
    while (done && pack_next(&p, &field)) {
        done = pack_next(&p, &value) && pack_next(&p, &due) && due.p == NULL && due.i >= 0 &&
               hash_put_due(l, &f, lp_text(&field, digits[0]), lp_text(&value, digits[1]),
                            (uint64_t)due.i);
    }
    return hash_end(l, &f, done);
}

static bool load_hash_listpack_timed(struct loading *l)
{
    uint64_t first; /* the dues tell it, too */
    return read_first_due(l, &first) && load_hash_listpack_timed_rc(l);
}

static bool load_hash_pack(struct loading *l, enum pack_form form)
{
    struct pack p;
    struct lp_value field, value;
    struct fields f;
    char digits[2][I64_TEXT_MAX];
    if (!open_pack(l, &p, form)) {
        return false;
    }
    fields_new(&f);
    bool done = true;
    while (done && pack_next(&p, &field)) {
        done = pack_next(&p, &value) &&
               hash_put(l, &f, lp_text(&field, digits[0]), lp_text(&value, digits[1]));
    }
    return hash_end(l, &f, done);
}

static bool load_hash_zipmap(struct loading *l)
{
    return load_hash_pack(l, PACK_ZIPMAP);
}

static bool load_hash_ziplist(struct loading *l)
{
    return load_hash_pack(l, PACK_ZIPLIST);
}

static bool load_hash_listpack(struct loading *l)
{
    return load_hash_pack(l, PACK_LISTPACK);
}

/* ---- Sorted sets ---- */

static bool zset_put(struct loading *l, struct zset *z, struct slice member, double score)
{
    double old;
    if (isnan(score) || zset_score(*z, member, &old)) {
        return bad(l);
    }
    return went_well(l, zset_add(z, &l->limits->zset, member, score));
}

static bool zset_end(struct loading *l, struct zset z, bool done)
{
    if (!done || zset_count(z) == 0) {
        zset_free(z);
        return bad(l);
    }
    made(l, OBJ_ZSET, entry_zset_enc(&z), z.p);
    return true;
}

static bool read_score(struct rdb_reader *r, double *score)
{
    uint64_t bits;
    if (!rdb_read_bytes(r, &bits, sizeof bits)) {
        return false;
    }
    bits = le64toh(bits);
    memcpy(score, &bits, sizeof *score);
    return true;
}

/* As text behind its length in a byte, of which three mean something else. */
static bool read_score_text(struct rdb_reader *r, double *score)
{
    enum { NOT_A_NUMBER = 253, INFINITE, MINUS_INFINITE };
    unsigned n;
    char text[NOT_A_NUMBER];
    if (!rdb_read_byte(r, &n)) {
        return false;
    }
    switch (n) {
    case NOT_A_NUMBER: *score = NAN; return true;
    case INFINITE: *score = INFINITY; return true;
    case MINUS_INFINITE: *score = -INFINITY; return true;
    default: break;
    }
    if (!rdb_read_bytes(r, text, n)) {
        return false;
    }
    if (!parse_f64(slice_of(text, n), score)) {
        *score = NAN;
    }
    return true;
}

static bool load_zset_with(struct loading *l, bool (*score_of)(struct rdb_reader *r, double *score))
{
    uint64_t n;
    if (!read_count(l, &n)) {
        return false;
    }
    struct zset z = zset_new();
    bool done = n <= l->limits->zset.members || zset_make_big(&z) || fail(l, -ENOMEM);
    while (done && n-- > 0) {
        double score;
        done = rdb_read_text(l->r, &l->text[0]) && score_of(l->r, &score) &&
               zset_put(l, &z, l->text[0].s, score);
    }
    return zset_end(l, z, done);
}

static bool load_zset(struct loading *l)
{
    return load_zset_with(l, read_score);
}

static bool load_zset_text(struct loading *l)
{
    return load_zset_with(l, read_score_text);
}

static bool pack_score(struct pack *p, double *score)
{
    struct lp_value v;
    if (!pack_next(p, &v)) {
        return false;
    }
    *score = (double)v.i;
    return v.p == NULL || parse_f64(slice_of(v.p, v.n), score);
}

static bool load_zset_pack(struct loading *l, enum pack_form form)
{
    struct pack p;
    struct lp_value v;
    char digits[I64_TEXT_MAX];
    if (!open_pack(l, &p, form)) {
        return false;
    }
    struct zset z = zset_new();
    bool done = true;
    while (done && pack_next(&p, &v)) {
        double score;
        done = pack_score(&p, &score) && zset_put(l, &z, lp_text(&v, digits), score);
    }
    return zset_end(l, z, done);
}

static bool load_zset_ziplist(struct loading *l)
{
    return load_zset_pack(l, PACK_ZIPLIST);
}

static bool load_zset_listpack(struct loading *l)
{
    return load_zset_pack(l, PACK_LISTPACK);
}

/* ---- Streams ---- */

static bool load_stream_as(struct loading *l, unsigned type)
{
    struct stream *s = rdb_read_stream(l->r, type, &l->limits->stream);
    if (s != NULL) {
        made(l, OBJ_STREAM, ENC_STREAM, s);
    }
    return s != NULL || bad(l);
}

static bool load_stream(struct loading *l)
{
    return load_stream_as(l, RDB_STREAM);
}

static bool load_stream_2(struct loading *l)
{
    return load_stream_as(l, RDB_STREAM_2);
}

static bool load_stream_3(struct loading *l)
{
    return load_stream_as(l, RDB_STREAM_3);
}

/* ---- All of them ---- */

static bool (*const loaders[RDB_TYPES])(struct loading *l) = {
    [RDB_STRING] = load_string,
    [RDB_LIST] = load_list,
    [RDB_LIST_ZIPLIST] = load_list_ziplist,
    [RDB_LIST_ZIPLISTS] = load_list_ziplists,
    [RDB_LIST_CHUNKS] = load_list_chunks,
    [RDB_SET] = load_set,
    [RDB_SET_INTSET] = load_intset,
    [RDB_SET_LISTPACK] = load_set_listpack,
    [RDB_HASH] = load_hash,
    [RDB_HASH_ZIPMAP] = load_hash_zipmap,
    [RDB_HASH_ZIPLIST] = load_hash_ziplist,
    [RDB_HASH_LISTPACK] = load_hash_listpack,
    [RDB_HASH_TIMED_RC] = load_hash_timed_rc,
    [RDB_HASH_LISTPACK_TIMED_RC] = load_hash_listpack_timed_rc,
    [RDB_HASH_TIMED] = load_hash_timed,
    [RDB_HASH_LISTPACK_TIMED] = load_hash_listpack_timed,
    [RDB_ZSET] = load_zset,
    [RDB_ZSET_TEXT] = load_zset_text,
    [RDB_ZSET_ZIPLIST] = load_zset_ziplist,
    [RDB_ZSET_LISTPACK] = load_zset_listpack,
    [RDB_STREAM] = load_stream,
    [RDB_STREAM_2] = load_stream_2,
    [RDB_STREAM_3] = load_stream_3,
};

bool rdb_read_value(struct rdb_reader *r, unsigned type, const struct rdb_limits *limits,
                    struct rdb_value *v)
{
    struct loading l = { .r = r, .limits = limits, .v = v };
    *v = (struct rdb_value){ .container = NULL };
    bool done = type < RDB_TYPES && loaders[type] != NULL ? loaders[type](&l) : bad(&l);
    buf_free(&l.text[0].own);
    buf_free(&l.text[1].own);
    if (!done) {
        buf_free(&v->text.own);
    }
    return done;
}

void rdb_value_free(struct rdb_value *v)
{
    if (v->container != NULL) {
        value_ops_of(v->type, v->enc)->free(v->container);
        v->container = NULL;
    }
    buf_free(&v->text.own);
}
