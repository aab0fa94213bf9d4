/* pubsub.h -- What one session listens to.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * THREADS  The session's reactor, or anybody in an exclusive section. */
#ifndef EXEC_PUBSUB_H
#define EXEC_PUBSUB_H

#include "exec/keymap.h"

enum sub_kind { SUB_CHANNEL = 0, SUB_PATTERN = 1, SUB_SHARD = 2, SUB_KINDS = 3 };
struct subscriptions {
    struct keymap *map; /* by name; db = enum sub_kind */
    unsigned n[SUB_KINDS];
};
#endif
