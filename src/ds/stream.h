/* stream.h -- The stream type: entries in ID order, in nodes that repeat no field names; and its
 * consumer groups (stream_group.h).
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHAT      An append-only log of entries: an ID that only grows, and fields with values. Entries
 *           live in nodes of about `limits.bytes` bytes or `limits.entries` entries. A node is a
 *           listpack in the form that RDB files carry (stream_node.c), so dumping one copies bytes.
 *           A deleted entry stays in its node as a mark, until the whole node is gone.
 *           The last node is changed in place; those before it are the values of a tree by ID.
 * FREEZE    Nodes are reference-counted and never change while more than one stream has them, as
 *           README.md tells, so a copy costs O(1) and sees exactly the content of that moment.
 * MEMORY    Nodes have sizes that clients choose: calls that may need one return -ENOMEM and leave
 *           the stream as it was.
 * THREADS   One stream: one writer, or several readers. Streams that share nodes are independent.
 * INVARIANTS, checked by stream_check():
 *           M1 a node is a valid listpack of its form, with at least one entry that is not deleted;
 *              the numbers at its head are those of its entries
 *           M2 IDs ascend strictly, over all nodes; a node's own ID is that of its first entry; no
 *              ID is above `last`
 *           M3 `length` is the number of entries; `added` is not below it
 *           M4 of the groups: stream_group.h */
#ifndef DS_STREAM_H
#define DS_STREAM_H

#include "ds/btree.h"
#include "ds/listpack.h"

struct stream;

/* ---- IDs ---- */

struct stream_id {
    uint64_t ms, seq;
};
#define STREAM_ID_MIN ((struct stream_id){ 0, 0 })
#define STREAM_ID_MAX ((struct stream_id){ UINT64_MAX, UINT64_MAX })

static inline int stream_id_cmp(struct stream_id a, struct stream_id b)
{
    return a.ms != b.ms ? (a.ms < b.ms ? -1 : 1) : a.seq != b.seq ? (a.seq < b.seq ? -1 : 1) : 0;
}
/* The ID after or before it; false: there is none, and it stays. */
must_check bool stream_id_next(struct stream_id *id);
must_check bool stream_id_prev(struct stream_id *id);
#define STREAM_ID_TEXT_MAX 48
size_t stream_id_format(char text[STREAM_ID_TEXT_MAX], struct stream_id id); /* "ms-seq" */

/* ---- Life ---- */

struct stream *stream_new(void);
void stream_free(struct stream *s); /* O(nodes); any thread; NULL is fine */
struct stream *stream_dup(const struct stream *s);
size_t stream_bytes(const struct stream *s);    /* allocated, shared nodes in full; O(1) */
uint64_t stream_nodes(const struct stream *s);  /* of entries */
uint64_t stream_effort(const struct stream *s); /* allocations to free it, about */

/* ---- As a whole ---- */

struct stream_state {
    uint64_t length;              /* entries */
    uint64_t added;               /* entries that were ever added */
    struct stream_id last;        /* the highest ID ever added */
    struct stream_id max_deleted; /* the highest ID ever deleted by itself; 0-0: none */
};
const struct stream_state *stream_state(const struct stream *s);
/* n and one more: for what is counted over the life of a stream (entries added, entries a group has
 * read, deliveries). It stops at INT64_MAX, which is as much as the log and files can say. */
uint64_t stream_counted(uint64_t n);
/* XSETID and loading: last must not be below any entry, added not below the length. */
void stream_set_state(struct stream *s, struct stream_id last, uint64_t added,
                      struct stream_id max_deleted);
/* ID of the first or last entry; false: no entries. */
bool stream_edge(const struct stream *s, bool first, struct stream_id *id);

/* ---- Changes. Texts must not point into the stream. ---- */

struct stream_limits {
    uint64_t bytes, entries; /* of a node; 0: no limit */
};
/* More than this in one entry is refused: a listpack has limits. */
#define STREAM_ENTRY_BYTES_MAX (1u << 29)

/* texts: field, value, field, value ...; pairs of them. id is above `last`, which it becomes.
 * 0; -ENOMEM. */
must_check int stream_append(struct stream *s, struct stream_id id, const struct slice *texts,
                             uint32_t pairs, const struct stream_limits *limits);
/* 1; 0: there is no such entry; -ENOMEM. Notes max_deleted. */
must_check int stream_delete(struct stream *s, struct stream_id id);

struct stream_trim {
    bool by_id;       /* entries below min_id go; else the oldest, until `length` are left */
    bool whole_nodes; /* as far as whole nodes go, at most `limit` entries (0: any number) */
    uint64_t length;
    struct stream_id min_id;
    uint64_t limit;
};
/* How many entries went. Ends early if there is no memory to change a node that is shared.
 * old NULL: what goes is freed at once. Else *old becomes NULL or, when that would take long, a
 * copy of what the stream was: the memory goes with it, when and where the caller frees it. */
uint64_t stream_trim(struct stream *s, const struct stream_trim *t, struct stream **old);
#define STREAM_MUCH 64 /* allocations: freeing more than these takes long */

/* ---- Walking ---- */

struct stream_entry {
    struct stream_id id;
    uint32_t pairs;
};
/* Slices point into the stream, or to the digits: not to be copied, valid until the next step. */
struct stream_pair {
    struct slice field, value;
    char digits[2][I64_TEXT_MAX];
};

/* A node as it is stored: `lp` has the fields of its first entry, then the entries. */
struct stream_node {
    const struct listpack *lp;
    struct stream_id id; /* of the first entry; the others are told as differences to it */
};

struct stream_iter { /* private; any change of the stream makes it stale */
    const struct stream *s;
    struct stream_id first, last;
    bool forward, tail_next;
    struct btree_iter nodes;
    struct stream_node node;
    uint32_t at;         /* boundary between entries; LP_NONE: no node */
    uint32_t entry;      /* the current one: where it starts, ... */
    uint32_t text, left; /* its next text, how many are left, */
    uint32_t field;      /* and its next field, when those are the first entry's; else LP_NONE */
    uint32_t base, fields, names; /* of the node: first entry, how many field names, and where */
};

/* The entries first..last, both included, or from the last to the first. */
void stream_iter(struct stream_iter *it, const struct stream *s, struct stream_id first,
                 struct stream_id last, bool forward);
bool stream_next(struct stream_iter *it, struct stream_entry *out);
/* The pairs of the entry that stream_next() gave, in order. */
bool stream_next_pair(struct stream_iter *it, struct stream_pair *out);
bool stream_has(const struct stream *s, struct stream_id id);

/* ---- Nodes as they are, for files ---- */

bool stream_node_at(const struct stream *s, uint64_t index, struct stream_node *out);
/* Appends the entries of a node from a file, which is checked in full: 0; -EINVAL: it is none, or
 * its IDs do not stand above `last`; -ENOMEM. After an error some entries may have been added. It
 * stays one node, of about its size, so that the limits are those for what is huge. */
must_check int stream_load_node(struct stream *s, struct stream_id id, struct slice bytes,
                                const struct stream_limits *limits);

/* NULL, or the invariant that does not hold. O(bytes). */
const char *stream_check(const struct stream *s);
#endif
