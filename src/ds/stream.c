/* stream.c -- Streams: appending, deleting, trimming, walking.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The tail is a node with room to grow. When it is full its listpack is copied into the tree, of
 * exact size, and the block begins the next node: so an append touches nothing but the tail, and
 * the nodes before it waste no memory. */
#include "ds/stream_int.h"
#include "base/fault.h"
#include "base/mem.h"
#include <errno.h>

/* What a node in the tree takes beside its listpack: counted as part of it, so that one of 4096
 * bytes needs no allocation of 5120. */
#define NODE_OVERHEAD 32
#define NODE_MAX      LP_BYTES_MAX
#define NODE_NUMBERS  16    /* what its first two numbers take at most, more than in a file */
#define LOAD_GROWTH   16    /* a loaded node and an entry need less than so often its bytes here */
#define TRY_BYTES     65536 /* larger ones follow from what a client sent */

/* ---- IDs ---- */

bool stream_id_next(struct stream_id *id)
{
    if (id->seq < UINT64_MAX) {
        id->seq++;
    } else if (id->ms < UINT64_MAX) {
        *id = (struct stream_id){ id->ms + 1, 0 };
    } else {
        return false;
    }
    return true;
}

bool stream_id_prev(struct stream_id *id)
{
    if (id->seq > 0) {
        id->seq--;
    } else if (id->ms > 0) {
        *id = (struct stream_id){ id->ms - 1, UINT64_MAX };
    } else {
        return false;
    }
    return true;
}

size_t stream_id_format(char text[STREAM_ID_TEXT_MAX], struct stream_id id)
{
    size_t n = format_u64(text, id.ms);
    text[n++] = '-';
    return n + format_u64(text + n, id.seq);
}

/* ---- The tail ---- */

static const struct listpack *tail_lp(const struct stream_tail *t)
{
    return (const struct listpack *)t->lp;
}

static struct stream_tail *tail_new(size_t room)
{
    size_t size = mem_good_size(sizeof(struct stream_tail) + room);
    if (size > UINT32_MAX) {
        return NULL;
    }
    struct stream_tail *t = size > TRY_BYTES ? mem_try_alloc(size) : mem_alloc(size);
    if (t != NULL) {
        atomic_init(&t->refs, 1);
        t->room = (uint32_t)(size - sizeof *t);
    }
    return t;
}

static bool tail_owned(struct stream_tail *t)
{
    return atomic_load_explicit(&t->refs, memory_order_acquire) == 1;
}

static void tail_release(struct stream_tail *t)
{
    if (t != NULL && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(t);
    }
}

/* The stream's own tail with that room; false: no memory. */
static bool tail_own(struct stream *s, size_t room)
{
    struct stream_tail *t = s->tail;
    if (likely(room <= t->room && tail_owned(t))) {
        return true;
    }
    struct stream_tail *own = tail_new(size_max(room, lp_bytes(tail_lp(t))));
    if (own == NULL) {
        return false;
    }
    own->id = t->id;
    own->elements = t->elements;
    memcpy(own->lp, t->lp, lp_bytes(tail_lp(t)));
    tail_release(t);
    s->tail = own;
    return true;
}

static void tail_drop(struct stream *s)
{
    tail_release(s->tail);
    s->tail = NULL;
}

/* ---- Nodes in the tree ---- */

static uint64_t tree_count(const struct stream *s)
{
    return s->nodes != NULL ? btree_count(s->nodes) : 0;
}

static struct slice seq_key(struct stream_key *k, uint64_t seq)
{
    stream_key_put(k->bytes, seq);
    return slice_of(k->bytes, sizeof seq);
}

static struct stream_node node_of(const struct btree_item *item)
{
    return (struct stream_node){ (const struct listpack *)item->value.p,
                                 { item->order, stream_key_get(item->key.p) } };
}

bool stream_node_at(const struct stream *s, uint64_t index, struct stream_node *out)
{
    struct btree_item item;
    uint64_t n = tree_count(s);
    if (index < n) {
        must(btree_at(s->nodes, index, &item));
        *out = node_of(&item);
        return true;
    }
    if (index == n && s->tail != NULL) {
        *out = (struct stream_node){ tail_lp(s->tail), s->tail->id };
        return true;
    }
    return false;
}

/* Index of the node that has id if any has; false: it is before all of them. */
static bool node_index(const struct stream *s, struct stream_id id, uint64_t *index)
{
    struct stream_key k;
    *index = tree_count(s);
    if (s->tail != NULL && stream_id_cmp(id, s->tail->id) >= 0) {
        return true;
    }
    if (*index == 0) {
        return false;
    }
    if (stream_id_next(&id)) {
        *index = btree_rank(s->nodes, id.ms, seq_key(&k, id.seq));
    }
    return (*index)-- > 0;
}

