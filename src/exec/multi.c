/* multi.c -- MULTI, EXEC, DISCARD, WATCH, UNWATCH: queued commands as one transaction, optimistic
 * locking by watched keys. SPDX-License-Identifier: BSD-3-Clause
 *
 * EXEC     locks the union of the shards of all queued commands and of the watched keys (or enters
 * the exclusive section when one of them needs it), reads the dirty mark under those locks, runs,
 * and appends all effects as ONE record. WATCH    A node per (session, key) hangs in the shard's
 * watch table; whoever changes, expires or flushes the key sets the session's mark under that
 * shard's lock. A session takes its nodes out before it is freed, so the pointers in the table are
 * always good. THREADS  The session's reactor; watch_touch() any worker with the shard locked. */
#include "exec/keymap.h"
#include "exec/tracking.h"

struct multi {
    struct queued *first, *last;
    unsigned count;
    uint32_t flags; /* of all queued rows */
    bool aborted;   /* a command was refused while queueing */
    size_t bytes;
};
struct watch_node {
    struct watch_node *next_of_session;
    struct watch_node *prev, *next; /* in the key's list */
    struct session *s;
    struct keynode *at;
    bool was_expired; /* already expired when watched: its deletion is not a change */
};

/* ---- Queueing ---- */

bool multi_queue(struct session *s, const struct cmd_ref *ref, const struct slice *argv,
                 unsigned argc)
{
    struct multi *m = s->multi;
    if (m->aborted) { /* EXEC will refuse: do not keep bytes for it */
        return true;
    }
    struct queued *q = queued_try_copy(ref, argv, argc);
    if (q == NULL) {
        return false;
    }
    if (m->first == NULL) {
        m->first = q;
    } else {
        m->last->next = q;
    }
    m->last = q;
    m->count++;
    m->flags |= ref->row->flags;
    if (ref->row->may_write != NULL && ref->row->may_write(s->w->x, argv, argc)) {
        m->flags |= CMD_MAY_REPLICATE;
    }
    size_t bytes = mem_usable(q);
    m->bytes += bytes;
    s->multi_mem += bytes;
    return true;
}

void multi_flag_error(struct session *s)
{
    s->multi->aborted = true;
}

unsigned multi_count(const struct session *s)
{
    return s->multi != NULL ? s->multi->count : 0;
}

uint32_t multi_flags(const struct session *s)
{
    return s->multi->flags;
}

void session_discard(struct session *s)
{
    struct multi *m = s->multi;
    if (m == NULL) {
        return;
    }
    for (struct queued *q = m->first; q != NULL;) {
        struct queued *next = q->next;
        mem_free(q);
        q = next;
    }
    s->multi = NULL;
    s->multi_mem = 0;
    mem_free(m);
}

/* ---- WATCH tables ---- */

static struct keymap **watches_of(struct exec *x, uint32_t shard)
{
    return &x->shards[shard].watches;
}

void watch_touch_slow(struct exec *x, unsigned db, const struct key *k)
{
    struct keynode *n = keymap_find(x->shards[k->shard].watches, db, k);
    for (struct watch_node *at = n != NULL ? n->head : NULL; at != NULL; at = at->next) {
        atomic_store_explicit(&at->s->watch_dirty, true, memory_order_relaxed);
    }
}

/* The watchers of n for whom its key was there; it has gone now. */
static void touch_gone(struct keynode *n)
{
    for (struct watch_node *at = n->head; at != NULL; at = at->next) {
        if (!at->was_expired) {
            atomic_store_explicit(&at->s->watch_dirty, true, memory_order_relaxed);
        }
    }
}

void watch_touch_expired(struct exec *x, unsigned db, const struct key *k)
{
    struct keynode *n = keymap_find(x->shards[k->shard].watches, db, k);
    if (n != NULL) {
        touch_gone(n);
    }
}

struct touch_db {
    struct exec *x;
    int db;
};

static void touch_if_exists(void *arg, struct keynode *n)
{
    struct touch_db *td = arg;
    if (td->db >= 0 && n->db != (unsigned)td->db) {
        return;
    }
    if (shard_find(keyspace_shard(td->x->ks, n->key.shard), n->db, &n->key) != NULL) {
        touch_gone(n);
    }
}

