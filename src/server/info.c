/* info.c -- INFO: sections in Redis's order and names, from the counters of every layer.
 * SPDX-License-Identifier: BSD-3-Clause
 * THREADS  Any; reads relaxed counters only, takes no shard lock. server_sample: the main thread.
 */
#include "server/server_int.h"
#include "base/clock.h"
#include "base/mem.h"
#include "script/script.h"
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

static void line_u(struct buf *b, const char *name, uint64_t v)
{
    buf_printf(b, "%s:%llu\r\n", name, (unsigned long long)v);
}

static void line_s(struct buf *b, const char *name, const char *v)
{
    buf_printf(b, "%s:%s\r\n", name, v);
}

static void line_human(struct buf *b, const char *name, uint64_t bytes)
{
    char human[32];
    format_bytes_human(human, bytes);
    line_u(b, name, bytes);
    buf_printf(b, "%s_human:%s\r\n", name, human);
}

static void section_server(struct server *s, struct buf *b)
{
    struct utsname u;
    uname(&u);
    int64_t now = clock_wall_us(), up = (now / 1000 - s->start_ms) / 1000;
    line_s(b, "redis_version", REDIS_VERSION);
    line_s(b, "redis_git_sha1", "00000000");
    line_s(b, "redis_git_dirty", "0");
    line_s(b, "redis_build_id", "0");
    line_s(b, "redis_mode", "standalone");
    line_s(b, "server_name", "kv");
    line_s(b, "kv_version", KV_VERSION);
    buf_printf(b, "os:%s %s %s\r\n", u.sysname, u.release, u.machine);
    line_s(b, "arch_bits", "64");
    line_s(b, "monotonic_clock", "POSIX clock_gettime");
    line_s(b, "multiplexing_api", "epoll");
    line_s(b, "atomicvar_api", "c11-builtin");
    line_s(b, "gcc_version", __VERSION__);
    line_u(b, "process_id", (uint64_t)getpid());
    line_s(b, "process_supervised", server_supervisor(s));
    line_s(b, "run_id", s->run_id);
    line_u(b, "tcp_port", (uint64_t)option_int(&s->opt.port));
    line_u(b, "server_time_usec", (uint64_t)now);
    line_u(b, "uptime_in_seconds", (uint64_t)up);
    line_u(b, "uptime_in_days", (uint64_t)up / 86400);
    line_s(b, "hz", "10");
    line_s(b, "configured_hz", "10");
    line_u(b, "lru_clock", (uint64_t)(now / 1000000) & 0xffffff);
    line_s(b, "executable", s->executable);
    line_s(b, "config_file", config_file(s->config));
    line_s(b, "io_threads_active", "0");
    line_u(b, "threads", exec_reactors(s->x));
    if (s->net != NULL) {
        net_listeners(s->net, b);
    }
}

static void section_clients(struct server *s, struct buf *b)
{
    struct exec_stats st;
    exec_stats(s->x, &st);
    line_u(b, "connected_clients", st.clients);
    line_u(b, "cluster_connections", 0);
    line_u(b, "maxclients", (uint64_t)option_int(&exec_options(s->x)->maxclients));
    line_u(b, "client_recent_max_input_buffer", st.clients_in_max);
    line_u(b, "client_recent_max_output_buffer", st.clients_out_max);
    line_u(b, "blocked_clients", st.blocked);
    line_u(b, "tracking_clients", st.tracking_clients);
    line_u(b, "pubsub_clients", st.pubsub_clients);
    line_u(b, "watching_clients", st.watching_clients);
    line_u(b, "clients_in_timeout_table", st.blocked_timed);
    line_u(b, "total_watched_keys", st.watched_keys);
    line_u(b, "total_blocking_keys", st.blocking_keys);
    line_u(b, "total_blocking_keys_on_nokey", st.blocking_missing);
}

/* The Lua states are the same for EVAL and FCALL. */
static void memory_of_scripts(struct server *s, struct buf *b)
{
    struct script_stats st;
    script_stats(s->scripts, &st);
    line_u(b, "used_memory_vm_eval", st.memory_bytes);
    line_human(b, "used_memory_lua", st.memory_bytes);
    line_u(b, "used_memory_scripts_eval", st.script_bytes);
    line_u(b, "number_of_cached_scripts", st.cached);
    line_u(b, "number_of_functions", st.functions);
    line_u(b, "number_of_libraries", st.libraries);
    line_u(b, "used_memory_vm_functions", 0);
    line_human(b, "used_memory_vm_total", st.memory_bytes);
    line_u(b, "used_memory_functions", st.library_bytes);
    line_human(b, "used_memory_scripts", st.script_bytes + st.library_bytes);
}

