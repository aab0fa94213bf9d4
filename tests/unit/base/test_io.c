/* test_io.c -- Files: transfers, errors, and a replacement that is all or nothing at every fault.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/rng.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *dir;
static char path[512];

/* A path in a fresh directory. */
static const char *fresh(const char *name)
{
    dir = unit_tmpdir();
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static unsigned files_in(const char *where)
{
    unsigned n = 0;
    DIR *d = opendir(where);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        n += e->d_name[0] != '.';
    }
    closedir(d);
    return n;
}

static void content_is(const char *file, struct slice want)
{
    struct buf b = { NULL, 0, 0 };
    ck_assert_int_eq(io_read_file(file, &b, 1 << 24), 0);
    ck_assert(slice_eq(buf_slice(&b), want));
    buf_free(&b);
}

static void put(const char *file, struct slice data)
{
    int fd = io_open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(io_write_full(fd, data.p, data.n), 0);
    io_close(fd);
}

START_TEST(test_open)
{
    fresh("f");
    ck_assert_int_eq(io_open(path, O_RDONLY, 0), -ENOENT);
    int fd = io_open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_eq(io_open(path, O_RDWR | O_CREAT | O_EXCL, 0600), -EEXIST);
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    io_close(fd);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
}
END_TEST

START_TEST(test_positioned)
{
    fresh("f");
    int fd = io_open(path, O_RDWR | O_CREAT, 0600);
    ck_assert_int_eq(io_pwrite_full(fd, "abcdef", 6, 10), 0);
    ck_assert_int_eq(io_pwrite_full(fd, "XY", 2, 12), 0);
    ck_assert_int_eq(io_pwrite_full(fd, NULL, 0, 5), 0);
    char b[32];
    ck_assert_int_eq(io_pread_full(fd, b, 6, 10), 6);
    ck_assert_int_eq(memcmp(b, "abXYef", 6), 0);
    ck_assert_int_eq(io_pread_full(fd, b, sizeof b, 10), 6);
    ck_assert_int_eq(io_pread_full(fd, b, 4, 14), 2);
    ck_assert_int_eq(io_pread_full(fd, b, 4, 16), 0);
    ck_assert_int_eq(io_pread_full(fd, b, 4, 1000), 0);
    ck_assert_int_eq(io_pread_full(fd, b, 0, 0), 0);
    ck_assert_int_eq(io_pread_full(fd, b, 4, 0), 4);
    ck_assert_int_eq(memcmp(b, "\0\0\0", 4), 0);
    /* Positioned calls leave the descriptor's own position alone. */
    ck_assert_int_eq(io_write_full(fd, "start", 5), 0);
    ck_assert_int_eq(io_pread_full(fd, b, 5, 0), 5);
    ck_assert_int_eq(memcmp(b, "start", 5), 0);
    ck_assert_int_eq(io_pwrite_full(fd, "x", 1, UINT64_MAX), -EFBIG);
    ck_assert_int_eq(io_pwrite_full(fd, "x", 1, INT64_MAX), -EFBIG);
    io_close(fd);
    ck_assert_int_eq(io_pwrite_full(fd, "x", 1, 0), -EBADF);
    ck_assert_int_eq(io_write_full(fd, "x", 1), -EBADF);
    ck_assert_int_eq(io_pread_full(fd, b, 1, 0), -EBADF);
    ck_assert_int_eq(io_fsync(fd), -EBADF);
    ck_assert_int_eq(io_fdatasync(fd), -EBADF);
    ck_assert_int_eq(io_truncate(fd, 0), -EBADF);
}
END_TEST

START_TEST(test_truncate_and_sync)
{
    fresh("f");
    int fd = io_open(path, O_RDWR | O_CREAT, 0600);
    ck_assert_int_eq(io_write_full(fd, "0123456789", 10), 0);
    ck_assert_int_eq(io_truncate(fd, 4), 0);
    ck_assert_int_eq(io_fsync(fd), 0);
    content_is(path, S("0123"));
    ck_assert_int_eq(io_truncate(fd, 6), 0);
    ck_assert_int_eq(io_fdatasync(fd), 0);
    content_is(path, S("0123\0\0"));
    ck_assert_int_eq(io_truncate(fd, UINT64_MAX), -EFBIG);
    io_close(fd);
}
END_TEST

START_TEST(test_names)
{
    char to[600], sub[600];
    fresh("f");
    snprintf(to, sizeof to, "%s/g", dir);
    snprintf(sub, sizeof sub, "%s/sub", dir);
    put(path, S("one"));
    ck_assert_int_eq(io_rename(path, to), 0);
    content_is(to, S("one"));
    ck_assert_int_eq(io_rename(path, to), -ENOENT);
    ck_assert_int_eq(io_unlink(to), 0);
    ck_assert_int_eq(io_unlink(to), -ENOENT);
    ck_assert_int_eq(io_mkdir(sub, 0700), 0);
    ck_assert_int_eq(io_mkdir(sub, 0700), 0);
    put(path, S(""));
    ck_assert_int_eq(io_mkdir(path, 0700), -EEXIST);
    ck_assert_int_eq(io_mkdir("/nonexistent/sub", 0700), -ENOENT);
    ck_assert_int_eq(io_fsync_dir(dir), 0);
    ck_assert_int_eq(io_fsync_dir(path), -ENOTDIR);
    ck_assert_int_eq(io_fsync_dir(to), -ENOENT);
}
END_TEST

