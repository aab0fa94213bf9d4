/* execute.c -- One transaction: locks, gates, the handler, the record, the locks' release. And one
 * request from its row to its reply. SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      A command, an EXEC and a script are the same thing to the store and to the log: a set of
 * shards, one record, one gate. ORDER    lock shards -> read the gates of the keys -> handler ->
 * append (log order = execution order for any two that share a key) -> recent LSNs -> events ->
 * blocked clients -> unlock -> gate the reply. GATE     of a reply = max(its own record, recent LSN
 * of every key group it looked at, the floor). Errors and nil too: they depend on what was seen. */
#include "exec/tracking.h"
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- Transactions ---- */

void txn_begin(struct txn *t, struct worker *w)
{
    t->w = w;
    t->gate = atomic_load_explicit(&w->x->floor, memory_order_acquire);
    t->lsn = 0;
    t->slot = SLOT_NONE;
    t->nlocked = 0;
    t->exclusive = w->in_section;
    t->in_multi = false;
    t->ntouched = 0;
    if (unlikely(t->exclusive) && !t->replay && log_begins(w->x) && !w->declared_only) {
        log_begin_all(w);
    }
}

/* Ascending, each once, by one bit per shard. */
static unsigned lock_set_build(struct worker *w, uint32_t *set, const struct key *keys, unsigned n)
{
    uint64_t *bits = w->lock_bits;
    unsigned low = UINT32_MAX, high = 0, count = 0;
    for (unsigned i = 0; i < n; i++) {
        unsigned word = keys[i].shard / 64;
        bits[word] |= (uint64_t)1 << (keys[i].shard % 64);
        low = word < low ? word : low;
        high = word > high ? word : high;
    }
    for (unsigned word = low; word <= high; word++) {
        for (uint64_t left = bits[word]; left != 0; left &= left - 1) {
            set[count++] = word * 64 + (unsigned)__builtin_ctzll(left);
        }
        bits[word] = 0;
    }
    return count;
}

static inline void gate_of_key(struct txn *t, const struct key *k)
{
    uint64_t recent = t->w->x->shards[k->shard].recent[key_group(k)];
    if (recent > t->gate && !seeded_bug("exec.bug_ungated_read")) {
        t->gate = recent;
    }
}

void txn_lock(struct txn *t, const struct key *keys, unsigned nkeys, uint32_t *lock_set)
{
    struct exec *x = t->w->x;
    if (!t->exclusive && nkeys == 1) {
        lock_set[0] = keys[0].shard;
        t->locked = lock_set;
        t->nlocked = 1;
        shard_lock(keyspace_shard(x->ks, keys[0].shard));
    } else if (!t->exclusive && nkeys > 0) {
        t->nlocked = lock_set_build(t->w, lock_set, keys, nkeys);
        t->locked = lock_set;
        if (seeded_bug("exec.bug_lock_order")) {
            for (unsigned i = t->nlocked; i > 0; i--) {
                shard_lock(keyspace_shard(x->ks, lock_set[i - 1]));
            }
        } else {
            keyspace_lock_many(x->ks, lock_set, t->nlocked);
        }
    }
    if (log_begins(x) && !t->replay) {
        if (t->exclusive) {
            log_begin_keys(t->w, keys, nkeys);
        } else if (t->nlocked > 1) {
            log_begin_mixed(t->w, t->locked, t->nlocked);
        }
    }
    txn_gates(t, keys, nkeys);
}

void txn_gates(struct txn *t, const struct key *keys, unsigned nkeys)
{
    if (t->w->x->wal == NULL || t->replay) {
        return;
    }
    for (unsigned i = 0; i < nkeys; i++) {
        gate_of_key(t, &keys[i]);
    }
}

static int by_group(const void *a, const void *b)
{
    const struct touched *x = a, *y = b;
    int order = (x->shard > y->shard) - (x->shard < y->shard);
    return order != 0 ? order : (x->group > y->group) - (x->group < y->group);
}

