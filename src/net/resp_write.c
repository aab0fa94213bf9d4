/* resp_write.c -- Writes replies in RESP2 and RESP3.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 *     Nearly every reply is a header of a few bytes and a short text: room for all of it is asked
 *     for once and the bytes are stored directly. */
#include "net/net_int.h"

#define HEAD_MAX (1 + I64_TEXT_MAX + 2) /* type, number, CRLF */
#define BULK_ONE_MAX \
    1024 /* up to here a bulk is kept in one block, at the cost of its last bytes */

static inline char *put_crlf(char *p)
{
    memcpy(p, "\r\n", 2);
    return p + 2;
}

/* <type><n>CRLF */
static inline char *put_head(char *p, char type, uint64_t n)
{
    *p++ = type;
    if (likely(n < 10)) {
        *p++ = (char)('0' + n);
    } else if (likely(n < 100)) {
        *p++ = (char)('0' + n / 10);
        *p++ = (char)('0' + n % 10);
    } else {
        p += format_u64(p, n);
    }
    return put_crlf(p);
}

static void head(struct out *o, char type, uint64_t n)
{
    out_used(o, put_head(out_room(o, HEAD_MAX), type, n));
}

void resp_simple(struct out *o, struct slice text)
{
    if (likely(text.n <= BULK_ONE_MAX)) {
        char *p = out_room(o, text.n + 3);
        *p++ = '+';
        memcpy(p, text.p, text.n);
        out_used(o, put_crlf(p + text.n));
        return;
    }
    out_add(o, "+", 1);
    out_add(o, text.p, text.n);
    out_add(o, "\r\n", 2);
}

void resp_error(struct out *o, struct slice text)
{
    out_add(o, "-", 1);
    while (text.n > 0) {
        size_t part = size_min(text.n, BULK_ONE_MAX);
        char *p = out_room(o, part);
        for (size_t i = 0; i < part; i++) {
            p[i] = text.p[i] == '\r' || text.p[i] == '\n' ? ' ' : text.p[i];
        }
        out_used(o, p + part);
        text.p += part;
        text.n -= part;
    }
    out_add(o, "\r\n", 2);
}

void resp_int(struct out *o, int64_t v)
{
    char *p = out_room(o, HEAD_MAX);
    if (likely((uint64_t)v < 100)) {
        out_used(o, put_head(p, ':', (uint64_t)v));
        return;
    }
    *p++ = ':';
    out_used(o, put_crlf(p + format_i64(p, v)));
}

#define SHORT_MAX 64 /* up to here an element is copied in place */

/* n bytes, at most SHORT_MAX: whole words that may overlap one another, but nothing else. Most
 * elements are shorter than what memcpy() takes to find that out. */
static inline void copy_short(char *to, const char *from, size_t n)
{
    if (n >= 16) {
        for (size_t at = 0; at < n - 16; at += 16) {
            memcpy(to + at, from + at, 16);
        }
        memcpy(to + n - 16, from + n - 16, 16);
    } else if (n >= 8) {
        uint64_t head, tail;
        memcpy(&head, from, 8);
        memcpy(&tail, from + n - 8, 8);
        memcpy(to, &head, 8);
        memcpy(to + n - 8, &tail, 8);
    } else if (n >= 4) {
        uint32_t head, tail;
        memcpy(&head, from, 4);
        memcpy(&tail, from + n - 4, 4);
        memcpy(to, &head, 4);
        memcpy(to + n - 4, &tail, 4);
    } else if (n > 0) {
        to[0] = from[0];
        to[n / 2] = from[n / 2];
        to[n - 1] = from[n - 1];
    }
}

static __attribute__((noinline)) void bulk_any(struct out *o, struct slice s)
{
    if (likely(s.n <= BULK_ONE_MAX || s.n + HEAD_MAX + 2 <= (size_t)(o->end - o->cur))) {
        char *p = put_head(out_room(o, s.n + HEAD_MAX + 2), '$', s.n);
        if (s.n > 0) { /* an empty text may have no address */
            memcpy(p, s.p, s.n);
        }
        out_used(o, put_crlf(p + s.n));
        return;
    }
    head(o, '$', s.n);
    out_add(o, s.p, s.n);
    out_add(o, "\r\n", 2);
}

