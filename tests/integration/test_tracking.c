/* test_tracking.c -- Client-side caching: CLIENT TRACKING and its invalidations.
 * SPDX-License-Identifier: BSD-3-Clause
 * Arguments beside redis-server; pushes, other reactors and the gate alone. */
#include "base/base.h"
#include "base/clock.h"
#include "base/rng.h"
#include "compare.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct server single; /* with one reactor */

#define READERS 8 /* more than reactors: some share one, some do not */

SERVER_FIXTURE("--threads", "4", "--enable-debug-command", "yes")

/* A client of RESP3 with these options. */
static struct client *tracker(const char *options)
{
    struct client *c = server_connect(&kv);
    client_hello(c, 3);
    client_expect(c, "+OK", "CLIENT TRACKING on %s", options);
    return c;
}

static int64_t stat_of(struct client *c, const char *name)
{
    char field[64];
    snprintf(field, sizeof field, "%s:", name);
    const char *at = strstr(client_ask(c, "INFO all")->text, field);
    ck_assert_msg(at != NULL, "INFO has no %s", name);
    return strtoll(at + strlen(field), NULL, 10);
}

static void wait_stat(struct client *c, const char *name, int64_t wanted)
{
    for (unsigned i = 0; i < 500 && stat_of(c, name) != wanted; i++) {
        usleep(10000);
    }
    ck_assert_int_eq(stat_of(c, name), wanted);
}

/* ================= Beside redis-server ================= */

START_TEST(test_arguments)
{
    compare("CLIENT TRACKING", "CLIENT TRACKING maybe", "CLIENT TRACKING on redirect",
            "CLIENT TRACKING on redirect abc", "CLIENT TRACKING on redirect 99999999",
            "CLIENT TRACKING on redirect 0", "CLIENT TRACKING on redirect -1",
            "CLIENT TRACKING maybe redirect 99999999", "CLIENT TRACKING on prefix",
            "CLIENT TRACKING on prefix a", "CLIENT TRACKING on bcast optin",
            "CLIENT TRACKING on bcast optout", "CLIENT TRACKING on optin optout",
            "CLIENT TRACKING on foo", "CLIENT TRACKING off foo", "CLIENT TRACKING off bcast",
            "CLIENT TRACKINGINFO", "CLIENT GETREDIR", "CLIENT TRACKING on", "CLIENT TRACKINGINFO",
            "CLIENT GETREDIR", "CLIENT TRACKING on bcast", "CLIENT CACHING", "CLIENT CACHING yes",
            "CLIENT CACHING maybe", "CLIENT TRACKING on optin", "CLIENT TRACKING on optout",
            "CLIENT CACHING no", "CLIENT CACHING yes", "CLIENT TRACKINGINFO", "CLIENT INFO x",
            "CLIENT TRACKINGINFO", "PING", "CLIENT TRACKINGINFO", "CLIENT CACHING yes", "MULTI",
            "PING", "EXEC", "CLIENT TRACKINGINFO", "PING", "CLIENT TRACKINGINFO",
            "CLIENT TRACKING on noloop", "CLIENT TRACKINGINFO", "CLIENT TRACKING off",
            "CLIENT TRACKING on optout noloop", "CLIENT TRACKING on optin", "CLIENT CACHING yes",
            "CLIENT CACHING no", "CLIENT TRACKINGINFO", "CLIENT TRACKING off", "CLIENT CACHING yes",
            "CLIENT TRACKINGINFO");
}
END_TEST

START_TEST(test_prefixes_beside_redis)
{
    compare("CLIENT TRACKING on bcast prefix a prefix a",
            "CLIENT TRACKING on bcast prefix a prefix ab",
            "CLIENT TRACKING on bcast prefix ab prefix a", "CLIENT TRACKING on bcast prefix m",
            "CLIENT TRACKING on bcast prefix m", "CLIENT TRACKING on bcast prefix mn",
            "CLIENT TRACKING on bcast prefix z prefix b", "CLIENT TRACKINGINFO",
            "CLIENT TRACKING on", "CLIENT TRACKING on bcast noloop", "CLIENT TRACKINGINFO",
            "CLIENT TRACKING on bcast prefix q", "CLIENT TRACKING off", "CLIENT TRACKINGINFO",
            "CLIENT TRACKING on bcast", "CLIENT TRACKINGINFO", "RESET");
}
END_TEST

