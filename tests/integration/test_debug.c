/* test_debug.c -- DEBUG, MEMORY, WAIT and WAITAOF: against redis-server where the replies are
 * fixed, and what they promise of kv. SPDX-License-Identifier: BSD-3-Clause */
#include "compare.h"
#include "unit.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

SERVER_FIXTURE("--threads", "4")

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void sleep_ms(unsigned ms)
{
    usleep(ms * 1000);
}

/* A reply kept over the next one; to be freed. */
static char *ask(struct client *c, const char *line)
{
    return strdup(client_line(c, "%s", line));
}

/* ---- Replies as redis-server gives them ---- */

START_TEST(test_digests)
{
    compare("DEBUG DIGEST", "SET int 12345", "SET short abc", "SET neg -9223372036854775808",
            "SETRANGE long 5000 x", "APPEND int 6", "SET empty ''", "DEBUG DIGEST",
            "RPUSH list a 1 -5 '' 123456789012 4.5", "RPUSH one x", "DEBUG DIGEST",
            "DEBUG DIGEST-VALUE int short neg long empty list one nokey", "EXPIRE short 10000",
            "DEBUG DIGEST-VALUE short", "DEBUG DIGEST", "EXPIRE short 20000", "DEBUG DIGEST",
            "SELECT 3", "SET other 1", "DEBUG DIGEST", "SELECT 9", "RPUSH list 1", "DEBUG DIGEST",
            "SWAPDB 3 9", "DEBUG DIGEST", "FLUSHALL", "DEBUG DIGEST", "SELECT 0",
            "DEBUG DIGEST-VALUE", "DEBUG DIGEST x");
}
END_TEST

/* Every way a key can come to its value. */
START_TEST(test_digest_after_random_writes)
{
    struct compare_script s = { NULL, 0 };
    uint64_t seed = unit_seed();
    for (unsigned i = 0; i < 800; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        unsigned r = (unsigned)(seed >> 33), key = r / 64 % 40, v = r / 8192 % 3000;
        switch (r % 10) {
        case 0: compare_add(&s, "SET k%u %u", key, v); break;
        case 1: compare_add(&s, "SET k%u value-%u EX 5000", key, v); break;
        case 2: compare_add(&s, "APPEND k%u .%u", key, v); break;
        case 3: compare_add(&s, "SETRANGE k%u %u xyz", key, v); break;
        case 4: compare_add(&s, "RPUSH l%u a%u %u %u", key, v, v, r); break;
        case 5: compare_add(&s, "LPOP l%u %u", key, v % 3 + 1); break;
        case 6: compare_add(&s, "SELECT %u", key % 3); break;
        case 7: compare_add(&s, "COPY k%u k%u DB %u", key, v % 40, v % 3); break;
        case 8: compare_add(&s, "MOVE k%u %u", key, v % 3); break;
        default: compare_add(&s, "RENAME k%u k%u", key, v % 40); break;
        }
        if (i % 50 == 49) {
            compare_add(&s, "DEBUG DIGEST");
        }
    }
    compare_add(&s, "SELECT 0");
    compare_script(&s);
}
END_TEST

START_TEST(test_protocol)
{
    compare("DEBUG PROTOCOL string", "DEBUG PROTOCOL integer", "DEBUG PROTOCOL double",
            "DEBUG PROTOCOL bignum", "DEBUG PROTOCOL null", "DEBUG PROTOCOL array",
            "DEBUG PROTOCOL set", "DEBUG PROTOCOL map", "DEBUG PROTOCOL push",
            "DEBUG PROTOCOL verbatim", "DEBUG PROTOCOL true", "DEBUG PROTOCOL false",
            "DEBUG PROTOCOL True", "DEBUG PROTOCOL other", "DEBUG PROTOCOL");
}
END_TEST

