/* scripted.c -- A script as one transaction: its locks, the commands it calls, going back when it
 * needs more than it declared. SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY        A script may touch keys that it did not declare, and nobody knows before it does. It
 *            starts with the locks of its declared keys, beside everything else that runs. The
 *            first command that needs more ends the attempt: what it changed is put back from
 *            pre-images (cheap: big values are shared by reference), what it would have logged,
 *            told and woken is forgotten, and it runs once more alone. script/ remembers that of
 *            the script, so it happens once.
 * INVARIANTS S1 nothing of an attempt that ended is visible: the locks of every key it changed are
 *               held from the first look to the end of the undoing, nothing was appended, no event
 *               published, no waiter served
 *            S2 a client that WATCHes a key which an ended attempt had changed may find its EXEC
 *               refused: WATCH promises no more
 * THREADS    The worker that runs the script. */
#include "exec/acl.h"
#include "exec/pre_image.h"
#include "exec/tally.h"
#include "exec/tracking.h"
#include "base/log.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Of a worker, kept from script to script. */
struct script_scope {
    struct pre_images undo;
    struct tally tally;
    struct key *keys; /* of the command that is called */
    uint32_t *index;
    unsigned keys_cap;
    struct out out;
    struct buf reply;

    /* the script that runs */
    int64_t started_us, looked_us; /* monotonic */
    const char *name;
    int64_t time_us; /* what TIME says in it; 0: not asked yet */
    bool slow;       /* x->busy is it */
    bool told;       /* others were told of it */
    bool locked;     /* all shard locks are held: until the others are out, or the section ends */
    bool wrote;
};

static struct script_scope *scope_of(struct worker *w)
{
    if (w->scripts == NULL) {
        w->scripts = mem_calloc(sizeof *w->scripts);
    }
    return w->scripts;
}

void scripts_free(struct worker *w)
{
    struct script_scope *sc = w->scripts;
    if (sc == NULL) {
        return;
    }
    pre_images_free(&sc->undo);
    tally_free(&sc->tally);
    mem_free(sc->keys);
    mem_free(sc->index);
    out_clear(&sc->out);
    buf_free(&sc->reply);
    mem_free(sc);
}

/* ---- Going back ---- */

/* What the transaction would have logged, told and woken. */
static void forget_effects(struct txn *t)
{
    fx_reset(t);
    t->ntouched = 0;
    tracking_undo(t);
    events_forget(t);
    for (unsigned i = 0; i < t->nready; i++) {
        mem_free((void *)(uintptr_t)t->ready[i].key.s.p);
    }
    t->nready = 0;
}

/* ---- The transaction ---- */

static bool attempt(struct call *c, bool (*body)(struct call *c, void *arg), void *arg)
{
    struct worker *w = c->in->w;
    struct txn *t = c->in->t;
    struct script_scope *sc = scope_of(w);
    counter_t *const counted[] = { &w->hits, &w->misses, &w->expired, &w->expired_fields,
                                   &w->changes };
    uint64_t before[countof(counted)];
    for (unsigned i = 0; i < countof(counted); i++) {
        before[i] = counter_get(counted[i]);
    }
    unsigned db = c->session->db;
    txn_begin(t, w);
    t->in_multi = true;
    txn_lock(t, c->keys, c->nkeys, w->lock_set);
    monitor_feed(t, c->session, c->db, c->argv, c->argc); /* before what it calls */
    if (!t->exclusive) {
        tally_begin(&sc->tally);
    }
    bool done = body(c, arg);
    tally_end(&sc->tally, w, done);
    if (done) {
        pre_images_forget(&sc->undo);
        txn_commit(t);
    } else {
        must(!t->exclusive);
        pre_images_put_back(&sc->undo, c->ks);
        forget_effects(t);
        sc->wrote = false;
        for (unsigned i = 0; i < countof(counted); i++) {
            counter_add(counted[i], before[i] - counter_get(counted[i]));
        }
    }
    txn_unlock(t);
    c->session->db = db;
    return done;
}

#define REPLY_KEPT 65536 /* its room, for the next script */

#define SCRIPT_KILLED "ERR Script killed by user with SCRIPT KILL."

static bool slow_end(struct worker *w);

