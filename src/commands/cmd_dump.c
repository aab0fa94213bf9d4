/* cmd_dump.c -- DUMP and RESTORE: one value as bytes that any Redis understands.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      The bytes are those of an RDB file behind the type, and a footer with version and CRC
 *          (store/rdb.h). A payload may come from anywhere: it is read to its end and found sound
 *          before the key is touched.
 * EFFECT   RESTORE with REPLACE and the moment of expiry; the payload of a later version is written
 *          anew, so that every Redis reads it that knows the value; but not a stream with consumers
 *          that were active at another time than they were seen, of which 7.0 knows nothing. A
 *          payload that expired on its way only deletes what it replaces. */
#include "commands/set.h"
#include "commands/stream_ops.h"
#include "commands/zset_ops.h"
#include "ds/stream_group.h"
#include "store/rdb.h"
#include <errno.h>

/* To be looked at for an error, and w.b to be freed. */
static struct rdb_writer write_payload(const struct entry *e)
{
    struct rdb_writer w = { .compress = true };
    rdb_write_byte(&w, rdb_type(e));
    rdb_write_value(&w, e);
    rdb_write_footer(&w, rdb_value_version(e));
    return w;
}

static void cmd_dump(struct call *c)
{
    const struct entry *e = key_read(c, &c->keys[0]);
    if (e == NULL) {
        reply_null(c);
        return;
    }
    struct rdb_writer w = write_payload(e);
    if (w.error != 0) {
        reply_oom(c);
    } else {
        reply_bulk(c, buf_slice(&w.b));
    }
    buf_free(&w.b);
}

/* ---- RESTORE ---- */

#define IDLE_MAX 0xfffffe /* seconds that the access clock can tell */

struct restore {
    bool replace, absolute;
    int64_t idle_s, freq; /* -1: not told */
};

/* The options from argv[4] on. False: replied. */
static bool parse_options(struct call *c, struct restore *r)
{
    *r = (struct restore){ .idle_s = -1, .freq = -1 };
    for (unsigned i = 4; i < c->argc; i++) {
        bool more = i + 1 < c->argc;
        if (arg_is(c, i, "replace")) {
            r->replace = true;
        } else if (arg_is(c, i, "absttl")) {
            r->absolute = true;
        } else if (arg_is(c, i, "idletime") && more && r->freq == -1) {
            if (!arg_i64(c, ++i, &r->idle_s)) {
                return false;
            }
            if (r->idle_s < 0) {
                reply_error(c, "ERR Invalid IDLETIME value, must be >= 0");
                return false;
            }
        } else if (arg_is(c, i, "freq") && more && r->idle_s == -1) {
            if (!arg_i64(c, ++i, &r->freq)) {
                return false;
            }
            if (r->freq < 0 || r->freq > UINT8_MAX) {
                reply_error(c, "ERR Invalid FREQ value, must be >= 0 and <= 255");
                return false;
            }
        } else {
            reply_syntax(c);
            return false;
        }
    }
    return true;
}

/* *due: unix ms, -1: never. False: replied. */
static bool parse_ttl(struct call *c, bool absolute, int64_t *due)
{
    int64_t ttl;
    if (!arg_i64(c, 2, &ttl)) {
        return false;
    }
    if (ttl < 0 || (!absolute && __builtin_add_overflow(ttl, c->now_ms, due))) {
        reply_error(c, "ERR Invalid TTL value, must be >= 0");
        return false;
    }
    if (ttl == 0) {
        *due = -1;
    } else if (absolute) {
        *due = ttl;
    }
    return true;
}

/* False: replied; *v holds nothing. */
static bool parse_payload(struct call *c, struct rdb_value *v)
{
    struct exec_options *o = exec_options(c->x);
    struct slice body;
    if (!rdb_footer_take(c->argv[3], &body)) {
        reply_error(c, "ERR DUMP payload version or checksum are wrong");
        return false;
    }
    struct rdb_limits limits = {
        .list_fill = (int)option_int(&o->list_max_listpack_size),
        .set = set_limits_of(c),
        .hash = { (uint64_t)option_int(&o->hash_max_listpack_entries),
                  (uint64_t)option_int(&o->hash_max_listpack_value) },
        .zset = zset_limits(c),
        .stream = stream_limits(c),
    };
    struct rdb_reader r = rdb_reader_of(body);
    unsigned type;
    bool done = rdb_read_byte(&r, &type) && rdb_read_value(&r, type, &limits, v);
    if (done && !rdb_at_end(&r)) {
        rdb_value_free(v);
        done = false;
    }
    if (!done && r.error == -ENOMEM) {
        reply_oom(c);
    } else if (!done) {
        reply_error(c, "ERR Bad data format");
    }
    return done;
}

/* The key gets the value. NULL: replied -OOM, nothing changed. */
static struct entry *put(struct call *c, struct rdb_value *v)
{
    const struct key *k = &c->keys[0];
    if (v->type == OBJ_STRING) {
        return key_set_string(c, k, v->text.s, STRING_AUTO, false);
    }
    struct entry *e = key_replace(c, k, v->type, v->enc, v->container);
    v->container = NULL;
    return e;
}

static void set_clock(struct call *c, struct entry *e, const struct restore *r)
{
    bool lfu = POLICY_IS_LFU(option_int(&exec_options(c->x)->maxmemory_policy));
    if (lfu && !(c->flags & CALL_REPLAY)) { /* what was there before counts for nothing */
        entry_set_lfu(c->x, e, r->freq >= 0 ? (unsigned)r->freq : LFU_INIT, c->now_ms);
    } else if (!lfu && r->idle_s >= 0) {
        entry_set_idle(c->x, e, r->idle_s < IDLE_MAX ? r->idle_s : IDLE_MAX, c->now_ms);
    }
}

