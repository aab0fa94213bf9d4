/* test_stream.c -- The stream family beside redis-server, waiting, what 7.2 changed.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/rng.h"
#include "compare.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(test_stream_add)
{
    compare(
        "XADD s 1-1 a 1 b 2", "XADD s 1-1 a 1", "XADD s 1-0 a 1", "XADD s 1-* a 1", "XADD s 2 a 1",
        "XADD s 0-0 a 1", "XADD s 0 a 1", "XADD s 3-* a 1", "XADD s 2-* a 1", "XADD s 007 a 1",
        "XADD s +9-5 a 1", "XADD s ' 10-1' a 1", "XADD s - a 1", "XADD s + a 1", "XADD s 5- a 1",
        "XADD s -5 a 1", "XADD s 11-x a 1", "XADD s '' a 1", "XADD s 12-** a 1",
        "XADD s 18446744073709551616-1 a 1", "XADD s 20-18446744073709551615 a 1",
        "XADD s 20-* a 1 => -ERR The ID specified in XADD is equal or smaller than the target "
        "stream top "
        "item",
        "XADD s 21-1 a", "XADD s 21-1 a 1 b", "XADD s 21-1", "XADD s *", "XADD s 21-1 '' ''",
        "XADD s 22-1 \"\\x00\" \"\\xff\" 12 -7", "XLEN s", "XLEN nokey", "XRANGE s - +", "TYPE s",
        "OBJECT ENCODING s", "XADD no NOMKSTREAM 1-1 a 1", "XADD s NOMKSTREAM 30-1 a 1",
        "EXISTS no", "XADD z 0-* a 1", "XADD z 0-* a 1",
        "XADD m 18446744073709551615-18446744073709551614 a 1", "XADD m 18446744073709551615-* a 1",
        "XADD m 18446744073709551615-* a 1", "XADD m * a 1", "SET str v", "XADD str 1-1 a 1",
        "XADD str NOMKSTREAM 1-1 a 1", "XLEN str", "XADD str 0-0 a 1", "XADD str bad a 1",
        "XADD str 1-1 a", "~type XADD auto * a 1", "XLEN auto", "DEL auto");
}
END_TEST

START_TEST(test_stream_trim)
{
    struct compare_script s = { NULL, 0 };
    static const char *const options[] = { "MAXLEN",
                                           "MAXLEN 3",
                                           "MAXLEN = 3",
                                           "MAXLEN ~ 3",
                                           "MAXLEN 0",
                                           "MAXLEN -1",
                                           "MAXLEN x",
                                           "MAXLEN = x",
                                           "MAXLEN ~ 5 LIMIT 3",
                                           "MAXLEN ~ 0 LIMIT 12",
                                           "MAXLEN ~ 0 LIMIT 0",
                                           "MAXLEN ~ 0",
                                           "MAXLEN 5 LIMIT 3",
                                           "MAXLEN 5 LIMIT 0",
                                           "MAXLEN ~ 5 LIMIT -1",
                                           "MAXLEN ~ 5 LIMIT x",
                                           "MAXLEN ~ 5 LIMIT",
                                           "LIMIT 3",
                                           "LIMIT 0",
                                           "MINID 10",
                                           "MINID = 15-1",
                                           "MINID ~ 25",
                                           "MINID x",
                                           "MINID ~ 25 LIMIT 10",
                                           "MINID 1000",
                                           "MINID ~ 1000 LIMIT 0",
                                           "MINID -",
                                           "MAXLEN 3 MINID 3",
                                           "MINID 3 MAXLEN 3",
                                           "MAXLEN 3 MAXLEN 4",
                                           "maxlen ~ 10",
                                           "MAXLEN 1000",
                                           "MINID 0-1",
                                           "NOMKSTREAM",
                                           "foo 3" };
    compare_add(&s, "CONFIG SET stream-node-max-entries 10");
    for (unsigned i = 0; i < 2 * countof(options); i++) {
        const char *option = options[i / 2];
        compare_add(&s, "DEL s");
        for (unsigned id = 1; id <= 34; id++) {
            compare_add(&s, "XADD s %u-1 field value", id);
        }
        if (i % 2 == 0) {
            compare_add(&s, "XDEL s 3-1 13-1 12-1 11-1 34-1");
        }
        compare_add(&s, "XTRIM s %s", option);
        compare_add(&s, "XRANGE s - +");
        compare_add(&s, "XADD s %s 99-1 field value", option);
        compare_add(&s, "XRANGE s - + COUNT 20");
        compare_add(&s, "~near=200 XINFO STREAM s"); /* nodes of a radix tree */
        compare_add(&s, "XLEN s");
        compare_add(&s, "XTRIM nokey %s", option);
        compare_add(&s, "XADD nokey NOMKSTREAM %s 1-1 f v", option);
    }
    compare_add(&s, "SET str v");
    compare_add(&s, "XTRIM str MAXLEN 1");
    compare_add(&s, "XTRIM str MAXLEN x");
    compare_add(&s, "XTRIM s");
    compare_script(&s);
}
END_TEST