void resp_bulk(struct out *o, struct slice s)
{
    if (likely(s.n <= SHORT_MAX && (size_t)(o->end - o->cur) >= SHORT_MAX + HEAD_MAX + 2)) {
        char *p = put_head(o->cur, '$', s.n);
        copy_short(p, s.p, s.n);
        o->cur = put_crlf(p + s.n);
    } else {
        bulk_any(o, s);
    }
}

void resp_bulk_i64(struct out *o, int64_t v)
{
    char text[I64_TEXT_MAX];
    resp_bulk(o, slice_of(text, format_i64(text, v)));
}

void resp_array(struct out *o, size_t n)
{
    head(o, '*', n);
}

void resp_map(struct out *o, size_t pairs, int resp)
{
    if (resp == 2) {
        head(o, '*', pairs * 2);
    } else {
        head(o, '%', pairs);
    }
}

void resp_set(struct out *o, size_t n, int resp)
{
    head(o, resp == 2 ? '*' : '~', n);
}

void resp_push(struct out *o, size_t n, int resp)
{
    head(o, resp == 2 ? '*' : '>', n);
}

void resp_attribute(struct out *o, size_t pairs)
{
    head(o, '|', pairs);
}

void resp_null(struct out *o, int resp)
{
    if (resp == 2) {
        out_add(o, "$-1\r\n", 5);
    } else {
        out_add(o, "_\r\n", 3);
    }
}

void resp_null_array(struct out *o, int resp)
{
    if (resp == 2) {
        out_add(o, "*-1\r\n", 5);
    } else {
        out_add(o, "_\r\n", 3);
    }
}

void resp_bool(struct out *o, bool v, int resp)
{
    if (resp == 2) {
        out_add(o, v ? ":1\r\n" : ":0\r\n", 4);
    } else {
        out_add(o, v ? "#t\r\n" : "#f\r\n", 4);
    }
}

static void put_double(struct out *o, struct slice digits, int resp)
{
    if (resp == 2) {
        resp_bulk(o, digits);
        return;
    }
    char *p = out_room(o, digits.n + 3);
    *p++ = ',';
    memcpy(p, digits.p, digits.n);
    out_used(o, put_crlf(p + digits.n));
}

void resp_double(struct out *o, double v, int resp)
{
    char text[F64_TEXT_MAX];
    put_double(o, slice_of(text, format_f64(text, v)), resp);
}

void resp_human_double(struct out *o, long double v, int resp)
{
    char text[LD_TEXT_MAX];
    put_double(o, slice_of(text, format_ld(text, v)), resp);
}

void resp_long_double(struct out *o, long double v)
{
    char text[LD_TEXT_MAX];
    resp_bulk(o, slice_of(text, format_ld(text, v)));
}

void resp_bignum(struct out *o, struct slice digits, int resp)
{
    if (resp == 2) {
        resp_bulk(o, digits);
        return;
    }
    out_add(o, "(", 1);
    out_add(o, digits.p, digits.n);
    out_add(o, "\r\n", 2);
}

void resp_verbatim(struct out *o, struct slice s, const char ext[3], int resp)
{
    if (resp == 2) {
        resp_bulk(o, s);
        return;
    }
    head(o, '=', s.n + 4);
    out_add(o, ext, 3);
    out_add(o, ":", 1);
    out_add(o, s.p, s.n);
    out_add(o, "\r\n", 2);
}

struct out_block *resp_array_deferred(struct out *o)
{
    return out_hole(o);
}

static void fill(struct out *o, struct out_block *hole, char type, size_t n)
{
    char text[HEAD_MAX];
    out_fill_hole(o, hole, text, (size_t)(put_head(text, type, n) - text));
}

void resp_array_fill(struct out *o, struct out_block *hole, size_t n)
{
    fill(o, hole, '*', n);
}

void resp_map_fill(struct out *o, struct out_block *hole, size_t pairs, int resp)
{
    fill(o, hole, resp == 2 ? '*' : '%', resp == 2 ? pairs * 2 : pairs);
}

void resp_set_fill(struct out *o, struct out_block *hole, size_t n, int resp)
{
    fill(o, hole, resp == 2 ? '*' : '~', n);
}
