/* test_memory_told.c -- Without memory for what others hear, or for a request that waits.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY  The server goes on, and nobody is left to think that nothing happened. Copies for
 *      subscribers, monitors and caches are made when the change is made, and that stands. As in
 *      test_memory.c each allocation fails in turn, and what ends the process when it fails
 *      (mem.large) is never as large as a client has chosen. */
#include "base/base.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LONG 100000 /* bytes of a word that a client chose */

static struct server kv;
static struct client *admin;
static char *word; /* LONG bytes */

static void setup(void)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "1", "--notify-keyspace-events", "KEA");
    admin = server_connect(&kv);
    word = malloc(LONG + 1);
    must(word != NULL);
    memset(word, 'x', LONG);
    word[LONG] = '\0';
}

static void teardown(void)
{
    free(word);
    client_close(admin);
    server_stop(&kv);
}

#ifdef KV_FAULTS
/* Words between spaces; W is the long one. */
static void send_words(struct client *c, const char *text)
{
    char copy[200], *rest = copy;
    const char *argv[8];
    size_t len[8], n = 0;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *at; (at = strtok_r(rest, " ", &rest)) != NULL; n++) {
        ck_assert_uint_lt(n, countof(argv));
        argv[n] = strcmp(at, "W") == 0 ? word : at;
        len[n] = strlen(argv[n]);
    }
    client_send_args(c, n, argv, len);
}

static void arm(unsigned after)
{
    client_expect(admin, "+OK", "DEBUG FAULT mem.alloc=nomem:%u:1,mem.large=nomem:0:0", after);
}

static void disarm(void)
{
    client_expect(admin, "+OK", "DEBUG FAULT ''");
}

struct told {
    const char *listen[3];
    const char *request;
    int resp;
};
static const struct told told[] = {
    { { "PSUBSCRIBE *" }, "SET W 1", 2 },
    { { "PSUBSCRIBE *" }, "EVAL redis.call('set',KEYS[1],1) 1 W", 2 },
    { { "SUBSCRIBE ch" }, "PUBLISH ch W", 2 },
    { { "PSUBSCRIBE c*" }, "PUBLISH ch W", 2 },
    { { "SSUBSCRIBE ch" }, "SPUBLISH ch W", 2 },
    { { "MONITOR" }, "SET k W", 2 },
    { { "MONITOR" }, "EVAL redis.call('set',KEYS[1],ARGV[1]) 1 k W", 2 },
    { { "CLIENT TRACKING ON", "GET W" }, "SET W 1", 3 },
    { { "CLIENT TRACKING ON BCAST" }, "SET W 1", 3 },
    { { "CLIENT TRACKING ON BCAST PREFIX x" }, "MSET W 1 xy 2", 3 },
    { { "CLIENT TRACKING ON", "GET W" },
      "EVAL redis.call('set',KEYS[1],1)return(redis.call('get','k')) 1 W",
      3 },
};

static struct client *listener(const struct told *t)
{
    struct client *c = server_connect(&kv);
    if (t->resp == 3) {
        client_hello(c, 3);
    }
    for (unsigned i = 0; i < countof(t->listen) && t->listen[i] != NULL; i++) {
        send_words(c, t->listen[i]);
        (void)client_read(c);
    }
    return c;
}

enum outcome { REFUSED, HEARD, MISSED };

/* One request of which an allocation fails. */
static enum outcome tell(const struct told *t, unsigned after)
{
    client_expect(admin, "+OK", "SCRIPT FLUSH"); /* what its script needs is not known */
    struct client *hears = listener(t), *c = server_connect(&kv);
    const struct resp *r = NULL;
    arm(after);
    send_words(c, t->request);
    bool done = client_try_read(c, &r) == RESP_OK && r->type != RESP_ERROR;
    disarm();
    enum outcome out = REFUSED;
    if (done) {
        /* without a word of it, that is: closed, or told of all keys */
        bool heard = client_try_read(hears, &r) == RESP_OK;
        ck_assert_msg(heard || t->resp == 2, "%s: not told that anything may have changed",
                      t->request);
        bool all = heard && t->resp == 3 && r->at[1]->type == RESP_NIL;
        out = heard && !all ? HEARD : MISSED;
    }
    client_close(hears);
    client_close(c);
    return out;
}

