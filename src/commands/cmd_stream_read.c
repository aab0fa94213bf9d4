/* cmd_stream_read.c -- Streams: reading from several, alone or for a group, and waiting for more.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WAITING  XREAD waits with the IDs that `$` and `+` stood for when it came. XREADGROUP runs again
 *          for new entries, and also when the key or the group is gone, which it answers itself.
 *          A call that is served may look at some of its keys only (call_serves()).
 * EFFECTS  What was delivered as XCLAIM with the time and number of the delivery, how far the group
 *          has read as XGROUP SETID, a consumer that was made as XGROUP CREATECONSUMER. */
#include "commands/elements.h"
#include "commands/stream_ops.h"
#include "base/mem.h"
#include <errno.h>

struct source {
    struct stream_id after;
    bool fresh;    /* `>`: what the group has not read */
    bool resolved; /* `$` or `+` */
    bool made;     /* the consumer, for this call */
};

#define SOURCES_ON_STACK 8

struct xread {
    bool for_group, noack, blocks, no_memory;
    bool changed;             /* a group: more than when its consumer was seen */
    unsigned group, consumer; /* argv */
    uint64_t count;           /* 0: all */
    int64_t deadline;
    unsigned first, n; /* argv of the first key, number of keys */
    struct source *from, few[SOURCES_ON_STACK];
    size_t replied;
    struct out_block *hole;
};

/* ---- Arguments ---- */

static bool only_for_groups(struct call *c, const struct xread *r, const char *option)
{
    if (!r->for_group) {
        reply_errorf(c,
                     "ERR The %s option is only supported by XREADGROUP. You called XREAD instead.",
                     option);
    }
    return r->for_group;
}

static bool count_arg(struct call *c, unsigned i, uint64_t *count)
{
    int64_t v;
    if (!arg_i64(c, i, &v)) {
        return false;
    }
    *count = v < 0 ? 0 : (uint64_t)v;
    return true;
}

/* The option at argv[*i], which becomes its last argument. */
static bool read_option(struct call *c, unsigned *i, struct xread *r)
{
    unsigned more = c->argc - 1 - *i;
    if (more > 0 && arg_is(c, *i, "block")) {
        r->blocks = true;
        return arg_timeout_ms(c, ++*i, false, &r->deadline);
    }
    if (more > 0 && arg_is(c, *i, "count")) {
        return count_arg(c, ++*i, &r->count);
    }
    if (more > 0 && arg_is(c, *i, "streams")) {
        r->first = *i + 1;
        return true;
    }
    if (more > 1 && arg_is(c, *i, "group")) {
        r->group = *i + 1;
        r->consumer = *i + 2;
        *i += 2;
        return only_for_groups(c, r, "GROUP");
    }
    if (arg_is(c, *i, "noack")) {
        r->noack = true;
        return only_for_groups(c, r, "NOACK");
    }
    reply_syntax(c);
    return false;
}

static bool read_options(struct call *c, struct xread *r)
{
    for (unsigned i = 1; i < c->argc && r->first == 0; i++) {
        if (!read_option(c, &i, r)) {
            return false;
        }
    }
    if (r->first != 0 && (c->argc - r->first) % 2 != 0) {
        reply_errorf(c,
                     "ERR Unbalanced '%s' list of streams: for each stream key an ID or '%c' must "
                     "be specified.",
                     c->cmd->name, r->for_group ? '>' : '$');
        return false;
    }
    if (r->first == 0) {
        reply_syntax(c);
        return false;
    }
    if (r->for_group && r->group == 0) {
        reply_error(c, "ERR Missing GROUP option for XREADGROUP");
        return false;
    }
    r->n = (c->argc - r->first) / 2;
    return true;
}

static void reply_meaningless(struct call *c, char id)
{
    reply_errorf(c,
                 "ERR The %c ID is meaningless in the context of XREADGROUP: you want to read the "
                 "history of this consumer by specifying a proper ID, or use the > ID to get new "
                 "messages. The %c ID would just return an empty result set.",
                 id, id);
}

