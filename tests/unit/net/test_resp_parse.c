/* test_resp_parse.c -- The request parser: the same answer however the bytes arrive.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/mem.h"
#include "base/rng.h"
#include "net/net_int.h"
#include <limits.h>

static const struct parse_limits usual = { .max_bulk = 512U << 20,
                                           .max_args = INT_MAX,
                                           .max_inline = 65536 };
static const struct parse_limits before_auth = {
    .max_bulk = 512U << 20, .max_args = INT_MAX, .max_inline = 65536, .unauthenticated = true
};

/* How the bytes reach the parser. */
struct delivery {
    size_t piece;   /* bytes per read; 0: random */
    bool big;       /* big arguments leave the input, as a connection does it */
    bool unread;    /* some requests are handed back and parsed again */
    unsigned batch; /* requests parsed before any is executed */
};

/* What was understood, as text: "<argc>[len]bytes..." per request, then how it ended. */
struct outcome {
    struct buf text;
    unsigned requests, bigs;
};

static void note_request(struct outcome *o, const struct request *r)
{
    o->requests++;
    buf_printf(&o->text, "<%u>", r->argc);
    for (unsigned i = 0; i < r->argc; i++) {
        buf_printf(&o->text, "[%zu]", r->argv[i].n);
        buf_add_slice(&o->text, r->argv[i]);
    }
}

/* The unconsumed input, moved to fresh memory at every read, so that a stale slice is found. */
struct input {
    struct buf b;
};

static void input_move(struct input *in, const char *more, size_t n)
{
    struct buf fresh = { 0 };
    fresh.p = mem_alloc(in->b.n + n + 1);
    fresh.cap = in->b.n + n + 1;
    buf_add_slice(&fresh, buf_slice(&in->b));
    buf_add(&fresh, more, n);
    if (in->b.p != NULL) {
        memset(in->b.p, 0xee, in->b.n);
    }
    buf_free(&in->b);
    in->b = fresh;
}

static void input_drop(struct input *in, size_t used)
{
    memmove(in->b.p, in->b.p + used, in->b.n - used);
    in->b.n -= used;
}

/* One input upcall: batches of requests until no more is complete. False after an error. */
static bool upcall(struct parser *p, const struct parse_limits *limits, struct input *in,
                   const struct delivery *d, struct outcome *o)
{
    size_t consumed = 0;
    enum parse_status st = PARSE_OK;
    const char *error = NULL;
    while (st == PARSE_OK) {
        struct request r[64];
        size_t ends[64], at = consumed;
        unsigned n = 0;
        while (n < d->batch && st == PARSE_OK) {
            size_t used = 0;
            st = parser_next(p, limits, slice_of(in->b.p + at, in->b.n - at), &used, &r[n], &error);
            if (st == PARSE_OK) {
                if (r[n].raw.n > 0) {
                    must(r[n].raw.p == in->b.p + at && r[n].raw.n == used);
                }
                at += used;
                ends[n++] = at;
            }
        }
        unsigned run = d->unread && n > 0 && st != PARSE_ERROR ? (unsigned)rng_below(n + 1) : n;
        for (unsigned i = 0; i < run; i++) {
            note_request(o, &r[i]);
            for (unsigned k = 0; k < r[i].argc && d->big; k++) {
                char *taken = request_take_big(&r[i], k);
                o->bigs += taken != NULL;
                mem_free(taken);
            }
        }
        consumed = run > 0 ? ends[run - 1] : consumed;
        if (run < n) {
            parser_unread(p, run);
            must(parser_base(p) == NULL);
            st = PARSE_OK;
        } else {
            parser_reset_batch(p);
        }
    }
    input_drop(in, consumed);
    if (st == PARSE_ERROR) {
        buf_printf(&o->text, "!%s", error);
        return false;
    }
    return true;
}

