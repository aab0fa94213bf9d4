/* test_stream.c -- Streams against a list of IDs: random changes of streams that share nodes, the
 * form of nodes, loading, no memory, damage.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "unit/ds/oracle.h"
#include "base/fault.h"
#include "base/mem.h"
#include "ds/stream_int.h"
#include <errno.h>

/* ---- The oracle: IDs, each with the seed of its texts ---- */

struct model_entry {
    struct stream_id id;
    uint64_t seed;
};
struct model {
    struct model_entry v[600];
    size_t n;
    struct stream_state state;
};

#define PAIRS_MAX 5
struct texts {
    struct slice v[2 * PAIRS_MAX];
    uint32_t pairs;
    char bytes[2 * PAIRS_MAX][400];
};

static uint64_t mix(uint64_t *x)
{
    *x = *x * UINT64_C(6364136223846793005) + 1442695040888963407;
    return *x >> 33;
}

/* Mostly the same few fields; values are numbers, short texts, and now and then longer ones. */
static void texts_of(struct texts *t, uint64_t seed)
{
    uint64_t x = seed;
    bool odd = mix(&x) % 4 == 0;
    t->pairs = odd ? 1 + (uint32_t)(mix(&x) % PAIRS_MAX) : 2;
    for (uint32_t i = 0; i < 2 * t->pairs; i++) {
        char *p = t->bytes[i];
        size_t n;
        if (i % 2 == 0) {
            n = (size_t)sprintf(p, "%s%u", odd && mix(&x) % 2 == 0 ? "other" : "field", i);
        } else if (mix(&x) % 3 == 0) {
            n = (size_t)sprintf(p, "%lld", (long long)(int64_t)(mix(&x) << (mix(&x) % 33)));
        } else {
            n = mix(&x) % (mix(&x) % 8 == 0 ? sizeof t->bytes[i] : 12);
            memset(p, (int)('a' + mix(&x) % 26), n);
        }
        t->v[i] = slice_of(p, n);
    }
}

static void same_entry(struct stream_iter *it, const struct stream_entry *e,
                       const struct model_entry *m)
{
    static struct texts t;
    struct stream_pair pair;
    want(stream_id_cmp(e->id, m->id) == 0);
    texts_of(&t, m->seed);
    want(e->pairs == t.pairs);
    for (uint32_t i = 0; i < t.pairs; i++) {
        want(stream_next_pair(it, &pair));
        want(slice_eq(pair.field, t.v[(size_t)2 * i]));
        want(slice_eq(pair.value, t.v[(size_t)2 * i + 1]));
    }
    want(!stream_next_pair(it, &pair));
}

static void same_range(const struct stream *s, const struct model *m, struct stream_id first,
                       struct stream_id last, bool forward, bool pairs)
{
    struct stream_iter it;
    struct stream_entry e;
    stream_iter(&it, s, first, last, forward);
    for (size_t k = 0; k < m->n; k++) {
        const struct model_entry *v = &m->v[forward ? k : m->n - 1 - k];
        if (stream_id_cmp(v->id, first) >= 0 && stream_id_cmp(v->id, last) <= 0) {
            want(stream_next(&it, &e));
            want(stream_id_cmp(e.id, v->id) == 0);
            if (pairs) {
                same_entry(&it, &e, v);
            }
        }
    }
    want(!stream_next(&it, &e));
    want(!stream_next(&it, &e));
}

static void sound(const struct stream *s)
{
    const char *bad = stream_check(s);
    if (bad != NULL) {
        ck_abort_msg("%s", bad);
    }
}

static void same(const struct stream *s, const struct model *m)
{
    const struct stream_state *t = stream_state(s);
    struct stream_id id;
    sound(s);
    want(t->length == m->n && t->added == m->state.added);
    want(stream_id_cmp(t->last, m->state.last) == 0);
    want(stream_id_cmp(t->max_deleted, m->state.max_deleted) == 0);
    want(stream_edge(s, true, &id) == (m->n > 0));
    want(m->n == 0 || stream_id_cmp(id, m->v[0].id) == 0);
    want(stream_edge(s, false, &id) == (m->n > 0));
    want(m->n == 0 || stream_id_cmp(id, m->v[m->n - 1].id) == 0);
    same_range(s, m, STREAM_ID_MIN, STREAM_ID_MAX, true, true);
    same_range(s, m, STREAM_ID_MIN, STREAM_ID_MAX, false, rng_below(2) == 0);
}