static void node_remove(struct stream *s, uint64_t index)
{
    if (index < tree_count(s)) {
        must(btree_remove_at(s->nodes, index));
    } else {
        tail_drop(s);
    }
}

/* The bytes of a node, to be changed in place. NULL: no memory. */
static char *node_edit(struct stream *s, uint64_t index)
{
    struct stream_node n;
    struct stream_key k;
    char *bytes;
    must(stream_node_at(s, index, &n));
    if (index == tree_count(s)) {
        return tail_own(s, 0) ? (char *)s->tail->lp : NULL;
    }
    int rc = btree_edit(s->nodes, n.id.ms, seq_key(&k, n.id.seq), &bytes);
    must(rc != 0);
    return rc > 0 ? bytes : NULL;
}

/* ---- Life ---- */

struct stream *stream_new(void)
{
    return mem_calloc(sizeof(struct stream));
}

void stream_free(struct stream *s)
{
    if (s != NULL) {
        btree_free(s->nodes);
        tail_release(s->tail);
        stream_groups_free(s->groups);
        mem_free(s);
    }
}

struct stream *stream_dup(const struct stream *s)
{
    struct stream *copy = stream_new();
    copy->state = s->state;
    copy->nodes = s->nodes != NULL ? btree_dup(s->nodes) : NULL;
    copy->tail = s->tail;
    if (s->tail != NULL) {
        atomic_fetch_add_explicit(&s->tail->refs, 1, memory_order_relaxed);
    }
    copy->groups = s->groups != NULL ? stream_groups_dup(s->groups) : NULL;
    return copy;
}

size_t stream_bytes(const struct stream *s)
{
    return sizeof *s + (s->nodes != NULL ? btree_bytes(s->nodes) : 0) +
           (s->tail != NULL ? sizeof *s->tail + s->tail->room : 0) +
           (s->groups != NULL ? stream_groups_bytes(s->groups) : 0);
}

uint64_t stream_nodes(const struct stream *s)
{
    return tree_count(s) + (s->tail != NULL);
}

uint64_t stream_effort(const struct stream *s)
{
    return 2 + (s->nodes != NULL ? btree_pages(s->nodes) : 0) +
           (s->groups != NULL ? stream_groups_effort(s->groups) : 0);
}

const struct stream_state *stream_state(const struct stream *s)
{
    return &s->state;
}

uint64_t stream_counted(uint64_t n)
{
    bool runs_over =
        fault("ds.stream_counted") != 0; /* so that a log has what older ones may have */
    return n < INT64_MAX || runs_over ? n + 1 : n;
}

void stream_set_state(struct stream *s, struct stream_id last, uint64_t added,
                      struct stream_id max_deleted)
{
    s->state.last = last;
    s->state.added = added;
    s->state.max_deleted = max_deleted;
}

bool stream_edge(const struct stream *s, bool first, struct stream_id *id)
{
    struct stream_iter it;
    struct stream_entry e;
    stream_iter(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, first);
    if (!stream_next(&it, &e)) {
        return false;
    }
    *id = e.id;
    return true;
}

/* ---- Appending ---- */

static bool tail_is_full(const struct stream_tail *t, size_t payload, size_t room,
                         const struct stream_limits *limits)
{
    const struct listpack *lp = tail_lp(t);
    uint64_t n = (uint64_t)node_count(lp) + node_deleted(lp);
    return (limits->bytes > 0 && lp_bytes(lp) + payload + NODE_OVERHEAD >= limits->bytes) ||
           (limits->entries > 0 && n >= limits->entries) || lp_bytes(lp) + room > NODE_MAX;
}

/* The tail's node goes into the tree. */
static int tail_seal(struct stream *s)
{
    struct stream_key k;
    struct stream_id id = s->tail->id;
    if (s->nodes == NULL) {
        s->nodes = btree_new();
    }
    return btree_put(s->nodes, id.ms, seq_key(&k, id.seq), lp_slice(tail_lp(s->tail)),
                     BTREE_NO_DUE);
}

/* A tail for a node that begins; what there was goes into the tree. */
static int tail_renew(struct stream *s, size_t room, const struct stream_limits *limits)
{
    struct stream_tail *was = s->tail, *t = was;
    bool fits = was != NULL && room <= was->room && tail_owned(was) &&
                was->room <= 2 * (limits->bytes + room);
    if (!fits && (t = tail_new(room)) == NULL) {
        return -ENOMEM;
    }
    int rc = was != NULL ? tail_seal(s) : 0;
    if (rc < 0) {
        if (t != was) {
            tail_release(t);
        }
        return rc;
    }
    if (t != was) {
        tail_release(was);
    }
    s->tail = t;
    return 0;
}

