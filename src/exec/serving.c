/* serving.c -- Serves the clients that wait for a key, in order, when it has something for them.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * SERVING    Under the locks of the command that made the key ready, after its record: first
 *            blocked, first served. The waiter's handler runs again as CALL_SERVING, on the ready
 *            key and on those of its keys whose locks are held too: what one transaction did to
 *            several is seen as a whole, as in Redis 7.2. COMPAT: its other keys count as empty;
 *            nothing that could have served it came to them. Its effects are a record of their own.
 *            When it needs locks that are not held (a destination key), it is left for
 *            waits_serve_rest(), which takes the whole set in order and looks again; nobody behind
 *            it is served before, and a blocking command that comes in between finds the key
 *            promised (call_serves()) and queues up. What cannot wait, such as LPOP, takes what is
 *            there.
 * LOCKS      blocking.c has the states of a waiter, and says what keeps it valid. */
#include "exec/tracking.h"
#include "exec/waiter.h"

void waits_ready(struct txn *t, unsigned db, const struct key *k)
{
    struct exec *x = t->w->x;
    struct keynode *at = keymap_find(x->shards[k->shard].waits, db, k);
    if (at == NULL || (t->nready > 0 && at->ready == t->ready_list)) {
        return; /* nobody waits, or it is in the list */
    }
    if (t->nready == 0) {
        t->ready_list = 1 + atomic_fetch_add_explicit(&x->ready_lists, 1, memory_order_relaxed);
    }
    at->ready = t->ready_list;
    if (t->nready == t->ready_cap) {
        t->ready_cap = t->ready_cap == 0 ? 8 : t->ready_cap * 2;
        t->ready = mem_realloc(t->ready, t->ready_cap * sizeof *t->ready);
    }
    t->ready[t->nready] = (struct ready_key){ db, *k };
    t->ready[t->nready].key.s.p = mem_dup(k->s.p, k->s.n);
    t->nready++;
}

static bool has_group_waiter(const struct keynode *at)
{
    return at != NULL && at->missing > 0;
}

void waits_changed(struct txn *t, unsigned db, const struct key *k)
{
    struct exec *x = t->w->x;
    if (has_group_waiter(keymap_find(x->shards[k->shard].waits, db, k))) {
        const struct entry *e = shard_find(keyspace_shard(x->ks, k->shard), db, k);
        if (e == NULL || entry_type(e) != OBJ_STREAM) {
            waits_ready(t, db, k);
        }
    }
}

struct ready_db {
    struct txn *t;
    int db;
};

static void ready_if_exists(void *arg, struct keynode *n)
{
    struct ready_db *rd = arg;
    if ((rd->db < 0 || n->db == (unsigned)rd->db) &&
        (has_group_waiter(n) ||
         shard_find(keyspace_shard(rd->t->w->x->ks, n->key.shard), n->db, &n->key) != NULL)) {
        waits_ready(rd->t, n->db, &n->key);
    }
}

void waits_ready_db(struct txn *t, int db)
{
    struct ready_db rd = { t, db };
    for (unsigned i = 0; i < t->w->x->nshards; i++) {
        keymap_each(t->w->x->shards[i].waits, ready_if_exists, &rd);
    }
}

static bool locks_suffice(const struct txn *t, const struct waiter *w)
{
    if (w->ref->row->flags & CMD_SERVE_ONE) {
        return true; /* the ready key's shard is held */
    }
    for (unsigned i = 0; i < w->nkeys; i++) {
        if (!txn_holds(t, w->keys[i].shard)) {
            return false;
        }
    }
    return true;
}

static void leave_for_rest(struct worker *w, unsigned db, const struct key *k)
{
    if (w->nrest == w->rest_cap) {
        w->rest_cap = w->rest_cap == 0 ? 8 : w->rest_cap * 2;
        w->rest = mem_realloc(w->rest, w->rest_cap * sizeof *w->rest);
    }
    w->rest[w->nrest] = (struct ready_key){ db, *k };
    w->rest[w->nrest++].key.s.p = mem_dup(k->s.p, k->s.n);
    w->waits_left = true;
}

