/* resp_client.c -- Sockets and words around the strict reader.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "resp_client.h"
#include "unit.h"
#include "base/base.h"
#include "base/clock.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TIMEOUT_MS 30000
#define WORDS_MAX  1024 /* words of one command line; more go through client_send_args() */

struct client {
    int fd;
    int timeout_ms;
    struct resp_reader reader;
    struct resp *reply; /* last one read */
    char *line;         /* its form as a line, when asked for */
    char problem[200];
};

struct words {
    size_t count;
    char *at[WORDS_MAX];
    size_t len[WORDS_MAX];
};

/* ---- connecting ---- */

static ssize_t fill_from_socket(void *arg, void *to, size_t size)
{
    struct client *c = arg;
    int64_t deadline = clock_mono_ms() + c->timeout_ms;
    for (;;) {
        ssize_t n = recv(c->fd, to, size, 0);
        if (n > 0) {
            return n;
        }
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            return RESP_CLOSED;
        }
        int64_t left = deadline - clock_mono_ms();
        if (left <= 0) {
            return RESP_TIMEOUT;
        }
        struct pollfd p = { .fd = c->fd, .events = POLLIN };
        (void)poll(&p, 1, (int)left);
    }
}

struct client *client_from_fd(int fd)
{
    struct client *c = calloc(1, sizeof *c);
    must(c != NULL);
    c->fd = fd;
    c->timeout_ms = unit_patient_ms(TIMEOUT_MS);
    resp_reader_init(&c->reader, 2, fill_from_socket, c);
    must(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    must(fcntl(fd, F_SETFD, FD_CLOEXEC) == 0);
    return c;
}

static struct client *dial(int family, const void *address, socklen_t size)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return NULL;
    }
    if (connect(fd, address, size) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return NULL;
    }
    return client_from_fd(fd);
}

struct client *client_try_connect(uint16_t port)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    struct client *c = dial(AF_INET, &in, sizeof in);
    if (c != NULL) {
        must(setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)) == 0);
    }
    return c;
}

struct client *client_connect(uint16_t port)
{
    struct client *c = client_try_connect(port);
    ck_assert_msg(c != NULL, "connect to port %u: %s", port, strerror(errno));
    return c;
}

struct client *client_connect_unix(const char *path)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    ck_assert_uint_lt(strlen(path), sizeof un.sun_path);
    strcpy(un.sun_path, path);
    struct client *c = dial(AF_UNIX, &un, sizeof un);
    ck_assert_msg(c != NULL, "connect to %s: %s", path, strerror(errno));
    return c;
}

void client_close(struct client *c)
{
    if (c != NULL) {
        close(c->fd);
        resp_free(c->reply);
        resp_reader_free(&c->reader);
        free(c->line);
        free(c);
    }
}

void client_timeout(struct client *c, int ms)
{
    c->timeout_ms = ms;
}

void client_protocol(struct client *c, int protocol)
{
    c->reader.protocol = protocol;
}

int client_fd(const struct client *c)
{
    return c->fd;
}

const char *client_problem(const struct client *c)
{
    return c->problem;
}

/* ---- sending ---- */

/* Takes what has arrived, so that a peer that waits for us to read can go on. */
static void drain_input(struct client *c)
{
    char bytes[65536];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n > 0) {
        resp_reader_feed(&c->reader, bytes, (size_t)n);
    }
}

bool client_try_send_raw(struct client *c, const void *bytes, size_t len)
{
    const char *at = bytes;
    int64_t deadline = clock_mono_ms() + c->timeout_ms;
    while (len > 0) {
        ssize_t n = send(c->fd, at, len, MSG_NOSIGNAL);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR) {
            snprintf(c->problem, sizeof c->problem, "send: %s", strerror(errno));
            return false;
        }
        int64_t left = deadline - clock_mono_ms();
        if (left <= 0) {
            snprintf(c->problem, sizeof c->problem, "send: no progress in %d ms", c->timeout_ms);
            return false;
        }
        struct pollfd p = { .fd = c->fd, .events = POLLIN | POLLOUT };
        if (poll(&p, 1, (int)left) > 0 && (p.revents & POLLIN) != 0) {
            drain_input(c);
        }
    }
    return true;
}

void client_send_raw(struct client *c, const void *bytes, size_t len)
{
    ck_assert_msg(client_try_send_raw(c, bytes, len), "%s", c->problem);
}

static bool try_send_args(struct client *c, size_t argc, const char *const *argv,
                          const size_t *lens)
{
    char *request = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&request, &size);
    must(f != NULL);
    fprintf(f, "*%zu\r\n", argc);
    for (size_t i = 0; i < argc; i++) {
        size_t len = lens != NULL ? lens[i] : strlen(argv[i]);
        fprintf(f, "$%zu\r\n", len);
        fwrite(argv[i], 1, len, f);
        fputs("\r\n", f);
    }
    must(fclose(f) == 0);
    bool sent = client_try_send_raw(c, request, size);
    free(request);
    return sent;
}

void client_send_args(struct client *c, size_t argc, const char *const *argv, const size_t *lens)
{
    ck_assert_msg(try_send_args(c, argc, argv, lens), "%s", c->problem);
}

/* ---- words ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/* One character of a "..." word, after its backslash. Returns where to go on. */
static const char *unescape(const char *s, char *out)
{
    static const char names[] = "nrtab", values[] = "\n\r\t\a\b";
    if (s[0] == 'x' && hex_value(s[1]) >= 0 && hex_value(s[2]) >= 0) {
        *out = (char)(hex_value(s[1]) * 16 + hex_value(s[2]));
        return s + 3;
    }
    const char *name = s[0] != '\0' ? strchr(names, s[0]) : NULL;
    *out = name != NULL ? values[name - names] : s[0];
    return s[0] != '\0' ? s + 1 : s;
}

