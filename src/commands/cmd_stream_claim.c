/* cmd_stream_claim.c -- Streams: what is pending for a group, and taking it over.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * EFFECTS  XCLAIM with the IDs that changed hands, with the time and number of their deliveries;
 *          XACK of those whose entries are gone; XGROUP CREATECONSUMER and SETID. On replay an
 *          XCLAIM with FORCE is about a delivery that happened, whether its entry is still there or
 *          not; one without it is about a consumer that read again what it has. When a consumer
 *          was seen and active follows from when the command was logged; what got nothing is not
 *          logged. That is the end of its transaction, and in memory both are the time of its
 *          begin: after a restart they are later by as long as it took, which is much for a slow
 *          script only. The times of deliveries are logged, and stay.
 *          In the image of a stream (exec/image.c) it follows from an XCLAIM that nothing can be
 *          idle for long enough: TIME is when the consumer was seen, RETRYCOUNT when it was active.
 *          For Redis that is an XCLAIM that gets nothing. */
#include "commands/stream_ops.h"
#include "base/mem.h"
#include <errno.h>

/* ---- XPENDING ---- */

static void reply_summary(struct call *c, const struct stream *s, const struct stream_group *g)
{
    struct stream_pending p;
    struct stream_consumer consumer;
    uint64_t n = stream_pending_count(s, g->number), shown = 0;
    reply_array(c, 4);
    reply_int(c, (int64_t)n);
    if (n == 0) {
        reply_null(c);
        reply_null(c);
        reply_null_array(c);
        return;
    }
    must(stream_pending_edge(s, g, true, &p));
    reply_stream_id(c, p.id);
    must(stream_pending_edge(s, g, false, &p));
    reply_stream_id(c, p.id);
    struct out_block *hole = reply_array_deferred(c);
    for (uint64_t i = 0; stream_consumer_at(s, g, i, &consumer); i++) {
        uint64_t pending = stream_pending_count(s, consumer.number);
        if (pending > 0) {
            reply_array(c, 2);
            reply_bulk(c, consumer.name);
            reply_bulk_i64(c, (int64_t)pending);
            shown++;
        }
    }
    reply_array_fill(c, hole, shown);
}

struct pending_args {
    int64_t min_idle, count;
    struct stream_id first, last;
    unsigned consumer; /* argv; 0: all */
};

static bool pending_args(struct call *c, struct pending_args *a)
{
    unsigned at = 3;
    if (c->argc != 3 && (c->argc < 6 || c->argc > 9)) {
        reply_syntax(c);
        return false;
    }
    if (c->argc == 3) {
        return true;
    }
    if (arg_is(c, at, "idle")) {
        if (!arg_i64(c, at + 1, &a->min_idle)) {
            return false;
        }
        if (c->argc < 8) {
            reply_syntax(c);
            return false;
        }
        at += 2;
    }
    if (!arg_i64(c, at + 2, &a->count) || !arg_stream_first(c, at, &a->first) ||
        !arg_stream_last(c, at + 1, &a->last)) {
        return false;
    }
    a->consumer = at + 3 < c->argc ? at + 3 : 0;
    return true;
}

static void reply_pending(struct call *c, const struct stream *s, const struct stream_group *g,
                          const struct pending_args *a)
{
    struct stream_consumer one, owner;
    struct stream_pending_iter it;
    struct stream_pending p;
    int64_t n = 0;
    if (a->consumer != 0 && !stream_consumer_find(s, g, c->argv[a->consumer], &one)) {
        reply_array(c, 0);
        return;
    }
    struct out_block *hole = reply_array_deferred(c);
    stream_pending_iter(&it, s, g, a->consumer != 0 ? &one : NULL, a->first, a->last);
    while (n < a->count && stream_pending_next(&it, &p)) {
        int64_t idle = c->now_ms - p.time;
        if (a->min_idle > 0 && idle < a->min_idle) {
            continue;
        }
        must(stream_consumer_by(s, p.consumer, &owner));
        reply_array(c, 4);
        reply_stream_id(c, p.id);
        reply_bulk(c, owner.name);
        reply_int(c, idle < 0 ? 0 : idle);
        reply_int(c, (int64_t)p.count);
        n++;
    }
    reply_array_fill(c, hole, (size_t)n);
}

static void cmd_xpending(struct call *c)
{
    struct pending_args a = { 0 };
    struct stream *s;
    struct stream_group g;
    if (!pending_args(c, &a) || !stream_group_arg(c, &c->keys[0], 2, &s, &g)) {
        return;
    }
    if (c->argc == 3) {
        reply_summary(c, s, &g);
    } else {
        reply_pending(c, s, &g, &a);
    }
}

