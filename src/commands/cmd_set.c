/* cmd_set.c -- Sets: adding, removing, moving, looking.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A set is a struct set (ds/set.h) whose form is the entry's encoding. An empty set does not exist:
 * whoever takes the last member deletes the key. */
#include "commands/set.h"
#include "commands/scan.h"
#include "base/mem.h"

struct set_limits set_limits_of(struct call *c)
{
    struct exec_options *o = exec_options(c->x);
    return (struct set_limits){ (uint64_t)option_int(&o->set_max_intset_entries),
                                (uint64_t)option_int(&o->set_max_listpack_entries),
                                (uint64_t)option_int(&o->set_max_listpack_value) };
}

static bool set_in(struct call *c, struct entry *e, struct set *s)
{
    if (!key_is(c, e, OBJ_SET)) {
        return false;
    }
    if (e != NULL) {
        entry_get_set(e, s);
    }
    return true;
}

bool set_read(struct call *c, const struct key *k, struct entry **e, struct set *s)
{
    *e = key_read(c, k);
    return set_in(c, *e, s);
}

bool set_write(struct call *c, const struct key *k, struct entry **e, struct set *s)
{
    *e = key_write(c, k);
    return set_in(c, *e, s);
}

void set_shrunk(struct call *c, const struct key *k, struct entry *e, const struct set *s)
{
    entry_put_set(e, s);
    if (set_count(s) == 0) {
        (void)key_delete(c, k);
        notify(c, NOTIFY_GENERIC, "del", k);
    } else {
        key_changed(c, k);
    }
}

void set_reply_member(struct call *c, struct set_member *m)
{
    reply_bulk(c, set_text(m));
}

void set_reply_all(struct call *c, const struct set *s)
{
    struct set_iter it;
    struct set_member m;
    reply_set(c, set_count(s));
    set_iter(&it, s, 0);
    while (set_next(&it, &m)) {
        set_reply_member(c, &m);
    }
}

/* ---- Adding and removing ---- */

/* Which of the arguments were new, to take them back when memory ends. */
struct added {
    uint64_t few;
    uint64_t *bits; /* &few, or an allocation */
    int64_t count;
};

static bool added_begin(struct added *a, unsigned n)
{
    *a = (struct added){ 0 };
    a->bits = n <= 64 ? &a->few : mem_try_calloc((n + 63) / 64 * sizeof *a->bits);
    return a->bits != NULL;
}

static void added_end(struct added *a)
{
    if (a->bits != &a->few) {
        mem_free(a->bits);
    }
}

/* All or none of the members; false: no memory. */
static bool add_all(struct set *s, const struct slice *v, unsigned n,
                    const struct set_limits *limits, struct added *a)
{
    struct set_member m;
    for (unsigned i = 0; i < n; i++) {
        set_member_text(&m, v[i]);
        int rc = set_add(s, &m, limits);
        if (rc > 0) {
            a->bits[i / 64] |= UINT64_C(1) << (i % 64);
            a->count++;
        } else if (rc < 0) {
            while (i-- > 0) {
                set_member_text(&m, v[i]);
                if (a->bits[i / 64] >> (i % 64) & 1) {
                    (void)set_remove(s, &m);
                }
            }
            return false;
        }
    }
    return true;
}

static void cmd_sadd(struct call *c)
{
    const struct key *k = &c->keys[0];
    const struct slice *v = c->argv + 2;
    unsigned n = c->argc - 2;
    struct set_limits limits = set_limits_of(c);
    struct entry *e;
    struct set s;
    struct added a;
    if (!set_write(c, k, &e, &s)) {
        return;
    }
    if (e == NULL) {
        struct set_member first;
        set_member_text(&first, v[0]);
        set_new(&s, &first, n, &limits);
    }
    bool fine = added_begin(&a, n) && (e == NULL || set_expect(&s, n, &limits) == 0) &&
                add_all(&s, v, n, &limits, &a);
    if (e != NULL) {
        entry_put_set(e, &s);
    } else if (fine) {
        (void)key_add(c, k, OBJ_SET, entry_set_enc(&s), s.p);
    } else {
        set_free(&s);
    }
    if (!fine) {
        reply_oom(c);
    } else {
        if (a.count > 0) {
            if (e != NULL) {
                key_changed(c, k);
            }
            call_more_changes(c, (int64_t)a.count - 1);
            notify(c, NOTIFY_SET, "sadd", k);
        }
        reply_int(c, a.count);
    }
    added_end(&a);
}

