/* fuzz_resp.c -- Whatever bytes a client sends: parser, dispatch, every data command.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A whole server (no log, one reactor, a unix socket) runs in this process. Each input goes to it
 * twice, on an empty keyspace: at once, and byte by byte; the replies must be the same bytes. They
 * need not be where the moment shows in them: blocking commands, clocks, expiries close to now,
 * random choices. Numbers are not compared where an id or a count of use is told. Commands that end
 * or reconfigure the server, or concern other clients, do not exist here. */
#include "server/server_int.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define INPUT_MAX 4096
#define WAITS     600 /* of 100 ms each: where a clock jumps, one of them ends early, not all */

static struct {
    char dir[64];
    struct sockaddr_un address;
    int control;
    struct buf whole, single;
} fuzz;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The keyspace packs a tag into its pointers, where the leak checker does not see them. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

/* ---- The server ---- */

static void *serve(void *arg)
{
    exit(server_run(arg, false));
}

static void start_server(void)
{
    static const char format[] =
        "port 0\nappendonly no\nthreads 1\nloglevel nothing\nlogfile /dev/null\n"
        "proto-max-bulk-len 1mb\nlist-max-listpack-size 4\ncrash-log-enabled no\n"
        "rename-command shutdown \"\"\nrename-command config \"\"\n"
        "rename-command client \"\"\nrename-command monitor \"\"\n"
        "shards 16\nunixsocket %s\n";
    static const uint8_t key[16] = "the same key";
    snprintf(fuzz.dir, sizeof fuzz.dir, "/tmp/kv-fuzz-resp.%ld", (long)getpid());
    mkdir(fuzz.dir, 0700);
    fuzz.address.sun_family = AF_UNIX;
    snprintf(fuzz.address.sun_path, sizeof fuzz.address.sun_path, "%s/sock", fuzz.dir);
    clock_init();
    hash_seed(key);
    struct server *s = server_new();
    struct buf text = { 0 }, error = { 0 };
    buf_printf(&text, format, fuzz.address.sun_path);
    if (!config_load_text(s->config, buf_slice(&text), "fuzz", &error)) {
        fprintf(stderr, "%.*s\n", (int)error.n, error.p);
        abort();
    }
    buf_free(&text);
    pthread_t thread;
    must(pthread_create(&thread, NULL, serve, s) == 0);
}

static int open_connection(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    must(fd >= 0);
    for (unsigned i = 0; connect(fd, (struct sockaddr *)&fuzz.address, sizeof fuzz.address) != 0;
         i++) {
        must(i < 60000);
        usleep(1000);
    }
    return fd;
}

static void remove_dir(void)
{
    unlink(fuzz.address.sun_path);
    rmdir(fuzz.dir);
}

static void once(void)
{
    if (fuzz.control == 0) {
        start_server();
        fuzz.control = open_connection();
        atexit(remove_dir);
    }
}

/* ---- One conversation ---- */

/* Waits; a server that neither takes nor gives anything hangs. What it has not taken is told: that
 * is how a lost event differs from a reply that does not come. */
static void wait_for(int fd, short events)
{
    struct pollfd p = { .fd = fd, .events = events };
    for (unsigned i = 0; i < WAITS; i++) {
        if (poll(&p, 1, 100) > 0) {
            return;
        }
    }
    int untaken = -1;
    (void)ioctl(fd, SIOCOUTQ, &untaken);
    fprintf(stderr, "no answer in %d s, %d bytes not taken; connection %d (control is %d)\n",
            WAITS / 10, untaken, fd, fuzz.control);
    abort();
}

/* False: there will not be more. */
static bool take_replies(int fd, struct buf *replies)
{
    for (;;) {
        char *room = buf_reserve(replies, 65536);
        ssize_t got = recv(fd, room, 65536, 0);
        if (got <= 0) {
            return got < 0 && (errno == EAGAIN || errno == EINTR);
        }
        replies->n += (size_t)got;
    }
}

static void talk(const uint8_t *data, size_t n, size_t step, struct buf *replies)
{
    int fd = open_connection();
    bool open = true;
    for (size_t at = 0; open && at < n;) {
        size_t part = step < n - at ? step : n - at;
        ssize_t sent = send(fd, data + at, part, MSG_NOSIGNAL);
        if (sent > 0) {
            at += (size_t)sent;
        } else if (errno == EAGAIN) {
            wait_for(fd, POLLIN | POLLOUT);
        } else {
            break; /* a protocol error closes it */
        }
        open = take_replies(fd, replies);
    }
    shutdown(fd, SHUT_WR);
    while (open) {
        wait_for(fd, POLLIN);
        open = take_replies(fd, replies);
    }
    close(fd);
}

static void forget_everything(void)
{
    struct buf reply = { 0 };
    must(send(fuzz.control, "FLUSHALL\r\n", 10, MSG_NOSIGNAL) == 10);
    while (reply.n < 5) {
        wait_for(fuzz.control, POLLIN);
        must(take_replies(fuzz.control, &reply));
    }
    must(memcmp(reply.p, "+OK\r\n", 5) == 0);
    buf_free(&reply);
}

/* ---- What may be compared ---- */

static bool mentions(const struct buf *lower, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (memmem(lower->p, lower->n, *words, strlen(*words)) != NULL) {
            return true;
        }
    }
    return false;
}

/* Every run of digits becomes one '#'. */
static void blur(struct buf *b)
{
    size_t to = 0;
    for (size_t i = 0; i < b->n; i++) {
        bool digit = b->p[i] >= '0' && b->p[i] <= '9';
        if (!digit || to == 0 || b->p[to - 1] != '#') {
            b->p[to++] = digit ? '#' : b->p[i];
        }
    }
    b->n = to;
}

static void compare(const uint8_t *data, size_t n)
{
    static const char *const moment[] = {
        "blpop",   "brpop",  "blmove", "blmpop",     "wait",       "expire",    "px",    "\nex\r",
        " ex ",    "setex",  "getex",  "ttl",        "time",       "randomkey", "info",  "slowlog",
        "latency", "memory", "lolwut", "publish",    "commandlog", "monitor",   "acl",   "rand",
        "spop",    "xadd",   "xclaim", "xautoclaim", "xreadgroup", "xpending",  "xinfo", NULL
    };
    static const char *const told[] = { "hello", "object", "reset", NULL };
    struct buf lower = { 0 };
    buf_add(&lower, data, n);
    for (size_t i = 0; i < n; i++) {
        lower.p[i] = (char)tolower(lower.p[i]);
    }
    bool comparable = !mentions(&lower, moment);
    if (mentions(&lower, told)) {
        blur(&fuzz.whole);
        blur(&fuzz.single);
    }
    buf_free(&lower);
    if (comparable && !slice_eq(buf_slice(&fuzz.whole), buf_slice(&fuzz.single))) {
        fprintf(stderr, "at once:\n%.*s\nbyte by byte:\n%.*s\n", (int)fuzz.whole.n, fuzz.whole.p,
                (int)fuzz.single.n, fuzz.single.p);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0 || n > INPUT_MAX) {
        return -1;
    }
    once();
    fuzz.whole.n = fuzz.single.n = 0;
    forget_everything();
    talk(data, n, n, &fuzz.whole);
    forget_everything();
    talk(data, n, 1, &fuzz.single);
    compare(data, n);
    return 0;
}
