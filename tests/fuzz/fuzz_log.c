/* fuzz_log.c -- The loader of the log on files made from the input, with repaired checksums.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The input is a list of pieces: a segment header, a batch with a body, a footer, zeros. Each is
 * what would be right at that place, then changed at the bytes that the input names, then its
 * checksums are made right again unless the input says otherwise. So the judgement behind the
 * checksums is what is tried. Whatever it is: judging, replaying and repairing do not crash, the
 * number of records is as reported, and after a repair the same records are there with nothing
 * torn (a repair may find no room for a file as large as its header says). */
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "wal/recover.h"
#include "wal/wal_format.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUT_MAX 2048
#define SEGMENT   (16u * WAL_BLOCK)
#define SEGMENTS  3
#define SALT      12345u
/* A repair gives a file the size that its header claims: beyond this it gets an error instead. */
#define FILE_MAX_BYTES (4u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct {
    char dir[64], history[128];
    uint8_t id[WAL_HISTORY_BYTES];
    uint8_t file[SEGMENTS][SEGMENT];
} fuzz;

struct maker {
    const uint8_t *p, *end;
    unsigned segment; /* index */
    uint64_t at, seq, lsn;
    uint32_t chain;
};

static uint8_t byte(struct maker *m)
{
    return m->p < m->end ? *m->p++ : 0;
}

/* Up to seven changed bytes, by offset and difference. */
static void change(struct maker *m, uint8_t *p, size_t n)
{
    for (unsigned k = byte(m) & 7; k > 0; k--) {
        size_t at = byte(m);
        p[(at | (size_t)byte(m) << 8) % n] ^= byte(m);
    }
}

static void make_segment_header(struct maker *m)
{
    struct wal_segment_header h = { .version = WAL_FORMAT_VERSION,
                                    .segment = m->segment + 1,
                                    .first_seq = m->seq,
                                    .first_lsn = m->lsn,
                                    .created_ms = 1,
                                    .chain = m->chain,
                                    .size = SEGMENT,
                                    .salt = SALT };
    memcpy(h.magic, WAL_SEGMENT_MAGIC, sizeof h.magic);
    memcpy(h.history, fuzz.id, sizeof fuzz.id);
    bool repair = byte(m) % 8 != 0;
    change(m, (uint8_t *)&h, 136);
    if (repair) {
        h.crc = crc32c(0, &h, offsetof(struct wal_segment_header, crc));
    }
    memcpy(fuzz.file[m->segment], &h, sizeof h);
    m->at = WAL_BLOCK;
}

/* Records of a body: frames in a row, as long as the bytes last. */
static size_t make_body(struct maker *m, uint8_t *body, unsigned *records, uint64_t *stream)
{
    size_t used = 0;
    *records = byte(m) % 4;
    for (unsigned i = 0; i < *records; i++) {
        struct wal_record_frame f = { .length_lo = 1u + byte(m) * (byte(m) % 8 == 0 ? 16u : 1u),
                                      .slot = byte(m) };
        bool repair = byte(m) % 8 != 0;
        uint8_t *payload = body + used + sizeof f;
        size_t n = f.length_lo;
        memset(payload, byte(m), n);
        change(m, (uint8_t *)&f, sizeof f);
        if (repair) {
            f.crc = crc32c(crc32c(crc32c(0, &f, 4), (uint8_t *)&f + 8, 8), payload, n);
        }
        memcpy(body + used, &f, sizeof f);
        used += sizeof f + n;
        *stream += (f.flags & WAL_REC_UNSHIPPED) == 0 ? n : 0;
    }
    return used;
}

static void make_batch(struct maker *m)
{
    static uint8_t body[4 * 5000];
    struct wal_batch_header h = { .magic = WAL_BATCH_MAGIC,
                                  .version = WAL_FORMAT_VERSION,
                                  .segment = m->segment + 1,
                                  .seq = m->seq,
                                  .index = m->seq,
                                  .first_lsn = m->lsn,
                                  .synced_upto = m->seq - 1,
                                  .wall_ms = 1,
                                  .chain = m->chain };
    unsigned records;
    uint64_t stream = 0;
    size_t n = make_body(m, body, &records, &stream);
    memcpy(h.history, fuzz.id, sizeof fuzz.id);
    h.records = records;
    h.flags = records == 0 ? WAL_BATCH_IDLE : 0;
    h.body_bytes = n;
    h.stream_bytes = stream;
    h.synced_upto -= byte(m) % 4 < m->seq ? byte(m) % 4 % m->seq : 0;
    unsigned repair = byte(m);
    h.body_crc = crc32c(0, body, n);
    change(m, (uint8_t *)&h, sizeof h);
    h.body_crc = repair % 8 != 0 ? crc32c(0, body, n) : h.body_crc;
    h.crc = repair % 16 != 1 ? crc32c(SALT, &h, offsetof(struct wal_batch_header, crc)) : h.crc;
    uint64_t bytes = (sizeof h + n + WAL_BLOCK - 1) / WAL_BLOCK * WAL_BLOCK;
    if (m->at + bytes > SEGMENT) {
        return;
    }
    memcpy(fuzz.file[m->segment] + m->at, &h, sizeof h);
    memcpy(fuzz.file[m->segment] + m->at + sizeof h, body, n);
    m->at += bytes;
    m->seq++;
    m->lsn += stream;
    m->chain = h.crc;
}

