/* directives.c -- The directives that belong to the process as a whole.
 * SPDX-License-Identifier: BSD-3-Clause
 * THREADS  set and get as option.h says; apply functions in an exclusive section. */
#include "server/config_int.h"
#include "server/server_int.h"
#include "base/log.h"
#include "base/mem.h"
#include <syslog.h>

#define AT(field) .offset = offsetof(struct server_options, field)

/* ---- Word lists: bind, rename-command ---- */

static void words_set(struct slice **list, unsigned *n, const struct slice *argv, unsigned argc)
{
    for (unsigned i = 0; i < *n; i++) {
        mem_free((void *)(uintptr_t)(*list)[i].p);
    }
    mem_free(*list);
    *list = mem_alloc((argc + 1) * sizeof **list);
    for (unsigned i = 0; i < argc; i++) {
        (*list)[i] = slice_of(mem_dup(argv[i].p, argv[i].n), argv[i].n);
    }
    *n = argc;
}

static void words_get(const struct slice *list, unsigned n, struct buf *out)
{
    for (unsigned i = 0; i < n; i++) {
        buf_add_str(out, i > 0 ? " " : "");
        config_add_word(out, list[i]);
    }
}

static bool bind_set(void *base, const struct slice *argv, unsigned argc, const char **error)
{
    struct server_options *o = base;
    if (argc > BIND_MAX) {
        *error = "Too many bind addresses specified.";
        return false;
    }
    if (argc == 1 && argv[0].n == 0) {
        argc = 0;
    }
    words_set(&o->bind, &o->nbind, argv, argc);
    return true;
}

static void bind_get(void *base, struct buf *out)
{
    struct server_options *o = base;
    words_get(o->bind, o->nbind, out);
}

static bool rename_set(void *base, const struct slice *argv, unsigned argc, const char **error)
{
    struct server_options *o = base;
    if (argc % 2 != 0) {
        *error = "wrong number of arguments";
        return false;
    }
    words_set(&o->renames, &o->nrenames, argv, argc);
    return true;
}

static void rename_get(void *base, struct buf *out)
{
    struct server_options *o = base;
    words_get(o->renames, o->nrenames, out);
}

/* ---- save: pairs of seconds and changes; "" for none ---- */

/* COMPAT: a pair twice is there once. CONFIG REWRITE writes those of an included file into the main
 * one, too: with each such start there would be more, up to too many. */
static bool save_has(const struct save_rule *rule, unsigned n, const struct save_rule *wanted)
{
    for (unsigned i = 0; i < n; i++) {
        if (rule[i].seconds == wanted->seconds && rule[i].changes == wanted->changes) {
            return true;
        }
    }
    return false;
}

static bool save_set(void *base, const struct slice *argv, unsigned argc, const char **error)
{
    struct server_options *o = base;
    if (argc == 0 || (argc == 1 && argv[0].n == 0)) {
        o->nsave = 0;
        return true;
    }
    *error = "Invalid save parameters";
    if (argc % 2 != 0) {
        return false;
    }
    struct save_rule all[countof(o->save)], one;
    unsigned n = 0;
    for (unsigned i = 0; i < argc; i += 2) {
        if (!parse_i64(argv[i], &one.seconds) || one.seconds < 1 || one.seconds > INT32_MAX ||
            !parse_i64(argv[i + 1], &one.changes) || one.changes < 0 || one.changes > INT32_MAX) {
            return false;
        }
        if (save_has(all, n, &one)) {
            continue;
        }
        if (n == countof(all)) {
            return false;
        }
        all[n++] = one;
    }
    memcpy(o->save, all, n * sizeof all[0]);
    o->nsave = n;
    return true;
}

static void save_get(void *base, struct buf *out)
{
    struct server_options *o = base;
    for (unsigned i = 0; i < o->nsave; i++) {
        buf_printf(out, "%s%lld %lld", i > 0 ? " " : "", (long long)o->save[i].seconds,
                   (long long)o->save[i].changes);
    }
}

/* ---- What promises something that is not built refuses ---- */

