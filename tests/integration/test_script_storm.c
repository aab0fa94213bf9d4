/* test_script_storm.c -- Slow scripts and scripts with undeclared keys among all that meets them:
 * flushes, functions that are replaced, KILL, WATCH, blocked clients, connections that break, the
 * log switched off and on. SPDX-License-Identifier: BSD-3-Clause
 *
 * Each connection has a counter of its own, and one is everybody's; whatever changes one of them
 * changes the other, too, in one script or transaction. Every reply says the counter's value: one
 * more than before. In the end the counters are what was answered, their sum is the common one, and
 * a restart finds them so. What was pushed to the list is popped once. */
#include "base/base.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "server.h"
#include "unit.h"
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VISITORS = 24, BATCH = 8 };
#define STORM_MS 3000

enum what { ANSWERED, COUNTED, EXECUTED, PUSHED, POPPED };
struct waiting {
    enum what what;
    unsigned counts; /* what it adds to the counter, if it runs */
    unsigned item;   /* PUSHED */
};
struct visitor {
    struct client *c;
    unsigned key; /* the connection's counter is n:key */
    int64_t count;
    struct waiting waits[BATCH];
    unsigned first, n;
    unsigned left; /* batches until it goes */
    int64_t since; /* of the last reply or request, ms */
    char last[300];
};
struct counter {
    int64_t low, high; /* of a connection that broke, nobody knows what still ran */
};
struct item {
    bool acked, popped, left;
};

static struct server kv;
static struct visitor all[VISITORS];
static struct counter *counters;
static struct item *items;
static unsigned nkeys, nitems, lost_pops; /* BLPOPs whose reply nobody read */

static const char *const sources[] = {
    "redis.call('incr',KEYS[2]) return redis.call('incr',KEYS[1])",
    "redis.call('incr','t') for i=1,%u do end return redis.call('incr',KEYS[1])",
    "for i=1,%u do end redis.call('incr',KEYS[2]) return redis.call('incr',KEYS[1])",
    "local n=redis.call('incr',KEYS[1]) for i=1,%u do end redis.call('incr','t') return n",
    "redis.call('time') for i=1,%u do end redis.call('incr','t') return redis.call('incr',KEYS[1])",
};
static const unsigned rounds[] = { 10, 100000, 600000 };
enum { SCRIPTS = countof(sources) * countof(rounds) };
/* Everything goes and what is counted comes back. */
#define FLUSH_AND_KEEP                                                             \
    "local t={} for _,k in ipairs(redis.call('keys','[ntq]*')) do "                \
    "t[k]=redis.call('dump',k) end redis.call('flushall') for k,v in pairs(t) do " \
    "redis.call('restore',k,0,v) end"

static void script_text(unsigned which, char text[200])
{
    const char *source = sources[which % countof(sources)];
    const char *at = strstr(source, "%u");
    if (at == NULL) {
        snprintf(text, 200, "%s", source);
    } else {
        snprintf(text, 200, "%.*s%u%s", (int)(at - source), source,
                 rounds[which / countof(sources)], at + 2);
    }
}

/* ---- Requests ---- */

