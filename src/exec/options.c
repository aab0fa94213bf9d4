/* options.c -- The directives of the engine: names, ranges, defaults and what each one does when it
 * changes. SPDX-License-Identifier: BSD-3-Clause THREADS  As option.h says. apply functions run
 * while nobody else does. */
#include "exec/acl.h"
#include "base/io.h"
#include <stdio.h>

#define AT(field) .offset = offsetof(struct exec_options, field)

static struct exec *exec_of(void *base)
{
    return container_of((struct exec_options *)base, struct exec, opt);
}

/* At start the number is lowered to what fits instead (server/). */
static bool clients_fit(struct exec *x, const char **error)
{
    uint64_t want = (uint64_t)option_int(&x->opt.maxclients) + EXEC_RESERVED_FILES;
    uint64_t got = io_raise_files(want);
    if (got < want) {
        snprintf(x->maxclients_error, sizeof x->maxclients_error,
                 "The operating system is not able to handle the specified number of clients, try "
                 "with %llu",
                 (unsigned long long)(got > EXEC_RESERVED_FILES ? got - EXEC_RESERVED_FILES : 1));
        *error = x->maxclients_error;
    }
    return got >= want;
}

static bool apply_maxclients(void *base, const char **error)
{
    struct exec *x = exec_of(base);
    if (x->net != NULL) {
        if (!clients_fit(x, error)) {
            return false;
        }
        net_set_maxclients(x->net, (unsigned)option_int(&x->opt.maxclients));
    }
    return true;
}

static bool apply_net(void *base, const char **error)
{
    (void)error;
    struct exec *x = exec_of(base);
    if (x->net != NULL) {
        net_set_keepalive(x->net, (unsigned)option_int(&x->opt.tcp_keepalive));
    }
    return true;
}

/* Sessions read limits when they open; those that are there get the new ones now. */
static bool apply_sessions(void *base, const char **error)
{
    (void)error;
    struct exec *x = exec_of(base);
    for (unsigned i = 0; i < x->reactors; i++) {
        for (struct session *s = x->workers[i].sessions; s != NULL; s = s->next) {
            session_set_authenticated(s, s->authenticated);
            conn_set_query_limit(s->conn, (size_t)option_int(&x->opt.client_query_buffer_limit));
        }
    }
    return true;
}

/* What `bytes - 1` is compared with. */
static size_t large_above(const struct exec *x, enum commandlog_kind kind)
{
    int64_t limit = option_int(&x->opt.commandlog_limit[kind]);
    return limit < 0 ? SIZE_MAX : limit == 0 ? 0 : (size_t)limit - 1;
}

static bool apply_observers(void *base, const char **error)
{
    (void)error;
    struct exec *x = exec_of(base);
    int64_t us = option_int(&x->opt.commandlog_limit[COMMANDLOG_SLOW]);
    for (unsigned i = 0; i < x->nworkers; i++) {
        struct worker *w = &x->workers[i];
        w->slow_ticks = worker_slow_ticks(x, us);
        w->large_request = large_above(x, COMMANDLOG_LARGE_REQUEST);
        w->large_reply = large_above(x, COMMANDLOG_LARGE_REPLY);
    }
    return true;
}

/* The threshold above which a command is looked at after it ran: the lower of slow log and latency
 * monitor, in ticks. */
uint64_t worker_slow_ticks(struct exec *x, int64_t slowlog_us)
{
    int64_t us = slowlog_us;
    int64_t latency_ms = option_int(&x->opt.latency_threshold);
    int64_t latency_us = latency_ms < INT64_MAX / 1000 ? latency_ms * 1000 : INT64_MAX;
    if (latency_us > 0 && (us < 0 || latency_us < us)) {
        us = latency_us;
    }
    if (us < 0 || (uint64_t)us > UINT64_MAX / 1000000000) { /* centuries */
        return UINT64_MAX;
    }
    uint64_t ns_per_mtick = clock_ticks_to_ns(1000000);
    return (uint64_t)us * 1000 * 1000000 / (ns_per_mtick > 0 ? ns_per_mtick : 1);
}

void exec_options_started(struct exec *x)
{
    const char *error;
    apply_observers(&x->opt, &error);
}

