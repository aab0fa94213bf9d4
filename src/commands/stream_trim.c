/* stream_trim.c -- Streams: trimming with a say in what is pending.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      MAXLEN and MINID take the oldest entries. With ACKED those stay that some group has not
 *          read and acknowledged, and the others go one by one; with DELREF they go from what is
 *          pending, too.
 * EFFECTS  In words that every Redis knows: trimming as what it came to (its caller writes that);
 *          XACK of what is not pending any more; XDEL of what went one by one, which, like XDEL,
 *          notes the highest of these IDs as deleted. */
#include "base/fault.h"
#include "commands/stream_ops.h"
#include <errno.h>

/* ---- References ---- */

enum stream_refs stream_refs_word(struct slice s)
{
    return slice_is(s, "keepref")  ? REFS_KEEP
           : slice_is(s, "delref") ? REFS_DROP
           : slice_is(s, "acked")  ? REFS_ACKED
                                   : REFS_NONE;
}

struct stream_id stream_min_read(const struct stream *s)
{
    struct stream_group g;
    struct stream_id min = STREAM_ID_MAX;
    for (uint64_t i = 0; stream_group_at(s, i, &g); i++) {
        min = stream_id_cmp(g.last, min) < 0 ? g.last : min;
    }
    return min;
}

bool stream_referenced(const struct stream *s, struct stream_id min_read, struct stream_id id,
                       const struct stream_group *but)
{
    struct stream_group g;
    struct stream_pending p;
    if (stream_id_cmp(id, min_read) > 0) {
        return true;
    }
    for (uint64_t i = 0; stream_group_at(s, i, &g); i++) {
        if ((but == NULL || g.number != but->number) && stream_pending_find(s, &g, id, &p)) {
            return true;
        }
    }
    return false;
}

/* ---- IDs in effects ---- */

#define IDS_PER_COMMAND 100

struct id_list { /* "NAME key [group] id id ..." */
    struct call *c;
    const struct key *k;
    struct slice name, group; /* group.p NULL: none */
    unsigned n;
    struct id_text ids[IDS_PER_COMMAND];
};

static void list_end(struct id_list *l)
{
    struct slice argv[IDS_PER_COMMAND + 3];
    unsigned n = 0;
    if (l->n == 0) {
        return;
    }
    argv[n++] = l->name;
    argv[n++] = l->k->s;
    if (l->group.p != NULL) {
        argv[n++] = l->group;
    }
    for (unsigned i = 0; i < l->n; i++) {
        argv[n++] = slice_str(l->ids[i].text);
    }
    effect(l->c, argv, n);
    l->n = 0;
}

static void list_add(struct id_list *l, struct stream_id id)
{
    size_t n = stream_id_format(l->ids[l->n].text, id);
    l->ids[l->n].text[n] = '\0';
    if (++l->n == IDS_PER_COMMAND) {
        list_end(l);
    }
}

#define ID_ROOM (STREAM_ID_TEXT_MAX + EFFECT_ARG)

static size_t list_room(const struct key *k, struct slice group, uint64_t n)
{
    size_t head = k->s.n + group.n + 4 * (size_t)EFFECT_ARG;
    return (n / IDS_PER_COMMAND + 1) * head + n * ID_ROOM;
}

bool stream_trim_room(struct call *c, const struct stream *s, const struct stream_trim *t,
                      enum stream_refs refs)
{
    struct stream_group g;
    uint64_t go = stream_state(s)->length + 1;
    size_t bytes = 0;
    if (!t->by_id) {
        go -= u64_min(t->length, go);
    }
    for (uint64_t i = 0; refs == REFS_DROP && go > 0 && stream_group_at(s, i, &g); i++) {
        bytes += list_room(&c->keys[0], g.name, u64_min(go, stream_pending_count(s, g.number)));
    }
    return effect_fits(c, bytes);
}

/* ---- DELREF ---- */

/* What the group has pending of entries that are in `before`, from `from` on,
 * and not in s any more: those below the first that is left. */
