/* session.c -- A client's life on its reactor: open, input in batches, held requests, close.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * BATCH    Up to BATCH_MAX requests are parsed as slices into the input; then one sweep prefetches
 * what their keys need, and they run in order: execution looks up again under the lock. HOLDING
 * When a request in the middle blocks its client (or it is paused), the rest of the batch is copied
 * (session_hold) and runs first when the session goes on, so that order is kept and no input is
 * parsed twice. THREADS  The session's reactor. */
#include "exec/tracking.h"

/* ---- Copied requests ---- */

static size_t queued_bytes(const struct slice *argv, unsigned argc)
{
    size_t bytes = sizeof(struct queued) + argc * sizeof(struct slice);
    for (unsigned i = 0; i < argc; i++) {
        bytes += argv[i].n;
    }
    return bytes;
}

static struct queued *queued_fill(struct queued *q, const struct cmd_ref *ref,
                                  const struct slice *argv, unsigned argc)
{
    q->next = NULL;
    q->ref = ref;
    q->argc = argc;
    char *p = (char *)&q->argv[argc];
    for (unsigned i = 0; i < argc; i++) {
        memcpy(p, argv[i].p, argv[i].n);
        q->argv[i] = slice_of(p, argv[i].n);
        p += argv[i].n;
    }
    return q;
}

struct queued *queued_try_copy(const struct cmd_ref *ref, const struct slice *argv, unsigned argc)
{
    struct queued *q = mem_try_alloc(queued_bytes(argv, argc));
    return q != NULL ? queued_fill(q, ref, argv, argc) : NULL;
}

struct queued *session_copy(struct session *s, const struct pending *p)
{
    struct queued *q = queued_try_copy(p->ref, p->req.argv, p->req.argc);
    if (q == NULL) {
        conn_close_limit(s->conn, "out of memory for a request that waits");
    }
    return q;
}

void session_hold(struct session *s, struct pending *p)
{
    struct queued *q = session_copy(s, p);
    if (q == NULL) {
        return;
    }
    if (s->held == NULL) {
        s->held = q;
    } else {
        s->held_tail->next = q;
    }
    s->held_tail = q;
}

bool session_hold_first(struct session *s, const struct pending *p)
{
    struct queued *q = session_copy(s, p);
    if (q == NULL) {
        return false;
    }
    q->next = s->held;
    s->held = q;
    if (q->next == NULL) {
        s->held_tail = q;
    }
    return true;
}

bool session_runs(const struct session *s)
{
    return s->waiter == NULL && !s->paused && !s->deferred && !s->doomed && !conn_closing(s->conn);
}

uint64_t session_last_write(const struct session *s)
{
    return s->last_lsn;
}

/* ---- Batches ---- */

static inline void side_fetch(const struct exec *x, const struct key *k, bool write)
{
    const struct exec_shard *side = &x->shards[k->shard];
    if (x->wal != NULL) {
        __builtin_prefetch(&side->recent[key_group(k)]);
    }
    if (write) {
        __builtin_prefetch(&side->watches);
    }
}

static void pending_prepare(struct worker *w, struct pending *p)
{
    p->copied = false;
    p->ref = command_lookup(w->x, p->req.argv, p->req.argc);
    p->keyed = p->ref != NULL && p->ref->one_key && p->req.argc >= 2;
    if (p->keyed) {
        p->key = keyspace_key(w->x->ks, p->req.argv[1]);
    }
    if (p->ref != NULL && p->ref->counted_keys && p->req.argc > 3 && !w->busy) {
        struct key first = keyspace_key(w->x->ks, p->req.argv[3]);
        sweep_key_set(&w->sweep[w->nsweep++], &first);
        side_fetch(w->x, &first, true);
    }
    if (p->keyed && likely(!w->busy)) { /* while busy nobody waits for our looks */
        sweep_key_set(&w->sweep[w->nsweep++], &p->key);
        side_fetch(w->x, &p->key, (p->ref->row->flags & CMD_WRITE) != 0);
    }
}

/* Fills w->batch from `in`; returns how many requests, *used the bytes behind them, *error a
 * protocol error after them. One at a time before AUTH: behind it other limits hold. */
static unsigned batch_parse(struct session *s, struct slice in, size_t *used, const char **error)
{
    struct worker *w = s->w;
    unsigned n = 0, most = s->authenticated ? BATCH_MAX : 1;
    w->nsweep = 0;
    *used = 0;
    *error = NULL;
    while (n < most && *used < in.n) {
        struct pending *p = &w->batch[n];
        size_t one = 0;
        enum parse_status st =
            parser_next(conn_parser(s->conn), &s->limits, slice_of(in.p + *used, in.n - *used),
                        &one, &p->req, error);
        *used += one;
        if (st != PARSE_OK) {
            break;
        }
        if (p->req.argc == 0) {
            continue;
        }
        pending_prepare(w, p);
        n++;
    }
    return n;
}

