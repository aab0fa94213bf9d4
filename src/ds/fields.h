/* fields.h -- The hash type: distinct fields with a value each, as a listpack or a tree by hash.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * FORM      A listpack (field, value, field, value ...) while there are few and all are short:
 *           `fields_limits` says what that is. Else a tree ordered by hash_key(field). What shrinks
 *           keeps its form.
 * HANDLE    struct fields is a form and what it points to, held by value: what keeps it stores
 *           both, and both anew after a call that takes it without const.
 * THREADS   None of its own: one writer, or any number of readers. Copies of a tree share pages and
 *           are independent (btree.h).
 * FAILURE   -ENOMEM: the fields are as they were. Only a pair for which fields_may_fail() can meet
 *           it. */
#ifndef DS_FIELDS_H
#define DS_FIELDS_H

#include "ds/btree.h"
#include "ds/listpack.h"

enum fields_form { FIELDS_LISTPACK, FIELDS_TREE };

struct fields {
    enum fields_form form;
    void *p; /* struct listpack or btree */
};

struct fields_limits {
    uint64_t entries; /* fields of a listpack */
    uint64_t value;   /* bytes of each field and each value in it */
};

/* A pair. The slices point into the fields, or to the digits here: it is not to be copied, and is
 * valid until the next change. */
struct fields_item {
    struct slice field, value;
    char digits[2][I64_TEXT_MAX];
};

/* ---- Life ---- */

void fields_new(struct fields *f); /* empty: a listpack */
void fields_free(struct fields *f);
must_check bool fields_dup(const struct fields *f, struct fields *out); /* a tree in O(1) */

uint64_t fields_count(const struct fields *f);

/* ---- By field. What is given must not point into the fields. ---- */

/* The value points into the fields until their next change, or to the digits. */
bool fields_get(const struct fields *f, struct slice field, char digits[I64_TEXT_MAX],
                struct slice *value);
/* 1: new; 0: its value was replaced; -ENOMEM. */
must_check int fields_put(struct fields *f, struct slice field, struct slice value,
                          const struct fields_limits *limits);
bool fields_may_fail(struct slice field, struct slice value); /* to be put, in any form */
bool fields_remove(struct fields *f, struct slice field);     /* was it there? */

/* ---- By rank: the sequence of the listpack, or ascending hashes ---- */

struct fields_iter { /* private */
    const struct fields *f;
    uint64_t rank;
    uint32_t at;
    struct btree_iter tree;
};
/* From `rank` on; count or more: at the end. Any change makes it stale. */
void fields_iter(struct fields_iter *it, const struct fields *f, uint64_t rank);
bool fields_next(struct fields_iter *it, struct fields_item *out);
/* Goes on to `rank`, which lies ahead or is the next: by walking or looking up, what is less. */
void fields_skip_to(struct fields_iter *it, uint64_t rank);

/* NULL, or what does not hold: an invariant of the form, a field twice or under a wrong hash.
 * O(bytes), a listpack O(entries squared). */
const char *fields_check(const struct fields *f);
#endif
