/* cmd_debug.c -- DEBUG: what test suites and engineers ask of a server, if the configuration lets
 * them. SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      As in Redis one command with words of its own, not a container: COMMAND shows no
 * subcommands. It runs in an exclusive section: nobody else executes meanwhile, which is what SLEEP
 * promises and DIGEST, RELOAD and the looks at tables need.
 * COMPAT:  Words for machinery that kv does not have and that no client can see the absence of
 * (sizes of reply buffers, pauses of hash table growth, the point where a list element stands
 * alone, checksums of RDB bytes, of which nothing is read yet) check their arguments and answer OK:
 * suites use them to bring about a state, and kv is always in one of the allowed states. */
#include "server/server_int.h"
#include "script/script.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- Keys: any key of the current database; the section holds all shards ---- */

/* As it lies there: neither touched nor, when expired, deleted. */
static const struct entry *entry_at(struct call *c, unsigned i)
{
    struct key k = call_key(c, c->argv[i]);
    return shard_find(keyspace_shard(c->ks, k.shard), c->db, &k);
}

static void with_entry(struct call *c, void (*show)(struct call *c, const struct entry *e))
{
    const struct entry *e = entry_at(c, 2);
    call_gate_all(c); /* that there is none, too */
    if (e == NULL) {
        reply_no_key(c);
    } else {
        show(c, e);
    }
}

static void do_object(struct call *c)
{
    with_entry(c, debug_object);
}

static void do_listpack(struct call *c)
{
    with_entry(c, debug_listpack);
}

static void do_quicklist(struct call *c)
{
    with_entry(c, debug_quicklist);
}

static void no_hash_table(struct call *c, const struct entry *e unused_arg)
{
    reply_error(c, "ERR The value stored at the specified key is not represented using an hash "
                   "table");
}

static void do_htstats_key(struct call *c)
{
    with_entry(c, no_hash_table);
}

static void do_htstats(struct call *c)
{
    int64_t db;
    if (!arg_i64(c, 2, &db)) {
        return;
    }
    if (db < 0 || db >= keyspace_databases(c->ks)) {
        reply_error(c, "ERR Out of range database");
        return;
    }
    call_gate_all(c);
    debug_htstats(c, (unsigned)db);
}

/* ---- Digests ---- */

static void reply_digest(struct call *c, const uint8_t digest[DIGEST_BYTES])
{
    char hex[2 * DIGEST_BYTES + 1] = { 0 };
    hex_encode(digest, DIGEST_BYTES, hex);
    reply_simple(c, hex);
}

static void do_digest(struct call *c)
{
    uint8_t digest[DIGEST_BYTES];
    digest_of_keyspace(c->ks, digest);
    call_gate_all(c);
    reply_digest(c, digest);
}

static void do_digest_value(struct call *c)
{
    reply_array(c, c->argc - 2);
    for (unsigned i = 2; i < c->argc; i++) {
        uint8_t digest[DIGEST_BYTES] = { 0 };
        const struct entry *e = entry_at(c, i);
        if (e != NULL) {
            digest_of_entry(e, digest);
        }
        reply_digest(c, digest);
    }
    call_gate_all(c);
}

/* ---- POPULATE ---- */

/* COMPAT: unlike in Redis these keys are logged, because the log is the only copy; each in a record
 * of its own, so that they replay in parallel. */
static void do_populate(struct call *c)
{
    int64_t count, size = 0;
    static const char *const positive = "ERR value is out of range, must be positive";
    if (!arg_i64_range(c, 2, 0, INT64_MAX, &count, positive) ||
        (c->argc > 4 && !arg_i64_range(c, 4, 0, INT64_MAX, &size, positive))) {
        return;
    }
    char *fill = size > 0 ? mem_try_calloc((size_t)size) : NULL;
    if (size > 0 && fill == NULL) {
        reply_oom(c);
        return;
    }
    struct slice prefix = c->argc > 3 ? c->argv[3] : S("key");
    struct buf name = { 0 };
    bool logged = false, room = true;
    for (int64_t i = 0; i < count && room; i++) {
        char text[32];
        struct slice v =
            slice_of(text, (size_t)snprintf(text, sizeof text, "value:%lld", (long long)i));
        name.n = 0;
        buf_add_slice(&name, prefix);
        buf_printf(&name, ":%lld", (long long)i);
        struct key k = call_key(c, buf_slice(&name));
        if (key_write(c, &k) != NULL) {
            continue;
        }
        if (fill != NULL) {
            memcpy(fill, text, size_min(v.n, (size_t)size));
            v = slice_of(fill, (size_t)size);
        }
        if (logged) {
            call_commit_part(c);
        }
        room = key_set_string(c, &k, v, STRING_TEXT, false) != NULL;
        if (room) {
            EFFECT(c, S("SET"), k.s, v);
            logged = true;
        }
    }
    if (room) {
        reply_ok(c);
    }
    buf_free(&name);
    mem_free(fill);
}

