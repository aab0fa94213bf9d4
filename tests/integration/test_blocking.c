/* test_blocking.c -- Blocked clients between reactors: whose turn it is, and that nobody is
 * forgotten. SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY  A waiter is claimed before its command runs for it. What happens on other reactors between
 *      the claim and its end is forced here with fault points: exec.claimed and
 *      exec.claimed_unlocked are inside of that window (the latter before a second lock is taken),
 *      exec.serve_nothing lets the claimed command find nothing. */
#include "base/base.h"
#include "base/clock.h"
#include "lib/compare.h"
#include "lib/unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct server kv;

static void setup(void)
{
    server_init(&kv, SERVER_KV);
}

static void teardown(void)
{
    server_stop(&kv);
}

/* Connections go to the reactor with the fewest: four in a row are on four of them. */
struct four {
    struct client *w1, *w2, *a, *b;
};

static void four_open(struct four *f, const char *faults)
{
    server_env(&kv, "KV_FAULTS", faults);
    server_start(&kv, "--threads", "4");
    f->w1 = server_connect(&kv);
    f->w2 = server_connect(&kv);
    f->a = server_connect(&kv);
    f->b = server_connect(&kv);
}

static void four_close(struct four *f)
{
    client_close(f->w1);
    client_close(f->w2);
    client_close(f->a);
    client_close(f->b);
}

static int64_t info_int(struct client *c, const char *field)
{
    const struct resp *r = client_ask(c, "INFO clients");
    const char *at = strstr(r->text, field);
    ck_assert_ptr_nonnull(at);
    return strtoll(at + strlen(field) + 1, NULL, 10);
}

static void wait_blocked(struct client *c, int64_t n)
{
    for (unsigned i = 0; info_int(c, "blocked_clients") != n; i++) {
        ck_assert_msg(i < 1000, "blocked_clients is not %d in time", (int)n);
        usleep(5000);
    }
}

/* The window stays open for so long; what has to be inside of it comes after a third of this. */
static int window_ms(void)
{
    return unit_patient_ms(600);
}

static void four_in_window(struct four *f, const char *point, const char *other)
{
    char faults[100];
    snprintf(faults, sizeof faults, "%s=delay%d%s", point, window_ms(), other);
    four_open(f, faults);
}

static void enter_window(void)
{
    usleep((unsigned)window_ms() * 1000 / 3);
}

/* Claimed for k1, which then has nothing for it, while k2 gets an element and passes it over: all
 * its keys are looked at again, in order. */
START_TEST(test_claimed_then_other_key)
{
    struct four f;
    four_in_window(&f, "exec.claimed", ",exec.serve_nothing=fail");
    client_send(f.w1, "BLPOP k1 k2 0");
    wait_blocked(f.a, 1);
    client_send(f.a, "RPUSH k1 x");
    enter_window();
    client_expect(f.b, "1", "RPUSH k2 y");
    client_expect_next(f.a, "1");
    client_expect_next(f.w1, "[\"k1\", \"x\"]");
    client_expect(f.b, "1", "LLEN k2");
    four_close(&f);
}
END_TEST

/* The same with one behind it at k2, who is served, and one element more, which is for the first.
 */
START_TEST(test_claimed_then_two_elements)
{
    struct four f;
    four_in_window(&f, "exec.claimed", ",exec.serve_nothing=fail");
    client_send(f.w1, "BLPOP k1 k2 0");
    wait_blocked(f.a, 1);
    client_send(f.w2, "BLPOP k2 0");
    wait_blocked(f.a, 2);
    client_send(f.a, "RPUSH k1 x");
    enter_window();
    client_expect(f.b, "2", "RPUSH k2 y z");
    client_expect_next(f.a, "1");
    client_expect_next(f.w2, "[\"k2\", \"y\"]");
    client_expect_next(f.w1, "[\"k1\", \"x\"]");
    client_expect(f.b, "[\"z\"]", "LRANGE k2 0 -1");
    four_close(&f);
}
END_TEST

/* A time that ends, a connection that closes and CLIENT KILL inside of the window: the waiter ends
 * once, and what comes later stays. */
START_TEST(test_claimed_then_ends)
{
    struct four f;
    four_in_window(&f, "exec.claimed", ",exec.serve_nothing=fail");
    client_send(f.w1, "CLIENT ID");
    client_send(f.w1, "BLPOP k1 k2 %.3f", _i == 0 ? window_ms() / 2000.0 : 0.0);
    int64_t id = client_read(f.w1)->integer;
    wait_blocked(f.a, 1);
    client_send(f.a, "RPUSH k1 x");
    enter_window();
    if (_i == 1) {
        client_close(f.w1);
        f.w1 = NULL;
    } else if (_i == 2) {
        client_expect(f.b, "1", "CLIENT KILL ID %d", (int)id);
        client_expect_closed(f.w1);
    } else if (_i == 3) {
        client_expect(f.b, "1", "CLIENT UNBLOCK %d", (int)id);
        client_expect_next(f.w1, "nil*");
    } else {
        client_expect_next(f.w1, "nil*");
    }
    client_expect_next(f.a, "1");
    wait_blocked(f.a, 0);
    client_expect(f.b, "1", "RPUSH k2 y");
    client_expect(f.b, "[\"x\"]", "LRANGE k1 0 -1");
    client_expect(f.b, "[\"y\"]", "LRANGE k2 0 -1");
    four_close(&f);
}
END_TEST

