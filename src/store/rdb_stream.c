/* rdb_stream.c -- Streams in RDB: nodes as they are in memory, then groups and what is pending.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * FORM     Types 15, 19 (7.0) and 21 (7.2). Nodes: ID (16 bytes, most significant first) and
 *          listpack, both as texts. Then length, last ID; from 19 on first ID, highest deleted ID,
 *          entries ever added. Then groups: name, last ID, from 19 on entries read; pending: ID (16
 *          bytes), time (8 bytes, least significant first), count; consumers: name, time seen, from
 *          21 on time active, pending IDs.
 *          Type 19 is written: all of it that 7.0 knows.
 * REFUSED  What stream_load_node() refuses; numbers that are not those of the entries; names twice;
 *          IDs that are pending out of order, for no consumer or for two. */
#include "base/mem.h"
#include "ds/stream_group.h"
#include "store/rdb_int.h"
#include <errno.h>

/* ---- Writing ---- */

static void write_id(struct rdb_writer *w, struct stream_id id)
{
    rdb_write_length(w, id.ms);
    rdb_write_length(w, id.seq);
}

static void id_bytes(struct stream_id id, uint64_t raw[2])
{
    raw[0] = htobe64(id.ms);
    raw[1] = htobe64(id.seq);
}

static void write_raw_id(struct rdb_writer *w, struct stream_id id)
{
    uint64_t raw[2];
    id_bytes(id, raw);
    rdb_write_bytes(w, raw, sizeof raw);
}

static void write_time(struct rdb_writer *w, int64_t ms)
{
    uint64_t raw = htole64((uint64_t)ms);
    rdb_write_bytes(w, &raw, sizeof raw);
}

static void write_consumer(struct rdb_writer *w, const struct stream *s,
                           const struct stream_group *g, const struct stream_consumer *c)
{
    struct stream_pending_iter it;
    struct stream_pending p;
    rdb_write_text(w, c->name);
    write_time(w, c->seen);
    rdb_write_length(w, stream_pending_count(s, c->number));
    stream_pending_iter(&it, s, g, c, STREAM_ID_MIN, STREAM_ID_MAX);
    while (w->error == 0 && stream_pending_next(&it, &p)) {
        write_raw_id(w, p.id);
    }
}

static void write_group(struct rdb_writer *w, const struct stream *s, const struct stream_group *g)
{
    struct stream_pending_iter it;
    struct stream_pending p;
    struct stream_consumer c;
    rdb_write_text(w, g->name);
    write_id(w, g->last);
    rdb_write_length(w, (uint64_t)g->read);
    rdb_write_length(w, stream_pending_count(s, g->number));
    stream_pending_iter(&it, s, g, NULL, STREAM_ID_MIN, STREAM_ID_MAX);
    while (w->error == 0 && stream_pending_next(&it, &p)) {
        write_raw_id(w, p.id);
        write_time(w, p.time);
        rdb_write_length(w, p.count);
    }
    rdb_write_length(w, stream_consumer_count(s, g));
    for (uint64_t i = 0; w->error == 0 && stream_consumer_at(s, g, i, &c); i++) {
        write_consumer(w, s, g, &c);
    }
}

void rdb_write_stream(struct rdb_writer *w, const struct entry *e)
{
    const struct stream *s = entry_ptr(e);
    const struct stream_state *t = stream_state(s);
    struct stream_id first = STREAM_ID_MIN;
    struct stream_node n;
    struct stream_group g;
    rdb_write_length(w, stream_nodes(s));
    for (uint64_t i = 0; w->error == 0 && stream_node_at(s, i, &n); i++) {
        uint64_t raw[2];
        id_bytes(n.id, raw);
        rdb_write_text(w, slice_of(raw, sizeof raw));
        rdb_write_text(w, lp_slice(n.lp));
    }
    (void)stream_edge(s, true, &first);
    rdb_write_length(w, t->length);
    write_id(w, t->last);
    write_id(w, first);
    write_id(w, t->max_deleted);
    rdb_write_length(w, t->added);
    rdb_write_length(w, stream_group_count(s));
    for (uint64_t i = 0; w->error == 0 && stream_group_at(s, i, &g); i++) {
        write_group(w, s, &g);
    }
}

