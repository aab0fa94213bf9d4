/* crc.c -- CRC-32C for the log, CRC-64 for RDB files, CRC-16 for hash slots.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 * A CRC table is linear in the bits of its index: entry i is the exclusive-or of the entries of i's
 * bits. Eight constants per table are enough; the compiler makes the rest, and the tables are
 * const. The wide CRCs take eight bytes a step with eight tables (Kounavis, Berry 2008).
 *
 * THREADS
 * Any; no state. */
#include "base/hash.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define BIT_(i, k, v) ((i) >> (k)&1 ? (v) : 0)
#define ENTRY_(i, a, b, c, d, e, f, g, h)                                            \
    (BIT_(i, 0, a) ^ BIT_(i, 1, b) ^ BIT_(i, 2, c) ^ BIT_(i, 3, d) ^ BIT_(i, 4, e) ^ \
     BIT_(i, 5, f) ^ BIT_(i, 6, g) ^ BIT_(i, 7, h))
#define ROW4_(i, ...)                                                               \
    ENTRY_(i, __VA_ARGS__), ENTRY_(i + 1, __VA_ARGS__), ENTRY_(i + 2, __VA_ARGS__), \
        ENTRY_(i + 3, __VA_ARGS__)
#define ROW16_(i, ...)                                                           \
    ROW4_(i, __VA_ARGS__), ROW4_(i + 4, __VA_ARGS__), ROW4_(i + 8, __VA_ARGS__), \
        ROW4_(i + 12, __VA_ARGS__)
#define ROW64_(i, ...)                                                                \
    ROW16_(i, __VA_ARGS__), ROW16_(i + 16, __VA_ARGS__), ROW16_(i + 32, __VA_ARGS__), \
        ROW16_(i + 48, __VA_ARGS__)
#define ROWS(i, ...)                                                                   \
    ROW64_(i, __VA_ARGS__), ROW64_(i + 64, __VA_ARGS__), ROW64_(i + 128, __VA_ARGS__), \
        ROW64_(i + 192, __VA_ARGS__)

/* table[k][i]: byte i followed by k zero bytes. Reflected polynomials 0x82f63b78 and
 * 0x95ac9329ac4bc9b5. */
static const uint32_t table_32c[8][256] = {
    { ROWS(0, 0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc,
           0x82f63b78) },
    { ROWS(0, 0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604,
           0xfbc3faf9) },
    { ROWS(0, 0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9,
           0x8b277743) },
    { ROWS(0, 0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7,
           0x52a0c93f) },
    { ROWS(0, 0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae,
           0x6ea2d55c) },
    { ROWS(0, 0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb,
           0x1c08b7d6) },
    { ROWS(0, 0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a,
           0xf56e0ef4) },
    { ROWS(0, 0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32,
           0x34019664) },
};
static const uint64_t table_64[8][256] = {
    { ROWS(0, 0x7ad870c830358979, 0xf5b0e190606b12f2, 0xc038e5739841b68f, 0xab28ecb46814fe75,
           0x7d08ff3b88be6f81, 0xfa11fe77117cdf02, 0xdf7adabd7a6e2d6f, 0x95ac9329ac4bc9b5) },
    { ROWS(0, 0x89e99ffd73bddf69, 0x388a19a9bfec2db9, 0x711433537fd85b72, 0xe22866a6ffb0b6e4,
           0xef09eb1ea7f6fea3, 0xf54af06e177a6e2d, 0xc1ccc68f76634f31, 0xa8c0ab4db4510d09) },
    { ROWS(0, 0xf4125129ce4038be, 0xc37d8400c417e217, 0xada22e52d0b85745, 0x701d7af6f9e73de1,
           0xe03af5edf3ce7bc2, 0xeb2ccd88bf0b64ef, 0xfd00bd4226815ab5, 0xd1585cd715952601) },
    { ROWS(0, 0x8ce168638c796306, 0x329bf69440655567, 0x6537ed2880caaace, 0xca6fda510195559c,
           0xbf8692f15bbd3853, 0x545403b1efede3cd, 0xa8a80763dfdbc79a, 0x7a092894e7201c5f) },
    { ROWS(0, 0x3504e58b9ba6dd1e, 0x6a09cb17374dba3c, 0xd413962e6e9b7478, 0x837e0a0f85a17b9b,
           0x2da5324c53d5645d, 0x5b4a6498a7aac8ba, 0xb694c9314f559174, 0x4670b431c63cb183) },
    { ROWS(0, 0xe39d1389931b9354, 0xec6301407ea0b5c3, 0xf39f24d3a5d6f8ed, 0xcc676ff4133a62b1,
           0xb397f9bb7ee35609, 0x4c76d525a5513f79, 0x98edaa4b4aa27ef2, 0x1a8272c5cdd36e8f) },
    { ROWS(0, 0x62a95de6e302eff2, 0xc552bbcdc605dfe4, 0xa1fc51c8d49c2ca3, 0x68a185c2f1afca2d,
           0xd1430b85e35f945a, 0x89df31589e28bbdf, 0x38e744e264c6e4d5, 0x71ce89c4c98dc9aa) },
    { ROWS(0, 0x381d0015c96f4444, 0x703a002b92de8888, 0xe074005725bd1110, 0xebb126fd13edb14b,
           0xfc3b6ba97f4cf1fd, 0xd32ff101a60e7091, 0x8d06c450148b7249, 0x3154aef3718177f9) },
};
static const uint16_t table_16[256] = { ROWS(0, 0x1021, 0x2042, 0x4084, 0x8108, 0x1231, 0x2462,
                                             0x48c4, 0x9188) };

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

