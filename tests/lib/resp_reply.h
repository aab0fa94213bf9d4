/* resp_reply.h -- Replies of RESP2 and RESP3 as a tree: a strict reader, and a one-line form for
 * comparisons. SPDX-License-Identifier: BSD-3-Clause
 *
 * The reader accepts exactly what the protocol allows: CRLF, lengths and integers without sign or
 * leading zeros where they have none, no type of RESP3 on a RESP2 connection, no nil of RESP2 on a
 * RESP3 connection, pushes only between replies. Anything else is RESP_MALFORMED with the reason in
 * `problem`. A reader belongs to one thread. */
#ifndef TESTS_RESP_REPLY_H
#define TESTS_RESP_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The byte that stands for the type on the wire. */
enum resp_type {
    RESP_SIMPLE = '+',
    RESP_ERROR = '-',
    RESP_INT = ':',
    RESP_BULK = '$',
    RESP_ARRAY = '*',
    RESP_NIL = '_',
    RESP_DOUBLE = ',',
    RESP_BOOL = '#',
    RESP_BIG = '(',
    RESP_BLOB_ERROR = '!',
    RESP_VERBATIM = '=',
    RESP_MAP = '%',
    RESP_SET = '~',
    RESP_PUSH = '>',
    RESP_ATTRIBUTE = '|',
};

struct resp {
    enum resp_type type;
    bool nil_array;         /* a nil that came as "*-1" */
    int64_t integer;        /* RESP_INT; RESP_BOOL: 0 or 1 */
    double real;            /* RESP_DOUBLE */
    char *text;             /* strings, errors, numbers as sent; NUL-terminated; else NULL */
    size_t len;             /* of text */
    char format[4];         /* RESP_VERBATIM: "txt" or "mkd" */
    struct resp **at;       /* elements; a map has key, value, key, value ... */
    size_t count;           /* of at */
    struct resp *attribute; /* a RESP_ATTRIBUTE that preceded this reply, or NULL */
};

enum resp_status {
    RESP_OK = 0,
    RESP_CLOSED = -1,    /* the source ended, also in the middle of a reply */
    RESP_TIMEOUT = -2,   /* nothing is lost: the next resp_read() starts this reply again */
    RESP_MALFORMED = -3, /* final: the place in the stream is lost */
};

struct resp_reader {
    int protocol; /* 2 or 3 */
    /* Puts up to `size` bytes at `to`: their number, or RESP_CLOSED, RESP_TIMEOUT. */
    ssize_t (*fill)(void *arg, void *to, size_t size);
    void *arg;
    char *buf;
    size_t start, pos, end,
        size;          /* current reply starts at start, is read up to pos; bytes up to end */
    char problem[160]; /* why RESP_MALFORMED */
};

void resp_reader_init(struct resp_reader *r, int protocol,
                      ssize_t (*fill)(void *arg, void *to, size_t size), void *arg);
void resp_reader_free(struct resp_reader *r);
/* True when bytes wait in the buffer that no reply has used yet. */
bool resp_reader_pending(const struct resp_reader *r);
/* Takes bytes from elsewhere as if fill() had given them. */
void resp_reader_feed(struct resp_reader *r, const void *bytes, size_t len);

/* The next reply, to be freed by the caller; *out is NULL unless RESP_OK. */
enum resp_status resp_read(struct resp_reader *r, struct resp **out);
void resp_free(struct resp *reply); /* NULL is fine */

/* The reply as one line, to be freed by the caller:
 *   +OK   -ERR text   12   "bulk\r\n"   nil   nil* (of "*-1")   [1, "a"]   {"k": 1}   ~["a"]
 * >["message", "c", "x"] ,1.5   true   (123   !"SYNTAX blob"   =txt:"verbatim"   |{"k": 1} reply */
char *resp_line(const struct resp *reply);
/* Both have the same types and values. */
bool resp_equal(const struct resp *a, const struct resp *b);
#endif
