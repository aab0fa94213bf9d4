/* test_repair.c -- What recovery writes, and that it may be interrupted anywhere and repeated.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "log_builder.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/io.h"
#include "wal/wal_format.h"
#include "unit.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct wal_recovery_options cached = { .how = WAL_READ_CACHED };
static const struct wal_recovery_options disk = { .how = WAL_READ_DISK };
static const struct wal_recovery_options force = { .how = WAL_READ_CACHED, .force = true };

static struct wal_recovery *open_log(struct log_builder *b, const struct wal_recovery_options *o)
{
    struct wal_report report = { .records = 0 };
    struct wal_recovery *r = NULL;
    int err = wal_recovery_open(&r, b->dir, b->history, o, &report);
    ck_assert_msg(err == 0, "%d %s", err, report.message);
    return r;
}

static void repair(struct log_builder *b, const struct wal_recovery_options *o, bool fork)
{
    struct wal_recovery *r = open_log(b, o);
    ck_assert_int_eq(wal_recovery_repair(r, b->dir, fork), 0);
    wal_recovery_free(r);
}

static unsigned recovered(struct log_builder *b, uint64_t *torn)
{
    struct wal_report report;
    unsigned records;
    ck_assert_int_eq(lb_recover(b, &cached, &report, &records), 0);
    *torn = report.torn_bytes;
    return records;
}

static bool all_zero(struct log_builder *b, uint64_t number, uint64_t from, uint64_t to)
{
    bool zero = true;
    char *p = malloc(to - from);
    lb_peek(b, number, from, p, to - from);
    for (uint64_t i = 0; i < to - from; i++) {
        zero &= p[i] == 0;
    }
    free(p);
    return zero;
}

static struct log_builder *torn_log(void)
{
    struct log_builder *b = lb_new();
    for (unsigned i = 0; i < 6; i++) {
        lb_add(b, 100 + i);
    }
    lb_add(b, 2 * WAL_BLOCK);
    lb_flip(b, 1, b->batch[5].offset + 150);
    return b;
}

START_TEST(test_cut)
{
    struct log_builder *b = torn_log();
    uint64_t torn, end = b->batch[5].offset;
    char accepted[LB_SEGMENT], after[LB_SEGMENT];
    lb_peek(b, 1, 0, accepted, end);
    ck_assert_uint_eq(recovered(b, &torn), 5);
    ck_assert_uint_gt(torn, 2 * WAL_BLOCK);
    repair(b, &disk, false);
    ck_assert(all_zero(b, 1, end, LB_SEGMENT));
    lb_peek(b, 1, 0, after, end);
    ck_assert(memcmp(accepted, after, end) == 0);
    ck_assert_uint_eq(recovered(b, &torn), 5);
    ck_assert_uint_eq(torn, 0);
    uint64_t before = lb_fingerprint(b);
    repair(b, &disk, false); /* nothing is left to do */
    ck_assert_uint_eq(lb_fingerprint(b), before);
    lb_free(b);
}
END_TEST

/* Later files too: the writer takes them as prepared. */
START_TEST(test_cut_of_later_segments)
{
    struct log_builder *b = lb_new();
    for (unsigned i = 0; i < 3; i++) {
        lb_add(b, 100);
    }
    char noise[3000];
    memset(noise, 0x5a, sizeof noise);
    lb_zero_segment(b, 2);
    lb_zero_segment(b, 3);
    lb_poke(b, 2, 5000, noise, sizeof noise);
    lb_poke(b, 3, LB_SEGMENT - sizeof noise, noise, sizeof noise);
    uint64_t torn;
    ck_assert_uint_eq(recovered(b, &torn), 3);
    ck_assert_uint_eq(torn, 2 * sizeof noise);
    repair(b, &cached, false);
    ck_assert(all_zero(b, 2, 0, LB_SEGMENT) && all_zero(b, 3, 0, LB_SEGMENT));
    ck_assert_uint_eq(recovered(b, &torn), 3);
    lb_free(b);
}
END_TEST

