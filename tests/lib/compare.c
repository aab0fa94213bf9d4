/* compare.c -- Runs lines against two servers and tells every difference.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * EVENTS  Each server has a connection that listens to all keyspace events. After a line its own
 *         connection publishes BARRIER on a channel of the same pattern: what the listener has got
 *         when that arrives are the events of the line, also when they cross reactors. */
#include "compare.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "unit.h"
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS_MAX 16
#define REPORT_MAX      20 /* differences told in full */
#define QUIET_MS        100
#define BLOCK_MS        2000 /* at most: what is sent to a blocked connection changes nothing */
#define LINE_SHOWN      400  /* characters of a reply in a report */
#define EVENT_PATTERN   "__keyevent@*"
#define NOT_EXPECTED    "not what the line says"
#define BARRIER         "__keyevent@barrier"

struct side {
    const char *name;
    const struct server *server;
    struct client *listener;
    struct client *watcher; /* asks how many clients are blocked */
    struct client *at[CONNECTIONS_MAX];
};

struct connection {
    char name[24];
    bool open, multi,
        busy; /* busy: it cannot PUBLISH: a command was sent and not read, subscribed */
};

struct run {
    struct side kv, redis;
    int protocol;
    struct connection conn[CONNECTIONS_MAX]; /* 0: the main one */
    unsigned number;                         /* of the line, from 1 */
    const char *line;
    struct compare_result *out;
    struct buf report;
};

struct normal {
    bool sort, pairs, type, code;
    int64_t near;
};

/* ---- Telling differences ---- */

static void shorten(char *line)
{
    if (strlen(line) > LINE_SHOWN) {
        strcpy(line + LINE_SHOWN - 3, "...");
    }
}

static void tell(struct run *r, const char *what, const char *kv, const char *redis)
{
    if (r->out->differences++ < REPORT_MAX) {
        buf_printf(&r->report, "RESP%d line %u: %.*s%s%s\n      kv:    %s\n      %s %s\n",
                   r->protocol, r->number, LINE_SHOWN, r->line, what[0] != '\0' ? " -- " : "", what,
                   kv, strcmp(what, NOT_EXPECTED) == 0 ? "wanted:" : "redis:", redis);
    }
}

static void tell_replies(struct run *r, const char *what, const struct resp *kv,
                         const struct resp *redis)
{
    char *a = resp_line(kv), *b = resp_line(redis);
    shorten(a);
    shorten(b);
    tell(r, what, a, b);
    free(a);
    free(b);
}

/* ---- Comparing replies ---- */

static bool is_aggregate(const struct resp *r)
{
    return r->type == RESP_ARRAY || r->type == RESP_SET || r->type == RESP_MAP ||
           r->type == RESP_PUSH;
}

/* One element, or one key with its value. */
struct unit {
    char *line;
    const struct resp *first, *second;
};

static int unit_order(const void *a, const void *b)
{
    return strcmp(((const struct unit *)a)->line, ((const struct unit *)b)->line);
}

static struct unit *sorted_units(const struct resp *r, size_t step)
{
    struct unit *u = calloc(r->count + 1, sizeof *u);
    for (size_t i = 0; i * step < r->count; i++) {
        u[i].first = r->at[i * step];
        u[i].second = step == 2 ? r->at[i * step + 1] : NULL;
        char *key = resp_line(u[i].first), *value = step == 2 ? resp_line(u[i].second) : NULL;
        ck_assert_int_ge(asprintf(&u[i].line, "%s %s", key, value != NULL ? value : ""), 0);
        free(key);
        free(value);
    }
    qsort(u, r->count / step, sizeof *u, unit_order);
    return u;
}

static void units_free(struct unit *u)
{
    for (size_t i = 0; u[i].line != NULL; i++) {
        free(u[i].line);
    }
    free(u);
}

static bool same(const struct resp *a, const struct resp *b, const struct normal *n,
                 bool outermost);

