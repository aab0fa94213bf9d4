/* exec.c -- The engine's frame: its creation, what it answers to the network and the log, and the
 * periodic work of a reactor. SPDX-License-Identifier: BSD-3-Clause THREADS  exec_new/exec_free:
 * the main thread. Upcalls: as net.h says. */
#include "exec/tracking.h"
#include "base/log.h"
#include <stdio.h>

static void worker_init(struct exec *x, unsigned id)
{
    struct worker *w = &x->workers[id];
    w->x = x;
    w->id = id;
    w->producer = true;
    w->txn.w = w;
    w->serve_txn.w = w;
    w->slow_ticks = UINT64_MAX;
    w->large_request = w->large_reply = SIZE_MAX;
    worker_keys_reserve(w, 64);
    w->wall_ms = clock_wall_ms();
    w->wall_ticks = clock_ticks();
    w->ticks = w->wall_ticks;
    uint64_t mtick_ns = clock_ticks_to_ns(1000000);
    w->wall_keeps = (uint64_t)500000 * 1000000 / (mtick_ns > 0 ? mtick_ns : 1);
}

int exec_new(struct exec **out, const struct exec_config *cfg)
{
    struct exec *x = mem_calloc(sizeof *x);
    x->ks = cfg->ks;
    x->reactors = cfg->reactors;
    x->nworkers = cfg->reactors + EXEC_EXTRA_WORKERS;
    x->nshards = keyspace_shards(cfg->ks);
    x->shards = mem_aligned(64, x->nshards * sizeof *x->shards);
    memset(x->shards, 0, x->nshards * sizeof *x->shards);
    x->workers = mem_aligned(64, x->nworkers * sizeof *x->workers);
    memset(x->workers, 0, x->nworkers * sizeof *x->workers);
    for (unsigned i = 0; i < x->nworkers; i++) {
        worker_init(x, i);
    }
    lock_init(&x->section_lock, RANK_SECTION, 0);
    lock_init(&x->busy_lock, RANK_STATS, 0);
    atomic_init(&x->shutdown_flags, -1);
    atomic_init(&x->retire_epoch, 1);
    commands_new(x);
    parts_new(x);
    for (const struct command *const *f = exec_own_families; *f != NULL; f++) {
        exec_register(x, *f);
    }
    keyspace_tell_earlier(x->ks, expire_earlier, x);
    *out = x;
    return 0;
}

void exec_free(struct exec *x)
{
    for (unsigned i = 0; i < x->nworkers; i++) {
        struct worker *w = &x->workers[i];
        worker_quiesce(w);
        mem_free(w->keys);
        mem_free(w->key_index);
        mem_free(w->lock_set);
        for (unsigned id = 0; w->stats != NULL && id < commands_count(x); id++) {
            mem_free(atomic_load_explicit(&w->stats[id].histogram, memory_order_relaxed));
        }
        mem_free(w->stats);
        mem_free(w->txn.touched);
        mem_free(w->txn.ready);
        mem_free(w->txn.events);
        buf_free(&w->txn.fx);
        mem_free(w->serve_txn.touched);
        mem_free(w->serve_txn.ready);
        mem_free(w->serve_txn.events);
        buf_free(&w->serve_txn.fx);
        mem_free(w->rest);
        scripts_free(w);
        buf_free(&w->scratch);
    }
    parts_free(x);
    commands_free(x);
    mem_free(x->shards);
    mem_free(x->workers);
    mem_free((void *)(uintptr_t)x->opt.requirepass.p);
    mem_free(x->opt.aclfile);
    for (unsigned i = 0; i < x->opt.nuser_lines; i++) {
        acl_user_line_free(&x->opt.user_line[i]);
    }
    mem_free(x->opt.user_line);
    mem_free(x);
}

struct exec_options *exec_options(struct exec *x)
{
    return &x->opt;
}

void exec_adopt_options(struct exec *x, struct exec_options *loaded)
{
    memcpy(&x->opt, loaded, sizeof x->opt);
    x->opt.active_expire = 1;
    x->opt.acl = x->acl;
}

