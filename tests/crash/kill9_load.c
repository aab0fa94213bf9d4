/* kill9_load.c -- The clients of a round: writers, consumers, observers, a subscriber, a flusher.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         What anybody has heard (a value, a nil, an error, an event, a message) is written
 * down as "writer w has come to operation n at least": see kill9.h.
 * THREADS     One per client; each ends when its connection does, or when it is told to. */
#include "kill9.h"
#include "base/clock.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIPELINE_MAX 12

void violation(struct load *l, const char *fmt, ...)
{
    va_list ap;
    char text[2048];
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (l->violations++ < 20) {
        fprintf(stderr, "VIOLATION: %s\n", text);
    }
}

unsigned writer_db(unsigned w)
{
    static const unsigned db[WRITERS] = { 0, 0, 0, 0, 0, 1, 1, 5 };
    return db[w];
}

static void raise_to(_Atomic uint64_t *at, uint64_t value)
{
    uint64_t had = atomic_load(at);
    while (had < value && !atomic_compare_exchange_weak(at, &had, value)) {
    }
}

void observed_op(struct load *l, unsigned w, uint64_t n)
{
    if (w >= WRITERS || n >= l->writer[w].sent) {
        violation(l, "operation %" PRIu64 " of writer %u was never sent", n, w);
        return;
    }
    raise_to(&l->writer[w].must, n + 1);
    l->observed++;
}

/* ---- Asking ---- */

/* False when the connection has ended. */
static bool next_reply(struct load *l, struct client *c, const struct resp **r)
{
    enum resp_status st = client_try_read(c, r);
    if (st == RESP_MALFORMED || (st == RESP_TIMEOUT && !l->stop)) {
        violation(l, "%s", client_problem(c));
    }
    return st == RESP_OK;
}

