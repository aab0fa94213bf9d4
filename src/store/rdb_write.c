/* rdb_write.c -- Values to RDB: texts, lengths, one function per type.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      Each type is written in the newest form that version 10 has, so that Redis 7.0 reads all
 *          of it: a small set of texts goes as plain texts, since its listpack came with
 * version 11. Containers are walked; no copy of one is made, however big. */
#include "store/rdb_int.h"
#include "store/store_int.h"
#include "base/hash.h"
#include "base/mem.h"
#include "ds/quicklist.h"
#include <errno.h>
#include <liblzf/lzf.h>

/* ---- Bytes ---- */

static void hand_on(struct rdb_writer *w, struct slice bytes)
{
    w->crc = crc64(w->crc, bytes.p, bytes.n);
    if (w->error == 0 && !w->flush(w->arg, bytes)) {
        w->error = -EIO;
    }
}

static void hand_on_all(struct rdb_writer *w)
{
    if (w->error == 0 && w->b.n > 0) {
        hand_on(w, buf_slice(&w->b));
    }
    w->b.n = 0;
}

static void write_bytes(struct rdb_writer *w, const void *p, size_t n)
{
    if (w->flush != NULL && w->b.n + n > RDB_PIECE) {
        hand_on_all(w);
        if (n > RDB_PIECE) {
            hand_on(w, slice_of(p, n));
            return;
        }
    }
    if (w->error == 0 && !buf_try_reserve(&w->b, n)) {
        w->error = -ENOMEM;
    }
    if (w->error == 0) {
        buf_add(&w->b, p, n);
    }
}

void rdb_write_bytes(struct rdb_writer *w, const void *p, size_t n)
{
    write_bytes(w, p, n);
}

void rdb_write_finish(struct rdb_writer *w)
{
    hand_on_all(w);
}

void rdb_write_byte(struct rdb_writer *w, unsigned byte)
{
    uint8_t b = (uint8_t)byte;
    write_bytes(w, &b, 1);
}

void rdb_write_length(struct rdb_writer *w, uint64_t n)
{
    if (n < 1u << 6) {
        rdb_write_byte(w, RDB_LEN_6 | (unsigned)n);
    } else if (n < 1u << 14) {
        uint8_t b[] = { (uint8_t)(RDB_LEN_14 | n >> 8), (uint8_t)n };
        write_bytes(w, b, sizeof b);
    } else if (n <= UINT32_MAX) {
        uint32_t big_endian = htobe32((uint32_t)n);
        rdb_write_byte(w, RDB_LEN_32);
        write_bytes(w, &big_endian, sizeof big_endian);
    } else {
        uint64_t big_endian = htobe64(n);
        rdb_write_byte(w, RDB_LEN_64);
        write_bytes(w, &big_endian, sizeof big_endian);
    }
}

/* ---- Texts ---- */

#define INT_TEXT_MAX  11u /* -2147483648 */
#define COMPRESS_FROM 21u /* bytes; below, nothing can be gained */
#define COMPRESS_MIN  4u  /* bytes to be gained at least */

static bool write_as_int(struct rdb_writer *w, struct slice text)
{
    int64_t v;
    if (text.n > INT_TEXT_MAX || !parse_i64(text, &v) || v < INT32_MIN || v > INT32_MAX) {
        return false;
    }
    uint8_t b[5] = { 0, (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24) };
    if (v >= INT8_MIN && v <= INT8_MAX) {
        b[0] = RDB_LEN_ELSE | RDB_INT8;
        write_bytes(w, b, 2);
    } else if (v >= INT16_MIN && v <= INT16_MAX) {
        b[0] = RDB_LEN_ELSE | RDB_INT16;
        write_bytes(w, b, 3);
    } else {
        b[0] = RDB_LEN_ELSE | RDB_INT32;
        write_bytes(w, b, 5);
    }
    return true;
}

/* False: it does not pay, or there is no memory to try. */
static bool write_compressed(struct rdb_writer *w, struct slice text)
{
    if (!w->compress || text.n < COMPRESS_FROM || text.n > UINT32_MAX) {
        return false;
    }
    unsigned room = (unsigned)text.n - COMPRESS_MIN;
    char *out = mem_try_alloc(room);
    unsigned n = out != NULL ? lzf_compress(text.p, (unsigned)text.n, out, room) : 0;
    if (n > 0) {
        rdb_write_byte(w, RDB_LEN_ELSE | RDB_LZF);
        rdb_write_length(w, n);
        rdb_write_length(w, text.n);
        write_bytes(w, out, n);
    }
    mem_free(out);
    return n > 0;
}

void rdb_write_text(struct rdb_writer *w, struct slice text)
{
    if (!write_as_int(w, text) && !write_compressed(w, text)) {
        rdb_write_length(w, text.n);
        write_bytes(w, text.p, text.n);
    }
}

static void write_score(struct rdb_writer *w, double score)
{
    uint64_t bits;
    memcpy(&bits, &score, sizeof bits);
    bits = htole64(bits);
    write_bytes(w, &bits, sizeof bits);
}

/* ---- Values ---- */

static void write_string(struct rdb_writer *w, const struct entry *e)
{
    char digits[I64_TEXT_MAX];
    rdb_write_text(w, entry_string(e, digits));
}