START_TEST(test_words_and_errors)
{
    compare("DEBUG", "DEBUG nothing", "DEBUG OBJECT", "DEBUG OBJECT nokey", "DEBUG LISTPACK nokey",
            "DEBUG QUICKLIST nokey", "SET k v", "DEBUG LISTPACK k", "DEBUG QUICKLIST k",
            "DEBUG HTSTATS", "DEBUG HTSTATS 16", "DEBUG HTSTATS -1", "DEBUG HTSTATS x",
            "DEBUG HTSTATS-KEY nokey", "DEBUG HTSTATS-KEY k", "DEBUG ERROR 'ERR as I said'",
            "DEBUG ERROR", "DEBUG LOG hello", "DEBUG LOG", "DEBUG SLEEP x", "DEBUG SLEEP 0",
            "DEBUG SLEEP -1", "DEBUG SLEEP", "DEBUG POPULATE x", "DEBUG POPULATE -1",
            "DEBUG POPULATE", "DEBUG POPULATE 1 p x", "DEBUG RELOAD x", "DEBUG PAUSE-CRON 1",
            "DEBUG PAUSE-CRON 0", "DEBUG PAUSE-CRON", "DEBUG QUICKLIST-PACKED-THRESHOLD 5gb",
            "DEBUG QUICKLIST-PACKED-THRESHOLD x", "DEBUG QUICKLIST-PACKED-THRESHOLD 10b",
            "DEBUG QUICKLIST-PACKED-THRESHOLD 0", "DEBUG REPLYBUFFER RESIZING 0",
            "DEBUG REPLYBUFFER RESIZING 1", "DEBUG REPLYBUFFER PEAK-RESET-TIME never",
            "DEBUG REPLYBUFFER PEAK-RESET-TIME 100", "DEBUG REPLYBUFFER PEAK-RESET-TIME reset",
            "DEBUG REPLYBUFFER PEAK-RESET-TIME x", "DEBUG REPLYBUFFER x y", "DEBUG REPLYBUFFER x",
            "DEBUG SET-SKIP-CHECKSUM-VALIDATION 1", "DEBUG SET-SKIP-CHECKSUM-VALIDATION 0",
            "DEBUG AOF-FLUSH-SLEEP 0", "DEBUG SET-ACTIVE-EXPIRE x", "DEBUG SET-ACTIVE-EXPIRE 1",
            "DEBUG SET-ACTIVE-EXPIRE");
}
END_TEST

START_TEST(test_populate)
{
    compare("SET key:3 mine", "DEBUG POPULATE 10", "DBSIZE", "MGET key:0 key:3 key:9",
            "DEBUG POPULATE 5 other", "GET other:4", "DEBUG POPULATE 3 long 40", "GET long:2",
            "OBJECT ENCODING key:1", "DEBUG POPULATE 3 short 4", "GET short:1", "SELECT 2",
            "DEBUG POPULATE 2", "DBSIZE", "DEBUG DIGEST", "SELECT 0", "DEBUG POPULATE 0", "MULTI",
            "SET a 1", "DEBUG POPULATE 4 m", "GET m:3", "EXEC", "DEBUG DIGEST");
    compare_recovered("DEBUG POPULATE 500", "SELECT 1", "DEBUG POPULATE 10 x 3000", "SELECT 0",
                      "MULTI", "DEBUG POPULATE 20 m", "DEL m:7", "EXEC", "DEBUG DIGEST");
}
END_TEST

START_TEST(test_wait)
{
    compare("WAIT 0 0", "WAIT -1 0", "WAIT 1 20", "WAIT 0 -1", "WAIT 1 x", "WAIT x 0", "WAIT 1",
            "SET k v", "WAIT 0 0", "WAIT 2 10", "MULTI", "SET k 2", "WAIT 1 0", "WAIT 0 0", "EXEC");
}
END_TEST

START_TEST(test_memory_replies)
{
    compare("MEMORY USAGE nokey", "SET k v", "~type MEMORY USAGE k", "MEMORY USAGE k SAMPLES",
            "MEMORY USAGE k SAMPLES -1", "MEMORY USAGE k SAMPLES x", "MEMORY USAGE k sample 1",
            "~type MEMORY USAGE k SAMPLES 0", "MEMORY USAGE", "MEMORY", "MEMORY STATS x",
            "MEMORY PURGE", "~type MEMORY DOCTOR", "~type MEMORY MALLOC-STATS",
            "~type MEMORY STATS", "MEMORY DOCTOR x");
}
END_TEST

START_TEST(test_expiry_on_access)
{
    compare("DEBUG SET-ACTIVE-EXPIRE 0", "SET a 1 PX 10", "SET b 1 PX 10", "SET c 1 PX 10",
            "RPUSH l 1", "PEXPIRE l 10", "SET w 1 PX 10", "DEBUG SLEEP 0.05", "DBSIZE", "GET a",
            "DBSIZE", "TTL b", "DBSIZE", "EXISTS c", "DBSIZE", "RPUSH l 2", "LLEN l", "SETNX w 2",
            "DBSIZE", "DEBUG SET-ACTIVE-EXPIRE 1");
}
END_TEST

