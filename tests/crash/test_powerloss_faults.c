/* test_powerloss_faults.c -- The n-th call of each kind fails, once or from then on, while the
 * server starts, plays a script, or starts again. SPDX-License-Identifier: BSD-3-Clause
 *
 * Whatever fails: the server goes on or ends with a status that --help names, nothing hangs, and
 * the next start, after the power has failed too, has everything that was told. The calls of a kind
 * are counted by killing the server at the n-th: that there are no more of them is when it is not
 * killed. Sampled; all n of all kinds with KV_TORTURE=1. */
#include "powerloss_rig.h"
#include "unit.h"
#include "base/base.h"
#include "base/rng.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES        2 /* of a kind, in the short form */
#define STATUS_START   1
#define STATUS_MEMORY  71
#define STATUS_LOG     72
#define STATUS_DAMAGED 73
#define CALLS_MAX      4096

enum when { FIRST_START, RESTART };

static const struct way {
    const char *action;
    unsigned count; /* 0: from then on */
} ways[] = { { "eio", 1 },   { "eio", 0 },    { "enospc", 1 }, { "eintr", 1 },
             { "short", 1 }, { "enospc", 0 }, { "short", 0 } };
#define OF_IO     countof(ways)
#define OF_MEMORY 2 /* there is no memory, whatever the error is called */

static const struct kind {
    const char *point;
    bool reads; /* a log that cannot be read is refused like a damaged one */
    unsigned ways;
} kinds[] = {
    { "io.open", true, OF_IO },        { "io.write", false, OF_IO },
    { "io.fsync", false, OF_IO },      { "io.fdatasync", false, OF_IO },
    { "io.rename", false, OF_IO },     { "io.mkdir", false, OF_IO },
    { "io.unlink", false, OF_IO },     { "io.fsync_dir", false, OF_IO },
    { "io.truncate", false, OF_IO },   { "io.read", true, OF_IO },
    { "mem.alloc", false, OF_MEMORY },
};

struct shot {
    const struct kind *kind;
    const struct way *way; /* NULL: killed there */
    enum when when;
    unsigned after;
    uint64_t seed;
};
struct tally {
    unsigned runs, start, log, memory, damaged, fine, refused;
};

static void fail_shot(struct power_rig *r, const struct shot *s, int status, const char *what)
{
    power_rig_fail(r, "%s=%s:%u:%u, %s, seed %llu: status %d: %s", s->kind->point,
                   s->way != NULL ? s->way->action : "kill", s->after,
                   s->way != NULL ? s->way->count : 1, s->when == RESTART ? "restart" : "start",
                   (unsigned long long)s->seed, status, what);
}

static void judge_status(struct power_rig *r, const struct shot *s, int status, struct tally *t)
{
    switch (status) {
    case 0: t->fine++; return;
    case STATUS_START: t->start++; return;
    case STATUS_LOG: t->log++; return;
    case STATUS_MEMORY: t->memory++; return;
    case STATUS_DAMAGED: t->damaged++; break;
    default: break;
    }
    if (status != STATUS_DAMAGED || !s->kind->reads || s->when == FIRST_START) {
        fail_shot(r, s, status, "not a status for this");
    }
}

/* Asks it to end, in case it does not do so by itself. */
static int end_life(struct power_rig *r)
{
    (void)kill(r->s.pid, SIGTERM); /* or it has just ended: then this does nothing */
    return power_rig_wait(r);
}

/* The life in which something fails; its status. */
static int failing_life(struct power_rig *r, const struct shot *s, struct script_run *run,
                        struct tally *t)
{
    int status = 0;
    const struct way killed = { "kill", 1 }, *way = s->way != NULL ? s->way : &killed;
    snprintf(r->faults, sizeof r->faults, "%s=%s:%u:%u", s->kind->point, way->action, s->after,
             way->count);
    r->loses_at_exit = true;
    bool serves = power_rig_start(r, (struct power_life){ 0, s->seed, false }, &status);
    if (serves && s->when == FIRST_START) {
        (void)script_play(r->script, r->s.port, SCRIPT_CAREFUL, run);
        /* Closed for want of memory: that a command of the last step was refused is not heard. */
        for (unsigned i = 0; i < SCRIPT_CONNECTIONS && s->kind->ways == OF_MEMORY; i++) {
            run->holes[i] |= s->way != NULL && run->sent[i] > run->told[i];
        }
    } else if (serves) {
        int result = script_check(r->script, r->s.port, run);
        if (result < 0) {
            fail_shot(r, s, 0, run->problem);
        }
        (void)script_disturb(r->s.port, 10);
    }
    if (run->problem[0] != '\0') {
        fail_shot(r, s, 0, run->problem);
    }
    t->refused += run->refused > 0;
    if (serves && r->s.pid != 0) {
        status = end_life(r);
    }
    r->faults[0] = '\0';
    r->loses_at_exit = false;
    return status;
}