/* ================= Who is told, and when ================= */

#define TOLD(key) ">[\"invalidate\", [\"" key "\"]]"
#define TOLD_ALL  ">[\"invalidate\", nil]"

START_TEST(test_told_once)
{
    struct client *w = server_connect(&kv), *c[READERS];
    client_expect(w, "+OK", "SET k 1");
    for (unsigned i = 0; i < READERS; i++) {
        c[i] = tracker("");
        client_expect(c[i], "\"1\"", "GET k");
        client_expect(c[i], "\"1\"", "GET k");
    }
    ck_assert_int_eq(stat_of(w, "tracking_total_keys"), 1);
    ck_assert_int_eq(stat_of(w, "tracking_total_items"), READERS);
    ck_assert_int_eq(stat_of(w, "tracking_clients"), READERS);
    client_expect(w, "+OK", "SET k 2");
    client_expect(w, "+OK", "SET k 3");
    client_expect(w, "+OK", "SET other 3");
    for (unsigned i = 0; i < READERS; i++) {
        client_expect_next(c[i], TOLD("k"));
        client_expect(c[i], "+PONG", "PING"); /* and of no second change, which it has not read */
        client_expect(c[i], "\"3\"", "GET k");
    }
    client_expect(c[0], "+OK", "CLIENT TRACKING off");
    client_expect(c[1], "+RESET", "RESET");
    client_protocol(c[1], 2);
    client_close(c[2]);
    wait_stat(w, "tracking_clients", READERS - 3);
    client_expect(w, "1", "DEL k");
    for (unsigned i = 0; i < READERS; i++) {
        if (i > 2) {
            client_expect_next(c[i], TOLD("k"));
        } else if (i < 2) {
            client_expect(c[i], "+PONG", "PING");
        }
    }
    ck_assert_int_eq(stat_of(w, "tracking_total_keys"), 0);
    ck_assert_int_eq(stat_of(w, "tracking_total_items"), 0);
    for (unsigned i = 0; i < READERS; i++) {
        client_close(i == 2 ? NULL : c[i]);
    }
    client_close(w);
}
END_TEST

/* Every way in which a key changes: the command, and what is told to somebody who has read a, b
 * and the list l. "" ends. */
static const struct {
    const char *command[3], *told[3];
} changes[] = {
    { { "APPEND a x" }, { TOLD("a") } },
    { { "SETRANGE a 0 x" }, { TOLD("a") } },
    { { "DEL b a" }, { TOLD("b"), TOLD("a") } },
    { { "RENAME a b" }, { TOLD("b"), TOLD("a") } },
    { { "COPY a b REPLACE" }, { TOLD("b") } },
    { { "MOVE a 7" }, { TOLD("a") } },
    { { "PEXPIRE a 100000" }, { TOLD("a") } },
    { { "RPUSH l x" }, { TOLD("l") } },
    { { "LMOVE l a2 LEFT RIGHT" }, { TOLD("l") } },
    { { "MSET b 2 a 2" }, { TOLD("b"), TOLD("a") } },
    { { "SELECT 3", "SET a 2" }, { TOLD("a") } }, /* databases share one space, as in Redis */
    { { "EVAL \"redis.call('set', KEYS[1], 1) redis.call('incr', 'a')\" 1 b" },
      { TOLD("b"), TOLD("a") } },
    { { "FLUSHALL" }, { TOLD_ALL } },
    { { "FLUSHDB ASYNC" }, { TOLD_ALL } },
    { { "SWAPDB 0 1" }, { TOLD_ALL } },
    { { "DEBUG RELOAD" }, { TOLD_ALL } },
};

START_TEST(test_change)
{
    struct client *w = server_connect(&kv), *c = tracker("");
    client_expect(w, "+OK", "FLUSHALL");
    client_expect_next(c, TOLD_ALL);
    client_expect(w, "+OK", "MSET a 1 b 1 unread 1");
    client_expect(w, "1", "RPUSH l 1");
    client_expect(c, "[\"1\", \"1\"]", "MGET a b");
    client_expect(c, "1", "LLEN l");
    for (unsigned i = 0; i < 3 && changes[_i].command[i] != NULL; i++) {
        client_ask(w, "%s", changes[_i].command[i]);
    }
    for (unsigned i = 0; i < 3 && changes[_i].told[i] != NULL; i++) {
        client_expect_next(c, changes[_i].told[i]);
    }
    client_expect(c, "+PONG", "PING");
    client_close(c);
    client_close(w);
}
END_TEST

