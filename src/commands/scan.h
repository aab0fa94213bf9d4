/* scan.h -- What SCAN, HSCAN, SSCAN and ZSCAN share: cursor and options.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * CURSOR   Below 2^53, so that clients whose numbers are doubles can hold it. Within a tree whose
 *          order is a hash: the upper 53 bits of the first hash that was not visited, so whatever
 *          comes and goes between two calls, what was there all the time is visited. */
#ifndef COMMANDS_SCAN_H
#define COMMANDS_SCAN_H

#include "commands/commands.h"
#include "ds/btree.h"

struct scan_args {
    uint64_t cursor;
    size_t count;         /* at least 1 */
    struct slice pattern; /* p NULL: everything matches */
    int type;             /* enum obj_type; -1: any; SCAN_NO_TYPE: the name is none */
    bool no_values;       /* HSCAN NOVALUES */
};
#define SCAN_NO_TYPE 1000

/* The two halves, because Redis looks the key up between them. False: replied. */
must_check bool scan_cursor(struct call *c, unsigned i, struct scan_args *a);
#define SCAN_WITH_TYPE     1u /* options besides MATCH and COUNT */
#define SCAN_WITH_NOVALUES 2u
/* The arguments from `first` on. */
must_check bool scan_options(struct call *c, unsigned first, unsigned with, struct scan_args *a);

/* The reply: a cursor, known when all is visited, and an array. */
struct scan_reply { /* private */
    struct out_block *cursor, *array;
};
struct scan_reply scan_reply_begin(struct call *c);
void scan_reply_end(struct call *c, const struct scan_reply *r, uint64_t next, size_t replied);
void scan_reply_nothing(struct call *c); /* the key is not there */

/* Visits count records from the cursor on, and those after them that no cursor can tell from the
 * last; returns the next cursor, 0: the tree is done. The tree must not change meanwhile. */
uint64_t scan_tree(const struct btree *t, const struct scan_args *a,
                   void (*visit)(void *arg, const struct btree_item *item), void *arg);

static inline bool scan_matches(const struct scan_args *a, struct slice text)
{
    return a->pattern.p == NULL || glob_match(a->pattern, text, false);
}
#endif