static void section_memory(struct server *s, struct buf *b)
{
    struct memory_view v;
    struct exec_stats st;
    memory_look(s, &v);
    exec_stats(s->x, &st);
    const struct mem_stats m = v.m;
    uint64_t used = v.used, rss = v.rss, total = mem_total();
    static const char *const policies[] = { "noeviction",      "allkeys-lru",  "volatile-lru",
                                            "allkeys-lfu",     "volatile-lfu", "allkeys-random",
                                            "volatile-random", "volatile-ttl" };
    line_human(b, "used_memory", used);
    line_human(b, "used_memory_rss", rss);
    line_human(b, "used_memory_peak", v.peak);
    buf_printf(b, "used_memory_peak_perc:%.2f%%\r\n",
               v.peak > 0 ? (double)used * 100 / (double)v.peak : 100.0);
    line_u(b, "used_memory_overhead", v.overhead);
    line_u(b, "used_memory_startup", v.startup);
    line_u(b, "used_memory_dataset", v.dataset);
    buf_printf(b, "used_memory_dataset_perc:%.2f%%\r\n",
               v.net > 0 ? (double)v.dataset * 100 / (double)v.net : 0);
    line_u(b, "allocator_allocated", m.allocated);
    line_u(b, "allocator_active", m.active);
    line_u(b, "allocator_resident", m.resident);
    line_human(b, "total_system_memory", total);
    memory_of_scripts(s, b);
    line_human(b, "maxmemory", (uint64_t)option_int(&exec_options(s->x)->maxmemory));
    line_s(b, "maxmemory_policy", policies[option_int(&exec_options(s->x)->maxmemory_policy)]);
    buf_printf(b, "allocator_frag_ratio:%.2f\r\n",
               m.allocated > 0 ? (double)m.active / (double)m.allocated : 1.0);
    line_u(b, "allocator_frag_bytes", m.active - m.allocated);
    buf_printf(b, "allocator_rss_ratio:%.2f\r\n",
               m.active > 0 ? (double)m.resident / (double)m.active : 1.0);
    line_u(b, "allocator_rss_bytes", m.resident - m.active);
    buf_printf(b, "rss_overhead_ratio:%.2f\r\n",
               m.resident > 0 ? (double)rss / (double)m.resident : 1.0);
    buf_printf(b, "rss_overhead_bytes:%lld\r\n", (long long)rss - (long long)m.resident);
    buf_printf(b, "mem_fragmentation_ratio:%.2f\r\n", used > 0 ? (double)rss / (double)used : 1.0);
    buf_printf(b, "mem_fragmentation_bytes:%lld\r\n", (long long)rss - (long long)used);
    line_u(b, "mem_not_counted_for_evict", st.mem_not_counted);
    line_u(b, "mem_replication_backlog", 0);
    line_u(b, "mem_total_replication_buffers", 0);
    line_u(b, "mem_clients_slaves", 0);
    line_u(b, "mem_clients_normal", v.clients);
    line_u(b, "mem_cluster_links", 0);
    line_u(b, "mem_aof_buffer", v.log_buffer);
    line_s(b, "mem_allocator", mem_library());
    line_u(b, "active_defrag_running", 0);
    struct lazyfree_stats lf;
    keyspace_lazyfree_stats(s->ks, &lf);
    line_u(b, "lazyfree_pending_objects", lf.pending);
    line_u(b, "lazyfreed_objects", lf.freed);
}

