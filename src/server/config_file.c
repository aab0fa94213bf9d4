/* config_file.c -- Reading redis.conf files and arguments, and rewriting a file in place.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "server/config_int.h"
#include "server/server_int.h"
#include "base/io.h"
#include "base/mem.h"
#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FATAL         "\n*** FATAL CONFIG FILE ERROR (Redis " REDIS_VERSION ") ***\n"
#define FILE_MAX      (64u << 20) /* of what is read, and so of what is written */
#define INCLUDE_DEPTH 16

/* ---- Loading ---- */

static bool load_more(struct bound *b, const struct slice *argv, unsigned argc, const char **error)
{
    struct buf all = { 0 };
    bound_get(b, &all);
    for (unsigned i = 0; i < argc; i++) {
        buf_add_char(&all, ' ');
        buf_add_repr(&all, argv[i]);
    }
    bool ok = bound_set_text(b, buf_slice(&all), error);
    buf_free(&all);
    return ok;
}

/* One word in quotes may have several names in it. */
static bool load_flags(struct bound *b, struct slice text, const char **error)
{
    struct buf store = { 0 };
    struct slice *argv = NULL;
    unsigned argc = 0;
    bool ok = split_args(text, &store, &argv, &argc);
    if (!ok) {
        *error = "unbalanced quotes";
    }
    ok = ok && bound_set_words(b, argv, argc, error);
    mem_free(argv);
    buf_free(&store);
    return ok;
}

bool config_load_words(struct config *c, const struct slice *argv, unsigned argc, struct buf *error)
{
    struct bound *b = config_find(c, argv[0]);
    const char *why = "Bad directive or wrong number of arguments";
    bool ok = b != NULL && (argc >= 2 || !(b->o->flags & OPTF_HIDDEN)); /* a bare `save` is none */
    if (ok && argc >= 2 && (b->o->flags & OPTF_MULTI) && b->loaded &&
        !(argc == 2 && argv[1].n == 0)) {
        ok = load_more(b, argv + 1, argc - 1, &why);
    } else if (ok) {
        ok = argc == 2 && b->o->kind == OPT_FLAGS ? load_flags(b, argv[1], &why)
                                                  : bound_set_words(b, argv + 1, argc - 1, &why);
        b->loaded = true;
    }
    if (!ok) {
        buf_add_str(error, why);
    }
    return ok;
}

struct source {
    const char *name;
    unsigned line;
    struct slice text;
    unsigned depth;
};

static bool fatal(const struct source *src, struct buf *error, struct buf *why)
{
    struct buf all = { 0 };
    buf_printf(&all, FATAL "Reading the configuration file, at line %u of %s\n>>> '%.*s'\n%.*s\n",
               src->line, src->name, (int)src->text.n, src->text.p, (int)why->n, why->p);
    error->n = 0;
    buf_add_slice(error, buf_slice(&all));
    buf_free(&all);
    buf_free(why);
    return false;
}

static bool load_path(struct config *c, const char *path, unsigned depth, struct buf *error);
static bool load_lines(struct config *c, struct slice text, const char *name, unsigned depth,
                       struct buf *error);

static bool load_include(struct config *c, struct slice pattern, const struct source *src,
                         struct buf *error)
{
    struct buf why = { 0 };
    char *copy = mem_dup(pattern.p, pattern.n);
    glob_t found;
    bool ok = true;
    if (src->depth >= INCLUDE_DEPTH) {
        buf_add_str(&why, "include is nested too deeply");
        ok = fatal(src, error, &why);
    } else if (strpbrk(copy, "*?[") == NULL) {
        ok = load_path(c, copy, src->depth + 1, error);
    } else if (glob(copy, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc && ok; i++) {
            ok = load_path(c, found.gl_pathv[i], src->depth + 1, error);
        }
        globfree(&found);
    }
    mem_free(copy);
    return ok;
}

static bool load_line(struct config *c, const struct source *src, struct buf *error)
{
    struct buf store = { 0 }, why = { 0 };
    struct slice *argv = NULL;
    unsigned argc = 0;
    bool ok = true;
    if (!split_args(src->text, &store, &argv, &argc)) {
        buf_add_str(&why, "Unbalanced quotes in configuration line");
        ok = fatal(src, error, &why);
    } else if (argc == 2 && slice_is(argv[0], "include")) {
        ok = load_include(c, argv[1], src, error);
    } else if (argc > 0 && !config_load_words(c, argv, argc, &why)) {
        ok = fatal(src, error, &why);
    }
    mem_free(argv);
    buf_free(&store);
    buf_free(&why);
    return ok;
}

