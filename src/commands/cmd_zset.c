/* cmd_zset.c -- Sorted sets: adding, removing and looking at members.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * EFFECTS  ZADD and ZREM as they came: repeated, they change nothing more. ZADD INCR and ZINCRBY
 *          log the score that they made: ZADD key score member. */
#include "commands/sample.h"
#include "commands/scan.h"
#include "commands/zset_ops.h"
#include "base/mem.h"
#include "base/rng.h"
#include <errno.h>
#include <math.h>

/* ---- ZADD, ZINCRBY ---- */

static bool zadd_options(struct call *c, struct zset_adding *z)
{
    unsigned i = 2;
    for (; i < c->argc; i++) {
        if (arg_is(c, i, "nx")) {
            z->nx = true;
        } else if (arg_is(c, i, "xx")) {
            z->xx = true;
        } else if (arg_is(c, i, "ch")) {
            z->ch = true;
        } else if (arg_is(c, i, "incr")) {
            z->incr = true;
        } else if (arg_is(c, i, "gt")) {
            z->gt = true;
        } else if (arg_is(c, i, "lt")) {
            z->lt = true;
        } else {
            break;
        }
    }
    unsigned rest = c->argc - i;
    z->first = i;
    z->pairs = rest / 2;
    if (rest == 0 || rest % 2 != 0) {
        reply_syntax(c);
        return false;
    }
    const char *error = NULL;
    if (z->nx && z->xx) {
        error = "ERR XX and NX options at the same time are not compatible";
    } else if ((z->gt && z->nx) || (z->lt && z->nx) || (z->gt && z->lt)) {
        error = "ERR GT, LT, and/or NX options at the same time are not compatible";
    } else if (z->incr && z->pairs > 1) {
        error = "ERR INCR option supports a single increment-element pair";
    }
    if (error != NULL) {
        reply_error(c, error);
    }
    return error == NULL;
}

/* One pair. 0; -ENOMEM; -EDOM: the sum is not a number. */
static int zadd_pair(struct zset_adding *z, struct zset *set, const struct zset_limits *limits,
                     struct slice member, double score)
{
    double old;
    int rc = 0;
    if (!zset_score(*set, member, &old)) {
        if (z->xx) {
            return 0;
        }
        if (z->big && !zset_make_big(set)) {
            return -ENOMEM;
        }
        rc = zset_add(set, limits, member, score);
        z->added += rc == 0;
    } else {
        if (z->nx) {
            return 0;
        }
        if (z->incr) {
            score += old;
        }
        if (isnan(score)) {
            return -EDOM;
        }
        if ((z->lt && score >= old) || (z->gt && score <= old)) {
            return 0;
        }
        if (score != old) {
            if (z->big && !zset_make_big(set)) {
                return -ENOMEM;
            }
            rc = zset_move(set, member, old, score);
            z->updated += rc == 0;
        }
    }
    z->processed = true;
    z->result = score;
    return rc;
}

static struct slice zadd_member(const struct call *c, const struct zset_adding *z, unsigned pair)
{
    return c->argv[z->first + z->step * (pair + 1) - 1];
}

static bool zadd_may_fail(struct call *c, const struct zset_adding *z, struct zset set)
{
    bool may = false;
    for (unsigned i = 0; z->pairs > 1 && i < z->pairs && !may; i++) {
        may = zset_may_fail(set, zadd_member(c, z, i));
    }
    return may;
}

/* The form is that which all members together need, before the first change: so since 7.2.
 * All pairs or none: what was there is kept aside (big: by reference) where one may fail in the
 * middle. 0; -ENOMEM; -EDOM. */
static int zadd_pairs(struct call *c, struct zset_adding *z, struct zset *set)
{
    struct zset_limits limits = zset_limits(c);
    struct zset before = { .p = NULL };
    bool kept = zadd_may_fail(c, z, *set);
    int rc = 0;
    z->big = z->pairs > limits.members;
    for (unsigned i = 0; i < z->pairs && !z->big; i++) {
        z->big = zadd_member(c, z, i).n > limits.member_bytes;
    }
    if (kept && !zset_dup(*set, &before)) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < z->pairs && rc == 0; i++) {
        rc = zadd_pair(z, set, &limits, zadd_member(c, z, i), z->score[i]);
    }
    if (kept && rc != 0) {
        struct zset half = *set;
        *set = before;
        before = half;
    }
    if (kept) {
        zset_free(before);
    }
    z->added = rc == 0 ? z->added : 0;
    z->updated = rc == 0 ? z->updated : 0;
    return rc;
}

