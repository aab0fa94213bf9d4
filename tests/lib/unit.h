/* unit.h -- How a test file registers its suite, and the seed and directories its tests use.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 *     UNIT_SUITE(bytes)              in tests/unit/base/test_bytes.c
 *     {
 *         unit_case(suite, "parse", test_parse_i64, test_parse_f64);
 *     }
 * Each START_TEST runs in its own process (Check's fork mode), which is killed with all its
 * children when the test ends. Run some alone: `build/test/unit-tests bytes test_parse_i64`
 * (suites, cases or tests; SEED=n in the environment). tests/README.md tells the rest. */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <check.h>
#include <stdint.h>

struct unit_suite {
    const char *name;
    void (*fill)(Suite *suite);
    struct unit_suite *next;
};
void unit_register(struct unit_suite *s);

#define UNIT_SUITE(suite_name)                                                              \
    static void suite_name##_fill(Suite *suite);                                            \
    static struct unit_suite suite_name##_entry = { #suite_name, suite_name##_fill, NULL }; \
    __attribute__((constructor)) static void suite_name##_register(void)                    \
    {                                                                                       \
        unit_register(&suite_name##_entry);                                                 \
    }                                                                                       \
    static void suite_name##_fill(Suite *suite)

/* Adds a case of up to 32 tests with a time limit of 60 s each, or of `seconds` (sanitizer runs
 * multiply it). The case is returned for tcase_add_unchecked_fixture(), which runs once per case,
 * in the runner: the place to start a server that all its tests share. */
#define unit_case(suite, name, ...) \
    unit_case_add(suite, name, (const TTest *const[]){ __VA_ARGS__ }, UNIT_NARGS(__VA_ARGS__), 60)
#define unit_case_slow(suite, name, seconds, ...)                                              \
    unit_case_add(suite, name, (const TTest *const[]){ __VA_ARGS__ }, UNIT_NARGS(__VA_ARGS__), \
                  seconds)
TCase *unit_case_add(Suite *suite, const char *name, const TTest *const *tests, unsigned count,
                     double timeout_s);
/* Adds a case of one loop test (START_TEST with _i), for _i = 0 .. count - 1. */
TCase *unit_case_loop(Suite *suite, const char *name, double timeout_s, const TTest *test,
                      int count);

#define UNIT_NARGS_(_1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16, _17,   \
                    _18, _19, _20, _21, _22, _23, _24, _25, _26, _27, _28, _29, _30, _31, _32, N, \
                    ...)                                                                          \
    N
#define UNIT_NARGS(...)                                                                          \
    UNIT_NARGS_(__VA_ARGS__, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, \
                15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1)

/* Seed of this run (environment SEED, else from the clock; printed once by the runner). */
uint64_t unit_seed(void);
/* A fresh empty directory below $TMPDIR, removed when the runner ends (kept when KEEP is set). The
 * string stays valid. */
const char *unit_tmpdir(void);
/* Ends the running test as skipped: counted apart, with the reason in the output. For what the
 * machine lacks, never for what fails. */
_Noreturn void unit_skip(const char *reason);
/* A time limit of a test's own, longer where everything is slower (CK_TIMEOUT_MULTIPLIER). */
int unit_patient_ms(int ms);
/* Runs body(arg) in a process of its own; its exit status, or -signal. Its assertions do not go to
 * the file through which the test tells the runner: killed in the middle of one, it would leave
 * half a message there, and the runner would end. One that fails is exit status 1, and is printed.
 */
int in_child(void (*body)(void *arg), void *arg);
/* True in the long version of the suites (make torture). */
int unit_torture(void);
#endif