static void cmd_srem(struct call *c)
{
    const struct key *k = &c->keys[0];
    struct entry *e;
    struct set s;
    struct set_member m;
    int64_t removed = 0;
    if (!set_write(c, k, &e, &s)) {
        return;
    }
    for (unsigned i = 2; e != NULL && i < c->argc && set_count(&s) > 0; i++) {
        set_member_text(&m, c->argv[i]);
        removed += set_remove(&s, &m);
    }
    if (removed > 0) {
        call_more_changes(c, removed - 1);
        notify(c, NOTIFY_SET, "srem", k);
        set_shrunk(c, k, e, &s);
    }
    reply_int(c, removed);
}

/* What may fail comes first: the member is in the destination before it leaves the source. */
static void move_member(struct call *c, struct entry *from, struct set *src, struct entry *to,
                        struct set *dst, struct set_member *m)
{
    const struct key *k = &c->keys[0], *l = &c->keys[1];
    struct set_limits limits = set_limits_of(c);
    if (to == NULL) {
        set_new(dst, m, 1, &limits);
    }
    int rc = set_add(dst, m, &limits);
    if (to != NULL) {
        entry_put_set(to, dst);
    }
    if (rc < 0) {
        if (to == NULL) {
            set_free(dst);
        }
        reply_oom(c);
        return;
    }
    must(set_remove(src, m));
    notify(c, NOTIFY_SET, "srem", k);
    set_shrunk(c, k, from, src);
    if (to == NULL) {
        (void)key_add(c, l, OBJ_SET, entry_set_enc(dst), dst->p);
    }
    if (rc > 0) {
        if (to != NULL) {
            key_changed(c, l);
        }
        notify(c, NOTIFY_SET, "sadd", l);
    }
    reply_int(c, 1);
}

static void cmd_smove(struct call *c)
{
    struct entry *from = key_write(c, &c->keys[0]), *to = key_write(c, &c->keys[1]);
    struct set src, dst;
    struct set_member m;
    if (from == NULL) {
        reply_int(c, 0);
        return;
    }
    if (!set_in(c, from, &src) || !set_in(c, to, &dst)) {
        return;
    }
    set_member_text(&m, c->argv[3]);
    bool there = set_has(&src, &m);
    if (!there || from == to) {
        reply_int(c, there);
    } else {
        move_member(c, from, &src, to, &dst, &m);
    }
}

/* ---- Looking ---- */

static void cmd_scard(struct call *c)
{
    struct entry *e;
    struct set s;
    if (set_read(c, &c->keys[0], &e, &s)) {
        reply_int(c, e != NULL ? (int64_t)set_count(&s) : 0);
    }
}

static bool has_arg(struct call *c, const struct set *s, unsigned i)
{
    struct set_member m;
    set_member_text(&m, c->argv[i]);
    return set_has(s, &m);
}

static void cmd_sismember(struct call *c)
{
    struct entry *e;
    struct set s;
    if (set_read(c, &c->keys[0], &e, &s)) {
        reply_int(c, e != NULL && has_arg(c, &s, 2));
    }
}

static void cmd_smismember(struct call *c)
{
    struct entry *e;
    struct set s;
    if (!set_read(c, &c->keys[0], &e, &s)) {
        return;
    }
    reply_array(c, c->argc - 2);
    for (unsigned i = 2; i < c->argc; i++) {
        reply_int(c, e != NULL && has_arg(c, &s, i));
    }
}

static void cmd_smembers(struct call *c)
{
    struct entry *e;
    struct set s;
    if (!set_read(c, &c->keys[0], &e, &s)) {
        return;
    }
    if (e != NULL) {
        set_reply_all(c, &s);
    } else {
        reply_set(c, 0);
    }
}

struct sscan {
    struct call *c;
    struct scan_args want;
    size_t replied;
};

static void sscan_visit(struct sscan *w, struct slice text)
{
    if (scan_matches(&w->want, text)) {
        reply_bulk(w->c, text);
        w->replied++;
    }
}

static void sscan_item(void *arg, const struct btree_item *item)
{
    sscan_visit(arg, item->key);
}

/* Returns the next cursor. What is not a tree is small: it comes at once. */
static uint64_t sscan_walk(struct sscan *w, const struct set *s)
{
    if (s->form == SET_TREE) {
        return scan_tree(s->p, &w->want, sscan_item, w);
    }
    struct set_iter it;
    struct set_member m;
    set_iter(&it, s, 0);
    while (set_next(&it, &m)) {
        sscan_visit(w, set_text(&m));
    }
    return 0;
}