/* A waiter that needs a second lock, claimed while none is held: whoever waits behind it does not
 * get ahead, though its element was taken away and another one came. */
START_TEST(test_claimed_keeps_its_turn)
{
    struct four f;
    four_in_window(&f, "exec.claimed_unlocked", "");
    client_send(f.w1, "BLMOVE src dst LEFT RIGHT 0");
    wait_blocked(f.a, 1);
    client_send(f.w2, "BLPOP src 0");
    wait_blocked(f.a, 2);
    client_send(f.a, "RPUSH src x");
    enter_window();
    client_expect(f.b, "\"x\"", "LPOP src");
    client_expect(f.b, "1", "RPUSH src y");
    client_expect_next(f.a, "1");
    client_expect_next(f.w1, "\"y\"");
    client_expect(f.b, "[\"y\"]", "LRANGE dst 0 -1");
    client_expect(f.b, "1", "RPUSH src z");
    client_expect_next(f.w2, "[\"src\", \"z\"]");
    four_close(&f);
}
END_TEST

static const char *const newcomers[] = { "BLPOP src other 0", "BLMOVE src d2 LEFT LEFT 0",
                                         "BLMPOP 0 2 other src LEFT" };
static const char *const newcomers_get[] = { "[\"src\", \"y\"]", "\"y\"", "[\"src\", [\"y\"]]" };

/* Nor does one that comes in that moment: what it finds is for those who were there before. */
START_TEST(test_claimed_and_newcomer)
{
    struct four f;
    four_in_window(&f, "exec.claimed_unlocked", "");
    client_send(f.w1, "BLMOVE src dst LEFT RIGHT 0");
    wait_blocked(f.a, 1);
    client_send(f.a, "RPUSH src x");
    enter_window();
    client_send(f.w2, "%s", newcomers[_i]);
    client_expect_next(f.a, "1");
    client_expect_next(f.w1, "\"x\"");
    wait_blocked(f.a, 1);
    client_expect(f.b, "1", "RPUSH src y");
    client_expect_next(f.w2, newcomers_get[_i]);
    four_close(&f);
}
END_TEST

/* ---- Whose turn it is, as redis-server has it ---- */

START_TEST(test_order_of_many)
{
    compare("@a &BLPOP l 0", "@b &BRPOP l 0", "@c &BLPOP l 0", "@d &BLMPOP 0 1 l LEFT COUNT 2",
            "RPUSH l 1 2 3 4 5 6", "@a <", "@b <", "@c <", "@d <", "LRANGE l 0 -1", "DEL l",
            "@a &BLPOP x y z 0", "@b &BLPOP z y x 0", "@c &BLPOP y 0", "RPUSH y 1", "@a <",
            "@b !quiet", "@c !quiet", "RPUSH y 2", "@b <", "@c !quiet", "RPUSH x 3", "@c !quiet",
            "LRANGE x 0 -1", "RPUSH y 4", "@c <", "DEL x",
            /* whoever comes back waits at the end */
            "@a &BLPOP q 0", "@b &BLPOP q 0", "RPUSH q 1", "@a <", "@a &BLPOP q 0", "RPUSH q 2",
            "@b <", "@a !quiet", "RPUSH q 3", "@a <",
            /* the one that waits for the longer time is not served first */
            "@a &BLPOP t 100", "@b &BLPOP t 0", "@c &BLPOP t 50", "RPUSH t 1 2", "@a <", "@b <",
            "@c !quiet", "LPUSH t 3", "@c <");
}
END_TEST

START_TEST(test_order_in_transactions)
{
    compare("@a &BLPOP k1 k2 0", "MULTI", "RPUSH k2 2", "DEL k2", "RPUSH k1 1", "EXEC", "@a <",
            "EXISTS k1 k2", "@a &BLPOP k1 k2 0", "MULTI", "RPUSH k1 1", "DEL k1", "RPUSH k2 2",
            "EXEC", "@a <", "EXISTS k1 k2", "@a &BLPOP k 0", "@b &BRPOP k 0", "MULTI",
            "RPUSH k 1 2 3", "LPOP k", "RPUSH k 4", "EXEC", "@a <", "@b <", "LRANGE k 0 -1",
            "DEL k", "@a &BLPOP k 0", "MULTI", "SET k string", "DEL k", "RPUSH k x", "EXEC", "@a <",
            "@a &BLPOP k1 k2 0", "MULTI", "RPUSH k1 x", "SET k1 string", "EXEC", "@a !quiet",
            "RPUSH k2 y", "@a <", "GET k1", "DEL k1", "@a &BLPOP k1 k2 0", "SET s string",
            "RENAME s k1", "@a !quiet", "RPUSH k2 z", "@a <", "GET k1");
}
END_TEST

