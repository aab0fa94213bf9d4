/* tracking.c -- Client-side caching: who has read which key, and telling them once when it changes.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * TABLE      Each shard has a map from key to the handles of the clients that read it. Databases
 *            share it, as in Redis. A client is entered under the same hold of the shard's lock
 *            as its read, so that no change comes between the two: what changes the key later
 *            finds it here. A client that has gone, or does not track any more, is not looked
 *            for: its handle leads nowhere.
 * TELLING    A change takes its key out of the table and into an event of its transaction, which
 *            becomes a notice when the transaction has its record. The notice carries the gate of a
 *            message: nobody hears of a change that a crash could take back. A script's attempt
 *            that is undone puts back what it took out.
 * ORDER      Notices leave when the request is complete: to its own client behind its reply, to
 *            others by messages to their reactors, behind those that hand over to blocked clients.
 *            A client's read was answered on its reactor before that takes a message about it.
 * LOCKS      Table: the shard's. Prefixes: trackers.lock, taken under shard locks.
 * FAILURE    A client that redirects to one that has gone is told so by that one's reactor. Without
 *            memory to say which keys changed, all are said to have. */
#include "exec/tracking.h"
#include "base/rng.h"
#include "exec/keymap.h"
#include "exec/pubsub.h"
#include <stdlib.h>

/* What is told, shared by all who are told it. */
struct notice {
    _Atomic unsigned refs;
    _Atomic int64_t *telling; /* exec.telling_mem: until it is in its clients' output */
    uint64_t gate;
    uint64_t author; /* the client that changed it; of all: whose request it is; 0: nobody */
    bool bcast;      /* for those of a prefix */
    bool all;        /* every key */
    size_t n;
    char bytes[]; /* an array of keys */
};
/* A notice on its way to clients of one reactor. */
struct told {
    struct message m;
    struct told *next; /* of worker.told */
    struct notice *notice;
    unsigned reactor;
    bool direct; /* to the client whose request it is */
    unsigned n;  /* 0: to all of the reactor but the author */
    uint64_t handle[];
};
/* To the client that another one has named. */
struct forwarded {
    struct message m;
    struct notice *notice; /* NULL: it goes back, there is none */
    uint64_t from, to;
};

void tracking_new(struct exec *x)
{
    x->trackers = mem_calloc(sizeof *x->trackers);
    lock_init(&x->trackers->lock, RANK_TRACKING, 0);
}

static void free_clients(struct keynode *n)
{
    mem_free(n->head);
}

static void free_told(struct told *t);

void tracking_free(struct exec *x)
{
    for (unsigned i = 0; i < x->nshards; i++) {
        keymap_free(x->shards[i].tracked, free_clients);
    }
    for (unsigned i = 0; i < x->nworkers; i++) {
        struct worker *w = &x->workers[i];
        while (w->told != NULL) {
            struct told *t = w->told;
            w->told = t->next;
            free_told(t);
        }
        while (w->nforgotten > 0) {
            keymap_free(w->forgotten[--w->nforgotten], free_clients);
        }
        mem_free(w->forgotten);
    }
    mem_free(x->trackers->prefix);
    mem_free(x->trackers);
}

void tracking_counts(struct exec *x, struct exec_stats *out)
{
    struct trackers *all = x->trackers;
    out->tracking_clients = atomic_load_explicit(&all->clients, memory_order_relaxed);
    out->tracking_prefixes = atomic_load_explicit(&all->prefixes, memory_order_relaxed);
    out->tracked_keys = atomic_load_explicit(&all->keys, memory_order_relaxed);
    out->tracked_items = atomic_load_explicit(&all->items, memory_order_relaxed);
}

/* ---- Telling: on the reactor of who is told ---- */

static void notice_release(void *p)
{
    struct notice *n = p;
    if (atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(n);
    }
}

static struct notice *notice_share(struct notice *n)
{
    atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
    return n;
}

