/* cmd_list_block.c -- Lists: moving between lists, popping from the first that has elements, and
 * the forms that wait. SPDX-License-Identifier: BSD-3-Clause EFFECTS  What was done, never that it
 * waited: LPOP or RPOP key [count], LMOVE source destination end end. */
#include "commands/elements.h"
#include "commands/list.h"
#include <stdio.h>

static struct slice end_word(enum ql_end end)
{
    return end == QL_HEAD ? S("LEFT") : S("RIGHT");
}

static bool arg_end(struct call *c, unsigned i, enum ql_end *end)
{
    *end = arg_is(c, i, "right") ? QL_TAIL : QL_HEAD;
    if (*end == QL_HEAD && !arg_is(c, i, "left")) {
        reply_syntax(c);
        return false;
    }
    return true;
}

/* ---- LMOVE and its kin ---- */

/* The source has elements. Moves one and replies it. */
static void move_one(struct call *c, struct entry *src, enum ql_end from, enum ql_end to)
{
    const struct key *ks = &c->keys[0], *kd = &c->keys[1];
    struct entry *dst = key_write(c, kd);
    if (!key_is(c, dst, OBJ_LIST)) {
        return;
    }
    struct lp_value v;
    char tmp[I64_TEXT_MAX];
    must(quicklist_peek(list_of(src), from, &v));
    struct buf copy = { 0 };
    struct slice value = lp_text(&v, tmp);
    if (!buf_try_reserve(&copy, value.n)) {
        reply_oom(c);
        return;
    }
    buf_add_slice(&copy, value); /* it must not point into the list it is pushed to */
    value = buf_slice(&copy);
    if (src == dst) {
        if (from != to) {
            quicklist_rotate(list_of(src), from);
        }
        list_settle(src);
        key_changed(c, ks);
        notify(c, NOTIFY_LIST, to == QL_HEAD ? "lpush" : "rpush", ks);
        notify(c, NOTIFY_LIST, from == QL_HEAD ? "lpop" : "rpop", ks);
    } else {
        if (list_push_values(c, kd, to, &value, 1) == 0) {
            buf_free(&copy);
            return;
        }
        quicklist_drop(list_of(src), from);
        notify(c, NOTIFY_LIST, from == QL_HEAD ? "lpop" : "rpop", ks);
        list_shrunk(c, ks, src);
    }
    EFFECT(c, S("LMOVE"), ks->s, kd->s, end_word(from), end_word(to));
    reply_bulk(c, value);
    buf_free(&copy);
}

static void move_call(struct call *c, enum ql_end from, enum ql_end to, bool blocks,
                      int64_t deadline)
{
    struct entry *src = key_write(c, &c->keys[0]);
    if (!key_is(c, src, OBJ_LIST)) {
        return;
    }
    if (src != NULL && (!blocks || call_serves(c, 0))) {
        move_one(c, src, from, to);
    } else if (blocks && call_may_block(c)) {
        call_block(c, BLOCK_LIST, 0, 1, deadline, null_array_reply);
    } else {
        reply_null(c);
    }
}

static void cmd_lmove(struct call *c)
{
    enum ql_end from, to;
    if (arg_end(c, 3, &from) && arg_end(c, 4, &to)) {
        move_call(c, from, to, false, 0);
    }
}

static void cmd_rpoplpush(struct call *c)
{
    move_call(c, QL_TAIL, QL_HEAD, false, 0);
}

static void cmd_blmove(struct call *c)
{
    enum ql_end from, to;
    int64_t deadline;
    if (arg_end(c, 3, &from) && arg_end(c, 4, &to) && arg_timeout_ms(c, 5, true, &deadline)) {
        move_call(c, from, to, true, deadline);
    }
}

static void cmd_brpoplpush(struct call *c)
{
    int64_t deadline;
    if (arg_timeout_ms(c, 3, true, &deadline)) {
        move_call(c, QL_TAIL, QL_HEAD, true, deadline);
    }
}

/* ---- BLPOP, BRPOP ---- */

static void pop_effect(struct call *c, const struct key *k, enum ql_end end, uint64_t n)
{
    struct slice name = end == QL_HEAD ? S("LPOP") : S("RPOP");
    if (n == 1) {
        EFFECT(c, name, k->s);
    } else {
        effect_i64(c, name, k->s, (int64_t)n);
    }
}

static void bpop_call(struct call *c, enum ql_end end)
{
    int64_t deadline;
    unsigned i;
    struct entry *e;
    if (!arg_timeout_ms(c, c->argc - 1, true, &deadline) || !first_existing(c, OBJ_LIST, &i, &e)) {
        return;
    }
    if (e != NULL) {
        reply_array(c, 2);
        reply_bulk(c, c->keys[i].s);
        list_pop_reply(c, &c->keys[i], e, end, 1);
        pop_effect(c, &c->keys[i], end, 1);
    } else if (call_may_block(c)) {
        call_block(c, BLOCK_LIST, 0, c->nkeys, deadline, null_array_reply);
    } else {
        reply_null_array(c);
    }
}

static void cmd_blpop(struct call *c)
{
    bpop_call(c, QL_HEAD);
}

static void cmd_brpop(struct call *c)
{
    bpop_call(c, QL_TAIL);
}

/* ---- LMPOP, BLMPOP ---- */

/* The number of keys is argv[at]; a blocking form has its timeout before it, which is looked at
 * last. */
