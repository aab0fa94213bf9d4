/* test_acl.c -- Users beside redis-server, and what a change of users does to those who are there.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/rng.h"
#include "compare.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

SERVER_FIXTURE("--threads", "4")

static int64_t count_of(struct client *c, const char *name)
{
    const char *at = strstr(client_ask(c, "INFO all")->text, name);
    ck_assert_ptr_nonnull(at);
    return strtoll(at + strlen(name) + 1, NULL, 10);
}

static void wait_blocked(struct client *c, int64_t wanted)
{
    for (unsigned i = 0; i < 500 && count_of(c, "blocked_clients") != wanted; i++) {
        usleep(10000);
    }
    ck_assert_int_eq(count_of(c, "blocked_clients"), wanted);
}

static struct client *log_in(const char *name)
{
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "AUTH %s x", name);
    return c;
}

/* ---- Beside redis-server ---- */

START_TEST(test_requests)
{
    compare(
        "ACL WHOAMI", "ACL USERS", "ACL CAT", "ACL CAT nosuch", "~sort ACL CAT bitmap",
        "~sort ACL CAT TRANSACTION", "ACL CAT a b", "ACL WHOAMI x", "ACL", "ACL FOO", "ACL SETUSER",
        "ACL SETUSER 'a b' on", "ACL SETUSER a +nosuch", "ACL SETUSER a +@nosuch",
        "ACL SETUSER a +config|get|x", "ACL SETUSER a +select|", "ACL SETUSER a -select|0",
        "ACL SETUSER a %X~k", "ACL SETUSER a %", "ACL SETUSER a <no", "ACL SETUSER a #no",
        "ACL SETUSER a allkeys ~k", "ACL SETUSER a allchannels &c", "ACL SETUSER a blah",
        "ACL SETUSER a '(+get'", "ACL SETUSER a '(~a)x'", "ACL SETUSER a '(on)'", "ACL USERS",
        "ACL SETUSER a '(~x\")' => -ERR Error in ACL SETUSER modifier '(~x\")': Syntax error",
        "ACL SETUSER b reset sanitize-payload on >p1 ~foo* %R~x &bar +get '(+set ~y)'",
        "ACL GETUSER b",
        "ACL LIST => [\"user b on sanitize-payload "
        "#f64551fcd6f07823cb87971cfb91446425da18286b3ab1ef935e0cbd7a69f68a ~foo* "
        "%R~x resetchannels &bar -@all +get (~y resetchannels -@all +set)\", "
        "\"user default on nopass sanitize-payload ~* &* +@all\"]",
        "ACL GETUSER nosuch", "ACL DELUSER nosuch", "ACL DELUSER default", "ACL DELUSER",
        "ACL DRYRUN nosuch get x", "ACL DRYRUN b nosuch x", "ACL DRYRUN b get", "ACL DRYRUN b",
        "ACL DRYRUN b config nosuch", "ACL DRYRUN b get foo1",
        "ACL DRYRUN b get bar => \"User b has no permissions to access the 'bar' key\"",
        "ACL DRYRUN b flushall => \"User b has no permissions to run the 'flushall' command\"",
        "ACL GENPASS 0", "ACL GENPASS 4097", "ACL GENPASS x", "ACL GENPASS 5 5",
        "~type ACL GENPASS", "~type ACL GENPASS 5", "ACL LOG x", "ACL LOG 1 2", "ACL LOG RESET",
        "ACL LOG", "ACL LOG 0", "ACL SAVE", "ACL LOAD", "AUTH x", "AUTH default x", "AUTH b p2",
        "AUTH nosuch p1", "AUTH a b c", "HELLO 2 AUTH b no", "CLIENT KILL USER nosuch",
        "ACL SETUSER c sanitize-payload %RW~* ~foo", "ACL GETUSER c",
        "ACL SETUSER c resetkeys ~a %R~* %W~*", "ACL GETUSER c", "ACL SETUSER c allkeys %RW~*",
        "ACL DELUSER c", "ACL SETUSER b +publish allchannels", "@b AUTH b p1", "@b GET foo1",
        "@b ACL WHOAMI => -NOPERM User b has no permissions to run "
        "the 'acl|whoami' command",
        "@b GET y => -NOPERM No permissions to access a key", "@b SET y 1", "@b RESET", "@b PING",
        "ACL DELUSER b", "ACL DELUSER a => 0", /* redis made it with the unbalanced selector */
        "ACL USERS");
}
END_TEST

