/* debug_object.c -- What DEBUG shows of one key: its line, its length in an RDB file, its chunks;
 * and of a database's tables. SPDX-License-Identifier: BSD-3-Clause
 * THREADS  Under the shard's lock or in an exclusive section. */
#include "server/server_int.h"
#include "base/log.h"
#include "ds/fields.h"
#include "ds/quicklist.h"
#include "ds/set.h"
#include "ds/stream.h"
#include "ds/zset.h"

/* ---- Length in an RDB file ---- */

/* A length in front of bytes or elements: 6, 14, 32 or 64 bits. */
static size_t length_bytes(uint64_t n)
{
    return n < 64 ? 1 : n < 16384 ? 2 : n <= UINT32_MAX ? 5 : 9;
}

/* Text that is a number of up to 32 bits is stored as one. */
static size_t string_bytes(struct slice s)
{
    int64_t v;
    if (s.n <= 11 && parse_i64(s, &v) && v >= INT32_MIN && v <= INT32_MAX) {
        return v >= INT8_MIN && v <= INT8_MAX ? 2 : v >= INT16_MIN && v <= INT16_MAX ? 3 : 5;
    }
    return length_bytes(s.n) + s.n;
}

/* RDB type 18: number of nodes, then for each how it is stored and its bytes as a string. */
static size_t list_bytes(const struct quicklist *ql)
{
    struct ql_iter it;
    struct ql_view chunk;
    size_t n = length_bytes(quicklist_chunks(ql));
    quicklist_iter(&it, ql, 0, true);
    while (quicklist_next_chunk(&it, &chunk)) {
        n += 1 + string_bytes(chunk.bytes);
    }
    return n;
}

/* Types 11 and 20: the bytes as a string; type 2: the members. */
static size_t set_rdb_bytes(const struct entry *e)
{
    struct set s;
    struct set_iter it;
    struct set_member m;
    entry_get_set(e, &s);
    if (s.form != SET_TREE) {
        size_t n = s.form == SET_INTSET ? intset_slice(s.p).n : lp_slice(s.p).n;
        return length_bytes(n) + n;
    }
    size_t n = length_bytes(set_count(&s));
    set_iter(&it, &s, 0);
    while (set_next(&it, &m)) {
        n += string_bytes(set_text(&m));
    }
    return n;
}

/* Type 17: the listpack as a string; type 5: members, each with eight bytes of score. */
static size_t zset_rdb_bytes(const struct entry *e)
{
    struct zset z;
    struct zset_iter it;
    struct zset_item item;
    entry_get_zset(e, &z);
    if (!z.big) {
        size_t n = lp_bytes(z.p);
        return length_bytes(n) + n;
    }
    size_t n = length_bytes(zset_count(z));
    zset_iter(&it, z, 0, true);
    while (zset_next(&it, &item)) {
        n += string_bytes(item.member) + sizeof item.score;
    }
    return n;
}

/* Type 16: the bytes as a string; type 4: the fields and values. */
static size_t hash_rdb_bytes(const struct entry *e)
{
    struct fields f;
    struct fields_iter it;
    struct fields_item item;
    entry_get_fields(e, FIELDS_ALL, &f);
    if (f.form == FIELDS_LISTPACK) {
        return length_bytes(lp_bytes(f.p)) + lp_bytes(f.p);
    }
    size_t n = length_bytes(fields_count(&f));
    fields_iter(&it, &f, 0);
    while (fields_next(&it, &item)) {
        n += string_bytes(item.field) + string_bytes(item.value);
    }
    return n;
}

/* Type 21: nodes, each its ID and its bytes as strings; five numbers and IDs. Groups come on top,
 * and are not counted. */
static size_t stream_rdb_bytes(const struct stream *s)
{
    struct stream_node n;
    const struct stream_state *t = stream_state(s);
    size_t bytes = length_bytes(stream_nodes(s));
    for (uint64_t i = 0; stream_node_at(s, i, &n); i++) {
        bytes += 1 + sizeof n.id + length_bytes(lp_bytes(n.lp)) + lp_bytes(n.lp);
    }
    return bytes + length_bytes(t->length) + length_bytes(t->last.ms) + length_bytes(t->last.seq) +
           length_bytes(t->max_deleted.ms) + length_bytes(t->max_deleted.seq) +
           length_bytes(t->added);
}

size_t rdb_length(const struct entry *e)
{
    char tmp[I64_TEXT_MAX];
    switch (entry_type(e)) {
    case OBJ_STRING: return string_bytes(entry_string(e, tmp));
    case OBJ_LIST: return list_bytes(entry_ptr(e));
    case OBJ_SET: return set_rdb_bytes(e);
    case OBJ_ZSET: return zset_rdb_bytes(e);
    case OBJ_STREAM: return stream_rdb_bytes(entry_ptr(e));
    case OBJ_HASH: return hash_rdb_bytes(e);
    default: must_not_reach();
    }
}