static bool load_lines(struct config *c, struct slice text, const char *name, unsigned depth,
                       struct buf *error)
{
    struct source src = { .name = name, .depth = depth };
    const char *p = text.p, *end = text.n > 0 ? text.p + text.n : text.p; /* NULL when empty */
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        const char *stop = nl != NULL ? nl : end, *from = p;
        src.line++;
        while (from < stop && isspace((unsigned char)*from)) {
            from++;
        }
        while (stop > from && isspace((unsigned char)stop[-1])) {
            stop--;
        }
        src.text = slice_of(from, (size_t)(stop - from));
        if (src.text.n > 0 && *from != '#' && !load_line(c, &src, error)) {
            return false;
        }
        p = nl != NULL ? nl + 1 : end;
    }
    return true;
}

static bool read_stdin(struct buf *text)
{
    for (;;) {
        ssize_t n = read(STDIN_FILENO, buf_reserve(text, 4096), 4096);
        if (n <= 0) {
            return n == 0;
        }
        text->n += (size_t)n;
        if (text->n > FILE_MAX) {
            return false;
        }
    }
}

static bool load_path(struct config *c, const char *path, unsigned depth, struct buf *error)
{
    struct buf text = { 0 };
    int rc = strcmp(path, "-") == 0 ? (read_stdin(&text) ? 0 : -EIO)
                                    : io_read_file(path, &text, FILE_MAX);
    bool ok = rc == 0;
    if (!ok) {
        error->n = 0;
        buf_printf(error, "Fatal error, can't open config file '%s': %s", path, strerror(-rc));
    } else {
        ok = load_lines(c, buf_slice(&text), path, depth, error);
    }
    buf_free(&text);
    return ok;
}

bool config_load_file(struct config *c, const char *path, struct buf *error)
{
    if (strcmp(path, "-") != 0) {
        char full[PATH_MAX];
        if (realpath(path, full) != NULL) {
            mem_free(c->file);
            c->file = mem_strdup(full);
        }
    }
    return load_path(c, path, 0, error);
}

bool config_load_text(struct config *c, struct slice text, const char *name, struct buf *error)
{
    return load_lines(c, text, name, 0, error);
}

/* "--name word word --name2 ..."; a value may itself begin with "--" when it is the only one its
 * directive can have next. As redis-server: the text of one argument may hold several words
 * ("--save '900 1'"). */
bool config_load_args(struct config *c, int argc, char **argv, struct buf *error)
{
    struct buf line = { 0 };
    bool ok = true;
    for (int i = 0; i < argc && ok;) {
        if (strncmp(argv[i], "--", 2) != 0) {
            buf_printf(error,
                       FATAL "Reading the command line\n>>> '%s'\nA directive begins with --\n",
                       argv[i]);
            ok = false;
            break;
        }
        line.n = 0;
        buf_add_str(&line, argv[i] + 2);
        unsigned words = 0;
        for (i++; i < argc && (words == 0 || strncmp(argv[i], "--", 2) != 0); i++, words++) {
            if (words == 0 && strncmp(argv[i], "--", 2) == 0 &&
                config_find(c, slice_str(argv[i] + 2)) != NULL) {
                break;
            }
            buf_add_char(&line, ' ');
            struct slice word = slice_str(argv[i]);
            bool plain = word.n > 0 && strpbrk(argv[i], "\"'\\") == NULL;
            if (plain) {
                buf_add_slice(&line, word);
            } else if (word.n > 0 && (word.p[0] == '"' || word.p[0] == '\'')) {
                buf_add_slice(&line, word);
            } else {
                buf_add_repr(&line, word);
            }
        }
        ok = load_lines(c, buf_slice(&line), "the command line", 0, error);
    }
    buf_free(&line);
    return ok;
}

/* ---- CONFIG REWRITE ---- */

static bool needs_quotes(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!isgraph((unsigned char)s.p[i]) || s.p[i] == '"' || s.p[i] == '\'' || s.p[i] == '\\' ||
            s.p[i] == '#') {
            return true;
        }
    }
    return s.n == 0;
}

void config_add_word(struct buf *out, struct slice word)
{
    if (needs_quotes(word)) {
        buf_add_repr(out, word);
    } else {
        buf_add_slice(out, word);
    }
}

static void add_line(struct buf *out, const struct bound *b)
{
    struct buf value = { 0 };
    bound_get(b, &value);
    if (b->o->flags & OPTF_LINES) {
        buf_add_slice(out, buf_slice(&value));
        buf_free(&value);
        return;
    }
    buf_add_str(out, b->o->name);
    buf_add_char(out, ' ');
    bool words = b->o->kind == OPT_CUSTOM || b->o->kind == OPT_FLAGS;
    if (words && value.n > 0) {
        buf_add_slice(out, buf_slice(&value));
    } else {
        config_add_word(out, buf_slice(&value));
    }
    buf_add_char(out, '\n');
    buf_free(&value);
}

