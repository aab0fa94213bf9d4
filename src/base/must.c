/* must.c -- A broken invariant: say where, show the stack, let the server add its report, abort.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * FAILURE
 * A second failure while the first is reported (in the hook, or in another thread) does not report
 * again: it aborts at once, so that the process never hangs here. */
#include "base/base.h"
#include "base/log.h"
#include <execinfo.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

typedef void (*must_hook)(const char *what, const char *file, int line);
static _Atomic(must_hook) hook_installed;
static atomic_flag reporting = ATOMIC_FLAG_INIT;

void must_set_hook(void (*hook)(const char *what, const char *file, int line))
{
    atomic_store(&hook_installed, hook);
}

_Noreturn void must_failed(const char *what, const char *file, int line, const char *func)
{
    if (!atomic_flag_test_and_set(&reporting)) {
        char text[512];
        snprintf(text, sizeof text, "=== BUG: %s:%d %s(): %s ===\n", file, line, func, what);
        log_raw(text);
        void *frames[64];
        int depth = backtrace(frames, (int)countof(frames));
        backtrace_symbols_fd(frames, depth, log_raw_fd());
        must_hook hook = atomic_load(&hook_installed);
        if (hook != NULL) {
            hook(what, file, line);
        }
    }
    abort();
}
