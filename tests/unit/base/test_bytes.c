/* test_bytes.c -- Slices, buffers, quoting.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/bytes.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/rng.h"
#include <ctype.h>
#include <stdlib.h>

#define SLICE_IS(seen, literal)                                                                 \
    do {                                                                                        \
        struct slice seen_ = (seen);                                                            \
        ck_assert_msg(slice_eq(seen_, S(literal)), "\"%.*s\" is not %s", (int)seen_.n, seen_.p, \
                      #literal);                                                                \
    } while (0)

START_TEST(test_slice_compare)
{
    ck_assert(slice_eq(S("a"), S("a")));
    ck_assert(!slice_eq(S("a"), S("b")));
    ck_assert(!slice_eq(S("a"), S("ab")));
    ck_assert(slice_eq(slice_of(NULL, 0), S("")));
    ck_assert(slice_eq(S("a\0b"), slice_of("a\0b", 3)));
    ck_assert(!slice_eq(S("a\0b"), S("a\0c")));
    ck_assert_int_eq(slice_cmp(S(""), slice_of(NULL, 0)), 0);
    ck_assert_int_lt(slice_cmp(S(""), S("a")), 0);
    ck_assert_int_gt(slice_cmp(S("a"), S("")), 0);
    ck_assert_int_lt(slice_cmp(S("a"), S("b")), 0);
    ck_assert_int_lt(slice_cmp(S("ab"), S("abc")), 0);
    ck_assert_int_gt(slice_cmp(S("abd"), S("abcd")), 0);
    ck_assert_int_gt(slice_cmp(S("\xff"), S("\x01")), 0);
    ck_assert_int_eq(slice_cmp(S("x\0y"), S("x\0y")), 0);
}
END_TEST

START_TEST(test_slice_nocase)
{
    ck_assert(slice_is(S("MaxMemory"), "maxmemory"));
    ck_assert(slice_is(S(""), ""));
    ck_assert(!slice_is(S("maxmemor"), "maxmemory"));
    ck_assert(!slice_is(S("maxmemoryx"), "maxmemory"));
    for (int a = 0; a < 256; a++) {
        for (int b = 0; b < 256; b++) {
            char x = (char)a, y = (char)b;
            bool same = a == b || (a < 128 && b < 128 && isalpha(a) && (a ^ b) == 0x20);
            ck_assert_int_eq(slice_eq_nocase(slice_of(&x, 1), slice_of(&y, 1)), same);
        }
    }
}
END_TEST

START_TEST(test_space)
{
    for (int c = 0; c < 256; c++) {
        ck_assert_int_eq(char_is_space((char)c), isspace(c) != 0);
    }
}
END_TEST

START_TEST(test_buf_pieces)
{
    struct buf b = { NULL, 0, 0 };
    SLICE_IS(buf_slice(&b), "");
    ck_assert_ptr_nonnull(buf_slice(&b).p);
    buf_add(&b, NULL, 0);
    buf_add(&b, "ab\0", 3);
    buf_add_str(&b, "cd");
    buf_add_slice(&b, S("e"));
    buf_add_slice(&b, slice_of(NULL, 0));
    buf_add_char(&b, 'f');
    buf_add_i64(&b, INT64_MIN);
    buf_add_i64(&b, 0);
    buf_printf(&b, "<%s %d>", "x", 5);
    SLICE_IS(buf_slice(&b), "ab\0cdef-92233720368547758080<x 5>");
    buf_free(&b);
    ck_assert_ptr_null(b.p);
    ck_assert_uint_eq(b.n, 0);
    ck_assert_uint_eq(b.cap, 0);
    buf_printf(&b, "%s", "");
    ck_assert_uint_eq(b.n, 0);
    buf_free(&b);
}
END_TEST

/* Printing when exactly enough, one too few, and no room is left. */
START_TEST(test_buf_printf_at_the_edge)
{
    for (size_t length = 0; length < 200; length++) {
        char text[201];
        memset(text, 'x', length);
        text[length] = '\0';
        struct buf b = { NULL, 0, 0 };
        buf_reserve(&b, 50);
        while (b.n < b.cap / 2) {
            buf_add_char(&b, '.');
        }
        size_t before = b.n;
        buf_printf(&b, "%s", text);
        ck_assert_uint_eq(b.n, before + length);
        ck_assert_uint_le(b.n, b.cap);
        ck_assert_int_eq(memcmp(b.p + before, text, length), 0);
        buf_free(&b);
    }
}
END_TEST