static void section_persistence(struct server *s, struct buf *b)
{
    struct load_progress lp;
    struct exec_stats st;
    exec_load_progress(s->x, &lp);
    exec_stats(s->x, &st);
    line_u(b, "loading", lp.loading);
    line_u(b, "async_loading", 0);
    if (lp.loading) {
        line_u(b, "loading_start_time", (uint64_t)(s->start_ms / 1000));
        line_u(b, "loading_total_bytes", lp.total);
        line_u(b, "loading_rdb_used_mem", 0);
        line_u(b, "loading_loaded_bytes", lp.done);
        buf_printf(b, "loading_loaded_perc:%.2f\r\n",
                   lp.total > 0 ? (double)lp.done * 100 / (double)lp.total : 0.0);
        buf_printf(b, "loading_eta_seconds:%lld\r\n", (long long)lp.eta_s);
    }
    line_u(b, "current_cow_peak", 0);
    line_u(b, "current_cow_size", 0);
    line_s(b, "current_cow_size_age", "0");
    line_s(b, "current_fork_perc", "0.00");
    line_u(b, "current_save_keys_processed", 0);
    line_u(b, "current_save_keys_total", 0);
    line_u(b, "rdb_changes_since_last_save", st.changes); /* the start was the last */
    line_u(b, "rdb_bgsave_in_progress", 0);
    line_u(b, "rdb_last_save_time", (uint64_t)(s->start_ms / 1000));
    line_s(b, "rdb_last_bgsave_status", "ok");
    line_s(b, "rdb_last_bgsave_time_sec", "-1");
    line_s(b, "rdb_current_bgsave_time_sec", "-1");
    line_u(b, "rdb_saves", 0);
    line_u(b, "rdb_last_cow_size", 0);
    line_u(b, "rdb_last_load_keys_expired", 0);
    line_u(b, "rdb_last_load_keys_loaded", 0);
    line_u(b, "aof_enabled", (uint64_t)option_int(&s->opt.appendonly));
    line_u(b, "aof_rewrite_in_progress", s->wal != NULL && log_change_busy(s));
    line_u(b, "aof_rewrite_scheduled", 0);
    line_s(b, "aof_last_rewrite_time_sec", "-1");
    line_s(b, "aof_current_rewrite_time_sec", "-1");
    line_s(b, "aof_last_bgrewrite_status", "ok");
    line_u(b, "aof_rewrites", 0);
    line_u(b, "aof_rewrites_consecutive_failures", 0);
    line_s(b, "aof_last_write_status",
           s->wal != NULL && wal_state(s->wal) == WAL_NOSPACE ? "err" : "ok");
    line_u(b, "aof_last_cow_size", 0);
    line_u(b, "module_fork_in_progress", 0);
    line_u(b, "module_fork_last_cow_size", 0);
    if (s->wal != NULL) {
        struct wal_stats w;
        wal_stats(s->wal, &w);
        line_u(b, "aof_current_size", w.bytes_written);
        line_u(b, "aof_base_size", 0);
        line_u(b, "aof_pending_rewrite", 0);
        line_u(b, "aof_buffer_length", w.queued_bytes);
        line_u(b, "aof_pending_bio_fsync", 0);
        line_u(b, "aof_delayed_fsync", w.slow_syncs);
    }
}

static void section_durability(struct server *s, struct buf *b)
{
    static const char *const names[] = { "always", "everysec", "no" };
    if (s->wal == NULL) {
        line_s(b, "durability", "none");
        return;
    }
    struct wal_stats w;
    wal_stats(s->wal, &w);
    line_s(b, "durability", names[w.sync]);
    line_s(b, "durable_reads", option_int(&exec_options(s->x)->durable_reads) ? "yes" : "no");
    line_u(b, "wal_appended_lsn", w.appended);
    line_u(b, "wal_written_lsn", w.written);
    line_u(b, "wal_durable_lsn", w.durable);
    line_u(b, "wal_groups", w.groups);
    line_u(b, "wal_records", w.records);
    line_u(b, "wal_bytes_written", w.bytes_written);
    line_u(b, "wal_group_records_p50", w.group_records_p50);
    line_u(b, "wal_group_records_p99", w.group_records_p99);
    line_u(b, "wal_group_records_max", w.group_records_max);
    line_u(b, "wal_sync_us_p50", w.sync_us_p50);
    line_u(b, "wal_sync_us_p99", w.sync_us_p99);
    line_u(b, "wal_sync_us_max", w.sync_us_max);
    line_u(b, "wal_slow_syncs", w.slow_syncs);
    line_u(b, "wal_admission_stops", w.admission_stops);
    line_u(b, "wal_heap_records", w.heap_records);
    line_u(b, "wal_queued_bytes", w.queued_bytes);
    line_u(b, "wal_segments", w.segments);
    line_u(b, "wal_prepared_segments", w.prepared);
    line_u(b, "wal_current_segment", w.current_segment);
    line_s(b, "wal_direct_io", w.direct ? "yes" : "no");
    line_s(b, "wal_state", w.state == WAL_OK ? "ok" : "no-space");
}