void watch_touch_db(struct exec *x, int db)
{
    struct touch_db td = { x, db };
    for (unsigned i = 0; i < x->nshards; i++) {
        keymap_each(x->shards[i].watches, touch_if_exists, &td);
    }
}

/* SWAPDB a b: a watched key is touched that exists on either side, unless it was expired or absent
 * for the watcher and is so after the swap. */
struct touch_swap {
    struct call *c;
    unsigned a, b;
};

static void touch_swapped(void *arg, struct keynode *n)
{
    struct touch_swap *ts = arg;
    if (n->db != ts->a && n->db != ts->b) {
        return;
    }
    struct shard *sh = keyspace_shard(ts->c->ks, n->key.shard);
    bool existed = shard_find(sh, n->db, &n->key) != NULL;
    const struct entry *next = shard_find(sh, n->db == ts->a ? ts->b : ts->a, &n->key);
    bool live = next != NULL && !entry_expired(ts->c, next);
    for (struct watch_node *at = n->head; at != NULL; at = at->next) {
        if (live || (existed && !at->was_expired)) {
            atomic_store_explicit(&at->s->watch_dirty, true, memory_order_relaxed);
        } else {
            at->was_expired = next != NULL;
        }
    }
}

void watch_touch_swap(struct call *c, unsigned a, unsigned b)
{
    struct exec *x = c->x;
    struct touch_swap ts = { c, a, b };
    for (unsigned i = 0; i < x->nshards; i++) {
        keymap_each(x->shards[i].watches, touch_swapped, &ts);
    }
}

/* Looks in both lists at once: the shorter one says it. */
static bool watches_already(const struct session *s, const struct keynode *at)
{
    const struct watch_node *of_session = s->watching, *of_key = at->head;
    while (of_session != NULL && of_key != NULL) {
        if (of_session->at == at || of_key->s == s) {
            return true;
        }
        of_session = of_session->next_of_session;
        of_key = of_key->next;
    }
    return false;
}

