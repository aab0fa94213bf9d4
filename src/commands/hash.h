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
/* The same for a command that names the fields argv[first], argv[first + step] ...: those that are
 * due are removed first (key_drop_due()). False: or -OOM. */
must_check bool hash_write_named(struct call *c, const struct key *k, unsigned first, unsigned step,
                                 struct entry **e, struct fields *f);
struct fields_limits hash_limits(struct call *c); /* of the listpack, as configured */
/* Fields went from f, which is that of e: stored, told of as "hdel", and the key goes with the last
 * one. */
void hash_shrunk(struct call *c, const struct key *k, struct entry *e, const struct fields *f);
/* Fields were put into f, which is that of e, or of nobody yet. */
void hash_stored(struct call *c, const struct key *k, struct entry *e, const struct fields *f);

/* All n pairs or none, each with `due` (fields_put_due()). How many fields are new; -1: no
 * memory. */
must_check int64_t hash_put_all(struct fields *f, const struct slice *pair, unsigned n, int64_t due,
                                const struct fields_limits *limits);

/* ---- Dues of fields (cmd_hash_expire.c) ---- */

/* Argument i as a moment: *when in unix ms, above 0. False: replied the error. */
must_check bool hash_time(struct call *c, unsigned i, bool seconds, bool relative, int64_t *when);
/* FIELDS at argv[at], the number of fields, and so many of them to the end; not_count is the error
 * about a number that is none. False: replied the error. */
must_check bool hash_fields_arg(struct call *c, unsigned at, const char *not_count);

enum hash_due_cond { HASH_NX = 1, HASH_XX, HASH_GT, HASH_LT };
enum hash_due_result {
    HASH_NO_FIELD = -2,
    HASH_NO_DUE = -1,
    HASH_NOT_MET = 0,
    HASH_DONE,
    HASH_DELETED
};
/* Gives the fields of the hash at k a due, or BTREE_NO_DUE; a moment that has passed deletes them.
 * Logged and told of; the reply is the caller's. */
struct hash_due {
    const struct slice *name;
    unsigned n;
    int64_t when;
    unsigned cond;  /* enum hash_due_cond; 0: none */
    int8_t *result; /* NULL, or n of them; enum hash_due_result */
};
/* False: there is no memory, and nothing changed. */
must_check bool hash_set_due(struct call *c, const struct key *k, struct entry *e, struct fields *f,
                             const struct hash_due *d);
/* Logs that n fields have this due: their names stand in argv behind room for so many words. */
#define HASH_DUES_HEAD 5
void hash_dues_effect(struct call *c, const struct key *k, struct slice *argv, unsigned n,
                      int64_t when);
#endif