/* ---- XCLAIM ---- */

struct claim_args {
    int64_t min_idle, time, retry; /* time, retry -1: not given */
    bool force, just_id;
    unsigned ids_end; /* IDs are argv[5..ids_end) */
    struct stream_id last;
};

static bool claim_number(struct call *c, unsigned i, const char *what, int64_t *v)
{
    if (parse_i64(c->argv[i], v)) {
        return true;
    }
    reply_errorf(c, "ERR Invalid %s for XCLAIM", what);
    return false;
}

static bool claim_options(struct call *c, struct claim_args *a)
{
    for (unsigned i = a->ids_end; i < c->argc; i++) {
        bool more = i + 1 < c->argc, fine = true;
        if (arg_is(c, i, "force")) {
            a->force = true;
        } else if (arg_is(c, i, "justid")) {
            a->just_id = true;
        } else if (more && arg_is(c, i, "idle")) {
            fine = claim_number(c, ++i, "IDLE option argument", &a->time);
            a->time = (int64_t)((uint64_t)c->now_ms - (uint64_t)a->time);
        } else if (more && arg_is(c, i, "time")) {
            fine = claim_number(c, ++i, "TIME option argument", &a->time);
        } else if (more && arg_is(c, i, "retrycount")) {
            fine = arg_logged_count(c, ++i, &a->retry) ||
                   claim_number(c, i, "RETRYCOUNT option argument", &a->retry);
        } else if (more && arg_is(c, i, "lastid")) {
            fine = arg_stream_id(c, ++i, &a->last);
        } else {
            reply_errorf(c, "ERR Unrecognized XCLAIM option '%.*s'", (int)c->argv[i].n,
                         c->argv[i].p);
            return false;
        }
        if (!fine) {
            return false;
        }
    }
    return true;
}

static bool claim_args(struct call *c, struct claim_args *a)
{
    struct stream_id id;
    *a = (struct claim_args){ .time = -1, .retry = -1, .ids_end = 5 };
    if (!claim_number(c, 4, "min-idle-time argument", &a->min_idle)) {
        return false;
    }
    while (a->ids_end < c->argc && stream_id_parse(c->argv[a->ids_end], 0, &id, NULL)) {
        a->ids_end++;
    }
    if (!claim_options(c, a)) {
        return false;
    }
    bool replay = (c->flags & CALL_REPLAY) != 0; /* it was in range then */
    if (!replay && (a->time < 0 || a->time > c->now_ms)) {
        a->time = c->now_ms;
    }
    return true;
}

/* One command that takes over entries of a group. */
struct taking {
    struct call *c;
    const struct key *k;
    struct stream *s;
    struct stream_group g;
    struct stream_consumer to;
    bool any;     /* something changed hands */
    bool changed; /* what counts as a change was done: each more counts for itself */
    bool entries; /* some of that to entries */
    struct claims effects;
};

static bool taking_begin(struct call *c, struct taking *t)
{
    t->c = c;
    t->k = &c->keys[0];
    t->any = t->entries = false;
    t->g.name = c->argv[2]; /* where it stands may change */
    claims_begin(&t->effects, c, t->k, c->argv[2], c->argv[3]);
    if (!claims_room(&t->effects)) {
        reply_oom(c);
        return false;
    }
    int rc = stream_consumer_add(t->s, &t->g, c->argv[3], call_logged_ms(c), STREAM_NEVER);
    if (rc < 0) {
        reply_oom(c);
        return false;
    }
    stream_consumer_met(c, t->k, t->s, &t->g, c->argv[3], &t->to, rc > 0);
    t->changed = rc > 0;
    return true;
}

/* gets: what it takes over is new to it. */
static void taking_end(struct taking *t, bool gets)
{
    claims_end(&t->effects);
    if (t->any && gets) {
        t->to.active = t->to.seen;
        stream_consumer_set(t->s, &t->to);
    }
}

static void taking_changed(struct taking *t)
{
    if (t->changed) {
        call_more_changes(t->c, 1);
    } else {
        key_changed_quietly(t->c, t->k);
    }
    t->changed = t->entries = true;
}

/* The entry of a pending ID is gone: so is what was pending. */
static void drop_pending(struct taking *t, struct stream_id id)
{
    struct id_text text;
    claims_end(&t->effects);
    must(stream_pending_remove(t->s, &t->g, id));
    EFFECT(t->c, S("XACK"), t->k->s, t->c->argv[2], id_slice(&text, id));
    taking_changed(t);
}

