/* test_memory.c -- Commands without memory: an error changes nothing, neither the data nor the log.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY  Each allocation of a size that a client can choose may fail. For every command here the
 *      first one that it meets fails, then the second, and so on until it meets no more. What ends
 *      the process when it fails (mem.large) is never that large: it would end here. */
#include "base/base.h"
#include "base/rng.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAR "4102444800000"

/* In what is sent, W is a word of 2,000 bytes, V one of 100,000, X one of 700 (too long for a
 * listpack, not for a page of a tree), with what follows behind it unless that is a capital, and P
 * the last payload. */
struct step {
    const char *setup[6]; /* after FLUSHALL */
    const char *request;
    unsigned least; /* failures that it must meet */
};

static const struct step steps[] = {
    { { "SET k 1" }, "SET k V", 2 },
    { { "SET k W", "SELECT 1" }, "MSET k V l W m V", 4 },
    { { "SELECT 0", "SET k 1 EX 1000" }, "SET k V PXAT " FAR, 2 },
    { { "SET k V" }, "SET k W IFNE a GET", 1 },
    { { "SET k V" }, "SET k W IFEQ V KEEPTTL", 1 },
    { { "SET a W EX 1000", "SET b 1" }, "MSETEX 3 a V b W c V PXAT " FAR, 4 },
    { { "SET a W EX 1000", "SET b 1" }, "MSETEX 3 a V b W a W KEEPTTL", 4 },
    { { "SET a V", "SET b W", "SET c 1" }, "BITOP ONE c a b", 2 },
    { { "SET a V", "SET b W", "SET c 1" }, "BITOP DIFF1 a a b", 2 },
    { { "HSET h a 1 b 2" }, "HSETEX h FIELDS 2 a W Wc V", 3 },
    { { "HSET h a 1 b 2" }, "HSETEX h PXAT " FAR " FIELDS 3 a W Wc V a 3", 3 },
    { { "HSET h a X Xb 2", "HPEXPIREAT h " FAR " FIELDS 1 Xb" },
      "HSETEX h KEEPTTL FIELDS 3 a W Xb V Wc 3",
      3 },
    { { NULL }, "HSETEX h PXAT " FAR " FIELDS 2 a W Wb V", 2 },
    { { "HSET h a 1 b 2 c 3" }, "HSETEX h PXAT 1 FIELDS 3 a 1 b 2 a 3", 1 },
    { { "HSET h a 1 b 2", "HPEXPIREAT h " FAR " FIELDS 1 b" }, "HSETEX h KEEPTTL FIELDS 1 b 2", 2 },
    { { "DEBUG SET-ACTIVE-EXPIRE 0", "HSET V a 1 Wb 2 c 3", "HPEXPIRE V 1 FIELDS 2 a Wb",
        "DEBUG SLEEP 0.01" },
      "HDEL V a Wb",
      3 },
    { { "HSET h a W Wb V c 1" }, "HGETDEL h FIELDS 3 a Wb c", 1 },
    { { "HSET h a W Wb V c 1" }, "HGETEX h PXAT " FAR " FIELDS 3 a Wb c", 2 },
    { { "HSET h a W Wb V c 1" }, "HGETEX h PXAT 1 FIELDS 3 a Wb c", 1 },
    { { "HSET h a W Wb V c 1", "HPEXPIREAT h " FAR " FIELDS 2 Wb c" },
      "HGETEX h PERSIST FIELDS 3 a Wb c",
      2 },
    { { "HSET h a W Wb V c 1" }, "HPEXPIREAT h " FAR " FIELDS 3 a Wb c", 3 },
    { { "HSET h a 1 b 2" }, "HPEXPIREAT h " FAR " FIELDS 2 b a", 1 },
    { { "HSET h a 1 b V", "HPEXPIREAT h 4102444900000 FIELDS 2 a b" },
      "HPEXPIREAT h " FAR " LT FIELDS 3 b a c",
      2 },
    { { "HSET h a 1 b V", "HPEXPIREAT h " FAR " FIELDS 2 a b" }, "HPERSIST h FIELDS 2 b a", 2 },
    { { "HSET h a 1 b V", "HPEXPIREAT h " FAR " FIELDS 2 a b" }, "HINCRBYFLOAT h a 0.5", 0 },
    { { "HSET h a 1 b V", "HPEXPIREAT h " FAR " FIELDS 2 a b", "HSET i c W" },
      "COPY h i REPLACE",
      1 },
    { { "HSET h a 1 b V", "HPEXPIREAT h " FAR " FIELDS 2 a b", "DUMP h", "HSET h a 2" },
      "RESTORE h 0 P REPLACE",
      1 },
    { { "HSET h a X b 5", "HPEXPIREAT h " FAR " FIELDS 1 a", "DUMP h", "HSET h a 2" },
      "RESTORE h " FAR " P REPLACE ABSTTL",
      1 },
    { { "SADD h a X b 5", "DUMP h", "SADD h a 2" }, "RESTORE h 0 P REPLACE", 1 },
    { { "SET h V", "DUMP h", "SET h 2" }, "RESTORE h 0 P REPLACE", 1 },
    { { "FUNCTION FLUSH",
        "FUNCTION LOAD \"#!lua name=l\\nredis.register_function('f', function() return 'X' end)\"",
        "FUNCTION DUMP", "FUNCTION FLUSH" },
      "FUNCTION RESTORE P",
      1 },
    { { "GEOADD g 1 1 a 2 2 W 3 3 X", "SET d 1" },
      "GEOSEARCHSTORE d g FROMLONLAT 2 2 BYRADIUS 1000 km ASC",
      2 },
    { { "GEOADD g 1 1 a 2 2 W 3 3 X", "SET d 1" }, "GEORADIUS g 2 2 1000 km STOREDIST d", 2 },
    { { "GEOADD g 1 1 a" }, "GEOADD g CH 2 2 W 1.5 1 a 3 3 V 4 4 b", 2 },
    { { "PFADD p a b c" }, "PFADD p W d", 0 },
    { { "PFADD p a b c", "PFADD q W X", "PFADD r e f" }, "PFMERGE p q r", 1 },
    { { "PFADD p a b c", "PFADD q W X", "PFADD r e f" }, "PFCOUNT p q r", 0 },
    { { NULL }, "PFADD new a b", 1 },
    { { "RPUSH l V Va Vb", "SET d 1" }, "SORT l ALPHA STORE d", 3 },
    { { "RPUSH l V Va Vb" }, "LMOVE l m LEFT RIGHT", 2 },
    { { "SADD s V Va Vb" }, "SPOP s 2", 1 },
    { { "GEOADD g 1 1 a 2 2 W 3 3 V", "SET d 1" },
      "GEOSEARCHSTORE d g FROMLONLAT 2 2 BYRADIUS 1000 km ASC",
      3 },
    { { "XADD x 1-1 f v", "XADD x 2-1 f v", "XGROUP CREATE x V 0" },
      "XREADGROUP GROUP V c STREAMS x >",
      2 },
    { { "XADD x 1-1 f v", "XADD x 2-1 f v", "XGROUP CREATE x V 0",
        "XREADGROUP GROUP V c STREAMS x >" },
      "XREADGROUP GROUP V c STREAMS x 0",
      2 },
    { { "XADD x 1-1 f v", "XADD x 2-1 f v", "XGROUP CREATE x V 0",
        "XREADGROUP GROUP V c STREAMS x >", "XDEL x 2-1" },
      "XAUTOCLAIM x V d 0 0",
      2 },
    { { "XADD x 1-1 f v", "XADD x 2-1 f v", "XGROUP CREATE x V 0",
        "XREADGROUP GROUP V c STREAMS x >", "XDEL x 2-1" },
      "XCLAIM x V d 0 1-1 2-1",
      2 },
    { { "XADD x 1-1 f v", "XADD x 2-1 f v", "XGROUP CREATE x V 0",
        "XREADGROUP GROUP V c STREAMS x >" },
      "XTRIM x MAXLEN 1 DELREF",
      1 },
    { { "XADD x 1-1 f v", "XADD x 2-1 f v", "XGROUP CREATE x V 0",
        "XREADGROUP GROUP V c STREAMS x >" },
      "XADD x MAXLEN 1 DELREF 9-1 f v",
      1 },
    { { "XADD x 1-1 f v", "XADD x 2-1 f v", "XGROUP CREATE x V 0",
        "XREADGROUP GROUP V c STREAMS x >" },
      "XDELEX x DELREF IDS 2 1-1 2-1",
      1 },
    { { "SET k 1" }, "EVAL redis.call('set',KEYS[1],ARGV[1]) 1 k W", 2 },
    { { "UNWATCH" }, "WATCH V W Vb", 3 },
    { { NULL }, "BLPOP W V Vb 0.001", 5 },
    { { "SET k 1" }, "EVAL return{KEYS[1],ARGV[1]..ARGV[2]} 1 W V X", 3 },
    { { "SET k 1" }, "EVAL return{ok=ARGV[1]} 0 V", 3 },
    { { "SET k 1" }, "EVAL return{big_number=ARGV[1]} 0 V", 3 },
    { { "SET k 1" }, "EVAL error(ARGV[1]..'not\\32enough\\32memory') 0 V", 3 }, /* always one */
};

