/* cmd_command.c -- COMMAND: what the rows say, in the words of COMMAND INFO and COMMAND DOCS.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      Here and not in commands/: it shows all families, exec's and the server's own too. */
#include "base/mem.h"
#include "commands/syntax.h"
#include "server/server_int.h"
#include <stdio.h>

/* ---- Names of bits, in the order in which Redis shows them; it does not show may_replicate ----
 */

static const struct bit_name flag_names[] = {
    { CMD_WRITE, "write" },
    { CMD_READONLY, "readonly" },
    { CMD_DENYOOM, "denyoom" },
    { CMD_ADMIN, "admin" },
    { CMD_PUBSUB, "pubsub" },
    { CMD_NOSCRIPT, "noscript" },
    { CMD_BLOCKING, "blocking" },
    { CMD_LOADING, "loading" },
    { CMD_STALE, "stale" },
    { CMD_SKIP_MONITOR, "skip_monitor" },
    { CMD_SKIP_SLOWLOG, "skip_slowlog" },
    { CMD_ASKING, "asking" },
    { CMD_FAST, "fast" },
    { CMD_NO_AUTH, "no_auth" },
    { CMD_NO_MANDATORY_KEYS, "no_mandatory_keys" },
    { CMD_PROTECTED, "protected" },
    { CMD_NO_ASYNC_LOADING, "no_async_loading" },
    { CMD_NO_MULTI, "no_multi" },
    { CMD_MOVABLEKEYS, "movablekeys" },
    { CMD_ALLOW_BUSY, "allow_busy" },
};
static const struct bit_name key_flag_names[] = {
    { KEY_RO, "RO" },
    { KEY_RW, "RW" },
    { KEY_OW, "OW" },
    { KEY_RM, "RM" },
    { KEY_ACCESS, "access" },
    { KEY_UPDATE, "update" },
    { KEY_INSERT, "insert" },
    { KEY_DELETE, "delete" },
    { KEY_NOT_KEY, "not_key" },
    { KEY_INCOMPLETE, "incomplete" },
    { KEY_VARIABLE, "variable_flags" },
};

static void reply_bits(struct call *c, uint32_t bits, const char *prefix,
                       const struct bit_name *names, size_t n)
{
    unsigned set = 0;
    for (size_t i = 0; i < n; i++) {
        set += (bits & names[i].bit) != 0;
    }
    reply_set(c, set);
    for (size_t i = 0; i < n; i++) {
        if (bits & names[i].bit) {
            char text[32];
            snprintf(text, sizeof text, "%s%s", prefix, names[i].name);
            reply_simple(c, text);
        }
    }
}

/* ---- Rows by name ---- */

/* "get" or "config|get"; *parent: the container of a subcommand, else NULL. */
static const struct command *find_named(struct call *c, struct slice name,
                                        const struct command **parent)
{
    *parent = NULL;
    struct slice words[2] = { name };
    const char *bar = name.n > 0 ? memchr(name.p, '|', name.n) : NULL;
    if (bar == NULL) {
        return exec_find_command(c->x, words, 1);
    }
    words[0].n = (size_t)(bar - name.p);
    words[1] = slice_of(bar + 1, name.n - words[0].n - 1);
    const struct command *top = exec_find_command(c->x, words, 1);
    const struct command *row = top != NULL ? exec_find_command(c->x, words, 2) : NULL;
    *parent = top;
    return row != top ? row : NULL;
}

static const char *full_name(const struct command *parent, const struct command *row, char *buf,
                             size_t size)
{
    if (parent == NULL) {
        return row->name;
    }
    snprintf(buf, size, "%s|%s", parent->name, row->name);
    return buf;
}

static unsigned sub_count(const struct command *row)
{
    unsigned n = 0;
    while (row->sub != NULL && row->sub[n].name != NULL) {
        n++;
    }
    return n;
}

