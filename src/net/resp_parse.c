/* resp_parse.c -- Finds requests in the input: RESP arrays and inline lines, without copying.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 *     The common request lies whole in the read buffer: parse_fast() walks over it once and leaves
 *     slices. Whatever it does not plainly understand (a request that is not complete, an odd or
 *     wrong length line, big arguments) it leaves, with the progress made, to parse_careful(), the
 *     one place that knows limits and error texts.
 *
 * MEMORY
 *     argv arrays come from chunks that the thread hands to whichever parser runs a batch; a parser
 *     between requests holds nothing. A declared length allocates nothing: arrays and big arguments
 *     grow with the bytes that arrived.
 *
 * INVARIANTS
 *     I1 stage == STAGE_NONE <=> no request is begun; then only bigs and the batch fields are set.
 *     I2 bigs belong to the first request in the input, begun or not, in ascending index order.
 *
 * COMPAT
 *     The limits, texts and the order of checks are those of Redis 7.0.15. Stricter: CR must be
 *     followed by LF, and an argument by CRLF; a too long line is refused also when its end is
 *     already there. As there, a NUL in a line hides the end of that line, and a negative array
 *     length is an empty request. */
#include "net/net_int.h"
#include "base/mem.h"
#include <limits.h>

#define CHUNK_SLICES   2048 /* 32 KiB: a batch of 64 requests of 32 arguments */
#define CHUNK_CACHE    4
#define BIG_ARG        32768 /* as Redis: from here on an argument gets its own buffer */
#define BIG_FIRST      32768
#define BIG_QUADRUPLE  ((size_t)64 << 20) /* up to here buffers grow fourfold, then twofold */
#define UNAUTH_ARGS    10
#define UNAUTH_BULK    16384
#define FAST_DIGITS    9 /* longer lengths go the careful way: no overflow to think of */
#define NUMBER_ROOM    (FAST_DIGITS + 3) /* bytes that fast_number() may look at */
#define ARGV_FIRST     16
#define LINE_NOT_ENDED SIZE_MAX
#define LINE_TOO_LONG  (SIZE_MAX - 1)

enum parse_stage { STAGE_NONE, STAGE_INLINE, STAGE_COUNT, STAGE_ARGS };

struct argv_chunk {
    struct argv_chunk *next;
    unsigned used;
    struct slice a[CHUNK_SLICES];
};

/* Heap memory behind requests handed out, until the batch is reset. */
struct parse_temp {
    struct parse_temp *next;
    struct slice *argv;
    struct buf store;
};

struct argv_cache {
    struct argv_chunk *free;
    unsigned n;
    bool on;
    char text[64]; /* the error text that names a byte */
};
thread_local_fast struct argv_cache cache;

void argv_cache_start(void)
{
    cache.on = true;
}

void argv_cache_stop(void)
{
    while (cache.free != NULL) {
        struct argv_chunk *c = cache.free;
        cache.free = c->next;
        mem_free(c);
    }
    cache.n = 0;
    cache.on = false;
}

static struct argv_chunk *chunk_get(void)
{
    struct argv_chunk *c = cache.free;
    if (likely(c != NULL)) {
        cache.free = c->next;
        cache.n--;
    } else {
        c = mem_alloc(sizeof *c);
    }
    c->next = NULL;
    c->used = 0;
    return c;
}

__attribute__((noinline)) static void chunk_add(struct parser *p)
{
    struct argv_chunk *c = chunk_get();
    c->next = p->chunk;
    p->chunk = c;
}

static void chunk_put(struct argv_chunk *c)
{
    if (likely(cache.on && cache.n < CHUNK_CACHE)) {
        c->next = cache.free;
        cache.free = c;
        cache.n++;
    } else {
        mem_free(c);
    }
}

/* ---- Big arguments ---- */

static void bigs_free(struct parser *p)
{
    while (p->bigs != NULL) {
        struct big_arg *b = p->bigs;
        p->bigs = b->next;
        if (!b->taken) {
            mem_free(b->p);
        }
        mem_free(b);
    }
}

/* True while the next request to be handed out is the one that owns the big arguments. */
static bool bigs_apply(const struct parser *p)
{
    return p->bigs != NULL && p->handed_out == 0;
}

static struct big_arg *big_of(const struct parser *p, unsigned index)
{
    struct big_arg *b = bigs_apply(p) ? p->bigs : NULL;
    while (b != NULL && b->index != index) {
        b = b->next;
    }
    return b;
}

