/* kill9.c -- kill -9 under load, at random moments and at fault points; what anybody has been told
 * still holds after the restart, and nothing else is there.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY    The page cache outlives the process, so what a kill can take back is what had not been
 * written yet. Half of the rounds delay each write of the log: whoever is told too early is then
 * almost certainly caught. */
#include "kill9.h"
#include "unit.h"
#include "base/clock.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHORT_ROUNDS     12
#define LONG_ROUNDS      200
#define ROUNDS_PER_START 25 /* then a new directory */
#define START_MS         60000

/* How a round's server is started and ended. */
struct plan {
    bool fallback;       /* pwrite + fdatasync, one group at a time */
    bool small_segments; /* the log changes its segment under load */
    char faults[128];
    unsigned ms;       /* then it is killed from outside, unless a fault point was faster */
    char recovery[64]; /* fault of a first restart, which is to end in it */
};

/* Points of the log that are met all the time, and those of its files and of recovery. */
static const char *const often[] = { "wal.before_write",  "wal.after_write", "wal.before_publish",
                                     "wal.after_publish", "wal.before_sync", "io.write" };
static const char *const seldom[] = { "wal.switch",         "wal.seal",         "wal.segment_zero",
                                      "wal.segment_rename", "wal.segment_sync", "wal.dir_sync" };
static const char *const recovering[] = { "wal.read", "wal.repair",       "io.read",     "io.write",
                                          "io.fsync", "wal.before_write", "wal.dir_sync" };

static const char *pick(const char *const *from, size_t n, uint64_t *state)
{
    return from[random_below(state, n)];
}

static void plan_round(struct plan *p, unsigned round, uint64_t *state)
{
    *p = (struct plan){ .fallback = round % 4 == 3, .small_segments = round % 3 == 2 };
    p->ms = 150 + (unsigned)random_below(state, 700);
    switch (round % 3) {
    case 0: break;
    case 1:
        snprintf(p->faults, sizeof p->faults, "wal.before_write=delay%u:0:0",
                 3 + (unsigned)random_below(state, 25));
        break;
    default:
        if (random_below(state, 3) > 0) {
            snprintf(p->faults, sizeof p->faults, "%s=kill:%u", pick(often, countof(often), state),
                     (unsigned)random_below(state, 400));
        } else {
            snprintf(p->faults, sizeof p->faults, "%s=kill:%u",
                     pick(seldom, countof(seldom), state), (unsigned)random_below(state, 2));
        }
    }
    if (random_below(state, 3) == 0) {
        snprintf(p->recovery, sizeof p->recovery, "%s=kill:%u",
                 pick(recovering, countof(recovering), state), (unsigned)random_below(state, 4));
    }
}

/* Waits until it serves; false when it ends instead. */
static bool comes_up(struct server *kv)
{
    int64_t deadline = clock_mono_ms() + unit_patient_ms(START_MS);
    bool ready = false;
    while (!ready && server_running(kv)) {
        ck_assert_msg(clock_mono_ms() < deadline, "it neither serves nor ends");
        const struct resp *r = NULL;
        struct client *c = client_try_connect(kv->port);
        ready = c != NULL && client_try_send(c, "PING") && client_try_read(c, &r) == RESP_OK &&
                r->type == RESP_SIMPLE;
        client_close(c);
        usleep(2000);
    }
    return ready;
}

/* Starts it with faults; one that ends in them is started again without. */
static void start_with(struct server *kv, const struct plan *p, const char *faults)
{
    const char *args[] = { "--threads",
                           "4",
                           "--notify-keyspace-events",
                           "KEA",
                           "--wal-direct-io",
                           p->fallback ? "no" : "yes",
                           "--wal-segment-size",
                           p->small_segments ? "1mb" : "64mb",
                           NULL };
    server_env(kv, "KV_FAULTS", faults);
    if (faults[0] != '\0') {
        (void)server_try_start_args(kv, args);
        if (comes_up(kv)) {
            return;
        }
        server_env(kv, "KV_FAULTS", "");
    }
    server_start_args(kv, args);
}

/* The first restart is to end in a fault, wherever that hits it. */
static void restart(struct server *kv, const struct plan *p)
{
    if (p->recovery[0] != '\0') {
        start_with(kv, p, p->recovery);
        server_kill(kv);
    }
    start_with(kv, p, "");
}

/* True: from outside; false: a fault point was faster. */
static bool end_by_kill(struct server *kv, unsigned ms)
{
    for (unsigned i = 0; i < ms / 5 && server_running(kv); i++) {
        usleep(5000);
    }
    bool outside = server_running(kv);
    if (outside) {
        server_kill(kv);
    }
    return outside;
}