static void deliver(struct slice bytes, const struct parse_limits *limits, struct delivery d,
                    struct outcome *o)
{
    struct parser *p = parser_new();
    struct input in = { 0 };
    size_t at = 0;
    bool ok = true;
    while (at < bytes.n && ok) {
        size_t n = d.piece != 0 ? d.piece : 1 + rng_below(rng_below(2) == 0 ? 20 : 50000);
        n = size_min(n, bytes.n - at);
        size_t missing = parser_big_missing(p);
        if (missing > 0) {
            size_t room;
            char *to = parser_big_room(p, &room);
            must(to != NULL);
            n = size_min(n, room);
            memcpy(to, bytes.p + at, n);
            parser_big_filled(p, n);
            at += n;
            if (parser_big_missing(p) > 0) {
                continue;
            }
            n = 0;
        }
        input_move(&in, bytes.p + at, n);
        at += n;
        ok = upcall(p, limits, &in, &d, o);
        size_t keep;
        if (d.big && ok && parser_big_begin(p, buf_slice(&in.b), &keep)) {
            must(keep <= in.b.n);
            in.b.n = keep;
        }
    }
    if (ok && parser_base(p) != NULL) {
        buf_add_str(&o->text, "...");
    }
    buf_free(&in.b);
    parser_free(p);
}

static void expect_same(struct slice bytes, const struct parse_limits *limits)
{
    const struct delivery ways[] = {
        { .piece = 1, .batch = 1 },
        { .piece = 7 + bytes.n / 200, .batch = 64 },
        { .piece = 0, .batch = 16 },
        { .piece = 0, .batch = 16, .unread = true },
        { .piece = 0, .batch = 16, .big = true },
        { .piece = 5000, .batch = 3, .big = true, .unread = true },
    };
    struct outcome whole = { 0 };
    deliver(bytes, limits, (struct delivery){ .piece = SIZE_MAX, .batch = 1 }, &whole);
    for (unsigned i = 0; i < countof(ways); i++) {
        if (ways[i].piece == 1 && bytes.n > 4000) {
            continue; /* the same requests as by sevens, and slow */
        }
        struct outcome other = { 0 };
        deliver(bytes, limits, ways[i], &other);
        ck_assert_msg(other.requests == whole.requests, "way %u: %u requests, whole %u", i,
                      other.requests, whole.requests);
        ck_assert_msg(slice_eq(buf_slice(&other.text), buf_slice(&whole.text)), "way %u differs",
                      i);
        buf_free(&other.text);
    }
    buf_free(&whole.text);
}

/* ---- Random requests ---- */

static void add_random_text(struct buf *b, size_t n)
{
    static const char odd[] = "\r\n$*\0 \"'\\x0-+";
    char *p = buf_reserve(b, n);
    for (size_t i = 0; i < n; i++) {
        p[i] = rng_below(4) == 0 ? odd[rng_below(sizeof odd)] : (char)rng_u64();
    }
    b->n += n;
}

#define BIG_TOTAL \
    (4u << 20) /* of a request of thousands of arguments each delivery takes seconds */

static void add_request(struct buf *b, bool allow_big)
{
    size_t argc = rng_below(20) == 0 ? rng_below(3000) : rng_below(6);
    buf_printf(b, "*%zu\r\n", argc);
    for (size_t i = 0; i < argc; i++) {
        size_t n = rng_below(rng_below(10) == 0 ? 300 : 20);
        if (allow_big && b->n < BIG_TOTAL && rng_below(20) == 0) {
            n = 30000 + rng_below(100000);
        }
        buf_printf(b, "$%zu\r\n", n);
        add_random_text(b, n);
        buf_add_str(b, "\r\n");
    }
}

static void add_inline(struct buf *b)
{
    static const char *const lines[] = {
        "PING\r\n",         "set a b\n",  "\r\n", "  \r\n", "ECHO \"a b\\x00\\n\"\r\n",
        "x 'y z' \"\"\r\n", "PING\r\r\n", "\n",   "a\tb\n", "* 1\r\n",
    };
    buf_add_str(b, lines[rng_below(countof(lines) - 1)]);
}

