/* load.c -- Load generator: the clients of one thread send one command in pipelines, as cheaply as
 * they can. SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY: with pipelines redis-benchmark needs as much time of its core for a command as kv needs of
 * its own, and more where the reply has several lines: it then measures itself. This one writes its
 * requests once, changes only their random digits, and steps over replies.
 *
 * Usage: load -p port [-c clients] [-P pipeline] [-n requests] [-r keys] [-s] command word...
 *   __rand_int__ in a word becomes 12 digits below `keys`, others in each request. -s: never sleeps
 * (a core of its own). Prints "requests-per-second p50-ms": the round trip of a whole pipeline. An
 * error reply ends it with status 1. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MARK        "__rand_int__"
#define MARK_LEN    (sizeof(MARK) - 1)
#define INPUT_BYTES (256u << 10)
#define LINE_BYTES  1024u /* a line that is longer is no reply of a benchmark */
#define CLIENTS_MAX 1000u

static struct options {
    uint16_t port;
    bool spin;
    unsigned clients, pipeline;
    uint64_t requests, keys;
} options = { .clients = 50, .pipeline = 1, .requests = 100000, .keys = 1 };

struct client {
    int fd;
    bool busy;        /* a batch is on its way */
    char *batch;      /* `pipeline` requests */
    unsigned replies; /* of the batch, still to come */
    uint64_t values;  /* of this reply, still to come: more than one within an aggregate */
    size_t skip;      /* bytes of this bulk string, still to come */
    int64_t sent_us;
    size_t part_len; /* of a line that has not come whole */
    char part[LINE_BYTES];
};
static struct client clients[CLIENTS_MAX];

static struct buf request; /* one, the others are equal but for the digits at `marks` */
static size_t marks[64], mark_count;

static uint64_t asked, answered;
static uint32_t *round_trips_us;
static size_t round_trip_count;

_Noreturn static void fail(struct slice what)
{
    fprintf(stderr, "load: %.*s\n", (int)what.n, what.p);
    exit(1);
}

_Noreturn static void fail_call(const char *call)
{
    fprintf(stderr, "load: %s: %s\n", call, strerror(errno));
    exit(1);
}

/* ---- Requests ---- */

static void compose(int words, char **word)
{
    buf_printf(&request, "*%d\r\n", words);
    for (int i = 0; i < words; i++) {
        buf_printf(&request, "$%zu\r\n%s\r\n", strlen(word[i]), word[i]);
    }
    for (size_t at = 0; at + MARK_LEN <= request.n; at++) {
        if (memcmp(request.p + at, MARK, MARK_LEN) == 0 &&
            mark_count < sizeof marks / sizeof *marks) {
            marks[mark_count++] = at;
        }
    }
}

static void renew_digits(char *at)
{
    uint64_t n = rng_below(options.keys);
    for (size_t i = MARK_LEN; i-- > 0; n /= 10) {
        at[i] = (char)('0' + n % 10);
    }
}

static void send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        const ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent < 0) {
            fail_call("send");
        }
        p += sent, n -= (size_t)sent;
    }
}

/* The next batch of a client; nothing when enough was asked. */
static void send_batch(struct client *c)
{
    const uint64_t left = options.requests - asked;
    c->replies = left < options.pipeline ? (unsigned)left : options.pipeline;
    c->busy = c->replies > 0;
    if (!c->busy) {
        return;
    }
    asked += c->replies;
    c->values = 1;
    for (unsigned i = 0; i < c->replies; i++) {
        for (size_t m = 0; m < mark_count; m++) {
            renew_digits(c->batch + i * request.n + marks[m]);
        }
    }
    c->sent_us = clock_mono_us();
    send_all(c->fd, c->batch, c->replies * request.n);
}

/* ---- Replies ---- */

static void value_ends(struct client *c)
{
    if (--c->values == 0) {
        if (c->replies == 0) {
            fail(S("more replies than requests"));
        }
        c->replies--;
        c->values = 1;
    }
}

static void read_line(struct client *c, struct slice line)
{
    int64_t n = 0;
    const bool sized = line.n > 0 && (*line.p == '$' || *line.p == '*');
    const bool error = line.n == 0 || *line.p == '-';
    if (error || (sized && !parse_i64(slice_of(line.p + 1, line.n - 1), &n))) {
        fail(line);
    }
    if (*line.p == '$' && n >= 0) {
        c->skip = (size_t)n + 2;
        return;
    }
    if (*line.p == '*' && n > 0) {
        c->values += (uint64_t)n;
    }
    value_ends(c);
}

