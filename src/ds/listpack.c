/* listpack.c -- Encoding, walking and changing the bytes of a listpack.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Small hashes, sets, sorted sets and the chunks of lists and streams live in this
 *             format, so that a snapshot writes them as they are.
 * INVARIANTS  L1 the u32 in the header is the distance from the header to just after the 0xFF
 *             L2 every backward length is what the entry's head says, as back_write() writes it
 *             L3 the u16 in the header is the number of entries, or 65535
 *             Checked by lp_valid().
 * FAILURE     All growth happens in splice(), before a byte is changed. */
#include "ds/listpack.h"
#include "base/mem.h"

static inline uint8_t *raw(struct listpack *lp)
{
    return (uint8_t *)lp;
}

/* ---- Entries ---- */

/* Seven bits a byte, the lowest in the last byte; every byte but the first is marked: going
 * backwards, "more to come". */
static inline uint8_t *back_write(uint8_t *p, size_t body)
{
    if (likely(body <= 127)) {
        p[0] = (uint8_t)body;
        return p + 1;
    }
    unsigned n = lp_back_size(body);
    for (unsigned k = n; k-- > 0;) {
        p[k] = (uint8_t)((body & 127) | (k > 0 ? 128 : 0));
        body >>= 7;
    }
    return p + n;
}

/* The body size written just before `end`; *size is the number of bytes it takes. */
static inline uint32_t back_read(const uint8_t *end, unsigned *size)
{
    uint32_t v = end[-1] & 127u;
    unsigned n = 1;
    while ((end[-(ptrdiff_t)n] & 128) != 0) {
        v |= (end[-(ptrdiff_t)n - 1] & 127u) << (7 * n);
        n++;
    }
    *size = n;
    return v;
}

static inline unsigned int_size(int64_t i)
{
    if (i >= 0 && i <= 127) {
        return 1;
    }
    if (i >= -4096 && i <= 4095) {
        return 2;
    }
    if (i >= INT16_MIN && i <= INT16_MAX) {
        return 3;
    }
    if (i >= -(1 << 23) && i < 1 << 23) {
        return 4;
    }
    return i >= INT32_MIN && i <= INT32_MAX ? 5 : 9;
}