/* `$`: after what is there; `+`: after what is before the last entry. */
static void resolve(const struct stream *s, bool dollar, struct source *from)
{
    from->after = STREAM_ID_MIN;
    from->resolved = true;
    if (s == NULL) {
        return;
    }
    if (dollar) {
        from->after = stream_state(s)->last;
    } else if (stream_edge(s, false, &from->after)) {
        (void)!stream_id_prev(&from->after);
    }
}

/* Source i: its stream or group must be what they are taken for, its ID well-formed. */
static bool read_source(struct call *c, struct xread *r, unsigned i)
{
    struct source *from = &r->from[i];
    struct slice id = c->argv[r->first + r->n + i];
    bool dollar = slice_eq(id, S("$")), plus = slice_eq(id, S("+")), fresh = slice_eq(id, S(">"));
    struct stream *s;
    struct stream_group g;
    *from = (struct source){ .fresh = fresh };
    if (!call_serves(c, i)) {
        return true; /* it was looked at before */
    }
    if (r->for_group ? !stream_group_arg(c, &c->keys[i], r->group, &s, &g)
                     : !stream_read(c, &c->keys[i], &s)) {
        return false;
    }
    if ((dollar || plus) && r->for_group) {
        reply_meaningless(c, id.p[0]);
        return false;
    }
    if (fresh && !r->for_group) {
        reply_error(c, "ERR The > ID can be specified only when calling XREADGROUP using the GROUP "
                       "<group> <consumer> option.");
        return false;
    }
    if (dollar || plus) {
        resolve(s, dollar, from);
        return true;
    }
    return fresh || arg_stream_id(c, r->first + r->n + i, &from->after);
}

/* ---- Replies ---- */

/* An array of pairs, or a map: before what is read from source i. */
static void read_head(struct call *c, struct xread *r, unsigned i)
{
    if (r->replied++ == 0) {
        r->hole = reply_array_deferred(c);
    }
    if (c->resp == 2) {
        reply_array(c, 2);
    }
    reply_bulk(c, c->keys[i].s);
}

static void read_plain(struct call *c, struct xread *r, unsigned i, const struct stream *s)
{
    struct stream_id after = r->from[i].after, last;
    if (stream_edge(s, false, &last) && stream_id_cmp(last, after) > 0) {
        must(stream_id_next(&after));
        read_head(c, r, i);
        reply_stream_range(c, s, after, STREAM_ID_MAX, true, r->count);
    }
}

/* ---- For a group ---- */

/* New entries. Walking is not disturbed by what becomes pending: that is beside the entries. */
static void read_fresh(struct call *c, struct xread *r, unsigned i, struct stream *s,
                       struct stream_group *g, struct stream_consumer *to)
{
    const struct key *k = &c->keys[i];
    struct stream_iter it;
    struct stream_entry e;
    struct stream_id from = g->last, last;
    struct claims claims;
    size_t n = 0;
    if (!stream_edge(s, false, &last) || stream_id_cmp(last, from) <= 0) {
        return;
    }
    must(stream_id_next(&from));
    claims_begin(&claims, c, k, c->argv[r->group], c->argv[r->consumer]);
    if (!claims_room(&claims)) {
        r->no_memory = true;
        return;
    }
    read_head(c, r, i);
    struct out_block *hole = reply_array_deferred(c);
    stream_group_resume(s, g);
    stream_iter(&it, s, from, STREAM_ID_MAX, true);
    while ((r->count == 0 || n < r->count) && claims_room(&claims) && stream_next(&it, &e)) {
        reply_stream_entry(c, &it, &e);
        stream_group_advance(s, g, e.id);
        if (!r->noack) {
            struct stream_pending p = { e.id, to->number, c->now_ms, 1 };
            stream_pend(s, g, &p);
            claims_add(&claims, &p);
        }
        n++;
    }
    reply_array_fill(c, hole, n);
    claims_end(&claims);
    stream_group_set(s, g);
    effect_group(c, k, g);
    if (!r->noack) {
        to->active = c->now_ms;
        stream_consumer_set(s, to);
    }
    key_changed_quietly(c, k);
    r->changed = true;
}

