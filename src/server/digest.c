/* digest.c -- DEBUG DIGEST and DIGEST-VALUE: a hash of the data that redis-server computes alike.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      Two servers that hold the same data answer the same digest, whatever their encodings and
 * the order of their tables: kv is compared with redis-server by it, and with itself over a reload.
 * FORM     Learned from what redis-server 7.0.15 answers. `add` is order-free (d ^= SHA1(x)), `mix`
 * is not (add, then d = SHA1(d)).
 *              value     mix type, mix each element in order; add "!!expire!!" if it expires
 *              keyspace  per database that has keys: mix its number; then for each key add the
 * digest of: mix key, value
 *          Numbers are 4 bytes, most significant first. The moment of expiry does not count.
 *          A later type whose elements have no order adds a digest of its own per element; to that
 *          of a field that has a due "!!hexpire!!" is added, and one that is due counts no more.
 * THREADS  Whoever holds the shards: an exclusive section. */
#include "server/server_int.h"
#include "base/clock.h"
#include "base/hash.h"
#include "ds/fields.h"
#include "ds/quicklist.h"
#include "ds/set.h"
#include "ds/stream_group.h"
#include "ds/zset.h"
#include <endian.h>
#include <stdio.h>

static void add(uint8_t digest[DIGEST_BYTES], struct slice s)
{
    uint8_t hash[DIGEST_BYTES];
    sha1(s.p, s.n, hash);
    for (unsigned i = 0; i < DIGEST_BYTES; i++) {
        digest[i] ^= hash[i];
    }
}

static void mix(uint8_t digest[DIGEST_BYTES], struct slice s)
{
    uint8_t sum[DIGEST_BYTES];
    add(digest, s);
    memcpy(sum, digest, sizeof sum);
    sha1(sum, sizeof sum, digest);
}

static void mix_number(uint8_t digest[DIGEST_BYTES], uint32_t v)
{
    v = htobe32(v);
    mix(digest, slice_of(&v, sizeof v));
}

/* ---- Values: one function per type ---- */

static void value_string(const struct entry *e, uint8_t digest[DIGEST_BYTES])
{
    char tmp[I64_TEXT_MAX];
    mix(digest, entry_string(e, tmp));
}

static void value_list(const struct entry *e, uint8_t digest[DIGEST_BYTES])
{
    struct ql_iter it;
    struct lp_value v;
    char tmp[I64_TEXT_MAX];
    quicklist_iter(&it, entry_ptr(e), 0, true);
    while (quicklist_next(&it, &v)) {
        mix(digest, lp_text(&v, tmp));
    }
}

static void value_set(const struct entry *e, uint8_t digest[DIGEST_BYTES])
{
    struct set s;
    struct set_iter it;
    struct set_member m;
    entry_get_set(e, &s);
    set_iter(&it, &s, 0);
    while (set_next(&it, &m)) {
        add(digest, set_text(&m));
    }
}

static void value_zset(const struct entry *e, uint8_t digest[DIGEST_BYTES])
{
    struct zset z;
    struct zset_iter it;
    struct zset_item item;
    entry_get_zset(e, &z);
    zset_iter(&it, z, 0, true);
    while (zset_next(&it, &item)) {
        uint8_t one[DIGEST_BYTES] = { 0 };
        char score[64];
        int n = snprintf(score, sizeof score, "%.17g", item.score);
        mix(one, item.member);
        mix(one, slice_of(score, (size_t)n));
        add(digest, slice_of(one, sizeof one));
    }
}

static void value_hash(const struct entry *e, uint8_t digest[DIGEST_BYTES])
{
    struct fields f;
    struct fields_iter it;
    struct fields_item item;
    entry_get_fields(e, clock_wall_ms(), &f);
    fields_iter(&it, &f, 0);
    while (fields_next(&it, &item)) {
        uint8_t one[DIGEST_BYTES] = { 0 };
        mix(one, item.field);
        mix(one, item.value);
        if (item.due != BTREE_NO_DUE) {
            add(one, S("!!hexpire!!"));
        }
        add(digest, slice_of(one, sizeof one));
    }
}

static void mix_id(uint8_t digest[DIGEST_BYTES], struct stream_id id, char separator)
{
    char text[STREAM_ID_TEXT_MAX];
    size_t n = stream_id_format(text, id);
    *(char *)memchr(text, '-', n) = separator;
    mix(digest, slice_of(text, n));
}

