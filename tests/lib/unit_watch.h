/* unit_watch.h -- Time limits of the runner: what does not come to its end is shown and killed.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_WATCH_H
#define TESTS_UNIT_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* One worker. The first group is told by the worker and its tests (shared memory), the second is
 * the runner's. */
struct watch {
    _Atomic unsigned steps;    /* counts what begins: cases and tests */
    _Atomic pid_t test;        /* the test that began last, perhaps at its end */
    _Atomic int64_t limit_ms;  /* of each test and fixture of the case that runs; 0: none runs */
    const char *_Atomic suite; /* and its names */
    const char *_Atomic name;
    _Atomic unsigned number; /* the case's, for the runner */

    pid_t worker;
    unsigned seen;    /* steps, when it looked last */
    bool in_test;     /* and whether the test was running then */
    bool dumped;      /* what hangs has been shown */
    int64_t since_ms; /* since when it is like that */
};

/* A case begins or has ended (limit 0): for the worker. */
void watch_case(struct watch *w, const char *suite, const char *name, int64_t limit_ms);
/* A test of it begins: for the process of the test. */
void watch_test(struct watch *w);
/* Looks, from time to time, for the runner. What takes longer than the limit is shown with the
 * stacks of all processes below the worker (where gdb is there and may), then the test is killed
 * with all it has started, or the worker when a fixture hangs. */
void watch_look(struct watch *w);
#endif
