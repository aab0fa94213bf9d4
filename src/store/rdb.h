/* rdb.h -- Values in the encoding of RDB files, which DUMP and full synchronization carry, too.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHAT       Writes what Redis 7.0 reads (version 10). Reads what Redis up to 7.4 writes, versions
 * 1 to RDB_VERSION_READ, but modules' values. STREAMS    Writer and reader work on a piece of the
 * stream at a time, so that the size of a value costs no memory besides the value: a writer with
 * flush() hands on what it has whenever that is RDB_PIECE bytes, a reader with more() asks for the
 * next bytes. TRUST      A reader believes nothing. A length that is told allocates nothing before
 * the bytes are there; a value is handed over when all of it was found sound, built by the
 * functions that commands use, without a member or field twice. THREADS    One thread per writer or
 * reader. rdb_write_value() reads the entry: under its shard's lock, or a copy (entry_copy())
 * without one. Reading touches no keyspace. FAILURE    Sticky: after the first one every call does
 * nothing and says so, and `error` has it. -ENOMEM; -EIO: flush() answered false; -EINVAL: not
 * sound, or the bytes end before the value does. */
#ifndef STORE_RDB_H
#define STORE_RDB_H

#include "ds/fields.h"
#include "ds/set.h"
#include "ds/stream.h"
#include "ds/zset.h"
#include "store/store.h"

#define RDB_VERSION      10u /* of what is written, where a value needs no later one */
#define RDB_VERSION_READ 12
#define RDB_PIECE        65536u

/* Where a value's type stands in a file there may be one of these instead. */
enum rdb_opcode {
    RDB_OP_FUNCTION = 245,     /* text of a library */
    RDB_OP_FUNCTION_OLD = 246, /* before 7.0 was released; not read */
};

/* ================= Writing ================= */

struct rdb_writer {
    struct buf b;                                 /* what was not handed on; buf_free() it */
    bool (*flush)(void *arg, struct slice bytes); /* NULL: everything stays in b */
    void *arg;
    uint64_t crc;  /* of what was handed on */
    bool compress; /* texts, where it makes them shorter */
    int error;
};

void rdb_write_byte(struct rdb_writer *w, unsigned byte);
void rdb_write_length(struct rdb_writer *w, uint64_t n);
/* Texts that are integers become such, long ones are compressed. */
void rdb_write_text(struct rdb_writer *w, struct slice text);

unsigned rdb_type(const struct entry *e);          /* the byte that says how e's value is written */
unsigned rdb_value_version(const struct entry *e); /* the oldest one that has that type */
void rdb_write_value(struct rdb_writer *w, const struct entry *e); /* without its type */
/* Hands on what is left. Then w->crc is that of the whole stream. */
void rdb_write_finish(struct rdb_writer *w);

/* What DUMP and FUNCTION DUMP answer ends in the version and the CRC of all before it. */
#define RDB_FOOTER 10u
void rdb_write_footer(struct rdb_writer *w, unsigned version); /* w has no flush() */
/* The bytes before the footer. False: there is none, it is of a later version, or the CRC is
 * another. */
must_check bool rdb_footer_take(struct slice payload, struct slice *body);
unsigned rdb_footer_version(struct slice payload); /* which rdb_footer_take() has taken */

/* ================= Reading ================= */

struct rdb_reader {
    struct slice at_hand; /* bytes that are there and not read yet */
    /* Up to `room` bytes, 0: there are no more. NULL: there never were. */
    size_t (*more)(void *arg, char *to, size_t room);
    void *arg;
    char *piece;  /* what more() gave; rdb_reader_free() frees it */
    bool summing; /* keep crc */
    uint64_t crc; /* of what was read */
    int error;
};
/* Reads bytes that stay there until the end. */
static inline struct rdb_reader rdb_reader_of(struct slice bytes)
{
    return (struct rdb_reader){ .at_hand = bytes };
}
void rdb_reader_free(struct rdb_reader *r);
bool rdb_at_end(struct rdb_reader *r); /* nothing follows; may wait for more() */

must_check bool rdb_read_byte(struct rdb_reader *r, unsigned *byte);
must_check bool rdb_read_length(struct rdb_reader *r, uint64_t *n);
must_check bool rdb_read_bytes(struct rdb_reader *r, void *to, size_t n);

/* A text that was read: valid until the next call with the same struct, or the reader is freed. All
 * zero at first; buf_free(&t->own) at last. */
struct rdb_text {
    struct slice s; /* in the reader's bytes, own, or digits */
    struct buf own;
    char digits[I64_TEXT_MAX];
};
must_check bool rdb_read_text(struct rdb_reader *r, struct rdb_text *t);

struct rdb_limits { /* of the forms that values get */
    int list_fill;
    struct set_limits set;
    struct fields_limits hash;
    struct zset_limits zset;
    struct stream_limits stream;
};
struct rdb_value {
    enum obj_type type;
    enum obj_enc enc;     /* of a container */
    void *container;      /* for shard_add_object(), which takes it over */
    struct rdb_text text; /* of a string */
};
/* The value after its type byte; *v is not to be copied. False: *v holds nothing. Else
 * rdb_value_free() it, after v->container = NULL if somebody took that. */
must_check bool rdb_read_value(struct rdb_reader *r, unsigned type, const struct rdb_limits *limits,
                               struct rdb_value *v);
void rdb_value_free(struct rdb_value *v);
#endif