/* Random rules to both; each answers alike, and allows the same requests. */
static const char *const pieces[] = {
    "+@all",
    "-@all",
    "+@read",
    "-@read",
    "+@write",
    "-@write",
    "+@string",
    "-@dangerous",
    "+@fast",
    "-@slow",
    "+@keyspace",
    "-@list",
    "+@pubsub",
    "+@connection",
    "-@connection",
    "+get",
    "-get",
    "+set",
    "-set",
    "+config",
    "-config|set",
    "+config|get",
    "-client",
    "+client|setname",
    "+client",
    "+select|3",
    "-select",
    "+select",
    "+bitop",
    "+copy",
    "+publish",
    "~a",
    "~b*",
    "%R~r*",
    "%W~w*",
    "%RW~q",
    "resetkeys",
    "allkeys",
    "&c1",
    "&c*",
    "resetchannels",
    "allchannels",
    "nocommands",
    "allcommands",
    "clearselectors",
    "(+@write ~a)",
    "(+get %R~r*)",
    "(&c1 +publish)",
    "(+copy ~*)",
    "(allkeys +@read)",
    "reset",
    "+nosuch",
    "~",
    "+object|freq",
    "-object",
};
static const char *const requests[] = {
    "get a",
    "get r1",
    "get w1",
    "set a 1",
    "set w1 1",
    "set r1 1",
    "set q 1",
    "copy r1 w1",
    "copy w1 r1",
    "copy a b",
    "mget a r1",
    "mget a r1 w",
    "bitop and w1 r1 a",
    "exists w1",
    "exists x",
    "config get x",
    "config set x y",
    "select 3",
    "select 4",
    "client setname x",
    "client id",
    "publish c1 x",
    "publish c2 x",
    "publish d x",
    "subscribe c1 c2",
    "psubscribe c*",
    "psubscribe c1*",
    "unsubscribe d",
    "flushall",
    "ping",
    "object freq r1",
    "sort a store w1",
    "set w1 1 get",
    "set q 1 get",
    "bitfield r1 get u8 0",
    "bitfield w1 set u8 0 1",
    "bitfield_ro r1 get u8 0",
    "sinterstore w1 r1 r2",
    "sinterstore r1 w1",
    "zunionstore w1 1 r1",
    "zrangestore w1 r1 0 -1",
    "smove w1 w2 m",
    "lmpop 1 w1 left",
    "lmpop 1 q left",
    "zmpop 1 w1 min",
    "eval x 1 q",
    "eval x 0",
    "eval_ro x 1 r1",
    "script load x",
    "getdel r1",
    "lmove r1 w1 left left",
    "auth x",
    "acl whoami",
};

static bool same_rights(struct client *a, struct client *b, char *why, size_t room)
{
    for (unsigned i = 0; i < countof(requests); i++) {
        client_send(a, "ACL DRYRUN u %s", requests[i]);
        client_send(b, "ACL DRYRUN u %s", requests[i]);
    }
    bool same = true;
    for (unsigned i = 0; i < countof(requests); i++) {
        bool one = strcmp(client_read_line(a), "+OK") == 0;
        bool two = strcmp(client_read_line(b), "+OK") == 0;
        if (one != two && same) {
            snprintf(why, room, "%s: kv %d, redis %d", requests[i], one, two);
            same = false;
        }
    }
    return same;
}

