/* set_options.h -- Options that SET, GETEX and MSETEX have in common; comparing the value of a key.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef COMMANDS_SET_OPTIONS_H
#define COMMANDS_SET_OPTIONS_H

#include "exec/exec.h"

enum {
    OPT_NX = 1 << 0,
    OPT_XX = 1 << 1,
    OPT_GET = 1 << 2,
    OPT_KEEPTTL = 1 << 3,
    OPT_PERSIST = 1 << 4,
    OPT_EX = 1 << 5,
    OPT_PX = 1 << 6,
    OPT_EXAT = 1 << 7,
    OPT_PXAT = 1 << 8,
    OPT_IFEQ = 1 << 9,
    OPT_IFNE = 1 << 10,
    OPT_IFDEQ = 1 << 11,
    OPT_IFDNE = 1 << 12,

    OPT_COMPARE = OPT_IFEQ | OPT_IFNE | OPT_IFDEQ | OPT_IFDNE,
    OPT_CONDITION = OPT_NX | OPT_XX | OPT_COMPARE,
    OPT_EXPIRE = OPT_EX | OPT_PX | OPT_EXAT | OPT_PXAT,
    OPT_TTL = OPT_EXPIRE | OPT_KEEPTTL | OPT_PERSIST,
    OPT_SECONDS = OPT_EX | OPT_EXAT,
    OPT_RELATIVE = OPT_EX | OPT_PX,
    OPT_SET = OPT_CONDITION | OPT_GET | OPT_KEEPTTL | OPT_EXPIRE,
    OPT_MSETEX = OPT_NX | OPT_XX | OPT_KEEPTTL | OPT_EXPIRE,
    OPT_GETEX = OPT_PERSIST | OPT_EXPIRE,
};

struct set_options {
    unsigned set;         /* OPT_* given */
    unsigned expire_arg;  /* index of the time, when OPT_EXPIRE */
    unsigned compare_arg; /* of what to compare with, when OPT_COMPARE */
};

/* argv[from] to the end; `allowed`: of OPT_*. False after having replied the error. */
must_check bool set_options_parse(struct call *c, unsigned from, unsigned allowed,
                                  struct set_options *o);
/* The time in argv[i], given as `unit` (one of OPT_EXPIRE), as unix milliseconds; false after
 * having replied the error. */
must_check bool arg_expire(struct call *c, unsigned i, unsigned unit, int64_t *unix_ms);

/* Is the string at e (NULL: none) as `kind` (one of OPT_COMPARE) wants it beside `with`, a value or
 * a digest? No string equals nothing. False: replied that it is something else, or `with` is no
 * digest. */
must_check bool string_compare(struct call *c, const struct entry *e, unsigned kind,
                               struct slice with, bool *met);
unsigned string_compare_word(struct slice word); /* "IFEQ" ...; 0: none of OPT_COMPARE */

/* XXH3 of a string, as 16 lower-case hexadecimal digits. */
#define STRING_DIGEST 16
void string_digest(struct slice s, char out[STRING_DIGEST]);
#endif
