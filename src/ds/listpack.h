/* listpack.h -- Strings and integers in one allocation, in the format RDB files and DUMP carry.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * FORMAT    listpack specification 1.2 (Sanfilippo 2017). Integers are little-endian.
 *               0  u32   bytes in total, header and end included
 *               4  u16   entries; 65535: 65535 or more, or unknown: count them
 *               6  entry, entry, ... ; the last byte is 0xFF
 *           An entry is its head, its data, and the length of both, written to be read backwards:
 *               0xxxxxxx             integer 0..127          1111 0001 + 2 bytes   int16
 *               10nnnnnn + n bytes   string up to 63         1111 0010 + 3 bytes   int24
 *               110xxxxx + 1 byte    integer -4096..4095     1111 0011 + 4 bytes   int32
 *               1110nnnn + 1 + n     string up to 4095       1111 0100 + 8 bytes   int64
 *               1111 0000 + 4 + n    longer strings
 *           Text that is exactly an int64 (parse_i64) is stored as that integer and prints back
 *           identically.
 * OWNER     Holds the pointer. A call that may grow the listpack returns the pointer to use from
 *           then on, or NULL: no memory, or more than LP_BYTES_MAX. After NULL the old pointer is
 *           valid and its content unchanged.
 * POSITION  The offset of an entry, a uint32_t. It survives reallocation; a change before or at it
 *           makes it stale. LP_NONE is "no such entry".
 * THREADS   None of its own: one writer, or any number of readers. */
#ifndef DS_LISTPACK_H
#define DS_LISTPACK_H

#include "base/bytes.h"
#include <endian.h>

struct listpack;

#define LP_HEADER    6u /* position of the first entry, if there is one */
#define LP_EMPTY     7u /* bytes of a listpack without entries */
#define LP_NONE      0u
#define LP_BYTES_MAX (1u << 30) /* as in Redis: keeps every offset and length far from 2^32 */
#define LP_COUNT_MAX 65534u     /* entries that the header can tell */

/* ---- Values ---- */

/* A string (p != NULL, n bytes, borrowed) or the integer i (p == NULL). */
struct lp_value {
    const char *p;
    size_t n;
    int64_t i;
};

struct lp_value lp_value_of(struct slice text); /* an integer if the text is one */
static inline struct lp_value lp_value_int(int64_t i)
{
    return (struct lp_value){ NULL, 0, i };
}
/* The value as text: the string itself, or the integer printed into `store`. */
struct slice lp_text(const struct lp_value *v, char store[I64_TEXT_MAX]);
size_t lp_value_size(const struct lp_value *v); /* bytes an entry with this value takes */
static inline size_t lp_entry_size(struct slice text)
{
    struct lp_value v = lp_value_of(text);
    return lp_value_size(&v);
}

/* Text to compare many entries with: what parse_i64 says about it is worked out once. An entry
 * matches when its text is equal, whichever way it is stored. */
struct lp_needle {
    struct slice text;
    int64_t i;
    bool is_int;
};
struct lp_needle lp_needle_of(struct slice text);
static inline bool lp_matches(const struct lp_needle *needle, const struct lp_value *v)
{
    if (v->p == NULL) {
        return needle->is_int && needle->i == v->i;
    }
    return v->n == needle->text.n && memcmp(v->p, needle->text.p, v->n) == 0;
}

/* ---- Life ---- */

struct listpack *lp_new(void);
void lp_free(struct listpack *lp); /* NULL is fine */
must_check struct listpack *lp_dup(const struct listpack *lp);

/* True if the bytes are one whole well-formed listpack: sizes, every head, every backward length,
 * the count and the end. Never reads outside of them. Bytes from a file or a client go through this
 * before anything else here sees them. */
must_check bool lp_valid(struct slice bytes);
must_check struct listpack *lp_from_bytes(struct slice bytes); /* a copy of bytes that are valid */

