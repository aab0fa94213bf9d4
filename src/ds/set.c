/* set.c -- Sets in three forms, and members that know their text, integer and hash by need.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "ds/set.h"
#include "base/hash.h"
#include "base/mem.h"
#include <errno.h>

/* ---- Members ---- */

#define KNOWN_TEXT   1
#define KNOWN_NUMBER 2 /* is_number is decided */
#define KNOWN_HASH   4

void set_member_text(struct set_member *m, struct slice text)
{
    m->text = text;
    m->known = KNOWN_TEXT;
}

void set_member_number(struct set_member *m, int64_t number)
{
    m->number = number;
    m->is_number = true;
    m->known = KNOWN_NUMBER;
}

static void member_value(struct set_member *m, const struct lp_value *v)
{
    if (v->p == NULL) {
        set_member_number(m, v->i);
    } else {
        set_member_text(m, slice_of(v->p, v->n));
        m->is_number = false; /* else the listpack had it as one */
        m->known |= KNOWN_NUMBER;
    }
}

static void member_item(struct set_member *m, const struct btree_item *item)
{
    m->text = item->key;
    m->hash = item->order;
    m->known = KNOWN_TEXT | KNOWN_HASH;
}

struct slice set_text(struct set_member *m)
{
    if (!(m->known & KNOWN_TEXT)) {
        m->text = slice_of(m->digits, format_i64(m->digits, m->number));
        m->known |= KNOWN_TEXT;
    }
    return m->text;
}

bool set_number(struct set_member *m, int64_t *out)
{
    if (!(m->known & KNOWN_NUMBER)) {
        m->is_number = parse_i64(m->text, &m->number);
        m->known |= KNOWN_NUMBER;
    }
    if (m->is_number) {
        *out = m->number;
    }
    return m->is_number;
}

static uint64_t member_hash(struct set_member *m)
{
    if (!(m->known & KNOWN_HASH)) {
        struct slice text = set_text(m);
        m->hash = hash_key(text.p, text.n);
        m->known |= KNOWN_HASH;
    }
    return m->hash;
}

/* ---- Life ---- */

void set_new_smallest(struct set *s)
{
    *s = (struct set){ SET_INTSET, intset_new() };
}

void set_new(struct set *s, struct set_member *first, uint64_t expected,
             const struct set_limits *limits)
{
    int64_t number;
    if (expected <= limits->intset_entries && set_number(first, &number)) {
        set_new_smallest(s);
    } else if (expected <= limits->listpack_entries) {
        *s = (struct set){ SET_LISTPACK, lp_new() };
    } else {
        *s = (struct set){ SET_TREE, btree_new() };
    }
}

void set_free(struct set *s)
{
    switch (s->form) {
    case SET_INTSET: intset_free(s->p); break;
    case SET_LISTPACK: lp_free(s->p); break;
    case SET_TREE: btree_free(s->p); break;
    }
    s->p = NULL;
}

bool set_dup(const struct set *s, struct set *out)
{
    out->form = s->form;
    switch (s->form) {
    case SET_INTSET: out->p = intset_dup(s->p); break;
    case SET_LISTPACK: out->p = lp_dup(s->p); break;
    default: out->p = btree_dup(s->p); break;
    }
    return out->p != NULL;
}

uint64_t set_count(const struct set *s)
{
    switch (s->form) {
    case SET_INTSET: return intset_count(s->p);
    case SET_LISTPACK: return lp_count(s->p);
    default: return btree_count(s->p);
    }
}

size_t set_bytes(const struct set *s)
{
    switch (s->form) {
    case SET_INTSET: return intset_slice(s->p).n;
    case SET_LISTPACK: return lp_bytes(s->p);
    default: return btree_bytes(s->p);
    }
}

/* ---- Walking ---- */

void set_iter(struct set_iter *it, const struct set *s, uint64_t rank)
{
    it->s = s;
    if (s->form == SET_TREE) {
        btree_iter(&it->tree, s->p, rank, true);
    } else if (rank >= set_count(s)) {
        it->at = s->form == SET_INTSET ? UINT32_MAX : LP_NONE;
    } else {
        it->at = s->form == SET_INTSET ? (uint32_t)rank : lp_seek(s->p, (int64_t)rank);
    }
}