START_TEST(valid_requests)
{
    const unsigned rounds = unit_torture() ? 300 : 16;
    rng_seed_all(unit_seed());
    for (unsigned round = 0; round < rounds; round++) {
        struct buf b = { 0 };
        for (uint64_t k = 1 + rng_below(30); k > 0; k--) {
            if (rng_below(6) == 0) {
                add_inline(&b);
            } else {
                add_request(&b, round % 15 == 0);
            }
        }
        expect_same(buf_slice(&b), &usual);
        buf_free(&b);
    }
}
END_TEST

START_TEST(damaged_requests)
{
    const unsigned rounds = unit_torture() ? 30000 : 2000;
    static const char odd[] = "\r\n$*\0 \"'0123456789-+x";
    rng_seed_all(unit_seed());
    for (unsigned round = 0; round < rounds; round++) {
        struct buf b = { 0 };
        for (uint64_t k = 1 + rng_below(6); k > 0; k--) {
            if (rng_below(4) == 0) {
                add_inline(&b);
            } else {
                buf_printf(&b, "*2\r\n$3\r\nGET\r\n$%u\r\n", (unsigned)rng_below(12));
                add_random_text(&b, rng_below(12));
                buf_add_str(&b, "\r\n");
            }
        }
        for (uint64_t k = rng_below(4); k > 0 && b.n > 0; k--) {
            size_t at = rng_below(b.n);
            if (rng_below(3) == 0) {
                memmove(b.p + at, b.p + at + 1, b.n - at - 1);
                b.n--;
            } else {
                b.p[at] = odd[rng_below(sizeof odd)];
            }
        }
        expect_same(buf_slice(&b), rng_below(2) == 0 ? &usual : &before_auth);
        buf_free(&b);
    }
}
END_TEST

/* ---- Exact answers ---- */

static void expect(struct slice bytes, const struct parse_limits *limits, const char *text)
{
    struct outcome o = { 0 };
    deliver(bytes, limits, (struct delivery){ .piece = SIZE_MAX, .batch = 1 }, &o);
    ck_assert_msg(slice_eq(buf_slice(&o.text), slice_str(text)), "got %.*s\nwant %s", (int)o.text.n,
                  o.text.p, text);
    buf_free(&o.text);
    expect_same(bytes, limits);
}

#define MULTIBULK "!ERR Protocol error: invalid multibulk length"
#define BULK      "!ERR Protocol error: invalid bulk length"

START_TEST(what_redis_accepts)
{
    expect(S("*1\r\n$4\r\nPING\r\n"), &usual, "<1>[4]PING");
    expect(S("*1\r\n$0\r\n\r\n"), &usual, "<1>[0]");
    expect(S("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nhello\r\nworld\r\n"), &usual,
           "<3>[3]SET[1]k[12]hello\r\nworld");
    expect(S("*0\r\nPING\r\n"), &usual, "<0><1>[4]PING");
    expect(S("*-1\r\nPING\r\n"), &usual, "<0><1>[4]PING");
    expect(S("*-10\r\nPING\r\n"), &usual, "<0><1>[4]PING");
    expect(S("PING\n"), &usual, "<1>[4]PING");
    expect(S("PING\r\r\n"), &usual, "<1>[4]PING");
    expect(S("\r\n\n  \r\nPING\r\n"), &usual, "<0><0><0><1>[4]PING");
    expect(S("set \"a b\" 'c'\r\nget \"a b\"\r\n"), &usual, "<3>[3]set[3]a b[1]c<2>[3]get[3]a b");
    expect(S("$4\r\nPING\r\n"), &usual, "<1>[2]$4<1>[4]PING");
    expect(S("*2147483647\r\n"), &usual, "...");
    expect(S("*1\r\n$536870912\r\n"), &usual, "...");
    expect(S("*1\r\n$4\r\nPIN"), &usual, "...");
    expect(S("PING\0abc\r\nPING\r\n"), &usual, "..."); /* a NUL hides the end of the line */
    expect(S("*1\r\n\0\r\n"), &usual, "...");
    expect(S("*10\r\n"), &before_auth, "...");
    expect(S("*1\r\n$16384\r\n"), &before_auth, "...");
    expect(S("*1\r\n$4\r\nPING\r\n"), &before_auth, "<1>[4]PING");
}
END_TEST

