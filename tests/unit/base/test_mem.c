/* test_mem.c -- Allocation: sizes, failure, and the count of bytes in use across threads.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/rng.h"
#include "child.h"
#include <pthread.h>
#include <stdlib.h>

#define MIB ((size_t)1 << 20)

static bool all_are(const unsigned char *p, size_t n, unsigned char c)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != c) {
            return false;
        }
    }
    return true;
}

START_TEST(test_alloc_and_free)
{
    const size_t sizes[] = { 0, 1, 7, 8, 9, 4096, 65537, 3 * MIB };
    for (unsigned i = 0; i < countof(sizes); i++) {
        unsigned char *p = mem_alloc(sizes[i]);
        memset(p, 0xab, sizes[i]);
        ck_assert_uint_ge(mem_usable(p), sizes[i]);
        mem_free(p);
        p = mem_calloc(sizes[i]);
        ck_assert(all_are(p, sizes[i], 0));
        mem_free(p);
        p = mem_try_alloc(sizes[i]);
        ck_assert_ptr_nonnull(p);
        memset(p, 0xab, sizes[i]);
        mem_free(p);
        p = mem_try_calloc(sizes[i]);
        ck_assert_ptr_nonnull(p);
        ck_assert(all_are(p, sizes[i], 0));
        mem_free(p);
        ck_assert_uint_ge(mem_good_size(sizes[i]), sizes[i]);
    }
    mem_free(NULL);
    ck_assert_uint_eq(mem_usable(NULL), 0);
}
END_TEST

START_TEST(test_good_size_is_what_is_given)
{
    for (size_t n = 1; n < 100000; n = n * 9 / 8 + 1) {
        void *p = mem_alloc(n);
        ck_assert_uint_eq(mem_good_size(n), mem_usable(p));
        mem_free(p);
    }
    ck_assert_uint_eq(mem_good_size(SIZE_MAX), SIZE_MAX);
}
END_TEST

START_TEST(test_realloc_keeps_content)
{
    unsigned char *p = mem_realloc(NULL, 10);
    memset(p, 1, 10);
    p = mem_realloc(p, 100000);
    ck_assert(all_are(p, 10, 1));
    memset(p, 2, 100000);
    p = mem_realloc(p, 5);
    ck_assert(all_are(p, 5, 2));
    p = mem_realloc(p, 0);
    ck_assert_ptr_nonnull(p);
    p = mem_try_realloc(p, 1000);
    ck_assert_ptr_nonnull(p);
    memset(p, 3, 1000);
    mem_free(p);
}
END_TEST

START_TEST(test_aligned)
{
    for (size_t align = sizeof(void *); align <= 65536; align *= 2) {
        void *p = mem_aligned(align, align + 1);
        ck_assert_uint_eq((uintptr_t)p % align, 0);
        memset(p, 1, align + 1);
        mem_free(p);
    }
    mem_free(mem_aligned(64, 0));
}
END_TEST

START_TEST(test_map)
{
    size_t before = mem_used();
    unsigned char *p = mem_map(MIB);
    ck_assert_uint_eq((uintptr_t)p % 4096, 0);
    for (size_t i = 0; i < MIB; i += 512) {
        ck_assert_uint_eq(p[i], 0);
    }
    ck_assert_uint_lt(mem_used(), before + MIB / 2);
    memset(p, 1, MIB);
    mem_unmap(p, MIB);
    mem_unmap(NULL, MIB);
}
END_TEST

START_TEST(test_dup)
{
    char *p = mem_dup("a\0b", 3);
    ck_assert(memcmp(p, "a\0b", 4) == 0);
    mem_free(p);
    p = mem_dup(NULL, 0);
    ck_assert_str_eq(p, "");
    mem_free(p);
    p = mem_strdup("text");
    ck_assert_str_eq(p, "text");
    mem_free(p);
}
END_TEST

/* Sizes nobody has; volatile, because the compiler knows too. */
static volatile size_t too_much = SIZE_MAX / 4;

START_TEST(test_try_fails_on_absurd_sizes)
{
    ck_assert_ptr_null(mem_try_alloc(too_much));
    ck_assert_ptr_null(mem_try_alloc(too_much * 4));
    ck_assert_ptr_null(mem_try_calloc(too_much));
    char *p = mem_strdup("still here");
    ck_assert_ptr_null(mem_try_realloc(p, too_much));
    ck_assert_str_eq(p, "still here");
    mem_free(p);
}
END_TEST