START_TEST(test_buf_random)
{
    rng_seed_all(unit_seed());
    static char oracle[1 << 20];
    size_t n = 0;
    struct buf b = { NULL, 0, 0 };
    for (int i = 0; i < 2000; i++) {
        char chunk[1000];
        size_t length = rng_below(sizeof chunk);
        if (n + length > sizeof oracle) {
            break;
        }
        for (size_t k = 0; k < length; k++) {
            chunk[k] = (char)rng_u64();
        }
        if (rng_below(2) == 0) {
            buf_add(&b, chunk, length);
        } else {
            char *at = buf_reserve(&b, length + rng_below(100));
            memcpy(at, chunk, length);
            b.n += length;
        }
        memcpy(oracle + n, chunk, length);
        n += length;
        ck_assert_uint_eq(b.n, n);
        ck_assert_uint_le(b.n, b.cap);
    }
    ck_assert_int_eq(memcmp(b.p, oracle, n), 0);
    buf_free(&b);
}
END_TEST

START_TEST(test_buf_try_reserve)
{
    struct buf b = { NULL, 0, 0 };
    ck_assert(buf_try_reserve(&b, 0));
    ck_assert_ptr_nonnull(b.p);
    ck_assert(buf_try_reserve(&b, 1000));
    ck_assert_uint_ge(b.cap, 1000);
    char *p = b.p;
    buf_add_str(&b, "kept");
    ck_assert(buf_try_reserve(&b, b.cap - b.n));
    ck_assert_ptr_eq(b.p, p);
    ck_assert(!buf_try_reserve(&b, SIZE_MAX));
    ck_assert(!buf_try_reserve(&b, SIZE_MAX - 4));
    ck_assert(!buf_try_reserve(&b, SIZE_MAX / 4));
    SLICE_IS(buf_slice(&b), "kept");
#ifdef KV_FAULTS
    size_t cap = b.cap;
    ck_assert_int_eq(fault_arm("mem.alloc=nomem"), 0);
    ck_assert(!buf_try_reserve(&b, cap + 1));
    ck_assert_uint_eq(b.cap, cap);
    SLICE_IS(buf_slice(&b), "kept");
    ck_assert(buf_try_reserve(&b, cap + 1));
#endif
    buf_free(&b);
}
END_TEST

START_TEST(test_repr)
{
    struct buf b = { NULL, 0, 0 };
    buf_add_repr(&b, S(""));
    buf_add_repr(&b, S("a b~\"\\\n\r\t\a\b\x00\x1f\x7f\xff\v"));
    SLICE_IS(buf_slice(&b), "\"\"\"a b~\\\"\\\\\\n\\r\\t\\a\\b\\x00\\x1f\\x7f\\xff\\x0b\"");
    buf_free(&b);
}
END_TEST

/* What redis-server 7.0.15 does with "ECHO <argument>" inline: its reply, or NULL for "unbalanced
 * quotes". */
START_TEST(test_split_one)
{
    static const struct {
        const char *line, *argument;
    } cases[] = {
        { "\"a b\"", "a b" },
        { "\"a\"b", NULL },
        { "a\"b\"", "ab" },
        { "a\"b\"c", NULL },
        { "'a\\'b'", "a'b" },
        { "'a\\nb'", "a\\nb" },
        { "\"\\x41\\n\\r\\t\\b\\a\\\\\\\"\\q\"", "A\n\r\t\b\a\\\"q" },
        { "\"\\xaF\"", "\xaf" },
        { "\"\\x4\"", "x4" },
        { "\"\\xZZ\"", "xZZ" },
        { "\"\\x4G\"", "x4G" },
        { "\"", NULL },
        { "'", NULL },
        { "\"abc", NULL },
        { "a'b'", "ab" },
        { "''", "" },
        { "\"\"", "" },
        { "a\vb", "a\vb" },
        { "\vx", "x" },
        { "\"a\"\v", "a" },
        { "'\\", NULL },
        { "\"\\\"", NULL },
        { "\"a\\", NULL },
        { "\"\\x4", NULL },
        { "'\\''", "'" },
        { "a\\\"b\"", "a\\b" },
        { " \t\r\n x", "x" },
    };
    struct buf store = { NULL, 0, 0 };
    for (unsigned i = 0; i < countof(cases); i++) {
        struct slice *args = NULL;
        unsigned count = 99;
        bool ok = split_args(slice_str(cases[i].line), &store, &args, &count);
        ck_assert_msg(ok == (cases[i].argument != NULL), "%s", cases[i].line);
        if (ok) {
            ck_assert_msg(count == 1 && slice_eq(args[0], slice_str(cases[i].argument)), "%s",
                          cases[i].line);
            mem_free(args);
        }
    }
    buf_free(&store);
}
END_TEST

