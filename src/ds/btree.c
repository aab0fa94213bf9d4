/* btree.c -- Ordered byte records: finding, putting, removing, walking.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A change finds its page, owns the path to it (btree_tree.c), changes the page (btree_page.c) and
 * tells the nodes above; only a page that became full, small or empty changes the tree. */
#include "ds/btree_int.h"
#include "base/mem.h"
#include <errno.h>

/* ---- Life ---- */

struct btree *btree_new(void)
{
    return mem_calloc(sizeof(struct btree));
}

void btree_free(struct btree *t)
{
    if (t != NULL) {
        if (t->root != NULL) {
            btree_node_release(t->root);
        }
        mem_free(t);
    }
}

struct btree *btree_dup(const struct btree *t)
{
    struct btree *copy = btree_new();
    if (t->root != NULL) {
        copy->root = btree_node_ref(t->root);
    }
    return copy;
}

static struct btree_sum sum_of(const struct btree *t)
{
    return t->root != NULL ? btree_node_sum(t->root) : (struct btree_sum){ 0, 0, 0 };
}

uint64_t btree_count(const struct btree *t)
{
    return sum_of(t).count;
}

size_t btree_bytes(const struct btree *t)
{
    return sizeof *t + sum_of(t).bytes;
}

uint64_t btree_pages(const struct btree *t)
{
    return sum_of(t).pages;
}

/* ---- Finding ---- */

bool btree_find(const struct btree *t, uint64_t order, struct slice key, struct btree_item *out)
{
    struct btree_path p;
    if (t->root == NULL || !btree_path_find(t, order, key, &p)) {
        return false;
    }
    btree_page_get(p.page, p.at, out);
    return true;
}

bool btree_at(const struct btree *t, uint64_t rank, struct btree_item *out)
{
    struct btree_path p;
    if (rank >= btree_count(t)) {
        return false;
    }
    btree_path_rank(t, rank, &p);
    btree_page_get(p.page, p.at, out);
    return true;
}

uint64_t btree_rank(const struct btree *t, uint64_t order, struct slice key)
{
    struct btree_path p;
    if (t->root == NULL) {
        return 0;
    }
    (void)btree_path_find(t, order, key, &p);
    uint64_t rank = p.at;
    for (unsigned d = 0; d < p.depth; d++) {
        for (unsigned i = 0; i < p.slot[d]; i++) {
            rank += p.inner[d]->count[i];
        }
    }
    return rank;
}

/* ---- Putting ---- */

/* The record goes in front of record p->at of a page that has no room for it. */
static void put_split(struct btree *t, struct btree_path *p, const struct btree_fresh *f)
{
    struct btree_page *page = p->page;
    unsigned n = page->node.n, at = p->at;
    if ((at == n && btree_path_at_edge(p, true)) || (at == 0 && btree_path_at_edge(p, false))) {
        btree_tree_insert(t, p, btree_page_new(f), at > 0);
        return;
    }
    unsigned middle = btree_page_middle(page);
    struct btree_page *left = btree_page_part(page, 0, middle);
    struct btree_page *right = btree_page_part(page, middle, n);
    if (at <= middle) {
        left = btree_page_insert(left, at, f);
    } else {
        right = btree_page_insert(right, at - middle, f);
    }
    struct btree_sum was = btree_node_sum(&page->node);
    btree_path_changed(t, p, left, &was);
    btree_node_release(&page->node);
    btree_tree_insert(t, p, right, true);
}

/* The record at the path's place is replaced by one that may be longer. */
static void put_over(struct btree *t, struct btree_path *p, const struct btree_fresh *f)
{
    struct btree_sum was = btree_node_sum(&p->page->node);
    struct btree_page *page = btree_page_replace(p->page, p->at, f);
    btree_path_changed(t, p, page != NULL ? page : p->page, &was);
    if (page == NULL) { /* the old one is gone, and the others leave no room for the new one */
        put_split(t, p, f);
    }
}

/* A record that is not there, at its place. */
static void put_new(struct btree *t, struct btree_path *p, const struct btree_fresh *f)
{
    btree_path_own(t, p);
    if (!btree_page_takes(p->page, f->size)) {
        put_split(t, p, f);
    } else {
        struct btree_sum was = btree_node_sum(&p->page->node);
        btree_path_changed(t, p, btree_page_insert(p->page, p->at, f), &was);
    }
}

/* Values that keep their length are the usual ones: counters, flags, times. Nothing else of the
 * page changes then, and no node above it. */
