/* test_resp_reply.c -- The strict reader: every form it must take and every form it must refuse,
 * whole and byte by byte. SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "resp_reply.h"
#include "base/base.h"
#include "base/rng.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A source that gives `step` bytes at a time and then closes. */
struct source {
    const char *bytes;
    size_t len, at, step;
    bool then_timeout;
};

static ssize_t give(void *arg, void *to, size_t size)
{
    struct source *s = arg;
    size_t n = size_min(size_min(s->step, size), s->len - s->at);
    if (n == 0) {
        return s->then_timeout ? RESP_TIMEOUT : RESP_CLOSED;
    }
    memcpy(to, s->bytes + s->at, n);
    s->at += n;
    return (ssize_t)n;
}

static enum resp_status read_bytes(int protocol, const char *bytes, size_t len, size_t step,
                                   char **line)
{
    struct source s = { .bytes = bytes, .len = len, .step = step };
    struct resp_reader r;
    struct resp *reply = NULL;
    resp_reader_init(&r, protocol, give, &s);
    enum resp_status st = resp_read(&r, &reply);
    ck_assert((st == RESP_OK) == (reply != NULL));
    ck_assert((st == RESP_MALFORMED) == (r.problem[0] != '\0'));
    if (st == RESP_OK) {
        *line = resp_line(reply);
        ck_assert_uint_eq(s.len - s.at, 0);
        ck_assert(!resp_reader_pending(&r));
    }
    resp_free(reply);
    resp_reader_free(&r);
    return st;
}