static bool is_http(const struct pending *p)
{
    return p->ref == NULL &&
           (slice_is(p->req.argv[0], "post") || slice_is(p->req.argv[0], "host:"));
}

/* So many commands before its own a key is fetched again: two take longer than an access to memory.
 */
#define AGAIN_AHEAD 2

static void batch_run(struct session *s, unsigned n)
{
    struct worker *w = s->w;
    unsigned ahead = n > 1 ? AGAIN_AHEAD : w->nsweep;
    if (n > 1) {
        keyspace_sweep(w->x->ks, s->db, w->sweep, w->nsweep);
        if (likely(!w->busy && s->multi == NULL)) {
            members_ahead(w, s->db, n);
        }
    }
    for (unsigned i = 0; i < n; i++) {
        if (ahead < w->nsweep) {
            sweep_again(&w->sweep[ahead++]);
        }
        if (unlikely(!session_runs(s))) {
            if (!conn_closing(s->conn)) {
                session_hold(s, &w->batch[i]);
            }
            continue;
        }
        if (unlikely(is_http(&w->batch[i]))) {
            security_warning(s);
            conn_close(s->conn, CLOSE_NOW);
            continue;
        }
        exec_request(s, &w->batch[i]);
    }
}

static void held_run(struct session *s)
{
    while (s->held != NULL && session_runs(s)) {
        struct queued *q = s->held;
        s->held = q->next;
        struct pending *p = &s->w->batch[0];
        p->copied = true;
        p->ref = q->ref;
        p->keyed = false;
        p->req = (struct request){ .argc = q->argc, .argv = q->argv };
        exec_request(s, p);
        mem_free(q);
    }
}

/* Too many bytes wait for the disk, appended by everybody or parked by this one: it stops being
 * read until turn_end() finds room. */
#define PARKED_MAX (4u << 20)

static void session_stop(struct session *s, enum conn_stop_reason why)
{
    conn_stop(s->conn, why);
    if (!s->is_stopped) {
        s->is_stopped = true;
        s->next_stopped = s->w->stopped;
        s->w->stopped = s;
        counter_add(&s->w->writes_stopped, 1);
    }
}

static bool may_read(struct session *s, size_t bytes)
{
    struct wal *wal = s->w->x->wal;
    if (wal == NULL) {
        return true;
    }
    if (!wal_admit(wal, s->w->id, bytes) || (log_begins(s->w->x) && log_begin_full(s->w->x))) {
        s->w->stopped_bytes = size_max(s->w->stopped_bytes, bytes);
        session_stop(s, STOP_ADMISSION);
        return false;
    }
    if (conn_parked_bytes(s->conn) > PARKED_MAX) {
        session_stop(s, STOP_PARKED);
        return false;
    }
    return true;
}

static void batch_time(struct worker *w)
{
    w->ticks = clock_ticks();
    worker_now_ms(w);
}

size_t session_input(struct session *s, struct slice in)
{
    if (s->in_input) {
        return 0;
    }
    s->in_input = true;
    size_t consumed = 0;
    batch_time(s->w);
    held_run(s);
    while (consumed < in.n && session_runs(s) && s->held == NULL && may_read(s, in.n - consumed)) {
        size_t used;
        const char *error;
        unsigned n = batch_parse(s, slice_of(in.p + consumed, in.n - consumed), &used, &error);
        consumed += used;
        batch_run(s, n);
        parser_reset_batch(conn_parser(s->conn));
        if (error != NULL) {
            /* Else it is found again when what came before it was done. */
            if (session_runs(s) && s->held == NULL) {
                session_protocol_error(s, error);
            }
            break;
        }
        if (n == 0 && used == 0) {
            break;
        }
    }
    s->in_input = false;
    clients_account(s);
    return consumed;
}

/* After unblocking or unpausing: what was held runs now, then the input that is there. */
void session_resume(struct session *s)
{
    if (!session_runs(s)) {
        return;
    }
    batch_time(s->w);
    if (!s->in_input) {
        s->in_input = true;
        held_run(s);
        s->in_input = false;
    }
    if (session_runs(s)) {
        conn_resume(s->conn, STOP_BLOCKED);
        conn_resume(s->conn, STOP_PAUSED);
    }
}

/* Called once per turn: connections that were stopped for the log go on when there is room. */
void sessions_unstop(struct worker *w)
{
    struct session *list = w->stopped;
    if (list == NULL || !wal_admit(w->x->wal, w->id, w->stopped_bytes) ||
        (log_begins(w->x) && log_begin_full(w->x))) {
        return;
    }
    w->stopped = NULL;
    w->stopped_bytes = 0;
    while (list != NULL) {
        struct session *s = list;
        list = s->next_stopped;
        s->is_stopped = false;
        conn_resume(s->conn, STOP_ADMISSION);
        if (conn_parked_bytes(s->conn) > PARKED_MAX / 2) {
            s->is_stopped = true;
            s->next_stopped = w->stopped;
            w->stopped = s;
        } else {
            conn_resume(s->conn, STOP_PARKED);
        }
    }
}

