/* cmd_generic.c -- Commands on keys of any type: deleting, naming, copying.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "commands/commands.h"

static void delete_keys(struct call *c)
{
    int64_t n = 0;
    for (unsigned i = 0; i < c->nkeys; i++) {
        if (key_delete(c, &c->keys[i])) {
            notify(c, NOTIFY_GENERIC, "del", &c->keys[i]);
            n++;
        }
    }
    call_more_changes(c, n - (n > 0));
    reply_int(c, n);
}

static void cmd_del(struct call *c)
{
    delete_keys(c);
}

static void cmd_unlink(struct call *c)
{
    delete_keys(c); /* freeing is always lazy */
}

static void cmd_exists(struct call *c)
{
    int64_t n = 0;
    for (unsigned i = 0; i < c->nkeys; i++) {
        n += key_look(c, &c->keys[i], true) != NULL;
    }
    reply_int(c, n);
}

static void cmd_touch(struct call *c)
{
    int64_t n = 0;
    for (unsigned i = 0; i < c->nkeys; i++) {
        n += key_read(c, &c->keys[i]) != NULL;
    }
    reply_int(c, n);
}

static void cmd_type(struct call *c)
{
    const struct entry *e = key_look(c, &c->keys[0], true);
    reply_simple(c, e != NULL ? obj_type_name(entry_type(e)) : "none");
}

/* ---- RENAME, COPY, MOVE ---- */

static void rename_call(struct call *c, bool only_new)
{
    struct key *from = &c->keys[0], *to = &c->keys[1];
    if (key_write(c, from) == NULL) {
        reply_no_key(c);
        return;
    }
    bool same = slice_eq(from->s, to->s);
    if (same || (only_new && key_write(c, to) != NULL)) {
        if (only_new) {
            reply_int(c, 0);
        } else {
            reply_ok(c);
        }
        return;
    }
    (void)key_delete(c, to);
    key_rename(c, from, to);
    notify(c, NOTIFY_GENERIC, "rename_from", from);
    notify(c, NOTIFY_GENERIC, "rename_to", to);
    if (only_new) {
        reply_int(c, 1);
    } else {
        reply_ok(c);
    }
}

static void cmd_rename(struct call *c)
{
    rename_call(c, false);
}

static void cmd_renamenx(struct call *c)
{
    rename_call(c, true);
}

static bool arg_db(struct call *c, unsigned i, unsigned *db)
{
    int64_t v;
    if (!arg_i64_range(c, i, INT32_MIN, INT32_MAX, &v, NULL)) {
        return false;
    }
    if (v < 0 || v >= (int64_t)keyspace_databases(c->ks)) {
        reply_error(c, "ERR DB index is out of range");
        return false;
    }
    *db = (unsigned)v;
    return true;
}

/* The live entry of k in another database than the call's; an expired one is deleted first. */
static struct entry *write_in(struct call *c, unsigned db, const struct key *k)
{
    unsigned here = c->db;
    c->db = db;
    struct entry *e = key_write(c, k);
    c->db = here;
    return e;
}

static void cmd_move(struct call *c)
{
    unsigned db;
    if (!arg_db(c, 2, &db)) {
        return;
    }
    if (db == c->db) {
        reply_error(c, "ERR source and destination objects are the same");
        return;
    }
    const struct key *k = &c->keys[0];
    if (key_write(c, k) == NULL || write_in(c, db, k) != NULL) {
        reply_int(c, 0);
        return;
    }
    key_move_db(c, k, db);
    notify(c, NOTIFY_GENERIC, "move_from", k);
    unsigned here = c->db;
    c->db = db;
    notify(c, NOTIFY_GENERIC, "move_to", k);
    c->db = here;
    reply_int(c, 1);
}

static void cmd_copy(struct call *c)
{
    unsigned db = c->db, here = c->db;
    bool replace = false;
    for (unsigned i = 3; i < c->argc; i++) {
        if (arg_is(c, i, "replace")) {
            replace = true;
        } else if (arg_is(c, i, "db") && i + 1 < c->argc) {
            if (!arg_db(c, ++i, &db)) {
                return;
            }
        } else {
            reply_syntax(c);
            return;
        }
    }
    const struct key *from = &c->keys[0], *to = &c->keys[1];
    if (db == c->db && slice_eq(from->s, to->s)) {
        reply_error(c, "ERR source and destination objects are the same");
        return;
    }
    if (key_read(c, from) == NULL || (write_in(c, db, to) != NULL && !replace)) {
        reply_int(c, 0);
        return;
    }
    if (!key_copy(c, from, db, to)) {
        return;
    }
    c->db = db;
    notify(c, NOTIFY_GENERIC, "copy_to", to);
    c->db = here;
    reply_int(c, 1);
}

/* ---- OBJECT ---- */

