/* test_script_limits.c -- Scripts that ask Lua's libraries for more than they can do, and scripts
 * above the limits of the cache and of the memory. SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct server kv;

/* What Lua's libraries do not look at themselves; redis-server 7.0.15 ends at some of them. */
START_TEST(test_library_limits)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv);
    server_wait_ready(&kv);
    struct client *a = server_connect(&kv);
    static const char *const refused[][2] = {
        { "return unpack({},0,2^31-1)", "too many results to unpack" },
        { "return unpack({},-2^31,2^31-1)", "too many results to unpack" },
        { "return unpack({},1,2^31-1)", "too many results to unpack" },
        { "return string.find('',string.rep('a*',200000))", "pattern too complex" },
        { "return string.match('',string.rep('a*',200000))", "pattern too complex" },
        { "return string.gsub('',string.rep('a*',200000),'')", "pattern too complex" },
        { "return string.gmatch('',string.rep('a*',200000))()", "pattern too complex" },
        { "local s=string.rep('x',2^20) local t={} for i=1,2000 do t[i]=s end "
          "return cjson.encode(t)",
          "too long" },
        { "local s=string.rep('x',2^20) local t={} for i=1,2000 do t[i]=s end "
          "return cjson.new().new().encode({[s]=t})",
          "too long" },
        { "local t=string.rep('x',2^16) for i=1,40 do t={t,t} end return cjson.encode(t)",
          "too long" },
        { "local j=cjson.new() j.encode_sparse_array(false,0) return j.encode({[2^31-1]=1})",
          "sparse array" },
        { "local t={} t[1]=t t[2]=t return cjson.encode(t)", "excessive nesting (1001)" },
    };
    for (unsigned i = 0; i < countof(refused); i++) {
        const char *reply = client_line(a, "EVAL \"%s\" 0", refused[i][0]);
        ck_assert_msg(strstr(reply, refused[i][1]) != NULL, "%s: %s", refused[i][0], reply);
    }
    client_expect(a, "1", "EVAL \"return string.find('a*',string.rep('a*',1),1,true)\" 0");
    client_expect(a, "nil", "EVAL \"return string.find('',string.rep('a*',200000),1,true)\" 0");
    client_expect(a, "3", "EVAL \"return select('#',unpack({},2^31-3,2^31-1))\" 0");
    client_expect(a, "\"{\\\"2000000000\\\":1}\"",
                  "EVAL \"local j=cjson.new() j.encode_sparse_array(true) "
                  "return j.encode({[2000000000]=1})\" 0");
    client_expect(a, "3004",
                  "EVAL \"local j=cjson.new() j.encode_max_depth(2000) local t={} "
                  "for i=1,1501 do t={t} end return #j.encode(t)\" 0");
    client_close(a);
    server_stop(&kv);
}
END_TEST

static int64_t info_number(struct client *c, const char *section, const char *field)
{
    const char *at = strstr(client_ask(c, "INFO %s", section)->text, field);
    ck_assert_msg(at != NULL, "%s", field);
    return strtoll(at + strlen(field), NULL, 10);
}

/* The SHA-1 of a text by the server itself. */
static void sha_of(struct client *c, const char *text, char sha[41])
{
    snprintf(sha, 41, "%s",
             client_ask(c, "EVAL \"return redis.sha1hex(ARGV[1])\" 0 '%s'", text)->text);
}

static void eval_numbers(struct client *c, unsigned from, unsigned to)
{
    for (unsigned i = from; i <= to; i++) {
        ck_assert_int_eq(client_int(c, "EVAL 'return %u' 0", i), i);
    }
}

/* What EVAL brought is at most 500: who ran longest ago goes, and only those that SCRIPT LOAD did
 * not bring, before or after EVAL did. */
