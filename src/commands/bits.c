/* bits.c -- Loops over bits: eight bytes at a time, ragged ends by masks.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY  A bitmap may be 512 MB and its shard is locked meanwhile. Counting uses the processor's
 *      instruction when there is one: without it gcc calls a function per word. */
#include "commands/bits.h"
#include <string.h>

static uint64_t load64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* First bit of a string in the most significant place, whatever the byte order of the machine. */
static uint64_t load64_be(const char *p)
{
    uint64_t v = load64(p);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

/* ---- Counting ---- */

/* The four sums are independent, so that four words are in flight. */
static inline __attribute__((always_inline)) uint64_t count_words(const char *p, size_t n)
{
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (; n >= 32; p += 32, n -= 32) {
        a += (uint64_t)__builtin_popcountll(load64(p));
        b += (uint64_t)__builtin_popcountll(load64(p + 8));
        c += (uint64_t)__builtin_popcountll(load64(p + 16));
        d += (uint64_t)__builtin_popcountll(load64(p + 24));
    }
    for (; n >= 8; p += 8, n -= 8) {
        a += (uint64_t)__builtin_popcountll(load64(p));
    }
    uint64_t rest = 0;
    memcpy(&rest, p, n);
    return a + b + c + d + (uint64_t)__builtin_popcountll(rest);
}

#if defined(__x86_64__)
__attribute__((target("popcnt"))) static uint64_t count_bytes_popcnt(const char *p, size_t n)
{
    return count_words(p, n);
}
#endif

static uint64_t count_bytes(const char *p, size_t n)
{
#if defined(__x86_64__)
    if (likely(__builtin_cpu_supports("popcnt"))) {
        return count_bytes_popcnt(p, n);
    }
#endif
    return count_words(p, n);
}

/* Of the byte that holds bit `at`: the bits from it on, and the bits up to it. */
static unsigned mask_from(uint64_t at)
{
    return 0xffu >> (at & 7);
}
static unsigned mask_to(uint64_t at)
{
    return 0xffu & (0xffu << (7 - (at & 7)));
}

uint64_t bits_count(const char *p, uint64_t first, uint64_t last)
{
    size_t from = (size_t)(first >> 3), to = (size_t)(last >> 3);
    unsigned head = (unsigned char)p[from] & mask_from(first);
    if (from == to) {
        return (uint64_t)__builtin_popcount(head & mask_to(last));
    }
    unsigned tail = (unsigned char)p[to] & mask_to(last);
    return (uint64_t)__builtin_popcount(head) + (uint64_t)__builtin_popcount(tail) +
           count_bytes(p + from + 1, to - from - 1);
}

/* ---- Finding ---- */

uint64_t bits_find(const char *p, uint64_t first, uint64_t last, bool bit)
{
    /* A clear bit is a set one of the complement. */
    uint64_t flip = bit ? 0 : UINT64_MAX;
    size_t at = (size_t)(first >> 3), end = (size_t)(last >> 3) + 1;
    unsigned byte = ((unsigned char)p[at] ^ (unsigned)(flip & 0xff)) & mask_from(first);
    if (byte == 0) {
        at++;
        for (; end - at >= 8; at += 8) {
            uint64_t word = load64_be(p + at) ^ flip;
            if (word != 0) {
                uint64_t found = (uint64_t)at * 8 + (unsigned)__builtin_clzll(word);
                return found <= last ? found : BITS_NONE;
            }
        }
        for (; at < end && byte == 0; at++) {
            byte = (unsigned char)p[at] ^ (unsigned)(flip & 0xff);
        }
        if (byte == 0) {
            return BITS_NONE;
        }
        at--;
    }
    uint64_t found = (uint64_t)at * 8 + (unsigned)__builtin_clz(byte << 24);
    return found <= last ? found : BITS_NONE;
}

/* ---- Integers ---- */

/* 64 bits at any offset touch up to nine bytes: they are handled as one number of 72 bits. */
typedef unsigned __int128 wide;

uint64_t bits_read(const char *p, size_t n, uint64_t offset, unsigned width)
{
    uint64_t last = offset + width - 1;
    wide v = 0;
    for (uint64_t i = offset >> 3; i <= last >> 3; i++) {
        v = v << 8 | (i < n ? (unsigned char)p[i] : 0);
    }
    return (uint64_t)(v >> (7 - (last & 7))) & (UINT64_MAX >> (64 - width));
}

void bits_write(char *p, uint64_t offset, unsigned width, uint64_t v)
{
    uint64_t last = offset + width - 1;
    unsigned shift = 7 - (last & 7);
    wide mask = (wide)(UINT64_MAX >> (64 - width)) << shift;
    wide bits = ((wide)v << shift) & mask;
    for (uint64_t i = last >> 3;; i--) {
        p[i] = (char)(((unsigned char)p[i] & ~(unsigned)mask) | (unsigned)(bits & 0xff));
        mask >>= 8;
        bits >>= 8;
        if (i == offset >> 3) {
            break;
        }
    }
}

/* ---- Combining: plain loops, which compilers turn into vector instructions ---- */

void bits_combine(char *to, enum bits_op op, const char *from, size_t n)
{
    switch (op) {
    case BITS_AND:
        for (size_t i = 0; i < n; i++) {
            to[i] = (char)(to[i] & from[i]);
        }
        break;
    case BITS_OR:
        for (size_t i = 0; i < n; i++) {
            to[i] = (char)(to[i] | from[i]);
        }
        break;
    case BITS_XOR:
        for (size_t i = 0; i < n; i++) {
            to[i] = (char)(to[i] ^ from[i]);
        }
        break;
    case BITS_NOT:
        for (size_t i = 0; i < n; i++) {
            to[i] = (char)~from[i];
        }
        break;
    case BITS_AND_NOT:
        for (size_t i = 0; i < n; i++) {
            to[i] = (char)(to[i] & ~from[i]);
        }
        break;
    }
}
