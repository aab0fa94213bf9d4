/* parts.c -- Small shared parts of the engine: error statistics, the registry of sessions, who may
 * connect, idle clients. SPDX-License-Identifier: BSD-3-Clause THREADS  As each function says;
 * error counters of a worker are its own until they are summed. */
#include "exec/tracking.h"
#include "base/log.h"
#include <stdlib.h>

/* ---- Registry: session id -> session, for CLIENT commands and INFO ---- */

struct registry {
    struct lock lock; /* RANK_CLIENTS */
    struct session **slot;
    unsigned slots, used;
};

static unsigned registry_slot(const struct registry *g, uint64_t id)
{
    return (unsigned)(id * 0x9e3779b97f4a7c15u >> 32) & (g->slots - 1);
}

static void registry_grow(struct registry *g)
{
    struct session **old = g->slot;
    unsigned n = g->slots;
    g->slots = n == 0 ? 256 : n * 2;
    g->slot = mem_calloc(g->slots * sizeof *g->slot);
    for (unsigned i = 0; i < n; i++) {
        struct session *s = old[i];
        while (s != NULL) {
            struct session *next = s->registry_chain;
            unsigned to = registry_slot(g, s->id);
            s->registry_chain = g->slot[to];
            g->slot[to] = s;
            s = next;
        }
    }
    mem_free(old);
}

void registry_add(struct session *s)
{
    struct registry *g = s->w->x->registry;
    lock_acquire(&g->lock);
    if (g->used >= g->slots) {
        registry_grow(g);
    }
    unsigned at = registry_slot(g, s->id);
    s->registry_chain = g->slot[at];
    g->slot[at] = s;
    g->used++;
    lock_release(&g->lock);
}

void registry_remove(struct session *s)
{
    struct registry *g = s->w->x->registry;
    lock_acquire(&g->lock);
    struct session **at = &g->slot[registry_slot(g, s->id)];
    while (*at != s) {
        at = &(*at)->registry_chain;
    }
    *at = s->registry_chain;
    g->used--;
    lock_release(&g->lock);
}

static struct session *registry_at(const struct registry *g, uint64_t id)
{
    struct session *s = g->slots > 0 ? g->slot[registry_slot(g, id)] : NULL;
    while (s != NULL && s->id != id) {
        s = s->registry_chain;
    }
    return s;
}

/* The pointer is only good in an exclusive section (no reactor frees sessions then). */
struct session *registry_find(struct exec *x, uint64_t id)
{
    struct registry *g = x->registry;
    lock_acquire(&g->lock);
    struct session *s = registry_at(g, id);
    lock_release(&g->lock);
    return s;
}

uint64_t registry_handle(struct exec *x, uint64_t id)
{
    struct registry *g = x->registry;
    lock_acquire(&g->lock);
    const struct session *s = registry_at(g, id);
    uint64_t handle = s != NULL ? s->handle : 0;
    lock_release(&g->lock);
    return handle;
}

unsigned registry_count(struct exec *x)
{
    struct registry *g = x->registry;
    lock_acquire(&g->lock);
    unsigned n = g->used;
    lock_release(&g->lock);
    return n;
}

/* ---- errorstat_* ---- */

struct errors {
    struct lock lock; /* RANK_STATS */
    struct {
        char code[32];
        uint64_t count;
    } kind[ERROR_KINDS];
    unsigned n;
};

void error_count(struct exec *x, struct worker *w, struct slice code)
{
    counter_add(&w->errors_total, 1);
    struct errors *e = x->errors;
    size_t len = size_min(code.n, sizeof e->kind[0].code - 1);
    lock_acquire(&e->lock);
    unsigned i = 0;
    while (i < e->n &&
           !(strlen(e->kind[i].code) == len && memcmp(e->kind[i].code, code.p, len) == 0)) {
        i++;
    }
    if (i == e->n && e->n < ERROR_KINDS) {
        memcpy(e->kind[i].code, code.p, len);
        e->kind[i].code[len] = '\0';
        e->n++;
    }
    if (i < e->n) {
        e->kind[i].count++;
    }
    lock_release(&e->lock);
}

static int by_code(const void *a, const void *b)
{
    return strcmp(a, b); /* the code comes first */
}

void exec_errorstats(struct exec *x, void (*visit)(void *arg, const char *code, uint64_t count),
                     void *arg)
{
    struct errors *e = x->errors;
    struct errors copy;
    lock_acquire(&e->lock);
    memcpy(copy.kind, e->kind, sizeof copy.kind);
    copy.n = e->n;
    lock_release(&e->lock);
    qsort(copy.kind, copy.n, sizeof copy.kind[0], by_code);
    for (unsigned i = 0; i < copy.n; i++) {
        visit(arg, copy.kind[i].code, copy.kind[i].count);
    }
}

