/* test_ahead.c -- The guess of a request's key, made without the parser.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "exec_util.h"
#include "exec/exec_int.h"
#include "unit.h"

static bool guess(const char *text, struct slice *key)
{
    return guess_key(slice_str(text), key);
}

START_TEST(second_argument_is_the_key)
{
    struct slice key;
    ck_assert(guess("*2\r\n$3\r\nGET\r\n$5\r\nab\r\nc\r\n", &key));
    ck_assert(slice_eq(key, S("ab\r\nc")));
    ck_assert(guess("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nval", &key)); /* the rest is on its way */
    ck_assert(slice_eq(key, S("k")));
    ck_assert(guess("*2\r\n$3\r\nGET\r\n$0\r\n\r\n", &key));
    ck_assert_uint_eq(key.n, 0);
    ck_assert(guess("*12\r\n$4\r\nMSET\r\n$2\r\nk1", &key));
    ck_assert(slice_eq(key, S("k1")));
}
END_TEST

START_TEST(anything_else_is_left_alone)
{
    static const char *const none[] = {
        "",
        "*",
        "*2",
        "*2\r",
        "*2\r\n",
        "*2\r\n$3\r\nGET\r\n$5\r\nabcd",
        "*1\r\n$4\r\nPING\r\n",
        "*2\r\n$3\r\nGET\r\n$",
        "*2\r\n$3\r\nGE",
        "*-1\r\n",
        "*2\n$3\nGET\n$1\na",
        "PING\r\n",
        "*2\r\n$99999999999999999999\r\n",
        "*2\r\n$3\r\nGET\r\n:5\r\n",
        "*a\r\n",
        "*0\r\n",
        "*2\r\n$99999\r\nGET\r\n$1\r\na\r\n",
        "GET key\r\n",
    };
    struct slice key;
    for (unsigned i = 0; i < countof(none); i++) {
        ck_assert_msg(!guess(none[i], &key), "%u: %s", i, none[i]);
    }
}
END_TEST

/* Every cut of a request: no byte behind the end is looked at (sanitizers see it). */
START_TEST(cut_anywhere)
{
    static const char whole[] = "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
    for (size_t n = 0; n < sizeof whole; n++) {
        char *copy = mem_alloc(n + 1);
        char *exact = mem_realloc(copy, n > 0 ? n : 1);
        memcpy(exact, whole, n);
        struct slice key;
        ck_assert_int_eq(guess_key(slice_of(exact, n), &key), n >= sizeof whole - 3);
        mem_free(exact);
    }
}
END_TEST

UNIT_SUITE(ahead)
{
    unit_case(suite, "guess", second_argument_is_the_key, anything_else_is_left_alone,
              cut_anywhere);
}