static bool same_sorted(const struct resp *a, const struct resp *b, const struct normal *n,
                        size_t step)
{
    struct unit *ua = sorted_units(a, step), *ub = sorted_units(b, step);
    bool fine = true;
    for (size_t i = 0; i * step < a->count && fine; i++) {
        fine = same(ua[i].first, ub[i].first, n, false) &&
               (step == 1 || same(ua[i].second, ub[i].second, n, false));
    }
    units_free(ua);
    units_free(ub);
    return fine;
}

static bool same(const struct resp *a, const struct resp *b, const struct normal *n, bool outermost)
{
    if (a->type != b->type) {
        return false;
    }
    if (n->type) {
        return true;
    }
    if (n->code && a->type == RESP_ERROR) {
        size_t word = strcspn(a->text, " ");
        return word == strcspn(b->text, " ") && memcmp(a->text, b->text, word) == 0;
    }
    if (a->type == RESP_INT && n->near > 0) {
        return llabs(a->integer - b->integer) <= n->near;
    }
    if (!is_aggregate(a) || a->nil_array || b->nil_array) {
        return resp_equal(a, b);
    }
    if (a->count != b->count) {
        return false;
    }
    if (outermost && (n->sort || n->pairs)) {
        bool in_pairs = a->type == RESP_MAP || (n->pairs && a->count % 2 == 0);
        return same_sorted(a, b, n, in_pairs ? 2 : 1);
    }
    for (size_t i = 0; i < a->count; i++) {
        if (!same(a->at[i], b->at[i], n, false)) {
            return false;
        }
    }
    return true;
}

/* ---- Connections ---- */

static struct client *dial(struct run *r, const struct side *s)
{
    struct client *c = server_connect(s->server);
    if (r->protocol == 3) {
        client_hello(c, 3);
    }
    return c;
}

static unsigned connection(struct run *r, struct slice name)
{
    unsigned i = 0;
    while (i < CONNECTIONS_MAX && r->conn[i].name[0] != '\0' &&
           !slice_eq(slice_str(r->conn[i].name), name)) {
        i++;
    }
    ck_assert_msg(i < CONNECTIONS_MAX && name.n < sizeof r->conn[i].name, "line %u: %s", r->number,
                  r->line);
    struct connection *k = &r->conn[i];
    if (!k->open) {
        *k = (struct connection){ .open = true };
        memcpy(k->name, name.p, name.n);
        r->kv.at[i] = dial(r, &r->kv);
        r->redis.at[i] = dial(r, &r->redis);
    }
    return i;
}

static void disconnect(struct run *r, unsigned i)
{
    client_close(r->kv.at[i]);
    client_close(r->redis.at[i]);
    r->conn[i].open = r->conn[i].multi = r->conn[i].busy = false;
}

static void listen_to_events(struct side *s)
{
    s->listener = server_connect(s->server);
    client_expect(s->listener, "[\"psubscribe\", \"" EVENT_PATTERN "\", 1]",
                  "PSUBSCRIBE " EVENT_PATTERN);
}

static void empty_and_listen(struct run *r)
{
    struct side *sides[] = { &r->kv, &r->redis };
    for (unsigned i = 0; i < 2; i++) {
        client_expect(sides[i]->at[0], "+OK", "FLUSHALL");
        listen_to_events(sides[i]);
        sides[i]->watcher = server_connect(sides[i]->server);
    }
}

static void close_run(struct run *r)
{
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
        if (r->conn[i].open) {
            disconnect(r, i);
        }
    }
    client_close(r->kv.listener);
    client_close(r->redis.listener);
    client_close(r->kv.watcher);
    client_close(r->redis.watcher);
}

/* ---- Events ---- */

