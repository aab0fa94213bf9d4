/* elements.h -- What the families of ordered containers share: ranges of indexes, and popping from
 * the first of several keys. SPDX-License-Identifier: BSD-3-Clause */
#ifndef COMMANDS_ELEMENTS_H
#define COMMANDS_ELEMENTS_H

#include "commands/commands.h"

/* start..stop of LRANGE and its like, negative ones counted from the end of n elements, as *count
 * elements from *first on. False: there are none. */
must_check bool index_range(int64_t start, int64_t stop, uint64_t n, uint64_t *first,
                            uint64_t *count);

/* The first declared key that exists, in order; *i is its index, *e NULL if none does. False:
 * replied that it is not of type t. */
must_check bool first_existing(struct call *c, enum obj_type t, unsigned *i, struct entry **e);

/* numkeys key ... where [COUNT count], as LMPOP has it. */
struct mpop_args {
    bool last; /* `where` was the second word */
    uint64_t count;
};
/* argv[at] is the number of keys. False after having replied the error. */
must_check bool mpop_parse(struct call *c, unsigned at, const char *first, const char *last,
                           struct mpop_args *a);

/* reply_null_array() as what a blocked client is told of its timeout. */
void null_array_reply(struct call *c);
#endif