static struct big_arg *big_current(const struct parser *p)
{
    return p->stage == STAGE_ARGS && p->have_len ? big_of(p, p->argc) : NULL;
}

/* Makes room for more bytes; at most about four times what arrived, never more than declared. */
static bool big_grow(struct big_arg *b)
{
    size_t cap = b->have <= BIG_QUADRUPLE ? b->have * 4 : b->have * 2;
    cap = size_min(size_max(cap, BIG_FIRST), b->len);
    char *grown = mem_try_realloc(b->p, cap);
    if (grown == NULL) {
        return false;
    }
    b->p = grown;
    b->cap = cap;
    return true;
}

bool parser_big_begin(struct parser *p, struct slice rest, size_t *kept)
{
    if (p->stage != STAGE_ARGS || !p->have_len || p->arg_len < BIG_ARG ||
        rest.n - p->pos >= p->arg_len || big_of(p, p->argc) != NULL) {
        return false;
    }
    must(p->handed_out == 0 && rest.n >= p->pos);
    struct big_arg *b = mem_calloc(sizeof *b);
    b->index = p->argc;
    b->len = p->arg_len;
    b->have = rest.n - p->pos;
    if (!big_grow(b)) {
        mem_free(b);
        return false;
    }
    memcpy(b->p, rest.p + p->pos, b->have);
    struct big_arg **at = &p->bigs;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = b;
    *kept = p->pos;
    return true;
}

size_t parser_big_missing(const struct parser *p)
{
    const struct big_arg *b = big_current(p);
    return b != NULL ? b->len - b->have : 0;
}

size_t parser_big_current(const struct parser *p)
{
    const struct big_arg *b = big_current(p);
    return b != NULL ? b->have : 0;
}

char *parser_big_room(struct parser *p, size_t *n)
{
    struct big_arg *b = big_current(p);
    must(b != NULL && b->have < b->len);
    if (b->have == b->cap && !big_grow(b)) {
        return NULL;
    }
    *n = b->cap - b->have;
    return b->p + b->have;
}

void parser_big_filled(struct parser *p, size_t n)
{
    struct big_arg *b = big_current(p);
    must(b != NULL && n <= b->cap - b->have);
    b->have += n;
}

char *request_take_big(struct request *req, unsigned i)
{
    for (struct big_arg *b = req->owner->bigs; b != NULL; b = b->next) {
        if (b->index == i && b->p == req->argv[i].p && !b->taken) {
            b->taken = true;
            return b->p;
        }
    }
    return NULL;
}

/* ---- Life of a parser and of a batch ---- */

void parser_init(struct parser *p)
{
    *p = (struct parser){ 0 };
}

struct parser *parser_new(void)
{
    return mem_calloc(sizeof(struct parser));
}

static void progress_drop(struct parser *p)
{
    if (p->own_argv) {
        mem_free(p->argv);
    }
    p->stage = STAGE_NONE;
    p->have_len = p->own_argv = false;
    p->argc = p->nargs = p->argv_cap = 0;
    p->argv = NULL;
    p->pos = p->scanned = p->arg_len = 0;
    p->base = NULL;
}

static void temps_free(struct parser *p)
{
    while (p->temps != NULL) {
        struct parse_temp *t = p->temps;
        p->temps = t->next;
        mem_free(t->argv);
        buf_free(&t->store);
        mem_free(t);
    }
}

static void temp_keep(struct parser *p, struct slice *argv, struct buf store)
{
    struct parse_temp *t = mem_alloc(sizeof *t);
    *t = (struct parse_temp){ .next = p->temps, .argv = argv, .store = store };
    p->temps = t;
}

static void chunks_put(struct parser *p)
{
    while (p->chunk != NULL) {
        struct argv_chunk *c = p->chunk;
        p->chunk = c->next;
        chunk_put(c);
    }
}

/* The arguments found of an unfinished request move out of the chunk, which goes to others. */
static void argv_to_heap(struct parser *p)
{
    unsigned cap = ARGV_FIRST;
    while (cap < p->argc) {
        cap *= 2;
    }
    struct slice *own = mem_alloc(cap * sizeof *own);
    memcpy(own, p->argv, p->argc * sizeof *own);
    p->argv = own;
    p->argv_cap = cap;
    p->own_argv = true;
}