/* The pieces of a list: tips at commas, history before a "|" that a version follows. */
static bool next_piece(const char **at, bool history, struct slice *out)
{
    const char *p = *at;
    if (p == NULL || *p == '\0') {
        return false;
    }
    size_t n = 0;
    while (p[n] != '\0' &&
           (history ? !(p[n] == '|' && p[n + 1] >= '0' && p[n + 1] <= '9') : p[n] != ',')) {
        n++;
    }
    *out = slice_of(p, n);
    *at = p + n + (p[n] != '\0');
    return true;
}

static unsigned count_pieces(const char *list, bool history)
{
    struct slice piece;
    unsigned n = 0;
    while (next_piece(&list, history, &piece)) {
        n++;
    }
    return n;
}

/* ---- COMMAND INFO ---- */

static bool spec_known(const struct keyspec *k)
{
    return k->begin != 0 || k->keyword != NULL;
}

static void reply_begin_search(struct call *c, const struct keyspec *k)
{
    reply_bulk_str(c, "begin_search");
    reply_map(c, 2);
    reply_bulk_str(c, "type");
    reply_bulk_str(c, !spec_known(k) ? "unknown" : k->keyword != NULL ? "keyword" : "index");
    reply_bulk_str(c, "spec");
    if (!spec_known(k)) {
        reply_map(c, 0);
    } else if (k->keyword != NULL) {
        char upper[32];
        size_t n = 0;
        for (; k->keyword[n] != '\0' && n + 1 < sizeof upper; n++) {
            char ch = k->keyword[n];
            upper[n] = (char)(ch >= 'a' && ch <= 'z' ? ch - 'a' + 'A' : ch);
        }
        reply_map(c, 2);
        reply_bulk_str(c, "keyword");
        reply_bulk(c, slice_of(upper, n));
        reply_bulk_str(c, "startfrom");
        reply_int(c, k->begin);
    } else {
        reply_map(c, 1);
        reply_bulk_str(c, "index");
        reply_int(c, k->begin);
    }
}

static void reply_numbers(struct call *c, const char *const names[3], const int64_t values[3])
{
    reply_map(c, 3);
    for (unsigned i = 0; i < 3; i++) {
        reply_bulk_str(c, names[i]);
        reply_int(c, values[i]);
    }
}

static void reply_find_keys(struct call *c, const struct keyspec *k)
{
    static const char *const range[3] = { "lastkey", "keystep", "limit" };
    static const char *const keynum[3] = { "keynumidx", "firstkey", "keystep" };
    reply_bulk_str(c, "find_keys");
    reply_map(c, 2);
    reply_bulk_str(c, "type");
    reply_bulk_str(c, !spec_known(k) ? "unknown" : k->numkeys ? "keynum" : "range");
    reply_bulk_str(c, "spec");
    if (!spec_known(k)) {
        reply_map(c, 0);
    } else if (k->numkeys) {
        reply_numbers(c, keynum, (const int64_t[]){ 0, 1, k->step });
    } else {
        reply_numbers(c, range, (const int64_t[]){ k->last, k->step, k->limit });
    }
}

static unsigned spec_count(const struct command *row)
{
    unsigned n = 0;
    while (n < KEYSPEC_MAX && row->keys[n].step != 0) {
        n++;
    }
    return n;
}

static void reply_specs(struct call *c, const struct command *row)
{
    unsigned n = spec_count(row);
    reply_set(c, n);
    for (unsigned i = 0; i < n; i++) {
        const struct keyspec *k = &row->keys[i];
        reply_map(c, 3u + (k->notes != NULL));
        if (k->notes != NULL) {
            reply_bulk_str(c, "notes");
            reply_bulk_str(c, k->notes);
        }
        reply_bulk_str(c, "flags");
        reply_bits(c, k->flags, "", key_flag_names, countof(key_flag_names));
        reply_begin_search(c, k);
        reply_find_keys(c, k);
    }
}

