/* server.h -- Starts, watches and stops a server under test: kv-server, or redis-server 7.0.15 as
 * the reference. SPDX-License-Identifier: BSD-3-Clause
 *
 *     struct server s;
 *     server_init(&s, SERVER_KV);
 *     server_start(&s, "--threads", "4");
 *     ... client_connect(s.port) ...
 *     server_stop(&s);                        SIGTERM, must exit with 0
 *
 * Each has a directory of its own below unit_tmpdir(), which stays over restarts, and a free TCP
 * port. The program is the kv-server beside the running test program (KV_SERVER names another), or
 * redis-server from build/peers or /usr/bin (REDIS_SERVER). Given before your arguments: --port,
 * --bind 127.0.0.1, --dir, --enable-debug-command yes; for redis-server also --save ''. What it
 * prints goes to s.log. Functions fail the running test when they cannot do what they say; try_
 * ones tell. A server ends with the process that started it. Start and stop it in the same process
 * and thread: in the test, or both in the fixture of a case. */
#ifndef TESTS_SERVER_H
#define TESTS_SERVER_H

#include "resp_client.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum server_kind { SERVER_KV, SERVER_REDIS };

#define SERVER_ENV_MAX 8

struct server {
    enum server_kind kind;
    uint16_t port;
    pid_t pid;                     /* 0: not running */
    char dir[300];                 /* its --dir */
    char log[320];                 /* what it printed, over all starts */
    char socket[320];              /* a path for --unixsocket, when a test wants one */
    char env[SERVER_ENV_MAX][256]; /* "NAME=value" for its starts */
    char conf[320];                /* a configuration file, when a test wants one: given first */
};

void server_init(struct server *s, enum server_kind kind);
/* Sets a variable in the environment of the following starts, e.g. KV_FAULTS; an empty value unsets
 * it. */
void server_env(struct server *s, const char *name, const char *value);

/* Starts it and waits until it answers PING with PONG (60 s; sanitizer runs more). */
#define server_start(s, ...) \
    server_start_args(s, (const char *const[]){ NULL, ##__VA_ARGS__, NULL } + 1)
void server_start_args(struct server *s, const char *const *args);
/* Starts it: 0 when it runs (perhaps still loading), else its wait status after it has ended by
 * itself. */
#define server_try_start(s, ...) \
    server_try_start_args(s, (const char *const[]){ NULL, ##__VA_ARGS__, NULL } + 1)
int server_try_start_args(struct server *s, const char *const *args);
/* Waits until it no longer answers LOADING. */
void server_wait_ready(struct server *s);

/* SIGTERM, and it must exit with 0 in time: also no sanitizer has reported anything. Nothing when
 * it is not running. */
void server_stop(struct server *s);
void server_kill(struct server *s); /* SIGKILL, waits for the end */
/* Waits for its end: the status of waitpid(); fails after `ms`. */
int server_wait_exit(struct server *s, int ms);
bool server_running(struct server *s);

/* All that it printed, to be freed by the caller. */
char *server_log(const struct server *s);
bool server_log_has(const struct server *s, const char *text);
/* Waits until `text` stands in the log after its byte `from`. */
void server_wait_log(const struct server *s, size_t from, const char *text, int ms);

struct client *server_connect(const struct server *s);

/* The fixture of a case: start() and stop() of a server `kv` with these arguments. */
#define SERVER_FIXTURE(...)             \
    static struct server kv;            \
    static void start(void)             \
    {                                   \
        server_init(&kv, SERVER_KV);    \
        server_start(&kv, __VA_ARGS__); \
        server_wait_ready(&kv);         \
    }                                   \
    static void stop(void)              \
    {                                   \
        server_stop(&kv);               \
    }
/* Likewise, and a client `c` of it. */
#define SERVER_CLIENT_FIXTURE(...)      \
    static struct server kv;            \
    static struct client *c;            \
    static void start(void)             \
    {                                   \
        server_init(&kv, SERVER_KV);    \
        server_start(&kv, __VA_ARGS__); \
        c = server_connect(&kv);        \
    }                                   \
    static void stop(void)              \
    {                                   \
        client_close(c);                \
        server_stop(&kv);               \
    }
/* A TCP port nobody listens on just now. */
uint16_t server_free_port(void);
#endif
