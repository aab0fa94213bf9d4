/* test_list.c -- The list family beside redis-server: replies, order of checks, events, lists of
 * all sizes, and the forms that wait. SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/rng.h"
#include "compare.h"
#include "unit.h"
#include <stdio.h>
#include <string.h>

/* What a count, an index or a rank may be written as. */
static const char *const numbers[] = {
    "0",
    "1",
    "-1",
    "2",
    "-2",
    "5",
    "-5",
    "6",
    "-6",
    "2147483647",
    "2147483648",
    "-2147483648",
    "-2147483649",
    "4294967295",
    "4294967296",
    "4294967297",
    "9223372036854775806",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775807",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "x",
    "''",
    "1.0",
    "+1",
    "' 1'",
    "01",
    "\"1\\x00\"",
};

START_TEST(test_list_push_pop)
{
    compare("LPUSH l a", "LPUSH l b c", "RPUSH l d e", "LRANGE l 0 -1", "LLEN l", "LPUSHX l f",
            "RPUSHX l g h", "LPUSHX nokey a", "RPUSHX nokey a b", "EXISTS nokey", "LPOP l",
            "RPOP l", "LPOP l 2", "RPOP l 2", "LRANGE l 0 -1", "RPOP l 0", "LPOP l 100", "EXISTS l",
            "LPOP l", "RPOP l", "LPOP l 0", "LPOP l 1", "RPOP l 5", "LLEN l", "RPUSH l ''",
            "LPOP l",
            "RPUSH l \"\\x00\\r\\n\\xff\" 12 -7 9223372036854775807 9223372036854775808 012 1.5",
            "LRANGE l 0 -1", "LPOP l 3", "RPOP l 9", "RPUSH '' a", "LPOP ''", "LPUSH", "LPUSH l",
            "RPUSH l", "LPUSHX l", "RPUSHX l", "LPOP", "RPOP", "LPOP l 1 2", "RPOP l 1 2", "LLEN",
            "LLEN a b", "RPUSH t 1", "EXPIRE t 100", "RPUSH t 2", "~near=500 PTTL t", "LPOP t 2",
            "PTTL t", "RPUSH t 1", "PTTL t");
}
END_TEST

/* Since 7.2; before, it was negated to itself. */
#define RANK_TOO_LOW                                                               \
    " => -ERR value is out of range, value must between -9223372036854775807 and " \
    "9223372036854775807"

START_TEST(test_list_counts)
{
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < countof(numbers); i++) {
        const char *n = numbers[i];
        compare_add(&s, "DEL l");
        compare_add(&s, "RPUSH l a b a c a");
        compare_add(&s, "LINDEX l %s", n);
        compare_add(&s, "LINDEX nokey %s", n);
        compare_add(&s, "LSET l %s x", n);
        compare_add(&s, "LSET nokey %s x", n);
        compare_add(&s, "LREM l %s a", n);
        compare_add(&s, "LREM nokey %s a", n);
        compare_add(&s, "LRANGE l 0 -1");
        compare_add(&s, "RPUSH l a b a c a");
        compare_add(&s, "LPOS l a COUNT %s", n);
        compare_add(&s, "LPOS l a MAXLEN %s", n);
        compare_add(&s, "LPOS l a RANK -1 COUNT %s MAXLEN 3", n);
        compare_add(&s, "LPOS l a MAXLEN %s COUNT 0 RANK -2", n);
        compare_add(&s, "LPOS nokey a COUNT %s", n);
        compare_add(&s, "LPOS nokey a MAXLEN %s", n);
        compare_add(&s, "LPOP nokey %s", n);
        compare_add(&s, "RPOP nokey %s", n);
        compare_add(&s, "LMPOP 1 nokey LEFT COUNT %s", n);
        compare_add(&s, "LMPOP %s l LEFT", n);
        compare_add(&s, "LMPOP %s nokey LEFT COUNT 1", n);
        compare_add(&s, "BLMPOP 0.01 %s nokey RIGHT COUNT 1", n);
        compare_add(&s, "BLMPOP 0.01 1 nokey RIGHT COUNT %s", n);
        compare_add(&s, "LMPOP 1 l RIGHT COUNT %s", n);
        compare_add(&s, "LPOP l %s", n);
        compare_add(&s, "RPUSH l a b a c a");
        compare_add(&s, "RPOP l %s", n);
        compare_add(&s, "SET str v");
        compare_add(&s, "LPOP str %s", n);
        compare_add(&s, "LINDEX str %s", n);
        compare_add(&s, "LSET str %s x", n);
        compare_add(&s, "LREM str %s x", n);
        compare_add(&s, "LMPOP 1 str LEFT COUNT %s", n);
        const char *expected = strcmp(n, "-9223372036854775808") == 0 ? RANK_TOO_LOW : "";
        compare_add(&s, "DEL l");
        compare_add(&s, "RPUSH l a b a c a");
        compare_add(&s, "LPOS l a RANK %s%s", n, expected);
        compare_add(&s, "LPOS l a RANK %s COUNT 0%s", n, expected);
        compare_add(&s, "LPOS nokey a RANK %s%s", n, expected);
        compare_add(&s, "LPOS str x RANK %s%s", n, expected);
    }
    compare_script(&s);
}
END_TEST

