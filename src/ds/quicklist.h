/* quicklist.h -- The list type: a sequence of elements in chunks, cheap at both ends, freezable.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHAT      Elements live in chunks of at most 8 KiB (other sizes with `fill`): a chunk is a
 *           listpack, or "plain": one element too big for a listpack of that size. A tree of
 * element counts over the chunks finds the n-th element, inserts and cuts in O(log chunks). FREEZE
 * Chunks and tree nodes are reference-counted and never change while more than one holder has them;
 * who changes one then copies it first (a chunk of 8 KiB and a few nodes of 1 KiB for the first
 * change, less later). So a copy or a frozen image costs O(1) and sees exactly the content of that
 * moment, whatever its origin does afterwards. THREADS   One list: one writer, or several readers.
 * Lists that share chunks are independent of one another: owner and holder of an image need no lock
 * between them. MEMORY    Plain elements are the only allocation whose size a client chooses; calls
 * that may need one return -ENOMEM and leave the list as it was. Everything else is bounded by
 * `fill` (64 KiB at most) and cannot fail. INVARIANTS, checked by quicklist_check(): Q1 the counts,
 * chunks and bytes noted in a tree node are the sums over its children Q2 all chunks are at the
 * same depth; no tree node is empty; a root has two children Q3 a chunk is a valid listpack
 * with 1..limit elements, inside its block, of limited size Q4 a plain chunk is one element that a
 * listpack of the limited size could not hold */
#ifndef DS_QUICKLIST_H
#define DS_QUICKLIST_H

#include "ds/listpack.h"

struct quicklist;

enum ql_end { QL_HEAD, QL_TAIL };

#define QL_FILL_DEFAULT (-2)

/* ---- Life ---- */

/* fill as list-max-listpack-size: -1..-5 chunks of 4, 8, 16, 32, 64 KiB; n > 0: of n elements, and
 * 8 KiB at most. Values outside are taken as the nearest. */
struct quicklist *quicklist_new(int fill);
void quicklist_free(struct quicklist *ql); /* O(chunks); any thread; NULL is fine */
/* O(1): shares the chunks. The copy is a list of its own, for any thread. */
struct quicklist *quicklist_dup(const struct quicklist *ql);
/* The same, to read and then release. */
const struct quicklist *quicklist_freeze(const struct quicklist *ql);
void quicklist_release(const struct quicklist *frozen);

uint64_t quicklist_count(const struct quicklist *ql);
uint64_t quicklist_chunks(const struct quicklist *ql);
size_t quicklist_bytes(const struct quicklist *ql); /* allocated, shared chunks in full; O(1) */
int quicklist_fill_factor(const struct quicklist *ql);

/* In all calls that take an element: it must not point into the list. */

/* ---- The ends ---- */

must_check int quicklist_push(struct quicklist *ql, enum ql_end end, struct slice s);
/* The element at that end, valid until the next change; false: the list is empty. A pop is peek,
 * use, drop. */
bool quicklist_peek(const struct quicklist *ql, enum ql_end end, struct lp_value *out);
void quicklist_drop(struct quicklist *ql, enum ql_end end); /* the list is not empty */
/* Moves the element at `from` to the other end. */
void quicklist_rotate(struct quicklist *ql, enum ql_end from);

/* ---- By index, 0 = head; it must exist, except where said ---- */

bool quicklist_get(const struct quicklist *ql, uint64_t index, struct lp_value *out);
must_check int quicklist_set(struct quicklist *ql, uint64_t index, struct slice s);
/* The new element gets this index; index = count appends. */
must_check int quicklist_insert(struct quicklist *ql, uint64_t index, struct slice s);
/* Deletes up to n elements from `index` on (none if it is not there); returns how many. O(chunks)
 * because of the memory given back; when the caller holds a copy (quicklist_dup, to be freed by
 * another thread) it is O(log chunks). */
uint64_t quicklist_delete(struct quicklist *ql, uint64_t index, uint64_t n);

/* ---- Walking ---- */

#define QL_DEPTH_MAX 12 /* nodes split in halves of 31: 31^12 chunks are more than memory */

/* Private. */
struct ql_path {
    unsigned depth; /* tree nodes above the chunk */
    uint8_t slot[QL_DEPTH_MAX];
    struct ql_chunk *chunk;
    struct ql_inner *inner[QL_DEPTH_MAX];
};

/* Fields are private. Any change of the list that does not go through it makes it stale. */
struct ql_iter {
    const struct quicklist *ql;
    uint64_t index;
    uint32_t at;
    uint8_t state;
    bool forward;
    struct ql_path path;
};

/* quicklist_next() will give element `index`, then those after it (or, not forward, before it),
 * each valid until the next change; false at the end. An index that is not there: at the end at
 * once. */
void quicklist_iter(struct ql_iter *it, const struct quicklist *ql, uint64_t index, bool forward);
bool quicklist_next(struct ql_iter *it, struct lp_value *out);
/* Index of the element that quicklist_next() gave last. The following four are about that element;
 * the walk goes on with its neighbour. A new element that lies ahead will be met. */
uint64_t quicklist_iter_index(const struct ql_iter *it);
void quicklist_iter_delete(struct quicklist *ql, struct ql_iter *it); /* once per element */
must_check int quicklist_iter_replace(struct quicklist *ql, struct ql_iter *it, struct slice s);
must_check int quicklist_iter_insert_before(struct quicklist *ql, struct ql_iter *it,
                                            struct slice s);
must_check int quicklist_iter_insert_after(struct quicklist *ql, struct ql_iter *it,
                                           struct slice s);

/* ---- Whole chunks, for savers, loaders and conversion ---- */

struct ql_view {
    struct slice bytes; /* a listpack, or the plain element itself */
    uint32_t count;
    bool plain;
};
/* Instead of quicklist_next() on an iterator at index 0, forward. */
bool quicklist_next_chunk(struct ql_iter *it, struct ql_view *out);
/* Appends the entries of a valid listpack: as one chunk where that suits, else one by one. */
must_check int quicklist_append_listpack(struct quicklist *ql, const struct listpack *lp);
/* The listpack if the list is exactly one chunk and not plain, else NULL; until the next change. */
const struct listpack *quicklist_only_listpack(const struct quicklist *ql);

/* NULL, or the invariant that does not hold. O(bytes). */
const char *quicklist_check(const struct quicklist *ql);
#endif
