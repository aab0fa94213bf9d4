/* rdb_read.c -- Bytes, lengths and texts from RDB; nothing is believed.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * MEMORY   Bytes that stay are not copied. Of what comes from more() as much is allocated as has
 *          come, doubled. LZF makes at most LZF_RATIO bytes of one, so a text that says to be
 * longer is refused before anything is allocated for it. */
#include "store/rdb_int.h"
#include "base/hash.h"
#include "base/mem.h"
#include <errno.h>
#include <liblzf/lzf.h>

/* Three bytes are a copy of up to 264 (liblzf: lzf_d.c). */
#define LZF_RATIO 88u

static bool fail(struct rdb_reader *r, int error)
{
    r->error = r->error != 0 ? r->error : error;
    return false;
}

void rdb_reader_free(struct rdb_reader *r)
{
    mem_free(r->piece);
    r->piece = NULL;
}

/* There is at least a byte at hand. */
static bool refill(struct rdb_reader *r)
{
    if (r->error != 0) {
        return false;
    }
    if (r->at_hand.n > 0) {
        return true;
    }
    if (r->more == NULL) {
        return false;
    }
    if (r->piece == NULL) {
        r->piece = mem_alloc(RDB_PIECE);
    }
    r->at_hand = slice_of(r->piece, r->more(r->arg, r->piece, RDB_PIECE));
    return r->at_hand.n > 0;
}

bool rdb_at_end(struct rdb_reader *r)
{
    return !refill(r);
}

/* The next n bytes, which are at hand. */
static const char *consume(struct rdb_reader *r, size_t n)
{
    const char *p = r->at_hand.p;
    if (r->summing) {
        r->crc = crc64(r->crc, p, n);
    }
    r->at_hand = slice_of(p + n, r->at_hand.n - n);
    return p;
}

bool rdb_read_bytes(struct rdb_reader *r, void *to, size_t n)
{
    char *p = to;
    while (n > 0) {
        if (!refill(r)) {
            return fail(r, -EINVAL);
        }
        size_t now = size_min(n, r->at_hand.n);
        memcpy(p, consume(r, now), now);
        p += now;
        n -= now;
    }
    return r->error == 0;
}

/* n bytes into `store`, whose size follows what comes. */
static bool collect(struct rdb_reader *r, size_t n, struct buf *store)
{
    store->n = 0;
    while (store->n < n) {
        if (!refill(r)) {
            return fail(r, -EINVAL);
        }
        size_t now = size_min(n - store->n, r->at_hand.n);
        if (!buf_try_reserve(store, now)) {
            return fail(r, -ENOMEM);
        }
        buf_add(store, consume(r, now), now);
    }
    return true;
}

/* n bytes, where they are if they stay there, else in `store`. */
static bool read_slice(struct rdb_reader *r, uint64_t n, struct buf *store, struct slice *out)
{
    if (r->more == NULL) {
        if (r->error != 0 || n > r->at_hand.n) {
            return fail(r, -EINVAL);
        }
        *out = slice_of(consume(r, n), n);
        return true;
    }
    if (!collect(r, n, store)) {
        return false;
    }
    *out = buf_slice(store);
    return true;
}

bool rdb_read_byte(struct rdb_reader *r, unsigned *byte)
{
    uint8_t b;
    if (!rdb_read_bytes(r, &b, 1)) {
        return false;
    }
    *byte = b;
    return true;
}

/* A length, or what else stands there: *form is an enum rdb_form then, else -1. */
static bool read_head(struct rdb_reader *r, uint64_t *n, int *form)
{
    unsigned b, low;
    uint32_t four = 0;
    uint64_t eight = 0;
    *form = -1;
    if (!rdb_read_byte(r, &b)) {
        return false;
    }
    switch (b & 0xC0) {
    case RDB_LEN_6: *n = b; return true;
    case RDB_LEN_14:
        *n = (uint64_t)(b & 0x3F) << 8;
        if (!rdb_read_byte(r, &low)) {
            return false;
        }
        *n |= low;
        return true;
    case RDB_LEN_ELSE: *form = (int)(b & 0x3F); return true;
    default: break;
    }
    if (b == RDB_LEN_32 && rdb_read_bytes(r, &four, sizeof four)) {
        *n = be32toh(four);
        return true;
    }
    if (b == RDB_LEN_64 && rdb_read_bytes(r, &eight, sizeof eight)) {
        *n = be64toh(eight);
        return true;
    }
    return fail(r, -EINVAL);
}

bool rdb_read_length(struct rdb_reader *r, uint64_t *n)
{
    int form;
    return read_head(r, n, &form) && (form < 0 || fail(r, -EINVAL));
}

/* ---- Texts ---- */

static bool read_int(struct rdb_reader *r, int form, struct rdb_text *t)
{
    uint8_t b[4];
    unsigned n = 1u << form; /* RDB_INT8, 16, 32 */
    if (!rdb_read_bytes(r, b, n)) {
        return false;
    }
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++) {
        v |= (uint64_t)b[i] << (8 * i);
    }
    t->s = slice_of(t->digits, format_i64(t->digits, lp_sign_extend(v, 8 * n)));
    return true;
}

static bool read_compressed(struct rdb_reader *r, struct rdb_text *t)
{
    uint64_t packed, n;
    struct buf store = { 0 };
    struct slice from;
    if (!rdb_read_length(r, &packed) || !rdb_read_length(r, &n)) {
        return false;
    }
    if (packed == 0 || packed > UINT32_MAX || n == 0 || n > UINT32_MAX || n > packed * LZF_RATIO) {
        return fail(r, -EINVAL);
    }
    bool done = read_slice(r, packed, &store, &from);
    t->own.n = 0;
    if (done && !buf_try_reserve(&t->own, n)) {
        done = fail(r, -ENOMEM);
    }
    if (done && lzf_decompress(from.p, (unsigned)packed, t->own.p, (unsigned)n) != n) {
        done = fail(r, -EINVAL);
    }
    if (done) {
        t->own.n = n;
        t->s = buf_slice(&t->own);
    }
    buf_free(&store);
    return done;
}

bool rdb_read_text(struct rdb_reader *r, struct rdb_text *t)
{
    uint64_t n;
    int form;
    if (!read_head(r, &n, &form)) {
        return false;
    }
    switch (form) {
    case -1: return read_slice(r, n, &t->own, &t->s);
    case RDB_INT8:
    case RDB_INT16:
    case RDB_INT32: return read_int(r, form, t);
    case RDB_LZF: return read_compressed(r, t);
    default: return fail(r, -EINVAL);
    }
}