START_TEST(test_list_ranges)
{
    struct compare_script s = { NULL, 0 };
    compare_add(&s, "RPUSH l a b c d e");
    compare_add(&s, "SET str v");
    for (unsigned i = 0; i < countof(numbers) * countof(numbers); i++) {
        const char *from = numbers[i / countof(numbers)], *to = numbers[i % countof(numbers)];
        compare_add(&s, "LRANGE l %s %s", from, to);
        compare_add(&s, "LRANGE nokey %s %s", from, to);
        compare_add(&s, "LRANGE str %s %s", from, to);
        compare_add(&s, "LTRIM l %s %s", from, to);
        compare_add(&s, "LTRIM nokey %s %s", from, to);
        compare_add(&s, "LTRIM str %s %s", from, to);
        compare_add(&s, "LRANGE l 0 -1");
        compare_add(&s, "DEL l");
        compare_add(&s, "RPUSH l a b c d e");
    }
    compare_script(&s);
}
END_TEST

START_TEST(test_list_changes)
{
    compare("RPUSH l a b c b a", "LINSERT l BEFORE b x", "LINSERT l AFTER b y",
            "LINSERT l before a first", "LINSERT l AfTeR nope z", "LINSERT nokey BEFORE a x",
            "LINSERT l MIDDLE a x", "LINSERT nokey MIDDLE a x", "LINSERT l BEFORE a",
            "LRANGE l 0 -1", "LSET l 0 new", "LSET l -1 12", "LSET l 100 x", "LSET l x y",
            "LSET nokey x y", "LSET l 0 ''", "LRANGE l 0 -1", "LREM l 0 b", "LREM l 1 x",
            "LREM l -1 12", "LREM l 0 nope", "LRANGE l 0 -1", "RPUSH n 1 01 1 -1 +1 1",
            "LREM n 0 1", "LRANGE n 0 -1", "LREM n -5 01", "LINSERT n BEFORE -1 5", "LPOS n 5",
            "LPOS n +1", "LPOS n 05", "LREM n 0 5", "LREM n 0 -1", "LREM n 0 +1", "EXISTS n",
            "RPUSH r a a a", "LREM r 2 a", "LREM r 2 a", "EXISTS r", "RPUSH r a b",
            "LREM r -9223372036854775807 a", "LREM r 9223372036854775807 b", "EXISTS r",
            "RPUSH t a b c", "LTRIM t 1 1", "LTRIM t 0 0", "LTRIM t 1 0", "EXISTS t", "RPUSH t a b",
            "LTRIM t 0 -1", "LTRIM t -100 100", "LTRIM t 5 10", "EXISTS t", "RPUSH e x",
            "EXPIRE e 100", "LSET e 0 y", "LINSERT e AFTER y z", "LREM e 1 y", "LTRIM e 0 0",
            "~near=500 PTTL e", "LINSERT", "LSET l 1", "LREM l 1", "LTRIM l 1", "LINDEX l",
            "LRANGE l 1", "LSET l 1 2 3", "LREM l 1 2 3", "LTRIM l 1 2 3", "LINDEX l 1 2");
}
END_TEST