/* ---- Random steps ---- */

static struct stream_id some_id(const struct model *m)
{
    struct stream_id id = { rng_below(m->state.last.ms + 2), rng_below(4) };
    if (m->n > 0 && rng_below(4) != 0) {
        id = m->v[rng_below(m->n)].id;
        if (rng_below(8) == 0) {
            bool moved = rng_below(2) == 0 ? stream_id_next(&id) : stream_id_prev(&id);
            want(moved || stream_id_cmp(id, STREAM_ID_MIN) == 0);
        }
    }
    return id;
}

static void model_cut(struct model *m, size_t from, size_t n)
{
    memmove(m->v + from, m->v + from + n, (m->n - from - n) * sizeof *m->v);
    m->n -= n;
}

static void step_append(struct stream *s, struct model *m, const struct stream_limits *limits)
{
    static struct texts t;
    struct model_entry e = { m->state.last, rng_u64() };
    if (m->n == countof(m->v)) {
        return;
    }
    if (rng_below(3) == 0 || e.id.seq > UINT64_MAX - 10) { /* seq may begin anew, and far away */
        e.id.ms += 1 + rng_below(1000);
        e.id.seq = rng_below(5) == 0 ? UINT64_MAX - rng_below(3) : rng_below(3);
    } else {
        e.id.seq += 1 + rng_below(3);
    }
    texts_of(&t, e.seed);
    want(stream_append(s, e.id, t.v, t.pairs, limits) == 0);
    m->v[m->n++] = e;
    m->state.added++;
    m->state.last = e.id;
}

static void step_delete(struct stream *s, struct model *m)
{
    struct stream_id id = some_id(m);
    int there = 0;
    for (size_t i = 0; i < m->n; i++) {
        if (stream_id_cmp(m->v[i].id, id) == 0) {
            there = 1;
            model_cut(m, i, 1);
            break;
        }
    }
    want(stream_has(s, id) == there);
    want(stream_delete(s, id) == there);
    if (there && stream_id_cmp(id, m->state.max_deleted) > 0) {
        m->state.max_deleted = id;
    }
}

static void step_trim(struct stream *s, struct model *m)
{
    struct stream_trim t = { .by_id = rng_below(2) == 0, .whole_nodes = rng_below(2) == 0 };
    t.length = rng_below(m->n + 3);
    t.min_id = some_id(m);
    t.limit = t.whole_nodes && rng_below(2) == 0 ? rng_below(30) : 0;
    size_t goes = 0;
    if (t.by_id) {
        while (goes < m->n && stream_id_cmp(m->v[goes].id, t.min_id) < 0) {
            goes++;
        }
    } else if (m->n > t.length) {
        goes = m->n - t.length;
    }
    struct stream *old = s;
    uint64_t nodes = stream_nodes(s), n = stream_state(s)->length,
             gone = stream_trim(s, &t, rng_below(2) == 0 ? &old : NULL);
    if (old != s && old != NULL) {
        sound(old);
        want(gone > STREAM_MUCH && stream_state(old)->length == n && stream_nodes(old) == nodes);
        stream_free(old);
    }
    want(t.whole_nodes ? gone <= goes : gone == goes);
    want(t.limit == 0 || gone <= t.limit);
    want(!t.whole_nodes || gone == 0 || stream_nodes(s) < nodes);
    model_cut(m, 0, gone);
}

static void random_streams(const struct stream_limits *limits, unsigned rounds, unsigned grow)
{
    static struct model m[3];
    struct stream *s[3];
    (void)oracle_value(0, 0);
    size_t used = mem_used();
    for (int k = 0; k < 3; k++) {
        s[k] = stream_new();
        m[k] = (struct model){ .n = 0 };
    }
    for (unsigned round = 0; round < rounds; round++) {
        unsigned k = (unsigned)rng_below(3), from = (unsigned)rng_below(3), dice;
        if (rng_below(25) == 0 && k != from) {
            stream_free(s[k]);
            s[k] = stream_dup(s[from]);
            m[k] = m[from];
        }
        dice = (unsigned)rng_below(100);
        if (dice < grow) {
            step_append(s[k], &m[k], limits);
        } else if (dice < 98) {
            step_delete(s[k], &m[k]);
        } else {
            step_trim(s[k], &m[k]);
        }
        sound(s[k]);
        struct stream_id a = some_id(&m[k]), b = some_id(&m[k]);
        same_range(s[k], &m[k], a, b, round % 2 == 0, false);
        if (round % 16 == 0) {
            for (int all = 0; all < 3; all++) {
                same(s[all], &m[all]);
            }
        }
    }
    for (int k = 0; k < 3; k++) {
        same(s[k], &m[k]);
        stream_free(s[k]);
    }
    ck_assert_uint_eq(mem_used(), used);
}

