/* test_torn.c -- The last batches cut, zeroed, flipped and overwritten at every byte.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * What must come out follows from what is left: a batch that an intact one proves is refused, any
 * other one ends the log, and what is recovered is exactly the batches before it. Sampled; all
 * bytes with KV_TORTURE=1. */
#include "log_builder.h"
#include "base/rng.h"
#include "unit.h"
#include <stdlib.h>
#include <string.h>

enum damage { CUT, ZERO_REST, ZERO_SECTOR, FLIP, OVERWRITE, DAMAGES };

#define BATCHES 12
#define SECTOR  512

struct sweep {
    struct log_builder *b;
    uint8_t image[LB_SEGMENT];
    uint64_t repaired;
};

/* The image with damage of one kind at `at`; how many bytes of the file are left. */
static size_t damage(uint8_t *p, enum damage kind, uint64_t at)
{
    switch (kind) {
    case CUT: return at;
    case ZERO_REST: memset(p + at, 0, LB_SEGMENT - at); break;
    case ZERO_SECTOR: memset(p + at / SECTOR * SECTOR, 0, SECTOR); break;
    case FLIP: p[at] ^= (uint8_t)(1u << rng_below(8)); break;
    case OVERWRITE:
        for (unsigned i = 0; i < 16 && at + i < LB_SEGMENT; i++) {
            p[at + i] = (uint8_t)rng_u64();
        }
        break;
    case DAMAGES: break;
    }
    return LB_SEGMENT;
}

static bool intact(const struct sweep *s, const uint8_t *p, size_t left, const struct lb_batch *row)
{
    return row->offset + row->bytes <= left &&
           memcmp(p + row->offset, s->image + row->offset, row->bytes) == 0;
}

static bool header_intact(const struct sweep *s, const uint8_t *p, size_t left,
                          const struct lb_batch *row)
{
    size_t n = sizeof(struct wal_batch_header);
    return row->offset + n <= left && memcmp(p + row->offset, s->image + row->offset, n) == 0;
}

/* The first batch that is not as it was (BATCHES: none), and whether something left proves it. */
static unsigned first_damaged(const struct sweep *s, const uint8_t *p, size_t left, bool *proven)
{
    unsigned k = 0;
    while (k < BATCHES && intact(s, p, left, &s->b->batch[k])) {
        k++;
    }
    *proven = false;
    for (unsigned j = 0; j < BATCHES && k < BATCHES; j++) {
        const struct lb_batch *row = &s->b->batch[j];
        if (header_intact(s, p, left, row)) {
            struct wal_batch_header h;
            memcpy(&h, p + row->offset, sizeof h);
            *proven |= h.synced_upto >= s->b->batch[k].seq;
        }
    }
    return k;
}

/* What recovery cut is gone, and the log can be continued where it ends. */
static void repair_and_look_again(struct sweep *s, unsigned records)
{
    const struct wal_recovery_options o = { .how = WAL_READ_CACHED };
    struct wal_report report;
    struct wal_recovery *r = NULL;
    ck_assert_int_eq(wal_recovery_open(&r, s->b->dir, s->b->history, &o, &report), 0);
    ck_assert_int_eq(wal_recovery_repair(r, s->b->dir, false), 0);
    wal_recovery_free(r);
    unsigned again;
    ck_assert_int_eq(lb_recover(s->b, &o, &report, &again), 0);
    ck_assert_uint_eq(again, records);
    ck_assert_uint_eq(report.torn_bytes, 0);
    s->repaired++;
}

/* Says which damage it was. */
#define CHECK(what)                                                                                \
    ck_assert_msg(what, "damage %d at %llu: batch %u, error %d, %u records, torn %llu", (int)kind, \
                  (unsigned long long)at, k, err, records, (unsigned long long)report.torn_bytes)

static void check_one(struct sweep *s, enum damage kind, uint64_t at)
{
    static uint8_t p[LB_SEGMENT];
    memcpy(p, s->image, sizeof p);
    size_t left = damage(p, kind, at);
    lb_truncate(s->b, 1, left);
    lb_poke(s->b, 1, 0, p, left);
    bool proven;
    unsigned k = first_damaged(s, p, left, &proven);
    uint64_t before = proven ? lb_fingerprint(s->b) : 0;

    const struct wal_recovery_options o = { .how = WAL_READ_CACHED };
    struct wal_report report;
    unsigned records;
    int err = lb_recover(s->b, &o, &report, &records);
    if (proven) {
        CHECK(err == WAL_E_DAMAGED);
        ck_assert_uint_eq(lb_fingerprint(s->b), before);
    } else {
        unsigned expected = k == 0 ? 0 : s->b->batch[k - 1].records;
        CHECK(err == 0 && records == expected);
        uint64_t end = k < BATCHES ? s->b->batch[k].offset : s->b->offset;
        bool remains = false;
        for (size_t i = end; i < left; i++) {
            remains |= p[i] != 0;
        }
        CHECK((report.torn_bytes > 0) == remains);
        if (at % 97 == 0) {
            repair_and_look_again(s, records);
        }
    }
    lb_truncate(s->b, 1, LB_SEGMENT);
}

START_TEST(test_torn_sweep)
{
    struct sweep s = { .b = lb_new() };
    for (unsigned i = 0; i < BATCHES; i++) {
        lb_add(s.b, i == BATCHES - 2 ? WAL_BLOCK + 500 : 700 + 10 * i);
    }
    lb_peek(s.b, 1, 0, s.image, sizeof s.image);
    const struct lb_batch *from = &s.b->batch[BATCHES - 3], *last = &s.b->batch[BATCHES - 1];
    uint64_t step = unit_torture() ? 1 : 53;
    for (enum damage kind = CUT; kind < DAMAGES; kind++) {
        for (uint64_t at = from->offset; at < last->offset + last->bytes; at += step) {
            check_one(&s, kind, at);
        }
        check_one(&s, kind, from->offset);
        check_one(&s, kind, last->offset + last->bytes - 1);
    }
    ck_assert_uint_gt(s.repaired, 0);
    lb_free(s.b);
}
END_TEST

UNIT_SUITE(wal_torn)
{
    unit_case_slow(suite, "sweep", 1800, test_torn_sweep);
}