/* A read of the key itself, no write, and no look beyond: WATCH. */
START_TEST(test_what_reads)
{
    static const char *const reads[] = {
        "GET k",          "EXISTS k", "TTL k",
        "STRLEN k",       "TYPE k",   "OBJECT ENCODING k",
        "SORT_RO k",      "LLEN k",   "MGET x k y",
        "BITCOUNT k",     "TOUCH k",  "EVAL \"return redis.call('get', KEYS[1])\" 1 k",
        "SORT_RO k BY x*"
    };
    static const char *const others[] = { "WATCH k", "KEYS k", "GETEX k",
                                          "SET k 1", "SCAN 0", "EVAL \"return 1\" 1 k",
                                          "GETDEL k" };
    struct client *w = server_connect(&kv), *c = tracker("NOLOOP");
    for (unsigned i = 0; i < countof(reads); i++) {
        client_ask(c, "%s", reads[i]);
        client_expect(w, "+OK", "SET k %u", i);
        client_expect_next(c, TOLD("k"));
    }
    for (unsigned i = 0; i < countof(others); i++) {
        client_ask(c, "%s", others[i]);
        client_expect(w, "+OK", "SET k %u", i);
        client_expect(c, "+PONG", "PING");
    }
    client_close(c);
    client_close(w);
}
END_TEST

/* What a client changes itself is told behind the reply, all of an EXEC behind all of it. What it
 * reads after its change it hears of again. */
START_TEST(test_own_changes)
{
    struct client *w = server_connect(&kv), *c = tracker("");
    client_expect(c, "+OK", "MSET a 1 b 2");
    client_expect(c, "[\"1\", \"2\"]", "MGET a b");
    client_send(c, "INCR a");
    client_send(c, "GET a");
    client_send(c, "INCR a");
    client_expect_next(c, "2");
    client_expect_next(c, TOLD("a"));
    client_expect_next(c, "\"2\"");
    client_expect_next(c, "3");
    client_expect_next(c, TOLD("a"));
    client_expect(c, "\"3\"", "GET a");
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "INCR a");
    client_expect(c, "+QUEUED", "GET a");
    client_expect(c, "+QUEUED", "INCR b");
    client_expect(c, "[4, \"4\", 3]", "EXEC");
    client_expect_next(c, TOLD("a"));
    client_expect_next(c, TOLD("b"));
    client_expect(w, "5", "INCR a");
    client_expect_next(c, TOLD("a"));
    client_expect(c, "\"5\"", "GET a");
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "FLUSHDB");
    client_expect(c, "+QUEUED", "GET a");
    client_expect(c, "[+OK, nil]", "EXEC");
    client_expect_next(c, TOLD_ALL);
    client_expect(w, "1", "INCR a");
    client_expect_next(c, TOLD("a"));
    client_expect(c, "\"1\"", "GET a");
    client_expect(c, "+OK", "CLIENT TRACKING on NOLOOP");
    client_expect(c, "2", "INCR a"); /* not told, and forgotten */
    client_expect(w, "3", "INCR a");
    client_expect(c, "+PONG", "PING");
    client_expect(c, "+OK", "CLIENT TRACKING on");
    client_expect(c, "\"3\"", "GET a"); /* pushes are no replies */
    client_send(c, "CLIENT REPLY OFF");
    client_send(c, "INCR a");
    client_expect_next(c, TOLD("a"));
    client_expect(c, "+OK", "CLIENT REPLY ON");
    client_close(c);
    client_close(w);
}
END_TEST

/* The script needs a key that it has not declared: what it has changed by then is undone, it begins
 * again, and its change is told of once. */
