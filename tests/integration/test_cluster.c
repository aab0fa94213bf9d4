/* test_cluster.c -- CLUSTER and its kin on a server that is in no cluster, beside redis-server.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <string.h>

#define DISABLED "-ERR This instance has cluster support disabled"

SERVER_CLIENT_FIXTURE("--threads", "2")

/* With as few arguments as each takes. */
static const char *const subcommands[] = {
    "ADDSLOTS 1",
    "ADDSLOTSRANGE 1 2",
    "BUMPEPOCH",
    "COUNT-FAILURE-REPORTS n",
    "COUNTKEYSINSLOT 1",
    "DELSLOTS 1 2",
    "DELSLOTSRANGE 1 2 3 4",
    "FAILOVER",
    "FLUSHSLOTS",
    "FORGET n",
    "GETKEYSINSLOT 1 2",
    "HELP",
    "INFO",
    "KEYSLOT k",
    "LINKS",
    "MEET 127.0.0.1 1",
    "MYID",
    "MYSHARDID",
    "NODES",
    "REPLICAS n",
    "REPLICATE n",
    "RESET",
    "SAVECONFIG",
    "SET-CONFIG-EPOCH 1",
    "SETSLOT 1 STABLE",
    "SHARDS",
    "SLAVES n",
    "SLOT-STATS SLOTSRANGE 0 1",
    "SLOTS",
};

START_TEST(test_disabled)
{
    for (int protocol = 2; protocol <= 3; protocol++) {
        client_hello(c, protocol);
        for (unsigned i = 0; i < countof(subcommands); i++) {
            client_expect(c, DISABLED, "CLUSTER %s", subcommands[i]);
        }
        client_expect(c, DISABLED, "cluster nodes");
        client_expect(c, DISABLED, "READONLY");
        client_expect(c, DISABLED, "READWRITE");
        client_expect(c, DISABLED, "ASKING");
    }
}
END_TEST

START_TEST(test_arity_first)
{
    client_expect(c, "-ERR wrong number of arguments for 'cluster' command", "CLUSTER");
    client_expect(c, "-ERR unknown subcommand 'NONE'. Try CLUSTER HELP.", "CLUSTER NONE");
    client_expect(c, "-ERR wrong number of arguments for 'cluster|info' command", "CLUSTER INFO x");
    client_expect(c, "-ERR wrong number of arguments for 'cluster|addslots' command",
                  "CLUSTER ADDSLOTS");
    client_expect(c, "-ERR wrong number of arguments for 'cluster|slot-stats' command",
                  "CLUSTER SLOT-STATS x");
    client_expect(c, "-ERR wrong number of arguments for 'readonly' command", "READONLY x");
    client_expect(c, "-ERR wrong number of arguments for 'asking' command", "ASKING x");
}
END_TEST

/* Queued, in scripts and for ACL they are commands like others. */
START_TEST(test_rows)
{
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "CLUSTER INFO");
    client_expect(c, "+QUEUED", "READONLY");
    client_expect(c, "[" DISABLED ", " DISABLED "]", "EXEC");
    client_expect(c, "\"ERR This instance has cluster support disabled\"",
                  "EVAL \"return redis.pcall('cluster', 'myid').err\" 0");
    client_expect_error(c, "ERR This Redis command is not allowed from script",
                        "EVAL \"return redis.call('cluster', 'reset')\" 0");
    client_expect(c, "+OK", "ACL SETUSER u on nopass +@all -@dangerous");
    client_expect(c, "+OK", "ACL SETUSER u -cluster|slots");
    client_expect(c, "+OK", "AUTH u x");
    client_expect(c, DISABLED, "CLUSTER INFO");
    client_expect(c, DISABLED, "READONLY");
    client_expect_error(c, "NOPERM", "CLUSTER SLOTS");
    client_expect_error(c, "NOPERM", "CLUSTER MEET 127.0.0.1 1");
}
END_TEST

/* The same bytes as DUMP gave; the name is what a migrating node sends. */
START_TEST(test_restore_asking)
{
    client_expect(c, "+OK", "SET k v");
    client_ask(c, "DUMP k");
    struct resp *dump = client_take(c);
    const char *argv[] = { "RESTORE-ASKING", "copy", "0", dump->text };
    const size_t lens[] = { 14, 4, 1, dump->len };
    client_send_args(c, 4, argv, lens);
    client_expect_next(c, "+OK");
    client_expect(c, "\"v\"", "GET copy");
    client_send_args(c, 4, argv, lens);
    client_expect_next(c, "-BUSYKEY Target key name already exists.");
    resp_free(dump);
}
END_TEST

UNIT_SUITE(cluster)
{
    TCase *one = unit_case(suite, "standalone", test_disabled, test_arity_first, test_rows,
                           test_restore_asking);
    tcase_add_checked_fixture(one, start, stop);
}
