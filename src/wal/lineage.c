/* lineage.c -- From CURRENT back to the first history: which directories and files make up the log.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Every segment header repeats where its history came from, so that one damaged header
 *             hides neither the parents nor the salt that the proofs are read with.
 * THREADS     One caller. */
#include "wal/recover.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define LINEAGE_MAX 100000u /* histories; more is a loop or somebody else's files */

static bool parse_name(const char *name, uint64_t *number)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 20; i++) {
        if (name[i] < '0' || name[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, name[i] - '0', &v)) {
            return false;
        }
    }
    *number = v;
    return strcmp(name + 20, ".wal") == 0;
}

char *wal_lineage_file(const struct wal_history_info *h, uint64_t number)
{
    struct buf b = { NULL, 0, 0 };
    buf_printf(&b, "%s/%020llu.wal%c", h->path, (unsigned long long)number, '\0');
    return b.p;
}

static int by_number(const void *a, const void *b)
{
    const struct wal_segment_info *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

int wal_lineage_list(struct wal_history_info *h)
{
    DIR *d = opendir(h->path);
    if (d == NULL) {
        return -errno;
    }
    int err = 0;
    struct dirent *e;
    while (err == 0 && (errno = 0, e = readdir(d)) != NULL) {
        uint64_t number;
        if (!parse_name(e->d_name, &number)) {
            continue;
        }
        struct stat st;
        if (fstatat(dirfd(d), e->d_name, &st, 0) < 0) {
            err = errno == ENOENT ? 0 : -errno; /* retired while kv-wal looks */
            continue;
        }
        h->segment = mem_realloc(h->segment, (h->nsegments + 1) * sizeof *h->segment);
        h->segment[h->nsegments++] =
            (struct wal_segment_info){ .number = number, .bytes = (uint64_t)st.st_size };
    }
    if (err == 0 && e == NULL && errno != 0) {
        err = -errno;
    }
    closedir(d);
    if (h->nsegments > 1) {
        qsort(h->segment, h->nsegments, sizeof *h->segment, by_number);
    }
    return err;
}

/* The first header that is valid and names this history. *foreign: the first file's is valid and
 * names another. 0, -ENOMEM or WAL_E_VERSION. */
static int read_origin(struct wal_recovery *r, struct wal_history_info *h, bool *foreign)
{
    for (unsigned i = 0; i < h->nsegments && !h->known; i++) {
        struct wal_reader reader;
        char *path = wal_lineage_file(h, h->segment[i].number);
        int err = wal_reader_open(&reader, path, r->how, NULL);
        mem_free(path);
        if (err != 0 || reader.size < WAL_BLOCK) {
            wal_reader_close(&reader);
            continue; /* the walk will say what this means */
        }
        const uint8_t *p;
        err = wal_reader_need(&reader, 0, WAL_BLOCK, &p);
        if (err == 0) {
            const struct wal_segment_header *s = (const struct wal_segment_header *)(const void *)p;
            struct wal_expect x = { .segment = h->segment[i].number };
            memcpy(x.history, h->id, WAL_HISTORY_BYTES);
            unsigned in = wal_look_segment(s, &x, true);
            if ((in & WAL_SEEN_NEWER) != 0) {
                err = WAL_E_VERSION;
            } else if (in == 0) {
                memcpy(h->parent, s->parent, WAL_HISTORY_BYTES);
                h->fork_lsn = s->fork_lsn;
                h->fork_seq = s->fork_seq;
                h->flags = s->flags;
                h->salt = s->salt;
                h->known = true;
            } else if (i == 0 && (in & WAL_IN_INVALID) == 0) {
                *foreign = memcmp(s->history, h->id, WAL_HISTORY_BYTES) != 0;
            }
        }
        wal_reader_close(&reader);
        if (err == -ENOMEM || err == WAL_E_VERSION) {
            return err;
        }
    }
    return 0;
}

static int load_one(struct wal_recovery *r, const char *dir, struct wal_history_info *h,
                    struct wal_report *report)
{
    char hex[2 * WAL_HISTORY_BYTES + 1] = { 0 };
    hex_encode(h->id, WAL_HISTORY_BYTES, hex);
    struct buf b = { NULL, 0, 0 };
    buf_printf(&b, "%s/%s%c", dir, hex, '\0');
    h->path = b.p;
    int err = wal_lineage_list(h);
    if (err == -ENOENT) {
        h->missing = true;
        return 0;
    }
    bool foreign = false;
    if (err == 0) {
        err = read_origin(r, h, &foreign);
    }
    if (err == 0 && foreign) {
        err = WAL_E_FOREIGN;
    }
    if (err == WAL_E_FOREIGN || err == WAL_E_VERSION) {
        snprintf(report->message, sizeof report->message, "history %s: %s", hex,
                 err == WAL_E_FOREIGN ? "its files belong to another history"
                                      : "its files have a format newer than this program");
    }
    return err;
}

static bool is_root(const struct wal_history_info *h)
{
    static const uint8_t none[WAL_HISTORY_BYTES];
    return !h->known || (h->flags & WAL_SEGMENT_WHOLE) != 0 ||
           memcmp(h->parent, none, sizeof none) == 0;
}

static bool contains(const struct wal_recovery *r, const uint8_t *id)
{
    for (unsigned i = 0; i < r->nhistories; i++) {
        if (memcmp(r->history[i].id, id, WAL_HISTORY_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

int wal_lineage_load(struct wal_recovery *r, const char *dir,
                     const uint8_t current[WAL_HISTORY_BYTES], struct wal_report *report)
{
    uint8_t id[WAL_HISTORY_BYTES];
    memcpy(id, current, sizeof id);
    uint64_t need = UINT64_MAX;
    for (;;) {
        if (r->nhistories == LINEAGE_MAX || contains(r, id)) {
            snprintf(report->message, sizeof report->message,
                     "the histories name each other as parents");
            return WAL_E_FOREIGN;
        }
        r->history = mem_realloc(r->history, (r->nhistories + 1) * sizeof *r->history);
        struct wal_history_info *h = &r->history[r->nhistories++];
        *h = (struct wal_history_info){ .need_seq = need };
        memcpy(h->id, id, sizeof id);
        int err = load_one(r, dir, h, report);
        if (err != 0) {
            return err;
        }
        if (is_root(h)) {
            break;
        }
        memcpy(id, h->parent, sizeof id);
        need = h->fork_seq;
    }
    for (unsigned i = 0, j = r->nhistories - 1; i < j; i++, j--) {
        struct wal_history_info swap = r->history[i];
        r->history[i] = r->history[j];
        r->history[j] = swap;
    }
    return 0;
}