/* There was nothing for it after all. `me` holds the lock of one of its keys. */
static void unclaim(struct worker *me, struct waiter *w)
{
    must(waiter_move(w, WAIT_CLAIMED, WAIT_WAITING));
    if (atomic_exchange_explicit(&w->skipped, false, memory_order_seq_cst)) {
        for (unsigned i = 0; i < w->n; i++) {
            leave_for_rest(me, w->db, &w->keys[w->first + i]);
        }
    }
    if (atomic_load_explicit(&w->cancel, memory_order_seq_cst) &&
        waiter_move(w, WAIT_WAITING, WAIT_DONE)) {
        waiter_post_end(w, NULL, true);
    }
}

/* A claimed waiter whose user lost the right to do this since, or whose command may not add to a
 * full memory: its home says so. Nothing is evicted under locks: a policy that may is no reason. */
static bool serve_refused(struct waiter *w)
{
    unsigned at = 0;
    enum acl_result r = likely(w->user->unrestricted)
                            ? ACL_OK
                            : acl_check(w->user, w->ref, w->args->argv, w->args->argc, &at);
    bool full = (w->ref->row->flags & CMD_DENYOOM) && memory_is_full(w->home->x);
    if (r == ACL_OK && !full) {
        return false;
    }
    struct served *d = mem_calloc(sizeof *d);
    d->w = w;
    d->refused = true;
    d->denied = r;
    d->denied_at = at;
    d->error = NO_MEMORY;
    d->m.run = waiter_on_ended;
    must(waiter_move(w, WAIT_CLAIMED, WAIT_DONE));
    reactor_post(w->home->r, &d->m);
    return true;
}

static unsigned serving_key(const struct waiter *w, const struct ready_key *rk)
{
    unsigned i = 0;
    while (i + 1 < w->nkeys &&
           !(w->keys[i].hash == rk->key.hash && slice_eq(w->keys[i].s, rk->key.s))) {
        i++;
    }
    return i;
}

/* The claimed waiter's command, under t's locks. True: served, its message is on the way. */
static bool serve_one(struct txn *t, struct waiter *w, const struct ready_key *rk)
{
    struct worker *me = t->w;
    struct txn *own = &me->serve_txn;
    if (serve_refused(w)) {
        return true;
    }
    txn_begin(own, me);
    own->exclusive = t->exclusive;
    own->locked = t->locked;
    own->nlocked = t->nlocked;
    own->gate = u64_max(own->gate, t->lsn); /* it saw what made the key ready */
    struct served *d = mem_calloc(sizeof *d);
    d->w = w;
    struct call_int in = { .t = own, .w = me, .ref = w->ref, .serving = w, .reply_from = 1 };
    struct call c = { .cmd = w->ref->row,
                      .argv = w->args->argv,
                      .argc = w->args->argc,
                      .nkeys = w->nkeys,
                      .keys = w->keys,
                      .db = w->db,
                      .resp = w->resp,
                      .flags = CALL_SERVING,
                      .now_ms = worker_now_ms(me),
                      .x = me->x,
                      .ks = me->x->ks,
                      .out = &d->out,
                      .in = &in };
    in.serving_key = serving_key(w, rk);
    for (unsigned i = 0; i < w->nkeys; i++) {
        if (call_serves(&c, i)) {
            txn_gates(own, &w->keys[i], 1);
        }
    }
    if (own->exclusive && log_begins(me->x)) {
        log_begin_keys(me, w->keys, w->nkeys);
    }
    uint64_t start = clock_ticks();
    in.blocked = fault("exec.serve_nothing") != 0;
    (void)fault("exec.claimed");
    if (!in.blocked) {
        call_invoke(&c);
    }
    bool reads = w->tracks && !in.blocked && (c.cmd->flags & CMD_READONLY);
    for (unsigned i = 0; i < w->nkeys && reads; i++) {
        if (call_serves(&c, i)) {
            tracking_remember(me, &w->keys[i], 1, w->handle); /* its lock is held */
        }
    }
    txn_commit(own); /* also when nothing was served: the key may have expired, and has its DEL */
    if (in.blocked) {
        out_clear(&d->out);
        mem_free(d);
        return false;
    }
    d->ticks = clock_ticks() - start;
    stat_served(&c, d->ticks);
    d->gate = seeded_bug("exec.bug_ungated_handover") ? 0 : own->gate;
    d->lsn = own->lsn;
    d->m.run = waiter_on_served;
    must(waiter_move(w, WAIT_CLAIMED,
                     seeded_bug("exec.bug_served_twice") ? WAIT_WAITING : WAIT_DONE));
    reactor_post(w->home->r, &d->m);
    return true;
}