/* "set k, expire k" up to the barrier; returns how many. */
static unsigned events_until_barrier(struct run *r, const struct side *s, struct buf *out)
{
    unsigned n = 0;
    for (;;) {
        const struct resp *push = NULL;
        enum resp_status st = client_try_read(s->listener, &push);
        ck_assert_msg(st == RESP_OK, "line %u: %s: no events from %s (status %d)", r->number,
                      r->line, s->name, (int)st);
        ck_assert_uint_eq(push->count, 4);
        const char *channel = push->at[2]->text;
        if (strcmp(channel, BARRIER) == 0) {
            return n;
        }
        buf_printf(out, "%s%s ", n++ > 0 ? ", " : "", channel + strlen("__keyevent"));
        buf_add_repr(out, slice_of(push->at[3]->text, push->at[3]->len));
    }
}

static void compare_events(struct run *r, unsigned at, bool must_equal)
{
    struct side *sides[] = { &r->kv, &r->redis };
    struct buf text[2] = { { NULL, 0, 0 }, { NULL, 0, 0 } };
    for (unsigned i = 0; i < 2; i++) {
        (void)client_line(sides[i]->at[at], "PUBLISH " BARRIER " x");
        unsigned n = events_until_barrier(r, sides[i], &text[i]);
        r->out->events += i == 1 ? n : 0;
        buf_add_char(&text[i], '\0');
    }
    if (must_equal && strcmp(text[0].p, text[1].p) != 0) {
        tell(r, "events", text[0].p, text[1].p);
    }
    buf_free(&text[0]);
    buf_free(&text[1]);
}

/* ---- One line ---- */

static void parse_normal(struct run *r, const char **at, struct normal *n)
{
    *n = (struct normal){ .near = 0 };
    while (**at == '~' || **at == ',') {
        ++*at;
        size_t len = strcspn(*at, ", ");
        struct slice word = slice_of(*at, len);
        if (slice_eq(word, S("sort"))) {
            n->sort = true;
        } else if (slice_eq(word, S("pairs"))) {
            n->pairs = true;
        } else if (slice_eq(word, S("type"))) {
            n->type = true;
        } else if (slice_eq(word, S("code"))) {
            n->code = true;
        } else if (len > 5 && memcmp(*at, "near=", 5) == 0) {
            n->near = strtoll(*at + 5, NULL, 10);
        } else {
            ck_abort_msg("line %u: %s: unknown normaliser", r->number, r->line);
        }
        *at += len;
    }
    *at += strspn(*at, " ");
}

/* The reply as the caller's, or an error reply that tells that there is none. */
static struct resp *next_reply(const struct side *s, unsigned at)
{
    const struct resp *reply = NULL;
    enum resp_status st = client_try_read(s->at[at], &reply);
    if (st == RESP_OK) {
        return client_take(s->at[at]);
    }
    static const char *const why[] = { "", "connection closed", "no reply in time", "malformed" };
    struct resp *none = calloc(1, sizeof *none);
    none->type = RESP_ERROR;
    ck_assert_int_ge(asprintf(&none->text, "(%s: %s)", why[-st],
                              st == RESP_MALFORMED ? client_problem(s->at[at]) : s->name),
                     0);
    none->len = strlen(none->text);
    return none;
}

/* What the reply says about the state of its connection. */
static void note_state(struct connection *k, const char *command, const struct resp *reply)
{
    if (strncasecmp(command, "multi", 5) == 0 && reply->type == RESP_SIMPLE) {
        k->multi = true;
    } else if (strncasecmp(command, "exec", 4) == 0 || strncasecmp(command, "discard", 7) == 0 ||
               strncasecmp(command, "reset", 5) == 0) {
        k->multi = false;
    }
    if (strcasestr(command, "subscribe") != NULL || strncasecmp(command, "quit", 4) == 0) {
        k->busy = true;
    }
}

static void read_and_compare(struct run *r, unsigned at, const char *command,
                             const struct normal *n, const char *expected)
{
    struct resp *kv = next_reply(&r->kv, at), *redis = next_reply(&r->redis, at);
    r->out->lines++;
    r->out->errors += redis->type == RESP_ERROR;
    if (expected != NULL) {
        char *line = resp_line(kv);
        if (strcmp(line, expected) != 0) {
            shorten(line);
            tell(r, NOT_EXPECTED, line, expected);
        }
        free(line);
    } else if (!same(kv, redis, n, true)) {
        tell_replies(r, "", kv, redis);
    }
    note_state(&r->conn[at], command, redis);
    resp_free(kv);
    resp_free(redis);
}