static bool refuse_set(void *base, const struct slice *argv, unsigned argc, const char **error)
{
    (void)base;
    if (argc == 0 || (argc == 1 && (argv[0].n == 0 || slice_is(argv[0], "no"))) ||
        (argc == 2 && slice_is(argv[0], "no") && slice_is(argv[1], "one"))) {
        return true;
    }
    *error = "this kv cannot do that yet; it refuses to start rather than ignore the directive";
    return false;
}

static void no_get(void *base, struct buf *out)
{
    (void)base;
    buf_add_str(out, "no");
}

static void empty_get(void *base, struct buf *out)
{
    (void)base;
    (void)out;
}

static struct server *server_from(void *base)
{
    return container_of((struct server_options *)base, struct server, opt);
}

/* Text of an apply function's error: one at a time, in an exclusive section. */
static const char *explained(struct server *s, const char *why, const struct buf *detail)
{
    log_warning("CONFIG SET: %.*s", (int)detail->n, detail->p);
    s->apply_error[0] = '\0';
    strncat(s->apply_error, why, sizeof s->apply_error - 1);
    return s->apply_error;
}

/* Rules for snapshots beside no log would promise what nothing keeps. */
const char *server_save_problem(const struct server *s)
{
    return s->opt.nsave > 0 && !option_int(&s->opt.appendonly)
               ? "this version writes no snapshots, so with appendonly no nothing would be saved; "
                 "use save \"\""
               : NULL;
}

static bool apply_save(void *base, const char **error)
{
    const char *why = server_save_problem(server_from(base));
    if (why != NULL) {
        *error = why;
    }
    return why == NULL;
}

static bool load_tls(struct server *s, const struct tls_config *tls, const char **error)
{
    struct buf detail = { 0 };
    bool ok = net_set_tls(s->net, tls, &detail) == 0;
    if (ok) {
        s->tls_loaded = true;
    } else {
        *error = explained(s, "Unable to update TLS configuration. Check server logs.", &detail);
    }
    buf_free(&detail);
    return ok;
}

/* Certificates that were loaded stay: their files may be on the way to be others. What is open and
 * wanted stays open. */
static bool listen_anew(struct server *s, const char *refused, const char **error)
{
    struct net_config nc;
    struct tls_config tls;
    const char *bind[BIND_MAX];
    struct buf detail = { 0 };
    server_fill_listen(s, &nc, bind, &tls);
    if (s->net == NULL) {
        return true;
    }
    bool ok = nc.tls_port == 0 || s->tls_loaded || load_tls(s, &tls, error);
    if (ok && net_set_listen(s->net, &nc, &detail) != 0) {
        *error = explained(s, refused, &detail);
        ok = false;
    }
    buf_free(&detail);
    process_title_set(s);
    return ok;
}

static bool apply_listen(void *base, const char **error)
{
    return listen_anew(server_from(base),
                       "Unable to listen on this port. Check server logs for details.", error);
}

static bool apply_bind(void *base, const char **error)
{
    return listen_anew(server_from(base), "Failed to bind to specified addresses.", error);
}

/* Without a TLS port they are loaded when there is one. */
static bool apply_tls(void *base, const char **error)
{
    struct server *s = server_from(base);
    struct net_config nc;
    struct tls_config tls;
    const char *bind[BIND_MAX];
    server_fill_listen(s, &nc, bind, &tls);
    if (s->net == NULL || nc.tls_port == 0) {
        s->tls_loaded = false;
        return true;
    }
    return load_tls(s, &tls, error);
}

static bool apply_title(void *base, const char **error)
{
    struct server *s = server_from(base);
    struct buf title = { 0 };
    bool ok = process_title_make(s, &title);
    buf_free(&title);
    if (!ok) {
        *error = "template format is invalid or contains unknown variables";
        return false;
    }
    process_title_set(s);
    return true;
}

static bool apply_dir(void *base, const char **error)
{
    struct server *s = server_from(base);
    if (s->wal != NULL || log_change_busy(s)) {
        *error = "the log is in the present one, and stays there while it is on";
        return false;
    }
    return server_enter_dir(s, error);
}

static bool apply_loglevel(void *base, const char **error)
{
    (void)error;
    log_set_level((enum log_level)option_int(&((struct server_options *)base)->loglevel));
    return true;
}

