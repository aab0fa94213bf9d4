/* test_thread.c -- Unit tests of starting a thread.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/fault.h"
#include "base/thread.h"
#include "unit.h"
#include "unit/base/child.h"
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

struct seen {
    sigset_t mask;
};

static void *look(void *arg)
{
    struct seen *seen = arg;
    pthread_sigmask(SIG_SETMASK, NULL, &seen->mask);
    return seen;
}

static bool of_a_crash(int sig)
{
    return sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL || sig == SIGABRT;
}

static void masks_equal(const sigset_t *a, const sigset_t *b)
{
    for (int sig = 1; sig <= 31; sig++) {
        ck_assert_msg(sigismember(a, sig) == sigismember(b, sig), "signal %d", sig);
    }
}

START_TEST(test_mask_of_thread)
{
    struct seen seen;
    pthread_t thread;
    void *result;
    ck_assert_int_eq(thread_start(&thread, "looks", look, &seen), 0);
    ck_assert_int_eq(pthread_join(thread, &result), 0);
    ck_assert_ptr_eq(result, &seen);
    for (int sig = 1; sig <= 31; sig++) {
        bool open = of_a_crash(sig) || sig == SIGKILL || sig == SIGSTOP;
        ck_assert_msg(sigismember(&seen.mask, sig) == !open, "signal %d", sig);
    }
}
END_TEST

START_TEST(test_mask_of_caller)
{
    sigset_t own, before, after;
    struct seen seen;
    pthread_t thread;
    sigemptyset(&own);
    sigaddset(&own, SIGUSR1);
    sigaddset(&own, SIGSEGV);
    pthread_sigmask(SIG_SETMASK, &own, &before);
    ck_assert_int_eq(thread_start(&thread, "looks", look, &seen), 0);
    pthread_sigmask(SIG_SETMASK, &before, &after);
    pthread_join(thread, NULL);
    masks_equal(&own, &after);
    ck_assert(!sigismember(&seen.mask, SIGSEGV)); /* whatever the caller blocks */
}
END_TEST

static void *wait_for(void *word)
{
    while (!atomic_load((atomic_bool *)word)) {
        usleep(100);
    }
    return NULL;
}

START_TEST(test_name)
{
    static const char longest[] = "fifteen-letters";
    atomic_bool go = false;
    char name[16];
    pthread_t thread;
    ck_assert_uint_eq(strlen(longest), THREAD_NAME_MAX);
    ck_assert_int_eq(thread_start(&thread, longest, wait_for, &go), 0);
    int err = pthread_getname_np(thread, name, sizeof name);
    atomic_store(&go, true);
    pthread_join(thread, NULL);
    ck_assert_int_eq(err, 0);
    ck_assert_str_eq(name, longest);
}
END_TEST

static void name_of_16(void)
{
    pthread_t thread;
    must(thread_start(&thread, "sixteen-letters!", look, NULL) == 0);
}

START_TEST(test_name_too_long)
{
    child_must_abort(name_of_16, "THREAD_NAME_MAX");
}
END_TEST

#define REPORTED 42

static void report(int sig)
{
    (void)sig;
    _exit(REPORTED);
}

static void *touch(void *arg)
{
    pthread_kill(pthread_self(), SIGUSR1); /* is blocked: nothing happens */
    *(volatile int *)arg = 1;
    return NULL;
}

static void crash_on_thread(void)
{
    pthread_t thread;
    void *forbidden = mmap(NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(forbidden != MAP_FAILED); /* NULL would be reported by UBSan, which ends the process */
    signal(SIGSEGV, report);
    must(thread_start(&thread, "crashes", touch, forbidden) == 0);
    pthread_join(thread, NULL);
}

START_TEST(test_crash_is_reported)
{
    child_must_exit(crash_on_thread, REPORTED);
}
END_TEST

/* Uses up the stack of its thread: the compiler is not to make a loop of it. */
static unsigned deeper(unsigned n, const volatile char *above)
{
    volatile char here[4096];
    here[n % sizeof here] = above != NULL ? above[n % sizeof here] : 1;
    return n == UINT32_MAX ? 0 : deeper(n + 1, here) + (unsigned)here[0];
}

static void *use_up(void *arg)
{
    return deeper(0, NULL) == 0 ? arg : NULL;
}

static void use_up_on_thread(void)
{
    pthread_t thread;
    struct sigaction sa = { .sa_handler = report, .sa_flags = SA_ONSTACK };
    must(sigaction(SIGSEGV, &sa, NULL) == 0);
    must(thread_start(&thread, "crashes", use_up, NULL) == 0);
    pthread_join(thread, NULL);
}

START_TEST(test_used_up_stack_is_reported)
{
    child_must_exit(use_up_on_thread, REPORTED);
}
END_TEST

START_TEST(test_failure)
{
#ifdef KV_FAULTS
    struct seen seen;
    pthread_t thread;
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    ck_assert_int_eq(fault_arm("base.thread_start=nomem"), 0);
    ck_assert_int_eq(thread_start(&thread, "looks", look, &seen), -EAGAIN);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    masks_equal(&before, &after);
    ck_assert_int_eq(thread_start(&thread, "looks", look, &seen), 0);
    pthread_join(thread, NULL);
#endif
}
END_TEST

UNIT_SUITE(thread)
{
    unit_case(suite, "thread", test_mask_of_thread, test_mask_of_caller, test_name,
              test_name_too_long, test_crash_is_reported, test_used_up_stack_is_reported,
              test_failure);
}