/* Type 19 has one time of a consumer: that of its activity would become that of the last sight. */
static bool has_activity(const struct entry *e)
{
    struct stream_group g;
    struct stream_consumer one;
    if (entry_type(e) != OBJ_STREAM) {
        return false;
    }
    const struct stream *s = entry_ptr(e);
    for (uint64_t i = 0; stream_group_at(s, i, &g); i++) {
        for (uint64_t k = 0; stream_consumer_at(s, &g, k, &one); k++) {
            if (one.active != one.seen) {
                return true;
            }
        }
    }
    return false;
}

static void restore_effect(struct call *c, const struct entry *e, int64_t due)
{
    char text[I64_TEXT_MAX];
    struct slice payload = c->argv[3];
    struct rdb_writer w = { .error = 0 };
    if (!(c->flags & CALL_REPLAY) && rdb_footer_version(payload) > RDB_VERSION &&
        !has_activity(e)) {
        w = write_payload(e);
        if (w.error == 0 && effect_reserve(c, w.b.n)) { /* else, for kv itself it will do */
            payload = buf_slice(&w.b);
        }
    }
    EFFECT(c, S("RESTORE"), c->keys[0].s, slice_of(text, format_i64(text, due >= 0 ? due : 0)),
           payload, S("REPLACE"), S("ABSTTL"));
    buf_free(&w.b);
}

static void store(struct call *c, struct rdb_value *v, const struct restore *r, int64_t due)
{
    const struct key *k = &c->keys[0];
    bool replaced = key_peek(c, k) != NULL;
    struct entry *e = put(c, v);
    if (e == NULL) {
        return;
    }
    if (replaced) { /* as Redis tells it: the old key goes, a new one comes */
        notify(c, NOTIFY_NEW, "new", k);
    }
    if (due >= 0) {
        e = key_expire_at(c, k, e, due);
    }
    set_clock(c, e, r);
    restore_effect(c, e, due);
    notify(c, NOTIFY_GENERIC, "restore", k);
    reply_ok(c);
}

static void cmd_restore(struct call *c)
{
    struct restore r;
    struct rdb_value v;
    int64_t due;
    const struct key *k = &c->keys[0];
    if (!parse_options(c, &r)) {
        return;
    }
    if (key_write(c, k) != NULL && !r.replace) {
        reply_error(c, "BUSYKEY Target key name already exists.");
        return;
    }
    if (!parse_ttl(c, r.absolute, &due) || !parse_payload(c, &v)) {
        return;
    }
    if (due < 0 || due > c->now_ms || (c->flags & CALL_REPLAY)) {
        store(c, &v, &r, due);
    } else {
        if (key_delete(c, k)) {
            EFFECT(c, S("DEL"), k->s);
            notify(c, NOTIFY_GENERIC, "del", k);
        }
        reply_ok(c);
    }
    rdb_value_free(&v);
}

/* ---- The rows ---- */

#define RESTORE_COMPLEXITY                                                                   \
    "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, " \
    "where N is the number of Redis objects composing the value and M their average size. "  \
    "For small string values the time complexity is thus O(1)+O(1*M) where M is small, so "  \
    "simply O(1). However for sorted set values the complexity is O(N*M*log(N)) because "    \
    "inserting values into sorted sets is O(log(N))."
#define RESTORE_ROW(word, more_flags, from, in_group, says)                                   \
    {                                                                                         \
        .name = word, .proc = cmd_restore, .arity = -4,                                       \
        .flags = CMD_WRITE | CMD_DENYOOM | (more_flags), .acl = ACL_KEYSPACE | ACL_DANGEROUS, \
        .keys = { KEY_AT(1, KEY_OW | KEY_UPDATE) }, .group = in_group, .since = from,         \
        .complexity = RESTORE_COMPLEXITY, .summary = says,                                    \
        .syntax = "key ttl:int serialized-value [REPLACE]@3.0.0 [ABSTTL]@5.0.0 "              \
                  "[IDLETIME seconds:int]@5.0.0 [FREQ frequency:int]@5.0.0",                  \
        .history = "3.0.0:Added the `REPLACE` modifier.|5.0.0:Added the `ABSTTL` modifier.|"  \
                   "5.0.0:Added the `IDLETIME` and `FREQ` options."                           \
    }

const struct command dump_commands[] = {
    { .name = "dump",
      .proc = cmd_dump,
      .arity = 2,
      .flags = CMD_READONLY,
      .acl = ACL_KEYSPACE,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .group = "generic",
      .since = "2.6.0",
      .complexity = "O(1) to access the key and additional O(N*M) to serialize it, where N is the "
                    "number of Redis objects composing the value and M their average size. For "
                    "small string values the time complexity is thus O(1)+O(1*M) where M is small, "
                    "so simply O(1).",
      .summary = "Return a serialized version of the value stored at the specified key.",
      .syntax = "key",
      .tips = "nondeterministic_output" },
    RESTORE_ROW("restore", 0, "2.6.0", "generic",
                "Create a key using the provided serialized value, previously obtained using "
                "DUMP."),
    RESTORE_ROW("restore-asking", CMD_ASKING | CMD_SYSCMD, "3.0.0", "server",
                "An internal command for migrating keys in a cluster"),
    { .name = NULL },
};