/* A key that was made ready and then overwritten by another type or deleted (e NULL) wakes nobody
 * but those who wait for a group of it: they have an error to tell. */
static bool is_awaited(const struct entry *e, enum block_kind kind)
{
    static const enum obj_type types[] = {
        [BLOCK_LIST] = OBJ_LIST, [BLOCK_ZSET] = OBJ_ZSET, [BLOCK_STREAM] = OBJ_STREAM
    };
    return kind == BLOCK_GROUP || (e != NULL && entry_type(e) == types[kind]);
}

/* May this one, the first at its key, be served? A claimed one whose server looks at this key again
 * keeps its place; one that is being served from another key is passed over and marked, so that it
 * misses nothing if that fails. */
enum turn { TURN_NOW, TURN_PASSED, TURN_KEPT };
static enum turn turn_of(struct waiter *w)
{
    int state = atomic_load_explicit(&w->state, memory_order_seq_cst);
    if (state == WAIT_CLAIMED && !seeded_bug("exec.bug_claimed_forgotten")) {
        if (!(w->ref->row->flags & CMD_SERVE_ONE)) {
            return TURN_KEPT; /* it has one key, this one, whose lock its server is about to take */
        }
        atomic_store_explicit(&w->skipped, true, memory_order_seq_cst);
        state = atomic_load_explicit(&w->state, memory_order_seq_cst);
    }
    return state == WAIT_WAITING ? TURN_NOW : TURN_PASSED;
}

/* The first one, after `from`, that waits for what e is; NULL also when somebody's turn is kept. */
static struct wait_node *first_waiting(struct keynode *at, struct wait_node *from,
                                       const struct entry *e)
{
    struct wait_node *n = from != NULL ? from->next : (at != NULL ? at->head : NULL);
    if (seeded_bug("exec.bug_blocked_lifo") && from == NULL && at != NULL) {
        n = at->tail;
    }
    for (; n != NULL; n = n->next) {
        if (is_awaited(e, n->owner->kind)) {
            enum turn turn = turn_of(n->owner);
            if (turn != TURN_PASSED) {
                return turn == TURN_NOW ? n : NULL;
            }
        }
    }
    return NULL;
}

/* With the lock of the key, which has something for them: others wait for it. Their turn comes as
 * soon as their server has all the locks it needs. */
static bool is_promised(const struct call *c, const struct key *k)
{
    const struct keynode *at = keymap_find(c->x->shards[k->shard].waits, c->db, k);
    const struct entry *e =
        at != NULL ? shard_find(keyspace_shard(c->ks, k->shard), c->db, k) : NULL;
    for (const struct wait_node *n = e != NULL ? at->head : NULL; n != NULL; n = n->next) {
        if (n->owner->kind < BLOCK_STREAM && is_awaited(e, n->owner->kind) &&
            turn_of(n->owner) != TURN_PASSED) {
            return true;
        }
    }
    return false;
}

bool call_serves(const struct call *c, unsigned i)
{
    if (c->flags & CALL_SERVING) {
        return i == c->in->serving_key || txn_holds(c->in->t, c->keys[i].shard);
    }
    return likely(c->x->shards[c->keys[i].shard].waits == NULL) ||
           !(c->cmd->flags & CMD_BLOCKING) || !call_may_block(c) || !is_promised(c, &c->keys[i]);
}

/* Serves who waits for rk, in order. False: the first one left needs more locks than t holds, and
 * nobody behind it may overtake. */
static bool serve_key(struct txn *t, const struct ready_key *rk)
{
    struct exec *x = t->w->x;
    struct shard *s = keyspace_shard(x->ks, rk->key.shard);
    struct wait_node *n = NULL;
    for (;;) {
        const struct entry *e = shard_find(s, rk->db, &rk->key);
        n = first_waiting(keymap_find(x->shards[rk->key.shard].waits, rk->db, &rk->key), n, e);
        if (n == NULL) {
            return true;
        }
        struct waiter *w = n->owner;
        if (!locks_suffice(t, w)) {
            return false;
        }
        if (!waiter_move(w, WAIT_WAITING, WAIT_CLAIMED)) {
            continue;
        }
        if (!serve_one(t, w, rk)) {
            unclaim(t->w, w);
        }
    }
}