static bool tail_grow(struct stream *s, size_t room, const struct stream_limits *limits)
{
    size_t used = lp_bytes(tail_lp(s->tail)), need = used + room;
    if (need > s->tail->room && need < limits->bytes) { /* the rest of the node will come, too */
        need = size_max(need, size_min(2 * used, limits->bytes));
    } else if (need > s->tail->room && used < TRY_BYTES) {
        need += used / 2;
    }
    return tail_own(s, need);
}

int stream_append(struct stream *s, struct stream_id id, const struct slice *texts, uint32_t pairs,
                  const struct stream_limits *limits)
{
    size_t payload = 0, room = node_room(texts, pairs, false);
    must(stream_id_cmp(id, s->state.last) > 0);
    for (uint32_t i = 0; i < 2 * pairs; i++) {
        payload += texts[i].n;
    }
    if (payload > STREAM_ENTRY_BYTES_MAX) {
        return -ENOMEM;
    }
    if (s->tail == NULL || tail_is_full(s->tail, payload, room, limits)) {
        int rc = tail_renew(s, node_room(texts, pairs, true), limits);
        if (rc != 0) {
            return rc;
        }
        node_begin(s->tail, id, texts, pairs);
    } else {
        if (!tail_grow(s, room, limits)) {
            return -ENOMEM;
        }
        node_append(s->tail, id, texts, pairs);
    }
    s->state.length++;
    s->state.added = stream_counted(s->state.added);
    s->state.last = id;
    return 0;
}

/* ---- Deleting ---- */

int stream_delete(struct stream *s, struct stream_id id)
{
    struct stream_node n;
    uint64_t index;
    if (!node_index(s, id, &index) || !stream_node_at(s, index, &n)) {
        return 0;
    }
    uint32_t at = node_find(&n, id);
    if (at == LP_NONE) {
        return 0;
    }
    if (node_count(n.lp) == 1) {
        node_remove(s, index);
    } else {
        char *lp = node_edit(s, index);
        if (lp == NULL) {
            return -ENOMEM;
        }
        node_mark_deleted(lp, at);
    }
    s->state.length--;
    if (stream_id_cmp(id, s->state.max_deleted) > 0) {
        s->state.max_deleted = id;
    }
    return 1;
}

/* ---- Trimming ---- */

/* Nothing more has to go, or nothing more may, when `gone` entries went and this node is next. */
static bool trim_ends(const struct stream *s, const struct stream_trim *t,
                      const struct stream_node *n, uint64_t gone)
{
    return (!t->by_id && s->state.length - gone <= t->length) ||
           (t->limit > 0 && gone + node_count(n->lp) > t->limit);
}

static bool trim_takes(const struct stream *s, const struct stream_trim *t,
                       const struct stream_node *n, uint64_t gone)
{
    if (t->by_id) {
        return stream_id_cmp(node_last_id(n), t->min_id) < 0;
    }
    return s->state.length - gone - node_count(n->lp) >= t->length;
}

/* Some of the first node's entries. */
static uint64_t trim_within(struct stream *s, const struct stream_trim *t)
{
    struct stream_node n;
    struct node_entry e;
    char *lp = node_edit(s, 0);
    if (lp == NULL) {
        return 0;
    }
    must(stream_node_at(s, 0, &n));
    uint64_t gone = 0;
    uint32_t fields, names, at = node_first(&n, &fields, &names), end = lp_end(n.lp);
    while (at != end && (t->by_id || s->state.length - gone > t->length)) {
        node_read(&n, at, fields, &e);
        if (t->by_id && stream_id_cmp(e.id, t->min_id) >= 0) {
            break;
        }
        if (!e.deleted) {
            node_mark_deleted(lp, at);
            gone++;
        }
        at = node_skip(n.lp, e.text, e.same ? fields : 2 * e.pairs);
    }
    if (node_count(n.lp) == 0) { /* what remained were marks */
        node_remove(s, 0);
    }
    return gone;
}