START_TEST(test_random_rights)
{
    struct server redis;
    server_init(&redis, SERVER_REDIS);
    server_start(&redis, "--loglevel", "warning");
    struct client *a = server_connect(&kv), *b = server_connect(&redis);
    rng_seed_all(unit_seed());
    for (unsigned round = 0; round < 400; round++) {
        char rules[600] = "", why[200] = "";
        unsigned n = 1 + (unsigned)rng_below(7);
        for (unsigned i = 0; i < n; i++) {
            strcat(rules, " ");
            const char *piece = pieces[rng_below(countof(pieces))];
            snprintf(rules + strlen(rules), sizeof rules - strlen(rules), "'%s'", piece);
        }
        char *mine = strdup(client_line(a, "ACL SETUSER u%s", rules));
        ck_assert_msg(strcmp(mine, client_line(b, "ACL SETUSER u%s", rules)) == 0,
                      "%s: %s, redis %s", rules, mine, client_last_line(b));
        free(mine);
        ck_assert_msg(same_rights(a, b, why, sizeof why), "after%s: %s; %s", rules, why,
                      client_line(a, "ACL GETUSER u"));
    }
    client_close(a);
    client_close(b);
    server_stop(&redis);
}
END_TEST

/* ---- Those who are there ---- */

START_TEST(test_changed_while_in_multi)
{
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "ACL SETUSER m reset on nopass ~* &* +@all");
    struct client *m = log_in("m");
    client_expect(m, "+OK", "MULTI");
    client_expect(m, "+QUEUED", "SET k 1");
    client_expect(m, "+QUEUED", "GET k");
    client_expect(c, "+OK", "ACL SETUSER m -set");
    client_expect(m,
                  "[-NOPERM ACLs rules changed between the moment the transaction was accumulated "
                  "and the EXEC call. This command is no longer allowed for the following reason: "
                  "no permission to execute the command or subcommand, nil]",
                  "EXEC");
    client_expect(m, "+OK", "MULTI");
    client_expect_error(m, "NOPERM", "SET k 1");
    client_expect_error(m, "EXECABORT", "EXEC");
    client_expect(m, "+OK", "MULTI");
    client_expect(c, "+OK", "ACL SETUSER m -exec");
    client_expect_error(m, "EXECABORT Transaction discarded because of: NOPERM", "EXEC");
    client_expect(m, "nil", "GET k");
    client_close(m);
    client_close(c);
}
END_TEST

/* A pipeline that was sent before does not run on as somebody else. */
START_TEST(test_deleted)
{
    struct client *c = server_connect(&kv), *d[8];
    client_expect(c, "+OK", "ACL SETUSER d reset on nopass ~* &* +@all");
    for (unsigned i = 0; i < 8; i++) {
        d[i] = log_in("d");
    }
    client_send(d[0], "BLPOP l 0");
    client_expect(d[1], "[\"subscribe\", \"c\", 1]", "SUBSCRIBE c");
    client_expect(d[2], "+OK", "MULTI");
    client_expect(c, "1", "ACL DELUSER nosuch d d");
    for (unsigned i = 0; i < 8; i++) {
        client_expect_closed(d[i]);
        client_close(d[i]);
    }
    client_expect(c, "1", "RPUSH l x"); /* nobody was served */
    client_expect(c, "1", "LLEN l");
    client_expect_error(c, "WRONGPASS", "AUTH d x");
    client_expect(c, "\"default\"", "ACL WHOAMI");
    client_close(c);
}
END_TEST

START_TEST(test_deletes_itself)
{
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "ACL SETUSER s reset on nopass ~* &* +@all");
    struct client *s = log_in("s");
    client_send(s, "ACL DELUSER s");
    client_send(s, "SET after 1");
    client_expect_next(s, "1");
    client_expect_closed(s);
    client_expect(c, "nil", "GET after");
    client_close(s);
    client_close(c);
}
END_TEST

START_TEST(test_subscribers)
{
    struct client *c = server_connect(&kv), *s[4];
    client_expect(c, "+OK", "ACL SETUSER s reset on nopass +@all &a* &b &p*");
    static const char *const to[] = { "SUBSCRIBE a1", "SUBSCRIBE b", "PSUBSCRIBE p*",
                                      "SSUBSCRIBE a2" };
    for (unsigned i = 0; i < 4; i++) {
        s[i] = log_in("s");
        client_send(s[i], "%s", to[i]);
        (void)client_read(s[i]);
    }
    client_expect(c, "+OK", "ACL SETUSER s &more"); /* more than before closes nobody */
    client_expect(c, "+OK", "ACL SETUSER s resetchannels &a1 &b &p1");
    client_expect_closed(s[2]);
    client_expect_closed(s[3]);
    client_expect(c, "1", "PUBLISH a1 x");
    client_expect_next(s[0], "[\"message\", \"a1\", \"x\"]");
    client_expect(c, "+OK", "ACL SETUSER s resetchannels");
    client_expect_closed(s[0]);
    client_expect_closed(s[1]);
    for (unsigned i = 0; i < 4; i++) {
        client_close(s[i]);
    }
    client_close(c);
}
END_TEST

