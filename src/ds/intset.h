/* intset.h -- A sorted array of distinct integers, in the bytes that RDB files and DUMP carry.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * FORMAT    All numbers little-endian:
 *               0  u32   width of a member in bytes: 2, 4 or 8
 *               4  u32   members
 *               8  members, ascending
 * WIDTH     That of the widest member there ever was: it grows by need and never shrinks.
 * OWNER     Holds the pointer. A call that may grow the set returns the pointer to use from then
 *           on, or NULL: no memory, or more than INTSET_MAX members. After NULL the old pointer is
 *           valid and its content unchanged.
 * THREADS   None of its own: one writer, or any number of readers.
 * INVARIANTS, checked by intset_valid():
 *           I1 the width is 2, 4 or 8   I2 the members fill the bytes exactly
 *           I3 they ascend, none twice */
#ifndef DS_INTSET_H
#define DS_INTSET_H

#include "base/bytes.h"

struct intset;

#define INTSET_MAX (1u << 27) /* members: 1 GiB at 8 bytes, as a listpack may have */

struct intset *intset_new(void);
void intset_free(struct intset *s); /* NULL is fine */
must_check struct intset *intset_dup(const struct intset *s);

/* Bytes from a file or a client go through this before anything else here sees them. */
must_check bool intset_valid(struct slice bytes);
must_check struct intset *intset_from_bytes(
    struct slice bytes);                           /* a copy of bytes that are valid */
struct slice intset_slice(const struct intset *s); /* until the next change */

uint32_t intset_count(const struct intset *s);
int64_t intset_at(const struct intset *s, uint32_t index); /* index < count; ascending */
/* *at: its index or, when it is not there, the index it would get. */
bool intset_find(const struct intset *s, int64_t v, uint32_t *at);
static inline bool intset_has(const struct intset *s, int64_t v)
{
    uint32_t at;
    return intset_find(s, v, &at);
}

/* v is not in it: intset_find() said so, and gave `at`. */
must_check struct intset *intset_insert(struct intset *s, uint32_t at, int64_t v);
/* Up to n members from `index` on. Never fails. */
must_check struct intset *intset_delete(struct intset *s, uint32_t index, uint32_t n);
#endif