/* The three numbers of before key specifications: they name what one range can. Several
 * specifications are one range when each is a plain one that begins behind the one before; those
 * that are not are left out (the command is "movablekeys"). */
struct legacy_range {
    int64_t first, last, step;
};

static struct legacy_range legacy_range(const struct command *row)
{
    struct legacy_range all = { 0, 0, 0 };
    unsigned n = spec_count(row);
    for (unsigned i = 0; i < n; i++) {
        const struct keyspec *k = &row->keys[i];
        if (!spec_known(k) || k->keyword != NULL || k->numkeys) {
            continue;
        }
        int64_t last = k->last < 0 ? k->last : k->begin + k->last;
        if (n == 1) {
            return (struct legacy_range){ k->begin, last, k->step };
        }
        if (k->step != 1 || (all.step != 0 && all.last != k->begin - 1)) {
            continue;
        }
        all = (struct legacy_range){ all.step != 0 ? all.first : k->begin, last, 1 };
    }
    return all;
}

static void reply_info(struct call *c, const struct command *parent, const struct command *row)
{
    char name[64];
    struct legacy_range keys = legacy_range(row);
    reply_array(c, 10);
    reply_bulk_str(c, full_name(parent, row, name, sizeof name));
    reply_int(c, row->arity);
    reply_bits(c, row->flags, "", flag_names, countof(flag_names));
    reply_int(c, keys.first);
    reply_int(c, keys.last);
    reply_int(c, keys.step);
    reply_bits(c, command_acl(row), "@", command_categories, COMMAND_CATEGORIES);
    const char *tips = row->tips;
    reply_set(c, count_pieces(tips, false));
    for (struct slice tip; next_piece(&tips, false, &tip);) {
        reply_bulk(c, tip);
    }
    reply_specs(c, row);
    unsigned subs = sub_count(row);
    if (subs == 0) { /* as Redis: an empty one is a set, others are arrays */
        reply_set(c, 0);
        return;
    }
    reply_array(c, subs);
    for (unsigned i = 0; i < subs; i++) {
        reply_info(c, row, &row->sub[i]);
    }
}

/* ---- COMMAND DOCS ---- */

static void reply_text(struct call *c, const char *field, const char *text)
{
    if (text != NULL) {
        reply_bulk_str(c, field);
        reply_bulk_str(c, text);
    }
}

static void reply_history(struct call *c, const char *history)
{
    reply_bulk_str(c, "history");
    reply_set(c, count_pieces(history, true));
    for (struct slice piece; next_piece(&history, true, &piece);) {
        const char *colon = memchr(piece.p, ':', piece.n);
        must(colon != NULL);
        size_t version = (size_t)(colon - piece.p);
        reply_array(c, 2);
        reply_bulk(c, slice_of(piece.p, version));
        reply_bulk(c, slice_of(colon + 1, piece.n - version - 1));
    }
}

/* That each row can be parsed is what a unit test is for; one that cannot has no arguments here. */
static void reply_arguments(struct call *c, const char *syntax)
{
    const char *error;
    struct command_arg *args = syntax_parse(syntax, &error);
    reply_bulk_str(c, "arguments");
    syntax_reply(c, args);
    syntax_free(args);
}

