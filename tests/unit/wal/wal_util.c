/* wal_util.c -- The rig and the reader of wal_util.h.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "wal_util.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- Rig ---- */

static void on_wake(void *arg, unsigned producer)
{
    struct rig *r = arg;
    pthread_mutex_lock(&r->bed[producer].mutex);
    r->bed[producer].wakes++;
    pthread_cond_signal(&r->bed[producer].cond);
    pthread_mutex_unlock(&r->bed[producer].mutex);
}

void rig_init(struct rig *r, const char *dir)
{
    memset(r, 0, sizeof *r);
    r->cfg = (struct wal_config){
        .dir = dir,
        .sync = WAL_SYNC_ALWAYS,
        .producers = RIG_PRODUCERS,
        .depth = 2,
        .segment_bytes = 256 * 1024,
        .queue_bytes = 1 << 20,
        .wake = on_wake,
        .wake_arg = r,
    };
    for (unsigned i = 0; i < RIG_PRODUCERS; i++) {
        pthread_mutex_init(&r->bed[i].mutex, NULL);
        pthread_cond_init(&r->bed[i].cond, NULL);
    }
}

int rig_try_start(struct rig *r)
{
    int err = wal_open(&r->w, &r->cfg, &r->report);
    if (err == 0) {
        err = wal_start(r->w);
        if (err != 0) {
            wal_free(r->w);
            r->w = NULL;
        }
    }
    return err;
}

void rig_start(struct rig *r)
{
    int err = rig_try_start(r);
    ck_assert_msg(err == 0, "start: %d (%s) %s", err, err < 0 ? strerror(-err) : "",
                  r->report.message);
}

void rig_stop(struct rig *r)
{
    ck_assert_int_eq(wal_stop(r->w), 0);
    wal_free(r->w);
    r->w = NULL;
}

uint64_t rig_append(struct rig *r, unsigned producer, struct slice payload)
{
    struct wal_frame f = { .slot = (uint16_t)(payload.n % 16384), .db = (uint16_t)producer };
    return wal_append(r->w, producer, f, &payload, 1).v;
}

unsigned rig_wakes(struct rig *r, unsigned producer)
{
    pthread_mutex_lock(&r->bed[producer].mutex);
    unsigned wakes = r->bed[producer].wakes;
    pthread_mutex_unlock(&r->bed[producer].mutex);
    return wakes;
}

bool rig_sleep(struct rig *r, unsigned producer, unsigned seen, unsigned seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    int err = 0;
    pthread_mutex_lock(&r->bed[producer].mutex);
    while (err == 0 && r->bed[producer].wakes == seen) {
        err = pthread_cond_timedwait(&r->bed[producer].cond, &r->bed[producer].mutex, &until);
    }
    pthread_mutex_unlock(&r->bed[producer].mutex);
    return err == 0;
}

bool rig_wait_gate(struct rig *r, unsigned producer, uint64_t gate, unsigned seconds)
{
    wal_announce(r->w, producer);
    for (;;) {
        unsigned seen = rig_wakes(r, producer);
        if (wal_wait(r->w, producer, gate, false) >= gate) {
            return true;
        }
        if (!rig_sleep(r, producer, seen, seconds)) {
            return false;
        }
    }
}

struct wal_stats rig_stats(struct rig *r)
{
    struct wal_stats s;
    wal_stats(r->w, &s);
    return s;
}

/* 8 bytes that name it, then a pattern; most are small, some up to max. */
struct slice rig_payload(unsigned producer, uint64_t i, size_t max, char *buf)
{
    uint64_t h = (i + 1) * 0x9e3779b97f4a7c15u + producer * 0xbf58476d1ce4e5b9u;
    h ^= h >> 29;
    size_t n = 8 + (h % 16 == 0 ? h / 16 % max : h / 16 % 200);
    n = size_max(8, size_min(n, max));
    uint64_t name = (uint64_t)producer << 56 | i;
    memcpy(buf, &name, 8);
    for (size_t k = 8; k < n; k++) {
        buf[k] = (char)(h >> k % 57);
    }
    return slice_of(buf, n);
}

void rig_check_payloads(const struct seen_log *s, size_t max, uint64_t count[RIG_PRODUCERS])
{
    char *buf = mem_alloc(max + 8);
    memset(count, 0, RIG_PRODUCERS * sizeof *count);
    size_t wrong = s->records; /* one assertion for all: each costs a message to the runner */
    for (size_t i = 0; i < s->records && wrong == s->records; i++) {
        const struct seen_record *r = &s->record[i];
        uint64_t name = UINT64_MAX;
        memcpy(&name, r->payload, size_min(r->n, 8));
        unsigned producer = (unsigned)(name >> 56);
        if (producer >= RIG_PRODUCERS || name << 8 >> 8 != count[producer] ||
            !slice_eq(rig_payload(producer, count[producer], max, buf),
                      slice_of(r->payload, r->n))) {
            wrong = i;
            break;
        }
        count[producer]++;
    }
    ck_assert_uint_eq(wrong, s->records);
    mem_free(buf);
}

