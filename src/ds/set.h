/* set.h -- The set type: distinct byte strings, as an intset, a listpack, or a tree by hash.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * FORM      An intset while all members are integers and few, else a listpack while they are few
 *           and short, else a tree ordered by hash_key(member): `set_limits` says what few and
 * short are. A set that shrinks keeps its form. HANDLE    struct set is a pointer and what it
 * points to, held by value: what keeps a set stores both, and both anew after a call that takes it
 * without const. MEMBER    struct set_member is what a set yields and what it is asked for. Its
 * text, integer and hash are worked out when first needed and then kept, so that a member of one
 * set is looked up in many others without doing that twice. It may point to its own digits: pass it
 * by address, never copy it. THREADS   None of its own: one writer, or any number of readers.
 * Copies of a tree share pages and are independent (btree.h). FAILURE   -ENOMEM: the members are as
 * they were. Only members too big for a page can meet it, new or old. */
#ifndef DS_SET_H
#define DS_SET_H

#include "ds/btree.h"
#include "ds/intset.h"
#include "ds/listpack.h"

enum set_form { SET_INTSET, SET_LISTPACK, SET_TREE };

struct set {
    enum set_form form;
    void *p; /* struct intset, listpack or btree */
};

struct set_limits {
    uint64_t intset_entries, listpack_entries;
    uint64_t listpack_value; /* bytes of a member */
};

/* ---- Members ---- */

struct set_member { /* private */
    struct slice text;
    int64_t number;
    uint64_t hash;
    uint8_t known;
    bool is_number;
    char digits[I64_TEXT_MAX];
};
void set_member_text(struct set_member *m, struct slice text); /* borrowed */
void set_member_number(struct set_member *m, int64_t number);
struct slice set_text(struct set_member *m); /* as long as m, and what it came from */
/* True when the text is exactly an integer (parse_i64). */
bool set_number(struct set_member *m, int64_t *out);

/* ---- Life ---- */

/* An empty set in the form that suits `expected` members of which this is the first. */
void set_new(struct set *s, struct set_member *first, uint64_t expected,
             const struct set_limits *limits);
void set_new_smallest(struct set *s); /* an empty intset */
void set_free(struct set *s);
/* A tree in O(1). */
must_check bool set_dup(const struct set *s, struct set *out);

uint64_t set_count(const struct set *s);
size_t set_bytes(const struct set *s); /* allocated, without what the allocator adds */

/* ---- Members by value ---- */

bool set_has(const struct set *s, struct set_member *m);
/* 1: added; 0: it is there; -ENOMEM. The member's text must not point into the set. */
must_check int set_add(struct set *s, struct set_member *m, const struct set_limits *limits);
bool set_remove(struct set *s, struct set_member *m); /* was it there? */
/* Before members are added to a set: a tree at once if so many would not fit a smaller form. */
must_check int set_expect(struct set *s, uint64_t more, const struct set_limits *limits);
/* Into the smallest form that the limits allow for what is in it now. */
must_check int set_shrink(struct set *s, const struct set_limits *limits);

/* Fetches what looking for members of these hashes (hash_key) will read: btree_ahead(). */
void set_ahead(const struct set *s, const uint64_t *hash, unsigned n);

/* ---- By rank: ascending integers, the sequence of the listpack, or ascending hashes ---- */

/* rank < count. Valid until the next change. */
void set_at(const struct set *s, uint64_t rank, struct set_member *out);
void set_remove_at(struct set *s, uint64_t rank);

struct set_iter { /* private */
    const struct set *s;
    uint32_t at;
    struct btree_iter tree;
};
/* From `rank` on; count or more: at the end. Any change of the set makes it stale. */
void set_iter(struct set_iter *it, const struct set *s, uint64_t rank);
bool set_next(struct set_iter *it, struct set_member *out); /* out: valid until the next change */

/* NULL, or what does not hold: an invariant of the form, a member twice or under a wrong hash, an
 * integer as text. O(bytes), a listpack O(entries squared). */
const char *set_check(const struct set *s);
#endif
