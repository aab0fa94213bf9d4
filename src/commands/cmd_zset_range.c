/* cmd_zset_range.c -- Sorted sets: ranges by rank, by score and by member, to be read, counted,
 * stored or removed. SPDX-License-Identifier: BSD-3-Clause
 *
 * EFFECTS  As they came: the order of a sorted set is total, so a range of ranks or of scores means
 *          the same members again. One of members does not, where scores differ: what it finds
 *          depends on the form (zset_by_lex()), and the log does not know that. It is logged as the
 *          ranks it found. A source that has expired is deleted first, with its effect: replay
 *          knows no time. */
#include "commands/elements.h"
#include "commands/zset_ops.h"

enum range_kind { BY_RANK, BY_SCORE, BY_LEX };

struct range {
    enum range_kind kind;
    bool reverse, with_scores;
    int64_t offset, limit; /* limit -1: all */
    int64_t start, stop;
    struct score_range score;
    struct lex_range lex;
};

/* ---- Arguments ---- */

/* What a command allows besides LIMIT. */
enum { MAY_CHOOSE = 1, MAY_SCORE = 2 };

/* The options from argv[i] on. */
static bool range_options(struct call *c, unsigned i, unsigned may, struct range *r)
{
    bool kind_open = (may & MAY_CHOOSE) != 0, rev_open = kind_open;
    r->limit = -1;
    for (; i < c->argc; i++) {
        if ((may & MAY_SCORE) && arg_is(c, i, "withscores")) {
            r->with_scores = true;
        } else if (arg_is(c, i, "limit") && i + 2 < c->argc) {
            if (!arg_i64(c, i + 1, &r->offset) || !arg_i64(c, i + 2, &r->limit)) {
                return false;
            }
            i += 2;
        } else if (rev_open && arg_is(c, i, "rev")) {
            r->reverse = true;
            rev_open = false;
        } else if (kind_open && (arg_is(c, i, "bylex") || arg_is(c, i, "byscore"))) {
            r->kind = arg_is(c, i, "bylex") ? BY_LEX : BY_SCORE;
            kind_open = false;
        } else {
            reply_syntax(c);
            return false;
        }
    }
    if (r->limit != -1 && r->kind == BY_RANK) {
        reply_error(c, "ERR syntax error, LIMIT is only supported in combination with either "
                       "BYSCORE or BYLEX");
        return false;
    }
    if (r->with_scores && r->kind == BY_LEX) {
        reply_error(c, "ERR syntax error, WITHSCORES not supported in combination with BYLEX");
        return false;
    }
    return true;
}

/* argv[i] and argv[i + 1]: start and stop; or min and max, which a reverse range has the other way
 * round. */
static bool range_bounds(struct call *c, unsigned i, struct range *r)
{
    unsigned min = i + r->reverse, max = i + !r->reverse;
    switch (r->kind) {
    case BY_RANK: return arg_i64(c, i, &r->start) && arg_i64(c, i + 1, &r->stop);
    case BY_SCORE: return arg_score_range(c, min, max, &r->score);
    case BY_LEX: return arg_lex_range(c, min, max, &r->lex);
    default: must_not_reach();
    }
}

/* ---- Members ---- */

/* The members of z in the range: *count from rank *first on, in ascending order. */
static void range_find(struct zset z, const struct range *r, uint64_t *first, uint64_t *count)
{
    uint64_t n = zset_count(z);
    switch (r->kind) {
    case BY_RANK:
        if (!index_range(r->start, r->stop, n, first, count)) {
            *first = *count = 0;
        } else if (r->reverse) {
            *first = n - *first - *count;
        }
        return;
    case BY_SCORE: zset_by_score(z, &r->score, first, count); break;
    case BY_LEX: zset_by_lex(z, &r->lex, r->reverse, first, count); break;
    default: must_not_reach();
    }
    /* LIMIT: a negative offset is behind the end, a negative limit means all */
    uint64_t skip = r->offset < 0 ? *count : u64_min((uint64_t)r->offset, *count);
    uint64_t take = *count - skip;
    take = r->limit < 0 ? take : u64_min(take, (uint64_t)r->limit);
    *first = r->reverse ? *first + *count - skip - take : *first + skip;
    *count = take;
}

