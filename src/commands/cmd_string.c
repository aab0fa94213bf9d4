/* cmd_string.c -- Strings as values, as pieces of bytes and as numbers: GET, SET, APPEND, INCR ...
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      GET and SET are the hottest handlers of the server: SET with three arguments looks at no
 *          option and makes one call that changes the store.
 * FAILURE  Setting a value may fail for want of memory. A command that answers with the old value
 *          therefore holds it (struct held) until the new one is in place, and replies then. */
#include "base/mem.h"
#include "commands/commands.h"
#include "commands/set_options.h"
#include "commands/string_ops.h"

/* ================= Values held over a change ================= */

struct held {
    bool exists;
    struct slice s;
    struct blob *blob; /* s is the bytes of this, or */
    char *copy;        /* a copy of our own, or in text */
    char text[128];
};

/* e may be NULL. False after having replied -OOM. */
static bool hold(struct call *c, struct held *h, struct entry *e)
{
    h->exists = e != NULL;
    h->blob = NULL;
    h->copy = NULL;
    if (e == NULL || (h->blob = entry_blob_ref(e, &h->s)) != NULL) {
        return true;
    }
    char tmp[I64_TEXT_MAX];
    struct slice s = entry_string(e, tmp);
    char *to = h->text;
    if (s.n > sizeof h->text && (to = h->copy = mem_try_alloc(s.n)) == NULL) {
        reply_oom(c);
        return false;
    }
    memcpy(to, s.p, s.n);
    h->s = slice_of(to, s.n);
    return true;
}

static void held_reply(struct call *c, const struct held *h)
{
    if (h->exists) {
        reply_bulk(c, h->s);
    } else {
        reply_null(c);
    }
}

static void held_drop(struct held *h)
{
    if (h->blob != NULL) {
        blob_release(h->blob);
    }
    mem_free(h->copy);
}

/* ================= GET, SET and their variants ================= */

static void cmd_get(struct call *c)
{
    struct entry *e = key_read(c, c->keys);
    if (e == NULL) {
        reply_null(c);
    } else if (key_is(c, e, OBJ_STRING)) {
        reply_entry_string(c, e);
    }
}

/* What SET with options did, without condition and relative time. */
static void log_set(struct call *c, struct slice v, unsigned opts, int64_t expire)
{
    struct slice key = c->keys[0].s;
    if (expire > 0) {
        char ms[I64_TEXT_MAX];
        EFFECT(c, S("SET"), key, v, S("PXAT"), slice_of(ms, format_i64(ms, expire)));
    } else if (opts & OPT_KEEPTTL) {
        EFFECT(c, S("SET"), key, v, S("KEEPTTL"));
    } else {
        EFFECT(c, S("SET"), key, v);
    }
}

enum set_outcome {
    SET_DONE,
    SET_REFUSED, /* by NX or XX */
    SET_FAILED   /* an error was replied */
};

/* argv[argi] becomes the value of the key. expire: unix ms, or 0. */
static enum set_outcome set_value(struct call *c, unsigned argi, unsigned opts, int64_t expire)
{
    const struct key *k = c->keys;
    struct entry *e = key_write(c, k);
    if (((opts & OPT_NX) && e != NULL) || ((opts & OPT_XX) && e == NULL)) {
        return SET_REFUSED;
    }
    /* An expiry that will be replaced is kept until then: the entry keeps its size. */
    e = key_set_arg(c, k, argi, (opts & OPT_KEEPTTL) || expire > 0);
    if (e == NULL) {
        return SET_FAILED;
    }
    notify(c, NOTIFY_STRING, "set", k);
    if (expire > 0) {
        (void)key_expire_at(c, k, e, expire);
        notify(c, NOTIFY_GENERIC, "expire", k);
    }
    log_set(c, c->argv[argi], opts, expire);
    return SET_DONE;
}

/* As set_value(), answering with the old value. */
static void set_and_get(struct call *c, unsigned argi, unsigned opts, int64_t expire)
{
    struct entry *e = key_read(c, c->keys);
    struct held old;
    if (!key_is(c, e, OBJ_STRING) || !hold(c, &old, e)) {
        return;
    }
    if (set_value(c, argi, opts, expire) != SET_FAILED) {
        held_reply(c, &old);
    }
    held_drop(&old);
}

/* The value is not what IFEQ and its kin ask for; the same replies as when NX refuses. */
static void reply_not_set(struct call *c, const struct set_options *o, struct entry *e)
{
    if ((o->set & OPT_GET) && e != NULL) {
        reply_entry_string(c, e);
    } else {
        reply_null(c);
    }
}

