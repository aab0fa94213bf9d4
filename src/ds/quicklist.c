/* quicklist.c -- List operations on top of chunks and their tree.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Most lists are queues and stacks: push and drop go straight down one edge of the tree
 *             and change one chunk in place. Everything else works by index: whatever an operation
 *             did to the structure, finding an index again costs a few steps, so that no path has
 * to be repaired. FAILURE     A plain chunk is allocated before the first change. */
#include "ds/quicklist.h"
#include "ds/ql_tree.h"
#include "base/mem.h"
#include <errno.h>

#define FILL_MAX 32767 /* elements per chunk, as in Redis */

/* A list of this many chunks gets new end chunks at full size: filling them without reallocation is
 * worth a fraction of memory then. Not for elements of which a chunk holds only a few. */
#define FULL_SIZE_CHUNKS 4
#define FULL_SIZE_SHARE  16

/* What the iterator's path and position are. */
enum {
    AT_SEEK,    /* nothing: the element to give is found by index */
    AT_CURRENT, /* those of the element given last */
    AT_NEXT     /* those of the element to give */
};

/* ---- Life ---- */

struct quicklist *quicklist_new(int fill)
{
    struct quicklist *ql = mem_alloc(sizeof *ql);
    ql->root = NULL;
    ql->fill = fill < -5 ? -5 : fill > FILL_MAX ? FILL_MAX : fill;
    uint32_t block = ql->fill < 0 ? 2048u << -ql->fill : 8192u;
    ql->limit.bytes = block - (uint32_t)sizeof(struct ql_chunk);
    ql->limit.count = ql->fill < 0 ? LP_COUNT_MAX : ql->fill == 0 ? 1 : (uint32_t)ql->fill;
    return ql;
}

void quicklist_free(struct quicklist *ql)
{
    if (ql != NULL) {
        if (ql->root != NULL) {
            ql_node_release(ql->root);
        }
        mem_free(ql);
    }
}

struct quicklist *quicklist_dup(const struct quicklist *ql)
{
    struct quicklist *copy = mem_alloc(sizeof *copy);
    *copy = *ql;
    if (copy->root != NULL) {
        ql_node_ref(copy->root);
    }
    return copy;
}

const struct quicklist *quicklist_freeze(const struct quicklist *ql)
{
    return quicklist_dup(ql);
}

void quicklist_release(const struct quicklist *frozen)
{
    quicklist_free((struct quicklist *)(uintptr_t)frozen);
}

uint64_t quicklist_count(const struct quicklist *ql)
{
    return ql->root != NULL ? ql_node_sum(ql->root).count : 0;
}

uint64_t quicklist_chunks(const struct quicklist *ql)
{
    return ql->root != NULL ? ql_node_sum(ql->root).chunks : 0;
}

size_t quicklist_bytes(const struct quicklist *ql)
{
    return sizeof *ql + (ql->root != NULL ? ql_node_sum(ql->root).bytes : 0);
}

int quicklist_fill_factor(const struct quicklist *ql)
{
    return ql->fill;
}

const char *quicklist_check(const struct quicklist *ql)
{
    return ql_tree_check(ql);
}

/* ---- Steps that the operations share ---- */

static inline bool too_big(const struct quicklist *ql, size_t size)
{
    return LP_EMPTY + size > ql->limit.bytes;
}

static struct lp_value value_at(const struct ql_chunk *c, uint32_t at)
{
    if (c->node.plain) {
        return (struct lp_value){ (const char *)c->room, c->size, 0 };
    }
    return lp_get(ql_chunk_lp(c), at);
}

/* Inserts into the chunk at the end of the path, which takes it. */
static inline void put(struct quicklist *ql, struct ql_path *p, uint32_t at,
                       const struct lp_value *v, size_t size)
{
    ql_path_own(ql, p);
    size_t before = ql_chunk_mem(p->chunk);
    ql_path_changed(ql, p, ql_chunk_insert(p->chunk, at, v, size, &ql->limit), before, 1);
}

static struct ql_chunk *new_end_chunk(const struct quicklist *ql, enum ql_end end,
                                      const struct lp_value *v, size_t size)
{
    bool full = ql->fill < 0 && quicklist_chunks(ql) >= FULL_SIZE_CHUNKS &&
                size <= ql->limit.bytes / FULL_SIZE_SHARE;
    return ql_chunk_new(v, end, full ? ql->limit.bytes : 0);
}

