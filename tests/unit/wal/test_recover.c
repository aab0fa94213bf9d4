/* test_recover.c -- Every situation recovery can meet, built byte by byte: what is accepted, where
 * the log ends, what is refused. SPDX-License-Identifier: BSD-3-Clause */
#include "log_builder.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/mem.h"
#include "unit.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct wal_recovery_options disk = { .how = WAL_READ_DISK };
static const struct wal_recovery_options cached = { .how = WAL_READ_CACHED };
static const struct wal_recovery_options force = { .how = WAL_READ_CACHED, .force = true };

/* ---- Accepting ---- */

START_TEST(test_new_history_is_empty)
{
    struct log_builder *b = lb_new();
    struct wal_report report;
    unsigned records;
    ck_assert_int_eq(lb_recover(b, &disk, &report, &records), 0);
    ck_assert_uint_eq(report.end_lsn, 0);
    ck_assert_uint_eq(report.last_seq, 0);
    ck_assert_uint_eq(report.segments, 1);
    ck_assert(!report.clean);
    lb_free(b);
}
END_TEST

START_TEST(test_all_kinds_of_batches)
{
    struct log_builder *b = lb_new();
    lb_add(b, 10);
    lb_write(b, 0, WAL_BATCH_IDLE);
    lb_record(b, "one", 3, 5, 0, 0);
    lb_record(b, "two-unshipped", 13, WAL_SLOT_SEVERAL, 3, WAL_REC_UNSHIPPED);
    lb_record(b, "", 0, WAL_SLOT_ALL, 65535, 0);
    lb_write(b, 2, 0);
    lb_add(b, 3 * WAL_BLOCK);        /* several blocks */
    lb_add(b, WAL_BLOCK - 128 - 16); /* exactly one block, no padding */
    for (unsigned i = 0; i < 100; i++) {
        lb_record(b, "many", 4, 1, 0, 0);
    }
    lb_write(b, UINT64_MAX, 0);
    const struct wal_recovery_options *how[] = { &disk, &cached };
    for (unsigned i = 0; i < 2; i++) {
        struct wal_report report;
        unsigned records;
        ck_assert_int_eq(lb_recover(b, how[i], &report, &records), 0);
        ck_assert_uint_eq(records, 1 + 3 + 1 + 1 + 100);
        ck_assert_uint_eq(report.batches, 6);
        ck_assert_uint_eq(report.records, records);
        ck_assert_uint_eq(report.segments, 1);
        ck_assert_uint_eq(report.first_lsn, 0);
        ck_assert_uint_eq(report.end_lsn, b->lsn);
        ck_assert_int_eq(report.last_wall_ms, b->wall_ms);
    }
    lb_free(b);
}
END_TEST

START_TEST(test_many_segments)
{
    struct log_builder *b = lb_new();
    for (unsigned s = 0; s < 4; s++) {
        for (unsigned i = 0; i < 5; i++) {
            lb_add(b, 3000 + 500 * i);
        }
        lb_footer(b);
        lb_segment(b);
    }
    lb_add(b, 7);
    lb_zero_segment(b, 6); /* prepared */
    lb_zero_segment(b, 7);
    struct wal_report report;
    unsigned records;
    ck_assert_int_eq(lb_recover(b, &disk, &report, &records), 0);
    ck_assert_uint_eq(records, 21);
    ck_assert_uint_eq(report.segments, 5);
    lb_expect_all(b);
    lb_free(b);
}
END_TEST

/* Larger than what is read at once, so that the window grows and moves in every way it can. */
START_TEST(test_big_batches)
{
    struct log_builder *b = lb_new();
    b->segment_bytes = 64u << 20;
    lb_footer(b);
    lb_segment(b);
    const size_t sizes[] = { 100, 3u << 20, 100, 300u << 10, 1u << 20, 9u << 20, 200u << 10, 50 };
    for (unsigned i = 0; i < 16; i++) {
        lb_add(b, sizes[i % countof(sizes)]);
    }
    lb_expect_all(b);
    struct wal_report report;
    unsigned records;
    ck_assert_int_eq(lb_recover(b, &disk, &report, &records), 0);
    ck_assert_uint_eq(records, 16);
    lb_free(b);
}
END_TEST