static const struct option_name levels[] = {
    { "debug", LOG_DEBUG_ },     { "verbose", LOG_VERBOSE_ }, { "notice", LOG_NOTICE_ },
    { "warning", LOG_WARNING_ }, { "nothing", LOG_NOTHING_ }, { NULL, 0 }
};
static const struct option_name syncs[] = { { "everysec", WAL_SYNC_EVERYSEC },
                                            { "always", WAL_SYNC_ALWAYS },
                                            { "no", WAL_SYNC_NO },
                                            { NULL, 0 } };
static const struct option_name protects[] = {
    { "no", PROTECT_NO }, { "yes", PROTECT_YES }, { "local", PROTECT_LOCAL }, { NULL, 0 }
};
static const struct option_name auth_clients[] = {
    { "no", 0 }, { "yes", 1 }, { "optional", 2 }, { NULL, 0 }
};
static const struct option_name supervisors[] = { { "upstart", SUPERVISED_UPSTART },
                                                  { "systemd", SUPERVISED_SYSTEMD },
                                                  { "auto", SUPERVISED_AUTO },
                                                  { "no", SUPERVISED_NO },
                                                  { NULL, 0 } };
static const struct option_name facilities[] = { { "user", LOG_USER },     { "local0", LOG_LOCAL0 },
                                                 { "local1", LOG_LOCAL1 }, { "local2", LOG_LOCAL2 },
                                                 { "local3", LOG_LOCAL3 }, { "local4", LOG_LOCAL4 },
                                                 { "local5", LOG_LOCAL5 }, { "local6", LOG_LOCAL6 },
                                                 { "local7", LOG_LOCAL7 }, { NULL, 0 } };
static bool shutdown_check(struct slice text, const char **error)
{
    struct slice both = S("save nosave");
    if (text.n >= both.n && slice_eq(slice_of(text.p, both.n), both)) {
        *error = "shutdown options SAVE and NOSAVE can't be used simultaneously";
        return false;
    }
    return true;
}

static const struct option_name shutdowns[] = { { "default", 0 }, { "save", 1 },  { "nosave", 2 },
                                                { "now", 4 },     { "force", 8 }, { NULL, 0 } };

