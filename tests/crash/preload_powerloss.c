/* preload_powerloss.c -- LD_PRELOAD: a process whose disk loses power after its n-th I/O call.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         A kill leaves the page cache; a power loss does not. Everything the process changes
 *             below one directory goes through powerloss_disk.c, which knows what was synced.
 * USE         KV_POWERLOSS_DIR is the directory (must exist); without it the shim does nothing.
 *             KV_POWERLOSS_PLAN is "name=number ...", in any order, 0 where a name is absent:
 *               after  the power fails after this many I/O calls; 0: never. Status 99
 *               kill   1: the process is killed then, and the power stays: what is unsynced is
 *                      still there for the next process, and still unsynced. Status 98
 *               seed   what survives of everything unsynced, and the delays
 *               delay  upper bound in microseconds of a random delay inside each barrier, so that
 *                      several are in flight
 *               fail   this barrier fails, once, with EIO; later ones are done before it
 *               exit   1: the power fails when the process ends by itself, whatever its status
 *             KV_POWERLOSS_COUNT is a file that gets, when it ends by itself, the number of I/O
 *             calls and that of barriers.
 *             powerloss_set_hook() names a function that is called just before the power fails.
 * COUNTED     Each call that changes the disk; a barrier counts when it begins to be in flight (for
 *             an O_DSYNC write: it is written but not durable) and when it is done.
 * COVERED     open creat write pwrite fsync fdatasync ftruncate truncate rename unlink mkdir rmdir
 *             dup fcntl close. Any other way to change a file below the directory aborts: shared
 *             mappings, vectored writes, sendfile, splice, copy_file_range, fallocate, links, stdio
 *             streams, io_uring, direct system calls.
 * SANITIZERS  The shim stands before their runtimes. They are asked to open and close descriptors
 *             and so know of them: ThreadSanitizer takes a number given again for a race. What
 *             they open while they report something of a thread in here is not ours: it would
 *             wait for its own lock.
 * THREADS     Any. One lock around model and real call; delays are outside of it. A crash keeps the
 *             lock for ever. Real barriers are not issued (the model is the disk), so it is fast.
 */
#include "powerloss_int.h"
#include "powerloss_shim.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FDS              65536
#define STATUS_POWERLOSS 99
#define STATUS_KILLED    98
#define FAILS_AFTER_US   5000

struct file {
    uint64_t ino; /* 0: not ours */
    bool is_dir, dsync, direct, append;
};
static struct {
    bool on;
    char root[4096];
    size_t root_len;
    struct disk *disk;
    uint64_t after, calls, barriers, seed, random, fail;
    unsigned delay_us;
    bool kill, loses_at_exit;
    pthread_mutex_t lock;
    struct file file[FDS];
    void (*hook)(void);
} shim = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* What stands behind the shim; NULL before power_on(). */
static struct {
    int (*open)(const char *path, int flags, ...);
    int (*close)(int fd);
    ssize_t (*write)(int fd, const void *p, size_t n);
} next;
/* This thread holds the lock. */
static __thread bool inside __attribute__((tls_model("initial-exec")));

/* ---- Basics ---- */

bool powerloss_is_on(void)
{
    return shim.on;
}

_Noreturn void refuse(const char *call)
{
    char text[200];
    int n =
        snprintf(text, sizeof text, "powerloss: %s on a file below %s is not covered by the shim\n",
                 call, "the directory");
    RAW(SYS_write, 2, text, n);
    abort();
}

static struct file *file_of(int fd)
{
    bool ours = shim.on && !inside && fd >= 0 && fd < FDS && shim.file[fd].ino != 0;
    return ours ? &shim.file[fd] : NULL;
}

void refuse_fd(int fd, const char *call)
{
    if (file_of(fd) != NULL) {
        refuse(call);
    }
}

static void enter(void)
{
    pthread_mutex_lock(&shim.lock);
    inside = true;
}

static void leave(void)
{
    inside = false;
    pthread_mutex_unlock(&shim.lock);
}

/* As RAW(), by way of `next`. */
static long real_open(const char *path, int flags, mode_t mode)
{
    if (next.open == NULL) {
        return RAW(SYS_openat, AT_FDCWD, path, flags, mode);
    }
    int fd = next.open(path, flags, mode);
    return fd < 0 ? -errno : fd;
}