START_TEST(test_random)
{
    static const struct stream_limits limits[] = {
        { 4096, 100 }, { 4096, 5 }, { 4096, 1 }, { 200, 0 }, { 0, 7 }, { 0, 0 }, { 100000, 300 },
    };
    rng_seed_all(unit_seed());
    for (size_t i = 0; i < countof(limits); i++) {
        random_streams(&limits[i], 1200, 60);
        random_streams(&limits[i], 1200, 85);
    }
}
END_TEST

/* ---- IDs ---- */

START_TEST(test_ids)
{
    struct stream_id id = { 5, UINT64_MAX }, low = STREAM_ID_MIN, high = STREAM_ID_MAX;
    char text[STREAM_ID_TEXT_MAX];
    ck_assert(stream_id_next(&id) && id.ms == 6 && id.seq == 0);
    ck_assert(stream_id_next(&id) && id.ms == 6 && id.seq == 1);
    ck_assert(stream_id_prev(&id) && stream_id_prev(&id) && id.ms == 5 && id.seq == UINT64_MAX);
    ck_assert(!stream_id_prev(&low) && low.ms == 0 && low.seq == 0);
    ck_assert(!stream_id_next(&high) && high.ms == UINT64_MAX && high.seq == UINT64_MAX);
    ck_assert_int_lt(stream_id_cmp((struct stream_id){ 1, 9 }, (struct stream_id){ 2, 0 }), 0);
    ck_assert_int_gt(stream_id_cmp((struct stream_id){ 2, 1 }, (struct stream_id){ 2, 0 }), 0);
    ck_assert_uint_eq(stream_id_format(text, STREAM_ID_MAX), 41);
    ck_assert_str_eq(text, "18446744073709551615-18446744073709551615");
}
END_TEST

/* ---- Nodes ---- */

static const struct stream_limits usual = { 4096, 100 };

static void add(struct stream *s, uint64_t ms, struct slice field, struct slice value)
{
    struct slice texts[] = { field, value };
    struct stream_id id = { ms, 0 };
    ck_assert_int_eq(stream_append(s, id, texts, 1, &usual), 0);
}

/* Field names once per node: an entry of one small value takes what four small numbers and it take.
 */
START_TEST(test_fields_once)
{
    struct stream *s = stream_new();
    for (uint64_t i = 1; i <= 1000; i++) {
        add(s, i, S("a rather long field name"), S("v"));
    }
    ck_assert_uint_eq(stream_nodes(s), 10);
    struct stream_node n;
    for (uint64_t i = 0; stream_node_at(s, i, &n); i++) {
        ck_assert_uint_eq(n.id.ms, i * 100 + 1);
        ck_assert_uint_lt(lp_bytes(n.lp), 100 * 12 + 64);
    }
    ck_assert_uint_lt(stream_bytes(s), 1000 * 13 + 4096);
    ck_assert_uint_ge(stream_effort(s), stream_nodes(s));
    sound(s);
    stream_free(s);
}
END_TEST

/* A node in the tree needs no more than the limit, all in: of 4096 bytes one allocation. */
START_TEST(test_node_bytes)
{
    struct stream *s = stream_new();
    char value[64];
    memset(value, 'x', sizeof value);
    for (uint64_t i = 1; i <= 5000; i++) {
        add(s, i, S("field"), slice_of(value, sizeof value));
    }
    struct stream_node n;
    for (uint64_t i = 0; i + 1 < stream_nodes(s); i++) {
        ck_assert(stream_node_at(s, i, &n));
        ck_assert_uint_le(lp_bytes(n.lp) + 32, 4096);
        ck_assert_uint_gt(lp_bytes(n.lp), 3900);
    }
    stream_free(s);
}
END_TEST