static void cmd_object_encoding(struct call *c)
{
    const struct entry *e = key_look(c, &c->keys[0], false);
    if (e == NULL) {
        reply_null(c);
    } else {
        reply_bulk_str(c, obj_enc_name(entry_enc(e)));
    }
}

/* COMPAT: nothing is shared here, but small integers, which Redis shares for ever, say so too: it
 * is how users and tests tell that they cost nothing besides the entry. */
#define SHARED_INTEGERS 10000
#define SHARED_REFCOUNT INT32_MAX

static bool counts_as_shared(struct call *c, const struct entry *e)
{
    struct exec_options *o = exec_options(c->x);
    int64_t v, policy = option_int(&o->maxmemory_policy);
    return entry_type(e) == OBJ_STRING && entry_int(e, &v) && v >= 0 && v < SHARED_INTEGERS &&
           (option_int(&o->maxmemory) == 0 || !(POLICY_IS_LFU(policy) || POLICY_IS_LRU(policy)));
}

static void cmd_object_refcount(struct call *c)
{
    const struct entry *e = key_look(c, &c->keys[0], false);
    if (e == NULL) {
        reply_null(c);
    } else {
        reply_int(c, counts_as_shared(c, e) ? SHARED_REFCOUNT : 1);
    }
}

static void cmd_object_idletime(struct call *c)
{
    const struct entry *e = key_look(c, &c->keys[0], false);
    if (e == NULL) {
        reply_null(c);
    } else if (POLICY_IS_LFU(option_int(&exec_options(c->x)->maxmemory_policy))) {
        reply_error(c, "ERR An LFU maxmemory policy is selected, idle time not tracked. Please "
                       "note that when switching between policies at runtime LRU and "
                       "LFU data will take some time to adjust.");
    } else {
        reply_int(c, entry_idle_s(c->x, e, c->now_ms));
    }
}

static void cmd_object_freq(struct call *c)
{
    const struct entry *e = key_look(c, &c->keys[0], false);
    if (e == NULL) {
        reply_null(c);
    } else if (!POLICY_IS_LFU(option_int(&exec_options(c->x)->maxmemory_policy))) {
        reply_error(c, "ERR An LFU maxmemory policy is not selected, access frequency not tracked. "
                       "Please note that when switching between policies at "
                       "runtime LRU and LFU data will take some time to adjust.");
    } else {
        reply_int(c, entry_lfu(c->x, e, c->now_ms));
    }
}

static void cmd_object_help(struct call *c)
{
    static const char *const lines[] = {
        "ENCODING <key>",
        "    Return the kind of internal representation used in order to store the value",
        "    associated with a <key>.",
        "FREQ <key>",
        "    Return the access frequency index of the <key>. The returned integer is",
        "    proportional to the logarithm of the recent access frequency of the key.",
        "IDLETIME <key>",
        "    Return the idle time of the <key>, that is the approximated number of",
        "    seconds elapsed since the last access to the key.",
        "REFCOUNT <key>",
        "    Return the number of references of the value associated with the specified",
        "    <key>.",
        NULL,
    };
    reply_help(c, lines);
}

#define OBJECT_ROW(word, fn, from, says)                                                        \
    {                                                                                           \
        .name = word, .proc = fn, .arity = 3, .flags = CMD_READONLY, .acl = ACL_KEYSPACE,       \
        .keys = { KEY_AT(2, KEY_RO) }, .group = "generic", .since = from, .complexity = "O(1)", \
        .summary = says, .syntax = "key", .tips = "nondeterministic_output"                     \
    }
static const struct command object_sub[] = {
    OBJECT_ROW("encoding", cmd_object_encoding, "2.2.3",
               "Inspect the internal encoding of a Redis object"),
    OBJECT_ROW("freq", cmd_object_freq, "4.0.0",
               "Get the logarithmic access frequency counter of a Redis object"),
    OBJECT_ROW("idletime", cmd_object_idletime, "2.2.3",
               "Get the time since a Redis object was last accessed"),
    OBJECT_ROW("refcount", cmd_object_refcount, "2.2.3",
               "Get the number of references to the value of the key"),
    { .name = "help",
      .proc = cmd_object_help,
      .arity = 2,
      .flags = CMD_LOADING | CMD_STALE,
      .acl = ACL_KEYSPACE,
      .group = "generic",
      .since = "6.2.0",
      .complexity = "O(1)",
      .summary = "Show helpful text about the different subcommands" },
    { .name = NULL },
};