static struct server kv;
static struct client *c;
static char *payload;
static size_t payload_n;

static void setup(void)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "1");
}

static void teardown(void)
{
    server_stop(&kv);
}

/* Sends words between spaces. */
static void send_step(const char *text)
{
    static char fill[100000];
    const char *argv[16] = { NULL };
    char *own[16];
    size_t len[16] = { 0 }, argc = 0;
    memset(fill, 'x', sizeof fill);
    for (const char *at = text; *at != '\0'; at += *at == ' ') {
        size_t n = strcspn(at, " ");
        bool filled = !(at[1] >= 'A' && at[1] <= 'Z');
        struct {
            size_t fill;
            const char *bytes;
        } first = { 0, fill };
        if (filled) {
            first.fill = *at == 'W' ? 2000 : *at == 'V' ? sizeof fill : *at == 'X' ? 700 : 0;
        }
        ck_assert_uint_lt(argc, countof(argv));
        if (n == 1 && *at == 'P') {
            first.fill = payload_n;
            first.bytes = payload;
        }
        size_t rest = first.fill > 0 ? n - 1 : n;
        own[argc] = malloc(first.fill + rest + 1);
        must(own[argc] != NULL);
        memcpy(own[argc], first.bytes, first.fill);
        memcpy(own[argc] + first.fill, at + n - rest, rest);
        len[argc] = first.fill + rest;
        argv[argc] = own[argc];
        argc++;
        at += n;
    }
    client_send_args(c, argc, argv, len);
    while (argc > 0) {
        free(own[--argc]);
    }
}