static void lines_denied(struct buf *b, const struct exec_stats *st)
{
    line_u(b, "acl_access_denied_auth", st->denied_auth);
    line_u(b, "acl_access_denied_cmd", st->denied_command);
    line_u(b, "acl_access_denied_key", st->denied_key);
    line_u(b, "acl_access_denied_channel", st->denied_channel);
}

static void lines_evicted(struct server *s, struct buf *b, const struct exec_stats *st)
{
    struct script_stats scripts;
    script_stats(s->scripts, &scripts);
    line_u(b, "evicted_keys", st->evicted);
    line_u(b, "evicted_clients", st->evicted_clients);
    line_u(b, "evicted_scripts", scripts.evicted);
    line_u(b, "total_eviction_exceeded_time", 0);
    line_u(b, "current_eviction_exceeded_time", 0);
}

/* ---- Rates ---- */

static void rates_read(struct server *s, uint64_t now[RATES])
{
    struct net_stats n;
    net_stats(s->net, &n);
    now[RATE_COMMANDS] = exec_commands_run(s->x);
    now[RATE_IN] = n.in_bytes;
    now[RATE_OUT] = n.out_bytes;
    now[RATE_TURNS] = n.turns;
    now[RATE_TURN_US] = n.turn_us;
}

void server_sample(struct server *s)
{
    struct rates *r = &s->rates;
    uint64_t now[RATES], more[RATES];
    int64_t now_ms = clock_mono_ms(), passed = now_ms - r->last_ms;
    (void)memory_peak(s, mem_used());
    if (passed <= 0) {
        return;
    }
    rates_read(s, now);
    for (unsigned i = 0; i < RATES; i++) { /* less than before: CONFIG RESETSTAT */
        more[i] = now[i] > r->last[i] && r->last_ms != 0 ? now[i] - r->last[i] : 0;
    }
    r->at = (r->at + 1) % RATE_SAMPLES;
    for (unsigned i = 0; i < RATES; i++) {
        uint64_t sum = 0;
        r->sample[i][r->at] = i != RATE_TURN_US      ? more[i] * 1000 / (uint64_t)passed
                              : more[RATE_TURNS] > 0 ? more[i] / more[RATE_TURNS]
                                                     : 0;
        for (unsigned k = 0; k < RATE_SAMPLES; k++) {
            sum += r->sample[i][k];
        }
        atomic_store_explicit(&r->mean[i], sum / RATE_SAMPLES, memory_order_relaxed);
        r->last[i] = now[i];
    }
    r->last_ms = now_ms;
}

static uint64_t rate(const struct server *s, enum rate which)
{
    return atomic_load_explicit(&s->rates.mean[which], memory_order_relaxed);
}

static void line_kib(struct buf *b, const char *name, uint64_t bytes)
{
    buf_printf(b, "%s:%.2f\r\n", name, (double)bytes / 1024);
}

