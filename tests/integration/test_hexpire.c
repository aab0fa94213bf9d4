/* test_hexpire.c -- Hash fields with a time to live: replies, what is hidden, events, the log, and
 * that they go by themselves. SPDX-License-Identifier: BSD-3-Clause
 *
 * Replies that a Redis 7.4 build gave are compared by redis-compat/transcript.py. */
#include "base/base.h"
#include "base/rng.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct server kv;

static void kv_start(void)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2", "--notify-keyspace-events", "KEA");
}

static void kv_stop(void)
{
    server_stop(&kv);
}

/* Both forms: a field of 70 bytes makes a tree. */
static const char *const more[] = {
    "x", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
};

#define FAR "4102444800000"

START_TEST(test_replies)
{
    struct client *c = server_connect(&kv);
    client_ask(c, "FLUSHALL");
    for (unsigned form = 0; form < 2; form++) {
        client_ask(c, "DEL h");
        client_expect(c, "4", "HSET h a 1 b 2 c 3 %s 4", more[form]);
        client_expect(c, "[\"1\", nil]", "HGETEX h PXAT " FAR " FIELDS 2 a nope");
        client_expect(c, "[" FAR ", -1, -2]", "HPEXPIRETIME h FIELDS 3 a b nope");
        client_expect(c, "[\"1\"]", "HGETEX h FIELDS 1 a");
        client_expect(c, "[" FAR "]", "HPEXPIRETIME h FIELDS 1 a");
        client_expect(c, "[\"1\", \"2\"]", "HGETEX h PERSIST FIELDS 2 a b");
        client_expect(c, "[-1]", "HPEXPIRETIME h FIELDS 1 a");
        client_expect(c, "[\"1\"]", "HGETEX h PXAT 1 FIELDS 1 a");
        client_expect(c, "0", "HEXISTS h a");
        client_expect(c, "[\"2\", nil, nil]", "HGETDEL h FIELDS 3 b nope b");
        client_expect(c, "0", "HSETEX h FXX PXAT " FAR " FIELDS 2 c x new y");
        client_expect(c, "0", "HSETEX h FNX FIELDS 2 c x new y");
        client_expect(c, "1", "HSETEX h PXAT " FAR " FXX FIELDS 1 c 5");
        client_expect(c, "1", "HSETEX h FNX FIELDS 1 new y");
        client_expect(c, "[" FAR ", -1]", "HPEXPIRETIME h FIELDS 2 c new");
        client_expect(c, "1", "HSETEX h KEEPTTL FIELDS 2 c 6 d 7");
        client_expect(c, "[" FAR ", -1]", "HPEXPIRETIME h FIELDS 2 c d");
        client_expect(c, "\"6.5\"", "HINCRBYFLOAT h c 0.5");
        client_expect(c, "[" FAR "]", "HPEXPIRETIME h FIELDS 1 c");
        client_expect(c, "1", "HSETEX h FIELDS 1 c 8");
        client_expect(c, "[-1]", "HPEXPIRETIME h FIELDS 1 c");
        client_expect(c, "1", "HSETEX h PXAT 1 FIELDS 2 c 9 other 1");
        client_expect(c, "[nil, nil, \"y\"]", "HMGET h c other new");
        client_expect(c, "1", "HSETEX gone PXAT 1 FIELDS 1 f 1");
        client_expect(c, "0", "EXISTS gone");
        client_expect(c, "[\"y\", \"7\", \"4\"]", "HGETDEL h FIELDS 3 new d %s", more[form]);
        client_expect(c, "0", "EXISTS h");
        client_expect(c, "[nil]", "HGETDEL h FIELDS 1 a");
        client_expect(c, "[nil]", "HGETEX h EX 10 FIELDS 1 a");
        client_hello(c, form == 0 ? 3 : 2);
    }
    client_close(c);
}
END_TEST