START_TEST(test_torn_header_of_next_segment)
{
    struct log_builder *b = lb_new();
    lb_add(b, 100);
    lb_footer(b);
    lb_segment(b);
    lb_add(b, 100);
    lb_flip(b, 2, 50);
    repair(b, &cached, false);
    ck_assert(all_zero(b, 2, 0, LB_SEGMENT));
    struct wal_recovery *r = open_log(b, &cached);
    ck_assert_uint_eq(r->number, 2);
    ck_assert_uint_eq(r->at.offset, 0);
    wal_recovery_free(r);
    lb_free(b);
}
END_TEST

START_TEST(test_size_is_restored)
{
    struct log_builder *b = lb_new();
    lb_add(b, 100);
    struct lb_batch *last = lb_add(b, 100);
    lb_truncate(b, 1, last->offset + 77);
    repair(b, &disk, false);
    ck_assert(all_zero(b, 1, last->offset, LB_SEGMENT));
    uint64_t torn;
    ck_assert_uint_eq(recovered(b, &torn), 1);
    lb_free(b);
}
END_TEST

/* What the first segment's header says of its size, with its checksum right. */
static void claim_size(struct log_builder *b, uint64_t size)
{
    struct wal_segment_header h;
    lb_peek(b, 1, 0, &h, sizeof h);
    h.size = size;
    h.crc = crc32c(0, &h, offsetof(struct wal_segment_header, crc));
    lb_poke(b, 1, 0, &h, sizeof h);
}

static off_t file_size(struct log_builder *b, uint64_t number)
{
    struct stat st;
    char *path = lb_path(b, number);
    ck_assert_int_eq(stat(path, &st), 0);
    free(path);
    return st.st_size;
}

/* A size that no segment can have is damage, whatever the checksum: nobody makes a file of it. */
START_TEST(test_absurd_size)
{
    const uint64_t sizes[] = { 0,
                               WAL_BLOCK,
                               LB_SEGMENT + 1,
                               LB_SEGMENT + WAL_BLOCK / 2,
                               WAL_SEGMENT_MAX + WAL_BLOCK,
                               (uint64_t)1 << 62,
                               UINT64_MAX - WAL_BLOCK + 1 };
    struct log_builder *b = lb_with_batches(6);
    for (unsigned i = 0; i < countof(sizes); i++) {
        claim_size(b, sizes[i]);
        lb_expect_refused(b, 'e', 0);
    }
    claim_size(b, LB_SEGMENT);
    lb_expect_all(b);
    lb_free(b);
}
END_TEST

/* A size that a segment may have and the disk has not: an error at once, not a full disk. */
START_TEST(test_no_room_for_the_size)
{
    struct statvfs fs;
    ck_assert_int_eq(statvfs(unit_tmpdir(), &fs), 0);
    if ((uint64_t)fs.f_bavail * fs.f_frsize >= WAL_SEGMENT_MAX - LB_SEGMENT) {
        unit_skip("the disk has room for the largest segment");
    }
    struct log_builder *b = lb_with_batches(6);
    claim_size(b, WAL_SEGMENT_MAX);
    struct wal_recovery *r = open_log(b, &cached);
    ck_assert_int_eq(wal_recovery_repair(r, b->dir, false), -ENOSPC);
    ck_assert_int_eq(file_size(b, 1), LB_SEGMENT);
    wal_recovery_free(r);
    lb_free(b);
}
END_TEST

