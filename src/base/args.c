/* args.c -- Splits a line into arguments with Redis's quoting.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The arguments together are never longer than the line: store is sized once and does not move
 * while they are cut. */
#include "base/bytes.h"
#include "base/mem.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The escape after a backslash in double quotes: writes one byte to *w and returns how much of the
 * line it used. */
static size_t unescape(struct slice rest, char *w)
{
    static const char names[] = "nrtba", bytes[] = "\n\r\t\b\a";
    if (rest.n >= 3 && rest.p[0] == 'x' && hex_digit(rest.p[1]) >= 0 && hex_digit(rest.p[2]) >= 0) {
        *w = (char)(hex_digit(rest.p[1]) * 16 + hex_digit(rest.p[2]));
        return 3;
    }
    const char *name = memchr(names, rest.p[0], sizeof names - 1);
    *w = name != NULL ? bytes[name - names] : rest.p[0];
    return 1;
}

/* The inside of a quotation, i at its first byte. Returns where its closing quote is, or line.n
 * when there is none. */
static size_t quoted(struct slice line, size_t i, char quote, char **w)
{
    while (i < line.n && line.p[i] != quote) {
        if (line.p[i] == '\\' && i + 1 < line.n && quote == '"') {
            i += 1 + unescape(slice_of(line.p + i + 1, line.n - i - 1), (*w)++);
        } else if (line.p[i] == '\\' && i + 1 < line.n && line.p[i + 1] == '\'') {
            *(*w)++ = '\'';
            i += 2;
        } else {
            *(*w)++ = line.p[i++];
        }
    }
    return i;
}

/* One argument from *i on. */
static bool one_arg(struct slice line, size_t *i, char **w)
{
    size_t k = *i;
    for (; k < line.n; k++) {
        char c = line.p[k];
        if (c == '"' || c == '\'') {
            k = quoted(line, k + 1, c, w);
            if (k == line.n || (k + 1 < line.n && !char_is_space(line.p[k + 1]))) {
                return false;
            }
            k++;
            break;
        }
        if (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
            break;
        }
        *(*w)++ = c;
    }
    *i = k;
    return true;
}

bool split_args(struct slice line, struct buf *store, struct slice **out, unsigned *count)
{
    const char *nul = line.n > 0 ? memchr(line.p, '\0', line.n) : NULL;
    if (nul != NULL) {
        line.n = (size_t)(nul - line.p);
    }
    store->n = 0;
    char *w = buf_reserve(store, line.n);
    unsigned n = 0, room = 8;
    struct slice *args = mem_alloc(room * sizeof *args);
    size_t i = 0;
    for (;;) {
        while (i < line.n && char_is_space(line.p[i])) {
            i++;
        }
        if (i == line.n) {
            break;
        }
        if (n == room) {
            room *= 2;
            args = mem_realloc(args, room * sizeof *args);
        }
        char *start = w;
        if (!one_arg(line, &i, &w)) {
            mem_free(args);
            return false;
        }
        args[n++] = slice_of(start, (size_t)(w - start));
    }
    store->n = (size_t)(w - store->p);
    *out = args;
    *count = n;
    return true;
}