static inline size_t lp_bytes(const struct listpack *lp);
struct slice lp_slice(const struct listpack *lp); /* the bytes; until the next change */
uint32_t lp_count(const struct listpack *lp);     /* O(1) up to LP_COUNT_MAX entries, else a walk */

/* ---- Reading ---- */

static inline uint32_t lp_first(const struct listpack *lp);
uint32_t lp_last(const struct listpack *lp);
static inline uint32_t lp_next(const struct listpack *lp, uint32_t at);
uint32_t lp_prev(const struct listpack *lp, uint32_t at); /* of lp_end(): the last entry */
static inline uint32_t lp_end(const struct listpack *lp); /* just after the last entry */
/* -1 is the last. Walks from the nearer end. */
uint32_t lp_seek(const struct listpack *lp, int64_t index);
static inline uint32_t lp_span(const struct listpack *lp, uint32_t at); /* bytes of the entry */
/* A string points into lp: until the next change. */
static inline struct lp_value lp_get(const struct listpack *lp, uint32_t at);
bool lp_equal(const struct listpack *lp, uint32_t at, struct slice text);
/* First match at `from` or later, looking at one entry and passing over `skip`, in turns (1: only
 * the keys of a hash). */
uint32_t lp_find(const struct listpack *lp, uint32_t from, struct slice text, unsigned skip);

/* ---- Changes. Values must not point into the listpack. ---- */

must_check struct listpack *lp_append(struct listpack *lp, struct slice text);
must_check struct listpack *lp_append_int(struct listpack *lp, int64_t i);
must_check struct listpack *lp_prepend(struct listpack *lp, struct slice text);
/* All or none. */
must_check struct listpack *lp_append_many(struct listpack *lp, const struct slice *texts,
                                           size_t n);
/* *at becomes the position of the new entry. */
must_check struct listpack *lp_insert_before(struct listpack *lp, uint32_t *at, struct slice text);
must_check struct listpack *lp_insert_after(struct listpack *lp, uint32_t *at, struct slice text);
/* `at` stays good. */
must_check struct listpack *lp_replace(struct listpack *lp, uint32_t at, struct slice text);
must_check struct listpack *lp_replace_int(struct listpack *lp, uint32_t at, int64_t i);
/* Appends the entries of `other`. */
must_check struct listpack *lp_merge(struct listpack *lp, const struct listpack *other);
/* These never fail. *at becomes the following entry, or LP_NONE. */
must_check struct listpack *lp_delete(struct listpack *lp, uint32_t *at);
/* Up to n entries from `index` on (negative: from the end); an index outside deletes nothing. */
must_check struct listpack *lp_delete_range(struct listpack *lp, int64_t index, uint32_t n);

/* ---- For containers that keep listpacks inside larger blocks ---- */

/* Writes lp_value_size() bytes at dst; returns what follows them. */
uint8_t *lp_value_write(uint8_t *dst, const struct lp_value *v);
/* Writes header and end. A count above LP_COUNT_MAX is written as "unknown". */
static inline void lp_stamp(void *dst, uint32_t bytes, uint32_t count);

/* ---- The inline half: walking and decoding are the inner loops of many commands ---- */

#define LP_END_MARK      0xFF
#define LP_COUNT_UNKNOWN 65535u
#define LP_HEAD_STR32    0xF0
#define LP_HEAD_INT16    0xF1
#define LP_HEAD_INT24    0xF2
#define LP_HEAD_INT32    0xF3
#define LP_HEAD_INT64    0xF4

static inline const uint8_t *lp_raw(const struct listpack *lp)
{
    return (const uint8_t *)lp;
}

static inline uint16_t lp_load16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return le16toh(v);
}

static inline uint32_t lp_load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return le32toh(v);
}

static inline uint64_t lp_load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

static inline void lp_store16(uint8_t *p, uint16_t v)
{
    v = htole16(v);
    memcpy(p, &v, sizeof v);
}