static void set_with_options(struct call *c)
{
    struct set_options o;
    int64_t expire = 0;
    if (!set_options_parse(c, 3, OPT_SET, &o) ||
        ((o.set & OPT_EXPIRE) && !arg_expire(c, o.expire_arg, o.set, &expire))) {
        return;
    }
    if (o.set & OPT_COMPARE) {
        struct entry *e = key_read(c, c->keys);
        bool met;
        if (!string_compare(c, e, o.set, c->argv[o.compare_arg], &met)) {
            return;
        }
        if (!met) {
            reply_not_set(c, &o, e);
            return;
        }
    }
    if (o.set & OPT_GET) {
        set_and_get(c, 2, o.set, expire);
        return;
    }
    switch (set_value(c, 2, o.set, expire)) {
    case SET_DONE: reply_ok(c); break;
    case SET_REFUSED: reply_null(c); break;
    case SET_FAILED: break;
    }
}

static void cmd_set(struct call *c)
{
    if (unlikely(c->argc != 3)) {
        set_with_options(c);
        return;
    }
    key_count_write(c, c->keys);
    if (likely(key_set_arg(c, c->keys, 2, false) != NULL)) {
        notify(c, NOTIFY_STRING, "set", c->keys);
        reply_ok(c);
    }
}

static void set_with_expire(struct call *c, unsigned unit)
{
    int64_t expire;
    if (arg_expire(c, 2, unit, &expire) && set_value(c, 3, 0, expire) == SET_DONE) {
        reply_ok(c);
    }
}

static void cmd_setex(struct call *c)
{
    set_with_expire(c, OPT_EX);
}

static void cmd_psetex(struct call *c)
{
    set_with_expire(c, OPT_PX);
}

static void cmd_setnx(struct call *c)
{
    enum set_outcome done = set_value(c, 2, OPT_NX, 0);
    if (done != SET_FAILED) {
        reply_int(c, done == SET_DONE);
    }
}

static void cmd_getset(struct call *c)
{
    set_and_get(c, 2, 0, 0);
}

static void cmd_getdel(struct call *c)
{
    const struct key *k = c->keys;
    struct entry *e = key_read(c, k);
    if (e == NULL) {
        reply_null(c);
        return;
    }
    if (!key_is(c, e, OBJ_STRING)) {
        return;
    }
    reply_entry_string(c, e);
    (void)key_delete(c, k);
    notify(c, NOTIFY_GENERIC, "del", k);
    EFFECT(c, S("DEL"), k->s);
}

static void cmd_getex(struct call *c)
{
    const struct key *k = c->keys;
    struct set_options o;
    if (!set_options_parse(c, 2, OPT_GETEX, &o)) {
        return;
    }
    struct entry *e = key_read(c, k);
    if (e == NULL) {
        reply_null(c);
        return;
    }
    int64_t expire = 0;
    if (!key_is(c, e, OBJ_STRING) ||
        ((o.set & OPT_EXPIRE) && !arg_expire(c, o.expire_arg, o.set, &expire))) {
        return;
    }
    reply_entry_string(c, e);
    if (expire > 0 && expire <= c->now_ms && !(c->flags & CALL_REPLAY)) {
        (void)key_delete(c, k);
        notify(c, NOTIFY_GENERIC, "del", k);
        EFFECT(c, S("DEL"), k->s);
    } else if (expire > 0) {
        (void)key_expire_at(c, k, e, expire);
        notify(c, NOTIFY_GENERIC, "expire", k);
        effect_i64(c, S("PEXPIREAT"), k->s, expire);
    } else if ((o.set & OPT_PERSIST) && entry_expire(e) >= 0) {
        (void)key_expire_at(c, k, e, -1);
        notify(c, NOTIFY_GENERIC, "persist", k);
        EFFECT(c, S("PERSIST"), k->s);
    }
}

/* ================= Many keys ================= */

static void cmd_mget(struct call *c)
{
    reply_array(c, c->nkeys);
    for (unsigned i = 0; i < c->nkeys; i++) {
        struct entry *e = key_read(c, &c->keys[i]);
        if (e == NULL || entry_type(e) != OBJ_STRING) {
            reply_null(c);
        } else {
            reply_entry_string(c, e);
        }
    }
}