/* ---- RELOAD, LOADAOF ---- */

static void reload(struct call *c, bool loadaof)
{
    if (log_change_busy(server_of(c))) {
        reply_error(c, "ERR a change of appendonly or appendfsync is not complete yet");
        return;
    }
    int rc = exec_reload(c);
    if (rc == 0) {
        log_notice("DEBUG: the keyspace was emptied and read from the log again");
        reply_ok(c);
    } else if (rc == -EBUSY) {
        reply_error(c, "ERR the log cannot be reloaded behind writes of the same transaction");
    } else if (rc == -ENOENT && !loadaof) {
        /* COMPAT: without a log there is no other copy to read: the data after it is the data
         * before it, as after Redis's save and load. */
        log_notice("DEBUG RELOAD: there is no log; the keys stay as they are");
        reply_ok(c);
    } else {
        reply_error(c, "ERR Error trying to load the AOF files, check server logs.");
    }
}

static bool has_data(struct call *c)
{
    struct script_stats st;
    size_t keys = 0;
    script_stats(exec_scripts(c->x), &st);
    for (unsigned db = 0; db < keyspace_databases(c->ks); db++) {
        keys += keyspace_count(c->ks, db);
    }
    return keys > 0 || st.libraries > 0;
}

/* COMPAT: the log always holds everything and is replayed in order into an empty keyspace: NOSAVE
 * has nothing to skip, and what MERGE would keep is in the log. With NOFLUSH alone whatever is
 * there comes twice, which Redis refuses. */
static void do_reload(struct call *c)
{
    bool flush = true, merge = false;
    for (unsigned i = 2; i < c->argc; i++) {
        if (arg_is(c, i, "merge")) {
            merge = true;
        } else if (arg_is(c, i, "noflush")) {
            flush = false;
        } else if (!arg_is(c, i, "nosave")) {
            reply_error(c, "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.");
            return;
        }
    }
    if (!flush && !merge && has_data(c)) {
        reply_error(c, "ERR Error trying to load the RDB dump, check server logs.");
        return;
    }
    reload(c, false);
}

static void do_loadaof(struct call *c)
{
    reload(c, true);
}

/* ---- Switches ---- */

/* Anything but a number other than 0 means 0, as in Redis. */
static int64_t number_or_0(struct slice s)
{
    int64_t v;
    return parse_i64(s, &v) ? v : 0;
}

static void do_set_active_expire(struct call *c)
{
    atomic_store_explicit(&exec_options(c->x)->active_expire, number_or_0(c->argv[2]) != 0,
                          memory_order_relaxed);
    reply_ok(c);
}

static void do_set_disable_deny_scripts(struct call *c)
{
    atomic_store_explicit(&exec_options(c->x)->scripts_call_all, number_or_0(c->argv[2]) != 0,
                          memory_order_relaxed);
    reply_ok(c);
}

static void do_pause_cron(struct call *c)
{
    atomic_store_explicit(&exec_options(c->x)->cron_paused, number_or_0(c->argv[2]) != 0,
                          memory_order_relaxed);
    reply_ok(c);
}

static void do_aof_flush_sleep(struct call *c)
{
    int64_t us = number_or_0(c->argv[2]);
    struct wal *wal = server_of(c)->wal;
    if (wal != NULL) {
        wal_delay_writes(wal, us > 0 ? (us < 60000000 ? us : 60000000) : 0);
    }
    reply_ok(c);
}

/* CHANGE-REPL-ID: there is no replica that it would cut off; DICT-RESIZING: tables grow and shrink
 * by one bucket at a time, which nobody can see; SET-SKIP-CHECKSUM-VALIDATION: nothing with a
 * checksum is read from clients yet. */
static void do_nothing(struct call *c)
{
    reply_ok(c);
}

