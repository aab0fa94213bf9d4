/* cmd_server.c -- INFO, CONFIG, TIME, SHUTDOWN, ROLE, LASTSAVE, LOLWUT, MODULE LIST.
 * SPDX-License-Identifier: BSD-3-Clause
 * CONFIG SET, REWRITE and RESETSTAT run in an exclusive section: a change acts for everybody
 * between two commands. */
#include "server/server_int.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "script/script.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static void cmd_info(struct call *c)
{
    struct buf text = { 0 };
    struct server *s = server_of(c);
    bool keys = info_write(s, c->argv + 1, c->argc - 1, &text);
    reply_verbatim(c, buf_slice(&text), "txt");
    buf_free(&text);
    /* What tells that the disk is full must not wait for it to be less full: meanwhile the numbers
     * of keys are those of memory. */
    if (keys && s->wal != NULL && wal_state(s->wal) == WAL_OK) {
        call_gate_counts(c);
    }
}

static void cmd_time(struct call *c)
{
    int64_t now = call_time_us(c);
    reply_array(c, 2);
    reply_bulk_i64(c, now / 1000000);
    reply_bulk_i64(c, now % 1000000);
}

static void cmd_lastsave(struct call *c)
{
    reply_int(c, server_of(c)->start_ms / 1000);
}

static void cmd_role(struct call *c)
{
    struct server *s = server_of(c);
    reply_array(c, 3);
    reply_bulk(c, S("master"));
    reply_int(c, s->wal != NULL ? (int64_t)wal_durable_lsn(s->wal) : 0);
    reply_array(c, 0);
}

static void cmd_lolwut(struct call *c)
{
    static const char art[] =
        "  k   k  v     v\n"
        "  k  k    v   v\n"
        "  kkk      v v\n"
        "  k  k      v\n"
        "\nkv " KV_VERSION ": nothing acknowledged is ever lost. Redis ver. " REDIS_VERSION "\n";
    reply_verbatim(c, slice_str(art), "txt");
}

static void cmd_module_list(struct call *c)
{
    reply_array(c, 0);
}

static void cmd_module_help(struct call *c)
{
    static const char *const lines[] = { "LIST", "    Return a list of loaded modules.", NULL };
    reply_help(c, lines);
}

enum { SHUT_NOSAVE = 1, SHUT_SAVE = 2, SHUT_NOW = 4, SHUT_FORCE = 8, SHUT_ABORT = 16 };

static void cmd_shutdown(struct call *c)
{
    static const struct {
        const char *word;
        int flag;
    } words[] = { { "nosave", SHUT_NOSAVE },
                  { "save", SHUT_SAVE },
                  { "now", SHUT_NOW },
                  { "force", SHUT_FORCE },
                  { "abort", SHUT_ABORT } };
    int flags = 0;
    for (unsigned i = 1; i < c->argc; i++) {
        int flag = 0;
        for (unsigned k = 0; k < countof(words); k++) {
            flag |= slice_is(c->argv[i], words[k].word) ? words[k].flag : 0;
        }
        flags |= flag;
        if (flag == 0) {
            reply_syntax(c);
            return;
        }
    }
    if (((flags & SHUT_ABORT) && flags != SHUT_ABORT) ||
        ((flags & SHUT_NOSAVE) && (flags & SHUT_SAVE))) {
        reply_syntax(c);
        return;
    }
    if (flags & SHUT_ABORT) {
        reply_error(c, "ERR No shutdown in progress.");
        return;
    }
    const char *busy = call_busy_text(c);
    if (busy != NULL && !(flags & SHUT_NOSAVE)) {
        reply_error(c, busy);
        return;
    }
    /* For a reply that never comes: what the client sent behind it is held and never runs. */
    (void)!call_defer(c);
    exec_shutdown_request(c->x, flags | EXEC_ENDS);
    kill(getpid(), SIGUSR2);
}

/* ---- CONFIG ---- */

