/* fields.c -- The fields of a hash, in two forms, each with or without dues.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * FAILURE  A listpack that cannot grow becomes a tree, whose pages never fail: so a short pair can
 *          always be put, and who puts many needs to be able to go back only if one is long, or one
 *          that is there: limits may have been wider, and are no help in telling.
 * FAULTS   "fields.dup" fails fields_dup(). */
#include "ds/fields.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/mem.h"
#include <errno.h>

#define SHORT_PAIR    900u /* bytes that fit a page of a tree for sure, with a due (btree.h) */
#define LOOK_UP_AHEAD 32u  /* records to walk over before looking one up is less work */
#define NONE          (slice_of(NULL, 0))

/* What a timed form points to. */
struct timed {
    void *body;           /* the listpack of triples, or the tree by hash */
    struct btree *by_due; /* of a tree: its records that have a due, as (due, field) */
    uint32_t place;
};

static inline bool is_timed(const struct fields *f)
{
    return f->form >= FIELDS_LISTPACK_TIMED;
}

static inline bool is_tree(const struct fields *f)
{
    return f->form == FIELDS_TREE || f->form == FIELDS_TREE_TIMED;
}

static inline struct timed *timed_of(const struct fields *f)
{
    return f->p;
}

static inline void *body_of(const struct fields *f)
{
    return is_timed(f) ? timed_of(f)->body : f->p;
}

static inline void set_body(struct fields *f, void *body)
{
    if (is_timed(f)) {
        timed_of(f)->body = body;
    } else {
        f->p = body;
    }
}

/* Entries of one field in the listpack. */
static inline unsigned width_of(const struct fields *f)
{
    return is_timed(f) ? 3 : 2;
}

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
    *f = (struct fields){ FIELDS_LISTPACK, lp_new(), FIELDS_ALL };
}

void fields_free(struct fields *f)
{
    if (is_tree(f)) {
        btree_free(body_of(f));
    } else {
        lp_free(body_of(f));
    }
    if (is_timed(f)) {
        btree_free(timed_of(f)->by_due);
        mem_free(f->p);
    }
    f->p = NULL;
}

static struct timed *timed_new(void *body, bool tree)
{
    struct timed *t = mem_alloc(sizeof *t);
    *t = (struct timed){ body, tree ? btree_new() : NULL, 0 };
    return t;
}

bool fields_dup(const struct fields *f, struct fields *out)
{
    if (fault("fields.dup") == ENOMEM) {
        return false;
    }
    void *body = is_tree(f) ? (void *)btree_dup(body_of(f)) : (void *)lp_dup(body_of(f));
    if (body == NULL) {
        return false;
    }
    *out = (struct fields){ f->form, body, f->now };
    if (is_timed(f)) {
        const struct timed *from = timed_of(f);
        struct timed *t = mem_alloc(sizeof *t);
        *t = (struct timed){ body, from->by_due != NULL ? btree_dup(from->by_due) : NULL,
                             from->place };
        out->p = t;
    }
    return true;
}

/* With the hidden ones. */
static uint64_t count_all(const struct fields *f)
{
    return is_tree(f) ? btree_count(body_of(f)) : lp_count(body_of(f)) / width_of(f);
}

uint64_t fields_count(const struct fields *f)
{
    return count_all(f) - fields_hidden(f);
}

size_t fields_bytes(const struct fields *f)
{
    size_t n = is_tree(f) ? btree_bytes(body_of(f)) : mem_usable(body_of(f));
    if (is_timed(f)) {
        const struct timed *t = timed_of(f);
        n += mem_good_size(sizeof *t) + (t->by_due != NULL ? btree_bytes(t->by_due) : 0);
    }
    return n;
}

uint64_t fields_allocations(const struct fields *f)
{
    uint64_t n = is_tree(f) ? btree_pages(body_of(f)) : 1;
    if (is_timed(f)) {
        n += 1 + (timed_of(f)->by_due != NULL ? btree_pages(timed_of(f)->by_due) : 0);
    }
    return n;
}

const struct btree *fields_tree(const struct fields *f)
{
    return is_tree(f) ? body_of(f) : NULL;
}

uint32_t *fields_place(const struct fields *f)
{
    must(is_timed(f));
    return &timed_of(f)->place;
}

/* ---- Triples of a listpack ---- */

/* The due of the triple whose due stands at `at`. */
static int64_t due_at(const struct listpack *lp, uint32_t at)
{
    struct lp_value v = lp_get(lp, at);
    return v.p == NULL && v.i != 0 ? v.i : BTREE_NO_DUE;
}

