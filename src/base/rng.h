/* rng.h -- Random numbers: a seeded per-thread generator for choices, the kernel's for secrets.
 * SPDX-License-Identifier: BSD-3-Clause
 * xoshiro256** (Blackman, Vigna 2018), seeded by splitmix64. rng_u64() is per thread;
 * rng_seed_all() fixes the seed of threads that start later (tests print it). */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include "base/base.h"

uint64_t rng_u64(void);
uint64_t rng_below(uint64_t n); /* uniform in 0..n-1; n > 0 */
double rng_unit(void);          /* [0,1) */
void rng_seed_all(uint64_t seed);
void rng_secret(void *p, size_t n);
void rng_hex(char *out, size_t digits); /* lower-case hex from the kernel, no NUL */
#endif
