/* test_expire.c -- EXPIRE, TTL and their kin beside redis-server.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "compare.h"
#include "unit.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const forms[] = { "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT" };

START_TEST(test_expire_times)
{
    static const char *const times[] = {
        "0",
        "1000",
        "-1",
        "-1000000",
        "4000000000",
        "4000000000000",
        "2147483647",
        "2147483648",
        "4294967295",
        "4294967296",
        "-2147483649",
        "-4294967297",
        "9223372036854775",
        "9223372036854776",
        "9223370000000000000",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775",
        "-9223372036854776",
        "-9223372036854775807",
        "-9223372036854775808",
        "-9223372036854775809",
        "x",
        "''",
        "1.5",
        "' 1'",
        "+1",
        "01",
    };
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < countof(times) * countof(forms); i++) {
        const char *form = forms[i % countof(forms)], *t = times[i / countof(forms)];
        compare_add(&s, "SET k v");
        compare_add(&s, "%s k %s", form, t);
        compare_add(&s, "~near=500 PTTL k");
        compare_add(&s, "~near=500 PEXPIRETIME k");
        compare_add(&s, "~near=3 TTL k");
        compare_add(&s, "~near=3 EXPIRETIME k");
        compare_add(&s, "EXISTS k");
        compare_add(&s, "%s nokey %s", form, t);
        compare_add(&s, "%s nokey %s FOO", form, t);
        compare_add(&s, "RPUSH l a");
        compare_add(&s, "%s l %s LT", form, t);
        compare_add(&s, "DEL k l");
    }
    compare_script(&s);
}
END_TEST

START_TEST(test_expire_conditions)
{
    static const char *const words[] = { "", "NX", "XX", "GT", "LT", "nx", "FOO", "''" };
    static const char *const now[] = { "PERSIST k", "PEXPIREAT k 4000000000000",
                                       "PEXPIREAT k 5000000000000", "PEXPIREAT k 6000000000000" };
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < countof(words) * countof(words) * countof(now); i++) {
        const char *a = words[i % 8], *b = words[i / 8 % 8];
        compare_add(&s, "SET k v");
        compare_add(&s, "%s", now[i / 64]);
        compare_add(&s, "PEXPIREAT k 5000000000000 %s %s", a, b);
        compare_add(&s, "PEXPIRETIME k");
        compare_add(&s, "EXPIREAT k 5000000000 %s %s %s", b, a, words[(i * 5 + 1) % 5]);
        compare_add(&s, "EXPIRETIME k");
        compare_add(&s, "EXPIRE k -1 %s %s", b, a);
        compare_add(&s, "EXISTS k");
        compare_add(&s, "EXPIRE nokey 10 %s %s", a, b);
        compare_add(&s, "EXPIRE nokey x %s %s", a, b);
    }
    compare_script(&s);
}
END_TEST

START_TEST(test_expire_misc)
{
    compare("TTL nokey", "PTTL nokey", "EXPIRETIME nokey", "PEXPIRETIME nokey", "PERSIST nokey",
            "SET k v", "TTL k", "PTTL k", "EXPIRETIME k", "PEXPIRETIME k", "PERSIST k",
            "EXPIRE k 100", "PERSIST k", "PERSIST k", "TTL k", "EXPIRE", "EXPIRE k", "TTL",
            "TTL k x", "PERSIST", "PERSIST k x", "PEXPIRETIME", "EXPIRE k 10 NX XX",
            "PEXPIREAT k 4000000000499", "EXPIRETIME k", "PEXPIREAT k 4000000000500",
            "EXPIRETIME k", "PEXPIREAT k 4000000000999", "EXPIRETIME k", "EXPIRE k 0", "EXISTS k",
            "SET k v", "EXPIREAT k 1", "EXISTS k", "SET k v PX 1", "@b !quiet", "TTL k", "PTTL k",
            "EXPIRETIME k", "PERSIST k", "EXPIRE k 100", "EXISTS k", "SET k v", "PEXPIRE k 30",
            "@b !quiet", "GET k", "STRLEN k", "RPUSH l a", "PEXPIRE l 30", "@b !quiet", "LLEN l",
            "RPUSH l b", "LRANGE l 0 -1", "TTL l", "WATCH l", "@c EXPIRE l 1000", "MULTI", "PING",
            "EXEC", "SET w v PX 400", "WATCH w", "@b !quiet", "@b !quiet", "@b !quiet", "@b !quiet",
            "@b !quiet", "MULTI", "PING", "EXEC", "SET w v PX 1", "@b !quiet", "WATCH w", "MULTI",
            "PING", "EXEC", "MULTI", "SET m v", "EXPIRE m 100", "~near=3 TTL m", "PEXPIRE m -1",
            "EXISTS m", "EXEC", "SET big v", "PEXPIRE big 9223372036854775807", "TTL big");
}
END_TEST

/* Relative times stand in the log as the moments they meant. */
START_TEST(test_expire_recovered)
{
    compare_recovered("SET a v", "EXPIRE a 1000", "SET b v", "PEXPIRE b 1000000", "SET c v",
                      "EXPIREAT c 4000000000", "SET d v", "PEXPIREAT d 4000000000000", "SET e v",
                      "EXPIRE e -1", "SET f v EX 1000", "PERSIST f", "SET g v EX 1000",
                      "EXPIRE g 2000 GT", "EXPIRE g 500 GT", "EXPIRE g 1500 LT", "EXPIRE g 9 NX",
                      "SET h v", "EXPIRE h 1000 XX", "EXPIRE h 1000 NX", "RPUSH l a b",
                      "EXPIRE l 1000", "SELECT 2", "SET a v", "EXPIRE a 1000", "SELECT 0", "MULTI",
                      "SET m v", "EXPIRE m 1000", "PERSIST b", "EXEC", "SET past v",
                      "PEXPIREAT past 1", "SET i v", "PEXPIREAT i 9223372036854775807");
}
END_TEST

