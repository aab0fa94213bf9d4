/* test_must.c -- Assertions that stay on, their hook, and checked sizes.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/base.h"
#include "base/log.h"
#include "child.h"
#include <limits.h>

static volatile int seven = 7;

START_TEST(test_true_passes)
{
    must(seven == 7);
    must(1);
}
END_TEST

static void break_it(void)
{
    must(seven == 8);
}

static void reach_it(void)
{
    must_not_reach();
}

START_TEST(test_false_aborts_with_place)
{
    child_must_abort(break_it, "seven == 8");
    child_must_abort(break_it, "test_must.c:");
    child_must_abort(break_it, "break_it");
    child_must_abort(reach_it, "reached");
}
END_TEST

static void hook(const char *what, const char *file, int line)
{
    log_raw("hook: ");
    log_raw(what);
    log_raw(strstr(file, "test_must.c") != NULL && line > 0 ? " here\n" : " elsewhere\n");
}

static void break_with_hook(void)
{
    must_set_hook(hook);
    break_it();
}

static void bad_hook(const char *what unused_arg, const char *file unused_arg, int line unused_arg)
{
    log_raw("once\n");
    must(seven == 9);
}

static void break_with_bad_hook(void)
{
    must_set_hook(bad_hook);
    break_it();
}

START_TEST(test_hook)
{
    child_must_abort(break_with_hook, "hook: seven == 8 here");
    static char text[CHILD_TEXT_MAX];
    int status = child_run(break_with_bad_hook, text);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    char *once = strstr(text, "once");
    ck_assert_ptr_nonnull(once);
    ck_assert_ptr_null(strstr(once + 1, "once"));
    ck_assert_ptr_null(strstr(text, "seven == 9"));
}
END_TEST

START_TEST(test_checked_sizes)
{
    size_t out = 5;
    ck_assert(!size_add(SIZE_MAX, 1, &out));
    ck_assert(!size_mul(SIZE_MAX / 2 + 1, 2, &out));
    ck_assert_uint_eq(out, 5);
    ck_assert(size_add(SIZE_MAX - 1, 1, &out));
    ck_assert_uint_eq(out, SIZE_MAX);
    ck_assert(size_mul(SIZE_MAX / 2, 2, &out));
    ck_assert_uint_eq(out, SIZE_MAX - 1);
    ck_assert(size_mul(0, SIZE_MAX, &out));
    ck_assert_uint_eq(out, 0);
    ck_assert_uint_eq(size_min(1, 2), 1);
    ck_assert_uint_eq(size_min(2, 1), 1);
    ck_assert_uint_eq(size_max(1, 2), 2);
    ck_assert_uint_eq(size_max(2, 1), 2);
    ck_assert_uint_eq(u64_min(UINT64_MAX, 3), 3);
    ck_assert_uint_eq(u64_min(3, UINT64_MAX), 3);
    ck_assert_uint_eq(u64_max(UINT64_MAX, 3), UINT64_MAX);
    ck_assert_uint_eq(u64_max(3, UINT64_MAX), UINT64_MAX);
}
END_TEST

struct outer {
    int a;
    struct {
        int b;
    } inner;
};

START_TEST(test_container_of)
{
    struct outer o;
    ck_assert_ptr_eq(container_of(&o.inner, struct outer, inner), &o);
    int three[3];
    ck_assert_uint_eq(countof(three), 3);
}
END_TEST

UNIT_SUITE(must)
{
    unit_case(suite, "must", test_true_passes, test_false_aborts_with_place, test_hook);
    unit_case(suite, "sizes", test_checked_sizes, test_container_of);
}