static void do_packed_threshold(struct call *c)
{
    uint64_t bytes;
    if (!parse_memory(c->argv[2], &bytes) || bytes > (uint64_t)1 << 32) {
        reply_error(c, "ERR argument must be a memory value bigger than 1 and smaller than 4gb");
        return;
    }
    reply_ok(c);
}

static void do_replybuffer(struct call *c)
{
    int64_t ms;
    if (arg_is(c, 2, "resizing") ||
        (arg_is(c, 2, "peak-reset-time") &&
         (arg_is(c, 3, "never") || arg_is(c, 3, "reset") || arg_i64(c, 3, &ms)))) {
        reply_ok(c);
    } else if (!arg_is(c, 2, "peak-reset-time")) {
        reply_errorf(c,
                     "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try DEBUG "
                     "HELP.",
                     (int)size_min(c->argv[1].n, 128), c->argv[1].p);
    }
}

/* ---- Time, texts, protocol ---- */

#define SLEEP_MAX_S 1e9

static void do_sleep(struct call *c)
{
    double s = 0;
    if (!parse_f64(c->argv[2], &s) || !(s > 0)) {
        s = 0;
    }
    s = s < SLEEP_MAX_S ? s : SLEEP_MAX_S;
    struct timespec left = { .tv_sec = (time_t)s, .tv_nsec = (long)((s - floor(s)) * 1e9) };
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
    reply_ok(c);
}

static void do_error(struct call *c)
{
    char *text = mem_dup(c->argv[2].p, c->argv[2].n);
    reply_error(c, text);
    mem_free(text);
}

static void do_log(struct call *c)
{
    log_warning("DEBUG LOG: %.*s", (int)size_min(c->argv[2].n, 1024), c->argv[2].p);
    reply_ok(c);
}

static void reply_012(struct call *c)
{
    for (int i = 0; i < 3; i++) {
        reply_int(c, i);
    }
}

static void protocol_map(struct call *c)
{
    reply_map(c, 3);
    for (int i = 0; i < 3; i++) {
        reply_int(c, i);
        reply_bool(c, i == 1);
    }
}

static void protocol_attrib(struct call *c)
{
    if (c->resp > 2) {
        resp_attribute(c->out, 1);
        reply_bulk(c, S("key-popularity"));
        reply_array(c, 2);
        reply_bulk(c, S("key:123"));
        reply_int(c, 90);
    }
    reply_bulk(c, S("Some real reply following the attribute"));
}

static void protocol_push(struct call *c)
{
    if (c->resp == 2) {
        reply_error(c, "ERR RESP2 is not supported by this command");
        return;
    }
    reply_push(c, 2);
    reply_bulk(c, S("server-cpu-usage"));
    reply_int(c, 42);
    reply_bulk(c, S("Some real reply following the push reply"));
}

static void do_protocol(struct call *c)
{
    if (arg_is(c, 2, "string")) {
        reply_bulk(c, S("Hello World"));
    } else if (arg_is(c, 2, "integer")) {
        reply_int(c, 12345);
    } else if (arg_is(c, 2, "double")) {
        reply_double(c, 3.141);
    } else if (arg_is(c, 2, "bignum")) {
        reply_bignum(c, S("1234567999999999999999999999999999999"));
    } else if (arg_is(c, 2, "null")) {
        reply_null(c);
    } else if (arg_is(c, 2, "array")) {
        reply_array(c, 3);
        reply_012(c);
    } else if (arg_is(c, 2, "set")) {
        reply_set(c, 3);
        reply_012(c);
    } else if (arg_is(c, 2, "map")) {
        protocol_map(c);
    } else if (arg_is(c, 2, "attrib")) {
        protocol_attrib(c);
    } else if (arg_is(c, 2, "push")) {
        protocol_push(c);
    } else if (arg_is(c, 2, "verbatim")) {
        reply_verbatim(c, S("This is a verbatim\nstring"), "txt");
    } else if (arg_is(c, 2, "true") || arg_is(c, 2, "false")) {
        reply_bool(c, arg_is(c, 2, "true"));
    } else {
        reply_error(c, "ERR Wrong protocol type name. Please use one of the following: "
                       "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|"
                       "true|false");
    }
}

/* ---- Crashes ---- */

static void do_segfault(struct call *c unused_arg)
{
    char *volatile nowhere = (char *)(uintptr_t)16; /* the compiler must not know it */
    *nowhere = 'x';
}