static void send_both(struct run *r, unsigned at, const char *command)
{
    bool fine = client_try_send(r->kv.at[at], "%s", command) &&
                client_try_send(r->redis.at[at], "%s", command);
    ck_assert_msg(fine, "line %u: %s: connection lost", r->number, r->line);
}

static int64_t blocked_clients(const struct side *s)
{
    const char *at = strstr(client_ask(s->watcher, "INFO clients")->text, "blocked_clients:");
    ck_assert_ptr_nonnull(at);
    return strtoll(at + strlen("blocked_clients:"), NULL, 10);
}

/* Waits until another number of clients is blocked, or fd (-1: none) can be read. */
static void await_blocked_other(const struct side *s, int64_t before, int fd)
{
    struct pollfd reply = { .fd = fd, .events = POLLIN };
    for (unsigned ms = 0; ms < BLOCK_MS && poll(&reply, 1, 1) == 0 && blocked_clients(s) == before;
         ms++) {
    }
}

/* Sends a command that is to block, and waits until it does (or has answered): what the next line
 * does on another connection then meets a client that waits, on both servers. */
static void send_blocking(struct run *r, unsigned at, const char *command)
{
    const struct side *sides[] = { &r->kv, &r->redis };
    int64_t before[] = { blocked_clients(sides[0]), blocked_clients(sides[1]) };
    send_both(r, at, command);
    for (unsigned i = 0; i < 2; i++) {
        await_blocked_other(sides[i], before[i], client_fd(sides[i]->at[at]));
    }
    r->conn[at].busy = true;
}

/* A blocked one has gone when no server counts it any more. */
static void close_line(struct run *r, unsigned at)
{
    const struct side *sides[] = { &r->kv, &r->redis };
    int64_t before[] = { blocked_clients(sides[0]), blocked_clients(sides[1]) };
    bool busy = r->conn[at].busy;
    disconnect(r, at);
    for (unsigned i = 0; i < 2 && busy; i++) {
        if (before[i] > 0) {
            await_blocked_other(sides[i], before[i], -1);
        }
    }
}

static void run_directive(struct run *r, unsigned at, const char *word)
{
    if (strcmp(word, "close") == 0) {
        close_line(r, at);
    } else if (strcmp(word, "quiet") == 0) {
        client_expect_nothing(r->kv.at[at], QUIET_MS);
        client_expect_nothing(r->redis.at[at], QUIET_MS);
    } else {
        ck_abort_msg("line %u: %s: unknown directive", r->number, r->line);
    }
}

static void run_line(struct run *r)
{
    const char *at = r->line;
    struct normal n;
    struct slice name = S("main");
    if (*at == '#') {
        return;
    }
    if (*at == '@') {
        name = slice_of(at + 1, strcspn(at + 1, " "));
        at += 1 + name.n;
        at += strspn(at, " ");
    }
    unsigned k = connection(r, name);
    parse_normal(r, &at, &n);
    if (*at == '!') {
        run_directive(r, k, at + 1);
        return;
    }
    if (*at == '&') {
        send_blocking(r, k, at + 1);
        return;
    }
    if (*at == '<') {
        r->conn[k].busy = false;
        read_and_compare(r, k, "", &n, NULL);
        return;
    }
    const char *arrow = strstr(at, " => ");
    char *command = arrow != NULL ? strndup(at, (size_t)(arrow - at)) : strdup(at);
    send_both(r, k, command);
    read_and_compare(r, k, command, &n, arrow != NULL ? arrow + 4 : NULL);
    if (!r->conn[k].multi && !r->conn[k].busy) {
        compare_events(r, k, arrow == NULL);
    }
    free(command);
}

