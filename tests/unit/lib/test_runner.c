/* test_runner.c -- The runner itself: seeds, temporary directories, selection, counts.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/base.h"
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* ---- the runner, run by a test of its own ---- */

static bool inside(void)
{
    return getenv("RUNNER_INSIDE") != NULL;
}

START_TEST(test_inside_skips)
{
    if (inside()) {
        unit_skip("because");
    }
}
END_TEST

START_TEST(test_inside_fails)
{
    if (inside()) {
        printf("printed before\n");
        ck_abort_msg("on purpose");
    }
}
END_TEST

START_TEST(test_inside_shows_environment)
{
    if (inside()) {
        printf("seed %llu torture %d dir %s\n", (unsigned long long)unit_seed(), unit_torture(),
               unit_tmpdir());
    }
}
END_TEST

START_TEST(test_inside_loop)
{
    ck_assert_msg(!inside() || _i != 2, "the third of the loop");
}
END_TEST

START_TEST(test_inside_hangs)
{
    while (inside()) {
        pause();
    }
}
END_TEST

static void hang_in_fixture(void)
{
    while (getenv("RUNNER_FIXTURE") != NULL) {
        pause();
    }
}

START_TEST(test_inside_behind_fixture)
{
}
END_TEST

/* Runs a command line in which $SELF is this program; returns its exit status, and what it printed
 * in *output. */
static int run_self(const char *line, char *output, size_t size)
{
    char self[256], command[600];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    ck_assert_int_gt(len, 0);
    self[len] = '\0';
    snprintf(command, sizeof command, "SELF='%s'; export RUNNER_INSIDE=1; %s 2>&1", self, line);
    FILE *f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    size_t n = fread(output, 1, size - 1, f);
    output[n] = '\0';
    int status = pclose(f);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_output(const char *output, const char *part)
{
    ck_assert_msg(strstr(output, part) != NULL, "'%s' is not in:\n%s", part, output);
}

START_TEST(test_counts)
{
    char out[8192];
    int status = run_self("SEED=5 KV_TORTURE=1 $SELF test_inside_skips test_inside_fails "
                          "test_inside_shows_environment",
                          out, sizeof out);
    ck_assert_int_eq(status, 1);
    expect_output(out, "SEED=5\n");
    expect_output(out, "skipped: because\n");
    expect_output(out, "printed before\n");
    expect_output(out, "test_inside_fails:0: on purpose\n");
    expect_output(out, "seed 5 torture 1 dir ");
    expect_output(out, ": 1 passed, 1 failed, 1 skipped\n");
}
END_TEST

START_TEST(test_selection)
{
    char out[8192];
    ck_assert_int_eq(run_self("$SELF --has test_inside_skips", out, sizeof out), 0);
    ck_assert_int_eq(run_self("$SELF --has runner", out, sizeof out), 0);
    ck_assert_int_eq(run_self("$SELF --has nothing_like_it", out, sizeof out), 1);
    ck_assert_int_eq(run_self("$SELF nothing_like_it", out, sizeof out), 1);
    expect_output(out, "no such suite, case or test: nothing_like_it\n");
    ck_assert_int_eq(
        run_self("$SELF --list | grep -x 'runner inside test_inside_skips'", out, sizeof out), 0);
    ck_assert_int_eq(run_self("$SELF test_inside_loop", out, sizeof out), 1);
    expect_output(out, "the third of the loop\n");
    expect_output(out, ": 2 passed, 1 failed, 0 skipped\n");
    ck_assert_int_eq(
        run_self("TEST_JOBS=3 $SELF test_seed_is_set test_inside_skips", out, sizeof out), 0);
    expect_output(out, ": 1 passed, 0 failed, 1 skipped\n");
}
END_TEST

/* ---- children of tests ---- */

static void *kill_soon(void *arg)
{
    usleep(*(useconds_t *)arg);
    kill(getpid(), SIGKILL);
    return NULL;
}

static void assert_until_killed(void *arg)
{
    pthread_t thread;
    must(pthread_create(&thread, NULL, kill_soon, arg) == 0);
    for (unsigned k = 0;; k++) {
        ck_assert_uint_ge(k + 1, 1);
    }
}

/* In the middle of an assertion sooner or later. */
START_TEST(test_inside_kills)
{
    for (useconds_t i = 0; inside() && i < 1000; i++) {
        useconds_t pause = i % 1000;
        ck_assert_int_eq(in_child(assert_until_killed, &pause), -SIGKILL);
    }
}
END_TEST

static void fail_on_purpose(void *arg)
{
    (void)arg;
    ck_assert_msg(!inside(), "said by the child");
}

START_TEST(test_inside_child_fails)
{
    ck_assert_int_eq(in_child(fail_on_purpose, NULL), inside() ? 1 : 0);
}
END_TEST

START_TEST(test_children)
{
    char out[8192];
    ck_assert_int_eq(run_self("$SELF test_inside_kills", out, sizeof out), 0);
    expect_output(out, ": 1 passed, 0 failed, 0 skipped\n");
    ck_assert_int_eq(run_self("$SELF test_inside_child_fails", out, sizeof out), 0);
    expect_output(out, "a child of the test: ");
    expect_output(out, "said by the child");
    expect_output(out, ": 1 passed, 0 failed, 0 skipped\n");
}
END_TEST

/* The first test, and the fixture of the second, have a limit of one second. */
START_TEST(test_limits)
{
    char out[65536];
    const char *line = "CK_TIMEOUT_MULTIPLIER=1 TEST_JOBS=1 RUNNER_FIXTURE=1 $SELF "
                       "test_inside_hangs test_inside_behind_fixture test_inside_shows_environment";
    ck_assert_int_eq(run_self(line, out, sizeof out), 1);
    expect_output(out, "inside hang: a test has not ended after 1 s\n");
    expect_output(out, "test_inside_hangs:0: (after this point) Received signal 9 (Killed)\n");
    expect_output(out, "inside fixture: a fixture has not ended after 1 s\n");
    expect_output(out, "FAILED runner: inside fixture, the rest of it: its worker has ended");
    expect_output(out, ": 1 passed, 2 failed, 0 skipped\n");
    if (system("command -v gdb >/dev/null") == 0 && getuid() == 0) {
        expect_output(out, "in test_inside_hangs_fn");
        expect_output(out, "in hang_in_fixture");
    }
}
END_TEST

UNIT_SUITE(runner)
{
    unit_case(suite, "runner", test_tmpdirs_are_fresh, test_seed_is_set);
    unit_case(suite, "inside", test_inside_skips, test_inside_fails, test_inside_shows_environment);
    unit_case_loop(suite, "inside loop", 60, test_inside_loop, 3);
    unit_case(suite, "inside child", test_inside_kills, test_inside_child_fails);
    unit_case_slow(suite, "inside hang", 1, test_inside_hangs);
    TCase *tc = unit_case_slow(suite, "inside fixture", 1, test_inside_behind_fixture);
    tcase_add_unchecked_fixture(tc, hang_in_fixture, NULL);
    unit_case_slow(suite, "counts", 120, test_counts, test_selection, test_limits, test_children);
}
