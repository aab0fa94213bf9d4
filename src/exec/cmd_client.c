/* cmd_client.c -- The CLIENT family: names, lists, killing, unblocking.
 * SPDX-License-Identifier: BSD-3-Clause
 * THREADS  What looks at other reactors' sessions runs in an exclusive section. Closing one is a
 * message to its reactor: only that may touch its connection. */
#include "exec/acl.h"
#include "exec/client_filter.h"
#include "exec/cmd_tracking.h"
#include "exec/tracking.h"
#include "exec/waiter.h"
#include <stdio.h>
#include <stdlib.h>

static void cmd_client_id(struct call *c)
{
    reply_int(c, (int64_t)c->session->id);
}

static void cmd_client_getname(struct call *c)
{
    if (c->session->name == NULL) {
        reply_null(c);
    } else {
        reply_bulk_str(c, c->session->name);
    }
}

static void cmd_client_setname(struct call *c)
{
    if (session_set_text(&c->session->name, c->argv[2])) {
        reply_ok(c);
    } else {
        reply_error(c, "ERR Client names cannot contain spaces, newlines or special characters.");
    }
}

static void cmd_client_setinfo(struct call *c)
{
    struct session *s = c->session;
    char **at = arg_is(c, 2, "lib-name")  ? &s->lib_name
                : arg_is(c, 2, "lib-ver") ? &s->lib_ver
                                          : NULL;
    if (at == NULL) {
        reply_errorf(c, "ERR Unrecognized option '%.*s'", (int)size_min(c->argv[2].n, 128),
                     c->argv[2].p);
    } else if (!session_set_text(at, c->argv[3])) {
        reply_errorf(c, "ERR %.*s cannot contain spaces, newlines or special characters.",
                     (int)c->argv[2].n, c->argv[2].p);
    } else {
        reply_ok(c);
    }
}

/* What is not known is for a later server to know. */
static void cmd_client_capa(struct call *c)
{
    for (unsigned i = 2; i < c->argc; i++) {
        c->session->capa_redirect |= arg_is(c, i, "redirect");
    }
    reply_ok(c);
}

static void cmd_client_reply(struct call *c)
{
    struct session *s = c->session;
    if (arg_is(c, 2, "on")) {
        if (s->reply_mode != REPLY_SKIP_NEXT) { /* else it was asked for in this transaction */
            s->reply_mode = REPLY_ON;
        }
        reply_ok(c);
    } else if (arg_is(c, 2, "off")) {
        s->reply_mode = REPLY_OFF;
    } else if (arg_is(c, 2, "skip")) {
        s->reply_mode = s->reply_mode == REPLY_OFF ? REPLY_OFF : REPLY_SKIP_NEXT;
    } else {
        reply_syntax(c);
    }
}

static bool arg_on_off(struct call *c, bool *out)
{
    *out = arg_is(c, 2, "on");
    if (!*out && !arg_is(c, 2, "off")) {
        reply_syntax(c);
        return false;
    }
    return true;
}

static void cmd_client_no_evict(struct call *c)
{
    if (arg_on_off(c, &c->session->no_evict)) {
        reply_ok(c);
    }
}

static void cmd_client_no_touch(struct call *c)
{
    if (arg_on_off(c, &c->session->no_touch)) {
        reply_ok(c);
    }
}

/* ---- LIST and INFO ---- */

#define FLAGS_MAX 17

static const char *flags_of(const struct session *s, char text[FLAGS_MAX])
{
    const struct tracking *t = s->tracking;
    const struct {
        char letter;
        bool is;
    } flag[] = {
        { 'O', s->monitor },
        { 'P', session_subscribed(s) },
        { 'x', s->multi != NULL },
        { 'b', s->waiter != NULL || s->paused || s->deferred },
        { 't', t != NULL },
        { 'R', t != NULL && t->broken },
        { 'B', t != NULL && t->bcast },
        { 'd', atomic_load_explicit(&s->watch_dirty, memory_order_relaxed) },
        { 'c', conn_closing(s->conn) },
        { 'U', conn_kind(s->conn) == CONN_UNIX },
        { 'e', s->no_evict },
        { 'T', s->no_touch },
    };
    size_t n = 0;
    for (unsigned i = 0; i < countof(flag); i++) {
        if (flag[i].is) {
            text[n++] = flag[i].letter;
        }
    }
    if (n == 0) {
        text[n++] = 'N';
    }
    text[n] = '\0';
    return text;
}