static uint32_t triple_due(const struct listpack *lp, uint32_t at)
{
    return lp_next(lp, lp_next(lp, at));
}

/* The first triple that stands behind one with this due; LP_NONE: at the end. */
static uint32_t triple_behind(const struct listpack *lp, int64_t due)
{
    uint32_t at = due != BTREE_NO_DUE ? lp_first(lp) : LP_NONE;
    while (at != LP_NONE) {
        uint32_t its = triple_due(lp, at);
        int64_t here = due_at(lp, its);
        if (here == BTREE_NO_DUE || here >= due) {
            break;
        }
        at = lp_next(lp, its);
    }
    return at;
}

/* Inserts n texts before `at`, or at the end. False: no memory, nothing changed. */
static bool insert_many(struct listpack **lp, uint32_t at, const struct slice *text, unsigned n)
{
    struct listpack *now = *lp;
    if (at == LP_NONE) {
        now = lp_append_many(now, text, n);
        *lp = now != NULL ? now : *lp;
        return now != NULL;
    }
    for (unsigned i = n; i > 0; i--) {
        uint32_t before = at;
        now = lp_insert_before(*lp, &before, text[i - 1]);
        if (now == NULL) {
            for (uint32_t gone = at; i < n; i++) {
                *lp = lp_delete(*lp, &gone);
            }
            return false;
        }
        *lp = now;
    }
    return true;
}

static struct listpack *delete_at(struct listpack *lp, uint32_t at, unsigned entries)
{
    for (unsigned i = 0; i < entries; i++) {
        lp = lp_delete(lp, &at);
    }
    return lp;
}

/* ---- Walking ---- */

void fields_iter(struct fields_iter *it, const struct fields *f, uint64_t rank)
{
    it->f = f;
    it->rank = rank;
    if (is_tree(f)) {
        btree_iter(&it->tree, body_of(f), rank, true);
    } else {
        it->at = rank < count_all(f) ? lp_seek(body_of(f), (int64_t)(rank * width_of(f))) : LP_NONE;
    }
}

static bool next_in_tree(struct fields_iter *it, struct fields_item *out)
{
    struct btree_item item;
    if (!btree_next(&it->tree, &item)) {
        return false;
    }
    out->field = item.key;
    out->value = item.value;
    out->due = item.due;
    return true;
}

static bool next_in_listpack(struct fields_iter *it, struct fields_item *out)
{
    const struct listpack *lp = body_of(it->f);
    if (it->at == LP_NONE) {
        return false;
    }
    uint32_t value = lp_next(lp, it->at), last = value;
    out->field = text_at(lp, it->at, out->digits[0]);
    out->value = text_at(lp, value, out->digits[1]);
    out->due = BTREE_NO_DUE;
    if (is_timed(it->f)) {
        last = lp_next(lp, value);
        out->due = due_at(lp, last);
    }
    it->at = lp_next(lp, last);
    return true;
}

/* The next one, hidden or not. */
static bool next_of_all(struct fields_iter *it, struct fields_item *out)
{
    it->rank++;
    return is_tree(it->f) ? next_in_tree(it, out) : next_in_listpack(it, out);
}

bool fields_next(struct fields_iter *it, struct fields_item *out)
{
    bool more;
    do {
        more = next_of_all(it, out);
    } while (more && fields_hides(it->f, out->due));
    return more;
}

void fields_skip_to(struct fields_iter *it, uint64_t rank)
{
    must(rank >= it->rank);
    if (is_tree(it->f) && rank - it->rank > LOOK_UP_AHEAD) {
        fields_iter(it, it->f, rank);
        return;
    }
    struct fields_item passed;
    while (it->rank < rank && next_of_all(it, &passed)) {
    }
}

/* ---- Looking ---- */

static uint32_t listpack_find(const struct fields *f, struct slice field)
{
    const struct listpack *lp = body_of(f);
    uint32_t first = lp_first(lp);
    return first != LP_NONE ? lp_find(lp, first, field, width_of(f) - 1) : LP_NONE;
}

void fields_ahead(const struct fields *f, const uint64_t *hash, unsigned n)
{
    if (is_tree(f)) {
        btree_ahead(body_of(f), hash, n);
    }
}

/* The field, hidden or not. value NULL: not wanted. */
static bool find(const struct fields *f, struct slice field, char digits[I64_TEXT_MAX],
                 struct slice *value, int64_t *due)
{
    if (is_tree(f)) {
        struct btree_item item;
        if (!btree_find(body_of(f), hash_of(field), field, &item)) {
            return false;
        }
        *value = item.value;
        *due = item.due;
        return true;
    }
    uint32_t at = listpack_find(f, field);
    if (at == LP_NONE) {
        return false;
    }
    const struct listpack *lp = body_of(f);
    *value = text_at(lp, lp_next(lp, at), digits);
    *due = is_timed(f) ? due_at(lp, triple_due(lp, at)) : BTREE_NO_DUE;
    return true;
}

