/* ql_chunk.c -- Changing a listpack that has room on both sides.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         A queue pushes at one end and pops at the other, a stack does both at one. With room
 *             on both sides neither moves the other entries (a listpack alone would move up to
 *             8 KiB per operation at its head).
 * INVARIANTS  start + bytes of the listpack <= cap; node.n == entries. Checked by
 * quicklist_check(). FAILURE     Only ql_chunk_new_plain() can fail: its size comes from a client.
 */
#include "ds/ql_chunk.h"
#include "base/mem.h"

#define FIT_MIN 128 /* a smaller block is not worth giving back in part */

/* A listpack is moved in its block while that frees this part of its size for the next changes. */
#define SLIDE_SHARE 8

static struct ql_chunk *alloc_packed(size_t bytes)
{
    size_t total = mem_good_size(sizeof(struct ql_chunk) + bytes);
    struct ql_chunk *c = mem_alloc(total);
    atomic_init(&c->node.refs, 1);
    c->node.n = 0;
    c->node.level = 0;
    c->node.plain = false;
    c->cap = (uint32_t)(total - sizeof *c);
    c->start = 0;
    return c;
}

static inline uint8_t *start_of(struct ql_chunk *c)
{
    return c->room + c->start;
}

static inline size_t used_of(const struct ql_chunk *c)
{
    return ql_chunk_bytes(c);
}

struct ql_chunk *ql_chunk_new(const struct lp_value *v, enum ql_end grows, uint32_t cap)
{
    uint32_t bytes = LP_EMPTY + (uint32_t)lp_value_size(v);
    struct ql_chunk *c = alloc_packed(size_max(bytes, cap));
    c->start = grows == QL_HEAD ? c->cap - bytes : 0;
    c->node.n = 1;
    lp_value_write(start_of(c) + LP_HEADER, v);
    lp_stamp(start_of(c), bytes, 1);
    return c;
}

struct ql_chunk *ql_chunk_new_plain(struct slice s)
{
    size_t total;
    struct ql_chunk *c = size_add(sizeof *c, s.n, &total) ? mem_try_alloc(total) : NULL;
    if (c != NULL) {
        atomic_init(&c->node.refs, 1);
        c->node.n = 1;
        c->node.level = 0;
        c->node.plain = true;
        c->size = s.n;
        memcpy(c->room, s.p, s.n);
    }
    return c;
}

struct ql_chunk *ql_chunk_from_listpack(const struct listpack *lp)
{
    struct slice bytes = lp_slice(lp);
    struct ql_chunk *c = alloc_packed(bytes.n);
    c->node.n = (uint16_t)lp_count(lp);
    memcpy(c->room, bytes.p, bytes.n);
    return c;
}

struct ql_chunk *ql_chunk_copy(const struct ql_chunk *c)
{
    struct ql_chunk *copy = mem_alloc(sizeof *copy + c->cap);
    atomic_init(&copy->node.refs, 1);
    copy->node.n = c->node.n;
    copy->node.level = 0;
    copy->node.plain = false;
    copy->cap = c->cap;
    copy->start = c->start;
    memcpy(start_of(copy), c->room + c->start, used_of(c));
    return copy;
}

/* Moves all spare room to the side of the change and makes room for `ins` bytes at `at`. One move
 * of everything pays for the next changes at that side too. */
static void slide(struct ql_chunk *c, uint32_t at, uint32_t del, uint32_t ins)
{
    uint32_t old = (uint32_t)used_of(c), tail = old - at - del, bytes = at + ins + tail;
    uint32_t start = at <= tail ? c->cap - bytes : 0;
    uint8_t *from = start_of(c), *to = c->room + start;
    if (to + at + ins > from + at + del) { /* the tail goes up: before the head could cover it */
        memmove(to + at + ins, from + at + del, tail);
        memmove(to, from, at);
    } else {
        memmove(to, from, at);
        memmove(to + at + ins, from + at + del, tail);
    }
    c->start = start;
}

/* Moves the listpack to a new block and changes the `del` bytes at `at` into room for `ins`. The
 * spare room goes to the side of the change: that is where the next one is likely. A block grows by
 * half, within the limit of a chunk. */
