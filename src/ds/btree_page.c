/* btree_page.c -- Leaves of a btree: records behind an array of their orders.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         A page is as big as its content and an eighth more, whatever that content is: pages
 *             that a split left half full cost no memory, and small trees are small.
 * INVARIANTS  T5, T6. Bytes of removed records stay where they are until the page is copied.
 * FAILURE     Only btree_fresh_make() can fail: the size of a big record comes from a client. */
#include "ds/btree_int.h"
#include "base/mem.h"
#include <errno.h>

#define BIG_SIZE (1 + sizeof(struct btree_big *))

/* ---- Records ---- */

static uint16_t load16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static struct btree_big *big_at(const uint8_t *at)
{
    struct btree_big *big;
    memcpy(&big, at + 1, sizeof big);
    return big;
}

static bool is_big(const uint8_t *at)
{
    return at[0] >> 2 == KLEN_BIG;
}

static size_t big_bytes(const struct btree_big *big)
{
    return sizeof *big + big->klen + big->vlen;
}

/* The lengths of a record that is not big; returns where what follows them begins. */
static inline const uint8_t *lengths(const uint8_t *at, uint32_t *klen, uint32_t *vlen)
{
    uint8_t head = *at++;
    *klen = head >> 2;
    *vlen = 0;
    if (unlikely(*klen == KLEN_U16)) {
        *klen = load16(at);
        at += 2;
    }
    if (head & HAS_VALUE) {
        *vlen = *at++;
        if (*vlen == VLEN_U16) {
            *vlen = load16(at);
            at += 2;
        }
    }
    return at;
}

uint32_t btree_record_read(const uint8_t *at, struct btree_item *out)
{
    if (unlikely(is_big(at))) {
        const struct btree_big *big = big_at(at);
        out->key = slice_of(big->bytes, big->klen);
        out->value = slice_of(big->bytes + big->klen, big->vlen);
        out->due = big->due;
        return BIG_SIZE;
    }
    uint32_t klen, vlen;
    const uint8_t *p = lengths(at, &klen, &vlen);
    out->due = BTREE_NO_DUE;
    if (at[0] & HAS_DUE) {
        memcpy(&out->due, p, sizeof out->due);
        p += sizeof out->due;
    }
    out->key = slice_of(p, klen);
    out->value = slice_of(p + klen, vlen);
    return (uint32_t)(p - at) + klen + vlen;
}

uint32_t btree_record_size(const uint8_t *at)
{
    if (unlikely(is_big(at))) {
        return BIG_SIZE;
    }
    uint32_t klen, vlen;
    const uint8_t *p = lengths(at, &klen, &vlen);
    return (uint32_t)(p - at) + (at[0] & HAS_DUE ? (uint32_t)sizeof(int64_t) : 0) + klen + vlen;
}

static struct slice record_key(const uint8_t *at)
{
    if (unlikely(is_big(at))) {
        const struct btree_big *big = big_at(at);
        return slice_of(big->bytes, big->klen);
    }
    uint32_t klen, vlen;
    const uint8_t *p = lengths(at, &klen, &vlen);
    return slice_of(p + (at[0] & HAS_DUE ? sizeof(int64_t) : 0), klen);
}

static uint64_t packed_size(const struct btree_item *item)
{
    uint64_t k = item->key.n, v = item->value.n;
    return 1 + (k >= KLEN_U16 ? 2u : 0) +
           (v == 0          ? 0
            : v >= VLEN_U16 ? 3u
                            : 1u) +
           (item->due != BTREE_NO_DUE ? sizeof item->due : 0) + k + v;
}

static struct btree_big *big_new(const struct btree_item *item)
{
    must(item->key.n <= UINT32_MAX && item->value.n <= UINT32_MAX);
    struct btree_big *big = mem_try_alloc(sizeof *big + item->key.n + item->value.n);
    if (big != NULL) {
        atomic_init(&big->refs, 1);
        big->klen = (uint32_t)item->key.n;
        big->vlen = (uint32_t)item->value.n;
        big->due = item->due;
        memcpy(big->bytes, item->key.p, item->key.n);
        if (item->value.n > 0) {
            memcpy(big->bytes + item->key.n, item->value.p, item->value.n);
        }
    }
    return big;
}