uint32_t crc32c_table(uint32_t crc, const void *data, size_t n)
{
    const uint8_t *p = data;
    uint32_t c = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t w = load64(p) ^ c;
        c = table_32c[7][w & 255] ^ table_32c[6][w >> 8 & 255] ^ table_32c[5][w >> 16 & 255] ^
            table_32c[4][w >> 24 & 255] ^ table_32c[3][w >> 32 & 255] ^
            table_32c[2][w >> 40 & 255] ^ table_32c[1][w >> 48 & 255] ^ table_32c[0][w >> 56];
    }
    for (; n > 0; n--) {
        c = c >> 8 ^ table_32c[0][(c ^ *p++) & 255];
    }
    return ~c;
}

#if defined(__x86_64__)
/* The crc32 instruction takes 3 cycles but a new one starts each cycle: three streams of LANE bytes
 * keep it busy. Joining them means multiplying by x^(8 LANE) and x^(16 LANE): one carry-less
 * product each, reduced by the instruction itself, which multiplies by another x^33 (32 from its
 * definition, one from the reflected product): k = x^(8 bytes - 33) mod P, reflected. */
#define LANE       256
#define BY_1_LANE  0xb9e02b86
#define BY_2_LANES 0xdd7e3b0c

__attribute__((target("sse4.2,pclmul"))) static inline uint64_t shifted(uint64_t crc, uint32_t k)
{
    __m128i product =
        _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc), _mm_cvtsi64_si128((long long)k), 0);
    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

static inline uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t crc32c_sse42(uint32_t crc,
                                                                      const uint8_t *p, size_t n)
{
    uint64_t a = (uint32_t)~crc;
    for (; n >= 3 * LANE; n -= 3 * LANE, p += 3 * LANE) {
        uint64_t b = 0, c = 0;
        for (size_t i = 0; i < LANE; i += 8) {
            a = _mm_crc32_u64(a, load64(p + i));
            b = _mm_crc32_u64(b, load64(p + LANE + i));
            c = _mm_crc32_u64(c, load64(p + 2 * LANE + i));
        }
        a = shifted(a, BY_2_LANES) ^ shifted(b, BY_1_LANE) ^ c;
    }
    for (; n >= 8; n -= 8, p += 8) {
        a = _mm_crc32_u64(a, load64(p));
    }
    uint32_t last = (uint32_t)a;
    if ((n & 4) != 0) {
        last = _mm_crc32_u32(last, load32(p));
        p += 4;
    }
    for (n &= 3; n > 0; n--) {
        last = _mm_crc32_u8(last, *p++);
    }
    return ~last;
}
#endif

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
#if defined(__x86_64__)
    if (likely(__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"))) {
        return crc32c_sse42(crc, p, n);
    }
#endif
    return crc32c_table(crc, p, n);
}

uint64_t crc64(uint64_t crc, const void *data, size_t n)
{
    const uint8_t *p = data;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t w = load64(p) ^ crc;
        crc = table_64[7][w & 255] ^ table_64[6][w >> 8 & 255] ^ table_64[5][w >> 16 & 255] ^
              table_64[4][w >> 24 & 255] ^ table_64[3][w >> 32 & 255] ^ table_64[2][w >> 40 & 255] ^
              table_64[1][w >> 48 & 255] ^ table_64[0][w >> 56];
    }
    for (; n > 0; n--) {
        crc = crc >> 8 ^ table_64[0][(crc ^ *p++) & 255];
    }
    return crc;
}

uint16_t crc16(const void *data, size_t n)
{
    const uint8_t *p = data;
    uint16_t crc = 0;
    for (; n > 0; n--) {
        crc = (uint16_t)(crc << 8 ^ table_16[(crc >> 8 ^ *p++) & 255]);
    }
    return crc;
}

unsigned hash_slot(struct slice key)
{
    const char *open = key.n > 0 ? memchr(key.p, '{', key.n) : NULL;
    if (open != NULL) {
        const char *inside = open + 1;
        const char *close = memchr(inside, '}', key.n - (size_t)(inside - key.p));
        if (close != NULL && close != inside) {
            key = slice_of(inside, (size_t)(close - inside));
        }
    }
    return crc16(key.p, key.n) & 16383;
}