bool fields_get(const struct fields *f, struct slice field, char digits[I64_TEXT_MAX],
                struct slice *value)
{
    int64_t due;
    return find(f, field, digits, value, &due) && !fields_hides(f, due);
}

bool fields_get_due(const struct fields *f, struct slice field, int64_t *due)
{
    char digits[I64_TEXT_MAX];
    struct slice value;
    return find(f, field, digits, &value, due) && !fields_hides(f, *due);
}

/* ---- Changes of form ---- */

/* The record, and its twin by due. One that is there is replaced. 1, 0 or -ENOMEM. */
static int tree_put(struct fields *f, struct slice field, struct slice value, int64_t due)
{
    uint64_t hash = hash_of(field);
    if (!is_timed(f)) {
        return btree_put(body_of(f), hash, field, value, BTREE_NO_DUE);
    }
    struct timed *t = timed_of(f);
    struct btree_item old;
    int64_t had = btree_find(t->body, hash, field, &old) ? old.due : BTREE_NO_DUE;
    bool fresh = due != BTREE_NO_DUE && due != had;
    if (fresh && btree_put(t->by_due, (uint64_t)due, field, NONE, BTREE_NO_DUE) < 0) {
        return -ENOMEM;
    }
    int rc = btree_put(t->body, hash, field, value, due);
    if (rc < 0) {
        if (fresh) {
            must(btree_remove(t->by_due, (uint64_t)due, field));
        }
    } else if (had != BTREE_NO_DUE && had != due) {
        must(btree_remove(t->by_due, (uint64_t)had, field));
    }
    return rc;
}

/* A copy in another form, which is empty; freed on failure. */
static int pour(struct fields *f, struct fields *to)
{
    struct fields_iter it;
    struct fields_item item;
    fields_iter(&it, f, 0);
    while (next_of_all(&it, &item)) {
        int rc = tree_put(to, item.field, item.value, item.due);
        if (rc < 0) {
            fields_free(to);
            return rc;
        }
    }
    if (is_timed(f) && is_timed(to)) {
        timed_of(to)->place = timed_of(f)->place;
    }
    fields_free(f);
    *f = *to;
    return 0;
}

static int become_tree(struct fields *f, bool timed)
{
    struct fields to = { FIELDS_TREE, btree_new(), f->now };
    if (timed) {
        to = (struct fields){ FIELDS_TREE_TIMED, timed_new(to.p, true), f->now };
    }
    return pour(f, &to);
}

/* A listpack without dues gets room for them, or, for want of memory, becomes a tree. */
static int become_timed(struct fields *f)
{
    if (is_tree(f)) {
        *f = (struct fields){ FIELDS_TREE_TIMED, timed_new(f->p, true), f->now };
        return 0;
    }
    struct listpack *lp = lp_new(), *more = lp;
    struct fields_iter it;
    struct fields_item item;
    fields_iter(&it, f, 0);
    while (more != NULL && next_of_all(&it, &item)) {
        more = lp_append_many(lp, (struct slice[]){ item.field, item.value, S("0") }, 3);
        lp = more != NULL ? more : lp;
    }
    if (more == NULL) {
        lp_free(lp);
        return become_tree(f, true);
    }
    lp_free(f->p);
    *f = (struct fields){ FIELDS_LISTPACK_TIMED, timed_new(lp, false), f->now };
    return 0;
}

/* ---- Putting ---- */

bool fields_may_fail(struct slice field, struct slice value)
{
    return field.n >= SHORT_PAIR || value.n >= SHORT_PAIR - field.n;
}

bool fields_turn_may_fail(const struct fields *f)
{
    return !is_tree(f) && lp_bytes(body_of(f)) >= SHORT_PAIR;
}

/* Puts the triple where its due belongs; one at `old` goes. */
static int triple_put(struct fields *f, uint32_t old, struct slice field, struct slice value,
                      int64_t due)
{
    char digits[I64_TEXT_MAX];
    struct slice text[] = { field, value,
                            slice_of(digits, format_i64(digits, due != BTREE_NO_DUE ? due : 0)) };
    struct listpack *lp = body_of(f);
    uint32_t at = triple_behind(lp, due);
    size_t before = lp_bytes(lp);
    if (!insert_many(&lp, at, text, 3)) {
        set_body(f, lp);
        return -ENOMEM;
    }
    if (old != LP_NONE) {
        old += at != LP_NONE && at <= old ? (uint32_t)(lp_bytes(lp) - before) : 0;
        lp = delete_at(lp, old, 3);
    }
    set_body(f, lp);
    return old == LP_NONE;
}