static void ask(struct visitor *v, struct waiting w, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void ask(struct visitor *v, struct waiting w, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(v->last, sizeof v->last, fmt, ap);
    va_end(ap);
    must(v->n < BATCH);
    v->waits[(v->first + v->n++) % BATCH] = w;
    (void)client_try_send(v->c, "%s", v->last); /* a closed connection is seen by reading */
}

#define SAY(v, ...) ask((v), (struct waiting){ ANSWERED, 0, 0 }, __VA_ARGS__)

static void ask_transaction(struct visitor *v, const char *text)
{
    SAY(v, "WATCH k t");
    SAY(v, "MULTI");
    SAY(v, "INCR n:%u", v->key);
    SAY(v, "INCR t");
    SAY(v, "EVAL \"%s\" 2 n:%u t", text, v->key);
    ask(v, (struct waiting){ EXECUTED, 2, 0 }, "EXEC");
}

static void ask_item(struct visitor *v)
{
    items = mem_realloc(items, (nitems + 1) * sizeof *items);
    items[nitems] = (struct item){ .acked = false };
    ask(v, (struct waiting){ PUSHED, 0, nitems }, "RPUSH q %u", nitems);
    nitems++;
}

static void ask_function(struct visitor *v)
{
    unsigned which = (unsigned)rng_below(3);
    SAY(v,
        "FUNCTION LOAD REPLACE \"#!lua name=l%u\\nredis.register_function('f%u',function(KEYS) "
        "for i=1,%u do end redis.call('incr','t') return redis.call('incr',KEYS[1]) end)\"",
        which, which, rounds[rng_below(countof(rounds))]);
}

static void ask_rare(struct visitor *v)
{
    static const char *const rare[] = {
        "CONFIG SET appendonly yes",
        "CONFIG SET appendonly no",
        "CONFIG SET appendfsync always",
        "CONFIG SET appendfsync everysec",
        "CONFIG SET appendfsync no",
        "EVAL \"" FLUSH_AND_KEEP "\" 0",
        "EVAL \"redis.call('select',15) redis.call('flushdb')\" 0",
        "SWAPDB 14 15",
        "DBSIZE",
        "RESET",
        "FUNCTION FLUSH",
        "INFO everything",
        "CLIENT LIST",
    };
    SAY(v, "%s", rng_below(60) == 0 ? "CLIENT KILL TYPE normal" : rare[rng_below(countof(rare))]);
}

static void ask_something(struct visitor *v)
{
    char text[200];
    script_text((unsigned)rng_below(SCRIPTS), text);
    struct waiting counted = { COUNTED, 1, 0 };
    unsigned x = (unsigned)rng_below(100);
    if (x < 22) {
        uint8_t digest[20];
        char sha[41] = "";
        sha1(text, strlen(text), digest);
        hex_encode(digest, sizeof digest, sha);
        ask(v, counted, "EVALSHA %s 2 n:%u t", sha, v->key);
    } else if (x < 44) {
        ask(v, counted, "EVAL \"%s\" 2 n:%u t", text, v->key);
    } else if (x < 54) {
        ask(v, counted, "FCALL f%u 2 n:%u t", (unsigned)rng_below(3), v->key);
    } else if (x < 59) {
        ask_function(v);
    } else if (x < 63) {
        SAY(v, "SCRIPT FLUSH");
    } else if (x < 69) {
        SAY(v, "%s KILL", rng_below(2) == 0 ? "SCRIPT" : "FUNCTION");
    } else if (x < 72) {
        SAY(v, "FUNCTION STATS");
    } else if (x < 79) {
        ask_transaction(v, text);
    } else if (x < 82) {
        SAY(v, "WATCH k");
        SAY(v, rng_below(2) == 0 ? "UNWATCH" : "SET k v");
    } else if (x < 87) {
        ask(v, (struct waiting){ POPPED, 0, 0 }, "BLPOP q other 0.01");
    } else if (x < 91) {
        ask_item(v);
    } else if (x < 95) {
        SAY(v, "SET e%u v PX %u", (unsigned)rng_below(50), 1 + (unsigned)rng_below(30));
    } else {
        ask_rare(v);
    }
}

/* ---- Replies ---- */

static void counted(struct visitor *v, const struct resp *r)
{
    char *line = resp_line(r);
    if (r->type == RESP_ERROR) {
        ck_assert_msg(strncmp(line, "-BUSY", 5) == 0 || strncmp(line, "-NOSCRIPT", 9) == 0 ||
                          strstr(line, "killed by user") != NULL ||
                          strstr(line, "Function not found") != NULL,
                      "%s", line);
    } else {
        ck_assert_msg(r->type == RESP_INT && r->integer == v->count + 1,
                      "n:%u was %" PRId64 ", now %s", v->key, v->count, line);
        v->count++;
    }
    free(line);
}

static void popped(const struct resp *r)
{
    if (r->type != RESP_ARRAY) {
        return;
    }
    unsigned item = 0;
    ck_assert_int_eq((int)r->count, 2);
    ck_assert_int_eq(sscanf(r->at[1]->text, "%u", &item), 1);
    ck_assert_uint_lt(item, nitems);
    ck_assert_msg(!items[item].popped, "%u is popped twice", item);
    items[item].popped = true;
}

static void understand(struct visitor *v, const struct resp *r)
{
    struct waiting w = v->waits[v->first];
    v->first = (v->first + 1) % BATCH;
    v->n--;
    if (w.what == COUNTED) {
        counted(v, r);
    } else if (w.what == EXECUTED && r->type == RESP_ARRAY) {
        ck_assert_int_eq((int)r->count, 3);
        counted(v, r->at[0]);
        counted(v, r->at[2]);
    } else if (w.what == PUSHED) {
        items[w.item].acked = r->type == RESP_INT;
    } else if (w.what == POPPED) {
        popped(r);
    }
}

/* ---- Coming and going ---- */

static void come(struct visitor *v)
{
    *v = (struct visitor){ .c = server_connect(&kv), .key = nkeys++ };
    v->since = clock_mono_ms();
    v->left = 1 + (unsigned)rng_below(60);
    counters = mem_realloc(counters, nkeys * sizeof *counters);
}

static void go(struct visitor *v)
{
    struct counter *n = &counters[v->key];
    *n = (struct counter){ v->count, v->count };
    for (unsigned i = 0; i < v->n; i++) {
        const struct waiting *w = &v->waits[(v->first + i) % BATCH];
        n->high += w->counts;
        lost_pops += w->what == POPPED;
    }
    client_close(v->c);
    v->c = NULL;
}

/* False: the connection is gone. */
static bool hear(struct visitor *v)
{
    const struct resp *r = NULL;
    enum resp_status st = RESP_OK;
    client_timeout(v->c, 0);
    while (v->n > 0 && (st = client_try_read(v->c, &r)) == RESP_OK) {
        understand(v, r);
        v->since = clock_mono_ms();
    }
    ck_assert_msg(st != RESP_MALFORMED, "%s: %s", v->last, client_problem(v->c));
    ck_assert_msg(clock_mono_ms() - v->since < unit_patient_ms(30000), "%u waits for a reply to %s",
                  v->key, v->last);
    client_timeout(v->c, unit_patient_ms(30000));
    return st != RESP_CLOSED;
}

static void act(struct visitor *v)
{
    if (v->left-- == 0) {
        go(v);
        come(v);
    }
    v->since = clock_mono_ms();
    ask_something(v);
    if (v->n == 1 && rng_below(4) == 0) { /* a second one behind it */
        ask_item(v);
    }
    if (rng_below(25) == 0) {
        go(v); /* without reading */
        come(v);
    }
}

static void wait_for_any(void)
{
    struct pollfd fds[VISITORS];
    for (unsigned i = 0; i < VISITORS; i++) {
        fds[i] = (struct pollfd){ all[i].c != NULL ? client_fd(all[i].c) : -1, POLLIN, 0 };
    }
    (void)poll(fds, VISITORS, 20);
}

static void storm(void)
{
    int64_t until = clock_mono_ms() + STORM_MS * (unit_torture() ? 10 : 1);
    for (unsigned i = 0; i < VISITORS; i++) {
        come(&all[i]);
    }
    for (unsigned busy = VISITORS; busy > 0;) {
        busy = 0;
        wait_for_any();
        bool over = clock_mono_ms() >= until;
        for (unsigned i = 0; i < VISITORS; i++) {
            struct visitor *v = &all[i];
            if (v->c != NULL && !hear(v)) {
                go(v);
                if (!over) {
                    come(v);
                }
            }
            if (!over && v->n == 0) {
                act(v);
            }
            busy += !over || (v->c != NULL && v->n > 0);
        }
    }
    for (unsigned i = 0; i < VISITORS; i++) {
        if (all[i].c != NULL) {
            go(&all[i]);
        }
    }
}

/* ---- What is left ---- */

static struct client *connect_alone(void)
{
    struct client *c = server_connect(&kv);
    int64_t until = clock_mono_ms() + unit_patient_ms(20000);
    while (strstr(client_ask(c, "INFO clients")->text, "connected_clients:1\r") == NULL) {
        ck_assert_msg(clock_mono_ms() < until, "connections that were closed are still there");
    }
    return c;
}

static void check_counters(struct client *c, bool exact)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < nkeys; i++) {
        const struct resp *r = client_ask(c, "GET n:%u", i);
        int64_t n = r->type == RESP_NIL ? 0 : strtoll(r->text, NULL, 10);
        struct counter *want = &counters[i];
        ck_assert_msg(n >= want->low && n <= want->high,
                      "n:%u is %" PRId64 ", expected %" PRId64 " to %" PRId64 "%s", i, n, want->low,
                      want->high, exact ? " after the restart" : "");
        sum += n;
        *want = (struct counter){ n, n };
    }
    const struct resp *r = client_ask(c, "GET t");
    ck_assert_int_eq(r->type == RESP_NIL ? 0 : strtoll(r->text, NULL, 10), sum);
}