START_TEST(test_stream_range)
{
    static const char *const ids[] = { "-",
                                       "+",
                                       "0",
                                       "1",
                                       "1-1",
                                       "2-1",
                                       "2-2",
                                       "(2-1",
                                       "(1-1",
                                       "(3",
                                       "(-",
                                       "(+",
                                       "(",
                                       "5",
                                       "9",
                                       "x",
                                       "''",
                                       "(0-0",
                                       "0-0",
                                       "2-",
                                       "-1",
                                       "18446744073709551615-18446744073709551615",
                                       "(18446744073709551615-18446744073709551615" };
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < 6; i++) {
        compare_add(&s, "XADD s %u-%u f %u", 1 + i / 2, 1 + i % 2, i);
    }
    compare_add(&s, "XADD s 5-5 other x f y");
    compare_add(&s, "XDEL s 2-2");
    compare_add(&s, "SET str v");
    for (unsigned i = 0; i < countof(ids) * countof(ids); i++) {
        const char *a = ids[i / countof(ids)], *b = ids[i % countof(ids)];
        compare_add(&s, "XRANGE s %s %s", a, b);
        compare_add(&s, "XREVRANGE s %s %s", a, b);
        compare_add(&s, "XRANGE s %s %s COUNT 2", a, b);
        compare_add(&s, "XRANGE nokey %s %s COUNT 2", a, b);
        compare_add(&s, "XREVRANGE str %s %s", a, b);
    }
    static const char *const counts[] = { "0",
                                          "-1",
                                          "1",
                                          "-9223372036854775808",
                                          "x",
                                          "1.0",
                                          "9223372036854775807",
                                          "9223372036854775808" };
    for (unsigned i = 0; i < countof(counts); i++) {
        compare_add(&s, "XRANGE s - + COUNT %s", counts[i]);
        compare_add(&s, "XREVRANGE s + - count %s", counts[i]);
        compare_add(&s, "XRANGE nokey - + COUNT %s", counts[i]);
        compare_add(&s, "XREAD COUNT %s STREAMS s 0", counts[i]);
        compare_add(&s, "XRANGE str x + COUNT %s", counts[i]);
    }
    compare_add(&s, "XRANGE s - + COUNT");
    compare_add(&s, "XRANGE s - + COUNT 1 COUNT 2");
    compare_add(&s, "XRANGE s - + LIMIT 1");
    compare_add(&s, "XRANGE s -");
    compare_script(&s);
}
END_TEST

START_TEST(test_stream_delete)
{
    compare("XADD s 1-1 a 1", "XADD s 2-1 a 2", "XADD s 3-1 a 3", "XDEL s 2-1 2-1 9-9",
            "XDEL s 2-1", "XINFO STREAM s", "XDEL s 1-1 x", "XLEN s", "XDEL nokey x",
            "XDEL nokey 1-1", "XDEL s", "XDEL s 3", "XDEL s 3-1", "XDEL s - +", "XDEL s 1",
            "XDEL s 1-1", "EXISTS s", "XINFO STREAM s", "XRANGE s - +", "XADD s 3-1 a 1",
            "XADD s 3-2 a 1", "XINFO STREAM s", "SET str v", "XDEL str 1-1", "XDEL str x");
}
END_TEST

START_TEST(test_stream_setid)
{
    compare("XADD s 1-1 a 1", "XADD s 5-1 a 2", "XSETID s 5-1", "XSETID s 9-9", "XSETID s 4-1",
            "XSETID s x", "XSETID s", "XSETID s 9-9 ENTRIESADDED 1", "XSETID s 9-9 ENTRIESADDED -1",
            "XSETID s 9-9 ENTRIESADDED x", "XSETID s 9-9 ENTRIESADDED 7",
            "XSETID s 9-9 ENTRIESADDED", "XSETID s 9-9 FOO 7",
            "XSETID s 10-1 ENTRIESADDED 8 MAXDELETEDID 3-3", "XSETID s 10-1 MAXDELETEDID 10-2",
            "XSETID s 10-1 MAXDELETEDID x", "XSETID s 10-1 MAXDELETEDID 0-0", "XINFO STREAM s",
            "XADD s 10-1 a 1", "XADD s 10-2 a 1", "XSETID nokey 1-1", "XSETID nokey x", "SET str v",
            "XSETID str 1-1", "XSETID str x", "XGROUP CREATE e g $ MKSTREAM", "XSETID e 5-5",
            "XSETID e 1-1", "XSETID e 0-0", "XSETID e 1-1 ENTRIESADDED 0 MAXDELETEDID 1-1",
            "XINFO STREAM e",
            "XSETID e 0-5 => -ERR The ID specified in XSETID is smaller than current "
            "max_deleted_entry_id");
}
END_TEST