/* ---- Reading ---- */

struct loading_stream {
    struct rdb_reader *r;
    unsigned type;
    struct stream *s;
    struct rdb_text text;
    struct buf pending; /* of the group: struct stream_pending each, consumer 0 until it is told */
};

static bool refuse(struct loading_stream *l, int error)
{
    l->r->error = l->r->error != 0 ? l->r->error : error;
    return false;
}

static bool read_id(struct loading_stream *l, struct stream_id *id)
{
    return rdb_read_length(l->r, &id->ms) && rdb_read_length(l->r, &id->seq);
}

static void id_from(const void *bytes, struct stream_id *id)
{
    uint64_t raw[2];
    memcpy(raw, bytes, sizeof raw);
    *id = (struct stream_id){ be64toh(raw[0]), be64toh(raw[1]) };
}

static bool read_raw_id(struct loading_stream *l, struct stream_id *id)
{
    char raw[16];
    if (!rdb_read_bytes(l->r, raw, sizeof raw)) {
        return false;
    }
    id_from(raw, id);
    return true;
}

static bool read_time(struct loading_stream *l, int64_t *ms)
{
    uint64_t raw;
    if (!rdb_read_bytes(l->r, &raw, sizeof raw)) {
        return false;
    }
    *ms = (int64_t)le64toh(raw);
    return true;
}

static bool load_node(struct loading_stream *l, const struct stream_limits *limits)
{
    struct stream_id id;
    if (!rdb_read_text(l->r, &l->text)) {
        return false;
    }
    if (l->text.s.n != sizeof id) {
        return refuse(l, -EINVAL);
    }
    id_from(l->text.s.p, &id);
    if (!rdb_read_text(l->r, &l->text)) {
        return false;
    }
    int rc = stream_load_node(l->s, id, l->text.s, limits);
    return rc == 0 || refuse(l, rc);
}

static bool load_state(struct loading_stream *l)
{
    const struct stream_state *t = stream_state(l->s);
    struct stream_id last, first, max_deleted = STREAM_ID_MIN;
    uint64_t length, added;
    if (!rdb_read_length(l->r, &length) || !read_id(l, &last)) {
        return false;
    }
    added = length;
    if (l->type >= RDB_STREAM_2 &&
        (!read_id(l, &first) || !read_id(l, &max_deleted) || !rdb_read_length(l->r, &added))) {
        return false;
    }
    if (length != t->length || added < length || added > INT64_MAX ||
        stream_id_cmp(last, t->last) < 0 || stream_id_cmp(max_deleted, last) > 0) {
        return refuse(l, -EINVAL);
    }
    stream_set_state(l->s, last, added, max_deleted);
    return true;
}

static struct stream_pending *pending_at(const struct loading_stream *l, size_t i)
{
    return (struct stream_pending *)(void *)l->pending.p + i;
}

/* In ascending sequence. */
static bool load_pending(struct loading_stream *l, const struct stream_pending *before,
                         struct stream_pending *p)
{
    p->consumer = 0;
    if (!read_raw_id(l, &p->id) || !read_time(l, &p->time) || !rdb_read_length(l->r, &p->count)) {
        return false;
    }
    if (p->time < 0 || (before != NULL && stream_id_cmp(before->id, p->id) >= 0)) {
        return refuse(l, -EINVAL);
    }
    p->count = u64_min(p->count, INT64_MAX); /* see stream_counted() */
    return buf_try_reserve(&l->pending, sizeof *p) || refuse(l, -ENOMEM);
}