START_TEST(test_script_again)
{
    struct client *w = server_connect(&kv), *c = tracker("");
    for (unsigned i = 0; i < 20; i++) {
        client_expect(w, "+OK", "MSET k %u x%u 1", i, i);
        client_ask(c, "GET k");
        client_expect(w, "\"1\"",
                      "EVAL \"redis.call('append', KEYS[1], 'x') return redis.call('get', 'x' .. "
                      "ARGV[1]) -- %u\" 1 k %u",
                      i, i);
        client_expect_next(c, TOLD("k"));
        client_expect(c, "+PONG", "PING");
    }
    client_close(c);
    client_close(w);
}
END_TEST

START_TEST(test_expired)
{
    struct client *w = server_connect(&kv), *c = tracker("NOLOOP"), *b = tracker("BCAST NOLOOP");
    client_expect(c, "+OK", "SET k v PX 300");
    client_expect_next(b, TOLD("k"));
    client_expect(c, "\"v\"", "GET k");
    client_expect_next(c, TOLD("k")); /* by nobody, so NOLOOP does not matter */
    client_expect_next(b, TOLD("k"));
    client_expect(b, "+OK", "SET k v PX 50");
    client_expect_next(b, TOLD("k"));
    client_expect(w, "+OK", "DEBUG SET-ACTIVE-EXPIRE 0");
    client_expect(w, "+OK", "SET k v PX 300");
    client_expect(c, "\"v\"", "GET k");
    usleep(400000);
    client_expect(c, "[nil, nil]", "MGET other k"); /* its own read deletes it */
    client_expect_next(c, TOLD("k"));
    client_expect(w, "+OK", "SET k v"); /* it has read that there is none */
    client_expect_next(c, TOLD("k"));
    client_expect(w, "+OK", "DEBUG SET-ACTIVE-EXPIRE 1");
    client_close(b);
    client_close(c);
    client_close(w);
}
END_TEST

START_TEST(test_evicted)
{
    struct client *w = server_connect(&kv), *c = tracker("");
    client_expect(w, "+OK", "FLUSHALL");
    client_expect_next(c, TOLD_ALL);
    client_expect(w, "+OK", "SET volatile v EX 10000");
    client_expect(w, "+OK", "CONFIG SET maxmemory-policy volatile-random");
    client_expect(c, "\"v\"", "GET volatile");
    client_expect(c, "+OK", "CONFIG SET maxmemory 1");
    client_send(c, "GET volatile"); /* a read makes room, too: told first, then answered */
    client_expect_next(c, TOLD("volatile"));
    client_expect_next(c, "nil");
    client_expect(c, "+OK", "CONFIG SET maxmemory 0");
    client_expect(w, "+OK", "CONFIG SET maxmemory-policy noeviction");
    client_close(c);
    client_close(w);
}
END_TEST

/* Telling of an evicted key takes more memory than the key did. While that waits for the disk, and
 * when it has left, it must not make more keys go. */
START_TEST(test_no_feedback)
{
    enum { LONG_KEYS = 300, NAME = 1000 };
    struct client *w = server_connect(&kv), *c[READERS];
    client_expect(w, "+OK", "FLUSHALL");
    client_expect(w, "+OK", "CONFIG SET maxmemory-policy allkeys-lru");
    client_expect(w, "+OK", "CONFIG SET maxmemory-eviction-tenacity 100");
    for (unsigned i = 0; i < READERS; i++) {
        c[i] = tracker("");
    }
    for (unsigned k = 0; k < LONG_KEYS; k++) {
        client_expect(w, "+OK", "SET %0*u v", NAME, k);
        for (unsigned i = 0; i < READERS; i++) {
            client_expect(c[i], "\"v\"", "GET %0*u", NAME, k);
        }
    }
    int64_t evicted = stat_of(w, "evicted_keys"), limit = stat_of(w, "used_memory") - 40000;
    client_expect(w, "+OK", "DEBUG AOF-FLUSH-SLEEP 100000");
    client_expect(w, "+OK", "CONFIG SET maxmemory %lld", (long long)limit);
    for (unsigned i = 0; i < 200; i++) {
        client_send(w, "PING");
    }
    for (unsigned i = 0; i < 200; i++) {
        client_expect_next(w, "+PONG");
    }
    ck_assert_int_gt(stat_of(w, "mem_not_counted_for_evict"), 0);
    for (unsigned i = 0; i < READERS; i++) {
        ck_assert_ptr_nonnull(strstr(client_read_line(c[i]), "invalidate"));
    }
    for (unsigned i = 0; i < 200; i++) {
        client_expect(w, "+PONG", "PING");
    }
    int64_t gone = stat_of(w, "evicted_keys") - evicted;
    ck_assert_int_ge(gone, 1);
    ck_assert_int_le(gone, 100);
    int64_t until =
        clock_mono_ms() + unit_patient_ms(10000); /* what was told is sent, and counts no more */
    while (stat_of(w, "used_memory") > limit) {
        ck_assert_msg(clock_mono_ms() < until, "%lld above the limit",
                      (long long)(stat_of(w, "used_memory") - limit));
        client_expect(w, "+PONG", "PING");
    }
    client_expect(w, "+OK", "DEBUG AOF-FLUSH-SLEEP 0");
    client_expect(w, "+OK", "CONFIG SET maxmemory 0");
    client_expect(w, "+OK", "CONFIG SET maxmemory-policy noeviction");
    client_expect(w, "+OK", "CONFIG SET maxmemory-eviction-tenacity 10");
    for (unsigned i = 0; i < READERS; i++) {
        client_close(c[i]);
    }
    client_close(w);
}
END_TEST