/* What one transaction or script did to several keys is seen as a whole, as in Redis 7.2: the order
 * of the arguments counts, not that of the pushes. */
static const struct {
    const char *blocks, *first, *second, *gets;
} several[] = {
    { "BLPOP k1 k2 0", "RPUSH k2 2", "RPUSH k1 1", "[\"k1\", \"1\"]" },
    { "BLMPOP 0 2 k1 k2 LEFT", "RPUSH k2 2", "RPUSH k1 1", "[\"k1\", [\"1\"]]" },
    { "BZPOPMIN k1 k2 0", "ZADD k2 2 b", "ZADD k1 1 a", "[\"k1\", \"a\", \"1\"]" },
    { "BLPOP k1 k2 0", "SET k1 string", "RPUSH k2 2",
      "-WRONGTYPE Operation against a key holding the wrong kind of value" },
    { "XREAD BLOCK 0 STREAMS k1 k2 $ $", "XADD k2 2-1 f v", "XADD k1 1-1 f v",
      "[[\"k1\", [[\"1-1\", [\"f\", \"v\"]]]], [\"k2\", [[\"2-1\", [\"f\", \"v\"]]]]]" },
    { "XREAD BLOCK 0 STREAMS k1 k2 $ $", "XADD k2 2-1 f v", "SET k1 string",
      "-WRONGTYPE Operation against a key holding the wrong kind of value" },
    { "XREADGROUP GROUP g c BLOCK 0 STREAMS x1 x2 > >", "XADD x2 2-1 f v", "XADD x1 1-1 f v",
      "[[\"x1\", [[\"1-1\", [\"f\", \"v\"]]]], [\"x2\", [[\"2-1\", [\"f\", \"v\"]]]]]" },
    { "XREADGROUP GROUP g c BLOCK 0 STREAMS x1 x2 > >", "XADD x2 2-1 f v", "XGROUP DESTROY x1 g",
      "-NOGROUP No such key 'x1' or consumer group 'g' in XREADGROUP with GROUP option" },
};

static void as_transaction(struct client *c, const char *first, const char *second)
{
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "%s", first);
    client_expect(c, "+QUEUED", "%s", second);
    ck_assert_int_eq(client_ask(c, "EXEC")->type, RESP_ARRAY);
}

/* Its keys are not declared. */
static void as_script(struct client *c, const char *first, const char *second)
{
    client_line(c,
                "EVAL \"for _, l in ipairs(ARGV) do local a = {} for w in l:gmatch('%%S+') do "
                "a[#a + 1] = w end redis.call(unpack(a)) end\" 0 '%s' '%s'",
                first, second);
}

static void serve_several(bool script)
{
    server_start(&kv, "--threads", "4");
    struct client *c = server_connect(&kv), *w = server_connect(&kv);
    for (unsigned i = 0; i < countof(several); i++) {
        client_expect(c, "+OK", "XGROUP CREATE x1 g $ MKSTREAM");
        client_expect(c, "+OK", "XGROUP CREATE x2 g $ MKSTREAM");
        client_send(w, "%s", several[i].blocks);
        wait_blocked(c, 1);
        (script ? as_script : as_transaction)(c, several[i].first, several[i].second);
        client_expect_next(w, several[i].gets);
        wait_blocked(c, 0);
        client_expect(c, "+OK", "FLUSHALL");
    }
    client_close(c);
    client_close(w);
}

START_TEST(test_several_keys)
{
    serve_several(_i == 1);
}
END_TEST

/* Who waits longest for one key is not served first from another key of one that is. */
START_TEST(test_several_keys_turns)
{
    struct four f;
    four_open(&f, "");
    client_send(f.w1, "BLPOP k1 0");
    wait_blocked(f.b, 1);
    client_send(f.w2, "BLPOP k1 k2 0");
    wait_blocked(f.b, 2);
    as_transaction(f.a, "RPUSH k2 2", "RPUSH k1 1 3");
    client_expect_next(f.w2, "[\"k1\", \"1\"]");
    client_expect_next(f.w1, "[\"k1\", \"3\"]");
    client_expect(f.b, "[\"2\"]", "LRANGE k2 0 -1");
    client_expect(f.b, "0", "EXISTS k1");
    four_close(&f);
}
END_TEST

static int64_t durable_lsn(struct client *c)
{
    const char *at = strstr(client_ask(c, "INFO durability")->text, "wal_durable_lsn:");
    ck_assert_ptr_nonnull(at);
    return strtoll(at + strlen("wal_durable_lsn:"), NULL, 10);
}