START_TEST(test_list_lpos)
{
    compare("RPUSH l a b c 1 2 3 c c", "LPOS l a", "LPOS l c", "LPOS l nope", "LPOS l 2",
            "LPOS nokey a", "LPOS nokey a COUNT 1", "LPOS l nope COUNT 0", "LPOS l c RANK 2",
            "LPOS l c RANK -1", "LPOS l c RANK -3", "LPOS l c RANK 4", "LPOS l c RANK 4 COUNT 0",
            "LPOS l c COUNT 2", "LPOS l c COUNT 0 RANK -1", "LPOS l c COUNT 0 RANK -2 MAXLEN 3",
            "LPOS l c MAXLEN 2", "LPOS l c MAXLEN 3", "LPOS l c MAXLEN 0", "LPOS l a b",
            "LPOS l a RANK", "LPOS l a RANK 1 COUNT", "LPOS l a FOO 1", "LPOS l a RANK 0",
            "LPOS l a RANK 1 RANK 2", "LPOS l c COUNT 0 COUNT 1",
            "LPOS l c rank 1 count 1 maxlen 9", "LPOS l a COUNT -1 RANK 0",
            "LPOS l a RANK 0 COUNT -1", "LPOS l a MAXLEN -1 FOO 1", "LPOS l a FOO 1 RANK 0",
            "LPOS l", "SET s v", "LPOS s a", "LPOS s a RANK 0", "LPOS s a FOO 1");
}
END_TEST

static const char *const moves[] = { "LMOVE", "BLMOVE" };
static const char *const ends[] = { "LEFT", "RIGHT", "left", "Right", "UP", "''" };

START_TEST(test_list_moves)
{
    struct compare_script s = { NULL, 0 };
    compare_add(&s, "SET str v");
    for (unsigned i = 0; i < 2 * countof(ends) * countof(ends); i++) {
        const char *from = ends[i / 2 % countof(ends)], *to = ends[i / 2 / countof(ends)];
        const char *last = i % 2 == 0 ? "" : "0.01";
        static const char *const pairs[] = { "a b",       "a a",   "one b", "one one",   "nokey b",
                                             "nokey str", "a str", "str a", "str nokey", "e e2" };
        for (unsigned p = 0; p < countof(pairs); p++) {
            compare_add(&s, "DEL a b one e e2");
            compare_add(&s, "RPUSH a 1 two 3");
            compare_add(&s, "RPUSH one x");
            compare_add(&s, "RPUSH e ''");
            compare_add(&s, "EXPIRE a 1000");
            compare_add(&s, "%s %s %s %s %s", moves[i % 2], pairs[p], from, to, last);
            compare_add(&s, "LRANGE a 0 -1");
            compare_add(&s, "LRANGE b 0 -1");
            compare_add(&s, "EXISTS one b e e2");
            compare_add(&s, "~near=500 PTTL a");
        }
    }
    compare_script(&s);
}
END_TEST

START_TEST(test_list_move_errors)
{
    compare("RPUSH a 1 2 3", "RPOPLPUSH a b", "RPOPLPUSH a a", "RPOPLPUSH nokey b",
            "BRPOPLPUSH a b 0", "BRPOPLPUSH a a 0.1", "BRPOPLPUSH nokey b 0.01", "SET s v",
            "RPOPLPUSH s a", "RPOPLPUSH a s", "RPOPLPUSH nokey s", "BRPOPLPUSH s a 0.01",
            "BRPOPLPUSH a s 0.01", "BRPOPLPUSH nokey s 0.01", "LMOVE a", "LMOVE a b LEFT",
            "LMOVE a b LEFT LEFT x", "RPOPLPUSH a", "BRPOPLPUSH a b", "BLMOVE a b LEFT LEFT",
            "BLMOVE a b UP LEFT x", "BLMOVE a b LEFT LEFT x", "BRPOPLPUSH a b x",
            "BRPOPLPUSH a b -1", "LMOVE s b UP LEFT", "LRANGE a 0 -1", "LRANGE b 0 -1");
}
END_TEST

/* Looked at before keys, in every form. */
static void add_timeouts(struct compare_script *s, const char *t, const char *expected)
{
    compare_add(s, "FLUSHDB"); /* says nothing of what the last round left */
    compare_add(s, "SET s v");
    compare_add(s, "RPUSH l 1 2 3 4 5 6 7 8");
    compare_add(s, "BLPOP l %s%s", t, expected);
    compare_add(s, "BRPOP nokey l %s%s", t, expected);
    compare_add(s, "BRPOPLPUSH l d %s%s", t, expected);
    compare_add(s, "BLMOVE l d LEFT LEFT %s%s", t, expected);
    compare_add(s, "BLMPOP %s 1 l LEFT%s", t, expected);
    compare_add(s, "BLPOP s %s%s", t, expected);
    compare_add(s, "BRPOPLPUSH s d %s%s", t, expected);
    compare_add(s, "BLMOVE s d LEFT LEFT %s%s", t, expected);
    compare_add(s, "BLMPOP %s 1 s LEFT%s", t, expected);
    compare_add(s, "BLMPOP %s 0 s LEFT", t);
    compare_add(s, "BLMPOP %s 1 s UP", t);
}

