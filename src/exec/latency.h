/* latency.h -- Slow events and command histograms, as the LATENCY commands read them. Of exec/
 * only. SPDX-License-Identifier: BSD-3-Clause THREADS  Any. */
#ifndef EXEC_LATENCY_H
#define EXEC_LATENCY_H

#include "exec/exec_int.h"

#define LATENCY_HISTORY 160 /* as Redis */
#define LATENCY_STEPS   960 /* up to 2^34 ticks, some seconds; longer calls count as that */

struct latency_sample {
    int64_t time_s, ms;
};
struct latency_history {
    uint64_t n; /* samples ever taken; sample i stands at i % LATENCY_HISTORY */
    int64_t max_ms;
    struct latency_sample sample[LATENCY_HISTORY];
};
const char *latency_event_name(enum latency_event e);
int latency_event_find(struct slice name); /* -1: no such event */
/* A copy. False: no samples. */
bool latency_history(struct exec *x, enum latency_event e, struct latency_history *out);
/* False: there was nothing to forget. */
bool latency_forget(struct exec *x, enum latency_event e);

struct latency_total {
    uint64_t calls, count[LATENCY_STEPS];
};
/* All workers' calls of the command with this statistics id. False: none. */
bool latency_sum(struct exec *x, unsigned id, struct latency_total *out);
uint64_t latency_step_ns(unsigned step); /* the longest time a step stands for */
#endif
