/* cmd_hash_expire.c -- Times to live of hash fields: setting, asking, removing.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * EFFECTS  Always absolute, of the fields that changed: HPEXPIREAT key ms FIELDS n field..., or
 * HDEL where the time has passed already; HPERSIST. DUE      A field that is due is gone for every
 * command, also before it is removed: see the view of ds/fields.h. So every command here that
 * changes something removes those it names first, with their own HDEL (key_drop_due()). */
#include "commands/hash.h"
#include "base/mem.h"

#define TIME_MAX (((int64_t)1 << 46) - 1) /* as Redis, which stores 46 bits */

bool hash_time(struct call *c, unsigned i, bool seconds, bool relative, int64_t *when)
{
    int64_t v, base = relative ? c->now_ms : 0;
    if (!arg_i64(c, i, &v)) {
        return false;
    }
    if (v < 0) {
        reply_error(c, "ERR invalid expire time, must be >= 0");
        return false;
    }
    if (v > (seconds ? TIME_MAX / 1000 : TIME_MAX) || (seconds ? v * 1000 : v) > TIME_MAX - base) {
        reply_errorf(c, "ERR invalid expire time in '%s' command", c->cmd->name);
        return false;
    }
    v = base + (seconds ? v * 1000 : v);
    *when = v > 0 ? v : 1;
    return true;
}

bool hash_fields_arg(struct call *c, unsigned at, const char *not_count)
{
    int64_t n;
    if (!arg_is(c, at, "fields") || at + 1 >= c->argc) {
        reply_error(c, "ERR Mandatory argument FIELDS is missing or not at the right position");
        return false;
    }
    if (!arg_i64_range(c, at + 1, 1, INT64_MAX, &n, not_count)) {
        return false;
    }
    if (n != (int64_t)(c->argc - at - 2)) {
        reply_error(c, "ERR The `numfields` parameter must match the number of arguments");
        return false;
    }
    return true;
}

/* ---- Setting ---- */

static bool allowed(unsigned cond, int64_t now, int64_t when)
{
    bool has = now != BTREE_NO_DUE;
    switch (cond) {
    case HASH_NX: return !has;
    case HASH_XX: return has;
    case HASH_GT: return has && when > now; /* no due counts as endless */
    case HASH_LT: return !has || when < now;
    default: return true;
    }
}

/* One field; -ENOMEM is the only negative one that is not of the enum. */
#define NO_MEMORY (-100)
static int due_one(struct fields *f, struct slice name, const struct hash_due *d, bool passed)
{
    int64_t now;
    if (!fields_get_due(f, name, &now)) {
        return HASH_NO_FIELD;
    }
    if (d->when == BTREE_NO_DUE && now == BTREE_NO_DUE) {
        return HASH_NO_DUE;
    }
    if (!allowed(d->cond, now, d->when)) {
        return HASH_NOT_MET;
    }
    if (passed) {
        must(fields_remove(f, name));
        return HASH_DELETED;
    }
    return fields_set_due(f, name, d->when) < 0 ? NO_MEMORY : HASH_DONE;
}

void hash_dues_effect(struct call *c, const struct key *k, struct slice *argv, unsigned n,
                      int64_t when)
{
    char count[I64_TEXT_MAX], ms[I64_TEXT_MAX];
    argv[0] = S("HPEXPIREAT");
    argv[1] = k->s;
    argv[2] = slice_of(ms, format_i64(ms, when));
    argv[3] = S("FIELDS");
    argv[4] = slice_of(count, format_u64(count, n));
    effect(c, argv, HASH_DUES_HEAD + n);
}

/* The command that repeats what was done to n fields, which stand behind the head. */
static void due_effect(struct call *c, const struct key *k, struct slice *argv, unsigned n,
                       const struct hash_due *d, bool passed)
{
    char count[I64_TEXT_MAX];
    if (passed) {
        argv[3] = S("HDEL");
        argv[4] = k->s;
        effect(c, argv + 3, 2 + n);
    } else if (d->when == BTREE_NO_DUE) {
        argv[1] = S("HPERSIST");
        argv[2] = k->s;
        argv[3] = S("FIELDS");
        argv[4] = slice_of(count, format_u64(count, n));
        effect(c, argv + 1, 4 + n);
    } else {
        hash_dues_effect(c, k, argv, n, d->when);
    }
}