/* ---- DEBUG OBJECT, LISTPACK, QUICKLIST ---- */

static size_t uncompressed_bytes(const struct quicklist *ql)
{
    struct ql_iter it;
    struct ql_view chunk;
    size_t n = 0;
    quicklist_iter(&it, ql, 0, true);
    while (quicklist_next_chunk(&it, &chunk)) {
        n += chunk.bytes.n;
    }
    return n;
}

void debug_object(struct call *c, const struct entry *e)
{
    struct buf line = { 0 };
    buf_printf(&line,
               "Value at:%p refcount:1 encoding:%s serializedlength:%zu lru:%u "
               "lru_seconds_idle:%lld",
               (const void *)e, obj_enc_name(entry_enc(e)), rdb_length(e), entry_clock(e),
               (long long)entry_idle_s(c->x, e, c->now_ms));
    if (entry_enc(e) == ENC_QUICKLIST) {
        const struct quicklist *ql = entry_ptr(e);
        uint64_t nodes = quicklist_chunks(ql);
        buf_printf(&line,
                   " ql_nodes:%llu ql_avg_node:%.2f ql_listpack_max:%d ql_compressed:0 "
                   "ql_uncompressed_size:%zu",
                   (unsigned long long)nodes,
                   nodes > 0 ? (double)quicklist_count(ql) / (double)nodes : 0.0,
                   quicklist_fill_factor(ql), uncompressed_bytes(ql));
    }
    buf_add_char(&line, '\0');
    reply_simple(c, line.p);
    buf_free(&line);
}

static void log_chunks(const struct entry *e)
{
    struct ql_iter it;
    struct ql_view chunk;
    unsigned i = 0;
    quicklist_iter(&it, entry_ptr(e), 0, true);
    while (quicklist_next_chunk(&it, &chunk)) {
        log_notice("DEBUG: chunk %u: %s, %u elements, %zu bytes", i++,
                   chunk.plain ? "plain" : "listpack", chunk.count, chunk.bytes.n);
    }
}

/* COMPAT: into the log instead of the standard output, which nobody sees of a daemon. */
void debug_listpack(struct call *c, const struct entry *e)
{
    if (entry_enc(e) != ENC_LISTPACK) {
        reply_error(c, "ERR Not a listpack encoded object.");
        return;
    }
    if (entry_type(e) == OBJ_LIST) {
        log_chunks(e);
    } else { /* of other types the value is the listpack itself */
        log_notice("DEBUG: listpack: %u entries, %zu bytes", lp_count(entry_ptr(e)),
                   lp_bytes(entry_ptr(e)));
    }
    reply_simple(c, "Listpack structure printed on stdout");
}

void debug_quicklist(struct call *c, const struct entry *e)
{
    if (entry_enc(e) != ENC_QUICKLIST) {
        reply_error(c, "ERR Not a quicklist encoded object.");
        return;
    }
    log_chunks(e);
    reply_simple(c, "Quicklist structure printed on stdout");
}

/* ---- DEBUG HTSTATS ---- */

void debug_htstats(struct call *c, unsigned db)
{
    struct table_stats t = { 0 };
    for (unsigned i = 0; i < keyspace_shards(c->ks); i++) {
        shard_table_stats(keyspace_shard(c->ks, i), db, &t);
    }
    size_t keys = keyspace_count(c->ks, db);
    struct buf b = { 0 };
    buf_add_str(&b, "[Dictionary HT]\n");
    if (keys == 0) {
        buf_add_str(&b, "No stats available for empty dictionaries\n");
    } else {
        uint64_t used = t.buckets - t.chains[0];
        buf_printf(&b,
                   "Hash table 0 stats (main hash table):\n table size: %llu\n number of elements: "
                   "%zu\n different slots: %llu\n max chain length: %llu\n avg chain length "
                   "(counted): %.2f\n avg chain length (computed): %.2f\n Chain length "
                   "distribution:\n",
                   (unsigned long long)t.buckets, keys, (unsigned long long)used,
                   (unsigned long long)t.longest_chain,
                   used > 0 ? (double)t.slots_used / (double)used : 0.0,
                   used > 0 ? (double)keys / (double)used : 0.0);
        for (unsigned i = 0; i < countof(t.chains); i++) {
            if (t.chains[i] > 0) {
                buf_printf(&b, "   %s%u: %llu (%.2f%%)\n", i + 1 == countof(t.chains) ? ">= " : "",
                           i, (unsigned long long)t.chains[i],
                           (double)t.chains[i] * 100 / (double)t.buckets);
            }
        }
    }
    buf_printf(&b, "[Expires HT]\nOrdered by time: %zu keys\n", keyspace_expires(c->ks, db));
    reply_verbatim(c, buf_slice(&b), "txt");
    buf_free(&b);
}