static inline size_t value_body(const struct lp_value *v)
{
    if (v->p == NULL) {
        return int_size(v->i);
    }
    return v->n + (v->n < 64 ? 1 : v->n < 4096 ? 2 : 5);
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The last byte tells most texts from integers without a call. */
struct lp_value lp_value_of(struct slice text)
{
    int64_t i;
    if (text.n > 0 && text.n < I64_TEXT_MAX && is_digit(text.p[text.n - 1]) &&
        parse_i64(text, &i)) {
        return lp_value_int(i);
    }
    return (struct lp_value){ text.p != NULL ? text.p : "", text.n, 0 };
}

struct slice lp_text(const struct lp_value *v, char store[I64_TEXT_MAX])
{
    if (v->p != NULL) {
        return slice_of(v->p, v->n);
    }
    return slice_of(store, format_i64(store, v->i));
}

size_t lp_value_size(const struct lp_value *v)
{
    size_t body = value_body(v);
    return body + lp_back_size(body);
}

static uint8_t *int_write(uint8_t *p, int64_t i)
{
    switch (int_size(i)) {
    case 1: p[0] = (uint8_t)i; return p + 1;
    case 2:
        p[0] = (uint8_t)(0xC0 | ((uint64_t)i >> 8 & 0x1F));
        p[1] = (uint8_t)i;
        return p + 2;
    case 3:
        p[0] = LP_HEAD_INT16;
        lp_store16(p + 1, (uint16_t)i);
        return p + 3;
    case 4:
        p[0] = LP_HEAD_INT24;
        lp_store16(p + 1, (uint16_t)i);
        p[3] = (uint8_t)((uint64_t)i >> 16);
        return p + 4;
    case 5:
        p[0] = LP_HEAD_INT32;
        lp_store32(p + 1, (uint32_t)i);
        return p + 5;
    default:
        p[0] = LP_HEAD_INT64;
        lp_store64(p + 1, (uint64_t)i);
        return p + 9;
    }
}

uint8_t *lp_value_write(uint8_t *dst, const struct lp_value *v)
{
    uint8_t *p = dst;
    if (v->p == NULL) {
        p = int_write(p, v->i);
        return back_write(p, (size_t)(p - dst));
    }
    if (v->n < 64) {
        *p++ = (uint8_t)(0x80 | v->n);
    } else if (v->n < 4096) {
        *p++ = (uint8_t)(0xE0 | v->n >> 8);
        *p++ = (uint8_t)v->n;
    } else {
        *p++ = LP_HEAD_STR32;
        lp_store32(p, (uint32_t)v->n);
        p += 4;
    }
    memcpy(p, v->p, v->n);
    p += v->n;
    return back_write(p, (size_t)(p - dst));
}

struct lp_needle lp_needle_of(struct slice text)
{
    struct lp_value v = lp_value_of(text);
    return (struct lp_needle){ slice_of(text.p != NULL ? text.p : "", text.n), v.i, v.p == NULL };
}

/* ---- Walking ---- */

struct slice lp_slice(const struct listpack *lp)
{
    return slice_of(lp, lp_bytes(lp));
}

uint32_t lp_last(const struct listpack *lp)
{
    return lp_prev(lp, lp_end(lp));
}

uint32_t lp_prev(const struct listpack *lp, uint32_t at)
{
    if (at == LP_HEADER) {
        return LP_NONE;
    }
    unsigned size;
    uint32_t body = back_read(lp_raw(lp) + at, &size);
    return at - size - body;
}

uint32_t lp_count(const struct listpack *lp)
{
    uint32_t n = lp_load16(lp_raw(lp) + 4);
    if (likely(n != LP_COUNT_UNKNOWN)) {
        return n;
    }
    n = 0;
    for (uint32_t at = lp_first(lp); at != LP_NONE; at = lp_next(lp, at)) {
        n++;
    }
    return n;
}

uint32_t lp_seek(const struct listpack *lp, int64_t index)
{
    uint32_t known = lp_load16(lp_raw(lp) + 4);
    if (known != LP_COUNT_UNKNOWN) {
        if (index >= (int64_t)known || index < -(int64_t)known) {
            return LP_NONE;
        }
        if (index >= 0 && index > (int64_t)known / 2) {
            index -= (int64_t)known;
        } else if (index < 0 && index + (int64_t)known < (int64_t)known / 2) {
            index += (int64_t)known;
        }
    }
    uint32_t at;
    if (index >= 0) {
        at = lp_first(lp);
        for (; index > 0 && at != LP_NONE; index--) {
            at = lp_next(lp, at);
        }
    } else {
        at = lp_last(lp);
        for (; index < -1 && at != LP_NONE; index++) {
            at = lp_prev(lp, at);
        }
    }
    return at;
}

bool lp_equal(const struct listpack *lp, uint32_t at, struct slice text)
{
    struct lp_needle needle = lp_needle_of(text);
    struct lp_value v = lp_get(lp, at);
    return lp_matches(&needle, &v);
}

uint32_t lp_find(const struct listpack *lp, uint32_t from, struct slice text, unsigned skip)
{
    struct lp_needle needle = lp_needle_of(text);
    unsigned pass = 0;
    for (uint32_t at = from; at != LP_NONE; at = lp_next(lp, at)) {
        if (pass > 0) {
            pass--;
            continue;
        }
        pass = skip;
        struct lp_value v = lp_get(lp, at);
        if (lp_matches(&needle, &v)) {
            return at;
        }
    }
    return LP_NONE;
}

/* ---- Validation ---- */

/* Bytes of the entry at p, of which `room` may be read; 0 if it is not one. */
static size_t valid_entry(const uint8_t *p, size_t room)
{
    uint8_t b = p[0];
    size_t head = b < 0xE0 ? 1 : b < 0xF0 ? 2 : b == LP_HEAD_STR32 ? 5 : 1;
    if (b > LP_HEAD_INT64 || head > room) {
        return 0;
    }
    uint64_t body = b == LP_HEAD_STR32 ? 5 + (uint64_t)lp_load32(p + 1) : lp_body_size(p);
    if (body > room || lp_back_size(body) > room - body) {
        return 0;
    }
    uint8_t back[5];
    size_t n = (size_t)(back_write(back, body) - back);
    return memcmp(p + body, back, n) == 0 ? body + n : 0;
}

bool lp_valid(struct slice bytes)
{
    const uint8_t *p = (const uint8_t *)bytes.p;
    if (bytes.n < LP_EMPTY || bytes.n > LP_BYTES_MAX || lp_load32(p) != bytes.n ||
        p[bytes.n - 1] != LP_END_MARK) {
        return false;
    }
    uint32_t count = 0;
    size_t end = bytes.n - 1;
    for (size_t at = LP_HEADER; at < end; count++) {
        size_t n = valid_entry(p + at, end - at);
        if (n == 0) {
            return false;
        }
        at += n;
    }
    uint32_t told = lp_load16(p + 4);
    return told == LP_COUNT_UNKNOWN || told == count;
}

/* ---- Life ---- */

struct listpack *lp_new(void)
{
    struct listpack *lp = mem_alloc(LP_EMPTY);
    lp_stamp(lp, LP_EMPTY, 0);
    return lp;
}

void lp_free(struct listpack *lp)
{
    mem_free(lp);
}

struct listpack *lp_from_bytes(struct slice bytes)
{
    void *lp = mem_try_alloc(bytes.n);
    if (lp != NULL) {
        memcpy(lp, bytes.p, bytes.n);
    }
    return lp;
}

struct listpack *lp_dup(const struct listpack *lp)
{
    return lp_from_bytes(lp_slice(lp));
}

/* ---- Changes ---- */

static void count_add(struct listpack *lp, int64_t change)
{
    uint32_t known = lp_load16(raw(lp) + 4);
    if (known != LP_COUNT_UNKNOWN) {
        int64_t n = (int64_t)known + change;
        lp_store16(raw(lp) + 4, (uint16_t)(n <= (int64_t)LP_COUNT_MAX ? n : LP_COUNT_UNKNOWN));
    }
}

/* Puts `ins` bytes of room in the place of the `del` bytes at `at`; the caller fills them. NULL:
 * nothing has changed. A block that has become less than half full is given back in part, so that a
 * shrinking hash frees memory while one that goes up and down by an entry does not reallocate each
 * time. */
static struct listpack *splice(struct listpack *lp, uint32_t at, uint32_t del, size_t ins)
{
    uint32_t old = lp_load32(raw(lp));
    if (ins > LP_BYTES_MAX - (old - del)) {
        return NULL;
    }
    uint32_t now = old - del + (uint32_t)ins;
    if (now > old && now > mem_usable(lp)) {
        lp = mem_try_realloc(lp, now);
        if (lp == NULL) {
            return NULL;
        }
    }
    uint8_t *p = raw(lp);
    memmove(p + at + ins, p + at + del, old - at - del);
    lp_store32(p, now);
    if (now < old && now < mem_usable(lp) / 2) {
        void *less = mem_try_realloc(lp, now);
        lp = less != NULL ? less : lp;
    }
    return lp;
}

static struct listpack *insert(struct listpack *lp, uint32_t at, const struct lp_value *v)
{
    lp = splice(lp, at, 0, lp_value_size(v));
    if (lp != NULL) {
        lp_value_write(raw(lp) + at, v);
        count_add(lp, 1);
    }
    return lp;
}

struct listpack *lp_append(struct listpack *lp, struct slice text)
{
    struct lp_value v = lp_value_of(text);
    return insert(lp, lp_end(lp), &v);
}

struct listpack *lp_append_int(struct listpack *lp, int64_t i)
{
    struct lp_value v = lp_value_int(i);
    return insert(lp, lp_end(lp), &v);
}

struct listpack *lp_prepend(struct listpack *lp, struct slice text)
{
    struct lp_value v = lp_value_of(text);
    return insert(lp, LP_HEADER, &v);
}

struct listpack *lp_insert_before(struct listpack *lp, uint32_t *at, struct slice text)
{
    struct lp_value v = lp_value_of(text);
    return insert(lp, *at, &v);
}

struct listpack *lp_insert_after(struct listpack *lp, uint32_t *at, struct slice text)
{
    struct lp_value v = lp_value_of(text);
    uint32_t where = *at + lp_span(lp, *at);
    lp = insert(lp, where, &v);
    if (lp != NULL) {
        *at = where;
    }
    return lp;
}

struct listpack *lp_append_many(struct listpack *lp, const struct slice *texts, size_t n)
{
    size_t room = 0;
    for (size_t k = 0; k < n; k++) {
        if (!size_add(room, lp_entry_size(texts[k]), &room)) {
            return NULL;
        }
    }
    uint32_t at = lp_end(lp);
    lp = splice(lp, at, 0, room);
    if (lp == NULL) {
        return NULL;
    }
    uint8_t *p = raw(lp) + at;
    for (size_t k = 0; k < n; k++) {
        struct lp_value v = lp_value_of(texts[k]);
        p = lp_value_write(p, &v);
    }
    count_add(lp, (int64_t)n);
    return lp;
}

static struct listpack *replace(struct listpack *lp, uint32_t at, const struct lp_value *v)
{
    lp = splice(lp, at, lp_span(lp, at), lp_value_size(v));
    if (lp != NULL) {
        lp_value_write(raw(lp) + at, v);
    }
    return lp;
}

struct listpack *lp_replace(struct listpack *lp, uint32_t at, struct slice text)
{
    struct lp_value v = lp_value_of(text);
    return replace(lp, at, &v);
}

struct listpack *lp_replace_int(struct listpack *lp, uint32_t at, int64_t i)
{
    struct lp_value v = lp_value_int(i);
    return replace(lp, at, &v);
}

struct listpack *lp_merge(struct listpack *lp, const struct listpack *other)
{
    uint32_t count = lp_count(other);
    uint32_t n = lp_end(other) - LP_HEADER;
    uint32_t at = lp_end(lp);
    lp = splice(lp, at, 0, n);
    if (lp != NULL) {
        memcpy(raw(lp) + at, lp_raw(other) + LP_HEADER, n);
        count_add(lp, count);
    }
    return lp;
}

struct listpack *lp_delete(struct listpack *lp, uint32_t *at)
{
    lp = splice(lp, *at, lp_span(lp, *at), 0);
    count_add(lp, -1);
    if (*at == lp_end(lp)) {
        *at = LP_NONE;
    }
    return lp;
}

struct listpack *lp_delete_range(struct listpack *lp, int64_t index, uint32_t n)
{
    uint32_t from = lp_seek(lp, index);
    if (from == LP_NONE || n == 0) {
        return lp;
    }
    uint32_t to = from;
    uint32_t gone = 0;
    while (gone < n && to != lp_end(lp)) {
        to += lp_span(lp, to);
        gone++;
    }
    lp = splice(lp, from, to - from, 0);
    count_add(lp, -(int64_t)gone);
    return lp;
}