void parser_reset_batch(struct parser *p)
{
    if (p->argc > 0 && !p->own_argv) {
        argv_to_heap(p);
    } else if (!p->own_argv) {
        p->argv = NULL; /* begun, but no argument found yet */
        p->argv_cap = 0;
    }
    if (p->handed_out > 0 && p->bigs != NULL) {
        bigs_free(p);
    }
    if (p->temps != NULL) {
        temps_free(p);
    }
    chunks_put(p);
    p->handed_out = 0;
}

void parser_unread(struct parser *p, unsigned executed)
{
    must(executed <= p->handed_out);
    if (executed == p->handed_out) {
        parser_reset_batch(p);
        return;
    }
    for (const struct big_arg *b = p->bigs; b != NULL && executed == 0; b = b->next) {
        must(!b->taken);
    }
    progress_drop(p);
    p->handed_out = executed; /* with 0 the big arguments stay: they belong to the first request */
    parser_reset_batch(p);
}

void parser_done(struct parser *p)
{
    progress_drop(p);
    parser_reset_batch(p);
    bigs_free(p);
}

void parser_free(struct parser *p)
{
    if (p != NULL) {
        parser_done(p);
        mem_free(p);
    }
}

const char *parser_base(const struct parser *p)
{
    return p->stage != STAGE_NONE ? p->base : NULL;
}

size_t parser_big_have(const struct parser *p)
{
    size_t n = 0;
    for (const struct big_arg *b = p->bigs; b != NULL; b = b->next) {
        n += b->have;
    }
    return n;
}

size_t parser_memory(const struct parser *p)
{
    size_t n = p->own_argv ? p->argv_cap * sizeof(struct slice) : 0;
    for (const struct big_arg *b = p->bigs; b != NULL; b = b->next) {
        n += sizeof *b + b->cap;
    }
    return n;
}

size_t parser_announced(const struct parser *p)
{
    size_t n = 0;
    for (const struct big_arg *b = p->bigs; b != NULL; b = b->next) {
        n += b->len > b->cap ? b->len - b->cap : 0;
    }
    return n;
}

/* ---- The careful way ---- */

/* Offset from pos of the byte `end`; a NUL before it hides it. Remembers what was looked at. */
static size_t line_end(struct parser *p, struct slice in, char end, size_t max)
{
    const char *line = in.p + p->pos;
    size_t n = in.n - p->pos;
    const char *from = line + p->scanned;
    size_t look = size_min(n, max + 1) - size_min(p->scanned, max + 1);
    const char *at = look > 0 ? memchr(from, end, look) : NULL;
    const char *nul = look > 0 ? memchr(from, '\0', at != NULL ? (size_t)(at - from) : look) : NULL;
    if (nul != NULL) {
        p->scanned = (size_t)(nul - line);
    } else if (at != NULL) {
        return (size_t)(at - line);
    } else {
        p->scanned += look;
    }
    return n > max ? LINE_TOO_LONG : LINE_NOT_ENDED;
}

static enum parse_status fail(struct parser *p, const char **error, const char *text)
{
    progress_drop(p);
    *error = text;
    return PARSE_ERROR;
}

static enum parse_status fail_dollar(struct parser *p, const char **error, char got)
{
    static const char text[] = "ERR Protocol error: expected '$', got '";
    char *at = cache.text;
    memcpy(at, text, sizeof text - 1);
    at += sizeof text - 1;
    *at++ = got;
    *at++ = '\'';
    *at = '\0';
    return fail(p, error, cache.text);
}

/* The number in the length line at pos, whose type byte was checked, up to its CR at `cr`. False:
 * not a number in the strict form, or CR is followed by something else than LF. */
static bool line_number(const struct parser *p, struct slice in, size_t cr, int64_t *n)
{
    const char *line = in.p + p->pos;
    return line[cr + 1] == '\n' && parse_i64(slice_of(line + 1, cr - 1), n);
}

/* Length line at pos: PARSE_OK with *n and pos behind it, where `bad` and `too_long` are its
 * errors.
 */
static enum parse_status length_line(struct parser *p, const struct parse_limits *limits,
                                     struct slice in, int64_t *n, const char **error,
                                     const char *bad, const char *too_long)
{
    size_t cr = line_end(p, in, '\r', limits->max_inline);
    if (cr == LINE_TOO_LONG) {
        return fail(p, error, too_long);
    }
    if (cr == LINE_NOT_ENDED || p->pos + cr + 1 == in.n) {
        return PARSE_MORE;
    }
    if (in.p[p->pos] == '$' || p->stage == STAGE_COUNT) {
        if (!line_number(p, in, cr, n)) {
            return fail(p, error, bad);
        }
        p->pos += cr + 2;
        p->scanned = 0;
        return PARSE_OK;
    }
    return fail_dollar(p, error, in.p[p->pos]);
}

