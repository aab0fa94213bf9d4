/* hash.c -- Keyed SipHash-1-3 for the keyspace.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 * Called once per command on 8..64 bytes: whole words in a row, the last partial word without a
 * branch per byte.
 *
 * THREADS
 * Any, after hash_seed(). */
#include "base/hash.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are loaded as they are");

static struct {
    uint64_t k0, k1;
} hash_secret;

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t rotl(uint64_t v, unsigned by)
{
    return v << by | v >> (64 - by);
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline __attribute__((always_inline)) void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 = rotl(s->v0, 32) + s->v3;
    s->v2 += s->v1;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v2 = rotl(s->v2, 32);
}

static inline __attribute__((always_inline)) void sip_word(struct sip *s, uint64_t w)
{
    s->v3 ^= w;
    sip_round(s);
    s->v0 ^= w;
}

/* The n % 8 bytes that follow the last whole word, the others zero. Overlapping loads stay inside
 * p[0..n). */
static inline uint64_t last_word(const uint8_t *p, size_t n)
{
    if (n >= 8) {
        return load64(p + n - 8) >> 1 >> (63 - 8 * (n & 7));
    }
    if (n >= 4) {
        return load32(p) | (uint64_t)load32(p + n - 4) << (8 * (n - 4));
    }
    if (n > 0) {
        return p[0] | (uint64_t)p[n / 2] << (8 * (n / 2)) | (uint64_t)p[n - 1] << (8 * (n - 1));
    }
    return 0;
}

/* 'A'..'Z' to lower case, eight bytes at once: no carry leaves a byte because its top bit is masked
 * off first. */
static inline uint64_t fold_word(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
    uint64_t low = w & ~tops;
    uint64_t from_a = low + (0x80 - 'A') * ones, after_z = low + (0x7f - 'Z') * ones;
    return w | ((from_a ^ after_z) & ~w & tops) >> 2;
}

static inline __attribute__((always_inline)) uint64_t sip13(const uint8_t *p, size_t n, bool fold)
{
    struct sip s = { hash_secret.k0 ^ 0x736f6d6570736575, hash_secret.k1 ^ 0x646f72616e646f6d,
                     hash_secret.k0 ^ 0x6c7967656e657261, hash_secret.k1 ^ 0x7465646279746573 };
    const uint8_t *end = p + (n & ~(size_t)7);
    uint64_t last = last_word(p, n);
    for (; p != end; p += 8) {
        sip_word(&s, fold ? fold_word(load64(p)) : load64(p));
    }
    sip_word(&s, (fold ? fold_word(last) : last) | (uint64_t)n << 56);
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

void hash_seed(const uint8_t key[16])
{
    hash_secret.k0 = load64(key);
    hash_secret.k1 = load64(key + 8);
}

uint64_t hash_key(const void *p, size_t n)
{
    return sip13(p, n, false);
}

uint64_t hash_key_nocase(const void *p, size_t n)
{
    return sip13(p, n, true);
}