static void run_script(struct call *c, const char *name, bool alone,
                       bool (*body)(struct call *c, void *arg), void *arg)
{
    struct worker *w = c->in->w;
    struct script_scope *sc = scope_of(w);
    uint64_t started = w->ticks;
    sc->name = name;
    sc->time_us = 0;
    sc->wrote = false;
    sc->started_us = sc->looked_us = clock_mono_us();
    if (c->flags & CALL_MULTI) { /* the transaction is EXEC's, which runs alone */
        unsigned db = c->session->db;
        monitor_feed(c->in->t, c->session, c->db, c->argv, c->argc);
        must(body(c, arg));
        c->session->db = db;
        if (slow_end(w)) {
            section_alone_again(w); /* for the rest of it */
        }
    } else if (alone || !attempt(c, body, arg)) {
        if (!section_enter_unless_busy(w)) { /* its reactor must hear who ends the other script */
            c->in->held = true;
            return;
        }
        if (pause_holds(c)) {
            c->in->held = true;
        } else {
            must(attempt(c, body, arg));
            (void)slow_end(w);
        }
        section_leave(w);
    }
    if (unlikely(w->waits_left) && !(c->flags & CALL_MULTI)) {
        waits_serve_rest(w);
    }
    if (sc->reply.cap > REPLY_KEPT) {
        buf_free(&sc->reply);
    }
    w->ticks = started; /* the commands of the script are part of its time */
}

void call_script(struct call *c, const char *name, bool alone,
                 bool (*body)(struct call *c, void *arg), void *arg)
{
    run_script(c, name, alone, body, arg);
    if (unlikely(c->in->w->scripts->told)) {
        c->in->w->scripts->told = false;
        if (script_untell(c->in->w) && c->in->held) { /* who ended it has heard so: it is over */
            c->in->held = false;
            reply_error(c, SCRIPT_KILLED);
        }
    }
}

/* ---- Its commands ---- */

static const char *refusal(const struct call *outer, const struct cmd_ref *ref, unsigned argc,
                           unsigned rules)
{
    struct exec *x = outer->x;
    if (ref == NULL) {
        return "ERR Unknown Redis command called from script";
    }
    const struct command *row = ref->row;
    bool arity = row->arity >= 0 ? (int)argc == row->arity : (int)argc >= -row->arity;
    if (row->sub != NULL && argc >= 2) {
        return "ERR Unknown Redis command called from script";
    }
    if (!arity) {
        return "ERR Wrong number of args calling Redis command from script";
    }
    if ((row->flags & CMD_NOSCRIPT) && !option_int(&x->opt.scripts_call_all)) {
        return "ERR This Redis command is not allowed from script";
    }
    if ((rules & SCRIPT_READONLY) && (row->flags & (CMD_WRITE | CMD_MAY_REPLICATE))) {
        return "ERR Write commands are not allowed from read-only scripts.";
    }
    const char *why = write_refusal(x, row);
    if (why != NULL) {
        return why;
    }
    if ((row->flags & CMD_DENYOOM) && (rules & SCRIPT_OVER_MEMORY)) {
        return NO_MEMORY;
    }
    return NULL;
}

/* False: no memory for so many. */
static bool find_keys(struct script_scope *sc, struct keyspace *ks, const struct cmd_ref *ref,
                      const struct slice *argv, unsigned argc, unsigned *nkeys)
{
    int n = 0;
    for (;;) {
        n = command_keys(ref->row, argv, argc, sc->index, sc->keys_cap);
        if (n <= (int)sc->keys_cap) {
            break;
        }
        unsigned cap = (unsigned)n + 16;
        uint32_t *index = mem_try_realloc(sc->index, cap * sizeof *index);
        sc->index = index != NULL ? index : sc->index;
        struct key *keys = mem_try_realloc(sc->keys, cap * sizeof *keys);
        sc->keys = keys != NULL ? keys : sc->keys;
        if (index == NULL || keys == NULL) {
            return false;
        }
        sc->keys_cap = cap;
    }
    for (int i = 0; i < n; i++) {
        sc->keys[i] = keyspace_key(ks, argv[sc->index[i]]);
    }
    *nkeys = n > 0 ? (unsigned)n : 0;
    return true;
}

/* MOVE, and COPY with DB, change a database besides the one that pre-images are of. */
static bool names_database(const struct call *c)
{
    return strcmp(c->cmd->name, "move") == 0 || (strcmp(c->cmd->name, "copy") == 0 && c->argc > 4);
}