static void prepare(const struct step *s)
{
    client_ask(c, "FLUSHALL");
    for (unsigned i = 0; i < countof(s->setup) && s->setup[i] != NULL; i++) {
        if (strncmp(s->setup[i], "FUNCTION LOAD", 13) == 0) {
            client_send(c, "%s", s->setup[i]);
        } else {
            send_step(s->setup[i]);
        }
        const struct resp *r = client_read(c);
        ck_assert_msg(r->type != RESP_ERROR, "%s: %s", s->setup[i], r->text);
        if (strstr(s->setup[i], "DUMP") != NULL) {
            payload = realloc(payload, r->len);
            must(payload != NULL);
            memcpy(payload, r->text, r->len);
            payload_n = r->len;
        }
    }
}

static void state(char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "%s ", client_line(c, "DEBUG DIGEST"));
    snprintf(out + n, size - n, "%s", client_line(c, "FUNCTION LIST"));
}

/* One request of which an allocation fails. True: it was refused. */
static bool refused(const struct step *s, unsigned after)
{
    char before[500], now[500];
    prepare(s);
    state(before, sizeof before);
    client_expect(c, "+OK", "DEBUG FAULT mem.alloc=nomem:%u:1,mem.large=nomem:0:0", after);
    send_step(s->request);
    const struct resp *r = NULL;
    bool lost = client_try_read(c, &r) != RESP_OK; /* the request could not be read */
    bool oom = lost || r->type == RESP_ERROR;
    ck_assert_msg(!oom || lost || strncmp(r->text, "OOM ", 4) == 0 ||
                      strstr(r->text, "not enough memory") != NULL,
                  "%s: %s", s->request, r->text);
    if (lost) {
        client_close(c);
        c = server_connect(&kv);
    }
    client_expect(c, "+OK", "DEBUG FAULT ''");
    client_expect(c, "\"mark\"", "ECHO mark"); /* there was one reply */
    state(now, sizeof now);
    if (oom) {
        ck_assert_msg(strcmp(before, now) == 0, "%s changed something, allocation %u: %s, %s",
                      s->request, after, before, now);
    }
    return oom;
}

