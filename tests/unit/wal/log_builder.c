/* log_builder.c -- The other implementation of the log format, for tests.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "log_builder.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "unit.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Files ---- */

static char *join(const char *a, const char *b)
{
    char *s = NULL;
    ck_assert_int_ge(asprintf(&s, "%s/%s", a, b), 0);
    return s;
}

static char *history_dir(const struct log_builder *b, const uint8_t *history)
{
    char hex[2 * WAL_HISTORY_BYTES + 1] = { 0 };
    hex_encode(history, WAL_HISTORY_BYTES, hex);
    char *s = NULL;
    ck_assert_int_ge(asprintf(&s, "%s/%s", b->dir, hex), 0);
    return s;
}

char *lb_path(const struct log_builder *b, uint64_t number)
{
    char *dir = history_dir(b, b->history), *s = NULL;
    ck_assert_int_ge(asprintf(&s, "%s/%020llu.wal", dir, (unsigned long long)number), 0);
    free(dir);
    return s;
}

static int open_segment(const struct log_builder *b, uint64_t number, int flags)
{
    char *path = lb_path(b, number);
    int fd = open(path, flags | O_CLOEXEC, 0600);
    ck_assert_msg(fd >= 0, "%s", path);
    free(path);
    return fd;
}

void lb_poke(const struct log_builder *b, uint64_t number, uint64_t offset, const void *p, size_t n)
{
    int fd = open_segment(b, number, O_WRONLY);
    ck_assert_int_eq(pwrite(fd, p, n, (off_t)offset), (ssize_t)n);
    close(fd);
}

void lb_peek(const struct log_builder *b, uint64_t number, uint64_t offset, void *p, size_t n)
{
    int fd = open_segment(b, number, O_RDONLY);
    ck_assert_int_eq(pread(fd, p, n, (off_t)offset), (ssize_t)n);
    close(fd);
}

void lb_flip(const struct log_builder *b, uint64_t number, uint64_t offset)
{
    uint8_t c;
    lb_peek(b, number, offset, &c, 1);
    c ^= 1;
    lb_poke(b, number, offset, &c, 1);
}

void lb_truncate(const struct log_builder *b, uint64_t number, uint64_t size)
{
    int fd = open_segment(b, number, O_WRONLY);
    ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

void lb_zero(const struct log_builder *b, uint64_t number, uint64_t offset, size_t n)
{
    void *zeros = calloc(1, n);
    lb_poke(b, number, offset, zeros, n);
    free(zeros);
}

void lb_zero_segment(struct log_builder *b, uint64_t number)
{
    int fd = open_segment(b, number, O_WRONLY | O_CREAT | O_TRUNC);
    ck_assert_int_eq(ftruncate(fd, (off_t)b->segment_bytes), 0);
    close(fd);
}

void lb_set_current(const struct log_builder *b, const uint8_t *history)
{
    char hex[2 * WAL_HISTORY_BYTES + 1];
    hex_encode(history, WAL_HISTORY_BYTES, hex);
    hex[2 * WAL_HISTORY_BYTES] = '\n';
    char *path = join(b->dir, "CURRENT");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, hex, sizeof hex), (ssize_t)sizeof hex);
    close(fd);
    free(path);
}

/* ---- Segments and batches ---- */

static void write_segment_header(struct log_builder *b)
{
    struct wal_segment_header *h = calloc(1, sizeof *h);
    memcpy(h->magic, WAL_SEGMENT_MAGIC, 8);
    h->version = b->segment_version;
    h->must_understand = b->segment_must_understand;
    memcpy(h->history, b->history, WAL_HISTORY_BYTES);
    memcpy(h->parent, b->parent, WAL_HISTORY_BYTES);
    h->fork_lsn = b->fork_lsn;
    h->fork_seq = b->fork_seq;
    h->segment = b->segment;
    h->first_seq = b->seq;
    h->first_lsn = b->lsn;
    h->created_ms = b->wall_ms;
    h->sync = b->sync;
    h->chain = b->chain;
    h->size = b->segment_bytes;
    h->flags = b->segment_flags;
    h->salt = b->salt;
    h->crc = crc32c(0, h, offsetof(struct wal_segment_header, crc));
    lb_poke(b, b->segment, 0, h, sizeof *h);
    free(h);
    b->segment_version = WAL_FORMAT_VERSION;
    b->segment_must_understand = 0;
}

