/* cmd_commandlog.c -- COMMANDLOG: commands that took long, were large, or had a large reply.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY  SLOWLOG says nothing of a fast command that moves megabytes. The form is Valkey's (8.1). */
#include "exec/commandlog.h"

bool commandlog_count_arg(struct call *c, int64_t *count)
{
    return arg_i64_range(c, 2, -1, INT64_MAX, count,
                         "ERR count should be greater than or equal to -1");
}

/* argv[i]; false: replied the error. */
static bool kind_arg(struct call *c, unsigned i, enum commandlog_kind *kind)
{
    static const char *const names[COMMANDLOG_KINDS] = { "slow", "large-request", "large-reply" };
    for (unsigned k = 0; k < COMMANDLOG_KINDS; k++) {
        if (arg_is(c, i, names[k])) {
            *kind = (enum commandlog_kind)k;
            return true;
        }
    }
    reply_error(c, "ERR type should be one of the following: slow, large-request, large-reply");
    return false;
}

static void cmd_commandlog_get(struct call *c)
{
    int64_t count;
    enum commandlog_kind kind;
    if (commandlog_count_arg(c, &count) && kind_arg(c, 3, &kind)) {
        commandlog_get(c, kind, count);
    }
}

static void cmd_commandlog_len(struct call *c)
{
    enum commandlog_kind kind;
    if (kind_arg(c, 2, &kind)) {
        commandlog_len(c, kind);
    }
}

static void cmd_commandlog_reset(struct call *c)
{
    enum commandlog_kind kind;
    if (kind_arg(c, 2, &kind)) {
        commandlog_reset(c, kind);
    }
}

static void cmd_commandlog_help(struct call *c)
{
    static const char *const lines[] = {
        "GET <count> <type>",
        "    Return the newest <count> entries of the command log of that type (-1: all).",
        "    An entry has its id, the unix time, the microseconds of execution (type slow)",
        "    or the bytes of the request or reply, the arguments, the client's address and",
        "    its name.",
        "LEN <type>",
        "    Return the number of entries in the command log of that type.",
        "RESET <type>",
        "    Empty the command log of that type.",
        "Types are: slow, large-request, large-reply.",
        NULL,
    };
    reply_help(c, lines);
}

#define LOG_ROW(fl) .flags = CMD_LOADING | CMD_STALE | (fl), .group = "server", .since = "8.1.0"
#define LOG_TYPE    "type=<SLOW|LARGE-REQUEST|LARGE-REPLY>"
static const struct command commandlog_sub[] = {
    { .name = "get",
      .proc = cmd_commandlog_get,
      .arity = 4,
      LOG_ROW(CMD_ADMIN | CMD_KEYSPACE),
      .complexity = "O(N) where N is the number of entries returned",
      .summary = "Returns the specified command log's entries.",
      .syntax = "count:int " LOG_TYPE,
      .tips = "request_policy:all_nodes,nondeterministic_output" },
    { .name = "help",
      .proc = cmd_commandlog_help,
      .arity = 2,
      LOG_ROW(0),
      .complexity = "O(1)",
      .summary = "Show helpful text about the different subcommands" },
    { .name = "len",
      .proc = cmd_commandlog_len,
      .arity = 3,
      LOG_ROW(CMD_ADMIN),
      .complexity = "O(1)",
      .summary = "Returns the number of entries in the specified type of command log.",
      .syntax = LOG_TYPE,
      .tips = "request_policy:all_nodes,response_policy:agg_sum,nondeterministic_output" },
    { .name = "reset",
      .proc = cmd_commandlog_reset,
      .arity = 3,
      LOG_ROW(CMD_ADMIN),
      .complexity = "O(N) where N is the number of entries in the commandlog",
      .summary = "Clears all entries from the specified type of command log.",
      .syntax = LOG_TYPE,
      .tips = "request_policy:all_nodes,response_policy:all_succeeded" },
    { .name = NULL },
};
const struct command commandlog_commands[] = {
    { .name = "commandlog",
      .arity = -2,
      .sub = commandlog_sub,
      .group = "server",
      .since = "8.1.0",
      .complexity = "Depends on subcommand.",
      .summary = "A container for command log commands." },
    { .name = NULL },
};