static struct ql_chunk *rebuild(struct ql_chunk *c, uint32_t at, uint32_t del, uint32_t ins,
                                uint32_t most)
{
    size_t old = used_of(c), tail = old - at - del, bytes = at + ins + tail;
    struct ql_chunk *to = alloc_packed(size_max(bytes, size_min(bytes + bytes / 2, most)));
    to->node.n = c->node.n;
    to->start = at <= tail ? to->cap - (uint32_t)bytes : 0;
    memcpy(start_of(to), start_of(c), at);
    memcpy(start_of(to) + at + ins, start_of(c) + at + del, tail);
    mem_free(c);
    return to;
}

/* Changes the `del` bytes at `at` into room for `ins`, which the caller fills, and the number of
 * entries by `change`. Header and end mark are written new and need not be moved. */
static struct ql_chunk *splice(struct ql_chunk *c, uint32_t at, uint32_t del, uint32_t ins,
                               int change, uint32_t most)
{
    uint8_t *lp = start_of(c);
    uint32_t old = (uint32_t)used_of(c), tail = old - at - del, bytes = old - del + ins;
    uint32_t after = c->cap - c->start - old;
    if (ins <= del) {
        if (at < tail) {
            memmove(lp + LP_HEADER + (del - ins), lp + LP_HEADER, at - LP_HEADER);
            c->start += del - ins;
        } else {
            memmove(lp + at + ins, lp + at + del, tail - 1);
        }
    } else if (at < tail && ins - del <= c->start) {
        c->start -= ins - del;
        memmove(start_of(c) + LP_HEADER, lp + LP_HEADER, at - LP_HEADER);
    } else if (at >= tail && ins - del <= after) {
        memmove(lp + at + ins, lp + at + del, tail - 1);
    } else if (bytes <= c->cap && (c->cap - bytes >= bytes / SLIDE_SHARE || c->cap >= most)) {
        slide(c, at, del, ins);
    } else {
        c = rebuild(c, at, del, ins, most);
    }
    c->node.n = (uint16_t)(c->node.n + change);
    lp_stamp(start_of(c), bytes, c->node.n);
    return c;
}

struct ql_chunk *ql_chunk_insert(struct ql_chunk *c, uint32_t at, const struct lp_value *v,
                                 size_t size, const struct ql_limit *l)
{
    c = splice(c, at, 0, (uint32_t)size, 1, l->bytes);
    lp_value_write(start_of(c) + at, v);
    return c;
}

struct ql_chunk *ql_chunk_replace(struct ql_chunk *c, uint32_t at, const struct lp_value *v,
                                  const struct ql_limit *l)
{
    uint32_t span = lp_span(ql_chunk_lp(c), at);
    c = splice(c, at, span, (uint32_t)lp_value_size(v), 0, l->bytes);
    lp_value_write(start_of(c) + at, v);
    return c;
}

void ql_chunk_delete(struct ql_chunk *c, uint32_t at, uint32_t bytes, uint32_t n)
{
    splice(c, at, bytes, 0, -(int)n, 0);
}

struct ql_chunk *ql_chunk_fit(struct ql_chunk *c)
{
    uint32_t bytes = (uint32_t)used_of(c);
    if (c->cap <= FIT_MIN || bytes >= c->cap / 4) {
        return c;
    }
    return rebuild(c, bytes - 1, 0, 0, bytes + bytes / 2);
}

struct ql_chunk *ql_chunk_split(struct ql_chunk *c, uint32_t at, uint32_t k)
{
    uint32_t tail = (uint32_t)used_of(c) - 1 - at;
    uint32_t n = c->node.n - k;
    struct ql_chunk *right = alloc_packed(LP_EMPTY + tail);
    right->node.n = (uint16_t)n;
    memcpy(right->room + LP_HEADER, start_of(c) + at, tail);
    lp_stamp(right->room, LP_EMPTY + tail, n);
    ql_chunk_delete(c, at, tail, n);
    return right;
}

struct ql_chunk *ql_chunk_join(struct ql_chunk *c, const struct ql_chunk *other,
                               const struct ql_limit *l)
{
    uint32_t at = (uint32_t)used_of(c) - 1, n = ql_chunk_bytes(other) - LP_EMPTY;
    c = splice(c, at, 0, n, other->node.n, l->bytes);
    memcpy(start_of(c) + at, other->room + other->start + LP_HEADER, n);
    return c;
}
