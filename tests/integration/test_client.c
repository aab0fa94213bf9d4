/* test_client.c -- CLIENT, LATENCY and the statistics, beside redis-server or alone.
 * SPDX-License-Identifier: BSD-3-Clause
 * Alone where a pause, another reactor or a limit is needed. */
#include "base/base.h"
#include "compare.h"
#include "unit.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

SERVER_FIXTURE("--threads", "4")

/* A field of INFO or CLIENT LIST: the text between `name` and a blank, "\r" or "\n". Freed by the
 * caller; NULL: not there. */
static char *field(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    if (at == NULL) {
        return NULL;
    }
    at += strlen(name);
    return strndup(at, strcspn(at, " \r\n"));
}

static int64_t info_int(struct client *c, const char *section, const char *name)
{
    char *v = field(client_ask(c, "INFO %s", section)->text, name);
    ck_assert_msg(v != NULL, "INFO %s has no %s", section, name);
    int64_t n = strtoll(v, NULL, 10);
    free(v);
    return n;
}

static void wait_info(struct client *c, const char *section, const char *name, int64_t wanted)
{
    int64_t got = -1;
    for (unsigned i = 0; i < 500; i++) {
        got = info_int(c, section, name);
        if (got == wanted) {
            return;
        }
        usleep(10000);
    }
    ck_abort_msg("%s is %lld, expected %lld", name, (long long)got, (long long)wanted);
}

static void wait_blocked(struct client *c, int64_t wanted)
{
    wait_info(c, "clients", "blocked_clients:", wanted);
}

/* ================= CLIENT beside redis-server ================= */

START_TEST(test_errors)
{
    compare("CLIENT PAUSE", "CLIENT PAUSE abc", "CLIENT PAUSE -1", "CLIENT PAUSE 1 foo",
            "CLIENT PAUSE 0", "CLIENT PAUSE 1 WRITE ALL",
            "CLIENT PAUSE 9223372036854775807 WRITE => -ERR timeout is out of range",
            "CLIENT UNPAUSE", "CLIENT UNPAUSE x", "CLIENT NO-EVICT", "CLIENT NO-EVICT maybe",
            "CLIENT NO-EVICT on", "CLIENT NO-EVICT off", "CLIENT GETREDIR", "CLIENT CACHING yes",
            "CLIENT CACHING maybe", "CLIENT CACHING", "CLIENT TRACKING off", "CLIENT TRACKING foo",
            "CLIENT TRACKING", "CLIENT TRACKINGINFO", "CLIENT TRACKINGINFO x",
            "CLIENT NO-TOUCH on => +OK", "CLIENT NO-TOUCH off => +OK",
            "CLIENT SETINFO lib-name a => +OK",
            "CLIENT SETINFO lib-name 'a b' => -ERR lib-name cannot contain spaces, newlines or "
            "special characters.",
            "CLIENT SETINFO color red => -ERR Unrecognized option 'color'");
}
END_TEST

START_TEST(test_list_and_kill_arguments)
{
    compare("CLIENT LIST TYPE foo", "CLIENT LIST TYPE", "CLIENT LIST TYPE replica",
            "CLIENT LIST TYPE master", "CLIENT LIST ID", "CLIENT LIST ID abc", "CLIENT LIST ID -1",
            "CLIENT LIST ID 99999999", "CLIENT LIST ID 1 x", "CLIENT LIST FOO bar", "CLIENT KILL",
            "CLIENT KILL 1.2.3.4:5", "CLIENT KILL ID abc", "CLIENT KILL ID 0",
            "CLIENT KILL ID 99999999", "CLIENT KILL TYPE foo", "CLIENT KILL TYPE replica",
            "CLIENT KILL ADDR 1.2.3.4:5", "CLIENT KILL LADDR 1.2.3.4:5", "CLIENT KILL SKIPME maybe",
            "CLIENT KILL ID 99999999 SKIPME", "CLIENT KILL USER nobody", "CLIENT KILL FOO bar",
            "CLIENT KILL MAXAGE abc => -ERR maxage is not an integer or out of range",
            "CLIENT KILL MAXAGE 100000 => 0", "CLIENT UNBLOCK 99999999", "CLIENT UNBLOCK abc",
            "CLIENT UNBLOCK 99999999 foo", "CLIENT REPLY foo", "CLIENT SETNAME 'a b'",
            "CLIENT SETNAME abc", "CLIENT GETNAME", "CLIENT SETNAME ''", "CLIENT GETNAME");
}
END_TEST