START_TEST(test_evicted)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2");
    struct client *a = server_connect(&kv), *b = server_connect(&kv); /* on two reactors */
    char loaded[41], promoted[41], first[41], second[41], third[41];
    sha_of(a, "return 1", first);
    sha_of(a, "return 2", second);
    sha_of(a, "return 3", third);
    client_expect(a, "+OK", "SCRIPT FLUSH");
    snprintf(loaded, sizeof loaded, "%s", client_ask(a, "SCRIPT LOAD 'return -1'")->text);
    ck_assert_int_eq(client_int(a, "EVAL 'return -2' 0"), -2);
    snprintf(promoted, sizeof promoted, "%s", client_ask(b, "SCRIPT LOAD 'return -2'")->text);
    eval_numbers(a, 1, 500);
    ck_assert_int_eq(info_number(a, "memory", "number_of_cached_scripts:"), 502);
    ck_assert_int_eq(info_number(a, "stats", "evicted_scripts:"), 0);
    ck_assert_int_eq(client_int(b, "EVALSHA %s 0", first), 1); /* it is the newest now */
    eval_numbers(a, 501, 501);
    client_expect(a, "[1, 0, 1, 1, 1]", "SCRIPT EXISTS %s %s %s %s %s", first, second, third,
                  loaded, promoted);
    client_expect_error(a, "NOSCRIPT", "EVALSHA %s 0", second);
    client_expect_error(b, "NOSCRIPT", "EVALSHA %s 0", second);
    ck_assert_int_eq(client_int(a, "EVALSHA %s 0", third), 3);
    eval_numbers(b, 1001, 2000);
    client_expect(b, "[0, 0, 0, 1, 1]", "SCRIPT EXISTS %s %s %s %s %s", first, second, third,
                  loaded, promoted);
    ck_assert_int_eq(info_number(a, "memory", "number_of_cached_scripts:"), 502);
    ck_assert_int_eq(info_number(a, "stats", "evicted_scripts:"), 1001);
    client_expect_error(a, "NOSCRIPT", "EVALSHA %s 0", third); /* though it ran here lately */
    eval_numbers(a, 3, 3);
    ck_assert_int_eq(client_int(b, "EVALSHA %s 0", third), 3);
    ck_assert_int_eq(client_int(a, "EVALSHA %s 0", loaded), -1);
    client_expect(a, "+OK", "CONFIG RESETSTAT");
    ck_assert_int_eq(info_number(a, "stats", "evicted_scripts:"), 0);
    client_expect(a, "+OK", "SCRIPT FLUSH");
    eval_numbers(a, 1, 500);
    ck_assert_int_eq(info_number(a, "stats", "evicted_scripts:"), 0);
    client_close(a);
    client_close(b);
    server_stop(&kv);
}
END_TEST

/* A text for each EVAL does not take more and more memory: neither the texts nor what became of
 * them in Lua. */
START_TEST(test_evicted_memory)
{
    enum { ROUND = 3000 };
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "1");
    struct client *a = server_connect(&kv);
    int64_t before = 0;
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < ROUND; i++) {
            client_send(a, "EVAL \"local f = function() return '%01000u' end return %u\" 0", i,
                        round * ROUND + i);
        }
        for (unsigned i = 0; i < ROUND; i++) {
            ck_assert_int_eq(client_read(a)->integer, round * ROUND + i);
        }
        int64_t now = info_number(a, "memory", "used_memory:");
        ck_assert_int_lt(info_number(a, "memory", "used_memory_scripts_eval:"), 700000);
        ck_assert_msg(round == 0 || now < before + 4000000, "%lld bytes, then %lld",
                      (long long)before, (long long)now);
        before = round == 0 ? now : before;
    }
    client_close(a);
    server_stop(&kv);
}
END_TEST

/* What a script read or made is not kept once it is over: on no reactor does it take
 * the room of keys. */
START_TEST(test_large_values)
{
    enum { CLIENTS = 8, KEYS = 1000 };
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "4");
    struct client *c[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++) {
        c[i] = server_connect(&kv);
    }
    client_expect(c[0], "+OK", "DEBUG POPULATE %u", (unsigned)KEYS);
    client_expect(c[0], "30000000", "SETRANGE big 29999999 x");
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_expect(c[i], "30000000", "EVAL \"return #redis.call('get',KEYS[1])\" 1 big");
        client_expect(c[i], "10000000",
                      "EVAL \"return redis.call('strlen',KEYS[1]) - "
                      "#string.rep('x', 20000000)\" 1 big");
    }
    client_expect(c[0], "1", "DEL big");
    int64_t used;
    for (unsigned i = 0; (used = info_number(c[0], "memory", "used_memory:")) >= 30000000; i++) {
        ck_assert_msg(i < 1000, "%lld bytes", (long long)used); /* big goes in the background */
        usleep(10000);
    }
    ck_assert_int_lt(info_number(c[0], "memory", "used_memory_vm_eval:"), 20000000);
    client_expect(c[0], "+OK", "CONFIG SET maxmemory 100mb maxmemory-policy allkeys-lru");
    client_expect(c[0], "+OK", "SET k v");
    ck_assert_int_eq(client_int(c[0], "DBSIZE"), KEYS + 1);
    ck_assert_int_eq(info_number(c[0], "stats", "evicted_keys:"), 0);
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_close(c[i]);
    }
    server_stop(&kv);
}
END_TEST

