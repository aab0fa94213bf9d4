/* group.c -- The complete prefix of all queues becomes one batch.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         A group is what is complete when a writer looks: no timer, no minimum size. Building
 * it fixes sequence, chain, synced_upto and file position, so groups are built one at a time, under
 * take; only the write itself overlaps with the next group.
 * LOCKS       take, in every function here.
 * INVARIANTS  G1 tickets have no gaps: the next record is the one whose ticket is w->taken
 *             G2 after each batch in a segment two blocks are left: for the batch of a clean end
 *                and for the footer */
#include "base/clock.h"
#include "base/mem.h"
#include "wal/wal_int.h"

#define BUF_BYTES  (WAL_BLOCK + WAL_GROUP_BYTES)
#define KEEP_BYTES (2 * (uint64_t)WAL_BLOCK) /* G2 */

_Static_assert(WAL_GROUP_BYTES % WAL_BLOCK == 0, "written in whole blocks");

static uint8_t *batch_of(struct wal_group *g)
{
    return g->buf + WAL_BLOCK;
}

void wal_group_init(struct wal_group *g)
{
    *g = (struct wal_group){ .buf = mem_map(BUF_BYTES) };
}

void wal_group_free(struct wal_group *g)
{
    mem_unmap(g->buf, BUF_BYTES);
    mem_free(g->big);
    *g = (struct wal_group){ .buf = NULL };
}

static uint64_t whole_blocks(uint64_t bytes)
{
    return (bytes + WAL_BLOCK - 1) / WAL_BLOCK * WAL_BLOCK;
}

/* Where the next batch goes; WAL_BLOCK when the segment header goes along. */
static uint64_t batch_offset(const struct wal *w)
{
    return w->pos.offset != 0 ? w->pos.offset : WAL_BLOCK;
}

/* Bytes a batch may have in the current segment. */
static uint64_t batch_room(const struct wal *w)
{
    uint64_t used = batch_offset(w) + KEEP_BYTES;
    return w->cur.fd >= 0 && used < w->cur.size ? w->cur.size - used : 0;
}

/* Bytes of a segment in which a batch with one record of n bytes fits. */
static uint64_t segment_bytes_for(uint64_t n)
{
    uint64_t batch = sizeof(struct wal_batch_header) + sizeof(struct wal_record_frame) + n;
    return WAL_BLOCK + whole_blocks(batch) + KEEP_BYTES;
}

/* ---- Building ---- */

static void fill_batch_header(struct wal *w, struct wal_group *g, uint16_t flags,
                              uint64_t stream_bytes)
{
    struct wal_batch_header *h = (struct wal_batch_header *)(void *)batch_of(g);
    uint64_t body = g->used - sizeof *h;
    *h = (struct wal_batch_header){
        .magic = WAL_BATCH_MAGIC,
        .version = WAL_FORMAT_VERSION,
        .flags = flags,
        .records = (uint32_t)g->records,
        .segment = w->pos.segment,
        .seq = w->pos.next_seq,
        .term = w->pos.term,
        .index = w->pos.next_seq,
        .first_lsn = w->pos.next_lsn,
        .stream_bytes = stream_bytes,
        .body_bytes = body + g->big_bytes,
        .synced_upto = wal_synced_upto(w),
        .wall_ms = w->pos.wall_ms,
        .chain = w->pos.chain,
        .body_crc = crc32c(crc32c(0, h + 1, body), g->big, g->big_bytes),
    };
    memcpy(h->history, w->pos.history, WAL_HISTORY_BYTES);
    h->crc = crc32c(w->pos.salt, h, offsetof(struct wal_batch_header, crc));
    w->pos.chain = h->crc;
}

/* The batch is complete in g: gives it its place and moves the position behind it. */
static void close_batch(struct wal *w, struct wal_group *g, uint16_t flags, uint64_t stream_bytes)
{
    int64_t now = clock_wall_ms();
    w->pos.wall_ms = now > w->pos.wall_ms ? now : w->pos.wall_ms;
    g->with_header = w->pos.offset == 0;
    if (g->with_header) {
        wal_segment_header_make(w, (struct wal_segment_header *)(void *)g->buf, &w->cur);
    }
    fill_batch_header(w, g, flags, stream_bytes);
    g->bytes = whole_blocks(g->used + g->big_bytes);
    if (g->big == NULL) {
        memset(batch_of(g) + g->used, 0, g->bytes - g->used);
    }
    g->fd = w->cur.fd;
    g->offset = batch_offset(w);
    g->sync = w->pos.sync;
    g->seq = w->pos.next_seq;
    g->end = w->taken;
    w->pos.offset = g->offset + g->bytes;
    w->pos.next_seq++;
    atomic_store_explicit(&w->current_seq, g->seq, memory_order_relaxed);
    w->pos.next_lsn += stream_bytes;
    g->stream_end = w->pos.next_lsn;
    w->last_take_us = clock_mono_us();
    w->proved = (flags & WAL_BATCH_IDLE) != 0;
    atomic_store_explicit(&w->room_current, batch_room(w), memory_order_relaxed);
}