static void check_items(struct client *c)
{
    unsigned gone = 0;
    const struct resp *r = client_ask(c, "LRANGE q 0 -1");
    for (size_t i = 0; i < r->count; i++) {
        unsigned item = 0;
        ck_assert_int_eq(sscanf(r->at[i]->text, "%u", &item), 1);
        ck_assert_uint_lt(item, nitems);
        ck_assert_msg(!items[item].popped && !items[item].left, "%u is there twice", item);
        items[item].left = true;
    }
    for (unsigned i = 0; i < nitems; i++) {
        gone += items[i].acked && !items[i].popped && !items[i].left;
    }
    ck_assert_msg(gone <= lost_pops, "%u pushed items are lost, %u may be", gone, lost_pops);
}

/* A change of a client that is gone may still be under way. */
static void log_everything(struct client *c)
{
    const struct resp *r;
    while ((r = client_ask(c, "CONFIG SET appendonly yes"))->type == RESP_ERROR) {
        ck_assert_msg(strstr(r->text, "an earlier change") != NULL, "%s", r->text);
        usleep(1000);
    }
}

START_TEST(test_storm)
{
    rng_seed_all(unit_seed());
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "4", "--busy-reply-threshold", "3");
    storm();
    struct client *c = connect_alone();
    log_everything(c);
    check_counters(c, false);
    check_items(c);
    client_close(c);
    server_stop(&kv);
    server_start(&kv, "--threads", "4");
    server_wait_ready(&kv);
    c = server_connect(&kv);
    check_counters(c, true);
    client_close(c);
    server_stop(&kv);
    mem_free(counters);
    mem_free(items);
}
END_TEST

UNIT_SUITE(script_storm)
{
    unit_case_slow(suite, "storm", 180, test_storm);
}