START_TEST(test_told)
{
    const struct told *t = &told[_i];
    unsigned met[MISSED + 1] = { 0 };
    struct client *other = server_connect(&kv);
    unsigned rounds = strncmp(t->request, "EVAL", 4) == 0 ? 120 : 14; /* Lua's, too */
    for (unsigned after = 0; after < rounds; after++) {
        met[tell(t, after)]++;
    }
    bool may_refuse = strstr(t->request, "PUBLISH") != NULL;
    ck_assert_msg(met[HEARD] > 0, "%s", t->request);
    ck_assert_msg(met[MISSED] > 0, "%s", t->request);
    ck_assert_msg(met[REFUSED] > may_refuse, "%s: %u", t->request, met[REFUSED]);
    client_expect(other, "+PONG", "PING");
    client_close(other);
}
END_TEST

/* What the script changes is undone, since it needs a key that it has not declared, and it runs
 * again. Who was taken out of the table is in it again, or hears of the key at once. */
START_TEST(test_told_after_undo)
{
    static const struct told reads = { { "CLIENT TRACKING ON", "GET k" }, NULL, 3 };
    unsigned done = 0, refused = 0, in_a_row = 0;
    for (unsigned after = 0; in_a_row < 30; after++) { /* then all have failed, Lua's too */
        struct client *hears = listener(&reads), *c = server_connect(&kv);
        const struct resp *r = NULL;
        client_expect(admin, "+OK", "DEBUG FAULT mem.alloc=nomem:%u:1", after);
        client_send(c,
                    "EVAL \"redis.call('set', KEYS[1], '%u') return redis.call('get', 'u')"
                    "\" 1 k",
                    after);
        bool ok = client_try_read(c, &r) == RESP_OK && r->type != RESP_ERROR;
        disarm();
        if (ok) {
            client_timeout(hears, unit_patient_ms(5000));
            ck_assert_msg(client_try_read(hears, &r) == RESP_OK, "not told, after %u", after);
        }
        done += ok;
        refused += !ok;
        in_a_row = ok ? in_a_row + 1 : 0;
        ck_assert_uint_lt(after, 2000);
        client_close(hears);
        client_close(c);
    }
    ck_assert_msg(done > in_a_row && refused > 0, "%u done, %u refused", done, refused);
}
END_TEST

/* Who listens to something else is not disconnected for a message that is lost. */
START_TEST(test_others_stay)
{
    struct client *hears = server_connect(&kv);
    const struct resp *r = NULL;
    client_expect(hears, "[\"subscribe\", \"other\", 1]", "SUBSCRIBE other");
    for (unsigned after = 0; after < 14; after++) {
        struct client *c = server_connect(&kv), *gone = server_connect(&kv);
        client_expect(gone, "[\"subscribe\", \"ch\", 1]", "SUBSCRIBE ch");
        arm(after);
        send_words(c, "PUBLISH ch W");
        (void)client_try_read(c, &r);
        disarm();
        client_close(c);
        client_close(gone);
    }
    client_expect(admin, "1", "PUBLISH other yes");
    client_expect_next(hears, "[\"message\", \"other\", \"yes\"]");
    client_close(hears);
}
END_TEST

static int64_t blocked_clients(void)
{
    const struct resp *r = client_ask(admin, "INFO clients");
    const char *at = strstr(r->text, "blocked_clients:");
    return at != NULL ? atoll(at + strlen("blocked_clients:")) : -1;
}

/* The request of c has come to something: RESP_OK: a reply, RESP_CLOSED, RESP_TIMEOUT: c waits. */
static enum resp_status settled(struct client *c, const struct resp **r)
{
    enum resp_status st = RESP_TIMEOUT;
    client_timeout(c, 0);
    while (st == RESP_TIMEOUT && blocked_clients() == 0) {
        st = client_try_read(c, r);
    }
    client_timeout(c, 30000);
    return st;
}

