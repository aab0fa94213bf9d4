/* fault.h -- Named fault points: every failure can be forced.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A point is a string at its place in the code: fault("wal.before_fsync"). Points register
 * themselves (a linker section), so
 * --list-fault-points shows them all. They are armed by the environment (KV_FAULTS) or DEBUG FAULT:
 *     name=action[:after][:count]      action: eio | enospc | eintr | short | kill | exit | nomem |
 * fail | delay<ms> | bug `after` hits are let through first, then `count` hits fail (default 1; 0 =
 * for ever). Several are separated by commas. Compiled out (a constant 0) unless KV_FAULTS is
 * defined; release builds have none. "kill" raises SIGKILL in place. "bug" is what seeded-bug
 * builds ask with fault_bug("name"). */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include "base/base.h"

#ifdef KV_FAULTS
struct fault_point {
    const char *name;
    _Atomic int armed;
};
#define fault(point_name)                                                \
    ({                                                                   \
        static struct fault_point fault_point_ = { point_name, 0 };      \
        static struct fault_point *const fault_entry_                    \
            __attribute__((section("kv_faults"), used)) = &fault_point_; \
        unlikely(fault_point_.armed) ? fault_hit(&fault_point_) : 0;     \
    })
int fault_hit(struct fault_point *p); /* 0, or a positive errno to behave as (EIO, ENOSPC, EINTR,
                                         ENOMEM); FAULT_SHORT; FAULT_FAIL */
must_check int fault_arm(const char *spec); /* 0 or -EINVAL; spec as above; "" disarms all */
void fault_list(void (*line)(void *arg, const char *name), void *arg);
#define FAULT_SHORT 100001
#define FAULT_FAIL  100002
#else
#define fault(point_name) 0
#define FAULT_SHORT       100001
#define FAULT_FAIL        100002
static inline must_check int fault_arm(const char *spec unused_arg)
{
    return -1;
}
#endif
#endif