static void make_footer(struct maker *m)
{
    struct wal_segment_footer f = {
        .segment = m->segment + 1, .last_seq = m->seq - 1, .last_lsn = m->lsn, .chain = m->chain
    };
    memcpy(f.magic, WAL_FOOTER_MAGIC, sizeof f.magic);
    memcpy(f.history, fuzz.id, sizeof fuzz.id);
    bool repair = byte(m) % 8 != 0;
    change(m, (uint8_t *)&f, sizeof f);
    if (repair) {
        f.crc = crc32c(SALT, &f, offsetof(struct wal_segment_footer, crc));
    }
    if (m->at + WAL_BLOCK <= SEGMENT) {
        memcpy(fuzz.file[m->segment] + m->at, &f, sizeof f);
    }
    m->segment++;
    if (m->segment < SEGMENTS) {
        make_segment_header(m);
    }
}

static void make_files(const uint8_t *data, size_t n)
{
    struct maker m = { .p = data, .end = data + n, .seq = 1, .chain = 7 };
    memset(fuzz.file, 0, sizeof fuzz.file);
    make_segment_header(&m);
    while (m.p < m.end && m.segment < SEGMENTS) {
        switch (byte(&m) % 8) {
        case 6: make_footer(&m); break;
        case 7: m.at += m.at + WAL_BLOCK < SEGMENT ? WAL_BLOCK : 0; break;
        default: make_batch(&m); break;
        }
    }
    for (unsigned i = 0; i < SEGMENTS; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%020u.wal", fuzz.history, i + 1);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        must(fd >= 0 && write(fd, fuzz.file[i], SEGMENT) == SEGMENT);
        close(fd);
    }
}

/* ---- Loading ---- */

struct loaded {
    uint64_t records, hash;
};

static int count_records(void *arg, struct wal_batch *batch, const struct wal_record *rec,
                         unsigned n)
{
    struct loaded *l = arg;
    for (unsigned i = 0; i < n; i++) {
        l->hash = l->hash * 31 + crc32c(0, rec[i].payload.p, rec[i].payload.n) + rec[i].lsn;
    }
    l->records += n;
    wal_batch_release(batch);
    return 0;
}

static int load(bool repair, struct loaded *l, struct wal_report *report)
{
    const struct wal_recovery_options o = { .how = WAL_READ_CACHED };
    struct wal_recovery *r = NULL;
    struct wal_replay to = { .arg = l, .records = count_records };
    memset(report, 0, sizeof *report);
    memset(l, 0, sizeof *l);
    struct loaded early = { .records = 0 }; /* in one pass, as the server loads it */
    struct wal_replay at_once = { .arg = &early, .records = count_records };
    struct wal_report first;
    memset(&first, 0, sizeof first);
    int at_once_err = wal_recovery_load(&r, fuzz.dir, fuzz.id, &o, &at_once, &first);
    if (at_once_err == 0) {
        wal_recovery_free(r);
    }
    int err = wal_recovery_open(&r, fuzz.dir, fuzz.id, &o, report);
    must(err == at_once_err && strcmp(first.message, report->message) == 0);
    if (err != 0) {
        must(report->message[0] != '\0');
        return err;
    }
    must(wal_recovery_replay(r, &to) == 0);
    must(l->records == report->records && early.records == l->records && early.hash == l->hash);
    if (repair) {
        err = wal_recovery_repair(r, fuzz.dir, false);
        must(err == 0 || err == -EFBIG || err == -ENOSPC);
    }
    wal_recovery_free(r);
    return err;
}

static void remove_dir(void)
{
    char command[200];
    snprintf(command, sizeof command, "rm -rf %s", fuzz.dir);
    (void)!system(command);
}

static void once(void)
{
    if (fuzz.dir[0] != '\0') {
        return;
    }
    char hex[2 * WAL_HISTORY_BYTES + 1];
    const char *root = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    memset(fuzz.id, 0xab, sizeof fuzz.id);
    hex_encode(fuzz.id, sizeof fuzz.id, hex);
    hex[sizeof hex - 1] = '\0';
    snprintf(fuzz.dir, sizeof fuzz.dir, "%s/kv-fuzz-log.%ld", root, (long)getpid());
    snprintf(fuzz.history, sizeof fuzz.history, "%s/%s", fuzz.dir, hex);
    must(mkdir(fuzz.dir, 0700) == 0 && mkdir(fuzz.history, 0700) == 0);
    const struct rlimit files = { FILE_MAX_BYTES, FILE_MAX_BYTES };
    must(setrlimit(RLIMIT_FSIZE, &files) == 0 && signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    log_set_level(LOG_NOTHING_);
    atexit(remove_dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0 || n > INPUT_MAX) {
        return -1;
    }
    once();
    make_files(data, n);
    struct loaded first, again;
    struct wal_report report;
    if (load(true, &first, &report) == 0) {
        must(load(false, &again, &report) == 0);
        must(again.records == first.records && again.hash == first.hash);
        must(report.torn_bytes == 0);
    }
    return 0;
}