START_TEST(test_clean_end)
{
    struct log_builder *b = lb_with_batches(3);
    struct wal_report report;
    unsigned records;
    lb_write(b, b->seq - 1, WAL_BATCH_CLEAN_END);
    ck_assert_int_eq(lb_recover(b, &cached, &report, &records), 0);
    ck_assert(report.clean);
    lb_footer(b);
    ck_assert_int_eq(lb_recover(b, &cached, &report, &records), 0);
    ck_assert(report.clean);
    lb_segment(b);
    lb_write(b, b->seq - 1, 0);
    ck_assert_int_eq(lb_recover(b, &cached, &report, &records), 0);
    ck_assert(!report.clean); /* the end has to be at the end */
    lb_free(b);
}
END_TEST

/* A footer alone is a segment switch: under everysec, answered records may not have been written.
 */
START_TEST(test_footer_is_no_clean_end)
{
    struct log_builder *b = lb_with_batches(3);
    lb_footer(b);
    lb_expect_all(b);
    struct wal_report report;
    unsigned records;
    ck_assert_int_eq(lb_recover(b, &cached, &report, &records), 0);
    ck_assert(!report.clean);
    lb_free(b);
}
END_TEST

/* ---- Ends ---- */

START_TEST(test_torn_tail_is_cut)
{
    struct log_builder *b = lb_with_batches(6);
    struct lb_batch *last = &b->batch[5];
    lb_flip(b, 1, last->offset + 150); /* body */
    lb_expect_prefix(b, last, true);
    lb_flip(b, 1, last->offset + 150);
    lb_expect_all(b);
    lb_flip(b, 1, last->offset + 50); /* header */
    lb_expect_prefix(b, last, true);
    lb_flip(b, 1, last->offset + 50);
    lb_flip(b, 1, last->offset + last->bytes - 1); /* padding */
    lb_expect_prefix(b, last, true);
    lb_free(b);
}
END_TEST

/* Two in flight: the later one landed, the earlier one did not. Neither was acknowledged. */
START_TEST(test_later_group_without_earlier)
{
    struct log_builder *b = lb_with_batches(5);
    struct lb_batch *lost = lb_add(b, 200);
    lb_add(b, 200);
    lb_zero(b, 1, lost->offset, lost->bytes);
    lb_expect_prefix(b, lost, true);
    lb_free(b);
}
END_TEST

/* The same, but what landed says that the earlier one had been synced. */
START_TEST(test_synced_batch_missing)
{
    struct log_builder *b = lb_with_batches(5);
    struct lb_batch *lost = lb_add(b, 200);
    lb_record(b, "later", 5, 0, 0, 0);
    lb_write(b, lost->seq, 0);
    lb_zero(b, 1, lost->offset, lost->bytes);
    lb_expect_refused(b, 'e', lost->first_lsn);
    lb_free(b);
}
END_TEST

START_TEST(test_header_of_next_segment_torn)
{
    struct log_builder *b = lb_with_batches(4);
    lb_footer(b);
    lb_segment(b);
    struct lb_batch *first = lb_add(b, 100);
    lb_flip(b, 2, 70);
    lb_expect_prefix(b, first, true);
    lb_zero(b, 2, 0, WAL_BLOCK);
    lb_expect_prefix(b, first, true);
    lb_zero(b, 2, WAL_BLOCK, WAL_BLOCK);
    lb_expect_prefix(b, first, false); /* a prepared segment */
    lb_free(b);
}
END_TEST

START_TEST(test_footer_torn)
{
    struct log_builder *b = lb_with_batches(4);
    uint64_t at = b->offset;
    lb_footer(b);
    lb_flip(b, 1, at + 40);
    struct wal_report report;
    unsigned records;
    ck_assert_int_eq(lb_recover(b, &cached, &report, &records), 0);
    ck_assert_uint_eq(records, 4);
    ck_assert_uint_gt(report.torn_bytes, 0);
    lb_flip(b, 1, at + 40);
    lb_flip(b, 1, at + 2000); /* the rest of its block is part of it */
    ck_assert_int_eq(lb_recover(b, &cached, &report, &records), 0);
    ck_assert_uint_gt(report.torn_bytes, 0);
    lb_segment(b); /* now something proves it */
    lb_expect_refused(b, 'e', b->lsn);
    lb_free(b);
}
END_TEST

