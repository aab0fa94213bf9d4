/* sample.c -- Choosing k of n at random.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * TWO WAYS  Many of them: one pass, which takes an element with the probability that is left for it
 *           (selection sampling: Knuth, The Art of Computer Programming 3.4.2, algorithm S). Few:
 *           numbers are drawn until k different ones are there, and sorted. The first k different
 *           values of independent uniform draws are each k-subset with the same probability. */
#include "commands/sample.h"
#include "base/mem.h"
#include "base/rng.h"
#include <stdlib.h>
#include <string.h>

#define DRAW_BELOW 8 /* k < n / 8: hardly any number comes twice, and a pass would look at n */

static int compare(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* Sorts; returns how many different ones there are, at the front. */
static uint64_t distinct(uint64_t *v, uint64_t k)
{
    uint64_t n = 0;
    qsort(v, k, sizeof *v, compare);
    for (uint64_t i = 0; i < k; i++) {
        if (n == 0 || v[n - 1] != v[i]) {
            v[n++] = v[i];
        }
    }
    return n;
}

bool sample_begin(struct sample *s, uint64_t n, uint64_t k)
{
    must(k <= n);
    *s = (struct sample){ .n = n, .left = k };
    if (k == 0 || k >= n / DRAW_BELOW) {
        return true;
    }
    size_t size;
    if (__builtin_mul_overflow(k, sizeof *s->drawn, &size)) {
        return false;
    }
    s->drawn = mem_try_alloc(size);
    if (s->drawn == NULL) {
        return false;
    }
    for (uint64_t have = 0; have < k; have = distinct(s->drawn, k)) {
        for (uint64_t i = have; i < k; i++) {
            s->drawn[i] = rng_below(n);
        }
    }
    return true;
}

bool sample_next(struct sample *s, uint64_t *index)
{
    if (s->left == 0) {
        return false;
    }
    if (s->drawn != NULL) {
        *index = s->drawn[s->at++];
    } else {
        while (rng_below(s->n - s->at) >= s->left) {
            s->at++;
        }
        *index = s->at++;
    }
    s->left--;
    return true;
}

void sample_end(struct sample *s)
{
    mem_free(s->drawn);
}

bool sample_reply_fits(uint64_t n)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, sizeof("$1\r\nx\r\n") - 1, &bytes)) {
        return false;
    }
    void *p = mem_try_alloc(bytes);
    mem_free(p);
    return p != NULL;
}
