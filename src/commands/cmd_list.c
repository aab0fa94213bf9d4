/* cmd_list.c -- Lists: pushing, popping, looking, changing.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A list is a struct quicklist whatever OBJECT ENCODING says: "listpack" while it is one small
 * chunk, "quicklist" beyond; list_settle() keeps the name up to date as Redis 7.2 does. An empty
 * list does not exist: whoever takes the last element deletes the key. */
#include "commands/elements.h"
#include "commands/list.h"
#include <stdio.h>

struct quicklist *list_of(const struct entry *e)
{
    return entry_ptr(e);
}

static int list_fill(struct call *c)
{
    return (int)option_int(&exec_options(c->x)->list_max_listpack_size);
}

struct quicklist *list_new(struct call *c)
{
    return quicklist_new(list_fill(c));
}

/* A list goes back to "listpack" only at half of the limit that made it a quicklist, so that it
 * does not change its name at each push and pop. */
static bool well_below_limit(const struct quicklist *ql, const struct listpack *lp)
{
    int fill = quicklist_fill_factor(ql);
    return fill < 0 ? lp_bytes(lp) <= (2048u << (-fill - 1))
                    : quicklist_count(ql) <= (unsigned)fill / 2;
}

void list_settle(struct entry *e)
{
    struct quicklist *ql = list_of(e);
    const struct listpack *lp = quicklist_only_listpack(ql);
    if (lp == NULL) {
        entry_set_ptr(e, ENC_QUICKLIST, ql);
    } else if (entry_enc(e) == ENC_QUICKLIST && well_below_limit(ql, lp)) {
        entry_set_ptr(e, ENC_LISTPACK, ql);
    }
}

/* The list at k for writing, created when it is not there; NULL: replied (wrong type). */
static struct entry *list_make(struct call *c, const struct key *k)
{
    struct entry *e = key_write(c, k);
    if (!key_is(c, e, OBJ_LIST)) {
        return NULL;
    }
    return e != NULL ? e : key_add(c, k, OBJ_LIST, ENC_LISTPACK, list_new(c));
}

/* The live list at k for writing. False: replied, or there is none (*e NULL). */
static bool list_write(struct call *c, const struct key *k, struct entry **e)
{
    *e = key_write(c, k);
    return key_is(c, *e, OBJ_LIST);
}

static bool list_read(struct call *c, const struct key *k, struct entry **e)
{
    *e = key_read(c, k);
    return key_is(c, *e, OBJ_LIST);
}

/* After elements were taken out: an empty list goes. */
void list_shrunk(struct call *c, const struct key *k, struct entry *e)
{
    if (quicklist_count(list_of(e)) == 0) {
        (void)key_delete(c, k);
        notify(c, NOTIFY_GENERIC, "del", k);
    } else {
        list_settle(e);
        key_changed(c, k);
    }
}

void list_reply_value(struct call *c, const struct lp_value *v)
{
    char tmp[I64_TEXT_MAX];
    reply_bulk(c, lp_text(v, tmp));
}

/* ---- Pushing ---- */

/* 0: replied -OOM; elements before the one that failed stay, as far as the list existed or not:
 * a new list that is still empty is taken back. */
uint64_t list_push_values(struct call *c, const struct key *k, enum ql_end end,
                          const struct slice *v, unsigned n)
{
    struct entry *e = list_make(c, k);
    if (e == NULL) {
        return 0;
    }
    unsigned done = 0;
    while (done < n && quicklist_push(list_of(e), end, v[done]) == 0) {
        done++;
    }
    if (done < n) {
        while (done > 0) { /* all or none */
            quicklist_drop(list_of(e), end);
            done--;
        }
        if (quicklist_count(list_of(e)) == 0) {
            (void)key_delete(c, k);
        }
        effect_none(c);
        reply_oom(c);
        return 0;
    }
    list_settle(e);
    uint64_t length = quicklist_count(list_of(e));
    key_changed(c, k);
    call_more_changes(c, (int64_t)n - 1);
    notify(c, NOTIFY_LIST, end == QL_HEAD ? "lpush" : "rpush", k);
    return length;
}

static void push_call(struct call *c, enum ql_end end, bool only_existing)
{
    const struct key *k = &c->keys[0];
    if (only_existing) {
        struct entry *e;
        if (!list_write(c, k, &e)) {
            return;
        }
        if (e == NULL) {
            reply_int(c, 0);
            return;
        }
    }
    uint64_t length = list_push_values(c, k, end, c->argv + 2, c->argc - 2);
    if (length > 0) {
        reply_int(c, (int64_t)length);
    }
}