static void write_list(struct rdb_writer *w, const struct entry *e)
{
    struct ql_iter it;
    struct ql_view chunk;
    rdb_write_length(w, quicklist_chunks(entry_ptr(e)));
    quicklist_iter(&it, entry_ptr(e), 0, true);
    while (w->error == 0 && quicklist_next_chunk(&it, &chunk)) {
        rdb_write_length(w, chunk.plain ? RDB_CHUNK_PLAIN : RDB_CHUNK_PACKED);
        rdb_write_text(w, chunk.bytes);
    }
}

static void write_set(struct rdb_writer *w, const struct entry *e)
{
    struct set s;
    struct set_iter it;
    struct set_member m;
    entry_get_set(e, &s);
    if (s.form == SET_INTSET) {
        rdb_write_text(w, intset_slice(s.p));
        return;
    }
    rdb_write_length(w, set_count(&s));
    set_iter(&it, &s, 0);
    while (w->error == 0 && set_next(&it, &m)) {
        rdb_write_text(w, set_text(&m));
    }
}

/* Highest first, as Redis has it: whoever reads it puts each before all others. */
static void write_zset(struct rdb_writer *w, const struct entry *e)
{
    struct zset z;
    struct zset_iter it;
    struct zset_item item;
    entry_get_zset(e, &z);
    if (!z.big) {
        rdb_write_text(w, lp_slice(z.p));
        return;
    }
    uint64_t n = zset_count(z);
    rdb_write_length(w, n);
    zset_iter(&it, z, n - 1, false);
    while (w->error == 0 && zset_next(&it, &item)) {
        rdb_write_text(w, item.member);
        write_score(w, item.score);
    }
}

static void write_hash(struct rdb_writer *w, const struct entry *e)
{
    struct fields f;
    struct fields_iter it;
    struct fields_item item;
    entry_get_fields(e, FIELDS_ALL, &f);
    if (f.form == FIELDS_LISTPACK) {
        rdb_write_text(w, lp_slice(f.p));
        return;
    }
    int64_t first = fields_first_due(&f);
    if (first != BTREE_NO_DUE) {
        uint64_t base = htole64((uint64_t)first);
        write_bytes(w, &base, sizeof base);
    }
    rdb_write_length(w, fields_count(&f));
    fields_iter(&it, &f, 0);
    while (w->error == 0 && fields_next(&it, &item)) {
        if (first != BTREE_NO_DUE) {
            bool has = item.due != BTREE_NO_DUE;
            rdb_write_length(w, has ? (uint64_t)(item.due - first) + 1 : 0);
        }
        rdb_write_text(w, item.field);
        rdb_write_text(w, item.value);
    }
}

static const struct {
    void (*write)(struct rdb_writer *w, const struct entry *e);
    uint8_t type, version;
    uint8_t packed; /* the type, when its encoding is this one */
    enum obj_enc packed_enc;
} types[] = {
    [OBJ_STRING] = { write_string, RDB_STRING, RDB_VERSION, RDB_STRING, ENC_INT },
    [OBJ_LIST] = { write_list, RDB_LIST_CHUNKS, RDB_VERSION, RDB_LIST_CHUNKS, ENC_LISTPACK },
    [OBJ_SET] = { write_set, RDB_SET, RDB_VERSION, RDB_SET_INTSET, ENC_INTSET },
    [OBJ_ZSET] = { write_zset, RDB_ZSET, RDB_VERSION, RDB_ZSET_LISTPACK, ENC_LISTPACK },
    [OBJ_STREAM] = { rdb_write_stream, RDB_STREAM_2, RDB_VERSION, RDB_STREAM_2, ENC_STREAM },
    [OBJ_HASH] = { write_hash, RDB_HASH, RDB_VERSION, RDB_HASH_LISTPACK, ENC_LISTPACK },
};

unsigned rdb_type(const struct entry *e)
{
    enum obj_type t = entry_type(e);
    must((unsigned)t < countof(types));
    if (entry_fields_due(e) != NO_EXPIRE) {
        return RDB_HASH_TIMED;
    }
    return entry_enc(e) == types[t].packed_enc ? types[t].packed : types[t].type;
}

unsigned rdb_value_version(const struct entry *e)
{
    return entry_fields_due(e) != NO_EXPIRE ? 12 : types[entry_type(e)].version;
}

void rdb_write_value(struct rdb_writer *w, const struct entry *e)
{
    types[entry_type(e)].write(w, e);
}

/* ---- The footer of DUMP ---- */

#define FOOTER_CRC 8u

void rdb_write_footer(struct rdb_writer *w, unsigned version)
{
    uint8_t v[] = { (uint8_t)version, (uint8_t)(version >> 8) };
    must(w->flush == NULL);
    write_bytes(w, v, sizeof v);
    uint64_t crc = htole64(crc64(0, w->b.p, w->b.n));
    write_bytes(w, &crc, sizeof crc);
}

unsigned rdb_footer_version(struct slice payload)
{
    must(payload.n >= RDB_FOOTER);
    return lp_load16((const uint8_t *)payload.p + payload.n - RDB_FOOTER);
}

bool rdb_footer_take(struct slice payload, struct slice *body)
{
    if (payload.n < RDB_FOOTER) {
        return false;
    }
    const char *footer = payload.p + payload.n - RDB_FOOTER;
    uint64_t crc;
    memcpy(&crc, footer + RDB_FOOTER - FOOTER_CRC, sizeof crc);
    if (rdb_footer_version(payload) > RDB_VERSION_READ ||
        le64toh(crc) != crc64(0, payload.p, payload.n - FOOTER_CRC)) {
        return false;
    }
    *body = slice_of(payload.p, payload.n - RDB_FOOTER);
    return true;
}