START_TEST(test_errors)
{
    static const struct {
        const char *request, *error;
    } wrong[] = {
        { "HGETDEL h FIELDS 2 a", "ERR The `numfields` parameter must match" },
        { "HGETDEL h FIELD 1 a", "ERR Mandatory argument FIELDS is missing" },
        { "HGETDEL h FIELDS 0 a", "ERR Number of fields must be a positive integer" },
        { "HGETDEL h FIELDS 9223372036854775808 a", "ERR Number of fields must be a positive" },
        { "HGETDEL h FIELDS 1", "ERR wrong number of arguments for 'hgetdel' command" },
        { "HGETDEL s FIELDS 1 a", "WRONGTYPE" },
        { "HGETEX h PXAT 1 1", "ERR Mandatory argument FIELDS is missing" },
        { "HGETEX h PERSIST 1 FIELDS 1 a", "ERR Mandatory argument FIELDS is missing" },
        { "HGETEX h EX 1 PX 1 FIELDS 1 a", "ERR Mandatory argument FIELDS is missing" },
        { "HGETEX h EX x FIELDS 1 a", "ERR value is not an integer or out of range" },
        { "HGETEX h EX -1 FIELDS 1 a", "ERR invalid expire time, must be >= 0" },
        { "HGETEX h PXAT 70368744177664 FIELDS 1 a",
          "ERR invalid expire time in 'hgetex' command" },
        { "HGETEX h PX 70368744177663 FIELDS 1 a", "ERR invalid expire time in 'hgetex' command" },
        { "HGETEX h EXAT 70368744178 FIELDS 1 a", "ERR invalid expire time in 'hgetex' command" },
        { "HGETEX s FIELDS 1 a", "WRONGTYPE" },
        { "HSETEX h FIELDS 1 a", "ERR wrong number of arguments for 'hsetex' command" },
        { "HSETEX h FIELDS 2 a b", "ERR wrong number of arguments for 'hsetex' command" },
        { "HSETEX h FIELDS 1 a b c", "ERR wrong number of arguments for 'hsetex' command" },
        { "HSETEX h FIELDS 0 a b", "ERR invalid number of fields" },
        { "HSETEX h NX FIELDS 1 a b", "ERR unknown argument: NX" },
        { "HSETEX h FNX FXX FIELDS 1 a b", "ERR Only one of FXX or FNX arguments can be" },
        { "HSETEX h EX 1 KEEPTTL FIELDS 1 a b", "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL" },
        { "HSETEX h KEEPTTL PX 1 FIELDS 1 a b", "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL" },
        { "HSETEX h EX FIELDS 1 a b", "ERR value is not an integer or out of range" },
        { "HSETEX s FIELDS 1 a b", "WRONGTYPE" },
        { "HPEXPIREAT h 70368744177664 FIELDS 1 a", "ERR invalid expire time in 'hpexpireat'" },
        { "HPEXPIRE h 70368744177663 FIELDS 1 a", "ERR invalid expire time in 'hpexpire'" },
        { "HEXPIREAT h 70368744178 FIELDS 1 a", "ERR invalid expire time in 'hexpireat'" },
        { "HPERSIST h FIELDS -1 a", "ERR Number of fields must be a positive integer" },
        { "HEXPIRE h 10 NX FIELDS 1", "ERR The `numfields` parameter must match" },
    };
    char digest[64];
    struct client *c = server_connect(&kv);
    client_ask(c, "FLUSHALL");
    client_ask(c, "SET s x");
    client_ask(c, "HSET h a 1");
    snprintf(digest, sizeof digest, "%s", client_line(c, "DEBUG DIGEST"));
    for (unsigned i = 0; i < countof(wrong); i++) {
        const struct resp *r = client_ask(c, "%s", wrong[i].request);
        ck_assert_msg(r->type == RESP_ERROR &&
                          strncmp(r->text, wrong[i].error, strlen(wrong[i].error)) == 0,
                      "%s: %s", wrong[i].request, r->text);
    }
    client_expect(c, digest, "DEBUG DIGEST");
    client_expect(c, "[1]", "HPEXPIREAT h 70368744177663 FIELDS 1 a");
    client_expect(c, "[70368744177663]", "HPEXPIRETIME h FIELDS 1 a");
    client_expect(c, "[70368744178]", "HEXPIRETIME h FIELDS 1 a");
    client_close(c);
}
END_TEST

/* ---- What is due is gone, though nobody removes it ---- */

static void wait_ms(unsigned ms)
{
    usleep(ms * 1000);
}

/* h has a, b and n as good as gone, and c and one more. */
static void half_due(struct client *c, unsigned form)
{
    client_ask(c, "DEL h h2 l");
    client_ask(c, "HSET h a 1 b 2 n 40 c 3 %s 4", more[form]);
    client_expect(c, "[1, 1, 1]", "HPEXPIRE h 1 FIELDS 3 a b n");
    client_expect(c, "[1]", "HPEXPIREAT h " FAR " FIELDS 1 c");
    wait_ms(5);
}

