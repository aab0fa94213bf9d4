/* cmd_hash.c -- Hashes: setting, counting up, removing, looking.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A hash is a struct fields (ds/fields.h) whose form is the entry's encoding. An empty hash does
 * not exist: whoever takes the last field deletes the key. */
#include "commands/hash.h"
#include "commands/scan.h"

struct fields_limits hash_limits(struct call *c)
{
    struct exec_options *o = exec_options(c->x);
    return (struct fields_limits){ (uint64_t)option_int(&o->hash_max_listpack_entries),
                                   (uint64_t)option_int(&o->hash_max_listpack_value) };
}

static bool hash_in(struct call *c, struct entry *e, struct fields *f)
{
    if (!key_is(c, e, OBJ_HASH)) {
        return false;
    }
    if (e != NULL) {
        entry_get_fields(e, call_view(c), f);
    }
    return true;
}

bool hash_read(struct call *c, const struct key *k, struct entry **e, struct fields *f)
{
    *e = key_read(c, k);
    return hash_in(c, *e, f);
}

bool hash_write(struct call *c, const struct key *k, struct entry **e, struct fields *f)
{
    *e = key_write(c, k);
    return hash_in(c, *e, f);
}

bool hash_write_named(struct call *c, const struct key *k, unsigned first, unsigned step,
                      struct entry **e, struct fields *f)
{
    if (!hash_write(c, k, e, f)) {
        return false;
    }
    return *e == NULL || first >= c->argc ||
           key_drop_due(c, k, *e, f, c->argv + first, (c->argc - first + step - 1) / step, step);
}

/* ---- Setting ---- */

void hash_stored(struct call *c, const struct key *k, struct entry *e, const struct fields *f)
{
    if (e == NULL) {
        (void)key_add(c, k, OBJ_HASH, entry_fields_enc(f), f->p);
    } else {
        key_put_fields(c, k, e, f);
        key_changed(c, k);
    }
}

static void stored(struct call *c, struct entry *e, const struct fields *f, const char *event)
{
    hash_stored(c, &c->keys[0], e, f);
    notify(c, NOTIFY_HASH, event, &c->keys[0]);
}

int64_t hash_put_all(struct fields *f, const struct slice *pair, unsigned n, int64_t due,
                     const struct fields_limits *limits)
{
    struct fields before = { .p = NULL };
    bool may_fail = n > 1 && fields_turn_may_fail(f);
    for (unsigned i = 0; n > 1 && i < n && !may_fail; i++) {
        may_fail = fields_may_fail(pair[2 * i], pair[2 * i + 1]);
    }
    if (may_fail && !fields_dup(f, &before)) {
        return -1;
    }
    int64_t added = 0;
    for (unsigned i = 0; i < n && added >= 0; i++) {
        int rc = fields_put_due(f, pair[2 * i], pair[2 * i + 1], due, limits);
        added = rc < 0 ? -1 : added + rc;
    }
    if (may_fail && added < 0) {
        struct fields half = *f;
        *f = before;
        before = half;
    }
    if (may_fail) {
        fields_free(&before);
    }
    return added;
}

/* The pairs at argv[2]: false after having replied. */
static bool hset_call(struct call *c, int64_t *added)
{
    struct entry *e;
    struct fields f;
    if (c->argc % 2 != 0) {
        reply_arity(c);
        return false;
    }
    if (!hash_write_named(c, &c->keys[0], 2, 2, &e, &f)) {
        return false;
    }
    if (e == NULL) {
        fields_new(&f);
    }
    struct fields_limits limits = hash_limits(c);
    *added = hash_put_all(&f, c->argv + 2, (c->argc - 2) / 2, BTREE_NO_DUE, &limits);
    if (*added >= 0) {
        stored(c, e, &f, "hset");
        call_more_changes(c, (int64_t)(c->argc - 2) / 2 - 1);
        return true;
    }
    if (e != NULL) {
        key_put_fields(c, &c->keys[0], e, &f);
    } else {
        fields_free(&f);
    }
    reply_oom(c);
    return false;
}

static void cmd_hset(struct call *c)
{
    int64_t added;
    if (hset_call(c, &added)) {
        reply_int(c, added);
    }
}

