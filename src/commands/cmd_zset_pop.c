/* cmd_zset_pop.c -- Sorted sets: taking the lowest or highest members, and the forms that wait.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * EFFECTS  What was done, never that it waited: ZPOPMIN or ZPOPMAX key [count]. The order of a
 *          sorted set is total, so replay takes the same members. */
#include "commands/elements.h"
#include "commands/zset_ops.h"

enum zset_end { LOWEST, HIGHEST };

/* Replies the n members at that end, 1 <= n <= count, one by one, while taking them. */
static void pop_reply(struct call *c, const struct key *k, struct entry *e, enum zset_end end,
                      uint64_t n, bool nested)
{
    struct zset z = zset_of(e);
    struct zset_iter it;
    struct zset_item item = { 0 };
    uint64_t all = zset_count(z);
    zset_iter(&it, z, end == LOWEST ? 0 : all - 1, end == LOWEST);
    for (uint64_t i = 0; i < n; i++) {
        must(zset_next(&it, &item));
        if (nested) {
            reply_array(c, 2);
        }
        reply_bulk(c, item.member);
        reply_double(c, item.score);
    }
    must(zset_remove_range(&z, end == LOWEST ? 0 : all - n, n) == n);
    call_more_changes(c, (int64_t)n - 1);
    notify(c, NOTIFY_ZSET, end == LOWEST ? "zpopmin" : "zpopmax", k);
    zset_shrunk(c, k, e, z);
}

static struct slice pop_name(enum zset_end end)
{
    return end == LOWEST ? S("ZPOPMIN") : S("ZPOPMAX");
}

/* ---- ZPOPMIN, ZPOPMAX ---- */

static void pop_call(struct call *c, enum zset_end end)
{
    const struct key *k = &c->keys[0];
    struct entry *e;
    int64_t count = 1;
    bool nested = c->argc == 3 && c->resp > 2;
    if (c->argc > 3) {
        reply_syntax(c);
        return;
    }
    if (c->argc == 3 &&
        !arg_i64_range(c, 2, 0, INT64_MAX, &count, "ERR value is out of range, must be positive")) {
        return;
    }
    if (!zset_write(c, k, &e)) {
        return;
    }
    if (e == NULL || count == 0) {
        reply_array(c, 0);
        return;
    }
    uint64_t n = u64_min((uint64_t)count, zset_count(zset_of(e)));
    reply_array(c, nested ? n : 2 * n);
    pop_reply(c, k, e, end, n, nested);
}

static void cmd_zpopmin(struct call *c)
{
    pop_call(c, LOWEST);
}

static void cmd_zpopmax(struct call *c)
{
    pop_call(c, HIGHEST);
}

/* ---- BZPOPMIN, BZPOPMAX ---- */

static void bpop_call(struct call *c, enum zset_end end)
{
    int64_t deadline;
    unsigned i;
    struct entry *e;
    if (!arg_timeout_ms(c, c->argc - 1, true, &deadline) || !first_existing(c, OBJ_ZSET, &i, &e)) {
        return;
    }
    if (e != NULL) {
        reply_array(c, 3);
        reply_bulk(c, c->keys[i].s);
        pop_reply(c, &c->keys[i], e, end, 1, false);
        EFFECT(c, pop_name(end), c->keys[i].s);
    } else if (call_may_block(c)) {
        call_block(c, BLOCK_ZSET, 0, c->nkeys, deadline, null_array_reply);
    } else {
        reply_null_array(c);
    }
}

static void cmd_bzpopmin(struct call *c)
{
    bpop_call(c, LOWEST);
}

static void cmd_bzpopmax(struct call *c)
{
    bpop_call(c, HIGHEST);
}

/* ---- ZMPOP, BZMPOP ---- */

/* The number of keys is argv[at]; a blocking form has its timeout before it, which is looked at
 * last. */
static void mpop_call(struct call *c, unsigned at, bool blocks)
{
    struct mpop_args a;
    unsigned i;
    struct entry *e;
    int64_t deadline = 0;
    if (!mpop_parse(c, at, "min", "max", &a) ||
        (blocks && !arg_timeout_ms(c, at - 1, true, &deadline)) ||
        !first_existing(c, OBJ_ZSET, &i, &e)) {
        return;
    }
    if (e != NULL) {
        enum zset_end end = a.last ? HIGHEST : LOWEST;
        uint64_t n = u64_min(a.count, zset_count(zset_of(e)));
        reply_array(c, 2);
        reply_bulk(c, c->keys[i].s);
        reply_array(c, n);
        pop_reply(c, &c->keys[i], e, end, n, true);
        effect_i64(c, pop_name(end), c->keys[i].s, (int64_t)n);
    } else if (blocks && call_may_block(c)) {
        call_block(c, BLOCK_ZSET, 0, c->nkeys, deadline, null_array_reply);
    } else {
        reply_null_array(c);
    }
}

