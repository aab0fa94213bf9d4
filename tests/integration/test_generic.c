/* test_generic.c -- Commands on keys of any type and on whole databases beside redis-server.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/rng.h"
#include "compare.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const databases[] = {
    "0",
    "1",
    "15",
    "16",
    "-1",
    "2147483647",
    "2147483648",
    "4294967296",
    "-2147483648",
    "-2147483649",
    "9223372036854775807",
    "9223372036854775808",
    "x",
    "''",
    "1.0",
    "' 1'",
    "01",
};

START_TEST(test_generic_del)
{
    compare("DEL nokey", "SET a 1", "DEL a", "MSET a 1 b 2 c 3", "DEL a b a nokey", "EXISTS a b c",
            "EXISTS c c c nokey", "UNLINK c c nokey", "UNLINK nokey", "RPUSH l a b", "UNLINK l",
            "TOUCH nokey", "MSET x 1 y 2", "TOUCH x y x nokey", "TYPE x", "TYPE nokey", "RPUSH l a",
            "TYPE l", "SET '' empty", "EXISTS ''", "TYPE ''", "DEL ''", "SET \"\\x00\\xff\" v",
            "EXISTS \"\\x00\\xff\"", "DEL \"\\x00\\xff\"", "DEL", "UNLINK", "EXISTS", "TOUCH",
            "TYPE", "TYPE a b", "SET p v PX 1", "@b !quiet", "DEL p", "EXISTS p", "TOUCH p",
            "TYPE p", "UNLINK p");
}
END_TEST

START_TEST(test_generic_rename)
{
    compare("RENAME nokey b", "RENAMENX nokey b", "SET a 1", "RENAME a b", "EXISTS a b",
            "RENAME b b", "RENAMENX b b", "RENAME nokey nokey", "RENAMENX nokey nokey",
            "SET c 2 EX 100", "RENAMENX b c", "RENAME c b", "~near=500 PTTL b", "GET b", "SET d 3",
            "RENAME d b", "PTTL b", "SET e 4 EX 100", "RENAMENX e f", "~near=500 PTTL f",
            "RPUSH l a b", "RENAME l b", "TYPE b", "LRANGE b 0 -1", "SET s v", "RENAME s b",
            "GET b", "RENAME b ''", "RENAME '' \"\\x00\"", "GET \"\\x00\"", "RENAME a",
            "RENAMENX a", "RENAME a b c", "SET g 1", "SET h 2", "RENAMENX g h", "GET h",
            "SET old v PX 1", "@b !quiet", "RENAME old new", "RENAMENX old new", "SET live v",
            "SET gone v PX 1", "@b !quiet", "RENAMENX live gone", "PTTL gone", "SET live v",
            "SET gone v PX 1", "@b !quiet", "RENAME live gone", "GET gone");
}
END_TEST

START_TEST(test_generic_copy_move)
{
    compare("COPY nokey b", "SET a 1", "COPY a b", "COPY a b", "COPY a b REPLACE", "COPY a a",
            "COPY a a REPLACE", "COPY a a DB 0", "COPY a a DB 1", "COPY a a DB 1",
            "COPY a a DB 1 REPLACE", "COPY a b DB 0 REPLACE", "COPY a c DB 1 DB 2", "COPY a b FOO",
            "COPY a b DB", "COPY a b REPLACE DB", "COPY a b REPLACE FOO", "COPY a b replace db 3",
            "COPY a b REPLACE REPLACE", "COPY nokey nokey", "COPY nokey a REPLACE", "GET a",
            "SET e v EX 100", "COPY e f", "~near=500 PTTL f", "COPY a f REPLACE", "PTTL f",
            "RPUSH l a b c", "COPY l m", "RPUSH m d", "LRANGE l 0 -1", "LRANGE m 0 -1",
            "COPY l a REPLACE", "LRANGE a 0 -1", "COPY a", "MOVE nokey 1", "MOVE a 1", "EXISTS a",
            "SELECT 1", "LRANGE a 0 -1", "MOVE a 0", "SELECT 0", "SET x 0", "SELECT 1", "SET x 1",
            "MOVE x 0", "GET x", "SELECT 0", "GET x", "MOVE x 0", "MOVE nokey 0", "SET t v EX 100",
            "MOVE t 1", "SELECT 1", "~near=500 PTTL t", "SELECT 0", "MOVE a", "MOVE a 1 2",
            "SET old v PX 1", "@b !quiet", "COPY old n", "MOVE old 5", "SELECT 5", "SET d v PX 1",
            "@b !quiet", "SELECT 0", "SET d v", "COPY d d DB 5", "SELECT 5", "SET d2 v PX 1",
            "@b !quiet", "SELECT 0", "SET d2 v", "MOVE d2 5", "SELECT 5", "GET d", "GET d2",
            "SELECT 0");
}
END_TEST

START_TEST(test_generic_databases)
{
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < countof(databases); i++) {
        const char *d = databases[i];
        compare_add(&s, "SELECT 0");
        compare_add(&s, "SET k v");
        compare_add(&s, "MOVE k %s", d);
        compare_add(&s, "MOVE nokey %s", d);
        compare_add(&s, "SET k v");
        compare_add(&s, "COPY k k2 DB %s", d);
        compare_add(&s, "COPY k k2 REPLACE DB %s", d);
        compare_add(&s, "COPY nokey k2 DB %s FOO", d);
        compare_add(&s, "SELECT %s", d);
        compare_add(&s, "~sort KEYS *");
        for (unsigned j = 0; j < countof(databases); j++) {
            compare_add(&s, "SWAPDB %s %s", d, databases[j]);
        }
        compare_add(&s, "DBSIZE");
        compare_add(&s, "SELECT 0");
        compare_add(&s, "DBSIZE");
    }
    compare_add(&s, "SWAPDB");
    compare_add(&s, "SWAPDB 0");
    compare_add(&s, "SWAPDB 0 1 2");
    compare_add(&s, "FLUSHALL");
    compare_script(&s);
}
END_TEST

START_TEST(test_generic_object)
{
    compare("SET i 12345", "OBJECT ENCODING i", "OBJECT REFCOUNT i", "SET e short",
            "OBJECT ENCODING e", "OBJECT REFCOUNT e", "SET small 9999", "OBJECT REFCOUNT small",
            "SET beyond 10000", "OBJECT REFCOUNT beyond", "SET neg -1", "OBJECT REFCOUNT neg",
            "SET zero 0", "OBJECT REFCOUNT zero", "INCR zero", "OBJECT REFCOUNT zero",
            "OBJECT ENCODING nokey", "OBJECT REFCOUNT nokey", "~near=5 OBJECT IDLETIME nokey",
            "OBJECT FREQ nokey", "~near=5 OBJECT IDLETIME i", "OBJECT FREQ i", "OBJECT",
            "OBJECT FOO", "OBJECT ENCODING", "OBJECT ENCODING a b", "OBJECT FOO i", "OBJECT HELP x",
            "object encoding i", "RPUSH l a", "OBJECT REFCOUNT l", "~near=5 OBJECT IDLETIME l",
            "OBJECT ENCODING l => \"listpack\"");
}
END_TEST

/* DUMP of 10000: the smallest number that no server keeps as one shared object. */
#define TEN_THOUSAND "\"\\x00\\xc1\\x10\\x27\\x0a\\x00\\xe4\\xb7\\xca\\x6c\\x86\\x43\\x25\\xd1\""