static void zadd_reply(struct call *c, const struct zset_adding *z, int rc)
{
    if (rc == -ENOMEM) {
        reply_oom(c);
    } else if (rc == -EDOM) {
        reply_error(c, "ERR resulting score is not a number (NaN)");
    } else if (!z->incr) {
        reply_int(c, (int64_t)(z->added + (z->ch ? z->updated : 0)));
    } else if (z->processed) {
        reply_double(c, z->result);
    } else {
        reply_null(c);
    }
}

static void zadd_apply(struct call *c, struct zset_adding *z)
{
    const struct key *k = &c->keys[0];
    struct entry *e;
    if (!zset_write(c, k, &e)) {
        return;
    }
    struct zset set = e != NULL ? zset_of(e) : zset_new();
    int rc = zadd_pairs(c, z, &set);
    if (e != NULL) {
        entry_put_zset(e, &set);
    } else if (zset_count(set) > 0) {
        (void)key_add(c, k, OBJ_ZSET, entry_zset_enc(&set), set.p);
    } else {
        zset_free(set);
    }
    if (z->added + z->updated > 0) {
        key_changed(c, k);
        call_more_changes(c, (int64_t)(z->added + z->updated) - 1);
        if (z->incr) {
            char text[F64_TEXT_MAX];
            EFFECT(c, S("ZADD"), k->s, slice_of(text, format_f64(text, z->result)),
                   zadd_member(c, z, 0));
        }
        notify(c, NOTIFY_ZSET, z->incr ? "zincr" : "zadd", k);
    }
    zadd_reply(c, z, rc);
}

#define PAIRS_ON_STACK 32

void zset_adding_run(struct call *c, struct zset_adding *z)
{
    double few[PAIRS_ON_STACK];
    z->score = z->pairs <= PAIRS_ON_STACK ? few : mem_try_alloc(z->pairs * sizeof *z->score);
    if (z->score == NULL) {
        reply_oom(c);
        return;
    }
    unsigned i = 0;
    while (i < z->pairs && z->read(c, z->first + z->step * i, &z->score[i])) {
        i++;
    }
    if (i == z->pairs) {
        zadd_apply(c, z);
    }
    if (z->score != few) {
        mem_free(z->score);
    }
    z->score = NULL;
}

static void cmd_zadd(struct call *c)
{
    struct zset_adding z = { .step = 2, .read = arg_f64 };
    if (zadd_options(c, &z)) {
        zset_adding_run(c, &z);
    }
}

static void cmd_zincrby(struct call *c)
{
    struct zset_adding z = { .incr = true, .first = 2, .step = 2, .pairs = 1, .read = arg_f64 };
    zset_adding_run(c, &z);
}

/* ---- ZREM ---- */

static void cmd_zrem(struct call *c)
{
    const struct key *k = &c->keys[0];
    struct entry *e;
    int64_t removed = 0;
    if (!zset_write(c, k, &e)) {
        return;
    }
    if (e != NULL) {
        struct zset z = zset_of(e);
        for (unsigned i = 2; i < c->argc && zset_count(z) > 0; i++) {
            removed += zset_remove(&z, c->argv[i]);
        }
        if (removed > 0) {
            call_more_changes(c, removed - 1);
            notify(c, NOTIFY_ZSET, "zrem", k);
            zset_shrunk(c, k, e, z);
        }
    }
    reply_int(c, removed);
}

/* ---- Looking at members ---- */

static void cmd_zcard(struct call *c)
{
    struct entry *e;
    if (zset_read(c, &c->keys[0], &e)) {
        reply_int(c, e != NULL ? (int64_t)zset_count(zset_of(e)) : 0);
    }
}

static void reply_score(struct call *c, const struct entry *e, struct slice member)
{
    double score;
    if (e != NULL && zset_score(zset_of(e), member, &score)) {
        reply_double(c, score);
    } else {
        reply_null(c);
    }
}

static void cmd_zscore(struct call *c)
{
    struct entry *e;
    if (zset_read(c, &c->keys[0], &e)) {
        reply_score(c, e, c->argv[2]);
    }
}

static void cmd_zmscore(struct call *c)
{
    struct entry *e;
    if (!zset_read(c, &c->keys[0], &e)) {
        return;
    }
    reply_array(c, c->argc - 2);
    for (unsigned i = 2; i < c->argc; i++) {
        reply_score(c, e, c->argv[i]);
    }
}