static void expect_reads(struct client *c, unsigned form, const char *key)
{
    client_expect(c, "2", "HLEN %s", key);
    client_expect(c, "nil", "HGET %s a", key);
    client_expect(c, "0", "HEXISTS %s b", key);
    client_expect(c, "0", "HSTRLEN %s b", key);
    client_expect(c, "[nil, \"3\", nil]", "HMGET %s a c n", key);
    ck_assert_uint_eq(client_ask(c, "HGETALL %s", key)->count, 4);
    ck_assert_uint_eq(client_ask(c, "HKEYS %s", key)->count, 2);
    ck_assert_uint_eq(client_ask(c, "HVALS %s", key)->count, 2);
    ck_assert_uint_eq(client_ask(c, "HSCAN %s 0 COUNT 100", key)->at[1]->count, 4);
    ck_assert_uint_eq(client_ask(c, "HSCAN %s 0 COUNT 100 NOVALUES", key)->at[1]->count, 2);
    ck_assert_uint_eq(client_ask(c, "HRANDFIELD %s 10", key)->count, 2);
    const struct resp *r = client_ask(c, "HRANDFIELD %s -50", key);
    ck_assert_uint_eq(r->count, 50);
    for (unsigned i = 0; i < 50; i++) {
        ck_assert(strcmp(r->at[i]->text, "c") == 0 || strcmp(r->at[i]->text, more[form]) == 0);
    }
    r = client_ask(c, "HRANDFIELD %s", key);
    ck_assert(strcmp(r->text, "c") == 0 || strcmp(r->text, more[form]) == 0);
    client_expect(c, "[-2, -1]", "HTTL %s FIELDS 2 a %s", key, more[form]);
    client_expect(c, "[-2]", "HEXPIRETIME %s FIELDS 1 b", key);
    client_ask(c, "DEL l");
    client_ask(c, "RPUSH l ''");
    client_expect(c, "[nil, \"3\"]", "SORT l BY nosort GET %s*->a GET %s*->c", key, key);
}

START_TEST(test_hidden)
{
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "DEBUG SET-ACTIVE-EXPIRE 0");
    for (unsigned form = 0; form < 2; form++) {
        half_due(c, form);
        expect_reads(c, form, "h");
        client_expect(c, "1", "COPY h h2");
        expect_reads(c, form, "h2");
        client_expect(c, "+OK", "RENAME h2 h3");
        expect_reads(c, form, "h3");
        client_expect(c, "1", "MOVE h3 5");
        client_ask(c, "SELECT 5");
        expect_reads(c, form, "h3");
        struct resp *r = (client_ask(c, "DUMP h3"), client_take(c));
        const char *argv[] = { "RESTORE", "h3", "0", r->text, "REPLACE" };
        client_send_args(c, 5, argv, (const size_t[]){ 7, 2, 1, r->len, 7 });
        client_expect_next(c, "+OK");
        resp_free(r);
        expect_reads(c, form, "h3");
        client_expect(c, "[" FAR "]", "HPEXPIRETIME h3 FIELDS 1 c");
        client_ask(c, "DEL h3");
        client_ask(c, "SELECT 0");
        /* changes meet what is not there */
        client_expect(c, "[-2, -2]", "HPERSIST h FIELDS 2 a b");
        client_expect(c, "5", "HINCRBY h n 5");
        client_expect(c, "[-1]", "HTTL h FIELDS 1 n");
        client_expect(c, "1", "HSET h a 10");
        client_expect(c, "[-1]", "HTTL h FIELDS 1 a");
        client_expect(c, "1", "HSETNX h b 20");
        client_expect(c, "5", "HLEN h");
        half_due(c, form);
        client_expect(c, "[-2]", "HEXPIRE h 100 FIELDS 1 a");
        client_expect(c, "0", "HDEL h b");
        client_expect(c, "\"0.5\"", "HINCRBYFLOAT h n 0.5");
        client_expect(c, "[nil]", "HGETDEL h FIELDS 1 a");
        half_due(c, form);
        client_expect(c, "0", "HSETEX h FXX FIELDS 1 a 1");
        client_expect(c, "1", "HSETEX h FNX KEEPTTL FIELDS 2 a 1 b 2");
        client_expect(c, "[-1, -1]", "HTTL h FIELDS 2 a b");
        half_due(c, form); /* the last one that is left goes, and so does the hash */
        client_expect(c, "2", "HDEL h c %s", more[form]);
        client_expect(c, "0", "EXISTS h");
        client_expect(c, "3", "HINCRBY h a 3");
        client_ask(c, "DEL h"); /* all are due */
        client_ask(c, "HSET h a 1 %s 2", more[form]);
        client_expect(c, "[1, 1]", "HPEXPIRE h 1 FIELDS 2 a %s", more[form]);
        wait_ms(5);
        client_expect(c, "0", "EXISTS h");
        client_expect(c, "+none", "TYPE h");
        client_expect(c, "1", "HSETNX h a 5");
        client_expect(c, "1", "HLEN h");
    }
    client_expect(c, "+OK", "DEBUG SET-ACTIVE-EXPIRE 1");
    client_close(c);
}
END_TEST

