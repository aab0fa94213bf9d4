/* test_later.c -- Commands of Redis after 7.4 and of Valkey, which no reference server here knows:
 * what their documentation says. SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/rng.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <string.h>

SERVER_CLIENT_FIXTURE("--threads", "2", "--notify-keyspace-events", "E$g")

/* What the log says is what was done: the same data after a crash. */
static void expect_recovered(void)
{
    char digest[64];
    snprintf(digest, sizeof digest, "%s", client_line(c, "DEBUG DIGEST"));
    client_close(c);
    server_kill(&kv);
    server_start(&kv, "--threads", "2");
    c = server_connect(&kv);
    client_expect(c, digest, "DEBUG DIGEST");
}

/* ---- DIGEST ---- */

#define TEXT \
    "v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfzkjytls2kwlj7626sd"
#define TEXT_DIGEST "00006c38adf31777"

START_TEST(test_digest)
{
    client_expect(c, "nil", "DIGEST k");
    client_expect(c, "+OK", "SET k " TEXT);
    client_expect(c, "\"" TEXT_DIGEST "\"", "DIGEST k");
    client_expect(c, "+OK", "SET e ''");
    client_expect(c, "\"2d06800538d394c2\"", "DIGEST e");
    client_expect(c, "1", "RPUSH l x");
    client_expect_error(c, "WRONGTYPE", "DIGEST l");
    client_expect_error(c, "ERR wrong number", "DIGEST k e");
}
END_TEST

/* ---- SET with a comparison ---- */

START_TEST(test_set_if)
{
    client_expect(c, "nil", "SET k v IFEQ x");
    client_expect(c, "nil", "SET k v IFDEQ " TEXT_DIGEST);
    client_expect(c, "0", "EXISTS k");
    client_expect(c, "+OK", "SET k v IFNE x");
    client_expect(c, "nil", "SET k w IFEQ x");
    client_expect(c, "nil", "SET k w IFNE v");
    client_expect(c, "\"v\"", "SET k w IFNE v GET");
    client_expect(c, "\"v\"", "GET k");
    client_expect(c, "\"v\"", "SET k w IFEQ v GET EX 100");
    client_expect(c, "100", "TTL k");
    client_expect(c, "+OK", "SET k " TEXT " ifeq w KEEPTTL");
    client_expect(c, "100", "TTL k");
    client_expect(c, "nil", "SET k x IFDNE " TEXT_DIGEST);
    client_expect(c, "+OK", "SET k 5 IFDEQ 00006C38ADF31777");
    client_expect(c, "-1", "TTL k");
    client_expect(c, "+OK", "SET k 6 IFEQ 5");
    client_expect(c, "nil", "SET none 6 IFDEQ short");
    client_expect(c, "-ERR must be exactly 16 hexadecimal characters", "SET k 6 IFDEQ short");
    client_expect(c, "-ERR syntax error", "SET k 6 IFEQ");
    client_expect(c, "-ERR syntax error", "SET k 6 IFEQ 6 NX");
    client_expect(c, "-ERR syntax error", "SET k 6 XX IFEQ 6");
    client_expect(c, "-ERR syntax error", "SET k 6 IFNE 7 IFEQ 6");
    client_expect(c, "-ERR syntax error", "GETEX k IFEQ 6");
    client_expect(c, "1", "RPUSH l x");
    client_expect_error(c, "WRONGTYPE", "SET l v IFEQ x");
    client_expect_error(c, "WRONGTYPE", "SET l v IFNE x");
    client_expect(c, "1", "LLEN l");
    expect_recovered();
    client_expect(c, "\"6\"", "GET k");
}
END_TEST

/* ---- DELEX, DELIFEQ ---- */

