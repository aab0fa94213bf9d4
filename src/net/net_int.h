/* net_int.h -- Private structs of net/: included in this folder (and its unit tests) alone.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef NET_NET_INT_H
#define NET_NET_INT_H

#include "net/net.h"
#include <sys/uio.h>

/* ---- out.c ---- */

/* The calling thread keeps freed blocks from now on / gives them back to the allocator. */
void out_cache_start(void);
void out_cache_stop(void);
/* The first `limit` unsent bytes as at most `max` pieces; head_sent bytes of the first block are
 * out already. Returns the number of pieces. */
unsigned out_iov(const struct out *o, size_t head_sent, size_t limit, struct iovec *v,
                 unsigned max);
/* Drops n more bytes that were sent. Returns the new head_sent; *base grows by the lengths of the
 * blocks freed. */
size_t out_drop(struct out *o, size_t head_sent, size_t n, uint64_t *base);
void out_check(const struct out *o);

/* ---- resp_parse.c ---- */

struct big_arg { /* an argument that is read straight into a buffer of its own */
    struct big_arg *next;
    unsigned index; /* in its request */
    bool taken;     /* by request_take_big(): p belongs to somebody else */
    char *p;
    size_t len, have, cap;
};
struct argv_chunk;
struct parse_temp;
struct parser {
    /* the request being parsed; all zero between requests */
    uint8_t stage; /* enum parse_stage */
    bool have_len; /* the length line of argument `argc` was read */
    bool own_argv; /* argv is a heap array of argv_cap slices, else it lies in `chunk` */
    unsigned argc, nargs, argv_cap;
    struct slice *argv;
    size_t pos;       /* offset of the first byte not yet understood */
    size_t scanned;   /* bytes behind pos known to hold no end of line */
    size_t arg_len;   /* with have_len */
    const char *base; /* where the request began when the slices in argv were made */
    /* the batch */
    unsigned handed_out; /* requests since the last reset */
    struct argv_chunk *chunk;
    struct parse_temp *temps;
    struct big_arg *bigs; /* of the first request in the input */
};
void parser_init(struct parser *p);
void parser_done(struct parser *p); /* frees what it holds */
/* True when `rest`, the input that was left, ends inside a big argument: its bytes are moved into
 * a buffer of their own and only the first *kept bytes of rest are still input. */
must_check bool parser_big_begin(struct parser *p, struct slice rest, size_t *kept);
size_t parser_big_missing(const struct parser *p); /* bytes of it still to come; 0: none begun */
/* Room for the next bytes of it, *n > 0; NULL: out of memory. Then parser_big_filled(). */
char *parser_big_room(struct parser *p, size_t *n);
void parser_big_filled(struct parser *p, size_t n);
size_t parser_memory(const struct parser *p);
/* Where the next request's bytes must begin for the progress made so far to hold; NULL: anywhere.
 */
const char *parser_base(const struct parser *p);
void argv_cache_start(void);
void argv_cache_stop(void);

#endif
