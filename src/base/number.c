/* number.c -- Integers, long doubles and sizes as text, the way Redis reads and prints them.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      Integers are on every hot path: two digits at a time, no division by a variable.
 * THREADS  Any. The process must stay in the "C" numeric locale. */
#include "base/bytes.h"
#include "base/mem.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

bool parse_u64(struct slice s, uint64_t *out)
{
    if (s.n == 0 || s.n > 20 || (s.p[0] == '0' && s.n > 1)) {
        return false;
    }
    uint64_t v = 0;
    size_t safe = size_min(s.n, 19); /* 19 digits cannot overflow */
    for (size_t i = 0; i < safe; i++) {
        unsigned d = (unsigned char)s.p[i] - (unsigned)'0';
        if (d > 9) {
            return false;
        }
        v = v * 10 + d;
    }
    if (s.n == 20) {
        unsigned d = (unsigned char)s.p[19] - (unsigned)'0';
        if (d > 9 || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, d, &v)) {
            return false;
        }
    }
    *out = v;
    return true;
}

bool parse_i64(struct slice s, int64_t *out)
{
    uint64_t v;
    bool negative = s.n > 0 && s.p[0] == '-';
    if (!parse_u64(slice_of(s.p + negative, s.n - negative), &v) || (negative && v == 0) ||
        v > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    *out = (int64_t)(negative ? 0 - v : v);
    return true;
}

bool parse_ld(struct slice s, long double *out)
{
    char text[LD_TEXT_MAX];
    if (s.n == 0 || s.n >= sizeof text || char_is_space(s.p[0])) {
        return false;
    }
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    char *end;
    errno = 0;
    long double v = strtold(text, &end);
    if ((size_t)(end - text) != s.n || (errno == ERANGE && (isinf(v) || v == 0)) || isnan(v)) {
        return false;
    }
    *out = v;
    return true;
}

bool parse_memory(struct slice s, uint64_t *out)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } units[] = { { "", 1 },
                  { "b", 1 },
                  { "k", 1000 },
                  { "kb", 1024 },
                  { "m", 1000 * 1000 },
                  { "mb", 1024 * 1024 },
                  { "g", 1000 * 1000 * 1000 },
                  { "gb", 1024 * 1024 * 1024 } };
    size_t digits = 0;
    uint64_t v = 0;
    for (; digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9'; digits++) {
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.p[digits] - '0'), &v)) {
            return false;
        }
    }
    if (digits == 0) {
        return false;
    }
    for (unsigned i = 0; i < countof(units); i++) {
        if (slice_is(slice_of(s.p + digits, s.n - digits), units[i].name)) {
            return !__builtin_mul_overflow(v, units[i].bytes, &v) && (*out = v, true);
        }
    }
    return false;
}

static unsigned u64_digits(uint64_t v)
{
    unsigned n = 1;
    for (; v >= 10000; v /= 10000) {
        n += 4;
    }
    return n + (v >= 10) + (v >= 100) + (v >= 1000);
}

unsigned i64_digits(int64_t v)
{
    return v < 0 ? 1 + u64_digits(0 - (uint64_t)v) : u64_digits((uint64_t)v);
}

size_t format_u64(char dst[I64_TEXT_MAX], uint64_t v)
{
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233"
        "34353637383940414243444546474849505152535455565758596061626364656667"
        "6869707172737475767778798081828384858687888990919293949596979899";
    size_t n = u64_digits(v), at = n;
    dst[n] = '\0';
    for (; v >= 100; v /= 100) {
        at -= 2;
        memcpy(dst + at, pairs + v % 100 * 2, 2);
    }
    if (v >= 10) {
        memcpy(dst, pairs + v * 2, 2);
    } else {
        dst[0] = (char)('0' + v);
    }
    return n;
}

size_t format_i64(char dst[I64_TEXT_MAX], int64_t v)
{
    if (v >= 0) {
        return format_u64(dst, (uint64_t)v);
    }
    /* 19 digits, the sign and the terminator fill dst exactly. */
    char text[I64_TEXT_MAX];
    size_t n = format_u64(text, 0 - (uint64_t)v);
    dst[0] = '-';
    memcpy(dst + 1, text, n + 1);
    return n + 1;
}

size_t format_ld(char dst[LD_TEXT_MAX], long double v)
{
    if (!isfinite(v)) {
        return format_f64(dst, (double)v);
    }
    size_t n = (size_t)snprintf(dst, LD_TEXT_MAX, "%.17Lf", v);
    while (dst[n - 1] == '0') {
        n--;
    }
    if (dst[n - 1] == '.') {
        n--;
    }
    dst[n] = '\0';
    return strcmp(dst, "-0") == 0 ? format_u64(dst, 0) : n;
}

void format_bytes_human(char dst[32], uint64_t n)
{
    static const char unit[] = "KMGTP";
    if (n < 1024) {
        snprintf(dst, 32, "%lluB", (unsigned long long)n);
        return;
    }
    double v = (double)n;
    unsigned i = 0;
    for (v /= 1024; v >= 1024 && i + 2 < sizeof unit; i++) {
        v /= 1024;
    }
    snprintf(dst, 32, "%.2f%c", v, unit[i]);
}
