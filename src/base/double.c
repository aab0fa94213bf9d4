/* double.c -- Doubles as text, the way Redis 7.2 reads and prints them.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 * Printing is Grisu2 (Loitsch, PLDI 2010): integer arithmetic only, always reads back equal, and
 * the shortest text in 99.9 % of all cases. Redis prints scores with it, so its choice of digits is
 * what clients see; an exact algorithm would differ from it now and then. Reading takes an exact
 * shortcut for what people really send (few digits, no exponent) and asks libc otherwise.
 *
 * THREADS
 * Any. The process must stay in the "C" numeric locale. */
#include "base/bytes.h"
#include "base/mem.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* Exact in a double, as is any number of so many digits. */
#define DIGITS_EXACT 15
static const double pow10_exact[DIGITS_EXACT + 1] = {
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15
};

/* 10^-348, 10^-340 ... 10^340, rounded to 64 bits. The exponent of entry k is floor(k log2 10)
 * - 63. */
#define CACHED_FIRST (-348)
#define CACHED_STEP  8
#define LOG2_10_19   1741647 /* times 2^19 */
#define LOG10_2_18   78913   /* times 2^18 */
static const uint64_t cached_pow10[] = {
    0xfa8fd5a0081c0288, 0xbaaee17fa23ebf76, 0x8b16fb203055ac76, 0xcf42894a5dce35ea,
    0x9a6bb0aa55653b2d, 0xe61acf033d1a45df, 0xab70fe17c79ac6ca, 0xff77b1fcbebcdc4f,
    0xbe5691ef416bd60c, 0x8dd01fad907ffc3c, 0xd3515c2831559a83, 0x9d71ac8fada6c9b5,
    0xea9c227723ee8bcb, 0xaecc49914078536d, 0x823c12795db6ce57, 0xc21094364dfb5637,
    0x9096ea6f3848984f, 0xd77485cb25823ac7, 0xa086cfcd97bf97f4, 0xef340a98172aace5,
    0xb23867fb2a35b28e, 0x84c8d4dfd2c63f3b, 0xc5dd44271ad3cdba, 0x936b9fcebb25c996,
    0xdbac6c247d62a584, 0xa3ab66580d5fdaf6, 0xf3e2f893dec3f126, 0xb5b5ada8aaff80b8,
    0x87625f056c7c4a8b, 0xc9bcff6034c13053, 0x964e858c91ba2655, 0xdff9772470297ebd,
    0xa6dfbd9fb8e5b88f, 0xf8a95fcf88747d94, 0xb94470938fa89bcf, 0x8a08f0f8bf0f156b,
    0xcdb02555653131b6, 0x993fe2c6d07b7fac, 0xe45c10c42a2b3b06, 0xaa242499697392d3,
    0xfd87b5f28300ca0e, 0xbce5086492111aeb, 0x8cbccc096f5088cc, 0xd1b71758e219652c,
    0x9c40000000000000, 0xe8d4a51000000000, 0xad78ebc5ac620000, 0x813f3978f8940984,
    0xc097ce7bc90715b3, 0x8f7e32ce7bea5c70, 0xd5d238a4abe98068, 0x9f4f2726179a2245,
    0xed63a231d4c4fb27, 0xb0de65388cc8ada8, 0x83c7088e1aab65db, 0xc45d1df942711d9a,
    0x924d692ca61be758, 0xda01ee641a708dea, 0xa26da3999aef774a, 0xf209787bb47d6b85,
    0xb454e4a179dd1877, 0x865b86925b9bc5c2, 0xc83553c5c8965d3d, 0x952ab45cfa97a0b3,
    0xde469fbd99a05fe3, 0xa59bc234db398c25, 0xf6c69a72a3989f5c, 0xb7dcbf5354e9bece,
    0x88fcf317f22241e2, 0xcc20ce9bd35c78a5, 0x98165af37b2153df, 0xe2a0b5dc971f303a,
    0xa8d9d1535ce3b396, 0xfb9b7cd9a4a7443c, 0xbb764c4ca7a44410, 0x8bab8eefb6409c1a,
    0xd01fef10a657842c, 0x9b10a4e5e9913129, 0xe7109bfba19c0c9d, 0xac2820d9623bf429,
    0x80444b5e7aa7cf85, 0xbf21e44003acdd2d, 0x8e679c2f5e44ff8f, 0xd433179d9c8cb841,
    0x9e19db92b4e31ba9, 0xeb96bf6ebadf77d9, 0xaf87023b9bf0ee6b,
};

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

