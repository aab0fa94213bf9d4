/* clock.h -- Time. The only place that asks the machine for it.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Any thread. clock_wall_shift_ms() moves the wall clock for tests (DEBUG and unit tests); the
 * shift is absolute: 0 takes it back. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/base.h"

int64_t clock_wall_ms(void); /* unix time, milliseconds */
int64_t clock_wall_us(void);
int64_t clock_mono_us(void); /* never steps back; for durations and timers */
int64_t clock_mono_ms(void);
uint64_t clock_ticks(void); /* cheapest counter (TSC); clock_ticks_to_ns() converts differences */
uint64_t clock_ticks_to_ns(uint64_t ticks);
void clock_init(void); /* calibrates ticks (3 ms); once, before threads and before clock_ticks() */
void clock_wall_shift_ms(int64_t shift);
#endif