static void cmd_lpush(struct call *c)
{
    push_call(c, QL_HEAD, false);
}

static void cmd_rpush(struct call *c)
{
    push_call(c, QL_TAIL, false);
}

static void cmd_lpushx(struct call *c)
{
    push_call(c, QL_HEAD, true);
}

static void cmd_rpushx(struct call *c)
{
    push_call(c, QL_TAIL, true);
}

/* ---- Popping ---- */

void list_pop_reply(struct call *c, const struct key *k, struct entry *e, enum ql_end end,
                    uint64_t n)
{
    struct quicklist *ql = list_of(e);
    for (uint64_t i = 0; i < n; i++) {
        struct lp_value v;
        must(quicklist_peek(ql, end, &v));
        list_reply_value(c, &v);
        quicklist_drop(ql, end);
    }
    call_more_changes(c, (int64_t)n - 1);
    notify(c, NOTIFY_LIST, end == QL_HEAD ? "lpop" : "rpop", k);
    list_shrunk(c, k, e);
}

static void pop_call(struct call *c, enum ql_end end)
{
    int64_t n = 1;
    bool counted = c->argc == 3;
    if (c->argc > 3) {
        reply_arity(c);
        return;
    }
    if (counted &&
        !arg_i64_range(c, 2, 0, INT64_MAX, &n, "ERR value is out of range, must be positive")) {
        return;
    }
    struct entry *e;
    if (!list_write(c, &c->keys[0], &e)) {
        return;
    }
    if (e == NULL) {
        if (counted) {
            reply_null_array(c);
        } else {
            reply_null(c);
        }
        return;
    }
    uint64_t have = quicklist_count(list_of(e)), take = (uint64_t)n < have ? (uint64_t)n : have;
    if (counted) {
        reply_array(c, take);
    }
    if (take > 0) {
        list_pop_reply(c, &c->keys[0], e, end, take);
    }
}

static void cmd_lpop(struct call *c)
{
    pop_call(c, QL_HEAD);
}

static void cmd_rpop(struct call *c)
{
    pop_call(c, QL_TAIL);
}

/* ---- Looking ---- */

static void cmd_llen(struct call *c)
{
    struct entry *e;
    if (list_read(c, &c->keys[0], &e)) {
        reply_int(c, e != NULL ? (int64_t)quicklist_count(list_of(e)) : 0);
    }
}

/* A Redis index (negative from the tail) as one from the head; false: outside. */
static bool index_of(const struct quicklist *ql, int64_t i, uint64_t *out)
{
    int64_t n = (int64_t)quicklist_count(ql);
    if (i < 0) {
        i += n;
    }
    if (i < 0 || i >= n) {
        return false;
    }
    *out = (uint64_t)i;
    return true;
}

static void cmd_lindex(struct call *c)
{
    struct entry *e;
    int64_t i;
    uint64_t at;
    struct lp_value v;
    if (!list_read(c, &c->keys[0], &e)) {
        return;
    }
    if (e == NULL) {
        reply_null(c);
    } else if (arg_i64(c, 2, &i)) {
        if (index_of(list_of(e), i, &at) && quicklist_get(list_of(e), at, &v)) {
            list_reply_value(c, &v);
        } else {
            reply_null(c);
        }
    }
}

static void cmd_lrange(struct call *c)
{
    struct entry *e;
    int64_t start, stop;
    uint64_t first, count;
    if (!arg_i64(c, 2, &start) || !arg_i64(c, 3, &stop) || !list_read(c, &c->keys[0], &e)) {
        return;
    }
    if (e == NULL || !index_range(start, stop, quicklist_count(list_of(e)), &first, &count)) {
        reply_array(c, 0);
        return;
    }
    struct ql_iter it;
    struct lp_value v;
    reply_array(c, count);
    quicklist_iter(&it, list_of(e), first, true);
    for (uint64_t i = 0; i < count; i++) {
        must(quicklist_next(&it, &v));
        list_reply_value(c, &v);
    }
}

struct lpos_args {
    int64_t rank, count, maxlen;
    bool counted;
};

