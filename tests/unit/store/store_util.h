/* store_util.h -- What the tests of the store share: keyspaces, keys by number, locks.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_STORE_UTIL_H
#define TESTS_STORE_UTIL_H

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/store.h"
#include "unit.h"
#include <stdio.h>

static inline struct keyspace *store_new(unsigned shards, unsigned databases, unsigned lazyfree_min)
{
    hash_seed((const uint8_t *)"0123456789abcdef");
    struct keyspace_config cfg = { .shards = shards,
                                   .databases = databases,
                                   .lazyfree_min = lazyfree_min };
    struct keyspace *ks = NULL;
    ck_assert_int_eq(keyspace_new(&ks, &cfg), 0);
    return ks;
}

/* A key with its text. Copies stay valid as long as the first one. */
struct named_key {
    struct key k;
    char text[64];
};

static inline struct key *store_key(struct keyspace *ks, struct named_key *nk, unsigned number)
{
    int n = snprintf(nk->text, sizeof nk->text, "key:%u", number);
    nk->k = keyspace_key(ks, slice_of(nk->text, (size_t)n));
    return &nk->k;
}

static inline struct shard *store_lock(struct keyspace *ks, const struct key *k)
{
    struct shard *s = keyspace_shard(ks, k->shard);
    shard_lock(s);
    return s;
}

static inline void store_lock_all(struct keyspace *ks, bool lock)
{
    uint32_t all[SHARDS_MAX];
    for (unsigned i = 0; i < keyspace_shards(ks); i++) {
        all[i] = i;
    }
    if (lock) {
        keyspace_lock_many(ks, all, keyspace_shards(ks));
    } else {
        keyspace_unlock_many(ks, all, keyspace_shards(ks));
    }
}

static inline void store_check_all(struct keyspace *ks)
{
    for (unsigned i = 0; i < keyspace_shards(ks); i++) {
        struct shard *s = keyspace_shard(ks, i);
        shard_lock(s);
        shard_check(s);
        shard_unlock(s);
    }
}

#endif