#define EACH_KEY "O(N) where N is the number of keys"
const struct command generic_commands[] = {
    { .name = "del",
      .proc = cmd_del,
      .arity = -2,
      .flags = CMD_WRITE,
      .acl = ACL_KEYSPACE,
      .keys = { KEYS_FROM(1, -1, 1, KEY_RM | KEY_DELETE) },
      .group = "generic",
      .since = "1.0.0",
      .complexity = "O(N) where N is the number of keys that will be removed. When a key to remove "
                    "holds a value other than a string, the individual complexity for this key is "
                    "O(M) where M is the number of elements in the list, set, sorted set or hash. "
                    "Removing a single key that holds a string value is O(1).",
      .summary = "Delete a key",
      .syntax = "key...",
      .tips = "request_policy:multi_shard,response_policy:agg_sum" },
    { .name = "unlink",
      .proc = cmd_unlink,
      .arity = -2,
      .flags = CMD_WRITE | CMD_FAST,
      .acl = ACL_KEYSPACE,
      .keys = { KEYS_FROM(1, -1, 1, KEY_RM | KEY_DELETE) },
      .group = "generic",
      .since = "4.0.0",
      .complexity = "O(1) for each key removed regardless of its size. Then the command does O(N) "
                    "work in a different thread in order to reclaim memory, where N is the number "
                    "of allocations the deleted objects where composed of.",
      .summary = "Delete a key asynchronously in another thread. Otherwise it is just as DEL, but "
                 "non blocking.",
      .syntax = "key...",
      .tips = "request_policy:multi_shard,response_policy:agg_sum" },
    { .name = "exists",
      .proc = cmd_exists,
      .arity = -2,
      .flags = CMD_READONLY | CMD_FAST,
      .acl = ACL_KEYSPACE,
      .keys = { KEYS_FROM(1, -1, 1, KEY_RO) },
      .group = "generic",
      .since = "1.0.0",
      .complexity = EACH_KEY " to check.",
      .summary = "Determine if a key exists",
      .syntax = "key...",
      .tips = "request_policy:multi_shard,response_policy:agg_sum",
      .history = "3.0.3:Accepts multiple `key` arguments." },
    { .name = "touch",
      .proc = cmd_touch,
      .arity = -2,
      .flags = CMD_READONLY | CMD_FAST,
      .acl = ACL_KEYSPACE,
      .keys = { KEYS_FROM(1, -1, 1, KEY_RO) },
      .group = "generic",
      .since = "3.2.1",
      .complexity = EACH_KEY " that will be touched.",
      .summary =
          "Alters the last access time of a key(s). Returns the number of existing keys specified.",
      .syntax = "key...",
      .tips = "request_policy:multi_shard,response_policy:agg_sum" },
    { .name = "type",
      .proc = cmd_type,
      .arity = 2,
      .flags = CMD_READONLY | CMD_FAST,
      .acl = ACL_KEYSPACE,
      .keys = { KEY_AT(1, KEY_RO) },
      .group = "generic",
      .since = "1.0.0",
      .complexity = "O(1)",
      .summary = "Determine the type stored at key",
      .syntax = "key" },
    { .name = "rename",
      .proc = cmd_rename,
      .arity = 3,
      .flags = CMD_WRITE,
      .acl = ACL_KEYSPACE,
      .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE), KEY_AT(2, KEY_OW | KEY_UPDATE) },
      .group = "generic",
      .since = "1.0.0",
      .complexity = "O(1)",
      .summary = "Rename a key",
      .syntax = "key newkey:key1" },
    { .name = "renamenx",
      .proc = cmd_renamenx,
      .arity = 3,
      .flags = CMD_WRITE | CMD_FAST,
      .acl = ACL_KEYSPACE,
      .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE), KEY_AT(2, KEY_OW | KEY_INSERT) },
      .group = "generic",
      .since = "1.0.0",
      .complexity = "O(1)",
      .summary = "Rename a key, only if the new key does not exist",
      .syntax = "key newkey:key1",
      .history = "3.2.0:The command no longer returns an error when source and destination names "
                 "are the same." },
    { .name = "copy",
      .proc = cmd_copy,
      .arity = -3,
      .flags = CMD_WRITE | CMD_DENYOOM,
      .acl = ACL_KEYSPACE,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS), KEY_AT(2, KEY_OW | KEY_UPDATE) },
      .group = "generic",
      .since = "6.2.0",
      .complexity = "O(N) worst case for collections, where N is the number of nested items. O(1) "
                    "for string values.",
      .summary = "Copy a key",
      .syntax = "source:key destination:key1 [DB destination-db:int] [REPLACE]" },
    { .name = "move",
      .proc = cmd_move,
      .arity = 3,
      .flags = CMD_WRITE | CMD_FAST,
      .acl = ACL_KEYSPACE,
      .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE) },
      .group = "generic",
      .since = "1.0.0",
      .complexity = "O(1)",
      .summary = "Move a key to another database",
      .syntax = "key db:int" },
    { .name = "object",
      .arity = -2,
      .sub = object_sub,
      .group = "generic",
      .since = "2.2.3",
      .complexity = "Depends on subcommand.",
      .summary = "A container for object introspection commands" },
    { .name = NULL },
};
