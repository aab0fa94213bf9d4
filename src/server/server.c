/* server.c -- Composes the layers and runs the process: start order, signals, stop order.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * START    directives -> log, limits -> keyspace, engine -> log classified (refused here, before a
 *          port is open) -> port open, pid file -> replay -> log threads -> serving. Clients wait
 *          for that up to a second, then they hear -LOADING. A test container that waits for "Ready
 *          to accept connections" sees it last.
 * STOP     network down (what is released still leaves) -> log finished and synced -> exit 0. A
 *          second SIGINT exits 1 at once.
 * THREADS  The main thread waits for signals, and takes samples for INFO meanwhile. */
#include "server/server_int.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "commands/commands.h"
#include "script/script.h"
#include <errno.h>
#include <limits.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#define PATIENCE_MS 1000 /* clients wait so long before they hear LOADING */

const struct command *const server_families[] = { server_commands,
                                                  config_commands,
                                                  command_commands,
                                                  debug_commands,
                                                  memory_commands,
                                                  wait_commands,
                                                  NULL };

static struct server *the_server; /* set once in server_new(), before any thread */

struct server *server_of(const struct call *c)
{
    (void)c;
    return the_server;
}

struct server *server_of_exec(struct exec *x)
{
    (void)x;
    return the_server;
}

struct server *server_new(void)
{
    struct server *s = mem_calloc(sizeof *s);
    s->config = config_new();
    config_bind(s->config, server_option_table, &s->opt);
    config_bind(s->config, stored_option_table, &s->stored);
    rng_hex(s->run_id, 40);
    s->start_ms = clock_wall_ms();
    the_server = s;
    ssize_t n = readlink("/proc/self/exe", s->executable, sizeof s->executable - 1);
    s->executable[n > 0 ? n : 0] = '\0';
    /* The engine's options must exist before files are read; its size depends on `threads`, so it
     * lives apart from the engine until then. */
    config_bind(s->config, exec_option_table, &s->exec_opt);
    return s;
}

/* ---- The process ---- */

static unsigned thread_count(const struct server *s)
{
    int64_t n = option_int(&s->opt.threads);
    if (n == 0) {
        n = net_processors();
    }
    return (unsigned)(n < 1 ? 1 : n > 64 ? 64 : n);
}

/* ---- Composition ---- */

static int start_store(struct server *s, unsigned threads)
{
    int64_t shards = option_int(&s->opt.shards);
    if ((shards & (shards - 1)) != 0) {
        log_warning("shards must be a power of two");
        return -EINVAL;
    }
    struct keyspace_config kc = { .shards = (unsigned)shards,
                                  .databases = (unsigned)option_int(&s->opt.databases),
                                  .retire = exec_retire_of_server };
    int rc = keyspace_new(&s->ks, &kc);
    if (rc != 0) {
        return rc;
    }
    struct exec_config ec = { .ks = s->ks, .reactors = threads };
    rc = exec_new(&s->x, &ec);
    if (rc != 0) {
        return rc;
    }
    atomic_store(&s->engine_made, true);
    exec_adopt_options(s->x, &s->exec_opt);
    config_rebind(s->config, &s->exec_opt, exec_options(s->x));
    for (const struct command *const *f = command_families; *f != NULL; f++) {
        exec_register(s->x, *f);
    }
    for (const struct command *const *f = server_families; *f != NULL; f++) {
        exec_register(s->x, *f);
    }
    exec_register(s->x, script_commands);
    s->scripts = script_new(s->x);
    for (unsigned i = 0; i + 1 < s->opt.nrenames; i += 2) {
        if (!exec_rename_command(s->x, s->opt.renames[i], s->opt.renames[i + 1])) {
            log_warning("No such command in rename-command, or the new name exists: %.*s",
                        (int)s->opt.renames[i].n, s->opt.renames[i].p);
            return -EINVAL;
        }
    }
    exec_prepare(s->x);
    exec_options_started(s->x);
    struct buf error = { 0 };
    bool users = exec_load_users(s->x, &error);
    if (!users) {
        log_warning("Users can't be loaded: %.*s", (int)error.n, error.p);
    }
    buf_free(&error);
    return users ? 0 : -EINVAL;
}

void exec_retire_of_server(void *arg, void *p, void (*free_fn)(void *p))
{
    (void)arg;
    if (the_server->x == NULL) {
        free_fn(p);
        return;
    }
    exec_retire(the_server->x, p, free_fn);
}