static void section_stats(struct server *s, struct buf *b)
{
    struct exec_stats st;
    struct net_stats n = { 0 };
    exec_stats(s->x, &st);
    if (s->net != NULL) {
        net_stats(s->net, &n);
    }
    line_u(b, "total_connections_received", n.accepted);
    line_u(b, "total_commands_processed", st.commands);
    line_u(b, "instantaneous_ops_per_sec", rate(s, RATE_COMMANDS));
    line_u(b, "total_net_input_bytes", n.in_bytes);
    line_u(b, "total_net_output_bytes", n.out_bytes);
    line_u(b, "total_net_repl_input_bytes", 0);
    line_u(b, "total_net_repl_output_bytes", 0);
    line_kib(b, "instantaneous_input_kbps", rate(s, RATE_IN));
    line_kib(b, "instantaneous_output_kbps", rate(s, RATE_OUT));
    line_s(b, "instantaneous_input_repl_kbps", "0.00");
    line_s(b, "instantaneous_output_repl_kbps", "0.00");
    line_u(b, "rejected_connections", n.rejected);
    line_u(b, "sync_full", 0);
    line_u(b, "sync_partial_ok", 0);
    line_u(b, "sync_partial_err", 0);
    line_u(b, "expired_keys", st.expired);
    line_u(b, "expired_subkeys", st.expired_fields);
    line_s(b, "expired_stale_perc", "0.00");
    line_u(b, "expired_time_cap_reached_count", 0);
    line_u(b, "expire_cycle_cpu_milliseconds", 0);
    lines_evicted(s, b, &st);
    line_u(b, "keyspace_hits", st.hits);
    line_u(b, "keyspace_misses", st.misses);
    line_u(b, "pubsub_channels", st.pubsub_channels);
    line_u(b, "pubsub_patterns", st.pubsub_patterns);
    line_u(b, "pubsubshard_channels", st.pubsub_shard_channels);
    line_u(b, "latest_fork_usec", 0);
    line_u(b, "total_forks", 0);
    line_u(b, "migrate_cached_sockets", 0);
    line_u(b, "slave_expires_tracked_keys", 0);
    line_u(b, "active_defrag_hits", 0);
    line_u(b, "active_defrag_misses", 0);
    line_u(b, "active_defrag_key_hits", 0);
    line_u(b, "active_defrag_key_misses", 0);
    line_u(b, "total_active_defrag_time", 0);
    line_u(b, "current_active_defrag_time", 0);
    line_u(b, "tracking_total_keys", st.tracked_keys);
    line_u(b, "tracking_total_items", st.tracked_items);
    line_u(b, "tracking_total_prefixes", st.tracking_prefixes);
    line_u(b, "unexpected_error_replies", 0);
    line_u(b, "total_error_replies", st.errors);
    line_u(b, "dump_payload_sanitizations", 0);
    line_u(b, "total_reads_processed", n.reads);
    line_u(b, "total_writes_processed", n.writes);
    line_u(b, "io_threaded_reads_processed", 0);
    line_u(b, "io_threaded_writes_processed", 0);
    line_u(b, "client_query_buffer_limit_disconnections", n.query_limit_closed);
    line_u(b, "client_output_buffer_limit_disconnections", n.output_limit_closed);
    line_u(b, "reply_buffer_shrinks", 0);
    line_u(b, "reply_buffer_expands", 0);
    line_u(b, "eventloop_cycles", n.turns);
    line_u(b, "eventloop_duration_sum", n.turn_us);
    line_u(b, "eventloop_duration_cmd_sum", exec_commands_us(s->x));
    line_u(b, "instantaneous_eventloop_cycles_per_sec", rate(s, RATE_TURNS));
    line_u(b, "instantaneous_eventloop_duration_usec", rate(s, RATE_TURN_US));
    lines_denied(b, &st);
}

