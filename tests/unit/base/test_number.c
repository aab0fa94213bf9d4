/* test_number.c -- Numbers as text: Redis's integers, doubles, long doubles and sizes.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/bytes.h"
#include "base/rng.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

/* A random integer of any length. */
static uint64_t any_length(void)
{
    return rng_u64() >> rng_below(64);
}

START_TEST(test_parse_i64)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {
        { "0", true, 0 },
        { "-1", true, -1 },
        { "9", true, 9 },
        { "10", true, 10 },
        { "9223372036854775807", true, INT64_MAX },
        { "9223372036854775808", false, 0 },
        { "-9223372036854775808", true, INT64_MIN },
        { "-9223372036854775809", false, 0 },
        { "18446744073709551615", false, 0 },
        { "18446744073709551617", false, 0 },
        { "99999999999999999999", false, 0 },
        { "-99999999999999999999", false, 0 },
        { "100000000000000000000", false, 0 },
        { "", false, 0 },
        { "-", false, 0 },
        { "-0", false, 0 },
        { "+1", false, 0 },
        { "00", false, 0 },
        { "01", false, 0 },
        { "-01", false, 0 },
        { " 1", false, 0 },
        { "1 ", false, 0 },
        { "--1", false, 0 },
        { "1.0", false, 0 },
        { "0x1", false, 0 },
        { "1:", false, 0 },
        { "1/", false, 0 },
        { "1234567890123456789:", false, 0 },
        { "1234567890123456789/", false, 0 },
    };
    for (unsigned i = 0; i < countof(cases); i++) {
        int64_t v = 77;
        ck_assert_msg(parse_i64(slice_str(cases[i].text), &v) == cases[i].ok, "%s", cases[i].text);
        ck_assert_int_eq(v, cases[i].ok ? cases[i].value : 77);
    }
    int64_t v;
    ck_assert(!parse_i64(S("1\0"), &v));
    ck_assert(!parse_i64(slice_of(NULL, 0), &v));
}
END_TEST

START_TEST(test_parse_u64)
{
    uint64_t v = 77;
    ck_assert(!parse_u64(S("18446744073709551616"), &v));
    ck_assert(!parse_u64(S("18446744073709551620"), &v));
    ck_assert(!parse_u64(S("99999999999999999999"), &v));
    ck_assert(!parse_u64(S("-1"), &v));
    ck_assert(!parse_u64(S("01"), &v));
    ck_assert(!parse_u64(S(""), &v));
    ck_assert_uint_eq(v, 77);
    ck_assert(parse_u64(S("18446744073709551615"), &v));
    ck_assert_uint_eq(v, UINT64_MAX);
    ck_assert(parse_u64(S("0"), &v));
    ck_assert_uint_eq(v, 0);
}
END_TEST

static void check_i64(int64_t v)
{
    char ours[I64_TEXT_MAX], libc[32];
    size_t n = format_i64(ours, v);
    snprintf(libc, sizeof libc, "%" PRId64, v);
    ck_assert_str_eq(ours, libc);
    ck_assert_uint_eq(n, strlen(libc));
    ck_assert_uint_eq(i64_digits(v), n);
    int64_t back;
    ck_assert(parse_i64(slice_of(ours, n), &back));
    ck_assert_int_eq(back, v);
}

static void check_u64(uint64_t v)
{
    char ours[I64_TEXT_MAX], libc[32];
    size_t n = format_u64(ours, v);
    snprintf(libc, sizeof libc, "%" PRIu64, v);
    ck_assert_str_eq(ours, libc);
    ck_assert_uint_eq(n, strlen(libc));
    uint64_t back;
    ck_assert(parse_u64(slice_of(ours, n), &back));
    ck_assert_uint_eq(back, v);
}