/* ---- State at the end ---- */

/* Since Redis 7.2 short lists and small sets are listpacks. */
static bool newer_encoding(const struct resp *kv, const struct resp *redis)
{
    return kv->type == RESP_BULK && redis->type == RESP_BULK && strcmp(kv->text, "listpack") == 0 &&
           (strcmp(redis->text, "quicklist") == 0 || strcmp(redis->text, "hashtable") == 0);
}

static void ask_both(struct run *r, const char *what, struct slice key, const char *const *words,
                     const struct normal *n)
{
    const char *argv[8];
    size_t lens[8], argc = 0;
    for (; words[argc] != NULL; argc++) {
        bool is_key = strcmp(words[argc], "%") == 0;
        argv[argc] = is_key ? key.p : words[argc];
        lens[argc] = is_key ? key.n : strlen(words[argc]);
    }
    client_send_args(r->kv.at[0], argc, argv, lens);
    client_send_args(r->redis.at[0], argc, argv, lens);
    struct resp *kv = next_reply(&r->kv, 0), *redis = next_reply(&r->redis, 0);
    if (!same(kv, redis, n, true) &&
        !(strcmp(what, "encoding") == 0 && newer_encoding(kv, redis))) {
        tell_replies(r, what, kv, redis);
    }
    resp_free(kv);
    resp_free(redis);
}

#define WORDS(...)        \
    (const char *[])      \
    {                     \
        __VA_ARGS__, NULL \
    }

static void compare_key(struct run *r, struct slice key)
{
    static const struct normal exact = { .near = 0 }, soon = { .near = 2000 },
                               any_order = { .sort = true }, any_pairs = { .pairs = true };
    struct buf line = { NULL, 0, 0 };
    buf_add_str(&line, "(at the end) key ");
    buf_add_repr(&line, key);
    buf_add_char(&line, '\0');
    r->line = line.p;
    ask_both(r, "type", key, WORDS("TYPE", "%"), &exact);
    ask_both(r, "encoding", key, WORDS("OBJECT", "ENCODING", "%"), &exact);
    ask_both(r, "expiry", key, WORDS("PTTL", "%"), &soon);
    client_send_args(r->redis.at[0], 2, WORDS("TYPE", key.p), (size_t[]){ 4, key.n });
    struct resp *type = next_reply(&r->redis, 0);
    static const struct {
        const char *type;
        const char *words[8];
        const struct normal *n;
    } values[] = {
        { "string", { "GET", "%" }, &exact },
        { "list", { "LRANGE", "%", "0", "-1" }, &exact },
        { "set", { "SMEMBERS", "%" }, &any_order },
        { "hash", { "HGETALL", "%" }, &any_pairs },
        { "zset", { "ZRANGE", "%", "0", "-1", "WITHSCORES" }, &exact },
        { "stream", { "XRANGE", "%", "-", "+" }, &exact },
        { "stream", { "XRANGE", "%", "-", "+" }, &exact },
    };
    for (unsigned i = 0; i < countof(values); i++) {
        if (strcmp(type->text, values[i].type) == 0) {
            ask_both(r, "value", key, values[i].words, values[i].n);
        }
    }
    resp_free(type);
    buf_free(&line);
}

static void compare_state(struct run *r)
{
    static const struct normal any_order = { .sort = true };
    r->line = "(at the end)";
    disconnect(r, 0); /* whatever state the lines left it in */
    connection(r, S("main"));
    ask_both(r, "keys", S(""), WORDS("KEYS", "*"), &any_order);
    client_send(r->redis.at[0], "KEYS *");
    struct resp *keys = next_reply(&r->redis, 0);
    for (size_t i = 0; i < keys->count; i++) {
        compare_key(r, slice_of(keys->at[i]->text, keys->at[i]->len));
        r->out->keys++;
    }
    resp_free(keys);
}

/* ---- Runs ---- */