static bool load_all_pending(struct loading_stream *l)
{
    uint64_t n;
    struct stream_pending p, before;
    if (!rdb_read_length(l->r, &n)) {
        return false;
    }
    l->pending.n = 0;
    for (uint64_t i = 0; i < n; i++) {
        if (!load_pending(l, i > 0 ? &before : NULL, &p)) {
            return false;
        }
        buf_add(&l->pending, &p, sizeof p);
        before = p;
    }
    return true;
}

static struct stream_pending *pending_find(const struct loading_stream *l, struct stream_id id)
{
    size_t low = 0, high = l->pending.n / sizeof(struct stream_pending);
    while (low < high) {
        size_t mid = (low + high) / 2;
        int cmp = stream_id_cmp(pending_at(l, mid)->id, id);
        if (cmp == 0) {
            return pending_at(l, mid);
        }
        low = cmp < 0 ? mid + 1 : low;
        high = cmp < 0 ? high : mid;
    }
    return NULL;
}

static bool load_consumer(struct loading_stream *l, const struct stream_group *g)
{
    struct stream_consumer c;
    struct stream_id id;
    int64_t seen, active;
    uint64_t n;
    if (!rdb_read_text(l->r, &l->text) || !read_time(l, &seen)) {
        return false;
    }
    active = seen;
    if (l->type >= RDB_STREAM_3 && !read_time(l, &active)) {
        return false;
    }
    if (seen < 0 || active < STREAM_NEVER) {
        return refuse(l, -EINVAL);
    }
    int rc = stream_consumer_add(l->s, g, l->text.s, seen, active);
    if (rc <= 0) {
        return refuse(l, rc == 0 ? -EINVAL : rc);
    }
    must(stream_consumer_find(l->s, g, l->text.s, &c));
    if (!rdb_read_length(l->r, &n)) {
        return false;
    }
    for (; n > 0; n--) {
        struct stream_pending *p = read_raw_id(l, &id) ? pending_find(l, id) : NULL;
        if (p == NULL || p->consumer != 0) {
            return refuse(l, -EINVAL);
        }
        p->consumer = c.number;
        stream_pend(l->s, g, p);
    }
    return true;
}

static bool load_group(struct loading_stream *l)
{
    struct stream_group g;
    struct stream_id last = STREAM_ID_MIN;
    uint64_t read = 0, consumers;
    struct rdb_text name = { .s = { NULL, 0 } };
    bool fine = rdb_read_text(l->r, &name) && read_id(l, &last);
    if (fine && l->type >= RDB_STREAM_2) {
        fine = rdb_read_length(l->r, &read);
    } else if (fine) {
        read = (uint64_t)stream_distance(l->s, last);
    }
    fine = fine && ((int64_t)read >= STREAM_READ_UNKNOWN || refuse(l, -EINVAL));
    int rc = fine ? stream_group_add(l->s, name.s, last, (int64_t)read) : 0;
    if (rc > 0) {
        must(stream_group_find(l->s, name.s, &g));
    }
    buf_free(&name.own);
    if (rc <= 0) {
        return refuse(l, rc == 0 ? -EINVAL : rc);
    }
    if (!load_all_pending(l) || !rdb_read_length(l->r, &consumers)) {
        return false;
    }
    for (; consumers > 0; consumers--) {
        if (!load_consumer(l, &g)) {
            return false;
        }
    }
    return stream_pending_count(l->s, g.number) == l->pending.n / sizeof(struct stream_pending) ||
           refuse(l, -EINVAL);
}

struct stream *rdb_read_stream(struct rdb_reader *r, unsigned type,
                               const struct stream_limits *limits)
{
    struct loading_stream l = { .r = r, .type = type, .s = stream_new() };
    uint64_t n, groups = 0;
    bool done = rdb_read_length(r, &n);
    for (; done && n > 0; n--) {
        done = load_node(&l, limits);
    }
    done = done && load_state(&l) && rdb_read_length(r, &groups);
    for (; done && groups > 0; groups--) {
        done = load_group(&l);
    }
    buf_free(&l.text.own);
    buf_free(&l.pending);
    if (!done) {
        stream_free(l.s);
    }
    return done ? l.s : NULL;
}