/* Reads one word from s into `to` (large enough); returns where it ends, NULL when a quote is not
 * closed. */
static const char *read_word(const char *s, char *to, size_t *len)
{
    char quote = '\0';
    *len = 0;
    for (;;) {
        char ch = *s;
        if (ch == '\0' || (quote == '\0' && isspace((unsigned char)ch))) {
            return quote == '\0' ? s : NULL;
        }
        s++;
        if (quote == '\0' && (ch == '"' || ch == '\'')) {
            quote = ch;
        } else if (quote != '\0' && ch == quote) {
            quote = '\0';
        } else {
            if (quote == '"' && ch == '\\') {
                s = unescape(s, &ch);
            }
            to[(*len)++] = ch;
        }
    }
}

/* Splits in place of `space`, which has the size of the line plus one NUL per word. */
static bool split_words(const char *line, char *space, struct words *w)
{
    w->count = 0;
    for (;;) {
        while (isspace((unsigned char)*line)) {
            line++;
        }
        if (*line == '\0') {
            return true;
        }
        if (w->count == WORDS_MAX) {
            return false;
        }
        size_t len = 0;
        line = read_word(line, space, &len);
        if (line == NULL) {
            return false;
        }
        space[len] = '\0';
        w->at[w->count] = space;
        w->len[w->count++] = len;
        space += len + 1;
    }
}

static bool try_send_line(struct client *c, const char *fmt, va_list ap)
{
    char *line = NULL;
    int n = vasprintf(&line, fmt, ap);
    must(n >= 0);
    char *space = malloc(2 * (size_t)n + 2);
    struct words *w = malloc(sizeof *w);
    must(space != NULL && w != NULL);
    bool good = split_words(line, space, w);
    ck_assert_msg(good, "cannot split into words: %s", line);
    bool sent = try_send_args(c, w->count, (const char *const *)w->at, w->len);
    free(w);
    free(space);
    free(line);
    return sent;
}

bool client_try_send(struct client *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    bool sent = try_send_line(c, fmt, ap);
    va_end(ap);
    return sent;
}

static void send_line(struct client *c, const char *fmt, va_list ap)
{
    bool sent = try_send_line(c, fmt, ap);
    ck_assert_msg(sent, "%s: %s", fmt, c->problem);
}

void client_send(struct client *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    send_line(c, fmt, ap);
    va_end(ap);
}

/* ---- reading ---- */

enum resp_status client_try_read(struct client *c, const struct resp **out)
{
    resp_free(c->reply);
    free(c->line);
    c->reply = NULL;
    c->line = NULL;
    enum resp_status st = resp_read(&c->reader, &c->reply);
    if (st == RESP_MALFORMED) {
        snprintf(c->problem, sizeof c->problem, "malformed reply: %s", c->reader.problem);
    } else if (st != RESP_OK) {
        snprintf(c->problem, sizeof c->problem, "%s",
                 st == RESP_CLOSED ? "connection closed" : "no reply in time");
    }
    *out = c->reply;
    return st;
}

const struct resp *client_read(struct client *c)
{
    const struct resp *reply = NULL;
    ck_assert_msg(client_try_read(c, &reply) == RESP_OK, "%s", c->problem);
    return reply;
}

const char *client_last_line(const struct client *c)
{
    return c->line != NULL ? c->line : "(none)";
}

const char *client_read_line(struct client *c)
{
    c->line = resp_line(client_read(c));
    return c->line;
}

struct resp *client_take(struct client *c)
{
    struct resp *reply = c->reply;
    must(reply != NULL);
    c->reply = NULL;
    return reply;
}

void client_expect_nothing(struct client *c, int ms)
{
    const struct resp *reply = NULL;
    int usual = c->timeout_ms;
    c->timeout_ms = ms;
    enum resp_status st = client_try_read(c, &reply);
    c->timeout_ms = usual;
    char *line = reply != NULL ? resp_line(reply) : NULL;
    ck_assert_msg(st == RESP_TIMEOUT, "expected silence, got %s", line != NULL ? line : c->problem);
    free(line);
}

void client_expect_closed(struct client *c)
{
    const struct resp *reply = NULL;
    enum resp_status st = client_try_read(c, &reply);
    char *line = reply != NULL ? resp_line(reply) : NULL;
    ck_assert_msg(st == RESP_CLOSED, "expected the connection to be closed, got %s",
                  line != NULL ? line : c->problem);
    free(line);
}

const struct resp *client_ask(struct client *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    send_line(c, fmt, ap);
    va_end(ap);
    return client_read(c);
}

const char *client_line(struct client *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    send_line(c, fmt, ap);
    va_end(ap);
    return client_read_line(c);
}

int64_t client_int(struct client *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    send_line(c, fmt, ap);
    va_end(ap);
    const char *line = client_read_line(c);
    ck_assert_msg(c->reply->type == RESP_INT, "%s: expected an integer, got %s", fmt, line);
    return c->reply->integer;
}

bool client_line_starts(struct client *c, const char *prefix, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    send_line(c, fmt, ap);
    va_end(ap);
    return strncmp(client_read_line(c), prefix, strlen(prefix)) == 0;
}

void client_hello(struct client *c, int protocol)
{
    c->reader.protocol = protocol;
    const struct resp *reply = client_ask(c, "HELLO %d", protocol);
    ck_assert_msg(reply->type == (protocol == 3 ? RESP_MAP : RESP_ARRAY), "HELLO %d: %s", protocol,
                  reply->text != NULL ? reply->text : "not a map");
}