static long real_close(int fd)
{
    if (next.close == NULL) {
        return RAW(SYS_close, fd);
    }
    return next.close(fd) < 0 ? -errno : 0;
}

static long real_write(int fd, const void *p, size_t n)
{
    if (next.write == NULL) {
        return RAW(SYS_write, fd, p, n);
    }
    ssize_t wrote = next.write(fd, p, n);
    return wrote < 0 ? -errno : wrote;
}

/* The lock is held, and stays held when the power fails. */
static void count_call(void)
{
    if (++shim.calls != shim.after) {
        return;
    }
    if (shim.hook != NULL) {
        shim.hook();
    }
    if (shim.kill) {
        disk_save(shim.disk);
    } else {
        disk_crash(shim.disk, shim.seed);
    }
    RAW(SYS_exit_group, shim.kill ? STATUS_KILLED : STATUS_POWERLOSS);
}

/* A barrier begins; true: it is the one that fails, long after those that began later. */
static bool barrier_begins(void)
{
    bool fails = ++shim.barriers == shim.fail;
    count_call();
    return fails;
}

static void barrier_takes_time(bool fails)
{
    if (fails) {
        usleep(FAILS_AFTER_US);
        return;
    }
    if (shim.delay_us != 0) {
        enter();
        shim.random = disk_mix(shim.random, shim.seed);
        unsigned us = (unsigned)(shim.random % shim.delay_us);
        leave();
        usleep(us);
    }
}

/* ---- Paths ---- */

struct place {
    uint64_t dir; /* 0: not below the directory */
    char path[4096];
};

static const char *name_in(const struct place *p)
{
    return strrchr(p->path, '/') + 1;
}

static bool below(const char *path)
{
    return strncmp(path, shim.root, shim.root_len) == 0 &&
           (path[shim.root_len] == '/' || path[shim.root_len] == '\0');
}

static struct place place_of(int at, const char *path)
{
    struct place p = { .dir = 0 };
    char whole[4096], parent[4096];
    if (!shim.on || inside || path == NULL) {
        return p;
    }
    int n;
    if (path[0] == '/' || at == AT_FDCWD) {
        n = snprintf(whole, sizeof whole, "%s", path);
    } else {
        char link[64], base[2048];
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t len = readlink(link, base, sizeof base - 1);
        base[len < 0 ? 0 : len] = '\0';
        n = snprintf(whole, sizeof whole, "%s/%s", base, path);
    }
    if (n < 0 || n >= (int)sizeof whole) {
        return p;
    }
    while (n > 1 && whole[n - 1] == '/') {
        whole[--n] = '\0';
    }
    char *slash = strrchr(whole, '/');
    const char *name = slash != NULL ? slash + 1 : whole;
    char dir[4096];
    snprintf(dir, sizeof dir, "%.*s", (int)(name - whole), whole);
    if (realpath(dir[0] == '\0' ? "." : dir, parent) == NULL) {
        return p;
    }
    n = snprintf(p.path, sizeof p.path, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, name);
    struct stat st;
    if (n > 0 && n < (int)sizeof p.path && below(p.path) && stat(parent, &st) == 0) {
        p.dir = st.st_ino;
    }
    return p;
}

void refuse_path(int at, const char *path, const char *call)
{
    if (place_of(at, path).dir != 0) {
        refuse(call);
    }
}

/* ---- Opening and closing ---- */

static void track(int fd, int flags)
{
    struct stat st;
    if (fd < 0 || fd >= FDS || fstat(fd, &st) != 0 ||
        (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))) {
        return;
    }
    shim.file[fd] = (struct file){ .ino = st.st_ino,
                                   .is_dir = S_ISDIR(st.st_mode),
                                   .dsync = (flags & O_DSYNC) != 0,
                                   .direct = (flags & O_DIRECT) != 0,
                                   .append = (flags & O_APPEND) != 0 };
}