#define ALLOCATIONS 12 /* of the busiest one, and some */

START_TEST(test_commands)
{
#ifdef KV_FAULTS
    const struct step *s = &steps[_i];
    unsigned met = 0;
    char before[500], now[500];
    c = server_connect(&kv);
    for (unsigned after = 0; after < ALLOCATIONS; after++) {
        met += refused(s, after);
    }
    ck_assert_msg(met >= s->least, "%s met only %u failures", s->request, met);
    /* what was done after the last failure is what the log says */
    state(before, sizeof before);
    client_expect(c, "+OK", "DEBUG RELOAD");
    state(now, sizeof now);
    ck_assert_str_eq(before, now);
    client_close(c);
    free(payload);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

#ifdef KV_FAULTS
static struct client *again(struct client *old)
{
    client_close(old);
    struct client *new = server_connect(&kv);
    client_hello(new, 3);
    return new;
}

/* Subscribes to two channels while an allocation fails. Returns how many errors there were. */
static unsigned subscribe(unsigned after)
{
    const struct resp *r = NULL;
    unsigned failed = 0, done = 0;
    client_expect(c, "+OK", "DEBUG FAULT mem.alloc=nomem:%u:1,mem.large=nomem:0:0", after);
    send_step("SUBSCRIBE V W");
    for (unsigned i = 0; i < 2; i++) {
        if (client_try_read(c, &r) != RESP_OK) { /* the request could not be read, or answered */
            c = again(c);
            client_expect(c, "+OK", "DEBUG FAULT ''");
            while (client_ask(c, "PUBSUB CHANNELS")->count > 0) {
                usleep(1000);
            }
            return failed;
        }
        ck_assert(r->type != RESP_ERROR || strncmp(r->text, "OOM ", 4) == 0);
        failed += r->type == RESP_ERROR;
        done += r->type != RESP_ERROR;
    }
    client_expect(c, "+OK", "DEBUG FAULT ''");
    ck_assert_uint_eq(client_ask(c, "PUBSUB CHANNELS")->count, done);
    bool any = strstr(client_ask(c, "INFO clients")->text, "pubsub_clients:1") != NULL;
    ck_assert(any == (done > 0));
    client_send(c, "UNSUBSCRIBE");
    do {
        ck_assert_int_eq(client_read(c)->type, RESP_PUSH);
    } while (done > 0 && --done > 0);
    return failed;
}

/* Reads a key that it tracks while an allocation fails, and then it changes. True: it was told to
 * forget the key when it had read it. */
static bool track(struct client *d, unsigned after)
{
    const struct resp *r = NULL;
    client_expect(d, "+OK", "FLUSHALL");
    client_expect(d, "1", "EVAL \"return redis.call('INCR', ('x'):rep(100000))\" 0");
    client_expect(c, "+OK", "CLIENT TRACKING ON");
    client_expect(d, "+OK", "DEBUG FAULT mem.alloc=nomem:%u:1,mem.large=nomem:0:0", after);
    send_step("GET V");
    bool read = client_try_read(c, &r) == RESP_OK && r->type == RESP_BULK;
    client_expect(d, "+OK", "DEBUG FAULT ''");
    bool told = false;
    if (read) {
        client_send(c, "PING");
        told = client_read(c)->type == RESP_PUSH;
    }
    if (told) {
        client_expect_next(c, "+PONG");
    }
    client_expect(d, "1", "EVAL \"redis.call('INCR', ('x'):rep(100000)) return 1\" 0");
    if (read && !told) {
        ck_assert_int_eq(client_read(c)->type, RESP_PUSH);
    }
    c = again(c);
    return told;
}
#endif

/* Names of channels and of tracked keys may be long. */
START_TEST(test_names)
{
#ifdef KV_FAULTS
    unsigned failed = 0, told = 0;
    struct client *d = server_connect(&kv);
    c = server_connect(&kv);
    client_hello(c, 3);
    for (unsigned after = 0; after < ALLOCATIONS; after++) {
        failed += subscribe(after);
        told += track(d, after);
    }
    ck_assert_uint_ge(failed, 4);
    ck_assert_uint_ge(told, 1);
    client_close(c);
    client_close(d);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

/* In MULTI an allocation fails, when the commands are queued or when they run. What was refused has
 * changed nothing, what was not is there, also when the log is read again. */
START_TEST(test_exec)
{
#ifdef KV_FAULTS
    char now[500], again[500];
    unsigned failed = 0;
    c = server_connect(&kv);
    for (unsigned after = 0; after < 14; after++) {
        client_ask(c, "FLUSHALL");
        client_expect(c, "+OK", "DEBUG FAULT mem.alloc=nomem:%u:1,mem.large=nomem:0:0", after);
        client_expect(c, "+OK", "MULTI");
        const struct resp *r = NULL;
        bool queued = true, read = true;
        for (unsigned i = 0; i < 2 && read; i++) {
            send_step(i == 0 ? "SET k V" : "SET l V");
            read = client_try_read(c, &r) == RESP_OK; /* or the request could not be read */
            queued &= read && r->type != RESP_ERROR;
        }
        if (read) {
            send_step("EXEC");
            r = client_read(c);
            ck_assert(r->type == RESP_ERROR || queued);
            queued &= r->type != RESP_ERROR; /* or EXEC itself was refused */
        } else {
            client_close(c);
            c = server_connect(&kv);
        }
        bool set[2];
        for (unsigned i = 0; i < 2; i++) {
            set[i] = queued && r->at[i]->type != RESP_ERROR;
            ck_assert(!queued || set[i] || strncmp(r->at[i]->text, "OOM ", 4) == 0);
        }
        failed += !set[0] || !set[1];
        client_expect(c, "+OK", "DEBUG FAULT ''");
        ck_assert_int_eq(client_int(c, "STRLEN k"), set[0] ? 100000 : 0);
        ck_assert_int_eq(client_int(c, "STRLEN l"), set[1] ? 100000 : 0);
        state(now, sizeof now);
        client_expect(c, "+OK", "DEBUG RELOAD");
        state(again, sizeof again);
        ck_assert_str_eq(now, again);
    }
    ck_assert_uint_ge(failed, 6); /* each is read, queued, has room in the log, and is stored */
    client_close(c);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

#ifdef KV_FAULTS
/* One request of which each allocation fails in turn, Lua's too: it is refused, or done as usual
 * after three of them, and nothing else. */
static void until_done(const char *before, void (*send)(void), const char *reply)
{
    unsigned failed = 0, in_a_row = 0;
    for (unsigned after = 0; in_a_row < 3; after++) {
        ck_assert_uint_lt(after, 2000);
        client_ask(c, "%s", before);
        client_expect(c, "+OK", "DEBUG FAULT mem.alloc=nomem:%u:1,mem.large=nomem:0:0", after);
        send();
        const struct resp *r = NULL;
        bool read = client_try_read(c, &r) == RESP_OK; /* or the request could not be read */
        bool refused = !read || r->type == RESP_ERROR;
        if (read && refused) {
            bool memory =
                strstr(r->text, "OOM ") != NULL || strstr(r->text, "not enough memory") != NULL;
            ck_assert_msg(memory, "%s", r->text);
        } else if (read) {
            ck_assert_str_eq(r->text, reply);
        } else {
            client_close(c);
            c = server_connect(&kv);
        }
        client_expect(c, "+OK", "DEBUG FAULT ''");
        failed += refused;
        in_a_row = refused ? 0 : in_a_row + 1;
    }
    ck_assert_uint_ge(failed, 3);
}

static void send_mset(void)
{
    client_send(c, "EVAL \"local t={'mset'} for i=1,6000 do t[i+1]='k' end return "
                   "redis.call(unpack(t))\" 0");
}

/* The code, a description or a name is of 100,000 bytes. */
static void send_library(unsigned description, unsigned name)
{
    static char code[400000];
    const char *argv[] = { "FUNCTION", "LOAD", code };
    snprintf(code, sizeof code,
             "#!lua name=lib\nredis.register_function{function_name='f%0*d',description='%0*d',"
             "callback=function() end} --%0100000d",
             (int)name, 0, (int)description, 0, 0);
    size_t len[] = { 8, 4, strlen(code) };
    client_send_args(c, 3, argv, len);
}

static void send_long_code(void)
{
    send_library(1, 1);
}

static void send_long_description(void)
{
    send_library(100000, 1);
}

static void send_long_name(void)
{
    send_library(1, 100000);
}
#endif

START_TEST(test_scripts)
{
#ifdef KV_FAULTS
    c = server_connect(&kv);
    until_done("SCRIPT FLUSH", send_mset, "OK");
    until_done("FUNCTION FLUSH", send_long_code, "lib");
    until_done("FUNCTION FLUSH", send_long_description, "lib");
    until_done("FUNCTION FLUSH", send_long_name, "lib");
    client_close(c);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

/* What a transaction logs ends close to where its buffer does: around 128 KiB, where it doubles. */
START_TEST(test_exec_of_many)
{
    char now[500], again[500], set[32];
    c = server_connect(&kv);
    for (int last = 1035; last < 1065; last++) {
        client_expect(c, "+OK", "MULTI");
        for (int i = 0; i < 64; i++) {
            snprintf(set, sizeof set, "SET k%02d W", i);
            send_step(set);
            ck_assert_str_eq(client_read(c)->text, "QUEUED");
        }
        client_expect(c, "+QUEUED", "SET %03x %0*d", (unsigned)last, last, last);
        client_send(c, "EXEC");
        ck_assert_uint_eq(client_read(c)->count, 65);
    }
    state(now, sizeof now);
    client_expect(c, "+OK", "DEBUG RELOAD");
    state(again, sizeof again);
    ck_assert_str_eq(now, again);
    client_close(c);
}
END_TEST

UNIT_SUITE(memory)
{
    TCase *tc = unit_case_loop(suite, "memory", 60, test_commands, (int)countof(steps));
    tcase_add_unchecked_fixture(tc, setup, teardown);
    tc = unit_case_loop(suite, "exec", 60, test_exec, 1);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_exec_of_many);
    tcase_add_test(tc, test_names);
    tcase_add_test(tc, test_scripts);
}
