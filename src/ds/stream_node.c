/* stream_node.c -- Nodes of a stream: entries in a listpack, as RDB files carry them.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * FORM      The format of RDB types 15, 19 and 21 (learned from DUMP of redis-server 7.0.15):
 *               count, deleted, number of fields, field ..., 0      of the first entry
 *               flags, ms, seq, [number of fields, field, value ... | value ...], texts   each
 * entry ms and seq are differences to the node's ID, modulo 2^64. Flags: 1 deleted, 2 the fields
 *           are those of the first entry. `texts` is how many elements the entry has before that
 *           number, to walk back.
 *           Ours has count and deleted as integers of 32 bits whatever their value, so that they
 *           change in place. */
#include "ds/stream_int.h"
#include <errno.h>

#define FLAG_DELETED 1
#define FLAG_SAME    2

#define TEXT_OVERHEAD 10 /* of an element, at most */
/* Three numbers in front, or four; one behind. */
#define ENTRY_OVERHEAD (5 * TEXT_OVERHEAD)

static uint8_t *put_number(uint8_t *p, uint64_t v)
{
    struct lp_value i = lp_value_int((int64_t)v);
    return lp_value_write(p, &i);
}

static uint8_t *put_text(uint8_t *p, struct slice text)
{
    struct lp_value v = lp_value_of(text);
    return lp_value_write(p, &v);
}

static uint8_t *put_fixed(uint8_t *p, uint32_t v)
{
    p[0] = LP_HEAD_INT32;
    lp_store32(p + 1, v);
    p[5] = 5;
    return p + 6;
}

size_t node_room(const struct slice *texts, uint32_t pairs, bool begin)
{
    size_t room = ENTRY_OVERHEAD + (begin ? NODE_FIELDS + 3 * TEXT_OVERHEAD : 0);
    for (uint32_t i = 0; i < 2 * pairs; i++) {
        size_t n = texts[i].n + TEXT_OVERHEAD;
        room += begin && i % 2 == 0 ? 2 * n : n;
    }
    return room;
}

static void finish(struct stream_tail *t, const uint8_t *end, uint32_t elements)
{
    t->elements += elements;
    lp_stamp(t->lp, (uint32_t)(end - t->lp) + 1, t->elements);
}

void node_begin(struct stream_tail *t, struct stream_id id, const struct slice *texts,
                uint32_t pairs)
{
    uint8_t *p = put_fixed(put_fixed(t->lp + LP_HEADER, 0), 0);
    p = put_number(p, pairs);
    for (uint32_t i = 0; i < pairs; i++) {
        p = put_text(p, texts[(size_t)2 * i]);
    }
    t->id = id;
    t->elements = 0;
    finish(t, put_number(p, 0), 4 + pairs);
    node_append(t, id, texts, pairs);
}

void node_begin_like(struct stream_tail *t, struct stream_id id, const struct stream_node *n)
{
    uint32_t fields, names, end = node_first(n, &fields, &names), from = LP_HEADER;
    from += lp_span(n->lp, from);
    from += lp_span(n->lp, from);
    uint8_t *p = put_fixed(put_fixed(t->lp + LP_HEADER, 0), 0);
    memcpy(p, lp_raw(n->lp) + from, end - from);
    t->id = id;
    t->elements = 0;
    finish(t, p + (end - from), 4 + fields);
}

/* Are these the fields of the node's first entry? */
static bool same_fields(const struct listpack *lp, const struct slice *texts, uint32_t pairs)
{
    uint32_t at = NODE_FIELDS;
    if (node_number(lp, &at) != pairs) {
        return false;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        if (!lp_equal(lp, at, texts[(size_t)2 * i])) {
            return false;
        }
        at += lp_span(lp, at);
    }
    return true;
}

void node_append(struct stream_tail *t, struct stream_id id, const struct slice *texts,
                 uint32_t pairs)
{
    const struct listpack *lp = (const struct listpack *)t->lp;
    bool same = same_fields(lp, texts, pairs);
    uint32_t elements = 3 + (same ? pairs : 1 + 2 * pairs);
    uint8_t *p = t->lp + lp_end(lp);
    p = put_number(p, same ? FLAG_SAME : 0);
    p = put_number(p, id.ms - t->id.ms);
    p = put_number(p, id.seq - t->id.seq);
    if (!same) {
        p = put_number(p, pairs);
    }
    for (uint32_t i = 0; i < 2 * pairs; i++) {
        if (!same || i % 2 == 1) {
            p = put_text(p, texts[i]);
        }
    }
    p = put_number(p, elements);
    finish(t, p, elements + 1);
    lp_store32(t->lp + NODE_COUNT, node_count(lp) + 1);
}

/* ---- Walking ---- */

/* In a file the first two numbers have any size. */
uint32_t node_first(const struct stream_node *n, uint32_t *fields, uint32_t *names)
{
    uint32_t at = LP_HEADER;
    at += lp_span(n->lp, at);
    at += lp_span(n->lp, at);
    *fields = (uint32_t)node_number(n->lp, &at);
    *names = at;
    return node_skip(n->lp, at, *fields);
}