bool parse_f64(struct slice s, double *out)
{
    if (parse_f64_short(s, out)) {
        return true;
    }
    char local[128];
    if (s.n == 0 || char_is_space(s.p[0])) {
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

/* The high half of the product, rounded. */
static uint64_t scaled(uint64_t f, uint64_t by)
{
    return (uint64_t)(((unsigned __int128)f * by + ((uint64_t)1 << 63)) >> 64);
}

/* The last digit was cut from the upper boundary; step it down while that comes closer to the
 * value: `rest` is how far below the upper boundary the digits are, `gap` how far the value is,
 * `delta` the width of the interval, `unit` one of the last digit. */
static void step_down(char *last, uint64_t delta, uint64_t rest, uint64_t unit, uint64_t gap)
{
    while (rest < gap && delta - rest >= unit &&
           (rest + unit < gap || gap - rest > rest + unit - gap)) {
        (*last)--;
        rest += unit;
    }
}

/* Digits of `high`, until what is left is within delta: the digits then lie in the interval.
 * `shift` bits of all arguments are the fraction. Returns how many digits; *power is moved by the
 * digits of the whole part that were not needed. */
static unsigned cut_digits(uint64_t high, uint64_t delta, uint64_t gap, unsigned shift,
                           char *digits, int *power)
{
    uint64_t one = (uint64_t)1 << shift, fraction = high & (one - 1);
    uint32_t whole = (uint32_t)(high >> shift), divisor = 1000000000;
    unsigned n = 0;
    for (int left = 9; left >= 0; left--, divisor /= 10) {
        uint32_t digit = whole / divisor;
        whole %= divisor;
        if (digit != 0 || n != 0) {
            digits[n++] = (char)('0' + digit);
        }
        uint64_t rest = ((uint64_t)whole << shift) + fraction;
        if (rest <= delta) {
            *power += left;
            step_down(&digits[n - 1], delta, rest, (uint64_t)divisor << shift, gap);
            return n;
        }
    }
    do {
        fraction *= 10;
        delta *= 10;
        gap *= 10;
        char digit = (char)('0' + (fraction >> shift));
        if (digit != '0' || n != 0) {
            digits[n++] = digit;
        }
        fraction &= one - 1;
        --*power;
    } while (fraction >= delta);
    step_down(&digits[n - 1], delta, fraction, one, gap);
    return n;
}

/* Grisu2: v (finite, > 0) = digits * 10^power. Both boundaries (half way to the neighbours of v)
 * and v itself are multiplied by a power of ten that brings them to -60..-32 binary places; the
 * boundaries move in by one unit for the rounding of the products. */
static unsigned shortest_digits(double v, char digits[20], int *power)
{
    const uint64_t hidden = (uint64_t)1 << 52;
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    int biased = (int)(bits >> 52);
    uint64_t f = (bits & (hidden - 1)) | (biased != 0 ? hidden : 0);
    int shift = __builtin_clzll(f);
    int e = (biased != 0 ? biased : 1) - 1075 - shift;
    uint64_t half = (uint64_t)1 << (shift - 1); /* of one unit in the last place of v */
    uint64_t high = (f << shift) + half;
    uint64_t low = (f << shift) - (f == hidden ? half / 2 : half);

    int k = ((-61 - e) * LOG10_2_18 >> 18) + 1;
    unsigned i = (unsigned)(k - CACHED_FIRST + CACHED_STEP - 1) / CACHED_STEP;
    int ten = CACHED_FIRST + CACHED_STEP * (int)i;
    int e_scaled = e + (ten * LOG2_10_19 >> 19) + 1;
    high = scaled(high, cached_pow10[i]) - 1;
    low = scaled(low, cached_pow10[i]) + 1;
    *power = -ten;
    return cut_digits(high, high - low, high - scaled(f << shift, cached_pow10[i]),
                      (unsigned)-e_scaled, digits, power);
}

/* Where the digits go. The limits of each form are those of Redis 7.2. */
static size_t lay_out(char *dst, const char *digits, unsigned n, int power)
{
    int point = (int)n + power; /* digits before the point */
    int exponent = point - 1;
    int size = exponent < 0 ? -exponent : exponent;
    char *at = dst;
    if (power >= 0 && size < (int)n + 7) {
        memcpy(at, digits, n);
        memset(at + n, '0', (size_t)power);
        at += (int)n + power;
    } else if (power < 0 && (power > -7 || size < 4)) {
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
    char digits[20];
    int power;
    unsigned n = shortest_digits(fabs(v), digits, &power);
    if (v < 0) {
        *dst = '-';
        return 1 + lay_out(dst + 1, digits, n, power);
    }
    return lay_out(dst, digits, n, power);
}