/* One time within EXEC and within a script. */
START_TEST(test_frozen)
{
    struct client *c = server_connect(&kv);
    client_ask(c, "DEL h");
    client_ask(c, "HSET h a 1 b 2");
    client_expect(c, "1",
                  "EVAL \"redis.call('HPEXPIRE', 'h', 2, 'FIELDS', 1, 'a') "
                  "local t = redis.call('TIME') local n repeat n = redis.call('TIME') until "
                  "(n[1] - t[1]) * 1000000 + n[2] - t[2] >= 0 "
                  "for i = 1, 100000 do local s = i .. 'x' end "
                  "return redis.call('HEXISTS', 'h', 'a')\" 1 h");
    client_ask(c, "MULTI");
    client_ask(c, "HSET h c 3");
    client_ask(c, "HPEXPIRE h 1 FIELDS 1 c");
    client_ask(c, "DEBUG SLEEP 0.02");
    client_ask(c, "HGET h c");
    client_expect(c, "[1, [1], +OK, \"3\"]", "EXEC");
    wait_ms(5);
    client_expect(c, "nil", "HGET h c");
    client_close(c);
}
END_TEST

/* ---- Events ---- */

static void expect_events(struct client *sub, const char *events)
{
    char text[256];
    snprintf(text, sizeof text, "%s", events);
    for (char *save, *e = strtok_r(text, " ", &save); e != NULL; e = strtok_r(NULL, " ", &save)) {
        char want[128];
        snprintf(want, sizeof want,
                 "[\"pmessage\", \"__keyevent@0__:*\", \"__keyevent@0__:%s\", \"h\"]", e);
        client_expect_next(sub, want);
    }
}

START_TEST(test_events)
{
    struct client *c = server_connect(&kv), *sub = server_connect(&kv);
    client_ask(c, "FLUSHALL");
    client_ask(sub, "PSUBSCRIBE __keyevent@0__:*");
    static const struct {
        const char *request, *events;
    } steps[] = {
        { "HSET h a 1 b 2 c 3", "hset" },
        { "HPEXPIREAT h " FAR " FIELDS 2 a b", "hexpire" },
        { "HPEXPIREAT h " FAR " NX FIELDS 1 a", "" },
        { "HPEXPIREAT h " FAR " FIELDS 1 nope", "" },
        { "HPERSIST h FIELDS 2 a nope", "hpersist" },
        { "HPERSIST h FIELDS 1 a", "" },
        { "HPEXPIREAT h 1 FIELDS 1 a", "hdel" },
        { "HGETEX h FIELDS 1 b", "" },
        { "HGETEX h PXAT " FAR " FIELDS 1 b", "hexpire" },
        { "HGETEX h PERSIST FIELDS 1 b", "hpersist" },
        { "HSETEX h FIELDS 1 d 4", "hset" },
        { "HSETEX h PXAT " FAR " FIELDS 1 d 4", "hset hexpire" },
        { "HGETDEL h FIELDS 1 d", "hdel" },
        { "HGETDEL h FIELDS 1 d", "" },
        { "HGETDEL h FIELDS 2 b c", "hdel del" },
        { "HSET h a 1 b 2", "hset" },
        { "HPEXPIREAT h 1 FIELDS 2 a b", "hdel del" },
        { "HSET h a 1 b 2", "hset" },
        { "HPEXPIRE h 10 FIELDS 1 a", "hexpire hexpired" },
        { "HPEXPIRE h 10 FIELDS 1 b", "hexpire hexpired del" },
    };
    for (unsigned i = 0; i < countof(steps); i++) {
        ck_assert_int_ne(client_ask(c, "%s", steps[i].request)->type, RESP_ERROR);
        expect_events(sub, steps[i].events);
    }
    client_expect_nothing(sub, 20);
    client_close(sub);
    client_close(c);
}
END_TEST

/* ---- They go by themselves ---- */

static int64_t info_number(struct client *c, const char *section, const char *field)
{
    const struct resp *r = client_ask(c, "INFO %s", section);
    const char *at = strstr(r->text, field);
    return at != NULL ? atoll(at + strlen(field)) : -1;
}

/* n fields from `first` on, of which none is due before the caller is done. */
static void many_fields(struct client *c, const char *key, unsigned first, unsigned n)
{
    for (unsigned i = first; i < first + n; i += 100) {
        char line[4000];
        size_t at = (size_t)sprintf(line, "HSET %s", key);
        for (unsigned j = i; j < i + 100; j++) {
            at += (size_t)sprintf(line + at, " f%u %u", j, j);
        }
        client_send(c, "%s", line);
    }
    for (unsigned i = 0; i < n; i += 100) {
        ck_assert_int_eq(client_read(c)->integer, 100);
    }
}

static void make_due(struct client *c, const char *key, unsigned n, int64_t when)
{
    for (unsigned i = 0; i < n; i += 100) {
        char line[4000];
        size_t at = (size_t)sprintf(line, "HPEXPIREAT %s %lld FIELDS 100", key, (long long)when);
        for (unsigned j = i; j < i + 100; j++) {
            at += (size_t)sprintf(line + at, " f%u", j);
        }
        client_send(c, "%s", line);
    }
    for (unsigned i = 0; i < n; i += 100) {
        ck_assert_uint_eq(client_read(c)->count, 100);
    }
}