static void expect_events(struct client *sub, const char *events)
{
    char all[200];
    snprintf(all, sizeof all, "%s", events);
    for (char *e = strtok(all, " "); e != NULL; e = strtok(NULL, " ")) {
        char want[128];
        snprintf(want, sizeof want,
                 "[\"pmessage\", \"__keyevent@0__:*\", \"__keyevent@0__:%s\", \"k\"]", e);
        client_expect_next(sub, want);
    }
}

/* What has expired and is not deleted yet, because its time came behind requests that are there
 * already, is told of by what replaces it. */
START_TEST(test_replaced_after_its_time)
{
    static const struct {
        const char *before, *request, *events;
    } steps[] = {
        { "SET k 1 PX 1", "SET k v", "set expire expired set" },
        { "SET k 1 PX 1", "SET k v KEEPTTL", "set expire expired set" },
        { "SET k 1 PX 1", "SET k v EX 100", "set expire expired set expire" },
        { "SET k 1 PX 1", "SETEX k 100 v", "set expire expired set expire" },
        { "SET k 1 PX 1", "MSET k v", "set expire expired set" },
        { "SET k 1 PX 1", "MSETEX 1 k v", "set expire expired set" },
        { "SET k 1 PX 1", "EVAL \"redis.call('set', KEYS[1], 'v')\" 1 k",
          "set expire expired set" },
        { "HSETEX k PX 1 FIELDS 1 a 1", "SET k v", "hset hexpire hexpired del set" },
        { "HSETEX k PX 1 FIELDS 1 a 1", "MSET k v", "hset hexpire hexpired del set" },
    };
    struct server kv;
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "1", "--notify-keyspace-events", "KEA");
    struct client *c = server_connect(&kv), *sub = server_connect(&kv);
    client_ask(sub, "PSUBSCRIBE __keyevent@0__:*");
    for (unsigned i = 0; i < countof(steps); i++) {
        char lines[300];
        int n = snprintf(lines, sizeof lines, "%s\r\nDEBUG SLEEP 0.01\r\n%s\r\nDEL k\r\n",
                         steps[i].before, steps[i].request);
        client_send_raw(c, lines, (size_t)n);
        for (unsigned j = 0; j < 3; j++) {
            ck_assert_int_ne(client_read(c)->type, RESP_ERROR);
        }
        client_expect_next(c, "1");
        expect_events(sub, steps[i].events);
        expect_events(sub, "del");
    }
    const char *stats = client_ask(c, "INFO stats")->text;
    ck_assert_ptr_nonnull(strstr(stats, "\r\nexpired_keys:7\r\n"));
    client_close(sub);
    client_close(c);
    server_stop(&kv);
}
END_TEST

/* While active expiry is off what has expired goes when it is read, but not during a pause. */
START_TEST(test_read_in_pause)
{
    struct server kv;
    server_init(&kv, SERVER_KV);
    server_start(&kv);
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "DEBUG SET-ACTIVE-EXPIRE 0");
    client_expect(c, "+OK", "SET k v PX 10");
    client_expect(c, "+OK", "CLIENT PAUSE 100000 WRITE");
    while (client_int(c, "PTTL k") != -2) {
        usleep(1000);
    }
    client_expect(c, "nil", "GET k");
    client_expect(c, "1", "DBSIZE");
    client_expect(c, "+OK", "CLIENT UNPAUSE");
    client_expect(c, "nil", "GET k");
    client_expect(c, "0", "DBSIZE");
    client_close(c);
    server_stop(&kv);
}
END_TEST

UNIT_SUITE(expire_commands)
{
    TCase *tc = unit_case_slow(suite, "expire_commands", 300, test_expire_times,
                               test_expire_conditions, test_expire_misc);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
    unit_case(suite, "expire_commands_log", test_expire_recovered);
    unit_case(suite, "expire_commands_own", test_replaced_after_its_time, test_read_in_pause);
}
