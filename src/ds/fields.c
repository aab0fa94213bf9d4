/* fields.c -- The fields of a hash, in two forms.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * FAILURE  A listpack that cannot grow becomes a tree, whose pages never fail: so a short pair can
 *          always be put, and who puts many needs to be able to go back only if one is long. */
#include "ds/fields.h"
#include "base/hash.h"
#include <errno.h>

#define PAIR          2u   /* entries of a pair in a listpack */
#define SHORT_PAIR    900u /* bytes that fit a page of a tree for sure (btree.h) */
#define LOOK_UP_AHEAD 32u  /* records to walk over before looking one up is less work */

static uint64_t hash_of(struct slice field)
{
    return hash_key(field.p, field.n);
}

static struct slice text_at(const struct listpack *lp, uint32_t at, char digits[I64_TEXT_MAX])
{
    struct lp_value v = lp_get(lp, at);
    return lp_text(&v, digits);
}

/* ---- Life ---- */

void fields_new(struct fields *f)
{
    *f = (struct fields){ FIELDS_LISTPACK, lp_new() };
}

void fields_free(struct fields *f)
{
    if (f->form == FIELDS_TREE) {
        btree_free(f->p);
    } else {
        lp_free(f->p);
    }
    f->p = NULL;
}

bool fields_dup(const struct fields *f, struct fields *out)
{
    out->form = f->form;
    out->p = f->form == FIELDS_TREE ? (void *)btree_dup(f->p) : (void *)lp_dup(f->p);
    return out->p != NULL;
}

uint64_t fields_count(const struct fields *f)
{
    return f->form == FIELDS_TREE ? btree_count(f->p) : lp_count(f->p) / PAIR;
}

/* ---- Walking ---- */

void fields_iter(struct fields_iter *it, const struct fields *f, uint64_t rank)
{
    it->f = f;
    it->rank = rank;
    if (f->form == FIELDS_TREE) {
        btree_iter(&it->tree, f->p, rank, true);
    } else {
        it->at = rank < fields_count(f) ? lp_seek(f->p, (int64_t)(rank * PAIR)) : LP_NONE;
    }
}

bool fields_next(struct fields_iter *it, struct fields_item *out)
{
    if (it->f->form == FIELDS_TREE) {
        struct btree_item item;
        if (!btree_next(&it->tree, &item)) {
            return false;
        }
        out->field = item.key;
        out->value = item.value;
    } else {
        const struct listpack *lp = it->f->p;
        if (it->at == LP_NONE) {
            return false;
        }
        uint32_t value = lp_next(lp, it->at);
        out->field = text_at(lp, it->at, out->digits[0]);
        out->value = text_at(lp, value, out->digits[1]);
        it->at = lp_next(lp, value);
    }
    it->rank++;
    return true;
}

void fields_skip_to(struct fields_iter *it, uint64_t rank)
{
    must(rank >= it->rank);
    if (it->f->form == FIELDS_TREE && rank - it->rank > LOOK_UP_AHEAD) {
        fields_iter(it, it->f, rank);
        return;
    }
    struct fields_item passed;
    while (it->rank < rank && fields_next(it, &passed)) {
    }
}

/* ---- Looking ---- */

static uint32_t listpack_find(const struct listpack *lp, struct slice field)
{
    uint32_t first = lp_first(lp);
    return first != LP_NONE ? lp_find(lp, first, field, PAIR - 1) : LP_NONE;
}

bool fields_get(const struct fields *f, struct slice field, char digits[I64_TEXT_MAX],
                struct slice *value)
{
    if (f->form == FIELDS_TREE) {
        struct btree_item item;
        if (!btree_find(f->p, hash_of(field), field, &item)) {
            return false;
        }
        *value = item.value;
        return true;
    }
    uint32_t at = listpack_find(f->p, field);
    if (at == LP_NONE) {
        return false;
    }
    *value = text_at(f->p, lp_next(f->p, at), digits);
    return true;
}

/* ---- Changes ---- */

bool fields_may_fail(struct slice field, struct slice value)
{
    return field.n >= SHORT_PAIR || value.n >= SHORT_PAIR - field.n;
}

static int tree_put(struct btree *t, struct slice field, struct slice value)
{
    return btree_put(t, hash_of(field), field, value, BTREE_NO_DUE);
}

static int become_tree(struct fields *f)
{
    struct fields to = { FIELDS_TREE, btree_new() };
    struct fields_iter it;
    struct fields_item item;
    fields_iter(&it, f, 0);
    while (fields_next(&it, &item)) {
        int rc = tree_put(to.p, item.field, item.value);
        if (rc < 0) {
            fields_free(&to);
            return rc;
        }
    }
    fields_free(f);
    *f = to;
    return 0;
}

/* 1, 0, or -ENOMEM. */
static int listpack_put(struct fields *f, struct slice field, struct slice value)
{
    uint32_t at = listpack_find(f->p, field);
    struct listpack *lp = at != LP_NONE
                              ? lp_replace(f->p, lp_next(f->p, at), value)
                              : lp_append_many(f->p, (struct slice[]){ field, value }, PAIR);
    if (lp == NULL) {
        return -ENOMEM;
    }
    f->p = lp;
    return at == LP_NONE;
}

int fields_put(struct fields *f, struct slice field, struct slice value,
               const struct fields_limits *limits)
{
    if (f->form == FIELDS_LISTPACK) {
        int rc = -ENOMEM;
        if (field.n <= limits->value && value.n <= limits->value) {
            rc = listpack_put(f, field, value);
        }
        if (rc >= 0 && fields_count(f) <= limits->entries) {
            return rc;
        }
        int turned = become_tree(f);
        if (turned < 0 || rc >= 0) {
            return rc >= 0 ? rc : turned; /* it is in; a listpack that is too long is one, too */
        }
    }
    return tree_put(f->p, field, value);
}

bool fields_remove(struct fields *f, struct slice field)
{
    if (f->form == FIELDS_TREE) {
        return btree_remove(f->p, hash_of(field), field);
    }
    uint32_t at = listpack_find(f->p, field);
    if (at == LP_NONE) {
        return false;
    }
    f->p = lp_delete(f->p, &at);
    f->p = lp_delete(f->p, &at);
    return true;
}

/* ---- Checking ---- */

static const char *check_listpack(const struct listpack *lp)
{
    if (!lp_valid(lp_slice(lp))) {
        return "the listpack is not valid";
    }
    if (lp_count(lp) % PAIR != 0) {
        return "a field has no value";
    }
    for (uint32_t at = lp_first(lp); at != LP_NONE; at = lp_next(lp, lp_next(lp, at))) {
        char digits[I64_TEXT_MAX];
        if (listpack_find(lp, text_at(lp, at, digits)) != at) {
            return "a field is there twice";
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
        if (item.order != hash_of(item.key)) {
            return "a field stands under another hash";
        }
    }
    return btree_check(t);
}

const char *fields_check(const struct fields *f)
{
    return f->form == FIELDS_TREE ? check_tree(f->p) : check_listpack(f->p);
}