static void link_end(struct quicklist *ql, enum ql_end end, struct ql_chunk *c)
{
    if (ql->root == NULL) {
        ql->root = &c->node;
        return;
    }
    struct ql_path p;
    ql_path_edge(ql, end, &p);
    ql_tree_insert(ql, &p, c, end == QL_TAIL);
}

/* Before element `index`, the first of its chunk. */
static void link_at(struct quicklist *ql, uint64_t index, struct ql_chunk *c)
{
    struct ql_path p;
    ql_path_seek(ql, index, &p);
    ql_tree_insert(ql, &p, c, false);
}

/* Makes element `index` the first of a chunk. */
static void split_at(struct quicklist *ql, uint64_t index)
{
    struct ql_path p;
    uint32_t k = ql_path_seek(ql, index, &p);
    if (k == 0) {
        return;
    }
    ql_path_own(ql, &p);
    size_t before = ql_chunk_mem(p.chunk);
    uint32_t moved = p.chunk->node.n - k;
    struct ql_chunk *right = ql_chunk_split(p.chunk, lp_seek(ql_chunk_lp(p.chunk), k), k);
    ql_path_changed(ql, &p, ql_chunk_fit(p.chunk), before, -(int64_t)moved);
    ql_tree_insert(ql, &p, right, true);
}

/* Inserts before element `index` if its chunk, or the one before it, has room. */
static bool put_at(struct quicklist *ql, uint64_t index, const struct lp_value *v, size_t size)
{
    struct ql_path p;
    uint32_t k = ql_path_seek(ql, index, &p);
    if (ql_chunk_takes(p.chunk, size, &ql->limit)) {
        put(ql, &p, lp_seek(ql_chunk_lp(p.chunk), k), v, size);
        return true;
    }
    if (k == 0 && ql_path_step(&p, false) && ql_chunk_takes(p.chunk, size, &ql->limit)) {
        put(ql, &p, lp_end(ql_chunk_lp(p.chunk)), v, size);
        return true;
    }
    return false;
}

static void insert_packed(struct quicklist *ql, uint64_t index, const struct lp_value *v,
                          size_t size)
{
    if (put_at(ql, index, v, size)) {
        return;
    }
    split_at(ql, index);
    if (!put_at(ql, index, v, size)) {
        link_at(ql, index, ql_chunk_new(v, QL_TAIL, 0));
    }
}

/* After elements were taken from the packed chunk of the path: gives memory back and joins small
 * chunks. True: the path is stale. */
static bool settle(struct quicklist *ql, struct ql_path *p)
{
    if (ql_chunk_bytes(p->chunk) >= ql->limit.bytes / 4 || p->chunk->node.n > ql->limit.count / 4) {
        return false;
    }
    size_t before = ql_chunk_mem(p->chunk);
    struct ql_chunk *c = ql_chunk_fit(p->chunk);
    if (c != p->chunk) {
        ql_path_changed(ql, p, c, before, 0);
    }
    return ql_tree_tidy(ql, p);
}

/* Deletes the entry at `at` of the path's chunk. True: the path is stale. */
static bool delete_at(struct quicklist *ql, struct ql_path *p, uint32_t at)
{
    if (p->chunk->node.n == 1) {
        ql_tree_remove(ql, p);
        return true;
    }
    ql_path_own(ql, p);
    ql_chunk_delete(p->chunk, at, lp_span(ql_chunk_lp(p->chunk), at), 1);
    ql_path_changed(ql, p, p->chunk, ql_chunk_mem(p->chunk), -1);
    return settle(ql, p);
}

/* Puts a chunk of one element in the place of the path's chunk, which also has one. */
static void exchange(struct quicklist *ql, struct ql_path *p, struct ql_chunk *c)
{
    ql_path_own_nodes(ql, p);
    struct ql_chunk *old = p->chunk;
    ql_path_changed(ql, p, c, ql_chunk_mem(old), 0);
    ql_node_release(&old->node);
    if (!c->node.plain) {
        ql_tree_tidy(ql, p);
    }
}

/* ---- The ends ---- */