/* A waiter that needs more locks than the transaction holds keeps those who wait for other keys of
 * it back; what they then read is not told before it is durable. */
START_TEST(test_served_later_waits_for_log)
{
    struct four f;
    four_open(&f, "");
    client_send(f.w1, "BLMOVE l away LEFT LEFT 0");
    wait_blocked(f.b, 1);
    client_send(f.w2, "XREAD BLOCK 0 STREAMS s $");
    wait_blocked(f.b, 2);
    char delay[64];
    snprintf(delay, sizeof delay, "DEBUG AOF-FLUSH-SLEEP %d", unit_patient_ms(500) * 1000);
    client_expect(f.b, "+OK", "%s", delay);
    int64_t before = durable_lsn(f.b);
    client_send(f.a, "MULTI");
    client_send(f.a, "RPUSH l x");
    client_send(f.a, "XADD s 1-1 f v");
    client_send(f.a, "EXEC");
    client_expect_next(f.w2, "[[\"s\", [[\"1-1\", [\"f\", \"v\"]]]]]");
    ck_assert_int_gt(durable_lsn(f.b), before);
    client_expect_next(f.w1, "\"x\"");
    four_close(&f);
}
END_TEST

/* SLOWLOG has the command of a client that waited, behind those of the transaction that served it;
 * it counts as one that was processed, by the client who sent it. */
START_TEST(test_served_in_slowlog)
{
    server_start(&kv, "--threads", "1");
    struct client *c = server_connect(&kv), *w = server_connect(&kv);
    client_expect(c, "+OK", "CONFIG SET slowlog-log-slower-than 0");
    client_expect(w, "+OK", "CLIENT SETNAME waiter");
    client_send(w, "BLPOP l 0");
    wait_blocked(c, 1);
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "RPUSH l x");
    client_expect(c, "+QUEUED", "SLOWLOG RESET");
    ck_assert_int_eq(client_ask(c, "EXEC")->type, RESP_ARRAY);
    client_expect_next(w, "[\"l\", \"x\"]");
    const struct resp *r = client_ask(c, "SLOWLOG GET 1");
    char *line = resp_line(r->at[0]);
    ck_assert_msg(strstr(line, "[\"BLPOP\", \"l\", \"0\"]") != NULL, "%s", line);
    ck_assert_msg(strstr(line, "\"waiter\"") != NULL, "%s", line);
    free(line);
    client_close(c);
    client_close(w);
}
END_TEST

START_TEST(test_order_of_chains)
{
    compare(
        "@a &BLMOVE c1 c2 LEFT RIGHT 0", "@b &BLMOVE c2 c3 LEFT RIGHT 0", "@c &BLPOP c3 0",
        "@d &BLPOP c2 0", "RPUSH c1 1 2", "@a <", "@b <", "@c <", "@d !quiet", "LRANGE c1 0 -1",
        "RPUSH c2 3", "@d <", "DEL c1 c2 c3",
        /* one chain feeds two that wait at its end */
        "@a &BRPOPLPUSH s m 0", "@b &BRPOPLPUSH s m 0", "@c &BLPOP m 0", "@d &BLPOP m 0",
        "RPUSH s 1 2 3", "@a <", "@b <", "@c <", "@d <", "LRANGE s 0 -1", "EXISTS m", "DEL s",
        /* mixed at one key */
        "@a &BLMOVE s m LEFT LEFT 0", "@b &BLPOP s 0", "@c &BLMOVE s m LEFT LEFT 0", "RPUSH s 1 2",
        "@a <", "@b <", "@c !quiet", "LRANGE m 0 -1", "RPUSH s 3", "@c <", "LRANGE m 0 -1", "DEL m",
        "@a &BLPOP s 0", "@b &BLMOVE s m LEFT LEFT 0", "@c &BLPOP s 0", "RPUSH s 1 2 3", "@a <",
        "@b <", "@c <", "EXISTS s", "LRANGE m 0 -1", "DEL m",
        /* a ring */
        "@a &BLMOVE r1 r2 LEFT LEFT 0", "@b &BLMOVE r2 r1 LEFT LEFT 0", "RPUSH r1 x", "@a <",
        "@b <", "LRANGE r1 0 -1", "EXISTS r2", "DEL r1",
        /* the destination is no list: an error, and the element goes to the next */
        "SET bad string", "@a &BLMOVE s bad LEFT LEFT 0", "@b &BLPOP s 0", "@c &BRPOPLPUSH s bad 0",
        "RPUSH s 1 2", "@a <", "@b <", "@c <", "LRANGE s 0 -1", "DEL s", "@a &BRPOPLPUSH s bad 0",
        "MULTI", "RPUSH s 1", "DEL bad", "EXEC", "@a <", "LRANGE bad 0 -1");
}
END_TEST

