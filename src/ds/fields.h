/* fields.h -- The hash type: distinct fields with a value each, as a listpack or a tree by hash.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * FORM      A listpack (field, value, field, value ...) while there are few and all are short:
 *           `fields_limits` says what that is. Else a tree ordered by hash_key(field). What shrinks
 *           keeps its form.
 * DUE       A field may have a moment (unix ms, above 0) from which on it is gone. The first that
 *           gets one turns the form into its timed sister, which stays: the listpack then has
 *           (field, value, due ...), earliest due first, those without one (0) last, as in RDB
 *           files; beside the tree stands a second one of (due, field). The others pay nothing.
 * VIEW      What is due at `now` is hidden: for every function here that does not say otherwise it
 *           is not there, though it is removed only by fields_drop_first() or a put over it.
 * HANDLE    struct fields is a form and what it points to, held by value: what keeps it stores
 *           both, and both anew after a call that takes it without const.
 * THREADS   None of its own: one writer, or any number of readers. Copies of a tree share pages and
 *           are independent (btree.h).
 * FAILURE   -ENOMEM: the fields are as they were, perhaps in another form. Only a pair for which
 *           fields_may_fail() can meet it, or any while fields_turn_may_fail(). */
#ifndef DS_FIELDS_H
#define DS_FIELDS_H

#include "ds/btree.h"
#include "ds/listpack.h"

enum fields_form { FIELDS_LISTPACK, FIELDS_TREE, FIELDS_LISTPACK_TIMED, FIELDS_TREE_TIMED };

#define FIELDS_ALL      (-1) /* as `now`: nothing is hidden */
#define FIELDS_KEEP_DUE (-2) /* as `due` of a put: what the field has */

struct fields {
    enum fields_form form;
    void *p;     /* struct listpack or btree, or what is private */
    int64_t now; /* the view */
};

struct fields_limits {
    uint64_t entries; /* fields of a listpack */
    uint64_t value;   /* bytes of each field and each value in it */
};

/* A pair. The slices point into the fields, or to the digits here: it is not to be copied, and is
 * valid until the next change. */
struct fields_item {
    struct slice field, value;
    int64_t due; /* or BTREE_NO_DUE */
    char digits[2][I64_TEXT_MAX];
};

/* ---- Life ---- */

void fields_new(struct fields *f); /* empty: a listpack */
void fields_free(struct fields *f);
must_check bool fields_dup(const struct fields *f, struct fields *out); /* a tree in O(1) */

uint64_t fields_count(const struct fields *f);
size_t fields_bytes(const struct fields *f);         /* allocated, about */
uint64_t fields_allocations(const struct fields *f); /* the effort to free it, about */

/* ---- By field. What is given must not point into the fields. ---- */

/* The value points into the fields until their next change, or to the digits. */
bool fields_get(const struct fields *f, struct slice field, char digits[I64_TEXT_MAX],
                struct slice *value);
/* 1: new; 0: its value was replaced; -ENOMEM. `due` may be BTREE_NO_DUE or FIELDS_KEEP_DUE (a new
 * field has none then), and fields_put() means the former. */
must_check int fields_put_due(struct fields *f, struct slice field, struct slice value, int64_t due,
                              const struct fields_limits *limits);
must_check int fields_put(struct fields *f, struct slice field, struct slice value,
                          const struct fields_limits *limits);
bool fields_may_fail(struct slice field, struct slice value); /* to be put, in any form */
/* Perhaps one of its own pairs is such: a put of another one that changes the form may fail, too.
 * O(1) */
bool fields_turn_may_fail(const struct fields *f);
bool fields_remove(struct fields *f, struct slice field); /* was it there? */

/* Fetches what looking for fields of these hashes (hash_key) will read: btree_ahead(). */
void fields_ahead(const struct fields *f, const uint64_t *hash, unsigned n);

/* ---- By due ---- */

bool fields_get_due(const struct fields *f, struct slice field, int64_t *due); /* is it there? */
/* The field is there. 0 or -ENOMEM. */
must_check int fields_set_due(struct fields *f, struct slice field, int64_t due);
uint64_t fields_hidden(const struct fields *f); /* how many */
static inline bool fields_hides(const struct fields *f, int64_t due)
{
    return due != BTREE_NO_DUE && due <= f->now;
}
/* The earliest due of all, hidden ones too; BTREE_NO_DUE: none has one. */
int64_t fields_first_due(const struct fields *f);
/* When the last of them is due, after which none is left; BTREE_NO_DUE: some have none. */
int64_t fields_last_due(const struct fields *f);
/* The name of the field before which `rank` others are due. It must be there, and have a due. */
struct slice fields_by_due(const struct fields *f, uint64_t rank, char digits[I64_TEXT_MAX]);
/* The field that fields_first_due() is about goes. It must be there. */
void fields_drop_first(struct fields *f);
/* The same for a field that is hidden; false: there is no such. */
bool fields_drop_hidden(struct fields *f, struct slice field);
/* A number of whoever keeps them, in the timed forms only; a copy has it, too. */
uint32_t *fields_place(const struct fields *f);

/* ---- By rank: the sequence of the listpack, or ascending hashes. Hidden fields have one, too, and
 * are passed over. ---- */

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

/* The tree by hash, with the hidden ones; NULL: a listpack. */
const struct btree *fields_tree(const struct fields *f);

/* NULL, or what does not hold: an invariant of the form, a field twice or under a wrong hash,
 * a due that the order of dues does not have.
 * O(bytes), a listpack O(entries squared). */
const char *fields_check(const struct fields *f);
#endif