START_TEST(wrong_lengths)
{
    expect(S("*x\r\n"), &usual, MULTIBULK);
    expect(S("*\r\n"), &usual, MULTIBULK);
    expect(S("*+1\r\n$4\r\nPING\r\n"), &usual, MULTIBULK);
    expect(S("*01\r\n$4\r\nPING\r\n"), &usual, MULTIBULK);
    expect(S("* 1\r\n$4\r\nPING\r\n"), &usual, MULTIBULK);
    expect(S("*1x\r\n"), &usual, MULTIBULK);
    expect(S("*-0\r\n"), &usual, MULTIBULK);
    expect(S("*2147483648\r\n"), &usual, MULTIBULK);
    expect(S("*99999999999999999999\r\n"), &usual, MULTIBULK);
    expect(S("*-99999999999999999999\r\n"), &usual, MULTIBULK);
    expect(S("*1\rX$4\r\nPING\r\n"), &usual, MULTIBULK);
    expect(S("*1\r\n$-1\r\n"), &usual, BULK);
    expect(S("*1\r\n$x\r\n"), &usual, BULK);
    expect(S("*1\r\n$\r\n"), &usual, BULK);
    expect(S("*1\r\n$04\r\nPING\r\n"), &usual, BULK);
    expect(S("*1\r\n$+4\r\nPING\r\n"), &usual, BULK);
    expect(S("*1\r\n$-0\r\n\r\n"), &usual, BULK);
    expect(S("*1\r\n$4 \r\nPING\r\n"), &usual, BULK);
    expect(S("*1\r\n$536870913\r\n"), &usual, BULK);
    expect(S("*1\r\n$18446744073709551620\r\n"), &usual, BULK);
    expect(S("*1\r\n$4\rXPING\r\n"), &usual, BULK);
    expect(S("*1\r\n$4\r\nPINGxx"), &usual,
           "!ERR Protocol error: expected CRLF after the argument");
    expect(S("*1\r\n$4\r\nPING\n\n"), &usual,
           "!ERR Protocol error: expected CRLF after the argument");
}
END_TEST

START_TEST(dollar_text)
{
    expect(S("*1\r\n:4\r\nPING\r\n"), &usual, "!ERR Protocol error: expected '$', got ':'");
    expect(S("*3\r\n$3\r\nSET\r\n$1\r\nx\r\n%1\r\n"), &usual,
           "!ERR Protocol error: expected '$', got '%'");
    expect(S("*1\r\n\r\nPING"), &usual, "!ERR Protocol error: expected '$', got '\r'");
    expect(S("*1\r\n\xff\r\n"), &usual, "!ERR Protocol error: expected '$', got '\xff'");
    expect(S("\"abc\r\n"), &usual, "!ERR Protocol error: unbalanced quotes in request");
    expect(S("\"a\"b\r\n"), &usual, "!ERR Protocol error: unbalanced quotes in request");
    expect(S("PING\r\n'a'b\r\n"), &usual,
           "<1>[4]PING!ERR Protocol error: unbalanced quotes in request");
}
END_TEST