/* Each group once: a script may change any number of keys, one key any number of times. */
static void touched_merge(struct txn *t)
{
    unsigned n = 0;
    if (t->ntouched > 0) {
        qsort(t->touched, t->ntouched, sizeof *t->touched, by_group);
    }
    for (unsigned i = 0; i < t->ntouched; i++) {
        if (n == 0 || by_group(&t->touched[n - 1], &t->touched[i]) != 0) {
            t->touched[n++] = t->touched[i];
        }
    }
    t->ntouched = n;
}

void txn_touch(struct txn *t, const struct key *k, bool changed)
{
    if (!changed || t->replay) {
        return;
    }
    if (t->ntouched == t->touched_cap) {
        touched_merge(t);
        if (t->ntouched * 2 >= t->touched_cap) { /* so it is bounded by the groups that there are */
            t->touched_cap = t->touched_cap == 0 ? 64 : t->touched_cap * 2;
            t->touched = mem_realloc(t->touched, t->touched_cap * sizeof *t->touched);
        }
    }
    t->touched[t->ntouched++] = (struct touched){ k->shard, key_group(k) };
}

void txn_commit(struct txn *t)
{
    struct exec *x = t->w->x;
    t->lsn = fx_any(t) ? fx_append(t) : 0;
    if (unlikely(t->unlogged)) { /* nobody is told before the log has ended */
        t->lsn = wal_tail(x->wal) + 1;
    }
    if (t->lsn != 0) {
        for (unsigned i = 0; i < t->ntouched; i++) {
            x->shards[t->touched[i].shard].recent[t->touched[i].group] = t->lsn;
        }
        if ((t->slot == WAL_SLOT_ALL || t->unlogged) && t->exclusive &&
            !seeded_bug("exec.bug_flush_no_floor")) { /* a whole-keyspace change: everything seen
                                                         from now on depends on it */
            atomic_store_explicit(&x->floor, t->lsn, memory_order_release);
        }
        uint64_t seen = option_int(&x->opt.durable_reads) ? t->gate : 0;
        t->gate = u64_max(seen, t->lsn);
    } else if (!option_int(&x->opt.durable_reads)) {
        t->gate = 0;
    }
    fx_reset(t);
    t->ntouched = 0;
    if (unlikely(events_any(t))) {
        events_publish(t, seeded_bug("exec.bug_ungated_event") ? 0 : t->gate);
    }
    if (unlikely(t->nready > 0)) {
        waits_serve(t);
    }
}

void call_commit_part(struct call *c)
{
    struct txn *t = c->in->t;
    must(t->exclusive || t->replay);
    if (!t->in_multi && !t->replay) {
        txn_commit(t);
    }
}