START_TEST(test_blocked)
{
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "ACL SETUSER b reset on nopass +@all ~*");
    struct client *b = log_in("b"), *other = server_connect(&kv);
    client_expect(c, "+OK", "CONFIG RESETSTAT");
    client_expect(c, "+OK", "FLUSHALL");
    client_send(b, "BLPOP l 0");
    wait_blocked(c, 1);
    client_send(other, "BLPOP l 0");
    wait_blocked(c, 2);
    client_expect(c, "+OK", "ACL SETUSER b resetkeys ~x");
    client_expect(c, "1", "RPUSH l v");
    client_expect_next(b, "-NOPERM No permissions to access a key");
    client_expect_next(other, "[\"l\", \"v\"]"); /* it was behind, and is served */
    const char *stats = client_ask(c, "INFO commandstats")->text;
    ck_assert_ptr_nonnull(strstr(strstr(stats, "cmdstat_blpop"), "rejected_calls=1"));
    client_expect(b, "+PONG", "PING");
    client_close(b);
    client_close(other);
    client_close(c);
}
END_TEST

/* ---- requirepass, disabled users ---- */

START_TEST(test_requirepass)
{
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "CONFIG SET requirepass secret");
    client_expect(c, "+PONG", "PING"); /* it was in */
    struct client *n = server_connect(&kv);
    client_expect_error(n, "NOAUTH", "PING");
    client_expect_error(n, "WRONGPASS", "AUTH nope");
    client_expect_error(n, "NOAUTH HELLO", "HELLO 3");
    client_expect(c, "+OK", "ACL SETUSER default >two");
    client_expect(n, "+OK", "AUTH two");
    client_expect(n, "+RESET", "RESET");
    client_expect_error(n, "NOAUTH", "PING");
    client_expect(n, "+OK", "AUTH default secret");
    client_expect(c, "+OK", "CONFIG SET requirepass \"nul\\x00\\x01\" masterauth \"\\x00a\"");
    client_expect(c, "[\"masterauth\", \"\\x00a\"]", "CONFIG GET masterauth");
    client_expect_error(n, "WRONGPASS", "AUTH \"nul\"");
    client_expect_error(n, "WRONGPASS", "AUTH \"nul\\x00\"");
    client_expect(n, "+OK", "AUTH \"nul\\x00\\x01\"");
    client_expect(c, "+OK", "CONFIG SET requirepass ''");
    struct client *m = server_connect(&kv);
    client_expect(m, "+PONG", "PING");
    client_expect(c, "+OK", "ACL SETUSER default off");
    struct client *o = server_connect(&kv);
    client_expect_error(o, "NOAUTH", "PING");
    client_expect(c, "+OK", "ACL SETUSER default on");
    client_expect(o, "+PONG", "PING"); /* nobody needs to log in now */
    client_close(o);
    client_close(m);
    client_close(n);
    client_close(c);
}
END_TEST

/* ---- ACL LOG, INFO, SLOWLOG, CLIENT ---- */

/* An entry without what changes: client, age, times. */
static const char *entry(struct client *c, unsigned i)
{
    static char text[400];
    const struct resp *log = client_ask(c, "ACL LOG");
    ck_assert_uint_gt(log->count, i);
    struct resp **f = log->at[i]->at;
    ck_assert_uint_eq(log->at[i]->count, 20);
    ck_assert_str_eq(f[12]->text, "client-info");
    ck_assert_ptr_nonnull(strstr(f[13]->text, "user="));
    ck_assert_str_eq(f[14]->text, "entry-id");
    ck_assert(f[17]->integer <= f[19]->integer && f[17]->integer > 0);
    snprintf(text, sizeof text, "%lld %s %s %s %s", (long long)f[1]->integer, f[3]->text,
             f[5]->text, f[7]->text, f[9]->text);
    return text;
}