static bool is_default(const struct bound *b)
{
    struct buf now = { 0 }, def = { 0 };
    bound_get(b, &now);
    struct bound copy = *b;
    union {
        _Atomic int64_t v;
        char *s;
        struct slice bytes;
    } scratch = { 0 };
    const char *error;
    bool same;
    if (b->o->kind == OPT_CUSTOM) {
        same = b->o->def != NULL && slice_eq(buf_slice(&now), slice_str(b->o->def));
    } else {
        struct option o = *b->o;
        o.offset = 0;
        copy.o = &o;
        copy.base = &scratch;
        must(o.def == NULL || bound_set_text(&copy, slice_str(o.def), &error));
        bound_get(&copy, &def);
        same = slice_eq(buf_slice(&now), buf_slice(&def));
        bound_value_free(o.kind, &scratch);
    }
    buf_free(&now);
    buf_free(&def);
    return same;
}

/* Its lines stay as they are: CONFIG SET does not know it, and what an included file adds to it is
 * not for this one. */
static bool is_kept(const struct bound *b)
{
    return (b->o->flags & OPTF_HIDDEN) && !(b->o->flags & OPTF_LINES);
}

/* Replaces the lines of known directives where they stand (the first of each; later ones go), keeps
 * everything else, adds what differs from the default at the end. */
static void rewrite_text(struct config *c, struct slice old, struct buf *out)
{
    bool *done = mem_calloc(c->n + 1);
    const char *p = old.p, *end = old.p + old.n;
    bool marked = false;
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t len = nl != NULL ? (size_t)(nl - p) : (size_t)(end - p);
        struct slice line = slice_of(p, len);
        p += len + 1;
        size_t skip = 0, word = 0;
        while (skip < len && isspace((unsigned char)line.p[skip])) {
            skip++;
        }
        while (skip + word < len && !isspace((unsigned char)line.p[skip + word])) {
            word++;
        }
        marked |= slice_eq(line, S("# Generated by CONFIG REWRITE"));
        struct bound *b =
            word > 0 && line.p[skip] != '#' ? config_find(c, slice_of(line.p + skip, word)) : NULL;
        if (b == NULL || is_kept(b)) {
            buf_add_slice(out, line);
            buf_add_char(out, '\n');
        } else if (!done[b - c->item]) {
            done[b - c->item] = true;
            add_line(out, b);
        }
    }
    for (unsigned i = 0; i < c->n; i++) {
        if (done[i] || is_kept(&c->item[i]) || is_default(&c->item[i])) {
            continue;
        }
        if (!marked) {
            buf_add_str(out, "# Generated by CONFIG REWRITE\n");
            marked = true;
        }
        add_line(out, &c->item[i]);
    }
    mem_free(done);
}

int config_rewritten(struct config *c, struct buf *now)
{
    if (c->file == NULL) {
        return -ENOENT;
    }
    struct buf old = { 0 };
    int rc = io_read_file(c->file, &old, FILE_MAX);
    if (rc == -ENOENT) {
        rc = 0;
    }
    if (rc == 0) {
        rewrite_text(c, buf_slice(&old), now);
        if (now->n > FILE_MAX) { /* the next start would refuse it */
            buf_free(now);
            rc = -EFBIG;
        }
    }
    buf_free(&old);
    return rc;
}

static void add_doc(struct buf *out, const char *doc)
{
    while (*doc != '\0') {
        size_t n = strcspn(doc, "\n");
        buf_printf(out, "# %.*s\n", (int)n, doc);
        doc += n + (doc[n] == '\n');
    }
}

void config_print_default(struct config *c, struct buf *out)
{
    for (unsigned i = 0; i < c->n; i++) {
        const struct bound *b = &c->item[i];
        if (b->o->flags & OPTF_HIDDEN) {
            continue;
        }
        if (b->o->doc != NULL) {
            add_doc(out, b->o->doc);
        } else if (b->o->flags & OPTF_INERT) {
            add_doc(out, "Read and reported back; acts on nothing in kv.");
        }
        struct buf line = { 0 };
        add_line(&line, b);
        bool empty = slice_eq(slice_of(line.p + strlen(b->o->name), line.n - strlen(b->o->name)),
                              S(" \"\"\n"));
        bool text = b->o->kind == OPT_STRING || b->o->kind == OPT_BYTES;
        buf_add_str(out, empty && text ? "# " : "");
        buf_add_slice(out, buf_slice(&line));
        buf_add_char(out, '\n');
        buf_free(&line);
    }
}