/* Keys with clients that also wait for the key to go are counted apart. */
START_TEST(test_keys_are_counted)
{
    struct four f;
    four_open(&f, "");
    client_send(f.w1, "BLPOP s 0");
    wait_blocked(f.a, 1);
    ck_assert_int_eq(info_int(f.a, "total_blocking_keys"), 1);
    ck_assert_int_eq(info_int(f.a, "total_blocking_keys_on_nokey"), 0);
    client_expect(f.a, "\"6-0\"", "XADD s 6-0 a b");
    client_expect(f.a, "+OK", "XGROUP CREATE s g $");
    client_send(f.w2, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    wait_blocked(f.a, 2);
    client_send(f.b, "XREADGROUP GROUP g d BLOCK 0 STREAMS s >");
    wait_blocked(f.a, 3);
    ck_assert_int_eq(info_int(f.a, "total_blocking_keys"), 1);
    ck_assert_int_eq(info_int(f.a, "total_blocking_keys_on_nokey"), 1);
    client_expect(f.a, "1", "DEL s");
    ck_assert_int_eq(client_read(f.w2)->type, RESP_ERROR);
    ck_assert_int_eq(client_read(f.b)->type, RESP_ERROR);
    ck_assert_int_eq(info_int(f.a, "total_blocking_keys"), 1);
    ck_assert_int_eq(info_int(f.a, "total_blocking_keys_on_nokey"), 0);
    client_expect(f.a, "1", "RPUSH s x");
    client_expect_next(f.w1, "[\"s\", \"x\"]");
    ck_assert_int_eq(info_int(f.a, "total_blocking_keys"), 0);
    four_close(&f);
}
END_TEST

/* Who was told that a client is gone, or its user, finds what he pushes then, or the next one gets
 * it. */
START_TEST(test_killed_is_not_served)
{
    static const char *const wait[] = { "BLPOP q 0", "BLMOVE q to LEFT LEFT 0" };
    static const char *const got[] = { "[\"q\", \"x\"]", "\"x\"" };
    char line[100];
    server_start(&kv, "--threads", "1");
    struct client *a = server_connect(&kv), *b = server_connect(&kv), *c = server_connect(&kv);
    client_expect(c, "+OK", "ACL SETUSER u on >p +@all ~*");
    client_expect(a, "+OK", "AUTH u p");
    snprintf(line, sizeof line, "CLIENT KILL ID %lld\r\nRPUSH q x\r\n",
             (long long)client_int(a, "CLIENT ID"));
    client_send(a, "%s", wait[_i % 2]);
    wait_blocked(c, 1);
    client_send(b, "%s", wait[_i % 2]);
    wait_blocked(c, 2);
    const char *at_once = _i < 2 ? line : "ACL DELUSER u\r\nRPUSH q x\r\n";
    client_send_raw(c, at_once, strlen(at_once));
    client_expect_next(c, "1");
    client_expect_next(c, "1");
    client_expect_next(b, got[_i % 2]);
    const struct resp *r;
    ck_assert_int_ne(client_try_read(a, &r), RESP_OK);
    wait_blocked(c, 0);
    client_close(a);
    client_close(b);
    client_close(c);
}
END_TEST

/* A client on one reactor that another one kills, wherever it just then waits to be let on: between
 * two requests (after a script), where a script begins again alone, where EXEC or a single command
 * is about to stop everybody (fault). Nothing that it sent runs after that: the element is left,
 * and no key k is there. */
static const struct {
    const char *script; /* what it ends with; NULL: none */
    const char *sends;  /* behind it: a line or several */
    const char *fault;
} killed[] = {
    { "", "BLPOP q 0\r\n", "" },
    { "", "BLMOVE q to LEFT LEFT 0\r\n", "" },
    { "", "SET k v\r\n", "" },
    { "", "MULTI\r\nSET k v\r\nEXEC\r\n", "" },
    { "redis.call('set', 'k', 'v')", "", "" },
    { NULL, "MULTI\r\nSET k v\r\nKEYS *\r\nEXEC\r\n", "exec.section" },
    { NULL, "SWAPDB 0 1\r\n", "exec.section" },
};

static size_t killed_sends(char *to, size_t size, int i)
{
    int n = 0;
    if (killed[i].script != NULL) {
        n = snprintf(to, size,
                     "EVAL \"local t = os.clock() while os.clock() - t < %.3f do end %s\" 0\r\n%s",
                     window_ms() / 1000.0, killed[i].script, killed[i].sends);
    } else {
        n = snprintf(to, size, "%s", killed[i].sends);
    }
    return (size_t)n;
}

START_TEST(test_killed_runs_nothing)
{
    const char *faulty = killed[_i % (int)countof(killed)].fault;
    bool deluser = _i >= (int)countof(killed); /* its user goes, too, and with it his rights */
    char line[300], sent[300];
#ifndef KV_FAULTS
    if (faulty[0] != '\0') {
        unit_skip("needs fault points");
    }
#endif
    server_start(&kv, "--threads", "2", "--busy-reply-threshold", "0");
    struct client *c = server_connect(&kv), *s = server_connect(&kv);
    client_expect(c, "+OK", "ACL SETUSER u on >p +@all ~*");
    client_expect(c, "+OK", "SELECT 1");
    client_expect(c, "+OK", "SET k v");
    client_expect(c, "+OK", "SELECT 0");
    client_expect(s, "+OK", "AUTH u p");
    int n = snprintf(line, sizeof line, "CLIENT KILL ID %lld\r\n%sRPUSH q x\r\n",
                     (long long)client_int(s, "CLIENT ID"), deluser ? "ACL DELUSER u\r\n" : "");
    if (faulty[0] != '\0') {
        client_expect(c, "+OK", "DEBUG FAULT %s=delay%d", faulty, 3 * window_ms());
    }
    client_send_raw(s, sent, killed_sends(sent, sizeof sent, _i % (int)countof(killed)));
    enter_window();
    client_send_raw(c, line, (size_t)n);
    for (int i = deluser ? 3 : 2; i > 0; i--) {
        client_expect_next(c, "1");
    }
    const struct resp *r;
    while (client_try_read(s, &r) == RESP_OK) { /* what ran before */
    }
    wait_blocked(c, 0);
    client_expect(c, "1", "LLEN q");
    client_expect(c, "0", "EXISTS k");
    client_close(c);
    client_close(s);
}
END_TEST

/* The same of one that its own request finds to be larger than maxmemory-clients allows. */
START_TEST(test_evicted_runs_nothing)
{
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv), *s = server_connect(&kv);
    client_expect(c, "2097152", "SETRANGE big 2097151 x");
    client_expect(c, "+OK", "SET k v");
    client_expect(c, "+OK", "CONFIG SET maxmemory 1mb maxmemory-clients 1mb");
    client_send_raw(s, "GET big\r\nDEL k\r\n", 16);
    const struct resp *r;
    while (client_try_read(s, &r) == RESP_OK) {
    }
    client_expect(c, "1", "EXISTS k");
    client_close(c);
    client_close(s);
}
END_TEST

