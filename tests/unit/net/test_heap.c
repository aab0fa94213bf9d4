/* test_heap.c -- The heap of timers and gates against a plain array.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/rng.h"
#include "net/net_int.h"

#define ITEMS 200

START_TEST(random_operations)
{
    rng_seed_all(unit_seed());
    struct heap h = { 0 };
    uint64_t key[ITEMS];
    uint32_t place[ITEMS];
    for (unsigned i = 0; i < ITEMS; i++) {
        place[i] = HEAP_NONE;
    }
    for (unsigned step = 0; step < 20000; step++) {
        unsigned i = (unsigned)rng_below(ITEMS);
        if (place[i] == HEAP_NONE) {
            key[i] = rng_below(rng_below(2) == 0 ? 10 : 1000000);
            heap_push(&h, key[i], &place[i]);
        } else {
            heap_remove(&h, place[i]);
            ck_assert_uint_eq(place[i], HEAP_NONE);
        }
        heap_check(&h);
        uint64_t lowest = UINT64_MAX;
        unsigned n = 0;
        for (unsigned k = 0; k < ITEMS; k++) {
            if (place[k] != HEAP_NONE) {
                n++;
                lowest = u64_min(lowest, key[k]);
                must(h.a[place[k]].key == key[k]); /* ck_assert costs a system call */
            }
        }
        ck_assert_uint_eq(h.n, n);
        ck_assert_uint_eq(heap_lowest(&h), lowest);
    }
    heap_free(&h);
}
END_TEST

UNIT_SUITE(net_heap)
{
    unit_case(suite, "heap", random_operations);
}
