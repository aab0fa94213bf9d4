/* thread.c -- Starting a thread.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/thread.h"
#include "base/fault.h"
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#define CRASH_STACK ((size_t)64 << 10) /* unwinding a stack and printing it takes about 10 KiB */

static void block_all(sigset_t *before)
{
    static const int of_a_crash[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
    sigset_t all;
    sigfillset(&all);
    for (size_t i = 0; i < countof(of_a_crash); i++) {
        sigdelset(&all, of_a_crash[i]);
    }
    must(pthread_sigmask(SIG_SETMASK, &all, before) == 0);
}

void *thread_crash_stack(void)
{
    stack_t own = { .ss_size = CRASH_STACK }, now;
    must(sigaltstack(NULL, &now) == 0);
    if ((now.ss_flags & SS_DISABLE) == 0) {
        return NULL; /* a sanitizer's */
    }
    own.ss_sp = mmap(NULL, CRASH_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (own.ss_sp == MAP_FAILED) {
        return NULL;
    }
    must(sigaltstack(&own, NULL) == 0);
    return own.ss_sp;
}

static void crash_stack_free(void *stack)
{
    if (stack != NULL) {
        stack_t none = { .ss_flags = SS_DISABLE };
        must(sigaltstack(&none, NULL) == 0);
        munmap(stack, CRASH_STACK);
    }
}

/* What a new thread is to run, until it has read it. Not from the heap: what is allocated must not
 * depend on when the new thread gets to free it. */
struct start {
    _Atomic bool taken;
    void *(*run)(void *arg);
    void *arg;
};
static struct start starts[16];

static struct start *start_take(void)
{
    for (unsigned i = 0;; i = (i + 1) % countof(starts)) {
        bool taken = false;
        if (atomic_compare_exchange_strong(&starts[i].taken, &taken, true)) {
            return &starts[i];
        }
        if (i + 1 == countof(starts)) {
            sched_yield(); /* 16 threads are about to read theirs */
        }
    }
}

static void *begin(void *of_start)
{
    struct start *s = of_start;
    void *(*run)(void *) = s->run;
    void *arg = s->arg;
    atomic_store(&s->taken, false);
    void *stack = thread_crash_stack();
    void *result = run(arg);
    crash_stack_free(stack);
    return result;
}

int thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg)
{
    must(strlen(name) <= THREAD_NAME_MAX);
    if (fault("base.thread_start") != 0) {
        return -EAGAIN;
    }
    struct start *s = start_take();
    s->run = run;
    s->arg = arg;
    sigset_t before;
    block_all(&before);
    int err = pthread_create(thread, NULL, begin, s);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (err == 0) {
        pthread_setname_np(*thread, name);
    } else {
        atomic_store(&s->taken, false);
    }
    return -err;
}