static void mix_text_of(uint8_t digest[DIGEST_BYTES], int64_t v)
{
    char text[I64_TEXT_MAX];
    mix(digest, slice_of(text, format_i64(text, v)));
}

static void stream_group_digest(const struct stream *s, const struct stream_group *g,
                                uint8_t digest[DIGEST_BYTES])
{
    struct stream_consumer c;
    struct stream_pending_iter it;
    struct stream_pending p;
    mix(digest, g->name);
    mix_id(digest, g->last, '-');
    mix_text_of(digest, g->read);
    for (uint64_t i = 0; stream_consumer_at(s, g, i, &c); i++) {
        mix(digest, c.name);
        stream_pending_iter(&it, s, g, &c, STREAM_ID_MIN, STREAM_ID_MAX);
        while (stream_pending_next(&it, &p)) {
            mix_id(digest, p.id, '-');
            mix_text_of(digest, p.time);
            mix_text_of(digest, (int64_t)p.count);
        }
    }
}

/* The entries as redis-server has them. COMPAT: what only kv's own comparisons need comes on top,
 * for streams that have it: groups, and deleted entries. When a consumer was seen does not count.
 */
static void value_stream(const struct entry *e, uint8_t digest[DIGEST_BYTES])
{
    const struct stream *s = entry_ptr(e);
    struct stream_iter it;
    struct stream_entry entry;
    struct stream_pair pair;
    struct stream_group g;
    stream_iter(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, true);
    while (stream_next(&it, &entry)) {
        mix_id(digest, entry.id, '.');
        while (stream_next_pair(&it, &pair)) {
            mix(digest, pair.field);
            mix(digest, pair.value);
        }
    }
    const struct stream_state *t = stream_state(s);
    struct stream_id last = STREAM_ID_MIN;
    (void)stream_edge(s, false, &last);
    if (t->added != t->length || stream_id_cmp(t->max_deleted, STREAM_ID_MIN) != 0 ||
        stream_id_cmp(t->last, last) != 0) {
        mix_id(digest, t->last, '-');
        mix_id(digest, t->max_deleted, '-');
        mix_text_of(digest, (int64_t)t->added);
    }
    for (uint64_t i = 0; stream_group_at(s, i, &g); i++) {
        stream_group_digest(s, &g, digest);
    }
}

static void (*const value_of[])(const struct entry *e, uint8_t digest[DIGEST_BYTES]) = {
    [OBJ_STRING] = value_string, [OBJ_LIST] = value_list, [OBJ_SET] = value_set,
    [OBJ_ZSET] = value_zset,     [OBJ_HASH] = value_hash, [OBJ_STREAM] = value_stream,
};

/* Type numbers are those of Redis (enum obj_type). */
static void mix_value(const struct entry *e, uint8_t digest[DIGEST_BYTES])
{
    enum obj_type t = entry_type(e);
    must((unsigned)t < countof(value_of) && value_of[t] != NULL);
    mix_number(digest, (uint32_t)t);
    value_of[t](e, digest);
    if (entry_expire(e) >= 0) {
        add(digest, S("!!expire!!"));
    }
}

void digest_of_entry(const struct entry *e, uint8_t digest[DIGEST_BYTES])
{
    memset(digest, 0, DIGEST_BYTES);
    mix_value(e, digest);
}

/* ---- The keyspace ---- */

static bool add_key(void *arg, struct entry *e)
{
    uint8_t *digest = arg, one[DIGEST_BYTES] = { 0 };
    if (entry_expire(e) < 0 && entry_end(e) >= 0 && entry_end(e) <= clock_wall_ms()) {
        return true; /* all its fields are due */
    }
    mix(one, entry_key(e));
    mix_value(e, one);
    add(digest, slice_of(one, sizeof one));
    return true;
}

void digest_of_keyspace(struct keyspace *ks, uint8_t digest[DIGEST_BYTES])
{
    memset(digest, 0, DIGEST_BYTES);
    for (unsigned db = 0; db < keyspace_databases(ks); db++) {
        if (keyspace_count(ks, db) == 0) {
            continue;
        }
        mix_number(digest, db);
        for (unsigned i = 0; i < keyspace_shards(ks); i++) {
            shard_each(keyspace_shard(ks, i), db, add_key, digest);
        }
    }
}
