/* cmd_stream_group.c -- Streams: consumer groups and what they have acknowledged.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * EFFECTS  As they came: what `$` means is the same again on replay. */
#include "commands/stream_ops.h"
#include <errno.h>

/* ---- XGROUP ---- */

/* The stream that must be there. False: replied the error. */
static bool group_stream(struct call *c, struct stream **s)
{
    if (!stream_write(c, &c->keys[0], s)) {
        return false;
    }
    if (*s == NULL) {
        reply_error(c, "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE "
                       "you may want to use the MKSTREAM option to create an empty stream "
                       "automatically.");
        return false;
    }
    return true;
}

/* And its group argv[3]. */
static bool group_there(struct call *c, struct stream **s, struct stream_group *g)
{
    if (!group_stream(c, s)) {
        return false;
    }
    if (!stream_group_find(*s, c->argv[3], g)) {
        reply_no_group(c);
        return false;
    }
    return true;
}

/* [MKSTREAM] [ENTRIESREAD n]; make NULL: MKSTREAM is not known. */
static bool group_options(struct call *c, bool *make, int64_t *read)
{
    for (unsigned i = 5; i < c->argc; i++) {
        if (make != NULL && arg_is(c, i, "mkstream")) {
            *make = true;
        } else if (arg_is(c, i, "entriesread") && i + 1 < c->argc) {
            if (!arg_i64(c, ++i, read)) {
                return false;
            }
            if (*read < 0 && (c->flags & CALL_REPLAY)) {
                *read = STREAM_READ_UNKNOWN; /* one that ran over, see arg_logged_count() */
            }
            if (*read < 0 && *read != STREAM_READ_UNKNOWN) {
                reply_error(c, "ERR value for ENTRIESREAD must be positive or -1");
                return false;
            }
        } else {
            reply_wrong_sub(c);
            return false;
        }
    }
    return true;
}

/* An option twice is one too many, though each is well-formed. */
#define CREATE_ARGS_MAX 8
#define SETID_ARGS_MAX  7

static bool group_fits(struct call *c, unsigned most)
{
    if (c->argc > most) {
        reply_wrong_sub(c);
    }
    return c->argc <= most;
}

/* argv[4]: an ID or `$`, the last one. s NULL: a stream that will be empty. */
static bool group_id(struct call *c, const struct stream *s, struct stream_id *id)
{
    if (slice_eq(c->argv[4], S("$"))) {
        *id = s != NULL ? stream_state(s)->last : STREAM_ID_MIN;
        return true;
    }
    return arg_stream_id(c, 4, id);
}

static void cmd_xgroup_create(struct call *c)
{
    const struct key *k = &c->keys[0];
    struct stream *s;
    struct stream_id id;
    bool make = false;
    int64_t read = STREAM_READ_UNKNOWN;
    if (!group_options(c, &make, &read) || !(make ? stream_write(c, k, &s) : group_stream(c, &s)) ||
        !group_fits(c, CREATE_ARGS_MAX) || !group_id(c, s, &id)) {
        return;
    }
    bool is_new = s == NULL;
    if (is_new) {
        s = stream_new();
    }
    int rc = stream_group_add(s, c->argv[3], id, read);
    if (rc <= 0) {
        if (is_new) {
            stream_free(s);
        }
        if (rc < 0) {
            reply_oom(c);
        } else {
            reply_error(c, "BUSYGROUP Consumer Group name already exists");
        }
        return;
    }
    if (is_new) {
        (void)key_add(c, k, OBJ_STREAM, ENC_STREAM, s);
    } else {
        key_changed_quietly(c, k);
    }
    notify(c, NOTIFY_STREAM, "xgroup-create", k);
    reply_ok(c);
}

