/* rdb_pack.c -- Elements of listpacks and of what came before them: ziplists and zipmaps.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * FORMAT   Ziplist, all little-endian but string lengths:
 *              0  u32   bytes in total
 *              4  u32   offset of the last entry (10 if there is none)
 *              8  u16   entries; 65535: count them
 *             10  entries, then 0xFF
 *          An entry: bytes of the one before it (one byte, or 0xFE and four), then
 *              00nnnnnn   string up to 63          11000000 + 2   int16     11111110 + 1   int8
 *              01nnnnnn + 1   up to 16383          11010000 + 4   int32     1111xxxx   integer
 *              10______ + 4   longer strings       11100000 + 8   int64       xxxx - 1, 0..12
 *                                                  11110000 + 3   int24
 *          Zipmap: pairs (254: count them), then for each pair: length, field, length, unused bytes
 *          behind the value, value; 0xFF. A length is one byte, or 0xFE and four. */
#include "store/rdb_int.h"

#define END_MARK       0xFF
#define LONG_LENGTH    0xFE
#define ZIPLIST_HEADER 10u
#define ZIPLIST_MANY   65535u
#define ZIPMAP_MANY    254u

/* ---- Ziplist entries ---- */

struct zip {
    struct lp_value v;
    uint64_t before; /* what it says about the entry before it */
    size_t size;
};

static int64_t zip_int(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++) {
        v |= (uint64_t)p[i] << (8 * i);
    }
    return lp_sign_extend(v, 8 * bytes);
}

/* The value at p; returns its bytes, 0: not in `room`, or nothing known. */
static size_t zip_string(const uint8_t *p, size_t room, struct lp_value *v)
{
    static const uint8_t heads[] = { 1, 2, 5 };
    size_t head = heads[p[0] >> 6];
    if (head > room) {
        return 0;
    }
    uint64_t n = p[0] & 0x3F;
    if (head == 2) {
        n = n << 8 | p[1];
    } else if (head == 5) {
        n = (uint64_t)p[1] << 24 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 8 | p[4];
    }
    if (n > room - head) {
        return 0;
    }
    *v = (struct lp_value){ (const char *)p + head, n, 0 };
    return head + n;
}

static size_t zip_value(const uint8_t *p, size_t room, struct lp_value *v)
{
    if (room == 0) {
        return 0;
    }
    if (p[0] < 0xC0) {
        return zip_string(p, room, v);
    }
    unsigned bytes;
    switch (p[0]) {
    case 0xC0: bytes = 2; break;
    case 0xD0: bytes = 4; break;
    case 0xE0: bytes = 8; break;
    case 0xF0: bytes = 3; break;
    case 0xFE: bytes = 1; break;
    default:
        if (p[0] < 0xF1 || p[0] > 0xFD) {
            return 0;
        }
        *v = lp_value_int((p[0] & 0x0F) - 1);
        return 1;
    }
    if (bytes > room - 1) {
        return 0;
    }
    *v = lp_value_int(zip_int(p + 1, bytes));
    return 1 + bytes;
}

static bool zip_entry(const uint8_t *p, size_t room, struct zip *e)
{
    size_t head = room > 0 && p[0] == LONG_LENGTH ? 5 : 1;
    if (head > room || p[0] == END_MARK) {
        return false;
    }
    e->before = head == 1 ? p[0] : lp_load32(p + 1);
    size_t n = zip_value(p + head, room - head, &e->v);
    e->size = head + n;
    return n > 0;
}

static bool ziplist_valid(struct slice bytes)
{
    const uint8_t *p = (const uint8_t *)bytes.p;
    if (bytes.n < ZIPLIST_HEADER + 1 || lp_load32(p) != bytes.n || p[bytes.n - 1] != END_MARK) {
        return false;
    }
    size_t end = bytes.n - 1, last = ZIPLIST_HEADER, before = 0;
    uint64_t count = 0;
    for (size_t at = ZIPLIST_HEADER; at < end; at += before, count++) {
        struct zip e;
        if (!zip_entry(p + at, end - at, &e) || e.before != before) {
            return false;
        }
        last = at;
        before = e.size;
    }
    uint32_t told = lp_load16(p + 8);
    return lp_load32(p + 4) == last && (told == count || told == ZIPLIST_MANY);
}

/* ---- Zipmaps ---- */

/* A field or a value, with the bytes behind it; 0: not in `room`. */
static size_t zipmap_text(const uint8_t *p, size_t room, bool value, struct lp_value *v)
{
    size_t head = room > 0 && p[0] == LONG_LENGTH ? 5 : 1;
    if (head + value > room || p[0] == END_MARK) {
        return 0;
    }
    uint64_t n = head == 1 ? p[0] : lp_load32(p + 1), unused = value ? p[head] : 0;
    head += value;
    if (n + unused > room - head) {
        return 0;
    }
    *v = (struct lp_value){ (const char *)p + head, n, 0 };
    return head + n + unused;
}

static bool zipmap_valid(struct slice bytes)
{
    const uint8_t *p = (const uint8_t *)bytes.p;
    if (bytes.n < 2 || p[bytes.n - 1] != END_MARK) {
        return false;
    }
    size_t end = bytes.n - 1;
    uint64_t texts = 0;
    for (size_t at = 1; at < end; texts++) {
        struct lp_value v;
        size_t n = zipmap_text(p + at, end - at, texts % 2 == 1, &v);
        if (n == 0) {
            return false;
        }
        at += n;
    }
    return texts % 2 == 0 && (p[0] >= ZIPMAP_MANY || p[0] == texts / 2);
}

/* ---- All of them ---- */

bool pack_open(struct pack *p, enum pack_form form, struct slice bytes)
{
    static const struct {
        bool (*valid)(struct slice bytes);
        uint32_t header;
    } forms[] = { [PACK_LISTPACK] = { lp_valid, LP_HEADER },
                  [PACK_ZIPLIST] = { ziplist_valid, ZIPLIST_HEADER },
                  [PACK_ZIPMAP] = { zipmap_valid, 1 } };
    if (!forms[form].valid(bytes)) {
        return false;
    }
    const uint8_t *start = (const uint8_t *)bytes.p;
    *p = (struct pack){ form, start + forms[form].header, start + bytes.n - 1, false };
    return true;
}

bool pack_next(struct pack *p, struct lp_value *v)
{
    struct zip e;
    size_t room = (size_t)(p->end - p->at);
    if (room == 0) {
        return false;
    }
    switch (p->form) {
    case PACK_LISTPACK: {
        /* An entry, as if it were the first of a listpack that begins before it. */
        const struct listpack *lp = (const struct listpack *)(const void *)p->at;
        *v = lp_get(lp, 0);
        p->at += lp_span(lp, 0);
        break;
    }
    case PACK_ZIPLIST:
        must(zip_entry(p->at, room, &e));
        *v = e.v;
        p->at += e.size;
        break;
    case PACK_ZIPMAP:
        p->at += zipmap_text(p->at, room, p->value, v);
        p->value = !p->value;
        break;
    }
    return true;
}
