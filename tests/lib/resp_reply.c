/* resp_reply.c -- The strict RESP reader.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         hiredis 0.14 speaks RESP2 only and forgives what a client library may forgive. A
 * server's tests may not. INVARIANTS  Bytes from start on stay in buf until their reply is
 * complete, so a timeout loses nothing. */
#include "resp_reply.h"
#include "base/base.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64          /* Redis nests COMMAND DOCS about eight deep */
#define LINE_MAX_ (1 << 20)   /* a line longer than this is a server that forgot its CRLF */
#define BULK_MAX  (1LL << 30) /* above proto-max-bulk-len: no server under test sends it */

static void *get_memory(void *old, size_t size)
{
    void *p = realloc(old, size);
    must(p != NULL);
    return p;
}

void resp_reader_init(struct resp_reader *r, int protocol,
                      ssize_t (*fill)(void *arg, void *to, size_t size), void *arg)
{
    *r = (struct resp_reader){ .protocol = protocol, .fill = fill, .arg = arg };
}

void resp_reader_free(struct resp_reader *r)
{
    free(r->buf);
    r->buf = NULL;
    r->start = r->pos = r->end = r->size = 0;
}

bool resp_reader_pending(const struct resp_reader *r)
{
    return r->end > r->start;
}

/* ---- bytes ---- */

static void make_room(struct resp_reader *r, size_t more)
{
    if (r->start > 0) {
        memmove(r->buf, r->buf + r->start, r->end - r->start);
        r->end -= r->start;
        r->pos -= r->start;
        r->start = 0;
    }
    if (r->size - r->end < more) {
        r->size = size_max(r->size * 2, r->end + more);
        r->buf = get_memory(r->buf, r->size);
    }
}

void resp_reader_feed(struct resp_reader *r, const void *bytes, size_t len)
{
    if (len > 0) {
        make_room(r, len);
        memcpy(r->buf + r->end, bytes, len);
        r->end += len;
    }
}

static enum resp_status fill_more(struct resp_reader *r)
{
    if (r->size - r->end < 4096) {
        make_room(r, 65536);
    }
    ssize_t n = r->fill(r->arg, r->buf + r->end, r->size - r->end);
    if (n < 0) {
        return (enum resp_status)n;
    }
    must(n > 0 && (size_t)n <= r->size - r->end);
    r->end += (size_t)n;
    return RESP_OK;
}

static enum resp_status malformed(struct resp_reader *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static enum resp_status malformed(struct resp_reader *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->problem, sizeof r->problem, fmt, ap);
    va_end(ap);
    return RESP_MALFORMED;
}

/* The line at pos without its CRLF. *line points into buf and holds until the next fill. */
static enum resp_status read_line(struct resp_reader *r, const char **line, size_t *len)
{
    size_t scanned = 0;
    for (;;) {
        size_t have = r->end - r->pos - scanned;
        const char *nl = have > 0 ? memchr(r->buf + r->pos + scanned, '\n', have) : NULL;
        if (nl != NULL) {
            size_t n = (size_t)(nl - (r->buf + r->pos));
            if (n == 0 || nl[-1] != '\r') {
                return malformed(r, "a line ends with LF alone");
            }
            *line = r->buf + r->pos;
            *len = n - 1;
            r->pos += n + 1;
            if (memchr(*line, '\r', *len) != NULL) {
                return malformed(r, "CR inside a line");
            }
            return RESP_OK;
        }
        scanned = r->end - r->pos;
        if (scanned > LINE_MAX_) {
            return malformed(r, "no line end in %d bytes", LINE_MAX_);
        }
        enum resp_status st = fill_more(r);
        if (st != RESP_OK) {
            return st;
        }
    }
}

/* Digits as a server has to write them: "-" only where allowed and never before 0, no leading
 * zeros. */
