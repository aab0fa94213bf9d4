/* test_glob.c -- Glob patterns against redis-server's answers and a plain recursive matcher.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "base/rng.h"

/* What SCAN MATCH of redis-server 7.0.15 finds with a single key. */
START_TEST(test_as_redis)
{
    static const struct {
        struct slice pattern, text;
        bool match;
    } cases[] = {
        { S(""), S(""), true },
        { S(""), S("a"), false },
        { S("**"), S(""), false },
        { S("?"), S(""), false },
        { S("*a"), S(""), false },
        { S("*"), S("a"), true },
        { S("**"), S("a"), true },
        { S("***a"), S("a"), true },
        { S("a*"), S("a"), true },
        { S("a*"), S("abc"), true },
        { S("a**b"), S("ab"), true },
        { S("a**b"), S("axxb"), true },
        { S("a*c"), S("ab"), false },
        { S("?"), S("a"), true },
        { S("??"), S("a"), false },
        { S("a"), S("A"), false },
        { S("["), S("["), false },
        { S("["), S("a"), false },
        { S("[^"), S("a"), true },
        { S("[^"), S(""), false },
        { S("[a"), S("a"), true },
        { S("[a-"), S("a"), true },
        { S("[a-"), S("-"), true },
        { S("[a-"), S("b"), false },
        { S("[a-]"), S("b"), false },
        { S("[a-]"), S("_"), true },
        { S("[a-c]"), S("b"), true },
        { S("[a-c]"), S("d"), false },
        { S("[a-c"), S("b"), true },
        { S("[z-a]"), S("m"), true },
        { S("[\\"), S("\\"), true },
        { S("[\\]"), S("]"), true },
        { S("[\\]]"), S("]"), true },
        { S("[]"), S("a"), false },
        { S("[]a]"), S("a"), false },
        { S("[^]"), S("a"), true },
        { S("[^a]"), S("a"), false },
        { S("[^a]"), S("b"), true },
        { S("[^a"), S("b"), true },
        { S("[^a"), S("a"), false },
        { S("[^\\]]"), S("x"), true },
        { S("[*]"), S("*"), true },
        { S("[?]"), S("x"), false },
        { S("\\"), S("\\"), true },
        { S("a\\"), S("a\\"), true },
        { S("*\\"), S("a\\"), true },
        { S("\\a"), S("a"), true },
        { S("\\*"), S("*"), true },
        { S("\\*"), S("x"), false },
        { S("[a-\\]"), S("b"), false },
        { S("[a-\\]]"), S("]"), false },
        { S("[\\a-c]"), S("b"), false },
        { S("[\\a-c]"), S("-"), true },
        { S("[a-\xff]"), S("b"), false },
        { S("[a-\xff]"), S("A"), true },
        { S("[\x80-\xff]"), S("\x90"), true },
        { S("[\x7f-\x80]"), S("A"), true },
        { S("a["), S("a"), false },
        { S("a["), S("a["), false },
        { S("a*["), S("ab"), false },
        { S("a[bc"), S("ab"), true },
        { S("\0*"), S("\0a"), true },
        { S("[a\0]"), S("\0"), true },
    };
    for (unsigned i = 0; i < countof(cases); i++) {
        ck_assert_msg(glob_match(cases[i].pattern, cases[i].text, false) == cases[i].match,
                      "case %u: %.*s", i, (int)cases[i].pattern.n, cases[i].pattern.p);
    }
    ck_assert(glob_match(slice_of(NULL, 0), slice_of(NULL, 0), false));
    ck_assert(!glob_match(S("*"), slice_of(NULL, 0), false));
}
END_TEST

/* What CONFIG GET of redis-server 7.0.15 finds. */
START_TEST(test_nocase_as_redis)
{
    static const struct {
        const char *pattern;
        bool match;
    } cases[] = {
        { "MAXMEMORY", true },
        { "[M]axmemory", true },
        { "[\\M]axmemory", false },
        { "[L-N]axmemory", true },
        { "[Z-a]axmemory", false },
        { "[Z-m]axmemory", false },
        { "[l-N]axmemory", false },
        { "[^M]axmemory", false },
        { "\\MaxMemory", true },
        { "MAX*", true },
        { "*Y", true },
    };
    for (unsigned i = 0; i < countof(cases); i++) {
        ck_assert_msg(glob_match(slice_str(cases[i].pattern), S("maxmemory"), true) ==
                          cases[i].match,
                      "%s", cases[i].pattern);
        ck_assert(!glob_match(S("MAXMEMORY"), S("maxmemory"), false));
    }
}
END_TEST

/* ---- the oracle: a pattern becomes a list of byte sets and stars, matched by plain recursion ----
 */

struct element {
    bool star;
    bool has[256];
};

