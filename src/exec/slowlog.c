/* slowlog.c -- The command logs: what took long, and what was large, newest first. SLOWLOG.
 * SPDX-License-Identifier: BSD-3-Clause
 * WHAT     Execution time only: neither the wait for the disk nor the network counts. Sizes are
 *          those of the protocol.
 * GATE     What is shown has run, so it waits until that cannot be taken back. A command of EXEC or
 *          of a script is noted before its record is appended, with the locks held: as with counts.
 * THREADS  Any worker; one lock (RANK_STATS), taken only for commands above a threshold. */
#include "exec/commandlog.h"
#include <stdio.h>

#define ARGS_KEPT  32  /* as Redis: more are counted in the last one */
#define BYTES_KEPT 128 /* of each */

struct slow_entry {
    struct slow_entry *older, *newer;
    uint64_t id;
    int64_t time_s, value; /* microseconds or bytes */
    char peer[ADDR_TEXT_MAX];
    char *name;
    unsigned argc;
    struct slice argv[ARGS_KEPT]; /* each mem_dup'ed */
};
struct command_log {
    struct slow_entry *newest, *oldest;
    unsigned n;
    uint64_t next_id;
};
struct slowlog {
    struct lock lock; /* over: */
    struct command_log log[COMMANDLOG_KINDS];
};

void slowlog_new(struct exec *x)
{
    x->slowlog = mem_calloc(sizeof *x->slowlog);
    lock_init(&x->slowlog->lock, RANK_STATS, 0);
}

static void entry_drop(struct slow_entry *e)
{
    for (unsigned i = 0; i < e->argc; i++) {
        mem_free((void *)(uintptr_t)e->argv[i].p);
    }
    mem_free(e->name);
    mem_free(e);
}

/* All of a list from cut(). */
static void entries_drop(struct slow_entry *e)
{
    while (e != NULL) {
        struct slow_entry *newer = e->newer;
        entry_drop(e);
        e = newer;
    }
}

/* Keeps the newest `keep`; the others, linked from the oldest to newer ones, are for the caller to
 * drop, without the lock, which is held. */
static struct slow_entry *cut(struct command_log *log, uint64_t keep)
{
    struct slow_entry *first = log->oldest, *last = NULL;
    for (; log->n > keep; log->n--) {
        last = log->oldest;
        log->oldest = last->newer;
    }
    if (last == NULL) {
        return NULL;
    }
    last->newer = NULL;
    if (log->oldest != NULL) {
        log->oldest->older = NULL;
    } else {
        log->newest = NULL;
    }
    return first;
}

void slowlog_free(struct exec *x)
{
    for (unsigned i = 0; i < COMMANDLOG_KINDS; i++) {
        entries_drop(cut(&x->slowlog->log[i], 0));
    }
    mem_free(x->slowlog);
}

void call_redact(struct call *c, unsigned i)
{
    if (i < ARGS_KEPT) {
        c->in->redacted |= (uint32_t)1 << i;
    }
}

static struct slice kept(struct slice s)
{
    if (s.n <= BYTES_KEPT) {
        return slice_of(mem_dup(s.p, s.n), s.n);
    }
    char tail[48];
    int len = snprintf(tail, sizeof tail, "... (%zu more bytes)", s.n - BYTES_KEPT);
    struct buf b = { 0 };
    buf_add(&b, s.p, BYTES_KEPT);
    buf_add(&b, tail, (size_t)len);
    return buf_slice(&b);
}

static struct slow_entry *entry_of(struct call *c, int64_t value)
{
    struct slow_entry *e = mem_calloc(sizeof *e);
    e->time_s = c->now_ms / 1000;
    e->value = value;
    e->argc = c->argc < ARGS_KEPT ? c->argc : ARGS_KEPT;
    for (unsigned i = 0; i < e->argc; i++) {
        e->argv[i] = kept(c->in->redacted >> i & 1 ? S("(redacted)") : c->argv[i]);
    }
    if (c->argc > ARGS_KEPT) {
        char more[48];
        int len = snprintf(more, sizeof more, "... (%u more arguments)", c->argc - ARGS_KEPT + 1);
        mem_free((void *)(uintptr_t)e->argv[ARGS_KEPT - 1].p);
        e->argv[ARGS_KEPT - 1] = slice_of(mem_dup(more, (size_t)len), (size_t)len);
    }
    if (c->session != NULL) {
        conn_peer(c->session->conn, e->peer);
        e->name = c->session->name != NULL ? mem_strdup(c->session->name) : NULL;
    }
    return e;
}

/* If that is not below the threshold of its log. */
static void note(struct call *c, enum commandlog_kind kind, int64_t value)
{
    int64_t limit = option_int(&c->x->opt.commandlog_limit[kind]);
    int64_t keep = option_int(&c->x->opt.commandlog_max_len[kind]);
    if (limit < 0 || value < limit || (c->cmd->flags & CMD_SKIP_SLOWLOG) || keep == 0) {
        return;
    }
    struct slow_entry *e = entry_of(c, value);
    struct command_log *log = &c->x->slowlog->log[kind];
    lock_acquire(&c->x->slowlog->lock);
    e->id = log->next_id++;
    e->older = log->newest;
    if (log->newest != NULL) {
        log->newest->newer = e;
    } else {
        log->oldest = e;
    }
    log->newest = e;
    log->n++;
    struct slow_entry *gone = cut(log, (uint64_t)keep);
    lock_release(&c->x->slowlog->lock);
    entries_drop(gone);
}

void slowlog_note(struct call *c, uint64_t ticks)
{
    int64_t us = (int64_t)(clock_ticks_to_ns(ticks) / 1000);
    latency_note(c->x, c->cmd->flags & CMD_FAST ? LATENCY_FAST_COMMAND : LATENCY_COMMAND, us);
    note(c, COMMANDLOG_SLOW, us);
}