void *shared_memory(size_t n)
{
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    return p;
}

/* ---- Reader ---- */

struct walk {
    struct seen_log *log;
    uint64_t next_seq, next_lsn;
    uint32_t chain, salt;
    int64_t wall_ms;
};

static bool problem(struct walk *k, const char *what, uint64_t segment, uint64_t offset)
{
    snprintf(k->log->problem, sizeof k->log->problem, "segment %llu offset %llu: %s",
             (unsigned long long)segment, (unsigned long long)offset, what);
    return false;
}

static void *grow(void *array, size_t n, size_t size)
{
    return (n & (n - 1)) == 0 ? mem_realloc(array, (n == 0 ? 1 : 2 * n) * size) : array;
}

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Frame and payload as the producer sealed them. */
static bool read_records(struct walk *k, const struct wal_batch_header *h)
{
    struct seen_log *s = k->log;
    const uint8_t *p = (const uint8_t *)(h + 1), *end = p + h->body_bytes;
    for (unsigned i = 0; i < h->records; i++) {
        struct wal_record_frame f;
        if ((size_t)(end - p) < sizeof f) {
            return false;
        }
        memcpy(&f, p, sizeof f);
        p += sizeof f;
        uint64_t n = f.length_lo | (uint64_t)f.length_hi << 32;
        uint32_t crc = f.crc;
        if ((uint64_t)(end - p) < n || f.zero != 0) {
            return false;
        }
        uint8_t sealed[12];
        memcpy(sealed, &f, 4);
        memcpy(sealed + 4, (uint8_t *)&f + 8, 8);
        if (crc32c(crc32c(0, sealed, sizeof sealed), p, n) != crc) {
            return false;
        }
        k->next_lsn += (f.flags & WAL_REC_UNSHIPPED) != 0 ? 0 : n;
        s->record = grow(s->record, s->records, sizeof *s->record);
        struct seen_record *r = &s->record[s->records++];
        *r = (struct seen_record){ .lsn = k->next_lsn, .seq = h->seq, .n = n };
        r->frame = (struct wal_frame){ .slot = f.slot, .db = f.db, .flags = f.flags };
        r->payload = (uint8_t *)mem_dup(p, n);
        p += n;
    }
    return p == end && k->next_lsn == h->first_lsn + h->stream_bytes;
}

/* One batch at `offset`; 0: no batch there, or a problem. Else its bytes on disk. */
static uint64_t read_batch(struct walk *k, const uint8_t *file, uint64_t size, uint64_t segment,
                           uint64_t offset)
{
    struct seen_log *s = k->log;
    const struct wal_batch_header *h = (const void *)(file + offset);
    if (h->magic != WAL_BATCH_MAGIC) {
        return 0;
    }
    if (h->crc != crc32c(k->salt, h, offsetof(struct wal_batch_header, crc))) {
        return problem(k, "header checksum", segment, offset);
    }
    uint64_t bytes = (sizeof *h + h->body_bytes + WAL_BLOCK - 1) / WAL_BLOCK * WAL_BLOCK;
    if (h->version != WAL_FORMAT_VERSION || h->segment != segment || h->term != 0 ||
        memcmp(h->history, s->history, WAL_HISTORY_BYTES) != 0) {
        return problem(k, "names something else", segment, offset);
    }
    if (h->seq != k->next_seq || h->index != h->seq || h->first_lsn != k->next_lsn) {
        return problem(k, "sequence or LSN", segment, offset);
    }
    if (h->chain != k->chain) {
        return problem(k, "chain", segment, offset);
    }
    if (h->synced_upto >= h->seq || h->wall_ms < k->wall_ms) {
        return problem(k, "synced_upto or time", segment, offset);
    }
    if (offset + bytes + WAL_BLOCK > size) {
        return problem(k, "no room for a footer", segment, offset);
    }
    if (crc32c(0, h + 1, h->body_bytes) != h->body_crc ||
        !all_zero(file + offset + sizeof *h + h->body_bytes, bytes - sizeof *h - h->body_bytes)) {
        return problem(k, "body", segment, offset);
    }
    if (!read_records(k, h)) {
        return problem(k, "records", segment, offset);
    }
    s->batch = grow(s->batch, s->batches, sizeof *s->batch);
    s->batch[s->batches++] = (struct seen_batch){ segment,     offset, h->seq,     h->synced_upto,
                                                  k->next_lsn, bytes,  h->records, h->flags };
    k->next_seq++;
    k->chain = h->crc;
    k->wall_ms = h->wall_ms;
    s->end_lsn = k->next_lsn;
    return bytes;
}