static void cmd_sscan(struct call *c)
{
    struct sscan w = { .c = c };
    struct entry *e;
    struct set s;
    if (!scan_cursor(c, 2, &w.want) || !set_read(c, &c->keys[0], &e, &s)) {
        return;
    }
    if (e == NULL) {
        reply_array(c, 2);
        reply_bulk(c, S("0"));
        reply_array(c, 0);
        return;
    }
    if (!scan_options(c, 3, 0, &w.want)) {
        return;
    }
    reply_array(c, 2);
    struct out_block *cursor = reply_array_deferred(c); /* known after the members */
    struct out_block *hole = reply_array_deferred(c);
    uint64_t next = sscan_walk(&w, &s);
    reply_array_fill(c, hole, w.replied);
    reply_bulk_u64_fill(c, cursor, next);
}

#define SET_ROW .acl = ACL_SET, .group = "set"
const struct command set_commands[] = {
    { .name = "sadd",
      .proc = cmd_sadd,
      .ahead = AHEAD_MEMBER,
      .arity = -3,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
      SET_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_INSERT) },
      .since = "1.0.0",
      .complexity = "O(1) for each element added, so O(N) to add N elements when the command is "
                    "called with multiple arguments.",
      .summary = "Add one or more members to a set",
      .syntax = "key member...",
      .history = "2.4.0:Accepts multiple `member` arguments." },
    { .name = "srem",
      .proc = cmd_srem,
      .ahead = AHEAD_MEMBER,
      .arity = -3,
      .flags = CMD_WRITE | CMD_FAST,
      SET_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_DELETE) },
      .since = "1.0.0",
      .complexity = "O(N) where N is the number of members to be removed.",
      .summary = "Remove one or more members from a set",
      .syntax = "key member...",
      .history = "2.4.0:Accepts multiple `member` arguments." },
    { .name = "smove",
      .proc = cmd_smove,
      .arity = 4,
      .flags = CMD_WRITE | CMD_FAST,
      SET_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE), KEY_AT(2, KEY_RW | KEY_INSERT) },
      .since = "1.0.0",
      .complexity = "O(1)",
      .summary = "Move a member from one set to another",
      .syntax = "source:key destination:key1 member" },
    { .name = "scard",
      .proc = cmd_scard,
      .arity = 2,
      .flags = CMD_READONLY | CMD_FAST,
      SET_ROW,
      .keys = { KEY_AT(1, KEY_RO) },
      .since = "1.0.0",
      .complexity = "O(1)",
      .summary = "Get the number of members in a set",
      .syntax = "key" },
    { .name = "sismember",
      .proc = cmd_sismember,
      .ahead = AHEAD_MEMBER,
      .arity = 3,
      .flags = CMD_READONLY | CMD_FAST,
      SET_ROW,
      .keys = { KEY_AT(1, KEY_RO) },
      .since = "1.0.0",
      .complexity = "O(1)",
      .summary = "Determine if a given value is a member of a set",
      .syntax = "key member" },
    { .name = "smismember",
      .proc = cmd_smismember,
      .ahead = AHEAD_MEMBER,
      .arity = -3,
      .flags = CMD_READONLY | CMD_FAST,
      SET_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "6.2.0",
      .complexity = "O(N) where N is the number of elements being checked for membership",
      .summary = "Returns the membership associated with the given elements for a set",
      .syntax = "key member..." },
    { .name = "smembers",
      .proc = cmd_smembers,
      .arity = 2,
      .flags = CMD_READONLY,
      SET_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "1.0.0",
      .complexity = "O(N) where N is the set cardinality.",
      .summary = "Get all the members in a set",
      .syntax = "key",
      .tips = "nondeterministic_output_order" },
    { .name = "sscan",
      .proc = cmd_sscan,
      .arity = -3,
      .flags = CMD_READONLY,
      SET_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "2.8.0",
      .complexity =
          "O(1) for every call. O(N) for a complete iteration, including enough command calls for "
          "the cursor to return back to 0. N is the number of elements inside the collection..",
      .summary = "Incrementally iterate Set elements",
      .syntax = "key cursor:int [MATCH pattern:pattern] [COUNT count:int]",
      .tips = "nondeterministic_output" },
    { .name = NULL },
};
