/* test_client_filter.c -- CLIENT CAPA, and the filters of CLIENT LIST and CLIENT KILL that Valkey
 * has. SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/rng.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct server kv;
static struct client *c, *a, *b;
static long long id_c, id_a, id_b;

/* c; a: named, in database 3; b: another user, subscribed. */
static void setup(void)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2");
    c = server_connect(&kv);
    a = server_connect(&kv);
    b = server_connect(&kv);
    id_c = client_int(c, "CLIENT ID");
    id_a = client_int(a, "CLIENT ID");
    id_b = client_int(b, "CLIENT ID");
    client_expect(c, "+OK", "ACL SETUSER other on nopass +@all &*");
    client_expect(a, "+OK", "CLIENT SETNAME worker");
    client_expect(a, "+OK", "CLIENT SETINFO lib-name redis-x");
    client_expect(a, "+OK", "CLIENT SETINFO lib-ver 1.2");
    client_expect(a, "+OK", "SELECT 3");
    client_expect(b, "+OK", "AUTH other x");
    client_ask(b, "SUBSCRIBE ch");
}

static void teardown(void)
{
    client_close(a);
    client_close(b);
    client_close(c);
    server_stop(&kv);
}

/* Which of c, a, b CLIENT LIST shows. */
static const char *listed(const char *options)
{
    static char who[4];
    char key[32];
    size_t n = 0;
    const long long ids[] = { id_c, id_a, id_b };
    const struct resp *r = client_ask(c, "CLIENT LIST %s", options);
    ck_assert_msg(r->type != RESP_ERROR, "%s: %s", options, r->text);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(key, sizeof key, "id=%lld ", ids[i]);
        const char *at = strstr(r->text, key);
        if (at != NULL && (at == r->text || at[-1] == '\n')) {
            who[n++] = "cab"[i];
        }
    }
    who[n] = '\0';
    return who;
}

START_TEST(test_list)
{
    char ids[128];
    static const struct {
        const char *options, *who;
    } cases[] = {
        { "", "cab" },
        { "NAME worker", "a" },
        { "NOT-NAME worker", "cb" },
        { "LIB-NAME redis-x LIB-VER 1.2", "a" },
        { "LIB-NAME redis-x LIB-VER 1.3", "" },
        { "USER other", "b" },
        { "user default", "ca" },
        { "NOT-USER other", "ca" },
        { "DB 3", "a" },
        { "NOT-DB 3 NOT-USER other", "c" },
        { "TYPE pubsub", "b" },
        { "NOT-TYPE pubsub", "ca" },
        { "TYPE normal SKIPME yes", "a" },
        { "SKIPME no", "cab" },
        { "SKIPME yes", "ab" },
        { "IP 127.0.0.1", "cab" },
        { "NOT-IP 127.0.0.1", "" },
        { "IP 127.0.0", "" },
        { "MAXAGE 100000", "" },
        { "IDLE 100000", "" },
        { "ADDR 127.0.0.1:1", "" },
        { "NOT-ADDR 127.0.0.1:1", "cab" },
    };
    for (unsigned i = 0; i < countof(cases); i++) {
        ck_assert_msg(strcmp(listed(cases[i].options), cases[i].who) == 0, "%s: %s",
                      cases[i].options, listed(cases[i].options));
    }
    snprintf(ids, sizeof ids, "ID %lld %lld", id_a, id_c);
    ck_assert_str_eq(listed(ids), "ca");
    snprintf(ids, sizeof ids, "NOT-ID %lld %lld NOT-TYPE master", id_a, id_c);
    ck_assert_str_eq(listed(ids), "b");
    snprintf(ids, sizeof ids, "ID %lld %lld TYPE pubsub", id_a, id_b);
    ck_assert_str_eq(listed(ids), "b");
    snprintf(ids, sizeof ids, "LADDR 127.0.0.1:%u NAME worker", kv.port);
    ck_assert_str_eq(listed(ids), "a");
}
END_TEST

