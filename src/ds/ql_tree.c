/* ql_tree.c -- A copy-on-write B+ tree that finds the n-th element of a list.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         A linked list of chunks would have to be copied, chunk by chunk, to be frozen: some
 *             10 ms for a gigabyte. Here the root's reference count freezes everything below it.
 *             The same tree finds an index, inserts a chunk and cuts a range in a few steps.
 * THREADS     The reference count of a node says how many nodes and lists point to it. One: whoever
 *             came to it by owned nodes may change it. The load that reads 1 is an acquire and
 * pairs with the release that a former holder ended its reading with. BALANCE     All chunks are at
 * one depth. A full node splits (by halves; at the ends so that the old node stays full, as lists
 * grow there); a node that lost a child joins a neighbour below the same parent when both together
 * are at most half full. The same rule joins chunks. So a node is joined or split again only after
 * many changes. */
#include "ds/ql_tree.h"
#include "base/mem.h"

/* ---- Nodes ---- */

void ql_node_release(struct ql_node *n)
{
    if (atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (n->level > 0) {
        struct ql_inner *in = ql_inner_of(n);
        for (unsigned i = 0; i < n->n; i++) {
            __builtin_prefetch(in->child[i]);
        }
        for (unsigned i = 0; i < n->n; i++) {
            ql_node_release(in->child[i]);
        }
    }
    mem_free(n);
}

static struct ql_inner *inner_new(uint8_t level)
{
    struct ql_inner *in = mem_alloc(sizeof *in);
    atomic_init(&in->node.refs, 1);
    in->node.n = 0;
    in->node.level = level;
    in->node.plain = false;
    in->sum = (struct ql_sum){ 0, 0, sizeof *in };
    return in;
}

static struct ql_inner *inner_own(struct ql_inner *in)
{
    if (likely(ql_owned(&in->node))) {
        return in;
    }
    struct ql_inner *copy = inner_new(in->node.level);
    unsigned n = in->node.n;
    copy->node.n = in->node.n;
    copy->sum = in->sum;
    memcpy(copy->count, in->count, n * sizeof *in->count);
    for (unsigned i = 0; i < n; i++) {
        copy->child[i] = ql_node_ref(in->child[i]);
    }
    ql_node_release(&in->node);
    return copy;
}

static struct ql_chunk *chunk_own(struct ql_chunk *c)
{
    if (likely(ql_owned(&c->node)) || c->node.plain) {
        return c;
    }
    struct ql_chunk *copy = ql_chunk_copy(c);
    ql_node_release(&c->node);
    return copy;
}

static void sum_add(struct ql_sum *to, const struct ql_sum *s)
{
    to->count += s->count;
    to->chunks += s->chunks;
    to->bytes += s->bytes;
}

static void sum_sub(struct ql_sum *to, const struct ql_sum *s)
{
    to->count -= s->count;
    to->chunks -= s->chunks;
    to->bytes -= s->bytes;
}

/* The child at `slot` was worth `was` and has changed. */
static void inner_note(struct ql_inner *in, unsigned slot, const struct ql_sum *was)
{
    struct ql_sum now = ql_node_sum(in->child[slot]);
    sum_sub(&in->sum, was);
    sum_add(&in->sum, &now);
    in->count[slot] = now.count;
}

static void inner_put(struct ql_inner *in, unsigned slot, struct ql_node *child)
{
    unsigned tail = in->node.n - slot;
    memmove(in->child + slot + 1, in->child + slot, tail * sizeof *in->child);
    memmove(in->count + slot + 1, in->count + slot, tail * sizeof *in->count);
    struct ql_sum s = ql_node_sum(child);
    in->child[slot] = child;
    in->count[slot] = s.count;
    sum_add(&in->sum, &s);
    in->node.n++;
}

/* Forgets n children; their sums and references are the caller's. */
static void inner_close(struct ql_inner *in, unsigned slot, unsigned n)
{
    unsigned tail = in->node.n - slot - n;
    memmove(in->child + slot, in->child + slot + n, tail * sizeof *in->child);
    memmove(in->count + slot, in->count + slot + n, tail * sizeof *in->count);
    in->node.n = (uint16_t)(in->node.n - n);
}

static void inner_drop(struct ql_inner *in, unsigned slot)
{
    struct ql_node *child = in->child[slot];
    struct ql_sum s = ql_node_sum(child);
    sum_sub(&in->sum, &s);
    inner_close(in, slot, 1);
    ql_node_release(child);
}

/* Moves the children from `slot` on to the end of `to`. */
static void inner_move(struct ql_inner *from, unsigned slot, struct ql_inner *to)
{
    struct ql_sum moved = { 0, 0, 0 };
    unsigned n = from->node.n - slot;
    if (slot == 0) {
        moved = from->sum;
        moved.bytes -= sizeof *from;
    } else {
        for (unsigned i = slot; i < from->node.n; i++) {
            struct ql_sum s = ql_node_sum(from->child[i]);
            sum_add(&moved, &s);
        }
    }
    memcpy(to->child + to->node.n, from->child + slot, n * sizeof *to->child);
    memcpy(to->count + to->node.n, from->count + slot, n * sizeof *to->count);
    to->node.n = (uint16_t)(to->node.n + n);
    from->node.n = (uint16_t)slot;
    sum_add(&to->sum, &moved);
    sum_sub(&from->sum, &moved);
}

/* Puts the child in; when the node is full, half of it (or at an end all the rest) moves to a new
 * right neighbour, which is returned. */
static struct ql_inner *inner_put_or_split(struct ql_inner *in, unsigned slot,
                                           struct ql_node *child)
{
    unsigned n = in->node.n;
    if (n < QL_FANOUT) {
        inner_put(in, slot, child);
        return NULL;
    }
    unsigned keep = slot == n || slot == 0 ? slot : n / 2;
    struct ql_inner *right = inner_new(in->node.level);
    inner_move(in, keep, right);
    if (slot > keep || keep == n) {
        inner_put(right, slot - keep, child);
    } else {
        inner_put(in, slot, child);
    }
    return right;
}

/* ---- Paths ---- */

uint32_t ql_path_seek(const struct quicklist *ql, uint64_t index, struct ql_path *p)
{
    struct ql_node *n = ql->root;
    unsigned d = 0;
    while (n->level > 0) {
        struct ql_inner *in = ql_inner_of(n);
        unsigned slot = 0;
        while (index >= in->count[slot]) {
            index -= in->count[slot++];
        }
        p->inner[d] = in;
        p->slot[d++] = (uint8_t)slot;
        n = in->child[slot];
    }
    p->depth = d;
    p->chunk = ql_chunk_of(n);
    return (uint32_t)index;
}

bool ql_path_step(struct ql_path *p, bool forward)
{
    for (unsigned d = p->depth; d-- > 0;) {
        struct ql_inner *in = p->inner[d];
        if (forward ? p->slot[d] + 1u < in->node.n : p->slot[d] > 0) {
            p->slot[d] = (uint8_t)(p->slot[d] + (forward ? 1 : -1));
            ql_path_descend(p, d + 1, in->child[p->slot[d]], forward ? QL_HEAD : QL_TAIL);
            return true;
        }
    }
    return false;
}

void ql_path_own_nodes_slow(struct quicklist *ql, struct ql_path *p)
{
    struct ql_node **from = &ql->root;
    for (unsigned d = 0; d < p->depth; d++) {
        struct ql_inner *in = inner_own(p->inner[d]);
        p->inner[d] = in;
        *from = &in->node;
        from = &in->child[p->slot[d]];
    }
}

void ql_path_own_slow(struct quicklist *ql, struct ql_path *p)
{
    ql_path_own_nodes_slow(ql, p);
    ql_path_set_chunk(ql, p, chunk_own(p->chunk));
}

/* ---- Joining ---- */

static bool chunks_joinable(const struct ql_chunk *a, const struct ql_chunk *b,
                            const struct ql_limit *l)
{
    return !a->node.plain && !b->node.plain && a->node.n + b->node.n <= l->count / 2 &&
           ql_chunk_bytes(a) + ql_chunk_bytes(b) - LP_EMPTY <= l->bytes / 2;
}

/* Joins the children at slot and slot + 1, if there are two and they are small. */
static bool join_pair(struct ql_inner *in, unsigned slot, const struct ql_limit *l)
{
    if (slot + 1 >= in->node.n) {
        return false;
    }
    struct ql_node *a = in->child[slot], *b = in->child[slot + 1];
    struct ql_sum was = ql_node_sum(a);
    if (a->level == 0) {
        if (!chunks_joinable(ql_chunk_of(a), ql_chunk_of(b), l)) {
            return false;
        }
        struct ql_chunk *joined = ql_chunk_join(chunk_own(ql_chunk_of(a)), ql_chunk_of(b), l);
        in->child[slot] = &joined->node;
        inner_note(in, slot, &was);
        inner_drop(in, slot + 1);
        return true;
    }
    if (a->n + b->n > QL_FANOUT / 2) {
        return false;
    }
    struct ql_inner *left = inner_own(ql_inner_of(a)), *right = inner_own(ql_inner_of(b));
    struct ql_sum gone = right->sum;
    in->child[slot] = &left->node;
    inner_move(right, 0, left);
    inner_note(in, slot, &was);
    sum_sub(&in->sum, &gone);
    inner_close(in, slot + 1, 1);
    ql_node_release(&right->node);
    return true;
}

/* Joins the child at `slot`, which has become small or now stands where one was taken out, with its
 * neighbours. */
static bool join_around(struct ql_inner *in, unsigned slot, const struct ql_limit *l)
{
    bool right = join_pair(in, slot, l);
    return (slot > 0 && join_pair(in, slot - 1, l)) || right;
}

/* ---- Structure ---- */

/* A root with one child is replaced by it. That child may be shared (and be such a node itself). */
static void shorten(struct quicklist *ql)
{
    while (ql->root != NULL && ql->root->level > 0 && ql->root->n <= 1) {
        struct ql_node *old = ql->root;
        ql->root = old->n == 1 ? ql_node_ref(ql_inner_of(old)->child[0]) : NULL;
        ql_node_release(old);
    }
}

/* The node at depth d of the path was worth `was` and has changed: tells the nodes above, takes out
 * what became empty, joins what became small. */
static void climb(struct quicklist *ql, struct ql_path *p, unsigned d, struct ql_sum was)
{
    while (d-- > 0) {
        struct ql_inner *in = p->inner[d];
        struct ql_sum in_was = in->sum;
        inner_note(in, p->slot[d], &was);
        unsigned n = in->child[p->slot[d]]->n;
        if (n == 0) {
            inner_drop(in, p->slot[d]);
        }
        if (n <= QL_FANOUT / 4) {
            join_around(in, p->slot[d], &ql->limit);
        }
        was = in_was;
    }
    shorten(ql);
}

void ql_tree_insert(struct quicklist *ql, struct ql_path *p, struct ql_chunk *c, bool after)
{
    struct ql_node *extra = &c->node;
    ql_path_own_nodes(ql, p);
    struct ql_sum was = { 0 };
    for (unsigned d = p->depth; d-- > 0;) {
        struct ql_inner *in = p->inner[d];
        struct ql_sum in_was = in->sum;
        unsigned slot = p->slot[d];
        if (d + 1 < p->depth) {
            inner_note(in, slot, &was);
            after = true; /* what a split gave belongs right of the node that was split */
        }
        if (extra != NULL) {
            struct ql_inner *right = inner_put_or_split(in, slot + after, extra);
            extra = right != NULL ? &right->node : NULL;
        }
        was = in_was;
    }
    if (extra != NULL) {
        must(p->depth < QL_DEPTH_MAX);
        bool first = p->depth == 0 && !after;
        struct ql_inner *root = inner_new((uint8_t)(ql->root->level + 1));
        inner_put(root, 0, first ? extra : ql->root);
        inner_put(root, 1, first ? ql->root : extra);
        ql->root = &root->node;
    }
}

void ql_tree_remove(struct quicklist *ql, struct ql_path *p)
{
    ql_path_own_nodes(ql, p);
    if (p->depth == 0) {
        ql->root = NULL;
        ql_node_release(&p->chunk->node);
        return;
    }
    unsigned d = p->depth - 1;
    struct ql_inner *in = p->inner[d];
    struct ql_sum was = in->sum;
    inner_drop(in, p->slot[d]);
    join_around(in, p->slot[d], &ql->limit);
    climb(ql, p, d, was);
}

bool ql_tree_tidy(struct quicklist *ql, struct ql_path *p)
{
    if (p->depth == 0) {
        return false;
    }
    ql_path_own_nodes(ql, p);
    unsigned d = p->depth - 1;
    struct ql_sum was = p->inner[d]->sum;
    if (!join_around(p->inner[d], p->slot[d], &ql->limit)) {
        return false;
    }
    climb(ql, p, d, was);
    return true;
}

static struct ql_chunk *chunk_cut(struct ql_chunk *c, uint32_t from, uint32_t n)
{
    c = chunk_own(c);
    const struct listpack *lp = ql_chunk_lp(c);
    uint32_t at = lp_seek(lp, from);
    uint32_t end = from + n == c->node.n ? lp_end(lp) : lp_seek(lp, from + n);
    ql_chunk_delete(c, at, end - at, n);
    return ql_chunk_fit(c);
}

/* Takes n elements out of a subtree that has more than those; returns where its root is now. */
static struct ql_node *cut(struct ql_node *node, uint64_t from, uint64_t n,
                           const struct ql_limit *l)
{
    if (node->level == 0) {
        return &chunk_cut(ql_chunk_of(node), (uint32_t)from, (uint32_t)n)->node;
    }
    struct ql_inner *in = inner_own(ql_inner_of(node));
    unsigned i = 0, gone = 0;
    while (from >= in->count[i]) {
        from -= in->count[i++];
    }
    for (; n > 0; i++) {
        uint64_t here = u64_min(n, in->count[i] - from);
        struct ql_sum was = ql_node_sum(in->child[i]);
        if (here == in->count[i]) {
            sum_sub(&in->sum, &was);
            ql_node_release(in->child[i]);
            gone++;
        } else {
            /* The last of several goes to the front of the children that stay: close the gap now.
             */
            inner_close(in, i - gone, gone);
            i -= gone;
            gone = 0;
            in->child[i] = cut(in->child[i], from, here, l);
            inner_note(in, i, &was);
        }
        n -= here;
        from = 0;
    }
    inner_close(in, i - gone, gone);
    i -= gone; /* now just behind the cut; at most two children before it have become smaller */
    if (i > 0) {
        join_around(in, i - 1, l);
    }
    if (i > 1) {
        join_around(in, i - 2, l);
    }
    return &in->node;
}

void ql_tree_cut(struct quicklist *ql, uint64_t from, uint64_t n)
{
    if (n == 0) {
        return;
    }
    if (n == ql_node_sum(ql->root).count) {
        ql_node_release(ql->root);
        ql->root = NULL;
        return;
    }
    ql->root = cut(ql->root, from, n, &ql->limit);
    shorten(ql);
}

/* ---- Check ---- */

static const char *check_chunk(const struct ql_chunk *c, const struct ql_limit *l)
{
    size_t span;
    if (c->node.plain) {
        struct lp_value v = { (const char *)c->room, c->size, 0 };
        span = LP_EMPTY + lp_value_size(&v);
        return c->node.n == 1 && span > l->bytes ? NULL : "Q4 plain chunk";
    }
    if (c->start > c->cap || c->cap - c->start < LP_EMPTY) {
        return "Q3 start of listpack";
    }
    span = ql_chunk_bytes(c);
    if (span > c->cap - c->start || span > l->bytes) {
        return "Q3 size of listpack";
    }
    if (c->node.n == 0 || c->node.n > l->count || c->node.n != lp_count(ql_chunk_lp(c))) {
        return "Q3 elements of chunk";
    }
    return lp_valid(lp_slice(ql_chunk_lp(c))) ? NULL : "Q3 listpack";
}

static const char *check_node(struct ql_node *n, const struct ql_limit *l)
{
    if (atomic_load(&n->refs) == 0) {
        return "Q2 node without references";
    }
    if (n->level == 0) {
        return check_chunk(ql_chunk_of(n), l);
    }
    struct ql_inner *in = ql_inner_of(n);
    struct ql_sum sum = { 0, 0, sizeof *in };
    if (n->n == 0 || n->n > QL_FANOUT) {
        return "Q2 number of children";
    }
    for (unsigned i = 0; i < n->n; i++) {
        struct ql_sum s = ql_node_sum(in->child[i]);
        if (in->child[i]->level + 1 != n->level) {
            return "Q2 depth";
        }
        if (s.count != in->count[i]) {
            return "Q1 count of a child";
        }
        const char *broken = check_node(in->child[i], l);
        if (broken != NULL) {
            return broken;
        }
        sum_add(&sum, &s);
    }
    bool same =
        sum.count == in->sum.count && sum.chunks == in->sum.chunks && sum.bytes == in->sum.bytes;
    return same ? NULL : "Q1 sums";
}

const char *ql_tree_check(const struct quicklist *ql)
{
    if (ql->root == NULL) {
        return NULL;
    }
    if (ql->root->level > 0 && ql->root->n < 2) {
        return "Q2 root with one child";
    }
    return check_node(ql->root, &ql->limit);
}
