/* server.c -- Composes the layers and runs the process: start order, signals, stop order.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * START    directives -> log, pid file, limits -> keyspace, engine -> log classified (refused here,
 * before a port is open) -> network up, answering -LOADING -> replay -> log threads -> serving. A
 * test container that waits for "Ready to accept connections" sees it last. STOP     network down
 * (what is released still leaves) -> log finished and synced -> exit 0. A second SIGINT exits 1 at
 * once. THREADS  The main thread waits for signals and does nothing else while serving. */
#include "server/server_int.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "commands/commands.h"
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

const struct command *const server_families[] = { server_commands, config_commands,
                                                  command_commands, NULL };

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
        n = sysconf(_SC_NPROCESSORS_ONLN);
    }
    return (unsigned)(n < 1 ? 1 : n > 64 ? 64 : n);
}

static void daemonize(void)
{
    if (fork() != 0) {
        _exit(0);
    }
    setsid();
    int fd = open("/dev/null", O_RDWR);
    if (fd >= 0) {
        dup2(fd, 0);
        dup2(fd, 1);
        dup2(fd, 2);
        if (fd > 2) {
            close(fd);
        }
    }
}

/* sd_notify by hand: one datagram. */
static void tell_supervisor(const struct server *s, const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    int64_t how = option_int(&s->opt.supervised);
    if (path == NULL || (how != SUPERVISED_SYSTEMD && how != SUPERVISED_AUTO)) {
        return;
    }
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    size_t len = strlen(path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && len < sizeof un.sun_path) {
        memcpy(un.sun_path, path, len);
        if (path[0] == '@') {
            un.sun_path[0] = '\0';
        }
        (void)!sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&un,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void write_pidfile(const struct server *s)
{
    const char *path = s->opt.pidfile;
    if (path[0] == '\0' && option_int(&s->opt.daemonize)) {
        path = "/var/run/redis.pid";
    }
    if (path[0] == '\0') {
        return;
    }
    char text[32];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    FILE *f = fopen(path, "w");
    if (f == NULL || fwrite(text, 1, (size_t)n, f) != (size_t)n) {
        log_warning("Failed to write PID file: %s", strerror(errno));
    }
    if (f != NULL) {
        fclose(f);
    }
}

#define RESERVED_FDS 64 /* log segments, listeners, epoll, the log file */

static void raise_limits(struct server *s)
{
    struct rlimit lim;
    rlim_t want = (rlim_t)option_int(&s->exec_opt.maxclients) + RESERVED_FDS;
    if (getrlimit(RLIMIT_NOFILE, &lim) != 0 || lim.rlim_cur >= want) {
        return;
    }
    struct rlimit more = { .rlim_cur = want,
                           .rlim_max = lim.rlim_max > want ? lim.rlim_max : want };
    if (setrlimit(RLIMIT_NOFILE, &more) != 0) {
        more = (struct rlimit){ .rlim_cur = lim.rlim_max, .rlim_max = lim.rlim_max };
        (void)setrlimit(RLIMIT_NOFILE, &more);
        int64_t fits = (int64_t)lim.rlim_max - RESERVED_FDS;
        atomic_store(&s->exec_opt.maxclients, fits < 1 ? 1 : fits);
        log_warning("You requested maxclients of %lld requiring at least %lld max file "
                    "descriptors, the system allows %lld: maxclients is now %lld",
                    (long long)want - RESERVED_FDS, (long long)want, (long long)lim.rlim_max,
                    (long long)option_int(&s->exec_opt.maxclients));
    }
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
    exec_adopt_options(s->x, &s->exec_opt);
    config_rebind(s->config, &s->exec_opt, exec_options(s->x));
    for (const struct command *const *f = command_families; *f != NULL; f++) {
        exec_register(s->x, *f);
    }
    for (const struct command *const *f = server_families; *f != NULL; f++) {
        exec_register(s->x, *f);
    }
    for (unsigned i = 0; i + 1 < s->opt.nrenames; i += 2) {
        if (!exec_rename_command(s->x, s->opt.renames[i], s->opt.renames[i + 1])) {
            log_warning("No such command in rename-command, or the new name exists: %.*s",
                        (int)s->opt.renames[i].n, s->opt.renames[i].p);
            return -EINVAL;
        }
    }
    exec_prepare(s->x);
    exec_options_started(s->x);
    return 0;
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

static int start_net(struct server *s, unsigned threads)
{
    struct net_upcalls up;
    exec_net_upcalls(s->x, &up);
    const char *bind[16];
    for (unsigned i = 0; i < s->opt.nbind; i++) {
        bind[i] = s->opt.bind[i].p;
    }
    struct tls_config tls;
    fill_tls(s, &tls);
    struct net_config nc = { .threads = threads,
                             .bind = bind,
                             .nbind = s->opt.nbind,
                             .port = (int)option_int(&s->opt.port),
                             .tls_port = (int)option_int(&s->opt.tls_port),
                             .unixsocket = s->opt.unixsocket[0] != '\0' ? s->opt.unixsocket : NULL,
                             .unixsocketperm = (unsigned)option_int(&s->opt.unixsocketperm),
                             .backlog = (int)option_int(&s->opt.tcp_backlog),
                             .maxclients = (unsigned)option_int(&exec_options(s->x)->maxclients),
                             .keepalive_s =
                                 (unsigned)option_int(&exec_options(s->x)->tcp_keepalive),
                             .tls = option_int(&s->opt.tls_port) != 0 ? &tls : NULL,
                             .scratch_bytes = 65536 };
    struct buf error = { 0 };
    int rc = net_open(&s->net, &nc, &up, &error);
    if (rc != 0) {
        log_warning("%.*s", (int)error.n, error.p);
        buf_free(&error);
        return rc;
    }
    exec_set_net(s->x, s->net);
    return net_start(s->net);
}

/* ---- Signals ---- */

static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGUSR2); /* SHUTDOWN wakes the main thread with it */
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
}

static void wait_for_end(struct server *s, sigset_t *set)
{
    for (;;) {
        int sig = 0;
        sigwait(set, &sig);
        if (sig == SIGUSR2) {
            if (exec_shutdown_requested(s->x) >= 0) {
                log_notice("User requested shutdown...");
                return;
            }
            continue;
        }
        log_notice(sig == SIGTERM ? "Received SIGTERM scheduling shutdown..."
                                  : "Received SIGINT scheduling shutdown...");
        log_notice("User requested shutdown...");
        return;
    }
}

static void *second_sigint(void *arg)
{
    sigset_t *set = arg;
    int sig = 0;
    while (sig != SIGINT) {
        sigwait(set, &sig);
    }
    log_raw("You insist... exiting now.\n");
    _exit(1);
}

static int stop(struct server *s, sigset_t *set)
{
    pthread_t watcher;
    if (pthread_create(&watcher, NULL, second_sigint, set) == 0) {
        pthread_detach(watcher);
    }
    tell_supervisor(s, "STOPPING=1\n");
    atomic_store(&s->stopping, true);
    log_change_join(s);
    net_stop(s->net);
    int rc = 0;
    if (s->wal != NULL) {
        log_notice("Finishing the log before exiting.");
        rc = wal_stop(s->wal);
        if (rc != 0) {
            log_warning("The log could not be finished: %s", strerror(-rc));
        }
    }
    if (s->opt.pidfile[0] != '\0') {
        (void)!unlink(s->opt.pidfile);
    }
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

static int prepare_process(struct server *s)
{
    log_set_level((enum log_level)option_int(&s->opt.loglevel));
    if (option_int(&s->opt.daemonize)) {
        daemonize();
    }
    if (option_int(&s->opt.syslog_enabled)) {
        log_set_syslog(true, s->opt.syslog_ident, (int)option_int(&s->opt.syslog_facility));
    }
    int rc = log_open(s->opt.logfile, option_int(&s->opt.daemonize) != 0);
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
    const char *error;
    if (!server_enter_dir(s, &error)) {
        log_warning("Can't chdir to '%s': %s", s->opt.dir, error);
        return -ENOENT;
    }
    write_pidfile(s);
    raise_limits(s);
    crash_handlers_install(s);
    return 0;
}

int server_run(struct server *s, bool force_lossy)
{
    sigset_t set;
    block_signals(&set);
    unsigned threads = thread_count(s);
    if (prepare_process(s) != 0 || start_store(s, threads) != 0) {
        return 1;
    }
    bool logged = log_wanted_at_start(s);
    if (logged) {
        int rc = log_open_at_start(s, force_lossy);
        if (rc != 0) {
            return rc == WAL_E_DAMAGED || rc == WAL_E_FOREIGN ? EXIT_WAL_DAMAGED : 1;
        }
        exec_set_loading(s->x, true);
    }
    if (start_net(s, threads) != 0) {
        return 1;
    }
    log_notice("Running mode=standalone, port=%lld.", (long long)option_int(&s->opt.port));
    log_notice("Server initialized");
    atomic_store(&s->startup_memory, (int64_t)mem_used());
    log_durability(s);
    if (logged) {
        int status = log_load(s, threads);
        if (status != 0) {
            return status;
        }
        exec_set_loading(s->x, false);
    }
    log_notice("Ready to accept connections tcp");
    tell_supervisor(s, "STATUS=Ready to accept connections\nREADY=1\n");
    wait_for_end(s, &set);
    return stop(s, &set);
}