/* A recycled file: blocks of an older life, everywhere. */
START_TEST(test_older_life)
{
    struct log_builder *b = lb_new();
    for (unsigned i = 0; i < 8; i++) {
        lb_add(b, 100);
    }
    lb_footer(b);
    char old[LB_SEGMENT];
    lb_peek(b, 1, 0, old, sizeof old);
    lb_segment(b);
    char header[WAL_BLOCK];
    lb_peek(b, 2, 0, header, sizeof header);
    lb_poke(b, 2, 0, old, sizeof old);
    struct wal_report report;
    unsigned records;
    ck_assert_int_eq(lb_recover(b, &cached, &report, &records), 0); /* not begun yet */
    ck_assert_uint_eq(records, 8);
    ck_assert_uint_eq(report.torn_bytes, 0);
    lb_poke(b, 2, 0, header, sizeof header); /* begun */
    ck_assert_int_eq(lb_recover(b, &cached, &report, &records), 0);
    ck_assert_uint_eq(records, 8);
    struct lb_batch *row = lb_add(b, 100);
    ck_assert_int_eq(lb_recover(b, &cached, &report, &records), 0);
    ck_assert_uint_eq(records, 9);
    ck_assert_uint_eq(report.torn_bytes, 0);
    /* An old block where something synced has to be. */
    lb_record(b, "x", 1, 0, 0, 0);
    lb_write(b, row->seq, 0);
    lb_poke(b, 2, row->offset, old + row->offset, WAL_BLOCK);
    lb_expect_refused(b, 'e', row->first_lsn);
    lb_free(b);
}
END_TEST

/* An attempt that was given up: right place, right sequence, wrong predecessor. */
START_TEST(test_wrong_chain)
{
    struct log_builder *b = lb_with_batches(4);
    uint32_t chain = b->chain;
    b->chain ^= 1;
    struct lb_batch *stray = lb_add(b, 100);
    lb_expect_prefix(b, stray, false);
    lb_record(b, "proof", 5, 0, 0, 0);
    lb_write(b, stray->seq, 0);
    lb_expect_refused(b, 'f', stray->first_lsn);
    ck_assert_uint_ne(chain, b->chain);
    lb_free(b);
}
END_TEST

START_TEST(test_misdirected_write)
{
    struct log_builder *b = lb_with_batches(8);
    char block[WAL_BLOCK];
    lb_peek(b, 1, b->batch[6].offset, block, sizeof block);
    lb_poke(b, 1, b->batch[3].offset, block, sizeof block);
    lb_expect_refused(b, 'e', b->batch[3].first_lsn); /* wrong sequence */
    lb_free(b);
}
END_TEST

/* ---- Refusals ---- */

START_TEST(test_sealed_flips_are_refused)
{
    struct log_builder *b = lb_new();
    for (unsigned s = 0; s < 3; s++) {
        for (unsigned i = 0; i < 4; i++) {
            lb_add(b, 1000 * i);
        }
        lb_footer(b);
        lb_segment(b);
    }
    uint64_t used = b->batch[3].offset + b->batch[3].bytes + WAL_BLOCK; /* with the footer */
    uint64_t step = unit_torture() ? 1 : 61;
    for (uint64_t number = 1; number <= 3; number++) {
        for (uint64_t at = 0; at < used; at += step) {
            struct wal_report report;
            unsigned records;
            lb_flip(b, number, at);
            int err = lb_recover(b, &cached, &report, &records);
            ck_assert_msg(err == WAL_E_DAMAGED, "segment %llu, offset %llu: %d",
                          (unsigned long long)number, (unsigned long long)at, err);
            lb_flip(b, number, at);
        }
    }
    lb_expect_all(b);
    lb_free(b);
}
END_TEST

