/* shebang.c -- The line in front of a script or a library: "#!lua flags=no-writes".
 * SPDX-License-Identifier: BSD-3-Clause */
#include "script/script_int.h"
#include "base/mem.h"
#include <string.h>

const struct flag_name script_flag_names[] = { { "no-writes", SCRIPT_FLAG_NO_WRITES },
                                               { "allow-oom", SCRIPT_FLAG_ALLOW_OOM },
                                               { "allow-stale", SCRIPT_FLAG_ALLOW_STALE },
                                               { "no-cluster", SCRIPT_FLAG_NO_CLUSTER },
                                               { "allow-cross-slot-keys", SCRIPT_FLAG_CROSS_SLOT },
                                               { NULL, 0 } };

/* COMPAT: a longer line is none. Its words need many times as much memory, and nobody asks whether
 * there is any. */
#define LINE_MAX_BYTES (1u << 20)

bool shebang_line(struct slice text, struct slice *line, struct slice *body)
{
    const char *eol = text.n >= 2 ? memchr(text.p, '\n', text.n) : NULL;
    if (eol == NULL || memcmp(text.p, "#!", 2) != 0) {
        return false;
    }
    *line = slice_of(text.p, (size_t)(eol - text.p));
    *body = slice_of(eol, text.n - line->n);
    return true;
}

bool shebang_may_be(struct slice line)
{
    return line.n <= LINE_MAX_BYTES && memchr(line.p, '\0', line.n) == NULL;
}

/* As Redis compares them: to the first NUL, which quotes can bring into a word. */
static struct slice to_nul(struct slice s)
{
    const char *nul = s.n > 0 ? memchr(s.p, '\0', s.n) : NULL;
    return nul != NULL ? slice_of(s.p, (size_t)(nul - s.p)) : s;
}

static void complain(struct buf *error, const char *what, struct slice word)
{
    buf_add_str(error, what);
    buf_add_slice(error, to_nul(word));
    buf_add_char(error, '\0');
}

/* Commas stand between them; what is between two is one, too, also if it is empty. */
static bool read_flags(struct slice list, unsigned *flags, struct buf *error)
{
    bool more = list.n > 0;
    while (more) {
        const char *comma = list.n > 0 ? memchr(list.p, ',', list.n) : NULL;
        size_t n = comma != NULL ? (size_t)(comma - list.p) : list.n;
        struct slice one = to_nul(slice_of(list.p, n));
        const struct flag_name *f = script_flag_names;
        while (f->name != NULL && !slice_eq(one, slice_str(f->name))) {
            f++;
        }
        if (f->name == NULL) {
            complain(error, "ERR Unexpected flag in script shebang: ", one);
            return false;
        }
        *flags |= f->flag;
        more = comma != NULL;
        list = more ? slice_of(comma + 1, list.n - n - 1) : list;
    }
    return true;
}

static bool read_words(const struct slice *word, unsigned n, unsigned *flags, struct buf *error)
{
    struct slice engine = n > 0 ? to_nul(word[0]) : slice_of(NULL, 0);
    if (!slice_eq(engine, S("#!lua"))) {
        complain(error, "ERR Unexpected engine in script shebang: ", engine);
        return false;
    }
    for (unsigned i = 1; i < n; i++) {
        if (word[i].n < 6 || memcmp(word[i].p, "flags=", 6) != 0) {
            complain(error, "ERR Unknown lua shebang option: ", word[i]);
            return false;
        }
        if (!read_flags(slice_of(word[i].p + 6, word[i].n - 6), flags, error)) {
            return false;
        }
    }
    return true;
}

bool shebang_flags(struct slice text, unsigned *flags, struct buf *error)
{
    struct slice line, body, *word = NULL;
    struct buf store = { 0 };
    unsigned n = 0;
    bool read = false;
    *flags = 0;
    if (!shebang_line(text, &line, &body) || !shebang_may_be(line)) {
        complain(error, "ERR Invalid script shebang", S(""));
    } else if (!split_args(line, &store, &word, &n)) {
        complain(error, "ERR Invalid engine in script shebang", S(""));
    } else {
        read = read_words(word, n, flags, error);
    }
    mem_free(word);
    buf_free(&store);
    return read;
}
