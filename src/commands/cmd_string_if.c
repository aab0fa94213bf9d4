/* cmd_string_if.c -- Strings compared and then deleted, strings set together: DIGEST, DELEX,
 * DELIFEQ, MSETEX. SPDX-License-Identifier: BSD-3-Clause
 *
 * EFFECTS  What was done, in words that every Redis knows: DEL, and SET with an absolute expiry for
 *          each key of MSETEX. */
#include "commands/commands.h"
#include "commands/set_options.h"
#include "base/mem.h"

/* ---- DIGEST ---- */

static void cmd_digest(struct call *c)
{
    char tmp[I64_TEXT_MAX], digest[STRING_DIGEST];
    struct entry *e = key_read(c, c->keys);
    if (e == NULL) {
        reply_null(c);
    } else if (key_is(c, e, OBJ_STRING)) {
        string_digest(entry_string(e, tmp), digest);
        reply_bulk(c, slice_of(digest, sizeof digest));
    }
}

/* ---- DELEX, DELIFEQ ---- */

static void delete_and_reply(struct call *c)
{
    const struct key *k = c->keys;
    bool deleted = key_delete(c, k);
    if (deleted) {
        notify(c, NOTIFY_GENERIC, "del", k);
        EFFECT(c, S("DEL"), k->s);
    }
    reply_int(c, deleted);
}

static void cmd_delex(struct call *c)
{
    struct entry *e = c->argc > 2 ? key_read(c, c->keys) : NULL;
    bool met;
    if (c->argc == 2) {
        delete_and_reply(c);
        return;
    }
    if (e == NULL) { /* whatever the condition, and were it none */
        reply_int(c, 0);
        return;
    }
    if (c->argc != 4) {
        reply_arity(c);
        return;
    }
    unsigned kind = string_compare_word(c->argv[2]);
    if (entry_type(e) != OBJ_STRING) {
        reply_error(c, "ERR Key should be of string type if conditions are specified");
    } else if (kind == 0) {
        reply_error(c, "ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE");
    } else if (string_compare(c, e, kind, c->argv[3], &met)) {
        if (met) {
            delete_and_reply(c);
        } else {
            reply_int(c, 0);
        }
    }
}

static void cmd_delifeq(struct call *c)
{
    bool met;
    if (!string_compare(c, key_read(c, c->keys), OPT_IFEQ, c->argv[2], &met)) {
        return;
    }
    if (met) {
        delete_and_reply(c);
    } else {
        reply_int(c, 0);
    }
}

/* Without a condition the value is not looked at. */
static uint32_t delex_flags(const struct slice *argv unused_arg, unsigned argc)
{
    return argc > 2 ? KEY_RW | KEY_ACCESS | KEY_DELETE : KEY_RM | KEY_DELETE;
}

/* ---- MSETEX ---- */

/* May they be set? NX: none is there; XX: all are. */
static bool msetex_allowed(struct call *c, const struct set_options *o)
{
    for (unsigned i = 0; (o->set & (OPT_NX | OPT_XX)) && i < c->nkeys; i++) {
        bool there = key_write(c, &c->keys[i]) != NULL;
        if (there != ((o->set & OPT_XX) != 0)) {
            return false;
        }
    }
    return true;
}

static void msetex_one(struct call *c, const struct set_options *o, const struct key *k,
                       struct slice value, struct entry *made, int64_t expire)
{
    char ms[I64_TEXT_MAX];
    struct entry *old = o->set & OPT_KEEPTTL ? key_write(c, k) : NULL;
    if (!(o->set & (OPT_KEEPTTL | OPT_NX | OPT_XX))) {
        key_count_write(c, k);
    }
    int64_t at = expire > 0 ? expire : old != NULL ? entry_expire(old) : -1;
    made = key_set_entry(c, k, made);
    notify(c, NOTIFY_STRING, "set", k);
    if (at < 0) {
        EFFECT(c, S("SET"), k->s, value);
        return;
    }
    (void)key_expire_at(c, k, made, at);
    if (expire > 0) {
        notify(c, NOTIFY_GENERIC, "expire", k);
    }
    EFFECT(c, S("SET"), k->s, value, S("PXAT"), slice_of(ms, format_i64(ms, at)));
}