START_TEST(test_integers_round_trip)
{
    check_i64(INT64_MIN);
    check_i64(INT64_MAX);
    check_u64(UINT64_MAX);
    uint64_t power = 1;
    for (int k = 0; k < 20; k++, power *= 10) {
        check_u64(power - 1);
        check_u64(power);
        check_u64(power + 1);
        check_i64((int64_t)power - 1);
        check_i64((int64_t)power);
        check_i64(1 - (int64_t)power);
        check_i64(-(int64_t)power);
    }
    rng_seed_all(unit_seed());
    for (int i = 0; i < 100000; i++) {
        uint64_t v = any_length();
        check_u64(v);
        check_i64((int64_t)v);
        check_i64((int64_t)(0 - v));
    }
}
END_TEST

/* Random digit strings near the limits against libc, with its laxness taken away. */
START_TEST(test_parse_i64_random)
{
    rng_seed_all(unit_seed());
    for (int i = 0; i < 200000; i++) {
        char text[32];
        size_t n = rng_below(22);
        for (size_t k = 0; k < n; k++) {
            text[k] = "0123456789-9999 +"[rng_below(k == 0 ? 17 : rng_below(20) == 0 ? 17 : 10)];
        }
        text[n] = '\0';
        char canonical[32], *end;
        long long v = strtoll(text, &end, 10);
        snprintf(canonical, sizeof canonical, "%lld", v);
        int64_t ours = 0;
        bool want = n > 0 && strcmp(canonical, text) == 0;
        ck_assert_msg(parse_i64(slice_of(text, n), &ours) == want, "%s", text);
        ck_assert_int_eq(ours, want ? v : 0);
    }
}
END_TEST

/* Accepted and refused as ZADD of redis-server 7.0.15 does. */
START_TEST(test_parse_f64)
{
    static const struct {
        const char *text;
        bool ok;
        double value;
    } cases[] = {
        { "0", true, 0 },
        { "-0", true, -0.0 },
        { "1", true, 1 },
        { "+1", true, 1 },
        { "1.", true, 1 },
        { ".5", true, 0.5 },
        { "-.5e1", true, -5 },
        { "00012", true, 12 },
        { "0.1", true, 0.1 },
        { "123456789012345", true, 123456789012345 },
        { "1234567890123456", true, 1234567890123456 },
        { "0.000000000000001", true, 1e-15 },
        { "0.123456789012345", true, 0.123456789012345 },
        { "1.7976931348623157e308", true, 1.7976931348623157e308 },
        { "1e-310", true, 1e-310 },
        { "5e-324", true, 5e-324 },
        { "0x1p3", true, 8 },
        { "0X1.8P1", true, 3 },
        { "inf", true, INFINITY },
        { "+inf", true, INFINITY },
        { "-inf", true, -INFINITY },
        { "INF", true, INFINITY },
        { "Infinity", true, INFINITY },
        { "-infinity", true, -INFINITY },
        { "infinit", false, 0 },
        { "nan", false, 0 },
        { "-nan", false, 0 },
        { "nan(1)", false, 0 },
        { "1e400", false, 0 },
        { "-1e400", false, 0 },
        { "1e-400", false, 0 },
        { "", false, 0 },
        { ".", false, 0 },
        { "-", false, 0 },
        { "-.", false, 0 },
        { "+-1", false, 0 },
        { " 1", false, 0 },
        { "\v1", false, 0 },
        { "1 ", false, 0 },
        { "1\v", false, 0 },
        { "0x", false, 0 },
        { "1e", false, 0 },
        { "1d", false, 0 },
        { "1f", false, 0 },
        { "1_0", false, 0 },
        { "1.2.3", false, 0 },
        { "1,5", false, 0 },
    };
    for (unsigned i = 0; i < countof(cases); i++) {
        double v = 77;
        ck_assert_msg(parse_f64(slice_str(cases[i].text), &v) == cases[i].ok, "%s", cases[i].text);
        ck_assert_msg(same_bits(v, cases[i].ok ? cases[i].value : 77), "%s gives %.17g",
                      cases[i].text, v);
    }
    double v;
    ck_assert(!parse_f64(S("1\0"), &v));
    ck_assert(!parse_f64(S("1e5\0"), &v));
    ck_assert(!parse_f64(slice_of(NULL, 0), &v));
}
END_TEST