static void cmd_hmset(struct call *c)
{
    int64_t added;
    if (hset_call(c, &added)) {
        reply_ok(c);
    }
}

/* One field of the hash that hash_write_named() gave; false: replied -OOM. */
static bool put_one(struct call *c, struct entry *e, struct fields *f, struct slice value,
                    int64_t due, const char *event)
{
    struct fields_limits limits = hash_limits(c);
    if (e == NULL) {
        fields_new(f);
    }
    if (fields_put_due(f, c->argv[2], value, due, &limits) < 0) {
        if (e != NULL) {
            key_put_fields(c, &c->keys[0], e, f);
        } else {
            fields_free(f);
        }
        reply_oom(c);
        return false;
    }
    stored(c, e, f, event);
    return true;
}

static void cmd_hsetnx(struct call *c)
{
    struct entry *e;
    struct fields f;
    struct slice value;
    char digits[I64_TEXT_MAX];
    if (!hash_write_named(c, &c->keys[0], 2, 2, &e, &f)) {
        return;
    }
    if (e != NULL && fields_get(&f, c->argv[2], digits, &value)) {
        reply_int(c, 0);
    } else if (put_one(c, e, &f, c->argv[3], BTREE_NO_DUE, "hset")) {
        EFFECT(c, S("HSET"), c->keys[0].s, c->argv[2], c->argv[3]);
        reply_int(c, 1);
    }
}

static void cmd_hincrby(struct call *c)
{
    struct entry *e;
    struct fields f;
    struct slice value;
    int64_t v = 0, by;
    char text[I64_TEXT_MAX];
    if (!arg_i64(c, 3, &by) || !hash_write_named(c, &c->keys[0], 2, 2, &e, &f)) {
        return;
    }
    if (e != NULL && fields_get(&f, c->argv[2], text, &value) && !parse_i64(value, &v)) {
        reply_error(c, "ERR hash value is not an integer");
    } else if (__builtin_add_overflow(v, by, &v)) {
        reply_error(c, "ERR increment or decrement would overflow");
    } else if (put_one(c, e, &f, slice_of(text, format_i64(text, v)), FIELDS_KEEP_DUE, "hincrby")) {
        reply_int(c, v);
    }
}

static void cmd_hincrbyfloat(struct call *c)
{
    struct entry *e;
    struct fields f;
    struct slice value;
    long double v = 0, by;
    char text[LD_TEXT_MAX];
    if (!arg_ld(c, 3, &by)) {
        return;
    }
    if (__builtin_isnan(by) || __builtin_isinf(by)) {
        reply_error(c, "ERR value is NaN or Infinity");
        return;
    }
    if (!hash_write_named(c, &c->keys[0], 2, 2, &e, &f)) {
        return;
    }
    if (e != NULL && fields_get(&f, c->argv[2], text, &value) && !parse_ld(value, &v)) {
        reply_error(c, "ERR hash value is not a float");
        return;
    }
    v += by;
    if (__builtin_isnan(v) || __builtin_isinf(v)) {
        reply_error(c, "ERR increment would produce NaN or Infinity");
        return;
    }
    struct slice s = slice_of(text, format_ld(text, v));
    int64_t due = BTREE_NO_DUE;
    bool timed = e != NULL && fields_get_due(&f, c->argv[2], &due) && due != BTREE_NO_DUE;
    if (put_one(c, e, &f, s, due, "hincrbyfloat")) {
        EFFECT(c, S("HSET"), c->keys[0].s, c->argv[2], s);
        if (timed) { /* HSET has ended it */
            struct slice argv[HASH_DUES_HEAD + 1];
            argv[HASH_DUES_HEAD] = c->argv[2];
            hash_dues_effect(c, &c->keys[0], argv, 1, due);
        }
        reply_bulk(c, s);
    }
}

void hash_shrunk(struct call *c, const struct key *k, struct entry *e, const struct fields *f)
{
    key_put_fields(c, k, e, f);
    notify(c, NOTIFY_HASH, "hdel", k);
    if (fields_count(f) > 0) {
        key_changed(c, k);
    } else if (key_delete(c, k)) { /* false: what is left is due, and was deleted as such */
        notify(c, NOTIFY_GENERIC, "del", k);
    }
}