#define SHARED_BYTES 2048 /* above, the bytes are shared instead of copied */

/* COMPAT: RESP2 has no pushes; a client that listens to any channel hears it as a message. */
static void push(struct session *s, struct notice *n, bool redirected)
{
    struct out *o = conn_out(s->conn);
    if (s->resp == 3) {
        resp_push(o, 2, 3);
        resp_bulk(o, S("invalidate"));
    } else if (redirected && s->subs != NULL) {
        resp_array(o, 3);
        resp_bulk(o, S("message"));
        resp_bulk(o, S("__redis__:invalidate"));
    } else {
        return;
    }
    if (n->all) {
        resp_null(o, s->resp);
    } else if (n->n <= SHARED_BYTES) {
        out_add(o, n->bytes, n->n);
    } else {
        out_add_ext(o, n->bytes, n->n, notice_release, notice_share(n));
    }
    conn_gate(s->conn, n->gate);
    conn_count_passing(s->conn);
    clients_account(s);
}

static struct session *session_at(struct reactor *r, uint64_t handle)
{
    struct conn *c = conn_by_handle(r, handle);
    return c != NULL && !conn_closing(c) ? conn_user(c) : NULL;
}

static void on_broken(struct reactor *r, struct message *m)
{
    struct forwarded *f = container_of(m, struct forwarded, m);
    struct session *s = session_at(r, f->from);
    if (s != NULL && s->tracking != NULL && s->tracking->redirect_handle == f->to) {
        s->tracking->broken = true;
        if (s->resp == 3) {
            struct out *o = conn_out(s->conn);
            resp_push(o, 2, 3);
            resp_bulk(o, S("tracking-redir-broken"));
            resp_int(o, (int64_t)s->tracking->redirect);
            conn_gate(s->conn, 0);
        }
    }
    mem_free(f);
}

static void on_forwarded(struct reactor *r, struct message *m)
{
    struct forwarded *f = container_of(m, struct forwarded, m);
    struct session *s = session_at(r, f->to);
    if (s != NULL) {
        push(s, f->notice, true);
    }
    struct exec *x = ((struct worker *)reactor_user(r))->x;
    notice_release(f->notice);
    if (s != NULL) {
        mem_free(f);
        return;
    }
    f->notice = NULL;
    f->m.run = on_broken;
    reactor_post(x->workers[handle_reactor(f->from)].r, &f->m);
}

static void tell(struct session *s, struct notice *n)
{
    const struct tracking *t = s->tracking;
    if (t == NULL || (!n->all && t->bcast != n->bcast) ||
        (t->noloop && !n->all && n->author == s->handle)) {
        return;
    }
    if (t->redirect_handle == 0) {
        push(s, n, false);
        return;
    }
    struct forwarded *f = mem_alloc(sizeof *f);
    f->m.run = on_forwarded;
    f->notice = notice_share(n);
    f->from = s->handle;
    f->to = t->redirect_handle;
    reactor_post(s->w->x->workers[handle_reactor(f->to)].r, &f->m);
}

/* It and what it holds: from here on net counts what waits for a gate, and what waits for the peer
 * counts as any output. */
static int64_t told_memory(const struct told *t)
{
    return (int64_t)(mem_usable(t) + mem_usable(t->notice));
}

static void free_told(struct told *t)
{
    atomic_fetch_sub_explicit(t->notice->telling, told_memory(t), memory_order_relaxed);
    notice_release(t->notice);
    mem_free(t);
}

static void on_told(struct reactor *r, struct message *m)
{
    struct told *t = container_of(m, struct told, m);
    for (unsigned i = 0; i < t->n; i++) {
        struct session *s = session_at(r, t->handle[i]);
        if (s != NULL) {
            tell(s, t->notice);
        }
    }
    if (t->n == 0) {
        struct worker *w = reactor_user(r);
        for (struct session *s = w->sessions; s != NULL; s = s->next) {
            if (!conn_closing(s->conn) && s->handle != t->notice->author) {
                tell(s, t->notice);
            }
        }
    }
    free_told(t);
}