START_TEST(test_list_timeouts)
{
    static const char *const times[] = {
        "-1",   "-0.0001", "x",     "''",    "nan",  "-9223372036854775808",
        "-inf", "' 1'",    "'1 '",  "0x1",   "1e-3", "0.001",
        "1e15", "-0",      "00.01", "+0.01", ".01",
    };
    /* Since 7.2; before, the number wrapped around to a negative one. */
    static const char *const too_long[] = { "1e400", "inf", "9223372036854775807",
                                            "9223372036854774", "9223372036854776" };
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < countof(times); i++) {
        add_timeouts(&s, times[i], "");
    }
    for (unsigned i = 0; i < countof(too_long); i++) {
        add_timeouts(&s, too_long[i], " => -ERR timeout is out of range");
    }
    compare_add(&s, "FLUSHDB");
    compare_script(&s);
}
END_TEST

START_TEST(test_list_mpop)
{
    compare("LMPOP 1 nokey LEFT", "RPUSH a 1 2 3 4 5", "RPUSH b x y", "LMPOP 2 nokey a LEFT",
            "LMPOP 3 nokey a b RIGHT COUNT 2", "LMPOP 1 a RIGHT COUNT 100", "EXISTS a",
            "LMPOP 2 a b left count 1", "BLMPOP 0 2 a b LEFT COUNT 5", "BLMPOP 0.01 2 a b LEFT",
            "EXISTS b", "RPUSH a 1 2 3", "LMPOP 1 a LEFT COUNT 0", "LMPOP 1 a LEFT COUNT -1",
            "LMPOP 1 a LEFT COUNT x", "LMPOP 1 a LEFT COUNT", "LMPOP 1 a LEFT COUNT 1 COUNT 1",
            "LMPOP 1 a LEFT FOO", "LMPOP 1 a UP", "LMPOP 1 a", "LMPOP 2 a LEFT", "LMPOP 0 a LEFT",
            "LMPOP -1 a LEFT", "LMPOP x a LEFT", "LMPOP 1", "LMPOP", "LMPOP 1 a b LEFT",
            "LMPOP 3 a b LEFT", "LMPOP 1 a LEFT RIGHT", "BLMPOP 0.01 0 a LEFT",
            "BLMPOP 0.01 1 a UP", "BLMPOP 0.01 2 a LEFT", "BLMPOP 0.01 1 a LEFT COUNT 0",
            "BLMPOP 0.01 1 a LEFT FOO 1", "BLMPOP x 0 a UP", "BLMPOP 0.01 1", "SET s v",
            "LMPOP 1 s LEFT", "LMPOP 2 nokey s LEFT", "LMPOP 2 a s LEFT", "LMPOP 2 s a LEFT",
            "BLMPOP 0.01 2 nokey s LEFT", "LMPOP 2 a a LEFT COUNT 5", "RPUSH a 1",
            "LMPOP 2 nokey nokey LEFT", "LMPOP 1 s LEFT COUNT 0", "LMPOP 1 s UP", "LRANGE a 0 -1");
}
END_TEST

START_TEST(test_list_wrong_type)
{
    compare("SET s v", "LPUSH s a", "RPUSH s a", "LPUSHX s a", "RPUSHX s a", "LPOP s", "RPOP s",
            "LPOP s 1", "LPOP s 0", "LPOP s -1", "LPOP s x", "LLEN s", "LINDEX s 0", "LINDEX s x",
            "LRANGE s 0 -1", "LRANGE s x 0", "LSET s 0 a", "LSET s x a", "LINSERT s BEFORE a b",
            "LINSERT s FOO a b", "LREM s 0 a", "LREM s x a", "LTRIM s 0 0", "LTRIM s x 0",
            "BLPOP s 0", "BRPOP s 0", "BLPOP nokey s 0", "BLPOP nokey s -1", "GET s", "RPUSH l a",
            "GET l", "SET l v", "APPEND s x", "RPUSH l2 a", "APPEND l2 x", "INCR l2",
            "GETRANGE l2 0 1", "SETRANGE l2 0 a", "STRLEN l2", "GETSET l2 x", "GETDEL l2",
            "GETEX l2", "SETBIT l2 0 1", "MGET l2 s", "BITOP NOT d l2", "SETNX l2 x",
            "SET l2 v GET", "SET l2 v", "TYPE l2", "BLPOP", "BLPOP l", "BRPOP l", "BLPOP l2 l 0 0");
}
END_TEST