static int open_ours(const struct place *p, int flags, mode_t mode)
{
    if ((flags & O_TMPFILE) == O_TMPFILE) {
        refuse("open with O_TMPFILE");
    }
    enter();
    struct stat st;
    bool existed = lstat(p->path, &st) == 0;
    int real = flags & ~(O_DIRECT | O_SYNC | O_TRUNC);
    long fd = real_open(p->path, real, mode);
    if (fd >= 0 && !existed) {
        disk_created(shim.disk, p->dir, name_in(p), p->path);
        count_call();
    }
    if (fd >= 0) {
        track((int)fd, flags);
        if (existed && (flags & O_TRUNC) != 0 && st.st_size > 0) {
            disk_before_truncate(shim.disk, shim.file[fd].ino, 0);
            RAW(SYS_ftruncate, fd, 0);
            count_call();
        }
    }
    leave();
    return (int)result(fd);
}

static int open_any(int at, const char *path, int flags, mode_t mode)
{
    struct place p = place_of(at, path);
    if (p.dir == 0) {
        return (int)result(at == AT_FDCWD ? real_open(path, flags, mode)
                                          : RAW(SYS_openat, at, path, flags, mode));
    }
    return open_ours(&p, flags, mode);
}

static mode_t mode_of(int flags, va_list ap)
{
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(ap, mode_t) : 0;
}

#define OPEN(name)                                    \
    EXPORT int name(const char *path, int flags, ...) \
    {                                                 \
        va_list ap;                                   \
        va_start(ap, flags);                          \
        mode_t mode = mode_of(flags, ap);             \
        va_end(ap);                                   \
        return open_any(AT_FDCWD, path, flags, mode); \
    }
#define OPENAT(name)                                          \
    EXPORT int name(int at, const char *path, int flags, ...) \
    {                                                         \
        va_list ap;                                           \
        va_start(ap, flags);                                  \
        mode_t mode = mode_of(flags, ap);                     \
        va_end(ap);                                           \
        return open_any(at, path, flags, mode);               \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int at, const char *path, int flags);