static void fill_tls(struct server *s, struct tls_config *t)
{
    struct server_options *o = &s->opt;
    *t = (struct tls_config){ .cert_file = o->tls_cert_file,
                              .key_file = o->tls_key_file,
                              .key_file_pass = o->tls_key_file_pass,
                              .client_cert_file = o->tls_client_cert_file,
                              .client_key_file = o->tls_client_key_file,
                              .dh_params_file = o->tls_dh_params_file,
                              .ca_cert_file = o->tls_ca_cert_file,
                              .ca_cert_dir = o->tls_ca_cert_dir,
                              .protocols = o->tls_protocols,
                              .ciphers = o->tls_ciphers,
                              .ciphersuites = o->tls_ciphersuites,
                              .auth_clients = (int)option_int(&o->tls_auth_clients),
                              .prefer_server_ciphers =
                                  option_int(&o->tls_prefer_server_ciphers) != 0,
                              .session_caching = option_int(&o->tls_session_caching) != 0,
                              .session_cache_size = (int)option_int(&o->tls_session_cache_size),
                              .session_cache_timeout =
                                  (int)option_int(&o->tls_session_cache_timeout) };
}

/* `bind ""` listens on no address. */
#ifdef KV_FAULTS /* tests look for interleavings, on machines of any size */
#define PROCESSORS 0
#else
#define PROCESSORS net_processors()
#endif

void server_fill_listen(struct server *s, struct net_config *nc, const char *bind[BIND_MAX],
                        struct tls_config *tls)
{
    bool any = s->opt.nbind > 0;
    for (unsigned i = 0; i < s->opt.nbind; i++) {
        bind[i] = s->opt.bind[i].p;
    }
    fill_tls(s, tls);
    *nc =
        (struct net_config){ .threads = exec_reactors(s->x),
                             .processors = PROCESSORS,
                             .bind = bind,
                             .nbind = s->opt.nbind,
                             .port = any ? (int)option_int(&s->opt.port) : 0,
                             .tls_port = any ? (int)option_int(&s->opt.tls_port) : 0,
                             .unixsocket = s->opt.unixsocket[0] != '\0' ? s->opt.unixsocket : NULL,
                             .unixsocketperm = (unsigned)option_int(&s->opt.unixsocketperm),
                             .backlog = (int)option_int(&s->opt.tcp_backlog),
                             .maxclients = (unsigned)option_int(&exec_options(s->x)->maxclients),
                             .keepalive_s =
                                 (unsigned)option_int(&exec_options(s->x)->tcp_keepalive),
                             .tls = any && option_int(&s->opt.tls_port) != 0 ? tls : NULL,
                             .scratch_bytes = 65536 };
}

static void tell_running(struct server *s)
{
    log_notice("Running mode=standalone, port=%lld.", (long long)option_int(&s->opt.port));
    if (option_int(&s->opt.always_show_logo)) { /* who starts Redis looks for it in the logo */
        log_notice("kv %s, Port: %lld, PID: %ld", KV_VERSION, (long long)option_int(&s->opt.port),
                   (long)getpid());
    }
    log_notice("Server initialized");
    log_durability(s);
    if (s->opt.nsave > 0) {
        log_notice("save is set: the log makes every write durable; this version writes no "
                   "snapshots.");
    }
}

/* The main thread stops in order; done before, it changes nothing. */
static void ask_to_stop(void *server unused_arg)
{
    kill(getpid(), SIGUSR2); /* to the thread of signals, as SHUTDOWN does */
}

/* With a log to load: who connects waits, as with Redis, unless that takes long. Most logs are
 * loaded by then, and nobody hears LOADING of them. */
static int start_net(struct server *s, bool loads)
{
    struct net_upcalls up;
    struct net_config nc;
    struct tls_config tls;
    const char *bind[BIND_MAX];
    exec_net_upcalls(s->x, &up);
    server_fill_listen(s, &nc, bind, &tls);
    nc.accept_after_ms = !loads || fault("server.accept_at_once") != 0 ? 0
                         : fault("server.accept_late") != 0            ? 60 * PATIENCE_MS
                                                                       : PATIENCE_MS;
    struct buf error = { 0 };
    int rc = net_open(&s->net, &nc, &up, &error);
    if (rc != 0) {
        log_warning("%.*s", (int)error.n, error.p);
        buf_free(&error);
        return rc;
    }
    s->tls_loaded = nc.tls != NULL;
    atomic_store(&s->listening, true);
    process_pidfile_write(s);
    exec_set_net(s->x, s->net);
    exec_set_leave(s->x, ask_to_stop, process_leave, s);
    tell_running(s); /* from then on directives change */
    return net_start(s->net);
}

/* ---- Running ---- */

static int stop(struct server *s)
{
    process_tell_stopping(s);
    atomic_store(&s->stopping, true);
    /* A signal: else a script without an end would go on, and so would a change of the log that
     * waits for it. */
    if (exec_shutdown_requested(s->x) < 0) {
        exec_shutdown_request(s->x, EXEC_ENDS);
    }
    log_change_join(s);
    exec_files_stop(s->x);
    net_stop(s->net);
    atomic_store(&s->listening, false);
    int rc = 0;
    if (s->wal != NULL) {
        log_notice("Finishing the log before exiting.");
        rc = wal_stop(s->wal);
        if (rc != 0) {
            log_warning("The log could not be finished: %s", strerror(-rc));
        }
    }
    process_pidfile_remove(s);
    log_warning("kv is now ready to exit, bye bye...");
    return rc == 0 ? 0 : EXIT_WAL;
}

