/* kill9_check.c -- Is a recovered keyspace one that the crash may leave?
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * METHOD  For each writer, the states after n operations are built one by one, from what must have
 * survived up to what was sent; one of them must be exactly what is there. Everything left over in
 * the keyspace was never sent. */
#include "kill9.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WANTED_MAX 64

/* What a key must be; `maybe`: or absent; `open`: the value is checked elsewhere. */
struct wanted {
    char key[48];
    char value[1024];
    int64_t ttl;
    bool maybe;
};
struct state { /* of one writer after n operations */
    struct wanted key[WANTED_MAX];
    unsigned n;
};

static struct wanted *want(struct state *s, const char *kind, unsigned w, const char *value)
{
    must(s->n < WANTED_MAX);
    struct wanted *k = &s->key[s->n++];
    *k = (struct wanted){ .ttl = -1 };
    snprintf(k->key, sizeof k->key, "%s:%u", kind, w);
    snprintf(k->value, sizeof k->value, "%s", value);
    return k;
}

static struct wanted *want_op(struct state *s, const char *kind, unsigned w, uint64_t cycle,
                              enum op op)
{
    char value[64];
    snprintf(value, sizeof value, "s %u:%" PRIu64, w, op_number(cycle, op));
    return want(s, kind, w, value);
}

static void want_list(struct state *s, const char *kind, unsigned w, uint64_t from, uint64_t to,
                      enum op op)
{
    char value[1024] = "l";
    size_t n = 1;
    for (uint64_t i = from; i < to; i++) {
        n += (size_t)snprintf(value + n, sizeof value - n, " %u:%" PRIu64, w, op_number(i, op));
    }
    if (from < to) {
        want(s, kind, w, value);
    }
}

static void want_count(struct state *s, const char *kind, unsigned w, uint64_t count)
{
    char value[32];
    snprintf(value, sizeof value, "s %" PRIu64, count);
    if (count > 0) {
        want(s, kind, w, value);
    }
}

/* How many cycles have operation `op` behind them after n operations. */
static uint64_t done(uint64_t n, enum op op)
{
    return n / OPS + (n % OPS > op ? 1 : 0);
}

static void want_once(struct state *s, unsigned w, uint64_t n)
{
    uint64_t made = done(n, OP_ONCE), gone = done(n, OP_GONE);
    for (uint64_t i = gone > KEEP_ONCE ? gone - KEEP_ONCE : 0; i < made; i++) {
        char kind[48];
        struct wanted *k = want_op(s, "o", w, i, OP_ONCE);
        snprintf(kind, sizeof kind, "o:%u:%" PRIu64, w, i);
        memcpy(k->key, kind, sizeof k->key);
    }
}

/* A key that was made persistent in time stays; between SET and PERSIST it may expire. */
static void want_short(struct state *s, const struct writer *wr, uint64_t n)
{
    uint64_t made = done(n, OP_SHORT), kept = done(n, OP_PERSIST), acked = wr->acked;
    for (uint64_t i = made > KEEP_SHORT ? made - KEEP_SHORT : 0; i < made; i++) {
        if (i < kept && wr->lost[i]) {
            continue;
        }
        struct wanted *k = want_op(s, "p", wr->id, i, OP_SHORT);
        snprintf(k->key, sizeof k->key, "p:%u:%" PRIu64, wr->id, i % KEEP_SHORT);
        k->ttl = i < kept ? -1 : wr->short_ms[i];
        k->maybe = op_number(i, OP_PERSIST) >= acked;
    }
}

static void want_set_and_renamed(struct state *s, unsigned w, uint64_t n)
{
    uint64_t set = done(n, OP_SET), timed = done(n, OP_TTL), renamed = done(n, OP_RENAME);
    uint64_t last = renamed > 0 ? (renamed - 1) / 3 * 3 : 0; /* cycle of the last RENAME */
    if (set > 0 && !(renamed > 0 && set - 1 == last)) {
        struct wanted *k = want_op(s, "s", w, set - 1, OP_SET);
        k->ttl = timed == set ? FAR_MS + (int64_t)(set - 1) : -1;
    }
    if (renamed > 0) {
        want_op(s, "r", w, last, OP_SET)->ttl = FAR_MS + (int64_t)last;
    }
}