/* ================= Modes ================= */

START_TEST(test_opt_in_and_out)
{
    struct client *w = server_connect(&kv), *in = tracker("OPTIN"), *out = tracker("OPTOUT");
    client_expect(w, "+OK", "MSET a 1 b 1 c 1");
    client_expect(in, "\"1\"", "GET a");
    client_expect(in, "+OK", "CLIENT CACHING yes");
    client_expect(in, "\"1\"", "GET b");
    client_expect(in, "\"1\"", "GET c"); /* for one command only */
    client_expect(out, "\"1\"", "GET a");
    client_expect(out, "+OK", "CLIENT CACHING no");
    client_expect(out, "\"1\"", "GET b");
    client_expect(out, "\"1\"", "GET c");
    client_expect(w, "+OK", "MSET a 2 b 2 c 2");
    client_expect_next(in, TOLD("b"));
    client_expect(in, "+PONG", "PING");
    client_expect_next(out, TOLD("a"));
    client_expect_next(out, TOLD("c"));
    client_expect(out, "+PONG", "PING");
    client_expect(in, "+OK", "CLIENT CACHING yes"); /* or for one transaction */
    client_expect(in, "+OK", "MULTI");
    client_expect(in, "+QUEUED", "GET a");
    client_expect(in, "+QUEUED", "GET b");
    client_expect(in, "[\"2\", \"2\"]", "EXEC");
    client_expect(in, "\"2\"", "GET c");
    client_expect(w, "+OK", "MSET a 3 b 3 c 3");
    client_expect_next(in, TOLD("a"));
    client_expect_next(in, TOLD("b"));
    client_expect(in, "+PONG", "PING");
    client_close(in);
    client_close(out);
    client_close(w);
}
END_TEST

/* CLIENT CACHING in a transaction is for what follows there, not for what follows EXEC. */
START_TEST(test_opt_in_and_out_of_transaction)
{
    struct client *w = server_connect(&kv), *in = tracker("OPTIN"), *out = tracker("OPTOUT");
    client_expect(w, "+OK", "MSET a 1 b 1 c 1 d 1");
    client_expect(in, "+OK", "MULTI");
    client_expect(in, "+QUEUED", "GET a");
    client_expect(in, "+QUEUED", "CLIENT CACHING yes");
    client_expect(in, "+QUEUED", "GET b");
    client_expect(in, "+QUEUED", "GET c");
    client_expect(in, "[\"1\", +OK, \"1\", \"1\"]", "EXEC");
    client_expect(in, "\"1\"", "GET d");
    client_expect(out, "+OK", "MULTI");
    client_expect(out, "+QUEUED", "GET a");
    client_expect(out, "+QUEUED", "CLIENT CACHING no");
    client_expect(out, "+QUEUED", "GET b");
    client_expect(out, "+QUEUED", "GET c");
    client_expect(out, "[\"1\", +OK, \"1\", \"1\"]", "EXEC");
    client_expect(out, "\"1\"", "GET d");
    client_expect(w, "+OK", "MSET a 2 b 2 c 2 d 2");
    client_expect_next(in, TOLD("b"));
    client_expect_next(in, TOLD("c"));
    client_expect(in, "+PONG", "PING");
    client_expect_next(out, TOLD("a"));
    client_expect_next(out, TOLD("d"));
    client_expect(out, "+PONG", "PING");
    client_close(in);
    client_close(out);
    client_close(w);
}
END_TEST