void lb_segment(struct log_builder *b)
{
    b->segment++;
    lb_zero_segment(b, b->segment);
    write_segment_header(b);
    b->offset = WAL_BLOCK;
}

void lb_record(struct log_builder *b, const char *payload, size_t n, uint16_t slot, uint16_t db,
               uint8_t flags)
{
    struct wal_record_frame f = {
        .length_lo = (uint32_t)n, .slot = slot, .flags = flags, .db = db
    };
    uint32_t crc = crc32c(0, &f, 4);
    crc = crc32c(crc, (const char *)&f + 8, 8);
    f.crc = crc32c(crc, payload, n);
    buf_add(&b->body, &f, sizeof f);
    buf_add(&b->body, payload, n);
    b->body_records++;
    b->body_stream += (flags & WAL_REC_UNSHIPPED) != 0 ? 0 : n;
    ck_assert_uint_lt(b->records, countof(b->record));
    b->record[b->records++] = (struct lb_record){ .payload = mem_dup(payload, n),
                                                  .n = n,
                                                  .lsn = b->lsn + b->body_stream,
                                                  .slot = slot,
                                                  .db = db,
                                                  .flags = flags };
}

static void fill_batch_header(struct log_builder *b, struct wal_batch_header *h, uint64_t synced,
                              uint16_t flags)
{
    *h = (struct wal_batch_header){
        .magic = WAL_BATCH_MAGIC,
        .version = b->batch_version,
        .flags = flags,
        .records = b->body_records,
        .segment = b->segment,
        .seq = b->seq,
        .index = b->seq,
        .first_lsn = b->lsn,
        .stream_bytes = b->body_stream,
        .body_bytes = b->body.n,
        .synced_upto = synced != UINT64_MAX ? synced
                       : b->seq > 2         ? b->seq - 2
                                            : 0,
        .wall_ms = ++b->wall_ms,
        .chain = b->chain,
        .must_understand = b->batch_must_understand,
        .body_crc = crc32c(0, b->body.p, b->body.n),
    };
    memcpy(h->history, b->history, WAL_HISTORY_BYTES);
    h->crc = crc32c(b->salt, h, offsetof(struct wal_batch_header, crc));
}

struct lb_batch *lb_write(struct log_builder *b, uint64_t synced_upto, uint16_t flags)
{
    struct wal_batch_header h;
    fill_batch_header(b, &h, synced_upto, flags);
    uint64_t bytes = (sizeof h + b->body.n + WAL_BLOCK - 1) / WAL_BLOCK * WAL_BLOCK;
    char *p = calloc(1, bytes);
    memcpy(p, &h, sizeof h);
    if (b->body.n > 0) {
        memcpy(p + sizeof h, b->body.p, b->body.n);
    }
    lb_poke(b, b->segment, b->offset, p, bytes);
    free(p);
    ck_assert_uint_lt(b->batches, LB_MAX);
    struct lb_batch *row = &b->batch[b->batches++];
    *row = (struct lb_batch){ .segment = b->segment,
                              .offset = b->offset,
                              .bytes = bytes,
                              .seq = b->seq,
                              .first_lsn = b->lsn,
                              .end_lsn = b->lsn + b->body_stream,
                              .records = b->records };
    b->offset += bytes;
    b->seq++;
    b->lsn += b->body_stream;
    b->chain = h.crc;
    b->body.n = 0;
    b->body_records = 0;
    b->body_stream = 0;
    b->batch_version = WAL_FORMAT_VERSION;
    b->batch_must_understand = 0;
    return row;
}

struct lb_batch *lb_add(struct log_builder *b, size_t n)
{
    char *p = malloc(n + 1);
    for (size_t i = 0; i < n; i++) {
        p[i] = (char)('a' + rng_below(26));
    }
    lb_record(b, p, n, (uint16_t)rng_below(16384), 0, 0);
    free(p);
    return lb_write(b, UINT64_MAX, 0);
}