static bool apply_requirepass(void *base, const char **error)
{
    (void)error;
    acl_set_requirepass(exec_of(base));
    return true;
}

/* ---- notify-keyspace-events: letters ---- */

static const struct {
    char letter;
    int64_t bit;
} notify_letters[] = {
    { 'K', 1 },
    { 'E', 2 },
    { 'g', NOTIFY_GENERIC },
    { '$', NOTIFY_STRING },
    { 'l', NOTIFY_LIST },
    { 's', NOTIFY_SET },
    { 'h', NOTIFY_HASH },
    { 'z', NOTIFY_ZSET },
    { 'x', NOTIFY_EXPIRED },
    { 'e', NOTIFY_EVICTED },
    { 't', NOTIFY_STREAM },
    { 'd', NOTIFY_MODULE },
    { 'm', NOTIFY_KEY_MISS },
    { 'n', NOTIFY_NEW },
};
#define NOTIFY_ALL                                                                           \
    (NOTIFY_GENERIC | NOTIFY_STRING | NOTIFY_LIST | NOTIFY_SET | NOTIFY_HASH | NOTIFY_ZSET | \
     NOTIFY_EXPIRED | NOTIFY_EVICTED | NOTIFY_STREAM | NOTIFY_MODULE)

static bool notify_set(void *base, const struct slice *argv, unsigned argc, const char **error)
{
    int64_t flags = 0;
    for (unsigned a = 0; a < argc; a++) {
        for (size_t i = 0; i < argv[a].n; i++) {
            char ch = argv[a].p[i];
            int64_t bit = ch == 'A' ? NOTIFY_ALL : 0;
            for (unsigned k = 0; k < countof(notify_letters); k++) {
                bit |= notify_letters[k].letter == ch ? notify_letters[k].bit : 0;
            }
            if (bit == 0) {
                *error = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";
                return false;
            }
            flags |= bit;
        }
    }
    struct exec_options *o = base;
    atomic_store_explicit(&o->notify_flags, flags, memory_order_relaxed);
    return true;
}

static void notify_get(void *base, struct buf *out)
{
    struct exec_options *o = base;
    int64_t flags = option_int(&o->notify_flags);
    bool all = (flags & NOTIFY_ALL) == NOTIFY_ALL;
    if (all) {
        buf_add_char(out, 'A');
    }
    static const char order[] = "g$lshzxetdKEmn";
    for (const char *p = order; *p != '\0'; p++) {
        for (unsigned k = 0; k < countof(notify_letters); k++) {
            int64_t bit = notify_letters[k].bit;
            if (notify_letters[k].letter == *p && (flags & bit) && !(all && (bit & NOTIFY_ALL))) {
                buf_add_char(out, *p);
            }
        }
    }
}

/* ---- client-output-buffer-limit: class hard soft seconds, in groups of four ---- */

static const char *const obuf_names[] = { "normal", "slave", "pubsub" };

static int obuf_class_of(struct slice s)
{
    if (slice_is(s, "replica")) {
        return 1;
    }
    for (int i = 0; i < 3; i++) {
        if (slice_is(s, obuf_names[i])) {
            return i;
        }
    }
    return -1;
}

static bool obuf_set(void *base, const struct slice *argv, unsigned argc, const char **error)
{
    struct exec_options *o = base;
    *error = "Wrong number of arguments in buffer limit configuration.";
    if (argc % 4 != 0) {
        return false;
    }
    for (unsigned pass = 0; pass < 2; pass++) { /* all are checked before any is stored */
        for (unsigned i = 0; i < argc; i += 4) {
            int cls = obuf_class_of(argv[i]);
            uint64_t hard, soft;
            int64_t seconds;
            if (cls < 0) {
                *error = "Invalid client class specified in buffer limit configuration.";
                return false;
            }
            if (!parse_memory(argv[i + 1], &hard) || !parse_memory(argv[i + 2], &soft) ||
                !parse_i64(argv[i + 3], &seconds) || seconds < 0 || hard > INT64_MAX ||
                soft > INT64_MAX || seconds > INT32_MAX) {
                *error =
                    "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
                return false;
            }
            if (pass == 1) {
                atomic_store_explicit(&o->obuf_hard[cls], (int64_t)hard, memory_order_relaxed);
                atomic_store_explicit(&o->obuf_soft[cls], (int64_t)soft, memory_order_relaxed);
                atomic_store_explicit(&o->obuf_soft_s[cls], seconds, memory_order_relaxed);
            }
        }
    }
    return true;
}

