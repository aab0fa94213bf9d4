/* cmd_stream_info.c -- Streams: what XINFO tells of a stream, its groups and their consumers.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "commands/stream_ops.h"

/* The stream at the key. False: replied the error. */
static bool info_stream(struct call *c, struct stream **s)
{
    if (!stream_read(c, &c->keys[0], s)) {
        return false;
    }
    if (*s == NULL) {
        reply_no_key(c);
        return false;
    }
    return true;
}

static void field_int(struct call *c, const char *name, uint64_t v)
{
    reply_bulk_str(c, name);
    reply_int(c, (int64_t)v);
}

static void field_id(struct call *c, const char *name, struct stream_id id)
{
    reply_bulk_str(c, name);
    reply_stream_id(c, id);
}

/* entries-read and lag, each nil when nobody can tell. */
static void fields_read(struct call *c, const struct stream *s, const struct stream_group *g)
{
    uint64_t lag;
    reply_bulk_str(c, "entries-read");
    if (g->read != STREAM_READ_UNKNOWN) {
        reply_int(c, g->read);
    } else {
        reply_null(c);
    }
    reply_bulk_str(c, "lag");
    if (stream_lag(s, g, &lag)) {
        reply_int(c, (int64_t)lag);
    } else {
        reply_null(c);
    }
}

/* The seven fields that both forms begin with. Redis keeps nodes in a radix tree: so many keys, and
 * at least one node more. */
static void fields_stream(struct call *c, const struct stream *s)
{
    const struct stream_state *t = stream_state(s);
    struct stream_id first = STREAM_ID_MIN;
    (void)stream_edge(s, true, &first);
    field_int(c, "length", t->length);
    field_int(c, "radix-tree-keys", stream_nodes(s));
    field_int(c, "radix-tree-nodes", stream_nodes(s) + 1);
    field_id(c, "last-generated-id", t->last);
    field_id(c, "max-deleted-entry-id", t->max_deleted);
    field_int(c, "entries-added", t->added);
    field_id(c, "recorded-first-entry-id", first);
}

static void field_edge(struct call *c, const char *name, const struct stream *s, bool first)
{
    struct stream_id id;
    reply_bulk_str(c, name);
    if (stream_edge(s, first, &id)) {
        must(reply_stream_one(c, s, id));
    } else {
        reply_null(c);
    }
}

/* ---- XINFO STREAM FULL ---- */

/* Those of a group, or of one of its consumers, who then need not be named. */
static void field_pending(struct call *c, const struct stream *s, const struct stream_group *g,
                          const struct stream_consumer *of, uint64_t count)
{
    struct stream_pending_iter it;
    struct stream_pending p;
    struct stream_consumer owner;
    uint64_t n = 0;
    field_int(c, "pel-count", stream_pending_count(s, of != NULL ? of->number : g->number));
    reply_bulk_str(c, "pending");
    struct out_block *hole = reply_array_deferred(c);
    stream_pending_iter(&it, s, g, of, STREAM_ID_MIN, STREAM_ID_MAX);
    while ((count == 0 || n < count) && stream_pending_next(&it, &p)) {
        reply_array(c, of != NULL ? 3 : 4);
        reply_stream_id(c, p.id);
        if (of == NULL) {
            must(stream_consumer_by(s, p.consumer, &owner));
            reply_bulk(c, owner.name);
        }
        reply_int(c, p.time);
        reply_int(c, (int64_t)p.count);
        n++;
    }
    reply_array_fill(c, hole, n);
}

static void full_consumer(struct call *c, const struct stream *s, const struct stream_group *g,
                          const struct stream_consumer *consumer, uint64_t count)
{
    reply_map(c, 5);
    reply_bulk_str(c, "name");
    reply_bulk(c, consumer->name);
    reply_bulk_str(c, "seen-time");
    reply_int(c, consumer->seen);
    reply_bulk_str(c, "active-time");
    reply_int(c, consumer->active);
    field_pending(c, s, g, consumer, count);
}

static void full_group(struct call *c, const struct stream *s, const struct stream_group *g,
                       uint64_t count)
{
    struct stream_consumer consumer;
    reply_map(c, 7);
    reply_bulk_str(c, "name");
    reply_bulk(c, g->name);
    field_id(c, "last-delivered-id", g->last);
    fields_read(c, s, g);
    field_pending(c, s, g, NULL, count);
    reply_bulk_str(c, "consumers");
    reply_array(c, stream_consumer_count(s, g));
    for (uint64_t i = 0; stream_consumer_at(s, g, i, &consumer); i++) {
        full_consumer(c, s, g, &consumer, count);
    }
}

static void info_full(struct call *c, const struct stream *s, uint64_t count)
{
    struct stream_group g;
    reply_map(c, 9);
    fields_stream(c, s);
    reply_bulk_str(c, "entries");
    reply_stream_range(c, s, STREAM_ID_MIN, STREAM_ID_MAX, true, count);
    reply_bulk_str(c, "groups");
    reply_array(c, stream_group_count(s));
    for (uint64_t i = 0; stream_group_at(s, i, &g); i++) {
        full_group(c, s, &g, count);
    }
}

#define FULL_COUNT 10

