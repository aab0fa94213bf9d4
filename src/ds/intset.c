/* intset.c -- A sorted array of distinct integers of 2, 4 or 8 bytes each.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      Five small numbers are 18 bytes in one allocation. A change moves what stands behind it;
 *          the limit that users set (set-max-intset-entries) keeps that to a few KiB. */
#include "ds/intset.h"
#include "base/mem.h"
#include <endian.h>

struct intset {
    uint32_t width, count; /* little-endian, as the members */
    uint8_t members[];
};
_Static_assert(sizeof(struct intset) == 8, "the header of the format");

static uint32_t width_of(const struct intset *s)
{
    return le32toh(s->width);
}

uint32_t intset_count(const struct intset *s)
{
    return le32toh(s->count);
}

static size_t size_of(uint32_t width, uint32_t count)
{
    return sizeof(struct intset) + (size_t)width * count;
}

static void stamp(struct intset *s, uint32_t width, uint32_t count)
{
    s->width = htole32(width);
    s->count = htole32(count);
}

static uint32_t width_needed(int64_t v)
{
    return v >= INT16_MIN && v <= INT16_MAX ? 2 : v >= INT32_MIN && v <= INT32_MAX ? 4 : 8;
}

static int64_t load(const uint8_t *members, uint32_t width, uint32_t i)
{
    const uint8_t *p = members + (size_t)width * i;
    uint16_t v2;
    uint32_t v4;
    uint64_t v8;
    switch (width) {
    case 2: memcpy(&v2, p, sizeof v2); return (int16_t)le16toh(v2);
    case 4: memcpy(&v4, p, sizeof v4); return (int32_t)le32toh(v4);
    default: memcpy(&v8, p, sizeof v8); return (int64_t)le64toh(v8);
    }
}

static void store(uint8_t *members, uint32_t width, uint32_t i, int64_t v)
{
    uint64_t bytes = htole64((uint64_t)v); /* the first `width` of them are the narrow number */
    memcpy(members + (size_t)width * i, &bytes, width);
}

/* ---- Life ---- */

struct intset *intset_new(void)
{
    struct intset *s = mem_alloc(sizeof *s);
    stamp(s, 2, 0);
    return s;
}

void intset_free(struct intset *s)
{
    mem_free(s);
}

struct intset *intset_dup(const struct intset *s)
{
    return intset_from_bytes(intset_slice(s));
}

struct slice intset_slice(const struct intset *s)
{
    return slice_of(s, size_of(width_of(s), intset_count(s)));
}

struct intset *intset_from_bytes(struct slice bytes)
{
    struct intset *s = mem_try_alloc(bytes.n);
    if (s != NULL) {
        memcpy(s, bytes.p, bytes.n);
    }
    return s;
}

bool intset_valid(struct slice bytes)
{
    struct intset head;
    if (bytes.n < sizeof head) {
        return false;
    }
    memcpy(&head, bytes.p, sizeof head);
    uint32_t width = width_of(&head), count = intset_count(&head);
    if ((width != 2 && width != 4 && width != 8) || count > INTSET_MAX ||
        bytes.n != size_of(width, count)) {
        return false;
    }
    const uint8_t *members = (const uint8_t *)bytes.p + sizeof head;
    for (uint32_t i = 1; i < count; i++) {
        if (load(members, width, i - 1) >= load(members, width, i)) {
            return false;
        }
    }
    return true;
}

/* ---- Looking ---- */

int64_t intset_at(const struct intset *s, uint32_t index)
{
    must(index < intset_count(s));
    return load(s->members, width_of(s), index);
}

bool intset_find(const struct intset *s, int64_t v, uint32_t *at)
{
    uint32_t width = width_of(s), low = 0, high = intset_count(s);
    if (high > 0 && v > load(s->members, width, high - 1)) { /* ascending insertion is common */
        low = high;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int64_t here = load(s->members, width, middle);
        if (here == v) {
            *at = middle;
            return true;
        }
        if (here < v) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *at = low;
    return false;
}

/* ---- Changes ---- */

/* Each member in more bytes, from the last to the first because they move up; v, which no narrower
 * number can be, comes before or behind them all. */
static void widen(struct intset *s, uint32_t from, uint32_t to, int64_t v)
{
    uint32_t count = intset_count(s), shift = v < 0;
    for (uint32_t i = count; i-- > 0;) {
        store(s->members, to, i + shift, load(s->members, from, i));
    }
    store(s->members, to, v < 0 ? 0 : count, v);
    stamp(s, to, count + 1);
}

struct intset *intset_insert(struct intset *s, uint32_t at, int64_t v)
{
    uint32_t width = width_of(s), count = intset_count(s), needed = width_needed(v);
    if (count >= INTSET_MAX) {
        return NULL;
    }
    uint32_t wide = needed > width ? needed : width;
    s = mem_try_realloc(s, size_of(wide, count + 1));
    if (s == NULL) {
        return NULL;
    }
    if (wide > width) {
        widen(s, width, wide, v);
        return s;
    }
    uint8_t *p = s->members + (size_t)width * at;
    memmove(p + width, p, (size_t)width * (count - at));
    store(s->members, width, at, v);
    stamp(s, width, count + 1);
    return s;
}

struct intset *intset_delete(struct intset *s, uint32_t index, uint32_t n)
{
    uint32_t width = width_of(s), count = intset_count(s);
    must(index <= count);
    n = n < count - index ? n : count - index;
    uint8_t *p = s->members + (size_t)width * index;
    memmove(p, p + (size_t)width * n, (size_t)width * (count - index - n));
    stamp(s, width, count - n);
    struct intset *smaller = mem_try_realloc(s, size_of(width, count - n));
    return smaller != NULL ? smaller : s;
}
