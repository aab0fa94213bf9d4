/* test_gates.c -- Integration tests of what replies wait for: changes that are seen, but not in the
 * log yet. SPDX-License-Identifier: BSD-3-Clause */
#include "lib/server.h"
#include "lib/unit.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct server kv;

static void setup(void)
{
    server_init(&kv, SERVER_KV);
}

static void teardown(void)
{
    if (server_running(&kv)) {
        server_stop(&kv);
    }
}

static long long durable_lsn(struct client *c)
{
    const char *text = client_ask(c, "INFO durability")->text;
    const char *at = strstr(text, "wal_durable_lsn:");
    ck_assert_ptr_nonnull(at);
    return strtoll(at + strlen("wal_durable_lsn:"), NULL, 10);
}

/* What tells by itself that there is no key: the command, and what its reply has only then. */
static const struct {
    const char *command, *none;
} counts[] = { { "DBSIZE", "0" },
               { "SCAN 0", "[\"0\", []]" },
               { "RANDOMKEY", "nil" },
               { "INFO keyspace", "# Keyspace" },
               { "MEMORY STATS", "\"keys.count\", 0" } };

/* A deletion is counted before it is in the log. Whoever tells of it then tells of nothing a crash
 * could take back: when the reply comes, the DEL is durable. */
START_TEST(test_counts_wait)
{
    server_env(&kv, "KV_FAULTS", "exec.append=delay1000:1:1");
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    client_expect(c, "+OK", "SET k v");
    long long before = durable_lsn(d);
    ck_assert_int_gt(before, 0);
    client_send(c, "DEL k");
    usleep(200000);
    const char *line = client_line(d, "%s", counts[_i].command);
    ck_assert_msg(strstr(line, counts[_i].none) != NULL && strstr(line, "db0") == NULL, "%s: %s",
                  counts[_i].command, line);
    ck_assert_int_gt(durable_lsn(d), before);
    client_expect_next(c, "1");
    client_close(c);
    client_close(d);
}
END_TEST

static long long turns(struct client *c)
{
    const char *at = strstr(client_ask(c, "INFO stats")->text, "eventloop_cycles:");
    ck_assert_ptr_nonnull(at);
    return strtoll(at + strlen("eventloop_cycles:"), NULL, 10);
}

/* A client that has more parked than it may is not read while the disk takes its time, and nobody
 * turns round and round meanwhile to see whether it is done. */
START_TEST(test_parked_sleeps)
{
    static char big[1 << 20];
    memset(big, 'v', sizeof big);
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    const char *const set[] = { "SET", "big", big };
    const size_t lens[] = { 3, 3, sizeof big };
    client_send_args(c, 3, set, lens);
    client_expect_next(c, "+OK");
    client_expect(d, "+OK", "DEBUG AOF-FLUSH-SLEEP 1500000");
    client_send(c, "SET k v");
    for (int i = 0; i < 8; i++) {
        client_send(c, "GET big");
    }
    usleep(200000);
    client_send(c, "PING");
    usleep(100000);
    long long before = turns(d);
    usleep(300000);
    ck_assert_int_lt(turns(d) - before, 1000);
    client_expect(d, "+OK", "DEBUG AOF-FLUSH-SLEEP 0");
    client_expect_next(c, "+OK");
    for (int i = 0; i < 8; i++) {
        ck_assert_uint_eq(client_read(c)->len, sizeof big);
    }
    client_expect_next(c, "+PONG");
    client_close(c);
    client_close(d);
}
END_TEST

UNIT_SUITE(gates)
{
    TCase *c =
        unit_case_loop(suite, "counts", 120, test_counts_wait, sizeof counts / sizeof counts[0]);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_slow(suite, "parked", 120, test_parked_sleeps);
    tcase_add_checked_fixture(c, setup, teardown);
}