static bool lpos_parse(struct call *c, struct lpos_args *a)
{
    for (unsigned i = 3; i < c->argc; i += 2) {
        if (i + 1 >= c->argc) {
            reply_syntax(c);
            return false;
        }
        if (arg_is(c, i, "rank")) {
            if (!arg_i64_range(c, i + 1, -INT64_MAX, INT64_MAX, &a->rank, NULL)) {
                return false;
            }
            if (a->rank == 0) {
                reply_error(c, "ERR RANK can't be zero: use 1 to start from the first match, 2 "
                               "from the second ... or use negative to start from the end of "
                               "the list");
                return false;
            }
        } else if (arg_is(c, i, "count")) {
            a->counted = true;
            if (!arg_i64_range(c, i + 1, 0, INT64_MAX, &a->count, "ERR COUNT can't be negative")) {
                return false;
            }
        } else if (arg_is(c, i, "maxlen")) {
            if (!arg_i64_range(c, i + 1, 0, INT64_MAX, &a->maxlen,
                               "ERR MAXLEN can't be negative")) {
                return false;
            }
        } else {
            reply_syntax(c);
            return false;
        }
    }
    return true;
}

static void cmd_lpos(struct call *c)
{
    struct lpos_args a = { .rank = 1 };
    struct entry *e;
    if (!lpos_parse(c, &a) || !list_read(c, &c->keys[0], &e)) {
        return;
    }
    bool forward = a.rank > 0;
    int64_t skip = (forward ? a.rank : -a.rank) - 1, found = 0, first = -1;
    struct out_block *hole = a.counted ? reply_array_deferred(c) : NULL;
    if (e != NULL) {
        struct lp_needle needle = lp_needle_of(c->argv[2]);
        struct ql_iter it;
        struct lp_value v;
        quicklist_iter(&it, list_of(e), forward ? 0 : quicklist_count(list_of(e)) - 1, forward);
        for (int64_t seen = 0; quicklist_next(&it, &v) && (a.maxlen == 0 || seen < a.maxlen);
             seen++) {
            if (!lp_matches(&needle, &v) || skip-- > 0) {
                continue;
            }
            found++;
            first = (int64_t)quicklist_iter_index(&it);
            if (!a.counted) {
                break;
            }
            reply_int(c, first);
            if (a.count > 0 && found >= a.count) {
                break;
            }
        }
    }
    if (a.counted) {
        reply_array_fill(c, hole, (size_t)found);
    } else if (found > 0) {
        reply_int(c, first);
    } else {
        reply_null(c);
    }
}

/* ---- Changing ---- */

/* Redis decides whether a list is still a listpack before it takes the old element out. */
static bool outgrows(const struct entry *e, struct slice v)
{
    const struct quicklist *ql = list_of(e);
    const struct listpack *lp = quicklist_only_listpack(ql);
    if (lp == NULL) {
        return true;
    }
    int fill = quicklist_fill_factor(ql);
    size_t bytes = lp_bytes(lp) + v.n;
    return fill < 0 ? bytes > (4096u << (-fill - 1))
                    : bytes > 8192 || quicklist_count(ql) + 1 > (unsigned)fill;
}

static void cmd_lset(struct call *c)
{
    struct entry *e;
    int64_t i;
    uint64_t at;
    if (!list_write(c, &c->keys[0], &e)) {
        return;
    }
    if (e == NULL) {
        reply_no_key(c);
    } else if (arg_i64(c, 2, &i)) {
        bool large = outgrows(e, c->argv[3]);
        if (!index_of(list_of(e), i, &at)) {
            reply_error(c, "ERR index out of range");
        } else if (quicklist_set(list_of(e), at, c->argv[3]) != 0) {
            reply_oom(c);
        } else {
            if (large) {
                entry_set_ptr(e, ENC_QUICKLIST, list_of(e));
            }
            list_settle(e);
            key_changed(c, &c->keys[0]);
            notify(c, NOTIFY_LIST, "lset", &c->keys[0]);
            reply_ok(c);
        }
    }
}

static void cmd_linsert(struct call *c)
{
    bool after = arg_is(c, 2, "after");
    struct entry *e;
    if (!after && !arg_is(c, 2, "before")) {
        reply_syntax(c);
        return;
    }
    if (!list_write(c, &c->keys[0], &e)) {
        return;
    }
    if (e == NULL) {
        reply_int(c, 0);
        return;
    }
    struct lp_needle needle = lp_needle_of(c->argv[3]);
    struct ql_iter it;
    struct lp_value v;
    quicklist_iter(&it, list_of(e), 0, true);
    while (quicklist_next(&it, &v)) {
        if (!lp_matches(&needle, &v)) {
            continue;
        }
        if (quicklist_insert(list_of(e), quicklist_iter_index(&it) + after, c->argv[4]) != 0) {
            reply_oom(c);
            return;
        }
        list_settle(e);
        key_changed(c, &c->keys[0]);
        notify(c, NOTIFY_LIST, "linsert", &c->keys[0]);
        reply_int(c, (int64_t)quicklist_count(list_of(e)));
        return;
    }
    reply_int(c, -1);
}

