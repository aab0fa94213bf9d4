/* test_config_words.c -- CONFIG SET of wrong values beside redis-server: the same words, and
 * nothing changes. SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <string.h>

#define HOST_51  "a23456789-b23456789-c23456789-d23456789-e23456789.0"
#define HOST_255 HOST_51 HOST_51 HOST_51 HOST_51 HOST_51

/* Of shutdown-on-sigterm and shutdown-on-sigint. */
static const char *const shutdowns[] = {
    "'save nosave'",
    "'NOSAVE now SAVE'",
    "'save nosave x'",
    "'save now force'",
    "'default nosave'",
    "'save nosave'",
    "'force now'",
    "'nosave nosave'",
    "'default save nosave'",
    "'save  now'",
    "' save'",
    "'save '",
    "''",
    "' '",
    "'\"save\"'",
    "\"save\\tnow\"",
    "save,now",
    "'now x'",
    "'default save'",
    "default",
};

static const char *const lines[] = {
    "CONFIG SET timeout",
    "CONFIG SET timeout 10 maxmemory",
    "CONFIG SET timeout 10 nosuch 1",
    "CONFIG SET timeout 10 databases 3",
    "CONFIG SET timeout 10 maxmemory-policy best",
    "CONFIG SET timeout 10 port 99999",
    "CONFIG SET timeout 10 timeout 11",
    "CONFIG SET timeout 10 TIMEOUT 10",
    "CONFIG GET timeout",
    "CONFIG SET timeout -1",
    "CONFIG SET timeout x",
    "CONFIG SET timeout ''",
    "CONFIG SET timeout 99999999999999999999",
    "CONFIG SET maxmemory -1",
    "CONFIG SET maxmemory 1tb",
    "CONFIG SET maxmemory 1.5mb",
    "CONFIG SET hash-max-listpack-value -1",
    "CONFIG SET maxmemory-clients -1",
    "CONFIG SET maxmemory-clients 101%",
    "CONFIG SET maxmemory-samples 0",
    "CONFIG SET maxmemory-samples 70000",
    "CONFIG GET maxmemory-samples",
    "CONFIG SET repl-backlog-ttl -1",
    "CONFIG SET repl-backlog-ttl 4294967296",
    "CONFIG GET repl-backlog-ttl",
    "CONFIG SET activedefrag maybe",
    "CONFIG SET appendfsync maybe",
    "CONFIG SET set-proc-title maybe",
    "CONFIG SET proc-title-template ''",
    "CONFIG SET proc-title-template ' '",
    "CONFIG SET proc-title-template '{nothing}'",
    "CONFIG GET proc-title-template",
    "CONFIG SET notify-keyspace-events KEQ",
    "CONFIG SET client-output-buffer-limit 'normal 0 0'",
    "CONFIG SET client-output-buffer-limit 'nobody 0 0 0'",
    "CONFIG SET save '1 2 3'",
    "CONFIG SET oom-score-adj-values '1 2'",
    "CONFIG SET hz 0",
    "CONFIG GET hz",
    "CONFIG SET hz 501",
    "CONFIG GET hz",
    "CONFIG SET hz -1",
    "CONFIG SET hz 2147483648",
    "CONFIG GET hz",
    "CONFIG SET hz 100",
    "CONFIG GET hz",
    "CONFIG SET repl-backlog-size 0",
    "CONFIG SET repl-backlog-size 9223372036854775808",
    "CONFIG SET repl-backlog-size 16383",
    "CONFIG GET repl-backlog-size",
    "CONFIG SET repl-backlog-size 1",
    "CONFIG GET repl-backlog-size",
    "CONFIG SET repl-backlog-size 16385",
    "CONFIG GET repl-backlog-size",
    "CONFIG SET cluster-announce-hostname my-host.Example.0",
    "CONFIG SET cluster-announce-hostname my_host",
    "CONFIG SET cluster-announce-hostname 'my host'",
    "CONFIG SET cluster-announce-hostname \"\\xc3\\xbc\"",
    "CONFIG SET cluster-announce-hostname " HOST_255 "a",
    "CONFIG GET cluster-announce-hostname",
    "CONFIG SET cluster-announce-hostname " HOST_255,
    "CONFIG SET cluster-announce-hostname ''",
    "CONFIG GET cluster-announce-hostname",
    "CONFIG SET maxmemory-clients 1", /* too small to be meant: who said it is still heard */
    "PING",
    "CONFIG GET maxmemory-clients",
    "CONFIG SET maxmemory-clients 0",
    "CONFIG GET MAXMEMORY", /* by the name that was given */
    "CONFIG GET Slave-Read-ONLY",
    "CONFIG GET HZ hz",
    "CONFIG GET SLAVE-READ-ONL?",
    "CONFIG GET rename-command", /* what only the file can say */
    "CONFIG GET user",
    "CONFIG GET loadmodule",
    "CONFIG SET rename-command 'a b'",
    "CONFIG SET timeout 5 loadmodule x",
    "CONFIG SET USER 'a on'",
};

static void compare_line(struct client *kv, struct client *redis, const char *line)
{
    const char *want = client_line(redis, "%s", line), *got = client_line(kv, "%s", line);
    ck_assert_msg(strcmp(got, want) == 0, "%s: %s, redis-server says %s", line, got, want);
}

START_TEST(test_words)
{
    struct server kv, redis;
    server_init(&kv, SERVER_KV);
    server_init(&redis, SERVER_REDIS);
    server_start(&kv);
    server_start(&redis);
    server_wait_ready(&kv);
    struct client *a = server_connect(&kv), *b = server_connect(&redis);
    for (unsigned i = 0; i < countof(lines); i++) {
        compare_line(a, b, lines[i]);
    }
    for (unsigned i = 0; i < 2 * countof(shutdowns); i++) {
        char line[100];
        const char *name = i % 2 == 0 ? "sigterm" : "sigint";
        snprintf(line, sizeof line, "CONFIG SET shutdown-on-%s %s", name, shutdowns[i / 2]);
        compare_line(a, b, line);
        snprintf(line, sizeof line, "CONFIG GET shutdown-on-%s", name);
        compare_line(a, b, line);
    }
    /* What redis-server of 7.0 does not know: locales whose order is that of bytes, and SORT's. */
    static const char *const locales[] = { "C", "POSIX", "C.UTF-8", "''" };
    client_expect(a, "3", "RPUSH words b B a");
    for (unsigned i = 0; i < countof(locales); i++) {
        client_expect(a, "+OK", "CONFIG SET locale-collate %s", locales[i]);
        client_expect(a, "[\"B\", \"a\", \"b\"]", "SORT words ALPHA");
    }
    client_expect_error(a, "ERR CONFIG SET failed", "CONFIG SET locale-collate no_SUCH");
    client_close(a);
    client_close(b);
    server_stop(&kv);
    server_stop(&redis);
}
END_TEST

UNIT_SUITE(config_words)
{
    unit_case(suite, "beside redis", test_words);
}