/* A request that a pause holds, and one behind a command that waits. */
START_TEST(test_held)
{
    unsigned closed[2] = { 0 }, done[2] = { 0 };
    for (unsigned i = 0; i < 2 * 8; i++) {
        struct client *c = server_connect(&kv);
        unsigned how = i % 2;
        if (how == 0) {
            client_expect(admin, "+OK", "CLIENT PAUSE 600000 WRITE");
        }
        arm(i / 2);
        if (how == 0) {
            send_words(c, "SET k W");
        } else {
            static const char both[] = "BLPOP l 0\r\nSET k v\r\n";
            client_send_raw(c, both, sizeof both - 1);
        }
        const struct resp *r = NULL;
        enum resp_status st = settled(c, &r);
        disarm();
        client_expect(admin, "+OK", "CLIENT UNPAUSE");
        client_ask(admin, "RPUSH l a");
        bool ok = st == RESP_OK || client_try_read(c, &r) == RESP_OK;
        if (ok && how == 1 && r->type != RESP_ERROR) {
            ok = client_try_read(c, &r) == RESP_OK;
        }
        closed[how] += !ok;
        done[how] += ok && r->type == RESP_SIMPLE;
        client_close(c);
        client_ask(admin, "DEL l");
    }
    for (unsigned how = 0; how < 2; how++) {
        ck_assert_msg(closed[how] > 0 && done[how] > 0, "%u: %u closed, %u done", how, closed[how],
                      done[how]);
    }
}
END_TEST

/* Refused, and not parked; or parked and served. */
START_TEST(test_blocked)
{
    unsigned refused = 0, served = 0;
    for (unsigned after = 0; after < 10; after++) {
        struct client *c = server_connect(&kv);
        const struct resp *r = NULL;
        arm(after);
        send_words(c, "BLPOP W 0");
        enum resp_status st = settled(c, &r);
        disarm();
        if (st == RESP_OK) {
            ck_assert_int_eq(r->type, RESP_ERROR);
            ck_assert_int_eq(blocked_clients(), 0);
            refused++;
        } else if (st == RESP_TIMEOUT) {
            send_words(admin, "RPUSH W a");
            (void)client_read(admin);
            ck_assert_int_eq(client_read(c)->type, RESP_ARRAY);
            served++;
        }
        client_close(c);
    }
    ck_assert_uint_ge(refused, 3); /* itself, its keys, its arguments */
    ck_assert_uint_ge(served, 1);
}
END_TEST

#define KEYS 3000

static void send_mset(struct client *c)
{
    static char name[KEYS][16];
    static const char *argv[2 * KEYS + 1];
    static size_t len[2 * KEYS + 1];
    argv[0] = "MSET";
    len[0] = 4;
    for (unsigned i = 0; i < KEYS; i++) {
        len[2 * i + 1] = (size_t)snprintf(name[i], sizeof name[i], "key:%u", i);
        argv[2 * i + 1] = name[i];
        argv[2 * i + 2] = "v";
        len[2 * i + 2] = 1;
    }
    client_send_args(c, countof(argv), argv, len);
}

/* What a worker needs to know of the keys of one request is refused, too. */
START_TEST(test_keys)
{
    unsigned refused[2] = { 0 }, done[2] = { 0 };
    client_expect(admin, "+OK", "CONFIG SET notify-keyspace-events ''");
    for (unsigned i = 0; i < 2 * 12; i++) {
        struct client *c = server_connect(&kv);
        const struct resp *r = NULL;
        unsigned in_multi = i % 2;
        client_ask(admin, "FLUSHALL");
        if (in_multi) {
            client_expect(c, "+OK", "MULTI");
            send_mset(c);
            client_expect_next(c, "+QUEUED");
        }
        arm(i < 22 ? i / 2 : 1000000);
        if (in_multi) {
            client_send(c, "EXEC");
        } else {
            send_mset(c);
        }
        bool read = client_try_read(c, &r) == RESP_OK;
        bool ok =
            read && (in_multi && r->type == RESP_ARRAY ? r->at[0]->type : r->type) == RESP_SIMPLE;
        disarm();
        ck_assert_int_eq(client_int(admin, "DBSIZE"), ok ? KEYS : 0);
        refused[in_multi] += read && !ok;
        done[in_multi] += ok;
        client_close(c);
    }
    for (unsigned in_multi = 0; in_multi < 2; in_multi++) {
        ck_assert_uint_ge(refused[in_multi], 3);
        ck_assert_uint_ge(done[in_multi], 1);
    }
}
END_TEST

/* A request of one command and many words: `head`, then `first` n times, then `second` n times, or
 * the two in turn. '%' stands for the number of the word. */