static void cmd_hdel(struct call *c)
{
    const struct key *k = &c->keys[0];
    struct entry *e;
    struct fields f;
    int64_t removed = 0;
    if (!hash_write_named(c, k, 2, 1, &e, &f)) {
        return;
    }
    for (unsigned i = 2; e != NULL && i < c->argc && fields_count(&f) > 0; i++) {
        removed += fields_remove(&f, c->argv[i]);
    }
    if (removed > 0) {
        call_more_changes(c, removed - 1);
        hash_shrunk(c, k, e, &f);
    }
    reply_int(c, removed);
}

/* ---- Looking ---- */

static void cmd_hlen(struct call *c)
{
    struct entry *e;
    struct fields f;
    if (hash_read(c, &c->keys[0], &e, &f)) {
        reply_int(c, e != NULL ? (int64_t)fields_count(&f) : 0);
    }
}

/* The field at argv[2]: -1: replied, 0: not there, 1: *value. */
static int look_at(struct call *c, char digits[I64_TEXT_MAX], struct slice *value)
{
    struct entry *e;
    struct fields f;
    if (!hash_read(c, &c->keys[0], &e, &f)) {
        return -1;
    }
    return e != NULL && fields_get(&f, c->argv[2], digits, value);
}

static void cmd_hget(struct call *c)
{
    char digits[I64_TEXT_MAX];
    struct slice value;
    int there = look_at(c, digits, &value);
    if (there > 0) {
        reply_bulk(c, value);
    } else if (there == 0) {
        reply_null(c);
    }
}

static void cmd_hexists(struct call *c)
{
    char digits[I64_TEXT_MAX];
    struct slice value;
    int there = look_at(c, digits, &value);
    if (there >= 0) {
        reply_int(c, there);
    }
}

static void cmd_hstrlen(struct call *c)
{
    char digits[I64_TEXT_MAX];
    struct slice value;
    int there = look_at(c, digits, &value);
    if (there >= 0) {
        reply_int(c, there > 0 ? (int64_t)value.n : 0);
    }
}

static void cmd_hmget(struct call *c)
{
    struct entry *e;
    struct fields f;
    char digits[I64_TEXT_MAX];
    struct slice value;
    if (!hash_read(c, &c->keys[0], &e, &f)) {
        return;
    }
    reply_array(c, c->argc - 2);
    for (unsigned i = 2; i < c->argc; i++) {
        if (e != NULL && fields_get(&f, c->argv[i], digits, &value)) {
            reply_bulk(c, value);
        } else {
            reply_null(c);
        }
    }
}

static void reply_all(struct call *c, bool fields, bool values)
{
    struct entry *e;
    struct fields f;
    if (!hash_read(c, &c->keys[0], &e, &f)) {
        return;
    }
    uint64_t n = e != NULL ? fields_count(&f) : 0;
    if (fields && values) {
        reply_map(c, n);
    } else {
        reply_array(c, n);
    }
    if (e == NULL) {
        return;
    }
    struct fields_iter it;
    struct fields_item item;
    fields_iter(&it, &f, 0);
    while (fields_next(&it, &item)) {
        if (fields) {
            reply_bulk(c, item.field);
        }
        if (values) {
            reply_bulk(c, item.value);
        }
    }
}

static void cmd_hgetall(struct call *c)
{
    reply_all(c, true, true);
}

static void cmd_hkeys(struct call *c)
{
    reply_all(c, true, false);
}

static void cmd_hvals(struct call *c)
{
    reply_all(c, false, true);
}

/* ---- HSCAN ---- */

struct hscan {
    struct call *c;
    const struct fields *f;
    struct scan_args want;
    size_t replied;
};

static void hscan_visit(struct hscan *w, struct slice field, struct slice value)
{
    if (scan_matches(&w->want, field)) {
        reply_bulk(w->c, field);
        w->replied++;
        if (!w->want.no_values) {
            reply_bulk(w->c, value);
            w->replied++;
        }
    }
}

static void hscan_item(void *arg, const struct btree_item *item)
{
    struct hscan *w = arg;
    if (!fields_hides(w->f, item->due)) {
        hscan_visit(w, item->key, item->value);
    }
}