/* All fields or none. How many changed, behind the head of `done`; -1: no memory. */
static int64_t due_all(struct fields *f, const struct hash_due *d, bool passed, struct slice *done)
{
    struct fields before = { .p = NULL };
    int64_t n = 0;
    bool kept = d->n > 1 && !passed, failed = false;
    if (kept && !fields_dup(f, &before)) {
        return -1;
    }
    for (unsigned i = 0; i < d->n && !failed; i++) {
        int rc = due_one(f, d->name[i], d, passed);
        failed = rc == NO_MEMORY;
        if (rc == HASH_DONE || rc == HASH_DELETED) {
            done[HASH_DUES_HEAD + n++] = d->name[i];
        }
        if (d->result != NULL) {
            d->result[i] = (int8_t)rc;
        }
    }
    if (kept && failed) {
        struct fields half = *f;
        *f = before;
        before = half;
    }
    if (kept) {
        fields_free(&before);
    }
    return failed ? -1 : n;
}

bool hash_set_due(struct call *c, const struct key *k, struct entry *e, struct fields *f,
                  const struct hash_due *d)
{
    bool passed = d->when != BTREE_NO_DUE && d->when <= c->now_ms && !(c->flags & CALL_REPLAY);
    struct slice *done = mem_try_alloc((HASH_DUES_HEAD + (size_t)d->n) * sizeof *done);
    if (done == NULL) {
        return false;
    }
    int64_t n = due_all(f, d, passed, done);
    if (n <= 0) {
        key_put_fields(c, k, e, f);
    } else if (passed) {
        hash_shrunk(c, k, e, f);
    } else {
        hash_stored(c, k, e, f);
        notify(c, NOTIFY_HASH, d->when == BTREE_NO_DUE ? "hpersist" : "hexpire", k);
    }
    if (n > 0) {
        due_effect(c, k, done, (unsigned)n, d, passed);
    }
    mem_free(done);
    return n >= 0;
}

#define RESULTS_ON_STACK 64

/* The fields from argv[first] on; when BTREE_NO_DUE: HPERSIST. */
static void due_call(struct call *c, unsigned first, int64_t when, unsigned cond, struct entry *e,
                     struct fields *f)
{
    int8_t few[RESULTS_ON_STACK];
    unsigned n = c->argc - first;
    struct hash_due d = { c->argv + first, n, when, cond, few };
    if (e == NULL) {
        reply_array(c, n);
        for (unsigned i = 0; i < n; i++) {
            reply_int(c, HASH_NO_FIELD);
        }
        return;
    }
    if (!key_drop_due(c, &c->keys[0], e, f, d.name, n, 1)) {
        return;
    }
    if (n > RESULTS_ON_STACK) {
        d.result = mem_try_alloc(n);
    }
    if (d.result == NULL || !hash_set_due(c, &c->keys[0], e, f, &d)) {
        reply_oom(c);
    } else {
        reply_array(c, n);
        for (unsigned i = 0; i < n; i++) {
            reply_int(c, d.result[i]);
        }
    }
    if (d.result != few) {
        mem_free(d.result);
    }
}

static void hexpire_call(struct call *c, bool seconds, bool relative)
{
    static const char *const conditions[] = {
        [HASH_NX] = "nx", [HASH_XX] = "xx", [HASH_GT] = "gt", [HASH_LT] = "lt"
    };
    struct entry *e;
    struct fields f;
    int64_t when;
    unsigned cond = HASH_LT;
    if (!hash_write(c, &c->keys[0], &e, &f) || !hash_time(c, 2, seconds, relative, &when)) {
        return;
    }
    while (cond > 0 && !arg_is(c, 3, conditions[cond])) {
        cond--;
    }
    unsigned at = cond > 0 ? 4 : 3;
    if (hash_fields_arg(c, at, "ERR Parameter `numFields` should be greater than 0")) {
        due_call(c, at + 2, when, cond, e, &f);
    }
}

static void cmd_hexpire(struct call *c)
{
    hexpire_call(c, true, true);
}

static void cmd_hpexpire(struct call *c)
{
    hexpire_call(c, false, true);
}

static void cmd_hexpireat(struct call *c)
{
    hexpire_call(c, true, false);
}

static void cmd_hpexpireat(struct call *c)
{
    hexpire_call(c, false, false);
}

#define NOT_COUNT "ERR Number of fields must be a positive integer"

