/* stream_ops.c -- Streams: IDs as arguments, entries as replies, deliveries as effects.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "commands/stream_ops.h"
#include <errno.h>
#include <stdlib.h>

struct stream_limits stream_limits(struct call *c)
{
    const struct exec_options *o = exec_options(c->x);
    return (struct stream_limits){ (uint64_t)option_int(&o->stream_node_max_bytes),
                                   (uint64_t)option_int(&o->stream_node_max_entries) };
}

static bool stream_from(struct call *c, const struct entry *e, struct stream **s)
{
    *s = NULL;
    if (!key_is(c, e, OBJ_STREAM)) {
        return false;
    }
    if (e != NULL) {
        *s = entry_ptr(e);
    }
    return true;
}

bool stream_read(struct call *c, const struct key *k, struct stream **s)
{
    return stream_from(c, key_read(c, k), s);
}

bool stream_write(struct call *c, const struct key *k, struct stream **s)
{
    return stream_from(c, key_write(c, k), s);
}

/* ---- IDs ---- */

#define ID_ARG_MAX 127

/* As strtoull() reads it: space and '+' before it are fine, and leading zeros; a NUL ends it. */
static bool lenient_u64(const char *text, uint64_t *v)
{
    char *end;
    if (parse_u64(slice_str(text), v)) {
        return true;
    }
    if (text[0] == '\0' || text[0] == '-') {
        return false;
    }
    errno = 0;
    unsigned long long read = strtoull(text, &end, 10);
    *v = read;
    return errno == 0 && end != text && *end == '\0';
}

bool stream_id_parse(struct slice text, uint64_t missing_seq, struct stream_id *id, bool *any_seq)
{
    char copy[ID_ARG_MAX + 1], *dash;
    if (text.n > ID_ARG_MAX) {
        return false;
    }
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    dash = strchr(copy, '-');
    if (dash != NULL) {
        *dash++ = '\0';
    }
    if (!lenient_u64(copy, &id->ms)) {
        return false;
    }
    if (any_seq != NULL) {
        *any_seq = dash != NULL && strcmp(dash, "*") == 0;
    }
    id->seq = dash == NULL ? missing_seq : 0;
    return dash == NULL || (any_seq != NULL && *any_seq) || lenient_u64(dash, &id->seq);
}

static void reply_invalid_id(struct call *c)
{
    reply_error(c, "ERR Invalid stream ID specified as stream command argument");
}

bool arg_stream_id(struct call *c, unsigned i, struct stream_id *id)
{
    if (stream_id_parse(c->argv[i], 0, id, NULL)) {
        return true;
    }
    reply_invalid_id(c);
    return false;
}

bool arg_stream_ids(struct call *c, unsigned from)
{
    struct stream_id id;
    for (unsigned i = from; i < c->argc; i++) {
        if (!arg_stream_id(c, i, &id)) {
            return false;
        }
    }
    return true;
}

static bool range_bound(struct call *c, unsigned i, uint64_t missing_seq, struct stream_id *id,
                        bool *open)
{
    struct slice text = c->argv[i];
    *open = text.n > 1 && text.p[0] == '(';
    bool edge = !*open && text.n == 1 && (text.p[0] == '-' || text.p[0] == '+');
    if (edge) {
        *id = text.p[0] == '-' ? STREAM_ID_MIN : STREAM_ID_MAX;
    } else if (!stream_id_parse(slice_of(text.p + *open, text.n - *open), missing_seq, id, NULL)) {
        reply_invalid_id(c);
        return false;
    }
    return true;
}

bool arg_stream_first(struct call *c, unsigned i, struct stream_id *id)
{
    bool open;
    if (!range_bound(c, i, 0, id, &open)) {
        return false;
    }
    if (open && !stream_id_next(id)) {
        reply_error(c, "ERR invalid start ID for the interval");
        return false;
    }
    return true;
}

bool arg_stream_last(struct call *c, unsigned i, struct stream_id *id)
{
    bool open;
    if (!range_bound(c, i, UINT64_MAX, id, &open)) {
        return false;
    }
    if (open && !stream_id_prev(id)) {
        reply_error(c, "ERR invalid end ID for the interval");
        return false;
    }
    return true;
}

bool arg_logged_count(struct call *c, unsigned i, int64_t *count)
{
    uint64_t n;
    if (!(c->flags & CALL_REPLAY) || !parse_u64(c->argv[i], &n)) {
        return false;
    }
    *count = (int64_t)u64_min(n, INT64_MAX);
    return true;
}

/* ---- Replies ---- */

struct slice id_slice(struct id_text *t, struct stream_id id)
{
    return slice_of(t->text, stream_id_format(t->text, id));
}

void reply_stream_id(struct call *c, struct stream_id id)
{
    struct id_text t;
    reply_bulk(c, id_slice(&t, id));
}

void reply_stream_entry(struct call *c, struct stream_iter *it, const struct stream_entry *e)
{
    struct stream_pair pair;
    reply_array(c, 2);
    reply_stream_id(c, e->id);
    reply_array(c, 2 * (size_t)e->pairs);
    while (stream_next_pair(it, &pair)) {
        reply_bulk(c, pair.field);
        reply_bulk(c, pair.value);
    }
}