static void cmd_lrem(struct call *c)
{
    struct entry *e;
    int64_t n, removed = 0;
    if (!arg_i64(c, 2, &n) || !list_write(c, &c->keys[0], &e)) {
        return;
    }
    if (e != NULL) {
        struct lp_needle needle = lp_needle_of(c->argv[3]);
        struct ql_iter it;
        struct lp_value v;
        bool forward = n >= 0;
        int64_t limit = n == 0 || n == INT64_MIN ? INT64_MAX : forward ? n : -n;
        quicklist_iter(&it, list_of(e), forward ? 0 : quicklist_count(list_of(e)) - 1, forward);
        while (removed < limit && quicklist_next(&it, &v)) {
            if (lp_matches(&needle, &v)) {
                quicklist_iter_delete(list_of(e), &it);
                removed++;
            }
        }
        if (removed > 0) {
            call_more_changes(c, removed - 1);
            notify(c, NOTIFY_LIST, "lrem", &c->keys[0]);
            list_shrunk(c, &c->keys[0], e);
        }
    }
    reply_int(c, removed);
}

static void cmd_ltrim(struct call *c)
{
    struct entry *e;
    int64_t start, stop;
    uint64_t first = 0, count = 0;
    if (!arg_i64(c, 2, &start) || !arg_i64(c, 3, &stop) || !list_write(c, &c->keys[0], &e)) {
        return;
    }
    if (e != NULL) {
        struct quicklist *ql = list_of(e);
        uint64_t all = quicklist_count(ql);
        if (!index_range(start, stop, all, &first, &count)) {
            first = all;
            count = 0;
        }
        quicklist_delete(ql, first + count, all - first - count);
        quicklist_delete(ql, 0, first);
        call_more_changes(c, (int64_t)(all - count) - 1);
        notify(c, NOTIFY_LIST, "ltrim", &c->keys[0]);
        list_shrunk(c, &c->keys[0], e);
    }
    reply_ok(c);
}