/* Of a client that waits, or of this call. Others are between two commands: there are none. */
static size_t args_bytes(const struct call *c, const struct session *s)
{
    const struct queued *waits = s->waiter != NULL ? s->waiter->args : NULL;
    const struct slice *argv = waits != NULL ? waits->argv : c->argv;
    unsigned argc = waits != NULL ? waits->argc : s == c->session ? c->argc : 0;
    size_t bytes = 0;
    for (unsigned i = 0; i < argc; i++) {
        bytes += argv[i].n;
    }
    return bytes;
}

void client_describe(const struct call *c, struct session *s, struct buf *b)
{
    char peer[ADDR_TEXT_MAX], local[ADDR_TEXT_MAX], flags[FLAGS_MAX];
    conn_peer(s->conn, peer);
    conn_local(s->conn, local);
    int64_t now = clock_mono_ms();
    size_t in = conn_in_bytes(s->conn), cap = conn_in_cap(s->conn), out = conn_out_bytes(s->conn);
    size_t more = out > OUT_BLOCK_BYTES ? out : 0; /* Redis counts these as a list */
    buf_printf(b,
               "id=%llu addr=%s laddr=%s fd=%d name=%s age=%lld idle=%lld flags=%s db=%u sub=%u "
               "psub=%u ssub=%u multi=%d watch=%u",
               (unsigned long long)s->id, peer, local, conn_fd(s->conn),
               s->name != NULL ? s->name : "",
               (long long)((clock_wall_ms() - s->created_ms) / 1000),
               (long long)((now - conn_last_input_ms(s->conn)) / 1000), flags_of(s, flags), s->db,
               session_subs(s, 0), session_subs(s, 1), session_subs(s, 2),
               s->multi != NULL ? (int)multi_count(s) : -1, s->watch_count);
    buf_printf(b,
               " qbuf=%zu qbuf-free=%zu argv-mem=%zu multi-mem=%zu rbs=%u rbp=%u obl=%zu oll=%zu "
               "omem=%zu tot-mem=%zu events=r cmd=%s user=%s redir=%lld "
               "resp=%d lib-name=%s lib-ver=%s",
               in, cap > in ? cap - in : 0, args_bytes(c, s), s->multi_mem,
               (unsigned)OUT_BLOCK_BYTES, 0u, out - more,
               (more + OUT_BLOCK_BYTES - 1) / OUT_BLOCK_BYTES, more, session_memory(s),
               s->last_cmd != NULL ? s->last_cmd->full : "NULL", session_user_name(s),
               s->tracking != NULL ? (long long)s->tracking->redirect : -1LL, s->resp,
               s->lib_name != NULL ? s->lib_name : "", s->lib_ver != NULL ? s->lib_ver : "");
    if (s->capa_redirect) {
        buf_add_str(b, " capa=r");
    }
}

static void cmd_client_info(struct call *c)
{
    struct buf text = { 0 };
    client_describe(c, c->session, &text);
    buf_add_char(&text, '\n');
    reply_verbatim(c, buf_slice(&text), "txt");
    buf_free(&text);
}

/* How many clients the filter takes, and into `list`, if not NULL, which. */
static unsigned clients_filtered(const struct call *c, const struct client_filter *f,
                                 struct session **list)
{
    unsigned n = 0;
    for (unsigned r = 0; r < c->x->reactors; r++) {
        for (struct session *s = c->x->workers[r].sessions; s != NULL; s = s->next) {
            if (client_filter_takes(c, s, f)) {
                if (list != NULL) {
                    list[n] = s;
                }
                n++;
            }
        }
    }
    return n;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = (*(struct session *const *)a)->id, y = (*(struct session *const *)b)->id;
    return x < y ? -1 : x > y;
}

