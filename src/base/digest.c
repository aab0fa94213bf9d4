/* digest.c -- SHA-1 and SHA-256 from OpenSSL's libcrypto, XXH3 from xxhash.h, and hexadecimal.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/hash.h"
#include <openssl/sha.h>
#define XXH_INLINE_ALL /* nothing to link with */
#include <xxhash.h>

uint64_t hash_xxh3(const void *p, size_t n)
{
    return XXH3_64bits(n > 0 ? p : "", n);
}

void sha1(const void *p, size_t n, uint8_t out[20])
{
    SHA1(n > 0 ? p : out, n, out);
}

void sha256(const void *p, size_t n, uint8_t out[32])
{
    SHA256(n > 0 ? p : out, n, out);
}

void hex_encode(const uint8_t *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *out++ = digits[p[i] >> 4];
        *out++ = digits[p[i] & 15];
    }
}