static void range_reply(struct call *c, struct zset z, const struct range *r)
{
    struct zset_iter it;
    struct zset_item items[ZSET_RUN];
    uint64_t first, count;
    range_find(z, r, &first, &count);
    zset_reply_head(c, count, r->with_scores);
    if (count > 0) {
        zset_iter(&it, z, r->reverse ? first + count - 1 : first, !r->reverse);
    }
    while (count > 0) {
        unsigned n = zset_next_run(&it, items, (unsigned)u64_min(count, ZSET_RUN));
        must(n > 0);
        for (unsigned i = 0; i < n; i++) {
            zset_reply_item(c, &items[i], r->with_scores);
        }
        count -= n;
    }
}

static void range_call(struct call *c, unsigned may, struct range *r)
{
    struct entry *e;
    if (!range_options(c, 4, may, r) || !range_bounds(c, 2, r) || !zset_read(c, &c->keys[0], &e)) {
        return;
    }
    if (e == NULL) {
        reply_array(c, 0);
    } else {
        range_reply(c, zset_of(e), r);
    }
}

static void cmd_zrange(struct call *c)
{
    range_call(c, MAY_CHOOSE | MAY_SCORE, &(struct range){ 0 });
}

static void cmd_zrevrange(struct call *c)
{
    range_call(c, MAY_SCORE, &(struct range){ .reverse = true });
}

static void cmd_zrangebyscore(struct call *c)
{
    range_call(c, MAY_SCORE, &(struct range){ .kind = BY_SCORE });
}

static void cmd_zrevrangebyscore(struct call *c)
{
    range_call(c, MAY_SCORE, &(struct range){ .kind = BY_SCORE, .reverse = true });
}

static void cmd_zrangebylex(struct call *c)
{
    range_call(c, MAY_SCORE, &(struct range){ .kind = BY_LEX });
}

static void cmd_zrevrangebylex(struct call *c)
{
    range_call(c, MAY_SCORE, &(struct range){ .kind = BY_LEX, .reverse = true });
}

/* ---- ZRANGESTORE ---- */

/* `count` members from rank `first` on. False: no memory. */
static bool range_copy(struct call *c, struct zset z, uint64_t first, uint64_t count,
                       struct zset *copy)
{
    struct zset_limits limits = zset_limits(c);
    struct zset_iter it;
    struct zset_item item = { 0 };
    zset_iter(&it, z, first, true);
    for (uint64_t i = 0; i < count; i++) {
        must(zset_next(&it, &item));
        if (zset_add(copy, &limits, item.member, item.score) != 0) {
            return false;
        }
    }
    return true;
}

/* count > 0 members were stored, those from rank `first` on. */
static void store_effect(struct call *c, uint64_t first, uint64_t count)
{
    char from[I64_TEXT_MAX], to[I64_TEXT_MAX];
    effect_reads(c, &c->keys[1]);
    EFFECT(c, S("ZRANGESTORE"), c->keys[0].s, c->keys[1].s, slice_of(from, format_u64(from, first)),
           slice_of(to, format_u64(to, first + count - 1)));
}

static void cmd_zrangestore(struct call *c)
{
    struct range r = { 0 };
    struct entry *e;
    uint64_t first = 0, count = 0;
    if (!range_options(c, 5, MAY_CHOOSE, &r) || !range_bounds(c, 3, &r)) {
        return;
    }
    (void)key_write(c, &c->keys[1]);
    if (!zset_read(c, &c->keys[1], &e)) {
        return;
    }
    if (e != NULL) {
        range_find(zset_of(e), &r, &first, &count);
    }
    struct zset copy = zset_new();
    if (count > 0 && !range_copy(c, zset_of(e), first, count, &copy)) {
        zset_free(copy);
        reply_oom(c);
        return;
    }
    bool there = key_peek(c, &c->keys[0]) != NULL;
    zset_store(c, &c->keys[0], copy, "zrangestore");
    if (r.kind == BY_LEX && count > 0) {
        store_effect(c, first, count);
    } else if (r.kind == BY_LEX && there) {
        EFFECT(c, S("DEL"), c->keys[0].s);
    }
}

/* ---- Counting ---- */