static size_t digits(size_t n)
{
    size_t d = 1;
    for (; n >= 10; n /= 10) {
        d++;
    }
    return d;
}

size_t call_request_bytes(const struct call *c)
{
    size_t bytes = 3 + digits(c->argc);
    for (unsigned i = 0; i < c->argc; i++) {
        bytes += 5 + digits(c->argv[i].n) + c->argv[i].n;
    }
    return bytes;
}

void commandlog_note_sizes(struct call *c)
{
    if (option_int(&c->x->opt.commandlog_limit[COMMANDLOG_LARGE_REQUEST]) >= 0) {
        note(c, COMMANDLOG_LARGE_REQUEST, (int64_t)call_request_bytes(c));
    }
    if (c->in->reply_from != 0) {
        note(c, COMMANDLOG_LARGE_REPLY, (int64_t)(out_size(c->out) + 1 - c->in->reply_from));
    }
}

/* ---- What is in them ---- */

static void reply_entry(struct call *c, const struct slow_entry *e)
{
    reply_array(c, 6);
    reply_int(c, (int64_t)e->id);
    reply_int(c, e->time_s);
    reply_int(c, e->value);
    reply_array(c, e->argc);
    for (unsigned i = 0; i < e->argc; i++) {
        reply_bulk(c, e->argv[i]);
    }
    reply_bulk_str(c, e->peer);
    reply_bulk_str(c, e->name != NULL ? e->name : "");
}

void commandlog_get(struct call *c, enum commandlog_kind kind, int64_t count)
{
    struct slowlog *all = c->x->slowlog;
    struct out_block *hole = reply_array_deferred(c);
    size_t n = 0;
    lock_acquire(&all->lock);
    for (const struct slow_entry *e = all->log[kind].newest;
         e != NULL && (count < 0 || (int64_t)n < count); e = e->older) {
        reply_entry(c, e);
        n++;
    }
    lock_release(&all->lock);
    reply_array_fill(c, hole, n);
    if (n > 0 && !log_is_full(c->x)) { /* else it would not tell why the server is slow */
        call_gate_counts(c);
    }
}

void commandlog_len(struct call *c, enum commandlog_kind kind)
{
    struct slowlog *all = c->x->slowlog;
    lock_acquire(&all->lock);
    unsigned n = all->log[kind].n;
    lock_release(&all->lock);
    reply_int(c, n);
}

void commandlog_reset(struct call *c, enum commandlog_kind kind)
{
    struct slowlog *all = c->x->slowlog;
    lock_acquire(&all->lock);
    struct slow_entry *gone = cut(&all->log[kind], 0);
    lock_release(&all->lock);
    entries_drop(gone);
    reply_ok(c);
}

/* ---- SLOWLOG ---- */

static void cmd_slowlog_get(struct call *c)
{
    int64_t count = 10;
    if (c->argc > 3) {
        reply_arity(c);
    } else if (c->argc == 2 || commandlog_count_arg(c, &count)) {
        commandlog_get(c, COMMANDLOG_SLOW, count);
    }
}

static void cmd_slowlog_len(struct call *c)
{
    commandlog_len(c, COMMANDLOG_SLOW);
}

static void cmd_slowlog_reset(struct call *c)
{
    commandlog_reset(c, COMMANDLOG_SLOW);
}

static void cmd_slowlog_help(struct call *c)
{
    static const char *const lines[] = {
        "GET [<count>]",
        "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
        "    Entries are made of:",
        "    id, timestamp, time in microseconds, arguments array, client IP and port,",
        "    client name",
        "LEN",
        "    Return the length of the slowlog.",
        "RESET",
        "    Reset the slowlog.",
        NULL,
    };
    reply_help(c, lines);
}

#define SLOWLOG_FLAGS (CMD_ADMIN | CMD_LOADING | CMD_STALE)
static const struct command slowlog_sub[] = {
    { .name = "get",
      .proc = cmd_slowlog_get,
      .arity = -2,
      .flags = SLOWLOG_FLAGS | CMD_KEYSPACE,
      .group = "server",
      .since = "2.2.12",
      .complexity = "O(N) where N is the number of entries returned",
      .summary = "Get the slow log's entries",
      .syntax = "[count:int]",
      .tips = "request_policy:all_nodes,nondeterministic_output",
      .history = "4.0.0:Added client IP address, port and name to the reply." },
    { .name = "len",
      .proc = cmd_slowlog_len,
      .arity = 2,
      .flags = SLOWLOG_FLAGS,
      .group = "server",
      .since = "2.2.12",
      .complexity = "O(1)",
      .summary = "Get the slow log's length",
      .tips = "request_policy:all_nodes,response_policy:agg_sum,nondeterministic_output" },
    { .name = "reset",
      .proc = cmd_slowlog_reset,
      .arity = 2,
      .flags = SLOWLOG_FLAGS,
      .group = "server",
      .since = "2.2.12",
      .complexity = "O(N) where N is the number of entries in the slowlog",
      .summary = "Clear all entries from the slow log",
      .tips = "request_policy:all_nodes,response_policy:all_succeeded" },
    { .name = "help",
      .proc = cmd_slowlog_help,
      .arity = 2,
      .flags = CMD_LOADING | CMD_STALE,
      .group = "server",
      .since = "6.2.0",
      .complexity = "O(1)",
      .summary = "Show helpful text about the different subcommands" },
    { .name = NULL },
};
const struct command slowlog_commands[] = {
    { .name = "slowlog",
      .arity = -2,
      .sub = slowlog_sub,
      .group = "server",
      .since = "2.2.12",
      .complexity = "Depends on subcommand.",
      .summary = "A container for slow log commands" },
    { .name = NULL },
};