START_TEST(test_log)
{
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "CONFIG RESETSTAT");
    client_expect(c, "+OK", "ACL LOG RESET");
    client_expect(c, "+OK", "ACL SETUSER l reset on nopass +get +multi +exec +publish +eval ~k");
    struct client *l = log_in("l");
    client_expect_error(l, "WRONGPASS", "AUTH someone pw");
    client_expect_error(l, "NOPERM", "CONFIG GET x");
    client_expect_error(l, "NOPERM", "GET other");
    client_expect_error(l, "NOPERM", "PUBLISH ch x");
    client_expect_error(l, "NOPERM", "GET other");
    ck_assert_str_eq(entry(c, 0), "2 key toplevel other l");
    ck_assert_str_eq(entry(c, 1), "1 channel toplevel ch l");
    ck_assert_str_eq(entry(c, 2), "1 command toplevel config|get l");
    ck_assert_str_eq(entry(c, 3), "1 auth toplevel AUTH someone");
    client_expect(l, "+OK", "MULTI");
    client_expect_error(l, "NOPERM", "GET other");
    ck_assert_str_eq(entry(c, 0), "1 key multi other l");
    client_expect_error(l, "EXECABORT", "EXEC");
    client_expect_error(l, "ERR ACL failure in script: No permissions to access a key",
                        "EVAL \"return redis.call('get', 'z')\" 0");
    ck_assert_str_eq(entry(c, 0), "1 key lua z l");
    ck_assert_int_eq(count_of(c, "acl_access_denied_auth"), 1);
    ck_assert_int_eq(count_of(c, "acl_access_denied_cmd"), 1);
    ck_assert_int_eq(count_of(c, "acl_access_denied_key"), 4);
    ck_assert_int_eq(count_of(c, "acl_access_denied_channel"), 1);
    client_expect(c, "+OK", "CONFIG RESETSTAT");
    ck_assert_int_eq(count_of(c, "acl_access_denied_key"), 0);
    ck_assert_uint_eq(client_ask(c, "ACL LOG 2")->count, 2);
    client_expect(c, "+OK", "CONFIG SET acllog-max-len 3");
    client_expect_error(l, "NOPERM", "GET yet");
    ck_assert_uint_eq(client_ask(c, "ACL LOG")->count, 3);
    client_expect(c, "+OK", "CONFIG SET acllog-max-len 128");
    client_close(l);
    client_close(c);
}
END_TEST

/* The log as it should be, newest first: who, and how often. */
struct denied {
    unsigned user, count;
};

static void expect_denied(struct client *c, const struct denied *log, unsigned n)
{
    char user[16];
    const struct resp *r = client_ask(c, "ACL LOG 1000");
    ck_assert_uint_eq(r->count, n);
    for (unsigned i = 0; i < n; i++) {
        snprintf(user, sizeof user, "u%u", log[i].user);
        ck_assert_int_eq(r->at[i]->at[1]->integer, log[i].count);
        ck_assert_str_eq(r->at[i]->at[9]->text, user);
    }
}

/* One more, of `user`, and what a log of `keep` then has. */
static unsigned deny(struct denied *log, unsigned n, unsigned user, unsigned keep)
{
    unsigned at = 0, newest = n < 10 ? n : 10; /* only these may be the same */
    while (at < newest && log[at].user != user) {
        at++;
    }
    bool known = at < newest;
    struct denied e = { user, known ? log[at].count + 1 : 1 };
    memmove(log + 1, log, (known ? at : n) * sizeof *log);
    log[0] = e;
    n += !known;
    return n < keep ? n : keep;
}

