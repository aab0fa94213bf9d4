/* string_ops.h -- What the string and bitmap families share: limits, growing in place, ranges.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef COMMANDS_STRING_OPS_H
#define COMMANDS_STRING_OPS_H

#include "exec/exec.h"

/* May a string of `size` bytes get `more`? False after having replied that proto-max-bulk-len
 * forbids it. On replay there is no limit. */
must_check bool string_length_ok(struct call *c, uint64_t size, uint64_t more);

/* Makes the string at k (e: what key_write() gave, NULL: none yet) at least `size` bytes long with
 * zeros and *bytes point at its bytes, to be changed in place. Whoever changes them, or finds that
 * it grew, calls key_changed(). NULL: replied -OOM, nothing changed. */
struct entry *string_grow(struct call *c, const struct key *k, struct entry *e, size_t size,
                          char **bytes) must_check;

/* A bit offset in argv[i]. width > 0: "#n" means n times width. False after having replied that it
 * is no offset, or beyond proto-max-bulk-len (no limit on replay). */
must_check bool arg_bit_offset(struct call *c, unsigned i, unsigned width, uint64_t *offset);

/* Positions start..end of GETRANGE and its like, negative ones counted from the end, as the range
 * [*first, *last] of a sequence of `len`. False: the range is empty. */
must_check bool range_clamp(int64_t start, int64_t end, uint64_t len, uint64_t *first,
                            uint64_t *last);
/* Both negative and the wrong way round: empty before anything is clamped. */
static inline bool range_reversed(int64_t start, int64_t end)
{
    return start < 0 && end < 0 && start > end;
}
#endif