/* Texts longer than any local buffer. */
START_TEST(test_parse_f64_long)
{
    char text[1000];
    for (size_t n = 100; n < 400; n++) {
        memset(text, '0', n);
        text[0] = '1';
        text[1] = '.';
        text[n - 1] = '5';
        double v = 0;
        ck_assert(parse_f64(slice_of(text, n), &v));
        ck_assert(v == 1.0);
        text[n - 1] = 'x';
        ck_assert(!parse_f64(slice_of(text, n), &v));
    }
    memset(text, '1', sizeof text);
    double v;
    ck_assert(!parse_f64(slice_of(text, 400), &v));
    ck_assert(parse_f64(slice_of(text, 300), &v));
    ck_assert(v > 1e299 && v < 1e300);
}
END_TEST

START_TEST(test_parse_f64_random)
{
    rng_seed_all(unit_seed());
    for (int i = 0; i < 200000; i++) {
        char text[64];
        uint64_t digits = any_length();
        int n = snprintf(text, sizeof text, "%s%" PRIu64, rng_below(2) ? "-" : "", digits);
        if (rng_below(3) != 0) {
            size_t at = (size_t)n - rng_below((uint64_t)n);
            memmove(text + at + 1, text + at, (size_t)n - at + 1);
            text[at] = '.';
            n++;
        }
        if (rng_below(3) == 0) {
            snprintf(text + n, sizeof text - (size_t)n, "e%d", (int)rng_below(40) - 20);
        }
        char *end;
        double want = strtod(text, &end), v = 0;
        bool ok = parse_f64(slice_str(text), &v);
        ck_assert_msg(ok == (*end == '\0' && end != text), "%s", text);
        ck_assert_msg(!ok || same_bits(v, want), "%s: %.17g, not %.17g", text, v, want);
    }
}
END_TEST

/* Texts that ZINCRBY of valkey 8.0.1 (which prints as Redis 7.2 does) answers. */
START_TEST(test_format_f64)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        { 0.0, "0" },
        { -0.0, "-0" },
        { INFINITY, "inf" },
        { -INFINITY, "-inf" },
        { NAN, "nan" },
        { -NAN, "nan" },
        { 0.1, "0.1" },
        { -0.1, "-0.1" },
        { 3, "3" },
        { -1.5, "-1.5" },
        { 1e5, "100000" },
        { 1e15, "1000000000000000" },
        { 1e16, "10000000000000000" },
        { 9007199254740993.0, "9007199254740992" },
        { 4611686018427387904.0, "4611686018427387904" },
        { 4611686018427388928.0, "4611686018427389000" },
        { 4611686018427386880.0, "4611686018427386880" },
        { -4611686018427387904.0, "-4611686018427387904" },
        { -4611686018427388928.0, "-4611686018427389000" },
        { 5e18, "5e+18" },
        { 9.3e18, "9.3e+18" },
        { 1e20, "1e+20" },
        { 123e17, "1.23e+19" },
        { 1.234e22, "12339999999999999000000" },
        { 12345678901234567890.0, "12345678901234567000" },
        { 123456.789, "123456.789" },
        { 100.5, "100.5" },
        { 0.01, "0.01" },
        { 0.0001, "0.0001" },
        { 0.00001, "0.00001" },
        { 0.000001, "0.000001" },
        { 0.0000001, "1e-7" },
        { 1.5e-5, "0.000015" },
        { 1.5e-6, "1.5e-6" },
        { 1.23e-5, "1.23e-5" },
        { 1.234567e-3, "0.001234567" },
        { 1.2345678e-4, "1.2345678e-4" },
        { 1.23456789012345e-3, "0.00123456789012345" },
        { 3e-7, "3e-7" },
        { 1e-10, "1e-10" },
        { 1e-310, "1e-310" },
        { 5e-324, "5e-324" },
        { 1.7976931348623157e308, "1.7976931348623157e+308" },
        { 2.2250738585072014e-308, "2.2250738585072014e-308" },
        { 2.225073858507201e-308, "2.225073858507201e-308" },
        { 0.30000000000000004, "0.30000000000000004" },
        { 1e22, "1e+22" },
        { 1e23, "99999999999999990000000" },
        { 9.5367431640625e-07, "9.5367431640625e-7" },
        { 602702561617149.25, "602702561617149.3" },
        { 7.99e21, "7990000000000001000000" },
        { 0x1p-77, "6.617444900424222e-24" },
        { 3.141592653589793, "3.141592653589793" },
    };
    for (unsigned i = 0; i < countof(cases); i++) {
        char text[F64_TEXT_MAX];
        size_t n = format_f64(text, cases[i].value);
        ck_assert_str_eq(text, cases[i].text);
        ck_assert_uint_eq(n, strlen(text));
    }
}
END_TEST

