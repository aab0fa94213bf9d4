/* out.c -- The output chain: blocks that replies are written into, and their per-thread cache.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 *     A connection without unsent output owns no block, so each turn takes one and gives it back.
 *     Reactors keep freed blocks of the two common sizes; the block of the previous connection is
 *     still in the CPU's cache. A chain starts with a small block: ten thousand clients that wait
 *     for the disk with one short reply each must not hold 16 KiB each.
 *
 * THREADS
 *     A chain belongs to one thread at a time. Blocks may be freed on another thread than they
 *     were allocated on. Threads that did not call out_cache_start() cache nothing.
 *
 * INVARIANTS
 *     I1 cur != NULL <=> the tail is open: its bytes are data..cur, its len is stale, and `bytes`
 *        does not count it. Otherwise every len is right and `bytes` counts all.
 *     I2 mem == sum over blocks of block_mem().
 *     I3 head == NULL <=> every field but `limit` and `lost` is zero.
 *     I4 lost: the tail is the sink, which nothing that is kept was written into, and it is open.
 *     Checked by out_check(). */
#include "net/net_int.h"
#include "base/mem.h"

#define SMALL_BYTES 2048 /* 16 replies of a 64-byte value fit */
#define SMALL_CAP   ((uint32_t)(SMALL_BYTES - sizeof(struct out_block)))
#define LARGE_CAP   ((uint32_t)(OUT_BLOCK_BYTES - sizeof(struct out_block)))
#define HOLE_CAP    64
#define ROOM_MAX    65536 /* contract of out_room() */
#define CACHE_SMALL 512   /* at most 1 MiB of each size idles per reactor */
#define CACHE_LARGE 64
#define LEAN_SMALL  4 /* where memory is limited, what idles is kept from data */

struct block_cache {
    struct out_block *small, *large;
    unsigned nsmall, nlarge;
    unsigned small_max, large_max;
};
thread_local_fast struct block_cache cache;

void out_cache_start(void)
{
    cache.small_max = CACHE_SMALL;
    cache.large_max = CACHE_LARGE;
}

static void cache_drop(struct out_block *b)
{
    while (b != NULL) {
        struct out_block *next = b->next;
        mem_free(b);
        b = next;
    }
}

void out_cache_stop(void)
{
    cache_drop(cache.small);
    cache_drop(cache.large);
    cache = (struct block_cache){ 0 };
}

static struct out_block *block_take(struct out_block **list, unsigned *n)
{
    struct out_block *b = *list;
    if (b != NULL) {
        *list = b->next;
        (*n)--;
    }
    return b;
}

static struct out_block *block_new(uint32_t cap)
{
    struct out_block *b = NULL;
    if (cap == SMALL_CAP) {
        b = block_take(&cache.small, &cache.nsmall);
    } else if (cap == LARGE_CAP) {
        b = block_take(&cache.large, &cache.nlarge);
    }
    if (b == NULL) {
        b = mem_alloc(sizeof *b + cap);
    }
    b->next = NULL;
    b->len = 0;
    b->cap = cap;
    b->ext = NULL;
    return b;
}

static void cache_shrink(struct out_block **list, unsigned *n, unsigned max)
{
    while (*n > max) {
        mem_free(block_take(list, n));
    }
}

void out_cache_lean(bool lean)
{
    cache.small_max = lean ? LEAN_SMALL : CACHE_SMALL;
    cache.large_max = lean ? 0 : CACHE_LARGE;
    cache_shrink(&cache.small, &cache.nsmall, cache.small_max);
    cache_shrink(&cache.large, &cache.nlarge, cache.large_max);
}

static size_t block_mem(const struct out_block *b)
{
    return sizeof *b + (b->cap != 0 ? b->cap : b->len);
}

static void block_free(struct out_block *b)
{
    if (b->cap == 0 && b->ext_free != NULL) {
        b->ext_free(b->ext_owner);
    }
    if (b->cap == SMALL_CAP && cache.nsmall < cache.small_max) {
        b->next = cache.small;
        cache.small = b;
        cache.nsmall++;
    } else if (b->cap == LARGE_CAP && cache.nlarge < cache.large_max) {
        b->next = cache.large;
        cache.large = b;
        cache.nlarge++;
    } else {
        mem_free(b);
    }
}

static void tail_close(struct out *o)
{
    if (o->cur != NULL) {
        o->tail->len = (uint32_t)(o->cur - o->tail->data);
        o->bytes += o->tail->len;
        o->cur = o->end = NULL;
    }
}