static inline void lp_store32(uint8_t *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof v);
}

static inline void lp_store64(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof v);
}

/* Bytes of head and data; p is at a valid head. */
static inline uint32_t lp_body_size(const uint8_t *p)
{
    uint8_t b = p[0];
    if (b < 0x80) {
        return 1;
    }
    if (b < 0xC0) {
        return 1u + (b & 0x3Fu);
    }
    if (b < 0xE0) {
        return 2;
    }
    if (b < 0xF0) {
        return 2u + ((b & 0x0Fu) << 8 | p[1]);
    }
    switch (b) {
    case LP_HEAD_STR32: return 5u + lp_load32(p + 1);
    case LP_HEAD_INT16: return 3;
    case LP_HEAD_INT24: return 4;
    case LP_HEAD_INT32: return 5;
    default: return 9;
    }
}

/* Every step but the first comes one early: that is what Redis writes (seen in DUMP of 7.0.15), and
 * what it insists on when it loads. */
static inline unsigned lp_back_size(size_t body)
{
    if (body <= 127) {
        return 1;
    }
    return body < 16383 ? 2 : body < 2097151 ? 3 : body < 268435455 ? 4 : 5;
}

static inline int64_t lp_sign_extend(uint64_t v, unsigned bits)
{
    return (int64_t)(v << (64 - bits)) >> (64 - bits);
}

static inline struct lp_value lp_get(const struct listpack *lp, uint32_t at)
{
    const uint8_t *p = lp_raw(lp) + at;
    uint8_t b = p[0];
    if (b < 0x80) {
        return lp_value_int(b);
    }
    if (b < 0xC0) {
        return (struct lp_value){ (const char *)p + 1, b & 0x3Fu, 0 };
    }
    if (b < 0xE0) {
        return lp_value_int(lp_sign_extend((uint64_t)(b & 0x1F) << 8 | p[1], 13));
    }
    if (b < 0xF0) {
        return (struct lp_value){ (const char *)p + 2, (b & 0x0Fu) << 8 | p[1], 0 };
    }
    switch (b) {
    case LP_HEAD_STR32: return (struct lp_value){ (const char *)p + 5, lp_load32(p + 1), 0 };
    case LP_HEAD_INT16: return lp_value_int(lp_sign_extend(lp_load16(p + 1), 16));
    case LP_HEAD_INT24:
        return lp_value_int(lp_sign_extend(lp_load16(p + 1) | (uint64_t)p[3] << 16, 24));
    case LP_HEAD_INT32: return lp_value_int(lp_sign_extend(lp_load32(p + 1), 32));
    default: return lp_value_int((int64_t)lp_load64(p + 1));
    }
}

static inline size_t lp_bytes(const struct listpack *lp)
{
    return lp_load32(lp_raw(lp));
}

static inline uint32_t lp_end(const struct listpack *lp)
{
    return lp_load32(lp_raw(lp)) - 1;
}

static inline uint32_t lp_span(const struct listpack *lp, uint32_t at)
{
    uint32_t body = lp_body_size(lp_raw(lp) + at);
    return body + lp_back_size(body);
}

static inline uint32_t lp_first(const struct listpack *lp)
{
    return lp_raw(lp)[LP_HEADER] == LP_END_MARK ? LP_NONE : LP_HEADER;
}

static inline uint32_t lp_next(const struct listpack *lp, uint32_t at)
{
    at += lp_span(lp, at);
    return lp_raw(lp)[at] == LP_END_MARK ? LP_NONE : at;
}

static inline void lp_stamp(void *dst, uint32_t bytes, uint32_t count)
{
    uint8_t *p = dst;
    lp_store32(p, bytes);
    lp_store16(p + 4, (uint16_t)(count <= LP_COUNT_MAX ? count : LP_COUNT_UNKNOWN));
    p[bytes - 1] = LP_END_MARK;
}
#endif
