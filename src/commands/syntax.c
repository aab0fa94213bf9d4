/* syntax.c -- Parses the one-line argument lists of rows and prints them for COMMAND DOCS.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Recursive descent over
 *     list     = argument { " " argument }
 *     argument = "[" argument "]" suffix | core suffix
 *     core     = TOKEN [ " " item ] | name "=" TOKEN | item
 *     item     = name [ "(" shown ")" ] [ ":" type ] | name "=<" argument { (" " | "|") argument }
 * ">" suffix   = [ "@" version ] [ "!" version ] [ "..." ] where a TOKEN starts with anything but a
 * lower-case letter, "[" and "<". */
#include "base/mem.h"
#include "commands/syntax.h"

static struct command_arg *parse_argument(const char **at);

static bool is_lower(char ch)
{
    return ch >= 'a' && ch <= 'z';
}
static bool is_digit(char ch)
{
    return ch >= '0' && ch <= '9';
}

/* ---- Words ---- */

static struct slice read_name(const char **at)
{
    const char *p = *at;
    while (is_lower(**at) || is_digit(**at) || **at == '-' || **at == '_') {
        ++*at;
    }
    return slice_of(p, (size_t)(*at - p));
}

static bool token_starts(const char *at)
{
    return *at != '\0' && !is_lower(*at) && strchr(" []<>|@!.", *at) == NULL;
}

static struct slice read_token(const char **at)
{
    const char *p = *at;
    *at += strcspn(*at, " []<>|@!");
    return slice_of(p, (size_t)(*at - p));
}

static struct slice read_version(const char **at)
{
    const char *p = *at;
    while (is_digit(**at) || (**at == '.' && is_digit((*at)[1]))) {
        ++*at;
    }
    return slice_of(p, (size_t)(*at - p));
}

/* ---- Arguments ---- */

static void name_after_token(struct command_arg *a)
{
    a->own_name = mem_dup(a->token.p, a->token.n);
    for (size_t i = 0; i < a->token.n; i++) {
        char ch = a->own_name[i];
        a->own_name[i] = ch >= 'A' && ch <= 'Z' ? (char)(ch - 'A' + 'a') : ch;
    }
    a->name = slice_of(a->own_name, a->token.n);
}

static bool parse_type(const char **at, struct command_arg *a)
{
    static const struct {
        const char *name;
        enum arg_type type;
    } types[] = { { "string", ARG_STRING },  { "int", ARG_INTEGER },     { "double", ARG_DOUBLE },
                  { "time", ARG_UNIX_TIME }, { "pattern", ARG_PATTERN }, { "key", ARG_KEY } };
    struct slice s = read_name(at);
    if (s.n > 0 && is_digit(s.p[s.n - 1])) {
        a->of_spec = true;
        a->key_spec = (unsigned)(s.p[--s.n] - '0');
    }
    for (unsigned i = 0; i < countof(types); i++) {
        if (slice_eq(s, slice_str(types[i].name))) {
            a->type = types[i].type;
            a->of_spec |= a->type == ARG_KEY;
            return a->key_spec < KEYSPEC_MAX;
        }
    }
    return false;
}

/* The inside of <...>; *at stands behind "<". */
static bool parse_group(const char **at, struct command_arg *a)
{
    struct command_arg **tail = &a->sub;
    char between = '\0';
    for (;;) {
        *tail = parse_argument(at);
        if (*tail == NULL) {
            return false;
        }
        tail = &(*tail)->next;
        char ch = **at;
        if (ch == '>') {
            ++*at;
            a->type = between == '|' ? ARG_ONEOF : ARG_BLOCK;
            return between != '\0';
        }
        if ((ch != '|' && ch != ' ') || (between != '\0' && ch != between)) {
            return false;
        }
        between = ch;
        ++*at;
    }
}

/* name, name:type, name=<...> */
static bool parse_item(const char **at, struct command_arg *a)
{
    a->name = read_name(at);
    if (a->name.n == 0) {
        return false;
    }
    if (**at == '(') {
        size_t n = strcspn(*at + 1, ")");
        a->shown = slice_of(*at + 1, n);
        if ((*at)[1 + n] != ')') {
            return false;
        }
        *at += n + 2;
    }
    if (**at == ':') {
        ++*at;
        return parse_type(at, a);
    }
    if (**at == '=' && (*at)[1] == '<') {
        *at += 2;
        return parse_group(at, a);
    }
    a->of_spec = slice_eq(a->name, S("key"));
    a->type = a->of_spec ? ARG_KEY : ARG_STRING;
    return true;
}

static bool parse_core(const char **at, struct command_arg *a)
{
    if (token_starts(*at)) {
        a->token = read_token(at);
        if (**at == ' ' && is_lower((*at)[1])) {
            ++*at;
            return parse_item(at, a);
        }
        a->type = ARG_PURE_TOKEN;
        name_after_token(a);
        return true;
    }
    if (!parse_item(at, a)) {
        return false;
    }
    if (**at == '=' && token_starts(*at + 1)) {
        ++*at;
        a->token = read_token(at);
        a->type = ARG_PURE_TOKEN;
    }
    return true;
}