static void obuf_get(void *base, struct buf *out)
{
    struct exec_options *o = base;
    for (unsigned i = 0; i < 3; i++) {
        buf_printf(out, "%s%s %lld %lld %lld", i > 0 ? " " : "", obuf_names[i],
                   (long long)option_int(&o->obuf_hard[i]), (long long)option_int(&o->obuf_soft[i]),
                   (long long)option_int(&o->obuf_soft_s[i]));
    }
}

/* ---- latency-tracking-info-percentiles ---- */

static bool percentiles_set(void *base, const struct slice *argv, unsigned argc, const char **error)
{
    struct exec_options *o = base;
    double v[LATENCY_PERCENTILES_MAX];
    unsigned n = argc == 1 && argv[0].n == 0 ? 0 : argc;
    if (n > LATENCY_PERCENTILES_MAX) {
        *error = "latency-tracking-info-percentiles takes at most 32 percentiles";
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        if (!parse_f64(argv[i], &v[i])) {
            *error = "Invalid latency-tracking-info-percentiles parameters";
            return false;
        }
        if (!(v[i] >= 0 && v[i] <= 100)) {
            *error = "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
            return false;
        }
    }
    memcpy(o->latency_percentile, v, n * sizeof v[0]);
    o->latency_percentiles = n;
    return true;
}

static void percentiles_get(void *base, struct buf *out)
{
    const struct exec_options *o = base;
    for (unsigned i = 0; i < o->latency_percentiles; i++) {
        char text[F64_TEXT_MAX];
        buf_add_str(out, i > 0 ? " " : "");
        buf_add(out, text, format_f64(text, o->latency_percentile[i]));
    }
}

static const struct option_name policies[] = {
    { "volatile-lru", POLICY_VOLATILE_LRU },
    { "volatile-lfu", POLICY_VOLATILE_LFU },
    { "volatile-random", POLICY_VOLATILE_RANDOM },
    { "volatile-ttl", POLICY_VOLATILE_TTL },
    { "allkeys-lru", POLICY_ALLKEYS_LRU },
    { "allkeys-lfu", POLICY_ALLKEYS_LFU },
    { "allkeys-random", POLICY_ALLKEYS_RANDOM },
    { "noeviction", POLICY_NOEVICTION },
    { NULL, 0 },
};

static const struct option_name pubsub_default[] = { { "allchannels", 1 },
                                                     { "resetchannels", 0 },
                                                     { NULL, 0 } };

#define LARGE_FROM(which)                                                                        \
    .kind = OPT_INT, AT(commandlog_limit[which]), .min = -1, .max = INT64_MAX, .def = "1048576", \
    .apply = apply_observers
#define LARGE_KEPT(which) \
    .kind = OPT_INT, AT(commandlog_max_len[which]), .min = 0, .max = INT64_MAX, .def = "128"