EXPORT int __open_2(const char *path, int flags)
{
    return open_any(AT_FDCWD, path, flags, 0);
}
EXPORT int __open64_2(const char *path, int flags)
{
    return open_any(AT_FDCWD, path, flags, 0);
}
EXPORT int __openat_2(int at, const char *path, int flags)
{
    return open_any(at, path, flags, 0);
}
EXPORT int creat(const char *path, mode_t mode)
{
    return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

EXPORT int close(int fd)
{
    if (shim.on && !inside && fd >= 0 && fd < FDS) {
        shim.file[fd].ino = 0;
    }
    return (int)result(real_close(fd));
}

static int duplicated(int from, long to)
{
    if (to >= 0 && to < FDS && shim.on && from >= 0 && from < FDS) {
        shim.file[to] = shim.file[from];
    }
    return (int)result(to);
}

EXPORT int dup(int fd)
{
    return duplicated(fd, RAW(SYS_dup, fd));
}
EXPORT int dup2(int fd, int to)
{
    return fd == to ? (int)result(RAW(SYS_fcntl, fd, F_GETFD) < 0 ? -EBADF : fd)
                    : duplicated(fd, RAW(SYS_dup3, fd, to, 0));
}
EXPORT int dup3(int fd, int to, int flags)
{
    return duplicated(fd, RAW(SYS_dup3, fd, to, flags));
}

static int fcntl_any(int fd, int cmd, long arg)
{
    long r = RAW(SYS_fcntl, fd, cmd, arg);
    return cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC ? duplicated(fd, r) : (int)result(r);
}
EXPORT int fcntl(int fd, int cmd, ...)
{
    va_list ap;
    va_start(ap, cmd);
    long arg = va_arg(ap, long);
    va_end(ap);
    return fcntl_any(fd, cmd, arg);
}
EXPORT int fcntl64(int fd, int cmd, ...)
{
    va_list ap;
    va_start(ap, cmd);
    long arg = va_arg(ap, long);
    va_end(ap);
    return fcntl_any(fd, cmd, arg);
}

/* ---- Writing ---- */

/* offset < 0: where the descriptor stands. */
static ssize_t write_ours(int fd, struct file f, const void *p, size_t n, off_t offset)
{
    if (f.direct &&
        (offset % DISK_SECTOR != 0 || n % DISK_SECTOR != 0 || (uintptr_t)p % DISK_SECTOR != 0)) {
        return result(-EINVAL);
    }
    enter();
    struct stat st;
    off_t at = offset;
    if (f.append) {
        at = fstat(fd, &st) == 0 ? st.st_size : 0;
    } else if (offset < 0) {
        at = lseek(fd, 0, SEEK_CUR);
    }
    disk_op op = disk_before_write(shim.disk, f.ino, (uint64_t)at, n);
    long wrote = offset < 0 ? RAW(SYS_write, fd, p, n) : RAW(SYS_pwrite64, fd, p, n, offset);
    disk_after_write(shim.disk, f.ino, op, (uint64_t)at, wrote);
    if (!f.dsync || wrote <= 0) {
        count_call();
        leave();
        return result(wrote);
    }
    bool fails = barrier_begins();
    leave();
    barrier_takes_time(fails);
    enter();
    if (!fails) {
        disk_write_synced(shim.disk, f.ino, op);
    }
    count_call();
    leave();
    return result(fails ? -EIO : wrote);
}

EXPORT ssize_t write(int fd, const void *p, size_t n)
{
    struct file *f = file_of(fd);
    return f != NULL ? write_ours(fd, *f, p, n, -1) : result(real_write(fd, p, n));
}
EXPORT ssize_t pwrite(int fd, const void *p, size_t n, off_t offset)
{
    struct file *f = file_of(fd);
    return f != NULL ? write_ours(fd, *f, p, n, offset)
                     : result(RAW(SYS_pwrite64, fd, p, n, offset));
}
EXPORT ssize_t pwrite64(int fd, const void *p, size_t n, off64_t offset)
{
    return pwrite(fd, p, n, offset);
}

static int truncate_ours(int fd, uint64_t ino, off_t size)
{
    enter();
    disk_before_truncate(shim.disk, ino, (uint64_t)size);
    long r = RAW(SYS_ftruncate, fd, size);
    count_call();
    leave();
    return (int)result(r);
}
EXPORT int ftruncate(int fd, off_t size)
{
    struct file *f = file_of(fd);
    return f != NULL ? truncate_ours(fd, f->ino, size) : (int)result(RAW(SYS_ftruncate, fd, size));
}
EXPORT int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}
EXPORT int truncate(const char *path, off_t size)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int r = fd < 0 ? -1 : ftruncate(fd, size);
    int err = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = err;
    return r;
}
EXPORT int truncate64(const char *path, off64_t size)
{
    return truncate(path, size);
}

/* ---- Barriers ---- */

static int sync_fd(int fd, long number)
{
    struct file *f = file_of(fd);
    if (f == NULL) {
        return (int)result(RAW(number, fd));
    }
    uint64_t ino = f->ino;
    enter();
    disk_op upto = disk_now(shim.disk);
    bool fails = barrier_begins();
    leave();
    barrier_takes_time(fails);
    enter();
    if (fails) {
        disk_sync_failed(shim.disk, ino, upto);
    } else {
        disk_synced(shim.disk, ino, upto);
    }
    count_call();
    leave();
    return fails ? (int)result(-EIO) : 0;
}
EXPORT int fsync(int fd)
{
    return sync_fd(fd, SYS_fsync);
}
EXPORT int fdatasync(int fd)
{
    return sync_fd(fd, SYS_fdatasync);
}

/* ---- Names ---- */