/* False: no memory. */
static bool watch_add(struct call *c, const struct key *k)
{
    struct session *s = c->session;
    struct keynode *at = keymap_make(watches_of(c->x, k->shard), c->db, k);
    if (at == NULL || watches_already(s, at)) {
        return at != NULL;
    }
    struct watch_node *n = mem_calloc(sizeof *n);
    n->s = s;
    n->at = at;
    struct entry *e = shard_find(keyspace_shard(c->ks, k->shard), c->db, k);
    n->was_expired = e != NULL && entry_expired(c, e);
    n->next = at->head;
    if (n->next != NULL) {
        n->next->prev = n;
    }
    at->head = n;
    at->count++;
    n->next_of_session = s->watching;
    s->watching = n;
    if (s->watch_count++ == 0) {
        atomic_fetch_add_explicit(&c->x->watching_clients, 1, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&c->x->watched_keys, 1, memory_order_relaxed);
    return true;
}

static void watch_unlink(struct exec *x, struct watch_node *n)
{
    struct keynode *at = n->at;
    if (n->prev != NULL) {
        n->prev->next = n->next;
    } else {
        at->head = n->next;
    }
    if (n->next != NULL) {
        n->next->prev = n->prev;
    }
    if (--at->count == 0) {
        keymap_drop(watches_of(x, at->key.shard), at);
    }
}

/* The last ones that c has added, until `count` are left; its locks are held. */
static void watch_undo(struct call *c, unsigned count)
{
    struct session *s = c->session;
    unsigned n = s->watch_count - count;
    for (; s->watch_count > count; s->watch_count--) {
        struct watch_node *last = s->watching;
        s->watching = last->next_of_session;
        watch_unlink(c->x, last);
        mem_free(last);
    }
    if (n > 0 && count == 0) {
        atomic_fetch_sub_explicit(&c->x->watching_clients, 1, memory_order_relaxed);
    }
    atomic_fetch_sub_explicit(&c->x->watched_keys, n, memory_order_relaxed);
}

void session_unwatch(struct session *s)
{
    struct exec *x = s->w->x;
    s->unwatches = s->w->busy && s->watching != NULL;
    if (unlikely(s->unwatches)) { /* the locks are a slow script's */
        return;
    }
    while (s->watching != NULL) {
        struct watch_node *n = s->watching;
        s->watching = n->next_of_session;
        struct shard *sh = keyspace_shard(
            x->ks, n->at->key.shard); /* key bytes are the node's: constant while linked */
        if (s->w->in_section) {
            watch_unlink(x, n);
        } else {
            shard_lock(sh);
            watch_unlink(x, n);
            shard_unlock(sh);
        }
        mem_free(n);
    }
    if (s->watch_count > 0) {
        atomic_fetch_sub_explicit(&x->watching_clients, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&x->watched_keys, s->watch_count, memory_order_relaxed);
    }
    s->watch_count = 0;
    atomic_store_explicit(&s->watch_dirty, false, memory_order_relaxed);
}

/* A watched key that has expired since, though nobody deleted it yet. */
static bool watched_expired(struct session *s, struct call *c)
{
    for (struct watch_node *n = s->watching; n != NULL; n = n->next_of_session) {
        struct entry *e =
            shard_find(keyspace_shard(c->ks, n->at->key.shard), n->at->db, &n->at->key);
        if (!n->was_expired && e != NULL && entry_expired(c, e)) {
            return true;
        }
    }
    return false;
}

/* ---- EXEC ---- */

/* One of them needs a section for its arguments: keys by a pattern. It may delete one that has
 * expired, and behind a SWAPDB that is too late to be put into a log that begins. */
static bool by_arguments(const struct multi *m)
{
    for (const struct queued *q = m->first; q != NULL; q = q->next) {
        if (q->ref->row->exclusive != NULL && q->ref->row->exclusive(q->argv, q->argc)) {
            return true;
        }
    }
    return false;
}

static bool exec_needs_section(const struct multi *m)
{
    return (m->flags & (CMD_EXCLUSIVE | CMD_KEYSPACE)) != 0 || by_arguments(m);
}

/* Keys of every queued command, in order, then the watched ones, into w->keys; count[i] of command
 * i. */
static unsigned exec_keys(struct session *s, unsigned *count)
{
    struct worker *w = s->w;
    unsigned total = 0, i = 0;
    for (const struct queued *q = s->multi->first; q != NULL; q = q->next, i++) {
        unsigned to = call_add_keys(w, total, q->ref, q->argv, q->argc);
        count[i] = to - total;
        total = to;
    }
    for (struct watch_node *n = s->watching; n != NULL; n = n->next_of_session) {
        worker_keys_reserve(w, total + 1);
        w->keys[total++] = n->at->key;
    }
    return total;
}

/* All in all: what call_keys_fit() finds for one has to be there behind the others. */
static bool exec_keys_fit(struct session *s)
{
    struct worker *w = s->w;
    unsigned total = s->watch_count, most = total;
    for (const struct queued *q = s->multi->first; q != NULL; q = q->next) {
        most += q->argc;
    }
    if (most <= KEYS_KEPT) {
        return true;
    }
    for (const struct queued *q = s->multi->first; q != NULL; q = q->next) {
        int n = command_keys(q->ref->row, q->argv, q->argc, w->key_index, w->keys_cap);
        total += n > 0 ? (unsigned)n : 0;
    }
    return worker_keys_try_reserve(w, total + 1);
}

static void exec_one(struct session *s, struct call *outer, const struct queued *q,
                     struct key *keys, unsigned nkeys, bool section)
{
    struct worker *w = s->w;
    struct call_int in = { .t = &w->txn,
                           .w = w,
                           .ref = q->ref,
                           .over_memory = outer->in->over_memory,
                           .reply_from = out_size(outer->out) + 1 };
    struct call c = { .cmd = q->ref->row,
                      .argv = q->argv,
                      .argc = q->argc,
                      .nkeys = nkeys,
                      .keys = keys,
                      .db = s->db,
                      .resp = s->resp,
                      .flags = CALL_MULTI | (section ? CALL_EXCLUSIVE : 0u),
                      .now_ms = outer->now_ms,
                      .x = w->x,
                      .ks = w->x->ks,
                      .session = s,
                      .out = outer->out,
                      .in = &in };
    if (!(c.cmd->flags & (CMD_SKIP_MONITOR | CMD_ADMIN))) {
        monitor_feed(c.in->t, s, c.db, c.argv, c.argc);
    }
    if (unlikely(s->restricted) && !acl_admits(&c)) {
        return;
    }
    if (likely(fx_room_request(&c))) {
        call_invoke(&c);
        tracking_read(&c);
    } else {
        reply_oom(&c);
    }
    if (seeded_bug("exec.bug_multi_split")) {
        w->txn.lsn = fx_append(&w->txn);
        fx_reset(&w->txn);
    }
    call_account(s, &c);
}

/* count[i]: keys of command i, in w->keys. With CLIENT REPLY OFF each is silent, or not, on its
 * own: one of them may switch, or confirm a subscription. The number of replies is one more. */
static void exec_all(struct session *s, struct call *outer, const unsigned *count, bool section)
{
    struct key *k = s->w->keys;
    bool silent = s->reply_mode == REPLY_OFF || s->reply_mode == REPLY_SKIP;
    if (likely(!silent)) {
        reply_array(outer, s->multi->count);
    }
    for (const struct queued *q = s->multi->first; q != NULL; q = q->next, count++) {
        bool was = silent;
        struct out_mark mark = { 0 };
        if (unlikely(was)) {
            mark = out_mark(outer->out);
            s->confirmed = false;
        }
        exec_one(s, outer, q, k, *count, section);
        silent = s->reply_mode == REPLY_OFF || (was && s->reply_mode != REPLY_ON);
        if (unlikely(was && silent) && !s->confirmed) {
            out_rewind(outer->out, mark);
        }
        k += *count;
    }
    s->confirmed = true; /* what is there is meant to be heard */
}

static void exec_run(struct session *s, struct call *outer)
{
    struct worker *w = s->w;
    struct multi *m = s->multi;
    struct txn *t = &w->txn;
    unsigned *count = mem_try_calloc((m->count + 1) * sizeof *count);
    if (count == NULL || !exec_keys_fit(s)) {
        mem_free(count);
        txn_begin(t, w);
        reply_oom(outer);
        return;
    }
    unsigned nkeys = exec_keys(s, count);
    bool section = exec_needs_section(m) && !w->in_section;
    if (section) {
        bool entered = section_enter_unless_busy(w);
        if (!entered || pause_holds(outer)) {
            if (entered) {
                section_leave(w);
            }
            mem_free(count);
            outer->in->held = true;
            return;
        }
        w->declared_only =
            (m->flags & (CMD_MAY_REPLICATE | CMD_ANY_KEY | CMD_OWN_TXN)) == 0 && !by_arguments(m);
    }
    txn_begin(t, w);
    t->in_multi = true;
    txn_lock(t, w->keys, nkeys, w->lock_set);
    if (atomic_load_explicit(&s->watch_dirty, memory_order_relaxed) || watched_expired(s, outer)) {
        reply_null_array(outer);
    } else {
        exec_all(s, outer, count, section);
    }
    txn_commit(t);
    txn_unlock(t);
    if (section) {
        w->declared_only = false;
        section_leave(w);
    }
    mem_free(count);
    if (w->waits_left) {
        waits_serve_rest(w);
    }
}

static void cmd_exec(struct call *c);

bool exec_refused(struct call *c)
{
    if (c->cmd == NULL || c->cmd->proc != cmd_exec) {
        return false;
    }
    session_unwatch(c->session);
    session_discard(c->session);
    return true;
}

static void cmd_exec(struct call *c)
{
    struct session *s = c->session;
    struct worker *w = s->w;
    txn_begin(&w->txn, w);
    if (s->multi == NULL) {
        reply_error(c, "ERR EXEC without MULTI");
        return;
    }
    struct multi *m = s->multi;
    const char *why = NULL;
    if (m->aborted) {
        why = "EXECABORT Transaction discarded because of previous errors.";
    } else if ((m->flags & CMD_DENYOOM) && !call_has_room(c)) {
        why = EXECABORT "OOM command not allowed when used "
                        "memory > 'maxmemory'.";
    } else if ((m->flags & CMD_WRITE) && lacks_replicas(c->x)) {
        why = EXECABORT "NOREPLICAS Not enough good replicas to "
                        "write.";
    } else if ((m->flags & CMD_WRITE) && c->x->wal != NULL && wal_state(c->x->wal) == WAL_NOSPACE) {
        why = EXECABORT "MISCONF Errors writing to the log: no "
                        "space left on the device.";
    }
    if (why != NULL) {
        reply_error(c, why);
    } else {
        exec_run(s, c);
        if (unlikely(c->in->held)) {
            return;
        }
    }
    struct txn done = { .gate = w->txn.gate, .lsn = w->txn.lsn };
    session_unwatch(s);
    session_discard(s);
    w->txn.gate = done.gate;
    w->txn.lsn = done.lsn;
    monitor_feed(&w->txn, s, s->db, c->argv, c->argc); /* behind what it ran */
    events_publish(&w->txn, done.gate);
}

void multi_begin(struct session *s)
{
    s->multi = mem_calloc(sizeof(struct multi));
}

static void cmd_multi(struct call *c)
{
    if (c->session == NULL) {
        reply_ok(c);
        return;
    }
    if (c->session->multi != NULL) {
        reply_error(c, "ERR MULTI calls can not be nested");
        return;
    }
    multi_begin(c->session);
    reply_ok(c);
}

static void cmd_discard(struct call *c)
{
    struct session *s = c->session;
    txn_begin(&s->w->txn, s->w);
    if (s->multi == NULL) {
        reply_error(c, "ERR DISCARD without MULTI");
        return;
    }
    session_discard(s);
    session_unwatch(s);
    reply_ok(c);
}

static void cmd_watch(struct call *c)
{
    if (c->session->multi != NULL && !(c->flags & CALL_MULTI)) {
        reply_error(c, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    if (!(c->flags & CALL_MULTI) &&
        !atomic_load_explicit(&c->session->watch_dirty, memory_order_relaxed)) {
        unsigned before = c->session->watch_count;
        for (unsigned i = 0; i < c->nkeys; i++) {
            if (!watch_add(c, &c->keys[i])) {
                watch_undo(c, before);
                reply_oom(c);
                return;
            }
        }
    }
    reply_ok(c);
}

static void cmd_unwatch(struct call *c)
{
    struct session *s = c->session;
    if (c->flags & CALL_MULTI) { /* EXEC drops them all when it ends; its locks are held now */
        reply_ok(c);
        return;
    }
    txn_begin(&s->w->txn, s->w);
    session_unwatch(s);
    reply_ok(c);
}

const struct command multi_commands[] = {
    { .name = "multi",
      .proc = cmd_multi,
      .arity = 1,
      .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_QUEUE | CMD_ALLOW_BUSY,
      .acl = ACL_TRANSACTION,
      .group = "transactions",
      .since = "1.2.0",
      .complexity = "O(1)",
      .summary = "Mark the start of a transaction block" },
    { .name = "exec",
      .proc = cmd_exec,
      .arity = 1,
      .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_SKIP_SLOWLOG | CMD_OWN_MONITOR |
               CMD_NO_QUEUE | CMD_OWN_TXN,
      .acl = ACL_TRANSACTION,
      .group = "transactions",
      .since = "1.2.0",
      .complexity = "Depends on commands in the transaction",
      .summary = "Execute all commands issued after MULTI" },
    { .name = "discard",
      .proc = cmd_discard,
      .arity = 1,
      .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_QUEUE | CMD_ALLOW_BUSY |
               CMD_OWN_TXN,
      .acl = ACL_TRANSACTION,
      .group = "transactions",
      .since = "2.0.0",
      .complexity = "O(N), when N is the number of queued commands",
      .summary = "Discard all commands issued after MULTI" },
    { .name = "watch",
      .proc = cmd_watch,
      .arity = -2,
      .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_QUEUE | CMD_ALLOW_BUSY,
      .acl = ACL_TRANSACTION,
      .keys = { KEYS_FROM(1, -1, 1, KEY_RO) },
      .group = "transactions",
      .since = "2.2.0",
      .complexity = "O(1) for every key.",
      .summary = "Watch the given keys to determine execution of the MULTI/EXEC block",
      .syntax = "key..." },
    { .name = "unwatch",
      .proc = cmd_unwatch,
      .arity = 1,
      .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_ALLOW_BUSY | CMD_OWN_TXN,
      .acl = ACL_TRANSACTION,
      .group = "transactions",
      .since = "2.2.0",
      .complexity = "O(1)",
      .summary = "Forget about all watched keys" },
    { .name = NULL },
};