static void reply_docs(struct call *c, const struct command *parent, const struct command *row)
{
    char name[64];
    unsigned subs = sub_count(row);
    uint32_t doc_flags =
        (row->deprecated_since != NULL ? 1u : 0) | (row->flags & CMD_SYSCMD ? 2u : 0);
    static const struct bit_name doc_flag_names[] = { { 1, "deprecated" }, { 2, "syscmd" } };
    bool has_arguments = row->syntax != NULL && row->syntax[0] != '\0';

    reply_bulk_str(c, full_name(parent, row, name, sizeof name));
    reply_map(c, (row->summary != NULL) + (row->since != NULL) + 1u + (row->complexity != NULL) +
                     (doc_flags != 0) + (row->deprecated_since != NULL) +
                     (row->replaced_by != NULL) + (row->history != NULL) + has_arguments +
                     (subs > 0));
    reply_text(c, "summary", row->summary);
    reply_text(c, "since", row->since);
    reply_text(c, "group", row->group);
    reply_text(c, "complexity", row->complexity);
    if (doc_flags != 0) {
        reply_bulk_str(c, "doc_flags");
        reply_bits(c, doc_flags, "", doc_flag_names, countof(doc_flag_names));
    }
    reply_text(c, "deprecated_since", row->deprecated_since);
    reply_text(c, "replaced_by", row->replaced_by);
    if (row->history != NULL) {
        reply_history(c, row->history);
    }
    if (has_arguments) {
        reply_arguments(c, row->syntax);
    }
    if (subs > 0) {
        reply_bulk_str(c, "subcommands");
        reply_map(c, subs);
        for (unsigned i = 0; i < subs; i++) {
            reply_docs(c, row, &row->sub[i]);
        }
    }
}

/* ---- Handlers ---- */

static void count_one(void *arg, const struct command *row)
{
    (void)row;
    ++*(unsigned *)arg;
}

static unsigned command_count(struct call *c)
{
    unsigned n = 0;
    exec_each_command(c->x, count_one, &n);
    return n;
}

static void info_one(void *arg, const struct command *row)
{
    reply_info(arg, NULL, row);
}

static void docs_one(void *arg, const struct command *row)
{
    reply_docs(arg, NULL, row);
}

static void reply_all(struct call *c)
{
    reply_array(c, command_count(c));
    exec_each_command(c->x, info_one, c);
}

static void cmd_command(struct call *c)
{
    reply_all(c);
}

static void cmd_command_count(struct call *c)
{
    reply_int(c, command_count(c));
}

static void cmd_command_info(struct call *c)
{
    if (c->argc == 2) {
        reply_all(c);
        return;
    }
    reply_array(c, c->argc - 2);
    for (unsigned i = 2; i < c->argc; i++) {
        const struct command *parent, *row = find_named(c, c->argv[i], &parent);
        if (row == NULL) {
            reply_null(c);
        } else {
            reply_info(c, parent, row);
        }
    }
}

static void cmd_command_docs(struct call *c)
{
    if (c->argc == 2) {
        reply_map(c, command_count(c));
        exec_each_command(c->x, docs_one, c);
        return;
    }
    struct out_block *hole = reply_array_deferred(c);
    size_t found = 0;
    for (unsigned i = 2; i < c->argc; i++) {
        const struct command *parent, *row = find_named(c, c->argv[i], &parent);
        if (row != NULL) {
            reply_docs(c, parent, row);
            found++;
        }
    }
    reply_map_fill(c, hole, found);
}

/* COMMAND LIST */
enum list_filter { FILTER_NONE, FILTER_MODULE, FILTER_ACLCAT, FILTER_PATTERN };
struct listing {
    struct call *c;
    enum list_filter filter;
    struct slice pattern;
    uint32_t category;
    size_t listed;
};

static bool list_has(const struct listing *l, const struct command *row, const char *name)
{
    switch (l->filter) {
    case FILTER_NONE: return true;
    case FILTER_MODULE: /* there are none */ return false;
    case FILTER_ACLCAT: return (command_acl(row) & l->category) != 0;
    case FILTER_PATTERN: return glob_match(l->pattern, slice_str(name), true);
    }
    return false;
}

static void list_one(struct listing *l, const struct command *parent, const struct command *row)
{
    char buf[64];
    const char *name = full_name(parent, row, buf, sizeof buf);
    if (list_has(l, row, name)) {
        reply_bulk_str(l->c, name);
        l->listed++;
    }
}

static void list_top(void *arg, const struct command *row)
{
    struct listing *l = arg;
    list_one(l, NULL, row);
    for (unsigned i = 0; i < sub_count(row); i++) {
        list_one(l, row, &row->sub[i]);
    }
}

