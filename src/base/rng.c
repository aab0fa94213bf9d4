/* rng.c -- xoshiro256** per thread, and the kernel's generator.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY  A thread seeds itself on first use from one base seed and its serial number: no lock, and
 * with a fixed base seed the n-th thread to ask always gets the same sequence. */
#include "base/rng.h"
#include <errno.h>
#include <stdatomic.h>
#include <sys/random.h>

thread_local_fast uint64_t state[4]; /* all zero: not seeded yet (the generator never gets there) */
static struct {
    _Atomic bool fixed;
    _Atomic uint64_t seed;
    _Atomic uint64_t threads; /* seeded from it so far */
} base;

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = *x += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static void fill(uint64_t x)
{
    for (unsigned i = 0; i < 4; i++) {
        state[i] = splitmix(&x);
    }
}

static void seed_thread(void)
{
    if (!atomic_load(&base.fixed)) {
        rng_secret(state, sizeof state);
        state[0] |= 1;
        return;
    }
    uint64_t serial = atomic_fetch_add(&base.threads, 1);
    fill(atomic_load(&base.seed) ^ (serial != 0 ? splitmix(&serial) : 0));
}

static inline uint64_t rotl(uint64_t v, unsigned by)
{
    return v << by | v >> (64 - by);
}

uint64_t rng_u64(void)
{
    if (unlikely((state[0] | state[1] | state[2] | state[3]) == 0)) {
        seed_thread();
    }
    uint64_t result = rotl(state[1] * 5, 7) * 9;
    uint64_t t = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= t;
    state[3] = rotl(state[3], 45);
    return result;
}

/* Lemire 2019: the high half of a 128-bit product, rejecting the few low halves that would favour
 * some results. */
uint64_t rng_below(uint64_t n)
{
    must(n > 0);
    unsigned __int128 product = (unsigned __int128)rng_u64() * n;
    if (unlikely((uint64_t)product < n)) {
        uint64_t reject = (0 - n) % n;
        while ((uint64_t)product < reject) {
            product = (unsigned __int128)rng_u64() * n;
        }
    }
    return (uint64_t)(product >> 64);
}

double rng_unit(void)
{
    return (double)(rng_u64() >> 11) * 0x1p-53;
}

void rng_seed_all(uint64_t seed)
{
    atomic_store(&base.threads, 0);
    atomic_store(&base.seed, seed);
    atomic_store(&base.fixed, true);
    seed_thread();
}

void rng_seed_kernel(void)
{
    atomic_store(&base.fixed, false);
    seed_thread();
}

void rng_secret(void *p, size_t n)
{
    char *at = p;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0) {
            must(errno == EINTR);
            continue;
        }
        at += got;
        n -= (size_t)got;
    }
}

void rng_hex(char *out, size_t digits)
{
    static const char hex[] = "0123456789abcdef";
    while (digits > 0) {
        uint8_t bytes[32];
        rng_secret(bytes, sizeof bytes);
        for (size_t i = 0; i < 2 * sizeof bytes && digits > 0; i++, digits--) {
            *out++ = hex[bytes[i / 2] >> (i % 2 * 4) & 15];
        }
    }
}