void exec_set_net(struct exec *x, struct net *n)
{
    x->net = n;
}

struct set_wal {
    struct exec *x;
    struct wal *w;
};

static void set_wal(void *arg)
{
    struct set_wal *s = arg;
    s->x->wal = s->w;
}

/* The reactors answer LOADING already and look at the log in each turn. */
void exec_set_wal(struct exec *x, struct wal *w)
{
    exec_exclusive(x, set_wal, &(struct set_wal){ x, w });
}

void exec_set_loading(struct exec *x, bool on)
{
    atomic_store_explicit(&x->loading, on, memory_order_release);
}

void exec_wal_wake(void *exec, unsigned producer)
{
    struct exec *x = exec;
    if (producer < x->reactors && x->workers[producer].r != NULL) {
        reactor_wake(x->workers[producer].r);
    }
}

void exec_wal_barrier(void *exec, int64_t us)
{
    latency_note(exec, LATENCY_FSYNC, us);
}

/* Statistics arrays need the number of commands: made when everything is registered, before
 * threads. */
void exec_prepare(struct exec *x)
{
    for (unsigned i = 0; i < x->nworkers; i++) {
        x->workers[i].stats = mem_calloc(commands_count(x) * sizeof(struct cmd_stat));
    }
}

/* ---- Upcalls of the network ---- */

static void *up_reactor_start(void *arg, struct reactor *r)
{
    struct exec *x = arg;
    struct worker *w = &x->workers[reactor_id(r)];
    w->r = r;
    w->ticks = clock_ticks();
    worker_wake(w);
    return w;
}

static void up_reactor_stop(void *arg, struct reactor *r)
{
    (void)arg;
    struct worker *w = reactor_user(r);
    worker_quiesce(w);
    worker_sleep(w);
}

static void *up_open(void *arg, struct conn *conn)
{
    (void)arg;
    struct worker *w = reactor_user(conn_reactor(conn));
    struct session *s = session_open(w, conn);
    session_greet(s);
    return s;
}

static size_t up_input(void *user, struct conn *conn, struct slice in)
{
    (void)conn;
    return session_input(user, in);
}

static void up_inputs_ahead(void *arg, struct reactor *r, const struct net_input *in, unsigned n)
{
    (void)arg;
    inputs_ahead(reactor_user(r), in, n);
}

static void up_partial(void *user, struct conn *conn)
{
    (void)conn;
    clients_account(user);
}

static void up_ended(void *user, struct conn *conn)
{
    (void)conn;
    session_end_wait(user);
}

static void up_closed(void *user, struct conn *conn)
{
    (void)conn;
    session_close(user);
}

static void up_limit(void *user, struct conn *conn, const char *what)
{
    struct session *s = user;
    char addr[ADDR_TEXT_MAX];
    conn_peer(conn, addr);
    log_warning("Client id=%llu addr=%s closed: %s", (unsigned long long)s->id, addr, what);
}

/* While the log ends replies wait in every mode: no mode would keep what is done meanwhile. */
uint64_t exec_release_point(const struct exec *x)
{
    if (x->wal == NULL) {
        return UINT64_MAX;
    }
    return unlikely(x->log_closing) ? wal_durable(x->wal).v : wal_release_point(x->wal);
}

/* The log they were stopped for has ended. */
static void unstop_all(struct worker *w)
{
    w->stopped_bytes = 0;
    while (w->stopped != NULL) {
        struct session *s = w->stopped;
        w->stopped = s->next_stopped;
        s->is_stopped = false;
        conn_resume(s->conn, STOP_ADMISSION);
        conn_resume(s->conn, STOP_PARKED);
    }
}

static uint64_t up_turn_end(void *arg, struct reactor *r)
{
    struct exec *x = arg;
    struct worker *w = reactor_user(r);
    expire_look_earlier(w);
    out_cache_lean(option_int(&x->opt.maxmemory) != 0);
    if (w->appended) {
        w->appended = false;
        wal_announce(x->wal, w->id);
    }
    if (unlikely(w->stopped != NULL)) {
        if (x->wal != NULL) {
            sessions_unstop(w);
        } else {
            unstop_all(w);
        }
    }
    if (unlikely(w->durable_waits != NULL)) {
        waits_durable(w);
    }
    worker_keys_shrink(w);
    if (unlikely(w->told != NULL)) { /* by expiry, eviction, what waited */
        tracking_deliver(w);
    }
    return exec_release_point(x);
}