/* ---- DEBUG OBJECT ---- */

static int64_t field(struct client *c, const char *key, const char *name)
{
    char *line = ask(c, key), *at = strstr(line, name);
    ck_assert_msg(at != NULL, "no %s in %s", name, line);
    int64_t v = strtoll(at + strlen(name), NULL, 10);
    free(line);
    return v;
}

/* Lengths that compression does not change are those of redis-server. */
START_TEST(test_object_serialized_length)
{
    struct server redis;
    server_init(&redis, SERVER_REDIS);
    server_start(&redis);
    struct client *a = server_connect(&kv), *b = server_connect(&redis);
    static const char *const values[] = { "0",      "127",         "-129",          "32768",
                                          "-70000", "2147483647",  "2147483648",    "-2147483648",
                                          "abc",    "99999999999", "1234567890123", "" };
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++) {
        client_expect(a, "+OK", "SET k '%s'", values[i]);
        client_expect(b, "+OK", "SET k '%s'", values[i]);
        ck_assert_int_eq(field(a, "DEBUG OBJECT k", "serializedlength:"),
                         field(b, "DEBUG OBJECT k", "serializedlength:"));
    }
    client_expect(a, "3", "RPUSH l a 1 99999");
    client_expect(b, "3", "RPUSH l a 1 99999");
    ck_assert_int_eq(field(a, "DEBUG OBJECT l", "serializedlength:"),
                     field(b, "DEBUG OBJECT l", "serializedlength:"));
    client_close(a);
    client_close(b);
    server_stop(&redis);
}
END_TEST

START_TEST(test_object_line)
{
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "SET k abc");
    char *line = ask(c, "DEBUG OBJECT k");
    ck_assert_msg(strncmp(line, "+Value at:0x", 12) == 0, "%s", line);
    ck_assert_ptr_nonnull(strstr(line, " refcount:1 encoding:embstr serializedlength:4 lru:"));
    free(line);
    ck_assert_int_le(field(c, "DEBUG OBJECT k", "lru_seconds_idle:"), 2);
    for (unsigned i = 0; i < 500; i++) {
        client_ask(c, "RPUSH l %0100u", i);
    }
    line = ask(c, "DEBUG OBJECT l");
    ck_assert_ptr_nonnull(strstr(line, "encoding:quicklist"));
    free(line);
    ck_assert_int_ge(field(c, "DEBUG OBJECT l", "ql_nodes:"), 6);
    ck_assert_int_eq(field(c, "DEBUG OBJECT l", "ql_listpack_max:"), -2);
    ck_assert_int_ge(field(c, "DEBUG OBJECT l", "ql_uncompressed_size:"), 50000);
    client_expect(c, "+Quicklist structure printed on stdout", "DEBUG QUICKLIST l");
    ck_assert(server_log_has(&kv, "chunk 0: listpack"));
    client_expect(c, "+OK", "DEBUG LOG 'mark me'");
    ck_assert(server_log_has(&kv, "DEBUG LOG: mark me"));
    line = ask(c, "DEBUG HTSTATS 0");
    ck_assert_ptr_nonnull(strstr(line, "number of elements: 2"));
    free(line);
    client_close(c);
}
END_TEST

/* ---- RELOAD and LOADAOF ---- */

static void fill_databases(struct client *c)
{
    client_expect(c, "+OK", "DEBUG POPULATE 2000");
    for (unsigned i = 0; i < 300; i++) {
        client_ask(c, "RPUSH list:%u %u %0200u", i % 7, i, i);
        client_ask(c, "SET e:%u %u PX 10000000", i, i);
    }
    client_expect(c, "+OK", "SELECT 5");
    client_expect(c, "+OK", "MSET a 1 b 2 c 3");
    client_expect(c, "+OK", "SELECT 0");
    client_expect(c, "+OK", "SWAPDB 5 6");
    client_expect(c, "1", "DEL key:17");
}

