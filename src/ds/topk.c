/* topk.c -- Space-Saving: a heap with the lightest counter on top, and a hash to find a key's.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * INVARIANTS  I1 the heap holds each counter in use once, none lighter than its parent; at[] says
 *                where
 *             I2 each counter in use is in the chain of its hash, once, and no other is
 *             I3 error <= count; 0 while there are unused counters
 *             Checked by topk_check(). */
#include "ds/topk.h"
#include "base/mem.h"

#define NONE UINT32_MAX

struct counter {
    uint64_t hash, count, error;
    char *key;
    uint32_t len, room; /* bytes of the key, and that fit */
    uint32_t at;        /* in the heap */
    uint32_t chain;     /* next of its slot, or NONE */
};
struct topk {
    unsigned capacity, used;
    uint32_t slots; /* a power of two */
    uint32_t *slot; /* first counter, or NONE */
    uint32_t *heap;
    struct counter counter[];
};

struct topk *topk_new(unsigned capacity)
{
    must(capacity >= 1);
    struct topk *t = mem_calloc(sizeof *t + capacity * sizeof t->counter[0]);
    t->capacity = capacity;
    t->slots = 1;
    while (t->slots < capacity) {
        t->slots *= 2;
    }
    t->slot = mem_alloc(t->slots * sizeof *t->slot);
    memset(t->slot, 0xff, t->slots * sizeof *t->slot);
    t->heap = mem_alloc(capacity * sizeof *t->heap);
    return t;
}

void topk_free(struct topk *t)
{
    if (t == NULL) {
        return;
    }
    for (unsigned i = 0; i < t->used; i++) {
        mem_free(t->counter[i].key);
    }
    mem_free(t->slot);
    mem_free(t->heap);
    mem_free(t);
}

static uint32_t *slot_of(const struct topk *t, uint64_t hash)
{
    return &t->slot[(hash ^ hash >> 32) & (t->slots - 1)];
}

static struct slice key_of(const struct counter *c)
{
    return slice_of(c->key, c->len);
}

static uint32_t find(const struct topk *t, uint64_t hash, struct slice key)
{
    uint32_t i = *slot_of(t, hash);
    while (i != NONE && !(t->counter[i].hash == hash && slice_eq(key_of(&t->counter[i]), key))) {
        i = t->counter[i].chain;
    }
    return i;
}

static void put(struct topk *t, uint32_t at, uint32_t i)
{
    t->heap[at] = i;
    t->counter[i].at = at;
}

/* Counter i has become heavier. */
static void sink(struct topk *t, uint32_t i)
{
    uint32_t at = t->counter[i].at;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child + 1 < t->used &&
            t->counter[t->heap[child + 1]].count < t->counter[t->heap[child]].count) {
            child++;
        }
        if (child >= t->used || t->counter[t->heap[child]].count >= t->counter[i].count) {
            put(t, at, i);
            return;
        }
        put(t, at, t->heap[child]);
        at = child;
    }
}

/* Counter i, the last one, may be lighter than those above it. */
static void rise(struct topk *t, uint32_t i)
{
    uint32_t at = t->counter[i].at;
    while (at > 0 && t->counter[t->heap[(at - 1) / 2]].count > t->counter[i].count) {
        put(t, at, t->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(t, at, i);
}

static void link_key(struct topk *t, uint32_t i, uint64_t hash, struct slice key)
{
    struct counter *c = &t->counter[i];
    if (key.n > c->room) {
        mem_free(c->key); /* its bytes need not be kept */
        c->room = (uint32_t)mem_good_size(key.n);
        c->key = mem_alloc(c->room);
    }
    if (key.n > 0) {
        memcpy(c->key, key.p, key.n);
    }
    c->len = (uint32_t)key.n;
    c->hash = hash;
    uint32_t *first = slot_of(t, hash);
    c->chain = *first;
    *first = i;
}

static void unlink_key(struct topk *t, uint32_t i)
{
    uint32_t *from = slot_of(t, t->counter[i].hash);
    while (*from != i) {
        from = &t->counter[*from].chain;
    }
    *from = t->counter[i].chain;
}

void topk_add(struct topk *t, uint64_t hash, struct slice key, uint64_t weight)
{
    if (key.n > TOPK_KEY_MAX) {
        return;
    }
    uint32_t i = find(t, hash, key);
    if (i != NONE) {
        t->counter[i].count += weight;
        sink(t, i);
    } else if (t->used < t->capacity) {
        i = t->used++;
        t->counter[i].count = weight;
        link_key(t, i, hash, key);
        put(t, i, i);
        rise(t, i);
    } else { /* it takes over the lightest one, which may all have been its own */
        i = t->heap[0];
        unlink_key(t, i);
        t->counter[i].error = t->counter[i].count;
        t->counter[i].count += weight;
        link_key(t, i, hash, key);
        sink(t, i);
    }
}

static uint64_t sure(const struct counter *c)
{
    return c->count - c->error;
}

struct topk *topk_merge(struct topk *const *parts, unsigned n)
{
    unsigned used = 0;
    for (unsigned i = 0; i < n; i++) {
        used += parts[i] != NULL ? parts[i]->used : 0;
    }
    struct topk *all = topk_new(used > 0 ? used : 1);
    for (unsigned i = 0; i < n; i++) {
        for (unsigned k = 0; parts[i] != NULL && k < parts[i]->used; k++) {
            const struct counter *c = &parts[i]->counter[k];
            topk_add(all, c->hash, key_of(c), sure(c));
        }
    }
    return all;
}

static bool before(const struct topk_item *a, const struct topk_item *b)
{
    return a->weight != b->weight ? a->weight > b->weight : slice_cmp(a->key, b->key) < 0;
}

unsigned topk_best(const struct topk *t, struct topk_item *out, unsigned k)
{
    unsigned n = 0;
    for (unsigned i = 0; i < t->used && k > 0; i++) {
        struct topk_item item = { key_of(&t->counter[i]), sure(&t->counter[i]) };
        if (n == k && !before(&item, &out[n - 1])) {
            continue;
        }
        unsigned at = n < k ? n++ : n - 1;
        for (; at > 0 && before(&item, &out[at - 1]); at--) {
            out[at] = out[at - 1];
        }
        out[at] = item;
    }
    return n;
}

void topk_check(const struct topk *t)
{
    unsigned chained = 0;
    must(t->used <= t->capacity);
    for (uint32_t s = 0; s < t->slots; s++) {
        for (uint32_t i = t->slot[s]; i != NONE; i = t->counter[i].chain) {
            must(i < t->used && slot_of(t, t->counter[i].hash) == &t->slot[s]);
            must(++chained <= t->used);
        }
    }
    must(chained == t->used);
    for (uint32_t i = 0; i < t->used; i++) {
        const struct counter *c = &t->counter[i];
        must(c->at < t->used && t->heap[c->at] == i);
        must(c->at == 0 || t->counter[t->heap[(c->at - 1) / 2]].count <= c->count);
        must(c->error <= c->count && (t->used == t->capacity || c->error == 0));
        must(find(t, c->hash, key_of(c)) == i);
    }
}
