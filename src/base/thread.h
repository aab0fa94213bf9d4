/* thread.h -- Starting a thread: its name, its stack for a crash, and no signals of the process.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 * A signal of the process goes to any thread that does not block it. Only "signals" (server) waits
 * for them; a handler or an interrupted call elsewhere would surprise. The five signals of the
 * crash report stay open, for what a thread does itself (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT):
 * the kernel kills a process that raises a blocked one, and no handler sees it. A thread that has
 * used up its stack has none for the handler: each gets a second one for that.
 *
 * THREADS
 * Any. The mask of the caller is as before when the call returns. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include "base/base.h"
#include <pthread.h>

#define THREAD_NAME_MAX 15 /* bytes; what ps and a debugger show */

/* run(arg) on a thread of its own, all signals but those five blocked from its first instruction.
 * 0: *thread is valid, to be joined or detached by the caller. Else a negative errno (EAGAIN: a
 * limit of the system or no memory), and *thread is not to be used. A longer name is a bug. */
must_check int thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg);

/* A second stack for handlers with SA_ONSTACK, for a thread that thread_start() did not start;
 * stays as long as the thread. NULL: it has one, or there is no memory, and a report of a stack
 * that is used up will be missing. The result is for thread_start() itself. */
void *thread_crash_stack(void);
#endif
