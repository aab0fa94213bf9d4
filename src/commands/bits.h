/* bits.h -- Bits of a string: counting, finding, combining, integers of any width at any offset.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Bit 0 is the most significant bit of the first byte. Ranges are inclusive at both ends and must
 * lie within the string. Pure functions; any thread. */
#ifndef COMMANDS_BITS_H
#define COMMANDS_BITS_H

#include "base/base.h"

/* How many bits of [first, last] are set; first <= last. */
uint64_t bits_count(const char *p, uint64_t first, uint64_t last);

/* Position of the first bit of [first, last] that equals `bit`, or BITS_NONE; first <= last. */
#define BITS_NONE UINT64_MAX
uint64_t bits_find(const char *p, uint64_t first, uint64_t last, bool bit);

/* The `width` (1..64) bits from `offset` on as a number, the first one most significant. Bits
 * beyond the n bytes are 0. */
uint64_t bits_read(const char *p, size_t n, uint64_t offset, unsigned width);
/* Stores the low `width` bits of v there; all bytes concerned must exist. */
void bits_write(char *p, uint64_t offset, unsigned width, uint64_t v);

/* to[i] = to[i] op from[i]; BITS_NOT: to[i] = ~from[i], from may be `to`; BITS_AND_NOT: to[i] =
 * to[i] & ~from[i]. */
enum bits_op { BITS_AND, BITS_OR, BITS_XOR, BITS_NOT, BITS_AND_NOT };
void bits_combine(char *to, enum bits_op op, const char *from, size_t n);
#endif
