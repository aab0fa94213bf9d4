/* bytes.c -- Slices and growable buffers.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/bytes.h"
#include "base/mem.h"
#include <stdarg.h>
#include <stdio.h>

#define BUF_MIN 32
#define BUF_DOUBLE_MAX \
    ((size_t)1 << 20) /* from here on buffers grow by a quarter: doubling wastes too much */

static inline unsigned char lower(unsigned char c)
{
    return (unsigned char)(c - 'A') < 26 ? (unsigned char)(c | 0x20) : c;
}

int slice_cmp(struct slice a, struct slice b)
{
    size_t common = size_min(a.n, b.n);
    int order = common > 0 ? memcmp(a.p, b.p, common) : 0;
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

bool slice_is(struct slice a, const char *lower_text)
{
    return slice_eq_nocase(a, slice_str(lower_text));
}

bool slice_eq_nocase(struct slice a, struct slice b)
{
    if (a.n != b.n) {
        return false;
    }
    for (size_t i = 0; i < a.n; i++) {
        if (lower((unsigned char)a.p[i]) != lower((unsigned char)b.p[i])) {
            return false;
        }
    }
    return true;
}

/* The next capacity that holds `more`; 0 when no size_t does. */
static size_t grown(const struct buf *b, size_t more)
{
    size_t need, step = b->cap < BUF_DOUBLE_MAX ? b->cap : b->cap / 4;
    if (!size_add(b->n, more, &need)) {
        return 0;
    }
    return mem_good_size(size_max(size_max(need, b->cap + step), BUF_MIN));
}

char *buf_reserve(struct buf *b, size_t more)
{
    if (unlikely(b->p == NULL || more > b->cap - b->n)) {
        size_t cap = grown(b, more);
        must(cap != 0);
        b->p = mem_realloc(b->p, cap);
        b->cap = cap;
    }
    return b->p + b->n;
}

bool buf_try_reserve(struct buf *b, size_t more)
{
    if (b->p != NULL && more <= b->cap - b->n) {
        return true;
    }
    size_t cap = grown(b, more);
    char *p = cap != 0 ? mem_try_realloc(b->p, cap) : NULL;
    if (p == NULL) {
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    if (n > 0) {
        memcpy(buf_reserve(b, n), p, n);
        b->n += n;
    }
}

void buf_add_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_add_slice(struct buf *b, struct slice s)
{
    buf_add(b, s.p, s.n);
}

void buf_add_char(struct buf *b, char c)
{
    *buf_reserve(b, 1) = c;
    b->n++;
}

void buf_add_i64(struct buf *b, int64_t v)
{
    b->n += format_i64(buf_reserve(b, I64_TEXT_MAX), v);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    size_t room = b->cap - b->n;
    int n = vsnprintf(b->p != NULL ? b->p + b->n : NULL, room, fmt, args);
    must(n >= 0);
    if ((size_t)n >= room) {
        vsnprintf(buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
    }
    b->n += (size_t)n;
    va_end(again);
    va_end(args);
}

void buf_add_escaped(struct buf *b, struct slice s)
{
    static const char hex[] = "0123456789abcdef";
    static const char plain[] = "\n\r\t\a\b\\\"", named[] = "nrtab\\\"";
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        const char *escape = memchr(plain, c, sizeof plain - 1);
        if (escape != NULL) {
            buf_add(b, (char[]){ '\\', named[escape - plain] }, 2);
        } else if (c >= 0x20 && c < 0x7f) {
            buf_add_char(b, (char)c);
        } else {
            buf_add(b, (char[]){ '\\', 'x', hex[c >> 4], hex[c & 15] }, 4);
        }
    }
}

void buf_add_repr(struct buf *b, struct slice s)
{
    buf_add_char(b, '"');
    buf_add_escaped(b, s);
    buf_add_char(b, '"');
}

void buf_free(struct buf *b)
{
    mem_free(b->p);
    *b = (struct buf){ NULL, 0, 0 };
}