bool set_next(struct set_iter *it, struct set_member *out)
{
    const struct set *s = it->s;
    if (s->form == SET_TREE) {
        struct btree_item item;
        if (!btree_next(&it->tree, &item)) {
            return false;
        }
        member_item(out, &item);
    } else if (s->form == SET_LISTPACK) {
        if (it->at == LP_NONE) {
            return false;
        }
        struct lp_value v = lp_get(s->p, it->at);
        member_value(out, &v);
        it->at = lp_next(s->p, it->at);
    } else {
        if (it->at >= intset_count(s->p)) {
            return false;
        }
        set_member_number(out, intset_at(s->p, it->at++));
    }
    return true;
}

void set_at(const struct set *s, uint64_t rank, struct set_member *out)
{
    struct btree_item item;
    if (s->form == SET_TREE) {
        must(btree_at(s->p, rank, &item));
        member_item(out, &item);
        return;
    }
    struct set_iter it;
    set_iter(&it, s, rank);
    must(set_next(&it, out));
}

/* ---- Looking ---- */

/* An integer stands in a listpack as one: texts need not be compared with it. */
static uint32_t listpack_find(const struct listpack *lp, struct set_member *m)
{
    int64_t number;
    bool is_number = set_number(m, &number);
    struct slice text = is_number ? S("") : m->text;
    for (uint32_t at = lp_first(lp); at != LP_NONE; at = lp_next(lp, at)) {
        struct lp_value v = lp_get(lp, at);
        if (is_number ? v.p == NULL && v.i == number
                      : v.p != NULL && slice_eq(slice_of(v.p, v.n), text)) {
            return at;
        }
    }
    return LP_NONE;
}

void set_ahead(const struct set *s, const uint64_t *hash, unsigned n)
{
    if (s->form == SET_TREE) {
        btree_ahead(s->p, hash, n);
    }
}

bool set_has(const struct set *s, struct set_member *m)
{
    int64_t number;
    struct btree_item item;
    switch (s->form) {
    case SET_INTSET: return set_number(m, &number) && intset_has(s->p, number);
    case SET_LISTPACK: return listpack_find(s->p, m) != LP_NONE;
    default: return btree_find(s->p, member_hash(m), set_text(m), &item);
    }
}

/* ---- Changing form ---- */

static int append(struct set *s, struct set_member *m)
{
    int64_t number;
    struct listpack *lp =
        set_number(m, &number) ? lp_append_int(s->p, number) : lp_append(s->p, m->text);
    if (lp == NULL) {
        return -ENOMEM;
    }
    s->p = lp;
    return 1;
}

static int tree_put(struct set *s, struct set_member *m)
{
    return btree_add(s->p, member_hash(m), set_text(m));
}

static int intset_put(struct set *s, int64_t number)
{
    uint32_t at;
    if (intset_find(s->p, number, &at)) {
        return 0;
    }
    struct intset *is = intset_insert(s->p, at, number);
    if (is == NULL) {
        return -ENOMEM;
    }
    s->p = is;
    return 1;
}

/* The members of s, which are distinct, in another form. An intset takes integers only. */
static int convert(struct set *s, enum set_form form)
{
    struct set to = { form, NULL };
    struct set_iter it;
    struct set_member m;
    int rc = 0;
    to.p = form == SET_TREE       ? (void *)btree_new()
           : form == SET_LISTPACK ? (void *)lp_new()
                                  : (void *)intset_new();
    set_iter(&it, s, 0);
    while (rc >= 0 && set_next(&it, &m)) {
        int64_t number = 0;
        if (form == SET_INTSET) {
            must(set_number(&m, &number));
            rc = intset_put(&to, number);
        } else {
            rc = form == SET_TREE ? tree_put(&to, &m) : append(&to, &m);
        }
    }
    if (rc < 0) {
        set_free(&to);
        return rc;
    }
    set_free(s);
    *s = to;
    return 0;
}

int set_expect(struct set *s, uint64_t more, const struct set_limits *limits)
{
    bool big = (s->form == SET_LISTPACK && more > limits->listpack_entries) ||
               (s->form == SET_INTSET && more > limits->intset_entries);
    return big ? convert(s, SET_TREE) : 0;
}

int set_shrink(struct set *s, const struct set_limits *limits)
{
    uint64_t n = set_count(s);
    bool numbers = n <= limits->intset_entries, fits = n <= limits->listpack_entries;
    struct set_iter it;
    struct set_member m;
    if (s->form == SET_INTSET && numbers) {
        return 0;
    }
    set_iter(&it, s, 0);
    while ((numbers || fits) && set_next(&it, &m)) {
        int64_t number;
        numbers = numbers && set_number(&m, &number);
        fits = fits && set_text(&m).n <= limits->listpack_value;
    }
    enum set_form form = numbers ? SET_INTSET : fits ? SET_LISTPACK : SET_TREE;
    return s->form != form ? convert(s, form) : 0;
}

