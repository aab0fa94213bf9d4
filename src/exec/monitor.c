/* monitor.c -- MONITOR: every command that runs, to whoever listens.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * GATE     A line tells that its command ran, and those of a script tell what it has read. So it is
 * an event of the command's transaction: it leaves when that has its record, waits for what that
 * waits for, and goes with an attempt of a script that is undone.
 * THREADS  Any worker feeds; the list of listeners is under one lock (RANK_MONITOR), looked at only
 * while monitor_count is not zero. Each listener gets its line by a message to its reactor.
 * FAILURE  Without memory for a line the listeners are disconnected (events.c). */
#include "exec/exec_int.h"

struct monitors {
    struct lock lock;
    uint64_t *handle;
    unsigned n, cap;
};
struct line { /* shared by those who get it */
    _Atomic unsigned refs;
    char text[]; /* with what RESP puts around it */
};
struct monitor_line {
    struct message m;
    uint64_t handle, gate;
    struct line *line;
    size_t n; /* of the text */
};

void monitors_new(struct exec *x)
{
    x->monitors = mem_calloc(sizeof *x->monitors);
    lock_init(&x->monitors->lock, RANK_MONITOR, 0);
}

void monitors_free(struct exec *x)
{
    mem_free(x->monitors->handle);
    mem_free(x->monitors);
}

static void line_release(void *p)
{
    struct line *l = p;
    if (atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(l);
    }
}

#define COPY_MAX 2048 /* above, listeners share the bytes instead of copying them */

static void on_line(struct reactor *r, struct message *m)
{
    struct monitor_line *l = container_of(m, struct monitor_line, m);
    struct conn *conn = conn_by_handle(r, l->handle);
    struct session *s = conn != NULL ? conn_user(conn) : NULL;
    if (s != NULL && s->monitor && s->reply_mode != REPLY_OFF && !conn_closing(conn)) {
        if (l->n <= COPY_MAX) {
            out_add(conn_out(conn), l->line->text, l->n);
        } else {
            atomic_fetch_add_explicit(&l->line->refs, 1, memory_order_relaxed);
            out_add_ext(conn_out(conn), l->line->text, l->n, line_release, l->line);
        }
        conn_gate(conn, l->gate);
        clients_account(s);
    }
    line_release(l->line);
    mem_free(l);
}

/* Which arguments are passwords, of the commands that listeners may see; by whatever name. */
static bool secret(const struct command *row, const struct slice *argv, unsigned i)
{
    if (row == NULL || i == 0) {
        return false;
    }
    bool after_auth = i > 2 && (slice_is(argv[i - 1], "auth") || slice_is(argv[i - 2], "auth"));
    return strcmp(row->name, "auth") == 0 || (strcmp(row->name, "hello") == 0 && after_auth);
}

#define PIECE ((size_t)16 * 1024)

static bool put_argument(struct buf *line, struct slice s)
{
    bool room = buf_try_reserve(line, 3);
    if (room) {
        buf_add_str(line, " \"");
    }
    for (size_t at = 0; room && at < s.n; at += PIECE) {
        struct slice piece = slice_of(s.p + at, size_min(PIECE, s.n - at));
        room = buf_try_reserve(line, 4 * piece.n + 1);
        if (room) {
            buf_add_escaped(line, piece);
        }
    }
    room = room && buf_try_reserve(line, 3);
    if (room) {
        buf_add_char(line, '"');
    }
    return room;
}

/* A struct line. False: no memory. */
static bool put_line(struct buf *line, struct exec *x, const struct session *s, unsigned db,
                     const struct slice *argv, unsigned argc)
{
    const struct cmd_ref *ref = command_lookup(x, argv, argc);
    const struct command *row = ref != NULL ? ref->row : NULL;
    char peer[ADDR_TEXT_MAX] = "lua";
    if (s != NULL) {
        conn_peer(s->conn, peer);
    }
    int64_t us = clock_wall_us();
    (void)buf_reserve(line, sizeof(struct line));
    line->n = sizeof(struct line);
    buf_printf(line, "+%lld.%06lld [%u %s]", (long long)(us / 1000000), (long long)(us % 1000000),
               db, peer);
    for (unsigned i = 0; i < argc; i++) {
        if (!put_argument(line, secret(row, argv, i) ? S("(redacted)") : argv[i])) {
            return false;
        }
    }
    buf_add_str(line, "\r\n"); /* put_argument() left room */
    return true;
}

void monitor_feed_slow(struct txn *t, const struct session *s, unsigned db,
                       const struct slice *argv, unsigned argc)
{
    struct buf line = { 0 };
    if (put_line(&line, t->w->x, s, db, argv, argc)) {
        event_own(t, EVENT_MONITORED, &line);
    } else {
        event_lost(t, EVENT_MONITORED);
        buf_free(&line);
    }
}

void monitor_publish(struct exec *x, struct event *e, uint64_t gate)
{
    struct monitors *all = x->monitors;
    struct line *line = (void *)(uintptr_t)e->text.p;
    atomic_init(&line->refs, 1);
    lock_acquire(&all->lock);
    for (unsigned i = 0; i < all->n; i++) {
        struct monitor_line *l = mem_alloc(sizeof *l);
        l->m.run = on_line;
        l->handle = all->handle[i];
        l->gate = gate;
        l->line = line;
        l->n = e->text.n - sizeof *line;
        atomic_fetch_add_explicit(&line->refs, 1, memory_order_relaxed);
        reactor_post(x->workers[handle_reactor(l->handle)].r, &l->m);
    }
    lock_release(&all->lock);
    e->text = slice_of(NULL, 0);
    line_release(line);
}

void session_unmonitor(struct session *s)
{
    if (!s->monitor) {
        return;
    }
    s->monitor = false;
    struct exec *x = s->w->x;
    struct monitors *all = x->monitors;
    lock_acquire(&all->lock);
    for (unsigned i = 0; i < all->n; i++) {
        if (all->handle[i] == s->handle) {
            all->handle[i] = all->handle[--all->n];
            atomic_fetch_sub_explicit(&x->monitor_count, 1, memory_order_relaxed);
            break;
        }
    }
    lock_release(&all->lock);
}

static void cmd_monitor(struct call *c)
{
    struct session *s = c->session;
    if (c->flags & (CALL_MULTI | CALL_SCRIPT)) {
        reply_error(c, "ERR MONITOR isn't allowed for DENY BLOCKING client");
        return;
    }
    reply_ok(c);
    if (s->monitor) {
        return;
    }
    s->monitor = true;
    struct monitors *all = c->x->monitors;
    lock_acquire(&all->lock);
    if (all->n == all->cap) {
        all->cap = all->cap == 0 ? 4 : all->cap * 2;
        all->handle = mem_realloc(all->handle, all->cap * sizeof *all->handle);
    }
    all->handle[all->n++] = s->handle;
    atomic_fetch_add_explicit(&c->x->monitor_count, 1, memory_order_relaxed);
    lock_release(&all->lock);
}

const struct command monitor_commands[] = {
    { .name = "monitor",
      .proc = cmd_monitor,
      .arity = 1,
      .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
      .group = "server",
      .since = "1.0.0",
      .summary = "Listen for all requests received by the server in real time" },
    { .name = NULL },
};