static void cmd_command_list(struct call *c)
{
    struct listing l = { .c = c };
    if (c->argc != 2) {
        if (c->argc != 5 || !arg_is(c, 2, "filterby")) {
            reply_syntax(c);
            return;
        }
        l.pattern = c->argv[4];
        l.filter = arg_is(c, 3, "module")    ? FILTER_MODULE
                   : arg_is(c, 3, "aclcat")  ? FILTER_ACLCAT
                   : arg_is(c, 3, "pattern") ? FILTER_PATTERN
                                             : FILTER_NONE;
        if (l.filter == FILTER_NONE) {
            reply_syntax(c);
            return;
        }
        l.category = command_category(l.pattern);
    }
    struct out_block *hole = reply_array_deferred(c);
    exec_each_command(c->x, list_top, &l);
    reply_array_fill(c, hole, l.listed);
}

/* COMMAND GETKEYS, GETKEYSANDFLAGS: of the request that begins at argv[2]. */

static bool has_keys(const struct command *row)
{
    bool any = row->getkeys != NULL;
    for (unsigned i = 0; i < spec_count(row); i++) {
        any |= !(row->keys[i].flags & KEY_NOT_KEY);
    }
    return any;
}

static void reply_keys(struct call *c, const struct slice *argv, const uint32_t *index,
                       const uint32_t *flags, unsigned n)
{
    reply_array(c, n);
    for (unsigned i = 0; i < n; i++) {
        if (flags != NULL) {
            reply_array(c, 2);
        }
        reply_bulk(c, argv[index[i]]);
        if (flags != NULL) {
            reply_bits(c, flags[i] & ~(uint32_t)KEY_VARIABLE, "", key_flag_names,
                       countof(key_flag_names));
        }
    }
}

/* PFMERGE may have no source, but Redis then says that its second specification begins nowhere. */
static bool keys_begin(const struct command *row, unsigned argc)
{
    bool begin = true;
    for (unsigned i = 0; i < spec_count(row); i++) {
        const struct keyspec *k = &row->keys[i];
        begin &= row->getkeys != NULL || k->keyword != NULL || k->begin < (int)argc;
    }
    return begin;
}

static void reply_keys_of(struct call *c, const struct command *row, bool with_flags)
{
    const struct slice *argv = c->argv + 2;
    unsigned argc = c->argc - 2;
    uint32_t *index = mem_try_alloc(2 * argc * sizeof *index), *flags = index + argc;
    if (index == NULL) {
        reply_oom(c);
        return;
    }
    int n = command_keys_flags(row, argv, argc, index, with_flags ? flags : NULL, argc);
    if (n > 0 && keys_begin(row, argc)) {
        must((unsigned)n <= argc);
        reply_keys(c, argv, index, with_flags ? flags : NULL, (unsigned)n);
    } else if (row->flags & CMD_NO_MANDATORY_KEYS) {
        reply_array(c, 0);
    } else {
        reply_error(c, "ERR Invalid arguments specified for command");
    }
    mem_free(index);
}

static void getkeys(struct call *c, bool with_flags)
{
    const struct slice *argv = c->argv + 2;
    unsigned argc = c->argc - 2;
    const struct command *row = exec_find_command(c->x, argv, argc);
    if (row == NULL || (row->sub != NULL && argc > 1)) { /* or a subcommand that is not there */
        reply_error(c, "ERR Invalid command specified");
    } else if (!has_keys(row)) {
        reply_error(c, "ERR The command has no key arguments");
    } else if (row->arity >= 0 ? (int)argc != row->arity : (int)argc < -row->arity) {
        reply_error(c, "ERR Invalid number of arguments specified for command");
    } else {
        reply_keys_of(c, row, with_flags);
    }
}

static void cmd_command_getkeys(struct call *c)
{
    getkeys(c, false);
}

static void cmd_command_getkeysandflags(struct call *c)
{
    getkeys(c, true);
}

