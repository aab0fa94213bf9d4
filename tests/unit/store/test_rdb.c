/* test_rdb.c -- Values to RDB and back; old forms; bytes that lie.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/fault.h"
#include "ds/quicklist.h"
#include "rdb_samples.h"
#include "store/rdb.h"
#include "store_util.h"
#include "unit/ds/oracle.h"
#include <errno.h>
#include <math.h>

static const struct rdb_limits limits = {
    .list_fill = -2, .set = { 512, 128, 64 }, .hash = { 512, 64 }, .zset = { 128, 64 }
};

static struct keyspace *ks;
static struct shard *shard;

static void setup(void)
{
    ks = store_new(1, 1, 0);
    shard = keyspace_shard(ks, 0);
    shard_lock(shard);
}

static void teardown(void)
{
    shard_check(shard);
    shard_unlock(shard);
    keyspace_free(ks);
}

/* An entry for what was read, as key `number`. */
static struct entry *adopt(unsigned number, struct rdb_value *v)
{
    struct named_key nk;
    struct key *k = store_key(ks, &nk, number);
    struct entry *e;
    if (v->type == OBJ_STRING) {
        e = shard_set_string(shard, 0, k, v->text.s, STRING_AUTO, false);
    } else {
        e = shard_add_object(shard, 0, k, v->type, v->enc, v->container);
        v->container = NULL;
    }
    rdb_value_free(v);
    return e;
}

/* ---- Are two entries the same value? ---- */

static void same_list(const struct entry *a, const struct entry *b)
{
    struct ql_iter ia, ib;
    struct lp_value va, vb;
    char da[I64_TEXT_MAX], db[I64_TEXT_MAX];
    quicklist_iter(&ia, entry_ptr(a), 0, true);
    quicklist_iter(&ib, entry_ptr(b), 0, true);
    want(quicklist_count(entry_ptr(a)) == quicklist_count(entry_ptr(b)));
    while (quicklist_next(&ia, &va)) {
        want(quicklist_next(&ib, &vb));
        want(slice_eq(lp_text(&va, da), lp_text(&vb, db)));
    }
}

static void same_set(const struct entry *a, const struct entry *b)
{
    struct set sa, sb;
    struct set_iter it;
    struct set_member m;
    entry_get_set(a, &sa);
    entry_get_set(b, &sb);
    want(set_count(&sa) == set_count(&sb));
    set_iter(&it, &sa, 0);
    while (set_next(&it, &m)) {
        want(set_has(&sb, &m));
    }
}

static void same_hash(const struct entry *a, const struct entry *b)
{
    struct fields fa, fb;
    struct fields_iter it;
    struct fields_item item;
    char digits[I64_TEXT_MAX];
    struct slice value;
    entry_get_fields(a, FIELDS_ALL, &fa);
    entry_get_fields(b, FIELDS_ALL, &fb);
    want(fields_count(&fa) == fields_count(&fb));
    fields_iter(&it, &fa, 0);
    while (fields_next(&it, &item)) {
        int64_t due;
        want(fields_get(&fb, item.field, digits, &value));
        want(slice_eq(item.value, value));
        want(fields_get_due(&fb, item.field, &due) && due == item.due);
    }
}

static void same_zset(const struct entry *a, const struct entry *b)
{
    struct zset za, zb;
    struct zset_iter ia, ib;
    struct zset_item x, y;
    entry_get_zset(a, &za);
    entry_get_zset(b, &zb);
    want(zset_count(za) == zset_count(zb));
    zset_iter(&ia, za, 0, true);
    zset_iter(&ib, zb, 0, true);
    while (zset_next(&ia, &x)) {
        want(zset_next(&ib, &y));
        want(slice_eq(x.member, y.member) && x.score == y.score);
    }
}

