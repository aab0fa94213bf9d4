/* topk.h -- The heaviest keys of a stream in bounded memory (Space-Saving).
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * SOURCE   Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent and Top-k Elements in
 *          Data Streams" (2005), with weights.
 * PROMISE  With `capacity` counters and a total weight W, every key heavier than W / capacity is
 *          among them. Of each, count - error <= true weight <= count; error is 0 as long as no
 *          more than `capacity` keys were seen.
 * THREADS  Its owner. */
#ifndef DS_TOPK_H
#define DS_TOPK_H

#include "base/bytes.h"

#define TOPK_KEY_MAX 4096 /* longer keys are left out: the memory has a bound */

struct topk;
struct topk_item {
    struct slice key; /* good until the sketch changes */
    uint64_t weight;  /* that is surely its own */
};

struct topk *topk_new(unsigned capacity); /* >= 1 */
void topk_free(struct topk *t);           /* NULL is fine */
/* hash: of the key, any that spreads; always the same for the same key. */
void topk_add(struct topk *t, uint64_t hash, struct slice key, uint64_t weight);
/* The sum of what is surely in several sketches over disjoint parts of one stream; a new one, large
 * enough that nothing is left out. Members may be NULL. */
struct topk *topk_merge(struct topk *const *parts, unsigned n);
/* The up to k heaviest by sure weight, heaviest first (equal ones by key); -> how many. */
unsigned topk_best(const struct topk *t, struct topk_item *out, unsigned k);
void topk_check(const struct topk *t); /* tests: must() of all invariants */
#endif