#define MANY 5000
static void send_many(struct client *c, const char *head, const char *first, const char *second,
                      unsigned n, bool in_turn)
{
    static char text[2 * MANY][16];
    static const char *argv[2 * MANY + 8];
    static size_t len[countof(argv)];
    char copy[100], *rest = copy;
    size_t argc = 0;
    snprintf(copy, sizeof copy, "%s", head);
    for (char *at; (at = strtok_r(rest, " ", &rest)) != NULL;) {
        argv[argc++] = at;
    }
    const char *const kind[] = { first, second };
    for (unsigned i = 0; i < 2 * n && kind[in_turn ? i % 2 : i / n] != NULL; i++) {
        const char *word_of = kind[in_turn ? i % 2 : i / n], *at = strchr(word_of, '%');
        int plain = at != NULL ? (int)(at - word_of) : (int)strlen(word_of);
        snprintf(text[i], sizeof text[i], "%.*s", plain, word_of);
        if (at != NULL) {
            snprintf(text[i], sizeof text[i], "%.*s%05u", plain, word_of, i);
        }
        argv[argc++] = text[i];
    }
    for (size_t i = 0; i < argc; i++) {
        len[i] = strlen(argv[i]);
    }
    client_send_args(c, argc, argv, len);
}

/* More streams than there is memory for, to wait for: refused, or parked and served. */
START_TEST(test_many_streams)
{
    unsigned refused = 0, served = 0;
    for (unsigned i = 0; i < 40; i++) {
        struct client *c = server_connect(&kv);
        const struct resp *r = NULL;
        client_ask(admin, "FLUSHALL");
        arm(i < 30 ? i : 30u << (i - 30)); /* each place in a list is asked for, too */
        send_many(c, "XREAD BLOCK 0 STREAMS", "stream%", "$", 2100, false);
        enum resp_status st = settled(c, &r);
        disarm();
        if (st == RESP_OK) {
            ck_assert_int_eq(r->type, RESP_ERROR);
            ck_assert_int_eq(blocked_clients(), 0);
            refused++;
        } else if (st == RESP_TIMEOUT) {
            client_expect(admin, "\"1-1\"", "XADD stream00007 1-1 f v");
            ck_assert_int_eq(client_read(c)->type, RESP_ARRAY);
            served++;
        }
        client_close(c);
    }
    ck_assert_uint_ge(refused, 3); /* its sources, its arguments, its IDs */
    ck_assert_uint_ge(served, 1);
}
END_TEST

/* As many options as one likes. */
START_TEST(test_many_options)
{
    unsigned refused = 0, done = 0;
    for (unsigned after = 0; after < 24; after++) {
        struct client *c = server_connect(&kv);
        const struct resp *r = NULL;
        client_hello(c, 3);
        arm(after);
        send_many(c, "CLIENT TRACKING on", "noloop", NULL, 4100, false);
        bool read = client_try_read(c, &r) == RESP_OK;
        refused += read && r->type == RESP_ERROR;
        done += read && r->type == RESP_SIMPLE;
        disarm();
        client_close(c);
    }
    ck_assert_uint_ge(refused, 1);
    ck_assert_uint_ge(done, 1);
}
END_TEST

/* A prefix as long, and as many of them, as one likes. Refused, none is there. */
START_TEST(test_prefixes)
{
    unsigned refused[2] = { 0 }, done[2] = { 0 };
    for (unsigned i = 0; i < 2 * 40; i++) {
        struct client *c = server_connect(&kv);
        const struct resp *r = NULL;
        unsigned many = i % 2, after = many ? i * i : i / 2; /* up to one for each prefix */
        client_hello(c, 3);
        client_expect(c, "+OK", "CLIENT TRACKING on BCAST PREFIX a PREFIX b");
        arm(after);
        if (many) {
            send_many(c, "CLIENT TRACKING on BCAST", "PREFIX", "p%", MANY, true);
        } else {
            send_words(c, "CLIENT TRACKING on BCAST PREFIX c PREFIX W");
        }
        bool read = client_try_read(c, &r) == RESP_OK;
        bool ok = read && r->type == RESP_SIMPLE;
        bool no_room = read && r->type == RESP_ERROR && strncmp(r->text, "OOM", 3) == 0;
        disarm();
        if (no_room) {
            ck_assert_str_eq(
                client_line(c, "CLIENT TRACKINGINFO"),
                "{\"flags\": ~[\"on\", \"bcast\"], \"redirect\": 0, \"prefixes\": [\"a\", "
                "\"b\"]}");
        }
        refused[many] += no_room;
        done[many] += ok;
        client_close(c);
    }
    for (unsigned many = 0; many < 2; many++) {
        ck_assert_msg(refused[many] >= 1 && done[many] >= 1, "%u: %u refused, %u done", many,
                      refused[many], done[many]);
    }
}
END_TEST