static bool parse_suffix(const char **at, struct command_arg *a, bool bracketed)
{
    if (**at == '@') {
        ++*at;
        a->since = read_version(at);
        if (a->since.n == 0) {
            return false;
        }
    }
    if (**at == '!') {
        ++*at;
        a->deprecated = read_version(at);
        if (a->deprecated.n == 0) {
            return false;
        }
    }
    if (strncmp(*at, "...", 3) == 0) {
        *at += 3;
        a->flags |= ARG_MULTIPLE;
        if (bracketed && a->token.n > 0) {
            a->flags |= ARG_MULTIPLE_TOKEN;
        }
    }
    return true;
}

static struct command_arg *parse_argument(const char **at)
{
    bool bracketed = **at == '[', fine;
    struct command_arg *a;
    if (bracketed) {
        ++*at;
        a = parse_argument(at);
        if (a == NULL) {
            return NULL;
        }
        a->flags |= ARG_OPTIONAL;
        fine = **at == ']';
        *at += fine;
    } else {
        a = mem_calloc(sizeof *a);
        fine = parse_core(at, a);
    }
    if (!fine || !parse_suffix(at, a, bracketed)) {
        syntax_free(a);
        return NULL;
    }
    return a;
}

struct command_arg *syntax_parse(const char *syntax, const char **error)
{
    const char *at = syntax;
    struct command_arg *args = NULL, **tail = &args;
    *error = NULL;
    for (bool more = at != NULL && *at != '\0'; more;) {
        *tail = parse_argument(&at);
        if (*tail == NULL || (*at != ' ' && *at != '\0')) {
            *error = at;
            syntax_free(args);
            return NULL;
        }
        tail = &(*tail)->next;
        more = *at == ' ';
        at += more;
    }
    return args;
}

void syntax_free(struct command_arg *args)
{
    while (args != NULL) {
        struct command_arg *next = args->next;
        syntax_free(args->sub);
        mem_free(args->own_name);
        mem_free(args);
        args = next;
    }
}

/* ---- COMMAND DOCS ---- */

const char *arg_type_name(enum arg_type t)
{
    static const char *const names[] = {
        [ARG_STRING] = "string",         [ARG_INTEGER] = "integer",
        [ARG_DOUBLE] = "double",         [ARG_KEY] = "key",
        [ARG_PATTERN] = "pattern",       [ARG_UNIX_TIME] = "unix-time",
        [ARG_PURE_TOKEN] = "pure-token", [ARG_ONEOF] = "oneof",
        [ARG_BLOCK] = "block",
    };
    return names[t];
}

static void reply_field(struct call *c, const char *field, struct slice value)
{
    if (value.n > 0) {
        reply_bulk_str(c, field);
        reply_bulk(c, value);
    }
}

static void reply_arg(struct call *c, const struct command_arg *a)
{
    static const struct {
        unsigned flag;
        const char *name;
    } flags[] = { { ARG_OPTIONAL, "optional" },
                  { ARG_MULTIPLE, "multiple" },
                  { ARG_MULTIPLE_TOKEN, "multiple_token" } };
    reply_map(c, 2u + (a->sub == NULL) + a->of_spec + (a->token.n > 0) + (a->since.n > 0) +
                     (a->deprecated.n > 0) + (a->flags != 0) + (a->sub != NULL));
    reply_field(c, "name", a->name);
    reply_field(c, "type", slice_str(arg_type_name(a->type)));
    if (a->sub == NULL) {
        reply_field(c, "display_text", a->shown.n > 0 ? a->shown : a->name);
    }
    if (a->of_spec) {
        reply_bulk_str(c, "key_spec_index");
        reply_int(c, a->key_spec);
    }
    reply_field(c, "token", a->token);
    reply_field(c, "since", a->since);
    reply_field(c, "deprecated_since", a->deprecated);
    if (a->flags != 0) {
        reply_bulk_str(c, "flags");
        reply_set(c, (unsigned)__builtin_popcount(a->flags));
        for (unsigned i = 0; i < countof(flags); i++) {
            if (a->flags & flags[i].flag) {
                reply_simple(c, flags[i].name);
            }
        }
    }
    if (a->sub != NULL) {
        reply_bulk_str(c, "arguments");
        syntax_reply(c, a->sub);
    }
}

void syntax_reply(struct call *c, const struct command_arg *args)
{
    unsigned n = 0;
    for (const struct command_arg *a = args; a != NULL; a = a->next) {
        n++;
    }
    reply_array(c, n);
    for (const struct command_arg *a = args; a != NULL; a = a->next) {
        reply_arg(c, a);
    }
}