static bool put_in_place(struct btree *t, struct btree_path *p, const struct btree_item *item)
{
    if (!btree_page_like(p->page, p->at, item)) {
        return false;
    }
    btree_path_own(t, p);
    btree_page_write(p->page, p->at, item);
    return true;
}

static int put(struct btree *t, const struct btree_item *item, bool replaces)
{
    struct btree_path p;
    struct btree_fresh f;
    bool there = t->root != NULL && btree_path_find(t, item->order, item->key, &p);
    if (there && (!replaces || put_in_place(t, &p, item))) {
        return 0;
    }
    int rc = btree_fresh_make(&f, item);
    if (rc != 0) {
        return rc;
    }
    if (t->root == NULL) {
        t->root = &btree_page_new(&f)->node;
    } else if (!there) {
        put_new(t, &p, &f);
    } else {
        btree_path_own(t, &p);
        put_over(t, &p, &f);
    }
    return there ? 0 : 1;
}

int btree_put(struct btree *t, uint64_t order, struct slice key, struct slice value, int64_t due)
{
    return put(t, &(struct btree_item){ order, key, value, due }, true);
}

int btree_add(struct btree *t, uint64_t order, struct slice key)
{
    return put(t, &(struct btree_item){ order, key, S(""), BTREE_NO_DUE }, false);
}

int btree_edit(struct btree *t, uint64_t order, struct slice key, char **value)
{
    struct btree_path p;
    if (t->root == NULL || !btree_path_find(t, order, key, &p)) {
        return 0;
    }
    btree_path_own(t, &p);
    *value = btree_page_edit(p.page, p.at);
    return *value != NULL ? 1 : -ENOMEM;
}

/* ---- Removing ---- */

static void remove_here(struct btree *t, struct btree_path *p)
{
    if (p->page->node.n == 1) {
        btree_tree_remove(t, p);
        return;
    }
    btree_path_own(t, p);
    struct btree_sum was = btree_node_sum(&p->page->node);
    btree_page_delete(p->page, p->at, 1);
    btree_path_changed(t, p, btree_page_fit(p->page), &was);
    if (btree_page_live(p->page) <= BTREE_ROOM_MAX / 4) {
        btree_tree_tidy(t, p);
    }
}

bool btree_remove(struct btree *t, uint64_t order, struct slice key)
{
    struct btree_path p;
    if (t->root == NULL || !btree_path_find(t, order, key, &p)) {
        return false;
    }
    remove_here(t, &p);
    return true;
}

bool btree_remove_at(struct btree *t, uint64_t rank)
{
    struct btree_path p;
    if (rank >= btree_count(t)) {
        return false;
    }
    btree_path_rank(t, rank, &p);
    remove_here(t, &p);
    return true;
}

uint64_t btree_remove_range(struct btree *t, uint64_t rank, uint64_t n)
{
    uint64_t count = btree_count(t);
    if (rank >= count) {
        return 0;
    }
    n = u64_min(n, count - rank);
    btree_tree_cut(t, rank, n);
    return n;
}

/* ---- Walking ---- */

void btree_iter(struct btree_iter *it, const struct btree *t, uint64_t rank, bool forward)
{
    it->forward = forward;
    it->more = rank < btree_count(t);
    if (it->more) {
        btree_path_rank(t, rank, &it->path);
    }
}

bool btree_next(struct btree_iter *it, struct btree_item *out)
{
    struct btree_path *p = &it->path;
    if (!it->more) {
        return false;
    }
    btree_page_get(p->page, p->at, out);
    if (it->forward ? p->at + 1u < p->page->node.n : p->at > 0) {
        p->at += it->forward ? 1 : -1u;
    } else {
        it->more = btree_path_step(p, it->forward);
    }
    return true;
}

/* The rest of a page lies side by side: no call, and one look at the path, for each page. */
unsigned btree_next_many(struct btree_iter *it, struct btree_item *out, unsigned max)
{
    struct btree_path *p = &it->path;
    unsigned n = 0;
    while (it->more && n < max) {
        const struct btree_page *page = p->page;
        unsigned at = p->at, left = it->forward ? page->node.n - at : at + 1;
        unsigned take = left < max - n ? left : max - n, step = it->forward ? 1 : -1u;
        for (unsigned i = 0; i < take; i++, at += step) {
            btree_page_get(page, at, &out[n + i]);
        }
        n += take;
        if (take < left) {
            p->at = at;
        } else {
            it->more = btree_path_step(p, it->forward);
        }
    }
    return n;
}

const char *btree_check(const struct btree *t)
{
    return btree_tree_check(t);
}
