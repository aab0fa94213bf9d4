/* acl_log.c -- ACL LOG: what was denied to whom, newest first.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHAT     The same denial again within a minute counts in its entry, as in Redis.
 * LOCKS    One, RANK_STATS. THREADS  Any. */
#include "exec/acl.h"

#define GROUP_MS   60000 /* as Redis */
#define GROUP_LOOK 10    /* newest entries that may be the same */

struct log_entry {
    struct log_entry *older, *newer;
    uint64_t id, count;
    enum acl_result why;
    enum acl_context where;
    struct buf object, client;
    char *username;
    int64_t created_ms, updated_ms;
};
struct acl_log {
    struct lock lock;
    struct log_entry *newest, *oldest;
    uint64_t n, next_id;
};

struct acl_log *acl_log_new(void)
{
    struct acl_log *log = mem_calloc(sizeof *log);
    lock_init(&log->lock, RANK_STATS, 0);
    return log;
}

static void entry_free(struct log_entry *e)
{
    buf_free(&e->object);
    buf_free(&e->client);
    mem_free(e->username);
    mem_free(e);
}

static void unlink_entry(struct acl_log *log, struct log_entry *e)
{
    *(e->newer != NULL ? &e->newer->older : &log->newest) = e->older;
    *(e->older != NULL ? &e->older->newer : &log->oldest) = e->newer;
    e->older = e->newer = NULL;
    log->n--;
}

static void link_newest(struct acl_log *log, struct log_entry *e)
{
    e->older = log->newest;
    *(e->older != NULL ? &e->older->newer : &log->oldest) = e;
    log->newest = e;
    log->n++;
}

/* Keeps the newest `keep`. The lock is held. */
static void cut(struct acl_log *log, uint64_t keep)
{
    while (log->n > keep) {
        struct log_entry *e = log->oldest;
        unlink_entry(log, e);
        entry_free(e);
    }
}

void acl_log_free(struct acl_log *log)
{
    cut(log, 0);
    mem_free(log);
}

static bool same(const struct log_entry *a, const struct log_entry *b)
{
    return a->why == b->why && a->where == b->where && b->updated_ms - a->updated_ms <= GROUP_MS &&
           slice_eq(buf_slice(&a->object), buf_slice(&b->object)) &&
           strcmp(a->username, b->username) == 0;
}

/* Takes e over. An old entry of the same comes to the front, with the client of e. */
static void log_put(struct acl_log *log, struct log_entry *e)
{
    struct log_entry *old = log->newest;
    for (unsigned i = 1; old != NULL && !same(old, e); i++) {
        old = i < GROUP_LOOK ? old->older : NULL;
    }
    if (old != NULL) {
        unlink_entry(log, old);
        old->count++;
        old->updated_ms = e->updated_ms;
        struct buf client = old->client;
        old->client = e->client;
        e->client = client;
        entry_free(e);
        e = old;
    } else {
        e->id = log->next_id++;
    }
    link_newest(log, e);
}

void acl_log_denied(struct call *c, enum acl_result why, enum acl_context where,
                    struct slice object, const char *username)
{
    struct acl *a = c->x->acl;
    atomic_fetch_add_explicit(&a->denied[why], 1, memory_order_relaxed);
    struct log_entry *e = mem_calloc(sizeof *e);
    e->count = 1;
    e->why = why;
    e->where = where;
    buf_add_slice(&e->object, object);
    client_describe(c, c->session, &e->client);
    e->username = mem_strdup(username);
    e->created_ms = e->updated_ms = clock_wall_ms();
    lock_acquire(&a->log->lock);
    log_put(a->log, e);
    cut(a->log, (uint64_t)option_int(&c->x->opt.acllog_max_len));
    lock_release(&a->log->lock);
}

static uint64_t denied_get(const struct acl *a, enum acl_result why)
{
    return atomic_load_explicit(&a->denied[why], memory_order_relaxed);
}

void acl_counts(struct exec *x, struct exec_stats *out)
{
    out->denied_auth = denied_get(x->acl, ACL_DENIED_AUTH);
    out->denied_command = denied_get(x->acl, ACL_DENIED_CMD);
    out->denied_key = denied_get(x->acl, ACL_DENIED_KEY);
    out->denied_channel = denied_get(x->acl, ACL_DENIED_CHANNEL);
}

void acl_counts_reset(struct exec *x)
{
    for (unsigned i = 0; i < countof(x->acl->denied); i++) {
        atomic_store_explicit(&x->acl->denied[i], 0, memory_order_relaxed);
    }
}

static void reply_entry(struct call *c, const struct log_entry *e, int64_t now_ms)
{
    static const char *const why[] = { "", "command", "key", "auth", "channel" };
    static const char *const where[] = { "toplevel", "multi", "lua" };
    reply_map(c, 10);
    reply_bulk_str(c, "count");
    reply_int(c, (int64_t)e->count);
    reply_bulk_str(c, "reason");
    reply_bulk_str(c, why[e->why]);
    reply_bulk_str(c, "context");
    reply_bulk_str(c, where[e->where]);
    reply_bulk_str(c, "object");
    reply_bulk(c, buf_slice(&e->object));
    reply_bulk_str(c, "username");
    reply_bulk_str(c, e->username);
    reply_bulk_str(c, "age-seconds");
    reply_double(c, (double)(now_ms - e->updated_ms) / 1000);
    reply_bulk_str(c, "client-info");
    reply_bulk(c, buf_slice(&e->client));
    reply_bulk_str(c, "entry-id");
    reply_int(c, (int64_t)e->id);
    reply_bulk_str(c, "timestamp-created");
    reply_int(c, e->created_ms);
    reply_bulk_str(c, "timestamp-last-updated");
    reply_int(c, e->updated_ms);
}

void cmd_acl_log(struct call *c)
{
    struct acl_log *log = c->x->acl->log;
    int64_t count = 10;
    if (c->argc > 3) {
        reply_wrong_sub(c);
        return;
    }
    bool reset = arg_is(c, 2, "reset");
    if (c->argc == 3 && !reset && !arg_i64(c, 2, &count)) {
        return;
    }
    if (reset) {
        lock_acquire(&log->lock);
        cut(log, 0);
        lock_release(&log->lock);
        reply_ok(c);
        return;
    }
    int64_t now_ms = clock_wall_ms(), n = 0;
    struct out_block *hole = reply_array_deferred(c);
    lock_acquire(&log->lock);
    for (const struct log_entry *e = log->newest; e != NULL && n < count; e = e->older, n++) {
        reply_entry(c, e, now_ms);
    }
    lock_release(&log->lock);
    reply_array_fill(c, hole, (size_t)n);
}
