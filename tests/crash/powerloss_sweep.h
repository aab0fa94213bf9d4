/* powerloss_sweep.h -- Which I/O calls the power fails after, and how often.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * With KV_TORTURE=1: call 1, 2, ... until no run reaches the n-th any more; after each the power
 * fails POWER_SUBSETS times, each time with another random subset of what is unsynced surviving,
 * and once the process is killed instead. How many calls a run makes depends on how its groups
 * fall, so late calls are tried several times, and those that still got fewer subsets are counted.
 * Otherwise (or with KV_POWERLOSS_RUNS=n: so many) random calls. */
#ifndef TESTS_POWERLOSS_SWEEP_H
#define TESTS_POWERLOSS_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POWER_SUBSETS 5

/* One run: it ends after call n of its first life, by power loss or by a kill; true when it got
 * that far. A violation fails the test. Of five seeds in a row one loses all that is unsynced. */
typedef bool power_run(void *arg, uint64_t n, uint64_t seed, bool killed);

struct power_sweep {
    uint64_t calls;   /* in: of one whole run */
    unsigned samples; /* in: runs when sampled */
    uint64_t early;   /* in: half of the samples are among the first so many calls; 0: none */
    uint64_t runs, lost, killed;
    uint64_t full, fewer; /* calls with all subsets, with some */
};

void power_sweep(struct power_sweep *s, power_run *run, void *arg);
/* "1200 runs, ..., 0 violations", in `text`. */
void power_sweep_text(const struct power_sweep *s, char *text, size_t size);
uint64_t power_scramble(uint64_t x);
#endif
