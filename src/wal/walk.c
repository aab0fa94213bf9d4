/* walk.c -- Looks at a position of a history, steps behind what stands there.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "wal/walk.h"
#include "base/mem.h"
#include <errno.h>

#define NOTHING \
    (WAL_IN_INVALID | WAL_IN_UNNAMED | WAL_IN_UNCHAINED | WAL_IN_MISORDERED | WAL_IN_BAD_BODY)

void wal_walk_begin(struct wal_walk *w, const struct wal_history_info *h, struct wal_mark at,
                    enum wal_read_how how, struct wal_ahead *ahead)
{
    *w = (struct wal_walk){ .h = h, .how = how, .at = at, .reader = { .fd = -1, .ahead = ahead } };
    memcpy(w->x.history, h->id, WAL_HISTORY_BYTES);
    w->x.seq = at.seq;
    w->x.lsn = at.lsn;
    w->x.chain = at.chain;
    w->x.salt = h->salt;
    if (at.offset > 0) {
        w->x.segment = h->segment[at.segment].number;
        w->size = h->segment[at.segment].size;
    }
}

void wal_walk_end(struct wal_walk *w)
{
    wal_reader_close(&w->reader);
}

/* The number the next file must have. */
static uint64_t number_here(const struct wal_walk *w)
{
    if (w->at.segment > 0) {
        return w->h->segment[w->at.segment - 1].number + 1;
    }
    return w->h->nsegments > 0 ? w->h->segment[0].number : 1;
}

/* Opens the file of the position. false: it cannot be, and *in says why. */
static bool open_here(struct wal_walk *w, unsigned *in, int *err)
{
    if (w->at.offset == 0) {
        w->x.segment = number_here(w);
    }
    if (w->at.segment >= w->h->nsegments) {
        return false;
    }
    if (w->h->segment[w->at.segment].number != w->x.segment) {
        *in |= WAL_IN_MISSING;
        return false;
    }
    struct wal_ahead *ahead = w->reader.ahead;
    char *path = wal_lineage_file(w->h, w->x.segment);
    *err = wal_reader_open(&w->reader, path, w->how, ahead);
    mem_free(path);
    if (*err == 0) {
        return true;
    }
    w->reader = (struct wal_reader){ .fd = -1, .ahead = ahead };
    if (*err != -ENOMEM) {
        *in |= *err == -ENOENT ? 0 : WAL_IN_ERROR;
        *err = 0;
    }
    return false;
}

/* n bytes at the position; NULL: *in says why not, or *err. */
static const void *bytes_here(struct wal_walk *w, uint64_t n, unsigned *in, int *err)
{
    *in = NOTHING;
    *err = 0;
    if (w->reader.fd < 0 && !open_here(w, in, err)) {
        return NULL;
    }
    if (w->at.offset >= w->reader.size) {
        return NULL;
    }
    const uint8_t *p = NULL;
    *err = wal_reader_need(&w->reader, w->at.offset, (size_t)n, &p);
    if (*err == 0) {
        return p;
    }
    if (*err != -ENOMEM) {
        *in |= WAL_IN_ERROR;
        *err = 0;
    }
    return NULL;
}

/* Room a batch may take: the footer's block behind it is never given away. */
static uint64_t room_here(const struct wal_walk *w)
{
    uint64_t limit = u64_min(w->size - WAL_BLOCK, w->reader.size);
    return limit > w->at.offset ? limit - w->at.offset : 0;
}

static int look_batch(struct wal_walk *w, unsigned *in, struct wal_item *item)
{
    *in = wal_look_batch(item->batch, &w->x, room_here(w));
    if ((*in & (WAL_SEEN_NEWER | WAL_IN_BAD_BODY)) != 0) {
        return 0;
    }
    unsigned header = *in;
    int err;
    item->thing = WAL_BATCH;
    item->bytes = wal_batch_span(item->batch);
    item->bytes_at = bytes_here(w, item->bytes, in, &err);
    if (item->bytes_at != NULL) {
        *in = header | (wal_body_ok(item->batch, w->records_too) ? 0 : WAL_IN_BAD_BODY);
    }
    return err;
}

int wal_walk_look(struct wal_walk *w, unsigned *in, struct wal_item *item)
{
    int err;
    item->bytes = WAL_BLOCK;
    item->bytes_at = bytes_here(w, WAL_BLOCK, in, &err);
    if (item->bytes_at == NULL) {
        return err;
    }
    if (w->at.offset == 0) {
        item->thing = WAL_SEGMENT;
        *in = wal_look_segment(item->segment, &w->x, w->at.segment == 0);
        return 0;
    }
    if (wal_is_footer(item->bytes_at)) {
        item->thing = WAL_FOOTER;
        *in = wal_look_footer(item->footer, &w->x);
        return 0;
    }
    return look_batch(w, in, item);
}

void wal_walk_take(struct wal_walk *w, const struct wal_item *item)
{
    switch (item->thing) {
    case WAL_SEGMENT:
        if (w->at.segment == 0) {
            w->x.seq = item->segment->first_seq;
            w->x.lsn = item->segment->first_lsn;
            w->x.chain = item->segment->chain;
            w->x.salt = item->segment->salt;
        }
        w->size = item->segment->size;
        w->at.offset = WAL_BLOCK;
        break;
    case WAL_BATCH:
        w->x.seq++;
        w->x.lsn += item->batch->stream_bytes;
        w->x.chain = item->batch->crc;
        w->at.offset += item->bytes;
        break;
    case WAL_FOOTER:
        wal_reader_close(&w->reader);
        w->at.segment++;
        w->at.offset = 0;
        break;
    }
    w->at.seq = w->x.seq;
    w->at.lsn = w->x.lsn;
    w->at.chain = w->x.chain;
}
