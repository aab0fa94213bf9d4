/* syntax.h -- Argument lists of commands, as rows write them (README.md) and as COMMAND DOCS shows
 * them. SPDX-License-Identifier: BSD-3-Clause */
#ifndef COMMANDS_SYNTAX_H
#define COMMANDS_SYNTAX_H

#include "exec/exec.h"

enum arg_type {
    ARG_STRING,
    ARG_INTEGER,
    ARG_DOUBLE,
    ARG_KEY,
    ARG_PATTERN,
    ARG_UNIX_TIME,
    ARG_PURE_TOKEN,
    ARG_ONEOF,
    ARG_BLOCK
};
enum arg_flags { ARG_OPTIONAL = 1, ARG_MULTIPLE = 2, ARG_MULTIPLE_TOKEN = 4 };

/* Slices point into the parsed text; name is owned for pure tokens without one. */
struct command_arg {
    struct command_arg *next, *sub; /* sub: of ONEOF and BLOCK */
    enum arg_type type;
    unsigned flags;
    bool of_spec;      /* belongs to a key specification: keys, patterns that stand for keys */
    unsigned key_spec; /* which one */
    struct slice name, shown;              /* shown: display_text, empty: the name */
    struct slice token, since, deprecated; /* empty: none */
    char *own_name;
};

/* The arguments of a row's syntax (which must stay), NULL for an empty one. What cannot be parsed
 * is a bug in the row: *error then points at it, and NULL is returned. */
struct command_arg *syntax_parse(const char *syntax, const char **error);
void syntax_free(struct command_arg *args);

const char *arg_type_name(enum arg_type t); /* "pure-token" */
/* The value of "arguments" in COMMAND DOCS. */
void syntax_reply(struct call *c, const struct command_arg *args);
#endif