START_TEST(test_latency_beside_redis)
{
    compare("LATENCY LATEST", "LATENCY HISTORY command", "LATENCY HISTORY nothing",
            "LATENCY RESET nothing", "LATENCY RESET", "LATENCY GRAPH command",
            "LATENCY GRAPH nothing", "LATENCY GRAPH", "LATENCY HELP x", "LATENCY DOCTOR x",
            "LATENCY HISTOGRAM nothing", "LATENCY HISTOGRAM lpop zadd nothing", "LATENCY FOO",
            "CONFIG SET latency-tracking-info-percentiles '50 101'",
            "CONFIG SET latency-tracking-info-percentiles '50 x'",
            "CONFIG SET latency-tracking-info-percentiles '0.0 33.333 50 100.0 99.99999'",
            "CONFIG GET latency-tracking-info-percentiles",
            "CONFIG SET latency-tracking-info-percentiles ''",
            "CONFIG GET latency-tracking-info-percentiles",
            "CONFIG SET latency-tracking-info-percentiles '50 99 99.9'",
            "CONFIG GET latency-tracking-info-percentiles");
}
END_TEST

/* ================= PAUSE ================= */

START_TEST(test_pause_write)
{
    struct client *c = server_connect(&kv), *w[6];
    client_expect(c, "+OK", "SET k 1");
    for (unsigned i = 0; i < 6; i++) { /* more than reactors: some share one, some do not */
        w[i] = server_connect(&kv);
        client_expect(w[i], "+PONG", "PING");
    }
    client_expect(c, "+OK", "CLIENT PAUSE 60000 WRITE");
    for (unsigned i = 0; i < 6; i++) {
        client_send(w[i], "INCR k");
        client_send(w[i], "GET k");
    }
    wait_blocked(c, 6);
    client_expect(c, "\"1\"", "GET k");
    client_expect_error(c, "ERR wrong number", "SET k");
    client_expect_nothing(w[0], 50);
    ck_assert_ptr_nonnull(strstr(client_ask(c, "CLIENT LIST")->text, "flags=b "));
    client_expect(c, "+OK", "CLIENT UNPAUSE");
    for (unsigned i = 0; i < 6; i++) {
        ck_assert_int_eq(client_read(w[i])->type, RESP_INT);
        ck_assert_int_eq(client_read(w[i])->type, RESP_BULK);
        client_close(w[i]);
    }
    client_expect(c, "\"7\"", "GET k");
    wait_blocked(c, 0);
    client_close(c);
}
END_TEST

START_TEST(test_pause_kinds)
{
    struct client *c = server_connect(&kv), *w = server_connect(&kv), *p = server_connect(&kv),
                  *f = server_connect(&kv);
    client_expect(c, "+OK", "FLUSHALL");
    client_expect(w, "+OK", "MULTI");
    client_expect(w, "+QUEUED", "SET k 2");
    client_expect(c, "+OK", "CLIENT PAUSE 60000 write");
    client_send(w, "EXEC");
    client_send(p, "PUBLISH ch hello");
    client_send(f, "FLUSHALL");
    wait_blocked(c, 3);
    client_expect(c, "+OK", "MULTI"); /* a transaction that only reads is let through */
    client_expect(c, "+QUEUED", "GET k");
    client_expect(c, "[nil]", "EXEC");
    client_expect(c, "0", "CLIENT UNBLOCK %lld", (long long)client_int(c, "CLIENT ID") + 1);
    client_expect(c, "+OK", "CLIENT UNPAUSE");
    client_expect_next(w, "[+OK]");
    client_expect_next(p, "0");
    client_expect_next(f, "+OK");
    client_expect(c, "+OK", "MULTI"); /* its own transaction goes on to the end */
    client_expect(c, "+QUEUED", "SET a 1");
    client_expect(c, "+QUEUED", "CLIENT PAUSE 60000 WRITE");
    client_expect(c, "+QUEUED", "SET b 1");
    client_expect(c, "[+OK, +OK, +OK]", "EXEC");
    client_send(w, "SET c 1");
    wait_blocked(c, 1);
    client_close(w); /* a client that goes while it is held is no longer counted */
    wait_blocked(c, 0);
    client_expect(c, "+OK", "CLIENT UNPAUSE");
    client_expect(c, "nil", "GET c");
    client_close(c);
    client_close(p);
    client_close(f);
}
END_TEST