/* What a write does to the access clock of the key that it changes or overwrites. */
START_TEST(test_generic_object_freq)
{
    static const char *const writes[] = { "INCR k",
                                          "SET k 50000",
                                          "SET k 50000 KEEPTTL",
                                          "SET k 50000 XX",
                                          "SET k 50000 GET",
                                          "APPEND k 50000",
                                          "GETSET k 50000",
                                          "SETEX k 100 50000",
                                          "PSETEX k 100000 50000",
                                          "MSET k 50000",
                                          "SETRANGE k 0 5",
                                          "INCRBYFLOAT k 1",
                                          "BITOP NOT k src",
                                          "SETNX k 60000",
                                          "SUNIONSTORE k set",
                                          "SORT list STORE k",
                                          "ZUNIONSTORE k 1 zset",
                                          "COPY src k REPLACE",
                                          "RENAME other k",
                                          "PFADD hll a b c d e f g",
                                          "PFADD hll h",
                                          "PFMERGE hll" };
    struct compare_script s = { NULL, 0 };
    compare_add(&s, "CONFIG SET lfu-log-factor 0 lfu-decay-time 0");
    for (unsigned lru = 0; lru < 2; lru++) {
        compare_add(&s, "CONFIG SET maxmemory-policy allkeys-%s", lru ? "lru" : "lfu");
        for (unsigned i = 0; i < countof(writes); i++) {
            compare_add(&s, "FLUSHALL");
            compare_add(&s, "SET other word");
            compare_add(&s, "SET src 12345678");
            compare_add(&s, "SADD set a b");
            compare_add(&s, "RPUSH list 1 2");
            compare_add(&s, "ZADD zset 1 a");
            compare_add(&s, "PFADD hll x y");
            compare_add(&s, "RESTORE k 0 " TEN_THOUSAND " %s", lru ? "IDLETIME 900" : "FREQ 20");
            compare_add(&s, "%s", writes[i]);
            compare_add(&s, "~type %s", writes[i]);
            compare_add(&s, lru ? "~near=5 OBJECT IDLETIME k" : "OBJECT FREQ k");
            compare_add(&s, lru ? "~near=5 OBJECT IDLETIME hll" : "OBJECT FREQ hll");
        }
    }
    compare_add(&s, "RESTORE k 0 " TEN_THOUSAND " REPLACE");
    compare_add(&s, "~near=5 OBJECT IDLETIME k");
    compare_add(&s, "CONFIG SET maxmemory-policy noeviction");
    compare_add(&s, "CONFIG SET lfu-log-factor 10 lfu-decay-time 1");
    compare_script(&s);
}
END_TEST

