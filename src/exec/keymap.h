/* keymap.h -- A small map from (database, key) to a list head, for the side tables of a shard: who
 * watches, who waits.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * LOCKS  Under the shard's lock. Nodes keep their address until keymap_drop(). */
#ifndef EXEC_KEYMAP_H
#define EXEC_KEYMAP_H

#include "store/store.h"

struct keynode {
    struct keynode *chain;
    void *head, *tail; /* of the list the user keeps here */
    unsigned db;
    unsigned count;   /* members of that list, kept by the user */
    unsigned missing; /* those of them that also wait for the key to go */
    uint64_t ready;   /* the newest list of ready keys (txn.ready_list) that it came to */
    struct key key;   /* bytes behind the node */
};
struct keymap {
    struct keynode **slot;
    unsigned slots, used; /* slots: power of two */
};

struct keynode *keymap_find(const struct keymap *m, unsigned db,
                            const struct key *k); /* m NULL: NULL */
/* Finds or creates; creates *m too. NULL: there was no memory, and nothing changed. */
must_check struct keynode *keymap_make(struct keymap **m, unsigned db, const struct key *k);
void keymap_drop(struct keymap **m,
                 struct keynode *n); /* its list is empty; frees *m with the last one */
/* After a drop: who walks a table that many have left does not walk all its places. Nobody may be
 * in the middle of a walk. */
void keymap_shrink(struct keymap *m);
struct keynode *keymap_any(const struct keymap *m, unsigned from);    /* from a random number; NULL:
                                                                         there is none */
void keymap_free(struct keymap *m, void (*visit)(struct keynode *n)); /* with all nodes */
void keymap_each(struct keymap *m, void (*visit)(void *arg, struct keynode *n),
                 void *arg); /* visit may not drop */
#endif