static void section_replication(struct server *s, struct buf *b)
{
    char id[41] = "0000000000000000000000000000000000000000";
    uint64_t offset = 0;
    struct load_progress lp;
    exec_load_progress(s->x, &lp);
    if (s->wal != NULL && !lp.loading) { /* while it loads nobody knows which history goes on */
        static const char digits[] = "0123456789abcdef";
        const uint8_t *h = wal_history(s->wal);
        for (unsigned i = 0; i < WAL_HISTORY_BYTES; i++) {
            id[2 * i] = digits[h[i] >> 4];
            id[2 * i + 1] = digits[h[i] & 15];
        }
        offset = wal_durable_lsn(s->wal);
    } else {
        memcpy(id, s->run_id, 40);
    }
    line_s(b, "role", "master");
    line_u(b, "connected_slaves", 0);
    line_s(b, "master_failover_state", "no-failover");
    line_s(b, "master_replid", id);
    line_s(b, "master_replid2", "0000000000000000000000000000000000000000");
    line_u(b, "master_repl_offset", offset);
    line_s(b, "second_repl_offset", "-1");
    line_u(b, "repl_backlog_active", 0);
    buf_add_str(b, "repl_backlog_size:");
    must(config_value(s->config, "repl-backlog-size", b));
    buf_add_str(b, "\r\n");
    line_u(b, "repl_backlog_first_byte_offset", 0);
    line_u(b, "repl_backlog_histlen", 0);
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void section_cpu(struct server *s, struct buf *b)
{
    (void)s;
    struct rusage self, children;
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    buf_printf(b, "used_cpu_sys:%.6f\r\nused_cpu_user:%.6f\r\n", seconds(self.ru_stime),
               seconds(self.ru_utime));
    buf_printf(b, "used_cpu_sys_children:%.6f\r\nused_cpu_user_children:%.6f\r\n",
               seconds(children.ru_stime), seconds(children.ru_utime));
    buf_printf(b, "used_cpu_sys_main_thread:%.6f\r\nused_cpu_user_main_thread:%.6f\r\n",
               seconds(self.ru_stime), seconds(self.ru_utime));
}

static void section_modules(struct server *s, struct buf *b)
{
    (void)s;
    (void)b;
}

static void visit_command(void *arg, const char *name, uint64_t calls, uint64_t usec,
                          uint64_t rejected, uint64_t failed)
{
    if (calls + rejected + failed > 0) {
        buf_printf(arg,
                   "cmdstat_%s:calls=%llu,usec=%llu,usec_per_call=%.2f,rejected_calls=%llu,failed_"
                   "calls=%llu\r\n",
                   name, (unsigned long long)calls, (unsigned long long)usec,
                   calls > 0 ? (double)usec / (double)calls : 0.0, (unsigned long long)rejected,
                   (unsigned long long)failed);
    }
}

static void section_commandstats(struct server *s, struct buf *b)
{
    exec_commandstats(s->x, visit_command, b);
}

static void visit_error(void *arg, const char *code, uint64_t count)
{
    buf_printf(arg, "errorstat_%s:count=%llu\r\n", code, (unsigned long long)count);
}

static void section_errorstats(struct server *s, struct buf *b)
{
    exec_errorstats(s->x, visit_error, b);
}

static void visit_latency(void *arg, const char *name, struct slice text)
{
    buf_printf(arg, "latency_percentiles_usec_%s:%.*s\r\n", name, (int)text.n, text.p);
}

static void section_latencystats(struct server *s, struct buf *b)
{
    exec_latencystats(s->x, visit_latency, b);
}

static void section_cluster(struct server *s, struct buf *b)
{
    (void)s;
    line_u(b, "cluster_enabled", 0);
}

static void section_keyspace(struct server *s, struct buf *b)
{
    int64_t now = clock_wall_ms();
    for (unsigned db = 0; db < keyspace_databases(s->ks); db++) {
        size_t keys = keyspace_count(s->ks, db);
        if (keys > 0) {
            buf_printf(b, "db%u:keys=%zu,expires=%zu,avg_ttl=%lld,subexpiry=%zu\r\n", db, keys,
                       keyspace_expires(s->ks, db), (long long)keyspace_avg_ttl(s->ks, db, now),
                       keyspace_subexpires(s->ks, db));
        }
    }
}

static const struct {
    const char *name, *title;
    void (*write)(struct server *s, struct buf *b);
    bool by_default;
} sections[] = {
    { "server", "Server", section_server, true },
    { "clients", "Clients", section_clients, true },
    { "memory", "Memory", section_memory, true },
    { "persistence", "Persistence", section_persistence, true },
    { "durability", "Durability", section_durability, true },
    { "stats", "Stats", section_stats, true },
    { "replication", "Replication", section_replication, true },
    { "cpu", "CPU", section_cpu, true },
    { "modules", "Modules", section_modules, true },
    { "commandstats", "Commandstats", section_commandstats, false },
    { "errorstats", "Errorstats", section_errorstats, true },
    { "latencystats", "Latencystats", section_latencystats, false },
    { "cluster", "Cluster", section_cluster, true },
    { "keyspace", "Keyspace", section_keyspace, true },
};

static bool section_wanted(unsigned i, const struct slice *names, unsigned n)
{
    if (n == 0) {
        return sections[i].by_default;
    }
    for (unsigned k = 0; k < n; k++) {
        if (slice_is(names[k], sections[i].name) || slice_is(names[k], "all") ||
            slice_is(names[k], "everything") ||
            (slice_is(names[k], "default") && sections[i].by_default)) {
            return true;
        }
    }
    return false;
}

bool info_write(struct server *s, const struct slice *names, unsigned n, struct buf *out)
{
    bool any = false, keys = false;
    for (unsigned i = 0; i < countof(sections); i++) {
        if (section_wanted(i, names, n)) {
            buf_printf(out, "%s# %s\r\n", any ? "\r\n" : "", sections[i].title);
            sections[i].write(s, out);
            any = true;
            keys |= sections[i].write == section_keyspace;
        }
    }
    return keys;
}
