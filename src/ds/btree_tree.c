/* btree_tree.c -- The nodes above the pages of a btree: finding, splitting, joining, cutting.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         As for lists (ql_tree.c), the root's reference count freezes everything below it.
 * SEARCH      A node notes an order before each child (T4), not a key: keys are long, belong to
 *             clients and differ in their last bytes. Only where records of one order begin in or
 *             continue into a child does its first record decide, which takes a walk down to it.
 *             Hashes hardly ever come to that; sorted sets do where many members have one score.
 * BALANCE     A full node or page splits by halves; at the ends of the tree so that the old one
 *             stays full, as records come in sequence there. What lost something joins a neighbour
 *             below the same parent when both together are at most half full. */
#include "ds/btree_int.h"
#include "base/mem.h"

/* ---- Nodes ---- */

void btree_node_release(struct btree_node *n)
{
    if (atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (n->level == 0) {
        btree_page_drop(btree_page_of(n));
        return;
    }
    struct btree_inner *in = btree_inner_of(n);
    for (unsigned i = 0; i < n->n; i++) {
        __builtin_prefetch(in->child[i]);
    }
    for (unsigned i = 0; i < n->n; i++) {
        btree_node_release(in->child[i]);
    }
    mem_free(in);
}

static struct btree_inner *inner_new(uint8_t level)
{
    struct btree_inner *in = mem_alloc(sizeof *in);
    atomic_init(&in->node.refs, 1);
    in->node.n = 0;
    in->node.level = level;
    in->sum = (struct btree_sum){ 0, 0, sizeof *in };
    return in;
}

static struct btree_inner *inner_own(struct btree_inner *in)
{
    if (likely(btree_owned(&in->node))) {
        return in;
    }
    struct btree_inner *copy = inner_new(in->node.level);
    unsigned n = in->node.n;
    copy->node.n = in->node.n;
    copy->sum = in->sum;
    memcpy(copy->from, in->from, n * sizeof *in->from);
    memcpy(copy->count, in->count, n * sizeof *in->count);
    for (unsigned i = 0; i < n; i++) {
        copy->child[i] = btree_node_ref(in->child[i]);
    }
    btree_node_release(&in->node);
    return copy;
}

static struct btree_page *page_own(struct btree_page *p)
{
    if (likely(btree_owned(&p->node))) {
        return p;
    }
    struct btree_page *copy = btree_page_copy(p);
    btree_node_release(&p->node);
    return copy;
}

static void sum_add(struct btree_sum *to, const struct btree_sum *s)
{
    to->count += s->count;
    to->pages += s->pages;
    to->bytes += s->bytes;
}

static void sum_sub(struct btree_sum *to, const struct btree_sum *s)
{
    to->count -= s->count;
    to->pages -= s->pages;
    to->bytes -= s->bytes;
}

static const struct btree_page *first_page(const struct btree_node *n)
{
    while (n->level > 0) {
        n = btree_inner_of(n)->child[0];
    }
    return btree_page_of(n);
}

/* The child at `slot` was worth `was` and has changed. */
static void inner_note(struct btree_inner *in, unsigned slot, const struct btree_sum *was)
{
    struct btree_sum now = btree_node_sum(in->child[slot]);
    sum_sub(&in->sum, was);
    sum_add(&in->sum, &now);
    in->count[slot] = now.count;
}

static void inner_put(struct btree_inner *in, unsigned slot, struct btree_node *child)
{
    unsigned tail = in->node.n - slot;
    memmove(in->from + slot + 1, in->from + slot, tail * sizeof *in->from);
    memmove(in->child + slot + 1, in->child + slot, tail * sizeof *in->child);
    memmove(in->count + slot + 1, in->count + slot, tail * sizeof *in->count);
    struct btree_sum s = btree_node_sum(child);
    in->from[slot] = first_page(child)->order[0];
    in->child[slot] = child;
    in->count[slot] = s.count;
    sum_add(&in->sum, &s);
    in->node.n++;
    if (slot == 0 && tail > 0) { /* what was first had nothing before it, and so noted nothing */
        in->from[1] = first_page(in->child[1])->order[0];
    }
}

/* Forgets n children; their sums and references are the caller's. */
static void inner_close(struct btree_inner *in, unsigned slot, unsigned n)
{
    unsigned tail = in->node.n - slot - n;
    memmove(in->from + slot, in->from + slot + n, tail * sizeof *in->from);
    memmove(in->child + slot, in->child + slot + n, tail * sizeof *in->child);
    memmove(in->count + slot, in->count + slot + n, tail * sizeof *in->count);
    in->node.n = (uint16_t)(in->node.n - n);
}

static void inner_drop(struct btree_inner *in, unsigned slot)
{
    struct btree_node *child = in->child[slot];
    struct btree_sum s = btree_node_sum(child);
    sum_sub(&in->sum, &s);
    inner_close(in, slot, 1);
    btree_node_release(child);
}

/* Moves the children from `slot` on to the end of `to`. */
static void inner_move(struct btree_inner *from, unsigned slot, struct btree_inner *to)
{
    struct btree_sum moved = { 0, 0, 0 };
    unsigned n = from->node.n - slot, at = to->node.n;
    if (slot == 0) {
        moved = from->sum;
        moved.bytes -= sizeof *from;
    } else {
        for (unsigned i = slot; i < from->node.n; i++) {
            struct btree_sum s = btree_node_sum(from->child[i]);
            sum_add(&moved, &s);
        }
    }
    memcpy(to->from + at, from->from + slot, n * sizeof *to->from);
    memcpy(to->child + at, from->child + slot, n * sizeof *to->child);
    memcpy(to->count + at, from->count + slot, n * sizeof *to->count);
    if (slot == 0 && n > 0) {
        to->from[at] = first_page(to->child[at])->order[0];
    }
    to->node.n = (uint16_t)(at + n);
    from->node.n = (uint16_t)slot;
    sum_add(&to->sum, &moved);
    sum_sub(&from->sum, &moved);
}

/* Puts the child in; when the node is full, half of it (or at an end all the rest) moves to a new
 * right neighbour, which is returned. */
static struct btree_inner *inner_put_or_split(struct btree_inner *in, unsigned slot,
                                              struct btree_node *child)
{
    unsigned n = in->node.n;
    if (n < BTREE_FANOUT) {
        inner_put(in, slot, child);
        return NULL;
    }
    unsigned keep = slot == n || slot == 0 ? slot : n / 2;
    struct btree_inner *right = inner_new(in->node.level);
    inner_move(in, keep, right);
    if (slot > keep || keep == n) {
        inner_put(right, slot - keep, child);
    } else {
        inner_put(in, slot, child);
    }
    return right;
}

/* ---- Paths ---- */

/* Does (order, key) stand before everything below the node, whose first order may be `order`? */
static bool before_all(const struct btree_node *n, uint64_t order, struct slice key)
{
    return btree_page_compare(first_page(n), 0, order, key) > 0;
}

/* The child in which (order, key) is or belongs. */
static unsigned child_of(const struct btree_inner *in, uint64_t order, struct slice key)
{
    unsigned low = 0, n = in->node.n;
    while (n > 1) { /* from[low] is noted below `order`, or low is 0 */
        unsigned half = n / 2;
        low += in->from[low + half] < order ? half : 0;
        n -= half;
    }
    if (likely(low + 1 == in->node.n || in->from[low + 1] != order)) {
        return low;
    }
    unsigned high = low + 1; /* children behind `low` that this order is noted before */
    while (high + 1 < in->node.n && in->from[high + 1] == order) {
        high++;
    }
    while (low < high) {
        unsigned mid = (low + high + 1) / 2;
        if (before_all(in->child[mid], order, key)) {
            high = mid - 1;
        } else {
            low = mid;
        }
    }
    return low;
}

/* Where in a page of n records the order probably is, if it is as likely anywhere between the
 * orders that its neighbours note: true for hashes. What a search there looks at is fetched all at
 * once; one after the other, these misses would be most of the time of a lookup. */
static unsigned guess_and_fetch(const struct btree_page *p, uint64_t n, uint64_t order,
                                uint64_t low, uint64_t high)
{
    double share = order <= low ? 0 : (double)(order - low) / ((double)(high - low) + 1);
    unsigned guess = (unsigned)(share * (double)n);
    const char *orders = (const char *)(p->order + guess), *offs = (const char *)(p->order + n);
    __builtin_prefetch(p);
    __builtin_prefetch(orders);
    __builtin_prefetch(orders - 64);
    __builtin_prefetch(orders + 64);
    __builtin_prefetch(offs + guess * sizeof(uint16_t));
    return guess;
}

bool btree_path_find(const struct btree *t, uint64_t order, struct slice key, struct btree_path *p)
{
    const struct btree_node *n = t->root;
    uint64_t low = 0, high = UINT64_MAX;
    unsigned d = 0, guess = 0;
    while (n->level > 0) {
        struct btree_inner *in = btree_inner_of(n);
        unsigned slot = child_of(in, order, key);
        low = slot > 0 ? in->from[slot] : low;
        high = slot + 1u < in->node.n ? in->from[slot + 1] : high;
        p->inner[d] = in;
        p->slot[d++] = (uint8_t)slot;
        n = in->child[slot];
        if (in->node.level == 1) {
            guess = guess_and_fetch(btree_page_of(n), in->count[slot], order, low, high);
        }
    }
    p->depth = d;
    p->page = btree_page_of(n);
    return btree_page_search(p->page, order, key, guess, &p->at);
}

const struct btree_page *btree_page_guess(const struct btree *t, uint64_t order, unsigned *guess)
{
    const struct btree_node *n = t->root;
    uint64_t low = 0, high = UINT64_MAX;
    for (;;) {
        const struct btree_inner *in = btree_inner_of(n);
        unsigned slot = 0;
        for (unsigned left = in->node.n; left > 1;) {
            unsigned half = left / 2;
            slot += in->from[slot + half] <= order ? half : 0;
            left -= half;
        }
        low = slot > 0 ? in->from[slot] : low;
        high = slot + 1u < in->node.n ? in->from[slot + 1] : high;
        n = in->child[slot];
        if (in->node.level == 1) {
            *guess = guess_and_fetch(btree_page_of(n), in->count[slot], order, low, high);
            return btree_page_of(n);
        }
    }
}

void btree_ahead(const struct btree *t, const uint64_t *order, unsigned n)
{
    const struct btree_page *page[BTREE_AHEAD];
    unsigned guess[BTREE_AHEAD];
    must(n <= BTREE_AHEAD);
    if (t->root == NULL || t->root->level == 0) {
        return; /* one page: the first that looks has it for all */
    }
    for (unsigned i = 0; i < n; i++) {
        page[i] = btree_page_guess(t, order[i], &guess[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        (void)btree_page_ahead(page[i], order[i], guess[i]);
    }
}

/* The child that has the record at *rank, which becomes its rank there. */
static unsigned child_at(const struct btree_inner *in, uint64_t *rank)
{
    unsigned slot = 0, n = in->node.n;
    uint64_t left = *rank;
    for (; slot + 8 <= n; slot += 8) { /* one branch for eight counts, which nobody can predict */
        const uint64_t *at = in->count + slot;
        uint64_t below = at[0] + at[1] + at[2] + at[3] + at[4] + at[5] + at[6] + at[7];
        if (left < below) {
            break;
        }
        left -= below;
    }
    while (left >= in->count[slot]) {
        left -= in->count[slot++];
    }
    *rank = left;
    return slot;
}

void btree_path_rank(const struct btree *t, uint64_t rank, struct btree_path *p)
{
    const struct btree_node *n = t->root;
    unsigned d = 0;
    while (n->level > 0) {
        struct btree_inner *in = btree_inner_of(n);
        unsigned slot = child_at(in, &rank);
        p->inner[d] = in;
        p->slot[d++] = (uint8_t)slot;
        n = in->child[slot];
    }
    p->depth = d;
    p->page = btree_page_of(n);
    p->at = (unsigned)rank;
}

bool btree_path_step(struct btree_path *p, bool forward)
{
    for (unsigned d = p->depth; d-- > 0;) {
        struct btree_inner *in = p->inner[d];
        if (forward ? p->slot[d] + 1u >= in->node.n : p->slot[d] == 0) {
            continue;
        }
        p->slot[d] = (uint8_t)(p->slot[d] + (forward ? 1 : -1));
        struct btree_node *n = in->child[p->slot[d]];
        for (d++; n->level > 0; d++) {
            in = btree_inner_of(n);
            p->inner[d] = in;
            p->slot[d] = (uint8_t)(forward ? 0 : in->node.n - 1);
            n = in->child[p->slot[d]];
        }
        p->page = btree_page_of(n);
        p->at = forward ? 0 : n->n - 1u;
        return true;
    }
    return false;
}

bool btree_path_at_edge(const struct btree_path *p, bool last)
{
    for (unsigned d = 0; d < p->depth; d++) {
        if (p->slot[d] != (last ? p->inner[d]->node.n - 1u : 0)) {
            return false;
        }
    }
    return true;
}

void btree_path_own_nodes(struct btree *t, struct btree_path *p)
{
    struct btree_node **from = &t->root;
    for (unsigned d = 0; d < p->depth; d++) {
        struct btree_inner *in = inner_own(p->inner[d]);
        p->inner[d] = in;
        *from = &in->node;
        from = &in->child[p->slot[d]];
    }
}

static void path_set_page(struct btree *t, struct btree_path *p, struct btree_page *page)
{
    p->page = page;
    if (p->depth == 0) {
        t->root = &page->node;
    } else {
        p->inner[p->depth - 1]->child[p->slot[p->depth - 1]] = &page->node;
    }
}

void btree_path_own(struct btree *t, struct btree_path *p)
{
    btree_path_own_nodes(t, p);
    if (unlikely(!btree_owned(&p->page->node))) {
        struct btree_sum was = btree_node_sum(&p->page->node);
        btree_path_changed(t, p, page_own(p->page), &was);
    }
}

void btree_path_changed(struct btree *t, struct btree_path *p, struct btree_page *now,
                        const struct btree_sum *was)
{
    struct btree_sum change = btree_node_sum(&now->node);
    sum_sub(&change, was); /* modulo 2^64 */
    path_set_page(t, p, now);
    for (unsigned d = p->depth; d-- > 0;) {
        p->inner[d]->count[p->slot[d]] += change.count;
        sum_add(&p->inner[d]->sum, &change);
    }
}

/* ---- Joining ---- */

static struct btree_node *pages_joined(struct btree_node *a, struct btree_node *b)
{
    struct btree_page *left = btree_page_of(a), *right = btree_page_of(b);
    if (btree_page_live(left) + btree_page_live(right) > BTREE_ROOM_MAX / 2) {
        return NULL;
    }
    struct btree_page *joined = btree_page_join(left, right);
    btree_node_release(a);
    return &joined->node;
}

/* Joins the children at slot and slot + 1, if there are two and they are small. */
static bool join_pair(struct btree_inner *in, unsigned slot)
{
    if (slot + 1 >= in->node.n) {
        return false;
    }
    struct btree_node *a = in->child[slot], *b = in->child[slot + 1];
    struct btree_sum was = btree_node_sum(a);
    if (a->level == 0) {
        struct btree_node *joined = pages_joined(a, b);
        if (joined == NULL) {
            return false;
        }
        in->child[slot] = joined;
        inner_note(in, slot, &was);
        inner_drop(in, slot + 1);
        return true;
    }
    if (a->n + b->n > BTREE_FANOUT / 2) {
        return false;
    }
    struct btree_inner *left = inner_own(btree_inner_of(a)), *right = inner_own(btree_inner_of(b));
    struct btree_sum gone = right->sum;
    in->child[slot] = &left->node;
    inner_move(right, 0, left);
    inner_note(in, slot, &was);
    sum_sub(&in->sum, &gone);
    inner_close(in, slot + 1, 1);
    btree_node_release(&right->node);
    return true;
}

/* Joins the child at `slot`, which has become small or now stands where one was taken out, with its
 * neighbours. */
static bool join_around(struct btree_inner *in, unsigned slot)
{
    bool right = join_pair(in, slot);
    return (slot > 0 && join_pair(in, slot - 1)) || right;
}

/* ---- Structure ---- */

/* A root with one child is replaced by it. That child may be shared (and be such a node itself). */
static void shorten(struct btree *t)
{
    while (t->root != NULL && t->root->level > 0 && t->root->n <= 1) {
        struct btree_node *old = t->root;
        t->root = old->n == 1 ? btree_node_ref(btree_inner_of(old)->child[0]) : NULL;
        btree_node_release(old);
    }
}

/* The node at depth d of the path was worth `was` and has changed: tells the nodes above, takes out
 * what became empty, joins what became small. */
static void climb(struct btree *t, struct btree_path *p, unsigned d, struct btree_sum was)
{
    while (d-- > 0) {
        struct btree_inner *in = p->inner[d];
        struct btree_sum in_was = in->sum;
        inner_note(in, p->slot[d], &was);
        unsigned n = in->child[p->slot[d]]->n;
        if (n == 0) {
            inner_drop(in, p->slot[d]);
        }
        if (n <= BTREE_FANOUT / 4) {
            join_around(in, p->slot[d]);
        }
        was = in_was;
    }
    shorten(t);
}

void btree_tree_insert(struct btree *t, struct btree_path *p, struct btree_page *page, bool after)
{
    struct btree_node *extra = &page->node;
    bool first = p->depth == 0 && !after;
    btree_path_own_nodes(t, p);
    struct btree_sum was = { 0 };
    for (unsigned d = p->depth; d-- > 0;) {
        struct btree_inner *in = p->inner[d];
        struct btree_sum in_was = in->sum;
        unsigned slot = p->slot[d];
        if (d + 1 < p->depth) {
            inner_note(in, slot, &was);
            after = true; /* what a split gave belongs right of the node that was split */
        }
        if (extra != NULL) {
            struct btree_inner *right = inner_put_or_split(in, slot + after, extra);
            extra = right != NULL ? &right->node : NULL;
        }
        was = in_was;
    }
    if (extra != NULL) {
        must(p->depth < BTREE_DEPTH_MAX);
        struct btree_inner *root = inner_new((uint8_t)(t->root->level + 1));
        inner_put(root, 0, first ? extra : t->root);
        inner_put(root, 1, first ? t->root : extra);
        t->root = &root->node;
    }
}

void btree_tree_remove(struct btree *t, struct btree_path *p)
{
    btree_path_own_nodes(t, p);
    if (p->depth == 0) {
        t->root = NULL;
        btree_node_release(&p->page->node);
        return;
    }
    unsigned d = p->depth - 1;
    struct btree_inner *in = p->inner[d];
    struct btree_sum was = in->sum;
    inner_drop(in, p->slot[d]);
    join_around(in, p->slot[d]);
    climb(t, p, d, was);
}

void btree_tree_tidy(struct btree *t, struct btree_path *p)
{
    if (p->depth == 0) {
        return;
    }
    btree_path_own_nodes(t, p);
    unsigned d = p->depth - 1;
    struct btree_sum was = p->inner[d]->sum;
    if (join_around(p->inner[d], p->slot[d])) {
        climb(t, p, d, was);
    }
}

/* Takes n records out of a subtree that has more than those; returns where its root is now. */
static struct btree_node *cut(struct btree_node *node, uint64_t from, uint64_t n)
{
    if (node->level == 0) {
        struct btree_page *p = page_own(btree_page_of(node));
        btree_page_delete(p, (unsigned)from, (unsigned)n);
        return &btree_page_fit(p)->node;
    }
    struct btree_inner *in = inner_own(btree_inner_of(node));
    unsigned i = 0, gone = 0;
    while (from >= in->count[i]) {
        from -= in->count[i++];
    }
    for (; n > 0; i++) {
        uint64_t here = u64_min(n, in->count[i] - from);
        struct btree_sum was = btree_node_sum(in->child[i]);
        if (here == in->count[i]) {
            sum_sub(&in->sum, &was);
            btree_node_release(in->child[i]);
            gone++;
        } else {
            /* The last of several goes to the front of the children that stay: close the gap now.
             */
            inner_close(in, i - gone, gone);
            i -= gone;
            gone = 0;
            in->child[i] = cut(in->child[i], from, here);
            inner_note(in, i, &was);
        }
        n -= here;
        from = 0;
    }
    inner_close(in, i - gone, gone);
    i -= gone; /* now just behind the cut; at most two children before it have become smaller */
    if (i > 0) {
        join_around(in, i - 1);
    }
    if (i > 1) {
        join_around(in, i - 2);
    }
    return &in->node;
}

void btree_tree_cut(struct btree *t, uint64_t from, uint64_t n)
{
    if (n == 0) {
        return;
    }
    if (n == btree_node_sum(t->root).count) {
        btree_node_release(t->root);
        t->root = NULL;
        return;
    }
    t->root = cut(t->root, from, n);
    shorten(t);
}

/* ---- Check ---- */

struct check_state {
    struct btree_item last; /* record before the one that is looked at */
    bool any;
};

static const char *check_page(const struct btree_page *p, struct check_state *s)
{
    const char *broken = btree_page_check(p);
    for (unsigned i = 0; broken == NULL && i < p->node.n; i++) {
        if (s->any && btree_page_compare(p, i, s->last.order, s->last.key) <= 0) {
            return "T3 sequence";
        }
        btree_page_get(p, i, &s->last);
        s->any = true;
    }
    return broken;
}

static const char *check_node(const struct btree_node *n, struct check_state *s)
{
    if (atomic_load(&n->refs) == 0) {
        return "T2 node without references";
    }
    if (n->level == 0) {
        return check_page(btree_page_of(n), s);
    }
    const struct btree_inner *in = btree_inner_of(n);
    struct btree_sum sum = { 0, 0, sizeof *in };
    if (n->n == 0 || n->n > BTREE_FANOUT) {
        return "T2 number of children";
    }
    for (unsigned i = 0; i < n->n; i++) {
        struct btree_sum child = btree_node_sum(in->child[i]);
        if (in->child[i]->level + 1 != n->level) {
            return "T2 depth";
        }
        if (child.count != in->count[i]) {
            return "T1 count of a child";
        }
        if (i > 0 && s->last.order > in->from[i]) {
            return "T4 order on the left";
        }
        if (i > 0 && first_page(in->child[i])->order[0] < in->from[i]) {
            return "T4 order on the right";
        }
        const char *broken = check_node(in->child[i], s);
        if (broken != NULL) {
            return broken;
        }
        sum_add(&sum, &child);
    }
    bool same =
        sum.count == in->sum.count && sum.pages == in->sum.pages && sum.bytes == in->sum.bytes;
    return same ? NULL : "T1 sums";
}

const char *btree_tree_check(const struct btree *t)
{
    struct check_state s = { .any = false };
    if (t->root == NULL) {
        return NULL;
    }
    if (t->root->level > 0 && t->root->n < 2) {
        return "T2 root with one child";
    }
    return check_node(t->root, &s);
}
