/* test_client_memory.c -- What a client that waits costs: CLIENT LIST says it, and
 * maxmemory-clients acts on it. SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MB (1 << 20)

SERVER_CLIENT_FIXTURE("--threads", "2")

static int64_t number_at(const char *text, const char *field)
{
    const char *at = text != NULL ? strstr(text, field) : NULL;
    ck_assert_ptr_nonnull(at);
    return strtoll(at + strlen(field), NULL, 10);
}

/* Of the client with that name. */
static int64_t number_of(const char *name, const char *field)
{
    char key[40];
    snprintf(key, sizeof key, " name=%s ", name);
    return number_at(strstr(client_ask(c, "CLIENT LIST")->text, key), field);
}

static int64_t info_number(const char *section, const char *field)
{
    return number_at(client_ask(c, "INFO %s", section)->text, field);
}

static void wait_blocked(int64_t wanted)
{
    for (int ms = 0; info_number("clients", "blocked_clients:") != wanted; ms++) {
        ck_assert_int_lt(ms, unit_patient_ms(20000));
        usleep(1000);
    }
}

/* A key of `size` bytes that begins with `begin`, to be freed. */
static char *long_key(const char *begin, size_t size)
{
    char *key = malloc(size + 1);
    must(key != NULL);
    memset(key, 'k', size);
    memcpy(key, begin, strlen(begin));
    key[size] = '\0';
    return key;
}

static void expect_waits(const char *name, int64_t args)
{
    ck_assert_int_eq(number_of(name, " argv-mem="), args);
    ck_assert_int_gt(number_of(name, " tot-mem="), args);
}

static void expect_idle(const char *name)
{
    ck_assert_int_eq(number_of(name, " argv-mem="), 0);
    ck_assert_int_lt(number_of(name, " tot-mem="), MB / 2);
}

START_TEST(test_listed)
{
    struct client *w = server_connect(&kv);
    char *key = long_key("a", MB);
    int64_t id = client_int(w, "CLIENT ID");
    client_expect(w, "+OK", "CLIENT SETNAME w");
    expect_idle("w");
    client_send(w, "BLPOP %s 0", key);
    wait_blocked(1);
    expect_waits("w", MB + 6);
    client_expect(c, "1", "RPUSH %s x", key);
    (void)client_read(w);
    expect_idle("w");

    client_send(w, "BLPOP %s 0.05", key); /* its time is up */
    client_expect_next(w, "nil*");
    expect_idle("w");

    client_send(w, "BLPOP short 0"); /* what it held meanwhile waits in its turn */
    client_send(w, "BLMOVE %s other LEFT LEFT 0", key);
    wait_blocked(1);
    client_expect(c, "1", "RPUSH short x");
    client_expect_next(w, "[\"short\", \"x\"]");
    wait_blocked(1);
    expect_waits("w", MB + 20);
    client_expect(c, "1", "CLIENT UNBLOCK %lld ERROR", (long long)id);
    client_expect_next(w, "-UNBLOCKED client unblocked via CLIENT UNBLOCK");
    expect_idle("w");
    free(key);
    client_close(w);
}
END_TEST

/* Several for one key: there is one copy of it for all of them. */
START_TEST(test_same_key)
{
    struct client *w[8];
    char *key = long_key("a", MB), name[8];
    for (unsigned i = 0; i < countof(w); i++) {
        w[i] = server_connect(&kv);
        client_expect(w[i], "+OK", "CLIENT SETNAME w%u", i);
        client_send(w[i], "BLPOP %s 0", key);
        wait_blocked(i + 1);
        snprintf(name, sizeof name, "w%u", i);
        expect_waits(name, MB + 6);
        ck_assert_int_lt(number_of(name, " tot-mem="), i == 0 ? 3 * MB : 2 * MB);
    }
    for (unsigned i = 0; i < countof(w); i++) {
        client_close(w[i]);
    }
    free(key);
}
END_TEST

START_TEST(test_evicted)
{
    enum { CLIENTS = 10 };
    struct client *w[CLIENTS];
    client_expect(c, "+OK", "CLIENT NO-EVICT on");
    client_expect(c, "+OK", "CONFIG SET maxmemory-clients 10mb");
    for (unsigned i = 0; i < CLIENTS; i++) {
        char begin[8];
        snprintf(begin, sizeof begin, "%u", i);
        char *key = long_key(begin, 2 * MB);
        w[i] = server_connect(&kv);
        client_expect(w[i], "+OK", "CLIENT SETNAME w%u", i);
        (void)client_try_send(w[i], "BLPOP %s 0", key); /* it may go before all of it was sent */
        free(key);
    }
    /* Until each has either been evicted or waits. */
    int64_t waits = 0, sum = 0, evicted = 0;
    for (int ms = 0; evicted == 0 || waits + evicted < CLIENTS; ms++) {
        ck_assert_msg(ms < unit_patient_ms(10000), "%lld wait, %lld were evicted", (long long)waits,
                      (long long)evicted);
        waits = sum = 0;
        const char *at = client_ask(c, "CLIENT LIST")->text;
        while ((at = strstr(at, " name=w")) != NULL) {
            waits += number_at(at, " argv-mem=") > 2 * MB;
            sum += number_at(at++, " tot-mem=");
        }
        evicted = info_number("stats", "evicted_clients:");
    }
    ck_assert_int_ge(waits, 1);
    ck_assert_int_lt(sum, 10 * MB);
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_close(w[i]);
    }
}
END_TEST

UNIT_SUITE(client_memory)
{
    TCase *tc = unit_case(suite, "waiting", test_listed, test_same_key, test_evicted);
    tcase_add_checked_fixture(tc, start, stop);
}