static void open_batch(struct wal_group *g)
{
    must(g->big == NULL);
    g->used = sizeof(struct wal_batch_header);
    g->big_bytes = 0;
    g->records = 0;
    g->more = false;
}

/* An empty batch: proves the others, or marks the end of the log. The end always has room (G2). */
void wal_group_empty(struct wal *w, struct wal_group *g, uint16_t flags)
{
    lock_assert_held(&w->take);
    open_batch(g);
    close_batch(w, g, flags, 0);
    must(g->offset + g->bytes + WAL_BLOCK <= w->cur.size);
}

bool wal_group_fits_empty(const struct wal *w)
{
    return batch_room(w) >= WAL_BLOCK;
}

/* ---- Merging ---- */

/* The oldest record of each queue and its ticket; the tickets lie together for the search. */
struct heads {
    uint64_t ticket[WAL_PRODUCERS_MAX];
    struct wal_entry *entry[WAL_PRODUCERS_MAX];
};

static void look_at_queue(struct wal *w, struct heads *h, unsigned i)
{
    h->entry[i] = wal_queue_head(&w->producers[i]);
    h->ticket[i] = h->entry[i] != NULL ? h->entry[i]->ticket : WAL_NONE;
}

/* Records of one producer often follow each other, so the search begins where the last one was. */
static unsigned find_ticket(const struct heads *h, unsigned n, uint64_t ticket, unsigned from)
{
    for (unsigned k = 0, i = from; k < n; k++, i = i + 1 < n ? i + 1 : 0) {
        if (h->ticket[i] == ticket) {
            return i;
        }
    }
    must_not_reach(); /* G1 */
}

static void add_record(struct wal_group *g, struct wal_entry *e, uint64_t n, bool by_pointer)
{
    uint8_t *at = batch_of(g) + g->used;
    uint8_t *big = wal_entry_big(e);
    memcpy(at, &e->frame, sizeof e->frame);
    g->used += sizeof e->frame;
    g->records++;
    if (by_pointer) {
        g->big = big;
        g->big_bytes = n;
        return;
    }
    memcpy(at + sizeof e->frame, big != NULL ? big : (const uint8_t *)(e + 1), n);
    g->used += n;
    mem_free(big);
}

/* Takes records while they are complete and fit. *need is set when the first does not fit. */
static uint64_t merge(struct wal *w, struct wal_group *g, uint64_t complete, uint64_t *need)
{
    struct heads heads;
    uint64_t room = batch_room(w), stream_bytes = 0;
    unsigned n_queues = w->cfg.producers, q = 0;
    for (unsigned i = 0; i < n_queues; i++) {
        look_at_queue(w, &heads, i);
    }
    while (w->taken < complete && g->big == NULL) {
        q = find_ticket(&heads, n_queues, w->taken, q);
        struct wal_entry *e = heads.entry[q];
        uint64_t n = wal_frame_length(&e->frame);
        uint64_t after = g->used + sizeof e->frame + n;
        if (whole_blocks(after) > room || (after > WAL_GROUP_BYTES && g->records != 0)) {
            *need = segment_bytes_for(n);
            break;
        }
        if ((e->frame.flags & WAL_REC_UNSHIPPED) == 0) {
            stream_bytes += n;
        }
        add_record(g, e, n, after > WAL_GROUP_BYTES);
        w->taken += n;
        wal_queue_pop(&w->producers[q], e);
        look_at_queue(w, &heads, q);
    }
    g->more = w->taken < complete;
    return stream_bytes;
}

/* On WAL_TAKE_FULL, *need is the size of segment that the next record asks for. */
enum wal_take wal_group_take(struct wal *w, struct wal_group *g, uint64_t *need)
{
    lock_assert_held(&w->take);
    uint64_t tail;
    uint64_t complete = wal_queue_complete(w, &tail);
    if (complete <=
        w->taken) { /* below: a bound of wal_append() that is older than the last group */
        return tail == w->taken ? WAL_TAKE_NOTHING : WAL_TAKE_POLL;
    }
    open_batch(g);
    uint64_t stream_bytes = merge(w, g, complete, need);
    if (g->records == 0) {
        return WAL_TAKE_FULL;
    }
    close_batch(w, g, 0, stream_bytes);
    return WAL_TAKE_GROUP;
}