static void do_panic(struct call *c unused_arg)
{
    must_failed("called DEBUG PANIC", __FILE__, __LINE__, __func__);
}

static void do_assert(struct call *c unused_arg)
{
    must_failed("1 == 2 (called DEBUG ASSERT)", __FILE__, __LINE__, __func__);
}

static void do_oom(struct call *c)
{
    mem_free(mem_alloc(SIZE_MAX / 2)); /* ends the process */
    reply_ok(c);
}

#ifdef KV_FAULTS
/* FAULT <rules>: arms fault points as KV_FAULTS does; "" disarms all. FAULT: how many rules have
 * not been met, or not often enough. Test builds. */
static void do_fault(struct call *c)
{
    if (c->argc == 2) {
        reply_int(c, fault_armed());
        return;
    }
    char *rules = mem_dup(c->argv[2].p, c->argv[2].n);
    if (fault_arm(rules) == 0) {
        reply_ok(c);
    } else {
        reply_error(c, "ERR not name=action[:after][:count], or no such fault point");
    }
    mem_free(rules);
}
#endif

/* ---- The allocator ---- */

static void mallctl_error(struct call *c, int err)
{
    reply_errorf(c, "ERR %s", strerror(-err));
}

static void do_mallctl(struct call *c)
{
    char *name = mem_dup(c->argv[2].p, c->argv[2].n);
    uint64_t old = 0;
    int64_t to = 0;
    int err = -EINVAL;
    bool set = c->argc > 3;
    if (set && !arg_i64(c, 3, &to)) {
        mem_free(name);
        return;
    }
    for (size_t n = sizeof old; n > 0 && err == -EINVAL; n /= 2) { /* its width is not known */
        size_t len = n;
        old = 0;
        err = mem_setting(name, &old, &len, &to, set ? n : 0);
    }
    if (err == 0) {
        reply_int(c, (int64_t)old);
    } else {
        mallctl_error(c, err);
    }
    mem_free(name);
}

static void do_mallctl_str(struct call *c)
{
    char *name = mem_dup(c->argv[2].p, c->argv[2].n);
    char *to = c->argc > 3 ? mem_dup(c->argv[3].p, c->argv[3].n) : NULL;
    const char *old = NULL;
    size_t len = sizeof old;
    bool nothing = to != NULL && slice_is(c->argv[3], "void"); /* an action: neither in nor out */
    int err = mem_setting(name, nothing ? NULL : (void *)&old, nothing ? NULL : &len,
                          nothing ? NULL : &to, to != NULL && !nothing ? sizeof to : 0);
    if (err != 0) {
        mallctl_error(c, err);
    } else if (old != NULL) {
        reply_bulk_str(c, old);
    } else {
        reply_ok(c);
    }
    mem_free(name);
    mem_free(to);
}

/* ---- The table ---- */

static void do_help(struct call *c);

static const struct debug_word {
    const char *word;
    void (*run)(struct call *c);
    unsigned min, max; /* arguments behind the word */
    bool keys;         /* looks at the keyspace: not while it is loaded */
} words[] = {
    { "aof-flush-sleep", do_aof_flush_sleep, 1, 1, false },
    { "assert", do_assert, 0, UINT32_MAX, false },
    { "change-repl-id", do_nothing, 0, 0, false },
    { "dict-resizing", do_nothing, 1, 1, false },
    { "digest", do_digest, 0, 0, true },
    { "digest-value", do_digest_value, 0, UINT32_MAX, true },
    { "error", do_error, 1, 1, false },
#ifdef KV_FAULTS
    { "fault", do_fault, 0, 1, false },
#endif
    { "help", do_help, 0, 0, false },
    { "htstats", do_htstats, 1, 1, true },
    { "htstats-key", do_htstats_key, 1, 1, true },
    { "listpack", do_listpack, 1, 1, true },
    { "loadaof", do_loadaof, 0, UINT32_MAX, true },
    { "log", do_log, 1, 1, false },
    { "mallctl", do_mallctl, 1, 2, false },
    { "mallctl-str", do_mallctl_str, 1, 2, false },
    { "object", do_object, 1, 1, true },
    { "oom", do_oom, 0, UINT32_MAX, false },
    { "panic", do_panic, 0, UINT32_MAX, false },
    { "pause-cron", do_pause_cron, 1, 1, false },
    { "populate", do_populate, 1, 3, true },
    { "protocol", do_protocol, 1, 1, false },
    { "quicklist", do_quicklist, 1, 2, true },
    { "quicklist-packed-threshold", do_packed_threshold, 1, 1, false },
    { "reload", do_reload, 0, UINT32_MAX, true },
    { "replybuffer", do_replybuffer, 2, 2, false },
    { "segfault", do_segfault, 0, UINT32_MAX, false },
    { "set-active-expire", do_set_active_expire, 1, 1, false },
    { "set-disable-deny-scripts", do_set_disable_deny_scripts, 1, 1, false },
    { "set-skip-checksum-validation", do_nothing, 1, 1, false },
    { "sleep", do_sleep, 1, 1, false },
};

