/* process.c -- The process as the operating system and its tools see it: background, pid file,
 * supervisor, title, limits of descriptors.
 * SPDX-License-Identifier: BSD-3-Clause
 * THREADS  The main thread at start and stop; process_title_set: also an exclusive section;
 * process_leave: any. */
#include "server/server_int.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- Background and supervision ---- */

static int supervision(const struct server *s)
{
    int64_t how = option_int(&s->opt.supervised);
    bool systemd = getenv("NOTIFY_SOCKET") != NULL, upstart = getenv("UPSTART_JOB") != NULL;
    if (systemd && (how == SUPERVISED_SYSTEMD || how == SUPERVISED_AUTO)) {
        return SUPERVISED_SYSTEMD;
    }
    return upstart && (how == SUPERVISED_UPSTART || how == SUPERVISED_AUTO) ? SUPERVISED_UPSTART
                                                                            : SUPERVISED_NO;
}

const char *server_supervisor(const struct server *s)
{
    switch (supervision(s)) {
    case SUPERVISED_SYSTEMD: return "systemd";
    case SUPERVISED_UPSTART: return "upstart";
    default: return "no";
    }
}

bool process_in_background(const struct server *s)
{
    return option_int(&s->opt.daemonize) && supervision(s) == SUPERVISED_NO;
}