static void check_f64(double v)
{
    char text[F64_TEXT_MAX + 8];
    memset(text, '#', sizeof text);
    size_t n = format_f64(text, v);
    ck_assert_uint_lt(n, F64_TEXT_MAX);
    ck_assert(text[n] == '\0' && text[F64_TEXT_MAX] == '#');
    double back;
    ck_assert_msg(parse_f64(slice_of(text, n), &back), "%s", text);
    ck_assert_msg(same_bits(back, v), "%a printed as %s", v, text);
    /* 17 digits are always enough; integers may have 19. */
    char digits[64];
    unsigned count = 0;
    for (size_t i = 0; i < n && text[i] != 'e'; i++) {
        if (text[i] >= '0' && text[i] <= '9' && (count != 0 || text[i] != '0')) {
            digits[count++] = text[i];
        }
    }
    while (count > 0 && digits[count - 1] == '0') {
        count--;
    }
    ck_assert_uint_le(count, fabs(v) <= 0x1p62 && v == floor(v) ? 19 : 17);
}

START_TEST(test_format_f64_reads_back)
{
    for (int e = -1074; e < 1024; e++) {
        double v = ldexp(1, e);
        check_f64(v);
        check_f64(-v);
        check_f64(nextafter(v, INFINITY) < INFINITY ? nextafter(v, INFINITY) : v);
        if (nextafter(v, 0) > 0) {
            check_f64(nextafter(v, 0));
        }
    }
    rng_seed_all(unit_seed());
    for (int i = 0; i < 200000; i++) {
        uint64_t bits = rng_u64();
        double v;
        memcpy(&v, &bits, sizeof v);
        if (isfinite(v)) {
            check_f64(v);
        }
        check_f64((double)any_length() / pow(10, (double)rng_below(20)));
    }
}
END_TEST

/* As INCRBYFLOAT of redis-server 7.0.15 answers. */
START_TEST(test_format_ld)
{
    static const struct {
        long double value;
        const char *text;
    } cases[] = {
        { 0.0L, "0" },
        { -0.0L, "0" },
        { 3.0L, "3" },
        { -3.5L, "-3.5" },
        { 10.0L, "10" },
        { 100000.0L, "100000" },
        { 0.1L, "0.1" },
        { 1e20L, "100000000000000000000" },
        { 1e-17L, "0.00000000000000001" },
        { 5e-18L, "0" },
        { -1e-18L, "0" },
        { 123456789012345678.9L, "123456789012345678.8984375" },
        { 3.14159265358979323846L, "3.14159265358979324" },
        { INFINITY, "inf" },
        { -INFINITY, "-inf" },
        { NAN, "nan" },
    };
    static char text[LD_TEXT_MAX];
    for (unsigned i = 0; i < countof(cases); i++) {
        size_t n = format_ld(text, cases[i].value);
        ck_assert_str_eq(text, cases[i].text);
        ck_assert_uint_eq(n, strlen(text));
    }
    ck_assert_uint_eq(format_ld(text, 1e4932L), 4933);
    ck_assert_uint_eq(format_ld(text, -1.18973149535723176502e+4932L), 4934);
}
END_TEST