/* A client that names a key many times is served once for each time the key gets something, even
 * when that is nothing for it. The fault point, in every serving, ends the server at the one that
 * would be too many. */
static const struct {
    const char *waits, *named, *after; /* named: what stands between, as often as the keys do */
    const char *makes[2];
} many_times[] = {
    { "XREAD BLOCK 0 STREAMS", "s", "9999999999999999-0", { "XADD s * a b", "XADD s * a b" } },
    { "XREAD BLOCK 0 STREAMS",
      "s t",
      "9999999999999999-0 9999999999999999-0",
      { "XADD s * a b", "XADD t * a b" } },
    { "XREADGROUP GROUP g c BLOCK 0 STREAMS",
      "s",
      ">",
      { "XADD s MAXLEN 0 * a b", "XADD s MAXLEN 0 * a b" } },
    { "XREADGROUP GROUP g c BLOCK 0 STREAMS",
      "s t",
      "> >",
      { "XADD t MAXLEN 0 * a b", "XADD s MAXLEN 0 * a b" } },
};

START_TEST(test_named_many_times)
{
    enum { TIMES = 50 };
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv), *s = server_connect(&kv);
    client_expect(c, "+OK", "XGROUP CREATE s g $ MKSTREAM");
    client_expect(c, "+OK", "XGROUP CREATE t g $ MKSTREAM");
    char line[4000];
    int n = snprintf(line, sizeof line, "%s", many_times[_i].waits);
    for (int i = 0; i < 2 * TIMES; i++) {
        n += snprintf(line + n, sizeof line - (size_t)n, " %s",
                      i < TIMES ? many_times[_i].named : many_times[_i].after);
    }
    client_send(s, "%s", line);
    wait_blocked(c, 1);
    client_expect(c, "+OK", "DEBUG FAULT exec.claimed=exit:2");
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(client_ask(c, "%s", many_times[_i].makes[i])->type, RESP_BULK);
    }
    client_expect(c, "+PONG", "PING");
    client_close(s); /* out of each list once */
    wait_blocked(c, 0);
    ck_assert_int_eq(info_int(c, "total_blocking_keys"), 0);
    client_close(c);
}
END_TEST