static int lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static void add_member(struct element *e, int member, bool nocase)
{
    for (int c = 0; c < 256; c++) {
        e->has[c] |= nocase ? lower(c) == lower(member) : c == member;
    }
}

static void add_range(struct element *e, signed char from, signed char to, bool nocase)
{
    int low = from < to ? from : to, high = from < to ? to : from;
    for (int c = 0; c < 256; c++) {
        int s = (signed char)c;
        e->has[c] |=
            nocase ? lower(s) >= lower(low) && lower(s) <= lower(high) : s >= low && s <= high;
    }
}

static size_t compile_class(const unsigned char *p, size_t i, size_t n, struct element *e,
                            bool nocase)
{
    bool negate = i < n && p[i] == '^';
    i += negate;
    while (i < n && p[i] != ']') {
        if (p[i] == '\\' && i + 1 < n) {
            e->has[p[i + 1]] = true;
            i += 2;
        } else if (i + 2 < n && p[i + 1] == '-') {
            add_range(e, (signed char)p[i], (signed char)p[i + 2], nocase);
            i += 3;
        } else {
            add_member(e, p[i], nocase);
            i++;
        }
    }
    for (int c = 0; negate && c < 256; c++) {
        e->has[c] = !e->has[c];
    }
    return i + 1;
}

static unsigned compile(struct slice pattern, struct element *out, bool nocase)
{
    const unsigned char *p = (const unsigned char *)pattern.p;
    unsigned count = 0;
    for (size_t i = 0; i < pattern.n;) {
        struct element *e = &out[count++];
        memset(e, 0, sizeof *e);
        if (p[i] == '*') {
            e->star = true;
            i++;
        } else if (p[i] == '?') {
            memset(e->has, true, sizeof e->has);
            i++;
        } else if (p[i] == '[') {
            i = compile_class(p, i + 1, pattern.n, e, nocase);
        } else {
            i += p[i] == '\\' && i + 1 < pattern.n;
            add_member(e, p[i], nocase);
            i++;
        }
    }
    return count;
}

static bool oracle(const struct element *e, unsigned count, const unsigned char *t, size_t n)
{
    if (count == 0) {
        return n == 0;
    }
    if (e->star) {
        for (size_t skip = 0; skip <= n; skip++) {
            if (oracle(e + 1, count - 1, t + skip, n - skip)) {
                return true;
            }
        }
        return false;
    }
    return n > 0 && e->has[*t] && oracle(e + 1, count - 1, t + 1, n - 1);
}

START_TEST(test_random_against_oracle)
{
    static const char pattern_bytes[] = "aabBc**?[]^-\\\xc3", text_bytes[] = "aaabbBcC-]\\\xc3^";
    rng_seed_all(unit_seed());
    unsigned matches = 0;
    for (int i = 0; i < 300000; i++) {
        size_t pn = rng_below(9), tn = 1 + rng_below(7);
        /* On the heap and exact, so that a sanitizer sees a read behind the end. */
        char *p = mem_alloc(pn), *t = mem_alloc(tn);
        for (size_t k = 0; k < pn; k++) {
            p[k] = pattern_bytes[rng_below(sizeof pattern_bytes - 1)];
        }
        for (size_t k = 0; k < tn; k++) {
            t[k] = text_bytes[rng_below(sizeof text_bytes - 1)];
        }
        bool nocase = rng_below(2) != 0;
        struct element elements[8];
        unsigned count = compile(slice_of(p, pn), elements, nocase);
        bool want = oracle(elements, count, (const unsigned char *)t, tn);
        ck_assert_msg(glob_match(slice_of(p, pn), slice_of(t, tn), nocase) == want,
                      "pattern %.*s text %.*s nocase %d: not %d", (int)pn, p, (int)tn, t, nocase,
                      want);
        matches += want;
        mem_free(p);
        mem_free(t);
    }
    ck_assert_uint_gt(matches, 10000);
}
END_TEST

/* A recursive matcher would need longer than the universe has. */
START_TEST(test_many_stars_are_bounded)
{
    char pattern[200], text[5000];
    for (size_t i = 0; i < sizeof pattern; i += 2) {
        memcpy(pattern + i, "a*", 2);
    }
    memset(text, 'a', sizeof text);
    ck_assert(glob_match(slice_of(pattern, sizeof pattern), slice_of(text, sizeof text), false));
    pattern[sizeof pattern - 1] = 'b';
    ck_assert(!glob_match(slice_of(pattern, sizeof pattern), slice_of(text, sizeof text), false));
}
END_TEST

UNIT_SUITE(glob)
{
    unit_case(suite, "glob", test_as_redis, test_nocase_as_redis, test_random_against_oracle,
              test_many_stars_are_bounded);
}
