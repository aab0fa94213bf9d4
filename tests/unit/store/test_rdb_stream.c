/* test_rdb_stream.c -- Streams to RDB and back: entries, what was added and deleted, groups.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "ds/stream_group.h"
#include "store/rdb.h"
#include "store_util.h"
#include "unit/ds/oracle.h"
#include <errno.h>

static const struct rdb_limits limits = { .list_fill = -2, .stream = { 4096, 100 } };

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

static struct entry *entry_of(unsigned number, struct stream *s)
{
    struct named_key nk;
    struct key *k = store_key(ks, &nk, number);
    return shard_add_object(shard, 0, k, OBJ_STREAM, ENC_STREAM, s);
}

/* ---- A random stream ---- */

static void random_entries(struct stream *s, unsigned n)
{
    struct stream_id id = { 1, 0 };
    for (unsigned i = 0; i < n; i++) {
        struct slice texts[8];
        const char *own[8];
        uint32_t pairs = 1 + (uint32_t)rng_below(4);
        for (uint32_t t = 0; t < 2 * pairs; t++) {
            bool shared = t % 2 == 0 && rng_below(4) > 0;
            texts[t] = shared ? slice_of("abcdefgh" + t, 1) : oracle_copy(oracle_value(50, 9000));
            own[t] = shared ? NULL : texts[t].p;
        }
        id.seq = rng_below(3) == 0 ? rng_u64() >> 1 : id.seq + 1;
        id.ms += rng_below(3) == 0 ? 1 + (rng_u64() >> 44) : 0;
        if (stream_id_cmp(id, stream_state(s)->last) > 0) {
            want(stream_append(s, id, texts, pairs, &limits.stream) == 0);
        }
        for (uint32_t t = 0; t < 2 * pairs; t++) {
            free((void *)(uintptr_t)own[t]);
        }
        struct stream_id edge;
        if (rng_below(5) == 0 && stream_edge(s, rng_below(2) == 0, &edge)) {
            want(stream_delete(s, edge) == 1);
        }
    }
}

static void random_groups(struct stream *s)
{
    unsigned groups = (unsigned)rng_below(4);
    for (unsigned g = 0; g < groups; g++) {
        char name[40];
        struct stream_group group;
        struct stream_id at = { rng_below(100), 0 };
        size_t n = (size_t)snprintf(name, sizeof name, "group %u", g);
        want(stream_group_add(s, slice_of(name, n), at,
                              g == 1 ? STREAM_READ_UNKNOWN : (int64_t)g) == 1);
        want(stream_group_find(s, slice_of(name, n), &group));
        for (unsigned c = 0; c < rng_below(5); c++) {
            struct stream_consumer consumer;
            n = (size_t)snprintf(name, sizeof name, "%u", c);
            want(stream_consumer_add(s, &group, slice_of(name, n), 1000 + c, 1000 + c) == 1);
            want(stream_consumer_find(s, &group, slice_of(name, n), &consumer));
            for (unsigned p = 0; p < rng_below(300); p++) {
                struct stream_pending pending = { .id = { rng_below(1000), rng_below(10) },
                                                  .consumer = consumer.number,
                                                  .time = (int64_t)rng_below(1000000),
                                                  .count = rng_below(100) };
                stream_pend(s, &group, &pending);
            }
        }
    }
}

/* ---- Is it the same stream? ---- */

static void same_entries(const struct stream *a, const struct stream *b)
{
    struct stream_iter ia, ib;
    struct stream_entry ea, eb;
    struct stream_pair pa, pb;
    stream_iter(&ia, a, STREAM_ID_MIN, STREAM_ID_MAX, true);
    stream_iter(&ib, b, STREAM_ID_MIN, STREAM_ID_MAX, true);
    while (stream_next(&ia, &ea)) {
        want(stream_next(&ib, &eb));
        want(stream_id_cmp(ea.id, eb.id) == 0 && ea.pairs == eb.pairs);
        while (stream_next_pair(&ia, &pa)) {
            want(stream_next_pair(&ib, &pb));
            want(slice_eq(pa.field, pb.field) && slice_eq(pa.value, pb.value));
        }
    }
    want(!stream_next(&ib, &eb));
}

static void same_pending(const struct stream *a, const struct stream *b,
                         const struct stream_group *ga, const struct stream_group *gb)
{
    struct stream_pending_iter ia, ib;
    struct stream_pending pa, pb;
    struct stream_consumer ca, cb;
    stream_pending_iter(&ia, a, ga, NULL, STREAM_ID_MIN, STREAM_ID_MAX);
    stream_pending_iter(&ib, b, gb, NULL, STREAM_ID_MIN, STREAM_ID_MAX);
    while (stream_pending_next(&ia, &pa)) {
        want(stream_pending_next(&ib, &pb));
        want(stream_id_cmp(pa.id, pb.id) == 0 && pa.time == pb.time && pa.count == pb.count);
        want(stream_consumer_by(a, pa.consumer, &ca) && stream_consumer_by(b, pb.consumer, &cb));
        want(slice_eq(ca.name, cb.name));
    }
    want(!stream_pending_next(&ib, &pb));
}