/* 1, 0, or -ENOMEM. */
static int listpack_put(struct fields *f, struct slice field, struct slice value, int64_t due)
{
    uint32_t at = listpack_find(f, field);
    struct listpack *lp = body_of(f);
    if (is_timed(f) && (at == LP_NONE || due_at(lp, triple_due(lp, at)) != due)) {
        return triple_put(f, at, field, value, due);
    }
    lp = at != LP_NONE ? lp_replace(lp, lp_next(lp, at), value)
                       : lp_append_many(lp, (struct slice[]){ field, value }, 2);
    if (lp == NULL) {
        return -ENOMEM;
    }
    set_body(f, lp);
    return at == LP_NONE;
}

/* 1, 0, or -ENOMEM, whether the field that is there is hidden or not. */
static int put(struct fields *f, struct slice field, struct slice value, int64_t due,
               const struct fields_limits *limits)
{
    if (!is_tree(f)) {
        int rc = -ENOMEM;
        if (field.n <= limits->value && value.n <= limits->value) {
            rc = listpack_put(f, field, value, due);
        }
        if (rc >= 0 && count_all(f) <= limits->entries) {
            return rc;
        }
        int turned = become_tree(f, is_timed(f));
        if (turned < 0 || rc >= 0) {
            return rc >= 0 ? rc : turned; /* it is in; a listpack that is too long is one, too */
        }
    }
    return tree_put(f, field, value, due);
}

int fields_put_due(struct fields *f, struct slice field, struct slice value, int64_t due,
                   const struct fields_limits *limits)
{
    bool anew = false;
    int64_t had = BTREE_NO_DUE;
    if (is_timed(f)) {
        char digits[I64_TEXT_MAX];
        struct slice old;
        anew = find(f, field, digits, &old, &had) && fields_hides(f, had);
    }
    if (due == FIELDS_KEEP_DUE) {
        due = anew ? BTREE_NO_DUE : had;
    }
    must(due == BTREE_NO_DUE || due > 0);
    if (due != BTREE_NO_DUE && !is_timed(f)) {
        int turned = become_timed(f);
        if (turned < 0) {
            return turned;
        }
    }
    int rc = put(f, field, value, due, limits);
    return rc == 0 && anew ? 1 : rc;
}

int fields_put(struct fields *f, struct slice field, struct slice value,
               const struct fields_limits *limits)
{
    return fields_put_due(f, field, value, BTREE_NO_DUE, limits);
}

int fields_set_due(struct fields *f, struct slice field, int64_t due)
{
    static const struct fields_limits none = { UINT64_MAX, UINT64_MAX };
    char digits[I64_TEXT_MAX], few[SHORT_PAIR];
    struct slice value;
    int64_t had = BTREE_NO_DUE;
    must(find(f, field, digits, &value, &had) && !fields_hides(f, had));
    if (had == due) {
        return 0;
    }
    char *copy = value.n <= sizeof few ? few : mem_try_alloc(value.n);
    if (copy == NULL) {
        return -ENOMEM;
    }
    memcpy(copy, value.p, value.n);
    int rc = fields_put_due(f, field, slice_of(copy, value.n), due, &none);
    if (copy != few) {
        mem_free(copy);
    }
    return rc;
}

/* ---- Removing ---- */

/* It is there, with this due. */
static void remove_known(struct fields *f, struct slice field, int64_t due)
{
    if (!is_tree(f)) {
        set_body(f, delete_at(body_of(f), listpack_find(f, field), width_of(f)));
        return;
    }
    must(btree_remove(body_of(f), hash_of(field), field));
    if (due != BTREE_NO_DUE) {
        must(btree_remove(timed_of(f)->by_due, (uint64_t)due, field));
    }
}

static bool remove_if(struct fields *f, struct slice field, bool hidden)
{
    char digits[I64_TEXT_MAX];
    struct slice value;
    int64_t due = BTREE_NO_DUE;
    bool fits = find(f, field, digits, &value, &due) && fields_hides(f, due) == hidden;
    if (fits) {
        remove_known(f, field, due);
    }
    return fits;
}

bool fields_remove(struct fields *f, struct slice field)
{
    if (f->form == FIELDS_TREE) {
        return btree_remove(f->p, hash_of(field), field);
    }
    return remove_if(f, field, false);
}

bool fields_drop_hidden(struct fields *f, struct slice field)
{
    return is_timed(f) && remove_if(f, field, true);
}