/* What is left of `in` when it ends within a line. */
static struct slice read_replies(struct client *c, struct slice in)
{
    while (in.n > 0) {
        if (c->skip > 0) {
            const size_t step = c->skip < in.n ? c->skip : in.n;
            in = slice_of(in.p + step, in.n - step);
            c->skip -= step;
            if (c->skip == 0) {
                value_ends(c);
            }
            continue;
        }
        const char *end = memchr(in.p, '\n', in.n);
        if (end == NULL) {
            break;
        }
        read_line(c, slice_of(in.p, (size_t)(end - in.p) - 1));
        in.n -= (size_t)(end + 1 - in.p);
        in.p = end + 1;
    }
    return in;
}

static void on_readable(struct client *c)
{
    static char input[INPUT_BYTES];
    memcpy(input, c->part, c->part_len);
    const ssize_t got = recv(c->fd, input + c->part_len, sizeof input - c->part_len, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        errno = got == 0 ? ECONNRESET : errno;
        fail_call("recv");
    }
    const unsigned before = c->replies;
    const struct slice rest = read_replies(c, slice_of(input, c->part_len + (size_t)got));
    if (rest.n > LINE_BYTES) {
        fail(S("a line without end"));
    }
    memcpy(c->part, rest.p, rest.n);
    c->part_len = rest.n;
    answered += before - c->replies;
    if (c->replies == 0) {
        round_trips_us[round_trip_count++] = (uint32_t)(clock_mono_us() - c->sent_us);
        send_batch(c);
    }
}

/* ---- The run ---- */

static int connect_to_server(void)
{
    const struct sockaddr_in address = { .sin_family = AF_INET,
                                         .sin_port = htons(options.port),
                                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        fail_call("connect");
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void connect_clients(int poll)
{
    for (unsigned i = 0; i < options.clients; i++) {
        struct client *c = &clients[i];
        c->fd = connect_to_server();
        c->batch = mem_alloc(options.pipeline * request.n);
        for (unsigned k = 0; k < options.pipeline; k++) {
            memcpy(c->batch + k * request.n, request.p, request.n);
        }
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
        if (epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &event) != 0) {
            fail_call("epoll_ctl");
        }
    }
}

static void run(int poll)
{
    struct epoll_event events[64];
    for (unsigned i = 0; i < options.clients; i++) {
        send_batch(&clients[i]);
    }
    while (answered < options.requests) {
        const int n = epoll_wait(poll, events, 64, options.spin ? 0 : -1);
        if (n < 0 && errno != EINTR) {
            fail_call("epoll_wait");
        }
        for (int i = 0; i < n; i++) {
            on_readable(events[i].data.ptr);
        }
    }
}

static int by_size(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint64_t number(const char *text, uint64_t max)
{
    uint64_t n;
    if (!parse_u64(slice_str(text), &n) || n == 0 || n > max) {
        fail(S("a number from 1 on is expected"));
    }
    return n;
}

int main(int argc, char **argv)
{
    for (int letter; (letter = getopt(argc, argv, "+p:c:P:n:r:s")) != -1;) {
        switch (letter) {
        case 'p': options.port = (uint16_t)number(optarg, UINT16_MAX); break;
        case 'c': options.clients = (unsigned)number(optarg, CLIENTS_MAX); break;
        case 'P': options.pipeline = (unsigned)number(optarg, 100000); break;
        case 'n': options.requests = number(optarg, UINT32_MAX); break;
        case 'r': options.keys = number(optarg, 1000000000000); break;
        case 's': options.spin = true; break;
        default: return 2;
        }
    }
    if (optind == argc || options.port == 0) {
        fail(S("-p port and a command are needed"));
    }
    const int poll = epoll_create1(EPOLL_CLOEXEC);
    compose(argc - optind, argv + optind);
    round_trips_us = mem_alloc((options.requests / options.pipeline + options.clients + 1) *
                               sizeof *round_trips_us);
    connect_clients(poll);
    const int64_t begin_us = clock_mono_us();
    run(poll);
    const double seconds = (double)(clock_mono_us() - begin_us) / 1e6;
    qsort(round_trips_us, round_trip_count, sizeof *round_trips_us, by_size);
    const uint32_t p50_us = round_trips_us[round_trip_count / 2];
    printf("%.0f %.3f\n", (double)options.requests / seconds, (double)p50_us / 1e3);
    return 0;
}