int btree_fresh_make(struct btree_fresh *f, const struct btree_item *item)
{
    uint64_t size = packed_size(item);
    f->item = *item;
    f->big = NULL;
    f->size = size <= BTREE_RECORD_MAX ? (uint32_t)size : (uint32_t)BIG_SIZE;
    if (size > BTREE_RECORD_MAX) {
        f->big = big_new(item);
        return f->big != NULL ? 0 : -ENOMEM;
    }
    return 0;
}

static void record_write(uint8_t *at, const struct btree_fresh *f)
{
    const struct btree_item *item = &f->item;
    if (f->big != NULL) {
        at[0] = KLEN_BIG << 2;
        memcpy(at + 1, &f->big, sizeof f->big);
        return;
    }
    uint8_t *head = at++;
    uint16_t klen = (uint16_t)item->key.n, vlen = (uint16_t)item->value.n;
    unsigned flags = (vlen > 0 ? HAS_VALUE : 0) | (item->due != BTREE_NO_DUE ? HAS_DUE : 0);
    *head = (uint8_t)((klen >= KLEN_U16 ? KLEN_U16 : klen) << 2 | flags);
    if (klen >= KLEN_U16) {
        memcpy(at, &klen, sizeof klen);
        at += sizeof klen;
    }
    if (vlen >= VLEN_U16) {
        *at++ = VLEN_U16;
        memcpy(at, &vlen, sizeof vlen);
        at += sizeof vlen;
    } else if (vlen > 0) {
        *at++ = (uint8_t)vlen;
    }
    if (item->due != BTREE_NO_DUE) {
        memcpy(at, &item->due, sizeof item->due);
        at += sizeof item->due;
    }
    if (klen > 0) {
        memcpy(at, item->key.p, klen);
    }
    if (vlen > 0) {
        memcpy(at + klen, item->value.p, vlen);
    }
}

