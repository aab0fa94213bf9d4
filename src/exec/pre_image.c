/* pre_image.c -- Copies of entries, found by an open-addressing table over their hashes: a script
 * may change each of a hundred thousand keys many times. SPDX-License-Identifier: BSD-3-Clause */
#include "exec/pre_image.h"
#include "base/mem.h"
#include <string.h>

/* A string is copied whole by the first change while its bytes are shared. A longer one is not
 * saved: to run alone stops the other reactors for less time than that would. */
#define SAVED_STRING_MAX (1u << 20)
#define FIRST_IMAGES     16
#define IMAGES_KEPT      128 /* more of their memory is not kept from script to script */

/* The slot of the key, or the free one where it would be. There are slots. */
static uint32_t *slot_of(struct pre_images *all, unsigned db, const struct key *k)
{
    unsigned mask = all->slots - 1, i = (unsigned)k->hash & mask;
    for (; all->slot[i] != 0; i = (i + 1) & mask) {
        const struct pre_image *p = &all->at[all->slot[i] - 1];
        all->compared++;
        if (p->db == db && p->key.hash == k->hash && slice_eq(p->key.s, k->s)) {
            break;
        }
    }
    return &all->slot[i];
}

/* Room for one more. False: no memory. */
static bool grow(struct pre_images *all)
{
    if (all->n < all->cap) {
        return true;
    }
    unsigned cap = all->cap == 0 ? FIRST_IMAGES : all->cap * 2;
    struct pre_image *at = mem_try_realloc(all->at, cap * sizeof *at);
    all->at = at != NULL ? at : all->at;
    uint32_t *slot = at != NULL ? mem_try_alloc(2 * cap * sizeof *slot) : NULL;
    if (slot == NULL) {
        return false;
    }
    memset(slot, 0, 2 * cap * sizeof *slot);
    mem_free(all->slot);
    all->slot = slot;
    all->slots = 2 * cap;
    all->cap = cap;
    for (unsigned i = 0; i < all->n; i++) {
        *slot_of(all, all->at[i].db, &all->at[i].key) = i + 1;
    }
    return true;
}

static bool too_long(const struct entry *e)
{
    return entry_type(e) == OBJ_STRING && entry_strlen(e) > SAVED_STRING_MAX;
}

bool pre_image_save(struct pre_images *all, struct keyspace *ks, unsigned db, const struct key *k)
{
    if (all->n > 0 && *slot_of(all, db, k) != 0) {
        return true;
    }
    struct entry *e = shard_find(keyspace_shard(ks, k->shard), db, k);
    if ((e != NULL && too_long(e)) || !grow(all)) {
        return false;
    }
    struct pre_image p = { .db = db, .key = *k };
    char *name = mem_try_alloc(k->s.n);
    if (name != NULL && e != NULL) {
        p.before = entry_copy(k, e);
    }
    if (name == NULL || (e != NULL && p.before == NULL)) {
        mem_free(name);
        return false;
    }
    memcpy(name, k->s.p, k->s.n);
    p.key.s = slice_of(name, k->s.n);
    uint32_t *slot = slot_of(all, db, k);
    all->at[all->n++] = p;
    *slot = all->n;
    return true;
}

void pre_images_put_back(struct pre_images *all, struct keyspace *ks)
{
    for (unsigned i = 0; i < all->n; i++) {
        struct pre_image *p = &all->at[i];
        struct shard *s = keyspace_shard(ks, p->key.shard);
        struct entry *now = shard_find(s, p->db, &p->key);
        if (now != NULL) {
            shard_delete(s, p->db, now);
        }
        if (p->before != NULL) {
            shard_insert_copy(s, p->db, &p->key, p->before); /* nothing here may fail */
            p->before = NULL;
        }
    }
    pre_images_forget(all);
}

void pre_images_forget(struct pre_images *all)
{
    if (all->n == 0) {
        return;
    }
    for (unsigned i = 0; i < all->n; i++) {
        mem_free((void *)(uintptr_t)all->at[i].key.s.p);
        if (all->at[i].before != NULL) {
            entry_discard(all->at[i].before);
        }
    }
    all->n = 0;
    if (all->cap > IMAGES_KEPT) {
        pre_images_free(all);
    } else {
        memset(all->slot, 0, all->slots * sizeof *all->slot);
    }
}

void pre_images_free(struct pre_images *all)
{
    mem_free(all->at);
    mem_free(all->slot);
    *all = (struct pre_images){ .compared = all->compared };
}