struct line { /* of a client, in a text of many */
    uint64_t id;
    size_t from, to;
};

static int line_by_id(const void *id, const void *line)
{
    uint64_t x = *(const uint64_t *)id, y = ((const struct line *)line)->id;
    return x < y ? -1 : x > y;
}

/* The lines of `text` in the order of the ids that were asked for, as often as each was. False: no
 * memory. */
static bool lines_as_asked(const struct call *c, const struct client_filter *f,
                           const struct line *lines, unsigned n, struct buf *text)
{
    struct buf all = { 0 };
    for (unsigned i = 0; i < f->is.ids; i++) {
        int64_t id;
        must(parse_i64(c->argv[f->is.ids_at + i], &id));
        const struct line *l = bsearch(&id, lines, n, sizeof *l, line_by_id);
        if (l != NULL) {
            if (!buf_try_reserve(&all, l->to - l->from)) {
                buf_free(&all);
                return false;
            }
            buf_add(&all, text->p + l->from, l->to - l->from);
        }
    }
    buf_free(text);
    *text = all;
    return true;
}

/* The oldest first; when only ids were asked for, in their order: as in Redis. */
static bool clients_list(struct call *c, const struct client_filter *f, struct buf *text)
{
    unsigned n = clients_filtered(c, f, NULL);
    struct session **list = mem_try_alloc((n + 1) * sizeof(struct session *));
    struct line *lines = mem_try_alloc((n + 1) * sizeof *lines);
    bool ok = list != NULL && lines != NULL;
    if (ok) {
        must(clients_filtered(c, f, list) == n);
        qsort(list, n, sizeof(struct session *), by_id);
    }
    for (unsigned i = 0; ok && i < n; i++) {
        lines[i] = (struct line){ .id = list[i]->id, .from = text->n };
        client_describe(c, list[i], text);
        buf_add_char(text, '\n');
        lines[i].to = text->n;
    }
    bool only_ids = f->is.ids_at == 3 && 3 + f->is.ids == c->argc;
    ok = ok && (!only_ids || lines_as_asked(c, f, lines, n, text));
    mem_free(lines);
    mem_free(list);
    return ok;
}

static void cmd_client_list(struct call *c)
{
    struct client_filter f = { .skip_me = false };
    if (!client_filter_parse(c, &f)) {
        return;
    }
    clients_evict_now(c->x); /* nobody is shown that maxmemory-clients has no room for */
    struct buf text = { 0 };
    if (clients_list(c, &f, &text)) {
        reply_verbatim(c, buf_slice(&text), "txt");
    } else {
        reply_oom(c);
    }
    buf_free(&text);
    client_filter_free(&f);
}

/* ---- KILL ---- */

struct kill_order {
    struct message m;
    uint64_t handle;
};

static void on_kill(struct reactor *r, struct message *m)
{
    struct kill_order *k = container_of(m, struct kill_order, m);
    struct conn *conn = conn_by_handle(r, k->handle);
    if (conn != NULL) {
        conn_close(conn, CLOSE_NOW);
    }
    mem_free(k);
}

void session_kill(struct session *s)
{
    if (s->doomed) {
        return;
    }
    s->doomed = true; /* nobody sees it any more, and it runs nothing */
    session_forbid_wait(s);
    struct kill_order *k = mem_alloc(sizeof *k);
    k->handle = s->handle;
    k->m.run = on_kill;
    reactor_post(s->w->r, &k->m);
}

static void kill_session(struct call *c, struct session *s)
{
    if (s == c->session) {
        conn_close(s->conn, CLOSE_AFTER_REPLY); /* it still gets the answer */
    } else {
        session_kill(s);
    }
}