static void cmd_xgroup_setid(struct call *c)
{
    struct stream *s;
    struct stream_group g;
    struct stream_id id;
    int64_t read = STREAM_READ_UNKNOWN;
    if (!group_options(c, NULL, &read) || !group_there(c, &s, &g) ||
        !group_fits(c, SETID_ARGS_MAX)) {
        return;
    }
    bool edge = slice_eq(c->argv[4], S("-")) || slice_eq(c->argv[4], S("+")); /* CREATE has none */
    if (!(edge ? arg_stream_first(c, 4, &id) : group_id(c, s, &id))) {
        return;
    }
    g.last = id;
    g.read = read;
    stream_group_set(s, &g);
    key_changed_quietly(c, &c->keys[0]);
    notify(c, NOTIFY_STREAM, "xgroup-setid", &c->keys[0]);
    reply_ok(c);
}

/* Who waits for something from the group learns that it is gone. */
static void cmd_xgroup_destroy(struct call *c)
{
    const struct key *k = &c->keys[0];
    struct stream *s, *old;
    struct stream_group g;
    if (!group_stream(c, &s)) {
        return;
    }
    bool there = stream_group_find(s, c->argv[3], &g);
    if (there) {
        stream_group_remove(s, &g, &old);
        if (old != NULL) {
            keyspace_free_value(c->ks, OBJ_STREAM, ENC_STREAM, old);
        }
        key_changed_quietly(c, k);
        notify(c, NOTIFY_STREAM, "xgroup-destroy", k);
        key_ready(c, k);
    }
    reply_int(c, there);
}

static void cmd_xgroup_createconsumer(struct call *c)
{
    const struct key *k = &c->keys[0];
    struct stream *s;
    struct stream_group g;
    if (!group_there(c, &s, &g)) {
        return;
    }
    int rc = stream_consumer_add(s, &g, c->argv[4], call_logged_ms(c), STREAM_NEVER);
    if (rc < 0) {
        reply_oom(c);
        return;
    }
    if (rc > 0) {
        key_changed_quietly(c, k);
        notify(c, NOTIFY_STREAM, "xgroup-createconsumer", k);
    }
    reply_int(c, rc);
}

static void cmd_xgroup_delconsumer(struct call *c)
{
    const struct key *k = &c->keys[0];
    struct stream *s;
    struct stream_group g;
    struct stream_consumer consumer;
    uint64_t pending = 0;
    if (!group_there(c, &s, &g)) {
        return;
    }
    if (stream_consumer_find(s, &g, c->argv[4], &consumer)) {
        pending = stream_pending_count(s, consumer.number);
        stream_consumer_remove(s, &consumer);
        key_changed_quietly(c, k);
        notify(c, NOTIFY_STREAM, "xgroup-delconsumer", k);
    }
    reply_int(c, (int64_t)pending);
}

static void cmd_xgroup_help(struct call *c)
{
    static const char *const lines[] = {
        "CREATE <key> <groupname> <id|$> [option]",
        "    Create a new consumer group. Options are:",
        "    * MKSTREAM",
        "      Create the empty stream if it does not exist.",
        "    * ENTRIESREAD entries_read",
        "      Set the group's entries_read counter (internal use).",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Create a new consumer in the specified group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Remove the specified consumer.",
        "DESTROY <key> <groupname>",
        "    Remove the specified group.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Set the current group ID and entries_read counter.",
        NULL,
    };
    reply_help(c, lines);
}

/* ---- XACK ---- */

static void cmd_xack(struct call *c)
{
    const struct key *k = &c->keys[0];
    struct stream *s;
    struct stream_group g;
    struct stream_id id;
    int64_t acked = 0;
    if (!stream_read(c, k, &s)) {
        return;
    }
    if (s == NULL || !stream_group_find(s, c->argv[2], &g)) {
        reply_int(c, 0);
        return;
    }
    if (!arg_stream_ids(c, 3)) {
        return;
    }
    for (unsigned i = 3; i < c->argc; i++) {
        must(stream_id_parse(c->argv[i], 0, &id, NULL));
        acked += stream_pending_remove(s, &g, id);
    }
    if (acked > 0) {
        key_changed_quietly(c, k);
        call_more_changes(c, acked - 1);
    }
    reply_int(c, acked);
}

