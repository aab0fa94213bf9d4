/* test_restart.c -- What a start under other directives makes of a log, and what clients hear of
 * writes that are not durable yet. SPDX-License-Identifier: BSD-3-Clause */
#include "lib/server.h"
#include "lib/unit.h"
#include <unistd.h>

static struct server kv;

static void setup(void)
{
    server_init(&kv, SERVER_KV);
}

static void teardown(void)
{
    if (server_running(&kv)) {
        server_kill(&kv);
    }
}

/* The log holds commands under their own names, so it means the same under any rename-command. */
START_TEST(test_renamed_commands)
{
    server_start(&kv, "--rename-command", "SET", "put", "--rename-command", "RPUSH", "add",
                 "--rename-command", "DEL", "");
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "PUT a 1");
    client_expect(c, "+OK", "PUT gone 1 PX 5"); /* its DEL is logged though no client may call it */
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "PUT b 2");
    client_expect(c, "+QUEUED", "add list x y");
    client_expect(c, "[+OK, 2]", "EXEC");
    client_expect(c, "+OK", "FLUSHDB");
    client_expect(c, "+OK", "PUT c 3");
    client_expect(c, "1", "ADD l x");
    client_expect(c, "+OK", "PUT gone 1 PX 5");
    usleep(100000);
    client_close(c);
    server_stop(&kv);
    server_start(&kv, "--rename-command", "SET", "add", "--rename-command", "FLUSHDB", "",
                 "--rename-command", "RPUSH", "set", "--rename-command", "EXEC", "");
    c = server_connect(&kv);
    client_expect(c, "nil", "GET a");
    client_expect(c, "nil", "GET gone");
    client_expect(c, "\"3\"", "GET c");
    client_expect(c, "[\"x\"]", "LRANGE l 0 -1");
    client_expect(c, "2", "DBSIZE");
    client_expect(c, "+OK", "ADD d 4");
    client_expect(c, "2", "SET l y");
    client_close(c);
    server_stop(&kv);
    server_start(&kv, "--threads", "1");
    c = server_connect(&kv);
    client_expect(c, "\"4\"", "GET d");
    client_expect(c, "[\"x\", \"y\"]", "LRANGE l 0 -1");
    client_close(c);
}
END_TEST

UNIT_SUITE(restart)
{
    TCase *c = unit_case_slow(suite, "restart", 120, test_renamed_commands);
    tcase_add_checked_fixture(c, setup, teardown);
}