/* Appends a block; the tail before it must be closed. */
static void block_link(struct out *o, struct out_block *b)
{
    if (o->tail != NULL) {
        o->tail->next = b;
    } else {
        o->head = b;
    }
    o->tail = b;
    o->mem += block_mem(b);
}

static void tail_open(struct out *o, struct out_block *b)
{
    tail_close(o);
    block_link(o, b);
    o->cur = b->data;
    o->end = b->data + b->cap;
}

/* ---- The limit ---- */

/* Redis has short replies in a buffer of the client that no limit speaks of: a limit below the size
 * of one would lock everybody out. What is more counts whole, as a long reply does with Redis. */
#define UNCOUNTED_BYTES 16384

size_t out_counted(const struct out *o)
{
    return out_size(o) > UNCOUNTED_BYTES ? o->mem : 0;
}

bool out_over_limit(const struct out *o)
{
    return o->lost || (o->limit != 0 && out_counted(o) > o->limit);
}

static void drop_bytes(struct out *o, size_t n)
{
    o->bytes += n;
    o->dropped += n;
}

/* Room for any writer, which the next one gets again: the sink, empty. */
void out_lose(struct out *o)
{
    if (o->lost && o->tail != NULL) {
        drop_bytes(o, (size_t)(o->cur - o->tail->data));
        o->cur = o->tail->data;
    } else {
        o->lost = true;
        tail_open(o, block_new(ROOM_MAX));
    }
}

/* ---- Writing ---- */

char *out_room_slow(struct out *o, size_t n)
{
    must(n <= ROOM_MAX);
    if (unlikely(out_over_limit(o))) {
        out_lose(o);
        return o->cur;
    }
    uint32_t cap = LARGE_CAP;
    if (o->head == NULL && n <= SMALL_CAP) {
        cap = SMALL_CAP;
    } else if (n > LARGE_CAP) {
        cap = (uint32_t)n;
    }
    tail_open(o, block_new(cap));
    return o->cur;
}

void out_add(struct out *o, const void *p, size_t n)
{
    const char *from = p;
    for (;;) {
        size_t part = size_min(n, (size_t)(o->end - o->cur));
        if (part > 0) {
            memcpy(o->cur, from, part);
            o->cur += part;
            from += part;
            n -= part;
        }
        if (n == 0) {
            return;
        }
        out_room_slow(o, size_min(n, LARGE_CAP));
        if (unlikely(o->lost)) {
            drop_bytes(o, n);
            return;
        }
    }
}

void out_add_ext(struct out *o, const char *p, size_t n, void (*ext_free)(void *), void *owner)
{
    const size_t part_max = (size_t)1 << 30; /* len has 32 bits */
    if (unlikely(out_over_limit(o))) {
        out_lose(o);
        drop_bytes(o, n);
        if (ext_free != NULL) {
            ext_free(owner);
        }
        return;
    }
    tail_close(o);
    do {
        size_t part = size_min(n, part_max);
        struct out_block *b = block_new(0);
        b->len = (uint32_t)part;
        b->ext = p;
        b->ext_free = part == n ? ext_free : NULL;
        b->ext_owner = owner;
        block_link(o, b);
        o->bytes += part;
        p += part;
        n -= part;
    } while (n > 0);
}

void out_splice(struct out *to, struct out *from)
{
    if (from->head == NULL) {
        return;
    }
    tail_close(from);
    /* One block that fits is copied: a connection that gets many small messages would otherwise
     * send one block each, and hold 2 KiB for every one of them. */
    if (from->head == from->tail && from->head->cap != 0 &&
        from->bytes <= (size_t)(to->end - to->cur)) {
        out_add(to, from->head->data, from->bytes);
        out_clear(from);
        return;
    }
    if (unlikely(out_over_limit(to))) {
        out_lose(to);
        drop_bytes(to, from->bytes);
        out_clear(from);
        return;
    }
    tail_close(to);
    if (to->tail != NULL) {
        to->tail->next = from->head;
    } else {
        to->head = from->head;
    }
    to->tail = from->tail;
    to->bytes += from->bytes;
    to->mem += from->mem;
    *from = (struct out){ .limit = from->limit };
}

void out_clear(struct out *o)
{
    for (struct out_block *b = o->head; b != NULL;) {
        struct out_block *next = b->next;
        block_free(b);
        b = next;
    }
    *o = (struct out){ .limit = o->limit, .lost = o->lost };
}

