/* preload_full.c -- LD_PRELOAD: a disk that is full while a file exists.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Machines where no file system can be mounted still test what a full disk does.
 * USE         KV_FULL_WHEN names the file. While it exists, a write that would make a file larger,
 *             and the making of a file, fail with ENOSPC; what a file has already can be
 *             overwritten, as on a disk. statvfs() tells of no free block. Descriptors without an
 *             end of file (sockets, terminals) are left alone. THREADS Any. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static bool full(void)
{
    const char *when = getenv("KV_FULL_WHEN");
    struct stat st;
    return when != NULL && stat(when, &st) == 0;
}

EXPORT ssize_t pwrite(int fd, const void *p, size_t n, off_t offset)
{
    struct stat st;
    if (full() && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && offset + (off_t)n > st.st_size) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, p, n, offset);
}
EXPORT ssize_t pwrite64(int fd, const void *p, size_t n, off64_t offset)
{
    return pwrite(fd, p, n, offset);
}

static int open_any(const char *path, int flags, mode_t mode)
{
    if ((flags & O_CREAT) != 0 && access(path, F_OK) != 0 && full()) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

#define OPEN(name)                                                     \
    EXPORT int name(const char *path, int flags, ...)                  \
    {                                                                  \
        va_list ap;                                                    \
        va_start(ap, flags);                                           \
        mode_t mode = (flags & O_CREAT) != 0 ? va_arg(ap, mode_t) : 0; \
        va_end(ap);                                                    \
        return open_any(path, flags, mode);                            \
    }
OPEN(open)
OPEN(open64)

static int no_blocks(int (*real)(const char *, struct statvfs *), const char *path,
                     struct statvfs *out)
{
    int r = real(path, out);
    if (r == 0 && full()) {
        out->f_bavail = 0;
    }
    return r;
}

EXPORT int statvfs(const char *path, struct statvfs *out)
{
    int (*real)(const char *, struct statvfs *) =
        (int (*)(const char *, struct statvfs *))dlsym(RTLD_NEXT, "statvfs");
    return no_blocks(real, path, out);
}