START_TEST(test_segment_missing)
{
    struct log_builder *b = lb_new();
    for (unsigned s = 0; s < 3; s++) {
        lb_add(b, 100);
        lb_footer(b);
        lb_segment(b);
    }
    lb_zero_segment(b, 6);
    lb_expect_all(b); /* 5 is missing, but 6 was never used */
    char *path = lb_path(b, 2), *aside = NULL;
    ck_assert_int_ge(asprintf(&aside, "%s/aside", b->dir), 0);
    ck_assert_int_eq(rename(path, aside), 0);
    lb_expect_refused(b, 'e', b->batch[1].first_lsn);
    ck_assert_int_eq(rename(aside, path), 0);
    free(path);
    path = lb_path(b, 1);
    ck_assert_int_eq(rename(path, aside), 0);
    lb_expect_refused(b, 'e', 0);
    for (uint64_t number = 2; number <= 6; number++) {
        char *other = lb_path(b, number);
        unlink(other);
        free(other);
    }
    lb_expect_refused(b, 'e', 0); /* no segment at all */
    free(path);
    free(aside);
    lb_free(b);
}
END_TEST

/* Unreadable is never torn, above the proof either. A read that works when repeated is no damage.
 */
START_TEST(test_read_errors)
{
    struct log_builder *b = lb_with_batches(6);
    struct wal_report report;
    unsigned records;
    for (unsigned after = 0; after < 8; after++) {
        char spec[64];
        snprintf(spec, sizeof spec, "wal.read=eio:%u:0", after);
        ck_assert_int_eq(fault_arm(spec), 0);
        int err = lb_recover(b, &cached, &report, &records);
        ck_assert_int_eq(fault_arm(""), 0);
        if (err == 0) {
            ck_assert_uint_eq(records, 6); /* there were fewer reads */
            ck_assert_uint_gt(after, 0);
        } else {
            ck_assert(err == WAL_E_DAMAGED || err == -EIO); /* -EIO: during the replay */
        }
    }
    ck_assert_int_eq(fault_arm("wal.read=eio:0:1"), 0);
    ck_assert_int_eq(lb_recover(b, &cached, &report, &records), 0);
    ck_assert_uint_eq(records, 6);
    ck_assert_int_eq(fault_arm(""), 0);
    lb_free(b);
}
END_TEST

START_TEST(test_no_memory_decides_nothing)
{
    struct log_builder *b = lb_with_batches(3);
    lb_add(b, 3 * WAL_BLOCK);
    ck_assert_int_eq(fault_arm("mem.alloc=nomem:0:0"), 0);
    struct wal_report report = { .records = 0 };
    struct wal_recovery *r = NULL;
    int err = wal_recovery_open(&r, b->dir, b->history, &cached, &report);
    ck_assert_int_eq(fault_arm(""), 0);
    ck_assert_int_eq(err, -ENOMEM);
    ck_assert_ptr_null(r);
    lb_expect_all(b);
    lb_free(b);
}
END_TEST

/* ---- Versions and foreign files ---- */

START_TEST(test_newer_format)
{
    struct log_builder *b = lb_with_batches(3);
    b->batch_version = WAL_FORMAT_VERSION + 1;
    lb_add(b, 100);
    lb_expect_error(b, WAL_E_VERSION);
    lb_free(b);
    b = lb_with_batches(3);
    b->batch_must_understand = 4;
    lb_add(b, 100);
    lb_expect_error(b, WAL_E_VERSION);
    lb_free(b);
    b = lb_with_batches(3);
    lb_footer(b);
    b->segment_version = 7;
    lb_segment(b);
    lb_expect_error(b, WAL_E_VERSION);
    lb_free(b);
    b = lb_with_batches(3);
    lb_footer(b);
    b->segment_must_understand = 1;
    lb_segment(b);
    lb_expect_error(b, WAL_E_VERSION);
    lb_free(b);
}
END_TEST