void tracking_deliver(struct worker *w)
{
    struct told *t = w->told;
    w->told = w->told_last = NULL;
    while (t != NULL) {
        struct told *next = t->next;
        if (t->direct) {
            on_told(w->r, &t->m);
        } else {
            reactor_post(w->x->workers[t->reactor].r, &t->m);
        }
        t = next;
    }
}

/* ---- Handing over ---- */

/* n bytes, which the caller writes, in `mem` of sizeof(struct notice) + n. NULL: there is none. */
static struct notice *notice_new(struct exec *x, void *mem, size_t n, uint64_t gate)
{
    struct notice *notice = mem;
    if (notice == NULL) {
        return NULL;
    }
    *notice = (struct notice){ .n = n };
    atomic_init(&notice->refs, 1);
    notice->telling = &x->telling_mem;
    notice->gate = gate;
    return notice;
}

static size_t put_head(char *to, char type, size_t n)
{
    *to = type;
    size_t len = 1 + format_u64(to + 1, n);
    memcpy(to + len, "\r\n", 2);
    return len + 2;
}

#define HEAD_ROOM (I64_TEXT_MAX + 3)

/* Returns how many bytes it wrote, of up to HEAD_ROOM + s.n + 2. */
static size_t put_key(char *to, struct slice s)
{
    size_t len = put_head(to, '$', s.n);
    memcpy(to + len, s.p, s.n);
    memcpy(to + len + s.n, "\r\n", 2);
    return len + s.n + 2;
}

static void told_add(struct worker *w, struct notice *n, unsigned reactor, bool direct,
                     const uint64_t *handle, unsigned count)
{
    struct told *t = mem_alloc(sizeof *t + count * sizeof *handle);
    t->m.run = on_told;
    t->next = NULL;
    t->notice = notice_share(n);
    atomic_fetch_add_explicit(n->telling, told_memory(t), memory_order_relaxed);
    t->reactor = reactor;
    t->direct = direct;
    t->n = count;
    if (count > 0) {
        memcpy(t->handle, handle, count * sizeof *handle);
    }
    if (w->told == NULL) {
        w->told = t;
    } else {
        w->told_last->next = t;
    }
    w->told_last = t;
}

/* The client whose request runs here hears of it behind its reply; the others of its reactor, too,
 * may have replies on their way as messages. */
static void hand_over(struct worker *w, struct notice *n, const uint64_t *handle, unsigned count)
{
    uint64_t own = w->current != NULL ? w->current->handle : 0;
    for (unsigned i = 0, end; i < count; i = end) {
        unsigned reactor = handle_reactor(handle[i]);
        end = i + 1;
        while (end < count && handle[i] != own && handle[end] != own &&
               handle_reactor(handle[end]) == reactor) {
            end++;
        }
        told_add(w, n, reactor, handle[i] == own, handle + i, end - i);
    }
    notice_release(n);
}

/* ---- The table of a shard, under its lock ---- */

