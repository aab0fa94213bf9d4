/* cmd_expire.c -- Times to live: setting, asking, removing.
 * SPDX-License-Identifier: BSD-3-Clause
 * EFFECTS  Always absolute: PEXPIREAT key ms, or DEL when the time has passed already; PERSIST as
 * it came. */
#include "commands/commands.h"

enum { EXP_NX = 1, EXP_XX = 2, EXP_GT = 4, EXP_LT = 8 };

static bool expire_options(struct call *c, unsigned *flags)
{
    static const struct {
        const char *word;
        unsigned flag;
    } words[] = { { "nx", EXP_NX }, { "xx", EXP_XX }, { "gt", EXP_GT }, { "lt", EXP_LT } };
    *flags = 0;
    for (unsigned i = 3; i < c->argc; i++) {
        unsigned k = 0;
        while (k < 4 && !arg_is(c, i, words[k].word)) {
            k++;
        }
        if (k == 4) {
            reply_errorf(c, "ERR Unsupported option %.*s",
                         (int)(c->argv[i].n < 128 ? c->argv[i].n : 128), c->argv[i].p);
            return false;
        }
        *flags |= words[k].flag;
    }
    if ((*flags & EXP_NX) && (*flags & (EXP_XX | EXP_GT | EXP_LT))) {
        reply_error(c, "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if ((*flags & EXP_GT) && (*flags & EXP_LT)) {
        reply_error(c, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

/* The absolute time in ms that argument 2 means; false: out of range, replied. */
static bool expire_time(struct call *c, bool seconds, bool relative, int64_t *when)
{
    int64_t v;
    if (!arg_i64(c, 2, &v)) {
        return false;
    }
    bool bad = seconds && (v > INT64_MAX / 1000 || v < INT64_MIN / 1000);
    if (!bad && seconds) {
        v *= 1000;
    }
    if (!bad && relative) {
        bad = __builtin_add_overflow(v, c->now_ms, &v);
    }
    if (bad) {
        reply_errorf(c, "ERR invalid expire time in '%s' command", c->cmd->name);
        return false;
    }
    *when = v;
    return true;
}

static bool allowed(const struct entry *e, unsigned flags, int64_t when)
{
    int64_t now = entry_expire(e);
    if ((flags & EXP_NX) && now >= 0) {
        return false;
    }
    if ((flags & EXP_XX) && now < 0) {
        return false;
    }
    if ((flags & EXP_GT) && (now < 0 || when <= now)) { /* no expiry counts as endless */
        return false;
    }
    return !((flags & EXP_LT) && now >= 0 && when >= now);
}

static void expire_call(struct call *c, bool seconds, bool relative)
{
    unsigned flags;
    int64_t when;
    const struct key *k = &c->keys[0];
    if (!expire_options(c, &flags) || !expire_time(c, seconds, relative, &when)) {
        return;
    }
    struct entry *e = key_write(c, k);
    if (e == NULL || !allowed(e, flags, when)) {
        reply_int(c, 0);
        return;
    }
    if (when <= c->now_ms && !(c->flags & CALL_REPLAY)) {
        (void)key_delete(c, k);
        EFFECT(c, S("DEL"), k->s);
        notify(c, NOTIFY_GENERIC, "del", k);
    } else {
        (void)key_expire_at(c, k, e, when < 0 ? 0 : when);
        effect_i64(c, S("PEXPIREAT"), k->s, when);
        notify(c, NOTIFY_GENERIC, "expire", k);
    }
    reply_int(c, 1);
}

static void cmd_expire(struct call *c)
{
    expire_call(c, true, true);
}

static void cmd_pexpire(struct call *c)
{
    expire_call(c, false, true);
}

static void cmd_expireat(struct call *c)
{
    expire_call(c, true, false);
}

static void cmd_pexpireat(struct call *c)
{
    expire_call(c, false, false);
}

static void ttl_call(struct call *c, bool seconds, bool relative)
{
    const struct entry *e = key_look(c, &c->keys[0], true);
    if (e == NULL || entry_expire(e) < 0) {
        reply_int(c, e == NULL ? -2 : -1);
        return;
    }
    int64_t v = entry_expire(e);
    if (relative) {
        v = v > c->now_ms ? v - c->now_ms : 0;
    }
    reply_int(c, seconds ? v / 1000 + (v % 1000 >= 500) : v);
}

static void cmd_ttl(struct call *c)
{
    ttl_call(c, true, true);
}

static void cmd_pttl(struct call *c)
{
    ttl_call(c, false, true);
}

static void cmd_expiretime(struct call *c)
{
    ttl_call(c, true, false);
}

static void cmd_pexpiretime(struct call *c)
{
    ttl_call(c, false, false);
}

static void cmd_persist(struct call *c)
{
    const struct key *k = &c->keys[0];
    struct entry *e = key_write(c, k);
    if (e == NULL || entry_expire(e) < 0) {
        reply_int(c, 0);
        return;
    }
    (void)key_expire_at(c, k, e, -1);
    notify(c, NOTIFY_GENERIC, "persist", k);
    reply_int(c, 1);
}

#define OPTIONS_HISTORY "7.0.0:Added options: `NX`, `XX`, `GT` and `LT`."
#define EXPIRE_ROW(word, fn, from, args, says)                                                     \
    {                                                                                              \
        .name = word, .proc = fn, .arity = -3, .flags = CMD_WRITE | CMD_FAST, .acl = ACL_KEYSPACE, \
        .keys = { KEY_AT(1, KEY_RW | KEY_UPDATE) }, .group = "generic", .since = from,             \
        .complexity = "O(1)", .summary = says,                                                     \
        .syntax = "key " args " [condition=<NX|XX|GT|LT>]@7.0.0", .history = OPTIONS_HISTORY       \
    }
#define TTL_ROW(word, fn, from, says, tip, past)                                             \
    {                                                                                        \
        .name = word, .proc = fn, .arity = 2, .flags = CMD_READONLY | CMD_FAST,              \
        .acl = ACL_KEYSPACE, .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) }, .group = "generic", \
        .since = from, .complexity = "O(1)", .summary = says, .syntax = "key", .tips = tip,  \
        .history = past                                                                      \
    }
const struct command expire_commands[] = {
    EXPIRE_ROW("expire", cmd_expire, "1.0.0", "seconds:int", "Set a key's time to live in seconds"),
    EXPIRE_ROW("pexpire", cmd_pexpire, "2.6.0", "milliseconds:int",
               "Set a key's time to live in milliseconds"),
    EXPIRE_ROW("expireat", cmd_expireat, "1.2.0", "unix-time-seconds:time",
               "Set the expiration for a key as a UNIX timestamp"),
    EXPIRE_ROW("pexpireat", cmd_pexpireat, "2.6.0", "unix-time-milliseconds:time",
               "Set the expiration for a key as a UNIX timestamp specified in milliseconds"),
    TTL_ROW("ttl", cmd_ttl, "1.0.0", "Get the time to live for a key in seconds",
            "nondeterministic_output", "2.8.0:Added the -2 reply."),
    TTL_ROW("pttl", cmd_pttl, "2.6.0", "Get the time to live for a key in milliseconds",
            "nondeterministic_output", "2.8.0:Added the -2 reply."),
    TTL_ROW("expiretime", cmd_expiretime, "7.0.0", "Get the expiration Unix timestamp for a key",
            NULL, NULL),
    TTL_ROW("pexpiretime", cmd_pexpiretime, "7.0.0",
            "Get the expiration Unix timestamp for a key in milliseconds", NULL, NULL),
    { .name = "persist",
      .proc = cmd_persist,
      .arity = 2,
      .flags = CMD_WRITE | CMD_FAST,
      .acl = ACL_KEYSPACE,
      .keys = { KEY_AT(1, KEY_RW | KEY_UPDATE) },
      .group = "generic",
      .since = "2.2.0",
      .complexity = "O(1)",
      .summary = "Remove the expiration from a key",
      .syntax = "key" },
    { .name = NULL },
};