static void same_groups(const struct stream *a, const struct stream *b)
{
    struct stream_group ga, gb;
    struct stream_consumer ca, cb;
    want(stream_group_count(a) == stream_group_count(b));
    for (uint64_t i = 0; stream_group_at(a, i, &ga); i++) {
        want(stream_group_at(b, i, &gb));
        want(slice_eq(ga.name, gb.name) && ga.read == gb.read);
        want(stream_id_cmp(ga.last, gb.last) == 0);
        want(stream_consumer_count(a, &ga) == stream_consumer_count(b, &gb));
        for (uint64_t c = 0; stream_consumer_at(a, &ga, c, &ca); c++) {
            want(stream_consumer_at(b, &gb, c, &cb));
            want(slice_eq(ca.name, cb.name) && ca.seen == cb.seen && ca.active == cb.active);
        }
        same_pending(a, b, &ga, &gb);
    }
}

static void same(const struct stream *a, const struct stream *b)
{
    const struct stream_state *sa = stream_state(a), *sb = stream_state(b);
    want(sa->length == sb->length && sa->added == sb->added);
    want(stream_id_cmp(sa->last, sb->last) == 0);
    want(stream_id_cmp(sa->max_deleted, sb->max_deleted) == 0);
    same_entries(a, b);
    same_groups(a, b);
}

static size_t three(void *arg, char *to, size_t room)
{
    struct slice *left = arg;
    size_t n = size_min(size_min(room, left->n), 3);
    memcpy(to, left->p, n);
    *left = slice_of(left->p + n, left->n - n);
    return n;
}

START_TEST(test_random_streams)
{
    setup();
    for (unsigned i = 0; i < 100; i++) {
        struct stream *s = stream_new();
        struct rdb_writer w = { .compress = i % 2 == 0 };
        struct rdb_value v;
        random_entries(s, (unsigned)rng_below(i % 4 == 0 ? 1000 : 10));
        random_groups(s);
        struct entry *e = entry_of(1, s);
        rdb_write_value(&w, e);
        ck_assert_int_eq(w.error, 0);
        struct slice left = buf_slice(&w.b);
        struct rdb_reader r =
            i % 3 == 0 ? (struct rdb_reader){ .more = three, .arg = &left } : rdb_reader_of(left);
        ck_assert(rdb_read_value(&r, rdb_type(e), &limits, &v));
        ck_assert(rdb_at_end(&r));
        ck_assert_int_eq(v.type, OBJ_STREAM);
        ck_assert_ptr_null(stream_check(v.container));
        same(s, v.container);
        rdb_value_free(&v);
        rdb_reader_free(&r);
        shard_delete(shard, 0, e);
        buf_free(&w.b);
    }
    teardown();
}
END_TEST

START_TEST(test_stream_damage)
{
    setup();
    unsigned refused = 0;
    for (unsigned i = 0; i < 1000; i++) {
        struct stream *s = stream_new();
        struct rdb_writer w = { .compress = i % 2 == 0 };
        struct rdb_value v;
        random_entries(s, (unsigned)rng_below(10));
        random_groups(s);
        struct entry *e = entry_of(1, s);
        rdb_write_value(&w, e);
        size_t at = rng_below(w.b.n);
        w.b.p[at] = (char)(w.b.p[at] ^ 1 << rng_below(8));
        struct rdb_reader r = rdb_reader_of(buf_slice(&w.b));
        if (rdb_read_value(&r, rdb_type(e), &limits, &v)) {
            ck_assert_ptr_null(stream_check(v.container));
            rdb_value_free(&v);
        } else {
            refused++;
        }
        r = rdb_reader_of(slice_of(w.b.p, at));
        ck_assert(!rdb_read_value(&r, rdb_type(e), &limits, &v));
        shard_delete(shard, 0, e);
        buf_free(&w.b);
    }
    ck_assert_uint_gt(refused, 100);
    teardown();
}
END_TEST

/* ---- What says something wrong ---- */

#define B(lit)                  \
    {                           \
        "" lit, sizeof(lit) - 1 \
    }
#define LAST "\x01\x01"
#define ENDS "\x00\x00\x00\x00\x00" /* first, highest deleted, added */
#define GROUP \
    "\x01"    \
    "g\x01\x01\x00" /* last 1-1, read 0 */