/* What CLIENT LIST with these options shows of c, a, b, in order, lines that come twice, too. */
static const char *sequence(const char *options)
{
    static char who[64];
    size_t n = 0;
    const struct resp *r = client_ask(c, "CLIENT LIST %s", options);
    ck_assert_msg(r->type == RESP_BULK, "%s: %s", options, r->text);
    for (const char *line = r->text; *line != '\0'; line = strchr(line, '\n') + 1) {
        long long id = 0;
        ck_assert_int_eq(sscanf(line, "id=%lld ", &id), 1);
        ck_assert_uint_lt(n + 1, sizeof who);
        who[n++] = id == id_c ? 'c' : id == id_a ? 'a' : id == id_b ? 'b' : '?';
    }
    who[n] = '\0';
    return who;
}

/* As in Redis: only ids are answered in their order, and each as often as it was named. */
START_TEST(test_ids)
{
    char ids[200];
    snprintf(ids, sizeof ids, "ID %lld %lld 99999 %lld -1 0 %lld", id_b, id_c, id_b, id_a);
    ck_assert_str_eq(sequence(ids), "bcba");
    snprintf(ids, sizeof ids, "id %lld", id_a);
    ck_assert_str_eq(sequence(ids), "a");
    ck_assert_str_eq(sequence("ID 99999"), "");
    snprintf(ids, sizeof ids, "ID %lld %lld %lld SKIPME no", id_b, id_c, id_b); /* of Valkey */
    ck_assert_str_eq(sequence(ids), "cb");
    snprintf(ids, sizeof ids, "ID %lld NOT-ID %lld %lld ID %lld %lld", id_b, id_c, id_c, id_c,
             id_a);
    ck_assert_str_eq(sequence(ids), "a");
}
END_TEST

/* CLIENT `what` ID, with as many ids that nobody has around those of a and b. */
#define MANY 20000
static void send_many(const char *what, bool with_both)
{
    static char text[MANY][24];
    static const char *argv[MANY + 3];
    static size_t len[MANY + 3];
    argv[0] = "CLIENT", argv[1] = what, argv[2] = "ID";
    for (unsigned i = 0; i < MANY; i++) {
        long long other = 1000000 + (long long)rng_below(1000000000);
        bool is_one = with_both && (i == MANY / 3 || i == MANY / 2);
        snprintf(text[i], sizeof text[i], "%lld", !is_one ? other : i == MANY / 2 ? id_a : id_b);
        argv[3 + i] = text[i];
    }
    for (unsigned i = 0; i < countof(argv); i++) {
        len[i] = strlen(argv[i]);
    }
    client_send_args(c, countof(argv), argv, len);
}

START_TEST(test_many_ids)
{
    char first[32];
    rng_seed_all(unit_seed());
    send_many("LIST", false);
    client_expect_next(c, "\"\"");
    send_many("LIST", true);
    const char *text = client_read(c)->text, *end = strchr(text, '\n');
    snprintf(first, sizeof first, "id=%lld ", id_b);
    ck_assert_int_eq(strncmp(text, first, strlen(first)), 0);
    snprintf(first, sizeof first, "\nid=%lld ", id_a);
    ck_assert_int_eq(strncmp(end, first, strlen(first)), 0);
    ck_assert_ptr_null(strchr(strchr(end + 1, '\n') + 1, '\n'));
    send_many("KILL", false);
    client_expect_next(c, "0");
    send_many("KILL", true);
    client_expect_next(c, "2");
    client_expect_closed(a);
    client_expect_closed(b);
}
END_TEST

#ifdef KV_FAULTS
/* Without memory for the ids or for the lines: an error, and nobody is killed. */
START_TEST(test_no_memory)
{
    struct server own;
    server_init(&own, SERVER_KV);
    server_start(&own, "--threads", "1");
    struct client *x = server_connect(&own), *victim = server_connect(&own);
    long long id = client_int(victim, "CLIENT ID");
    static const char *const what[] = { "LIST ID", "LIST NOT-ID 1 2 3 ID", "KILL ID" };
    static const unsigned least[] = { 4, 4, 1 };
    for (unsigned i = 0; i < countof(what); i++) {
        unsigned refused = 0;
        for (bool done = false; !done;) {
            client_expect(x, "+OK", "DEBUG FAULT mem.alloc=nomem:%u:1", refused);
            const struct resp *r = client_ask(x, "CLIENT %s %lld 1000000", what[i], id);
            done = r->type != RESP_ERROR;
            ck_assert_msg(done || strncmp(r->text, "OOM ", 4) == 0, "%s", r->text);
            refused += !done;
            client_expect(x, "+OK", "DEBUG FAULT ''");
        }
        ck_assert_uint_ge(refused, least[i]);
    }
    client_expect_closed(victim);
    client_close(victim);
    client_close(x);
    server_stop(&own);
}
END_TEST
#endif