START_TEST(test_generic_keys)
{
    compare("KEYS *", "DBSIZE", "RANDOMKEY", "MSET one 1 two 2 three 3 four 4 'a b' 5 '' 6 h*llo 7",
            "~sort KEYS *", "~sort KEYS t*", "~sort KEYS *o*", "~sort KEYS ?????", "KEYS one",
            "KEYS nope", "~sort KEYS [ot]*", "~sort KEYS [^ot]*", "~sort KEYS t[a-i]*", "KEYS ''",
            "KEYS h\\\\*llo", "KEYS [", "KEYS \\\\", "KEYS", "KEYS a b", "DBSIZE", "DBSIZE x",
            "RANDOMKEY x", "~type RANDOMKEY", "SCAN x", "SCAN", "SCAN 1.0", "~type SCAN -1",
            "~type SCAN ''", "~type SCAN +0", "~type SCAN 01", "SCAN -", "SCAN +", "SCAN ' 0'",
            "SCAN -18446744073709551615 FOO", "SCAN 18446744073709551616", "SCAN 0 COUNT 0",
            "SCAN 0 COUNT -1", "SCAN 0 COUNT x", "SCAN 0 COUNT", "SCAN 0 MATCH", "SCAN 0 TYPE",
            "SCAN 0 FOO", "SCAN 0 FOO 1", "SCAN 0 COUNT 9223372036854775808", "SCAN x FOO",
            "SCAN 0 COUNT 0 FOO", "SCAN 0 TYPE nope", "SCAN 0 TYPE nope COUNT 100",
            "SCAN 0 MATCH nope COUNT 1000", "FLUSHDB", "SCAN 0", "SCAN -1", "SCAN ''", "SCAN 00",
            "SET only 1", "SCAN 0", "SCAN 0 COUNT 9223372036854775807", "SCAN 0 MATCH * COUNT 100",
            "SCAN 0 MATCH o* TYPE string", "SCAN 0 TYPE STRING", "SCAN 0 TYPE list",
            "SCAN 0 TYPE string TYPE list", "SCAN 0 COUNT 1 COUNT 100",
            "scan 0 match only count 10 type string", "RANDOMKEY", "SET e v PX 1", "@b !quiet",
            "KEYS *", "SCAN 0", "SCAN 0 MATCH *", "KEYS e", "RANDOMKEY", "DBSIZE");
}
END_TEST