START_TEST(test_stream_read)
{
    compare(
        "XADD s 1-1 a 1", "XADD s 2-1 a 2", "XADD t 1-1 b 1", "XREAD STREAMS s t 0 0",
        "XREAD STREAMS s t 1-1 1-1", "XREAD STREAMS s t 1 9", "XREAD STREAMS s 2-1",
        "XREAD COUNT 1 STREAMS s t 0 0", "XREAD STREAMS nokey 0", "XREAD STREAMS s nokey 0 0",
        "XREAD STREAMS s $", "XREAD STREAMS nokey $", "XREAD STREAMS s >", "XREAD STREAMS s x",
        "XREAD STREAMS s -", "XREAD BLOCK 0 COUNT 3 STREAMS s 0", "XREAD BLOCK 5 STREAMS s $",
        "XREAD BLOCK -1 STREAMS s 0", "XREAD BLOCK x STREAMS s 0", "XREAD BLOCK 1.5 STREAMS s 0",
        "XREAD FOO STREAMS s 0", "XREAD COUNT x STREAMS s 0", "XREAD COUNT 1 BLOCK 1",
        "XREAD COUNT 1 STREAMS", "XREAD GROUP g c STREAMS s 0", "XREAD NOACK STREAMS s 0",
        "XREAD STREAMS s s 0 1-1", "XREAD STREAMS s s $ $", "XDEL s 2-1", "XREAD STREAMS s 1-1",
        "XREAD STREAMS s 0", "SET str v", "XREAD STREAMS str 0", "XREAD STREAMS s str 0 x",
        "XREAD STREAMS s str x 0", "XREAD STREAMS str s 0 x", "XREAD STREAMS str $",
        "XREAD STREAMS s 0 t => -ERR Unbalanced 'xread' list of streams: for each stream key an "
        "ID or '$' must be specified.",
        "XREADGROUP GROUP g c STREAMS s 0 t => -ERR Unbalanced 'xreadgroup' list of streams: for "
        "each stream key an ID or '>' must be specified.",
        "MULTI", "XREAD BLOCK 0 STREAMS s $", "XREAD BLOCK 0 STREAMS s 0", "EXEC");
}
END_TEST

START_TEST(test_stream_groups)
{
    compare(
        "XGROUP CREATE s g 0", "XGROUP CREATE s g $ MKSTREAM", "XGROUP CREATE s g 0",
        "XADD s 1-1 a 1", "XADD s 2-1 a 2", "XADD s 3-1 a 3", "XGROUP CREATE s h 1-1 ENTRIESREAD 1",
        "XGROUP CREATE s i $", "XGROUP CREATE s j x", "XGROUP CREATE s j 0 ENTRIESREAD -2",
        "XGROUP CREATE s j 0 ENTRIESREAD x", "XGROUP CREATE s j 0 ENTRIESREAD",
        "XGROUP CREATE s j 0 FOO", "XGROUP CREATE s", "XGROUP CREATE nokey j 0",
        "XGROUP CREATE nokey j x", "XGROUP CREATE nokey j x MKSTREAM", "XGROUP SETID s g 2-1",
        "XGROUP SETID s g $ ENTRIESREAD 3", "XGROUP CREATE s low -", "XGROUP CREATE s high +",
        "XGROUP CREATE s high 5", "XGROUP SETID s high -", "XGROUP SETID s high +",
        "XINFO GROUPS s", "XGROUP SETID s nope 0", "XGROUP SETID s g x", "XGROUP SETID s nope x",
        "XGROUP SETID nokey g 0", "XGROUP CREATE s t (1 MKSTREAM MKSTREAM ENTRIESREAD 8",
        "XGROUP CREATE s t 1 ENTRIESREAD 8 ENTRIESREAD 8",
        "XGROUP CREATE nokey t 1 ENTRIESREAD 8 ENTRIESREAD 8",
        "XGROUP SETID s g 1 ENTRIESREAD 8 ENTRIESREAD 8",
        "XGROUP SETID s nope (1 ENTRIESREAD 8 ENTRIESREAD 8", "XGROUP SETID s g 0 MKSTREAM",
        "XGROUP SETID s g 1-1 ENTRIESREAD 1", "XINFO GROUPS s", "XGROUP CREATECONSUMER s g alice",
        "XGROUP CREATECONSUMER s g alice", "XGROUP CREATECONSUMER s nope alice",
        "XGROUP CREATECONSUMER nokey g alice", "XGROUP DELCONSUMER s g bob",
        "XGROUP DELCONSUMER s g alice", "XGROUP DELCONSUMER s nope alice", "XGROUP DESTROY s nope",
        "XGROUP DESTROY s i", "XGROUP DESTROY nokey i", "XGROUP FOO s", "XGROUP CREATE s a 0 b c",
        "SET str v", "XGROUP CREATE str g 0", "XGROUP DESTROY str g", "XGROUP SETID str g 0",
        "XINFO GROUPS s", "XINFO GROUPS nokey", "XINFO GROUPS str", "XINFO CONSUMERS s nope",
        "XINFO CONSUMERS nokey g", "XINFO STREAM nokey", "XINFO STREAM str", "XINFO STREAM s FOO",
        "XINFO STREAM s FULL COUNT", "XINFO STREAM s FULL COUNT x", "XINFO STREAM s FULL COUNT 1",
        "XINFO STREAM s FULL COUNT 0", "XAUTOCLAIM nokey g c 0 0 COUNT 0",
        "XAUTOCLAIM nokey g c x 0", "XAUTOCLAIM nokey g c 0 x", "XAUTOCLAIM nokey g c 0 0",
        "XAUTOCLAIM str g c 0 0 COUNT 0", "XAUTOCLAIM str g c 0 0", "XINFO STREAM s FULL COUNT -1",
        "XINFO STREAM s FULL x 1", "XINFO STREAM s FULL COUNT 1 2", "XINFO STREAM s FULL",
        "XINFO FOO", "XINFO STREAM");
}
END_TEST

