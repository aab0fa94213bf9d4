/* ahead.c -- What the next inputs of a turn will need is fetched before the first of them runs.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      A client that sends one request at a time leaves nothing to fetch ahead within its own
 *          input. What several such clients sent together is as good as a pipeline: each memory
 *          access of a lookup then overlaps with those of the others.
 *
 * GUESS    The second argument of a request is nearly always its key. It is looked for without the
 *          parser, whose state belongs to the bytes it was given; a wrong guess costs a useless
 *          fetch, and nothing else.
 *
 * THREADS  The reactor's; no locks. */
#include "exec/exec_int.h"

#define KEY_MAX 256 /* the hash of a longer one costs more than it gains */

/* "<kind><number>\r\n" at *at; moves behind it. */
static bool take_length(struct slice in, size_t *at, char kind, size_t *value)
{
    size_t i = *at, n = 0, first = i + 1;
    if (i >= in.n || in.p[i] != kind) {
        return false;
    }
    for (i = first; i < in.n && in.p[i] >= '0' && in.p[i] <= '9' && i < first + 4; i++) {
        n = n * 10 + (size_t)(in.p[i] - '0');
    }
    if (i == first || in.n - i < 2 || in.p[i] != '\r') {
        return false;
    }
    *at = i + 2;
    *value = n;
    return true;
}

bool guess_key(struct slice in, struct slice *key)
{
    size_t at = 0, n;
    if (!take_length(in, &at, '*', &n) || n < 2 || !take_length(in, &at, '$', &n) ||
        in.n - at < n + 2) {
        return false;
    }
    at += n + 2;
    if (!take_length(in, &at, '$', &n) || n > KEY_MAX || in.n - at < n) {
        return false;
    }
    *key = slice_of(in.p + at, n);
    return true;
}

void inputs_ahead(struct worker *w, const struct net_input *in, unsigned n)
{
    if (w->busy) {
        return; /* nobody waits for our looks */
    }
    unsigned db = ((const struct session *)in[0].user)->db;
    w->nsweep = 0;
    for (unsigned i = 0; i < n && w->nsweep < countof(w->sweep); i++) {
        struct slice guess;
        if (((const struct session *)in[i].user)->db == db && guess_key(in[i].in, &guess)) {
            struct key key = keyspace_key(w->x->ks, guess);
            w->sweep[w->nsweep++] = sweep_key_of(&key);
        }
    }
    keyspace_sweep(w->x->ks, db, w->sweep, w->nsweep);
    w->nsweep = 0;
}