static void cmd_client_kill(struct call *c)
{
    bool old_form = c->argc == 3;
    struct client_filter f = { .skip_me = !old_form };
    if (old_form) {
        f.is.text[FILTER_ADDR] = &c->argv[2];
    } else if (!client_filter_parse(c, &f)) {
        return;
    }
    int64_t killed = 0;
    for (unsigned r = 0; r < c->x->reactors; r++) {
        for (struct session *s = c->x->workers[r].sessions; s != NULL; s = s->next) {
            if (client_filter_takes(c, s, &f)) {
                kill_session(c, s);
                killed++;
            }
        }
    }
    client_filter_free(&f);
    if (!old_form) {
        reply_int(c, killed);
    } else if (killed == 0) {
        reply_error(c, "ERR No such client");
    } else {
        reply_ok(c);
    }
}

static void cmd_client_unblock(struct call *c)
{
    int64_t id;
    bool error = c->argc == 4 && arg_is(c, 3, "error");
    if (c->argc > 4) {
        reply_wrong_sub(c);
        return;
    }
    if (c->argc == 4 && !error && !arg_is(c, 3, "timeout")) {
        reply_error(c, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        return;
    }
    if (!arg_i64(c, 2, &id)) {
        return;
    }
    struct session *s = registry_find(c->x, (uint64_t)id);
    reply_int(c, s != NULL && session_unblock(s, error));
}

static void cmd_client_help(struct call *c)
{
    static const char *const lines[] = {
        "CACHING (YES|NO)",
        "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
        "CAPA <capability> [<capability> ...]",
        "    Tell what the client understands: REDIRECT.",
        "GETREDIR",
        "    Return the client ID we are redirecting to when tracking is enabled.",
        "GETNAME",
        "    Return the name of the current connection.",
        "ID",
        "    Return the ID of the current connection.",
        "INFO",
        "    Return information about the current client connection.",
        "KILL <ip:port>",
        "    Kill connection made from <ip:port>.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Kill connections. Options are:",
        "    * ADDR (<ip:port>|<unixsocket>:0)",
        "      Kill connections made from the specified address",
        "    * LADDR (<ip:port>|<unixsocket>:0)",
        "      Kill connections made to specified local address",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      Kill connections by type.",
        "    * USER <username>",
        "      Kill connections authenticated by <username>.",
        "    * SKIPME (YES|NO)",
        "      Skip killing current connection (default: yes).",
        "    * ID <client-id>",
        "      Kill connections by client id.",
        "    * MAXAGE <maxage>",
        "      Kill connections older than the specified age.",
        "LIST [options ...]",
        "    Return information about client connections. Options:",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      Return clients of specified type.",
        "    * ID, USER, ADDR, LADDR, IP, NAME, LIB-NAME, LIB-VER, DB, MAXAGE, IDLE, SKIPME",
        "      Return clients that all of them fit; with NOT- before it: that it does not fit.",
        "UNPAUSE",
        "    Stop the current client pause, resuming traffic.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Suspend all, or just write, clients for <timeout> milliseconds.",
        "UNBLOCK <clientid> [TIMEOUT|ERROR]",
        "    Unblock the specified blocked client.",
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
        "         [OPTIN] [OPTOUT] [NOLOOP]",
        "    Control server assisted client side caching.",
        "TRACKINGINFO",
        "    Report tracking status for the current connection.",
        "SETNAME <name>",
        "    Assign the name <name> to the current connection.",
        "SETINFO <option> <value>",
        "    Set client meta attr. Options are:",
        "    * LIB-NAME: the client lib name.",
        "    * LIB-VER: the client lib version.",
        "REPLY (ON|OFF|SKIP)",
        "    Control the replies sent to the current connection.",
        "NO-EVICT (ON|OFF)",
        "    Protect current client connection from eviction.",
        "NO-TOUCH (ON|OFF)",
        "    Will not touch LRU/LFU stats when this mode is on.",
        NULL,
    };
    reply_help(c, lines);
}

#define QUIET (CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)
static const struct command client_sub[] = {
    { .name = "id",
      .proc = cmd_client_id,
      .arity = 2,
      .flags = QUIET,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "5.0.0",
      .complexity = "O(1)",
      .summary = "Returns the client ID for the current connection" },
    { .name = "getname",
      .proc = cmd_client_getname,
      .arity = 2,
      .flags = QUIET,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "2.6.9",
      .complexity = "O(1)",
      .summary = "Get the current connection name" },
    { .name = "setname",
      .proc = cmd_client_setname,
      .arity = 3,
      .flags = QUIET,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "2.6.9",
      .complexity = "O(1)",
      .summary = "Set the current connection name",
      .syntax = "connection-name",
      .tips = "request_policy:all_nodes,response_policy:all_succeeded" },
    { .name = "setinfo",
      .proc = cmd_client_setinfo,
      .arity = 4,
      .flags = QUIET,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "7.2.0",
      .complexity = "O(1)",
      .summary = "Sets information specific to the client or connection.",
      .syntax = "attr=<LIB-NAME libname|LIB-VER libver>",
      .tips = "request_policy:all_nodes,response_policy:all_succeeded" },
    { .name = "capa",
      .proc = cmd_client_capa,
      .arity = -3,
      .flags = QUIET,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "8.0.0",
      .complexity = "O(1)",
      .summary = "A client claims its capability.",
      .syntax = "capability..." },
    { .name = "reply",
      .proc = cmd_client_reply,
      .arity = 3,
      .flags = QUIET,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "3.2.0",
      .complexity = "O(1)",
      .summary = "Instruct the server whether to reply to commands",
      .syntax = "on_off_skip=<ON|OFF|SKIP>" },
    { .name = "no-evict",
      .proc = cmd_client_no_evict,
      .arity = 3,
      .flags = QUIET | CMD_ADMIN,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "7.0.0",
      .complexity = "O(1)",
      .summary = "Set client eviction mode for the current connection",
      .syntax = "enabled=<ON|OFF>" },
    { .name = "no-touch",
      .proc = cmd_client_no_touch,
      .arity = 3,
      .flags = QUIET,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "7.2.0",
      .complexity = "O(1)",
      .summary =
          "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
      .syntax = "enabled=<ON|OFF>" },
    { .name = "getredir",
      .proc = cmd_client_getredir,
      .arity = 2,
      .flags = QUIET,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "6.0.0",
      .complexity = "O(1)",
      .summary = "Get tracking notifications redirection client ID if any" },
    { .name = "info",
      .proc = cmd_client_info,
      .arity = 2,
      .flags = QUIET,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "6.2.0",
      .complexity = "O(1)",
      .summary = "Returns information about the current client connection.",
      .tips = "nondeterministic_output" },
    { .name = "list",
      .proc = cmd_client_list,
      .arity = -2,
      .flags = QUIET | CMD_ADMIN | CMD_EXCLUSIVE,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "2.4.0",
      .complexity = "O(N) where N is the number of client connections",
      .summary = "Get the list of client connections",
      .syntax =
          "[TYPE client-type=<NORMAL|MASTER|REPLICA|PUBSUB>]@5.0.0 [ID client-id:int...]@6.2.0 "
          "[USER username] [ADDR addr(ip:port)] [LADDR laddr(ip:port)] [IP ip] [NAME name] "
          "[LIB-NAME libname] [LIB-VER libver] [DB db:int] [IDLE idle:int] [MAXAGE maxage:int] "
          "[SKIPME skipme=<YES|NO>]",
      .tips = "nondeterministic_output",
      .history = "2.8.12:Added unique client `id` field.|5.0.0:Added optional `TYPE` "
                 "filter.|6.0.0:Added `user` field.|6.2.0:Added `argv-mem`, `tot-mem`, `laddr` and "
                 "`redir` fields and the optional `ID` filter.|7.0.0:Added `resp`, `multi-mem`, "
                 "`rbs` and `rbp` fields.|7.0.3:Added `ssub` field." },
    { .name = "kill",
      .proc = cmd_client_kill,
      .arity = -3,
      .flags = QUIET | CMD_ADMIN | CMD_EXCLUSIVE,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "2.4.0",
      .complexity = "O(N) where N is the number of client connections",
      .summary = "Kill the connection of a client",
      .syntax = "filter=<old-format(ip:port)!2.8.12|new-format=<[ID client-id:int]@2.8.12|[TYPE "
                "client-type=<NORMAL|MASTER@3.2.0|SLAVE|REPLICA@5.0.0|PUBSUB>]@2.8.12|[USER "
                "username]|[ADDR addr(ip:port)]|[LADDR laddr(ip:port)]@6.2.0|[SKIPME "
                "skipme=<YES|NO>]|[MAXAGE maxage:int]@7.4.0>...>",
      .history = "2.8.12:Added new filter format.|2.8.12:`ID` option.|3.2.0:Added `master` type in "
                 "for `TYPE` option.|5.0.0:Replaced `slave` `TYPE` with `replica`. `slave` still "
                 "supported for backward compatibility.|6.2.0:`LADDR` option." },
    { .name = "unblock",
      .proc = cmd_client_unblock,
      .arity = -3,
      .flags = QUIET | CMD_ADMIN | CMD_EXCLUSIVE,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "5.0.0",
      .complexity = "O(log N) where N is the number of client connections",
      .summary = "Unblock a client blocked in a blocking command from a different connection",
      .syntax = "client-id:int [timeout_error=<TIMEOUT|ERROR>]" },
    { .name = "pause",
      .proc = cmd_client_pause,
      .arity = -3,
      .flags = QUIET | CMD_ADMIN | CMD_EXCLUSIVE,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "2.9.50",
      .complexity = "O(1)",
      .summary = "Stop processing commands from clients for some time",
      .syntax = "timeout:int [mode=<WRITE|ALL>]@6.2.0",
      .history = "6.2.0:`CLIENT PAUSE WRITE` mode added along with the `mode` option." },
    { .name = "unpause",
      .proc = cmd_client_unpause,
      .arity = 2,
      .flags = QUIET | CMD_ADMIN,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "6.2.0",
      .complexity = "O(N) Where N is the number of paused clients",
      .summary = "Resume processing of clients that were paused" },
    { .name = "tracking",
      .proc = cmd_client_tracking,
      .arity = -3,
      .flags = QUIET,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "6.0.0",
      .complexity = "O(1). Some options may introduce additional complexity.",
      .summary = "Enable or disable server assisted client side caching support",
      .syntax =
          "status=<ON|OFF> [REDIRECT client-id:int] [PREFIX prefix]... [BCAST] [OPTIN] [OPTOUT] "
          "[NOLOOP]" },
    { .name = "trackinginfo",
      .proc = cmd_client_trackinginfo,
      .arity = 2,
      .flags = QUIET,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "6.2.0",
      .complexity = "O(1)",
      .summary = "Return information about server assisted client side caching for the current "
                 "connection" },
    { .name = "caching",
      .proc = cmd_client_caching,
      .arity = 3,
      .flags = QUIET,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "6.0.0",
      .complexity = "O(1)",
      .summary = "Instruct the server about tracking or not keys in the next request",
      .syntax = "mode=<YES|NO>" },
    { .name = "help",
      .proc = cmd_client_help,
      .arity = 2,
      .flags = CMD_LOADING | CMD_STALE,
      .acl = ACL_CONNECTION,
      .group = "connection",
      .since = "5.0.0",
      .complexity = "O(1)",
      .summary = "Show helpful text about the different subcommands" },
    { .name = NULL },
};

const struct command client_commands[] = {
    { .name = "client",
      .arity = -2,
      .sub = client_sub,
      .group = "connection",
      .since = "2.4.0",
      .complexity = "Depends on subcommand.",
      .summary = "A container for client connection commands" },
    { .name = NULL },
};
