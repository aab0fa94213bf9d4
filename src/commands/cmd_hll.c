/* cmd_hll.c -- HyperLogLogs: PFADD, PFCOUNT, PFMERGE, PFDEBUG, PFSELFTEST.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * VALUES   Strings, as in Redis: GET, SET, APPEND and all others work on them, and what is found
 *          may be damaged. An error about that changes nothing.
 *
 * COMPAT   Of a PFADD that meets damage with a later element, Redis keeps the earlier ones, and
 *          tells no replica. In a sketch that ends inside of a run its PFADD reads and writes a
 *          byte behind it: an error here.
 *
 * EFFECTS  PFADD and PFMERGE as they came, where they did not turn a sparse sketch into a dense
 *          one; when they did, what hll-sparse-max-bytes was then would decide the bytes, so the
 *          new value is logged: SET key bytes KEEPTTL. On replay nothing turns dense by its size.
 *          PFCOUNT of one key keeps what it counted in the value, as in Redis: it logs SETRANGE. */
#include "commands/commands.h"
#include "commands/string_ops.h"
#include "base/mem.h"
#include "base/rng.h"
#include "ds/hll.h"
#include <errno.h>
#include <math.h>

/* ---- Entries ---- */

/* e NULL: fine. False after having replied the error. */
static bool is_sketch(struct call *c, const struct entry *e)
{
    char tmp[I64_TEXT_MAX];
    if (!key_is(c, e, OBJ_STRING)) {
        return false;
    }
    if (e == NULL || hll_is(entry_string(e, tmp))) {
        return true;
    }
    reply_error(c, "WRONGTYPE Key is not a valid HyperLogLog string value.");
    return false;
}

/* Of an entry that is_sketch(): its bytes stand in the entry. */
static struct slice sketch_of(const struct entry *e)
{
    char unused[I64_TEXT_MAX];
    return entry_string(e, unused);
}

static void reply_failed(struct call *c, int rc)
{
    if (rc == -ENOMEM) {
        reply_oom(c);
    } else {
        reply_error(c, "INVALIDOBJ Corrupted HLL object detected");
    }
}

static uint64_t sparse_max(struct call *c)
{
    return c->flags & CALL_REPLAY ? UINT64_MAX
                                  : (uint64_t)option_int(&exec_options(c->x)->hll_sparse_max_bytes);
}

/* b becomes what k holds, without the count that it knew before. False: replied -OOM. */
static bool sketch_store(struct call *c, const struct key *k, const struct buf *b, bool log_bytes)
{
    hll_outdate(b->p);
    if (key_set_string(c, k, buf_slice(b), STRING_RAW, true) == NULL) {
        return false;
    }
    if (log_bytes) {
        EFFECT(c, S("SET"), k->s, buf_slice(b), S("KEEPTTL"));
    }
    return true;
}

/* A copy to work on; e NULL: a new sketch. False: no memory. */
static bool sketch_copy(const struct entry *e, struct buf *b)
{
    if (e == NULL) {
        hll_init(b);
        return true;
    }
    struct slice s = sketch_of(e);
    if (!buf_try_reserve(b, s.n)) {
        return false;
    }
    buf_add_slice(b, s);
    return true;
}

/* ---- PFADD ---- */

/* In place: no allocation as large as the value, and nothing at all when all registers are high
 * enough. */
static void add_dense(struct call *c, const struct key *k, struct entry *e)
{
    struct slice s = sketch_of(e);
    char *bytes;
    unsigned i = 2;
    for (; i < c->argc; i++) {
        struct hll_mark m = hll_mark_of(c->argv[i]);
        if (hll_dense_rank(s.p, m.reg) < m.rank) {
            break;
        }
    }
    if (i == c->argc) {
        reply_int(c, 0);
        return;
    }
    if (string_grow(c, k, e, s.n, &bytes) == NULL) {
        return;
    }
    int64_t marked = 0;
    for (; i < c->argc; i++) {
        marked += hll_mark_dense(bytes, hll_mark_of(c->argv[i]));
    }
    hll_outdate(bytes);
    key_changed(c, k);
    call_more_changes(c, marked - 1);
    notify(c, NOTIFY_STRING, "pfadd", k);
    reply_int(c, 1);
}