const struct option server_option_table[] = {
    { .name = "threads",
      .kind = OPT_INT,
      .flags = OPTF_IMMUTABLE | OPTF_OWN,
      AT(threads),
      .min = 0,
      .max = 64,
      .def = "0",
      .doc = "Threads that serve clients; 0: one per core. No more than there are cores get any." },
    { .name = "shards",
      .kind = OPT_INT,
      .flags = OPTF_IMMUTABLE | OPTF_OWN,
      AT(shards),
      .min = 1,
      .max = 65536,
      .def = "1024",
      .doc = "Slices of the keyspace, each with a lock of its own; a power of two." },
    { .name = "databases",
      .kind = OPT_INT,
      .flags = OPTF_IMMUTABLE,
      AT(databases),
      .min = 1,
      .max = 16384,
      .def = "16",
      .doc = "Databases that SELECT can choose." },
    { .name = "bind",
      .kind = OPT_CUSTOM,
      .set = bind_set,
      .get = bind_get,
      .def = "* -::*",
      .apply = apply_bind,
      .doc = "Addresses to listen on; a leading '-' means that it may be missing." },
    { .name = "port",
      .kind = OPT_INT,
      AT(port),
      .min = 0,
      .max = 65535,
      .def = "6379",
      .apply = apply_listen,
      .doc = "TCP port; 0: none." },
    { .name = "tcp-backlog",
      .kind = OPT_INT,
      .flags = OPTF_IMMUTABLE,
      AT(tcp_backlog),
      .min = 0,
      .max = INT32_MAX,
      .def = "511",
      .doc = "Connections the kernel queues before they are accepted." },
    { .name = "unixsocket",
      .kind = OPT_STRING,
      .flags = OPTF_IMMUTABLE,
      AT(unixsocket),
      .def = "",
      .doc = "Path of a Unix socket to listen on." },
    { .name = "unixsocketperm",
      .kind = OPT_OCTAL,
      .flags = OPTF_IMMUTABLE,
      AT(unixsocketperm),
      .min = 0,
      .max = 0777,
      .def = "0",
      .doc = "Its permissions, octal; 0: as the umask says." },
    { .name = "dir",
      .kind = OPT_STRING,
      .flags = OPTF_PROTECTED,
      AT(dir),
      .def = ".",
      .apply = apply_dir,
      .doc = "Data directory: the log lives in dir/wal." },
    { .name = "appendonly",
      .kind = OPT_BOOL,
      AT(appendonly),
      .def = "yes",
      .apply = apply_save,
      .doc = "Keep the log. no: everything is lost when the process ends." },
    { .name = "appendfsync",
      .kind = OPT_ENUM,
      AT(appendfsync),
      .names = syncs,
      .def = "always",
      .doc = "always: a write is acknowledged when it is on disk. everysec: at once, synced each "
             "second (a crash of the machine may\ntake back about one second). no: at once, when "
             "the kernel likes." },
    { .name = "wal-segment-size",
      .kind = OPT_MEMORY,
      .flags = OPTF_IMMUTABLE | OPTF_OWN,
      AT(wal_segment_size),
      .min = 1 << 20,
      .max = INT64_C(1) << 40,
      .def = "64mb",
      .doc = "Size of one file of the log." },
    { .name = "wal-depth",
      .kind = OPT_INT,
      .flags = OPTF_IMMUTABLE | OPTF_OWN,
      AT(wal_depth),
      .min = 1,
      .max = 4,
      .def = "2",
      .doc = "Groups of commands written to disk at the same time." },
    { .name = "wal-direct-io",
      .kind = OPT_BOOL,
      .flags = OPTF_IMMUTABLE | OPTF_OWN,
      AT(wal_direct_io),
      .def = "yes",
      .doc =
          "Write the log past the page cache where the file system can; no: write and fdatasync." },
    { .name = "wal-queue-size",
      .kind = OPT_MEMORY,
      .flags = OPTF_IMMUTABLE | OPTF_OWN,
      AT(wal_queue),
      .min = 1 << 20,
      .max = INT64_C(1) << 36,
      .def = "64mb",
      .doc = "Bytes that may wait for the disk before clients are read more slowly." },
    { .name = "daemonize",
      .kind = OPT_BOOL,
      .flags = OPTF_IMMUTABLE,
      AT(daemonize),
      .def = "no",
      .doc = "Run in the background." },
    { .name = "supervised",
      .kind = OPT_ENUM,
      .flags = OPTF_IMMUTABLE,
      AT(supervised),
      .names = supervisors,
      .def = "no",
      .doc = "Tell a supervisor when the server is ready: no, systemd, upstart, auto." },
    { .name = "pidfile",
      .kind = OPT_STRING,
      .flags = OPTF_IMMUTABLE,
      AT(pidfile),
      .def = "",
      .doc = "File that holds the process id." },
    { .name = "loglevel",
      .kind = OPT_ENUM,
      AT(loglevel),
      .names = levels,
      .def = "notice",
      .apply = apply_loglevel,
      .doc = "debug, verbose, notice, warning, nothing." },
    { .name = "logfile",
      .kind = OPT_STRING,
      .flags = OPTF_IMMUTABLE,
      AT(logfile),
      .def = "",
      .doc = "File of the log lines; empty: standard output." },
    { .name = "syslog-enabled",
      .kind = OPT_BOOL,
      .flags = OPTF_IMMUTABLE,
      AT(syslog_enabled),
      .def = "no",
      .doc = "Log to syslog too." },
    { .name = "syslog-ident",
      .kind = OPT_STRING,
      .flags = OPTF_IMMUTABLE,
      AT(syslog_ident),
      .def = "redis",
      .doc = "Identity in syslog." },
    { .name = "syslog-facility",
      .kind = OPT_ENUM,
      .flags = OPTF_IMMUTABLE,
      AT(syslog_facility),
      .names = facilities,
      .def = "local0",
      .doc = "USER or LOCAL0 to LOCAL7." },
    { .name = "set-proc-title",
      .kind = OPT_BOOL,
      .flags = OPTF_IMMUTABLE,
      AT(set_proc_title),
      .def = "yes",
      .doc = "Show address and mode in the process list." },
    { .name = "proc-title-template",
      .kind = OPT_STRING,
      AT(proc_title_template),
      .def = "{title} {listen-addr} {server-mode}",
      .apply = apply_title,
      .doc = "How." },
    { .name = "shutdown-timeout",
      .kind = OPT_INT,
      AT(shutdown_timeout),
      .min = 0,
      .max = INT32_MAX,
      .def = "10",
      .doc = "Seconds a shutdown waits for replicas." },
    { .name = "shutdown-on-sigterm",
      .kind = OPT_FLAGS,
      AT(shutdown_on_sigterm),
      .names = shutdowns,
      .check = shutdown_check,
      .def = "default",
      .doc = "How SIGTERM shuts down." },
    { .name = "shutdown-on-sigint",
      .kind = OPT_FLAGS,
      AT(shutdown_on_sigint),
      .names = shutdowns,
      .check = shutdown_check,
      .def = "default",
      .doc = "How SIGINT shuts down." },
    { .name = "crash-log-enabled",
      .kind = OPT_BOOL,
      AT(crash_log),
      .def = "yes",
      .doc = "Log a report when the process crashes." },
    { .name = "always-show-logo",
      .kind = OPT_BOOL,
      .flags = OPTF_IMMUTABLE,
      AT(always_show_logo),
      .def = "no",
      .doc = "Greet in the log." },
    { .name = "save",
      .kind = OPT_CUSTOM,
      .flags = OPTF_MULTI,
      .set = save_set,
      .get = save_get,
      .def = "",
      .apply = apply_save,
      .doc =
          "Snapshot after so many seconds if so many keys changed; pairs. Kept and reported: the "
          "log makes every\nwrite durable, and this version writes no snapshots." },
    { .name = "dbfilename",
      .kind = OPT_STRING,
      .flags = OPTF_PROTECTED,
      AT(dbfilename),
      .def = "dump.rdb",
      .doc = "Name of snapshot files." },
    { .name = "rename-command",
      .kind = OPT_CUSTOM,
      .flags = OPTF_MULTI | OPTF_IMMUTABLE | OPTF_HIDDEN,
      .set = rename_set,
      .get = rename_get,
      .def = "",
      .doc = "Give a command another name, or \"\" to remove it." },
    { .name = "enable-protected-configs",
      .kind = OPT_ENUM,
      .flags = OPTF_IMMUTABLE,
      AT(enable_protected_configs),
      .names = protects,
      .def = "no",
      .doc = "Who may change dir and dbfilename at run time: no, local, yes." },
    { .name = "enable-debug-command",
      .kind = OPT_ENUM,
      .flags = OPTF_IMMUTABLE,
      AT(enable_debug_command),
      .names = protects,
      .def = "no",
      .doc = "Who may use DEBUG: no, local, yes." },
    { .name = "enable-module-command",
      .kind = OPT_ENUM,
      .flags = OPTF_IMMUTABLE,
      AT(enable_module_command),
      .names = protects,
      .def = "no",
      .doc = "Who may use MODULE: there are none to load." },
    { .name = "cluster-enabled",
      .kind = OPT_CUSTOM,
      .flags = OPTF_IMMUTABLE,
      .set = refuse_set,
      .get = no_get,
      .def = "no",
      .doc = "Cluster mode: not yet." },
    { .name = "loadmodule",
      .kind = OPT_CUSTOM,
      .flags = OPTF_IMMUTABLE | OPTF_HIDDEN,
      .set = refuse_set,
      .get = empty_get,
      .def = "",
      .doc = "Modules: kv loads none." },
    { .name = "aof-load-truncated",
      .kind = OPT_BOOL,
      AT(aof_load_truncated),
      .def = "yes",
      .doc =
          "A log whose last write was torn is cut there: it was never acknowledged. no: refuse to "
          "start instead." },
    { .name = "replicaof",
      .alias = "slaveof",
      .kind = OPT_CUSTOM,
      .flags = OPTF_IMMUTABLE,
      .set = refuse_set,
      .get = empty_get,
      .def = "",
      .doc = "Replication: not yet." },
    { .name = "tls-port",
      .kind = OPT_INT,
      AT(tls_port),
      .min = 0,
      .max = 65535,
      .def = "0",
      .apply = apply_listen,
      .doc = "TLS port; 0: none." },
    { .name = "tls-cert-file",
      .kind = OPT_STRING,
      AT(tls_cert_file),
      .def = "",
      .apply = apply_tls,
      .doc = "Certificate of the server (PEM)." },
    { .name = "tls-key-file",
      .kind = OPT_STRING,
      AT(tls_key_file),
      .def = "",
      .apply = apply_tls,
      .doc = "Its private key." },
    { .name = "tls-key-file-pass",
      .kind = OPT_STRING,
      .flags = OPTF_SENSITIVE,
      AT(tls_key_file_pass),
      .def = "",
      .apply = apply_tls,
      .doc = "Pass phrase of that key." },
    { .name = "tls-client-cert-file",
      .kind = OPT_STRING,
      AT(tls_client_cert_file),
      .def = "",
      .apply = apply_tls,
      .doc = "Certificate when the server is a client." },
    { .name = "tls-client-key-file",
      .kind = OPT_STRING,
      AT(tls_client_key_file),
      .def = "",
      .apply = apply_tls,
      .doc = "Its private key." },
    { .name = "tls-client-key-file-pass",
      .kind = OPT_STRING,
      .flags = OPTF_SENSITIVE,
      AT(tls_client_key_file_pass),
      .def = "",
      .apply = apply_tls,
      .doc = "Pass phrase of that key." },
    { .name = "tls-dh-params-file",
      .kind = OPT_STRING,
      AT(tls_dh_params_file),
      .def = "",
      .apply = apply_tls,
      .doc = "Diffie-Hellman parameters." },
    { .name = "tls-ca-cert-file",
      .kind = OPT_STRING,
      AT(tls_ca_cert_file),
      .def = "",
      .apply = apply_tls,
      .doc = "Certificate authorities that clients may come from." },
    { .name = "tls-ca-cert-dir",
      .kind = OPT_STRING,
      AT(tls_ca_cert_dir),
      .def = "",
      .apply = apply_tls,
      .doc = "A directory of them." },
    { .name = "tls-auth-clients",
      .kind = OPT_ENUM,
      AT(tls_auth_clients),
      .names = auth_clients,
      .def = "yes",
      .apply = apply_tls,
      .doc = "Must clients show a certificate: yes, no, optional." },
    { .name = "tls-protocols",
      .kind = OPT_STRING,
      AT(tls_protocols),
      .def = "",
      .apply = apply_tls,
      .doc = "For example \"TLSv1.2 TLSv1.3\"." },
    { .name = "tls-ciphers",
      .kind = OPT_STRING,
      AT(tls_ciphers),
      .def = "",
      .apply = apply_tls,
      .doc = "Ciphers up to TLS 1.2." },
    { .name = "tls-ciphersuites",
      .kind = OPT_STRING,
      AT(tls_ciphersuites),
      .def = "",
      .apply = apply_tls,
      .doc = "Ciphers of TLS 1.3." },
    { .name = "tls-prefer-server-ciphers",
      .kind = OPT_BOOL,
      AT(tls_prefer_server_ciphers),
      .def = "no",
      .apply = apply_tls,
      .doc = "The server's order of ciphers wins." },
    { .name = "tls-session-caching",
      .kind = OPT_BOOL,
      AT(tls_session_caching),
      .def = "yes",
      .apply = apply_tls,
      .doc = "Let clients resume sessions." },
    { .name = "tls-session-cache-size",
      .kind = OPT_INT,
      AT(tls_session_cache_size),
      .min = 0,
      .max = INT32_MAX,
      .def = "20480",
      .apply = apply_tls,
      .doc = "Sessions kept." },
    { .name = "tls-session-cache-timeout",
      .kind = OPT_INT,
      AT(tls_session_cache_timeout),
      .min = 0,
      .max = INT32_MAX,
      .def = "300",
      .apply = apply_tls,
      .doc = "Seconds they are kept." },
    { .name = NULL },
};
