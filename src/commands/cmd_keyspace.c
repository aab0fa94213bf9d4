/* cmd_keyspace.c -- Commands on a whole database: KEYS, SCAN, RANDOMKEY, DBSIZE, FLUSHDB, FLUSHALL,
 * SWAPDB. SPDX-License-Identifier: BSD-3-Clause
 *
 * Reads go shard by shard, each under its own lock, and wait for everything appended so far
 * (call_gate_all); counts are read without the locks (call_gate_counts). Writes run in an exclusive
 * section. SCAN     A cursor is the place in one shard's table times the number of shards plus the
 * shard's index: below 2^53. A call walks on over shards until COUNT entries were seen or the end,
 * so a database smaller than COUNT answers cursor 0 at once. */
#include "commands/scan.h"
#include "base/mem.h"
#include "base/rng.h"

struct walk {
    struct call *c;
    struct scan_args want;
    size_t replied, seen;
};

static void visit(struct walk *w, const struct entry *e)
{
    w->seen++;
    if (entry_expired(w->c, e) || (w->want.type >= 0 && (int)entry_type(e) != w->want.type)) {
        return;
    }
    if (scan_matches(&w->want, entry_key(e))) {
        reply_bulk(w->c, entry_key(e));
        w->replied++;
    }
}

static bool visit_each(void *arg, struct entry *e)
{
    visit(arg, e);
    return true;
}

static void visit_scan(void *arg, struct entry *e)
{
    visit(arg, e);
}

static bool is_literal(struct slice pattern)
{
    for (size_t i = 0; i < pattern.n; i++) {
        if (memchr("*?[\\", pattern.p[i], 4) != NULL) {
            return false;
        }
    }
    return true;
}

static void keys_literal(struct call *c)
{
    struct key k = call_key(c, c->argv[1]);
    struct shard *s = keyspace_shard(c->ks, k.shard);
    call_shard_lock(c, s);
    const struct entry *e = shard_find(s, c->db, &k);
    bool found = e != NULL && !entry_expired(c, e);
    call_shard_unlock(c, s);
    reply_array(c, found);
    if (found) {
        reply_bulk(c, k.s);
    }
}

static void cmd_keys(struct call *c)
{
    if (is_literal(c->argv[1])) {
        keys_literal(c);
    } else {
        struct walk w = { .c = c, .want = { .type = -1 } };
        if (!slice_eq(c->argv[1], S("*"))) {
            w.want.pattern = c->argv[1];
        }
        struct out_block *hole = reply_array_deferred(c);
        for (unsigned i = 0; i < keyspace_shards(c->ks); i++) {
            struct shard *s = keyspace_shard(c->ks, i);
            call_shard_lock(c, s);
            shard_each(s, c->db, visit_each, &w);
            call_shard_unlock(c, s);
        }
        reply_array_fill(c, hole, w.replied);
    }
    call_gate_all(c);
}

/* ---- SCAN ---- */

static uint64_t scan_walk(struct call *c, struct walk *w)
{
    unsigned shards = keyspace_shards(c->ks);
    uint64_t index = w->want.cursor % shards, at = w->want.cursor / shards;
    size_t count = w->want.count;
    while (index < shards) {
        struct shard *s = keyspace_shard(c->ks, (unsigned)index);
        if (at == 0 && shard_count(s, c->db) == 0) {
            call_settle(c, s);
        } else {
            call_shard_lock(c, s);
            do {
                at = shard_scan(s, c->db, at, visit_scan, w);
            } while (at != 0 && w->seen < count);
            call_shard_unlock(c, s);
        }
        if (at == 0) {
            index++;
        }
        if (w->seen >= count) {
            break;
        }
    }
    return index < shards ? at * shards + index : 0;
}

static void cmd_scan(struct call *c)
{
    struct walk w = { .c = c };
    if (!scan_cursor(c, 1, &w.want) || !scan_options(c, 2, SCAN_WITH_TYPE, &w.want)) {
        return;
    }
    reply_array(c, 2);
    struct out_block *head =
        reply_array_deferred(c); /* the cursor, known after the keys that follow it */
    struct out_block *hole = reply_array_deferred(c);
    uint64_t next = scan_walk(c, &w);
    reply_array_fill(c, hole, w.replied);
    reply_bulk_u64_fill(c, head, next);
    call_gate_all(c);
}

