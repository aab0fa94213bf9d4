/* cmd_stream_delex.c -- Streams: entries deleted with a say in what is pending: XDELEX, XACKDEL.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * EFFECTS  What was done, in words that every Redis knows: XDEL of what went, and for each group
 *          XACK of what is not pending any more.
 * FAILURE  Only deleting may fail, for want of memory. More IDs than one work on a stream of which
 *          a copy (O(1), it shares the nodes) is kept aside, so an error changes nothing. */
#include "commands/stream_ops.h"
#include "base/mem.h"
#include <errno.h>

enum fate { GONE = 1, ACKED = 2 }; /* bits: out of the stream; out of what the group has pending */

#define IDS_ON_STACK 16

struct delex {
    struct call *c;
    const struct key *k;
    struct entry *e;
    struct stream *s;
    enum stream_refs refs;
    unsigned ids_at, n;              /* argv */
    const struct stream_group *acks; /* XACKDEL: of this group; else NULL */
    struct stream_id min_read;       /* up to it every group has read */
    int8_t *status, *fate;           /* of each ID: the reply; enum fate */
    struct slice *argv;              /* room for an effect: n + 3 */
    struct slice few_argv[IDS_ON_STACK + 3];
    int8_t few[2 * IDS_ON_STACK];
};

/* ---- Arguments ---- */

/* IDS at argv[i]. */
static bool ids_arg(struct delex *d, unsigned i)
{
    struct call *c = d->c;
    int64_t n;
    if (!arg_i64_range(c, i + 1, 1, INT64_MAX, &n,
                       "ERR Number of IDs must be a positive integer")) {
        return false;
    }
    if (n > (int64_t)c->argc - i - 2) {
        reply_error(c, "ERR The `numids` parameter must match the number of arguments");
        return false;
    }
    d->ids_at = i + 2;
    d->n = (unsigned)n;
    return true;
}

/* The options from argv[i] on, in any order. */
static bool delex_options(struct delex *d, unsigned i)
{
    struct call *c = d->c;
    struct stream_id id;
    while (i < c->argc) {
        enum stream_refs refs = stream_refs_word(c->argv[i]);
        if (refs != REFS_NONE && d->refs == REFS_NONE) {
            d->refs = refs;
            i++;
        } else if (arg_is(c, i, "ids") && i + 2 < c->argc && d->n == 0) {
            if (!ids_arg(d, i)) {
                return false;
            }
            i = d->ids_at + d->n;
        } else {
            reply_syntax(c);
            return false;
        }
    }
    if (d->n == 0) {
        reply_syntax(c);
        return false;
    }
    for (i = 0; i < d->n; i++) {
        if (!arg_stream_id(c, d->ids_at + i, &id)) {
            return false;
        }
    }
    return true;
}

/* ---- Work ---- */

static bool delex_begin(struct delex *d)
{
    d->argv = d->few_argv;
    d->status = d->few;
    if (d->n > IDS_ON_STACK) {
        d->argv = mem_try_alloc((d->n + 3) * sizeof *d->argv + 2 * (size_t)d->n);
        if (d->argv == NULL) {
            reply_oom(d->c);
            return false;
        }
        d->status = (int8_t *)(d->argv + d->n + 3);
    }
    d->fate = d->status + d->n;
    memset(d->status, -1, d->n);
    memset(d->fate, 0, d->n);
    return true;
}

static void delex_end(struct delex *d)
{
    if (d->argv != d->few_argv) {
        mem_free(d->argv);
    }
}

static struct stream_id delex_id(const struct delex *d, unsigned i)
{
    struct stream_id id;
    must(stream_id_parse(d->c->argv[d->ids_at + i], 0, &id, NULL));
    return id;
}

/* 0; -ENOMEM, and this ID has changed nothing. */
static int delex_one(struct delex *d, unsigned i)
{
    struct stream_id id = delex_id(d, i);
    struct stream_pending p;
    bool there =
        d->acks != NULL ? stream_pending_find(d->s, d->acks, id, &p) : stream_has(d->s, id);
    if (!there) {
        return 0;
    }
    d->status[i] = 2;
    if (d->refs != REFS_ACKED || !stream_referenced(d->s, d->min_read, id, d->acks)) {
        int rc = stream_delete(d->s, id);
        if (rc < 0) {
            return rc;
        }
        d->status[i] = 1;
        d->fate[i] = rc > 0 ? GONE : 0;
    }
    if (d->acks != NULL && stream_pending_remove(d->s, d->acks, id)) {
        d->fate[i] |= ACKED;
    }
    return 0;
}

/* Room for an effect of all IDs for each group. */
static bool delex_room(const struct delex *d)
{
    const struct call *c = d->c;
    struct stream_group g;
    size_t ids = d->k->s.n + 4 * (size_t)EFFECT_ARG, bytes;
    for (unsigned i = 0; i < d->n; i++) {
        ids += c->argv[d->ids_at + i].n + EFFECT_ARG;
    }
    bytes = 2 * ids + (d->acks != NULL ? d->acks->name.n : 0);
    for (uint64_t at = 0; d->refs == REFS_DROP && stream_group_at(d->s, at, &g); at++) {
        bytes += ids + g.name.n;
    }
    return effect_fits(d->c, bytes);
}

