/* test_barrier.c -- One barrier fails once, whichever it is: nobody is answered after it.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The n-th barrier of a server (an O_DSYNC write, fdatasync, fsync of a file or directory) fails
 * with EIO, for n = 1, 2, ... until a run needs fewer. It fails late, so that the group behind it
 * has landed by then; what it was for is never made durable, and the power fails when the process
 * ends. So an answer that should not have been given is one that the next start cannot keep. */
#include "powerloss_rig.h"
#include "unit.h"
#include "base/base.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define STATUS_START 1  /* could not start */
#define STATUS_LOG   72 /* the log could not be written or synced */

struct tally {
    unsigned runs, at_start, while_serving, at_stop, survived;
};

static void tell(struct power_rig *r, uint64_t n, uint64_t seed, int status, const char *what)
{
    power_rig_fail(r, "barrier %llu fails, seed %llu: status %d: %s", (unsigned long long)n,
                   (unsigned long long)seed, status, what);
}

/* Its exit status, after the script was played as far as it goes. */
static int failing_life(struct power_rig *r, uint64_t n, uint64_t seed, enum script_pace pace,
                        struct script_run *run, struct tally *t)
{
    int status = 0;
    if (!power_rig_start(r, (struct power_life){ 0, seed, false }, &status)) {
        t->at_start++;
        return status;
    }
    bool whole = script_play(r->script, r->s.port, pace, run);
    if (run->refused != 0 && pace == SCRIPT_FAST) {
        server_kill(&r->s);
        return -1;
    }
    if (run->problem[0] != '\0') {
        tell(r, n, seed, 0, run->problem);
    }
    if (whole) {
        must(kill(r->s.pid, SIGTERM) == 0);
    }
    status = power_rig_wait(r);
    t->while_serving += !whole;
    t->at_stop += whole && status == STATUS_LOG;
    t->survived += status == 0;
    if (status != STATUS_LOG && !(whole && status == 0)) {
        tell(r, n, seed, status, "not the status of a log that failed");
    }
    return status;
}

/* False: there was no n-th barrier. */
static bool one_run(struct power_rig *r, uint64_t n, uint64_t seed, struct tally *t)
{
    struct script_run run = { .served = false };
    power_rig_reset(r);
    r->fail_barrier = n;
    r->loses_at_exit = true;
    int status = failing_life(r, n, seed, SCRIPT_FAST, &run, t);
    if (status < 0) { /* a segment could not be prepared and writes were refused for a moment: a */
        run = (struct script_run){ .served = false }; /* pipeline with holes has no prefix */
        power_rig_reset(r);
        status = failing_life(r, n, seed, SCRIPT_CAREFUL, &run, t);
    }
    if (status != 0 && status != STATUS_START && status != STATUS_LOG) {
        tell(r, n, seed, status, "undocumented");
    }
    uint64_t calls, barriers;
    power_rig_count(r, &calls, &barriers);
    r->fail_barrier = 0;
    if (!power_rig_start(r, (struct power_life){ 0, seed, false }, &status)) {
        tell(r, n, seed, status, "does not start again");
    }
    if (script_check(r->script, r->s.port, &run) != 0) {
        tell(r, n, seed, status, run.problem);
    }
    server_kill(&r->s);
    t->runs++;
    return barriers >= n;
}

static void sweep(bool buffered)
{
    /* Of five seeds in a row the first loses all that is unsynced. */
    uint64_t seed = unit_seed() / 5 * 5;
    unsigned seeds = unit_torture() ? 5 : 1;
    struct script *script = script_new(seed);
    struct power_rig r;
    struct tally t = { 0 };
    power_rig_init(&r, buffered, script);
    bool met = true;
    uint64_t n = 0;
    while (met) {
        n++;
        for (unsigned i = 0; i < seeds; i++) {
            met = one_run(&r, n, seed + i, &t);
        }
    }
    printf("barriers, %s: %llu fail, %u runs: %u at start, %u while serving, %u at the end, %u "
           "without harm\n",
           buffered ? "fallback" : "direct", (unsigned long long)n - 1, t.runs, t.at_start,
           t.while_serving, t.at_stop, t.survived);
    ck_assert_uint_gt(t.at_start, 0);
    ck_assert_uint_gt(t.while_serving, n / 3);
    script_free(script);
}

START_TEST(test_barrier_direct)
{
    sweep(false);
}
END_TEST
START_TEST(test_barrier_fallback)
{
    sweep(true);
}
END_TEST

UNIT_SUITE(barrier)
{
    unit_case_slow(suite, "barrier direct", unit_torture() ? 1800 : 600, test_barrier_direct);
    unit_case_slow(suite, "barrier fallback", unit_torture() ? 1800 : 600, test_barrier_fallback);
}