/* Likewise of lists; who is served is served once. */
START_TEST(test_named_many_times_is_served)
{
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv), *s = server_connect(&kv), *t = server_connect(&kv);
    client_send(s, "BLPOP k l k l k k 0");
    wait_blocked(c, 1);
    client_send(t, "BLPOP l k l k 0");
    wait_blocked(c, 2);
    ck_assert_int_eq(info_int(c, "total_blocking_keys"), 2);
    client_expect(c, "3", "RPUSH k x y z");
    client_expect_next(s, "[\"k\", \"x\"]");
    client_expect_next(t, "[\"k\", \"y\"]");
    client_expect(c, "[\"z\"]", "LRANGE k 0 -1");
    wait_blocked(c, 0);
    ck_assert_int_eq(info_int(c, "total_blocking_keys"), 0);
    client_close(t);
    client_close(s);
    client_close(c);
}
END_TEST

/* With CLIENT REPLY OFF or SKIP before it, the end of a wait is no more told of than the reply of
 * any other command; redis-server (the second round) says nothing either. */
static const struct {
    const char *waits, *then; /* what another client does; NULL: nothing */
    const char *unblock;      /* CLIENT UNBLOCK does it in this way */
} silent[] = {
    { "BLPOP q 0.3", NULL, NULL },
    { "WAIT 1 300", NULL, NULL },
    { "BLPOP q 0", "RPUSH q x", NULL },
    { "BLMOVE q to LEFT LEFT 0", "RPUSH q x", NULL },
    { "XREAD BLOCK 0 STREAMS st $", "XADD st * a b", NULL },
    { "BLPOP q 0", NULL, "TIMEOUT" },
    { "BLPOP q 0", NULL, "ERROR" },
    { "BLPOP q 0", "ACL SETUSER u -blpop", NULL }, /* and then a push */
};

START_TEST(test_silent_wait)
{
    server_init(&kv, _i % 2 == 0 ? SERVER_KV : SERVER_REDIS);
    if (_i % 2 == 0) {
        server_start(&kv, "--threads", "2");
    } else {
        server_start(&kv);
    }
    bool off = _i < 2;
    struct client *c = server_connect(&kv), *s = server_connect(&kv);
    client_expect(c, "+OK", "ACL SETUSER u on >p +@all ~*");
    client_expect(s, "+OK", "AUTH u p");
    int64_t id = client_int(s, "CLIENT ID");
    for (unsigned i = 0; i < countof(silent); i++) {
        char line[200];
        int n = snprintf(line, sizeof line, "CLIENT REPLY %s\r\n%s\r\n%s\r\n", off ? "OFF" : "SKIP",
                         silent[i].waits, off ? "CLIENT REPLY ON" : "PING");
        client_send_raw(s, line, (size_t)n);
        if (silent[i].then != NULL) {
            wait_blocked(c, 1);
            ck_assert_int_ne(client_ask(c, "%s", silent[i].then)->type, RESP_ERROR);
        } else if (silent[i].unblock != NULL) {
            wait_blocked(c, 1);
            client_expect(c, "1", "CLIENT UNBLOCK %lld %s", (long long)id, silent[i].unblock);
        }
        if (i + 1 == countof(silent)) {
            client_ask(c, "RPUSH q x");
        }
        client_expect_next(s, off ? "+OK" : "+PONG");
        client_expect(s, "\"mark\"", "ECHO mark");
        client_expect(c, "+OK", "FLUSHALL");
    }
    client_close(c);
    client_close(s);
}
END_TEST

/* What waits is asked again when its turn comes: it may not add to a full memory, as in Redis since
 * 7.2, and the next one that only takes is served instead. With a policy that may evict, it may. */
START_TEST(test_served_above_maxmemory)
{
    server_start(&kv, "--threads", "4", "--maxmemory-policy",
                 _i == 0 ? "noeviction" : "volatile-lru");
    struct client *c = server_connect(&kv), *a = server_connect(&kv), *b = server_connect(&kv);
    client_expect(c, "2", "RPUSH x 1 2");
    client_send(a, "BLMOVE src dst LEFT LEFT 0");
    wait_blocked(c, 1);
    client_send(b, "BLPOP src 0");
    wait_blocked(c, 2);
    client_expect(c, "+OK", "CONFIG SET maxmemory 1");
    client_expect(c, "+OK", "RENAME x src");
    if (_i == 0) {
        client_expect_next(a, "-OOM command not allowed when used memory > 'maxmemory'.");
        client_expect_next(b, "[\"src\", \"1\"]");
        client_expect(c, "0", "EXISTS dst");
        const char *stats = client_ask(c, "INFO commandstats")->text;
        const char *blmove = strstr(stats, "cmdstat_blmove:calls=0,");
        ck_assert_msg(blmove != NULL, "it never ran: %s", stats);
        ck_assert(strstr(blmove, "rejected_calls=1,failed_calls=0") != NULL);
    } else {
        client_expect_next(a, "\"1\"");
        client_expect_next(b, "[\"src\", \"2\"]");
    }
    client_close(a);
    client_close(b);
    client_close(c);
}
END_TEST

/* A client writes, then waits for something, and ends its side: it gets what it was promised when
 * that is on disk, and nothing runs for it after. */
