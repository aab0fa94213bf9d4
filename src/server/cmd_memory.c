/* cmd_memory.c -- MEMORY: what keys take, and the allocator's own numbers.
 * SPDX-License-Identifier: BSD-3-Clause
 * THREADS  Any; STATS and DOCTOR read relaxed counters, as INFO does. */
#include "server/server_int.h"
#include "base/mem.h"
#include "script/script.h"

/* ---- USAGE ---- */

#define SAMPLES_DEFAULT 5

static void cmd_memory_usage(struct call *c)
{
    int64_t samples = SAMPLES_DEFAULT;
    for (unsigned i = 3; i < c->argc; i += 2) {
        if (!arg_is(c, i, "samples") || i + 1 >= c->argc) {
            reply_syntax(c);
            return;
        }
        if (!arg_i64(c, i + 1, &samples)) {
            return;
        }
        if (samples < 0) {
            reply_syntax(c);
            return;
        }
    }
    const struct key *k = &c->keys[0]; /* also an expired one: it takes memory as long as it lies */
    const struct entry *e = shard_find(keyspace_shard(c->ks, k->shard), c->db, k);
    if (e == NULL) {
        reply_null(c);
        return;
    }
    unsigned n = samples < UINT32_MAX ? (unsigned)samples : UINT32_MAX;
    reply_int(c, (int64_t)entry_memory(e, n));
}

/* ---- STATS ---- */

#define EXPIRE_BYTES 16u /* a key's place in the expiry order */

static size_t expiry_bytes(const struct keyspace *ks, unsigned db)
{
    return keyspace_expires(ks, db) * EXPIRE_BYTES;
}