static bool parse_number(const char *s, size_t len, bool negative_ok, int64_t *out)
{
    const char *digits = s;
    size_t n = len;
    if (negative_ok && n > 0 && *digits == '-') {
        digits++;
        n--;
    }
    if (n == 0 || n > 19 || (digits[0] == '0' && (n > 1 || digits != s))) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!isdigit((unsigned char)digits[i])) {
            return false;
        }
    }
    char text[24];
    memcpy(text, s, len);
    text[len] = '\0';
    errno = 0;
    *out = strtoll(text, NULL, 10);
    return errno == 0;
}

static bool parse_big(const char *s, size_t len)
{
    size_t i = len > 0 && s[0] == '-' ? 1 : 0;
    if (i == len || (s[i] == '0' && len > 1)) {
        return false;
    }
    for (; i < len; i++) {
        if (!isdigit((unsigned char)s[i])) {
            return false;
        }
    }
    return true;
}

static size_t count_digits(const char *s, size_t i, size_t len)
{
    size_t n = 0;
    while (i + n < len && isdigit((unsigned char)s[i + n])) {
        n++;
    }
    return n;
}

/* inf, -inf, nan, or [-]digits[.digits][e[+-]digits] without a leading zero before another digit.
 */
static bool parse_double(const char *s, size_t len, double *out)
{
    char text[64];
    if (len == 0 || len >= sizeof text) {
        return false;
    }
    memcpy(text, s, len);
    text[len] = '\0';
    *out = strtod(text, NULL);
    if (strcmp(text, "inf") == 0 || strcmp(text, "-inf") == 0 || strcmp(text, "nan") == 0) {
        return true;
    }
    size_t i = text[0] == '-' ? 1 : 0;
    size_t whole = count_digits(text, i, len);
    if (whole == 0 || (text[i] == '0' && whole > 1)) {
        return false;
    }
    i += whole;
    if (text[i] == '.') {
        size_t fraction = count_digits(text, i + 1, len);
        if (fraction == 0) {
            return false;
        }
        i += 1 + fraction;
    }
    if (text[i] == 'e' || text[i] == 'E') {
        i += text[i + 1] == '+' || text[i + 1] == '-' ? 2 : 1;
        size_t exponent = count_digits(text, i, len);
        if (exponent == 0) {
            return false;
        }
        i += exponent;
    }
    return i == len;
}

/* ---- replies ---- */

void resp_free(struct resp *reply)
{
    if (reply == NULL) {
        return;
    }
    for (size_t i = 0; i < reply->count; i++) {
        resp_free(reply->at[i]);
    }
    resp_free(reply->attribute);
    free(reply->at);
    free(reply->text);
    free(reply);
}

static void set_text(struct resp *reply, const char *s, size_t len)
{
    reply->text = get_memory(NULL, len + 1);
    memcpy(reply->text, s, len);
    reply->text[len] = '\0';
    reply->len = len;
}

static enum resp_status read_value(struct resp_reader *r, int depth, struct resp **out);

/* `len` bytes and CRLF. */
static enum resp_status read_blob(struct resp_reader *r, struct resp *reply, int64_t len)
{
    if (len > BULK_MAX) {
        return malformed(r, "bulk length %lld", (long long)len);
    }
    size_t n = (size_t)len;
    while (r->end - r->pos < n + 2) {
        enum resp_status st = fill_more(r);
        if (st != RESP_OK) {
            return st;
        }
    }
    const char *at = r->buf + r->pos;
    if (at[n] != '\r' || at[n + 1] != '\n') {
        return malformed(r, "bulk of %zu bytes is not followed by CRLF", n);
    }
    size_t skip = 0;
    if (reply->type == RESP_VERBATIM) {
        if (n < 4 || at[3] != ':') {
            return malformed(r, "verbatim string without a format");
        }
        memcpy(reply->format, at, 3);
        skip = 4;
    }
    set_text(reply, at + skip, n - skip);
    r->pos += n + 2;
    return RESP_OK;
}