/* One command and its reply; false when the connection has ended. */
static bool ask(struct load *l, struct client *c, const struct resp **r, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static bool ask(struct load *l, struct client *c, const struct resp **r, const char *fmt, ...)
{
    struct request q;
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    q.n = 0;
    request_add(&q, "%s", line);
    return client_try_send_raw(c, q.bytes, q.n) && next_reply(l, c, r);
}

/* ---- Writers ---- */

static void add_multi(struct request *r, unsigned w, uint64_t n)
{
    request_add(r, "MULTI");
    request_add(r, "SET m:%u %u:%" PRIu64, w, w, n);
    request_add(r, "INCR mc:%u", w);
    request_add(r, "RPUSH ml:%u %u:%" PRIu64, w, w, n);
    request_add(r, "LTRIM ml:%u -8 -1", w);
    request_add(r, "EXEC");
}

static void add_gone(struct request *r, unsigned w, uint64_t i)
{
    static const char *const way[] = { "DEL", "UNLINK", "GETDEL" };
    if (i >= KEEP_ONCE) {
        request_add(r, "%s o:%u:%" PRIu64, way[i % 3], w, i - KEEP_ONCE);
    } else {
        request_add(r, "DEL o:%u:none", w);
    }
}

static void add_operation(struct request *r, struct writer *wr, uint64_t n)
{
    unsigned w = wr->id;
    uint64_t i = n / OPS;
    switch ((enum op)(n % OPS)) {
    case OP_SET: request_add(r, "SET s:%u %u:%" PRIu64, w, w, n); break;
    case OP_INCR: request_add(r, "INCR c:%u", w); break;
    case OP_PUSH: request_add(r, "RPUSH l:%u %u:%" PRIu64, w, w, n); break;
    case OP_ONCE: request_add(r, "SET o:%u:%" PRIu64 " %u:%" PRIu64, w, i, w, n); break;
    case OP_MULTI: add_multi(r, w, n); break;
    case OP_QUEUE: request_add(r, "RPUSH q:%u %u:%" PRIu64, w, w, n); break;
    case OP_PUBLISH: request_add(r, "PUBLISH said %u:%" PRIu64, w, n); break;
    case OP_SHORT:
        wr->short_ms[i] = clock_wall_ms() + 30 + (int64_t)random_below(&wr->state, 1500);
        wr->short_ms[i] = wr->load->lasting ? FAR_MS : wr->short_ms[i];
        request_add(r, "SET p:%u:%" PRIu64 " %u:%" PRIu64 " PXAT %lld", w, i % KEEP_SHORT, w, n,
                    (long long)wr->short_ms[i]);
        break;
    case OP_PERSIST: request_add(r, "PERSIST p:%u:%" PRIu64, w, i % KEEP_SHORT); break;
    case OP_TTL: request_add(r, "PEXPIREAT s:%u %lld", w, (long long)(FAR_MS + (int64_t)i)); break;
    case OP_PAST: request_add(r, "SET e:%u 100 PXAT 1", w); break;
    case OP_AFTER: request_add(r, "INCR e:%u", w); break;
    case OP_GONE: add_gone(r, w, i); break;
    case OP_POP: request_add(r, i >= KEEP_LIST ? "LPOP l:%u" : "LINDEX l:%u 0", w); break;
    case OP_MSET:
        request_add(r, "MSET x:%u %u:%" PRIu64 " y:%u %u:%" PRIu64, w, w, n, w, w, n);
        break;
    case OP_RENAME:
        if (i % 3 == 0) {
            request_add(r, "RENAME s:%u r:%u", w, w);
        } else {
            request_add(r, "SET o:%u:%" PRIu64 " never NX", w, i);
        }
        break;
    case OPS: must_not_reach();
    }
}

/* What the reply to operation n must be, as resp_line() writes it; "" when anything but an error
 * may come. */
static void expected_reply(char *out, size_t size, unsigned w, uint64_t n)
{
    uint64_t i = n / OPS;
    switch ((enum op)(n % OPS)) {
    case OP_SET:
    case OP_ONCE:
    case OP_SHORT:
    case OP_PAST:
    case OP_MSET: snprintf(out, size, "+OK"); break;
    case OP_INCR: snprintf(out, size, "%" PRIu64, i + 1); break;
    case OP_PUSH:
        snprintf(out, size, "%" PRIu64, i <= KEEP_LIST ? i + 1 : (uint64_t)KEEP_LIST + 1);
        break;
    case OP_MULTI:
        snprintf(out, size, "[+OK, %" PRIu64 ", %" PRIu64 ", +OK]", i + 1, i < 8 ? i + 1 : 9);
        break;
    case OP_TTL:
    case OP_AFTER: snprintf(out, size, "1"); break;
    case OP_GONE:
        if (i < KEEP_ONCE) {
            snprintf(out, size, "0");
        } else if (i % 3 != 2) {
            snprintf(out, size, "1");
        } else {
            snprintf(out, size, "\"%u:%" PRIu64 "\"", w, op_number(i - KEEP_ONCE, OP_ONCE));
        }
        break;
    case OP_POP:
        snprintf(out, size, "\"%u:%" PRIu64 "\"", w,
                 op_number(i >= KEEP_LIST ? i - KEEP_LIST : 0, OP_PUSH));
        break;
    case OP_RENAME: snprintf(out, size, i % 3 == 0 ? "+OK" : "nil"); break;
    case OP_QUEUE:
    case OP_PUBLISH:
    case OP_PERSIST:
    case OPS: out[0] = '\0';
    }
}

/* Reads the reply of operation n. False when the connection has ended. */
static bool take_reply(struct writer *wr, struct client *c, uint64_t n)
{
    const struct resp *r = NULL;
    unsigned replies = n % OPS == OP_MULTI ? 6 : 1;
    for (unsigned i = 0; i < replies; i++) {
        if (!next_reply(wr->load, c, &r)) {
            return false;
        }
    }
    char want[128];
    expected_reply(want, sizeof want, wr->id, n);
    char *got = resp_line(r);
    if (r->type == RESP_ERROR || (want[0] != '\0' && strcmp(got, want) != 0)) {
        violation(wr->load,
                  "writer %u operation %" PRIu64 " (%" PRIu64 " of its cycle): %s, not %s", wr->id,
                  n, n % OPS, got, want);
    }
    free(got);
    if (n % OPS == OP_PERSIST) {
        wr->lost[n / OPS] = r->integer == 0;
    }
    return true;
}

/* One pipeline of operations. */
static bool write_some(struct writer *wr, struct client *c)
{
    struct request r;
    uint64_t from = wr->acked;
    uint64_t to = from + 1 + random_below(&wr->state, PIPELINE_MAX);
    r.n = 0;
    for (uint64_t n = from; n < to; n++) {
        add_operation(&r, wr, n);
    }
    wr->sent = to;
    if (!client_try_send_raw(c, r.bytes, r.n)) {
        return false;
    }
    for (uint64_t n = from; n < to; n++) {
        if (!take_reply(wr, c, n)) {
            return false;
        }
        wr->acked = n + 1;
    }
    return true;
}

void *writer_main(void *arg)
{
    struct writer *wr = arg;
    struct load *l = wr->load;
    const struct resp *r = NULL;
    struct client *c = client_try_connect(l->kv->port);
    if (c != NULL && ask(l, c, &r, "SELECT %u", wr->db)) {
        while (!l->stop && wr->acked + PIPELINE_MAX < (uint64_t)OPS * CYCLES_MAX &&
               write_some(wr, c)) {
        }
    }
    client_close(c);
    return NULL;
}

/* ---- Consumers ---- */

void *consumer_main(void *arg)
{
    static const unsigned dbs[CONSUMERS] = { 0, 0, 1, 5 };
    struct actor *me = arg;
    struct load *l = me->load;
    const struct resp *r = NULL;
    struct client *c = client_try_connect(l->kv->port);
    char keys[128] = "";
    size_t n = 0;
    for (unsigned w = 0; w < WRITERS; w++) {
        if (writer_db(w) == dbs[me->id]) {
            n += (size_t)snprintf(keys + n, sizeof keys - n, "q:%u ", w);
        }
    }
    bool alive = c != NULL && ask(l, c, &r, "SELECT %u", dbs[me->id]);
    while (alive && !l->stop && ask(l, c, &r, "BLPOP %s0.2", keys)) {
        unsigned w;
        uint64_t op;
        if (r->type == RESP_ARRAY && sscanf(r->at[1]->text, "%u:%" SCNu64, &w, &op) == 2) {
            observed_op(l, w, op);
            if (w < WRITERS && op / OPS < CYCLES_MAX &&
                atomic_fetch_add(&l->writer[w].popped[op / OPS], 1) != 0) {
                violation(l, "element %" PRIu64 " of q:%u was handed out twice", op / OPS, w);
            }
        } else if (r->type != RESP_NIL) {
            violation(l, "BLPOP answered %s", r->text != NULL ? r->text : "something else");
        }
    }
    client_close(c);
    free(me);
    return NULL;
}

/* ---- Observers ---- */

/* A value "w:n" shows operation n. */
static void see_value(struct load *l, const struct resp *r)
{
    unsigned w;
    uint64_t n;
    if (r->text != NULL && r->type == RESP_BULK && sscanf(r->text, "%u:%" SCNu64, &w, &n) == 2) {
        observed_op(l, w, n);
    }
}

/* The key of cycle i exists or not; before that its existence was acknowledged (`was`) or not. */
static void see_once(struct load *l, struct writer *wr, uint64_t i, bool was, bool exists)
{
    if (exists) {
        observed_op(l, wr->id, op_number(i, OP_ONCE));
    } else if (was) {
        observed_op(l, wr->id, op_number(i + KEEP_ONCE, OP_GONE));
    }
}

static bool observe_once(struct load *l, struct client *c, struct writer *wr, uint64_t *state)
{
    const struct resp *r = NULL;
    uint64_t made = wr->sent / OPS;
    uint64_t back = random_below(state, KEEP_ONCE + 3), i = made > back ? made - back : 0;
    if (random_below(state, 2) == 0 && made > KEEP_ONCE + 1) { /* the one that is going just now */
        i = (wr->sent + OPS - OP_GONE - 1) / OPS - 1 - KEEP_ONCE;
    }
    bool was = wr->acked > op_number(i, OP_ONCE);
    bool alive = false, exists = false;
    switch (random_below(state, 4)) {
    case 0:
        alive = ask(l, c, &r, "GET o:%u:%" PRIu64, wr->id, i);
        exists = alive && r->type != RESP_NIL;
        break;
    case 1:
        alive = ask(l, c, &r, "EXISTS o:%u:%" PRIu64, wr->id, i);
        exists = alive && r->integer == 1;
        break;
    case 2: /* the error tells that there is a string */
        alive = ask(l, c, &r, "LLEN o:%u:%" PRIu64, wr->id, i);
        exists = alive && r->type == RESP_ERROR;
        break;
    default: /* a command that writes, and here does not */
        alive = ask(l, c, &r, "LPUSHX o:%u:%" PRIu64 " z", wr->id, i);
        exists = alive && r->type == RESP_ERROR;
        break;
    }
    if (alive) {
        see_once(l, wr, i, was, exists);
    }
    return alive;
}

static bool observe_counter(struct load *l, struct client *c, struct writer *wr)
{
    const struct resp *r = NULL;
    if (!ask(l, c, &r, "GET c:%u", wr->id)) {
        return false;
    }
    if (r->type == RESP_BULK) {
        raise_to(&wr->counter, strtoull(r->text, NULL, 10));
    }
    return true;
}

static bool observe_list(struct load *l, struct client *c, struct writer *wr, const char *name)
{
    const struct resp *r = NULL;
    if (!ask(l, c, &r, "LRANGE %s:%u 0 -1", name, wr->id)) {
        return false;
    }
    if (r->count > 0) {
        see_value(l, r->at[r->count - 1]);
    }
    return true;
}

/* Both keys of an MSET have the same value. */
static bool observe_pair(struct load *l, struct client *c, struct writer *wr)
{
    const struct resp *r = NULL;
    if (!ask(l, c, &r, "MGET x:%u y:%u", wr->id, wr->id)) {
        return false;
    }
    if (r->count != 2 || !resp_equal(r->at[0], r->at[1])) {
        char *line = resp_line(r);
        violation(l, "half an MSET: %s", line);
        free(line);
        return true;
    }
    see_value(l, r->at[0]);
    return true;
}

static bool observe_nx(struct load *l, struct client *c, struct actor *me)
{
    const struct resp *r = NULL;
    unsigned j = l->nx_next, next = j + 1;
    if (next >= NX_MAX) {
        return ask(l, c, &r, "PING");
    }
    atomic_fetch_or(&l->nx[j], NX_TRIED);
    if (!ask(l, c, &r, "SELECT %u", DB_NX) || !ask(l, c, &r, "SET nx:%u %u NX", j, me->id + 1)) {
        return false;
    }
    if (r->type == RESP_NIL) {
        atomic_fetch_or(&l->nx[j], NX_SEEN);
        atomic_compare_exchange_strong(&l->nx_next, &j, next);
    } else if (atomic_exchange(&l->nx_winner[j], (uint8_t)(me->id + 1)) != 0) {
        violation(l, "nx:%u: OK twice", j);
    }
    return true;
}

static bool observe_flush(struct load *l, struct client *c)
{
    const struct resp *r = NULL;
    unsigned set = l->flush_set;
    if (set == 0) { /* nothing to see yet, but whoever asks nothing never notices the end */
        return ask(l, c, &r, "PING");
    }
    if (!ask(l, c, &r, "SELECT %u", DB_FLUSH) || !ask(l, c, &r, "GET f:%u", set - 1)) {
        return false;
    }
    unsigned had = l->flush_must;
    while (r->type == RESP_NIL && had < set &&
           !atomic_compare_exchange_weak(&l->flush_must, &had, set)) {
    }
    return true;
}

static bool observe(struct load *l, struct client *c, struct actor *me)
{
    const struct resp *r = NULL;
    static const char *const kinds[] = { "s", "m", "r", "y", "q" };
    struct writer *wr = &l->writer[random_below(&me->state, WRITERS)];
    uint64_t what = random_below(&me->state, 16);
    if (me->id >= OBSERVERS - 2) { /* two look for nothing but nils */
        what = me->id == OBSERVERS - 1 && l->flushes ? 1 : 15;
    }
    if (what == 0) {
        return observe_nx(l, c, me);
    }
    if (what == 1) {
        return observe_flush(l, c);
    }
    if (!ask(l, c, &r, "SELECT %u", wr->db)) {
        return false;
    }
    switch (what) {
    case 2:
    case 3: return observe_counter(l, c, wr);
    case 4: return observe_list(l, c, wr, "l");
    case 5: return observe_list(l, c, wr, "ml");
    case 6: return observe_pair(l, c, wr);
    case 7:
    case 8: {
        const char *kind = kinds[random_below(&me->state, 4)];
        bool alive = ask(l, c, &r, "GET %s:%u", kind, wr->id);
        if (alive) {
            see_value(l, r);
        }
        return alive;
    }
    default: return observe_once(l, c, wr, &me->state);
    }
}

void *observer_main(void *arg)
{
    struct actor *me = arg;
    struct client *c = client_try_connect(me->load->kv->port);
    while (c != NULL && !me->load->stop && observe(me->load, c, me)) {
    }
    client_close(c);
    free(me);
    return NULL;
}

/* ---- The subscriber and the flusher ---- */

static void see_event(struct load *l, const char *event, const char *key, uint64_t *increments)
{
    unsigned w;
    uint64_t i;
    if (sscanf(key, "o:%u:%" SCNu64, &w, &i) == 2 && w < WRITERS) {
        bool gone = strcmp(event, "del") == 0;
        observed_op(l, w, gone ? op_number(i + KEEP_ONCE, OP_GONE) : op_number(i, OP_ONCE));
    } else if (sscanf(key, "c:%u", &w) == 1 && w < WRITERS && strcmp(event, "incrby") == 0) {
        raise_to(&l->writer[w].counter, ++increments[w]);
    }
}

/* Messages and events come on connections of their own: on a common one, what waits for an event's
 * gate would hide that a message has none. */
static void *subscriber(struct load *l, const char *command)
{
    const struct resp *r = NULL;
    uint64_t increments[WRITERS] = { 0 };
    struct client *c = client_try_connect(l->kv->port);
    bool alive = c != NULL && ask(l, c, &r, "%s", command);
    if (alive) {
        client_timeout(c, 100);
    }
    while (alive) {
        enum resp_status st = client_try_read(c, &r);
        alive = st == RESP_OK || (st == RESP_TIMEOUT && !l->stop);
        if (st != RESP_OK) {
            continue;
        }
        if (r->count == 3 && strcmp(r->at[0]->text, "message") == 0) {
            see_value(l, r->at[2]);
        } else if (r->count == 4) {
            see_event(l, strchr(r->at[2]->text, ':') + 1, r->at[3]->text, increments);
        }
    }
    client_close(c);
    return NULL;
}

void *listener_main(void *arg)
{
    return subscriber(arg, "SUBSCRIBE said");
}

void *watcher_main(void *arg)
{
    return subscriber(arg, "PSUBSCRIBE __keyevent@*__:*");
}

void *flusher_main(void *arg)
{
    struct load *l = arg;
    const struct resp *r = NULL;
    struct client *c = client_try_connect(l->kv->port);
    bool alive = c != NULL && ask(l, c, &r, "SELECT %u", DB_FLUSH);
    for (unsigned g = 0; alive && !l->stop && g + 1 < FLUSHES_MAX; g++) {
        alive = ask(l, c, &r, "SET f:%u 1", g);
        if (!alive) {
            break;
        }
        l->flush_set = g + 1;
        usleep(2000);
        l->flush_sent = g + 1;
        alive = ask(l, c, &r, "FLUSHDB");
        l->flush_done = alive ? g + 1 : g;
    }
    client_close(c);
    return NULL;
}

/* ---- A round ---- */

struct load *load_new(const struct server *kv, uint64_t seed)
{
    struct load *l = calloc(1, sizeof *l);
    must(l != NULL);
    l->kv = kv;
    for (unsigned w = 0; w < WRITERS; w++) {
        l->writer[w].load = l;
        l->writer[w].id = w;
        l->writer[w].db = writer_db(w);
        l->writer[w].state = seed * 1000 + w;
    }
    return l;
}

void load_free(struct load *l)
{
    free(l);
}

static void start(struct load *l, void *(*run)(void *), void *arg)
{
    must(l->threads < countof(l->thread));
    must(pthread_create(&l->thread[l->threads++], NULL, run, arg) == 0);
}

static void start_actor(struct load *l, void *(*run)(void *), unsigned id)
{
    struct actor *a = calloc(1, sizeof *a);
    must(a != NULL);
    *a = (struct actor){ l, id, l->writer[0].state * 31 + 7919 * (id + 1) };
    start(l, run, a);
}

void load_start(struct load *l)
{
    start(l, listener_main, l);
    start(l, watcher_main, l);
    for (unsigned i = 0; i < CONSUMERS; i++) {
        start_actor(l, consumer_main, i);
    }
    for (unsigned i = 0; i < OBSERVERS; i++) {
        start_actor(l, observer_main, i);
    }
    if (l->flushes) {
        start(l, flusher_main, l);
    }
    for (unsigned w = 0; w < WRITERS; w++) {
        start(l, writer_main, &l->writer[w]);
    }
}

void load_join(struct load *l, bool politely)
{
    if (politely) {
        l->stop = true;
    }
    for (unsigned i = 0; i < l->threads; i++) {
        pthread_join(l->thread[i], NULL);
    }
    l->threads = 0;
    l->stop = true;
}