static void show_recovery(const struct server *kv)
{
    char *log = server_log(kv), *last = NULL;
    for (char *at = log; (at = strstr(at, "DB loaded from the log")) != NULL; at++) {
        last = at;
    }
    fprintf(stderr, "%.*s\n", last != NULL ? (int)strcspn(last, "\n") : 0,
            last != NULL ? last : "");
    free(log);
}

static uint64_t total_acked(const struct load *l)
{
    uint64_t n = 0;
    for (unsigned w = 0; w < WRITERS; w++) {
        n += l->writer[w].acked;
    }
    return n;
}

/* Reads what is there, then empties it for the next round. */
static void read_and_flush(struct server *kv, struct dump *d)
{
    struct client *c = server_connect(kv);
    client_timeout(c, unit_patient_ms(30000));
    dump_read(d, c);
    client_expect(c, "+OK", "FLUSHALL");
    client_close(c);
}

/* It ends by itself only where a fault point kills it. */
static void check_end(const struct server *kv, const struct plan *p, bool outside)
{
    if (!outside && strstr(p->faults, "=kill") == NULL) {
        char *log = server_log(kv);
        size_t n = strlen(log);
        ck_abort_msg("SEED=%" PRIu64 ": it has ended by itself:\n%s", unit_seed(),
                     log + (n > 3000 ? n - 3000 : 0));
    }
}

/* Of all rounds together. */
struct figures {
    uint64_t acked, observed;
    unsigned outside, at_points,
        recovering; /* kills: at a random moment, by a fault point, again at the restart */
};

static void one_round(struct server *kv, unsigned round, uint64_t *state, struct figures *f)
{
    struct plan p;
    uint64_t seed = *state;
    plan_round(&p, round, state);
    server_kill(kv);
    start_with(kv, &p, p.faults);
    struct load *l = load_new(kv, seed);
    l->flushes = round % 2 == 0;
    load_start(l);
    bool outside = end_by_kill(kv, p.ms);
    load_join(l, false);
    check_end(kv, &p, outside);
    restart(kv, &p);
    struct dump d;
    read_and_flush(kv, &d);
    load_verify(l, &d);
    printf("round %u: %" PRIu64 " operations acknowledged, %" PRIu64
           " observations, %zu keys%s%s%s%s\n",
           round, total_acked(l), l->observed, d.n, p.fallback ? ", fallback" : "",
           p.small_segments ? ", small segments" : "", p.faults[0] != '\0' ? ", " : "", p.faults);
    if (l->violations > 0) {
        show_recovery(kv);
    }
    ck_assert_msg(l->violations == 0, "round %u (SEED=%" PRIu64 "): %u violations", round,
                  unit_seed(), l->violations);
    f->acked += total_acked(l);
    f->observed += l->observed;
    f->outside += outside;
    f->at_points += !outside;
    f->recovering += p.recovery[0] != '\0';
    dump_free(&d);
    load_free(l);
}

START_TEST(test_kill9)
{
    unsigned rounds = unit_torture() ? LONG_ROUNDS : SHORT_ROUNDS;
    uint64_t state = unit_seed();
    struct figures f = { 0 };
    struct server kv;
    for (unsigned round = 0; round < rounds; round++) {
        if (round % ROUNDS_PER_START == 0) {
            if (round > 0) {
                server_kill(&kv);
            }
            server_init(&kv, SERVER_KV);
            server_start(&kv, "--threads", "4");
        }
        one_round(&kv, round, &state, &f);
    }
    server_kill(&kv);
    printf("kill -9: %u rounds, %u kills at random moments, %u at fault points, %u more at the "
           "restart, %" PRIu64 " operations acknowledged, %" PRIu64 " observations, 0 violations\n",
           rounds, f.outside, f.at_points, f.recovering, f.acked, f.observed);
}
END_TEST

/* A server that ends before its first write is acknowledged leaves every actor with nothing to look
 * at; all of them notice the end nevertheless. */
START_TEST(test_early_end)
{
    struct server kv;
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "4");
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "DEBUG FAULT wal.before_write=delay600000:0:0"); /* it never comes */
    client_close(c);
    struct load *l = load_new(&kv, unit_seed());
    l->flushes = true;
    load_start(l);
    usleep(200000);
    server_kill(&kv);
    load_join(l, false);
    ck_assert_uint_eq(total_acked(l), 0);
    ck_assert_uint_eq(l->violations, 0);
    load_free(l);
}
END_TEST

UNIT_SUITE(kill9)
{
    unit_case_slow(suite, "an early end", 60, test_early_end);
    unit_case_slow(suite, "rounds", unit_torture() ? 3600 : 300, test_kill9);
}