int quicklist_push(struct quicklist *ql, enum ql_end end, struct slice s)
{
    struct lp_value v = lp_value_of(s);
    size_t size = lp_value_size(&v);
    struct ql_chunk *c;
    if (unlikely(too_big(ql, size))) {
        c = ql_chunk_new_plain(s);
        if (c == NULL) {
            return -ENOMEM;
        }
    } else {
        struct ql_path p;
        if (ql->root != NULL) {
            ql_path_edge(ql, end, &p);
            if (likely(ql_chunk_takes_at(p.chunk, end, size, &ql->limit))) {
                put(ql, &p, end == QL_HEAD ? LP_HEADER : lp_end(ql_chunk_lp(p.chunk)), &v, size);
                return 0;
            }
        }
        c = new_end_chunk(ql, end, &v, size);
    }
    link_end(ql, end, c);
    return 0;
}

static uint32_t edge_position(const struct ql_chunk *c, enum ql_end end)
{
    return c->node.plain ? LP_NONE : end == QL_HEAD ? LP_HEADER : lp_last(ql_chunk_lp(c));
}

bool quicklist_peek(const struct quicklist *ql, enum ql_end end, struct lp_value *out)
{
    if (ql->root == NULL) {
        return false;
    }
    struct ql_path p;
    ql_path_edge(ql, end, &p);
    *out = value_at(p.chunk, edge_position(p.chunk, end));
    return true;
}

/* End chunks of a longer list are not joined or refitted while they drain: they go as a whole soon.
 * The one chunk of a short list may stay. */
void quicklist_drop(struct quicklist *ql, enum ql_end end)
{
    must(ql->root != NULL);
    struct ql_path p;
    ql_path_edge(ql, end, &p);
    if (p.chunk->node.n == 1) {
        ql_tree_remove(ql, &p);
        return;
    }
    ql_path_own(ql, &p);
    uint32_t at = edge_position(p.chunk, end);
    size_t before = ql_chunk_mem(p.chunk);
    ql_chunk_delete(p.chunk, at, lp_span(ql_chunk_lp(p.chunk), at), 1);
    ql_path_changed(ql, &p, p.depth == 0 ? ql_chunk_fit(p.chunk) : p.chunk, before, -1);
}

/* A packed element is copied aside, since the push may move what it points to; a plain chunk is
 * taken over as it is. Neither can fail. */
void quicklist_rotate(struct quicklist *ql, enum ql_end from)
{
    if (quicklist_count(ql) < 2) {
        return;
    }
    enum ql_end to = from == QL_HEAD ? QL_TAIL : QL_HEAD;
    struct ql_path p;
    ql_path_edge(ql, from, &p);
    if (p.chunk->node.plain) {
        struct ql_chunk *c = p.chunk;
        ql_node_ref(&c->node);
        ql_tree_remove(ql, &p);
        link_end(ql, to, c);
        return;
    }
    struct lp_value v = value_at(p.chunk, edge_position(p.chunk, from));
    char store[I64_TEXT_MAX], small[256];
    struct slice s = lp_text(&v, store);
    char *copy = s.n <= sizeof small ? small : mem_alloc(s.n);
    memcpy(copy, s.p, s.n);
    quicklist_drop(ql, from);
    must(quicklist_push(ql, to, slice_of(copy, s.n)) == 0);
    if (copy != small) {
        mem_free(copy);
    }
}

/* ---- By index ---- */

bool quicklist_get(const struct quicklist *ql, uint64_t index, struct lp_value *out)
{
    if (index >= quicklist_count(ql)) {
        return false;
    }
    struct ql_path p;
    uint32_t k = ql_path_seek(ql, index, &p);
    *out = value_at(p.chunk, p.chunk->node.plain ? LP_NONE : lp_seek(ql_chunk_lp(p.chunk), k));
    return true;
}

int quicklist_insert(struct quicklist *ql, uint64_t index, struct slice s)
{
    uint64_t count = quicklist_count(ql);
    must(index <= count);
    if (index == 0 || index == count) {
        return quicklist_push(ql, index == 0 ? QL_HEAD : QL_TAIL, s);
    }
    struct lp_value v = lp_value_of(s);
    size_t size = lp_value_size(&v);
    if (!too_big(ql, size)) {
        insert_packed(ql, index, &v, size);
        return 0;
    }
    struct ql_chunk *c = ql_chunk_new_plain(s);
    if (c == NULL) {
        return -ENOMEM;
    }
    split_at(ql, index);
    link_at(ql, index, c);
    return 0;
}