static enum resp_status read_elements(struct resp_reader *r, struct resp *reply, int64_t count,
                                      int depth)
{
    size_t room = 0;
    if (depth >= DEPTH_MAX) {
        return malformed(r, "nested deeper than %d", DEPTH_MAX);
    }
    for (int64_t i = 0; i < count; i++) {
        if (reply->count == room) {
            room = room == 0 ? 8 : room * 2;
            reply->at = get_memory(reply->at, room * sizeof *reply->at);
        }
        struct resp *element = NULL;
        enum resp_status st = read_value(r, depth + 1, &element);
        if (st != RESP_OK) {
            return st;
        }
        reply->at[reply->count++] = element;
    }
    return RESP_OK;
}

/* A type whose line is a length: strings and containers. */
static enum resp_status read_sized(struct resp_reader *r, struct resp *reply, const char *line,
                                   size_t len, int depth)
{
    bool can_be_nil = reply->type == RESP_BULK || reply->type == RESP_ARRAY;
    int64_t n = 0;
    if (can_be_nil && len == 2 && memcmp(line, "-1", 2) == 0) {
        if (r->protocol == 3) {
            return malformed(r, "RESP2 nil on a RESP3 connection");
        }
        reply->nil_array = reply->type == RESP_ARRAY;
        reply->type = RESP_NIL;
        return RESP_OK;
    }
    if (!parse_number(line, len, false, &n)) {
        return malformed(r, "bad length '%.*s' after '%c'", (int)size_min(len, 40), line,
                         (char)reply->type);
    }
    switch (reply->type) {
    case RESP_BULK:
    case RESP_BLOB_ERROR:
    case RESP_VERBATIM: return read_blob(r, reply, n);
    case RESP_MAP:
    case RESP_ATTRIBUTE:
        return n > INT64_MAX / 2 ? malformed(r, "map of %lld", (long long)n)
                                 : read_elements(r, reply, n * 2, depth);
    default: return read_elements(r, reply, n, depth);
    }
}

/* A type that is all in its line. */
static enum resp_status read_scalar(struct resp_reader *r, struct resp *reply, const char *line,
                                    size_t len)
{
    bool good = true;
    set_text(reply, line, len);
    switch (reply->type) {
    case RESP_SIMPLE: break;
    case RESP_ERROR: good = len > 0 && !isspace((unsigned char)line[0]); break;
    case RESP_INT: good = parse_number(line, len, true, &reply->integer); break;
    case RESP_BIG: good = parse_big(line, len); break;
    case RESP_DOUBLE: good = parse_double(line, len, &reply->real); break;
    case RESP_BOOL:
        good = len == 1 && (*line == 't' || *line == 'f');
        reply->integer = good && *line == 't';
        break;
    default: good = reply->type == RESP_NIL && len == 0; break;
    }
    return good ? RESP_OK
                : malformed(r, "bad value '%.*s' after '%c'", (int)size_min(len, 40), reply->text,
                            (char)reply->type);
}

static bool type_is_known(int protocol, char c)
{
    const char *types = protocol == 3 ? "+-:$*_,#(!=%~>|" : "+-:$*";
    return c != '\0' && strchr(types, c) != NULL;
}

/* One value, without what an attribute announces. On failure *out still owns the part that was
 * read. */
static enum resp_status read_one(struct resp_reader *r, int depth, struct resp **out)
{
    const char *line = NULL;
    size_t len = 0;
    enum resp_status st = read_line(r, &line, &len);
    if (st != RESP_OK) {
        return st;
    }
    char type = len > 0 ? line[0] : '\0';
    if (!type_is_known(r->protocol, type)) {
        return malformed(r, "type byte 0x%02x in RESP%d", (unsigned char)type, r->protocol);
    }
    if (type == RESP_PUSH && depth > 0) {
        return malformed(r, "push inside another reply");
    }
    struct resp *reply = get_memory(NULL, sizeof *reply);
    *reply = (struct resp){ .type = (enum resp_type)type };
    *out = reply;
    if (strchr("$*!=%~>|", type) != NULL) {
        st = read_sized(r, reply, line + 1, len - 1, depth);
    } else {
        st = read_scalar(r, reply, line + 1, len - 1);
    }
    if (st == RESP_OK && type == RESP_PUSH && (reply->count == 0 || reply->at[0]->text == NULL)) {
        st = malformed(r, "push without a kind");
    }
    return st;
}