static enum parse_status count_line(struct parser *p, const struct parse_limits *limits,
                                    struct slice in, const char **error)
{
    static const char bad[] = "ERR Protocol error: invalid multibulk length";
    int64_t n;
    enum parse_status st = length_line(p, limits, in, &n, error, bad,
                                       "ERR Protocol error: too big mbulk count string");
    if (st != PARSE_OK) {
        return st;
    }
    if (n > (int64_t)limits->max_args) {
        return fail(p, error, bad);
    }
    if (limits->unauthenticated && n > UNAUTH_ARGS) {
        return fail(p, error, "ERR Protocol error: unauthenticated multibulk length");
    }
    p->nargs = n > 0 ? (unsigned)n : 0;
    p->stage = STAGE_ARGS;
    return PARSE_OK;
}

static enum parse_status arg_line(struct parser *p, const struct parse_limits *limits,
                                  struct slice in, const char **error)
{
    static const char bad[] = "ERR Protocol error: invalid bulk length";
    int64_t n;
    if (p->pos == in.n) {
        return PARSE_MORE;
    }
    enum parse_status st =
        length_line(p, limits, in, &n, error, bad, "ERR Protocol error: too big bulk count string");
    if (st != PARSE_OK) {
        return st;
    }
    if (n < 0 || (uint64_t)n > limits->max_bulk) {
        return fail(p, error, bad);
    }
    if (limits->unauthenticated && n > UNAUTH_BULK) {
        return fail(p, error, "ERR Protocol error: unauthenticated bulk length");
    }
    p->arg_len = (size_t)n;
    p->have_len = true;
    return PARSE_OK;
}

