/* list.h -- What the files of the list family share.
 * SPDX-License-Identifier: BSD-3-Clause
 * All need the lock of the key they are given, as every handler has it. */
#ifndef COMMANDS_LIST_H
#define COMMANDS_LIST_H

#include "commands/commands.h"
#include "ds/quicklist.h"

struct quicklist *list_of(const struct entry *e);
struct quicklist *list_new(struct call *c); /* an empty one with chunks as configured */
void list_settle(struct entry *e);          /* encoding name after a change */
void list_shrunk(
    struct call *c, const struct key *k,
    struct entry *e); /* elements were taken: deletes an empty list, or tells of the change */
void list_reply_value(struct call *c, const struct lp_value *v);
/* Pushes n (at least 1) values, creating the list; events and bookkeeping included. The length of
 * the list then; 0: replied an error, nothing changed. */
uint64_t list_push_values(struct call *c, const struct key *k, enum ql_end end,
                          const struct slice *v, unsigned n);
/* Replies n (1..count) elements as bulks while taking them from that end. */
void list_pop_reply(struct call *c, const struct key *k, struct entry *e, enum ql_end end,
                    uint64_t n);
#endif
