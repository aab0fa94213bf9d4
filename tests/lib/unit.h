/* unit.h -- How a unit test file registers its suite, and the seed every random test uses and
 * prints. SPDX-License-Identifier: BSD-3-Clause
 *
 *     UNIT_SUITE(bytes)              in tests/unit/base/test_bytes.c
 *     {
 *         unit_case(suite, "parse", test_parse_i64, test_parse_f64);
 *     }
 * Each START_TEST runs in its own process (Check's fork mode). Run alone: build/test/unit-tests
 * bytes [SEED=n in the environment]. */
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

#define UNIT_NARGS_(_1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16, N, ...) N
#define UNIT_NARGS(...) \
    UNIT_NARGS_(__VA_ARGS__, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1)
void unit_case_add(Suite *suite, const char *name, const TTest *const *tests, unsigned count,
                   double timeout_s);
#define unit_case(suite, name, ...) \
    unit_case_add(suite, name, (const TTest *const[]){ __VA_ARGS__ }, UNIT_NARGS(__VA_ARGS__), 60)
#define unit_case_slow(suite, name, seconds, ...)                                              \
    unit_case_add(suite, name, (const TTest *const[]){ __VA_ARGS__ }, UNIT_NARGS(__VA_ARGS__), \
                  seconds)

/* Seed of this run (environment SEED, else from the clock; printed once by the runner). */
uint64_t unit_seed(void);
/* A fresh empty directory below $TMPDIR, removed when the runner ends. The string stays valid. */
const char *unit_tmpdir(void);
#endif