/* INFO says what all states take. */
START_TEST(test_states_add_up)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2");
    struct client *a = server_connect(&kv), *b = server_connect(&kv); /* on two reactors */
    ck_assert_int_eq(client_int(a, "EVAL 'return 1' 0"), 1);
    int64_t one = info_number(a, "memory", "used_memory_vm_eval:");
    ck_assert_int_eq(client_int(b, "EVAL 'return 1' 0"), 1);
    int64_t two = info_number(a, "memory", "used_memory_vm_eval:");
    ck_assert_msg(one > 0 && two > one + one / 2, "%lld, then %lld", (long long)one,
                  (long long)two);
    client_expect(a, "+OK", "SCRIPT FLUSH");
    ck_assert_int_eq(client_int(b, "EVAL 'return 1' 0"), 1); /* in a new state */
    ck_assert_int_lt(info_number(a, "memory", "used_memory_vm_eval:"), two + one / 2);
    client_close(a);
    client_close(b);
    server_stop(&kv);
}
END_TEST

/* ---- More memory used than maxmemory, more of it by clients than maxmemory-clients ---- */

/* Every request stops everybody, in vain, for clients that may go, and then evicts a key. */
static struct client *short_of_memory(struct client *a, struct client *b)
{
    struct client *large = server_connect(&kv);
    static char value[2 << 20];
    client_expect(a, "+OK", "CLIENT NO-EVICT on");
    client_expect(b, "+OK", "CLIENT NO-EVICT on");
    client_expect(large, "+OK", "CLIENT NO-EVICT on");
    client_expect(large, "+OK", "MULTI");
    client_send_args(large, 3, (const char *const[]){ "SET", "k", value },
                     (const size_t[]){ 3, 1, sizeof value });
    client_expect_next(large, "+QUEUED");
    client_expect(
        a, "nil",
        "EVAL \"for i = 1, 60000 do redis.call('set', 'v' .. i, 1, 'ex', 100000) end\" 0");
    client_expect(a, "+OK",
                  "CONFIG SET maxmemory 1mb maxmemory-clients 1mb maxmemory-policy volatile-random "
                  "maxmemory-eviction-tenacity 0");
    return large;
}

#define LIBRARY "#!lua name=l\\nredis.register_function('f', function() return 7 end)"

/* Libraries and scripts go while another reactor is about to run a script of theirs. */
START_TEST(test_gone_while_making_room)
{
    enum { ROUNDS = 40, LINES = 50 };
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2");
    struct client *a = server_connect(&kv), *b = server_connect(&kv);
    client_expect(a, "\"l\"", "FUNCTION LOAD \"" LIBRARY "\"");
    struct client *large = short_of_memory(a, b);
    for (unsigned i = 0; i < ROUNDS * LINES; i += LINES) {
        for (unsigned j = 0; j < LINES; j++) {
            client_send(b, "FCALL f 0");
            client_send(b, "EVAL \"return redis.call('incr', KEYS[1])\" 1 n");
            client_send(a, "SCRIPT FLUSH");
            client_send(a, "FUNCTION DELETE l");
            client_send(a, "FUNCTION LOAD \"" LIBRARY "\"");
            client_send(a, "FUNCTION LOAD REPLACE \"" LIBRARY "\"");
        }
        for (unsigned j = 0; j < LINES; j++) {
            const char *line = client_read_line(b);
            ck_assert(strcmp(line, "7") == 0 || strcmp(line, "-ERR Function not found") == 0);
            ck_assert_int_eq(client_read(b)->integer, i + j + 1);
            client_expect_next(a, "+OK");
            client_expect_next(a, "+OK");
            client_expect_next(a, "\"l\"");
            client_expect_next(a, "\"l\"");
        }
    }
    client_close(a);
    client_close(b);
    client_close(large);
    server_stop(&kv);
}
END_TEST