/* All pairs; false after having replied -OOM. A key that stands twice gets its last value. Half of
 * the pairs could neither be taken back nor be left: so all that may fail comes before the first
 * change. */
static bool set_pairs(struct call *c)
{
    struct entry **made = mem_try_alloc(c->nkeys * sizeof(struct entry *));
    unsigned n = 0;
    while (made != NULL && n < c->nkeys) {
        made[n] = entry_new_string(&c->keys[n], c->argv[2 + 2 * n]);
        if (made[n] == NULL) {
            break;
        }
        n++;
    }
    bool fine = made != NULL && n == c->nkeys;
    for (unsigned i = 0; i < n; i++) {
        if (fine) {
            key_count_write(c, &c->keys[i]);
            (void)key_set_entry(c, &c->keys[i], made[i]);
            notify(c, NOTIFY_STRING, "set", &c->keys[i]);
        } else {
            entry_discard(made[i]);
        }
    }
    mem_free(made);
    if (fine) {
        call_more_changes(c, (int64_t)n - 1);
    } else {
        reply_oom(c);
    }
    return fine;
}

static void cmd_mset(struct call *c)
{
    if (c->argc % 2 == 0) {
        reply_arity(c);
    } else if (set_pairs(c)) {
        reply_ok(c);
    }
}

static void cmd_msetnx(struct call *c)
{
    if (c->argc % 2 == 0) {
        reply_arity(c);
        return;
    }
    for (unsigned i = 0; i < c->nkeys; i++) {
        if (key_write(c, &c->keys[i]) != NULL) {
            reply_int(c, 0);
            return;
        }
    }
    struct slice *mset = mem_try_alloc(c->argc * sizeof *mset);
    if (mset == NULL) {
        reply_oom(c);
        return;
    }
    if (set_pairs(c)) {
        memcpy(mset, c->argv, c->argc * sizeof *mset);
        mset[0] = S("MSET");
        effect(c, mset, c->argc);
        reply_int(c, 1);
    }
    mem_free(mset);
}

/* ================= Pieces ================= */

static void cmd_strlen(struct call *c)
{
    struct entry *e = key_read(c, c->keys);
    if (key_is(c, e, OBJ_STRING)) {
        reply_int(c, e != NULL ? (int64_t)entry_strlen(e) : 0);
    }
}

static void cmd_append(struct call *c)
{
    const struct key *k = c->keys;
    struct slice more = c->argv[2];
    struct entry *e = key_write(c, k);
    if (!key_is(c, e, OBJ_STRING)) {
        return;
    }
    size_t n = 0;
    if (e == NULL) {
        if (key_set_arg(c, k, 2, false) == NULL) {
            return;
        }
    } else {
        char *bytes;
        n = entry_strlen(e);
        if (!string_length_ok(c, n, more.n) || string_grow(c, k, e, n + more.n, &bytes) == NULL) {
            return;
        }
        memcpy(bytes + n, more.p, more.n);
        key_changed(c, k);
    }
    notify(c, NOTIFY_STRING, "append", k);
    reply_int(c, (int64_t)(n + more.n));
}

static void cmd_setrange(struct call *c)
{
    const struct key *k = c->keys;
    struct slice piece = c->argv[3];
    int64_t offset;
    if (!arg_i64(c, 2, &offset)) {
        return;
    }
    if (offset < 0) {
        reply_error(c, "ERR offset is out of range");
        return;
    }
    struct entry *e = key_write(c, k);
    if (!key_is(c, e, OBJ_STRING)) {
        return;
    }
    size_t n = e != NULL ? entry_strlen(e) : 0;
    if (piece.n == 0) {
        reply_int(c, (int64_t)n);
        return;
    }
    if (!string_length_ok(c, (uint64_t)offset, piece.n)) {
        return;
    }
    char *bytes;
    size_t end = (size_t)offset + piece.n;
    if (string_grow(c, k, e, end, &bytes) == NULL) {
        return;
    }
    memcpy(bytes + offset, piece.p, piece.n);
    key_changed(c, k);
    notify(c, NOTIFY_STRING, "setrange", k);
    reply_int(c, (int64_t)size_max(n, end));
}

static void cmd_getrange(struct call *c)
{
    int64_t start, end;
    if (!arg_i64(c, 2, &start) || !arg_i64(c, 3, &end)) {
        return;
    }
    struct entry *e = key_read(c, c->keys);
    if (!key_is(c, e, OBJ_STRING)) {
        return;
    }
    char tmp[I64_TEXT_MAX];
    struct slice s = e != NULL ? entry_string(e, tmp) : S("");
    uint64_t first, last;
    if (range_reversed(start, end) || !range_clamp(start, end, s.n, &first, &last)) {
        reply_bulk(c, S(""));
    } else {
        reply_bulk(c, slice_of(s.p + first, (size_t)(last - first + 1)));
    }
}