/* Returns the next cursor. What is not a tree is small: it comes at once. */
static uint64_t hscan_walk(struct hscan *w, const struct fields *f)
{
    const struct btree *tree = fields_tree(f);
    if (tree != NULL) {
        w->f = f;
        return scan_tree(tree, &w->want, hscan_item, w);
    }
    struct fields_iter it;
    struct fields_item item;
    fields_iter(&it, f, 0);
    while (fields_next(&it, &item)) {
        hscan_visit(w, item.field, item.value);
    }
    return 0;
}

static void cmd_hscan(struct call *c)
{
    struct hscan w = { .c = c };
    struct entry *e;
    struct fields f;
    if (!scan_cursor(c, 2, &w.want) || !hash_read(c, &c->keys[0], &e, &f)) {
        return;
    }
    if (e == NULL) {
        scan_reply_nothing(c);
    } else if (scan_options(c, 3, SCAN_WITH_NOVALUES, &w.want)) {
        struct scan_reply r = scan_reply_begin(c);
        uint64_t next = hscan_walk(&w, &f);
        scan_reply_end(c, &r, next, w.replied);
    }
}

/* ---- Rows ---- */

#define HASH_ROW     .acl = ACL_HASH, .group = "hash"
#define HASH_KEY(fl) .keys = { KEY_AT(1, fl) }
const struct command hash_commands[] = {
    { .name = "hset",
      .proc = cmd_hset,
      .ahead = AHEAD_MEMBER,
      .arity = -4,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
      HASH_ROW,
      HASH_KEY(KEY_RW | KEY_UPDATE),
      .since = "2.0.0",
      .complexity = "O(1) for each field/value pair added, so O(N) to add N field/value pairs when "
                    "the command is called with multiple field/value pairs.",
      .summary = "Set the string value of a hash field",
      .syntax = "key field_value=<field value>...",
      .history = "4.0.0:Accepts multiple `field` and `value` arguments." },
    { .name = "hmset",
      .proc = cmd_hmset,
      .ahead = AHEAD_MEMBER,
      .arity = -4,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
      HASH_ROW,
      HASH_KEY(KEY_RW | KEY_UPDATE),
      .since = "2.0.0",
      .complexity = "O(N) where N is the number of fields being set.",
      .summary = "Set multiple hash fields to multiple values",
      .syntax = "key field_value=<field value>...",
      .deprecated_since = "4.0.0",
      .replaced_by = "`HSET` with multiple field-value pairs" },
    { .name = "hsetnx",
      .proc = cmd_hsetnx,
      .ahead = AHEAD_MEMBER,
      .arity = 4,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
      HASH_ROW,
      HASH_KEY(KEY_RW | KEY_INSERT),
      .since = "2.0.0",
      .complexity = "O(1)",
      .summary = "Set the value of a hash field, only if the field does not exist",
      .syntax = "key field value" },
    { .name = "hincrby",
      .proc = cmd_hincrby,
      .ahead = AHEAD_MEMBER,
      .arity = 4,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
      HASH_ROW,
      HASH_KEY(KEY_RW | KEY_ACCESS | KEY_UPDATE),
      .since = "2.0.0",
      .complexity = "O(1)",
      .summary = "Increment the integer value of a hash field by the given number",
      .syntax = "key field increment:int" },
    { .name = "hincrbyfloat",
      .proc = cmd_hincrbyfloat,
      .ahead = AHEAD_MEMBER,
      .arity = 4,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
      HASH_ROW,
      HASH_KEY(KEY_RW | KEY_ACCESS | KEY_UPDATE),
      .since = "2.6.0",
      .complexity = "O(1)",
      .summary = "Increment the float value of a hash field by the given amount",
      .syntax = "key field increment:double" },
    { .name = "hdel",
      .proc = cmd_hdel,
      .ahead = AHEAD_MEMBER,
      .arity = -3,
      .flags = CMD_WRITE | CMD_FAST,
      HASH_ROW,
      HASH_KEY(KEY_RW | KEY_DELETE),
      .since = "2.0.0",
      .complexity = "O(N) where N is the number of fields to be removed.",
      .summary = "Delete one or more hash fields",
      .syntax = "key field...",
      .history = "2.4.0:Accepts multiple `field` arguments." },
    { .name = "hlen",
      .proc = cmd_hlen,
      .arity = 2,
      .flags = CMD_READONLY | CMD_FAST,
      HASH_ROW,
      HASH_KEY(KEY_RO),
      .since = "2.0.0",
      .complexity = "O(1)",
      .summary = "Get the number of fields in a hash",
      .syntax = "key" },
    { .name = "hget",
      .proc = cmd_hget,
      .ahead = AHEAD_MEMBER,
      .arity = 3,
      .flags = CMD_READONLY | CMD_FAST,
      HASH_ROW,
      HASH_KEY(KEY_RO | KEY_ACCESS),
      .since = "2.0.0",
      .complexity = "O(1)",
      .summary = "Get the value of a hash field",
      .syntax = "key field" },
    { .name = "hexists",
      .proc = cmd_hexists,
      .ahead = AHEAD_MEMBER,
      .arity = 3,
      .flags = CMD_READONLY | CMD_FAST,
      HASH_ROW,
      HASH_KEY(KEY_RO),
      .since = "2.0.0",
      .complexity = "O(1)",
      .summary = "Determine if a hash field exists",
      .syntax = "key field" },
    { .name = "hstrlen",
      .proc = cmd_hstrlen,
      .ahead = AHEAD_MEMBER,
      .arity = 3,
      .flags = CMD_READONLY | CMD_FAST,
      HASH_ROW,
      HASH_KEY(KEY_RO),
      .since = "3.2.0",
      .complexity = "O(1)",
      .summary = "Get the length of the value of a hash field",
      .syntax = "key field" },
    { .name = "hmget",
      .proc = cmd_hmget,
      .ahead = AHEAD_MEMBER,
      .arity = -3,
      .flags = CMD_READONLY | CMD_FAST,
      HASH_ROW,
      HASH_KEY(KEY_RO | KEY_ACCESS),
      .since = "2.0.0",
      .complexity = "O(N) where N is the number of fields being requested.",
      .summary = "Get the values of all the given hash fields",
      .syntax = "key field..." },
    { .name = "hgetall",
      .proc = cmd_hgetall,
      .arity = 2,
      .flags = CMD_READONLY,
      HASH_ROW,
      HASH_KEY(KEY_RO | KEY_ACCESS),
      .since = "2.0.0",
      .complexity = "O(N) where N is the size of the hash.",
      .summary = "Get all the fields and values in a hash",
      .syntax = "key",
      .tips = "nondeterministic_output_order" },
    { .name = "hkeys",
      .proc = cmd_hkeys,
      .arity = 2,
      .flags = CMD_READONLY,
      HASH_ROW,
      HASH_KEY(KEY_RO | KEY_ACCESS),
      .since = "2.0.0",
      .complexity = "O(N) where N is the size of the hash.",
      .summary = "Get all the fields in a hash",
      .syntax = "key",
      .tips = "nondeterministic_output_order" },
    { .name = "hvals",
      .proc = cmd_hvals,
      .arity = 2,
      .flags = CMD_READONLY,
      HASH_ROW,
      HASH_KEY(KEY_RO | KEY_ACCESS),
      .since = "2.0.0",
      .complexity = "O(N) where N is the size of the hash.",
      .summary = "Get all the values in a hash",
      .syntax = "key",
      .tips = "nondeterministic_output_order" },
    { .name = "hscan",
      .proc = cmd_hscan,
      .arity = -3,
      .flags = CMD_READONLY,
      HASH_ROW,
      HASH_KEY(KEY_RO | KEY_ACCESS),
      .since = "2.8.0",
      .complexity =
          "O(1) for every call. O(N) for a complete iteration, including enough command calls for "
          "the cursor to return back to 0. N is the number of elements inside the collection..",
      .summary = "Incrementally iterate hash fields and associated values",
      .syntax = "key cursor:int [MATCH pattern:pattern] [COUNT count:int] [NOVALUES]@7.4.0",
      .tips = "nondeterministic_output" },
    { .name = NULL },
};
