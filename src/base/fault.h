/* fault.h -- Named fault points: every failure can be forced.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A point is a string at its place in the code: fault("wal.before_fsync"). Points register
 * themselves (a linker section), so that --list-fault-points shows them all. They are armed by the
 * environment (KV_FAULTS) or DEBUG FAULT:
 *
 *     name=action[:after][:count]
 *
 *     action   eio enospc eintr nomem   fault() answers that errno
 *              short                    FAULT_SHORT: transfer a part
 *              fail                     FAULT_FAIL: fail in whatever way the place knows
 *              delay<ms>                sleep, then go on as if nothing had happened
 *              kill                     SIGKILL in place
 *              exit                     _exit(72) in place
 *              bug                      switches a seeded bug on (below)
 *     after    hits that are let through first (default 0)
 *     count    hits that fail then (default 1; 0 = for ever)
 *
 * Several are separated by commas; one that cannot be used (bad form, no point of that name)
 * disarms all. Points of the same name share one rule and its counts. Compiled out (a constant 0)
 * unless KV_FAULTS is defined; release builds have none.
 *
 * Seeded bugs (KV_SEEDED_BUGS, needs KV_FAULTS): `if (!seeded_bug("wal.no_barrier")) { barrier }`,
 * a deliberate bug that the test suites must catch. The environment KV_BUG names the active one, or
 * a rule name=bug. A constant 0 in every other build. */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include "base/base.h"

#define FAULT_SHORT 100001
#define FAULT_FAIL  100002

#ifdef KV_FAULTS
struct fault_point {
    const char *name;
    _Atomic int armed;
};
#define FAULT_POINT_(point_name, list)                                                   \
    static struct fault_point fault_point_ = { point_name, 0 };                          \
    static struct fault_point *const fault_entry_ __attribute__((section(list), used)) = \
        &fault_point_
#define fault(point_name)                                            \
    ({                                                               \
        FAULT_POINT_(point_name, "kv_faults");                       \
        unlikely(fault_point_.armed) ? fault_hit(&fault_point_) : 0; \
    })
/* 0, or a positive errno to behave as (EIO, ENOSPC, EINTR, ENOMEM), or FAULT_SHORT, FAULT_FAIL. */
int fault_hit(struct fault_point *p);
/* 0 or -EINVAL. Added to what is armed (a name armed again gets the new rule); "" disarms all. */
must_check int fault_arm(const char *spec);
/* Arms what KV_FAULTS and KV_BUG say; a value that cannot be used ends the process (status 64): a
 * test must not pass because of a misspelt name. */
void fault_arm_env(void);
/* Rules that have failures left: 0 when all that was armed has been hit. Seeded bugs do not count.
 */
unsigned fault_armed(void);
/* Each name once: fault points, then seeded bugs. */
void fault_list(void (*line)(void *arg, const char *name), void *arg);
/* Is this seeded bug active? False for unknown names. */
bool fault_bug(const char *name);
#else
#define fault(point_name) 0
static inline must_check int fault_arm(const char *spec unused_arg)
{
    return -1;
}
static inline void fault_arm_env(void)
{
}
static inline void fault_list(void (*line)(void *arg, const char *name) unused_arg,
                              void *arg unused_arg)
{
}
static inline unsigned fault_armed(void)
{
    return 0;
}
static inline bool fault_bug(const char *name unused_arg)
{
    return false;
}
#endif

#ifdef KV_SEEDED_BUGS
#define seeded_bug(bug_name)               \
    ({                                     \
        FAULT_POINT_(bug_name, "kv_bugs"); \
        fault_point_.armed != 0;           \
    })
#else
#define seeded_bug(bug_name) 0
#endif
#endif
