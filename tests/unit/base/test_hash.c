/* test_hash.c -- SipHash, CRCs, hash slots and digests against references and known values.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include <ctype.h>

/* ---- SipHash, as the paper writes it, for any number of rounds ---- */

static uint64_t rotate(uint64_t v, int by)
{
    return (v << by) | (v >> (64 - by));
}

static void plain_rounds(uint64_t v[4], int n)
{
    while (n-- > 0) {
        v[0] += v[1];
        v[1] = rotate(v[1], 13);
        v[1] ^= v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16);
        v[3] ^= v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21);
        v[3] ^= v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17);
        v[1] ^= v[2];
        v[2] = rotate(v[2], 32);
    }
}

static uint64_t plain_sip(int c, int d, const uint8_t key[16], const uint8_t *p, size_t n)
{
    uint64_t k[2] = { 0, 0 };
    for (int i = 0; i < 16; i++) {
        k[i / 8] |= (uint64_t)key[i] << (8 * (i % 8));
    }
    uint64_t v[4] = { k[0] ^ 0x736f6d6570736575, k[1] ^ 0x646f72616e646f6d,
                      k[0] ^ 0x6c7967656e657261, k[1] ^ 0x7465646279746573 };
    for (size_t i = 0; i <= n / 8; i++) {
        uint64_t m = i == n / 8 ? (uint64_t)n << 56 : 0;
        for (size_t k2 = 0; k2 < 8 && i * 8 + k2 < n; k2++) {
            m |= (uint64_t)p[i * 8 + k2] << (8 * k2);
        }
        v[3] ^= m;
        plain_rounds(v, c);
        v[0] ^= m;
    }
    v[2] ^= 0xff;
    plain_rounds(v, d);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void fill(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (uint8_t)rng_u64();
    }
}

START_TEST(test_siphash)
{
    /* The paper's example proves the reference: SipHash-2-4, key 00..0f, message 00..0e. */
    uint8_t key[16], message[15];
    for (uint8_t i = 0; i < 16; i++) {
        key[i] = i;
        message[i < 15 ? i : 14] = i < 15 ? i : 14;
    }
    ck_assert_uint_eq(plain_sip(2, 4, key, message, 15), 0xa129ca6149be45e5);

    rng_seed_all(unit_seed());
    for (size_t n = 0; n < 300; n++) {
        for (size_t shift = 0; shift < 8; shift++) {
            uint8_t *block = mem_alloc(n + shift);
            fill(block, n + shift);
            fill(key, sizeof key);
            hash_seed(key);
            uint64_t want = plain_sip(1, 3, key, block + shift, n);
            ck_assert_uint_eq(hash_key(block + shift, n), want);
            mem_free(block);
        }
    }
    ck_assert_uint_eq(hash_key(NULL, 0), plain_sip(1, 3, key, NULL, 0));
}
END_TEST

START_TEST(test_siphash_nocase)
{
    rng_seed_all(unit_seed());
    for (size_t n = 0; n < 100; n++) {
        for (int round = 0; round < 20; round++) {
            uint8_t *text = mem_alloc(n), *low = mem_alloc(n);
            fill(text, n);
            for (size_t i = 0; i < n; i++) {
                low[i] = text[i] < 128 ? (uint8_t)tolower(text[i]) : text[i];
            }
            ck_assert_uint_eq(hash_key_nocase(text, n), hash_key(low, n));
            mem_free(text);
            mem_free(low);
        }
    }
    for (int c = 0; c < 256; c++) {
        uint8_t text[9], low[9];
        memset(text, c, sizeof text);
        memset(low, c < 128 ? tolower(c) : c, sizeof low);
        ck_assert_uint_eq(hash_key_nocase(text, sizeof text), hash_key(low, sizeof low));
    }
}
END_TEST

/* ---- CRCs, bit by bit ---- */

static uint64_t plain_crc(uint64_t crc, uint64_t reflected_polynomial, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? reflected_polynomial : 0);
        }
    }
    return crc;
}

static uint32_t plain_crc32c(uint32_t crc, const uint8_t *p, size_t n)
{
    return ~(uint32_t)plain_crc((uint32_t)~crc, 0x82f63b78, p, n);
}

static uint64_t plain_crc64(uint64_t crc, const uint8_t *p, size_t n)
{
    return plain_crc(crc, 0x95ac9329ac4bc9b5, p, n);
}

static uint16_t plain_crc16(const uint8_t *p, size_t n)
{
    uint16_t crc = 0;
    for (size_t i = 0; i < n; i++) {
        crc = (uint16_t)(crc ^ p[i] << 8);
        for (int bit = 0; bit < 8; bit++) {
            crc = (uint16_t)(crc << 1 ^ ((crc & 0x8000) != 0 ? 0x1021 : 0));
        }
    }
    return crc;
}

