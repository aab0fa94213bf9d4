/* hll.h -- HyperLogLog sketches: the byte strings in which Redis keeps them, read, changed,
 * counted. SPDX-License-Identifier: BSD-3-Clause
 *
 * FORMAT    header (16 bytes), then registers:
 *             0  "HYLL"
 *             4  form: 0 dense, 1 sparse; 3 zero bytes
 *             8  the last count, little endian; its highest bit set: a change has outdated it
 *           dense: 16384 registers of 6 bits, from the lowest bit of the first byte upwards
 *           sparse: runs of equal registers, in order, that cover all 16384
 *             00nnnnnn            n + 1 registers with 0
 *             01nnnnnn nnnnnnnn   the same, up to 16384 of them
 *             1rrrrrnn            n + 1 registers with the rank r + 1
 *           The bytes are those of Redis after the same changes: clients read and write them.
 * HASH      MurmurHash64A (Appleby) with Redis's seed: 14 bits choose the register, the zeros
 *           that follow give the rank.
 * ESTIMATE  Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017).
 * TRUST     None: any client can write any bytes. A string that hll_is() accepts may still be
 *           damaged: calls that find out answer -EINVAL and never look outside of it. A dense one
 *           cannot be damaged.
 * THREADS   Any; no state. */
#ifndef DS_HLL_H
#define DS_HLL_H

#include "base/bytes.h"

#define HLL_REGISTERS   16384
#define HLL_HEADER      16
#define HLL_DENSE_BYTES (HLL_HEADER + HLL_REGISTERS * 6 / 8)
#define HLL_CACHE_AT    8 /* where the last count stands, and its size */
#define HLL_CACHE_BYTES 8

/* What an element does: its register becomes at least `rank`. */
struct hll_mark {
    uint16_t reg;
    uint8_t rank; /* 1..51 */
};
struct hll_mark hll_mark_of(struct slice element);

bool hll_is(struct slice s);       /* has it the header of a sketch, and a dense one its length? */
bool hll_is_dense(struct slice s); /* after hll_is() */

/* ---- Changing; the bytes are a sketch, and hll_outdate() is the caller's ---- */

void hll_init(struct buf *b); /* b becomes an empty sparse one */
/* 1: changed; 0: the register was as high; -EINVAL: damage in the way, none behind is seen;
 * -ENOMEM. On these two nothing changed. A sparse one becomes dense when it would have to grow
 * beyond max_bytes, or the rank is too high for its runs. */
must_check int hll_mark(struct buf *b, struct hll_mark m, uint64_t max_bytes);
/* Of a dense one in place: changed? */
bool hll_mark_dense(char *bytes, struct hll_mark m);
unsigned hll_dense_rank(const char *bytes, unsigned reg);
/* A sparse one; the cached count stays. 0, -EINVAL, -ENOMEM: then nothing changed. */
must_check int hll_make_dense(struct buf *b);
void hll_outdate(char *bytes); /* the cached count is none any more */

/* ---- Counting ---- */

bool hll_cached(struct slice s, uint64_t *count); /* false: there is none */
void hll_set_cached(char *bytes, uint64_t count);
must_check int hll_count(struct slice s, uint64_t *count); /* without the cache. 0 or -EINVAL */
/* Raises rank[] to the registers of s. 0, or -EINVAL and rank[] may have been raised partly. */
must_check int hll_union(uint8_t rank[HLL_REGISTERS], struct slice s);
uint64_t hll_count_ranks(const uint8_t rank[HLL_REGISTERS]);

/* ---- Debugging ---- */

/* The runs of a sparse one, damaged or not, as text: "Z:8436 v:1,1 z:12". */
void hll_describe(struct slice s, struct buf *text);
#endif