static void big_release(struct btree_big *big)
{
    if (atomic_fetch_sub_explicit(&big->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(big);
    }
}

/* ---- Pages as a whole ---- */

static inline uint16_t *offs(struct btree_page *p)
{
    return (uint16_t *)(p->order + p->node.n);
}

static inline uint8_t *end_of(struct btree_page *p)
{
    return (uint8_t *)p->order + p->cap;
}

static inline uint32_t unused(const struct btree_page *p)
{
    return p->cap - p->node.n * BTREE_SLOT - p->heap;
}

static struct btree_page *page_alloc(size_t room)
{
    size_t total = mem_good_size(sizeof(struct btree_page) + size_min(room, BTREE_ROOM_MAX));
    struct btree_page *p = mem_alloc(total);
    atomic_init(&p->node.refs, 1);
    p->node.n = 0;
    p->node.level = 0;
    p->cap = (uint16_t)(total - sizeof *p);
    p->heap = p->dead = p->nbig = 0;
    p->big_bytes = 0;
    return p;
}

/* Records `from` to `to` of `src` become those at `at` of a page that will have n: its node.n is
 * that already. */
static void fill(struct btree_page *p, unsigned at, const struct btree_page *src, unsigned from,
                 unsigned to)
{
    uint16_t *off = offs(p);
    memcpy(p->order + at, src->order + from, (to - from) * sizeof *p->order);
    if (to - from == src->node.n && p->heap == 0 && src->dead == 0) {
        memcpy(end_of(p) - src->heap, (const uint8_t *)src->order + src->cap - src->heap,
               src->heap);
        memcpy(off + at, btree_page_off(src), src->node.n * sizeof *off);
        p->heap = src->heap;
    } else {
        for (unsigned i = from; i < to; i++) {
            const uint8_t *record = btree_page_record(src, i);
            uint32_t size = btree_record_size(record);
            p->heap = (uint16_t)(p->heap + size);
            memcpy(end_of(p) - p->heap, record, size);
            off[at + i - from] = p->heap;
        }
    }
    for (unsigned i = from; src->nbig > 0 && i < to; i++) {
        const uint8_t *record = btree_page_record(src, i);
        if (is_big(record)) {
            struct btree_big *big = big_at(record);
            atomic_fetch_add_explicit(&big->refs, 1, memory_order_relaxed);
            p->nbig++;
            p->big_bytes += big_bytes(big);
        }
    }
}

static uint32_t bytes_of(const struct btree_page *p, unsigned from, unsigned to)
{
    uint32_t bytes = (to - from) * BTREE_SLOT;
    for (unsigned i = from; i < to; i++) {
        bytes += btree_record_size(btree_page_record(p, i));
    }
    return bytes;
}

static size_t with_slack(size_t bytes)
{
    return bytes + bytes / 8;
}

static struct btree_page *copy_part(const struct btree_page *p, unsigned from, unsigned to,
                                    size_t room)
{
    struct btree_page *copy = page_alloc(room);
    copy->node.n = (uint16_t)(to - from);
    fill(copy, 0, p, from, to);
    return copy;
}

struct btree_page *btree_page_new(const struct btree_fresh *f)
{
    return btree_page_insert(page_alloc(BTREE_SLOT + f->size), 0, f);
}

struct btree_page *btree_page_copy(const struct btree_page *p)
{
    return copy_part(p, 0, p->node.n, with_slack(btree_page_live(p)));
}

struct btree_page *btree_page_part(const struct btree_page *p, unsigned from, unsigned to)
{
    return copy_part(p, from, to, with_slack(bytes_of(p, from, to)));
}

struct btree_page *btree_page_join(const struct btree_page *a, const struct btree_page *b)
{
    struct btree_page *p = page_alloc(with_slack(btree_page_live(a) + btree_page_live(b)));
    p->node.n = (uint16_t)(a->node.n + b->node.n);
    fill(p, 0, a, 0, a->node.n);
    fill(p, a->node.n, b, 0, b->node.n);
    return p;
}

void btree_page_drop(struct btree_page *p)
{
    for (unsigned i = 0; p->nbig > 0 && i < p->node.n; i++) {
        const uint8_t *record = btree_page_record(p, i);
        if (is_big(record)) {
            big_release(big_at(record));
        }
    }
    mem_free(p);
}

unsigned btree_page_middle(const struct btree_page *p)
{
    uint32_t half = btree_page_live(p) / 2, bytes = 0;
    unsigned i = 0;
    while (i + 1u < p->node.n && bytes < half) {
        bytes += BTREE_SLOT + btree_record_size(btree_page_record(p, i));
        i++;
    }
    return i;
}

/* ---- Searching ---- */

#define GUESS_STEP 8 /* orders in a cache line */

/* The first of n orders that is not below `order`, or n. The condition is an addition, not a
 * branch: which way it goes cannot be predicted. */
static inline unsigned lower_bound(const uint64_t *orders, unsigned n, uint64_t order)
{
    const uint64_t *base = orders;
    while (n > 1) {
        unsigned half = n / 2;
        base += base[half - 1] < order ? half : 0;
        n -= half;
    }
    return (unsigned)(base - orders) + (n == 1 && *base < order);
}

/* The same, looked for around `guess` first: in steps that double, as long as they lead there. */
static unsigned lower_bound_near(const uint64_t *orders, unsigned n, uint64_t order, unsigned guess)
{
    unsigned low = 0, high = n, step = GUESS_STEP;
    if (guess < n && orders[guess] < order) {
        low = guess + 1;
        while (low + step <= n && orders[low + step - 1] < order) {
            low += step;
            step *= 2;
        }
        high = low + step <= n ? low + step - 1 : n;
    } else if (guess < n) {
        high = guess;
        while (step <= high && orders[high - step] >= order) {
            high -= step;
            step *= 2;
        }
        low = step <= high ? high - step + 1 : 0;
    }
    return low + lower_bound(orders + low, high - low, order);
}

int btree_page_compare(const struct btree_page *p, unsigned i, uint64_t order, struct slice key)
{
    if (p->order[i] != order) {
        return p->order[i] < order ? -1 : 1;
    }
    return slice_cmp(record_key(btree_page_record(p, i)), key);
}

bool btree_page_search(const struct btree_page *p, uint64_t order, struct slice key, unsigned guess,
                       unsigned *at)
{
    unsigned n = p->node.n, i = lower_bound_near(p->order, n, order, guess);
    *at = i;
    if (i == n || p->order[i] != order) {
        return false;
    }
    int cmp = slice_cmp(record_key(btree_page_record(p, i)), key);
    if (cmp >= 0) {
        return cmp == 0;
    }
    unsigned low = i + 1, high = n;
    if (order != UINT64_MAX) {
        high = low + lower_bound(p->order + low, n - low, order + 1);
    }
    while (low < high) {
        unsigned mid = (low + high) / 2;
        cmp = slice_cmp(record_key(btree_page_record(p, mid)), key);
        if (cmp == 0) {
            *at = mid;
            return true;
        }
        if (cmp < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    *at = low;
    return false;
}

unsigned btree_page_ahead(const struct btree_page *p, uint64_t order, unsigned guess)
{
    unsigned n = p->node.n, i = lower_bound_near(p->order, n, order, guess);
    if (i < n) {
        const char *record = (const char *)btree_page_record(p, i);
        __builtin_prefetch(record);
        __builtin_prefetch(record + 63);
    }
    return i;
}

/* ---- Changes ---- */

/* Opens a slot: orders from `at` on move up by one, offsets by the size of an order, those from
 * `at` on by one more. The last come first, each before what would cover it. */
static void slot_open(struct btree_page *p, unsigned at)
{
    unsigned n = p->node.n;
    uint16_t *from = offs(p), *to = (uint16_t *)(p->order + n + 1);
    memmove(to + at + 1, from + at, (n - at) * sizeof *to);
    memmove(to, from, at * sizeof *to);
    memmove(p->order + at + 1, p->order + at, (n - at) * sizeof *p->order);
    p->node.n++;
}

static void slots_close(struct btree_page *p, unsigned at, unsigned gone)
{
    unsigned n = p->node.n, tail = n - at - gone;
    uint16_t *from = offs(p), *to = (uint16_t *)(p->order + n - gone);
    memmove(p->order + at, p->order + at + gone, tail * sizeof *p->order);
    memmove(to, from, at * sizeof *to);
    memmove(to + at, from + at + gone, tail * sizeof *to);
    p->node.n = (uint16_t)(n - gone);
}

static void big_added(struct btree_page *p, const struct btree_fresh *f)
{
    if (f->big != NULL) {
        p->nbig++;
        p->big_bytes += big_bytes(f->big);
    }
}

/* The bytes of record i belong to nobody from here on. */
static void record_forget(struct btree_page *p, unsigned i)
{
    const uint8_t *record = btree_page_record(p, i);
    uint32_t size = btree_record_size(record);
    if (is_big(record)) {
        struct btree_big *big = big_at(record);
        p->nbig--;
        p->big_bytes -= big_bytes(big);
        big_release(big);
    }
    if (btree_page_off(p)[i] == p->heap) {
        p->heap = (uint16_t)(p->heap - size);
    } else {
        p->dead = (uint16_t)(p->dead + size);
    }
}

struct btree_page *btree_page_insert(struct btree_page *p, unsigned at, const struct btree_fresh *f)
{
    if (unused(p) < BTREE_SLOT + f->size) {
        size_t room = with_slack(btree_page_live(p) + BTREE_SLOT + f->size);
        struct btree_page *to = copy_part(p, 0, p->node.n, room);
        btree_page_drop(p);
        p = to;
    }
    slot_open(p, at);
    p->heap = (uint16_t)(p->heap + f->size);
    p->order[at] = f->item.order;
    offs(p)[at] = p->heap;
    record_write(end_of(p) - p->heap, f);
    big_added(p, f);
    return p;
}

struct btree_page *btree_page_replace(struct btree_page *p, unsigned at,
                                      const struct btree_fresh *f)
{
    uint16_t off = offs(p)[at];
    uint32_t size = btree_record_size(btree_page_record(p, at));
    if (size < f->size) {
        btree_page_delete(p, at, 1);
        return btree_page_takes(p, f->size) ? btree_page_insert(p, at, f) : NULL;
    }
    uint16_t heap = p->heap;
    record_forget(p, at);
    p->dead = (uint16_t)(p->dead - (p->heap == heap ? f->size : 0));
    if (p->heap != heap) { /* it was the last one laid down: so is the new one */
        p->heap = off = (uint16_t)(p->heap + f->size);
    }
    offs(p)[at] = off;
    record_write(end_of(p) - off, f);
    big_added(p, f);
    return p;
}

bool btree_page_like(const struct btree_page *p, unsigned at, const struct btree_item *item)
{
    struct btree_item is;
    const uint8_t *record = btree_page_record(p, at);
    if (is_big(record)) {
        return false;
    }
    btree_page_get(p, at, &is);
    return is.value.n == item->value.n && (is.due == BTREE_NO_DUE) == (item->due == BTREE_NO_DUE);
}

void btree_page_write(struct btree_page *p, unsigned at, const struct btree_item *item)
{
    struct btree_item is;
    btree_page_get(p, at, &is);
    if (item->due != BTREE_NO_DUE) { /* stands before the key */
        memcpy((char *)(uintptr_t)is.key.p - sizeof item->due, &item->due, sizeof item->due);
    }
    if (item->value.n > 0) {
        memcpy((char *)(uintptr_t)is.value.p, item->value.p, item->value.n);
    }
}

char *btree_page_edit(struct btree_page *p, unsigned at)
{
    uint8_t *record = end_of(p) - offs(p)[at];
    struct btree_item item;
    btree_record_read(record, &item);
    if (is_big(record)) {
        struct btree_big *big = big_at(record);
        if (atomic_load_explicit(&big->refs, memory_order_acquire) > 1) {
            item.order = p->order[at];
            struct btree_big *own = big_new(&item);
            if (own == NULL) {
                return NULL;
            }
            memcpy(record + 1, &own, sizeof own);
            big_release(big);
            big = own;
        }
        return big->bytes + big->klen;
    }
    return (char *)(uintptr_t)item.value.p;
}

void btree_page_delete(struct btree_page *p, unsigned from, unsigned n)
{
    for (unsigned i = from; i < from + n; i++) {
        record_forget(p, i);
    }
    slots_close(p, from, n);
    if (p->node.n == 0) {
        p->heap = p->dead = 0;
    }
}

#define FIT_MIN 128 /* a smaller block is not worth giving back in part */

struct btree_page *btree_page_fit(struct btree_page *p)
{
    uint32_t live = btree_page_live(p);
    if (p->cap <= FIT_MIN || live >= p->cap / 2) {
        return p;
    }
    struct btree_page *to = copy_part(p, 0, p->node.n, with_slack(live));
    btree_page_drop(p);
    return to;
}

/* ---- Check ---- */

static const char *check_records(const struct btree_page *p)
{
    uint32_t live = 0, nbig = 0;
    uint64_t bigs = 0;
    uint8_t taken[8192] = { 0 };
    for (unsigned i = 0; i < p->node.n; i++) {
        uint32_t off = btree_page_off(p)[i];
        if (off == 0 || off > p->heap) {
            return "T5 place of a record";
        }
        const uint8_t *record = btree_page_record(p, i);
        struct btree_item item;
        uint32_t size = btree_record_read(record, &item);
        if (size > off) {
            return "T5 end of a record";
        }
        if (is_big(record) != (packed_size(&item) > BTREE_RECORD_MAX)) {
            return "T6 size of a record";
        }
        for (uint32_t b = off - size; b < off; b++) {
            if (taken[b]++ != 0) {
                return "T5 records overlap";
            }
        }
        live += size;
        nbig += is_big(record);
        bigs += is_big(record) ? big_bytes(big_at(record)) : 0;
    }
    if (live + p->dead != p->heap) {
        return "T5 bytes of removed records";
    }
    return nbig == p->nbig && bigs == p->big_bytes ? NULL : "T1 big records of a page";
}

const char *btree_page_check(const struct btree_page *p)
{
    if (p->node.n == 0) {
        return "T5 empty page";
    }
    if (p->cap > BTREE_ROOM_MAX || p->heap + p->node.n * BTREE_SLOT > p->cap) {
        return "T5 size of a page";
    }
    return check_records(p);
}
