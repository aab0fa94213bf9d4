/* cmd_connection.c -- Commands about the connection itself: PING, ECHO, SELECT, HELLO, AUTH, RESET,
 * QUIT. SPDX-License-Identifier: BSD-3-Clause THREADS  The session's reactor. Users only
 * change in exclusive sections. */
#include "exec/acl.h"
#include "exec/tracking.h"
#include <stdio.h>

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

/* ---- AUTH and HELLO ---- */

/* Argument `at` is the password, the one before it the name; with one argument, "default"'s. */
static struct acl_user *log_in(struct call *c, struct slice name, unsigned at)
{
    struct acl_user *u = acl_login(c->x->acl, name, c->argv[at]);
    if (u == NULL) {
        char given[256]; /* as much as ACL LOG needs to name who tried */
        snprintf(given, sizeof given, "%.*s", (int)size_min(name.n, sizeof given - 1), name.p);
        acl_log_denied(c, ACL_DENIED_AUTH, c->flags & CALL_MULTI ? ACL_IN_MULTI : ACL_IN_TOPLEVEL,
                       c->argv[0], given);
    }
    return u;
}

#define WRONGPASS "WRONGPASS invalid username-password pair or user is disabled."

static void cmd_auth(struct call *c)
{
    if (c->argc > 3) {
        reply_syntax(c);
        return;
    }
    for (unsigned i = 1; i < c->argc; i++) {
        call_redact(c, i);
    }
    if (c->argc == 2 && c->x->acl->def->nopass) {
        reply_error(c, "ERR AUTH <password> called without any password configured for the default "
                       "user. Are you sure your configuration is correct?");
        return;
    }
    struct acl_user *u = log_in(c, c->argc == 3 ? c->argv[1] : S("default"), c->argc - 1);
    if (u == NULL) {
        reply_error(c, WRONGPASS);
        return;
    }
    session_login(c->session, u);
    reply_ok(c);
}

static bool printable(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '!' || s.p[i] > '~') {
            return false;
        }
    }
    return true;
}

bool session_set_text(char **at, struct slice value)
{
    if (!printable(value)) {
        return false;
    }
    mem_free(*at);
    *at = value.n > 0 ? mem_dup(value.p, value.n) : NULL;
    return true;
}

#define BAD_NAME "ERR Client names cannot contain spaces, newlines or special characters."

struct hello {
    int resp;
    unsigned password; /* argument, behind the user's name; 0: none */
    const struct slice *name;
};

/* False after having replied the error; nothing is changed then. */
static bool hello_parse(struct call *c, struct hello *h)
{
    unsigned i = 1;
    if (c->argc > 1) {
        int64_t version;
        if (!arg_i64_range(c, 1, INT64_MIN, INT64_MAX, &version,
                           "ERR Protocol version is not an integer or out of range")) {
            return false;
        }
        if (version < 2 || version > 3) {
            reply_error(c, "NOPROTO unsupported protocol version");
            return false;
        }
        h->resp = (int)version;
        i = 2;
    }
    for (; i < c->argc; i++) {
        unsigned more = c->argc - 1 - i;
        if (more >= 2 && arg_is(c, i, "auth")) {
            call_redact(c, i + 1);
            call_redact(c, i + 2);
            i += 2;
            h->password = i;
        } else if (more >= 1 && arg_is(c, i, "setname")) {
            h->name = &c->argv[++i];
            if (!printable(*h->name)) {
                reply_error(c, BAD_NAME);
                return false;
            }
        } else {
            reply_errorf(c, "ERR Syntax error in HELLO option '%.*s'",
                         (int)size_min(c->argv[i].n, 128), c->argv[i].p);
            return false;
        }
    }
    return true;
}

static void cmd_hello(struct call *c)
{
    struct session *s = c->session;
    struct hello h = { .resp = s->resp };
    if (!hello_parse(c, &h)) {
        return;
    }
    struct acl_user *u = NULL;
    if (h.password != 0) {
        u = log_in(c, c->argv[h.password - 1], h.password);
        if (u == NULL) {
            reply_error(c, WRONGPASS);
            return;
        }
    } else if (!s->authenticated) {
        reply_error(
            c, "NOAUTH HELLO must be called with the client already authenticated, otherwise the "
               "HELLO <proto> AUTH <user> <pass> option can be used to "
               "authenticate the client and select the RESP protocol version at the same time");
        return;
    }
    if (u != NULL) {
        session_login(s, u);
    }
    if (h.name != NULL) {
        (void)session_set_text(&s->name, *h.name);
    }
    s->resp = c->resp = h.resp;
    reply_map(c, 7);
    reply_bulk(c, S("server"));
    reply_bulk(c, S("redis"));
    reply_bulk(c, S("version"));
    reply_bulk(c, S(EXEC_REDIS_VERSION));
    reply_bulk(c, S("proto"));
    reply_int(c, s->resp);
    reply_bulk(c, S("id"));
    reply_int(c, (int64_t)s->id);
    reply_bulk(c, S("mode"));
    reply_bulk(c, S("standalone"));
    reply_bulk(c, S("role"));
    reply_bulk(c, S("master"));
    reply_bulk(c, S("modules"));
    reply_array(c, 0);
}

/* As a connection that has just been made. */
static void cmd_reset(struct call *c)
{
    struct session *s = c->session;
    txn_begin(&s->w->txn, s->w);
    session_discard(s);
    session_unwatch(s);
    session_unsubscribe_all(s);
    session_unmonitor(s);
    session_untrack(s);
    (void)session_set_text(&s->name, S(""));
    s->db = 0;
    s->resp = c->resp = 2;
    s->no_touch = s->no_evict = false;
    s->reply_mode = REPLY_ON;
    session_reset_user(s);
    reply_simple(c, "RESET");
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
      .summary = "Ping the server",
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
      .summary = "Echo the given string",
      .syntax = "message" },
    { .name = "select",
      .proc = cmd_select,
      .arity = 2,
      .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "1.0.0",
      .complexity = "O(1)",
      .summary = "Change the selected database for the current connection",
      .syntax = "index:int" },
    { .name = "quit",
      .proc = cmd_quit,
      .arity = -1,
      .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY |
               CMD_NO_QUEUE,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "1.0.0",
      .complexity = "O(1)",
      .summary = "Close the connection",
      .deprecated_since = "7.2.0",
      .replaced_by = "just closing the connection" },
    { .name = "hello",
      .proc = cmd_hello,
      .arity = -1,
      .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "6.0.0",
      .complexity = "O(1)",
      .summary = "Handshake with Redis",
      .syntax = "[arguments=<protover:int [AUTH username_password=<username password>] [SETNAME "
                "clientname]>]",
      .history = "6.2.0:`protover` made optional; when called without arguments the command "
                 "reports the current connection's context." },
    { .name = "auth",
      .proc = cmd_auth,
      .arity = -2,
      .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "1.0.0",
      .complexity = "O(N) where N is the number of passwords defined for the user",
      .summary = "Authenticate to the server",
      .syntax = "[username]@6.0.0 password",
      .history = "6.0.0:Added ACL style (username and password)." },
    { .name = "reset",
      .proc = cmd_reset,
      .arity = 1,
      .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY |
               CMD_NO_QUEUE | CMD_OWN_TXN,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "6.2.0",
      .complexity = "O(1)",
      .summary = "Reset the connection" },
    { .name = NULL },
};
