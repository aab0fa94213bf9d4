/* sample.h -- Choosing k of n at random, each k of them alike: SPOP, SRANDMEMBER and their kin.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 *     struct sample s;
 *     if (!sample_begin(&s, n, k)) { reply_oom(c); return; }
 *     while (sample_next(&s, &index)) { ... }            k times, ascending
 *     sample_end(&s);
 * THREADS  The one that runs the call. */
#ifndef COMMANDS_SAMPLE_H
#define COMMANDS_SAMPLE_H

#include "base/base.h"

struct sample { /* private */
    uint64_t n, left, at;
    uint64_t *drawn; /* NULL: decides from element to element */
};
/* False: no memory (it takes 8 bytes for each of k, when they are a small part of n). k <= n. */
must_check bool sample_begin(struct sample *s, uint64_t n, uint64_t k);
bool sample_next(struct sample *s, uint64_t *index);
void sample_end(struct sample *s);

/* For independent draws: n elements of a bulk reply each, some more than once. Is there memory for
 * so many? A client that asks for 2^60 is told, and does not take the server with it. */
must_check bool sample_reply_fits(uint64_t n);
#endif
