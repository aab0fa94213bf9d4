/* io.c -- The file seam: system calls with their retries, their fault points, and nothing else.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/io.h"
#include "base/fault.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/resource.h>
#include <unistd.h>

#define IO_CALL_MAX ((size_t)1 << 30) /* Linux moves at most 2 GiB - 4 KiB per call */

/* What an armed fault point means for a call that returns a status. */
static int fault_errno(int hit)
{
    return hit == FAULT_SHORT || hit == FAULT_FAIL ? EIO : hit;
}

/* A call with a status, repeated while it is interrupted. `point` must be the literal name of its
 * fault point. */
#define RETRY_STATUS(point, call)               \
    ({                                          \
        int error_;                             \
        do {                                    \
            error_ = fault_errno(fault(point)); \
            if (error_ == 0 && (call) < 0) {    \
                error_ = errno;                 \
            }                                   \
        } while (error_ == EINTR);              \
        -error_;                                \
    })

int io_open(const char *path, int flags, mode_t mode)
{
    int fd = -1;
    int err = RETRY_STATUS("io.open", fd = open(path, flags | O_CLOEXEC, mode));
    return err != 0 ? err : fd;
}

/* Linux closes the descriptor even when it reports EINTR or EIO; what must be durable was synced
 * before. */
void io_close(int fd)
{
    close(fd);
}

static size_t cut(size_t n, int hit)
{
    return hit == FAULT_SHORT && n > 1 ? n / 2 : size_min(n, IO_CALL_MAX);
}

/* offset < 0: at the descriptor's own position. */
static int write_all(int fd, const char *p, size_t n, int64_t offset)
{
    while (n > 0) {
        int hit = fault("io.write");
        ssize_t done = -1;
        if (hit != 0 && hit != FAULT_SHORT) {
            errno = fault_errno(hit);
        } else {
            size_t part = cut(n, hit);
            done = offset < 0 ? write(fd, p, part) : pwrite(fd, p, part, offset);
        }
        if (done < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        if (done == 0) {
            return -EIO; /* never for a regular file; must not become an endless loop */
        }
        p += done;
        n -= (size_t)done;
        offset = offset < 0 ? offset : offset + done;
    }
    return 0;
}

int io_pwrite_full(int fd, const void *p, size_t n, uint64_t offset)
{
    return offset <= INT64_MAX - n ? write_all(fd, p, n, (int64_t)offset) : -EFBIG;
}

int io_write_full(int fd, const void *p, size_t n)
{
    return write_all(fd, p, n, -1);
}

ssize_t io_pread_full(int fd, void *p, size_t n, uint64_t offset)
{
    size_t got = 0;
    while (got < n) {
        int hit = fault("io.read");
        ssize_t done = -1;
        if (hit != 0 && hit != FAULT_SHORT) {
            errno = fault_errno(hit);
        } else {
            done = pread(fd, (char *)p + got, cut(n - got, hit), (off_t)(offset + got));
        }
        if (done < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        if (done == 0) {
            break;
        }
        got += (size_t)done;
    }
    return (ssize_t)got;
}

/* fsync() may be repeated after EINTR alone: nothing was tried and no error was swallowed. */
int io_fsync(int fd)
{
    return RETRY_STATUS("io.fsync", fsync(fd));
}

int io_fdatasync(int fd)
{
    return RETRY_STATUS("io.fdatasync", fdatasync(fd));
}

int io_rename(const char *from, const char *to)
{
    return RETRY_STATUS("io.rename", rename(from, to));
}

int io_unlink(const char *path)
{
    return RETRY_STATUS("io.unlink", unlink(path));
}

int io_mkdir(const char *path, mode_t mode)
{
    int err = RETRY_STATUS("io.mkdir", mkdir(path, mode));
    struct stat st;
    if (err == -EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        return 0;
    }
    return err;
}

int io_truncate(int fd, uint64_t size)
{
    if (size > INT64_MAX) {
        return -EFBIG;
    }
    return RETRY_STATUS("io.truncate", ftruncate(fd, (off_t)size));
}

int io_fsync_dir(const char *dir)
{
    int fd = -1;
    int err = RETRY_STATUS("io.fsync_dir", fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (err != 0) {
        return err;
    }
    do {
        err = fsync(fd) < 0 ? -errno : 0;
    } while (err == -EINTR);
    close(fd);
    return err;
}

/* The size is a hint only: files under /proc have none, and others may grow meanwhile. */
int io_read_file(const char *path, struct buf *out, size_t limit)
{
    int fd = io_open(path, O_RDONLY, 0);
    if (fd < 0) {
        return fd;
    }
    struct stat st;
    size_t start = out->n, expected = 0;
    int err = 0;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        expected = (size_t)st.st_size;
    }
    if (expected > limit) {
        err = -EFBIG;
    }
    while (err == 0) {
        size_t had = out->n - start;
        size_t room = size_max(expected > had ? expected - had : 0, 4095) + 1;
        if (!buf_try_reserve(out, room)) {
            err = -ENOMEM;
            break;
        }
        ssize_t got = io_pread_full(fd, out->p + out->n, room, had);
        if (got < 0) {
            err = (int)got;
            break;
        }
        out->n += (size_t)got;
        if (out->n - start > limit) {
            err = -EFBIG;
        } else if ((size_t)got < room) {
            break;
        }
    }
    io_close(fd);
    if (err != 0) {
        out->n = start;
    }
    return err;
}

static int sync_dir_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return io_fsync_dir(".");
    }
    char *dir = mem_dup(path, slash == path ? 1 : (size_t)(slash - path));
    int err = io_fsync_dir(dir);
    mem_free(dir);
    return err;
}

mode_t io_mode_of(const char *path, mode_t otherwise)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_mode & 07777 : otherwise;
}

int atomic_replace(const char *path, struct slice data, mode_t mode)
{
    struct buf tmp = { NULL, 0, 0 };
    buf_printf(&tmp, "%s.tmp.%ld%c", path, (long)getpid(), '\0');
    int fd = io_open(tmp.p, O_WRONLY | O_CREAT | O_TRUNC, mode);
    int err = fd < 0 ? fd : 0;
    if (err == 0) {
        err = io_write_full(fd, data.p, data.n);
        if (err == 0) {
            err = io_fsync(fd);
        }
        io_close(fd);
        if (err == 0) {
            err = io_rename(tmp.p, path);
        }
        if (err != 0) {
            unlink(tmp.p);
        } else {
            err = sync_dir_of(path);
        }
    }
    buf_free(&tmp);
    return err;
}

uint64_t io_raise_files(uint64_t want)
{
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) != 0 || lim.rlim_cur >= want) {
        return want;
    }
    struct rlimit more = { .rlim_cur = want,
                           .rlim_max = lim.rlim_max > want ? lim.rlim_max : want };
    if (setrlimit(RLIMIT_NOFILE, &more) == 0) {
        return want;
    }
    more = (struct rlimit){ .rlim_cur = lim.rlim_max, .rlim_max = lim.rlim_max };
    return setrlimit(RLIMIT_NOFILE, &more) == 0 ? lim.rlim_max : lim.rlim_cur;
}
