/* ql_chunk.h -- One chunk of a quicklist: a listpack with room around it, or one big element.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Private to quicklist.c and ql_tree.c.
 *
 *     | struct ql_chunk | room before | listpack ............ | room after |
 *                       ^ room[0]     ^ room[start]                        ^ room[cap]
 *
 * Pushing and dropping at either end moves the listpack's edge and its six-byte header, not its
 * entries; in the middle the shorter side moves.
 * Functions that change a chunk need it unshared (refs == 1) and packed; those that return a chunk
 * give its address from then on. */
#ifndef DS_QL_CHUNK_H
#define DS_QL_CHUNK_H

#include "ds/quicklist.h"
#include <stdatomic.h>

/* Head of chunks and tree nodes alike. */
struct ql_node {
    _Atomic uint32_t refs; /* tree nodes, lists and images that point here; > 1: immutable */
    uint16_t n;            /* elements of a chunk, children of a tree node */
    uint8_t level;         /* 0: chunk */
    bool plain;
};

struct ql_chunk {
    struct ql_node node;
    union {
        struct {
            uint32_t cap, start;
        };
        uint64_t size; /* plain: of the element */
    };
    uint8_t room[];
};
_Static_assert(sizeof(struct ql_chunk) == 16, "room for a listpack of the limited size");

struct ql_limit {
    uint32_t bytes; /* of a listpack, so that chunk head and listpack make a power of two */
    uint32_t count;
};

static inline const struct listpack *ql_chunk_lp(const struct ql_chunk *c)
{
    return (const struct listpack *)(const void *)(c->room + c->start);
}

static inline size_t ql_chunk_mem(const struct ql_chunk *c)
{
    return sizeof *c + (c->node.plain ? c->size : c->cap);
}

static inline uint32_t ql_chunk_bytes(const struct ql_chunk *c)
{
    return (uint32_t)lp_bytes(ql_chunk_lp(c));
}

/* An entry of `size` bytes can be inserted. */
static inline bool ql_chunk_takes(const struct ql_chunk *c, size_t size, const struct ql_limit *l)
{
    return !c->node.plain && c->node.n < l->count && ql_chunk_bytes(c) + size <= l->bytes;
}

/* The same at an end, and without moving an almost full listpack to and fro in its block. */
static inline bool ql_chunk_takes_at(const struct ql_chunk *c, enum ql_end end, size_t size,
                                     const struct ql_limit *l)
{
    if (!ql_chunk_takes(c, size, l)) {
        return false;
    }
    uint32_t used = ql_chunk_bytes(c);
    size_t room = end == QL_HEAD ? c->start : c->cap - c->start - used;
    return size <= room || used + size <= l->bytes - l->bytes / 8;
}

/* A chunk with one value; the room (up to cap bytes of listpack, 0: no more than needed) lies where
 * the list grows. */
struct ql_chunk *ql_chunk_new(const struct lp_value *v, enum ql_end grows, uint32_t cap);
must_check struct ql_chunk *ql_chunk_new_plain(struct slice s); /* NULL: no memory */
struct ql_chunk *ql_chunk_from_listpack(const struct listpack *lp);
struct ql_chunk *ql_chunk_copy(const struct ql_chunk *c);

/* size: that of the value's entry */
struct ql_chunk *ql_chunk_insert(struct ql_chunk *c, uint32_t at, const struct lp_value *v,
                                 size_t size, const struct ql_limit *l);
struct ql_chunk *ql_chunk_replace(struct ql_chunk *c, uint32_t at, const struct lp_value *v,
                                  const struct ql_limit *l);
void ql_chunk_delete(struct ql_chunk *c, uint32_t at, uint32_t bytes, uint32_t n);
struct ql_chunk *ql_chunk_fit(struct ql_chunk *c); /* gives memory back if most of it is unused */
/* Keeps the entries before position `at`, the first k; the others become a new chunk. */
struct ql_chunk *ql_chunk_split(struct ql_chunk *c, uint32_t at, uint32_t k);
/* Appends the entries of `other`, which may be shared and is not consumed. */
struct ql_chunk *ql_chunk_join(struct ql_chunk *c, const struct ql_chunk *other,
                               const struct ql_limit *l);
#endif