START_TEST(test_many)
{
    struct client *c = server_connect(&kv);
    char digest[64];
    client_ask(c, "FLUSHALL");
    client_ask(c, "CONFIG RESETSTAT");
    many_fields(c, "all", 0, 50000);
    many_fields(c, "some", 0, 50100);
    make_due(c, "all", 50000, atoll(FAR));
    make_due(c, "some", 50000, atoll(FAR));
    ck_assert_int_eq(info_number(c, "keyspace", "subexpiry="), 2);
    ck_assert_int_eq(info_number(c, "stats", "expired_subkeys:"), 0);
    /* Not before all of them are told, or those that are told late were no expired ones. */
    const struct resp *r = client_ask(c, "TIME");
    int64_t when = (atoll(r->at[0]->text) + 1) * 1000 + unit_patient_ms(4000);
    make_due(c, "all", 50000, when);
    make_due(c, "some", 50000, when);
    for (unsigned i = 0; i < 3000 && info_number(c, "stats", "expired_subkeys:") < 100000; i++) {
        wait_ms(10);
    }
    ck_assert_int_eq(info_number(c, "stats", "expired_subkeys:"), 100000);
    ck_assert_int_eq(info_number(c, "stats", "expired_keys:"), 0);
    ck_assert_int_eq(info_number(c, "keyspace", "subexpiry="), 0);
    client_expect(c, "0", "EXISTS all");
    client_expect(c, "100", "HLEN some");
    client_expect(c, "\"50050\"", "HGET some f50050");
    client_expect(c, "1", "DBSIZE");
    snprintf(digest, sizeof digest, "%s", client_line(c, "DEBUG DIGEST"));
    client_expect(c, "+OK", "DEBUG RELOAD");
    client_expect(c, digest, "DEBUG DIGEST");
    client_close(c);
}
END_TEST

/* ---- The log ---- */

/* The due of every field, as text. */
static void dues_text(struct client *c, char *text)
{
    for (unsigned k = 0; k < 8; k++) {
        text += sprintf(text, "%s;",
                        client_line(c, "HPEXPIRETIME k%u FIELDS 6 a b c d e %s", k, more[1]));
        text += sprintf(text, "%s;", client_line(c, "HMGET k%u a b c d e %s", k, more[1]));
        text += sprintf(text, "%d ", (int)client_int(c, "EXISTS k%u", k));
        text += sprintf(text, "%s\n", client_line(c, "DEBUG DIGEST-VALUE k%u", k));
    }
}

static void random_change(struct client *c)
{
    static const char *const names[] = { "a", "b", "c", "d", "e" };
    const char *f = names[rng_below(5)], *g = names[rng_below(5)];
    unsigned k = (unsigned)rng_below(8), other = (unsigned)rng_below(8),
             n = (unsigned)rng_below(99);
    unsigned soon = (unsigned)rng_below(8) + 1;
    switch (rng_below(20)) {
    case 0:
    case 1:
    case 2: client_ask(c, "HSET k%u %s %u %s %u", k, f, n, g, n); break;
    case 3: client_ask(c, "HSET k%u %s %u", k, more[1], n); break;
    case 4:
    case 5: client_ask(c, "HPEXPIRE k%u %u FIELDS 2 %s %s", k, soon, f, g); break;
    case 6: client_ask(c, "HEXPIRE k%u %u FIELDS 2 %s %s", k, 1000 + n, f, g); break;
    case 7: client_ask(c, "HPEXPIRE k%u %u GT FIELDS 2 %s %s", k, 1000 + n, f, g); break;
    case 8: client_ask(c, "HEXPIREAT k%u 4102444800 NX FIELDS 1 %s", k, f); break;
    case 9: client_ask(c, "HPERSIST k%u FIELDS 2 %s %s", k, f, g); break;
    case 10: client_ask(c, "HINCRBY k%u %s %u", k, f, n); break;
    case 11: client_ask(c, "HINCRBYFLOAT k%u %s 0.25", k, f); break;
    case 12: client_ask(c, "HSETEX k%u PX %u FIELDS 1 %s %u", k, soon * 1000, f, n); break;
    case 13: client_ask(c, "HSETEX k%u KEEPTTL FIELDS 1 %s %u", k, f, n); break;
    case 14: client_ask(c, "HGETEX k%u PX %u FIELDS 2 %s %s", k, soon, f, g); break;
    case 15: client_ask(c, "HGETDEL k%u FIELDS 2 %s %s", k, f, g); break;
    case 16: client_ask(c, "COPY k%u k%u REPLACE", k, other); break;
    case 17: client_ask(c, "RENAME k%u k%u", k, other); break;
    case 18: client_ask(c, "HDEL k%u %s %s", k, f, g); break;
    default: client_ask(c, "HPEXPIREAT k%u %d FIELDS 1 %s", k, 1, f); break;
    }
}

