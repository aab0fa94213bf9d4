/* server.c -- Child processes that are servers.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY  A port that was free when it was chosen may be taken when the server binds it; a start that
 * ends with "in use" in its log is repeated on another port. Ports come from below the kernel's
 * range for outgoing connections. */
#include "server.h"
#include "unit.h"
#include "base/base.h"
#include "base/clock.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_MS   60000
#define STOP_MS    60000
#define ARGS_MAX   128
#define PORT_LOW   20000
#define PORT_HIGH  32000
#define BIND_TRIES 5

static void nap(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 5 * 1000 * 1000 }, NULL);
}

/* ---- what to start ---- */

static const char *kv_server_path(void)
{
    static char path[PATH_MAX];
    const char *given = getenv("KV_SERVER");
    if (given != NULL && *given != '\0') {
        return given;
    }
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 16);
    ck_assert_int_gt(n, 0);
    path[n] = '\0';
    strcpy(strrchr(path, '/'), "/kv-server");
    return path;
}

static const char *redis_server_path(void)
{
    static const char *const places[] = { "build/peers/redis/redis-server",
                                          "/usr/bin/redis-check-rdb" };
    const char *given = getenv("REDIS_SERVER");
    if (given != NULL && *given != '\0') {
        return given;
    }
    for (size_t i = 0; i < countof(places); i++) {
        if (access(places[i], X_OK) == 0) {
            return places[i];
        }
    }
    ck_abort_msg("no redis-server: deps/install.sh run installs it (package redis-tools)");
}