static void cmd_hpersist(struct call *c)
{
    struct entry *e;
    struct fields f;
    if (hash_write(c, &c->keys[0], &e, &f) && hash_fields_arg(c, 2, NOT_COUNT)) {
        due_call(c, 4, BTREE_NO_DUE, 0, e, &f);
    }
}

/* ---- Asking ---- */

/* base: 0, or the moment from which on the time is counted. */
static void ttl_call(struct call *c, bool seconds, int64_t base)
{
    struct entry *e;
    struct fields f;
    if (!hash_read(c, &c->keys[0], &e, &f) || !hash_fields_arg(c, 2, NOT_COUNT)) {
        return;
    }
    reply_array(c, c->argc - 4);
    for (unsigned i = 4; i < c->argc; i++) {
        int64_t due;
        if (e == NULL || !fields_get_due(&f, c->argv[i], &due)) {
            reply_int(c, HASH_NO_FIELD);
        } else if (due == BTREE_NO_DUE) {
            reply_int(c, HASH_NO_DUE);
        } else {
            due -= base;
            reply_int(c, seconds ? (due + 999) / 1000 : due);
        }
    }
}

static void cmd_httl(struct call *c)
{
    ttl_call(c, true, c->now_ms);
}

static void cmd_hpttl(struct call *c)
{
    ttl_call(c, false, c->now_ms);
}

static void cmd_hexpiretime(struct call *c)
{
    ttl_call(c, true, 0);
}

static void cmd_hpexpiretime(struct call *c)
{
    ttl_call(c, false, 0);
}

/* ---- Rows ---- */

#define FIELDS_SYNTAX "FIELDS fields=<numfields:int field...>"
#define DUE_ROW(word, fn, least, fl, keyflags, args, says, tip)                                 \
    {                                                                                           \
        .name = word, .proc = fn, .arity = -(least), .flags = (fl) | CMD_FAST, .acl = ACL_HASH, \
        .keys = { KEY_AT(1, keyflags) }, .group = "hash", .since = "7.4.0",                     \
        .complexity = "O(N) where N is the number of specified fields", .summary = says,        \
        .syntax = args, .tips = tip                                                             \
    }
#define HEXPIRE_ROW(word, fn, arg, says)                               \
    DUE_ROW(word, fn, 6, CMD_WRITE | CMD_DENYOOM, KEY_RW | KEY_UPDATE, \
            "key " arg " [condition=<NX|XX|GT|LT>] " FIELDS_SYNTAX, says, NULL)
#define HTTL_ROW(word, fn, says, tip) \
    DUE_ROW(word, fn, 5, CMD_READONLY, KEY_RO | KEY_ACCESS, "key " FIELDS_SYNTAX, says, tip)
const struct command hash_expire_commands[] = {
    HEXPIRE_ROW("hexpire", cmd_hexpire, "seconds:int",
                "Set expiry for hash field using relative time to expire (seconds)"),
    HEXPIRE_ROW("hpexpire", cmd_hpexpire, "milliseconds:int",
                "Set expiry for hash field using relative time to expire (milliseconds)"),
    HEXPIRE_ROW("hexpireat", cmd_hexpireat, "unix-time-seconds:time",
                "Set expiry for hash field using an absolute Unix timestamp (seconds)"),
    HEXPIRE_ROW("hpexpireat", cmd_hpexpireat, "unix-time-milliseconds:time",
                "Set expiry for hash field using an absolute Unix timestamp (milliseconds)"),
    HTTL_ROW("httl", cmd_httl, "Returns the TTL in seconds of a hash field.",
             "nondeterministic_output"),
    HTTL_ROW("hpttl", cmd_hpttl, "Returns the TTL in milliseconds of a hash field.",
             "nondeterministic_output"),
    HTTL_ROW("hexpiretime", cmd_hexpiretime,
             "Returns the expiration time of a hash field as a Unix timestamp, in seconds.", NULL),
    HTTL_ROW("hpexpiretime", cmd_hpexpiretime,
             "Returns the expiration time of a hash field as a Unix timestamp, in msec.", NULL),
    DUE_ROW("hpersist", cmd_hpersist, 5, CMD_WRITE, KEY_RW | KEY_UPDATE, "key " FIELDS_SYNTAX,
            "Removes the expiration time for each specified field", NULL),
    { .name = NULL },
};
