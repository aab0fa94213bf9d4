/* test_runner.c -- The runner itself: seeds, temporary directories.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include <sys/stat.h>

START_TEST(test_tmpdirs_are_fresh)
{
    const char *a = unit_tmpdir();
    const char *b = unit_tmpdir();
    struct stat st;
    ck_assert_str_ne(a, b);
    ck_assert_int_eq(stat(a, &st), 0);
    ck_assert(S_ISDIR(st.st_mode));
    ck_assert_int_eq(stat(b, &st), 0);
}
END_TEST

START_TEST(test_seed_is_set)
{
    ck_assert_uint_ne(unit_seed(), 0);
}
END_TEST

UNIT_SUITE(runner)
{
    unit_case(suite, "runner", test_tmpdirs_are_fresh, test_seed_is_set);
}
