/* test_torn.c -- The log of a real server, damaged at every byte of its last three batches and in
 * its sealed segments. SPDX-License-Identifier: BSD-3-Clause
 *
 * What must come out follows from what is left of the files, by rules written here again: a batch
 * that anything intact proves is never cut (the start is refused and names the LSNs), any other one
 * ends the log, and what is recovered is exactly the batches before it. Judged by the recovery as a
 * library, a sample also by starting the server. Sampled; all bytes with KV_TORTURE=1. */
#include "server.h"
#include "unit.h"
#include "base/rng.h"
#include "wal/recover.h"
#include "wal/wal_format.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCHES_MAX  4000
#define SEGMENTS_MAX 8
#define SEGMENT      (1u << 20)
#define SECTOR       512
#define TAIL         3
#define KEYS         640 /* one batch of a block each: two segments and a half */
#define CLIENTS      4

struct batch {
    unsigned segment;
    uint64_t offset, bytes, seq, synced, lsn; /* lsn: before it */
    uint64_t records, hash;                   /* up to here, itself included */
};
struct log {
    struct server s;
    char dir[400], history[2 * WAL_HISTORY_BYTES + 1];
    uint8_t id[WAL_HISTORY_BYTES];
    uint8_t *image[SEGMENTS_MAX]; /* of segment 1.. */
    uint64_t footer[SEGMENTS_MAX];
    int fd[SEGMENTS_MAX];
    unsigned segments;
    struct batch batch[BATCHES_MAX];
    unsigned batches;
};

/* ---- A log ---- */

/* One command of each client is on its way at a time, so batches are small and follow each other
 * with up to two in flight. */
static void fill(struct server *s)
{
    struct client *c[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++) {
        c[i] = server_connect(s);
    }
    for (unsigned k = 0; k < KEYS - 40; k++) {
        client_expect(c[0], "+OK", "SET key:%u value:%u", k, k);
    }
    for (unsigned k = KEYS - 40; k < KEYS; k += CLIENTS) {
        for (unsigned i = 0; i < CLIENTS; i++) {
            client_send(c[i], "SET key:%u value:%u", k + i, k + i);
        }
        for (unsigned i = 0; i < CLIENTS; i++) {
            client_expect_next(c[i], "+OK");
        }
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_close(c[i]);
    }
}

