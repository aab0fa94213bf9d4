/* fuzz_config.c -- Configuration files: what is accepted can be told again and means the same.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The text is loaded into the real directives of a server. Whatever it made of them, each value as
 * CONFIG GET shows it goes into a file of its own with quotes around it; that file must be accepted
 * and give the same values. `include` is not followed (a line with it is dropped). */
#include "server/server_int.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void add_line(struct buf *to, struct slice line)
{
    struct slice word = line;
    while (word.n > 0 && (char_is_space(*word.p) || *word.p == '"' || *word.p == '\'')) {
        word.p++;
        word.n--;
    }
    if (word.n < 7 || strncasecmp(word.p, "include", 7) != 0) {
        buf_add_slice(to, line);
        buf_add_char(to, '\n');
    }
}

static void without_includes(struct buf *to, const uint8_t *data, size_t n)
{
    const char *p = (const char *)data, *end = p + n;
    while (p < end) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        eol = eol != NULL ? eol : end;
        add_line(to, slice_of(p, (size_t)(eol - p)));
        p = eol + 1;
    }
}

struct telling {
    struct config *config;
    struct buf *to;
    const char *name;
    bool words; /* that directive takes several words, and shows them as such */
};

static void find_kind(void *arg, const struct option *o, void *base unused_arg)
{
    struct telling *t = arg;
    if (strcasecmp(o->name, t->name) == 0) {
        t->words = o->kind == OPT_CUSTOM;
    }
}

static void add_value(void *arg, struct slice of, struct slice value)
{
    struct telling *t = arg;
    const char *name = of.p; /* a directive's own: the pattern is none of them */
    t->name = name;
    t->words = false;
    config_each(t->config, find_kind, t);
    buf_printf(t->to, "%s ", name);
    if (t->words && value.n > 0) {
        buf_add_slice(t->to, value);
    } else {
        buf_add_repr(t->to, value);
    }
    buf_add_char(t->to, '\n');
}

/* Loads and tells; false: refused. */
static bool load(struct slice text, struct buf *values)
{
    const struct slice all = S("*");
    struct server *s = server_new();
    struct buf error = { 0 };
    bool fine = config_load_text(s->config, text, "fuzz", &error);
    must(fine == (error.n == 0));
    if (!fine && getenv("SHOW") != NULL) {
        fprintf(stderr, "%.*s\n", (int)error.n, error.p);
    }
    struct telling t = { .config = s->config, .to = values };
    config_get(s->config, &all, 1, add_value, &t);
    must(values->n > 0);
    for (unsigned i = 0; i < s->opt.nbind; i++) {
        mem_free((char *)s->opt.bind[i].p);
    }
    for (unsigned i = 0; i < s->opt.nrenames; i++) {
        mem_free((char *)s->opt.renames[i].p);
    }
    mem_free(s->opt.bind);
    mem_free(s->opt.renames);
    config_free(s->config);
    mem_free(s);
    buf_free(&error);
    return fine;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf text = { 0 }, values = { 0 }, again = { 0 };
    without_includes(&text, data, n);
    if (load(buf_slice(&text), &values)) {
        must(load(buf_slice(&values), &again));
        must(slice_eq(buf_slice(&values), buf_slice(&again)));
    }
    buf_free(&text);
    buf_free(&values);
    buf_free(&again);
    return 0;
}