/* ---- Life ---- */

#define INLINE_MAX (64 * 1024)
/* Before AUTH it gets errors only: who does not read them must not fill the memory. */
#define UNAUTHENTICATED_OUT_MAX (64 * 1024)

void session_set_authenticated(struct session *s, bool yes)
{
    s->authenticated = yes;
    s->limits.unauthenticated = !yes;
    s->limits.max_args = INT32_MAX;
    s->limits.max_bulk = (size_t)option_int(&s->w->x->opt.proto_max_bulk_len);
    s->limits.max_inline = INLINE_MAX;
    session_set_obuf_class(s, session_subscribed(s) ? OBUF_PUBSUB : OBUF_NORMAL);
}

struct session *session_open(struct worker *w, struct conn *conn)
{
    struct session *s = mem_calloc(sizeof *s);
    s->id = atomic_fetch_add_explicit(&w->x->next_session_id, 1, memory_order_relaxed) + 1;
    s->conn = conn;
    s->handle = conn_handle(conn);
    s->w = w;
    s->created_ms = clock_wall_ms();
    s->resp = 2;
    s->next = w->sessions;
    if (s->next != NULL) {
        s->next->prev = s;
    }
    w->sessions = s;
    session_set_authenticated(s, false);
    session_reset_user(s);
    conn_set_query_limit(conn, (size_t)option_int(&w->x->opt.client_query_buffer_limit));
    registry_add(s);
    return s;
}

void session_set_obuf_class(struct session *s, enum obuf_class cls)
{
    struct exec_options *o = &s->w->x->opt;
    if (!s->authenticated) {
        conn_set_limits(s->conn, UNAUTHENTICATED_OUT_MAX, 0, 0);
        return;
    }
    conn_set_limits(s->conn, (size_t)option_int(&o->obuf_hard[cls]),
                    (size_t)option_int(&o->obuf_soft[cls]),
                    (unsigned)option_int(&o->obuf_soft_s[cls]));
}

/* Closed while a script ran long: its watches need locks that the script holds, and they name it.
 */
struct late {
    struct reactor_timer timer;
    struct session *s;
};

static void on_late(struct reactor *r, struct reactor_timer *t)
{
    struct late *l = container_of(t, struct late, timer);
    if (l->s->w->busy) {
        reactor_timer_set(r, t, reactor_now_ms(r) + SCRIPT_LOOK_MS);
        return;
    }
    session_unwatch(l->s);
    mem_free(l->s);
    mem_free(l);
}

static void session_free(struct session *s)
{
    struct worker *w = s->w;
    session_unwatch(s);
    if (likely(!s->unwatches)) {
        mem_free(s);
        return;
    }
    struct late *l = mem_calloc(sizeof *l);
    l->s = s;
    l->timer.fire = on_late;
    reactor_timer_set(w->r, &l->timer, reactor_now_ms(w->r) + SCRIPT_LOOK_MS);
}

void session_end_wait(struct session *s)
{
    pause_closed(s);
    session_unblock_closed(s);
    for (struct queued *q = s->held; q != NULL;) {
        struct queued *next = q->next;
        mem_free(q);
        q = next;
    }
    s->held = NULL;
}

void session_close(struct session *s)
{
    struct worker *w = s->w;
    counter_add(&w->clients_mem, -s->counted_mem);
    atomic_fetch_sub_explicit(&w->x->leaving_mem, (int64_t)s->leaving_mem, memory_order_relaxed);
    session_end_wait(s);
    session_discard(s);
    session_unsubscribe_all(s);
    session_unmonitor(s);
    session_untrack(s);
    registry_remove(s);
    if (s->is_stopped) {
        struct session **at = &w->stopped;
        while (*at != s) {
            at = &(*at)->next_stopped;
        }
        *at = s->next_stopped;
    }
    if (s->prev != NULL) {
        s->prev->next = s->next;
    } else {
        w->sessions = s->next;
    }
    if (s->next != NULL) {
        s->next->prev = s->prev;
    }
    mem_free(s->name);
    mem_free(s->lib_name);
    mem_free(s->lib_ver);
    session_free(s);
}

void session_protocol_error(struct session *s, const char *error)
{
    error_count(s->w->x, s->w, S("ERR"));
    resp_error(conn_out(s->conn), slice_str(error));
    conn_gate(s->conn, 0);
    conn_close(s->conn, CLOSE_AFTER_REPLY);
}