static void mpop_call(struct call *c, unsigned at, bool blocks)
{
    struct mpop_args a;
    unsigned i;
    struct entry *e;
    int64_t deadline = 0;
    if (!mpop_parse(c, at, "left", "right", &a) ||
        (blocks && !arg_timeout_ms(c, at - 1, true, &deadline)) ||
        !first_existing(c, OBJ_LIST, &i, &e)) {
        return;
    }
    if (e != NULL) {
        enum ql_end end = a.last ? QL_TAIL : QL_HEAD;
        uint64_t n = u64_min(a.count, quicklist_count(list_of(e)));
        reply_array(c, 2);
        reply_bulk(c, c->keys[i].s);
        reply_array(c, n);
        list_pop_reply(c, &c->keys[i], e, end, n);
        pop_effect(c, &c->keys[i], end, n);
    } else if (blocks && call_may_block(c)) {
        call_block(c, BLOCK_LIST, 0, c->nkeys, deadline, null_array_reply);
    } else {
        reply_null_array(c);
    }
}

static void cmd_lmpop(struct call *c)
{
    mpop_call(c, 1, false);
}

static void cmd_blmpop(struct call *c)
{
    mpop_call(c, 2, true);
}

#define LIST_ROW .acl = ACL_LIST, .group = "list"
#define TWO_KEYS \
    .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE), KEY_AT(2, KEY_RW | KEY_INSERT) }
#define WAITS (CMD_WRITE | CMD_BLOCKING)
const struct command list_block_commands[] = {
    { .name = "lmove",
      .proc = cmd_lmove,
      .arity = 5,
      .flags = CMD_WRITE | CMD_DENYOOM,
      LIST_ROW,
      TWO_KEYS,
      .since = "6.2.0",
      .complexity = "O(1)",
      .summary = "Pop an element from a list, push it to another list and return it",
      .syntax = "source:key destination:key1 wherefrom=<LEFT|RIGHT> whereto=<LEFT|RIGHT>" },
    { .name = "rpoplpush",
      .proc = cmd_rpoplpush,
      .arity = 3,
      .flags = CMD_WRITE | CMD_DENYOOM,
      LIST_ROW,
      TWO_KEYS,
      .since = "1.2.0",
      .complexity = "O(1)",
      .summary = "Remove the last element in a list, prepend it to another list and return it",
      .syntax = "source:key destination:key1",
      .deprecated_since = "6.2.0",
      .replaced_by = "`LMOVE` with the `RIGHT` and `LEFT` arguments" },
    { .name = "blmove",
      .proc = cmd_blmove,
      .arity = 6,
      .flags = WAITS | CMD_DENYOOM,
      LIST_ROW,
      TWO_KEYS,
      .since = "6.2.0",
      .complexity = "O(1)",
      .summary = "Pop an element from a list, push it to another list and return it; or block "
                 "until one is available",
      .syntax = "source:key destination:key1 wherefrom=<LEFT|RIGHT> whereto=<LEFT|RIGHT> "
                "timeout:double" },
    { .name = "brpoplpush",
      .proc = cmd_brpoplpush,
      .arity = 4,
      .flags = WAITS | CMD_DENYOOM,
      LIST_ROW,
      TWO_KEYS,
      .since = "2.2.0",
      .complexity = "O(1)",
      .summary = "Pop an element from a list, push it to another list and return it; or block "
                 "until one is available",
      .syntax = "source:key destination:key1 timeout:double",
      .deprecated_since = "6.2.0",
      .replaced_by = "`BLMOVE` with the `RIGHT` and `LEFT` arguments",
      .history = "6.0.0:`timeout` is interpreted as a double instead of an integer." },
    { .name = "blpop",
      .proc = cmd_blpop,
      .arity = -3,
      .flags = WAITS | CMD_SERVE_ONE,
      LIST_ROW,
      .keys = { KEYS_FROM(1, -2, 1, KEY_RW | KEY_ACCESS | KEY_DELETE) },
      .since = "2.0.0",
      .complexity = "O(N) where N is the number of provided keys.",
      .summary = "Remove and get the first element in a list, or block until one is available",
      .syntax = "key... timeout:double",
      .history = "6.0.0:`timeout` is interpreted as a double instead of an integer." },
    { .name = "brpop",
      .proc = cmd_brpop,
      .arity = -3,
      .flags = WAITS | CMD_SERVE_ONE,
      LIST_ROW,
      .keys = { KEYS_FROM(1, -2, 1, KEY_RW | KEY_ACCESS | KEY_DELETE) },
      .since = "2.0.0",
      .complexity = "O(N) where N is the number of provided keys.",
      .summary = "Remove and get the last element in a list, or block until one is available",
      .syntax = "key... timeout:double",
      .history = "6.0.0:`timeout` is interpreted as a double instead of an integer." },
    { .name = "lmpop",
      .proc = cmd_lmpop,
      .arity = -4,
      .flags = CMD_WRITE | CMD_MOVABLEKEYS,
      LIST_ROW,
      .keys = { KEYS_COUNTED(1, KEY_RW | KEY_ACCESS | KEY_DELETE) },
      .since = "7.0.0",
      .complexity =
          "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
      .summary = "Pop elements from a list",
      .syntax = "numkeys:int key... where=<LEFT|RIGHT> [COUNT count:int]" },
    { .name = "blmpop",
      .proc = cmd_blmpop,
      .arity = -5,
      .flags = WAITS | CMD_SERVE_ONE | CMD_MOVABLEKEYS,
      LIST_ROW,
      .keys = { KEYS_COUNTED(2, KEY_RW | KEY_ACCESS | KEY_DELETE) },
      .since = "7.0.0",
      .complexity =
          "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
      .summary = "Pop elements from a list, or block until one is available",
      .syntax = "timeout:double numkeys:int key... where=<LEFT|RIGHT> [COUNT count:int]" },
    { .name = NULL },
};
