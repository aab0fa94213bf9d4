/* test_diskfull.c -- A disk that fills up under load, and gets space again.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A round: four connections write until everything is refused with -MISCONF. Then what was
 * acknowledged can be read, nothing that was refused is there, and the server is kept or killed and
 * started again on the full disk. When space returns it takes writes again by itself; after one
 * more kill and start everything acknowledged is there.
 * On a loop-mounted ext4 of 64 MiB in a mount name space of the test's own (it goes with the
 * process), where that is permitted; everywhere with preload_full.c. */
#include "server.h"
#include "unit.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/rng.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLIENTS    4
#define VALUE_MAX  8000
#define SPARE      ((off_t)14 << 20) /* what a round leaves free on the mounted disk */
#define PRELOAD_AT 300               /* writes after which the other disk is full */
#define WRITES_MAX 20000
#define AFTER      100   /* writes once there is space again */
#define RESUME_MS  20000 /* a resumption that takes longer does not come by itself */
#define GET_BATCH  50

struct disk {
    struct server s;
    char filler[400]; /* mounted: takes the space; else: the sign that there is none */
    bool mounted;
    struct client *c[CLIENTS];
    unsigned acked[CLIENTS];
    bool waits[CLIENTS]; /* its last write is not answered */
};

/* ---- Space ---- */

static void take_space(struct disk *d)
{
    int fd = open(d->filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    if (d->mounted) {
        char root[400];
        struct statvfs fs;
        snprintf(root, sizeof root, "%s", d->filler);
        ck_assert_int_eq(statvfs(dirname(root), &fs), 0);
        off_t left = (off_t)(fs.f_bavail * fs.f_frsize);
        ck_assert_int_gt(left, SPARE);
        ck_assert_int_eq(posix_fallocate(fd, 0, left - SPARE), 0);
    }
    close(fd);
}

static void give_space(struct disk *d)
{
    ck_assert_int_eq(unlink(d->filler), 0);
}

/* ---- Writing ---- */

/* The value of write i of a connection follows from the two numbers. */
static size_t value_of(unsigned client, unsigned i, char *to)
{
    size_t n = 100 + (i * 2654435761u + client * 40503u) % (VALUE_MAX - 100);
    memset(to, 'a' + (int)((i + client) % 26), n);
    (void)!snprintf(to, n, "%u %u", client, i);
    to[strlen(to)] = ' ';
    return n;
}

static void send_next(struct disk *d, unsigned i)
{
    static char value[VALUE_MAX];
    char key[40];
    size_t n = value_of(i, d->acked[i], value);
    int k = snprintf(key, sizeof key, "k:%u:%u", i, d->acked[i]);
    client_send_args(d->c[i], 3, (const char *[]){ "SET", key, value },
                     (const size_t[]){ 3, (size_t)k, n });
    d->waits[i] = true;
}

static bool is_refused(const struct resp *reply)
{
    return reply->type == RESP_ERROR && strncmp(reply->text, "MISCONF", 7) == 0;
}

/* One write of each connection. How many were refused or are not answered. */
static unsigned write_each(struct disk *d, int patience_ms)
{
    unsigned no = 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (!d->waits[i]) {
            send_next(d, i);
        }
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        const struct resp *reply;
        client_timeout(d->c[i], patience_ms);
        enum resp_status status = client_try_read(d->c[i], &reply);
        ck_assert_msg(status == RESP_OK || status == RESP_TIMEOUT, "%s", client_problem(d->c[i]));
        if (status == RESP_TIMEOUT) {
            no++;
            continue;
        }
        d->waits[i] = false;
        if (is_refused(reply)) {
            no++;
        } else {
            ck_assert_int_eq(reply->type, RESP_SIMPLE);
            d->acked[i]++;
        }
    }
    return no;
}

static void connect_all(struct disk *d)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        d->c[i] = server_connect(&d->s);
        d->waits[i] = false;
    }
}

static void close_all(struct disk *d)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_close(d->c[i]);
        d->c[i] = NULL;
    }
}

/* ---- What must hold ---- */

static void check_value(struct client *c, unsigned client, unsigned i)
{
    static char value[VALUE_MAX];
    size_t n = value_of(client, i, value);
    const struct resp *reply = client_read(c);
    ck_assert_msg(reply->type == RESP_BULK && reply->len == n && memcmp(reply->text, value, n) == 0,
                  "k:%u:%u was acknowledged, it is %s", client, i, client_last_line(c));
}

