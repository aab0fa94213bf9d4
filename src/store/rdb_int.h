/* rdb_int.h -- What the files of the RDB codec share: type numbers, old packed forms.
 * SPDX-License-Identifier: BSD-3-Clause
 * Private to src/store/rdb_*.c. Sources: the RDB file format as documented by its readers; what
 * redis-server 7.0.15 and valkey 8.0.1 write. */
#ifndef STORE_RDB_INT_H
#define STORE_RDB_INT_H

#include "ds/listpack.h"
#include "store/rdb.h"

enum rdb_type { /* never change: they stand in files */
                RDB_STRING = 0,
                RDB_LIST = 1,        /* texts */
                RDB_SET = 2,         /* texts */
                RDB_ZSET_TEXT = 3,   /* members with scores as text */
                RDB_HASH = 4,        /* pairs of texts */
                RDB_ZSET = 5,        /* members with eight bytes of score */
                RDB_HASH_ZIPMAP = 9, /* from here on: bytes of a packed form as one text */
                RDB_LIST_ZIPLIST = 10,
                RDB_SET_INTSET = 11,
                RDB_ZSET_ZIPLIST = 12,
                RDB_HASH_ZIPLIST = 13,
                RDB_LIST_ZIPLISTS = 14, /* several ziplists */
                RDB_STREAM = 15,        /* nodes, groups; more of both later */
                RDB_HASH_LISTPACK = 16,
                RDB_ZSET_LISTPACK = 17,
                RDB_LIST_CHUNKS = 18, /* listpacks and single elements, each after an rdb_chunk */
                RDB_STREAM_2 = 19,
                RDB_SET_LISTPACK = 20,
                RDB_STREAM_3 = 21,
                RDB_HASH_TIMED_RC = 22, /* release candidates of 7.4: as RDB_HASH_TIMED, without the
                                           earliest due, and with absolute ones */
                RDB_HASH_LISTPACK_TIMED_RC = 23, /* of triples; without the earliest due */
                RDB_HASH_TIMED = 24, /* the earliest due, eight bytes; then a length of what each
                                        due is later, and 1, or 0: none; and the pair */
                RDB_HASH_LISTPACK_TIMED =
                    25, /* the earliest due; field, value, due (0: none) ... */
                RDB_TYPES = 26
};
enum rdb_chunk { RDB_CHUNK_PLAIN = 1, RDB_CHUNK_PACKED = 2 };

/* A length: its first two bits, or this whole byte. */
#define RDB_LEN_6    0x00u
#define RDB_LEN_14   0x40u
#define RDB_LEN_32   0x80u
#define RDB_LEN_64   0x81u
#define RDB_LEN_ELSE 0xC0u /* not a length: the text is an enum rdb_form */
enum rdb_form { RDB_INT8 = 0, RDB_INT16 = 1, RDB_INT32 = 2, RDB_LZF = 3 };

void rdb_write_bytes(struct rdb_writer *w, const void *p, size_t n);

/* ---- Streams: rdb_stream.c ---- */

void rdb_write_stream(struct rdb_writer *w, const struct entry *e);
/* NULL: r->error. */
must_check struct stream *rdb_read_stream(struct rdb_reader *r, unsigned type,
                                          const struct stream_limits *limits);

/* ---- Packed forms: the elements of a listpack, a ziplist or a zipmap, one after the other ---- */

enum pack_form { PACK_LISTPACK, PACK_ZIPLIST, PACK_ZIPMAP };
struct pack {
    enum pack_form form;
    const uint8_t *at, *end; /* the next element; just behind the last one */
    bool value;              /* zipmap: the next is a value */
};
/* False: the bytes are not one whole sound pack of that form. Nothing outside is looked at. */
must_check bool pack_open(struct pack *p, enum pack_form form, struct slice bytes);
/* False: that was all. A string points into the bytes. */
bool pack_next(struct pack *p, struct lp_value *v);

#endif