/* From the first batch that nothing proves, footers and later headers included, to the end. */
START_TEST(test_where_the_unproven_tail_begins)
{
    struct log_builder *b = lb_new();
    struct wal_recovery *r = open_log(b, &cached);
    ck_assert_uint_eq(r->proven, 0);
    ck_assert_uint_eq(r->from.offset, r->at.offset);
    wal_recovery_free(r);
    for (unsigned i = 0; i < 6; i++) {
        lb_add(b, 100); /* each proves the last but one */
    }
    r = open_log(b, &cached);
    ck_assert_uint_eq(r->proven, 4);
    ck_assert_uint_eq(r->from.seq, 5);
    ck_assert_uint_eq(r->from.offset, b->batch[4].offset);
    wal_recovery_free(r);
    lb_write(b, b->seq - 1, WAL_BATCH_IDLE);
    r = open_log(b, &cached);
    ck_assert_uint_eq(r->proven, 6);
    ck_assert_uint_eq(r->from.offset, b->batch[6].offset);
    wal_recovery_free(r);
    uint64_t footer = b->offset;
    lb_footer(b);
    r = open_log(b, &cached);
    ck_assert_uint_eq(r->proven, 7);
    ck_assert_uint_eq(r->from.segment, 0);
    ck_assert_uint_eq(r->from.offset, footer);
    wal_recovery_free(r);
    lb_segment(b);
    lb_write(b, b->seq - 1, 0);
    r = open_log(b, &cached);
    ck_assert_uint_eq(r->from.offset, footer);
    wal_recovery_free(r);
    lb_write(b, b->seq - 1, 0);
    r = open_log(b, &cached);
    ck_assert_uint_eq(r->proven, 8);
    ck_assert_uint_eq(r->from.segment, 1);
    ck_assert_uint_eq(r->from.offset, 2 * WAL_BLOCK);
    wal_recovery_free(r);
    lb_free(b);
}
END_TEST

/* The tail is written again and synced: failures of either are reported, and a change of the file
 * meanwhile is not made durable. */
START_TEST(test_rewriting_fails)
{
    struct log_builder *b = lb_new();
    for (unsigned i = 0; i < 4; i++) {
        lb_add(b, 100);
    }
    const struct {
        const char *spec;
        int err;
    } faults[] = { { "io.write=enospc", -ENOSPC },
                   { "io.fsync=eio", -EIO },
                   { "io.open=eio", -EIO },
                   { "io.fsync_dir=eio", -EIO },
                   { "wal.read=eio:0:0", -EIO } };
    for (unsigned i = 0; i < countof(faults); i++) {
        struct wal_recovery *r = open_log(b, &cached);
        ck_assert_int_eq(fault_arm(faults[i].spec), 0);
        ck_assert_int_eq(wal_recovery_repair(r, b->dir, false), faults[i].err);
        ck_assert_int_eq(fault_arm(""), 0);
        wal_recovery_free(r);
    }
    struct wal_recovery *r = open_log(b, &cached);
    lb_flip(b, 1, b->batch[3].offset + 140);
    ck_assert_int_eq(wal_recovery_repair(r, b->dir, false), WAL_E_DAMAGED);
    wal_recovery_free(r);
    lb_free(b);
}
END_TEST

/* Killed before any of its writes and syncs, and at each place in between; the next one finishes.
 */
