/* test_process.c -- The process: its arguments, configuration files, signals, pid file, supervisor,
 * limits; listening at run time; and what a stranger may do before AUTH.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/bytes.h"
#include "base/io.h"
#include "server.h"
#include "unit.h"
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static struct server kv;

static void setup(void)
{
    server_init(&kv, SERVER_KV);
}

static void teardown(void)
{
    server_kill(&kv);
}

#define start(...)                        \
    do {                                  \
        server_start(&kv, ##__VA_ARGS__); \
        server_wait_ready(&kv);           \
    } while (0)

static void expect(struct client *c, const char *want, const char *line)
{
    const char *got = client_line(c, "%s", line);
    ck_assert_msg(strcmp(got, want) == 0, "%s: %s, expected %s", line, got, want);
}

/* ---- The program with a shell round it ---- */

static const char *program(void)
{
    static char path[PATH_MAX];
    const char *given = getenv("KV_SERVER");
    if (given != NULL) {
        return given;
    }
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 16);
    ck_assert_int_gt(n, 0);
    path[n] = '\0';
    strcpy(strrchr(path, '/') + 1, "kv-server");
    return path;
}

static char output[65536];

/* Runs `sh -c`, with $KV the program; returns its exit status, `output` has all it printed. */
static int sh(const char *command)
{
    char line[4096];
    snprintf(line, sizeof line, "KV='%s'; cd '%s'; { %s; } 2>&1", program(), kv.dir, command);
    FILE *p = popen(line, "r");
    ck_assert_ptr_nonnull(p);
    size_t n = fread(output, 1, sizeof output - 1, p);
    output[n] = '\0';
    int status = pclose(p);
    /* ASan's own exit status is that of a refusal */
    ck_assert_msg(strstr(output, "Sanitizer: ") == NULL, "%s: %s", command, output);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void has(const char *text)
{
    ck_assert_msg(strstr(output, text) != NULL, "no \"%s\" in: %s", text, output);
}

START_TEST(test_options_that_print)
{
    ck_assert_int_eq(sh("$KV -v"), 0);
    has("Redis server v=");
    ck_assert_int_eq(sh("$KV --version"), 0);
    has("Redis server v=");
    ck_assert_int_eq(sh("$KV -h"), 0);
    has("Usage: kv-server");
    ck_assert_int_eq(sh("$KV --help"), 0);
    has("Exit status: 0");
    ck_assert_int_eq(sh("$KV --test-memory 2 3"), 0);
    has("Pass 3 of 3");
    has("Your memory passed this test.");
    ck_assert_int_eq(sh("$KV --test-memory x"), 1);
    ck_assert_int_le(sh("$KV --check-system"), 1);
    has("[overcommit]...");
    has("[THP]...");
    ck_assert_int_eq(sh("$KV --print-config"), 0);
    has("appendfsync always");
}
END_TEST

START_TEST(test_bad_configuration)
{
    ck_assert_int_eq(sh("printf 'maxclients 5\\n\\nfoo bar\\n' > bad.conf; $KV bad.conf"), 1);
    has("*** FATAL CONFIG FILE ERROR (Redis 7.4");
    has("Reading the configuration file, at line 3");
    has("bad.conf");
    has(">>> 'foo bar'");
    has("Bad directive or wrong number of arguments");
    ck_assert_int_eq(sh("echo 'include bad.conf' > outer.conf; $KV outer.conf"), 1);
    has("at line 3 of bad.conf");
    ck_assert_int_eq(sh("echo appendonly | $KV -"), 1);
    has("wrong number of arguments");
    ck_assert_int_eq(sh("echo user | $KV -"), 1);
    has("Bad directive or wrong number of arguments");
    ck_assert_int_eq(sh("printf 'save\\nbind\\nport 0\\n' | $KV -"), 1); /* they may stand alone */
    has("Configured to not listen anywhere, exiting.");
    ck_assert_int_eq(sh("echo 'port \"1' | $KV -"), 1);
    has("Unbalanced quotes in configuration line");
    ck_assert_int_eq(sh("$KV --port x"), 1);
    has("argument couldn't be parsed into an integer");
    ck_assert_int_eq(sh("$KV nofile.conf"), 1);
    has("Fatal error, can't open config file");
    ck_assert_int_eq(sh("$KV --port 0"), 1);
    has("Configured to not listen anywhere, exiting.");
    ck_assert_int_eq(sh("$KV --dir /nowhere/at/all"), 1);
    has("Can't chdir to '/nowhere/at/all'");
    static const char *const promises[] = { "--cluster-enabled yes",      "--replicaof 127.0.0.1 1",
                                            "--loadmodule x.so",          "--aclfile none.acl",
                                            "--user 'default on nosuch'", "--socket-mark-id 7" };
    for (size_t i = 0; i < sizeof promises / sizeof promises[0]; i++) {
        char line[128];
        snprintf(line, sizeof line, "$KV %s", promises[i]);
        ck_assert_msg(sh(line) == 1, "%s is not refused", promises[i]);
    }
    ck_assert_int_eq(sh("$KV --appendonly no --save 900 1"), 1);
    has("this version writes no snapshots");
    ck_assert_int_eq(sh("$KV --proc-title-template {nothing}"), 1);
    has("template format is invalid");
}
END_TEST

START_TEST(test_files_and_arguments)
{
    FILE *f;
    char path[400];
    snprintf(path, sizeof path, "%s/inner.conf", kv.dir);
    ck_assert_ptr_nonnull(f = fopen(path, "w"));
    fputs("# a comment\n\n  maxclients   123\nTIMEOUT 7\n", f);
    fclose(f);
    char outer[400];
    snprintf(outer, sizeof outer, "%s/outer.conf", kv.dir);
    ck_assert_ptr_nonnull(f = fopen(outer, "w"));
    fprintf(f, "include %s\nsave 900 1\nsave 300 10\nmaxmemory 1gb\nrequirepass \"a \\x62\"\n",
            path);
    fputs("client-output-buffer-limit pubsub 1mb 2mb 3\noom-score-adj-values 1 2 3\n", f);
    fputs("rename-command PING \"\"\nrename-command ECHO say\nslaveof no one\n", f);
    fclose(f);
    ck_assert_int_eq(server_try_start(&kv, "--include", outer, "--timeout", "9",
                                      "--notify-keyspace-events", "\"KEA\"", "--maxmemory-policy",
                                      "allkeys-lru", "--requirepass", ""),
                     0);
    server_wait_log(&kv, 0, "Ready to accept connections tcp", 20000);
    struct client *c = server_connect(&kv);
    expect(c, "[\"maxclients\", \"123\"]", "CONFIG GET maxclients");
    expect(c, "[\"timeout\", \"9\"]", "CONFIG GET timeout");
    expect(c, "[\"save\", \"900 1 300 10\"]", "CONFIG GET save");
    expect(c, "[\"maxmemory\", \"1073741824\"]", "CONFIG GET maxmemory");
    expect(c, "[\"requirepass\", \"\"]", "CONFIG GET requirepass");
    expect(c, "[\"notify-keyspace-events\", \"AKE\"]", "CONFIG GET notify-keyspace-events");
    expect(c, "[\"oom-score-adj-values\", \"1 2 3\"]", "CONFIG GET oom-score-adj-values");
    client_expect_error(c, "ERR unknown command", "PING");
    expect(c, "\"x\"", "SAY x");
    ck_assert(server_log_has(&kv, "this version writes no snapshots"));
    client_close(c);
    server_stop(&kv);
}
END_TEST

/* What was set is in the file, and what stood there before: comments, and who may read it. */
START_TEST(test_config_rewrite)
{
    snprintf(kv.conf, sizeof kv.conf, "%s/rewritten.conf", kv.dir);
    FILE *f = fopen(kv.conf, "w");
    ck_assert_ptr_nonnull(f);
    fputs("# kept\ntimeout 3\nsave 900 1\nrename-command ECHO say\n", f);
    fclose(f);
    ck_assert_int_eq(chmod(kv.conf, 0640), 0);
    start();
    struct client *c = server_connect(&kv);
    expect(c, "+OK", "CONFIG SET timeout 0 maxmemory 1gb save \"\" requirepass \"a\\\"\\x01 b\"");
    expect(c, "+OK", "CONFIG REWRITE");
    struct stat st;
    ck_assert_int_eq(stat(kv.conf, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0640);
    client_close(c);
    server_stop(&kv);
    size_t n = 0;
    char text[20000];
    ck_assert_ptr_nonnull(f = fopen(kv.conf, "r"));
    n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    ck_assert_ptr_eq(strstr(text, "# kept\n"), text);
    ck_assert_ptr_nonnull(strstr(text, "\nrename-command ECHO say\n"));
    ck_assert_int_eq(server_try_start(&kv), 0);
    server_wait_log(&kv, 0, "Ready to accept connections tcp", 20000);
    c = server_connect(&kv);
    client_expect_error(c, "NOAUTH", "PING");
    expect(c, "+OK", "AUTH \"a\\\"\\x01 b\"");
    expect(c, "[\"timeout\", \"0\"]", "CONFIG GET timeout");
    expect(c, "[\"maxmemory\", \"1073741824\"]", "CONFIG GET maxmemory");
    expect(c, "[\"save\", \"\"]", "CONFIG GET save");
    expect(c, "\"x\"", "SAY x");
    client_close(c);
    server_stop(&kv);
}
END_TEST

#define BIG_USERS 9000

/* A file of more than 1 MiB is read by the next start. */
START_TEST(test_config_rewrite_users)
{
    snprintf(kv.conf, sizeof kv.conf, "%s/users.conf", kv.dir);
    FILE *f = fopen(kv.conf, "w");
    ck_assert_ptr_nonnull(f);
    fclose(f);
    start();
    struct client *c = server_connect(&kv);
    for (unsigned i = 0; i < BIG_USERS; i++) {
        client_send(c, "ACL SETUSER user%u on #%064x ~key%u:* +@all", i, i, i);
    }
    for (unsigned i = 0; i < BIG_USERS; i++) {
        client_expect_next(c, "+OK");
    }
    expect(c, "+OK", "CONFIG REWRITE");
    client_close(c);
    server_stop(&kv);
    struct stat st;
    ck_assert_int_eq(stat(kv.conf, &st), 0);
    ck_assert_int_gt(st.st_size, 1 << 20);
    start();
    c = server_connect(&kv);
    ck_assert_uint_eq(client_ask(c, "ACL USERS")->count, BIG_USERS + 1);
    client_close(c);
    server_stop(&kv);
}
END_TEST

#define CONF_MAX (64 << 20)

/* The largest file that a start reads: what would make it larger is not written. */
START_TEST(test_config_rewrite_too_large)
{
    snprintf(kv.conf, sizeof kv.conf, "%s/large.conf", kv.dir);
    char line[1024];
    memset(line, '#', sizeof line);
    line[sizeof line - 1] = '\n';
    FILE *f = fopen(kv.conf, "w");
    ck_assert_ptr_nonnull(f);
    for (unsigned i = 0; i < CONF_MAX / sizeof line; i++) {
        ck_assert_uint_eq(fwrite(line, sizeof line, 1, f), 1);
    }
    fclose(f);
    start();
    struct client *c = server_connect(&kv);
    expect(c, "+OK", "CONFIG SET maxmemory 1gb");
    client_expect_error(c, "ERR Rewriting config file: File too large", "CONFIG REWRITE");
    client_close(c);
    server_stop(&kv);
    struct stat st;
    ck_assert_int_eq(stat(kv.conf, &st), 0);
    ck_assert_int_eq(st.st_size, CONF_MAX);
    start();
    server_stop(&kv);
}
END_TEST

/* ---- Signals ---- */

static void expect_own_pid(const char *pidfile)
{
    char text[32] = "";
    FILE *f = fopen(pidfile, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(text, sizeof text, f));
    fclose(f);
    ck_assert_int_eq(atoi(text), kv.pid);
}

START_TEST(test_signals)
{
    char pidfile[400], again[600];
    snprintf(pidfile, sizeof pidfile, "%s/kv.pid", kv.dir);
    start("--pidfile", pidfile);
    expect_own_pid(pidfile);
    const char *const dirs[] = { ".", "other" }; /* the log is in use, the port is */
    for (unsigned i = 0; i < 2; i++) {
        snprintf(again, sizeof again,
                 "mkdir -p other; $KV --port %u --bind 127.0.0.1 --dir %s --pidfile %s", kv.port,
                 dirs[i], pidfile);
        ck_assert_int_eq(sh(again), 1);
        expect_own_pid(pidfile);
    }
    kill(kv.pid, SIGHUP);
    struct client *c = server_connect(&kv);
    expect(c, "+PONG", "PING"); /* SIGHUP is ignored */
    client_close(c);
    kill(kv.pid, SIGINT);
    int status = server_wait_exit(&kv, 20000);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert(server_log_has(&kv, "Received SIGINT scheduling shutdown..."));
    ck_assert(server_log_has(&kv, "User requested shutdown..."));
    ck_assert(server_log_has(&kv, "bye bye..."));
    ck_assert_int_ne(access(pidfile, F_OK), 0);
}
END_TEST

/* The end of the log takes its time, and somebody is impatient. */
START_TEST(test_second_sigint)
{
    server_env(&kv, "KV_FAULTS", "wal.before_write=delay3000:3:0");
    start();
    kill(kv.pid, SIGINT);
    server_wait_log(&kv, 0, "User requested shutdown...", 20000);
    kill(kv.pid, SIGINT);
    int status = server_wait_exit(&kv, 20000);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
    ck_assert(WEXITSTATUS(status) == 0 || server_log_has(&kv, "You insist... exiting now."));
}
END_TEST

/* ---- What the system sees ---- */

START_TEST(test_title_limits_log)
{
    char logfile[400], moved[440], cmdline[400], port[16];
    snprintf(logfile, sizeof logfile, "%s/kv.log", kv.dir);
    snprintf(moved, sizeof moved, "%s.1", logfile);
    start("--logfile", "kv.log", "--loglevel", "verbose");
    ck_assert_int_eq(access(logfile, F_OK), 0); /* relative to dir */
    snprintf(cmdline, sizeof cmdline, "/proc/%d/cmdline", (int)kv.pid);
    char title[256] = "";
    FILE *f = fopen(cmdline, "r");
    ck_assert_ptr_nonnull(f);
    (void)!fread(title, 1, sizeof title - 1, f);
    fclose(f);
    snprintf(port, sizeof port, ":%u", kv.port);
    ck_assert_ptr_nonnull(strstr(title, "kv-server 127.0.0.1"));
    ck_assert_ptr_nonnull(strstr(title, port));
    struct client *c = server_connect(&kv);
    client_expect_error(c, "ERR CONFIG SET failed", "CONFIG SET proc-title-template {x}");
    expect(c, "+OK", "CONFIG SET proc-title-template 'my {port} end'");
    f = fopen(cmdline, "r");
    ck_assert_ptr_nonnull(f);
    (void)!fread(title, 1, sizeof title - 1, f);
    fclose(f);
    char want[64];
    snprintf(want, sizeof want, "my %u end", kv.port);
    ck_assert_str_eq(title, want);
    ck_assert_int_eq(rename(logfile, moved), 0);
    usleep(1100000);
    expect(c, "+OK", "CONFIG SET appendfsync no"); /* logs a warning */
    ck_assert_int_eq(access(logfile, F_OK), 0);    /* opened again under its name */
    expect(c, "+OK", "CONFIG SET loglevel nothing");
    expect(c, "[\"loglevel\", \"nothing\"]", "CONFIG GET loglevel");
    client_close(c);
    server_stop(&kv);
}
END_TEST

START_TEST(test_descriptor_limit)
{
    struct rlimit low = { 300, 300 }, high = { 20000, 20000 };
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    bool may_raise = setrlimit(RLIMIT_NOFILE, &high) == 0; /* then the server may, too */
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    start();
    struct client *c = server_connect(&kv);
    expect(c, may_raise ? "[\"maxclients\", \"10000\"]" : "[\"maxclients\", \"236\"]",
           "CONFIG GET maxclients");
    client_expect_error(c,
                        "ERR CONFIG SET failed (possibly related to argument 'maxclients') - The "
                        "operating system is not able to handle the specified number of clients, "
                        "try with ",
                        "CONFIG SET maxclients 4000000000");
    expect(c, may_raise ? "[\"maxclients\", \"10000\"]" : "[\"maxclients\", \"236\"]",
           "CONFIG GET maxclients");
    ck_assert(server_log_has(&kv, "maxclients has been reduced to 236") != may_raise);
    client_close(c);
}
END_TEST

START_TEST(test_systemd)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    snprintf(un.sun_path, sizeof un.sun_path, "/tmp/kv-notify-%d", (int)getpid());
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    struct timeval limit = { .tv_sec = 20 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    server_env(&kv, "NOTIFY_SOCKET", un.sun_path);
    start("--supervised", "auto");
    char text[256] = "";
    ck_assert_int_gt(recv(fd, text, sizeof text - 1, 0), 0);
    ck_assert_ptr_nonnull(strstr(text, "READY=1"));
    struct client *c = server_connect(&kv);
    ck_assert_ptr_nonnull(
        strstr(client_ask(c, "INFO server")->text, "process_supervised:systemd\r\n"));
    client_close(c);
    server_stop(&kv);
    memset(text, 0, sizeof text);
    ck_assert_int_gt(recv(fd, text, sizeof text - 1, 0), 0);
    ck_assert_ptr_nonnull(strstr(text, "STOPPING=1"));
    close(fd);
    unlink(un.sun_path);
}
END_TEST

START_TEST(test_unix_socket)
{
    struct stat st;
    start("--unixsocket", kv.socket, "--unixsocketperm", "640");
    ck_assert_int_eq(stat(kv.socket, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0640);
    struct client *c = client_connect_unix(kv.socket);
    expect(c, "+PONG", "PING");
    client_close(c);
    ck_assert(server_log_has(&kv, "Ready to accept connections unix"));
}
END_TEST

START_TEST(test_daemonize)
{
    char command[600];
    unsigned port = server_free_port();
    snprintf(command, sizeof command,
             "$KV --port %u --daemonize yes --pidfile d.pid --logfile d.log --bind 127.0.0.1",
             port);
    ck_assert_int_eq(sh(command), 0);
    char path[400];
    snprintf(path, sizeof path, "%s/d.pid", kv.dir);
    int pid = 0;
    for (unsigned i = 0; i < 2000 && pid == 0; i++) {
        FILE *f = fopen(path, "r");
        if (f == NULL || fscanf(f, "%d", &pid) != 1) {
            pid = 0;
            usleep(10000);
        }
        if (f != NULL) {
            fclose(f);
        }
    }
    ck_assert_int_gt(pid, 1);
    struct client *c = NULL;
    for (unsigned i = 0; i < 2000 && c == NULL; i++, usleep(10000)) {
        c = client_try_connect((uint16_t)port);
    }
    ck_assert_ptr_nonnull(c);
    ck_assert_int_ne(getpgid(pid), getpgid(0)); /* a session of its own */
    client_send(c, "SHUTDOWN");
    client_expect_closed(c);
    client_close(c);
    for (unsigned i = 0; i < 2000 && access(path, F_OK) == 0; i++) {
        usleep(10000);
    }
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

/* ---- Listening, at run time ---- */

START_TEST(test_listen)
{
    char other[16];
    uint16_t port = server_free_port(), old = kv.port;
    start();
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "CONFIG SET port %u", port);
    snprintf(other, sizeof other, "%u", port);
    struct client *d = client_connect(port);
    expect(d, "+PONG", "PING");
    expect(c, "+PONG", "PING"); /* a connection outlives its listener */
    kv.port = port;
    usleep(100000);
    ck_assert_ptr_null(client_try_connect(old));
    char line[64];
    snprintf(line, sizeof line, "tcp_port:%u\r\n", port);
    ck_assert_ptr_nonnull(strstr(client_ask(c, "INFO server")->text, line));
    struct server taken;
    server_init(&taken, SERVER_KV);
    server_start(&taken, "--appendonly", "no");
    client_expect_error(c, "ERR CONFIG SET failed (possibly related to argument 'port')",
                        "CONFIG SET port %u", taken.port);
    snprintf(line, sizeof line, "[\"port\", \"%u\"]", port);
    expect(c, line, "CONFIG GET port");
    expect(c, "+OK", "CONFIG SET bind '127.0.0.1 -::1'");
    expect(c, "[\"bind\", \"127.0.0.1 -::1\"]", "CONFIG GET bind");
    client_expect_error(c, "ERR CONFIG SET failed", "CONFIG SET bind 203.0.113.77");
    client_expect_error(c, "ERR CONFIG SET failed", "CONFIG SET tls-port 1 tls-cert-file /nowhere");
    expect(c, "[\"tls-port\", \"0\"]", "CONFIG GET tls-port");
    client_expect_error(c, "ERR CONFIG SET failed", "CONFIG SET tcp-backlog 7"); /* as Redis */
    struct client *e = client_connect(port);
    expect(e, "+PONG", "PING");
    client_close(c);
    client_close(d);
    client_close(e);
    server_stop(&taken);
}
END_TEST

START_TEST(test_save_rules)
{
    start();
    struct client *c = server_connect(&kv);
    expect(c, "[\"save\", \"\"]", "CONFIG GET save");
    expect(c, "+OK", "CONFIG SET save '3600 1 300 100'");
    expect(c, "[\"save\", \"3600 1 300 100\"]", "CONFIG GET save");
    client_expect_error(c, "ERR CONFIG SET failed (possibly related to argument 'save') - Invalid",
                        "CONFIG SET save '0 1'");
    client_expect_error(c, "ERR CONFIG SET failed", "CONFIG SET save '10'");
    client_expect_error(c, "ERR CONFIG SET failed", "CONFIG SET appendonly no");
    expect(c, "+OK", "CONFIG SET save '' appendonly no");
    client_expect_error(c, "ERR CONFIG SET failed", "CONFIG SET save '10 1'");
    expect(c, "[\"save\", \"\"]", "CONFIG GET save");
    client_close(c);
}
END_TEST

/* ---- Strangers ---- */

static void closes_after(const char *bytes, const char *reply)
{
    struct client *c = server_connect(&kv);
    client_send_raw(c, bytes, strlen(bytes));
    if (reply != NULL) {
        const char *got = client_read_line(c);
        ck_assert_msg(strncmp(got, reply, strlen(reply)) == 0, "%s, expected %s", got, reply);
    }
    client_expect_closed(c);
    client_close(c);
}

START_TEST(test_before_auth)
{
    ck_assert_int_eq(server_try_start(&kv, "--requirepass", "secret"), 0);
    server_wait_log(&kv, 0, "Ready to accept connections tcp", 20000);
    struct client *c = server_connect(&kv);
    static const char *const refused[] = { "PING",        "GET a",  "CONFIG GET *", "INFO",
                                           "SUBSCRIBE a", "MULTI",  "CLIENT ID",    "SHUTDOWN",
                                           "SELECT 1",    "MONITOR" };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        expect(c, "-NOAUTH Authentication required.", refused[i]);
    }
    client_expect_error(c, "WRONGPASS", "AUTH wrong");
    expect(c, "+RESET", "RESET");
    expect(c, "+OK", "AUTH secret");
    expect(c, "+PONG", "PING");
    client_close(c);
    closes_after("*11\r\n", "-ERR Protocol error: unauthenticated multibulk length");
    closes_after("*1\r\n$16385\r\n", "-ERR Protocol error: unauthenticated bulk length");
    closes_after("QUIT\r\n", "+OK");
    /* What comes behind AUTH in one piece has the limits of an authenticated client. */
    static const char *const login[] = { "AUTH secret\r\n", "HELLO 2 AUTH default secret\r\n" };
    static char big[40000], value[20001];
    memset(value, 'x', sizeof value - 1);
    for (unsigned i = 0; i < 2; i++) {
        int n = snprintf(big, sizeof big, "%sMSET a 1 b 2 c 3 d 4 e 5\r\n", login[i]);
        n += snprintf(big + n, sizeof big - (size_t)n,
                      "*11\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\nc\r\n"
                      "$1\r\n3\r\n$1\r\nd\r\n$1\r\n4\r\n$1\r\ne\r\n$1\r\n5\r\n"
                      "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$20000\r\n%s\r\n",
                      value);
        c = server_connect(&kv);
        client_send_raw(c, big, (size_t)n);
        client_read_line(c);
        expect(c, "+OK", "PING");
        client_expect_next(c, "+OK");
        client_expect_next(c, "+OK");
        client_expect_next(c, "+PONG");
        client_close(c);
    }
}
END_TEST

START_TEST(test_http_and_resp)
{
    start();
    closes_after("POST / HTTP/1.1\r\nHost: x\r\n\r\n", NULL);
    closes_after("Host: x\r\n", NULL);
    ck_assert(server_log_has(&kv, "SECURITY ATTACK"));
    static const struct {
        const char *bytes, *error;
    } bad[] = { { "*+1\r\n", "-ERR Protocol error: invalid multibulk length" },
                { "*01\r\n", "-ERR Protocol error: invalid multibulk length" },
                { "*1\r\n$+4\r\n", "-ERR Protocol error: invalid bulk length" },
                { "*1\r\n$04\r\n", "-ERR Protocol error: invalid bulk length" },
                { "*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length" },
                { "*1\r\n$999999999999\r\n", "-ERR Protocol error: invalid bulk length" },
                { "*1\r\n:4\r\n", "-ERR Protocol error: expected '$', got ':'" },
                { "*2147483648\r\n", "-ERR Protocol error: invalid multibulk length" } };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        closes_after(bad[i].bytes, bad[i].error);
    }
    /* A declared length takes no memory before its bytes come. */
    struct client *c[20], *d = server_connect(&kv);
    for (unsigned i = 0; i < 20; i++) {
        c[i] = server_connect(&kv);
        client_send_raw(c[i], "*2\r\n$3\r\nGET\r\n$500000000\r\n", 25);
    }
    expect(d, "+PONG", "PING");
    const char *used = strstr(client_ask(d, "INFO memory")->text, "used_memory:");
    ck_assert_ptr_nonnull(used);
    ck_assert_int_lt(atoll(used + 12), 200 * 1024 * 1024);
    for (unsigned i = 0; i < 20; i++) {
        client_close(c[i]);
    }
    client_close(d);
}
END_TEST

START_TEST(test_protected)
{
    start("--protected-mode", "yes");
    struct client *c = server_connect(&kv); /* loopback */
    expect(c, "+PONG", "PING");
    client_expect_error(c,
                        "ERR CONFIG SET failed (possibly related to argument 'dir') - can't set "
                        "protected config",
                        "CONFIG SET dir /tmp");
    client_expect_error(c, "ERR CONFIG SET failed", "CONFIG SET dbfilename x");
    client_expect_error(c, "ERR CONFIG SET failed", "CONFIG SET enable-protected-configs yes");
    client_close(c);
    server_stop(&kv);
    start("--enable-protected-configs", "local", "--appendonly", "no");
    c = server_connect(&kv);
    expect(c, "+OK", "CONFIG SET dbfilename x.rdb");
    expect(c, "+OK", "CONFIG SET dir /tmp");
    expect(c, "[\"dir\", \"/tmp\"]", "CONFIG GET dir");
    client_expect_error(c, "ERR CONFIG SET failed", "CONFIG SET dir /nowhere/at/all");
    expect(c, "[\"dir\", \"/tmp\"]", "CONFIG GET dir");
    client_close(c);
    server_stop(&kv);
}
END_TEST

/* `line` replaces a file, which takes long: the only reactor answers others meanwhile. Tried again,
 * because this process, too, may be late, or the log was first to rename a file. */
static void replaces_aside(struct client *a, struct client *b, const char *line)
{
    bool aside = false;
    for (unsigned i = 0; i < 8 && !aside; i++) {
        client_expect(b, "+OK", "DEBUG FAULT io.rename=delay%u", 100u << i);
        client_send(a, "%s", line);
        while (client_int(b, "DEBUG FAULT") > 0) {
        }
        client_expect(b, "+PONG", "PING");
        struct pollfd p = { client_fd(a), POLLIN, 0 };
        aside = poll(&p, 1, 0) == 0;
        ck_assert_str_eq(client_read_line(a), "+OK");
    }
    ck_assert_msg(aside, "%s: nobody is served meanwhile", line);
}

START_TEST(test_replaced_aside)
{
#ifdef KV_FAULTS
    char users[PATH_MAX];
    snprintf(users, sizeof users, "%s/users.acl", kv.dir);
    snprintf(kv.conf, sizeof kv.conf, "%s/kv.conf", kv.dir);
    for (unsigned i = 0; i < 2; i++) {
        FILE *f = fopen(i == 0 ? users : kv.conf, "w");
        ck_assert_ptr_nonnull(f);
        fputs("\n", f);
        fclose(f);
    }
    start("--threads", "1", "--aclfile", users);
    struct client *a = server_connect(&kv), *b = server_connect(&kv);
    replaces_aside(a, b, "CONFIG REWRITE");
    replaces_aside(a, b, "ACL SAVE");
    client_expect(b, "+OK", "DEBUG FAULT io.rename=eio:0:2");
    client_expect_error(a, "ERR Rewriting config file: Input/output error", "CONFIG REWRITE");
    client_expect_error(b, "ERR There was an error trying to save the ACLs.", "ACL SAVE");
    client_expect(a, "+OK", "MULTI");
    client_expect(a, "+QUEUED", "ACL SAVE");
    client_expect(a, "[+OK]", "EXEC");
    /* An older text that is late does not end up above a newer one. */
    client_expect(b, "+OK", "DEBUG FAULT exec.replace_file=delay300");
    client_expect(a, "+OK", "CONFIG SET timeout 5001");
    client_send(a, "CONFIG REWRITE");
    while (client_int(b, "DEBUG FAULT") > 0) {
    }
    client_expect(b, "+OK", "MULTI");
    client_expect(b, "+QUEUED", "CONFIG SET timeout 5002");
    client_expect(b, "+QUEUED", "CONFIG REWRITE");
    client_expect(b, "[+OK, +OK]", "EXEC");
    ck_assert_str_eq(client_read_line(a), "+OK");
    struct buf text = { 0 };
    ck_assert_int_eq(io_read_file(kv.conf, &text, 100000), 0);
    buf_add_char(&text, '\0');
    ck_assert_ptr_nonnull(strstr(text.p, "timeout 5002\n"));
    buf_free(&text);
    client_expect(b, "+OK", "DEBUG FAULT io.rename=delay100");
    client_send(a, "ACL SAVE"); /* the end waits for it */
    while (client_int(b, "DEBUG FAULT") > 0) {
    }
    client_close(b);
    server_stop(&kv);
    client_close(a);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

/* After a change that went back: `old` answers, and soon `other` refuses. */
static void expect_listening(uint16_t old, uint16_t other)
{
    struct client *c = client_connect(old), *d;
    expect(c, "+PONG", "PING");
    for (unsigned i = 0; i < 2000 && (d = client_try_connect(other)) != NULL; i++, usleep(10000)) {
        client_close(d); /* the first reactor has not closed it yet */
    }
    ck_assert_ptr_null(client_try_connect(other));
    client_close(c);
    c = client_connect(old);
    expect(c, "+PONG", "PING");
    char line[64];
    snprintf(line, sizeof line, "[\"port\", \"%u\"]", old);
    expect(c, line, "CONFIG GET port");
    client_close(c);
}

/* The old port is still bound when one command, or the next on the same reactor, goes back to it.
 */
START_TEST(test_listen_goes_back)
{
    uint16_t other = server_free_port();
    char pipeline[200];
    start("--threads", "1", "--appendfsync", "always");
    struct client *c = server_connect(&kv);
    client_expect_error(c, "ERR CONFIG SET failed (possibly related to argument 'proc-title-te",
                        "CONFIG SET port %u proc-title-template {x}", other);
    expect_listening(kv.port, other);
    expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "CONFIG SET port %u appendfsync everysec", other);
    expect(c,
           "[-ERR CONFIG SET failed - it waits for the disk, which a transaction or script can't]",
           "EXEC");
    expect(c, "+PONG", "PING");
    expect(c, "[\"appendfsync\", \"always\"]", "CONFIG GET appendfsync");
    expect_listening(kv.port, other);
    snprintf(pipeline, sizeof pipeline,
             "CONFIG SET port %u\r\nCONFIG SET bind '127.0.0.1 127.0.0.2'\r\n"
             "CONFIG SET port %u\r\nCONFIG SET bind 127.0.0.1\r\n",
             other, kv.port);
    client_send_raw(c, pipeline, strlen(pipeline));
    for (unsigned i = 0; i < 4; i++) {
        client_expect_next(c, "+OK");
    }
    expect_listening(kv.port, other);
    client_close(c);
    server_stop(&kv);
}
END_TEST

UNIT_SUITE(process)
{
    TCase *c =
        unit_case_slow(suite, "arguments", 120, test_options_that_print, test_bad_configuration,
                       test_files_and_arguments, test_config_rewrite, test_config_rewrite_users,
                       test_config_rewrite_too_large, test_replaced_aside);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_slow(suite, "system", 120, test_signals, test_second_sigint,
                       test_title_limits_log, test_descriptor_limit, test_systemd, test_unix_socket,
                       test_daemonize);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_slow(suite, "listening", 120, test_listen, test_listen_goes_back,
                       test_save_rules);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_slow(suite, "strangers", 120, test_before_auth, test_http_and_resp,
                       test_protected);
    tcase_add_checked_fixture(c, setup, teardown);
}