static void find_history(struct log *l)
{
    char path[500];
    snprintf(path, sizeof path, "%s/CURRENT", l->dir);
    FILE *f = fopen(path, "r");
    ck_assert(f != NULL && fscanf(f, "%40s", l->history) == 1);
    fclose(f);
    for (unsigned i = 0; i < WAL_HISTORY_BYTES; i++) {
        char pair[3] = { l->history[2 * i], l->history[2 * i + 1], '\0' };
        l->id[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

static void read_batches(struct log *l, unsigned n)
{
    uint64_t at = WAL_BLOCK;
    struct wal_batch_header h;
    for (memcpy(&h, l->image[n] + at, sizeof h); h.magic == WAL_BATCH_MAGIC;
         memcpy(&h, l->image[n] + at, sizeof h)) {
        struct batch *b = &l->batch[l->batches++];
        ck_assert_uint_lt(l->batches, BATCHES_MAX);
        uint64_t bytes = (sizeof h + h.body_bytes + WAL_BLOCK - 1) / WAL_BLOCK * WAL_BLOCK;
        *b = (struct batch){ .segment = n,
                             .offset = at,
                             .bytes = bytes,
                             .seq = h.seq,
                             .synced = h.synced_upto,
                             .lsn = h.first_lsn,
                             .records = h.records + (b > l->batch ? b[-1].records : 0) };
        at += bytes;
    }
    bool sealed = memcmp(l->image[n] + at, WAL_FOOTER_MAGIC, 8) == 0;
    l->footer[n] = sealed ? at : 0;
}

static void read_log(struct log *l)
{
    for (l->segments = 0; l->segments < SEGMENTS_MAX; l->segments++) {
        char path[600];
        unsigned n = l->segments;
        snprintf(path, sizeof path, "%s/%s/%020u.wal", l->dir, l->history, n + 1);
        l->fd[n] = open(path, O_RDWR | O_CLOEXEC);
        l->image[n] = calloc(1, SEGMENT + WAL_BLOCK);
        if (l->fd[n] < 0 || pread(l->fd[n], l->image[n], SEGMENT, 0) != SEGMENT ||
            memcmp(l->image[n], WAL_SEGMENT_MAGIC, 8) != 0) {
            break;
        }
        read_batches(l, n);
    }
}

struct replay {
    uint64_t records, hash;
    struct log *learn; /* notes the hash behind each batch */
};

static int replay_records(void *arg, struct wal_batch *batch, const struct wal_record *rec,
                          unsigned n)
{
    struct replay *r = arg;
    for (unsigned i = 0; i < n; i++, r->records++) {
        for (size_t k = 0; k < rec[i].payload.n; k++) {
            r->hash = (r->hash ^ (uint8_t)rec[i].payload.p[k]) * 0x100000001b3ull;
        }
    }
    for (unsigned i = 0; r->learn != NULL && i < r->learn->batches; i++) {
        if (r->learn->batch[i].records >= r->records) {
            r->learn->batch[i].hash = r->hash;
        }
    }
    wal_batch_release(batch);
    return 0;
}

static int recover(struct log *l, struct replay *out, struct wal_report *report)
{
    const struct wal_recovery_options o = { .how = WAL_READ_CACHED };
    struct wal_recovery *r = NULL;
    struct wal_replay to = { .arg = out, .records = replay_records };
    memset(report, 0, sizeof *report);
    int err = wal_recovery_open(&r, l->dir, l->id, &o, report);
    if (err == 0) {
        err = wal_recovery_replay(r, &to);
        wal_recovery_free(r);
    }
    struct replay early = { .learn = NULL }; /* in one pass, as the server loads it */
    struct wal_report again;
    memset(&again, 0, sizeof again);
    to.arg = &early;
    r = NULL;
    ck_assert_int_eq(wal_recovery_load(&r, l->dir, l->id, &o, &to, &again), err);
    ck_assert_str_eq(again.message, report->message);
    if (err == 0) {
        ck_assert_uint_eq(early.records, out->records);
        ck_assert_uint_eq(early.hash, out->hash);
        wal_recovery_free(r);
    }
    return err;
}

static struct log *log_new(void)
{
    struct log *l = calloc(1, sizeof *l);
    server_init(&l->s, SERVER_KV);
    server_start(&l->s, "--threads", "2", "--wal-segment-size", "1mb");
    fill(&l->s);
    server_kill(&l->s);
    snprintf(l->dir, sizeof l->dir, "%s/wal", l->s.dir);
    find_history(l);
    read_log(l);
    struct replay all = { .learn = l };
    struct wal_report report;
    ck_assert_int_eq(recover(l, &all, &report), 0);
    ck_assert_uint_eq(all.records, KEYS);
    ck_assert_uint_eq(l->batch[l->batches - 1].records, KEYS);
    ck_assert_uint_eq(report.torn_bytes, 0);
    ck_assert_uint_ge(l->segments, 3);
    const struct batch *from = &l->batch[l->batches - TAIL];
    ck_assert_uint_eq(from->segment, l->segments - 1);
    return l;
}

static void log_free(struct log *l)
{
    for (unsigned i = 0; i < SEGMENTS_MAX && l->image[i] != NULL; i++) {
        free(l->image[i]);
        if (l->fd[i] >= 0) {
            close(l->fd[i]);
        }
    }
    free(l);
}

/* ---- Damage ---- */

enum damage { CUT, ZERO_REST, ZERO_SECTOR, FLIP, OVERWRITE, DAMAGES };

struct wound {
    unsigned segment;
    enum damage kind;
    uint64_t at, from, to; /* from, to: the bytes that may have changed */
    uint64_t left;         /* of the file */
    uint8_t p[SEGMENT];    /* what the file is then */
};

static void make_wound(const struct log *l, struct wound *w, unsigned segment, enum damage kind,
                       uint64_t at)
{
    w->segment = segment;
    w->kind = kind;
    w->at = w->from = at;
    w->to = w->left = SEGMENT;
    memcpy(w->p, l->image[segment], SEGMENT);
    switch (kind) {
    case CUT: w->left = at; break;
    case ZERO_REST: memset(w->p + at, 0, SEGMENT - at); break;
    case ZERO_SECTOR:
        w->from = at / SECTOR * SECTOR;
        w->to = w->from + SECTOR;
        memset(w->p + w->from, 0, SECTOR);
        break;
    case FLIP:
        w->to = at + 1;
        w->p[at] ^= (uint8_t)(1u << rng_below(8));
        break;
    case OVERWRITE:
        w->to = at + 16 < SEGMENT ? at + 16 : SEGMENT;
        for (uint64_t i = at; i < w->to; i++) {
            w->p[i] = (uint8_t)rng_u64();
        }
        break;
    case DAMAGES: break;
    }
}

static void inflict(struct log *l, const struct wound *w)
{
    int fd = l->fd[w->segment];
    if (w->left < SEGMENT) {
        ck_assert_int_eq(ftruncate(fd, (off_t)w->left), 0);
    } else {
        ck_assert_int_eq(pwrite(fd, w->p + w->from, w->to - w->from, (off_t)w->from),
                         (ssize_t)(w->to - w->from));
    }
}

static void heal(struct log *l, const struct wound *w)
{
    ck_assert_int_eq(
        pwrite(l->fd[w->segment], l->image[w->segment] + w->from, w->to - w->from, (off_t)w->from),
        (ssize_t)(w->to - w->from));
}

static bool same(const struct log *l, const struct wound *w, uint64_t at, uint64_t n)
{
    return at + n <= w->left && memcmp(w->p + at, l->image[w->segment] + at, n) == 0;
}

/* The first batch that is not as it was (NULL: none); does anything intact prove it? */
static const struct batch *first_damaged(const struct log *l, const struct wound *w, bool *proven)
{
    const struct batch *hurt = NULL, *end = l->batch + l->batches;
    for (const struct batch *b = l->batch; b < end && hurt == NULL; b++) {
        hurt = b->segment == w->segment && !same(l, w, b->offset, b->bytes) ? b : NULL;
    }
    *proven = w->segment + 1 < l->segments; /* a later segment has been begun */
    for (const struct batch *b = l->batch; b < end && hurt != NULL; b++) {
        bool there =
            b->segment != w->segment || same(l, w, b->offset, sizeof(struct wal_batch_header));
        *proven |= there && b->synced >= hurt->seq;
    }
    return hurt;
}

struct tally {
    unsigned refused, cut, whole;
};

static void fail_at(const struct wound *w, int err, const struct wal_report *report)
{
    ck_abort_msg("damage %d at %llu of segment %u: error %d, %llu records, torn %llu: %s",
                 (int)w->kind, (unsigned long long)w->at, w->segment + 1, err,
                 (unsigned long long)report->records, (unsigned long long)report->torn_bytes,
                 report->message);
}

/* The message names the range: from the first LSN that is in doubt. */
static bool names_range(const char *text, uint64_t lsn)
{
    char from[64];
    snprintf(from, sizeof from, "LSN %llu to at least ", (unsigned long long)lsn);
    return strstr(text, from) != NULL;
}

static bool remains(const struct wound *w, uint64_t from)
{
    bool any = false;
    for (uint64_t i = from; i < w->left; i++) {
        any |= w->p[i] != 0;
    }
    return any;
}

static void judge(struct log *l, struct wound *w, struct tally *t)
{
    bool proven;
    const struct batch *hurt = first_damaged(l, w, &proven);
    struct replay got = { 0 };
    struct wal_report report;
    inflict(l, w);
    int err = recover(l, &got, &report);
    heal(l, w);
    if (hurt == NULL) {
        t->whole++;
        if (err != 0 || got.records != KEYS) {
            fail_at(w, err, &report);
        }
    } else if (proven) {
        t->refused++;
        if (err != WAL_E_DAMAGED || !names_range(report.message, hurt->lsn)) {
            fail_at(w, err, &report);
        }
    } else {
        t->cut++;
        const struct batch *last = hurt - 1;
        if (err != 0 || got.records != last->records || got.hash != last->hash ||
            report.end_lsn != hurt->lsn || (report.torn_bytes > 0) != remains(w, hurt->offset)) {
            fail_at(w, err, &report);
        }
    }
}

START_TEST(test_every_byte)
{
    struct log *l = log_new();
    struct wound *w = malloc(sizeof *w);
    struct tally t = { 0 };
    const struct batch *from = &l->batch[l->batches - TAIL], *last = &l->batch[l->batches - 1];
    uint64_t step = unit_torture() ? 1 : 59;
    for (enum damage kind = CUT; kind < DAMAGES; kind++) {
        for (uint64_t at = from->offset; at < last->offset + last->bytes; at += step) {
            make_wound(l, w, from->segment, kind, at);
            judge(l, w, &t);
        }
    }
    printf("torn: %u refused, %u cut, %u without effect\n", t.refused, t.cut, t.whole);
    ck_assert_uint_gt(t.refused, 0);
    ck_assert_uint_gt(t.cut, 0);
    free(w);
    log_free(l);
}
END_TEST

/* Flips in every sector of what is sealed, the headers and footers included. */
START_TEST(test_sealed)
{
    struct log *l = log_new();
    struct wound *w = malloc(sizeof *w);
    unsigned refused = 0, step = unit_torture() ? 1 : 17;
    for (unsigned n = 0; n + 1 < l->segments; n++) {
        ck_assert_uint_gt(l->footer[n], 0);
        for (uint64_t at = 0; at < l->footer[n] + WAL_BLOCK; at += (uint64_t)SECTOR * step) {
            struct replay got = { 0 };
            struct wal_report report;
            make_wound(l, w, n, FLIP, at + rng_below(SECTOR));
            inflict(l, w);
            int err = recover(l, &got, &report);
            heal(l, w);
            if (err != WAL_E_DAMAGED || strstr(report.message, "LSN ") == NULL) {
                fail_at(w, err, &report);
            }
            refused++;
        }
    }
    printf("sealed: %u flips, all refused\n", refused);
    ck_assert_uint_gt(refused, 100);
    free(w);
    log_free(l);
}
END_TEST

/* ---- A sample, as a user meets it ---- */

static uint64_t fingerprint(const struct log *l)
{
    uint64_t h = 0;
    uint8_t *p = malloc(2 * SEGMENT);
    for (unsigned i = 0; i < l->segments; i++) {
        ssize_t n = pread(l->fd[i], p, 2 * SEGMENT, 0);
        h = h * 31 + (uint64_t)n;
        for (ssize_t k = 0; k < n; k++) {
            h = (h ^ p[k]) * 0x100000001b3ull;
        }
    }
    free(p);
    return h;
}

static void start_on(struct log *l, const struct wound *w)
{
    bool proven;
    const struct batch *hurt = first_damaged(l, w, &proven);
    ck_assert_ptr_nonnull(hurt);
    inflict(l, w);
    uint64_t before = fingerprint(l);
    ck_assert_int_eq(truncate(l->s.log, 0), 0);
    int status = server_try_start(&l->s, "--threads", "2", "--wal-segment-size", "1mb");
    if (proven && status == 0) { /* it answered LOADING */
        status = server_wait_exit(&l->s, 30000);
    }
    char *said = server_log(&l->s);
    if (proven) {
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_WAL_DAMAGED, "%x", status);
        ck_assert_msg(names_range(said, hurt->lsn), "%s", said);
        ck_assert_uint_eq(fingerprint(l), before);
        heal(l, w);
    } else {
        ck_assert_int_eq(status, 0);
        server_wait_ready(&l->s);
        free(said);
        said = server_log(&l->s);
        struct client *c = server_connect(&l->s);
        ck_assert_int_eq(client_int(c, "DBSIZE"), (int64_t)hurt[-1].records);
        client_expect(c, "+OK", "SET one more"); /* it goes on from there */
        client_close(c);
        server_kill(&l->s);
        server_start(&l->s, "--threads", "2", "--wal-segment-size", "1mb");
        c = server_connect(&l->s);
        ck_assert_int_eq(client_int(c, "DBSIZE"), (int64_t)hurt[-1].records + 1);
        client_close(c);
        server_kill(&l->s);
        if (remains(w, hurt->offset)) {
            char expected[64];
            snprintf(expected, sizeof expected, "bytes behind LSN %llu",
                     (unsigned long long)hurt->lsn);
            ck_assert_msg(strstr(said, expected) != NULL, "%s: %s", expected, said);
        }
    }
    free(said);
}

START_TEST(test_server)
{
    struct log *l = log_new();
    struct wound *w = malloc(sizeof *w);
    const struct batch *last = &l->batch[l->batches - 1];
    make_wound(l, w, 0, FLIP, WAL_BLOCK + 200);
    start_on(l, w);
    make_wound(l, w, 1, ZERO_SECTOR, 10 * WAL_BLOCK);
    start_on(l, w);
    make_wound(l, w, last->segment, FLIP, last[-TAIL].offset + 150);
    start_on(l, w);
    enum damage kind = (enum damage)(_i % DAMAGES); /* of the end: never proven */
    make_wound(l, w, last->segment, kind, last->offset + 130);
    start_on(l, w);
    free(w);
    log_free(l);
}
END_TEST

UNIT_SUITE(torn_server)
{
    unit_case_slow(suite, "torn every byte", unit_torture() ? 1800 : 900, test_every_byte);
    unit_case_slow(suite, "torn sealed", unit_torture() ? 1800 : 900, test_sealed);
    unit_case_loop(suite, "torn server", 60, test_server, DAMAGES);
}