/* As Redis 7.2 names them: a quicklist becomes a listpack again at half of the limit. */
START_TEST(test_list_encoding)
{
    static const struct {
        const char *line, *then;
    } steps[] = {
        { "RPUSH l 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", "listpack" },
        { "RPUSH l 17", "quicklist" },
        { "RPOP l", "quicklist" },
        { "LPOP l 7", "quicklist" },
        { "LPUSH l 1", "quicklist" },
        { "LTRIM l 0 7", "listpack" },
        { "LINSERT l AFTER 1 x", "listpack" },
    };
    static char text[3001];
    struct compare_script s = { NULL, 0 };
    memset(text, 'x', 3000);
    compare_add(&s, "CONFIG SET list-max-listpack-size 16");
    for (unsigned i = 0; i < countof(steps); i++) {
        compare_add(&s, "%s", steps[i].line);
        compare_add(&s, "OBJECT ENCODING l => \"%s\"", steps[i].then);
    }
    compare_add(&s, "CONFIG SET list-max-listpack-size -2");
    compare_add(&s, "RPUSH m %s %s", text, text);
    compare_add(&s, "OBJECT ENCODING m => \"listpack\"");
    compare_add(&s, "RPUSH m %s", text);
    compare_add(&s, "OBJECT ENCODING m => \"quicklist\"");
    compare_add(&s, "RPOP m");
    compare_add(&s, "OBJECT ENCODING m => \"quicklist\"");
    compare_add(&s, "LSET m 1 short");
    compare_add(&s, "OBJECT ENCODING m => \"listpack\"");
    compare_add(&s, "LREM m 0 short");
    /* LSET: before the old element is out */
    compare_add(&s, "CONFIG SET list-max-listpack-size 3");
    compare_add(&s, "RPUSH n a b");
    compare_add(&s, "LSET n 0 c");
    compare_add(&s, "OBJECT ENCODING n => \"listpack\"");
    compare_add(&s, "RPUSH n d");
    compare_add(&s, "LSET n 3 e");
    compare_add(&s, "OBJECT ENCODING n => \"listpack\"");
    compare_add(&s, "LSET n 0 c");
    compare_add(&s, "OBJECT ENCODING n => \"quicklist\"");
    compare_add(&s, "CONFIG SET list-max-listpack-size -2");
    compare_add(&s, "RPUSH o %s %s", text, text);
    compare_add(&s, "LSET o 0 %.*s", 2100, text);
    compare_add(&s, "OBJECT ENCODING o => \"listpack\"");
    compare_add(&s, "LSET o 1 %s", text);
    compare_add(&s, "OBJECT ENCODING o => \"listpack\"");
    compare_add(&s, "LSET o 0 %s", text);
    compare_add(&s, "LSET o 0 %s", text);
    compare_add(&s, "OBJECT ENCODING o => \"quicklist\"");
    compare_add(&s, "DEL m l n o");
    compare_script(&s);
}
END_TEST

/* In EXEC nothing blocks. */
START_TEST(test_list_in_multi)
{
    compare("MULTI", "BLPOP nokey 0", "BRPOP a b 0", "BRPOPLPUSH nokey d 0",
            "BLMOVE nokey d LEFT LEFT 0", "BLMPOP 0 2 a b LEFT", "BLPOP x -1", "EXEC",
            "RPUSH l 1 2 3", "MULTI", "BLPOP l 0", "BRPOPLPUSH l d 0", "BLMPOP 0 1 l LEFT COUNT 9",
            "LPUSH l x", "LMOVE d l LEFT RIGHT", "LRANGE l 0 -1", "EXEC", "EXISTS d l", "MULTI",
            "LPUSH", "EXEC");
}
END_TEST

/* ================= Sizes ================= */