/* Behind a torn end, too: what a newer program wrote is not cut by an older one. */
START_TEST(test_newer_format_behind_the_end)
{
    struct log_builder *b = lb_with_batches(3);
    struct lb_batch *torn = lb_add(b, 100);
    b->batch_version = WAL_FORMAT_VERSION + 1;
    lb_add(b, 100);
    lb_flip(b, 1, torn->offset + 3);
    lb_expect_error(b, WAL_E_VERSION);
    lb_free(b);
    b = lb_with_batches(3);
    b->segment_version = 9;
    lb_segment(b); /* not sealed before */
    lb_expect_error(b, WAL_E_VERSION);
    lb_free(b);
}
END_TEST

START_TEST(test_foreign_files)
{
    struct log_builder *b = lb_with_batches(3);
    struct log_builder *other = lb_with_batches(2);
    char *from = lb_path(other, 1), *to = lb_path(b, 1);
    ck_assert_int_eq(rename(from, to), 0);
    lb_expect_error(b, WAL_E_FOREIGN);
    free(from);
    free(to);
    lb_free(other);
    lb_free(b);
}
END_TEST

/* ---- Bytes nobody can trust ---- */

/* Header fields set to anything, with checksums repaired: never more than the batches before it,
 * never a crash or a huge allocation. */
START_TEST(test_absurd_headers)
{
    struct log_builder *b = lb_with_batches(4);
    struct lb_batch *row = lb_add(b, 500);
    struct wal_batch_header good, h;
    lb_peek(b, 1, row->offset, &good, sizeof good);
    const uint64_t values[] = {
        0, 1, 0x7fffffff, 0xffffffff, 1ull << 40, UINT64_MAX / 2, UINT64_MAX - 127, UINT64_MAX
    };
    for (unsigned i = 0; i < countof(values); i++) {
        for (unsigned field = 0; field < 5; field++) {
            h = good;
            uint64_t *at[] = { &h.body_bytes, &h.stream_bytes, &h.first_lsn, &h.synced_upto };
            if (field < 4) {
                *at[field] = values[i];
            } else {
                h.records = (uint32_t)values[i];
            }
            h.crc = crc32c(b->salt, &h, offsetof(struct wal_batch_header, crc));
            if (h.crc == good.crc || (field == 3 && h.synced_upto < h.seq) ||
                (field == 4 && h.records == good.records)) {
                continue;
            }
            lb_poke(b, 1, row->offset, &h, sizeof h);
            lb_expect_prefix(b, row, true);
        }
    }
    lb_free(b);
}
END_TEST

static void absurd_frame(struct log_builder *b, const struct lb_batch *row,
                         struct wal_record_frame f)
{
    char block[WAL_BLOCK], bad[WAL_BLOCK];
    lb_peek(b, 1, row->offset, block, sizeof block);
    memcpy(bad, block, sizeof bad);
    struct wal_batch_header *h = (struct wal_batch_header *)(void *)bad;
    memcpy(bad + sizeof *h, &f, sizeof f);
    h->body_crc = crc32c(0, h + 1, h->body_bytes);
    h->crc = crc32c(b->salt, h, offsetof(struct wal_batch_header, crc));
    lb_poke(b, 1, row->offset, bad, sizeof bad);
    lb_expect_prefix(b, row, true);
    lb_poke(b, 1, row->offset, block, sizeof block);
}

START_TEST(test_absurd_records)
{
    struct log_builder *b = lb_with_batches(4);
    struct lb_batch *row = lb_add(b, 500);
    struct wal_record_frame f, bad;
    lb_peek(b, 1, row->offset + sizeof(struct wal_batch_header), &f, sizeof f);
    bad = f;
    bad.length_lo = 499;
    absurd_frame(b, row, bad);
    bad.length_lo = 501;
    absurd_frame(b, row, bad);
    bad.length_lo = UINT32_MAX;
    absurd_frame(b, row, bad);
    bad = f;
    bad.length_hi = 1;
    absurd_frame(b, row, bad);
    bad = f;
    bad.slot = 16384;
    absurd_frame(b, row, bad);
    bad = f;
    bad.zero = 1;
    absurd_frame(b, row, bad);
    bad = f;
    bad.crc ^= 1; /* made wrong before the batch was: memory, not the disk */
    absurd_frame(b, row, bad);
    lb_expect_all(b);
    lb_free(b);
}
END_TEST