/* The bytes are those of redis-server, but for the two numbers of fixed size. */
START_TEST(test_node_form)
{
    static const uint8_t bytes[] = "\x35\x00\x00\x00\x11\x00"                         /* head */
                                   "\xf3\x02\x00\x00\x00\x05\xf3\x00\x00\x00\x00\x05" /* 2, 0 */
                                   "\x01\x01\x81"
                                   "f\x02\x00\x01"                            /* one field */
                                   "\x02\x01\x00\x01\x00\x01\x07\x01\x04\x01" /* 10-5: f 7 */
                                   "\x00\x01\x02\x01\xdf\xfb\x02\x01\x01\x81" /* 12-0: g h */
                                   "g\x02\x81"
                                   "h\x02\x06\x01\xff";
    struct stream *s = stream_new();
    struct slice one[] = { S("f"), S("7") }, two[] = { S("g"), S("h") };
    struct stream_node n;
    ck_assert_int_eq(stream_append(s, (struct stream_id){ 10, 5 }, one, 1, &usual), 0);
    ck_assert_int_eq(stream_append(s, (struct stream_id){ 12, 0 }, two, 1, &usual), 0);
    ck_assert(stream_node_at(s, 0, &n));
    ck_assert_uint_eq(lp_bytes(n.lp), sizeof bytes - 1);
    ck_assert_mem_eq(n.lp, bytes, sizeof bytes - 1);
    ck_assert(!stream_node_at(s, 1, &n));
    stream_free(s);
}
END_TEST

/* ---- Loading ---- */

static struct stream *fifty(void)
{
    struct stream *s = stream_new();
    static struct texts t;
    for (uint64_t i = 1; i <= 50; i++) {
        texts_of(&t, i * 7919);
        struct stream_id id = { 1000 + i, 0 };
        ck_assert_int_eq(stream_append(s, id, t.v, t.pairs, &(struct stream_limits){ 0, 20 }), 0);
    }
    ck_assert_int_eq(stream_delete(s, (struct stream_id){ 1003, 0 }), 1);
    ck_assert_int_eq(stream_delete(s, (struct stream_id){ 1050, 0 }), 1);
    return s;
}

START_TEST(test_load)
{
    struct stream *s = fifty(), *copy = stream_new();
    struct stream_node n;
    struct stream_iter a, b;
    struct stream_entry x, y;
    struct stream_pair p, q;
    for (uint64_t i = 0; stream_node_at(s, i, &n); i++) {
        ck_assert_int_eq(stream_load_node(copy, n.id, lp_slice(n.lp), &usual), 0);
    }
    stream_set_state(copy, stream_state(s)->last, 50, stream_state(s)->max_deleted);
    sound(copy);
    ck_assert_uint_eq(stream_state(copy)->length, 48);
    stream_iter(&a, s, STREAM_ID_MIN, STREAM_ID_MAX, true);
    stream_iter(&b, copy, STREAM_ID_MIN, STREAM_ID_MAX, true);
    while (stream_next(&a, &x)) {
        ck_assert(stream_next(&b, &y) && stream_id_cmp(x.id, y.id) == 0);
        while (stream_next_pair(&a, &p)) {
            ck_assert(stream_next_pair(&b, &q));
            ck_assert(slice_eq(p.field, q.field) && slice_eq(p.value, q.value));
        }
        ck_assert(!stream_next_pair(&b, &q));
    }
    ck_assert(!stream_next(&b, &y));
    ck_assert(stream_node_at(s, 0, &n)); /* IDs that are there already */
    ck_assert_int_eq(stream_load_node(copy, n.id, lp_slice(n.lp), &usual), -EINVAL);
    stream_free(copy);
    stream_free(s);
}
END_TEST

/* Entries that share the names of their node share them when it was loaded, whatever the limits and
 * the first entry that is left. */