void lb_footer(struct log_builder *b)
{
    union {
        struct wal_segment_footer f;
        char block[WAL_BLOCK];
    } u;
    memset(&u, 0, sizeof u);
    memcpy(u.f.magic, WAL_FOOTER_MAGIC, 8);
    memcpy(u.f.history, b->history, WAL_HISTORY_BYTES);
    u.f.segment = b->segment;
    u.f.last_seq = b->seq - 1;
    u.f.last_lsn = b->lsn;
    u.f.chain = b->chain;
    u.f.crc = crc32c(b->salt, &u.f, offsetof(struct wal_segment_footer, crc));
    lb_poke(b, b->segment, b->offset, &u, sizeof u);
    b->offset += WAL_BLOCK;
}

/* ---- Histories ---- */

static void begin_history(struct log_builder *b)
{
    rng_secret(b->history, sizeof b->history);
    rng_secret(&b->salt, sizeof b->salt);
    char *dir = history_dir(b, b->history);
    ck_assert_int_eq(mkdir(dir, 0700), 0);
    free(dir);
    b->segment = 0;
    b->seq = 1;
    b->chain = 0;
    lb_segment(b);
    lb_set_current(b, b->history);
}

void lb_fork_at(struct log_builder *b, uint64_t seq, uint64_t lsn)
{
    memcpy(b->parent, b->history, sizeof b->parent);
    b->fork_seq = seq;
    b->fork_lsn = lsn;
    b->lsn = lsn;
    begin_history(b);
}

void lb_fork(struct log_builder *b)
{
    lb_fork_at(b, b->seq - 1, b->lsn);
}

struct log_builder *lb_new(void)
{
    struct log_builder *b = calloc(1, sizeof *b);
    b->dir = join(unit_tmpdir(), "wal");
    ck_assert_int_eq(mkdir(b->dir, 0700), 0);
    b->segment_bytes = LB_SEGMENT;
    b->wall_ms = 1700000000000;
    b->batch_version = WAL_FORMAT_VERSION;
    b->segment_version = WAL_FORMAT_VERSION;
    begin_history(b);
    return b;
}

void lb_give_up(struct log_builder *b, unsigned records)
{
    while (b->records > records) {
        mem_free(b->record[--b->records].payload);
    }
}

void lb_free(struct log_builder *b)
{
    lb_give_up(b, 0);
    buf_free(&b->body);
    free(b->dir);
    free(b);
}

/* ---- Comparing ---- */

static uint64_t fingerprint(const char *dir)
{
    DIR *d = opendir(dir);
    ck_assert_ptr_nonnull(d);
    uint64_t sum = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.') {
            continue;
        }
        char *path = join(dir, e->d_name);
        uint64_t one = crc64(0, e->d_name, strlen(e->d_name));
        struct stat st;
        ck_assert_int_eq(stat(path, &st), 0);
        if (S_ISDIR(st.st_mode)) {
            one = one * 31 + fingerprint(path);
        } else {
            int fd = open(path, O_RDONLY | O_CLOEXEC);
            char *p = malloc((size_t)st.st_size + 1);
            ck_assert_int_eq(read(fd, p, (size_t)st.st_size), st.st_size);
            one = crc64(one, p, (size_t)st.st_size);
            free(p);
            close(fd);
        }
        sum += one; /* in whatever order the directory lists them */
        free(path);
    }
    closedir(d);
    return sum;
}

uint64_t lb_fingerprint(const struct log_builder *b)
{
    return fingerprint(b->dir);
}

struct collect {
    const struct log_builder *b;
    unsigned n;
};

static int compare_records(void *arg, struct wal_batch *batch, const struct wal_record *rec,
                           unsigned n)
{
    struct collect *c = arg;
    for (unsigned i = 0; i < n; i++, c->n++) {
        ck_assert_uint_lt(c->n, c->b->records);
        const struct lb_record *x = &c->b->record[c->n];
        ck_assert_uint_eq(rec[i].payload.n, x->n);
        ck_assert(memcmp(rec[i].payload.p, x->payload, x->n) == 0);
        ck_assert_uint_eq(rec[i].lsn, x->lsn);
        ck_assert_uint_eq(rec[i].slot, x->slot);
        ck_assert_uint_eq(rec[i].db, x->db);
        ck_assert_uint_eq(rec[i].flags, x->flags);
    }
    wal_batch_release(batch);
    return 0;
}