uint16_t server_free_port(void)
{
    for (int i = 0; i < 200; i++) {
        uint16_t random = 0;
        must(getrandom(&random, sizeof random, 0) == sizeof random);
        uint16_t port = (uint16_t)(PORT_LOW + random % (PORT_HIGH - PORT_LOW));
        struct sockaddr_in in = { .sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_ge(fd, 0);
        int refused = bind(fd, (struct sockaddr *)&in, sizeof in);
        close(fd);
        if (refused == 0) {
            return port;
        }
    }
    ck_abort_msg("no free port between %d and %d", PORT_LOW, PORT_HIGH);
}

void server_init(struct server *s, enum server_kind kind)
{
    memset(s, 0, sizeof *s);
    s->kind = kind;
    s->port = server_free_port();
    const char *dir = unit_tmpdir();
    ck_assert_uint_lt(strlen(dir), sizeof s->dir);
    strcpy(s->dir, dir);
    snprintf(s->log, sizeof s->log, "%s.log", dir);
    snprintf(s->socket, sizeof s->socket, "%s.sock", dir);
}

void server_env(struct server *s, const char *name, const char *value)
{
    size_t len = strlen(name);
    char *slot = NULL;
    for (int i = 0; i < SERVER_ENV_MAX; i++) {
        bool same = strncmp(s->env[i], name, len) == 0 && s->env[i][len] == '=';
        if (same || (slot == NULL && s->env[i][0] == '\0')) {
            slot = s->env[i];
        }
    }
    ck_assert_msg(slot != NULL, "more than %d variables", SERVER_ENV_MAX);
    int n = snprintf(slot, sizeof s->env[0], "%s=%s", name, value);
    ck_assert_int_lt(n, (int)sizeof s->env[0]);
}

/* ---- the child ---- */

static void apply_env(const struct server *s)
{
    for (int i = 0; i < SERVER_ENV_MAX; i++) {
        char pair[sizeof s->env[0]];
        strcpy(pair, s->env[i]);
        char *value = strchr(pair, '=');
        if (value != NULL) {
            *value++ = '\0';
            must((*value != '\0' ? setenv(pair, value, 1) : unsetenv(pair)) == 0);
        }
    }
}

_Noreturn static void become_server(const struct server *s, const char *path, char *const *argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int log = open(s->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int null = open("/dev/null", O_RDONLY);
    if (log < 0 || null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) {
        _exit(126);
    }
    closefrom(3);
    apply_env(s);
    execv(path, argv);
    dprintf(2, "exec %s: %s\n", path, strerror(errno));
    _exit(127);
}

static void spawn(struct server *s, const char *const *args)
{
    char port[8];
    snprintf(port, sizeof port, "%u", s->port);
    const char *argv[ARGS_MAX] = { s->kind == SERVER_KV ? "kv-server" : "redis-server" };
    size_t n = 1;
    if (s->conf[0] != '\0') {
        argv[n++] = s->conf;
    }
    const char *const given[] = {
        "--port", port, "--bind", "127.0.0.1", "--dir", s->dir, "--enable-debug-command", "yes"
    };
    memcpy(argv + n, given, sizeof given);
    n += sizeof given / sizeof given[0];
    if (s->kind == SERVER_REDIS) {
        argv[n++] = "--save";
        argv[n++] = "";
    }
    for (; *args != NULL; args++) {
        ck_assert_uint_lt(n, ARGS_MAX - 1);
        argv[n++] = *args;
    }
    const char *path = s->kind == SERVER_KV ? kv_server_path() : redis_server_path();
    fflush(NULL);
    s->pid = fork();
    ck_assert_int_ge(s->pid, 0);
    if (s->pid == 0) {
        become_server(s, path, (char *const *)argv);
    }
}

/* ---- its end ---- */

static bool reap(struct server *s, int *status)
{
    pid_t got = waitpid(s->pid, status, WNOHANG);
    ck_assert_msg(got >= 0, "server %ld was started by another process", (long)s->pid);
    if (got == s->pid) {
        s->pid = 0;
    }
    return got != 0;
}

bool server_running(struct server *s)
{
    int status = 0;
    return s->pid != 0 && !reap(s, &status);
}

static const char *describe(int status, char *out, size_t size)
{
    if (WIFSIGNALED(status)) {
        snprintf(out, size, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else {
        snprintf(out, size, "exit status %d", WEXITSTATUS(status));
    }
    return out;
}

static void show_log_end(const struct server *s)
{
    char *log = server_log(s);
    size_t len = strlen(log);
    fprintf(stderr, "---- end of the log of the server on port %u ----\n%s\n----\n", s->port,
            log + (len > 4000 ? len - 4000 : 0));
    free(log);
}

int server_wait_exit(struct server *s, int ms)
{
    int status = 0;
    int64_t deadline = clock_mono_ms() + unit_patient_ms(ms);
    must(s->pid != 0);
    while (!reap(s, &status)) {
        if (clock_mono_ms() > deadline) {
            show_log_end(s);
            ck_abort_msg("the server still runs after %d ms", ms);
        }
        nap();
    }
    return status;
}

void server_stop(struct server *s)
{
    if (s->pid == 0) {
        return;
    }
    char how[80];
    must(kill(s->pid, SIGTERM) == 0);
    int status = server_wait_exit(s, STOP_MS);
    if (status != 0) {
        show_log_end(s);
    }
    ck_assert_msg(status == 0, "after SIGTERM: %s", describe(status, how, sizeof how));
}

void server_kill(struct server *s)
{
    if (s->pid != 0) {
        must(kill(s->pid, SIGKILL) == 0);
        (void)server_wait_exit(s, STOP_MS);
    }
}

/* ---- its start ---- */

/* Asks one PING on a connection of its own; *answer is what came ("+PONG", "-LOADING ..."), empty
 * when nobody accepts. */
static void probe(const struct server *s, char *answer, size_t size)
{
    struct client *c = client_try_connect(s->port);
    const struct resp *reply = NULL;
    if (c != NULL && client_try_send(c, "PING") && client_try_read(c, &reply) == RESP_OK) {
        snprintf(answer, size, "%c%s", (char)reply->type, reply->text != NULL ? reply->text : "");
    }
    client_close(c);
}

/* True when the process has the socket with this inode open. */
static bool holds_socket(pid_t pid, unsigned long inode)
{
    char path[64], target[64], wanted[64];
    snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
    snprintf(path, sizeof path, "/proc/%ld/fd", (long)pid);
    DIR *fds = opendir(path);
    bool found = false;
    for (struct dirent *e = NULL; fds != NULL && !found && (e = readdir(fds)) != NULL;) {
        ssize_t n = readlinkat(dirfd(fds), e->d_name, target, sizeof target - 1);
        target[n > 0 ? n : 0] = '\0';
        found = strcmp(target, wanted) == 0;
    }
    if (fds != NULL) {
        closedir(fds);
    }
    return found;
}

/* True when it is this server that listens on its port, not one that had taken the port before. */
static bool listens(const struct server *s)
{
    char line[512];
    bool found = false;
    FILE *f =
        fopen("/proc/net/tcp", "r"); /* local address is the second field, state 0A is LISTEN */
    must(f != NULL);
    while (!found && fgets(line, sizeof line, f) != NULL) {
        unsigned port = 0, state = 0;
        unsigned long inode = 0;
        int n = sscanf(line, "%*s %*[^:]:%x %*s %x %*s %*s %*s %*s %*s %lu", &port, &state, &inode);
        found = n == 3 && port == s->port && state == 0x0a && holds_socket(s->pid, inode);
    }
    fclose(f);
    return found;
}

/* Waits until it answers, with PONG when `ready`. Returns false and its wait status when it has
 * ended instead. */
static bool wait_answer(struct server *s, bool ready, int *status)
{
    int64_t deadline = clock_mono_ms() + unit_patient_ms(START_MS);
    for (;;) {
        char answer[128];
        if (reap(s, status)) {
            return false;
        }
        answer[0] = '\0';
        if (listens(s)) {
            probe(s, answer, sizeof answer);
        }
        /* Any answer shows that it serves; with requirepass it is an error. */
        if (answer[0] != '\0' && (!ready || strncmp(answer, "-LOADING", 8) != 0)) {
            return true;
        }
        if (clock_mono_ms() > deadline) {
            show_log_end(s);
            ck_abort_msg("no answer from the server on port %u, last was '%s'", s->port, answer);
        }
        nap();
    }
}

static int start_until(struct server *s, const char *const *args, bool ready)
{
    int status = 0;
    ck_assert_msg(s->pid == 0, "the server already runs");
    for (int i = 0; i < BIND_TRIES; i++) {
        struct stat st;
        size_t from = stat(s->log, &st) == 0 ? (size_t)st.st_size : 0;
        spawn(s, args);
        if (wait_answer(s, ready, &status)) {
            return 0;
        }
        char *log = server_log(s);
        bool taken =
            strlen(log) >= from && strcasestr(log + from, "address already in use") != NULL;
        free(log);
        if (!taken) {
            break;
        }
        s->port = server_free_port();
    }
    return status;
}

int server_try_start_args(struct server *s, const char *const *args)
{
    return start_until(s, args, false);
}

/* Nothing more is asked when it has said PONG: tests with two reactors count on who gets the next
 * clients, which a connection that is not closed there yet would change. */
void server_start_args(struct server *s, const char *const *args)
{
    char how[80];
    int status = start_until(s, args, true);
    if (s->pid == 0) {
        show_log_end(s);
    }
    ck_assert_msg(s->pid != 0, "the server has ended at start: %s",
                  describe(status, how, sizeof how));
}

void server_wait_ready(struct server *s)
{
    int status = 0;
    char how[80];
    bool ready = wait_answer(s, true, &status);
    if (!ready) {
        show_log_end(s);
    }
    ck_assert_msg(ready, "the server has ended while loading: %s",
                  describe(status, how, sizeof how));
}

struct client *server_connect(const struct server *s)
{
    return client_connect(s->port);
}

/* ---- its log ---- */

char *server_log(const struct server *s)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    must(to != NULL);
    FILE *from = fopen(s->log, "r");
    if (from != NULL) {
        char part[8192];
        size_t n = 0;
        while ((n = fread(part, 1, sizeof part, from)) > 0) {
            fwrite(part, 1, n, to);
        }
        fclose(from);
    }
    must(fclose(to) == 0);
    return text;
}

bool server_log_has(const struct server *s, const char *text)
{
    char *log = server_log(s);
    bool has = strstr(log, text) != NULL;
    free(log);
    return has;
}

void server_wait_log(const struct server *s, size_t from, const char *text, int ms)
{
    int64_t deadline = clock_mono_ms() + unit_patient_ms(ms);
    for (;;) {
        char *log = server_log(s);
        bool has = strlen(log) >= from && strstr(log + from, text) != NULL;
        free(log);
        if (has) {
            return;
        }
        if (clock_mono_ms() > deadline) {
            show_log_end(s);
            ck_abort_msg("the log does not say '%s'", text);
        }
        nap();
    }
}