uint64_t stream_trim(struct stream *s, const struct stream_trim *t, struct stream **old)
{
    struct stream_node n;
    uint64_t gone = 0, index = 0, in_tree = tree_count(s);
    bool ends = true;
    struct btree_iter it;
    struct btree_item item;
    if (in_tree > 0) {
        btree_iter(&it, s->nodes, 0, true);
    }
    for (; index <= in_tree; index++) {
        if (index < in_tree) {
            must(btree_next(&it, &item));
            n = node_of(&item);
        } else if (!stream_node_at(s, index, &n)) {
            break;
        }
        ends = trim_ends(s, t, &n, gone);
        if (ends || !trim_takes(s, t, &n, gone)) {
            break;
        }
        ends = true;
        gone += node_count(n.lp);
    }
    if (old != NULL) {
        *old = index > STREAM_MUCH ? stream_dup(s) : NULL;
    }
    if (index > 0 && in_tree > 0) {
        btree_remove_range(s->nodes, 0, u64_min(index, in_tree));
    }
    if (index > in_tree) {
        tail_drop(s);
    }
    s->state.length -= gone;
    if (!ends && !t->whole_nodes) {
        uint64_t more = trim_within(s, t);
        s->state.length -= more;
        gone += more;
    }
    return gone;
}

/* ---- Walking ---- */

/* The node becomes the current one; false: there is none. */
static bool iter_node(struct stream_iter *it, bool tail)
{
    struct btree_item item;
    it->at = LP_NONE;
    if (tail) {
        it->tail_next = false;
        if (it->s->tail == NULL) {
            return false;
        }
        it->node = (struct stream_node){ tail_lp(it->s->tail), it->s->tail->id };
    } else if (it->s->nodes != NULL && btree_next(&it->nodes, &item)) {
        it->node = node_of(&item);
    } else {
        return false;
    }
    it->base = node_first(&it->node, &it->fields, &it->names);
    it->at = it->forward ? it->base : lp_end(it->node.lp);
    return true;
}

/* Forward the nodes of the tree come first, then the tail; backward the reverse. */
static bool iter_step(struct stream_iter *it)
{
    if (!it->forward && it->tail_next) {
        if (iter_node(it, true)) {
            return true;
        }
    }
    return iter_node(it, false) || (it->forward && it->tail_next && iter_node(it, true));
}

void stream_iter(struct stream_iter *it, const struct stream *s, struct stream_id first,
                 struct stream_id last, bool forward)
{
    uint64_t index, in_tree = tree_count(s);
    it->s = s;
    it->first = first;
    it->last = last;
    it->forward = forward;
    it->text = it->at = LP_NONE;
    it->left = it->fields = 0;
    bool before = !node_index(s, forward ? first : last, &index);
    it->tail_next = forward || (!before && index == in_tree);
    if (before) {
        index = forward ? 0 : UINT64_MAX;
    } else if (!forward && index == in_tree && in_tree > 0) {
        index--;
    }
    if (s->nodes != NULL) {
        btree_iter(&it->nodes, s->nodes, index, forward);
    }
    (void)iter_step(it);
}

/* The entry beside the boundary, and the boundary behind it; false: the node has no more. */
static bool iter_entry(struct stream_iter *it, struct node_entry *e)
{
    const struct listpack *lp = it->node.lp;
    if (it->forward) {
        if (it->text != LP_NONE) {
            it->at = node_skip(lp, it->text, it->left);
        }
        if (it->at == lp_end(lp)) {
            return false;
        }
        it->entry = it->at;
    } else {
        if (it->at == it->base) {
            return false;
        }
        it->at = it->entry = node_back(lp, it->at);
    }
    node_read(&it->node, it->entry, it->fields, e);
    it->text = e->text;
    it->left = e->same ? e->pairs : 2 * e->pairs;
    it->field = e->same ? it->names : LP_NONE;
    return true;
}

bool stream_next(struct stream_iter *it, struct stream_entry *out)
{
    struct node_entry e;
    while (it->at != LP_NONE) {
        if (!iter_entry(it, &e)) {
            it->text = LP_NONE;
            it->left = 0;
            (void)iter_step(it);
            continue;
        }
        if (stream_id_cmp(e.id, it->forward ? it->last : it->first) * (it->forward ? 1 : -1) > 0) {
            it->at = LP_NONE;
            break;
        }
        if (!e.deleted &&
            stream_id_cmp(e.id, it->forward ? it->first : it->last) * (it->forward ? 1 : -1) >= 0) {
            *out = (struct stream_entry){ e.id, e.pairs };
            return true;
        }
    }
    it->left = 0;
    return false;
}

static struct slice iter_text(const struct stream_iter *it, uint32_t *at, char digits[I64_TEXT_MAX])
{
    struct lp_value v = lp_get(it->node.lp, *at);
    *at += lp_span(it->node.lp, *at);
    return lp_text(&v, digits);
}