START_TEST(test_read_file)
{
    fresh("f");
    struct buf b = { NULL, 0, 0 };
    buf_add_str(&b, "kept:");
    ck_assert_int_eq(io_read_file(path, &b, 100), -ENOENT);
    put(path, S("0123456789"));
    ck_assert_int_eq(io_read_file(path, &b, 9), -EFBIG);
    ck_assert(slice_eq(buf_slice(&b), S("kept:")));
    ck_assert_int_eq(io_read_file(path, &b, 10), 0);
    ck_assert(slice_eq(buf_slice(&b), S("kept:0123456789")));
    b.n = 0;
    put(path, S(""));
    ck_assert_int_eq(io_read_file(path, &b, 0), 0);
    ck_assert_uint_eq(b.n, 0);
    /* Files that do not tell their size. */
    ck_assert_int_eq(io_read_file("/proc/self/status", &b, 1 << 20), 0);
    ck_assert_uint_gt(b.n, 100);
    b.n = 0;
    ck_assert_int_eq(io_read_file("/proc/self/status", &b, 100), -EFBIG);
    ck_assert_int_eq(io_read_file("/dev/zero", &b, 1 << 20), -EFBIG);
    ck_assert_uint_eq(b.n, 0);
    ck_assert_int_eq(io_read_file(dir, &b, 100), -EISDIR);
    buf_free(&b);
}
END_TEST

START_TEST(test_replace)
{
    fresh("f");
    ck_assert_int_eq(atomic_replace(path, S("first"), 0640), 0);
    content_is(path, S("first"));
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0640);
    ck_assert_uint_eq(io_mode_of(path, 0600), 0640);
    ck_assert_uint_eq(io_mode_of("/nonexistent/f", 0604), 0604);
    ck_assert_int_eq(atomic_replace(path, S(""), 0600), 0);
    content_is(path, S(""));
    ck_assert_uint_eq(files_in(dir), 1);
    ck_assert_int_eq(atomic_replace("/nonexistent/f", S("x"), 0600), -ENOENT);
    /* Without a directory in the path it is the current one. */
    ck_assert_int_eq(chdir(dir), 0);
    ck_assert_int_eq(atomic_replace("f", S("here"), 0600), 0);
    content_is(path, S("here"));
    ck_assert_uint_eq(files_in(dir), 1);
}
END_TEST

#ifdef KV_FAULTS
static void arm(const char *point, const char *how, unsigned after)
{
    char spec[100];
    snprintf(spec, sizeof spec, "%s=%s:%u", point, how, after);
    ck_assert_int_eq(fault_arm(spec), 0);
}

/* Is the rule still there, i.e. was it not hit? Disarms it. */
static bool unused(const char *point)
{
    int hit;
    if (strcmp(point, "io.rename") == 0) {
        hit = io_rename("/nonexistent/a", "/nonexistent/b") != -ENOENT;
    } else if (strcmp(point, "io.open") == 0) {
        hit = io_open("/nonexistent/a", O_RDONLY, 0) != -ENOENT;
    } else if (strcmp(point, "io.write") == 0) {
        hit = io_write_full(-1, "xx", 2) != -EBADF;
    } else if (strcmp(point, "io.fsync") == 0) {
        hit = io_fsync(-1) != -EBADF;
    } else {
        hit = io_fsync_dir("/nonexistent") != -ENOENT;
    }
    ck_assert_int_eq(fault_arm(""), 0);
    return hit;
}

/* Every call that atomic_replace() makes fails once, in every way. */
START_TEST(test_replace_at_every_fault)
{
    static const char *const points[] = { "io.open", "io.write", "io.fsync", "io.rename",
                                          "io.fsync_dir" };
    static const struct {
        const char *how;
        int err;
    } ways[] = { { "eio", -EIO }, { "enospc", -ENOSPC }, { "fail", -EIO } };
    fresh("f");
    for (unsigned p = 0; p < countof(points); p++) {
        for (unsigned w = 0; w < countof(ways); w++) {
            bool hit = true;
            unsigned after = 0;
            for (; hit; after++) {
                put(path, S("old"));
                arm(points[p], ways[w].how, after);
                int err = atomic_replace(path, S("new"), 0600);
                hit = !unused(points[p]);
                ck_assert_msg(err == (hit ? ways[w].err : 0), "%s %s:%u: %d", points[p],
                              ways[w].how, after, err);
                bool placed = !hit || strcmp(points[p], "io.fsync_dir") == 0;
                content_is(path, placed ? S("new") : S("old"));
                ck_assert_uint_eq(files_in(dir), 1);
            }
            ck_assert_uint_eq(after, 2); /* each of them is called once */
        }
    }
}
END_TEST

