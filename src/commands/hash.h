/* hash.h -- What the files of the hash family share.
 * SPDX-License-Identifier: BSD-3-Clause
 * All need the lock of the key they are given, as every handler has it. */
#ifndef COMMANDS_HASH_H
#define COMMANDS_HASH_H

#include "commands/commands.h"
#include "ds/fields.h"

/* The live hash at k. False: replied WRONGTYPE. *e NULL: there is none, and *f is not set. */
must_check bool hash_read(struct call *c, const struct key *k, struct entry **e, struct fields *f);
must_check bool hash_write(struct call *c, const struct key *k, struct entry **e, struct fields *f);
#endif