/* Room for one more slice in argv. */
static bool argv_room(struct parser *p)
{
    if (p->argc < p->argv_cap) {
        return true;
    }
    if (p->argc == 0 && p->nargs <= CHUNK_SLICES) {
        if (p->chunk == NULL || CHUNK_SLICES - p->chunk->used < p->nargs) {
            chunk_add(p);
        }
        p->argv = p->chunk->a + p->chunk->used;
        p->argv_cap = p->nargs;
        return true;
    }
    must(p->argc == 0 || p->own_argv);
    size_t cap = size_max(ARGV_FIRST, (size_t)p->argc * 2);
    struct slice *grown = mem_try_realloc(p->argv, cap * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    p->argv = grown;
    p->argv_cap = (unsigned)size_min(cap, UINT_MAX);
    p->own_argv = true;
    return true;
}

/* The argument whose length line was read: its bytes and CRLF. */
static enum parse_status arg_body(struct parser *p, struct slice in, const char **error)
{
    const struct big_arg *b = big_of(p, p->argc);
    size_t inside = b != NULL ? 0 : p->arg_len; /* bytes of it that are in `in` */
    size_t have = in.n - p->pos;
    if ((b != NULL && b->have < b->len) || have < inside || have - inside < 2) {
        return PARSE_MORE;
    }
    const char *start = in.p + p->pos;
    if (start[inside] != '\r' || start[inside + 1] != '\n') {
        return fail(p, error, "ERR Protocol error: expected CRLF after the argument");
    }
    if (!argv_room(p)) {
        return fail(p, error, "ERR Protocol error: out of memory for the arguments");
    }
    p->argv[p->argc++] = slice_of(b != NULL ? b->p : start, p->arg_len);
    p->pos += inside + 2;
    p->have_len = false;
    return PARSE_OK;
}

/* A request is complete: hands it out and forgets the progress. */
static enum parse_status hand_out(struct parser *p, struct slice in, size_t *used,
                                  struct request *req)
{
    *used = p->pos;
    *req = (struct request){ .argc = p->argc, .argv = p->argv, .owner = p };
    if (p->argc > 0 && !bigs_apply(p)) {
        req->raw = slice_of(in.p, p->pos);
    }
    if (p->own_argv) {
        temp_keep(p, p->argv, (struct buf){ 0 });
        p->own_argv = false;
    } else if (p->argc > 0) {
        p->chunk->used += p->nargs;
    }
    p->handed_out++;
    progress_drop(p);
    return PARSE_OK;
}

static enum parse_status parse_inline(struct parser *p, const struct parse_limits *limits,
                                      struct slice in, size_t *used, struct request *req,
                                      const char **error)
{
    size_t lf = line_end(p, in, '\n', limits->max_inline);
    if (lf == LINE_TOO_LONG) {
        return fail(p, error, "ERR Protocol error: too big inline request");
    }
    if (lf == LINE_NOT_ENDED) {
        return PARSE_MORE;
    }
    size_t n = lf > 0 && in.p[lf - 1] == '\r' ? lf - 1 : lf;
    struct buf store = { 0 };
    struct slice *argv = NULL;
    unsigned argc = 0;
    if (!split_args(slice_of(in.p, n), &store, &argv, &argc)) {
        buf_free(&store);
        return fail(p, error, "ERR Protocol error: unbalanced quotes in request");
    }
    temp_keep(p, argv, store);
    *used = lf + 1;
    *req = (struct request){ .argc = argc, .argv = argv, .owner = p };
    p->handed_out++;
    progress_drop(p);
    return PARSE_OK;
}

__attribute__((noinline)) static enum parse_status parse_careful(struct parser *p,
                                                                 const struct parse_limits *limits,
                                                                 struct slice in, size_t *used,
                                                                 struct request *req,
                                                                 const char **error)
{
    if (p->stage == STAGE_INLINE) {
        return parse_inline(p, limits, in, used, req, error);
    }
    enum parse_status st = PARSE_OK;
    if (p->stage == STAGE_COUNT) {
        st = count_line(p, limits, in, error);
    }
    while (st == PARSE_OK && p->argc < p->nargs) {
        if (!p->have_len) {
            st = arg_line(p, limits, in, error);
        }
        if (st == PARSE_OK) {
            st = arg_body(p, in, error);
        }
    }
    return st == PARSE_OK ? hand_out(p, in, used, req) : st;
}

/* The input moved since the last call: so do the slices into it. */
__attribute__((noinline)) static void rebase(struct parser *p, const char *to)
{
    ptrdiff_t by = (ptrdiff_t)((uintptr_t)to - (uintptr_t)p->base);
    for (unsigned i = 0; i < p->argc; i++) {
        if (big_of(p, i) == NULL) {
            p->argv[i].p = (const char *)((uintptr_t)p->argv[i].p + (uintptr_t)by);
        }
    }
    p->base = to;
}

/* ---- The fast way ---- */

/* The number in "<digits>CRLF" at s, for lengths of more than three digits. */
__attribute__((noinline)) static const char *long_number(const char *s, size_t *out)
{
    size_t n = 0;
    for (unsigned i = 0; i <= FAST_DIGITS; i++) {
        unsigned digit = (unsigned)(unsigned char)s[i] - '0';
        if (digit > 9) {
            *out = n;
            return i > 0 && s[0] != '0' && s[i] == '\r' && s[i + 1] == '\n' ? s + i + 2 : NULL;
        }
        n = n * 10 + digit;
    }
    return NULL;
}

/* As a little-endian number, whatever the machine is. */
static inline uint64_t eight_bytes(const char *s)
{
    uint8_t b[8];
    uint64_t w = 0;
    memcpy(b, s, sizeof b);
    for (unsigned i = 0; i < sizeof b; i++) {
        w |= (uint64_t)b[i] << (8 * i);
    }
    return w;
}

/* The same for any, with at least NUMBER_ROOM readable bytes at s. Returns what follows the line;
 * NULL when the number is not plainly there. One load serves for the digits and the line end: the
 * next argument cannot be looked at before this one's length is known. */
static inline const char *fast_number(const char *s, size_t *out)
{
    const uint32_t crlf = '\r' | '\n' << 8;
    uint64_t w = eight_bytes(s);
    unsigned d0 = (unsigned)(w & 0xff) - '0', d1 = (unsigned)(w >> 8 & 0xff) - '0';
    if ((w >> 8 & 0xffff) == crlf) {
        *out = d0;
        return likely(d0 <= 9) ? s + 3 : NULL;
    }
    if (unlikely(d0 - 1 > 8 || d1 > 9)) {
        return NULL;
    }
    if ((w >> 16 & 0xffff) == crlf) {
        *out = d0 * 10 + d1;
        return s + 4;
    }
    unsigned d2 = (unsigned)(w >> 16 & 0xff) - '0';
    if (d2 <= 9 && (w >> 24 & 0xffff) == crlf) {
        *out = d0 * 100 + d1 * 10 + d2;
        return s + 5;
    }
    return long_number(s, out);
}

/* The same near the end of the input, for the short arguments that end a batch. */
__attribute__((noinline)) static const char *short_number(const char *s, const char *end,
                                                          size_t *out)
{
    char copy[NUMBER_ROOM] = { 0 };
    memcpy(copy, s, (size_t)(end - s));
    const char *at = fast_number(copy, out);
    return at != NULL && at - copy <= end - s ? s + (at - copy) : NULL;
}

static inline const char *plain_number(const char *s, const char *end, size_t *out)
{
    return likely(end - s >= NUMBER_ROOM) ? fast_number(s, out) : short_number(s, end, out);
}

/* The number in the line "<type><digits>CRLF" at s. Nearly all have one digit or two: then the
 * whole line is compared at once, and what the digits differ by from '0' is left. */
static inline const char *plain_line(const char *s, const char *end, char type, size_t *out)
{
    const uint64_t head = (uint8_t)type | '0' << 8, crlf = '\r' | '\n' << 8;
    if (likely(end - s > NUMBER_ROOM)) {
        uint64_t w = eight_bytes(s);
        uint32_t one = (uint32_t)(w ^ (head | crlf << 16));
        uint32_t digit = one >> 8 | one << 24;
        if (digit <= 9) {
            *out = digit;
            return s + 4;
        }
        uint64_t two = (w ^ (head | '0' << 16 | crlf << 24)) & 0xffffffffff;
        unsigned d0 = (unsigned)(two >> 8) & 0xff, d1 = (unsigned)(two >> 16) & 0xff;
        if (likely((two & 0xffff0000ff) == 0 && d0 - 1 <= 8 && d1 <= 9)) {
            *out = d0 * 10 + d1;
            return s + 5;
        }
    }
    return likely(s < end) && *s == type ? plain_number(s + 1, end, out) : NULL;
}

/* Walks over a request that begins with '*'. PARSE_OK: handed out. PARSE_MORE: the progress made is
 * in p, and parse_careful() has to go on. */
static inline enum parse_status parse_fast(struct parser *p, const struct parse_limits *limits,
                                           struct slice in, size_t *used, struct request *req)
{
    const char *end = in.p + in.n;
    size_t n;
    const char *s = plain_line(in.p, end, '*', &n);
    p->base = in.p;
    p->stage = STAGE_COUNT;
    if (unlikely(s == NULL || n - 1 >= CHUNK_SLICES || n > limits->max_args ||
                 limits->unauthenticated || bigs_apply(p))) {
        return PARSE_MORE;
    }
    if (unlikely(p->chunk == NULL || CHUNK_SLICES - p->chunk->used < n)) {
        chunk_add(p);
    }
    struct slice *argv = p->chunk->a + p->chunk->used;
    unsigned argc = 0;
    while (argc < n) {
        size_t len;
        const char *data = plain_line(s, end, '$', &len);
        if (unlikely(data == NULL || len > limits->max_bulk || (size_t)(end - data) < len + 2 ||
                     memcmp(data + len, "\r\n", 2) != 0)) {
            p->stage = STAGE_ARGS;
            p->argv = argv;
            p->argc = argc;
            p->nargs = p->argv_cap = (unsigned)n;
            p->pos = (size_t)(s - in.p);
            return PARSE_MORE;
        }
        argv[argc++] = slice_of(data, len);
        s = data + len + 2;
    }
    p->chunk->used += argc;
    p->handed_out++;
    p->stage = STAGE_NONE;
    *used = (size_t)(s - in.p);
    *req = (struct request){ argc, argv, slice_of(in.p, *used), p };
    return PARSE_OK;
}

enum parse_status parser_next(struct parser *p, const struct parse_limits *limits, struct slice in,
                              size_t *used, struct request *req, const char **error)
{
    if (likely(p->stage == STAGE_NONE)) {
        if (in.n == 0) {
            return PARSE_MORE;
        }
        if (likely(in.p[0] == '*')) {
            if (likely(parse_fast(p, limits, in, used, req) == PARSE_OK)) {
                return PARSE_OK;
            }
        } else {
            p->base = in.p;
            p->stage = STAGE_INLINE;
        }
    } else if (p->base != in.p) {
        rebase(p, in.p);
    }
    must(in.n >= p->pos);
    return parse_careful(p, limits, in, used, req, error);
}