/* Elements around the limits of listpack heads, chunks and plain chunks, in every position. */
START_TEST(test_list_element_sizes)
{
    static const unsigned sizes[] = {
        0,    1,    43,   63,   64,   65,   127,  4000, 4095,  4096,
        4097, 8100, 8180, 8184, 8190, 8191, 8192, 8193, 10000, 102400
    };
    static char text[102401];
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < countof(sizes); i++) {
        memset(text, 'a' + (int)i, sizes[i]);
        text[sizes[i]] = '\0';
        compare_add(&s, "RPUSH l '%s'", text);
        compare_add(&s, "LPUSH l '%s' mid '%s'", text, text);
        compare_add(&s, "RPUSH one%u '%s'", i, text);
        compare_add(&s, "LINDEX l %u", i);
        compare_add(&s, "LPOS l '%s' COUNT 0", text);
        compare_add(&s, "LINSERT l BEFORE '%s' x%u", text, i);
        compare_add(&s, "LINSERT l AFTER x%u '%s'", i / 2, text);
        compare_add(&s, "LSET l %u '%s'", i / 2, text);
        compare_add(&s, "LSET one%u 0 short", i);
        compare_add(&s, "LMOVE l l LEFT RIGHT");
        compare_add(&s, "LMOVE l dst RIGHT LEFT");
        compare_add(&s, "LREM l 1 '%s'", text);
        compare_add(&s, "RPOP dst");
        compare_add(&s, "LRANGE l %u %u", i / 2, i / 2 + 3);
        compare_add(&s, "LLEN l");
    }
    compare_add(&s, "LRANGE l 0 -1");
    compare_add(&s, "COPY l l2");
    compare_add(&s, "LTRIM l 3 -4");
    compare_add(&s, "LRANGE l2 0 -1");
    compare_add(&s, "LPOP l 10");
    compare_add(&s, "RPOP l 10");
    compare_script(&s);
}
END_TEST

static void add_filled(struct compare_script *s, const char *key, unsigned count)
{
    for (unsigned n = 0; n < count;) {
        char line[8192];
        size_t at = (size_t)snprintf(line, sizeof line, "RPUSH %s", key);
        for (unsigned i = 0; i < 1000 && n < count && at < sizeof line - 16; i++, n++) {
            at += (size_t)snprintf(line + at, sizeof line - at, " %s%u", n % 3 == 0 ? "v" : "", n);
        }
        compare_add(s, "%s", line);
    }
}

START_TEST(test_list_lengths)
{
    static const unsigned lengths[] = { 1, 2, 127, 128, 129, 511, 512, 513, 2000, 10000, 100000 };
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < countof(lengths); i++) {
        unsigned n = lengths[i];
        add_filled(&s, "l", n);
        for (unsigned j = 0; j < 20; j++) {
            unsigned at = (unsigned)rng_below(n), by = (unsigned)rng_below(20);
            compare_add(&s, "LINDEX l %u", at);
            compare_add(&s, "LINDEX l -%u", at);
            compare_add(&s, "LRANGE l %u %u", at, at + by);
            compare_add(&s, "LSET l %u new%u", at, j);
            compare_add(&s, "LPOS l %u COUNT 0 MAXLEN 1000", at);
            compare_add(&s, "LPOS l v%u RANK -1", at);
            compare_add(&s, "LINSERT l AFTER %u between", at);
            compare_add(&s, "LREM l -1 v%u", at);
            compare_add(&s, "LMOVE l l RIGHT LEFT");
        }
        compare_add(&s, "LLEN l");
        compare_add(&s, "COPY l copy%u", i);
        compare_add(&s, "LTRIM l %u -%u", n / 10, n / 10 + 1);
        compare_add(&s, "LPOP l %u", n / 20);
        compare_add(&s, "RPOP l %u", n / 20);
        compare_add(&s, "LREM l 0 between");
        compare_add(&s, "LLEN l");
        compare_add(&s, n <= 2000 ? "LRANGE l 0 -1" : "LRANGE l -100 -1");
        compare_add(&s, "DEL l");
    }
    compare_script(&s);
}
END_TEST

/* One list under a random mix of everything, at a size that wanders over the chunk limits. */
START_TEST(test_list_random)
{
    struct compare_script s = { NULL, 0 };
    static char text[9001];
    for (unsigned i = 0; i < 3000; i++) {
        unsigned long n = rng_below(12), len = rng_below(100) == 0 ? 9000 : rng_below(40);
        memset(text, 'a' + (int)rng_below(4), len);
        text[len] = '\0';
        int at = (int)rng_below(60) - 30;
        switch (n) {
        case 0:
        case 1: compare_add(&s, "RPUSH l '%s' %d", text, at); break;
        case 2:
        case 3: compare_add(&s, "LPUSH l %d '%s'", at, text); break;
        case 4:
            compare_add(&s, "%s l %u", i % 2 == 0 ? "LPOP" : "RPOP", (unsigned)rng_below(5));
            break;
        case 5:
            compare_add(&s, "LINSERT l %s %d '%s'", i % 2 == 0 ? "BEFORE" : "AFTER", at, text);
            break;
        case 6: compare_add(&s, "LSET l %d '%s'", at, text); break;
        case 7: compare_add(&s, "LREM l %d %d", at / 8, (int)rng_below(60) - 30); break;
        case 8:
            compare_add(&s, "LMOVE l %s %s %s", i % 5 == 0 ? "m" : "l", ends[rng_below(2)],
                        ends[rng_below(2)]);
            break;
        case 9: compare_add(&s, "LPOS l %d COUNT 0 RANK %d", at, i % 2 == 0 ? 2 : -2); break;
        case 10: compare_add(&s, "LRANGE l %d %d", at, at + 20); break;
        default:
            if (rng_below(20) == 0) {
                compare_add(&s, "LTRIM l %d %d", at, -at);
            } else {
                compare_add(&s, "LLEN l");
            }
        }
    }
    compare_add(&s, "LRANGE l 0 -1");
    compare_add(&s, "LRANGE m 0 -1");
    compare_script(&s);
}
END_TEST

