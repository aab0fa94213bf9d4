/* test_client_filter.c -- CLIENT CAPA, and the filters of CLIENT LIST and CLIENT KILL that Valkey
 * has. SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
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
    TCase *tc =
        unit_case(suite, "filters", test_list, test_errors, test_kill, test_capa, test_order);
    tcase_add_checked_fixture(tc, setup, teardown);
}