static void check_acked(struct disk *d)
{
    struct client *c = server_connect(&d->s);
    for (unsigned i = 0; i < CLIENTS; i++) {
        for (unsigned from = 0; from < d->acked[i]; from += GET_BATCH) {
            unsigned to = from + GET_BATCH < d->acked[i] ? from + GET_BATCH : d->acked[i];
            for (unsigned k = from; k < to; k++) {
                client_send(c, "GET k:%u:%u", i, k);
            }
            for (unsigned k = from; k < to; k++) {
                check_value(c, i, k);
            }
        }
    }
    client_close(c);
}

/* On a full disk: a write that waits for space may hold up a few keys (their shard's group), each
 * read has a connection of its own. */
static void check_reads_live(struct disk *d)
{
    unsigned answered = 0, asked = 0;
    for (unsigned k = 0; k < 40; k++) {
        unsigned i = k % CLIENTS;
        if (d->acked[i] == 0) {
            continue;
        }
        struct client *c = server_connect(&d->s);
        const struct resp *reply;
        client_timeout(c, 1000);
        asked++;
        if (client_try_send(c, "STRLEN k:%u:%u", i, (unsigned)rng_below(d->acked[i])) &&
            client_try_read(c, &reply) == RESP_OK) {
            ck_assert_int_eq(reply->type, RESP_INT);
            ck_assert_int_ge(reply->integer, 100);
            answered++;
        }
        client_close(c);
    }
    ck_assert_uint_gt(asked, 0);
    ck_assert_uint_ge(answered, asked - asked / 8);
}

static void check_refused(struct disk *d)
{
    struct client *c = server_connect(&d->s);
    client_expect_error(c, "MISCONF", "SET refused 1");
    client_expect(c, "+OK", "MULTI");
    client_expect_error(c, "MISCONF", "SET refused 1");
    client_expect_error(c, "EXECABORT", "EXEC");
    client_expect(c, "nil", "GET refused");
    client_expect(c, "+PONG", "PING");
    client_close(c);
}

/* ---- A round ---- */

static void fill_up(struct disk *d)
{
    unsigned writes = 0;
    while (write_each(d, 2000) < CLIENTS) {
        writes += CLIENTS;
        ck_assert_uint_lt(writes, WRITES_MAX);
        if (!d->mounted && writes == PRELOAD_AT) {
            take_space(d);
        }
    }
}

static void start(struct disk *d)
{
    server_start(&d->s, "--threads", "2", "--wal-segment-size", "2mb");
}

/* A start needs space only where the log has not yet prepared any. */
static void restart_full(struct disk *d)
{
    close_all(d);
    server_kill(&d->s);
    start(d);
    check_acked(d);
    connect_all(d);
}

static void resume(struct disk *d)
{
    int64_t deadline = clock_mono_ms() + unit_patient_ms(RESUME_MS);
    while (write_each(d, 2000) > 0) {
        ck_assert_int_lt(clock_mono_ms(), deadline);
        usleep(5000);
    }
    for (unsigned i = 0; i < AFTER; i++) {
        ck_assert_uint_eq(write_each(d, unit_patient_ms(10000)), 0);
    }
}

static void one_round(struct disk *d, unsigned round)
{
    memset(d->acked, 0, sizeof d->acked);
    char *command = NULL;
    must(asprintf(&command, "rm -rf %s/wal", d->s.dir) > 0);
    ck_assert_int_eq(system(command), 0);
    free(command);
    if (d->mounted) {
        take_space(d);
    }
    start(d);
    connect_all(d);
    fill_up(d);
    check_refused(d);
    check_reads_live(d);
    if (round % 2 == 1) {
        restart_full(d);
        (void)write_each(d, 2000);
    }
    give_space(d);
    resume(d);
    check_acked(d);
    close_all(d);
    server_kill(&d->s);
    start(d);
    check_acked(d);
    struct client *c = server_connect(&d->s);
    client_expect(c, "nil", "GET refused");
    client_close(c);
    server_stop(&d->s);
}

static void all_rounds(struct disk *d, const char *how)
{
    unsigned rounds = unit_torture() ? 20 : 2;
    for (unsigned i = 0; i < rounds; i++) {
        one_round(d, i);
    }
    printf("disk full, %s: %u rounds, nothing lost\n", how, rounds);
}

