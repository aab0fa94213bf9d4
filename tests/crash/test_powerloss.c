/* test_powerloss.c -- The judge is judged: what the model of the disk keeps, loses and tears, and
 * what the shim refuses. SPDX-License-Identifier: BSD-3-Clause */
#include "powerloss_disk.h"
#include "unit.h"
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Seeds that are multiples of 5 lose everything unsynced, those that leave 1 keep everything. */
#define LOSES_ALL 0
#define KEEPS_ALL 1

struct rig {
    char root[300], attic[320], path[400];
    struct disk *d;
    uint64_t root_ino;
};

static uint64_t ino_of(const char *path)
{
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    return st.st_ino;
}

static void rig_open(struct rig *r)
{
    snprintf(r->root, sizeof r->root, "%s/root", unit_tmpdir());
    snprintf(r->attic, sizeof r->attic, "%s.attic", r->root);
    ck_assert_int_eq(mkdir(r->root, 0700), 0);
    r->root_ino = ino_of(r->root);
}

static const char *in(struct rig *r, const char *name)
{
    snprintf(r->path, sizeof r->path, "%s/%s", r->root, name);
    return r->path;
}

static void put_file(struct rig *r, const char *name, const char *text)
{
    int fd = open(in(r, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

/* As the shim does it. */
static disk_op put_at(struct rig *r, const char *name, const char *text, uint64_t offset)
{
    int fd = open(in(r, name), O_WRONLY | O_CLOEXEC);
    uint64_t ino = ino_of(r->path);
    disk_op op = disk_before_write(r->d, ino, offset, strlen(text));
    ssize_t wrote = pwrite(fd, text, strlen(text), (off_t)offset);
    disk_after_write(r->d, ino, op, offset, wrote);
    close(fd);
    return op;
}

static void create(struct rig *r, const char *name)
{
    close(open(in(r, name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    disk_created(r->d, r->root_ino, name, r->path);
}

static void expect_file(struct rig *r, const char *name, const char *text)
{
    char got[4096] = { 0 };
    int fd = open(in(r, name), O_RDONLY | O_CLOEXEC);
    if (text == NULL) {
        ck_assert_msg(fd < 0, "%s is there", name);
        return;
    }
    ck_assert_msg(fd >= 0, "%s is not there", name);
    ssize_t n = read(fd, got, sizeof got - 1);
    ck_assert_int_eq(n, (ssize_t)strlen(text));
    ck_assert_str_eq(got, text);
    close(fd);
}

START_TEST(test_writes)
{
    struct rig r;
    rig_open(&r);
    put_file(&r, "f", "old");
    r.d = disk_new(r.root, r.attic);
    put_at(&r, "f", "newer", 0);
    expect_file(&r, "f", "newer"); /* the file shows what was written */
    disk_crash(r.d, _i == 0 ? LOSES_ALL : KEEPS_ALL);
    expect_file(&r, "f", _i == 0 ? "old" : "newer");
    disk_free(r.d);
}
END_TEST

START_TEST(test_synced_writes_stay)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct rig r;
        rig_open(&r);
        put_file(&r, "f", "old");
        r.d = disk_new(r.root, r.attic);
        put_at(&r, "f", "synced", 0);
        disk_synced(r.d, ino_of(in(&r, "f")), disk_now(r.d));
        disk_crash(r.d, seed);
        expect_file(&r, "f", "synced");
        disk_free(r.d);
    }
}
END_TEST

/* A sync covers what was written before it began, O_DSYNC its own write alone. */
START_TEST(test_what_a_sync_covers)
{
    struct rig r;
    rig_open(&r);
    put_file(&r, "f", "");
    r.d = disk_new(r.root, r.attic);
    uint64_t ino = ino_of(in(&r, "f"));
    put_at(&r, "f", "one", 0);
    disk_op upto = disk_now(r.d);
    put_at(&r, "f", "two", 0);
    disk_synced(r.d, ino, upto);
    put_at(&r, "f", "far", 2 * DISK_SECTOR);
    disk_op op = put_at(&r, "f", "near", DISK_SECTOR);
    disk_write_synced(r.d, ino, op);
    disk_crash(r.d, LOSES_ALL);
    struct stat st;
    ck_assert_int_eq(stat(in(&r, "f"), &st), 0);
    ck_assert_int_eq(st.st_size, DISK_SECTOR + 4);
    char got[2 * DISK_SECTOR];
    int fd = open(r.path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(read(fd, got, sizeof got), DISK_SECTOR + 4);
    ck_assert(memcmp(got, "one", 4) == 0);
    ck_assert(memcmp(got + DISK_SECTOR, "near", 4) == 0);
    close(fd);
    disk_free(r.d);
}
END_TEST

START_TEST(test_truncation)
{
    struct rig r;
    rig_open(&r);
    put_file(&r, "f", "something");
    r.d = disk_new(r.root, r.attic);
    disk_before_truncate(r.d, ino_of(in(&r, "f")), 4);
    ck_assert_int_eq(truncate(r.path, 4), 0);
    disk_crash(r.d, _i == 0 ? LOSES_ALL : KEEPS_ALL);
    expect_file(&r, "f", _i == 0 ? "something" : "some");
    disk_free(r.d);
}
END_TEST

/* Sectors of one write survive one by one, writes in any order. */
START_TEST(test_tearing_and_reordering)
{
    unsigned torn = 0, reordered = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct rig r;
        rig_open(&r);
        put_file(&r, "f", "");
        r.d = disk_new(r.root, r.attic);
        char big[4 * DISK_SECTOR + 1];
        memset(big, 'a', sizeof big - 1);
        big[sizeof big - 1] = '\0';
        put_at(&r, "f", big, 0);
        put_at(&r, "f", "b", 4 * DISK_SECTOR);
        disk_crash(r.d, seed);
        char got[4 * DISK_SECTOR + 1] = { 0 };
        int fd = open(in(&r, "f"), O_RDONLY | O_CLOEXEC);
        ck_assert_int_ge(read(fd, got, sizeof got), 0);
        close(fd);
        unsigned there = 0;
        for (unsigned i = 0; i < 4; i++) {
            there += got[i * DISK_SECTOR] == 'a';
            ck_assert_int_eq(got[i * DISK_SECTOR], got[(i + 1) * DISK_SECTOR - 1]);
        }
        torn += there > 0 && there < 4;
        reordered += there == 0 && got[4 * DISK_SECTOR] == 'b';
        disk_free(r.d);
    }
    ck_assert_uint_gt(torn, 10);
    ck_assert_uint_gt(reordered, 10);
}
END_TEST

/* Names need a sync of their directory. */
START_TEST(test_names)
{
    for (unsigned synced = 0; synced < 2; synced++) {
        struct rig r;
        rig_open(&r);
        put_file(&r, "gone", "1");
        put_file(&r, "replaced", "2");
        r.d = disk_new(r.root, r.attic);
        create(&r, "new");
        put_at(&r, "new", "3", 0);
        disk_synced(r.d, ino_of(in(&r, "new")), disk_now(r.d));
        ck_assert_int_eq(unlink(in(&r, "gone")), 0);
        disk_unlinked(r.d, r.root_ino, "gone");
        create(&r, "tmp");
        put_at(&r, "tmp", "4", 0);
        disk_synced(r.d, ino_of(in(&r, "tmp")), disk_now(r.d));
        char from[400];
        snprintf(from, sizeof from, "%s", in(&r, "tmp"));
        ck_assert_int_eq(rename(from, in(&r, "replaced")), 0);
        disk_renamed(r.d, r.root_ino, "tmp", "replaced");
        if (synced == 1) {
            disk_synced(r.d, r.root_ino, disk_now(r.d));
        }
        disk_crash(r.d, LOSES_ALL);
        expect_file(&r, "new", synced == 1 ? "3" : NULL);
        expect_file(&r, "gone", synced == 1 ? NULL : "1");
        expect_file(&r, "replaced", synced == 1 ? "4" : "2");
        expect_file(&r, "tmp", NULL);
        disk_free(r.d);
    }
}
END_TEST

START_TEST(test_directories)
{
    struct rig r;
    rig_open(&r);
    r.d = disk_new(r.root, r.attic);
    ck_assert_int_eq(mkdir(in(&r, "a"), 0700), 0);
    disk_created(r.d, r.root_ino, "a", r.path);
    uint64_t a = ino_of(r.path);
    disk_synced(r.d, r.root_ino, disk_now(r.d));
    close(open(in(&r, "a/f"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    disk_created(r.d, a, "f", r.path);
    disk_synced(r.d, a, disk_now(r.d));
    ck_assert_int_eq(mkdir(in(&r, "b"), 0700), 0);
    disk_created(r.d, r.root_ino, "b", r.path);
    uint64_t b = ino_of(r.path);
    close(open(in(&r, "b/f"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    disk_created(r.d, b, "f", r.path);
    disk_synced(r.d, b, disk_now(r.d)); /* of no use: its own name is not durable */
    disk_crash(r.d, LOSES_ALL);
    expect_file(&r, "a/f", "");
    expect_file(&r, "b/f", NULL);
    ck_assert_int_ne(access(in(&r, "b"), F_OK), 0);
    disk_free(r.d);
}
END_TEST

/* What is unsynced when a process ends is unsynced for the next one. */
START_TEST(test_state)
{
    struct rig r;
    rig_open(&r);
    put_file(&r, "f", "old");
    r.d = disk_new(r.root, r.attic);
    put_at(&r, "f", "new", 0);
    create(&r, "g");
    disk_save(r.d);
    disk_free(r.d);
    r.d = disk_new(r.root, r.attic);
    put_at(&r, "f", "newest", 0);
    disk_crash(r.d, LOSES_ALL);
    expect_file(&r, "f", "old");
    expect_file(&r, "g", NULL);
    disk_free(r.d);
}
END_TEST

/* ---- The shim ---- */

static void change(unsigned way, const char *dir)
{
    char path[400], other[400];
    snprintf(path, sizeof path, "%s/f", dir);
    snprintf(other, sizeof other, "%s/g", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct iovec v = { path, 3 };
    off_t zero = 0;
    bool done;
    switch (way) {
    case 0: done = writev(fd, &v, 1) > 0; break;
    case 1: done = pwritev(fd, &v, 1, 0) > 0; break;
    case 2: done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED; break;
    case 3: done = posix_fallocate(fd, 0, 10) == 0; break;
    case 4: done = link(path, other) == 0; break;
    case 5: done = symlink(path, other) == 0; break;
    case 6: done = fopen(other, "w") != NULL; break;
    case 7: done = fdopen(fd, "w") != NULL; break;
    case 8: done = copy_file_range(fd, &zero, dup(fd), &zero, 1, 0) >= 0; break;
    case 9: done = syscall(1 /* write */, fd, path, 1) > 0; break;
    default: _exit((int)(write(fd, path, 1) - 1)); /* covered */
    }
    _exit(done ? 1 : 2);
}
#define WAYS 10

__attribute__((constructor)) static void be_a_changer(void)
{
    const char *way = getenv("KV_CHANGE");
    if (way != NULL) {
        change((unsigned)atoi(way), getenv("KV_POWERLOSS_DIR"));
    }
}

START_TEST(test_uncovered_ways_abort)
{
    for (unsigned way = 0; way <= WAYS; way++) {
        char self[4096], shim[4200], text[16];
        const char *dir = unit_tmpdir();
        ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
        self[n] = '\0';
        snprintf(shim, sizeof shim, "%s/preload_powerloss.so", dirname(self));
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            snprintf(text, sizeof text, "%u", way);
            setenv("LD_PRELOAD", shim, 1);
            setenv("KV_POWERLOSS_DIR", dir, 1);
            setenv("KV_CHANGE", text, 1);
            close(2);
            execl("/proc/self/exe", "change", (char *)NULL);
            _exit(127);
        }
        int status;
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        if (way < WAYS) {
            ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "way %u: %#x", way,
                          (unsigned)status);
        } else {
            ck_assert_msg(status == 0, "%#x", (unsigned)status);
        }
    }
}
END_TEST

UNIT_SUITE(powerloss)
{
    TCase *tc = tcase_create("both ways");
    tcase_add_loop_test(tc, test_writes, 0, 2);
    tcase_add_loop_test(tc, test_truncation, 0, 2);
    suite_add_tcase(suite, tc);
    unit_case(suite, "model", test_synced_writes_stay, test_what_a_sync_covers,
              test_tearing_and_reordering, test_names, test_directories, test_state);
    unit_case(suite, "shim", test_uncovered_ways_abort);
}
