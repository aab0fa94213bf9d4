/* test_powerloss_server.c -- A whole server under power loss: after every I/O call of a script, and
 * again while it recovers. SPDX-License-Identifier: BSD-3-Clause
 *
 * A run is three lives on one directory. The first plays the script and loses power after call n.
 * The second loses it while it recovers or soon after it serves. The third stays. Whoever serves
 * must hold a prefix of each connection's commands that is no shorter than what was told; and what
 * the second has shown, the third must still have. A quarter of the lives is killed instead: what
 * was unsynced then is still at risk in the next life.
 * Sampled, or every call with five subsets: powerloss_sweep.h. */
#include "powerloss_rig.h"
#include "powerloss_sweep.h"
#include "unit.h"
#include "base/base.h"
#include <stdio.h>
#include <stdlib.h>

#define DISTURB 400 /* writes that certainly take more calls than a second life has */

/* What a sweep has besides its counts. */
struct swept {
    struct power_rig *rig;
    uint64_t lost_recovering, told;
};

static void expect_end(struct power_rig *r, struct power_life life, int status, const char *which)
{
    if (status != (life.killed ? STATUS_KILLED : STATUS_POWERLOSS)) {
        power_rig_fail(r, "%s life, call %llu, seed %llu: status %d", which,
                       (unsigned long long)life.after, (unsigned long long)life.seed, status);
    }
}

/* False: it went away meanwhile. */
static bool look(struct power_rig *r, struct script_run *run, struct power_life life)
{
    int result = script_check(r->script, r->s.port, run);
    if (result < 0) {
        power_rig_fail(r, "after call %llu, seed %llu: %s", (unsigned long long)life.after,
                       (unsigned long long)life.seed, run->problem);
    }
    return result == 0;
}

/* False: this run needed fewer calls; it was killed and nothing is lost. */
static bool first_life(struct power_rig *r, struct power_life life, struct script_run *run)
{
    int status = 0;
    bool serves = power_rig_start(r, life, &status);
    if (serves && script_play(r->script, r->s.port, SCRIPT_FAST, run)) {
        server_kill(&r->s);
        return false;
    }
    if (run->problem[0] != '\0') {
        power_rig_fail(r, "call %llu, seed %llu: %s", (unsigned long long)life.after,
                       (unsigned long long)life.seed, run->problem);
    }
    expect_end(r, life, serves ? power_rig_wait(r) : status, "first");
    return true;
}

static void second_life(struct power_rig *r, struct power_life life, struct script_run *run,
                        struct swept *t)
{
    int status = 0;
    bool serves = power_rig_start(r, life, &status);
    if (serves) {
        if (look(r, run, life) && !script_disturb(r->s.port, DISTURB)) {
            power_rig_fail(r, "second life: still there after call %llu",
                           (unsigned long long)life.after);
        }
        status = power_rig_wait(r);
    } else {
        t->lost_recovering++;
    }
    expect_end(r, life, status, "second");
}

static bool one_run(void *arg, uint64_t n, uint64_t seed, bool killed)
{
    struct swept *t = arg;
    struct power_rig *r = t->rig;
    struct script_run run = { .served = false };
    uint64_t x = power_scramble(seed);
    int status = 0;
    power_rig_reset(r);
    bool reached = first_life(r, (struct power_life){ n, seed, killed }, &run);
    if ((x >> 8) % 3 != 0) {
        second_life(r, (struct power_life){ 1 + (x >> 16) % 60, seed + 1, (x >> 32) % 4 == 0 },
                    &run, t);
    }
    if (!power_rig_start(r, (struct power_life){ 0, seed + 2, false }, &status)) {
        power_rig_fail(r, "power lost after call %llu, seed %llu: no start, status %d",
                       (unsigned long long)n, (unsigned long long)seed, status);
    }
    ck_assert(look(r, &run, (struct power_life){ n, seed, false }));
    server_kill(&r->s);
    for (unsigned i = 0; i < SCRIPT_CONNECTIONS; i++) {
        t->told += run.told[i];
    }
    return reached;
}

static uint64_t count_calls(struct power_rig *r)
{
    struct script_run run = { .served = false };
    int status = 0;
    power_rig_reset(r);
    ck_assert(power_rig_start(r, (struct power_life){ 0, unit_seed(), false }, &status));
    if (!script_play(r->script, r->s.port, SCRIPT_FAST, &run)) {
        power_rig_fail(r, "the script ends early: %s", run.problem);
    }
    ck_assert(look(r, &run, (struct power_life){ 0, unit_seed(), false }));
    server_stop(&r->s);
    uint64_t calls, barriers;
    power_rig_count(r, &calls, &barriers);
    return calls;
}

static void sweep(bool buffered, unsigned samples)
{
    struct script *script = script_new(unit_seed());
    struct power_rig r;
    struct swept t = { .rig = &r };
    char text[200];
    power_rig_init(&r, buffered, script);
    struct power_sweep s = { .calls = count_calls(&r), .samples = samples };
    ck_assert_uint_ge(script_commands(script), 500);
    power_sweep(&s, one_run, &t);
    power_sweep_text(&s, text, sizeof text);
    printf("power loss, server, %s: %u commands, %llu recoveries cut short, %llu steps told, %s\n",
           buffered ? "fallback" : "direct", script_commands(script),
           (unsigned long long)t.lost_recovering, (unsigned long long)t.told, text);
    script_free(script);
}

START_TEST(test_server_direct)
{
    sweep(false, 50);
}
END_TEST
START_TEST(test_server_fallback)
{
    sweep(true, 50);
}
END_TEST

UNIT_SUITE(powerloss_server)
{
    unit_case_slow(suite, "powerloss direct", unit_torture() ? 7200 : 900, test_server_direct);
    unit_case_slow(suite, "powerloss fallback", unit_torture() ? 7200 : 900, test_server_fallback);
}