START_TEST(test_reload_gives_the_same)
{
    struct client *c = server_connect(&kv);
    fill_databases(c);
    static const char *const how[] = { "DEBUG RELOAD", "DEBUG LOADAOF",
                                       "DEBUG RELOAD NOSAVE NOFLUSH MERGE", "DEBUG RELOAD" };
    for (unsigned i = 0; i < sizeof how / sizeof how[0]; i++) {
        char *before = ask(c, "DEBUG DIGEST");
        client_expect(c, "+OK", "%s", how[i]);
        client_expect(c, before, "DEBUG DIGEST");
        client_expect(c, "2306", "DBSIZE");
        ck_assert_int_gt(client_int(c, "PTTL e:4"), 1000000);
        ck_assert_int_le(client_int(c, "OBJECT IDLETIME key:3"), 600);
        client_expect(c, "+OK", "SET again %u", i); /* the log goes on behind it */
        client_expect(c, "1", "DEL again");
        free(before);
    }
    client_expect(c, "-ERR Error trying to load the RDB dump, check server logs.",
                  "DEBUG RELOAD NOFLUSH");
    char *before = ask(c, "DEBUG DIGEST");
    server_kill(&kv);
    client_close(c);
    server_start(&kv, "--threads", "4");
    server_wait_ready(&kv);
    c = server_connect(&kv);
    client_expect(c, before, "DEBUG DIGEST");
    free(before);
    client_close(c);
}
END_TEST

START_TEST(test_reload_and_sessions)
{
    struct client *a = server_connect(&kv), *b = server_connect(&kv), *w = server_connect(&kv);
    client_expect(a, "+OK", "SET k 1");
    client_expect(w, "+OK", "WATCH k");
    client_send(b, "BLPOP q 0");
    client_expect_nothing(b, 100);
    client_expect(a, "+OK", "DEBUG RELOAD");
    client_expect(w, "+OK", "MULTI");
    client_expect(w, "+QUEUED", "GET k");
    client_expect(w, "nil*", "EXEC"); /* as in Redis: it was flushed and loaded */
    client_expect_nothing(b, 50);
    client_expect(a, "1", "RPUSH q x");
    client_expect_next(b, "[\"q\", \"x\"]");
    client_expect(w, "+OK", "WATCH nokey");
    client_expect(a, "+OK", "DEBUG RELOAD");
    client_expect(w, "+OK", "MULTI");
    client_expect(w, "+QUEUED", "DEBUG RELOAD");
    client_expect(w, "+QUEUED", "GET k");
    client_expect(w, "[+OK, \"1\"]", "EXEC");
    client_expect(w, "+OK", "MULTI");
    client_expect(w, "+QUEUED", "SET k 2");
    client_expect(w, "+QUEUED", "DEBUG RELOAD");
    char *got = ask(w, "EXEC");
    ck_assert_ptr_nonnull(strstr(got, "behind writes of the same transaction"));
    free(got);
    client_expect(a, "\"2\"", "GET k");
    client_close(a);
    client_close(b);
    client_close(w);
}
END_TEST

#define LOAD                                                                   \
    "FUNCTION LOAD \"#!lua name=%s\\nredis.register_function('f', function() " \
    "return '%s' end)\""

/* The log's first library has a function that another one got later. */
START_TEST(test_reload_and_libraries)
{
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    client_expect(c, "\"a\"", LOAD, "a", "a");
    client_expect(d, "\"a\"", "FCALL f 0");
    client_expect(c, "+OK", "FUNCTION DELETE a");
    client_expect(c, "\"b\"", LOAD, "b", "b");
    client_expect(c, "+OK", "DEBUG RELOAD");
    client_expect(c, "\"b\"", "FCALL f 0");
    client_expect(d, "\"b\"", "FCALL f 0");
    client_expect(c, "+OK", "DEBUG RELOAD");
    client_expect(d, "\"b\"", "FCALL f 0");
    client_close(c);
    client_close(d);
}
END_TEST

static void *write_on(void *arg)
{
    unsigned *done = arg;
    struct client *c = server_connect(&kv);
    for (*done = 0; *done < 3000; ++*done) {
        client_expect(c, "+OK", "SET w:%u %u", *done % 100, *done);
    }
    client_close(c);
    return NULL;
}

START_TEST(test_reload_under_load)
{
    pthread_t t[3];
    unsigned done[3];
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(pthread_create(&t[i], NULL, write_on, &done[i]), 0);
    }
    struct client *c = server_connect(&kv);
    for (unsigned i = 0; i < 10; i++) {
        client_expect(c, "+OK", "DEBUG RELOAD");
    }
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(t[i], NULL);
    }
    for (unsigned i = 0; i < 100; i++) {
        ck_assert_int_eq(strtol(client_line(c, "GET w:%u", i) + 1, NULL, 10), 2900 + i);
    }
    client_close(c);
}
END_TEST