static void drop_of_group(struct call *c, const struct key *k, struct stream *s,
                          const struct stream *before, struct stream_id from, uint64_t at)
{
    struct stream_group now, was;
    struct stream_pending_iter it;
    struct stream_pending p;
    struct stream_id first;
    struct id_list l = { .c = c, .k = k, .name = S("XACK") };
    must(stream_group_at(s, at, &now) && stream_group_at(before, at, &was));
    l.group = was.name; /* `before` does not change */
    bool left = stream_edge(s, true, &first);
    stream_pending_iter(&it, before, &was, NULL, from, STREAM_ID_MAX);
    while (stream_pending_next(&it, &p) && !(left && stream_id_cmp(p.id, first) >= 0)) {
        (void)fault("stream.trim_looks");
        if (stream_has(before, p.id) && stream_pending_remove(s, &now, p.id)) {
            list_add(&l, p.id);
        }
    }
    list_end(&l);
}

void stream_drop_refs(struct call *c, const struct key *k, struct stream *s,
                      const struct stream *before)
{
    struct stream_id from; /* what is pending without its entry lies before it in any number */
    if (!stream_edge(before, true, &from)) {
        return;
    }
    for (uint64_t i = 0; i < stream_group_count(s); i++) {
        drop_of_group(c, k, s, before, from, i);
    }
}

/* ---- ACKED ---- */

/* The last entry that trimming would take, were there no groups; false: it
 * takes none. */
static bool trim_reach(const struct stream *s, const struct stream_trim *t, struct stream_id *last)
{
    struct stream_id first;
    if (!t->by_id && stream_state(s)->length <= t->length) {
        return false;
    }
    struct stream *copy = stream_dup(s);
    bool any = stream_trim(copy, t, NULL) > 0;
    *last = stream_state(s)->last;
    if (any && stream_edge(copy, true, &first)) {
        *last = first;
        must(stream_id_prev(last));
    }
    stream_free(copy);
    return any;
}

bool stream_trim_is_acked(const struct stream *s, const struct stream_trim *t)
{
    struct stream_id first, last, min_read = stream_min_read(s);
    struct stream_iter it;
    struct stream_entry e;
    struct stream_group g;
    struct stream_pending p;
    if (stream_group_count(s) == 0 || !trim_reach(s, t, &last) || !stream_edge(s, true, &first)) {
        return true;
    }
    stream_iter(&it, s, STREAM_ID_MIN, last, false);
    if (stream_next(&it, &e) && stream_id_cmp(e.id, min_read) > 0) {
        return false;
    }
    /* what is pending without its entry lies before the first in any number */
    for (uint64_t i = 0; stream_group_at(s, i, &g); i++) {
        struct stream_pending_iter pending;
        stream_pending_iter(&pending, s, &g, NULL, first, last);
        while (stream_pending_next(&pending, &p)) {
            (void)fault("stream.trim_looks");
            if (stream_has(s, p.id)) {
                return false;
            }
        }
    }
    return true;
}

uint64_t stream_trim_acked(struct call *c, const struct key *k, struct stream *s,
                           const struct stream_trim *t)
{
    struct stream_id last = STREAM_ID_MAX, min_read = stream_min_read(s);
    struct stream_iter it;
    struct stream_entry e;
    struct id_list l = { .c = c, .k = k, .name = S("XDEL") };
    uint64_t gone = 0;
    if ((t->by_id || t->whole_nodes) && !trim_reach(s, t, &last)) {
        return 0;
    }
    struct stream *before = stream_dup(s); /* what is walked over does not change */
    stream_iter(&it, before, STREAM_ID_MIN, stream_id_cmp(last, min_read) < 0 ? last : min_read,
                true);
    while ((t->by_id || stream_state(s)->length > t->length) && stream_next(&it, &e)) {
        if (stream_referenced(s, min_read, e.id, NULL)) {
            continue;
        }
        if ((gone % IDS_PER_COMMAND == 0 &&
             !effect_fits(c, list_room(k, S(""), IDS_PER_COMMAND))) ||
            stream_delete(s, e.id) != 1) {
            break; /* no memory: the rest stays, as with other trimming */
        }
        gone++;
        list_add(&l, e.id);
    }
    stream_free(before);
    list_end(&l);
    return gone;
}