START_TEST(test_generic_flush)
{
    compare("MSET a 1 b 2", "SELECT 1", "SET c 3", "FLUSHDB", "DBSIZE", "SELECT 0", "DBSIZE",
            "FLUSHDB ASYNC", "DBSIZE", "SET a 1", "FLUSHDB SYNC", "FLUSHDB FOO",
            "FLUSHDB SYNC SYNC", "FLUSHALL FOO", "FLUSHALL ASYNC SYNC", "SET a 1", "SELECT 1",
            "SET b 1", "FLUSHALL", "DBSIZE", "SELECT 0", "DBSIZE", "FLUSHALL sync",
            "FLUSHALL async", "SET a 1", "WATCH a", "@b FLUSHALL", "MULTI", "PING", "EXEC",
            "WATCH a", "@b FLUSHALL", "MULTI", "PING", "EXEC", "SET a 1", "WATCH a",
            "@b SWAPDB 0 1", "MULTI", "PING", "EXEC", "SWAPDB 0 1", "WATCH a", "@b SWAPDB 0 0",
            "MULTI", "PING", "EXEC", "GET a", "SELECT 1", "SET b 2", "SWAPDB 1 0", "KEYS *",
            "SELECT 0", "KEYS *", "SWAPDB 0 0", "KEYS *", "MULTI", "SET x 1", "SWAPDB 0 2",
            "SET y 1", "EXEC", "~sort KEYS *", "SELECT 2", "~sort KEYS *", "MULTI", "FLUSHDB",
            "SET z 1", "KEYS *", "DBSIZE", "EXEC", "SELECT 0", "SET t v EX 100", "SWAPDB 0 7",
            "SELECT 7", "~near=500 PTTL t", "FLUSHALL");
}
END_TEST

START_TEST(test_generic_in_multi)
{
    compare("MULTI", "SET a 1", "RENAME a b", "COPY b c", "MOVE c 1", "DEL b", "EXISTS a b c",
            "EXEC", "MULTI", "RENAME nokey x", "TYPE a", "KEYS *", "RANDOMKEY", "SCAN 0", "EXEC",
            "SET a 1", "WATCH a", "@b RENAME a z", "MULTI", "PING", "EXEC", "WATCH z",
            "@b COPY z z2", "MULTI", "PING", "EXEC", "WATCH z2", "@b MOVE z2 4", "MULTI", "PING",
            "EXEC", "WATCH n", "@b COPY z n", "MULTI", "PING", "EXEC", "WATCH n", "@b DEL n",
            "MULTI", "PING", "EXEC", "WATCH n", "@b DEL n", "MULTI", "PING", "EXEC", "WATCH z",
            "@b EXPIRE z 100", "MULTI", "PING", "EXEC", "WATCH z", "@b PERSIST z", "MULTI", "PING",
            "EXEC", "WATCH z", "@b PERSIST z", "MULTI", "PING", "EXEC", "WATCH z", "@b TOUCH z",
            "MULTI", "PING", "EXEC");
}
END_TEST

/* A few keys of both types in three databases under a random mix of everything. */
START_TEST(test_generic_random)
{
    static const char *const keys[] = { "a", "b", "c", "d", "e" };
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < 3000; i++) {
        const char *k = keys[rng_below(countof(keys))], *m = keys[rng_below(countof(keys))];
        unsigned db = (unsigned)rng_below(3);
        switch (rng_below(20)) {
        case 0:
        case 1: compare_add(&s, "SET %s %u", k, i); break;
        case 2:
        case 3: compare_add(&s, "RPUSH %s %u x%u", k, i, i); break;
        case 4: compare_add(&s, "DEL %s %s", k, m); break;
        case 5: compare_add(&s, "RENAME %s %s", k, m); break;
        case 6: compare_add(&s, "RENAMENX %s %s", k, m); break;
        case 7: compare_add(&s, "COPY %s %s DB %u %s", k, m, db, i % 2 ? "REPLACE" : ""); break;
        case 8: compare_add(&s, "MOVE %s %u", k, db); break;
        case 9: compare_add(&s, "EXPIRE %s %u", k, 1000 + i); break;
        case 10: compare_add(&s, "PERSIST %s", k); break;
        case 11: compare_add(&s, "~near=500 PTTL %s", k); break;
        case 12: compare_add(&s, "SELECT %u", db); break;
        case 13: compare_add(&s, "~sort KEYS *"); break;
        case 14: compare_add(&s, "DBSIZE"); break;
        case 15: compare_add(&s, "TYPE %s", k); break;
        case 16: compare_add(&s, "EXISTS %s %s", k, m); break;
        case 17: compare_add(&s, "SORT %s ALPHA STORE %s", k, m); break;
        case 18:
            compare_add(&s, rng_below(10) == 0 ? "SWAPDB 0 %u" : "SCAN 0 COUNT 1%u TYPE zset", db);
            break;
        default: compare_add(&s, rng_below(20) == 0 ? "FLUSHDB" : "LMOVE %s %s LEFT RIGHT", k, m);
        }
    }
    compare_add(&s, "SELECT 0");
    compare_script(&s);
}
END_TEST