static bool read_header(struct walk *k, const struct wal_segment_header *h, uint64_t number,
                        uint64_t size)
{
    struct seen_log *s = k->log;
    if (memcmp(h->magic, WAL_SEGMENT_MAGIC, 8) != 0 ||
        h->crc != crc32c(0, h, offsetof(struct wal_segment_header, crc)) ||
        h->version != WAL_FORMAT_VERSION || h->must_understand != 0) {
        return problem(k, "segment header", number, 0);
    }
    if (number == 1) {
        k->next_seq = h->first_seq;
        k->next_lsn = s->end_lsn = h->first_lsn;
        k->chain = h->chain;
        k->salt = h->salt;
        memcpy(s->parent, h->parent, WAL_HISTORY_BYTES);
        s->fork_lsn = h->fork_lsn;
        s->fork_seq = h->fork_seq;
        s->flags = h->flags;
    }
    if (memcmp(h->history, s->history, WAL_HISTORY_BYTES) != 0 || h->segment != number ||
        h->first_seq != k->next_seq || h->first_lsn != k->next_lsn || h->chain != k->chain ||
        h->salt != k->salt || h->size != size ||
        memcmp(h->parent, s->parent, WAL_HISTORY_BYTES) != 0 || h->fork_lsn != s->fork_lsn ||
        h->fork_seq != s->fork_seq || h->flags != s->flags) {
        return problem(k, "segment header does not follow", number, 0);
    }
    s->segment = grow(s->segment, s->segments, sizeof *s->segment);
    s->segment[s->segments++] = (struct seen_segment){ number, size, h->first_seq, h->sync, false };
    return true;
}

static bool read_footer(struct walk *k, const struct wal_segment_footer *f, uint64_t number,
                        uint64_t offset)
{
    if (memcmp(f->magic, WAL_FOOTER_MAGIC, 8) != 0) {
        return false;
    }
    if (f->crc != crc32c(k->salt, f, offsetof(struct wal_segment_footer, crc)) ||
        f->segment != number || f->last_seq != k->next_seq - 1 || f->last_lsn != k->next_lsn ||
        f->chain != k->chain || !all_zero((const uint8_t *)(f + 1), WAL_BLOCK - sizeof *f)) {
        return problem(k, "footer", number, offset);
    }
    return true;
}

/* False at the end of the log. */
static bool read_segment(struct walk *k, const char *path, uint64_t number)
{
    struct buf b = { NULL, 0, 0 };
    int err = io_read_file(path, &b, SIZE_MAX / 4);
    if (err != 0) {
        buf_free(&b);
        return false;
    }
    const uint8_t *file = (const uint8_t *)b.p;
    bool goes_on = false;
    if (b.n < 2 * WAL_BLOCK || b.n % WAL_BLOCK != 0) {
        problem(k, "file size", number, b.n);
    } else if (!all_zero(file, b.n) && read_header(k, (const void *)file, number, b.n)) {
        uint64_t at = WAL_BLOCK, n;
        while (at + WAL_BLOCK <= b.n && (n = read_batch(k, file, b.n, number, at)) != 0) {
            at += n;
        }
        if (at + WAL_BLOCK <= b.n && k->log->problem[0] == '\0') {
            goes_on = read_footer(k, (const void *)(file + at), number, at);
            k->log->segment[k->log->segments - 1].sealed = goes_on;
            at += goes_on ? WAL_BLOCK : 0;
        }
        if (k->log->problem[0] == '\0' && !all_zero(file + at, b.n - at)) {
            problem(k, "something behind the end", number, at);
        }
    }
    buf_free(&b);
    return goes_on && k->log->problem[0] == '\0';
}

void seen_read(struct seen_log *s, const char *dir)
{
    memset(s, 0, sizeof *s);
    struct walk k = { .log = s };
    struct buf hex = { NULL, 0, 0 };
    char path[WAL_PATH_MAX];
    snprintf(path, sizeof path, "%s/wal/CURRENT", dir);
    if (io_read_file(path, &hex, 100) != 0 || hex.n != 41) {
        problem(&k, "CURRENT", 0, 0);
        buf_free(&hex);
        return;
    }
    for (unsigned i = 0; i < WAL_HISTORY_BYTES; i++) {
        unsigned v = 0;
        ck_assert_int_eq(sscanf(hex.p + 2 * i, "%2x", &v), 1);
        s->history[i] = (uint8_t)v;
    }
    for (uint64_t number = 1;; number++) {
        snprintf(path, sizeof path, "%s/wal/%.40s/%020llu.wal", dir, hex.p,
                 (unsigned long long)number);
        if (!read_segment(&k, path, number)) {
            break;
        }
    }
    buf_free(&hex);
}

void seen_free(struct seen_log *s)
{
    for (size_t i = 0; i < s->records; i++) {
        mem_free(s->record[i].payload);
    }
    mem_free(s->record);
    mem_free(s->batch);
    mem_free(s->segment);
}

void seen_read_sound(struct seen_log *s, const char *dir)
{
    seen_read(s, dir);
    ck_assert_msg(s->problem[0] == '\0', "%s", s->problem);
}
