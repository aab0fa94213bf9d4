/* cover_exit.c -- _exit() of the variant cover: what a process has run counts, however it ends.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY: gcc's counts are written by exit(). A log that fails ends the process by _exit(), so that
 * the ways to it would count as never taken although tests take each of them. The first thread that
 * ends the process writes; another would write to the same files, or cut it off: it waits. */
#include <pthread.h>

void __gcov_dump(void);
_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);

void __wrap__exit(int status)
{
    static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&first);
    __gcov_dump();
    __real__exit(status);
}