/* Keys that serving made ready join the end of t's list. */
static void take_over_ready(struct txn *t, struct txn *own)
{
    t->ready_list = t->nready == 0 ? own->ready_list : t->ready_list;
    for (unsigned i = 0; i < own->nready; i++) {
        if (t->nready == t->ready_cap) {
            t->ready_cap = t->ready_cap == 0 ? 8 : t->ready_cap * 2;
            t->ready = mem_realloc(t->ready, t->ready_cap * sizeof *t->ready);
        }
        t->ready[t->nready++] = own->ready[i];
    }
    own->nready = 0;
}

void waits_serve(struct txn *t)
{
    struct worker *w = t->w;
    if (t == &w->serve_txn) {
        return; /* the outer one goes on with what it made ready */
    }
    for (unsigned i = 0; i < t->nready; i++) {
        struct ready_key rk = t->ready[i];
        if (w->waits_left || !serve_key(t, &rk)) { /* one key waits: those made ready later, too */
            leave_for_rest(w, rk.db, &rk.key);
        }
        mem_free((void *)(uintptr_t)rk.key.s.p);
        take_over_ready(t, &w->serve_txn);
    }
    t->nready = 0;
}

enum claim { CLAIM_NONE, CLAIM_MANY_LOCKS, CLAIM_ONE_LOCK, CLAIM_LOST };

/* Looks at the first waiter of rk: it has been claimed (*wt) when it needs more locks than that of
 * rk, it is left as it is when that lock will do, or it ended in this moment. */
static enum claim claim_first(struct exec *x, const struct ready_key *rk, struct waiter **wt)
{
    struct shard *s = keyspace_shard(x->ks, rk->key.shard);
    enum claim result = CLAIM_NONE;
    shard_lock(s);
    const struct entry *e = shard_find(s, rk->db, &rk->key);
    struct wait_node *n = NULL;
    n = first_waiting(keymap_find(x->shards[rk->key.shard].waits, rk->db, &rk->key), NULL, e);
    (void)fault("exec.before_claim");
    if (n != NULL && (n->owner->ref->row->flags & CMD_SERVE_ONE)) {
        result = CLAIM_ONE_LOCK;
    } else if (n != NULL) {
        *wt = n->owner;
        result = waiter_move(*wt, WAIT_WAITING, WAIT_CLAIMED) ? CLAIM_MANY_LOCKS : CLAIM_LOST;
    }
    shard_unlock(s);
    return result;
}

/* One waiter of rk with all its locks, or all in front that need none but rk's. True: look again.
 */
static bool serve_with_all_locks(struct worker *w, const struct ready_key *rk)
{
    struct waiter *wt = NULL;
    enum claim claim = claim_first(w->x, rk, &wt);
    if (claim == CLAIM_NONE || claim == CLAIM_LOST) {
        return claim == CLAIM_LOST;
    }
    bool many = claim == CLAIM_MANY_LOCKS; /* claimed: nobody frees it */
    unsigned nkeys = many ? wt->nkeys : 1;
    worker_keys_reserve(w, nkeys);
    struct txn *t = &w->txn;
    txn_begin(t, w);
    (void)fault("exec.claimed_unlocked");
    txn_lock(t, many ? wt->keys : &rk->key, nkeys, w->lock_set);
    bool again = many ? serve_one(t, wt, rk) : !serve_key(t, rk);
    if (many && !again) {
        unclaim(w, wt);
    }
    take_over_ready(t, &w->serve_txn);
    waits_serve(t); /* only moves them behind those that are left already */
    txn_unlock(t);
    return again;
}

void waits_serve_rest(struct worker *w)
{
    uint64_t gate = w->txn.gate, lsn = w->txn.lsn;
    for (unsigned i = 0; i < w->nrest; i++) { /* in the order in which they became ready */
        struct ready_key rk = w->rest[i];
        while (serve_with_all_locks(w, &rk)) {
        }
        mem_free((void *)(uintptr_t)rk.key.s.p);
    }
    w->nrest = 0;
    w->waits_left = false;
    w->txn.gate = gate;
    w->txn.lsn = lsn;
}