static unsigned place_of(const uint64_t *handle, unsigned n, uint64_t wanted)
{
    unsigned low = 0, high = n;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (handle[mid] < wanted) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

bool tracking_wanted(const struct session *s)
{
    const struct tracking *t = s->tracking;
    return t != NULL && !t->bcast && (!t->optin || t->caching) && (!t->optout || !t->caching);
}

void tracking_read_slow(struct call *c)
{
    if ((c->cmd->flags & CMD_READONLY) && tracking_wanted(c->session)) {
        tracking_remember(c->in->t->w, c->keys, c->nkeys, c->session->handle);
    }
}

static void tell_all(struct worker *w, uint64_t gate)
{
    struct notice *n = notice_new(w->x, mem_alloc(sizeof *n), 0, gate);
    n->all = true;
    if (w->current != NULL) {
        n->author = w->current->handle;
        told_add(w, n, w->id, true, &n->author, 1);
    }
    for (unsigned r = 0; r < w->x->reactors; r++) {
        told_add(w, n, r, false, NULL, 0);
    }
    notice_release(n);
}

/* False: all keys were told of instead. */
static bool tell_of_key(struct worker *w, struct slice key, const uint64_t *handle, unsigned n,
                        uint64_t author, uint64_t gate)
{
    size_t room = 2 * (size_t)HEAD_ROOM + key.n + 2;
    struct notice *notice = notice_new(w->x, mem_try_alloc(sizeof *notice + room), room, gate);
    if (notice == NULL) {
        tell_all(w, gate);
        return false;
    }
    size_t at = put_head(notice->bytes, '*', 1);
    notice->n = at + put_key(notice->bytes + at, key);
    notice->author = author;
    hand_over(w, notice, handle, n);
    return true;
}

/* False: no memory. */
static must_check bool remember(struct exec *x, const struct key *k, uint64_t handle)
{
    struct keynode *at = keymap_make(&x->shards[k->shard].tracked, 0, k);
    if (at == NULL) {
        return false;
    }
    uint64_t *all = at->head;
    unsigned place = place_of(all, at->count, handle);
    if (place < at->count && all[place] == handle) {
        return true;
    }
    at->head = all = tracking_grown(all, at->count);
    memmove(all + place + 1, all + place, (at->count - place) * sizeof *all);
    all[place] = handle;
    if (at->count++ == 0) {
        atomic_fetch_add_explicit(&x->trackers->keys, 1, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&x->trackers->items, 1, memory_order_relaxed);
    return true;
}

/* What cannot be remembered is told of at once: behind its reply the client forgets it. */
void tracking_remember(struct worker *w, const struct key *keys, unsigned nkeys, uint64_t handle)
{
    for (unsigned i = 0; i < nkeys && !seeded_bug("exec.bug_untracked_read"); i++) {
        if (!remember(w->x, &keys[i], handle)) {
            (void)tell_of_key(w, keys[i].s, &handle, 1, 0, 0);
        }
    }
}

static void take_out(struct exec *x, struct keynode *at)
{
    atomic_fetch_sub_explicit(&x->trackers->keys, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&x->trackers->items, at->count, memory_order_relaxed);
    mem_free(at->head);
    keymap_drop(&x->shards[at->key.shard].tracked, at);
}

/* ---- Changes ---- */

static bool is_of_key(const struct event *e)
{
    return e->kind == EVENT_TRACKED || e->kind == EVENT_TRACKED_EXPIRED;
}

/* The event has the handles of those who have read the key, which is out of the table from here
 * on: who reads it later in the same transaction will hear of the next change. */
void tracking_changed_slow(struct call *c, const struct key *k, bool expired)
{
    struct txn *t = c->in->t;
    struct exec *x = c->x;
    int kind = expired ? EVENT_TRACKED_EXPIRED : EVENT_TRACKED;
    struct keynode *at = keymap_find(x->shards[k->shard].tracked, 0, k);
    if (at == NULL) {
        const struct event *last = t->nevents > 0 ? &t->events[t->nevents - 1] : NULL;
        if (atomic_load_explicit(&x->trackers->prefixes, memory_order_relaxed) == 0 ||
            (last != NULL && last->kind == kind && slice_eq(last->channel, k->s))) {
            return; /* a script may change one key very often */
        }
    }
    t->author = c->session != NULL       ? c->session->handle
                : c->in->serving != NULL ? waiter_handle(c->in->serving)
                                         : 0;
    struct slice clients = S("");
    if (at != NULL) {
        clients = slice_of(at->head, at->count * sizeof(uint64_t));
    }
    if (event_message(t, kind, k->s, clients) && at != NULL) {
        take_out(x, at);
    }
}

void tracking_undo(struct txn *t)
{
    struct exec *x = t->w->x;
    for (unsigned i = 0; i < t->nevents; i++) {
        const struct event *e = &t->events[i];
        const uint64_t *handle = (const void *)e->text.p;
        for (size_t k = 0; is_of_key(e) && k < e->text.n / sizeof *handle; k++) {
            struct key key = keyspace_key(x->ks, e->channel);
            if (!remember(x, &key, handle[k])) { /* as in tracking_remember() */
                (void)tell_of_key(t->w, key.s, &handle[k], 1, 0, 0);
            }
        }
    }
}

void tracking_flushed(struct call *c)
{
    struct worker *w = c->in->w;
    struct exec *x = c->x;
    if (!atomic_load_explicit(&x->tracking_used, memory_order_relaxed)) {
        return;
    }
    must(w->in_section);
    w->forgotten = mem_realloc(w->forgotten, (w->nforgotten + x->nshards) * sizeof *w->forgotten);
    for (unsigned i = 0; i < x->nshards; i++) {
        if (x->shards[i].tracked != NULL) {
            w->forgotten[w->nforgotten++] = x->shards[i].tracked;
            x->shards[i].tracked = NULL;
        }
    }
    atomic_store_explicit(&x->trackers->keys, 0, memory_order_relaxed);
    atomic_store_explicit(&x->trackers->items, 0, memory_order_relaxed);
    event_message(c->in->t, EVENT_TRACKED_ALL, S(""), S(""));
}

static int by_bytes(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

static bool is_of_prefix(const struct prefix *p, const struct slice *key, unsigned i)
{
    return key[i].n >= p->text.n && memcmp(key[i].p, p->text.p, p->text.n) == 0 &&
           (i == 0 || !slice_eq(key[i], key[i - 1]));
}

/* Tells those of a prefix which of these keys has it, each once. False: no memory. */
static bool tell_prefix(struct txn *t, const struct prefix *p, const struct slice *key,
                        unsigned nkeys, uint64_t author, uint64_t gate)
{
    unsigned n = 0;
    size_t bytes = HEAD_ROOM;
    for (unsigned i = 0; i < nkeys; i++) {
        if (is_of_prefix(p, key, i)) {
            bytes += HEAD_ROOM + key[i].n + 2;
            n++;
        }
    }
    void *mem = n > 0 ? mem_try_alloc(sizeof(struct notice) + bytes) : NULL;
    struct notice *notice = notice_new(t->w->x, mem, bytes, gate);
    if (notice == NULL) {
        return n == 0;
    }
    char *at = notice->bytes + put_head(notice->bytes, '*', n);
    for (unsigned i = 0; i < nkeys; i++) {
        at += is_of_prefix(p, key, i) ? put_key(at, key[i]) : 0;
    }
    notice->n = (size_t)(at - notice->bytes);
    notice->author = author;
    notice->bcast = true;
    hand_over(t->w, notice, p->handle, p->n);
    return true;
}

/* One notice for each prefix that any of t's changed keys has. False: no memory for one. */
static bool publish_prefixes(struct txn *t, int kind, uint64_t author, uint64_t gate)
{
    struct trackers *all = t->w->x->trackers;
    struct slice *key = mem_try_alloc((t->nevents + 1) * sizeof *key);
    if (key == NULL) {
        return false;
    }
    unsigned n = 0;
    for (unsigned i = 0; i < t->nevents; i++) {
        if (t->events[i].kind == kind) {
            key[n++] = t->events[i].channel;
        }
    }
    qsort(key, n, sizeof *key, by_bytes);
    bool told = true;
    lock_acquire(&all->lock);
    for (unsigned i = 0; i < all->n && told; i++) {
        told = tell_prefix(t, &all->prefix[i], key, n, author, gate);
    }
    lock_release(&all->lock);
    mem_free(key);
    return told;
}

void tracking_publish(struct txn *t, uint64_t gate)
{
    struct worker *w = t->w;
    gate = seeded_bug("exec.bug_ungated_invalidation") ? 0 : gate;
    bool lost = (t->lost & LOST_KEYS) != 0;
    if (!lost && atomic_load_explicit(&w->x->trackers->prefixes, memory_order_relaxed) > 0) {
        lost = !publish_prefixes(t, EVENT_TRACKED, t->author, gate) ||
               !publish_prefixes(t, EVENT_TRACKED_EXPIRED, 0, gate);
    }
    if (unlikely(lost)) {
        tell_all(w, gate);
    }
    for (unsigned i = 0; i < t->nevents && !lost; i++) {
        const struct event *e = &t->events[i];
        if (e->kind == EVENT_TRACKED_ALL) {
            tell_all(w, gate);
        } else if (is_of_key(e) && e->text.n > 0) {
            lost = !tell_of_key(w, e->channel, (const void *)e->text.p,
                                (unsigned)(e->text.n / sizeof(uint64_t)),
                                e->kind == EVENT_TRACKED ? t->author : 0, gate);
        }
    }
}

/* ---- Bounds ---- */

#define EFFORT 100 /* keys that one call forgets; more when that does not suffice, as in Redis */

static bool is_over(struct exec *x)
{
    int64_t limit = option_int(&x->opt.tracking_table_max_keys);
    return limit > 0 &&
           atomic_load_explicit(&x->trackers->keys, memory_order_relaxed) > (uint64_t)limit;
}

/* A random key of a random shard that has any. */
static void forget_one(struct worker *w)
{
    struct exec *x = w->x;
    unsigned start = (unsigned)rng_below(x->nshards);
    for (unsigned i = 0; i < x->nshards; i++) {
        unsigned index = (start + i) & (x->nshards - 1);
        struct shard *s = keyspace_shard(x->ks, index);
        shard_lock(s);
        struct keynode *at = keymap_any(x->shards[index].tracked, (unsigned)rng_u64());
        if (at != NULL) {
            (void)tell_of_key(w, at->key.s, at->head, at->count, 0, 0);
            take_out(x, at);
        }
        shard_unlock(s);
        if (at != NULL) {
            return;
        }
    }
}

/* One worker at a time, so that no more is forgotten than there is above the limit. */
static bool shrink(struct worker *w)
{
    struct trackers *all = w->x->trackers;
    if (likely(!is_over(w->x)) ||
        atomic_exchange_explicit(&all->shrinking, true, memory_order_acquire)) {
        return false;
    }
    all->effort += EFFORT;
    for (unsigned i = 0; i < all->effort && is_over(w->x); i++) {
        forget_one(w);
    }
    bool more = is_over(w->x);
    all->effort = more ? all->effort : 0;
    atomic_store_explicit(&all->shrinking, false, memory_order_release);
    return more;
}

#define FREE_AT_ONCE 8 /* maps of a shard each, of about a thousand keys when the table is full */

bool tracking_slice(struct worker *w)
{
    for (unsigned i = 0; w->nforgotten > 0 && i < FREE_AT_ONCE; i++) {
        keymap_free(w->forgotten[--w->nforgotten], free_clients);
    }
    if (!atomic_load_explicit(&w->x->tracking_used, memory_order_relaxed)) {
        return false;
    }
    bool more = shrink(w);
    return more || w->nforgotten > 0;
}

void tracking_before(struct session *s, const struct cmd_ref *ref)
{
    struct tracking *t = s->tracking;
    if (t->caching) { /* for one command, or a transaction, that is not CLIENT itself */
        if (t->spent && s->multi == NULL) {
            t->caching = false;
        } else {
            t->spent = ref == NULL || ref->row->sub != NULL || ref->parent == NULL ||
                       strcmp(ref->parent->row->name, "client") != 0;
        }
    }
    if (!s->w->busy) { /* else the keyspace is a slow script's */
        (void)shrink(s->w);
        tracking_deliver(s->w);
    }
}