/* A group, a consumer or a stream that is called like the word in front of the streams. */
START_TEST(test_stream_words)
{
    compare("XADD k 1-1 a 1", "XADD c 1-1 a 2", "XADD streams 1-1 a 3", "XGROUP CREATE k streams 0",
            "XGROUP CREATE k g 0", "XGROUP CREATE streams g 0",
            "XREADGROUP COUNT 1 GROUP streams c STREAMS k >",
            "XREADGROUP NOACK GROUP g streams STREAMS k >",
            "XREADGROUP GROUP g streams COUNT 5 STREAMS streams >", "XPENDING k streams",
            "XPENDING k g", "XPENDING streams g", "XREAD STREAMS streams 0",
            "XREAD COUNT 1 STREAMS STREAMS streams 0 0",
            "COMMAND GETKEYS XREAD COUNT 1 STREAMS a b 0 0",
            "COMMAND GETKEYS XREADGROUP GROUP g c STREAMS a b 0 0",
            "COMMAND GETKEYS XREADGROUP GROUP g c STREAMS a b 1",
            "COMMAND GETKEYS XREAD BLOCK STREAMS a 0",
            "COMMAND GETKEYS XREADGROUP GROUP streams c COUNT streams a 0",
            "COMMAND GETKEYS XREAD FOO STREAMS a 0", "COMMAND GETKEYS XREAD STREAMS a b 0",
            "COMMAND GETKEYS XREAD COUNT 1 STREAMS a", "XREAD FOO STREAMS a 0");
}
END_TEST

START_TEST(test_stream_pending)
{
    compare(
        "XADD s 1-1 a 1", "XADD s 2-1 a 2", "XADD s 3-1 a 3", "XADD s 4-1 a 4", "XADD s 5-1 a 5",
        "XGROUP CREATE s g 0", "XPENDING s g", "XREADGROUP GROUP g alice COUNT 2 STREAMS s >",
        "XREADGROUP GROUP g bob COUNT 1 STREAMS s >",
        "XREADGROUP GROUP g bob NOACK COUNT 1 STREAMS s >", "XREADGROUP GROUP g bob STREAMS s 0",
        "XREADGROUP GROUP g bob COUNT 1 STREAMS s 0-0", "XREADGROUP GROUP g alice STREAMS s 1-1",
        "XREADGROUP GROUP g alice STREAMS s 9", "XINFO GROUPS s", "XPENDING s g",
        "~near=1000 XPENDING s g - + 10", "~near=1000 XPENDING s g - + 1",
        "~near=1000 XPENDING s g - + 10 alice", "XPENDING s g - + 10 nobody",
        "~near=1000 XPENDING s g (1-1 (3-1 10", "~near=1000 XPENDING s g 2 3 10",
        "~near=1000 XPENDING s g IDLE 0 - + 10", "XPENDING s g IDLE 100000 - + 10",
        "XPENDING s g IDLE x - + 10", "XPENDING s g IDLE 1 - +", "XPENDING s g - +",
        "XPENDING s g - + x", "XPENDING s g - + -1", "XPENDING s g - + 0", "XPENDING s g x + 1",
        "XPENDING s g - x 1", "~near=1000 XPENDING s g - + 1 alice bob",
        "XPENDING s g - + 1 alice bob foo x", "XPENDING s nope", "XPENDING nokey g",
        "XPENDING s nope - + x", "XPENDING s g IDLE 1 - + 10 alice foo bar", "XACK s g 1-1 1-1 9-9",
        "XACK s g x", "XACK s g 2-1 x", "XACK s nope x", "XACK nokey g x", "XACK s g",
        "XPENDING s g", "XDEL s 2-1", "XREADGROUP GROUP g alice STREAMS s 0",
        "XGROUP DELCONSUMER s g alice", "XPENDING s g", "XREADGROUP GROUP g nobody STREAMS s $",
        "XREADGROUP GROUP nope c STREAMS s >", "XREADGROUP GROUP g c STREAMS nokey >",
        "XREADGROUP GROUP g c STREAMS s nokey > >", "XREADGROUP GROUP g c STREAMS s x",
        "XREADGROUP COUNT 1 NOACK STREAMS s >", "XREADGROUP COUNT 1 GROUP g STREAMS s >",
        "XREADGROUP GROUP g c COUNT 1 BLOCK 1 NOACK x", "XGROUP SETID s g 0",
        "XREADGROUP GROUP g carol STREAMS s >", "~near=1000 XPENDING s g - + 9",
        "XGROUP DESTROY s g", "XPENDING s g", "SET str v", "XPENDING str g", "XACK str g 1-1",
        "XREADGROUP GROUP g c STREAMS str >", "DEBUG DIGEST-VALUE nokey");
}
END_TEST

