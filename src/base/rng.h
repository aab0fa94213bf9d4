/* rng.h -- Random numbers: a seeded per-thread generator for choices, the kernel's for secrets.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * xoshiro256** (Blackman, Vigna 2018), seeded by splitmix64; by the kernel when no seed was fixed.
 * Any thread. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include "base/base.h"

uint64_t rng_u64(void);
uint64_t rng_below(uint64_t n); /* uniform in 0..n-1; n > 0 */
double rng_unit(void);          /* [0,1) */
/* Fixes the seed of the calling thread and of threads that ask for their first number later (tests
 * print it). The caller's sequence is that of a state filled by splitmix64 from `seed`. */
void rng_seed_all(uint64_t seed);
void rng_seed_kernel(void); /* takes that back: seeds nobody knows, as at the start */
void rng_secret(void *p, size_t n);
void rng_hex(char *out, size_t digits); /* lower-case hex from the kernel, no NUL */
#endif