START_TEST(test_reload_with_timed_syncs)
{
    server_stop(&kv);
    server_start(&kv, "--threads", "2", "--appendfsync", "everysec");
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "SET k everysec");
    char *before = ask(c, "DEBUG DIGEST");
    client_expect(c, "+OK", "DEBUG RELOAD");
    client_expect(c, before, "DEBUG DIGEST");
    free(before);
    client_close(c);
}
END_TEST

START_TEST(test_reload_without_log)
{
    server_stop(&kv);
    server_start(&kv, "--appendonly", "no");
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "SET k 1");
    char *before = ask(c, "DEBUG DIGEST");
    client_expect(c, "+OK", "DEBUG RELOAD");
    client_expect(c, before, "DEBUG DIGEST");
    client_expect_error(c, "ERR Error trying to load the AOF files", "DEBUG LOADAOF");
    client_expect(c, before, "DEBUG DIGEST");
    client_expect_error(c, "ERR WAITAOF cannot be used when numlocal is set", "WAITAOF 1 0 0");
    client_expect(c, "[0, 0]", "WAITAOF 0 0 0");
    free(before);
    client_close(c);
}
END_TEST

/* ---- Time ---- */

START_TEST(test_sleep_stops_everybody)
{
    struct client *c[4];
    for (unsigned i = 0; i < 4; i++) {
        c[i] = server_connect(&kv);
    }
    int64_t from = now_ms();
    client_send(c[0], "DEBUG SLEEP 0.3");
    sleep_ms(50);
    for (unsigned i = 1; i < 4; i++) {
        client_send(c[i], "PING");
    }
    for (unsigned i = 1; i < 4; i++) {
        client_expect_next(c[i], "+PONG");
        ck_assert_int_ge(now_ms() - from, 290);
    }
    client_expect_next(c[0], "+OK");
    for (unsigned i = 0; i < 4; i++) {
        client_close(c[i]);
    }
}
END_TEST

START_TEST(test_first_access_deletes)
{
    struct client *c = server_connect(&kv), *e = server_connect(&kv);
    client_expect(c, "+OK", "CONFIG SET notify-keyspace-events Ex");
    client_expect(c, "+OK", "DEBUG SET-ACTIVE-EXPIRE 0");
    client_ask(e, "SUBSCRIBE __keyevent@0__:expired");
    client_expect(c, "+OK", "SET a 1 PX 20");
    client_expect(c, "+OK", "SET b 1 PX 20");
    client_expect_nothing(e, 200);
    client_expect(c, "2", "DBSIZE");
    char *digest = ask(c, "DEBUG DIGEST-VALUE a");
    ck_assert_ptr_null(strstr(digest, "00000000000000000000")); /* it still lies there */
    free(digest);
    client_expect_nothing(e, 20);
    client_expect(c, "nil", "GET a");
    client_expect_next(e, "[\"message\", \"__keyevent@0__:expired\", \"a\"]");
    client_expect(c, "1", "DBSIZE");
    ck_assert_ptr_nonnull(strstr(client_line(c, "INFO stats"), "expired_keys:1\\r"));
    client_expect(c, "+OK", "DEBUG RELOAD"); /* the DEL is in the log, b is as it was */
    client_expect(c, "1", "DBSIZE");
    client_expect(c, "+OK", "DEBUG SET-ACTIVE-EXPIRE 1");
    client_expect_next(e, "[\"message\", \"__keyevent@0__:expired\", \"b\"]");
    client_close(c);
    client_close(e);
}
END_TEST

/* ---- WAIT and WAITAOF ---- */

START_TEST(test_wait_blocks)
{
    struct client *a = server_connect(&kv), *b = server_connect(&kv);
    int64_t id = client_int(a, "CLIENT ID"), from = now_ms();
    client_expect(a, "0", "WAIT 1 100");
    ck_assert_int_ge(now_ms() - from, 95);
    client_send(a, "WAIT 3 0");
    client_expect_nothing(a, 100);
    client_expect(b, "1", "CLIENT UNBLOCK %lld", (long long)id);
    client_expect_next(a, "0");
    client_send(a, "WAIT 3 0");
    client_expect_nothing(a, 100);
    client_expect(b, "1", "CLIENT UNBLOCK %lld ERROR", (long long)id);
    ck_assert_int_eq(strncmp(client_read_line(a), "-UNBLOCKED", 10), 0);
    client_send(a, "WAITAOF 1 1 0");
    client_expect_nothing(a, 100);
    client_expect(b, "1", "CLIENT UNBLOCK %lld", (long long)id);
    client_expect_next(a, "[1, 0]");
    client_send(a, "WAIT 1 0");
    client_expect_nothing(a, 50);
    client_close(a); /* a disconnect ends it */
    for (unsigned i = 0; strstr(client_line(b, "INFO clients"), "blocked_clients:0") == NULL; i++) {
        ck_assert_uint_lt(i, 500);
        sleep_ms(10);
    }
    client_close(b);
}
END_TEST