/* All or none: what may fail comes before the first change. */
static void msetex_all(struct call *c, const struct set_options *o, int64_t expire)
{
    struct entry **made = mem_try_alloc(c->nkeys * sizeof(struct entry *));
    unsigned n = 0;
    while (made != NULL && n < c->nkeys &&
           (made[n] = entry_new_string(&c->keys[n], c->argv[3 + 2 * n])) != NULL) {
        n++;
    }
    bool fine = made != NULL && n == c->nkeys;
    for (unsigned i = 0; i < n; i++) {
        if (fine) {
            msetex_one(c, o, &c->keys[i], c->argv[3 + 2 * i], made[i], expire);
        } else {
            entry_discard(made[i]);
        }
    }
    mem_free(made);
    if (fine) {
        reply_int(c, 1);
    } else {
        reply_oom(c);
    }
}

static void cmd_msetex(struct call *c)
{
    struct set_options o;
    int64_t n, expire = 0;
    if (!arg_i64_range(c, 1, 1, INT32_MAX, &n, "ERR invalid numkeys value")) {
        return;
    }
    if (n > (c->argc - 2) / 2) {
        reply_error(c, "ERR wrong number of key-value pairs");
        return;
    }
    if (!set_options_parse(c, 2 + 2 * (unsigned)n, OPT_MSETEX, &o) ||
        ((o.set & OPT_EXPIRE) && !arg_expire(c, o.expire_arg, o.set, &expire))) {
        return;
    }
    if (msetex_allowed(c, &o)) {
        msetex_all(c, &o, expire);
    } else {
        reply_int(c, 0);
    }
}

#define STRING_ROW .acl = ACL_STRING, .group = "string"
const struct command string_if_commands[] = {
    { .name = "digest",
      .proc = cmd_digest,
      .arity = 2,
      .flags = CMD_READONLY | CMD_FAST,
      STRING_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "8.4.0",
      .complexity = "O(N) where N is the length of the string value.",
      .summary = "Returns the XXH3 hash of a string value",
      .syntax = "key" },
    { .name = "delex",
      .proc = cmd_delex,
      .arity = -2,
      .flags = CMD_WRITE | CMD_FAST,
      STRING_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_DELETE | KEY_VARIABLE) },
      .key_flags = delex_flags,
      .since = "8.4.0",
      .complexity =
          "O(1) for IFEQ/IFNE, O(N) for IFDEQ/IFDNE where N is the length of the string value.",
      .summary = "Conditionally removes the specified key based on value or digest comparison.",
      .syntax = "key [condition=<IFEQ ifeq-value|IFNE ifne-value|IFDEQ ifdeq-digest|IFDNE "
                "ifdne-digest>]" },
    { .name = "delifeq",
      .proc = cmd_delifeq,
      .arity = 3,
      .flags = CMD_WRITE | CMD_FAST,
      STRING_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE) },
      .since = "9.0.0",
      .complexity = "O(1)",
      .summary = "Delete key if value matches string.",
      .syntax = "key value" },
    { .name = "msetex",
      .proc = cmd_msetex,
      .arity = -4,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_MOVABLEKEYS,
      STRING_ROW,
      .keys = { { .flags = KEY_OW | KEY_UPDATE, .begin = 1, .numkeys = true, .step = 2 } },
      .since = "8.4.0",
      .complexity = "O(N) where N is the number of keys to set.",
      .summary = "Atomically sets multiple string keys with a shared expiration in a single "
                 "operation.",
      .syntax =
          "numkeys:int data=<key value>... [condition=<NX|XX>] [expiration=<EX seconds:int|PX "
          "milliseconds:int|EXAT unix-time-seconds:time|PXAT "
          "unix-time-milliseconds:time|KEEPTTL>]" },
    { .name = NULL },
};