START_TEST(test_split_many)
{
    struct buf store = { NULL, 0, 0 };
    struct slice *args;
    unsigned count;
    ck_assert(split_args(S("  set  'a b'\t\"\\x00\" c'd'  "), &store, &args, &count));
    ck_assert_uint_eq(count, 4);
    SLICE_IS(args[0], "set");
    SLICE_IS(args[1], "a b");
    SLICE_IS(args[2], "\0");
    SLICE_IS(args[3], "cd");
    mem_free(args);
    ck_assert(split_args(S("a b\0c d"), &store, &args, &count));
    ck_assert_uint_eq(count, 2);
    SLICE_IS(args[1], "b");
    mem_free(args);
    ck_assert(split_args(S(""), &store, &args, &count));
    ck_assert_uint_eq(count, 0);
    mem_free(args);
    ck_assert(split_args(slice_of(NULL, 0), &store, &args, &count));
    ck_assert_uint_eq(count, 0);
    mem_free(args);
    char line[2000];
    for (int i = 0; i < 1000; i++) {
        memcpy(line + i * 2, "x ", 2);
    }
    ck_assert(split_args(slice_of(line, sizeof line), &store, &args, &count));
    ck_assert_uint_eq(count, 1000);
    SLICE_IS(args[0], "x");
    SLICE_IS(args[999], "x");
    mem_free(args);
    buf_free(&store);
}
END_TEST

/* What is printed with quotes reads back the same, whatever the bytes. */
START_TEST(test_repr_splits_back)
{
    rng_seed_all(unit_seed());
    struct buf line = { NULL, 0, 0 }, store = { NULL, 0, 0 };
    for (int round = 0; round < 500; round++) {
        char text[8][50];
        size_t length[8];
        line.n = 0;
        unsigned want = (unsigned)rng_below(9);
        for (unsigned i = 0; i < want; i++) {
            length[i] = rng_below(sizeof text[i]);
            for (size_t k = 0; k < length[i]; k++) {
                text[i][k] = (rng_below(2) == 0 ? (char)rng_u64() : "\"'\\ x\n0a"[rng_below(8)]);
            }
            buf_add_repr(&line, slice_of(text[i], length[i]));
            buf_add_char(&line, " \t\n\r"[rng_below(4)]);
        }
        struct slice *args;
        unsigned count;
        ck_assert(split_args(buf_slice(&line), &store, &args, &count));
        ck_assert_uint_eq(count, want);
        for (unsigned i = 0; i < want; i++) {
            ck_assert(slice_eq(args[i], slice_of(text[i], length[i])));
        }
        mem_free(args);
    }
    buf_free(&line);
    buf_free(&store);
}
END_TEST

/* Random rubbish: an answer, no read outside (the sanitizers watch), and no argument grows. */
START_TEST(test_split_random)
{
    rng_seed_all(unit_seed());
    struct buf store = { NULL, 0, 0 };
    for (int round = 0; round < 20000; round++) {
        size_t n = rng_below(20);
        char *line = mem_alloc(n);
        for (size_t i = 0; i < n; i++) {
            line[i] = "\"'\\ xn4a\t"[rng_below(9)];
        }
        struct slice *args;
        unsigned count;
        if (split_args(slice_of(line, n), &store, &args, &count)) {
            size_t sum = 0;
            for (unsigned i = 0; i < count; i++) {
                sum += args[i].n;
            }
            ck_assert_uint_le(sum, n);
            ck_assert_uint_eq(sum, store.n);
            mem_free(args);
        }
        mem_free(line);
    }
    buf_free(&store);
}
END_TEST

UNIT_SUITE(bytes)
{
    unit_case(suite, "slice", test_slice_compare, test_slice_nocase, test_space);
    unit_case(suite, "buf", test_buf_pieces, test_buf_printf_at_the_edge, test_buf_random,
              test_buf_try_reserve, test_repr);
    unit_case(suite, "split", test_split_one, test_split_many, test_repr_splits_back,
              test_split_random);
}
