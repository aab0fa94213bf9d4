/* powerloss_shim.h -- What the two halves of preload_powerloss.so share.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The names below stay inside the shared object; what the process is to see is marked EXPORT. */
#ifndef TESTS_POWERLOSS_SHIM_H
#define TESTS_POWERLOSS_SHIM_H

#include "powerloss_disk.h"
#include <errno.h>
#include <sys/syscall.h>

#define EXPORT __attribute__((visibility("default")))

/* A system call as it is: the kernel's answer, a negative errno for a failure. */
#define RAW(number, ...) RAW_(number, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define RAW_(number, a, b, c, d, e, f, ...) \
    disk_raw(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* The kernel's answer as libc gives it. */
static inline long result(long r)
{
    if (r < 0) {
        errno = (int)-r;
        return -1;
    }
    return r;
}

bool powerloss_is_on(void);
/* Aborts, naming `call`: always, when fd is a file below the directory, when path is. */
_Noreturn void refuse(const char *call);
void refuse_fd(int fd, const char *call);
void refuse_path(int at, const char *path, const char *call);
#endif