START_TEST(test_pause_all_and_timeout)
{
    struct client *c = server_connect(&kv), *w = server_connect(&kv);
    client_expect(c, "+OK", "CLIENT PAUSE 60000 WRITE");
    client_expect(c, "+OK", "CLIENT PAUSE 1 WRITE"); /* does not shorten the longer one */
    client_send(w, "SET k v");
    client_expect_nothing(w, 100);
    client_expect(c, "+OK", "CLIENT UNPAUSE");
    client_expect_next(w, "+OK");
    client_expect(c, "+OK", "CLIENT PAUSE 300 ALL");
    client_expect(w, "\"v\"", "GET k"); /* when the time is over */
    client_expect(c, "+PONG", "PING");
    client_expect(c, "+OK", "CLIENT PAUSE 300 WRITE"); /* WRITE again: the old kind is forgotten */
    client_expect(w, "\"v\"", "GET k");
    client_send(w, "SET k w");
    client_send(w, "GET k");
    client_expect_next(w, "+OK");
    client_expect_next(w, "\"w\"");
    wait_blocked(c, 0);
    client_close(c);
    client_close(w);
}
END_TEST

START_TEST(test_pause_stops_expiry)
{
    struct client *c = server_connect(&kv);
    int64_t before = info_int(c, "stats", "expired_keys:");
    client_expect(c, "+OK", "MULTI");
    for (unsigned i = 0; i < 20; i++) {
        client_expect(c, "+QUEUED", "SET x%u v PX 10", i);
    }
    client_expect(c, "+QUEUED", "CLIENT PAUSE 60000 WRITE");
    client_ask(c, "EXEC");
    usleep(150000);
    client_expect(c, "nil", "GET x1");
    ck_assert_int_eq(info_int(c, "stats", "expired_keys:"), before);
    client_expect(c, "+OK", "CLIENT UNPAUSE");
    while (info_int(c, "stats", "expired_keys:") != before + 20) { /* other reactors, too */
        usleep(1000);
    }
    client_close(c);
}
END_TEST

/* ================= Names, lists, killing ================= */

START_TEST(test_kill_filters)
{
    struct client *c = server_connect(&kv), *s = server_connect(&kv), *o = server_connect(&kv),
                  *n = server_connect(&kv);
    client_ask(s, "SUBSCRIBE ch");
    int64_t id = client_int(o, "CLIENT ID");
    client_expect(n, "+OK", "CLIENT NO-EVICT on");
    client_expect(c, "0", "CLIENT KILL ID %lld TYPE pubsub", (long long)id);
    client_expect(c, "0", "CLIENT KILL TYPE pubsub MAXAGE 100000");
    client_expect(c, "1", "CLIENT KILL TYPE pubsub USER default");
    client_expect_closed(s);
    client_expect(c, "1", "CLIENT KILL ID %lld", (long long)id);
    client_expect_closed(o);
    char *line = strdup(client_ask(n, "CLIENT INFO")->text);
    char *addr = field(line, " addr=");
    ck_assert_ptr_nonnull(strstr(line, "flags=e "));
    client_expect(c, "1", "CLIENT KILL ADDR %s", addr);
    client_expect_closed(n);
    free(addr);
    free(line);
    client_expect(c, "1", "CLIENT KILL TYPE normal SKIPME no");
    client_expect_closed(c);
    client_close(c);
    client_close(s);
    client_close(o);
    client_close(n);
}
END_TEST

START_TEST(test_info_fields)
{
    static const char *const names[] = {
        "id=",           " addr=",       " laddr=",   " fd=",          " name=me",
        " age=",         " idle=",       " flags=N",  " db=3",         " sub=0",
        " psub=0",       " ssub=0",      " multi=-1", " qbuf=",        " qbuf-free=",
        " argv-mem=10",  " multi-mem=0", " rbs=",     " rbp=",         " obl=",
        " oll=",         " omem=",       " tot-mem=", " events=r",     " cmd=client|info",
        " user=default", " redir=-1",    " resp=2",   " lib-name=lib", " lib-ver=1.2"
    };
    struct client *c = server_connect(&kv);
    client_ask(c, "CLIENT SETNAME me");
    client_ask(c, "SELECT 3");
    client_ask(c, "CLIENT SETINFO lib-name lib");
    client_ask(c, "CLIENT SETINFO lib-ver 1.2");
    client_ask(c, "WATCH a b a");
    char *line = strdup(client_ask(c, "CLIENT INFO")->text);
    const char *at = line;
    for (unsigned i = 0; i < countof(names); i++) { /* all, in this order */
        const char *next = strstr(at, names[i]);
        ck_assert_msg(next != NULL, "no '%s' in %s", names[i], line);
        at = next;
    }
    ck_assert_ptr_nonnull(strstr(line, " multi=-1 watch=2 qbuf="));
    free(line);
    /* Of a transaction the last command is EXEC, within and after it. */
    struct client *d = server_connect(&kv);
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "CLIENT INFO");
    client_expect(c, "+QUEUED", "GET k");
    ck_assert_ptr_nonnull(strstr(client_line(c, "EXEC"), " cmd=exec "));
    ck_assert_ptr_nonnull(strstr(client_ask(d, "CLIENT LIST")->text, " cmd=exec "));
    client_expect(c, "+OK", "CONFIG SET repl-backlog-size 2mb");
    ck_assert_int_eq(info_int(c, "replication", "repl_backlog_size:"), 2 * 1024 * 1024);
    client_close(d);
    client_close(c);
}
END_TEST