START_TEST(test_broadcast)
{
    struct client *w = server_connect(&kv), *c = tracker("BCAST PREFIX b PREFIX a"),
                  *all = tracker("BCAST");
    ck_assert_int_eq(stat_of(w, "tracking_total_prefixes"), 3);
    client_expect(w, "+OK", "MULTI");
    client_expect(w, "+QUEUED", "MSET b2 1 a1 1 x1 1 b1 1");
    client_expect(w, "+QUEUED", "APPEND b2 x");
    client_expect(w, "+QUEUED", "DEL b1");
    client_ask(w, "EXEC");
    char *one = strdup(client_read_line(c)), *two = strdup(client_read_line(c));
    const char *a = ">[\"invalidate\", [\"a1\"]]", *b = ">[\"invalidate\", [\"b1\", \"b2\"]]";
    ck_assert((strcmp(one, a) == 0 && strcmp(two, b) == 0) ||
              (strcmp(one, b) == 0 && strcmp(two, a) == 0));
    free(one);
    free(two);
    client_expect_next(all, ">[\"invalidate\", [\"a1\", \"b1\", \"b2\", \"x1\"]]");
    client_expect(c, "+OK", "SET x2 1");
    client_expect_next(all, TOLD("x2"));
    client_expect(c, "+OK", "SET a1 1");
    client_expect_next(c, TOLD("a1"));
    client_expect_next(all, TOLD("a1"));
    client_expect(c, "+OK", "CLIENT TRACKING on BCAST NOLOOP PREFIX z");
    client_expect(c, "+OK", "SET z 1");
    client_expect_next(all, TOLD("z"));
    client_expect(w, "+OK", "SET z 2");
    client_expect_next(c, TOLD("z"));
    client_expect(w, "+OK", "FLUSHALL");
    client_expect_next(c, TOLD_ALL);
    client_close(all);
    wait_stat(w, "tracking_total_prefixes", 3);
    client_expect(c, "+OK", "CLIENT TRACKING off");
    ck_assert_int_eq(stat_of(w, "tracking_total_prefixes"), 0);
    client_close(c);
    client_close(w);
}
END_TEST

START_TEST(test_redirect)
{
    struct client *w = server_connect(&kv), *to = server_connect(&kv), *c = server_connect(&kv);
    long long id = client_int(to, "CLIENT ID");
    client_expect(c, "+OK", "CLIENT TRACKING on REDIRECT %lld", id);
    client_expect(c, "[]", "HGETALL nothing");
    ck_assert_int_eq(client_int(c, "CLIENT GETREDIR"), id);
    char redir[32];
    snprintf(redir, sizeof redir, " redir=%lld ", id);
    ck_assert_ptr_nonnull(strstr(client_ask(c, "CLIENT INFO")->text, redir));
    ck_assert_ptr_nonnull(strstr(client_ask(c, "CLIENT INFO")->text, "flags=t "));
    client_ask(c, "GET k");
    client_expect(w, "+OK", "SET k 1"); /* RESP2 and no subscriber: there is no way to tell */
    client_expect(to, "+PONG", "PING");
    client_expect(to, "[\"subscribe\", \"__redis__:invalidate\", 1]",
                  "SUBSCRIBE __redis__:invalidate");
    client_ask(c, "GET k");
    client_expect(w, "+OK", "SET k 2");
    client_expect_next(to, "[\"message\", \"__redis__:invalidate\", [\"k\"]]");
    client_expect(w, "+OK", "FLUSHALL");
    client_expect_next(to, "[\"message\", \"__redis__:invalidate\", nil]");
    client_hello(c, 3);
    client_ask(c, "GET k");
    client_close(to);
    char broken[64];
    snprintf(broken, sizeof broken, ">[\"tracking-redir-broken\", %lld]", id);
    do { /* until its reactor has seen that it is gone */
        client_expect(w, "+OK", "SET k 3");
    } while (client_line(c, "GET k")[0] != '>' && usleep(10000) == 0);
    do { /* more than one, when the first came after the reply to GET */
        ck_assert_str_eq(client_last_line(c), broken);
    } while (client_read_line(c)[0] == '>');
    ck_assert_str_eq(client_last_line(c), "\"3\"");
    ck_assert_ptr_nonnull(strstr(client_ask(c, "CLIENT INFO")->text, "flags=tR "));
    client_expect(c, "+OK", "CLIENT TRACKING on");
    ck_assert_ptr_nonnull(strstr(client_ask(c, "CLIENT INFO")->text, "flags=t "));
    client_close(c);
    client_close(w);
}
END_TEST