START_TEST(test_waitaof_arguments)
{
    struct client *c = server_connect(&kv);
    client_expect(c, "[1, 0]", "WAITAOF 0 0 0");
    client_expect(c, "[1, 0]", "WAITAOF 1 0 0");
    client_expect(c, "+OK", "SET k v");
    client_expect(c, "[1, 0]", "WAITAOF 1 0 0");
    client_expect(c, "[1, 0]", "WAITAOF 1 1 20");
    client_expect(c, "[1, 0]", "WAITAOF 0 1 20");
    client_expect_error(c, "ERR value is out of range, value must between 0 and 1",
                        "WAITAOF 2 0 0");
    client_expect_error(c, "ERR value is out of range, value must between 0 and 1",
                        "WAITAOF -1 0 0");
    client_expect_error(c, "ERR value is not an integer or out of range", "WAITAOF x 0 0");
    client_expect_error(c, "ERR value is out of range, must be positive", "WAITAOF 0 -1 0");
    client_expect_error(c, "ERR timeout is negative", "WAITAOF 0 0 -1");
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "WAITAOF 1 1 0");
    client_expect(c, "[[1, 0]]", "EXEC");
    client_close(c);
}
END_TEST

static uint64_t wal_lsn(struct client *c, const char *name)
{
    const char *at = strstr(client_line(c, "INFO durability"), name);
    ck_assert_ptr_nonnull(at);
    return strtoull(at + strlen(name), NULL, 10);
}

/* What it says is on disk is so: the durable LSN has passed the write. */
START_TEST(test_waitaof_waits_for_the_sync)
{
    static const char *const modes[] = { "always", "everysec", "no" };
    for (unsigned i = 0; i < 3; i++) {
        server_stop(&kv);
        server_start(&kv, "--threads", "2", "--appendfsync", modes[i]);
        struct client *c = server_connect(&kv), *other = server_connect(&kv);
        for (unsigned n = 0; n < 3; n++) {
            client_expect(c, "+OK", "SET k %u", n);
            uint64_t appended = wal_lsn(other, "wal_appended_lsn:");
            client_expect(c, "[1, 0]", "WAITAOF 1 0 0");
            ck_assert_uint_ge(wal_lsn(other, "wal_durable_lsn:"), appended);
        }
        client_close(c);
        client_close(other);
    }
}
END_TEST

/* Nothing is durable for a while: the wait is a wait, and a timeout tells the truth. */
START_TEST(test_waitaof_of_a_slow_log)
{
    server_stop(&kv);
    server_start(&kv, "--threads", "2", "--appendfsync", "everysec");
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "SET before 1");
    client_expect(c, "[1, 0]", "WAITAOF 1 0 0");
    client_expect(c, "+OK", "DEBUG AOF-FLUSH-SLEEP 700000");
    client_expect(c, "+OK", "SET k 1");
    client_expect(c, "[0, 0]", "WAITAOF 1 0 50");
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "WAITAOF 1 0 0");
    client_expect(c, "[[0, 0]]", "EXEC");
    client_expect(c, "[1, 0]", "WAITAOF 1 0 0");
    client_expect(c, "+OK", "DEBUG AOF-FLUSH-SLEEP 0");
    client_close(c);
}
END_TEST

/* ---- MEMORY, permission, crashes ---- */

