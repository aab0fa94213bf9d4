/* test_clock.c -- Wall clock, monotonic clock, ticks. Nothing here depends on how fast the machine
 * is. SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/clock.h"
#include <time.h>

static int64_t libc_us(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Between two readings of libc's clock. */
START_TEST(test_clocks_agree_with_libc)
{
    int64_t low = libc_us(CLOCK_REALTIME), us = clock_wall_us(), ms = clock_wall_ms();
    int64_t high = libc_us(CLOCK_REALTIME);
    ck_assert(low <= us && us <= high);
    ck_assert(low / 1000 <= ms && ms <= high / 1000);
    low = libc_us(CLOCK_MONOTONIC), us = clock_mono_us(), ms = clock_mono_ms();
    high = libc_us(CLOCK_MONOTONIC);
    ck_assert(low <= us && us <= high);
    ck_assert(low / 1000 <= ms && ms <= high / 1000);
}
END_TEST

START_TEST(test_shift_moves_the_wall_only)
{
    const int64_t hour = 3600 * 1000;
    int64_t mono = libc_us(CLOCK_MONOTONIC), low = libc_us(CLOCK_REALTIME);
    clock_wall_shift_ms(hour);
    int64_t ahead_us = clock_wall_us(), ahead_ms = clock_wall_ms();
    clock_wall_shift_ms(-hour);
    int64_t behind = clock_wall_us();
    clock_wall_shift_ms(0);
    int64_t back = clock_wall_us(), high = libc_us(CLOCK_REALTIME);
    ck_assert(low + hour * 1000 <= ahead_us && ahead_us <= high + hour * 1000);
    ck_assert(low / 1000 + hour <= ahead_ms && ahead_ms <= high / 1000 + hour);
    ck_assert(low - hour * 1000 <= behind && behind <= high - hour * 1000);
    ck_assert(low <= back && back <= high);
    ck_assert(mono <= clock_mono_us() && clock_mono_us() <= libc_us(CLOCK_MONOTONIC));
}
END_TEST

/* The ticks of an interval lie between the libc times just inside and just outside of it, with 1 %
 * and the reading error for the calibration. */
static void ticks_must_agree(void)
{
    int64_t outer_from = libc_us(CLOCK_MONOTONIC);
    uint64_t from = clock_ticks();
    int64_t inner_from = libc_us(CLOCK_MONOTONIC);
    nanosleep(&(struct timespec){ 0, 30000000 }, NULL);
    int64_t inner_to = libc_us(CLOCK_MONOTONIC);
    uint64_t to = clock_ticks();
    int64_t outer_to = libc_us(CLOCK_MONOTONIC);
    ck_assert_uint_gt(to, from);
    int64_t us = (int64_t)(clock_ticks_to_ns(to - from) / 1000);
    int64_t low = inner_to - inner_from, high = outer_to - outer_from;
    ck_assert_msg(us >= low - low / 100 - 2 && us <= high + high / 100 + 2,
                  "%lld us of ticks, not in %lld..%lld", (long long)us, (long long)low,
                  (long long)high);
}

START_TEST(test_ticks)
{
    ticks_must_agree();
    clock_init();
    ticks_must_agree();
    ck_assert_uint_eq(clock_ticks_to_ns(0), 0);
    /* A day and ten years keep their proportion: no overflow on the way. */
    uint64_t second = 1;
    while (clock_ticks_to_ns(second) < 1000000000) {
        second *= 2;
    }
    uint64_t ns = clock_ticks_to_ns(second), years = clock_ticks_to_ns(second * 300000000);
    ck_assert(years / 300000000 >= ns - 1 && years / 300000000 <= ns + 1);
}
END_TEST

UNIT_SUITE(clock)
{
    unit_case(suite, "clock", test_clocks_agree_with_libc, test_shift_moves_the_wall_only,
              test_ticks);
}