/* ================= Waiting ================= */

START_TEST(test_list_block_pop)
{
    compare("@b &BLPOP l 0", "RPUSH l a b", "@b <", "LRANGE l 0 -1", "DEL l", "@b &BRPOP x l y 0",
            "RPUSH l a b", "@b <", "@b &BLPOP p q 0", "@c &BLPOP q p 0", "RPUSH q 1 2 3", "@b <",
            "@c <", "LRANGE q 0 -1", "DEL q", "@b &BLPOP q 0", "@c &BLPOP q 0", "RPUSH q 1", "@b <",
            "@c !quiet", "LPUSH q 2", "@c <", "EXISTS q", "@b &BLPOP l 0", "LPUSH l 1 2 3", "@b <",
            "LRANGE l 0 -1", "DEL l", "@b &BRPOP l 0", "MULTI", "LPUSH l 1", "DEL l", "LPUSH l 2",
            "EXEC", "@b <", "EXISTS l", "@b &BLPOP l 0", "MULTI", "LPUSH l a", "DEL l", "EXEC",
            "@b !quiet", "MULTI", "LPUSH l a", "DEL l", "SET l v", "EXEC", "@b !quiet", "DEL l",
            "RPUSH l late", "@b <", "@b &BLPOP l l 0", "RPUSH l twice", "@b <",
            "@b &BLPOP none 0.02", "@b <", "@b &BLMPOP 0 2 g h RIGHT COUNT 2", "RPUSH h 1 2 3",
            "@b <", "LRANGE h 0 -1", "@b &BLMPOP 0.02 1 none LEFT", "@b <", "@b &BLPOP z 0",
            "RPUSH y 1", "RENAME y z", "@b <", "@b &BLPOP z 0", "RPUSH y 2", "COPY y z", "@b <",
            "LRANGE y 0 -1", "@b &BLPOP z 0", "SELECT 1", "RPUSH z 3", "MOVE z 0", "SELECT 0",
            "@b <", "@b &BLPOP z 0", "LMOVE y z LEFT LEFT", "@b <", "@b &BLPOP z 0", "SELECT 2",
            "RPUSH z swapped", "SELECT 0", "SWAPDB 0 2", "@b <", "SWAPDB 0 2", "@b &BLPOP z 0",
            "RPUSH w 2 1", "SORT w STORE z", "@b <", "LRANGE z 0 -1");
}
END_TEST

START_TEST(test_list_block_move)
{
    compare("@b &BLMOVE s d LEFT RIGHT 0", "RPUSH s a b", "@b <", "LRANGE d 0 -1", "LRANGE s 0 -1",
            "DEL s d", "@b &BRPOPLPUSH s d 0", "LPUSH s a", "@b <", "EXISTS s", "LRANGE d 0 -1",
            "DEL d", "@b &BRPOPLPUSH s s 0", "RPUSH s a b", "@b <", "LRANGE s 0 -1", "DEL s",
            "@b &BRPOPLPUSH s d 0", "@c &BLPOP d 0", "RPUSH s through", "@b <", "@c <",
            "EXISTS s d", "@b &BLMOVE c1 c2 LEFT LEFT 0", "@c &BLMOVE c2 c3 LEFT LEFT 0",
            "@d &BRPOP c3 0", "RPUSH c1 chain", "@b <", "@c <", "@d <", "EXISTS c1 c2 c3",
            "SET d str", "@b &BLMOVE s d LEFT LEFT 0", "RPUSH s a", "@b <", "LRANGE s 0 -1",
            "DEL s d", "SET d str", "@b &BRPOPLPUSH s d 0", "@c &BLPOP s 0", "RPUSH s a", "@b <",
            "@c <", "EXISTS s", "DEL d", "@b &BRPOPLPUSH ring ring 0", "RPUSH ring x", "@b <",
            "LRANGE ring 0 -1", "@b &BLMOVE none d LEFT LEFT 0.02", "@b <",
            "@b &BRPOPLPUSH none d 0.02", "@b <", "@b &BRPOPLPUSH s d 0", "MULTI", "RPUSH s a",
            "SET d x", "EXEC", "@b <", "LRANGE s 0 -1", "GET d");
}
END_TEST