START_TEST(test_memory_numbers)
{
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "SET small x");
    client_expect(c, "100000", "SETRANGE big 99999 x");
    ck_assert_int_lt(client_int(c, "MEMORY USAGE small"), 200);
    ck_assert_int_ge(client_int(c, "MEMORY USAGE big"), 100000);
    client_hello(c, 3);
    char *line = ask(c, "MEMORY STATS");
    static const char *const names[] = { "peak.allocated",
                                         "total.allocated",
                                         "startup.allocated",
                                         "replication.backlog",
                                         "clients.slaves",
                                         "clients.normal",
                                         "cluster.links",
                                         "aof.buffer",
                                         "lua.caches",
                                         "functions.caches",
                                         "db.0",
                                         "overhead.hashtable.main",
                                         "overhead.total",
                                         "keys.count\": 2",
                                         "keys.bytes-per-key",
                                         "dataset.bytes",
                                         "dataset.percentage",
                                         "peak.percentage",
                                         "allocator.allocated",
                                         "allocator-fragmentation.ratio",
                                         "allocator-rss.ratio",
                                         "rss-overhead.ratio",
                                         "fragmentation.bytes" };
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        ck_assert_msg(strstr(line, names[i]) != NULL, "no %s in %s", names[i], line);
    }
    free(line);
    client_close(c);
}
END_TEST

START_TEST(test_not_allowed)
{
    server_stop(&kv);
    server_start(&kv, "--enable-debug-command", "no");
    struct client *c = server_connect(&kv);
    client_expect_error(c, "ERR DEBUG command not allowed. If the enable-debug-command option is",
                        "DEBUG HELP");
    client_expect_error(c, "ERR DEBUG command not allowed.", "DEBUG SEGFAULT");
    client_expect_error(c, "ERR CONFIG SET failed", "CONFIG SET enable-debug-command yes");
    client_close(c);
    server_stop(&kv);
    server_start(&kv, "--enable-debug-command", "local");
    c = server_connect(&kv);
    client_expect(c, "+OK", "DEBUG SLEEP 0");
    client_close(c);
}
END_TEST

/* _i: how it crashes; after each everything acknowledged is there. */
START_TEST(test_crashes)
{
    static const struct {
        const char *line;
        int status; /* -1: by a signal */
    } how[] = {
        { "DEBUG SEGFAULT", -1 }, { "DEBUG PANIC", -1 }, { "DEBUG ASSERT", -1 }, { "DEBUG OOM", 71 }
    };
    start();
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "SET k kept");
    client_send(c, "%s", how[_i].line);
    client_expect_closed(c);
    int status = server_wait_exit(&kv, 10000);
    ck_assert(how[_i].status < 0 ? !WIFEXITED(status) || WEXITSTATUS(status) != 0
                                 : WIFEXITED(status) && WEXITSTATUS(status) == how[_i].status);
    client_close(c);
    server_start(&kv, "--threads", "2");
    server_wait_ready(&kv);
    c = server_connect(&kv);
    client_expect(c, "\"kept\"", "GET k");
    client_close(c);
    stop();
}
END_TEST

/* The whole report is in the log file: a daemon has no other place. */
START_TEST(test_crash_report)
{
    char path[400], text[16384];
    server_stop(&kv);
    server_start(&kv, "--logfile", "crash.log");
    snprintf(path, sizeof path, "%s/crash.log", kv.dir);
    struct client *c = server_connect(&kv);
    client_send(c, "DEBUG SEGFAULT");
    client_expect_closed(c);
    (void)server_wait_exit(&kv, 10000);
    client_close(c);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    const char *trace = strstr(text, "STACK TRACE");
    ck_assert_ptr_nonnull(trace);
    const char *command = strstr(trace, "CURRENT COMMAND");
    ck_assert_ptr_nonnull(command);
    const char *frame = strstr(trace, "[0x");
    ck_assert(frame != NULL && frame < command);
    ck_assert_ptr_nonnull(strstr(command, "debug"));
}
END_TEST

UNIT_SUITE(debug)
{
    TCase *tc = unit_case(suite, "replies", test_digests, test_digest_after_random_writes,
                          test_protocol, test_words_and_errors, test_populate, test_wait,
                          test_memory_replies, test_expiry_on_access);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
    tc = unit_case(suite, "state", test_object_serialized_length, test_object_line,
                   test_reload_gives_the_same, test_reload_and_sessions, test_reload_and_libraries,
                   test_reload_under_load, test_reload_with_timed_syncs, test_reload_without_log,
                   test_first_access_deletes, test_sleep_stops_everybody, test_wait_blocks,
                   test_waitaof_arguments, test_waitaof_waits_for_the_sync,
                   test_waitaof_of_a_slow_log, test_memory_numbers, test_not_allowed,
                   test_crash_report);
    tcase_add_checked_fixture(tc, start, stop);
    unit_case_loop(suite, "crashes", 60, test_crashes, 4);
}