size_t memory_peak(struct server *s, size_t used)
{
    int64_t peak = option_int(&s->peak_memory);
    while (peak < (int64_t)used &&
           !atomic_compare_exchange_weak_explicit(&s->peak_memory, &peak, (int64_t)used,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    return size_max((size_t)peak, used);
}

void memory_look(struct server *s, struct memory_view *v)
{
    struct exec_stats st;
    struct script_stats sc;
    struct wal_stats w = { .queued_bytes = 0 };
    exec_stats(s->x, &st);
    script_stats(s->scripts, &sc);
    if (s->wal != NULL) {
        wal_stats(s->wal, &w);
    }
    *v = (struct memory_view){ .used = mem_used(),
                               .rss = mem_rss(),
                               .startup = (size_t)option_int(&s->startup_memory),
                               .clients = st.clients_mem,
                               .log_buffer = w.queued_bytes,
                               .scripts = sc.script_bytes,
                               .libraries = sc.library_bytes };
    mem_stats(&v->m);
    v->peak = memory_peak(s, v->used);
    v->overhead = v->startup + v->clients + v->log_buffer + v->scripts + v->libraries;
    for (unsigned db = 0; db < keyspace_databases(s->ks); db++) {
        v->keys += keyspace_count(s->ks, db);
        v->overhead += keyspace_overhead(s->ks, db);
    }
    v->dataset = v->used > v->overhead ? v->used - v->overhead : 0;
    v->net = v->used > v->startup ? v->used - v->startup : 0;
}

static void put(struct call *c, const char *name, int64_t v)
{
    reply_bulk_str(c, name);
    reply_int(c, v);
}

static void put_ratio(struct call *c, const char *name, double part, double whole)
{
    reply_bulk_str(c, name);
    reply_double(c, whole > 0 ? part / whole : 0);
}

static unsigned put_databases(struct call *c)
{
    unsigned n = 0;
    for (unsigned db = 0; db < keyspace_databases(c->ks); db++) {
        if (keyspace_count(c->ks, db) == 0) {
            continue;
        }
        char name[32];
        size_t at = 3;
        memcpy(name, "db.", at);
        at += format_u64(name + at, db);
        reply_bulk(c, slice_of(name, at));
        reply_map(c, 3);
        size_t all = keyspace_overhead(c->ks, db), expiry = expiry_bytes(c->ks, db);
        put(c, "overhead.hashtable.main", (int64_t)(all > expiry ? all - expiry : 0));
        put(c, "overhead.hashtable.expires", (int64_t)expiry);
        put(c, "overhead.hashtable.slot-to-keys", 0);
        n++;
    }
    return n;
}

/* The names that follow the databases; returns how many. */
static unsigned put_totals(struct call *c, const struct memory_view *v)
{
    put(c, "overhead.total", (int64_t)v->overhead);
    put(c, "keys.count", (int64_t)v->keys);
    put(c, "keys.bytes-per-key", (int64_t)(v->keys > 0 ? v->net / v->keys : 0));
    put(c, "dataset.bytes", (int64_t)v->dataset);
    put_ratio(c, "dataset.percentage", 100.0 * (double)v->dataset, (double)v->net);
    put_ratio(c, "peak.percentage", 100.0 * (double)v->used, (double)v->peak);
    return 6;
}

static unsigned put_allocator(struct call *c, const struct memory_view *v)
{
    const struct mem_stats *m = &v->m;
    double allocated = (double)m->allocated, active = (double)m->active;
    put(c, "allocator.allocated", (int64_t)m->allocated);
    put(c, "allocator.active", (int64_t)m->active);
    put(c, "allocator.resident", (int64_t)m->resident);
    put_ratio(c, "allocator-fragmentation.ratio", active, allocated);
    put(c, "allocator-fragmentation.bytes", (int64_t)m->active - (int64_t)m->allocated);
    put_ratio(c, "allocator-rss.ratio", (double)m->resident, active);
    put(c, "allocator-rss.bytes", (int64_t)m->resident - (int64_t)m->active);
    put_ratio(c, "rss-overhead.ratio", (double)v->rss, (double)m->resident);
    put(c, "rss-overhead.bytes", (int64_t)v->rss - (int64_t)m->resident);
    put_ratio(c, "fragmentation", (double)v->rss, (double)v->used);
    put(c, "fragmentation.bytes", (int64_t)v->rss - (int64_t)v->used);
    return 11;
}

static void cmd_memory_stats(struct call *c)
{
    struct server *s = server_of(c);
    struct memory_view v;
    memory_look(s, &v);
    struct out_block *hole = reply_array_deferred(c);
    put(c, "peak.allocated", (int64_t)v.peak);
    put(c, "total.allocated", (int64_t)v.used);
    put(c, "startup.allocated", (int64_t)v.startup);
    put(c, "replication.backlog", 0);
    put(c, "clients.slaves", 0);
    put(c, "clients.normal", (int64_t)v.clients);
    put(c, "cluster.links", 0);
    put(c, "aof.buffer", (int64_t)v.log_buffer);
    put(c, "lua.caches", (int64_t)v.scripts);
    put(c, "functions.caches", (int64_t)v.libraries);
    unsigned n = 10;
    n += put_databases(c);
    n += put_totals(c, &v);
    n += put_allocator(c, &v);
    reply_map_fill(c, hole, n);
    call_gate_counts(c);
}

/* ---- DOCTOR ---- */

#define MIB                ((size_t)1 << 20)
#define DOCTOR_MIN_BYTES   (5 * MIB)  /* below, ratios say nothing */
#define DOCTOR_MIN_SURPLUS (10 * MIB) /* a ratio of less than so much is no problem */

/* `much` is at least `percent` of `little`, and by enough to matter. */
static bool is_surplus(size_t much, size_t little, unsigned percent)
{
    return much > little + DOCTOR_MIN_SURPLUS && much / percent > little / 100;
}

static void cmd_memory_doctor(struct call *c)
{
    struct memory_view v;
    memory_look(server_of(c), &v);
    struct buf b = { 0 };
    if (v.used < DOCTOR_MIN_BYTES) {
        buf_add_str(&b, "This instance is empty or uses very little memory: nothing can be said "
                        "about it yet.\n");
    } else {
        if (is_surplus(v.peak, v.used, 150)) {
            buf_add_str(&b, " * Peak memory: it was more than 1.5 times what is used now. The "
                            "allocator may keep pages for it; MEMORY PURGE gives them back.\n");
        }
        if (is_surplus(v.m.active, v.m.allocated, 110)) {
            buf_add_str(&b, " * Fragmentation: more than 10 % of the allocator's active pages hold "
                            "nothing. Many keys were deleted or changed their size.\n");
        }
        if (is_surplus(v.m.resident, v.m.active, 110)) {
            buf_add_str(&b, " * Allocator: more than 10 % of its resident memory is unused pages; "
                            "MEMORY PURGE gives them back.\n");
        }
        if (is_surplus(v.rss, v.m.resident, 110)) {
            buf_add_str(&b, " * Process: more than 10 % of the resident memory is not the "
                            "allocator's.\n");
        }
        if (b.n == 0) {
            buf_add_str(&b, "No memory problem was found.\n");
        }
    }
    reply_verbatim(c, buf_slice(&b), "txt");
    buf_free(&b);
}

/* ---- MALLOC-STATS, PURGE, HELP ---- */

static void add_piece(void *arg, const char *text)
{
    buf_add_str(arg, text);
}

static void cmd_memory_malloc_stats(struct call *c)
{
    struct buf b = { 0 };
    mem_report(add_piece, &b);
    reply_verbatim(c, buf_slice(&b), "txt");
    buf_free(&b);
}

static void cmd_memory_purge(struct call *c)
{
    mem_purge();
    reply_ok(c);
}

static void cmd_memory_help(struct call *c)
{
    static const char *const lines[] = {
        "DOCTOR",
        "    Return memory problems reports.",
        "MALLOC-STATS",
        "    Return internal statistics report from the memory allocator.",
        "PURGE",
        "    Attempt to purge dirty pages for reclamation by the allocator.",
        "STATS",
        "    Return information about the memory usage of the server.",
        "USAGE <key> [SAMPLES <count>]",
        "    Return memory in bytes used by <key> and its value. Nested values are",
        "    sampled up to <count> times (default: 5, 0 means sample all).",
        NULL,
    };
    reply_help(c, lines);
}

static const struct command memory_sub[] = {
    { .name = "doctor",
      .proc = cmd_memory_doctor,
      .arity = 2,
      .group = "server",
      .since = "4.0.0",
      .complexity = "O(1)",
      .summary = "Outputs memory problems report",
      .tips = "nondeterministic_output,request_policy:all_shards,response_policy:special" },
    { .name = "help",
      .proc = cmd_memory_help,
      .arity = 2,
      .flags = CMD_LOADING | CMD_STALE,
      .group = "server",
      .since = "4.0.0",
      .complexity = "O(1)",
      .summary = "Show helpful text about the different subcommands" },
    { .name = "malloc-stats",
      .proc = cmd_memory_malloc_stats,
      .arity = 2,
      .group = "server",
      .since = "4.0.0",
      .complexity = "Depends on how much memory is allocated, could be slow",
      .summary = "Show allocator internal stats",
      .tips = "nondeterministic_output,request_policy:all_shards,response_policy:special" },
    { .name = "purge",
      .proc = cmd_memory_purge,
      .arity = 2,
      .group = "server",
      .since = "4.0.0",
      .complexity = "Depends on how much memory is allocated, could be slow",
      .summary = "Ask the allocator to release memory",
      .tips = "request_policy:all_shards,response_policy:all_succeeded" },
    { .name = "stats",
      .proc = cmd_memory_stats,
      .arity = 2,
      .flags = CMD_KEYSPACE,
      .group = "server",
      .since = "4.0.0",
      .complexity = "O(1)",
      .summary = "Show memory usage details",
      .tips = "nondeterministic_output,request_policy:all_shards,response_policy:special" },
    { .name = "usage",
      .proc = cmd_memory_usage,
      .arity = -3,
      .flags = CMD_READONLY,
      .keys = { KEY_AT(2, KEY_RO) },
      .group = "server",
      .since = "4.0.0",
      .complexity = "O(N) where N is the number of samples.",
      .summary = "Estimate the memory usage of a key",
      .syntax = "key [SAMPLES count:int]" },
    { .name = NULL },
};
const struct command memory_commands[] = {
    { .name = "memory",
      .arity = -2,
      .sub = memory_sub,
      .group = "server",
      .since = "4.0.0",
      .complexity = "Depends on subcommand.",
      .summary = "A container for memory diagnostics commands" },
    { .name = NULL },
};