START_TEST(test_delex)
{
    client_expect(c, "0", "DELEX k");
    client_expect(c, "0", "DELEX k IFEQ");
    client_expect(c, "0", "DELEX k IFNE x");
    client_expect(c, "+OK", "MSET k v n 12 t " TEXT);
    client_expect(c, "0", "DELEX k IFEQ x");
    client_expect(c, "0", "DELEX k IFNE v");
    client_expect(c, "1", "DELEX k IFEQ v");
    client_expect(c, "0", "DELEX n ifne 12");
    client_expect(c, "1", "DELEX n ifne 13");
    client_expect(c, "0", "DELEX t IFDNE " TEXT_DIGEST);
    client_expect(c, "-ERR must be exactly 16 hexadecimal characters", "DELEX t IFDEQ 12");
    client_expect(c, "-ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE", "DELEX t IF v");
    client_expect_error(c, "ERR wrong number", "DELEX t IFEQ");
    client_expect_error(c, "ERR wrong number", "DELEX t IFEQ v w");
    client_expect(c, "1", "DELEX t IFDEQ " TEXT_DIGEST);
    client_expect(c, "1", "RPUSH l x");
    client_expect(c, "-ERR Key should be of string type if conditions are specified",
                  "DELEX l IFEQ x");
    client_expect(c, "1", "DELEX l");
    client_expect(c, "0", "DELIFEQ k v");
    client_expect(c, "+OK", "SET k v");
    client_expect(c, "0", "DELIFEQ k w");
    client_expect(c, "1", "DELIFEQ k v");
    client_expect(c, "1", "RPUSH l x");
    client_expect_error(c, "WRONGTYPE", "DELIFEQ l x");
    client_expect(c, "+OK", "SET k v");
    client_expect(c, "1", "DELIFEQ k v");
    expect_recovered();
    client_expect(c, "[\"l\"]", "KEYS *");
}
END_TEST

/* ---- MSETEX ---- */

START_TEST(test_msetex)
{
    client_expect(c, "1", "MSETEX 2 a 1 b 2");
    client_expect(c, "[\"1\", \"2\"]", "MGET a b");
    client_expect(c, "1", "MSETEX 2 a 3 c 4 EX 100");
    client_expect(c, "100", "TTL a");
    client_expect(c, "100", "TTL c");
    client_expect(c, "0", "MSETEX 2 a 5 d 6 XX");
    client_expect(c, "0", "MSETEX 2 a 5 d 6 NX PX 1000");
    client_expect(c, "0", "EXISTS d");
    client_expect(c, "1", "MSETEX 2 a 7 b 8 XX KEEPTTL");
    client_expect(c, "100", "TTL a");
    client_expect(c, "-1", "TTL b");
    client_expect(c, "1", "MSETEX 1 d 9 NX PXAT 99999999999999");
    client_expect(c, "99999999999999", "PEXPIRETIME d");
    client_expect(c, "1", "MSETEX 2 e 1 e 2 EXAT 9999999999");
    client_expect(c, "\"2\"", "GET e");
    client_expect(c, "1", "RPUSH l x");
    client_expect(c, "1", "MSETEX 1 l now-a-string");
    client_expect(c, "-ERR invalid numkeys value", "MSETEX 0 a 1");
    client_expect(c, "-ERR invalid numkeys value", "MSETEX x a 1");
    client_expect(c, "-ERR wrong number of key-value pairs", "MSETEX 2 a 1");
    client_expect(c, "-ERR wrong number of key-value pairs", "MSETEX 2147483647 a 1");
    client_expect(c, "-ERR syntax error", "MSETEX 1 a 1 foo");
    client_expect(c, "-ERR syntax error", "MSETEX 1 a 1 NX XX");
    client_expect(c, "-ERR syntax error", "MSETEX 1 a 1 EX 1 KEEPTTL");
    client_expect(c, "-ERR syntax error", "MSETEX 1 a 1 EX");
    client_expect(c, "-ERR syntax error", "MSETEX 1 a 1 IFEQ 1");
    client_expect(c, "-ERR invalid expire time in 'msetex' command", "MSETEX 1 a 1 EX 0");
    client_expect(c, "[\"a\", \"b\"]", "COMMAND GETKEYS MSETEX 2 a 1 b 2 EX 1");
    client_expect(c, "\"7\"", "GET a");
    expect_recovered();
    client_expect(c, "\"now-a-string\"", "GET l");
    client_expect(c, "99999999999999", "PEXPIRETIME d");
}
END_TEST