START_TEST(test_parse_ld)
{
    long double v = 77;
    static const char *const refused[] = { "", " 1", "1 ", "nan", ".", "1e", "1e5000", "1e-5000" };
    for (unsigned i = 0; i < countof(refused); i++) {
        ck_assert_msg(!parse_ld(slice_str(refused[i]), &v), "%s", refused[i]);
    }
    ck_assert(!parse_ld(S("1\0"), &v));
    ck_assert(v == 77);
    ck_assert(parse_ld(S("0.1"), &v) && v == 0.1L);
    ck_assert(parse_ld(S("-1e400"), &v) && v == -1e400L);
    ck_assert(parse_ld(S("+0x1p3"), &v) && v == 8);
    ck_assert(parse_ld(S("inf"), &v) && isinf(v));
    static char text[LD_TEXT_MAX + 1];
    memset(text, '0', sizeof text);
    ck_assert(parse_ld(slice_of(text, LD_TEXT_MAX - 1), &v) && v == 0);
    ck_assert(!parse_ld(slice_of(text, LD_TEXT_MAX), &v));
    ck_assert(!parse_ld(slice_of(text, LD_TEXT_MAX + 1), &v));
}
END_TEST

/* As CONFIG SET maxmemory, but that what overflows is refused (Redis wraps or stops at the top) and
 * that a number is needed. */
START_TEST(test_parse_memory)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } cases[] = {
        { "0", true, 0 },
        { "100", true, 100 },
        { "007", true, 7 },
        { "1b", true, 1 },
        { "1k", true, 1000 },
        { "1K", true, 1000 },
        { "1kb", true, 1024 },
        { "1kB", true, 1024 },
        { "5m", true, 5000000 },
        { "5MB", true, 5242880 },
        { "1g", true, 1000000000 },
        { "1GB", true, 1073741824 },
        { "18446744073709551615", true, UINT64_MAX },
        { "17179869183gb", true, 17179869183u * (1ull << 30) },
        { "17179869184gb", false, 0 },
        { "18446744073709551616", false, 0 },
        { "99999999999999999999k", false, 0 },
        { "", false, 0 },
        { "k", false, 0 },
        { "-1", false, 0 },
        { "+1", false, 0 },
        { " 1", false, 0 },
        { "1 k", false, 0 },
        { "1kk", false, 0 },
        { "1tb", false, 0 },
        { "1.5gb", false, 0 },
    };
    for (unsigned i = 0; i < countof(cases); i++) {
        uint64_t v = 77;
        ck_assert_msg(parse_memory(slice_str(cases[i].text), &v) == cases[i].ok, "%s",
                      cases[i].text);
        ck_assert_uint_eq(v, cases[i].ok ? cases[i].value : 77);
    }
}
END_TEST

START_TEST(test_human)
{
    static const struct {
        uint64_t n;
        const char *text;
    } cases[] = {
        { 0, "0B" },
        { 1023, "1023B" },
        { 1024, "1.00K" },
        { 1536, "1.50K" },
        { 1572864, "1.50M" },
        { 1073741824, "1.00G" },
        { 1099511627776, "1.00T" },
        { 1125899906842624, "1.00P" },
        { UINT64_MAX, "16384.00P" },
    };
    for (unsigned i = 0; i < countof(cases); i++) {
        char text[32];
        format_bytes_human(text, cases[i].n);
        ck_assert_str_eq(text, cases[i].text);
    }
}
END_TEST

UNIT_SUITE(number)
{
    unit_case(suite, "integer", test_parse_i64, test_parse_u64, test_integers_round_trip,
              test_parse_i64_random);
    unit_case(suite, "double", test_parse_f64, test_parse_f64_long, test_parse_f64_random,
              test_format_f64, test_format_f64_reads_back);
    unit_case(suite, "long_double", test_format_ld, test_parse_ld);
    unit_case(suite, "size", test_parse_memory, test_human);
}