START_TEST(test_stream_claim)
{
    compare("XADD s 1-1 a 1", "XADD s 2-1 a 2", "XADD s 3-1 a 3", "XADD s 4-1 a 4",
            "XADD s 5-1 a 5", "XGROUP CREATE s g 0", "XGROUP CREATECONSUMER s g bob",
            "XGROUP CREATECONSUMER s g carol", "XREADGROUP GROUP g alice COUNT 3 STREAMS s >",
            "XCLAIM s g bob 0 1-1", "XCLAIM s g bob 100000 2-1", "XCLAIM s g bob 0 4-1",
            "XCLAIM s g bob 0 4-1 FORCE", "XCLAIM s g bob 0 9-9 FORCE",
            "XCLAIM s g bob 0 2-1 JUSTID", "XCLAIM s g bob 0 2-1 RETRYCOUNT 7",
            "XCLAIM s g carol 0 1-1 2-1 3-1", "~near=1000 XPENDING s g - + 10",
            "XCLAIM s g carol 0 1-1 IDLE 50000", "XCLAIM s g carol 0 2-1 TIME 1000 JUSTID",
            "XCLAIM s g carol 0 3-1 TIME 99999999999999", "XCLAIM s g carol 0 3-1 IDLE -5",
            "XCLAIM s g carol 0 3-1 TIME -5", "~near=1000 XPENDING s g - + 10", "XPENDING s g",
            "XCLAIM s g carol 0 1-1 IDLE x", "XCLAIM s g carol 0 1-1 TIME x",
            "XCLAIM s g carol 0 1-1 RETRYCOUNT x", "XCLAIM s g carol 0 1-1 LASTID x",
            "XCLAIM s g carol 0 1-1 LASTID", "XCLAIM s g carol 0 1-1 FOO", "XCLAIM s g carol x 1-1",
            "XCLAIM s g carol -1 1-1", "XCLAIM s g carol 0 x", "XCLAIM s g carol 0 1-1 2-1 FOO 3-1",
            "XCLAIM s nope carol 0 1-1", "XCLAIM nokey g carol x 1-1",
            "XCLAIM s g carol 0 1-1 LASTID 9-9", "XINFO GROUPS s",
            "XCLAIM s g carol 0 1-1 LASTID 2-2", "XINFO GROUPS s", "XDEL s 1-1",
            "XCLAIM s g bob 0 1-1", "XPENDING s g", "XDEL s 2-1",
            "XAUTOCLAIM s g alice 0 0 COUNT 1", "XAUTOCLAIM s g alice 0 0 COUNT 2",
            "XAUTOCLAIM s g alice 0 (3-1", "XAUTOCLAIM s g alice 0 - COUNT 1 JUSTID",
            "XAUTOCLAIM s g alice 0 +", "XAUTOCLAIM s g alice 100000 0",
            "XAUTOCLAIM s g alice 0 9-9", "XAUTOCLAIM s g alice x 0", "XAUTOCLAIM s g alice 0 x",
            "XAUTOCLAIM s g alice 0 0 COUNT 0", "XAUTOCLAIM s g alice 0 0 COUNT x",
            "XAUTOCLAIM s g alice 0 0 COUNT 9223372036854775807", "XAUTOCLAIM s g alice 0 0 FOO",
            "XAUTOCLAIM s g alice 0 (18446744073709551615-18446744073709551615",
            "XAUTOCLAIM s nope a 0 0", "XAUTOCLAIM nokey g a 0 0", "XPENDING s g",
            "~near=1000 XPENDING s g - + 10", "SET str v", "XCLAIM str g c 0 1-1",
            "XAUTOCLAIM str g c 0 0");
}
END_TEST

/* How often each entry was delivered, without the time that two servers do not have in common. */
#define DELIVERIES                                                                                \
    "EVAL \"local n = {} for i, p in ipairs(redis.call('XPENDING', KEYS[1], 'g', '-', '+', 10)) " \
    "do n[i] = p[4] end return n\" 1 s"

START_TEST(test_stream_claim_counts)
{
    compare("XADD s 1-1 a 1", "XADD s 2-1 a 2", "XADD s 3-1 a 3", "XADD s 4-1 a 4",
            "XADD s 5-1 a 5", "XADD s 6-1 a 6", "XGROUP CREATE s g 0",
            "XREADGROUP GROUP g alice COUNT 3 STREAMS s >", DELIVERIES,
            "XREADGROUP GROUP g alice COUNT 2 STREAMS s 0", DELIVERIES, "XCLAIM s g bob 0 1-1",
            "XCLAIM s g bob 0 2-1 JUSTID", "XCLAIM s g bob 0 3-1 FORCE", DELIVERIES,
            "XCLAIM s g bob 0 4-1 FORCE", "XCLAIM s g bob 0 5-1 FORCE JUSTID", DELIVERIES,
            "XCLAIM s g bob 0 4-1 5-1 6-1 FORCE", DELIVERIES, "XACK s g 4-1 5-1 6-1",
            "XCLAIM s g bob 0 4-1 FORCE RETRYCOUNT 0", "XCLAIM s g bob 0 5-1 FORCE RETRYCOUNT -1",
            "XCLAIM s g bob 0 6-1 FORCE RETRYCOUNT 7 JUSTID", DELIVERIES,
            "XCLAIM s g bob 0 1-1 2-1 RETRYCOUNT 9", "XCLAIM s g bob 0 2-1 RETRYCOUNT -1",
            DELIVERIES, "XAUTOCLAIM s g carol 0 0 COUNT 2", DELIVERIES,
            "XAUTOCLAIM s g carol 0 0 JUSTID", DELIVERIES);
}
END_TEST

