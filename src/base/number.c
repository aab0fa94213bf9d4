/* number.c -- The conversions Redis defines between numbers and text.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      Integers are on every hot path: two digits at a time, no division by a variable. Doubles
 * take an exact shortcut for what people really store (few digits) and ask libc otherwise; libc is
 * correctly rounded in both directions. THREADS  Any. The process must stay in the "C" numeric
 * locale. */
#include "base/bytes.h"
#include "base/mem.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Powers of ten that a double holds exactly. */
static const double pow10_exact[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                      1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                      1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
#define POW10_EXACT_MAX 22
#define DIGITS_EXACT    15 /* any decimal of so many digits survives the way through a double */

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

/* At most DIGITS_EXACT digits and a small power of ten: both are exact doubles, so that one rounded
 * operation gives what strtod() would. Everything else is left to it. */
static bool parse_f64_short(struct slice s, double *out)
{
    size_t i = 0;
    bool negative = s.n > 0 && s.p[0] == '-';
    if (negative) {
        i++;
    }
    uint64_t m = 0;
    unsigned digits = 0, point_at = 0;
    bool point = false;
    for (; i < s.n; i++) {
        unsigned d = (unsigned char)s.p[i] - (unsigned)'0';
        if (d <= 9) {
            m = m * 10 + d;
            if (++digits > DIGITS_EXACT) {
                return false;
            }
        } else if (s.p[i] == '.' && !point) {
            point = true;
            point_at = digits;
        } else {
            return false;
        }
    }
    if (digits == 0) {
        return false;
    }
    double v = (double)m / (point ? pow10_exact[digits - point_at] : 1.0);
    *out = negative ? -v : v;
    return true;
}

/* strtod() wants a terminator; texts are short unless somebody plays. */
static char *terminated(struct slice s, char *local, size_t room)
{
    char *copy = s.n < room ? local : mem_try_alloc(s.n + 1);
    if (copy != NULL) {
        memcpy(copy, s.p, s.n);
        copy[s.n] = '\0';
    }
    return copy;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool parse_f64(struct slice s, double *out)
{
    if (parse_f64_short(s, out)) {
        return true;
    }
    char local[128];
    if (s.n == 0 || is_space(s.p[0])) {
        return false;
    }
    char *text = terminated(s, local, sizeof local);
    if (text == NULL) {
        return false;
    }
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    bool whole = (size_t)(end - text) == s.n;
    bool range = errno == ERANGE && (isinf(v) || v == 0);
    if (text != local) {
        mem_free(text);
    }
    if (!whole || range || isnan(v)) {
        return false;
    }
    *out = v;
    return true;
}

bool parse_ld(struct slice s, long double *out)
{
    char text[LD_TEXT_MAX];
    if (s.n == 0 || s.n >= sizeof text || is_space(s.p[0])) {
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

/* The shortest decimal digits that read back as v (finite, > 0): v = 0.d1d2...dn * 10^*point. */
static unsigned shortest_digits(double v, char digits[32], int *point)
{
    /* m / 10^k is one correctly rounded operation on exact doubles while m has at most 15 digits:
     * what strtod() would compute. The first k that gives v back is the shortest. */
    for (int k = 0; k <= POW10_EXACT_MAX && v * pow10_exact[k] < 1e15; k++) {
        double m = nearbyint(v * pow10_exact[k]);
        if (m / pow10_exact[k] == v) {
            unsigned n = (unsigned)format_u64(digits, (uint64_t)m);
            *point = (int)n - k;
            return n;
        }
    }
    /* Subnormals have fewer digits than 15. */
    char text[40];
    int precision = v < 0x1p-1022 ? 0 : DIGITS_EXACT - 1;
    do {
        snprintf(text, sizeof text, "%.*e", precision++, v);
    } while (precision < 17 && strtod(text, NULL) != v);
    char *exponent = strchr(text, 'e');
    *point = atoi(exponent + 1) + 1;
    unsigned n = 0;
    for (const char *p = text; p < exponent; p++) {
        if (*p != '.') {
            digits[n++] = *p;
        }
    }
    while (n > 1 && digits[n - 1] == '0') {
        n--;
    }
    return n;
}

/* Where the digits go. The limits of each form are those of Redis 7.2. */
static size_t lay_out(char *dst, const char *digits, unsigned n, int point)
{
    int exponent = point - 1;
    int zeros = point - (int)n; /* digits after the last one, before the point */
    int size = exponent < 0 ? -exponent : exponent;
    char *at = dst;
    if (zeros >= 0 && size < (int)n + 7) {
        memcpy(at, digits, n);
        memset(at + n, '0', (size_t)zeros);
        at += (int)n + zeros;
    } else if (zeros < 0 && (zeros > -7 || size < 4)) {
        if (point <= 0) {
            *at++ = '0';
            *at++ = '.';
            memset(at, '0', (size_t)-point);
            at += -point;
            memcpy(at, digits, n);
            at += n;
        } else {
            memcpy(at, digits, (size_t)point);
            at += point;
            *at++ = '.';
            memcpy(at, digits + point, n - (unsigned)point);
            at += n - (unsigned)point;
        }
    } else {
        *at++ = digits[0];
        if (n > 1) {
            *at++ = '.';
            memcpy(at, digits + 1, n - 1);
            at += n - 1;
        }
        *at++ = 'e';
        *at++ = exponent < 0 ? '-' : '+';
        at += format_u64(at, (uint64_t)size);
    }
    *at = '\0';
    return (size_t)(at - dst);
}

static size_t format_text(char *dst, const char *text)
{
    size_t n = strlen(text);
    memcpy(dst, text, n + 1);
    return n;
}

size_t format_f64(char dst[F64_TEXT_MAX], double v)
{
    if (isnan(v)) {
        return format_text(dst, "nan");
    }
    if (isinf(v)) {
        return format_text(dst, v < 0 ? "-inf" : "inf");
    }
    if (v == 0) {
        return format_text(dst, signbit(v) ? "-0" : "0");
    }
    if (fabs(v) <= 0x1p62 && v == (double)(int64_t)v) {
        return format_i64(dst, (int64_t)v);
    }
    char digits[32];
    int point;
    unsigned n = shortest_digits(fabs(v), digits, &point);
    if (v < 0) {
        *dst = '-';
        return 1 + lay_out(dst + 1, digits, n, point);
    }
    return lay_out(dst, digits, n, point);
}

size_t format_ld(char dst[LD_TEXT_MAX], long double v)
{
    if (isnan(v)) {
        return format_text(dst, "nan");
    }
    if (isinf(v)) {
        return format_text(dst, v < 0 ? "-inf" : "inf");
    }
    size_t n = (size_t)snprintf(dst, LD_TEXT_MAX, "%.17Lf", v);
    while (dst[n - 1] == '0') {
        n--;
    }
    if (dst[n - 1] == '.') {
        n--;
    }
    dst[n] = '\0';
    return strcmp(dst, "-0") == 0 ? format_text(dst, "0") : n;
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