bool txn_holds(const struct txn *t, uint32_t shard)
{
    unsigned low = 0, high = t->nlocked;
    while (low < high && !t->exclusive) { /* they are in ascending order */
        unsigned mid = low + (high - low) / 2;
        if (t->locked[mid] == shard) {
            return true;
        }
        if (t->locked[mid] < shard) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return t->exclusive;
}

void txn_unlock(struct txn *t)
{
    if (t->exclusive || t->nlocked == 0) {
        return;
    }
    struct keyspace *ks = t->w->x->ks;
    if (t->nlocked == 1) {
        shard_unlock(keyspace_shard(ks, t->locked[0]));
    } else {
        keyspace_unlock_many(ks, t->locked, t->nlocked);
    }
    t->nlocked = 0;
}

void call_invoke(struct call *c)
{
    c->cmd->proc(c);
    if (!(c->flags & CALL_REPLAY)) {
        int64_t n = c->in->more_changes + (c->in->changed || c->in->force_verbatim);
        counter_add(&c->in->w->changes, n > 0 ? (uint64_t)n : 0);
    }
    fx_collect(c);
}

/* ---- Keys of a request ---- */

#define KEYS_FIRST 64

static unsigned keys_cap_for(const struct worker *w, unsigned n)
{
    size_t cap = w->keys_cap == 0 ? KEYS_FIRST : w->keys_cap;
    while (cap < n) {
        cap *= 2;
    }
    return (unsigned)size_min(cap, UINT_MAX);
}

bool worker_keys_try_reserve(struct worker *w, unsigned n)
{
    if (n <= w->keys_cap) {
        return true;
    }
    unsigned cap = keys_cap_for(w, n);
    struct key *keys = mem_try_realloc(w->keys, cap * sizeof *keys);
    w->keys = keys != NULL ? keys : w->keys;
    uint32_t *index = mem_try_realloc(w->key_index, cap * sizeof *index);
    w->key_index = index != NULL ? index : w->key_index;
    uint32_t *set = mem_try_realloc(w->lock_set, cap * sizeof *set);
    w->lock_set = set != NULL ? set : w->lock_set;
    if (keys == NULL || index == NULL || set == NULL) {
        return false;
    }
    w->keys_cap = cap;
    return true;
}

void worker_keys_reserve(struct worker *w, unsigned n)
{
    if (n <= w->keys_cap) {
        return;
    }
    w->keys_cap = keys_cap_for(w, n);
    w->keys = mem_realloc(w->keys, w->keys_cap * sizeof *w->keys);
    w->key_index = mem_realloc(w->key_index, w->keys_cap * sizeof *w->key_index);
    w->lock_set = mem_realloc(w->lock_set, w->keys_cap * sizeof *w->lock_set);
}

void worker_keys_shrink(struct worker *w)
{
    if (likely(w->keys_cap <= KEYS_KEPT)) {
        return;
    }
    mem_free(w->keys);
    mem_free(w->key_index);
    mem_free(w->lock_set);
    w->keys = NULL;
    w->key_index = w->lock_set = NULL;
    w->keys_cap = 0;
    worker_keys_reserve(w, KEYS_FIRST);
}

bool call_keys_fit(struct worker *w, unsigned at, const struct cmd_ref *ref,
                   const struct slice *argv, unsigned argc)
{
    if (argc + at <= KEYS_KEPT) {
        return true;
    }
    int n = command_keys(ref->row, argv, argc, w->key_index, w->keys_cap);
    return worker_keys_try_reserve(w, at + (n > 0 ? (unsigned)n : 0) + 1);
}

/* Appends the declared keys of a request to w->keys at `at`; returns the new count. Keys of invalid
 * arguments are not there: the handler answers the error and looks at none. */
static unsigned keys_append(struct worker *w, unsigned at, const struct cmd_ref *ref,
                            const struct slice *argv, unsigned argc)
{
    worker_keys_reserve(w, at + 1);
    int n = command_keys(ref->row, argv, argc, w->key_index + at, w->keys_cap - at);
    if (n > 0 && at + (unsigned)n > w->keys_cap) {
        worker_keys_reserve(w, at + (unsigned)n);
        n = command_keys(ref->row, argv, argc, w->key_index + at, w->keys_cap - at);
    }
    for (int i = 0; i < n; i++) {
        w->keys[at + (unsigned)i] = keyspace_key(w->x->ks, argv[w->key_index[at + (unsigned)i]]);
    }
    return n > 0 ? at + (unsigned)n : at;
}

unsigned call_find_keys(struct worker *w, const struct cmd_ref *ref, const struct slice *argv,
                        unsigned argc)
{
    return keys_append(w, 0, ref, argv, argc);
}

unsigned call_add_keys(struct worker *w, unsigned at, const struct cmd_ref *ref,
                       const struct slice *argv, unsigned argc)
{
    return keys_append(w, at, ref, argv, argc);
}

/* ---- Time ---- */

int64_t worker_now_slow(struct worker *w)
{
    int64_t now = clock_wall_ms();
    if (now > w->wall_ms) { /* the log's time never steps back */
        w->wall_ms = now;
    }
    w->wall_ticks = w->ticks;
    return w->wall_ms;
}

/* ---- Refusals: what Redis checks before a command runs, in its order ---- */

static void refuse(struct session *s, struct call *c, const char *text)
{
    if (c->in->ref != NULL) {
        counter_add(&s->w->stats[c->in->ref->id].rejected, 1);
    }
    if (exec_refused(c)) { /* it has a code already */
        reply_errorf(c, EXECABORT "%s", strncmp(text, "ERR ", 4) == 0 ? text + 4 : text);
        return;
    }
    if (s->multi != NULL) {
        multi_flag_error(s);
    }
    reply_error(c, text);
}

static void refuse_unknown(struct session *s, struct call *c)
{
    char args[160];
    size_t n = 0;
    args[0] = '\0';
    for (unsigned i = 1; i < c->argc && n < 128; i++) {
        n += (size_t)snprintf(args + n, sizeof args - n, "'%.*s' ",
                              (int)size_min(c->argv[i].n, 128 - n), c->argv[i].p);
        n = size_min(n, sizeof args - 1);
    }
    char text[512];
    snprintf(text, sizeof text, "ERR unknown command '%.*s', with args beginning with: %s",
             (int)size_min(c->argv[0].n, 128), c->argv[0].p, args);
    refuse(s, c, text);
}

static bool arity_ok(const struct command *row, unsigned argc)
{
    return row->arity >= 0 ? (int)argc == row->arity : (int)argc >= -row->arity;
}

static bool pubsub_only(const struct command *row)
{
    static const char *const allowed[] = { "subscribe",   "psubscribe",   "ssubscribe",
                                           "unsubscribe", "punsubscribe", "sunsubscribe",
                                           "ping",        "quit",         "reset" };
    for (unsigned i = 0; i < countof(allowed); i++) {
        if (strcmp(row->name, allowed[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void refuse_arity(struct session *s, struct call *c)
{
    counter_add(&s->w->stats[c->in->ref->id].rejected, 1);
    if (exec_refused(c)) {
        reply_error(c, EXECABORT "wrong number of arguments for 'exec' command");
        return;
    }
    if (s->multi != NULL) {
        multi_flag_error(s);
    }
    reply_arity(c);
}

const char *write_refusal(struct exec *x, const struct command *row)
{
    if (unlikely(option_int(&x->opt.min_replicas_to_write) > 0) && lacks_replicas(x) &&
        (row->flags & CMD_WRITE)) {
        return "NOREPLICAS Not enough good replicas to write."; /* it never has any */
    }
    bool logs = (row->flags & CMD_WRITE) ||
                (row->flags & (CMD_MAY_REPLICATE | CMD_READONLY)) == CMD_MAY_REPLICATE;
    if (logs && unlikely(x->wal != NULL && wal_state(x->wal) == WAL_NOSPACE)) {
        return "MISCONF Errors writing to the log: no space left on the device. Writes are refused "
               "until there is space again; reads go on.";
    }
    return NULL;
}

/* Reads, too, make room, as in Redis; what is evicted is told of before the reply. */
static bool has_room(struct session *s, struct call *c)
{
    if (s->w->busy) {
        return true; /* SCRIPT KILL must not wait for the script */
    }
    c->in->over_memory = !memory_make_room(s->w);
    if (s->w->told != NULL && s->reply_mode == REPLY_ON) {
        tracking_deliver(s->w);
    }
    return !c->in->over_memory || !(c->cmd->flags & CMD_DENYOOM);
}

static bool is_about_keys(const struct command *row)
{
    return (row->flags & (CMD_WRITE | CMD_READONLY | CMD_MAY_REPLICATE | CMD_MOVABLEKEYS)) != 0;
}

/* True when the request may run (or be queued). */
static bool admitted(struct session *s, struct call *c)
{
    const struct cmd_ref *ref = c->in->ref;
    struct exec *x = s->w->x;
    if (ref == NULL) {
        refuse_unknown(s, c);
        return false;
    }
    const struct command *row = ref->row;
    if (row->sub != NULL &&
        c->argc >= 2) { /* a container: command_lookup() found no such subcommand */
        counter_add(&s->w->stats[ref->id].rejected, 1);
        if (s->multi != NULL) {
            multi_flag_error(s);
        }
        reply_unknown_sub(c);
        return false;
    }
    if (!arity_ok(row, c->argc)) {
        refuse_arity(s, c);
        return false;
    }
    if (unlikely(!s->authenticated) && !(row->flags & CMD_NO_AUTH)) {
        refuse(s, c, "NOAUTH Authentication required.");
        return false;
    }
    if (unlikely(s->w->busy) && !(row->flags & CMD_ALLOW_BUSY)) {
        refuse(s, c, script_busy_text(x));
        return false;
    }
    if (unlikely(s->multi != NULL) && (row->flags & CMD_NO_MULTI)) {
        refuse(s, c, "ERR Command not allowed inside a transaction");
        return false;
    }
    if (unlikely(s->restricted) && !acl_admits(c)) {
        if (s->multi != NULL) {
            multi_flag_error(s);
        }
        return false;
    }
    if (unlikely(atomic_load_explicit(&x->loading, memory_order_relaxed)) &&
        !(row->flags & CMD_LOADING)) {
        refuse(s, c, "LOADING Redis is loading the dataset in memory");
        return false;
    }
    if (unlikely(option_int(&x->opt.maxmemory) > 0) && !has_room(s, c)) {
        refuse(s, c, NO_MEMORY);
        return false;
    }
    const char *why = write_refusal(x, row);
    if (unlikely(why != NULL)) {
        refuse(s, c, why);
        return false;
    }
    if (unlikely(s->subs != NULL) && s->resp == 2 && session_subscribed(s) &&
        !pubsub_only(ref->parent != NULL ? ref->parent->row : row)) {
        char text[256];
        snprintf(text, sizeof text,
                 "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                 "RESET are allowed in this context",
                 ref->full);
        refuse(s, c, text);
        return false;
    }
    if (unlikely(s->monitor) && is_about_keys(row)) {
        refuse(s, c, "ERR Replica can't interact with the keyspace");
        return false;
    }
    return true;
}

/* ---- One request ---- */

static bool needs_section(const struct cmd_ref *ref, const struct call *c)
{
    return (ref->row->flags & CMD_EXCLUSIVE) ||
           (ref->row->exclusive != NULL && ref->row->exclusive(c->argv, c->argc));
}

void call_account(struct session *s, struct call *c)
{
    struct worker *w = s->w;
    if (unlikely(c->in->blocked)) {
        return; /* counted when it is served */
    }
    uint64_t now = clock_ticks(), took = now - w->ticks;
    w->ticks = now;
    stat_count(w, c->in->ref->id, took, c->in->error);
    counter_add(&w->commands, 1);
    if (unlikely(took > w->slow_ticks)) {
        slowlog_note(c, took);
    }
    if (unlikely(w->hotkeys != NULL)) {
        hotkeys_note(c, took);
    }
    /* bytes - 1: a request that is not in one piece has 0, and may be large */
    if (unlikely(c->in->raw.n - 1 >= w->large_request ||
                 out_size(c->out) - c->in->reply_from >= w->large_reply)) {
        commandlog_note_sizes(c);
    }
}

static inline void monitor_request(const struct call *c)
{
    if (!(c->cmd->flags & (CMD_SKIP_MONITOR | CMD_OWN_MONITOR | CMD_ADMIN))) {
        monitor_feed(c->in->t, c->session, c->db, c->argv, c->argc);
    }
}

static void run(struct worker *w, struct call *c)
{
    struct txn *t = &w->txn;
    if (unlikely(!fx_room_request(c))) {
        txn_begin(t, w);
        reply_oom(c);
        return;
    }
    bool section = unlikely(needs_section(c->in->ref, c));
    if (section) {
        if (!section_enter_unless_busy(w)) { /* it gets BUSY, as it would have a moment later */
            c->in->held = true;
            return;
        }
        if (pause_holds(c)) {
            section_leave(w);
            c->in->held = true;
            return;
        }
        if (unlikely(c->session->restricted) && !acl_admits(c)) { /* since it began to wait */
            section_leave(w);
            return;
        }
        w->declared_only = (c->cmd->flags & (CMD_MAY_REPLICATE | CMD_ANY_KEY)) == 0;
    }
    txn_begin(t, w);
    if (c->nkeys > 0) {
        txn_lock(t, c->keys, c->nkeys, w->lock_set);
    }
    if (unlikely(section)) {
        c->flags |= CALL_EXCLUSIVE;
    }
    monitor_request(c);
    call_invoke(c);
    tracking_read(c);
    if (seeded_bug("exec.bug_append_after_unlock") && t->nready == 0) {
        txn_unlock(t);
        sched_yield();
    }
    txn_commit(t);
    txn_unlock(t);
    if (section) {
        w->declared_only = false;
        section_leave(w);
    }
    if (unlikely(w->waits_left)) {
        waits_serve_rest(w);
    }
}

/* The misses of several keys overlap, instead of coming one after the other under the locks. */
static void sweep_keys(const struct call *c)
{
    struct sweep_key sweep[32];
    for (unsigned i = 0; i < c->nkeys && !c->in->w->busy;) {
        unsigned n = 0;
        while (n < countof(sweep) && i < c->nkeys) {
            sweep_key_set(&sweep[n++], &c->keys[i++]);
        }
        keyspace_sweep(c->ks, c->db, sweep, n);
    }
}

/* Now, not queued; *gate of its reply. False: a pause began meanwhile, or its client was killed,
 * and nothing was done. */
static bool request_run(struct session *s, struct pending *p, struct call *c, uint64_t *gate)
{
    struct worker *w = s->w;
    if (p->keyed) {
        c->keys = &p->key;
        c->nkeys = 1;
    } else if (unlikely(!call_keys_fit(w, 0, p->ref, c->argv, c->argc))) {
        txn_begin(&w->txn, w);
        reply_oom(c);
        *gate = w->txn.gate;
        return true;
    } else if (c->cmd->keys[0].step != 0 || c->cmd->getkeys != NULL) {
        c->nkeys = call_find_keys(w, p->ref, c->argv, c->argc);
        c->keys = w->keys;
        if (c->nkeys > 1) {
            sweep_keys(c);
        }
    }
    if (unlikely(c->cmd->flags & CMD_OWN_TXN)) {
        txn_begin(&w->txn, w); /* for the gate of an error that comes before its transaction */
        monitor_request(c);
        events_publish(&w->txn, w->txn.gate);
        c->cmd->proc(c);
    } else {
        run(w, c);
    }
    if (unlikely(c->in->held)) {
        return false;
    }
    *gate = c->in->error && seeded_bug("exec.bug_ungated_error") ? 0 : w->txn.gate;
    s->last_lsn = w->txn.lsn != 0 ? w->txn.lsn : s->last_lsn;
    if (!seeded_bug("exec.bug_ungated_message")) {
        s->last_gate = u64_max(s->last_gate, *gate);
    }
    call_account(s, c);
    return true;
}

/* With CLIENT REPLY OFF or SKIP: nothing is said, unless the command itself was CLIENT REPLY ON. */
static void reply_silence(struct session *s, struct out_mark mark)
{
    if (s->reply_mode != REPLY_ON && !s->confirmed) {
        out_rewind(conn_out(s->conn), mark);
    }
    if (s->reply_mode == REPLY_SKIP) {
        s->reply_mode = REPLY_ON;
    }
}

/* What would be done while a script runs long, but needs a shard: WATCH. The client waits, not its
 * reactor: another one may want to end the script. */
static bool waits_for_script(const struct session *s, const struct pending *p)
{
    const struct command *row = p->ref != NULL ? p->ref->row : NULL;
    return row != NULL && (row->flags & CMD_ALLOW_BUSY) && row->keys[0].step != 0 &&
           s->authenticated && s->multi == NULL;
}

/* What a script that runs long keeps from being done, or kept. A client that was killed meanwhile
 * does nothing any more. One that has published to itself hears that first. */
static bool held_back(struct session *s, struct pending *p)
{
    if (s->doomed) {
        return true;
    }
    if (s->own_messages != 0) {
        session_hear_first(s, p);
        return true;
    }
    bool holds = s->w->busy && waits_for_script(s, p);
    if (holds) {
        pause_hold(s, p);
    } else if (s->unwatches) {
        session_unwatch(s);
    }
    return holds;
}

/* First, before anything is looked at: others may stop this worker, and time goes on in that. */
static void let_others_in(struct worker *w)
{
    section_poll(w);
    if (unlikely(option_int(&w->x->opt.maxmemory_clients) != 0)) {
        memory_let_clients_go(w);
    }
}

void exec_request(struct session *s, struct pending *p)
{
    struct worker *w = s->w;
    struct call_int in = {
        .t = &w->txn, .w = w, .ref = p->ref, .req = p->copied ? NULL : &p->req, .raw = p->req.raw
    };
    struct call c = { .argv = p->req.argv,
                      .argc = p->req.argc,
                      .db = s->db,
                      .resp = s->resp,
                      .x = w->x,
                      .ks = w->x->ks,
                      .session = s,
                      .out = conn_out(s->conn),
                      .in = &in };
    c.cmd = p->ref != NULL ? p->ref->row : NULL;
    let_others_in(w);
    if (unlikely(w->busy || s->unwatches || s->doomed || s->own_messages != 0) && held_back(s, p)) {
        return;
    }
    c.now_ms = worker_now_ms(w);
    w->current = s;
    s->commands++;
    if (unlikely(s->tracking != NULL)) {
        tracking_before(s, p->ref);
    }
    enum reply_mode mode = s->reply_mode;
    struct out_mark mark = { 0 };
    if (unlikely(mode != REPLY_ON)) {
        mark = out_mark(c.out);
        s->reply_mode = mode == REPLY_OFF ? REPLY_OFF : REPLY_SKIP;
        s->confirmed = false;
    }
    uint64_t gate = 0;
    in.reply_from = out_size(c.out) + 1;
    if (admitted(s, &c)) {
        if (pause_holds(&c)) {
            pause_hold(s, p);
            w->current = NULL;
            return;
        }
        s->last_cmd = p->ref;
        if (unlikely(s->multi != NULL) && !(c.cmd->flags & CMD_NO_QUEUE)) {
            if (multi_queue(s, p->ref, c.argv, c.argc)) {
                resp_simple(c.out, S("QUEUED"));
            } else {
                refuse(s, &c, NO_MEMORY);
            }
        } else {
            if (unlikely(!request_run(s, p, &c, &gate))) {
                pause_hold(s, p);
                w->current = NULL;
                return;
            }
        }
    }
    if (unlikely(mode != REPLY_ON)) {
        reply_silence(s, mark);
    }
    if (unlikely(w->unpaused)) {
        w->unpaused = false;
        expire_slice_all(w);
    }
    conn_gate(s->conn, gate);
    if (unlikely(w->told != NULL)) {
        tracking_deliver(w);
    }
    w->current = NULL;
}