START_TEST(test_errors)
{
    static const char *const wrong[] = { "TYPE",         "NONE x",       "NOT- x",
                                         "SKIPME maybe", "NOT-MAXAGE 1", "NAME x DB",
                                         "TYPE normal x" };
    for (unsigned i = 0; i < countof(wrong); i++) {
        client_expect(c, "-ERR syntax error", "CLIENT LIST %s", wrong[i]);
    }
    client_expect(c, "-ERR Unknown client type 'x'", "CLIENT LIST NOT-TYPE x");
    client_expect(c, "-ERR No such user 'x'", "CLIENT LIST USER x");
    client_expect(c, "-ERR Invalid client ID", "CLIENT LIST ID x");
    client_expect(c, "-ERR maxage is not an integer or out of range", "CLIENT LIST MAXAGE 0");
    client_expect_error(c, "ERR DB number", "CLIENT LIST DB -1");
    client_expect(c, "-ERR client-id should be greater than 0", "CLIENT KILL ID 0");
    client_expect(c, "0", "CLIENT KILL NAME nobody");
}
END_TEST

START_TEST(test_kill)
{
    client_expect(c, "1", "CLIENT KILL NOT-TYPE normal");
    client_expect_closed(b);
    client_expect(c, "1", "CLIENT KILL NOT-NAME '' DB 3");
    client_expect_closed(a);
    client_expect(c, "0", "CLIENT KILL NOT-NAME x");
    client_expect(c, "+PONG", "PING");
}
END_TEST

START_TEST(test_capa)
{
    for (int protocol = 2; protocol <= 3; protocol++) {
        client_hello(a, protocol);
        ck_assert_ptr_null(strstr(client_ask(a, "CLIENT INFO")->text, "capa="));
        client_expect(a, "+OK", "CLIENT CAPA nothing");
        ck_assert_ptr_null(strstr(client_ask(a, "CLIENT INFO")->text, "capa="));
    }
    client_expect(a, "+OK", "CLIENT CAPA other redirect");
    ck_assert_ptr_nonnull(strstr(client_ask(a, "CLIENT INFO")->text, " capa=r"));
    ck_assert_ptr_nonnull(strstr(client_ask(c, "CLIENT LIST NAME worker")->text, " capa=r\n"));
    ck_assert_ptr_null(strstr(client_ask(c, "CLIENT LIST NOT-NAME worker")->text, "capa="));
    client_expect_error(a, "ERR wrong number", "CLIENT CAPA");
}
END_TEST

/* Whichever reactors they belong to. */
START_TEST(test_order)
{
    struct client *more[12];
    for (size_t i = 0; i < countof(more); i++) {
        more[i] = server_connect(&kv);
        client_expect(more[i], "+PONG", "PING"); /* it is there, whichever reactor has it */
    }
    const char *line = client_ask(c, "CLIENT LIST")->text;
    long long last = 0;
    unsigned lines = 0;
    for (; (line = strstr(line, "id=")) != NULL; line = strchr(line, '\n')) {
        ck_assert_int_gt(atoll(line + 3), last);
        last = atoll(line + 3);
        lines++;
    }
    ck_assert_uint_eq(lines, 3 + countof(more));
    for (size_t i = 0; i < countof(more); i++) {
        client_close(more[i]);
    }
}
END_TEST

UNIT_SUITE(client_filter)
{
    TCase *tc = unit_case(suite, "filters", test_list, test_ids, test_many_ids, test_errors,
                          test_kill, test_capa, test_order);
    tcase_add_checked_fixture(tc, setup, teardown);
#ifdef KV_FAULTS
    unit_case(suite, "filters without memory", test_no_memory);
#endif
}