#define HISTORY_STEP 64

/* Up to `room` entries that are pending for the consumer from *from on, which goes behind them. */
static unsigned some_pending(const struct stream *s, const struct stream_group *g,
                             const struct stream_consumer *of, struct stream_id *from,
                             struct stream_pending *p, unsigned room)
{
    struct stream_pending_iter it;
    unsigned n = 0;
    stream_pending_iter(&it, s, g, of, *from, STREAM_ID_MAX);
    while (n < room && stream_pending_next(&it, &p[n])) {
        n++;
    }
    if (n > 0) {
        *from = p[n - 1].id;
        (void)!stream_id_next(from);
    }
    return n;
}

/* What is pending for the consumer, delivered once more. */
static void read_history(struct call *c, struct xread *r, unsigned i, struct stream *s,
                         struct stream_group *g, struct stream_consumer *of)
{
    const struct key *k = &c->keys[i];
    struct stream_pending p[HISTORY_STEP];
    struct stream_id from = r->from[i].after;
    struct claims claims;
    size_t n = 0;
    bool more = stream_id_next(&from), changed = false;
    claims_begin(&claims, c, k, c->argv[r->group], c->argv[r->consumer]);
    claims.again = true;
    if (!claims_room(&claims)) {
        r->no_memory = true;
        return;
    }
    read_head(c, r, i);
    struct out_block *hole = reply_array_deferred(c);
    while (more && (r->count == 0 || n < r->count)) {
        unsigned room =
            r->count == 0 || r->count - n > HISTORY_STEP ? HISTORY_STEP : (unsigned)(r->count - n);
        unsigned found = some_pending(s, g, of, &from, p, room);
        for (unsigned j = 0; j < found; j++) {
            if (!claims_room(&claims)) {
                found = j;
                room = j + 1; /* that is all */
                break;
            }
            if (reply_stream_one(c, s, p[j].id)) {
                p[j].time = c->now_ms;
                p[j].count = stream_counted(p[j].count);
                stream_pend(s, g, &p[j]);
                claims_add(&claims, &p[j]);
                changed = true;
            } else {
                reply_array(c, 2);
                reply_stream_id(c, p[j].id);
                reply_null_array(c);
            }
        }
        n += found;
        more = found == room && stream_id_cmp(p[found - 1].id, from) != 0; /* not the last ID */
    }
    reply_array_fill(c, hole, n);
    claims_end(&claims);
    if (changed) {
        key_changed_quietly(c, k);
        r->changed = true;
    }
}

/* The group at source i, which read_source() has found. */
static struct stream *read_from(struct call *c, const struct xread *r, unsigned i,
                                struct stream_group *g)
{
    struct stream *s = entry_ptr(key_peek(c, &c->keys[i]));
    must(stream_group_find(s, c->argv[r->group], g));
    g->name = c->argv[r->group]; /* where it stands may change */
    return s;
}

/* Makes the consumer in all groups before anything is read: once a reply has begun there is no way
 * back. False: replied that there is no memory, and it is in no group where it was not. */
static bool read_consumers(struct call *c, struct xread *r)
{
    struct stream_group g;
    struct stream_consumer made;
    for (unsigned i = 0; i < r->n; i++) {
        if (!call_serves(c, i)) {
            continue;
        }
        struct stream *s = read_from(c, r, i, &g);
        int rc = stream_consumer_add(s, &g, c->argv[r->consumer], call_logged_ms(c), STREAM_NEVER);
        r->from[i].made = rc > 0;
        if (rc >= 0) {
            continue;
        }
        for (; i > 0; i--) {
            if (r->from[i - 1].made) {
                s = read_from(c, r, i - 1, &g);
                must(stream_consumer_find(s, &g, c->argv[r->consumer], &made));
                stream_consumer_remove(s, &made);
            }
        }
        reply_oom(c);
        return false;
    }
    return true;
}