/* What is beside the entries can change without a watching client being told. */
START_TEST(test_stream_watch)
{
    struct compare_script s = { NULL, 0 };
    static const char *const commands[] = {
        "XGROUP CREATE s h 0",
        "XGROUP CREATE n h 0 MKSTREAM",
        "XGROUP SETID s g 0",
        "XGROUP DESTROY s g",
        "XGROUP CREATECONSUMER s g",
        "XGROUP CREATECONSUMER s g d",
        "XGROUP DELCONSUMER s g c",
        "XACK s g 1-1",
        "XACK s g 9-9",
        "XREADGROUP GROUP g c STREAMS s >",
        "XCLAIM s g d 0 1-1",
        "XREADGROUP GROUP g c STREAMS s 0",
        "XCLAIM s g c 0 2-1 FORCE",
        "XREADGROUP GROUP g d NOACK STREAMS s >",
        "XAUTOCLAIM s g d 0 0",
        "XCLAIM s g c 0 1-1 LASTID 7-7",
        "XDEL s 1-1",
        "XDEL s 9-9",
        "XTRIM s MAXLEN 1",
        "XTRIM s MAXLEN 10",
        "XSETID s 9-9",
        "XADD s 3-1 f v",
    };
    for (unsigned i = 0; i < countof(commands); i++) {
        compare_add(&s, "DEL s n");
        compare_add(&s, "XADD s 1-1 f v");
        compare_add(&s, "XADD s 2-1 f v");
        compare_add(&s, "XGROUP CREATE s g 0");
        compare_add(&s, "XREADGROUP GROUP g c COUNT 1 STREAMS s >");
        compare_add(&s, "@w WATCH s n");
        compare_add(&s, "%s", commands[i]);
        compare_add(&s, "@w MULTI");
        compare_add(&s, "@w PING");
        compare_add(&s, "@w EXEC");
    }
    compare_script(&s);
}
END_TEST

/* Many nodes, entries with the same and with other fields, whatever is deleted in between. What the
 * group has read and its lag are left out: 7.0.15 miscounts both when entries went unread. */
START_TEST(test_stream_random)
{
    static const char groups[] = "local r = redis.call('XINFO', 'GROUPS', 's') for _, g in "
                                 "ipairs(r) do g[10] = 0 g[12] = 0 end return r";
    struct compare_script s = { NULL, 0 };
    compare_add(&s, "CONFIG SET stream-node-max-entries 7");
    compare_add(&s, "XGROUP CREATE s g 0 MKSTREAM");
    compare_add(&s, "XREADGROUP GROUP g c STREAMS s 0");
    for (unsigned i = 1; i <= 1500; i++) {
        unsigned a = (unsigned)rng_below(i), n = (unsigned)rng_below(30);
        switch (rng_below(14)) {
        case 0: compare_add(&s, "XDEL s %u-1 %u-1", a, a + 1); break;
        case 1: compare_add(&s, "XRANGE s %u (%u", a, a + n); break;
        case 2: compare_add(&s, "XREVRANGE s + %u COUNT %u", a, n); break;
        case 3: compare_add(&s, "XTRIM s MAXLEN %u", 50 + n); break;
        case 4: compare_add(&s, "XTRIM s MAXLEN ~ %u", 50 + n); break;
        case 5: compare_add(&s, "XTRIM s MINID ~ %u LIMIT %u", a, n); break;
        case 6: compare_add(&s, "XREAD COUNT %u STREAMS s %u", n, a); break;
        case 7: compare_add(&s, "XREADGROUP GROUP g c COUNT %u STREAMS s >", n); break;
        case 8: compare_add(&s, "XACK s g %u-1 %u-1", a, a / 2); break;
        case 9: compare_add(&s, "~near=500 XINFO STREAM s"); break;
        case 10: compare_add(&s, "EVAL \"%s\" 0", groups); break;
        case 11: compare_add(&s, "XPENDING s g"); break;
        case 12: compare_add(&s, "XADD s %u-1 f%u v g w", i, n % 3); break;
        default: break;
        }
        compare_add(&s, "XADD s %u-2 field %u other x", i, n);
    }
    compare_add(&s, "XRANGE s - +");
    compare_script(&s);
}
END_TEST

/* ---- Waiting ---- */