/* The newest are kept, whatever the limit was before; the same again comes to the front. */
START_TEST(test_log_limit)
{
    static const unsigned max_len[] = { 0, 1, 2, 5, 12, 30 };
    struct client *c = server_connect(&kv);
    struct denied log[31];
    unsigned n = 0, keep = 5;
    rng_seed_all(unit_seed());
    client_expect(c, "+OK", "CONFIG SET acllog-max-len 5");
    client_expect(c, "+OK", "ACL LOG RESET");
    for (unsigned i = 0; i < 2000; i++) {
        unsigned what = (unsigned)rng_below(40);
        if (what == 0) {
            keep = max_len[rng_below(countof(max_len))];
            client_expect(c, "+OK", "CONFIG SET acllog-max-len %u", keep);
        } else if (what == 1) {
            client_expect(c, "+OK", "ACL LOG RESET");
            n = 0;
        } else if (what < 5) {
            expect_denied(c, log, n);
        } else {
            unsigned user = (unsigned)rng_below(20);
            client_expect_error(c, "WRONGPASS", "AUTH u%u pw", user);
            n = deny(log, n, user, keep);
        }
    }
    client_expect(c, "+OK", "ACL LOG RESET");
    client_expect(c, "+OK", "CONFIG SET acllog-max-len 128");
    client_close(c);
}
END_TEST

START_TEST(test_secrets)
{
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "CONFIG SET slowlog-log-slower-than 0");
    client_expect(c, "+OK", "SLOWLOG RESET");
    client_expect(c, "+OK", "ACL SETUSER h on >hush");
    client_expect(c, "+OK", "AUTH h hush");
    client_expect_error(c, "NOPERM", "PING");
    client_expect(c, "+OK", "AUTH default hush");
    (void)client_ask(c, "HELLO 2 AUTH default hush SETNAME n");
    (void)client_ask(c, "ACL GETUSER h");
    client_expect(c, "+OK", "CONFIG SET masterauth hush maxclients 500");
    client_expect(c, "1", "ACL DELUSER h");
    const char *log = client_line(c, "SLOWLOG GET 100");
    ck_assert_ptr_null(strstr(log, "hush"));
    ck_assert_ptr_nonnull(strstr(log, "[\"ACL\", \"SETUSER\", \"(redacted)\", \"(redacted)\", "
                                      "\"(redacted)\"]"));
    ck_assert_ptr_nonnull(strstr(log, "[\"AUTH\", \"(redacted)\", \"(redacted)\"]"));
    ck_assert_ptr_nonnull(strstr(log, "\"AUTH\", \"(redacted)\", \"(redacted)\", \"SETNAME\""));
    ck_assert_ptr_nonnull(strstr(log, "[\"ACL\", \"GETUSER\", \"(redacted)\"]"));
    ck_assert_ptr_nonnull(strstr(log, "\"masterauth\", \"(redacted)\", \"maxclients\", \"500\""));
    client_expect(c, "+OK", "CONFIG SET slowlog-log-slower-than 10000 masterauth ''");
    client_close(c);
}
END_TEST

START_TEST(test_clients)
{
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "ACL SETUSER k reset on nopass +client +acl ~*");
    struct client *one = log_in("k"), *two = log_in("k");
    client_expect(one, "\"k\"", "ACL WHOAMI");
    ck_assert_ptr_nonnull(strstr(client_ask(one, "CLIENT INFO")->text, " user=k "));
    client_expect(c, "2", "CLIENT KILL USER k");
    client_expect_closed(one);
    client_expect_closed(two);
    client_close(one);
    client_close(two);
    client_close(c);
}
END_TEST

START_TEST(test_sort)
{
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "ACL SETUSER o reset on nopass +sort ~l");
    struct client *o = log_in("o");
    client_expect(o, "-ERR BY option of SORT denied due to insufficient ACL permissions.",
                  "SORT l BY w*");
    client_expect(o, "-ERR GET option of SORT denied due to insufficient ACL permissions.",
                  "SORT l GET #");
    client_expect(o, "[]", "SORT l BY nosort");
    client_expect(c, "+OK", "ACL SETUSER o %%R~*");
    client_expect(o, "[]", "SORT l BY w* GET #");
    client_close(o);
    client_close(c);
}
END_TEST

/* ---- Over a restart ---- */

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