static const char *block_bytes(const struct out_block *b)
{
    return b->cap != 0 ? b->data : b->ext;
}

static size_t block_len(const struct out *o, const struct out_block *b)
{
    return b == o->tail && o->cur != NULL ? (size_t)(o->cur - b->data) : b->len;
}

void out_copy_to(const struct out *o, struct buf *to)
{
    for (const struct out_block *b = o->head; b != NULL; b = b->next) {
        buf_add(to, block_bytes(b), block_len(o, b));
    }
}

struct out_mark out_mark(struct out *o)
{
    return (struct out_mark){ .tail = o->tail,
                              .tail_len = o->tail != NULL ? block_len(o, o->tail) : 0 };
}

void out_rewind(struct out *o, struct out_mark m)
{
    if (o->lost && m.tail != o->tail) {
        o->lost = false;
        o->bytes -= o->dropped;
        o->dropped = 0;
    }
    if (m.tail == NULL) {
        out_clear(o);
        return;
    }
    tail_close(o);
    for (struct out_block *b = m.tail->next; b != NULL;) {
        struct out_block *next = b->next;
        o->bytes -= b->len;
        o->mem -= block_mem(b);
        block_free(b);
        b = next;
    }
    o->tail = m.tail;
    o->tail->next = NULL;
    o->bytes -= o->tail->len;
    if (o->tail->cap > HOLE_CAP) {
        o->cur = o->tail->data + m.tail_len;
        o->end = o->tail->data + o->tail->cap;
    } else { /* ext bytes and holes are never written behind */
        o->tail->len = (uint32_t)m.tail_len;
        o->bytes += m.tail_len;
    }
}

struct out_block *out_hole(struct out *o)
{
    if (unlikely(out_over_limit(o))) {
        out_lose(o);
        return o->tail;
    }
    tail_close(o);
    struct out_block *b = block_new(HOLE_CAP);
    block_link(o, b);
    return b;
}

void out_fill_hole(struct out *o, struct out_block *hole, const void *p, size_t n)
{
    if (unlikely(o->lost && hole == o->tail)) {
        drop_bytes(o, n);
        return;
    }
    must(n <= HOLE_CAP && hole->cap == HOLE_CAP && hole->len == 0);
    memcpy(hole->data, p, n);
    hole->len = (uint32_t)n;
    o->bytes += n;
}

unsigned out_iov(const struct out *o, size_t head_sent, size_t limit, struct iovec *v, unsigned max)
{
    unsigned n = 0;
    size_t skip = head_sent;
    for (const struct out_block *b = o->head; b != NULL && limit > 0 && n < max; b = b->next) {
        size_t len = block_len(o, b) - skip;
        if (len > 0) {
            len = size_min(len, limit);
            v[n].iov_base = (char *)(uintptr_t)block_bytes(b) + skip;
            v[n].iov_len = len;
            limit -= len;
            n++;
        }
        skip = 0;
    }
    return n;
}

size_t out_drop(struct out *o, size_t head_sent, size_t n, uint64_t *base)
{
    n += head_sent;
    while (o->head != NULL) {
        struct out_block *b = o->head;
        size_t len = block_len(o, b);
        if (n < len || (o->lost && b == o->tail)) { /* the sink stays, empty or not */
            return n;
        }
        n -= len;
        *base += len;
        if (b == o->tail) {
            must(n == 0);
            out_clear(o);
            return 0;
        }
        o->bytes -= len;
        o->mem -= block_mem(b);
        o->head = b->next;
        block_free(b);
    }
    must(n == 0);
    return 0;
}

void out_check(const struct out *o)
{
    size_t bytes = 0, mem = 0;
    const struct out_block *last = NULL;
    for (const struct out_block *b = o->head; b != NULL; b = b->next) {
        must(b->cap == 0 || block_len(o, b) <= b->cap);
        bytes += b == o->tail && o->cur != NULL ? 0 : b->len;
        mem += block_mem(b);
        last = b;
    }
    must(last == o->tail);
    must(bytes + o->dropped == o->bytes && mem == o->mem);
    must(o->lost || o->dropped == 0);
    must(!o->lost || o->tail == NULL || (o->cur != NULL && o->tail->cap == ROOM_MAX));
    must((o->cur == NULL) == (o->end == NULL));
    if (o->cur != NULL) {
        must(o->tail->cap > HOLE_CAP);
        must(o->cur >= o->tail->data && o->cur <= o->end);
        must(o->end == o->tail->data + o->tail->cap);
    }
}