static void cmd_xinfo_stream(struct call *c)
{
    struct stream *s;
    int64_t count = FULL_COUNT;
    if (!info_stream(c, &s)) {
        return;
    }
    bool full = c->argc > 3;
    if (full && (!arg_is(c, 3, "full") || c->argc == 5 || c->argc > 6 ||
                 (c->argc == 6 && !arg_is(c, 4, "count")))) {
        reply_wrong_sub(c);
        return;
    }
    if (full) {
        if (c->argc == 6 && !arg_i64(c, 5, &count)) {
            return;
        }
        info_full(c, s, count < 0 ? FULL_COUNT : (uint64_t)count);
        return;
    }
    reply_map(c, 10);
    fields_stream(c, s);
    field_int(c, "groups", stream_group_count(s));
    field_edge(c, "first-entry", s, true);
    field_edge(c, "last-entry", s, false);
}

/* ---- XINFO GROUPS, CONSUMERS ---- */

static void cmd_xinfo_groups(struct call *c)
{
    struct stream *s;
    struct stream_group g;
    if (!info_stream(c, &s)) {
        return;
    }
    reply_array(c, stream_group_count(s));
    for (uint64_t i = 0; stream_group_at(s, i, &g); i++) {
        reply_map(c, 6);
        reply_bulk_str(c, "name");
        reply_bulk(c, g.name);
        field_int(c, "consumers", stream_consumer_count(s, &g));
        field_int(c, "pending", stream_pending_count(s, g.number));
        field_id(c, "last-delivered-id", g.last);
        fields_read(c, s, &g);
    }
}

static int64_t since(const struct call *c, int64_t then)
{
    return c->now_ms > then ? c->now_ms - then : 0;
}

static void cmd_xinfo_consumers(struct call *c)
{
    struct stream *s;
    struct stream_group g;
    struct stream_consumer consumer;
    if (!info_stream(c, &s)) {
        return;
    }
    if (!stream_group_find(s, c->argv[3], &g)) {
        reply_no_group(c);
        return;
    }
    reply_array(c, stream_consumer_count(s, &g));
    for (uint64_t i = 0; stream_consumer_at(s, &g, i, &consumer); i++) {
        reply_map(c, 4);
        reply_bulk_str(c, "name");
        reply_bulk(c, consumer.name);
        field_int(c, "pending", stream_pending_count(s, consumer.number));
        field_int(c, "idle", (uint64_t)since(c, consumer.seen));
        reply_bulk_str(c, "inactive");
        reply_int(c, consumer.active == STREAM_NEVER ? -1 : since(c, consumer.active));
    }
}

static void cmd_xinfo_help(struct call *c)
{
    static const char *const lines[] = {
        "CONSUMERS <key> <groupname>",
        "    Show consumers of <groupname>.",
        "GROUPS <key>",
        "    Show the stream consumer groups.",
        "STREAM <key> [FULL [COUNT <count>]",
        "    Show information about the stream.",
        NULL,
    };
    reply_help(c, lines);
}

#define INFO_ROW .acl = ACL_STREAM, .group = "stream", .since = "5.0.0", .complexity = "O(1)"
static const struct command xinfo_sub[] = {
    { .name = "consumers",
      .proc = cmd_xinfo_consumers,
      .arity = 4,
      .flags = CMD_READONLY,
      INFO_ROW,
      .keys = { KEY_AT(2, KEY_RO | KEY_ACCESS) },
      .summary = "List the consumers in a consumer group",
      .syntax = "key groupname",
      .tips = "nondeterministic_output",
      .history = "7.2.0:Added the `inactive` field, and changed the meaning of `idle`." },
    { .name = "groups",
      .proc = cmd_xinfo_groups,
      .arity = 3,
      .flags = CMD_READONLY,
      INFO_ROW,
      .keys = { KEY_AT(2, KEY_RO | KEY_ACCESS) },
      .summary = "List the consumer groups of a stream",
      .syntax = "key",
      .history = "7.0.0:Added the `entries-read` and `lag` fields" },
    { .name = "help",
      .proc = cmd_xinfo_help,
      .arity = 2,
      .flags = CMD_LOADING | CMD_STALE,
      INFO_ROW,
      .summary = "Show helpful text about the different subcommands" },
    { .name = "stream",
      .proc = cmd_xinfo_stream,
      .arity = -3,
      .flags = CMD_READONLY,
      INFO_ROW,
      .keys = { KEY_AT(2, KEY_RO | KEY_ACCESS) },
      .summary = "Get information about a stream",
      .syntax = "key [full-block=<FULL [COUNT count:int]>]",
      .history = "6.0.0:Added the `FULL` modifier.|7.0.0:Added the `max-deleted-entry-id`, "
                 "`entries-added`, `recorded-first-entry-id`, `entries-read` and `lag` fields|"
                 "7.2.0:Added the `active-time` field, and changed the meaning of `seen-time`." },
    { .name = NULL },
};

const struct command stream_info_commands[] = {
    { .name = "xinfo",
      .arity = -2,
      .sub = xinfo_sub,
      .group = "stream",
      .since = "5.0.0",
      .complexity = "Depends on subcommand.",
      .summary = "A container for stream introspection commands" },
    { .name = NULL },
};