/* CLIENT UNBLOCK, a connection that goes, a transaction that watches. */
START_TEST(test_list_block_end)
{
    compare("@b &BLPOP l 0", "@b !close", "RPUSH l stays", "LRANGE l 0 -1", "DEL l",
            "@c &BLPOP l 0", "@d &BLPOP l 0", "@c !close", "RPUSH l a", "@d <", "WATCH l",
            "@d &BLPOP l 0", "RPUSH l a", "@d <", "MULTI", "PING", "EXEC", "WATCH d",
            "@d &BLMOVE s d LEFT LEFT 0", "@e RPUSH s a", "@d <", "MULTI", "PING", "EXEC",
            "@d &BLPOP t 0", "RPUSH t a", "@d <", "@d PING", "SELECT 3", "@d &BLPOP t 0",
            "RPUSH t other", "@d !quiet", "SELECT 0", "RPUSH t own", "@d <");
}
END_TEST

/* What was popped, moved and stored comes back, whoever was served by whom. */
START_TEST(test_list_recovered)
{
    static char big[9001];
    memset(big, 'b', sizeof big - 1);
    char push_big[9100], set_big[9100];
    snprintf(push_big, sizeof push_big, "RPUSH big 1 %s 2", big);
    snprintf(set_big, sizeof set_big, "LSET l 1 %s", big);
    compare_recovered(
        "RPUSH l a b c d e f g h", "LPUSH l 1 2 3", "LPUSHX l x", "RPUSHX nokey x", "LPOP l",
        "RPOP l 2", "LSET l 0 set", set_big, "LINSERT l BEFORE c before", "LINSERT l AFTER c after",
        "LREM l 1 b", "LTRIM l 0 6", push_big, "LMOVE big l LEFT RIGHT", "RPOPLPUSH big other",
        "BLMOVE big other LEFT LEFT 0", "RPUSH mp 1 2 3 4 5", "LMPOP 2 none mp RIGHT COUNT 2",
        "BLMPOP 0 1 mp LEFT", "BLPOP none mp 0", "RPUSH gone 1 2", "LPOP gone 2", "RPUSH gone2 a",
        "LREM gone2 0 a", "RPUSH gone3 a", "LTRIM gone3 1 0", "RPUSH rot 1 2 3",
        "LMOVE rot rot LEFT RIGHT", "LMOVE rot rot LEFT LEFT", "@b &BLPOP w 0", "RPUSH w 1 2 3",
        "@b <", "@b &BLMOVE ws wd LEFT RIGHT 0", "RPUSH ws 1 2", "@b <", "@b &BRPOPLPUSH rs rd 0",
        "@c &BLPOP rd 0", "RPUSH rs through", "@b <", "@c <", "@b &BLMPOP 0 2 q1 q2 LEFT COUNT 2",
        "RPUSH q2 1 2 3", "@b <", "MULTI", "RPUSH m 1 2", "LPOP m", "LMOVE m m2 LEFT LEFT",
        "BLPOP none 0", "EXEC", "SELECT 4", "RPUSH l in4", "LPUSH l 1 2", "@b SELECT 4",
        "@b &BLPOP w 0", "RPUSH w 1 2", "@b <", "SELECT 0", "RPUSH ttl a b", "EXPIRE ttl 1000",
        "RPUSH ttl c", "RPUSH bin \"\\x00\\r\\n\" '' \"\\xff\"", "COPY l l2", "LPOP l2");
}
END_TEST

UNIT_SUITE(list)
{
    TCase *tc = unit_case_slow(suite, "list", 300, test_list_push_pop, test_list_counts,
                               test_list_ranges, test_list_changes, test_list_lpos, test_list_moves,
                               test_list_move_errors, test_list_timeouts, test_list_mpop,
                               test_list_wrong_type, test_list_encoding, test_list_in_multi);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
    tc = unit_case_slow(suite, "list_sizes", 300, test_list_element_sizes, test_list_lengths,
                        test_list_random);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
    tc = unit_case_slow(suite, "list_block", 300, test_list_block_pop, test_list_block_move,
                        test_list_block_end);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
    unit_case(suite, "list_log", test_list_recovered);
}
