/* pubsub.c -- Channels and patterns across reactors: who listens, handing messages over, and the
 * commands. SPDX-License-Identifier: BSD-3-Clause
 *
 * REGISTRY   Channels live in CHANNEL_SHARDS maps, patterns in one more; each under its own lock. A
 * subscriber is the handle of its connection. PUBLISH    counts receivers and posts one message per
 * reactor that has any, under the channel's lock: all subscribers of a channel see the same order.
 * The receiving reactor looks at its session's own set before it delivers, so nothing arrives after
 * an UNSUBSCRIBE was answered. What a client has published to itself comes in the same way, so that
 * all that comes to it keeps its order; its next request waits for that, and the message stands
 * behind the reply to PUBLISH. GATE       A message leaves its publisher's transaction when that
 * has its record (events_publish) and carries the newest LSN the publisher wrote or saw: no
 * subscriber hears of what a crash could take back. LOCKS      RANK_CHANNELS, order = map index;
 * may be taken under shard locks (events). THREADS    Any worker. session_*: its reactor. */
#include "exec/tracking.h"
#include "exec/pubsub.h"

#define CHANNEL_SHARDS 64
#define PATTERN_MAP    CHANNEL_SHARDS

struct listeners { /* hangs in keynode.head; one piece: a miss less for each of very many */
    unsigned n, cap;
    uint64_t handle[];
};
struct pubsub {
    struct {
        struct lock lock;
        struct keymap *map;
    } cacheline_aligned part[CHANNEL_SHARDS + 1];
    _Atomic unsigned patterns; /* distinct; lets PUBLISH skip their lock */
    _Atomic unsigned clients;  /* sessions with any subscription */
    _Atomic unsigned channels; /* subscriptions to channels, for the fast way out of events */
};

/* Bytes of a message after the type character, shared by all its receivers. */
struct payload {
    _Atomic unsigned refs;
    struct key channel; /* what the receiver must be subscribed to: the channel or the pattern;
                           points into bytes */
    enum sub_kind kind;
    size_t n;
    char bytes[];
};
struct delivery {
    struct message m;
    struct payload *p;
    uint64_t gate;
    uint64_t author; /* of handle[]: the client whose request published it; 0: none of them */
    unsigned n;
    uint64_t handle[];
};

static struct key name_key(struct slice s)
{
    return (struct key){ s, hash_key(s.p, s.n), 0 };
}

static unsigned part_of(enum sub_kind kind, const struct key *k)
{
    return kind == SUB_PATTERN ? PATTERN_MAP : (unsigned)(k->hash >> 58);
}

void pubsub_new(struct exec *x)
{
    x->pubsub = mem_aligned(64, sizeof *x->pubsub);
    memset(x->pubsub, 0, sizeof *x->pubsub);
    for (unsigned i = 0; i <= CHANNEL_SHARDS; i++) {
        lock_init(&x->pubsub->part[i].lock, RANK_CHANNELS, i);
    }
}

void pubsub_free(struct exec *x)
{
    mem_free(x->pubsub);
}

static void count_channel(void *arg, struct keynode *n)
{
    struct exec_stats *out = arg;
    out->pubsub_channels += n->db == SUB_CHANNEL;
    out->pubsub_shard_channels += n->db == SUB_SHARD;
}

void pubsub_counts(struct exec *x, struct exec_stats *out)
{
    struct pubsub *ps = x->pubsub;
    for (unsigned i = 0; i < CHANNEL_SHARDS; i++) {
        lock_acquire(&ps->part[i].lock);
        keymap_each(ps->part[i].map, count_channel, out);
        lock_release(&ps->part[i].lock);
    }
    out->pubsub_patterns = atomic_load_explicit(&ps->patterns, memory_order_relaxed);
    out->pubsub_clients = atomic_load_explicit(&ps->clients, memory_order_relaxed);
}

/* ---- Delivering ---- */