START_TEST(test_recovered)
{
    static char before[20000], after[20000];
    char digest[64];
    struct server s;
    rng_seed_all(unit_seed());
    server_init(&s, SERVER_KV);
    for (unsigned round = 0; round < 4; round++) {
        server_start(&s, "--threads", "3");
        struct client *c = server_connect(&s);
        client_ask(c, "DEBUG SET-ACTIVE-EXPIRE %d", round % 2);
        for (unsigned i = 0; i < 1500; i++) {
            random_change(c);
        }
        wait_ms(30); /* nothing is due from here on for minutes, or is far away */
        for (unsigned k = 0; k < 8; k++) { /* but for seconds */
            client_ask(c, "HPERSIST k%u FIELDS 6 a b c d e %s", k, more[1]);
            client_ask(c, "HPEXPIREAT k%u " FAR " FIELDS 2 a %s", k, more[1]);
            client_ask(c, "HPEXPIRE k%u 1 FIELDS 1 b", k);
        }
        wait_ms(30);
        snprintf(digest, sizeof digest, "%s", client_line(c, "DEBUG DIGEST"));
        dues_text(c, before);
        client_close(c);
        server_kill(&s);
        server_start(&s, "--threads", "3");
        c = server_connect(&s);
        dues_text(c, after);
        ck_assert_str_eq(after, before);
        client_expect(c, digest, "DEBUG DIGEST");
        client_expect(c, "+OK", "DEBUG RELOAD");
        client_expect(c, digest, "DEBUG DIGEST");
        client_expect(c, "+OK", "CONFIG SET appendonly no");
        client_expect(c, "+OK", "CONFIG SET appendonly yes"); /* from an image */
        client_expect(c, "+OK", "DEBUG RELOAD");
        client_expect(c, digest, "DEBUG DIGEST");
        dues_text(c, after);
        ck_assert_str_eq(after, before);
        client_close(c);
        server_stop(&s);
    }
}
END_TEST

/* ---- A long key in the log ---- */

#define LONG_KEY   65536
#define LONG_COUNT 1000

/* What a request of head, `fields` names (each with a value) and this key has added to the log,
 * measured in requests. A word K of the head is the key. */