#define ID1   "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1"
#define ID2   "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2"
#define TIME  "\1\0\0\0\0\0\0\0"
#define NEVER "\xff\xff\xff\xff\xff\xff\xff\xff"
#define BARE  "\x00\x00" LAST ENDS

static const struct {
    const char *what;
    unsigned type;
    struct slice bytes;
    bool good;
} cases[] = {
    { "empty", 19, B(BARE "\x00"), true },
    { "old", 15, B("\x00\x00" LAST "\x00"), true },
    { "more entries than there are", 19, B("\x00\x01" LAST "\x00\x00\x00\x00\x01\x00"), false },
    { "fewer added", 19, B("\x00\x00" LAST "\x00\x00\x01\x02\x00\x00"), false },
    { "group", 19, B(BARE "\x01" GROUP "\x00\x00"), true },
    { "group twice", 19, B(BARE "\x02" GROUP "\x00\x00" GROUP "\x00\x00"), false },
    { "pending", 19,
      B(BARE "\x01" GROUP "\x01" ID1 TIME "\x01\x01\x01"
             "c" TIME "\x01" ID1),
      true },
    { "pending for nobody", 19,
      B(BARE "\x01" GROUP "\x01" ID1 TIME "\x01\x01\x01"
             "c" TIME "\x00"),
      false },
    { "pending twice", 19,
      B(BARE "\x01" GROUP "\x02" ID1 TIME "\x01" ID1 TIME "\x01\x01\x01"
             "c" TIME "\x01" ID1),
      false },
    { "pending, out of order", 19,
      B(BARE "\x01" GROUP "\x02" ID2 TIME "\x01" ID1 TIME "\x01\x01\x01"
             "c" TIME "\x02" ID1 ID2),
      false },
    { "claimed twice", 19,
      B(BARE "\x01" GROUP "\x01" ID1 TIME "\x01\x02\x01"
             "c" TIME "\x01" ID1 "\x01"
             "d" TIME "\x01" ID1),
      false },
    { "claims what is not there", 19,
      B(BARE "\x01" GROUP "\x01" ID1 TIME "\x01\x01\x01"
             "c" TIME "\x02" ID1 ID2),
      false },
    { "consumer twice", 19,
      B(BARE "\x01" GROUP "\x00\x02\x01"
             "c" TIME "\x00\x01"
             "c" TIME "\x00"),
      false },
    { "never active", 21,
      B(BARE "\x01" GROUP "\x00\x01\x01"
             "c" TIME NEVER "\x00"),
      true },
    { "never seen", 21,
      B(BARE "\x01" GROUP "\x00\x01\x01"
             "c" NEVER TIME "\x00"),
      false },
    { "a node that is none", 19,
      B("\x01\x10" ID1 "\x07\x07\x00\x00\x00\x00\x00\xff\x00" LAST ENDS "\x00"), false },
    { "a short ID", 19,
      B("\x01\x01"
        "a\x07\x07\x00\x00\x00\x00\x00\xff\x00" LAST ENDS "\x00"),
      false },
};

START_TEST(test_stream_cases)
{
    setup();
    for (unsigned i = 0; i < countof(cases); i++) {
        struct rdb_reader r = rdb_reader_of(cases[i].bytes);
        struct rdb_value v;
        bool done = rdb_read_value(&r, cases[i].type, &limits, &v);
        ck_assert_msg(done == cases[i].good, "%s", cases[i].what);
        if (done) {
            ck_assert_ptr_null(stream_check(v.container));
            ck_assert_msg(rdb_at_end(&r), "%s", cases[i].what);
            rdb_value_free(&v);
        } else {
            ck_assert_int_eq(r.error, -EINVAL);
        }
    }
    teardown();
}
END_TEST

/* A number of deliveries that the log could not say is the largest it can. */
START_TEST(test_stream_deliveries)
{
    static const struct slice bytes =
        B(BARE "\x01" GROUP "\x01" ID1 TIME "\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01"
               "c" TIME "\x01" ID1);
    setup();
    struct rdb_reader r = rdb_reader_of(bytes);
    struct rdb_value v;
    struct stream_group g;
    struct stream_pending p;
    ck_assert(rdb_read_value(&r, 19, &limits, &v));
    ck_assert(stream_group_find(v.container, S("g"), &g));
    ck_assert(stream_pending_edge(v.container, &g, true, &p));
    ck_assert_uint_eq(p.count, INT64_MAX);
    rdb_value_free(&v);
    teardown();
}
END_TEST

UNIT_SUITE(rdb_stream)
{
    unit_case(suite, "streams", test_random_streams, test_stream_damage, test_stream_cases,
              test_stream_deliveries);
}