/* Who waited on the reactor of the one that flushes has been served before: it hears that first. */
START_TEST(test_flushed_behind_reply)
{
    static const char both[] = "XADD st 3-1 a b\r\nFLUSHALL\r\n";
    server_init(&single, SERVER_KV);
    server_start(&single, "--threads", "1");
    struct client *w = server_connect(&single), *c = server_connect(&single);
    client_hello(c, 3);
    client_expect(c, "+OK", "CLIENT TRACKING on");
    client_expect(w, "\"1-1\"", "XADD st 1-1 a b");
    client_expect(w, "\"2-1\"", "XADD st 2-1 a b");
    client_send(c, "XREAD BLOCK 0 STREAMS st $");
    wait_stat(w, "blocked_clients", 1);
    client_expect(w, "1", "XTRIM st MAXLEN 1"); /* XADD has nothing to tell of any more */
    client_expect_next(c, TOLD("st"));
    client_send_raw(w, both, sizeof both - 1);
    ck_assert_int_eq(client_read(c)->type, RESP_MAP);
    client_expect_next(c, TOLD_ALL);
    client_expect_next(w, "\"3-1\"");
    client_expect_next(w, "+OK");
    client_expect(c, "+PONG", "PING"); /* told once */
    client_expect(c, "nil", "GET k");
    client_expect(c, "+OK", "FLUSHALL"); /* itself behind its reply */
    client_expect_next(c, TOLD_ALL);
    client_expect(c, "+PONG", "PING");
    client_close(c);
    client_close(w);
    server_stop(&single);
}
END_TEST

/* ================= Bounds ================= */

START_TEST(test_table_is_bounded)
{
    struct client *w = server_connect(&kv), *c = tracker("NOLOOP");
    client_expect(w, "+OK", "FLUSHALL");
    client_expect_next(c, TOLD_ALL);
    for (unsigned i = 0; i < 1000; i++) {
        client_expect(c, "nil", "GET key%u", i);
    }
    ck_assert_int_eq(stat_of(w, "tracking_total_keys"), 1000);
    client_expect(w, "+OK", "CONFIG SET tracking-table-max-keys 3");
    bool told[1000] = { false };
    for (unsigned i = 0; i < 997; i++) { /* each is forgotten once, and told of */
        const struct resp *r = client_read(c);
        ck_assert_int_eq(r->type, RESP_PUSH);
        unsigned n = (unsigned)strtoul(r->at[1]->at[0]->text + 3, NULL, 10);
        ck_assert(n < 1000 && !told[n]);
        told[n] = true;
    }
    client_expect(c, "+PONG", "PING");
    ck_assert_int_eq(stat_of(w, "tracking_total_keys"), 3);
    client_expect(w, "+OK", "CONFIG SET tracking-table-max-keys 1000000");
    client_close(c);
    client_close(w);
}
END_TEST

/* ================= The gate ================= */

static long long durable_lsn(struct client *c)
{
    return stat_of(c, "wal_durable_lsn");
}