static void take(struct taking *t, struct stream_pending *p)
{
    p->consumer = t->to.number;
    stream_pend(t->s, &t->g, p);
    claims_add(&t->effects, p);
    taking_changed(t);
    t->any = true;
}

/* True: it is in the reply. */
static bool claim_one(struct taking *t, const struct claim_args *a, struct stream_id id)
{
    struct call *c = t->c;
    struct stream_pending p = { .id = id, .count = 1 }; /* as if it had been delivered */
    bool pending = stream_pending_find(t->s, &t->g, id, &p);
    if (!(c->flags & CALL_REPLAY) && !stream_has(t->s, id)) {
        if (pending) {
            drop_pending(t, id);
        }
        return false;
    }
    if (!pending && !a->force) {
        return false;
    }
    if (pending && a->min_idle > 0 && c->now_ms - p.time < a->min_idle) {
        return false;
    }
    p.time = a->time;
    if (a->retry >= 0) {
        p.count = (uint64_t)a->retry;
    } else if (!a->just_id) {
        p.count = stream_counted(p.count);
    }
    take(t, &p);
    if (a->just_id) {
        reply_stream_id(c, id);
    } else {
        must(reply_stream_one(c, t->s, id));
    }
    return true;
}

/* LASTID may only move the group on. */
static bool claim_last(struct taking *t, struct stream_id last)
{
    bool moves = stream_id_cmp(last, t->g.last) > 0;
    if (moves) {
        t->g.last = last;
        stream_group_set(t->s, &t->g);
        key_changed_quietly(t->c, t->k);
        effect_group(t->c, t->k, &t->g);
    }
    return moves;
}

/* What the image of a stream says of a consumer. */
static void claim_times(struct taking *t, const struct claim_args *a)
{
    if ((t->c->flags & CALL_REPLAY) && a->min_idle == INT64_MAX && a->time >= 0) {
        t->to.seen = a->time;
        t->to.active = a->retry >= 0 ? a->retry : STREAM_NEVER;
        stream_consumer_set(t->s, &t->to);
    }
}

static void cmd_xclaim(struct call *c)
{
    struct taking t;
    struct claim_args a;
    struct stream_id id;
    size_t n = 0;
    if (!stream_group_arg(c, &c->keys[0], 2, &t.s, &t.g) || !claim_args(c, &a) ||
        !taking_begin(c, &t)) {
        return;
    }
    bool made = t.changed, moved = claim_last(&t, a.last);
    struct out_block *hole = reply_array_deferred(c);
    for (unsigned i = 5; i < a.ids_end && claims_room(&t.effects); i++) {
        must(stream_id_parse(c->argv[i], 0, &id, NULL));
        n += claim_one(&t, &a, id);
    }
    reply_array_fill(c, hole, n);
    if (moved && made && !t.entries) { /* beside entries it does not count */
        call_more_changes(c, 1);
    }
    taking_end(&t, a.force || !(c->flags & CALL_REPLAY));
    claim_times(&t, &a);
}

/* ---- XAUTOCLAIM ---- */

/* For each entry that it may take it looks at so many. */
#define ATTEMPTS 10

struct auto_args {
    int64_t min_idle, count;
    struct stream_id start;
    bool just_id;
};

static bool auto_args(struct call *c, struct auto_args *a)
{
    static const int64_t count_max = INT64_MAX / 16;
    a->count = 100;
    a->just_id = false;
    if (!parse_i64(c->argv[4], &a->min_idle)) {
        reply_error(c, "ERR Invalid min-idle-time argument for XAUTOCLAIM");
        return false;
    }
    if (!arg_stream_first(c, 5, &a->start)) {
        return false;
    }
    for (unsigned i = 6; i < c->argc; i++) {
        if (arg_is(c, i, "count") && i + 1 < c->argc) {
            if (!arg_i64_range(c, ++i, 1, count_max, &a->count, "ERR COUNT must be > 0")) {
                return false;
            }
        } else if (arg_is(c, i, "justid")) {
            a->just_id = true;
        } else {
            reply_syntax(c);
            return false;
        }
    }
    return true;
}

/* IDs of pending entries that are gone: as many as COUNT at most, so they come block by block. */
struct id_list {
    struct buf ids;
    size_t n;
};

/* The first that is pending for the group from `id` on. */
static bool pending_from(const struct taking *t, struct stream_id id, struct stream_pending *p)
{
    struct stream_pending_iter it;
    stream_pending_iter(&it, t->s, &t->g, NULL, id, STREAM_ID_MAX);
    return stream_pending_next(&it, p);
}