/* All IDs or none. False: replied that there is no memory. */
static bool delex_all(struct delex *d)
{
    struct stream *before = d->n > 1 ? stream_dup(d->s) : NULL;
    int rc = 0;
    for (unsigned i = 0; i < d->n && rc == 0; i++) {
        rc = delex_one(d, i);
    }
    if (rc < 0 && before != NULL) {
        entry_set_ptr(d->e, ENC_STREAM, before);
        before = d->s;
    }
    stream_free(before);
    if (rc < 0) {
        reply_oom(d->c);
    }
    return rc == 0;
}

/* ---- Effects ---- */

/* NAME key [group] and the IDs with that bit. */
static void effect_ids(struct delex *d, struct slice name, const struct slice *group, int8_t bit)
{
    unsigned n = 0, first;
    d->argv[n++] = name;
    d->argv[n++] = d->k->s;
    if (group != NULL) {
        d->argv[n++] = *group;
    }
    first = n;
    for (unsigned i = 0; i < d->n; i++) {
        if (d->fate[i] & bit) {
            d->argv[n++] = d->c->argv[d->ids_at + i];
        }
    }
    if (n > first) {
        effect(d->c, d->argv, n);
    }
}

/* DELREF: none of the IDs is pending anywhere, be it in the stream or not; for XACKDEL those that
 * it acknowledged. True: something was. */
static bool drop_refs(struct delex *d)
{
    struct stream_group g;
    bool any = false;
    for (uint64_t at = 0; stream_group_at(d->s, at, &g); at++) {
        bool here = false;
        for (unsigned i = 0; i < d->n; i++) {
            bool mine = d->acks == NULL || d->status[i] > 0;
            bool removed = mine && stream_pending_remove(d->s, &g, delex_id(d, i));
            d->fate[i] = removed ? ACKED : 0;
            here |= removed;
        }
        if (here) {
            must(stream_group_at(d->s, at, &g)); /* its name may have moved */
            effect_ids(d, S("XACK"), &g.name, ACKED);
        }
        any |= here;
    }
    return any;
}

/* Tells of the changes. */
static void delex_tell(struct delex *d, struct slice group)
{
    int8_t all = 0;
    for (unsigned i = 0; i < d->n; i++) {
        all |= d->fate[i];
    }
    if (d->acks != NULL) {
        effect_ids(d, S("XACK"), &group, ACKED);
    }
    effect_ids(d, S("XDEL"), NULL, GONE);
    bool dropped = d->refs == REFS_DROP && drop_refs(d);
    if (all != 0 || dropped) {
        key_changed(d->c, d->k);
    }
    if (all & GONE) {
        notify(d->c, NOTIFY_STREAM, "xdel", d->k);
    }
}

static void delex_reply(struct delex *d)
{
    reply_array(d->c, d->n);
    for (unsigned i = 0; i < d->n; i++) {
        reply_int(d->c, d->status[i]);
    }
}

/* With the group argv[2], if `acks`. */
static void delex_call(struct call *c, bool acks)
{
    struct delex d = { .c = c, .k = &c->keys[0] };
    struct stream_group g;
    if (!delex_options(&d, acks ? 3 : 2)) {
        return;
    }
    d.e = key_write(c, d.k);
    if (!key_is(c, d.e, OBJ_STREAM) || !delex_begin(&d)) {
        return;
    }
    d.s = d.e != NULL ? entry_ptr(d.e) : NULL;
    if (d.s != NULL && (!acks || stream_group_find(d.s, c->argv[2], &g))) {
        d.acks = acks ? &g : NULL;
        d.min_read = stream_min_read(d.s);
        if (!delex_room(&d)) {
            reply_oom(c);
            delex_end(&d);
            return;
        }
        if (!delex_all(&d)) {
            delex_end(&d);
            return;
        }
        delex_tell(&d, c->argv[2]);
    }
    delex_reply(&d);
    delex_end(&d);
}

static void cmd_xdelex(struct call *c)
{
    delex_call(c, false);
}

static void cmd_xackdel(struct call *c)
{
    delex_call(c, true);
}

#define DELEX_ROW \
    .flags = CMD_WRITE | CMD_FAST, .acl = ACL_STREAM, .group = "stream", .since = "8.2.0"
#define DELEX_SYNTAX "[condition=<KEEPREF|DELREF|ACKED>] IDS ids=<numids:int id...>"
const struct command stream_delex_commands[] = {
    { .name = "xdelex",
      .proc = cmd_xdelex,
      .arity = -5,
      DELEX_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_DELETE) },
      .complexity =
          "O(1) for each single item to delete in the stream, regardless of the stream size.",
      .summary = "Deletes one or multiple entries from the stream.",
      .syntax = "key " DELEX_SYNTAX },
    { .name = "xackdel",
      .proc = cmd_xackdel,
      .arity = -6,
      DELEX_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_UPDATE | KEY_DELETE) },
      .complexity = "O(1) for each entry ID processed.",
      .summary = "Acknowledges and conditionally deletes one or multiple entries for a stream "
                 "consumer group.",
      .syntax = "key group " DELEX_SYNTAX },
    { .name = NULL },
};