START_TEST(before_authentication)
{
    expect(S("*11\r\n"), &before_auth, "!ERR Protocol error: unauthenticated multibulk length");
    expect(S("*1\r\n$16385\r\n"), &before_auth, "!ERR Protocol error: unauthenticated bulk length");
    expect(S("*2147483648\r\n"), &before_auth, MULTIBULK);
    expect(S("*11x\r\n"), &before_auth, MULTIBULK);
    expect(S("*1\r\n$536870913\r\n"), &before_auth, BULK);
    const struct parse_limits small = { .max_bulk = 10, .max_args = 2, .max_inline = 65536 };
    expect(S("*3\r\n"), &small, MULTIBULK);
    expect(S("*2\r\n$10\r\n0123456789\r\n$11\r\n"), &small, BULK);
}
END_TEST

/* `head`, then n bytes 'A' or digits, then `tail`. */
static void expect_line(const char *head, char fill, size_t n, const char *tail, const char *text)
{
    struct buf b = { 0 };
    buf_add_str(&b, head);
    memset(buf_reserve(&b, n), fill, n);
    b.n += n;
    buf_add_str(&b, tail);
    struct outcome o = { 0 };
    deliver(buf_slice(&b), &usual, (struct delivery){ .piece = SIZE_MAX, .batch = 1 }, &o);
    if (text != NULL) {
        ck_assert_msg(slice_eq(buf_slice(&o.text), slice_str(text)), "got %.*s", (int)o.text.n,
                      o.text.p);
    } else {
        ck_assert_uint_eq(o.requests, 1);
    }
    buf_free(&o.text);
    expect_same(buf_slice(&b), &usual);
    buf_free(&b);
}

START_TEST(too_long_lines)
{
    static const char inline_text[] = "!ERR Protocol error: too big inline request";
    static const char count_text[] = "!ERR Protocol error: too big mbulk count string";
    static const char bulk_text[] = "!ERR Protocol error: too big bulk count string";
    expect_line("", 'A', 65536, "", "...");
    expect_line("", 'A', 65536, "\n", NULL);
    expect_line("", 'A', 65537, "", inline_text);
    expect_line("", 'A', 65537, "\n", inline_text);
    expect_line("", '\0', 65536, "\n", inline_text);
    expect_line("*", '1', 65535, "", "...");
    expect_line("*", '1', 65535, "\r\n", MULTIBULK);
    expect_line("*", '1', 65536, "", count_text);
    expect_line("*", '\0', 65536, "\r\n", count_text);
    expect_line("*1\r\n$", '1', 65535, "", "...");
    expect_line("*1\r\n$", '1', 65535, "\r\n", BULK);
    expect_line("*1\r\n$", '1', 65536, "", bulk_text);
    expect_line("*1\r\n", 'A', 65537, "", bulk_text); /* Redis looks for the line end first */
}
END_TEST

/* ---- Memory ---- */

START_TEST(declared_lengths_allocate_nothing)
{
    struct parser *p = parser_new();
    struct request r;
    const char *error;
    size_t used, keep;
    struct slice in = S("*2147483647\r\n$500000000\r\n0123456789");
    ck_assert_int_eq(parser_next(p, &usual, in, &used, &r, &error), PARSE_MORE);
    parser_reset_batch(p);
    ck_assert_uint_le(parser_memory(p), 1024);
    ck_assert(parser_big_begin(p, in, &keep));
    ck_assert_uint_eq(keep, in.n - 10);
    ck_assert_uint_le(parser_memory(p), 40000);
    ck_assert_uint_ge(parser_memory(p) + parser_announced(p), 500000000);
    ck_assert_uint_le(parser_announced(p), 500000000);
    ck_assert_uint_eq(parser_big_missing(p), 500000000 - 10);
    parser_free(p);
}
END_TEST