/* May it run with the locks that are held? What it will change is saved first. */
static bool prepare(struct call *c, struct script_scope *sc)
{
    struct txn *t = c->in->t;
    const struct command *row = c->cmd;
    if (t->exclusive) {
        return true;
    }
    if ((row->flags & (CMD_EXCLUSIVE | CMD_KEYSPACE)) || names_database(c) ||
        (row->exclusive != NULL && row->exclusive(c->argv, c->argc))) {
        return false;
    }
    for (unsigned i = 0; i < c->nkeys; i++) {
        if (!txn_holds(t, c->keys[i].shard)) {
            return false;
        }
    }
    /* PFCOUNT writes what it has counted, and any read may delete what has expired. */
    bool changes = (row->flags & (CMD_WRITE | CMD_MAY_REPLICATE)) != 0 ||
                   !option_int(&c->x->opt.active_expire);
    for (unsigned i = 0; i < c->nkeys && changes; i++) {
        if (!pre_image_save(&sc->undo, c->ks, c->db, &c->keys[i])) {
            return false;
        }
    }
    return true;
}

/* It is done: without memory for what it says the script hears that. */
static struct slice take_reply(struct script_scope *sc)
{
    sc->reply.n = 0;
    if (!buf_try_reserve(&sc->reply, out_size(&sc->out))) {
        out_clear(&sc->out);
        return S("-OOM command not allowed: not enough memory for its reply\r\n");
    }
    out_copy_to(&sc->out, &sc->reply);
    out_clear(&sc->out);
    return buf_slice(&sc->reply);
}

bool call_script_command(struct call *outer, const struct slice *argv, unsigned argc, int resp,
                         unsigned rules, struct slice *reply)
{
    struct worker *w = outer->in->w;
    struct session *s = outer->session;
    struct script_scope *sc = scope_of(w);
    if (sc->keys_cap == 0) {
        sc->keys_cap = 16;
        sc->index = mem_alloc(sc->keys_cap * sizeof *sc->index);
        sc->keys = mem_alloc(sc->keys_cap * sizeof *sc->keys);
    }
    const struct cmd_ref *ref = command_lookup(w->x, argv, argc);
    struct call_int in = { .t = outer->in->t, .w = w, .ref = ref };
    struct call c = { .argv = argv,
                      .argc = argc,
                      .db = s->db,
                      .resp = resp,
                      .flags = CALL_SCRIPT | (outer->flags & CALL_MULTI) |
                               (in.t->exclusive ? CALL_EXCLUSIVE : 0u),
                      .now_ms = outer->now_ms,
                      .x = w->x,
                      .ks = w->x->ks,
                      .session = s,
                      .out = &sc->out,
                      .in = &in };
    const char *why = refusal(outer, ref, argc, rules);
    if (why != NULL) {
        if (ref != NULL) {
            tally_rejected(&sc->tally, w, ref->id);
        }
        reply_error(&c, why);
        *reply = take_reply(sc);
        return true;
    }
    c.cmd = ref->row;
    if (unlikely(s->restricted) && !acl_admits(&c)) {
        *reply = take_reply(sc);
        return true;
    }
    if (!find_keys(sc, c.ks, ref, argv, argc, &c.nkeys)) {
        tally_rejected(&sc->tally, w, ref->id);
        reply_oom(&c);
        *reply = take_reply(sc);
        return true;
    }
    c.keys = sc->keys;
    if (!prepare(&c, sc)) {
        return false;
    }
    if (!(ref->row->flags & (CMD_SKIP_MONITOR | CMD_ADMIN))) {
        monitor_feed(in.t, NULL, c.db, argv, argc);
    }
    txn_gates(in.t, c.keys, c.nkeys);
    if (unlikely(sc->told) && !sc->wrote && (ref->row->flags & CMD_WRITE) && !script_may_write(w)) {
        reply_error(&c, SCRIPT_KILLED);
    } else if (likely(fx_room_request(&c))) {
        call_invoke(&c);
        tracking_read(&c);
    } else {
        reply_oom(&c);
    }
    sc->wrote |= (ref->row->flags & CMD_WRITE) != 0 && !in.error;
    tally_account(&sc->tally, &c);
    *reply = take_reply(sc);
    return true;
}