EXPORT int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    struct place a = place_of(from_at, from), b = place_of(to_at, to);
    if (a.dir == 0 && b.dir == 0) {
        return (int)result(RAW(SYS_renameat2, from_at, from, to_at, to, flags));
    }
    if (a.dir != b.dir || flags != 0) {
        refuse("rename from one directory to another, or with flags,");
    }
    enter();
    long r = RAW(SYS_renameat2, AT_FDCWD, a.path, AT_FDCWD, b.path, 0);
    if (r == 0) {
        disk_renamed(shim.disk, a.dir, name_in(&a), name_in(&b));
        count_call();
    }
    leave();
    return (int)result(r);
}
EXPORT int renameat(int from_at, const char *from, int to_at, const char *to)
{
    return renameat2(from_at, from, to_at, to, 0);
}
EXPORT int rename(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int unlinkat(int at, const char *path, int flags)
{
    struct place p = place_of(at, path);
    if (p.dir == 0) {
        return (int)result(RAW(SYS_unlinkat, at, path, flags));
    }
    enter();
    long r = RAW(SYS_unlinkat, AT_FDCWD, p.path, flags);
    if (r == 0) {
        disk_unlinked(shim.disk, p.dir, name_in(&p));
        count_call();
    }
    leave();
    return (int)result(r);
}
EXPORT int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}
EXPORT int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}
EXPORT int remove(const char *path)
{
    int r = unlink(path);
    return r != 0 && errno == EISDIR ? rmdir(path) : r;
}

EXPORT int mkdirat(int at, const char *path, mode_t mode)
{
    struct place p = place_of(at, path);
    if (p.dir == 0 || strcmp(p.path, shim.root) == 0) {
        return (int)result(RAW(SYS_mkdirat, at, path, mode));
    }
    enter();
    long r = RAW(SYS_mkdirat, AT_FDCWD, p.path, mode);
    if (r == 0) {
        disk_created(shim.disk, p.dir, name_in(&p), p.path);
        count_call();
    }
    leave();
    return (int)result(r);
}
EXPORT int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

/* ---- Beginning and end ---- */

EXPORT void powerloss_set_hook(void (*hook)(void));
EXPORT void powerloss_set_hook(void (*hook)(void))
{
    shim.hook = hook;
}

static uint64_t planned(const char *name)
{
    const char *plan = getenv("KV_POWERLOSS_PLAN");
    size_t n = strlen(name);
    for (const char *p = plan; p != NULL && (p = strstr(p, name)) != NULL; p += n) {
        if ((p == plan || p[-1] == ' ') && p[n] == '=') {
            return strtoull(p + n + 1, NULL, 10);
        }
    }
    return 0;
}

__attribute__((constructor(101))) static void power_on(void)
{
    const char *dir = getenv("KV_POWERLOSS_DIR");
    if (dir == NULL) {
        return;
    }
    if (realpath(dir, shim.root) == NULL) {
        disk_broken(dir, -errno);
    }
    shim.root_len = strlen(shim.root);
    shim.after = planned("after");
    shim.seed = planned("seed");
    shim.delay_us = (unsigned)planned("delay");
    shim.random = shim.seed;
    shim.kill = planned("kill") != 0;
    shim.fail = planned("fail");
    shim.loses_at_exit = planned("exit") != 0;
    *(void **)&next.open = dlsym(RTLD_NEXT, "open");
    *(void **)&next.close = dlsym(RTLD_NEXT, "close");
    *(void **)&next.write = dlsym(RTLD_NEXT, "write");
    char attic[4200];
    snprintf(attic, sizeof attic, "%s.attic", shim.root);
    shim.disk = disk_new(shim.root, attic);
    unsetenv("LD_PRELOAD"); /* children are not meant */
    shim.on = true;
}

/* The process ends by itself; nobody changes anything from here on. */
static void power_stays(void)
{
    enter();
    if (shim.loses_at_exit) {
        if (shim.hook != NULL) {
            shim.hook();
        }
        disk_crash(shim.disk, shim.seed);
    } else {
        disk_save(shim.disk);
    }
    const char *path = getenv("KV_POWERLOSS_COUNT");
    if (path == NULL) {
        return;
    }
    char text[64];
    int n = snprintf(text, sizeof text, "%llu %llu\n", (unsigned long long)shim.calls,
                     (unsigned long long)shim.barriers);
    long fd = RAW(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd >= 0) {
        RAW(SYS_write, fd, text, n);
        RAW(SYS_close, fd);
    }
}

__attribute__((destructor)) static void at_exit(void)
{
    if (shim.on) {
        power_stays();
        shim.on = false;
    }
}

EXPORT _Noreturn void _exit(int status)
{
    if (shim.on) {
        power_stays();
    }
    RAW(SYS_exit_group, status);
    __builtin_unreachable();
}