/* ================= LATENCY ================= */

START_TEST(test_histograms)
{
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    client_expect(c, "+OK", "CONFIG RESETSTAT");
    client_hello(d, 3);
    for (unsigned i = 0; i < 5; i++) { /* on two reactors: summed */
        client_ask(c, "SET k v");
        client_ask(d, "SET k v");
    }
    client_ask(c, "CLIENT ID");
    const struct resp *r = client_ask(d, "LATENCY HISTOGRAM nothing set client");
    ck_assert_int_eq(r->type, RESP_MAP);
    ck_assert_uint_eq(r->count, 4);
    ck_assert_str_eq(r->at[0]->text, "set");
    ck_assert_int_eq(r->at[1]->at[1]->integer, 10);
    const struct resp *h = r->at[1]->at[3];
    ck_assert_int_eq(h->type, RESP_MAP);
    ck_assert_int_eq(h->at[h->count - 1]->integer, 10); /* cumulative */
    for (unsigned i = 2; i < h->count; i += 2) {
        ck_assert_int_gt(h->at[i]->integer, h->at[i - 2]->integer);
        ck_assert_int_gt(h->at[i + 1]->integer, h->at[i - 1]->integer);
    }
    ck_assert_str_eq(r->at[2]->text, "client|id");
    ck_assert_ptr_nonnull(
        strstr(client_ask(c, "INFO latencystats")->text, "latency_percentiles_usec_set:p50="));
    ck_assert_ptr_nonnull(strstr(client_ask(c, "INFO latencystats")->text, ",p99.9="));
    client_expect(c, "+OK", "CONFIG SET latency-tracking no");
    client_ask(c, "GET k");
    client_expect(c, "[]", "LATENCY HISTOGRAM get");
    client_expect(c, "+OK", "CONFIG SET latency-tracking yes");
    client_ask(c, "GET k");
    ck_assert_uint_eq(client_ask(c, "LATENCY HISTOGRAM get")->count, 2);
    client_expect(c, "+OK", "CONFIG RESETSTAT");
    client_expect(c, "[]", "LATENCY HISTOGRAM set get");
    client_close(c);
    client_close(d);
}
END_TEST

START_TEST(test_events)
{
    struct client *c = server_connect(&kv);
    client_ask(c, "SETRANGE big 200000000 x"); /* BITCOUNT of it takes some milliseconds */
    client_expect(c, "+OK", "CONFIG SET latency-monitor-threshold 1");
    client_ask(c, "BITCOUNT big");
    const struct resp *r = client_ask(c, "LATENCY LATEST");
    ck_assert_uint_ge(r->count, 1);
    ck_assert_str_eq(r->at[0]->at[0]->text, "command");
    ck_assert_int_ge(r->at[0]->at[2]->integer, 1);
    ck_assert_int_ge(r->at[0]->at[3]->integer, 1);
    r = client_ask(c, "LATENCY HISTORY command");
    ck_assert_uint_ge(r->count, 1);
    ck_assert_uint_eq(r->at[0]->count, 2);
    ck_assert_ptr_nonnull(strstr(client_ask(c, "LATENCY GRAPH command")->text, "command - high "));
    ck_assert_ptr_nonnull(strstr(client_ask(c, "LATENCY DOCTOR")->text, "command: "));
    client_expect(c, "1", "LATENCY RESET command nothing");
    client_expect(c, "[]", "LATENCY HISTORY command");
    client_expect(c, "+OK", "CONFIG SET latency-monitor-threshold 0");
    client_ask(c, "BITCOUNT big");
    client_expect(c, "[]", "LATENCY HISTORY command");
    ck_assert_ptr_nonnull(strstr(client_ask(c, "LATENCY DOCTOR")->text, "is off"));
    client_close(c);
}
END_TEST

/* ================= Limits ================= */