static double times_logged(struct client *c, const char *head, bool values)
{
    static char key[LONG_KEY + 1], names[LONG_COUNT][8];
    static const char *argv[16 + 2 * LONG_COUNT];
    char words[200];
    size_t argc = 0, bytes = 0;
    memset(key, 'k', LONG_KEY);
    snprintf(words, sizeof words, "%s", head);
    for (char *save, *w = strtok_r(words, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
        argv[argc++] = strcmp(w, "K") == 0 ? key : w;
    }
    for (unsigned i = 0; i < LONG_COUNT; i++) {
        snprintf(names[i], sizeof names[i], "f%u", i);
        argv[argc++] = names[i];
        if (values) {
            argv[argc++] = "v";
        }
    }
    for (size_t i = 0; i < argc; i++) {
        bytes += strlen(argv[i]);
    }
    int64_t before = info_number(c, "durability", "wal_appended_lsn:");
    client_send_args(c, argc, argv, NULL);
    const struct resp *r = client_read(c);
    ck_assert_msg(r->type != RESP_ERROR, "%s: %s", head, r->text);
    int64_t after = info_number(c, "durability", "wal_appended_lsn:");
    return (double)(after - before) / (double)bytes;
}

static void expect_short(struct client *c, const char *head, bool values)
{
    double times = times_logged(c, head, values);
    ck_assert_msg(times < 4, "%s: %.1f times the request in the log", head, times);
}

/* Kill and start: what is there is what was there. */
static struct client *again(struct server *s, struct client *c)
{
    char digest[64];
    snprintf(digest, sizeof digest, "%s", client_line(c, "DEBUG DIGEST"));
    client_close(c);
    server_kill(s);
    server_start(s, "--threads", "2");
    server_wait_ready(s);
    c = server_connect(s);
    client_expect(c, digest, "DEBUG DIGEST");
    return c;
}

/* Whatever happens to the fields, the key is not logged once for each of them. */
START_TEST(test_long_key)
{
    struct server s;
    char line[64];
    server_init(&s, SERVER_KV);
    server_start(&s, "--threads", "2");
    struct client *c = server_connect(&s);
    expect_short(c, "HSET K", true);
    expect_short(c, "HPEXPIREAT K " FAR " FIELDS 1000", false);
    expect_short(c, "HSETEX K KEEPTTL FIELDS 1000", true); /* one due */
    c = again(&s, c);
    client_expect(c, "+OK",
                  "EVAL \"for i = 0, 999 do redis.call('HPEXPIREAT', ARGV[1]:rep(65536), "
                  "" FAR " + i, 'FIELDS', 1, 'f' .. i) end return {ok = 'OK'}\" 0 k");
    expect_short(c, "HSETEX K FXX KEEPTTL FIELDS 1000", true); /* a thousand of them */
    c = again(&s, c);
    snprintf(line, sizeof line, "[%lld]", atoll(FAR) + 777);
    client_expect(c, line,
                  "EVAL \"return redis.call('HPEXPIRETIME', ARGV[1]:rep(65536), "
                  "'FIELDS', 1, 'f777')\" 0 k");
    expect_short(c, "HSETEX K PXAT 1 FIELDS 1000", true);
    client_expect(c, "0", "DBSIZE");
    c = again(&s, c);
    client_expect(c, "+OK", "DEBUG SET-ACTIVE-EXPIRE 0");
    expect_short(c, "HSET K other 1", true);
    expect_short(c, "HPEXPIRE K 1 FIELDS 1000", false);
    wait_ms(20);
    expect_short(c, "HDEL K", false);
    client_expect(c, "1", "DBSIZE");
    c = again(&s, c);
    client_close(c);
    server_stop(&s);
}
END_TEST

/* The slice removes many in one go: 32 of them to a key. */
START_TEST(test_long_key_slice)
{
    struct server s;
    server_init(&s, SERVER_KV);
    server_start(&s, "--threads", "2");
    struct client *c = server_connect(&s);
    expect_short(c, "HSET K other 1", true);
    int64_t before = info_number(c, "durability", "wal_appended_lsn:");
    (void)times_logged(c, "HPEXPIRE K 1 FIELDS 1000", false);
    for (unsigned i = 0; i < 6000 && info_number(c, "stats", "expired_subkeys:") < LONG_COUNT;
         i++) {
        wait_ms(10);
    }
    ck_assert_int_eq(info_number(c, "stats", "expired_subkeys:"), LONG_COUNT);
    int64_t logged = info_number(c, "durability", "wal_appended_lsn:") - before;
    ck_assert_msg(logged < 100 * LONG_KEY, "%lld bytes in the log", (long long)logged);
    c = again(&s, c);
    client_close(c);
    server_stop(&s);
}
END_TEST

/* How the dues of the fields f0 to f999 of a long key come about, and how long what a log that
 * begins holds of them may be, in keys. */
static const struct {
    const char *entries, *due; /* of a listpack; of field i, Lua */
    long long last;            /* of f999, behind FAR */
    unsigned keys;
} long_images[] = {
    { "128", "0", 0, 32 },       { "128", "i % 3", 0, 32 },  { "128", "i", 999, 8 },
    { "2000", "0", 0, 32 },      { "2000", "i % 3", 0, 32 }, { "2000", "i", 999, 8 },
    { "2000", "999 - i", 0, 8 },
};

/* A log that begins has the key for each due at most, or all of the hash at once. */
START_TEST(test_long_key_image)
{
    struct server s;
    char line[64];
    server_init(&s, SERVER_KV);
    server_start(&s, "--threads", "2", "--appendonly", "no");
    struct client *c = server_connect(&s);
    client_expect(c, "+OK", "CONFIG SET hash-max-listpack-entries %s", long_images[_i].entries);
    client_expect(c, "+OK",
                  "EVAL \"local k = ARGV[1]:rep(65536) for i = 0, 999 do "
                  "redis.call('HSET', k, 'f' .. i, 'v' .. i) redis.call('HPEXPIREAT', k, " FAR
                  " + (%s), 'FIELDS', 1, 'f' .. i) end redis.call('HSET', k, 'none', 1) "
                  "redis.call('PEXPIREAT', k, " FAR " + 5) return {ok = 'OK'}\" 0 k",
                  long_images[_i].due);
    client_expect(c, "+OK", "CONFIG SET appendonly yes");
    int64_t logged = info_number(c, "durability", "wal_appended_lsn:");
    ck_assert_msg(logged < (int64_t)long_images[_i].keys * LONG_KEY, "%lld bytes in the log",
                  (long long)logged);
    c = again(&s, c);
    snprintf(line, sizeof line, "[%lld, -1]", atoll(FAR) + long_images[_i].last);
    client_expect(c, line,
                  "EVAL \"return redis.call('HPEXPIRETIME', ARGV[1]:rep(65536), "
                  "'FIELDS', 2, 'f999', 'none')\" 0 k");
    snprintf(line, sizeof line, "[1001, \"v7\", %lld]", atoll(FAR) + 5);
    client_expect(c, line,
                  "EVAL \"local k = ARGV[1]:rep(65536) return {redis.call('HLEN', k), "
                  "redis.call('HGET', k, 'f7'), redis.call('PEXPIRETIME', k)}\" 0 k");
    client_close(c);
    server_stop(&s);
}
END_TEST

START_TEST(test_encoding)
{
    struct client *c = server_connect(&kv);
    client_ask(c, "FLUSHALL");
    client_ask(c, "HSET h a 1 b 2");
    client_expect(c, "\"listpack\"", "OBJECT ENCODING h");
    client_ask(c, "HPEXPIREAT h " FAR " FIELDS 1 b");
    client_expect(c, "\"listpackex\"", "OBJECT ENCODING h");
    client_expect(c, "[\"b\", \"a\"]", "HKEYS h"); /* earliest due first */
    ck_assert_int_eq(info_number(c, "keyspace", "subexpiry="), 1);
    ck_assert_int_gt(client_int(c, "MEMORY USAGE h"), 0);
    client_ask(c, "HPERSIST h FIELDS 1 b");
    client_expect(c, "\"listpackex\"", "OBJECT ENCODING h");
    ck_assert_int_eq(info_number(c, "keyspace", "subexpiry="), 0);
    client_ask(c, "HSET h %s 1", more[1]);
    client_expect(c, "\"hashtable\"", "OBJECT ENCODING h");
    client_ask(c, "HPEXPIREAT h " FAR " FIELDS 1 b");
    client_expect(c, "\"hashtable\"", "OBJECT ENCODING h");
    ck_assert_int_eq(info_number(c, "keyspace", "subexpiry="), 1);
    ck_assert_int_gt(client_int(c, "MEMORY USAGE h"), 0);
    client_close(c);
}
END_TEST

/* A watched hash of which a field goes has changed. */
START_TEST(test_watch)
{
    struct client *c = server_connect(&kv);
    client_ask(c, "DEL h");
    client_ask(c, "HSET h a 1 b 2");
    client_ask(c, "HPEXPIRE h 20 FIELDS 1 a");
    client_ask(c, "WATCH h");
    while (client_int(c, "HEXISTS h a") == 1) {
        wait_ms(1);
    }
    wait_ms(100);
    client_ask(c, "MULTI");
    client_ask(c, "PING");
    client_expect(c, "nil*", "EXEC");
    client_close(c);
}
END_TEST

#ifdef KV_FAULTS
/* Each allocation of a HEXPIRE of long fields fails in turn: all of them get it, or none. */
static bool expire_without_memory(struct server *s, struct client *c)
{
    static char wide[3000];
    char digest[64];
    snprintf(wide, sizeof wide, "%0*d", 2000, 7);
    client_ask(c, "HSET h %s1 1 %s2 2 b 3", wide, wide); /* perhaps it is this one */
    snprintf(digest, sizeof digest, "%s", client_line(c, "DEBUG DIGEST"));
    const struct resp *r = client_ask(c, "HPEXPIREAT h " FAR " FIELDS 3 b %s1 %s2", wide, wide);
    bool failed = r->type == RESP_ERROR;
    if (failed) {
        ck_assert_ptr_nonnull(strstr(r->text, "OOM"));
        client_expect(c, digest, "DEBUG DIGEST");
    } else {
        snprintf(digest, sizeof digest, "%s", client_line(c, "DEBUG DIGEST"));
    }
    client_close(c);
    server_kill(s);
    server_env(s, "KV_FAULTS", "");
    server_start(s, "--threads", "1");
    c = server_connect(s);
    client_expect(c, digest, "DEBUG DIGEST");
    client_close(c);
    server_stop(s);
    return failed;
}
#endif

START_TEST(test_out_of_memory)
{
#ifdef KV_FAULTS
    struct server s;
    unsigned failed = 0, tried = 0;
    for (unsigned after = 0; tried < 12; after++) {
        char spec[64];
        server_init(&s, SERVER_KV);
        snprintf(spec, sizeof spec, "mem.alloc=nomem:%u", after);
        server_env(&s, "KV_FAULTS", spec);
        if (server_try_start(&s, "--threads", "1") == 0) {
            server_wait_ready(&s);
            failed += expire_without_memory(&s, server_connect(&s));
            tried++;
        }
    }
    ck_assert_uint_ge(failed, 3);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

UNIT_SUITE(hexpire)
{
    TCase *tc = unit_case_slow(suite, "hexpire", 300, test_replies, test_errors, test_hidden,
                               test_frozen, test_events, test_encoding, test_watch, test_many);
    tcase_add_unchecked_fixture(tc, kv_start, kv_stop);
    unit_case_slow(suite, "hexpire_log", 300, test_recovered, test_out_of_memory, test_long_key,
                   test_long_key_slice);
    unit_case_loop(suite, "hexpire_image", 60, test_long_key_image, countof(long_images));
}