static void count_call(struct call *c, enum range_kind kind)
{
    struct range r = { .kind = kind, .limit = -1 };
    struct entry *e;
    uint64_t first, count = 0;
    if (!range_bounds(c, 2, &r) || !zset_read(c, &c->keys[0], &e)) {
        return;
    }
    if (e != NULL) {
        range_find(zset_of(e), &r, &first, &count);
    }
    reply_int(c, (int64_t)count);
}

static void cmd_zcount(struct call *c)
{
    count_call(c, BY_SCORE);
}

static void cmd_zlexcount(struct call *c)
{
    count_call(c, BY_LEX);
}

/* ---- Removing ---- */

/* `count` members went, those from rank `first` on. */
static void remove_effect(struct call *c, uint64_t first, uint64_t count)
{
    char from[I64_TEXT_MAX], to[I64_TEXT_MAX];
    EFFECT(c, S("ZREMRANGEBYRANK"), c->keys[0].s, slice_of(from, format_u64(from, first)),
           slice_of(to, format_u64(to, first + count - 1)));
}

static void remove_call(struct call *c, enum range_kind kind, const char *event)
{
    struct range r = { .kind = kind, .limit = -1 };
    const struct key *k = &c->keys[0];
    struct entry *e;
    uint64_t first, count = 0;
    if (!range_bounds(c, 2, &r) || !zset_write(c, k, &e)) {
        return;
    }
    if (e != NULL) {
        struct zset z = zset_of(e);
        range_find(z, &r, &first, &count);
        if (count > 0) {
            bool all = count == zset_count(z); /* a big one is then freed in the background */
            if (!all) {
                (void)zset_remove_range(&z, first, count);
            }
            call_more_changes(c, (int64_t)count - 1);
            notify(c, NOTIFY_ZSET, event, k);
            if (all) {
                (void)key_delete(c, k);
                notify(c, NOTIFY_GENERIC, "del", k);
            } else {
                zset_shrunk(c, k, e, z);
            }
            if (kind == BY_LEX) {
                remove_effect(c, first, count);
            }
        }
    }
    reply_int(c, (int64_t)count);
}

static void cmd_zremrangebyrank(struct call *c)
{
    remove_call(c, BY_RANK, "zremrangebyrank");
}

static void cmd_zremrangebyscore(struct call *c)
{
    remove_call(c, BY_SCORE, "zremrangebyscore");
}

static void cmd_zremrangebylex(struct call *c)
{
    remove_call(c, BY_LEX, "zremrangebylex");
}

