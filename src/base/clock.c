/* clock.c -- Wall clock, monotonic clock, tick counter.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY  clock_ticks() brackets each command: the time stamp counter costs a third of a vDSO call. It
 * is used only when the CPU says that it runs at one rate in all states and clock_init() has
 * measured that rate; until then, and elsewhere, a tick is a nanosecond of the monotonic clock. */
#include "base/clock.h"
#include <stdatomic.h>
#include <time.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

#define CALIBRATE_NS 3000000 /* both ends are read to some 30 ns: 20 parts per million */

static _Atomic int64_t wall_shift_us;
static struct {
    bool use_tsc;
    uint64_t ns_per_tick_32; /* nanoseconds per tick, 32 fractional bits */
} ticks;

static int64_t read_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t clock_wall_us(void)
{
    return read_ns(CLOCK_REALTIME) / 1000 +
           atomic_load_explicit(&wall_shift_us, memory_order_relaxed);
}

int64_t clock_wall_ms(void)
{
    return clock_wall_us() / 1000;
}

int64_t clock_mono_us(void)
{
    return read_ns(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_mono_ms(void)
{
    return read_ns(CLOCK_MONOTONIC) / 1000000;
}

void clock_wall_shift_ms(int64_t shift)
{
    atomic_store(&wall_shift_us, shift * 1000);
}

#if defined(__x86_64__)
static bool tsc_is_invariant(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d >> 8 & 1) != 0;
}

/* A counter value and the clock at the same moment: of a few tries the one that was interrupted
 * least. */
static uint64_t tsc_and_ns(int64_t *ns)
{
    uint64_t best_tsc = 0, best_gap = UINT64_MAX;
    for (int i = 0; i < 8; i++) {
        uint64_t before = __rdtsc();
        int64_t now = read_ns(CLOCK_MONOTONIC);
        uint64_t gap = __rdtsc() - before;
        if (gap < best_gap) {
            best_gap = gap;
            best_tsc = before + gap / 2;
            *ns = now;
        }
    }
    return best_tsc;
}

void clock_init(void)
{
    if (!tsc_is_invariant()) {
        return;
    }
    int64_t ns_from = 0, ns_to = 0;
    uint64_t tsc_from = tsc_and_ns(&ns_from);
    nanosleep(&(struct timespec){ 0, CALIBRATE_NS }, NULL);
    uint64_t tsc_to = tsc_and_ns(&ns_to);
    if (tsc_to > tsc_from && ns_to > ns_from) {
        ticks.ns_per_tick_32 =
            (uint64_t)(((unsigned __int128)(ns_to - ns_from) << 32) / (tsc_to - tsc_from));
        ticks.use_tsc = ticks.ns_per_tick_32 != 0;
    }
}
#else
void clock_init(void)
{
}
#endif

uint64_t clock_ticks(void)
{
#if defined(__x86_64__)
    if (likely(ticks.use_tsc)) {
        return __rdtsc();
    }
#endif
    return (uint64_t)read_ns(CLOCK_MONOTONIC);
}

uint64_t clock_ticks_to_ns(uint64_t n)
{
    if (!ticks.use_tsc) {
        return n;
    }
    return (uint64_t)((unsigned __int128)n * ticks.ns_per_tick_32 >> 32);
}