static void same(const struct entry *a, const struct entry *b)
{
    char da[I64_TEXT_MAX], db[I64_TEXT_MAX];
    want(entry_type(a) == entry_type(b) && entry_enc(a) == entry_enc(b));
    switch (entry_type(a)) {
    case OBJ_STRING: want(slice_eq(entry_string(a, da), entry_string(b, db))); break;
    case OBJ_LIST: same_list(a, b); break;
    case OBJ_SET: same_set(a, b); break;
    case OBJ_HASH: same_hash(a, b); break;
    default: same_zset(a, b); break;
    }
}

/* ---- Random values ---- */

static void fill_set(struct rdb_value *v, unsigned n, bool numbers)
{
    struct set s;
    set_new_smallest(&s);
    for (unsigned i = 0; i < n; i++) {
        struct set_member m;
        if (numbers) {
            set_member_number(&m, (int64_t)(rng_u64() >> rng_below(64)));
        } else {
            set_member_text(&m, oracle_value(200, 10000));
        }
        want(set_add(&s, &m, &limits.set) >= 0);
    }
    *v = (struct rdb_value){ .type = OBJ_SET, .enc = entry_set_enc(&s), .container = s.p };
}

static void fill_zset(struct rdb_value *v, unsigned n)
{
    struct zset z = zset_new();
    for (unsigned i = 0; i < n; i++) {
        double score = rng_below(3) == 0 ? (double)rng_below(10) : rng_unit() * 1e6 - 5e5, old;
        struct slice member = oracle_value(200, 10000);
        if (!zset_score(z, member, &old)) {
            want(zset_add(&z, &limits.zset, member, i == 0 ? -INFINITY : score) == 0);
        }
    }
    *v = (struct rdb_value){ .type = OBJ_ZSET, .enc = entry_zset_enc(&z), .container = z.p };
}

static void fill_hash(struct rdb_value *v, unsigned n, unsigned dues_of_ten)
{
    struct fields f;
    fields_new(&f);
    for (unsigned i = 0; i < n; i++) {
        struct slice text = oracle_value(0, 0);
        char *field = mem_dup(text.p, text.n); /* the next value takes its place */
        int64_t due = BTREE_NO_DUE;
        if (rng_below(10) < dues_of_ten) {
            due = 1 + (int64_t)(rng_u64() >> (19 + rng_below(40)));
        }
        char digits[I64_TEXT_MAX];
        struct slice old; /* over a long one a short one would leave the form of the long one */
        if (!fields_get(&f, slice_of(field, text.n), digits, &old)) {
            want(fields_put_due(&f, slice_of(field, text.n), oracle_value(200, 10000), due,
                                &limits.hash) >= 0);
        }
        mem_free(field);
    }
    *v = (struct rdb_value){ .type = OBJ_HASH, .enc = entry_fields_enc(&f), .container = f.p };
}

static void fill_list(struct rdb_value *v, unsigned n)
{
    struct quicklist *ql = quicklist_new(limits.list_fill);
    for (unsigned i = 0; i < n; i++) {
        want(quicklist_push(ql, QL_TAIL, oracle_value(200, 10000)) == 0);
    }
    enum obj_enc enc = quicklist_only_listpack(ql) != NULL ? ENC_LISTPACK : ENC_QUICKLIST;
    *v = (struct rdb_value){ .type = OBJ_LIST, .enc = enc, .container = ql };
}

static struct entry *random_entry(unsigned number)
{
    static const unsigned sizes[] = { 1, 2, 20, 127, 128, 129, 512, 513, 3000 };
    unsigned n = sizes[rng_below(countof(sizes))];
    struct rdb_value v = { .type = OBJ_STRING };
    switch (rng_below(7)) {
    case 0: v.text.s = oracle_value(3, 100000); break;
    case 1: fill_list(&v, n); break;
    case 2: fill_set(&v, n, true); break;
    case 3: fill_set(&v, n, false); break;
    case 4: fill_hash(&v, n, 0); break;
    case 5: fill_hash(&v, n, 1 + (unsigned)rng_below(10)); break;
    default: fill_zset(&v, n); break;
    }
    return adopt(number, &v);
}