/* The new element goes in before the old one, which is then deleted: for what does not fit in the
 * old one's chunk. */
static void set_elsewhere(struct quicklist *ql, uint64_t index, struct ql_chunk *plain,
                          const struct lp_value *v, size_t size)
{
    if (plain != NULL) {
        split_at(ql, index);
        link_at(ql, index, plain);
    } else {
        insert_packed(ql, index, v, size);
    }
    quicklist_delete(ql, index + 1, 1);
}

int quicklist_set(struct quicklist *ql, uint64_t index, struct slice s)
{
    must(index < quicklist_count(ql));
    struct lp_value v = lp_value_of(s);
    size_t size = lp_value_size(&v);
    struct ql_chunk *plain = NULL;
    if (too_big(ql, size)) {
        plain = ql_chunk_new_plain(s);
        if (plain == NULL) {
            return -ENOMEM;
        }
    }
    struct ql_path p;
    uint32_t k = ql_path_seek(ql, index, &p);
    if (p.chunk->node.n == 1) {
        exchange(ql, &p, plain != NULL ? plain : ql_chunk_new(&v, QL_TAIL, 0));
        return 0;
    }
    const struct listpack *lp = ql_chunk_lp(p.chunk);
    uint32_t at = lp_seek(lp, k);
    if (plain != NULL || lp_bytes(lp) - lp_span(lp, at) + size > ql->limit.bytes) {
        set_elsewhere(ql, index, plain, &v, size);
        return 0;
    }
    ql_path_own(ql, &p);
    size_t before = ql_chunk_mem(p.chunk);
    ql_path_changed(ql, &p, ql_chunk_replace(p.chunk, at, &v, &ql->limit), before, 0);
    settle(ql, &p);
    return 0;
}

uint64_t quicklist_delete(struct quicklist *ql, uint64_t index, uint64_t n)
{
    uint64_t count = quicklist_count(ql);
    if (index >= count) {
        return 0;
    }
    n = u64_min(n, count - index);
    ql_tree_cut(ql, index, n);
    return n;
}

/* ---- Walking ---- */

static bool iter_seek(struct ql_iter *it)
{
    it->state = AT_SEEK;
    if (it->index >= quicklist_count(it->ql)) {
        return false;
    }
    uint32_t k = ql_path_seek(it->ql, it->index, &it->path);
    const struct ql_chunk *c = it->path.chunk;
    it->at = c->node.plain ? LP_NONE : lp_seek(ql_chunk_lp(c), k);
    it->state = AT_CURRENT;
    return true;
}

void quicklist_iter(struct ql_iter *it, const struct quicklist *ql, uint64_t index, bool forward)
{
    it->ql = ql;
    it->index = index;
    it->forward = forward;
    it->state = AT_SEEK;
}

/* From the current element to its neighbour. */
static bool iter_step(struct ql_iter *it)
{
    const struct ql_chunk *c = it->path.chunk;
    it->index += it->forward ? 1 : UINT64_MAX;
    if (!c->node.plain) {
        const struct listpack *lp = ql_chunk_lp(c);
        it->at = it->forward ? lp_next(lp, it->at) : lp_prev(lp, it->at);
        if (it->at != LP_NONE) {
            return true;
        }
    }
    if (!ql_path_step(&it->path, it->forward)) {
        it->state = AT_SEEK; /* index is past the end: stays there */
        return false;
    }
    it->at = edge_position(it->path.chunk, it->forward ? QL_HEAD : QL_TAIL);
    return true;
}

bool quicklist_next(struct ql_iter *it, struct lp_value *out)
{
    if (likely(it->state == AT_CURRENT)) {
        if (!iter_step(it)) {
            return false;
        }
    } else if (it->state == AT_NEXT) {
        it->state = AT_CURRENT;
    } else if (!iter_seek(it)) {
        return false;
    }
    *out = value_at(it->path.chunk, it->at);
    return true;
}

uint64_t quicklist_iter_index(const struct ql_iter *it)
{
    return it->index;
}

