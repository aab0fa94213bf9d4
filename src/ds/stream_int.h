/* stream_int.h -- What the files of the stream share.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Private to stream*.c and the test that damages one on purpose. */
#ifndef DS_STREAM_INT_H
#define DS_STREAM_INT_H

#include "ds/stream.h"
#include "ds/stream_group.h"
#include <endian.h>
#include <stdatomic.h>

/* The last node: a listpack with room behind it. */
struct stream_tail {
    _Atomic uint32_t refs; /* streams that have it; > 1: immutable */
    uint32_t elements;     /* of the listpack; its head cannot tell more than LP_COUNT_MAX */
    uint32_t room;         /* bytes from lp on */
    struct stream_id id;
    uint8_t lp[];
};

struct stream_groups;
struct stream {
    struct stream_state state;
    struct btree *nodes;          /* order ms, key seq: listpack; NULL: none yet */
    struct stream_tail *tail;     /* NULL: the next entry begins a node */
    struct stream_groups *groups; /* NULL: none yet */
};

/* Keys by number sort as numbers do. */
struct stream_key {
    char bytes[3 * sizeof(uint64_t)];
};
static inline void stream_key_put(char *at, uint64_t v)
{
    v = htobe64(v);
    memcpy(at, &v, sizeof v);
}
static inline uint64_t stream_key_get(const char *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return be64toh(v);
}

/* ---- stream_node.c ---- */

/* Numbers at the head of a node, at fixed places and of fixed size, to be changed in place. */
#define NODE_COUNT   (LP_HEADER + 1)
#define NODE_DELETED (LP_HEADER + 7)
#define NODE_FIELDS  (LP_HEADER + 12)

static inline uint32_t node_count(const struct listpack *lp)
{
    return lp_load32(lp_raw(lp) + NODE_COUNT);
}
static inline uint32_t node_deleted(const struct listpack *lp)
{
    return lp_load32(lp_raw(lp) + NODE_DELETED);
}
static inline uint64_t node_number(const struct listpack *lp, uint32_t *at)
{
    uint64_t v = (uint64_t)lp_get(lp, *at).i;
    *at += lp_span(lp, *at);
    return v;
}

/* Bytes that a node needs at most, to begin with this entry or to take it. */
size_t node_room(const struct slice *texts, uint32_t pairs, bool begin);
/* The room is there. */
void node_begin(struct stream_tail *t, struct stream_id id, const struct slice *texts,
                uint32_t pairs);
/* A node without entries yet that has the field names of n. */
void node_begin_like(struct stream_tail *t, struct stream_id id, const struct stream_node *n);
void node_append(struct stream_tail *t, struct stream_id id, const struct slice *texts,
                 uint32_t pairs);

struct node_entry {
    struct stream_id id;
    bool deleted, same; /* same: has the field names of the node's first entry */
    uint32_t pairs;
    uint32_t text; /* its first text */
};
/* The first entry, the number of the node's field names and where they are. */
uint32_t node_first(const struct stream_node *n, uint32_t *fields, uint32_t *names);
void node_read(const struct stream_node *n, uint32_t at, uint32_t fields, struct node_entry *e);
uint32_t node_skip(const struct listpack *lp, uint32_t text, uint32_t texts); /* the next entry */
uint32_t node_back(const struct listpack *lp, uint32_t at); /* start of the entry that ends there */
struct stream_id node_last_id(const struct stream_node *n);
/* Where the entry is that is not deleted; LP_NONE: nowhere. */
uint32_t node_find(const struct stream_node *n, struct stream_id id);
void node_mark_deleted(char *lp, uint32_t at); /* an entry that is not */
/* Is it one, from a file? O(bytes). */
bool node_valid(const struct stream_node *n, size_t bytes);
/* The same for one of ours. */
const char *node_check(const struct stream_node *n);

/* ---- stream_group.c ---- */

struct stream_groups *stream_groups_dup(const struct stream_groups *g);
void stream_groups_free(struct stream_groups *g);
size_t stream_groups_bytes(const struct stream_groups *g);
uint64_t stream_groups_effort(const struct stream_groups *g);
void stream_groups_set_next(struct stream *s, uint64_t number); /* tests: of the next owner */
const char *stream_groups_check(const struct stream *s);
#endif