START_TEST(test_events)
{
    struct client *events = server_connect(&kv);
    client_expect(events, "[\"psubscribe\", \"*\", 1]", "PSUBSCRIBE *");
    client_expect(c, "1", "MSETEX 2 a 1 b 2 EX 100");
    client_expect(c, "0", "DELEX a IFEQ 2");
    client_expect(c, "1", "DELEX a IFEQ 1");
    client_expect(c, "1", "DELIFEQ b 2");
    static const char *const want[] = {
        "set a", "expire a", "set b", "expire b", "del a", "del b"
    };
    for (unsigned i = 0; i < countof(want); i++) {
        char line[80];
        snprintf(line, sizeof line, "[\"pmessage\", \"*\", \"__keyevent@0__:%.*s\", \"%s\"]",
                 (int)(strchr(want[i], ' ') - want[i]), want[i], strchr(want[i], ' ') + 1);
        client_expect_next(events, line);
    }
    client_close(events);
}
END_TEST

/* ---- BITOP ---- */

static unsigned byte_of(const uint8_t *bytes, size_t n, size_t at)
{
    return at < n ? bytes[at] : 0;
}

/* One byte of the result by the definition, bit by bit. */
static uint8_t expected_byte(unsigned op, const uint8_t bytes[4][16], const size_t *n,
                             unsigned sources, size_t at)
{
    uint8_t out = 0;
    for (unsigned bit = 0; bit < 8; bit++) {
        unsigned first = byte_of(bytes[0], n[0], at) >> bit & 1, others = 0;
        for (unsigned i = 1; i < sources; i++) {
            others += byte_of(bytes[i], n[i], at) >> bit & 1;
        }
        const bool on[] = { first && !others, !first && others, first && others,
                            first + others == 1 };
        out |= (uint8_t)(on[op] << bit);
    }
    return out;
}

static const char *hex_text(char *to, const uint8_t *bytes, size_t n)
{
    char *p = to;
    *p++ = '"';
    for (size_t i = 0; i < n; i++) {
        p += sprintf(p, "\\x%02x", bytes[i]);
    }
    strcpy(p, "\"");
    return to;
}

START_TEST(test_bitop)
{
    static const char *const ops[] = { "DIFF", "DIFF1", "ANDOR", "ONE" };
    char text[80], line[80];
    for (unsigned round = 0; round < 400; round++) {
        uint8_t bytes[4][16], want[16];
        size_t n[4], longest = 0;
        unsigned op = (unsigned)rng_below(4), sources = 2 + (unsigned)rng_below(3);
        for (unsigned i = 0; i < sources; i++) {
            n[i] = rng_below(17);
            longest = n[i] > longest ? n[i] : longest;
            for (size_t j = 0; j < n[i]; j++) {
                bytes[i][j] = (uint8_t)rng_u64();
            }
            client_expect(c, "+OK", "SET s%u %s", i, hex_text(text, bytes[i], n[i]));
        }
        for (size_t at = 0; at < longest; at++) {
            want[at] = expected_byte(op, bytes, n, sources, at);
        }
        static const char *const keys[] = { "s0 s1", "s0 s1 s2", "s0 s1 s2 s3" };
        snprintf(line, sizeof line, "%zu", longest);
        client_expect(c, line, "BITOP %s d %s", ops[op], keys[sources - 2]);
        client_expect(c, "+OK", "SET w %s", hex_text(text, want, longest));
        ck_assert_str_eq(strcpy(line, client_line(c, "STRLEN d")), client_line(c, "STRLEN w"));
        client_expect(c, "0",
                      "EVAL \"return (redis.call('GET','d') or '') == redis.call('GET','w') and 0 "
                      "or 1\" 2 d w");
    }
    client_expect(c, "-ERR BITOP DIFF must be called with at least two source keys.",
                  "BITOP diff d a");
    client_expect(c, "-ERR BITOP DIFF1 must be called with at least two source keys.",
                  "BITOP DIFF1 d a");
    client_expect(c, "-ERR BITOP ANDOR must be called with at least two source keys.",
                  "BITOP ANDOR d a");
    client_expect(c, "-ERR syntax error", "BITOP FOO d a");
    expect_recovered();
}
END_TEST

UNIT_SUITE(later)
{
    TCase *tc = unit_case(suite, "later", test_digest, test_set_if, test_delex, test_msetex,
                          test_events, test_bitop);
    tcase_add_checked_fixture(tc, start, stop);
}