#define LIST_KEY(fl) .keys = { KEY_AT(1, fl) }
#define LIST_ROW     .acl = ACL_LIST, .group = "list"
const struct command list_commands[] = {
    { .name = "lpush",
      .proc = cmd_lpush,
      .arity = -3,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
      LIST_ROW,
      LIST_KEY(KEY_RW | KEY_INSERT),
      .since = "1.0.0",
      .complexity = "O(1) for each element added, so O(N) to add N elements when the command is "
                    "called with multiple arguments.",
      .summary = "Prepend one or multiple elements to a list",
      .syntax = "key element...",
      .history = "2.4.0:Accepts multiple `element` arguments." },
    { .name = "rpush",
      .proc = cmd_rpush,
      .arity = -3,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
      LIST_ROW,
      LIST_KEY(KEY_RW | KEY_INSERT),
      .since = "1.0.0",
      .complexity = "O(1) for each element added, so O(N) to add N elements when the command is "
                    "called with multiple arguments.",
      .summary = "Append one or multiple elements to a list",
      .syntax = "key element...",
      .history = "2.4.0:Accepts multiple `element` arguments." },
    { .name = "lpushx",
      .proc = cmd_lpushx,
      .arity = -3,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
      LIST_ROW,
      LIST_KEY(KEY_RW | KEY_INSERT),
      .since = "2.2.0",
      .complexity = "O(1) for each element added, so O(N) to add N elements when the command is "
                    "called with multiple arguments.",
      .summary = "Prepend an element to a list, only if the list exists",
      .syntax = "key element...",
      .history = "4.0.0:Accepts multiple `element` arguments." },
    { .name = "rpushx",
      .proc = cmd_rpushx,
      .arity = -3,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
      LIST_ROW,
      LIST_KEY(KEY_RW | KEY_INSERT),
      .since = "2.2.0",
      .complexity = "O(1) for each element added, so O(N) to add N elements when the command is "
                    "called with multiple arguments.",
      .summary = "Append an element to a list, only if the list exists",
      .syntax = "key element...",
      .history = "4.0.0:Accepts multiple `element` arguments." },
    { .name = "lpop",
      .proc = cmd_lpop,
      .arity = -2,
      .flags = CMD_WRITE | CMD_FAST,
      LIST_ROW,
      LIST_KEY(KEY_RW | KEY_ACCESS | KEY_DELETE),
      .since = "1.0.0",
      .complexity = "O(N) where N is the number of elements returned",
      .summary = "Remove and get the first elements in a list",
      .syntax = "key [count:int]@6.2.0",
      .history = "6.2.0:Added the `count` argument." },
    { .name = "rpop",
      .proc = cmd_rpop,
      .arity = -2,
      .flags = CMD_WRITE | CMD_FAST,
      LIST_ROW,
      LIST_KEY(KEY_RW | KEY_ACCESS | KEY_DELETE),
      .since = "1.0.0",
      .complexity = "O(N) where N is the number of elements returned",
      .summary = "Remove and get the last elements in a list",
      .syntax = "key [count:int]@6.2.0",
      .history = "6.2.0:Added the `count` argument." },
    { .name = "llen",
      .proc = cmd_llen,
      .arity = 2,
      .flags = CMD_READONLY | CMD_FAST,
      LIST_ROW,
      LIST_KEY(KEY_RO),
      .since = "1.0.0",
      .complexity = "O(1)",
      .summary = "Get the length of a list",
      .syntax = "key" },
    { .name = "lindex",
      .proc = cmd_lindex,
      .arity = 3,
      .flags = CMD_READONLY,
      LIST_ROW,
      LIST_KEY(KEY_RO | KEY_ACCESS),
      .since = "1.0.0",
      .complexity = "O(N) where N is the number of elements to traverse to get to the element at "
                    "index. This makes asking for the first or the last element of the list O(1).",
      .summary = "Get an element from a list by its index",
      .syntax = "key index:int" },
    { .name = "lrange",
      .proc = cmd_lrange,
      .arity = 4,
      .flags = CMD_READONLY,
      LIST_ROW,
      LIST_KEY(KEY_RO | KEY_ACCESS),
      .since = "1.0.0",
      .complexity = "O(S+N) where S is the distance of start offset from HEAD for small lists, "
                    "from nearest end (HEAD or TAIL) for large lists; and N is the number of "
                    "elements in the specified range.",
      .summary = "Get a range of elements from a list",
      .syntax = "key start:int stop:int" },
    { .name = "lpos",
      .proc = cmd_lpos,
      .arity = -3,
      .flags = CMD_READONLY,
      LIST_ROW,
      LIST_KEY(KEY_RO | KEY_ACCESS),
      .since = "6.0.6",
      .complexity = "O(N) where N is the number of elements in the list, for the average case. "
                    "When searching for elements near the head or the tail of the list, or when "
                    "the MAXLEN option is provided, the command may run in constant time.",
      .summary = "Return the index of matching elements on a list",
      .syntax = "key element [RANK rank:int] [COUNT num-matches:int] [MAXLEN len:int]" },
    { .name = "lset",
      .proc = cmd_lset,
      .arity = 4,
      .flags = CMD_WRITE | CMD_DENYOOM,
      LIST_ROW,
      LIST_KEY(KEY_RW | KEY_UPDATE),
      .since = "1.0.0",
      .complexity = "O(N) where N is the length of the list. Setting either the first or the last "
                    "element of the list is O(1).",
      .summary = "Set the value of an element in a list by its index",
      .syntax = "key index:int element" },
    { .name = "linsert",
      .proc = cmd_linsert,
      .arity = 5,
      .flags = CMD_WRITE | CMD_DENYOOM,
      LIST_ROW,
      LIST_KEY(KEY_RW | KEY_INSERT),
      .since = "2.2.0",
      .complexity =
          "O(N) where N is the number of elements to traverse before seeing the value pivot. This "
          "means that inserting somewhere on the left end on the list (head) can be considered "
          "O(1) and inserting somewhere on the right end (tail) is O(N).",
      .summary = "Insert an element before or after another element in a list",
      .syntax = "key where=<BEFORE|AFTER> pivot element" },
    { .name = "lrem",
      .proc = cmd_lrem,
      .arity = 4,
      .flags = CMD_WRITE,
      LIST_ROW,
      LIST_KEY(KEY_RW | KEY_DELETE),
      .since = "1.0.0",
      .complexity =
          "O(N+M) where N is the length of the list and M is the number of elements removed.",
      .summary = "Remove elements from a list",
      .syntax = "key count:int element" },
    { .name = "ltrim",
      .proc = cmd_ltrim,
      .arity = 4,
      .flags = CMD_WRITE,
      LIST_ROW,
      LIST_KEY(KEY_RW | KEY_DELETE),
      .since = "1.0.0",
      .complexity = "O(N) where N is the number of elements to be removed by the operation.",
      .summary = "Trim a list to the specified range",
      .syntax = "key start:int stop:int" },
    { .name = NULL },
};