START_TEST(test_try_fails_on_demand)
{
#ifdef KV_FAULTS
    ck_assert_int_eq(fault_arm("mem.alloc=nomem:1:3"), 0);
    char *p = mem_try_alloc(8);
    ck_assert_ptr_nonnull(p);
    strcpy(p, "old");
    ck_assert_ptr_null(mem_try_realloc(p, 100));
    ck_assert_ptr_null(mem_try_alloc(1));
    ck_assert_ptr_null(mem_try_calloc(1));
    ck_assert_str_eq(p, "old");
    p = mem_try_realloc(p, 100);
    ck_assert_ptr_nonnull(p);
    ck_assert_str_eq(p, "old");
    /* What the code chooses does not fail on demand. */
    ck_assert_int_eq(fault_arm("mem.alloc=nomem:0:0"), 0);
    mem_free(mem_alloc(1));
    mem_free(mem_calloc(1));
    p = mem_realloc(p, 200);
    mem_free(p);
#endif
}
END_TEST

static void alloc_too_much(void)
{
    mem_free(mem_alloc(too_much));
}

static void calloc_too_much(void)
{
    mem_free(mem_calloc(too_much));
}

static void realloc_too_much(void)
{
    mem_free(mem_realloc(NULL, too_much));
}

static void align_too_much(void)
{
    mem_free(mem_aligned(64, too_much));
}

START_TEST(test_no_memory_exits)
{
    child_must_exit(alloc_too_much, EXIT_NOMEM);
    child_must_exit(calloc_too_much, EXIT_NOMEM);
    child_must_exit(realloc_too_much, EXIT_NOMEM);
    child_must_exit(align_too_much, EXIT_NOMEM);
    static char text[CHILD_TEXT_MAX];
    child_run(alloc_too_much, text);
    ck_assert_ptr_nonnull(strstr(text, "out of memory"));
}
END_TEST

START_TEST(test_used_follows_allocations)
{
    size_t before = mem_used();
    void *p = mem_alloc(5 * MIB);
    ck_assert_uint_ge(mem_used(), before + 5 * MIB);
    ck_assert_uint_le(mem_used(), before + 7 * MIB);
    p = mem_realloc(p, 9 * MIB);
    ck_assert_uint_ge(mem_used(), before + 9 * MIB);
    p = mem_realloc(p, 1 * MIB);
    ck_assert_uint_le(mem_used(), before + 3 * MIB);
    mem_free(p);
    ck_assert_uint_le(mem_used(), before + MIB / 2);
    p = mem_aligned(4096, MIB);
    ck_assert_uint_ge(mem_used(), before + MIB);
    mem_free(p);
    p = mem_calloc(MIB);
    ck_assert_uint_ge(mem_used(), before + MIB);
    mem_free(p);
}
END_TEST

static void *given;
static pthread_barrier_t meet;

static void *allocate_and_leave(void *arg)
{
    mem_thread_start();
    given = mem_alloc(8 * MIB);
    pthread_barrier_wait(&meet);
    pthread_barrier_wait(&meet);
    mem_thread_stop();
    return arg;
}

START_TEST(test_used_across_threads)
{
    pthread_t thread;
    pthread_barrier_init(&meet, NULL, 2);
    size_t before = mem_used();
    ck_assert_int_eq(pthread_create(&thread, NULL, allocate_and_leave, NULL), 0);
    pthread_barrier_wait(&meet);
    ck_assert_uint_ge(mem_used(), before + 8 * MIB);
    pthread_barrier_wait(&meet);
    pthread_join(thread, NULL);
    /* What the thread left behind still counts, and freeing it here takes it off again. */
    ck_assert_uint_ge(mem_used(), before + 8 * MIB);
    ck_assert_uint_le(mem_used(), before + 9 * MIB);
    mem_free(given);
    ck_assert_uint_le(mem_used(), before + MIB / 2);
}
END_TEST

#define SWAPPERS 4
#define SLOTS    64
static _Atomic(void *) slots[SLOTS];

