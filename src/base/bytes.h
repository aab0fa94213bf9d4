/* bytes.h -- Byte strings: slices that borrow, buffers that own; numbers as text, globs, quoting.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A slice never owns and is never NUL-terminated by contract. Integer conversions are strict: no
 * space, no '+', no leading zeros ("0" is fine), no "-0", the whole text used; so that a value that
 * parses prints back identically. All functions: any thread; no state. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include "base/base.h"
#include <string.h>

struct slice {
    const char *p;
    size_t n;
};
#define S(lit) ((struct slice){ "" lit, sizeof(lit) - 1 })

static inline struct slice slice_of(const void *p, size_t n)
{
    return (struct slice){ p, n };
}
static inline struct slice slice_str(const char *s)
{
    return (struct slice){ s, strlen(s) };
}
static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
/* memcmp order, shorter first on a common prefix. */
int slice_cmp(struct slice a, struct slice b);
/* Equal ignoring ASCII case; `lower` is in lower case. */
bool slice_is(struct slice a, const char *lower);
bool slice_eq_nocase(struct slice a, struct slice b);

/* isspace() of the C locale. */
static inline bool char_is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Owned, growable bytes. Zero-initialised is an empty buffer. buf_* never fail (mem_alloc rules);
 * use buf_try_reserve() first when a client chooses the size. */
struct buf {
    char *p;
    size_t n, cap;
};
/* Room for `more` bytes at the returned pointer; then b->n += used. */
char *buf_reserve(struct buf *b, size_t more);
/* The same where there may be no memory; b->p is then as it was and false is returned. */
must_check bool buf_try_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_str(struct buf *b, const char *s);
void buf_add_slice(struct buf *b, struct slice s);
void buf_add_char(struct buf *b, char c);
void buf_add_i64(struct buf *b, int64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) printf_like(2, 3);
/* "quoted" with \xHH, \n, \r, \t, \a, \b, \\ and \" as redis-cli shows it. */
void buf_add_repr(struct buf *b, struct slice s);
void buf_add_escaped(struct buf *b, struct slice s); /* the same without the quotes */
void buf_free(struct buf *b);                        /* leaves an empty buffer */
/* An empty one points somewhere, too: memcpy() takes no NULL. */
static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){ b->p != NULL ? b->p : "", b->n };
}

/* Numbers. False when the text is not exactly one number in range; *out is then untouched. */
must_check bool parse_i64(struct slice s, int64_t *out);
must_check bool parse_u64(struct slice s, uint64_t *out);
/* What strtod() takes: decimal and hexadecimal, exponents, '+', inf and infinity in any case.
 * Refuses NaN, leading space, overflow and underflow to zero. */
must_check bool parse_f64(struct slice s, double *out);
/* INCRBYFLOAT arithmetic; the same rules, at most LD_TEXT_MAX - 1 bytes. */
must_check bool parse_ld(struct slice s, long double *out);
/* 100, 100b, 1k, 1kb, 5mb, 1gb (k = 1000, kb = 1024), any case; leading zeros are fine. */
must_check bool parse_memory(struct slice s, uint64_t *out);

/* All of them also write a NUL that the returned length does not count. */
#define I64_TEXT_MAX 21
#define F64_TEXT_MAX 48
#define LD_TEXT_MAX  5120
size_t format_i64(char dst[I64_TEXT_MAX], int64_t v);
size_t format_u64(char dst[I64_TEXT_MAX], uint64_t v);
/* A score or RESP3 double as Redis 7.2 prints it: reads back equal, nearly always the shortest such
 * text; integers up to 2^62 without point or exponent; -0, inf, -inf, nan. */
size_t format_f64(char dst[F64_TEXT_MAX], double v);
/* %.17Lf without trailing zeros: what INCRBYFLOAT stores. */
size_t format_ld(char dst[LD_TEXT_MAX], long double v);
unsigned i64_digits(int64_t v);                    /* length of format_i64(v) */
void format_bytes_human(char dst[32], uint64_t n); /* 1.50M as in INFO used_memory_human */

/* Redis glob: * ? [a-z] [^...] \x. At most pattern length times text length steps, whatever the
 * number of stars. As in Redis an empty text matches only the empty pattern: commands that treat
 * the pattern "*" as "all" (KEYS, SCAN) ask for that themselves. */
bool glob_match(struct slice pattern, struct slice text, bool nocase);

/* Splits a configuration or inline-command line into arguments with Redis's quoting ("..." with
 * escapes, '...'). A NUL ends the line. False on unbalanced quotes. What `store` held is replaced;
 * each (*out)[i].p points into it (valid until it changes). The caller frees *out by mem_free(). */
must_check bool split_args(struct slice line, struct buf *store, struct slice **out,
                           unsigned *count);
#endif