static void drop(struct entry *e)
{
    shard_delete(shard, 0, e);
}

static struct entry *read_entry(struct rdb_reader *r, unsigned type)
{
    struct rdb_value v;
    want(rdb_read_value(r, type, &limits, &v));
    return adopt(2, &v);
}

START_TEST(test_random_values)
{
    setup();
    for (unsigned i = 0; i < 300; i++) {
        struct entry *e = random_entry(1);
        struct rdb_writer w = { .compress = i % 2 == 0 };
        rdb_write_value(&w, e);
        ck_assert_int_eq(w.error, 0);
        struct rdb_reader r = rdb_reader_of(buf_slice(&w.b));
        struct entry *back = read_entry(&r, rdb_type(e));
        ck_assert(rdb_at_end(&r) && r.error == 0);
        ck_assert_ptr_null(entry_problem(back));
        same(e, back);
        drop(e);
        drop(back);
        buf_free(&w.b);
    }
    teardown();
}
END_TEST

/* ---- Streams: piece by piece ---- */

struct pipe {
    struct buf all;
    size_t read;
    unsigned flushes;
    size_t most; /* given by one more() */
};

static bool pipe_flush(void *arg, struct slice bytes)
{
    struct pipe *p = arg;
    ck_assert_uint_gt(bytes.n, 0);
    buf_add_slice(&p->all, bytes);
    p->flushes++;
    return true;
}

static size_t pipe_more(void *arg, char *to, size_t room)
{
    struct pipe *p = arg;
    size_t n = size_min(size_min(room, p->all.n - p->read), 1 + rng_below(p->most));
    memcpy(to, p->all.p + p->read, n);
    p->read += n;
    return n;
}

START_TEST(test_pieces)
{
    setup();
    for (unsigned i = 0; i < 100; i++) {
        struct pipe p = { .most = i % 3 == 0 ? 3 : 1000000 };
        struct entry *e = random_entry(1);
        struct rdb_writer w = { .flush = pipe_flush, .arg = &p, .compress = i % 2 == 0 };
        struct rdb_writer whole = { .compress = i % 2 == 0 };
        rdb_write_value(&w, e);
        rdb_write_byte(&w, 7);
        rdb_write_finish(&w);
        rdb_write_value(&whole, e);
        rdb_write_byte(&whole, 7);
        ck_assert_int_eq(w.error, 0);
        ck_assert_uint_le(w.b.cap, 2 * RDB_PIECE);
        ck_assert_uint_gt(p.flushes, p.all.n / (2 * RDB_PIECE + 1 + (size_t)100000));
        ck_assert_uint_eq(p.all.n, whole.b.n);
        ck_assert_uint_eq(w.crc, crc64(0, p.all.p, p.all.n));
        struct rdb_reader r = { .more = pipe_more, .arg = &p, .summing = true };
        struct entry *back = read_entry(&r, rdb_type(e));
        unsigned seven = 0;
        ck_assert(rdb_read_byte(&r, &seven) && seven == 7);
        ck_assert(rdb_at_end(&r));
        ck_assert_uint_eq(r.crc, w.crc);
        same(e, back);
        ck_assert(!rdb_read_byte(&r, &seven) && r.error == -EINVAL);
        rdb_reader_free(&r);
        drop(e);
        drop(back);
        buf_free(&w.b);
        buf_free(&whole.b);
        buf_free(&p.all);
    }
    teardown();
}
END_TEST

static bool refuse(void *arg, struct slice bytes)
{
    (void)arg;
    (void)bytes;
    return false;
}

START_TEST(test_flush_fails)
{
    struct rdb_writer w = { .flush = refuse };
    char text[1000] = { 1 };
    for (unsigned i = 0; i < 200; i++) {
        rdb_write_text(&w, slice_of(text, sizeof text));
    }
    ck_assert_int_eq(w.error, -EIO);
    ck_assert_uint_le(w.b.n, RDB_PIECE);
    buf_free(&w.b);
}
END_TEST