/* ================= Numbers ================= */

static void add_integer(struct call *c, int64_t by)
{
    const struct key *k = c->keys;
    struct entry *e = key_write(c, k);
    int64_t v = 0;
    if (!key_is(c, e, OBJ_STRING)) {
        return;
    }
    if (e != NULL && !entry_int(e, &v)) {
        char tmp[I64_TEXT_MAX];
        if (!parse_i64(entry_string(e, tmp), &v)) {
            reply_not_int(c);
            return;
        }
    }
    if (__builtin_add_overflow(v, by, &v)) {
        reply_error(c, "ERR increment or decrement would overflow");
    } else if (key_set_int(c, k, v, true) != NULL) {
        notify(c, NOTIFY_STRING, "incrby", k);
        reply_int(c, v);
    }
}

static void cmd_incr(struct call *c)
{
    add_integer(c, 1);
}

static void cmd_decr(struct call *c)
{
    add_integer(c, -1);
}

static void cmd_incrby(struct call *c)
{
    int64_t by;
    if (arg_i64(c, 2, &by)) {
        add_integer(c, by);
    }
}

static void cmd_decrby(struct call *c)
{
    int64_t by;
    if (!arg_i64(c, 2, &by)) {
        return;
    }
    if (by == INT64_MIN) {
        reply_error(c, "ERR decrement would overflow");
    } else {
        add_integer(c, -by);
    }
}

static void cmd_incrbyfloat(struct call *c)
{
    const struct key *k = c->keys;
    struct entry *e = key_write(c, k);
    char text[LD_TEXT_MAX];
    long double v = 0, by;
    if (!key_is(c, e, OBJ_STRING)) {
        return;
    }
    if (e != NULL && !parse_ld(entry_string(e, text), &v)) {
        reply_not_float(c);
        return;
    }
    if (!arg_ld(c, 2, &by)) {
        return;
    }
    v += by;
    if (__builtin_isnan(v) || __builtin_isinf(v)) {
        reply_error(c, "ERR increment would produce NaN or Infinity");
        return;
    }
    struct slice s = slice_of(text, format_ld(text, v));
    if (key_set_string(c, k, s, STRING_TEXT, true) != NULL) {
        notify(c, NOTIFY_STRING, "incrbyfloat", k);
        EFFECT(c, S("SET"), k->s, s, S("KEEPTTL"));
        reply_bulk(c, s);
    }
}

/* ================= Rows ================= */

/* SET reads the key when it is asked for the old value; any GET behind the value counts. */
static uint32_t set_key_flags(const struct slice *argv, unsigned argc)
{
    for (unsigned i = 3; i < argc; i++) {
        if (slice_is(argv[i], "get") || string_compare_word(argv[i]) != 0) {
            return KEY_RW | KEY_ACCESS | KEY_UPDATE;
        }
    }
    return KEY_OW | KEY_UPDATE;
}

