/* waiter.c -- A client that is about to be parked: copies of its request.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * FAILURE  A request may be large. Without memory for its copies its client is not parked and gets
 * an error: it waits for nothing yet. */
#include "exec/exec_int.h"
#include "exec/waiter.h"

struct waiter *waiter_new(const struct call *c, unsigned n)
{
    struct waiter *w = mem_try_calloc(sizeof *w + n * sizeof w->node[0]);
    struct key *keys = mem_try_alloc(c->nkeys * sizeof *keys);
    struct queued *args = queued_try_copy(c->in->ref, c->argv, c->argc);
    if (w == NULL || keys == NULL || args == NULL) {
        mem_free(args);
        mem_free(keys);
        mem_free(w);
        return NULL;
    }
    for (unsigned i = 0, a = 0; i < c->nkeys; i++) { /* their bytes are in the copied arguments */
        keys[i] = c->keys[i];
        unsigned looked = 0;
        while (looked++ < c->argc && c->argv[a].p != c->keys[i].s.p) {
            a = (a + 1) % c->argc;
        }
        keys[i].s.p = args->argv[a].p;
    }
    w->args = args;
    w->keys = keys;
    w->nkeys = c->nkeys;
    w->bytes = mem_usable(w) + mem_usable(keys) + mem_usable(args);
    return w;
}