/* ---- RANDOMKEY, DBSIZE ---- */

struct draw {
    struct call *c;
    struct buf key;
    bool found;
};

/* Goes on until it has one that has not expired. */
static bool draw(void *arg, struct entry *e)
{
    struct draw *d = arg;
    if (!entry_expired(d->c, e)) {
        buf_add_slice(&d->key, entry_key(e));
        d->found = true;
    }
    return !d->found;
}

/* The key of rank `pick`, about. */
static void draw_one(struct draw *d, uint64_t pick)
{
    struct call *c = d->c;
    for (unsigned i = 0; i < keyspace_shards(c->ks); i++) {
        struct shard *s = keyspace_shard(c->ks, i);
        uint64_t n = shard_count(s, c->db);
        if (pick < n) {
            call_shard_lock(c, s);
            struct entry *e = shard_random(s, c->db, false);
            if (e != NULL) {
                (void)draw(d, e);
            }
            call_shard_unlock(c, s);
            return;
        }
        pick -= n;
    }
}

/* The first there is, from some shard on. */
static void draw_any(struct draw *d)
{
    struct call *c = d->c;
    unsigned shards = keyspace_shards(c->ks), from = (unsigned)rng_below(shards);
    for (unsigned i = 0; i < shards && !d->found; i++) {
        struct shard *s = keyspace_shard(c->ks, (from + i) % shards);
        if (shard_count(s, c->db) > 0) {
            call_shard_lock(c, s);
            shard_each(s, c->db, draw, d);
            call_shard_unlock(c, s);
        }
    }
}

#define RANDOM_TRIES 100 /* expired entries that are drawn before one is searched for */

static void cmd_randomkey(struct call *c)
{
    struct draw d = { .c = c };
    uint64_t total = keyspace_count(c->ks, c->db);
    for (unsigned try = 0; try < RANDOM_TRIES && !d.found && total > 0; try++) {
        draw_one(&d, rng_below(total)); /* a shard in proportion to its keys */
        total = keyspace_count(c->ks, c->db);
    }
    if (!d.found && total > 0) {
        draw_any(&d);
    }
    if (d.found) {
        reply_bulk(c, buf_slice(&d.key));
        call_gate_all(c);
    } else {
        reply_null(c);
        call_gate_counts(c);
    }
    buf_free(&d.key);
}

static void cmd_dbsize(struct call *c)
{
    reply_int(c, (int64_t)keyspace_count(c->ks, c->db));
    call_gate_counts(c);
}

/* ---- Whole-keyspace writes ---- */

static bool flush_mode(struct call *c)
{
    if (c->argc > 2 || (c->argc == 2 && !arg_is(c, 1, "async") && !arg_is(c, 1, "sync"))) {
        reply_syntax(c);
        return false;
    }
    return true;
}

static void cmd_flushdb(struct call *c)
{
    if (flush_mode(c)) {
        (void)call_flush(c, (int)c->db, !arg_is(c, 1, "sync"));
        EFFECT(c, S("FLUSHDB"));
        reply_ok(c);
    }
}

static void cmd_flushall(struct call *c)
{
    if (flush_mode(c)) {
        (void)call_flush(c, -1, !arg_is(c, 1, "sync"));
        EFFECT(c, S("FLUSHALL"));
        reply_ok(c);
    }
}

static void cmd_swapdb(struct call *c)
{
    int64_t a, b, n = keyspace_databases(c->ks);
    if (!arg_i64_range(c, 1, INT32_MIN, INT32_MAX, &a, "ERR invalid first DB index") ||
        !arg_i64_range(c, 2, INT32_MIN, INT32_MAX, &b, "ERR invalid second DB index")) {
        return;
    }
    if (a < 0 || a >= n || b < 0 || b >= n) {
        reply_error(c, "ERR DB index is out of range");
        return;
    }
    call_swapdb(c, (unsigned)a, (unsigned)b);
    reply_ok(c);
}