static void state_after(struct state *s, const struct writer *wr, uint64_t n)
{
    unsigned w = wr->id;
    uint64_t multi = done(n, OP_MULTI), both = done(n, OP_MSET), popped = 0;
    s->n = 0;
    want_set_and_renamed(s, w, n);
    want_count(s, "c", w, done(n, OP_INCR));
    if (done(n, OP_POP) > KEEP_LIST) {
        popped = done(n, OP_POP) - KEEP_LIST;
    }
    want_list(s, "l", w, popped, done(n, OP_PUSH), OP_PUSH);
    want_once(s, w, n);
    if (multi > 0) {
        want_op(s, "m", w, multi - 1, OP_MULTI);
        want_count(s, "mc", w, multi);
        want_list(s, "ml", w, multi > 8 ? multi - 8 : 0, multi, OP_MULTI);
    }
    want_short(s, wr, n);
    if (done(n, OP_AFTER) > 0 && done(n, OP_PAST) == done(n, OP_AFTER)) {
        want_count(s, "e", w, 1);
    }
    if (both > 0) {
        want_op(s, "x", w, both - 1, OP_MSET);
        want_op(s, "y", w, both - 1, OP_MSET);
    }
}

/* ---- Queues: the writer appends, consumers take from the front ---- */

static bool queue_fits(const struct writer *wr, struct dump *d, uint64_t n, char *why, size_t size)
{
    char key[32];
    snprintf(key, sizeof key, "q:%u", wr->id);
    struct dump_key *k = dump_find(d, wr->db, key);
    uint64_t pushed = done(n, OP_QUEUE), first = pushed, next = pushed;
    if (k != NULL) {
        char *at = k->value + 1;
        for (unsigned w; *at == ' '; next++) {
            uint64_t op = 0;
            int used = 0;
            if (sscanf(at, " %u:%" SCNu64 "%n", &w, &op, &used) != 2 || w != wr->id ||
                op % OPS != OP_QUEUE || (at != k->value + 1 && op / OPS != next)) {
                snprintf(why, size, "%s = %.200s", key, k->value);
                return false;
            }
            first = at == k->value + 1 ? op / OPS : first;
            next = op / OPS;
            at += used;
        }
    }
    unsigned unseen = 0;
    for (uint64_t i = 0; i < pushed; i++) {
        unseen += i < first && wr->popped[i] == 0;
        if (i >= first && wr->popped[i] != 0) {
            snprintf(why, size, "%s: element %" PRIu64 " was handed out and is there again", key,
                     i);
            return false;
        }
    }
    snprintf(why, size,
             "%s holds elements %" PRIu64 "..%" PRIu64 " of %" PRIu64
             ", %u are missing that nobody got",
             key, first, next, pushed, unseen);
    return next == pushed && unseen <= CONSUMERS;
}

/* ---- One writer ---- */

static bool state_fits(const struct writer *wr, struct dump *d, uint64_t n, bool mark, char *why,
                       size_t size)
{
    struct state *s = malloc(sizeof *s);
    must(s != NULL);
    state_after(s, wr, n);
    bool fits = queue_fits(wr, d, n, why, size);
    unsigned there = 0;
    for (unsigned i = 0; i < s->n && fits; i++) {
        const struct wanted *x = &s->key[i];
        struct dump_key *k = dump_find(d, wr->db, x->key);
        there += k != NULL;
        if (k == NULL ? !x->maybe
                      : strcmp(k->value, x->value) != 0 || (k->ttl != x->ttl && !x->maybe)) {
            snprintf(why, size, "%s is %.300s (%lld), expected %.300s (%lld)", x->key,
                     k == NULL ? "absent" : k->value, (long long)(k == NULL ? -2 : k->ttl),
                     x->value, (long long)x->ttl);
            fits = false;
        } else if (k != NULL && mark) {
            k->used = true;
        }
    }
    for (size_t i = 0; i < d->n && fits; i++) { /* a key of this writer that should be gone */
        unsigned w;
        char kind[8];
        if (sscanf(d->key[i].key, "%7[a-z]:%u", kind, &w) == 2 && w == wr->id &&
            strcmp(kind, "f") != 0 && strcmp(kind, "nx") != 0) {
            bool queue = strcmp(kind, "q") == 0;
            bool known = queue && d->key[i].db == wr->db;
            for (unsigned j = 0; j < s->n && !known; j++) {
                known = d->key[i].db == wr->db && strcmp(s->key[j].key, d->key[i].key) == 0;
            }
            d->key[i].used |= mark && queue;
            if (!known) {
                snprintf(why, size, "db%u %s = %.300s should not be there", d->key[i].db,
                         d->key[i].key, d->key[i].value);
                fits = false;
            }
        }
    }
    free(s);
    return fits;
}

