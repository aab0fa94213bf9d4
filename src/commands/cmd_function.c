/* cmd_function.c -- FUNCTION LIST and FLUSH of a server that has no libraries.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY  Tools and test suites clear functions before they start. There is no command yet that could
 *      load one, so "none" and "all gone" are the true answers; what would need the engine (LOAD,
 *      FCALL ...) is unknown. */
#include "commands/commands.h"

static void cmd_function_flush(struct call *c)
{
    if (c->argc > 3) {
        reply_wrong_sub(c);
    } else if (c->argc == 3 && !arg_is(c, 2, "sync") && !arg_is(c, 2, "async")) {
        reply_error(c, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
    } else {
        reply_ok(c);
    }
}

static void cmd_function_list(struct call *c)
{
    bool pattern = false, code = false;
    for (unsigned i = 2; i < c->argc; i++) {
        if (!code && arg_is(c, i, "withcode")) {
            code = true;
        } else if (!pattern && arg_is(c, i, "libraryname")) {
            if (++i == c->argc) {
                reply_error(c, "ERR library name argument was not given");
                return;
            }
            pattern = true;
        } else {
            reply_errorf(c, "ERR Unknown argument %.*s", (int)c->argv[i].n, c->argv[i].p);
            return;
        }
    }
    reply_array(c, 0);
}

static const struct command function_sub[] = {
    { .name = "flush",
      .proc = cmd_function_flush,
      .arity = -2,
      .flags = CMD_WRITE | CMD_NOSCRIPT,
      .acl = ACL_SCRIPTING,
      .group = "scripting",
      .since = "7.0.0",
      .complexity = "O(N) where N is the number of functions deleted",
      .summary = "Deleting all functions",
      .syntax = "[async=<ASYNC|SYNC>]",
      .tips = "request_policy:all_shards,response_policy:all_succeeded" },
    { .name = "list",
      .proc = cmd_function_list,
      .arity = -2,
      .flags = CMD_NOSCRIPT,
      .acl = ACL_SCRIPTING,
      .group = "scripting",
      .since = "7.0.0",
      .complexity = "O(N) where N is the number of functions",
      .summary = "List information about all the functions",
      .syntax = "[LIBRARYNAME library-name-pattern] [WITHCODE]",
      .tips = "nondeterministic_output_order" },
    { .name = NULL },
};

const struct command function_commands[] = {
    { .name = "function",
      .arity = -2,
      .sub = function_sub,
      .group = "scripting",
      .since = "7.0.0",
      .complexity = "Depends on subcommand.",
      .summary = "A container for function commands" },
    { .name = NULL },
};