START_TEST(big_arguments_are_taken_over)
{
    struct buf b = { 0 };
    buf_add_str(&b, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n");
    memset(buf_reserve(&b, 100000), 'v', 100000);
    b.n += 100000;
    buf_add_str(&b, "\r\n");
    struct outcome o = { 0 };
    deliver(buf_slice(&b), &usual, (struct delivery){ .piece = 4096, .batch = 8, .big = true }, &o);
    ck_assert_uint_eq(o.requests, 1);
    ck_assert_uint_eq(o.bigs, 1);
    buf_free(&o.text);

    struct parser *p = parser_new();
    struct request r;
    const char *error;
    size_t used, room;
    struct slice head = slice_of(b.p, b.n - 100000 - 2);
    ck_assert_int_eq(parser_next(p, &usual, head, &used, &r, &error), PARSE_MORE);
    parser_reset_batch(p);
    ck_assert(parser_big_begin(p, head, &used));
    while (parser_big_missing(p) > 0) {
        char *to = parser_big_room(p, &room);
        memset(to, 'v', room);
        parser_big_filled(p, room);
    }
    struct buf rest = { 0 };
    buf_add_slice(&rest, head);
    buf_add_str(&rest, "\r\n");
    ck_assert_int_eq(parser_next(p, &usual, buf_slice(&rest), &used, &r, &error), PARSE_OK);
    ck_assert_uint_eq(used, rest.n);
    ck_assert_uint_eq(r.raw.n, 0);
    ck_assert_ptr_null(request_take_big(&r, 0));
    ck_assert_ptr_null(request_take_big(&r, 1));
    char *mine = request_take_big(&r, 2);
    ck_assert_ptr_eq(mine, r.argv[2].p);
    ck_assert_ptr_null(request_take_big(&r, 2));
    parser_reset_batch(p);
    parser_free(p);
    for (size_t i = 0; i < 100000; i++) {
        must(mine[i] == 'v'); /* still ours */
    }
    mem_free(mine);
    buf_free(&rest);
    buf_free(&b);
}
END_TEST

START_TEST(progress_is_remembered)
{
    /* Bytes already understood are not looked at again: they may even be gone. */
    struct parser *p = parser_new();
    struct request r;
    const char *error;
    size_t used;
    char in[] = "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
    ck_assert_int_eq(parser_next(p, &usual, slice_of(in, 15), &used, &r, &error), PARSE_MORE);
    memset(in, '?', 8);
    memset(in + 11, '?', 2);
    ck_assert_int_eq(parser_next(p, &usual, slice_of(in, sizeof in - 1), &used, &r, &error),
                     PARSE_OK);
    ck_assert_uint_eq(used, sizeof in - 1);
    ck_assert(slice_eq(r.argv[0], S("GET")) && slice_eq(r.argv[1], S("key")));
    parser_free(p);
}
END_TEST

START_TEST(chunks_go_back)
{
    argv_cache_start();
    struct parser *a = parser_new(), *b = parser_new();
    struct request ra, rb;
    const char *error;
    size_t used;
    struct slice in = S("*1\r\n$4\r\nPING\r\n");
    ck_assert_int_eq(parser_next(a, &usual, in, &used, &ra, &error), PARSE_OK);
    struct slice *first = ra.argv;
    parser_reset_batch(a);
    ck_assert_int_eq(parser_next(b, &usual, in, &used, &rb, &error), PARSE_OK);
    ck_assert_ptr_eq(rb.argv, first);
    /* a second parser in the middle of a batch gets another one */
    ck_assert_int_eq(parser_next(a, &usual, in, &used, &ra, &error), PARSE_OK);
    ck_assert_ptr_ne(ra.argv, rb.argv);
    parser_free(a);
    parser_free(b);
    argv_cache_stop();
}
END_TEST

UNIT_SUITE(net_resp_parse)
{
    unit_case(suite, "any delivery", valid_requests, damaged_requests);
    unit_case(suite, "exact", what_redis_accepts, wrong_lengths, dollar_text, before_authentication,
              too_long_lines);
    unit_case(suite, "memory", declared_lengths_allocate_nothing, big_arguments_are_taken_over,
              progress_is_remembered, chunks_go_back);
}