bool stream_next_pair(struct stream_iter *it, struct stream_pair *out)
{
    if (it->left == 0) {
        return false;
    }
    if (it->field != LP_NONE) {
        out->field = iter_text(it, &it->field, out->digits[0]);
        it->left--;
    } else {
        out->field = iter_text(it, &it->text, out->digits[0]);
        it->left -= 2;
    }
    out->value = iter_text(it, &it->text, out->digits[1]);
    return true;
}

bool stream_has(const struct stream *s, struct stream_id id)
{
    struct stream_node n;
    uint64_t index;
    return node_index(s, id, &index) && stream_node_at(s, index, &n) &&
           node_find(&n, id) != LP_NONE;
}

/* ---- Loading ---- */

/* The entries of a loaded node share its field names here, too: were each to have its own, a small
 * file could take any memory. */
static int load_begin(struct stream *s, const struct stream_node *n, struct stream_id id,
                      const struct stream_limits *limits)
{
    int rc = tail_renew(s, lp_bytes(n->lp) + NODE_NUMBERS, limits);
    if (rc == 0) {
        node_begin_like(s->tail, id, n);
    }
    return rc;
}

/* One entry of a valid node, from a file; the first one begins a node. */
static int load_entry(struct stream *s, const struct stream_node *n, const struct node_entry *e,
                      uint32_t field, bool first, const struct stream_limits *limits)
{
    if (e->pairs == 0 || stream_id_cmp(e->id, s->state.last) <= 0) {
        return -EINVAL;
    }
    struct slice *texts = mem_try_alloc((size_t)e->pairs * 2 * sizeof *texts);
    char(*digits)[I64_TEXT_MAX] = mem_try_alloc((size_t)e->pairs * 2 * sizeof *digits);
    int rc = -ENOMEM;
    if (texts != NULL && digits != NULL) {
        uint32_t at = e->text;
        for (uint32_t i = 0; i < 2 * e->pairs; i++) {
            uint32_t *from = e->same && i % 2 == 0 ? &field : &at;
            struct lp_value v = lp_get(n->lp, *from);
            texts[i] = lp_text(&v, digits[i]);
            *from += lp_span(n->lp, *from);
        }
        rc = first ? load_begin(s, n, e->id, limits) : 0;
        if (rc == 0 && (rc = stream_append(s, e->id, texts, e->pairs, limits)) != 0 && first) {
            tail_drop(s);
        }
    }
    mem_free(texts);
    mem_free(digits);
    return rc;
}

int stream_load_node(struct stream *s, struct stream_id id, struct slice bytes,
                     const struct stream_limits *limits)
{
    struct stream_node n = { (const struct listpack *)bytes.p, id };
    if (!node_valid(&n, bytes.n)) {
        return -EINVAL;
    }
    /* It stays one node, whatever the limits, unless it is huge. */
    bool first = bytes.n <= NODE_MAX / LOAD_GROWTH;
    struct stream_limits whole =
        first ? (struct stream_limits){ LOAD_GROWTH * bytes.n, 0 } : *limits;
    uint32_t fields, names, at = node_first(&n, &fields, &names), end = lp_end(n.lp);
    struct node_entry e;
    while (at != end) {
        node_read(&n, at, fields, &e);
        int rc = e.deleted ? 0 : load_entry(s, &n, &e, names, first, &whole);
        if (rc != 0) {
            return rc;
        }
        first = first && e.deleted;
        at = node_skip(n.lp, e.text, e.same ? fields : 2 * e.pairs);
    }
    return 0;
}

/* ---- Check ---- */

const char *stream_check(const struct stream *s)
{
    struct stream_node n;
    struct node_entry e;
    struct stream_id last = STREAM_ID_MIN;
    uint64_t count = 0;
    const char *bad = s->nodes != NULL ? btree_check(s->nodes) : NULL;
    for (uint64_t i = 0; bad == NULL && stream_node_at(s, i, &n); i++) {
        bad = node_check(&n);
        if (bad != NULL) {
            break;
        }
        uint32_t fields, names, at = node_first(&n, &fields, &names), first = at,
                                end = lp_end(n.lp);
        while (bad == NULL && at != end) {
            node_read(&n, at, fields, &e);
            if (stream_id_cmp(e.id, last) <= 0 || stream_id_cmp(e.id, s->state.last) > 0 ||
                (at == first && stream_id_cmp(e.id, n.id) != 0)) {
                bad = "M2 sequence of IDs";
            }
            last = e.id;
            at = node_skip(n.lp, e.text, e.same ? fields : 2 * e.pairs);
        }
        count += node_count(n.lp);
    }
    if (bad == NULL && (count != s->state.length || s->state.added < count)) {
        bad = "M3 number of entries";
    }
    return bad != NULL ? bad : stream_groups_check(s);
}