/* A client's bytes that look like a batch with a proof, behind a torn end. */
START_TEST(test_forged_proof)
{
    struct log_builder *b = lb_with_batches(4);
    struct wal_batch_header h = { .magic = WAL_BATCH_MAGIC,
                                  .version = WAL_FORMAT_VERSION,
                                  .segment = 1,
                                  .seq = 100,
                                  .synced_upto = 99 };
    memcpy(h.history, b->history, sizeof h.history);
    h.crc = crc32c(0, &h, offsetof(struct wal_batch_header, crc)); /* it does not know the salt */
    char value[3 * WAL_BLOCK] = { 0 };
    memcpy(value + WAL_BLOCK - 128 - 16, &h, sizeof h); /* on a block */
    lb_record(b, value, sizeof value, 0, 0, 0);
    struct lb_batch *row = lb_write(b, UINT64_MAX, 0);
    lb_flip(b, 1, row->offset);
    lb_expect_prefix(b, row, true);
    h.crc = crc32c(b->salt, &h, offsetof(struct wal_batch_header, crc));
    lb_poke(b, 1, row->offset + WAL_BLOCK, &h, sizeof h);
    lb_expect_refused(b, 'e', row->first_lsn); /* had it known */
    lb_free(b);
}
END_TEST

/* Random damage anywhere, with or without repaired checksums: whatever is accepted is a prefix. */
START_TEST(test_random_damage)
{
    struct log_builder *b = lb_with_batches(3);
    lb_footer(b);
    lb_segment(b);
    for (unsigned i = 0; i < 6; i++) {
        lb_add(b, 100 * i);
    }
    char image[2][LB_SEGMENT];
    lb_peek(b, 1, 0, image[0], LB_SEGMENT);
    lb_peek(b, 2, 0, image[1], LB_SEGMENT);
    uint64_t seed = unit_seed();
    for (unsigned round = 0; round < (unit_torture() ? 20000u : 1500u); round++) {
        unsigned s = round % 2;
        char bad[LB_SEGMENT];
        memcpy(bad, image[s], sizeof bad);
        for (unsigned k = 0; k < 1 + round % 7; k++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            size_t at = (size_t)(seed >> 33) % (11 * WAL_BLOCK);
            at = round % 3 == 0 ? at / WAL_BLOCK * WAL_BLOCK + at % 128 : at;
            bad[at] = (char)(seed >> 20);
            if (round % 3 == 0 && at >= WAL_BLOCK) {
                struct wal_batch_header *h =
                    (struct wal_batch_header *)(void *)(bad + at / WAL_BLOCK * WAL_BLOCK);
                h->crc = crc32c(b->salt, h, offsetof(struct wal_batch_header, crc));
            }
        }
        lb_poke(b, s + 1, 0, bad, sizeof bad);
        struct wal_report report;
        unsigned records;
        (void)lb_recover(b, round % 2 == 0 ? &cached : &force, &report, &records);
        lb_poke(b, s + 1, 0, image[s], LB_SEGMENT);
    }
    lb_expect_all(b);
    lb_free(b);
}
END_TEST

UNIT_SUITE(wal_recover)
{
    unit_case(suite, "accept", test_new_history_is_empty, test_all_kinds_of_batches,
              test_many_segments, test_big_batches, test_clean_end, test_footer_is_no_clean_end);
    unit_case(suite, "end", test_torn_tail_is_cut, test_later_group_without_earlier,
              test_synced_batch_missing, test_header_of_next_segment_torn, test_footer_torn,
              test_older_life, test_wrong_chain, test_misdirected_write);
    unit_case_slow(suite, "refuse", 600, test_sealed_flips_are_refused, test_segment_missing,
                   test_read_errors, test_no_memory_decides_nothing);
    unit_case(suite, "version", test_newer_format, test_newer_format_behind_the_end,
              test_foreign_files);
    unit_case_slow(suite, "untrusted", 600, test_absurd_headers, test_absurd_records,
                   test_forged_proof, test_random_damage);
}