static void read_group(struct call *c, struct xread *r, unsigned i)
{
    struct stream_group g;
    struct stream_consumer consumer;
    struct stream *s = read_from(c, r, i, &g);
    stream_consumer_met(c, &c->keys[i], s, &g, c->argv[r->consumer], &consumer, r->from[i].made);
    if (r->from[i].fresh) {
        read_fresh(c, r, i, s, &g, &consumer);
    } else {
        read_history(c, r, i, s, &g, &consumer);
    }
}

/* ---- The call ---- */

/* Waits, with the IDs that `$` and `+` stood for. */
static void read_block(struct call *c, const struct xread *r)
{
    const struct slice *argv = c->argv;
    struct slice *own = mem_try_alloc(c->argc * sizeof *own);
    struct id_text *text = mem_try_alloc(r->n * sizeof *text);
    if (own == NULL || text == NULL) {
        mem_free(text);
        mem_free(own);
        reply_oom(c);
        return;
    }
    memcpy(own, argv, c->argc * sizeof *own);
    for (unsigned i = 0; i < r->n; i++) {
        if (r->from[i].resolved) {
            own[r->first + r->n + i] = id_slice(&text[i], r->from[i].after);
        }
    }
    c->argv = own;
    call_block(c, r->for_group ? BLOCK_GROUP : BLOCK_STREAM, 0, r->n, r->deadline,
               null_array_reply);
    c->argv = argv;
    mem_free(text);
    mem_free(own);
}

/* Before a consumer is made: is there memory to read from any of them? */
static bool group_room(struct call *c, const struct xread *r)
{
    struct claims claims;
    size_t before = 0;
    bool room = true;
    for (unsigned i = 0; i < r->n && room; i++) {
        claims_begin(&claims, c, &c->keys[i], c->argv[r->group], c->argv[r->consumer]);
        before += c->keys[i].s.n + claims.group.n + claims.consumer.n + 8 * (size_t)EFFECT_ARG;
        claims.before = before; /* XGROUP CREATECONSUMER of each */
        room = claims_room(&claims);
    }
    return room;
}

/* Each stream that was read counts, if only from a consumer's history, and each new consumer. */
static void count_changes(struct call *c, const struct xread *r)
{
    int64_t n = (int64_t)r->replied;
    bool changed = r->changed;
    for (unsigned i = 0; i < r->n; i++) {
        n += r->from[i].made;
        changed |= r->from[i].made;
    }
    call_more_changes(c, n - changed);
}

static void read_sources(struct call *c, struct xread *r)
{
    for (unsigned i = 0; i < r->n; i++) {
        if (!read_source(c, r, i)) {
            return;
        }
    }
    if (r->for_group && !group_room(c, r)) {
        reply_oom(c);
        return;
    }
    if (r->for_group && !read_consumers(c, r)) {
        return;
    }
    for (unsigned i = 0; i < r->n; i++) {
        struct entry *e = call_serves(c, i) ? key_read(c, &c->keys[i]) : NULL;
        if (e != NULL && r->for_group) {
            read_group(c, r, i);
        } else if (e != NULL) {
            read_plain(c, r, i, entry_ptr(e));
        }
    }
    if (r->for_group) {
        count_changes(c, r);
    }
    if (r->replied > 0) {
        if (c->resp == 2) {
            reply_array_fill(c, r->hole, r->replied);
        } else {
            reply_map_fill(c, r->hole, r->replied);
        }
    } else if (r->no_memory) {
        reply_oom(c);
    } else if (r->blocks && call_may_block(c)) {
        read_block(c, r);
    } else {
        reply_null_array(c);
    }
}

