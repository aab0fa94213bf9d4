/* glob.c -- Redis glob patterns, matched without recursion.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY  Every element but '*' takes exactly one byte. So when a later star is reached, what an
 * earlier one took never needs to change: backing up to the last star alone is enough, and the time
 * is at most pattern length times text length. */
#include "base/bytes.h"

static inline int fold(int c, bool nocase)
{
    return nocase && c >= 'A' && c <= 'Z' ? c + 32 : c;
}

/* Bytes compare as signed char in class ranges: Redis does on the platforms it is used on. */
static inline int at(struct slice s, size_t i)
{
    return (signed char)s.p[i];
}

/* A class whose '[' is at *i - 1. Leaves *i behind its ']' or at the end of the pattern (an
 * unterminated class is closed there). An escaped member is compared with its case, a reversed
 * range is turned round: as Redis does. */
static bool class_has(struct slice pattern, size_t *i, int c, bool nocase)
{
    size_t k = *i;
    bool found = false, negate = k < pattern.n && pattern.p[k] == '^';
    if (negate) {
        k++;
    }
    for (; k < pattern.n && pattern.p[k] != ']'; k++) {
        if (pattern.p[k] == '\\' && pattern.n - k >= 2) {
            k++;
            found |= at(pattern, k) == c;
        } else if (pattern.n - k >= 3 && pattern.p[k + 1] == '-') {
            int from = at(pattern, k), to = at(pattern, k + 2);
            int low = fold(from < to ? from : to, nocase),
                high = fold(from < to ? to : from, nocase);
            int folded = fold(c, nocase);
            found |= folded >= low && folded <= high;
            k += 2;
        } else {
            found |= fold(at(pattern, k), nocase) == fold(c, nocase);
        }
    }
    *i = k < pattern.n ? k + 1 : k;
    return found != negate;
}

/* One element at *i (not a star) against c; moves *i behind it when it matches. */
static bool element_matches(struct slice pattern, size_t *i, int c, bool nocase)
{
    size_t k = *i;
    bool ok;
    switch (pattern.p[k]) {
    case '?':
        k++;
        ok = true;
        break;
    case '[':
        k++;
        ok = class_has(pattern, &k, c, nocase);
        break;
    default:
        if (pattern.p[k] == '\\' && pattern.n - k >= 2) {
            k++;
        }
        ok = fold(at(pattern, k), nocase) == fold(c, nocase);
        k++;
    }
    if (ok) {
        *i = k;
    }
    return ok;
}

bool glob_match(struct slice pattern, struct slice text, bool nocase)
{
    const size_t none = (size_t)-1;
    size_t p = 0, t = 0, star = none, star_text = 0;
    if (text.n == 0) {
        return pattern.n == 0;
    }
    while (t < text.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = ++p;
            star_text = t;
            if (p == pattern.n) {
                return true;
            }
        } else if (p < pattern.n && element_matches(pattern, &p, at(text, t), nocase)) {
            t++;
        } else if (star != none) {
            p = star;
            t = ++star_text;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*') {
        p++;
    }
    return p == pattern.n;
}