START_TEST(test_interrupted)
{
    const char *points[] = { "io.write", "io.fsync", "io.open", "wal.repair" };
    for (unsigned p = 0; p < countof(points); p++) {
        bool reached = true;
        for (unsigned after = 0; reached; after++) {
            struct log_builder *b = torn_log();
            fflush(stdout);
            pid_t pid = fork();
            ck_assert_int_ge(pid, 0);
            if (pid == 0) {
                struct wal_report report = { .records = 0 };
                struct wal_recovery *r = NULL;
                char spec[64];
                snprintf(spec, sizeof spec, "%s=kill:%u", points[p], after);
                if (wal_recovery_open(&r, b->dir, b->history, &cached, &report) != 0 ||
                    fault_arm(spec) != 0 || wal_recovery_repair(r, b->dir, false) != 0) {
                    _exit(1);
                }
                _exit(0);
            }
            int status;
            ck_assert_int_eq(waitpid(pid, &status, 0), pid);
            ck_assert(WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
            reached = WIFSIGNALED(status);
            uint64_t torn;
            ck_assert_uint_eq(recovered(b, &torn), 5);
            repair(b, &cached, false);
            ck_assert_uint_eq(recovered(b, &torn), 5);
            ck_assert_uint_eq(torn, 0);
            ck_assert(all_zero(b, 1, b->batch[5].offset, LB_SEGMENT));
            lb_free(b);
        }
    }
}
END_TEST

/* ---- Any call fails ---- */

static struct log_builder *forked_log(void)
{
    struct log_builder *b = lb_new();
    for (unsigned h = 0; h < 3; h++) {
        lb_add(b, 100);
        lb_add(b, 200);
        lb_footer(b);
        lb_segment(b);
        lb_add(b, 300);
        if (h < 2) {
            lb_fork(b);
        }
    }
    return b;
}

static struct log_builder *damaged_log(void)
{
    struct log_builder *b = lb_new();
    for (unsigned i = 0; i < 8; i++) {
        lb_add(b, 100);
        if (i % 4 == 3) {
            lb_footer(b);
            lb_segment(b);
        }
    }
    lb_add(b, 100);
    lb_flip(b, 1, b->batch[2].offset + 150);
    return b;
}

static int count_records(void *arg, struct wal_batch *batch, const struct wal_record *rec,
                         unsigned n)
{
    (void)rec;
    *(unsigned *)arg += n;
    wal_batch_release(batch);
    return 0;
}

/* All that a start does. Its status; *records: how many it replayed. */
static int whole_start(struct log_builder *b, const struct wal_recovery_options *o,
                       unsigned *records)
{
    struct wal_report report = { .records = 0 };
    struct wal_recovery *r = NULL;
    *records = 0;
    int err = wal_recovery_open(&r, b->dir, b->history, o, &report);
    if (err != 0) {
        ck_assert_ptr_null(r);
        ck_assert(err < 0 || report.message[0] != '\0');
        return err;
    }
    struct wal_replay to = { .arg = records, .records = count_records };
    err = wal_recovery_repair(r, b->dir, o->force);
    err = err != 0 ? err : wal_recovery_replay(r, &to);
    wal_recovery_free(r);
    return err;
}

static const struct log_kind {
    struct log_builder *(*make)(void);
    const struct wal_recovery_options *how;
} log_kinds[] = {
    { torn_log, &cached }, { torn_log, &disk }, { forked_log, &disk }, { damaged_log, &force }
};

/* False: there were not so many calls of that kind. `all`: the records of that log. */
static bool start_fails_at(const struct log_kind *k, const char *fault, unsigned after,
                           unsigned count, unsigned all)
{
    struct log_builder *b = k->make();
    unsigned records, again;
    char spec[64];
    snprintf(spec, sizeof spec, "%s:%u:%u", fault, after, count);
    ck_assert_int_eq(fault_arm(spec), 0);
    int err = whole_start(b, k->how, &records);
    bool hit = fault_armed() == 0;
    ck_assert_int_eq(fault_arm(""), 0);
    bool memory = strstr(fault, "nomem") != NULL;
    ck_assert_msg(err == 0 || err == (memory ? -ENOMEM : -EIO) || (!memory && err == WAL_E_DAMAGED),
                  "%s: %d", spec, err);
    ck_assert_msg(err != 0 || records == all, "%s: %u of %u", spec, records, all);
    ck_assert_int_eq(whole_start(b, k->how, &again), 0);
    ck_assert_msg(again == all, "%s: %u of %u after it", spec, again, all);
    lb_free(b);
    return hit;
}

/* Once, or from then on: a start says so or does what it does otherwise, and the next one does. */
START_TEST(test_any_call_fails)
{
    const struct log_kind *k = &log_kinds[_i];
    const char *faults[] = { "mem.alloc=nomem",  "io.open=eio",      "io.read=eio",
                             "wal.read=eio",     "io.write=eio",     "io.fsync=eio",
                             "io.fsync_dir=eio", "io.fdatasync=eio", "io.mkdir=eio",
                             "io.rename=eio",    "io.truncate=eio",  "io.unlink=eio" };
    struct log_builder *untouched = k->make();
    unsigned all, runs = 0;
    ck_assert_int_eq(whole_start(untouched, k->how, &all), 0);
    ck_assert_uint_gt(all, 0);
    lb_free(untouched);
    for (unsigned f = 0; f < countof(faults); f++) {
        for (unsigned n = 0; start_fails_at(k, faults[f], n, 1, all); n++, runs++) {
            (void)start_fails_at(k, faults[f], n, 0, all);
        }
    }
    ck_assert_uint_gt(runs, 20);
    printf("log %d: %u calls failed, once and from then on, 0 violations\n", _i, runs);
}
END_TEST

/* ---- Forced ---- */

static char *aside_path(const struct log_builder *b, uint64_t seq)
{
    char hex[2 * WAL_HISTORY_BYTES + 1] = { 0 }, *s = NULL;
    hex_encode(b->history, WAL_HISTORY_BYTES, hex);
    ck_assert_int_ge(asprintf(&s, "%s/damaged-%s-%llu", b->dir, hex, (unsigned long long)seq), 0);
    return s;
}

static void compare_files(const char *a, const char *b)
{
    struct buf x = { NULL, 0, 0 }, y = { NULL, 0, 0 };
    ck_assert_int_eq(io_read_file(a, &x, 1 << 20), 0);
    ck_assert_int_eq(io_read_file(b, &y, 1 << 20), 0);
    ck_assert(slice_eq(buf_slice(&x), buf_slice(&y)));
    buf_free(&x);
    buf_free(&y);
}

/* The damaged files are copied once, and stay as they are: a history that forks before the damage
 * needs nothing cut. */
START_TEST(test_set_aside)
{
    struct log_builder *b = lb_new();
    for (unsigned s = 0; s < 3; s++) {
        for (unsigned i = 0; i < 4; i++) {
            lb_add(b, 100);
        }
        lb_footer(b);
        lb_segment(b);
    }
    lb_flip(b, 2, b->batch[5].offset + 150);
    char *dir = aside_path(b, b->batch[5].seq);
    struct wal_recovery *r = open_log(b, &force);
    ck_assert(r->forced);
    ck_assert_uint_eq(r->at.seq, b->batch[5].seq);
    uint64_t before = lb_fingerprint(b);
    ck_assert_int_eq(fault_arm("io.write=enospc"), 0);
    ck_assert_int_eq(wal_recovery_repair(r, b->dir, true), -ENOSPC);
    ck_assert_int_eq(fault_arm(""), 0);
    ck_assert_int_ne(access(dir, F_OK), 0); /* its name comes last */
    ck_assert_int_eq(wal_recovery_repair(r, b->dir, true), 0);
    for (uint64_t number = 2; number <= 4; number++) {
        char *original = lb_path(b, number), *copy = NULL;
        ck_assert_int_ge(asprintf(&copy, "%s/%s", dir, strrchr(original, '/') + 1), 0);
        compare_files(original, copy);
        free(original);
        free(copy);
    }
    ck_assert_uint_ne(lb_fingerprint(b), before);
    before = lb_fingerprint(b);
    ck_assert_int_eq(wal_recovery_repair(r, b->dir, true), 0); /* once */
    ck_assert_uint_eq(lb_fingerprint(b), before);
    wal_recovery_free(r);
    free(dir);
    /* The history that wal_start() begins now. */
    lb_give_up(b, b->batch[4].records);
    lb_fork_at(b, b->batch[4].seq, b->batch[4].end_lsn);
    lb_add(b, 10);
    uint64_t torn;
    ck_assert_uint_eq(recovered(b, &torn), b->records);
    lb_free(b);
}
END_TEST

START_TEST(test_set_aside_unreadable)
{
    struct log_builder *b = lb_new();
    for (unsigned i = 0; i < 3; i++) {
        lb_add(b, 100);
    }
    ck_assert_int_eq(fault_arm("wal.read=eio:2:0"), 0);
    struct wal_report report = { .records = 0 };
    struct wal_recovery *r = NULL;
    int err = wal_recovery_open(&r, b->dir, b->history, &force, &report);
    if (err == 0) {
        err = wal_recovery_repair(r, b->dir, true);
        ck_assert(err == 0 || err == -EIO); /* what was accepted must be readable to be rewritten */
    }
    ck_assert_int_eq(fault_arm(""), 0);
    wal_recovery_free(r);
    lb_free(b);
}
END_TEST

UNIT_SUITE(wal_repair)
{
    unit_case(suite, "cut", test_cut, test_cut_of_later_segments, test_torn_header_of_next_segment,
              test_size_is_restored, test_absurd_size, test_no_room_for_the_size,
              test_where_the_unproven_tail_begins, test_rewriting_fails, test_interrupted);
    unit_case_loop(suite, "any call fails", 300, test_any_call_fails, countof(log_kinds));
    unit_case(suite, "force", test_set_aside, test_set_aside_unreadable);
}