void exec_errorstats_reset(struct exec *x)
{
    lock_acquire(&x->errors->lock);
    x->errors->n = 0;
    memset(x->errors->kind, 0, sizeof x->errors->kind);
    lock_release(&x->errors->lock);
}

/* ---- Who may connect ---- */

static const char protected_text[] =
    "DENIED kv is running in protected mode because protected mode is enabled and no password is "
    "set for the default user. In this mode connections are "
    "only accepted from the loopback interface. If you want to connect from external computers to "
    "kv you may adopt one of the following solutions: 1) Just "
    "disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback "
    "interface by connecting to kv from the same host the server "
    "is running, however MAKE SURE kv is not publicly accessible from internet if you do so. Use "
    "CONFIG REWRITE to make this change permanent. 2) "
    "Alternatively you can just disable the protected mode by editing the configuration file, and "
    "setting the protected mode option to 'no', and then "
    "restarting the server. 3) If you started the server manually just for testing, restart it "
    "with the '--protected-mode no' option. 4) Set up an "
    "authentication password for the default user. NOTE: You only need to do one of the above "
    "things in order for the server to start accepting connections "
    "from the outside.";

void session_greet(struct session *s)
{
    struct exec *x = s->w->x;
    if (!option_int(&x->opt.protected_mode) || !s->authenticated ||
        conn_kind(s->conn) == CONN_UNIX || conn_peer_is_loopback(s->conn)) {
        return;
    }
    resp_error(conn_out(s->conn), slice_str(protected_text));
    conn_gate(s->conn, 0);
    conn_close(s->conn, CLOSE_AFTER_REPLY);
}

void security_warning(struct session *s)
{
    static _Atomic int64_t last;
    int64_t now = clock_mono_ms(), before = atomic_load_explicit(&last, memory_order_relaxed);
    if (before != 0 && now - before < 60000) {
        return;
    }
    atomic_store_explicit(&last, now, memory_order_relaxed);
    char addr[ADDR_TEXT_MAX];
    conn_peer(s->conn, addr);
    log_warning("Possible SECURITY ATTACK detected. It looks like somebody is sending POST or "
                "Host: commands to kv. This is likely due to an attacker "
                "attempting to use Cross Protocol Scripting to compromise your instance. "
                "Connection from %s aborted.",
                addr);
}

/* ---- Idle clients ---- */

/* It waits for something that is not its own to send or to read. */
static bool waits_for_others(const struct session *s)
{
    return s->waiter != NULL || s->paused || s->deferred || s->monitor || session_subscribed(s) ||
           conn_lowest_gate(s->conn) != UINT64_MAX;
}

static bool idle_visit(void *arg, struct conn *conn)
{
    struct worker *w = arg;
    struct session *s = conn_user(conn);
    int64_t limit_ms = option_int(&w->x->opt.timeout_s) * 1000;
    int64_t in = conn_last_input_ms(conn), out = conn_last_output_ms(conn);
    if (limit_ms > 0 && !waits_for_others(s) &&
        reactor_now_ms(w->r) - (in > out ? in : out) > limit_ms) {
        log_verbose("Closing idle client");
        conn_close(conn, CLOSE_NOW);
    }
    return true;
}

unsigned clients_cron(struct worker *w)
{
    int64_t now = reactor_now_ms(w->r);
    unsigned period = option_int(&w->x->opt.maxmemory_clients) != 0 ? 100 : 1000;
    if (now - w->recounted_ms >= period) {
        w->recounted_ms = now;
        clients_recount(w);
    }
    if (option_int(&w->x->opt.timeout_s) > 0 && now - w->idle_checked_ms >= 1000) {
        w->idle_checked_ms = now;
        reactor_each(w->r, idle_visit, w);
    }
    return period;
}

void parts_new(struct exec *x)
{
    x->registry = mem_calloc(sizeof *x->registry);
    lock_init(&x->registry->lock, RANK_CLIENTS, 0);
    pubsub_new(x);
    tracking_new(x);
    acl_new(x);
    slowlog_new(x);
    latency_new(x);
    monitors_new(x);
    files_new(x);
    x->errors = mem_calloc(sizeof *x->errors);
    lock_init(&x->errors->lock, RANK_STATS, 0);
}

void parts_free(struct exec *x)
{
    mem_free(x->registry->slot);
    mem_free(x->registry);
    mem_free(x->errors);
    pubsub_free(x);
    tracking_free(x);
    acl_free(x);
    slowlog_free(x);
    hotkeys_free(x);
    latency_free(x);
    monitors_free(x);
    files_free(x);
}

const struct command *const exec_own_families[] = { multi_commands,
                                                    connection_commands,
                                                    client_commands,
                                                    pubsub_commands,
                                                    slowlog_commands,
                                                    commandlog_commands,
                                                    latency_commands,
                                                    monitor_commands,
                                                    acl_commands,
                                                    hotkeys_commands,
                                                    NULL };
