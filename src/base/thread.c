/* thread.c -- Starting a thread.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/thread.h"
#include "base/fault.h"
#include <errno.h>
#include <signal.h>
#include <string.h>

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

int thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg)
{
    must(strlen(name) <= THREAD_NAME_MAX);
    if (fault("base.thread_start") != 0) {
        return -EAGAIN;
    }
    sigset_t before;
    block_all(&before);
    int err = pthread_create(thread, NULL, run, arg);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (err == 0) {
        pthread_setname_np(*thread, name);
    }
    return -err;
}