/* ---- A script that takes long ----
 *
 * It has the keyspace for itself, and everybody else would wait. After busy-reply-threshold the
 * other reactors go on without the keyspace (worker.busy): they answer BUSY, and let SCRIPT KILL
 * through. All shard locks are held then, so that whatever else would touch a shard waits; for what
 * reactors do while they are busy that would mean that nobody can end the script, so it is put off:
 * expiry, eviction, WATCH and its end, taking a client out of the queues it waited in. The
 * clients of the script's own reactor wait, but their next request is looked at: it gets BUSY, ends
 * the script, asks about it, begins a MULTI or is an EXEC, which BUSY ends. New clients go to other
 * reactors. */

#define LOOK_US   10000
#define ENDING_MS 5000 /* a script has when the server ends, where no script is ever busy */

/* SHUTDOWN ABORT, and what is no argument of it, waits for its answer. */
static bool is_shutdown(const struct cmd_ref *ref, const struct request *req, bool *nosave)
{
    bool fine = strcmp(ref->full, "shutdown") == 0, save = false;
    for (unsigned i = 1; fine && i < req->argc; i++) {
        bool no = slice_is(req->argv[i], "nosave"), yes = slice_is(req->argv[i], "save");
        *nosave |= no;
        save |= yes;
        fine = no || yes || slice_is(req->argv[i], "now") || slice_is(req->argv[i], "force");
    }
    return fine && !(save && *nosave);
}

static bool is_kill(const struct cmd_ref *ref)
{
    return strcmp(ref->full, "script|kill") == 0 || strcmp(ref->full, "function|kill") == 0;
}

#define ANSWER_MAX 16384 /* what any socket takes at once */

/* These touch no key, and what they say is about the script that runs. */
static void answer_about_script(struct worker *w, struct session *s, const struct cmd_ref *ref,
                                const struct request *req, size_t used, bool silent)
{
    struct out out = { 0 };
    struct call_int in = { .t = &w->txn, .w = w, .ref = ref };
    struct call c = { .cmd = ref->row,
                      .argv = req->argv,
                      .argc = req->argc,
                      .db = s->db,
                      .resp = s->resp,
                      .x = w->x,
                      .ks = w->x->ks,
                      .session = s,
                      .out = &out,
                      .in = &in };
    ref->row->proc(&c);
    struct buf text = { 0 };
    out_copy_to(&out, &text);
    out_clear(&out);
    if (!silent && text.n <= ANSWER_MAX && conn_answer_peeked(s->conn, used, buf_slice(&text))) {
        stat_count(w, ref->id, 0, in.error);
    } else if (is_kill(ref) && !in.error) {
        s->killed_script = true; /* call_script_kill() will find it done */
    }
    buf_free(&text);
}

static void answer_refused(struct worker *w, struct session *s, const struct cmd_ref *ref,
                           size_t used)
{
    bool ends = strcmp(ref->full, "exec") == 0;
    char text[160];
    size_t n = (size_t)snprintf(text, sizeof text, "-%s%s\r\n", ends ? EXECABORT : "",
                                script_busy_text(w->x));
    if (!conn_answer_peeked(s->conn, used, slice_of(text, n))) {
        return;
    }
    counter_add(&w->stats[ref->id].rejected, 1);
    error_count(w->x, w, ends ? S("EXECABORT") : S("BUSY"));
    if (ends) {
        session_unwatch(s);
        session_discard(s);
    } else if (s->multi != NULL) {
        multi_flag_error(s);
    }
}

/* Seeing the request is the request: its client may be gone, or be held back, before it runs. The
 * script ends now. */
static void ask_to_stop(struct exec *x)
{
    exec_shutdown_request(x, 0);
    if (x->stop != NULL) {
        x->stop(x->leave_arg);
    }
}

/* Of a user who may not do everything, what ends a script is: it names no key. */
static bool may_be_answered(const struct session *s, const struct cmd_ref *ref,
                            const struct request *req)
{
    unsigned at;
    if (!s->restricted || !s->authenticated) {
        return s->authenticated;
    }
    return (is_kill(ref) || strcmp(ref->full, "shutdown") == 0) &&
           acl_check(s->user, ref, req->argv, req->argc, &at) == ACL_OK;
}

