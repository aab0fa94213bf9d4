/* set.h -- What the files of the set family share.
 * SPDX-License-Identifier: BSD-3-Clause
 * All need the lock of the key they are given, as every handler has it. Other families take sets as
 * inputs by entry_get_set() and ds/set.h alone. */
#ifndef COMMANDS_SET_H
#define COMMANDS_SET_H

#include "commands/commands.h"
#include "ds/set.h"

struct set_limits set_limits_of(struct call *c); /* the directives */

/* The live set at k. False: replied WRONGTYPE. *e NULL: there is none, and *s is not set. */
must_check bool set_read(struct call *c, const struct key *k, struct entry **e, struct set *s);
must_check bool set_write(struct call *c, const struct key *k, struct entry **e, struct set *s);
/* Members were taken out of e's set: tells of the change, or deletes the key with its event. */
void set_shrunk(struct call *c, const struct key *k, struct entry *e, const struct set *s);
void set_reply_member(struct call *c, struct set_member *m);
/* All of s as a set. */
void set_reply_all(struct call *c, const struct set *s);
#endif