START_TEST(test_crc_known)
{
    ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283);
    ck_assert_uint_eq(crc32c_table(0, "123456789", 9), 0xe3069283);
    ck_assert_uint_eq(crc64(0, "123456789", 9), 0xe9c6d914c4b8d9ca);
    ck_assert_uint_eq(crc16("123456789", 9), 0x31c3);
    ck_assert_uint_eq(crc32c(0, NULL, 0), 0);
    ck_assert_uint_eq(crc32c_table(0, NULL, 0), 0);
    ck_assert_uint_eq(crc64(0, NULL, 0), 0);
    ck_assert_uint_eq(crc16(NULL, 0), 0);
    /* RFC 3720 B.4 */
    uint8_t block[32];
    memset(block, 0, sizeof block);
    ck_assert_uint_eq(crc32c(0, block, 32), 0x8a9136aa);
    memset(block, 0xff, sizeof block);
    ck_assert_uint_eq(crc32c(0, block, 32), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++) {
        block[i] = i;
    }
    ck_assert_uint_eq(crc32c(0, block, 32), 0x46dd794e);
    for (uint8_t i = 0; i < 32; i++) {
        block[i] = (uint8_t)(31 - i);
    }
    ck_assert_uint_eq(crc32c(0, block, 32), 0x113fdb5c);
}
END_TEST

START_TEST(test_crc_against_plain)
{
    rng_seed_all(unit_seed());
    for (int round = 0; round < 3000; round++) {
        size_t n = rng_below(2) == 0 ? rng_below(70) : rng_below(5000), shift = rng_below(9);
        uint8_t *block = mem_alloc(n + shift), *p = block + shift;
        fill(block, n + shift);
        uint64_t start = rng_u64();
        uint32_t want = plain_crc32c((uint32_t)start, p, n);
        ck_assert_uint_eq(crc32c((uint32_t)start, p, n), want);
        ck_assert_uint_eq(crc32c_table((uint32_t)start, p, n), want);
        ck_assert_uint_eq(crc64(start, p, n), plain_crc64(start, p, n));
        ck_assert_uint_eq(crc16(p, n), plain_crc16(p, n));
        size_t cut = rng_below(n + 1);
        ck_assert_uint_eq(crc32c(crc32c((uint32_t)start, p, cut), p + cut, n - cut), want);
        ck_assert_uint_eq(crc64(crc64(start, p, cut), p + cut, n - cut), crc64(start, p, n));
        mem_free(block);
    }
}
END_TEST

/* Around the lengths where three streams begin and end. */
START_TEST(test_crc32c_lanes)
{
    rng_seed_all(unit_seed());
    static uint8_t block[4 * 768 + 16];
    fill(block, sizeof block);
    for (size_t lanes = 1; lanes <= 4; lanes++) {
        for (size_t n = lanes * 768 - 16; n <= lanes * 768 + 16; n++) {
            ck_assert_uint_eq(crc32c(1, block, n), plain_crc32c(1, block, n));
        }
    }
}
END_TEST

/* What CLUSTER KEYSLOT of redis-server 7.0.15 answers. */
START_TEST(test_hash_slot)
{
    static const struct {
        struct slice key;
        unsigned slot;
    } cases[] = {
        { S(""), 0 },
        { S("foo"), 12182 },
        { S("bar"), 5061 },
        { S("123456789"), 12739 },
        { S("{user1000}.following"), 3443 },
        { S("{user1000}.followers"), 3443 },
        { S("user1000"), 3443 },
        { S("foo{}{bar}"), 8363 },
        { S("foo{{bar}}zap"), 4015 },
        { S("{bar"), 4015 },
        { S("foo{bar}{zap}"), 5061 },
        { S("foo{bar"), 15278 },
        { S("}foo{bar}"), 5061 },
        { S("{}"), 15257 },
        { S("{"), 4092 },
        { S("{}x"), 10595 },
        { S("a{b}c}d"), 3300 },
        { S("\0\xff"), 7920 },
    };
    for (unsigned i = 0; i < countof(cases); i++) {
        ck_assert_msg(hash_slot(cases[i].key) == cases[i].slot, "case %u: %u", i,
                      hash_slot(cases[i].key));
    }
    ck_assert_uint_eq(hash_slot(slice_of(NULL, 0)), 0);
}
END_TEST

static void digest_is(const uint8_t *digest, size_t n, const char *want)
{
    char text[65];
    hex_encode(digest, n, text);
    text[2 * n] = '\0';
    ck_assert_str_eq(text, want);
}

START_TEST(test_digests)
{
    uint8_t d[32];
    sha1("abc", 3, d);
    digest_is(d, 20, "a9993e364706816aba3e25717850c26c9cd0d89d");
    sha1(NULL, 0, d);
    digest_is(d, 20, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    sha256("abc", 3, d);
    digest_is(d, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256(NULL, 0, d);
    digest_is(d, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}
END_TEST

START_TEST(test_hex)
{
    char text[7] = "######";
    hex_encode((const uint8_t *)"\x00\x9a\xff", 2, text);
    ck_assert_str_eq(text, "009a##");
    hex_encode((const uint8_t *)"\xff\x0f", 2, text);
    ck_assert_str_eq(text, "ff0f##");
}
END_TEST

/* Examples of the DIGEST command's documentation, and the digest of nothing. */
START_TEST(test_xxh3)
{
    const char text[] =
        "v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfz"
        "kjytls2kwlj7626sd";
    ck_assert_uint_eq(hash_xxh3(text, sizeof text - 1), 0x00006c38adf31777);
    ck_assert_uint_eq(hash_xxh3(NULL, 0), 0x2d06800538d394c2);
}
END_TEST

UNIT_SUITE(hash)
{
    unit_case(suite, "siphash", test_siphash, test_siphash_nocase);
    unit_case(suite, "crc", test_crc_known, test_crc_against_plain, test_crc32c_lanes,
              test_hash_slot);
    unit_case(suite, "digest", test_digests, test_xxh3, test_hex);
}