static uint64_t up_before_sleep(void *arg, struct reactor *r, uint64_t lowest_gate, bool stopped)
{
    struct exec *x = arg;
    struct worker *w = reactor_user(r);
    if (unlikely(w->check_clients && !w->busy)) {
        clients_evict(w);
    }
    worker_quiesce(w);
    if (x->wal == NULL) {
        return UINT64_MAX;
    }
    if (w->appended) {
        w->appended = false;
        wal_announce(x->wal, w->id);
    }
    if (unlikely(w->durable_waits != NULL) && waits_durable_pending(w)) {
        reactor_wake(r); /* it became durable since the turn's end */
    }
    /* Who is stopped for parked bytes waits for a gate, and log_begin.c wakes for its queue. */
    stopped = stopped && !(log_begins(x) && log_begin_full(x));
    uint64_t release = wal_wait(x->wal, w->id, lowest_gate, stopped);
    return unlikely(x->log_closing) ? exec_release_point(x) : release;
}

static void up_sleep_begin(void *arg, struct reactor *r)
{
    (void)arg;
    worker_sleep(reactor_user(r));
}

static void up_sleep_end(void *arg, struct reactor *r)
{
    (void)arg;
    struct worker *w = reactor_user(r);
    worker_wake(w);
    w->ticks = clock_ticks();
}

static unsigned up_tick(void *arg, struct reactor *r)
{
    (void)arg;
    struct worker *w = reactor_user(r);
    w->ticks = clock_ticks();
    section_poll(w);
    if (unlikely(w->busy)) {
        return SCRIPT_LOOK_MS;
    }
    unsigned again = expire_slice(w);
    if (unlikely(w->busy)) { /* since a moment ago */
        return SCRIPT_LOOK_MS;
    }
    unsigned clients = unlikely(option_int(&w->x->opt.cron_paused)) ? 100 : clients_cron(w);
    unsigned evicts = evict_slice(w);
    if (!option_int(&w->x->opt.cron_paused) && !w->busy && tracking_slice(w)) {
        evicts = 1;
    }
    again = again < evicts ? again : evicts;
    return again < clients ? again : clients;
}

void exec_net_upcalls(struct exec *x, struct net_upcalls *up)
{
    *up = (struct net_upcalls){
        .arg = x,
        .reactor_start = up_reactor_start,
        .reactor_stop = up_reactor_stop,
        .conn_open = up_open,
        .conn_input = up_input,
        .inputs_ahead = up_inputs_ahead,
        .conn_ended = up_ended,
        .conn_closed = up_closed,
        .conn_limit = up_limit,
        .conn_partial = up_partial,
        .turn_end = up_turn_end,
        .before_sleep = up_before_sleep,
        .sleep_begin = up_sleep_begin,
        .sleep_end = up_sleep_end,
        .tick = up_tick,
    };
}

void exec_set_leave(struct exec *x, void (*stop)(void *arg), void (*leave)(void *arg), void *arg)
{
    x->stop = stop;
    x->leave = leave;
    x->leave_arg = arg;
}

void exec_shutdown_request(struct exec *x, int flags)
{
    atomic_store_explicit(&x->shutdown_flags, flags, memory_order_release);
}

bool scripts_end(struct exec *x, bool late)
{
    int flags = exec_shutdown_requested(x);
    return flags >= 0 && (late || (flags & EXEC_ENDS) == 0);
}

int exec_shutdown_requested(struct exec *x)
{
    return atomic_load_explicit(&x->shutdown_flags, memory_order_acquire);
}

const char *exec_current_command(void)
{
    struct reactor *r = reactor_self();
    struct worker *w = r != NULL ? reactor_user(r) : NULL;
    return w != NULL && w->current != NULL && w->current->last_cmd != NULL
               ? w->current->last_cmd->full
               : NULL;
}