#define ZSET_ROW .acl = ACL_SORTEDSET, .group = "sorted-set"
const struct command zset_range_commands[] = {
    { .name = "zrange",
      .proc = cmd_zrange,
      .arity = -4,
      .flags = CMD_READONLY,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "1.2.0",
      .complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the "
                    "number of elements returned.",
      .summary = "Return a range of members in a sorted set",
      .syntax = "key start stop [sortby=<BYSCORE|BYLEX>]@6.2.0 [REV]@6.2.0 [LIMIT "
                "offset_count=<offset:int count:int>]@6.2.0 [WITHSCORES]",
      .history = "6.2.0:Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options." },
    { .name = "zrangestore",
      .proc = cmd_zrangestore,
      .arity = -5,
      .flags = CMD_WRITE | CMD_DENYOOM,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_OW | KEY_UPDATE), KEY_AT(2, KEY_RO | KEY_ACCESS) },
      .since = "6.2.0",
      .complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the "
                    "number of elements stored into the destination key.",
      .summary = "Store a range of members from sorted set into another key",
      .syntax = "dst:key src:key1 min max [sortby=<BYSCORE|BYLEX>] [REV] [LIMIT "
                "offset_count=<offset:int count:int>]" },
    { .name = "zrevrange",
      .proc = cmd_zrevrange,
      .arity = -4,
      .flags = CMD_READONLY,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "1.2.0",
      .complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the "
                    "number of elements returned.",
      .summary = "Return a range of members in a sorted set, by index, with scores ordered from "
                 "high to low",
      .syntax = "key start:int stop:int [WITHSCORES]",
      .deprecated_since = "6.2.0",
      .replaced_by = "`ZRANGE` with the `REV` argument" },
    { .name = "zrangebyscore",
      .proc = cmd_zrangebyscore,
      .arity = -4,
      .flags = CMD_READONLY,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "1.0.5",
      .complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the "
                    "number of elements being returned. If M is constant (e.g. always asking for "
                    "the first 10 elements with LIMIT), you can consider it O(log(N)).",
      .summary = "Return a range of members in a sorted set, by score",
      .syntax = "key min:double max:double [WITHSCORES]@2.0.0 [LIMIT offset_count=<offset:int "
                "count:int>]",
      .deprecated_since = "6.2.0",
      .replaced_by = "`ZRANGE` with the `BYSCORE` argument",
      .history = "2.0.0:Added the `WITHSCORES` modifier." },
    { .name = "zrevrangebyscore",
      .proc = cmd_zrevrangebyscore,
      .arity = -4,
      .flags = CMD_READONLY,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "2.2.0",
      .complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the "
                    "number of elements being returned. If M is constant (e.g. always asking for "
                    "the first 10 elements with LIMIT), you can consider it O(log(N)).",
      .summary = "Return a range of members in a sorted set, by score, with scores ordered from "
                 "high to low",
      .syntax =
          "key max:double min:double [WITHSCORES] [LIMIT offset_count=<offset:int count:int>]",
      .deprecated_since = "6.2.0",
      .replaced_by = "`ZRANGE` with the `REV` and `BYSCORE` arguments",
      .history = "2.1.6:`min` and `max` can be exclusive." },
    { .name = "zrangebylex",
      .proc = cmd_zrangebylex,
      .arity = -4,
      .flags = CMD_READONLY,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "2.8.9",
      .complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the "
                    "number of elements being returned. If M is constant (e.g. always asking for "
                    "the first 10 elements with LIMIT), you can consider it O(log(N)).",
      .summary = "Return a range of members in a sorted set, by lexicographical range",
      .syntax = "key min max [LIMIT offset_count=<offset:int count:int>]",
      .deprecated_since = "6.2.0",
      .replaced_by = "`ZRANGE` with the `BYLEX` argument" },
    { .name = "zrevrangebylex",
      .proc = cmd_zrevrangebylex,
      .arity = -4,
      .flags = CMD_READONLY,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "2.8.9",
      .complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the "
                    "number of elements being returned. If M is constant (e.g. always asking for "
                    "the first 10 elements with LIMIT), you can consider it O(log(N)).",
      .summary = "Return a range of members in a sorted set, by lexicographical range, ordered "
                 "from higher to lower strings.",
      .syntax = "key max min [LIMIT offset_count=<offset:int count:int>]",
      .deprecated_since = "6.2.0",
      .replaced_by = "`ZRANGE` with the `REV` and `BYLEX` arguments" },
    { .name = "zcount",
      .proc = cmd_zcount,
      .arity = 4,
      .flags = CMD_READONLY | CMD_FAST,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "2.0.0",
      .complexity = "O(log(N)) with N being the number of elements in the sorted set.",
      .summary = "Count the members in a sorted set with scores within the given values",
      .syntax = "key min:double max:double" },
    { .name = "zlexcount",
      .proc = cmd_zlexcount,
      .arity = 4,
      .flags = CMD_READONLY | CMD_FAST,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "2.8.9",
      .complexity = "O(log(N)) with N being the number of elements in the sorted set.",
      .summary =
          "Count the number of members in a sorted set between a given lexicographical range",
      .syntax = "key min max" },
    { .name = "zremrangebyrank",
      .proc = cmd_zremrangebyrank,
      .arity = 4,
      .flags = CMD_WRITE,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_DELETE) },
      .since = "2.0.0",
      .complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the "
                    "number of elements removed by the operation.",
      .summary = "Remove all members in a sorted set within the given indexes",
      .syntax = "key start:int stop:int" },
    { .name = "zremrangebyscore",
      .proc = cmd_zremrangebyscore,
      .arity = 4,
      .flags = CMD_WRITE,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_DELETE) },
      .since = "1.2.0",
      .complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the "
                    "number of elements removed by the operation.",
      .summary = "Remove all members in a sorted set within the given scores",
      .syntax = "key min:double max:double" },
    { .name = "zremrangebylex",
      .proc = cmd_zremrangebylex,
      .arity = 4,
      .flags = CMD_WRITE,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_DELETE) },
      .since = "2.8.9",
      .complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the "
                    "number of elements removed by the operation.",
      .summary = "Remove all members in a sorted set between the given lexicographical range",
      .syntax = "key min max" },
    { .name = NULL },
};