static void do_help(struct call *c)
{
    static const char *const lines[] = {
        "AOF-FLUSH-SLEEP <microsec>",
        "    Wait so long before each group of the log is written.",
        "ASSERT",
        "    Crash by assertion failed.",
        "DIGEST",
        "    Output a hex signature representing the current DB content.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    Output a hex signature of the values of all the specified keys.",
        "ERROR <string>",
        "    Return a protocol error with <string> as message.",
        "HTSTATS <dbid>",
        "    Return statistics of the tables of the specified database.",
        "LISTPACK <key>",
        "    Write the layout of the listpack at <key> to the log.",
        "LOADAOF",
        "    Make the log durable, empty the keyspace and load it from the log.",
        "LOG <message>",
        "    Write <message> to the server log.",
        "MALLCTL <key> [<val>]",
        "    Get or set a malloc tuning integer.",
        "MALLCTL-STR <key> [<val>]",
        "    Get or set a malloc tuning string.",
        "OBJECT <key>",
        "    Show low level info about `key` and associated value.",
        "OOM",
        "    End the server as if there were no memory.",
        "PANIC",
        "    Crash the server simulating a panic.",
        "PAUSE-CRON <0|1>",
        "    Stop looking after idle clients.",
        "POPULATE <count> [<prefix>] [<size>]",
        "    Create <count> string keys named key:<num>, or <prefix>:<num>.",
        "PROTOCOL <type>",
        "    Reply with a test value: string, integer, double, bignum, null, array, set, map,",
        "    attrib, push, verbatim, true, false.",
        "QUICKLIST <key> [<0|1>]",
        "    Write the layout of the list at <key> to the log.",
        "RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
        "    Empty the keyspace and load it from the log; the options change nothing.",
        "SEGFAULT",
        "    Crash the server with sigsegv.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    0: expired keys are deleted when they are accessed, and not before.",
        "SLEEP <seconds>",
        "    Stop the server for <seconds>. Decimals allowed.",
        NULL,
    };
    reply_help(c, lines);
}

static bool allowed(struct call *c)
{
    int64_t who = option_int(&server_of(c)->opt.enable_debug_command);
    if (who == PROTECT_YES || (who == PROTECT_LOCAL && session_is_local(c->session))) {
        return true;
    }
    reply_error(c,
                "ERR DEBUG command not allowed. If the enable-debug-command option is set to "
                "\"local\", you can run it from a local connection, otherwise you need to set this "
                "option in the configuration file, and then restart the server.");
    return false;
}

static void cmd_debug(struct call *c)
{
    if (!allowed(c)) {
        return;
    }
    for (unsigned i = 0; i < countof(words); i++) {
        const struct debug_word *w = &words[i];
        if (arg_is(c, 1, w->word) && c->argc - 2 >= w->min && c->argc - 2 <= w->max) {
            struct load_progress load;
            exec_load_progress(c->x, &load);
            if (w->keys && load.loading) {
                reply_error(c, "LOADING Redis is loading the dataset in memory");
            } else {
                w->run(c);
            }
            return;
        }
    }
    reply_errorf(c,
                 "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try DEBUG HELP.",
                 (int)size_min(c->argv[1].n, 128), c->argv[1].p);
}

const struct command debug_commands[] = {
    { .name = "debug",
      .proc = cmd_debug,
      .arity = -2,
      .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_EXCLUSIVE | CMD_SYSCMD |
               CMD_ANY_KEY,
      .group = "server",
      .since = "1.0.0",
      .complexity = "Depends on subcommand.",
      .summary = "A container for debugging commands" },
    { .name = NULL },
};