static void cmd_zmpop(struct call *c)
{
    mpop_call(c, 1, false);
}

static void cmd_bzmpop(struct call *c)
{
    mpop_call(c, 2, true);
}

#define ZSET_ROW .acl = ACL_SORTEDSET, .group = "sorted-set"
const struct command zset_pop_commands[] = {
    { .name = "zpopmin",
      .proc = cmd_zpopmin,
      .arity = -2,
      .flags = CMD_WRITE | CMD_FAST,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE) },
      .since = "5.0.0",
      .complexity = "O(log(N)*M) with N being the number of elements in the sorted set, and M "
                    "being the number of elements popped.",
      .summary = "Remove and return members with the lowest scores in a sorted set",
      .syntax = "key [count:int]" },
    { .name = "zpopmax",
      .proc = cmd_zpopmax,
      .arity = -2,
      .flags = CMD_WRITE | CMD_FAST,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE) },
      .since = "5.0.0",
      .complexity = "O(log(N)*M) with N being the number of elements in the sorted set, and M "
                    "being the number of elements popped.",
      .summary = "Remove and return members with the highest scores in a sorted set",
      .syntax = "key [count:int]" },
    { .name = "zmpop",
      .proc = cmd_zmpop,
      .arity = -4,
      .flags = CMD_WRITE | CMD_MOVABLEKEYS,
      ZSET_ROW,
      .keys = { KEYS_COUNTED(1, KEY_RW | KEY_ACCESS | KEY_DELETE) },
      .since = "7.0.0",
      .complexity = "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number "
                    "of elements in the sorted set, and M being the number of elements popped.",
      .summary = "Remove and return members with scores in a sorted set",
      .syntax = "numkeys:int key... where=<MIN|MAX> [COUNT count:int]" },
    { .name = "bzpopmin",
      .proc = cmd_bzpopmin,
      .arity = -3,
      .flags = CMD_WRITE | CMD_BLOCKING | CMD_SERVE_ONE | CMD_FAST,
      ZSET_ROW,
      .keys = { KEYS_FROM(1, -2, 1, KEY_RW | KEY_ACCESS | KEY_DELETE) },
      .since = "5.0.0",
      .complexity = "O(log(N)) with N being the number of elements in the sorted set.",
      .summary = "Remove and return the member with the lowest score from one or more sorted sets, "
                 "or block until one is available",
      .syntax = "key... timeout:double",
      .history = "6.0.0:`timeout` is interpreted as a double instead of an integer." },
    { .name = "bzpopmax",
      .proc = cmd_bzpopmax,
      .arity = -3,
      .flags = CMD_WRITE | CMD_BLOCKING | CMD_SERVE_ONE | CMD_FAST,
      ZSET_ROW,
      .keys = { KEYS_FROM(1, -2, 1, KEY_RW | KEY_ACCESS | KEY_DELETE) },
      .since = "5.0.0",
      .complexity = "O(log(N)) with N being the number of elements in the sorted set.",
      .summary = "Remove and return the member with the highest score from one or more sorted "
                 "sets, or block until one is available",
      .syntax = "key... timeout:double",
      .history = "6.0.0:`timeout` is interpreted as a double instead of an integer." },
    { .name = "bzmpop",
      .proc = cmd_bzmpop,
      .arity = -5,
      .flags = CMD_WRITE | CMD_BLOCKING | CMD_SERVE_ONE | CMD_MOVABLEKEYS,
      ZSET_ROW,
      .keys = { KEYS_COUNTED(2, KEY_RW | KEY_ACCESS | KEY_DELETE) },
      .since = "7.0.0",
      .complexity = "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number "
                    "of elements in the sorted set, and M being the number of elements popped.",
      .summary =
          "Remove and return members with scores in a sorted set or block until one is available",
      .syntax = "timeout:double numkeys:int key... where=<MIN|MAX> [COUNT count:int]" },
    { .name = NULL },
};