#define SHARDS_TIPS "request_policy:all_shards,response_policy:"
const struct command keyspace_commands[] = {
    { .name = "keys",
      .proc = cmd_keys,
      .arity = 2,
      .flags = CMD_READONLY | CMD_KEYSPACE,
      .acl = ACL_KEYSPACE | ACL_DANGEROUS,
      .group = "generic",
      .since = "1.0.0",
      .complexity = "O(N) with N being the number of keys in the database, under the assumption "
                    "that the key names in the database and the given pattern have limited length.",
      .summary = "Find all keys matching the given pattern",
      .syntax = "pattern:pattern",
      .tips = "request_policy:all_shards,nondeterministic_output_order" },
    { .name = "scan",
      .proc = cmd_scan,
      .arity = -2,
      .flags = CMD_READONLY | CMD_KEYSPACE,
      .acl = ACL_KEYSPACE,
      .group = "generic",
      .since = "2.8.0",
      .complexity =
          "O(1) for every call. O(N) for a complete iteration, including enough command calls for "
          "the cursor to return back to 0. N is the number of elements inside the collection.",
      .summary = "Incrementally iterate the keys space",
      .syntax = "cursor:int [MATCH pattern:pattern] [COUNT count:int] [TYPE type]@6.0.0",
      .tips = "nondeterministic_output,request_policy:special,response_policy:special",
      .history = "6.0.0:Added the `TYPE` subcommand." },
    { .name = "randomkey",
      .proc = cmd_randomkey,
      .arity = 1,
      .flags = CMD_READONLY | CMD_KEYSPACE,
      .acl = ACL_KEYSPACE,
      .group = "generic",
      .since = "1.0.0",
      .complexity = "O(1)",
      .summary = "Return a random key from the keyspace",
      .tips = SHARDS_TIPS "special,nondeterministic_output" },
    { .name = "dbsize",
      .proc = cmd_dbsize,
      .arity = 1,
      .flags = CMD_READONLY | CMD_FAST | CMD_KEYSPACE,
      .acl = ACL_KEYSPACE,
      .group = "server",
      .since = "1.0.0",
      .complexity = "O(1)",
      .summary = "Return the number of keys in the selected database",
      .tips = SHARDS_TIPS "agg_sum" },
    { .name = "flushdb",
      .proc = cmd_flushdb,
      .arity = -1,
      .flags = CMD_WRITE | CMD_EXCLUSIVE,
      .acl = ACL_KEYSPACE | ACL_DANGEROUS,
      .group = "server",
      .since = "1.0.0",
      .complexity = "O(N) where N is the number of keys in the selected database",
      .summary = "Remove all keys from the current database",
      .syntax = "[async=<ASYNC@4.0.0|SYNC@6.2.0>]",
      .tips = SHARDS_TIPS "all_succeeded",
      .history = "4.0.0:Added the `ASYNC` flushing mode modifier.|6.2.0:Added the `SYNC` flushing "
                 "mode modifier." },
    { .name = "flushall",
      .proc = cmd_flushall,
      .arity = -1,
      .flags = CMD_WRITE | CMD_EXCLUSIVE,
      .acl = ACL_KEYSPACE | ACL_DANGEROUS,
      .group = "server",
      .since = "1.0.0",
      .complexity = "O(N) where N is the total number of keys in all databases",
      .summary = "Remove all keys from all databases",
      .syntax = "[async=<ASYNC@4.0.0|SYNC@6.2.0>]",
      .tips = SHARDS_TIPS "all_succeeded",
      .history = "4.0.0:Added the `ASYNC` flushing mode modifier.|6.2.0:Added the `SYNC` flushing "
                 "mode modifier." },
    { .name = "swapdb",
      .proc = cmd_swapdb,
      .arity = 3,
      .flags = CMD_WRITE | CMD_FAST | CMD_EXCLUSIVE,
      .acl = ACL_KEYSPACE | ACL_DANGEROUS,
      .group = "server",
      .since = "4.0.0",
      .complexity =
          "O(N) where N is the count of clients watching or blocking on keys from both databases.",
      .summary = "Swaps two Redis databases",
      .syntax = "index1:int index2:int" },
    { .name = NULL },
};