void node_read(const struct stream_node *n, uint32_t at, uint32_t fields, struct node_entry *e)
{
    uint64_t flags = node_number(n->lp, &at);
    e->deleted = (flags & FLAG_DELETED) != 0;
    e->same = (flags & FLAG_SAME) != 0;
    e->id.ms = n->id.ms + node_number(n->lp, &at);
    e->id.seq = n->id.seq + node_number(n->lp, &at);
    e->pairs = e->same ? fields : (uint32_t)node_number(n->lp, &at);
    e->text = at;
}

uint32_t node_skip(const struct listpack *lp, uint32_t text, uint32_t texts)
{
    for (uint32_t i = 0; i <= texts; i++) {
        text += lp_span(lp, text);
    }
    return text;
}

uint32_t node_back(const struct listpack *lp, uint32_t at)
{
    at = lp_prev(lp, at);
    for (int64_t n = lp_get(lp, at).i; n > 0; n--) {
        at = lp_prev(lp, at);
    }
    return at;
}

struct stream_id node_last_id(const struct stream_node *n)
{
    struct node_entry e;
    node_read(n, node_back(n->lp, lp_end(n->lp)), 0, &e);
    return e.id;
}

uint32_t node_find(const struct stream_node *n, struct stream_id id)
{
    uint32_t fields, names, at = node_first(n, &fields, &names), end = lp_end(n->lp);
    struct node_entry e;
    while (at != end) {
        node_read(n, at, fields, &e);
        int cmp = stream_id_cmp(e.id, id);
        if (cmp >= 0) {
            return cmp == 0 && !e.deleted ? at : LP_NONE;
        }
        at = node_skip(n->lp, e.text, e.same ? fields : 2 * e.pairs);
    }
    return LP_NONE;
}

/* Flags are a small integer: one byte. */
void node_mark_deleted(char *lp, uint32_t at)
{
    const struct listpack *view = (const struct listpack *)lp;
    uint8_t *p = (uint8_t *)lp;
    p[at] |= FLAG_DELETED;
    lp_store32(p + NODE_COUNT, node_count(view) - 1);
    lp_store32(p + NODE_DELETED, node_deleted(view) + 1);
}

/* ---- Checking what a file has ---- */

/* Steps over elements that may be anything, in a listpack that is valid. */
struct reader {
    const struct listpack *lp;
    uint32_t at; /* LP_NONE: behind the last */
};

static bool read_number(struct reader *r, int64_t *v)
{
    if (r->at == LP_NONE) {
        return false;
    }
    struct lp_value value = lp_get(r->lp, r->at);
    *v = value.i;
    r->at = lp_next(r->lp, r->at);
    return value.p == NULL;
}

static bool read_count(struct reader *r, uint32_t *v)
{
    int64_t i;
    if (!read_number(r, &i) || i < 0 || i > INT32_MAX) {
        return false;
    }
    *v = (uint32_t)i;
    return true;
}

static bool read_texts(struct reader *r, uint64_t n)
{
    for (; n > 0 && r->at != LP_NONE; n--) {
        r->at = lp_next(r->lp, r->at);
    }
    return n == 0;
}

static bool entry_valid(struct reader *r, uint32_t fields, bool *deleted)
{
    int64_t flags, ms, seq;
    uint32_t pairs = fields, elements;
    if (!read_number(r, &flags) || flags < 0 || flags > (FLAG_DELETED | FLAG_SAME) ||
        !read_number(r, &ms) || !read_number(r, &seq)) {
        return false;
    }
    bool same = (flags & FLAG_SAME) != 0;
    if (!same && !read_count(r, &pairs)) {
        return false;
    }
    *deleted = (flags & FLAG_DELETED) != 0;
    uint64_t texts = same ? pairs : 2 * (uint64_t)pairs;
    return read_texts(r, texts) && read_count(r, &elements) && elements == texts + (same ? 3u : 4u);
}

bool node_valid(const struct stream_node *n, size_t bytes)
{
    struct slice all = slice_of(n->lp, bytes);
    if (!lp_valid(all)) {
        return false;
    }
    struct reader r = { n->lp, lp_first(n->lp) };
    uint32_t count, deleted, fields, zero, seen[2] = { 0, 0 };
    if (!read_count(&r, &count) || !read_count(&r, &deleted) || !read_count(&r, &fields) ||
        !read_texts(&r, fields) || !read_count(&r, &zero) || zero != 0) {
        return false;
    }
    while (r.at != LP_NONE) {
        bool gone;
        if (!entry_valid(&r, fields, &gone)) {
            return false;
        }
        seen[gone]++;
    }
    return seen[0] == count && seen[1] == deleted;
}

const char *node_check(const struct stream_node *n)
{
    const uint8_t *raw = lp_raw(n->lp);
    if (!node_valid(n, lp_bytes(n->lp)) || raw[NODE_COUNT - 1] != LP_HEAD_INT32 ||
        raw[NODE_DELETED - 1] != LP_HEAD_INT32) {
        return "M1 form of a node";
    }
    return node_count(n->lp) > 0 ? NULL : "M1 node without entries";
}
