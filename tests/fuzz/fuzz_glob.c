/* fuzz_glob.c -- Patterns against texts: no crash, few steps, and what must hold for any pattern.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Input: a byte for the length of the pattern, the pattern, the text. */
#include "base/bytes.h"
#include "base/mem.h"
#include <ctype.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void lower(struct buf *b, struct slice s)
{
    buf_add_slice(b, s);
    for (size_t i = 0; i < b->n; i++) {
        b->p[i] = (char)tolower((unsigned char)b->p[i]);
    }
}

/* A text matches itself once each of its bytes is escaped. */
static void check_escaped(struct slice text)
{
    struct buf p = { 0 };
    for (size_t i = 0; i < text.n; i++) {
        buf_add_char(&p, '\\');
        buf_add_char(&p, text.p[i]);
    }
    must(glob_match(buf_slice(&p), text, false) && glob_match(buf_slice(&p), text, true));
    buf_add_char(&p, '?');
    must(!glob_match(buf_slice(&p), text, false));
    buf_free(&p);
}

/* A star in front takes whatever stands in front; folding is lower case on both sides. */
static void check_related(struct slice pattern, struct slice text)
{
    struct buf p = { 0 }, t = { 0 }, lp = { 0 }, lt = { 0 };
    bool matches = glob_match(pattern, text, false);
    buf_add_str(&p, "*");
    buf_add_slice(&p, pattern);
    buf_add_str(&t, "any*[thing");
    buf_add_slice(&t, text);
    must(!matches || glob_match(buf_slice(&p), buf_slice(&t), false));
    lower(&lp, pattern);
    lower(&lt, text);
    must(glob_match(buf_slice(&lp), buf_slice(&lt), true) ==
         glob_match(buf_slice(&lp), buf_slice(&lt), false));
    buf_free(&p);
    buf_free(&t);
    buf_free(&lp);
    buf_free(&lt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0) {
        return -1;
    }
    size_t length = data[0] < n - 1 ? data[0] : n - 1;
    /* Exact copies, so that a look behind the end is seen. */
    char *p = mem_dup(data + 1, length), *t = mem_dup(data + 1 + length, n - 1 - length);
    struct slice pattern = slice_of(p, length), text = slice_of(t, n - 1 - length);
    (void)glob_match(pattern, text, true);
    check_escaped(text);
    check_related(pattern, text);
    mem_free(p);
    mem_free(t);
    return 0;
}