START_TEST(test_min_replicas)
{
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "SET k v");
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "SET k w");
    struct client *d = server_connect(&kv);
    client_expect(d, "+OK", "CONFIG SET min-replicas-to-write 1");
    client_expect_error(c, "EXECABORT", "EXEC");
    client_expect(c, "-NOREPLICAS Not enough good replicas to write.", "SET k w");
    client_expect(c, "\"v\"", "GET k");
    client_expect_error(c, "NOREPLICAS", "EVAL \"#!lua\\nreturn redis.call('get','k')\" 1 k");
    client_expect(c, "\"v\"", "EVAL \"#!lua flags=no-writes\\nreturn redis.call('get','k')\" 1 k");
    client_expect(c, "\"v\"", "EVAL \"return redis.call('get','k')\" 1 k");
    client_expect(d, "+OK", "CONFIG SET min-replicas-max-lag 0");
    client_expect(c, "+OK", "SET k x");
    client_expect(d, "+OK", "CONFIG SET min-replicas-max-lag 10");
    client_expect_error(c, "NOREPLICAS", "SET k w");
    client_expect(d, "+OK", "CONFIG SET min-replicas-to-write 0");
    client_expect(c, "+OK", "SET k w");
    client_close(c);
    client_close(d);
}
END_TEST

static void grow_input(struct client *c, size_t bytes)
{
    char begun[64], *part = calloc(1, bytes);
    int n = snprintf(begun, sizeof begun, "*2\r\n$4\r\nECHO\r\n$%zu\r\n", bytes + 1);
    client_send_raw(c, begun, (size_t)n);
    (void)client_try_send_raw(c, part, bytes);
    free(part);
}

/* tot-mem of the clients whose name starts so, as CLIENT LIST shows it. */
static int64_t total_mem(struct client *c, const char *name)
{
    int64_t sum = 0;
    for (const char *at = client_ask(c, "CLIENT LIST")->text; *at != '\0';) {
        char *line = strndup(at, strcspn(at, "\n")), *mem = field(line, " tot-mem=");
        sum += strstr(line, name) != NULL ? strtoll(mem, NULL, 10) : 0;
        at += strlen(line) + 1;
        free(mem);
        free(line);
    }
    return sum;
}

START_TEST(test_clients_are_evicted)
{
    struct client *c = server_connect(&kv), *big[3];
    int64_t before = info_int(c, "stats", "evicted_clients:");
    client_expect(c, "+OK", "CLIENT NO-EVICT on");
    for (unsigned i = 0; i < 3; i++) {
        big[i] = server_connect(&kv);
        client_ask(big[i], "CLIENT SETNAME big%u", i);
        if (i == 2) {
            client_ask(big[i], "CLIENT NO-EVICT on");
        }
        grow_input(big[i], (size_t)1 << (20 + 2 * i));
        char name[16];
        snprintf(name, sizeof name, "name=big%u", i);
        while (total_mem(c, name) < 1 << (20 + 2 * i)) { /* counted as soon as it is announced */
            usleep(1000);
        }
    }
    int64_t all = total_mem(c, "");
    client_expect(c, "+OK", "CONFIG SET maxmemory-clients %lld",
                  (long long)(all - total_mem(c, "name=big1") / 2));
    wait_info(c, "stats", "evicted_clients:", before + 1);
    client_expect_closed(big[1]); /* the largest that may go; the rest fits */
    const char *list = client_ask(c, "CLIENT LIST")->text;
    ck_assert_ptr_nonnull(strstr(list, "name=big0"));
    ck_assert_ptr_nonnull(strstr(list, "name=big2"));
    ck_assert_int_gt(info_int(c, "memory", "mem_clients_normal:"), 3 << 20);
    client_expect(c, "+OK", "CONFIG SET maxmemory-clients 100kb");
    wait_info(c, "stats", "evicted_clients:", before + 2);
    client_expect_closed(big[0]);
    client_expect(c, "+OK", "CONFIG SET maxmemory-clients 0");
    client_expect(c, "+PONG", "PING");
    for (unsigned i = 0; i < 3; i++) {
        client_close(big[i]);
    }
    client_close(c);
}
END_TEST

/* Whoever was killed, by whomever, is on no list any more when that is answered. */
START_TEST(test_killed_are_not_listed)
{
    struct client *c = server_connect(&kv);
    for (unsigned i = 0; i < 50; i++) {
        struct client *victim = server_connect(&kv);
        char id[32];
        client_expect(victim, "+OK", "CLIENT SETNAME deathrow");
        snprintf(id, sizeof id, "%lld", (long long)client_ask(victim, "CLIENT ID")->integer);
        client_expect(c, "1", "CLIENT KILL ID %s", id);
        ck_assert_ptr_null(strstr(client_ask(c, "CLIENT LIST")->text, "deathrow"));
        client_expect(c, "0", "CLIENT KILL ID %s", id);
        client_expect_closed(victim);
        client_close(victim);
    }
    client_close(c);
}
END_TEST