struct get_reply {
    struct call *c;
    size_t pairs;
};

static void get_one(void *arg, struct slice name, struct slice value)
{
    struct get_reply *g = arg;
    reply_bulk(g->c, name);
    reply_bulk(g->c, value);
    g->pairs++;
}

static void cmd_config_get(struct call *c)
{
    struct get_reply g = { c, 0 };
    struct out_block *hole = reply_array_deferred(c);
    config_get(server_of(c)->config, c->argv + 2, c->argc - 2, get_one, &g);
    reply_map_fill(c, hole, g.pairs);
}

static bool names_log(const struct call *c)
{
    for (unsigned i = 2; i < c->argc; i += 2) {
        if (slice_is(c->argv[i], "appendonly") || slice_is(c->argv[i], "appendfsync")) {
            return true;
        }
    }
    return false;
}

/* The values are set; the log follows them in its own time, and the reply with it. `saved` belongs
 * to the change. False: not possible here, and nothing happened. */
static bool change_log(struct call *c, struct config_saved *saved, const char **why)
{
    struct server *s = server_of(c);
    /* COMPAT: Redis changes appendonly and appendfsync inside MULTI, too. Here they wait for the
     * disk, and a transaction does not. */
    uint64_t ticket = call_defer(c);
    if (ticket == 0) {
        *why = "it waits for the disk, which a transaction or script can't";
        return false;
    }
    if (!log_change_start(s, ticket, saved)) {
        struct buf error = { 0 };
        bool back = config_restore(s->config, saved, &error);
        config_saved_free(saved);
        exec_deferred_reply(
            c->x, ticket,
            back ? "ERR CONFIG SET failed - no thread could be started"
                 : "ERR CONFIG SET failed, and the old values could not be restored");
        buf_free(&error);
    }
    return true;
}

/* While the log is loaded it follows what the directives were when that began: no other values. */
static bool log_is_loading(const struct call *c)
{
    struct load_progress p;
    exec_load_progress(c->x, &p);
    return p.loading;
}

/* The values are set but can't act: back to the old ones. */
static void set_back(struct server *s, const struct config_saved *saved, const char *why,
                     struct buf *error)
{
    struct buf detail = { 0 };
    bool back = config_restore(s->config, saved, &detail);
    buf_printf(error, "ERR CONFIG SET failed - %s%s", why,
               back ? "" : ", and the old values could not be restored");
    if (!back) {
        log_warning("A directive could not be set back: %.*s", (int)detail.n, detail.p);
    }
    buf_free(&detail);
}

/* CONFIG SET of directives that the log follows: all of them act, or none. */
static void config_set_log(struct call *c, bool may, struct buf *error)
{
    struct server *s = server_of(c);
    unsigned npairs = (c->argc - 2) / 2;
    if (log_change_busy(s)) {
        buf_add_str(error, "ERR CONFIG SET failed - an earlier change of appendonly or appendfsync "
                           "is not complete yet");
        return;
    }
    struct config_saved *saved = config_save(s->config, c->argv + 2, npairs);
    int64_t on = option_int(&s->opt.appendonly), sync = option_int(&s->opt.appendfsync);
    const char *why = NULL;
    bool set = config_set_many(s->config, c->argv + 2, npairs, may, error);
    bool other = on != option_int(&s->opt.appendonly) || sync != option_int(&s->opt.appendfsync);
    bool loading = log_is_loading(c);
    if (set && loading && other) {
        why = "the log is being loaded";
    }
    if (set && why == NULL && (loading || !log_change_needed(s))) {
        reply_ok(c);
    } else if (set && why == NULL && change_log(c, saved, &why)) {
        return;
    } else if (set) {
        set_back(s, saved, why, error);
    }
    config_saved_free(saved);
}

static void redact_secrets(struct call *c)
{
    for (unsigned i = 2; i + 1 < c->argc; i += 2) {
        if (config_is_sensitive(server_of(c)->config, c->argv[i])) {
            call_redact(c, i + 1);
        }
    }
}

