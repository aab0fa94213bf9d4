/* test_resp_write.c -- Every RESP2 and RESP3 type, byte by byte.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/mem.h"
#include "base/rng.h"
#include "net/net_int.h"
#include <float.h>
#include <math.h>
#include <stdio.h>

#define EXPECT(text, call)                                                              \
    do {                                                                                \
        struct out o = { 0 };                                                           \
        call;                                                                           \
        out_check(&o);                                                                  \
        struct buf got_ = { 0 };                                                        \
        out_copy_to(&o, &got_);                                                         \
        buf_add_char(&got_, '\0');                                                      \
        ck_assert_uint_eq(got_.n, sizeof text);                                         \
        ck_assert_msg(memcmp(got_.p, text, sizeof text) == 0, "%s: %s", #call, got_.p); \
        buf_free(&got_);                                                                \
        out_clear(&o);                                                                  \
    } while (0)

START_TEST(simple_types)
{
    EXPECT("+OK\r\n", resp_simple(&o, S("OK")));
    EXPECT("+\r\n", resp_simple(&o, S("")));
    EXPECT("-ERR no\r\n", resp_error(&o, S("ERR no")));
    EXPECT("-ERR a  b c\r\n", resp_error(&o, S("ERR a\r\nb\nc")));
    EXPECT(":0\r\n", resp_int(&o, 0));
    EXPECT(":9\r\n", resp_int(&o, 9));
    EXPECT(":10\r\n", resp_int(&o, 10));
    EXPECT(":99\r\n", resp_int(&o, 99));
    EXPECT(":100\r\n", resp_int(&o, 100));
    EXPECT(":-1\r\n", resp_int(&o, -1));
    EXPECT(":9223372036854775807\r\n", resp_int(&o, INT64_MAX));
    EXPECT(":-9223372036854775808\r\n", resp_int(&o, INT64_MIN));
    EXPECT("$0\r\n\r\n", resp_bulk(&o, S("")));
    EXPECT("$3\r\na\0b\r\n", resp_bulk(&o, S("a\0b")));
    EXPECT("$12\r\nhello, world\r\n", resp_bulk(&o, S("hello, world")));
    EXPECT("$2\r\n-7\r\n", resp_bulk_i64(&o, -7));
    EXPECT("$20\r\n-9223372036854775808\r\n", resp_bulk_i64(&o, INT64_MIN));
}
END_TEST

START_TEST(aggregates)
{
    EXPECT("*0\r\n", resp_array(&o, 0));
    EXPECT("*1048576\r\n", resp_array(&o, 1048576));
    EXPECT("*4\r\n", resp_map(&o, 2, 2));
    EXPECT("%2\r\n", resp_map(&o, 2, 3));
    EXPECT("*3\r\n", resp_set(&o, 3, 2));
    EXPECT("~3\r\n", resp_set(&o, 3, 3));
    EXPECT("*3\r\n", resp_push(&o, 3, 2));
    EXPECT(">3\r\n", resp_push(&o, 3, 3));
    EXPECT("|1\r\n", resp_attribute(&o, 1));
    EXPECT("$-1\r\n", resp_null(&o, 2));
    EXPECT("_\r\n", resp_null(&o, 3));
    EXPECT("*-1\r\n", resp_null_array(&o, 2));
    EXPECT("_\r\n", resp_null_array(&o, 3));
}
END_TEST

START_TEST(scalars_of_resp3)
{
    EXPECT(":1\r\n", resp_bool(&o, true, 2));
    EXPECT(":0\r\n", resp_bool(&o, false, 2));
    EXPECT("#t\r\n", resp_bool(&o, true, 3));
    EXPECT("#f\r\n", resp_bool(&o, false, 3));
    EXPECT("$4\r\n3.14\r\n", resp_double(&o, 3.14, 2));
    EXPECT(",3.14\r\n", resp_double(&o, 3.14, 3));
    EXPECT(",10\r\n", resp_double(&o, 10, 3));
    EXPECT("$3\r\ninf\r\n", resp_double(&o, INFINITY, 2));
    EXPECT(",-inf\r\n", resp_double(&o, -INFINITY, 3));
    EXPECT(",nan\r\n", resp_double(&o, NAN, 3));
    EXPECT(",1.7976931348623157e+308\r\n", resp_double(&o, DBL_MAX, 3));
    EXPECT("$4\r\n10.5\r\n", resp_long_double(&o, 10.5L));
    EXPECT("$5\r\n12345\r\n", resp_bignum(&o, S("12345"), 2));
    EXPECT("(12345\r\n", resp_bignum(&o, S("12345"), 3));
    EXPECT("$4\r\ntext\r\n", resp_verbatim(&o, S("text"), "txt", 2));
    EXPECT("=8\r\ntxt:text\r\n", resp_verbatim(&o, S("text"), "txt", 3));
}
END_TEST

START_TEST(deferred_lengths)
{
    EXPECT("*2\r\n:1\r\n:2\r\n", {
        struct out_block *h = resp_array_deferred(&o);
        resp_int(&o, 1);
        resp_int(&o, 2);
        resp_array_fill(&o, h, 2);
    });
    EXPECT("%1\r\n*0\r\n:2\r\n", {
        struct out_block *h = resp_array_deferred(&o);
        struct out_block *inner = resp_array_deferred(&o);
        resp_int(&o, 2);
        resp_array_fill(&o, inner, 0);
        resp_map_fill(&o, h, 1, 3);
    });
    EXPECT("*2\r\n", {
        struct out_block *h = resp_array_deferred(&o);
        resp_map_fill(&o, h, 1, 2);
    });
    EXPECT("~7\r\n", {
        struct out_block *h = resp_array_deferred(&o);
        resp_set_fill(&o, h, 7, 3);
    });
    EXPECT("*7\r\n", {
        struct out_block *h = resp_array_deferred(&o);
        resp_set_fill(&o, h, 7, 2);
    });
}
END_TEST

/* A text of n bytes, through each writer that takes texts of any length. */
static void expect_text(size_t n)
{
    char *text = mem_alloc(n + 1), head[64];
    memset(text, 'x', n);
    const struct {
        const char *format;
        size_t extra;
    } forms[] = { { "$%zu\r\n", 0 }, { "+", 0 }, { "-", 0 }, { "(", 0 }, { "=%zu\r\ntxt:", 4 } };
    for (unsigned i = 0; i < countof(forms); i++) {
        struct out o = { 0 };
        struct slice s = slice_of(text, n);
        switch (i) {
        case 0: resp_bulk(&o, s); break;
        case 1: resp_simple(&o, s); break;
        case 2: resp_error(&o, s); break;
        case 3: resp_bignum(&o, s, 3); break;
        default: resp_verbatim(&o, s, "txt", 3); break;
        }
        out_check(&o);
        struct buf got = { 0 }, want = { 0 };
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(head, sizeof head, forms[i].format, n + forms[i].extra);
#pragma GCC diagnostic pop
        buf_add_str(&want, head);
        buf_add(&want, text, n);
        buf_add_str(&want, "\r\n");
        out_copy_to(&o, &got);
        ck_assert_uint_eq(got.n, want.n);
        ck_assert_mem_eq(got.p, want.p, want.n);
        buf_free(&got);
        buf_free(&want);
        out_clear(&o);
    }
    mem_free(text);
}