/* One request that the kernel has for a client of this reactor, parsed from a look at it. */
static void answer_busy(struct worker *w, struct session *s, const struct request *req, size_t used)
{
    const struct cmd_ref *ref = command_lookup(w->x, req->argv, req->argc);
    bool listens = s->resp == 2 && session_subscribed(s); /* refused, when its turn comes */
    bool silent = s->reply_mode != REPLY_ON || listens;
    if (ref == NULL || !may_be_answered(s, ref, req)) {
        return; /* it waits for its answer */
    }
    bool nosave = false, ends = s->multi == NULL && is_shutdown(ref, req, &nosave);
    bool about = req->argc == 2 && (is_kill(ref) || strcmp(ref->full, "function|stats") == 0);
    if (s->multi == NULL && about) {
        answer_about_script(w, s, ref, req, used, silent);
    } else if (ends && nosave && !listens) {
        ask_to_stop(w->x);
    } else if (silent) {
        /* It waits, for no answer or for another one. */
    } else if (strcmp(ref->full, "multi") == 0 && req->argc == 1 && s->multi == NULL) {
        if (conn_answer_peeked(s->conn, used, S("+OK\r\n"))) { /* what follows gets BUSY */
            multi_begin(s);
        }
    } else if (ends || !(ref->row->flags & CMD_ALLOW_BUSY)) {
        answer_refused(w, s, ref, used);
    }
}

#define PEEK_BYTES 16384

/* What ran before the script in this turn goes to the log, and its replies leave. */
static void let_leave(struct worker *w)
{
    if (w->appended) {
        w->appended = false;
        wal_announce(w->x->wal, w->id);
    }
    uint64_t release = exec_release_point(w->x);
    for (struct session *s = w->sessions; s != NULL; s = s->next) {
        if (s != w->current) {
            conn_write_early(s->conn, release);
        }
    }
}

/* The clients of this reactor: what they ask is answered where BUSY is the answer. */
static void look_at_clients(struct worker *w)
{
    let_leave(w);
    char *text = mem_alloc(PEEK_BYTES);
    struct parser *p = parser_new();
    for (struct session *s = w->sessions; s != NULL; s = s->next) {
        /* What the script's client, or one with requests held back, sends now is answered later. */
        bool next = s != w->current && s->held == NULL && session_runs(s);
        size_t n = next ? conn_peek(s->conn, text, PEEK_BYTES) : 0, used = 0;
        struct request req;
        const char *error = NULL;
        if (n > 0 &&
            parser_next(p, &s->limits, slice_of(text, n), &used, &req, &error) == PARSE_OK &&
            req.argc > 0) {
            answer_busy(w, s, &req, used);
        }
        parser_free(p);
        p = parser_new();
    }
    parser_free(p);
    mem_free(text);
}

static void all_shards(struct worker *w, bool lock)
{
    unsigned n = w->x->nshards;
    uint32_t *index = mem_alloc(n * sizeof *index);
    for (unsigned i = 0; i < n; i++) {
        index[i] = i;
    }
    (lock ? keyspace_lock_many : keyspace_unlock_many)(w->x->ks, index, n);
    mem_free(index);
}

static void tell(const struct call *c, struct script_scope *sc, bool slow)
{
    struct running_script script = { sc->name, sc->started_us, sc->wrote };
    sc->told = script_tell(c, &script, slow) || sc->told;
}

#define EARLY_US 100000 /* others hear of a script that runs for so long */

/* With Redis nobody is answered beside a script before it is busy. Here others are, and may ask for
 * it, and end it. True: it was killed. */
static bool killed_early(const struct call *c, struct script_scope *sc, int64_t now)
{
    if (now - sc->started_us < EARLY_US) {
        return false;
    }
    if (!sc->told) {
        tell(c, sc, false);
    }
    return sc->told && script_killed(c->in->w, sc->wrote);
}

static void slow_begin(struct call *c, struct script_scope *sc, int64_t now)
{
    struct worker *w = c->in->w;
    struct exec *x = c->x;
    bool function = script_is_function(c);
    sc->slow = true;
    log_warning(
        "Slow script detected: still in execution after %lld milliseconds. You can try killing "
        "the script using the %s KILL command. Script name is: %s.",
        (long long)(now - sc->started_us) / 1000, function ? "FUNCTION" : "SCRIPT", sc->name);
    tell(c, sc, true);
    reactor_away(w->r, true);
    if (!sc->locked) {
        sc->locked = true;
        lock_assume_all(RANK_SHARD, false);
        all_shards(w, true);
    }
    atomic_store_explicit(&x->busy, function ? SCRIPT_FUNCTION : SCRIPT_EVAL, memory_order_seq_cst);
    atomic_fetch_add_explicit(&x->section_word, 1, memory_order_seq_cst);
    futex_wake(&x->section_word, 64);
}