static void cmd_config_set(struct call *c)
{
    if (c->argc % 2 != 0) {
        reply_syntax(c);
        return;
    }
    struct server *s = server_of(c);
    struct buf error = { 0 };
    redact_secrets(c);
    int64_t who = option_int(&s->opt.enable_protected_configs);
    bool may = who == PROTECT_YES || (who == PROTECT_LOCAL && session_is_local(c->session));
    if (names_log(c)) {
        config_set_log(c, may, &error);
    } else if (config_set_many(s->config, c->argv + 2, (c->argc - 2) / 2, may, &error)) {
        reply_ok(c);
    }
    if (error.n > 0) {
        buf_add_char(&error, '\0');
        reply_error(c, error.p);
    }
    buf_free(&error);
}

static void rewrite_failed(struct buf *error, const char *path unused_arg, int rc)
{
    buf_printf(error, "ERR Rewriting config file: %s", strerror(-rc));
}

static void cmd_config_rewrite(struct call *c)
{
    struct config *config = server_of(c)->config;
    struct buf text = { 0 };
    int rc = config_rewritten(config, &text);
    if (rc == 0) {
        call_replace_file(c, config_file(config), 0644, &text, rewrite_failed);
    } else if (rc == -ENOENT) {
        reply_error(c, "ERR The server is running without a config file");
    } else {
        reply_errorf(c, "ERR Rewriting config file: %s", strerror(-rc));
    }
}

static void cmd_config_resetstat(struct call *c)
{
    struct server *s = server_of(c);
    exec_stats_reset(s->x);
    exec_errorstats_reset(s->x);
    net_stats_reset(s->net);
    script_stats_reset(s->scripts);
    reply_ok(c);
}

static void cmd_config_help(struct call *c)
{
    static const char *const lines[] = {
        "GET <pattern>",
        "    Return parameters matching the glob-like <pattern> and their values.",
        "SET <directive> <value>",
        "    Set the configuration <directive> to <value>.",
        "RESETSTAT",
        "    Reset statistics reported by the INFO command.",
        "REWRITE",
        "    Rewrite the configuration file.",
        NULL,
    };
    reply_help(c, lines);
}

#define ADMIN (CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)
static const struct command config_sub[] = {
    { .name = "get",
      .proc = cmd_config_get,
      .arity = -3,
      .flags = ADMIN,
      .group = "server",
      .since = "2.0.0",
      .complexity = "O(N) when N is the number of configuration parameters provided",
      .summary = "Get the values of configuration parameters",
      .syntax = "parameter...",
      .history = "7.0.0:Added the ability to pass multiple pattern parameters in one call" },
    { .name = "set",
      .proc = cmd_config_set,
      .arity = -4,
      .flags = ADMIN | CMD_EXCLUSIVE,
      .group = "server",
      .since = "2.0.0",
      .complexity = "O(N) when N is the number of configuration parameters provided",
      .summary = "Set configuration parameters to the given values",
      .syntax = "data=<parameter value>...",
      .tips = "request_policy:all_nodes,response_policy:all_succeeded",
      .history = "7.0.0:Added the ability to set multiple parameters in one call." },
    { .name = "rewrite",
      .proc = cmd_config_rewrite,
      .arity = 2,
      .flags = ADMIN | CMD_EXCLUSIVE,
      .group = "server",
      .since = "2.8.0",
      .complexity = "O(1)",
      .summary = "Rewrite the configuration file with the in memory configuration",
      .tips = "request_policy:all_nodes,response_policy:all_succeeded" },
    { .name = "resetstat",
      .proc = cmd_config_resetstat,
      .arity = 2,
      .flags = ADMIN | CMD_EXCLUSIVE,
      .group = "server",
      .since = "2.0.0",
      .complexity = "O(1)",
      .summary = "Reset the stats returned by INFO",
      .tips = "request_policy:all_nodes,response_policy:all_succeeded" },
    { .name = "help",
      .proc = cmd_config_help,
      .arity = 2,
      .flags = CMD_LOADING | CMD_STALE,
      .group = "server",
      .since = "5.0.0",
      .complexity = "O(1)",
      .summary = "Show helpful text about the different subcommands" },
    { .name = NULL },
};
const struct command config_commands[] = {
    { .name = "config",
      .arity = -2,
      .sub = config_sub,
      .group = "server",
      .since = "2.0.0",
      .complexity = "Depends on subcommand.",
      .summary = "A container for server configuration commands" },
    { .name = NULL },
};