static void add_sparse(struct call *c, const struct key *k, const struct entry *e)
{
    struct buf b = { NULL, 0, 0 };
    uint64_t max = sparse_max(c);
    int64_t changed = e == NULL;
    int rc = sketch_copy(e, &b) ? 0 : -ENOMEM;
    for (unsigned i = 2; rc >= 0 && i < c->argc; i++) {
        rc = hll_mark(&b, hll_mark_of(c->argv[i]), max);
        changed += rc == 1;
    }
    if (rc < 0) {
        reply_failed(c, rc);
    } else if (changed == 0) {
        reply_int(c, 0);
    } else if (sketch_store(c, k, &b, hll_is_dense(buf_slice(&b)))) {
        call_more_changes(c, changed - 1);
        notify(c, NOTIFY_STRING, "pfadd", k);
        reply_int(c, 1);
    }
    buf_free(&b);
}

static void cmd_pfadd(struct call *c)
{
    const struct key *k = &c->keys[0];
    struct entry *e = key_write(c, k);
    if (!is_sketch(c, e)) {
        return;
    }
    if (e != NULL && hll_is_dense(sketch_of(e))) {
        add_dense(c, k, e);
    } else {
        add_sparse(c, k, e);
    }
}

/* ---- PFCOUNT ---- */

static void remember(struct call *c, const struct key *k, struct entry *e, uint64_t count)
{
    char *bytes;
    if (!call_may_log(c)) {
        return;
    }
    e = shard_string_writable(keyspace_shard(c->ks, k->shard), c->db, e, entry_strlen(e), &bytes);
    if (e == NULL) {
        return;
    }
    hll_set_cached(bytes, count);
    key_changed(c, k);
    EFFECT(c, S("SETRANGE"), k->s, S("8"), slice_of(bytes + HLL_CACHE_AT, HLL_CACHE_BYTES));
}

static void count_one(struct call *c)
{
    const struct key *k = &c->keys[0];
    struct entry *e = key_read(c, k);
    uint64_t count = 0;
    if (!is_sketch(c, e)) {
        return;
    }
    if (e != NULL && !hll_cached(sketch_of(e), &count)) {
        int rc = hll_count(sketch_of(e), &count);
        if (rc < 0) {
            reply_failed(c, rc);
            return;
        }
        remember(c, k, e, count);
    }
    reply_int(c, (int64_t)count);
}

/* All registers of the sketches at the keys in rank[]; *dense: is one of them? False after having
 * replied the error. */
static bool union_of(struct call *c, bool writes, uint8_t rank[HLL_REGISTERS], bool *dense)
{
    memset(rank, 0, HLL_REGISTERS);
    *dense = false;
    for (unsigned i = 0; i < c->nkeys; i++) {
        if (writes) {
            (void)key_write(c, &c->keys[i]); /* replay knows no time: an expired one goes first */
        }
        struct entry *e = key_read(c, &c->keys[i]);
        if (!is_sketch(c, e)) {
            return false;
        }
        if (e == NULL) {
            continue;
        }
        int rc = hll_union(rank, sketch_of(e));
        if (rc < 0) {
            reply_failed(c, rc);
            return false;
        }
        *dense |= hll_is_dense(sketch_of(e));
    }
    return true;
}

static void cmd_pfcount(struct call *c)
{
    uint8_t rank[HLL_REGISTERS];
    bool dense;
    if (c->nkeys == 1) {
        count_one(c);
    } else if (union_of(c, false, rank, &dense)) {
        reply_int(c, (int64_t)hll_count_ranks(rank));
    }
}

/* ---- PFMERGE ---- */

static int raise_all(struct buf *b, const uint8_t rank[HLL_REGISTERS], uint64_t max_bytes)
{
    for (unsigned i = 0; i < HLL_REGISTERS; i++) {
        if (rank[i] > 0) {
            int rc = hll_mark(b, (struct hll_mark){ (uint16_t)i, rank[i] }, max_bytes);
            if (rc < 0) {
                return rc;
            }
        }
    }
    return 0;
}