bool reply_stream_one(struct call *c, const struct stream *s, struct stream_id id)
{
    struct stream_iter it;
    struct stream_entry e;
    stream_iter(&it, s, id, id, true);
    if (!stream_next(&it, &e)) {
        return false;
    }
    reply_stream_entry(c, &it, &e);
    return true;
}

void reply_stream_range(struct call *c, const struct stream *s, struct stream_id first,
                        struct stream_id last, bool forward, uint64_t count)
{
    struct stream_iter it;
    struct stream_entry e;
    uint64_t n = 0;
    struct out_block *hole = reply_array_deferred(c);
    stream_iter(&it, s, first, last, forward);
    while ((count == 0 || n < count) && stream_next(&it, &e)) {
        reply_stream_entry(c, &it, &e);
        n++;
    }
    reply_array_fill(c, hole, n);
}

/* ---- Effects ---- */

void effect_group(struct call *c, const struct key *k, const struct stream_group *g)
{
    struct id_text last;
    char read[I64_TEXT_MAX];
    EFFECT(c, S("XGROUP"), S("SETID"), k->s, g->name, id_slice(&last, g->last), S("ENTRIESREAD"),
           slice_of(read, format_i64(read, g->read)));
}

void claims_begin(struct claims *l, struct call *c, const struct key *k, struct slice group,
                  struct slice consumer)
{
    l->c = c;
    l->k = k;
    l->group = group;
    l->consumer = consumer;
    l->n = l->room = 0;
    l->again = false;
    l->before = 0;
    l->argv[0] = S("XCLAIM");
    l->argv[1] = k->s;
    l->argv[2] = group;
    l->argv[3] = consumer;
    l->argv[4] = S("0");
}

#define ROOM_STEP 64

bool claims_room(struct claims *l)
{
    if (l->room > 0) {
        l->room--;
        return true;
    }
    /* in the worst case a command for each; one is begun, and those for group and consumer follow
     */
    size_t id = STREAM_ID_TEXT_MAX + EFFECT_ARG;
    size_t one = l->k->s.n + l->group.n + l->consumer.n + id + 12 * (size_t)EFFECT_ARG + 64;
    if (!effect_fits(l->c, l->before + (ROOM_STEP + 4) * one + CLAIMS_PER_COMMAND * id)) {
        return false;
    }
    l->room = ROOM_STEP - 1;
    return true;
}

void claims_end(struct claims *l)
{
    char time[I64_TEXT_MAX], count[I64_TEXT_MAX];
    if (l->n == 0) {
        return;
    }
    unsigned argc = 5 + l->n;
    l->argv[argc++] = S("TIME");
    l->argv[argc++] = slice_of(time, format_i64(time, l->time));
    l->argv[argc++] = S("RETRYCOUNT");
    l->argv[argc++] = slice_of(count, format_u64(count, l->count));
    if (!l->again) {
        l->argv[argc++] = S("FORCE");
    }
    l->argv[argc++] = S("JUSTID");
    effect(l->c, l->argv, argc);
    l->n = 0;
}

void claims_add(struct claims *l, const struct stream_pending *p)
{
    if (l->n == CLAIMS_PER_COMMAND || (l->n > 0 && (p->time != l->time || p->count != l->count))) {
        claims_end(l);
    }
    l->time = p->time;
    l->count = p->count;
    l->argv[5 + l->n] = id_slice(&l->ids[l->n], p->id);
    l->n++;
}

/* ---- Groups ---- */

bool stream_group_in(struct call *c, const struct key *k, const struct entry *e, unsigned group,
                     struct stream **s, struct stream_group *g)
{
    struct slice name = c->argv[group];
    if (!stream_from(c, e, s)) {
        return false;
    }
    if (*s != NULL && stream_group_find(*s, name, g)) {
        return true;
    }
    reply_errorf(c, "NOGROUP No such key '%.*s' or consumer group '%.*s'%s", (int)k->s.n, k->s.p,
                 (int)name.n, name.p,
                 c->cmd->flags & CMD_BLOCKING ? " in XREADGROUP with GROUP option" : "");
    return false;
}

bool stream_group_arg(struct call *c, const struct key *k, unsigned group, struct stream **s,
                      struct stream_group *g)
{
    return stream_group_in(c, k, key_read(c, k), group, s, g);
}

void reply_no_group(struct call *c)
{
    reply_errorf(c, "NOGROUP No such consumer group '%.*s' for key name '%.*s'", (int)c->argv[3].n,
                 c->argv[3].p, (int)c->argv[2].n, c->argv[2].p);
}

void stream_consumer_met(struct call *c, const struct key *k, struct stream *s,
                         const struct stream_group *g, struct slice name,
                         struct stream_consumer *out, bool made)
{
    must(stream_consumer_find(s, g, name, out));
    if (made) {
        key_changed_quietly(c, k);
        EFFECT(c, S("XGROUP"), S("CREATECONSUMER"), k->s, g->name, name);
        notify(c, NOTIFY_STREAM, "xgroup-createconsumer", k);
    } else {
        out->seen = call_logged_ms(c);
        stream_consumer_set(s, out);
    }
}