static void preload(struct disk *d)
{
    char self[400], shim[512];
    *d = (struct disk){ .mounted = false };
    server_init(&d->s, SERVER_KV);
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    ck_assert_int_gt(n, 0);
    self[n] = '\0';
    snprintf(shim, sizeof shim, "%s/preload_full.so", dirname(self));
    snprintf(d->filler, sizeof d->filler, "%s.full", d->s.dir);
    server_env(&d->s, "LD_PRELOAD", shim);
    server_env(&d->s, "KV_FULL_WHEN", d->filler);
}

START_TEST(test_full_preload)
{
    struct disk d;
    preload(&d);
    all_rounds(&d, "preload");
}
END_TEST

/* Another appendfsync cannot be had. What the server says of it is an error, and nothing is
 * different afterwards: a start on the full disk finds the log as it would have been. */
START_TEST(test_full_mode)
{
    struct disk d;
    preload(&d);
    start(&d);
    connect_all(&d);
    fill_up(&d);
    struct client *c = server_connect(&d.s);
    for (unsigned i = 0; i < 2; i++) {
        client_expect_error(c, "ERR CONFIG SET failed", "CONFIG SET appendfsync %s",
                            i == 0 ? "everysec" : "no");
        client_expect(c, "[\"appendfsync\", \"always\"]", "CONFIG GET appendfsync");
        client_expect(c, "+PONG", "PING");
    }
    client_close(c);
    check_refused(&d);
    restart_full(&d);
    check_refused(&d);
    give_space(&d);
    resume(&d);
    check_acked(&d);
    close_all(&d);
    server_stop(&d.s);
}
END_TEST

/* Under everysec a killed process may take its newest writes along, here all that came until the
 * disk was found to be full; the others are a prefix. */
static void forget_lost(struct disk *d)
{
    struct client *c = server_connect(&d->s);
    for (unsigned i = 0; i < CLIENTS; i++) {
        unsigned n = d->acked[i];
        while (n > 0 && client_int(c, "EXISTS k:%u:%u", i, n - 1) == 0) {
            n--;
        }
        ck_assert_uint_gt(n, 0);
        d->acked[i] = n;
    }
    client_close(c);
}

/* After an unclean end under everysec the log goes on as a new history, which takes space. */
START_TEST(test_full_unclean)
{
    struct disk d;
    preload(&d);
    server_start(&d.s, "--wal-segment-size", "2mb", "--appendfsync", "everysec");
    connect_all(&d);
    fill_up(&d);
    close_all(&d);
    server_kill(&d.s);
    server_start(&d.s, "--wal-segment-size", "2mb", "--appendonly", "no");
    forget_lost(&d);
    check_acked(&d);
    struct client *c = server_connect(&d.s);
    client_expect(c, "+OK", "SET unlogged 1");
    client_close(c);
    server_stop(&d.s);
    give_space(&d);
    start(&d);
    check_acked(&d);
    c = server_connect(&d.s);
    client_expect(c, "nil", "GET unlogged");
    client_close(c);
    server_stop(&d.s);
}
END_TEST

/* Skips the test where this may not be done. */
static void mount_disk(struct disk *d, const char *place)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        unit_skip("no mount name space of its own (needs root)");
    }
    char *command = NULL;
    must(asprintf(&command,
                  "truncate -s 64M %s.img && mkfs.ext4 -q -F -m 0 %s.img && mkdir -p %s && "
                  "mount -o loop %s.img %s",
                  place, place, place, place, place) > 0);
    int status = system(command);
    free(command);
    if (status != 0) {
        unit_skip("a file system cannot be loop-mounted here");
    }
    snprintf(d->filler, sizeof d->filler, "%s/filler", place);
    snprintf(d->s.dir, sizeof d->s.dir, "%s/data", place);
    ck_assert_int_eq(mkdir(d->s.dir, 0700), 0);
}

START_TEST(test_full_mount)
{
    struct disk d = { .mounted = true };
    char place[300];
    server_init(&d.s, SERVER_KV);
    snprintf(place, sizeof place, "%.250s.disk", d.s.dir);
    mount_disk(&d, place);
    all_rounds(&d, "loop mount");
    ck_assert_int_eq(umount2(place, MNT_DETACH), 0);
}
END_TEST

UNIT_SUITE(diskfull)
{
    unit_case_slow(suite, "full preload", unit_torture() ? 1200 : 300, test_full_preload,
                   test_full_unclean, test_full_mode);
    unit_case_slow(suite, "full mount", unit_torture() ? 1200 : 300, test_full_mount);
}
