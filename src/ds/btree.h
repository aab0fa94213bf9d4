/* btree.h -- Ordered byte records: hash fields and set members by hash, sorted sets by score.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHAT        A counted B+ tree. A record is (order, key, value, due), unique by (order, key), and
 *             records stand in that sequence: `order` as an unsigned number, then the key by
 *             memcmp, shorter first. Leaves are pages of at most 8 KiB that are only as big as
 *             their content; a record too big for a page has an allocation of its own. Nodes count
 *             what is below each child, so the n-th record and the rank of one cost O(log n). There
 *             is no resize: a call splits or joins one path at most.
 * FREEZE      Pages, nodes and big records are reference-counted and never change while more than
 *             one holder has them (README.md), so a copy costs O(1) and sees exactly the content of
 *             that moment.
 * THREADS     One tree: one writer, or several readers. Trees that share pages are independent of
 *             one another: no lock between them.
 * MEMORY      Big records are the only allocations whose size a client chooses; btree_put() returns
 *             -ENOMEM for them and leaves the tree as it was. Everything else cannot fail.
 * INVARIANTS, checked by btree_check():
 *             T1 counts, pages and bytes noted in a node are the sums over its children
 *             T2 all pages are at one depth; no node is empty; a root node has two children
 *             T3 records stand in strictly ascending sequence, over all pages
 *             T4 the order noted before a child is not below any order to its left, and not above
 *                any order in it
 *             T5 the records of a page lie inside it, apart from one another, and with the unused
 *                bytes noted make up its size; it has at least one
 *             T6 a record is in a page exactly if it is small enough for that */
#ifndef DS_BTREE_H
#define DS_BTREE_H

#include "base/bytes.h"

struct btree;

#define BTREE_NO_DUE (-1)

struct btree_item { /* valid until the next change of the tree */
    uint64_t order;
    struct slice key, value; /* value.n 0: none, or empty: no difference */
    int64_t due;             /* unix ms >= 0, or BTREE_NO_DUE, which takes no memory */
};

struct btree *btree_new(void);
void btree_free(struct btree *t);               /* O(pages); any thread; NULL is fine */
struct btree *btree_dup(const struct btree *t); /* O(1); a tree of its own, for any thread */

uint64_t btree_count(const struct btree *t);
size_t btree_bytes(const struct btree *t);   /* allocated, shared pages in full; O(1) */
uint64_t btree_pages(const struct btree *t); /* pages and big records: the effort to free it */

/* ---- By (order, key). Keys and values that are given must not point into the tree. ---- */

/* Fetches into the cache what finding records of these orders will read, of all at once: when they
 * are found one after the other, each waits for memory two or three times. n <= BTREE_AHEAD. */
#define BTREE_AHEAD 128
void btree_ahead(const struct btree *t, const uint64_t *order, unsigned n);
bool btree_find(const struct btree *t, uint64_t order, struct slice key, struct btree_item *out);
/* Inserts (order, key) without value and due, unless it is there. 1: new; 0: it is there, and
 * nothing was changed; -ENOMEM. */
must_check int btree_add(struct btree *t, uint64_t order, struct slice key);
/* Inserts, or replaces value and due of the record that is there. 1: new; 0: replaced; -ENOMEM:
 * unchanged. A key or value has at most UINT32_MAX bytes. */
must_check int btree_put(struct btree *t, uint64_t order, struct slice key, struct slice value,
                         int64_t due);
bool btree_remove(struct btree *t, uint64_t order, struct slice key); /* was it there? */
/* The value's bytes, to be changed in place until the next change of the tree; their number stays.
 * 1; 0: not there; -ENOMEM: a big record is shared, and there is no memory for a copy of its own.
 */
must_check int btree_edit(struct btree *t, uint64_t order, struct slice key, char **value);
/* Records that stand before (order, key), whether it is there or not. The empty key stands before
 * all others of its order. */
uint64_t btree_rank(const struct btree *t, uint64_t order, struct slice key);

/* ---- By rank, 0 = first ---- */

bool btree_at(const struct btree *t, uint64_t rank, struct btree_item *out); /* false: not there */
bool btree_remove_at(struct btree *t, uint64_t rank);
/* Up to n records from `rank` on (none if it is not there); returns how many. O(log n) and the
 * memory given back. */
uint64_t btree_remove_range(struct btree *t, uint64_t rank, uint64_t n);

/* ---- Walking ---- */

#define BTREE_DEPTH_MAX 12 /* nodes split in halves of 31: 31^12 pages are more than memory */

/* Private. */
struct btree_path {
    unsigned depth; /* nodes above the page */
    unsigned at;    /* record in the page */
    uint8_t slot[BTREE_DEPTH_MAX];
    struct btree_page *page;
    struct btree_inner *inner[BTREE_DEPTH_MAX];
};

/* Fields are private. Any change of the tree makes it stale. */
struct btree_iter {
    bool forward, more;
    struct btree_path path;
};

/* btree_next() will give the record at `rank`, then those after it (or, not forward, before it);
 * false at the end. A rank that is not there: at the end at once. */
void btree_iter(struct btree_iter *it, const struct btree *t, uint64_t rank, bool forward);
bool btree_next(struct btree_iter *it, struct btree_item *out);
/* Up to max (at least 1) of them at once, for those who want many; how many: 0 at the end only. */
unsigned btree_next_many(struct btree_iter *it, struct btree_item *out, unsigned max);

/* NULL, or the invariant that does not hold. O(bytes). */
const char *btree_check(const struct btree *t);
#endif
