/* oracle.h -- The trivial list the containers of ds/ are compared with: an array of owned strings.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_DS_ORACLE_H
#define TESTS_UNIT_DS_ORACLE_H

#include "base/bytes.h"
#include "base/rng.h"
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* For inner loops: ck_assert() reports each pass to the runner, which costs a system call. */
#define want(condition)                             \
    do {                                            \
        if (!(condition)) {                         \
            ck_abort_msg("failed: %s", #condition); \
        }                                           \
    } while (0)

struct oracle {
    struct slice *v;
    size_t n, cap;
};

static inline struct slice oracle_copy(struct slice s)
{
    char *p = malloc(s.n + 1);
    memcpy(p, s.p, s.n);
    return slice_of(p, s.n);
}

static inline void oracle_insert(struct oracle *o, size_t at, struct slice s)
{
    if (o->n == o->cap) {
        o->cap = o->cap * 2 + 8;
        o->v = realloc(o->v, o->cap * sizeof *o->v);
    }
    memmove(o->v + at + 1, o->v + at, (o->n - at) * sizeof *o->v);
    o->v[at] = oracle_copy(s);
    o->n++;
}

static inline void oracle_remove(struct oracle *o, size_t at, size_t n)
{
    if (n == 0) {
        return; /* there may be no array yet */
    }
    for (size_t i = at; i < at + n; i++) {
        free((void *)(uintptr_t)o->v[i].p);
    }
    if (o->n > at + n) {
        memmove(o->v + at, o->v + at + n, (o->n - at - n) * sizeof *o->v);
    }
    o->n -= n;
}

static inline void oracle_replace(struct oracle *o, size_t at, struct slice s)
{
    struct slice copy = oracle_copy(s);
    free((void *)(uintptr_t)o->v[at].p);
    o->v[at] = copy;
}

static inline void oracle_free(struct oracle *o)
{
    oracle_remove(o, 0, o->n);
    free(o->v);
    *o = (struct oracle){ 0 };
}

/* A value for a random test, in a buffer that the next call reuses: integers around the limits of
 * every width, texts that almost are integers, strings around the steps of the length fields, and
 * now and then (one in `rare`) one of 4 KiB to `huge` bytes. */
static inline struct slice oracle_value(unsigned rare, size_t huge)
{
    static char *text;
    static const unsigned bits[] = { 0, 7, 12, 15, 23, 31, 63 };
    static const size_t lengths[] = { 0, 1, 2, 20, 21, 62, 63, 64, 65, 126, 127, 128 };
    static const char *const odd[] = { "-0",
                                       "00",
                                       "+1",
                                       " 1",
                                       "1 ",
                                       "-",
                                       "1.0",
                                       "0x1",
                                       "9223372036854775808",
                                       "-9223372036854775809",
                                       "99999999999999999999" };
    if (text == NULL) {
        text = malloc(2 << 20);
    }
    uint64_t kind = rng_below(100);
    size_t n;
    if (rare != 0 && rng_below(rare) == 0) {
        n = 4090 + rng_below(12);
        if (huge > 4200 && rng_below(2) == 0) {
            n = 4096 + rng_below(huge - 4095);
        }
    } else if (kind < 40) {
        uint64_t base = bits[rng_below(countof(bits))] == 63
                            ? (uint64_t)INT64_MAX
                            : UINT64_C(1) << bits[rng_below(countof(bits) - 1)];
        int64_t v = (int64_t)(base + rng_below(5) - 2);
        return slice_of(text, (size_t)sprintf(text, "%" PRId64, rng_below(2) == 0 ? v : ~v));
    } else if (kind < 50) {
        return slice_str(odd[rng_below(countof(odd))]);
    } else if (kind < 70) {
        n = lengths[rng_below(countof(lengths))];
    } else {
        n = rng_below(40);
    }
    char first = (char)('a' + rng_below(26));
    for (size_t i = 0; i < n; i++) {
        text[i] = (char)(first + (char)(i % 7));
    }
    return slice_of(text, n);
}
#endif