void process_daemonize(void)
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
static void notify_systemd(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
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

void process_tell_ready(const struct server *s)
{
    int how = supervision(s);
    if (how == SUPERVISED_SYSTEMD) {
        notify_systemd("STATUS=Ready to accept connections\nREADY=1\n");
    } else if (how == SUPERVISED_UPSTART) {
        raise(SIGSTOP); /* upstart's "expect stop" */
    } else if (option_int(&s->opt.supervised) == SUPERVISED_SYSTEMD) {
        log_warning("systemd supervision requested or auto-detected, but NOTIFY_SOCKET not found!");
    } else if (option_int(&s->opt.supervised) == SUPERVISED_UPSTART) {
        log_warning("upstart supervision requested, but UPSTART_JOB not found!");
    }
}

void process_tell_stopping(const struct server *s)
{
    if (supervision(s) == SUPERVISED_SYSTEMD) {
        notify_systemd("STOPPING=1\n");
    }
}

/* ---- The pid file ---- */

static const char *pid_path(const struct server *s)
{
    return s->opt.pidfile[0] == '\0' && process_in_background(s) ? "/var/run/redis.pid"
                                                                 : s->opt.pidfile;
}

/* `dir` may change later: what is removed is what was written. */
static char *pid_path_full(const struct server *s)
{
    const char *path = pid_path(s);
    char dir[PATH_MAX];
    struct buf full = { 0 };
    if (path[0] != '/' && getcwd(dir, sizeof dir) != NULL) {
        buf_printf(&full, "%s/", dir);
    }
    buf_add(&full, path, strlen(path) + 1);
    return full.p;
}

void process_pidfile_write(struct server *s)
{
    if (pid_path(s)[0] == '\0') {
        return;
    }
    char *path = pid_path_full(s);
    atomic_store(&s->pid_file, path); /* first: a signal may end the process now */
    FILE *f = fopen(path, "w");
    bool written = f != NULL && fprintf(f, "%ld\n", (long)getpid()) > 0;
    written = f != NULL && fclose(f) == 0 && written;
    if (!written) {
        log_warning("Failed to write PID file: %s", strerror(errno));
    }
}

void process_pidfile_remove(const struct server *s)
{
    const char *path = atomic_load(&s->pid_file);
    if (path != NULL) {
        (void)unlink(path);
    }
}

void process_leave(void *server)
{
    struct server *s = server;
    process_pidfile_remove(s);
    if (atomic_load(&s->listening) && s->listens.unix_socket) {
        (void)unlink(s->opt.unixsocket);
    }
}

/* ---- Descriptors ---- */

void process_raise_limits(struct server *s)
{
    int64_t clients = option_int(&s->exec_opt.maxclients);
    uint64_t want = (uint64_t)clients + EXEC_RESERVED_FILES, got = io_raise_files(want);
    if (got >= want) {
        return;
    }
    int64_t fits = got > EXEC_RESERVED_FILES ? (int64_t)(got - EXEC_RESERVED_FILES) : 1;
    atomic_store(&s->exec_opt.maxclients, fits);
    log_warning("You requested maxclients of %lld requiring at least %llu max file descriptors.",
                (long long)clients, (unsigned long long)want);
    log_warning("Current maximum open files is %llu. maxclients has been reduced to %lld to "
                "compensate for low ulimit. If you need higher maxclients increase 'ulimit -n'.",
                (unsigned long long)got, (long long)fits);
}

/* ---- The title in the process list ---- */

/* The kernel shows the bytes of the argument vector: they are overwritten in place, and the
 * environment, which stands behind them, moves away. */
void process_title_init(struct server *s, int argc, char **argv)
{
    extern char **environ;
    char *end = argv[0];
    for (int i = 0; i < argc; i++) {
        end = argv[i] == end ? end + strlen(end) + 1 : end;
    }
    size_t n = 0;
    while (environ[n] != NULL) {
        end = environ[n] == end ? end + strlen(end) + 1 : end;
        n++;
    }
    char **moved = mem_alloc((n + 1) * sizeof *moved);
    for (size_t i = 0; i < n; i++) {
        moved[i] = mem_strdup(environ[i]);
    }
    moved[n] = NULL;
    environ = moved;
    s->title = argv[0];
    s->title_room = (size_t)(end - argv[0]);
}

static bool add_variable(struct server *s, struct slice name, struct buf *out)
{
    int64_t port = option_int(&s->opt.port), tls = option_int(&s->opt.tls_port);
    if (slice_is(name, "title")) {
        buf_add_str(out, "kv-server");
    } else if (slice_is(name, "listen-addr") && port == 0 && tls == 0) {
        buf_add_str(out, s->opt.unixsocket);
    } else if (slice_is(name, "listen-addr")) {
        const char *addr = s->opt.nbind > 0 ? s->opt.bind[0].p : "*";
        buf_printf(out, "%s:%lld", addr + (addr[0] == '-'), (long long)(port != 0 ? port : tls));
    } else if (slice_is(name, "server-mode")) {
        buf_add_str(out, "");
    } else if (slice_is(name, "port")) {
        buf_add_i64(out, port);
    } else if (slice_is(name, "tls-port")) {
        buf_add_i64(out, tls);
    } else if (slice_is(name, "unixsocket")) {
        buf_add_str(out, s->opt.unixsocket);
    } else if (slice_is(name, "config-file")) {
        buf_add_str(out, config_file(s->config));
    } else {
        return false;
    }
    return true;
}

bool process_title_make(struct server *s, struct buf *out)
{
    const char *p = s->opt.proc_title_template;
    while (*p != '\0') {
        const char *close = *p == '{' ? strchr(p, '}') : NULL;
        if (*p != '{') {
            buf_add_char(out, *p++);
        } else if (close == NULL ||
                   !add_variable(s, slice_of(p + 1, (size_t)(close - p - 1)), out)) {
            return false;
        } else {
            p = close + 1;
        }
    }
    while (out->n > 0 && out->p[out->n - 1] == ' ') {
        out->n--;
    }
    return out->n > 0;
}

void process_title_set(struct server *s)
{
    struct buf text = { 0 };
    if (s->title != NULL && option_int(&s->opt.set_proc_title) && process_title_make(s, &text)) {
        size_t n = size_min(text.n, s->title_room - 1);
        memcpy(s->title, text.p, n);
        memset(s->title + n, 0, s->title_room - n);
    }
    buf_free(&text);
}