/* clang-format off */
const struct command string_commands[] = {
    { .name = "append", .proc = cmd_append, .arity = 3,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_STRING,
      .keys = { KEY_AT(1, KEY_RW | KEY_INSERT) }, .group = "string", .since = "2.0.0",
      .complexity = "O(1). The amortized time complexity is O(1) assuming the appended value is "
                    "small and the already present value is of any size, since the dynamic string "
                    "library used by Redis will double the free space available on every "
                    "reallocation.",
      .summary = "Append a value to a key", .syntax = "key value" },
    { .name = "decr", .proc = cmd_decr, .arity = 2, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
      .acl = ACL_STRING, .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE) },
      .group = "string", .since = "1.0.0", .complexity = "O(1)",
      .summary = "Decrement the integer value of a key by one", .syntax = "key" },
    { .name = "decrby", .proc = cmd_decrby, .arity = 3,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_STRING,
      .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE) }, .group = "string", .since = "1.0.0",
      .complexity = "O(1)", .summary = "Decrement the integer value of a key by the given number",
      .syntax = "key decrement:int" },
    { .name = "get", .proc = cmd_get, .arity = 2, .flags = CMD_READONLY | CMD_FAST,
      .acl = ACL_STRING, .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) }, .group = "string",
      .since = "1.0.0", .complexity = "O(1)", .summary = "Get the value of a key",
      .syntax = "key" },
    { .name = "getdel", .proc = cmd_getdel, .arity = 2, .flags = CMD_WRITE | CMD_FAST,
      .acl = ACL_STRING, .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE) },
      .group = "string", .since = "6.2.0", .complexity = "O(1)",
      .summary = "Get the value of a key and delete the key", .syntax = "key" },
    { .name = "getex", .proc = cmd_getex, .arity = -2, .flags = CMD_WRITE | CMD_FAST,
      .acl = ACL_STRING,
      .keys = { { .flags = KEY_RW | KEY_ACCESS | KEY_UPDATE, .begin = 1, .step = 1,
                  .notes = "RW and UPDATE because it changes the TTL" } }, .group = "string",
      .since = "6.2.0", .complexity = "O(1)",
      .summary = "Get the value of a key and optionally set its expiration",
      .syntax = "key [expiration=<EX seconds:int|PX milliseconds:int|EXAT "
                "unix-time-seconds:time|PXAT unix-time-milliseconds:time|PERSIST>]" },
    { .name = "getrange", .proc = cmd_getrange, .arity = 4, .flags = CMD_READONLY,
      .acl = ACL_STRING, .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) }, .group = "string",
      .since = "2.4.0",
      .complexity = "O(N) where N is the length of the returned string. The complexity is "
                    "ultimately determined by the returned length, but because creating a "
                    "substring from an existing string is very cheap, it can be considered O(1) "
                    "for small strings.",
      .summary = "Get a substring of the string stored at a key",
      .syntax = "key start:int end:int" },
    { .name = "getset", .proc = cmd_getset, .arity = 3,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_STRING,
      .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE) }, .group = "string", .since = "1.0.0",
      .complexity = "O(1)", .summary = "Set the string value of a key and return its old value",
      .syntax = "key value", .deprecated_since = "6.2.0",
      .replaced_by = "`SET` with the `!GET` argument" },
    { .name = "incr", .proc = cmd_incr, .arity = 2, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
      .acl = ACL_STRING, .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE) },
      .group = "string", .since = "1.0.0", .complexity = "O(1)",
      .summary = "Increment the integer value of a key by one", .syntax = "key" },
    { .name = "incrby", .proc = cmd_incrby, .arity = 3,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_STRING,
      .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE) }, .group = "string", .since = "1.0.0",
      .complexity = "O(1)", .summary = "Increment the integer value of a key by the given amount",
      .syntax = "key increment:int" },
    { .name = "incrbyfloat", .proc = cmd_incrbyfloat, .arity = 3,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_STRING,
      .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE) }, .group = "string", .since = "2.6.0",
      .complexity = "O(1)", .summary = "Increment the float value of a key by the given amount",
      .syntax = "key increment:double" },
    { .name = "mget", .proc = cmd_mget, .arity = -2, .flags = CMD_READONLY | CMD_FAST,
      .acl = ACL_STRING, .keys = { KEYS_FROM(1, -1, 1, KEY_RO | KEY_ACCESS) }, .group = "string",
      .since = "1.0.0", .complexity = "O(N) where N is the number of keys to retrieve.",
      .summary = "Get the values of all the given keys", .syntax = "key...",
      .tips = "request_policy:multi_shard" },
    { .name = "mset", .proc = cmd_mset, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM,
      .acl = ACL_STRING, .keys = { KEYS_FROM(1, -1, 2, KEY_OW | KEY_UPDATE) }, .group = "string",
      .since = "1.0.1", .complexity = "O(N) where N is the number of keys to set.",
      .summary = "Set multiple keys to multiple values", .syntax = "key_value=<key value>...",
      .tips = "request_policy:multi_shard,response_policy:all_succeeded" },
    { .name = "msetnx", .proc = cmd_msetnx, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM,
      .acl = ACL_STRING, .keys = { KEYS_FROM(1, -1, 2, KEY_OW | KEY_INSERT) }, .group = "string",
      .since = "1.0.1", .complexity = "O(N) where N is the number of keys to set.",
      .summary = "Set multiple keys to multiple values, only if none of the keys exist",
      .syntax = "key_value=<key value>...",
      .tips = "request_policy:multi_shard,response_policy:agg_min" },
    { .name = "psetex", .proc = cmd_psetex, .arity = 4, .flags = CMD_WRITE | CMD_DENYOOM,
      .acl = ACL_STRING, .keys = { KEY_AT(1, KEY_OW | KEY_UPDATE) }, .group = "string",
      .since = "2.6.0", .complexity = "O(1)",
      .summary = "Set the value and expiration in milliseconds of a key",
      .syntax = "key milliseconds:int value", .deprecated_since = "2.6.12",
      .replaced_by = "`SET` with the `PX` argument" },
    { .name = "set", .proc = cmd_set, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM,
      .acl = ACL_STRING,
      .keys = { { .flags = KEY_RW | KEY_ACCESS | KEY_UPDATE | KEY_VARIABLE, .begin = 1, .step = 1,
                  .notes = "RW and ACCESS due to the optional `GET` argument" } },
      .key_flags = set_key_flags,
      .group = "string", .since = "1.0.0", .complexity = "O(1)",
      .summary = "Set the string value of a key",
      .syntax = "key value [condition=<NX|XX|IFEQ ifeq-value@8.4.0|IFNE ifne-value@8.4.0|IFDEQ "
                "ifdeq-digest@8.4.0|IFDNE ifdne-digest@8.4.0>]@2.6.12 [GET]@6.2.0 [expiration=<EX "
                "seconds:int@2.6.12|PX milliseconds:int@2.6.12|EXAT "
                "unix-time-seconds:time@6.2.0|PXAT "
                "unix-time-milliseconds:time@6.2.0|KEEPTTL@6.0.0>]",
      .history = "2.6.12:Added the `EX`, `PX`, `NX` and `XX` options.|6.0.0:Added the `KEEPTTL` "
                 "option.|6.2.0:Added the `GET`, `EXAT` and `PXAT` option.|7.0.0:Allowed the "
                 "`NX` and `GET` options to be used together.|8.4.0:Added the `IFEQ`, `IFNE`, "
                 "`IFDEQ` and `IFDNE` options." },
    { .name = "setex", .proc = cmd_setex, .arity = 4, .flags = CMD_WRITE | CMD_DENYOOM,
      .acl = ACL_STRING, .keys = { KEY_AT(1, KEY_OW | KEY_UPDATE) }, .group = "string",
      .since = "2.0.0", .complexity = "O(1)", .summary = "Set the value and expiration of a key",
      .syntax = "key seconds:int value", .deprecated_since = "2.6.12",
      .replaced_by = "`SET` with the `EX` argument" },
    { .name = "setnx", .proc = cmd_setnx, .arity = 3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
      .acl = ACL_STRING, .keys = { KEY_AT(1, KEY_OW | KEY_INSERT) }, .group = "string",
      .since = "1.0.0", .complexity = "O(1)",
      .summary = "Set the value of a key, only if the key does not exist", .syntax = "key value",
      .deprecated_since = "2.6.12", .replaced_by = "`SET` with the `NX` argument" },
    { .name = "setrange", .proc = cmd_setrange, .arity = 4, .flags = CMD_WRITE | CMD_DENYOOM,
      .acl = ACL_STRING, .keys = { KEY_AT(1, KEY_RW | KEY_UPDATE) }, .group = "string",
      .since = "2.2.0",
      .complexity = "O(1), not counting the time taken to copy the new string in place. Usually, "
                    "this string is very small so the amortized complexity is O(1). Otherwise, "
                    "complexity is O(M) with M being the length of the value argument.",
      .summary = "Overwrite part of a string at key starting at the specified offset",
      .syntax = "key offset:int value" },
    { .name = "strlen", .proc = cmd_strlen, .arity = 2, .flags = CMD_READONLY | CMD_FAST,
      .acl = ACL_STRING, .keys = { KEY_AT(1, KEY_RO) }, .group = "string", .since = "2.2.0",
      .complexity = "O(1)", .summary = "Get the length of the value stored in a key",
      .syntax = "key" },
    { .name = "substr", .proc = cmd_getrange, .arity = 4, .flags = CMD_READONLY, .acl = ACL_STRING,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) }, .group = "string", .since = "1.0.0",
      .complexity = "O(N) where N is the length of the returned string. The complexity is "
                    "ultimately determined by the returned length, but because creating a "
                    "substring from an existing string is very cheap, it can be considered O(1) "
                    "for small strings.",
      .summary = "Get a substring of the string stored at a key", .syntax = "key start:int end:int",
      .deprecated_since = "2.0.0", .replaced_by = "`GETRANGE`" },
    { .name = NULL },
};
/* clang-format on */
