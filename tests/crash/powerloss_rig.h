/* powerloss_rig.h -- A kv-server whose disk loses power, or fails, at its n-th call.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The server runs on preload_powerloss.so; its data directory is a power-loss directory. All
 * functions fail the running test when they cannot do what they say. */
#ifndef TESTS_POWERLOSS_RIG_H
#define TESTS_POWERLOSS_RIG_H

#include "powerloss_script.h"

#define STATUS_POWERLOSS 99
#define STATUS_KILLED    98

struct power_rig {
    struct server s;
    struct script *script;
    bool buffered; /* the fallback write path */
    char count[320], shim[512];
    char faults[200]; /* KV_FAULTS of the next lives */
    /* Of the next lives: a barrier that fails once, and losing power when the process ends. */
    uint64_t fail_barrier;
    bool loses_at_exit;
};

struct power_life {
    uint64_t after; /* the call after which the power fails; 0: it does not */
    uint64_t seed;
    bool killed; /* instead, and the power stays */
};

void power_rig_init(struct power_rig *r, bool buffered, struct script *script);
void power_rig_reset(struct power_rig *r); /* an empty directory, without a past */
/* True: it serves. False: it has ended; *status is its exit status, -signal when it was killed. */
bool power_rig_start(struct power_rig *r, struct power_life life, int *status);
int power_rig_wait(struct power_rig *r); /* until it ends by itself; as *status */
/* Of the last life, which has ended by itself. */
void power_rig_count(struct power_rig *r, uint64_t *calls, uint64_t *barriers);
_Noreturn void power_rig_fail(struct power_rig *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
#endif