/* ---- Lengths and texts ---- */

START_TEST(test_lengths)
{
    static const struct {
        uint64_t n;
        size_t bytes;
    } cases[] = { { 0, 1 },     { 63, 1 },         { 64, 2 },         { 16383, 2 },
                  { 16384, 5 }, { UINT32_MAX, 5 }, { 1ull << 32, 9 }, { UINT64_MAX, 9 } };
    for (unsigned i = 0; i < countof(cases); i++) {
        struct rdb_writer w = { .error = 0 };
        uint64_t n = 1;
        rdb_write_length(&w, cases[i].n);
        ck_assert_uint_eq(w.b.n, cases[i].bytes);
        struct rdb_reader r = rdb_reader_of(buf_slice(&w.b));
        ck_assert(rdb_read_length(&r, &n));
        ck_assert_uint_eq(n, cases[i].n);
        r = rdb_reader_of(slice_of(w.b.p, w.b.n - 1));
        ck_assert(!rdb_read_length(&r, &n));
        ck_assert_int_eq(r.error, -EINVAL);
        buf_free(&w.b);
    }
    struct rdb_reader r = rdb_reader_of(S("\xc0\x05"));
    uint64_t n;
    ck_assert(!rdb_read_length(&r, &n)); /* an integer is not a length */
    r = rdb_reader_of(S("\x82\x05\x05\x05\x05"));
    ck_assert(!rdb_read_length(&r, &n));
}
END_TEST

static void text_is(struct slice text, bool compress, struct slice bytes)
{
    struct rdb_writer w = { .compress = compress };
    rdb_write_text(&w, text);
    ck_assert_uint_eq(w.b.n, bytes.n);
    ck_assert_mem_eq(w.b.p, bytes.p, bytes.n);
    struct rdb_reader r = rdb_reader_of(buf_slice(&w.b));
    struct rdb_text t = { .own = { 0 } };
    ck_assert(rdb_read_text(&r, &t));
    ck_assert(slice_eq(t.s, text));
    buf_free(&t.own);
    buf_free(&w.b);
}

START_TEST(test_texts)
{
    text_is(S(""), true, S("\x00"));
    text_is(S("0"), true, S("\xc0\x00"));
    text_is(S("-128"), true, S("\xc0\x80"));
    text_is(S("128"), true, S("\xc1\x80\x00"));
    text_is(S("-32769"), true, S("\xc2\xff\x7f\xff\xff"));
    text_is(S("2147483647"), true, S("\xc2\xff\xff\xff\x7f"));
    text_is(S("2147483648"), true,
            S("\x0a"
              "2147483648"));
    text_is(S("007"), true,
            S("\x03"
              "007"));
    text_is(S("aaaaaaaaaaaaaaaaaaaa"), true,
            S("\x14"
              "aaaaaaaaaaaaaaaaaaaa"));
    text_is(S("aaaaaaaaaaaaaaaaaaaaaa"), false,
            S("\x16"
              "aaaaaaaaaaaaaaaaaaaaaa"));
    struct rdb_writer w = { .compress = true };
    char many[5000];
    memset(many, 'a', sizeof many);
    rdb_write_text(&w, slice_of(many, sizeof many));
    ck_assert_uint_lt(w.b.n, 200);
    struct rdb_reader r = rdb_reader_of(buf_slice(&w.b));
    struct rdb_text t = { .own = { 0 } };
    ck_assert(rdb_read_text(&r, &t));
    ck_assert(slice_eq(t.s, slice_of(many, sizeof many)));
    buf_free(&t.own);
    buf_free(&w.b);
}
END_TEST

/* ---- What others wrote, and lies ---- */

/* Reads `bytes` as `type`: NULL, or the entry. */
static struct entry *try_read(unsigned type, struct slice bytes, int *error)
{
    struct rdb_reader r = rdb_reader_of(bytes);
    struct rdb_value v;
    if (!rdb_read_value(&r, type, &limits, &v)) {
        *error = r.error;
        return NULL;
    }
    *error = 0;
    return adopt(3, &v);
}

