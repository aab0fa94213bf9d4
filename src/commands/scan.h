/* scan.h -- What SCAN, HSCAN, SSCAN and ZSCAN share: cursor and options.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * CURSOR   Below 2^53, so that clients whose numbers are doubles can hold it. */
#ifndef COMMANDS_SCAN_H
#define COMMANDS_SCAN_H

#include "commands/commands.h"

struct scan_args {
    uint64_t cursor;
    size_t count;         /* at least 1 */
    struct slice pattern; /* p NULL: everything matches */
    int type;             /* enum obj_type; -1: any; SCAN_NO_TYPE: the name is none */
};
#define SCAN_NO_TYPE 1000

/* The two halves, because Redis looks the key up between them. False: replied. */
must_check bool scan_cursor(struct call *c, unsigned i, struct scan_args *a);
/* The arguments from `first` on: MATCH, COUNT and, with_type, TYPE. */
must_check bool scan_options(struct call *c, unsigned first, bool with_type, struct scan_args *a);

static inline bool scan_matches(const struct scan_args *a, struct slice text)
{
    return a->pattern.p == NULL || glob_match(a->pattern, text, false);
}
#endif