/* Nothing is written after CLIENT PAUSE has been answered. */
START_TEST(test_paused_while_making_room)
{
    enum { ROUNDS = 30, LINES = 300 };
    static const char pause[] = "CLIENT PAUSE 100000 WRITE\r\nGET n\r\n";
    static const char *const increment[] = {
        "EVAL \"return {redis.call('incr', KEYS[1])}\" 1 n\r\n",
        "MULTI\r\nINCR n\r\nEXEC\r\n",
    };
    static char lines[LINES * 100];
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2");
    struct client *a = server_connect(&kv), *b = server_connect(&kv);
    client_expect(a, "+OK", "SET n 0");
    struct client *large = short_of_memory(a, b);
    for (unsigned i = 0; i < ROUNDS; i++) {
        size_t n = strlen(increment[i % 2]);
        for (unsigned j = 0; j < LINES; j++) {
            memcpy(lines + j * n, increment[i % 2], n);
        }
        client_send_raw(b, lines, LINES * n);
        client_send_raw(a, pause, sizeof pause - 1);
        client_expect_next(a, "+OK");
        char *then = strdup(client_read_line(a));
        usleep(2000);
        client_expect(a, then, "GET n");
        free(then);
        client_expect(a, "+OK", "CLIENT UNPAUSE");
        for (unsigned j = 0; j < LINES; j++) {
            if (i % 2 != 0) {
                client_expect_next(b, "+OK");
                client_expect_next(b, "+QUEUED");
            }
            ck_assert_int_eq(client_read(b)->at[0]->integer, i * LINES + j + 1);
        }
    }
    client_close(a);
    client_close(b);
    client_close(large);
    server_stop(&kv);
}
END_TEST

/* A transaction that the eviction policy makes room for has room for its scripts, though memory is
 * still above the limit: one key goes with each request here. */
START_TEST(test_room_in_exec)
{
    static const char *const writes[] = {
        "FCALL w 1 k",
        "EVAL \"return redis.call('set', KEYS[1], 1)\" 1 k",
        "EVAL \"#!lua\\nreturn redis.call('set', KEYS[1], 1)\" 1 k",
    };
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2");
    struct client *a = server_connect(&kv);
    client_expect(a, "\"l\"",
                  "FUNCTION LOAD \"#!lua name=l\\nredis.register_function('w', "
                  "function(k) return redis.call('set', k[1], 1) end)\"");
    client_expect(
        a, "nil",
        "EVAL \"for i = 1, 60000 do redis.call('set', 'v' .. i, 1, 'ex', 100000) end\" 0");
    client_expect(a, "+OK",
                  "CONFIG SET maxmemory 1mb maxmemory-policy volatile-random "
                  "maxmemory-eviction-tenacity 0");
    for (unsigned i = 0; i < 20 * countof(writes); i++) {
        client_expect(a, "+OK", "MULTI");
        client_expect(a, "+QUEUED", "%s", writes[i % countof(writes)]);
        client_expect(a, "[+OK]", "EXEC");
    }
    client_expect(a, "+OK", "MULTI"); /* it goes by the limit that it began with */
    client_expect(a, "+QUEUED", "CONFIG SET maxmemory-policy noeviction");
    client_expect(a, "+QUEUED", "%s", writes[0]);
    client_expect(a, "[+OK, +OK]", "EXEC");
    for (unsigned i = 0; i < countof(writes); i++) {
        client_expect(a, "+OK", "MULTI");
        client_expect(a, "+QUEUED", "%s", writes[i]);
        const struct resp *r = client_ask(a, "EXEC");
        ck_assert_uint_eq(r->count, 1);
        ck_assert_msg(strstr(r->at[0]->text, "maxmemory") != NULL, "%s", r->at[0]->text);
    }
    client_expect_error(a, "OOM", "%s", writes[0]); /* and alone */
    client_expect(a, "+OK", "MULTI");
    client_expect(a, "+QUEUED", "CONFIG SET maxmemory 0");
    client_expect(a, "+QUEUED", "%s", writes[0]);
    client_expect(a, "[+OK, +OK]", "EXEC");
    client_close(a);
    server_stop(&kv);
}
END_TEST

UNIT_SUITE(script_limits)
{
    unit_case(suite, "own server", test_library_limits, test_evicted, test_evicted_memory,
              test_large_values, test_states_add_up, test_gone_while_making_room,
              test_paused_while_making_room, test_room_in_exec);
}