/* ---- Changes ---- */

/* What cannot grow, for its own bound or for want of memory, becomes a tree, whose pages never
 * fail. */
static int tree_add(struct set *s, struct set_member *m)
{
    int rc = s->form != SET_TREE ? convert(s, SET_TREE) : 0;
    return rc < 0 ? rc : tree_put(s, m);
}

/* A text comes to integers: a listpack if they fit one, together. */
static bool leaves_for_listpack(const struct intset *is, struct set_member *m,
                                const struct set_limits *limits)
{
    uint32_t n = intset_count(is);
    unsigned longest = 0;
    if (n > 0) {
        unsigned first = i64_digits(intset_at(is, 0)), last = i64_digits(intset_at(is, n - 1));
        longest = first > last ? first : last;
    }
    return n < limits->listpack_entries && longest <= limits->listpack_value &&
           set_text(m).n <= limits->listpack_value;
}

static int intset_add(struct set *s, struct set_member *m, const struct set_limits *limits)
{
    int64_t number;
    int rc = -ENOMEM;
    if (!set_number(m, &number)) {
        if (leaves_for_listpack(s->p, m, limits) && convert(s, SET_LISTPACK) == 0) {
            rc = append(s, m);
        }
    } else if (intset_count(s->p) < limits->intset_entries || intset_has(s->p, number)) {
        rc = intset_put(s, number);
    }
    return rc >= 0 ? rc : tree_add(s, m);
}

int set_add(struct set *s, struct set_member *m, const struct set_limits *limits)
{
    int rc = -ENOMEM;
    if (s->form == SET_INTSET) {
        return intset_add(s, m, limits);
    }
    if (s->form == SET_LISTPACK) {
        if (listpack_find(s->p, m) != LP_NONE) {
            return 0;
        }
        if (lp_count(s->p) < limits->listpack_entries && set_text(m).n <= limits->listpack_value) {
            rc = append(s, m);
        }
    }
    return rc >= 0 ? rc : tree_add(s, m);
}

bool set_remove(struct set *s, struct set_member *m)
{
    uint32_t at;
    int64_t number;
    switch (s->form) {
    case SET_INTSET:
        if (!set_number(m, &number) || !intset_find(s->p, number, &at)) {
            return false;
        }
        s->p = intset_delete(s->p, at, 1);
        return true;
    case SET_LISTPACK:
        at = listpack_find(s->p, m);
        if (at == LP_NONE) {
            return false;
        }
        s->p = lp_delete(s->p, &at);
        return true;
    default: return btree_remove(s->p, member_hash(m), set_text(m));
    }
}

void set_remove_at(struct set *s, uint64_t rank)
{
    must(rank < set_count(s));
    switch (s->form) {
    case SET_INTSET: s->p = intset_delete(s->p, (uint32_t)rank, 1); break;
    case SET_LISTPACK: s->p = lp_delete_range(s->p, (int64_t)rank, 1); break;
    case SET_TREE: must(btree_remove_at(s->p, rank)); break;
    }
}

/* ---- Checking ---- */

static const char *check_listpack(const struct listpack *lp)
{
    if (!lp_valid(lp_slice(lp))) {
        return "the listpack is not valid";
    }
    for (uint32_t at = lp_first(lp); at != LP_NONE; at = lp_next(lp, at)) {
        struct set_member m;
        struct lp_value v = lp_get(lp, at);
        int64_t number;
        if (v.p != NULL && parse_i64(slice_of(v.p, v.n), &number)) {
            return "an integer stands in the listpack as text";
        }
        member_value(&m, &v);
        if (listpack_find(lp, &m) != at) {
            return "a member is there twice";
        }
    }
    return NULL;
}

static const char *check_tree(const struct btree *t)
{
    struct btree_iter it;
    struct btree_item item;
    btree_iter(&it, t, 0, true);
    while (btree_next(&it, &item)) {
        if (item.order != hash_key(item.key.p, item.key.n)) {
            return "a member stands under another hash";
        }
        if (item.value.n != 0 || item.due != BTREE_NO_DUE) {
            return "a member carries a value";
        }
    }
    return btree_check(t);
}

const char *set_check(const struct set *s)
{
    switch (s->form) {
    case SET_INTSET: return intset_valid(intset_slice(s->p)) ? NULL : "the intset is not valid";
    case SET_LISTPACK: return check_listpack(s->p);
    default: return check_tree(s->p);
    }
}