START_TEST(texts_of_every_length)
{
    const size_t edges[] = { 1022,  1023,  1024,  1025,  1900,  2000,  2030,   2048,
                             16000, 16300, 16384, 16400, 65000, 65536, 100000, 1000000 };
    for (size_t n = 0; n < 120; n++) {
        expect_text(n);
    }
    for (unsigned i = 0; i < countof(edges); i++) {
        expect_text(edges[i]);
    }
}
END_TEST

/* Elements of an array: each in a place of its own size, one behind the other over several blocks,
 * so that what is left of a block has every size, too. */
START_TEST(bulks_side_by_side)
{
    struct out o = { 0 };
    struct buf want = { 0 }, got = { 0 };
    (void)unit_seed();
    for (unsigned i = 0; i < 20000; i++) {
        size_t n = rng_below(i % 8 == 0 ? 300 : 70);
        char *text = n > 0 ? mem_alloc(n) : NULL; /* of its own: a sanitizer sees its end */
        char head[32];
        for (size_t at = 0; at < n; at++) {
            text[at] = (char)rng_below(256);
        }
        buf_add(&want, head, (size_t)snprintf(head, sizeof head, "$%zu\r\n", n));
        if (n > 0) {
            buf_add(&want, text, n);
        }
        buf_add_str(&want, "\r\n");
        resp_bulk(&o, slice_of(text, n));
        mem_free(text);
    }
    out_check(&o);
    out_copy_to(&o, &got);
    ck_assert_uint_eq(got.n, want.n);
    ck_assert_mem_eq(got.p, want.p, want.n);
    buf_free(&got);
    buf_free(&want);
    out_clear(&o);
}
END_TEST

UNIT_SUITE(net_resp_write)
{
    unit_case(suite, "types", simple_types, aggregates, scalars_of_resp3, deferred_lengths,
              texts_of_every_length, bulks_side_by_side);
}