static void cmd_command_help(struct call *c)
{
    static const char *const lines[] = {
        "(no subcommand)",
        "    Return details about all Redis commands.",
        "COUNT",
        "    Return the total number of commands in this Redis server.",
        "LIST",
        "    Return a list of all commands in this Redis server.",
        "INFO [<command-name> ...]",
        "    Return details about multiple Redis commands.",
        "    If no command names are given, documentation details for all",
        "    commands are returned.",
        "DOCS [<command-name> ...]",
        "    Return documentation details about multiple Redis commands.",
        "    If no command names are given, documentation details for all",
        "    commands are returned.",
        "GETKEYS <full-command>",
        "    Return the keys from a full Redis command.",
        "GETKEYSANDFLAGS <full-command>",
        "    Return the keys and the access flags from a full Redis command.",
        NULL,
    };
    reply_help(c, lines);
}

#define COMMAND_ROW    .flags = CMD_LOADING | CMD_STALE, .acl = ACL_CONNECTION, .group = "server"
#define EACH_LOOKED_UP "O(N) where N is the number of commands to look up"
#define EACH_ARGUMENT  "O(N) where N is the number of arguments to the command"
#define EACH_COMMAND   "O(N) where N is the total number of Redis commands"
static const struct command command_sub[] = {
    { .name = "count",
      .proc = cmd_command_count,
      .arity = 2,
      COMMAND_ROW,
      .since = "2.8.13",
      .complexity = "O(1)",
      .summary = "Get total number of Redis commands" },
    { .name = "docs",
      .proc = cmd_command_docs,
      .arity = -2,
      COMMAND_ROW,
      .since = "7.0.0",
      .complexity = EACH_LOOKED_UP,
      .summary = "Get array of specific Redis command documentation",
      .syntax = "[command-name...]",
      .tips = "nondeterministic_output_order" },
    { .name = "getkeys",
      .proc = cmd_command_getkeys,
      .arity = -3,
      COMMAND_ROW,
      .since = "2.8.13",
      .complexity = EACH_ARGUMENT,
      .summary = "Extract keys given a full Redis command",
      .syntax = "command [arg...]" },
    { .name = "getkeysandflags",
      .proc = cmd_command_getkeysandflags,
      .arity = -3,
      COMMAND_ROW,
      .since = "7.0.0",
      .complexity = EACH_ARGUMENT,
      .summary = "Extract keys and access flags given a full Redis command",
      .syntax = "command [arg...]" },
    { .name = "help",
      .proc = cmd_command_help,
      .arity = 2,
      COMMAND_ROW,
      .since = "5.0.0",
      .complexity = "O(1)",
      .summary = "Show helpful text about the different subcommands" },
    { .name = "info",
      .proc = cmd_command_info,
      .arity = -2,
      COMMAND_ROW,
      .since = "2.8.13",
      .complexity = EACH_LOOKED_UP,
      .summary = "Get array of specific Redis command details, or all when no argument is given.",
      .syntax = "[command-name...]",
      .tips = "nondeterministic_output_order",
      .history = "7.0.0:Allowed to be called with no argument to get info on all commands." },
    { .name = "list",
      .proc = cmd_command_list,
      .arity = -2,
      COMMAND_ROW,
      .since = "7.0.0",
      .complexity = EACH_COMMAND,
      .summary = "Get an array of Redis command names",
      .syntax = "[FILTERBY filterby=<MODULE module-name|ACLCAT category|PATTERN pattern:pattern>]",
      .tips = "nondeterministic_output_order" },
    { .name = NULL },
};
const struct command command_commands[] = {
    { .name = "command",
      .proc = cmd_command,
      .arity = -1,
      COMMAND_ROW,
      .sub = command_sub,
      .since = "2.8.13",
      .complexity = EACH_COMMAND,
      .summary = "Get array of Redis command details",
      .tips = "nondeterministic_output_order" },
    { .name = NULL },
};
