/* powerloss_sweep.c -- Enumerates, or samples, the moments at which the power fails.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "powerloss_sweep.h"
#include "unit.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TRIES (3 * POWER_SUBSETS) /* for the subsets of one call */

uint64_t power_scramble(uint64_t x)
{
    x = (x ^ x >> 31) * 0x7fb5d329728ea185ull;
    x = (x ^ x >> 27) * 0x81dadef4bc2dd44dull;
    return x ^ x >> 33;
}

static bool run_once(struct power_sweep *s, power_run *run, void *arg, uint64_t n, bool killed)
{
    bool reached = run(arg, n, unit_seed() + 1000 * s->runs + s->runs % 5, killed);
    s->runs++;
    s->killed += reached && killed;
    s->lost += reached && !killed;
    return reached;
}

/* False: no run gets that far. */
static bool every_subset(struct power_sweep *s, power_run *run, void *arg, uint64_t n)
{
    unsigned got = 0;
    for (unsigned i = 0; i < TRIES && got < POWER_SUBSETS; i++) {
        got += run_once(s, run, arg, n, false);
    }
    if (got == 0) {
        return false;
    }
    (void)run_once(s, run, arg, n, true);
    s->full += got == POWER_SUBSETS;
    s->fewer += got < POWER_SUBSETS;
    return true;
}

void power_sweep(struct power_sweep *s, power_run *run, void *arg)
{
    const char *given = getenv("KV_POWERLOSS_RUNS");
    if (unit_torture() && given == NULL) {
        for (uint64_t n = 1; every_subset(s, run, arg, n); n++) {
        }
        ck_assert_uint_ge(s->full, s->calls / 2);
        return;
    }
    uint64_t runs = given != NULL ? strtoull(given, NULL, 10) : s->samples;
    for (uint64_t i = 0; i < runs; i++) {
        uint64_t x = power_scramble(unit_seed() + i);
        uint64_t range = s->early != 0 && i % 2 == 1 ? s->early : s->calls;
        (void)run_once(s, run, arg, 1 + (x >> 8) % range, x % 4 == 0);
    }
    ck_assert_uint_gt(s->lost + s->killed, runs / 2);
}

void power_sweep_text(const struct power_sweep *s, char *text, size_t size)
{
    int n = snprintf(text, size, "%" PRIu64 " runs, %" PRIu64 " lost power, %" PRIu64 " killed; ",
                     s->runs, s->lost, s->killed);
    if (s->full == 0) {
        snprintf(text + n, size - (size_t)n, "sampled from %" PRIu64 " calls; 0 violations",
                 s->calls);
    } else {
        snprintf(text + n, size - (size_t)n,
                 "calls with %d subsets each: %" PRIu64 ", with fewer: %" PRIu64 "; 0 violations",
                 POWER_SUBSETS, s->full, s->fewer);
    }
}