/* What may happen without being an error is not one: interruptions and short transfers. */
START_TEST(test_replace_is_patient)
{
    static const char *const points[] = { "io.open", "io.write", "io.fsync", "io.rename",
                                          "io.fsync_dir" };
    fresh("f");
    for (unsigned p = 0; p < countof(points); p++) {
        char spec[100];
        snprintf(spec, sizeof spec, "%s=eintr:0:5", points[p]);
        put(path, S("old"));
        ck_assert_int_eq(fault_arm(spec), 0);
        ck_assert_int_eq(atomic_replace(path, S("new"), 0600), 0);
        content_is(path, S("new"));
    }
    ck_assert_int_eq(fault_arm("io.write=short:0:0"), 0);
    ck_assert_int_eq(atomic_replace(path, S("in many small pieces"), 0600), 0);
    content_is(path, S("in many small pieces"));
}
END_TEST

START_TEST(test_short_and_interrupted_transfers)
{
    rng_seed_all(unit_seed());
    static char data[100000], back[100001];
    rng_secret(data, sizeof data);
    fresh("f");
    int fd = io_open(path, O_RDWR | O_CREAT, 0600);
    ck_assert_int_eq(fault_arm("io.write=short:0:0,io.read=short:0:0"), 0);
    ck_assert_int_eq(io_pwrite_full(fd, data, sizeof data, 3), 0);
    ck_assert_int_eq(io_pread_full(fd, back, sizeof back, 3), sizeof data);
    ck_assert_int_eq(memcmp(data, back, sizeof data), 0);
    ck_assert_int_eq(fault_arm("io.write=eintr:0:7,io.read=eintr:0:7"), 0);
    rng_secret(data, sizeof data);
    ck_assert_int_eq(io_pwrite_full(fd, data, sizeof data, 3), 0);
    ck_assert_int_eq(io_pread_full(fd, back, sizeof back, 3), sizeof data);
    ck_assert_int_eq(memcmp(data, back, sizeof data), 0);
    /* An error after a part was written is an error. */
    ck_assert_int_eq(fault_arm("io.write=short:0:1"), 0);
    ck_assert_int_eq(io_pwrite_full(fd, data, sizeof data, 3), 0);
    ck_assert_int_eq(fault_arm("io.write=enospc:0:1"), 0);
    ck_assert_int_eq(io_pwrite_full(fd, data, sizeof data, 3), -ENOSPC);
    ck_assert_int_eq(fault_arm("io.read=eio"), 0);
    ck_assert_int_eq(io_pread_full(fd, back, 10, 0), -EIO);
    io_close(fd);
}
END_TEST

START_TEST(test_every_point_fails)
{
    fresh("f");
    int fd = io_open(path, O_RDWR | O_CREAT, 0600);
    ck_assert_int_eq(
        fault_arm(
            "io.open=eio,io.write=eio,io.read=eio,io.fsync=eio,io.fdatasync=enospc,io.rename=eio,"
            "io.unlink=eio,io.mkdir=enospc,io.truncate=eio,io.fsync_dir=eio"),
        0);
    struct buf b = { NULL, 0, 0 };
    char c;
    for (int round = 0; round < 2; round++) {
        bool ok = round == 1;
        ck_assert_int_eq(io_open("/dev/null", O_RDONLY, 0) >= 0, ok);
        ck_assert_int_eq(io_write_full(fd, "x", 1), ok ? 0 : -EIO);
        ck_assert_int_eq(io_pread_full(fd, &c, 1, 0), ok ? 1 : -EIO);
        ck_assert_int_eq(io_fsync(fd), ok ? 0 : -EIO);
        ck_assert_int_eq(io_fdatasync(fd), ok ? 0 : -ENOSPC);
        ck_assert_int_eq(io_rename(path, path), ok ? 0 : -EIO);
        ck_assert_int_eq(io_truncate(fd, 5), ok ? 0 : -EIO);
        ck_assert_int_eq(io_mkdir(dir, 0700), ok ? 0 : -ENOSPC);
        ck_assert_int_eq(io_fsync_dir(dir), ok ? 0 : -EIO);
        ck_assert_int_eq(io_unlink(path), ok ? 0 : -EIO);
    }
    put(path, S("text"));
    buf_add_str(&b, "kept");
    ck_assert_int_eq(fault_arm("mem.alloc=nomem"), 0);
    ck_assert_int_eq(io_read_file(path, &b, 100), -ENOMEM);
    ck_assert_int_eq(fault_arm("io.read=eio"), 0);
    ck_assert_int_eq(io_read_file(path, &b, 100), -EIO);
    ck_assert(slice_eq(buf_slice(&b), S("kept")));
    buf_free(&b);
    io_close(fd);
}
END_TEST
#endif

UNIT_SUITE(io)
{
    unit_case(suite, "io", test_open, test_positioned, test_truncate_and_sync, test_names,
              test_read_file, test_replace);
#ifdef KV_FAULTS
    unit_case(suite, "faults", test_replace_at_every_fault, test_replace_is_patient,
              test_short_and_interrupted_transfers, test_every_point_fails);
#endif
}