#define GROUP_ROW .acl = ACL_STREAM, .group = "stream"
static const struct command xgroup_sub[] = {
    { .name = "create",
      .proc = cmd_xgroup_create,
      .arity = -5,
      .flags = CMD_WRITE | CMD_DENYOOM,
      GROUP_ROW,
      .keys = { KEY_AT(2, KEY_RW | KEY_INSERT) },
      .since = "5.0.0",
      .complexity = "O(1)",
      .summary = "Create a consumer group.",
      .syntax = "key groupname id=<id|new_id=$> [MKSTREAM] [ENTRIESREAD entries_read:int]",
      .history = "7.0.0:Added the `entries_read` named argument." },
    { .name = "createconsumer",
      .proc = cmd_xgroup_createconsumer,
      .arity = 5,
      .flags = CMD_WRITE | CMD_DENYOOM,
      GROUP_ROW,
      .keys = { KEY_AT(2, KEY_RW | KEY_INSERT) },
      .since = "6.2.0",
      .complexity = "O(1)",
      .summary = "Create a consumer in a consumer group.",
      .syntax = "key groupname consumername" },
    { .name = "delconsumer",
      .proc = cmd_xgroup_delconsumer,
      .arity = 5,
      .flags = CMD_WRITE,
      GROUP_ROW,
      .keys = { KEY_AT(2, KEY_RW | KEY_DELETE) },
      .since = "5.0.0",
      .complexity = "O(1)",
      .summary = "Delete a consumer from a consumer group.",
      .syntax = "key groupname consumername" },
    { .name = "destroy",
      .proc = cmd_xgroup_destroy,
      .arity = 4,
      .flags = CMD_WRITE,
      GROUP_ROW,
      .keys = { KEY_AT(2, KEY_RW | KEY_DELETE) },
      .since = "5.0.0",
      .complexity =
          "O(N) where N is the number of entries in the group's pending entries list (PEL).",
      .summary = "Destroy a consumer group.",
      .syntax = "key groupname" },
    { .name = "help",
      .proc = cmd_xgroup_help,
      .arity = 2,
      .flags = CMD_LOADING | CMD_STALE,
      GROUP_ROW,
      .since = "5.0.0",
      .complexity = "O(1)",
      .summary = "Show helpful text about the different subcommands" },
    { .name = "setid",
      .proc = cmd_xgroup_setid,
      .arity = -5,
      .flags = CMD_WRITE,
      GROUP_ROW,
      .keys = { KEY_AT(2, KEY_RW | KEY_UPDATE) },
      .since = "5.0.0",
      .complexity = "O(1)",
      .summary = "Set a consumer group to an arbitrary last delivered ID value.",
      .syntax = "key groupname id=<id|new_id=$> [ENTRIESREAD entries_read:int]",
      .history = "7.0.0:Added the optional `entries_read` argument." },
    { .name = NULL },
};

const struct command stream_group_commands[] = {
    { .name = "xgroup",
      .arity = -2,
      .sub = xgroup_sub,
      .group = "stream",
      .since = "5.0.0",
      .complexity = "Depends on subcommand.",
      .summary = "A container for consumer groups commands" },
    { .name = "xack",
      .proc = cmd_xack,
      .arity = -4,
      .flags = CMD_WRITE | CMD_FAST,
      GROUP_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_UPDATE) },
      .since = "5.0.0",
      .complexity = "O(1) for each message ID processed.",
      .summary = "Marks a pending message as correctly processed, effectively removing it from the "
                 "pending entries list of the consumer group. Return value of the command is the "
                 "number of messages successfully acknowledged, that is, the IDs we were actually "
                 "able to resolve in the PEL.",
      .syntax = "key group id..." },
    { .name = NULL },
};