START_TEST(test_stream_block)
{
    compare("@a &XREAD BLOCK 0 STREAMS s $", "XADD s 1-1 a 1", "@a <",
            "@a &XREAD BLOCK 0 STREAMS s t $ 0", "XADD t 1-1 b 1", "@a <",
            "@a &XREAD BLOCK 0 STREAMS s $", "@b &XREAD BLOCK 0 COUNT 1 STREAMS s 1-1",
            "XADD s 2-1 a 2", "@a <", "@b <", "@a &XREAD BLOCK 0 STREAMS s 5", "XADD s 4-1 a 2",
            "@a !quiet", "XADD s 6-1 a 2", "@a <", "@a &XREAD BLOCK 0 STREAMS u $", "LPUSH u x",
            "@a !quiet", "DEL u", "@a !quiet", "XADD u 1-1 a 1", "@a <",
            "@a &XREAD BLOCK 0 STREAMS u $", "MULTI", "XADD u 2-1 a 1", "DEL u", "EXEC",
            "@a !quiet", "XADD u 1-2 a 1", "@a <", "XREAD BLOCK 20 STREAMS u $",
            "@a &XREAD BLOCK 0 STREAMS v 0-5", "SET w x", "RENAME w v", "DEL v", "XADD w 1-1 a 1",
            "RENAME w v", "@a <", "XGROUP CREATE s g $", "XGROUP CREATECONSUMER s g c1",
            "XGROUP CREATECONSUMER s g c2", "XGROUP CREATECONSUMER s g c3",
            "@a &XREADGROUP GROUP g c1 BLOCK 0 STREAMS s >",
            "@b &XREADGROUP GROUP g c2 BLOCK 0 STREAMS s >", "XADD s 7-1 a 1", "@a <", "@b !quiet",
            "XADD s 8-1 a 1", "@b <", "XPENDING s g",
            "@a &XREADGROUP GROUP g c1 BLOCK 0 NOACK STREAMS s >", "XADD s 9-1 a 1", "@a <",
            "XPENDING s g", "XREADGROUP GROUP g c3 BLOCK 20 STREAMS s >",
            "XREADGROUP GROUP g c1 BLOCK 0 STREAMS s 0");
}
END_TEST

/* What waits for a group learns what became of it (7.2: by the command's own error). */
static struct server kv;

static void expect_gone(struct client *c, struct client *w, const char *command, const char *error)
{
    client_expect(c, "1", "DEL s t");
    client_line(c, "XGROUP CREATE s g $ MKSTREAM");
    client_send(w, "XREADGROUP GROUP g alice BLOCK 0 STREAMS s >");
    client_expect_nothing(w, 60);
    char line[300];
    snprintf(line, sizeof line, "%s", command);
    for (char *one = strtok(line, ";"); one != NULL; one = strtok(NULL, ";")) {
        client_ask(c, "%s", one);
    }
    ck_assert_msg(strncmp(client_read_line(w), error, strlen(error)) == 0, "%s: %s", command,
                  client_last_line(w));
    client_ask(c, "SELECT 0");
    client_ask(c, "FLUSHALL");
    client_ask(c, "SET t x");
}

START_TEST(test_stream_gone)
{
    static const char nogroup[] =
        "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with "
        "GROUP option";
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "4");
    struct client *c = server_connect(&kv), *w = server_connect(&kv);
    client_expect(c, "+OK", "SET t x");
    expect_gone(c, w, "DEL s", nogroup);
    expect_gone(c, w, "UNLINK s", nogroup);
    expect_gone(c, w, "FLUSHALL", nogroup);
    expect_gone(c, w, "FLUSHDB ASYNC", nogroup);
    expect_gone(c, w, "SWAPDB 0 1", nogroup);
    expect_gone(c, w, "RENAME s other", nogroup);
    expect_gone(c, w, "MOVE s 1", nogroup);
    expect_gone(c, w, "XGROUP DESTROY s g", nogroup);
    expect_gone(c, w, "PEXPIRE s 30", nogroup);
    expect_gone(c, w, "MULTI;DEL s;XADD s 1-1 a 1;EXEC", nogroup);
    expect_gone(c, w, "SET s x", "-WRONGTYPE");
    expect_gone(c, w, "MULTI;DEL s;LPUSH s x;EXEC", "-WRONGTYPE");
    expect_gone(c, w, "SET t y;RENAME t s", "-WRONGTYPE");
    expect_gone(c, w, "XADD s 5-5 a 1", "[[\"s\", [[\"5-5\", [\"a\", \"1\"]]]]]");
    expect_gone(c, w, "MULTI;DEL s;XGROUP CREATE s g 0 MKSTREAM;XADD s 1-1 a 1;EXEC",
                "[[\"s\", [[\"1-1\", [\"a\", \"1\"]]]]]");
    client_expect(c, "+OK", "XGROUP CREATE s g $ MKSTREAM");
    client_send(w, "XREADGROUP GROUP g alice BLOCK 0 STREAMS s >");
    client_expect_nothing(w, 60);
    client_expect(c, "nil*", "XREADGROUP GROUP g bob STREAMS s >"); /* this wakes nobody */
    client_expect(c, "0", "XACK s g 1-1");
    client_expect(c, "2",
                  "EVAL 'redis.call(\"XGROUP\", \"CREATE\", \"s\", \"h\", \"0\"); return "
                  "#redis.call(\"XINFO\", \"GROUPS\", \"s\")' 1 s");
    client_expect_nothing(w, 60);
    client_expect(c, "\"1-1\"", "XADD s 1-1 a 1");
    client_expect_next(w, "[[\"s\", [[\"1-1\", [\"a\", \"1\"]]]]]");
    client_close(w);
    client_close(c);
    server_stop(&kv);
}
END_TEST