static void rank_call(struct call *c, bool reverse)
{
    struct entry *e;
    uint64_t rank;
    double score;
    bool with_score = c->argc > 3;
    if (c->argc > 4) {
        reply_arity(c);
        return;
    }
    if (with_score && !arg_is(c, 3, "withscore")) {
        reply_syntax(c);
        return;
    }
    if (!zset_read(c, &c->keys[0], &e)) {
        return;
    }
    if (e == NULL || !zset_rank(zset_of(e), c->argv[2], &rank, &score)) {
        if (with_score) {
            reply_null_array(c);
        } else {
            reply_null(c);
        }
        return;
    }
    if (with_score) {
        reply_array(c, 2);
    }
    reply_int(c, (int64_t)(reverse ? zset_count(zset_of(e)) - 1 - rank : rank));
    if (with_score) {
        reply_double(c, score);
    }
}

static void cmd_zrank(struct call *c)
{
    rank_call(c, false);
}

static void cmd_zrevrank(struct call *c)
{
    rank_call(c, true);
}

/* ---- ZRANDMEMBER ---- */

static void reply_at(struct call *c, struct zset z, uint64_t rank, bool with_scores)
{
    struct zset_iter it;
    struct zset_item item = { 0 };
    zset_iter(&it, z, rank, true);
    must(zset_next(&it, &item));
    zset_reply_item(c, &item, with_scores);
}

/* n of all, in ascending order. */
static void reply_some(struct call *c, struct zset z, uint64_t n, bool with_scores)
{
    struct sample s;
    uint64_t rank;
    if (!sample_begin(&s, zset_count(z), n)) {
        reply_oom(c);
        return;
    }
    zset_reply_head(c, n, with_scores);
    while (sample_next(&s, &rank)) {
        reply_at(c, z, rank, with_scores);
    }
    sample_end(&s);
}

/* More than this, and the reply alone would be beyond any sensible memory. */
#define REPEATED_MAX (1 << 27)

static void random_members(struct call *c, const struct entry *e, int64_t count, bool with_scores)
{
    if (e == NULL || count == 0) {
        reply_array(c, 0);
        return;
    }
    struct zset z = zset_of(e);
    uint64_t all = zset_count(z);
    if (count < -REPEATED_MAX) {
        reply_error(c, "ERR value is out of range");
    } else if (count < 0) {
        zset_reply_head(c, (uint64_t)-count, with_scores);
        for (int64_t i = 0; i > count && !call_reply_lost(c); i--) {
            reply_at(c, z, rng_below(all), with_scores);
        }
    } else {
        reply_some(c, z, u64_min((uint64_t)count, all), with_scores);
    }
}

static void cmd_zrandmember(struct call *c)
{
    struct entry *e;
    int64_t count = 0;
    if (c->argc > 2) {
        if (!arg_i64_range(c, 2, -INT64_MAX, INT64_MAX, &count, NULL)) {
            return;
        }
        if (c->argc > 4 || (c->argc == 4 && !arg_is(c, 3, "withscores"))) {
            reply_syntax(c);
            return;
        }
        if (c->argc == 4 && (count < -INT64_MAX / 2 || count > INT64_MAX / 2)) {
            reply_error(c, "ERR value is out of range");
            return;
        }
    }
    if (!zset_read(c, &c->keys[0], &e)) {
        return;
    }
    if (c->argc > 2) {
        random_members(c, e, count, c->argc == 4);
    } else if (e == NULL) {
        reply_null(c);
    } else {
        reply_at(c, zset_of(e), rng_below(zset_count(zset_of(e))), false);
    }
}

/* ---- ZSCAN ---- */

struct zscan {
    struct call *c;
    struct scan_args args;
    size_t replied;
};

static void zscan_visit(void *arg, const struct zset_item *item)
{
    struct zscan *s = arg;
    if (scan_matches(&s->args, item->member)) {
        char text[F64_TEXT_MAX];
        reply_bulk(s->c, item->member);
        reply_bulk(s->c, slice_of(text, format_f64(text, item->score)));
        s->replied += 2;
    }
}

static void cmd_zscan(struct call *c)
{
    struct zscan s = { .c = c };
    struct entry *e;
    if (!scan_cursor(c, 2, &s.args) || !zset_read(c, &c->keys[0], &e)) {
        return;
    }
    if (e == NULL) {
        reply_array(c, 2);
        reply_bulk(c, S("0"));
        reply_array(c, 0);
        return;
    }
    if (!scan_options(c, 3, 0, &s.args)) {
        return;
    }
    reply_array(c, 2);
    struct out_block *head = reply_array_deferred(c), *hole = reply_array_deferred(c);
    uint64_t next = zset_scan(zset_of(e), s.args.cursor, s.args.count, zscan_visit, &s);
    reply_array_fill(c, hole, s.replied);
    reply_bulk_u64_fill(c, head, next);
}