static const char *const half_closed[] = { "BLPOP list 0\r\n", "CLIENT PAUSE 100000 WRITE\r\n" };

/* Who measures with a clock of his own never finds a timeout short. */
START_TEST(test_timeouts_are_whole)
{
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv);
    for (unsigned i = 0; i < 80; i++) {
        int64_t start = clock_mono_us();
        client_expect(c, "nil*", i % 2 == 0 ? "BLPOP none 0.02" : "XREAD BLOCK 20 STREAMS none $");
        ck_assert_int_ge(clock_mono_us() - start, 20000);
        usleep(i * 37);
    }
    client_close(c);
}
END_TEST

START_TEST(test_half_closed_is_answered)
{
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv), *half = server_connect(&kv);
    char sent[128];
    client_expect(c, "+OK", "DEBUG AOF-FLUSH-SLEEP 1000000");
    int n = snprintf(sent, sizeof sent, "SET k v\r\nINCR n\r\n%sINCR n\r\n", half_closed[_i]);
    client_send_raw(half, sent, (size_t)n);
    ck_assert_int_eq(shutdown(client_fd(half), SHUT_WR), 0);
    client_expect_next(half, "+OK");
    client_expect_next(half, "1");
    if (_i == 1) {
        client_expect_next(half, "+OK");
    }
    client_expect_closed(half);
    client_expect(c, "+OK", "DEBUG AOF-FLUSH-SLEEP 0");
    client_expect(c, "+OK", "CLIENT UNPAUSE");
    wait_blocked(c, 0);
    client_expect(c, "1", "RPUSH list v");
    client_expect(c, "1", "LLEN list");
    client_expect(c, "\"1\"", "GET n");
    client_close(half);
    client_close(c);
}
END_TEST

/* What is no request is found when what came before it was answered. */
START_TEST(test_protocol_error_behind)
{
    static const char sent[] = "SET k v\r\nBLPOP list 0\r\nGET k\r\n*x\r\nDEL k\r\n";
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv), *blocked = server_connect(&kv);
    client_send_raw(blocked, sent, sizeof sent - 1);
    client_expect_next(blocked, "+OK");
    wait_blocked(c, 1);
    client_expect(c, "1", "RPUSH list a");
    client_expect_next(blocked, "[\"list\", \"a\"]");
    client_expect_next(blocked, "\"v\"");
    client_expect_next(blocked, "-ERR Protocol error: invalid multibulk length");
    client_expect_closed(blocked);
    client_expect(c, "\"v\"", "GET k");
    client_close(blocked);
    client_close(c);
}
END_TEST

UNIT_SUITE(blocking)
{
    TCase *tc = unit_case_slow(suite, "claims", 120, test_claimed_then_other_key,
                               test_claimed_then_two_elements, test_claimed_keeps_its_turn);
    tcase_add_checked_fixture(tc, setup, teardown);
    tc = unit_case_loop(suite, "claim_ends", 120, test_claimed_then_ends, 4);
    tcase_add_checked_fixture(tc, setup, teardown);
    tc = unit_case_loop(suite, "newcomer", 120, test_claimed_and_newcomer, 3);
    tcase_add_checked_fixture(tc, setup, teardown);
    tc = unit_case_loop(suite, "several", 120, test_several_keys, 2);
    tcase_add_checked_fixture(tc, setup, teardown);
    tc = unit_case_loop(suite, "killed", 120, test_killed_is_not_served, 4);
    tcase_add_checked_fixture(tc, setup, teardown);
    tc = unit_case_loop(suite, "full", 120, test_served_above_maxmemory, 2);
    tcase_add_checked_fixture(tc, setup, teardown);
    tc = unit_case_loop(suite, "silent", 120, test_silent_wait, 4);
    tcase_add_checked_fixture(tc, setup, teardown);
    tc = unit_case_loop(suite, "killed_waits", 120, test_killed_runs_nothing,
                        (int)countof(killed) * 2);
    tcase_add_checked_fixture(tc, setup, teardown);
    tc = unit_case_slow(
        suite, "served", 120, test_several_keys_turns, test_served_later_waits_for_log,
        test_served_in_slowlog, test_keys_are_counted, test_evicted_runs_nothing,
        test_named_many_times_is_served, test_timeouts_are_whole, test_protocol_error_behind);
    tcase_add_checked_fixture(tc, setup, teardown);
    tc = unit_case_loop(suite, "many_times", 120, test_named_many_times, (int)countof(many_times));
    tcase_add_checked_fixture(tc, setup, teardown);
    tc = unit_case_loop(suite, "half_closed", 120, test_half_closed_is_answered,
                        (int)countof(half_closed));
    tcase_add_checked_fixture(tc, setup, teardown);
    tc = unit_case_slow(suite, "turns", 300, test_order_of_many, test_order_in_transactions,
                        test_order_of_chains);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
}