/* Positions before a deleted entry stay good, and the one after it slides to its place. */
void quicklist_iter_delete(struct quicklist *ql, struct ql_iter *it)
{
    must(it->ql == ql && it->state == AT_CURRENT);
    const struct ql_chunk *c = it->path.chunk;
    uint32_t next = it->at;
    if (!it->forward) {
        next = c->node.plain ? LP_NONE : lp_prev(ql_chunk_lp(c), it->at);
        it->index--;
    }
    bool stale = delete_at(ql, &it->path, it->at);
    if (stale || next == LP_NONE || next == lp_end(ql_chunk_lp(it->path.chunk))) {
        it->state = AT_SEEK;
        return;
    }
    it->at = next;
    it->state = AT_NEXT;
}

int quicklist_iter_replace(struct quicklist *ql, struct ql_iter *it, struct slice s)
{
    must(it->ql == ql && it->state == AT_CURRENT);
    int rc = quicklist_set(ql, it->index, s);
    if (rc == 0) {
        must(iter_seek(it));
    }
    return rc;
}

int quicklist_iter_insert_before(struct quicklist *ql, struct ql_iter *it, struct slice s)
{
    must(it->ql == ql && it->state == AT_CURRENT);
    int rc = quicklist_insert(ql, it->index, s);
    if (rc == 0) {
        it->index++;
        must(iter_seek(it));
    }
    return rc;
}

int quicklist_iter_insert_after(struct quicklist *ql, struct ql_iter *it, struct slice s)
{
    must(it->ql == ql && it->state == AT_CURRENT);
    int rc = quicklist_insert(ql, it->index + 1, s);
    if (rc == 0) {
        must(iter_seek(it));
    }
    return rc;
}

/* ---- Whole chunks ---- */

bool quicklist_next_chunk(struct ql_iter *it, struct ql_view *out)
{
    if (it->state == AT_CURRENT) {
        if (!ql_path_step(&it->path, true)) {
            return false;
        }
    } else if (!iter_seek(it)) {
        return false;
    }
    const struct ql_chunk *c = it->path.chunk;
    out->plain = c->node.plain;
    out->count = c->node.n;
    out->bytes = c->node.plain ? slice_of(c->room, c->size) : lp_slice(ql_chunk_lp(c));
    return true;
}

/* As long as the last chunk has room for the entries, or is less than half full, they are pushed: a
 * file with small chunks, or with chunks a little larger than ours, must not become a list of small
 * ones. */
static bool append_whole(const struct quicklist *ql, const struct listpack *lp)
{
    uint32_t count = lp_count(lp);
    if (count == 0 || count > ql->limit.count || lp_bytes(lp) > ql->limit.bytes) {
        return false;
    }
    if (ql->root == NULL) {
        return true;
    }
    struct ql_path p;
    ql_path_edge(ql, QL_TAIL, &p);
    const struct ql_chunk *c = p.chunk;
    if (c->node.plain) {
        return true;
    }
    uint32_t bytes = ql_chunk_bytes(c);
    bool fits = c->node.n + count <= ql->limit.count && bytes + lp_bytes(lp) <= ql->limit.bytes;
    return !fits && (c->node.n > ql->limit.count / 2 || bytes > ql->limit.bytes / 2);
}

int quicklist_append_listpack(struct quicklist *ql, const struct listpack *lp)
{
    if (append_whole(ql, lp)) {
        link_end(ql, QL_TAIL, ql_chunk_from_listpack(lp));
        return 0;
    }
    uint64_t before = quicklist_count(ql);
    for (uint32_t at = lp_first(lp); at != LP_NONE; at = lp_next(lp, at)) {
        struct lp_value v = lp_get(lp, at);
        char store[I64_TEXT_MAX];
        int rc = quicklist_push(ql, QL_TAIL, lp_text(&v, store));
        if (rc != 0) {
            quicklist_delete(ql, before, UINT64_MAX);
            return rc;
        }
    }
    return 0;
}

const struct listpack *quicklist_only_listpack(const struct quicklist *ql)
{
    if (ql->root == NULL || ql->root->level > 0 || ql->root->plain) {
        return NULL;
    }
    struct ql_path p;
    ql_path_edge(ql, QL_HEAD, &p);
    return ql_chunk_lp(p.chunk);
}