/* Nobody hears of a change that a crash could take back. */
START_TEST(test_gated)
{
    struct client *w = server_connect(&kv), *d = server_connect(&kv), *c = tracker("");
    client_expect(w, "+OK", "SET k 1");
    client_expect(c, "\"1\"", "GET k");
    long long before = durable_lsn(d);
    client_expect(d, "+OK", "DEBUG AOF-FLUSH-SLEEP 700000");
    client_send(w, "SET k 2");
    client_expect_next(c, TOLD("k"));
    ck_assert_int_gt(durable_lsn(d), before);
    client_expect(d, "+OK", "DEBUG AOF-FLUSH-SLEEP 0");
    client_expect_next(w, "+OK");
    client_close(c);
    client_close(d);
    client_close(w);
}
END_TEST

/* ================= None is lost ================= */

#define KEYS   10
#define ROUNDS 1500

/* What a client of such a server does: it keeps what it has read until it is told. */
struct cache {
    struct client *c;
    int64_t value[KEYS]; /* -1: not known */
};

static void cache_told(struct cache *k, const struct resp *r)
{
    ck_assert_int_eq(r->type, RESP_PUSH);
    k->value[strtoul(r->at[1]->at[0]->text + 1, NULL, 10)] = -1;
}

static void cache_read(struct cache *k, unsigned key)
{
    const struct resp *r;
    while ((r = client_read(k->c))->type == RESP_PUSH) {
        cache_told(k, r);
    }
    k->value[key] = r->type == RESP_NIL ? 0 : strtoll(r->text, NULL, 10);
}

/* After the last change every cache comes to hold the last values or nothing. */
static void caches_agree(struct cache *cache, struct client *w)
{
    for (unsigned i = 0; i < READERS; i++) {
        for (unsigned key = 0; key < KEYS; key++) {
            int64_t now = strtoll(client_ask(w, "GET k%u", key)->text, NULL, 10);
            while (cache[i].value[key] != -1 && cache[i].value[key] != now) {
                cache_told(&cache[i], client_read(cache[i].c));
            }
        }
    }
}

START_TEST(test_none_is_lost)
{
    struct cache cache[READERS];
    struct client *w[4];
    rng_seed_all(unit_seed());
    for (unsigned i = 0; i < READERS; i++) {
        cache[i].c = tracker("");
        memset(cache[i].value, 0xff, sizeof cache[i].value);
    }
    for (unsigned i = 0; i < 4; i++) {
        w[i] = server_connect(&kv);
        client_expect(w[i], "+OK", "MSET k0 1 k1 1 k2 1 k3 1 k4 1 k5 1 k6 1 k7 1 k8 1 k9 1");
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned key[READERS];
        bool asked[READERS];
        for (unsigned i = 0; i < READERS; i++) {
            key[i] = (unsigned)rng_below(KEYS);
            asked[i] = cache[i].value[key[i]] == -1;
            if (asked[i]) {
                client_send(cache[i].c, "GET k%u", key[i]);
            }
            if (i % 2 == 0) {
                client_send(w[i / 2], "INCR k%u", (unsigned)rng_below(KEYS));
            }
        }
        for (unsigned i = 0; i < READERS; i++) {
            if (asked[i]) {
                cache_read(&cache[i], key[i]);
            }
            if (i % 2 == 0) {
                client_read(w[i / 2]);
            }
        }
    }
    caches_agree(cache, w[0]);
    for (unsigned i = 0; i < READERS; i++) {
        client_close(cache[i].c);
        client_close(i % 2 == 0 ? w[i / 2] : NULL);
    }
}
END_TEST

UNIT_SUITE(tracking)
{
    TCase *tc = unit_case(suite, "beside redis", test_arguments, test_prefixes_beside_redis);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
    tc = unit_case(suite, "who is told", test_told_once, test_what_reads, test_own_changes,
                   test_script_again, test_expired, test_evicted, test_no_feedback);
    tcase_add_unchecked_fixture(tc, start, stop);
    tc = unit_case_loop(suite, "changes", 60, test_change, countof(changes));
    tcase_add_unchecked_fixture(tc, start, stop);
    tc = unit_case(suite, "modes", test_opt_in_and_out, test_opt_in_and_out_of_transaction,
                   test_broadcast, test_redirect, test_flushed_behind_reply, test_table_is_bounded,
                   test_gated);
    tcase_add_unchecked_fixture(tc, start, stop);
    tc = unit_case_slow(suite, "stress", 120, test_none_is_lost);
    tcase_add_unchecked_fixture(tc, start, stop);
}