/* ---- By due ---- */

uint64_t fields_hidden(const struct fields *f)
{
    if (!is_timed(f) || f->now == FIELDS_ALL) {
        return 0;
    }
    if (is_tree(f)) {
        return btree_rank(timed_of(f)->by_due, (uint64_t)f->now + 1, NONE);
    }
    const struct listpack *lp = body_of(f);
    uint64_t n = 0;
    for (uint32_t at = lp_first(lp); at != LP_NONE; n++) {
        uint32_t due = triple_due(lp, at);
        if (!fields_hides(f, due_at(lp, due))) {
            break;
        }
        at = lp_next(lp, due);
    }
    return n;
}

int64_t fields_first_due(const struct fields *f)
{
    if (!is_timed(f)) {
        return BTREE_NO_DUE;
    }
    if (is_tree(f)) {
        struct btree_item item;
        return btree_at(timed_of(f)->by_due, 0, &item) ? (int64_t)item.order : BTREE_NO_DUE;
    }
    const struct listpack *lp = body_of(f);
    uint32_t at = lp_first(lp);
    return at != LP_NONE ? due_at(lp, triple_due(lp, at)) : BTREE_NO_DUE;
}

int64_t fields_last_due(const struct fields *f)
{
    if (!is_timed(f) || count_all(f) == 0) {
        return BTREE_NO_DUE;
    }
    if (is_tree(f)) {
        const struct btree *by_due = timed_of(f)->by_due;
        struct btree_item item;
        uint64_t n = btree_count(by_due);
        return n == count_all(f) && btree_at(by_due, n - 1, &item) ? (int64_t)item.order
                                                                   : BTREE_NO_DUE;
    }
    return due_at(body_of(f), lp_last(body_of(f)));
}

struct slice fields_by_due(const struct fields *f, uint64_t rank, char digits[I64_TEXT_MAX])
{
    must(is_timed(f) && rank < count_all(f));
    if (is_tree(f)) {
        struct btree_item item;
        must(btree_at(timed_of(f)->by_due, rank, &item));
        return item.key;
    }
    uint32_t at = lp_seek(body_of(f), (int64_t)(3 * rank));
    must(at != LP_NONE && due_at(body_of(f), triple_due(body_of(f), at)) != BTREE_NO_DUE);
    return text_at(body_of(f), at, digits);
}

void fields_drop_first(struct fields *f)
{
    char digits[I64_TEXT_MAX];
    struct slice field = fields_by_due(f, 0, digits);
    if (is_tree(f)) {
        must(btree_remove(body_of(f), hash_of(field), field));
        must(btree_remove_at(timed_of(f)->by_due, 0));
    } else {
        set_body(f, delete_at(body_of(f), lp_first(body_of(f)), 3));
    }
}

/* ---- Checking ---- */

static const char *check_listpack(const struct fields *f)
{
    const struct listpack *lp = body_of(f);
    if (!lp_valid(lp_slice(lp))) {
        return "the listpack is not valid";
    }
    if (lp_count(lp) % width_of(f) != 0) {
        return "a field has no value";
    }
    struct fields_iter it;
    struct fields_item item;
    int64_t before = 0;
    fields_iter(&it, f, 0);
    for (uint32_t at = it.at; next_of_all(&it, &item); at = it.at) {
        if (listpack_find(f, item.field) != at) {
            return "a field is there twice";
        }
        int64_t due = item.due != BTREE_NO_DUE ? item.due : INT64_MAX;
        if (is_timed(f) && due < before) {
            return "dues do not ascend";
        }
        before = due;
    }
    return NULL;
}

static const char *check_tree(const struct fields *f)
{
    struct btree_iter it;
    struct btree_item item, twin;
    uint64_t dues = 0;
    btree_iter(&it, body_of(f), 0, true);
    while (btree_next(&it, &item)) {
        if (item.order != hash_of(item.key)) {
            return "a field stands under another hash";
        }
        dues += item.due != BTREE_NO_DUE;
        if (item.due != BTREE_NO_DUE &&
            (!is_timed(f) ||
             !btree_find(timed_of(f)->by_due, (uint64_t)item.due, item.key, &twin))) {
            return "a due is not in the order of dues";
        }
    }
    if (is_timed(f)) {
        if (btree_count(timed_of(f)->by_due) != dues) {
            return "the order of dues has one that no field has";
        }
        const char *broken = btree_check(timed_of(f)->by_due);
        if (broken != NULL) {
            return broken;
        }
    }
    return btree_check(body_of(f));
}

const char *fields_check(const struct fields *f)
{
    return is_tree(f) ? check_tree(f) : check_listpack(f);
}
