/* keymap.c -- Chained hash of keys to list heads; empty shards cost one NULL pointer.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "exec/keymap.h"
#include "base/mem.h"

#define FIRST_SLOTS 8

static unsigned slot_of(const struct keymap *m, const struct key *k)
{
    return (unsigned)k->hash & (m->slots - 1);
}

struct keynode *keymap_find(const struct keymap *m, unsigned db, const struct key *k)
{
    if (m == NULL) {
        return NULL;
    }
    struct keynode *n = m->slot[slot_of(m, k)];
    while (n != NULL && !(n->key.hash == k->hash && n->db == db && slice_eq(n->key.s, k->s))) {
        n = n->chain;
    }
    return n;
}

/* Without memory the chains become longer, or the table stays long. */
static void resize(struct keymap *m, unsigned slots)
{
    struct keynode **old = m->slot;
    unsigned n = m->slots;
    struct keynode **other = mem_try_calloc(slots * sizeof *other);
    if (other == NULL) {
        return;
    }
    m->slots = slots;
    m->slot = other;
    for (unsigned i = 0; i < n; i++) {
        struct keynode *at = old[i];
        while (at != NULL) {
            struct keynode *next = at->chain;
            unsigned to = slot_of(m, &at->key);
            at->chain = m->slot[to];
            m->slot[to] = at;
            at = next;
        }
    }
    mem_free(old);
}

static struct keymap *map_new(void)
{
    struct keymap *m = mem_calloc(sizeof *m);
    m->slots = FIRST_SLOTS;
    m->slot = mem_calloc(FIRST_SLOTS * sizeof *m->slot);
    return m;
}

struct keynode *keymap_make(struct keymap **mp, unsigned db, const struct key *k)
{
    struct keynode *n = keymap_find(*mp, db, k);
    if (n != NULL) {
        return n;
    }
    n = mem_try_alloc(sizeof *n + k->s.n + 1);
    if (n == NULL) {
        return NULL;
    }
    *mp = *mp != NULL ? *mp : map_new();
    struct keymap *m = *mp;
    if (m->used >= m->slots) {
        resize(m, 2 * m->slots);
    }
    *n = (struct keynode){ 0 };
    memcpy(n + 1, k->s.p, k->s.n);
    n->db = db;
    n->key = *k;
    n->key.s.p = (char *)(n + 1);
    unsigned at = slot_of(m, k);
    n->chain = m->slot[at];
    m->slot[at] = n;
    m->used++;
    return n;
}

void keymap_drop(struct keymap **mp, struct keynode *n)
{
    struct keymap *m = *mp;
    struct keynode **at = &m->slot[slot_of(m, &n->key)];
    while (*at != n) {
        at = &(*at)->chain;
    }
    *at = n->chain;
    mem_free(n);
    if (--m->used == 0) {
        mem_free(m->slot);
        mem_free(m);
        *mp = NULL;
    }
}

void keymap_shrink(struct keymap *m)
{
    if (m != NULL && m->slots > FIRST_SLOTS && m->used < m->slots / 8) {
        resize(m, m->slots / 2);
    }
}

struct keynode *keymap_any(const struct keymap *m, unsigned from)
{
    for (unsigned i = 0; m != NULL && i < m->slots; i++) {
        struct keynode *n = m->slot[(from + i) & (m->slots - 1)];
        if (n != NULL) {
            return n;
        }
    }
    return NULL;
}

void keymap_free(struct keymap *m, void (*visit)(struct keynode *n))
{
    for (unsigned i = 0; m != NULL && i < m->slots; i++) {
        for (struct keynode *n = m->slot[i], *next; n != NULL; n = next) {
            next = n->chain;
            visit(n);
            mem_free(n);
        }
    }
    if (m != NULL) {
        mem_free(m->slot);
        mem_free(m);
    }
}

void keymap_each(struct keymap *m, void (*visit)(void *arg, struct keynode *n), void *arg)
{
    for (unsigned i = 0; m != NULL && i < m->slots; i++) {
        for (struct keynode *n = m->slot[i]; n != NULL; n = n->chain) {
            visit(arg, n);
        }
    }
}