/* All channels are left, one by one, at once or when the client goes. */
START_TEST(test_many_channels)
{
    for (unsigned i = 0; i < 2; i++) {
        struct client *c = server_connect(&kv);
        send_many(c, "SUBSCRIBE", "channel%", NULL, MANY, false);
        for (unsigned n = 1; n <= MANY; n++) {
            ck_assert_int_eq(client_read(c)->at[2]->integer, n);
        }
        client_expect(c, "[\"psubscribe\", \"p*\", 5001]", "PSUBSCRIBE p*");
        arm(1000000);
        for (unsigned n = MANY; i == 0 && n-- > 0;) {
            if (n == MANY - 1) {
                client_send(c, "UNSUBSCRIBE");
            }
            const struct resp *r = client_read(c);
            ck_assert_str_eq(r->at[0]->text, "unsubscribe");
            ck_assert_int_eq(r->at[2]->integer, n + 1);
        }
        if (i == 0) {
            client_expect(c, "[\"unsubscribe\", nil, 1]", "UNSUBSCRIBE");
            client_expect(c, "[\"punsubscribe\", \"p*\", 0]", "PUNSUBSCRIBE");
        }
        client_close(c);
        while (strcmp(client_line(admin, "PUBSUB CHANNELS"), "[]") != 0) {
            usleep(1000);
        }
        disarm();
        client_expect(admin, "0", "PUBSUB NUMPAT");
    }
}
END_TEST

/* A log that begins without memory for what it must hold is given up, and nothing else is. */
START_TEST(test_log_given_up)
{
    unsigned given_up = 0, begun = 0;
    client_expect(admin, "+OK", "CONFIG SET appendonly no");
    send_words(admin, "SET k W");
    client_expect_next(admin, "+OK");
    send_words(admin, "XADD s 1-1 f W");
    (void)client_read(admin);
    send_words(admin, "RPUSH l W W");
    (void)client_read(admin);
    for (unsigned after = 0; after < 40 && (given_up < 3 || begun < 3); after++) {
        arm(after);
        const struct resp *r = client_ask(admin, "CONFIG SET appendonly yes");
        bool ok = r->type == RESP_SIMPLE;
        ck_assert_msg(ok || strstr(r->text, "memory") != NULL, "%s", r->text);
        disarm();
        if (ok) {
            client_expect(admin, "+OK", "CONFIG SET appendonly no");
        }
        begun += ok;
        given_up += !ok;
    }
    ck_assert_uint_ge(given_up, 3);
    ck_assert_uint_ge(begun, 3);
    client_expect(admin, "+OK", "CONFIG SET appendonly yes");
    server_kill(&kv);
    server_start(&kv, "--threads", "1");
    client_close(admin);
    admin = server_connect(&kv);
    client_expect(admin, "100000", "STRLEN k");
    client_expect(admin, "1", "XLEN s");
    client_expect(admin, "2", "LLEN l");
}
END_TEST
#else
START_TEST(test_needs_faults)
{
    unit_skip("needs fault points");
}
END_TEST
#endif

UNIT_SUITE(memory_told)
{
#ifdef KV_FAULTS
    TCase *tc = unit_case_loop(suite, "told", 60, test_told, (int)countof(told));
    tcase_add_unchecked_fixture(tc, setup, teardown);
    tc = unit_case_loop(suite, "waits", 60, test_held, 1);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_told_after_undo);
    tcase_add_test(tc, test_others_stay);
    tcase_add_test(tc, test_blocked);
    tcase_add_test(tc, test_keys);
    tcase_add_test(tc, test_many_streams);
    tcase_add_test(tc, test_many_options);
    tcase_add_test(tc, test_prefixes);
    tcase_add_test(tc, test_many_channels);
    tcase_add_test(tc, test_log_given_up);
#else
    (void)unit_case_loop(suite, "told", 60, test_needs_faults, 1);
    (void)setup;
    (void)teardown;
#endif
}
