/* hash.h -- Hashing: keyed for the keyspace, checksums for disk and wire, digests.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Sources: SipHash (Aumasson, Bernstein 2012, the 1-3 variant); CRC-32C (RFC 3720 B.4);
 * CRC-16/XMODEM (Redis cluster specification); CRC-64/Jones (RDB files).
 * Any thread; hash_seed() once at start, before any hash_key(). */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/bytes.h"

void hash_seed(const uint8_t key[16]); /* random: a client must not be able to build collisions */
uint64_t hash_key(const void *p, size_t n);        /* keyed SipHash-1-3 */
uint64_t hash_key_nocase(const void *p, size_t n); /* ASCII case folded */

/* Checksums of a stream continue: crc32c(crc32c(0, a), b) is that of ab; start with 0. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);       /* hardware where the CPU has it */
uint32_t crc32c_table(uint32_t crc, const void *p, size_t n); /* the same without the hardware */
uint64_t crc64(uint64_t crc, const void *p, size_t n);
uint16_t crc16(const void *p, size_t n);
unsigned hash_slot(struct slice key); /* 0..16383, honouring {hash tags} */

uint64_t hash_xxh3(const void *p, size_t n); /* XXH3 of 64 bits without a seed: DIGEST */
void sha1(const void *p, size_t n, uint8_t out[20]);
void sha256(const void *p, size_t n, uint8_t out[32]);
void hex_encode(const uint8_t *p, size_t n, char *out); /* 2n lower-case digits, no NUL */
#endif