/* Above its hard limit a reply of a billion elements is not made. */
START_TEST(test_long_replies_stop)
{
    static const char *const asks[] = { "HRANDFIELD h -100000000", "SRANDMEMBER s -100000000",
                                        "ZRANDMEMBER z -100000000" };
    struct client *c = server_connect(&kv);
    int64_t peak = info_int(c, "memory", "used_memory_peak:");
    client_expect(c, "+OK", "CONFIG SET client-output-buffer-limit \"normal 1000000 0 0\"");
    client_expect(c, "1", "HSET h f 1");
    client_expect(c, "1", "SADD s m");
    client_expect(c, "1", "ZADD z 1 m");
    for (unsigned i = 0; i < countof(asks); i++) {
        struct client *d = server_connect(&kv);
        client_send(d, "%s", asks[i]);
        client_expect_closed(d);
        client_close(d);
    }
    ck_assert_int_lt(info_int(c, "memory", "used_memory_peak:"), peak + (100 << 20));
    client_expect(c, "+OK", "CONFIG SET client-output-buffer-limit \"normal 0 0 0\"");
    client_close(c);
}
END_TEST

/* Whatever the limit, short replies come: else it could not be taken back. */
START_TEST(test_low_output_limit)
{
    static char big[100000];
    memset(big, 'x', sizeof big - 1);
    struct client *c = server_connect(&kv), *reader = server_connect(&kv);
    client_expect(c, "+OK", "SET big %s", big);
    client_expect(c, "+OK", "CONFIG SET client-output-buffer-limit \"normal 256 64 60\"");
    struct client *later = server_connect(&kv);
    client_expect(later, "+PONG", "PING");
    ck_assert_uint_gt(client_ask(later, "INFO")->len, 2000);
    client_close(later);
    client_send(reader, "GET big");
    client_expect_closed(reader);
    client_expect(c, "+OK", "CONFIG SET client-output-buffer-limit \"normal 0 0 0\"");
    client_expect(c, "1", "DEL big");
    client_close(reader);
    client_close(c);
}
END_TEST

/* What it was not sent yet is its output memory. */
START_TEST(test_output_is_listed)
{
    struct client *c = server_connect(&kv), *slow = server_connect(&kv);
    client_expect(c, "1000000", "SETRANGE slowbig 999999 x");
    client_expect(slow, "+OK", "CLIENT SETNAME slow");
    for (unsigned i = 0; i < 20; i++) { /* more than the kernel takes */
        client_send(slow, "GET slowbig");
    }
    int64_t omem = 0;
    while (omem < 1 << 20) {
        char *line = strdup(strstr(client_ask(c, "CLIENT LIST")->text, "name=slow"));
        line[strcspn(line, "\n")] = '\0';
        char *text = field(line, " omem=");
        omem = atoll(text);
        free(text);
        free(line);
    }
    client_close(slow);
    client_close(c);
}
END_TEST

/* A client with 30 MB of replies that has ended its side and reads nothing: it is listed as
 * closing. */
static struct client *half_closed(struct client *c)
{
    struct client *half = server_connect(&kv);
    client_ask(c, "SETRANGE halfbig 9999999 x");
    client_expect(half, "+OK", "CLIENT SETNAME half");
    client_send(half, "GET halfbig");
    client_send(half, "GET halfbig");
    client_send(half, "GET halfbig");
    ck_assert_int_eq(shutdown(client_fd(half), SHUT_WR), 0);
    for (int waited = 0;; waited++) {
        const char *line = strstr(client_ask(c, "CLIENT LIST")->text, "name=half");
        ck_assert_ptr_nonnull(line);
        char *flags = field(line, " flags=");
        bool closing = strcmp(flags, "c") == 0;
        free(flags);
        if (closing) {
            return half;
        }
        ck_assert_int_lt(waited, unit_patient_ms(20000));
        usleep(1000);
    }
}

/* What never reads its last replies can be killed and evicted like any other. */
START_TEST(test_closing_are_killed)
{
    struct client *c = server_connect(&kv);
    int64_t evicted = info_int(c, "stats", "evicted_clients:");
    wait_info(c, "clients", "connected_clients:", 1); /* those of other tests are gone */
    struct client *half = half_closed(c);
    client_expect(c, "1", "CLIENT KILL TYPE normal");
    wait_info(c, "clients", "connected_clients:", 1);
    client_close(half);
    half = half_closed(c);
    client_expect(c, "+OK", "CLIENT NO-EVICT on");
    client_expect(c, "+OK", "CONFIG SET maxmemory-clients 5mb");
    wait_info(c, "stats", "evicted_clients:", evicted + 1);
    wait_info(c, "clients", "connected_clients:", 1);
    client_expect(c, "+OK", "CONFIG SET maxmemory-clients 0");
    client_close(half);
    client_close(c);
}
END_TEST

