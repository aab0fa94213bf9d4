/* ql_tree.h -- The tree of element counts over the chunks of a quicklist.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Private to quicklist.c (and the test that damages one on purpose). Nodes and chunks are shared
 * between lists by reference count and immutable while shared: every function here that changes
 * something first makes its own copies of the shared nodes on the path ("owns" it). A path names
 * the nodes from the root to one chunk; after insert, remove, tidy and cut it is stale. */
#ifndef DS_QL_TREE_H
#define DS_QL_TREE_H

#include "ds/ql_chunk.h"

#define QL_FANOUT 62 /* makes a node 1 KiB */

struct ql_sum {
    uint64_t count, chunks;
    uint64_t bytes; /* of the allocations: chunks and tree nodes */
};

struct ql_inner {
    struct ql_node node;
    struct ql_sum sum; /* over the children, and this node's own bytes */
    struct ql_node *child[QL_FANOUT];
    uint64_t count[QL_FANOUT]; /* elements below each child */
};
_Static_assert(sizeof(struct ql_inner) == 1024, "a node fills an allocation class");

struct quicklist {
    struct ql_node *root; /* NULL: empty */
    struct ql_limit limit;
    int fill;
};

void ql_node_release(struct ql_node *n);

static inline struct ql_node *ql_node_ref(struct ql_node *n)
{
    atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
    return n;
}

static inline struct ql_inner *ql_inner_of(struct ql_node *n)
{
    return container_of(n, struct ql_inner, node);
}

static inline struct ql_chunk *ql_chunk_of(struct ql_node *n)
{
    return container_of(n, struct ql_chunk, node);
}

static inline struct ql_sum ql_node_sum(const struct ql_node *n)
{
    if (n->level == 0) {
        return (struct ql_sum){ n->n, 1, ql_chunk_mem((const struct ql_chunk *)(const void *)n) };
    }
    return ((const struct ql_inner *)(const void *)n)->sum;
}

static inline bool ql_owned(struct ql_node *n)
{
    return atomic_load_explicit(&n->refs, memory_order_acquire) == 1;
}

/* ---- Paths; the list is not empty ---- */

/* From the node at depth d down along one edge. */
static inline void ql_path_descend(struct ql_path *p, unsigned d, struct ql_node *n,
                                   enum ql_end end)
{
    while (n->level > 0) {
        struct ql_inner *in = ql_inner_of(n);
        unsigned slot = end == QL_HEAD ? 0 : n->n - 1u;
        p->inner[d] = in;
        p->slot[d++] = (uint8_t)slot;
        n = in->child[slot];
    }
    p->depth = d;
    p->chunk = ql_chunk_of(n);
}

static inline void ql_path_edge(const struct quicklist *ql, enum ql_end end, struct ql_path *p)
{
    ql_path_descend(p, 0, ql->root, end);
}

uint32_t ql_path_seek(const struct quicklist *ql, uint64_t index, struct ql_path *p); /* in chunk */
must_check bool ql_path_step(struct ql_path *p, bool forward); /* false: path unchanged */

static inline bool ql_path_nodes_owned(const struct ql_path *p)
{
    for (unsigned d = 0; d < p->depth; d++) {
        if (unlikely(!ql_owned(&p->inner[d]->node))) {
            return false;
        }
    }
    return true;
}

void ql_path_own_nodes_slow(struct quicklist *ql, struct ql_path *p);
void ql_path_own_slow(struct quicklist *ql, struct ql_path *p);

/* Owning the tree nodes of a path, or its chunk too (a packed one: a plain chunk never changes). */
static inline void ql_path_own_nodes(struct quicklist *ql, struct ql_path *p)
{
    if (unlikely(!ql_path_nodes_owned(p))) {
        ql_path_own_nodes_slow(ql, p);
    }
}

static inline void ql_path_own(struct quicklist *ql, struct ql_path *p)
{
    if (unlikely(!ql_path_nodes_owned(p) || !ql_owned(&p->chunk->node))) {
        ql_path_own_slow(ql, p);
    }
}

static inline void ql_path_set_chunk(struct quicklist *ql, struct ql_path *p, struct ql_chunk *c)
{
    p->chunk = c;
    if (p->depth == 0) {
        ql->root = &c->node;
    } else {
        p->inner[p->depth - 1]->child[p->slot[p->depth - 1]] = &c->node;
    }
}

/* After a change of the owned chunk, which had `before` bytes of memory and is now at `now`. */
static inline void ql_path_changed(struct quicklist *ql, struct ql_path *p, struct ql_chunk *now,
                                   size_t before, int64_t count_change)
{
    uint64_t bytes_change = ql_chunk_mem(now) - before; /* modulo 2^64 */
    ql_path_set_chunk(ql, p, now);
    for (unsigned d = p->depth; d-- > 0;) {
        struct ql_inner *in = p->inner[d];
        in->count[p->slot[d]] += (uint64_t)count_change;
        in->sum.count += (uint64_t)count_change;
        in->sum.bytes += bytes_change;
    }
}

/* ---- Structure; they own the nodes of the path themselves ---- */

void ql_tree_insert(struct quicklist *ql, struct ql_path *p, struct ql_chunk *c, bool after);
void ql_tree_remove(struct quicklist *ql, struct ql_path *p); /* drops the chunk */
bool ql_tree_tidy(struct quicklist *ql, struct ql_path *p);   /* joins small neighbours; joined? */
void ql_tree_cut(struct quicklist *ql, uint64_t from, uint64_t n); /* from + n <= count */
const char *ql_tree_check(const struct quicklist *ql);
#endif
