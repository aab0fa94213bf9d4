/* order_load.c -- One function per kind of operation: what is sent, and what its reply tells.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * HOW  An operation enters the history before it is sent, with its appends and an unknown end. Its
 * reply adds what was read and the end; if no reply comes it stays as it is. A move or a pop whose
 * reply is lost has taken an element nobody can name: these are only counted. */
#include "order_load.h"
#include "base/clock.h"
#include "request.h"
#include "unit.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLIENTS_MAX 16
#define WINDOW      4   /* numbers in use at a time */
#define PER_NUMBER  100 /* appends until the window moves on */
#define SEEN_MAX    4096
#define OTHER_DB    3

enum list_kind { LIST_A, LIST_Q, LIST_D, LIST_B, LIST_G };

struct order_client {
    struct order_load *load;
    pthread_t thread;
    unsigned id;
    struct client *c;
    uint64_t state;
    uint32_t serial;
    struct order_history h;
    struct request r;
    unsigned replies; /* that r asks for */
};
struct order_load {
    const struct server *s;
    _Atomic bool stop, hold;
    _Atomic unsigned appends, flaws, lost_takes;
    unsigned n;
    struct order_client client[CLIENTS_MAX];
};

static uint32_t key_of(enum list_kind kind, uint32_t number)
{
    return number * 8 + kind;
}

/* d and b: moves and pops whose reply was lost. */
static bool anonymous(uint32_t key)
{
    return key % 8 == LIST_D || key % 8 == LIST_B;
}