bool server_enter_dir(struct server *s, const char **error)
{
    char full[PATH_MAX];
    if (chdir(s->opt.dir) != 0 || getcwd(full, sizeof full) == NULL) {
        *error = strerror(errno);
        return false;
    }
    mem_free(s->opt.dir);
    s->opt.dir = mem_strdup(full);
    return true;
}

/* `dir` comes first: the names of the log file and of the pid file are relative to it. */
static int prepare_process(struct server *s)
{
    const char *error;
    log_set_level((enum log_level)option_int(&s->opt.loglevel));
    if (!server_enter_dir(s, &error)) {
        fprintf(stderr, "Can't chdir to '%s': %s\n", s->opt.dir, error);
        return -ENOENT;
    }
    bool background = process_in_background(s);
    if (background) {
        process_daemonize();
    }
    if (option_int(&s->opt.syslog_enabled)) {
        log_set_syslog(true, s->opt.syslog_ident, (int)option_int(&s->opt.syslog_facility));
    }
    int rc = log_open(s->opt.logfile, background);
    if (rc != 0) {
        fprintf(stderr, "Can't open the log file: %s\n", strerror(-rc));
        return rc;
    }
    log_notice("oO0OoO0OoO0Oo kv is starting oO0OoO0OoO0Oo");
    log_notice("kv version=%s, Redis %s surface, bits=64, pid=%ld, just started", KV_VERSION,
               REDIS_VERSION, (long)getpid());
    if (config_file(s->config)[0] == '\0') {
        log_warning("Warning: no config file specified, using the default config. In order to "
                    "specify a config file use kv-server /path/to/kv.conf");
    } else {
        log_notice("Configuration loaded");
    }
    process_raise_limits(s);
    process_title_set(s);
    crash_handlers_install(s);
    return 0;
}

/* Directives that contradict each other, or what can be. NULL: none. */
static const char *problem(struct server *s)
{
    struct buf title = { 0 };
    const char *why = server_save_problem(s);
    if (why == NULL && !process_title_make(s, &title)) {
        why = "proc-title-template: template format is invalid or contains unknown variables";
    }
    buf_free(&title);
    return why;
}

static bool listens(struct server *s)
{
    bool any = s->opt.nbind > 0;
    s->listens.tcp = any && option_int(&s->opt.port) != 0;
    s->listens.tls = any && option_int(&s->opt.tls_port) != 0;
    s->listens.unix_socket = s->opt.unixsocket[0] != '\0';
    if (!s->listens.tcp && !s->listens.tls && !s->listens.unix_socket) {
        log_warning("Configured to not listen anywhere, exiting.");
        return false;
    }
    return true;
}

static void tell_ready(struct server *s)
{
    if (s->listens.tcp) {
        log_notice("Ready to accept connections tcp");
    }
    if (s->listens.tls) {
        log_notice("Ready to accept connections tls");
    }
    if (s->listens.unix_socket) {
        log_notice("Ready to accept connections unix");
    }
    process_tell_ready(s);
}

/* The exit status when it can't serve, else 0. */
static int start(struct server *s, unsigned threads, bool force_lossy)
{
    if (!signals_start(s) || start_store(s, threads) != 0 || !listens(s)) {
        return 1;
    }
    bool on = option_int(&s->opt.appendonly) != 0, logged = log_wanted_at_start(s);
    if (logged) {
        int status = log_open_at_start(s, force_lossy);
        if (status != 0) {
            return status;
        }
        exec_set_loading(s->x, true);
    }
    if (!logged || s->report.created) {
        log_tell_unread(s);
    }
    if (start_net(s, logged) != 0) {
        return 1;
    }
    atomic_store(&s->startup_memory, (int64_t)mem_used());
    if (logged) {
        int status = log_load(s, threads, on);
        if (status != 0) {
            return status;
        }
    }
    return 0;
}

/* The process ends and takes its memory along. LeakSanitizer does not know the pointers of the
 * tables' buckets, which share a word with a tag: for it the keyspace is freed, or, where reactors
 * may still look at it, nothing is asked. */
static int ended(struct server *s, int status)
{
#ifdef KV_SANITIZE
    if (status != 0) {
        _exit(status);
    }
    keyspace_free(s->ks);
#else
    (void)s;
#endif
    return status;
}

int server_run(struct server *s, bool force_lossy)
{
    const char *why = problem(s);
    if (why != NULL) {
        fprintf(stderr, "\n*** FATAL CONFIG FILE ERROR (Redis %s) ***\n%s\n", REDIS_VERSION, why);
        return 1;
    }
    if (prepare_process(s) != 0) {
        return 1;
    }
    int status = start(s, thread_count(s), force_lossy);
    if (status != 0) {
        process_pidfile_remove(s);
        return ended(s, status);
    }
    signals_serving(s); /* before anything is acknowledged: SIGTERM then writes it */
    exec_set_loading(s->x, false);
    net_accept_now(s->net);
    tell_ready(s);
    signals_wait(s);
    return ended(s, stop(s));
}