static const struct {
    int protocols; /* 2, 3, or 23 for both */
    const char *bytes;
    const char *line;
} good[] = {
    { 23, "+OK\r\n", "+OK" },
    { 23, "+\r\n", "+" },
    { 23, "-ERR no\r\n", "-ERR no" },
    { 23, ":0\r\n", "0" },
    { 23, ":-1\r\n", "-1" },
    { 23, ":9223372036854775807\r\n", "9223372036854775807" },
    { 23, ":-9223372036854775808\r\n", "-9223372036854775808" },
    { 23, "$0\r\n\r\n", "\"\"" },
    { 23, "$6\r\na\r\nb\"\\\r\n", "\"a\\r\\nb\\\"\\\\\"" },
    { 23, "$1\r\n\x01\r\n", "\"\\x01\"" },
    { 23, "*0\r\n", "[]" },
    { 23, "*3\r\n$1\r\na\r\n:1\r\n*1\r\n+x\r\n", "[\"a\", 1, [+x]]" },
    { 2, "$-1\r\n", "nil" },
    { 2, "*-1\r\n", "nil*" },
    { 2, "*2\r\n$-1\r\n*-1\r\n", "[nil, nil*]" },
    { 3, "_\r\n", "nil" },
    { 3, "#t\r\n", "true" },
    { 3, "#f\r\n", "false" },
    { 3, ",1.5\r\n", ",1.5" },
    { 3, ",-0\r\n", ",-0" },
    { 3, ",0.1e-7\r\n", ",0.1e-7" },
    { 3, ",1e+300\r\n", ",1e+300" },
    { 3, ",inf\r\n", ",inf" },
    { 3, ",-inf\r\n", ",-inf" },
    { 3, ",nan\r\n", ",nan" },
    { 3, "(0\r\n", "(0" },
    { 3, "(-3492890328409238509324850943850943825024385\r\n",
      "(-3492890328409238509324850943850943825024385" },
    { 3, "!5\r\nERR x\r\n", "!\"ERR x\"" },
    { 3, "=7\r\ntxt:abc\r\n", "=txt:\"abc\"" },
    { 3, "=4\r\nmkd:\r\n", "=mkd:\"\"" },
    { 3, "%0\r\n", "{}" },
    { 3, "%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n_\r\n", "{\"a\": 1, \"b\": nil}" },
    { 3, "~2\r\n$1\r\na\r\n$1\r\nb\r\n", "~[\"a\", \"b\"]" },
    { 3, ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n", ">[\"message\", \"c\", \"x\"]" },
    { 3, "|1\r\n+ttl\r\n:10\r\n$1\r\na\r\n", "|{+ttl: 10} \"a\"" },
    { 3, "*1\r\n|1\r\n+k\r\n+v\r\n:1\r\n", "[|{+k: +v} 1]" },
};

static const struct {
    int protocols;
    const char *bytes;
} bad[] = {
    { 23, "+OK\n" },
    { 23, "\n" },
    { 23, "\r\n" },
    { 23, "+O\rK\r\n" },
    { 23, "OK\r\n" },
    { 23, "-\r\n" },
    { 23, "- ERR\r\n" },
    { 23, ":\r\n" },
    { 23, ":+1\r\n" },
    { 23, ":01\r\n" },
    { 23, ":-0\r\n" },
    { 23, ":-\r\n" },
    { 23, ":1 \r\n" },
    { 23, ":1.0\r\n" },
    { 23, ":9223372036854775808\r\n" },
    { 23, ":-9223372036854775809\r\n" },
    { 23, ":99999999999999999999\r\n" },
    { 23, "$\r\n" },
    { 23, "$+1\r\na\r\n" },
    { 23, "$01\r\na\r\n" },
    { 23, "$-2\r\n" },
    { 23, "$-0\r\n\r\n" },
    { 23, "$1\r\nab\r\n" },
    { 23, "$2\r\na\r\n\r\n" },
    { 23, "$1\r\na\n\n" },
    { 23, "$1\r\na\rb" },
    { 23, "$1073741825\r\n" },
    { 23, "$?\r\n" },
    { 23, "*\r\n" },
    { 23, "*-2\r\n" },
    { 23, "*01\r\n" },
    { 23, "*1\r\nx\r\n" },
    { 23, "*1\r\n:x\r\n" },
    { 2, "_\r\n" },
    { 2, "#t\r\n" },
    { 2, ",1\r\n" },
    { 2, "%0\r\n" },
    { 2, "~0\r\n" },
    { 2, ">1\r\n+x\r\n" },
    { 2, "(1\r\n" },
    { 2, "=4\r\ntxt:\r\n" },
    { 2, "!1\r\nx\r\n" },
    { 2, "|0\r\n+x\r\n" },
    { 3, "$-1\r\n" },
    { 3, "*-1\r\n" },
    { 3, "_x\r\n" },
    { 3, "#\r\n" },
    { 3, "#T\r\n" },
    { 3, "#tt\r\n" },
    { 3, ",\r\n" },
    { 3, ",+1\r\n" },
    { 3, ",01\r\n" },
    { 3, ",.5\r\n" },
    { 3, ",1.\r\n" },
    { 3, ",1e\r\n" },
    { 3, ",-\r\n" },
    { 3, ",-nan\r\n" },
    { 3, ",infinity\r\n" },
    { 3, ",0x10\r\n" },
    { 3, ",1 \r\n" },
    { 3, "(\r\n" },
    { 3, "(-\r\n" },
    { 3, "(+1\r\n" },
    { 3, "(01\r\n" },
    { 3, "(-0\r\n" },
    { 3, "(1.0\r\n" },
    { 3, "!-1\r\n" },
    { 3, "=3\r\ntxt\r\n" },
    { 3, "=4\r\ntxtx\r\n" },
    { 3, "=-1\r\n" },
    { 3, "%-1\r\n" },
    { 3, "~-1\r\n" },
    { 3, ">0\r\n" },
    { 3, ">1\r\n*0\r\n" },
    { 3, "*1\r\n>1\r\n+x\r\n" },
    { 3, "|0\r\n|0\r\n+x\r\n" },
    { 3, "|0\r\n>1\r\n+x\r\n" },
    { 3, "%4611686018427387904\r\n" },
};

static bool in_protocol(int protocols, int protocol)
{
    return protocols == 23 || protocols == protocol;
}

START_TEST(test_good_forms)
{
    for (size_t i = 0; i < countof(good); i++) {
        for (int protocol = 2; protocol <= 3; protocol++) {
            for (size_t step = 1; in_protocol(good[i].protocols, protocol) && step < 40; step++) {
                char *line = NULL;
                const char *b = good[i].bytes;
                ck_assert_msg(read_bytes(protocol, b, strlen(b), step, &line) == RESP_OK,
                              "RESP%d refuses %s", protocol, good[i].line);
                ck_assert_str_eq(line, good[i].line);
                free(line);
            }
        }
    }
}
END_TEST

START_TEST(test_bad_forms)
{
    for (size_t i = 0; i < countof(bad); i++) {
        for (int protocol = 2; protocol <= 3; protocol++) {
            for (size_t step = 1; in_protocol(bad[i].protocols, protocol) && step < 40; step++) {
                char *line = NULL;
                const char *b = bad[i].bytes;
                enum resp_status st = read_bytes(protocol, b, strlen(b), step, &line);
                ck_assert_msg(st == RESP_MALFORMED, "RESP%d: %d for case %zu: %s", protocol, st, i,
                              b);
            }
        }
    }
}
END_TEST

START_TEST(test_every_prefix_is_incomplete)
{
    for (size_t i = 0; i < countof(good); i++) {
        int protocol = good[i].protocols == 2 ? 2 : 3;
        for (size_t len = 0; len < strlen(good[i].bytes); len++) {
            char *line = NULL;
            ck_assert_int_eq(read_bytes(protocol, good[i].bytes, len, 3, &line), RESP_CLOSED);
        }
    }
}
END_TEST

START_TEST(test_timeout_loses_nothing)
{
    const char *bytes = "*2\r\n$3\r\nabc\r\n:12\r\n+next\r\n";
    struct source s = { .bytes = bytes, .len = 9, .step = 100, .then_timeout = true };
    struct resp_reader r;
    struct resp *reply = NULL;
    resp_reader_init(&r, 2, give, &s);
    ck_assert_int_eq(resp_read(&r, &reply), RESP_TIMEOUT);
    ck_assert_int_eq(resp_read(&r, &reply), RESP_TIMEOUT);
    ck_assert(resp_reader_pending(&r));
    s.len = strlen(bytes);
    ck_assert_int_eq(resp_read(&r, &reply), RESP_OK);
    char *line = resp_line(reply);
    ck_assert_str_eq(line, "[\"abc\", 12]");
    free(line);
    resp_free(reply);
    ck_assert(resp_reader_pending(&r));
    ck_assert_int_eq(resp_read(&r, &reply), RESP_OK);
    ck_assert_str_eq(reply->text, "next");
    resp_free(reply);
    resp_reader_free(&r);
}
END_TEST

START_TEST(test_depth_and_line_limits)
{
    char deep[1024] = "";
    for (int i = 0; i < 100; i++) {
        strcat(deep, "*1\r\n");
    }
    char *line = NULL;
    ck_assert_int_eq(read_bytes(2, deep, strlen(deep), 100, &line), RESP_MALFORMED);
    size_t len = 3 << 20;
    char *endless = malloc(len);
    memset(endless, 'x', len);
    endless[0] = '+';
    ck_assert_int_eq(read_bytes(2, endless, len, 65536, &line), RESP_MALFORMED);
    free(endless);
}
END_TEST

START_TEST(test_fields)
{
    const char *bytes = ",2.25\r\n#t\r\n=7\r\nmkd:a\r\n\r\n:-7\r\n$3\r\na\0b\r\n";
    struct source s = { .bytes = bytes, .len = 0, .step = 7 };
    s.len = strlen(",2.25\r\n#t\r\n=7\r\nmkd:a\r\n\r\n:-7\r\n$3\r\na") + 4;
    struct resp_reader r;
    struct resp *reply = NULL;
    resp_reader_init(&r, 3, give, &s);
    ck_assert_int_eq(resp_read(&r, &reply), RESP_OK);
    ck_assert_double_eq(reply->real, 2.25);
    resp_free(reply);
    ck_assert_int_eq(resp_read(&r, &reply), RESP_OK);
    ck_assert_int_eq(reply->integer, 1);
    resp_free(reply);
    ck_assert_int_eq(resp_read(&r, &reply), RESP_OK);
    ck_assert_str_eq(reply->format, "mkd");
    ck_assert_str_eq(reply->text, "a\r\n");
    resp_free(reply);
    ck_assert_int_eq(resp_read(&r, &reply), RESP_OK);
    ck_assert_int_eq(reply->integer, -7);
    resp_free(reply);
    ck_assert_int_eq(resp_read(&r, &reply), RESP_OK);
    ck_assert_uint_eq(reply->len, 3);
    ck_assert_int_eq(memcmp(reply->text, "a\0b", 4), 0);
    resp_free(reply);
    resp_reader_free(&r);
}
END_TEST

/* ---- random trees: written, then read in random steps, give the same line ---- */

static void write_random(FILE *wire, FILE *line, int depth)
{
    uint64_t n = rng_below(depth > 3 ? 5 : 8);
    uint64_t count = rng_below(4);
    switch (n) {
    case 0:
        fprintf(wire, "+s%llu\r\n", (unsigned long long)count);
        fprintf(line, "+s%llu", (unsigned long long)count);
        return;
    case 1:
        fprintf(wire, ":%lld\r\n", (long long)count - 2);
        fprintf(line, "%lld", (long long)count - 2);
        return;
    case 2:
        fprintf(wire, "$%llu\r\n%.*s\r\n", (unsigned long long)count, (int)count, "xyz");
        fprintf(line, "\"%.*s\"", (int)count, "xyz");
        return;
    case 3:
        fputs("_\r\n", wire);
        fputs("nil", line);
        return;
    case 4:
        fputs(",0.5\r\n", wire);
        fputs(",0.5", line);
        return;
    default: break;
    }
    bool map = n == 5;
    fprintf(wire, "%c%llu\r\n", "%*~"[n - 5], (unsigned long long)count);
    fputs(map ? "{" : n == 6 ? "[" : "~[", line);
    for (uint64_t i = 0; i < (map ? count * 2 : count); i++) {
        fputs(i == 0 ? "" : map && i % 2 == 1 ? ": " : ", ", line);
        write_random(wire, line, depth + 1);
    }
    fputs(map ? "}" : "]", line);
}

START_TEST(test_random_trees)
{
    for (int i = 0; i < 3000; i++) {
        char *wire = NULL, *line = NULL, *got = NULL;
        size_t wire_len = 0, line_len = 0;
        FILE *w = open_memstream(&wire, &wire_len);
        FILE *l = open_memstream(&line, &line_len);
        write_random(w, l, 0);
        fclose(w);
        fclose(l);
        ck_assert_int_eq(read_bytes(3, wire, wire_len, 1 + rng_below(20), &got), RESP_OK);
        ck_assert_str_eq(got, line);
        free(wire);
        free(line);
        free(got);
    }
}
END_TEST

static struct resp *parse(const char *bytes)
{
    struct source s = { .bytes = bytes, .len = strlen(bytes), .step = 100 };
    struct resp_reader r;
    struct resp *reply = NULL;
    resp_reader_init(&r, 3, give, &s);
    ck_assert_int_eq(resp_read(&r, &reply), RESP_OK);
    resp_reader_free(&r);
    return reply;
}

START_TEST(test_equal)
{
    static const char *const forms[] = {
        "$1\r\na\r\n",
        "+a\r\n",
        "$1\r\nb\r\n",
        "*1\r\n$1\r\na\r\n",
        "_\r\n",
        "~1\r\n+a\r\n",
        "*2\r\n+a\r\n+a\r\n",
        "=5\r\ntxt:a\r\n",
        "*1\r\n_\r\n",
        "=5\r\nmkd:a\r\n",
        "|1\r\n+a\r\n+b\r\n+a\r\n",
    };
    for (size_t i = 0; i < countof(forms); i++) {
        for (size_t k = 0; k < countof(forms); k++) {
            struct resp *a = parse(forms[i]);
            struct resp *b = parse(forms[k]);
            ck_assert_msg(resp_equal(a, b) == (i == k), "%s %s", forms[i], forms[k]);
            resp_free(a);
            resp_free(b);
        }
    }
}
END_TEST

UNIT_SUITE(resp_reply)
{
    unit_case(suite, "forms", test_good_forms, test_bad_forms, test_every_prefix_is_incomplete,
              test_depth_and_line_limits, test_fields, test_equal);
    unit_case(suite, "streams", test_timeout_loses_nothing, test_random_trees);
}