/* ---- What redis-server 7.0.15 does not have ---- */

START_TEST(test_stream_later)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv);
    client_expect(c, "\"1-1\"", "XADD s 1-1 a 1");
    client_expect(c, "\"2-1\"", "XADD s 2-1 a 2");
    client_expect(c, "[[\"s\", [[\"2-1\", [\"a\", \"2\"]]]]]", "XREAD COUNT 5 STREAMS s +");
    client_expect(c, "nil*", "XREAD STREAMS nokey +");
    client_expect(c, "+OK", "XGROUP CREATE s g $");
    client_expect_error(c, "ERR The + ID is meaningless", "XREADGROUP GROUP g c STREAMS s +");
    client_expect(c, "[]", "XINFO CONSUMERS s g");
    client_expect(c, "nil*", "XREADGROUP GROUP g c STREAMS s >"); /* makes its consumer */
    client_expect(c, "[]", "XCLAIM s g d 0 1-1");
    client_expect(c, "[\"0-0\", [], []]", "XAUTOCLAIM s g e 0 0");
    client_expect(c, "3", "EVAL 'return #redis.call(\"XINFO\", \"CONSUMERS\", \"s\", \"g\")' 1 s");
    client_expect(c, "\"3-1\"", "XADD s 3-1 a 3");
    client_expect(c, "-1",
                  "EVAL 'return redis.call(\"XINFO\", \"CONSUMERS\", \"s\", \"g\")[1][8]' 1 s");
    client_expect(c, "[[\"s\", [[\"3-1\", [\"a\", \"3\"]]]]]", "XREADGROUP GROUP g c STREAMS s >");
    client_expect(
        c, "1",
        "EVAL 'local i = redis.call(\"XINFO\", \"CONSUMERS\", \"s\", \"g\")[1] if i[7] == "
        "\"inactive\" and i[8] >= 0 then return 1 end return 0' 1 s");
    client_hello(c, 3);
    client_expect(c, "{\"s\": [[\"2-1\", [\"a\", \"2\"]], [\"3-1\", [\"a\", \"3\"]]]}",
                  "XREAD STREAMS s 1-1");
    client_expect(c, "nil", "XREAD STREAMS s 9-9");
    client_close(c);
    server_stop(&kv);
}
END_TEST

/* What was deleted or trimmed before a group read it does not stay in its lag: as since 7.2.6. */
START_TEST(test_stream_unread)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "1");
    struct client *c = server_connect(&kv);
    for (unsigned i = 1; i <= 4; i++) {
        (void)client_line(c, "XADD s %u-1 a 1", i);
    }
    client_expect(c, "+OK", "XGROUP CREATE s g 0");
    (void)client_line(c, "XREADGROUP GROUP g c COUNT 2 STREAMS s >");
    client_expect(c, "1", "XDEL s 3-1");
    client_expect(c, "[[\"s\", [[\"4-1\", [\"a\", \"1\"]]]]]", "XREADGROUP GROUP g c STREAMS s >");
    client_expect(c,
                  "[[\"name\", \"g\", \"consumers\", 1, \"pending\", 3, \"last-delivered-id\", "
                  "\"4-1\", \"entries-read\", 4, \"lag\", 0]]",
                  "XINFO GROUPS s");
    for (unsigned i = 5; i <= 7; i++) {
        (void)client_line(c, "XADD s %u-1 a 1", i);
    }
    client_expect(c, "5", "XTRIM s MAXLEN 1");
    client_expect(c,
                  "[[\"name\", \"g\", \"consumers\", 1, \"pending\", 3, \"last-delivered-id\", "
                  "\"4-1\", \"entries-read\", 4, \"lag\", 1]]",
                  "XINFO GROUPS s");
    client_expect(c, "[[\"s\", [[\"7-1\", [\"a\", \"1\"]]]]]",
                  "XREADGROUP GROUP g c NOACK STREAMS s >");
    client_expect(c,
                  "[[\"name\", \"g\", \"consumers\", 1, \"pending\", 3, \"last-delivered-id\", "
                  "\"7-1\", \"entries-read\", 7, \"lag\", 0]]",
                  "XINFO GROUPS s");
    client_close(c);
    server_stop(&kv);
}
END_TEST

UNIT_SUITE(integration_stream)
{
    TCase *tc = unit_case_slow(suite, "beside redis", 300, test_stream_add, test_stream_trim,
                               test_stream_range, test_stream_delete, test_stream_setid,
                               test_stream_read, test_stream_words, test_stream_groups,
                               test_stream_pending, test_stream_claim, test_stream_claim_counts,
                               test_stream_watch, test_stream_random, test_stream_block);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
    unit_case(suite, "later versions", test_stream_later, test_stream_unread);
    unit_case(suite, "gone", test_stream_gone);
}