/* True: it was one; others may still be on their way out. */
static bool slow_end(struct worker *w)
{
    struct script_scope *sc = w->scripts;
    bool slow = sc->slow;
    if (slow) {
        sc->slow = false;
        reactor_away(w->r, false);
        atomic_store_explicit(&w->x->busy, 0, memory_order_seq_cst);
    }
    return slow;
}

void script_unlock(struct worker *w)
{
    struct script_scope *sc = w->scripts;
    if (sc != NULL && sc->locked) {
        sc->locked = false;
        all_shards(w, false);
    }
}

enum script_fate call_script_slow(struct call *c)
{
    struct worker *w = c->in->w;
    struct exec *x = c->x;
    struct script_scope *sc = w->scripts;
    int64_t now = clock_mono_us(), limit_ms = option_int(&x->opt.busy_reply_threshold);
    if (now - sc->looked_us < LOOK_US) {
        return SCRIPT_GOES_ON;
    }
    sc->looked_us = now;
    if (!sc->slow && killed_early(c, sc, now)) {
        return SCRIPT_END;
    }
    int64_t time_ms = limit_ms > 0 ? limit_ms : ENDING_MS;
    bool late = (now - sc->started_us) / 1000 >= time_ms;
    bool ending = scripts_end(x, late);
    if (!ending && (limit_ms <= 0 || !late)) {
        return SCRIPT_GOES_ON;
    }
    if (!c->in->t->exclusive) {
        return SCRIPT_ALONE; /* it can be told of, and ended, where nobody waits for its locks */
    }
    if (!sc->slow) {
        slow_begin(c, sc, now);
    }
    look_at_clients(w);
    reactor_accept(w->r);
    ending = scripts_end(x, late);
    if (ending &&
        sc->wrote) { /* half of it must not be seen, nor logged; all that was answered is safe */
        log_warning(
            "The server ends in the middle of a script that has written: its changes are lost");
        if (x->wal != NULL) { /* under everysec and no, more was answered than is written */
            (void)!wal_wait_until(x->wal, wal_tail(x->wal));
        }
        if (x->leave != NULL) {
            x->leave(x->leave_arg);
        }
        _exit(0);
    }
    return ending || script_killed(w, sc->wrote) ? SCRIPT_END : SCRIPT_GOES_ON;
}

int64_t call_time_us(const struct call *c)
{
    struct script_scope *sc = (c->flags & CALL_SCRIPT) ? c->in->w->scripts : NULL;
    int64_t now = sc != NULL && sc->time_us != 0 ? sc->time_us : clock_wall_us();
    if (sc != NULL) {
        sc->time_us = now;
    }
    return now;
}

/* ---- What script/ asks ---- */

bool call_has_room(const struct call *c)
{
    return !c->in->over_memory || option_int(&c->x->opt.maxmemory) == 0;
}

bool call_reply_lost(const struct call *c)
{
    return c->session != NULL && c->out == conn_out(c->session->conn) &&
           conn_over_limit(c->session->conn);
}

const char *call_write_refusal(const struct call *c)
{
    static const struct command any_write = { .flags = CMD_WRITE };
    return write_refusal(c->x, &any_write);
}

bool call_may_command(struct call *c, const struct slice *argv, unsigned argc)
{
    const struct cmd_ref *ref = command_lookup(c->x, argv, argc);
    unsigned at;
    return !c->session->restricted ||
           (ref != NULL && acl_check(c->session->user, ref, argv, argc, &at) == ACL_OK);
}

unsigned call_worker(const struct call *c)
{
    return c->in->w->id;
}

unsigned exec_workers(const struct exec *x)
{
    return x->nworkers;
}

void exec_set_scripts(struct exec *x, struct scripts *s, const struct script_hooks *hooks)
{
    x->scripts = s;
    x->script_hooks = hooks;
}

struct scripts *exec_scripts(const struct exec *x)
{
    return x->scripts;
}