static void cmd_pfmerge(struct call *c)
{
    const struct key *k = &c->keys[0];
    uint8_t rank[HLL_REGISTERS];
    bool dense;
    struct buf b = { NULL, 0, 0 };
    if (!union_of(c, true, rank, &dense)) {
        return;
    }
    int rc = sketch_copy(key_peek(c, k), &b) ? 0 : -ENOMEM;
    if (rc == 0 && dense && !hll_is_dense(buf_slice(&b))) {
        rc = hll_make_dense(&b);
    }
    if (rc == 0) {
        rc = raise_all(&b, rank, sparse_max(c));
    }
    if (rc < 0) {
        reply_failed(c, rc);
    } else if (sketch_store(c, k, &b, !dense && hll_is_dense(buf_slice(&b)))) {
        notify(c, NOTIFY_STRING, "pfadd", k);
        reply_ok(c);
    }
    buf_free(&b);
}

/* ---- PFDEBUG ---- */

/* The entry, which is dense then; *converted: it was not before. NULL: replied the error. */
static struct entry *make_dense(struct call *c, const struct key *k, struct entry *e,
                                bool *converted)
{
    struct buf b = { NULL, 0, 0 };
    *converted = !hll_is_dense(sketch_of(e));
    if (!*converted) {
        return e;
    }
    int rc = sketch_copy(e, &b) ? hll_make_dense(&b) : -ENOMEM;
    if (rc < 0) {
        reply_failed(c, rc);
        e = NULL;
    } else if ((e = key_set_string(c, k, buf_slice(&b), STRING_RAW, true)) != NULL) {
        EFFECT(c, S("SET"), k->s, buf_slice(&b), S("KEEPTTL"));
    }
    buf_free(&b);
    return e;
}

static void debug_getreg(struct call *c, const struct key *k, struct entry *e)
{
    bool converted;
    if ((e = make_dense(c, k, e, &converted)) == NULL) {
        return;
    }
    struct slice s = sketch_of(e);
    reply_array(c, HLL_REGISTERS);
    for (unsigned i = 0; i < HLL_REGISTERS; i++) {
        reply_int(c, hll_dense_rank(s.p, i));
    }
}

static void debug_decode(struct call *c, const struct key *k unused_arg, struct entry *e)
{
    struct buf text = { NULL, 0, 0 };
    if (hll_is_dense(sketch_of(e))) {
        reply_error(c, "ERR HLL encoding is not sparse");
        return;
    }
    hll_describe(sketch_of(e), &text);
    reply_bulk(c, buf_slice(&text));
    buf_free(&text);
}

static void debug_encoding(struct call *c, const struct key *k unused_arg, struct entry *e)
{
    reply_simple(c, hll_is_dense(sketch_of(e)) ? "dense" : "sparse");
}

static void debug_todense(struct call *c, const struct key *k, struct entry *e)
{
    bool converted;
    if (make_dense(c, k, e, &converted) != NULL) {
        reply_int(c, converted);
    }
}

static void cmd_pfdebug(struct call *c)
{
    static const struct {
        const char *name;
        void (*proc)(struct call *c, const struct key *k, struct entry *e);
    } subs[] = { { "getreg", debug_getreg },
                 { "decode", debug_decode },
                 { "encoding", debug_encoding },
                 { "todense", debug_todense } };
    const struct key *k = &c->keys[0];
    struct entry *e = key_write(c, k);
    if (e == NULL) {
        reply_error(c, "ERR The specified key does not exist");
        return;
    }
    if (!is_sketch(c, e)) {
        return;
    }
    for (unsigned i = 0; i < countof(subs); i++) {
        if (arg_is(c, 1, subs[i].name)) {
            subs[i].proc(c, k, e);
            return;
        }
    }
    reply_errorf(c, "ERR Unknown PFDEBUG subcommand '%.*s'", (int)size_min(c->argv[1].n, 128),
                 c->argv[1].p);
}

/* ---- PFSELFTEST ---- */

/* Elements of one test: as many as take some 10 ms; the reactor does nothing else meanwhile. */
#define TEST_ELEMENTS  200000
#define STANDARD_ERROR 0.008125 /* 1.04 / sqrt(HLL_REGISTERS) */

/* Adds random elements to a sketch that starts sparse and to a dense one, which have to agree, and
 * looks at the error at each power of ten and at the end. */
