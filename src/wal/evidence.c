/* evidence.c -- What follows the place where the log stops making sense: proofs, zeros, or remains.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         A batch that cannot be accepted was either never synced, and may go, or acknowledged,
 *             and then something behind it says so. So every block behind it is looked at, whatever
 *             stands in between.
 * THREADS     One caller. */
#include "wal/recover.h"
#include "base/mem.h"
#include <errno.h>

struct look {
    struct wal_evidence *e;
    struct wal_segment_info *s;
    struct wal_expect x; /* history, segment and salt alone */
    bool this_one;       /* the segment in which the log ends, not a later one */
};

static void see(struct wal_evidence *e, uint64_t seq, uint64_t lsn)
{
    e->seq = u64_max(e->seq, seq);
    e->lsn = u64_max(e->lsn, lsn);
}

static void note_dirty(struct look *l, const uint8_t *p, uint64_t offset, size_t n)
{
    size_t first = 0, last = n;
    while (first < n && p[first] == 0) {
        first++;
    }
    while (last > first && p[last - 1] == 0) {
        last--;
    }
    if (first == n) {
        return;
    }
    if (l->s->dirty_to == 0) {
        l->s->dirty_from = offset + first;
    }
    l->s->dirty_to = offset + last;
    if (l->this_one) {
        l->e->zero = false;
    }
}

/* One block that is not zero. */
static void examine(struct look *l, const uint8_t *p, uint64_t offset)
{
    struct wal_evidence *e = l->e;
    const struct wal_batch_header *b = (const struct wal_batch_header *)(const void *)p;
    const struct wal_segment_footer *f = (const struct wal_segment_footer *)(const void *)p;
    const struct wal_segment_header *s = (const struct wal_segment_header *)(const void *)p;
    unsigned in = wal_look_batch(b, &l->x, l->s->bytes - offset);
    if ((in & WAL_SEEN_NEWER) != 0) {
        e->newer = true;
    } else if ((in & (WAL_IN_INVALID | WAL_IN_UNNAMED)) == 0 && b->synced_upto < b->seq) {
        e->synced = u64_max(e->synced, b->synced_upto);
        see(e, b->seq, b->first_lsn + b->stream_bytes);
    }
    in = wal_look_footer(f, &l->x);
    if ((in & (WAL_IN_INVALID | WAL_IN_UNNAMED)) == 0) {
        e->proven = u64_max(e->proven, f->last_seq);
        see(e, f->last_seq, f->last_lsn);
    }
    if (offset == 0) {
        in = wal_look_segment(s, &l->x, true);
        if ((in & WAL_SEEN_NEWER) != 0) {
            e->newer = true;
        } else if ((in & (WAL_IN_INVALID | WAL_IN_UNNAMED)) == 0) {
            e->later = l->this_one ? e->later : u64_max(e->later, s->first_seq);
            e->proven = u64_max(e->proven, s->first_seq - (s->first_seq > 0));
            see(e, s->first_seq, s->first_lsn);
        }
    }
}

/* Everything from `offset` on. A block that cannot be read is an error and the rest goes on. */
static int read_rest(struct look *l, struct wal_reader *reader, uint64_t offset)
{
    static const uint8_t zeros[WAL_BLOCK];
    while (offset < reader->size) {
        const uint8_t *p;
        int err = wal_reader_need(reader, offset, WAL_BLOCK, &p);
        if (err == -ENOMEM) {
            return err;
        }
        if (err != 0) {
            l->e->error = true;
        } else if (memcmp(p, zeros, WAL_BLOCK) != 0) {
            note_dirty(l, p, offset, WAL_BLOCK);
            examine(l, p, offset);
        }
        offset += WAL_BLOCK;
    }
    return 0;
}

int wal_evidence_gather(struct wal_recovery *r, struct wal_history_info *h, struct wal_mark at,
                        bool gap, struct wal_ahead *ahead, struct wal_evidence *e)
{
    *e = (struct wal_evidence){ .zero = true };
    for (unsigned i = at.segment; i < h->nsegments; i++) {
        struct look l = { .e = e,
                          .s = &h->segment[i],
                          .x = { .segment = h->segment[i].number, .salt = h->salt },
                          .this_one = i == at.segment && !gap };
        memcpy(l.x.history, h->id, WAL_HISTORY_BYTES);
        l.s->dirty_from = 0;
        l.s->dirty_to = 0;
        char *path = wal_lineage_file(h, l.s->number);
        struct wal_reader reader;
        int err = wal_reader_open(&reader, path, r->how, ahead);
        mem_free(path);
        if (err == 0) {
            err = read_rest(&l, &reader, l.this_one ? at.offset : 0);
            wal_reader_close(&reader);
        } else if (err != -ENOENT && err != -ENOMEM) {
            e->error = true;
            err = 0;
        }
        if (err != 0 && err != -ENOENT) {
            return err;
        }
    }
    return 0;
}