/* "a b c"; a hash as "f=v", or "f=v@due", a sorted set as "m=score" */
static void describe(const struct entry *e, struct buf *b)
{
    char digits[F64_TEXT_MAX];
    struct ql_iter qi;
    struct lp_value v;
    struct set s;
    struct set_iter si;
    struct set_member m;
    struct fields f;
    struct fields_iter fi;
    struct fields_item pair;
    struct zset z;
    struct zset_iter zi;
    struct zset_item item;
    b->n = 0;
    switch (entry_type(e)) {
    case OBJ_STRING: buf_add_slice(b, entry_string(e, digits)); break;
    case OBJ_LIST:
        quicklist_iter(&qi, entry_ptr(e), 0, true);
        while (quicklist_next(&qi, &v)) {
            buf_add_slice(b, lp_text(&v, digits));
            buf_add_char(b, ' ');
        }
        break;
    case OBJ_SET:
        entry_get_set(e, &s);
        set_iter(&si, &s, 0);
        while (set_next(&si, &m)) {
            buf_add_slice(b, set_text(&m));
            buf_add_char(b, ' ');
        }
        break;
    case OBJ_HASH:
        entry_get_fields(e, FIELDS_ALL, &f);
        fields_iter(&fi, &f, 0);
        while (fields_next(&fi, &pair)) {
            buf_add_slice(b, pair.field);
            buf_add_char(b, '=');
            buf_add_slice(b, pair.value);
            if (pair.due != BTREE_NO_DUE) {
                buf_printf(b, "@%lld", (long long)pair.due);
            }
            buf_add_char(b, ' ');
        }
        break;
    default:
        entry_get_zset(e, &z);
        zset_iter(&zi, z, 0, true);
        while (zset_next(&zi, &item)) {
            buf_add_slice(b, item.member);
            buf_printf(b, "=%g ", item.score);
        }
        break;
    }
    buf_add_char(b, '\0');
}

START_TEST(test_samples)
{
    setup();
    const struct sample *s = &samples[_i];
    struct buf text = { 0 };
    int error;
    struct entry *e = try_read(s->type, s->bytes, &error);
    if (s->value == NULL) {
        ck_assert_msg(e == NULL && error == -EINVAL, "%s: was read", s->what);
    } else {
        ck_assert_msg(e != NULL, "%s: was not read", s->what);
        ck_assert_ptr_null(entry_problem(e));
        describe(e, &text);
        ck_assert_str_eq(text.p, s->value);
        drop(e);
        for (size_t n = 0; n < s->bytes.n; n++) {
            ck_assert_msg(try_read(s->type, slice_of(s->bytes.p, n), &error) == NULL,
                          "%s: was read when cut to %zu", s->what, n);
        }
    }
    buf_free(&text);
    teardown();
}
END_TEST

/* A value that was read in the form that is written, is written as it was read. */
START_TEST(test_timed_bytes)
{
    setup();
    unsigned n = 0;
    for (unsigned i = 0; i < countof(samples); i++) {
        int error;
        if (samples[i].type != 24 || samples[i].value == NULL || samples[i].bytes.p[9] != 1) {
            continue;
        }
        struct entry *e = try_read(24, samples[i].bytes, &error);
        ck_assert_ptr_nonnull(e);
        ck_assert_uint_eq(rdb_type(e), 24);
        ck_assert_uint_eq(rdb_value_version(e), 12);
        struct rdb_writer w = { .error = 0 };
        rdb_write_value(&w, e);
        ck_assert_msg(slice_eq(buf_slice(&w.b), samples[i].bytes), "%s", samples[i].what);
        buf_free(&w.b);
        drop(e);
        n++;
    }
    ck_assert_uint_ge(n, 2);
    teardown();
}
END_TEST

