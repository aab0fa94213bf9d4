/* powerloss_refuse.c -- The ways to change a file that preload_powerloss.c does not cover.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         A write that the model does not see would look durable. Below the directory each of
 *             them aborts; elsewhere they do what they always do.
 * THREADS     Any. */
#include "powerloss_shim.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

EXPORT ssize_t writev(int fd, const struct iovec *v, int n)
{
    refuse_fd(fd, "writev");
    return result(RAW(SYS_writev, fd, v, n));
}
EXPORT ssize_t pwritev(int fd, const struct iovec *v, int n, off_t offset)
{
    refuse_fd(fd, "pwritev");
    return result(RAW(SYS_pwritev, fd, v, n, offset, 0));
}
EXPORT ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t offset)
{
    return pwritev(fd, v, n, offset);
}
EXPORT ssize_t pwritev2(int fd, const struct iovec *v, int n, off_t offset, int flags)
{
    refuse_fd(fd, "pwritev2");
    return result(RAW(SYS_pwritev2, fd, v, n, offset, 0, flags));
}
EXPORT ssize_t sendfile(int to, int from, off_t *offset, size_t n)
{
    refuse_fd(to, "sendfile");
    return result(RAW(SYS_sendfile, to, from, offset, n));
}
EXPORT ssize_t sendfile64(int to, int from, off64_t *offset, size_t n)
{
    return sendfile(to, from, offset, n);
}
EXPORT ssize_t splice(int from, off64_t *a, int to, off64_t *b, size_t n, unsigned flags)
{
    refuse_fd(to, "splice");
    return result(RAW(SYS_splice, from, a, to, b, n, flags));
}
EXPORT ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t n, unsigned flags)
{
    refuse_fd(to, "copy_file_range");
    return result(RAW(SYS_copy_file_range, from, a, to, b, n, flags));
}
EXPORT int fallocate(int fd, int mode, off_t offset, off_t n)
{
    refuse_fd(fd, "fallocate");
    return (int)result(RAW(SYS_fallocate, fd, mode, offset, n));
}
EXPORT int fallocate64(int fd, int mode, off64_t offset, off64_t n)
{
    return fallocate(fd, mode, offset, n);
}
EXPORT int posix_fallocate(int fd, off_t offset, off_t n)
{
    refuse_fd(fd, "posix_fallocate");
    return (int)-RAW(SYS_fallocate, fd, 0, offset, n);
}
EXPORT int posix_fallocate64(int fd, off64_t offset, off64_t n)
{
    return posix_fallocate(fd, offset, n);
}
EXPORT int sync_file_range(int fd, off64_t offset, off64_t n, unsigned flags)
{
    refuse_fd(fd, "sync_file_range");
    return (int)result(RAW(SYS_sync_file_range, fd, offset, n, flags));
}
EXPORT int syncfs(int fd)
{
    refuse_fd(fd, "syncfs");
    return (int)result(RAW(SYS_syncfs, fd));
}
EXPORT int linkat(int a, const char *from, int b, const char *to, int flags)
{
    refuse_path(b, to, "link");
    return (int)result(RAW(SYS_linkat, a, from, b, to, flags));
}
EXPORT int link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}
EXPORT int symlinkat(const char *from, int b, const char *to)
{
    refuse_path(b, to, "symlink");
    return (int)result(RAW(SYS_symlinkat, from, b, to));
}
EXPORT int symlink(const char *from, const char *to)
{
    return symlinkat(from, AT_FDCWD, to);
}
EXPORT void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
    if (fd >= 0 && (flags & MAP_TYPE) != MAP_PRIVATE && (prot & PROT_WRITE) != 0) {
        refuse_fd(fd, "a shared, writable mapping");
    }
    return (void *)result(RAW(SYS_mmap, at, n, prot, flags, fd, offset));
}
EXPORT void *mmap64(void *at, size_t n, int prot, int flags, int fd, off64_t offset)
{
    return mmap(at, n, prot, flags, fd, offset);
}

/* stdio writes past these functions, inside libc. */
static FILE *open_stream(const char *symbol, const char *path, const char *mode)
{
    FILE *(*real)(const char *, const char *) =
        (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, symbol);
    if (strpbrk(mode, "wa+") != NULL) {
        refuse_path(AT_FDCWD, path, "fopen for writing");
    }
    return real(path, mode);
}
EXPORT FILE *fopen(const char *path, const char *mode)
{
    return open_stream("fopen", path, mode);
}
EXPORT FILE *fopen64(const char *path, const char *mode)
{
    return open_stream("fopen64", path, mode);
}
EXPORT FILE *fdopen(int fd, const char *mode)
{
    FILE *(*real)(int, const char *) = (FILE * (*)(int, const char *)) dlsym(RTLD_NEXT, "fdopen");
    refuse_fd(fd, "fdopen");
    return real(fd, mode);
}

/* Direct system calls: what changes files has to come through the functions above. */
EXPORT long syscall(long number, ...)
{
    long a[6];
    va_list ap;
    va_start(ap, number);
    for (unsigned i = 0; i < 6; i++) {
        a[i] = va_arg(ap, long);
    }
    va_end(ap);
    static const long by_fd[] = { SYS_write,     SYS_pwrite64,  SYS_writev,    SYS_pwritev,
                                  SYS_pwritev2,  SYS_ftruncate, SYS_fallocate, SYS_fsync,
                                  SYS_fdatasync, SYS_syncfs };
    for (size_t i = 0; powerloss_is_on() && i < sizeof by_fd / sizeof by_fd[0]; i++) {
        if (number == by_fd[i]) {
            refuse_fd((int)a[0], "a direct system call");
        }
    }
    static const long by_path[] = { SYS_openat, SYS_unlinkat, SYS_renameat2, SYS_mkdirat,
                                    SYS_linkat };
    for (size_t i = 0; powerloss_is_on() && i < sizeof by_path / sizeof by_path[0]; i++) {
        bool reads = number == SYS_openat && (a[2] & (O_ACCMODE | O_CREAT | O_TRUNC)) == 0;
        if (number == by_path[i] && !reads) {
            refuse_path((int)a[0], (const char *)a[1], "a direct system call");
        }
    }
    if (powerloss_is_on() && (number == 425 || number == SYS_io_submit)) { /* io_uring_setup */
        refuse("io_uring or aio");
    }
    return result(disk_raw(number, a[0], a[1], a[2], a[3], a[4], a[5]));
}