static void flaw(struct order_load *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void flaw(struct order_load *l, const char *fmt, ...)
{
    va_list ap;
    char text[512];
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (l->flaws++ < 20) {
        fprintf(stderr, "order: %s\n", text);
    }
}

static uint64_t below(struct order_client *o, uint64_t n)
{
    return random_below(&o->state, n);
}

static uint32_t new_value(struct order_client *o)
{
    o->load->appends++;
    return (o->id + 1) << 24 | ++o->serial;
}

static uint32_t some_number(struct order_client *o)
{
    return o->load->appends / PER_NUMBER + (uint32_t)below(o, WINDOW);
}

/* ---- Sending and hearing ---- */

static void ask(struct order_client *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void ask(struct order_client *o, const char *fmt, ...)
{
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    request_add(&o->r, "%s", line);
    o->replies++;
}

/* Commands in between are in the database of a:number. */
static void enter_db(struct order_client *o, uint32_t number)
{
    if (number % 2 == 1) {
        ask(o, "SELECT %u", OTHER_DB);
    }
}

static void leave_db(struct order_client *o, uint32_t number)
{
    if (number % 2 == 1) {
        ask(o, "SELECT 0");
    }
}

static void clear(struct order_client *o)
{
    o->r.n = 0;
    o->replies = 0;
}

static struct order_op *begin(struct order_client *o)
{
    return order_add(&o->h, o->id, clock_mono_us(), ORDER_UNKNOWN);
}

static struct order_op *current(struct order_client *o)
{
    return &o->h.op[o->h.n - 1];
}

static struct resp *lost(struct order_client *o)
{
    client_close(o->c);
    o->c = NULL;
    return NULL;
}

#define ANY    SIZE_MAX
#define OR_NIL 0x100

/* What a reply must look like: its type, or nil when OR_NIL is added to it, and its elements. */
static bool has_form(const struct resp *r, unsigned type, size_t count)
{
    if ((type & OR_NIL) != 0 && r->type == RESP_NIL) {
        return true;
    }
    return r->type == (enum resp_type)(type & ~(unsigned)OR_NIL) &&
           (r->type != RESP_ARRAY || count == ANY || r->count == count);
}

/* Sends what was asked and reads all replies: the one at `which` is the caller's, of that form.
 * NULL: the connection is gone, and with it, perhaps, the reply. An error, and a reply that belongs
 * to something else, is a flaw. */
static struct resp *talk(struct order_client *o, unsigned which, unsigned type, size_t count)
{
    struct resp *mine = NULL;
    const struct resp *r = NULL;
    if (!client_try_send_raw(o->c, o->r.bytes, o->r.n)) {
        return lost(o);
    }
    for (unsigned i = 0; i < o->replies; i++) {
        enum resp_status st = client_try_read(o->c, &r);
        if (st != RESP_OK) {
            if (st != RESP_CLOSED) {
                flaw(o->load, "%s", client_problem(o->c));
            }
            resp_free(mine);
            return lost(o);
        }
        if (r->type == RESP_ERROR) {
            flaw(o->load, "%s", r->text);
        }
        if (i == which) {
            mine = client_take(o->c);
        }
    }
    if (!has_form(mine, type, count)) {
        flaw(o->load, "a reply of type %d with %zu elements to %.*s", mine->type, mine->count,
             (int)o->r.n, o->r.bytes);
        resp_free(mine);
        return lost(o);
    }
    return mine;
}

static uint32_t number_in(const struct resp *r)
{
    return r->text != NULL ? (uint32_t)strtoul(r->text, NULL, 10) : 0;
}

/* Elements of a reply behind the first `n` in seen[]; the new count. */
static uint32_t elements(const struct resp *r, uint32_t *seen, uint32_t n)
{
    for (size_t i = 0; i < r->count && n < SEEN_MAX; i++) {
        seen[n++] = number_in(r->at[i]);
    }
    return n;
}

static void heard_list(struct order_client *o, uint32_t key, const struct resp *r)
{
    uint32_t seen[SEEN_MAX];
    order_read(current(o), key, seen, elements(r, seen, 0));
}

static void finish(struct order_client *o, struct resp *r)
{
    current(o)->end = clock_mono_us();
    resp_free(r);
}

/* ---- Operations ---- */

static void append_one(struct order_client *o)
{
    uint32_t k = some_number(o), v = new_value(o);
    enter_db(o, k);
    ask(o, "RPUSH a:%u %u", k, v);
    leave_db(o, k);
    order_append(begin(o), key_of(LIST_A, k), v);
    struct resp *r = talk(o, k % 2, RESP_INT, 0);
    if (r != NULL) {
        current(o)->micro[0].told = (uint32_t)r->integer;
        finish(o, r);
    }
}

static void read_one(struct order_client *o)
{
    uint32_t k = some_number(o);
    bool log = below(o, 5) == 0;
    if (log) {
        ask(o, "LRANGE g:%u 0 -1", k);
    } else {
        enter_db(o, k);
        ask(o, "LRANGE a:%u 0 -1", k);
        leave_db(o, k);
    }
    begin(o);
    struct resp *r = talk(o, log ? 0 : k % 2, RESP_ARRAY, ANY);
    if (r == NULL) {
        order_drop(&o->h);
        return;
    }
    heard_list(o, key_of(log ? LIST_G : LIST_A, k), r);
    finish(o, r);
}

/* Two to four appends and reads in one EXEC. */
static void transaction(struct order_client *o)
{
    unsigned n = 2 + (unsigned)below(o, 3), at[4], results = 0;
    uint32_t number[4];
    bool reads[4];
    struct order_op *op = begin(o);
    ask(o, "MULTI");
    for (unsigned i = 0; i < n; i++) {
        number[i] = some_number(o);
        reads[i] = below(o, 2) == 0;
        results += number[i] % 2;
        at[i] = results++;
        enter_db(o, number[i]);
        if (reads[i]) {
            ask(o, "LRANGE a:%u 0 -1", number[i]);
        } else {
            uint32_t v = new_value(o);
            ask(o, "RPUSH a:%u %u", number[i], v);
            order_append(op, key_of(LIST_A, number[i]), v);
        }
        leave_db(o, number[i]);
        results += number[i] % 2;
    }
    ask(o, "EXEC");
    struct resp *r = talk(o, o->replies - 1, RESP_ARRAY, results);
    if (r == NULL) {
        return;
    }
    for (unsigned i = 0, append = 0; i < n; i++) {
        if (reads[i]) {
            heard_list(o, key_of(LIST_A, number[i]), r->at[at[i]]);
        } else {
            current(o)->micro[append++].told = (uint32_t)r->at[at[i]]->integer;
        }
    }
    finish(o, r);
}

/* WATCH, read, then append in EXEC: one transaction when EXEC is known to have run, else a read. */
static void watched(struct order_client *o)
{
    uint32_t k = some_number(o), v = new_value(o);
    enter_db(o, k);
    ask(o, "WATCH a:%u", k);
    ask(o, "LRANGE a:%u 0 -1", k);
    begin(o);
    struct resp *r = talk(o, o->replies - 1, RESP_ARRAY, ANY);
    if (r == NULL) {
        order_drop(&o->h);
        return;
    }
    heard_list(o, key_of(LIST_A, k), r);
    int64_t heard = clock_mono_us();
    resp_free(r);
    clear(o);
    ask(o, "MULTI");
    ask(o, "RPUSH a:%u %u", k, v);
    ask(o, "EXEC");
    unsigned which = o->replies - 1;
    leave_db(o, k);
    int64_t sent = clock_mono_us();
    r = talk(o, which, RESP_ARRAY | OR_NIL, 1);
    if (r != NULL && r->type != RESP_NIL) {
        order_append(current(o), key_of(LIST_A, k), v);
        finish(o, r);
        return;
    }
    current(o)->end = heard;
    if (r == NULL) { /* the read has happened even if the append never does: two operations */
        order_append(order_add(&o->h, o->id, sent, ORDER_UNKNOWN), key_of(LIST_A, k), v);
    }
    resp_free(r);
}

static void push_q(struct order_client *o)
{
    uint32_t k = some_number(o), v = new_value(o);
    ask(o, "RPUSH q:%u %u", k, v);
    order_append(begin(o), key_of(LIST_Q, k), v);
    struct resp *r = talk(o, 0, RESP_INT, 0);
    if (r != NULL) {
        finish(o, r);
    }
}

/* What was taken is known when the reply has come, or never. */
static bool taken(struct order_client *o, const struct resp *r)
{
    if (r == NULL) {
        o->load->lost_takes++;
    }
    if (r == NULL || r->type == RESP_NIL) {
        order_drop(&o->h);
        return false;
    }
    return true;
}

static void move(struct order_client *o)
{
    uint32_t k = some_number(o);
    if (below(o, 3) == 0) {
        ask(o, "LMOVE q:%u d:%u LEFT RIGHT", k, k);
    } else {
        ask(o, "BLMOVE q:%u d:%u LEFT RIGHT 0.05", k, k);
    }
    begin(o);
    struct resp *r = talk(o, 0, RESP_BULK | OR_NIL, 0);
    if (taken(o, r)) {
        order_sees(current(o), key_of(LIST_Q, k), number_in(r));
        order_append(current(o), key_of(LIST_D, k), number_in(r));
        finish(o, r);
    } else {
        resp_free(r);
    }
}

static void read_queue(struct order_client *o)
{
    uint32_t k = some_number(o), seen[SEEN_MAX];
    ask(o, "MULTI");
    ask(o, "LRANGE d:%u 0 -1", k);
    ask(o, "LRANGE q:%u 0 -1", k);
    ask(o, "EXEC");
    begin(o);
    struct resp *r = talk(o, 3, RESP_ARRAY, 2);
    if (r == NULL) {
        order_drop(&o->h);
        return;
    }
    uint32_t moved = elements(r->at[0], seen, 0);
    order_read(current(o), key_of(LIST_D, k), seen, moved);
    order_read(current(o), key_of(LIST_Q, k), seen, elements(r->at[1], seen, moved));
    finish(o, r);
}

static void push_b(struct order_client *o)
{
    uint32_t k = some_number(o), v = new_value(o);
    ask(o, "MULTI");
    ask(o, "RPUSH b:%u %u", k, v);
    ask(o, "RPUSH g:%u %u", k, v);
    ask(o, "EXEC");
    order_append(begin(o), key_of(LIST_G, k), v);
    struct resp *r = talk(o, 3, RESP_ARRAY, 2);
    if (r != NULL) {
        current(o)->micro[0].told = (uint32_t)r->at[1]->integer;
        finish(o, r);
    }
}

static void pop_b(struct order_client *o)
{
    uint32_t k = some_number(o);
    ask(o, "BLPOP b:%u b:%u b:%u 0.05", k, k + 1, k + 2);
    begin(o);
    struct resp *r = talk(o, 0, RESP_ARRAY | OR_NIL, 2);
    if (!taken(o, r)) {
        resp_free(r);
        return;
    }
    if (r->at[0]->text == NULL || strncmp(r->at[0]->text, "b:", 2) != 0) {
        flaw(o->load, "BLPOP of b:%u answered another command's reply", k);
        order_drop(&o->h);
        resp_free(r);
        lost(o);
        return;
    }
    k = (uint32_t)strtoul(r->at[0]->text + 2, NULL, 10);
    order_sees(current(o), key_of(LIST_G, k), number_in(r->at[1]));
    order_append(current(o), key_of(LIST_B, k), number_in(r->at[1]));
    finish(o, r);
}

/* ---- Clients ---- */

static void connect_again(struct order_client *o)
{
    const struct resp *r = NULL;
    while (o->c == NULL && !o->load->stop) {
        if (!o->load->hold) {
            o->c = client_try_connect(o->load->s->port);
        }
        if (o->c != NULL && (!client_try_send(o->c, "PING") ||
                             client_try_read(o->c, &r) != RESP_OK || r->type != RESP_SIMPLE)) {
            lost(o);
        }
        if (o->c == NULL) {
            usleep(3000);
        }
    }
}

static void *client_main(void *arg)
{
    static void (*const operation[])(struct order_client *) = {
        append_one,  append_one,  append_one,  append_one,  read_one, read_one, read_one, read_one,
        transaction, transaction, transaction, transaction, watched,  watched,  push_q,   push_q,
        move,        move,        read_queue,  push_b,      push_b,   pop_b,    pop_b
    };
    struct order_client *o = arg;
    for (;;) {
        connect_again(o);
        if (o->load->stop) {
            break;
        }
        clear(o);
        operation[below(o, countof(operation))](o);
    }
    client_close(o->c);
    return NULL;
}

struct order_load *order_load_start(const struct server *s, unsigned clients, uint64_t seed)
{
    struct order_load *l = calloc(1, sizeof *l);
    must(l != NULL && clients <= CLIENTS_MAX);
    l->s = s;
    l->n = clients;
    for (unsigned i = 0; i < clients; i++) {
        struct order_client *o = &l->client[i];
        o->load = l;
        o->id = i;
        o->state = seed * 64 + i;
        order_init(&o->h);
        must(pthread_create(&o->thread, NULL, client_main, o) == 0);
    }
    return l;
}

void order_load_hold(struct order_load *l)
{
    l->hold = true;
}

void order_load_go_on(struct order_load *l)
{
    l->hold = false;
}

/* ---- The end ---- */

/* What was taken from b:k: all of g:k that is no longer in b:k. */
static void last_of_b(struct order_load *l, struct order_client *o, uint32_t k,
                      const struct resp *b, const struct resp *g)
{
    uint32_t left[SEEN_MAX], all[SEEN_MAX];
    uint32_t nleft = elements(b, left, 0), n = elements(g, all, 0);
    if (nleft > n || memcmp(left, all + n - nleft, nleft * sizeof *left) != 0) {
        flaw(l, "b:%u is not the end of what was appended to it", k);
        return;
    }
    order_read(current(o), key_of(LIST_G, k), all, n);
    order_read(current(o), key_of(LIST_B, k), all, n - nleft);
}

static void last_reads(struct order_load *l, struct order_client *o, uint32_t k)
{
    clear(o);
    ask(o, "MULTI");
    enter_db(o, k);
    ask(o, "LRANGE a:%u 0 -1", k);
    leave_db(o, k);
    static const char names[] = "dqbg";
    for (unsigned i = 0; i < 4; i++) {
        ask(o, "LRANGE %c:%u 0 -1", names[i], k);
    }
    ask(o, "EXEC");
    begin(o);
    struct resp *r = talk(o, o->replies - 1, RESP_ARRAY, k % 2 == 1 ? 7 : 5);
    ck_assert_ptr_nonnull(r);
    uint32_t seen[SEEN_MAX];
    unsigned at = k % 2;
    heard_list(o, key_of(LIST_A, k), r->at[at]);
    at += 1 + k % 2;
    uint32_t moved = elements(r->at[at], seen, 0);
    order_read(current(o), key_of(LIST_D, k), seen, moved);
    order_read(current(o), key_of(LIST_Q, k), seen, elements(r->at[at + 1], seen, moved));
    last_of_b(l, o, k, r->at[at + 2], r->at[at + 3]);
    finish(o, r);
}

/* Elements of d and b that no reply has named: not more than replies were lost. */
static unsigned count_unnamed(const struct order_history *h)
{
    int64_t taken_away = 0;
    for (size_t i = 0; i < h->n; i++) {
        for (unsigned m = 0; m < h->op[i].n; m++) {
            const struct order_micro *x = &h->op[i].micro[m];
            bool last = h->op[i].process == CLIENTS_MAX;
            if (anonymous(x->key)) {
                taken_away += last ? x->nseen : 0;
                taken_away -= x->kind == ORDER_APPEND;
            }
        }
    }
    return taken_away > 0 ? (unsigned)taken_away : 0;
}

static void join_clients(struct order_load *l, struct order_history *h)
{
    order_init(h);
    h->anonymous = anonymous;
    l->stop = true;
    for (unsigned i = 0; i < l->n; i++) {
        pthread_join(l->client[i].thread, NULL);
        order_join(h, &l->client[i].h);
    }
}

unsigned order_load_abandon(struct order_load *l)
{
    struct order_history h;
    join_clients(l, &h);
    order_free(&h);
    unsigned flaws = l->flaws;
    free(l);
    return flaws;
}

bool order_load_stop(struct order_load *l, struct order_history *h)
{
    join_clients(l, h);
    struct order_client *last = calloc(1, sizeof *last);
    must(last != NULL);
    last->load = l;
    last->id = CLIENTS_MAX;
    last->c = server_connect(l->s);
    uint32_t numbers = l->appends / PER_NUMBER + 2 * WINDOW;
    for (uint32_t k = 0; k < numbers; k++) {
        last_reads(l, last, k);
    }
    order_join(h, &last->h);
    unsigned unnamed = count_unnamed(h);
    if (unnamed > l->lost_takes) {
        flaw(l, "%u elements are gone without a reply, %u replies were lost", unnamed,
             l->lost_takes);
    }
    client_close(last->c);
    bool good = l->flaws == 0;
    free(last);
    free(l);
    return good;
}
