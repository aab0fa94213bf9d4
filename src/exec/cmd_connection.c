/* cmd_connection.c -- Commands about the connection itself: PING, ECHO, SELECT, QUIT.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "exec/exec_int.h"

static void cmd_ping(struct call *c)
{
    if (c->argc > 2) {
        reply_arity(c);
        return;
    }
    if (c->resp == 2 && c->session != NULL && session_subscribed(c->session)) {
        reply_array(c, 2);
        reply_bulk(c, S("pong"));
        reply_bulk(c, c->argc == 2 ? c->argv[1] : S(""));
    } else if (c->argc == 2) {
        reply_bulk(c, c->argv[1]);
    } else {
        reply_simple(c, "PONG");
    }
}

static void cmd_echo(struct call *c)
{
    reply_bulk(c, c->argv[1]);
}

static void cmd_select(struct call *c)
{
    int64_t db;
    if (!arg_i64_range(c, 1, INT32_MIN, INT32_MAX, &db, NULL)) {
        return;
    }
    if (db < 0 || db >= (int64_t)keyspace_databases(c->ks)) {
        reply_error(c, "ERR DB index is out of range");
        return;
    }
    c->session->db = (unsigned)db;
    reply_ok(c);
}

static void cmd_quit(struct call *c)
{
    reply_ok(c);
    conn_close(c->session->conn, CLOSE_AFTER_REPLY);
}

const struct command connection_commands[] = {
    { .name = "ping",
      .proc = cmd_ping,
      .arity = -1,
      .flags = CMD_FAST,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "1.0.0",
      .complexity = "O(1)",
      .summary = "Returns the server's liveliness response.",
      .syntax = "[message]",
      .tips = "request_policy:all_shards,response_policy:all_succeeded" },
    { .name = "echo",
      .proc = cmd_echo,
      .arity = 2,
      .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "1.0.0",
      .complexity = "O(1)",
      .summary = "Returns the given string.",
      .syntax = "message" },
    { .name = "select",
      .proc = cmd_select,
      .arity = 2,
      .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "1.0.0",
      .complexity = "O(1)",
      .summary = "Changes the selected database.",
      .syntax = "index" },
    { .name = "quit",
      .proc = cmd_quit,
      .arity = -1,
      .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY |
               CMD_NO_QUEUE,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "1.0.0",
      .complexity = "O(1)",
      .summary = "Closes the connection.",
      .deprecated_since = "7.2.0",
      .replaced_by = "just closing the connection" },
    { .name = NULL },
};
