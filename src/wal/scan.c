/* scan.c -- Checks of headers, bodies and footers against what must come next.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         A checksum proves that these bytes were written, not that they were meant for this
 *             place: each check is therefore an observation of its own, and only all of them
 *             together make a batch.
 * THREADS     Any; pure. */
#include "wal/scan.h"
#include "base/fault.h"
#include "base/hash.h"

static const uint8_t zeros[WAL_BLOCK];

static bool is_zero(const void *p, size_t n)
{
    must(n <= sizeof zeros);
    return memcmp(p, zeros, n) == 0;
}

#define NOTHING \
    (WAL_IN_INVALID | WAL_IN_UNNAMED | WAL_IN_UNCHAINED | WAL_IN_MISORDERED | WAL_IN_BAD_BODY)

static unsigned bit(bool wrong, unsigned which)
{
    return wrong ? which : 0;
}

unsigned wal_look_segment(const struct wal_segment_header *h, const struct wal_expect *x,
                          bool first)
{
    if (memcmp(h->magic, WAL_SEGMENT_MAGIC, sizeof h->magic) != 0 ||
        crc32c(0, h, offsetof(struct wal_segment_header, crc)) != h->crc) {
        return NOTHING;
    }
    /* Magic, version, must_understand and the place of the crc are the same in every version. */
    if (h->version != WAL_FORMAT_VERSION || h->must_understand != 0) {
        return WAL_SEEN_NEWER;
    }
    unsigned in =
        bit(memcmp(h->history, x->history, WAL_HISTORY_BYTES) != 0 || h->segment != x->segment,
            WAL_IN_UNNAMED);
    if (!first) {
        in |= bit(h->chain != x->chain, WAL_IN_UNCHAINED);
        in |= bit(h->first_seq != x->seq, WAL_IN_MISORDERED);
        in |= bit(h->first_lsn != x->lsn || h->salt != x->salt, WAL_IN_BAD_BODY);
    }
    in |= bit(h->size < 2 * WAL_BLOCK || h->size > WAL_SEGMENT_MAX || h->size % WAL_BLOCK != 0 ||
                  h->first_seq == 0,
              WAL_IN_BAD_BODY);
    return in;
}

unsigned wal_look_batch(const struct wal_batch_header *h, const struct wal_expect *x, uint64_t room)
{
    if (h->magic != WAL_BATCH_MAGIC ||
        crc32c(x->salt, h, offsetof(struct wal_batch_header, crc)) != h->crc) {
        return NOTHING;
    }
    unsigned in =
        bit(memcmp(h->history, x->history, WAL_HISTORY_BYTES) != 0 || h->segment != x->segment,
            WAL_IN_UNNAMED);
    if (in == 0 && (h->version != WAL_FORMAT_VERSION || h->must_understand != 0)) {
        return WAL_SEEN_NEWER;
    }
    in |= bit(h->chain != x->chain && !seeded_bug("wal.bug_stale_accepted"), WAL_IN_UNCHAINED);
    in |= bit(h->seq != x->seq, WAL_IN_MISORDERED);
    if ((in & (WAL_IN_UNNAMED | WAL_IN_MISORDERED)) != 0) {
        return in | WAL_IN_BAD_BODY;
    }
    uint64_t end;
    bool fits = room >= WAL_BLOCK && h->body_bytes <= room - sizeof *h &&
                wal_batch_span(h) <= room &&
                h->records <= h->body_bytes / sizeof(struct wal_record_frame);
    bool counts = h->first_lsn == x->lsn && h->stream_bytes <= h->body_bytes &&
                  !__builtin_add_overflow(h->first_lsn, h->stream_bytes, &end) &&
                  h->synced_upto < h->seq;
    return in | bit(!fits || !counts, WAL_IN_BAD_BODY);
}

bool wal_is_footer(const void *block)
{
    return memcmp(block, WAL_FOOTER_MAGIC, 8) == 0;
}

unsigned wal_look_footer(const struct wal_segment_footer *f, const struct wal_expect *x)
{
    if (!wal_is_footer(f) ||
        crc32c(x->salt, f, offsetof(struct wal_segment_footer, crc)) != f->crc) {
        return NOTHING;
    }
    unsigned in =
        bit(memcmp(f->history, x->history, WAL_HISTORY_BYTES) != 0 || f->segment != x->segment,
            WAL_IN_UNNAMED);
    in |= bit(f->chain != x->chain, WAL_IN_UNCHAINED);
    in |= bit(f->last_seq + 1 != x->seq, WAL_IN_MISORDERED);
    in |= bit(f->last_lsn != x->lsn || !is_zero(f + 1, WAL_BLOCK - sizeof *f), WAL_IN_BAD_BODY);
    return in;
}

bool wal_next_record(const uint8_t *body, uint64_t body_bytes, uint64_t *at, struct wal_record *rec)
{
    struct wal_record_frame f;
    if (body_bytes - *at < sizeof f) {
        return false;
    }
    memcpy(&f, body + *at, sizeof f);
    uint64_t n = f.length_lo | (uint64_t)f.length_hi << 32;
    if (n > body_bytes - *at - sizeof f || f.zero != 0 ||
        (f.slot >= 16384 && f.slot < WAL_SLOT_SEVERAL)) {
        return false;
    }
    rec->payload = slice_of(body + *at + sizeof f, n);
    rec->lsn += (f.flags & WAL_REC_UNSHIPPED) != 0 ? 0 : n;
    rec->slot = f.slot;
    rec->db = f.db;
    rec->flags = f.flags;
    *at += sizeof f + n;
    return true;
}

bool wal_record_crc_ok(const uint8_t *frame, uint64_t payload)
{
    struct wal_record_frame f;
    memcpy(&f, frame, sizeof f);
    uint32_t crc = crc32c(0, frame, offsetof(struct wal_record_frame, crc));
    crc = crc32c(crc, frame + offsetof(struct wal_record_frame, slot),
                 sizeof f - offsetof(struct wal_record_frame, slot) + payload);
    return crc == f.crc;
}

bool wal_body_ok(const struct wal_batch_header *h, bool records_too)
{
    if (seeded_bug("wal.bug_body_unchecked")) {
        return true;
    }
    const uint8_t *body = (const uint8_t *)(h + 1);
    uint64_t padding = wal_batch_span(h) - sizeof *h - h->body_bytes;
    if (crc32c(0, body, h->body_bytes) != h->body_crc || !is_zero(body + h->body_bytes, padding)) {
        return false;
    }
    struct wal_record rec = { .lsn = h->first_lsn };
    uint64_t at = 0, count = 0;
    for (uint64_t begin = 0; wal_next_record(body, h->body_bytes, &at, &rec); begin = at) {
        count++;
        if (records_too && !wal_record_crc_ok(body + begin, rec.payload.n)) {
            return false;
        }
    }
    return at == h->body_bytes && count == h->records && rec.lsn - h->first_lsn == h->stream_bytes;
}