static void verify_writer(struct load *l, struct writer *wr, struct dump *d)
{
    char why[1024] = "", first[1024] = "";
    uint64_t acked = wr->acked, must_have = wr->must, sent = wr->sent;
    uint64_t low = acked > must_have ? acked : must_have;
    if (low > sent) {
        violation(l, "writer %u: operation %" PRIu64 " was seen, sent are %" PRIu64, wr->id, low,
                  sent);
        return;
    }
    for (uint64_t n = low; n <= sent; n++) {
        if (done(n, OP_INCR) >= wr->counter && state_fits(wr, d, n, false, why, sizeof why)) {
            state_fits(wr, d, n, true, why, sizeof why);
            return;
        }
        if (n == low) {
            memcpy(first, why, sizeof first);
        }
    }
    uint64_t is = 0;
    while (is < low && !state_fits(wr, d, is, false, why, sizeof why)) {
        is++;
    }
    violation(l,
              "writer %u (db%u): acknowledged %" PRIu64 ", seen %" PRIu64 " (counter %" PRIu64
              "), sent %" PRIu64 "; recovered: %s%" PRIu64 ". %s",
              wr->id, wr->db, acked, must_have, wr->counter, sent,
              is < low ? "the state after " : "no state up to ", is, first);
}

/* ---- Locks (SET NX) and flushed generations ---- */

static void verify_nx(struct load *l, struct dump *d)
{
    for (unsigned j = 0; j < NX_MAX; j++) {
        char key[32];
        snprintf(key, sizeof key, "nx:%u", j);
        struct dump_key *k = l->nx[j] != 0 ? dump_find(d, DB_NX, key) : NULL;
        unsigned winner = l->nx_winner[j];
        if (k != NULL) {
            k->used = true;
            if (winner != 0 && (unsigned)atoi(k->value + 2) != winner) {
                violation(l, "%s: observer %u had it, it is %s", key, winner, k->value);
            }
        } else if (winner != 0 || (l->nx[j] & NX_SEEN) != 0) {
            violation(l, "%s: %s, and it is gone", key, winner != 0 ? "OK was answered" : "seen");
        }
    }
}

/* Generation g: SET f:g, then FLUSHDB. */
static void verify_flushes(struct load *l, struct dump *d)
{
    unsigned set = l->flush_set, flushed = l->flush_done, sent = l->flush_sent;
    flushed = flushed > l->flush_must ? flushed : l->flush_must;
    for (unsigned g = 0; g <= sent; g++) {
        char key[32];
        snprintf(key, sizeof key, "f:%u", g);
        struct dump_key *k = dump_find(d, DB_FLUSH, key);
        if (k != NULL) {
            k->used = true;
        }
        if (k != NULL && g < flushed) {
            violation(l, "%s is back after FLUSHDB", key);
        }
        bool may_be_flushed = g < sent; /* the next is set only after the flush's reply */
        if (k == NULL && g < set && g >= flushed && !may_be_flushed) {
            violation(l, "%s was acknowledged and is gone", key);
        }
    }
}

void load_verify(struct load *l, struct dump *d)
{
    for (unsigned w = 0; w < WRITERS; w++) {
        verify_writer(l, &l->writer[w], d);
    }
    verify_nx(l, d);
    verify_flushes(l, d);
    for (size_t i = 0; i < d->n && l->violations == 0; i++) {
        if (!d->key[i].used) {
            violation(l, "db%u %s = %.300s was never sent", d->key[i].db, d->key[i].key,
                      d->key[i].value);
        }
    }
}