/* False: it was meant to be killed and there was no such call. */
static bool one_run(struct power_rig *r, const struct shot *s, struct tally *t)
{
    struct script_run run = { .served = false };
    int status = 0;
    power_rig_reset(r);
    if (s->when == RESTART) {
        ck_assert(power_rig_start(r, (struct power_life){ 0, s->seed, false }, &status));
        ck_assert(script_play(r->script, r->s.port, SCRIPT_FAST, &run));
        server_kill(&r->s);
    }
    status = failing_life(r, s, &run, t);
    bool killed = s->way == NULL && status == -SIGKILL;
    if (!killed) {
        judge_status(r, s, status, t);
    }
    if (!power_rig_start(r, (struct power_life){ 0, s->seed + 1, false }, &status)) {
        fail_shot(r, s, status, "does not start again");
    }
    if (script_check(r->script, r->s.port, &run) != 0) {
        fail_shot(r, s, status, run.problem);
    }
    server_kill(&r->s);
    t->runs++;
    return killed || s->way != NULL;
}

/* At least as many calls of that kind as a run makes, at most twice as many. */
static unsigned count_calls(struct power_rig *r, const struct kind *k, enum when when,
                            struct tally *t)
{
    unsigned n = 1;
    while (n < CALLS_MAX) {
        struct shot s = { k, NULL, when, n - 1, unit_seed() };
        if (!one_run(r, &s, t)) {
            break;
        }
        n *= 2;
    }
    return n - 1;
}

/* The long form is in parts, each a test: check cannot tell of one that takes longer than half an
 * hour, and on a machine that is busy with others all of it does. */
#define LONG_PARTS 6

/* All of a part, or some. */
static void shoot(struct power_rig *r, const struct kind *k, enum when when, unsigned calls,
                  unsigned part, struct tally *t)
{
    unsigned all = calls * k->ways, n = unit_torture() ? all : SAMPLES;
    unsigned step = unit_torture() ? LONG_PARTS : 1;
    for (unsigned i = part; i < n && calls > 0; i += step) {
        unsigned x = unit_torture() ? i : (unsigned)rng_below(all);
        struct shot s = { k, &ways[x % k->ways], when, x / k->ways, unit_seed() + i };
        (void)one_run(r, &s, t);
    }
}

static void sweep(bool buffered, enum when when, unsigned part)
{
    struct script *script = script_new(unit_seed());
    struct power_rig r;
    struct tally t = { 0 };
    char counts[400] = "";
    power_rig_init(&r, buffered, script);
    for (unsigned i = 0; i < countof(kinds); i++) {
        unsigned calls = count_calls(&r, &kinds[i], when, &t);
        size_t n = strlen(counts);
        snprintf(counts + n, sizeof counts - n, " %s<%u", kinds[i].point, calls + 1);
        shoot(&r, &kinds[i], when, calls, part, &t);
    }
    printf("faults, %s, %s, part %u: %u runs: %u fine (%u after refusals), %u no start, %u log, %u "
           "memory, "
           "%u damaged, 0 violations; calls:%s\n",
           buffered ? "fallback" : "direct", when == RESTART ? "restart" : "start", part, t.runs,
           t.fine, t.refused, t.start, t.log, t.memory, t.damaged, counts);
    ck_assert_uint_gt(t.fine, 0);
    if (unit_torture()) { /* the few samples of the short form may miss it */
        ck_assert_uint_gt(t.log, 0);
    }
    script_free(script);
}

START_TEST(test_start_direct)
{
    sweep(false, FIRST_START, (unsigned)_i);
}
END_TEST
START_TEST(test_start_fallback)
{
    sweep(true, FIRST_START, (unsigned)_i);
}
END_TEST
START_TEST(test_restart_direct)
{
    sweep(false, RESTART, (unsigned)_i);
}
END_TEST
START_TEST(test_restart_fallback)
{
    sweep(true, RESTART, (unsigned)_i);
}
END_TEST

UNIT_SUITE(powerloss_faults)
{
    const double limit_s = unit_torture() ? 2000 : 900;
    const int parts = unit_torture() ? LONG_PARTS : 1;
    unit_case_loop(suite, "faults start direct", limit_s, test_start_direct, parts);
    unit_case_loop(suite, "faults start fallback", limit_s, test_start_fallback, parts);
    unit_case_loop(suite, "faults restart direct", limit_s, test_restart_direct, parts);
    unit_case_loop(suite, "faults restart fallback", limit_s, test_restart_fallback, parts);
}