static void auto_one(struct taking *t, const struct auto_args *a, struct stream_pending *p)
{
    p->time = t->c->now_ms;
    p->count = a->just_id ? p->count : stream_counted(p->count);
    take(t, p);
    if (a->just_id) {
        reply_stream_id(t->c, p->id);
    } else {
        must(reply_stream_one(t->c, t->s, p->id));
    }
}

static void reply_gone(struct call *c, const struct id_list *gone)
{
    reply_array(c, gone->n);
    for (size_t i = 0; i < gone->n; i++) {
        struct stream_id id;
        memcpy(&id, gone->ids.p + i * sizeof id, sizeof id);
        reply_stream_id(c, id);
    }
}

static void cmd_xautoclaim(struct call *c)
{
    struct taking t;
    struct auto_args a;
    struct stream_pending p;
    struct id_list gone = { { 0 }, 0 };
    const struct entry *e = key_read(c, &c->keys[0]); /* a miss has its event whatever follows */
    if (!auto_args(c, &a) || !stream_group_in(c, &c->keys[0], e, 2, &t.s, &t.g) ||
        !taking_begin(c, &t)) {
        return;
    }
    size_t n = 0;
    reply_array(c, 3);
    struct out_block *cursor = reply_array_deferred(c), *hole = reply_array_deferred(c);
    bool more = pending_from(&t, a.start, &p);
    for (int64_t attempts = a.count * ATTEMPTS; more && attempts > 0 && a.count > 0; attempts--) {
        struct stream_id next = p.id;
        if (!claims_room(&t.effects) || !buf_try_reserve(&gone.ids, sizeof p.id)) {
            break; /* the client goes on from here */
        }
        if (!stream_has(t.s, p.id)) {
            drop_pending(&t, p.id);
            buf_add(&gone.ids, &p.id, sizeof p.id);
            gone.n++;
            a.count--;
        } else if (a.min_idle <= 0 || c->now_ms - p.time >= a.min_idle) {
            auto_one(&t, &a, &p);
            a.count--;
            n++;
        }
        more = stream_id_next(&next) && pending_from(&t, next, &p);
    }
    struct id_text text;
    reply_array_fill(c, hole, n);
    reply_bulk_fill(c, cursor, id_slice(&text, more ? p.id : STREAM_ID_MIN));
    reply_gone(c, &gone);
    buf_free(&gone.ids);
    taking_end(&t, true);
}

#define CLAIM_ROW .acl = ACL_STREAM, .group = "stream", .tips = "nondeterministic_output"
const struct command stream_claim_commands[] = {
    { .name = "xpending",
      .proc = cmd_xpending,
      .arity = -3,
      .flags = CMD_READONLY,
      CLAIM_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "5.0.0",
      .complexity =
          "O(N) with N being the number of elements returned, so asking for a small fixed number "
          "of entries per call is O(1). O(M), where M is the total number of entries scanned when "
          "used with the IDLE filter. When the command returns just the summary and the list of "
          "consumers is small, it runs in O(1) time; otherwise, an additional O(N) time for "
          "iterating every consumer.",
      .summary = "Return information and entries from a stream consumer group pending entries "
                 "list, that are messages fetched but never acknowledged.",
      .syntax = "key group [filters=<[IDLE min-idle-time:int]@6.2.0 start end count:int "
                "[consumer]>]",
      .history = "6.2.0:Added the `IDLE` option and exclusive range intervals." },
    { .name = "xclaim",
      .proc = cmd_xclaim,
      .arity = -6,
      .flags = CMD_WRITE | CMD_FAST,
      CLAIM_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_UPDATE) },
      .since = "5.0.0",
      .complexity = "O(log N) with N being the number of messages in the PEL of the consumer "
                    "group.",
      .summary = "Changes (or acquires) ownership of a message in a consumer group, as if the "
                 "message was delivered to the specified consumer.",
      .syntax = "key group consumer min-idle-time id... [IDLE ms:int] [TIME "
                "unix-time-milliseconds:time] [RETRYCOUNT count:int] [FORCE] [JUSTID] [LASTID "
                "id]" },
    { .name = "xautoclaim",
      .proc = cmd_xautoclaim,
      .arity = -6,
      .flags = CMD_WRITE | CMD_FAST,
      CLAIM_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_DELETE) },
      .since = "6.2.0",
      .complexity = "O(1) if COUNT is small.",
      .summary = "Changes (or acquires) ownership of messages in a consumer group, as if the "
                 "messages were delivered to the specified consumer.",
      .syntax = "key group consumer min-idle-time start [COUNT count:int] [JUSTID]",
      .history = "7.0.0:Added an element to the reply array, containing deleted entries the "
                 "command cleared from the PEL" },
    { .name = NULL },
};