const struct option exec_option_table[] = {
    { .name = "maxclients",
      .kind = OPT_INT,
      AT(maxclients),
      .min = 1,
      .max = UINT32_MAX,
      .def = "10000",
      .apply = apply_maxclients,
      .doc = "How many clients may be connected at once." },
    { .name = "timeout",
      .kind = OPT_INT,
      AT(timeout_s),
      .min = 0,
      .max = INT32_MAX,
      .def = "0",
      .doc = "Close the connection after a client is idle for N seconds; 0: never." },
    { .name = "tcp-keepalive",
      .kind = OPT_INT,
      AT(tcp_keepalive),
      .min = 0,
      .max = INT32_MAX,
      .def = "300",
      .apply = apply_net,
      .doc = "Seconds between TCP keepalive probes; 0: off." },
    { .name = "protected-mode",
      .kind = OPT_BOOL,
      AT(protected_mode),
      .def = "yes",
      .doc = "Without a password, accept connections from this machine only." },
    { .name = "requirepass",
      .kind = OPT_BYTES,
      .flags = OPTF_SENSITIVE,
      AT(requirepass),
      .def = "",
      .apply = apply_requirepass,
      .doc = "Clients must AUTH with this password before anything else: that of the user "
             "default." },
    { .name = "aclfile",
      .kind = OPT_STRING,
      .flags = OPTF_IMMUTABLE,
      AT(aclfile),
      .def = "",
      .doc = "File of users, one \"user <name> <rule> ...\" per line: ACL LOAD and ACL SAVE. "
             "requirepass does not count then.\nWithout one, users are `user` directives in this "
             "file, which CONFIG REWRITE writes." },
    { .name = "user",
      .kind = OPT_CUSTOM,
      .flags = OPTF_IMMUTABLE | OPTF_HIDDEN | OPTF_MULTI | OPTF_LINES,
      .set = acl_user_lines_set,
      .get = acl_user_lines_get,
      .def = "",
      .doc = "A user and its rules: user alice on >password ~key:* &channel:* +@read" },
    { .name = "acl-pubsub-default",
      .kind = OPT_ENUM,
      AT(acl_pubsub_default),
      .names = pubsub_default,
      .def = "resetchannels",
      .doc = "Channels of a new user: none (resetchannels) or all (allchannels)." },
    { .name = "acllog-max-len",
      .kind = OPT_INT,
      AT(acllog_max_len),
      .min = 0,
      .max = INT64_MAX,
      .def = "128",
      .doc = "Entries ACL LOG keeps." },
    { .name = "maxmemory",
      .kind = OPT_MEMORY,
      AT(maxmemory),
      .def = "0",
      .doc = "Limit of the memory in use; above it keys are evicted by maxmemory-policy, or writes "
             "refused. 0: none." },
    { .name = "maxmemory-policy",
      .kind = OPT_ENUM,
      AT(maxmemory_policy),
      .names = policies,
      .def = "noeviction",
      .doc = "What goes when maxmemory is reached: volatile-lru, allkeys-lru, volatile-lfu, "
             "allkeys-lfu,\nvolatile-random, allkeys-random, volatile-ttl, noeviction." },
    { .name = "maxmemory-samples",
      .kind = OPT_INT,
      AT(maxmemory_samples),
      .min = 1,
      .max = INT32_MAX,
      .def = "5",
      .doc = "Keys looked at per eviction, at most 64: more is closer to true LRU and costs more "
             "CPU." },
    { .name = "maxmemory-eviction-tenacity",
      .kind = OPT_INT,
      AT(maxmemory_eviction_tenacity),
      .min = 0,
      .max = 100,
      .def = "10",
      .doc = "How long one command may spend evicting: 0 least, 100 until there is room." },
    { .name = "maxmemory-clients",
      .kind = OPT_PERCENT_OR_MEMORY,
      AT(maxmemory_clients),
      .def = "0",
      .doc = "Limit of the memory of all clients together, absolute or in percent of maxmemory, at "
             "least 128kb; 0: none." },
    { .name = "lfu-log-factor",
      .kind = OPT_INT,
      AT(lfu_log_factor),
      .min = 0,
      .max = INT32_MAX,
      .def = "10",
      .doc = "LFU: how many hits saturate the counter (10: about one million)." },
    { .name = "lfu-decay-time",
      .kind = OPT_INT,
      AT(lfu_decay_time),
      .min = 0,
      .max = INT32_MAX,
      .def = "1",
      .doc = "LFU: minutes after which the counter is decremented." },
    { .name = "proto-max-bulk-len",
      .kind = OPT_MEMORY,
      AT(proto_max_bulk_len),
      .min = 1024 * 1024,
      .max = INT64_MAX,
      .def = "512mb",
      .apply = apply_sessions,
      .doc = "Longest single argument, and longest string value." },
    { .name = "client-query-buffer-limit",
      .kind = OPT_MEMORY,
      AT(client_query_buffer_limit),
      .min = 1024 * 1024,
      .max = INT64_MAX,
      .def = "1gb",
      .apply = apply_sessions,
      .doc = "A client whose unprocessed input grows beyond this is closed." },
    { .name = "client-output-buffer-limit",
      .kind = OPT_CUSTOM,
      .flags = OPTF_MULTI,
      .set = obuf_set,
      .get = obuf_get,
      .apply = apply_sessions,
      .def = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
      .doc = "Class, hard limit, soft limit, seconds: a client that does not read its replies is "
             "closed at the hard\nlimit, or after so many seconds above the soft one. Classes: "
             "normal, replica, pubsub." },
    { .name = "notify-keyspace-events",
      .kind = OPT_CUSTOM,
      .set = notify_set,
      .get = notify_get,
      .def = "",
      .doc = "Which keyspace events are published: K E g $ l s h z x e t d m n, A for all of "
             "g$lshzxetd." },
    { .name = "slowlog-log-slower-than",
      .alias = "commandlog-execution-slower-than",
      .kind = OPT_INT,
      AT(commandlog_limit[COMMANDLOG_SLOW]),
      .min = -1,
      .max = INT64_MAX,
      .def = "10000",
      .apply = apply_observers,
      .doc = "Microseconds of execution from which a command is logged; 0 logs all, -1 none." },
    { .name = "slowlog-max-len",
      .alias = "commandlog-slow-execution-max-len",
      .kind = OPT_INT,
      AT(commandlog_max_len[COMMANDLOG_SLOW]),
      .min = 0,
      .max = INT64_MAX,
      .def = "128",
      .doc = "Entries the slow log keeps." },
    { .name = "commandlog-request-larger-than",
      LARGE_FROM(COMMANDLOG_LARGE_REQUEST),
      .doc = "Bytes from which a request is logged for COMMANDLOG; 0 logs all, -1 none." },
    { .name = "commandlog-large-request-max-len",
      LARGE_KEPT(COMMANDLOG_LARGE_REQUEST),
      .doc = "Entries the log of large requests keeps." },
    { .name = "commandlog-reply-larger-than",
      LARGE_FROM(COMMANDLOG_LARGE_REPLY),
      .doc = "Bytes of a reply from which its command is logged for COMMANDLOG; 0 logs all, -1 "
             "none." },
    { .name = "commandlog-large-reply-max-len",
      LARGE_KEPT(COMMANDLOG_LARGE_REPLY),
      .doc = "Entries the log of large replies keeps." },
    { .name = "latency-monitor-threshold",
      .kind = OPT_INT,
      AT(latency_threshold),
      .min = 0,
      .max = INT64_MAX,
      .def = "0",
      .apply = apply_observers,
      .doc = "Milliseconds from which an event is recorded for LATENCY; 0: off." },
    { .name = "latency-tracking",
      .kind = OPT_BOOL,
      AT(latency_tracking),
      .def = "yes",
      .doc = "Keep a latency histogram per command (INFO latencystats, LATENCY HISTOGRAM)." },
    { .name = "latency-tracking-info-percentiles",
      .kind = OPT_CUSTOM,
      .set = percentiles_set,
      .get = percentiles_get,
      .def = "50 99 99.9",
      .doc = "Percentiles that INFO latencystats shows, 0 to 100." },
    { .name = "durable-reads",
      .kind = OPT_BOOL,
      AT(durable_reads),
      .def = "yes",
      .doc = "With appendfsync always: a reply also waits for the writes it shows, so that nothing "
             "a client was told can be\ntaken back by a crash. no: only the client's own writes "
             "are waited for." },
    { .name = "busy-reply-threshold",
      .alias = "lua-time-limit",
      .kind = OPT_INT,
      AT(busy_reply_threshold),
      .min = 0,
      .max = INT64_MAX,
      .def = "5000",
      .doc = "Milliseconds after which other clients are told BUSY while a script runs." },
    { .name = "list-max-listpack-size",
      .alias = "list-max-ziplist-size",
      .kind = OPT_INT,
      AT(list_max_listpack_size),
      .min = INT32_MIN,
      .max = INT32_MAX,
      .def = "-2",
      .doc = "Size of one node of a list: -1 4 KiB, -2 8 KiB, -3 16, -4 32, -5 64 KiB; positive: "
             "entries." },
    { .name = "list-compress-depth",
      .kind = OPT_INT,
      AT(list_compress_depth),
      .min = 0,
      .max = INT32_MAX,
      .def = "0",
      .doc = "Nodes at each end of a list that are not compressed; 0: none are." },
    { .name = "hash-max-listpack-entries",
      .alias = "hash-max-ziplist-entries",
      .kind = OPT_INT,
      AT(hash_max_listpack_entries),
      .min = 0,
      .max = INT64_MAX,
      .def = "512",
      .doc = "A hash is a listpack up to so many fields, if each field and value has at most the "
             "bytes that follow." },
    { .name = "hash-max-listpack-value",
      .alias = "hash-max-ziplist-value",
      .kind = OPT_MEMORY,
      AT(hash_max_listpack_value),
      .min = 0,
      .max = INT64_MAX,
      .def = "64",
      .doc = "Bytes of the longest field or value of such a hash." },
    { .name = "set-max-intset-entries",
      .kind = OPT_INT,
      AT(set_max_intset_entries),
      .min = 0,
      .max = INT64_MAX,
      .def = "512",
      .doc = "A set of integers only has the compact form up to so many members." },
    { .name = "set-max-listpack-entries",
      .kind = OPT_INT,
      AT(set_max_listpack_entries),
      .min = 0,
      .max = INT64_MAX,
      .def = "128",
      .doc = "Another set is a listpack up to so many members, if each has at most the bytes that "
             "follow." },
    { .name = "set-max-listpack-value",
      .kind = OPT_MEMORY,
      AT(set_max_listpack_value),
      .min = 0,
      .max = INT64_MAX,
      .def = "64",
      .doc = "Bytes of the longest member of such a set." },
    { .name = "zset-max-listpack-entries",
      .alias = "zset-max-ziplist-entries",
      .kind = OPT_INT,
      AT(zset_max_listpack_entries),
      .min = 0,
      .max = INT64_MAX,
      .def = "128",
      .doc = "A sorted set has the compact form up to so many members, if each has at most the "
             "bytes that follow." },
    { .name = "zset-max-listpack-value",
      .alias = "zset-max-ziplist-value",
      .kind = OPT_MEMORY,
      AT(zset_max_listpack_value),
      .min = 0,
      .max = INT64_MAX,
      .def = "64",
      .doc = "Bytes of the longest member of such a sorted set." },
    { .name = "hll-sparse-max-bytes",
      .kind = OPT_MEMORY,
      AT(hll_sparse_max_bytes),
      .min = 0,
      .max = INT64_MAX,
      .def = "3000",
      .doc = "A HyperLogLog becomes dense (12304 bytes) before its sparse form would have more "
             "bytes." },
    { .name = "stream-node-max-bytes",
      .kind = OPT_MEMORY,
      AT(stream_node_max_bytes),
      .min = 0,
      .max = INT64_MAX,
      .def = "4096",
      .doc = "A node of a stream takes no further entry that would make it larger than this; 0: "
             "no limit." },
    { .name = "stream-node-max-entries",
      .kind = OPT_INT,
      AT(stream_node_max_entries),
      .min = 0,
      .max = INT64_MAX,
      .def = "100",
      .doc = "And not more entries than this, deleted ones included; 0: no limit." },
    { .name = "tracking-table-max-keys",
      .kind = OPT_INT,
      AT(tracking_table_max_keys),
      .min = 0,
      .max = INT64_MAX,
      .def = "1000000",
      .doc = "Keys remembered for client-side caching; 0: no limit." },
    { .name = "min-replicas-to-write",
      .alias = "min-slaves-to-write",
      .kind = OPT_INT,
      AT(min_replicas_to_write),
      .min = 0,
      .max = INT32_MAX,
      .def = "0",
      .doc = "Refuse writes with fewer connected replicas." },
    { .name = "min-replicas-max-lag",
      .alias = "min-slaves-max-lag",
      .kind = OPT_INT,
      AT(min_replicas_max_lag),
      .min = 0,
      .max = INT32_MAX,
      .def = "10",
      .doc = "A replica that was silent for longer than so many seconds does not count; 0: "
             "min-replicas-to-write has no effect." },
    { .name = "replica-priority",
      .alias = "slave-priority",
      .kind = OPT_INT,
      AT(slave_priority),
      .min = 0,
      .max = INT32_MAX,
      .def = "100",
      .doc = "What sentinel prefers when it promotes; 0: never." },
    { .name = NULL },
};