static const struct command module_sub[] = {
    { .name = "list",
      .proc = cmd_module_list,
      .arity = 2,
      .flags = CMD_ADMIN | CMD_NOSCRIPT,
      .group = "server",
      .since = "4.0.0",
      .complexity = "O(N) where N is the number of loaded modules.",
      .summary = "List all modules loaded by the server",
      .tips = "nondeterministic_output_order" },
    { .name = "help",
      .proc = cmd_module_help,
      .arity = 2,
      .flags = CMD_LOADING | CMD_STALE,
      .group = "server",
      .since = "5.0.0",
      .complexity = "O(1)",
      .summary = "Show helpful text about the different subcommands" },
    { .name = NULL },
};

const struct command server_commands[] = {
    { .name = "info",
      .proc = cmd_info,
      .arity = -1,
      .flags = CMD_LOADING | CMD_STALE | CMD_KEYSPACE,
      .acl = ACL_DANGEROUS,
      .group = "server",
      .since = "1.0.0",
      .complexity = "O(1)",
      .summary = "Get information and statistics about the server",
      .syntax = "[section]...",
      .tips = "nondeterministic_output,request_policy:all_shards,response_policy:special",
      .history = "7.0.0:Added support for taking multiple section arguments." },
    { .name = "time",
      .proc = cmd_time,
      .arity = 1,
      .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
      .group = "server",
      .since = "2.6.0",
      .complexity = "O(1)",
      .summary = "Return the current server time",
      .tips = "nondeterministic_output" },
    { .name = "lastsave",
      .proc = cmd_lastsave,
      .arity = 1,
      .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
      .acl = ACL_ADMIN | ACL_DANGEROUS,
      .group = "server",
      .since = "1.0.0",
      .complexity = "O(1)",
      .summary = "Get the UNIX time stamp of the last successful save to disk",
      .tips = "nondeterministic_output" },
    { .name = "role",
      .proc = cmd_role,
      .arity = 1,
      .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST,
      .acl = ACL_ADMIN | ACL_DANGEROUS,
      .group = "server",
      .since = "2.8.12",
      .complexity = "O(1)",
      .summary = "Return the role of the instance in the context of replication" },
    { .name = "lolwut",
      .proc = cmd_lolwut,
      .arity = -1,
      .flags = CMD_READONLY | CMD_FAST,
      .group = "server",
      .since = "5.0.0",
      .summary = "Display some computer art and the Redis version",
      .syntax = "[VERSION version:int]" },
    { .name = "shutdown",
      .proc = cmd_shutdown,
      .arity = -1,
      .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_NO_MULTI | CMD_ALLOW_BUSY,
      .group = "server",
      .since = "1.0.0",
      .complexity = "O(N) when saving, where N is the total number of keys in all databases when "
                    "saving data, otherwise O(1)",
      .summary = "Synchronously save the dataset to disk and then shut down the server",
      .syntax = "[nosave_save=<NOSAVE|SAVE>] [NOW]@7.0.0 [FORCE]@7.0.0 [ABORT]@7.0.0",
      .history = "7.0.0:Added the `NOW`, `FORCE` and `ABORT` modifiers." },
    { .name = "module",
      .arity = -2,
      .sub = module_sub,
      .group = "server",
      .since = "4.0.0",
      .complexity = "Depends on subcommand.",
      .summary = "A container for module commands" },
    { .name = NULL },
};