static void read_call(struct call *c, bool for_group)
{
    struct xread r = { .for_group = for_group };
    if (!read_options(c, &r)) {
        return;
    }
    r.from = r.n <= SOURCES_ON_STACK ? r.few : mem_try_alloc(r.n * sizeof *r.from);
    if (r.from == NULL) {
        reply_oom(c);
        return;
    }
    read_sources(c, &r);
    if (r.from != r.few) {
        mem_free(r.from);
    }
}

static void cmd_xread(struct call *c)
{
    read_call(c, false);
}

static void cmd_xreadgroup(struct call *c)
{
    read_call(c, true);
}

/* A group or a consumer may be named like the word. */
static unsigned streams_word(const struct slice *argv, unsigned argc, bool numbers)
{
    unsigned i = 1;
    for (; i < argc && !slice_is(argv[i], "streams"); i++) {
        if (slice_is(argv[i], "group")) {
            i += 2;
        } else if (numbers && (slice_is(argv[i], "block") || slice_is(argv[i], "count"))) {
            i++;
        }
    }
    return i;
}

/* The options as the handler reads them. What it will refuse may have keys all the same, mostly
 * those that Redis finds in it. */
static int xread_keys(const struct slice *argv, unsigned argc, uint32_t *index, unsigned room)
{
    unsigned i = streams_word(argv, argc, true);
    i = i < argc ? i : streams_word(argv, argc, false); /* where a number should be: refused */
    unsigned n = i + 1 < argc ? (argc - i - 1) / 2 : 0;
    for (unsigned k = 0; k < n && k < room; k++) {
        index[k] = i + 1 + k;
    }
    return n > 0 ? (int)n : -1;
}

#define READ_ROW    .acl = ACL_STREAM, .group = "stream", .since = "5.0.0"
#define READ_SYNTAX "STREAMS streams=<key... id...>"
const struct command stream_read_commands[] = {
    { .name = "xread",
      .proc = cmd_xread,
      .arity = -4,
      .flags = CMD_READONLY | CMD_BLOCKING | CMD_SERVE_ONE | CMD_MOVABLEKEYS,
      READ_ROW,
      .keys = { KEYS_AFTER("streams", 1, -1, 1, 2, KEY_RO | KEY_ACCESS) },
      .getkeys = xread_keys,
      .complexity =
          "For each stream mentioned: O(N) with N being the number of elements being returned, it "
          "means that XREAD-ing with a fixed COUNT is O(1). Note that when the BLOCK option is "
          "used, XADD will pay O(M) time in order to serve the M clients blocked on the stream "
          "getting new data.",
      .summary = "Return never seen elements in multiple streams, with IDs greater than the ones "
                 "reported by the caller for each stream. Can block.",
      .syntax = "[COUNT count:int] [BLOCK milliseconds:int] " READ_SYNTAX },
    { .name = "xreadgroup",
      .proc = cmd_xreadgroup,
      .arity = -7,
      .flags = CMD_WRITE | CMD_BLOCKING | CMD_SERVE_ONE | CMD_MOVABLEKEYS,
      READ_ROW,
      .keys = { KEYS_AFTER("streams", 4, -1, 1, 2, KEY_RO | KEY_ACCESS) },
      .getkeys = xread_keys,
      .complexity =
          "For each stream mentioned: O(M) with M being the number of elements returned. If M is "
          "constant (e.g. always asking for the first 10 elements with COUNT), you can consider it "
          "O(1). On the other side when XREADGROUP blocks, XADD will pay the O(N) time in order to "
          "serve the N clients blocked on the stream getting new data.",
      .summary = "Return new entries from a stream using a consumer group, or access the history "
                 "of the pending entries for a given consumer. Can block.",
      .syntax = "GROUP group_consumer=<group consumer> [COUNT count:int] [BLOCK milliseconds:int] "
                "[NOACK] " READ_SYNTAX },
    { .name = NULL },
};