static enum resp_status read_value(struct resp_reader *r, int depth, struct resp **out)
{
    struct resp *value = NULL;
    struct resp *attribute = NULL;
    enum resp_status st = read_one(r, depth, &value);
    must(st != RESP_OK || value != NULL);
    if (st == RESP_OK && value->type == RESP_ATTRIBUTE) {
        attribute = value;
        value = NULL;
        st = read_one(r, depth, &value);
        must(st != RESP_OK || value != NULL);
        if (st == RESP_OK && (value->type == RESP_ATTRIBUTE || value->type == RESP_PUSH)) {
            st = malformed(r, "attribute without a reply");
        }
    }
    if (st != RESP_OK) {
        resp_free(value);
        resp_free(attribute);
        return st;
    }
    value->attribute = attribute;
    *out = value;
    return RESP_OK;
}

enum resp_status resp_read(struct resp_reader *r, struct resp **out)
{
    *out = NULL;
    enum resp_status st = read_value(r, 0, out);
    if (st == RESP_OK) {
        r->start = r->pos;
    } else {
        r->pos = r->start;
    }
    return st;
}

/* ---- one line ---- */

static void put_quoted(FILE *f, const char *s, size_t len)
{
    fputc('"', f);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\') {
            fprintf(f, "\\%c", c);
        } else if (c == '\r') {
            fputs("\\r", f);
        } else if (c == '\n') {
            fputs("\\n", f);
        } else if (c < 0x20 || c >= 0x7f) {
            fprintf(f, "\\x%02x", c);
        } else {
            fputc(c, f);
        }
    }
    fputc('"', f);
}

static void put_reply(FILE *f, const struct resp *reply);

static void put_elements(FILE *f, const struct resp *reply)
{
    bool map = reply->type == RESP_MAP || reply->type == RESP_ATTRIBUTE;
    fputc(map ? '{' : '[', f);
    for (size_t i = 0; i < reply->count; i++) {
        if (i > 0) {
            fputs(map && i % 2 == 1 ? ": " : ", ", f);
        }
        put_reply(f, reply->at[i]);
    }
    fputc(map ? '}' : ']', f);
}

static void put_reply(FILE *f, const struct resp *reply)
{
    if (reply->attribute != NULL) {
        put_reply(f, reply->attribute);
        fputc(' ', f);
    }
    switch (reply->type) {
    case RESP_NIL: fputs(reply->nil_array ? "nil*" : "nil", f); break;
    case RESP_BOOL: fputs(reply->integer != 0 ? "true" : "false", f); break;
    case RESP_INT: fputs(reply->text, f); break;
    case RESP_BULK: put_quoted(f, reply->text, reply->len); break;
    case RESP_BLOB_ERROR:
        fputc('!', f);
        put_quoted(f, reply->text, reply->len);
        break;
    case RESP_VERBATIM:
        fprintf(f, "=%s:", reply->format);
        put_quoted(f, reply->text, reply->len);
        break;
    case RESP_SET:
    case RESP_PUSH:
    case RESP_ATTRIBUTE:
        fputc(reply->type, f);
        put_elements(f, reply);
        break;
    case RESP_ARRAY:
    case RESP_MAP: put_elements(f, reply); break;
    default: /* simple, error, double, big number */
        fputc(reply->type, f);
        fwrite(reply->text, 1, reply->len, f);
        break;
    }
}

char *resp_line(const struct resp *reply)
{
    char *line = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&line, &len);
    must(f != NULL);
    put_reply(f, reply);
    must(fclose(f) == 0);
    return line;
}

bool resp_equal(const struct resp *a, const struct resp *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    if (a->type != b->type || a->nil_array != b->nil_array || a->len != b->len ||
        a->count != b->count || memcmp(a->format, b->format, sizeof a->format) != 0 ||
        (a->len > 0 && memcmp(a->text, b->text, a->len) != 0)) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (!resp_equal(a->at[i], b->at[i])) {
            return false;
        }
    }
    return resp_equal(a->attribute, b->attribute);
}