START_TEST(test_file_and_restart)
{
    struct server s;
    char path[400];
    server_init(&s, SERVER_KV);
    snprintf(path, sizeof path, "%s/users.acl", s.dir);
    write_file(path, "user alice on >p ~a* +@all\n");
    server_start(&s, "--aclfile", path);
    struct client *c = server_connect(&s);
    client_expect(c, "+OK", "AUTH alice p");
    client_expect_error(c, "NOPERM", "GET b");
    client_expect(c, "+OK", "ACL SETUSER bob on nopass +@all ~*");
    client_expect(c, "+OK", "ACL SAVE");
    write_file(path, "user alice on >p ~b* +@all\nuser bob blah\n");
    client_expect_error(c, "ERR ", "ACL LOAD");
    client_expect_error(c, "NOPERM", "GET b");
    write_file(path, "user alice on >p ~b* +@all\n");
    struct client *bob = server_connect(&s);
    client_expect(bob, "+OK", "AUTH bob x");
    client_expect(c, "+OK", "ACL LOAD"); /* alice stays connected, bob is gone */
    client_expect(c, "nil", "GET b");
    client_expect_closed(bob);
    client_expect(c, "+OK", "ACL SETUSER carl on nopass");
    client_expect(c, "+OK", "ACL SAVE");
    client_close(bob);
    client_close(c);
    server_kill(&s);
    server_start(&s, "--aclfile", path);
    c = server_connect(&s);
    client_expect(c, "[\"alice\", \"carl\", \"default\"]", "ACL USERS");
    client_close(c);
    server_stop(&s);
    write_file(path, "user alice blah\n");
    ck_assert_int_ne(server_try_start(&s, "--aclfile", path), 0);
    ck_assert(server_log_has(&s, "users.acl:1: Syntax error"));
}
END_TEST

START_TEST(test_configuration)
{
    struct server s;
    char path[400];
    server_init(&s, SERVER_KV);
    snprintf(path, sizeof path, "%s/users.conf", s.dir);
    write_file(path, "user alice on >p \"~it's\" +@all\nrequirepass \"t\\x00p\"\n");
    server_start(&s, "--include", path);
    struct client *c = server_connect(&s);
    client_expect_error(c, "NOAUTH", "ACL USERS");
    client_expect(c, "+OK", "AUTH alice p");
    while (client_line_starts(c, "-LOADING", "GET \"it's\"")) {
        usleep(10000);
    }
    client_expect(c, "nil", "GET \"it's\"");
    client_expect_error(c, "NOPERM", "GET its");
    client_expect_error(c, "WRONGPASS", "AUTH t");
    client_expect(c, "+OK", "AUTH \"t\\x00p\"");
    client_expect(c, "[\"alice\", \"default\"]", "ACL USERS");
    client_expect(c, "[]", "CONFIG GET user"); /* hashes are not shown there */
    client_expect(c, "[\"requirepass\", \"t\\x00p\"]", "CONFIG GET requirepass");
    client_close(c);
    server_stop(&s);
    static const char *const bad[][2] = { { "user a blah\n", "at line 1" },
                                          { "user a\nuser a\n", "Duplicate user" },
                                          { "user a +nosuch\n", "Unknown command or category" },
                                          { "user a on\naclfile x\n", "one of them only" } };
    for (unsigned i = 0; i < countof(bad); i++) {
        write_file(path, bad[i][0]);
        ck_assert_int_ne(server_try_start(&s, "--include", path), 0);
        ck_assert_msg(server_log_has(&s, bad[i][1]), "%s", bad[i][0]);
    }
}
END_TEST

UNIT_SUITE(users)
{
    TCase *tc = unit_case(suite, "acl beside redis", test_requests);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
    tc = unit_case(suite, "acl", test_random_rights, test_changed_while_in_multi, test_deleted,
                   test_deletes_itself, test_subscribers, test_blocked, test_requirepass, test_log,
                   test_log_limit, test_secrets, test_clients, test_sort);
    tcase_add_unchecked_fixture(tc, start, stop);
    unit_case(suite, "acl files", test_file_and_restart, test_configuration);
}