START_TEST(test_generic_recovered)
{
    compare_recovered("MSET a 1 b 2 c 3 d 4", "DEL a", "UNLINK b nokey", "RENAME c e",
                      "SET x v EX 1000", "RENAME x y", "RENAMENX y z", "RENAMENX z d",
                      "COPY z copy", "COPY d z REPLACE", "RPUSH l 1 2 3", "COPY l m", "RPUSH m 4",
                      "MOVE d 3", "SELECT 3", "SET p v EX 1000", "MOVE p 0", "COPY d q DB 0",
                      "SELECT 0", "SET f v", "SELECT 4", "SET g v", "SELECT 0", "SWAPDB 0 4",
                      "SET h v", "SWAPDB 4 0", "SELECT 6", "SET i v", "FLUSHDB", "SET j v",
                      "SELECT 0", "MULTI", "SET k 1", "COPY k k2 DB 6", "RENAME k k3", "SELECT 6",
                      "SET in6 v", "SELECT 0", "SET in0 v", "EXEC", "SET old v PX 1", "@b !quiet",
                      "SET live v", "RENAME live old", "SET old2 v PX 1", "@b !quiet",
                      "RPUSH old2 a", "EXPIRE l 1000", "PERSIST p");
}
END_TEST

START_TEST(test_generic_flushed_recovered)
{
    compare_recovered("MSET a 1 b 2", "SELECT 1", "SET c 3", "FLUSHALL", "SET d 4", "SELECT 0",
                      "SET e 5", "FLUSHDB", "SET f 6", "MULTI", "FLUSHALL", "SET g 7", "EXEC",
                      "SET h 8", "SWAPDB 0 1", "SET i 9", "SWAPDB 0 1");
}
END_TEST

/* One key among thousands that have expired and are still there. */
START_TEST(test_generic_random_live)
{
    struct server kv;
    server_init(&kv, SERVER_KV);
    server_start(&kv, NULL);
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "DEBUG SET-ACTIVE-EXPIRE 0");
    client_expect(c, "nil", "EVAL \"for i = 1, 3000 do redis.call('SET', i, 'v', 'PX', 1) end\" 0");
    client_expect(c, "+OK", "SET live v");
    client_expect(c, "+OK", "DEBUG SLEEP 0.01"); /* time to expire */
    for (unsigned i = 0; i < 20; i++) {
        client_expect(c, "\"live\"", "RANDOMKEY");
    }
    client_ask(c, "DEL live");
    client_expect(c, "nil", "RANDOMKEY");
    client_close(c);
    server_stop(&kv);
}
END_TEST

UNIT_SUITE(generic)
{
    TCase *tc = unit_case_slow(suite, "generic", 300, test_generic_del, test_generic_rename,
                               test_generic_copy_move, test_generic_databases, test_generic_object,
                               test_generic_object_freq, test_generic_keys, test_generic_flush,
                               test_generic_in_multi, test_generic_random);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
    unit_case(suite, "generic_log", test_generic_recovered, test_generic_flushed_recovered);
    unit_case(suite, "generic_expired", test_generic_random_live);
}