/* Whatever a byte becomes: refused, or a sound value. */
START_TEST(test_damage)
{
    setup();
    unsigned refused = 0;
    for (unsigned i = 0; i < 30; i++) {
        struct entry *e = random_entry(1);
        struct rdb_writer w = { .compress = i % 2 == 0 };
        rdb_write_value(&w, e);
        unsigned type = rdb_type(e);
        drop(e);
        for (unsigned k = 0; k < 100; k++) {
            size_t at = rng_below(rng_below(2) == 0 ? size_min(w.b.n, 40) : w.b.n);
            char was = w.b.p[at];
            int error;
            w.b.p[at] = (char)(rng_below(2) == 0 ? rng_u64() : (uint64_t)was ^ 1u << rng_below(8));
            e = try_read(type, buf_slice(&w.b), &error);
            w.b.p[at] = was;
            if (e == NULL) {
                refused++;
                continue;
            }
            const char *problem = entry_problem(e);
            ck_assert_msg(problem == NULL, "type %u: %s", type, problem);
            drop(e);
        }
        buf_free(&w.b);
    }
    ck_assert_uint_gt(refused, 100);
    teardown();
}
END_TEST

/* ---- The footer ---- */

START_TEST(test_footer)
{
    struct rdb_writer w = { .error = 0 };
    struct slice body;
    rdb_write_byte(&w, 0);
    rdb_write_text(&w, S("x"));
    rdb_write_footer(&w, RDB_VERSION);
    /* what redis-server 7.0.15 answers to DUMP of "x" */
    ck_assert(slice_eq(buf_slice(&w.b), S("\x00\x01x\x0a\x00\x22\x80\x86\x5f\xbd\xe8\x48\xd0")));
    ck_assert(rdb_footer_take(buf_slice(&w.b), &body));
    ck_assert(slice_eq(body, S("\x00\x01x")));
    for (size_t i = 0; i < w.b.n; i++) {
        w.b.p[i] = (char)(w.b.p[i] ^ 4);
        ck_assert(!rdb_footer_take(buf_slice(&w.b), &body));
        w.b.p[i] = (char)(w.b.p[i] ^ 4);
        ck_assert(!rdb_footer_take(slice_of(w.b.p, i), &body));
    }
    for (unsigned version = 1; version < 20; version++) {
        w.b.n = 0;
        rdb_write_byte(&w, 0);
        rdb_write_footer(&w, version);
        ck_assert(rdb_footer_take(buf_slice(&w.b), &body) == (version <= RDB_VERSION_READ));
    }
    buf_free(&w.b);
}
END_TEST

/* ---- Out of memory: an error, and nothing is left behind ---- */

START_TEST(test_no_memory)
{
    setup();
    unsigned failed = 0;
    for (unsigned i = 0; i < 60; i++) {
        struct entry *e = random_entry(1);
        struct rdb_writer w = { .compress = true };
        rdb_write_value(&w, e);
        unsigned type = rdb_type(e);
        drop(e);
        char fault[40];
        snprintf(fault, sizeof fault, "mem.alloc=nomem:%u:0", (unsigned)rng_below(5));
        ck_assert_int_eq(fault_arm(fault), 0);
        struct rdb_reader r = rdb_reader_of(buf_slice(&w.b));
        struct rdb_value v;
        bool done = rdb_read_value(&r, type, &limits, &v);
        ck_assert_int_eq(fault_arm(""), 0);
        if (done) {
            e = adopt(3, &v);
            ck_assert_ptr_null(entry_problem(e));
            drop(e);
        } else {
            ck_assert_int_eq(r.error, -ENOMEM);
            failed++;
        }
        buf_free(&w.b);
    }
    ck_assert_uint_gt(failed, 0);
    teardown();
}
END_TEST

UNIT_SUITE(rdb)
{
    unit_case(suite, "round", test_random_values, test_pieces, test_flush_fails, test_lengths,
              test_texts, test_footer, test_timed_bytes);
    unit_case_loop(suite, "samples", 60, test_samples, (int)countof(samples));
    unit_case(suite, "lies", test_damage, test_no_memory);
}