#define ZSET_ROW .acl = ACL_SORTEDSET, .group = "sorted-set"
const struct command zset_commands[] = {
    { .name = "zadd",
      .proc = cmd_zadd,
      .ahead = AHEAD_SCORE_MEMBER,
      .arity = -4,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_UPDATE) },
      .since = "1.2.0",
      .complexity =
          "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
      .summary =
          "Add one or more members to a sorted set, or update its score if it already exists",
      .syntax = "key [condition=<NX|XX>]@3.0.2 [comparison=<GT|LT>]@6.2.0 [change=CH]@3.0.2 "
                "[increment=INCR]@3.0.2 score_member=<score:double member>...",
      .history = "2.4.0:Accepts multiple elements.|3.0.2:Added the `XX`, `NX`, `CH` and `INCR` "
                 "options.|6.2.0:Added the `GT` and `LT` options." },
    { .name = "zincrby",
      .proc = cmd_zincrby,
      .ahead = AHEAD_BY_MEMBER,
      .arity = 4,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE) },
      .since = "1.2.0",
      .complexity = "O(log(N)) where N is the number of elements in the sorted set.",
      .summary = "Increment the score of a member in a sorted set",
      .syntax = "key increment:int member" },
    { .name = "zrem",
      .proc = cmd_zrem,
      .ahead = AHEAD_RANK,
      .arity = -3,
      .flags = CMD_WRITE | CMD_FAST,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_DELETE) },
      .since = "1.2.0",
      .complexity = "O(M*log(N)) with N being the number of elements in the sorted set and M the "
                    "number of elements to be removed.",
      .summary = "Remove one or more members from a sorted set",
      .syntax = "key member...",
      .history = "2.4.0:Accepts multiple elements." },
    { .name = "zcard",
      .proc = cmd_zcard,
      .arity = 2,
      .flags = CMD_READONLY | CMD_FAST,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RO) },
      .since = "1.2.0",
      .complexity = "O(1)",
      .summary = "Get the number of members in a sorted set",
      .syntax = "key" },
    { .name = "zscore",
      .proc = cmd_zscore,
      .ahead = AHEAD_MEMBER,
      .arity = 3,
      .flags = CMD_READONLY | CMD_FAST,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "1.2.0",
      .complexity = "O(1)",
      .summary = "Get the score associated with the given member in a sorted set",
      .syntax = "key member" },
    { .name = "zmscore",
      .proc = cmd_zmscore,
      .ahead = AHEAD_MEMBER,
      .arity = -3,
      .flags = CMD_READONLY | CMD_FAST,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "6.2.0",
      .complexity = "O(N) where N is the number of members being requested.",
      .summary = "Get the score associated with the given members in a sorted set",
      .syntax = "key member..." },
    { .name = "zrank",
      .proc = cmd_zrank,
      .ahead = AHEAD_RANK,
      .arity = -3,
      .flags = CMD_READONLY | CMD_FAST,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "2.0.0",
      .complexity = "O(log(N))",
      .summary = "Determine the index of a member in a sorted set",
      .syntax = "key member [WITHSCORE]@7.2.0",
      .history = "7.2.0:Added the optional `WITHSCORE` argument." },
    { .name = "zrevrank",
      .proc = cmd_zrevrank,
      .ahead = AHEAD_RANK,
      .arity = -3,
      .flags = CMD_READONLY | CMD_FAST,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "2.0.0",
      .complexity = "O(log(N))",
      .summary =
          "Determine the index of a member in a sorted set, with scores ordered from high to low",
      .syntax = "key member [WITHSCORE]@7.2.0",
      .history = "7.2.0:Added the optional `WITHSCORE` argument." },
    { .name = "zrandmember",
      .proc = cmd_zrandmember,
      .arity = -2,
      .flags = CMD_READONLY,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "6.2.0",
      .complexity = "O(N) where N is the number of elements returned",
      .summary = "Get one or multiple random elements from a sorted set",
      .syntax = "key [options=<count:int [WITHSCORES]>]",
      .tips = "nondeterministic_output" },
    { .name = "zscan",
      .proc = cmd_zscan,
      .arity = -3,
      .flags = CMD_READONLY,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "2.8.0",
      .complexity =
          "O(1) for every call. O(N) for a complete iteration, including enough command calls for "
          "the cursor to return back to 0. N is the number of elements inside the collection..",
      .summary = "Incrementally iterate sorted sets elements and associated scores",
      .syntax = "key cursor:int [MATCH pattern:pattern] [COUNT count:int]",
      .tips = "nondeterministic_output" },
    { .name = NULL },
};