/* Who is not logged in and does not read its errors is closed before they are many. */
START_TEST(test_unread_errors_close)
{
    static char pings[6 * 10000 + 1];
    struct client *c = server_connect(&kv), *flood = server_connect(&kv);
    for (unsigned i = 0; i < 10000; i++) {
        memcpy(pings + 6 * (size_t)i, "PING\r\n", 6);
    }
    int64_t before = info_int(c, "stats", "client_output_buffer_limit_disconnections:");
    client_expect(flood, "+PONG", "PING"); /* is accepted before */
    client_expect(c, "+OK", "CONFIG SET requirepass pw");
    client_expect(flood, "+PONG", "PING");
    client_expect(flood, "+RESET", "RESET");
    client_expect_error(flood, "NOAUTH", "PING");
    ssize_t sent = 0;
    for (size_t total = 0; sent >= 0; total += (size_t)sent) {
        struct pollfd p = { .fd = client_fd(flood), .events = POLLOUT };
        ck_assert_msg(total < 30 << 20, "%zu bytes of requests were taken", total);
        ck_assert_int_eq(poll(&p, 1, unit_patient_ms(20000)), 1);
        sent = send(p.fd, pings, sizeof pings - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    ck_assert(errno == EPIPE || errno == ECONNRESET);
    wait_info(c, "stats", "client_output_buffer_limit_disconnections:", before + 1);
    client_expect(c, "+OK", "CONFIG SET requirepass ''");
    client_close(flood);
    client_close(c);
}
END_TEST

/* ================= Hits and misses ================= */

/* Of each line the deltas of keyspace_hits and keyspace_misses must be those of redis-server, also
 * where `k` does not exist; compare() sees to the keymiss events. */
static const char *const lookups[] = { "GET $",
                                       "GETEX $",
                                       "GETEX $ PERSIST",
                                       "GETDEL $",
                                       "GETSET $ v",
                                       "SET $ v",
                                       "SET $ v GET",
                                       "SET $ v NX",
                                       "SET $ v XX",
                                       "SETNX $ v",
                                       "APPEND $ v",
                                       "STRLEN $",
                                       "GETRANGE $ 0 1",
                                       "SETRANGE $ 1 x",
                                       "MGET $ $ other",
                                       "MSET $ v",
                                       "MSETNX $ v",
                                       "INCR n$",
                                       "INCRBYFLOAT n$ 1",
                                       "LCS $ other",
                                       "GETBIT $ 1",
                                       "SETBIT $ 1 1",
                                       "BITCOUNT $",
                                       "BITPOS $ 1",
                                       "BITOP NOT dest $",
                                       "BITOP AND dest $ other",
                                       "BITFIELD $ GET u4 0",
                                       "BITFIELD $ SET u4 0 1",
                                       "BITFIELD_RO $ GET u4 0",
                                       "EXISTS $",
                                       "EXISTS $ $ other",
                                       "TYPE $",
                                       "TTL $",
                                       "PTTL $",
                                       "EXPIRETIME $",
                                       "PEXPIRETIME $",
                                       "EXPIRE $ 100",
                                       "PEXPIREAT $ 4000000000000",
                                       "PERSIST $",
                                       "TOUCH $ other",
                                       "OBJECT ENCODING $",
                                       "OBJECT REFCOUNT $",
                                       "OBJECT IDLETIME $",
                                       "DEL $",
                                       "UNLINK $",
                                       "RENAME $ $2",
                                       "RENAMENX $ $2",
                                       "COPY $ dest",
                                       "MOVE $ 1",
                                       "LLEN l$",
                                       "LRANGE l$ 0 -1",
                                       "LINDEX l$ 0",
                                       "LPOS l$ a",
                                       "LPUSH l$ a",
                                       "LPUSHX l$ a",
                                       "LPOP l$",
                                       "RPOPLPUSH l$ l2",
                                       "LMOVE l$ l2 LEFT LEFT",
                                       "LMPOP 1 l$ LEFT",
                                       "LINSERT l$ BEFORE a b",
                                       "LREM l$ 1 a",
                                       "LSET l$ 0 a",
                                       "LTRIM l$ 0 1",
                                       "BLPOP l$ 0.01",
                                       "BLMOVE l$ l2 LEFT LEFT 0.01",
                                       "SORT l$ ALPHA",
                                       "SORT_RO l$ ALPHA",
                                       "SORT l$ ALPHA STORE dest",
                                       "WATCH $",
                                       "RANDOMKEY",
                                       "KEYS *",
                                       "SCAN 0" };

struct deltas {
    int64_t hits, misses;
};

static struct deltas deltas_of(struct client *c, const char *line, bool exists)
{
    char text[200], *to = text;
    for (const char *p = line; *p != '\0'; p++) {
        if (*p == '$') {
            *to++ = 'k';
        } else {
            *to++ = *p;
        }
    }
    *to = '\0';
    client_ask(c, "FLUSHALL");
    if (exists) {
        client_ask(c, "MSET k abc other abd nk 1 k2 v");
        client_ask(c, "RPUSH lk a b c");
    }
    client_ask(c, "CONFIG RESETSTAT");
    client_ask(c, "%s", text);
    struct deltas d = { info_int(c, "stats", "keyspace_hits:"),
                        info_int(c, "stats", "keyspace_misses:") };
    client_ask(c, "UNWATCH");
    return d;
}

/* A key counts once for a client that watches it, in each database. */
START_TEST(test_watched_once)
{
    struct client *a = server_connect(&kv), *b = server_connect(&kv);
    for (unsigned i = 0; i < 3; i++) {
        client_expect(a, "+OK", "WATCH k1 k2 k1");
        client_expect(b, "+OK", "WATCH k2 k3 k3");
        client_expect(a, "+OK", "WATCH k3 k2");
        ck_assert_int_eq(info_int(a, "clients", "total_watched_keys:"), 5);
        client_expect(a, "+OK", "SELECT 1");
        client_expect(a, "+OK", "WATCH k1 k1");
        ck_assert_int_eq(info_int(b, "clients", "total_watched_keys:"), 6);
        client_expect(a, "+OK", "SELECT 0");
        client_expect(b, "+OK", "SET k1 v");
        client_expect(a, "+OK", "MULTI");
        client_expect(a, "nil*", "EXEC");
        ck_assert_int_eq(info_int(a, "clients", "total_watched_keys:"), 2);
        client_expect(b, "+OK", "UNWATCH");
        ck_assert_int_eq(info_int(a, "clients", "watching_clients:"), 0);
    }
    client_close(a);
    client_close(b);
}
END_TEST

START_TEST(test_hits_and_misses)
{
    struct server redis;
    server_init(&redis, SERVER_REDIS);
    server_start(&redis);
    struct client *a = server_connect(&kv), *b = server_connect(&redis);
    unsigned wrong = 0;
    for (unsigned i = 0; i < 2 * countof(lookups); i++) {
        const char *line = lookups[i / 2];
        struct deltas x = deltas_of(a, line, i % 2 == 1), y = deltas_of(b, line, i % 2 == 1);
        if (x.hits != y.hits || x.misses != y.misses) {
            printf("%s (%s): kv %lld hits %lld misses, redis %lld hits %lld misses\n", line,
                   i % 2 == 1 ? "exists" : "missing", (long long)x.hits, (long long)x.misses,
                   (long long)y.hits, (long long)y.misses);
            wrong++;
        }
    }
    ck_assert_uint_eq(wrong, 0);
    client_close(a);
    client_close(b);
    server_stop(&redis);
}
END_TEST

START_TEST(test_keymiss_events)
{
    struct compare_script s = { 0 };
    for (unsigned i = 0; i < countof(lookups); i++) {
        char text[200], *to = text;
        for (const char *p = lookups[i]; *p != '\0'; p++) {
            *to++ = *p == '$' ? 'k' : *p;
        }
        *to = '\0';
        const char *loose = strncmp(text, "RANDOMKEY", 9) == 0 ? "~type "
                            : strncmp(text, "KEYS", 4) == 0    ? "~sort "
                            : strncmp(text, "SCAN", 4) == 0 || strncmp(text, "BLMOVE", 6) == 0
                                ? "~type "
                            : strncmp(text, "OBJECT", 6) == 0 ? "~type "
                            : strstr(text, "TTL") != NULL     ? "~near=1000 "
                                                              : "";
        compare_add(&s, "FLUSHALL");
        compare_add(&s, "%s%s", loose, text);
        compare_add(&s, "UNWATCH");
    }
    compare_add(&s, "FLUSHALL");
    compare_script(&s);
}
END_TEST

UNIT_SUITE(client)
{
    TCase *tc = unit_case(suite, "client-beside", test_errors, test_list_and_kill_arguments,
                          test_latency_beside_redis, test_keymiss_events);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
    tc = unit_case(suite, "client-alone", test_pause_write, test_pause_kinds,
                   test_pause_all_and_timeout, test_pause_stops_expiry, test_kill_filters,
                   test_info_fields, test_histograms, test_events, test_min_replicas,
                   test_clients_are_evicted, test_killed_are_not_listed, test_long_replies_stop,
                   test_output_is_listed, test_closing_are_killed, test_unread_errors_close,
                   test_hits_and_misses, test_watched_once, test_low_output_limit);
    tcase_add_unchecked_fixture(tc, start, stop);
}