static bool estimates_hold(struct call *c, struct buf *sparse, struct buf *dense)
{
    uint64_t element = rng_u64(), next = 1, max = sparse_max(c);
    for (uint64_t n = 1; n <= TEST_ELEMENTS; n++) {
        element += 0x9e3779b97f4a7c15; /* odd: no repetition */
        struct hll_mark m = hll_mark_of(slice_of(&element, sizeof element));
        if (hll_mark(sparse, m, max) < 0 || hll_mark(dense, m, max) < 0) {
            reply_error(c, "TESTFAILED a sketch was damaged or there was no memory");
            return false;
        }
        if (n != next && n != TEST_ELEMENTS) {
            continue;
        }
        next *= 10;
        uint64_t a = 0, b = 0;
        if (hll_count(buf_slice(sparse), &a) < 0 || hll_count(buf_slice(dense), &b) < 0 || a != b) {
            reply_error(c, "TESTFAILED dense/sparse disagree");
            return false;
        }
        double off = fabs((double)a - (double)n);
        if (off > ceil((double)n * STANDARD_ERROR * 6) + (n <= 10)) {
            reply_errorf(c, "TESTFAILED Too big error. card:%llu abserr:%.0f",
                         (unsigned long long)n, off);
            return false;
        }
    }
    return true;
}

static void cmd_pfselftest(struct call *c)
{
    struct buf sparse = { NULL, 0, 0 }, dense = { NULL, 0, 0 };
    hll_init(&sparse);
    hll_init(&dense);
    if (hll_make_dense(&dense) < 0) {
        reply_oom(c);
    } else if (estimates_hold(c, &sparse, &dense)) {
        reply_ok(c);
    }
    buf_free(&sparse);
    buf_free(&dense);
}

#define HLL_ROW .acl = ACL_HYPERLOGLOG, .group = "hyperloglog", .since = "2.8.9"
const struct command hll_commands[] = {
    { .name = "pfadd",
      .proc = cmd_pfadd,
      .arity = -2,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
      HLL_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_INSERT) },
      .complexity = "O(1) to add every element.",
      .summary = "Adds the specified elements to the specified HyperLogLog.",
      .syntax = "key [element...]" },
    { .name = "pfcount",
      .proc = cmd_pfcount,
      .arity = -2,
      .flags = CMD_READONLY | CMD_MAY_REPLICATE,
      HLL_ROW,
      .keys = { { .flags = KEY_RW | KEY_ACCESS,
                  .begin = 1,
                  .last = -1,
                  .step = 1,
                  .notes = "RW because it may change the internal representation of the key, and "
                           "propagate to replicas" } },
      .complexity =
          "O(1) with a very small average constant time when called with a single key. O(N) with N "
          "being the number of keys, and much bigger constant times, when called with multiple "
          "keys.",
      .summary = "Return the approximated cardinality of the set(s) observed by the HyperLogLog at "
                 "key(s).",
      .syntax = "key..." },
    { .name = "pfmerge",
      .proc = cmd_pfmerge,
      .arity = -2,
      .flags = CMD_WRITE | CMD_DENYOOM,
      HLL_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_INSERT),
                KEYS_FROM(2, -1, 1, KEY_RO | KEY_ACCESS) },
      .complexity = "O(N) to merge N HyperLogLogs, but with high constant times.",
      .summary = "Merge N different HyperLogLogs into a single one.",
      .syntax = "destkey:key sourcekey:key1..." },
    { .name = "pfdebug",
      .proc = cmd_pfdebug,
      .arity = 3,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_ADMIN | CMD_SYSCMD,
      HLL_ROW,
      .keys = { KEY_AT(2, KEY_RW | KEY_ACCESS) },
      .complexity = "N/A",
      .summary = "Internal commands for debugging HyperLogLog values",
      .syntax = "subcommand key" },
    { .name = "pfselftest",
      .proc = cmd_pfselftest,
      .arity = 1,
      .flags = CMD_ADMIN | CMD_SYSCMD,
      HLL_ROW,
      .complexity = "N/A",
      .summary = "An internal command for testing HyperLogLog values" },
    { .name = NULL },
};
