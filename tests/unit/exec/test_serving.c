/* test_serving.c -- What a transaction remembers of keys that somebody waits for.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "exec_util.h"
#include "exec/keymap.h"
#include <stdio.h>

enum { KEYS = 500 };

static struct key key_of(struct exec *x, char *name, unsigned i)
{
    return keyspace_key(x->ks, slice_of(name, (size_t)sprintf(name, "key:%u", i)));
}

static void forget(struct txn *t)
{
    for (unsigned i = 0; i < t->nready; i++) {
        mem_free((void *)(uintptr_t)t->ready[i].key.s.p);
    }
    t->nready = 0;
}

static void drop_all(struct exec *x)
{
    for (unsigned i = 0; i < KEYS; i++) {
        char name[32];
        struct key k = key_of(x, name, i);
        struct keymap **m = &x->shards[k.shard].waits;
        keymap_drop(m, keymap_find(*m, i % 2, &k));
    }
}

/* A key comes to the list once. That is known without a look at the list: there may be very many in
 * it, and so its entries are overwritten here before the second time. */
START_TEST(test_ready_once)
{
    struct exec *x = engine_new(NULL);
    struct txn *t = &x->workers[0].txn, *other = &x->workers[1].txn;
    char name[32];
    for (unsigned i = 0; i < KEYS; i++) {
        struct key k = key_of(x, name, i);
        ck_assert_ptr_nonnull(keymap_make(&x->shards[k.shard].waits, i % 2, &k));
    }
    for (unsigned lists = 0; lists < 3; lists++) { /* and again in the next list */
        txn_begin(t, &x->workers[0]);
        for (unsigned i = 0; i < 2 * KEYS; i++) {
            struct key k = key_of(x, name, i % KEYS);
            waits_ready(t, k.s.p[k.s.n - 1] % 2, &k);
            waits_ready(t, 2, &k); /* nobody waits there */
            ck_assert_uint_eq(t->nready, i < KEYS ? i + 1 : KEYS);
            t->ready[t->nready - 1].db = 9;
        }
        txn_begin(other, &x->workers[1]);
        struct key k = key_of(x, name, 7);
        waits_ready(other, 1, &k);
        ck_assert_uint_eq(other->nready, 1);
        forget(other);
        forget(t);
    }
    drop_all(x);
    engine_free(x);
}
END_TEST

/* Any set of locks, and any shard. */
START_TEST(test_holds)
{
    uint32_t locked[64];
    struct txn t = { .locked = locked };
    for (unsigned from = 0; from < 64; from++) {
        for (unsigned step = 1; step < 64; step++) {
            t.nlocked = 0;
            for (unsigned shard = from; shard < 64; shard += step) {
                locked[t.nlocked++] = shard;
            }
            for (unsigned shard = 0; shard < 64; shard++) {
                ck_assert(txn_holds(&t, shard) == (shard >= from && (shard - from) % step == 0));
            }
        }
    }
    t.nlocked = 0;
    ck_assert(!txn_holds(&t, 0));
    t.exclusive = true;
    ck_assert(txn_holds(&t, 0));
}
END_TEST

UNIT_SUITE(serving)
{
    unit_case(suite, "ready", test_ready_once, test_holds);
}
