/* pubsub.h -- What one session listens to.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * THREADS  The session's reactor, or anybody in an exclusive section. */
#ifndef EXEC_PUBSUB_H
#define EXEC_PUBSUB_H

#include "exec/exec.h"
#include "exec/keymap.h"

struct worker;
enum sub_kind { SUB_CHANNEL = 0, SUB_PATTERN = 1, SUB_SHARD = 2, SUB_KINDS = 3 };
struct subscriptions {
    struct keymap *map; /* by name; db = enum sub_kind */
    unsigned n[SUB_KINDS];
};

/* Counts who listens to the channel (and to patterns that match) and, with deliver, sends them the
 * text. w: the caller, under any shard locks. */
unsigned pubsub_publish(struct worker *w, enum sub_kind kind, struct slice channel,
                        struct slice text, uint64_t gate, bool deliver);
bool pubsub_anybody(const struct exec *x); /* listens, to channels or patterns */
#define LOST_MESSAGE "out of memory for a message"
#endif