/* In one pass it comes to the same, and what was handed out before a refusal is a prefix. */
static void expect_same_in_one_pass(struct log_builder *b, const struct wal_recovery_options *o,
                                    int err, const struct wal_report *report)
{
    struct wal_report again;
    memset(&again, 0, sizeof again);
    struct wal_recovery *r = NULL;
    struct collect c = { b, 0 };
    struct wal_replay to = { .arg = &c, .records = compare_records };
    ck_assert_int_eq(wal_recovery_load(&r, b->dir, b->history, o, &to, &again), err);
    ck_assert_str_eq(again.message, report->message);
    ck_assert_uint_eq(again.records, report->records);
    ck_assert_uint_eq(c.n, report->records);
    ck_assert_uint_eq(again.end_lsn, report->end_lsn);
    ck_assert_uint_eq(again.torn_bytes, report->torn_bytes);
    ck_assert((r != NULL) == (err == 0));
    wal_recovery_free(r);
}

int lb_recover(struct log_builder *b, const struct wal_recovery_options *o,
               struct wal_report *report, unsigned *records)
{
    uint8_t current[WAL_HISTORY_BYTES];
    memcpy(current, b->history, sizeof current);
    memset(report, 0, sizeof *report);
    *records = 0;
    struct wal_recovery *r = NULL;
    int err = wal_recovery_open(&r, b->dir, current, o, report);
    if (!o->live && fault_armed() == 0) {
        expect_same_in_one_pass(b, o, err, report);
    }
    if (err != 0) {
        ck_assert_ptr_null(r);
        ck_assert_int_gt((int)strlen(report->message), 0);
        return err;
    }
    struct collect c = { b, 0 };
    struct wal_replay to = { .arg = &c, .records = compare_records };
    err = wal_recovery_replay(r, &to);
    ck_assert(err != 0 || c.n == report->records);
    *records = c.n;
    wal_recovery_free(r);
    return err;
}

/* ---- Expecting ---- */

static const struct wal_recovery_options expect_options = { .how = WAL_READ_CACHED };

void lb_expect_all(struct log_builder *b)
{
    struct wal_report report;
    unsigned records;
    ck_assert_int_eq(lb_recover(b, &expect_options, &report, &records), 0);
    ck_assert_uint_eq(records, b->records);
    ck_assert_uint_eq(report.end_lsn, b->lsn);
    ck_assert_uint_eq(report.last_seq, b->seq - 1);
    ck_assert_uint_eq(report.torn_bytes, 0);
}

void lb_expect_prefix(struct log_builder *b, const struct lb_batch *row, bool torn)
{
    struct wal_report report;
    unsigned records;
    ck_assert_msg(lb_recover(b, &expect_options, &report, &records) == 0, "%s", report.message);
    ck_assert_uint_eq(report.end_lsn, row->first_lsn);
    ck_assert_uint_eq(report.last_seq, row->seq - 1);
    ck_assert_uint_eq(records, row == b->batch ? 0 : row[-1].records);
    ck_assert_int_eq(report.torn_bytes > 0, torn);
    ck_assert_int_eq(strlen(report.message) > 0, torn);
    ck_assert(!report.clean);
}

void lb_expect_refused(struct log_builder *b, char letter, uint64_t lsn)
{
    struct wal_report report;
    unsigned records;
    uint64_t before = lb_fingerprint(b);
    ck_assert_int_eq(lb_recover(b, &expect_options, &report, &records), WAL_E_DAMAGED);
    char words[64];
    snprintf(words, sizeof words, "(case %c)", letter);
    ck_assert_msg(strstr(report.message, words) != NULL, "%s", report.message);
    snprintf(words, sizeof words, "LSN %llu to", (unsigned long long)lsn);
    ck_assert_msg(strstr(report.message, words) != NULL, "%s", report.message);
    ck_assert_uint_eq(lb_fingerprint(b), before);
}

void lb_expect_error(struct log_builder *b, int expected)
{
    struct wal_report report;
    unsigned records;
    uint64_t before = lb_fingerprint(b);
    ck_assert_int_eq(lb_recover(b, &expect_options, &report, &records), expected);
    ck_assert_uint_eq(lb_fingerprint(b), before);
}

struct log_builder *lb_with_batches(unsigned n)
{
    struct log_builder *b = lb_new();
    for (unsigned i = 0; i < n; i++) {
        lb_add(b, 100 + i);
    }
    return b;
}