START_TEST(test_load_shares_names)
{
    static char name[5000], other[] = "other";
    memset(name, 'n', sizeof name);
    for (unsigned begins = 0; begins < 3; begins++) { /* with the name; deleted; another after it */
        struct stream *s = stream_new(), *copy = stream_new();
        struct slice same[] = { slice_of(name, sizeof name), S("v") };
        struct slice odd[] = { slice_of(other, 5), S("v") };
        const struct stream_limits none = { 0, 0 };
        struct stream_node n;
        ck_assert_int_eq(stream_append(copy, (struct stream_id){ 0, 1 }, odd, 1, &none), 0);
        for (uint64_t i = 1; i <= 1000; i++) {
            struct stream_id id = { 1000 + i, i };
            bool differs = begins == 2 && i == 2;
            ck_assert_int_eq(stream_append(s, id, differs ? odd : same, 1, &none), 0);
        }
        if (begins > 0) {
            ck_assert_int_eq(stream_delete(s, (struct stream_id){ 1001, 1 }), 1);
        }
        ck_assert(stream_node_at(s, 0, &n) && stream_nodes(s) == 1);
        const struct stream_limits small = { 4096, 100 };
        ck_assert_int_eq(stream_load_node(copy, n.id, lp_slice(n.lp), &small), 0);
        sound(copy);
        ck_assert_uint_eq(stream_state(copy)->length, 1 + 1000 - (begins > 0));
        ck_assert_uint_eq(stream_nodes(copy), 2);
        ck_assert_uint_lt(stream_bytes(copy), 4 * lp_bytes(n.lp));
        ck_assert_int_eq(stream_append(copy, (struct stream_id){ 3000, 0 }, odd, 1, &small), 0);
        ck_assert_uint_eq(stream_nodes(copy), 3);
        sound(copy);
        stream_free(copy);
        stream_free(s);
    }
}
END_TEST

/* Whatever is changed in a node's bytes, loading it refuses it or makes a sound stream. */
START_TEST(test_load_damaged)
{
    struct stream *s = fifty();
    struct stream_node n;
    unsigned refused = 0;
    rng_seed_all(unit_seed());
    ck_assert(stream_node_at(s, 0, &n));
    size_t size = lp_bytes(n.lp);
    for (size_t cut = 0; cut < size; cut++) {
        struct stream *to = stream_new();
        char *bytes = mem_dup(n.lp, cut);
        want(stream_load_node(to, n.id, slice_of(bytes, cut), &usual) == -EINVAL);
        mem_free(bytes);
        stream_free(to);
    }
    for (unsigned i = 0; i < 20000; i++) {
        struct stream *to = stream_new();
        char *bytes = mem_alloc(size);
        memcpy(bytes, n.lp, size);
        for (uint64_t k = rng_below(3) + 1; k > 0; k--) {
            bytes[rng_below(size)] = (char)rng_below(rng_below(2) == 0 ? 8 : 256);
        }
        refused += stream_load_node(to, n.id, slice_of(bytes, size), &usual) != 0;
        sound(to);
        mem_free(bytes);
        stream_free(to);
    }
    ck_assert_uint_gt(refused, 2000);
    stream_free(s);
}
END_TEST

/* ---- No memory ---- */

START_TEST(test_nomem)
{
    struct stream *s = stream_new();
    size_t big = 200000;
    char *p = mem_alloc(big);
    memset(p, 'b', big);
    struct slice texts[] = { S("f"), slice_of(p, big) };
    struct stream_id id = { 1, 1 }, second = { 2, 1 };
    ck_assert_int_eq(fault_arm("mem.alloc=nomem:0:0"), 0);
    ck_assert_int_eq(stream_append(s, id, texts, 1, &usual), -ENOMEM);
    ck_assert_uint_eq(stream_state(s)->length, 0);
    ck_assert_int_eq(fault_arm(""), 0);
    ck_assert_int_eq(stream_append(s, id, texts, 1, &usual), 0);
    ck_assert_int_eq(fault_arm("mem.alloc=nomem:0:0"), 0);
    texts[1] = S("small");
    ck_assert_int_eq(stream_append(s, second, texts, 1, &usual), -ENOMEM); /* no room in the tree */
    sound(s);
    ck_assert_uint_eq(stream_state(s)->length, 1);
    ck_assert_int_eq(fault_arm(""), 0);
    struct stream_limits all = { 0, 0 };
    ck_assert_int_eq(stream_append(s, second, texts, 1, &all), 0);
    struct stream *copy = stream_dup(s);
    ck_assert_int_eq(fault_arm("mem.alloc=nomem:0:0"), 0);
    struct stream_trim one = { .length = 1 };
    ck_assert_int_eq(stream_delete(s, id), -ENOMEM);
    ck_assert_uint_eq(stream_trim(s, &one, NULL), 0);
    sound(s);
    ck_assert_int_eq(fault_arm(""), 0);
    ck_assert_int_eq(stream_delete(s, id), 1);
    ck_assert_uint_eq(stream_trim(copy, &one, NULL), 1);
    sound(s);
    sound(copy);
    stream_free(copy);
    stream_free(s);
    mem_free(p);
}
END_TEST

