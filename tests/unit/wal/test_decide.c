/* test_decide.c -- The recovery decision table: total, exclusive, and row by row as designed.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The oracle below states each row of the design table as its own formula over the design's
 * letters, without looking at the table in decide.c. */
#include "unit.h"
#include "wal/decide.h"
#include <string.h>

struct letters {
    bool z, v, n, c, i, b, s, l, e, missing, late, snapshot;
};

static struct letters letters_of(unsigned in)
{
    return (struct letters){
        .z = (in & WAL_IN_ZERO) != 0,
        .v = (in & WAL_IN_INVALID) == 0,
        .n = (in & WAL_IN_UNNAMED) == 0,
        .c = (in & WAL_IN_UNCHAINED) == 0,
        .i = (in & WAL_IN_MISORDERED) == 0,
        .b = (in & WAL_IN_BAD_BODY) == 0,
        .s = (in & WAL_IN_SYNCED) != 0,
        .l = (in & WAL_IN_PROVEN) != 0,
        .e = (in & WAL_IN_ERROR) != 0,
        .missing = (in & WAL_IN_MISSING) != 0,
        .late = (in & WAL_IN_LATE) != 0,
        .snapshot = (in & WAL_IN_SNAPSHOT) != 0,
    };
}

/* Each row made exclusive: its own condition and none of the rows above it. */
static unsigned rows_that_apply(unsigned in, enum wal_case *which)
{
    struct letters x = letters_of(in);
    bool proof = x.s || x.l;
    bool bad = !x.v || !x.n || !x.i || !x.b || x.z;
    bool hole = x.missing || x.late;
    bool accept = x.v && x.n && x.c && x.i && x.b && !x.e && !hole && !x.snapshot;
    bool e = !accept && proof && bad;
    bool f = !accept && proof && !bad && !x.c;
    bool g = !accept && !e && !f && x.e;
    bool h = !accept && !e && !f && !g && hole;
    bool refused = accept || e || f || g || h;
    bool d = !refused && x.v && (!x.n || !x.c || !x.i);
    bool b = !refused && !d && x.z;
    bool c = !refused && !d && !b && !x.snapshot;
    bool i = !refused && !d && !b && x.snapshot;
    const bool rows[] = { accept, e, f, g, h, d, b, c, i };
    const enum wal_case ids[] = { WAL_CASE_ACCEPT, WAL_CASE_E, WAL_CASE_F, WAL_CASE_G, WAL_CASE_H,
                                  WAL_CASE_D,      WAL_CASE_B, WAL_CASE_C, WAL_CASE_I };
    unsigned count = 0;
    for (unsigned k = 0; k < countof(rows); k++) {
        if (rows[k]) {
            *which = ids[k];
            count++;
        }
    }
    return count;
}

START_TEST(test_every_combination)
{
    unsigned seen[9] = { 0 };
    for (unsigned in = 0; in <= WAL_IN_ALL; in++) {
        enum wal_case expected = WAL_CASE_ACCEPT;
        ck_assert_msg(rows_that_apply(in, &expected) == 1, "observed %#x", in);
        enum wal_case got = wal_decide(in);
        ck_assert_msg(got == expected, "observed %#x: %c, expected %c", in, wal_case_letter(got),
                      wal_case_letter(expected));
        seen[got]++;
    }
    for (unsigned k = 0; k < countof(seen); k++) {
        ck_assert_msg(seen[k] > 0, "case %u never chosen", k);
    }
}
END_TEST

/* What a person would say, one line per situation that really happens. */
START_TEST(test_situations)
{
    const unsigned nothing = WAL_IN_INVALID | WAL_IN_BAD_BODY;
    const struct {
        unsigned in;
        enum wal_case expected;
    } situations[] = {
        { 0, WAL_CASE_ACCEPT },
        { WAL_IN_SYNCED | WAL_IN_PROVEN, WAL_CASE_ACCEPT },
        { nothing | WAL_IN_ZERO, WAL_CASE_B },
        { nothing | WAL_IN_ZERO | WAL_IN_SYNCED, WAL_CASE_E },
        { nothing | WAL_IN_ZERO | WAL_IN_PROVEN, WAL_CASE_E },
        { nothing, WAL_CASE_C },
        { WAL_IN_BAD_BODY, WAL_CASE_C },
        { WAL_IN_BAD_BODY | WAL_IN_SYNCED, WAL_CASE_E },
        { WAL_IN_UNCHAINED, WAL_CASE_D },
        { WAL_IN_UNCHAINED | WAL_IN_PROVEN, WAL_CASE_F },
        { WAL_IN_UNNAMED | WAL_IN_BAD_BODY, WAL_CASE_D },
        { WAL_IN_UNNAMED | WAL_IN_BAD_BODY | WAL_IN_SYNCED, WAL_CASE_E },
        { WAL_IN_MISORDERED, WAL_CASE_D },
        { nothing | WAL_IN_ERROR, WAL_CASE_G },
        { WAL_IN_ERROR, WAL_CASE_G },
        { nothing | WAL_IN_ERROR | WAL_IN_SYNCED, WAL_CASE_E },
        { nothing | WAL_IN_MISSING, WAL_CASE_H },
        { WAL_IN_LATE | WAL_IN_MISORDERED, WAL_CASE_H },
        { WAL_IN_SNAPSHOT, WAL_CASE_I },
    };
    for (unsigned k = 0; k < countof(situations); k++) {
        enum wal_case got = wal_decide(situations[k].in);
        ck_assert_msg(got == situations[k].expected, "situation %u: %c", k, wal_case_letter(got));
    }
}
END_TEST

START_TEST(test_verdicts)
{
    const struct {
        enum wal_case c;
        enum wal_verdict verdict;
        char letter;
    } expected[] = {
        { WAL_CASE_ACCEPT, WAL_TAKE, 'a' },
        { WAL_CASE_E, WAL_REFUSE, 'e' },
        { WAL_CASE_F, WAL_REFUSE, 'f' },
        { WAL_CASE_G, WAL_REFUSE, 'g' },
        { WAL_CASE_H, WAL_REFUSE, 'h' },
        { WAL_CASE_D, WAL_END, 'd' },
        { WAL_CASE_B, WAL_END, 'b' },
        { WAL_CASE_C, WAL_CUT, 'c' },
        { WAL_CASE_I, WAL_OLDER_SNAPSHOT, 'i' },
    };
    for (unsigned k = 0; k < countof(expected); k++) {
        ck_assert_int_eq(wal_verdict_of(expected[k].c), expected[k].verdict);
        ck_assert_int_eq(wal_case_letter(expected[k].c), expected[k].letter);
        ck_assert_int_gt((int)strlen(wal_case_text(expected[k].c)), 0);
    }
}
END_TEST

UNIT_SUITE(wal_decide)
{
    unit_case(suite, "table", test_every_combination, test_situations, test_verdicts);
}