static void payload_release(void *p)
{
    struct payload *pl = p;
    if (pl != NULL && atomic_fetch_sub_explicit(&pl->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(pl);
    }
}

#define COPY_MAX 2048 /* above, receivers share the bytes instead of copying them */

static void deliver_to(struct session *s, struct payload *p, uint64_t gate)
{
    if (s->subs == NULL || keymap_find(s->subs->map, p->kind, &p->channel) == NULL ||
        conn_closing(s->conn)) {
        return;
    }
    struct out *o = conn_out(s->conn);
    out_add(o, s->resp == 3 ? ">" : "*", 1);
    if (p->n <= COPY_MAX) {
        out_add(o, p->bytes, p->n);
    } else {
        atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
        out_add_ext(o, p->bytes, p->n, payload_release, p);
    }
    conn_gate(s->conn, gate);
    clients_account(s);
}

static void on_delivery(struct reactor *r, struct message *m)
{
    struct delivery *d = container_of(m, struct delivery, m);
    for (unsigned i = 0; i < d->n; i++) {
        struct conn *c = conn_by_handle(r, d->handle[i]);
        if (c != NULL && d->p != NULL) {
            deliver_to(conn_user(c), d->p, d->gate);
        } else if (c != NULL) {
            conn_close_limit(c, LOST_MESSAGE);
        }
    }
    struct conn *author = d->author != 0 ? conn_by_handle(r, d->author) : NULL;
    payload_release(d->p);
    mem_free(d);
    if (author != NULL) {
        struct session *s = conn_user(author);
        if (--s->own_messages == 0) {
            session_heard(s);
        }
    }
}

/* One message per reactor that has listeners. The part's lock is held. p NULL: there was no memory
 * for it, and they go. */
static void hand_over(struct worker *w, const struct listeners *l, struct payload *p, uint64_t gate)
{
    struct exec *x = w->x;
    uint64_t own = w->current != NULL ? w->current->handle : 0;
    for (unsigned r = 0; r < x->reactors; r++) {
        unsigned n = 0;
        for (unsigned i = 0; i < l->n; i++) {
            n += handle_reactor(l->handle[i]) == r;
        }
        if (n == 0) {
            continue;
        }
        struct delivery *d = mem_alloc(sizeof *d + n * sizeof d->handle[0]);
        d->p = p;
        d->gate = gate;
        d->author = 0;
        d->n = 0;
        d->m.run = on_delivery;
        for (unsigned i = 0; i < l->n; i++) {
            if (handle_reactor(l->handle[i]) == r) {
                d->handle[d->n++] = l->handle[i];
                d->author = l->handle[i] == own ? own : d->author;
            }
        }
        if (d->author != 0) {
            w->current->own_messages++;
        }
        if (p != NULL) {
            atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
        }
        reactor_post(x->workers[r].r, &d->m);
    }
}

#define BULK_ROOM (I64_TEXT_MAX + 5)

static char *put_bulk(char *to, struct slice s)
{
    *to++ = '$';
    to += format_u64(to, s.n);
    memcpy(to, "\r\n", 2);
    memcpy(to + 2, s.p, s.n);
    memcpy(to + 2 + s.n, "\r\n", 2);
    return to + 4 + s.n;
}

/* pattern.p NULL: a channel message. NULL: no memory. */
static struct payload *payload_make(enum sub_kind kind, struct slice pattern, struct slice channel,
                                    struct slice text)
{
    bool matched = pattern.p != NULL;
    struct slice what = matched ? S("pmessage") : kind == SUB_SHARD ? S("smessage") : S("message");
    struct payload *p = mem_try_alloc(sizeof *p + 3 + 4 * (size_t)BULK_ROOM + what.n + pattern.n +
                                      channel.n + text.n);
    if (p == NULL) {
        return NULL;
    }
    atomic_init(&p->refs, 1);
    p->kind = kind;
    memcpy(p->bytes, matched ? "4\r\n" : "3\r\n", 3);
    struct slice name = matched ? pattern : channel;
    char *at = put_bulk(put_bulk(p->bytes + 3, what), name);
    p->channel = name_key(name);
    p->channel.s.p = at - 2 - name.n;
    at = matched ? put_bulk(at, channel) : at;
    p->n = (size_t)(put_bulk(at, text) - p->bytes);
    return p;
}

struct pattern_walk {
    struct worker *w;
    struct slice channel, text;
    uint64_t gate;
    unsigned receivers;
    bool deliver;
};

static void pattern_visit(void *arg, struct keynode *n)
{
    struct pattern_walk *pw = arg;
    const struct listeners *l = n->head;
    if (!glob_match(n->key.s, pw->channel, false)) {
        return;
    }
    pw->receivers += l->n;
    if (pw->deliver) {
        struct payload *p = payload_make(SUB_PATTERN, n->key.s, pw->channel, pw->text);
        hand_over(pw->w, l, p, pw->gate);
        payload_release(p);
    }
}

unsigned pubsub_publish(struct worker *w, enum sub_kind kind, struct slice channel,
                        struct slice text, uint64_t gate, bool deliver)
{
    struct pubsub *ps = w->x->pubsub;
    unsigned receivers = 0;
    struct key k = name_key(channel);
    unsigned part = part_of(kind, &k);
    lock_acquire(&ps->part[part].lock);
    struct keynode *n = keymap_find(ps->part[part].map, kind, &k);
    if (n != NULL) {
        const struct listeners *l = n->head;
        receivers = l->n;
        if (deliver) {
            struct payload *p = payload_make(kind, (struct slice){ NULL, 0 }, channel, text);
            hand_over(w, l, p, gate);
            payload_release(p);
        }
    }
    lock_release(&ps->part[part].lock);
    if (kind == SUB_CHANNEL && atomic_load_explicit(&ps->patterns, memory_order_acquire) > 0) {
        struct pattern_walk pw = { w, channel, text, gate, 0, deliver };
        lock_acquire(&ps->part[PATTERN_MAP].lock);
        keymap_each(ps->part[PATTERN_MAP].map, pattern_visit, &pw);
        lock_release(&ps->part[PATTERN_MAP].lock);
        receivers += pw.receivers;
    }
    return receivers;
}

bool pubsub_anybody(const struct exec *x)
{
    return atomic_load_explicit(&x->pubsub->channels, memory_order_relaxed) > 0 ||
           atomic_load_explicit(&x->pubsub->patterns, memory_order_relaxed) > 0;
}

/* ---- Subscribing ---- */

bool session_subscribed(const struct session *s)
{
    return s->subs != NULL;
}

unsigned session_subs(const struct session *s, int kind)
{
    return s->subs != NULL ? s->subs->n[kind] : 0;
}

/* With room for one more. NULL: no memory, and l is as it was. */
static struct listeners *listeners_grown(struct listeners *l)
{
    unsigned n = l != NULL ? l->n : 0;
    if (n > 0 && n < l->cap) {
        return l;
    }
    l = mem_try_realloc(l, sizeof *l + (2 * (size_t)n + 1) * sizeof l->handle[0]);
    if (l != NULL) {
        l->n = n;
        l->cap = 2 * n + 1;
    }
    return l;
}

/* False: no memory. */
static bool listener_add(struct exec *x, enum sub_kind kind, const struct key *k, uint64_t handle)
{
    struct pubsub *ps = x->pubsub;
    unsigned part = part_of(kind, k);
    lock_acquire(&ps->part[part].lock);
    struct keynode *n = keymap_make(&ps->part[part].map, kind, k);
    struct listeners *l = n != NULL ? listeners_grown(n->head) : NULL;
    if (l != NULL) {
        n->head = l;
        l->handle[l->n] = handle;
        if (l->n++ == 0) {
            atomic_fetch_add_explicit(kind == SUB_PATTERN ? &ps->patterns : &ps->channels, 1,
                                      memory_order_release);
        }
    } else if (n != NULL && n->head == NULL) {
        keymap_drop(&ps->part[part].map, n);
    }
    lock_release(&ps->part[part].lock);
    return l != NULL;
}

static void subs_end_if_none(struct session *s)
{
    if (s->subs->n[0] + s->subs->n[1] + s->subs->n[2] == 0) {
        mem_free(s->subs);
        s->subs = NULL;
        session_set_obuf_class(s, OBUF_NORMAL);
        atomic_fetch_sub_explicit(&s->w->x->pubsub->clients, 1, memory_order_relaxed);
    }
}

/* False: no memory, it is not subscribed to that. */
static bool subscribe_one(struct session *s, enum sub_kind kind, struct slice name)
{
    struct key k = name_key(name);
    if (s->subs == NULL) {
        s->subs = mem_calloc(sizeof *s->subs);
        session_set_obuf_class(s, OBUF_PUBSUB);
        atomic_fetch_add_explicit(&s->w->x->pubsub->clients, 1, memory_order_relaxed);
    }
    if (keymap_find(s->subs->map, kind, &k) != NULL) {
        return true;
    }
    struct keynode *own = keymap_make(&s->subs->map, kind, &k);
    bool done = own != NULL && listener_add(s->w->x, kind, &k, s->handle);
    if (done) {
        s->subs->n[kind]++;
    } else if (own != NULL) {
        keymap_drop(&s->subs->map, own);
    }
    subs_end_if_none(s);
    return done;
}

static void listener_remove(struct exec *x, enum sub_kind kind, const struct key *k,
                            uint64_t handle)
{
    struct pubsub *ps = x->pubsub;
    unsigned part = part_of(kind, k);
    lock_acquire(&ps->part[part].lock);
    struct keynode *n = keymap_find(ps->part[part].map, kind, k);
    struct listeners *l = n->head;
    for (unsigned i = 0; i < l->n; i++) {
        if (l->handle[i] == handle) {
            memmove(&l->handle[i], &l->handle[i + 1], (l->n - i - 1) * sizeof *l->handle);
            l->n--;
            break;
        }
    }
    if (l->n == 0) {
        mem_free(l);
        keymap_drop(&ps->part[part].map, n);
        keymap_shrink(ps->part[part].map);
        atomic_fetch_sub_explicit(kind == SUB_PATTERN ? &ps->patterns : &ps->channels, 1,
                                  memory_order_release);
    }
    lock_release(&ps->part[part].lock);
}

/* name: may be that of the subscription itself. */
static bool unsubscribe_one(struct session *s, enum sub_kind kind, struct slice name)
{
    struct key k = name_key(name);
    struct keynode *n = s->subs != NULL ? keymap_find(s->subs->map, kind, &k) : NULL;
    if (n == NULL) {
        return false;
    }
    listener_remove(s->w->x, kind, &k, s->handle);
    keymap_drop(&s->subs->map, n);
    s->subs->n[kind]--;
    subs_end_if_none(s);
    return true;
}

/* A subscription of this kind, in slot *at of the set or behind it; NULL: there is none. */
static struct keynode *sub_from(const struct session *s, enum sub_kind kind, unsigned *at)
{
    const struct keymap *m = s->subs != NULL ? s->subs->map : NULL;
    for (; m != NULL && *at < m->slots; (*at)++) {
        struct keynode *n = m->slot[*at];
        while (n != NULL && n->db != (unsigned)kind) {
            n = n->chain;
        }
        if (n != NULL) {
            return n;
        }
    }
    return NULL;
}

void session_unsubscribe_all(struct session *s)
{
    for (unsigned kind = 0; kind < SUB_KINDS; kind++) {
        unsigned at = 0;
        for (struct keynode *n; (n = sub_from(s, (enum sub_kind)kind, &at)) != NULL;) {
            unsubscribe_one(s, (enum sub_kind)kind, n->key.s);
        }
    }
}

/* ---- Commands ---- */

static unsigned reply_count_of(const struct session *s, enum sub_kind kind)
{
    return kind == SUB_SHARD ? session_subs(s, SUB_SHARD)
                             : session_subs(s, SUB_CHANNEL) + session_subs(s, SUB_PATTERN);
}

/* left: of the kind's subscriptions. */
static void reply_subscription(struct call *c, const char *what, const struct slice *name,
                               unsigned left)
{
    c->session->confirmed = true;
    reply_push(c, 3);
    reply_bulk_str(c, what);
    name != NULL ? reply_bulk(c, *name) : reply_null(c);
    reply_int(c, left);
}

static void subscribe_all(struct call *c, enum sub_kind kind, const char *what)
{
    for (unsigned i = 1; i < c->argc; i++) {
        if (subscribe_one(c->session, kind, c->argv[i])) {
            reply_subscription(c, what, &c->argv[i], reply_count_of(c->session, kind));
        } else {
            reply_oom(c);
        }
    }
}

static void unsubscribe_named(struct call *c, enum sub_kind kind, const char *what)
{
    for (unsigned i = 1; i < c->argc; i++) {
        unsubscribe_one(c->session, kind, c->argv[i]);
        reply_subscription(c, what, &c->argv[i], reply_count_of(c->session, kind));
    }
    if (c->argc > 1) {
        return;
    }
    unsigned at = 0;
    struct keynode *n = sub_from(c->session, kind, &at);
    if (n == NULL) {
        reply_subscription(c, what, NULL, reply_count_of(c->session, kind));
    }
    for (; n != NULL; n = sub_from(c->session, kind, &at)) { /* its name goes with it */
        reply_subscription(c, what, &n->key.s, reply_count_of(c->session, kind) - 1);
        unsubscribe_one(c->session, kind, n->key.s);
    }
}

static void cmd_subscribe(struct call *c)
{
    subscribe_all(c, SUB_CHANNEL, "subscribe");
}

static void cmd_psubscribe(struct call *c)
{
    subscribe_all(c, SUB_PATTERN, "psubscribe");
}

static void cmd_ssubscribe(struct call *c)
{
    subscribe_all(c, SUB_SHARD, "ssubscribe");
}

static void cmd_unsubscribe(struct call *c)
{
    unsubscribe_named(c, SUB_CHANNEL, "unsubscribe");
}

static void cmd_punsubscribe(struct call *c)
{
    unsubscribe_named(c, SUB_PATTERN, "punsubscribe");
}

static void cmd_sunsubscribe(struct call *c)
{
    unsubscribe_named(c, SUB_SHARD, "sunsubscribe");
}

static void publish_call(struct call *c, enum sub_kind kind)
{
    struct txn *t = c->in->t;
    unsigned receivers = pubsub_publish(t->w, kind, c->argv[1], c->argv[2], 0, false);
    if (receivers > 0) {
        if (!event_try(t, (int)kind, c->argv[1], c->argv[2])) {
            reply_oom(c);
            return;
        }
        if (c->session != NULL && option_int(&c->x->opt.durable_reads)) {
            t->gate = u64_max(t->gate, c->session->last_gate);
        }
    }
    reply_int(c, receivers);
}

static void cmd_publish(struct call *c)
{
    publish_call(c, SUB_CHANNEL);
}

static void cmd_spublish(struct call *c)
{
    publish_call(c, SUB_SHARD);
}

struct channel_walk {
    struct call *c;
    struct slice pattern; /* p NULL: all */
    unsigned kind;
    size_t n;
};

static void channel_visit(void *arg, struct keynode *n)
{
    struct channel_walk *cw = arg;
    if (n->db == cw->kind && (cw->pattern.p == NULL || glob_match(cw->pattern, n->key.s, false))) {
        reply_bulk(cw->c, n->key.s);
        cw->n++;
    }
}

static void channels_call(struct call *c, enum sub_kind kind)
{
    if (c->argc > 3) {
        reply_wrong_sub(c);
        return;
    }
    struct channel_walk cw = { c, c->argc > 2 ? c->argv[2] : (struct slice){ 0 }, kind, 0 };
    struct out_block *hole = reply_array_deferred(c);
    struct pubsub *ps = c->x->pubsub;
    for (unsigned i = 0; i < CHANNEL_SHARDS; i++) {
        lock_acquire(&ps->part[i].lock);
        keymap_each(ps->part[i].map, channel_visit, &cw);
        lock_release(&ps->part[i].lock);
    }
    reply_array_fill(c, hole, cw.n);
}

static void numsub_call(struct call *c, enum sub_kind kind)
{
    struct pubsub *ps = c->x->pubsub;
    reply_array(c, 2 * (size_t)(c->argc - 2)); /* flat in RESP3 too, as in Redis */
    for (unsigned i = 2; i < c->argc; i++) {
        struct key k = name_key(c->argv[i]);
        unsigned part = part_of(kind, &k);
        lock_acquire(&ps->part[part].lock);
        struct keynode *n = keymap_find(ps->part[part].map, kind, &k);
        unsigned count = n != NULL ? ((struct listeners *)n->head)->n : 0;
        lock_release(&ps->part[part].lock);
        reply_bulk(c, c->argv[i]);
        reply_int(c, count);
    }
}

static void cmd_pubsub_channels(struct call *c)
{
    channels_call(c, SUB_CHANNEL);
}

static void cmd_pubsub_shardchannels(struct call *c)
{
    channels_call(c, SUB_SHARD);
}

static void cmd_pubsub_numsub(struct call *c)
{
    numsub_call(c, SUB_CHANNEL);
}

static void cmd_pubsub_shardnumsub(struct call *c)
{
    numsub_call(c, SUB_SHARD);
}

static void cmd_pubsub_numpat(struct call *c)
{
    reply_int(c, atomic_load_explicit(&c->x->pubsub->patterns, memory_order_acquire));
}

static void cmd_pubsub_help(struct call *c)
{
    static const char *const lines[] = {
        "CHANNELS [<pattern>]",
        "    Return the currently active channels matching a <pattern> (default: '*').",
        "NUMPAT",
        "    Return number of subscriptions to patterns.",
        "NUMSUB [<channel> ...]",
        "    Return the number of subscribers for the specified channels, excluding",
        "    pattern subscriptions(default: no channels).",
        "SHARDCHANNELS [<pattern>]",
        "    Return the currently active shard level channels matching a <pattern> (default: '*').",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Return the number of subscribers for the specified shard level channel(s)",
        NULL,
    };
    reply_help(c, lines);
}

#define PUBSUB_FLAGS (CMD_PUBSUB | CMD_LOADING | CMD_STALE)
static const struct command pubsub_sub[] = {
    { .name = "channels",
      .proc = cmd_pubsub_channels,
      .arity = -2,
      .flags = PUBSUB_FLAGS,
      .group = "pubsub",
      .since = "2.8.0",
      .complexity = "O(N) where N is the number of active channels, and assuming constant time "
                    "pattern matching (relatively short channels and patterns)",
      .summary = "List active channels",
      .syntax = "[pattern:pattern]" },
    { .name = "numpat",
      .proc = cmd_pubsub_numpat,
      .arity = 2,
      .flags = PUBSUB_FLAGS,
      .group = "pubsub",
      .since = "2.8.0",
      .complexity = "O(1)",
      .summary = "Get the count of unique patterns pattern subscriptions" },
    { .name = "numsub",
      .proc = cmd_pubsub_numsub,
      .arity = -2,
      .flags = PUBSUB_FLAGS,
      .group = "pubsub",
      .since = "2.8.0",
      .complexity = "O(N) for the NUMSUB subcommand, where N is the number of requested channels",
      .summary = "Get the count of subscribers for channels",
      .syntax = "[channel]..." },
    { .name = "shardchannels",
      .proc = cmd_pubsub_shardchannels,
      .arity = -2,
      .flags = PUBSUB_FLAGS,
      .group = "pubsub",
      .since = "7.0.0",
      .complexity = "O(N) where N is the number of active shard channels, and assuming constant "
                    "time pattern matching (relatively short shard channels).",
      .summary = "List active shard channels",
      .syntax = "[pattern:pattern]" },
    { .name = "shardnumsub",
      .proc = cmd_pubsub_shardnumsub,
      .arity = -2,
      .flags = PUBSUB_FLAGS,
      .group = "pubsub",
      .since = "7.0.0",
      .complexity =
          "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels",
      .summary = "Get the count of subscribers for shard channels",
      .syntax = "[shardchannel]..." },
    { .name = "help",
      .proc = cmd_pubsub_help,
      .arity = 2,
      .flags = CMD_LOADING | CMD_STALE,
      .group = "pubsub",
      .since = "6.2.0",
      .complexity = "O(1)",
      .summary = "Show helpful text about the different subcommands" },
    { .name = NULL },
};

#define SUBSCRIBE_FLAGS (CMD_PUBSUB | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)
#define CHANNEL_KEYS                     \
    {                                    \
        KEYS_FROM(1, -1, 1, KEY_NOT_KEY) \
    }
const struct command pubsub_commands[] = {
    { .name = "subscribe",
      .proc = cmd_subscribe,
      .arity = -2,
      .flags = SUBSCRIBE_FLAGS,
      .group = "pubsub",
      .since = "2.0.0",
      .complexity = "O(N) where N is the number of channels to subscribe to.",
      .summary = "Listen for messages published to the given channels",
      .syntax = "channel..." },
    { .name = "unsubscribe",
      .proc = cmd_unsubscribe,
      .arity = -1,
      .flags = SUBSCRIBE_FLAGS,
      .group = "pubsub",
      .since = "2.0.0",
      .complexity = "O(N) where N is the number of clients already subscribed to a channel.",
      .summary = "Stop listening for messages posted to the given channels",
      .syntax = "[channel]..." },
    { .name = "psubscribe",
      .proc = cmd_psubscribe,
      .arity = -2,
      .flags = SUBSCRIBE_FLAGS,
      .group = "pubsub",
      .since = "2.0.0",
      .complexity = "O(N) where N is the number of patterns the client is already subscribed to.",
      .summary = "Listen for messages published to channels matching the given patterns",
      .syntax = "pattern:pattern..." },
    { .name = "punsubscribe",
      .proc = cmd_punsubscribe,
      .arity = -1,
      .flags = SUBSCRIBE_FLAGS,
      .group = "pubsub",
      .since = "2.0.0",
      .complexity = "O(N+M) where N is the number of patterns the client is already subscribed and "
                    "M is the number of total patterns subscribed in the system (by any client).",
      .summary = "Stop listening for messages posted to channels matching the given patterns",
      .syntax = "[pattern:pattern]..." },
    { .name = "ssubscribe",
      .proc = cmd_ssubscribe,
      .arity = -2,
      .flags = SUBSCRIBE_FLAGS,
      .keys = CHANNEL_KEYS,
      .group = "pubsub",
      .since = "7.0.0",
      .complexity = "O(N) where N is the number of shard channels to subscribe to.",
      .summary = "Listen for messages published to the given shard channels",
      .syntax = "shardchannel..." },
    { .name = "sunsubscribe",
      .proc = cmd_sunsubscribe,
      .arity = -1,
      .flags = SUBSCRIBE_FLAGS,
      .keys = CHANNEL_KEYS,
      .group = "pubsub",
      .since = "7.0.0",
      .complexity = "O(N) where N is the number of clients already subscribed to a shard channel.",
      .summary = "Stop listening for messages posted to the given shard channels",
      .syntax = "[shardchannel]..." },
    { .name = "publish",
      .proc = cmd_publish,
      .arity = 3,
      .flags = CMD_PUBSUB | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_MAY_REPLICATE,
      .group = "pubsub",
      .since = "2.0.0",
      .complexity = "O(N+M) where N is the number of clients subscribed to the receiving channel "
                    "and M is the total number of subscribed patterns (by any client).",
      .summary = "Post a message to a channel",
      .syntax = "channel message" },
    { .name = "spublish",
      .proc = cmd_spublish,
      .arity = 3,
      .flags = CMD_PUBSUB | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_MAY_REPLICATE,
      .keys = { KEY_AT(1, KEY_NOT_KEY) },
      .group = "pubsub",
      .since = "7.0.0",
      .complexity =
          "O(N) where N is the number of clients subscribed to the receiving shard channel.",
      .summary = "Post a message to a shard channel",
      .syntax = "shardchannel message" },
    { .name = "pubsub",
      .arity = -2,
      .flags = 0,
      .acl = ACL_SLOW,
      .sub = pubsub_sub,
      .group = "pubsub",
      .since = "2.8.0",
      .complexity = "Depends on subcommand.",
      .summary = "A container for Pub/Sub commands" },
    { .name = NULL },
};