/* A node of the tree that is shared and big is copied before it changes, or it does not change. */
START_TEST(test_nomem_in_tree)
{
    struct stream *s = stream_new();
    struct stream_limits few = { 0, 20 };
    for (uint64_t i = 1; i <= 40; i++) {
        char value[120];
        memset(value, 'v', sizeof value);
        struct slice texts[] = { S("f"), slice_of(value, sizeof value) };
        ck_assert_int_eq(stream_append(s, (struct stream_id){ i, 0 }, texts, 1, &few), 0);
    }
    struct stream *copy = stream_dup(s);
    ck_assert_int_eq(fault_arm("mem.alloc=nomem:0:0"), 0);
    ck_assert_int_eq(stream_delete(s, (struct stream_id){ 3, 0 }), -ENOMEM);
    ck_assert_int_eq(stream_delete(s, (struct stream_id){ 33, 0 }), 1); /* the tail is small */
    ck_assert_int_eq(fault_arm(""), 0);
    ck_assert_int_eq(stream_delete(s, (struct stream_id){ 3, 0 }), 1);
    ck_assert_uint_eq(stream_state(copy)->length, 40);
    ck_assert(stream_has(copy, (struct stream_id){ 3, 0 }));
    ck_assert(stream_has(copy, (struct stream_id){ 33, 0 }));
    ck_assert(!stream_has(s, (struct stream_id){ 3, 0 }));
    sound(s);
    sound(copy);
    stream_free(copy);
    stream_free(s);
}
END_TEST

/* ---- What the check finds ---- */

START_TEST(test_check)
{
    struct stream *s = fifty();
    ck_assert_ptr_null(stream_check(s));
    s->state.length++;
    ck_assert_str_eq(stream_check(s), "M3 number of entries");
    s->state.length--;
    s->state.added = 3;
    ck_assert_str_eq(stream_check(s), "M3 number of entries");
    s->state.added = 50;
    struct stream_id last = s->state.last;
    s->state.last.ms = 1049;
    ck_assert_str_eq(stream_check(s), "M2 sequence of IDs");
    s->state.last = last;
    s->tail->id.ms++;
    ck_assert_str_eq(stream_check(s), "M2 sequence of IDs");
    s->tail->id.ms--;
    s->tail->lp[NODE_COUNT]++;
    ck_assert_str_eq(stream_check(s), "M1 form of a node");
    s->tail->lp[NODE_COUNT]--;
    ck_assert_ptr_null(stream_check(s));
    stream_free(s);
}
END_TEST

/* What takes long to free is handed out. */
START_TEST(test_trim_much)
{
    const struct stream_limits one = { .entries = 1 };
    const struct slice texts[] = { S("field"), S("value") };
    struct stream *s = stream_new(), *old = s;
    size_t used = mem_used();
    for (uint64_t i = 1; i <= 1000; i++) {
        ck_assert_int_eq(stream_append(s, (struct stream_id){ i, 0 }, texts, 1, &one), 0);
    }
    const struct stream_trim few = { .length = 1000 - STREAM_MUCH }, most = { .length = 1 };
    ck_assert_uint_eq(stream_trim(s, &few, &old), STREAM_MUCH);
    ck_assert_ptr_null(old);
    size_t full = mem_used();
    ck_assert_uint_eq(stream_trim(s, &most, &old), 1000 - STREAM_MUCH - 1);
    ck_assert_ptr_nonnull(old);
    ck_assert_uint_ge(mem_used(), full); /* nothing was freed yet */
    sound(s);
    sound(old);
    ck_assert_uint_eq(stream_state(s)->length, 1);
    ck_assert_uint_eq(stream_state(old)->length, 1000 - STREAM_MUCH);
    stream_free(old);
    sound(s);
    ck_assert_uint_eq(stream_trim(s, &(struct stream_trim){ .length = 0 }, &old), 1);
    ck_assert_ptr_null(old);
    ck_assert_uint_lt(mem_used(), used + 1000);
    stream_free(s);
}
END_TEST

UNIT_SUITE(stream)
{
    unit_case_slow(suite, "random", 120, test_random);
    unit_case(suite, "ids", test_ids);
    unit_case(suite, "nodes", test_fields_once, test_node_bytes, test_node_form);
    unit_case(suite, "load", test_load, test_load_shares_names, test_load_damaged);
    unit_case(suite, "memory", test_nomem, test_nomem_in_tree, test_trim_much);
    unit_case(suite, "check", test_check);
}