/* Threads hand blocks to one another; some register again and again. */
static void *swap_blocks(void *arg)
{
    for (int round = 0; round < 20; round++) {
        mem_thread_start();
        for (int i = 0; i < 500; i++) {
            void *fresh = mem_alloc(1 + rng_below(4096));
            mem_free(
                __atomic_exchange_n((void **)&slots[rng_below(SLOTS)], fresh, __ATOMIC_ACQ_REL));
        }
        mem_used();
        mem_thread_stop();
    }
    return arg;
}

START_TEST(test_used_when_blocks_change_hands)
{
    pthread_t thread[SWAPPERS];
    size_t before = mem_used();
    for (int i = 0; i < SWAPPERS; i++) {
        ck_assert_int_eq(pthread_create(&thread[i], NULL, swap_blocks, NULL), 0);
    }
    for (int i = 0; i < SWAPPERS; i++) {
        pthread_join(thread[i], NULL);
    }
    size_t held = 0;
    for (int i = 0; i < SLOTS; i++) {
        held += mem_usable(slots[i]);
    }
    ck_assert_uint_ge(mem_used() + 65536, before + held);
    ck_assert_uint_le(mem_used(), before + held + 65536);
    for (int i = 0; i < SLOTS; i++) {
        mem_free(slots[i]);
    }
    ck_assert_uint_le(mem_used(), before + 65536);
}
END_TEST

START_TEST(test_start_and_stop_repeat)
{
    size_t before = mem_used();
    mem_thread_stop();
    mem_thread_stop();
    mem_thread_start();
    mem_thread_start();
    ck_assert_uint_le(mem_used(), before + 65536);
    ck_assert_uint_ge(mem_used() + 65536, before);
}
END_TEST

START_TEST(test_machine_numbers)
{
    size_t rss = mem_rss();
    char *p = mem_alloc(32 * MIB);
    memset(p, 1, 32 * MIB);
    ck_assert_uint_ge(mem_rss(), rss + 24 * MIB);
    mem_free(p);
    ck_assert_uint_gt(mem_total(), rss);
}
END_TEST

static void count_text(void *arg, const char *text)
{
    *(size_t *)arg += strlen(text);
}

START_TEST(test_allocator_numbers)
{
    size_t length = 0;
    mem_report(count_text, &length);
    ck_assert_uint_gt(length, 20);
    char *p = mem_alloc(16 * MIB);
    memset(p, 1, 16 * MIB);
    struct mem_stats stats;
    mem_stats(&stats);
    ck_assert_uint_ge(stats.allocated, 16 * MIB);
#ifdef KV_SANITIZE
    ck_assert_str_eq(mem_library(), "libc");
#else
    ck_assert_int_eq(strncmp(mem_library(), "jemalloc-5.", 11), 0);
    ck_assert_uint_gt(length, 1000);
    ck_assert_uint_ge(stats.active, stats.allocated);
    ck_assert_uint_ge(stats.resident, 16 * MIB);
#endif
    mem_free(p);
    mem_purge();
    mem_stats(&stats);
    ck_assert_uint_lt(stats.allocated, 16 * MIB);
}
END_TEST

#ifndef KV_SANITIZE
START_TEST(test_purge_gives_pages_back)
{
    enum { BLOCKS = 256 };
    char *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = mem_alloc(MIB / 4);
        memset(blocks[i], 1, MIB / 4);
    }
    for (int i = 0; i < BLOCKS; i++) {
        mem_free(blocks[i]);
    }
    mem_purge();
    struct mem_stats stats;
    mem_stats(&stats);
    ck_assert_uint_lt(stats.resident, 48 * MIB);
}
END_TEST
#endif

UNIT_SUITE(mem)
{
    unit_case(suite, "blocks", test_alloc_and_free, test_good_size_is_what_is_given,
              test_realloc_keeps_content, test_aligned, test_map, test_dup);
    unit_case(suite, "failure", test_try_fails_on_absurd_sizes, test_try_fails_on_demand,
              test_no_memory_exits);
    unit_case(suite, "count", test_used_follows_allocations, test_used_across_threads,
              test_used_when_blocks_change_hands, test_start_and_stop_repeat);
    unit_case(suite, "machine", test_machine_numbers, test_allocator_numbers);
#ifndef KV_SANITIZE
    unit_case(suite, "purge", test_purge_gives_pages_back);
#endif
}