static void begin(struct run *r, const struct server *kv, const struct server *redis, int protocol,
                  struct compare_result *out)
{
    *out = (struct compare_result){ .lines = 0 };
    *r = (struct run){ .kv = { .name = "kv", .server = kv },
                       .redis = { .name = "redis", .server = redis },
                       .protocol = protocol,
                       .line = "(start)",
                       .out = out };
    connection(r, S("main"));
}

static void end(struct run *r)
{
    close_run(r);
    buf_add_char(&r->report, '\0');
    r->out->report = strdup(r->report.p);
    buf_free(&r->report);
}

void compare_run(const struct server *kv, const struct server *redis, int protocol,
                 const char *const *lines, struct compare_result *out)
{
    struct run r;
    begin(&r, kv, redis, protocol, out);
    empty_and_listen(&r);
    while (lines[r.number] != NULL) {
        r.line = lines[r.number++];
        run_line(&r);
    }
    compare_state(&r);
    end(&r);
}

void compare_keys(const struct server *kv, const struct server *redis, struct compare_result *out)
{
    struct run r;
    begin(&r, kv, redis, 3, out);
    compare_state(&r);
    end(&r);
}

static struct server kv_server, redis_server;

static void start_both(struct server *kv, struct server *redis)
{
    server_init(kv, SERVER_KV);
    server_init(redis, SERVER_REDIS);
    server_start(kv, "--threads", "4", COMPARE_EVENTS);
    server_start(redis, COMPARE_EVENTS);
}

void compare_start(void)
{
    start_both(&kv_server, &redis_server);
}

void compare_stop(void)
{
    server_stop(&kv_server);
    server_stop(&redis_server);
}

/* The report goes to standard output: it is longer than a message of Check may be. */
static void expect_equal(const char *file, int line, struct compare_result *result)
{
    if (result->differences > 0) {
        printf("%s:%d\n%s", file, line, result->report);
        fflush(stdout);
        ck_abort_msg("%s:%d: %u differences in %u replies, told above", file, line,
                     result->differences, result->lines);
    }
    free(result->report);
}

void compare_lines(const char *file, int line, const char *const *lines)
{
    for (int protocol = 2; protocol <= 3; protocol++) {
        struct compare_result result;
        compare_run(&kv_server, &redis_server, protocol, lines, &result);
        expect_equal(file, line, &result);
    }
}

void compare_recovered_lines(const char *file, int line, const char *const *lines)
{
    struct server kv, redis;
    struct compare_result result;
    start_both(&kv, &redis);
    compare_run(&kv, &redis, 2, lines, &result);
    expect_equal(file, line, &result);
    server_kill(&kv);
    server_start(&kv, "--threads", "4");
    compare_keys(&kv, &redis, &result);
    ck_assert_uint_gt(result.keys, 0);
    expect_equal(file, line, &result);
    server_stop(&kv);
    server_stop(&redis);
}

void compare_add(struct compare_script *s, const char *fmt, ...)
{
    if (s->count % 64 == 0) {
        s->line = realloc(s->line, (s->count + 64) * sizeof *s->line);
    }
    va_list ap;
    va_start(ap, fmt);
    ck_assert_int_ge(vasprintf(&s->line[s->count++], fmt, ap), 0);
    va_end(ap);
}

static void script_run(const char *file, int line, struct compare_script *s,
                       void (*run)(const char *file, int line, const char *const *lines))
{
    compare_add(s, "#");
    free(s->line[s->count - 1]);
    s->line[s->count - 1] = NULL;
    run(file, line, (const char *const *)s->line);
    for (size_t i = 0; s->line[i] != NULL; i++) {
        free(s->line[i]);
    }
    free(s->line);
    *s = (struct compare_script){ NULL, 0 };
}

void compare_script_run(const char *file, int line, struct compare_script *s)
{
    script_run(file, line, s, compare_lines);
}

void compare_script_run_recovered(const char *file, int line, struct compare_script *s)
{
    script_run(file, line, s, compare_recovered_lines);
}
